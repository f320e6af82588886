/*
 * state.h - the inside of the state: items, tables, and the change in progress.
 *
 * Everything that is stored is an item of one table. Items never change:
 * a change puts a new item in the place of the old one through
 * change_put(), which keeps a journal. So an entry that fails half-way is
 * undone as a whole, and what is reported is what was committed.
 */
#ifndef RAFTD_FSM_STATE_H
#define RAFTD_FSM_STATE_H

#include "lib/records_acl.h"
#include "raftd/fsm/fsm.h"
#include "raftd/fsm/tree.h"

enum {
	FSM_ORIGINS_MAX = 4096,			/* writing processes remembered */
	FSM_RESULTS_MAX = 4096,			/* results of one of them */
	FSM_RESULT_BYTES_MAX = 4 * MiB,		/* bytes of its results */
	FSM_ORIGIN_LEN_MAX = 64,
	FSM_DELAY_MAX_S = 60,			/* longest lock delay that counts */
	FSM_TEXT_MAX = 1024,			/* of an error, as in struct fsm_error */
	FSM_ENTRY_MAX = 1 << 30,		/* bytes of one encoded record or reply */
};
#define FSM_ORIGIN_IDLE (3600 * INT64_C(1000000000))
#define KV_TTL_MIN INT64_C(1000000000)			/* of a key */
#define KV_TTL_MAX (10 * 365 * 86400 * INT64_C(1000000000))
#define FSM_MINUTE (60 * INT64_C(1000000000))
#define FSM_INDEX_MAX (UINT64_C(1) << 62)	/* indexes of a restored state are below: the rest is room to grow */

/* ---- items */

enum item_table { T_KV, T_TOMB, T_SESSION, T_NODE, T_SERVICE, T_CHECK, T_NAME, T_DELAY, T_OPAQUE, T_AUTOPILOT, T_COORDINATE, T_QUERY, T_KV_TTL,
	T_ACL_TOKEN, T_ACL_POLICY, T_ACL_ROLE, T_ACL_METHOD, T_ACL_BINDING, T_COUNT };

/*
 * A KV entry: the key, the value, and only when one of them is set, flags,
 * lock index, fencing token and session behind them (unaligned).
 */
struct kv {
	uint64_t modify_index, create_index;
	uint32_t vlen;
	uint16_t slen;			/* of the session */
	uint8_t more;			/* flags, lock index, fencing token and session follow */
	uint8_t unused;
	uint32_t klen;
	char data[];
};

/* A key held by a session; found by session, NUL, key. */
struct held {
	uint32_t len;
	uint32_t session_len;
	char data[];
};

struct tomb {
	uint64_t index;
	struct tomb *prev, *next;	/* by index, ascending */
	uint32_t klen;
	char key[];
};

/* These are single blocks made by record_dup(); the keys are part of the block. */
struct session_item {
	struct session s;
	int64_t deadline;	/* cluster time, INT64_MAX: none */
	int64_t ttl;		/* ns */
	struct str key;		/* the ID in lower case */
	struct str node_key;	/* node, NUL, ID, in lower case */
	struct str due_key;	/* deadline, big-endian, ID; empty without TTL */
};

struct node_item {
	struct node n;
	struct str key;		/* name in lower case */
	struct str id_key;	/* 16 bytes, or empty */
	struct str address_key;	/* see address_key(); empty when its address is no literal one */
};

struct service_item {
	struct node_service s;
	struct str node;	/* key of the node */
	struct str key;		/* node, NUL, ID in lower case */
	struct str name;	/* service name in lower case */
	struct str name_key;	/* name, NUL, node, NUL, ID */
	struct str address_key;	/* address, NUL, name_key; empty without a literal address of its own */
};

struct check_item {
	struct health_check c;
	struct str node;	/* key of the node */
	struct str key;		/* node, NUL, check ID in lower case */
	struct str name_key;	/* service name, NUL, node, NUL, check ID; empty for a check of the node */
	struct str of_key;	/* node, NUL, service ID (empty for a check of the node), NUL, check ID */
};

/* A service name that has instances. */
struct name_item {
	uint64_t index;
	uint64_t instances;
	struct str key;		/* lower case */
};

struct delay_item {
	int64_t until;		/* cluster time */
	struct str key;		/* the KV key */
	struct str due_key;	/* until, big-endian, key */
};

