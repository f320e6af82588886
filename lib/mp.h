/*
 * mp.h - msgpack, written to a buf and read through a bounded cursor.
 *
 * Both ends keep a sticky error: after the first failure writes do nothing
 * and reads return zero, so that a decoder checks once at its end. The
 * format is that of the msgpack specification (str, bin and ext families);
 * like Consul's decoder, a str is accepted where a bin is wanted and the
 * other way round.
 */
#ifndef LIB_MP_H
#define LIB_MP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

enum { MP_DEPTH_MAX = 64 };	/* nesting that mp_skip() follows */

/* ---- writing */
struct mp_w {
	struct buf *out;
	int err;
};

static inline struct mp_w
mp_w_init(struct buf *out)
{
	return (struct mp_w){ out, 0 };
}

void mp_w_nil(struct mp_w *w);
void mp_w_bool(struct mp_w *w, bool v);
void mp_w_uint(struct mp_w *w, uint64_t v);
void mp_w_int(struct mp_w *w, int64_t v);
void mp_w_double(struct mp_w *w, double v);
void mp_w_str(struct mp_w *w, struct str s);
void mp_w_cstr(struct mp_w *w, const char *s);
void mp_w_bin(struct mp_w *w, struct str s);
/* The header of a bin of this length, whose bytes follow by mp_w_raw(). */
void mp_w_bin_head(struct mp_w *w, size_t len);
void mp_w_array(struct mp_w *w, uint32_t n);
void mp_w_map(struct mp_w *w, uint32_t n);
/* Bytes that are msgpack already. */
void mp_w_raw(struct mp_w *w, struct str s);
/* An array header of fixed width, to be completed by mp_w_array_patch(). */
size_t mp_w_array_hold(struct mp_w *w);
void mp_w_array_patch(struct mp_w *w, size_t at, uint32_t n);
size_t mp_w_map_hold(struct mp_w *w);
void mp_w_map_patch(struct mp_w *w, size_t at, uint32_t n);

/* ---- reading */
struct mp_r {
	const uint8_t *p, *end;
	int err;		/* 0 or -EDECODE */
};

enum mp_type { MP_END, MP_NIL, MP_BOOL, MP_INT, MP_UINT, MP_DOUBLE, MP_STR, MP_BIN, MP_ARRAY, MP_MAP, MP_EXT };

static inline struct mp_r
mp_r_init(const void *p, size_t n)
{
	return (struct mp_r){ p, p != NULL ? (const uint8_t *)p + n : NULL, 0 };
}

/* What comes next; MP_END at the end or after an error. A positive fixint is MP_UINT. */
enum mp_type mp_r_type(const struct mp_r *r);

void mp_r_nil(struct mp_r *r);
bool mp_r_bool(struct mp_r *r);
/* Any integer that fits, else an error. */
uint64_t mp_r_uint(struct mp_r *r);
int64_t mp_r_int(struct mp_r *r);
/* Doubles, floats and integers. */
double mp_r_double(struct mp_r *r);
/* str or bin; nil gives STR_NONE. The slice points into the input. */
struct str mp_r_str(struct mp_r *r);
/* Number of elements (nil: 0), never more than the bytes left could hold. */
uint32_t mp_r_array(struct mp_r *r);
uint32_t mp_r_map(struct mp_r *r);
/* One whole value of any kind: skipped, or returned as raw bytes. */
void mp_r_skip(struct mp_r *r);
struct str mp_r_raw(struct mp_r *r);
/* Whether everything was read without an error. */
bool mp_r_done(const struct mp_r *r);

#endif
