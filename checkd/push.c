/* push.c - anti-entropy: the writes that bring the catalog into step. */
#include <stdlib.h>
#include <string.h>

#include "checkd/sync_state.h"

/* Bytes of a batch, about; one that is larger alone goes alone. */
enum { BATCH_BYTES_MAX = 1 * MiB, ALONG_BYTES_MAX = 1 * MiB, ITEM_ROOM = 64 * KiB };

static void
push_free(struct push *p)
{
	if (p == NULL)
		return;
	arena_release(&p->arena);
	free(p);
}

static void
begin(struct entry_sync *e)
{
	e->pushing = true;
	e->pushed = e->version;
}

/* Of one entry; PUSH_REFUSED: this one alone, for another reason than its rights. */
enum outcome { PUSH_OK, PUSH_DENIED, PUSH_REFUSED, PUSH_FAILED };

/* Whether the entry now stands in the catalog as it does here. */
static bool
end(struct entry_sync *e, enum outcome o)
{
	e->pushing = false;
	if (o == PUSH_FAILED || e->version != e->pushed)
		return false;
	/* What was not taken will not be by repeating it before the next comparison. */
	e->dirty = false;
	e->denied = o != PUSH_OK;
	e->there = e->there || o == PUSH_OK;
	return o == PUSH_OK;
}

