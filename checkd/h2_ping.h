/*
 * h2_ping.h - the few frames of HTTP/2 that a PING takes (RFC 9113).
 *
 * Pure: bytes in, bytes out. What we send: the preface with empty SETTINGS
 * and one PING (3.4, 6.7), acknowledgements of the peer's SETTINGS and PINGs,
 * and GOAWAY at the end. Frames that concern no stream of ours are skipped.
 */
#ifndef CHECKD_H2_PING_H
#define CHECKD_H2_PING_H

#include <stdbool.h>

#include "lib/buf.h"

enum {
	H2_HEADER_LEN = 9,
	H2_PING_LEN = 8,
	H2_FRAME_MAX = 16384,		/* SETTINGS_MAX_FRAME_SIZE, which we do not raise */
	H2_PING_BYTES_MAX = 1024 * 1024,	/* of a peer that never comes to the point */
	H2_PING_OUT_MAX = 64 * 1024,
	H2_FAULT_MAX = 256,
};

enum h2_ping_state { H2_WAITING, H2_PONG, H2_FAILED };

struct h2_ping {
	enum h2_ping_state state;
	uint8_t sent[H2_PING_LEN];
	uint8_t head[H2_HEADER_LEN];
	uint8_t body[64];		/* as much of the frame's body as is looked at */
	size_t nhead, nbody;		/* bytes that have come of the frame at hand */
	size_t total;
	bool settled;			/* the peer's SETTINGS have come */
	char fault[H2_FAULT_MAX];	/* of H2_FAILED */
};

/* Begin, with an arbitrary payload; what is to be sent is added to out. -ENOMEM, -ELIMIT. */
int MUST_CHECK h2_ping_begin(struct h2_ping *h, const uint8_t payload[H2_PING_LEN], struct buf *out);

/* Take what the peer has sent; answers to it are added to out. Nothing behind the end of the waiting is looked at. */
enum h2_ping_state h2_ping_take(struct h2_ping *h, const uint8_t *p, size_t n, struct buf *out);

/* The last word: GOAWAY without an error. */
int MUST_CHECK h2_ping_end(struct buf *out);

#endif
