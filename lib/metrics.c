/* metrics.c - the table of metric slots and its intervals. */
#include "lib/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


struct window {
	uint64_t count;
	double sum, sum_sq, min, max;
};

struct metric_slot {
	char name[METRIC_NAME_MAX];
	int kind;
	struct window now, last;
	uint32_t *steps;		/* of samples: METRICS_STEPS of this interval, then of the last one */
	uint64_t total_count;
	double total_sum;
};

/* Slots never move: callers keep pointers. */
static struct metric_slot *slots[METRICS_MAX];
static size_t nslots;
static struct metric_slot overflow = { .name = "metrics.overflow", .kind = METRIC_COUNTER };
static uint64_t interval_end;

struct metric_slot *
metric_get(const char *name, int kind)
{
	struct metric_slot *m;

	for (size_t i = 0; i < nslots; i++)
		if (strcmp(slots[i]->name, name) == 0)
			return slots[i];
	m = nslots < METRICS_MAX ? calloc(1, sizeof(*m)) : NULL;
	if (m == NULL)
		return &overflow;
	if (kind == METRIC_SAMPLE) {
		m->steps = calloc(2 * METRICS_STEPS, sizeof(*m->steps));
		if (m->steps == NULL) {
			free(m);
			return &overflow;
		}
	}
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	m->kind = kind;
	slots[nslots++] = m;
	return m;
}

/* Upper ends of the four steps in [1/2, 1): powers of the fourth root of two. */
static const double step_ends[] = { 0.59460355750136051, 0.70710678118654757, 0.84089641525371461, 1 };

static unsigned
step_of(double v)
{
	int exp;
	double mantissa = frexp(v / METRICS_LE_MIN, &exp);
	unsigned sub = 0;

	if (!(v > METRICS_LE_MIN))
		return 0;
	while (sub < 3 && mantissa > step_ends[sub])
		sub++;
	/* v is in (2^(exp-1), 2^exp] of the smallest step; 1/2 itself ends the step below. */
	exp = (exp - 1) * 4 + (int)sub + 1 - (mantissa > 0.5 ? 0 : 1);
	return exp < METRICS_STEPS ? (unsigned)exp : METRICS_STEPS - 1;
}

static double
step_end(unsigned step)
{
	if (step == 0)
		return METRICS_LE_MIN;
	return ldexp(METRICS_LE_MIN * step_ends[(step - 1) % 4], (int)(step - 1) / 4 + 1);
}

void
metric_add(struct metric_slot *m, double v)
{
	struct window *w = &m->now;

	w->min = w->count == 0 || v < w->min ? v : w->min;
	w->max = w->count == 0 || v > w->max ? v : w->max;
	w->count++;
	w->sum += v;
	w->sum_sq += v * v;
	if (m->steps != NULL)
		m->steps[step_of(v)]++;
	m->total_count++;
	m->total_sum += v;
}

void
metric_set(struct metric_slot *m, double v)
{
	m->now = (struct window){ 1, v, v * v, v, v };
}

void
metric_clear(struct metric_slot *m)
{
	m->now = (struct window){ 0 };
}

bool
metrics_tick(uint64_t now_ms)
{
	if (now_ms < interval_end)
		return false;
	interval_end = now_ms + METRICS_INTERVAL_MS;
	for (size_t i = 0; i < nslots; i++) {
		struct metric_slot *m = slots[i];

		m->last = m->now;
		if (m->steps != NULL) {
			memcpy(m->steps + METRICS_STEPS, m->steps, METRICS_STEPS * sizeof(*m->steps));
			memset(m->steps, 0, METRICS_STEPS * sizeof(*m->steps));
		}
		/* A gauge keeps its value until it is set again. */
		if (m->kind != METRIC_GAUGE)
			m->now = (struct window){ 0 };
	}
	return true;
}

double
metric_quantile(const struct metric_bucket *v, size_t n, double q)
{
	uint64_t all = 0, seen = 0;

	for (size_t i = 0; i < n; i++)
		all += v[i].count;
	for (size_t i = 0; i < n; i++) {
		seen += v[i].count;
		if ((double)seen >= q * (double)all && v[i].count > 0)
			return v[i].le;
	}
	return 0;
}

/* The steps of the last interval in which something was observed. */
static size_t
last_buckets(const struct metric_slot *m, struct metric_bucket out[METRICS_STEPS])
{
	size_t n = 0;

	for (unsigned i = 0; m->steps != NULL && i < METRICS_STEPS; i++)
		if (m->steps[METRICS_STEPS + i] > 0)
			out[n++] = (struct metric_bucket){ step_end(i), m->steps[METRICS_STEPS + i] };
	return n;
}

void
metrics_encode(struct mp_w *w)
{
	mp_w_array(w, (uint32_t)nslots);
	for (size_t i = 0; i < nslots; i++) {
		const struct metric_slot *m = slots[i];
		/* A gauge shows its newest value, the rest the last whole interval. */
		const struct window *v = m->kind == METRIC_GAUGE ? &m->now : &m->last;
		struct metric_bucket buckets[METRICS_STEPS];
		struct metric rec = {
			.name = str_from(m->name), .kind = m->kind, .count = v->count, .sum = v->sum, .sum_sq = v->sum_sq,
			.min = v->min, .max = v->max, .total_count = m->total_count, .total_sum = m->total_sum, .buckets = { buckets, last_buckets(m, buckets) },
		};

		record_encode(&rec_metric, &rec, RECORD_WHOLE, w);
	}
}
