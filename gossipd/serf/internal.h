/*
 * internal.h - what the files of Serf share among themselves.
 *
 * A message goes from serf.c to the file that knows it, which says whether it
 * was news; serf.c then gossips it on. Nothing here calls swim's functions that must
 * not be re-entered, but for serf_advance().
 */
#ifndef GOSSIPD_SERF_INTERNAL_H
#define GOSSIPD_SERF_INTERNAL_H

#include "gossipd/serf/serf.h"
#include "gossipd/swim/queue.h"
#include "lib/duration.h"

enum {
	MESSAGE_ARENA_MAX = 256 * 1024,		/* lists of one message */
	STATE_ARENA_MAX = 16 * 1024 * 1024,	/* lists of one push/pull */
	CLOCK_LINE_MS = 500,			/* clocks go to the snapshot file no more often */
	QUEUE_CHECK_MS = 30000,
	QUERY_TIMEOUT_MULT = 16,
	QUERY_TIMEOUT_MAX_S = 3600,		/* whatever the asker says */
};

#define CLOCK_HALF (UINT64_C(1) << 63)
#define CLOCK_STEP (UINT64_C(1) << 24)

/* ---- roster.c: the members. An index is good until the next erasing. */
struct member {
	struct swim_node *node;
	uint64_t status_ltime, gone_at;
	uint32_t link;			/* of a kept one the next of its chain, else its place in nets; +1, 0: none */
	uint8_t status;			/* enum serf_status */
	bool kept;			/* SWIM has dropped it */
};

/* What is known of the way to a member that has acked us. */
struct net {
	struct coord c;
	struct coord_latencies latencies;
	uint32_t member;
	bool known;
};

struct roster {
	struct member *v;
	size_t n, cap;
	size_t counts[SERF_FAILED + 1];
	struct net *nets;
	size_t nnets, nets_cap;
	uint32_t *chains;		/* kept ones by name */
	size_t nchains, nkept;
};

struct member *serf_roster_of(const struct roster *t, struct swim_node *node);
struct member *serf_roster_find(struct serf *s, struct str name);
/* NULL without memory. */
struct member *serf_roster_add(struct roster *t, struct swim_node *node);
void serf_roster_set_status(struct roster *t, struct member *m, enum serf_status status);
/* SWIM drops the node of it: keep it. */
int MUST_CHECK serf_roster_keep(struct serf *s, struct member *m);
/* Under another node of the same name, or NULL: it was not kept. */
struct member *serf_roster_revive(struct serf *s, struct swim_node *node);
void serf_roster_erase(struct serf *s, struct member *m);
/* NULL without memory. */
struct net *serf_roster_net(struct roster *t, struct member *m);
const struct net *serf_roster_known(const struct roster *t, const struct member *m);
void serf_roster_release(struct serf *s);

/* ---- intent.c: intents of members that we have not heard of yet */
struct intent {
	char *name;
	uint32_t len;
	uint8_t type;			/* SERF_LEAVE, SERF_JOIN */
	uint64_t hash, ltime, expires;
};
struct intents {
	struct intent *v;
	size_t n, cap;
};
/* Whether it is news. */
bool serf_intents_remember(struct serf *s, struct str name, enum serf_type type, uint64_t ltime);
const struct intent *serf_intents_find(const struct serf *s, struct str name);
void serf_intents_expire(struct serf *s);
void serf_intents_release(struct serf *s);

/* ---- ring.c */
struct seen_event {
	uint64_t hash;
	uint32_t name_len, payload_len;
	char *content;			/* name, payload; NULL: only the hash is known */
};
struct event_slot {
	uint64_t ltime;
	uint32_t n, cap;
	struct seen_event *v;
};
struct query_slot {
	uint64_t ltime;
	uint32_t n, cap;
	uint32_t *ids;
};
struct rings {
	struct event_slot *events;	/* SERF_RING of them once there is one */
	struct query_slot *queries;
	size_t bytes;
};
/* 0: it is new, and remembered. -EALREADY: seen before. -ELIMIT: too many of this LTime. -ENOMEM. */
int MUST_CHECK serf_ring_event(struct serf *s, const struct msg_event *m);
int MUST_CHECK serf_ring_query(struct serf *s, uint64_t ltime, uint32_t id);
void serf_ring_release(struct serf *s);

