/*
 * pquery_execute.c - prepared queries at work: which one a name stands for,
 * and which instances it finds.
 *
 * There is one datacenter: a query that may fail over finds nobody to ask.
 */
#include <stdlib.h>

#include "raftd/fsm/query.h"

enum { FRONT_MAX = 10 };	/* so far in the list the node that asks is looked for */

/* ---- by ID, by name, by the longest prefix */

static const struct query_item *
longest_template(const struct fsm *f, struct str name)
{
	struct str key = f->query_templates.n > 0 ? join(f, STR_NONE, name, STR_NONE) : STR_NONE;
	const struct query_item *item = NULL;

	for (; key.len > 0 && item == NULL; key.len--)
		item = tree_get(&f->query_templates, key);
	return item;
}

/* *ret_by_id: it was found by its ID. */
static const struct query_item *
resolve(const struct fsm *f, struct str id_or_name, bool *ret_by_id)
{
	const struct query_item *item = pquery_find(f, id_or_name);
	struct str name;

	*ret_by_id = item != NULL;
	if (item != NULL || id_or_name.len == 0)
		return item;
	name = lower(f, id_or_name);
	item = tree_get(&f->queries_by_name, name);
	return item != NULL ? item : longest_template(f, name);
}

struct str
fsm_query_token(const struct fsm *f, const struct pq_request *q)
{
	const struct query_item *item;
	bool by_id;

	arena_reset(f->arena);
	item = resolve(f, q->id, &by_id);
	return item != NULL ? item->q.token : STR_NONE;
}

/* The query as it is to run, templates filled in. An error is said when there is none. */
static int
prepare(const struct fsm *f, const struct pq_request *q, struct prepared_query *ret, struct fsm_error *err)
{
	const struct query_item *item;
	char why[FSM_TEXT_MAX];
	bool by_id;
	int rc = 0;

	if (q->id.len == 0) {
		fail(err, 500, "Missing Query ID");
		return 0;
	}
	item = resolve(f, q->id, &by_id);
	if (item == NULL) {
		fail(err, 404, "Query not found");
	} else if (item->q.template.type.len == 0) {
		*ret = item->q;
	} else if (by_id) {
		fail(err, 500, "prepared query templates can only be resolved up by name, not by ID");
	} else {
		rc = pquery_render(f, &item->q, q->id, q->agent_segment, ret, why, sizeof(why));
		if (rc == -EINVAL)
			fail(err, 500, "%s", why);
	}
	return rc == -EINVAL ? 0 : rc;
}

/* ---- which instances */

static bool
has_tag(const struct strs *have, struct str tag)
{
	for (size_t i = 0; i < have->n; i++)
		if (str_eq_nocase(have->v[i], tag))
			return true;
	return false;
}

/* "!tag" must not be there. */
static bool
tags_fit(const struct strs *have, const struct strs *want)
{
	for (size_t i = 0; i < want->n; i++) {
		struct str tag = want->v[i];
		bool not = tag.len > 0 && tag.p[0] == '!';

		if (not)
			tag = (struct str){ tag.p + 1, tag.len - 1 };
		if (has_tag(have, tag) == not)
			return false;
	}
	return true;
}

static bool
ignored(const struct strs *ids, struct str id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (str_eq(ids->v[i], id))
			return true;
	return false;
}

static bool
healthy(const struct checks *checks, const struct pq_service *s)
{
	for (size_t i = 0; i < checks->n; i++) {
		const struct health_check *c = &checks->v[i];

		if (!ignored(&s->ignore_check_ids, c->check_id) &&
		    (str_eqs(c->status, "critical") || (s->only_passing && !str_eqs(c->status, "passing"))))
			return false;
	}
	return true;
}

struct found {
	const struct service_item **v;
	size_t n;
	uint32_t *ranks;	/* arena; NULL unless they are asked for */
};

