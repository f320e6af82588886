/* fsm.c - the state as a whole: its life, and one entry after the other. */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/acl.h"

static const struct fsm_sink nobody;

/* ---- life */

static void
init_trees(struct fsm *f)
{
	tree_init(&f->kv, &kv_tree);
	tree_init(&f->held, &held_tree);
	tree_init(&f->tombs, &tomb_tree);
	tree_init(&f->delays, &delay_tree);
	tree_init(&f->delays_due, &delay_due_tree);
	tree_init(&f->ttls, &ttl_tree);
	tree_init(&f->ttls_due, &ttl_due_tree);
	tree_init(&f->sessions, &session_tree);
	tree_init(&f->sessions_by_node, &session_node_tree);
	tree_init(&f->sessions_due, &session_due_tree);
	tree_init(&f->nodes, &node_tree);
	tree_init(&f->nodes_by_id, &node_id_tree);
	tree_init(&f->services, &service_tree);
	tree_init(&f->services_by_name, &service_name_tree);
	tree_init(&f->nodes_by_address, &node_address_tree);
	tree_init(&f->services_by_address, &service_address_tree);
	tree_init(&f->names, &name_tree);
	tree_init(&f->checks, &check_tree);
	tree_init(&f->checks_by_name, &check_name_tree);
	tree_init(&f->checks_of, &check_of_tree);
	tree_init(&f->opaque, &opaque_tree);
	tree_init(&f->autopilot, &autopilot_tree);
	tree_init(&f->coordinates, &coordinate_tree);
	tree_init(&f->queries, &query_tree);
	tree_init(&f->queries_by_name, &query_name_tree);
	tree_init(&f->query_templates, &query_template_tree);
	tree_init(&f->queries_by_session, &query_session_tree);
	tree_init(&f->acl_tokens, &acl_token_tree);
	tree_init(&f->acl_tokens_by_secret, &acl_token_secret_tree);
	tree_init(&f->acl_tokens_due, &acl_token_due_tree);
	tree_init(&f->acl_policies, &acl_policy_tree);
	tree_init(&f->acl_policies_by_name, &acl_policy_name_tree);
	tree_init(&f->acl_roles, &acl_role_tree);
	tree_init(&f->acl_roles_by_name, &acl_role_name_tree);
	tree_init(&f->acl_methods, &acl_method_tree);
	tree_init(&f->acl_bindings, &acl_binding_tree);
	tree_init(&f->origins, &origin_tree);
}

struct fsm *
fsm_new(const struct fsm_config *c)
{
	struct fsm *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	init_trees(f);
	f->config = *c;
	f->datacenter = strdup(c->datacenter != NULL ? c->datacenter : "dc1");
	f->config.datacenter = f->datacenter;
	f->scratch = calloc(1, sizeof(*f->scratch));
	f->gone = gone_new();
	if (f->scratch != NULL) {
		f->arena = &f->scratch->arena;
		f->enc = &f->scratch->enc;
		arena_init(f->arena, SIZE_MAX / 4);
		buf_init(f->enc, FSM_ENTRY_MAX);
	}
	if (f->datacenter == NULL || f->scratch == NULL || f->gone == NULL) {
		fsm_free(f);
		return NULL;
	}
	return f;
}

/* A new call begins: what the last one gave out is gone. */
static void
scratch_clear(const struct fsm *f)
{
	arena_reset(f->arena);
	f->scratch->who = NULL;
	f->scratch->starved = false;
}

void
fsm_free(struct fsm *f)
{
	if (f == NULL)
		return;
	restore_drop(f, &nobody);
	change_release(f);
	origin_release(f);
	if (f->scratch != NULL) {
		arena_release(f->arena);
		buf_release(f->enc);
	}
	free(f->scratch);
	gone_free(f->gone);
	free(f->servers.bytes);
	free(f->datacenter);
	free(f);
}

uint64_t
fsm_applied(const struct fsm *f)
{
	return f->applied;
}

uint64_t
fsm_index(const struct fsm *f)
{
	return f->applied + f->distance;
}

