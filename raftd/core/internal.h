/*
 * internal.h - what the files of the core share among themselves.
 */
#ifndef RAFTD_CORE_INTERNAL_H
#define RAFTD_CORE_INTERNAL_H

#include "raftd/core/core.h"

/* election.c */
void election_plan(struct raft *r, uint64_t now_ms);
int MUST_CHECK election_timer(struct raft *r, uint64_t now_ms, struct raft_effects *fx);
int MUST_CHECK election_own_vote(struct raft *r, struct raft_effects *fx);

/* replicate.c */
int MUST_CHECK replicate_append(struct raft *r, uint64_t count, struct raft_effects *fx);
void replicate_persisted(struct raft *r, uint64_t index, uint64_t index_term);
void replicate_commit(struct raft *r);

/* read.c */
int MUST_CHECK read_barrier(struct raft *r, uint64_t now_ms, struct raft_effects *fx);
void read_advance(struct raft *r, struct raft_effects *fx);
void read_drop(struct raft *r);

#endif
