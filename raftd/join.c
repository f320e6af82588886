/*
 * join.c - belonging to a cluster: a server that is in no configuration asks
 * whoever may be a server; the leader takes it in, without a vote.
 *
 * A server that stands in a configuration needs no join; when it has heard of
 * no leader for long (it was removed while it was away, or all addresses
 * have changed, its own perhaps) it asks again. Who asks is known by the id of
 * its data directory. One whose id is unknown while its node ID or address
 * stands in the configuration was wiped: the old entry, and with it the vote
 * that it cannot remember, is taken out first. A vote comes back only with
 * autopilot's promotion.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "raftd/join.h"

#define SUB "agent.server"

static const char joined_member[] = "member", joined_joining[] = "joining", joined_elsewhere[] = "ask the leader",
    joined_no_leader[] = "no leader", joined_empty[] = "not bootstrapped";

/* ---- the leader takes servers in */

static int
propose_change(struct raftd *r, const struct raft_config_entry *c, const struct raft_server_info *drop,
    const struct raft_server_info *put)
{
	struct servers_changed next;
	int rc = servers_change(c, drop, put, &next);

	return rc == 0 ? engine_propose_servers(r, &next.config, NULL, NULL) : rc;
}

static bool
same_info(const struct raft_server_info *a, const struct raft_server_info *b)
{
	return str_eq(a->node_id, b->node_id) && str_eq(a->node, b->node) && str_eq(a->address, b->address) &&
	    str_eq(a->version, b->version);
}

static bool
alive(struct raftd *r, const struct raft_server_info *s)
{
	const struct raft_progress *p;
	uint64_t id;

	if (servers_parse_id(s->id, &id) < 0)
		return false;
	p = raft_progress(&r->engine.core, id);
	return id == r->id || (p != NULL && p->heard_ms != 0 && clock_ms() - p->heard_ms < JOIN_ALIVE_MS);
}

/* What stands in the way of a new server: an entry of its node ID or address. */
static const struct raft_server_info *
former(const struct raft_config_entry *c, const struct raft_server_info *s)
{
	const struct raft_server_info *old = servers_find_node(c, s->node_id);

	return old != NULL ? old : servers_find_address(c, s->address);
}

/* Negative with a sentence; else *ret_status. */
static int
admit(struct raftd *r, const struct raft_config_entry *c, const struct raft_server_info *s, const char **ret_status, char err[256])
{
	struct raft_server_info put = *s;
	const struct raft_server_info *known = NULL, *old;
	uint64_t id;
	int rc = servers_parse_id(s->id, &id);

	if (rc == 0)
		known = servers_find(c, id);
	*ret_status = known != NULL && same_info(known, s) ? joined_member : joined_joining;
	if (rc < 0 || *ret_status == joined_member)
		return rc;
	old = known == NULL ? former(c, s) : NULL;
	/* Nor can a server be in two places. */
	if ((old != NULL && alive(r, old)) || (known != NULL && !str_eq(known->address, s->address) && alive(r, known))) {
		old = old != NULL ? old : known;
		(void)snprintf(err, 256, "the id, node ID or address belongs to server %.*s at %.*s, which is alive", STR_ARG(old->id),
		    STR_ARG(old->address));
		return -EBUSY;
	}
	/* Autopilot would take it out at once. When it comes back gossip will tell. */
	if (known == NULL && pool_status(r, s) == MEMBER_LEFT) {
		(void)snprintf(err, 256, "the node of the server has left the pool");
		return -EBUSY;
	}
	put.voter = known != NULL && known->voter;
	rc = propose_change(r, c, old, old != NULL ? NULL : &put);
	if (rc == 0)
		log_info(SUB, "%s: node=%.*s id=%.*s address=%.*s", old != NULL ? "removing the server that this one was before" :
		    known != NULL ? "a server has changed" : "adding server", STR_ARG(s->node), STR_ARG(s->id), STR_ARG(s->address));
	if (rc < 0)
		(void)snprintf(err, 256, "the configuration cannot take the server: %s", rc == -ELIMIT ? "it is full" : err_text(rc));
	return rc == -RAFT_ECHANGING ? 0 : rc;
}

