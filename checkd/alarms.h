/*
 * alarms.h - alarms of one clock, in the loop.
 *
 * CLOCK_MONOTONIC stands still while the machine sleeps, CLOCK_BOOTTIME goes
 * on; neither follows steps of the wall clock. What is due within
 * ALARMS_GRAIN_MS is due together, and never early.
 */
#ifndef CHECKD_ALARMS_H
#define CHECKD_ALARMS_H

#include <time.h>

#include "checkd/alarm.h"
#include "lib/loop.h"

enum {
	ALARMS_GRAIN_MS = 10,
	ALARMS_LATE_MS = 1000,	/* later than that the machine, or this process, was away */
	ALARMS_GRACE_MS = 50,	/* then what waits on sockets is read before anything is due */
};

struct alarms;

/* -ENOMEM, -errno of the timer's descriptor. */
int MUST_CHECK alarms_new(struct loop *l, clockid_t clock, struct alarms **ret);

/* Those that are set are forgotten; also while one of them is due. NULL is none. */
void alarms_free(struct alarms *all);

/* Milliseconds of the clock, read now. */
uint64_t alarms_now(const struct alarms *all);

/* Set it to a moment of the clock, or to another one; a->due is called once then. */
void alarms_set(struct alarms *all, struct alarm *a, uint64_t at_ms);
void alarms_clear(struct alarms *all, struct alarm *a);

/* Milliseconds of a clock, read now. */
uint64_t alarms_clock_ms(clockid_t clock);

#endif
