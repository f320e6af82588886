/* mp.c - the msgpack formats, byte by byte. */
#include "lib/mp.h"

#include <string.h>

/* ---- writing */

/* Room for n bytes at the end, NULL when there is none. Replies are made of many small pieces: the usual case is short. */
static inline uint8_t *
room(struct mp_w *w, size_t n)
{
	struct buf *b = w->out;
	uint8_t *p;

	if (w->err != 0)
		return NULL;
	if (n > b->cap - b->len) {
		w->err = buf_reserve(b, n);
		if (w->err != 0)
			return NULL;
	}
	p = b->data + b->len;
	b->len += n;
	return p;
}

static inline void
put(struct mp_w *w, const void *from, size_t n)
{
	uint8_t *p = n > 0 ? room(w, n) : NULL;

	if (p != NULL)
		memcpy(p, from, n);
}

/* A tag byte and `width` bytes of big-endian number. */
static inline void
put_num(struct mp_w *w, uint8_t tag, uint64_t v, int width)
{
	uint8_t *p = room(w, 1 + (size_t)width);

	if (p == NULL)
		return;
	*p++ = tag;
	for (int i = width - 1; i >= 0; i--)
		*p++ = (uint8_t)(v >> (8 * i));
}

void
mp_w_nil(struct mp_w *w)
{
	put_num(w, 0xc0, 0, 0);
}

void
mp_w_bool(struct mp_w *w, bool v)
{
	put_num(w, v ? 0xc3 : 0xc2, 0, 0);
}

void
mp_w_uint(struct mp_w *w, uint64_t v)
{
	if (v < 0x80)
		put_num(w, (uint8_t)v, 0, 0);
	else if (v <= 0xff)
		put_num(w, 0xcc, v, 1);
	else if (v <= 0xffff)
		put_num(w, 0xcd, v, 2);
	else if (v <= 0xffffffff)
		put_num(w, 0xce, v, 4);
	else
		put_num(w, 0xcf, v, 8);
}

void
mp_w_int(struct mp_w *w, int64_t v)
{
	if (v >= 0)
		mp_w_uint(w, (uint64_t)v);
	else if (v >= -32)
		put_num(w, (uint8_t)v, 0, 0);
	else if (v >= INT8_MIN)
		put_num(w, 0xd0, (uint64_t)v, 1);
	else if (v >= INT16_MIN)
		put_num(w, 0xd1, (uint64_t)v, 2);
	else if (v >= INT32_MIN)
		put_num(w, 0xd2, (uint64_t)v, 4);
	else
		put_num(w, 0xd3, (uint64_t)v, 8);
}

void
mp_w_double(struct mp_w *w, double v)
{
	uint64_t u;

	memcpy(&u, &v, sizeof(u));
	put_num(w, 0xcb, u, 8);
}

void
mp_w_str(struct mp_w *w, struct str s)
{
	if (s.len < 32)
		put_num(w, (uint8_t)(0xa0 | s.len), 0, 0);
	else if (s.len <= 0xff)
		put_num(w, 0xd9, s.len, 1);
	else if (s.len <= 0xffff)
		put_num(w, 0xda, s.len, 2);
	else if (s.len <= 0xffffffff)
		put_num(w, 0xdb, s.len, 4);
	else
		w->err = -ELIMIT;
	put(w, s.p, s.len);
}

void
mp_w_cstr(struct mp_w *w, const char *s)
{
	mp_w_str(w, str_from(s));
}

void
mp_w_bin_head(struct mp_w *w, size_t len)
{
	if (len <= 0xff)
		put_num(w, 0xc4, len, 1);
	else if (len <= 0xffff)
		put_num(w, 0xc5, len, 2);
	else if (len <= 0xffffffff)
		put_num(w, 0xc6, len, 4);
	else
		w->err = -ELIMIT;
}

void
mp_w_bin(struct mp_w *w, struct str s)
{
	mp_w_bin_head(w, s.len);
	put(w, s.p, s.len);
}

void
mp_w_array(struct mp_w *w, uint32_t n)
{
	if (n < 16)
		put_num(w, (uint8_t)(0x90 | n), 0, 0);
	else if (n <= 0xffff)
		put_num(w, 0xdc, n, 2);
	else
		put_num(w, 0xdd, n, 4);
}

void
mp_w_map(struct mp_w *w, uint32_t n)
{
	if (n < 16)
		put_num(w, (uint8_t)(0x80 | n), 0, 0);
	else if (n <= 0xffff)
		put_num(w, 0xde, n, 2);
	else
		put_num(w, 0xdf, n, 4);
}

void
mp_w_raw(struct mp_w *w, struct str s)
{
	put(w, s.p, s.len);
}

static size_t
hold(struct mp_w *w, uint8_t tag)
{
	size_t at = w->out->len;

	put_num(w, tag, 0, 4);
	return at;
}