/* When a key goes by itself. */
struct ttl_item {
	int64_t ttl;		/* ns */
	int64_t deadline;	/* cluster time */
	struct str key;		/* the KV key */
	struct str due_key;	/* deadline, big-endian, key */
};

/* A record of a kind that this release only keeps. */
struct opaque_item {
	struct str key;		/* kind byte, key */
	struct str value;
};

struct autopilot_item {
	struct autopilot_config c;
};

struct coordinate_item {
	struct coordinate_entry c;
	struct str key;		/* node, NUL, segment in lower case */
};

/* A prepared query (pquery.c). */
struct query_item {
	struct prepared_query q;
	struct str key;		/* the ID in lower case */
	struct str name_key;	/* the name in lower case, or empty */
	struct str template_key; /* NUL, name in lower case; empty unless it is a template */
	struct str session_key;	/* session, NUL, ID in lower case; empty without a session */
};

/* ---- the state */

struct indexes {
	uint64_t kvs, tombstones, sessions, nodes, services, checks, extinction, coordinates, queries;
	uint64_t acl_tokens, acl_policies, acl_roles, acl_methods, acl_bindings;
	uint64_t acl_bootstrap;		/* when the first token was made; 0: it may be */
};

struct change {
	enum item_table table;
	void *old, *new;
};

struct origin;
struct stage;

/* The Raft configuration that was applied last. */
struct servers {
	char *bytes;
	size_t len;
	uint64_t index;
	bool dirty;
};

/* What a call needs while it lasts. */
struct scratch {
	struct arena arena;	/* of the entry or query at hand */
	struct buf enc;		/* one record being reported */
	struct asker *who;	/* who asks: NULL sees everything */
	/* A key could not be made for lack of memory: what was looked for counts as absent, so this call fails. */
	bool starved;
	int64_t wall_ahead;	/* of cluster time: see fsm_set_wall() */
	uint64_t acl_index;	/* see fsm_acl_index() */
};

struct fsm {
	struct fsm_config config;
	char *datacenter;
	uint64_t applied;
	uint64_t distance;		/* of the API's indexes from the log's */
	int64_t time;
	struct indexes idx;
	uint64_t top;			/* the highest index in what was loaded */

	struct tree kv, held;
	uint64_t kv_bytes;
	struct tree tombs;
	struct tomb *tomb_oldest, *tomb_newest;
	struct tree sessions, sessions_by_node, sessions_due;
	struct tree nodes, nodes_by_id, nodes_by_address;
	struct tree services, services_by_name, services_by_address, names;
	uint64_t address_left;		/* when a node or service was last gone from an address */
	struct tree checks, checks_by_name, checks_of;
	struct tree delays, delays_due;
	struct tree ttls, ttls_due;
	struct gone *gone;		/* the keys that went lately: this server's memory, no part of the state */
	struct tree opaque, autopilot, coordinates;
	struct tree queries, queries_by_name, query_templates, queries_by_session;
	struct tree acl_tokens, acl_tokens_by_secret, acl_tokens_due;
	struct tree acl_policies, acl_policies_by_name, acl_roles, acl_roles_by_name, acl_methods, acl_bindings;
	struct tree origins;
	struct origin *origins_dirty;	/* changed since the last fsm_flush() */
	bool meta_dirty;
	struct servers servers;
	struct stage *stage;		/* NULL: no restore is under way */

	struct change *journal;
	size_t njournal, journal_cap;
	struct scratch *scratch;
	struct arena *arena;		/* in scratch */
	struct buf *enc;		/* in scratch */
};

/* One entry being applied. */
struct apply {
	struct fsm *f;
	uint64_t index;			/* of the API */
	int64_t time;
	struct mp_w *w;			/* the reply's payload */
	struct fsm_error *err;
};

/* ---- changes (change.c) */

/*
 * Put new (taken over, also on failure) in the place of old, an item of the
 * table: old NULL adds, new NULL removes. -ENOMEM.
 */
int MUST_CHECK change_put(struct apply *ap, enum item_table table, void *old, void *new);
/* Report the journal and free what was replaced. */
int MUST_CHECK change_commit(struct fsm *f, const struct fsm_sink *sink);
/* Undo the journal back to `mark` changes. */
int MUST_CHECK change_undo(struct fsm *f, size_t mark);
/* Link without a journal: the image being loaded. Takes item over; it replaces one of the same key. */
int MUST_CHECK change_load(struct fsm *f, enum item_table table, void *item);
/* What was loaded has this index. */
static inline void
index_loaded(struct fsm *f, uint64_t index)
{
	if (index > f->top)
		f->top = index;
}

