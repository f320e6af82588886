/* tomb.c - tombstones: the indexes of deletions, so that a prefix's index does not go back. */
#include <stdlib.h>

#include "raftd/fsm/state.h"

static struct str
tomb_key(const void *item)
{
	const struct tomb *t = item;

	return (struct str){ t->key, t->klen };
}

static uint64_t
tomb_index(const void *item)
{
	return ((const struct tomb *)item)->index;
}

const struct tree_type tomb_tree = { tomb_key, tomb_index };

static void
list_remove(struct fsm *f, struct tomb *t)
{
	*(t->prev != NULL ? &t->prev->next : &f->tomb_oldest) = t->next;
	*(t->next != NULL ? &t->next->prev : &f->tomb_newest) = t->prev;
}

/* Into its place by index: the end, unless a change is being undone. */
static void
list_insert(struct fsm *f, struct tomb *t)
{
	struct tomb *after = f->tomb_newest;

	while (after != NULL && after->index > t->index)
		after = after->prev;
	t->prev = after;
	t->next = after != NULL ? after->next : f->tomb_oldest;
	*(t->prev != NULL ? &t->prev->next : &f->tomb_oldest) = t;
	*(t->next != NULL ? &t->next->prev : &f->tomb_newest) = t;
}

static int
tomb_swap(struct fsm *f, void *old, void *new)
{
	int rc = trees_swap((struct tree *[]){ &f->tombs }, 1, old, new);

	if (rc < 0)
		return rc;
	if (old != NULL)
		list_remove(f, old);
	if (new != NULL)
		list_insert(f, new);
	return 0;
}

static const struct tree *
tomb_primary(const struct fsm *f)
{
	return &f->tombs;
}

static const struct field f_tomb_image[] = {
	FIELD(kv_entry, modify_index, "ModifyIndex", F_UINT, 0),
};
static RECORD(rec_tomb_image, kv_entry, "TombstoneImage", f_tomb_image);

static struct str
tomb_encode(const void *item, struct mp_w *w)
{
	struct kv_entry e = { .modify_index = tomb_index(item) };

	if (w != NULL)
		record_encode(&rec_tomb_image, &e, RECORD_WHOLE, w);
	return tomb_key(item);
}

static void
tomb_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	/* The key's own deletion tells the watchers; reaping tells nobody. */
	(void)f;
	(void)old;
	(void)new;
	(void)sink;
}

static void
tomb_release(struct fsm *f)
{
	tree_release(&f->tombs, free);
	f->tomb_oldest = f->tomb_newest = NULL;
}

const struct table_ops tomb_ops = { FSM_TOMBSTONE, tomb_primary, tomb_swap, tomb_encode, tomb_touch, free, tomb_release };

static struct tomb *
tomb_new(struct str key, uint64_t index)
{
	struct tomb *t = malloc(sizeof(*t) + key.len);

	if (t == NULL)
		return NULL;
	*t = (struct tomb){ .index = index, .klen = (uint32_t)key.len };
	memcpy(t->key, key.p, key.len);
	return t;
}

int
tomb_put(struct apply *ap, struct str key)
{
	struct tomb *t = tomb_new(key, ap->index);

	if (t == NULL)
		return -ENOMEM;
	ap->f->idx.tombstones = ap->index;
	return change_put(ap, T_TOMB, tree_get(&ap->f->tombs, key), t);
}

int
tomb_reap(struct apply *ap, uint64_t index)
{
	while (ap->f->tomb_oldest != NULL && ap->f->tomb_oldest->index <= index) {
		int rc = change_put(ap, T_TOMB, ap->f->tomb_oldest, NULL);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* While loading only the tree is right: tomb_loaded() makes the list. */
int
tomb_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct kv_entry e;
	struct tomb *t, *old;
	int rc;

	rc = record_decode(&rec_tomb_image, &r, &e, f->arena);
	if (rc < 0)
		return rc;
	if (key.len == 0 || !mp_r_done(&r))
		return -EDECODE;
	t = tomb_new(key, e.modify_index);
	if (t == NULL)
		return -ENOMEM;
	index_loaded(f, t->index);
	old = tree_is_last(&f->tombs, key) ? NULL : tree_get(&f->tombs, key);
	rc = trees_swap((struct tree *[]){ &f->tombs }, 1, old, t);
	free(rc < 0 ? t : old);
	return rc;
}

static int
by_index(const void *a, const void *b)
{
	const struct tomb *x = *(const struct tomb *const *)a, *y = *(const struct tomb *const *)b;

	return (x->index > y->index) - (x->index < y->index);
}

int
tomb_loaded(struct fsm *f)
{
	struct tomb **all, *t;
	struct tree_iter it;
	size_t n = 0;

	f->tomb_oldest = f->tomb_newest = NULL;
	if (f->tombs.n == 0)
		return 0;
	all = malloc(f->tombs.n * sizeof(struct tomb *));
	if (all == NULL)
		return -ENOMEM;
	tree_seek(&f->tombs, STR_NONE, &it);
	while ((t = tree_next(&it)) != NULL)
		all[n++] = t;
	qsort(all, n, sizeof(struct tomb *), by_index);
	for (size_t i = 0; i < n; i++)
		list_insert(f, all[i]);
	free(all);
	return 0;
}
