/* view.c - views of services and nodes: asked, watched, kept and dropped. */
#include "dnsd/view.h"

#include <sodium.h>
#include <stdlib.h>

#include "dnsd/index.h"
#include "lib/log.h"
#include "lib/metrics.h"

#define LOG "agent.dns"

enum { SWEEP_MS = 10 * 1000, SCRATCH_MAX = 64 * 1024 * 1024 };

/*
 * ASK is answered by what the leader knows: a server that has just started
 * may remember less than we do. Only a view that knows nothing is content
 * with less, ASK_STALE, when there is no leader to ask.
 */
enum view_call { CALL_NONE, CALL_ASK, CALL_ASK_STALE, CALL_WATCH };
/* Waiting to be asked or watched: at the end of the turn, once it is calm, or when raftd may be well again. */
enum view_queue { QUEUE_NOW, QUEUE_CALM, QUEUE_RETRY, QUEUES, QUEUE_NONE = QUEUES };

TAILQ_HEAD(view_list, view);

struct view {
	struct view *next_in_bucket;
	TAILQ_ENTRY(view) in_list;	/* most recently used first */
	TAILQ_ENTRY(view) in_queue;
	TAILQ_HEAD(, waiter) waiters;
	struct views *vs;
	struct facts *facts;		/* NULL before the first answer */
	struct answer *answers;
	uint64_t index;			/* of the facts, for the watch */
	uint64_t used_ms, changed_ms;
	uint64_t stale_ms;		/* since when the watch is lost; 0: it is not */
	uint64_t believed_ms;		/* without a watch: until when */
	uint32_t call, hash;
	enum view_call calling;
	enum view_queue queue;
	bool watched;			/* a watch is armed, or about to be */
	bool asked_before, known;
	enum name_kind kind;
	struct str dc, name;
	char text[];
};

struct views {
	struct loop *loop;
	struct rpc_client *raftd;
	struct settings *const *settings;
	void (*ready)(void *ctx, struct waiter *w, bool ok);
	void *ctx;
	uint64_t seed;
	struct view **buckets;
	uint32_t nbuckets;
	struct answer_index answers;
	struct view_list known, unknown;
	size_t nknown, nunknown, nstale;
	struct view_list queue[QUEUES];
	struct defer defer;		/* of QUEUE_NOW */
	uv_timer_t *timer[QUEUES];	/* of the others */
	uv_timer_t *sweep;
	struct arena scratch;
	struct metric_slot *stale_queries;
};

static void on_answer(void *arg, const struct rpc_answer *a);
static void on_queue(uv_timer_t *t);

/* ---- the table */

static uint32_t
key_hash(const struct views *vs, enum name_kind kind, struct str dc, struct str name)
{
	uint32_t h = pkt_name_hash((const uint8_t *)dc.p, dc.len, (uint16_t)kind, vs->seed);

	return pkt_name_hash((const uint8_t *)name.p, name.len, (uint16_t)kind, vs->seed ^ h);
}

