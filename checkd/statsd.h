/*
 * statsd.h - metrics of all daemons of this node, sent to statsd.
 *
 * checkd does it since it is the one that connects outwards. Once an interval
 * all daemons are asked; what has happened since the last time goes out as
 * datagrams of bounded size, which nobody waits for.
 */
#ifndef CHECKD_STATSD_H
#define CHECKD_STATSD_H

#include "checkd/checkd.h"
#include "checkd/statsd_lines.h"

struct statsd;

/* Begin when telemetry.statsd_address, dogstatsd_addr or statsite_address is set. */
int MUST_CHECK statsd_start(struct checkd *cd);
/* Another slice: addresses, prefix, filter and tags of now on. */
int MUST_CHECK statsd_reload(struct checkd *cd, struct json_object *slice);
void statsd_stop(struct checkd *cd);

#endif
