/* push.c - anti-entropy: the writes that bring the catalog into step. */
#include <stdlib.h>
#include <string.h>

#include "checkd/sync_state.h"

enum { ALONG_BYTES_MAX = 1 * MiB };	/* of texts of the checks that go with their service in one write */

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
	e->denied = o == PUSH_DENIED;
	return o == PUSH_OK;
}

/* What is denied with every comparison is worth one line. */
static void
tell_denied(const struct entry_sync *e, const char *what, const char *id, const struct rpc_error *why)
{
	log_write(e->denied ? LOG_DEBUG : LOG_WARN, "agent", "%s blocked by ACLs: %s=%s error=\"%.*s\"",
	    e->deleted ? "deregistration" : "registration", what, id, STR_ARG(why->text));
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
	return e.code == 403 ? PUSH_DENIED : PUSH_FAILED;
}

/* The first of what a write was about. */
static void
tell_refused(struct sync *s, const struct push *p, const struct rpc_answer *a)
{
	struct local *l = &s->cd->local;
	const struct service *e = p->service_id != NULL ? local_service_entry(l, str_from(p->service_id)) : NULL;
	const struct check *c = p->service_id == NULL && p->nchecks > 0 ? local_check_entry(l, str_from(p->check_ids[0])) : NULL;
	struct rpc_error why;

	rpc_error_decode(a, &why);
	if (e != NULL)
		tell_denied(&e->sync, "service", e->id, &why);
	else if (c != NULL)
		tell_denied(&c->sync, "check", c->id, &why);
	else if (p->node)
		tell_denied(&s->node, "node", checkd_node(s->cd), &why);
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
		sync_fail(s, "changes", a);
	else if (o == PUSH_DENIED)
		tell_refused(s, p, a);
	if (p->service_id != NULL)
		pushed_service(s, p, o);
	for (size_t i = 0; i < p->nchecks; i++)
		pushed_check(s, p, p->check_ids[i], o);
	if (p->node && end(&s->node, o))
		log_info("agent", "Synced node info");
	push_free(p);
	if (!s->failed)
		push_dirty(s);
	sync_settle(s);
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

static bool
request_too_large(uint16_t op, const struct query_options *o, const void *request)
{
	struct buf b = BUF_INIT(op_info(op)->body_max);
	int rc = op_request_encode(op, o, request, &b);

	buf_release(&b);
	return rc == -ELIMIT;
}

/*
 * What can never be sent must not hold up the rest: it counts as denied, as
 * long as it stays as it is.
 */
static void
give_up(struct sync *s, const struct push *p)
{
	struct local *l = &s->cd->local;
	struct service *e = p->service_id != NULL ? local_service_entry(l, str_from(p->service_id)) : NULL;
	const char *id = p->service_id != NULL ? p->service_id : p->nchecks > 0 ? p->check_ids[0] : "";

	log_err("agent", "too large for the catalog, not synced: %s=%.100s max=%u", e != NULL ? "service" : "check", id,
	    op_info(OP_CATALOG_REGISTER)->body_max);
	if (e != NULL)
		e->sync.dirty = false;
	for (size_t i = 0; i < p->nchecks; i++)
		local_check_entry(l, str_from(p->check_ids[i]))->sync.dirty = false;
}

/* Send it, stamped; p is taken over. 0; 1: it was given up; negative. What it is about is marked by the caller on 0. */
static int
push_send(struct sync *s, struct push *p, uint16_t op, const void *request, struct str token)
{
	struct query_options o = { .token = token };
	int rc = write_stamps_take(&s->stamps, &o);

	if (rc < 0) {
		push_free(p);
		return rc;
	}
	p->seq = o.seq;
	/* Any registration tells of the node as well, while the catalog has it otherwise. */
	p->node = op == OP_CATALOG_REGISTER && s->node.dirty && !s->node.pushing;
	p->call = rpc_call_record(s->cd->raftd, op, &o, request, RPC_RETRY, SYNC_CALL_MS, on_pushed, p);
	if (p->call == 0) {
		bool large = request_too_large(op, &o, request);

		write_stamps_done(&s->stamps, p->seq);
		if (large)
			give_up(s, p);
		push_free(p);
		return large ? 1 : -EBUSY;
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

/* The checks of a service that go with it: those with the same token. */
static bool
goes_along(const struct check *c, const struct service *e)
{
	const struct tokens *t = &c->cd->tokens;

	return !c->sync.deleted && check_waits(c) && str_eqs(c->rec->service_id, e->id) &&
	    (!c->cd->acls || str_eq(tokens_check(t, c), tokens_service(t, e)));
}

/* Their records into v and their ids into p; both have room for them. What would make the write too long follows by itself. */
static int
take_along(struct sync *s, const struct service *e, struct push *p, struct health_check *v)
{
	struct local *l = &s->cd->local;
	size_t bytes = 0;

	for (size_t i = 0; i < l->nchecks; i++) {
		struct health_check *h = &v[p->nchecks];

		if (!goes_along(l->checks[i], e))
			continue;
		local_check_record(l->checks[i], h);
		bytes += h->notes.len + h->output.len;
		if (bytes > ALONG_BYTES_MAX)
			break;
		p->check_ids[p->nchecks] = strdup(l->checks[i]->id);
		if (p->check_ids[p->nchecks] == NULL)
			return -ENOMEM;
		p->nchecks++;
	}
	return 0;
}

/* All that p is about is on its way. */
static void
begin_all(struct sync *s, const struct push *p, struct service *e)
{
	if (e != NULL)
		begin(&e->sync);
	for (size_t i = 0; i < p->nchecks; i++)
		begin(&local_check_entry(&s->cd->local, str_from(p->check_ids[i]))->sync);
	if (p->node)
		begin(&s->node);
}

/* One service with those of its checks that differ. */
static int
register_service(struct sync *s, struct service *e)
{
	struct local *l = &s->cd->local;
	struct register_request q = base_request(s);
	struct health_check *v;
	struct push *p;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < l->nchecks; i++)
		n += goes_along(l->checks[i], e);
	v = calloc(n > 0 ? n : 1, sizeof(*v));
	p = push_new(s, e->id, n);
	rc = v == NULL || p == NULL ? -ENOMEM : take_along(s, e, p, v);
	if (rc == 0) {
		q.service = (struct records){ e->rec, 1 };
		q.checks = (struct records){ v, p->nchecks };
		rc = push_send(s, p, OP_CATALOG_REGISTER, &q, tokens_service(&s->cd->tokens, e));
		if (rc == 0)
			begin_all(s, p, e);
	} else {
		push_free(p);
	}
	free(v);
	return rc < 0 ? rc : 0;
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
	local_check_record(c, &h);
	q.check = (struct records){ &h, 1 };
	rc = push_send(s, p, OP_CATALOG_REGISTER, &q, tokens_check(&s->cd->tokens, c));
	if (rc == 0)
		begin_all(s, p, NULL);
	return rc < 0 ? rc : 0;
}

static int
register_node(struct sync *s)
{
	struct register_request q = base_request(s);
	struct push *p = push_new(s, NULL, 0);
	int rc;

	if (p == NULL)
		return -ENOMEM;
	rc = push_send(s, p, OP_CATALOG_REGISTER, &q, tokens_agent(&s->cd->tokens));
	if (rc == 0)
		begin_all(s, p, NULL);
	return rc < 0 ? rc : 0;
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
	rc = push_send(s, p, OP_CATALOG_DEREGISTER, &q, e != NULL ? tokens_service(&s->cd->tokens, e) : tokens_check(&s->cd->tokens, c));
	if (rc == 0)
		begin(e != NULL ? &e->sync : &c->sync);
	return rc < 0 ? rc : 0;
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

/* What the catalog would not let go stays until a comparison finds it gone there. */
static bool
is_over(const struct entry_sync *e)
{
	return e->deleted && !e->dirty && !e->pushing && !e->denied;
}

/* Removed before the catalog ever had them, or found to be gone there too. */
static void
forget_clean(struct local *l)
{
	for (size_t i = l->nchecks; i-- > 0;)
		if (is_over(&l->checks[i]->sync))
			local_forget_check(l, l->checks[i]);
	for (size_t i = l->nservices; i-- > 0;)
		if (is_over(&l->services[i]->sync))
			local_forget_service(l, l->services[i]);
}

void
push_dirty(struct sync *s)
{
	int rc = 0;

	forget_clean(&s->cd->local);
	/* A service's token says nothing about the node, whose own write goes ahead of it; without ACLs one write does. */
	if (s->cd->acls && s->node.dirty && !s->node.pushing)
		rc = register_node(s);
	if (rc == 0 && !(s->cd->acls && s->node.pushing))
		rc = push_services(s);
	if (rc == 0 && !(s->cd->acls && s->node.pushing))
		rc = push_checks(s);
	if (rc == 0 && s->npushes == 0 && s->node.dirty && !s->node.pushing)
		rc = register_node(s);
	if (rc < 0)
		sync_fail(s, "changes", &(struct rpc_answer){ .rc = rc });
}

void
push_release(struct sync *s)
{
	struct push *p;

	while ((p = s->pushes) != NULL) {
		s->pushes = p->next;
		push_free(p);
	}
}