static struct view *
table_find(const struct views *vs, uint32_t hash, enum name_kind kind, struct str dc, struct str name)
{
	struct view *v = vs->buckets[hash & (vs->nbuckets - 1)];

	while (v != NULL && (v->hash != hash || v->kind != kind || !str_eq(v->name, name) || !str_eq(v->dc, dc)))
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

/* ---- life of a view */

static void
list_add(struct view *v)
{
	struct views *vs = v->vs;

	if (v->known) {
		TAILQ_INSERT_HEAD(&vs->known, v, in_list);
		vs->nknown++;
	} else {
		TAILQ_INSERT_HEAD(&vs->unknown, v, in_list);
		vs->nunknown++;
	}
}

static void
list_remove(struct view *v)
{
	struct views *vs = v->vs;

	if (v->known) {
		TAILQ_REMOVE(&vs->known, v, in_list);
		vs->nknown--;
	} else {
		TAILQ_REMOVE(&vs->unknown, v, in_list);
		vs->nunknown--;
	}
}

static void
set_stale(struct view *v, bool stale)
{
	uint64_t now = uv_now(&v->vs->loop->uv);

	if (stale == (v->stale_ms != 0))
		return;
	v->stale_ms = stale ? (now > 0 ? now : 1) : 0;
	v->vs->nstale += stale ? 1 : (size_t)-1;
}

static void
forget_answers(struct view *v)
{
	struct answer *a;

	while ((a = v->answers) != NULL) {
		v->answers = a->next_in_view;
		answer_index_remove(&v->vs->answers, a);
		answer_free(a);
	}
}

static void
enqueue(struct view *v, enum view_queue q)
{
	static const uint64_t delay_ms[QUEUES] = { [QUEUE_CALM] = VIEW_CALM_MS, [QUEUE_RETRY] = VIEW_RETRY_MS };
	struct views *vs = v->vs;

	if (v->queue != QUEUE_NONE)
		return;
	v->queue = q;
	TAILQ_INSERT_TAIL(&vs->queue[q], v, in_queue);
	if (q == QUEUE_NOW)
		loop_defer(vs->loop, DEFER_WORK, &vs->defer);
	else if (!uv_is_active((uv_handle_t *)vs->timer[q]))
		(void)uv_timer_start(vs->timer[q], on_queue, delay_ms[q], 0);
}

static void
dequeue(struct view *v)
{
	if (v->queue != QUEUE_NONE)
		TAILQ_REMOVE(&v->vs->queue[v->queue], v, in_queue);
	v->queue = QUEUE_NONE;
}

static void
view_drop(struct view *v)
{
	struct views *vs = v->vs;

	forget_answers(v);
	dequeue(v);
	set_stale(v, false);
	if (v->call != 0)
		rpc_cancel(vs->raftd, v->call);
	list_remove(v);
	table_remove(vs, v);
	facts_free(v->facts);
	free(v);
}

static struct view *
view_new(struct views *vs, uint32_t hash, enum name_kind kind, struct str dc, struct str name)
{
	struct view *v = calloc(1, sizeof(*v) + dc.len + name.len);

	if (v == NULL)
		return NULL;
	v->vs = vs;
	v->hash = hash;
	v->kind = kind;
	v->queue = QUEUE_NONE;
	v->used_ms = uv_now(&vs->loop->uv);
	TAILQ_INIT(&v->waiters);
	memcpy(v->text, name.p, name.len);
	v->name = (struct str){ v->text, name.len };
	memcpy(v->text + name.len, dc.p, dc.len);
	v->dc = (struct str){ v->text + name.len, dc.len };
	if (vs->nknown + vs->nunknown >= vs->nbuckets)
		table_grow(vs);
	v->next_in_bucket = vs->buckets[hash & (vs->nbuckets - 1)];
	vs->buckets[hash & (vs->nbuckets - 1)] = v;
	list_add(v);
	return v;
}

/* Make room in a list by dropping its least recently used without waiters. */
static bool
make_room(struct view_list *list, size_t n, size_t max)
{
	struct view *v;

	if (n < max)
		return true;
	TAILQ_FOREACH_REVERSE(v, list, view_list, in_list) {
		if (!TAILQ_EMPTY(&v->waiters))
			continue;
		view_drop(v);
		return true;
	}
	return false;
}

/* ---- waiters */

const struct facts *
view_facts(const struct view *v)
{
	return v->facts;
}

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

/* Those who wait now; whoever starts to wait meanwhile waits for the next answer. */
static void
wake(struct view *v, bool ok)
{
	struct views *vs = v->vs;
	TAILQ_HEAD(, waiter) all = TAILQ_HEAD_INITIALIZER(all);
	struct waiter *w;

	TAILQ_CONCAT(&all, &v->waiters, in_view);
	while ((w = TAILQ_FIRST(&all)) != NULL) {
		TAILQ_REMOVE(&all, w, in_view);
		w->view = NULL;
		vs->ready(vs->ctx, w, ok);
	}
}

/* ---- asking raftd */

static void
call_raftd(struct view *v, enum view_call kind)
{
	struct views *vs = v->vs;
	const struct settings *s = *vs->settings;
	struct query_options o = {
		.token = str_from(s->token),
		.datacenter = v->dc,
		.consistency = s->allow_stale && kind != CALL_ASK ? CONSISTENCY_STALE : CONSISTENCY_DEFAULT,
		.min_index = kind == CALL_WATCH ? v->index : 0,
	};
	struct catalog_query q = { 0 };
	bool node = v->kind == NAME_NODE;

	*(node ? &q.node : &q.service) = v->name;
	v->call = rpc_call_record(vs->raftd, node ? OP_CATALOG_NODE : OP_HEALTH_SERVICE, &o, &q,
	    kind == CALL_WATCH ? RPC_NO_DEADLINE : RPC_RETRY, VIEW_ASK_MS, on_answer, v);
	v->calling = v->call != 0 ? kind : CALL_NONE;
	if (v->call == 0)
		enqueue(v, QUEUE_RETRY);
}

/* Ask for what it is now, unless that is under way. */
static void
ask(struct view *v)
{
	if (v->calling == CALL_NONE && v->queue == QUEUE_NONE)
		call_raftd(v, CALL_ASK);
}

/*
 * A watch is for the raftd whose index it names: another one, after a
 * reconnect, may have begun anew, so it is asked from scratch.
 */
static void
run_queue(struct views *vs, enum view_queue q)
{
	struct view_list list = TAILQ_HEAD_INITIALIZER(list);
	struct view *v;

	/* What cannot be sent comes back to a queue: take this one as it is now. */
	TAILQ_CONCAT(&list, &vs->queue[q], in_queue);
	while ((v = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, v, in_queue);
		v->queue = QUEUE_NONE;
		if (v->watched && !rpc_client_connected(vs->raftd)) {
			v->watched = false;
			set_stale(v, true);
		}
		call_raftd(v, v->watched ? CALL_WATCH : CALL_ASK);
	}
}

static void
on_defer(struct defer *d)
{
	run_queue((struct views *)(void *)((char *)d - offsetof(struct views, defer)), QUEUE_NOW);
}

static void
on_queue(uv_timer_t *t)
{
	struct views *vs = t->data;

	run_queue(vs, t == vs->timer[QUEUE_CALM] ? QUEUE_CALM : QUEUE_RETRY);
}

/* ---- answers of raftd */

/* A view that changes often is watched again a little later: its questions get what is at most that old. */
static void
arm(struct view *v)
{
	uint64_t now = uv_now(&v->vs->loop->uv);
	bool calm = now - v->changed_ms >= VIEW_CALM_MS;

	v->changed_ms = now;
	enqueue(v, calm ? QUEUE_NOW : QUEUE_CALM);
}

static void
set_facts(struct view *v, struct facts *f)
{
	list_remove(v);
	forget_answers(v);
	facts_free(v->facts);
	v->facts = f;
	v->known = f->known;
	list_add(v);
	if (v->known)
		(void)make_room(&v->vs->known, v->vs->nknown - 1, VIEWS_KNOWN_MAX);
	set_stale(v, false);
}

static int
take(struct view *v, enum view_call kind, const struct rpc_answer *a)
{
	struct facts *f = NULL;
	struct query_meta meta;
	struct str payload;
	int rc;

	rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc < 0)
		return rc;
	if (v->kind == NAME_NODE)
		rc = facts_from_node(payload, &v->vs->scratch, &f);
	else
		rc = facts_from_health(payload, &v->vs->scratch, &f);
	if (rc < 0)
		return rc;
	/* That there is no such name is not believed of a server without a leader. */
	if (kind == CALL_ASK_STALE && !f->known) {
		facts_free(f);
		return -EAGAIN;
	}
	v->index = meta.index > 0 ? meta.index : 1;
	set_facts(v, f);
	return 0;
}

