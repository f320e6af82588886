/* ops.c - the operations about members. */
#include <stdlib.h>

#include "gossipd/join.h"
#include "gossipd/keyring_op.h"

enum { MEMBER_ARENA_MAX = 64 * 1024 };

static struct pool *
pool_of(struct gossipd *g, bool wan)
{
	return wan ? &g->wan : &g->lan;
}

/* A pool that is not there never changes. */
static uint64_t
index_of(struct gossipd *g, bool wan)
{
	return wan && !g->has_wan ? 1 : pool_of(g, wan)->index;
}

/* ---- members */

/* Whether somebody of the pool is hidden from the asker; asks for all of them. */
static bool
members_hidden(struct pool *p, struct acl_facts *f)
{
	bool hidden = false;
	struct serf_member m;
	size_t at = 0;

	while (!acl_open(f) && serf_each(p->serf, &at, &m))
		if (!acl_may(f, "node", swim_node_name(m.node), "read"))
			hidden = true;
	return hidden;
}

static int
put_members(struct pool *p, struct acl_facts *f, struct mp_w *w)
{
	struct arena a = ARENA_INIT(MEMBER_ARENA_MAX);
	size_t at = 0, list = mp_w_array_hold(w);
	struct serf_member m;
	uint32_t n = 0;
	int rc = 0;

	while (rc == 0 && serf_each(p->serf, &at, &m)) {
		struct member out;

		if (!acl_may(f, "node", swim_node_name(m.node), "read"))
			continue;
		rc = pool_member(&m, &a, &out);
		if (rc == 0) {
			record_encode(&rec_member, &out, RECORD_PUBLIC, w);
			n++;
		}
		arena_reset(&a);
	}
	mp_w_array_patch(w, list, n);
	arena_release(&a);
	return rc;
}

static void
answer_members(struct gossipd *g, struct rpc_token token, bool wan, struct acl_facts *f, bool hidden)
{
	struct query_meta meta = { .index = index_of(g, wan), .known_leader = true, .filtered = acl_filtered(f, hidden) };
	struct buf *out = rpc_reply_begin(g->d->rpc, token);
	struct mp_w w;
	int rc = 0;

	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	if (wan && !g->has_wan)
		mp_w_array(&w, 0);
	else
		rc = put_members(pool_of(g, wan), f, &w);
	rpc_reply_end(g->d->rpc, token, rc == 0 && w.err == 0);
}

static void
watch_free(struct watch *x)
{
	acl_kept_release(&x->kept);
	free(x);
}

static acl_handler op_members;

static void
on_wake(struct defer *d)
{
	struct gossipd *g = (struct gossipd *)((char *)d - offsetof(struct gossipd, wake));
	struct watch **at = &g->watches, *x;

	while ((x = *at) != NULL) {
		if (index_of(g, x->wan) == x->min_index) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		g->nwatches--;
		acl_gate_serve(g->gate, g->d->rpc, g->d, &x->kept.req, op_members);
		watch_free(x);
	}
}

void
gossipd_changed(struct gossipd *g)
{
	g->wake.cb = on_wake;
	loop_defer(&g->d->loop, DEFER_WORK, &g->wake);
}

/* Remember a watch until its index is passed. */
static void
park(struct gossipd *g, const struct rpc_request *req, uint64_t min_index, bool wan)
{
	struct watch *x = g->nwatches < WATCHES_MAX ? calloc(1, sizeof(*x)) : NULL;

	if (x == NULL || acl_keep(&x->kept, req) < 0) {
		free(x);
		rpc_reply_error(g->d->rpc, req->token, 500, "too many watches of the members");
		return;
	}
	x->next = g->watches;
	x->min_index = min_index;
	x->wan = wan;
	g->watches = x;
	g->nwatches++;
}

static void
op_members(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct member_query q;
	bool wan = false, hidden = false;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);
	if (rc == 0)
		wan = q.wan;
	arena_release(&a);
	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
		return;
	}
	if (!wan || g->has_wan)
		hidden = members_hidden(pool_of(g, wan), f);
	if (acl_pending(f))
		return;
	/*
	 * Only the current index is worth waiting for: a higher one was given
	 * by an earlier life of this daemon, whose members may have been others.
	 */
	if (o.min_index == index_of(g, wan))
		park(g, req, o.min_index, wan);
	else
		answer_members(g, req->token, wan, f, hidden);
}

/* How many there are is no secret. */
static void
op_size(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct query_meta meta = { .index = g->lan.index, .known_leader = true };
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct buf *out;
	struct mp_w w;
	int rc = op_request_decode(req->info, req->body, req->len, &o, NULL, &a);

	arena_release(&a);
	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
		return;
	}
	out = acl_pending(f) ? NULL : rpc_reply_begin(d->rpc, req->token);
	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	mp_w_uint(&w, serf_count(g->lan.serf, SERF_ALIVE));
	rpc_reply_end(d->rpc, req->token, w.err == 0);
}

/* ---- coming and going */

