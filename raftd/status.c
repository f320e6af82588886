/* status.c - who leads, who the peers are, and what `info` shows of Raft. */
#include <inttypes.h>

#include "raftd/raftd.h"

static void
reply_texts(struct raftd *r, const struct rpc_request *req, struct str only)
{
	const struct query_meta m = { 1, 0, r->engine.core.leader != 0 };
	struct buf *b = rpc_reply_begin(r->d->rpc, req->token);
	struct mp_w w;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	mp_w_array(&w, only.len > 0 ? 1 : 0);
	if (only.len > 0)
		mp_w_str(&w, only);
	rpc_reply_end(r->d->rpc, req->token, w.err == 0);
}

/* status.leader, status.peers, catalog.datacenters: answered by any server, leader or not. */
void
status_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	const struct raft *core = &r->engine.core;
	struct query_options o;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, NULL, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (req->info->number == OP_CATALOG_DATACENTERS)
		reply_texts(r, req, str_from(r->datacenter));
	else if (req->info->number == OP_STATUS_PEERS)
		reply_texts(r, req, core->voters.n > 0 ? str_from(r->address) : STR_NONE);
	else
		rpc_reply_text(r->d->rpc, req->token, 1, core->leader != 0 ? str_from(r->address) : STR(""));
}

static void
info_consul(struct raftd *r, struct info_writer *iw)
{
	bool leads = engine_leads(r);

	info_section(iw, "consul");
	info_add(iw, "acl", "disabled");
	info_add(iw, "bootstrap", "%s", r->bootstrap ? "true" : "false");
	info_add(iw, "known_datacenters", "1");
	if (r->server) {
		info_add(iw, "leader", "%s", leads ? "true" : "false");
		info_add(iw, "leader_addr", "%s", r->engine.core.leader != 0 ? r->address : "");
	} else {
		info_add(iw, "known_servers", "0");
	}
	info_add(iw, "server", "%s", r->server ? "true" : "false");
}

static void
info_raft(struct raftd *r, struct info_writer *iw)
{
	const struct raft *core = &r->engine.core;

	info_section(iw, "raft");
	info_add(iw, "applied_index", "%" PRIu64, core->applied);
	info_add(iw, "commit_index", "%" PRIu64, core->commit);
	info_add(iw, "fsm_pending", "%" PRIu64, core->commit - core->applied);
	info_add(iw, "last_contact", "%s", core->role == RAFT_LEADER ? "0" : "never");
	info_add(iw, "last_log_index", "%" PRIu64, core->trail.last);
	info_add(iw, "last_log_term", "%" PRIu64, trail_term(&core->trail, core->trail.last));
	info_add(iw, "last_snapshot_index", "%" PRIu64, core->trail.base);
	info_add(iw, "last_snapshot_term", "%" PRIu64, trail_term(&core->trail, core->trail.base));
	info_add(iw, "latest_configuration", "[{Suffrage:Voter ID:%s Address:%s}]", r->node_id, r->address);
	info_add(iw, "latest_configuration_index", "%" PRIu64, r->engine.servers_index);
	info_add(iw, "num_peers", "%zu", core->voters.n > 0 ? core->voters.n - 1 : 0);
	info_add(iw, "protocol_version", "3");
	info_add(iw, "protocol_version_max", "3");
	info_add(iw, "protocol_version_min", "0");
	info_add(iw, "snapshot_version_max", "1");
	info_add(iw, "snapshot_version_min", "0");
	info_add(iw, "state", "%s", raft_role_name(core->role));
	info_add(iw, "term", "%" PRIu64, core->term);
}

static void
info_store(struct raftd *r, struct info_writer *iw)
{
	struct store_stats st;

	info_section(iw, "store");
	if (r->engine.store == NULL) {
		info_add(iw, "kind", "memory");
		return;
	}
	store_stats(r->engine.store, &st);
	info_add(iw, "kind", "disk");
	info_add(iw, "syncs", "%" PRIu64, st.syncs);
	info_add(iw, "entries", "%" PRIu64, st.entries);
	info_add(iw, "sync_us_mean", "%" PRIu64, st.syncs > 0 ? st.sync_ns / st.syncs / 1000 : 0);
	info_add(iw, "image_commits", "%" PRIu64, st.image_commits);
	info_add(iw, "image_records", "%" PRIu64, st.image_records);
	info_add(iw, "image_index", "%" PRIu64, st.applied_on_disk);
	info_add(iw, "image_lag_bytes", "%" PRIu64, st.image_lag_bytes);
	info_add(iw, "checkpoints", "%" PRIu64, st.checkpoints);
}

static void
info_state(struct raftd *r, struct info_writer *iw)
{
	struct fsm_stats st;

	fsm_stats(r->engine.fsm, &st);
	info_section(iw, "state");
	info_add(iw, "kv", "%" PRIu64, st.kv);
	info_add(iw, "kv_bytes", "%" PRIu64, st.kv_bytes);
	info_add(iw, "tombstones", "%" PRIu64, st.tombstones);
	info_add(iw, "sessions", "%" PRIu64, st.sessions);
	info_add(iw, "nodes", "%" PRIu64, st.nodes);
	info_add(iw, "services", "%" PRIu64, st.services);
	info_add(iw, "checks", "%" PRIu64, st.checks);
	info_add(iw, "blocking_queries", "%zu", watch_count(r));
	info_add(iw, "held_requests", "%zu", r->hold.n);
}

void
status_info(struct daemon *d, struct info_writer *iw)
{
	struct raftd *r = d->ctx;

	info_consul(r, iw);
	if (!r->server)
		return;
	info_raft(r, iw);
	info_store(r, iw);
	info_state(r, iw);
}
