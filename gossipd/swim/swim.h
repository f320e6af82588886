/*
 * swim.h - membership of one pool: SWIM with Lifeguard as memberlist has it,
 * as a pure state machine: no socket, no clock, no file. What happens comes in
 * by the functions below with the time of their call; what is to be done goes out by the
 * hooks. (Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar et al., "Lifeguard",
 * 2018; facts of the wire and every formula: shared/spec/gossip-protocol.md section 4.)
 *
 * Times are nanoseconds of one steady clock. Hooks must not call back into the
 * functions marked (no re-entry), neither of their own pool nor of another one that
 * shares its swim_names; the others may be called from hooks.
 *
 * What has arrived should be given in before swim_advance(): an ack that waited in a
 * socket while we did not run is then seen before its deadline is.
 */
#ifndef GOSSIPD_SWIM_SWIM_H
#define GOSSIPD_SWIM_SWIM_H

#include "gossipd/wire/wire.h"

enum swim_state { SWIM_ALIVE = 0, SWIM_SUSPECT = 1, SWIM_DEAD = 2, SWIM_LEFT = 3 };

/* 4.7; all *_ms in milliseconds. */
struct swim_config {
	struct str name;		/* copied, like all strings here */
	struct gossip_addr addr;	/* that is advertised */
	struct str meta;
	uint8_t vsn[WIRE_VSN];
	uint32_t probe_interval_ms, probe_timeout_ms;
	unsigned indirect_checks;
	unsigned retransmit_mult, suspicion_mult, suspicion_max_mult;
	uint32_t push_pull_ms;		/* 0: never */
	uint32_t gossip_ms;
	unsigned gossip_nodes;
	uint32_t gossip_to_dead_ms, reclaim_ms;
	unsigned awareness_max;		/* 8: the score is 0 .. 7 */
	bool stream_pings;		/* a probe falls back to a ping over TCP */
	size_t packet_max;		/* 1400 */
	size_t overhead;		/* of label and seal */
	size_t nodes_max;		/* entries of the table; more are dropped and counted */
};
/* The columns of table 4.7. wan: its differences. Names, addresses and the like stay empty. */
void swim_config_lan(struct swim_config *c);
void swim_config_wan(struct swim_config *c);
void swim_config_local(struct swim_config *c);

/* What is known of a member. 40 bytes each and 10 to 16 in tables, besides name, meta and address, which equal members of several pools share. */
struct swim_node;
struct str swim_node_name(const struct swim_node *n);
struct str swim_node_meta(const struct swim_node *n);
const struct gossip_addr *swim_node_addr(const struct swim_node *n);
const uint8_t *swim_node_vsn(const struct swim_node *n);	/* WIRE_VSN bytes; zeros when it did not tell */
enum swim_state swim_node_state(const struct swim_node *n);
uint32_t swim_node_incarnation(const struct swim_node *n);
uint64_t swim_node_since(const struct swim_node *n);		/* when the state began */
/* A word for the layer above: NULL at first. */
void **swim_node_user(struct swim_node *n);
/*
 * From the forgotten hook: the entry leaves its table all the same, but n can be read until swim_drop(). So the layer above
 * keeps a member that failed longer than we do. Should it come back, it gets another entry (joined).
 */
struct swim;
void swim_keep(struct swim_node *n);
void swim_drop(struct swim *s, struct swim_node *n);

/*
 * Names, metas and addresses that several pools may share: the simulator's ten thousand members know ten
 * thousand members each. A pool without one makes its own.
 */
struct swim_names;
struct swim_names *swim_names_new(void);
void swim_names_free(struct swim_names *s);

struct swim_hooks {
	void *ctx;
	uint32_t (*random)(void *ctx);		/* uniform, 32 bits */

	/* ---- the network; nothing is promised of any of it */
	/* A datagram: one message or a compound, not yet wrapped; it lasts during the call. crc: the target is known to understand it and it is due (2.1). */
	void (*send)(void *ctx, const struct gossip_addr *to, struct str plain, bool crc);
	/* A ping over TCP; when it is answered before the deadline: swim_stream_acked(). */
	void (*stream_ping)(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline);
	/* A push/pull without Join: swim_put_state() out, swim_merge() with what comes back. */
	void (*exchange)(void *ctx, const struct gossip_addr *to, struct str name);

	/* ---- the layer above (each may be NULL) */
	void (*joined)(void *ctx, struct swim_node *n);		/* alive, and it was not in the table, or dead or left */
	void (*gone)(void *ctx, struct swim_node *n);		/* dead or left */
	void (*updated)(void *ctx, struct swim_node *n);	/* its Meta changed */
	void (*forgotten)(void *ctx, struct swim_node *n);	/* its entry is about to be dropped: gone for long */
	/* known has this name, other claims it at another address. */
	void (*conflict)(void *ctx, const struct swim_node *known, const struct msg_alive *other);
	/* May this member be in our pool? Each alive message and row that is not about us. False: it is dropped (and counted). */
	bool (*admit)(void *ctx, const struct msg_alive *m);
	/* May these? A push/pull with Join, all rows. Negative with a sentence: the whole is refused. */
	int (*admit_all)(void *ctx, const struct msg_alive *rows, size_t n, char err[256]);
	/* A user message: a Serf message, type byte first. */
	void (*user)(void *ctx, struct str message);
	/* What our acks carry; valid until the next call. */
	struct str (*ack_payload)(void *ctx);
	/* A ping of ours was answered directly, by UDP. */
	void (*acked)(void *ctx, struct swim_node *n, uint64_t rtt_ns, struct str payload);
	/* Fill a packet: give take Serf messages, type byte first, that fit into room bytes, each costing overhead more. */
	void (*broadcasts)(void *ctx, size_t overhead, size_t room, void (*take)(void *arg, struct str message), void *arg);
	/* Whether broadcasts has anything now. With it a pool that has nothing to say sleeps; NULL: it is asked each gossip interval. */
	bool (*pending)(void *ctx);
	/* The user state of a push/pull, appended; and a peer's. */
	void (*local_state)(void *ctx, bool join, struct buf *out);
	void (*remote_state)(void *ctx, bool join, struct str state);
};

