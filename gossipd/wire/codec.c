/* codec.c - msgpack as Serf's codec writes and takes it, by the table of a message. */
#include "gossipd/wire/codec.h"

#include <assert.h>
#include <string.h>

#define MEMBER(obj, f, type) ((type *)(void *)((char *)(obj) + (f)->offset))
#define CMEMBER(obj, f, type) ((const type *)(const void *)((const char *)(obj) + (f)->offset))

/* ---- writing */

void
codec_put_raw(struct mp_w *w, struct str s)
{
	uint8_t head[5] = { 0xdb, (uint8_t)(s.len >> 24), (uint8_t)(s.len >> 16), (uint8_t)(s.len >> 8), (uint8_t)s.len };

	if (s.len < 32) {
		mp_w_str(w, s);
		return;
	}
	if (s.len > UINT32_MAX) {
		w->err = -ELIMIT;
	} else if (s.len <= 0xffff) {
		head[2] = 0xda;
		mp_w_raw(w, (struct str){ (const char *)head + 2, 3 });
	} else {
		mp_w_raw(w, (struct str){ (const char *)head, sizeof(head) });
	}
	mp_w_raw(w, s);
}

static bool
omitted(const struct field *f, const void *obj)
{
	if ((f->flags & FF_OMITEMPTY) == 0)
		return false;
	if (f->type == F_UINT)
		return *CMEMBER(obj, f, uint64_t) == 0;
	return CMEMBER(obj, f, struct str)->len == 0;
}

static void
encode_strs(const struct strs *s, bool nil, struct mp_w *w)
{
	if (nil && s->v == NULL) {
		mp_w_nil(w);
		return;
	}
	mp_w_array(w, (uint32_t)s->n);
	for (size_t i = 0; i < s->n; i++)
		codec_put_raw(w, s->v[i]);
}

static void
encode_value(const struct field *f, const void *obj, struct mp_w *w)
{
	const bool nil = (f->flags & FF_NULL) != 0;
	const struct strmap *pairs;
	const struct records *list;
	const struct recmap *map;

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
	case F_STR:
	case F_BYTES:
		if (nil && CMEMBER(obj, f, struct str)->p == NULL)
			mp_w_nil(w);
		else
			codec_put_raw(w, *CMEMBER(obj, f, struct str));
		break;
	case F_STRS:
		encode_strs(CMEMBER(obj, f, struct strs), nil, w);
		break;
	case F_STRMAP:
		pairs = CMEMBER(obj, f, struct strmap);
		mp_w_map(w, (uint32_t)pairs->n);
		for (size_t i = 0; i < pairs->n; i++) {
			codec_put_raw(w, pairs->v[i].key);
			codec_put_raw(w, pairs->v[i].value);
		}
		break;
	case F_RECORD:
		codec_encode(f->sub, CMEMBER(obj, f, char), w);
		break;
	case F_RECORDS:
		list = CMEMBER(obj, f, struct records);
		mp_w_array(w, (uint32_t)list->n);
		for (size_t i = 0; i < list->n; i++)
			codec_encode(f->sub, (const char *)list->v + i * f->sub->size, w);
		break;
	case F_RECMAP:
		map = CMEMBER(obj, f, struct recmap);
		mp_w_map(w, (uint32_t)map->n);
		for (size_t i = 0; i < map->n; i++) {
			codec_put_raw(w, map->keys[i]);
			codec_encode(f->sub, (const char *)map->v + i * f->sub->size, w);
		}
		break;
	default:
		assert(!"no message has such a field");
	}
}

void
codec_encode(const struct record *rec, const void *obj, struct mp_w *w)
{
	uint32_t n = 0;

	if (rec->name[0] == 0) {
		encode_value(&rec->fields[0], obj, w);
		return;
	}
	for (size_t i = 0; i < rec->nfields; i++)
		n += !omitted(&rec->fields[i], obj);
	mp_w_map(w, n);
	for (size_t i = 0; i < rec->nfields; i++) {
		const struct field *f = &rec->fields[i];

		if (omitted(f, obj))
			continue;
		mp_w_cstr(w, f->name);
		encode_value(f, obj, w);
	}
}

