/* main.c - gossipd: who is in the pool. */
#include <stdlib.h>
#include <string.h>

#include "gossipd/join.h"
#include "gossipd/keyring_op.h"

/* Keys that are read at start only. */
static const char *const start_keys[] = { "node_name", "node_id", "datacenter", "server", "bind_addr", "serf_lan", "serf_wan",
	"ports.serf_lan", "ports.serf_wan", "ports.server", "advertise_addr", "advertise_addr_wan", "bootstrap", "bootstrap_expect",
	"data_dir", "encrypt", "encrypt_verify_incoming", "encrypt_verify_outgoing", "disable_keyring_file", "disable_coordinates",
	"reconnect_timeout", "reconnect_timeout_wan", "rejoin_after_leave", "gossip_lan", "gossip_wan", "serf_lan_allowed_cidrs",
	"serf_wan_allowed_cidrs", "start_join", "start_join_wan", "retry_join", "retry_join_wan", "retry_interval", "retry_interval_wan",
	"retry_max", "retry_max_wan" };

static void
on_flood_now(struct defer *d)
{
	autojoin_flood((struct gossipd *)((char *)d - offsetof(struct gossipd, flood_now)));
}

static void
on_flood(uv_timer_t *t)
{
	autojoin_flood(t->data);
}

static void
on_measure(uv_timer_t *t)
{
	gossipd_measure(t->data);
}

static int
start_timers(struct gossipd *g, struct daemon *d)
{
	int rc = uv_timer_init(&d->loop.uv, &g->flood);

	if (rc == 0)
		rc = uv_timer_init(&d->loop.uv, &g->measure);
	g->flood.data = g->measure.data = g;
	g->flood_now.cb = on_flood_now;
	if (rc == 0 && g->has_wan)
		rc = uv_timer_start(&g->flood, on_flood, FLOOD_MS, FLOOD_MS);
	if (rc == 0)
		rc = uv_timer_start(&g->measure, on_measure, METRICS_MS, METRICS_MS);
	return rc;
}

static int
gossipd_init(struct daemon *d)
{
	struct gossipd *g = calloc(1, sizeof(*g));
	uint64_t index = clock_ms() + 1;
	int rc;

	if (g == NULL) {
		log_err("agent", "gossipd: out of memory");
		return -ENOMEM;
	}
	d->ctx = g;
	g->d = d;
	g->started_with = json_object_get(d->config);
	g->has_wan = cfg_bool(d->config, "server", false) && cfg_int(d->config, "ports.serf_wan", 8302) > 0;
	g->raftd = rpc_client_new(&d->loop, d->run_fd, "raftd");
	g->gate = g->raftd != NULL ? acl_gate_new(g->raftd, cfg_bool(d->config, "acl.enabled", false)) : NULL;
	if (g->gate == NULL) {
		log_err("agent", "gossipd: out of memory");
		return -ENOMEM;
	}
	events_init(&g->events, g);
	rc = start_timers(g, d);
	if (rc < 0) {
		log_err("agent", "gossipd: cannot start: error=\"%s\"", uv_strerror(rc));
		return rc;
	}
	/* A pool that is not there yet must not be flooded. */
	g->starting = 1;
	rc = pool_open(&g->lan, g, false, index);
	if (rc == 0 && g->has_wan)
		rc = pool_open(&g->wan, g, true, index);
	if (rc == 0 && --g->starting > 0)
		daemon_ready_later(d);
	return rc;
}

/*
 * What other members know us by holds until a restart: as long as the slice
 * differs from the one of the start there, the members stay as they are.
 */
static int
gossipd_reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	struct gossipd *g = d->ctx;
	size_t before = msg->len;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(start_keys); i++)
		if (!json_object_equal(cfg_get(g->started_with, start_keys[i]), cfg_get(next, start_keys[i])))
			rc = buf_addf(msg, "%s%s", msg->len > before ? ", " : "", start_keys[i]);
	if (rc < 0 || msg->len > before)
		return rc;
	rc = pool_update(&g->lan, next);
	if (rc == 0 && g->has_wan)
		rc = pool_update(&g->wan, next);
	return rc;
}

static bool
written(const struct pool *p)
{
	return !p->on || (snapshot_idle(&p->snapshot) && keyfile_idle(&p->keyfile));
}

static void
on_drained(uv_timer_t *t)
{
	struct gossipd *g = t->data;

	if (written(&g->lan) && written(&g->wan))
		daemon_stopped(g->d);
}

/* The files get what they lack; how long that may take is bounded by whoever calls. */
static void
gossipd_drain(struct daemon *d)
{
	enum { LOOK_MS = 10 };
	struct gossipd *g = d->ctx;

	snapshot_flush(&g->lan.snapshot);
	snapshot_flush(&g->wan.snapshot);
	if ((written(&g->lan) && written(&g->wan)) || uv_timer_start(&g->measure, on_drained, LOOK_MS, LOOK_MS) < 0)
		daemon_stopped(d);
}

static void
gossipd_fini(struct daemon *d)
{
	struct gossipd *g = d->ctx;

	if (g == NULL)
		return;
	acl_gate_free(g->gate);
	g->gate = NULL;
	rpc_client_free(g->raftd);
	keyring_ops_release(g);
	join_release(g);
	uv_close((uv_handle_t *)&g->flood, NULL);
	uv_close((uv_handle_t *)&g->measure, NULL);
	pool_close(&g->lan);
	pool_close(&g->wan);
	loop_undefer(&d->loop, DEFER_WORK, &g->wake);
	loop_undefer(&d->loop, DEFER_WORK, &g->flood_now);
	ops_release(g);
	events_release(&g->events);
	pool_release(&g->lan);
	pool_release(&g->wan);
	json_object_put(g->started_with);
}

int
main(int argc, char **argv)
{
	struct daemon_spec spec = {
		.name = "gossipd",
		.summary = "who is in the pool",
		.routes = gossipd_routes,
		.nroutes = gossipd_nroutes,
		.cancelled = gossipd_cancelled,
		.init = gossipd_init,
		.reload = gossipd_reload,
		.drain = gossipd_drain,
		.fini = gossipd_fini,
		.info = gossipd_info,
	};

	return daemon_main(argc, argv, &spec);
}
