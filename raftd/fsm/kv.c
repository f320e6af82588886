/* kv.c - keys and values: what each verb does, and reads. */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/state.h"

enum { KV_MORE = 16 };	/* bytes of flags and lock index behind the value */

/* ---- items */

static struct str
kv_key(const void *item)
{
	const struct kv *kv = item;

	return (struct str){ kv->data, kv->klen };
}

static uint64_t
kv_index(const void *item)
{
	return ((const struct kv *)item)->modify_index;
}

static struct str
held_key(const void *item)
{
	const struct held *h = item;

	return (struct str){ h->data, h->len };
}

const struct tree_type kv_tree = { kv_key, kv_index };
const struct tree_type held_tree = { held_key, NULL };

struct kv_entry
kv_view(const struct kv *kv)
{
	struct kv_entry e = {
		.key = { kv->data, kv->klen }, .value = { kv->data + kv->klen, kv->vlen },
		.create_index = kv->create_index, .modify_index = kv->modify_index,
	};

	if (kv->more != 0) {
		const char *p = kv->data + kv->klen + kv->vlen;

		memcpy(&e.flags, p, 8);
		memcpy(&e.lock_index, p + 8, 8);
		e.session = (struct str){ p + KV_MORE, kv->slen };
	}
	return e;
}

static struct kv *
kv_new(const struct kv_entry *e)
{
	bool more = e->flags != 0 || e->lock_index != 0 || e->session.len > 0;
	struct kv *kv;
	char *p;

	assert(e->key.len > 0 && e->key.len <= UINT32_MAX && e->value.len <= UINT32_MAX && e->session.len <= UINT16_MAX);
	kv = malloc(sizeof(*kv) + e->key.len + e->value.len + (more ? KV_MORE + e->session.len : 0));
	if (kv == NULL)
		return NULL;
	*kv = (struct kv){ .modify_index = e->modify_index, .create_index = e->create_index, .more = more,
		.klen = (uint32_t)e->key.len, .vlen = (uint32_t)e->value.len, .slen = (uint16_t)e->session.len };
	p = kv->data;
	memcpy(p, e->key.p, e->key.len);
	p += e->key.len;
	if (e->value.len > 0)
		memcpy(p, e->value.p, e->value.len);
	p += e->value.len;
	if (more) {
		memcpy(p, &e->flags, 8);
		memcpy(p + 8, &e->lock_index, 8);
		if (e->session.len > 0)
			memcpy(p + KV_MORE, e->session.p, e->session.len);
	}
	return kv;
}

struct kv *
kv_find(const struct fsm *f, struct str key)
{
	return tree_get(&f->kv, key);
}

/* ---- the keys that a session holds */

static int
held_add(struct fsm *f, const struct kv_entry *e)
{
	size_t len = e->session.len + 1 + e->key.len;
	struct held *h = malloc(sizeof(*h) + len);
	int rc;

	if (h == NULL)
		return -ENOMEM;
	*h = (struct held){ .len = (uint32_t)len, .session_len = (uint32_t)e->session.len };
	memcpy(h->data, e->session.p, e->session.len);
	h->data[e->session.len] = 0;
	memcpy(h->data + e->session.len + 1, e->key.p, e->key.len);
	rc = tree_add(&f->held, h);
	if (rc < 0)
		free(h);
	return rc;
}

static int
held_del(struct fsm *f, const struct kv_entry *e)
{
	struct str key = join(f, e->session, e->key, STR_NONE);
	struct held *h;

	if (key.p == NULL)
		return -ENOMEM;
	h = tree_get(&f->held, key);
	assert(h != NULL);
	tree_del(&f->held, h);
	free(h);
	return 0;
}

/* ---- the table's operations */

static int
kv_swap(struct fsm *f, void *old, void *new)
{
	struct kv_entry was = old != NULL ? kv_view(old) : (struct kv_entry){ 0 };
	struct kv_entry is = new != NULL ? kv_view(new) : (struct kv_entry){ 0 };
	bool same_holder = str_eq(was.session, is.session);
	int rc = 0;

	if (!same_holder && is.session.len > 0)
		rc = held_add(f, &is);
	if (rc == 0 && !same_holder && was.session.len > 0)
		rc = held_del(f, &was);
	if (rc < 0)
		return rc;
	if (old != NULL && new != NULL)
		tree_replace(&f->kv, old, new);
	else if (new != NULL)
		rc = tree_add(&f->kv, new);
	else
		tree_del(&f->kv, old);
	if (rc == 0)
		f->kv_bytes += is.key.len + is.value.len - was.key.len - was.value.len;
	return rc;
}

