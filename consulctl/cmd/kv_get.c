/*
 * kv_get.c - consulctl kv get: values, keys and their details.
 */
#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"
#include "consulctl/cmd/kv.h"
#include "consulctl/table.h"
#include "consulctl/value.h"
#include "lib/json.h"

static const struct option options[] = {
	{ "base64", OPT_BOOL, NULL, NULL, "Print values in base64." },
	{ "detailed", OPT_BOOL, NULL, NULL, "Print the indexes, flags and session of a key too." },
	{ "keys", OPT_BOOL, NULL, NULL, "List the keys that begin with the argument, up to the next separator, without values." },
	{ "recurse", OPT_BOOL, NULL, NULL, "Print all keys that begin with the argument, and their values." },
	{ "separator", OPT_STR, "text", "/", "Where -keys cuts keys and lists those below as one; empty: nowhere." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
value_for_print(struct json_object *entry, bool base64, struct buf *out)
{
	struct buf raw = BUF_INIT(KV_VALUE_MAX);
	int rc;

	if (!base64)
		return kv_value(entry, out);
	/* Decoded and encoded again: whatever the agent's base64 looks like, ours is the standard one. */
	rc = kv_value(entry, &raw);
	if (rc == 0)
		rc = json_add_base64(out, (struct str){ (const char *)raw.data, raw.len });
	buf_release(&raw);
	return rc;
}

static int
print_detailed(struct json_object *entry, struct str value)
{
	static const char *const numbers[] = { "CreateIndex", "Flags", "Key", "LockIndex", "ModifyIndex" };
	const char *session = value_text(entry, "Session");
	struct table t;
	int rc;

	table_init(&t, 2);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		table_adds(&t, numbers[i]);
		if (strcmp(numbers[i], "Key") == 0)
			table_adds(&t, value_text(entry, "Key"));
		else
			table_addf(&t, "%llu", (unsigned long long)value_u64(entry, numbers[i]));
	}
	table_adds(&t, "Session");
	table_adds(&t, *session != '\0' ? session : "-");
	table_adds(&t, "Value");
	table_add(&t, value);
	rc = table_print(&t, stdout, TABLE_WIDE_GAP);
	table_release(&t);
	return rc;
}

/* With its key in front when it is one of many. */
static int
print_entry(struct json_object *entry, const struct options *o, bool with_key)
{
	struct buf value = BUF_INIT(KV_VALUE_MAX);
	int rc = value_for_print(entry, options_bool(o, "base64"), &value);

	if (rc == 0 && options_bool(o, "detailed")) {
		rc = print_detailed(entry, (struct str){ (const char *)value.data, value.len });
	} else if (rc == 0) {
		if (with_key)
			printf("%s:", value_text(entry, "Key"));
		if (value.len > 0)
			fwrite(value.data, 1, value.len, stdout);
		putchar('\n');
	}
	buf_release(&value);
	if (rc < 0)
		fprintf(stderr, "Error rendering KV pair: %s\n", errtext(rc));
	return rc;
}

static int
print_tree(struct client *c, const char *prefix, const struct options *o)
{
	struct json_object *list;
	struct request r;
	int rc = kv_list(c, &r, prefix, &list);
	size_t n = value_count(list);

	if (rc < 0)
		fprintf(stderr, "Error querying Consul agent: %s\n", r.error);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = print_entry(value_at(list, i), o, true);
		if (rc == 0 && options_bool(o, "detailed") && i + 1 < n)
			putchar('\n');
	}
	json_object_put(list);
	request_release(&r);
	return rc < 0 ? 1 : 0;
}

static int
print_keys(struct client *c, const char *prefix, const char *separator)
{
	struct json_object *list = NULL;
	struct request r;
	int rc;

	request_init(&r, "GET", "/v1/kv/", prefix);
	request_param(&r, "keys", NULL);
	if (*separator != '\0')
		request_param(&r, "separator", separator);
	if (c->stale)
		request_param(&r, "stale", NULL);
	rc = client_call(c, &r, true);
	if (rc == 0) {
		bool is_null = false;

		list = request_json(&r, &is_null);
		rc = list != NULL || is_null ? 0 : -EBADMSG;
	}
	if (rc < 0)
		fprintf(stderr, "Error querying Consul agent: %s\n", r.error);
	for (size_t i = 0; i < value_count(list); i++)
		puts(json_object_get_string(value_at(list, i)));
	json_object_put(list);
	request_release(&r);
	return rc < 0 ? 1 : 0;
}

static int
print_one(struct client *c, const char *key, const struct options *o)
{
	struct json_object *list = NULL;
	struct request r;
	int rc;

	request_init(&r, "GET", "/v1/kv/", key);
	if (c->stale)
		request_param(&r, "stale", NULL);
	rc = client_call(c, &r, true);
	if (rc == 0) {
		list = request_json(&r, NULL);
		rc = list != NULL ? 0 : -EBADMSG;
	}
	if (rc > 0 || (rc == 0 && value_count(list) == 0)) {
		fprintf(stderr, "Error! No key exists at: %s\n", key);
		rc = -ENOENT;
	} else if (rc < 0) {
		fprintf(stderr, "Error querying Consul agent: %s\n", r.error);
	} else {
		rc = print_entry(value_at(list, 0), o, false);
	}
	json_object_put(list);
	request_release(&r);
	return rc < 0 ? 1 : 0;
}

static int
run(const struct command *cmd, const struct options *o)
{
	const char *key = o->nargs > 0 ? kv_key(o->args[0]) : "";
	bool keys = options_bool(o, "keys"), recurse = options_bool(o, "recurse");
	struct client c;
	int code;

	(void)cmd;
	if (o->nargs > 1) {
		fprintf(stderr, "Too many arguments (expected 1, got %d)\n", o->nargs);
		return 1;
	}
	if (*key == '\0' && !keys && !recurse) {
		fputs("Error! Missing KEY argument\n", stderr);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	if (keys)
		code = print_keys(&c, key, options_str(o, "separator"));
	else if (recurse)
		code = print_tree(&c, key, o);
	else
		code = print_one(&c, key, o);
	client_close(&c);
	return code;
}

const struct command command_kv_get = {
	.name = "kv get",
	.summary = "Retrieves or lists data of the KV store",
	.args = "[options] [KEY_OR_PREFIX]",
	.about = "Prints the value of a key as it is, with a newline behind it. A key that does not exist is an error.\n\n"
	    "With -recurse, prints every key that begins with the prefix, and its value; with -keys, only the keys. "
	    "Both may be without a prefix, which means the whole store.",
	.options = options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run,
};
