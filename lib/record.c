/* record.c - the walk over a record table: msgpack out and in, copies, comparison. */
#include "lib/record.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"

#define MEMBER(obj, f, type) ((type *)(void *)((char *)(obj) + (f)->offset))
#define CMEMBER(obj, f, type) ((const type *)(const void *)((const char *)(obj) + (f)->offset))

static bool
field_empty(const struct field *f, const void *obj)
{
	switch (f->type) {
	case F_BOOL:
		return !*CMEMBER(obj, f, bool);
	case F_INT:
	case F_DURATION:
		return *CMEMBER(obj, f, int64_t) == 0;
	case F_UINT:
		return *CMEMBER(obj, f, uint64_t) == 0;
	case F_DOUBLE:
		return !(*CMEMBER(obj, f, double) < 0 || *CMEMBER(obj, f, double) > 0);
	case F_STR:
	case F_BYTES:
	case F_RAW:
		return CMEMBER(obj, f, struct str)->len == 0;
	case F_STRS:
		return CMEMBER(obj, f, struct strs)->n == 0;
	case F_STRMAP:
		return CMEMBER(obj, f, struct strmap)->n == 0;
	case F_RECORDS:
		return CMEMBER(obj, f, struct records)->n == 0;
	case F_RECMAP:
		return CMEMBER(obj, f, struct recmap)->n == 0;
	case F_RECORD:
		return false;
	}
	return false;
}

char record_empty[1];

/* What stands in the place of no elements. */
static void *
empty_like(const void *v)
{
	return v == RECORD_EMPTY ? RECORD_EMPTY : NULL;
}

/* Empty, and not because it was given so. */
static bool
field_null(const struct field *f, const void *obj)
{
	if (f->type == F_RECORDS && CMEMBER(obj, f, struct records)->v == RECORD_EMPTY)
		return false;
	if (f->type == F_STRMAP && (const void *)CMEMBER(obj, f, struct strmap)->v == RECORD_EMPTY)
		return false;
	return field_empty(f, obj);
}

/* ---- msgpack out */

static void
encode_strs(const struct strs *s, struct mp_w *w)
{
	mp_w_array(w, (uint32_t)s->n);
	for (size_t i = 0; i < s->n; i++)
		mp_w_str(w, s->v[i]);
}

static void
encode_strmap(const struct strmap *m, struct mp_w *w)
{
	mp_w_map(w, (uint32_t)m->n);
	for (size_t i = 0; i < m->n; i++) {
		mp_w_str(w, m->v[i].key);
		mp_w_str(w, m->v[i].value);
	}
}

static void
encode_duration(const struct field *f, int64_t ns, struct mp_w *w)
{
	char text[DURATION_TEXT_MAX];

	if ((f->flags & FF_DURSTR) == 0) {
		mp_w_int(w, ns);
		return;
	}
	duration_format(ns, text);
	mp_w_cstr(w, text);
}

static void
encode_value(const struct field *f, const void *obj, enum record_mode mode, struct mp_w *w)
{
	const struct records *list;
	const struct recmap *map;

	if ((f->flags & FF_NULL) != 0 && field_null(f, obj)) {
		mp_w_nil(w);
		return;
	}
	switch (f->type) {
	case F_BOOL:
		mp_w_bool(w, *CMEMBER(obj, f, bool));
		break;
	case F_INT:
		mp_w_int(w, *CMEMBER(obj, f, int64_t));
		break;
	case F_UINT:
		mp_w_uint(w, *CMEMBER(obj, f, uint64_t));
		break;
	case F_DOUBLE:
		mp_w_double(w, *CMEMBER(obj, f, double));
		break;
	case F_STR:
		mp_w_str(w, *CMEMBER(obj, f, struct str));
		break;
	case F_BYTES:
		mp_w_bin(w, *CMEMBER(obj, f, struct str));
		break;
	case F_DURATION:
		encode_duration(f, *CMEMBER(obj, f, int64_t), w);
		break;
	case F_STRS:
		encode_strs(CMEMBER(obj, f, struct strs), w);
		break;
	case F_STRMAP:
		encode_strmap(CMEMBER(obj, f, struct strmap), w);
		break;
	case F_RECORD:
		record_encode(f->sub, CMEMBER(obj, f, char), mode, w);
		break;
	case F_RECORDS:
		list = CMEMBER(obj, f, struct records);
		mp_w_array(w, (uint32_t)list->n);
		for (size_t i = 0; i < list->n; i++)
			record_encode(f->sub, (const char *)list->v + i * f->sub->size, mode, w);
		break;
	case F_RECMAP:
		map = CMEMBER(obj, f, struct recmap);
		mp_w_map(w, (uint32_t)map->n);
		for (size_t i = 0; i < map->n; i++) {
			mp_w_str(w, map->keys[i]);
			record_encode(f->sub, (const char *)map->v + i * f->sub->size, mode, w);
		}
		break;
	case F_RAW:
		if (CMEMBER(obj, f, struct str)->len == 0)
			mp_w_nil(w);
		else
			mp_w_raw(w, *CMEMBER(obj, f, struct str));
		break;
	}
}

