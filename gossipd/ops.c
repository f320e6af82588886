/* ops.c - the operations of gossipd. */
#include <stdlib.h>

#include "gossipd/gossipd.h"
#include "gossipd/join.h"

enum { REQUEST_ARENA_MAX = 256 * 1024 };

static const struct pool *
pool_of(const struct gossipd *g, bool wan)
{
	return wan ? &g->wan : &g->lan;
}

static void
answer_members(struct gossipd *g, struct rpc_token token, bool wan)
{
	const struct pool *p = pool_of(g, wan);
	struct query_meta meta = { .index = p->index, .known_leader = true };
	struct buf *out = rpc_reply_begin(g->d->rpc, token);
	struct mp_w w;

	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	if (wan && !g->has_wan)
		mp_w_array(&w, 0);
	else
		pool_encode(p, &w);
	rpc_reply_end(g->d->rpc, token, w.err == 0);
}

void
gossipd_wake(struct gossipd *g)
{
	struct watch **at = &g->watches, *x;

	while ((x = *at) != NULL) {
		if (pool_of(g, x->wan)->index == x->min_index) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		g->nwatches--;
		answer_members(g, x->token, x->wan);
		free(x);
	}
}

/* Remember a watch until its index is passed. */
static void
park(struct gossipd *g, struct rpc_token token, uint64_t min_index, bool wan)
{
	struct watch *x = g->nwatches < WATCHES_MAX ? malloc(sizeof(*x)) : NULL;

	if (x == NULL) {
		rpc_reply_error(g->d->rpc, token, 500, "too many watches of the members");
		return;
	}
	*x = (struct watch){ g->watches, token, min_index, wan };
	g->watches = x;
	g->nwatches++;
}

static void
op_members(void *ctx, const struct rpc_request *req)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct member_query q;
	bool wan = false;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);
	if (rc == 0)
		wan = q.wan;
	arena_release(&a);
	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
		return;
	}
	/*
	 * Only the current index is worth waiting for: a higher one was given
	 * by an earlier life of this daemon, whose members may have been others.
	 */
	if (o.min_index == pool_of(g, wan)->index)
		park(g, req->token, o.min_index, wan);
	else
		answer_members(g, req->token, wan);
}

static void
op_join(void *ctx, const struct rpc_request *req)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct join_request q;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);
	if (rc < 0)
		rpc_bad_request(d->rpc, req, err_text(rc));
	else if (q.wan && !g->has_wan)
		rpc_reply_error(d->rpc, req->token, 500, "WAN federation disabled");
	else
		join_start(g, req->token, &q);
	arena_release(&a);
}

/* Alone in the pool there is nobody to wait for: the two states follow each other at once. */
static void
op_leave(void *ctx, const struct rpc_request *req)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	static const enum member_status steps[] = { MEMBER_LEAVING, MEMBER_LEFT };

	if (g->lan.self.status == MEMBER_ALIVE)
		log_info("agent.server.serf.lan", "serf: leaving the pool");
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (g->lan.self.status < (int64_t)steps[i])
			pool_set_status(&g->lan, steps[i]);
		if (g->has_wan && g->wan.self.status < (int64_t)steps[i])
			pool_set_status(&g->wan, steps[i]);
		gossipd_wake(g);
	}
	rpc_reply_nil(d->rpc, req->token, g->lan.index);
}

static void
op_force_leave(void *ctx, const struct rpc_request *req)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct force_leave_request q;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);
	if (rc < 0)
		rpc_bad_request(d->rpc, req, err_text(rc));
	else if (!pool_knows(&g->lan, q.node) && !(g->has_wan && pool_knows(&g->wan, q.node)))
		rpc_reply_error(d->rpc, req->token, 500, "agent: No node found with name '%.*s'", STR_ARG(q.node));
	else	/* This node is alive, and would refute it. */
		rpc_reply_nil(d->rpc, req->token, g->lan.index);
	arena_release(&a);
}

void
gossipd_cancelled(void *ctx, struct rpc_token token)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;

	if (token.op == OP_GOSSIP_JOIN)
		join_cancel(g, token);
	for (struct watch **at = &g->watches; *at != NULL; at = &(*at)->next) {
		struct watch *x = *at;

		if (x->token.conn == token.conn && x->token.id == token.id) {
			*at = x->next;
			g->nwatches--;
			free(x);
			return;
		}
	}
}

const struct rpc_route gossipd_routes[] = {
	{ OP_GOSSIP_MEMBERS, op_members },
	{ OP_GOSSIP_JOIN, op_join },
	{ OP_GOSSIP_LEAVE, op_leave },
	{ OP_GOSSIP_FORCE_LEAVE, op_force_leave },
};
const size_t gossipd_nroutes = ARRAY_LEN(gossipd_routes);
