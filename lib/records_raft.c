/* records_raft.c - the tables of what servers tell each other and their administrators. */
#include "lib/records.h"

#define E FF_OMITEMPTY
#define N FF_NULL

static const struct field f_raft_server[] = {
	FIELD(raft_server_info, id, "ID", F_STR, 0),
	FIELD(raft_server_info, node_id, "NodeID", F_STR, 0),
	FIELD(raft_server_info, node, "Node", F_STR, 0),
	FIELD(raft_server_info, address, "Address", F_STR, 0),
	FIELD(raft_server_info, voter, "Voter", F_BOOL, 0),
	FIELD(raft_server_info, version, "Version", F_STR, E),
};
RECORD(rec_raft_server, raft_server_info, "RaftServerInfo", f_raft_server);

static const struct field f_raft_config_entry[] = {
	FIELD(raft_config_entry, cluster, "Cluster", F_STR, 0),
	FIELD_SUB(raft_config_entry, servers, "Servers", F_RECORDS, 0, rec_raft_server),
};
RECORD(rec_raft_config_entry, raft_config_entry, "RaftConfigEntry", f_raft_config_entry);

static const struct field f_raft_server_view[] = {
	FIELD(raft_server_view, id, "ID", F_STR, 0),
	FIELD(raft_server_view, node, "Node", F_STR, 0),
	FIELD(raft_server_view, address, "Address", F_STR, 0),
	FIELD(raft_server_view, leader, "Leader", F_BOOL, 0),
	FIELD(raft_server_view, protocol_version, "ProtocolVersion", F_STR, 0),
	FIELD(raft_server_view, voter, "Voter", F_BOOL, 0),
	FIELD(raft_server_view, last_index, "LastIndex", F_UINT, 0),
};
RECORD(rec_raft_server_view, raft_server_view, "RaftServer", f_raft_server_view);

static const struct field f_raft_configuration[] = {
	FIELD_SUB(raft_configuration, servers, "Servers", F_RECORDS, 0, rec_raft_server_view),
	FIELD(raft_configuration, index, "Index", F_UINT, 0),
};
RECORD(rec_raft_configuration, raft_configuration, "RaftConfiguration", f_raft_configuration);

static const struct field f_raft_peer_request[] = {
	FIELD(raft_peer_request, id, "ID", F_STR, E),
	FIELD(raft_peer_request, address, "Address", F_STR, E),
};
RECORD(rec_raft_peer_request, raft_peer_request, "RaftPeerRequest", f_raft_peer_request);

