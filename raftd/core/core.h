/*
 * core.h - Raft as a pure state machine: events in, effects out.
 *
 * The core knows indexes, terms, votes and times, never bytes of entries: the
 * caller (raftd's shell, or the simulator) keeps those. It asks for what it
 * wants through struct raft_effects and learns what came of it by events:
 * "these are on disk", "this much is applied", "this message has arrived".
 * Time is given with each event and never goes back. Messages may be lost,
 * delayed, repeated and reordered. Names are those of the Raft thesis (Ongaro
 * 2014); servers are named by the random id of their data directory.
 *
 * What a message promises is on disk before it leaves: a term and a vote
 * before the reply that grants it and before the request that asks for one,
 * entries before the acknowledgement that counts them. The core sees to that
 * by handing out such messages only with the RAFT_PERSISTED that covers them,
 * so the caller sends what it is given at once. A leader sends entries while
 * its own sync runs; its own vote for them counts when they are persisted.
 *
 * Leases (thesis 6.4.1, turned round into promises). Each acknowledgement of
 * an append promises, in memory, to grant no vote and no pre-vote for
 * lease_ms, counted on the follower's clock from the moment it is sent. The
 * leader relies on it for lease_ms * 9/10, counted on its own clock from the
 * moment it sent the append: safe while the rates of two servers' clocks
 * (CLOCK_BOOTTIME) differ by less than a tenth. No hint shortens a promise.
 * Only the leader that it was made to can give it back: handing over, it
 * stops using leases for the rest of its term before it tells the target to
 * stand, and the target's requests for the very next term say so. A voter
 * that restarts in a cluster of several waits one lease before it votes.
 *
 * Membership changes are of one server at a time (thesis 4.1 with the
 * correction of 2015): a leader takes one only when an entry of its own term
 * is committed and the configuration before is, and when a majority of the new
 * voters is alive, as far as it knows. A configuration is in force from the
 * moment it stands in the log, and no longer when it is cut off.
 *
 * Invariants: applied <= min(commit, persisted) <= last. A server's own vote
 * towards commit is for what it has persisted.
 */
#ifndef RAFTD_CORE_CORE_H
#define RAFTD_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/errs.h"

enum {
	RAFT_SERVERS_MAX = 32,		/* voters and non-voters */
	RAFT_RUNS_MAX = 65536,		/* terms that one log may span */
	RAFT_CONFIGS_MAX = 256,		/* configurations in one message: a caller's bound, not the core's */
	RAFT_CONFIGS_KEPT = 2,		/* the one in force, and the one before, see member.c */
	RAFT_READ_ROUNDS_MAX = 64,	/* read barriers under way, of ourselves and of followers */
	RAFT_INFLIGHT_MAX = 64,		/* appends with entries to one server without an answer */
	RAFT_MESSAGES_MAX = 4 * RAFT_SERVERS_MAX,	/* from one step */
};

enum {
	RAFT_ENOTLEADER = 4201,		/* or handing over: ask the next one */
	RAFT_ECHANGING = 4202,		/* a membership change cannot begin now: try again */
};

/* Never: no timer is wanted. */
#define RAFT_NEVER UINT64_MAX

/* Indexes and terms at or above it are not taken from anybody: nothing can overflow. */
#define RAFT_NUMBER_MAX (UINT64_MAX / 4)

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER };

/* Entries from `first` on are of this term, up to the next run. */
struct raft_run {
	uint64_t first, term;
};

struct raft_server {
	uint64_t id;			/* not 0 */
	bool voter;
};

/* A configuration: an entry of the log. */
struct raft_servers {
	uint64_t index;			/* of its entry; 0: none */
	size_t n;
	struct raft_server v[RAFT_SERVERS_MAX];
};

/* ---- trail.c: the terms of a log, without its entries */
struct raft_trail {
	uint64_t base;		/* index in front of the first entry kept */
	uint64_t last;
	struct raft_run *runs;	/* ascending; runs[0] covers base when base > 0 */
	size_t n, cap;
};

