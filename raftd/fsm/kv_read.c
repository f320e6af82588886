/* kv_read.c - reads of keys and values, as far as who asks may see them. */
#include "raftd/fsm/state.h"

/* A list that is being written. */
struct listing {
	const struct fsm *f;
	const struct kv_query *q;
	struct asker *who;
	struct mp_w *out;	/* nothing is written to it while names are counted alone */
	uint32_t n;
	bool cut;		/* there is more behind it */
};

struct kv_entry
kv_shown(const struct fsm *f, const struct kv *kv, bool fencing)
{
	struct kv_entry e = kv_view(kv);

	if (!fencing)
		e.fencing = 0;
	e.expires_at = ttl_shown(f, e.key);
	return e;
}

static void
kv_write_entry(const struct fsm *f, const struct kv *kv, bool fencing, struct mp_w *out)
{
	struct kv_entry e = kv_shown(f, kv, fencing);

	record_encode(&rec_kv_entry, &e, RECORD_PUBLIC, out);
}

/* False: the refusal was said. */
static bool
may_read(struct asker *who, struct str key, struct fsm_error *err)
{
	if (asker_may(who, ACL_KEY, key, ACL_READ))
		return true;
	err->code = 403;
	asker_denied(who, ACL_KEY, key, ACL_READ, err->text, sizeof(err->text));
	return false;
}

bool
kv_may_list(struct asker *who, struct str prefix, struct fsm_error *err)
{
	/* Without that right lists are filtered, and never refused. */
	if (who == NULL || who->authz == NULL || !authz_lists_keys(who->authz) || asker_may(who, ACL_KEY, prefix, ACL_LIST))
		return true;
	err->code = 403;
	asker_denied(who, ACL_KEY, prefix, ACL_LIST, err->text, sizeof(err->text));
	return false;
}

static void
query_get(const struct fsm *f, const struct kv_query *q, struct asker *who, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	const struct kv *kv = kv_find(f, q->key);

	watch_add(watch, WATCH_KV_KEY, q->key);
	if (!may_read(who, q->key, err))
		return;
	mp_w_array(out, kv != NULL);
	if (kv != NULL)
		kv_write_entry(f, kv, q->fencing, out);
	*idx = kv != NULL ? kv->modify_index : max_u64(f->idx.kvs, f->idx.tombstones);
}

void
kv_prefix_index(const struct fsm *f, struct str prefix, uint64_t *idx, struct watch_set *watch)
{
	uint64_t table = max_u64(f->idx.kvs, f->idx.tombstones), below = 0;

	if (prefix.len > 0)
		below = max_u64(tree_prefix_max(&f->kv, prefix), tree_prefix_max(&f->tombs, prefix));
	*idx = below != 0 ? below : table;
	watch_add(watch, WATCH_KV_PREFIX, prefix);	/* whatever the index does: only what is below it shows */
}

/* ---- lists */

