/* disk.c - what is on our disk, and whether the disk still answers. */
#include "raftd/core/internal.h"

void
disk_persisted(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	/* A report of another epoch may be about entries that have been replaced. */
	if (ev->epoch == r->epoch && ev->index > r->persisted && ev->index <= r->trail.last)
		r->persisted = ev->index;
	if (!r->state_durable && ev->term == r->term && ev->vote == r->vote) {
		r->state_durable = true;
		election_durable(r, fx);
		/* Whoever is alone has only waited for this. */
		if (r->role == RAFT_FOLLOWER && r->election_at != RAFT_NEVER && peers_voters(&r->peers) == 1)
			election_plan(r);
	}
}

/* A slow disk that gets on with each sync is not stalled: nothing at all must have become of what waits. */
void
disk_settle(struct raft *r)
{
	if (r->persisted >= r->trail.last) {
		r->stall_ms = RAFT_NEVER;
	} else if (r->stall_ms == RAFT_NEVER || r->persisted != r->stall_index) {
		r->stall_ms = r->now_ms;
		r->stall_index = r->persisted;
	}
}

bool
disk_stalled(const struct raft *r, uint64_t ms)
{
	return r->stall_ms != RAFT_NEVER && r->now_ms >= r->stall_ms + ms;
}
