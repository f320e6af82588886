/*
 * buf.h - a growable byte buffer that cannot grow past its maximum.
 *
 * Invariant: len <= cap <= max. data is NULL until the first byte. The bytes
 * are not NUL-terminated unless buf_cstr() was just called.
 */
#ifndef LIB_BUF_H
#define LIB_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/errs.h"

struct buf {
	uint8_t *data;
	size_t len, cap, max;
};

#define BUF_INIT(max_) { NULL, 0, 0, (max_) }

void buf_init(struct buf *b, size_t max);

/* Room for `extra` more bytes. -ELIMIT beyond max, -ENOMEM. */
int MUST_CHECK buf_reserve(struct buf *b, size_t extra);

/* Append; nothing is appended on error (-ELIMIT, -ENOMEM). */
int MUST_CHECK buf_add(struct buf *b, const void *p, size_t n);
int MUST_CHECK buf_addc(struct buf *b, uint8_t c);
int MUST_CHECK buf_adds(struct buf *b, const char *s);
int MUST_CHECK buf_addf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
int MUST_CHECK buf_vaddf(struct buf *b, const char *fmt, va_list ap);

/* Drop n bytes (<= len) at the front; nothing of them, or of what moved, is left behind the end. */
void buf_consume(struct buf *b, size_t n);

/* Overwrite the bytes with zeros, then empty it: what held secrets is not left in memory. */
void buf_wipe(struct buf *b);

/* Empty it and keep the memory. */
void buf_clear(struct buf *b);

/* Empty it, and give the memory back when more than `keep` bytes are held. */
void buf_shrink(struct buf *b, size_t keep);

/* Free the memory; reusable after. */
void buf_release(struct buf *b);

/* The bytes as a C string (a NUL is kept behind them), NULL on -ENOMEM/-ELIMIT. */
const char *buf_cstr(struct buf *b);

#endif
