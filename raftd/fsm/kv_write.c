/* kv_write.c - what each verb does to keys and values. */
#include <assert.h>

#include "raftd/fsm/state.h"

/* A no-op moves no index, though the entry stands in the log. */
static bool
same_content(const struct kv_entry *a, const struct kv_entry *b)
{
	return a->flags == b->flags && a->lock_index == b->lock_index && str_eq(a->session, b->session) &&
	    str_eq(a->value, b->value);
}

/* fencing: the token of an acquisition by this write; 0: that of the last one stays, whatever the write says. */
static int
kv_put(struct apply *ap, struct kv *old, struct kv_entry *e, uint64_t fencing)
{
	struct kv *kv;

	e->fencing = fencing;
	if (old != NULL) {
		struct kv_entry was = kv_view(old);

		if (same_content(&was, e))
			return 0;
		if (fencing == 0)
			e->fencing = was.fencing;
	}
	e->create_index = old != NULL ? old->create_index : ap->index;
	e->modify_index = ap->index;
	kv = kv_new(e);
	if (kv == NULL)
		return -ENOMEM;
	ap->f->idx.kvs = ap->index;
	return change_put(ap, T_KV, old, kv);
}

int
kv_set(struct apply *ap, const struct kv_entry *e)
{
	struct kv *old = kv_find(ap->f, e->key);
	struct kv_entry n = *e;

	int rc = ttl_put(ap, e->key, 0);	/* what is written anew stays, unless it is said again that it does not */

	n.session = old != NULL ? kv_view(old).session : STR_NONE;
	return rc == 0 ? kv_put(ap, old, &n, 0) : rc;
}

int
kv_change(struct apply *ap, const struct kv_entry *e)
{
	struct kv *old = kv_find(ap->f, e->key);
	struct kv_entry n = *e, was = { 0 };

	if (old != NULL)
		was = kv_view(old);
	n.session = was.session;
	n.lock_index = was.lock_index;
	return kv_put(ap, old, &n, 0);
}

int
kv_cas(struct apply *ap, const struct kv_entry *e, bool *ret_ok)
{
	const struct kv *old = kv_find(ap->f, e->key);

	*ret_ok = (old != NULL ? old->modify_index : 0) == e->modify_index;
	return *ret_ok ? kv_set(ap, e) : 0;
}

int
kv_delete(struct apply *ap, struct str key)
{
	struct kv *old = kv_find(ap->f, key);
	int rc;

	if (old == NULL)
		return 0;
	rc = tomb_put(ap, key);
	if (rc == 0)
		rc = ttl_put(ap, key, 0);
	if (rc < 0)
		return rc;
	ap->f->idx.kvs = ap->index;
	return change_put(ap, T_KV, old, NULL);
}

int
kv_delete_cas(struct apply *ap, struct str key, uint64_t index, bool *ret_ok)
{
	const struct kv *old = kv_find(ap->f, key);

	*ret_ok = old == NULL || old->modify_index == index;
	return *ret_ok ? kv_delete(ap, key) : 0;
}

/* One tombstone stands for the whole prefix; none for the empty one, whose index is the table's. */
int
kv_delete_tree(struct apply *ap, struct str prefix)
{
	struct tree_iter it;
	struct kv *kv;
	bool any = false;
	int rc = 0;

	for (;;) {
		tree_seek(&ap->f->kv, prefix, &it);
		kv = tree_next_prefixed(&it, prefix);
		if (kv == NULL)
			break;
		rc = ttl_put(ap, (struct str){ kv->data, kv->klen }, 0);
		if (rc == 0)
			rc = change_put(ap, T_KV, kv, NULL);
		if (rc < 0)
			return rc;
		any = true;
	}
	if (!any)
		return 0;
	ap->f->idx.kvs = ap->index;
	return prefix.len > 0 ? tomb_put(ap, prefix) : 0;
}

bool
kv_vet_session(const struct fsm *f, struct str id, struct fsm_error *err)
{
	const char *why = uuid_index_complaint(f, id);

	if (id.len == 0)
		fail(err, 500, "missing session");
	else if (why != NULL)
		fail(err, 500, "failed session lookup: index error: %s", why);
	else if (session_find(f, id) == NULL)
		fail(err, 500, "invalid session %s", go_quote(f, id));
	return err->code == 0;
}

/* The session's ID as it is stored, whatever the caller's spelling. */
static struct str
holder(const struct fsm *f, struct str id)
{
	const struct session_item *s = session_find(f, id);

	return s != NULL ? s->s.id : id;
}

int
kv_lock(struct apply *ap, const struct kv_entry *e, bool *ret_ok)
{
	struct kv *old = kv_find(ap->f, e->key);
	struct kv_entry n = *e, was = { 0 };
	int rc;

	*ret_ok = false;
	if (!kv_vet_session(ap->f, e->session, ap->err))
		return 0;
	n.session = holder(ap->f, e->session);
	if (old != NULL)
		was = kv_view(old);
	if (was.session.len > 0 && !str_eq(was.session, n.session))
		return 0;
	*ret_ok = true;
	n.lock_index = was.session.len > 0 ? was.lock_index : was.lock_index + 1;
	rc = ttl_put(ap, e->key, 0);
	/* Indexes only grow, whatever becomes of the key and its lock index. */
	return rc == 0 ? kv_put(ap, old, &n, was.session.len > 0 ? 0 : ap->index) : rc;
}

