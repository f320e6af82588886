/*
 * near.c - a list in the order of its items' distance from one node.
 *
 * Items of one distance stay in the order in which they came, and those whose
 * distance is not known come last. Without a node to measure from, or when
 * nothing is known of that node, items go through one by one as they come.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/rtt.h"
#include "raftd/fsm/query.h"

struct near_item {
	const void *item;
	double seconds;
	size_t place;
};

/* The node's only coordinate, or how many it has, with the first in *ret. */
static size_t
coordinates_of(const struct fsm *f, struct str prefix, const struct coordinate_item **ret)
{
	const struct coordinate_item *item;
	struct tree_iter it;
	size_t n = 0;

	tree_seek(&f->coordinates, prefix, &it);
	while ((item = tree_next_prefixed(&it, prefix)) != NULL)
		if (n++ == 0)
			*ret = item;
	return n;
}

static const struct coordinate *
in_segment(const struct fsm *f, struct str node_key, struct str segment)
{
	const struct coordinate_item *item = tree_get(&f->coordinates, join_lower(f, node_key, segment));

	return item != NULL ? &item->c.coord : NULL;
}

/*
 * Coordinates can be compared within one segment only. A node that has just
 * one says which; when both have several it is the segment without a name.
 * Nothing is nearer to a node than itself: its own coordinate would put it two
 * of its heights away, behind a neighbour of a smaller one.
 */
static double
seconds_to(const struct near *s, struct str node_key)
{
	struct str prefix = join(s->f, node_key, STR_NONE, STR_NONE), segment = STR("");
	const struct coordinate_item *mine = NULL, *theirs = NULL;
	size_t n;

	if (prefix.p == NULL)
		return INFINITY;
	n = coordinates_of(s->f, prefix, &theirs);
	if (n == 0)
		return INFINITY;
	if (str_eq(s->node, node_key))
		return -1;
	if (coordinates_of(s->f, s->prefix, &mine) == 1)
		segment = mine->c.segment;
	if (n == 1)
		segment = theirs->c.segment;
	return rtt_seconds(in_segment(s->f, s->node, segment), in_segment(s->f, node_key, segment));
}

void
near_begin(struct near *s, const struct fsm *f, struct str node, near_emit *emit, void *ctx)
{
	const struct coordinate_item *first;

	*s = (struct near){ .f = f, .emit = emit, .ctx = ctx };
	if (node.len == 0)
		return;
	s->node = lower(f, node);
	s->prefix = join(f, s->node, STR_NONE, STR_NONE);
	s->sorts = s->prefix.p != NULL && coordinates_of(f, s->prefix, &first) > 0;
}

static int
grow(struct near *s)
{
	size_t cap = s->cap != 0 ? s->cap * 2 : 64;
	struct near_item *v = arena_alloc(s->f->arena, cap * sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	if (s->n > 0)
		memcpy(v, s->v, s->n * sizeof(*v));
	s->v = v;
	s->cap = cap;
	return 0;
}

int
near_put(struct near *s, const void *item, struct str node_key)
{
	int rc;

	if (!s->sorts)
		return s->emit(s->ctx, item);
	if (s->n == s->cap) {
		rc = grow(s);
		if (rc < 0)
			return rc;
	}
	/* What belongs to one node often comes together. */
	if (s->n == 0 || !str_eq(s->last, node_key))
		s->last_seconds = seconds_to(s, node_key);
	s->last = node_key;
	s->v[s->n] = (struct near_item){ item, s->last_seconds, s->n };
	s->n++;
	return 0;
}

static int
by_distance(const void *a, const void *b)
{
	const struct near_item *x = a, *y = b;

	if (x->seconds < y->seconds)
		return -1;
	if (x->seconds > y->seconds)
		return 1;
	return (x->place > y->place) - (x->place < y->place);
}

int
near_end(struct near *s)
{
	int rc = 0;

	if (s->n > 1)
		qsort(s->v, s->n, sizeof(*s->v), by_distance);
	for (size_t i = 0; i < s->n && rc == 0; i++)
		rc = s->emit(s->ctx, s->v[i].item);
	return rc;
}

void
near_ranks(const struct near *s, uint32_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = i == 0 || i >= s->n ? 0 : out[i - 1] + (s->v[i].seconds > s->v[i - 1].seconds);
}