static const struct tree *
kv_primary(const struct fsm *f)
{
	return &f->kv;
}

/* In the image the key is not repeated in the value, nor is what is rarely set. */
static const struct field f_kv_image[] = {
	FIELD(kv_entry, value, "Value", F_BYTES, 0),
	FIELD(kv_entry, create_index, "CreateIndex", F_UINT, 0),
	FIELD(kv_entry, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(kv_entry, flags, "Flags", F_UINT, FF_OMITEMPTY),
	FIELD(kv_entry, lock_index, "LockIndex", F_UINT, FF_OMITEMPTY),
	FIELD(kv_entry, session, "Session", F_STR, FF_OMITEMPTY),
};
static RECORD(rec_kv_image, kv_entry, "KVImage", f_kv_image);

static struct str
kv_encode(const void *item, struct mp_w *w)
{
	struct kv_entry e = kv_view(item);

	if (w != NULL)
		record_encode(&rec_kv_image, &e, RECORD_WHOLE, w);
	return e.key;
}

static void
kv_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	(void)f;
	touch_one(sink, WATCH_KV_KEY, kv_key(new != NULL ? new : old));
}

static void
kv_release(struct fsm *f)
{
	tree_release(&f->kv, free);
	tree_release(&f->held, free);
}

const struct table_ops kv_ops = { FSM_KV, kv_primary, kv_swap, kv_encode, kv_touch, free, kv_release };

int
kv_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct kv_entry e;
	struct kv *kv;
	int rc;

	rc = record_decode(&rec_kv_image, &r, &e, f->arena);
	if (rc < 0)
		return rc;
	if (key.len == 0 || !mp_r_done(&r) || e.session.len > UINT16_MAX)
		return -EDECODE;
	e.key = key;
	kv = kv_new(&e);
	if (kv == NULL)
		return -ENOMEM;
	index_loaded(f, max_u64(e.create_index, e.modify_index));
	return change_load(f, T_KV, kv);
}

/* ---- writes */

/* A no-op moves no index, though the entry stands in the log. */
static bool
same_content(const struct kv_entry *a, const struct kv_entry *b)
{
	return a->flags == b->flags && a->lock_index == b->lock_index && str_eq(a->session, b->session) &&
	    str_eq(a->value, b->value);
}

