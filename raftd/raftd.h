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
	HELD_MAX = 65536,			/* requests waiting for a leader or a read barrier */
	APPEND_BYTES = 256 * 1024,		/* of entries in one append: more only for a single larger entry */
	INFLIGHT_BYTES = 4 * 1024 * 1024,	/* of entries on their way to one server */
	ENTRIES_KEEP = 16 * 1024 * 1024,	/* bytes of applied entries kept in memory for followers */
	CHUNK_BYTES = 1024 * 1024,		/* of a snapshot in one message */
	HELD_BYTES_MAX = 64 * 1024 * 1024,
	LAG_ENTRIES = 8192,			/* behind the leader: from there on it answers our reads */
	PARKED_MAX = 65536,			/* blocking queries */
	PARKED_BYTES_MAX = 256 * 1024 * 1024,	/* of their requests */
	WAKES_MAX = 1024,			/* of them that run again in one turn */
	IMAGE_LAG_MS = 1000,			/* applied changes reach the store within */
	RENEW_MS = 50,				/* renewals are gathered for, and so reach the log within */
	TIME_KEEP_MS = 5000,			/* while sessions have deadlines cluster time reaches the disk within */
	REAP_MS = 30 * 1000,			/* how often tombstones are looked at */
	REAP_AFTER_MS = 15 * 60 * 1000,
	RECONCILE_MS = 60 * 1000,
	REQUEST_ARENA_MAX = 256 * 1024 * 1024,
};

/* ---- engine.c: drives the core, writes what it wants written, applies what it committed */

/* A write of this server's that waits for its entry to be applied. */
struct waiter {
	uint64_t index, term;
	struct rpc_token token;		/* conn 0: nobody asks any more */
	uint64_t at_ns;
	uint8_t origin[16];		/* the write's stamp */
	uint64_t seq;			/* 0: it has none */
	uint16_t op;
	bool forwarded;			/* by another server, which sends again by itself */
	bool sent;			/* to another leader before, where it may have been carried out */
	bool replay;			/* its entry does nothing but ask for the answer of an earlier copy */
};

/* ---- entries.c: the newest part of the log in memory, as batches in order */
struct entries {
	struct batch **v;		/* a ring, ascending by first */
	size_t first, n, cap;
	size_t bytes;
};
void entries_release(struct entries *e);
/* b->first is the last index held + 1 (any when empty). Takes b. -ENOMEM: it does not. */
int MUST_CHECK entries_add(struct entries *e, struct batch *b);
/* The batch that holds index, and its place (for entries_at()); NULL: not in memory. */
struct batch *entries_find(const struct entries *e, uint64_t index, size_t *ret_place);
struct batch *entries_at(const struct entries *e, size_t place);	/* NULL past the end */
/* The data of this entry, of kind ENTRY_STATE; absent when it is not in memory or of another kind or term. */
struct str entries_data(const struct entries *e, uint64_t index, uint64_t term);
/* Free the oldest while more than keep bytes are held and they end at or before upto. One of them may be given back for reuse in *ret_spare. */
void entries_forget(struct entries *e, uint64_t upto, size_t keep, struct batch **ret_spare);
/* From index on they are gone; the batch that reaches over it is shortened. */
void entries_truncate(struct entries *e, uint64_t index);

/* One follower's appends: what the log in memory no longer has is read from disk. */
struct feed {
	uint64_t id;
	uint64_t reading;		/* number of the read that is under way, 0: none */
	uint64_t held_until;		/* not 0: the connection is backed up */
	struct raft_message m;		/* the append that waits for either */
	struct batch *list;		/* read, by next */
};