int
kv_unlock(struct apply *ap, const struct kv_entry *e, bool *ret_ok)
{
	struct kv *old = kv_find(ap->f, e->key);
	struct kv_entry n = *e, was;
	int rc;

	*ret_ok = false;
	if (e->session.len == 0)
		fail(ap->err, 500, "missing session");
	if (FAILED(ap) || old == NULL)
		return 0;
	was = kv_view(old);
	if (!str_eq(was.session, holder(ap->f, e->session)))
		return 0;
	*ret_ok = true;
	n.session = STR_NONE;
	n.lock_index = was.lock_index;
	rc = ttl_put(ap, e->key, 0);
	return rc == 0 ? kv_put(ap, old, &n, 0) : rc;
}

/* Neither value nor index changes: only the deadline, which nobody waits for. */
static int
kv_renew(struct apply *ap, struct str key, int64_t ttl, bool *ret_ok)
{
	int64_t lasts = ttl > 0 ? ttl : ttl_of(ap->f, key);

	*ret_ok = lasts > 0 && kv_find(ap->f, key) != NULL;
	return *ret_ok ? ttl_put(ap, key, lasts) : 0;
}

uint64_t
kv_fencing(const struct fsm *f, struct str key)
{
	const struct kv *kv = kv_find(f, key);

	return kv != NULL ? kv_view(kv).fencing : 0;
}

int
kv_session_ended(struct apply *ap, const struct session *s)
{
	struct str prefix = join(ap->f, s->id, STR_NONE, STR_NONE);
	struct tree_iter it;
	const struct held *h;
	int rc;

	if (prefix.p == NULL)
		return -ENOMEM;
	for (;;) {
		struct kv *kv;
		struct kv_entry e;

		tree_seek(&ap->f->held, prefix, &it);
		h = tree_next_prefixed(&it, prefix);
		if (h == NULL)
			return 0;
		kv = kv_find(ap->f, (struct str){ h->data + h->session_len + 1, h->len - h->session_len - 1 });
		assert(kv != NULL);
		e = kv_view(kv);	/* the journal keeps it until the entry is done */
		if (s->lock_delay > 0) {
			rc = delay_put(ap, e.key, s->lock_delay);
			if (rc < 0)
				return rc;
		}
		e.session = STR_NONE;
		rc = str_eqs(s->behavior, "delete") ? kv_delete(ap, e.key) : kv_put(ap, kv, &e, 0);
		if (rc < 0)
			return rc;
	}
}

/* ---- kv.apply */

bool
kv_vet(const struct kv_op *op, struct fsm_error *err)
{
	if (op->entry.key.len == 0 && !str_eqs(op->verb, "delete-tree"))
		fail(err, 500, "Must provide key");
	else if (op->ttl != 0 && (op->ttl < KV_TTL_MIN || op->ttl > KV_TTL_MAX))
		fail(err, 400, "Invalid TTL: a key lasts from a second to ten years");
	else if (op->ttl != 0 && !str_eqs(op->verb, "set") && !str_eqs(op->verb, "cas") && !str_eqs(op->verb, "touch"))
		fail(err, 400, "A TTL goes with set, cas and touch alone");
	return err->code == 0;
}

/* The verbs that look at nothing but the key. *ret_done false: it is none of them. */
static int
apply_plain(struct apply *ap, const struct kv_op *op, bool *ret_ok, bool *ret_done)
{
	const struct kv_entry *e = &op->entry;
	int rc = 0;

	*ret_done = true;
	if (str_eqs(op->verb, "set"))
		rc = kv_set(ap, e);
	else if (str_eqs(op->verb, "cas"))
		rc = kv_cas(ap, e, ret_ok);
	else if (str_eqs(op->verb, "touch"))
		return kv_renew(ap, e->key, op->ttl, ret_ok);
	else if (str_eqs(op->verb, "delete"))
		return kv_delete(ap, e->key);
	else if (str_eqs(op->verb, "delete-cas"))
		return kv_delete_cas(ap, e->key, e->modify_index, ret_ok);
	else if (str_eqs(op->verb, "delete-tree"))
		return kv_delete_tree(ap, e->key);
	else
		*ret_done = false;
	return rc == 0 && *ret_ok && op->ttl > 0 ? ttl_put(ap, e->key, op->ttl) : rc;
}

static int
apply_lock(struct apply *ap, const struct kv_op *op, bool *ret_ok)
{
	const struct kv_entry *e = &op->entry;

	if (str_eqs(op->verb, "unlock"))
		return kv_unlock(ap, e, ret_ok);
	if (str_eqs(op->verb, "lock") && !delay_holds(ap->f, e->key, ap->time))
		return kv_lock(ap, e, ret_ok);
	*ret_ok = false;
	if (!str_eqs(op->verb, "lock"))
		fail(ap->err, 500, "unknown KV verb %s", go_quote(ap->f, op->verb));
	return 0;
}

int
kv_apply(struct apply *ap, const struct kv_op *op)
{
	bool ok = true, done;
	int rc;

	if (str_eqs(op->verb, KV_REPLAY)) {
		fail(ap->err, 500, "The outcome of this write is no longer known");
		return 0;
	}
	if (!kv_vet(op, ap->err))
		return 0;
	rc = apply_plain(ap, op, &ok, &done);
	if (!done)
		rc = apply_lock(ap, op, &ok);
	if (FAILED(ap))
		fail_context(ap->err, "raft apply failed: ");
	if (op->fencing)
		mp_w_uint(ap->w, ok ? kv_fencing(ap->f, op->entry.key) : 0);
	else
		mp_w_bool(ap->w, ok);
	return rc;
}
