/*
 * autojoin.h - whom a pool joins by itself: the members of its last life,
 * start_join, retry_join.
 */
#ifndef GOSSIPD_AUTOJOIN_H
#define GOSSIPD_AUTOJOIN_H

#include "gossipd/serf/serf.h"
#include "lib/daemon.h"

struct gossipd;
struct pool;

enum {
	AUTOJOIN_PREVIOUS_MAX = 4096,	/* former members that are tried, chosen at random */
	AUTOJOIN_BATCH = 64,		/* of them in one join */
};

struct autojoin {
	struct pool *p;
	bool open;
	struct serf_previous previous;
	size_t tried;			/* of the previous members */
	struct strs retry;		/* borrowed from the slice of the start */
	uint64_t interval_ms, max, attempts;
	uv_timer_t timer;
};

/*
 * Begin. previous is taken over. Counts g->starting up while start_join is at work: the daemon is ready when that is
 * over. Negative: the reason has been logged.
 */
int MUST_CHECK autojoin_open(struct autojoin *j, struct pool *p, struct json_object *slice, struct serf_previous *previous);
void autojoin_close(struct autojoin *j);
void autojoin_release(struct autojoin *j);

/* Join the WAN addresses of LAN servers that the WAN pool lacks. */
void autojoin_flood(struct gossipd *g);

#endif
