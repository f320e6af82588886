/* gather.c - a call a daemon, and a count of those that are open. */
#include "httpd/gather.h"

#include <assert.h>

#include "httpd/respond.h"

static void
part_done(struct part *p)
{
	struct gather *g = p->gather;
	struct request *r = g->r;

	p->call = 0;
	if (--g->pending > 0)
		return;
	r->gather = NULL;
	g->done(r, g->parts, g->n);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct part *p = arg;
	struct query_meta meta;
	struct str payload;

	if (a->rc == 0 && op_reply_decode(a->body, a->len, &meta, &payload) == 0) {
		p->payload.p = arena_strdup(&p->gather->r->arena, payload);
		p->payload.len = payload.len;
		p->ok = p->payload.p != NULL;
	}
	part_done(p);
}

void
gather(struct request *r, const struct question *q, size_t n,
    void (*done)(struct request *r, const struct part *parts, size_t n_))
{
	struct gather *g = arena_alloc(&r->arena, sizeof(*g));

	assert(n > 0 && n <= GATHER_MAX);
	if (g == NULL) {
		respond_empty(r, 500);
		return;
	}
	g->r = r;
	g->n = n;
	g->done = done;
	/* One more than there are: done must not come before all are asked. */
	g->pending = 1;
	r->gather = g;
	for (size_t i = 0; i < n; i++) {
		struct part *p = &g->parts[i];

		*p = (struct part){ .op = q[i].op, .peer = q[i].peer, .gather = g };
		p->call = rpc_call_record(r->h->peers[q[i].peer].client, q[i].op, &r->opts, q[i].record, RPC_RETRY,
		    GATHER_MS, on_answer, p);
		g->pending += p->call != 0;
	}
	if (--g->pending == 0) {
		r->gather = NULL;
		done(r, g->parts, n);
	}
}

void
gather_forget(struct request *r)
{
	struct gather *g = r->gather;

	if (g == NULL)
		return;
	for (size_t i = 0; i < g->n; i++)
		if (g->parts[i].call != 0)
			rpc_cancel(r->h->peers[g->parts[i].peer].client, g->parts[i].call);
	r->gather = NULL;
}
