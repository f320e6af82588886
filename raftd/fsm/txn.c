/* txn.c - transactions: operations in order, all of them or none. */
#include "raftd/fsm/query.h"

/* A transaction at work: the results so far, the errors so far. */
struct txn {
	struct apply *ap;	/* a read-only one has no index and never reaches a write */
	struct buf results, errors;
	uint32_t nresults, nerrors;
	size_t op;		/* its number */
};

/* ---- results */

/* More than this a transaction that writes does not answer: its results are a part of the state for a while. */
enum { RESULTS_MAX = 64 * MiB };

/* {"KV": {...}}: one result of a kind. */
static void
give(struct txn *t, const char *kind, const struct record *rec, const void *obj)
{
	struct mp_w w = mp_w_init(&t->results);

	mp_w_map(&w, 1);
	mp_w_cstr(&w, kind);
	record_encode(rec, obj, RECORD_PUBLIC, &w);
	t->nresults++;
	if (w.err < 0)
		t->ap->w->err = w.err;
	else if (t->ap->index != 0 && t->results.len > RESULTS_MAX)
		fail(t->ap->err, 500, "the results of the transaction are larger than %d bytes", RESULTS_MAX);
}

/* In the log no moment of a server's own clock may be: only who merely reads is shown one. */
static struct kv_entry
entry_shown(const struct txn *t, const struct kv *kv)
{
	struct kv_entry e;

	if (t->ap->index == 0)
		return kv_shown(t->ap->f, kv, false);
	e = kv_view(kv);
	e.fencing = 0;
	return e;
}

/* What a write says of the entry it leaves: all but the value. */
static void
give_kv(struct txn *t, struct str key, bool value)
{
	const struct kv *kv = kv_find(t->ap->f, key);
	struct kv_entry e;

	if (kv == NULL)
		return;
	e = entry_shown(t, kv);
	if (!value)
		e.value = STR_NONE;
	if (shows(t->ap->f, ACL_KEY, key))
		give(t, "KV", &rec_kv_entry, &e);
}

static void
take_error(struct txn *t)
{
	struct mp_w w = mp_w_init(&t->errors);

	if (!FAILED(t->ap))
		return;
	mp_w_map(&w, 2);
	mp_w_cstr(&w, "OpIndex");
	mp_w_uint(&w, t->op);
	mp_w_cstr(&w, "What");
	mp_w_cstr(&w, t->ap->err->text);
	t->nerrors++;
	t->ap->err->code = 0;
	if (w.err < 0)
		t->ap->w->err = w.err;
}

static const char *
quoted(const struct txn *t, struct str s)
{
	return go_quote(t->ap->f, s);
}

/* ---- KV */

static void
kv_get_tree(struct txn *t, struct str prefix)
{
	struct tree_iter it;
	const struct kv *kv;

	tree_seek(&t->ap->f->kv, prefix, &it);
	while (!FAILED(t->ap) && (kv = tree_next_prefixed(&it, prefix)) != NULL) {
		struct kv_entry e = entry_shown(t, kv);

		if (shows(t->ap->f, ACL_KEY, e.key))
			give(t, "KV", &rec_kv_entry, &e);
	}
}