/* Report every item. */
int MUST_CHECK change_dump(const struct fsm *f, const struct fsm_sink *sink);
void change_release(struct fsm *f);

/* For swap(): old leaves and new enters each tree in which it has a key. -ENOMEM leaves new out of all. */
int MUST_CHECK trees_swap(struct tree *const *t, size_t n, void *old, void *new);

/* How the items of a table are linked and shown; one per kind. */
struct table_ops {
	enum fsm_table image;
	const struct tree *(*primary)(const struct fsm *f);
	/* Unlink old and link new; the same with both exchanged undoes it. -ENOMEM leaves new out. */
	int (*swap)(struct fsm *f, void *old, void *new);
	/* The image's key; its value is appended unless w is NULL. */
	struct str (*encode)(const void *item, struct mp_w *w);
	/* Tell the watchers; old or new may be NULL. */
	void (*touch)(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink);
	void (*drop)(void *item);
	/* Free every item and the trees. */
	void (*release)(struct fsm *f);
};
extern const struct table_ops kv_ops, tomb_ops, session_ops, node_ops, service_ops, check_ops, name_ops, delay_ops,
    opaque_ops, autopilot_ops, coordinate_ops, query_ops, ttl_ops, acl_token_ops, acl_policy_ops, acl_role_ops, acl_method_ops,
    acl_binding_ops;

/* ---- helpers (text.c) */

/* Say an error: the text is cut at its maximum. */
void fail(struct fsm_error *err, int code, const char *fmt, ...) PRINTF(3, 4);
/* Put words before an error that was said. */
void fail_context(struct fsm_error *err, const char *context);
/* For reads: whether the asker of this call may be shown this; what is left out is remembered. */
static inline bool
shows(const struct fsm *f, enum acl_resource r, struct str name)
{
	return asker_sees(f->scratch->who, r, name);
}

/* Whether an error was said. */
#define FAILED(ap) ((ap)->err->code != 0)

/* s in double quotes as Go's %q writes it, in the arena (STR "\"?\"" without memory). */
const char *go_quote(const struct fsm *f, struct str s);
/* The message of Go's duration parser about s. */
const char *duration_complaint(const struct fsm *f, struct str s);
/* s in ASCII lower case; p is NULL without memory. */
struct str lower(const struct fsm *f, struct str s);
/* a NUL b [NUL c], c.p may be NULL. */
struct str join(const struct fsm *f, struct str x, struct str y, struct str z);
/* x NUL y in ASCII lower case: names and IDs of the catalog are the same whatever their case. */
struct str join_lower(const struct fsm *f, struct str x, struct str y);
/* v as 8 big-endian bytes, then s. */
struct str join_u64(const struct fsm *f, uint64_t v, struct str s);
/* 36 characters to 16 bytes; false when it is not a UUID in its usual form. */
bool uuid_parse(struct str s, uint8_t out[16]);
/* What the index of sessions says about a malformed ID: NULL when it is fine. */
const char *uuid_index_complaint(const struct fsm *f, struct str s);
void uuid_format(const uint8_t b[16], char out[37]);
/* One of 16 random bytes. */
void uuid_make(const uint8_t random[16], char out[37]);
/* What Go's UUID parser says: NULL when it is fine. */
const char *uuid_complaint(const struct fsm *f, struct str s);
void touch_one(const struct fsm_sink *sink, enum watch_kind kind, struct str key);
void watch_add(struct watch_set *set, enum watch_kind kind, struct str key);
static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- permit.c: what may be done */
/* False: the error (403) is said. */
bool permit(struct asker *who, enum acl_resource r, struct str name, enum acl_access want, struct fsm_error *err);
bool permit_kv(struct asker *who, const struct kv_op *op, struct fsm_error *err);
bool permit_register(const struct fsm *f, struct asker *who, const struct register_request *req, struct fsm_error *err);
bool permit_deregister(const struct fsm *f, struct asker *who, const struct deregister_request *req, struct fsm_error *err);
bool permit_session(const struct fsm *f, struct asker *who, struct str id, struct fsm_error *err);
bool permit_session_create(const struct fsm *f, struct asker *who, struct str node, struct fsm_error *err);
/* What an operation of a transaction needs; reads of what may not be seen are no error, but left out of the results. */
bool permit_txn_op(const struct fsm *f, struct asker *who, const struct txn_op *op, struct fsm_error *err);

