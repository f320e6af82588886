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

int
trail_reserve(struct raft_trail *t, size_t n)
{
	struct raft_run *p;
	size_t cap = t->cap != 0 ? t->cap : TRAIL_FIRST;

	if (n > RAFT_RUNS_MAX - t->n)
		return -ELIMIT;
	if (t->n + n <= t->cap)
		return 0;
	while (cap < t->n + n)
		cap *= 2;
	p = realloc(t->runs, cap * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	t->runs = p;
	t->cap = cap;
	return 0;
}

void
trail_extend(struct raft_trail *t, uint64_t last, uint64_t term)
{
	if (t->n == 0 || t->runs[t->n - 1].term != term)
		t->runs[t->n++] = (struct raft_run){ t->last + 1, term };
	t->last = last;
}

int
trail_append(struct raft_trail *t, uint64_t term)
{
	if (t->n == 0 || t->runs[t->n - 1].term != term) {
		int rc = trail_reserve(t, 1);

		if (rc < 0)
			return rc;
	}
	trail_extend(t, t->last + 1, term);
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

uint64_t
trail_run_first(const struct raft_trail *t, uint64_t index)
{
	size_t i = find(t, index);

	return i < t->n && t->runs[i].first > t->base ? t->runs[i].first : t->base;
}

uint64_t
trail_last_of(const struct raft_trail *t, uint64_t term)
{
	size_t lo = 0, hi = t->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (t->runs[mid].term < term)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == t->n || t->runs[lo].term != term)
		return 0;
	return lo + 1 < t->n ? t->runs[lo + 1].first - 1 : t->last;
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

void
trail_truncate(struct raft_trail *t, uint64_t index)
{
	if (index <= t->base || index > t->last)
		return;
	while (t->n > 0 && t->runs[t->n - 1].first >= index)
		t->n--;
	t->last = index - 1;
}

void
trail_reset(struct raft_trail *t, uint64_t index, uint64_t term)
{
	t->runs[0] = (struct raft_run){ index, term };
	t->n = 1;
	t->base = t->last = index;
}
