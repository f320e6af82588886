/* opaque.c - records of a snapshot whose kinds this release does not know: kept word for word. */
#include <stdlib.h>

#include "raftd/fsm/state.h"

static struct str
opaque_key(const void *item)
{
	return ((const struct opaque_item *)item)->key;
}

const struct tree_type opaque_tree = { opaque_key, NULL };

static int
opaque_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->opaque }, 1, old, new);
}

static const struct tree *
opaque_primary(const struct fsm *f)
{
	return &f->opaque;
}

static const struct field f_opaque_item[] = {
	FIELD(opaque_item, key, "", F_BYTES, 0),
	FIELD(opaque_item, value, "", F_BYTES, 0),
};
static RECORD(rec_opaque_item, opaque_item, "OpaqueItem", f_opaque_item);

static struct str
opaque_encode(const void *item, struct mp_w *w)
{
	const struct opaque_item *o = item;

	if (w != NULL)
		mp_w_raw(w, o->value);
	return o->key;
}

static void
opaque_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	/* No query shows them. */
	(void)f;
	(void)old;
	(void)new;
	(void)sink;
}

static void
opaque_release(struct fsm *f)
{
	tree_release(&f->opaque, free);
}

const struct table_ops opaque_ops = { FSM_OPAQUE, opaque_primary, opaque_swap, opaque_encode, opaque_touch, free,
	opaque_release };

int
opaque_load(struct fsm *f, struct str key, struct str value)
{
	const struct opaque_item in = { key, value };
	struct mp_r r = mp_r_init(value.p, value.len);
	struct opaque_item *o;

	mp_r_skip(&r);
	if (key.len == 0 || !mp_r_done(&r))
		return -EDECODE;
	o = record_dup(&rec_opaque_item, &in);
	if (o == NULL)
		return -ENOMEM;
	return change_load(f, T_OPAQUE, o);
}

int
opaque_adopt(struct apply *ap, unsigned kind, int (*take)(struct apply *ap, const void *ctx, struct opaque_item *o), const void *ctx,
    bool *ret_any)
{
	const char byte = (char)kind;
	const struct str prefix = { &byte, 1 };
	struct str stayed = prefix;	/* the last one that did */
	struct opaque_item *o;
	struct tree_iter it;
	int rc = 0;

	*ret_any = false;
	while (rc >= 0) {
		tree_seek(&ap->f->opaque, stayed, &it);
		o = tree_next_prefixed(&it, prefix);
		if (o != NULL && str_eq(o->key, stayed))
			o = tree_next_prefixed(&it, prefix);
		if (o == NULL)
			return 0;
		rc = take(ap, ctx, o);
		if (rc == 1)
			stayed = o->key;
		else
			*ret_any = true;
	}
	return rc;
}
