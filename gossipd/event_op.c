/* event_op.c - the operations of user events: firing, the list, waiting for the next. */
#include <stdlib.h>
#include <string.h>

#include "gossipd/gossipd.h"

enum { EVENT_PAYLOAD_MAX = 64 * 1024 };

/* A gossip.event_list request: it waits while the newest event is the same. The whole of it is kept: its rights are asked for again. */
struct event_watch {
	struct event_watch *next;
	struct acl_kept kept;
	uint64_t min_index;
	bool internal;
	size_t name_len;
	char name[];
};

static const struct event_ring *
ring_of(const struct events *e, bool internal)
{
	return internal ? &e->internal : &e->all;
}

static uint64_t
index_of(const struct events *e, struct str name, bool internal)
{
	const struct user_event *last = events_last(ring_of(e, internal), name);

	return last != NULL ? event_index(last->id) : 1;
}

static void
answer_list(struct events *e, struct rpc_token token, const struct event_query *q, bool internal, struct acl_facts *f)
{
	bool hidden = events_hidden(ring_of(e, internal), q->name, f);
	struct query_meta meta = { .index = index_of(e, q->name, internal), .known_leader = true, .filtered = acl_filtered(f, hidden) };
	struct buf *out = rpc_reply_begin(e->g->d->rpc, token);
	struct mp_w w;

	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	events_encode(ring_of(e, internal), q->name, f, &w);
	rpc_reply_end(e->g->d->rpc, token, w.err == 0);
}

static void
watch_free(struct event_watch *x)
{
	acl_kept_release(&x->kept);
	free(x);
}

void
events_wake(struct events *e)
{
	struct event_watch **at = &e->watches, *x;

	while ((x = *at) != NULL) {
		if (index_of(e, (struct str){ x->name, x->name_len }, x->internal) == x->min_index) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		e->nwatches--;
		acl_gate_serve(e->g->gate, e->g->d->rpc, e->g->d, &x->kept.req, op_event_list);
		watch_free(x);
	}
}

void
event_watch_cancel(struct events *e, struct rpc_token token)
{
	for (struct event_watch **at = &e->watches; *at != NULL; at = &(*at)->next) {
		struct event_watch *x = *at;

		if (x->kept.req.token.conn == token.conn && x->kept.req.token.id == token.id) {
			*at = x->next;
			e->nwatches--;
			watch_free(x);
			return;
		}
	}
}

void
event_watches_release(struct events *e)
{
	struct event_watch *x;

	while ((x = e->watches) != NULL) {
		e->watches = x->next;
		watch_free(x);
	}
	e->nwatches = 0;
}

static void
park(struct events *e, const struct rpc_request *req, uint64_t min_index, const struct event_query *q, bool internal)
{
	struct event_watch *x = e->nwatches < WATCHES_MAX ? calloc(1, sizeof(*x) + q->name.len) : NULL;

	if (x == NULL || acl_keep(&x->kept, req) < 0) {
		free(x);
		rpc_reply_error(e->g->d->rpc, req->token, 500, "too many watches of the events");
		return;
	}
	x->next = e->watches;
	x->min_index = min_index;
	x->internal = internal;
	x->name_len = q->name.len;
	if (q->name.len > 0)
		memcpy(x->name, q->name.p, q->name.len);
	e->watches = x;
	e->nwatches++;
}

/* Those that are for daemons are shown to daemons alone. */
void
op_event_list(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct event_query q;
	bool internal;
	int rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);

	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
		goto out;
	}
	internal = q.internal && acl_open(f);
	(void)events_hidden(ring_of(&g->events, internal), q.name, f);
	if (acl_pending(f))
		goto out;
	if (o.min_index != 0 && o.min_index == index_of(&g->events, q.name, internal))
		park(&g->events, req, o.min_index, &q, internal);
	else
		answer_list(&g->events, req->token, &q, internal, f);
out:
	arena_release(&a);
}

/* ---- firing */

static int
fire(struct gossipd *g, struct user_event *ev, struct arena *a, char err[256])
{
	struct buf payload = BUF_INIT(EVENT_PAYLOAD_MAX);
	const char *name;
	int rc = event_check(ev, err);

	if (rc == 0 && g->lan.closed) {
		snprintf(err, 256, "this node has left");
		rc = -ENETDOWN;
	}
	if (rc < 0)
		return rc;
	name = arena_printf(a, EVENT_PREFIX "%.*s", STR_ARG(ev->name));
	rc = name != NULL ? event_encode(ev, &payload) : -ENOMEM;
	if (rc == 0)
		rc = serf_event(g->lan.serf, clock_ns(), str_from(name), (struct str){ (const char *)payload.data, payload.len }, false, err);
	if (rc < 0 && err[0] == '\0')
		snprintf(err, 256, "%s", rc == -ELIMIT ? "user event exceeds configured limit of 512 bytes before encoding" : err_text(rc));
	buf_release(&payload);
	pool_touch(&g->lan);
	return rc;
}

void
op_event_fire(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct query_options o;
	struct user_event ev;
	char err[256] = "", id[EVENT_ID_TEXT];
	struct buf *out;
	struct mp_w w;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &ev, &a);
	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
		goto out;
	}
	if (!gossipd_permitted(f, acl_may(f, "event", ev.name, "write")))
		goto out;
	event_new_id(id);
	ev.id = str_from(id);
	ev.version = 1;
	ev.ltime = 0;
	rc = fire(g, &ev, &a, err);
	if (rc < 0) {
		rpc_reply_error(d->rpc, req->token, 500, "%s", err);
		goto out;
	}
	out = rpc_reply_begin(d->rpc, req->token);
	if (out == NULL)
		goto out;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	record_encode(&rec_user_event, &ev, RECORD_PUBLIC, &w);
	rpc_reply_end(d->rpc, req->token, w.err == 0);
out:
	arena_release(&a);
}

void
op_serf_event(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct serf_event ev;
	char err[256] = "";
	int rc = op_request_decode(req->info, req->body, req->len, &o, &ev, &a);

	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
	} else if (gossipd_own(f, g, req)) {
		rc = g->lan.closed ? -ENETDOWN : serf_event(g->lan.serf, clock_ns(), ev.name, ev.payload, ev.coalesce, err);
		pool_touch(&g->lan);
		if (rc < 0)
			rpc_reply_error(d->rpc, req->token, 500, "%s", err[0] != '\0' ? err : err_text(rc));
		else
			rpc_reply_nil(d->rpc, req->token, 1);
	}
	arena_release(&a);
}
