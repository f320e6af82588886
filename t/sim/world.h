/*
 * world.h - a cluster of simulated servers under one seed.
 *
 * The core is the real one (raftd/core). Everything around it is a model:
 * clocks, disks, network, the shell that carries out effects, clients, an
 * administrator, and the faults. One thread, one source of randomness, one
 * heap of events ordered by (true time, number): a seed replays exactly.
 *
 * Assumptions, which are those of the core's contract:
 *  - two servers' clocks run at rates that differ by less than a tenth, never
 *    go back while a process lives, and count on while it is suspended; they
 *    start anywhere with each process;
 *  - what the disk has synced stays, in order; what it has not may be lost
 *    from any point on; a directory that is wiped never comes back under its id;
 *  - messages may be lost, delayed, repeated, reordered, but not altered;
 *  - a server may stop between any two effects and any two messages.
 *
 * Entries have an identity (uid) besides index and term: a leader creates
 * each once, with a pointer to the one in front of it, so that log matching
 * is a comparison and every check costs O(1) per step.
 */
#ifndef T_SIM_WORLD_H
#define T_SIM_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "raftd/core/core.h"

enum {
	NODES_MAX = 7,
	DIRS_MAX = 128,			/* data directories, the wiped ones included */
	CLIENTS_MAX = 8,
	KEYS = 5,
	OPS_MAX = 16384,		/* of clients, in one seed */
	PACKET_ENTRIES_MAX = 64,
	WAITERS_MAX = 256,		/* requests that wait in one server */
	CHUNK_BYTES = 1000,		/* of a snapshot */
	ENTRY_BYTES = 100,
	CONFIGS_MAX = 1024,
};

#define MS ((uint64_t)1000)		/* true time is in microseconds */
#define SECOND (1000 * MS)

/* ---- what the log holds */

enum entry_kind { ENTRY_NOOP, ENTRY_OP, ENTRY_CONFIG };

struct entry {
	uint64_t index, term;
	uint32_t prev;			/* uid of the entry in front, 0: none */
	enum entry_kind kind;
	uint32_t arg;			/* number of the operation or of the configuration */
};

/* By absolute index; v[base] is the entry that the log begins behind. */
struct log {
	uint64_t base, last;
	uint32_t *v;
	size_t cap;
};

/* The replicated state: registers, and which operations have been applied (each once, however often it is proposed). */
struct state {
	uint64_t applied;
	uint32_t uid;			/* of the entry at applied */
	uint64_t hash;			/* over all entries applied */
	struct raft_servers config;
	uint32_t reg[KEYS];
	uint8_t done[OPS_MAX / 8];
};

struct snap {
	struct raft_snapshot s;
	struct state state;
};

/* ---- disks */

enum disk_op_kind { DISK_STATE, DISK_TRUNCATE, DISK_APPEND, DISK_IMAGE, DISK_COMPACT, DISK_INSTALL };

struct disk_op {
	enum disk_op_kind kind;
	uint64_t a, b;			/* term and vote; index and uid */
	uint64_t at;			/* when it was queued */
	void *p;			/* struct state (owned), struct snap (borrowed) */
};

/* A data directory. What is outside of the queue is on disk. */
struct dir {
	uint64_t id;
	unsigned node, number;
	bool wiped;
	uint64_t term, vote;
	struct log log;
	struct state image;
	uint64_t epoch;			/* truncations and installations since it was opened */
	struct disk_op *q;		/* in order, not yet on disk; the first `syncing` are on their way */
	size_t qn, qcap, syncing;	/* syncing 0: no sync is under way */
	uint64_t stall_until, synced_at;
};

/* ---- operations of clients */

enum op_kind { OP_PUT, OP_CAS, OP_GET, OP_GET_CONSISTENT };

struct op {
	enum op_kind kind;
	unsigned key, client;
	uint32_t value, expect;		/* values are unique: the number of their operation */
	uint64_t invoked, returned;	/* returned 0: the outcome was never learnt */
	bool ok;
	uint32_t seen;			/* what get and a failed cas found */
	bool applied, applied_ok;	/* by the first server that did; all others must agree */
	uint32_t applied_seen;
};

