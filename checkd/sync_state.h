/*
 * sync_state.h - what sync.c and push.c share: one comparison or some writes
 * at a time.
 */
#ifndef CHECKD_SYNC_STATE_H
#define CHECKD_SYNC_STATE_H

#include "checkd/diff.h"
#include "checkd/sync.h"
#include "checkd/sync_pool.h"
#include "checkd/sync_self.h"

/* Somebody who registered something and waits for it to be pushed. */
struct waiter {
	struct waiter *next;
	struct rpc_token token;
	uint64_t deadline_ms;
};

/* Answers of one comparison. */
enum fetched { FETCH_SERVICES, FETCH_CHECKS, FETCHES };

struct fetch {
	struct sync *s;
	uint32_t call;		/* 0: answered or not asked */
	struct buf body;
};

/* What an item of a write on its way is about; ids, because entries may go meanwhile. In the push's arena. */
struct push_item {
	bool deregister, node;
	char *service_id;	/* NULL: no service */
	char **check_ids;
	size_t nchecks;
};

enum { PUSH_ARENA_MAX = 64 * 1024 * 1024 };

/* A batch on its way. */
struct push {
	struct push *next;
	struct sync *s;
	uint32_t call;
	uint64_t seq;		/* of its stamp */
	struct arena arena;
	struct push_item *items;
	size_t n;
};

struct sync {
	struct checkd *cd;
	struct sync_self self;
	struct entry_sync node;		/* of the node's own description */
	struct write_stamps stamps;
	uv_timer_t *timer, *sweep;
	struct defer defer;
	struct fetch fetch[FETCHES];
	unsigned fetching;
	struct sync_pool pool;
	struct push *pushes;
	size_t npushes;
	struct waiter *waiters;
	size_t nwaiters;
	bool succeeded, failed;		/* ever; the last attempt */
	bool leaves;			/* nothing is taken from this node any more, which has been said */
	bool refused;			/* the catalog did not take something, for another reason than rights: compared again soon */
	bool full_due;			/* a comparison waits for the writes under way */
	uint64_t retry_ms;
	struct metric_slot *failures;
};

/* An attempt failed: log it, and repeat it later. */
void sync_fail(struct sync *s, const char *what, const struct rpc_answer *a);

/* To be called after each end of a call: when none is left, the attempt is over. */
void sync_settle(struct sync *s);

/* Send what is dirty, as much as may be on its way at once. */
void push_dirty(struct sync *s);

/* Forget the writes under way; their calls have been dropped. */
void push_release(struct sync *s);

#endif
