/*
 * reply.h - reading an HTTP/1.1 answer from a stream of bytes, bounded.
 *
 * Pure: it is fed what arrived and hands the body on; it knows no socket.
 */
#ifndef CONSULCTL_CLIENT_REPLY_H
#define CONSULCTL_CLIENT_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

enum {
	REPLY_LINE_MAX = 16 * KiB,	/* status line, a header, a chunk's head */
	REPLY_LINES_MAX = 256,		/* of headers and of trailers */
};

/* A piece of the body. A negative result ends the reading with that result. */
typedef int reply_sink(void *arg, const void *p, size_t n);

struct reply {
	/* Known once `head_done`. */
	int status;
	uint64_t index;			/* X-Consul-Index, 0 when there is none */
	bool head_done, keep_alive;
	/* The reader's own. */
	enum { REPLY_STATUS, REPLY_HEADER, REPLY_LENGTH, REPLY_TO_END, REPLY_CHUNK, REPLY_CHUNK_DATA, REPLY_CHUNK_END,
	    REPLY_TRAILER, REPLY_DONE } state;
	bool chunked, has_length;
	uint64_t left;
	unsigned lines;
	struct buf line;
};

void reply_init(struct reply *r);
void reply_release(struct reply *r);

/* 0: more is wanted; 1: complete (bytes behind the end are an error); -EDECODE, -ENOMEM, or the sink's result. */
int MUST_CHECK reply_feed(struct reply *r, const char *p, size_t n, reply_sink *sink, void *arg);

/* The peer closed: 1 when the answer ends by that, else -ECLOSED. */
int MUST_CHECK reply_end(struct reply *r);

#endif
