/*
 * loop.h - the event loop of a daemon: libuv's, and work put off to the end
 * of a turn.
 *
 * A turn is everything between two waits in epoll. What arrives in one turn
 * is answered together: output buffers are flushed, and proposals batched,
 * once, right before the loop waits again.
 */
#ifndef LIB_LOOP_H
#define LIB_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/errs.h"

/* WORK runs before FLUSH; work that flushing causes runs in the same turn. */
enum defer_phase { DEFER_WORK, DEFER_FLUSH, DEFER_PHASES };

struct defer {
	struct defer *next;
	void (*cb)(struct defer *d);
	bool queued;
};

struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_idle_t again;	/* makes the next turn come at once when work was left over */
	void (*again_cb)(uv_idle_t *h);
	struct defer *head[DEFER_PHASES], **tail[DEFER_PHASES];
	struct defer *running;	/* the rest of the list being run */
	uint64_t turns;
};

int MUST_CHECK loop_init(struct loop *l);

/* Run d->cb once at the end of this turn; nothing when it is queued already. */
void loop_defer(struct loop *l, enum defer_phase phase, struct defer *d);

/* Take it back, as its owner must before it is freed. */
void loop_undefer(struct loop *l, enum defer_phase phase, struct defer *d);

/* Run until uv_stop() or until nothing is left. */
void loop_run(struct loop *l);

/* Close what the loop itself holds; every other handle must be closed. */
void loop_release(struct loop *l);

/* Milliseconds and nanoseconds of CLOCK_BOOTTIME, read now. */
uint64_t clock_ms(void);
uint64_t clock_ns(void);

#endif
