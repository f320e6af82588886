/*
 * keyring.c - consulctl keyring: the keys of the gossip on all members.
 */
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"
#include "lib/json.h"

enum { RELAY_FACTOR_MAX = 5 };

static const struct option options[] = {
	{ "install", OPT_STR, "key", NULL, "Give this key to all members." },
	{ "list", OPT_BOOL, NULL, NULL, "List all keys, and how many members have each." },
	{ "list-primary", OPT_BOOL, NULL, NULL, "List the keys that members encrypt with." },
	{ "local-only", OPT_BOOL, NULL, NULL, "Ask nobody in other datacenters. Only with -list and -list-primary." },
	{ "relay-factor", OPT_INT, "number", "0", "Let members send their answers through so many others too, up to 5." },
	{ "remove", OPT_STR, "key", NULL, "Take this key away from all members; not the one that they encrypt with." },
	{ "use", OPT_STR, "key", NULL, "Let all members encrypt with this key, which they have already." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

/* What changes the keys: flag, method, and what is said first. */
static const struct change {
	const char *flag, *method, *text;
} changes[] = {
	{ "install", "POST", "Installing new gossip encryption key..." },
	{ "use", "PUT", "Changing primary gossip encryption key..." },
	{ "remove", "DELETE", "Removing gossip encryption key..." },
};

static bool
wants_list(const struct options *o)
{
	return options_bool(o, "list") || options_bool(o, "list-primary");
}

static unsigned
count_actions(const struct options *o)
{
	unsigned n = (unsigned)options_bool(o, "list") + (unsigned)options_bool(o, "list-primary");

	for (size_t i = 0; i < ARRAY_LEN(changes); i++)
		n += *options_str(o, changes[i].flag) != '\0';
	return n;
}

static void
add_relay_factor(struct request *r, const struct options *o)
{
	if (options_int(o, "relay-factor") > 0)
		request_param_u64(r, "relay-factor", (uint64_t)options_int(o, "relay-factor"));
}

/* ---- listing */

static int
print_pool(struct json_object *pool, bool primary)
{
	struct json_object *messages = value_get(pool, "Messages"), *keys = value_get(pool, primary ? "PrimaryKeys" : "Keys");
	size_t nkeys, nmessages;
	const char **key = value_names(keys, &nkeys), **from = value_names(messages, &nmessages);
	const char *segment = value_text(pool, "Segment");
	bool whole = key != NULL && from != NULL;

	if (whole) {
		if (json_object_get_boolean(value_get(pool, "WAN")))
			printf("\nWAN");
		else
			printf("\n%s (LAN)", value_text(pool, "Datacenter"));
		printf(*segment != '\0' ? " [%s]:\n" : ":\n", segment);
		for (size_t i = 0; i < nmessages; i++)
			printf("  ===> %s: %s\n", from[i], value_text(messages, from[i]));
		for (size_t i = 0; i < nkeys; i++)
			printf("  %s [%llu/%llu]\n", key[i], (unsigned long long)value_u64(keys, key[i]),
			    (unsigned long long)value_u64(pool, "NumNodes"));
	}
	free(key);
	free(from);
	return whole ? 0 : -ENOMEM;
}

static int
list_keys(struct client *c, const struct options *o)
{
	bool primary = options_bool(o, "list-primary"), is_null = false;
	struct json_object *pools = NULL;
	struct request r;
	int rc;

	printf("==> Gathering installed %sencryption keys...\n", primary ? "primary " : "");
	(void)fflush(stdout);
	request_init(&r, "GET", "/v1/operator/keyring", NULL);
	add_relay_factor(&r, o);
	if (options_bool(o, "local-only"))
		request_param(&r, "local-only", "true");
	rc = client_call(c, &r, false);
	if (rc == 0) {
		pools = request_json(&r, &is_null);
		rc = pools != NULL || is_null ? 0 : -EBADMSG;
	}
	if (rc < 0)
		fprintf(stderr, "error: %s\n", r.error);
	for (size_t i = 0; rc == 0 && i < value_count(pools); i++) {
		rc = print_pool(value_at(pools, i), primary);
		if (rc < 0)
			fputs("error: out of memory\n", stderr);
	}
	json_object_put(pools);
	request_release(&r);
	return rc < 0 ? 1 : 0;
}

/* ---- changing */

static int
change_keys(struct client *c, const struct options *o, const struct change *change)
{
	struct buf body = BUF_INIT(KiB);
	struct request r;
	int rc;

	printf("==> %s\n", change->text);
	(void)fflush(stdout);
	request_init(&r, change->method, "/v1/operator/keyring", NULL);
	add_relay_factor(&r, o);
	rc = buf_adds(&body, "{\"Key\":");
	if (rc == 0)
		rc = json_add_string(&body, str_from(options_str(o, change->flag)));
	if (rc == 0)
		rc = buf_addc(&body, '}');
	if (rc < 0)
		(void)snprintf(r.error, sizeof(r.error), "the key is too long");
	r.ex.body = (struct str){ (const char *)body.data, body.len };
	if (rc == 0)
		rc = client_call(c, &r, false);
	if (rc < 0)
		fprintf(stderr, "error: %s\n", r.error);
	request_release(&r);
	buf_release(&body);
	return rc < 0 ? 1 : 0;
}

static int
act(struct client *c, const struct options *o)
{
	for (size_t i = 0; i < ARRAY_LEN(changes); i++)
		if (*options_str(o, changes[i].flag) != '\0')
			return change_keys(c, o, &changes[i]);
	return list_keys(c, o);
}

static int
run(const struct command *cmd, const struct options *o)
{
	int64_t relay = options_int(o, "relay-factor");
	unsigned actions = count_actions(o);
	struct client c;
	int code;

	if (actions == 0) {
		command_help(stderr, cmd);
		return 1;
	}
	if (actions > 1) {
		fputs("Only a single action is allowed\n", stderr);
		return 1;
	}
	if (relay < 0 || relay > RELAY_FACTOR_MAX) {
		fprintf(stderr, "Error parsing relay factor: Relay factor must be in range: [0, %d]\n", RELAY_FACTOR_MAX);
		return 1;
	}
	if (options_bool(o, "local-only") && !wants_list(o)) {
		fputs("Error validating local-only: local-only can only be set for list requests\n", stderr);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	code = act(&c, o);
	client_close(&c);
	return code;
}

const struct command command_keyring = {
	.name = "keyring",
	.summary = "Manages the keys that encrypt the gossip",
	.args = "[options]",
	.about = "Lists the keys that the members of the cluster have, or changes them on all members. The keys of a pool are "
	    "replaced without a gap by installing a new one, using it and removing the old one.\n\n"
	    "The exit code is 1 unless all members did what was asked.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
