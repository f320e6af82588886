/* election.c - standing for leader: pre-votes, terms, votes received (thesis, sections 3.4 and 9.6). */
#include "raftd/core/internal.h"

/* After a hint that the leader died, in ms: spread so that survivors do not stand together. */
enum { HINT_FIRST = 5, HINT_FIRST_SPREAD = 26, HINT_AGAIN = 20, HINT_AGAIN_SPREAD = 41 };

/* splitmix64: enough to keep servers from standing at the same moment. */
uint64_t
election_random(struct raft *r, uint64_t n)
{
	uint64_t z = r->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % n;
}

static bool
hinted(const struct raft *r)
{
	return r->now_ms < r->hint_until;
}

/*
 * When to stand: one to one and a half election timeouts from now; at once
 * when nobody else could be the leader; never for a server that has no vote
 * (see member_may_lead()); and not while somebody relies on our promise.
 */
void
election_plan(struct raft *r)
{
	uint64_t wait = r->config.election_ms + election_random(r, r->config.election_ms / 2 + 1);

	if (!member_may_lead(r)) {
		r->election_at = RAFT_NEVER;
		return;
	}
	if (peers_voters(&r->peers) == 1 && member_voter(r, r->config.id))
		wait = 0;
	r->election_at = max_u64(r->now_ms + wait, r->promised_ms);
}

/* Another try, when this one has come to nothing. A pre-vote costs nobody anything. */
static void
plan_again(struct raft *r)
{
	uint64_t spread = r->config.election_ms / 2 + 1, wait = r->config.election_ms / 4;

	if (hinted(r)) {
		wait = HINT_AGAIN;
		spread = HINT_AGAIN_SPREAD;
	}
	r->election_at = max_u64(r->now_ms + wait + election_random(r, spread), r->promised_ms);
}

void
election_term(struct raft *r, uint64_t term, uint64_t vote, struct raft_effects *fx)
{
	r->term = term;
	r->vote = vote;
	r->leader = 0;
	r->state_durable = false;
	r->vote_reply.pending = false;
	fx->hard_state = true;
	follow_reset(r);
}

void
election_follow(struct raft *r, uint64_t term, struct raft_effects *fx)
{
	enum raft_role was = r->role;

	if (term > r->term)
		election_term(r, term, 0, fx);
	r->prevote = false;
	if (was == RAFT_FOLLOWER)
		return;
	r->role = RAFT_FOLLOWER;
	if (was == RAFT_LEADER) {
		r->leader = 0;
		r->transfer_to = 0;
		r->round_due = false;
		follow_reset(r);
		read_as_follower(r);
	}
	election_plan(r);
}

static void
clear_votes(struct raft *r)
{
	for (size_t i = 0; i < r->peers.n; i++)
		r->peers.v[i].vote = r->peers.v[i].id == r->config.id ? RAFT_VOTE_GRANTED : RAFT_VOTE_NONE;
}

/* Ask all voters for this term. */
static void
ask(struct raft *r, enum raft_message_type type, uint64_t term)
{
	for (size_t i = 0; i < r->peers.n; i++) {
		const struct raft_progress *p = &r->peers.v[i];
		struct raft_message *m;

		if (!p->voter || p->id == r->config.id)
			continue;
		m = message_to(r, type, p->id);
		m->term = term;
		m->prev_index = r->trail.last;
		m->prev_term = trail_term(&r->trail, r->trail.last);
		m->transfer = type == RAFT_MSG_VOTE && r->standing_transfer;
	}
}

static void
become_candidate(struct raft *r, bool transfer, struct raft_effects *fx)
{
	uint32_t wait = hinted(r) ? r->config.election_ms / 4 : r->config.election_ms;

	election_term(r, r->term + 1, r->config.id, fx);
	r->role = RAFT_CANDIDATE;
	r->prevote = false;
	r->standing_transfer = transfer;
	r->election_at = r->now_ms + wait + election_random(r, wait / 2 + 1);
	clear_votes(r);
	/* The votes are asked for, and our own counts, when it is on disk: election_durable(). */
}