struct engine {
	struct raft core;
	struct fsm *fsm;
	struct store *store;		/* NULL: in memory */
	struct entries entries;
	struct batch *open, *spare;	/* this turn's proposals; an empty one */
	uint64_t open_first;		/* the place of its first entry, if nothing comes between */
	struct configs *configs;	/* the configurations of the core with their addresses: servers.c */
	size_t flight_bytes;		/* proposed or accepted, and not yet applied */
	struct waiter *waiters;		/* a ring by index */
	size_t wfirst, wn, wcap;
	struct buf result;
	struct buf scratch;		/* a request, put together again */
	struct defer propose, persisted, drained;
	uv_timer_t wake, image, expire, drain, held;
	uint64_t wake_ms;		/* when the core wants its timer; `wake` may go off before */
	struct raft_message *box;	/* messages of the core that have not been sent yet, */
	size_t nbox, box_cap;		/* since a step may come from within a step */
	bool sending;
	struct feed feeds[RAFT_SERVERS_MAX];
	size_t nfeeds;
	uint64_t reads;			/* of the log's, numbered */
	struct net_piece *pieces;	/* of the append being put together */
	struct buf part;		/* its first, when it begins within a batch */
	struct raft_run *runs;		/* of the append being checked */
	size_t runs_cap;
	struct raft_servers *found;	/* the configurations in it, or in the log at a start */
	size_t nfound, found_cap;
	struct { uint64_t index, term; void (*done)(void *arg, int rc); void *arg; } change;
	struct { uint64_t until_ms; void (*done)(void *arg, int rc); void *arg; } transfer;
	int64_t time_base;		/* cluster time when this term of ours began, */
	uint64_t time_base_ns;		/* and the local time then */
	int64_t time_last;		/* of the newest entry */
	int64_t time_heard;		/* the leader's, as its last append told, */
	uint64_t commit_heard;		/* and its commit index */
	uint64_t term_led;		/* the newest term in which this server was the leader, */
	uint64_t led_ms;		/* and until when; 0: it never was */
	bool disk_full, stopping;
	bool installing;		/* a state from another server: nothing is applied meanwhile */
	bool stage_lost;		/* the image of a restore is not staged any more */
	bool barrier_again[2];		/* [consistent]: too many were under way */
	uint64_t image_sent;		/* applied index of the changes sent to the store */
	uint64_t drain_ms;		/* SIGTERM: no answers are waited for after */
	struct store_stats counted;
};

struct raftd;

int MUST_CHECK engine_init(struct raftd *r);
void engine_start(struct raftd *r);
/* Hand the leadership over, send what is left to the store and stop it; then daemon_stopped(). */
void engine_drain(struct raftd *r);
void engine_release(struct raftd *r);

/* The core must take it: a refusal is fatal. */
void engine_step(struct raftd *r, const struct raft_event *ev);
/* It may be refused (-RAFT_*, -EINVAL ...): nothing has changed then. */
int MUST_CHECK engine_try(struct raftd *r, const struct raft_event *ev);

/*
 * A message of another server, of this cluster: w as decoded, its entries and data pointing into
 * the input. Checks it whole (checksums, ranges, configurations) before the core sees
 * it. -EDECODE with a sentence in ret_err: the connection is to be closed.
 */
int MUST_CHECK engine_message(struct raftd *r, const struct raft_wire *w, uint64_t cluster, char ret_err[256]);
/* net.c: the connection to this server was made or lost; a connection from it was reset. */
void engine_peer(struct raftd *r, uint64_t id, bool up);
void engine_peer_lost(struct raftd *r, uint64_t id);

/* Leader, and everything of earlier terms is applied. */
bool engine_leads(const struct raftd *r);
/* Cluster time now; leader only. */
int64_t engine_now(const struct raftd *r);
/*
 * Add an entry to this turn's proposals. w: who is answered when it is
 * applied (NULL: nobody). -RAFT_ENOTLEADER, -ELIMIT, -ENOMEM, -ENOSPC.
 */
int MUST_CHECK engine_propose(struct raftd *r, const struct fsm_entry *e, const struct waiter *w);
/*
 * Propose a configuration: this turn's proposals go first. -RAFT_ENOTLEADER,
 * -RAFT_ECHANGING, -EINVAL (more than one vote changes), -ENOMEM.
 * done (may be NULL) is called once with 0 when it is committed or a negative code when leadership ended before.
 */
int MUST_CHECK engine_propose_servers(struct raftd *r, const struct raft_config_entry *c, void (*done)(void *arg, int rc), void *arg);
/* The first configuration of a new cluster, on an empty server (join.c decides). */
int MUST_CHECK engine_bootstrap(struct raftd *r, const struct raft_config_entry *c);
/* Hand over to this server (0: the best). -RAFT_ENOTLEADER, -EINVAL. done: 0 when another leads, -ETIMEDOUT. */
int MUST_CHECK engine_transfer(struct raftd *r, uint64_t id, void (*done)(void *arg, int rc), void *arg);
/* This leader's disk is full: hand over. False: there is nobody, or he does not want to. */
bool engine_yield(struct raftd *r);
/* Whether a write of this stamp waits for its answer. */
bool engine_in_flight(struct raftd *r, struct str origin, uint64_t seq);
/* Start a read barrier, at the leader or a follower; reads up to the number are served by hold_wake() when it holds. */
int MUST_CHECK engine_read(struct raftd *r, bool consistent, uint64_t *ret_number);
/* Milliseconds since this server heard of the leader (0 at the leader), and whether one is known. */
uint64_t engine_last_contact(const struct raftd *r);
bool engine_known_leader(const struct raftd *r);
/* A follower that will not have applied for a while what the leader has: a read is better sent there. */
bool engine_lags(const struct raftd *r);
/* Tell the store what of the log other servers still want. */
void engine_keep(struct raftd *r);
/* What the core knows of configurations has changed: tell those who follow them. */
void engine_config_changed(struct raftd *r);
/* What stood in the log is replaced by a state (install.c): the new machine stands at this snapshot. */
void engine_replaced(struct raftd *r, struct fsm *fsm, const struct raft_snapshot *s);

