/* main.c - raftd: the replicated state of a datacenter, and the servers' consensus about it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

static const struct rpc_route routes[] = {
	{ OP_STATUS_LEADER, status_handle }, { OP_STATUS_PEERS, status_handle }, { OP_CATALOG_DATACENTERS, status_handle },
	{ OP_KV_GET, reads_handle }, { OP_KV_LIST, reads_handle }, { OP_KV_KEYS, reads_handle },
	{ OP_KV_APPLY, propose_handle }, { OP_TXN_APPLY, propose_handle },
	{ OP_SESSION_CREATE, propose_handle }, { OP_SESSION_DESTROY, propose_handle }, { OP_SESSION_RENEW, leader_renew },
	{ OP_SESSION_INFO, reads_handle }, { OP_SESSION_NODE, reads_handle }, { OP_SESSION_LIST, reads_handle },
	{ OP_CATALOG_REGISTER, propose_handle }, { OP_CATALOG_DEREGISTER, propose_handle },
	{ OP_CATALOG_NODES, reads_handle }, { OP_CATALOG_SERVICES, reads_handle }, { OP_CATALOG_SERVICE, reads_handle },
	{ OP_CATALOG_NODE, reads_handle }, { OP_CATALOG_NODE_SERVICES, reads_handle },
	{ OP_HEALTH_NODE, reads_handle }, { OP_HEALTH_CHECKS, reads_handle }, { OP_HEALTH_STATE, reads_handle },
	{ OP_HEALTH_SERVICE, reads_handle },
};

static struct raftd raftd;

static void
on_cancelled(void *ctx, struct rpc_token t)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;

	if (r == NULL || !r->server)
		return;
	watch_cancelled(r, t);
	if (r->hold.n > 0)
		hold_cancelled(r, t);
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
	r->hold_ms = (uint64_t)cfg_ms(c, "performance.rpc_hold_timeout", 7000);
	(void)snprintf(r->address, sizeof(r->address), strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, port);
}

/* The store's directory, below the data directory; none: everything stays in memory. */
static int
choose_dir(struct raftd *r)
{
	const char *data_dir = cfg_str(r->d->config, "data_dir", "");

	if (r->dev || data_dir[0] == 0) {
		r->dev = true;
		r->id = 1;
		return 0;
	}
	if (asprintf(&r->dir, "%s/raftd", data_dir) < 0) {
		r->dir = NULL;
		return -ENOMEM;
	}
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
	if (!r->server)
		return 0;
	hold_init(r);
	leader_init(r);
	rc = choose_dir(r);
	if (rc == 0)
		rc = watch_init(r);
	if (rc == 0)
		rc = members_init(r);
	if (rc < 0) {
		log_err("agent.server", "cannot start: %s", err_text(rc));
		return rc;
	}
	rc = engine_init(r);
	if (rc == 0)
		engine_start(r);
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
	if (r->server) {
		members_release(r);
		engine_release(r);
		leader_release(r);
		hold_release(r);
		watch_release(r);
	}
	reads_release(r);
	free(r->dir);
	free((void *)(uintptr_t)r->datacenter);
	free((void *)(uintptr_t)r->node_name);
	free((void *)(uintptr_t)r->node_id);
}

static int
reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	static const char *const fixed[] = { "data_dir", "datacenter", "node_name", "node_id", "advertise_addr" };
	struct raftd *r = d->ctx;

	if (r->engine.store != NULL)
		store_set_trailing(r->engine.store, (uint64_t)cfg_int(next, "raft_trailing_logs", 10240));
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (strcmp(cfg_str(d->config, fixed[i], ""), cfg_str(next, fixed[i], "")) != 0) {
			int rc = buf_addf(msg, "%s%s", msg->len > 0 ? ", " : "", fixed[i]);

			if (rc < 0)
				return rc;
		}
	return 0;
}

static const struct daemon_spec spec = {
	.name = "raftd",
	.summary = "the replicated state of a datacenter: KV, sessions, catalog, health",
	.routes = routes,
	.nroutes = ARRAY_LEN(routes),
	.cancelled = on_cancelled,
	.init = init,
	.reload = reload,
	.drain = drain,
	.fini = fini,
	.info = status_info,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &spec);
}
