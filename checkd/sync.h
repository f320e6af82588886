/*
 * sync.h - anti-entropy: the catalog is made to hold what this node says.
 *
 * A change is pushed at once. Everything is compared with the catalog a
 * minute after the last time (more in large pools, and at different moments
 * on different nodes), after a failure, and soon after servers have appeared
 * that were missing.
 */
#ifndef CHECKD_SYNC_H
#define CHECKD_SYNC_H

#include "checkd/checkd.h"

enum {
	SYNC_INTERVAL_MS = 60 * 1000,
	SYNC_RETRY_MS = 15 * 1000,
	SYNC_FIRST_RETRY_MS = 250,	/* doubled up to SYNC_RETRY_MS until the first success */
	SYNC_SERVER_UP_MS = 3 * 1000,	/* after servers have appeared, at a moment within this */
	SYNC_CALL_MS = 10 * 1000,
	SYNC_WRITES_MAX = 2,		/* batches on their way */
	SYNC_WAITERS_MAX = 1024,
	SYNC_WAIT_MS = 3 * 1000,	/* a registration is answered by then, pushed or not */
	SYNC_BODY_MAX = 64 * 1024 * 1024,
};

/* Begin; the first comparison is made as soon as raftd answers. -ENOMEM. */
int MUST_CHECK sync_start(struct checkd *cd);
void sync_stop(struct checkd *cd);

/* Something has changed: push it at the end of this turn. */
void sync_poke(struct checkd *cd);

/* Compare everything with the catalog soon: something may be possible that was not. */
void sync_now(struct checkd *cd);

/* Take the node's own description from a slice again. -ENOMEM, -ELIMIT. */
int MUST_CHECK sync_describe(struct checkd *cd, struct json_object *slice);

/* Answer token with nil once what is to be pushed now has been tried, or after SYNC_WAIT_MS. */
void sync_wait(struct checkd *cd, struct rpc_token token);
void sync_cancelled(struct checkd *cd, struct rpc_token token);

/* How many members of the pool are alive, as of the last comparison; 0: not known. */
uint64_t sync_pool_size(const struct checkd *cd);

/* How many times the interval is stretched for a pool of n nodes: 1 up to 128, one more for each doubling. Pure. */
unsigned sync_scale(uint64_t nodes);

#endif
