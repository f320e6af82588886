/* trail.c - the terms of a log as runs, so that a million entries cost a few words. */
#include <stdlib.h>
#include <string.h>

#include "raftd/core/core.h"

enum { TRAIL_FIRST = 8 };

void
trail_release(struct raft_trail *t)
{
	free(t->runs);
	*t = (struct raft_trail){ 0 };
}

static int
grow(struct raft_trail *t)
{
	struct raft_run *p;
	size_t cap;

	if (t->n < t->cap)
		return 0;
	if (t->n >= RAFT_RUNS_MAX)
		return -ELIMIT;
	cap = t->cap != 0 ? t->cap * 2 : TRAIL_FIRST;
	p = realloc(t->runs, cap * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	t->runs = p;
	t->cap = cap;
	return 0;
}

int
trail_append(struct raft_trail *t, uint64_t term)
{
	int rc;

	if (t->n == 0 || t->runs[t->n - 1].term != term) {
		rc = grow(t);
		if (rc < 0)
			return rc;
		t->runs[t->n++] = (struct raft_run){ t->last + 1, term };
	}
	t->last++;
	return 0;
}

/* The run that covers index, or n. */
static size_t
find(const struct raft_trail *t, uint64_t index)
{
	size_t lo = 0, hi = t->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (t->runs[mid].first <= index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 ? lo - 1 : t->n;
}

uint64_t
trail_term(const struct raft_trail *t, uint64_t index)
{
	size_t i;

	if (index == 0 || index < t->base || index > t->last)
		return 0;
	i = find(t, index);
	return i < t->n ? t->runs[i].term : 0;
}

void
trail_compact(struct raft_trail *t, uint64_t index)
{
	size_t i;

	if (index <= t->base)
		return;
	i = find(t, index);
	if (i < t->n && i > 0) {
		memmove(t->runs, t->runs + i, (t->n - i) * sizeof(*t->runs));
		t->n -= i;
	}
	t->base = index;
	if (t->last < index)
		t->last = index;
}
