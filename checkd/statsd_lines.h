/*
 * statsd_lines.h - metrics as statsd's lines: pure, from two looks at them.
 */
#ifndef CHECKD_STATSD_LINES_H
#define CHECKD_STATSD_LINES_H

#include "lib/buf.h"
#include "lib/telemetry.h"

/* A line beyond is not sent; several share a datagram up to DATAGRAM_MAX, which every path takes whole. */
enum { STATSD_DATAGRAM_MAX = 1432, STATSD_LINE_MAX = 1024, STATSD_KNOWN_MAX = METRICS_MAX * 8 };

/* What was sent of one metric already. */
struct statsd_seen {
	char name[METRIC_NAME_MAX];
	uint64_t count;
	double sum;
};

struct statsd_state {
	struct statsd_seen *v;		/* by name */
	size_t n;
	bool begun;			/* there was a look before this one */
};

struct statsd_format {
	struct telemetry t;
	bool tags;			/* dogstatsd: labels are tags */
	struct json_object *more_tags;	/* dogstatsd_tags, for every line */
};

typedef int statsd_datagram(void *arg, const void *data, size_t len);

/*
 * One look: a line for each gauge, for each counter that has moved since the
 * last look, and for each step of a sample's histogram that has (its value,
 * and a rate that says how many). The first look only notes counters and
 * samples: what happened before is nobody's interval. Sorted and merged
 * metrics (telemetry_merge). Lines are put together into datagrams for
 * each(); -ENOMEM, or what each() returned when negative.
 */
int MUST_CHECK statsd_look(struct statsd_state *s, const struct statsd_format *f, const struct metric *v, size_t n,
    statsd_datagram *each, void *arg);
void statsd_state_release(struct statsd_state *s);

#endif