struct client {
	uint32_t op;			/* 0: none under way */
	unsigned target, tries;
	int pinned;			/* asks this server alone, -1: any */
	bool stubborn;			/* never gives up */
	uint32_t gen;			/* tells stale timers and answers */
	uint32_t known[KEYS];		/* last value seen, for cas */
};

/* ---- network */

enum packet_kind { PACKET_MESSAGE, PACKET_REQUEST, PACKET_REPLY };

struct packet {
	enum packet_kind kind;
	struct packet *next;		/* when free */
	struct raft_message m;
	size_t n;
	uint32_t uid[PACKET_ENTRIES_MAX];
	struct snap *snap;
	/* requests and replies */
	unsigned node;			/* request: asked */
	uint32_t op, gen;
	bool forwarded, ok, refused;
	uint32_t seen;
};

/* ---- servers */

struct waiter {
	uint32_t op, gen;
	uint64_t number;		/* of the entry's uid, or of the read */
	bool read, consistent;
};

struct node {
	unsigned slot;
	struct dir *dir;
	bool up, core_live;
	uint32_t gen;			/* counts starts: events of an earlier process are ignored */
	uint64_t pause_until, restart_at;
	/* clock */
	uint64_t true_base, local_base;
	int64_t rate;			/* ppm */
	uint64_t wake_ms, wake_at;	/* the timer wanted, and when the earliest one pending fires */
	uint32_t wake_gen;
	/* shell */
	struct raft core;
	struct log log;
	struct state state;
	uint64_t commit;		/* may be applied up to here */
	bool applying;
	uint64_t told_persisted;
	struct waiter waiters[WAITERS_MAX];
	size_t nwaiters;
	struct waiter pending[WAITERS_MAX];	/* proposals of this turn */
	size_t npending;
	struct snap *outgoing;
	struct snap *incoming;
	uint64_t incoming_have;
	bool installing;
	uint64_t image_queued;		/* applied index of the newest image handed to the disk */
	unsigned crash_in;		/* effects and messages until it crashes, 0: no such plan */
	/* checks */
	uint64_t seen_commit, fx_commit;
	enum raft_role seen_role;
	uint64_t seen_term;
	uint64_t lead_since, config_since;	/* true time */
	uint64_t heard[DIRS_MAX];	/* when a message came from that server */
};

/* ---- what may go wrong, and how often: permille, or mean milliseconds between two */
struct profile {
	const char *name;
	unsigned loss, dup, slow;	/* of messages; slow ones take up to slow_ms */
	unsigned slow_ms, delay_us;
	unsigned fault_ms;		/* between faults */
	unsigned crash, point, pause, stall, cut, transfer, member, wipe, hint, clock;	/* weights */
	unsigned sync_us;		/* mean latency of the disk */
	unsigned trailing, image_ms, damage;
	unsigned apply_lag;		/* permille of turns that apply late */
	unsigned uncached;		/* permille of appends that read the disk */
	unsigned leaders;		/* permille by which faults rather strike a leader */
	bool spare;			/* or never */
	unsigned assassin;		/* permille of new leaders that do not last */
	bool small;			/* one entry in a message */
};

enum event_type {
	EV_TIMER, EV_PACKET, EV_SYNC, EV_APPLY, EV_PROPOSE, EV_SENT, EV_READ, EV_CHUNK, EV_LOAD, EV_SNAPSHOT, EV_IMAGE,
	EV_RESTART, EV_LINK, EV_LOST, EV_ASSASSIN, EV_CLIENT, EV_FAULT, EV_HEAL, EV_ADMIN, EV_BOOTSTRAP, EV_FINAL
};

struct event {
	uint64_t at, seq;
	enum event_type type;
	unsigned node;			/* NODES_MAX: of the world */
	uint32_t gen;			/* of the node's process */
	uint64_t a, b, c;
	void *p;
};

/* What a seed has been through: tells whether the faults reach the code that they are for. */
struct tally {
	uint64_t elections, commits, truncations, configs, installs, crashes, wipes, transfers;
	uint64_t lease_reads, barrier_reads, unknown;
};

struct term {
	uint64_t leader, last;		/* who leads it, and the last index that it has created */
};