/* ---- reading */

static void
bad(struct mp_r *r)
{
	if (r->err == 0)
		r->err = -EDECODE;
}

static void *
take_memory(struct mp_r *r, struct arena *a, size_t n, size_t size)
{
	void *p = NULL;

	if (r->err != 0 || n == 0)
		return NULL;
	if (a == NULL) {
		bad(r);
		return NULL;
	}
	/* The arena's own test is the same one: it does not say which of the two reasons it had. */
	if (n > RECORD_ELEMS_MAX || n * size > a->max - a->used) {
		r->err = -ELIMIT;
		return NULL;
	}
	p = arena_alloc(a, n * size);
	if (p == NULL)
		r->err = -ENOMEM;
	return p;
}

struct str
codec_text(struct mp_r *r)
{
	if (mp_r_type(r) == MP_BIN)
		bad(r);
	return mp_r_str(r);
}

static uint64_t
unsigned_of(struct mp_r *r, unsigned flags)
{
	static const uint64_t largest[4] = { UINT64_MAX, UINT8_MAX, UINT16_MAX, UINT32_MAX };
	uint64_t v = mp_r_uint(r);

	if (v > largest[(flags & W_WIDTH) / W_U8])
		bad(r);
	return v;
}

/* Bytes may come as a list of integers. */
static struct str
bytes_of(struct mp_r *r, struct arena *a)
{
	uint32_t n;
	char *p;

	if (mp_r_type(r) != MP_ARRAY)
		return mp_r_str(r);
	n = mp_r_array(r);
	if (n == 0)
		return (struct str){ "", 0 };
	p = take_memory(r, a, n, 1);
	for (uint32_t i = 0; i < n && r->err == 0; i++)
		p[i] = (char)unsigned_of(r, W_U8);
	return r->err == 0 ? (struct str){ p, n } : STR_NONE;
}

static void
decode_strs(struct mp_r *r, struct strs *s, bool bytes, struct arena *a)
{
	uint32_t n = mp_r_array(r);

	/* An empty list is not nil. */
	s->v = n > 0 ? take_memory(r, a, n, sizeof(*s->v)) : RECORD_EMPTY;
	s->n = s->v != NULL ? n : 0;
	for (size_t i = 0; i < s->n && r->err == 0; i++)
		s->v[i] = bytes ? bytes_of(r, a) : codec_text(r);
}

void
codec_strmap(struct mp_r *r, struct strmap *m, struct arena *a)
{
	uint32_t n = mp_r_map(r);

	m->v = take_memory(r, a, n, sizeof(*m->v));
	m->n = m->v != NULL ? n : 0;
	for (size_t i = 0; i < m->n && r->err == 0; i++) {
		m->v[i].key = codec_text(r);
		m->v[i].value = codec_text(r);
	}
}

/* How many of the n values that come are not nil. */
static size_t
count_filled(struct mp_r r, size_t n)
{
	size_t filled = 0;

	for (size_t i = 0; i < n && r.err == 0; i++) {
		filled += mp_r_type(&r) != MP_NIL;
		mp_r_skip(&r);
	}
	return filled;
}

static void
decode_records(const struct field *f, struct mp_r *r, struct records *list, struct arena *a)
{
	const bool sparse = (f->flags & W_SPARSE) != 0;
	size_t n = mp_r_array(r), room;

	/* A ring of events is mostly nil: 512 of them are no reason for 512 structures. */
	room = sparse ? count_filled(*r, n) : n;
	/* A key may come twice: the last counts, and only its elements. */
	list->n = 0;
	list->v = take_memory(r, a, room, f->sub->size);
	for (size_t i = 0; i < n && r->err == 0; i++) {
		if (sparse && mp_r_type(r) == MP_NIL) {
			mp_r_nil(r);
			continue;
		}
		if (list->n == room) {
			bad(r);
			return;
		}
		codec_decode(f->sub, r, (char *)list->v + list->n++ * f->sub->size, a);
	}
}

