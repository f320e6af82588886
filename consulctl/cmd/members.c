/*
 * members.c - consulctl members: who is in the cluster.
 */
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/table.h"
#include "consulctl/value.h"
#include "lib/re.h"

static const struct option options[] = {
	{ "detailed", OPT_BOOL, NULL, NULL, "Show every member's tags." },
	{ "wan", OPT_BOOL, NULL, NULL, "List the servers of all datacenters instead." },
	{ "status", OPT_STR, "regexp", ".*", "Only members whose status matches the regular expression." },
	{ "segment", OPT_STR, "name", NULL, "Only members of this network segment." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

struct member {
	struct json_object *j;
	const char *name, *segment, *status;
};

static const char *
status_name(struct json_object *m)
{
	static const char *const names[] = { "none", "alive", "leaving", "left", "failed" };
	uint64_t status = value_u64(m, "Status");

	return status < ARRAY_LEN(names) ? names[status] : "none";
}

static bool
is_server(struct json_object *m)
{
	return strcmp(value_text(value_get(m, "Tags"), "role"), "consul") == 0;
}

static int
by_segment_and_name(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int c = strcmp(x->segment, y->segment);

	return c != 0 ? c : strcmp(x->name, y->name);
}

/* Those whose status matches, sorted; the caller frees the array. NULL without memory. */
static struct member *
pick(struct json_object *list, const struct re *status, bool all_segments, size_t *ret_n)
{
	size_t max = value_count(list), n = 0;
	struct member *members = calloc(max + 1, sizeof(*members));

	for (size_t i = 0; members != NULL && i < max; i++) {
		struct json_object *m = value_at(list, i);
		struct member e = { m, value_text(m, "Name"), value_text(value_get(m, "Tags"), "segment"), status_name(m) };

		if (!re_match(status, str_from(e.status)))
			continue;
		if (all_segments && is_server(m))
			e.segment = "<all>";
		else if (*e.segment == '\0')
			e.segment = "<default>";
		members[n++] = e;
	}
	if (members != NULL)
		qsort(members, n, sizeof(*members), by_segment_and_name);
	*ret_n = n;
	return members;
}

static void
add_address(struct table *t, struct json_object *m)
{
	const char *ip = value_text(m, "Addr");
	uint64_t port = value_u64(m, "Port");

	table_addf(t, strchr(ip, ':') != NULL ? "[%s]:%u" : "%s:%u", ip, (unsigned)port);
}

static void
add_plain(struct table *t, const struct member *e)
{
	struct json_object *tags = value_get(e->j, "Tags");
	const char *role = value_text(tags, "role"), *build = value_text(tags, "build");
	bool known = strcmp(role, "consul") == 0 || strcmp(role, "node") == 0;

	table_adds(t, e->name);
	add_address(t, e->j);
	table_adds(t, e->status);
	table_adds(t, !known ? "unknown" : *role == 'c' ? "server" : "client");
	table_addf(t, "%.*s", known ? (int)strcspn(build, ":") : 0, build);
	table_adds(t, known ? value_text(tags, "vsn") : "");
	table_adds(t, known ? value_text(tags, "dc") : "");
	table_adds(t, known ? e->segment : "");
}

/* The tags as they are listed: the segment is shown as the short form shows it. */
static int
add_detailed(struct table *t, const struct member *e)
{
	struct json_object *tags = value_get(e->j, "Tags");
	struct buf pairs = BUF_INIT(64 * KiB);
	int rc = 0;

	if (tags != NULL && json_object_object_add(tags, "segment", json_object_new_string(e->segment)) != 0)
		rc = -ENOMEM;
	if (rc == 0)
		rc = value_pairs(tags, ",", &pairs);
	table_adds(t, e->name);
	add_address(t, e->j);
	table_adds(t, e->status);
	table_add(t, (struct str){ (const char *)pairs.data, pairs.len });
	buf_release(&pairs);
	return rc;
}

static int
print_members(struct member *members, size_t n, bool detailed)
{
	static const char *const plain[] = { "Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment" };
	static const char *const full[] = { "Node", "Address", "Status", "Tags" };
	size_t columns = detailed ? ARRAY_LEN(full) : ARRAY_LEN(plain);
	struct table t;
	int rc = 0;

	table_init(&t, columns);
	for (size_t i = 0; i < columns; i++)
		table_adds(&t, detailed ? full[i] : plain[i]);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		/* add_detailed() replaces a tag that the segment may point into. */
		char *segment = strdup(members[i].segment);

		if (segment == NULL) {
			rc = -ENOMEM;
			break;
		}
		members[i].segment = segment;
		if (detailed)
			rc = add_detailed(&t, &members[i]);
		else
			add_plain(&t, &members[i]);
		free(segment);
	}
	if (rc == 0)
		rc = table_print(&t, stdout, TABLE_GAP);
	table_release(&t);
	return rc;
}

/* An agent is a member itself: if not even that one is told of, none may be seen. */
static int
miss(const struct json_object *list)
{
	if (list == NULL || json_object_array_length(list) == 0)
		fputs("No member can be seen with this token: it takes node:read\n", stderr);
	return EXIT_MISS;
}

static int
show(struct request *r, const struct options *o, const struct re *status)
{
	bool is_null = false;
	struct json_object *list = request_json(r, &is_null);
	struct member *members;
	size_t n;
	int rc;

	if (list == NULL && !is_null) {
		fprintf(stderr, "Error retrieving members: %s\n", r->error);
		return 1;
	}
	members = pick(list, status, *options_str(o, "segment") == '\0', &n);
	if (members == NULL)
		rc = 1;
	else if (n == 0)
		rc = miss(list);
	else
		rc = print_members(members, n, options_bool(o, "detailed")) < 0;
	free(members);
	json_object_put(list);
	return rc;
}

static int
run(const struct command *cmd, const struct options *o)
{
	const char *segment = options_str(o, "segment");
	struct request r;
	struct re *status = NULL;
	char why[200] = "out of memory";
	int code;

	(void)cmd;
	if (re_compile(str_from(options_str(o, "status")), &status, why, sizeof(why)) < 0) {
		fprintf(stderr, "Failed to compile status regexp: %s\n", why);
		return 1;
	}
	request_init(&r, "GET", "/v1/agent/members", NULL);
	request_param(&r, "segment", *segment != '\0' ? segment : "_all");
	if (options_bool(o, "wan"))
		request_param(&r, "wan", "1");
	code = client_do(o, &r, "Error retrieving members");
	if (code == 0)
		code = show(&r, o, status);
	request_release(&r);
	re_free(status);
	return code;
}

const struct command command_members = {
	.name = "members",
	.summary = "Lists the members of the cluster",
	.args = "[options]",
	.about = "Lists the nodes that the agent knows to be members of its cluster. When no member matches, "
	    "nothing is printed and the exit code is 2; with ACLs that may be for lack of rights, which is said.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
