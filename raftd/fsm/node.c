/* node.c - nodes of the catalog: identity, renames, removal. */
#include <stdlib.h>

#include "raftd/fsm/state.h"

static struct str
node_key(const void *item)
{
	return ((const struct node_item *)item)->key;
}

static struct str
node_id_key(const void *item)
{
	return ((const struct node_item *)item)->id_key;
}

const struct tree_type node_tree = { node_key, NULL };
const struct tree_type node_id_tree = { node_id_key, NULL };

static int
node_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->nodes, &f->nodes_by_id, &f->nodes_by_address }, 3, old, new);
}

static const struct tree *
node_primary(const struct fsm *f)
{
	return &f->nodes;
}

static const struct field f_node_item[] = {
	FIELD_SUB(node_item, n, "", F_RECORD, 0, rec_node),
	FIELD(node_item, key, "", F_STR, 0),
	FIELD(node_item, id_key, "", F_STR, 0),
	FIELD(node_item, address_key, "", F_STR, 0),
};
static RECORD(rec_node_item, node_item, "NodeItem", f_node_item);

static struct str
node_encode(const void *item, struct mp_w *w)
{
	const struct node_item *n = item;

	if (w != NULL)
		record_encode(&rec_node, &n->n, RECORD_WHOLE, w);
	return n->key;
}

static void
node_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	const struct node_item *was = old, *is = new;

	(void)f;
	address_touch(was != NULL ? was->address_key : STR_NONE, is != NULL ? is->address_key : STR_NONE, sink);
	touch_one(sink, WATCH_NODE, node_key(new != NULL ? new : old));
	touch_one(sink, WATCH_NODES, STR(""));
}

static void
node_release(struct fsm *f)
{
	tree_release(&f->nodes_by_id, NULL);
	tree_release(&f->nodes_by_address, NULL);
	tree_release(&f->nodes, free);
}

const struct table_ops node_ops = { FSM_NODE, node_primary, node_swap, node_encode, node_touch, free, node_release };

static struct node_item *
node_new(const struct fsm *f, const struct node *n)
{
	struct node_item in = { .n = *n, .key = lower(f, n->node) };
	uint8_t raw[16];

	if (uuid_parse(n->id, raw))
		in.id_key = (struct str){ (const char *)raw, sizeof(raw) };
	if (in.key.p != NULL)
		in.address_key = address_key(f, n->address, in.key);
	return in.key.p != NULL && !f->scratch->starved ? record_dup(&rec_node_item, &in) : NULL;
}

struct node_item *
node_find(const struct fsm *f, struct str name)
{
	struct str key = lower(f, name);

	return key.len > 0 ? tree_get(&f->nodes, key) : NULL;
}

struct node_item *
node_find_id(const struct fsm *f, struct str id)
{
	uint8_t raw[16];

	if (!uuid_parse(id, raw))
		return NULL;
	return tree_get(&f->nodes_by_id, (struct str){ (const char *)raw, sizeof(raw) });
}

int
node_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct node_item *item;
	struct node n;
	int rc;

	rc = record_decode(&rec_node, &r, &n, f->arena);
	if (rc < 0)
		return rc;
	if (key.len == 0 || !mp_r_done(&r) || !str_eq_nocase(key, n.node))
		return -EDECODE;
	item = node_find_id(f, n.id);
	if (item != NULL && !str_eq_nocase(item->key, key))
		return -EDECODE;	/* two nodes with one ID */
	item = node_new(f, &n);
	if (item == NULL)
		return -ENOMEM;
	index_loaded(f, max_u64(n.create_index, n.modify_index));
	return change_load(f, T_NODE, item);
}

/* ---- identity */

/*
 * Another ID has this name. It may be taken over when its owner is known to
 * have failed, or runs no agent (then it has no serfHealth check), or, for a
 * new ID, when it has none itself.
 */
static bool
name_is_taken(const struct fsm *f, const struct node *n, bool id_is_new, struct str *ret_owner_text)
{
	const struct node_item *owner = node_find(f, n->node);
	const struct check_item *serf;
	const char *text;

	if (owner == NULL || str_eq_nocase(owner->n.id, n->id) || (owner->n.id.len == 0 && id_is_new))
		return false;
	serf = check_find(f, owner->n.node, STR("serfHealth"));
	if (serf == NULL || str_eqs(serf->c.status, "critical"))
		return false;
	text = arena_printf(f->arena, "Node name %.*s is reserved by node %.*s with name %.*s (%.*s)", STR_ARG(n->node),
	    STR_ARG(owner->n.id), STR_ARG(owner->n.node), STR_ARG(owner->n.address));
	*ret_owner_text = str_from(text != NULL ? text : "Node name is reserved");
	return true;
}

