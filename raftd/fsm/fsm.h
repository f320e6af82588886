/*
 * fsm.h - the replicated state: in memory, pure and deterministic.
 *
 * The state changes only by fsm_apply(), in log order, and depends on
 * nothing but the entries: no clock, no random number, no locale, no hash
 * order. Time is cluster time, which entries carry. Reads never change it.
 *
 * apply() reports each changed record, encoded, for the image on disk, and
 * each watch key touched, for waiting readers.
 */
#ifndef RAFTD_FSM_FSM_H
#define RAFTD_FSM_FSM_H

#include "lib/ops.h"
#include "raftd/acl/authz.h"

struct fsm;

/* Tables of the image, one btree each. Numbers are on disk: never reused. */
enum fsm_table {
	FSM_META = 0,		/* applied index, table indexes, cluster time: few small records */
	FSM_KV = 1,
	FSM_TOMBSTONE = 2,
	FSM_SESSION = 3,
	FSM_NODE = 4,
	FSM_SERVICE = 5,
	FSM_CHECK = 6,
	FSM_ORIGIN = 7,		/* recent results of each writing process */
	FSM_LOCK_DELAY = 8,
	FSM_OPAQUE = 9,		/* records of a Consul snapshot of kinds that we do not implement: kind byte, key; kept word for word */
	FSM_AUTOPILOT = 10,	/* its configuration, 0 or 1 */
	FSM_COORDINATE = 11,	/* key: node, NUL, segment in lower case */
	FSM_ACL_TOKEN = 12,	/* key: accessor */
	FSM_ACL_POLICY = 13,	/* key: ID */
	FSM_ACL_ROLE = 14,	/* key: ID */
	FSM_ACL_METHOD = 15,	/* key: name */
	FSM_ACL_BINDING = 16,	/* key: ID */
	FSM_QUERY = 17,		/* prepared queries; key: ID */
	FSM_KV_TTL = 18,	/* deadlines of keys with a TTL; key: the KV key */
	FSM_TABLES
};

/* What a log entry asks for; on disk and between servers: never reused. */
enum fsm_entry_kind {
	FSM_ENTRY_NOOP = 0,	/* a new leader's first entry */
	FSM_ENTRY_OP = 1,	/* a WRITE operation of ops.def */
	FSM_ENTRY_TICK = 2,	/* the leader's housekeeping: struct fsm_tick */
	FSM_ENTRY_RESTORE = 3,	/* a part of a state that replaces the whole: struct fsm_restore */
	FSM_ENTRY_COORDINATES = 4,	/* where nodes lie now: struct fsm_coordinates */
};

/*
 * A restore goes through the log in parts, so that it is replicated, ordered
 * and atomic like everything else: BEGIN, DATA, ..., END. What DATA brings is
 * staged beside the state; END puts it in its place. A NOOP entry (a new
 * leader's), another BEGIN, or a part that does not follow drops what is
 * staged, the same on every server. Writes between BEGIN and END are lost
 * with the old state: the leader holds them back.
 *
 * Indexes never go back: END raises the distance between indexes of the API
 * and of the log so that the new state's index is above both the old one's
 * and the snapshot's (and every index in it).
 *
 * The new state keeps the results of writing processes, the Raft configuration
 * and cluster time; sessions get their full TTL again; no key is under a lock delay.
 *
 * What is staged is not in fsm_dump(): while fsm_restoring(), no image and no
 * snapshot of this state may be taken for that of its fsm_applied(). The image
 * stays behind BEGIN (fsm_flush() is not called), so that a restart applies all parts again.
 */
enum fsm_restore_part { FSM_RESTORE_BEGIN = 1, FSM_RESTORE_DATA = 2, FSM_RESTORE_END = 3, FSM_RESTORE_DROP = 4 };

struct fsm_restore {
	uint64_t part;		/* enum fsm_restore_part */
	struct str id;		/* 16 bytes: the same in all parts */
	uint64_t number;	/* DATA: from 1; END: how many there were */
	uint64_t index;		/* BEGIN: of the snapshot */
	/*
	 * DATA: whole records, each u8 table, u32 key length, u32 value length, key, value (big-endian), as
	 * archive_load() tells them. Of META only the tables' and the services' indexes are taken; origins and lock delays are passed over.
	 */
	struct str records;
};
extern const struct record rec_fsm_restore;

struct fsm_tick {
	struct strs renew;		/* sessions renewed since the last tick */
	struct strs expire;		/* sessions whose deadline has passed: checked again when applied */
	uint64_t reap_tombstones;	/* drop tombstones of this index and below */
	struct strs expire_keys;	/* keys whose TTL has passed: checked again when applied */
};
extern const struct record rec_fsm_tick;