static int
find(const struct fsm *f, const struct pq_service *want, struct asker *who, struct found *ret)
{
	struct str name = lower(f, want->service), prefix = join(f, name, STR_NONE, STR_NONE);
	const struct name_item *known = tree_get(&f->names, name);
	struct checks checks = { .n = 0 };
	const struct service_item *s;
	struct tree_iter it;
	int rc = 0;

	ret->n = 0;
	ret->v = arena_alloc(f->arena, (known != NULL ? known->instances + 1 : 1) * sizeof(*ret->v));
	if (prefix.p == NULL || ret->v == NULL)
		return -ENOMEM;
	tree_seek(&f->services_by_name, prefix, &it);
	while (known != NULL && ret->n < known->instances && (s = tree_next_prefixed(&it, prefix)) != NULL) {
		const struct node_item *n = tree_get(&f->nodes, s->node);

		/* Before anything of it is looked at: that something was left out is told. */
		if (n == NULL || !asker_sees(who, ACL_NODE, n->n.node) || !asker_sees(who, ACL_SERVICE, s->s.service))
			continue;
		if (!meta_matches(&n->n.meta, &want->node_meta) || !meta_matches(&s->s.meta, &want->service_meta) ||
		    !tags_fit(&s->s.tags, &want->tags))
			continue;
		rc = gather_checks(f, s, &checks);
		if (rc < 0)
			return rc;
		if (healthy(&checks, want))
			ret->v[ret->n++] = s;
	}
	return 0;
}

/* ---- in which order */

/* splitmix64 */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void
shuffle(struct found *all, uint64_t seed)
{
	for (size_t i = all->n; i > 1; i--) {
		size_t j = (size_t)(next_random(&seed) % i);
		const struct service_item *s = all->v[i - 1];

		all->v[i - 1] = all->v[j];
		all->v[j] = s;
	}
}

static struct str
node_of_ip(const struct fsm *f, struct str ip)
{
	const struct node_item *n = address_node(f, ip);

	return n != NULL ? n->n.node : STR("");
}

/* The node to measure from; what the client says goes before what the query says. */
static struct str
source(const struct fsm *f, const struct pq_request *q, const struct prepared_query *pq)
{
	struct str node = q->near.len > 0 ? q->near : pq->service.near;

	if (str_eqs(node, "_agent"))
		return q->agent_node;
	return str_eqs(node, "_ip") ? node_of_ip(f, q->source_ip) : node;
}

static int
emit_found(void *ctx, const void *item)
{
	struct found *all = ctx;

	all->v[all->n++] = item;
	return 0;
}

static int
sort_near(const struct fsm *f, struct str node, struct found *all)
{
	struct found sorted = { arena_alloc(f->arena, (all->n + 1) * sizeof(*sorted.v)), 0, all->ranks };
	struct near near;
	int rc = sorted.v != NULL ? 0 : -ENOMEM;

	near_begin(&near, f, node, emit_found, &sorted);
	for (size_t i = 0; i < all->n && rc == 0; i++)
		rc = near_put(&near, all->v[i], all->v[i]->node);
	if (rc == 0)
		rc = near_end(&near);
	if (rc == 0)
		*all = sorted;
	if (rc == 0 && all->ranks != NULL)
		near_ranks(&near, all->ranks, all->n);
	return rc;
}

/* This one comes first, before all ranks; the former first takes its place. */
static void
put_first(struct found *all, size_t i)
{
	const struct service_item *s = all->v[i];

	all->v[i] = all->v[0];
	all->v[0] = s;
	for (size_t k = 1; all->ranks != NULL && k < all->n; k++)
		all->ranks[k] = (k == i ? 0 : all->ranks[k]) + 1;
}

/* An instance of the node itself comes first, however far others are. Where the order is no random one it may stand anywhere. */
static void
move_to_front(const struct fsm *f, struct str node, struct found *all)
{
	for (size_t i = 0; i < all->n && (i < FRONT_MAX || all->ranks != NULL); i++) {
		const struct node_item *n = tree_get(&f->nodes, all->v[i]->node);

		if (n != NULL && str_eq(n->n.node, node)) {
			put_first(all, i);
			return;
		}
	}
}

/* ---- the answer */

static int
write_found(const struct fsm *f, const struct found *all, struct mp_w *out)
{
	struct checks checks = { .n = 0 };
	int rc = 0;

	mp_w_array(out, (uint32_t)all->n);
	for (size_t i = 0; i < all->n && rc == 0 && out->err == 0; i++) {
		const struct node_item *n = tree_get(&f->nodes, all->v[i]->node);
		struct health_entry e;

		rc = gather_checks(f, all->v[i], &checks);
		if (rc < 0)
			break;
		e = (struct health_entry){ n->n, service_show(all->v[i]), { checks.v, checks.n } };
		record_encode(&rec_health_entry, &e, RECORD_PUBLIC, out);
	}
	return rc;
}

