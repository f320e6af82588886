/* view_table.c - where views are kept: by name, by when they were used, by what is to be done with them. */
#include <stdlib.h>

#include "dnsd/view_inner.h"

enum { BUCKETS_FIRST = 1024 };

static const size_t class_max[CLASSES] = { VIEWS_KNOWN_MAX, VIEWS_UNKNOWN_MAX, VIEWS_CLIENTS_MAX };

static size_t
total(const struct views *vs)
{
	return vs->n[CLASS_KNOWN] + vs->n[CLASS_UNKNOWN] + vs->n[CLASS_CLIENT];
}

int
view_table_init(struct views *vs)
{
	vs->nbuckets = BUCKETS_FIRST;
	vs->buckets = calloc(vs->nbuckets, sizeof(*vs->buckets));
	for (int c = 0; c < CLASSES; c++)
		TAILQ_INIT(&vs->list[c]);
	for (int q = 0; q < QUEUES; q++)
		TAILQ_INIT(&vs->queue[q]);
	return vs->buckets != NULL ? 0 : -ENOMEM;
}

/* ---- by name */

uint32_t
view_hash(const struct views *vs, const struct view_key *k)
{
	uint16_t kind = (uint16_t)k->kind;
	uint32_t h = pkt_name_hash((const uint8_t *)k->dc.p, k->dc.len, kind, vs->seed);

	if (k->client.len > 0)
		h ^= pkt_name_hash((const uint8_t *)k->client.p, k->client.len, kind, vs->seed + 1);
	return pkt_name_hash((const uint8_t *)k->name.p, k->name.len, kind, vs->seed ^ h);
}

struct view *
view_find(const struct views *vs, uint32_t hash, const struct view_key *k)
{
	struct view *v = vs->buckets[hash & (vs->nbuckets - 1)];

	while (v != NULL && (v->hash != hash || v->key.kind != k->kind || !str_eq(v->key.name, k->name) ||
	    !str_eq(v->key.dc, k->dc) || !str_eq(v->key.client, k->client)))
		v = v->next_in_bucket;
	return v;
}

static void
table_grow(struct views *vs)
{
	uint32_t n = vs->nbuckets * 2;
	struct view **b = calloc(n, sizeof(struct view *));

	/* Without memory the chains just get longer. */
	if (b == NULL)
		return;
	for (uint32_t i = 0; i < vs->nbuckets; i++) {
		struct view *v, *next;

		for (v = vs->buckets[i]; v != NULL; v = next) {
			next = v->next_in_bucket;
			v->next_in_bucket = b[v->hash & (n - 1)];
			b[v->hash & (n - 1)] = v;
		}
	}
	free(vs->buckets);
	vs->buckets = b;
	vs->nbuckets = n;
}

static void
table_remove(struct views *vs, struct view *v)
{
	struct view **p = &vs->buckets[v->hash & (vs->nbuckets - 1)];

	while (*p != v)
		p = &(*p)->next_in_bucket;
	*p = v->next_in_bucket;
}

/* ---- by when they were used */

static void
list_add(struct view *v)
{
	TAILQ_INSERT_HEAD(&v->vs->list[v->class], v, in_list);
	v->vs->n[v->class]++;
}

static void
list_remove(struct view *v)
{
	TAILQ_REMOVE(&v->vs->list[v->class], v, in_list);
	v->vs->n[v->class]--;
}

void
view_to_front(struct view *v)
{
	list_remove(v);
	list_add(v);
}

/* Make room for one by dropping the least recently used that nobody waits for; but not keep. */
static bool
make_room(struct views *vs, enum view_class c, size_t max, const struct view *keep)
{
	struct view *v;

	if (vs->n[c] < max)
		return true;
	TAILQ_FOREACH_REVERSE(v, &vs->list[c], view_list, in_list) {
		if (!TAILQ_EMPTY(&v->waiters) || v->waking || v == keep)
			continue;
		view_drop(v);
		return true;
	}
	return false;
}

/* ---- life */

static struct str
put(char **at, struct str s)
{
	struct str r = { *at, s.len };

	if (s.len > 0)
		memcpy(*at, s.p, s.len);
	*at += s.len;
	return r;
}

struct view *
view_new(struct views *vs, uint32_t hash, const struct view_key *k)
{
	enum view_class c = k->client.len > 0 ? CLASS_CLIENT : CLASS_UNKNOWN;
	struct view *v;
	char *at;

	if (!make_room(vs, c, class_max[c], NULL))
		return NULL;
	v = calloc(1, sizeof(*v) + k->name.len + k->dc.len + k->client.len);
	if (v == NULL)
		return NULL;
	v->vs = vs;
	v->hash = hash;
	v->queue = QUEUE_NONE;
	v->class = c;
	v->used_ms = uv_now(&vs->loop->uv);
	TAILQ_INIT(&v->waiters);
	at = v->text;
	v->key.kind = k->kind;
	v->key.name = put(&at, k->name);
	v->key.dc = put(&at, k->dc);
	v->key.client = put(&at, k->client);
	if (total(vs) >= vs->nbuckets)
		table_grow(vs);
	v->next_in_bucket = vs->buckets[hash & (vs->nbuckets - 1)];
	vs->buckets[hash & (vs->nbuckets - 1)] = v;
	list_add(v);
	return v;
}

static void
free_known(struct view *v)
{
	facts_free(v->facts);
	free(v->reverse);
	free(v->host);
}