/* What is refused with every comparison is worth one line. */
static void
tell_refused(const struct entry_sync *e, enum outcome o, const char *what, const char *id, struct str why)
{
	enum log_level level = e->denied ? LOG_DEBUG : LOG_WARN;

	if (o == PUSH_DENIED)
		log_write(level, "agent", "%s blocked by ACLs: %s=%s error=\"%.*s\"",
		    e->deleted ? "deregistration" : "registration", what, id, STR_ARG(why));
	else
		log_write(level, "agent", "the catalog refuses a %s: %s=%s error=\"%.*s\"",
		    e->deleted ? "deregistration" : "registration", what, id, STR_ARG(why));
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
pushed_service(struct sync *s, const struct push_item *p, enum outcome o)
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
pushed_check(struct sync *s, const struct push_item *p, const char *id, enum outcome o)
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
outcome_of(int64_t code)
{
	return code == 0 ? PUSH_OK : code == 403 ? PUSH_DENIED : PUSH_REFUSED;
}

/* The first of what an item was about. */
static void
tell_item(struct sync *s, const struct push_item *p, enum outcome o, struct str why)
{
	struct local *l = &s->cd->local;
	const struct service *e = p->service_id != NULL ? local_service_entry(l, str_from(p->service_id)) : NULL;
	const struct check *c = p->service_id == NULL && p->nchecks > 0 ? local_check_entry(l, str_from(p->check_ids[0])) : NULL;

	if (e != NULL)
		tell_refused(&e->sync, o, "service", e->id, why);
	else if (c != NULL)
		tell_refused(&c->sync, o, "check", c->id, why);
	else if (p->node)
		tell_refused(&s->node, o, "node", checkd_node(s->cd), why);
}

/* What became of an item. */
static void
pushed_item(struct sync *s, const struct push_item *p, enum outcome o, struct str why)
{
	if (o == PUSH_DENIED || o == PUSH_REFUSED)
		tell_item(s, p, o, why);
	/* What is wrong with one thing may pass, but nothing else waits for it. */
	if (o == PUSH_REFUSED)
		s->refused = true;
	if (p->service_id != NULL)
		pushed_service(s, p, o);
	for (size_t i = 0; i < p->nchecks; i++)
		pushed_check(s, p, p->check_ids[i], o);
	/* What was wrong was not the node, if it was not alone. */
	if (p->node && end(&s->node, o != PUSH_OK && (p->service_id != NULL || p->nchecks > 0) ? PUSH_FAILED : o))
		log_info("agent", "Synced node info");
}

/* The answers to a batch, as many as it had items; in the push's arena. */
static int
read_results(struct push *p, const struct rpc_answer *a, struct batch_result *v)
{
	struct query_meta meta;
	struct str payload;
	struct mp_r r;
	int rc = op_reply_decode(a->body, a->len, &meta, &payload);

	if (rc < 0)
		return rc;
	r = mp_r_init(payload.p, payload.len);
	if (mp_r_array(&r) != p->n)
		return -EDECODE;
	for (size_t i = 0; rc == 0 && i < p->n; i++)
		rc = record_decode(&rec_batch_result, &r, &v[i], &p->arena);
	return rc == 0 && !mp_r_done(&r) ? -EDECODE : rc;
}

/* All of it ended in the same way. */
static void
pushed_all(struct sync *s, const struct push *p, enum outcome o, struct str why)
{
	for (size_t i = 0; i < p->n; i++)
		pushed_item(s, &p->items[i], o, why);
}

static void
pushed(struct sync *s, struct push *p, const struct rpc_answer *a)
{
	struct batch_result *v = a->rc == 0 ? arena_alloc(&p->arena, (p->n + 1) * sizeof(*v)) : NULL;
	int rc = a->rc == 0 ? (v == NULL ? -ENOMEM : read_results(p, a, v)) : a->rc;
	struct rpc_error e = { .code = 0 };

	if (rc == 0) {
		for (size_t i = 0; i < p->n; i++)
			pushed_item(s, &p->items[i], outcome_of(v[i].code), v[i].text);
		return;
	}
	if (a->rc == -EPROTO)
		rpc_error_decode(a, &e);
	if (e.code == 403) {
		pushed_all(s, p, PUSH_DENIED, e.text);
		return;
	}
	sync_fail(s, "changes", a->rc != 0 ? a : &(struct rpc_answer){ .rc = rc });
	pushed_all(s, p, PUSH_FAILED, STR_NONE);
}

static void
on_pushed(void *arg, const struct rpc_answer *a)
{
	struct push *p = arg, **at;
	struct sync *s = p->s;

	for (at = &s->pushes; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	s->npushes--;
	write_stamps_done(&s->stamps, p->seq);
	pushed(s, p, a);
	push_free(p);
	if (!s->failed)
		push_dirty(s);
	sync_settle(s);
}

/* ---- a batch being made */

struct batch {
	struct push *p;
	struct batch_item *v;		/* what is sent, in the push's arena */
	size_t bytes;
	bool full;
};

static int
batch_begin(struct sync *s, struct batch *b)
{
	struct push *p = calloc(1, sizeof(*p));

	*b = (struct batch){ .p = p };
	if (p == NULL)
		return -ENOMEM;
	p->s = s;
	arena_init(&p->arena, PUSH_ARENA_MAX);
	p->items = arena_alloc(&p->arena, CATALOG_BATCH_MAX * sizeof(*p->items));
	b->v = arena_alloc(&p->arena, CATALOG_BATCH_MAX * sizeof(*b->v));
	if (p->items == NULL || b->v == NULL) {
		push_free(p);
		return -ENOMEM;
	}
	return 0;
}

/* The bytes of a request; -ELIMIT: no operation takes so many. */
static int
measure(const struct record *rec, const void *request, size_t *ret_n)
{
	struct buf b = BUF_INIT(op_info(OP_CATALOG_BATCH)->body_max - ITEM_ROOM);
	struct mp_w w = mp_w_init(&b);

	record_encode(rec, request, RECORD_WHOLE, &w);
	*ret_n = b.len;
	buf_release(&b);
	return w.err;
}

/*
 * What can never be sent must not hold up the rest: it counts as denied, as
 * long as it stays as it is.
 */
static void
give_up(struct sync *s, const struct push_item *p)
{
	struct local *l = &s->cd->local;
	struct service *e = p->service_id != NULL ? local_service_entry(l, str_from(p->service_id)) : NULL;
	const char *id = p->service_id != NULL ? p->service_id : p->nchecks > 0 ? p->check_ids[0] : "";

	log_err("agent", "too large for the catalog, not synced: %s=%.100s max=%u", e != NULL ? "service" : "check", id,
	    op_info(OP_CATALOG_BATCH)->body_max);
	if (e != NULL) {
		e->sync.dirty = false;
		e->sync.denied = true;
	}
	for (size_t i = 0; i < p->nchecks; i++) {
		struct check *c = local_check_entry(l, str_from(p->check_ids[i]));

		c->sync.dirty = false;
		c->sync.denied = true;
	}
}

/* All that an item is about is on its way, or is no longer. */
static void
mark_item(struct sync *s, const struct push_item *p, bool on_its_way)
{
	struct local *l = &s->cd->local;
	struct entry_sync *e[2] = { p->service_id != NULL ? &local_service_entry(l, str_from(p->service_id))->sync : NULL,
		p->node ? &s->node : NULL };

	for (size_t i = 0; i < ARRAY_LEN(e); i++)
		if (e[i] != NULL && on_its_way)
			begin(e[i]);
		else if (e[i] != NULL)
			e[i]->pushing = false;
	for (size_t i = 0; i < p->nchecks; i++) {
		struct check *c = local_check_entry(l, str_from(p->check_ids[i]));

		if (on_its_way)
			begin(&c->sync);
		else
			c->sync.pushing = false;
	}
}

/* Add an item; the request and what it points to last as long as the push. What does not fit any more goes with the next batch. */
static int
batch_add(struct sync *s, struct batch *b, const struct push_item *item, const void *request, bool deregister, struct str token)
{
	struct push *p = b->p;
	size_t n;
	int rc = measure(deregister ? &rec_deregister_request : &rec_register_request, request, &n);

	if (rc == -ELIMIT) {
		give_up(s, item);
		return 0;
	}
	if (rc < 0)
		return rc;
	n += token.len + 64;
	if (p->n > 0 && b->bytes + n > BATCH_BYTES_MAX) {
		b->full = true;
		return 0;
	}
	p->items[p->n] = *item;
	b->v[p->n] = (struct batch_item){ .token = token };
	*(deregister ? &b->v[p->n].dereg : &b->v[p->n].reg) = (struct records){ (void *)(uintptr_t)request, 1 };
	p->n++;
	b->bytes += n;
	b->full = p->n == CATALOG_BATCH_MAX;
	mark_item(s, item, true);
	return 0;
}

/* Send it, stamped; the push is taken over. */
static int
batch_send(struct sync *s, struct batch *b)
{
	const struct catalog_batch q = { .items = { b->v, b->p->n } };
	struct query_options o = { .token = STR_NONE };
	struct push *p = b->p;
	int rc = write_stamps_take(&s->stamps, &o);

	if (rc == 0) {
		p->seq = o.seq;
		p->call = rpc_call_record(s->cd->raftd, OP_CATALOG_BATCH, &o, &q, RPC_RETRY, SYNC_CALL_MS, on_pushed, p);
		if (p->call == 0) {
			write_stamps_done(&s->stamps, p->seq);
			rc = -EBUSY;
		}
	}
	if (rc < 0) {
		for (size_t i = 0; i < p->n; i++)
			mark_item(s, &p->items[i], false);
		push_free(p);
		return rc;
	}
	p->next = s->pushes;
	s->pushes = p;
	s->npushes++;
	return 0;
}

/* ---- its items */

/* A registration of this node, in the push's arena. The first of those that differ tells of the node as well. */
static struct register_request *
base_request(const struct sync *s, struct batch *b, struct push_item *ret_item)
{
	struct register_request *q = arena_alloc(&b->p->arena, sizeof(*q));
	const struct self *me = &s->self.self;

	*ret_item = (struct push_item){ .node = s->node.dirty && !s->node.pushing };
	if (q == NULL)
		return NULL;
	*q = (struct register_request){
		.datacenter = me->datacenter, .id = me->id, .node = me->node, .address = me->address,
		.tagged_addresses = me->tagged_addresses, .node_meta = me->meta,
		/* Known to the catalog as it is: writing it again would wake whoever watches nodes. */
		.skip_node_update = !ret_item->node,
	};
	return q;
}

static bool
check_waits(const struct check *c)
{
	return c->sync.dirty && !c->sync.pushing;
}

/* The checks that wait, by their services. */
struct waiting {
	struct check **v;
	size_t n;
};

static int
by_service(const void *a, const void *b)
{
	const struct check *x = *(struct check *const *)a, *y = *(struct check *const *)b;
	int c = str_cmp(x->rec->service_id, y->rec->service_id);

	return c != 0 ? c : strcmp(x->id, y->id);
}

static int
waiting_take(const struct local *l, struct waiting *ret)
{
	*ret = (struct waiting){ .v = malloc((l->nchecks + 1) * sizeof(struct check *)) };
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < l->nchecks; i++) {
		struct check *c = l->checks[i];

		if (check_waits(c) && !c->sync.deleted && c->rec->service_id.len > 0)
			ret->v[ret->n++] = c;
	}
	qsort(ret->v, ret->n, sizeof(*ret->v), by_service);
	return 0;
}

/* Where those of a service begin. */
static size_t
waiting_of(const struct waiting *w, struct str service_id)
{
	size_t lo = 0, hi = w->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (str_cmp(w->v[mid]->rec->service_id, service_id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Those with the same token go with their service. */
static bool
goes_along(const struct check *c, const struct service *e)
{
	const struct tokens *t = &c->cd->tokens;

	return !c->cd->acls || str_eq(tokens_check(t, c), tokens_service(t, e));
}

/* Their records into the request. What would make it too long follows by itself. */
static int
take_along(struct batch *b, const struct service *e, const struct waiting *w, struct push_item *item, struct register_request *q)
{
	size_t from = waiting_of(w, str_from(e->id)), n = 0, bytes = 0;
	struct arena *a = &b->p->arena;
	struct health_check *v;

	while (from + n < w->n && str_eqs(w->v[from + n]->rec->service_id, e->id))
		n++;
	v = arena_alloc(a, (n + 1) * sizeof(*v));
	item->check_ids = arena_alloc(a, (n + 1) * sizeof(*item->check_ids));
	if (v == NULL || item->check_ids == NULL)
		return -ENOMEM;
	for (size_t i = from; i < from + n; i++) {
		const struct check *c = w->v[i];

		bytes += c->rec->notes.len + c->output.len;
		if (!goes_along(c, e) || bytes > ALONG_BYTES_MAX)
			continue;
		local_check_record(c, &v[item->nchecks]);
		item->check_ids[item->nchecks] = arena_strdup(a, str_from(c->id));
		if (item->check_ids[item->nchecks] == NULL)
			return -ENOMEM;
		item->nchecks++;
	}
	q->checks = (struct records){ v, item->nchecks };
	return 0;
}

/* One service with those of its checks that differ. */
static int
register_service(struct sync *s, struct batch *b, struct service *e, const struct waiting *w)
{
	struct push_item item;
	struct register_request *q = base_request(s, b, &item);
	int rc;

	item.service_id = arena_strdup(&b->p->arena, str_from(e->id));
	if (q == NULL || item.service_id == NULL)
		return -ENOMEM;
	rc = take_along(b, e, w, &item, q);
	q->service = (struct records){ e->rec, 1 };
	return rc < 0 ? rc : batch_add(s, b, &item, q, false, tokens_service(&s->cd->tokens, e));
}

/* An item about one check. */
static int
name_check(struct batch *b, const struct check *c, struct push_item *item)
{
	item->check_ids = arena_alloc(&b->p->arena, sizeof(*item->check_ids));
	if (item->check_ids == NULL || (item->check_ids[0] = arena_strdup(&b->p->arena, str_from(c->id))) == NULL)
		return -ENOMEM;
	item->nchecks = 1;
	return 0;
}

static int
register_check(struct sync *s, struct batch *b, struct check *c)
{
	struct push_item item;
	struct register_request *q = base_request(s, b, &item);
	struct health_check *h = arena_alloc(&b->p->arena, sizeof(*h));

	if (q == NULL || h == NULL || name_check(b, c, &item) < 0)
		return -ENOMEM;
	local_check_record(c, h);
	q->check = (struct records){ h, 1 };
	return batch_add(s, b, &item, q, false, tokens_check(&s->cd->tokens, c));
}

static int
register_node(struct sync *s, struct batch *b)
{
	struct push_item item;
	struct register_request *q = base_request(s, b, &item);

	return q == NULL ? -ENOMEM : batch_add(s, b, &item, q, false, tokens_agent(&s->cd->tokens));
}

static int
deregister(struct sync *s, struct batch *b, struct service *e, struct check *c)
{
	struct deregister_request *q = arena_alloc(&b->p->arena, sizeof(*q));
	struct push_item item = { .deregister = true };

	if (q == NULL)
		return -ENOMEM;
	*q = (struct deregister_request){ .datacenter = s->self.self.datacenter, .node = s->self.self.node };
	if (e != NULL) {
		item.service_id = arena_strdup(&b->p->arena, str_from(e->id));
		if (item.service_id == NULL)
			return -ENOMEM;
		q->service_id = str_from(e->id);
	} else {
		if (name_check(b, c, &item) < 0)
			return -ENOMEM;
		q->check_id = str_from(c->id);
	}
	return batch_add(s, b, &item, q, true, e != NULL ? tokens_service(&s->cd->tokens, e) : tokens_check(&s->cd->tokens, c));
}

static int
push_services(struct sync *s, struct batch *b)
{
	struct local *l = &s->cd->local;
	struct waiting w = { .v = NULL };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->nservices && !b->full; i++) {
		struct service *e = l->services[i];

		if (!e->sync.dirty || e->sync.pushing)
			continue;
		if (w.v == NULL)
			rc = waiting_take(l, &w);
		if (rc == 0)
			rc = e->sync.deleted ? deregister(s, b, e, NULL) : register_service(s, b, e, &w);
	}
	free(w.v);
	return rc;
}

/* Whether the service of a check has to be there before it, and is not: it is on its way, or still to go, or was refused as a whole. */
static bool
service_comes_first(const struct local *l, const struct check *c)
{
	const struct service *e = c->rec != NULL ? local_service_entry(l, c->rec->service_id) : NULL;

	return e != NULL && (e->sync.dirty || e->sync.pushing || (e->sync.denied && !e->sync.there && !e->sync.deleted && !c->sync.deleted));
}

static int
push_checks(struct sync *s, struct batch *b)
{
	struct local *l = &s->cd->local;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->nchecks && !b->full; i++) {
		struct check *c = l->checks[i];

		if (!check_waits(c) || service_comes_first(l, c))
			continue;
		rc = c->sync.deleted ? deregister(s, b, NULL, c) : register_check(s, b, c);
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

/* What goes into one batch. */
static int
gather(struct sync *s, struct batch *b)
{
	int rc = 0;

	/* A service's token says nothing about the node, whose own write goes ahead of it; without ACLs one write does. */
	if (s->cd->acls && s->node.dirty && !s->node.pushing)
		rc = register_node(s, b);
	if (rc == 0 && !(s->cd->acls && s->node.pushing))
		rc = push_services(s, b);
	if (rc == 0 && !(s->cd->acls && s->node.pushing))
		rc = push_checks(s, b);
	if (rc == 0 && s->npushes == 0 && b->p->n == 0 && s->node.dirty && !s->node.pushing)
		rc = register_node(s, b);
	return rc;
}

static bool
is_waiting(const struct entry_sync *e)
{
	return e->dirty && !e->pushing;
}

static bool
anything_waits(const struct sync *s)
{
	const struct local *l = &s->cd->local;

	if (is_waiting(&s->node))
		return true;
	for (size_t i = 0; i < l->nservices; i++)
		if (is_waiting(&l->services[i]->sync))
			return true;
	for (size_t i = 0; i < l->nchecks; i++)
		if (is_waiting(&l->checks[i]->sync))
			return true;
	return false;
}

/* What waits while as much is on its way as may be gathers for the next batch: the busier, the fewer entries of the log. */
void
push_dirty(struct sync *s)
{
	struct batch b;
	int rc = 0;

	forget_clean(&s->cd->local);
	while (rc == 0 && s->npushes < SYNC_WRITES_MAX && anything_waits(s)) {
		rc = batch_begin(s, &b);
		if (rc < 0)
			break;
		rc = gather(s, &b);
		/* Without memory for all of it, what was gathered goes. */
		if (b.p->n == 0) {
			push_free(b.p);
			break;
		}
		if (rc == 0)
			rc = batch_send(s, &b);
		else if (batch_send(s, &b) < 0)
			log_debug("agent", "a batch for the catalog could not be sent");
	}
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