void trail_release(struct raft_trail *t);
/* One more entry of this term. -ENOMEM; -ELIMIT beyond RAFT_RUNS_MAX. */
int MUST_CHECK trail_append(struct raft_trail *t, uint64_t term);
/* Term of an entry (base..last), 0 when it is not known. */
uint64_t trail_term(const struct raft_trail *t, uint64_t index);
/* The first index of the run that covers index, not below base. */
uint64_t trail_run_first(const struct raft_trail *t, uint64_t index);
/* The last index of this term, 0 when there is none. */
uint64_t trail_last_of(const struct raft_trail *t, uint64_t term);
/* Memory for n more runs, so that trail_extend() cannot fail. -ENOMEM; -ELIMIT beyond RAFT_RUNS_MAX. */
int MUST_CHECK trail_reserve(struct raft_trail *t, size_t n);
/* Entries up to `last` follow, all of this term. Room for a run is reserved. */
void trail_extend(struct raft_trail *t, uint64_t last, uint64_t term);
/* Entries up to index are gone; its term stays known. */
void trail_compact(struct raft_trail *t, uint64_t index);
/* Entries from index on (> base) are gone. */
void trail_truncate(struct raft_trail *t, uint64_t index);
/* All are gone: the log begins behind index, which is of this term. Room for a run is reserved. */
void trail_reset(struct raft_trail *t, uint64_t index, uint64_t term);

/* ---- messages between servers: msg.h of the shell puts them on the wire */

enum raft_message_type {
	RAFT_MSG_PREVOTE = 1,	/* would you vote for me in `term`? (thesis 9.6) */
	RAFT_MSG_PREVOTE_REPLY,
	RAFT_MSG_VOTE,		/* RequestVote */
	RAFT_MSG_VOTE_REPLY,
	RAFT_MSG_APPEND,	/* AppendEntries; without entries a heartbeat */
	RAFT_MSG_APPEND_REPLY,
	RAFT_MSG_SNAPSHOT,	/* InstallSnapshot, one chunk */
	RAFT_MSG_SNAPSHOT_REPLY,
	RAFT_MSG_HANDOVER,	/* TimeoutNow (thesis 3.10) */
	RAFT_MSG_READ,		/* follower to leader: which index must I have applied? (thesis 6.4) */
	RAFT_MSG_READ_REPLY,
	RAFT_MSG_TYPES
};

/* Names a snapshot that is being transferred. */
struct raft_snapshot {
	uint64_t id;		/* random, not 0: of this very file */
	uint64_t index, term;	/* the state is that after this entry */
	uint64_t size;		/* bytes, not 0 */
};

/* Members that a type does not use are 0. */
struct raft_message {
	enum raft_message_type type;
	uint64_t from, to;
	uint64_t term;		/* of the sender; PREVOTE: the one it would begin, and a reply that grants it repeats it */
	/* PREVOTE, VOTE: the candidate's last entry. APPEND: the entry in front of `first`. */
	uint64_t prev_index, prev_term;
	bool transfer;		/* VOTE: the leader of term - 1 has handed over, and given back its promises */
	bool ok;		/* replies: granted, accepted */
	/*
	 * APPEND: entries first..last, none when last < first (first is prev_index + 1).
	 * In effects `last` is the highest that may go; see RAFT_SENT.
	 */
	uint64_t first, last;
	uint64_t commit;	/* APPEND */
	/*
	 * APPEND: round counts up within a term, sent_ms is the leader's clock; a
	 * reply repeats the newest of both that were seen. round 0: only tells the
	 * commit index, and wants no reply.
	 */
	uint64_t round, sent_ms;
	/*
	 * APPEND_REPLY, ok: all entries up to `match` are those of the leader and on
	 * disk, all up to hint_index are those of the leader and have arrived. Not ok: the prev_index that was refused, then where to go on (thesis 5.3,
	 * fast back-up): hint_term is the term that stands there instead, 0 when the
	 * log is shorter, and hint_index its first index, or the log's last.
	 */
	uint64_t match;
	uint64_t hint_index, hint_term;
	struct raft_snapshot snapshot;	/* SNAPSHOT and its reply */
	uint64_t offset;	/* SNAPSHOT: of the chunk. Reply: of the chunk that is wanted; size: it is complete, and being installed */
	uint64_t bytes;		/* SNAPSHOT, as received: length of its chunk. In effects 0: the caller fills a chunk and says its length here */
	/* READ and its reply. */
	uint64_t read, read_index;
	bool consistent;	/* READ: no lease will do */
};

/* ---- quorum.c: servers, and what a majority of the voters agrees on */
enum raft_vote { RAFT_VOTE_NONE, RAFT_VOTE_GRANTED, RAFT_VOTE_REFUSED };

