/*
 * codec.h - the walk over a message's table in the old raw dialect.
 *
 * The tables are those of lib/record.h; what the dialect needs beside them
 * stands in high bits of a field's flags. Fields are listed in the order in
 * which they are written, the bytewise order of their names.
 */
#ifndef GOSSIPD_WIRE_CODEC_H
#define GOSSIPD_WIRE_CODEC_H

#include "lib/record.h"

enum {
	/* The width of an integer in the protocol: what does not fit is refused. None of these: 64 bits. */
	W_U8 = 1 << 16, W_U16 = 2 << 16, W_U32 = 3 << 16, W_WIDTH = 3 << 16,
	/* F_STRS: its elements are bytes, not text. */
	W_BYTES = W_U8,
	/* F_RECORDS: elements that are nil are left out when read. */
	W_SPARSE = 4 << 16,
	W_AT_SHIFT = 20,
};
/* The field's place in the declaration, from 0: where it stands when the structure comes as a list. */
#define W_AT(n) ((unsigned)(n) << W_AT_SHIFT)

/* Append the structure. Errors are left in w->err. */
void codec_encode(const struct record *rec, const void *obj, struct mp_w *w);

/* Read one, nil as all zero. Errors are left in r->err: -EDECODE, -ENOMEM, -ELIMIT. a: see wire_get(). */
void codec_decode(const struct record *rec, struct mp_r *r, void *obj, struct arena *a);

/* A text: what is a bin or anything else is refused, nil is STR_NONE. */
struct str codec_text(struct mp_r *r);

/* A text or bytes as the dialect writes them. */
void codec_put_raw(struct mp_w *w, struct str s);

/* A map of text to text. */
void codec_strmap(struct mp_r *r, struct strmap *m, struct arena *a);

#endif
