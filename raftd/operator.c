/*
 * operator.c - what administrators see and change of the servers: the
 * configuration of Raft, taking a server out of it, handing the leadership
 * over.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raftd/raftd.h"

#define SUB "agent.server"

/* A request that is answered, or carried out elsewhere, when something else has happened. */
struct pending {
	struct raftd *r;
	struct rpc_token token;
	const struct op_info *info;
	bool forwarded;		/* by another server, whose connection may have gone */
	size_t len;
	uint8_t body[];
};

static struct pending *
put_off(struct raftd *r, const struct rpc_request *req)
{
	struct pending *p = malloc(sizeof(*p) + req->len);
	const struct net_peer *from = req->peer;

	if (p == NULL)
		return NULL;
	*p = (struct pending){ .r = r, .token = req->token, .info = req->info, .forwarded = from != NULL && from->id != 0,
		.len = req->len };
	memcpy(p->body, req->body, req->len);
	return p;
}

/* ---- raft.configuration */

static void
show_configuration(struct raftd *r, const struct rpc_request *req)
{
	const struct raft *core = &r->engine.core;
	const uint64_t contact = engine_last_contact(r);
	const struct query_meta m = { .index = 1, .last_contact_ms = contact == RAFT_NEVER ? 0 : (int64_t)contact,
		.known_leader = engine_known_leader(r) };
	struct raft_server_view v[RAFT_SERVERS_MAX];
	struct raft_configuration view = { .servers = { v, 0 } };
	const struct raft_config_entry *c = configs_current(r->engine.configs, &view.index);
	const struct raft_server_info *s = c != NULL ? c->servers.v : NULL;
	struct buf *b = rpc_reply_begin(r->d->rpc, req->token);
	struct mp_w w;
	uint64_t id;

	if (b == NULL)
		return;
	for (size_t i = 0; c != NULL && i < c->servers.n; i++) {
		const struct raft_progress *p = servers_parse_id(s[i].id, &id) == 0 ? raft_progress(core, id) : NULL;

		v[view.servers.n++] = (struct raft_server_view){ .id = s[i].node_id.len > 0 ? s[i].node_id : s[i].id,
			.node = s[i].node.len > 0 ? s[i].node : STR("(unknown)"), .address = s[i].address, .leader = id == core->leader,
			.protocol_version = STR("3"), .voter = s[i].voter,
			.last_index = id == r->id ? core->trail.last : p != NULL ? p->match : 0 };
	}
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	record_encode(&rec_raft_configuration, &view, RECORD_PUBLIC, &w);
	rpc_reply_end(r->d->rpc, req->token, w.err == 0);
}

/* ---- raft.remove_peer */

/* By the node's ID, which is what people see, else by the data directory's. */
static const struct raft_server_info *
find(const struct raft_config_entry *c, const struct raft_peer_request *q)
{
	const struct raft_server_info *s;
	uint64_t id;

	if (q->address.len > 0)
		return servers_find_address(c, q->address);
	s = servers_find_node(c, q->id);
	return s == NULL && servers_parse_id(q->id, &id) == 0 ? servers_find(c, id) : s;
}

static void
not_found(struct raftd *r, const struct rpc_request *req, const struct raft_peer_request *q)
{
	struct str what = q->address.len > 0 ? q->address : q->id;

	rpc_reply_error(r->d->rpc, req->token, 500, "%s \"%.*s\" was not found in the Raft configuration",
	    q->address.len > 0 ? "address" : "id", STR_ARG(what));
}

static void
on_removed(void *arg, int rc)
{
	struct pending *p = arg;

	if (rc == 0)
		rpc_reply_nil(p->r->d->rpc, p->token, 1);
	else
		rpc_reply_error(p->r->d->rpc, p->token, 500, "leadership was lost before the change of the servers was committed; "
		    "whether it took place is unknown");
	free(p);
}

/* The next leader takes us out. */
static void
on_handed_over(void *arg, int rc)
{
	struct pending *p = arg;
	const struct rpc_request req = { .token = p->token, .info = p->info, .body = p->body, .len = p->len };

	if (rc == 0 && p->forwarded)
		rpc_reply_error(p->r->d->rpc, p->token, RPC_NOT_LEADER, "Not the leader");
	else if (rc == 0)
		forward_leader(p->r, &req);
	else
		rpc_reply_error(p->r->d->rpc, p->token, 500, "this server leads, and no other one could take over: %s", err_text(rc));
	free(p);
}

static int
propose_without(struct raftd *r, const struct raft_config_entry *c, const struct raft_server_info *s, struct pending *p)
{
	struct servers_changed next;
	int rc = servers_change(c, s, NULL, &next);

	return rc == 0 ? engine_propose_servers(r, &next.config, on_removed, p) : rc;
}

