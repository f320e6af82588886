/* query.c - reads of the catalog. */
#include <stdlib.h>

#include "raftd/fsm/query.h"

/*
 * ---- what every list needs
 *
 * What the asker may not see is left out before his filter looks at it: that something was left out is told, and would else
 * tell whether the filter fits it.
 */

int
list_begin(struct list *l, const struct fsm *f, const struct record *rec, struct str filter, struct mp_w *out,
    struct fsm_error *err)
{
	char why[FSM_TEXT_MAX];
	int rc = 0;

	*l = (struct list){ .f = f, .rec = rec, .out = out };
	if (filter.len > 0)
		rc = bexpr_parse(filter, rec, f->arena, &l->filter, why, sizeof(why));
	if (rc == -EINVAL) {
		fail(err, 500, "Failed to create boolean expression evaluator: %.900s", why);
		return 0;
	}
	l->at = mp_w_array_hold(out);
	return rc;
}

void
list_add(struct list *l, const void *obj)
{
	if (l->filter != NULL && !bexpr_match(l->filter, obj))
		return;
	record_encode(l->rec, obj, RECORD_PUBLIC, l->out);
	l->n++;
}

void
list_end(struct list *l)
{
	mp_w_array_patch(l->out, l->at, l->n);
	bexpr_free(l->filter);
}

bool
shows_check(const struct fsm *f, const struct health_check *c)
{
	return shows(f, ACL_NODE, c->node) && (c->service_name.len == 0 || shows(f, ACL_SERVICE, c->service_name));
}

bool
shows_instance(const struct fsm *f, struct str node, struct str service)
{
	return shows(f, ACL_NODE, node) && shows(f, ACL_SERVICE, service);
}

bool
meta_matches(const struct strmap *have, const struct strmap *want)
{
	for (size_t i = 0; i < want->n; i++) {
		const struct str *v = strmap_get(have, want->v[i].key);

		if (v == NULL || !str_eq(*v, want->v[i].value))
			return false;
	}
	return true;
}

const struct node_item *
host_of(const struct fsm *f, struct str node_key, const struct catalog_query *q)
{
	const struct node_item *n = tree_get(&f->nodes, node_key);

	return n != NULL && meta_matches(&n->n.meta, &q->node_meta) ? n : NULL;
}

bool
tags_match(const struct strs *have, const struct strs *want)
{
	for (size_t i = 0; i < want->n; i++) {
		size_t j = 0;

		while (j < have->n && !str_eq_nocase(have->v[j], want->v[i]))
			j++;
		if (j == have->n)
			return false;
	}
	return true;
}

/* Without instances it is the index at which any service went for good: others' registrations do not move it. */
uint64_t
name_index(const struct fsm *f, struct str name_key, bool with_checks)
{
	const struct name_item *n = tree_get(&f->names, name_key);
	uint64_t tables = max_u64(f->idx.nodes, f->idx.services);

	if (n != NULL)
		return n->index;
	if (f->idx.extinction != 0)
		return f->idx.extinction;
	return with_checks ? max_u64(tables, f->idx.checks) : tables;
}

/* ---- an instance as it is shown */

/* {"Mode": "", "MeshGateway": {}, "Expose": {}} */
static const char no_proxy[] = "\x83\xa4Mode\xa0\xabMeshGateway\x80\xa6" "Expose\x80";
static const char empty_map[] = "\x80";

struct node_service
service_show(const struct service_item *item)
{
	struct node_service s = item->s;

	if (s.proxy.len == 0)
		s.proxy = (struct str){ no_proxy, sizeof(no_proxy) - 1 };
	if (s.connect.len == 0)
		s.connect = (struct str){ empty_map, 1 };
	return s;
}

static struct service_node
service_with_node(const struct service_item *item, const struct node *n)
{
	struct node_service s = service_show(item);

	return (struct service_node){
		.id = n->id, .node = n->node, .address = n->address, .datacenter = n->datacenter,
		.tagged_addresses = n->tagged_addresses, .node_meta = n->meta,
		.service_kind = s.kind, .service_id = s.id, .service_name = s.service, .service_tags = s.tags,
		.service_address = s.address, .service_tagged_addresses = s.tagged_addresses, .service_weights = s.weights,
		.service_meta = s.meta, .service_port = s.port, .service_socket_path = s.socket_path,
		.service_enable_tag_override = s.enable_tag_override, .service_proxy = s.proxy, .service_connect = s.connect,
		.create_index = s.create_index, .modify_index = s.modify_index,
	};
}

