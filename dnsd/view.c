/* view.c - views as others see them: asked for, believed, kept and swept. */
#include "dnsd/view.h"

#include <sodium.h>
#include <stdlib.h>

#include "dnsd/view_inner.h"
#include "lib/metrics.h"

enum { SWEEP_MS = 10 * 1000, SCRATCH_MAX = 64 * 1024 * 1024 };

/* ---- what is known */

const struct facts *
view_facts(const struct view *v)
{
	return v->facts;
}

const struct reverse_facts *
view_reverse(const struct view *v)
{
	return v->reverse;
}

const struct host_facts *
view_host(const struct view *v)
{
	return v->host;
}

uint64_t
view_believed_ms(const struct view *v)
{
	return v->believed_ms;
}

uint64_t
view_age_ms(const struct view *v)
{
	uint64_t since = v->stale_ms != 0 ? v->stale_ms : v->vs->lost_ms;

	return since != 0 ? uv_now(&v->vs->loop->uv) - since : 0;
}

bool
views_connected(const struct views *vs)
{
	return rpc_client_connected(vs->raftd);
}

/* ---- questions */

static bool
by_distance(const struct view *v)
{
	return v->facts != NULL && v->facts->query != NULL && v->facts->query->sorted;
}

static void
touch(struct view *v)
{
	uint64_t now = uv_now(&v->vs->loop->uv);

	/* Order by the second is enough, and spares the busy ones the moves. */
	if (now - v->used_ms < 1000)
		return;
	v->used_ms = now;
	view_to_front(v);
	if (by_distance(v) && now - v->answered_ms > VIEW_SORTED_MS)
		view_ask_again(v);
}

/* Whether what is known of v may be told. */
static bool
believable(struct view *v)
{
	const struct settings *s = *v->vs->settings;
	uint64_t age;

	if (v->watched && v->vs->lost_ms == 0)
		return true;
	if (!v->watched && v->stale_ms == 0)
		return uv_now(&v->vs->loop->uv) < v->believed_ms;
	age = view_age_ms(v);
	if (!s->allow_stale || (int64_t)age > s->max_stale_ms)
		return false;
	if (age > VIEW_STALE_NOTED_MS)
		metric_add(v->vs->stale_queries, 1);
	return true;
}

struct view *
views_get(struct views *vs, const struct view_key *key, enum view_state *ret_state)
{
	struct view_key k = *key;
	struct view *v;
	uint32_t hash;

	/* Our own datacenter is the same view whether it is named or not. */
	if (str_eq_nocase(k.dc, str_from((*vs->settings)->datacenter)))
		k.dc = STR("");
	hash = view_hash(vs, &k);
	v = view_find(vs, hash, &k);
	if (v == NULL)
		v = view_new(vs, hash, &k);
	*ret_state = VIEW_FULL;
	if (v == NULL)
		return NULL;
	view_pulse(vs);
	touch(v);
	*ret_state = view_answered(v) && believable(v) ? VIEW_READY : VIEW_WAIT;
	if (*ret_state == VIEW_READY)
		return v;
	if (!view_of_host(v)) {
		view_ask(v);
	} else if (!view_host_ask(v)) {
		*ret_state = VIEW_FULL;
		return NULL;
	}
	return v;
}

struct answer *
views_warm(struct views *vs, const struct pkt_query *q)
{
	struct answer *a = answer_index_find(&vs->answers, q);

	if (a == NULL)
		return NULL;
	view_pulse(vs);
	if (!believable(a->view))
		return NULL;
	if (a->good_until_ms != 0 && uv_now(&vs->loop->uv) >= a->good_until_ms) {
		view_forget_answer(a->view, a);
		return NULL;
	}
	touch(a->view);
	return a;
}

void
views_ahead(const struct views *vs, const struct pkt_query *q, unsigned n)
{
	answer_index_ahead(&vs->answers, q, n);
}

void
views_keep(struct views *vs, struct view *v, struct answer *a)
{
	view_answer_room(v);
	a->view = v;
	a->next_in_view = v->answers;
	v->answers = a;
	answer_index_add(&vs->answers, a);
}

/* ---- the whole */

/* Drop what nobody has asked for. */
static void
sweep_list(struct view_list *list, uint64_t now, uint64_t idle_ms)
{
	struct view *v, *prev;

	for (v = TAILQ_LAST(list, view_list); v != NULL && now - v->used_ms > idle_ms; v = prev) {
		prev = TAILQ_PREV(v, view_list, in_list);
		if (TAILQ_EMPTY(&v->waiters))
			view_drop(v);
	}
}

