/*
 * serf.h - Serf above one SWIM pool, pure like it: Lamport clocks, join and
 * leave intents, tags, user events, queries with relays and acks, reaping and
 * reconnecting, coordinates, and the lines of the snapshot file
 * (shared/spec/gossip-protocol.md section 5).
 *
 * A struct serf owns its struct swim and fills swim's hooks; the network
 * hooks go through to the shell.
 */
#ifndef GOSSIPD_SERF_SERF_H
#define GOSSIPD_SERF_SERF_H

#include "gossipd/serf/coord.h"
#include "gossipd/swim/swim.h"

/* As Consul's API numbers them (lib/records.h, enum member_status). */
enum serf_status { SERF_NONE, SERF_ALIVE, SERF_LEAVING, SERF_LEFT, SERF_FAILED };

struct serf_config {
	uint64_t reconnect_timeout_ms;	/* failed members are erased after; 72 h */
	uint64_t tombstone_timeout_ms;	/* left ones; 24 h */
	uint32_t reap_ms, reconnect_ms;	/* 15 s, 30 s */
	uint32_t broadcast_timeout_ms;	/* an intent's: 5 s */
	uint32_t leave_propagate_ms;	/* stay up after that: 3 s as Consul, 1 s as serf */
	uint32_t recent_intent_ms;	/* 5 min */
	size_t event_max;		/* bytes of name and payload, and of the encoded form: 512 */
	size_t query_max, response_max;	/* 1024 */
	size_t queue_max;		/* 4096; the limit is max(queue_max, 2 * members) */
	bool coordinates;
	bool rejoin_after_leave;
	bool resolve_conflicts;		/* Consul: off */
};
void serf_config_consul(struct serf_config *c);
void serf_config_serf(struct serf_config *c);

struct serf;

/* A member. Its node can be read until the next call that may change the pool, even where SWIM has dropped its entry and swim_find() finds nothing. */
struct serf_member {
	struct swim_node *node;		/* name, address, Meta, versions */
	enum serf_status status;
	uint64_t status_ltime;
	uint64_t gone_at;		/* when it failed or left; 0: it has not */
};

/* UPDATE: other tags, or a leaving one that stays after all. REAP: it is about to be erased (its status tells what it was). */
enum serf_change { SERF_CHANGE_JOIN, SERF_CHANGE_UPDATE, SERF_CHANGE_LEAVING, SERF_CHANGE_LEAVE, SERF_CHANGE_FAILED, SERF_CHANGE_REAP };

/* A query of somebody else's that passed its filters: answer it with serf_respond() while the hook runs, or later with a copy of this. */
struct serf_query {
	uint64_t ltime;
	uint32_t id;
	struct gossip_addr from;
	char source[WIRE_NAME_MAX];
	unsigned relay_factor;
	bool no_broadcast;
	uint64_t deadline;
};

struct serf_hooks {
	void *ctx;
	uint32_t (*random)(void *ctx);

	/* ---- the network: as in swim_hooks */
	void (*send)(void *ctx, const struct gossip_addr *to, struct str plain, bool crc);
	void (*stream_ping)(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline);
	/* join: with Join (reconnecting). */
	void (*exchange)(void *ctx, const struct gossip_addr *to, struct str name, bool join);

	/* ---- above; each may be NULL, and may call what is not marked (no re-entry) and changes no member */
	void (*changed)(void *ctx, enum serf_change what, const struct serf_member *m);
	void (*event)(void *ctx, uint64_t ltime, struct str name, struct str payload, bool coalesce);
	/* Not the internal ones. */
	void (*query)(void *ctx, const struct serf_query *q, struct str name, struct str payload);
	bool (*admit)(void *ctx, const struct msg_alive *m);
	int (*admit_all)(void *ctx, const struct msg_alive *rows, size_t n, char err[256]);
	void (*conflict)(void *ctx, const struct swim_node *known, const struct msg_alive *other);
	/* The vote about our own name went against us: Serf's agent stops. */
	void (*conflict_lost)(void *ctx);
	/*
	 * A _serf_ key query: do it (and save), say how it went. op: "install-key", "use-key", "remove-key", "list-keys"; key raw, empty for list.
	 * reply's strings last until the next call. NULL hook: answered "not supported".
	 */
	void (*key)(void *ctx, const char *op, struct str key, struct msg_key_response *reply);
	/* One line (no newline) to be appended to the snapshot file. */
	void (*snapshot)(void *ctx, struct str line);
	/* Our leave: the whole of it is done (intent, dead, propagate delay). */
	void (*left)(void *ctx);
};

enum {
	SERF_RING = 512,		/* LTimes remembered of events, and of queries */
	SERF_SLOT_MAX = 128,		/* events, or queries, of one LTime; more are refused */
	SERF_RING_BYTES_MAX = 1024 * 1024,	/* content of events kept for push/pulls; older ones are known by their hash alone */
	SERF_EVENT_SANE_MAX = 9216,	/* bytes of name and payload, whatever the config */
	SERF_ASKS_MAX = 256,		/* queries of ours that run */
	SERF_INTENTS_MAX = 1024,	/* recent intents of members that we do not know */
	SERF_FILTERS_MAX = 64,		/* of one query */
	SERF_EXPRESSIONS_MAX = 128,	/* regular expressions of filters a second: one may take milliseconds, and a packet holds thousands */
	SERF_RELAY_MAX = 10,		/* members that one answer is relayed by */
	SERF_OWN_ANSWERS_MAX = 64,	/* our answers to our own queries, on their way */
	SERF_ERASE_MAX = 256,		/* prunes that wait */
	SERF_PREVIOUS_MAX = 65536,	/* members read from a snapshot file */
};

