/* count.c - raftd's metrics, under Consul's names. */
#include "raftd/raftd.h"

/* What a write took for its asker, and what it took in the state machine. */
static const struct {
	uint16_t op;
	const char *apply, *fsm;
} names[] = {
	{ OP_KV_APPLY, "kvs.apply", "fsm.kvs" },
	{ OP_TXN_APPLY, "txn.apply", "fsm.txn" },
	{ OP_SESSION_CREATE, "session.apply", "fsm.session" },
	{ OP_SESSION_DESTROY, "session.apply", "fsm.session" },
	{ OP_CATALOG_REGISTER, "catalog.register", "fsm.register" },
	{ OP_CATALOG_BATCH, "catalog.register", "fsm.register" },
	{ OP_CATALOG_DEREGISTER, "catalog.deregister", "fsm.deregister" },
	{ OP_QUERY_APPLY, "prepared-query.apply", "fsm.prepared-query" },
	{ OP_AUTOPILOT_SET, "operator.autopilot.apply", "fsm.autopilot" },
	{ OP_ACL_BOOTSTRAP, "acl.bootstrap", "fsm.acl.bootstrap" },
	{ OP_ACL_TOKEN_SET, "acl.token.upsert", "fsm.acl.token" },
	{ OP_ACL_TOKEN_DELETE, "acl.token.delete", "fsm.acl.token" },
	{ OP_ACL_TOKEN_REAP, "acl.token.reap", "fsm.acl.token" },
	{ OP_ACL_POLICY_SET, "acl.policy.upsert", "fsm.acl.policy" },
	{ OP_ACL_POLICY_DELETE, "acl.policy.delete", "fsm.acl.policy" },
	{ OP_ACL_ROLE_SET, "acl.role.upsert", "fsm.acl.role" },
	{ OP_ACL_ROLE_DELETE, "acl.role.delete", "fsm.acl.role" },
	{ OP_ACL_METHOD_SET, "acl.authmethod.upsert", "fsm.acl.authmethod" },
	{ OP_ACL_METHOD_DELETE, "acl.authmethod.delete", "fsm.acl.authmethod" },
	{ OP_ACL_BINDING_SET, "acl.bindingrule.upsert", "fsm.acl.bindingrule" },
	{ OP_ACL_BINDING_DELETE, "acl.bindingrule.delete", "fsm.acl.bindingrule" },
	{ OP_ACL_LOGIN, "acl.login", "fsm.acl.token" },
	{ OP_ACL_LOGOUT, "acl.logout", "fsm.acl.token" },
};

/* Requests that Consul counts by what they ask for. */
static const struct {
	uint16_t op;
	const char *name;
} asked[] = {
	{ OP_CATALOG_SERVICE, "catalog.service.query" }, { OP_HEALTH_SERVICE, "health.service.query" },
	{ OP_QUERY_EXECUTE, "prepared-query.execute" }, { OP_QUERY_EXPLAIN, "prepared-query.explain" },
	{ OP_SESSION_RENEW, "session.renew" }, { OP_ACL_RESOLVE, "acl.ResolveToken" },
};

static struct metric_slot *apply_slots[ARRAY_LEN(names)], *fsm_slots[ARRAY_LEN(names)];
static struct metric_slot *raft_apply, *commit_time, *dispatch, *dispatch_n, *leader, *candidate, *follower, *queries, *blocking, *ttl;
static struct metric_slot *append_rpc, *append_logs, *append_process, *last_contact, *apply_time, *request, *client_rpc;
static struct metric_slot *asked_slots[ARRAY_LEN(asked)];

/* What every interval begins with. */
static struct {
	struct metric_slot *nodes, *services, *instances, *checks, *sessions, *kv, *servers, *clients;	/* of the datacenter, by a server */
	struct metric_slot *peers, *applied, *last, *healthy, *tolerance;
} gauges;

void
count_init(void)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		apply_slots[i] = metric_get(names[i].apply, METRIC_SAMPLE);
		fsm_slots[i] = metric_get(names[i].fsm, METRIC_SAMPLE);
	}
	raft_apply = metric_get("raft.apply", METRIC_COUNTER);
	commit_time = metric_get("raft.commitTime", METRIC_SAMPLE);
	dispatch = metric_get("raft.leader.dispatchLog", METRIC_SAMPLE);
	dispatch_n = metric_get("raft.leader.dispatchNumLogs", METRIC_SAMPLE);
	leader = metric_get("raft.state.leader", METRIC_COUNTER);
	candidate = metric_get("raft.state.candidate", METRIC_COUNTER);
	follower = metric_get("raft.state.follower", METRIC_COUNTER);
	append_rpc = metric_get("raft.replication.appendEntries.rpc", METRIC_SAMPLE);
	append_logs = metric_get("raft.replication.appendEntries.logs", METRIC_COUNTER);
	append_process = metric_get("raft.rpc.appendEntries.storeLogs", METRIC_COUNTER);
	last_contact = metric_get("raft.leader.lastContact", METRIC_SAMPLE);
	queries = metric_get("rpc.query", METRIC_COUNTER);
	blocking = metric_get("rpc.queries_blocking", METRIC_GAUGE);
	ttl = metric_get("session_ttl.active", METRIC_GAUGE);
	apply_time = metric_get("raft.fsm.apply", METRIC_SAMPLE);
	request = metric_get("rpc.request", METRIC_COUNTER);
	client_rpc = metric_get("client.rpc", METRIC_COUNTER);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		asked_slots[i] = metric_get(asked[i].name, METRIC_COUNTER);
}