bool
gossipd_permitted(struct acl_facts *f, bool may)
{
	if (acl_pending(f))
		return false;
	if (!may)
		acl_refuse(f);
	return may;
}

bool
gossipd_own(struct acl_facts *f, struct gossipd *g, const struct rpc_request *req)
{
	if (acl_pending(f))
		return false;
	if (!acl_open(f))
		rpc_reply_error(g->d->rpc, req->token, 403, "Permission denied: only the daemons of this node may ask for this");
	return acl_open(f);
}

static void
op_join(void *ctx, const struct rpc_request *req, struct acl_facts *f)
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
	else if (!gossipd_permitted(f, acl_may(f, "agent", g->lan.self.name, "write")))
		goto out;
	else if (q.wan && !g->has_wan)
		rpc_reply_error(d->rpc, req->token, 500, "WAN federation disabled");
	else if (pool_of(g, q.wan)->closed || serf_own_status(pool_of(g, q.wan)->serf) != SERF_ALIVE)
		rpc_reply_error(d->rpc, req->token, 500, "this node is leaving, or has left");
	else
		join_start(g, req->token, &q);
out:
	arena_release(&a);
}

static bool
has_left(const struct pool *p)
{
	return !p->on || serf_own_status(p->serf) == SERF_LEFT;
}

void
gossipd_left(struct gossipd *g)
{
	if (!has_left(&g->lan) || !has_left(&g->wan))
		return;
	while (g->nleavers > 0)
		rpc_reply_nil(g->d->rpc, g->leavers[--g->nleavers], g->lan.index);
	keyring_ops_end(g);
	/* The last packets leave with this turn. */
	pool_shut(&g->lan);
	if (g->has_wan)
		pool_shut(&g->wan);
}

static void
leave_pool(struct pool *p)
{
	int rc;

	if (has_left(p) || serf_own_status(p->serf) == SERF_LEAVING)
		return;
	log_info(p->log, "serf: leaving the pool");
	rc = serf_leave(p->serf, clock_ns());
	if (rc < 0 && rc != -EALREADY)
		log_err(p->log, "serf: leaving is not told to the others: error=\"%s\"", err_text(rc));
	pool_touch(p);
}

static void
op_leave(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;

	if (!gossipd_own(f, g, req))
		return;
	if (g->nleavers == LEAVERS_MAX) {
		rpc_reply_error(d->rpc, req->token, 500, "too many wait for the leave already");
		return;
	}
	g->leavers[g->nleavers++] = req->token;
	leave_pool(&g->lan);
	leave_pool(&g->wan);
	gossipd_left(g);
}

/* Its member of this pool; false when there is none. Members that are alive would refute it: they are left alone. */
static int
force_leave(struct pool *p, struct str name, bool prune)
{
	struct serf_member m;
	int rc;

	if (!p->on || !pool_find(p, name, &m))
		return -ENOENT;
	if (m.status == SERF_ALIVE)
		return 0;
	rc = serf_force_leave(p->serf, clock_ns(), swim_node_name(m.node), prune);
	pool_touch(p);
	return rc;
}

static int
force_leave_all(struct gossipd *g, const struct force_leave_request *q, struct arena *a)
{
	const char *wan_name;
	int lan, wan;

	lan = q->wan ? -ENOENT : force_leave(&g->lan, q->node, q->prune);
	wan_name = lan == -ENOENT ? arena_strdup(a, q->node) : arena_printf(a, "%.*s.%.*s", STR_ARG(q->node), STR_ARG(g->lan.self.dc));
	if (wan_name == NULL)
		return -ENOMEM;
	wan = force_leave(&g->wan, str_from(wan_name), q->prune);
	return lan == -ENOENT ? wan : lan;
}

static void
op_force_leave(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct force_leave_request q;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);
	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
	} else if (gossipd_permitted(f, acl_may(f, "operator", STR(""), "write"))) {
		log_info("agent", "Force leaving node: node=%.*s", q.node.len > 80 ? 80 : (int)q.node.len, q.node.p != NULL ? q.node.p : "");
		rc = force_leave_all(g, &q, &a);
		if (rc == -ENOENT)
			rpc_reply_error(d->rpc, req->token, 500, "agent: No node found with name '%.*s'", STR_ARG(q.node));
		else if (rc < 0)
			rpc_reply_error(d->rpc, req->token, 500, "%s", err_text(rc));
		else
			rpc_reply_nil(d->rpc, req->token, g->lan.index);
	}
	arena_release(&a);
}

/* ---- coordinates */

static void
put_coordinate(struct mp_w *w, struct str node, const struct coord *c)
{
	struct coordinate_axis axes[COORD_DIMENSIONS];
	struct coordinate_entry e = {
		.node = node, .segment = STR(""),
		.coord = { .vec = { axes, COORD_DIMENSIONS }, .error = c->error, .adjustment = c->adjustment, .height = c->height },
	};

	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		axes[i].v = c->vec[i];
	record_encode(&rec_coordinate_entry, &e, RECORD_PUBLIC, w);
}