int64_t
fsm_time(const struct fsm *f)
{
	return f->time;
}

uint64_t
fsm_tombstones(const struct fsm *f, uint64_t *ret_n)
{
	*ret_n = f->tombs.n;
	return f->tomb_oldest != NULL ? f->tomb_oldest->index : 0;
}

void
fsm_stats(const struct fsm *f, struct fsm_stats *ret)
{
	*ret = (struct fsm_stats){
		.kv = f->kv.n, .kv_bytes = f->kv_bytes, .tombstones = f->tombs.n, .sessions = f->sessions.n,
		.nodes = f->nodes.n, .services = f->services.n, .service_names = f->names.n, .checks = f->checks.n, .origins = f->origins.n,
	};
}

/* ---- entries */

union request {
	struct kv_op kv;
	struct txn_request txn;
	struct session_create session;
	struct id_request id;
	struct register_request reg;
	struct deregister_request dereg;
	struct catalog_batch batch;
	struct autopilot_set autopilot;
	struct pq_apply pquery;
	union acl_request acl;
};

/* The request of a WRITE operation. -EDECODE for one that this release does not know. */
static int
decode_request(const struct fsm *f, uint64_t op, struct str raw, union request *ret)
{
	const struct op_info *info = op <= UINT16_MAX ? op_info((uint16_t)op) : NULL;
	struct mp_r r = mp_r_init(raw.p, raw.len);
	int rc;

	if (info == NULL || info->access != OP_ACCESS_WRITE || info->request == NULL)
		return -EDECODE;
	assert(info->request->size <= sizeof(*ret));
	rc = record_decode(info->request, &r, ret, f->arena);
	return rc == 0 && !mp_r_done(&r) ? -EDECODE : rc;
}

static int
apply_op(struct apply *ap, const struct fsm_entry *e)
{
	union request q;
	int rc = decode_request(ap->f, e->op, e->request, &q);

	if (rc < 0)
		return rc;
	switch (e->op) {
	case OP_KV_APPLY:
		return kv_apply(ap, &q.kv);
	case OP_TXN_APPLY:
		return txn_apply(ap, &q.txn);
	case OP_SESSION_CREATE:
		return session_create(ap, &q.session);
	case OP_SESSION_DESTROY:
		return session_destroy(ap, q.id.id);
	case OP_SESSION_RENEW:
		return session_renew(ap, q.id.id, true);
	case OP_CATALOG_REGISTER:
		return catalog_register(ap, &q.reg);
	case OP_CATALOG_DEREGISTER:
		return catalog_deregister(ap, &q.dereg);
	case OP_CATALOG_BATCH:
		return batch_apply(ap, &q.batch);
	case OP_AUTOPILOT_SET:
		return autopilot_set(ap, &q.autopilot);
	case OP_QUERY_APPLY:
		return pquery_apply(ap, &q.pquery);
	default:
		return acl_apply(ap, e->op, &q.acl);
	}
}

/* Renewals first: a session renewed by this very entry does not expire by it. */
static int
apply_tick(struct apply *ap, struct str raw)
{
	struct mp_r r = mp_r_init(raw.p, raw.len);
	struct fsm_tick t;
	int rc = record_decode(&rec_fsm_tick, &r, &t, ap->f->arena);

	for (size_t i = 0; i < t.renew.n && rc == 0; i++)
		rc = session_renew(ap, t.renew.v[i], false);
	for (size_t i = 0; i < t.expire.n && rc == 0; i++)
		rc = session_expire(ap, t.expire.v[i]);
	for (size_t i = 0; i < t.expire_keys.n && rc == 0; i++)
		rc = ttl_expire(ap, t.expire_keys.v[i]);
	return rc == 0 ? tomb_reap(ap, t.reap_tombstones) : rc;
}

static int
dispatch(struct apply *ap, const struct fsm_entry *e)
{
	int rc;

	switch (e->kind) {
	case FSM_ENTRY_NOOP:
		rc = coordinate_adopt(ap);
		if (rc == 0)
			rc = pquery_adopt(ap);
		return rc == 0 ? acl_adopt(ap) : rc;
	case FSM_ENTRY_OP:
		return apply_op(ap, e);
	case FSM_ENTRY_TICK:
		return apply_tick(ap, e->request);
	case FSM_ENTRY_COORDINATES:
		return coordinate_apply(ap, e->request);
	default:
		return -EDECODE;
	}
}

