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
	STREAM_IN_MAX = 20 * 1024 * 1024,	/* bytes of an answer that somebody waits for, as they come */
	/*
	 * What comes unasked has room for a pool far larger than the one that is known: to swamp us takes members that we
	 * know. Only what is sealed may inflate to more. (Who joins a pool of any size asks.)
	 */
	STREAM_ROOM = 4 * 1024 * 1024,		/* bytes of one, as they come and inflated, */
	STREAM_ROOM_PER_NODE = 512,		/* and for each member that is known */
	STREAM_SMALL = 64 * 1024,		/* such a stream up to this size is always read; all beyond that have room for two */
	STREAM_OUT_MAX = 64 * 1024 * 1024,
	STREAMS_ANSWERS_MAX = 8 * 1024 * 1024,	/* bytes of answers on their way; the first is sent whatever its size */
	STREAM_SCRATCH_KEEP = 64 * 1024,
};

struct stream_counts {
	uint64_t accepted, dialled, sent_bytes, received_bytes;
	uint64_t crowded;		/* beyond STREAMS_IN_MAX or STREAMS_ANSWERS_MAX */
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
	size_t bytes;			/* that the connections hold of what came unasked */
	size_t answers;			/* bytes that those of others wait for */
	uv_tcp_t spare;			/* to turn one away without memory */
	bool spare_used, stalled;	/* stalled: the listener waits until there is a handle again */
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
