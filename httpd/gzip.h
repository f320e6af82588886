/*
 * gzip.h - compressing answers.
 *
 * The compressor's state (some 270 KiB) is made when it is first needed and
 * given back when it has been idle.
 */
#ifndef HTTPD_GZIP_H
#define HTTPD_GZIP_H

#include "lib/buf.h"
#include "lib/loop.h"
#include "lib/str.h"

struct gzip;

struct gzip *gzip_new(struct loop *l);
void gzip_free(struct gzip *g);

/* Replace b by its compressed form; negative, and b as it was, when that failed or would not be shorter. */
int gzip_buf(struct gzip *g, struct buf *b);

/* An answer without end: what is added can be read as soon as it has arrived. Some 40 KiB. */
struct gzip_stream;
struct gzip_stream *gzip_stream_new(void);
void gzip_stream_free(struct gzip_stream *s);
/*
 * Append text, compressed, to out, and the end of the stream behind what is last. Negative: no memory, or out is full; the
 * stream is then of no use any more.
 */
int MUST_CHECK gzip_stream_add(struct gzip_stream *s, struct str text, bool last, struct buf *out);

/* Whether an Accept-Encoding header lets us. */
bool gzip_accepted(struct str header);

#endif
