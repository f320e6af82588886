/* park.c - groups of equal waits, and the heap of their deadlines. */
#include "httpd/park.h"

#include <sodium.h>
#include <stdlib.h>

#include "httpd/conns.h"
#include "httpd/respond.h"
#include "httpd/upstream.h"
#include "lib/duration.h"

enum { BUCKETS = 512, JITTER_FRACTION = 16 };

struct group;

struct waiter {
	struct waiter *next, **prev;	/* in the group */
	struct group *group;
	struct request *r;
	uint64_t deadline_ms;
	size_t at;			/* in the heap */
};

/* One question upstream. */
struct group {
	struct group *next;		/* in its bucket */
	struct park *park;
	uint64_t hash;
	uint16_t op;
	struct buf key;			/* the encoded request */
	struct rpc_client *client;
	uint32_t call;
	struct waiter *waiters;
};

struct park {
	struct httpd *h;
	struct group *buckets[BUCKETS];
	size_t ngroups;
	struct waiter **heap;		/* earliest first */
	size_t n, cap;
	uv_timer_t *timer;
};

/* ---- the heap */

static void
heap_put(struct park *p, size_t i, struct waiter *w)
{
	p->heap[i] = w;
	w->at = i;
}

static void
heap_up(struct park *p, size_t i)
{
	struct waiter *w = p->heap[i];

	for (; i > 0 && p->heap[(i - 1) / 2]->deadline_ms > w->deadline_ms; i = (i - 1) / 2)
		heap_put(p, i, p->heap[(i - 1) / 2]);
	heap_put(p, i, w);
}

static void
heap_down(struct park *p, size_t i)
{
	struct waiter *w = p->heap[i];

	for (;;) {
		size_t c = i * 2 + 1;

		if (c + 1 < p->n && p->heap[c + 1]->deadline_ms < p->heap[c]->deadline_ms)
			c++;
		if (c >= p->n || p->heap[c]->deadline_ms >= w->deadline_ms)
			break;
		heap_put(p, i, p->heap[c]);
		i = c;
	}
	heap_put(p, i, w);
}

static int
heap_add(struct park *p, struct waiter *w)
{
	if (p->n == p->cap) {
		size_t cap = p->cap != 0 ? p->cap * 2 : 32;
		struct waiter **v = realloc(p->heap, cap * sizeof(struct waiter *));

		if (v == NULL)
			return -ENOMEM;
		p->heap = v;
		p->cap = cap;
	}
	p->heap[p->n] = w;
	heap_up(p, p->n++);
	return 0;
}

static void
heap_remove(struct park *p, struct waiter *w)
{
	size_t i = w->at;
	struct waiter *last = p->heap[--p->n];

	if (last == w)
		return;
	heap_put(p, i, last);
	heap_up(p, i);
	heap_down(p, last->at);
}

static void on_timer(uv_timer_t *t);

static void
timer_set(struct park *p)
{
	uint64_t now = uv_now(&p->h->d->loop.uv);

	if (p->n == 0)
		(void)uv_timer_stop(p->timer);
	else
		(void)uv_timer_start(p->timer, on_timer, p->heap[0]->deadline_ms > now ? p->heap[0]->deadline_ms - now : 0, 0);
}

/* ---- groups */

static uint64_t
hash_of(uint16_t op, const struct buf *key)
{
	uint64_t h = 14695981039346656037u ^ op;

	for (size_t i = 0; i < key->len; i++)
		h = (h ^ key->data[i]) * 1099511628211u;
	return h;
}

static void
group_free(struct group *g)
{
	struct group **p;

	for (p = &g->park->buckets[g->hash % BUCKETS]; *p != NULL; p = &(*p)->next)
		if (*p == g) {
			*p = g->next;
			g->park->ngroups--;
			break;
		}
	if (g->call != 0)
		rpc_cancel(g->client, g->call);
	buf_release(&g->key);
	free(g);
}

/* Out of the group and the heap; the group may be left empty. */
static struct request *
waiter_remove(struct park *p, struct waiter *w)
{
	struct request *r = w->r;

	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	heap_remove(p, w);
	r->waiter = NULL;
	free(w);
	return r;
}

static void
waiter_leave(struct park *p, struct waiter *w)
{
	struct group *g = w->group;

	(void)waiter_remove(p, w);
	if (g->waiters == NULL)
		group_free(g);
	timer_set(p);
}

/* ---- how a wait ends */

/* The same answer for all that want it shown alike. */
struct variant {
	struct variant *next;
	unsigned flags;
	struct shared_reply *reply;
};

static struct shared_reply *
render_shared(struct request *r, const struct rpc_answer *a)
{
	struct reply rp;
	struct shared_reply *s;
	int rc = 0;

	reply_init(&rp);
	if (a->rc != 0) {
		rp.status = failure_text(r, a, &rp.body);
		rp.content = rp.body.len > 0 ? CONTENT_TEXT : CONTENT_NONE;
	} else {
		rc = upstream_render(r->h, &r->view, r->render, a, &rp);
	}
	if (rc < 0) {
		buf_clear(&rp.body);
		rp.flags = 0;
		if (reply_text(&rp, 500, "cannot show the answer: %s", err_text(rc)) < 0)
			rp.content = CONTENT_NONE;
	}
	s = shared_reply_new(r->h, &r->view, &rp);
	buf_release(&rp.body);
	return s;
}

