/* status.c - the words for a check's status. */
#include "checkd/status.h"

static const char *const words[] = {
	[CHECK_PASSING] = "passing",
	[CHECK_WARNING] = "warning",
	[CHECK_CRITICAL] = "critical",
};

const char *
status_text(enum check_status s)
{
	return words[s];
}

int
status_parse(struct str s, enum check_status *ret)
{
	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		if (str_eqs(s, words[i])) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

bool
status_is_maintenance(struct str check_id)
{
	return str_eqs(check_id, NODE_MAINTENANCE_ID) || str_has_prefix(check_id, STR(SERVICE_MAINTENANCE_PREFIX));
}

void
status_sum_add(struct status_sum *sum, struct str check_id, enum check_status s)
{
	if (status_is_maintenance(check_id))
		sum->maintenance = true;
	if (s > sum->worst)
		sum->worst = s;
}

const char *
status_sum_text(const struct status_sum *sum)
{
	return sum->maintenance ? "maintenance" : status_text(sum->worst);
}