enum raft_flow {
	RAFT_PROBE,		/* where its log agrees with ours is not known: one append at a time */
	RAFT_PIPELINE,		/* appends go out ahead of the answers */
	RAFT_SNAPSHOT,		/* too far behind for the log */
};

/* What the leader (or candidate) knows of one server, itself included. */
struct raft_progress {
	uint64_t id;
	bool voter;
	enum raft_vote vote;	/* in this server's own election or pre-election */
	enum raft_flow flow;
	uint64_t match;		/* the highest index known to be on its disk */
	uint64_t next;		/* the first entry to send */
	bool sending;		/* the caller has an append for it and has not said RAFT_SENT */
	bool waiting;		/* nothing more goes to it until it answers, or retry_ms */
	uint64_t retry_ms;
	uint64_t round;		/* newest round it has answered */
	uint64_t acked_ms;	/* when (our clock) the newest append that it acknowledged was sent: its promise counts from there */
	uint64_t heard_ms;	/* when it was last heard of in this term; at first, since when it is counted with */
	uint64_t commit_sent;	/* the newest commit index it was told */
	struct { uint64_t last, bytes; } inflight[RAFT_INFLIGHT_MAX];	/* a ring */
	size_t in_first, in_n;
	uint64_t in_bytes;
	uint64_t check_index, check_ms;	/* 0: none. An answer to what was sent since tells whether entries up to there have got lost */
	uint64_t snapshot_id, snapshot_offset;	/* RAFT_SNAPSHOT: what it has of which */
};

struct raft_peers {
	struct raft_progress v[RAFT_SERVERS_MAX];
	size_t n;
};

struct raft_progress *peers_find(struct raft_peers *ps, uint64_t id);
size_t peers_voters(const struct raft_peers *ps);
enum raft_vote peers_outcome(const struct raft_peers *ps);	/* of the election */
uint64_t peers_match(const struct raft_peers *ps);		/* on a majority of disks */
uint64_t peers_round(const struct raft_peers *ps);		/* answered by a majority */
/* A majority's promises count from here; it was heard of since. `self` counts as now. */
uint64_t peers_acked_ms(const struct raft_peers *ps, uint64_t self, uint64_t now_ms);
uint64_t peers_heard_ms(const struct raft_peers *ps, uint64_t self, uint64_t now_ms);

/* ---- the machine */

/* A read barrier: at the leader it waits for a round, at a follower for the leader's answer. */
struct raft_read {
	uint64_t from;		/* who asks: ourselves or a follower */
	uint64_t upto;		/* highest number of a read in it, in the asker's counting */
	bool consistent;
	uint64_t round;		/* leader: when answered by a majority; 0: the lease will do */
	uint64_t index;		/* must be applied before they are answered; follower: 0 until the leader has said it */
	uint64_t asked_ms;	/* follower: when the leader was asked, to ask again */
};

struct raft_config {
	uint64_t id;			/* this server's data directory; not 0 */
	uint32_t election_ms;		/* an election is due one to one and a half of these after the leader's last word */
	uint32_t heartbeat_ms;
	uint32_t lease_ms;		/* of a promise; less than election_ms */
	uint64_t inflight_bytes;	/* of entries on their way to one server */
	uint64_t seed;			/* random: another one at each start, or an old reply could be taken for a new one */
};

/* What recovery found. All is copied. */
struct raft_start {
	uint64_t term, vote;
	uint64_t base, last;		/* entries base+1..last are in the log */
	uint64_t applied;		/* by the image; committed therefore; base <= applied <= last */
	const struct raft_run *runs;	/* of base..last */
	size_t nruns;
	/* Ascending by index: the one in force at `applied` (absent: never bootstrapped), and those in the log behind. */
	const struct raft_servers *configs;
	size_t nconfigs;
};

