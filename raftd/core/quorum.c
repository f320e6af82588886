/* quorum.c - what a majority of the voters agrees on. */
#include <stdlib.h>

#include "raftd/core/core.h"

struct raft_progress *
voters_find(struct raft_voters *vs, uint64_t id)
{
	for (size_t i = 0; i < vs->n; i++)
		if (vs->v[i].id == id)
			return &vs->v[i];
	return NULL;
}

static size_t
majority(const struct raft_voters *vs)
{
	return vs->n / 2 + 1;
}

enum raft_vote
voters_outcome(const struct raft_voters *vs)
{
	size_t granted = 0, refused = 0;

	for (size_t i = 0; i < vs->n; i++) {
		granted += vs->v[i].vote == RAFT_VOTE_GRANTED;
		refused += vs->v[i].vote == RAFT_VOTE_REFUSED;
	}
	if (vs->n > 0 && granted >= majority(vs))
		return RAFT_VOTE_GRANTED;
	/* Lost once the rest cannot make a majority any more. */
	if (refused > vs->n - majority(vs))
		return RAFT_VOTE_REFUSED;
	return RAFT_VOTE_NONE;
}

static int
descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* The value that a majority has reached: the majority-th highest. */
static uint64_t
reached(const struct raft_voters *vs, uint64_t values[RAFT_VOTERS_MAX])
{
	if (vs->n == 0)
		return 0;
	qsort(values, vs->n, sizeof(values[0]), descending);
	return values[majority(vs) - 1];
}

uint64_t
voters_match(const struct raft_voters *vs)
{
	uint64_t values[RAFT_VOTERS_MAX];

	for (size_t i = 0; i < vs->n; i++)
		values[i] = vs->v[i].match;
	return reached(vs, values);
}

uint64_t
voters_round(const struct raft_voters *vs)
{
	uint64_t values[RAFT_VOTERS_MAX];

	for (size_t i = 0; i < vs->n; i++)
		values[i] = vs->v[i].round;
	return reached(vs, values);
}

uint64_t
voters_acked_ms(const struct raft_voters *vs)
{
	uint64_t values[RAFT_VOTERS_MAX];

	for (size_t i = 0; i < vs->n; i++)
		values[i] = vs->v[i].acked_ms;
	return reached(vs, values);
}
