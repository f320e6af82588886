/*
 * join.h - contacting addresses: each is looked up off the loop, and a
 * push/pull with Join is made with all that it leads to, one after the other.
 *
 * A join succeeds when one of them was merged, and then tells the pool that
 * we are there.
 */
#ifndef GOSSIPD_JOIN_H
#define GOSSIPD_JOIN_H

#include "gossipd/gossipd.h"

enum join_flag {
	JOIN_FIRST = 1,			/* one that works is enough */
	JOIN_OLD_EVENTS = 2,		/* events from before are wanted too */
	JOIN_QUIET = 4,			/* whoever asked for it writes to the log */
};

/*
 * contacted: how many addresses answered and were merged. errors: Consul's text when there
 * was none ("1 error occurred:\n\t* Failed to join ..."), else "".
 */
typedef void join_done(void *ctx, uint64_t contacted, const char *errors);

/* done is called once, later, unless the join is dropped. -ENOMEM, -ELIMIT: too many addresses. */
int MUST_CHECK join_begin(struct pool *p, const struct strs *addrs, unsigned flags, join_done *done, void *ctx);

/* For gossip.join: answers token, now or later. req is copied. */
void join_start(struct gossipd *g, struct rpc_token token, const struct join_request *req);

/* Nobody waits for this one any more. */
void join_cancel(struct gossipd *g, struct rpc_token token);

/* Drop all; their handles are closed. */
void join_release(struct gossipd *g);

/*
 * "host", "host:port", "[v6]:port" or a bare v6 address, each with "name/" in front or not (which is
 * left out). -EINVAL. host has room for hostlen bytes.
 */
int MUST_CHECK join_split(struct str addr, uint16_t default_port, char *host, size_t hostlen, uint16_t *ret_port);

#endif
