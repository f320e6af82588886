/* quorum.c - what a majority of the voters agrees on. */
#include <stdlib.h>

#include "raftd/core/core.h"

struct raft_progress *
peers_find(struct raft_peers *ps, uint64_t id)
{
	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].id == id)
			return &ps->v[i];
	return NULL;
}

size_t
peers_voters(const struct raft_peers *ps)
{
	size_t n = 0;

	for (size_t i = 0; i < ps->n; i++)
		n += ps->v[i].voter;
	return n;
}

enum raft_vote
peers_outcome(const struct raft_peers *ps)
{
	size_t voters = peers_voters(ps), majority = voters / 2 + 1, granted = 0, refused = 0;

	for (size_t i = 0; i < ps->n; i++) {
		granted += ps->v[i].voter && ps->v[i].vote == RAFT_VOTE_GRANTED;
		refused += ps->v[i].voter && ps->v[i].vote == RAFT_VOTE_REFUSED;
	}
	if (granted >= majority)
		return RAFT_VOTE_GRANTED;
	/* Lost once the rest cannot make a majority any more. */
	if (voters > 0 && refused > voters - majority)
		return RAFT_VOTE_REFUSED;
	return RAFT_VOTE_NONE;
}

static int
descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* The value that a majority has reached: the majority-th highest of n. */
static uint64_t
reached(uint64_t *values, size_t n)
{
	if (n == 0)
		return 0;
	qsort(values, n, sizeof(values[0]), descending);
	return values[n / 2];
}

uint64_t
peers_match(const struct raft_peers *ps)
{
	uint64_t values[RAFT_SERVERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].voter)
			values[n++] = ps->v[i].match;
	return reached(values, n);
}

uint64_t
peers_round(const struct raft_peers *ps)
{
	uint64_t values[RAFT_SERVERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].voter)
			values[n++] = ps->v[i].round;
	return reached(values, n);
}

uint64_t
peers_acked_ms(const struct raft_peers *ps, uint64_t self, uint64_t now_ms)
{
	uint64_t values[RAFT_SERVERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].voter)
			values[n++] = ps->v[i].id == self ? now_ms : ps->v[i].acked_ms;
	return reached(values, n);
}

uint64_t
peers_heard_ms(const struct raft_peers *ps, uint64_t self, uint64_t now_ms)
{
	uint64_t values[RAFT_SERVERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].voter)
			values[n++] = ps->v[i].id == self ? now_ms : ps->v[i].heard_ms;
	return reached(values, n);
}
