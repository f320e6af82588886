/*
 * metrics.h - counters, gauges and samples of one daemon.
 *
 * Names are Consul's without the prefix ("raft.commitTime"), labels follow
 * after semicolons ("api.http;method=GET;path=v1.kv._"). Recording is a
 * few additions, no allocation. A sample also keeps a histogram: four steps
 * each doubling from METRICS_LE_MIN on, so that a quantile read from it is at
 * most a fifth too high. Every METRICS_INTERVAL_MS the current
 * interval is closed; daemon.metrics answers with the last closed one.
 */
#ifndef LIB_METRICS_H
#define LIB_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mp.h"
#include "lib/records.h"

enum { METRICS_INTERVAL_MS = 10000, METRICS_MAX = 512, METRIC_NAME_MAX = 96, METRICS_STEPS = 128 };

#define METRICS_LE_MIN (1.0 / 1024)	/* about a microsecond, of milliseconds */

struct metric_slot;

/* Find or make; kind as in records.h (enum metric_kind). Never NULL: beyond METRICS_MAX all share an overflow slot. */
struct metric_slot *metric_get(const char *name, int kind);

void metric_add(struct metric_slot *m, double v);	/* counter: v more; sample: one observation (ms for times) */
void metric_set(struct metric_slot *m, double v);	/* gauge */
void metric_clear(struct metric_slot *m);	/* gauge: it is not shown until it is set again */

/* Close the interval when it is over. True when one was closed: a good time to set gauges again. */
bool metrics_tick(uint64_t now_ms);

/*
 * The q-quantile (0 < q <= 1) of a histogram: the upper end of the step in
 * which it lies, 0 for no observations. Steps must ascend.
 */
double metric_quantile(const struct metric_bucket *v, size_t n, double q);

/*
 * Daemons of several processes (daemon_fork()): each child counts in an area
 * of memory that it shares with its parent, whose metrics_encode() tells the
 * sums. An area outlives its process: the next one goes on counting in it.
 */
struct metrics_area;
size_t metrics_area_size(void);		/* to be zeros at first */

/* In a child: slots live in a from now on. Those got before are not shown any more. */
void metrics_use_area(struct metrics_area *a);

/* In the parent: a counts too, for ever. At most METRICS_AREAS_MAX. */
enum { METRICS_AREAS_MAX = 64, METRICS_AREA_SLOTS = 64 };
void metrics_add_area(const struct metrics_area *a);

/* Append an array of Metric records. */
void metrics_encode(struct mp_w *w);

#endif
