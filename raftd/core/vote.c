/* vote.c - being asked for a vote or a pre-vote: whom we are bound to, and whose log is good enough (thesis, 3.6.1, 4.2.3, 9.6). */
#include "raftd/core/internal.h"

/*
 * Bound to a leader: one that we are ourselves, that we have promised our
 * vote to, or that we have heard of lately. Only the leader of our term can
 * release us, for the term right behind its own. If that is us we know
 * whether we did.
 */
static bool
bound(const struct raft *r, const struct raft_message *m)
{
	if (m->type == RAFT_MSG_VOTE && m->transfer && m->term == r->term + 1)
		return r->role == RAFT_LEADER && !r->lease_waived;
	if (r->role == RAFT_LEADER || r->now_ms < r->promised_ms)
		return true;
	return r->leader != 0 && r->now_ms < r->heard_ms + r->config.election_ms;
}

/* Negative, 0, positive: its log is behind, the same, ahead of ours. */
static int
compare_logs(const struct raft *r, const struct raft_message *m)
{
	uint64_t last = r->trail.last, term = trail_term(&r->trail, last);

	if (m->prev_term != term)
		return m->prev_term < term ? -1 : 1;
	return (m->prev_index > last) - (m->prev_index < last);
}

/*
 * Of two equals that ask each other at the same moment one must go first,
 * or both would stand and split the votes.
 */
static bool
goes_first(const struct raft *r, const struct raft_message *m)
{
	return r->prevote && m->term == r->term + 1 && compare_logs(r, m) == 0 && r->config.id > m->from;
}

void
vote_asked_before(struct raft *r, const struct raft_message *m)
{
	bool ok = m->term > r->term && !bound(r, m) && compare_logs(r, m) >= 0 && !goes_first(r, m);
	struct raft_message *reply;
	uint32_t pause = r->config.heartbeat_ms;

	/* A refusal tells our term, and so waits until it is on disk: the other asks again. */
	if (!ok && (!r->state_durable || r->term == 0))
		return;
	reply = message_to(r, RAFT_MSG_PREVOTE_REPLY, m->from);
	reply->ok = ok;
	if (!ok)
		return;
	reply->term = m->term;
	/* Stand back a little, so that its election is not split by ours. */
	r->prevote = false;
	if (r->role == RAFT_FOLLOWER && r->election_at != RAFT_NEVER)
		r->election_at = max_u64(r->election_at, r->now_ms + pause / 2 + election_random(r, pause + 1));
}

static void
reply_later(struct raft *r, uint64_t to, bool ok)
{
	if (r->vote_reply.pending && r->vote_reply.ok && !ok)
		return;
	r->vote_reply.to = to;
	r->vote_reply.ok = ok;
	r->vote_reply.pending = true;
}

void
vote_asked(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	bool ok;

	if (m->term < r->term) {
		reply_later(r, m->from, false);
		return;
	}
	/* Without taking over its term: servers that were cut off or removed shall not depose a leader. */
	if (bound(r, m))
		return;
	if (m->term > r->term)
		election_follow(r, m->term, fx);
	ok = (r->vote == 0 || r->vote == m->from) && compare_logs(r, m) >= 0;
	if (ok && r->vote == 0) {
		r->vote = m->from;
		r->state_durable = false;
		fx->hard_state = true;
	}
	if (ok) {
		r->prevote = false;
		election_plan(r);
	}
	reply_later(r, m->from, ok);
}

void
vote_settle(struct raft *r)
{
	if (!r->vote_reply.pending || !r->state_durable)
		return;
	r->vote_reply.pending = false;
	message_to(r, RAFT_MSG_VOTE_REPLY, r->vote_reply.to)->ok = r->vote_reply.ok;
}