/*
 * A view without an answer yet: as long as somebody waits it is asked again,
 * of a raftd that is there without a leader for what it knows by itself.
 */
static void
lost_unknown(struct view *v, enum view_call kind, int rc)
{
	bool connected = rpc_client_connected(v->vs->raftd);

	if (kind == CALL_ASK && connected && (*v->vs->settings)->allow_stale) {
		call_raftd(v, CALL_ASK_STALE);
	} else if (rc == -ETIMEDOUT && !connected && !TAILQ_EMPTY(&v->waiters)) {
		call_raftd(v, CALL_ASK);
	} else {
		wake(v, false);
		view_drop(v);
	}
}

/*
 * raftd does not tell for now. What is known goes on being told while it may
 * be believed, and raftd is asked until it answers.
 */
static void
lost(struct view *v, enum view_call kind, int rc)
{
	v->watched = false;
	if (v->facts == NULL || v->believed_ms != 0) {
		lost_unknown(v, kind, rc);
		return;
	}
	set_stale(v, true);
	/* The connection has gone: the next one is asked as soon as it stands, waiters have that long. */
	enqueue(v, rc == -EUNKNOWN ? QUEUE_NOW : QUEUE_RETRY);
	if (rc != -EUNKNOWN)
		wake(v, false);
}