/* The verbs that only look; false: it is none of them. */
static bool
kv_look(struct txn *t, const struct txn_kv *op)
{
	const struct kv *kv = kv_find(t->ap->f, op->key);
	struct kv_entry e = kv != NULL ? kv_view(kv) : (struct kv_entry){ 0 };
	struct fsm_error *err = t->ap->err;

	if (str_eqs(op->verb, "get")) {
		/* Whether it exists is nothing for everybody. */
		if (kv == NULL && shows(t->ap->f, ACL_KEY, op->key))
			fail(err, 500, "key %s doesn't exist", quoted(t, op->key));
	} else if (str_eqs(op->verb, "get-or-empty")) {
		if (kv == NULL && shows(t->ap->f, ACL_KEY, op->key))
			give(t, "KV", &rec_kv_entry, &(struct kv_entry){ .key = op->key });
	} else if (str_eqs(op->verb, "get-tree")) {
		kv_get_tree(t, op->key);
		return true;
	} else if (str_eqs(op->verb, "check-index")) {
		if (kv == NULL)
			fail(err, 500, "failed to check index, key %s doesn't exist", quoted(t, op->key));
		else if (kv->modify_index != op->index)
			fail(err, 500, "failed index check for key %s, current modify index %llu != %llu", quoted(t, op->key),
			    (unsigned long long)kv->modify_index, (unsigned long long)op->index);
	} else if (str_eqs(op->verb, "check-session")) {
		if (kv == NULL)
			fail(err, 500, "failed to check session, key %s doesn't exist", quoted(t, op->key));
		else if (!str_eq(e.session, op->session))
			fail(err, 500, "failed session check for key %s, current session %s != %s", quoted(t, op->key),
			    quoted(t, e.session), quoted(t, op->session));
	} else if (str_eqs(op->verb, "check-not-exists")) {
		if (kv != NULL)
			fail(err, 500, "key %s exists", quoted(t, op->key));
		return true;
	} else {
		return false;
	}
	if (!FAILED(t->ap))
		give_kv(t, op->key, str_eqs(op->verb, "get") || str_eqs(op->verb, "get-or-empty"));
	return true;
}

static int
kv_lock_op(struct txn *t, const struct kv_entry *e)
{
	bool ok;
	int rc;

	if (delay_holds(t->ap->f, e->key, t->ap->time)) {
		fail(t->ap->err, 500, "failed to lock key %s due to lock delay", quoted(t, e->key));
		return 0;
	}
	rc = kv_lock(t->ap, e, &ok);
	if (rc == 0 && !FAILED(t->ap) && !ok)
		fail(t->ap->err, 500, "failed to lock key %s, lock is already held", quoted(t, e->key));
	return rc;
}

static int
kv_delete_op(struct txn *t, const struct txn_kv *op)
{
	bool ok = true;
	int rc;

	if (str_eqs(op->verb, "delete"))
		rc = kv_delete(t->ap, op->key);
	else if (str_eqs(op->verb, "delete-tree"))
		rc = kv_delete_tree(t->ap, op->key);
	else
		rc = kv_delete_cas(t->ap, op->key, op->index, &ok);
	if (rc == 0 && !ok)
		fail(t->ap->err, 500, "failed to delete key %s, index is stale", quoted(t, op->key));
	return rc;
}

/* ---- KV verbs of our own */

/* copy, move: another key is set to the value and flags of this one; move takes this one away. */
static int
kv_copy_op(struct txn *t, const struct txn_kv *op)
{
	bool move = str_eqs(op->verb, "move");
	const struct kv *kv = kv_find(t->ap->f, op->key);
	struct kv_entry e;
	int rc;

	if (op->dest.len == 0)
		fail(t->ap->err, 500, "%s needs a destination key in Dest", move ? "move" : "copy");
	else if (kv == NULL)
		fail(t->ap->err, 500, "key %s doesn't exist", quoted(t, op->key));
	else if (str_eq(op->key, op->dest))
		fail(t->ap->err, 500, "failed to %s key %s onto itself", move ? "move" : "copy", quoted(t, op->key));
	else if (move && kv_view(kv).session.len > 0)
		fail(t->ap->err, 500, "failed to move key %s, it is locked", quoted(t, op->key));
	if (FAILED(t->ap))
		return 0;
	e = kv_view(kv);	/* the journal keeps it until the entry is done */
	e = (struct kv_entry){ .key = op->dest, .value = e.value, .flags = e.flags };
	rc = kv_set(t->ap, &e);
	if (rc == 0 && move)
		rc = kv_delete(t->ap, op->key);
	if (rc == 0)
		give_kv(t, op->dest, false);
	return rc;
}

