/* read.c - reads that must not go back in time: read-index rounds and leases (thesis, section 6.4). */
#include <string.h>

#include "raftd/core/internal.h"

/* We hear ourselves at once: our own promise is as fresh as the round. */
static void
own_ack(struct raft *r, uint64_t now_ms)
{
	struct raft_progress *own = voters_find(&r->voters, r->config.id);

	if (own == NULL)
		return;
	own->round = r->round;
	own->acked_ms = now_ms;
}

int
read_barrier(struct raft *r, uint64_t now_ms, struct raft_effects *fx)
{
	struct raft_read_round *q;

	if (r->role != RAFT_LEADER)
		return -RAFT_ENOTLEADER;
	/*
	 * Out of places, the newest waiting round is moved to the one that
	 * starts now: a later round is as good for the reads that wait in it.
	 */
	if (r->nreads == RAFT_READ_ROUNDS_MAX)
		r->nreads--;
	q = &r->reads[r->nreads++];
	q->upto = ++r->read_seq;
	q->round = ++r->round;
	q->index = r->commit > r->term_start ? r->commit : r->term_start;
	own_ack(r, now_ms);
	fx->read = q->upto;
	return 0;
}

void
read_advance(struct raft *r, struct raft_effects *fx)
{
	uint64_t round = voters_round(&r->voters);
	size_t done = 0;

	while (done < r->nreads && r->reads[done].round <= round && r->reads[done].index <= r->applied)
		fx->reads_ready = r->reads[done++].upto;
	if (done > 0) {
		r->nreads -= done;
		memmove(r->reads, r->reads + done, r->nreads * sizeof(r->reads[0]));
	}
}

void
read_drop(struct raft *r)
{
	r->nreads = 0;
}

bool
raft_lease_valid(const struct raft *r, uint64_t now_ms)
{
	struct raft_voters vs;
	struct raft_progress *own;

	if (r->role != RAFT_LEADER || r->applied < r->term_start)
		return false;
	vs = r->voters;
	own = voters_find(&vs, r->config.id);
	if (own != NULL)
		own->acked_ms = now_ms;
	return voters_acked_ms(&vs) + r->config.lease_ms > now_ms;
}