static void
start_prevote(struct raft *r, struct raft_effects *fx)
{
	if (r->role == RAFT_CANDIDATE)
		election_follow(r, r->term, fx);
	r->leader = 0;
	r->prevote = true;
	plan_again(r);
	clear_votes(r);
	if (peers_outcome(&r->peers) == RAFT_VOTE_GRANTED)
		become_candidate(r, false, fx);
	else
		ask(r, RAFT_MSG_PREVOTE, r->term + 1);
}

/* A server whose disk does not answer would be a leader of no use. Room in the trail is for the no-op entry. */
static bool
may_stand(struct raft *r)
{
	return member_may_lead(r) && r->state_durable && !r->installing && !disk_stalled(r, r->config.election_ms / 4) &&
	    r->term + 1 < RAFT_NUMBER_MAX && r->trail.last + 1 < RAFT_NUMBER_MAX && trail_reserve(&r->trail, 1) == 0;
}

/* Nor does it hold others up. */
static void
stand_later(struct raft *r)
{
	r->prevote = false;
	plan_again(r);
	if (!member_may_lead(r))
		r->election_at = RAFT_NEVER;
}

void
election_timer(struct raft *r, struct raft_effects *fx)
{
	if (r->role == RAFT_LEADER || r->now_ms < r->election_at)
		return;
	/* We slept: what the leader said meanwhile may still lie in our sockets. */
	if (r->late_ms == r->now_ms)
		r->election_at = r->now_ms + r->config.heartbeat_ms / 2 + 1;
	else if (r->now_ms >= r->promised_ms && may_stand(r))
		start_prevote(r, fx);
	else
		stand_later(r);
}

static void
count_votes(struct raft *r, struct raft_effects *fx)
{
	enum raft_vote outcome = peers_outcome(&r->peers);

	if (outcome == RAFT_VOTE_REFUSED) {
		election_follow(r, r->term, fx);
		plan_again(r);
	} else if (outcome == RAFT_VOTE_GRANTED && r->role == RAFT_CANDIDATE) {
		replicate_start(r, fx);
	} else if (outcome == RAFT_VOTE_GRANTED && r->now_ms >= r->promised_ms && may_stand(r)) {
		become_candidate(r, false, fx);
	}
}

void
election_durable(struct raft *r, struct raft_effects *fx)
{
	if (r->role != RAFT_CANDIDATE)
		return;
	ask(r, RAFT_MSG_VOTE, r->term);
	count_votes(r, fx);
}

static void
note_vote(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	struct raft_progress *p = peers_find(&r->peers, m->from);

	if (p == NULL || !p->voter)
		return;
	p->vote = m->ok ? RAFT_VOTE_GRANTED : RAFT_VOTE_REFUSED;
	count_votes(r, fx);
}

void
election_prevote_reply(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	if (r->prevote && (!m->ok || m->term == r->term + 1))
		note_vote(r, m, fx);
}

void
election_vote_reply(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	if (r->role == RAFT_CANDIDATE && r->state_durable && m->term == r->term)
		note_vote(r, m, fx);
}

void
election_leader_lost(struct raft *r, uint64_t peer)
{
	if (r->role != RAFT_FOLLOWER || peer == 0 || peer != r->leader)
		return;
	r->leader = 0;
	r->hint_until = r->now_ms + r->config.election_ms;
	if (member_may_lead(r))
		r->election_at = max_u64(r->now_ms, r->promised_ms) + HINT_FIRST + election_random(r, HINT_FIRST_SPREAD);
}

/* Our leader wants us to be the next one: it has given back what we promised it. */
void
election_handover(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	if (r->role == RAFT_FOLLOWER && m->term == r->term && m->from == r->leader && may_stand(r))
		become_candidate(r, true, fx);
}