/* Where the name ends that the key is shown by: behind the separator of this number past the prefix, or at its own end (false). */
static bool
cut(struct str key, size_t prefix, struct str sep, uint64_t number, size_t *ret_end)
{
	const char *at = NULL;
	size_t from = prefix;

	for (; number > 0 && sep.len > 0; number--) {
		at = memmem(key.p + from, key.len - from, sep.p, sep.len);
		if (at == NULL)
			break;
		from = (size_t)(at - key.p) + sep.len;
	}
	*ret_end = at != NULL ? from : key.len;
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

/* Stand where the list begins: at the prefix, or behind the name that it is to go on from. False: nothing can be there. */
static bool
seek_first(const struct fsm *f, const struct kv_query *q, struct str sep, struct tree_iter *it)
{
	struct str after = q->after;
	size_t end;

	if (after.len == 0 || str_cmp(after, q->key) < 0) {
		tree_seek(&f->kv, q->key, it);
		return true;
	}
	/* A name that was cut stands for all that is below it. */
	if (str_has_prefix(after, q->key) && cut(after, q->key.len, sep, q->depth > 0 ? q->depth : 1, &end) && end == after.len)
		return seek_behind(f, after, it);
	tree_seek(&f->kv, after, it);
	if (tree_get(&f->kv, after) != NULL)
		(void)tree_next(it);
	return true;
}

/* Whether the list may take one more; else it is cut here. */
static bool
room(struct listing *l)
{
	l->cut = l->q->limit > 0 && l->n >= l->q->limit;
	return !l->cut;
}

static void
list_entries(struct listing *l, struct tree_iter *it)
{
	const struct kv_query *q = l->q;
	struct str sep = q->separator.len > 0 ? q->separator : STR("/");
	const struct kv *kv;
	size_t end;

	while (l->out->err == 0 && (kv = tree_next_prefixed(it, q->key)) != NULL) {
		struct str key = { kv->data, kv->klen };

		if (q->depth > 0 && cut(key, q->key.len, sep, q->depth, &end)) {
			if (!seek_behind(l->f, (struct str){ key.p, end }, it))
				return;
			continue;
		}
		if (!asker_sees(l->who, ACL_KEY, key))
			continue;
		if (!room(l))
			return;
		if (!q->count)
			kv_write_entry(l->f, kv, q->fencing, l->out);
		l->n++;
	}
}

static void
list_names(struct listing *l, struct tree_iter *it)
{
	const struct kv_query *q = l->q;
	struct str sep = q->separator.len > 0 || q->depth == 0 ? q->separator : STR("/");
	uint64_t depth = q->depth > 0 ? q->depth : 1;
	const struct kv *kv;
	size_t end;

	while (l->out->err == 0 && (kv = tree_next_prefixed(it, q->key)) != NULL) {
		struct str key = { kv->data, kv->klen };
		bool more = cut(key, q->key.len, sep, depth, &end);

		if (!asker_sees(l->who, ACL_KEY, key))
			continue;
		if (!room(l))
			return;
		if (!q->count)
			mp_w_str(l->out, (struct str){ key.p, end });
		l->n++;
		if (more && !seek_behind(l->f, (struct str){ key.p, end }, it))
			return;
	}
}

static void
query_list(const struct fsm *f, const struct kv_query *q, bool names, struct asker *who, struct mp_w *out)
{
	struct str sep = names ? (q->separator.len > 0 || q->depth == 0 ? q->separator : STR("/")) : STR("");
	struct listing l = { .f = f, .q = q, .who = who, .out = out };
	struct tree_iter it;
	size_t at = 0;

	if (!q->count) {
		if (q->limit > 0)
			mp_w_array(out, 2);
		at = mp_w_array_hold(out);
	}
	if (seek_first(f, q, sep, &it)) {
		if (names)
			list_names(&l, &it);
		else
			list_entries(&l, &it);
	}
	if (q->count) {
		mp_w_uint(out, l.n);
		return;
	}
	mp_w_array_patch(out, at, l.n);
	if (q->limit > 0)
		mp_w_bool(out, l.cut);
}

/* ---- what changed */

struct collect {
	const struct fsm *f;
	struct asker *who;
	bool fencing;
	struct mp_w *out;
	uint32_t n;
};

static void
collect_entry(void *ctx, const void *item)
{
	struct collect *c = ctx;
	const struct kv *kv = item;

	if (c->out->err < 0 || !asker_sees(c->who, ACL_KEY, (struct str){ kv->data, kv->klen }))
		return;
	kv_write_entry(c->f, kv, c->fencing, c->out);
	c->n++;
}

static void
collect_gone(void *ctx, uint64_t index, struct str key)
{
	struct collect *c = ctx;

	if (c->out->err < 0 || kv_find(c->f, key) != NULL || !asker_sees(c->who, ACL_KEY, key))
		return;
	mp_w_map(c->out, 2);
	mp_w_cstr(c->out, "Key");
	mp_w_str(c->out, key);
	mp_w_cstr(c->out, "ModifyIndex");
	mp_w_uint(c->out, index);
	c->n++;
}

/*
 * What stands below the prefix with an index above `since`, found by the largest indexes that the tree's inner nodes know; and
 * what has gone, as far back as deletions are remembered. Nothing of it: the question stays parked. The index that is told is
 * that of the whole state, so that the next question reaches back no further than it must.
 */
static void
query_changes(const struct fsm *f, const struct kv_query *q, uint64_t since, struct asker *who, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch)
{
	bool reset = since == 0 || !gone_reaches(f->gone, since);
	struct collect c = { f, who, q->fencing, out, 0 };
	uint32_t found;
	size_t at;

	watch_add(watch, WATCH_KV_PREFIX, q->key);
	mp_w_map(out, 3);
	mp_w_cstr(out, "Reset");
	mp_w_bool(out, reset);
	mp_w_cstr(out, "Entries");
	at = mp_w_array_hold(out);
	tree_walk_newer(&f->kv, q->key, reset ? 0 : since, collect_entry, &c);
	mp_w_array_patch(out, at, c.n);
	found = c.n;
	c.n = 0;
	mp_w_cstr(out, "Deleted");
	at = mp_w_array_hold(out);
	if (!reset)
		gone_walk(f->gone, q->key, since, collect_gone, &c);
	mp_w_array_patch(out, at, c.n);
	found += c.n;
	*idx = reset || found > 0 ? fsm_index(f) : since;
}

/* ---- the operations */

void
kv_query(const struct fsm *f, uint16_t op, const struct kv_query *q, uint64_t since, struct asker *who, struct mp_w *out,
    uint64_t *idx, struct watch_set *watch, struct fsm_error *err)
{
	if (op == OP_KV_GET) {
		query_get(f, q, who, out, idx, watch, err);
		return;
	}
	if (op != OP_KV_CHANGES)
		kv_prefix_index(f, q->key, idx, watch);
	if (!kv_may_list(who, q->key, err))
		return;
	if (op == OP_KV_CHANGES)
		query_changes(f, q, since, who, out, idx, watch);
	else
		query_list(f, q, op == OP_KV_KEYS, who, out);
}
