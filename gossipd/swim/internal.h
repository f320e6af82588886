/*
 * internal.h - what the files of this folder share.
 *
 * Invariants: a node is in the table iff it is in the hash and in the list, and list[node->pos] is its slot; a
 * node has a suspicion iff its state is suspect; a timer is in the heap iff its pos is not 0.
 */
#ifndef GOSSIPD_SWIM_INTERNAL_H
#define GOSSIPD_SWIM_INTERNAL_H

#include <assert.h>
#include <stdlib.h>

#include "gossipd/swim/queue.h"
#include "gossipd/swim/swim.h"
#include "gossipd/wire/packet.h"
#include "lib/arena.h"

enum {
	NODES_A_CHUNK = 32,
	PICK_MAX = 32,			/* targets of one gossip tick, helpers of one probe */
	PARTS_MAX = 255,		/* messages of one compound */
	HELPING_MAX = 256,		/* pings that we send for others at a time */
	CONFIRMERS_MAX = 62,		/* confirmations that one suspicion can use */
	FIXED_TIMERS = 4,		/* all but those of suspicions */
	ARENA_MAX = 4096,
};
#define INCARNATION_MAX (UINT32_MAX - 1)	/* the highest that can still be refuted */
#define MS 1000000u				/* ns */

/* ---- names.c: identities, shared by all pools of one struct swim_names */

struct ident {
	struct ident *next;		/* chain of its bucket */
	uint32_t hash, name_hash;
	uint32_t refs;
	struct gossip_addr addr;
	uint8_t vsn[WIRE_VSN];
	uint16_t name_len, meta_len;
	char bytes[];			/* name, Meta */
};

struct swim_names {
	struct ident **buckets;
	size_t nbuckets, n;
	uint32_t seed;			/* of the hashes, so that nobody can choose names that collide */
	bool seeded;
	struct buf message;		/* scratch: one message that is put into a queue */
	struct buf parts, packet;	/* scratch: the messages of a packet, and the packet */
	struct arena arena;		/* scratch: of the message that is read */
};

uint32_t names_hash(const struct swim_names *s, struct str name);
/* What has these, with one reference more. NULL without memory. */
struct ident *names_get(struct swim_names *s, struct str name, struct str meta, const struct gossip_addr *addr, const uint8_t vsn[WIRE_VSN]);
void names_put(struct swim_names *s, struct ident *i);

static inline struct str
ident_name(const struct ident *i)
{
	return (struct str){ i->bytes, i->name_len };
}

static inline struct str
ident_meta(const struct ident *i)
{
	return (struct str){ i->bytes + i->name_len, i->meta_len };
}

/* ---- timers.c: a heap */

enum timer_kind { TIMER_PROBE, TIMER_ANSWER, TIMER_EXCHANGE, TIMER_HELP, TIMER_SUSPICION };

struct timer {
	uint64_t at;
	uint32_t pos;			/* in the heap, from 1; 0: not armed */
	uint8_t kind;
};

struct timers {
	struct timer **v;		/* from 1 */
	size_t n, cap;
};

/* Room for n armed ones: timers_arm() cannot fail then. */
int MUST_CHECK timers_reserve(struct timers *t, size_t n);
void timers_arm(struct timers *t, struct timer *i, uint64_t at);	/* also again, for another time */
void timers_disarm(struct timers *t, struct timer *i);
/* The next, or NULL. */
struct timer *timers_first(const struct timers *t);

/* ---- the state */

struct suspicion {
	struct timer timer;
	struct swim_node *node;
	uint64_t started;
	size_t n;			/* entries of the table when it began */
	unsigned k, confirmed;		/* confirmations that count, and that came */
	uint64_t from[];		/* hashes of who accused: k + 1 */
};

struct swim_node {
	struct ident *id;		/* NULL: a slot that is free */
	void *user;
	union {
		uint64_t since;
		struct suspicion *suspicion;	/* of a suspect, which knows since when */
	};
	uint32_t incarnation;
	uint32_t pos;			/* in the list; of a free slot the next such; of a kept one its slot */
	uint8_t state;
	bool keep, kept;		/* it was asked for; it is out of the table */
};

struct table {
	struct swim_node **chunks;	/* slot i is chunks[i / NODES_A_CHUNK][i % NODES_A_CHUNK] */
	size_t nchunks;
	uint32_t free;			/* slot + 1 */
	uint32_t *list;			/* slots, in the order of probing */
	size_t n, cap;
	uint32_t *hash;			/* by name, linear probing: slot + 1 and bits of the hash */
	size_t nhash;
	size_t nalive;			/* alive and suspect ones */
	size_t nsuspicions;
};

enum probe_stage { PROBE_IDLE, PROBE_DIRECT, PROBE_INDIRECT };

struct probe {
	enum probe_stage stage;
	struct swim_node *node;
	uint32_t seqno, incarnation;
	uint64_t sent, deadline;
	unsigned nacks_wanted, nacks;
	bool by_stream;			/* the ping over TCP was answered */
	bool late;			/* a tick came while it ran: the next one starts at its end */
	size_t at;			/* of the list: the next to probe */
	uint64_t tick;			/* the last one */
};