/*
 * now: of the first tick; timers start with a random stagger. names may be NULL. NULL without memory, or when the config's own name,
 * Meta or address is out of bounds. Our own entry is there at once, alive; no hook but random is called in here.
 */
struct swim *swim_new(const struct swim_config *c, const struct swim_hooks *h, struct swim_names *names, uint64_t now);
void swim_free(struct swim *s);

/* Take the incarnation up from an earlier life, before anything else (0: none). */
void swim_set_incarnation(struct swim *s, uint32_t incarnation);

/* Run what is due at now; returns when to call again, also after anything else that was called (UINT64_MAX: never). (no re-entry) */
uint64_t swim_advance(struct swim *s, uint64_t now);
uint64_t swim_next(const struct swim *s);
/* The latest time that any function here was given: hooks have no other clock. */
uint64_t swim_now(const struct swim *s);

/* A message of a datagram that came from this address. (no re-entry) */
void swim_message(struct swim *s, uint64_t now, const struct gossip_addr *from, uint8_t type, struct str body);
/* A stream ping was answered. (no re-entry) */
void swim_stream_acked(struct swim *s, uint64_t now, uint32_t seqno);

/* Append a whole plain push/pull of ours. -ENOMEM, -ELIMIT. */
int MUST_CHECK swim_put_state(struct swim *s, bool join, struct buf *out);
/*
 * A peer's, asked or answered. Checked whole first (versions, admit_all when join): -EINVAL with a sentence, nothing is
 * merged then. (no re-entry)
 */
int MUST_CHECK swim_merge(struct swim *s, uint64_t now, const struct msg_alive *rows, size_t n, struct str user_state, bool join,
    char err[256]);

/*
 * Put a member into the table as alive without telling anyone: hooks.joined is called, nothing is gossiped. For who begins with a
 * pool that is there already (the simulator). -ENOMEM, -ELIMIT, -EINVAL.
 */
int MUST_CHECK swim_preload(struct swim *s, uint64_t now, const struct msg_alive *m);

/* Another Meta of ours: told with a new incarnation, to the updated hook too. -ELIMIT above WIRE_META_MAX, -ENOMEM, -EALREADY while leaving. */
int MUST_CHECK swim_set_meta(struct swim *s, uint64_t now, struct str meta);

/* Say that we leave: accusations are not refuted any more, and a dead message about us by us goes out. -EALREADY, -ENOMEM (then nothing has changed). */
int MUST_CHECK swim_leave(struct swim *s, uint64_t now);
/* Whether that has been sent its full number of times, or nobody else is alive. */
bool swim_left(const struct swim *s);

/* Iterate: NULL first, NULL at the end; the order is that of the probe list. Our own entry is there too. */
struct swim_node *swim_each(struct swim *s, struct swim_node *after);
struct swim_node *swim_find(struct swim *s, struct str name);
struct swim_node *swim_self(struct swim *s);
size_t swim_count(const struct swim *s);	/* entries, dead and left ones included: n of the formulas */
size_t swim_alive(const struct swim *s);	/* alive or suspect, ourselves included */
unsigned swim_health(const struct swim *s);	/* awareness score, 0 is healthy */
unsigned swim_limit(const struct swim *s);	/* how often a broadcast is sent now */
bool swim_leaving(const struct swim *s);
void swim_set_overhead(struct swim *s, size_t overhead);	/* keys came or went */
size_t swim_user_max(const struct swim *s);	/* bytes of the longest Serf message that gossip has room for */
/* n random members for which pick says yes (self never). Returns how many. */
size_t swim_random(struct swim *s, struct swim_node **ret, size_t n, bool (*pick)(const struct swim_node *n));

struct swim_stats {
	uint64_t probes, probes_failed;		/* of ours; failed: no answer by UDP, whoever asked */
	uint64_t indirect;			/* pings that we sent for others */
	uint64_t nacks;				/* that we got */
	uint64_t suspected, refuted, confirmed, declared_dead;	/* by our own timers or probes; declared_dead also by messages */
	uint64_t dropped_messages;		/* for want of memory or room in a table */
	uint64_t refused_members;		/* by admit and admit_all */
	uint64_t malformed;			/* cannot be read, or against the rules */
};
const struct swim_stats *swim_stats(const struct swim *s);

/* Lifeguard's suspicion (4.2): milliseconds with c confirmations. Pure, for tests and the simulator's formulas. */
uint64_t swim_suspicion_ms(unsigned mult, unsigned max_mult, uint32_t probe_interval_ms, size_t n, unsigned confirmations);
/* 4.5 */
uint32_t swim_push_pull_ms(uint32_t interval_ms, size_t n);

#endif
