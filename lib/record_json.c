/* record_json.c - JSON input into records by their tables, and JSON values as msgpack. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/duration.h"
#include "lib/json.h"
#include "lib/record.h"

enum { RAW_MAX = 1 << 20 };

struct in {
	struct arena *arena;
	bool strict;
	char *err;
	size_t errlen;
};

#define MEMBER(obj, f, type) ((type *)(void *)((char *)(obj) + (f)->offset))

static int
wrong(struct in *in, const struct field *f, struct json_object *j, const char *want)
{
	static const char *const kinds[] = { "null", "bool", "number", "number", "object", "array", "string" };

	(void)snprintf(in->err, in->errlen, "json: cannot unmarshal %s into field %s of type %s",
	    kinds[json_object_get_type(j)], f->name, want);
	return -EINVAL;
}

static int
no_memory(struct in *in)
{
	(void)snprintf(in->err, in->errlen, "the document is too large");
	return -EINVAL;
}

static int
get_str(struct in *in, struct json_object *j, struct str *ret)
{
	struct str s = { json_object_get_string(j), (size_t)json_object_get_string_len(j) };
	char *p = arena_strdup(in->arena, s);

	if (p == NULL)
		return no_memory(in);
	*ret = (struct str){ p, s.len };
	return 0;
}

static int
get_int(struct in *in, const struct field *f, struct json_object *j, int64_t *ret)
{
	if (!json_object_is_type(j, json_type_int) || json_object_get_uint64(j) > INT64_MAX)
		return wrong(in, f, j, "int");
	*ret = json_object_get_int64(j);
	return 0;
}

static int
get_uint(struct in *in, const struct field *f, struct json_object *j, uint64_t *ret)
{
	if (!json_object_is_type(j, json_type_int) || (json_object_get_int64(j) < 0 && json_object_get_uint64(j) == 0))
		return wrong(in, f, j, "uint64");
	*ret = json_object_get_uint64(j);
	return 0;
}

static int
no_duration(struct in *in, const struct field *f, struct json_object *j)
{
	(void)snprintf(in->err, in->errlen, "%s: time: invalid duration \"%.100s\"", f->name, json_object_get_string(j));
	return -EINVAL;
}

static int
get_duration(struct in *in, const struct field *f, struct json_object *j, int64_t *ret)
{
	struct str s;

	if (json_object_is_type(j, json_type_int)) {
		int64_t v = json_object_get_int64(j);
		bool seconds = (f->flags & FF_SECONDS) != 0 && v < 1000;

		if (json_object_get_uint64(j) > INT64_MAX || __builtin_mul_overflow(v, seconds ? NS_PER_S : 1, ret))
			return no_duration(in, f, j);
		return 0;
	}
	if (json_object_is_type(j, json_type_double)) {
		double v = json_object_get_double(j);

		if (!(v > -0x1p63 && v < 0x1p63))
			return no_duration(in, f, j);
		*ret = (int64_t)v;
		return 0;
	}
	if (!json_object_is_type(j, json_type_string))
		return wrong(in, f, j, "duration");
	s = (struct str){ json_object_get_string(j), (size_t)json_object_get_string_len(j) };
	if (s.len == 0) {
		*ret = 0;
		return 0;
	}
	return duration_parse(s, ret) < 0 ? no_duration(in, f, j) : 0;
}

static int
get_bytes(struct in *in, const struct field *f, struct json_object *j, struct str *ret)
{
	struct buf b = BUF_INIT(INT32_MAX);
	struct str s = { json_object_get_string(j), (size_t)json_object_get_string_len(j) };
	char *p;
	int rc = base64_decode(s, &b);

	if (rc < 0) {
		(void)snprintf(in->err, in->errlen, "field %s: illegal base64 data", f->name);
	} else {
		p = arena_strdup(in->arena, (struct str){ (const char *)b.data, b.len });
		*ret = (struct str){ p, b.len };
		rc = p == NULL ? no_memory(in) : 0;
	}
	buf_release(&b);
	return rc;
}

static int
get_strs(struct in *in, const struct field *f, struct json_object *j, struct strs *ret)
{
	size_t n;

	if (!json_object_is_type(j, json_type_array))
		return wrong(in, f, j, "[]string");
	n = json_object_array_length(j);
	ret->v = arena_alloc(in->arena, n * sizeof(*ret->v));
	if (ret->v == NULL)
		return no_memory(in);
	ret->n = n;
	for (size_t i = 0; i < n; i++) {
		struct json_object *e = json_object_array_get_idx(j, i);
		int rc = e == NULL ? 0 : !json_object_is_type(e, json_type_string) ? wrong(in, f, e, "string") :
		    get_str(in, e, &ret->v[i]);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
pair_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct strpair *)a)->key, ((const struct strpair *)b)->key);
}

static int
get_strmap(struct in *in, const struct field *f, struct json_object *j, struct strmap *ret)
{
	size_t n = 0;

	if (!json_object_is_type(j, json_type_object))
		return wrong(in, f, j, "map[string]string");
	ret->v = arena_alloc(in->arena, (size_t)json_object_object_length(j) * sizeof(*ret->v));
	if (ret->v == NULL)
		return no_memory(in);
	json_object_object_foreach(j, key, val) {
		char *k = arena_strdup(in->arena, str_from(key));

		if (val == NULL || !json_object_is_type(val, json_type_string))
			return wrong(in, f, val, "string");
		if (k == NULL || get_str(in, val, &ret->v[n].value) < 0)
			return no_memory(in);
		ret->v[n++].key = str_from(k);
	}
	ret->n = n;
	qsort(ret->v, n, sizeof(*ret->v), pair_cmp);
	return 0;
}

static int get_member(struct in *in, const struct field *f, struct json_object *j, void *obj);
static int get_object(struct in *in, const struct record *rec, struct json_object *j, void *obj);

/* One of a list or map: an object, or the bare value that a record without a name stands for. */
static int
get_element(struct in *in, const struct record *rec, struct json_object *j, void *obj)
{
	return rec->name[0] != 0 ? get_object(in, rec, j, obj) : get_member(in, &rec->fields[0], j, obj);
}