struct raft {
	struct raft_config config;
	uint64_t now_ms;		/* of the newest event */
	uint64_t wake_ms;		/* as told last */
	uint64_t late_ms;		/* when we last found that we had slept over a timer: input may have piled up meanwhile */
	enum raft_role role;
	bool prevote;			/* as a follower: asking for pre-votes */
	uint64_t term, vote;
	uint64_t leader;		/* id, 0: unknown */
	uint64_t heard_ms;		/* follower: when the leader was last heard of */
	uint64_t hint_until;		/* somebody saw it die: until then elections are tried in short order */
	bool state_durable;		/* term and vote are on disk as above */
	bool standing_transfer;		/* candidate: told to stand by the leader before */
	uint64_t promised_ms;		/* no vote before this moment */
	struct raft_trail trail;
	uint64_t epoch;			/* counts truncations and installed snapshots: tells stale RAFT_PERSISTED */
	uint64_t persisted, commit, applied;
	struct raft_servers configs[RAFT_CONFIGS_KEPT];	/* ascending; the last is in force, one before it is committed */
	size_t nconfigs;
	/* follower: towards the leader of this term */
	uint64_t verified;		/* our log is the leader's up to here */
	uint64_t ack_round, ack_sent_ms;	/* newest append seen */
	bool ack_now;			/* to be answered as soon as the term is durable, whatever is on disk */
	uint64_t acked_match;		/* the newest match told */
	struct { uint64_t prev, index, term; bool due; } refusal;	/* of an append, waits for the term to be durable */
	struct { uint64_t to; bool pending, ok; } vote_reply;	/* of this term, waits for the disk */
	struct raft_snapshot incoming;	/* id 0: none */
	uint64_t incoming_offset;
	bool storing;			/* the caller has a chunk of it */
	bool snapshot_ack;		/* a reply is due as soon as the term is durable */
	bool installing;
	/* leader */
	uint64_t term_start;		/* its no-op entry */
	struct raft_peers peers;
	uint64_t round;			/* newest round sent */
	bool round_due;			/* a read waits for the next one */
	uint64_t heartbeat_at;
	/* Any role: entries wait for our disk, which has stood at stall_index since stall_ms; RAFT_NEVER: none do. */
	uint64_t stall_ms, stall_index;
	uint64_t transfer_to, transfer_until;	/* 0: not handing over */
	bool transfer_told;		/* since the last heartbeat */
	bool lease_waived;		/* for the rest of this term */
	struct raft_snapshot outgoing;	/* that the caller has ready, id 0: none */
	bool outgoing_bad;		/* somebody had all of it, and could not install it */
	bool snapshot_asked;
	uint64_t snapshot_at;		/* not asked for again before */
	struct raft_read reads[RAFT_READ_ROUNDS_MAX];
	size_t nreads;
	uint64_t read_seq;		/* numbers given to reads of ours */
	uint64_t election_at;		/* RAFT_NEVER: none planned */
	uint64_t random;
	struct raft_message out[RAFT_MESSAGES_MAX + 1];	/* the last takes what has no room, and is not sent */
	size_t nout;
};

enum raft_event_type {
	RAFT_TIMER,		/* the time that was wanted has come */
	RAFT_BOOTSTRAP,		/* an empty server: entry 1, of term 1, is the first configuration of a new cluster: `config` */
	RAFT_PROPOSE,		/* leader: `count` entries follow the last one; with `config` exactly one, which is that configuration */
	RAFT_PERSISTED,		/* all effects handed out up to this epoch's `index`, and term and vote, are on disk */
	RAFT_APPLIED,		/* entries up to index are in the state */
	RAFT_READ,		/* a read barrier, numbered by the answer in effects; also at a follower */
	RAFT_COMPACTED,		/* entries up to index are no longer kept; see raft_keep() */
	RAFT_MESSAGE,		/* `message` has arrived, from a server of this cluster */
	RAFT_SENT,		/* what became of an append with entries for `peer`: sent up to `index`, `bytes` of them.
				   index < first: not sent, since they are gone or the connection is backed up */
	RAFT_PEER_UP,		/* there is a connection to `peer` now */
	RAFT_PEER_DOWN,		/* it has gone: what was in flight may be lost */
	RAFT_LEADER_LOST,	/* a hint that `peer` has died: its connection was reset, or gossip says so */
	RAFT_TRANSFER,		/* leader: hand over to `peer`, 0: to the most advanced voter */
	RAFT_SNAPSHOT_READY,	/* leader: `snapshot` may be sent (asked for by effects.snapshot_wanted) */
	RAFT_SNAPSHOT_FAILED,	/* it could not be made: asked for again later */
	RAFT_CHUNK,		/* follower: the chunk of `snapshot` is stored, in all `index` bytes of it; 0: begin anew */
	RAFT_INSTALLED,		/* follower: `snapshot` is now the state and durable; `config` stood at its index; the log is empty behind it */
	RAFT_INSTALL_FAILED,	/* it was damaged: get it again */
};

