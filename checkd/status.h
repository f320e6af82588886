/*
 * status.h - the words for a check's status, and of many checks together.
 */
#ifndef CHECKD_STATUS_H
#define CHECKD_STATUS_H

#include "checkd/threshold.h"
#include "lib/errs.h"
#include "lib/str.h"

#define NODE_MAINTENANCE_ID "_node_maintenance"
#define SERVICE_MAINTENANCE_PREFIX "_service_maintenance:"

const char *status_text(enum check_status s);

/* -EINVAL for another word than passing, warning, critical. */
int MUST_CHECK status_parse(struct str s, enum check_status *ret);

/* Maintenance is a habit of names, not a status. */
bool status_is_maintenance(struct str check_id);

/* The word for several checks: maintenance > critical > warning > passing; none at all are passing. */
struct status_sum {
	bool maintenance;
	enum check_status worst;
};
void status_sum_add(struct status_sum *sum, struct str check_id, enum check_status s);
const char *status_sum_text(const struct status_sum *sum);

#endif