static bool
field_written(const struct field *f, const void *obj, enum record_mode mode)
{
	if ((f->flags & FF_ALIAS) != 0 || ((f->flags & FF_INTERNAL) != 0 && mode == RECORD_PUBLIC))
		return false;
	return (f->flags & FF_OMITEMPTY) == 0 || !field_empty(f, obj);
}

uint32_t
record_encode_members(const struct record *rec, const void *obj, enum record_mode mode, struct mp_w *w)
{
	uint32_t n = 0;

	for (size_t i = 0; i < rec->nfields; i++) {
		const struct field *f = &rec->fields[i];

		if (!field_written(f, obj, mode))
			continue;
		mp_w_cstr(w, f->name);
		encode_value(f, obj, mode, w);
		n++;
	}
	return n;
}

void
record_encode(const struct record *rec, const void *obj, enum record_mode mode, struct mp_w *w)
{
	uint32_t n = 0;

	if (rec->name[0] == 0) {
		encode_value(&rec->fields[0], obj, mode, w);
		return;
	}
	for (size_t i = 0; i < rec->nfields; i++)
		n += field_written(&rec->fields[i], obj, mode);
	mp_w_map(w, n);
	(void)record_encode_members(rec, obj, mode, w);
}

/* ---- msgpack in */

static void *
list_alloc(struct mp_r *r, struct arena *a, size_t n, size_t size)
{
	void *p;

	if (n == 0)
		return NULL;
	p = n > RECORD_ELEMS_MAX ? NULL : arena_alloc(a, n * size);
	if (p == NULL)
		r->err = -ENOMEM;
	return p;
}

static void
decode_strs(struct mp_r *r, struct strs *s, struct arena *a)
{
	size_t n = mp_r_array(r);

	s->v = list_alloc(r, a, n, sizeof(*s->v));
	if (s->v == NULL)
		return;
	s->n = n;
	for (size_t i = 0; i < n; i++)
		s->v[i] = mp_r_str(r);
}

static void
decode_strmap(struct mp_r *r, struct strmap *m, struct arena *a)
{
	size_t n = mp_r_map(r);

	m->v = n > 0 ? list_alloc(r, a, n, sizeof(*m->v)) : RECORD_EMPTY;
	if (m->v == NULL)
		return;
	m->n = n;
	for (size_t i = 0; i < n; i++) {
		m->v[i].key = mp_r_str(r);
		m->v[i].value = mp_r_str(r);
	}
}

static void decode_map(const struct record *rec, struct mp_r *r, void *obj, struct arena *a, int depth);

static void
decode_records(const struct field *f, struct mp_r *r, struct records *list, struct arena *a, int depth)
{
	size_t n = mp_r_array(r);

	list->v = n > 0 ? list_alloc(r, a, n, f->sub->size) : RECORD_EMPTY;
	if (list->v == NULL)
		return;
	list->n = n;
	for (size_t i = 0; i < n; i++)
		decode_map(f->sub, r, (char *)list->v + i * f->sub->size, a, depth + 1);
}

