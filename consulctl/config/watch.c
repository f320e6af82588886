/* watch.c - definitions of watches: their members, and what these may be together, in Consul's words. */
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

#include "consulctl/config/build.h"
#include "consulctl/config/def.h"
#include "consulctl/config/judge.h"
#include "lib/duration.h"

const struct watch_key watch_keys[] = {
	{ "type", KT_STR }, { "datacenter", KT_STR }, { "token", KT_STR }, { "stale", KT_BOOL },
	{ "key", KT_STR }, { "prefix", KT_STR }, { "service", KT_STR }, { "tag", KT_STRS },
	{ "passingonly", KT_BOOL }, { "state", KT_STR }, { "name", KT_STR },
	{ "handler_type", KT_STR }, { "handler", KT_STR }, { "args", KT_STRS }, { "http_handler_config", KT_ANY },
};
const size_t watch_nkeys = ARRAY_LEN(watch_keys);

const struct watch_key watch_http_keys[] = {
	{ "path", KT_STR }, { "method", KT_STR }, { "header", KT_ANY }, { "timeout", KT_DURATION }, { "tls_skip_verify", KT_BOOL },
};
const size_t watch_nhttp_keys = ARRAY_LEN(watch_http_keys);

/* What each type looks at; the first is needed. */
static const struct {
	const char *type, *needs, *params;
} types[] = {
	{ "key", "key", " key " },
	{ "keyprefix", "prefix", " prefix " },
	{ "services", NULL, " " },
	{ "nodes", NULL, " " },
	{ "service", "service", " service tag passingonly " },
	{ "checks", NULL, " service state " },
	{ "event", NULL, " name " },
};

static const char *
text(struct json_object *def, const char *key)
{
	struct json_object *v = config_get(def, key);

	return v != NULL ? json_object_get_string(v) : "";
}

/* ---- members */

/* Takes made, which may be NULL after a problem was told. */
static void
put(struct problems *p, struct json_object *obj, const char *key, struct json_object *made, struct json_object *raw)
{
	if (made == NULL || json_object_object_add(obj, key, config_at(made, raw)) == 0)
		return;
	json_object_put(made);
	problem(p, hcl_pos(raw), "%s: out of memory", key);
}

/* A string may stand for a list of one. */
static struct json_object *
read_strings(struct problems *p, const char *path, struct json_object *raw)
{
	struct json_object *list, *one;

	if (!json_object_is_type(raw, json_type_string))
		return config_value(p, KT_STRS, path, raw);
	one = config_value(p, KT_STR, path, raw);
	list = one != NULL ? json_object_new_array() : NULL;
	if (list == NULL || json_object_array_add(list, one) < 0) {
		json_object_put(one);
		json_object_put(list);
		return NULL;
	}
	return list;
}

/* Name to list of strings. */
static struct json_object *
read_header(struct problems *p, const char *path, struct json_object *raw)
{
	struct json_object *from = config_single(raw), *map = from != NULL ? json_object_new_object() : NULL;

	if (map == NULL) {
		problem(p, hcl_pos(raw), "%s: expected an object", path);
		return NULL;
	}
	json_object_object_foreach(from, key, v) {
		char sub[CONFIG_PATH_MAX];

		(void)snprintf(sub, sizeof(sub), "%.700s.%.200s", path, key);
		if (v != NULL)
			put(p, map, key, read_strings(p, sub, v), v);
	}
	return map;
}

/* Checked as a duration and kept as it is written: it becomes a flag of the watch. */
static struct json_object *
read_duration(struct problems *p, const char *path, struct json_object *raw)
{
	struct json_object *ms = config_value(p, KT_DURATION, path, raw);

	if (ms == NULL)
		return NULL;
	json_object_put(ms);
	return config_value(p, KT_STR, path, raw);
}

static struct json_object *read_members(struct problems *p, const struct watch_key *keys, size_t n, const char *path,
    struct json_object *raw);

static struct json_object *
read_member(struct problems *p, const struct watch_key *k, const char *path, struct json_object *raw)
{
	if (strcmp(k->name, "http_handler_config") == 0)
		return read_members(p, watch_http_keys, watch_nhttp_keys, path, raw);
	if (strcmp(k->name, "header") == 0)
		return read_header(p, path, raw);
	if (strcmp(k->name, "tag") == 0)
		return read_strings(p, path, raw);
	if (strcmp(k->name, "args") == 0 && !json_object_is_type(raw, json_type_array)) {
		problem(p, hcl_pos(raw), "%s: Watch args must be a list of strings", path);
		return NULL;
	}
	return k->type == KT_DURATION ? read_duration(p, path, raw) : config_value(p, k->type, path, raw);
}