/* ---- nodes */

static int
emit_node(void *ctx, const void *item)
{
	const struct node *n = &((const struct node_item *)item)->n;
	struct list *l = ctx;

	if (shows(l->f, ACL_NODE, n->node))
		list_add(l, n);
	return 0;
}

static int
query_nodes(const struct fsm *f, const struct catalog_query *q, struct mp_w *out, struct fsm_error *err)
{
	const struct node_item *n;
	struct tree_iter it;
	struct near near;
	struct list l;
	int rc = list_begin(&l, f, &rec_node, q->filter, out, err);

	if (rc < 0 || err->code != 0)
		return rc;
	near_begin(&near, f, q->near, emit_node, &l);
	tree_seek(&f->nodes, STR_NONE, &it);
	while (rc == 0 && out->err == 0 && (n = tree_next(&it)) != NULL)
		if (meta_matches(&n->n.meta, &q->node_meta))
			rc = near_put(&near, n, n->key);
	if (rc == 0)
		rc = near_end(&near);
	list_end(&l);
	return rc;
}

/* ---- names with their tags */

struct named {
	struct str name;
	struct str *tags;
	size_t n, cap;
};

static int
by_name(const void *a, const void *b)
{
	return str_cmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static int
by_str(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int
named_add_tag(struct arena *a, struct named *n, struct str tag)
{
	if (n->n == n->cap) {
		size_t cap = n->cap != 0 ? n->cap * 2 : 8;
		struct str *p = arena_alloc(a, cap * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		if (n->n > 0)
			memcpy(p, n->tags, n->n * sizeof(*p));
		n->tags = p;
		n->cap = cap;
	}
	n->tags[n->n++] = tag;
	return 0;
}

/* Sorted, and each only once. */
static void
named_settle(struct named *n)
{
	size_t kept = 0;

	if (n->n > 0)
		qsort(n->tags, n->n, sizeof(struct str), by_str);
	for (size_t i = 0; i < n->n; i++)
		if (kept == 0 || !str_eq(n->tags[kept - 1], n->tags[i]))
			n->tags[kept++] = n->tags[i];
	n->n = kept;
}

/* Names that differ in case share an index but are shown apart: a name is looked for among the last few. */
static struct named *
named_slot(struct named *all, size_t *n, const struct service_item *s)
{
	for (size_t i = *n; i > 0 && str_eq_nocase(all[i - 1].name, s->s.service); i--)
		if (str_eq(all[i - 1].name, s->s.service))
			return &all[i - 1];
	all[*n] = (struct named){ .name = s->s.service };
	return &all[(*n)++];
}

/*
 * Whether the instance counts: it is on a node of the asked kind, and passes the filter with it. Who may not see the node is
 * told nothing of it by that either.
 */
static bool
instance_counts(const struct fsm *f, const struct catalog_query *q, const struct bexpr *filter, const struct service_item *s)
{
	const struct node_item *n = q->node_meta.n > 0 || filter != NULL ? host_of(f, s->node, q) : NULL;
	struct service_node both;

	if (q->node_meta.n == 0 && filter == NULL)
		return true;
	if (n == NULL || !shows(f, ACL_NODE, n->n.node))
		return false;
	if (filter == NULL)
		return true;
	both = service_with_node(s, &n->n);
	return bexpr_match(filter, &both);
}

static int
query_services(const struct fsm *f, const struct catalog_query *q, const struct bexpr *filter, struct mp_w *out)
{
	struct named *all = arena_alloc(f->arena, (f->services.n + 1) * sizeof(*all)), *slot;
	const struct service_item *s;
	struct tree_iter it;
	size_t n = 0;
	int rc = all != NULL ? 0 : -ENOMEM;

	tree_seek(&f->services_by_name, STR_NONE, &it);
	while (rc == 0 && (s = tree_next(&it)) != NULL) {
		if (!shows(f, ACL_SERVICE, s->s.service) || !instance_counts(f, q, filter, s))
			continue;
		slot = named_slot(all, &n, s);
		for (size_t i = 0; i < s->s.tags.n && rc == 0; i++)
			rc = named_add_tag(f->arena, slot, s->s.tags.v[i]);
	}
	if (rc < 0)
		return rc;
	qsort(all, n, sizeof(*all), by_name);
	mp_w_map(out, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		named_settle(&all[i]);
		mp_w_str(out, all[i].name);
		mp_w_array(out, (uint32_t)all[i].n);
		for (size_t j = 0; j < all[i].n; j++)
			mp_w_str(out, all[i].tags[j]);
	}
	return 0;
}

static int
filter_services(const struct fsm *f, const struct catalog_query *q, struct mp_w *out, struct fsm_error *err)
{
	struct bexpr *filter = NULL;
	char why[FSM_TEXT_MAX];
	int rc = 0;

	if (q->filter.len > 0)
		rc = bexpr_parse(q->filter, &rec_service_node, f->arena, &filter, why, sizeof(why));
	if (rc == -EINVAL) {
		fail(err, 500, "Failed to create boolean expression evaluator: %.900s", why);
		return 0;
	}
	if (rc == 0)
		rc = query_services(f, q, filter, out);
	bexpr_free(filter);
	return rc;
}

/* ---- the instances of a service */

int
walk_instances(const struct fsm *f, const struct catalog_query *q, struct str name, near_emit *emit, void *ctx,
    const struct mp_w *out)
{
	struct str prefix = join(f, name, STR_NONE, STR_NONE);
	const struct service_item *s;
	struct tree_iter it;
	struct near near;
	int rc = prefix.p != NULL ? 0 : -ENOMEM;

	near_begin(&near, f, q->near, emit, ctx);
	tree_seek(&f->services_by_name, prefix, &it);
	while (rc == 0 && out->err == 0 && (s = tree_next_prefixed(&it, prefix)) != NULL)
		if (tags_match(&s->s.tags, &q->tags))
			rc = near_put(&near, s, s->node);
	return rc == 0 ? near_end(&near) : rc;
}

struct instances {
	const struct fsm *f;
	const struct catalog_query *q;
	struct list *list;
};

static int
emit_instance(void *ctx, const void *item)
{
	const struct instances *all = ctx;
	const struct service_item *s = item;
	const struct node_item *n = host_of(all->f, s->node, all->q);
	struct service_node both;

	if (n == NULL)
		return 0;
	both = service_with_node(s, &n->n);
	if (shows_instance(all->f, n->n.node, s->s.service))
		list_add(all->list, &both);
	return 0;
}

static int
query_service(const struct fsm *f, const struct catalog_query *q, struct str name, struct mp_w *out, struct fsm_error *err)
{
	struct list l;
	struct instances all = { f, q, &l };
	int rc = list_begin(&l, f, &rec_service_node, q->filter, out, err);

	if (rc < 0 || err->code != 0)
		return rc;
	rc = walk_instances(f, q, name, emit_instance, &all, out);
	list_end(&l);
	return rc;
}

/* ---- one node with its services */

/* The only node whose ID begins with these hex digits, at least two; an odd last digit is not looked at. */
static const struct node_item *
node_by_id_prefix(const struct fsm *f, struct str text)
{
	char raw[16] = { 0 };
	struct str prefix = { raw, 0 };
	const struct node_item *n;
	struct tree_iter it;
	size_t digits = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = ascii_lower((unsigned char)text.p[i]);
		int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (c == '-')
			continue;
		if (v < 0 || digits == 32)
			return NULL;
		raw[digits / 2] = (char)(digits % 2 == 0 ? v << 4 : raw[digits / 2] | v);
		digits++;
	}
	prefix.len = digits / 2;
	if (prefix.len == 0)
		return NULL;
	tree_seek(&f->nodes_by_id, prefix, &it);
	n = tree_next_prefixed(&it, prefix);
	return n != NULL && tree_next_prefixed(&it, prefix) == NULL ? n : NULL;
}

/* Services of the node in the order of their IDs: under their IDs when as_map, else as a list. */
static int
write_node_services(const struct fsm *f, const struct node_item *n, const struct bexpr *filter, bool as_map,
    struct mp_w *out)
{
	struct str prefix = join(f, n->key, STR_NONE, STR_NONE);
	const struct service_item *s;
	struct tree_iter it;
	uint32_t count = 0;
	size_t at;

	if (prefix.p == NULL)
		return -ENOMEM;
	at = as_map ? mp_w_map_hold(out) : mp_w_array_hold(out);
	tree_seek(&f->services, prefix, &it);
	while (out->err == 0 && (s = tree_next_prefixed(&it, prefix)) != NULL) {
		struct node_service shown = service_show(s);

		if (!shows(f, ACL_SERVICE, shown.service) || (filter != NULL && !bexpr_match(filter, &shown)))
			continue;
		if (as_map)
			mp_w_str(out, shown.id);
		record_encode(&rec_node_service, &shown, RECORD_PUBLIC, out);
		count++;
	}
	if (as_map)
		mp_w_map_patch(out, at, count);
	else
		mp_w_array_patch(out, at, count);
	return 0;
}

static void
write_unknown_node(bool as_map, struct mp_w *out)
{
	if (as_map) {
		mp_w_nil(out);
		return;
	}
	mp_w_map(out, 2);
	mp_w_cstr(out, "Node");
	mp_w_nil(out);
	mp_w_cstr(out, "Services");
	mp_w_nil(out);
}

static int
query_node(const struct fsm *f, const struct catalog_query *q, bool as_map, struct mp_w *out, struct watch_set *watch,
    struct fsm_error *err)
{
	const struct node_item *n = node_find(f, q->node);
	char why[FSM_TEXT_MAX];
	struct bexpr *filter = NULL;
	int rc = 0;

	if (n == NULL)
		n = node_by_id_prefix(f, q->node);
	if (n != NULL)
		watch_add(watch, WATCH_NODE, n->key);
	else
		watch_add(watch, WATCH_NODES, STR(""));
	if (q->filter.len > 0)
		rc = bexpr_parse(q->filter, &rec_node_service, f->arena, &filter, why, sizeof(why));
	if (rc == -EINVAL) {
		fail(err, 500, "Failed to create boolean expression evaluator: %.900s", why);
		return 0;
	}
	/* One that may not be seen is as good as unknown. */
	if (rc == 0 && (n == NULL || !shows(f, ACL_NODE, n->n.node))) {
		write_unknown_node(as_map, out);
	} else if (rc == 0) {
		mp_w_map(out, 2);
		mp_w_cstr(out, "Node");
		record_encode(&rec_node, &n->n, RECORD_PUBLIC, out);
		mp_w_cstr(out, "Services");
		rc = write_node_services(f, n, filter, as_map, out);
	}
	bexpr_free(filter);
	return rc;
}

int
catalog_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	struct str name;

	switch (op) {
	case OP_CATALOG_NODES:
		*idx = f->idx.nodes;
		watch_add(watch, WATCH_NODES, STR(""));
		return query_nodes(f, q, out, err);
	case OP_CATALOG_SERVICES:
		*idx = q->node_meta.n > 0 || q->filter.len > 0 ? max_u64(f->idx.services, f->idx.nodes) : f->idx.services;
		watch_add(watch, WATCH_SERVICES, STR(""));
		if (q->node_meta.n > 0 || q->filter.len > 0)
			watch_add(watch, WATCH_NODES, STR(""));
		return filter_services(f, q, out, err);
	case OP_CATALOG_SERVICE:
		name = lower(f, q->service);
		*idx = name_index(f, name, false);
		watch_add(watch, WATCH_SERVICE, name);
		return query_service(f, q, name, out, err);
	case OP_CATALOG_NODE:
	case OP_CATALOG_NODE_SERVICES:
		*idx = max_u64(f->idx.nodes, f->idx.services);
		return query_node(f, q, op == OP_CATALOG_NODE, out, watch, err);
	default:
		return -EINVAL;
	}
}
