/* ui.c - what the web pages and people who count ask for: nodes and services as a whole, and how many there are. */
#include <stdlib.h>

#include "raftd/fsm/query.h"

/* ---- nodes with all that is on them */

struct node_info {
	struct str id, node, address;
	struct strmap tagged_addresses, meta;
	struct records services, checks;
};

static const struct field f_node_info[] = {
	FIELD(node_info, id, "ID", F_STR, 0),
	FIELD(node_info, node, "Node", F_STR, 0),
	FIELD(node_info, address, "Address", F_STR, 0),
	FIELD(node_info, tagged_addresses, "TaggedAddresses", F_STRMAP, FF_NULL),
	FIELD(node_info, meta, "Meta", F_STRMAP, FF_NULL),
	FIELD_SUB(node_info, services, "Services", F_RECORDS, 0, rec_node_service),
	FIELD_SUB(node_info, checks, "Checks", F_RECORDS, 0, rec_health_check),
};
static RECORD(rec_node_info, node_info, "NodeInfo", f_node_info);

/* What stands under the node, in a tree by node: two walks, the first counts. */
static size_t
count_below(const struct tree *t, struct str prefix)
{
	struct tree_iter it;
	size_t n = 0;

	tree_seek(t, prefix, &it);
	while (tree_next_prefixed(&it, prefix) != NULL)
		n++;
	return n;
}

static int
take_services(const struct fsm *f, struct str prefix, struct records *ret)
{
	struct node_service *v = arena_alloc(f->arena, (count_below(&f->services, prefix) + 1) * sizeof(*v));
	const struct service_item *s;
	struct tree_iter it;

	if (v == NULL)
		return -ENOMEM;
	*ret = (struct records){ v, 0 };
	tree_seek(&f->services, prefix, &it);
	while ((s = tree_next_prefixed(&it, prefix)) != NULL)
		if (shows(f, ACL_SERVICE, s->s.service))
			v[ret->n++] = service_show(s);
	return 0;
}

static int
take_checks(const struct fsm *f, struct str prefix, struct records *ret)
{
	struct health_check *v = arena_alloc(f->arena, (count_below(&f->checks, prefix) + 1) * sizeof(*v));
	const struct check_item *c;
	struct tree_iter it;

	if (v == NULL)
		return -ENOMEM;
	*ret = (struct records){ v, 0 };
	tree_seek(&f->checks, prefix, &it);
	while ((c = tree_next_prefixed(&it, prefix)) != NULL)
		if (shows_check(f, &c->c))
			v[ret->n++] = c->c;
	return 0;
}

static int
add_node(const struct fsm *f, const struct node_item *n, struct list *l)
{
	struct str prefix = join(f, n->key, STR_NONE, STR_NONE);
	struct node_info info = { .id = n->n.id, .node = n->n.node, .address = n->n.address,
		.tagged_addresses = n->n.tagged_addresses, .meta = n->n.meta };
	int rc;

	if (prefix.p == NULL)
		return -ENOMEM;
	if (!shows(f, ACL_NODE, n->n.node))
		return 0;
	rc = take_services(f, prefix, &info.services);
	if (rc == 0)
		rc = take_checks(f, prefix, &info.checks);
	if (rc == 0)
		list_add(l, &info);
	return rc;
}

static int
ui_nodes(const struct fsm *f, const struct catalog_query *q, struct mp_w *out, struct fsm_error *err)
{
	const struct node_item *n;
	struct tree_iter it;
	struct list l;
	int rc = list_begin(&l, f, &rec_node_info, q->filter, out, err);

	if (rc < 0 || err->code != 0)
		return rc;
	tree_seek(&f->nodes, STR_NONE, &it);
	if (q->node.len > 0) {
		n = node_find(f, q->node);
		rc = n != NULL ? add_node(f, n, &l) : 0;
	} else {
		while (rc == 0 && out->err == 0 && (n = tree_next(&it)) != NULL)
			rc = add_node(f, n, &l);
	}
	list_end(&l);
	return rc;
}

/* ---- services with the counts of their checks */

struct gateway_config {
	int64_t associated;
};

struct service_summary {
	struct str kind, name, datacenter;
	struct strs tags, nodes, sources;
	int64_t instances, passing, warning, critical;
	struct gateway_config gateway;
	bool transparent, with_proxy, with_gateway;
};

static const struct field f_gateway_config[] = {
	FIELD(gateway_config, associated, "AssociatedServiceCount", F_INT, FF_OMITEMPTY),
};
static RECORD(rec_gateway_config, gateway_config, "GatewayConfig", f_gateway_config);