/* Those of nodes that are not in the catalog are passed over, and so is what is no coordinate (lib/rtt.h). */
struct fsm_coordinates {
	struct records entries;		/* coordinate_entry */
};
extern const struct record rec_fsm_coordinates;

/*
 * An entry as it stands in the log, msgpack: [kind, time, op, options,
 * request]; later releases may append elements. time: ns of cluster time.
 */
struct fsm_entry {
	uint64_t kind;
	int64_t time;
	uint64_t op;		/* enum op, 0 unless FSM_ENTRY_OP */
	struct str options;	/* QueryOptions, raw (only Origin, Seq, Floor, Token are looked at) */
	struct str request;	/* raw: the operation's record, or that of the kind */
};

int MUST_CHECK fsm_entry_encode(const struct fsm_entry *e, struct buf *out);
/* Slices point into the input. -EDECODE. */
int MUST_CHECK fsm_entry_decode(struct str in, struct fsm_entry *ret);

/* ---- what changed */

enum watch_kind {
	WATCH_KV_KEY,		/* key: the KV key */
	WATCH_KV_PREFIX,	/* key: a prefix; touched as WATCH_KV_KEY, matched by watchers */
	WATCH_SERVICE,		/* key: service name, lower case */
	WATCH_SERVICES,		/* any service; key empty */
	WATCH_NODE,		/* key: node name, lower case: node, its services or checks */
	WATCH_NODES,		/* any node */
	WATCH_ADDRESS,		/* key: 16 bytes of an address at which a node or service is */
	WATCH_CHECKS,		/* any check */
	WATCH_SESSION,		/* key: session id */
	WATCH_SESSIONS,		/* any session */
	WATCH_COORDINATE,	/* key: node name, lower case */
	WATCH_COORDINATES,	/* any coordinate */
	WATCH_QUERY,		/* key: ID of a prepared query */
	WATCH_QUERIES,		/* any prepared query */
	WATCH_ACL_TOKEN,	/* key: accessor */
	WATCH_ACL_POLICY,	/* key: ID */
	WATCH_ACL_ROLE,		/* key: ID */
	WATCH_ACL_METHOD,	/* key: name */
	WATCH_ACL_BINDING,	/* key: ID */
	WATCH_ACL,		/* anything that may change what a token may do */
	WATCH_ALL,		/* the whole state was replaced; every watcher */
	WATCH_KINDS
};

struct watch_key {
	enum watch_kind kind;
	struct str key;
};

/* What the answer of a query depends on. Keys point into the query or the state, and last until the next call. */
struct watch_set {
	struct watch_key v[4];
	size_t n;
};

/* What becomes of a state that is staged beside the one in force. */
enum fsm_stage { FSM_STAGE_BEGIN, FSM_STAGE_COMMIT, FSM_STAGE_DROP };

/* Any member may be NULL. What is told is valid during the call. */
struct fsm_sink {
	void *ctx;
	/* A record now stands so (value.p != NULL) or is gone. */
	void (*changed)(void *ctx, enum fsm_table table, struct str key, struct str value);
	void (*touched)(void *ctx, const struct watch_key *key);
	/*
	 * A restore: BEGIN, then its records by staged_record (one key may be
	 * told again: the last value stands), then COMMIT (all records of the new
	 * state were told, META's and the origins' included; `changed` is not
	 * called for what is replaced; WATCH_ALL is touched after it) or DROP.
	 */
	void (*staged)(void *ctx, enum fsm_stage what);
	void (*staged_record)(void *ctx, enum fsm_table table, struct str key, struct str value);
};

/* An error that the asker is told. */
struct fsm_error {
	int code;		/* 0: none; else as in struct rpc_error */
	char text[1024];
};

/* What the state needs to know of its surroundings. fsm_apply() looks at the datacenter alone, which is the same on all servers. */
struct fsm_config {
	const char *datacenter;		/* copied */
	uint64_t txn_ops_max;		/* 64 */
	int64_t session_ttl_min;	/* ns; checked before proposing, and only then */
};

struct fsm *fsm_new(const struct fsm_config *c);
void fsm_free(struct fsm *f);

/*
 * Apply the entry of this index of the log (> fsm_applied()). Indexes that the
 * API shows are fsm_index(): the log's plus a distance that restores raise. The payload of the reply
 * is appended to `result` (untouched on an error told in ret_err). A write
 * whose stamp (origin, seq) was applied before changes nothing and gives the
 * first result again. Returns 0, or -EDECODE for an entry that cannot be
 * read, or -ENOMEM: the caller must stop, the state may be incomplete.
 */
