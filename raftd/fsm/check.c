/* check.c - checks of the catalog: of nodes and of service instances. */
#include <stdlib.h>

#include "raftd/fsm/state.h"

static struct str
check_key(const void *item)
{
	return ((const struct check_item *)item)->key;
}

static struct str
check_name_key(const void *item)
{
	return ((const struct check_item *)item)->name_key;
}

static struct str
check_of_key(const void *item)
{
	return ((const struct check_item *)item)->of_key;
}

const struct tree_type check_tree = { check_key, NULL };
const struct tree_type check_name_tree = { check_name_key, NULL };
const struct tree_type check_of_tree = { check_of_key, NULL };

static int
check_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->checks, &f->checks_by_name, &f->checks_of }, 3, old, new);
}

static const struct tree *
check_primary(const struct fsm *f)
{
	return &f->checks;
}

static const struct field f_check_item[] = {
	FIELD_SUB(check_item, c, "", F_RECORD, 0, rec_health_check),
	FIELD(check_item, node, "", F_STR, 0),
	FIELD(check_item, key, "", F_STR, 0),
	FIELD(check_item, name_key, "", F_STR, 0),
	FIELD(check_item, of_key, "", F_STR, 0),
};
static RECORD(rec_check_item, check_item, "CheckItem", f_check_item);

static struct str
check_encode(const void *item, struct mp_w *w)
{
	const struct check_item *c = item;

	if (w != NULL)
		record_encode(&rec_health_check, &c->c, RECORD_WHOLE, w);
	return c->key;
}

static void
check_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	const struct check_item *c = new != NULL ? new : old;

	(void)f;
	/* The records of the service names it bears on tell their watchers. */
	touch_one(sink, WATCH_CHECKS, STR(""));
	touch_one(sink, WATCH_NODE, c->node);
}

static void
check_release(struct fsm *f)
{
	tree_release(&f->checks_by_name, NULL);
	tree_release(&f->checks_of, NULL);
	tree_release(&f->checks, free);
}

const struct table_ops check_ops = { FSM_CHECK, check_primary, check_swap, check_encode, check_touch, free, check_release };

struct str
check_prefix(const struct fsm *f, struct str node, struct str service_id)
{
	struct str id = lower(f, service_id);

	return id.p != NULL ? join(f, node, id, STR("")) : STR_NONE;
}

static struct check_item *
check_new(const struct fsm *f, struct str node_key, const struct health_check *c)
{
	struct check_item in = { .c = *c, .node = node_key };
	struct str name = lower(f, c->service_name), id = lower(f, c->check_id);

	if (name.p == NULL || id.p == NULL)
		return NULL;
	in.key = join(f, node_key, id, STR_NONE);
	in.of_key = join(f, node_key, lower(f, c->service_id), id);
	if (c->service_id.len > 0)
		in.name_key = join(f, name, node_key, id);
	if (in.key.p == NULL || in.of_key.p == NULL || (c->service_id.len > 0 && in.name_key.p == NULL))
		return NULL;
	return record_dup(&rec_check_item, &in);
}

struct check_item *
check_find(const struct fsm *f, struct str node, struct str id)
{
	struct str key = join_lower(f, node, id);

	return key.p != NULL ? tree_get(&f->checks, key) : NULL;
}

int
check_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct str node_key;
	struct health_check c;
	struct check_item *item;
	int rc;

	rc = record_decode(&rec_health_check, &r, &c, f->arena);
	if (rc < 0)
		return rc;
	node_key = lower(f, c.node);
	item = mp_r_done(&r) ? check_new(f, node_key, &c) : NULL;
	if (item == NULL)
		return mp_r_done(&r) ? -ENOMEM : -EDECODE;
	if (!str_eq(item->key, key)) {
		free(item);
		return -EDECODE;
	}
	index_loaded(f, max_u64(c.create_index, c.modify_index));
	return change_load(f, T_CHECK, item);
}

/* ---- changes */

/* What the check bears on: its service, or all services of its node. */
static int
bump(struct apply *ap, const struct check_item *c)
{
	struct str name;

	if (c->c.service_id.len == 0)
		return service_bump_node(ap, c->node);
	name = lower(ap->f, c->c.service_name);
	return name.p != NULL ? service_bump(ap, name) : -ENOMEM;
}

/* Fill in what the caller left out, and the name and tags of its service. */
static void
complete(const struct fsm *f, const struct node_item *host, struct health_check *c, struct fsm_error *err)
{
	static const char empty_map = (char)0x80;
	const struct service_item *s;

	c->node = host->n.node;
	if (c->status.len == 0)
		c->status = STR("critical");
	if (c->definition.len == 0)
		c->definition = (struct str){ &empty_map, 1 };
	if (c->service_id.len == 0)
		return;
	s = service_find(f, c->node, c->service_id);
	if (s == NULL) {
		fail(err, 500, "Missing service registration");
		return;
	}
	c->service_name = s->s.service;
	c->service_tags = s->s.tags;
}

static const char *const skip[] = { "CreateIndex", "ModifyIndex", NULL };

bool
check_stands(const struct fsm *f, const struct health_check *in)
{
	const struct node_item *host = node_find(f, in->node);
	struct fsm_error err = { .code = 0 };
	struct health_check c = *in;
	const struct check_item *is;

	if (host == NULL)
		return false;
	complete(f, host, &c, &err);
	is = err.code == 0 ? check_find(f, c.node, c.check_id) : NULL;
	if (is == NULL || !record_equal(&rec_health_check, &is->c, &c, skip))
		return false;
	return !str_eqs(c.status, "critical") || !session_linked(f, host->key, c.check_id);
}

int
check_ensure(struct apply *ap, const struct health_check *in)
{
	const struct node_item *host = node_find(ap->f, in->node);
	struct check_item *old, *new;
	struct health_check c = *in;
	int rc = 0;

	if (host == NULL) {
		fail(ap->err, 500, "Missing node registration");
		return 0;
	}
	complete(ap->f, host, &c, ap->err);
	if (FAILED(ap))
		return 0;
	old = check_find(ap->f, c.node, c.check_id);
	if (str_eqs(c.status, "critical"))
		rc = session_end_of(ap, host->key, &c.check_id);
	if (rc < 0 || (old != NULL && record_equal(&rec_health_check, &old->c, &c, skip)))
		return rc;
	c.create_index = old != NULL ? old->c.create_index : ap->index;
	c.modify_index = ap->index;
	new = check_new(ap->f, host->key, &c);
	if (new == NULL)
		return -ENOMEM;
	ap->f->idx.checks = ap->index;
	rc = change_put(ap, T_CHECK, old, new);
	if (rc == 0 && old != NULL && !str_eq(old->name_key, new->name_key))
		rc = bump(ap, old);
	return rc == 0 ? bump(ap, new) : rc;
}

int
check_delete(struct apply *ap, struct str node, struct str id)
{
	struct check_item *c = check_find(ap->f, node, id);
	int rc;

	if (c == NULL)
		return 0;
	ap->f->idx.checks = ap->index;
	rc = change_put(ap, T_CHECK, c, NULL);
	if (rc == 0)
		rc = bump(ap, c);
	return rc == 0 ? session_end_of(ap, c->node, &c->c.check_id) : rc;
}