/* ---- kv.c */
/* NULL without memory. */
struct kv *kv_new(const struct kv_entry *e);

/* ---- kv_gone.c */
struct gone *gone_new(void);
void gone_free(struct gone *g);
/* Forget all; what went up to this index is not known. */
void gone_reset(struct gone *g, uint64_t floor);
void gone_note(struct gone *g, uint64_t index, struct str key);
/* Whether all that went behind this index is known. */
bool gone_reaches(const struct gone *g, uint64_t since);
/* What went below the prefix behind this index, oldest first. */
void gone_walk(const struct gone *g, struct str prefix, uint64_t since, void (*each)(void *ctx, uint64_t index, struct str key),
    void *ctx);

/* ---- kv_ttl.c */
/* The key goes so many ns from now on; 0: it stays. */
int MUST_CHECK ttl_put(struct apply *ap, struct str key, int64_t ttl);
/* 0: it has none. */
int64_t ttl_of(const struct fsm *f, struct str key);
/* Its deadline as text of the wall's time, in the arena; empty when it has none. */
struct str ttl_shown(const struct fsm *f, struct str key);
/* Remove the key if its deadline has passed. */
int MUST_CHECK ttl_expire(struct apply *ap, struct str key);
/* Every key with a TTL gets all of it from now on. */
int MUST_CHECK ttl_restart(struct fsm *f, int64_t now);
int MUST_CHECK ttl_load(struct fsm *f, struct str key, struct str value);
/* -EDECODE when there is one without its key. */
int MUST_CHECK ttl_loaded(const struct fsm *f);

/* ---- kv_write.c */
int MUST_CHECK kv_apply(struct apply *ap, const struct kv_op *op);
struct kv *kv_find(const struct fsm *f, struct str key);
/* The entry as a record; it points into the item. */
struct kv_entry kv_view(const struct kv *kv);
/* Each verb: *ret_ok false when its condition did not hold. */
int MUST_CHECK kv_set(struct apply *ap, const struct kv_entry *e);
/* The same, but holder, lock index and TTL stay what they are. */
int MUST_CHECK kv_change(struct apply *ap, const struct kv_entry *e);
int MUST_CHECK kv_cas(struct apply *ap, const struct kv_entry *e, bool *ret_ok);
int MUST_CHECK kv_delete(struct apply *ap, struct str key);
int MUST_CHECK kv_delete_cas(struct apply *ap, struct str key, uint64_t index, bool *ret_ok);
int MUST_CHECK kv_delete_tree(struct apply *ap, struct str prefix);
int MUST_CHECK kv_lock(struct apply *ap, const struct kv_entry *e, bool *ret_ok);
int MUST_CHECK kv_unlock(struct apply *ap, const struct kv_entry *e, bool *ret_ok);
/* The index of the key's last acquisition, 0 when there was none. */
uint64_t kv_fencing(const struct fsm *f, struct str key);
/* What a write of this verb needs whatever the state: false and the error said otherwise. */
bool kv_vet(const struct kv_op *op, struct fsm_error *err);
/* The session that is to hold a key exists. */
bool kv_vet_session(const struct fsm *f, struct str id, struct fsm_error *err);
/* A session ended: free or remove what it held. */
int MUST_CHECK kv_session_ended(struct apply *ap, const struct session *s);
int MUST_CHECK kv_load(struct fsm *f, struct str key, struct str value);

/* ---- kv_read.c */
/* kv.get, kv.list, kv.keys, kv.changes. */
void kv_query(const struct fsm *f, uint16_t op, const struct kv_query *q, uint64_t since, struct asker *who, struct mp_w *out,
    uint64_t *idx, struct watch_set *watch, struct fsm_error *err);