static const struct field f_service_summary[] = {
	FIELD(service_summary, kind, "Kind", F_STR, FF_OMITEMPTY),
	FIELD(service_summary, name, "Name", F_STR, 0),
	FIELD(service_summary, datacenter, "Datacenter", F_STR, 0),
	FIELD(service_summary, tags, "Tags", F_STRS, FF_NULL),
	FIELD(service_summary, nodes, "Nodes", F_STRS, FF_NULL),
	FIELD(service_summary, sources, "ExternalSources", F_STRS, FF_NULL),
	FIELD(service_summary, instances, "InstanceCount", F_INT, 0),
	FIELD(service_summary, passing, "ChecksPassing", F_INT, 0),
	FIELD(service_summary, warning, "ChecksWarning", F_INT, 0),
	FIELD(service_summary, critical, "ChecksCritical", F_INT, 0),
	FIELD_SUB(service_summary, gateway, "GatewayConfig", F_RECORD, 0, rec_gateway_config),
	FIELD(service_summary, transparent, "TransparentProxy", F_BOOL, 0),
	FIELD(service_summary, with_proxy, "ConnectedWithProxy", F_BOOL, 0),
	FIELD(service_summary, with_gateway, "ConnectedWithGateway", F_BOOL, 0),
};
static RECORD(rec_service_summary, service_summary, "ServiceSummary", f_service_summary);

static int
by_name(const void *a, const void *b)
{
	return str_cmp(((const struct service_summary *)a)->name, ((const struct service_summary *)b)->name);
}

