/* main.c - raftd: the replicated state of a datacenter, and the servers' consensus about it. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"
#include "raftd/recover.h"

/* Who serves what, on a server; a client node sends everything on to one. */
static rpc_handler *const handlers[] = {
	[OP_STATUS_LEADER] = status_handle, [OP_STATUS_PEERS] = status_handle, [OP_CATALOG_DATACENTERS] = status_handle,
	[OP_KV_GET] = reads_handle, [OP_KV_LIST] = reads_handle, [OP_KV_KEYS] = reads_handle, [OP_KV_CHANGES] = reads_handle,
	[OP_KV_APPLY] = propose_handle, [OP_TXN_APPLY] = propose_handle,
	[OP_SESSION_CREATE] = propose_handle, [OP_SESSION_DESTROY] = propose_handle, [OP_SESSION_RENEW] = leader_renew,
	[OP_SESSION_INFO] = reads_handle, [OP_SESSION_NODE] = reads_handle, [OP_SESSION_LIST] = reads_handle,
	[OP_CATALOG_REGISTER] = propose_handle, [OP_CATALOG_DEREGISTER] = propose_handle, [OP_CATALOG_BATCH] = propose_handle,
	[OP_CATALOG_NODES] = reads_handle, [OP_CATALOG_SERVICES] = reads_handle, [OP_CATALOG_SERVICE] = reads_handle,
	[OP_CATALOG_NODE] = reads_handle, [OP_CATALOG_NODE_SERVICES] = reads_handle,
	[OP_CATALOG_REVERSE] = reads_handle,
	[OP_HEALTH_NODE] = reads_handle, [OP_HEALTH_CHECKS] = reads_handle, [OP_HEALTH_STATE] = reads_handle,
	[OP_HEALTH_SERVICE] = reads_handle,
	[OP_UI_NODES] = reads_handle, [OP_UI_SERVICES] = reads_handle, [OP_OPERATOR_USAGE] = reads_handle,
	[OP_QUERY_APPLY] = propose_handle, [OP_QUERY_GET] = reads_handle, [OP_QUERY_LIST] = reads_handle,
	[OP_QUERY_EXECUTE] = reads_handle, [OP_QUERY_EXPLAIN] = reads_handle,
	[OP_AUTOPILOT_CONFIG] = reads_handle, [OP_AUTOPILOT_SET] = propose_handle,
	[OP_AUTOPILOT_HEALTH] = autopilot_handle, [OP_AUTOPILOT_STATE] = autopilot_handle,
	[OP_RAFT_CONFIGURATION] = operator_handle, [OP_RAFT_REMOVE_PEER] = operator_handle, [OP_RAFT_TRANSFER] = operator_handle,
	[OP_SNAPSHOT_SAVE] = snapshot_handle, [OP_SNAPSHOT_READ] = snapshot_handle, [OP_SNAPSHOT_WRITE] = snapshot_handle,
	[OP_SNAPSHOT_RESTORE] = snapshot_handle,
	[OP_COORDINATE_UPDATE] = coordinates_handle, [OP_COORDINATE_LIST] = reads_handle, [OP_COORDINATE_NODE] = reads_handle,
	[OP_COORDINATE_DATACENTERS] = wan_handle,
	[OP_ACL_BOOTSTRAP] = propose_handle, [OP_ACL_TOKEN_SET] = propose_handle, [OP_ACL_TOKEN_DELETE] = propose_handle,
	[OP_ACL_TOKEN_READ] = reads_handle, [OP_ACL_TOKEN_LIST] = reads_handle, [OP_ACL_TOKEN_REAP] = propose_handle,
	[OP_ACL_POLICY_SET] = propose_handle, [OP_ACL_POLICY_DELETE] = propose_handle, [OP_ACL_POLICY_READ] = reads_handle,
	[OP_ACL_POLICY_LIST] = reads_handle, [OP_ACL_ROLE_SET] = propose_handle, [OP_ACL_ROLE_DELETE] = propose_handle,
	[OP_ACL_ROLE_READ] = reads_handle, [OP_ACL_ROLE_LIST] = reads_handle, [OP_ACL_METHOD_SET] = propose_handle,
	[OP_ACL_METHOD_DELETE] = propose_handle, [OP_ACL_METHOD_READ] = reads_handle, [OP_ACL_METHOD_LIST] = reads_handle,
	[OP_ACL_BINDING_SET] = propose_handle, [OP_ACL_BINDING_DELETE] = propose_handle, [OP_ACL_BINDING_READ] = reads_handle,
	[OP_ACL_BINDING_LIST] = reads_handle, [OP_ACL_LOGIN] = propose_handle, [OP_ACL_LOGOUT] = propose_handle,
	[OP_ACL_REPLICATION] = reads_handle, [OP_ACL_TRANSLATE] = reads_handle,
	[OP_ACL_RESOLVE] = reads_handle, [OP_ACL_AUTHORIZE] = acl_authorize,
	[OP_PEER_RAFT] = net_handle, [OP_PEER_JOIN] = join_handle, [OP_PEER_BOOTSTRAP] = join_handle,
};