static void
patch(struct mp_w *w, size_t at, uint32_t n)
{
	if (w->err != 0)
		return;
	for (int i = 0; i < 4; i++)
		w->out->data[at + 1 + (size_t)i] = (uint8_t)(n >> (8 * (3 - i)));
}

size_t
mp_w_array_hold(struct mp_w *w)
{
	return hold(w, 0xdd);
}

void
mp_w_array_patch(struct mp_w *w, size_t at, uint32_t n)
{
	patch(w, at, n);
}

size_t
mp_w_map_hold(struct mp_w *w)
{
	return hold(w, 0xdf);
}

void
mp_w_map_patch(struct mp_w *w, size_t at, uint32_t n)
{
	patch(w, at, n);
}

/* ---- reading */

static void
bad(struct mp_r *r)
{
	r->err = -EDECODE;
}

static size_t
left(const struct mp_r *r)
{
	return (size_t)(r->end - r->p);
}

/* Skips the tag and reads `width` bytes behind it. */
static uint64_t
take_num(struct mp_r *r, size_t width)
{
	uint64_t v = 0;

	if (r->err != 0 || left(r) < 1 + width) {
		bad(r);
		return 0;
	}
	for (size_t i = 1; i <= width; i++)
		v = v << 8 | r->p[i];
	r->p += 1 + width;
	return v;
}

static struct str
take_bytes(struct mp_r *r, uint64_t n)
{
	struct str s = { "", 0 };

	if (r->err != 0 || n > left(r)) {
		bad(r);
		return STR_NONE;
	}
	if (n > 0)
		s = (struct str){ (const char *)r->p, (size_t)n };
	r->p += n;
	return s;
}

enum mp_type
mp_r_type(const struct mp_r *r)
{
	uint8_t t;

	if (r->err != 0 || r->p >= r->end)
		return MP_END;
	t = *r->p;
	if (t < 0x80)
		return MP_UINT;
	if (t < 0x90)
		return MP_MAP;
	if (t < 0xa0)
		return MP_ARRAY;
	if (t < 0xc0)
		return MP_STR;
	if (t >= 0xe0)
		return MP_INT;
	static const uint8_t kinds[32] = {
		[0xc0 - 0xc0] = MP_NIL, [0xc1 - 0xc0] = MP_END, [0xc2 - 0xc0] = MP_BOOL, [0xc3 - 0xc0] = MP_BOOL,
		[0xc4 - 0xc0] = MP_BIN, [0xc5 - 0xc0] = MP_BIN, [0xc6 - 0xc0] = MP_BIN,
		[0xc7 - 0xc0] = MP_EXT, [0xc8 - 0xc0] = MP_EXT, [0xc9 - 0xc0] = MP_EXT,
		[0xca - 0xc0] = MP_DOUBLE, [0xcb - 0xc0] = MP_DOUBLE,
		[0xcc - 0xc0] = MP_UINT, [0xcd - 0xc0] = MP_UINT, [0xce - 0xc0] = MP_UINT, [0xcf - 0xc0] = MP_UINT,
		[0xd0 - 0xc0] = MP_INT, [0xd1 - 0xc0] = MP_INT, [0xd2 - 0xc0] = MP_INT, [0xd3 - 0xc0] = MP_INT,
		[0xd4 - 0xc0] = MP_EXT, [0xd5 - 0xc0] = MP_EXT, [0xd6 - 0xc0] = MP_EXT, [0xd7 - 0xc0] = MP_EXT,
		[0xd8 - 0xc0] = MP_EXT, [0xd9 - 0xc0] = MP_STR, [0xda - 0xc0] = MP_STR, [0xdb - 0xc0] = MP_STR,
		[0xdc - 0xc0] = MP_ARRAY, [0xdd - 0xc0] = MP_ARRAY, [0xde - 0xc0] = MP_MAP, [0xdf - 0xc0] = MP_MAP,
	};
	return (enum mp_type)kinds[t - 0xc0];
}

void
mp_r_nil(struct mp_r *r)
{
	if (mp_r_type(r) != MP_NIL)
		bad(r);
	else
		r->p++;
}

bool
mp_r_bool(struct mp_r *r)
{
	bool v;

	if (mp_r_type(r) != MP_BOOL) {
		bad(r);
		return false;
	}
	v = *r->p == 0xc3;
	r->p++;
	return v;
}

/* Reads an integer of any width; sign tells whether *ret is negative. */
static bool
take_int(struct mp_r *r, uint64_t *ret)
{
	uint8_t t;

	*ret = 0;
	switch (mp_r_type(r)) {
	case MP_UINT:
		t = *r->p;
		if (t < 0x80) {
			*ret = t;
			r->p++;
		} else {
			*ret = take_num(r, (size_t)1 << (t - 0xcc));
		}
		return false;
	case MP_INT:
		t = *r->p;
		if (t >= 0xe0) {
			*ret = (uint64_t)(int64_t)(int8_t)t;
			r->p++;
		} else {
			unsigned bits = 8u << (t - 0xd0);

			*ret = take_num(r, bits / 8);
			if (bits < 64 && (*ret >> (bits - 1) & 1) != 0)
				*ret |= ~(uint64_t)0 << bits;
		}
		return (int64_t)*ret < 0;
	default:
		bad(r);
		return false;
	}
}

