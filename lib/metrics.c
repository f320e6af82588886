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

/* One writer, its process; whoever reads may see an observation half counted. */
struct metrics_area {
	uint32_t n;
	struct metric_slot v[METRICS_AREA_SLOTS];
	uint32_t steps[METRICS_AREA_SLOTS][2 * METRICS_STEPS];
};

/* Slots never move: callers keep pointers. */
static struct metric_slot *slots[METRICS_MAX];
static size_t nslots, first;	/* those before `first` were got before metrics_use_area() */
static struct metric_slot overflow = { .name = "metrics.overflow", .kind = METRIC_COUNTER };
static uint64_t interval_end;
static struct metrics_area *own_area;	/* of a child */
static const struct metrics_area *areas[METRICS_AREAS_MAX];
static size_t nareas;

static struct metric_slot *
find_slot(const char *name)
{
	for (size_t i = first; i < nslots; i++)
		if (strcmp(slots[i]->name, name) == 0)
			return slots[i];
	return NULL;
}

/* The parent looks at slots below n alone. */
static struct metric_slot *
area_slot(struct metrics_area *a, const char *name, int kind)
{
	struct metric_slot *m;

	if (a->n >= METRICS_AREA_SLOTS || nslots == METRICS_MAX)
		return &overflow;
	m = &a->v[a->n];
	m->steps = kind == METRIC_SAMPLE ? a->steps[a->n] : NULL;
	m->kind = kind;
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	slots[nslots++] = m;
	__atomic_store_n(&a->n, a->n + 1, __ATOMIC_RELEASE);
	return m;
}

struct metric_slot *
metric_get(const char *name, int kind)
{
	struct metric_slot *m = find_slot(name);

	if (m != NULL)
		return m;
	if (own_area != NULL)
		return area_slot(own_area, name, kind);
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
	for (size_t i = first; i < nslots; i++) {
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

/* ---- areas */

size_t
metrics_area_size(void)
{
	return sizeof(struct metrics_area);
}

void
metrics_use_area(struct metrics_area *a)
{
	own_area = a;
	nareas = 0;
	first = nslots;
	for (uint32_t i = 0; i < a->n && nslots < METRICS_MAX; i++) {
		struct metric_slot *m = &a->v[i];

		/* The totals go on; the interval of the process before is not ours. */
		m->now = m->last = (struct window){ 0 };
		if (m->steps != NULL)
			memset(m->steps, 0, 2 * METRICS_STEPS * sizeof(*m->steps));
		slots[nslots++] = m;
	}
}

void
metrics_add_area(const struct metrics_area *a)
{
	if (nareas < METRICS_AREAS_MAX)
		areas[nareas++] = a;
}

/* ---- telling */

/* A gauge shows its newest value, the rest the last whole interval. */
static const struct window *
shown(const struct metric_slot *m)
{
	return m->kind == METRIC_GAUGE ? &m->now : &m->last;
}

/* One name's numbers of all processes. */
struct sum {
	struct window w;
	uint64_t total_count;
	double total_sum;
	uint32_t steps[METRICS_STEPS];
};

static void
sum_window(struct window *to, const struct window *w, int kind)
{
	if (w->count == 0)
		return;
	if (kind == METRIC_GAUGE) {
		/* One value, the sum of all. */
		*to = (struct window){ 1, to->sum + w->sum, 0, to->sum + w->sum, to->sum + w->sum };
		to->sum_sq = to->sum * to->sum;
		return;
	}
	to->min = to->count == 0 || w->min < to->min ? w->min : to->min;
	to->max = to->count == 0 || w->max > to->max ? w->max : to->max;
	to->count += w->count;
	to->sum += w->sum;
	to->sum_sq += w->sum_sq;
}

static void
sum_slot(struct sum *s, const struct metric_slot *m)
{
	sum_window(&s->w, shown(m), m->kind);
	s->total_count += m->total_count;
	s->total_sum += m->total_sum;
	for (unsigned i = 0; m->steps != NULL && i < METRICS_STEPS; i++)
		s->steps[i] += m->steps[METRICS_STEPS + i];
}

static uint32_t
area_slots(const struct metrics_area *a)
{
	return __atomic_load_n(&a->n, __ATOMIC_ACQUIRE);
}

static const struct metric_slot *
area_find(const struct metrics_area *a, const char *name)
{
	uint32_t n = area_slots(a);

	for (uint32_t i = 0; i < n; i++)
		if (strcmp(a->v[i].name, name) == 0)
			return &a->v[i];
	return NULL;
}

/* The steps of the last interval in which something was observed. */
static size_t
last_buckets(const struct sum *s, struct metric_bucket out[METRICS_STEPS])
{
	size_t n = 0;

	for (unsigned i = 0; i < METRICS_STEPS; i++)
		if (s->steps[i] > 0)
			out[n++] = (struct metric_bucket){ step_end(i), s->steps[i] };
	return n;
}

/* m is the first of its name; the areas from `from` on may have it, too. */
static void
encode_one(const struct metric_slot *m, size_t from, struct mp_w *w)
{
	struct metric_bucket buckets[METRICS_STEPS];
	struct sum s = { 0 };
	struct metric rec = { .name = str_from(m->name), .kind = m->kind };

	sum_slot(&s, m);
	for (size_t i = from; i < nareas; i++) {
		const struct metric_slot *other = area_find(areas[i], m->name);

		if (other != NULL && other->kind == m->kind)
			sum_slot(&s, other);
	}
	rec.count = s.w.count;
	rec.sum = s.w.sum;
	rec.sum_sq = s.w.sum_sq;
	rec.min = s.w.min;
	rec.max = s.w.max;
	rec.total_count = s.total_count;
	rec.total_sum = s.total_sum;
	rec.buckets.v = buckets;
	rec.buckets.n = last_buckets(&s, buckets);
	record_encode(&rec_metric, &rec, RECORD_WHOLE, w);
}

static bool
told_before(const char *name, size_t area)
{
	if (find_slot(name) != NULL)
		return true;
	for (size_t i = 0; i < area; i++)
		if (area_find(areas[i], name) != NULL)
			return true;
	return false;
}

void
metrics_encode(struct mp_w *w)
{
	uint32_t n = 0;
	size_t at = mp_w_array_hold(w);

	for (size_t i = first; i < nslots; i++, n++)
		encode_one(slots[i], 0, w);
	for (size_t a = 0; a < nareas; a++) {
		uint32_t all = area_slots(areas[a]);

		for (uint32_t i = 0; i < all; i++)
			if (!told_before(areas[a]->v[i].name, a)) {
				encode_one(&areas[a]->v[i], a + 1, w);
				n++;
			}
	}
	mp_w_array_patch(w, at, n);
}
