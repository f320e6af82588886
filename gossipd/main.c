/* main.c - gossipd: who is in the pool. */
#include <stdlib.h>
#include <string.h>

#include "gossipd/gossipd.h"
#include "gossipd/join.h"

/* Keys that are read at start only. */
static const char *const start_keys[] = { "node_name", "node_id", "datacenter", "server", "bind_addr", "serf_lan", "serf_wan",
	"ports.serf_lan", "ports.serf_wan", "ports.server", "advertise_addr", "advertise_addr_wan", "bootstrap", "bootstrap_expect" };

static int
open_ports(struct gossipd *g, struct daemon *d)
{
	const char *bind_ip = cfg_str(d->config, "bind_addr", "0.0.0.0");
	int64_t lan = cfg_int(d->config, "ports.serf_lan", 8301), wan = cfg_int(d->config, "ports.serf_wan", 8302);
	int rc = 0;

	if (lan > 0)
		rc = listen_open(&g->lan_listen, d, "serf_lan", cfg_str(d->config, "serf_lan", bind_ip), (uint16_t)lan);
	if (rc == 0 && g->has_wan)
		rc = listen_open(&g->wan_listen, d, "serf_wan", cfg_str(d->config, "serf_wan", bind_ip), (uint16_t)wan);
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
	rc = pool_init(&g->lan, d->config, false, index);
	if (rc == 0)
		rc = pool_init(&g->wan, d->config, true, index);
	if (rc < 0) {
		log_err("agent", "gossipd: cannot describe this node: error=\"%s\"", err_text(rc));
		return rc;
	}
	rc = open_ports(g, d);
	if (rc == 0)
		log_info("agent.server.serf.lan", "serf: EventMemberJoin: %.*s %.*s", STR_ARG(g->lan.self.name),
		    STR_ARG(g->lan.self.addr));
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
	struct pool *pools[] = { &g->lan, &g->wan };
	int rc = 0, changed = 0;
	size_t before = msg->len;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(start_keys); i++)
		if (!json_object_equal(cfg_get(g->started_with, start_keys[i]), cfg_get(next, start_keys[i])))
			rc = buf_addf(msg, "%s%s", msg->len > before ? ", " : "", start_keys[i]);
	if (rc < 0 || msg->len > before)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
		rc = pool_update(pools[i], next);
		if (rc < 0)
			return rc;
		changed += rc;
	}
	if (changed > 0)
		gossipd_wake(g);
	return 0;
}

static void
gossipd_fini(struct daemon *d)
{
	struct gossipd *g = d->ctx;
	struct watch *x;

	if (g == NULL)
		return;
	join_release(g);
	listen_close(&g->lan_listen);
	listen_close(&g->wan_listen);
	while ((x = g->watches) != NULL) {
		g->watches = x->next;
		free(x);
	}
	pool_release(&g->lan);
	pool_release(&g->wan);
	json_object_put(g->started_with);
}

/* Consul's keys; the queues and clocks of a pool of one stand at their first values. */
static void
pool_info(struct info_writer *iw, const char *section, const struct pool *p)
{
	unsigned alive = pool_count(p, MEMBER_ALIVE) + pool_count(p, MEMBER_LEAVING);
	unsigned failed = pool_count(p, MEMBER_FAILED), left = pool_count(p, MEMBER_LEFT);

	info_section(iw, section);
	info_add(iw, "coordinate_resets", "0");
	info_add(iw, "encrypted", "false");
	info_add(iw, "event_queue", "0");
	info_add(iw, "event_time", "1");
	info_add(iw, "failed", "%u", failed);
	info_add(iw, "health_score", "0");
	info_add(iw, "intent_queue", "0");
	info_add(iw, "left", "%u", left);
	info_add(iw, "member_time", "1");
	info_add(iw, "members", "%u", alive + failed + left);
	info_add(iw, "query_queue", "0");
	info_add(iw, "query_time", "1");
}

static void
gossipd_info(struct daemon *d, struct info_writer *iw)
{
	struct gossipd *g = d->ctx;

	pool_info(iw, "serf_lan", &g->lan);
	if (g->has_wan)
		pool_info(iw, "serf_wan", &g->wan);
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
		.fini = gossipd_fini,
		.info = gossipd_info,
	};

	return daemon_main(argc, argv, &spec);
}