/* ---- start.c: what recovery finds, and the core that begins with it */
int MUST_CHECK start_engine(struct raftd *r, const struct store_events *events);
struct fsm_config start_fsm_config(struct raftd *r);	/* of this server's states */

/* ---- waiters.c: writes that wait for their entries */
int MUST_CHECK waiters_add(struct engine *e, const struct waiter *w);
/* An entry was applied: answer who waits for it. */
void waiters_applied(struct raftd *r, uint64_t index, uint64_t term, struct str options, struct str payload, const struct fsm_error *err);
/* Entries from index on are about to leave the log: those who wait for them are sent to the leader that there is now. */
void waiters_cut(struct raftd *r, uint64_t index);
/* The proposals in b, from index on, never reached the log: likewise. */
void waiters_unproposed(struct raftd *r, const struct batch *b, uint64_t index);
/* All are told why they will not hear more: the outcome is unknown. */
void waiters_fail(struct raftd *r, const char *why);
/* Those that wait without being decided since before this: the outcome is unknown. Whether any is left. */
bool waiters_expire(struct raftd *r, uint64_t before_ns);

/* ---- send.c: the core's messages on their way out */
void send_messages(struct raftd *r, const struct raft_effects *fx);
/* A chunk that install_send() was asked for. */
void send_chunk(struct raftd *r, const struct raft_message *m, struct str chunk);
/* store_events.read */
void send_read(void *ctx, uint64_t number, struct batch *list);
void send_release(struct raftd *r);

/* ---- receive.c */
/* One more configuration into e->found. -EDECODE with a sentence. */
int MUST_CHECK receive_config(struct raftd *r, uint64_t index, struct str bytes, char ret_err[256]);
/* Entries first..first + n - 1 of an append that was checked, each batch given to add (which takes it). */
void receive_entries(struct raftd *r, const struct raft_wire *w, uint64_t first, uint64_t n, void (*add)(struct raftd *r, struct batch *b));

/* ---- install.c: snapshots to and from other servers (files of snapfile.h), without blocking the loop */
struct install;
int MUST_CHECK install_init(struct raftd *r);
void install_release(struct raftd *r);
void install_make(struct raftd *r);		/* effects.snapshot_wanted: a child writes it; then RAFT_SNAPSHOT_READY or _FAILED */
void install_unneeded(struct raftd *r);
uint64_t install_keep(const struct raftd *r);	/* the log behind this index is needed with it; UINT64_MAX: none */
void install_send(struct raftd *r, const struct raft_message *m);	/* read the chunk, then net_send() */
void install_chunk(struct raftd *r, const struct raft_message *m, struct str data);	/* store it, then RAFT_CHUNK */
void install_staged(void *ctx, uint64_t applied);	/* store_events.staged */
void install_load(struct raftd *r, const struct raft_snapshot *s);	/* effects.install: in slices, then RAFT_INSTALLED or _FAILED */

/* ---- child.c: long work in a child process with a copy of the state */
enum { CHILD_ERROR_MAX = 1024 };
/* In the child: no loop, no store, no locks. 0 or negative with a sentence. It has own `in` and `out` (inherited descriptors), which it may use. */
typedef int child_work(void *arg, char err[CHILD_ERROR_MAX]);
struct child;
/* done is called once on the loop with what work returned (-ECANCELED: killed or crashed, and why). -errno. */
int MUST_CHECK child_start(struct raftd *r, child_work *work, void *arg, void (*done)(void *done_arg, int rc, const char *err),
    void *done_arg, struct child **ret);
void child_kill(struct child *c);	/* done is not called any more */
/* An unnamed file: in the store's directory, or in memory for -dev. A descriptor or -errno. */
int child_tmpfile(struct raftd *r);

