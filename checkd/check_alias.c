/* check_alias.c - checks that repeat the health of another service or node. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checkd/kinds.h"
#include "lib/ops.h"

enum { TEXT_MAX = CHECK_OUTPUT_MAX, ARENA_MAX = 64 * 1024 * 1024, RETRY_MS = 1000, RETRY_MAX_MS = 60000 };

/*
 * An alias of another node's health: a watch in the catalog, of the node's
 * checks, or, while it has not got the service, of its services.
 */
struct remote {
	struct check *c;
	uint32_t call;		/* 0: none is open */
	uint64_t index, services_index;
	uint64_t acl_index, services_acl_index;	/* of the answers that these are from */
	uint64_t backoff_ms;
	enum check_status status;	/* what the checks say, if the service is there */
	char text[TEXT_MAX];
};

/* A service that aliases stand for, and its checks: a chain through `next`. */
struct target {
	struct str service;
	size_t first, n;
};

enum { NODE_EACH = 2, NODE_MAX = 3 * NODE_EACH };

/* The checks of this node by the services that aliases ask for; those of none are the node's. */
struct links {
	const struct local *l;
	struct target *targets;
	size_t ntargets;
	size_t *next;		/* for each check */
	/* As many of the node's checks as can make a difference: one of each status may be the alias itself. */
	const struct check *node[NODE_MAX];
	size_t nnode, nnode_of[3];
};

static void ask(struct remote *r);
static void ask_services(struct remote *r);

enum check_status
alias_sum(const struct health_check *checks, size_t n, struct str own_id, struct str service_id,
    bool service_exists, struct str node, char *text, size_t textlen)
{
	enum check_status sum = CHECK_PASSING, s;
	bool found = false;

	snprintf(text, textlen, "No checks found.");
	for (size_t i = 0; i < n; i++) {
		const struct health_check *h = &checks[i];

		if (str_eq(h->check_id, own_id) || (h->service_id.len > 0 && !str_eq(h->service_id, service_id)))
			continue;
		/* The node's own checks say nothing about whether it has the service. */
		found |= h->service_id.len > 0;
		if (status_parse(h->status, &s) < 0)
			s = CHECK_CRITICAL;
		if (s == CHECK_PASSING) {
			if (sum == CHECK_PASSING)
				snprintf(text, textlen, "All checks passing.");
			continue;
		}
		if (s < sum)
			continue;
		sum = s;
		snprintf(text, textlen, "Aliased check \"%.*s\" failing: %.*s", STR_ARG(h->name), STR_ARG(h->output));
		if (s == CHECK_CRITICAL)
			break;
	}
	if (!found && service_id.len > 0 && !service_exists) {
		snprintf(text, textlen, "Service %.*s could not be found on node %.*s", STR_ARG(service_id), STR_ARG(node));
		return CHECK_CRITICAL;
	}
	return sum;
}

static bool
is_local(const struct check *c)
{
	const char *node = checkd_node(c->cd);

	return c->def->alias_node.len == 0 || str_eq_nocase(c->def->alias_node, str_from(node));
}

static int
by_name(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	return str_cmp(x->service, y->service);
}

static bool
is_local_alias(const struct check *c)
{
	return !c->sync.deleted && c->runner.kind == &check_kind_alias && is_local(c);
}

static void
keep_of_node(struct links *k, const struct check *c)
{
	if (k->nnode_of[c->status] == NODE_EACH)
		return;
	k->nnode_of[c->status]++;
	k->node[k->nnode++] = c;
}

/* Which services are asked for: of all aliases, or of one (not NULL). */
static void
find_targets(struct links *k, const struct check *one)
{
	size_t n = 0;

	for (size_t i = 0; i < k->l->nchecks; i++)
		if (one == NULL ? is_local_alias(k->l->checks[i]) : k->l->checks[i] == one)
			k->targets[n++] = (struct target){ k->l->checks[i]->def->alias_service, k->l->nchecks, 0 };
	if (n > 1)
		qsort(k->targets, n, sizeof(*k->targets), by_name);
	for (size_t i = 0; i < n; i++)
		if (k->ntargets == 0 || !str_eq(k->targets[k->ntargets - 1].service, k->targets[i].service))
			k->targets[k->ntargets++] = k->targets[i];
}

static struct target *
target_of(const struct links *k, struct str service)
{
	struct target key = { .service = service };

	return bsearch(&key, k->targets, k->ntargets, sizeof(key), by_name);
}

static void
links_release(struct links *k)
{
	free(k->targets);
	free(k->next);
}

