/*
 * core.h - Raft as a pure state machine: events in, effects out.
 *
 * The core knows indexes, terms, votes and times, never bytes of entries: the
 * caller keeps those. It asks for what it wants through struct raft_effects
 * and learns what came of it by events: "these are on disk", "this much is
 * applied". Time is given with each event and never goes back. Names are
 * those of the Raft thesis (Ongaro 2014).
 *
 * Invariant: applied <= commit <= last, and persisted <= last; an entry
 * counts for this server's own vote towards commit once it is persisted.
 */
#ifndef RAFTD_CORE_CORE_H
#define RAFTD_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/errs.h"

enum {
	RAFT_VOTERS_MAX = 15,
	RAFT_RUNS_MAX = 65536,		/* terms that one log may span */
	RAFT_READ_ROUNDS_MAX = 8,	/* rounds of read barriers under way */
};

enum {
	RAFT_ENOTLEADER = 4201,
};

/* Never: no timer is wanted. */
#define RAFT_NEVER UINT64_MAX

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER };

/* Entries from `first` on are of this term, up to the next run. */
struct raft_run {
	uint64_t first, term;
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
/* Entries up to index are gone; its term stays known. */
void trail_compact(struct raft_trail *t, uint64_t index);

/* ---- quorum.c: voters, and what a majority of them agrees on */
enum raft_vote { RAFT_VOTE_NONE, RAFT_VOTE_GRANTED, RAFT_VOTE_REFUSED };

/* What the leader (or candidate) knows of one voter. */
struct raft_progress {
	uint64_t id;
	enum raft_vote vote;	/* in this server's own election */
	uint64_t match;		/* the highest index known to be on its disk */
	uint64_t round;		/* newest round of heartbeats it has answered */
	uint64_t acked_ms;	/* when that round was sent: its lease counts from there */
};

struct raft_voters {
	struct raft_progress v[RAFT_VOTERS_MAX];
	size_t n;
};

struct raft_progress *voters_find(struct raft_voters *vs, uint64_t id);
enum raft_vote voters_outcome(const struct raft_voters *vs);	/* of the election */
uint64_t voters_match(const struct raft_voters *vs);		/* on a majority of disks */
uint64_t voters_round(const struct raft_voters *vs);		/* answered by a majority */
uint64_t voters_acked_ms(const struct raft_voters *vs);		/* a majority's promises count from here */

/* ---- the machine */

/* Read barriers that arrived before one round was sent share it. */
struct raft_read_round {
	uint64_t upto;		/* highest number of a read in it */
	uint64_t round;
	uint64_t index;		/* must be applied before they are answered */
};

struct raft_config {
	uint64_t id;			/* this server's data directory; not 0 */
	uint32_t election_ms, heartbeat_ms, lease_ms;
	uint64_t seed;			/* of the election timeouts */
};

/* What recovery found. The runs are copied. */
struct raft_start {
	uint64_t term, vote;
	uint64_t base, last;		/* entries base+1..last are in the log */
	uint64_t applied;		/* by the image; committed therefore */
	const struct raft_run *runs;
	size_t nruns;
	const uint64_t *voters;		/* of the latest configuration; none: never bootstrapped */
	size_t nvoters;
};

struct raft {
	struct raft_config config;
	enum raft_role role;
	uint64_t term, vote;
	uint64_t leader;		/* id, 0: unknown */
	bool state_durable;		/* term and vote are on disk as above */
	struct raft_trail trail;
	uint64_t persisted, commit, applied;
	uint64_t term_start;		/* leader: its no-op entry */
	struct raft_voters voters;
	uint64_t round;			/* leader: newest round sent */
	struct raft_read_round reads[RAFT_READ_ROUNDS_MAX];
	size_t nreads;
	uint64_t read_seq;		/* numbers given to reads */
	uint64_t election_at;		/* RAFT_NEVER: none planned */
	uint64_t random;
};

enum raft_event_type {
	RAFT_TIMER,		/* the time that was wanted has come */
	RAFT_PROPOSE,		/* leader: `count` entries follow the last one */
	RAFT_PERSISTED,		/* term, vote and entries up to index are on disk */
	RAFT_APPLIED,		/* entries up to index are in the state */
	RAFT_READ,		/* leader: a read barrier, numbered by the answer in effects */
	RAFT_COMPACTED,		/* entries up to index are no longer kept */
	RAFT_SERVERS,		/* the configuration entry that is now in force: `voters` */
};

struct raft_event {
	enum raft_event_type type;
	uint64_t now_ms;
	uint64_t count;			/* RAFT_PROPOSE */
	uint64_t index, index_term;	/* RAFT_PERSISTED (0: no entries), RAFT_APPLIED, RAFT_COMPACTED */
	uint64_t term, vote;		/* RAFT_PERSISTED */
	const uint64_t *voters;		/* RAFT_SERVERS */
	size_t nvoters;
};

struct raft_effects {
	bool hard_state;	/* put term and vote on disk before anything that follows */
	bool role_changed;
	uint64_t append_first, append_n;	/* entries of the current term to put on disk; n 0: none */
	bool noop;		/* the first of them is the leader's own no-op entry */
	uint64_t commit;	/* everything up to here may be applied */
	uint64_t read;		/* RAFT_READ: the number of this read */
	uint64_t reads_ready;	/* reads up to this number may be answered */
	uint64_t wake_ms;	/* send RAFT_TIMER then; RAFT_NEVER: not at all */
};

/* -ENOMEM, -ELIMIT, -EINVAL (recovered parts that do not fit together). raft_release() also after an error. */
int MUST_CHECK raft_init(struct raft *r, const struct raft_config *c, const struct raft_start *s, uint64_t now_ms);
void raft_release(struct raft *r);

/*
 * Take one event. -RAFT_ENOTLEADER for a proposal or a read elsewhere,
 * -EINVAL for one that makes no sense now, -ENOMEM, -ELIMIT: nothing has
 * changed then, and ret holds only standing values (commit, wake_ms).
 */
int MUST_CHECK raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *ret);

/* Leader, all of earlier terms applied, and a majority's promises hold at now. */
bool raft_lease_valid(const struct raft *r, uint64_t now_ms);

const char *raft_role_name(enum raft_role role);

#endif