static void
decode_recmap(const struct field *f, struct mp_r *r, struct recmap *map, struct arena *a, int depth)
{
	size_t n = mp_r_map(r);

	map->v = list_alloc(r, a, n, f->sub->size);
	map->keys = list_alloc(r, a, n, sizeof(*map->keys));
	if (map->v == NULL || map->keys == NULL)
		return;
	map->n = n;
	for (size_t i = 0; i < n; i++) {
		map->keys[i] = mp_r_str(r);
		decode_map(f->sub, r, (char *)map->v + i * f->sub->size, a, depth + 1);
	}
}

static int64_t
decode_duration(struct mp_r *r)
{
	struct str s;
	int64_t ns = 0;

	if (mp_r_type(r) != MP_STR)
		return mp_r_int(r);
	s = mp_r_str(r);
	if (s.len > 0 && duration_parse(s, &ns) < 0)
		r->err = -EDECODE;
	return ns;
}

static void
decode_value(const struct field *f, struct mp_r *r, void *obj, struct arena *a, int depth)
{
	switch (f->type) {
	case F_BOOL:
		*MEMBER(obj, f, bool) = mp_r_bool(r);
		break;
	case F_INT:
		*MEMBER(obj, f, int64_t) = mp_r_int(r);
		break;
	case F_UINT:
		*MEMBER(obj, f, uint64_t) = mp_r_uint(r);
		break;
	case F_DOUBLE:
		*MEMBER(obj, f, double) = mp_r_double(r);
		break;
	case F_STR:
	case F_BYTES:
		*MEMBER(obj, f, struct str) = mp_r_str(r);
		break;
	case F_DURATION:
		*MEMBER(obj, f, int64_t) = decode_duration(r);
		break;
	case F_STRS:
		decode_strs(r, MEMBER(obj, f, struct strs), a);
		break;
	case F_STRMAP:
		decode_strmap(r, MEMBER(obj, f, struct strmap), a);
		break;
	case F_RECORD:
		decode_map(f->sub, r, MEMBER(obj, f, char), a, depth + 1);
		break;
	case F_RECORDS:
		decode_records(f, r, MEMBER(obj, f, struct records), a, depth);
		break;
	case F_RECMAP:
		decode_recmap(f, r, MEMBER(obj, f, struct recmap), a, depth);
		break;
	case F_RAW:
		*MEMBER(obj, f, struct str) = mp_r_raw(r);
		break;
	}
}

const struct field *
record_field(const struct record *rec, struct str wire)
{
	for (size_t i = 0; i < rec->nfields; i++)
		if (str_eqs(wire, rec->fields[i].name))
			return &rec->fields[i];
	return NULL;
}

/* Writers emit fields in table order: the field behind the last one is tried first. */
static const struct field *
field_guess(const struct record *rec, struct str wire, size_t *next)
{
	const struct field *f;

	if (*next < rec->nfields && str_eqs(wire, rec->fields[*next].name))
		return &rec->fields[(*next)++];
	f = record_field(rec, wire);
	if (f != NULL)
		*next = (size_t)(f - rec->fields) + 1;
	return f;
}

static void
decode_map(const struct record *rec, struct mp_r *r, void *obj, struct arena *a, int depth)
{
	size_t next = 0;
	uint32_t n;

	memset(obj, 0, rec->size);
	if (depth >= MP_DEPTH_MAX) {
		r->err = -EDECODE;
		return;
	}
	if (rec->name[0] == 0) {
		decode_value(&rec->fields[0], r, obj, a, depth);
		return;
	}
	n = mp_r_map(r);
	for (uint32_t i = 0; i < n && r->err == 0; i++) {
		const struct field *f = field_guess(rec, mp_r_str(r), &next);

		if (f == NULL)
			mp_r_skip(r);
		else if (mp_r_type(r) == MP_NIL)
			r->p++;
		else
			decode_value(f, r, obj, a, depth);
	}
}

int
record_decode(const struct record *rec, struct mp_r *r, void *obj, struct arena *a)
{
	decode_map(rec, r, obj, a, 0);
	return r->err;
}

/* ---- deep copy: one pass counts, one pass fills */

