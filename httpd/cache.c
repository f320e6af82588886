/* cache.c - entries by question, kept current, the least recently used dropped first. */
#include "httpd/cache.h"

#include <stdlib.h>

#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { BUCKETS = 256, TICK_MS = 1000, ASK_MS = 10000 };

struct entry {
	struct entry *next;			/* in its bucket */
	struct entry *older, **older_of;	/* by last use, newest first */
	struct cache *cache;
	uint64_t hash;
	uint16_t op;
	bool waits;				/* the question can wait for a change */
	struct buf question, answer;
	uint64_t index, acl_index;
	struct rpc_client *client;
	uint32_t call;
	uint64_t fetched_ms, asked_ms, used_ms;
	uint64_t lost_ms;			/* since when it could not be kept current, or 0 */
	uint64_t connects, asked_connects;	/* that of the connection that the answer came by, and the question went by */
};

struct cache {
	struct httpd *h;
	struct entry *buckets[BUCKETS];
	struct entry *newest;
	size_t n, bytes;
	uv_timer_t *tick;
};

/* What a request asks the cache for; in its arena. */
struct cache_question {
	struct str bytes;
	uint64_t hash;
};

static uint64_t
now_ms(const struct cache *c)
{
	return uv_now(&c->h->d->loop.uv);
}

static uint64_t
hash_of(uint16_t op, struct str q)
{
	uint64_t h = 14695981039346656037u ^ op;

	for (size_t i = 0; i < q.len; i++)
		h = (h ^ (unsigned char)q.p[i]) * 1099511628211u;
	return h;
}

/* ---- entries */

static struct entry *
entry_find(struct cache *c, uint16_t op, const struct cache_question *q)
{
	for (struct entry *e = c->buckets[q->hash % BUCKETS]; e != NULL; e = e->next)
		if (e->hash == q->hash && e->op == op && e->question.len == q->bytes.len &&
		    memcmp(e->question.data, q->bytes.p, q->bytes.len) == 0)
			return e;
	return NULL;
}

static void
age_remove(struct entry *e)
{
	*e->older_of = e->older;
	if (e->older != NULL)
		e->older->older_of = e->older_of;
}

static void
age_newest(struct cache *c, struct entry *e)
{
	e->older = c->newest;
	e->older_of = &c->newest;
	if (e->older != NULL)
		e->older->older_of = &e->older;
	c->newest = e;
}

static void
entry_free(struct entry *e)
{
	struct cache *c = e->cache;
	struct entry **p;

	for (p = &c->buckets[e->hash % BUCKETS]; *p != e; p = &(*p)->next)
		;
	*p = e->next;
	age_remove(e);
	if (e->call != 0)
		rpc_cancel(e->client, e->call);
	c->n--;
	c->bytes -= e->answer.cap;
	/* The question holds a token. */
	if (e->question.data != NULL)
		explicit_bzero(e->question.data, e->question.cap);
	buf_release(&e->question);
	buf_release(&e->answer);
	free(e);
	if (c->n == 0)
		(void)uv_timer_stop(c->tick);
}

static struct entry *
oldest(struct cache *c)
{
	struct entry *e = c->newest;

	while (e != NULL && e->older != NULL)
		e = e->older;
	return e;
}

/* false: too large, or no memory. */
static bool
entry_set(struct entry *e, const uint8_t *body, size_t len)
{
	struct cache *c = e->cache;
	struct query_meta meta;
	struct str payload;
	bool ok;

	if (op_reply_decode(body, len, &meta, &payload) < 0)
		return false;
	c->bytes -= e->answer.cap;
	buf_release(&e->answer);
	buf_init(&e->answer, CACHE_ANSWER_MAX);
	ok = buf_add(&e->answer, body, len) == 0;
	c->bytes += e->answer.cap;
	/* An index is never 0, which would not wait. */
	e->index = meta.index > 0 ? meta.index : 1;
	e->acl_index = meta.acl_index;
	e->fetched_ms = now_ms(c);
	e->lost_ms = 0;
	e->connects = upstream_link(c->h, e->client)->connects;
	return ok;
}

/* Answers may have grown: those that were used longest ago make room. Whether this one is still there. */
static bool
make_room(struct cache *c, const struct entry *e)
{
	bool there = true;

	while (c->bytes > CACHE_BYTES_MAX) {
		struct entry *last = oldest(c);

		there = there && last != e;
		entry_free(last);
	}
	return there;
}

/* ---- keeping an entry current */

static void ask(struct entry *e, uint64_t index);

