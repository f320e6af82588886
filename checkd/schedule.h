/*
 * schedule.h - when a check runs: first after a random part of its
 * interval, then an interval after each completion, never twice at once.
 *
 * Steps of the wall clock change nothing. Sleep of the machine counts: what
 * has become due meanwhile runs once, spread, after it. The time that a run
 * is given stands still with the machine.
 */
#ifndef CHECKD_SCHEDULE_H
#define CHECKD_SCHEDULE_H

#include <uv.h>

#include "checkd/alarms.h"
#include "checkd/threshold.h"
#include "lib/str.h"

enum {
	CHECK_INTERVAL_MIN_MS = 1000,
	SPREAD_MAX_MS = 30 * 1000,	/* over which checks are spread that were all missed */
};

struct check;
struct checkd;

/*
 * A way of checking. start() begins one run, which ends, later or at once,
 * with schedule_done(); stop() abandons what is under way, without a result.
 * A kind without an interval (ttl, alias) begins at attach and stays so.
 */
struct check_kind {
	const char *type;
	bool timed;
	void (*start)(struct check *c);
	void (*stop)(struct check *c);
};

struct runner {
	const struct check_kind *kind;	/* NULL: nothing runs */
	uv_timer_t *timer;		/* of a kind that wants one; closed when the check is detached */
	struct alarm due;		/* the next run, or what schedule_expire() was asked for */
	struct alarm deadline;		/* of the run under way */
	void (*expired)(struct check *c);
	void (*late)(struct check *c);
	bool running;
	bool moved;			/* its run was missed, and has been given another time */
	struct threshold threshold;
	void *run;			/* the kind's own state of what is under way */
};

/* Begin to run a check by its definition; nothing for one without. -ENOMEM. */
int schedule_attach(struct check *c);

/* Stop running it. */
void schedule_detach(struct check *c);

/* A result of the run under way. more: the run itself goes on (its process has to end) until schedule_ended(). */
void schedule_result(struct check *c, enum check_status status, struct str output);
void schedule_ended(struct check *c);

/* Both: the usual end. */
void schedule_done(struct check *c, enum check_status status, struct str output);

/*
 * The run under way is given so long: then late(c) is called, unless it has
 * ended. One at a time; another call begins anew.
 */
void schedule_deadline(struct check *c, uint64_t ms, void (*late)(struct check *c));

/*
 * For a kind without an interval: expired(c) is called after ms, the
 * machine's sleep included. One at a time; another call begins anew.
 */
void schedule_expire(struct check *c, uint64_t ms, void (*expired)(struct check *c));

/*
 * Pure. The time at which a check is to run that was due at due_ms and is
 * looked at at now_ms: now_ms itself, or, when the time was missed by far,
 * and so by all, a later one. below() is random_below().
 */
uint64_t schedule_when(uint64_t due_ms, uint64_t now_ms, uint64_t interval_ms, bool moved, uint64_t (*below)(uint64_t n));

/* Milliseconds of a definition's interval, not below the minimum. */
uint64_t schedule_interval_ms(int64_t interval_ns);

/* A random number below n; 0 for 0. */
uint64_t random_below(uint64_t n);

/* Close a timer made with new and free it; NULL is none. */
uv_timer_t *timer_new(uv_loop_t *loop, void *data);
void timer_free(uv_timer_t *t);

#endif
