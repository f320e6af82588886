/*
 * catalog.c - consulctl catalog datacenters, nodes and services.
 */
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"
#include "consulctl/cmd/input.h"
#include "consulctl/table.h"
#include "consulctl/value.h"

/* "key=value" flags as Consul's parameter "key:value". */
static void
add_node_meta(struct request *r, const struct options *o)
{
	const char *text;

	for (size_t i = 0; (text = options_list(o, "node-meta", i)) != NULL; i++) {
		char *colon = strdup(text);

		if (colon == NULL) {
			r->rc = -ENOMEM;
			return;
		}
		colon[strcspn(colon, "=")] = ':';
		request_param(r, "node-meta", colon);
		free(colon);
	}
}

/* Ask; NULL when it failed (the error was printed, *ret_rc < 0) or for a JSON null. */
static struct json_object *
ask(struct client *c, struct request *r, const char *failure, int *ret_rc)
{
	struct json_object *j = NULL;
	bool is_null = false;
	int rc;

	if (c->stale)
		request_param(r, "stale", NULL);
	rc = client_call(c, r, false);
	if (rc == 0) {
		j = request_json(r, &is_null);
		if (j == NULL && !is_null)
			rc = -EBADMSG;
	}
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", failure, r->error);
	request_release(r);
	*ret_rc = rc;
	return j;
}

static int
refuse_arguments(const struct options *o)
{
	if (o->nargs == 0)
		return 0;
	fprintf(stderr, "Too many arguments (expected 0, got %d)\n", o->nargs);
	return -EINVAL;
}

/* ---- datacenters */

static int
run_datacenters(const struct command *cmd, const struct options *o)
{
	struct json_object *list;
	struct request r;
	struct client c;
	int rc;

	(void)cmd;
	if (refuse_arguments(o) < 0 || client_open(&c, o) < 0)
		return 1;
	request_init(&r, "GET", "/v1/catalog/datacenters", NULL);
	list = ask(&c, &r, "Error listing datacenters", &rc);
	for (size_t i = 0; i < value_count(list); i++)
		puts(json_object_get_string(value_at(list, i)));
	json_object_put(list);
	client_close(&c);
	return rc < 0 ? 1 : 0;
}

const struct command command_catalog_datacenters = {
	.name = "catalog datacenters",
	.summary = "Lists all known datacenters",
	.args = "[options]",
	.about = "Lists the datacenters that the agent knows, one a line, the nearest first.",
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_datacenters,
};

/* ---- nodes */