/* Our own address may be another one since the last start; and what a recovery has put in place is to stand in the log. */
static void
tell_own_change(struct raftd *r)
{
	uint64_t index;
	const struct raft_config_entry *c = configs_current(r->engine.configs, &index);
	const struct raft_server_info *known = servers_find(c, r->id);
	struct raft_server_info own = servers_own(r);

	if (known == NULL || (same_info(known, &own) && !servers_replaced(index)))
		return;
	own.voter = known->voter;
	if (propose_change(r, c, NULL, &own) == 0)
		log_info(SUB, "%s: node=%s address=%s", servers_replaced(index) ? "writing the recovered configuration into the log" :
		    "a server has changed", r->node_name, r->address);
}

/* ---- answering who asks */

/* Who waits like us is asked too, and told to others. */
static void
learn(struct join *j, const struct raft_server_info *s, uint64_t now)
{
	(void)target_add(j, s->address, now + JOIN_LEARNED_MS);
}

static void
answer(struct join *j, const struct rpc_request *req, const char *status, struct str leader)
{
	const struct query_meta m = { .index = 1, .known_leader = leader.len > 0 };
	const struct raft_config_entry *c = configs_current(j->r->engine.configs, NULL);
	struct raft_server_info v[JOIN_TARGETS_MAX + 1];
	struct peer_joined reply = { str_from(status), str_from(j->r->cluster), leader, { v, 1 } };
	struct buf *b = rpc_reply_begin(j->r->d->rpc, req->token);
	struct mp_w w;

	if (b == NULL)
		return;
	/* We stand first; among those that wait a vote says that they expect to be asked. */
	v[0] = servers_own(j->r);
	v[0].voter = status == joined_empty && j->r->expect > 1;
	if (c != NULL)
		reply.servers = c->servers;
	for (size_t i = 0; c == NULL && i < j->ntargets; i++)
		if (j->targets[i]->info != NULL && !j->targets[i]->own)
			v[reply.servers.n++] = *j->targets[i]->info;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	record_encode(&rec_peer_joined, &reply, RECORD_WHOLE, &w);
	rpc_reply_end(j->r->d->rpc, req->token, w.err == 0);
}

static void
serve_join(struct join *j, const struct rpc_request *req, const struct raft_server_info *s)
{
	struct raftd *r = j->r;
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *leader = servers_find(c, r->engine.core.leader), own = servers_own(r);
	const char *status = joined_no_leader;
	char err[256];
	int rc = 0;

	if (str_eq(s->id, own.id)) {
		answer(j, req, c == NULL ? joined_empty : joined_member, STR_NONE);
		return;
	}
	if (join_empty(r)) {
		learn(j, s, clock_ms());
		status = joined_empty;
	} else if (engine_leads(r)) {
		rc = admit(r, c, s, &status, err);
	} else if (leader != NULL && r->engine.core.leader != r->id) {
		status = joined_elsewhere;
	}
	if (rc < 0) {
		log_warn(SUB, "a server cannot join: node=\"%.*s\" address=%.*s error=\"%s\"", STR_ARG(s->node), STR_ARG(s->address), err);
		rpc_reply_error(r->d->rpc, req->token, 409, "%s", err);
	} else {
		answer(j, req, status, leader != NULL ? leader->address : STR_NONE);
	}
}

void
join_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct raft_server_info s;
	struct query_options o;
	char err[256];
	int rc;

	if (!r->server || r->join == NULL) {
		rpc_reply_error(r->d->rpc, req->token, 400, "This node is not a server");
		return;
	}
	if (req->info->number == OP_PEER_BOOTSTRAP) {
		bootstrap_handle(r->join, req);
		return;
	}
	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, &s, &r->arena);
	if (rc < 0)
		rpc_bad_request(r->d->rpc, req, err_text(rc));
	else if (servers_check_one(&s, err) < 0)
		rpc_reply_error(r->d->rpc, req->token, 400, "%s", err);
	else
		serve_join(r->join, req, &s);
}