/* Apply, or undo what was begun. An error told to the asker changes nothing. */
static int
attempt(struct apply *ap, const struct fsm_entry *e)
{
	struct indexes saved = ap->f->idx;
	size_t start = ap->w->out->len, mark = ap->f->njournal;
	int rc = dispatch(ap, e), undone;

	if (rc == 0)
		rc = ap->f->scratch->starved ? -ENOMEM : ap->w->err;
	if (rc == 0 && !FAILED(ap))
		return 0;
	ap->w->out->len = start;
	ap->f->idx = saved;
	undone = change_undo(ap->f, mark);
	return rc < 0 ? rc : undone;
}

static int
decode_options(const struct fsm *f, const struct fsm_entry *e, struct query_options *ret)
{
	struct mp_r r = mp_r_init(e->options.p, e->options.len);

	*ret = (struct query_options){ 0 };
	return e->options.len > 0 ? record_decode(&rec_query_options, &r, ret, f->arena) : 0;
}

static int
apply_once(struct fsm *f, uint64_t index, const struct fsm_entry *e, struct buf *result, struct fsm_error *err,
    const struct fsm_sink *sink)
{
	struct mp_w w = mp_w_init(result);
	struct apply ap = { f, index + f->distance, f->time, &w, err };
	size_t start = result->len;
	struct query_options q;
	bool done;
	int rc;

	rc = decode_options(f, e, &q);
	if (rc == 0)
		rc = delay_reap(&ap);
	if (rc == 0)
		rc = origin_replay(f, &q, result, err, &done);
	if (rc < 0)
		return rc;
	if (!done)
		rc = attempt(&ap, e);
	if (rc == 0)
		rc = change_commit(f, sink);
	if (rc == 0 && !done && e->kind == FSM_ENTRY_OP) {
		struct str payload = STR_NONE;

		if (result->len > start)
			payload = (struct str){ (const char *)result->data + start, result->len - start };
		rc = origin_record(f, &q, payload, err, sink);
	}
	return rc;
}

int
fsm_apply(struct fsm *f, uint64_t index, const struct fsm_entry *e, struct buf *result, struct fsm_error *ret_err,
    const struct fsm_sink *sink)
{
	int64_t before = f->time;
	int rc;

	assert(index > f->applied);
	ret_err->code = 0;
	scratch_clear(f);
	if (sink == NULL)
		sink = &nobody;
	if (e->time > f->time)
		f->time = e->time;	/* cluster time never goes back */
	/* Only a leader that stays can go on with what it restores. */
	if (e->kind == FSM_ENTRY_NOOP)
		restore_drop(f, sink);
	if (e->kind == FSM_ENTRY_RESTORE)
		rc = restore_apply(f, index, e->request, ret_err, sink);
	else
		rc = apply_once(f, index, e, result, ret_err, sink);
	if (rc < 0)
		return rc;
	origin_expire(f, before, sink);
	f->applied = index;
	f->meta_dirty = true;
	return 0;
}

int
fsm_apply_servers(struct fsm *f, uint64_t index, struct str bytes, const struct fsm_sink *sink)
{
	char *copy = malloc(bytes.len + 1);

	(void)sink;	/* fsm_flush() tells it */
	assert(index > f->applied);
	if (copy == NULL)
		return -ENOMEM;
	if (bytes.len > 0)
		memcpy(copy, bytes.p, bytes.len);
	free(f->servers.bytes);
	f->servers = (struct servers){ copy, bytes.len, index, true };
	f->applied = index;
	f->meta_dirty = true;
	return 0;
}

struct str
fsm_servers(const struct fsm *f, uint64_t *ret_index)
{
	*ret_index = f->servers.index;
	return (struct str){ f->servers.bytes, f->servers.len };
}

/* ---- before proposing */