/* An entry as every reply shows it; it points into the item and the arena. */
struct kv_entry kv_shown(const struct fsm *f, const struct kv *kv, bool fencing);
/* With nothing below the prefix, and no tombstone, the table's index stands in. */
void kv_prefix_index(const struct fsm *f, struct str prefix, uint64_t *idx, struct watch_set *watch);
/* Whether keys below the prefix may be listed; else the refusal is said. */
bool kv_may_list(struct asker *who, struct str prefix, struct fsm_error *err);

/* ---- tomb.c */
int MUST_CHECK tomb_put(struct apply *ap, struct str key);
/* Drop those of this index and below. */
int MUST_CHECK tomb_reap(struct apply *ap, uint64_t index);
int MUST_CHECK tomb_load(struct fsm *f, struct str key, struct str value);
int MUST_CHECK tomb_loaded(struct fsm *f);

/* ---- delay.c */
int MUST_CHECK delay_put(struct apply *ap, struct str key, int64_t delay);
/* Whether the key may not be locked yet. */
bool delay_holds(const struct fsm *f, struct str key, int64_t now);
/* Drop those that are over. */
int MUST_CHECK delay_reap(struct apply *ap);
int MUST_CHECK delay_load(struct fsm *f, struct str key, struct str value);

extern const struct tree_type ttl_tree, ttl_due_tree;
extern const struct tree_type kv_tree, held_tree, tomb_tree, delay_tree, delay_due_tree;
extern const struct tree_type session_tree, session_node_tree, session_due_tree;
extern const struct tree_type node_address_tree, service_address_tree;
extern const struct tree_type node_tree, node_id_tree, service_tree, service_name_tree, name_tree;
extern const struct tree_type check_tree, check_name_tree, check_of_tree, origin_tree, opaque_tree, autopilot_tree,
    coordinate_tree;
extern const struct tree_type query_tree, query_name_tree, query_template_tree, query_session_tree;
extern const struct tree_type acl_token_tree, acl_token_secret_tree, acl_token_due_tree, acl_policy_tree, acl_policy_name_tree,
    acl_role_tree, acl_role_name_tree, acl_method_tree, acl_binding_tree;

/* ---- session.c */
int MUST_CHECK session_create(struct apply *ap, const struct session_create *req);
int MUST_CHECK session_destroy(struct apply *ap, struct str id);
int MUST_CHECK session_renew(struct apply *ap, struct str id, bool reply);
int MUST_CHECK session_expire(struct apply *ap, struct str id);
/* End the sessions of a node (key); with check ID, only those linked to that check. */
int MUST_CHECK session_end_of(struct apply *ap, struct str node, const struct str *check_id);
struct session_item *session_find(const struct fsm *f, struct str id);
/* The arguments alone, then what the state must hold: the error is said. */
bool session_vet(const struct fsm *f, const struct session_create *req, int64_t ttl_min, struct fsm_error *err);
bool session_vet_links(const struct fsm *f, const struct session_create *req, struct fsm_error *err);
/* The ID of a session to be ended is one. */
bool session_vet_id(const struct fsm *f, struct str id, struct fsm_error *err);
int MUST_CHECK session_load(struct fsm *f, struct str key, struct str value);
/* Every session gets its full TTL from now on. -ENOMEM. */
int MUST_CHECK session_restart(struct fsm *f, int64_t now);
void session_query(const struct fsm *f, uint16_t op, const struct id_request *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err);

/* ---- node.c, service.c, check.c: the catalog. An error's text is said without its context. */
struct node_item *node_find(const struct fsm *f, struct str name);
struct node_item *node_find_id(const struct fsm *f, struct str id);
int MUST_CHECK node_ensure(struct apply *ap, const struct node *n);
int MUST_CHECK node_delete(struct apply *ap, struct str name);
int MUST_CHECK node_load(struct fsm *f, struct str key, struct str value);

struct service_item *service_find(const struct fsm *f, struct str node, struct str id);
int MUST_CHECK service_ensure(struct apply *ap, struct str node, const struct node_service *s);
int MUST_CHECK service_delete(struct apply *ap, struct str node, struct str id);
/* The index of each service on the node moves: its node or a node check changed. */
int MUST_CHECK service_bump_node(struct apply *ap, struct str node_key);
int MUST_CHECK service_bump(struct apply *ap, struct str name);
int MUST_CHECK service_load(struct fsm *f, struct str key, struct str value);
int MUST_CHECK name_load(struct fsm *f, struct str key, struct str value);
/* Count the instances of each name; -EDECODE when an instance has no name record. */
int MUST_CHECK service_loaded(struct fsm *f);

