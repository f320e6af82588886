/* kv.c - keys and values: how they are kept, in memory and in the image. */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/state.h"

enum { KV_MORE = 24 };	/* bytes of flags, lock index and fencing token behind the value */

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
		memcpy(&e.fencing, p + 16, 8);
		e.session = (struct str){ p + KV_MORE, kv->slen };
	}
	return e;
}

struct kv *
kv_new(const struct kv_entry *e)
{
	bool more = e->flags != 0 || e->lock_index != 0 || e->fencing != 0 || e->session.len > 0;
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
		memcpy(p + 16, &e->fencing, 8);
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
	FIELD(kv_entry, fencing, "FencingToken", F_UINT, FF_OMITEMPTY),
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
	struct str key = kv_key(new != NULL ? new : old);

	if (new == NULL)
		gone_note(f->gone, f->idx.kvs, key);	/* whatever removes a key sets this index */
	touch_one(sink, WATCH_KV_KEY, key);
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
	/* A restored state's next fencing token is above this one. */
	index_loaded(f, max_u64(max_u64(e.create_index, e.modify_index), e.fencing));
	return change_load(f, T_KV, kv);
}