int MUST_CHECK fsm_apply(struct fsm *f, uint64_t index, const struct fsm_entry *e, struct buf *result,
    struct fsm_error *ret_err, const struct fsm_sink *sink);

/*
 * Report what changes with every entry (index, time, table indexes, the
 * results of writing processes), once for all entries since the last call.
 * To be called before the changes reported so far are handed to the image as
 * one transaction: without these records the image does not load. sink.changed
 * may name one key several times in such a batch; the last value stands.
 * -ENOMEM.
 */
int MUST_CHECK fsm_flush(struct fsm *f, const struct fsm_sink *sink);

/*
 * Check a write before it is proposed: what can be refused at once (bad
 * arguments, unknown session, missing node ...) is told in ret_err and never
 * reaches the log. So can what the asker may not do (403). May also complete
 * the request (new ids and secrets, times): then *ret_request is the new
 * encoding in out, else the given one.
 * now: cluster time. Returns 0 also when ret_err->code is set. FSM_ANSWERED
 * is a code without a text: a transaction was refused operation by operation,
 * a registration stands so already, or a session that is to end is none; *ret_request is the payload of the reply.
 */
enum { FSM_ANSWERED = -1 };

/* A verb of kv.apply that always fails: an entry with a stamp and nothing to do but to tell what came of an earlier one. */
#define KV_REPLAY "replay"

struct fsm_fresh {
	uint8_t random[32];	/* two new ids */
	int64_t wall_ns;	/* Unix time: for what people read, and tokens that expire */
	uint64_t reset_index;	/* acl.bootstrap: what the operator wrote down, 0: nothing */
	struct str jwks;	/* acl.login: the content of the auth method's JWKSFile, if it has one */
	/* catalog.batch: who an item's token stands for, until the next call. -ENOENT: nobody; -ENOMEM. NULL: all are the asker's. */
	int (*asker)(void *ctx, struct str token, struct asker *ret);
	void *ctx;
};
int MUST_CHECK fsm_check(const struct fsm *f, uint16_t op, struct str request, int64_t now, const struct fsm_fresh *fresh,
    struct asker *who, struct buf *out, struct str *ret_request, struct fsm_error *ret_err);

/* The node's name as it is registered; the given one when there is no such node. */
struct str fsm_node_name(const struct fsm *f, struct str name);

/* Whether the asker may renew this session; else the error (403) is said. */
bool fsm_may_renew(const struct fsm *f, struct str id, struct asker *who, struct fsm_error *ret_err);

/* Whether the write of this stamp was applied: its retry gets the first result, whatever fsm_check() now says of it. */
bool fsm_seen(const struct fsm *f, struct str origin, uint64_t seq);

/* Whether txn.apply's request only reads; then fsm_query() answers it. */
bool fsm_txn_is_read(struct str request);

/*
 * Answer a READ operation: append the payload to out. request is the decoded
 * record of the row (NULL when it has none). ret_index is the result's index
 * by the rules of the API (never 0). ret_watch (may be NULL) gets the keys
 * whose touch may change it. Errors are told in ret_err. What who may not see
 * is left out (who->filtered) or refused (403), as Consul does for each.
 * since: MinIndex of the question, 0 when it does not wait (kv.changes tells what came behind it).
 */
int MUST_CHECK fsm_query(const struct fsm *f, uint16_t op, const void *request, uint64_t since, struct asker *who, struct mp_w *out,
    uint64_t *ret_index, struct watch_set *ret_watch, struct fsm_error *ret_err);

/* A read-only transaction. */
int MUST_CHECK fsm_query_txn(const struct fsm *f, const struct txn_request *req, struct asker *who, struct mp_w *out,
    uint64_t *ret_index, struct fsm_error *ret_err);

/* The payload of a transaction that writes, without the results that its asker may not see (who->filtered), appended to out. -EDECODE, -ENOMEM. */
int MUST_CHECK fsm_txn_show(struct str payload, struct asker *who, struct buf *out);

/*
 * What a secret stands for now ("" and "anonymous": the anonymous token). Points into the state and the arena. -ENOENT: no
 * such token, or it has expired; -ENOMEM.
 */