static struct shared_reply *
variant_get(struct variant **list, struct request *r, const struct rpc_answer *a)
{
	struct variant *v;

	for (v = *list; v != NULL; v = v->next)
		if (v->flags == r->view.flags)
			return v->reply;
	v = arena_alloc(&r->arena, sizeof(*v));
	if (v == NULL)
		return NULL;
	v->flags = r->view.flags;
	v->reply = render_shared(r, a);
	v->next = *list;
	*list = v;
	return v->reply;
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct group *g = arg;
	struct park *p = g->park;
	struct variant *variants = NULL;

	g->call = 0;
	while (g->waiters != NULL) {
		struct request *r = waiter_remove(p, g->waiters);
		struct shared_reply *s;

		if (upstream_too_stale(r, a)) {
			upstream_read_now(r);
			continue;
		}
		s = variant_get(&variants, r, a);
		if (s == NULL) {
			respond_empty(r, 500);
			continue;
		}
		s->refs++;
		r->shared = s;
		respond_done(r);
	}
	/* The variants lie in the requests' arenas, which outlive this turn. */
	for (; variants != NULL; variants = variants->next)
		shared_reply_unref(variants->reply);
	group_free(g);
	timer_set(p);
}

static void
on_timer(uv_timer_t *t)
{
	struct park *p = t->data;
	uint64_t now = uv_now(&p->h->d->loop.uv);

	while (p->n > 0 && p->heap[0]->deadline_ms <= now) {
		struct request *r = p->heap[0]->r;

		waiter_leave(p, p->heap[0]);
		upstream_read_now(r);
	}
	timer_set(p);
}

void
park_hangup(struct request *r)
{
	if (r->waiter == NULL)
		return;
	waiter_leave(r->h->park, r->waiter);
	r->state = REQ_GONE;
	request_wake(r);
}

/* ---- joining */

static struct group *
group_find(struct park *p, uint16_t op, const struct buf *key, uint64_t hash)
{
	struct group *g;

	for (g = p->buckets[hash % BUCKETS]; g != NULL; g = g->next)
		if (g->hash == hash && g->op == op && g->key.len == key->len && memcmp(g->key.data, key->data, key->len) == 0)
			return g;
	return NULL;
}

/* Takes key. */
static struct group *
group_new(struct park *p, uint16_t op, struct buf *key, uint64_t hash)
{
	struct group *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->park = p;
	g->op = op;
	g->hash = hash;
	g->key = *key;
	*key = (struct buf)BUF_INIT(0);
	g->client = upstream_client(p->h, op);
	g->next = p->buckets[hash % BUCKETS];
	p->buckets[hash % BUCKETS] = g;
	p->ngroups++;
	g->call = rpc_call(g->client, op, g->key.data, g->key.len, RPC_NO_DEADLINE | RPC_RETRY, 0, on_answer, g);
	if (g->call == 0) {
		group_free(g);
		return NULL;
	}
	return g;
}

static uint64_t
wait_ms(const struct request *r)
{
	uint32_t spread = (uint32_t)(r->read.wait_ms / JITTER_FRACTION);

	return (uint64_t)r->read.wait_ms + (spread > 0 ? randombytes_uniform(spread + 1) : 0);
}

static int
waiter_add(struct park *p, struct group *g, struct request *r)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->group = g;
	w->r = r;
	w->deadline_ms = uv_now(&p->h->d->loop.uv) + wait_ms(r);
	if (heap_add(p, w) < 0) {
		free(w);
		return -ENOMEM;
	}
	w->next = g->waiters;
	w->prev = &g->waiters;
	if (w->next != NULL)
		w->next->prev = &w->next;
	g->waiters = w;
	r->waiter = w;
	timer_set(p);
	return 0;
}

void
park_join(struct request *r)
{
	struct park *p = r->h->park;
	const struct op_info *info = op_info(r->op);
	struct buf key = BUF_INIT(info->body_max);
	struct group *g = NULL;
	uint64_t hash;
	int rc;

	if (r->conn->gone) {
		r->state = REQ_GONE;
		return;
	}
	if (p->n >= HTTP_BLOCKING_MAX) {
		respond_text(r, 500, "too many blocking queries");
		return;
	}
	rc = op_request_encode(r->op, &r->opts, r->record, &key);
	if (rc == 0) {
		hash = hash_of(r->op, &key);
		g = group_find(p, r->op, &key, hash);
		if (g == NULL)
			g = group_new(p, r->op, &key, hash);
	}
	buf_release(&key);
	if (rc == -ELIMIT) {
		respond_text(r, 413, "Request is too large, max size: %u bytes", info->body_max);
		return;
	}
	if (g == NULL || waiter_add(p, g, r) < 0) {
		if (g != NULL && g->waiters == NULL)
			group_free(g);
		respond_empty(r, 500);
	}
}

void
park_leave(struct request *r)
{
	if (r->waiter != NULL)
		waiter_leave(r->h->park, r->waiter);
}

void
park_end_all(struct park *p)
{
	while (p->n > 0)
		park_hangup(p->heap[0]->r);
}

/* ---- life */

struct park *
park_new(struct httpd *h)
{
	struct park *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->h = h;
	p->timer = malloc(sizeof(*p->timer));
	if (p->timer == NULL) {
		free(p);
		return NULL;
	}
	(void)uv_timer_init(&h->d->loop.uv, p->timer);
	p->timer->data = p;
	return p;
}

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

void
park_free(struct park *p)
{
	if (p == NULL)
		return;
	while (p->n > 0)
		waiter_leave(p, p->heap[0]);
	free(p->heap);
	uv_close((uv_handle_t *)p->timer, free_handle);
	free(p);
}

size_t
park_waiters(const struct park *p)
{
	return p->n;
}

size_t
park_groups(const struct park *p)
{
	return p->ngroups;
}