/* A decimal number that fits; false: it is none. No value is 0. */
static bool
decimal(struct str s, int64_t *ret)
{
	bool minus = s.len > 0 && s.p[0] == '-';
	int64_t v = 0;

	if (s.len == 0 || (minus && s.len == 1))
		return false;
	for (size_t i = minus; i < s.len; i++) {
		int64_t digit = s.p[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, minus ? -digit : digit, &v))
			return false;
	}
	*ret = v;
	return true;
}

/* By Value, or 1; an absent key counts as 0. The result carries the new value. */
static int
kv_increment_op(struct txn *t, const struct txn_kv *op)
{
	const struct kv *kv = kv_find(t->ap->f, op->key);
	struct kv_entry e = kv != NULL ? kv_view(kv) : (struct kv_entry){ .key = op->key };
	int64_t have = 0, by = 1;
	const char *text;
	int rc;

	if (op->value.len > 0 && !decimal(op->value, &by))
		fail(t->ap->err, 500, "failed to increment key %s, Value is not a decimal number", quoted(t, op->key));
	else if (kv != NULL && !decimal(e.value, &have))
		fail(t->ap->err, 500, "failed to increment key %s, it does not hold a decimal number", quoted(t, op->key));
	else if (__builtin_add_overflow(have, by, &have))
		fail(t->ap->err, 500, "failed to increment key %s, the number is too large", quoted(t, op->key));
	if (FAILED(t->ap))
		return 0;
	text = arena_printf(t->ap->f->arena, "%lld", (long long)have);
	if (text == NULL)
		return -ENOMEM;
	e.value = str_from(text);
	rc = kv_change(t->ap, &e);
	if (rc == 0)
		give_kv(t, op->key, true);
	return rc;
}

static bool
is_ours(struct str verb)
{
	return str_eqs(verb, "copy") || str_eqs(verb, "move") || str_eqs(verb, "increment");
}

static int
kv_write_op(struct txn *t, const struct txn_kv *op)
{
	struct kv_entry e = { .key = op->key, .value = op->value, .flags = op->flags, .session = op->session,
		.modify_index = op->index };
	bool ok = true;
	int rc = 0;

	if (str_eqs(op->verb, "set")) {
		rc = kv_set(t->ap, &e);
	} else if (str_eqs(op->verb, "cas")) {
		rc = kv_cas(t->ap, &e, &ok);
		if (!ok)
			fail(t->ap->err, 500, "failed to set key %s, index is stale", quoted(t, op->key));
	} else if (str_eqs(op->verb, "lock")) {
		rc = kv_lock_op(t, &e);
	} else if (str_eqs(op->verb, "unlock")) {
		rc = kv_unlock(t->ap, &e, &ok);
		if (!ok && !FAILED(t->ap))
			fail(t->ap->err, 500, "failed to unlock key %s, lock isn't held, or is held by another session",
			    quoted(t, op->key));
	} else {
		fail(t->ap->err, 500, "unknown KV verb %s", quoted(t, op->verb));
	}
	if (rc == 0 && !FAILED(t->ap))
		give_kv(t, op->key, false);
	return rc;
}

static bool
is_delete(struct str verb)
{
	return str_eqs(verb, "delete") || str_eqs(verb, "delete-cas") || str_eqs(verb, "delete-tree");
}

static int
kv_run(struct txn *t, const struct txn_kv *op)
{
	if (op->key.len == 0 && !str_eqs(op->verb, "delete-tree")) {
		fail(t->ap->err, 500, "Must provide key");
		return 0;
	}
	if (kv_look(t, op))
		return 0;
	if (is_ours(op->verb))
		return str_eqs(op->verb, "increment") ? kv_increment_op(t, op) : kv_copy_op(t, op);
	return is_delete(op->verb) ? kv_delete_op(t, op) : kv_write_op(t, op);
}

/* ---- nodes */

/* A cas index of 0 wants the thing absent, another wants just that. */
static bool
cas_holds(bool exists, uint64_t current, uint64_t wanted)
{
	return exists ? wanted != 0 && wanted == current : wanted == 0;
}

