/*
 * engine.h - what the parts of the engine share. engine.c drives the core;
 * persist.c carries entries to the disk; they come from proposals.c or, on a
 * follower, from receive.c.
 */
#ifndef RAFTD_ENGINE_H
#define RAFTD_ENGINE_H

#include "raftd/raftd.h"

/* Where entries come from that the core wants appended. */
struct source {
	struct batch *proposed;
	uint64_t cluster;		/* not 0: it is a configuration of this cluster, or wire's sender is of it */
	const struct raft_wire *wire;
};

/* Carry out what the core wants; led: this server was the leader before the step. */
void engine_act(struct raftd *r, const struct raft_effects *fx, const struct source *src, bool led);
/* Step and act. A refusal changes nothing. */
int MUST_CHECK engine_do(struct raftd *r, const struct raft_event *ev, const struct source *src, struct raft_effects *fx);
/* An empty batch. */
struct batch *engine_batch(struct engine *e);

static inline struct str
batch_bytes(const struct batch *b)
{
	return (struct str){ (const char *)b->bytes.data, b->bytes.len };
}

/* ---- persist.c */
extern const struct store_events persist_events;
void persist_init(struct engine *e);
void persist_release(struct raftd *r);
/* State, truncation and entries to the disk, in this order; entries into memory. */
void persist_effects(struct raftd *r, const struct raft_effects *fx, const struct source *src);
/* This directory belongs to that cluster from now on, unless it belongs to one. */
void persist_cluster(struct raftd *r, uint64_t cluster);
/* Finish what is queued; then the daemon may end. */
void persist_stop(struct raftd *r);

/* ---- proposals.c */
void proposals_init(struct engine *e);
/* What this turn has gathered goes into the log. */
void proposals_now(struct raftd *r);
/* It will not be ours to propose: whoever waits is sent to the leader. */
void proposals_drop(struct raftd *r);
/* Who waits for a change of the configuration or for another leader. */
void proposals_settle(struct raftd *r, bool led);

#endif
