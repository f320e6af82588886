/*
 * stream.h - the TCP streams of one pool, in and out: push/pull, pings, user
 * messages. One exchange a connection, each with a deadline.
 */
#ifndef GOSSIPD_STREAM_H
#define GOSSIPD_STREAM_H

#include "gossipd/wire/stream.h"
#include "lib/daemon.h"

struct pool;

enum {
	STREAMS_IN_MAX = 128,			/* connections of others; more are closed at once */
	STREAMS_OUT_MAX = 32,			/* of ours, besides those of joins */
	STREAM_IN_MAX = 20 * 1024 * 1024,	/* bytes of one, as they come */
	STREAM_SMALL = 256 * 1024,		/* a stream up to this size is always read */
	STREAMS_BYTES_MAX = 64 * 1024 * 1024,	/* of all together, beyond that */
	STREAM_OUT_MAX = 64 * 1024 * 1024,
	STREAM_SCRATCH_KEEP = 64 * 1024,
};

struct stream_counts {
	uint64_t accepted, dialled, sent_bytes, received_bytes;
	uint64_t crowded;		/* beyond STREAMS_IN_MAX */
	uint64_t strangers;		/* not from an allowed network */
	uint64_t malformed, late, cut;	/* could not be read; deadline; ended in the middle */
	uint64_t merges_refused, undialled;
};

struct conn;

struct streams {
	struct pool *p;
	uv_tcp_t listener;
	bool open;
	struct conn *conns;
	size_t nin, nout;
	size_t bytes;			/* that the connections hold, as they came */
	uint32_t deadline_ms;
	struct stream_counts counts;
	struct log_limit faults;
};

/* How an exchange went: rc 0, or negative with a sentence. Called once, from the loop. */
typedef void exchange_done(void *ctx, int rc, const char *why);

/* Takes the listening socket over, also when it fails. */
int MUST_CHECK streams_open(struct streams *s, struct pool *p, int fd, uint32_t deadline_ms);
void streams_close(struct streams *s);

/*
 * A push/pull with this address; join: with Join, and older events are not wanted when `old_events` is
 * false. done may be NULL: nobody asked for it, and it does not take place when many are under way. Never calls done before it returns.
 * -errno: it could not begin.
 */
int streams_exchange(struct streams *s, const struct gossip_addr *to, bool join, bool old_events, exchange_done *done, void *ctx);
/* Whoever asked does not want to hear of it any more. */
void streams_forget(struct streams *s, const void *ctx);

/* A ping; an answer goes to swim_stream_acked(). */
void streams_ping(struct streams *s, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline);

#endif
