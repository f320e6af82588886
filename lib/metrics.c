/* metrics.c - the table of metric slots and its intervals. */
#include "lib/metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/records.h"

struct window {
	uint64_t count;
	double sum, sum_sq, min, max;
};

struct metric_slot {
	char name[METRIC_NAME_MAX];
	int kind;
	struct window now, last;
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
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	m->kind = kind;
	slots[nslots++] = m;
	return m;
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
	m->total_count++;
	m->total_sum += v;
}

void
metric_set(struct metric_slot *m, double v)
{
	m->now = (struct window){ 1, v, v * v, v, v };
}

void
metrics_tick(uint64_t now_ms)
{
	if (now_ms < interval_end)
		return;
	interval_end = now_ms + METRICS_INTERVAL_MS;
	for (size_t i = 0; i < nslots; i++) {
		struct metric_slot *m = slots[i];

		m->last = m->now;
		/* A gauge keeps its value until it is set again. */
		if (m->kind != METRIC_GAUGE)
			m->now = (struct window){ 0 };
	}
}

void
metrics_encode(struct mp_w *w)
{
	mp_w_array(w, (uint32_t)nslots);
	for (size_t i = 0; i < nslots; i++) {
		const struct metric_slot *m = slots[i];
		/* A gauge shows its newest value, the rest the last whole interval. */
		const struct window *v = m->kind == METRIC_GAUGE ? &m->now : &m->last;
		struct metric rec = {
			.name = str_from(m->name), .kind = m->kind, .count = v->count, .sum = v->sum, .sum_sq = v->sum_sq,
			.min = v->min, .max = v->max, .total_count = m->total_count, .total_sum = m->total_sum,
		};

		record_encode(&rec_metric, &rec, RECORD_WHOLE, w);
	}
}
