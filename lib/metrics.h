/*
 * metrics.h - counters, gauges and samples of one daemon.
 *
 * Names are Consul's without the prefix ("raft.commitTime"). Recording is a
 * few additions, no allocation. Every METRICS_INTERVAL_MS the current
 * interval is closed; daemon.metrics answers with the last closed one.
 */
#ifndef LIB_METRICS_H
#define LIB_METRICS_H

#include <stdint.h>

#include "lib/mp.h"

enum { METRICS_INTERVAL_MS = 10000, METRICS_MAX = 256, METRIC_NAME_MAX = 96 };

struct metric_slot;

/* Find or make; kind as in records.h (enum metric_kind). Never NULL: beyond METRICS_MAX all share an overflow slot. */
struct metric_slot *metric_get(const char *name, int kind);

void metric_add(struct metric_slot *m, double v);	/* counter: v more; sample: one observation (ms for times) */
void metric_set(struct metric_slot *m, double v);	/* gauge */

/* Close the interval when it is over. */
void metrics_tick(uint64_t now_ms);

/* Append an array of Metric records. */
void metrics_encode(struct mp_w *w);

#endif