/* The instances in their order. */
static int
choose(const struct fsm *f, const struct pq_request *q, const struct prepared_query *pq, struct asker *who, struct found *ret)
{
	struct str node = source(f, q, pq);
	struct found all = { NULL, 0, NULL };
	int rc = 0;

	/* Proxies of the mesh, of which there are none. */
	if (!pq->service.connect && !q->connect)
		rc = find(f, &pq->service, who, &all);
	if (rc == 0 && q->ranked) {
		all.ranks = arena_alloc(f->arena, (all.n + 1) * sizeof(*all.ranks));
		if (all.ranks != NULL)
			memset(all.ranks, 0, (all.n + 1) * sizeof(*all.ranks));
		else
			rc = -ENOMEM;
	} else {
		shuffle(&all, q->seed);
	}
	if (rc == 0 && node.len > 0 && all.n > 0) {
		rc = sort_near(f, node, &all);
		if (rc == 0)
			move_to_front(f, node, &all);
	}
	if (q->limit > 0 && all.n > (uint64_t)q->limit)
		all.n = (size_t)q->limit;
	*ret = all;
	return rc;
}

static void
write_ranks(const struct pq_request *q, const struct prepared_query *pq, const struct found *all, struct mp_w *out)
{
	mp_w_cstr(out, "Ranks");
	mp_w_array(out, (uint32_t)all->n);
	for (size_t i = 0; i < all->n; i++)
		mp_w_uint(out, all->ranks[i]);
	mp_w_cstr(out, "PerClient");
	mp_w_bool(out, str_eqs(q->near.len > 0 ? q->near : pq->service.near, "_ip"));
}

static int
execute(const struct fsm *f, const struct pq_request *q, const struct prepared_query *pq, struct asker *who, struct mp_w *out)
{
	struct found all;
	int rc = choose(f, q, pq, who, &all);

	if (rc < 0)
		return rc;
	mp_w_map(out, q->ranked ? 7 : 5);
	mp_w_cstr(out, "Service");
	mp_w_str(out, pq->service.service);
	mp_w_cstr(out, "Nodes");
	rc = write_found(f, &all, out);
	mp_w_cstr(out, "DNS");
	record_encode(&rec_pq_dns, &pq->dns, RECORD_PUBLIC, out);
	mp_w_cstr(out, "Datacenter");
	mp_w_cstr(out, f->config.datacenter);
	mp_w_cstr(out, "Failovers");
	mp_w_int(out, 0);
	if (q->ranked)
		write_ranks(q, pq, &all, out);
	return rc;
}

static void
explain(const struct prepared_query *pq, struct asker *who, struct mp_w *out, struct fsm_error *err)
{
	struct prepared_query shown = pquery_shown(pq, who);
	char text[FSM_TEXT_MAX];
	struct str name;
	bool guarded = pquery_guarded(pq, &name);

	if (!asker_may(who, ACL_ACL, STR(""), ACL_WRITE) && !(guarded && asker_may(who, ACL_QUERY, name, ACL_READ))) {
		asker_denied(who, ACL_QUERY, name, ACL_READ, text, sizeof(text));
		fail(err, 403, "%s", text);
		return;
	}
	mp_w_map(out, 1);
	mp_w_cstr(out, "Query");
	record_encode(&rec_prepared_query, &shown, RECORD_PUBLIC, out);
}

/* What an execution depends on, distances aside: which query the name stands for, its service, and what its own token may see. */
static void
watch_execution(const struct fsm *f, const struct prepared_query *pq, uint64_t *idx, struct watch_set *watch)
{
	struct str name = lower(f, pq->service.service);

	*idx = max_u64(f->idx.queries, name_index(f, name, true));
	watch_add(watch, WATCH_QUERIES, STR(""));
	watch_add(watch, WATCH_SERVICE, name);
	if (pq->token.len == 0)
		return;
	watch_add(watch, WATCH_ACL, STR(""));
	*idx = max_u64(max_u64(*idx, f->idx.acl_tokens), max_u64(f->idx.acl_policies, f->idx.acl_roles));
}

int
pquery_run(const struct fsm *f, uint16_t op, const struct pq_request *q, struct asker *who, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	struct prepared_query pq;
	int rc = prepare(f, q, &pq, err);

	if (rc < 0 || err->code != 0)
		return rc;
	if (op == OP_QUERY_EXECUTE && q->ranked)
		watch_execution(f, &pq, idx, watch);
	if (op == OP_QUERY_EXECUTE)
		return execute(f, q, &pq, who, out);
	explain(&pq, who, out, err);
	return 0;
}
