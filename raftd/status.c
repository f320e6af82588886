/* status.c - who leads, who the peers are, and what `info` shows of Raft. */
#include <inttypes.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

static void
reply_texts(struct raftd *r, const struct rpc_request *req, const struct str *v, size_t n)
{
	const struct query_meta m = { .index = 1, .known_leader = engine_known_leader(r) };
	struct buf *b = rpc_reply_begin(r->d->rpc, req->token);
	struct mp_w w;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	mp_w_array(&w, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		mp_w_str(&w, v[i]);
	rpc_reply_end(r->d->rpc, req->token, w.err == 0);
}

static void
reply_peers(struct raftd *r, const struct rpc_request *req)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *s = c != NULL ? c->servers.v : NULL;
	struct str v[RAFT_SERVERS_MAX];
	size_t n = 0;

	for (size_t i = 0; c != NULL && i < c->servers.n; i++)
		v[n++] = s[i].address;
	reply_texts(r, req, v, n);
}

static struct str
leader_address(struct raftd *r)
{
	const struct raft_server_info *s = servers_find(configs_current(r->engine.configs, NULL), r->engine.core.leader);

	return s != NULL ? s->address : STR("");
}

/* status.leader, status.peers, catalog.datacenters: answered by any server, leader or not. */
void
status_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	const struct str datacenter = str_from(r->datacenter);
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
		reply_texts(r, req, &datacenter, 1);
	else if (req->info->number == OP_STATUS_PEERS)
		reply_peers(r, req);
	else
		rpc_reply_text(r->d->rpc, req->token, 1, leader_address(r));
}

static void
info_consul(struct raftd *r, struct info_writer *iw)
{
	bool leads = engine_leads(r);

	info_section(iw, "consul");
	info_add(iw, "acl", "%s", acl_on(r) ? "enabled" : "disabled");
	info_add(iw, "bootstrap", "%s", r->bootstrap ? "true" : "false");
	info_add(iw, "known_datacenters", "1");
	if (r->server) {
		info_add(iw, "leader", "%s", leads ? "true" : "false");
		info_add(iw, "leader_addr", "%.*s", STR_ARG(leader_address(r)));
	} else {
		info_add(iw, "known_servers", "%zu", pool_usable(r));
	}
	info_add(iw, "server", "%s", r->server ? "true" : "false");
}

/* As Consul prints its list: [{Suffrage:Voter ID:... Address:...} ...] */
static void
info_configuration(struct raftd *r, struct info_writer *iw)
{
	struct buf text = BUF_INIT(64 * KiB);
	const char *shown = NULL;
	uint64_t index;
	const struct raft_config_entry *c = configs_current(r->engine.configs, &index);
	const struct raft_server_info *s = c != NULL ? c->servers.v : NULL;
	int rc = buf_adds(&text, "[");

	for (size_t i = 0; rc == 0 && c != NULL && i < c->servers.n; i++)
		rc = buf_addf(&text, "%s{Suffrage:%s ID:%.*s Address:%.*s}", i > 0 ? " " : "", s[i].voter ? "Voter" : "Nonvoter",
		    STR_ARG(s[i].node_id), STR_ARG(s[i].address));
	if (rc == 0)
		rc = buf_adds(&text, "]");
	if (rc == 0)
		shown = buf_cstr(&text);
	info_add(iw, "latest_configuration", "%s", shown != NULL ? shown : "[]");
	info_add(iw, "latest_configuration_index", "%" PRIu64, index);
	buf_release(&text);
}

/* The other voters. */
static size_t
count_peers(const struct raft *core)
{
	const struct raft_servers *s = raft_servers(core);
	size_t n = 0;

	for (size_t i = 0; s != NULL && i < s->n; i++)
		n += s->v[i].voter && s->v[i].id != core->config.id;
	return n;
}

static void
info_contact(struct raftd *r, struct info_writer *iw)
{
	uint64_t contact = engine_last_contact(r);
	char text[DURATION_TEXT_MAX];

	if (r->engine.core.role == RAFT_LEADER || contact == RAFT_NEVER) {
		info_add(iw, "last_contact", "%s", contact == RAFT_NEVER ? "never" : "0");
		return;
	}
	duration_format((int64_t)contact * NS_PER_MS, text);
	info_add(iw, "last_contact", "%s", text);
}

static void
info_raft(struct raftd *r, struct info_writer *iw)
{
	const struct raft *core = &r->engine.core;

	info_section(iw, "raft");
	info_add(iw, "applied_index", "%" PRIu64, core->applied);
	info_add(iw, "commit_index", "%" PRIu64, core->commit);
	info_add(iw, "fsm_pending", "%" PRIu64, core->commit - core->applied);
	info_contact(r, iw);
	info_add(iw, "last_log_index", "%" PRIu64, core->trail.last);
	info_add(iw, "last_log_term", "%" PRIu64, trail_term(&core->trail, core->trail.last));
	info_add(iw, "last_snapshot_index", "%" PRIu64, core->trail.base);
	info_add(iw, "last_snapshot_term", "%" PRIu64, trail_term(&core->trail, core->trail.base));
	info_configuration(r, iw);
	info_add(iw, "num_peers", "%zu", count_peers(core));
	info_add(iw, "protocol_version", "3");
	info_add(iw, "protocol_version_max", "3");
	info_add(iw, "protocol_version_min", "0");
	info_add(iw, "snapshot_version_max", "1");
	info_add(iw, "snapshot_version_min", "0");
	info_add(iw, "state", "%s", raft_role_name(core->role));
	info_add(iw, "term", "%" PRIu64, core->term);
	/* Ours, behind Consul's. */
	info_add(iw, "cluster", "%s", r->cluster);
	info_add(iw, "server_id", "%s", servers_own(r).id.p);
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
	if (r->net != NULL)
		net_info(r, iw);
}
