/* sync.c - anti-entropy: when this node's entries are compared with the catalog. */
#include <stdlib.h>
#include <string.h>

#include "checkd/kinds.h"
#include "checkd/sync_state.h"

enum { REPLY_ARENA_MAX = 256 * 1024 * 1024, SCALE_NODES = 128 };

static void full_sync(struct sync *s);

unsigned
sync_scale(uint64_t nodes)
{
	unsigned scale = 1;

	for (uint64_t n = SCALE_NODES; n < nodes; n *= 2)
		scale++;
	return scale;
}

/* ---- waiters */

static void
answer_waiters(struct sync *s, uint64_t before_ms)
{
	struct waiter **at = &s->waiters, *w;

	while ((w = *at) != NULL) {
		if (w->deadline_ms > before_ms) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		s->nwaiters--;
		rpc_reply_nil(s->cd->d->rpc, w->token, 1);
		free(w);
	}
	if (s->waiters == NULL && s->sweep != NULL)
		(void)uv_timer_stop(s->sweep);
}

static void
on_sweep(uv_timer_t *t)
{
	answer_waiters(t->data, clock_ms());
}

/* ---- when */

static void
on_timer(uv_timer_t *t)
{
	full_sync(t->data);
}

static void
schedule_next(struct sync *s)
{
	uint64_t scale = sync_scale(s->pool.members), wait;

	if (!s->failed && !s->refused) {
		wait = SYNC_INTERVAL_MS + random_below(SYNC_INTERVAL_MS * scale);
	} else if (s->failed && !s->succeeded && s->retry_ms < SYNC_RETRY_MS) {
		/* At the start of a node raftd may need a moment to have a leader. */
		s->retry_ms = s->retry_ms == 0 ? SYNC_FIRST_RETRY_MS : s->retry_ms * 2;
		wait = s->retry_ms;
	} else {
		wait = SYNC_RETRY_MS + random_below(SYNC_RETRY_MS * scale);
	}
	(void)uv_timer_start(s->timer, on_timer, wait, 0);
}

void
sync_settle(struct sync *s)
{
	if (s->fetching > 0 || s->npushes > 0)
		return;
	if (!s->failed) {
		s->succeeded = true;
		s->leaves = false;
	}
	/* A catalog that is missing comes back with a server. */
	sync_pool_watch(&s->pool, s->failed);
	answer_waiters(s, UINT64_MAX);
	if (s->full_due && !s->failed)
		(void)uv_timer_start(s->timer, on_timer, 0, 0);
	else if (s->failed || s->refused || !uv_is_active((uv_handle_t *)s->timer))
		schedule_next(s);
	s->full_due = false;
	s->refused = false;
}

/* A node that leaves is out of the catalog: that is as it should be, and enough to be said once. */
static void
tell_refused(struct sync *s, const char *what, const struct rpc_error *e)
{
	if (e->code != 410) {
		log_err("agent", "failed to sync %s: error=\"%.*s\"", what, STR_ARG(e->text));
		return;
	}
	if (!s->leaves)
		log_info("agent", "Not syncing any more: reason=\"%.*s\"", STR_ARG(e->text));
	s->leaves = true;
}

void
sync_fail(struct sync *s, const char *what, const struct rpc_answer *a)
{
	struct rpc_error e;

	metric_add(s->failures, 1);
	/* Once an attempt, and while raftd is starting only for those who look closely. */
	if (!s->failed || s->succeeded) {
		if (a->rc == -EPROTO) {
			rpc_error_decode(a, &e);
			tell_refused(s, what, &e);
		} else if (s->succeeded || a->rc != -ETIMEDOUT) {
			log_err("agent", "failed to sync %s: error=\"%s\"", what, err_text(a->rc));
		} else {
			log_debug("agent", "raftd does not answer yet: syncing=\"%s\" error=\"%s\"", what, err_text(a->rc));
		}
	}
	s->failed = true;
}

/* ---- comparing */

static int
keep_body(struct fetch *f, const struct rpc_answer *a)
{
	buf_clear(&f->body);
	return buf_add(&f->body, a->body, a->len);
}

