/*
 * kv_transfer.c - consulctl kv export and import: trees of keys as JSON.
 */
#include <stdlib.h>

#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"
#include "consulctl/cmd/input.h"
#include "consulctl/cmd/kv.h"
#include "consulctl/value.h"
#include "lib/json.h"

/* ---- export */

/* One entry as Consul lays it out, tabs and all. */
static int
add_entry(struct buf *out, struct json_object *entry, bool first)
{
	struct buf value = BUF_INIT(KV_VALUE_MAX);
	int rc = kv_value(entry, &value);

	if (rc == 0)
		rc = buf_adds(out, first ? "\n\t{\n\t\t\"key\": " : ",\n\t{\n\t\t\"key\": ");
	if (rc == 0)
		rc = json_add_string(out, str_from(value_text(entry, "Key")));
	if (rc == 0)
		rc = buf_addf(out, ",\n\t\t\"flags\": %llu,\n\t\t\"value\": \"", (unsigned long long)value_u64(entry, "Flags"));
	if (rc == 0)
		rc = json_add_base64(out, (struct str){ (const char *)value.data, value.len });
	if (rc == 0)
		rc = buf_adds(out, "\"\n\t}");
	buf_release(&value);
	return rc;
}

static int
print_export(struct json_object *list)
{
	struct buf out = BUF_INIT(KV_VALUE_MAX);
	size_t n = value_count(list);
	int rc = 0;

	putchar('[');
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = add_entry(&out, value_at(list, i), i == 0);
		if (rc == 0)
			fwrite(out.data, 1, out.len, stdout);
		buf_clear(&out);
	}
	puts(n > 0 ? "\n]" : "]");
	buf_release(&out);
	return rc;
}

static int
run_export(const struct command *cmd, const struct options *o)
{
	struct json_object *list;
	struct request r;
	struct client c;
	int rc;

	(void)cmd;
	if (o->nargs > 1) {
		fprintf(stderr, "Too many arguments (expected 1, got %d)\n", o->nargs);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	rc = kv_list(&c, &r, o->nargs > 0 ? kv_key(o->args[0]) : "", &list);
	if (rc < 0) {
		fprintf(stderr, "Error querying Consul agent: %s\n", r.error);
	} else {
		rc = print_export(list);
		if (rc < 0)
			fprintf(stderr, "Error exporting KV data: %s\n", errtext(rc));
	}
	json_object_put(list);
	request_release(&r);
	client_close(&c);
	return rc < 0 ? 1 : 0;
}

const struct command command_kv_export = {
	.name = "kv export",
	.summary = "Exports a tree from the KV store as JSON",
	.args = "[options] [PREFIX]",
	.about = "Prints all keys that begin with the prefix (without one: all keys) as JSON that kv import reads.",
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_export,
};

/* ---- import */

static const struct option import_options[] = {
	{ "prefix", OPT_STR, "text", NULL, "Put this in front of every key." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

/* The exported names are in lower case, but JSON written for Go may have them in any. */
static struct json_object *
member(struct json_object *entry, const char *name)
{
	struct json_object *found = value_get(entry, name);
	size_t n;
	const char **names;

	if (found != NULL)
		return found;
	names = value_names(entry, &n);
	for (size_t i = 0; names != NULL && i < n; i++)
		if (str_eq_nocase(str_from(names[i]), str_from(name)))
			found = value_get(entry, names[i]);
	free(names);
	return found;
}

static int
write_entry(struct client *c, const char *key, uint64_t flags, const struct buf *value)
{
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/kv/", kv_key(key));
	r.ex.body = (struct str){ value->data != NULL ? (const char *)value->data : "", value->len };
	if (flags != 0)
		request_param_u64(&r, "flags", flags);
	rc = client_call(c, &r, false);
	if (rc < 0)
		fprintf(stderr, "Error! Failed writing data for key %s: %s\n", key, r.error);
	else
		printf("Imported: %s\n", key);
	request_release(&r);
	return rc;
}

static int
import_entry(struct client *c, struct json_object *entry, const char *prefix)
{
	struct json_object *name = member(entry, "key"), *text = member(entry, "value"), *flags = member(entry, "flags");
	struct buf value = BUF_INIT(KV_VALUE_MAX);
	char *key;
	int rc = 0;

	if (!json_object_is_type(name, json_type_string)) {
		fputs("Cannot unmarshal data: an entry has no key\n", stderr);
		return -EINVAL;
	}
	if (asprintf(&key, "%s%s", prefix, json_object_get_string(name)) < 0)
		return -ENOMEM;
	if (json_object_is_type(text, json_type_string))
		rc = base64_decode((struct str){ json_object_get_string(text), (size_t)json_object_get_string_len(text) }, &value);
	if (rc < 0)
		fprintf(stderr, "Error base 64 decoding value for key %s: illegal base64 data\n", key);
	else
		rc = write_entry(c, key, json_object_is_type(flags, json_type_int) ? json_object_get_uint64(flags) : 0, &value);
	buf_release(&value);
	free(key);
	return rc;
}

/* The array of entries, NULL when the error was printed. */
static struct json_object *
read_entries(const struct options *o)
{
	struct buf text = BUF_INIT(EXCHANGE_BODY_MAX), err = BUF_INIT(64 * KiB);
	struct json_object *list = NULL;
	bool is_null = false;
	char why[256] = "";
	int rc;

	rc = input_argument(o->args[0], &text, &err);
	if (rc < 0) {
		const char *sentence = err.len > 0 ? buf_cstr(&err) : NULL;

		fprintf(stderr, "Error! %s\n", sentence != NULL ? sentence : errtext(rc));
	} else {
		list = json_parse((const char *)text.data, text.len, &is_null, why, sizeof(why));
		if (!json_object_is_type(list, json_type_array)) {
			fprintf(stderr, "Cannot unmarshal data: %s\n", list == NULL && !is_null ? why : "not an array of entries");
			json_object_put(list);
			list = NULL;
		}
	}
	buf_release(&text);
	buf_release(&err);
	return list;
}

static int
run_import(const struct command *cmd, const struct options *o)
{
	struct json_object *list;
	struct client c;
	int rc;

	(void)cmd;
	if (o->nargs != 1) {
		if (o->nargs == 0)
			fputs("Error! Missing DATA argument\n", stderr);
		else
			fprintf(stderr, "Error! Too many arguments (expected 1, got %d)\n", o->nargs);
		return 1;
	}
	if (*o->args[0] == '\0') {
		fputs("Error! Empty DATA argument\n", stderr);
		return 1;
	}
	list = read_entries(o);
	if (list == NULL)
		return 1;
	rc = client_open(&c, o);
	if (rc == 0) {
		for (size_t i = 0; rc == 0 && i < value_count(list); i++)
			rc = import_entry(&c, value_at(list, i), options_str(o, "prefix"));
		client_close(&c);
	}
	json_object_put(list);
	return rc < 0 ? 1 : 0;
}

const struct command command_kv_import = {
	.name = "kv import",
	.summary = "Imports a tree stored as JSON to the KV store",
	.args = "[options] DATA",
	.about = "Writes the keys that kv export printed. DATA may be the JSON itself, @FILE or - for the standard input. "
	    "Keys are written one by one: a failure leaves those before it.",
	.options = import_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_import,
};
