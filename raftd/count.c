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
	{ OP_CATALOG_DEREGISTER, "catalog.deregister", "fsm.deregister" },
};

static struct metric_slot *apply_slots[ARRAY_LEN(names)], *fsm_slots[ARRAY_LEN(names)];
static struct metric_slot *raft_apply, *commit_time, *dispatch, *dispatch_n, *leader, *candidate, *follower, *queries, *blocking, *ttl;
static struct metric_slot *append_rpc, *append_logs, *append_process, *last_contact;

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