/* ---- one query of ours that runs (ask.c) */
struct ask {
	uint64_t number, ltime, deadline;
	uint32_t id;
	bool want_ack;
	size_t expected;		/* as many answers, and acks, end it early */
	size_t acks, answers;
	uint64_t *seen;			/* hashes of who has answered and who has acked */
	size_t nseen, seen_cap;
	void (*answer)(void *ctx, struct str from, bool ack, struct str payload);
	void *ctx;
};

/* Ours to a query of our own: told by the next serf_advance(). */
struct own_answer {
	uint64_t ltime;
	uint32_t id;
	bool ack;
	char *payload;
	size_t len;
};

struct pruning {
	char *name;
	size_t len;
	uint64_t at;
};

enum leave_step { LEAVE_NOT, LEAVE_INTENT, LEAVE_DEAD, LEAVE_PROPAGATE, LEAVE_DONE };

struct serf {
	struct serf_config config;
	struct serf_hooks hooks;
	struct swim *swim;
	uint32_t gossip_ms;
	size_t kept_max;
	uint64_t now, seed;
	uint64_t clock, event_clock, query_clock;
	uint64_t event_min, query_min;
	bool ignore_old;
	bool begun;			/* our own joining was told */
	bool missed;			/* a member that there was no memory for */

	struct roster roster;
	struct intents intents;
	size_t strangers;		/* intents of unknown members that are still remembered of the push/pull that is read */
	struct rings rings;
	struct queue *intent_queue, *query_queue, *event_queue;
	uint64_t reap_at, reconnect_at, queue_check_at;
	struct pruning *prunings;
	size_t nprunings;

	uint64_t expressions_since;	/* the second in which so many were matched (filter.c) */
	unsigned expressions;
	struct ask **asks;
	size_t nasks;
	uint64_t ask_numbers;
	struct own_answer *own;
	size_t nown;
	struct { bool running; size_t answers, matching; } vote;

	enum serf_status state;		/* ours: alive, leaving, left */
	enum leave_step leave;
	bool intent_sent;
	uint64_t leave_at;		/* when this step ends at the latest */

	struct coord_client coord;
	struct buf ack;			/* our coordinate as acks carry it; empty: to be made */

	uint64_t event_seen, query_seen;	/* the highest that we heard */
	uint64_t lines_at, clock_line, event_line, query_line;	/* of the snapshot file: what it says */
	struct serf_stats stats;
};

static inline uint64_t
ms(uint64_t n)
{
	return n < UINT64_MAX / NS_PER_MS ? n * (uint64_t)NS_PER_MS : UINT64_MAX;
}

static inline uint64_t
after(uint64_t now, uint64_t ns)
{
	return now < UINT64_MAX - ns ? now + ns : UINT64_MAX;
}

/*
 * A clock (5.1) hears a time, which any stranger can make up. At its end a clock would have no time left for anything
 * new, in the whole pool and in all its snapshot files. So what is believed at once is the lower half, which no pool
 * comes to the end of by itself, and above it CLOCK_STEP beyond what the clock shows: a pool that was driven there goes on.
 * False: the time is further away, and what bears it is not to be taken. (Other Serfs believe everything; below the half
 * we always agree with them.)
 */
static inline bool
clock_hear(uint64_t *clock, uint64_t t)
{
	uint64_t base = *clock > CLOCK_HALF ? *clock : CLOCK_HALF;

	if (t == UINT64_MAX || (t >= base && t - base >= CLOCK_STEP))
		return false;
	if (t >= *clock)
		*clock = t + 1;
	return true;
}

/*
 * A clock hears another clock. One that is too far ahead is followed for half a step, so that who joins a pool that
 * was driven far gets to it, and those that stand where we stood still hear us.
 */