static void
remove_server(struct raftd *r, const struct rpc_request *req, const struct raft_config_entry *c, const struct raft_server_info *s)
{
	struct rpc_server *rpc = r->d->rpc;
	struct pending *p;
	uint64_t id = 0;
	int rc = servers_parse_id(s->id, &id);

	if (s->voter && !autopilot_may_remove(r, id)) {
		rpc_reply_error(rpc, req->token, 500, "removing %.*s would leave %s: nothing was changed", STR_ARG(s->address),
		    raft_servers(&r->engine.core)->n == 1 ? "no server" : "too few voters that can be reached for a quorum");
		return;
	}
	p = put_off(r, req);
	if (p == NULL)
		rc = -ENOMEM;
	else if (id == r->id)
		rc = engine_transfer(r, 0, on_handed_over, p);
	else
		rc = propose_without(r, c, s, p);
	if (rc == 0) {
		log_info(SUB, "removing server: node=%.*s address=%.*s", STR_ARG(s->node), STR_ARG(s->address));
		return;
	}
	free(p);
	rpc_reply_error(rpc, req->token, 500, "%s", rc == -RAFT_ECHANGING ? "another change of the servers is under way: try again" :
	    rc == -RAFT_ENOTLEADER ? "Not the leader" : err_text(rc));
}

/* ---- raft.transfer */

static void
on_transferred(void *arg, int rc)
{
	struct pending *p = arg;

	if (rc == 0)
		rpc_reply_bool(p->r->d->rpc, p->token, 1, true);
	else
		rpc_reply_error(p->r->d->rpc, p->token, 500, "leadership transfer failed: %s", err_text(rc));
	free(p);
}

static void
transfer(struct raftd *r, const struct rpc_request *req, const struct raft_server_info *s)
{
	struct pending *p;
	uint64_t id = 0;
	int rc = s != NULL ? servers_parse_id(s->id, &id) : 0;

	if (s != NULL && !s->voter) {
		rpc_reply_error(r->d->rpc, req->token, 500, "%.*s has no vote and cannot lead", STR_ARG(s->address));
		return;
	}
	if (id == r->id) {
		rpc_reply_bool(r->d->rpc, req->token, 1, true);
		return;
	}
	p = put_off(r, req);
	if (p == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = engine_transfer(r, id, on_transferred, p);
	if (rc == 0)
		return;
	free(p);
	rpc_reply_error(r->d->rpc, req->token, 500, "leadership transfer failed: %s",
	    rc == -EINVAL ? "there is no other server to hand over to" : rc == -RAFT_ENOTLEADER ? "Not the leader" : err_text(rc));
}

/* ---- */

static void
serve_change(struct raftd *r, const struct rpc_request *req, const struct raft_peer_request *q)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *s = NULL;
	bool removal = req->info->number == OP_RAFT_REMOVE_PEER;

	if (removal && q->id.len == 0 && q->address.len == 0) {
		rpc_reply_error(r->d->rpc, req->token, 400,
		    "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove");
		return;
	}
	if (removal && q->id.len > 0 && q->address.len > 0) {
		rpc_reply_error(r->d->rpc, req->token, 400, "Bad request: Must specify only one of ?id or ?address");
		return;
	}
	if (q->id.len > 0 || q->address.len > 0) {
		s = find(c, q);
		if (s == NULL) {
			not_found(r, req, q);
			return;
		}
	}
	if (removal)
		remove_server(r, req, c, s);
	else
		transfer(r, req, s);
}

/* A server that leaves: its own raftd has asked whether it may, or does so now. */
static bool
takes_itself_out(const struct raftd *r, const struct rpc_request *req, const struct raft_peer_request *q)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	const struct net_peer *from = req->peer;
	const struct raft_server_info *s;
	uint64_t id = 0;

	if (req->info->number != OP_RAFT_REMOVE_PEER || q->id.len == 0)
		return false;
	if (from == NULL)
		return str_eqs(q->id, r->node_id);
	s = from->id != 0 && c != NULL ? servers_find_node(c, q->id) : NULL;
	return s != NULL && servers_parse_id(s->id, &id) == 0 && id == from->id;
}

/* Whoever may make the agent leave may; the agent itself, which asks on nobody's behalf, has seen to that. */
static bool
may_take_out(struct raftd *r, const struct rpc_request *req, const struct query_options *o)
{
	struct asker who;

	if (req->peer != NULL || o->internal)
		return true;
	if (!acl_who(r, req, o->token, &who))
		return false;
	return asker_may(&who, ACL_AGENT, str_from(r->node_name), ACL_WRITE) ||
	    acl_require(r, req, o->token, ACL_OPERATOR, STR(""), ACL_WRITE);
}

void
operator_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct raft_peer_request q = { .id = STR_NONE };
	struct query_options o;
	bool own = false;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, req->info->request != NULL ? &q : NULL, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (req->info->number == OP_RAFT_REMOVE_PEER && req->peer == NULL && q.id.len > 0 && str_eqs(q.id, r->node_id))
		join_leaving(r);
	if (takes_itself_out(r, req, &q)) {
		if (!may_take_out(r, req, &o))
			return;
		own = true;
	}
	/* Like Consul's: what this server knows with stale, else what the leader knows. */
	if (!engine_leads(r) && !(req->info->number == OP_RAFT_CONFIGURATION && o.consistency == CONSISTENCY_STALE)) {
		forward_leader(r, req);
		return;
	}
	if (!own && !acl_require(r, req, o.token, ACL_OPERATOR, STR(""),
	    req->info->number == OP_RAFT_CONFIGURATION ? ACL_READ : ACL_WRITE))
		return;
	if (req->info->number == OP_RAFT_CONFIGURATION)
		show_configuration(r, req);
	else
		serve_change(r, req, &q);
}