/* ---- net.c: connections to the other servers of the configuration, and from them */
struct net;
enum { NET_CONNS_MAX = RPC_TCP_CONNS_MAX, NET_HELLO_MS = 5000, NET_CONNECT_MS = 2000, NET_READY_BYTES = 1024 * 1024 };
/* rpc_request.peer of a connection over TCP. */
struct net_peer {
	struct net_peer *next, **link;
	struct net *net;
	uint64_t id;			/* 0: a client node */
	uint64_t cluster;		/* 0: of none when it greeted */
	bool raft;			/* carries messages of the core, else requests */
	char from[80], node[64];
};
int MUST_CHECK net_init(struct raftd *r);	/* a message logged on failure */
int MUST_CHECK net_listen(struct raftd *r);	/* on ports.server, when everything else is ready; a message logged on failure */
void net_reload(struct raftd *r, struct json_object *next);
void net_release(struct raftd *r);
/* These are the servers now: connect to new ones and new addresses, let go of others. Copied. */
void net_servers(struct raftd *r, const struct raft_config_entry *c);
/* Bytes of a message that are not in struct raft_wire: entries by batch, or a chunk. */
struct net_piece {
	uint64_t first;		/* entries: index of the first one */
	struct str bytes;	/* a batch as in raftd/store/batch.h, or the chunk */
};
/* False: not connected or backed up; nothing was sent. w->entries and w->data are taken from pieces. */
bool net_send(struct raftd *r, const struct raft_wire *w, const struct net_piece *pieces, size_t n);
/* There is a connection to this server; it has room for one more append with entries. */
bool net_up(struct raftd *r, uint64_t id);
bool net_ready(struct raftd *r, uint64_t id);
/* The client for requests to that server; NULL: not known. */
struct rpc_client *net_forward(struct raftd *r, uint64_t id);
/* A connection of our own to any "ip:port", for join.c and client nodes; the same greeting. NULL: not such an address, or no memory. */
struct rpc_client *net_client(struct raftd *r, const char *address, const char *purpose);
void net_handle(void *ctx, const struct rpc_request *req);	/* peer.raft */
void net_info(struct raftd *r, struct info_writer *iw);

/* ---- forward.c: requests that another raftd must carry out */
int MUST_CHECK forward_init(struct raftd *r);
void forward_release(struct raftd *r);
/*
 * Not ours to do: send it to the leader and answer with its answer, holding
 * it up to rpc_hold_timeout while there is none. A request that came from another server is not
 * sent on: it is answered 500 "Not the leader", which that server's forward.c understands.
 */
void forward_leader(struct raftd *r, const struct rpc_request *req);
/* On a client node: everything goes to some server. */
void forward_any(struct raftd *r, const struct rpc_request *req);
/* On a client node: the server that is asked now, if it is connected; else NULL. acl_server_left() tells when it is no more. */
struct rpc_client *forward_client(struct raftd *r);
void forward_cancelled(struct raftd *r, struct rpc_token t);
/* On a client node: other servers are known, or something is known of them. */
void forward_pool_changed(struct raftd *r);
/* This connection of net_forward() is about to be closed: what is on its way over it comes back. */
void forward_left(struct raftd *r, const struct rpc_client *client);
/* Whether something that its server can answer at once is on its way. */
bool forward_waits(const struct raftd *r);
/* Another server leads: what may be repeated and was sent elsewhere is sent to it. */
void forward_moved(struct raftd *r);
/* Whether a request that waits for a leader could be sent to one now. */
bool forward_possible(struct raftd *r);

/* ---- apply.c: committed entries into the state, their changes to the store, their results to the askers */
void apply_init(struct raftd *r);
void apply_release(struct raftd *r);
void apply_committed(struct raftd *r, uint64_t commit);
/* Free the entries that are both applied and on disk. */
void apply_forget(struct raftd *r);
/* Send the changes that wait to the store. */
void apply_flush(struct raftd *r);

