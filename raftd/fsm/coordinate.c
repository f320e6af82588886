/*
 * coordinate.c - where nodes lie: network coordinates, as their gossipds measured them.
 *
 * An earlier release kept those of a restored snapshot as opaque records. The
 * first entry of the next leader makes them ours (coordinate_adopt()), on
 * every server alike. One that can be no coordinate of our pools stays
 * opaque, until its node goes or tells a better one.
 */
#include <stdlib.h>

#include "lib/rtt.h"
#include "lib/snap_archive.h"
#include "raftd/fsm/state.h"

static struct str
coordinate_key(const void *item)
{
	return ((const struct coordinate_item *)item)->key;
}

const struct tree_type coordinate_tree = { coordinate_key, NULL };

static int
coordinate_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->coordinates }, 1, old, new);
}

static const struct tree *
coordinate_primary(const struct fsm *f)
{
	return &f->coordinates;
}

static const struct field f_coordinate_item[] = {
	FIELD_SUB(coordinate_item, c, "", F_RECORD, 0, rec_coordinate_entry),
	FIELD(coordinate_item, key, "", F_STR, 0),
};
static RECORD(rec_coordinate_item, coordinate_item, "CoordinateItem", f_coordinate_item);

static struct str
coordinate_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_coordinate_entry, &((const struct coordinate_item *)item)->c, RECORD_WHOLE, w);
	return coordinate_key(item);
}

/* The part of the key that is the node's. */
static struct str
node_of(const struct coordinate_item *item)
{
	return (struct str){ item->key.p, item->key.len - item->c.segment.len - 1 };
}

static void
coordinate_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	(void)f;
	touch_one(sink, WATCH_COORDINATE, node_of(new != NULL ? new : old));
	touch_one(sink, WATCH_COORDINATES, STR(""));
}

static void
coordinate_release(struct fsm *f)
{
	tree_release(&f->coordinates, free);
}

const struct table_ops coordinate_ops = { FSM_COORDINATE, coordinate_primary, coordinate_swap, coordinate_encode,
	coordinate_touch, free, coordinate_release };

/* Whether this can be in the table: its names make a key, and distances can be told from it. */
static bool
fits(const struct coordinate_entry *c)
{
	return c->node.len > 0 && memchr(c->node.p, 0, c->node.len) == NULL &&
	    (c->segment.len == 0 || memchr(c->segment.p, 0, c->segment.len) == NULL) && rtt_complaint(&c->coord) == NULL;
}

static struct coordinate_item *
coordinate_new(const struct fsm *f, const struct coordinate_entry *c)
{
	const struct coordinate_item in = { *c, join_lower(f, c->node, c->segment) };

	return in.key.p != NULL ? record_dup(&rec_coordinate_item, &in) : NULL;
}

int
coordinate_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct coordinate_item *item;
	struct coordinate_entry in;
	int rc;

	rc = record_decode(&rec_coordinate_entry, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !fits(&in))
		return -EDECODE;
	item = coordinate_new(f, &in);
	if (item == NULL)
		return -ENOMEM;
	if (!str_eq(item->key, key)) {
		free(item);
		return -EDECODE;
	}
	return change_load(f, T_COORDINATE, item);
}

/* ---- those that only were kept */

static struct str
kept_key(const struct fsm *f, struct str key)
{
	char *p = arena_alloc(f->arena, key.len + 1);

	if (p == NULL) {
		f->scratch->starved = true;
		return STR_NONE;
	}
	p[0] = SNAP_COORDINATE;
	if (key.len > 0)
		memcpy(p + 1, key.p, key.len);
	return (struct str){ p, key.len + 1 };
}

static int
drop_kept(struct apply *ap, struct str key)
{
	struct opaque_item *o = ap->f->opaque.n > 0 ? tree_get(&ap->f->opaque, kept_key(ap->f, key)) : NULL;

	return o != NULL ? change_put(ap, T_OPAQUE, o, NULL) : 0;
}

/* Consul keeps them as a list of one. */
static int
read_kept(const struct fsm *f, const struct opaque_item *o, struct coordinate_entry *ret)
{
	struct mp_r r = mp_r_init(o->value.p, o->value.len);
	int rc;

	if (mp_r_type(&r) != MP_ARRAY || mp_r_array(&r) != 1)
		return -EDECODE;
	rc = record_decode(&rec_coordinate_entry, &r, ret, f->arena);
	return rc == 0 && (!mp_r_done(&r) || !fits(ret)) ? -EDECODE : rc;
}

/* It goes over unless a newer one of the same node has come. 1: it does not fit, and stays. */
static int
adopt_one(struct apply *ap, struct opaque_item *o)
{
	struct coordinate_item *item;
	struct coordinate_entry c;
	int rc = read_kept(ap->f, o, &c);

	if (rc < 0)
		return rc == -EDECODE ? 1 : rc;
	item = coordinate_new(ap->f, &c);
	if (item == NULL)
		return -ENOMEM;
	if (tree_get(&ap->f->coordinates, item->key) != NULL) {
		free(item);
	} else {
		rc = change_put(ap, T_COORDINATE, NULL, item);
		if (rc < 0)
			return rc;
		ap->f->idx.coordinates = ap->index;
	}
	return change_put(ap, T_OPAQUE, o, NULL);
}