struct check_item *check_find(const struct fsm *f, struct str node, struct str id);
/* The checks of an instance of the node (key), or with an empty ID of the node itself, stand behind this in f->checks_of; p NULL: starved. */
struct str check_prefix(const struct fsm *f, struct str node, struct str service_id);
int MUST_CHECK check_ensure(struct apply *ap, const struct health_check *c);
int MUST_CHECK check_delete(struct apply *ap, struct str node, struct str id);
int MUST_CHECK check_load(struct fsm *f, struct str key, struct str value);

/* ---- address.c: nodes and services by address */
/* Of an item at a literal address: 16 bytes, NUL, rest; without a rest what such keys begin with. Empty when it is none, p NULL: starved. */
struct str address_key(const struct fsm *f, struct str address, struct str rest);
/* An item moved from one to the other; each may be empty. */
void address_touch(struct str old_key, struct str new_key, const struct fsm_sink *sink);
void address_left(struct apply *ap, struct str old_key, struct str new_key);
/* The first node at the address, or NULL. */
const struct node_item *address_node(const struct fsm *f, struct str address);
/* catalog.reverse */
int MUST_CHECK address_query(const struct fsm *f, const struct reverse_query *q, struct mp_w *out, uint64_t *idx, struct watch_set *watch,
    struct fsm_error *err);

/* ---- catalog.c: registration */
int MUST_CHECK catalog_register(struct apply *ap, const struct register_request *req);
int MUST_CHECK catalog_deregister(struct apply *ap, const struct deregister_request *req);
/* Whether the registration would change nothing. */
bool catalog_stands(const struct fsm *f, const struct register_request *req);
/* Whether an agent looks after the node: what others write there it undoes. */
bool catalog_kept_by_agent(const struct fsm *f, struct str node);
/* The same of each part. */
bool node_stands(const struct fsm *f, const struct node *n);
bool service_stands(const struct fsm *f, struct str node, const struct node_service *s);
bool check_stands(const struct fsm *f, const struct health_check *c);
/* Whether a session of the node (key) would end with this check. */
bool session_linked(const struct fsm *f, struct str node, struct str check_id);
/* Arguments alone. The error is said when false. */
bool catalog_vet_register(const struct fsm *f, const struct register_request *req, struct fsm_error *err);
bool catalog_vet_deregister(const struct deregister_request *req, struct fsm_error *err);
bool catalog_vet_node(const struct fsm *f, struct str name, struct str id, struct fsm_error *err);
bool catalog_vet_service(const struct node_service *s, struct fsm_error *err);

/* ---- batch.c: several of these in one entry */
int MUST_CHECK batch_apply(struct apply *ap, const struct catalog_batch *b);
/*
 * Judge each item with its own token. *ret_request: the batch as it goes into the log, without tokens; or, when nothing is left to
 * be done, the reply, and the error FSM_ANSWERED.
 */
int MUST_CHECK batch_check(const struct fsm *f, struct str request, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err);

/* ---- reads of the catalog (query.c), of health (health.c) */
int MUST_CHECK catalog_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err);
int MUST_CHECK health_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err);

/* ---- ui.c: ui.nodes, ui.services; operator.usage */
int MUST_CHECK ui_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err);
void usage_query(const struct fsm *f, struct mp_w *out, uint64_t *idx, struct watch_set *watch);

/* The instance as every reply shows it. */
struct node_service service_show(const struct service_item *item);

/* ---- txn.c */
int MUST_CHECK txn_apply(struct apply *ap, const struct txn_request *req);
/* What its asker may not do makes it fail: *ret_reply is then the reply, and the error FSM_ANSWERED. */
int MUST_CHECK txn_check(const struct fsm *f, const struct txn_request *req, struct asker *who, struct buf *out, struct str *ret_reply,
    struct fsm_error *err);

/* ---- origin.c: writes happen once */
/* Whether this write was applied before: then the first result is given again. */
int MUST_CHECK origin_replay(struct fsm *f, const struct query_options *q, struct buf *result, struct fsm_error *err,
    bool *ret_done);
/* Remember the result; drop those that nobody will ask for. */
int MUST_CHECK origin_record(struct fsm *f, const struct query_options *q, struct str payload, const struct fsm_error *err,
    const struct fsm_sink *sink);
