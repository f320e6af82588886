/*
 * schedule.h - when a check runs: first after a random part of its
 * interval, then an interval after each completion, never twice at once.
 */
#ifndef CHECKD_SCHEDULE_H
#define CHECKD_SCHEDULE_H

#include <uv.h>

#include "checkd/threshold.h"
#include "lib/str.h"

enum { CHECK_INTERVAL_MIN_MS = 1000 };

struct check;

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
	uv_timer_t *timer;
	bool running;
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

/* Milliseconds of a definition's interval, not below the minimum. */
uint64_t schedule_interval_ms(int64_t interval_ns);

/* A random number below n; 0 for 0. */
uint64_t random_below(uint64_t n);

/* Close a timer made with new and free it; NULL is none. */
uv_timer_t *timer_new(uv_loop_t *loop, void *data);
void timer_free(uv_timer_t *t);

#endif