struct copier {
	char *mem;		/* NULL while counting */
	size_t used;
};

static void *
copy_room(struct copier *c, size_t n, size_t align)
{
	void *p;

	c->used = (c->used + align - 1) & ~(align - 1);
	p = c->mem != NULL ? c->mem + c->used : NULL;
	c->used += n;
	return p;
}

static struct str
copy_str(struct copier *c, struct str s)
{
	char *p;

	if (s.p == NULL)
		return STR_NONE;
	p = copy_room(c, s.len + 1, 1);
	if (p == NULL)
		return STR_NONE;
	memcpy(p, s.p, s.len);
	p[s.len] = 0;
	return (struct str){ p, s.len };
}

static void copy_members(const struct record *rec, const void *src, void *dst, struct copier *c);

/* Counts when dst is NULL; src and dst have equal shallow members otherwise. */
static void
copy_array(const struct record *sub, const void *src, size_t n, void **ret, struct copier *c)
{
	char *p = n > 0 ? copy_room(c, n * sub->size, alignof(max_align_t)) : NULL;

	if (p != NULL)
		memcpy(p, src, n * sub->size);
	for (size_t i = 0; i < n; i++)
		copy_members(sub, (const char *)src + i * sub->size, p != NULL ? p + i * sub->size : NULL, c);
	if (ret != NULL)
		*ret = n > 0 ? (void *)p : empty_like(src);
}

static void
copy_strs(const struct str *src, size_t n, struct str **ret, struct copier *c)
{
	struct str *p = n > 0 ? copy_room(c, n * sizeof(*p), alignof(struct str)) : NULL;

	for (size_t i = 0; i < n; i++) {
		struct str s = copy_str(c, src[i]);

		if (p != NULL)
			p[i] = s;
	}
	if (ret != NULL)
		*ret = p;
}

static void
copy_strmap(const struct strmap *src, struct strmap *dst, struct copier *c)
{
	struct strpair *p = src->n > 0 ? copy_room(c, src->n * sizeof(*p), alignof(struct strpair)) : NULL;

	for (size_t i = 0; i < src->n; i++) {
		struct str k = copy_str(c, src->v[i].key), v = copy_str(c, src->v[i].value);

		if (p != NULL)
			p[i] = (struct strpair){ k, v };
	}
	if (dst != NULL)
		dst->v = src->n > 0 ? p : empty_like(src->v);
}

static void
copy_member(const struct field *f, const void *src, void *dst, struct copier *c)
{
	const struct records *list;
	const struct recmap *map;
	struct str s;

	switch (f->type) {
	case F_STR:
	case F_BYTES:
	case F_RAW:
		s = copy_str(c, *CMEMBER(src, f, struct str));
		if (dst != NULL)
			*MEMBER(dst, f, struct str) = s;
		break;
	case F_STRS:
		copy_strs(CMEMBER(src, f, struct strs)->v, CMEMBER(src, f, struct strs)->n,
		    dst != NULL ? &MEMBER(dst, f, struct strs)->v : NULL, c);
		break;
	case F_STRMAP:
		copy_strmap(CMEMBER(src, f, struct strmap), dst != NULL ? MEMBER(dst, f, struct strmap) : NULL, c);
		break;
	case F_RECORD:
		copy_members(f->sub, CMEMBER(src, f, char), dst != NULL ? MEMBER(dst, f, char) : NULL, c);
		break;
	case F_RECORDS:
		list = CMEMBER(src, f, struct records);
		copy_array(f->sub, list->v, list->n, dst != NULL ? &MEMBER(dst, f, struct records)->v : NULL, c);
		break;
	case F_RECMAP:
		map = CMEMBER(src, f, struct recmap);
		copy_strs(map->keys, map->n, dst != NULL ? &MEMBER(dst, f, struct recmap)->keys : NULL, c);
		copy_array(f->sub, map->v, map->n, dst != NULL ? &MEMBER(dst, f, struct recmap)->v : NULL, c);
		break;
	default:
		break;
	}
}