struct world {
	uint64_t seed, random, now, seq, steps;
	uint64_t storm_second, storm_steps;
	uint64_t end;			/* faults stop */
	bool trace, calm;
	jmp_buf failed;
	int profile;			/* that all seeds have, -1: any */
	struct profile p;
	struct raft_config timing;
	struct event *heap;
	size_t nheap, heapcap;
	struct node node[NODES_MAX];
	unsigned nodes;
	struct dir *dirs[DIRS_MAX];
	size_t ndirs;
	struct raft_servers boot;
	uint32_t boot_uid;
	/* network */
	unsigned packet_max;		/* entries */
	bool cut[NODES_MAX][NODES_MAX], fifo;
	uint64_t fifo_at[NODES_MAX][NODES_MAX];
	uint32_t cut_gen;
	/* kept from seed to seed; those in use end with the seed */
	struct packet **packets, *free_packets;
	size_t npackets, packetscap;
	struct state **states, **free_states;
	size_t nstates, statescap, nfree_states, free_statescap;
	struct snap **snaps;
	size_t nsnaps, snapscap, usedsnaps;
	/* history */
	struct entry *entries;		/* by uid */
	size_t nentries, entriescap;
	struct raft_servers configs[CONFIGS_MAX];
	size_t nconfigs;
	struct raft_servers found[CONFIGS_MAX];	/* by a start or in a message */
	struct raft_run *runs;
	size_t runscap;
	uint32_t *committed;		/* uid by index */
	uint64_t *hashes;		/* of the state, by index; 0: nobody has applied it */
	uint64_t *committed_in;		/* term of the leader that did it, by index */
	uint64_t ncommitted;		/* highest index */
	size_t committedcap, hashescap, committed_incap;
	struct raft_servers settled;	/* the newest configuration known to be committed */
	struct term *terms;
	size_t termscap;
	uint64_t nterms;
	struct client clients[CLIENTS_MAX];
	unsigned nclients;
	struct op ops[OPS_MAX];
	uint32_t nops;
	struct tally tally;		/* over all seeds */
	uint64_t think_us;		/* of clients between operations */
	/* the end */
	unsigned final;
	uint64_t final_since;
};

/* ---- world.c */
uint64_t rnd(struct world *w);
uint64_t below(struct world *w, uint64_t n);			/* n 0: 0 */
uint64_t between(struct world *w, uint64_t lo, uint64_t hi);	/* both included */
bool chance(struct world *w, unsigned permille);
uint64_t around(struct world *w, uint64_t mean);		/* exponential, bounded */
void *world_grow(void *v, size_t *cap, size_t want, size_t size);
void world_post(struct world *w, uint64_t at, enum event_type type, const struct node *n, uint64_t a, uint64_t b, uint64_t c, void *p);
struct node *world_node(struct world *w, uint64_t id);		/* that runs with this directory, or NULL */
struct dir *world_dir(struct world *w, uint64_t id);
struct dir *world_mkdir(struct world *w, struct node *n);
struct state *world_state(struct world *w);
void world_state_free(struct world *w, struct state *s);
struct snap *world_snap(struct world *w);
uint32_t world_entry(struct world *w, uint64_t index, uint64_t term, uint32_t prev, enum entry_kind kind, uint32_t arg);
/* A seed from begin to end: 0 clean, 1 a property is broken (printed). */
int world_run(struct world *w, uint64_t seed, double minutes, bool trace);
void world_release(struct world *w);
/* Print what is broken, and end the seed. */
void world_fail(struct world *w, const char *property, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));

/* ---- log.c */
void log_put(struct log *l, uint64_t index, uint32_t uid);
void log_reset(struct log *l, uint64_t index, uint32_t uid);
void log_copy(struct log *to, const struct log *from);

/* ---- clock.c */
uint64_t clock_local_ms(const struct world *w, const struct node *n);
void clock_start(struct world *w, struct node *n);	/* of a new process */
void clock_drift(struct world *w, struct node *n);	/* another rate from now on */
void clock_wake(struct world *w, struct node *n, uint64_t wake_ms);
void clock_timer(struct world *w, struct node *n, uint32_t gen);

