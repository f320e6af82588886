/*
 * telemetry.h - metrics as others see them: names, labels, filters, and
 * the metrics of several daemons as one list.
 *
 * A metric's own name may end in labels, ";method=GET;path=v1.kv._": what
 * is in front of the first semicolon is its base.
 */
#ifndef LIB_TELEMETRY_H
#define LIB_TELEMETRY_H

#include <json-c/json_object.h>

#include "lib/arena.h"
#include "lib/metrics.h"

enum { TELEMETRY_NAME_MAX = METRIC_NAME_MAX + 256, TELEMETRY_LABELS_MAX = 8 };

/* Points into the slice that it was read from. */
struct telemetry {
	char prefix[128], host[128];	/* host: "" when names shall not carry it */
	struct json_object *filter;	/* ["+a", "-b"]: the longest prefix that fits decides */
	bool filter_default;
};

struct metric_label {
	struct str name, value;
};

void telemetry_read(struct telemetry *t, struct json_object *slice);

/* A metric's name without its labels, and these; more than TELEMETRY_LABELS_MAX are left out. */
struct str telemetry_base(struct str name);
size_t telemetry_labels(struct str name, struct metric_label out[TELEMETRY_LABELS_MAX]);

/* The whole name: prefix, of gauges the host, base. Cut at TELEMETRY_NAME_MAX - 1. */
void telemetry_name(const struct telemetry *t, const struct metric *m, char out[TELEMETRY_NAME_MAX]);

/* Whether the filter lets a whole name through. */
bool telemetry_allowed(const struct telemetry *t, const char *name);

/*
 * Append the metrics of one daemon's answer (an array of Metric records), up
 * to max in all; returns how many there are now. Texts and buckets are in a.
 */
size_t telemetry_add(struct metric *v, size_t n, size_t max, struct str payload, struct arena *a);

/*
 * Sort by base and labels, and make one of those that share a name: two
 * daemons that count the same count it together. Returns how many are left.
 */
size_t telemetry_merge(struct metric *v, size_t n, struct arena *a);

#endif
