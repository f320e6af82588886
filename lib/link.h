/*
 * link.h - one end of a frame connection: a socket on the loop with an input
 * and an output buffer. Shared by rpc_server.c and rpc_client.c.
 *
 * Input grows with what has arrived, whatever a header promises. Output is
 * collected during a turn and written once at its end. While more
 * than RPC_OUT_HIGH bytes wait, an end that backs off neither reads nor takes
 * up what it has read. Only the serving end does: if both did, each could
 * wait for the other for ever.
 */
#ifndef LIB_LINK_H
#define LIB_LINK_H

#include "lib/rpc.h"

struct link;

struct link_ops {
	/* The largest body of this frame, or -1 to close the connection. */
	int64_t (*body_max)(struct link *k, const struct frame *f);
	/* A whole frame; body is valid during the call. Negative closes the connection. */
	int (*frame)(struct link *k, const struct frame *f, const uint8_t *body);
	/* The connection has ended (rc: why): release or reconnect. Called once, from the loop, never from link_send(). */
	void (*closed)(struct link *k, int rc);
	bool backs_off;
};

struct link {
	struct loop *loop;
	const struct link_ops *ops;
	uv_poll_t *poll;	/* own allocation: libuv frees it later than us */
	int fd;
	int events;		/* what poll is asked for now */
	struct buf in, out;
	size_t in_at, out_at;	/* consumed bytes at the front */
	struct defer flush;
	int failed;		/* error to report at the end of the turn */
	bool connecting;
	bool finish;		/* nothing is read any more; closed with -ECLOSED when the output is written */
	bool *gone;		/* set when closed during a callback */
};

/* Take the connected (or connecting) socket. -errno: fd is still the caller's. */
int MUST_CHECK link_open(struct link *k, struct loop *l, int fd, bool connecting, const struct link_ops *ops);

/* Close at once, without the callback; buffers are freed. */
void link_close(struct link *k);

/* Send what is queued, then report closed; what arrives meanwhile is not read. */
void link_finish(struct link *k);

/* Append a frame header; returns where, for link_frame_end(). NULL buf data is never touched. */
int MUST_CHECK link_frame_begin(struct link *k, const struct frame *f, size_t *ret_at);
/* Fix the length and have it sent at the end of the turn. */
void link_frame_end(struct link *k, size_t at);
/* Drop what was appended since begin. */
void link_frame_drop(struct link *k, size_t at);

/* Bytes waiting to be written. */
size_t link_queued(const struct link *k);

#endif
