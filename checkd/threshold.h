/*
 * threshold.h - how many results in a row a change of status takes.
 *
 * Pure. Both counters start satisfied, so that the first result after a
 * start applies at once.
 */
#ifndef CHECKD_THRESHOLD_H
#define CHECKD_THRESHOLD_H

#include <stdbool.h>
#include <stdint.h>

/* In the order of severity. */
enum check_status { CHECK_PASSING, CHECK_WARNING, CHECK_CRITICAL };

struct threshold {
	int64_t passing_after, warning_after, critical_after;
	int64_t successes, failures;	/* in a row */
};

/* failures_before_warning 0: as failures_before_critical. */
void threshold_init(struct threshold *t, int64_t success_before_passing, int64_t failures_before_warning,
    int64_t failures_before_critical);

/* Count a result (warnings are successes). Whether it counts, and then as what. */
bool threshold_take(struct threshold *t, enum check_status result, enum check_status *ret);

#endif