/* An error that is an answer: no such datacenter, or nothing that our token may see. Both look like no such name. */
static bool
is_denial(const struct rpc_error *e)
{
	static const char no_path[] = "No path to datacenter";

	return e->code == 403 || memmem(e->text.p, e->text.len, no_path, sizeof(no_path) - 1) != NULL;
}

static void
take_error(struct view *v, enum view_call kind, const struct rpc_answer *a)
{
	struct facts *f = NULL;
	struct rpc_error e;

	rpc_error_decode(a, &e);
	if (is_denial(&e))
		f = facts_new_unknown();
	if (f == NULL) {
		log_debug(LOG, "query failed: name=%.*s error=\"%.*s\"", STR_ARG(v->name), STR_ARG(e.text));
		lost(v, kind, -EPROTO);
		return;
	}
	set_facts(v, f);
	v->watched = false;
	v->believed_ms = uv_now(&v->vs->loop->uv) + VIEW_REFUSED_MS;
	wake(v, true);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct view *v = arg;
	enum view_call kind = v->calling;
	int rc = a->rc;

	v->call = 0;
	v->calling = CALL_NONE;
	if (rc == -EPROTO) {
		take_error(v, kind, a);
		return;
	}
	if (rc == 0)
		rc = take(v, kind, a);
	if (rc < 0) {
		log_debug(LOG, "no answer: name=%.*s error=\"%s\"", STR_ARG(v->name), err_text(rc));
		lost(v, kind, rc);
		return;
	}
	v->watched = v->known || v->asked_before;
	/* One that is not watched is good for those who wait, and no longer. */
	v->believed_ms = v->watched ? 0 : uv_now(&v->vs->loop->uv) + 1;
	v->asked_before = true;
	if (v->watched)
		arm(v);
	wake(v, true);
}

/* ---- questions */

static void
touch(struct view *v)
{
	uint64_t now = uv_now(&v->vs->loop->uv);

	/* Order by the second is enough, and spares the busy ones the moves. */
	if (now - v->used_ms < 1000)
		return;
	v->used_ms = now;
	list_remove(v);
	list_add(v);
}

/* Whether what is known of v may be told. */
static bool
believable(struct view *v)
{
	const struct settings *s = *v->vs->settings;
	uint64_t now = uv_now(&v->vs->loop->uv);

	if (v->watched)
		return true;
	if (v->stale_ms == 0)
		return now < v->believed_ms;
	if (!s->allow_stale || (int64_t)(now - v->stale_ms) > s->max_stale_ms)
		return false;
	if (now - v->stale_ms > VIEW_STALE_NOTED_MS)
		metric_add(v->vs->stale_queries, 1);
	return true;
}

struct view *
views_get(struct views *vs, enum name_kind kind, struct str dc, struct str name, enum view_state *ret_state)
{
	struct view *v;
	uint32_t hash;

	/* Our own datacenter is the same view whether it is named or not. */
	if (str_eq_nocase(dc, str_from((*vs->settings)->datacenter)))
		dc = STR("");
	hash = key_hash(vs, kind, dc, name);
	v = table_find(vs, hash, kind, dc, name);
	if (v == NULL && make_room(&vs->unknown, vs->nunknown, VIEWS_UNKNOWN_MAX))
		v = view_new(vs, hash, kind, dc, name);
	if (v == NULL) {
		*ret_state = VIEW_FULL;
		return NULL;
	}
	touch(v);
	*ret_state = v->facts != NULL && believable(v) ? VIEW_READY : VIEW_WAIT;
	if (*ret_state == VIEW_WAIT)
		ask(v);
	return v;
}