static const struct option nodes_options[] = {
	{ "detailed", OPT_BOOL, NULL, NULL, "Print whole IDs, tagged addresses and metadata." },
	{ "filter", OPT_STR, "expression", NULL, "Only nodes for which the filter expression holds (@FILE and - are understood)." },
	{ "near", OPT_STR, "node", NULL, "Sort by the round-trip time from this node; _agent means the agent's own." },
	{ "node-meta", OPT_MAP, "key=value", NULL, "Only nodes with this metadata. May be repeated." },
	{ "service", OPT_STR, "name", NULL, "Only nodes that have this service." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
add_node(struct table *t, struct json_object *node, bool detailed, bool of_service)
{
	const char *id = value_text(node, "ID");
	struct buf pairs = BUF_INIT(64 * KiB);
	int rc;

	table_adds(t, value_text(node, "Node"));
	table_addf(t, "%.*s", detailed ? (int)strlen(id) : (int)strcspn(id, "-"), id);
	table_adds(t, value_text(node, "Address"));
	table_adds(t, value_text(node, "Datacenter"));
	if (!detailed)
		return 0;
	rc = value_pairs(value_get(node, "TaggedAddresses"), ", ", &pairs);
	table_add(t, (struct str){ (const char *)pairs.data, pairs.len });
	buf_clear(&pairs);
	if (rc == 0)
		rc = value_pairs(value_get(node, of_service ? "NodeMeta" : "Meta"), ", ", &pairs);
	table_add(t, (struct str){ (const char *)pairs.data, pairs.len });
	buf_release(&pairs);
	return rc;
}

static int
print_nodes(struct json_object *list, bool detailed, bool of_service)
{
	static const char *const heads[] = { "Node", "ID", "Address", "DC", "TaggedAddresses", "Meta" };
	size_t columns = detailed ? 6 : 4;
	struct table t;
	int rc = 0;

	table_init(&t, columns);
	for (size_t i = 0; i < columns; i++)
		table_adds(&t, heads[i]);
	for (size_t i = 0; rc == 0 && i < value_count(list); i++)
		rc = add_node(&t, value_at(list, i), detailed, of_service);
	if (rc == 0)
		rc = table_print(&t, stdout, TABLE_GAP);
	table_release(&t);
	if (rc < 0)
		fprintf(stderr, "Error printing nodes: %s\n", errtext(rc));
	return rc;
}

/* The expression that -filter names; the caller frees. NULL when the error was printed. */
static char *
read_filter(const struct options *o)
{
	struct buf text = BUF_INIT(64 * KiB), err = BUF_INIT(64 * KiB);
	const char *filter = options_str(o, "filter"), *s;
	char *copy = NULL;
	int rc = input_argument(filter, &text, &err);

	if (rc == 0) {
		s = buf_cstr(&text);
		copy = s != NULL ? strdup(s) : NULL;
	} else {
		s = err.len > 0 ? buf_cstr(&err) : NULL;
		fprintf(stderr, "Could not process filter argument: %s\n", s != NULL ? s : errtext(rc));
	}
	buf_release(&text);
	buf_release(&err);
	return copy;
}

static int
list_nodes(struct client *c, const struct options *o, const char *filter)
{
	const char *service = options_str(o, "service"), *near = options_str(o, "near");
	struct json_object *list;
	struct request r;
	int rc;

	if (*service != '\0')
		request_init(&r, "GET", "/v1/catalog/service/", service);
	else
		request_init(&r, "GET", "/v1/catalog/nodes", NULL);
	if (*near != '\0')
		request_param(&r, "near", near);
	if (*filter != '\0')
		request_param(&r, "filter", filter);
	add_node_meta(&r, o);
	list = ask(c, &r, *service != '\0' ? "Error listing nodes for service" : "Error listing nodes", &rc);
	if (rc == 0 && value_count(list) == 0)
		fputs("No nodes match the given query - try expanding your search.\n", stderr);
	else if (rc == 0)
		rc = print_nodes(list, options_bool(o, "detailed"), *service != '\0');
	json_object_put(list);
	return rc;
}

static int
run_nodes(const struct command *cmd, const struct options *o)
{
	struct client c;
	char *filter;
	int rc;

	(void)cmd;
	if (refuse_arguments(o) < 0)
		return 1;
	filter = read_filter(o);
	if (filter == NULL)
		return 1;
	rc = client_open(&c, o);
	if (rc == 0) {
		rc = list_nodes(&c, o, filter);
		client_close(&c);
	}
	free(filter);
	return rc < 0 ? 1 : 0;
}

const struct command command_catalog_nodes = {
	.name = "catalog nodes",
	.summary = "Lists all nodes in the given datacenter",
	.args = "[options]",
	.about = "Lists the nodes of the catalog. Finding none is no error: a sentence says so on the standard error.",
	.options = nodes_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_nodes,
};

/* ---- services */

static const struct option services_options[] = {
	{ "node", OPT_STR, "name", NULL, "Only the services of this node, given by name or ID." },
	{ "node-meta", OPT_MAP, "key=value", NULL, "Only services on nodes with this metadata. May be repeated." },
	{ "tags", OPT_BOOL, NULL, NULL, "Print each service's tags beside it, separated by commas." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
by_text(const void *a, const void *b)
{
	return strcmp(json_object_get_string(*(struct json_object *const *)a),
	    json_object_get_string(*(struct json_object *const *)b));
}

/* A node's services by ID, as tags by name. NULL without memory. */
static struct json_object *
tags_of_node(struct json_object *answer)
{
	struct json_object *services = value_get(answer, "Services"), *all = json_object_new_object();
	size_t n = 0;
	const char **ids = value_names(services, &n);

	for (size_t i = 0; all != NULL && ids != NULL && i < n; i++) {
		struct json_object *s = value_get(services, ids[i]), *tags = value_get(s, "Tags");
		const char *name = value_text(s, "Service");
		struct json_object *list = value_get(all, name);

		if (list == NULL) {
			list = json_object_new_array();
			if (list == NULL || json_object_object_add(all, name, list) != 0)
				break;
		}
		for (size_t k = 0; k < value_count(tags); k++)
			(void)json_object_array_add(list, json_object_get(value_at(tags, k)));
	}
	free(ids);
	return all;
}

static void
add_tags(struct table *t, struct json_object *tags)
{
	struct buf text = BUF_INIT(MiB);
	int rc = 0;

	if (json_object_is_type(tags, json_type_array))
		json_object_array_sort(tags, by_text);
	for (size_t i = 0; rc == 0 && i < value_count(tags); i++)
		rc = buf_addf(&text, "%s%s", i > 0 ? "," : "", json_object_get_string(value_at(tags, i)));
	if (rc < 0)
		t->rc = rc;
	table_add(t, (struct str){ (const char *)text.data, text.len });
	buf_release(&text);
}

/* Consul trims the blanks that end the last line, and only those. */
static int
print_trimmed(const struct table *t)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (f == NULL)
		return -ENOMEM;
	rc = table_print(t, f, TABLE_WIDE_GAP);
	if (fclose(f) != 0 && rc == 0)
		rc = -ENOMEM;
	while (rc == 0 && len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\n'))
		len--;
	if (rc == 0)
		printf("%.*s\n", (int)len, text);
	free(text);
	return rc;
}

static int
print_services(struct json_object *services, bool with_tags)
{
	struct table t;
	size_t n;
	const char **names = value_names(services, &n);
	int rc = 0;

	if (names == NULL)
		return -ENOMEM;
	table_init(&t, 2);
	for (size_t i = 0; i < n; i++) {
		if (!with_tags) {
			puts(names[i]);
			continue;
		}
		table_adds(&t, names[i]);
		add_tags(&t, value_get(services, names[i]));
	}
	if (with_tags)
		rc = print_trimmed(&t);
	table_release(&t);
	free(names);
	return rc;
}

static int
run_services(const struct command *cmd, const struct options *o)
{
	const char *node = options_str(o, "node");
	struct json_object *answer, *services;
	struct request r;
	struct client c;
	int rc;

	(void)cmd;
	if (refuse_arguments(o) < 0 || client_open(&c, o) < 0)
		return 1;
	if (*node != '\0')
		request_init(&r, "GET", "/v1/catalog/node/", node);
	else
		request_init(&r, "GET", "/v1/catalog/services", NULL);
	add_node_meta(&r, o);
	answer = ask(&c, &r, *node != '\0' ? "Error listing services for node" : "Error listing services", &rc);
	services = *node != '\0' ? tags_of_node(answer) : json_object_get(answer);
	if (rc == 0 && value_count(services) == 0)
		fputs("No services match the given query - try expanding your search.\n", stderr);
	else if (rc == 0)
		rc = print_services(services, options_bool(o, "tags"));
	json_object_put(services);
	json_object_put(answer);
	client_close(&c);
	return rc < 0 ? 1 : 0;
}

const struct command command_catalog_services = {
	.name = "catalog services",
	.summary = "Lists all registered services in a datacenter",
	.args = "[options]",
	.about = "Lists the names of the services in the catalog.",
	.options = services_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_services,
};