uint64_t
mp_r_uint(struct mp_r *r)
{
	uint64_t v;

	if (take_int(r, &v)) {
		bad(r);
		return 0;
	}
	return v;
}

int64_t
mp_r_int(struct mp_r *r)
{
	uint64_t v;

	if (!take_int(r, &v) && v > INT64_MAX) {
		bad(r);
		return 0;
	}
	return (int64_t)v;
}

double
mp_r_double(struct mp_r *r)
{
	uint64_t v;
	double d;
	float f;

	if (mp_r_type(r) != MP_DOUBLE)
		return take_int(r, &v) ? (double)(int64_t)v : (double)v;
	if (*r->p == 0xca) {
		uint32_t u = (uint32_t)take_num(r, 4);

		memcpy(&f, &u, sizeof(f));
		return (double)f;
	}
	v = take_num(r, 8);
	memcpy(&d, &v, sizeof(d));
	return d;
}

struct str
mp_r_str(struct mp_r *r)
{
	uint8_t t;

	switch (mp_r_type(r)) {
	case MP_NIL:
		r->p++;
		return STR_NONE;
	case MP_STR:
		t = *r->p;
		if (t < 0xc0) {
			r->p++;
			return take_bytes(r, t & 0x1f);
		}
		return take_bytes(r, take_num(r, (size_t)1 << (t - 0xd9)));
	case MP_BIN:
		t = *r->p;
		return take_bytes(r, take_num(r, (size_t)1 << (t - 0xc4)));
	default:
		bad(r);
		return STR_NONE;
	}
}

/* A container header; each element takes at least one byte, a pair two. */
static uint32_t
take_count(struct mp_r *r, enum mp_type want, uint8_t fix, uint8_t wide, size_t per)
{
	uint64_t n;

	if (mp_r_type(r) == MP_NIL) {
		r->p++;
		return 0;
	}
	if (mp_r_type(r) != want) {
		bad(r);
		return 0;
	}
	if (*r->p >= 0xc0)
		n = take_num(r, *r->p == wide ? 2 : 4);
	else
		n = *r->p++ & (uint8_t)~fix;
	if (r->err != 0 || n > left(r) / per) {
		bad(r);
		return 0;
	}
	return (uint32_t)n;
}

uint32_t
mp_r_array(struct mp_r *r)
{
	return take_count(r, MP_ARRAY, 0xf0, 0xdc, 1);
}

uint32_t
mp_r_map(struct mp_r *r)
{
	return take_count(r, MP_MAP, 0xf0, 0xde, 2);
}

static void
skip_ext(struct mp_r *r)
{
	uint8_t t = *r->p;
	uint64_t n;

	if (t >= 0xd4)
		n = (uint64_t)1 << (t - 0xd4);
	else
		n = take_num(r, (size_t)1 << (t - 0xc7));
	if (t >= 0xd4)
		r->p++;
	(void)take_bytes(r, n + 1);
}

static void
skip_scalar(struct mp_r *r)
{
	uint64_t v;

	switch (mp_r_type(r)) {
	case MP_NIL:
	case MP_BOOL:
		r->p++;
		break;
	case MP_INT:
	case MP_UINT:
		(void)take_int(r, &v);
		break;
	case MP_DOUBLE:
		(void)mp_r_double(r);
		break;
	case MP_STR:
	case MP_BIN:
		(void)mp_r_str(r);
		break;
	case MP_EXT:
		skip_ext(r);
		break;
	default:
		bad(r);
		break;
	}
}

void
mp_r_skip(struct mp_r *r)
{
	uint64_t todo[MP_DEPTH_MAX];
	int depth = 0;

	todo[0] = 1;
	while (depth >= 0 && r->err == 0) {
		enum mp_type t;
		uint64_t n;

		if (todo[depth] == 0) {
			depth--;
			continue;
		}
		todo[depth]--;
		t = mp_r_type(r);
		if (t != MP_ARRAY && t != MP_MAP) {
			skip_scalar(r);
			continue;
		}
		n = t == MP_ARRAY ? mp_r_array(r) : (uint64_t)mp_r_map(r) * 2;
		if (depth + 1 == MP_DEPTH_MAX)
			bad(r);
		else
			todo[++depth] = n;
	}
}

struct str
mp_r_raw(struct mp_r *r)
{
	const uint8_t *from = r->p;

	mp_r_skip(r);
	if (r->err != 0)
		return STR_NONE;
	return (struct str){ (const char *)from, (size_t)(r->p - from) };
}

bool
mp_r_done(const struct mp_r *r)
{
	return r->err == 0 && r->p == r->end;
}