/* ---- servers.c: Raft configurations with names and addresses, beside the core's */
struct configs;
struct configs *configs_new(void);
void configs_free(struct configs *c);
/* The configuration of this index (bytes of an ENTRY_SERVERS) follows the last one. -EDECODE with a sentence: not a configuration (ids twice, too many, no voter ...). */
int MUST_CHECK configs_add(struct configs *c, uint64_t index, struct str bytes, char ret_err[256]);
void configs_truncate(struct configs *c, uint64_t from);
void configs_compact(struct configs *c, uint64_t committed);	/* keeps the newest at or before it */
/* The one in force, NULL: none; its index. Valid until the next change. */
const struct raft_config_entry *configs_current(const struct configs *c, uint64_t *ret_index);
/* As the core wants it. -EDECODE with a sentence. */
int MUST_CHECK servers_core(uint64_t index, struct str bytes, struct raft_servers *ret, char ret_err[256]);
int MUST_CHECK servers_encode(const struct raft_config_entry *c, struct buf *out);
const struct raft_server_info *servers_find(const struct raft_config_entry *c, uint64_t id);
const struct raft_server_info *servers_find_node(const struct raft_config_entry *c, struct str node_id);
const struct raft_server_info *servers_find_address(const struct raft_config_entry *c, struct str address);
/* 16 hexadecimal digits, not all 0. -EDECODE. */
int MUST_CHECK servers_parse_id(struct str s, uint64_t *ret);
void servers_format_id(uint64_t id, char out[17]);
/* "1.2.3.4:8300", "[::1]:8300". -EDECODE. */
enum { SERVER_IP_MAX = 64 };
int MUST_CHECK servers_parse_address(struct str s, char ip[SERVER_IP_MAX], uint16_t *ret_port);
/* What one server tells of itself; a configuration about to be proposed. -EDECODE with a sentence. */
int MUST_CHECK servers_check_one(const struct raft_server_info *s, char ret_err[256]);
int MUST_CHECK servers_check(const struct raft_config_entry *c, char ret_err[256]);
/* Recovery: these bytes stand in the place of every configuration up to this index, and of the old cluster's. -EDECODE, -ENOMEM, -ELIMIT. */
int MUST_CHECK servers_replace(uint64_t upto, struct str old_cluster, struct str bytes);
bool servers_replaced(uint64_t index);	/* whether the configuration of this index is one of those */
/*
 * The configuration c without server `drop` (one of its own, or NULL), and with `put` (or NULL) in the place of its entry of the same
 * id, or behind the last. Points into c and put. -ELIMIT.
 */
struct servers_changed {
	struct raft_config_entry config;
	struct raft_server_info v[RAFT_SERVERS_MAX];
};
int MUST_CHECK servers_change(const struct raft_config_entry *c, const struct raft_server_info *drop, const struct raft_server_info *put,
    struct servers_changed *ret);
/* This server, in storage that lasts. */
struct raft_server_info servers_own(struct raftd *r);

/* ---- join.c: finding the other servers, the first configuration, and belonging to it */
int MUST_CHECK join_init(struct raftd *r);
void join_release(struct raftd *r);
void join_start(struct raftd *r);
void join_handle(void *ctx, const struct rpc_request *req);	/* peer.join, peer.bootstrap */
void join_role_changed(struct raftd *r);
void join_config_changed(struct raftd *r);
void join_pool_changed(struct raftd *r);
void join_leaving(struct raftd *r);		/* our node asked to be taken out: do not ask to be let in again at once */

/* ---- pool.c: the members of the LAN pool, and which of them are servers that we talk to */
enum {
	POOL_SERVERS_MAX = 2 * RAFT_SERVERS_MAX,
	POOL_SETTLED_MS = 30 * 1000,	/* a gossipd that has been there for this long has joined the others, if it can */
};
struct pool;
/* One list of members; others keep it by a reference. */
struct pool_list {
	unsigned refs;
	uint64_t life;			/* of which gossipd: between lists of one life nothing is missed */
	uint64_t since_ms;		/* when that life was first heard of */
	struct arena arena;
	struct member *v;		/* in the order of pool_name_cmp() */
	size_t n;
	char bytes[];
};
/* A server of our datacenter that is one of ours, whatever its status. */
struct pool_server {
	char address[80];		/* ip:port for other servers and client nodes */
	char node[160], node_id[64];
	int64_t status;			/* enum member_status */
	uint64_t since_ms;		/* in this status, as far as we saw */
	uint64_t until_ms;		/* not UINT64_MAX: only a gossipd of an earlier life knew it, and it is believed until then */
	bool changed;			/* its status has, since the list before */
};
int MUST_CHECK pool_init(struct raftd *r);
void pool_start(struct raftd *r);
void pool_release(struct raftd *r);
/* The newest list; NULL: gossipd has not told one yet. */
struct pool_list *pool_members(const struct raftd *r);
struct pool_list *pool_list_ref(struct pool_list *l);
void pool_list_free(struct pool_list *l);	/* a reference to it */
/* A member of this name, whatever the case (the first of several); NULL. */
const struct member *pool_list_find(const struct pool_list *l, struct str name);
int pool_name_cmp(struct str a, struct str b);
/* The pool that gossipd tells of is whole, as far as time can tell: who is missing is not in it. */
bool pool_settled(const struct raftd *r);
/* Valid until the next list. */
const struct pool_server *pool_servers(const struct raftd *r, size_t *ret_n);
/* Worth being asked; how many are. */
bool pool_server_usable(const struct pool_server *s);
size_t pool_usable(const struct raftd *r);
/* What gossip says of a server of the configuration; MEMBER_NONE: nothing. */
enum member_status pool_status(const struct raftd *r, const struct raft_server_info *s);
/* Of one member: a tag ("" when absent), the number in its tag port (0: none), whether it is a server by Consul's rules, and one that speaks our protocol. */
struct str pool_tag(const struct member *m, const char *name);
int64_t pool_port(const struct member *m);
bool pool_is_server(const struct member *m);
bool pool_is_ours(const struct member *m);
/* For whoever else has to ask our gossipd. */
struct rpc_client *pool_gossip(struct raftd *r);
/* We lead now: an event for everybody, as Consul's. */
void pool_new_leader(struct raftd *r);

