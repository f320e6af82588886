/* replicate.c - entries: appended by the leader, persisted, committed (thesis, sections 3.5 and 3.6). */
#include "raftd/core/internal.h"

int
replicate_append(struct raft *r, uint64_t count, struct raft_effects *fx)
{
	uint64_t first = r->trail.last + 1;
	int rc;

	/* Only the first entry can need memory: the rest extend its run. */
	rc = trail_append(&r->trail, r->term);
	if (rc < 0)
		return rc;
	r->trail.last += count - 1;
	fx->append_first = first;
	fx->append_n = count;
	return 0;
}

/* Entries up to index are on our disk, if they are still the entries that we have. */
void
replicate_persisted(struct raft *r, uint64_t index, uint64_t index_term)
{
	struct raft_progress *own = voters_find(&r->voters, r->config.id);

	if (index == 0 || trail_term(&r->trail, index) != index_term)
		return;
	if (index > r->persisted)
		r->persisted = index;
	if (own != NULL && r->role == RAFT_LEADER)
		own->match = r->persisted;
}

/* Commit what a majority has, but count only for entries of our own term (thesis, 3.6.2). */
void
replicate_commit(struct raft *r)
{
	uint64_t index;

	if (r->role != RAFT_LEADER)
		return;
	index = voters_match(&r->voters);
	if (index > r->commit && trail_term(&r->trail, index) == r->term)
		r->commit = index;
}
