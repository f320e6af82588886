/*
 * queue.h - broadcasts that are sent a bounded number of times (spec 4.4).
 *
 * The least sent go first, among those the longest that fits, then the
 * newest. One that has been sent `limit` times is dropped. Pure.
 */
#ifndef GOSSIPD_SWIM_QUEUE_H
#define GOSSIPD_SWIM_QUEUE_H

#include "lib/str.h"
#include "lib/errs.h"

struct queue;

/* max: broadcasts held; beyond it the one sent most often, then the shortest, then the oldest, is dropped. NULL without memory. */
struct queue *queue_new(size_t max);
void queue_free(struct queue *q);
void queue_set_max(struct queue *q, size_t max);
/* Of the hash of keys, before the first: so that nobody can choose names that collide. */
void queue_set_seed(struct queue *q, uint64_t seed);

/*
 * dropped (may be NULL): told once for each, when it was sent to its end (finished), replaced, or pushed out. It must not
 * call functions of the same queue. queue_free() tells nobody.
 */
typedef void queue_dropped(void *ctx, void *arg, bool finished);
void queue_on_dropped(struct queue *q, queue_dropped *cb, void *ctx);

/*
 * Add a copy of message. key: an older one of the same key (not "") is
 * replaced. arg is given to dropped. -ENOMEM.
 */
int MUST_CHECK queue_add(struct queue *q, struct str key, struct str message, void *arg);

/* mult * ceil(log10(n + 1)) */
unsigned queue_limit(unsigned mult, size_t n);

/*
 * Give to take, in order, what fits into room bytes, each costing `overhead` more; each given counts as sent
 * once more, and is dropped at `limit`. message lasts during the call of take. Returns the bytes used.
 */
size_t queue_take(struct queue *q, size_t overhead, size_t room, unsigned limit, void (*take)(void *ctx, struct str message), void *ctx);

/* Forget all; nobody is told. */
void queue_clear(struct queue *q);

size_t queue_count(const struct queue *q);

#endif
