/* value.c - one value of a key: is it of the key's type, and what is kept of it. */
#include <json-c/linkhash.h>
#include <math.h>
#include <string.h>

#include "consulctl/config/build.h"
#include "lib/duration.h"

struct json_object *
config_at(struct json_object *made, struct json_object *raw)
{
	hcl_pos_set(made, hcl_pos(raw));
	return made;
}

struct json_object *
config_single(struct json_object *raw)
{
	if (json_object_is_type(raw, json_type_array) && json_object_array_length(raw) == 1)
		raw = json_object_array_get_idx(raw, 0);
	return json_object_is_type(raw, json_type_object) ? raw : NULL;
}

static struct json_object *
wrong_type(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	static const char *const names[] = {
		[json_type_null] = "null", [json_type_boolean] = "a boolean", [json_type_double] = "a number",
		[json_type_int] = "a number", [json_type_object] = "an object", [json_type_array] = "a list",
		[json_type_string] = "a string",
	};

	if (type == KT_INT && json_object_is_type(raw, json_type_double))
		problem(p, hcl_pos(raw), "%s: expected a whole number, got %g", path, json_object_get_double(raw));
	else
		problem(p, hcl_pos(raw), "%s: expected %s, got %s", path, config_type_text(type), names[json_object_get_type(raw)]);
	return NULL;
}

/* A string without NUL, or NULL. */
static const char *
text_of(struct json_object *raw)
{
	const char *s;

	if (!json_object_is_type(raw, json_type_string))
		return NULL;
	s = json_object_get_string(raw);
	return strlen(s) == (size_t)json_object_get_string_len(raw) ? s : NULL;
}

static struct json_object *
string_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	const char *s = text_of(raw);

	if (!json_object_is_type(raw, json_type_string))
		return wrong_type(p, type, path, raw);
	if (s == NULL) {
		problem(p, hcl_pos(raw), "%s: the string holds a NUL byte", path);
		return NULL;
	}
	return json_object_new_string(s);
}

static struct json_object *
integer_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	double d = json_object_get_double(raw);
	int64_t v;

	if (json_object_is_type(raw, json_type_int))
		v = json_object_get_int64(raw);
	else if (json_object_is_type(raw, json_type_double) && d == floor(d) && fabs(d) < 1e15)
		v = (int64_t)d;
	else
		return wrong_type(p, type, path, raw);
	if (type == KT_PORT && v > 65535) {
		problem(p, hcl_pos(raw), "%s: invalid port %lld: the highest is 65535", path, (long long)v);
		return NULL;
	}
	/* All that is off is the same. */
	return json_object_new_int64(type == KT_PORT && v <= 0 ? -1 : v);
}

/* Milliseconds; what is shorter than one counts as one. */
static struct json_object *
duration_value(struct problems *p, const char *path, struct json_object *raw)
{
	const char *s = text_of(raw);
	int64_t ns = 0;

	if (s == NULL)
		return wrong_type(p, KT_DURATION, path, raw);
	if (duration_parse(str_from(s), &ns) < 0) {
		problem(p, hcl_pos(raw), "%s: invalid duration: time: invalid duration \"%.100s\"", path, s);
		return NULL;
	}
	return json_object_new_int64(ns > 0 && ns < NS_PER_MS ? 1 : ns / NS_PER_MS);
}

static struct json_object *
list_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	enum json_type want = type == KT_STRS ? json_type_string : json_type_object;
	struct json_object *list;
	unsigned before = p->n;

	if (type == KT_OBJECTS && json_object_is_type(raw, json_type_object)) {
		list = json_object_new_array();
		if (list != NULL && json_object_array_add(list, json_object_get(raw)) < 0)
			json_object_put(raw);
		return list;
	}
	if (!json_object_is_type(raw, json_type_array))
		return wrong_type(p, type, path, raw);
	for (size_t i = 0; i < json_object_array_length(raw) && p->n == before; i++) {
		struct json_object *v = json_object_array_get_idx(raw, i);

		if (!json_object_is_type(v, want) || (want == json_type_string && text_of(v) == NULL))
			problem(p, hcl_pos(raw), "%s[%zu]: expected %s", path, i, type == KT_STRS ? "a string" : "an object");
	}
	if (p->n > before)
		return NULL;
	list = json_object_new_array();
	for (size_t i = 0; list != NULL && i < json_object_array_length(raw); i++) {
		struct json_object *v = json_object_get(json_object_array_get_idx(raw, i));

		if (json_object_array_add(list, v) < 0)
			json_object_put(v);
	}
	return list;
}