/* A refusal is about rights, or about the question: neither gets better by itself. */
static bool
refused(const struct rpc_answer *a)
{
	struct rpc_error e;

	if (a->rc != -EPROTO)
		return false;
	rpc_error_decode(a, &e);
	return e.code >= 400 && e.code < 500 && e.code != 429;
}

static void
on_fresh(void *arg, const struct rpc_answer *a)
{
	struct entry *e = arg;

	e->call = 0;
	if (refused(a) || (a->rc == 0 && !entry_set(e, a->body, a->len))) {
		entry_free(e);
		return;
	}
	if (a->rc == 0) {
		if (make_room(e->cache, e))
			ask(e, e->index);
	} else if (e->lost_ms == 0) {
		e->lost_ms = now_ms(e->cache);
	}
}

/* Ask what comes behind this index, or (0) what there is. If that cannot be sent, the next tick tries again. */
static void
ask(struct entry *e, uint64_t index)
{
	const struct op_info *info = op_info(e->op);
	struct arena a = ARENA_INIT(HTTP_ARENA_MAX);
	void *record = info->request != NULL ? arena_alloc(&a, info->request->size) : NULL;
	struct query_options o;

	e->asked_ms = now_ms(e->cache);
	e->asked_connects = upstream_link(e->cache->h, e->client)->connects;
	if ((info->request == NULL || record != NULL) &&
	    op_request_decode(info, e->question.data, e->question.len, &o, record, &a) == 0) {
		o.min_index = index;
		o.acl_index = index > 0 ? e->acl_index : 0;
		e->call = rpc_call_record(e->client, e->op, &o, record, RPC_RETRY | (index > 0 ? RPC_NO_DEADLINE : 0u),
		    ASK_MS, on_fresh, e);
	}
	arena_release(&a);
}

/* Since when this entry may be behind, or 0. */
static uint64_t
lost_since(const struct entry *e)
{
	const struct peer_link *p = upstream_link(e->cache->h, e->client);

	if (e->lost_ms != 0)
		return e->lost_ms;
	/* Nor does one who has come back know what we were told. */
	if (rpc_client_connected(e->client) && p->connects == e->connects)
		return 0;
	return p->lost_ms > e->fetched_ms ? p->lost_ms : e->fetched_ms;
}

/* Whether the question that waits will do: a daemon that was started anew may have another state, with other indexes. */
static bool
waits_well(const struct entry *e, uint64_t now)
{
	return e->call != 0 && now - e->asked_ms < CACHE_CHECK_MS &&
	    e->asked_connects == upstream_link(e->cache->h, e->client)->connects;
}

static void
on_tick(uv_timer_t *t)
{
	struct cache *c = t->data;
	uint64_t now = now_ms(c);
	struct entry *older;

	for (struct entry *e = c->newest; e != NULL; e = older) {
		uint64_t lost = lost_since(e);

		older = e->older;
		if (now - e->used_ms > CACHE_UNUSED_MS || (lost != 0 && now - lost > CACHE_LOST_MS) ||
		    (!e->waits && now - e->fetched_ms > CACHE_TTL_MS)) {
			entry_free(e);
			continue;
		}
		if (!e->waits || waits_well(e, now))
			continue;
		if (e->call != 0)
			rpc_cancel(e->client, e->call);
		e->call = 0;
		ask(e, 0);
	}
}

/* ---- requests */

static void
entry_add(struct cache *c, const struct request *r, const struct cache_question *q, const struct rpc_answer *a)
{
	struct entry *e = entry_find(c, r->op, q);
	bool waits = (r->route->flags & RT_BLOCK) != 0;

	if (a->len > CACHE_ANSWER_MAX)
		return;
	if (e == NULL) {
		while (c->n > 0 && (c->n >= CACHE_ENTRIES_MAX || c->bytes + a->len > CACHE_BYTES_MAX))
			entry_free(oldest(c));
		e = calloc(1, sizeof(*e));
		if (e == NULL)
			return;
		*e = (struct entry){ .cache = c, .hash = q->hash, .op = r->op, .waits = waits,
			.client = upstream_client(c->h, r->op), .next = c->buckets[q->hash % BUCKETS] };
		buf_init(&e->question, op_info(r->op)->body_max);
		c->buckets[q->hash % BUCKETS] = e;
		age_newest(c, e);
		if (c->n++ == 0)
			(void)uv_timer_start(c->tick, on_tick, TICK_MS, TICK_MS);
	} else {
		age_remove(e);
		age_newest(c, e);
	}
	e->used_ms = now_ms(c);
	if ((e->question.len == 0 && buf_add(&e->question, q->bytes.p, q->bytes.len) < 0) ||
	    !entry_set(e, a->body, a->len)) {
		entry_free(e);
		return;
	}
	if (make_room(c, e) && e->waits && e->call == 0)
		ask(e, e->index);
}