/* One pass over all checks, whatever the number of aliases. -ENOMEM. */
static int
links_make(struct links *k, const struct local *l, const struct check *one, size_t naliases)
{
	*k = (struct links){ .l = l, .targets = calloc(naliases, sizeof(*k->targets)), .next = calloc(l->nchecks, sizeof(*k->next)) };
	if (k->targets == NULL || k->next == NULL) {
		links_release(k);
		return -ENOMEM;
	}
	find_targets(k, one);
	/* From the end, so that the chains are in the order of the ids. */
	for (size_t i = l->nchecks; i-- > 0;) {
		const struct check *c = l->checks[i];
		struct target *t;

		if (c->sync.deleted)
			continue;
		if (c->rec->service_id.len == 0) {
			keep_of_node(k, c);
			continue;
		}
		t = target_of(k, c->rec->service_id);
		if (t == NULL)
			continue;
		k->next[i] = t->first;
		t->first = i;
		t->n++;
	}
	return 0;
}

/* One alias; without memory it stays as it is. */
static void
evaluate(const struct links *k, struct check *c)
{
	const struct target *t = target_of(k, c->def->alias_service);
	struct health_check *v = calloc(k->nnode + t->n + 1, sizeof(*v));
	char text[TEXT_MAX];
	enum check_status s;
	size_t n = 0;

	if (v == NULL)
		return;
	for (size_t i = 0; i < k->nnode; i++)
		local_check_record(k->node[i], &v[n++]);
	for (size_t i = t->first; i < k->l->nchecks; i = k->next[i])
		local_check_record(k->l->checks[i], &v[n++]);
	s = alias_sum(v, n, str_from(c->id), c->def->alias_service, local_service(k->l, c->def->alias_service) != NULL,
	    str_from(checkd_node(c->cd)), text, sizeof(text));
	free(v);
	result_set(c, s, str_from(text));
}

void
alias_evaluate(struct checkd *cd)
{
	const struct local *l = &cd->local;
	struct links k;
	size_t n = 0;

	for (size_t i = 0; i < l->nchecks; i++)
		n += is_local_alias(l->checks[i]);
	if (n == 0 || links_make(&k, l, NULL, n) < 0)
		return;
	for (size_t i = 0; i < l->nchecks; i++)
		if (is_local_alias(l->checks[i]))
			evaluate(&k, l->checks[i]);
	links_release(&k);
}

/* ---- another node */

static void
on_retry(uv_timer_t *t)
{
	struct check *c = t->data;

	ask(c->runner.run);
}

static void
retry_later(struct remote *r)
{
	r->backoff_ms = r->backoff_ms == 0 ? RETRY_MS : r->backoff_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : r->backoff_ms * 2;
	if (r->c->runner.timer != NULL)
		(void)uv_timer_start(r->c->runner.timer, on_retry, r->backoff_ms, 0);
}

/* *ret_found: whether the service has a check, and so is there. */
static int
take_checks(struct remote *r, const struct rpc_answer *answer, bool *ret_found)
{
	const struct str service = r->c->def->alias_service;
	struct arena a = ARENA_INIT(ARENA_MAX);
	struct query_meta meta;
	struct str payload;
	struct health_check *v = NULL;
	struct mp_r in;
	uint32_t n = 0;
	int rc;

	rc = op_reply_decode(answer->body, answer->len, &meta, &payload);
	if (rc == 0) {
		in = mp_r_init(payload.p, payload.len);
		n = mp_r_array(&in);
		v = arena_alloc(&a, (n > 0 ? n : 1) * sizeof(*v));
		rc = v == NULL ? -ENOMEM : 0;
	}
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = record_decode(&rec_health_check, &in, &v[i], &a);
	if (rc == 0) {
		/* A restored or rebuilt catalog may count from the start again. */
		r->index = meta.index >= r->index ? meta.index : 0;
		r->acl_index = meta.acl_index;
		r->status = alias_sum(v, n, str_from(r->c->id), service, true, r->c->def->alias_node, r->text, sizeof(r->text));
		*ret_found = service.len == 0;
		for (uint32_t i = 0; i < n && !*ret_found; i++)
			*ret_found = str_eq(v[i].service_id, service);
	}
	arena_release(&a);
	return rc;
}