static int
kv_put(struct apply *ap, struct kv *old, struct kv_entry *e)
{
	struct kv *kv;

	if (old != NULL) {
		struct kv_entry was = kv_view(old);

		if (same_content(&was, e))
			return 0;
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

	n.session = old != NULL ? kv_view(old).session : STR_NONE;
	return kv_put(ap, old, &n);
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
	return kv_put(ap, old, &n);
}

int
kv_unlock(struct apply *ap, const struct kv_entry *e, bool *ret_ok)
{
	struct kv *old = kv_find(ap->f, e->key);
	struct kv_entry n = *e, was;

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
	return kv_put(ap, old, &n);
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
		rc = str_eqs(s->behavior, "delete") ? kv_delete(ap, e.key) : kv_put(ap, kv, &e);
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
	return err->code == 0;
}

int
kv_apply(struct apply *ap, const struct kv_op *op)
{
	const struct kv_entry *e = &op->entry;
	bool ok = true;
	int rc = 0;

	if (!kv_vet(op, ap->err))
		return 0;
	if (str_eqs(op->verb, "set"))
		rc = kv_set(ap, e);
	else if (str_eqs(op->verb, "cas"))
		rc = kv_cas(ap, e, &ok);
	else if (str_eqs(op->verb, "delete"))
		rc = kv_delete(ap, e->key);
	else if (str_eqs(op->verb, "delete-cas"))
		rc = kv_delete_cas(ap, e->key, e->modify_index, &ok);
	else if (str_eqs(op->verb, "delete-tree"))
		rc = kv_delete_tree(ap, e->key);
	else if (str_eqs(op->verb, "unlock"))
		rc = kv_unlock(ap, e, &ok);
	else if (!str_eqs(op->verb, "lock"))
		fail(ap->err, 500, "unknown KV verb %s", go_quote(ap->f, op->verb));
	else if (delay_holds(ap->f, e->key, ap->time))
		ok = false;
	else
		rc = kv_lock(ap, e, &ok);
	if (FAILED(ap))
		fail_context(ap->err, "raft apply failed: ");
	mp_w_bool(ap->w, ok);
	return rc;
}

/* ---- reads */

static void
write_entry(const struct kv *kv, struct mp_w *out)
{
	struct kv_entry e = kv_view(kv);

	record_encode(&rec_kv_entry, &e, RECORD_PUBLIC, out);
}

void
kv_query_get(const struct fsm *f, const struct kv_query *q, struct mp_w *out, uint64_t *idx, struct watch_set *watch)
{
	const struct kv *kv = kv_find(f, q->key);

	mp_w_array(out, kv != NULL);
	if (kv != NULL)
		write_entry(kv, out);
	*idx = kv != NULL ? kv->modify_index : max_u64(f->idx.kvs, f->idx.tombstones);
	watch_add(watch, WATCH_KV_KEY, q->key);
}

/* With nothing below the prefix, and no tombstone, the table's index stands in: then any write wakes. */
static void
prefix_index(const struct fsm *f, struct str prefix, uint64_t *idx, struct watch_set *watch)
{
	uint64_t table = max_u64(f->idx.kvs, f->idx.tombstones), below = 0;

	if (prefix.len > 0)
		below = max_u64(tree_prefix_max(&f->kv, prefix), tree_prefix_max(&f->tombs, prefix));
	*idx = below != 0 ? below : table;
	watch_add(watch, WATCH_KV_PREFIX, below != 0 ? prefix : STR(""));
}

void
kv_query_list(const struct fsm *f, const struct kv_query *q, struct mp_w *out, uint64_t *idx, struct watch_set *watch)
{
	size_t at = mp_w_array_hold(out);
	struct tree_iter it;
	const struct kv *kv;
	uint32_t n = 0;

	tree_seek(&f->kv, q->key, &it);
	while (out->err == 0 && (kv = tree_next_prefixed(&it, q->key)) != NULL) {
		write_entry(kv, out);
		n++;
	}
	mp_w_array_patch(out, at, n);
	prefix_index(f, q->key, idx, watch);
}

/* Whether there is a separator past the prefix; *ret_end is behind the first, or the key's end. */
static bool
cut(struct str key, size_t prefix, struct str sep, size_t *ret_end)
{
	const char *at = sep.len > 0 ? memmem(key.p + prefix, key.len - prefix, sep.p, sep.len) : NULL;

	*ret_end = at != NULL ? (size_t)(at - key.p) + sep.len : key.len;
	return at != NULL;
}

/* Go on behind every key that starts with name; false when there can be none. */
static bool
seek_behind(const struct fsm *f, struct str name, struct tree_iter *it)
{
	char *p = arena_strdup(f->arena, name);
	size_t n = name.len;

	f->scratch->starved = f->scratch->starved || p == NULL;
	while (p != NULL && n > 0 && (unsigned char)p[n - 1] == 0xff)
		n--;
	if (p == NULL || n == 0)
		return false;
	p[n - 1]++;
	tree_seek(&f->kv, (struct str){ p, n }, it);
	return true;
}

void
kv_query_keys(const struct fsm *f, const struct kv_query *q, struct mp_w *out, uint64_t *idx, struct watch_set *watch)
{
	size_t at = mp_w_array_hold(out);
	struct tree_iter it;
	const struct kv *kv;
	uint32_t n = 0;

	tree_seek(&f->kv, q->key, &it);
	while (out->err == 0 && (kv = tree_next_prefixed(&it, q->key)) != NULL) {
		struct str key = kv_key(kv);
		size_t end;
		bool more = cut(key, q->key.len, q->separator, &end);

		mp_w_str(out, (struct str){ key.p, end });
		n++;
		if (more && !seek_behind(f, (struct str){ key.p, end }, &it))
			break;
	}
	mp_w_array_patch(out, at, n);
	prefix_index(f, q->key, idx, watch);
}