static void
give_node(struct txn *t, const struct node *want)
{
	const struct node_item *n = want->id.len > 0 ? node_find_id(t->ap->f, want->id) : node_find(t->ap->f, want->node);

	if (!shows(t->ap->f, ACL_NODE, n != NULL ? n->n.node : want->node))
		return;
	if (n != NULL)
		give(t, "Node", &rec_node, &n->n);
	else
		fail(t->ap->err, 500, "node %s doesn't exist", quoted(t, want->node));
}

static int
node_run(struct txn *t, const struct txn_node *op)
{
	const struct node_item *was = node_find(t->ap->f, op->node.node);
	uint64_t index = was != NULL ? was->n.modify_index : 0;
	int rc = 0;

	if (!catalog_vet_node(t->ap->f, op->node.node, op->node.id, t->ap->err))
		return 0;
	if (str_eqs(op->verb, "get")) {
		give_node(t, &op->node);
	} else if (str_eqs(op->verb, "set") || str_eqs(op->verb, "cas")) {
		if (str_eqs(op->verb, "cas") && !cas_holds(was != NULL, index, op->node.modify_index))
			fail(t->ap->err, 500, "failed to set node %s, index is stale", quoted(t, op->node.node));
		else
			rc = node_ensure(t->ap, &op->node);
		if (rc == 0 && !FAILED(t->ap))
			give_node(t, &op->node);
	} else if (str_eqs(op->verb, "delete") || str_eqs(op->verb, "delete-cas")) {
		if (str_eqs(op->verb, "delete-cas") && (was == NULL || index != op->node.modify_index))
			fail(t->ap->err, 500, "failed to delete node %s, index is stale", quoted(t, op->node.node));
		else
			rc = node_delete(t->ap, op->node.node);
	} else {
		fail(t->ap->err, 500, "unknown Node verb %s", quoted(t, op->verb));
	}
	return rc;
}

/* ---- services */

static void
give_service(struct txn *t, struct str node, struct str id)
{
	const struct service_item *s = service_find(t->ap->f, node, id);
	struct node_service shown;

	if (s != NULL && !shows(t->ap->f, ACL_SERVICE, s->s.service))
		return;
	if (s != NULL) {
		shown = service_show(s);
		give(t, "Service", &rec_node_service, &shown);
	} else if (shows(t->ap->f, ACL_NODE, node)) {
		fail(t->ap->err, 500, "service %s on node %s doesn't exist", quoted(t, id), quoted(t, node));
	}
}

static int
service_run(struct txn *t, const struct txn_service *op)
{
	struct node_service s = op->service;
	const struct service_item *was;
	uint64_t index;
	int rc = 0;

	if (s.id.len == 0)
		s.id = s.service;
	if (!catalog_vet_node(t->ap->f, op->node, STR_NONE, t->ap->err))
		return 0;
	was = service_find(t->ap->f, op->node, s.id);
	index = was != NULL ? was->s.modify_index : 0;
	if (str_eqs(op->verb, "get")) {
		give_service(t, op->node, s.id);
	} else if (str_eqs(op->verb, "set") || str_eqs(op->verb, "cas")) {
		if (str_eqs(op->verb, "cas") && !cas_holds(was != NULL, index, s.modify_index))
			fail(t->ap->err, 500, "failed to set service %s on node %s, index is stale", quoted(t, s.id),
			    quoted(t, op->node));
		else if (catalog_vet_service(&s, t->ap->err))
			rc = service_ensure(t->ap, op->node, &s);
		if (rc == 0 && !FAILED(t->ap))
			give_service(t, op->node, s.id);
	} else if (str_eqs(op->verb, "delete") || str_eqs(op->verb, "delete-cas")) {
		if (str_eqs(op->verb, "delete-cas") && (was == NULL || index != s.modify_index))
			fail(t->ap->err, 500, "failed to delete service %s on node %s, index is stale", quoted(t, s.id),
			    quoted(t, op->node));
		else
			rc = service_delete(t->ap, op->node, s.id);
	} else {
		fail(t->ap->err, 500, "unknown Service verb %s", quoted(t, op->verb));
	}
	return rc;
}