static uint64_t
age_ms(const struct entry *e)
{
	uint64_t lost = lost_since(e), now = now_ms(e->cache);

	if (e->waits)
		return lost != 0 && lost < now ? now - lost : 0;
	return now - e->fetched_ms;
}

static uint64_t
ttl_ms(const struct entry *e)
{
	return e->waits ? CACHE_LOST_MS : e->cache->h->cfg.acls ? CACHE_RIGHTS_MS : CACHE_TTL_MS;
}

/* Whether this entry will do as the request's Cache-Control says. */
static bool
usable(const struct entry *e, const struct request *r)
{
	uint64_t age = age_ms(e);

	if (r->opts.min_index > 0 && e->index <= r->opts.min_index)
		return false;
	if (age > ttl_ms(e))
		return false;
	if (r->read.must_revalidate && (!e->waits || age > 0))
		return false;
	return r->read.max_age_s == 0 || age / 1000 <= r->read.max_age_s;
}

static void
respond_hit(struct request *r, struct entry *e)
{
	const struct rpc_answer a = { .body = e->answer.data, .len = e->answer.len };
	int rc;

	e->used_ms = now_ms(e->cache);
	age_remove(e);
	age_newest(e->cache, e);
	r->reply.cache_hit = true;
	r->reply.age_s = age_ms(e) / 1000;
	rc = upstream_render(r->h, &r->view, r->render, &a, &r->reply);
	if (rc < 0)
		respond_text(r, 500, "cannot show the answer: %s", err_text(rc));
	else
		respond_done(r);
}

static void
on_fetched(struct request *r, const struct rpc_answer *a)
{
	struct cache *c = r->h->cache;
	struct entry *e;
	int rc;

	if (a->rc == 0) {
		entry_add(c, r, r->question, a);
		rc = upstream_render(r->h, &r->view, r->render, a, &r->reply);
		if (rc < 0)
			respond_text(r, 500, "cannot show the answer: %s", err_text(rc));
		else
			respond_done(r);
		return;
	}
	e = entry_find(c, r->op, r->question);
	if (e != NULL && refused(a)) {
		entry_free(e);
		e = NULL;
	}
	if (e != NULL && e->lost_ms == 0)
		e->lost_ms = now_ms(c);
	if (e != NULL && r->read.stale_if_error_s > 0 && age_ms(e) / 1000 <= r->read.stale_if_error_s)
		respond_hit(r, e);
	else
		respond_failed(r, a);
}

/* The question without its index: what the entry is found by. */
static struct cache_question *
question_of(struct request *r, uint16_t op, const void *record)
{
	struct buf b = BUF_INIT(op_info(op)->body_max);
	struct cache_question *q = arena_alloc(&r->arena, sizeof(*q));
	uint64_t index = r->opts.min_index;
	const char *copy = NULL;

	r->opts.min_index = 0;
	if (q != NULL && op_request_encode(op, &r->opts, record, &b) == 0)
		copy = arena_strdup(&r->arena, (struct str){ (const char *)b.data, b.len });
	r->opts.min_index = index;
	if (copy != NULL) {
		q->bytes = (struct str){ copy, b.len };
		q->hash = hash_of(op, q->bytes);
	}
	buf_release(&b);
	return copy != NULL ? q : NULL;
}

void
cache_read(struct request *r, uint16_t op, const void *record, render_fn *render)
{
	struct cache_question *q = question_of(r, op, record);
	struct entry *e;

	/* From here on it is a plain read, if it has to be one. */
	r->read.cached = false;
	r->view.reply_flags |= REPLY_CACHE;
	r->op = op;
	r->render = render;
	r->question = q;
	e = q != NULL ? entry_find(r->h->cache, op, q) : NULL;
	if (e != NULL && usable(e, r))
		respond_hit(r, e);
	else if (q == NULL || r->opts.min_index > 0)
		upstream_read(r, op, record, render);
	else
		upstream_ask(r, op, record, on_fetched);
}

/* ---- life */

struct cache *
cache_new(struct httpd *h)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->h = h;
	c->tick = malloc(sizeof(*c->tick));
	if (c->tick == NULL) {
		free(c);
		return NULL;
	}
	(void)uv_timer_init(&h->d->loop.uv, c->tick);
	c->tick->data = c;
	return c;
}

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

void
cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	while (c->newest != NULL)
		entry_free(c->newest);
	uv_close((uv_handle_t *)c->tick, free_handle);
	free(c);
}

size_t
cache_entries(const struct cache *c)
{
	return c->n;
}

size_t
cache_bytes(const struct cache *c)
{
	return c->bytes;
}
