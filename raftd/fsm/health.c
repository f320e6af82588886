/* health.c - reads of checks, and of instances with their checks. */
#include "raftd/fsm/query.h"

static int
emit_check(void *ctx, const void *item)
{
	const struct health_check *c = &((const struct check_item *)item)->c;
	struct list *l = ctx;

	if (shows_check(l->f, c))
		list_add(l, c);
	return 0;
}

/* The checks whose key in this tree starts with prefix. */
static int
query_checks(const struct fsm *f, const struct tree *t, struct str prefix, const struct catalog_query *q, struct str state,
    struct mp_w *out, struct fsm_error *err)
{
	const struct check_item *c;
	struct tree_iter it;
	struct near near;
	struct list l;
	int rc = list_begin(&l, f, &rec_health_check, q->filter, out, err);

	if (rc < 0 || err->code != 0)
		return rc;
	near_begin(&near, f, q->near, emit_check, &l);
	tree_seek(t, prefix, &it);
	while (rc == 0 && out->err == 0 && (c = tree_next_prefixed(&it, prefix)) != NULL) {
		if (state.len > 0 && !str_eq(c->c.status, state))
			continue;
		if (q->node_meta.n == 0 || host_of(f, c->node, q) != NULL)
			rc = near_put(&near, c, c->node);
	}
	if (rc == 0)
		rc = near_end(&near);
	list_end(&l);
	return rc;
}

/* ---- instances with their checks */

static int
checks_add(struct arena *a, struct checks *all, const struct health_check *c)
{
	if (all->n == all->cap) {
		size_t cap = all->cap != 0 ? all->cap * 2 : 16;
		struct health_check *p = arena_alloc(a, cap * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		if (all->n > 0)
			memcpy(p, all->v, all->n * sizeof(*p));
		all->v = p;
		all->cap = cap;
	}
	all->v[all->n++] = *c;
	return 0;
}

int
gather_checks(const struct fsm *f, const struct service_item *s, struct checks *all)
{
	const struct str ids[] = { STR(""), s->s.id };
	int rc = 0;

	all->n = 0;
	for (size_t i = 0; i < ARRAY_LEN(ids) && rc == 0; i++) {
		struct str prefix = check_prefix(f, s->node, ids[i]);
		const struct check_item *c;
		struct tree_iter it;

		if (prefix.p == NULL)
			return -ENOMEM;
		tree_seek(&f->checks_of, prefix, &it);
		while (rc == 0 && (c = tree_next_prefixed(&it, prefix)) != NULL)
			rc = checks_add(f->arena, all, &c->c);
	}
	return rc;
}

struct entries {
	const struct fsm *f;
	const struct catalog_query *q;
	struct list *list;
	struct checks checks;		/* of the entry at hand */
};

static int
emit_entry(void *ctx, const void *item)
{
	struct entries *all = ctx;
	const struct service_item *s = item;
	const struct node_item *n = host_of(all->f, s->node, all->q);
	struct health_entry e;
	int rc;

	if (n == NULL || !shows_instance(all->f, n->n.node, s->s.service))
		return 0;
	rc = gather_checks(all->f, s, &all->checks);
	if (rc < 0)
		return rc;
	e = (struct health_entry){ n->n, service_show(s), { all->checks.v, all->checks.n } };
	list_add(all->list, &e);
	return 0;
}

static int
query_service(const struct fsm *f, const struct catalog_query *q, struct str name, struct mp_w *out, struct fsm_error *err)
{
	struct list l;
	struct entries all = { .f = f, .q = q, .list = &l };
	int rc = list_begin(&l, f, &rec_health_entry, q->filter, out, err);

	if (rc < 0 || err->code != 0)
		return rc;
	rc = walk_instances(f, q, name, emit_entry, &all, out);
	list_end(&l);
	return rc;
}

/* ---- which checks, and what their index is */

static int
query_node(const struct fsm *f, const struct catalog_query *q, struct mp_w *out, struct watch_set *watch,
    struct fsm_error *err)
{
	struct str name = lower(f, q->node), prefix = join(f, name, STR_NONE, STR_NONE);

	if (name.p == NULL || prefix.p == NULL)
		return -ENOMEM;
	watch_add(watch, WATCH_NODE, name);
	return query_checks(f, &f->checks, prefix, q, STR_NONE, out, err);
}

static int
query_service_checks(const struct fsm *f, const struct catalog_query *q, struct str name, struct mp_w *out,
    struct watch_set *watch, struct fsm_error *err)
{
	struct str prefix = join(f, name, STR_NONE, STR_NONE);

	if (prefix.p == NULL)
		return -ENOMEM;
	watch_add(watch, WATCH_SERVICE, name);
	return query_checks(f, &f->checks_by_name, prefix, q, STR_NONE, out, err);
}

int
health_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	struct str name = lower(f, q->service);

	if (name.p == NULL)
		return -ENOMEM;
	*idx = q->node_meta.n > 0 ? max_u64(f->idx.checks, f->idx.nodes) : f->idx.checks;
	if (q->node_meta.n > 0 && op != OP_HEALTH_SERVICE)
		watch_add(watch, WATCH_NODES, STR(""));
	switch (op) {
	case OP_HEALTH_NODE:
		return query_node(f, q, out, watch, err);
	case OP_HEALTH_CHECKS:
		return query_service_checks(f, q, name, out, watch, err);
	case OP_HEALTH_STATE:
		watch_add(watch, WATCH_CHECKS, STR(""));
		return query_checks(f, &f->checks, STR_NONE, q, str_eqs(q->state, "any") ? STR_NONE : q->state, out, err);
	case OP_HEALTH_SERVICE:
		*idx = name_index(f, name, true);
		watch_add(watch, WATCH_SERVICE, name);
		return query_service(f, q, name, out, err);
	default:
		return -EINVAL;
	}
}