static void
on_sweep(uv_timer_t *t)
{
	struct views *vs = t->data;
	uint64_t now = uv_now(&vs->loop->uv);

	/* Nothing is thrown away that could not be asked for again. */
	if (!rpc_client_connected(vs->raftd))
		return;
	sweep_list(&vs->list[CLASS_KNOWN], now, VIEW_IDLE_MS);
	sweep_list(&vs->list[CLASS_UNKNOWN], now, VIEW_UNKNOWN_IDLE_MS);
	sweep_list(&vs->list[CLASS_CLIENT], now, VIEW_UNKNOWN_IDLE_MS);
}

static void
on_defer(struct defer *d)
{
	views_run_queue((struct views *)(void *)((char *)d - offsetof(struct views, defer)), QUEUE_NOW);
}

static uv_timer_t *
timer_new(struct views *vs)
{
	uv_timer_t *t = malloc(sizeof(*t));

	if (t != NULL) {
		(void)uv_timer_init(&vs->loop->uv, t);
		t->data = vs;
	}
	return t;
}

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

struct views *
views_new(struct loop *l, int run_fd, struct settings *const *settings, struct upstream *upstream,
    void (*ready)(void *ctx, struct waiter *w, bool ok), void *ctx)
{
	struct views *vs = calloc(1, sizeof(*vs));
	int rc;

	if (vs == NULL)
		return NULL;
	vs->loop = l;
	vs->settings = settings;
	vs->upstream = upstream;
	vs->ready = ready;
	vs->ctx = ctx;
	vs->defer.cb = on_defer;
	arena_init(&vs->scratch, SCRATCH_MAX);
	randombytes_buf(&vs->seed, sizeof(vs->seed));
	rc = view_table_init(vs);
	vs->timer[QUEUE_CALM] = timer_new(vs);
	vs->timer[QUEUE_RETRY] = timer_new(vs);
	vs->sweep = timer_new(vs);
	vs->pulse = timer_new(vs);
	vs->raftd = rpc_client_new(l, run_fd, "raftd");
	vs->stale_queries = metric_get("dns.stale_queries", METRIC_COUNTER);
	if (rc < 0 || vs->timer[QUEUE_CALM] == NULL || vs->timer[QUEUE_RETRY] == NULL || vs->sweep == NULL || vs->pulse == NULL ||
	    vs->raftd == NULL || answer_index_init(&vs->answers, vs->seed) < 0) {
		views_free(vs);
		return NULL;
	}
	(void)uv_timer_start(vs->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	return vs;
}

static void
drop_all(struct view_list *list)
{
	struct view *v, *next;

	for (v = TAILQ_FIRST(list); v != NULL; v = next) {
		next = TAILQ_NEXT(v, in_list);
		view_drop(v);
	}
}

void
views_free(struct views *vs)
{
	if (vs == NULL)
		return;
	for (int c = 0; c < CLASSES; c++)
		drop_all(&vs->list[c]);
	loop_undefer(vs->loop, DEFER_WORK, &vs->defer);
	view_pulse_end(vs);
	rpc_client_free(vs->raftd);
	for (int q = 0; q < QUEUES; q++)
		if (vs->timer[q] != NULL)
			uv_close((uv_handle_t *)vs->timer[q], timer_closed);
	if (vs->sweep != NULL)
		uv_close((uv_handle_t *)vs->sweep, timer_closed);
	if (vs->pulse != NULL)
		uv_close((uv_handle_t *)vs->pulse, timer_closed);
	answer_index_release(&vs->answers);
	arena_release(&vs->scratch);
	free(vs->buckets);
	free(vs);
}

/* Ask anew, with another token; nothing of before may be told. */
static void
ask_anew(struct view_list *list)
{
	struct view *v;

	TAILQ_FOREACH(v, list, in_list) {
		if (view_of_host(v))
			continue;
		view_call_end(v);
		v->watched = false;
		/* Long over: what is not watched and was good for a time only is not told without raftd either. */
		v->believed_ms = 1;
		view_set_stale(v, false);
		view_dequeue(v);
		view_enqueue(v, QUEUE_NOW);
	}
}

void
views_settings_changed(struct views *vs, bool all)
{
	struct view *v;

	for (int c = 0; c < CLASSES; c++) {
		TAILQ_FOREACH(v, &vs->list[c], in_list)
			view_forget_answers(v);
		if (all)
			ask_anew(&vs->list[c]);
	}
}

void
views_stats(const struct views *vs, struct views_stats *ret)
{
	ret->known = vs->n[CLASS_KNOWN];
	ret->unknown = vs->n[CLASS_UNKNOWN] + vs->n[CLASS_CLIENT];
	ret->answers = vs->answers.n;
	ret->stale = vs->nstale;
	ret->connected = rpc_client_connected(vs->raftd);
}
