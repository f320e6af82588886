/*
 * output.h - the output of a check, of which the last bytes are kept.
 */
#ifndef CHECKD_OUTPUT_H
#define CHECKD_OUTPUT_H

#include "lib/buf.h"
#include "lib/str.h"

struct output {
	char *data;		/* a ring of `size` bytes, NULL until the first byte */
	size_t size, at;
	uint64_t total;		/* bytes ever added */
};

/* size: how many bytes are kept, at least 1. */
void output_init(struct output *o, size_t size);

/* Add; what does not fit drives the oldest out. Without memory the output stays as it was. */
void output_add(struct output *o, const void *p, size_t n);

/* Append what is kept, in order. */
int MUST_CHECK output_append(const struct output *o, struct buf *to);

/* The same behind Consul's line about what was lost, when something was. */
int MUST_CHECK output_append_captured(const struct output *o, struct buf *to);

void output_release(struct output *o);

/*
 * The text that is kept of a TTL check's note: at most max bytes, then how
 * much that was. -ENOMEM, -ELIMIT of the buffer.
 */
int MUST_CHECK output_cut(struct str note, size_t max, struct buf *to);

#endif
