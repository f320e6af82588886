/* sync.c - anti-entropy: when to compare, what to push, whom to tell. */
#include <stdlib.h>
#include <string.h>

#include "checkd/diff.h"
#include "checkd/sync.h"
#include "checkd/sync_self.h"

enum { REPLY_ARENA_MAX = 256 * 1024 * 1024, SCALE_NODES = 128 };

/* Somebody who registered something and waits for it to be pushed. */
struct waiter {
	struct waiter *next;
	struct rpc_token token;
	uint64_t deadline_ms;
};

/* Answers of one comparison. */
enum fetched { FETCH_SERVICES, FETCH_CHECKS, FETCHES };

struct fetch {
	struct sync *s;
	uint32_t call;		/* 0: answered or not asked */
	struct buf body;
};

/* What a write on its way is about; ids, because entries may go meanwhile. */
struct push {
	struct push *next;
	struct sync *s;
	uint32_t call;
	uint64_t seq;		/* of its stamp */
	bool deregister, node;
	char *service_id;	/* NULL: no service */
	char **check_ids;
	size_t nchecks;
};

struct sync {
	struct checkd *cd;
	struct sync_self self;
	struct entry_sync node;		/* of the node's own description */
	struct write_stamps stamps;
	uv_timer_t *timer, *sweep;
	struct defer defer;
	struct fetch fetch[FETCHES];
	unsigned fetching;
	uint32_t members_call;
	uint64_t members;
	struct push *pushes;
	size_t npushes;
	struct waiter *waiters;
	size_t nwaiters;
	bool succeeded, failed;		/* ever; the last attempt */
	bool full_due;			/* a comparison waits for the writes under way */
	uint64_t retry_ms;
	struct metric_slot *failures;
};

static void full_sync(struct sync *s);
static void push_dirty(struct sync *s);

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
	uint64_t scale = sync_scale(s->members), wait;

	if (!s->failed) {
		wait = SYNC_INTERVAL_MS + random_below(SYNC_INTERVAL_MS * scale);
	} else if (!s->succeeded && s->retry_ms < SYNC_RETRY_MS) {
		/* At the start of a node raftd may need a moment to have a leader. */
		s->retry_ms = s->retry_ms == 0 ? SYNC_FIRST_RETRY_MS : s->retry_ms * 2;
		wait = s->retry_ms;
	} else {
		wait = SYNC_RETRY_MS + random_below(SYNC_RETRY_MS * scale);
	}
	(void)uv_timer_start(s->timer, on_timer, wait, 0);
}

/* The attempt under way is over: nothing is being asked or written any more. */
static void
settle_if_quiet(struct sync *s)
{
	if (s->fetching > 0 || s->npushes > 0)
		return;
	if (!s->failed)
		s->succeeded = true;
	answer_waiters(s, UINT64_MAX);
	if (s->full_due && !s->failed)
		(void)uv_timer_start(s->timer, on_timer, 0, 0);
	else if (s->failed || !uv_is_active((uv_handle_t *)s->timer))
		schedule_next(s);
	s->full_due = false;
}