static int
by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Lists grow by doubling: their length is a power of two when they are full. */
static int
add_text(const struct fsm *f, struct strs *list, struct str s)
{
	if ((list->n & (list->n - 1)) == 0) {
		struct str *v = arena_alloc(f->arena, (list->n > 0 ? 2 * list->n : 1) * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		if (list->n > 0)
			memcpy(v, list->v, list->n * sizeof(*v));
		list->v = v;
	}
	list->v[list->n++] = s;
	return 0;
}

/* Sorted; with `once` each only once. */
static void
settle(struct strs *list, bool once)
{
	size_t kept = 0;

	if (list->n > 1)
		qsort(list->v, list->n, sizeof(*list->v), by_text);
	for (size_t i = 0; i < list->n; i++)
		if (!once || kept == 0 || !str_eq(list->v[kept - 1], list->v[i]))
			list->v[kept++] = list->v[i];
	list->n = kept;
}

struct summaries {
	const struct fsm *f;
	struct service_summary *v;
	size_t n;
	struct checks checks;
	struct str last_node;		/* of the instance before, whose node's checks were counted */
};

/* Instances come by name: names that differ in case alone are near each other. */
static struct service_summary *
summary_of(struct summaries *all, const struct service_item *s, const struct node *n)
{
	for (size_t i = all->n; i > 0 && str_eq_nocase(all->v[i - 1].name, s->s.service); i--)
		if (str_eq(all->v[i - 1].name, s->s.service))
			return &all->v[i - 1];
	all->last_node = STR_NONE;
	all->v[all->n] = (struct service_summary){ .name = s->s.service, .datacenter = n->datacenter };
	return &all->v[all->n++];
}

/* A check of the node counts once for all instances on it. */
static void
count_checks(const struct summaries *all, const struct service_item *s, struct service_summary *sum)
{
	bool again = all->last_node.p != NULL && str_eq(all->last_node, s->node);

	for (size_t i = 0; i < all->checks.n; i++) {
		const struct health_check *c = &all->checks.v[i];

		if (again && c->service_id.len == 0)
			continue;
		sum->passing += str_eqs(c->status, "passing");
		sum->warning += str_eqs(c->status, "warning");
		sum->critical += str_eqs(c->status, "critical");
	}
}

static int
summarize(struct summaries *all, const struct service_item *s, const struct node *n)
{
	struct service_summary *sum = summary_of(all, s, n);
	const struct str *source = strmap_get(&s->s.meta, STR("external-source"));
	int rc = add_text(all->f, &sum->nodes, n->node);

	sum->kind = s->s.kind;
	sum->instances++;
	for (size_t i = 0; i < s->s.tags.n && rc == 0; i++)
		rc = add_text(all->f, &sum->tags, s->s.tags.v[i]);
	if (rc == 0 && source != NULL && source->len > 0)
		rc = add_text(all->f, &sum->sources, *source);
	count_checks(all, s, sum);
	all->last_node = s->node;
	return rc;
}

static int
each_instance(const struct fsm *f, const struct bexpr *filter, struct summaries *all)
{
	const struct service_item *s;
	struct tree_iter it;
	int rc = 0;

	tree_seek(&f->services_by_name, STR_NONE, &it);
	while (rc == 0 && (s = tree_next(&it)) != NULL) {
		const struct node_item *n = tree_get(&f->nodes, s->node);
		struct health_entry e;

		if (n == NULL || !shows_instance(f, n->n.node, s->s.service))
			continue;
		rc = gather_checks(f, s, &all->checks);
		if (rc < 0)
			break;
		e = (struct health_entry){ n->n, service_show(s), { all->checks.v, all->checks.n } };
		if (filter == NULL || bexpr_match(filter, &e))
			rc = summarize(all, s, &n->n);
	}
	return rc;
}

static int
ui_services(const struct fsm *f, const struct catalog_query *q, struct mp_w *out, struct fsm_error *err)
{
	struct summaries all = { .f = f, .v = arena_alloc(f->arena, (f->services.n + 1) * sizeof(*all.v)) };
	struct bexpr *filter = NULL;
	char why[FSM_TEXT_MAX];
	int rc = all.v != NULL ? 0 : -ENOMEM;

	if (rc == 0 && q->filter.len > 0)
		rc = bexpr_parse(q->filter, &rec_health_entry, f->arena, &filter, why, sizeof(why));
	if (rc == -EINVAL) {
		fail(err, 500, "Failed to create boolean expression evaluator: %.900s", why);
		return 0;
	}
	if (rc == 0)
		rc = each_instance(f, filter, &all);
	bexpr_free(filter);
	if (rc < 0)
		return rc;
	if (all.n > 1)
		qsort(all.v, all.n, sizeof(*all.v), by_name);
	mp_w_array(out, (uint32_t)all.n);
	for (size_t i = 0; i < all.n; i++) {
		settle(&all.v[i].tags, true);
		settle(&all.v[i].nodes, false);
		settle(&all.v[i].sources, true);
		record_encode(&rec_service_summary, &all.v[i], RECORD_PUBLIC, out);
	}
	return 0;
}

int
ui_query(const struct fsm *f, uint16_t op, const struct catalog_query *q, struct mp_w *out, uint64_t *idx, struct watch_set *watch,
    struct fsm_error *err)
{
	*idx = max_u64(max_u64(f->idx.nodes, f->idx.services), f->idx.checks);
	watch_add(watch, WATCH_SERVICES, STR(""));
	watch_add(watch, WATCH_NODES, STR(""));
	watch_add(watch, WATCH_CHECKS, STR(""));
	return op == OP_UI_NODES ? ui_nodes(f, q, out, err) : ui_services(f, q, out, err);
}

/* ---- how many there are */

static const char *const kinds[] = { "api-gateway", "connect-native", "connect-proxy", "ingress-gateway", "mesh-gateway", "terminating-gateway" };

enum { KIND_NATIVE = 1 };

/* Whether the instance speaks the mesh's protocol itself: {"Native": true} */
static bool
is_native(const struct node_service *s)
{
	struct mp_r r = mp_r_init(s->connect.p, s->connect.len);
	uint32_t n = s->connect.len > 0 && mp_r_type(&r) == MP_MAP ? mp_r_map(&r) : 0;
	bool native = false;

	for (uint32_t i = 0; i < n && r.err == 0; i++) {
		bool here = str_eqs(mp_r_str(&r), "Native");

		if (here && mp_r_type(&r) == MP_BOOL)
			native = mp_r_bool(&r);
		else
			mp_r_skip(&r);
	}
	return native && r.err == 0;
}

static void
count_instances(const struct fsm *f, uint64_t by_kind[ARRAY_LEN(kinds)], uint64_t *ret_billable)
{
	const struct service_item *s;
	struct tree_iter it;

	*ret_billable = 0;
	tree_seek(&f->services, STR_NONE, &it);
	while ((s = tree_next(&it)) != NULL) {
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
			by_kind[i] += str_eqs(s->s.kind, kinds[i]);
		by_kind[KIND_NATIVE] += is_native(&s->s);
		*ret_billable += s->s.kind.len == 0 && !str_eqs(s->s.service, "consul");
	}
}

void
usage_query(const struct fsm *f, struct mp_w *out, uint64_t *idx, struct watch_set *watch)
{
	uint64_t by_kind[ARRAY_LEN(kinds)] = { 0 }, billable;

	*idx = max_u64(f->idx.nodes, f->idx.services);
	watch_add(watch, WATCH_NODES, STR(""));
	watch_add(watch, WATCH_SERVICES, STR(""));
	count_instances(f, by_kind, &billable);
	mp_w_map(out, 1);
	mp_w_cstr(out, f->config.datacenter);
	mp_w_map(out, 5);
	mp_w_cstr(out, "Nodes");
	mp_w_uint(out, f->nodes.n);
	mp_w_cstr(out, "Services");
	mp_w_uint(out, f->names.n);
	mp_w_cstr(out, "ServiceInstances");
	mp_w_uint(out, f->services.n);
	mp_w_cstr(out, "ConnectServiceInstances");
	mp_w_map(out, ARRAY_LEN(kinds));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		mp_w_cstr(out, kinds[i]);
		mp_w_uint(out, by_kind[i]);
	}
	mp_w_cstr(out, "BillableServiceInstances");
	mp_w_uint(out, billable);
}