/* ---- wan.c */
void wan_handle(void *ctx, const struct rpc_request *req);	/* coordinate.datacenters */
void wan_release(void);				/* before pool_release() */

/* ---- autopilot.c */
int MUST_CHECK autopilot_init(struct raftd *r);
void autopilot_release(struct raftd *r);
void autopilot_lead(struct raftd *r, bool leads);
void autopilot_config_changed(struct raftd *r);
void autopilot_pool_changed(struct raftd *r);
/* The leader's word on the servers; others have none. */
void autopilot_measure(struct raftd *r, struct metric_slot *healthy, struct metric_slot *tolerance);
void autopilot_handle(void *ctx, const struct rpc_request *req);	/* autopilot.health, autopilot.state */
/* What the leader thinks of a server, for members.c. */
enum server_health { SERVER_UNKNOWN, SERVER_ALIVE, SERVER_FAILED };
enum server_health autopilot_server(struct raftd *r, uint64_t id);
/* Leader: whether the voters that would be left without this server hold a quorum. */
bool autopilot_may_remove(struct raftd *r, uint64_t id);

/* ---- operator.c */
void operator_handle(void *ctx, const struct rpc_request *req);	/* raft.* */

/* ---- coordinates.c: coordinate.update */
struct coordinates;
int MUST_CHECK coordinates_init(struct raftd *r);
void coordinates_release(struct raftd *r);
void coordinates_handle(void *ctx, const struct rpc_request *req);

/* ---- snapshot.c */
int MUST_CHECK snapshot_init(struct raftd *r);
void snapshot_release(struct raftd *r);
void snapshot_handle(void *ctx, const struct rpc_request *req);	/* snapshot.* */
/* A save whose read barrier holds (hold.c). */
void snapshot_confirmed(struct raftd *r, const struct rpc_request *req);
/* Its asker has gone: a save that is still being made ends. */
void snapshot_cancelled(struct raftd *r, struct rpc_token t);
void snapshot_role_changed(struct raftd *r);
/* A restore is going through the log: other writes are held. */
bool snapshot_restoring(const struct raftd *r);
void snapshot_applied(struct raftd *r);

/* ---- hold.c: requests that wait for a leader or a read barrier */
enum { TOKENS_HASH = 4096, HOLD_TICK_MS = 100 };
/* Where a request stands in a table of TOKENS_HASH chains. */
static inline size_t
token_hash(struct rpc_token t)
{
	return (size_t)((t.conn * 0x9e3779b97f4a7c15u ^ t.id * 0x9e3779b1u) >> 7) % TOKENS_HASH;
}

struct held {
	struct held *next, **link;	/* in its queue; link: what points at it */
	struct held *chain;		/* in the table by token */
	struct rpc_token token;
	void *peer;			/* as in rpc_request */
	uint64_t deadline_ms, read;	/* read: number of the barrier, 0: waits for a leader */
	bool consistent;		/* the barrier is of that kind */
	bool sent;			/* it was forwarded before, and may have been carried out */
	size_t len;
	uint8_t body[];
};
struct held_queue {
	struct held *head, **tail;	/* in the order of coming, which for reads is that of their numbers */
	size_t n;
};
struct hold {
	struct held_queue leader, reads[2];	/* [consistent] */
	struct held *by_token[TOKENS_HASH];
	size_t n, bytes;
	uint64_t serving_until;		/* deadline of the held request that is being served: it keeps it. 0: none is */
	bool serving_sent;
	bool serving_confirmed;		/* since it came, our state was that of the whole cluster: what it says of the request is the truth */
	uv_timer_t timer;
};
void hold_init(struct raftd *r);
void hold_release(struct raftd *r);
/* Keep the request for up to hold_ms since it first came; answers it itself when there is no place or no time left. */
void hold_add(struct raftd *r, const struct rpc_request *req, uint64_t read, bool consistent);
/* The same for one that waits for a leader and first came hold_ms before until_ms. */
void hold_again(struct raftd *r, const struct rpc_request *req, uint64_t until_ms, bool sent);
/* When the request that is being served must have been answered, or may at least no longer be held. */
uint64_t hold_deadline(const struct raftd *r);
/* Barriers up to this number hold. Serve who waited for that. */
void hold_wake_reads(struct raftd *r, uint64_t ready, bool consistent);
/* There is a leader (ourselves or another): serve, or forward, who waited for one, and who was forwarded to another one. */
void hold_wake_leader(struct raftd *r);
void hold_cancelled(struct raftd *r, struct rpc_token t);