static struct json_object *
read_members(struct problems *p, const struct watch_key *keys, size_t n, const char *path, struct json_object *raw)
{
	struct json_object *from = config_single(raw), *def = from != NULL ? json_object_new_object() : NULL;

	if (def == NULL) {
		problem(p, hcl_pos(raw), "%s: expected an object", path);
		return NULL;
	}
	json_object_object_foreach(from, key, v) {
		const struct watch_key *k = NULL;
		char sub[CONFIG_PATH_MAX];

		(void)snprintf(sub, sizeof(sub), "%.700s.%.200s", path, key);
		for (size_t i = 0; i < n; i++)
			if (strcmp(keys[i].name, key) == 0)
				k = &keys[i];
		if (k == NULL)
			problem(p, hcl_pos(v != NULL ? v : raw), "Invalid parameters: [%s]", sub);
		else if (v != NULL)
			put(p, def, key, read_member(p, k, sub, v), v);
	}
	return config_at(def, raw);
}

/* ---- together */

static bool
is_param(const char *key)
{
	static const char common[] = " type datacenter token stale handler_type handler args http_handler_config ";
	char word[64];

	(void)snprintf(word, sizeof(word), " %.60s ", key);
	return strstr(common, word) == NULL;
}

static void
judge_type(struct problems *p, const char *path, struct json_object *def)
{
	const char *type = text(def, "type");
	size_t t = 0;

	while (t < ARRAY_LEN(types) && strcmp(types[t].type, type) != 0)
		t++;
	if (*type == 0)
		problem(p, hcl_pos(def), "%s: Watch type must be specified", path);
	else if (strncmp(type, "connect_", 8) == 0)
		problem(p, hcl_pos(def), "%s: Watch type %.50s is not allowed in agent config", path, type);
	else if (t == ARRAY_LEN(types))
		problem(p, hcl_pos(def), "%s: Unsupported watch type: %.100s", path, type);
	if (t == ARRAY_LEN(types))
		return;
	if (types[t].needs != NULL && *text(def, types[t].needs) == 0)
		problem(p, hcl_pos(def), "%s: Must specify a single %s to watch", path, types[t].needs);
	if (strcmp(type, "checks") == 0 && *text(def, "service") != 0 && *text(def, "state") != 0)
		problem(p, hcl_pos(def), "%s: Cannot specify service and state", path);
	json_object_object_foreach(def, key, v) {
		char word[64];

		(void)snprintf(word, sizeof(word), " %.60s ", key);
		if (is_param(key) && strstr(types[t].params, word) == NULL)
			problem(p, hcl_pos(v), "%s: Invalid parameters: [%s]", path, key);
	}
}

static void
judge_handler(struct problems *p, const char *path, struct json_object *def)
{
	struct json_object *args = config_get(def, "args"), *config = config_get(def, "http_handler_config");
	const char *kind = text(def, "handler_type");
	bool http = strcmp(kind, "http") == 0, shell = config_get(def, "handler") != NULL;
	struct hcl_pos pos = hcl_pos(def);

	if (!http && strcmp(kind, "script") != 0)
		problem(p, pos, "%s: Handler type '%.50s' not recognized", path, kind);
	else if ((shell && args != NULL) || (http && (shell || args != NULL)))
		problem(p, pos, "%s: Only one watch handler allowed", path);
	else if (http && config == NULL)
		problem(p, pos, "%s: Handler type 'http' requires 'http_handler_config' to be set", path);
	else if (http && *text(config, "path") == 0)
		problem(p, pos, "%s: Requires 'path' to be set", path);
	else if (!http && !shell && (args == NULL || json_object_array_length(args) == 0))
		problem(p, pos, "%s: Must define a watch handler", path);
	else if (!http && config != NULL)
		problem(p, pos, "%s: Invalid parameters: [http_handler_config]", path);
	if (shell)
		config_note(p->c, LOG_WARN, "The 'handler' field of a watch is deprecated: give the command as a list in 'args'");
}

struct json_object *
config_watch_def(struct problems *p, const char *path, struct json_object *raw)
{
	unsigned before = p->n;
	struct json_object *def = read_members(p, watch_keys, watch_nkeys, path, raw);

	if (def == NULL || p->n > before)
		return def;
	if (config_get(def, "handler_type") == NULL)
		put(p, def, "handler_type", json_object_new_string("script"), raw);
	judge_type(p, path, def);
	judge_handler(p, path, def);
	return def;
}
