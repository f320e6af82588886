/*
 * internal.h - what the files of the core share among themselves.
 *
 * A step has two halves. The file that knows the event changes the state
 * (x_verb(), nothing changed when it fails); then the x_settle() functions
 * look at the state and hand out whatever has become due.
 */
#ifndef RAFTD_CORE_INTERNAL_H
#define RAFTD_CORE_INTERNAL_H

#include "raftd/core/core.h"

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* message.c: from us, in our term. It is never NULL. */
struct raft_message *message_to(struct raft *r, enum raft_message_type type, uint64_t to);
/* -EINVAL: it contradicts itself, or what is not for us. */
int MUST_CHECK message_check(const struct raft *r, const struct raft_event *ev);

/* member.c */
int MUST_CHECK member_check(const struct raft_servers *s);
/* -EINVAL: the second is not at most one vote away from the first (NULL: any is). */
int MUST_CHECK member_follows(const struct raft_servers *a, const struct raft_servers *b);
/* May this be the next configuration? -EINVAL, -RAFT_ECHANGING. */
int MUST_CHECK member_propose(struct raft *r, const struct raft_servers *s);
void member_push(struct raft *r, const struct raft_servers *s, uint64_t index, struct raft_effects *fx);
void member_cut(struct raft *r, uint64_t from, struct raft_effects *fx);
void member_reset(struct raft *r, const struct raft_servers *s, struct raft_effects *fx);
bool member_voter(const struct raft *r, uint64_t id);
bool member_may_lead(const struct raft *r);

/* election.c */
uint64_t election_random(struct raft *r, uint64_t n);
void election_plan(struct raft *r);
/* Our vote or none in a term: ours if it is new. */
void election_term(struct raft *r, uint64_t term, uint64_t vote, struct raft_effects *fx);
/* No longer a candidate or the leader, and in this term if it is newer. */
void election_follow(struct raft *r, uint64_t term, struct raft_effects *fx);
void election_timer(struct raft *r, struct raft_effects *fx);
void election_durable(struct raft *r, struct raft_effects *fx);
void election_leader_lost(struct raft *r, uint64_t peer);
void election_handover(struct raft *r, const struct raft_message *m, struct raft_effects *fx);
void election_prevote_reply(struct raft *r, const struct raft_message *m, struct raft_effects *fx);
void election_vote_reply(struct raft *r, const struct raft_message *m, struct raft_effects *fx);

/* vote.c */
void vote_asked(struct raft *r, const struct raft_message *m, struct raft_effects *fx);
void vote_asked_before(struct raft *r, const struct raft_message *m);
void vote_settle(struct raft *r);

/* progress.c */
void progress_new(struct raft *r, struct raft_progress *p);
void progress_probe(struct raft_progress *p, uint64_t next);
void progress_pipeline(struct raft_progress *p, uint64_t next);
void progress_snapshot(struct raft_progress *p);
void progress_sent(struct raft_progress *p, uint64_t last, uint64_t bytes);
void progress_matched(struct raft_progress *p, uint64_t match);
bool progress_room(const struct raft *r, const struct raft_progress *p);

/* replicate.c */
int MUST_CHECK replicate_propose(struct raft *r, const struct raft_event *ev, struct raft_effects *fx);
void replicate_start(struct raft *r, struct raft_effects *fx);
void replicate_reply(struct raft *r, const struct raft_message *m);
int MUST_CHECK replicate_sent(struct raft *r, const struct raft_event *ev);
void replicate_peer(struct raft *r, uint64_t id, bool up);
void replicate_settle(struct raft *r, struct raft_effects *fx);
uint64_t replicate_wake(const struct raft *r);

/* follow.c */
void follow_reset(struct raft *r);
/* The leader of our term, or a newer one, has said something. -EINVAL: it cannot be. */
int MUST_CHECK follow_check(const struct raft *r, const struct raft_message *m);
void follow_heard(struct raft *r, const struct raft_message *m, struct raft_effects *fx);
int MUST_CHECK follow_append(struct raft *r, const struct raft_event *ev, struct raft_effects *fx);
void follow_settle(struct raft *r);
/* A reply to a leader of the past. */
void follow_refuse(struct raft *r, const struct raft_message *m);

/* disk.c */
void disk_persisted(struct raft *r, const struct raft_event *ev, struct raft_effects *fx);
void disk_settle(struct raft *r);
bool disk_stalled(const struct raft *r, uint64_t ms);

/* snapshot.c: the leader's half, the follower's half */
int MUST_CHECK snapshot_ready(struct raft *r, const struct raft_snapshot *s);
void snapshot_failed(struct raft *r);
void snapshot_reply(struct raft *r, const struct raft_message *m);
void snapshot_send(struct raft *r, struct raft_progress *p, struct raft_effects *fx);
int MUST_CHECK snapshot_chunk(struct raft *r, const struct raft_message *m, struct raft_effects *fx);
int MUST_CHECK snapshot_stored(struct raft *r, const struct raft_event *ev, struct raft_effects *fx);
int MUST_CHECK snapshot_installed(struct raft *r, const struct raft_event *ev, struct raft_effects *fx);
int MUST_CHECK snapshot_install_failed(struct raft *r, const struct raft_event *ev);
void snapshot_settle(struct raft *r, struct raft_effects *fx);

/* transfer.c */
int MUST_CHECK transfer_begin(struct raft *r, uint64_t peer);
void transfer_settle(struct raft *r);
/* The leader leaves the cluster: somebody who can stands at once. */
void transfer_leaving(struct raft *r);

/* read.c */
void read_begin(struct raft *r, bool consistent, struct raft_effects *fx);
void read_asked(struct raft *r, const struct raft_message *m);
void read_answered(struct raft *r, const struct raft_message *m);
void read_as_follower(struct raft *r);
void read_as_leader(struct raft *r);
void read_ask_again(struct raft *r);
void read_settle(struct raft *r, struct raft_effects *fx);
uint64_t read_wake(const struct raft *r);

#endif