/* {Node, Services: [NodeService]} of catalog.node_services. */
static int
compare_services(struct sync *s, struct mp_r *r, struct arena *a)
{
	struct node_service *v = NULL;
	struct node node = { .id = STR_NONE };
	uint32_t n = mp_r_map(r), count = 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && r->err == 0 && i < n; i++) {
		struct str key = mp_r_str(r);

		if (str_eqs(key, "Node")) {
			rc = record_decode(&rec_node, r, &node, a);
		} else if (str_eqs(key, "Services")) {
			count = mp_r_array(r);
			v = arena_alloc(a, (count > 0 ? count : 1) * sizeof(*v));
			rc = v == NULL ? -ENOMEM : 0;
			for (uint32_t k = 0; rc == 0 && k < count; k++)
				rc = record_decode(&rec_node_service, r, &v[k], a);
		} else {
			mp_r_skip(r);
		}
	}
	if (rc == 0 && r->err < 0)
		rc = r->err;
	if (rc < 0)
		return rc;
	if (!s->node.pushing)
		s->node.dirty = !diff_node_same(&s->self.self, &node);
	return diff_services(&s->cd->local, v, count);
}

static int
compare_checks(struct sync *s, struct mp_r *r, struct arena *a)
{
	uint32_t n = mp_r_array(r);
	struct health_check *v = arena_alloc(a, (n > 0 ? n : 1) * sizeof(*v));
	int rc = v == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = record_decode(&rec_health_check, r, &v[i], a);
	return rc < 0 ? rc : diff_checks(&s->cd->local, v, n, s->cd->discard_output);
}

static int
compare(struct sync *s)
{
	struct arena a = ARENA_INIT(REPLY_ARENA_MAX);
	struct query_meta meta;
	struct str payload;
	struct mp_r r;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < FETCHES; i++) {
		rc = op_reply_decode(s->fetch[i].body.data, s->fetch[i].body.len, &meta, &payload);
		if (rc < 0)
			break;
		r = mp_r_init(payload.p, payload.len);
		rc = i == FETCH_SERVICES ? compare_services(s, &r, &a) : compare_checks(s, &r, &a);
		buf_shrink(&s->fetch[i].body, 0);
	}
	arena_release(&a);
	return rc;
}

/* After a comparison. Aliases repeat what was taken over from the catalog before anything is said of them. */
static void
differs(struct sync *s, bool resumed)
{
	if (resumed) {
		alias_evaluate(s->cd);
		ops_wake(s->cd);
		if (s->cd->local.adopted > 0)
			log_info("agent", "Checks keep the status that the catalog has until they have run again: checks=%zu", s->cd->local.adopted);
	}
	push_dirty(s);
}

static void
on_fetched(void *arg, const struct rpc_answer *a)
{
	struct fetch *f = arg;
	struct sync *s = f->s;
	bool resumed = s->cd->local.resumed;
	int rc;

	f->call = 0;
	s->fetching--;
	rc = a->rc == 0 ? keep_body(f, a) : 0;
	/* Both answers fail for one reason, as a rule, which is told once. */
	if ((a->rc < 0 || rc < 0) && !s->failed)
		sync_fail(s, "remote state", a->rc < 0 ? a : &(struct rpc_answer){ .rc = rc });
	if (s->fetching > 0)
		return;
	if (!s->failed) {
		rc = compare(s);
		if (rc < 0)
			sync_fail(s, "remote state", &(struct rpc_answer){ .rc = rc });
		else
			differs(s, resumed);
	}
	sync_settle(s);
}

static void
full_sync(struct sync *s)
{
	struct catalog_query q = { .node = str_from(checkd_node(s->cd)) };
	const struct query_options o = { .token = tokens_agent(&s->cd->tokens) };
	static const uint16_t ops[FETCHES] = { OP_CATALOG_NODE_SERVICES, OP_HEALTH_NODE };

	/* Writes under way would make the two answers tell of different moments. */
	if (s->fetching > 0 || s->npushes > 0) {
		s->full_due = true;
		return;
	}
	s->failed = false;
	for (unsigned i = 0; i < FETCHES; i++) {
		s->fetch[i].call = rpc_call_record(s->cd->raftd, ops[i], &o, &q, RPC_RETRY, SYNC_CALL_MS, on_fetched, &s->fetch[i]);
		if (s->fetch[i].call == 0)
			s->failed = true;
		else
			s->fetching++;
	}
	sync_pool_ask_size(&s->pool);
	sync_settle(s);
}

/* ---- the outside */

/* A failed attempt is repeated by its timer, or at once when somebody waits for it. */
static void
on_defer(struct defer *d)
{
	struct sync *s = (struct sync *)(void *)((char *)d - offsetof(struct sync, defer));

	if (s->fetching > 0 || (s->failed && (s->waiters == NULL || s->npushes > 0)))
		return;
	s->failed = false;
	push_dirty(s);
	sync_settle(s);
}