/* The node that n is about, after a rename has removed the old name. NULL when it is new or an error was said. */
static int
identify(struct apply *ap, const struct node *n, struct node_item **ret)
{
	struct node_item *owner = node_find_id(ap->f, n->id);
	struct str why;

	*ret = NULL;
	if (n->id.len > 0 && owner != NULL && !str_eq(owner->n.node, n->node)) {
		if (name_is_taken(ap->f, n, false, &why)) {
			fail(ap->err, 500, "Error while renaming Node ID: %s (%.*s): %.*s", go_quote(ap->f, n->id),
			    STR_ARG(n->address), STR_ARG(why));
			return 0;
		}
		*ret = owner;
		return node_delete(ap, owner->n.node);
	}
	if (n->id.len > 0 && owner == NULL && name_is_taken(ap->f, n, true, &why)) {
		fail(ap->err, 500, "Error while renaming Node ID: %s: %.*s", go_quote(ap->f, n->id), STR_ARG(why));
		return 0;
	}
	*ret = owner != NULL ? owner : node_find(ap->f, n->node);
	return 0;
}

static const char *const skip[] = { "CreateIndex", "ModifyIndex", NULL };

bool
node_stands(const struct fsm *f, const struct node *in)
{
	const struct node_item *is = node_find(f, in->node);
	struct node n = *in;

	if (n.datacenter.len == 0)
		n.datacenter = str_from(f->datacenter);
	return is != NULL && record_equal(&rec_node, &is->n, &n, skip);
}

int
node_ensure(struct apply *ap, const struct node *in)
{
	struct node_item *was, *item, *by_name;
	struct node n = *in;
	int rc;

	rc = identify(ap, in, &was);
	if (rc < 0 || FAILED(ap))
		return rc;
	if (n.datacenter.len == 0)
		n.datacenter = str_from(ap->f->datacenter);
	if (was != NULL && record_equal(&rec_node, &was->n, &n, skip))
		return 0;
	n.create_index = was != NULL ? was->n.create_index : ap->index;
	n.modify_index = ap->index;
	item = node_new(ap->f, &n);
	if (item == NULL)
		return -ENOMEM;
	by_name = node_find(ap->f, n.node);
	ap->f->idx.nodes = ap->index;
	address_left(ap, by_name != NULL ? by_name->address_key : STR_NONE, item->address_key);
	rc = change_put(ap, T_NODE, by_name, item);
	return rc == 0 ? service_bump_node(ap, item->key) : rc;
}

/* ---- removal */

static int
delete_services(struct apply *ap, struct str key)
{
	struct str prefix = join(ap->f, key, STR_NONE, STR_NONE);
	const struct service_item *s;
	struct tree_iter it;
	int rc = 0;

	if (prefix.p == NULL)
		return -ENOMEM;
	while (rc == 0) {
		tree_seek(&ap->f->services, prefix, &it);
		s = tree_next_prefixed(&it, prefix);
		if (s == NULL)
			break;
		rc = service_delete(ap, key, s->s.id);
	}
	return rc;
}

static int
delete_checks(struct apply *ap, struct str key)
{
	struct str prefix = join(ap->f, key, STR_NONE, STR_NONE);
	const struct check_item *c;
	struct tree_iter it;
	int rc = 0;

	if (prefix.p == NULL)
		return -ENOMEM;
	while (rc == 0) {
		tree_seek(&ap->f->checks, prefix, &it);
		c = tree_next_prefixed(&it, prefix);
		if (c == NULL)
			break;
		rc = check_delete(ap, key, c->c.check_id);
	}
	return rc;
}

int
node_delete(struct apply *ap, struct str name)
{
	struct node_item *n = node_find(ap->f, name);
	int rc;

	if (n == NULL)
		return 0;
	/* In this order no check looks for sessions that end with it, and no service for checks: there may be many of each. */
	rc = session_end_of(ap, n->key, NULL);
	if (rc == 0)
		rc = delete_checks(ap, n->key);
	if (rc == 0)
		rc = delete_services(ap, n->key);
	if (rc == 0)
		rc = coordinate_delete(ap, n->key);
	if (rc < 0)
		return rc;
	ap->f->idx.nodes = ap->index;
	address_left(ap, n->address_key, STR_NONE);
	return change_put(ap, T_NODE, n, NULL);
}