/* ---- main.c */
/* Hand the request to the handler of its operation; on a client node, on to a server. */
void raftd_serve(struct raftd *r, const struct rpc_request *req);

/* ---- propose.c */
void propose_handle(void *ctx, const struct rpc_request *req);
/* The entry of index has been applied with this result. */
void propose_answer(struct raftd *r, const struct waiter *w, uint64_t index, struct str options, struct str payload,
    const struct fsm_error *err);
/* A write of our own, without an asker. request: the operation's record. */
int MUST_CHECK propose_own(struct raftd *r, uint16_t op, const void *request);

/* ---- reads.c */
void reads_init(struct raftd *r);
void reads_release(struct raftd *r);
void reads_handle(void *ctx, const struct rpc_request *req);
/* A read whose barrier holds. */
void reads_confirmed(struct raftd *r, const struct rpc_request *req);
/*
 * A leader that does not know yet that another one leads must not refuse a write for what its state lacks. Whether a
 * refusal holds: else the request waits for a read barrier and is served again.
 */
bool reads_refusal_holds(struct raftd *r, const struct rpc_request *req);
/* A transaction that only reads, decoded as far as o. */
void reads_txn(struct raftd *r, const struct rpc_request *req, const struct query_options *o);
/* What a waiting read would have been answered when it was looked at last. */
struct read_seen {
	bool known;
	uint64_t digest;	/* of the payload */
	uint64_t index;		/* of the state then */
};
/*
 * A parked read again; local: it came from this node; anyway: answer it also when its index has not grown, or its answer has
 * not changed. True when it was answered; else ret_watch is what to wait for now, and seen is up to date.
 */
bool reads_again(struct raftd *r, struct rpc_token t, struct str body, bool local, bool anyway, struct read_seen *seen,
    struct watch_set *ret_watch);
/* Whether the datacenter is ours and this is a server; else the request has been answered. */
bool check_served(struct raftd *r, struct rpc_token t, struct str datacenter);

/* ---- acl_leader.c: what is always there, and what has expired */
void acl_leader_init(struct raftd *r);
void acl_leader_release(void);
void acl_lead(struct raftd *r, bool lead);

/* ---- acl_bootstrap.c: data_dir/acl-bootstrap-reset */
/* The index in it, 0: none. */
uint64_t acl_bootstrap_reset(const struct raftd *r);
/* It has served. */
void acl_bootstrap_used(const struct raftd *r);

/* ---- acl.c: who asks, by the state of this server; acl_parked.c, acl_authorize.c, acl_cache.c */
struct acl;
int MUST_CHECK acl_init(struct raftd *r);
void acl_release(struct raftd *r);
int MUST_CHECK acl_reload(struct raftd *r, struct json_object *next);
bool acl_on(const struct raftd *r);
/* Who asks with this token; ret->authz NULL: ACLs are off. Valid until the next call. -ENOENT: there is no such token, -ENOMEM. */
int MUST_CHECK acl_asker(struct raftd *r, struct str token, bool local, struct asker *ret);
void acl_refuse(struct raftd *r, struct rpc_token t, int rc);	/* the answer to that */
/* The same; false: the request has been answered. */
bool MUST_CHECK acl_who(struct raftd *r, const struct rpc_request *req, struct str token, struct asker *ret);
/* Whether the token allows this; else the request has been answered (403). name: STR("") for acl, keyring, operator ... */
bool MUST_CHECK acl_require(struct raftd *r, const struct rpc_request *req, struct str token, enum acl_resource resource, struct str name,
    enum acl_access want);
/* acl.authorize. acl.resolve: the payload. */
void acl_authorize(void *ctx, const struct rpc_request *req);
int MUST_CHECK acl_resolve(struct raftd *r, struct str token, struct mp_w *out, uint64_t *ret_index, struct fsm_error *ret_err);
/* A client node asks another server from now on: what this one was asked comes back. */
void acl_server_left(struct raftd *r, const struct rpc_client *client);