/* Forget the idle ones; before is the time of the entry before. */
void origin_expire(struct fsm *f, int64_t before, const struct fsm_sink *sink);
int MUST_CHECK origin_flush(struct fsm *f, const struct fsm_sink *sink);
int MUST_CHECK origin_dump(const struct fsm *f, const struct fsm_sink *sink);
int MUST_CHECK origin_load(struct fsm *f, struct str key, struct str value);
void origin_release(struct fsm *f);

/* ---- opaque.c */
int MUST_CHECK opaque_load(struct fsm *f, struct str key, struct str value);
/* Each one of a kind goes to take(), which removes it, or says 1: it stays. *ret_any: one has been removed. */
int MUST_CHECK opaque_adopt(struct apply *ap, unsigned kind, int (*take)(struct apply *ap, const void *ctx, struct opaque_item *o),
    const void *ctx, bool *ret_any);

/* ---- autopilot.c */
int MUST_CHECK autopilot_set(struct apply *ap, const struct autopilot_set *req);
bool autopilot_vet(const struct autopilot_set *req, struct fsm_error *err);
void autopilot_query(const struct fsm *f, struct mp_w *out, uint64_t *idx);
int MUST_CHECK autopilot_load(struct fsm *f, struct str key, struct str value);

/* ---- coordinate.c */
/* A batch: each that is one takes the place of the one before, those of unknown nodes are passed over. */
int MUST_CHECK coordinate_apply(struct apply *ap, struct str raw);
/* The node (key) goes. */
int MUST_CHECK coordinate_delete(struct apply *ap, struct str node_key);
/* Take over what an earlier release kept as opaque records. */
int MUST_CHECK coordinate_adopt(struct apply *ap);
int MUST_CHECK coordinate_load(struct fsm *f, struct str key, struct str value);
int MUST_CHECK coordinate_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch);

/* ---- pquery.c: prepared queries; pquery_template.c, pquery_execute.c */
int MUST_CHECK pquery_apply(struct apply *ap, const struct pq_apply *req);
/* What can be refused before the log, rights included. Makes the ID of a new one: *ret_request is then the request to propose. */
int MUST_CHECK pquery_check(const struct fsm *f, const struct pq_apply *req, const struct asker *who, const uint8_t random[16],
    struct buf *out, struct str *ret_request, struct fsm_error *err);
/* A session ended: its queries go with it. */
int MUST_CHECK pquery_session_ended(struct apply *ap, const struct session *s);
/* Take over what an earlier release kept as opaque records. */
int MUST_CHECK pquery_adopt(struct apply *ap);
int MUST_CHECK pquery_load(struct fsm *f, struct str key, struct str value);
int MUST_CHECK pquery_read(const struct fsm *f, uint16_t op, const struct pq_request *q, struct asker *who, struct mp_w *out,
    uint64_t *idx, struct watch_set *watch, struct fsm_error *err);
struct query_item *pquery_find(const struct fsm *f, struct str id);
/* Whether its name decides who may see it; then *ret_name is that. */
bool pquery_guarded(const struct prepared_query *q, struct str *ret_name);
/* The query as the asker may see it: without its token unless he manages ACLs. */
struct prepared_query pquery_shown(const struct prepared_query *q, const struct asker *who);
/* Fill in a template for a name; the result points into the arena and q. With an error why is a sentence. -EINVAL, -ENOMEM. */
int MUST_CHECK pquery_render(const struct fsm *f, const struct prepared_query *q, struct str name, struct str segment,
    struct prepared_query *ret, char *why, size_t whylen);
/* query.execute and query.explain */
int MUST_CHECK pquery_run(const struct fsm *f, uint16_t op, const struct pq_request *q, struct asker *who, struct mp_w *out,
    uint64_t *idx, struct watch_set *watch, struct fsm_error *err);

/* ---- restore.c */
/* A part of a restore. */
int MUST_CHECK restore_apply(struct fsm *f, uint64_t index, struct str raw, struct fsm_error *err, const struct fsm_sink *sink);
/* Drop what is staged, if anything is. */
void restore_drop(struct fsm *f, const struct fsm_sink *sink);

/* ---- image.c */
/* META's records, whatever changed. */
int MUST_CHECK meta_dump(const struct fsm *f, const struct fsm_sink *sink);

#endif