void
sync_poke(struct checkd *cd)
{
	if (cd->sync != NULL && !cd->d->draining)
		loop_defer(&cd->d->loop, DEFER_WORK, &cd->sync->defer);
}

void
sync_now(struct checkd *cd)
{
	if (cd->sync != NULL && !cd->d->draining)
		(void)uv_timer_start(cd->sync->timer, on_timer, 0, 0);
}

void
sync_wait(struct checkd *cd, struct rpc_token token)
{
	struct sync *s = cd->sync;
	struct waiter *w = s->nwaiters < SYNC_WAITERS_MAX ? malloc(sizeof(*w)) : NULL;

	if (w == NULL) {	/* It is registered all the same. */
		rpc_reply_nil(cd->d->rpc, token, 1);
		return;
	}
	*w = (struct waiter){ s->waiters, token, clock_ms() + SYNC_WAIT_MS };
	s->waiters = w;
	s->nwaiters++;
	if (!uv_is_active((uv_handle_t *)s->sweep))
		(void)uv_timer_start(s->sweep, on_sweep, SYNC_WAIT_MS, SYNC_WAIT_MS / 10);
	sync_poke(cd);
}

void
sync_cancelled(struct checkd *cd, struct rpc_token token)
{
	for (struct waiter **at = &cd->sync->waiters; *at != NULL; at = &(*at)->next) {
		struct waiter *w = *at;

		if (w->token.conn == token.conn && w->token.id == token.id) {
			*at = w->next;
			cd->sync->nwaiters--;
			free(w);
			return;
		}
	}
}

int
sync_describe(struct checkd *cd, struct json_object *slice)
{
	int rc = sync_self_set(&cd->sync->self, slice);

	if (rc > 0)
		local_touch(&cd->sync->node);
	return rc < 0 ? rc : 0;
}

/* raftd is there again: what failed meanwhile need not wait for its timer. */
static void
on_raftd_state(void *arg, bool connected)
{
	struct sync *s = arg;

	if (connected && s->failed && s->succeeded)
		(void)uv_timer_start(s->timer, on_timer, random_below(1000), 0);
}

/* Many nodes may have waited for these servers: they come one by one. */
static void
on_servers(void *arg)
{
	struct sync *s = arg;
	uint64_t wait = random_below(SYNC_SERVER_UP_MS);

	if (s->failed && s->fetching == 0 && s->npushes == 0 && uv_timer_get_due_in(s->timer) > wait)
		(void)uv_timer_start(s->timer, on_timer, wait, 0);
}

uint64_t
sync_pool_size(const struct checkd *cd)
{
	return cd->sync->pool.members;
}

int
sync_start(struct checkd *cd)
{
	struct sync *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	cd->sync = s;
	s->cd = cd;
	s->defer.cb = on_defer;
	s->failures = metric_get("catalog.sync_failures", METRIC_COUNTER);
	write_stamps_init(&s->stamps);
	sync_pool_init(&s->pool, cd->gossipd, on_servers, s);
	for (unsigned i = 0; i < FETCHES; i++) {
		s->fetch[i].s = s;
		buf_init(&s->fetch[i].body, SYNC_BODY_MAX);
	}
	s->timer = timer_new(&cd->d->loop.uv, s);
	s->sweep = timer_new(&cd->d->loop.uv, s);
	if (s->timer == NULL || s->sweep == NULL)
		return -ENOMEM;
	/* Nothing is pushed before the first comparison: it tells what is there. */
	s->failed = true;
	rpc_client_on_state(cd->raftd, on_raftd_state, s);
	(void)uv_timer_start(s->timer, on_timer, 0, 0);
	return sync_describe(cd, cd->d->config);
}

void
sync_stop(struct checkd *cd)
{
	struct sync *s = cd->sync;
	struct waiter *w;

	if (s == NULL)
		return;
	loop_undefer(&cd->d->loop, DEFER_WORK, &s->defer);
	timer_free(s->timer);
	timer_free(s->sweep);
	/* The client of raftd is freed before, which drops its calls. */
	push_release(s);
	while ((w = s->waiters) != NULL) {
		s->waiters = w->next;
		free(w);
	}
	for (unsigned i = 0; i < FETCHES; i++)
		buf_release(&s->fetch[i].body);
	write_stamps_release(&s->stamps);
	sync_self_release(&s->self);
	free(s);
	cd->sync = NULL;
}