/* A gauge of the whole datacenter says of which. */
static struct metric_slot *
of_datacenter(const struct raftd *r, const char *name)
{
	char full[METRIC_NAME_MAX];

	(void)snprintf(full, sizeof(full), "%s;datacenter=%s", name, r->datacenter);
	return metric_get(full, METRIC_GAUGE);
}

static void
make_gauges(const struct raftd *r)
{
	gauges.nodes = of_datacenter(r, "state.nodes");
	gauges.services = of_datacenter(r, "state.services");
	gauges.instances = of_datacenter(r, "state.service_instances");
	gauges.checks = of_datacenter(r, "state.checks");
	gauges.sessions = of_datacenter(r, "state.sessions");
	gauges.kv = of_datacenter(r, "state.kv_entries");
	gauges.servers = of_datacenter(r, "members.servers");
	gauges.clients = of_datacenter(r, "members.clients");
	gauges.peers = metric_get("raft.peers", METRIC_GAUGE);
	gauges.applied = metric_get("raft.applied_index", METRIC_GAUGE);
	gauges.last = metric_get("raft.last_index", METRIC_GAUGE);
	gauges.healthy = metric_get("autopilot.healthy", METRIC_GAUGE);
	gauges.tolerance = metric_get("autopilot.failure_tolerance", METRIC_GAUGE);
}

static void
measure_members(struct raftd *r)
{
	const struct pool_list *l = pool_members(r);
	size_t servers = 0, clients = 0;

	for (size_t i = 0; l != NULL && i < l->n; i++)
		if (l->v[i].status == MEMBER_ALIVE)
			*(pool_is_server(&l->v[i]) ? &servers : &clients) += 1;
	metric_set(gauges.servers, (double)servers);
	metric_set(gauges.clients, (double)clients);
}

void
count_measure(struct daemon *d)
{
	struct raftd *r = d->ctx;
	const struct raft_servers *s;
	struct fsm_stats st;

	if (r == NULL || !r->server || r->engine.fsm == NULL)
		return;
	if (gauges.nodes == NULL)
		make_gauges(r);
	fsm_stats(r->engine.fsm, &st);
	metric_set(gauges.nodes, (double)st.nodes);
	metric_set(gauges.services, (double)st.service_names);
	metric_set(gauges.instances, (double)st.services);
	metric_set(gauges.checks, (double)st.checks);
	metric_set(gauges.sessions, (double)st.sessions);
	metric_set(gauges.kv, (double)st.kv);
	measure_members(r);
	s = raft_servers(&r->engine.core);
	metric_set(gauges.peers, s != NULL ? (double)s->n : 0);
	metric_set(gauges.applied, (double)r->engine.core.applied);
	metric_set(gauges.last, (double)r->engine.core.trail.last);
	autopilot_measure(r, gauges.healthy, gauges.tolerance);
}

void
count_request(uint16_t op, bool local)
{
	metric_add(request, 1);
	if (local)
		metric_add(client_rpc, 1);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		if (asked[i].op == op)
			metric_add(asked_slots[i], 1);
}

static size_t
row(uint64_t op)
{
	size_t i = 0;

	while (i < ARRAY_LEN(names) && names[i].op != op)
		i++;
	return i;
}

void
count_proposed(uint32_t entries)
{
	metric_add(raft_apply, entries);
}

void
count_applied(uint64_t op, uint64_t ns)
{
	size_t i = row(op);

	metric_add(apply_time, (double)ns / 1e6);
	if (i < ARRAY_LEN(names))
		metric_add(fsm_slots[i], (double)ns / 1e6);
}

void
count_answered(uint64_t op, uint64_t ns)
{
	size_t i = row(op);

	metric_add(commit_time, (double)ns / 1e6);
	if (i < ARRAY_LEN(names))
		metric_add(apply_slots[i], (double)ns / 1e6);
}

void
count_synced(const struct store_stats *before, const struct store_stats *now)
{
	uint64_t syncs = now->syncs - before->syncs;

	if (syncs == 0)
		return;
	metric_add(dispatch, (double)(now->sync_ns - before->sync_ns) / 1e6 / (double)syncs);
	metric_add(dispatch_n, (double)(now->entries - before->entries) / (double)syncs);
}

void
count_role(enum raft_role role)
{
	if (role == RAFT_LEADER)
		metric_add(leader, 1);
	else if (role == RAFT_CANDIDATE)
		metric_add(candidate, 1);
	else
		metric_add(follower, 1);
}

void
count_sent(uint64_t entries)
{
	metric_add(append_logs, (double)entries);
}

void
count_message(const struct raft *core, const struct raft_message *m, uint64_t now_ms)
{
	uint64_t contact;

	if (m->type == RAFT_MSG_APPEND && m->last >= m->first)
		metric_add(append_process, (double)(m->last - m->first + 1));
	if (m->type != RAFT_MSG_APPEND_REPLY || core->role != RAFT_LEADER || m->sent_ms > now_ms)
		return;
	metric_add(append_rpc, (double)(now_ms - m->sent_ms));
	contact = peers_acked_ms(&core->peers, core->config.id, now_ms);
	if (contact <= now_ms)
		metric_add(last_contact, (double)(now_ms - contact));
}

void
count_query(size_t parked)
{
	metric_add(queries, 1);
	metric_set(blocking, (double)parked);
}

void
count_sessions(uint64_t n)
{
	metric_set(ttl, (double)n);
}
