/*
 * join.h - what the files of joining share: whom to ask (join_hosts.c), belonging to a
 * cluster (join.c), and beginning one (bootstrap.c).
 */
#ifndef RAFTD_JOIN_H
#define RAFTD_JOIN_H

#include "raftd/raftd.h"

enum {
	JOIN_TARGETS_MAX = 128,		/* addresses that are asked */
	JOIN_TICK_MS = 250,
	JOIN_ASK_MS = 1000,		/* who answers is asked again after this, */
	JOIN_ASK_MAX_MS = 8000,		/* who does not after up to this */
	JOIN_CALL_MS = 2000,
	JOIN_FRESH_MS = 4000,		/* what somebody told of itself is believed for */
	JOIN_LEARNED_MS = 60 * 1000,	/* an address that others told is asked for */
	JOIN_GONE_MS = 60 * 1000,	/* and one whose node has failed */
	JOIN_LOST_MS = 2500,		/* a member that heard of no leader for this long asks again */
	JOIN_REMOVED_MS = 3 * 1000,	/* one that was removed waits before it does */
	JOIN_LEAVING_MS = 60 * 1000,	/* one whose node leaves does not until it has stopped */
	JOIN_ALIVE_MS = 2 * 1000,	/* a server heard of this recently cannot be replaced */
	JOIN_DEAF = 3,			/* questions without an answer, and a server is not waited for */
	OFFER_MS = 2000,		/* all must have agreed to a proposal within */
	AGREED_MS = 10 * 1000,		/* and each keeps to it for */
};

/* One address that may be a server's. */
struct target {
	struct join *j;
	char address[80];
	uint64_t until_ms;		/* forgotten then */
	struct rpc_client *client;	/* NULL: not asked at present */
	uint32_t call;
	uint64_t next_ms, heard_ms;	/* asked again; answered last (0: never) */
	unsigned failures;
	uint64_t alive_ms;		/* gossip says that its node is alive since then; 0: it does not */
	bool refused;			/* the last answer was an error */
	bool own;			/* it is ourselves */
	char cluster[17];		/* what it belongs to; "" : nothing */
	struct raft_server_info *info;	/* it belongs to nothing, and is this (record_dup); else NULL */
};

/* A first configuration: what we propose, and what we agreed to. */
struct bootstrap {
	char cluster[17];		/* of our last proposal, */
	uint64_t ids[RAFT_SERVERS_MAX];	/* and who is in it */
	size_t n;
	bool offered;			/* answers are awaited */
	size_t agreed;
	size_t told;			/* servers present, as last said */
	uint64_t began_ms, again_ms;
	struct { struct target *t; uint32_t call; } calls[RAFT_SERVERS_MAX];
	size_t ncalls;
	char held[17];			/* the cluster id that we agreed to */
	uint64_t held_until_ms;
};

struct join {
	struct raftd *r;
	uv_timer_t timer;
	struct target *targets[JOIN_TARGETS_MAX];
	size_t ntargets;
	struct bootstrap first;
	uint64_t leaderless_ms;		/* since when no leader is known; 0: one is */
	uint64_t leaving_ms;		/* our node leaves since then, 0: it does not */
	uint64_t removed_ms;		/* when we found ourselves taken out, 0: we were not */
	bool inside, asking;
};

/* ---- join_hosts.c */
/* The servers that gossip knows are asked: those whose nodes are alive, and failed ones for a while. */
void targets_of_pool(struct join *j, uint64_t now);
/* Ask this address too, until then. NULL: not an address, too many, no memory. */
struct target *target_add(struct join *j, struct str address, uint64_t until_ms);
/* Forget those whose time is over. */
void targets_expire(struct join *j, uint64_t now);
/* Close the connections; what was heard is forgotten. */
void targets_rest(struct join *j);
void targets_release(struct join *j);

/* ---- bootstrap.c */
/* One server alone: at once. Several: see whether all are there. */
void bootstrap_alone(struct raftd *r);
void bootstrap_tick(struct join *j, uint64_t now);
/* What was offered counts no longer. */
void bootstrap_abort(struct join *j);
void bootstrap_handle(struct join *j, const struct rpc_request *req);

/* Whether this server is empty and belongs to nothing. */
bool join_empty(const struct raftd *r);

#endif