/* The rights of a parked read: part of it. */
struct acl_entry;
struct acl_hold {
	struct acl_hold *next, **prev;
	struct acl_entry *entry;	/* NULL: ACLs are off */
};
/* body: of the request. -ENOENT: the token has gone, -ENOMEM, -EDECODE. */
int MUST_CHECK acl_hold(struct raftd *r, struct acl_hold *h, struct str body, bool local);
void acl_unhold(struct raftd *r, struct acl_hold *h);
void acl_ask_again(struct raftd *r, struct acl_hold *first);	/* those from here on have other rights */
void acl_touched(struct raftd *r);		/* the ACL state has changed */
void acl_state_replaced(struct raftd *r);	/* and so has everything else */

/* ---- watch.c */
struct watch;
/* A parked read whose rights are others than they were: it is answered. And its request. */
void watch_ask_again(struct raftd *r, struct acl_hold *h);
struct str watch_body(const struct acl_hold *h);
int MUST_CHECK watch_init(struct raftd *r);
void watch_release(struct raftd *r);
/* Keep the read until one of the keys is touched; answers it itself when there is no place. */
void watch_park(struct raftd *r, const struct rpc_request *req, const struct watch_set *keys, const struct read_seen *seen);
/* A payload's digest: equal ones have equal payloads. */
uint64_t watch_digest(const struct raftd *r, const void *payload, size_t len);
void watch_touched(struct raftd *r, const struct watch_key *key);
void watch_cancelled(struct raftd *r, struct rpc_token t);
size_t watch_count(const struct raftd *r);

/* ---- leader.c: what only a leader does */
struct renewal {
	struct str id;			/* of the session, in the arena of its batch */
	struct str secret;		/* the ACL token, likewise */
	struct rpc_token token;
	bool forwarded;			/* by another server, whose connection may have gone */
};
/* Renewals that go into one entry, and are answered when it is applied. */
struct renewals {
	struct arena arena;
	struct renewal *v;
	size_t n, cap;
	int64_t time;			/* cluster time of the entry, 0: not proposed yet */
};
struct leader {
	uv_timer_t tick, reap;
	bool active;
	struct renewals renewals[2];	/* [0] is being gathered, [1] is on its way */
	struct { uint64_t index, at_ms; } seen[REAP_AFTER_MS / REAP_MS + 2];	/* for tombstones */
	size_t nseen;
};
void leader_init(struct raftd *r);
void leader_release(struct raftd *r);
void leader_role_changed(struct raftd *r);	/* the core's role */
void leader_ready(struct raftd *r);		/* the no-op entry is applied */
void leader_applied(struct raftd *r);		/* entries were applied: look at the deadlines again */
void leader_restored(struct raftd *r);		/* another state has taken the place of the one before */
void leader_renew(void *ctx, const struct rpc_request *req);	/* session.renew */

/* ---- members.c: members, of gossip and of the configuration, into the catalog */
struct members {
	uv_timer_t timer;
	struct pool_list *done;		/* the list that the catalog follows */
	struct defer look;
	int64_t written;		/* cluster time of the newest entry of ours, 0: none */
	bool active, again;		/* again: look when that is applied */
	bool whole;			/* at everything, not only at what has changed */
	bool failed;			/* something could not be written */
};
int MUST_CHECK members_init(struct raftd *r);
void members_release(struct raftd *r);
void members_start(struct raftd *r);
void members_stop(struct raftd *r);
/* The pool, the servers of the configuration, or what is thought of their health, changed. */
void members_changed(struct raftd *r);
void members_applied(struct raftd *r);		/* entries were applied */
void members_restored(struct raftd *r);		/* another state has taken the place of the one before */

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
void count_sent(uint64_t entries);
void count_message(const struct raft *core, const struct raft_message *m, uint64_t now_ms);	/* received */
void count_query(size_t parked);
void count_sessions(uint64_t n);
void count_request(uint16_t op, bool local);	/* has come: from this node's daemons, or over the network */
void count_measure(struct daemon *d);	/* the gauges, once an interval */

struct raftd {
	struct daemon *d;
	const char *datacenter, *node_name, *node_id;
	char *dir;			/* of the store; NULL in memory */
	char address[80];		/* ip:port of ports.server */
	uint64_t id;			/* of the data directory */
	bool server, bootstrap, dev;
	uint64_t expect;		/* bootstrap_expect */
	char cluster[17];		/* "" : of none yet */
	uint64_t hold_ms;
	struct arena arena;		/* of the request being served */
	struct engine engine;
	struct hold hold;
	struct defer barrier[2];	/* [consistent]: one for all reads of this turn that need one */
	struct watch *watch;
	struct acl *acl;		/* NULL: ACLs are off */
	struct leader leader;
	struct members members;
	struct net *net;
	struct pool *pool;
	struct forward *forward;
	struct join *join;
	struct autopilot *autopilot;
	struct install *install;
	struct snapshot *snapshot;
	struct coordinates *coordinates;
};

#endif
