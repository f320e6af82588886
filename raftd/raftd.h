/*
 * raftd.h - the shell around the core, the state and the store: what its
 * files offer each other. The loop's thread runs all of it.
 */
#ifndef RAFTD_RAFTD_H
#define RAFTD_RAFTD_H

#include "lib/daemon.h"
#include "raftd/core/core.h"
#include "raftd/fsm/fsm.h"
#include "raftd/store/store.h"

enum {
	WAITERS_MAX = 65536,			/* writes without an answer */
	FLIGHT_BYTES_MAX = 256 * 1024 * 1024,	/* of entries proposed and not yet applied; one entry may go beyond */
	HELD_MAX = 8192,			/* requests waiting for a leader or a read barrier */
	HELD_BYTES_MAX = 64 * 1024 * 1024,
	PARKED_MAX = 65536,			/* blocking queries */
	PARKED_BYTES_MAX = 256 * 1024 * 1024,	/* of their requests */
	WAKES_MAX = 1024,			/* of them that run again in one turn */
	IMAGE_LAG_MS = 1000,			/* applied changes reach the store within */
	TICK_MS = 500,				/* renewals reach the log within */
	REAP_MS = 30 * 1000,			/* how often tombstones are looked at */
	REAP_AFTER_MS = 15 * 60 * 1000,
	RECONCILE_MS = 60 * 1000,
	REQUEST_ARENA_MAX = 256 * 1024 * 1024,
};

/* ---- engine.c: drives the core, writes what it wants written, applies what it committed */

struct waiter {
	uint64_t index;
	struct rpc_token token;		/* conn 0: nobody asks */
	uint64_t at_ns;
	uint8_t origin[16];		/* the write's stamp */
	uint64_t seq;
	uint16_t op;
};

struct engine {
	struct raft core;
	struct fsm *fsm;
	struct store *store;		/* NULL: in memory */
	struct batch *head, **tail;	/* entries not yet both on disk and applied, in order */
	struct batch *open, *spare;	/* this turn's proposals; an empty one */
	size_t flight_bytes;
	struct waiter *waiters;		/* a ring by index */
	size_t wfirst, wn, wcap;
	struct buf result;
	struct defer propose, persisted, drained;
	uv_timer_t wake, image;
	int64_t time_base;		/* cluster time when this term of ours began, */
	uint64_t time_base_ns;		/* and the local time then */
	int64_t time_last;		/* of the newest entry */
	bool disk_full, stopping;
	uint64_t image_sent;		/* applied index of the changes sent to the store */
	uint64_t dev_last;		/* in memory: entries to call persisted */
	uint64_t servers_index;
	struct store_stats counted;
};

struct raftd;

int MUST_CHECK engine_init(struct raftd *r);
void engine_start(struct raftd *r);
/* Send what is left to the store and stop it; then daemon_stopped(). */
void engine_drain(struct raftd *r);
void engine_release(struct raftd *r);

void engine_step(struct raftd *r, const struct raft_event *ev);

/* Leader, and everything of earlier terms is applied. */
bool engine_leads(const struct raftd *r);
/* Cluster time now; leader only. */
int64_t engine_now(const struct raftd *r);
/*
 * Add an entry to this turn's proposals. w: who is answered when it is
 * applied (NULL: nobody). -RAFT_ENOTLEADER, -ELIMIT, -ENOMEM, -ENOSPC.
 */
int MUST_CHECK engine_propose(struct raftd *r, const struct fsm_entry *e, const struct waiter *w);
/* Of any kind: entry, or (NULL) raw bytes. */
int MUST_CHECK engine_propose_entry(struct raftd *r, enum entry_kind kind, const struct fsm_entry *entry, struct str raw,
    const struct waiter *w);
/* Whether a write of this stamp waits for its answer. */
bool engine_in_flight(struct raftd *r, struct str origin, uint64_t seq);
/* Start a read barrier; reads up to the number are served by hold_wake() when it holds. */
int MUST_CHECK engine_read(struct raftd *r, uint64_t *ret_number);
/* Waiter i from the oldest (i < wn); take the oldest off. */
struct waiter *engine_waiter(struct engine *e, size_t i);
void engine_waiter_pop(struct engine *e);

/* ---- apply.c: committed entries into the state, their changes to the store, their results to the askers */
void apply_init(struct raftd *r);
void apply_release(struct raftd *r);
void apply_committed(struct raftd *r, uint64_t commit);
/* Free the entries that are both applied and on disk. */
void apply_forget(struct raftd *r);
/* Send the changes that wait to the store. */
void apply_flush(struct raftd *r);

/* ---- servers.c: the Raft configuration as a record */
struct server {
	struct str id;		/* of its data directory, 16 hexadecimal digits */
	struct str node_id, node, address;
	bool voter;
};
struct servers {
	struct records v;	/* server */
};
extern const struct record rec_servers;
/* This server alone, encoded. */
int MUST_CHECK servers_encode_own(const struct raftd *r, struct buf *out);
/* Ids of the voters, at most RAFT_VOTERS_MAX. -EDECODE, -ELIMIT. */
int MUST_CHECK servers_voters(struct str encoded, uint64_t ids[RAFT_VOTERS_MAX], size_t *ret_n);