static void
fail(struct sync *s, const char *what, const struct rpc_answer *a)
{
	struct rpc_error e;

	metric_add(s->failures, 1);
	/* Once an attempt, and while raftd is starting only for those who look closely. */
	if (!s->failed || s->succeeded) {
		if (a->rc == -EPROTO) {
			rpc_error_decode(a, &e);
			log_err("agent", "failed to sync: %s: error=\"%.*s\"", what, STR_ARG(e.text));
		} else if (s->succeeded) {
			log_err("agent", "failed to sync: %s: error=\"%s\"", what, err_text(a->rc));
		} else {
			log_debug("agent", "raftd does not answer yet: %s: error=\"%s\"", what, err_text(a->rc));
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

static void
on_fetched(void *arg, const struct rpc_answer *a)
{
	struct fetch *f = arg;
	struct sync *s = f->s;
	int rc;

	f->call = 0;
	s->fetching--;
	rc = a->rc == 0 ? keep_body(f, a) : 0;
	if (a->rc < 0 || rc < 0)
		fail(s, "reading the catalog", a->rc < 0 ? a : &(struct rpc_answer){ .rc = rc });
	if (s->fetching > 0)
		return;
	if (!s->failed) {
		rc = compare(s);
		if (rc < 0)
			fail(s, "comparing with the catalog", &(struct rpc_answer){ .rc = rc });
		else
			push_dirty(s);
	}
	settle_if_quiet(s);
}

static void
on_members(void *arg, const struct rpc_answer *a)
{
	struct sync *s = arg;
	struct query_meta meta;
	struct str payload;
	struct mp_r r;

	s->members_call = 0;
	if (a->rc < 0 || op_reply_decode(a->body, a->len, &meta, &payload) < 0)
		return;
	r = mp_r_init(payload.p, payload.len);
	s->members = mp_r_array(&r);
}

static void
full_sync(struct sync *s)
{
	struct catalog_query q = { .node = str_from(checkd_node(s->cd)) };
	struct member_query m = { .wan = false };
	static const uint16_t ops[FETCHES] = { OP_CATALOG_NODE_SERVICES, OP_HEALTH_NODE };

	/* Writes under way would make the two answers tell of different moments. */
	if (s->fetching > 0 || s->npushes > 0) {
		s->full_due = true;
		return;
	}
	s->failed = false;
	for (unsigned i = 0; i < FETCHES; i++) {
		s->fetch[i].call = rpc_call_record(s->cd->raftd, ops[i], NULL, &q, RPC_RETRY, SYNC_CALL_MS, on_fetched, &s->fetch[i]);
		if (s->fetch[i].call == 0)
			s->failed = true;
		else
			s->fetching++;
	}
	if (s->members_call == 0)
		s->members_call = rpc_call_record(s->cd->gossipd, OP_GOSSIP_MEMBERS, NULL, &m, RPC_RETRY, SYNC_CALL_MS, on_members, s);
	settle_if_quiet(s);
}

/* ---- pushing */

static void
push_free(struct push *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->nchecks; i++)
		free(p->check_ids[i]);
	free(p->check_ids);
	free(p->service_id);
	free(p);
}

static void
begin(struct entry_sync *e)
{
	e->pushing = true;
	e->pushed = e->version;
}

enum outcome { PUSH_OK, PUSH_DENIED, PUSH_FAILED };

/* Whether the entry now stands in the catalog as it does here. */
static bool
end(struct entry_sync *e, enum outcome o)
{
	e->pushing = false;
	if (o == PUSH_FAILED || e->version != e->pushed)
		return false;
	/* What was denied will not be allowed by repeating it before the next comparison. */
	e->dirty = false;
	return o == PUSH_OK;
}

/* The catalog took a service's checks out with it. */
static void
forget_checks_of(struct local *l, struct str service_id)
{
	for (size_t i = l->nchecks; i-- > 0;) {
		struct check *c = l->checks[i];

		if (c->sync.deleted && !c->sync.pushing && c->rec != NULL && str_eq(c->rec->service_id, service_id))
			local_forget_check(l, c);
	}
}

static void
pushed_service(struct sync *s, const struct push *p, enum outcome o)
{
	struct local *l = &s->cd->local;
	struct service *e = local_service_entry(l, str_from(p->service_id));

	if (e == NULL || !end(&e->sync, o))
		return;
	if (!p->deregister) {
		log_info("agent", "Synced service: service=%s", e->id);
		return;
	}
	log_info("agent", "Deregistered service: service=%s", e->id);
	forget_checks_of(l, str_from(p->service_id));
	local_forget_service(l, e);
}

static void
pushed_check(struct sync *s, const struct push *p, const char *id, enum outcome o)
{
	struct local *l = &s->cd->local;
	struct check *c = local_check_entry(l, str_from(id));

	if (c == NULL || !end(&c->sync, o))
		return;
	if (p->deregister) {
		log_info("agent", "Deregistered check: check=%s", id);
		local_forget_check(l, c);
	} else if (p->service_id == NULL) {
		log_info("agent", "Synced check: check=%s", id);
	} else {
		log_debug("agent", "Synced check: check=%s", id);
	}
}

static enum outcome
outcome_of(const struct rpc_answer *a)
{
	struct rpc_error e;

	if (a->rc == 0)
		return PUSH_OK;
	if (a->rc != -EPROTO)
		return PUSH_FAILED;
	rpc_error_decode(a, &e);
	if (e.code != 403)
		return PUSH_FAILED;
	log_warn("agent", "registration blocked by ACLs: error=\"%.*s\"", STR_ARG(e.text));
	return PUSH_DENIED;
}

static void
on_pushed(void *arg, const struct rpc_answer *a)
{
	struct push *p = arg, **at;
	struct sync *s = p->s;
	enum outcome o = outcome_of(a);

	for (at = &s->pushes; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	s->npushes--;
	write_stamps_done(&s->stamps, p->seq);
	if (o == PUSH_FAILED)
		fail(s, "writing to the catalog", a);
	if (p->service_id != NULL)
		pushed_service(s, p, o);
	for (size_t i = 0; i < p->nchecks; i++)
		pushed_check(s, p, p->check_ids[i], o);
	if (p->node && end(&s->node, o))
		log_info("agent", "Synced node info");
	push_free(p);
	if (!s->failed)
		push_dirty(s);
	settle_if_quiet(s);
}

static struct push *
push_new(struct sync *s, const char *service_id, size_t max_checks)
{
	struct push *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->s = s;
	p->check_ids = calloc(max_checks > 0 ? max_checks : 1, sizeof(*p->check_ids));
	p->service_id = service_id != NULL ? strdup(service_id) : NULL;
	if (p->check_ids == NULL || (service_id != NULL && p->service_id == NULL)) {
		push_free(p);
		return NULL;
	}
	return p;
}

/* Send it, stamped; p is taken over. What it is about is marked by the caller on success. */
static int
push_send(struct sync *s, struct push *p, uint16_t op, const void *request, const char *token)
{
	struct query_options o = { .token = str_from(token) };
	int rc = write_stamps_take(&s->stamps, &o);

	if (rc < 0) {
		push_free(p);
		return rc;
	}
	p->seq = o.seq;
	p->call = rpc_call_record(s->cd->raftd, op, &o, request, RPC_RETRY, SYNC_CALL_MS, on_pushed, p);
	if (p->call == 0) {
		write_stamps_done(&s->stamps, p->seq);
		push_free(p);
		return -EBUSY;
	}
	p->next = s->pushes;
	s->pushes = p;
	s->npushes++;
	return 0;
}

static struct register_request
base_request(const struct sync *s)
{
	const struct self *me = &s->self.self;

	return (struct register_request){
		.datacenter = me->datacenter, .id = me->id, .node = me->node, .address = me->address,
		.tagged_addresses = me->tagged_addresses, .node_meta = me->meta,
		/* Known to the catalog as it is: writing it again would wake whoever watches nodes. */
		.skip_node_update = !s->node.dirty,
	};
}

static bool
check_waits(const struct check *c)
{
	return c->sync.dirty && !c->sync.pushing;
}

/* One service with those of its checks that differ. */
static int
register_service(struct sync *s, struct service *e)
{
	struct local *l = &s->cd->local;
	struct register_request q = base_request(s);
	struct health_check *v = calloc(l->nchecks > 0 ? l->nchecks : 1, sizeof(*v));
	struct push *p = push_new(s, e->id, l->nchecks);
	struct check **marked = calloc(l->nchecks > 0 ? l->nchecks : 1, sizeof(struct check *));
	int rc = v == NULL || p == NULL || marked == NULL ? -ENOMEM : 0;

	for (size_t i = 0; rc == 0 && i < l->nchecks; i++) {
		struct check *c = l->checks[i];

		if (c->sync.deleted || !check_waits(c) || !str_eqs(c->rec->service_id, e->id))
			continue;
		p->check_ids[p->nchecks] = strdup(c->id);
		if (p->check_ids[p->nchecks] == NULL) {
			rc = -ENOMEM;
			break;
		}
		local_check_record(c, &v[p->nchecks]);
		marked[p->nchecks++] = c;
	}
	if (rc == 0) {
		size_t n = p->nchecks;

		q.service = (struct records){ e->rec, 1 };
		q.checks = (struct records){ v, n };
		p->node = s->node.dirty && !s->node.pushing;
		rc = push_send(s, p, OP_CATALOG_REGISTER, &q, e->token);
		for (size_t i = 0; rc == 0 && i < n; i++)
			begin(&marked[i]->sync);
		if (rc == 0 && s->node.dirty && !s->node.pushing)
			begin(&s->node);
		if (rc == 0)
			begin(&e->sync);
	} else {
		push_free(p);
	}
	free(marked);
	free(v);
	return rc;
}

static int
register_check(struct sync *s, struct check *c)
{
	struct register_request q = base_request(s);
	struct push *p = push_new(s, NULL, 1);
	struct health_check h;
	int rc;

	if (p == NULL || (p->check_ids[0] = strdup(c->id)) == NULL) {
		push_free(p);
		return -ENOMEM;
	}
	p->nchecks = 1;
	p->node = s->node.dirty && !s->node.pushing;
	local_check_record(c, &h);
	q.check = (struct records){ &h, 1 };
	rc = push_send(s, p, OP_CATALOG_REGISTER, &q, c->def != NULL ? c->def->token.p : NULL);
	if (rc == 0) {
		begin(&c->sync);
		if (s->node.dirty && !s->node.pushing)
			begin(&s->node);
	}
	return rc;
}

static int
register_node(struct sync *s)
{
	struct register_request q = base_request(s);
	struct push *p = push_new(s, NULL, 0);
	int rc;

	if (p == NULL)
		return -ENOMEM;
	p->node = true;
	rc = push_send(s, p, OP_CATALOG_REGISTER, &q, NULL);
	if (rc == 0)
		begin(&s->node);
	return rc;
}

static int
deregister(struct sync *s, struct service *e, struct check *c)
{
	struct deregister_request q = { .datacenter = s->self.self.datacenter, .node = s->self.self.node };
	struct push *p = push_new(s, e != NULL ? e->id : NULL, 1);
	int rc;

	if (p == NULL)
		return -ENOMEM;
	p->deregister = true;
	if (e != NULL) {
		q.service_id = str_from(e->id);
	} else {
		q.check_id = str_from(c->id);
		p->check_ids[0] = strdup(c->id);
		if (p->check_ids[0] == NULL) {
			push_free(p);
			return -ENOMEM;
		}
		p->nchecks = 1;
	}
	rc = push_send(s, p, OP_CATALOG_DEREGISTER, &q, e != NULL ? e->token : NULL);
	if (rc == 0)
		begin(e != NULL ? &e->sync : &c->sync);
	return rc;
}

static int
push_services(struct sync *s)
{
	struct local *l = &s->cd->local;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->nservices && s->npushes < SYNC_WRITES_MAX; i++) {
		struct service *e = l->services[i];

		if (!e->sync.dirty || e->sync.pushing)
			continue;
		rc = e->sync.deleted ? deregister(s, e, NULL) : register_service(s, e);
	}
	return rc;
}

/* Checks whose service is on its way, or still to go, follow it. */
static int
push_checks(struct sync *s)
{
	struct local *l = &s->cd->local;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->nchecks && s->npushes < SYNC_WRITES_MAX; i++) {
		struct check *c = l->checks[i];
		struct service *e = c->rec != NULL ? local_service_entry(l, c->rec->service_id) : NULL;

		if (!check_waits(c) || (e != NULL && (e->sync.dirty || e->sync.pushing)))
			continue;
		rc = c->sync.deleted ? deregister(s, NULL, c) : register_check(s, c);
	}
	return rc;
}

/* Removed before the catalog ever had them, or found to be gone there too. */
static void
forget_clean(struct local *l)
{
	for (size_t i = l->nchecks; i-- > 0;)
		if (l->checks[i]->sync.deleted && !l->checks[i]->sync.dirty && !l->checks[i]->sync.pushing)
			local_forget_check(l, l->checks[i]);
	for (size_t i = l->nservices; i-- > 0;)
		if (l->services[i]->sync.deleted && !l->services[i]->sync.dirty && !l->services[i]->sync.pushing)
			local_forget_service(l, l->services[i]);
}

static void
push_dirty(struct sync *s)
{
	int rc;

	forget_clean(&s->cd->local);
	rc = push_services(s);
	if (rc == 0)
		rc = push_checks(s);
	if (rc == 0 && s->npushes == 0 && s->node.dirty && !s->node.pushing)
		rc = register_node(s);
	if (rc < 0)
		fail(s, "writing to the catalog", &(struct rpc_answer){ .rc = rc });
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
	settle_if_quiet(s);
}

void
sync_poke(struct checkd *cd)
{
	if (cd->sync != NULL && !cd->d->draining)
		loop_defer(&cd->d->loop, DEFER_WORK, &cd->sync->defer);
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
	struct push *p;
	struct waiter *w;

	if (s == NULL)
		return;
	loop_undefer(&cd->d->loop, DEFER_WORK, &s->defer);
	timer_free(s->timer);
	timer_free(s->sweep);
	/* The client of raftd is freed before, which drops its calls. */
	while ((p = s->pushes) != NULL) {
		s->pushes = p->next;
		push_free(p);
	}
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