static const struct field f_autopilot_config[] = {
	FIELD(autopilot_config, cleanup_dead_servers, "CleanupDeadServers", F_BOOL, 0),
	FIELD(autopilot_config, last_contact_threshold, "LastContactThreshold", F_DURATION, FF_DURSTR),
	FIELD(autopilot_config, max_trailing_logs, "MaxTrailingLogs", F_UINT, 0),
	FIELD(autopilot_config, min_quorum, "MinQuorum", F_UINT, 0),
	FIELD(autopilot_config, server_stabilization_time, "ServerStabilizationTime", F_DURATION, FF_DURSTR),
	FIELD(autopilot_config, redundancy_zone_tag, "RedundancyZoneTag", F_STR, 0),
	FIELD(autopilot_config, disable_upgrade_migration, "DisableUpgradeMigration", F_BOOL, 0),
	FIELD(autopilot_config, upgrade_version_tag, "UpgradeVersionTag", F_STR, 0),
	FIELD(autopilot_config, create_index, "CreateIndex", F_UINT, 0),
	FIELD(autopilot_config, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_autopilot_config, autopilot_config, "AutopilotConfig", f_autopilot_config);

static const struct field f_autopilot_set[] = {
	FIELD_SUB(autopilot_set, config, "Config", F_RECORD, 0, rec_autopilot_config),
	FIELD(autopilot_set, cas, "CAS", F_BOOL, E),
};
RECORD(rec_autopilot_set, autopilot_set, "AutopilotSet", f_autopilot_set);

static const struct field f_autopilot_server_health[] = {
	FIELD(autopilot_server_health, id, "ID", F_STR, 0),
	FIELD(autopilot_server_health, name, "Name", F_STR, 0),
	FIELD(autopilot_server_health, address, "Address", F_STR, 0),
	FIELD(autopilot_server_health, serf_status, "SerfStatus", F_STR, 0),
	FIELD(autopilot_server_health, version, "Version", F_STR, 0),
	FIELD(autopilot_server_health, leader, "Leader", F_BOOL, 0),
	FIELD(autopilot_server_health, last_contact, "LastContact", F_STR, 0),
	FIELD(autopilot_server_health, last_term, "LastTerm", F_UINT, 0),
	FIELD(autopilot_server_health, last_index, "LastIndex", F_UINT, 0),
	FIELD(autopilot_server_health, healthy, "Healthy", F_BOOL, 0),
	FIELD(autopilot_server_health, voter, "Voter", F_BOOL, 0),
	FIELD(autopilot_server_health, stable_since, "StableSince", F_STR, 0),
};
RECORD(rec_autopilot_server_health, autopilot_server_health, "AutopilotServerHealth", f_autopilot_server_health);

static const struct field f_autopilot_health[] = {
	FIELD(autopilot_health, healthy, "Healthy", F_BOOL, 0),
	FIELD(autopilot_health, failure_tolerance, "FailureTolerance", F_INT, 0),
	FIELD_SUB(autopilot_health, servers, "Servers", F_RECORDS, 0, rec_autopilot_server_health),
};
RECORD(rec_autopilot_health, autopilot_health, "AutopilotHealth", f_autopilot_health);

static const struct field f_autopilot_server_state[] = {
	FIELD(autopilot_server_state, id, "ID", F_STR, 0),
	FIELD(autopilot_server_state, name, "Name", F_STR, 0),
	FIELD(autopilot_server_state, address, "Address", F_STR, 0),
	FIELD(autopilot_server_state, node_status, "NodeStatus", F_STR, 0),
	FIELD(autopilot_server_state, version, "Version", F_STR, 0),
	FIELD(autopilot_server_state, last_contact, "LastContact", F_STR, 0),
	FIELD(autopilot_server_state, last_term, "LastTerm", F_UINT, 0),
	FIELD(autopilot_server_state, last_index, "LastIndex", F_UINT, 0),
	FIELD(autopilot_server_state, healthy, "Healthy", F_BOOL, 0),
	FIELD(autopilot_server_state, stable_since, "StableSince", F_STR, 0),
	FIELD(autopilot_server_state, status, "Status", F_STR, 0),
	FIELD(autopilot_server_state, meta, "Meta", F_STRMAP, N),
	FIELD(autopilot_server_state, node_type, "NodeType", F_STR, 0),
};
RECORD(rec_autopilot_server_state, autopilot_server_state, "AutopilotServerState", f_autopilot_server_state);

static const struct field f_autopilot_state[] = {
	FIELD(autopilot_state, healthy, "Healthy", F_BOOL, 0),
	FIELD(autopilot_state, failure_tolerance, "FailureTolerance", F_INT, 0),
	FIELD(autopilot_state, optimistic_failure_tolerance, "OptimisticFailureTolerance", F_INT, 0),
	FIELD_SUB(autopilot_state, servers, "Servers", F_RECMAP, 0, rec_autopilot_server_state),
	FIELD(autopilot_state, leader, "Leader", F_STR, 0),
	FIELD(autopilot_state, voters, "Voters", F_STRS, 0),
};
RECORD(rec_autopilot_state, autopilot_state, "AutopilotState", f_autopilot_state);

static const struct field f_snapshot_info[] = {
	FIELD(snapshot_info, id, "ID", F_BYTES, 0),
	FIELD(snapshot_info, index, "Index", F_UINT, 0),
	FIELD(snapshot_info, term, "Term", F_UINT, 0),
	FIELD(snapshot_info, size, "Size", F_UINT, 0),
};
RECORD(rec_snapshot_info, snapshot_info, "SnapshotInfo", f_snapshot_info);

static const struct field f_snapshot_chunk[] = {
	FIELD(snapshot_chunk, id, "ID", F_BYTES, 0),
	FIELD(snapshot_chunk, offset, "Offset", F_UINT, 0),
	FIELD(snapshot_chunk, data, "Data", F_BYTES, E),
};
RECORD(rec_snapshot_chunk, snapshot_chunk, "SnapshotChunk", f_snapshot_chunk);

static const struct field f_peer_hello[] = {
	FIELD(peer_hello, protocol, "Protocol", F_UINT, 0),
	FIELD(peer_hello, purpose, "Purpose", F_STR, 0),
	FIELD(peer_hello, datacenter, "Datacenter", F_STR, 0),
	FIELD(peer_hello, cluster, "Cluster", F_STR, E),
	FIELD(peer_hello, id, "ID", F_STR, E),
	FIELD(peer_hello, node_id, "NodeID", F_STR, E),
	FIELD(peer_hello, node, "Node", F_STR, E),
	FIELD(peer_hello, address, "Address", F_STR, E),
	FIELD(peer_hello, version, "Version", F_STR, E),
};
RECORD(rec_peer_hello, peer_hello, "PeerHello", f_peer_hello);

static const struct field f_peer_joined[] = {
	FIELD(peer_joined, status, "Status", F_STR, 0),
	FIELD(peer_joined, cluster, "Cluster", F_STR, E),
	FIELD(peer_joined, leader, "Leader", F_STR, E),
	FIELD_SUB(peer_joined, servers, "Servers", F_RECORDS, 0, rec_raft_server),
};
RECORD(rec_peer_joined, peer_joined, "PeerJoined", f_peer_joined);

static const struct field f_peer_bootstrap[] = {
	FIELD_SUB(peer_bootstrap, config, "Config", F_RECORD, 0, rec_raft_config_entry),
	FIELD(peer_bootstrap, expect, "Expect", F_UINT, 0),
};
RECORD(rec_peer_bootstrap, peer_bootstrap, "PeerBootstrap", f_peer_bootstrap);

static const struct field f_raft_wire[] = {
	FIELD(raft_wire, type, "Type", F_UINT, E),
	FIELD(raft_wire, from, "From", F_UINT, E),
	FIELD(raft_wire, to, "To", F_UINT, E),
	FIELD(raft_wire, term, "Term", F_UINT, E),
	FIELD(raft_wire, prev_index, "PrevIndex", F_UINT, E),
	FIELD(raft_wire, prev_term, "PrevTerm", F_UINT, E),
	FIELD(raft_wire, transfer, "Transfer", F_BOOL, E),
	FIELD(raft_wire, ok, "OK", F_BOOL, E),
	FIELD(raft_wire, first, "First", F_UINT, E),
	FIELD(raft_wire, last, "Last", F_UINT, E),
	FIELD(raft_wire, commit, "Commit", F_UINT, E),
	FIELD(raft_wire, round, "Round", F_UINT, E),
	FIELD(raft_wire, sent_ms, "SentMS", F_UINT, E),
	FIELD(raft_wire, match, "Match", F_UINT, E),
	FIELD(raft_wire, hint_index, "HintIndex", F_UINT, E),
	FIELD(raft_wire, hint_term, "HintTerm", F_UINT, E),
	FIELD(raft_wire, snap_id, "SnapId", F_UINT, E),
	FIELD(raft_wire, snap_index, "SnapIndex", F_UINT, E),
	FIELD(raft_wire, snap_term, "SnapTerm", F_UINT, E),
	FIELD(raft_wire, snap_size, "SnapSize", F_UINT, E),
	FIELD(raft_wire, offset, "Offset", F_UINT, E),
	FIELD(raft_wire, read, "Read", F_UINT, E),
	FIELD(raft_wire, read_index, "ReadIndex", F_UINT, E),
	FIELD(raft_wire, consistent, "Consistent", F_BOOL, E),
	FIELD(raft_wire, time, "Time", F_INT, E),
	FIELD(raft_wire, entries, "Entries", F_BYTES, E),
	FIELD(raft_wire, data, "Data", F_BYTES, E),
};
RECORD(rec_raft_wire, raft_wire, "RaftMessage", f_raft_wire);
