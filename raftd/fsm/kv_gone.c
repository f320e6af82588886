/*
 * kv_gone.c - the keys that went lately, so that what changed since an index can be told. It is memory of this server
 * alone, no part of the state: one that does not reach back far enough says so, and then all is told.
 */
#include <stdlib.h>

#include "raftd/fsm/state.h"

enum { GONE_MAX = 1 << 16, GONE_BYTES_MAX = 8 * MiB, GONE_FIRST = 64 };

struct gone_key {
	uint64_t index;
	struct str key;		/* a block of its own */
};

/* A ring: the oldest at `first`. */
struct gone {
	struct gone_key *v;
	size_t cap, first, n, bytes;
	uint64_t floor;		/* every deletion above this index is in it */
};

struct gone *
gone_new(void)
{
	return calloc(1, sizeof(struct gone));
}

static void
drop_oldest(struct gone *g)
{
	struct gone_key *k = &g->v[g->first];

	g->floor = max_u64(g->floor, k->index);
	g->bytes -= k->key.len;
	free((void *)k->key.p);
	g->first = (g->first + 1) % g->cap;
	g->n--;
}

void
gone_reset(struct gone *g, uint64_t floor)
{
	while (g->n > 0)
		drop_oldest(g);
	g->floor = floor;
}

void
gone_free(struct gone *g)
{
	if (g == NULL)
		return;
	gone_reset(g, 0);
	free(g->v);
	free(g);
}

static int
grow(struct gone *g)
{
	size_t cap = g->cap != 0 ? g->cap * 2 : GONE_FIRST;
	struct gone_key *v = malloc(cap * sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < g->n; i++)
		v[i] = g->v[(g->first + i) % g->cap];
	free(g->v);
	g->v = v;
	g->cap = cap;
	g->first = 0;
	return 0;
}

void
gone_note(struct gone *g, uint64_t index, struct str key)
{
	char *copy = key.len <= GONE_BYTES_MAX ? malloc(key.len) : NULL;

	while (copy != NULL && g->n > 0 && (g->n == GONE_MAX || g->bytes + key.len > GONE_BYTES_MAX))
		drop_oldest(g);
	/* Without memory it is forgotten, and so is all before it. */
	if (copy == NULL || (g->n == g->cap && grow(g) < 0)) {
		free(copy);
		gone_reset(g, index);
		return;
	}
	memcpy(copy, key.p, key.len);
	g->v[(g->first + g->n++) % g->cap] = (struct gone_key){ index, { copy, key.len } };
	g->bytes += key.len;
}

bool
gone_reaches(const struct gone *g, uint64_t since)
{
	return since >= g->floor;
}

/* The first that is above the index; they stand in order. */
static size_t
first_above(const struct gone *g, uint64_t since)
{
	size_t lo = 0, hi = g->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (g->v[(g->first + mid) % g->cap].index <= since)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void
gone_walk(const struct gone *g, struct str prefix, uint64_t since, void (*each)(void *ctx, uint64_t index, struct str key),
    void *ctx)
{
	for (size_t i = first_above(g, since); i < g->n; i++) {
		const struct gone_key *k = &g->v[(g->first + i) % g->cap];

		if (str_has_prefix(k->key, prefix))
			each(ctx, k->index, k->key);
	}
}