static int
get_records(struct in *in, const struct field *f, struct json_object *j, struct records *ret)
{
	bool single = json_object_is_type(j, json_type_object) && f->sub->name[0] != 0;
	size_t n;

	if (!single && !json_object_is_type(j, json_type_array))
		return wrong(in, f, j, f->sub->name);
	n = single ? 1 : json_object_array_length(j);
	ret->v = arena_alloc(in->arena, n * f->sub->size);
	if (ret->v == NULL)
		return no_memory(in);
	ret->n = n;
	for (size_t i = 0; i < n; i++) {
		struct json_object *e = single ? j : json_object_array_get_idx(j, i);
		int rc = e == NULL ? 0 : get_element(in, f->sub, e, (char *)ret->v + i * f->sub->size);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
get_recmap(struct in *in, const struct field *f, struct json_object *j, struct recmap *ret)
{
	size_t n = 0;

	if (!json_object_is_type(j, json_type_object))
		return wrong(in, f, j, "map");
	ret->v = arena_alloc(in->arena, (size_t)json_object_object_length(j) * f->sub->size);
	ret->keys = arena_alloc(in->arena, (size_t)json_object_object_length(j) * sizeof(*ret->keys));
	if (ret->v == NULL || ret->keys == NULL)
		return no_memory(in);
	json_object_object_foreach(j, key, val) {
		char *k = arena_strdup(in->arena, str_from(key));
		void *obj = (char *)ret->v + n * f->sub->size;
		int rc = k == NULL ? no_memory(in) : val == NULL ? 0 : get_element(in, f->sub, val, obj);

		if (rc < 0)
			return rc;
		ret->keys[n++] = str_from(k);
	}
	ret->n = n;
	return 0;
}

/* What a table shows of the value. Clients newer than the table send more: that is left out, also where names are strict. */
static int
shown(const struct in *in, const struct record *rec, struct json_object *j, struct mp_w *w)
{
	struct in lenient = { in->arena, false, in->err, in->errlen };
	void *obj = arena_alloc(in->arena, rec->size);
	int rc;

	if (obj == NULL)
		return no_memory(&lenient);
	memset(obj, 0, rec->size);
	rc = get_object(&lenient, rec, j, obj);
	if (rc == 0)
		record_encode(rec, obj, RECORD_PUBLIC, w);
	return rc;
}

static int
get_raw(struct in *in, const struct field *f, struct json_object *j, struct str *ret)
{
	struct buf b = BUF_INIT(RAW_MAX);
	struct mp_w w = mp_w_init(&b);
	char *p;
	int rc = f->sub == NULL ? mp_from_json(&w, j) : shown(in, f->sub, j, &w);

	if (f->sub != NULL && rc < 0) {
		buf_release(&b);
		return rc;
	}
	p = rc < 0 || w.err < 0 ? NULL : arena_strdup(in->arena, (struct str){ (const char *)b.data, b.len });
	if (p != NULL)
		*ret = (struct str){ p, b.len };
	buf_release(&b);
	if (rc == -ELIMIT && w.err == 0) {
		(void)snprintf(in->err, in->errlen, "field %s: nesting too deep", f->name);
		return -EINVAL;
	}
	return p == NULL ? no_memory(in) : 0;
}

static int
get_member(struct in *in, const struct field *f, struct json_object *j, void *obj)
{
	switch (f->type) {
	case F_BOOL:
		if (!json_object_is_type(j, json_type_boolean))
			return wrong(in, f, j, "bool");
		*MEMBER(obj, f, bool) = json_object_get_boolean(j);
		return 0;
	case F_INT:
		return get_int(in, f, j, MEMBER(obj, f, int64_t));
	case F_UINT:
		return get_uint(in, f, j, MEMBER(obj, f, uint64_t));
	case F_DOUBLE:
		*MEMBER(obj, f, double) = json_object_get_double(j);
		return json_object_is_type(j, json_type_int) || json_object_is_type(j, json_type_double) ? 0 :
		    wrong(in, f, j, "float64");
	case F_STR:
		if (!json_object_is_type(j, json_type_string))
			return wrong(in, f, j, "string");
		return get_str(in, j, MEMBER(obj, f, struct str));
	case F_BYTES:
		if (!json_object_is_type(j, json_type_string))
			return wrong(in, f, j, "[]byte");
		return get_bytes(in, f, j, MEMBER(obj, f, struct str));
	case F_DURATION:
		return get_duration(in, f, j, MEMBER(obj, f, int64_t));
	case F_STRS:
		return get_strs(in, f, j, MEMBER(obj, f, struct strs));
	case F_STRMAP:
		return get_strmap(in, f, j, MEMBER(obj, f, struct strmap));
	case F_RECORD:
		return get_object(in, f->sub, j, MEMBER(obj, f, char));
	case F_RECORDS:
		return get_records(in, f, j, MEMBER(obj, f, struct records));
	case F_RECMAP:
		return get_recmap(in, f, j, MEMBER(obj, f, struct recmap));
	case F_RAW:
		return get_raw(in, f, j, MEMBER(obj, f, struct str));
	}
	return -EINVAL;
}

/* "tls_skip_verify", "tlsskipverify" and "TLSSkipVerify" are one name. */
static bool
name_matches(const char *wire, const char *given)
{
	for (;; wire++, given++) {
		while (*given == '_')
			given++;
		if (ascii_lower((unsigned char)*wire) != ascii_lower((unsigned char)*given))
			return false;
		if (*wire == 0)
			return true;
	}
}

static const struct field *
find(const struct record *rec, const char *given)
{
	for (size_t i = 0; i < rec->nfields; i++)
		if (name_matches(rec->fields[i].name, given))
			return &rec->fields[i];
	return NULL;
}

static int
get_object(struct in *in, const struct record *rec, struct json_object *j, void *obj)
{
	if (!json_object_is_type(j, json_type_object)) {
		(void)snprintf(in->err, in->errlen, "json: cannot unmarshal %s into %s",
		    json_type_to_name(json_object_get_type(j)), rec->name);
		return -EINVAL;
	}
	json_object_object_foreach(j, key, val) {
		const struct field *f = find(rec, key);
		int rc = 0;

		if (f == NULL && in->strict) {
			(void)snprintf(in->err, in->errlen, "json: unknown field \"%.200s\"%s", key,
			    strcmp(key, "Namespace") == 0 ? " - Namespaces are a Consul Enterprise feature" : "");
			return -EINVAL;
		}
		if (f != NULL && val != NULL)
			rc = get_member(in, f, val, obj);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
record_from_json(const struct record *rec, struct json_object *j, void *obj, struct arena *a, bool strict, char *ret_err,
    size_t errlen)
{
	struct in in = { a, strict, ret_err, errlen };

	return get_object(&in, rec, j, obj);
}

/* ---- any JSON as msgpack */

static int
key_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
object_to_mp(struct mp_w *w, struct json_object *j, int depth);

static int
value_to_mp(struct mp_w *w, struct json_object *j, int depth)
{
	size_t n;
	int rc = 0;

	if (depth > JSON_RAW_DEPTH_MAX)
		return -ELIMIT;
	switch (json_object_get_type(j)) {
	case json_type_null:
		mp_w_nil(w);
		break;
	case json_type_boolean:
		mp_w_bool(w, json_object_get_boolean(j));
		break;
	case json_type_int:
		if (json_object_get_int64(j) < 0)
			mp_w_int(w, json_object_get_int64(j));
		else
			mp_w_uint(w, json_object_get_uint64(j));
		break;
	case json_type_double:
		mp_w_double(w, json_object_get_double(j));
		break;
	case json_type_string:
		mp_w_str(w, (struct str){ json_object_get_string(j), (size_t)json_object_get_string_len(j) });
		break;
	case json_type_array:
		n = json_object_array_length(j);
		mp_w_array(w, (uint32_t)n);
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = value_to_mp(w, json_object_array_get_idx(j, i), depth + 1);
		break;
	case json_type_object:
		rc = object_to_mp(w, j, depth);
		break;
	}
	return rc < 0 ? rc : w->err;
}

static int
object_to_mp(struct mp_w *w, struct json_object *j, int depth)
{
	size_t n = (size_t)json_object_object_length(j), i = 0;
	const char **keys = malloc((n + 1) * sizeof(char *));
	int rc = 0;

	if (keys == NULL)
		return -ENOMEM;
	json_object_object_foreach(j, key, val) {
		(void)val;
		keys[i++] = key;
	}
	qsort(keys, n, sizeof(*keys), key_cmp);
	mp_w_map(w, (uint32_t)n);
	for (i = 0; rc == 0 && i < n; i++) {
		mp_w_cstr(w, keys[i]);
		rc = value_to_mp(w, json_object_object_get(j, keys[i]), depth + 1);
	}
	free(keys);
	return rc;
}

int
mp_from_json(struct mp_w *w, struct json_object *j)
{
	return value_to_mp(w, j, 0);
}