/* ---- checks */

static void
give_check(struct txn *t, struct str node, struct str id)
{
	const struct check_item *c = check_find(t->ap->f, node, id);

	if (c != NULL && !shows_check(t->ap->f, &c->c))
		return;
	if (c != NULL)
		give(t, "Check", &rec_health_check, &c->c);
	else if (shows(t->ap->f, ACL_NODE, node))
		fail(t->ap->err, 500, "check %s on node %s doesn't exist", quoted(t, id), quoted(t, node));
}

static int
check_run(struct txn *t, const struct txn_check *op)
{
	struct health_check c = op->check;
	const struct check_item *was;
	uint64_t index;
	int rc = 0;

	if (c.check_id.len == 0)
		c.check_id = c.name;
	if (catalog_vet_node(t->ap->f, c.node, STR_NONE, t->ap->err) && c.check_id.len == 0)
		fail(t->ap->err, 500, "Must provide check ID or name");
	if (FAILED(t->ap))
		return 0;
	was = check_find(t->ap->f, c.node, c.check_id);
	index = was != NULL ? was->c.modify_index : 0;
	if (str_eqs(op->verb, "get")) {
		give_check(t, c.node, c.check_id);
	} else if (str_eqs(op->verb, "set") || str_eqs(op->verb, "cas")) {
		if (str_eqs(op->verb, "cas") && !cas_holds(was != NULL, index, c.modify_index))
			fail(t->ap->err, 500, "failed to set check %s on node %s, index is stale", quoted(t, c.check_id),
			    quoted(t, c.node));
		else
			rc = check_ensure(t->ap, &c);
		if (rc == 0 && !FAILED(t->ap))
			give_check(t, c.node, c.check_id);
	} else if (str_eqs(op->verb, "delete") || str_eqs(op->verb, "delete-cas")) {
		if (str_eqs(op->verb, "delete-cas") && (was == NULL || index != c.modify_index))
			fail(t->ap->err, 500, "failed to delete check %s on node %s, index is stale", quoted(t, c.check_id),
			    quoted(t, c.node));
		else
			rc = check_delete(t->ap, c.node, c.check_id);
	} else {
		fail(t->ap->err, 500, "unknown Check verb %s", quoted(t, op->verb));
	}
	return rc;
}

/* ---- the whole */

static int
run_op(struct txn *t, const struct txn_op *op)
{
	if (op->kv.n == 1)
		return kv_run(t, op->kv.v);
	if (op->node.n == 1)
		return node_run(t, op->node.v);
	if (op->service.n == 1)
		return service_run(t, op->service.v);
	if (op->check.n == 1)
		return check_run(t, op->check.v);
	fail(t->ap->err, 500, "no operation specified");
	return 0;
}

/* {"Results": ..., "Errors": ...}: one of them nil, as Go's nil lists. */
static void
reply(const struct txn *t, struct mp_w *out)
{
	mp_w_map(out, 2);
	mp_w_cstr(out, "Results");
	if (t->nerrors > 0) {
		mp_w_nil(out);
	} else {
		mp_w_array(out, t->nresults);
		mp_w_raw(out, (struct str){ (const char *)t->results.data, t->results.len });
	}
	mp_w_cstr(out, "Errors");
	if (t->nerrors == 0) {
		mp_w_nil(out);
		return;
	}
	mp_w_array(out, t->nerrors);
	mp_w_raw(out, (struct str){ (const char *)t->errors.data, t->errors.len });
}