static struct raftd raftd;
static struct rpc_route routes[ARRAY_LEN(handlers)];

/* This node is leaving the pool, or has left it. */
static bool
has_left(const struct raftd *r)
{
	const struct pool_list *l = pool_members(r);
	struct str name = str_from(r->node_name);
	const struct member *m = pool_list_find(l, name);

	for (; m != NULL && m < l->v + l->n && str_eq_nocase(m->name, name); m++)
		if (str_eq(m->name, name))
			return m->status == MEMBER_LEAVING || m->status == MEMBER_LEFT;
	return false;
}

/* Whether it registers something on this node. */
static bool
batch_is_ours(const struct raftd *r, const struct catalog_batch *b)
{
	const struct batch_item *v = b->items.v;

	for (size_t i = 0; i < b->items.n; i++)
		if (v[i].reg.n > 0 && str_eq_nocase(((const struct register_request *)v[i].reg.v)->node, str_from(r->node_name)))
			return true;
	return false;
}

/*
 * A node that leaves goes on running for a while. Whatever it told the catalog
 * of itself then would bring back what the leader takes out, for ever.
 */
static bool
comes_too_late(struct raftd *r, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	union {
		struct register_request one;
		struct catalog_batch batch;
	} q;
	struct query_options o;
	bool late;

	if ((req->token.op != OP_CATALOG_REGISTER && req->token.op != OP_CATALOG_BATCH) || req->peer != NULL || !has_left(r))
		return false;
	late = op_request_decode(req->info, req->body, req->len, &o, &q, &a) == 0 &&
	    (req->token.op == OP_CATALOG_BATCH ? batch_is_ours(r, &q.batch) : str_eq_nocase(q.one.node, str_from(r->node_name)));
	arena_release(&a);
	if (late)
		rpc_reply_error(r->d->rpc, req->token, 410, "this node is leaving the cluster, or has left it");
	return late;
}

/* The ACL state is not touched while nobody's rights are looked at: anyone could make himself a token. */
static bool
acl_is_off(struct raftd *r, const struct rpc_request *req)
{
	uint16_t op = req->token.op;

	if (!r->server || acl_on(r) || op < OP_ACL_BOOTSTRAP || op > OP_ACL_TRANSLATE || op == OP_ACL_AUTHORIZE || op == OP_ACL_RESOLVE)
		return false;
	rpc_reply_error(r->d->rpc, req->token, 401, "ACL support disabled");
	return true;
}

void
raftd_serve(struct raftd *r, const struct rpc_request *req)
{
	if (comes_too_late(r, req) || acl_is_off(r, req))
		return;
	/* What this node's daemons may do is decided on this node. */
	if (r->server || req->token.op == OP_ACL_AUTHORIZE)
		handlers[req->token.op](r->d, req);
	else
		forward_any(r, req);
}

static void
on_request(void *ctx, const struct rpc_request *req)
{
	count_request(req->token.op, req->peer == NULL);
	raftd_serve(((struct daemon *)ctx)->ctx, req);
}

static size_t
make_routes(void)
{
	size_t n = 0;

	for (size_t op = 0; op < ARRAY_LEN(handlers); op++)
		if (handlers[op] != NULL)
			routes[n++] = (struct rpc_route){ (uint16_t)op, on_request };
	return n;
}

static void
on_cancelled(void *ctx, struct rpc_token t)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;

	if (r == NULL)
		return;
	forward_cancelled(r, t);
	hold_cancelled(r, t);
	if (!r->server)
		return;
	watch_cancelled(r, t);
	snapshot_cancelled(r, t);
}

static void
read_config(struct raftd *r)
{
	struct json_object *c = r->d->config;
	const char *ip = cfg_str(c, "advertise_addr", "127.0.0.1");
	int port = (int)cfg_int(c, "ports.server", 8300);

	r->datacenter = strdup(cfg_str(c, "datacenter", "dc1"));
	r->node_name = strdup(cfg_str(c, "node_name", "node"));
	r->node_id = strdup(cfg_str(c, "node_id", ""));
	r->dev = cfg_bool(c, "dev_mode", false);
	r->server = cfg_bool(c, "server", false) || r->dev;
	r->bootstrap = r->dev || cfg_bool(c, "bootstrap", false) || cfg_int(c, "bootstrap_expect", 0) == 1;
	r->expect = (uint64_t)cfg_int(c, "bootstrap_expect", 0);
	r->hold_ms = (uint64_t)cfg_ms(c, "performance.rpc_hold_timeout", 7000);
	(void)snprintf(r->address, sizeof(r->address), strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, port);
}

