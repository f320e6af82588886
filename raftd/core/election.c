/* election.c - terms, votes and who leads (thesis, section 3.4). */
#include "raftd/core/internal.h"

/* splitmix64: enough to keep servers from standing at the same moment. */
static uint64_t
next_random(struct raft *r)
{
	uint64_t z = r->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/*
 * When to stand: one to two election timeouts from now; at once when nobody
 * else could be the leader; never for a server that has no vote.
 */
void
election_plan(struct raft *r, uint64_t now_ms)
{
	if (voters_find(&r->voters, r->config.id) == NULL)
		r->election_at = RAFT_NEVER;
	else if (r->voters.n == 1 && r->role == RAFT_FOLLOWER)
		r->election_at = now_ms;
	else
		r->election_at = now_ms + r->config.election_ms + next_random(r) % (r->config.election_ms + 1);
}

static void
become_candidate(struct raft *r, struct raft_effects *fx)
{
	r->role = RAFT_CANDIDATE;
	r->leader = 0;
	r->term++;
	r->vote = r->config.id;
	r->state_durable = false;
	for (size_t i = 0; i < r->voters.n; i++)
		r->voters.v[i].vote = RAFT_VOTE_NONE;
	read_drop(r);
	fx->hard_state = true;
	fx->role_changed = true;
}

static int
become_leader(struct raft *r, struct raft_effects *fx)
{
	int rc;

	/* The no-op entry commits what earlier terms left (thesis, 3.6.2). */
	rc = replicate_append(r, 1, fx);
	if (rc < 0)
		return rc;
	r->role = RAFT_LEADER;
	r->leader = r->config.id;
	r->term_start = r->trail.last;
	r->election_at = RAFT_NEVER;
	r->round = 0;
	for (size_t i = 0; i < r->voters.n; i++) {
		r->voters.v[i].match = 0;
		r->voters.v[i].round = 0;
		r->voters.v[i].acked_ms = 0;
	}
	replicate_persisted(r, r->persisted, trail_term(&r->trail, r->persisted));
	fx->noop = true;
	fx->role_changed = true;
	return 0;
}

int
election_timer(struct raft *r, uint64_t now_ms, struct raft_effects *fx)
{
	if (r->role == RAFT_LEADER || now_ms < r->election_at)
		return 0;
	/* A term whose vote is still on its way to the disk is not left for another. */
	if (r->role != RAFT_CANDIDATE || r->state_durable)
		become_candidate(r, fx);
	election_plan(r, now_ms);
	return 0;
}

/* The vote for ourselves counts only now that it is on disk. */
int
election_own_vote(struct raft *r, struct raft_effects *fx)
{
	struct raft_progress *own = voters_find(&r->voters, r->config.id);

	if (r->role != RAFT_CANDIDATE || own == NULL)
		return 0;
	own->vote = RAFT_VOTE_GRANTED;
	if (voters_outcome(&r->voters) != RAFT_VOTE_GRANTED)
		return 0;
	return become_leader(r, fx);
}
