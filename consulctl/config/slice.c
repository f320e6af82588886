/* slice.c - what each daemon gets of the resolved tree, and what a reload cannot change. */
#include <json-c/linkhash.h>
#include <limits.h>
#include <string.h>

#include "consulctl/config/build.h"

static const struct {
	const char *name;
	unsigned bit;
} daemons[] = {
	{ "raftd", TO_RAFTD }, { "gossipd", TO_GOSSIPD }, { "httpd", TO_HTTPD }, { "dnsd", TO_DNSD }, { "checkd", TO_CHECKD },
};

/* Every slice holds these besides the keys of the schema. */
static const char *const facts[] = { "version", "revision", "dev_mode" };

/* What agent/self shows in the place of a secret. */
static const char hidden[] = "hidden";

static bool
is_secret(const char *key)
{
	return strcmp(key, "encrypt") == 0;
}

/* {"tokens": {"agent": "..."}} without what they are; a new object, NULL without memory. */
static struct json_object *
acl_without_tokens(struct json_object *acl)
{
	struct json_object *copy = NULL, *tokens = NULL;

	if (json_object_deep_copy(acl, &copy, NULL) < 0)
		return NULL;
	if (!json_object_object_get_ex(copy, "tokens", &tokens))
		return copy;
	json_object_object_foreach(tokens, key, v) {
		(void)key;
		if (json_object_get_string_len(v) > 0 && json_object_set_string(v, hidden) != 1) {
			json_object_put(copy);
			return NULL;
		}
	}
	return copy;
}

/* What is shown of a key; a new reference, NULL without memory. */
static struct json_object *
shown_value(const char *key, struct json_object *v)
{
	if (is_secret(key) && json_object_get_string_len(v) > 0)
		return json_object_new_string(hidden);
	return strcmp(key, "acl") == 0 ? acl_without_tokens(v) : json_object_get(v);
}

/* agent/self shows the keys in force: all but the definitions, whose tokens are nobody's business, and secrets. */
static int
add_debug_config(struct json_object *slice, const struct config *c)
{
	struct json_object *all = json_object_new_object();

	if (all == NULL)
		return -ENOMEM;
	json_object_object_foreach(c->tree, key, v) {
		struct json_object *shown;

		if (strcmp(key, "services") == 0 || strcmp(key, "checks") == 0 || strcmp(key, "watches") == 0 ||
		    strcmp(key, "agent_tls") == 0 || v == NULL)
			continue;
		shown = shown_value(key, v);
		if (shown == NULL || json_object_object_add(all, key, shown) < 0) {
			json_object_put(shown);
			json_object_put(all);
			return -ENOMEM;
		}
	}
	return config_set(slice, "debug_config", all);
}

static int
copy_key(struct json_object *slice, const struct config *c, const char *path)
{
	struct json_object *v = config_get(c->tree, path);

	return v != NULL ? config_set(slice, path, json_object_get(v)) : 0;
}

static int
fill(struct json_object *slice, const struct config *c, unsigned bit)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < config_nkeys; i++)
		if ((config_keys[i].daemons & bit) != 0)
			rc = copy_key(slice, c, config_keys[i].path);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(facts); i++)
		rc = copy_key(slice, c, facts[i]);
	if (rc == 0 && bit == TO_HTTPD)
		rc = copy_key(slice, c, "ports.https");
	if (rc == 0 && bit == TO_HTTPD)
		rc = add_debug_config(slice, c);
	if (rc == 0 && bit == TO_CHECKD)
		rc = copy_key(slice, c, "definition_sources");
	if (rc == 0 && bit == TO_CHECKD)
		rc = copy_key(slice, c, "agent_tls");
	return rc;
}

struct json_object *
config_slice(const struct config *c, const char *daemon, const char *run_dir)
{
	struct json_object *slice;
	unsigned bit = 0;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(daemons); i++)
		if (strcmp(daemons[i].name, daemon) == 0)
			bit = daemons[i].bit;
	slice = bit != 0 ? json_object_new_object() : NULL;
	if (slice == NULL)
		return NULL;
	rc = fill(slice, c, bit);
	if (rc == 0)
		rc = config_set(slice, "run_dir", json_object_new_string(run_dir));
	if (rc < 0) {
		json_object_put(slice);
		return NULL;
	}
	return slice;
}

static bool
same(struct json_object *a, struct json_object *b)
{
	return (a == NULL && b == NULL) || (a != NULL && b != NULL && json_object_equal(a, b));
}

int
config_diff(const struct config *running, struct config *next, struct buf *ret_keys)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < config_nkeys; i++) {
		const struct config_key *k = &config_keys[i];
		struct json_object *was = config_get(running->tree, k->path), *is = config_get(next->tree, k->path);

		if (k->class != KC_USED || k->reloadable || same(was, is))
			continue;
		rc = buf_addf(ret_keys, "%s%s", ret_keys->len > 0 ? ", " : "", k->path);
		if (rc == 0 && was != NULL)
			rc = config_set(next->tree, k->path, json_object_get(was));
		else if (rc == 0)
			config_remove(next->tree, k->path);
	}
	return rc;
}