/* Whether the node has the service: the reply is {Node, Services: [NodeService]}, both nil for an unknown node. */
static int
take_services(struct remote *r, const struct rpc_answer *answer, bool *ret_found)
{
	struct arena a = ARENA_INIT(ARENA_MAX);
	struct query_meta meta;
	struct node_service s;
	struct str payload, key;
	struct mp_r in;
	uint32_t n;
	int rc = op_reply_decode(answer->body, answer->len, &meta, &payload);

	*ret_found = false;
	in = rc == 0 ? mp_r_init(payload.p, payload.len) : mp_r_init("", 0);
	n = rc == 0 ? mp_r_map(&in) : 0;
	for (uint32_t i = 0; rc == 0 && in.err == 0 && i < n; i++) {
		key = mp_r_str(&in);
		if (!str_eqs(key, "Services")) {
			mp_r_skip(&in);
			continue;
		}
		for (uint32_t left = mp_r_array(&in); rc == 0 && in.err == 0 && left > 0; left--) {
			rc = record_decode(&rec_node_service, &in, &s, &a);
			*ret_found |= rc == 0 && str_eq(s.id, r->c->def->alias_service);
		}
	}
	if (rc == 0)
		rc = in.err;
	if (rc == 0) {
		r->services_index = meta.index >= r->services_index ? meta.index : 0;
		r->services_acl_index = meta.acl_index;
	}
	arena_release(&a);
	return rc;
}

static void
failed(struct remote *r, const struct rpc_answer *answer)
{
	struct rpc_error e;
	char text[512];

	r->index = r->services_index = 0;
	if (answer->rc == -EPROTO) {
		rpc_error_decode(answer, &e);
		snprintf(text, sizeof(text), "Failure checking aliased node or service: %.*s", STR_ARG(e.text));
	} else {
		snprintf(text, sizeof(text), "Failure checking aliased node or service: %s", err_text(answer->rc));
	}
	result_set(r->c, CHECK_CRITICAL, str_from(text));
	retry_later(r);
}

static void
on_services(void *arg, const struct rpc_answer *answer)
{
	struct remote *r = arg;
	const struct check_def *d = r->c->def;
	uint64_t waited = r->services_index;
	char text[TEXT_MAX];
	bool found;

	r->call = 0;
	if (answer->rc != 0 || take_services(r, answer, &found) < 0) {
		failed(r, answer);
		return;
	}
	r->backoff_ms = 0;
	if (found) {
		/* When it was waited for, its checks are asked for anew. */
		if (waited == 0)
			result_set(r->c, r->status, str_from(r->text));
		else
			r->index = 0;
		r->services_index = 0;
		ask(r);
		return;
	}
	snprintf(text, sizeof(text), "Service %.*s could not be found on node %.*s", STR_ARG(d->alias_service), STR_ARG(d->alias_node));
	result_set(r->c, CHECK_CRITICAL, str_from(text));
	ask_services(r);
}

static void
on_checks(void *arg, const struct rpc_answer *answer)
{
	struct remote *r = arg;
	bool found = false;

	r->call = 0;
	if (answer->rc != 0 || take_checks(r, answer, &found) < 0) {
		failed(r, answer);
		return;
	}
	r->backoff_ms = 0;
	if (found) {
		result_set(r->c, r->status, str_from(r->text));
		ask(r);
	} else {
		ask_services(r);
	}
}

static void
watch(struct remote *r, uint16_t op, uint64_t index, uint64_t acl_index, rpc_answer_cb *cb)
{
	struct query_options o = { .token = tokens_check(&r->c->cd->tokens, r->c), .min_index = index,
		.acl_index = index > 0 ? acl_index : 0 };
	struct catalog_query q = { .node = r->c->def->alias_node };

	r->call = rpc_call_record(r->c->cd->raftd, op, &o, &q, RPC_RETRY | RPC_NO_DEADLINE, 0, cb, r);
	if (r->call == 0)
		retry_later(r);
}

static void
ask(struct remote *r)
{
	watch(r, OP_HEALTH_NODE, r->index, r->acl_index, on_checks);
}

static void
ask_services(struct remote *r)
{
	watch(r, OP_CATALOG_NODE_SERVICES, r->services_index, r->services_acl_index, on_services);
}

/* ---- the kind */

static void
alias_start(struct check *c)
{
	struct remote *r;
	struct links k;

	if (is_local(c)) {
		if (links_make(&k, &c->cd->local, c, 1) == 0) {
			evaluate(&k, c);
			links_release(&k);
		}
		return;
	}
	c->runner.timer = timer_new(&c->cd->d->loop.uv, c);
	r = calloc(1, sizeof(*r));
	if (r == NULL || c->runner.timer == NULL) {
		free(r);
		log_err("agent", "cannot watch another node: check=%s error=\"out of memory\"", c->id);
		return;
	}
	r->c = c;
	c->runner.run = r;
	ask(r);
}

static void
alias_stop(struct check *c)
{
	struct remote *r = c->runner.run;

	if (r == NULL)
		return;
	if (r->call != 0)
		rpc_cancel(c->cd->raftd, r->call);
	free(r);
	c->runner.run = NULL;
}

const struct check_kind check_kind_alias = { "alias", false, alias_start, alias_stop };
