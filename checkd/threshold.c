/* threshold.c - how many results in a row a change of status takes. */
#include "checkd/threshold.h"

void
threshold_init(struct threshold *t, int64_t success_before_passing, int64_t failures_before_warning,
    int64_t failures_before_critical)
{
	if (failures_before_warning <= 0 || failures_before_warning > failures_before_critical)
		failures_before_warning = failures_before_critical;
	*t = (struct threshold){
		.passing_after = success_before_passing,
		.warning_after = failures_before_warning,
		.critical_after = failures_before_critical,
		.successes = success_before_passing,
		.failures = failures_before_critical,
	};
}

bool
threshold_take(struct threshold *t, enum check_status result, enum check_status *ret)
{
	if (result != CHECK_CRITICAL) {
		t->successes++;
		t->failures = 0;
		if (t->successes < t->passing_after)
			return false;
		*ret = result;
		return true;
	}
	t->failures++;
	t->successes = 0;
	if (t->failures < t->warning_after)
		return false;
	*ret = t->failures >= t->critical_after ? CHECK_CRITICAL : CHECK_WARNING;
	return true;
}