/*
 * swim's hooks are filled by Serf; datagrams and streams go to the functions of swim.h. Nothing is called yet: our own member's
 * SERF_CHANGE_JOIN comes with the first serf_advance(). NULL without memory.
 */
struct serf *serf_new(const struct serf_config *c, const struct swim_config *sc, const struct serf_hooks *h, struct swim_names *names,
    uint64_t now);
/* Queries that run are told nothing. */
void serf_free(struct serf *s);
struct swim *serf_swim(struct serf *s);

/* What is due, swim's included; returns when to call again, also after anything else that was called. (no re-entry) */
uint64_t serf_advance(struct serf *s, uint64_t now);
uint64_t serf_next(const struct serf *s);

/* ---- joining. ignore_old: events from before are not delivered. After a push/pull with Join was merged: tell the pool. */
void serf_joined(struct serf *s, uint64_t now);
void serf_ignore_old_events(struct serf *s, bool on);	/* while such a join's push/pull is merged */

/* ---- leaving: hooks.left follows. -EALREADY. (no re-entry) */
int MUST_CHECK serf_leave(struct serf *s, uint64_t now);
/* A failed member has left (force-leave). prune: erase it at once. -ENOENT: no member of that name; -EINVAL: it is us. (no re-entry) */
int MUST_CHECK serf_force_leave(struct serf *s, uint64_t now, struct str name, bool prune);
enum serf_status serf_own_status(const struct serf *s);

/* ---- members, in no order; ours too. Those that left stay until they are reaped. */
size_t serf_count(const struct serf *s, enum serf_status status);	/* SERF_NONE: all */
bool serf_each(struct serf *s, size_t *at, struct serf_member *ret);	/* *at 0 first; false at the end */
bool serf_find(struct serf *s, struct str name, struct serf_member *ret);

/* Other tags of ours. -ELIMIT above 512 bytes, -ENOMEM, -EALREADY while leaving. (no re-entry) */
int MUST_CHECK serf_set_tags(struct serf *s, uint64_t now, const struct strmap *tags);

/* ---- events and queries */
/* -ELIMIT too long (config.event_max: Consul's text "user event exceeds configured limit of 512 bytes before encoding"), -ENOMEM. Our own hook hears it too. */
int MUST_CHECK serf_event(struct serf *s, uint64_t now, struct str name, struct str payload, bool coalesce, char err[256]);

struct serf_ask {
	struct str name, payload;
	struct strs nodes;		/* filter; none: all */
	struct str tag, tag_expr;	/* filter; tag "": none */
	bool want_ack;
	unsigned relay_factor;
	uint64_t timeout_ms;		/* 0: the default (16 * gossip interval * ceil(log10(n + 1))) */
	/* from: the member; ack true: an ack, payload empty. Duplicates were dropped. from "" : it is over (timeout, or serf_ask_end()). */
	void (*answer)(void *ctx, struct str from, bool ack, struct str payload);
	void *ctx;
};
/* Its number, or 0 with a negative in *ret_rc (-ELIMIT, -ENOMEM). */
uint64_t serf_ask(struct serf *s, uint64_t now, const struct serf_ask *q, int *ret_rc);
void serf_ask_end(struct serf *s, uint64_t number);
size_t serf_asked_of(const struct serf *s);	/* members that may answer: alive ones */
/* Answer a query, once. -ELIMIT: too long, -ETIMEDOUT: late. */
int MUST_CHECK serf_respond(struct serf *s, uint64_t now, const struct serf_query *q, struct str payload);

/* ---- coordinates */
const struct coord *serf_coordinate(const struct serf *s);
/* Of a member, as its last ack told; false: unknown. */
bool serf_coordinate_of(struct serf *s, struct str name, struct coord *ret);

/* ---- the snapshot file */
struct serf_previous {			/* what was read */
	struct { char name[WIRE_NAME_MAX]; struct gossip_addr addr; } *alive;
	size_t n, cap;
	uint64_t clock, event_clock, query_clock;
	bool left;
};
/*
 * Read a whole file; a damaged line is passed over (and counted in *ret_bad), also a last one that does not end. rejoin: "leave" does not
 * clear. -ENOMEM; ret is empty then.
 */
int MUST_CHECK serf_snapshot_read(struct str text, bool rejoin, struct serf_previous *ret, size_t *ret_bad);
void serf_previous_release(struct serf_previous *p);
/* Take the clocks up, before anything else. */
void serf_resume(struct serf *s, const struct serf_previous *p);
/* The whole file anew, for its rewriting. */
int MUST_CHECK serf_snapshot_write(struct serf *s, struct buf *out);

/* ---- for info and metrics */
struct serf_stats {
	uint64_t clock, event_clock, query_clock;
	size_t intent_queue, event_queue, query_queue;
	uint64_t events, queries;	/* new ones, ours too */
	uint64_t responses, late_responses, duplicate_responses;
	uint64_t refused;		/* well-formed, and against a limit or a rule */
	uint64_t malformed;
	uint64_t dropped;		/* for want of memory or room */
	uint64_t coordinate_resets;
};
void serf_get_stats(const struct serf *s, struct serf_stats *ret);

#endif