static struct json_object *
map_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	struct json_object *from = config_single(raw), *map;

	if (json_object_is_type(raw, json_type_array) && json_object_array_length(raw) == 0)
		return json_object_new_object();
	if (from == NULL)
		return wrong_type(p, type, path, raw);
	map = json_object_new_object();
	if (map == NULL)
		return NULL;
	json_object_object_foreach(from, key, v) {
		char sub[CONFIG_PATH_MAX];
		struct json_object *made;

		if (v == NULL)
			continue;
		(void)snprintf(sub, sizeof(sub), "%s.%.200s", path, key);
		made = type == KT_DURMAP ? duration_value(p, sub, v) : string_value(p, KT_STR, sub, v);
		if (type == KT_DURMAP && made != NULL && json_object_get_int64(made) < 0) {
			problem(p, hcl_pos(v), "%s: must not be negative", sub);
			json_object_put(made);
			made = NULL;
		}
		if (made == NULL || json_object_object_add(map, key, config_at(made, v)) < 0) {
			json_object_put(made);
			json_object_put(map);
			return NULL;
		}
	}
	return map;
}

static struct json_object *
definitions_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	bool is_list = json_object_is_type(raw, json_type_array);
	size_t n = is_list ? json_object_array_length(raw) : 1;
	struct json_object *list;

	if (!is_list && !json_object_is_type(raw, json_type_object))
		return wrong_type(p, type, path, raw);
	list = json_object_new_array();
	for (size_t i = 0; list != NULL && i < n; i++) {
		struct json_object *from = is_list ? json_object_array_get_idx(raw, i) : raw, *def;
		char sub[CONFIG_PATH_MAX];

		if (is_list && type != KT_SERVICE && type != KT_CHECK)
			(void)snprintf(sub, sizeof(sub), "%s[%zu]", path, i);
		else
			(void)snprintf(sub, sizeof(sub), "%s", path);
		if (type == KT_WATCHES)
			def = config_watch_def(p, sub, from);
		else
			def = type == KT_SERVICE || type == KT_SERVICES ? config_service_def(p, sub, from) :
			    config_check_def(p, sub, from, true);
		if (def != NULL && json_object_array_add(list, def) < 0)
			json_object_put(def);
	}
	return list;
}

static struct json_object *
make(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	switch (type) {
	case KT_BOOL:
		return json_object_is_type(raw, json_type_boolean) ?
		    json_object_new_boolean(json_object_get_boolean(raw)) : wrong_type(p, type, path, raw);
	case KT_INT:
	case KT_PORT:
		return integer_value(p, type, path, raw);
	case KT_FLOAT:
		return json_object_is_type(raw, json_type_double) || json_object_is_type(raw, json_type_int) ?
		    json_object_new_double(json_object_get_double(raw)) : wrong_type(p, type, path, raw);
	case KT_STR:
	case KT_ADDR:
	case KT_ADDRS:
		return string_value(p, type, path, raw);
	case KT_DURATION:
		return duration_value(p, path, raw);
	case KT_STRS:
	case KT_OBJECTS:
		return list_value(p, type, path, raw);
	case KT_STRMAP:
	case KT_DURMAP:
		return map_value(p, type, path, raw);
	case KT_SERVICE:
	case KT_SERVICES:
	case KT_CHECK:
	case KT_CHECKS:
	case KT_WATCHES:
		return definitions_value(p, type, path, raw);
	case KT_ANY:
		break;
	}
	return json_object_get(raw);
}

struct json_object *
config_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw)
{
	unsigned before = p->n;
	struct json_object *v = make(p, type, path, raw);

	if (v == NULL && p->n == before)
		problem(p, hcl_pos(raw), "%s: out of memory", path);
	return v != NULL && type != KT_ANY ? config_at(v, raw) : v;
}