static void
put_coordinates(struct pool *p, bool own, struct acl_facts *f, struct mp_w *w)
{
	size_t list = mp_w_array_hold(w), at = 0;
	struct serf_member m;
	struct coord c;
	uint32_t n = 1;

	put_coordinate(w, p->self.name, serf_coordinate(p->serf));
	while (!own && serf_each(p->serf, &at, &m)) {
		struct str name = swim_node_name(m.node);

		if (str_eq(name, p->self.name) || !serf_coordinate_of(p->serf, name, &c) || !acl_may(f, "node", name, "read"))
			continue;
		put_coordinate(w, name, &c);
		n++;
	}
	mp_w_array_patch(w, list, n);
}

static void
op_coordinates(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct query_options o;
	struct member_query q;
	struct buf *out;
	struct mp_w w;
	int rc;

	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);
	arena_release(&a);
	if (rc < 0) {
		rpc_bad_request(d->rpc, req, err_text(rc));
		return;
	}
	if (!q.own && (!q.wan || g->has_wan))
		(void)members_hidden(pool_of(g, q.wan), f);
	out = acl_pending(f) ? NULL : rpc_reply_begin(d->rpc, req->token);
	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	if ((q.wan && !g->has_wan) || cfg_bool(g->started_with, "disable_coordinates", false))
		mp_w_array(&w, 0);
	else
		put_coordinates(pool_of(g, q.wan), q.own, f, &w);
	rpc_reply_end(d->rpc, req->token, w.err == 0);
}

/* ---- requests that nobody waits for any more */

static void
cancel_leaver(struct gossipd *g, struct rpc_token token)
{
	for (size_t i = 0; i < g->nleavers; i++)
		if (g->leavers[i].conn == token.conn && g->leavers[i].id == token.id) {
			g->leavers[i] = g->leavers[--g->nleavers];
			return;
		}
}

static void
cancel_watch(struct gossipd *g, struct rpc_token token)
{
	for (struct watch **at = &g->watches; *at != NULL; at = &(*at)->next) {
		struct watch *x = *at;

		if (x->kept.req.token.conn == token.conn && x->kept.req.token.id == token.id) {
			*at = x->next;
			g->nwatches--;
			watch_free(x);
			return;
		}
	}
}

void
gossipd_cancelled(void *ctx, struct rpc_token token)
{
	struct daemon *d = ctx;
	struct gossipd *g = d->ctx;

	/* At the very end connections close when the state has gone, and with it whatever waited. */
	if (g == NULL || acl_gate_cancelled(g->gate, token))
		return;
	if (token.op == OP_GOSSIP_JOIN)
		join_cancel(g, token);
	else if (token.op == OP_GOSSIP_EVENT_LIST)
		event_watch_cancel(&g->events, token);
	else if (token.op == OP_GOSSIP_LEAVE)
		cancel_leaver(g, token);
	else
		cancel_watch(g, token);
}

void
ops_release(struct gossipd *g)
{
	struct watch *x;

	while ((x = g->watches) != NULL) {
		g->watches = x->next;
		watch_free(x);
	}
}

static const struct {
	uint16_t op;
	acl_handler *serve;
} served[] = {
	{ OP_GOSSIP_MEMBERS, op_members },
	{ OP_GOSSIP_JOIN, op_join },
	{ OP_GOSSIP_LEAVE, op_leave },
	{ OP_GOSSIP_FORCE_LEAVE, op_force_leave },
	{ OP_GOSSIP_EVENT_FIRE, op_event_fire },
	{ OP_GOSSIP_EVENT_LIST, op_event_list },
	{ OP_GOSSIP_KEYRING, op_keyring },
	{ OP_GOSSIP_COORDINATES, op_coordinates },
	{ OP_GOSSIP_SERF_EVENT, op_serf_event },
	{ OP_GOSSIP_SIZE, op_size },
};

/* Every operation goes through the gate. */
static void
serve(void *ctx, const struct rpc_request *req)
{
	struct gossipd *g = ((struct daemon *)ctx)->ctx;

	for (size_t i = 0; i < ARRAY_LEN(served); i++)
		if (served[i].op == req->info->number)
			acl_gate_serve(g->gate, g->d->rpc, ctx, req, served[i].serve);
}

const struct rpc_route gossipd_routes[] = {
	{ OP_GOSSIP_MEMBERS, serve }, { OP_GOSSIP_JOIN, serve }, { OP_GOSSIP_LEAVE, serve }, { OP_GOSSIP_FORCE_LEAVE, serve },
	{ OP_GOSSIP_EVENT_FIRE, serve }, { OP_GOSSIP_EVENT_LIST, serve }, { OP_GOSSIP_KEYRING, serve }, { OP_GOSSIP_COORDINATES, serve },
	{ OP_GOSSIP_SERF_EVENT, serve }, { OP_GOSSIP_SIZE, serve },
};
const size_t gossipd_nroutes = ARRAY_LEN(gossipd_routes);