/* Give the session its ID and encode the request again. */
static int
name_session(const struct session_create *in, const uint8_t random[16], struct buf *out, struct str *ret_request)
{
	struct session_create s = *in;
	struct mp_w w = mp_w_init(out);
	size_t start = out->len;
	char id[37];

	uuid_make(random, id);
	s.id = str_from(id);
	record_encode(&rec_session_create, &s, RECORD_WHOLE, &w);
	if (w.err == 0)
		*ret_request = (struct str){ (const char *)out->data + start, out->len - start };
	return w.err;
}

static bool
vet_lock(const struct fsm *f, const struct kv_op *op, struct fsm_error *err)
{
	if (!kv_vet(op, err))
		return false;
	if (str_eqs(op->verb, "lock") && !kv_vet_session(f, op->entry.session, err))
		fail_context(err, "raft apply failed: ");
	return err->code == 0;
}

/* Whether the asker may do this. Of a transaction or batch each operation is asked about; ACL objects and prepared queries have checks of their own. */
static bool
may_do(const struct fsm *f, uint16_t op, const union request *q, struct asker *who, struct fsm_error *err)
{
	switch (op) {
	case OP_KV_APPLY:
		return permit_kv(who, &q->kv, err);
	case OP_SESSION_CREATE:
		return permit_session_create(f, who, q->session.node, err);
	case OP_SESSION_DESTROY:
		return permit_session(f, who, q->id.id, err);
	case OP_CATALOG_REGISTER:
		return permit_register(f, who, &q->reg, err);
	case OP_CATALOG_DEREGISTER:
		return permit_deregister(f, who, &q->dereg, err);
	case OP_AUTOPILOT_SET:
		return permit(who, ACL_OPERATOR, STR(""), ACL_WRITE, err);
	default:
		return true;
	}
}

/* What would change nothing needs no entry: it is answered as if it had been one, the last that was applied. */
static int
answer_standing(bool answer, struct buf *out, struct str *ret_reply, struct fsm_error *err)
{
	struct mp_w w = mp_w_init(out);
	size_t start = out->len;

	mp_w_bool(&w, answer);
	*ret_reply = (struct str){ (const char *)out->data + start, out->len - start };
	err->code = FSM_ANSWERED;
	return w.err;
}

int
fsm_check(const struct fsm *f, uint16_t op, struct str request, int64_t now, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *ret_err)
{
	union request q;
	int rc;

	(void)now;	/* lock delays are no errors: the entry answers false */
	ret_err->code = 0;
	*ret_request = request;
	scratch_clear(f);
	rc = decode_request(f, op, request, &q);
	if (rc < 0)
		return rc;
	if (!may_do(f, op, &q, who, ret_err))
		return f->scratch->starved ? -ENOMEM : 0;
	switch (op) {
	case OP_KV_APPLY:
		(void)vet_lock(f, &q.kv, ret_err);
		break;
	case OP_TXN_APPLY:
		if (q.txn.ops.n > f->config.txn_ops_max)
			fail(ret_err, 413, "Transaction contains too many operations (%zu > %llu)", q.txn.ops.n,
			    (unsigned long long)f->config.txn_ops_max);
		else
			rc = txn_check(f, &q.txn, who, out, ret_request, ret_err);
		break;
	case OP_SESSION_CREATE:
		if (session_vet(f, &q.session, f->config.session_ttl_min, ret_err) && session_vet_links(f, &q.session, ret_err))
			rc = name_session(&q.session, fresh->random, out, ret_request);
		break;
	case OP_SESSION_DESTROY:
		/* It takes no right to end none: strangers must not write to the log with it. */
		if (session_vet_id(f, q.id.id, ret_err) && session_find(f, q.id.id) == NULL)
			rc = answer_standing(true, out, ret_request, ret_err);
		break;
	case OP_CATALOG_REGISTER:
		if (catalog_vet_register(f, &q.reg, ret_err) && catalog_stands(f, &q.reg))
			rc = answer_standing(!catalog_kept_by_agent(f, q.reg.node), out, ret_request, ret_err);
		break;
	case OP_CATALOG_DEREGISTER:
		(void)catalog_vet_deregister(&q.dereg, ret_err);
		break;
	case OP_CATALOG_BATCH:
		rc = batch_check(f, request, fresh, who, out, ret_request, ret_err);
		break;
	case OP_AUTOPILOT_SET:
		(void)autopilot_vet(&q.autopilot, ret_err);
		break;
	case OP_QUERY_APPLY:
		rc = pquery_check(f, &q.pquery, who, fresh->random, out, ret_request, ret_err);
		break;
	default:
		if (op >= OP_ACL_BOOTSTRAP && op <= OP_ACL_LOGOUT)
			rc = acl_check(f, op, &q.acl, fresh, who, out, ret_request, ret_err);
		break;
	}
	return rc == 0 && f->scratch->starved ? -ENOMEM : rc;
}

