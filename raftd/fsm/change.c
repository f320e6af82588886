/* change.c - the journal of one entry: every change of an item passes here. */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/state.h"

enum {
	JOURNAL_KEEP = 4096,		/* changes for which memory is kept between entries */
	ENCODED_KEEP = 64 * KiB,	/* bytes kept for the encoding of one record */
};

static const struct table_ops *const tables[T_COUNT] = {
	[T_KV] = &kv_ops, [T_TOMB] = &tomb_ops, [T_SESSION] = &session_ops, [T_NODE] = &node_ops, [T_SERVICE] = &service_ops,
	[T_CHECK] = &check_ops, [T_NAME] = &name_ops, [T_DELAY] = &delay_ops,
	[T_OPAQUE] = &opaque_ops, [T_AUTOPILOT] = &autopilot_ops, [T_COORDINATE] = &coordinate_ops,
	[T_QUERY] = &query_ops, [T_KV_TTL] = &ttl_ops,
	[T_ACL_TOKEN] = &acl_token_ops, [T_ACL_POLICY] = &acl_policy_ops, [T_ACL_ROLE] = &acl_role_ops,
	[T_ACL_METHOD] = &acl_method_ops, [T_ACL_BINDING] = &acl_binding_ops,
};

static int
journal_reserve(struct fsm *f)
{
	size_t cap = f->journal_cap != 0 ? f->journal_cap * 2 : 64;
	struct change *p;

	if (f->njournal < f->journal_cap)
		return 0;
	p = realloc(f->journal, cap * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	f->journal = p;
	f->journal_cap = cap;
	return 0;
}

int
change_put(struct apply *ap, enum item_table table, void *old, void *new)
{
	struct fsm *f = ap->f;
	int rc = journal_reserve(f);

	if (rc == 0)
		rc = tables[table]->swap(f, old, new);
	if (rc < 0) {
		if (new != NULL)
			tables[table]->drop(new);
		return rc;
	}
	f->journal[f->njournal++] = (struct change){ table, old, new };
	return 0;
}

static int
report(const struct fsm *f, const struct table_ops *ops, const void *old, const void *new, const struct fsm_sink *sink)
{
	struct mp_w w = mp_w_init(f->enc);
	struct str key;

	buf_clear(f->enc);
	key = ops->encode(new != NULL ? new : old, new != NULL ? &w : NULL);
	if (w.err < 0)
		return w.err;
	sink->changed(sink->ctx, ops->image, key,
	    new != NULL ? (struct str){ (const char *)f->enc->data, f->enc->len } : STR_NONE);
	return 0;
}

static void
journal_clear(struct fsm *f)
{
	f->njournal = 0;
	buf_shrink(f->enc, ENCODED_KEEP);
	if (f->journal_cap > JOURNAL_KEEP) {
		free(f->journal);
		f->journal = NULL;
		f->journal_cap = 0;
	}
}

int
change_commit(struct fsm *f, const struct fsm_sink *sink)
{
	int rc = 0;

	for (size_t i = 0; i < f->njournal; i++) {
		const struct change *c = &f->journal[i];

		if (rc == 0 && sink->changed != NULL)
			rc = report(f, tables[c->table], c->old, c->new, sink);
		tables[c->table]->touch(f, c->old, c->new, sink);
	}
	/* Only now: what one change put in, a later one may have replaced. */
	for (size_t i = 0; i < f->njournal; i++)
		if (f->journal[i].old != NULL)
			tables[f->journal[i].table]->drop(f->journal[i].old);
	journal_clear(f);
	return rc;
}

int
change_undo(struct fsm *f, size_t mark)
{
	while (f->njournal > mark) {
		const struct change *c = &f->journal[f->njournal - 1];
		int rc = tables[c->table]->swap(f, c->new, c->old);

		if (rc < 0)
			return rc;
		if (c->new != NULL)
			tables[c->table]->drop(c->new);
		f->njournal--;
	}
	return 0;
}

int
change_load(struct fsm *f, enum item_table table, void *item)
{
	const struct tree *t = tables[table]->primary(f);
	struct str key = t->type->key(item);
	void *old = tree_is_last(t, key) ? NULL : tree_get(t, key);
	int rc = tables[table]->swap(f, old, item);

	if (rc < 0)
		tables[table]->drop(item);
	else if (old != NULL)
		tables[table]->drop(old);
	return rc;
}

static int
dump_table(const struct fsm *f, const struct table_ops *ops, const struct fsm_sink *sink)
{
	struct tree_iter it;
	void *item;
	int rc = 0;

	tree_seek(ops->primary(f), STR_NONE, &it);
	while (rc == 0 && (item = tree_next(&it)) != NULL)
		rc = report(f, ops, NULL, item, sink);
	return rc;
}

int
change_dump(const struct fsm *f, const struct fsm_sink *sink)
{
	int rc = 0;

	for (size_t i = 0; i < T_COUNT && rc == 0; i++)
		rc = dump_table(f, tables[i], sink);
	return rc;
}

int
fsm_walk(const struct fsm *f, enum fsm_table table, struct str prefix,
    int (*each)(void *ctx, struct str key, struct str value), void *ctx)
{
	const struct table_ops *ops = NULL;
	struct tree_iter it;
	void *item;
	int rc = 0;

	for (size_t i = 0; i < T_COUNT; i++)
		if (tables[i]->image == table)
			ops = tables[i];
	if (ops == NULL)
		return 0;
	tree_seek(ops->primary(f), prefix, &it);
	while (rc == 0 && (item = tree_next_prefixed(&it, prefix)) != NULL) {
		struct mp_w w = mp_w_init(f->enc);
		struct str key;

		buf_clear(f->enc);
		key = ops->encode(item, &w);
		rc = w.err;
		if (rc == 0)
			rc = each(ctx, key, (struct str){ (const char *)f->enc->data, f->enc->len });
	}
	return rc;
}

void
change_release(struct fsm *f)
{
	for (size_t i = 0; i < f->njournal; i++)
		if (f->journal[i].old != NULL)
			tables[f->journal[i].table]->drop(f->journal[i].old);
	free(f->journal);
	for (size_t i = 0; i < T_COUNT; i++)
		tables[i]->release(f);
}

/* ---- trees of a table */

static bool
in_tree(const struct tree *t, const void *item)
{
	return item != NULL && t->type->key(item).len > 0;
}

static int
tree_swap(struct tree *t, void *old, void *new)
{
	bool out = in_tree(t, old), in = in_tree(t, new);
	int rc;

	if (in && out && str_eq(t->type->key(old), t->type->key(new))) {
		tree_replace(t, old, new);
		return 0;
	}
	if (in) {
		rc = tree_add(t, new);
		if (rc < 0)
			return rc;
	}
	if (out)
		tree_del(t, old);
	return 0;
}

/* As tree_swap() the other way, but without memory it leaves old out rather than new in. */
static void
tree_unswap(struct tree *t, void *old, void *new)
{
	if (in_tree(t, old) && in_tree(t, new) && str_eq(t->type->key(old), t->type->key(new))) {
		tree_replace(t, new, old);
		return;
	}
	if (in_tree(t, new))
		tree_del(t, new);
	if (in_tree(t, old) && tree_add(t, old) < 0)
		return;
}

int
trees_swap(struct tree *const *t, size_t n, void *old, void *new)
{
	for (size_t i = 0; i < n; i++) {
		int rc = tree_swap(t[i], old, new);

		if (rc < 0) {
			while (i-- > 0)
				tree_unswap(t[i], old, new);
			return rc;
		}
	}
	return 0;
}