/* Each operation that its asker may not do is an error of the transaction. */
static void
check_rights(struct txn *t, const struct txn_request *req, struct asker *who)
{
	const struct txn_op *ops = req->ops.v;

	for (size_t i = 0; who != NULL && i < req->ops.n; i++) {
		t->op = i;
		if (!permit_txn_op(t->ap->f, who, &ops[i], t->ap->err))
			take_error(t);
	}
}

/*
 * A read of what the asker may not see is left out of the results, whether it is there or not: without that one that is not
 * there would fail the transaction, and so tell.
 */
static bool
hide_reads(const struct txn_request *req, struct asker *who)
{
	const struct txn_op *ops = req->ops.v;
	bool any = false;

	for (size_t i = 0; who != NULL && i < req->ops.n; i++) {
		struct txn_kv *kv = ops[i].kv.n == 1 ? ops[i].kv.v : NULL;

		if (kv == NULL || !str_eqs(kv->verb, "get") || kv->key.len == 0 || asker_may(who, ACL_KEY, kv->key, ACL_READ))
			continue;
		kv->verb = STR("get-or-empty");
		any = true;
	}
	return any;
}

int
txn_check(const struct fsm *f, const struct txn_request *req, struct asker *who, struct buf *out, struct str *ret_reply,
    struct fsm_error *err)
{
	struct mp_w w = mp_w_init(out);
	struct apply ap = { (struct fsm *)f, 0, f->time, &w, err };
	struct txn t = { .ap = &ap, .results = BUF_INIT(1), .errors = BUF_INIT(FSM_ENTRY_MAX) };
	size_t start = out->len;

	check_rights(&t, req, who);
	if (t.nerrors > 0) {
		reply(&t, &w);
		*ret_reply = (struct str){ (const char *)out->data + start, out->len - start };
		err->code = FSM_ANSWERED;
	} else if (hide_reads(req, who)) {
		record_encode(&rec_txn_request, req, RECORD_WHOLE, &w);
		*ret_reply = (struct str){ (const char *)out->data + start, out->len - start };
	}
	buf_release(&t.errors);
	return w.err;
}

static int
run(struct apply *ap, const struct txn_request *req, uint32_t *ret_errors)
{
	const struct txn_op *ops = req->ops.v;
	struct txn t = { .ap = ap, .results = BUF_INIT(FSM_ENTRY_MAX), .errors = BUF_INIT(FSM_ENTRY_MAX) };
	size_t n;
	int rc = 0;

	check_rights(&t, req, ap->f->scratch->who);
	n = t.nerrors == 0 ? req->ops.n : 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		t.op = i;
		rc = run_op(&t, &ops[i]);
		take_error(&t);
	}
	if (rc == 0)
		reply(&t, ap->w);
	*ret_errors = t.nerrors;
	buf_release(&t.results);
	buf_release(&t.errors);
	return rc;
}

int
txn_apply(struct apply *ap, const struct txn_request *req)
{
	struct indexes saved = ap->f->idx;
	size_t mark = ap->f->njournal;
	uint32_t errors;
	int rc = run(ap, req, &errors);

	if (rc < 0 || errors == 0)
		return rc;
	ap->f->idx = saved;
	return change_undo(ap->f, mark);
}

/* ---- read-only transactions */

static bool
op_reads(const struct txn_op *op)
{
	static const char *const writes[] = { "set", "cas", "delete", "delete-cas", "delete-tree", "lock", "unlock", "copy",
		"move", "increment" };

	if (op->kv.n == 1) {
		const struct txn_kv *kv = op->kv.v;

		for (size_t i = 0; i < ARRAY_LEN(writes); i++)
			if (str_eqs(kv->verb, writes[i]))
				return false;
		return true;
	}
	if (op->node.n == 1)
		return str_eqs(((const struct txn_node *)op->node.v)->verb, "get");
	if (op->service.n == 1)
		return str_eqs(((const struct txn_service *)op->service.v)->verb, "get");
	if (op->check.n == 1)
		return str_eqs(((const struct txn_check *)op->check.v)->verb, "get");
	return true;
}

