/*
 * kv_delete.c - consulctl kv delete.
 */
#include "consulctl/commands.h"
#include "consulctl/cmd/kv.h"

static const struct option options[] = {
	{ "cas", OPT_BOOL, NULL, NULL, "Delete only if the key's ModifyIndex is that of -modify-index." },
	{ "modify-index", OPT_U64, "number", NULL, "The ModifyIndex that -cas compares." },
	{ "recurse", OPT_BOOL, NULL, NULL, "Delete all keys that begin with the argument." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

/* A sentence about flags that do not fit; NULL when they do. */
static const char *
complaint(const char *key, bool cas, bool recurse, uint64_t index)
{
	if (*key == '\0' && !recurse)
		return "Error! Missing KEY argument";
	if (cas && index == 0)
		return "Cannot delete a key that does not exist. Provide a -modify-index greater than than 0.";
	if (index != 0 && !cas)
		return "Cannot specify -modify-index without -cas!";
	if (recurse && cas)
		return "Cannot specify both -cas and -recurse!";
	return NULL;
}

static int
report(const struct request *r, int rc, const char *key, bool cas, bool recurse)
{
	if (rc < 0) {
		if (recurse)
			fprintf(stderr, "Error! Did not delete prefix %s: %s\n", key, r->error);
		else if (cas)
			fprintf(stderr, "Error! Did not delete key %s: %s\n", key, r->error);
		else
			fprintf(stderr, "Error deleting key %s: %s\n", key, r->error);
		return 1;
	}
	if (cas && !request_true(r)) {
		fprintf(stderr, "Error! Did not delete key %s: CAS failed\n", key);
		return 1;
	}
	printf(recurse ? "Success! Deleted keys with prefix: %s\n" : "Success! Deleted key: %s\n", key);
	return 0;
}

static int
run(const struct command *cmd, const struct options *o)
{
	const char *key = o->nargs > 0 ? kv_key(o->args[0]) : "", *wrong;
	bool cas = options_bool(o, "cas"), recurse = options_bool(o, "recurse");
	uint64_t index = options_u64(o, "modify-index");
	struct request r;
	struct client c;
	int code;

	(void)cmd;
	if (o->nargs > 1) {
		fprintf(stderr, "Too many arguments (expected 1, got %d)\n", o->nargs);
		return 1;
	}
	wrong = complaint(key, cas, recurse, index);
	if (wrong != NULL) {
		fprintf(stderr, "%s\n", wrong);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	request_init(&r, "DELETE", "/v1/kv/", key);
	if (recurse)
		request_param(&r, "recurse", NULL);
	if (cas)
		request_param_u64(&r, "cas", index);
	code = report(&r, client_call(&c, &r, false), key, cas, recurse);
	request_release(&r);
	client_close(&c);
	return code;
}

const struct command command_kv_delete = {
	.name = "kv delete",
	.summary = "Removes data from the KV store",
	.args = "[options] KEY_OR_PREFIX",
	.about = "Deletes a key, or, with -recurse, all keys that begin with the prefix. A key that does not exist is no error.",
	.options = options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run,
};
