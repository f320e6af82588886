/*
 * watches.h - the watches of the config files, each a `consulctl watch` that
 * asks this node over HTTP and runs the watch's handler.
 */
#ifndef CHECKD_WATCHES_H
#define CHECKD_WATCHES_H

#include "checkd/checkd.h"

enum {
	WATCHES_MAX = 1024,
	WATCH_OUTPUT_MAX = 4096,	/* of a handler's output, for the log */
	WATCH_QUIET_MS = 200,		/* it is logged when it has paused this long */
	WATCH_RETRY_MS = 250,		/* until one that ended is run again, doubled up to */
	WATCH_RETRY_MAX_MS = 180 * 1000,
	WATCH_STEADY_MS = 60 * 1000,	/* one that ran this long begins with the shortest time anew */
	WATCH_GRACE_MS = 6 * 1000,	/* from SIGTERM to SIGKILL; a handler itself gets five seconds */
	WATCH_EARLY = 5,		/* ends that may be because this node only starts: told to those who look closely */
};

struct watches;

/* Run the watches of a slice; those that run are ended. -ENOMEM. */
int MUST_CHECK watches_apply(struct checkd *cd, struct json_object *slice);

/* End all; whether there is nothing to wait for. When there is, gone() follows. */
bool watches_end(struct checkd *cd, void (*gone)(struct checkd *cd));

void watches_release(struct checkd *cd);

/* How many run, those that are ending too. */
size_t watches_running(const struct checkd *cd);

#endif