/* ---- hold.c: requests that wait for a leader or a read barrier */
struct held {
	struct held *next;
	struct rpc_token token;
	uint64_t deadline_ms, read;	/* read: number of the barrier, 0: waits for a leader */
	uint16_t op;
	size_t len;
	uint8_t body[];
};
struct hold {
	struct held *head, **tail;
	size_t n, bytes;
	uv_timer_t timer;
};
void hold_init(struct raftd *r);
void hold_release(struct raftd *r);
/* Keep the request; answers it itself when there is no place. */
void hold_add(struct raftd *r, const struct rpc_request *req, uint64_t read);
/* Barriers up to this number hold; 0: there is a leader. Serve who waited for that. */
void hold_wake(struct raftd *r, uint64_t reads_ready);
void hold_cancelled(struct raftd *r, struct rpc_token t);

/* ---- propose.c */
void propose_handle(void *ctx, const struct rpc_request *req);
/* The entry of index has been applied with this result. */
void propose_answer(struct raftd *r, const struct waiter *w, uint64_t index, struct str payload, const struct fsm_error *err);
/* A write of our own, without an asker. request: the operation's record. */
int MUST_CHECK propose_own(struct raftd *r, uint16_t op, const void *request);

/* ---- reads.c */
void reads_init(struct raftd *r);
void reads_release(struct raftd *r);
void reads_handle(void *ctx, const struct rpc_request *req);
/* A read (or a transaction that only reads) whose barrier holds. */
void reads_confirmed(struct raftd *r, const struct rpc_request *req);
/* A transaction that only reads, decoded as far as o. */
void reads_txn(struct raftd *r, const struct rpc_request *req, const struct query_options *o);
/* A parked read again. True when it was answered; else ret_watch is what to wait for now. */
bool reads_again(struct raftd *r, struct rpc_token t, struct str body, struct watch_set *ret_watch);
/* Whether the datacenter is ours and this is a server; else the request has been answered. */
bool check_served(struct raftd *r, struct rpc_token t, struct str datacenter);

/* ---- watch.c */
struct watch;
int MUST_CHECK watch_init(struct raftd *r);
void watch_release(struct raftd *r);
/* Keep the read until one of the keys is touched; answers it itself when there is no place. */
void watch_park(struct raftd *r, const struct rpc_request *req, const struct watch_set *keys);
void watch_touched(struct raftd *r, const struct watch_key *key);
void watch_cancelled(struct raftd *r, struct rpc_token t);
size_t watch_count(const struct raftd *r);

/* ---- leader.c: what only a leader does */
struct leader {
	uv_timer_t tick, reap;
	bool active;
	struct arena renewals;
	struct str *renew;		/* session ids to push out with the next tick, in the arena */
	size_t nrenew, renew_cap;
	struct { uint64_t index, at_ms; } seen[REAP_AFTER_MS / REAP_MS + 2];	/* for tombstones */
	size_t nseen;
};
void leader_init(struct raftd *r);
void leader_release(struct raftd *r);
void leader_role_changed(struct raftd *r);	/* the core's role */
void leader_ready(struct raftd *r);		/* the no-op entry is applied */
void leader_applied(struct raftd *r);		/* entries were applied: look at the deadlines again */
void leader_renew(void *ctx, const struct rpc_request *req);	/* session.renew */

/* ---- members.c: gossip's members into the catalog */
struct members {
	struct rpc_client *gossip;
	uint32_t call;
	uint64_t index;
	uv_timer_t timer;
	struct buf last;		/* the newest list, encoded */
	bool active;
};
int MUST_CHECK members_init(struct raftd *r);
void members_release(struct raftd *r);
void members_start(struct raftd *r);
void members_stop(struct raftd *r);

/* ---- status.c */
void status_handle(void *ctx, const struct rpc_request *req);
void status_info(struct daemon *d, struct info_writer *iw);

/* ---- count.c: metrics under Consul's names */
void count_init(void);
void count_proposed(uint32_t entries);
void count_applied(uint64_t op, uint64_t ns);	/* in the state machine */
void count_answered(uint64_t op, uint64_t ns);	/* since the request came */
void count_synced(const struct store_stats *before, const struct store_stats *now);
void count_role(enum raft_role role);
void count_query(size_t parked);
void count_sessions(uint64_t n);

struct raftd {
	struct daemon *d;
	const char *datacenter, *node_name, *node_id;
	char *dir;			/* of the store; NULL in memory */
	char address[80];		/* ip:port of ports.server */
	uint64_t id;			/* of the data directory */
	bool server, bootstrap, dev;
	uint64_t hold_ms;
	struct arena arena;		/* of the request being served */
	struct engine engine;
	struct hold hold;
	struct defer barrier;		/* one for all consistent reads of this turn */
	struct watch *watch;
	struct leader leader;
	struct members members;
};

#endif
