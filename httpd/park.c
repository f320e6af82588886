/*
 * park.c - groups of equal waits, and the heap of their deadlines.
 *
 * What may wake a wait without changing what it shows (a check of an instance
 * that ?passing hides, one that a filter leaves out) does not end it: the
 * group also asks for what there is now, and as long as what is shown is that,
 * it asks again for what comes next.
 */
#include "httpd/park.h"

#include <sodium.h>
#include <stdlib.h>

#include "httpd/conns.h"
#include "httpd/respond.h"
#include "httpd/slim.h"
#include "httpd/upstream.h"
#include "lib/duration.h"

enum { BUCKETS = 512, JITTER_FRACTION = 16,
	SETTLED_MS = 3000,	/* who waits for that long is likely to wait for longer: memory is given back, */
				/* and has to be taken again when it is woken, which takes longer than its answer */
	SETTLE_BATCH = 256, SETTLE_PAUSE_MS = 20, LOOK_MS = 10000, DIGEST = 16, SHOWN_WAYS = 2 };

struct group;

struct waiter {
	struct waiter *next, **prev;	/* in the group */
	struct group *group;
	struct request *r;
	struct waiter *newer, **newer_of;	/* among those that have not settled; newer_of NULL: has */
	uint64_t since_ms, deadline_ms;
	size_t at;			/* in the heap */
};

/* What is shown to those who want it the same way, at the group's index. */
struct shown {
	bool known;
	uint8_t digest[DIGEST];
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
	uint64_t min_index;
	uint32_t now_call;		/* what there is now, or 0 */
	struct shown shown[SHOWN_WAYS];	/* whole, ?passing */
	struct waiter *waiters;
};

