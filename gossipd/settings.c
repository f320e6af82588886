/* settings.c - the protocol's parameters by our config slice. */
#include "gossipd/settings.h"

#include <stdio.h>
#include <string.h>

#include "gossipd/pool.h"
#include "lib/cfg.h"

/* Membership 1 to 5 (speaking 2), Serf 2 to 5 (speaking 4), as Consul's. */
static const uint8_t versions[WIRE_VSN] = { 1, 5, 2, 2, 5, 4 };

enum { DEV_MS = 100, DEV_SUSPICION_MULT = 3, WAN_GOSSIP_NODES = 3 };

/*
 * One of gossip_lan.* and gossip_wan.*. The slice holds the default when the key was not given: with -dev that stands
 * for another one.
 */
static int64_t
knob(struct json_object *slice, bool wan, const char *name, bool duration, int64_t usual, int64_t dev)
{
	char path[64];
	int64_t v;

	snprintf(path, sizeof(path), "%s.%s", wan ? "gossip_wan" : "gossip_lan", name);
	v = duration ? cfg_ms(slice, path, usual) : cfg_int(slice, path, usual);
	if (v <= 0 || v > UINT32_MAX)
		v = usual;
	return v == usual && cfg_bool(slice, "dev_mode", false) ? dev : v;
}

void
settings_swim(struct swim_config *c, struct json_object *slice, bool wan)
{
	if (wan)
		swim_config_wan(c);
	else
		swim_config_lan(c);
	if (wan)
		c->gossip_nodes = WAN_GOSSIP_NODES;
	c->gossip_ms = (uint32_t)knob(slice, wan, "gossip_interval", true, c->gossip_ms, DEV_MS);
	c->gossip_nodes = (unsigned)knob(slice, wan, "gossip_nodes", false, c->gossip_nodes, c->gossip_nodes);
	c->probe_interval_ms = (uint32_t)knob(slice, wan, "probe_interval", true, c->probe_interval_ms, DEV_MS);
	c->probe_timeout_ms = (uint32_t)knob(slice, wan, "probe_timeout", true, c->probe_timeout_ms, DEV_MS);
	c->retransmit_mult = (unsigned)knob(slice, wan, "retransmit_mult", false, c->retransmit_mult, c->retransmit_mult);
	c->suspicion_mult = (unsigned)knob(slice, wan, "suspicion_mult", false, c->suspicion_mult, DEV_SUSPICION_MULT);
	c->reclaim_ms = POOL_RECLAIM_MS;
	c->packet_max = POOL_PACKET_MAX;
	c->nodes_max = POOL_NODES_MAX;
	c->stream_pings = true;
	memcpy(c->vsn, versions, sizeof(versions));
}

void
settings_serf(struct serf_config *c, struct json_object *slice, bool wan)
{
	int64_t reconnect = cfg_ms(slice, wan ? "reconnect_timeout_wan" : "reconnect_timeout", 0);

	serf_config_consul(c);
	if (reconnect > 0)
		c->reconnect_timeout_ms = (uint64_t)reconnect;
	c->coordinates = !cfg_bool(slice, "disable_coordinates", false);
	c->rejoin_after_leave = cfg_bool(slice, "rejoin_after_leave", false);
	c->resolve_conflicts = false;
}

void
settings_wrap(struct wrap *w, struct json_object *slice)
{
	w->compress = true;
	w->verify_incoming = cfg_bool(slice, "encrypt_verify_incoming", true);
	w->verify_outgoing = cfg_bool(slice, "encrypt_verify_outgoing", true);
	w->label = STR_NONE;
}