static void
copy_members(const struct record *rec, const void *src, void *dst, struct copier *c)
{
	for (size_t i = 0; i < rec->nfields; i++)
		if ((rec->fields[i].flags & FF_ALIAS) == 0)
			copy_member(&rec->fields[i], src, dst, c);
}

void *
record_dup(const struct record *rec, const void *obj)
{
	struct copier c = { NULL, 0 };

	(void)copy_room(&c, rec->size, 1);
	copy_members(rec, obj, NULL, &c);
	c.mem = malloc(c.used);
	if (c.mem == NULL)
		return NULL;
	c.used = 0;
	memcpy(copy_room(&c, rec->size, 1), obj, rec->size);
	copy_members(rec, obj, c.mem, &c);
	return c.mem;
}

/* ---- comparison */

static bool
array_equal(const struct record *sub, const void *a, const void *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!record_equal(sub, (const char *)a + i * sub->size, (const char *)b + i * sub->size, NULL))
			return false;
	return true;
}

static bool
strs_equal(const struct str *a, const struct str *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!str_eq(a[i], b[i]))
			return false;
	return true;
}

static bool
strmap_equal(const struct strmap *a, const struct strmap *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct str *v = strmap_get(b, a->v[i].key);

		if (v == NULL || !str_eq(*v, a->v[i].value))
			return false;
	}
	return true;
}

static bool
member_equal(const struct field *f, const void *a, const void *b)
{
	switch (f->type) {
	case F_BOOL:
		return *CMEMBER(a, f, bool) == *CMEMBER(b, f, bool);
	case F_INT:
	case F_DURATION:
	case F_UINT:
	case F_DOUBLE:
		return memcmp(CMEMBER(a, f, char), CMEMBER(b, f, char), sizeof(uint64_t)) == 0;
	case F_STR:
	case F_BYTES:
	case F_RAW:
		return str_eq(*CMEMBER(a, f, struct str), *CMEMBER(b, f, struct str));
	case F_STRS:
		return CMEMBER(a, f, struct strs)->n == CMEMBER(b, f, struct strs)->n &&
		    strs_equal(CMEMBER(a, f, struct strs)->v, CMEMBER(b, f, struct strs)->v, CMEMBER(a, f, struct strs)->n);
	case F_STRMAP:
		return strmap_equal(CMEMBER(a, f, struct strmap), CMEMBER(b, f, struct strmap));
	case F_RECORD:
		return record_equal(f->sub, CMEMBER(a, f, char), CMEMBER(b, f, char), NULL);
	case F_RECORDS:
		return CMEMBER(a, f, struct records)->n == CMEMBER(b, f, struct records)->n &&
		    array_equal(f->sub, CMEMBER(a, f, struct records)->v, CMEMBER(b, f, struct records)->v,
		    CMEMBER(a, f, struct records)->n);
	case F_RECMAP:
		return CMEMBER(a, f, struct recmap)->n == CMEMBER(b, f, struct recmap)->n &&
		    strs_equal(CMEMBER(a, f, struct recmap)->keys, CMEMBER(b, f, struct recmap)->keys,
		    CMEMBER(a, f, struct recmap)->n) &&
		    array_equal(f->sub, CMEMBER(a, f, struct recmap)->v, CMEMBER(b, f, struct recmap)->v,
		    CMEMBER(a, f, struct recmap)->n);
	}
	return false;
}

static bool
skipped(const struct field *f, const char *const *skip)
{
	for (; skip != NULL && *skip != NULL; skip++)
		if (strcmp(*skip, f->name) == 0)
			return true;
	return false;
}

bool
record_equal(const struct record *rec, const void *a, const void *b, const char *const *skip)
{
	for (size_t i = 0; i < rec->nfields; i++)
		if ((rec->fields[i].flags & FF_ALIAS) == 0 && !skipped(&rec->fields[i], skip) && !member_equal(&rec->fields[i], a, b))
			return false;
	return true;
}

const struct str *
strmap_get(const struct strmap *m, struct str key)
{
	for (size_t i = 0; i < m->n; i++)
		if (str_eq(m->v[i].key, key))
			return &m->v[i].value;
	return NULL;
}