/* ---- asking */

static void
note_answer(struct join *j, struct target *t, const struct peer_joined *p, uint64_t now)
{
	const struct raft_server_info *v = p->servers.v, own = servers_own(j->r);
	bool empty = str_eqs(p->status, joined_empty);
	char err[256];

	t->heard_ms = now;
	free(t->info);
	t->info = NULL;
	t->own = empty && p->servers.n > 0 && str_eq(v[0].id, own.id);
	(void)snprintf(t->cluster, sizeof(t->cluster), "%.*s", p->cluster.len == 16 ? 16 : 0, p->cluster.len == 16 ? p->cluster.p : "");
	for (size_t i = 0; i < p->servers.n; i++) {
		if (servers_check_one(&v[i], err) < 0)
			continue;
		if (i == 0 && empty && t->cluster[0] == 0)
			t->info = record_dup(&rec_raft_server, &v[i]);
		if (!str_eq(v[i].id, own.id))
			learn(j, &v[i], now);
	}
	if (p->leader.len > 0) {
		struct target *leader = target_add(j, p->leader, now + JOIN_LEARNED_MS);

		if (leader != NULL && leader != t && leader->heard_ms == 0)
			leader->next_ms = 0;
	}
}

static void
on_joined(void *arg, const struct rpc_answer *a)
{
	struct target *t = arg;
	struct join *j = t->j;
	struct arena arena = ARENA_INIT(256 * KiB);
	struct rpc_error e = { 500, str_from(err_text(a->rc)) };
	uint64_t now = clock_ms(), wait = JOIN_ASK_MS;
	struct query_meta meta;
	struct peer_joined p;
	struct str payload = STR_NONE;
	struct mp_r in;
	int rc = a->rc;

	t->call = 0;
	if (rc == 0)
		rc = op_reply_decode(a->body, a->len, &meta, &payload);
	in = mp_r_init(payload.p, payload.len);
	if (rc == 0)
		rc = record_decode(&rec_peer_joined, &in, &p, &arena);
	t->refused = rc == -EPROTO;
	if (rc == 0) {
		t->failures = 0;
		note_answer(j, t, &p, now);
	} else {
		/* A refusal is an answer: the reason may be over soon. */
		t->failures = rc == -EPROTO ? 0 : t->failures + 1;
		if (rc == -EPROTO)
			rpc_error_decode(a, &e);
		log_debug(SUB, "cannot join: address=%s error=\"%.*s\"", t->address, STR_ARG(e.text));
		for (unsigned i = 1; i < t->failures && wait < JOIN_ASK_MAX_MS; i++)
			wait *= 2;
	}
	/* A quarter more or less, so that servers started together do not stay in step. */
	t->next_ms = now + wait * 3 / 4 + randombytes_uniform((uint32_t)(wait / 2));
	arena_release(&arena);
}

static void
ask(struct join *j, struct target *t, uint64_t now)
{
	struct raft_server_info own = servers_own(j->r);

	if (t->call != 0 || t->next_ms > now)
		return;
	if (t->client == NULL)
		t->client = net_client(j->r, t->address, "join");
	own.voter = join_empty(j->r) && j->r->expect > 1;
	if (t->client != NULL)
		t->call = rpc_call_record(t->client, OP_PEER_JOIN, NULL, &own, 0, JOIN_CALL_MS, on_joined, t);
	if (t->call == 0)
		t->next_ms = now + JOIN_ASK_MS;
}

/* Whether we should ask now. */
static bool
lost(struct join *j, uint64_t now)
{
	const struct raft *core = &j->r->engine.core;

	if (core->leader != 0 || core->role == RAFT_LEADER)
		j->leaderless_ms = 0;
	else if (j->leaderless_ms == 0)
		j->leaderless_ms = now;
	if (j->leaving_ms != 0 && now - j->leaving_ms < JOIN_LEAVING_MS)
		return false;
	if (!j->inside)
		return j->removed_ms == 0 || now - j->removed_ms >= JOIN_REMOVED_MS;
	return j->leaderless_ms != 0 && now - j->leaderless_ms >= JOIN_LOST_MS;
}