static inline void
clock_follow(uint64_t *clock, uint64_t t)
{
	uint64_t base = *clock > CLOCK_HALF ? *clock : CLOCK_HALF;

	if (!clock_hear(clock, t) && base < UINT64_MAX - CLOCK_STEP)
		*clock = base + CLOCK_STEP / 2;
}

/* One that cannot be stepped on stays. */
static inline uint64_t
clock_stamp(uint64_t *clock)
{
	uint64_t t = *clock;

	*clock += t < UINT64_MAX;
	return t;
}

static inline bool
name_ok(struct str name)
{
	return name.len > 0 && name.len <= WIRE_NAME_MAX;
}

/* serf.c */
uint64_t serf_now(const struct serf *s);
void serf_set_now(struct serf *s, uint64_t now);
uint64_t serf_hash(const struct serf *s, struct str a, struct str b);
struct str serf_own_name(const struct serf *s);
bool serf_is_self(const struct serf *s, const struct member *m);
/* Gossip a message, type byte first; what cannot be is counted. */
void serf_gossip(struct serf *s, struct queue *q, struct str message, void *arg);
int MUST_CHECK serf_gossip_new(struct queue *q, uint8_t type, const struct record *rec, const void *msg, void *arg);
void serf_changed(struct serf *s, enum serf_change what, const struct member *m);
/* A Serf message as a datagram of its own. */
void serf_send(struct serf *s, const struct gossip_addr *to, struct str message);
/* A Serf message that has come, type byte first. */
void serf_take(struct serf *s, struct str message);

/* member.c */
void serf_member_joined(struct serf *s, struct swim_node *n);
void serf_member_gone(struct serf *s, struct swim_node *n);
void serf_member_updated(struct serf *s, struct swim_node *n);
void serf_member_forgotten(struct serf *s, struct swim_node *n);
/* Whether it is to be gossiped on. */
bool serf_member_leave_intent(struct serf *s, const struct msg_leave *m);
bool serf_member_join_intent(struct serf *s, const struct msg_join *m);
void serf_member_broadcast_join(struct serf *s);
bool serf_member_others_alive(const struct serf *s);

/* reap.c */
void serf_reap_prune_later(struct serf *s, struct member *m);
void serf_reap_erase(struct serf *s, struct member *m);
void serf_reap_advance(struct serf *s);
uint64_t serf_reap_next(const struct serf *s);
void serf_reap_release(struct serf *s);

/* event.c */
int MUST_CHECK serf_event_take(struct serf *s, const struct msg_event *m);

/* query.c */
int MUST_CHECK serf_query_take(struct serf *s, const struct msg_query *m, bool *ret_gossip);
void serf_query_relay_take(struct serf *s, struct str body);

/* filter.c */
bool serf_filter_passes(struct serf *s, const struct strs *filters);
int MUST_CHECK serf_filter_put_nodes(struct buf *out, const struct strs *nodes);
int MUST_CHECK serf_filter_put_tag(struct buf *out, struct str tag, struct str expr);

/* builtin.c: the queries that Serf itself answers */
bool serf_builtin_is(struct str name);
void serf_builtin_answer(struct serf *s, const struct serf_query *q, struct str name, struct str payload);

/* ask.c */
void serf_ask_response(struct serf *s, const struct msg_response *m);
int MUST_CHECK serf_ask_own_response(struct serf *s, const struct msg_response *m);
void serf_ask_advance(struct serf *s);
uint64_t serf_ask_next(const struct serf *s);
void serf_ask_release(struct serf *s);

/* conflict.c */
void serf_conflict_vote(struct serf *s);

/* state.c */
void serf_state_local(struct serf *s, struct buf *out);
void serf_state_remote(struct serf *s, bool join, struct str state);

/* leave.c */
void serf_leave_dropped(void *ctx, void *arg, bool finished);
void serf_leave_advance(struct serf *s);
uint64_t serf_leave_next(const struct serf *s);

/* snapshot.c */
void serf_snapshot_changed(struct serf *s, enum serf_change what, const struct member *m);
void serf_snapshot_advance(struct serf *s);
uint64_t serf_snapshot_next(const struct serf *s);
void serf_snapshot_left(struct serf *s);

#endif
