/* core.c - the state machine's start, and one event to the file that knows it. */
#include "raftd/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "raftd/core/internal.h"

const char *
raft_role_name(enum raft_role role)
{
	static const char *const names[] = { "Follower", "Candidate", "Leader" };

	return names[role];
}

/* Replace the table, keeping what is known of voters that stay. */
static int
set_voters(struct raft *r, const uint64_t *ids, size_t n)
{
	struct raft_voters next = { .n = n };

	if (n > RAFT_VOTERS_MAX)
		return -ELIMIT;
	for (size_t i = 0; i < n; i++) {
		struct raft_progress *old = voters_find(&r->voters, ids[i]);

		if (ids[i] == 0)
			return -EINVAL;
		if (old != NULL)
			next.v[i] = *old;
		next.v[i].id = ids[i];
	}
	r->voters = next;
	return 0;
}

static int
set_trail(struct raft_trail *t, const struct raft_start *s)
{
	if (s->nruns > RAFT_RUNS_MAX)
		return -ELIMIT;
	if (s->last > s->base && s->nruns == 0)
		return -EINVAL;
	for (size_t i = 1; i < s->nruns; i++)
		if (s->runs[i].first <= s->runs[i - 1].first || s->runs[i].term <= s->runs[i - 1].term)
			return -EINVAL;
	if (s->nruns > 0) {
		t->runs = malloc(s->nruns * sizeof(*t->runs));
		if (t->runs == NULL)
			return -ENOMEM;
		memcpy(t->runs, s->runs, s->nruns * sizeof(*t->runs));
		t->n = t->cap = s->nruns;
	}
	t->last = s->last;
	trail_compact(t, s->base);
	return 0;
}

int
raft_init(struct raft *r, const struct raft_config *c, const struct raft_start *s, uint64_t now_ms)
{
	int rc;

	*r = (struct raft){ .config = *c, .term = s->term, .vote = s->vote, .state_durable = true,
		.persisted = s->last, .commit = s->applied, .applied = s->applied, .random = c->seed,
		.election_at = RAFT_NEVER };
	if (c->id == 0 || s->last < s->base || s->applied < s->base || s->applied > s->last)
		return -EINVAL;
	rc = set_trail(&r->trail, s);
	if (rc == 0)
		rc = set_voters(r, s->voters, s->nvoters);
	if (rc < 0)
		return rc;
	if (trail_term(&r->trail, s->last) > s->term)
		return -EINVAL;
	election_plan(r, now_ms);
	return 0;
}

void
raft_release(struct raft *r)
{
	trail_release(&r->trail);
}

static int
on_persisted(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	replicate_persisted(r, ev->index, ev->index_term);
	if (ev->term == r->term && ev->vote == r->vote && !r->state_durable) {
		r->state_durable = true;
		return election_own_vote(r, fx);
	}
	return 0;
}

static int
on_propose(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	if (r->role != RAFT_LEADER)
		return -RAFT_ENOTLEADER;
	if (ev->count == 0)
		return -EINVAL;
	return replicate_append(r, ev->count, fx);
}

static int
on_applied(struct raft *r, const struct raft_event *ev)
{
	if (ev->index > r->commit)
		return -EINVAL;
	if (ev->index > r->applied)
		r->applied = ev->index;
	return 0;
}

static int
on_compacted(struct raft *r, const struct raft_event *ev)
{
	if (ev->index > r->applied)
		return -EINVAL;
	trail_compact(&r->trail, ev->index);
	return 0;
}

static int
on_servers(struct raft *r, const struct raft_event *ev)
{
	int rc = set_voters(r, ev->voters, ev->nvoters);

	if (rc == 0 && r->role == RAFT_FOLLOWER)
		election_plan(r, ev->now_ms);
	return rc;
}

static int
dispatch(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	switch (ev->type) {
	case RAFT_TIMER:
		return election_timer(r, ev->now_ms, fx);
	case RAFT_PROPOSE:
		return on_propose(r, ev, fx);
	case RAFT_PERSISTED:
		return on_persisted(r, ev, fx);
	case RAFT_APPLIED:
		return on_applied(r, ev);
	case RAFT_READ:
		return read_barrier(r, ev->now_ms, fx);
	case RAFT_COMPACTED:
		return on_compacted(r, ev);
	case RAFT_SERVERS:
		return on_servers(r, ev);
	}
	return -EINVAL;
}

int
raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *ret)
{
	int rc;

	*ret = (struct raft_effects){ 0 };
	rc = dispatch(r, ev, ret);
	if (rc == 0) {
		replicate_commit(r);
		read_advance(r, ret);
	}
	ret->commit = r->commit;
	ret->wake_ms = r->role == RAFT_LEADER ? RAFT_NEVER : r->election_at;
	return rc;
}
