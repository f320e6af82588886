/* dialect.c - msgpack as Consul writes it: neither str8 nor bin, all fields, floats for what came from JSON. */
#include "raftd/archive/internal.h"

#define CMEMBER(obj, f, type) ((const type *)(const void *)((const char *)(obj) + (f)->offset))

void
dialect_str(struct mp_w *w, struct str s)
{
	uint8_t head[5] = { 0xdb, (uint8_t)(s.len >> 24), (uint8_t)(s.len >> 16), (uint8_t)(s.len >> 8), (uint8_t)s.len };

	if (s.len < 32) {
		head[4] = (uint8_t)(0xa0 | s.len);
		mp_w_raw(w, (struct str){ (const char *)head + 4, 1 });
	} else if (s.len <= UINT16_MAX) {
		head[2] = 0xda;
		mp_w_raw(w, (struct str){ (const char *)head + 2, 3 });
	} else if (s.len <= UINT32_MAX) {
		mp_w_raw(w, (struct str){ (const char *)head, 5 });
	} else {
		w->err = -ELIMIT;
	}
	mp_w_raw(w, s);
}

static void
write_strs(const struct strs *s, bool null, struct mp_w *w)
{
	if (s->n == 0 && null) {
		mp_w_nil(w);
		return;
	}
	mp_w_array(w, (uint32_t)s->n);
	for (size_t i = 0; i < s->n; i++)
		dialect_str(w, s->v[i]);
}

static void
write_strmap(const struct strmap *m, struct mp_w *w)
{
	if (m->n == 0 && (const void *)m->v != RECORD_EMPTY) {
		mp_w_nil(w);
		return;
	}
	mp_w_map(w, (uint32_t)m->n);
	for (size_t i = 0; i < m->n; i++) {
		dialect_str(w, m->v[i].key);
		dialect_str(w, m->v[i].value);
	}
}

static void
write_records(const struct field *f, const struct records *list, struct mp_w *w)
{
	if (list->n == 0 && list->v != RECORD_EMPTY) {
		mp_w_nil(w);
		return;
	}
	mp_w_array(w, (uint32_t)list->n);
	for (size_t i = 0; i < list->n; i++)
		dialect_encode(f->sub, (const char *)list->v + i * f->sub->size, w);
}

static void
write_recmap(const struct field *f, const struct recmap *m, struct mp_w *w)
{
	if (m->n == 0) {
		mp_w_nil(w);
		return;
	}
	mp_w_map(w, (uint32_t)m->n);
	for (size_t i = 0; i < m->n; i++) {
		dialect_str(w, m->keys[i]);
		dialect_encode(f->sub, (const char *)m->v + i * f->sub->size, w);
	}
}

static void
write_bytes(const struct field *f, struct str s, struct mp_w *w)
{
	if (s.len == 0 && (f->flags & FF_NULL) != 0)
		mp_w_nil(w);
	else
		dialect_str(w, s);
}

static void
write_value(const struct field *f, const void *obj, struct mp_w *w)
{
	switch (f->type) {
	case F_BOOL:
		mp_w_bool(w, *CMEMBER(obj, f, bool));
		break;
	case F_INT:
	case F_DURATION:
		mp_w_int(w, *CMEMBER(obj, f, int64_t));
		break;
	case F_UINT:
		mp_w_uint(w, *CMEMBER(obj, f, uint64_t));
		break;
	case F_DOUBLE:
		mp_w_double(w, *CMEMBER(obj, f, double));
		break;
	case F_STR:
	case F_BYTES:
		write_bytes(f, *CMEMBER(obj, f, struct str), w);
		break;
	case F_STRS:
		write_strs(CMEMBER(obj, f, struct strs), (f->flags & FF_NULL) != 0, w);
		break;
	case F_STRMAP:
		write_strmap(CMEMBER(obj, f, struct strmap), w);
		break;
	case F_RECORD:
		dialect_encode(f->sub, CMEMBER(obj, f, char), w);
		break;
	case F_RECORDS:
		write_records(f, CMEMBER(obj, f, struct records), w);
		break;
	case F_RECMAP:
		write_recmap(f, CMEMBER(obj, f, struct recmap), w);
		break;
	case F_RAW:
		if (CMEMBER(obj, f, struct str)->len == 0)
			mp_w_nil(w);
		else
			mp_w_raw(w, *CMEMBER(obj, f, struct str));
		break;
	}
}

/* Consul's own fields are there always; numbers that it does not know, only where they are set; texts and lists likewise. */
static bool
left_out(const struct field *f, const void *obj)
{
	if ((f->flags & FF_OMITEMPTY) == 0)
		return false;
	if (f->type == F_STR)
		return CMEMBER(obj, f, struct str)->len == 0;
	if (f->type == F_RECORDS)
		return CMEMBER(obj, f, struct records)->n == 0;
	return f->type == F_BOOL ? !*CMEMBER(obj, f, bool) : (f->type == F_UINT || f->type == F_INT) && *CMEMBER(obj, f, uint64_t) == 0;
}

void
dialect_encode(const struct record *rec, const void *obj, struct mp_w *w)
{
	size_t n = 0;

	if (rec->name[0] == 0) {
		write_value(&rec->fields[0], obj, w);
		return;
	}
	for (size_t i = 0; i < rec->nfields; i++)
		n += !left_out(&rec->fields[i], obj);
	mp_w_map(w, (uint32_t)n);
	for (size_t i = 0; i < rec->nfields; i++) {
		if (left_out(&rec->fields[i], obj))
			continue;
		dialect_str(w, str_from(rec->fields[i].name));
		write_value(&rec->fields[i], obj, w);
	}
}

/* Depth is bounded by whoever read the value first. */
static void
copy_json(struct mp_w *w, struct mp_r *r, int depth)
{
	uint32_t n;

	if (depth > MP_DEPTH_MAX) {
		r->err = -EDECODE;
		return;
	}
	switch (mp_r_type(r)) {
	case MP_STR:
	case MP_BIN:
		dialect_str(w, mp_r_str(r));
		break;
	case MP_INT:
	case MP_UINT:
	case MP_DOUBLE:
		mp_w_double(w, mp_r_double(r));
		break;
	case MP_ARRAY:
		n = mp_r_array(r);
		mp_w_array(w, n);
		for (uint32_t i = 0; i < n && r->err == 0; i++)
			copy_json(w, r, depth + 1);
		break;
	case MP_MAP:
		n = mp_r_map(r);
		mp_w_map(w, n);
		for (uint32_t i = 0; i < 2 * (uint64_t)n && r->err == 0; i++)
			copy_json(w, r, depth + 1);
		break;
	default:
		mp_w_raw(w, mp_r_raw(r));
		break;
	}
}

void
dialect_json(struct mp_w *w, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);

	copy_json(w, &r, 0);
	if (r.err < 0 && w->err == 0)
		w->err = r.err;
}