struct raft_event {
	enum raft_event_type type;
	uint64_t now_ms;
	uint64_t count;			/* RAFT_PROPOSE */
	uint64_t index;			/* RAFT_PERSISTED (0: no entries), RAFT_APPLIED, RAFT_COMPACTED, RAFT_SENT, RAFT_CHUNK */
	uint64_t term, vote, epoch;	/* RAFT_PERSISTED */
	uint64_t peer, first, bytes;	/* RAFT_SENT: `first` as in the message; RAFT_PEER_*, RAFT_LEADER_LOST, RAFT_TRANSFER: peer */
	bool consistent;		/* RAFT_READ: whatever leases say */
	const struct raft_servers *config;	/* index is filled in by the core for RAFT_BOOTSTRAP and RAFT_PROPOSE */
	struct raft_snapshot snapshot;
	const struct raft_message *message;
	/* RAFT_MESSAGE, an APPEND with entries: the terms of first..last, and the configurations among them, ascending. */
	const struct raft_run *runs;
	size_t nruns;
	const struct raft_servers *configs;
	size_t nconfigs;
};

/*
 * To be carried out in this order: hard_state, truncate_from, append, then
 * the rest. Everything on disk goes through one queue, so that RAFT_PERSISTED
 * may be told of several at once.
 */
struct raft_effects {
	bool hard_state;	/* put term and vote on disk before anything that follows */
	uint64_t truncate_from;	/* entries from here on are cut off, on disk and in memory; 0: none */
	/*
	 * Entries to put on disk, n 0: none. Leader: the proposal, or (noop) its own
	 * no-op entry. Follower: those of the message's entries that are new.
	 */
	uint64_t append_first, append_n;
	bool noop;
	bool role_changed, leader_changed;
	bool config_changed;	/* the configuration in force is another one */
	uint64_t commit;	/* everything up to here may be applied: committed, and on our own disk */
	uint64_t read;		/* RAFT_READ: the number of this read */
	uint64_t reads_ready[2];	/* [consistent]: reads up to this number may be answered from the state as applied */
	bool snapshot_wanted;	/* leader: make one, then RAFT_SNAPSHOT_READY or _FAILED */
	bool snapshot_unneeded;	/* leader: nobody needs the one that is ready any more */
	bool chunk;		/* follower: store the chunk of this message at its offset, then RAFT_CHUNK */
	bool install;		/* follower: the file is complete: RAFT_INSTALLED or RAFT_INSTALL_FAILED must follow */
	const struct raft_message *messages;	/* valid until the next step: send them at once */
	size_t nmessages;
	uint64_t wake_ms;	/* send RAFT_TIMER then; RAFT_NEVER: not at all */
};

/* -ENOMEM, -ELIMIT, -EINVAL (recovered parts that do not fit together). raft_release() also after an error. */
int MUST_CHECK raft_init(struct raft *r, const struct raft_config *c, const struct raft_start *s, uint64_t now_ms);
void raft_release(struct raft *r);

/*
 * Take one event. -RAFT_ENOTLEADER for a proposal or a transfer elsewhere and
 * for a proposal while handing over (a read is taken in any role, and waits
 * for a leader), -RAFT_ECHANGING for a configuration that cannot begin now and
 * for a transfer while one to somebody else is under way, -EINVAL for one
 * that makes no sense (a change of more than one server's vote, a message that
 * contradicts itself), -ENOMEM, -ELIMIT: nothing has changed then, and ret
 * holds only standing values (commit, wake_ms). What a peer sends ends at
 * worst in -EINVAL.
 */
int MUST_CHECK raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *ret);

/*
 * Reads may be answered from the state as it is: leader, all that is
 * committed is applied, and a majority's promises hold at now. When not, a
 * barrier (RAFT_READ) says when; it needs no round if only applying is late.
 */
bool raft_lease_valid(const struct raft *r, uint64_t now_ms);

/* The configuration in force, NULL: never bootstrapped. */
const struct raft_servers *raft_servers(const struct raft *r);

/* Leader: what it knows of a server; else, and of a stranger, NULL. */
const struct raft_progress *raft_progress(const struct raft *r, uint64_t id);

/*
 * Leader: a follower that is alive still wants the entries behind this index,
 * from the log or after the snapshot that it is being sent; UINT64_MAX: nobody
 * does. A caller that has room for them does not compact them yet.
 */
uint64_t raft_keep(const struct raft *r);

const char *raft_role_name(enum raft_role role);
const char *raft_message_name(enum raft_message_type type);

#endif
