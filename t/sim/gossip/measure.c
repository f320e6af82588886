/* measure.c - who heard of what, and when. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/sim/gossip/world.h"

static size_t
listeners(const struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->nmembers; i++)
		n += w->members[i].serf != NULL && strcmp(w->members[i].name, w->watched.name) != 0;
	return n;
}

void
measure_watch(struct world *w, const char *name, enum serf_change what)
{
	(void)snprintf(w->watched.name, sizeof(w->watched.name), "%s", name);
	w->watched.what = what;
	w->watched.n = 0;
	w->watched.of = listeners(w);
	memset(w->watched.heard, 0, w->cap * sizeof(*w->watched.heard));
}

/* Of a name "m17". */
static struct member *
member_of(struct world *w, struct str name)
{
	uint32_t i = 0;

	for (size_t k = 1; k < name.len; k++)
		i = 10 * i + (uint32_t)(name.p[k] - '0');
	return &w->members[i];
}

void
measure_heard(struct member *m, enum serf_change what, const struct serf_member *about)
{
	struct world *w = m->w;
	struct str name = swim_node_name(about->node);
	const struct member *subject = member_of(w, name);

	if (what == SERF_CHANGE_FAILED && subject->serf != NULL && !subject->left) {
		w->false_starved += subject->starved;
		w->false_healthy += !subject->starved;
		w->false_both += !subject->starved && !m->starved;
	}
	if (what == w->watched.what && str_eqs(name, w->watched.name) && w->watched.heard[m->index] == 0 && subject != m) {
		w->watched.heard[m->index] = w->now;
		w->watched.n++;
	}
}

bool
measure_all_heard(struct world *w)
{
	/* Nobody comes or goes while it is waited for. */
	return w->watched.n >= w->watched.of;
}

static int
by_time(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct spread
measure_spread(struct world *w, uint64_t from)
{
	struct spread s = { .of = listeners(w) };
	uint64_t *v = calloc(w->nmembers, sizeof(*v));

	if (v == NULL)
		exit(2);
	for (size_t i = 0; i < w->nmembers; i++)
		if (w->watched.heard[i] != 0)
			v[s.heard++] = w->watched.heard[i] - from;
	qsort(v, s.heard, sizeof(*v), by_time);
	if (s.heard > 0) {
		s.first = (double)v[0] / 1e9;
		s.median = (double)v[s.heard / 2] / 1e9;
		s.last = (double)v[s.heard - 1] / 1e9;
	}
	free(v);
	return s;
}
