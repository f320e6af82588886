/* check_alias.c - checks that repeat the health of another service or node. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checkd/kinds.h"
#include "lib/ops.h"

enum { TEXT_MAX = CHECK_OUTPUT_MAX, ARENA_MAX = 64 * 1024 * 1024, RETRY_MS = 1000, RETRY_MAX_MS = 60000 };

/* An alias of another node's health: a watch in the catalog. */
struct remote {
	struct check *c;
	uint32_t call;		/* 0: none is open */
	uint64_t index;
	uint64_t backoff_ms;
};

static void ask(struct remote *r);

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
		found = true;
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

static void
evaluate(struct check *c)
{
	const struct local *l = &c->cd->local;
	struct health_check *v = calloc(l->nchecks > 0 ? l->nchecks : 1, sizeof(*v));
	char text[TEXT_MAX];
	enum check_status s;
	size_t n = 0;

	if (v == NULL)
		return;
	for (size_t i = 0; i < l->nchecks; i++)
		if (!l->checks[i]->sync.deleted)
			local_check_record(l->checks[i], &v[n++]);
	s = alias_sum(v, n, str_from(c->id), c->def->alias_service, local_service(l, c->def->alias_service) != NULL,
	    str_from(checkd_node(c->cd)), text, sizeof(text));
	free(v);
	result_set(c, s, str_from(text));
}

void
alias_evaluate(struct checkd *cd)
{
	for (size_t i = 0; i < cd->local.nchecks; i++) {
		struct check *c = cd->local.checks[i];

		if (!c->sync.deleted && c->runner.kind == &check_kind_alias && is_local(c))
			evaluate(c);
	}
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

static int
take_checks(struct remote *r, const struct rpc_answer *answer)
{
	struct arena a = ARENA_INIT(ARENA_MAX);
	struct query_meta meta;
	struct str payload;
	struct health_check *v = NULL;
	char text[TEXT_MAX];
	enum check_status status;
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
		status = alias_sum(v, n, str_from(r->c->id), r->c->def->alias_service, false, r->c->def->alias_node, text,
		    sizeof(text));
		result_set(r->c, status, str_from(text));
	}
	arena_release(&a);
	return rc;
}

static void
on_answer(void *arg, const struct rpc_answer *answer)
{
	struct remote *r = arg;
	struct rpc_error e;
	char text[512];

	r->call = 0;
	if (answer->rc == 0 && take_checks(r, answer) == 0) {
		r->backoff_ms = 0;
		ask(r);
		return;
	}
	r->index = 0;
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
ask(struct remote *r)
{
	struct query_options o = { .token = tokens_check(&r->c->cd->tokens, r->c), .min_index = r->index };
	struct catalog_query q = { .node = r->c->def->alias_node };

	r->call = rpc_call_record(r->c->cd->raftd, OP_HEALTH_NODE, &o, &q, RPC_RETRY | RPC_NO_DEADLINE, 0, on_answer, r);
	if (r->call == 0)
		retry_later(r);
}

/* ---- the kind */

static void
alias_start(struct check *c)
{
	struct remote *r;

	if (is_local(c)) {
		evaluate(c);
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
