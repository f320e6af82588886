/* transfer.c - handing leadership over (thesis, section 3.10). */
#include "raftd/core/internal.h"

/* The voter that needs the least; one that is not heard of would let us down. */
static struct raft_progress *
best(struct raft *r)
{
	struct raft_progress *found = NULL;

	for (size_t i = 0; i < r->peers.n; i++) {
		struct raft_progress *p = &r->peers.v[i];

		if (!p->voter || p->id == r->config.id || p->match == 0 || r->now_ms >= p->heard_ms + r->config.election_ms)
			continue;
		if (found == NULL || p->match > found->match)
			found = p;
	}
	return found;
}

int
transfer_begin(struct raft *r, uint64_t peer)
{
	struct raft_progress *p;

	if (r->role != RAFT_LEADER)
		return -RAFT_ENOTLEADER;
	if (r->transfer_to != 0)
		return peer == 0 || peer == r->transfer_to ? 0 : -RAFT_ECHANGING;
	p = peer != 0 ? peers_find(&r->peers, peer) : best(r);
	if (p == NULL || !p->voter || p->id == r->config.id)
		return -EINVAL;
	r->transfer_to = p->id;
	r->transfer_until = r->now_ms + r->config.election_ms;
	r->transfer_told = false;
	return 0;
}

/* From here on its promises to us are given back: no lease for the rest of the term, whatever becomes of it. */
static void
tell(struct raft *r, uint64_t to)
{
	r->lease_waived = true;
	message_to(r, RAFT_MSG_HANDOVER, to);
}

void
transfer_settle(struct raft *r)
{
	struct raft_progress *p = peers_find(&r->peers, r->transfer_to);

	if (r->transfer_to == 0)
		return;
	if (p == NULL || !p->voter || r->now_ms >= r->transfer_until) {
		r->transfer_to = 0;
	} else if (p->match == r->trail.last && !r->transfer_told) {
		r->transfer_told = true;
		tell(r, p->id);
	}
}

void
transfer_leaving(struct raft *r)
{
	struct raft_progress *p = best(r);

	if (p != NULL)
		tell(r, p->id);
}
