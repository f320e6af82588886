/*
 * read.c - reads that must not go back in time: read-index rounds and leases (thesis, section 6.4).
 *
 * A read is answered from a state that has applied all that was committed
 * when it was asked. A later read's answer serves the earlier ones as well,
 * and one by a round those to which a lease would do.
 */
#include <string.h>

#include "raftd/core/internal.h"

/*
 * Nine tenths of a promise, and less than a whole millisecond of it: clocks
 * are cut off to milliseconds, and rates differ.
 *
 * While a configuration is not yet committed, a rival can only be elected by
 * a majority of that one or of the one before it (an older one's majority
 * has voters that know better: the one before is committed). Those majorities
 * share a voter, since they are at most one vote apart, and it has promised.
 */
static bool
promised(const struct raft *r, uint64_t now_ms)
{
	if (r->role != RAFT_LEADER || r->lease_waived || r->commit < r->term_start)
		return false;
	return now_ms < peers_acked_ms(&r->peers, r->config.id, now_ms) + (uint64_t)r->config.lease_ms * 9 / 10;
}

/* What is committed may be ahead of our own state: a follower may have shown it to somebody. */
bool
raft_lease_valid(const struct raft *r, uint64_t now_ms)
{
	return r->applied >= r->commit && promised(r, now_ms);
}

/*
 * A place for a read. Out of places, it joins a waiting one of the same
 * asker, which then waits as long as the newer. A follower asks again.
 */
static struct raft_read *
place(struct raft *r, uint64_t from)
{
	struct raft_read *q;

	if (r->nreads < RAFT_READ_ROUNDS_MAX) {
		q = &r->reads[r->nreads++];
		*q = (struct raft_read){ .from = from };
		return q;
	}
	for (size_t i = r->nreads; i-- > 0;)
		if (r->reads[i].from == from)
			return &r->reads[i];
	if (from != r->config.id)
		return NULL;
	q = &r->reads[r->nreads - 1];
	*q = (struct raft_read){ .from = from };
	return q;
}

/* At the leader: what it waits for. Nothing that earlier leaders committed can be behind our first entry. */
static void
enter(struct raft *r, struct raft_read *q)
{
	q->index = max_u64(r->commit, r->term_start);
	q->round = 0;
	if (!q->consistent && promised(r, r->now_ms))
		return;
	/* All reads of a step share the round, which begins when the step ends. */
	q->round = r->round + 1;
	r->round_due = true;
}

void
read_begin(struct raft *r, bool consistent, struct raft_effects *fx)
{
	struct raft_read *q = place(r, r->config.id);

	q->upto = ++r->read_seq;
	q->consistent = q->consistent || consistent;
	q->index = 0;
	q->asked_ms = 0;
	fx->read = q->upto;
	if (r->role == RAFT_LEADER)
		enter(r, q);
}

void
read_asked(struct raft *r, const struct raft_message *m)
{
	struct raft_read *q;

	if (r->role != RAFT_LEADER || m->term != r->term)
		return;
	q = place(r, m->from);
	if (q == NULL)
		return;
	q->upto = m->read;
	q->consistent = q->consistent || m->consistent;
	enter(r, q);
}

void
read_answered(struct raft *r, const struct raft_message *m)
{
	if (m->from != r->leader || m->term != r->term || r->role != RAFT_FOLLOWER)
		return;
	/* Never given by us in this life. */
	if (m->read > r->read_seq)
		return;
	for (size_t i = 0; i < r->nreads; i++) {
		struct raft_read *q = &r->reads[i];

		if (q->index == 0 && q->upto <= m->read && (m->consistent || !q->consistent))
			q->index = m->read_index;
	}
}

/* Our own wait on: for the next leader. Others ask it themselves. */
void
read_as_follower(struct raft *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nreads; i++) {
		if (r->reads[i].from != r->config.id)
			continue;
		r->reads[n] = r->reads[i];
		r->reads[n].index = 0;
		r->reads[n++].asked_ms = 0;
	}
	r->nreads = n;
}

void
read_as_leader(struct raft *r)
{
	for (size_t i = 0; i < r->nreads; i++) {
		r->reads[i].round = 0;
		if (r->reads[i].index == 0)
			enter(r, &r->reads[i]);
	}
}

void
read_ask_again(struct raft *r)
{
	for (size_t i = 0; i < r->nreads; i++)
		r->reads[i].asked_ms = 0;
}

static bool
unanswered(const struct raft *r, const struct raft_read *q)
{
	return r->role == RAFT_FOLLOWER && r->leader != 0 && r->state_durable && q->index == 0;
}

static uint64_t
ask_at(const struct raft *r, const struct raft_read *q)
{
	return q->asked_ms == 0 ? 0 : q->asked_ms + r->config.heartbeat_ms;
}

/* One question for all that wait: its number tells the leader's answer for whom it is good. */
static void
ask(struct raft *r, bool consistent)
{
	struct raft_message *m;
	uint64_t upto = 0;

	for (size_t i = 0; i < r->nreads; i++)
		if (unanswered(r, &r->reads[i]) && r->reads[i].consistent == consistent && ask_at(r, &r->reads[i]) <= r->now_ms)
			upto = max_u64(upto, r->reads[i].upto);
	if (upto == 0)
		return;
	for (size_t i = 0; i < r->nreads; i++)
		if (r->reads[i].consistent == consistent)
			r->reads[i].asked_ms = max_u64(r->now_ms, 1);
	m = message_to(r, RAFT_MSG_READ, r->leader);
	m->read = upto;
	m->consistent = consistent;
}

static void
answer(struct raft *r, const struct raft_read *q)
{
	struct raft_message *m = message_to(r, RAFT_MSG_READ_REPLY, q->from);

	m->read = q->upto;
	m->read_index = q->index;
	m->consistent = q->consistent;
}

void
read_settle(struct raft *r, struct raft_effects *fx)
{
	uint64_t round = r->role == RAFT_LEADER ? peers_round(&r->peers) : 0;
	size_t n = 0;

	for (size_t i = 0; i < r->nreads; i++) {
		const struct raft_read *q = &r->reads[i];
		bool agreed = q->index != 0 && (r->role != RAFT_LEADER || q->round <= round);

		if (agreed && q->from != r->config.id)
			answer(r, q);
		else if (agreed && q->index <= r->applied)
			fx->reads_ready[q->consistent] = max_u64(fx->reads_ready[q->consistent], q->upto);
	}
	fx->reads_ready[0] = max_u64(fx->reads_ready[0], fx->reads_ready[1]);
	for (size_t i = 0; i < r->nreads; i++) {
		const struct raft_read *q = &r->reads[i];
		bool own = q->from == r->config.id;

		if (own ? q->upto > fx->reads_ready[q->consistent] : q->round > round)
			r->reads[n++] = *q;
	}
	r->nreads = n;
	ask(r, false);
	ask(r, true);
}

uint64_t
read_wake(const struct raft *r)
{
	uint64_t at = RAFT_NEVER;

	for (size_t i = 0; i < r->nreads; i++)
		if (unanswered(r, &r->reads[i]))
			at = min_u64(at, ask_at(r, &r->reads[i]));
	return at;
}