void
view_drop(struct view *v)
{
	view_forget_answers(v);
	view_dequeue(v);
	view_set_stale(v, false);
	view_call_end(v);
	list_remove(v);
	table_remove(v->vs, v);
	free_known(v);
	free(v);
}

void
view_set_stale(struct view *v, bool stale)
{
	uint64_t now = uv_now(&v->vs->loop->uv);

	if (stale == (v->stale_ms != 0))
		return;
	v->stale_ms = stale ? (now > 0 ? now : 1) : 0;
	v->vs->nstale += stale ? 1 : (size_t)-1;
}

/* Whether there is such a name, whatever its health. */
static bool
is_known(const struct view *v)
{
	if (v->reverse != NULL)
		return v->reverse->node.len + v->reverse->service.len > 0;
	return v->host != NULL ? v->host->n > 0 : v->facts->known;
}

void
view_set_known(struct view *v, struct facts *facts, struct reverse_facts *reverse, struct host_facts *host)
{
	struct views *vs = v->vs;

	list_remove(v);
	view_forget_answers(v);
	free_known(v);
	v->facts = facts;
	v->reverse = reverse;
	v->host = host;
	if (v->class != CLASS_CLIENT)
		v->class = is_known(v) ? CLASS_KNOWN : CLASS_UNKNOWN;
	list_add(v);
	if (vs->n[v->class] > class_max[v->class])
		(void)make_room(vs, v->class, class_max[v->class], v);
	v->answered_ms = uv_now(&vs->loop->uv);
	view_set_stale(v, false);
}

/* ---- rendered answers */

static void
answer_drop(struct view *v, struct answer *a)
{
	answer_index_remove(&v->vs->answers, a);
	answer_free(a);
}

void
view_forget_answers(struct view *v)
{
	struct answer *a;

	while ((a = v->answers) != NULL) {
		v->answers = a->next_in_view;
		answer_drop(v, a);
	}
}

void
view_forget_answer(struct view *v, struct answer *a)
{
	struct answer **p = &v->answers;

	while (*p != a)
		p = &(*p)->next_in_view;
	*p = a->next_in_view;
	answer_drop(v, a);
}

/* How many answers may be kept of v: the more records one has the fewer, but one of each common type. */
static size_t
answers_max(const struct view *v)
{
	size_t n = VIEW_RECORDS_MAX / (v->facts != NULL ? v->facts->n + 1 : 1);

	return n < 4 ? 4 : n > VIEW_ANSWERS_MAX ? VIEW_ANSWERS_MAX : n;
}

void
view_answer_room(struct view *v)
{
	struct views *vs = v->vs;
	struct answer *a = v->answers, *next;
	struct view *old;
	size_t n = 1;

	/* The newest are first. */
	for (size_t max = answers_max(v); a != NULL; a = next) {
		next = a->next_in_view;
		if (++n > max)
			view_forget_answer(v, a);
	}
	if (vs->answers.n < VIEWS_ANSWERS_MAX)
		return;
	/* Some more at once, so that the walk is not for one. */
	for (int c = 0; c < CLASSES; c++)
		TAILQ_FOREACH_REVERSE(old, &vs->list[c], view_list, in_list)
			if (vs->answers.n > VIEWS_ANSWERS_MAX / 8 * 7)
				view_forget_answers(old);
}

/* ---- by what is to be done */

static void
on_queue(uv_timer_t *t)
{
	struct views *vs = t->data;

	views_run_queue(vs, t == vs->timer[QUEUE_CALM] ? QUEUE_CALM : QUEUE_RETRY);
}

void
view_enqueue(struct view *v, enum view_queue q)
{
	static const uint64_t delay_ms[QUEUES] = { [QUEUE_CALM] = VIEW_CALM_MS, [QUEUE_RETRY] = VIEW_RETRY_MS };
	struct views *vs = v->vs;

	if (v->queue != QUEUE_NONE)
		return;
	v->queue = q;
	TAILQ_INSERT_TAIL(&vs->queue[q], v, in_queue);
	if (q == QUEUE_NOW)
		loop_defer(vs->loop, DEFER_WORK, &vs->defer);
	else if (vs->timer[q] != NULL && !uv_is_active((uv_handle_t *)vs->timer[q]))
		(void)uv_timer_start(vs->timer[q], on_queue, delay_ms[q], 0);
}

void
view_dequeue(struct view *v)
{
	if (v->queue != QUEUE_NONE)
		TAILQ_REMOVE(&v->vs->queue[v->queue], v, in_queue);
	v->queue = QUEUE_NONE;
}

/* ---- who waits */

void
view_wait(struct view *v, struct waiter *w)
{
	w->view = v;
	TAILQ_INSERT_TAIL(&v->waiters, w, in_view);
}

void
view_unwait(struct waiter *w)
{
	if (w->view == NULL)
		return;
	TAILQ_REMOVE(&w->view->waiters, w, in_view);
	w->view = NULL;
}

/* Whoever starts to wait meanwhile waits for the next answer. */
void
view_wake(struct view *v, bool ok)
{
	struct views *vs = v->vs;
	TAILQ_HEAD(, waiter) all = TAILQ_HEAD_INITIALIZER(all);
	struct waiter *w;

	TAILQ_CONCAT(&all, &v->waiters, in_view);
	v->waking = true;
	while ((w = TAILQ_FIRST(&all)) != NULL) {
		TAILQ_REMOVE(&all, w, in_view);
		w->view = NULL;
		vs->ready(vs->ctx, w, ok);
	}
	v->waking = false;
}