static bool
all_read(const struct txn_request *req)
{
	const struct txn_op *ops = req->ops.v;

	for (size_t i = 0; i < req->ops.n; i++)
		if (!op_reads(&ops[i]))
			return false;
	return true;
}

bool
fsm_txn_is_read(struct str request)
{
	struct arena a = ARENA_INIT(SIZE_MAX / 4);
	struct mp_r r = mp_r_init(request.p, request.len);
	struct txn_request req;
	bool reads = record_decode(&rec_txn_request, &r, &req, &a) == 0 && all_read(&req);

	arena_release(&a);
	return reads;
}

int
fsm_query_txn(const struct fsm *f, const struct txn_request *req, struct asker *who, struct mp_w *out, uint64_t *ret_index,
    struct fsm_error *ret_err)
{
	struct apply ap = { (struct fsm *)f, 0, f->time, out, ret_err };
	uint32_t errors;
	int rc;

	ret_err->code = 0;
	*ret_index = max_u64(fsm_index(f), 1);
	arena_reset(f->arena);
	f->scratch->starved = false;
	f->scratch->who = who;
	if (req->ops.n > f->config.txn_ops_max)
		fail(ret_err, 413, "Transaction contains too many operations (%zu > %llu)", req->ops.n,
		    (unsigned long long)f->config.txn_ops_max);
	else if (!all_read(req))
		return -EINVAL;
	else if ((rc = run(&ap, req, &errors)) < 0)
		return rc;
	return f->scratch->starved ? -ENOMEM : out->err;
}

/* ---- the results of a transaction that writes, as its asker may see them */

/* Of a result the members that its rights go by. */
struct shown {
	struct str kind, key, node, service;
};

static struct shown
read_result(struct str raw)
{
	struct mp_r r = mp_r_init(raw.p, raw.len);
	struct shown s = { .kind = STR_NONE };
	uint32_t n = mp_r_map(&r);

	if (n != 1)
		return s;
	s.kind = mp_r_str(&r);
	n = mp_r_map(&r);
	for (uint32_t i = 0; i < n && r.err == 0; i++) {
		struct str name = mp_r_str(&r);

		if (str_eqs(name, "Key"))
			s.key = mp_r_str(&r);
		else if (str_eqs(name, "Node"))
			s.node = mp_r_str(&r);
		else if (str_eqs(name, "Service") || str_eqs(name, "ServiceName"))
			s.service = mp_r_str(&r);
		else
			mp_r_skip(&r);
	}
	return s;
}

static bool
may_see(struct asker *who, struct str raw)
{
	struct shown s = read_result(raw);

	if (str_eqs(s.kind, "KV"))
		return asker_sees(who, ACL_KEY, s.key);
	if (str_eqs(s.kind, "Service"))
		return asker_sees(who, ACL_SERVICE, s.service);
	return asker_sees(who, ACL_NODE, s.node) && (s.service.len == 0 || asker_sees(who, ACL_SERVICE, s.service));
}

int
fsm_txn_show(struct str payload, struct asker *who, struct buf *out)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);
	struct mp_w w = mp_w_init(out);
	uint32_t members = mp_r_map(&r), n, kept = 0;
	size_t at;

	mp_w_map(&w, members);
	mp_w_str(&w, mp_r_str(&r));
	if (mp_r_type(&r) != MP_ARRAY) {
		mp_w_raw(&w, mp_r_raw(&r));
	} else {
		n = mp_r_array(&r);
		at = mp_w_array_hold(&w);
		for (uint32_t i = 0; i < n && r.err == 0; i++) {
			struct str raw = mp_r_raw(&r);

			if (may_see(who, raw)) {
				mp_w_raw(&w, raw);
				kept++;
			}
		}
		mp_w_array_patch(&w, at, kept);
	}
	/* The errors, as they are. */
	mp_w_raw(&w, (struct str){ (const char *)r.p, (size_t)(r.end - r.p) });
	return r.err < 0 ? r.err : w.err;
}