/* The servers of the configuration that is known may have an answer too. */
static void
begin_asking(struct join *j, uint64_t now)
{
	const struct raft_config_entry *c = configs_current(j->r->engine.configs, NULL);
	const struct raft_server_info *v = c != NULL ? c->servers.v : NULL;

	if (j->inside)
		log_warn(SUB, "no leader was heard of for long, asking the servers that are known");
	for (size_t i = 0; c != NULL && i < c->servers.n; i++)
		if (!str_eqs(v[i].address, j->r->address))
			learn(j, &v[i], now);
}

static void
ask_all(struct join *j, uint64_t now)
{
	targets_of_pool(j, now);
	targets_expire(j, now);
	for (size_t i = 0; i < j->ntargets; i++)
		if (!str_eqs(str_from(j->targets[i]->address), j->r->address))
			ask(j, j->targets[i], now);
	bootstrap_tick(j, now);
}

static void
on_timer(uv_timer_t *t)
{
	struct join *j = t->data;
	const struct raft_config_entry *c = configs_current(j->r->engine.configs, NULL);
	uint64_t now = clock_ms();
	bool ask_now;

	if (j->r->d->draining)
		return;
	if (engine_leads(j->r))
		tell_own_change(j->r);
	ask_now = lost(j, now);
	if (ask_now && !j->asking)
		begin_asking(j, now);
	else if (!ask_now && j->asking)
		targets_rest(j);
	j->asking = ask_now;
	if (ask_now)
		ask_all(j, now);
	/* A server alone has nobody to look after. */
	if (!ask_now && engine_leads(j->r) && c != NULL && c->servers.n == 1)
		(void)uv_timer_stop(t);
	else
		(void)uv_timer_start(t, on_timer, ask_now ? JOIN_TICK_MS : JOIN_ASK_MS, 0);
}

/* ---- what others tell */

static void
look_again(struct join *j)
{
	if (j != NULL && j->timer.timer_cb != NULL && !j->r->d->draining)
		(void)uv_timer_start(&j->timer, on_timer, JOIN_TICK_MS, 0);
}

void
join_role_changed(struct raftd *r)
{
	look_again(r->join);
}

void
join_config_changed(struct raftd *r)
{
	struct join *j = r->join;
	bool inside = servers_find(configs_current(r->engine.configs, NULL), r->id) != NULL;

	if (j == NULL)
		return;
	if (j->inside && !inside) {
		log_warn(SUB, "this server is no longer in the cluster's configuration");
		j->removed_ms = clock_ms();
	}
	j->inside = inside;
	look_again(j);
}

void
join_leaving(struct raftd *r)
{
	r->join->leaving_ms = clock_ms();
}

/* Whom to ask has changed. */
void
join_pool_changed(struct raftd *r)
{
	if (r->join->asking)
		(void)uv_timer_start(&r->join->timer, on_timer, 0, 0);
}

/* ---- start and end */

int
join_init(struct raftd *r)
{
	struct join *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return -ENOMEM;
	j->r = r;
	r->join = j;
	(void)uv_timer_init(&r->d->loop.uv, &j->timer);
	j->timer.data = j;
	return 0;
}

void
join_start(struct raftd *r)
{
	struct join *j = r->join;

	j->inside = servers_find(configs_current(r->engine.configs, NULL), r->id) != NULL;
	if (join_empty(r) && r->bootstrap)
		bootstrap_alone(r);
	(void)uv_timer_start(&j->timer, on_timer, 0, 0);
}

static void
free_join(uv_handle_t *h)
{
	free(h->data);
}

void
join_release(struct raftd *r)
{
	struct join *j = r->join;

	if (j == NULL)
		return;
	r->join = NULL;
	uv_close((uv_handle_t *)&j->timer, free_join);
	targets_release(j);
}