int MUST_CHECK fsm_acl_identity(const struct fsm *f, struct str secret, int64_t wall_ns, struct arena *a, struct acl_identity *ret);
/* Changes with everything that may change what any token may do. */
uint64_t fsm_acl_index(const struct fsm *f);
/* Up to max accessors (arena) of tokens that have expired, and when the next one will (Unix ns, INT64_MAX: none). */
size_t fsm_acl_expired(const struct fsm *f, int64_t wall_ns, struct str *ids, size_t max, int64_t *ret_next);
/* The JWKSFile of the auth method that an acl.login names; NULL without one. */
const char *fsm_acl_jwks_file(const struct fsm *f, struct str request);
/* The token that the prepared query of query.execute runs with instead of the asker's; empty: the asker's. Points into the state. */
struct str fsm_query_token(const struct fsm *f, const struct pq_request *q);
/* The first token of all has been made. */
bool fsm_acl_bootstrapped(const struct fsm *f);
/*
 * A record of a snapshot of Consul's (kinds 4, 17, 19, 23, 25, 27) as one of the image; the value is appended. Key in the
 * arena. -EDECODE: it is none; -ENOMEM.
 */
int MUST_CHECK fsm_acl_from_snapshot(unsigned kind, struct str value, struct arena *a, enum fsm_table *ret_table, struct str *ret_key,
    struct buf *ret_value);
/* A moment of a token as snapshots write it; what is no moment is the zero one. */
void fsm_acl_snapshot_time(struct str text, char out[15]);
/* Whether there is an initial management token to be made with this secret: the policy, the anonymous token and it are not all there. */
bool fsm_acl_needs_init(const struct fsm *f, struct str initial_management);

/* A configuration of Raft was applied (log index as for fsm_apply()); its bytes are kept in META, opaque. -ENOMEM. */
int MUST_CHECK fsm_apply_servers(struct fsm *f, uint64_t index, struct str bytes, const struct fsm_sink *sink);
/* The one in force as applied, and the log index of its entry (0 and empty: none). Valid until the next change. */
struct str fsm_servers(const struct fsm *f, uint64_t *ret_index);

/* A restore is under way: BEGIN was applied, and nothing yet that ends it. */
bool fsm_restoring(const struct fsm *f);

uint64_t fsm_applied(const struct fsm *f);	/* index in the log */
uint64_t fsm_index(const struct fsm *f);	/* of the same entry, as the API shows it */
int64_t fsm_time(const struct fsm *f);		/* cluster time of the last entry, ns */

/* The nearest session deadline in cluster time, INT64_MAX when none. */
int64_t fsm_next_deadline(const struct fsm *f);
/* Up to max ids (arena) of sessions whose deadline is at or before now. */
size_t fsm_expired(const struct fsm *f, int64_t now, struct str *ids, size_t max);
/* The same of keys with a TTL. */
int64_t fsm_next_key_deadline(const struct fsm *f);
size_t fsm_expired_keys(const struct fsm *f, int64_t now, struct str *keys, size_t max);
/* ns, 0: it has none. */
int64_t fsm_key_ttl(const struct fsm *f, struct str key);
bool fsm_has_ttls(const struct fsm *f);
/* What deadlines are shown as: the wall's time when it is this cluster time. No part of the state. */
void fsm_set_wall(struct fsm *f, int64_t wall_ns, int64_t cluster_ns);
/* Index of the oldest tombstone, 0 when none; count in *ret_n. */
uint64_t fsm_tombstones(const struct fsm *f, uint64_t *ret_n);

/* ---- the image */

/*
 * One record from the image, in any order of tables, keys ascending within
 * one (that is fast). A record of the same key takes the place of one loaded
 * before. -EDECODE, -ENOMEM.
 */
int MUST_CHECK fsm_load(struct fsm *f, enum fsm_table table, struct str key, struct str value);
/* All is loaded: build what is derived. -EDECODE when the parts do not fit together. */
int MUST_CHECK fsm_loaded(struct fsm *f);
/* Every record of the state, as fsm_sink.changed gets them, META's included. -ENOMEM. */
int MUST_CHECK fsm_dump(const struct fsm *f, const struct fsm_sink *sink);

/*
 * Every record of a table whose key starts with prefix, in the order of keys
 * (of FSM_META the services' indexes, "service.NAME", alone; FSM_ORIGIN has
 * none). A result of `each` other than 0 ends it and is returned. `each` may
 * walk other tables, but then its own value is gone.
 */
int MUST_CHECK fsm_walk(const struct fsm *f, enum fsm_table table, struct str prefix,
    int (*each)(void *ctx, struct str key, struct str value), void *ctx);
/* The index of a table, numbered from 0, under the name that Consul has for it. False when there is no such number. */
bool fsm_table_index(const struct fsm *f, size_t i, const char **ret_name, uint64_t *ret_index);
/* Set it while loading. False when no table has this name. */
bool fsm_set_table_index(struct fsm *f, struct str name, uint64_t index);

/* Counts and bytes for `info` and metrics. */
struct fsm_stats {
	uint64_t kv, kv_bytes, tombstones, sessions, nodes, services, service_names, checks, origins;
};
void fsm_stats(const struct fsm *f, struct fsm_stats *ret);

#endif