int
coordinate_adopt(struct apply *ap)
{
	const struct str prefix = kept_key(ap->f, STR_NONE);
	struct str stayed = prefix;	/* the last one that did */
	struct opaque_item *o;
	struct tree_iter it;
	int rc = prefix.p != NULL ? 0 : -ENOMEM;

	while (rc >= 0) {
		tree_seek(&ap->f->opaque, stayed, &it);
		o = tree_next_prefixed(&it, prefix);
		if (o != NULL && str_eq(o->key, stayed))
			o = tree_next_prefixed(&it, prefix);
		if (o == NULL)
			return 0;
		rc = adopt_one(ap, o);
		if (rc == 1)
			stayed = o->key;
	}
	return rc;
}

/* ---- changes */

static const struct field f_fsm_coordinates[] = {
	FIELD_SUB(fsm_coordinates, entries, "Entries", F_RECORDS, 0, rec_coordinate_entry),
};
RECORD(rec_fsm_coordinates, fsm_coordinates, "Coordinates", f_fsm_coordinates);

static int
coordinate_put(struct apply *ap, const struct coordinate_entry *c)
{
	struct coordinate_item *item = coordinate_new(ap->f, c), *old;
	int rc;

	if (item == NULL)
		return -ENOMEM;
	rc = drop_kept(ap, item->key);
	if (rc < 0) {
		free(item);
		return rc;
	}
	old = tree_get(&ap->f->coordinates, item->key);
	if (old != NULL && record_equal(&rec_coordinate_entry, &old->c, c, NULL)) {
		free(item);
		return 0;
	}
	ap->f->idx.coordinates = ap->index;
	return change_put(ap, T_COORDINATE, old, item);
}

int
coordinate_apply(struct apply *ap, struct str raw)
{
	struct mp_r r = mp_r_init(raw.p, raw.len);
	const struct coordinate_entry *v;
	struct fsm_coordinates batch;
	int rc = record_decode(&rec_fsm_coordinates, &r, &batch, ap->f->arena);

	if (rc == 0 && !mp_r_done(&r))
		rc = -EDECODE;
	v = rc == 0 ? batch.entries.v : NULL;
	/* A node may have gone since it told: its coordinate would stay for ever. */
	for (size_t i = 0; rc == 0 && i < batch.entries.n; i++)
		if (fits(&v[i]) && node_find(ap->f, v[i].node) != NULL)
			rc = coordinate_put(ap, &v[i]);
	return rc;
}

int
coordinate_delete(struct apply *ap, struct str node_key)
{
	struct str prefix = join(ap->f, node_key, STR_NONE, STR_NONE), kept = kept_key(ap->f, prefix);
	struct coordinate_item *item;
	struct opaque_item *o;
	struct tree_iter it;
	int rc = prefix.p != NULL && kept.p != NULL ? drop_kept(ap, node_key) : -ENOMEM;

	while (rc == 0) {
		tree_seek(&ap->f->coordinates, prefix, &it);
		item = tree_next_prefixed(&it, prefix);
		if (item == NULL)
			break;
		ap->f->idx.coordinates = ap->index;
		rc = change_put(ap, T_COORDINATE, item, NULL);
	}
	while (rc == 0) {
		tree_seek(&ap->f->opaque, kept, &it);
		o = tree_next_prefixed(&it, kept);
		if (o == NULL)
			break;
		rc = change_put(ap, T_OPAQUE, o, NULL);
	}
	return rc;
}

/* ---- reads */

int
coordinate_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch)
{
	struct str prefix = STR_NONE, node;
	const struct coordinate_item *item;
	struct tree_iter it;
	uint32_t n = 0;
	size_t at;

	*idx = f->idx.coordinates;
	if (op == OP_COORDINATE_NODE) {
		node = lower(f, q->node);
		prefix = join(f, node, STR_NONE, STR_NONE);
		if (node.p == NULL || prefix.p == NULL)
			return -ENOMEM;
		watch_add(watch, WATCH_COORDINATE, node);
	} else {
		watch_add(watch, WATCH_COORDINATES, STR(""));
	}
	at = mp_w_array_hold(out);
	tree_seek(&f->coordinates, prefix, &it);
	while (out->err == 0 && (item = tree_next_prefixed(&it, prefix)) != NULL) {
		if ((q->segment.len > 0 && !str_eq(item->c.segment, q->segment)) || !shows(f, ACL_NODE, item->c.node))
			continue;
		record_encode(&rec_coordinate_entry, &item->c, RECORD_PUBLIC, out);
		n++;
	}
	mp_w_array_patch(out, at, n);
	return 0;
}