/* The store's directory, below the data directory; none: everything stays in memory. */
static int
choose_dir(struct raftd *r)
{
	const char *data_dir = cfg_str(r->d->config, "data_dir", "");

	if (!r->server)
		return 0;
	if (r->dev || data_dir[0] == 0) {
		r->dev = true;
		do
			randombytes_buf(&r->id, sizeof(r->id));
		while (r->id == 0);
		return 0;
	}
	if (asprintf(&r->dir, "%s/raftd", data_dir) < 0) {
		r->dir = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* What knows the state and the log, in the order in which one needs the other. */
static int
init_server(struct raftd *r)
{
	static int (*const parts[])(struct raftd *) = { watch_init, members_init, install_init, autopilot_init, snapshot_init,
		coordinates_init, recover_init, engine_init };

	leader_init(r);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		int rc = parts[i](r);

		if (rc < 0)
			return rc;
	}
	engine_start(r);
	return 0;
}

static int
init(struct daemon *d)
{
	struct raftd *r = &raftd;
	int rc;

	d->ctx = r;
	r->d = d;
	read_config(r);
	reads_init(r);
	count_init();
	hold_init(r);
	rc = choose_dir(r);
	if (rc == 0)
		rc = acl_init(r);
	if (rc == 0)
		rc = net_init(r);
	if (rc == 0)
		rc = pool_init(r);
	if (rc == 0 && r->server)
		rc = join_init(r);
	if (rc == 0)
		rc = forward_init(r);
	if (rc == 0 && r->server)
		rc = init_server(r);
	/* The others come in when there is somebody at home. */
	if (rc == 0 && r->server)
		rc = net_listen(r);
	if (rc == 0 && r->server)
		join_start(r);
	if (rc == 0)
		pool_start(r);
	/* What refused has said why; memory alone has not. */
	if (rc == -ENOMEM)
		log_err("agent.server", "cannot start: %s", err_text(rc));
	return rc;
}

static void
drain(struct daemon *d)
{
	struct raftd *r = d->ctx;

	if (r->server)
		engine_drain(r);
	else
		daemon_stopped(d);
}

static void
fini(struct daemon *d)
{
	struct raftd *r = d->ctx;

	/* Connections that are closed after this have nothing to cancel any more. */
	d->ctx = NULL;
	wan_release();
	pool_release(r);
	join_release(r);
	forward_release(r);
	net_release(r);
	if (r->server) {
		members_release(r);
		snapshot_release(r);
		coordinates_release(r);
		autopilot_release(r);
		install_release(r);
		engine_release(r);
		leader_release(r);
		watch_release(r);
	}
	acl_release(r);
	hold_release(r);
	reads_release(r);
	free(r->dir);
	free((void *)(uintptr_t)r->datacenter);
	free((void *)(uintptr_t)r->node_name);
	free((void *)(uintptr_t)r->node_id);
}

static int
reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	static const char *const fixed[] = { "data_dir", "datacenter", "node_name", "node_id", "advertise_addr", "bind_addr" };
	struct raftd *r = d->ctx;
	int rc;

	if (r->engine.store != NULL)
		store_set_trailing(r->engine.store, (uint64_t)cfg_int(next, "raft_trailing_logs", 10240));
	net_reload(r, next);
	rc = acl_reload(r, next);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (strcmp(cfg_str(d->config, fixed[i], ""), cfg_str(next, fixed[i], "")) != 0) {
			rc = buf_addf(msg, "%s%s", msg->len > 0 ? ", " : "", fixed[i]);

			if (rc < 0)
				return rc;
		}
	return 0;
}

static struct daemon_spec spec = {
	.name = "raftd",
	.summary = "the replicated state of a datacenter: KV, sessions, catalog, health",
	.routes = routes,
	.cancelled = on_cancelled,
	.init = init,
	.reload = reload,
	.drain = drain,
	.fini = fini,
	.info = status_info,
	.measure = count_measure,
};

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "recover") == 0)
		return recover_main(argc - 1, argv + 1);
	spec.nroutes = make_routes();
	return daemon_main(argc, argv, &spec);
}