/* ---- reads */

static bool
is_session_read(uint16_t op)
{
	return op == OP_SESSION_INFO || op == OP_SESSION_NODE || op == OP_SESSION_LIST;
}

/* Reads that are refused, where others are filtered. */
static bool
may_ask(uint16_t op, const void *request, struct asker *who, struct fsm_error *err)
{
	if (op == OP_AUTOPILOT_CONFIG || op == OP_OPERATOR_USAGE)
		return permit(who, ACL_OPERATOR, STR(""), ACL_READ, err);
	return op != OP_COORDINATE_NODE || permit(who, ACL_NODE, ((const struct catalog_query *)request)->node, ACL_READ, err);
}

int
fsm_query(const struct fsm *f, uint16_t op, const void *request, uint64_t since, struct asker *who, struct mp_w *out,
    uint64_t *ret_index, struct watch_set *ret_watch, struct fsm_error *ret_err)
{
	uint64_t idx = 0;
	int rc = 0;

	ret_err->code = 0;
	if (ret_watch != NULL)
		ret_watch->n = 0;
	scratch_clear(f);
	f->scratch->who = who;
	if (op == OP_KV_GET || op == OP_KV_LIST || op == OP_KV_KEYS || op == OP_KV_CHANGES)
		kv_query(f, op, request, since, who, out, &idx, ret_watch, ret_err);
	else if (is_session_read(op))
		session_query(f, op, request, out, &idx, ret_watch, ret_err);
	else if (op >= OP_CATALOG_NODES && op <= OP_CATALOG_NODE_SERVICES)
		rc = catalog_query(f, op, request, out, &idx, ret_watch, ret_err);
	else if (op == OP_CATALOG_REVERSE)
		rc = address_query(f, request, out, &idx, ret_watch, ret_err);
	else if (op >= OP_HEALTH_NODE && op <= OP_HEALTH_SERVICE)
		rc = health_query(f, op, request, out, &idx, ret_watch, ret_err);
	else if (!may_ask(op, request, who, ret_err))
		idx = 0;
	else if (op == OP_AUTOPILOT_CONFIG)
		autopilot_query(f, out, &idx);
	else if (op == OP_UI_NODES || op == OP_UI_SERVICES)
		rc = ui_query(f, op, request, out, &idx, ret_watch, ret_err);
	else if (op == OP_OPERATOR_USAGE)
		usage_query(f, out, &idx, ret_watch);
	else if (op == OP_COORDINATE_LIST || op == OP_COORDINATE_NODE)
		rc = coordinate_query(f, op, request, out, &idx, ret_watch);
	else if (op >= OP_QUERY_GET && op <= OP_QUERY_EXPLAIN)
		rc = pquery_read(f, op, request, who, out, &idx, ret_watch, ret_err);
	else if (op >= OP_ACL_TOKEN_READ && op <= OP_ACL_TRANSLATE)
		rc = acl_query_read(f, op, request, who, out, &idx, ret_watch, ret_err);
	else
		return -EINVAL;
	*ret_index = max_u64(idx, 1);	/* 0 would mean: do not block */
	if (rc == 0 && f->scratch->starved)
		rc = -ENOMEM;
	return rc < 0 ? rc : out->err;
}