struct park {
	struct httpd *h;
	struct group *buckets[BUCKETS];
	size_t ngroups;
	struct waiter **heap;		/* earliest first */
	size_t n, cap;
	uv_timer_t *timer;
	struct waiter *unsettled, **unsettled_tail;	/* oldest first */
	uv_timer_t *settle;
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
static void on_answer(void *arg, const struct rpc_answer *a);

static void
timer_set(struct park *p)
{
	uint64_t now = uv_now(&p->h->d->loop.uv);

	if (p->n == 0)
		(void)uv_timer_stop(p->timer);
	else
		(void)uv_timer_start(p->timer, on_timer, p->heap[0]->deadline_ms > now ? p->heap[0]->deadline_ms - now : 0, 0);
}

/* ---- settling: those that have waited for a while give back memory, a few at a time */

static void
settle_remove(struct park *p, struct waiter *w)
{
	if (w->newer_of == NULL)
		return;
	*w->newer_of = w->newer;
	if (w->newer != NULL)
		w->newer->newer_of = w->newer_of;
	else
		p->unsettled_tail = w->newer_of;
	w->newer_of = NULL;
}

static void
on_settle(uv_timer_t *t)
{
	struct park *p = t->data;
	uint64_t now = uv_now(&p->h->d->loop.uv), due;

	for (int i = 0; i < SETTLE_BATCH && p->unsettled != NULL && p->unsettled->since_ms + SETTLED_MS <= now; i++) {
		struct waiter *w = p->unsettled;

		settle_remove(p, w);
		slim_connection(w->r);
	}
	if (p->unsettled == NULL)
		return;
	due = p->unsettled->since_ms + SETTLED_MS;
	(void)uv_timer_start(t, on_settle, due > now + SETTLE_PAUSE_MS ? due - now : SETTLE_PAUSE_MS, 0);
}

static void
settle_later(struct park *p, struct waiter *w)
{
	w->newer = NULL;
	w->newer_of = p->unsettled_tail;
	*p->unsettled_tail = w;
	p->unsettled_tail = &w->newer;
	if (!uv_is_active((uv_handle_t *)p->settle))
		(void)uv_timer_start(p->settle, on_settle, SETTLED_MS, 0);
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
group_unlink(struct group *g)
{
	struct group **p;

	for (p = &g->park->buckets[g->hash % BUCKETS]; *p != NULL; p = &(*p)->next)
		if (*p == g) {
			*p = g->next;
			g->park->ngroups--;
			break;
		}
}

static void
group_link(struct group *g)
{
	struct group **head = &g->park->buckets[g->hash % BUCKETS];

	g->next = *head;
	*head = g;
	g->park->ngroups++;
}

static void
group_free(struct group *g)
{
	group_unlink(g);
	if (g->call != 0)
		rpc_cancel(g->client, g->call);
	if (g->now_call != 0)
		rpc_cancel(g->client, g->now_call);
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
	settle_remove(p, w);
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

/* The same answer for all that want it shown alike, under the same headers. */
struct variant {
	struct variant *next;
	struct view view;
	render_fn *render;
	struct shared_reply *reply;
};

static bool
shows_alike(const struct variant *v, const struct request *r)
{
	return v->render == r->render && v->view.route == r->view.route && v->view.flags == r->view.flags &&
	    v->view.reply_flags == r->view.reply_flags && v->view.consistency == r->view.consistency;
}

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
		if (shows_alike(v, r))
			return v->reply;
	v = arena_alloc(&r->arena, sizeof(*v));
	if (v == NULL)
		return NULL;
	v->view = r->view;
	v->render = r->render;
	v->reply = render_shared(r, a);
	v->next = *list;
	*list = v;
	return v->reply;
}

/* Ask as at first, but for what there is: its waiter is about to leave, or has left, the group of this question. */
static void
ask_now(struct request *r, struct str question)
{
	if (slim_restore(r, question) < 0)
		respond_empty(r, 500);
	else
		upstream_read_now(r);
}

static void
deliver(struct group *g, struct request *r, const struct rpc_answer *a, struct variant **variants)
{
	struct shared_reply *s;

	if (upstream_too_stale(r, a)) {
		ask_now(r, (struct str){ (const char *)g->key.data, g->key.len });
		return;
	}
	s = variant_get(variants, r, a);
	if (s == NULL) {
		respond_empty(r, 500);
		return;
	}
	s->refs++;
	r->shared = s;
	respond_done(r);
}

/* ---- waits that a change leaves alone */

static unsigned
way_of(const struct request *r)
{
	return (r->view.flags & VIEW_PASSING) != 0;
}

/* Whether the index can move while what is shown stays. */
static bool
may_hide(const struct request *r)
{
	const struct op_info *info = op_info(r->op);
	const struct catalog_query *q = r->record;

	if ((r->view.flags & VIEW_PASSING) != 0)
		return true;
	return info->request == &rec_catalog_query && q != NULL &&
	    (q->filter.len > 0 || q->tags.n > 0 || q->node_meta.n > 0);
}

/* What the answer shows to one who asks like r; false: it cannot be shown. */
static bool
shown_digest(const struct request *r, const struct rpc_answer *a, uint8_t digest[DIGEST], uint64_t *ret_index)
{
	const struct view plain = { .route = r->view.route, .flags = r->view.flags & VIEW_PASSING };
	struct reply rp;
	bool ok;

	reply_init(&rp);
	ok = a->rc == 0 && upstream_render(r->h, &plain, r->render, a, &rp) == 0;
	if (ok) {
		unsigned char head[2] = { (unsigned char)rp.meta.filtered, rp.status == 200 };
		crypto_generichash_state st;

		(void)crypto_generichash_init(&st, NULL, 0, DIGEST);
		(void)crypto_generichash_update(&st, head, sizeof(head));
		(void)crypto_generichash_update(&st, rp.body.data != NULL ? rp.body.data : head, rp.body.len);
		(void)crypto_generichash_final(&st, digest, DIGEST);
		*ret_index = rp.meta.index;
	}
	buf_release(&rp.body);
	return ok;
}

/* What there was when the group began to wait, unless something has changed already. */
static void
on_now(void *arg, const struct rpc_answer *a)
{
	struct group *g = arg;

	g->now_call = 0;
	for (struct waiter *w = g->waiters; w != NULL; w = w->next) {
		struct shown *s = &g->shown[way_of(w->r)];
		uint8_t digest[DIGEST];
		uint64_t index;

		if (s->known)
			continue;
		if (!shown_digest(w->r, a, digest, &index) || index != g->min_index)
			return;
		memcpy(s->digest, digest, DIGEST);
		s->known = true;
	}
}

static int encode_at(const struct request *r, struct str question, uint64_t index, struct buf *out);

/* The same question about what there is now; without it the first change ends the wait, whatever it shows. */
static void
group_look(struct group *g, struct request *r)
{
	struct buf now = BUF_INIT(op_info(g->op)->body_max);

	if (g->now_call == 0 && !g->shown[way_of(r)].known &&
	    encode_at(r, (struct str){ (const char *)g->key.data, g->key.len }, 0, &now) == 0)
		g->now_call = rpc_call(g->client, g->op, now.data, now.len, RPC_RETRY, LOOK_MS, on_now, g);
	buf_release(&now);
}

/* For each way in which the answer is shown: whether that is what was shown before. */
static void
find_unchanged(struct group *g, const struct rpc_answer *a, bool unchanged[SHOWN_WAYS], uint64_t *ret_index)
{
	bool looked[SHOWN_WAYS] = { false };

	*ret_index = 0;
	for (struct waiter *w = g->waiters; w != NULL; w = w->next) {
		unsigned way = way_of(w->r);
		uint8_t digest[DIGEST];

		if (!g->shown[way].known || looked[way])
			continue;
		looked[way] = true;
		unchanged[way] = shown_digest(w->r, a, digest, ret_index) && *ret_index > g->min_index &&
		    memcmp(digest, g->shown[way].digest, DIGEST) == 0;
	}
}

/* Go on waiting for what comes after this index. */
static bool
group_ask(struct group *g, uint64_t index)
{
	struct buf key = BUF_INIT(op_info(g->op)->body_max);

	if (encode_at(g->waiters->r, (struct str){ (const char *)g->key.data, g->key.len }, index, &key) < 0) {
		buf_release(&key);
		return false;
	}
	group_unlink(g);
	buf_release(&g->key);
	g->key = key;
	g->min_index = index;
	g->hash = hash_of(g->op, &g->key);
	group_link(g);
	g->call = rpc_call(g->client, g->op, g->key.data, g->key.len, RPC_NO_DEADLINE | RPC_RETRY, 0, on_answer, g);
	return g->call != 0;
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct group *g = arg;
	struct park *p = g->park;
	struct variant *variants = NULL;
	bool unchanged[SHOWN_WAYS] = { false };
	struct waiter *w, *next;
	uint64_t index;

	g->call = 0;
	find_unchanged(g, a, unchanged, &index);
	for (w = g->waiters; w != NULL; w = next) {
		next = w->next;
		if (!unchanged[way_of(w->r)])
			deliver(g, waiter_remove(p, w), a, &variants);
	}
	if (g->waiters != NULL && !group_ask(g, index))
		while (g->waiters != NULL)
			deliver(g, waiter_remove(p, g->waiters), a, &variants);
	/* The variants lie in the requests' arenas, which outlive this turn. */
	for (; variants != NULL; variants = variants->next)
		shared_reply_unref(variants->reply);
	if (g->waiters == NULL)
		group_free(g);
	timer_set(p);
}

static void
on_timer(uv_timer_t *t)
{
	struct park *p = t->data;
	uint64_t now = uv_now(&p->h->d->loop.uv);

	while (p->n > 0 && p->heap[0]->deadline_ms <= now) {
		struct waiter *w = p->heap[0];
		struct request *r = w->r;
		int rc = slim_restore(r, (struct str){ (const char *)w->group->key.data, w->group->key.len });

		waiter_leave(p, w);
		if (rc < 0)
			respond_empty(r, 500);
		else
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
	request_gone(r);
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
group_new(struct park *p, uint16_t op, struct buf *key, uint64_t hash, uint64_t min_index)
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
	g->min_index = min_index;
	group_link(g);
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
	w->since_ms = uv_now(&p->h->d->loop.uv);
	w->deadline_ms = w->since_ms + wait_ms(r);
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
	settle_later(p, w);
	timer_set(p);
	return 0;
}

/* The question as it was encoded, for another index. */
static int
encode_at(const struct request *r, struct str question, uint64_t index, struct buf *out)
{
	const struct op_info *info = op_info(r->op);
	struct arena a = ARENA_INIT(HTTP_ARENA_MAX);
	void *record = info->request != NULL ? arena_alloc(&a, info->request->size) : NULL;
	struct query_options o;
	int rc = info->request != NULL && record == NULL ? -ENOMEM : 0;

	if (rc == 0)
		rc = op_request_decode(info, question.p, question.len, &o, record, &a);
	if (rc == 0) {
		o.min_index = index;
		rc = op_request_encode(r->op, &o, record, out);
	}
	arena_release(&a);
	return rc;
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
		request_gone(r);
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
			g = group_new(p, r->op, &key, hash, r->opts.min_index);
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
		return;
	}
	if (may_hide(r))
		group_look(g, r);
	slim_request(r);
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
	p->settle = malloc(sizeof(*p->settle));
	if (p->timer == NULL || p->settle == NULL) {
		free(p->timer);
		free(p->settle);
		free(p);
		return NULL;
	}
	p->unsettled_tail = &p->unsettled;
	(void)uv_timer_init(&h->d->loop.uv, p->timer);
	(void)uv_timer_init(&h->d->loop.uv, p->settle);
	p->timer->data = p->settle->data = p;
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
	uv_close((uv_handle_t *)p->settle, free_handle);
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