/* A ping that we sent for somebody. */
struct help {
	struct gossip_addr to;
	uint32_t seqno, theirs;		/* of our ping, and the one to answer */
	uint64_t nack_at, deadline;
	bool nack, done;
};

/* All times are equally far away when an entry is made: a ring is in their order. */
struct helping {
	struct help *v;
	size_t first, n, cap;
	size_t told;			/* of the first ones: their time for a nack has come */
};

struct swim {
	struct swim_config c;		/* name and meta are empty: they are those of our entry */
	struct swim_hooks h;
	struct swim_names *names, *own_names;
	struct table table;
	struct timers timers;
	struct timer probe_timer, answer_timer, exchange_timer, help_timer;
	uint64_t gossip_at;		/* no tick before */
	struct probe probe;
	struct helping helping;
	struct queue *queue;
	struct swim_node *self;
	uint64_t now;			/* the latest that we were given */
	uint32_t seqno;
	unsigned health;
	bool leaving, leave_sent;
	struct swim_stats stats;
};

/* Below n, which is not 0. */
static inline uint32_t
random_below(struct swim *s, uint32_t n)
{
	return (uint32_t)((uint64_t)s->h.random(s->h.ctx) * n >> 32);
}

/* ---- table.c */
struct swim_node *table_node(const struct swim *s, size_t pos);
struct swim_node *table_find(const struct swim *s, struct str name);
/* A dead one of that identity, whose reference it takes on success. NULL: no memory, or nodes_max. */
struct swim_node *table_add(struct swim *s, uint64_t now, struct ident *id);
/* Another state, and since when; hooks are the caller's affair. */
void node_set_state(struct swim *s, uint64_t now, struct swim_node *n, enum swim_state state);
/* The end of the list: drop what has been gone for long, and shuffle. */
void table_wrap(struct swim *s, uint64_t now);
void table_release(struct swim *s);

static inline bool
node_gone(const struct swim_node *n)
{
	return n->state == SWIM_DEAD || n->state == SWIM_LEFT;
}

/* ---- pick.c: random members */
struct pick {
	const struct swim *s;
	uint64_t now;
	const struct swim_node *not;
};
/* At most PICK_MAX. */
size_t pick_random(struct swim *s, struct swim_node **ret, size_t n, bool (*good)(const void *ctx, const struct swim_node *n), const void *ctx);
bool pick_alive(const void *pick, const struct swim_node *n);

/* ---- suspect.c */
/* n becomes suspect. -ENOMEM: it stays as it is. */
int MUST_CHECK suspicion_start(struct swim *s, uint64_t now, struct swim_node *n, struct str from);
/* Whether this accuser was new and counts. */
bool suspicion_confirm(struct swim *s, struct swim_node *n, struct str from);
/* n is not suspect any more; its state is the caller's to set. */
void suspicion_end(struct swim *s, struct swim_node *n);
void suspicion_fire(struct swim *s, uint64_t now, struct timer *t);

/* ---- rules.c */
void rule_alive(struct swim *s, uint64_t now, const struct msg_alive *m);
void rule_suspect(struct swim *s, uint64_t now, const struct msg_accuse *m);
void rule_dead(struct swim *s, uint64_t now, const struct msg_accuse *m);
/* Queue an alive message about n. */
void tell_alive(struct swim *s, const struct swim_node *n);
void health_add(struct swim *s, int delta);

/* ---- probe.c */
void probe_tick(struct swim *s, uint64_t now);
void probe_wake(struct swim *s, uint64_t now);	/* there is somebody to probe */
void probe_overdue(struct swim *s, uint64_t now);
/* Whether the answer was to our own probe. */
bool probe_ack(struct swim *s, uint64_t now, const struct msg_ack *m);
void probe_nack(struct swim *s, const struct msg_nack *m);
void probe_stream_ack(struct swim *s, uint32_t seqno);
struct msg_ping ping_of(const struct swim *s, uint32_t seqno, struct str node);

/* ---- help.c */
void answer_ping(struct swim *s, const struct gossip_addr *from, const struct msg_ping *m);
void help_ask(struct swim *s, uint64_t now, const struct gossip_addr *from, const struct msg_indirect *m);
void help_ack(struct swim *s, const struct msg_ack *m);
void help_overdue(struct swim *s, uint64_t now);

/* ---- gossip.c */
/* One message, with what else fits. */
void swim_send_message(struct swim *s, const struct gossip_addr *to, uint8_t type, const struct record *rec, const void *msg);
/* Two messages to n and nothing else. */
void swim_send_pair(struct swim *s, const struct swim_node *n, const struct msg_ping *ping, const struct msg_accuse *suspect);
bool gossip_wanted(const struct swim *s);
void gossip_tick(struct swim *s, uint64_t now);

/* ---- exchange.c */
void exchange_tick(struct swim *s, uint64_t now);

#endif