/* ---- disk.c */
void disk_queue(struct world *w, struct node *n, enum disk_op_kind kind, uint64_t a, uint64_t b, void *p);
void disk_kick(struct world *w, struct node *n);	/* a sync begins, unless one is under way */
void disk_synced(struct world *w, struct node *n);
void disk_crash(struct world *w, struct dir *d);
void disk_stall(struct world *w, struct dir *d, uint64_t us);
void disk_image(struct world *w, struct node *n);
void disk_found(struct world *w, const struct dir *d, struct raft_start *ret);

/* ---- node.c: the shell */
void node_start(struct world *w, struct node *n);
void node_crash(struct world *w, struct node *n);
void node_step(struct world *w, struct node *n, struct raft_event *ev, const struct packet *from);
int node_try(struct world *w, struct node *n, struct raft_event *ev, const struct packet *from);
void node_message(struct world *w, struct node *n, struct packet *k);
void node_apply(struct world *w, struct node *n);
void node_propose(struct world *w, struct node *n);
void node_config(struct world *w, struct node *n, const struct raft_servers *config, bool bogus);
void node_request(struct world *w, struct node *n, const struct packet *k);
void node_read_disk(struct world *w, struct node *n, struct packet *k);
void node_sent(struct world *w, struct node *n, const struct event *e);

/* ---- images.c: transfers */
void image_make(struct world *w, struct node *n);
void image_made(struct world *w, struct node *n, const struct snap *s);
void image_chunk(struct world *w, struct node *n, const struct packet *k);
void image_stored(struct world *w, struct node *n, const struct event *e);
void image_install(struct world *w, struct node *n);
void image_loaded(struct world *w, struct node *n);
void image_installed(struct world *w, struct node *n, struct snap *s);

/* ---- net.c */
struct packet *net_packet(struct world *w, enum packet_kind kind);
void net_free(struct world *w, struct packet *k);
void net_send(struct world *w, const struct node *from, struct packet *k);	/* takes k; to another server */
void net_request(struct world *w, struct packet *k);		/* takes k; from a client */
void net_reply(struct world *w, struct packet *k);		/* takes k; to a client */
void net_arrived(struct world *w, struct packet *k);

/* ---- client.c */
void client_start(struct world *w);
void client_wake(struct world *w, unsigned client, uint32_t gen);
void client_reply(struct world *w, const struct packet *k);
void client_ask(struct world *w, unsigned client, enum op_kind kind, unsigned key);
void client_check(struct world *w);

/* ---- faults.c */
int faults_profile(const char *name);	/* its number, -1: there is none */
void faults_draw(struct world *w);
void faults_elected(struct world *w, struct node *n);
void faults_assassin(struct world *w, struct node *n);
void faults_next(struct world *w);
void faults_heal(struct world *w, uint32_t gen);
void faults_stop(struct world *w);
void faults_hint(struct world *w, struct node *n, bool up);

/* ---- admin.c */
void admin_act(struct world *w, bool again);
void admin_elected(struct world *w);
void admin_bootstrap(struct world *w);
bool admin_may_wipe(struct world *w, const struct dir *d);
void admin_wipe(struct world *w);

/* ---- final.c */
void final_step(struct world *w);

/* ---- check.c */
void check_created(struct world *w, struct node *n, uint64_t index, uint64_t term);
void check_appended(struct world *w, struct node *n, uint64_t index, uint32_t uid);
void check_storm(struct world *w);
void check_heard(struct world *w, struct node *n, const struct packet *k);
void check_before(struct world *w, struct node *n);
void check_step(struct world *w, struct node *n, const struct raft_effects *fx);
void check_send(struct world *w, struct node *n, const struct raft_message *m);
void check_applied(struct world *w, struct node *n);

/* ---- trace.c */
#define TRACE(w, ...) do { if ((w)->trace) trace_line((w), __VA_ARGS__); } while (0)
void trace_line(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *trace_name(const struct world *w, uint64_t id);	/* of a directory: A, B2 (B's second) */
void trace_message(const struct world *w, const char *what, const struct raft_message *m, size_t n);
void trace_step(const struct world *w, const struct node *n, const struct raft_event *ev, int rc, const struct raft_effects *fx);

#endif