struct answer *
views_warm(struct views *vs, const struct pkt_query *q)
{
	struct answer *a = answer_index_find(&vs->answers, q);

	if (a == NULL || !believable(a->view))
		return NULL;
	touch(a->view);
	return a;
}

void
views_keep(struct views *vs, struct view *v, struct answer *a)
{
	a->view = v;
	a->next_in_view = v->answers;
	v->answers = a;
	answer_index_add(&vs->answers, a);
}

/* ---- the whole */

/* Drop what nobody has asked for; but nothing while raftd is away. */
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

	if (!rpc_client_connected(vs->raftd))
		return;
	sweep_list(&vs->known, now, VIEW_IDLE_MS);
	sweep_list(&vs->unknown, now, VIEW_UNKNOWN_IDLE_MS);
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
views_new(struct loop *l, int run_fd, struct settings *const *settings,
    void (*ready)(void *ctx, struct waiter *w, bool ok), void *ctx)
{
	struct views *vs = calloc(1, sizeof(*vs));

	if (vs == NULL)
		return NULL;
	vs->loop = l;
	vs->settings = settings;
	vs->ready = ready;
	vs->ctx = ctx;
	vs->defer.cb = on_defer;
	arena_init(&vs->scratch, SCRATCH_MAX);
	randombytes_buf(&vs->seed, sizeof(vs->seed));
	TAILQ_INIT(&vs->known);
	TAILQ_INIT(&vs->unknown);
	for (int q = 0; q < QUEUES; q++)
		TAILQ_INIT(&vs->queue[q]);
	vs->nbuckets = 256;
	vs->buckets = calloc(vs->nbuckets, sizeof(struct view *));
	vs->timer[QUEUE_CALM] = timer_new(vs);
	vs->timer[QUEUE_RETRY] = timer_new(vs);
	vs->sweep = timer_new(vs);
	vs->raftd = rpc_client_new(l, run_fd, "raftd");
	vs->stale_queries = metric_get("dns.stale_queries", METRIC_COUNTER);
	if (vs->buckets == NULL || vs->timer[QUEUE_CALM] == NULL || vs->timer[QUEUE_RETRY] == NULL ||
	    vs->sweep == NULL || vs->raftd == NULL || answer_index_init(&vs->answers, vs->seed) < 0) {
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
	drop_all(&vs->known);
	drop_all(&vs->unknown);
	loop_undefer(vs->loop, DEFER_WORK, &vs->defer);
	rpc_client_free(vs->raftd);
	for (int q = 0; q < QUEUES; q++)
		if (vs->timer[q] != NULL)
			uv_close((uv_handle_t *)vs->timer[q], timer_closed);
	if (vs->sweep != NULL)
		uv_close((uv_handle_t *)vs->sweep, timer_closed);
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
		if (v->call != 0)
			rpc_cancel(v->vs->raftd, v->call);
		v->call = 0;
		v->calling = CALL_NONE;
		v->watched = false;
		v->believed_ms = 0;
		set_stale(v, false);
		dequeue(v);
		enqueue(v, QUEUE_NOW);
	}
}

void
views_settings_changed(struct views *vs, bool all)
{
	struct view *v;

	TAILQ_FOREACH(v, &vs->known, in_list)
		forget_answers(v);
	TAILQ_FOREACH(v, &vs->unknown, in_list)
		forget_answers(v);
	if (all) {
		ask_anew(&vs->known);
		ask_anew(&vs->unknown);
	}
}

void
views_stats(const struct views *vs, struct views_stats *ret)
{
	ret->known = vs->nknown;
	ret->unknown = vs->nunknown;
	ret->answers = vs->answers.n;
	ret->stale = vs->nstale;
	ret->connected = rpc_client_connected(vs->raftd);
}