static void
decode_recmap(const struct field *f, struct mp_r *r, struct recmap *map, struct arena *a)
{
	uint32_t n = mp_r_map(r);

	map->v = take_memory(r, a, n, f->sub->size);
	map->keys = take_memory(r, a, n, sizeof(*map->keys));
	map->n = map->keys != NULL ? n : 0;
	for (size_t i = 0; i < map->n && r->err == 0; i++) {
		map->keys[i] = codec_text(r);
		codec_decode(f->sub, r, (char *)map->v + i * f->sub->size, a);
	}
}

static void
decode_value(const struct field *f, struct mp_r *r, void *obj, struct arena *a)
{
	switch (f->type) {
	case F_BOOL:
		*MEMBER(obj, f, bool) = mp_r_bool(r);
		break;
	case F_INT:
		*MEMBER(obj, f, int64_t) = mp_r_int(r);
		break;
	case F_UINT:
		*MEMBER(obj, f, uint64_t) = unsigned_of(r, f->flags);
		break;
	case F_STR:
		*MEMBER(obj, f, struct str) = codec_text(r);
		break;
	case F_BYTES:
		*MEMBER(obj, f, struct str) = bytes_of(r, a);
		break;
	case F_STRS:
		decode_strs(r, MEMBER(obj, f, struct strs), (f->flags & W_BYTES) != 0, a);
		break;
	case F_STRMAP:
		codec_strmap(r, MEMBER(obj, f, struct strmap), a);
		break;
	case F_RECORD:
		codec_decode(f->sub, r, MEMBER(obj, f, char), a);
		break;
	case F_RECORDS:
		decode_records(f, r, MEMBER(obj, f, struct records), a);
		break;
	case F_RECMAP:
		decode_recmap(f, r, MEMBER(obj, f, struct recmap), a);
		break;
	default:
		assert(!"no message has such a field");
	}
}

/* Names are a few bytes long: looking at them here is faster than calls. */
static bool
is_name(struct str wire, const char *name)
{
	size_t i = 0;

	while (i < wire.len && name[i] != '\0' && name[i] == wire.p[i])
		i++;
	return i == wire.len && name[i] == '\0';
}

/* Peers write fields in our order: the field behind the last one is tried first. */
static const struct field *
field_guess(const struct record *rec, struct str wire, size_t *next)
{
	for (size_t i = 0, at = *next; i < rec->nfields; i++, at++) {
		if (at >= rec->nfields)
			at = 0;
		if (is_name(wire, rec->fields[at].name)) {
			*next = at + 1;
			return &rec->fields[at];
		}
	}
	return NULL;
}

static const struct field *
field_at(const struct record *rec, uint32_t at)
{
	for (size_t i = 0; i < rec->nfields; i++)
		if (rec->fields[i].flags >> W_AT_SHIFT == at)
			return &rec->fields[i];
	return NULL;
}

void
codec_decode(const struct record *rec, struct mp_r *r, void *obj, struct arena *a)
{
	const bool list = mp_r_type(r) == MP_ARRAY;
	size_t next = 0;
	uint32_t n;

	memset(obj, 0, rec->size);
	if (rec->name[0] == 0) {
		if (mp_r_type(r) == MP_NIL)
			mp_r_nil(r);
		else
			decode_value(&rec->fields[0], r, obj, a);
		return;
	}
	n = list ? mp_r_array(r) : mp_r_map(r);
	for (uint32_t i = 0; i < n && r->err == 0; i++) {
		const struct field *f = list ? field_at(rec, i) : field_guess(rec, codec_text(r), &next);

		if (f == NULL)
			mp_r_skip(r);
		else if (mp_r_type(r) == MP_NIL)
			mp_r_nil(r);
		else
			decode_value(f, r, obj, a);
	}
}
