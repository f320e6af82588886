/* fields.c - Consul's records as tables; fields stand in the bytewise order of their names. */
#include "raftd/archive/internal.h"

#define N FF_NULL

/* ---- nodes */

static const struct field f_snap_weights[] = {
	FIELD(weights, passing, "Passing", F_INT, 0),
	FIELD(weights, warning, "Warning", F_INT, 0),
};
RECORD(rec_snap_weights, weights, "Weights", f_snap_weights);

static const struct field f_definition[] = {
	FIELD(check_definition, alias_node, "AliasNode", F_STR, 0),
	FIELD(check_definition, alias_service, "AliasService", F_STR, 0),
	FIELD(check_definition, body, "Body", F_STR, 0),
	FIELD(check_definition, deregister_critical_service_after, "DeregisterCriticalServiceAfter", F_INT, 0),
	FIELD(check_definition, disable_redirects, "DisableRedirects", F_BOOL, 0),
	FIELD(check_definition, docker_container_id, "DockerContainerID", F_STR, 0),
	FIELD(check_definition, grpc, "GRPC", F_STR, 0),
	FIELD(check_definition, grpc_use_tls, "GRPCUseTLS", F_BOOL, 0),
	FIELD(check_definition, h2ping, "H2PING", F_STR, 0),
	FIELD(check_definition, http, "HTTP", F_STR, 0),
	FIELD_SUB(check_definition, header, "Header", F_RECMAP, N, rec_strs_value),
	FIELD(check_definition, interval, "Interval", F_INT, 0),
	FIELD(check_definition, method, "Method", F_STR, 0),
	FIELD(check_definition, output_max_size, "OutputMaxSize", F_UINT, 0),
	FIELD(check_definition, script_args, "ScriptArgs", F_STRS, N),
	FIELD(check_definition, shell, "Shell", F_STR, 0),
	FIELD(check_definition, tcp, "TCP", F_STR, 0),
	FIELD(check_definition, tls_server_name, "TLSServerName", F_STR, 0),
	FIELD(check_definition, tls_skip_verify, "TLSSkipVerify", F_BOOL, 0),
	FIELD(check_definition, ttl, "TTL", F_INT, 0),
	FIELD(check_definition, timeout, "Timeout", F_INT, 0),
};
static RECORD(rec_definition, check_definition, "Definition", f_definition);

static const struct field f_snap_check[] = {
	FIELD(snap_check, c.check_id, "CheckID", F_STR, 0),
	FIELD(snap_check, c.create_index, "CreateIndex", F_UINT, 0),
	FIELD_SUB(snap_check, definition, "Definition", F_RECORD, 0, rec_definition),
	FIELD(snap_check, c.exposed_port, "ExposedPort", F_INT, 0),
	FIELD(snap_check, c.interval, "Interval", F_STR, 0),
	FIELD(snap_check, c.modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(snap_check, c.name, "Name", F_STR, 0),
	FIELD(snap_check, c.node, "Node", F_STR, 0),
	FIELD(snap_check, c.notes, "Notes", F_STR, 0),
	FIELD(snap_check, c.output, "Output", F_STR, 0),
	FIELD(snap_check, c.service_id, "ServiceID", F_STR, 0),
	FIELD(snap_check, c.service_name, "ServiceName", F_STR, 0),
	FIELD(snap_check, c.service_tags, "ServiceTags", F_STRS, N),
	FIELD(snap_check, c.status, "Status", F_STR, 0),
	FIELD(snap_check, c.timeout, "Timeout", F_STR, 0),
	FIELD(snap_check, c.type, "Type", F_STR, 0),
};
RECORD(rec_snap_check, snap_check, "Check", f_snap_check);

static const struct field f_connect[] = {
	FIELD(snap_connect, native, "Native", F_BOOL, 0),
	FIELD(snap_connect, sidecar, "SidecarService", F_RAW, N),
};
static RECORD(rec_connect, snap_connect, "Connect", f_connect);

static const struct field f_snap_service[] = {
	FIELD(snap_service, s.address, "Address", F_STR, 0),
	FIELD_SUB(snap_service, connect, "Connect", F_RECORD, 0, rec_connect),
	FIELD(snap_service, s.create_index, "CreateIndex", F_UINT, 0),
	FIELD(snap_service, s.enable_tag_override, "EnableTagOverride", F_BOOL, 0),
	FIELD(snap_service, s.id, "ID", F_STR, 0),
	FIELD(snap_service, s.kind, "Kind", F_STR, 0),
	FIELD(snap_service, s.sidecar, "LocallyRegisteredAsSidecar", F_BOOL, 0),
	FIELD(snap_service, s.meta, "Meta", F_STRMAP, N),
	FIELD(snap_service, s.modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(snap_service, s.port, "Port", F_INT, 0),
	FIELD_SUB(snap_service, proxy, "Proxy", F_RECORD, 0, rec_snap_proxy),
	FIELD(snap_service, s.service, "Service", F_STR, 0),
	FIELD(snap_service, s.socket_path, "SocketPath", F_STR, 0),
	FIELD_SUB(snap_service, s.tagged_addresses, "TaggedAddresses", F_RECMAP, N, rec_service_address),
	FIELD(snap_service, s.tags, "Tags", F_STRS, N),
	FIELD(snap_service, weights, "Weights", F_RAW, N),
};
RECORD(rec_snap_service, snap_service, "Service", f_snap_service);

static const struct field f_snap_register[] = {
	FIELD(snap_register, node.address, "Address", F_STR, 0),
	FIELD(snap_register, check, "Check", F_RAW, N),
	FIELD_SUB(snap_register, checks, "Checks", F_RECORDS, N, rec_snap_check),
	FIELD(snap_register, node.create_index, "CreateIndex", F_UINT, 0),
	FIELD(snap_register, node.datacenter, "Datacenter", F_STR, 0),
	FIELD(snap_register, node.id, "ID", F_STR, 0),
	FIELD(snap_register, node.modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(snap_register, node.node, "Node", F_STR, 0),
	FIELD(snap_register, node.meta, "NodeMeta", F_STRMAP, N),
	FIELD(snap_register, service, "Service", F_RAW, N),
	FIELD(snap_register, skip_node_update, "SkipNodeUpdate", F_BOOL, 0),
	FIELD(snap_register, node.tagged_addresses, "TaggedAddresses", F_STRMAP, N),
	FIELD(snap_register, token, "Token", F_STR, 0),
};
RECORD(rec_snap_register, snap_register, "Register", f_snap_register);

/* ---- proxies */

static const struct field f_mesh[] = {
	FIELD(snap_mesh_gateway, mode, "Mode", F_STR, 0),
};
static RECORD(rec_mesh, snap_mesh_gateway, "MeshGateway", f_mesh);

static const struct field f_path[] = {
	FIELD(snap_path, listener_port, "ListenerPort", F_INT, 0),
	FIELD(snap_path, local_path_port, "LocalPathPort", F_INT, 0),
	FIELD(snap_path, parsed_from_check, "ParsedFromCheck", F_BOOL, 0),
	FIELD(snap_path, path, "Path", F_STR, 0),
	FIELD(snap_path, protocol, "Protocol", F_STR, 0),
};
static RECORD(rec_path, snap_path, "Path", f_path);

static const struct field f_expose[] = {
	FIELD(snap_expose, checks, "Checks", F_BOOL, 0),
	FIELD_SUB(snap_expose, paths, "Paths", F_RECORDS, N, rec_path),
};
static RECORD(rec_expose, snap_expose, "Expose", f_expose);

static const struct field f_transparent[] = {
	FIELD(snap_transparent, dialed_directly, "DialedDirectly", F_BOOL, 0),
	FIELD(snap_transparent, port, "OutboundListenerPort", F_INT, 0),
};
static RECORD(rec_transparent, snap_transparent, "TransparentProxy", f_transparent);

static const struct field f_upstream[] = {
	FIELD(snap_upstream, centrally, "CentrallyConfigured", F_BOOL, 0),
	FIELD(snap_upstream, config, "Config", F_RAW, N),
	FIELD(snap_upstream, datacenter, "Datacenter", F_STR, 0),
	FIELD(snap_upstream, name, "DestinationName", F_STR, 0),
	FIELD(snap_upstream, ns, "DestinationNamespace", F_STR, 0),
	FIELD(snap_upstream, type, "DestinationType", F_STR, 0),
	FIELD(snap_upstream, ingress_hosts, "IngressHosts", F_STRS, N),
	FIELD(snap_upstream, bind_address, "LocalBindAddress", F_STR, 0),
	FIELD(snap_upstream, bind_port, "LocalBindPort", F_INT, 0),
	FIELD(snap_upstream, socket_mode, "LocalBindSocketMode", F_STR, 0),
	FIELD(snap_upstream, socket_path, "LocalBindSocketPath", F_STR, 0),
	FIELD_SUB(snap_upstream, mesh, "MeshGateway", F_RECORD, 0, rec_mesh),
};
static RECORD(rec_upstream, snap_upstream, "Upstream", f_upstream);

static const struct field f_snap_proxy[] = {
	FIELD(snap_proxy, config, "Config", F_RAW, N),
	FIELD(snap_proxy, service_id, "DestinationServiceID", F_STR, 0),
	FIELD(snap_proxy, service_name, "DestinationServiceName", F_STR, 0),
	FIELD_SUB(snap_proxy, expose, "Expose", F_RECORD, 0, rec_expose),
	FIELD(snap_proxy, local_address, "LocalServiceAddress", F_STR, 0),
	FIELD(snap_proxy, local_port, "LocalServicePort", F_INT, 0),
	FIELD(snap_proxy, local_socket, "LocalServiceSocketPath", F_STR, 0),
	FIELD_SUB(snap_proxy, mesh, "MeshGateway", F_RECORD, 0, rec_mesh),
	FIELD(snap_proxy, mode, "Mode", F_STR, 0),
	FIELD_SUB(snap_proxy, transparent, "TransparentProxy", F_RECORD, 0, rec_transparent),
	FIELD_SUB(snap_proxy, upstreams, "Upstreams", F_RECORDS, N, rec_upstream),
};
RECORD(rec_snap_proxy, snap_proxy, "Proxy", f_snap_proxy);

/* ---- the others */

static const struct field f_service_check[] = {
	FIELD(service_check_ref, id, "ID", F_STR, 0),
	FIELD(service_check_ref, ns, "Namespace", F_STR, 0),
};
static RECORD(rec_service_check, service_check_ref, "ServiceCheck", f_service_check);

static const struct field f_snap_session[] = {
	FIELD(snap_session, s.behavior, "Behavior", F_STR, 0),
	FIELD(snap_session, checks, "Checks", F_STRS, N),
	FIELD(snap_session, s.create_index, "CreateIndex", F_UINT, 0),
	FIELD(snap_session, s.id, "ID", F_STR, 0),
	FIELD(snap_session, s.lock_delay, "LockDelay", F_INT, 0),
	FIELD(snap_session, s.modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(snap_session, s.name, "Name", F_STR, 0),
	FIELD(snap_session, s.node, "Node", F_STR, 0),
	FIELD(snap_session, s.node_checks, "NodeChecks", F_STRS, 0),
	FIELD_SUB(snap_session, s.service_checks, "ServiceChecks", F_RECORDS, N, rec_service_check),
	FIELD(snap_session, s.ttl, "TTL", F_STR, 0),
	FIELD(snap_session, s.ttl_exact, "TTLExact", F_BOOL, FF_OMITEMPTY),	/* ours */
};
RECORD(rec_snap_session, snap_session, "Session", f_snap_session);

/* What is ours Consul passes over, and it is there only where it is set. */
static const struct field f_snap_kvs[] = {
	FIELD(snap_kvs, e.create_index, "CreateIndex", F_UINT, 0),
	FIELD(snap_kvs, e.fencing, "FencingToken", F_UINT, FF_OMITEMPTY),	/* ours */
	FIELD(snap_kvs, e.flags, "Flags", F_UINT, 0),
	FIELD(snap_kvs, e.key, "Key", F_STR, 0),
	FIELD(snap_kvs, e.lock_index, "LockIndex", F_UINT, 0),
	FIELD(snap_kvs, e.modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(snap_kvs, e.session, "Session", F_STR, 0),
	FIELD(snap_kvs, ttl, "TTL", F_INT, FF_OMITEMPTY),	/* ours */
	FIELD(snap_kvs, e.value, "Value", F_BYTES, N),
};
RECORD(rec_snap_kvs, snap_kvs, "KVS", f_snap_kvs);

static const struct field f_snap_autopilot[] = {
	FIELD(autopilot_config, cleanup_dead_servers, "CleanupDeadServers", F_BOOL, 0),
	FIELD(autopilot_config, create_index, "CreateIndex", F_UINT, 0),
	FIELD(autopilot_config, disable_upgrade_migration, "DisableUpgradeMigration", F_BOOL, 0),
	FIELD(autopilot_config, last_contact_threshold, "LastContactThreshold", F_INT, 0),
	FIELD(autopilot_config, max_trailing_logs, "MaxTrailingLogs", F_UINT, 0),
	FIELD(autopilot_config, min_quorum, "MinQuorum", F_UINT, 0),
	FIELD(autopilot_config, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(autopilot_config, redundancy_zone_tag, "RedundancyZoneTag", F_STR, 0),
	FIELD(autopilot_config, server_stabilization_time, "ServerStabilizationTime", F_INT, 0),
	FIELD(autopilot_config, upgrade_version_tag, "UpgradeVersionTag", F_STR, 0),
};
RECORD(rec_snap_autopilot, autopilot_config, "Autopilot", f_snap_autopilot);

static const struct field f_snap_coord[] = {
	FIELD(coordinate, adjustment, "Adjustment", F_DOUBLE, 0),
	FIELD(coordinate, error, "Error", F_DOUBLE, 0),
	FIELD(coordinate, height, "Height", F_DOUBLE, 0),
	FIELD_SUB(coordinate, vec, "Vec", F_RECORDS, 0, rec_coordinate_axis),
};
static RECORD(rec_snap_coord, coordinate, "Coord", f_snap_coord);

static const struct field f_snap_coordinate[] = {
	FIELD_SUB(coordinate_entry, coord, "Coord", F_RECORD, 0, rec_snap_coord),
	FIELD(coordinate_entry, node, "Node", F_STR, 0),
	FIELD(coordinate_entry, segment, "Segment", F_STR, 0),
};
RECORD(rec_snap_coordinate, coordinate_entry, "Coordinate", f_snap_coordinate);

static const struct field f_snap_pq_dns[] = {
	FIELD(pq_dns, ttl, "TTL", F_STR, 0),
};
static RECORD(rec_snap_pq_dns, pq_dns, "DNS", f_snap_pq_dns);

/* What came after the release whose format this is stands only where it is used: Consul passes over what it does not know. */
static const struct field f_snap_pq_target[] = {
	FIELD(pq_failover_target, datacenter, "Datacenter", F_STR, 0),
	FIELD(pq_failover_target, peer, "Peer", F_STR, 0),
};
static RECORD(rec_snap_pq_target, pq_failover_target, "Target", f_snap_pq_target);

static const struct field f_snap_pq_failover[] = {
	FIELD(pq_failover, datacenters, "Datacenters", F_STRS, N),
	FIELD(pq_failover, nearest_n, "NearestN", F_INT, 0),
	FIELD_SUB(pq_failover, targets, "Targets", F_RECORDS, FF_OMITEMPTY, rec_snap_pq_target),
};
static RECORD(rec_snap_pq_failover, pq_failover, "Failover", f_snap_pq_failover);

static const struct field f_snap_pq_service[] = {
	FIELD(pq_service, connect, "Connect", F_BOOL, 0),
	FIELD_SUB(pq_service, failover, "Failover", F_RECORD, 0, rec_snap_pq_failover),
	FIELD(pq_service, ignore_check_ids, "IgnoreCheckIDs", F_STRS, N),
	FIELD(pq_service, near, "Near", F_STR, 0),
	FIELD(pq_service, node_meta, "NodeMeta", F_STRMAP, N),
	FIELD(pq_service, only_passing, "OnlyPassing", F_BOOL, 0),
	FIELD(pq_service, peer, "Peer", F_STR, FF_OMITEMPTY),
	FIELD(pq_service, sameness_group, "SamenessGroup", F_STR, FF_OMITEMPTY),
	FIELD(pq_service, service, "Service", F_STR, 0),
	FIELD(pq_service, service_meta, "ServiceMeta", F_STRMAP, N),
	FIELD(pq_service, tags, "Tags", F_STRS, N),
};
static RECORD(rec_snap_pq_service, pq_service, "Service", f_snap_pq_service);

static const struct field f_snap_pq_template[] = {
	FIELD(pq_template, regexp, "Regexp", F_STR, 0),
	FIELD(pq_template, remove_empty_tags, "RemoveEmptyTags", F_BOOL, 0),
	FIELD(pq_template, type, "Type", F_STR, 0),
};
static RECORD(rec_snap_pq_template, pq_template, "Template", f_snap_pq_template);

static const struct field f_snap_query[] = {
	FIELD(prepared_query, create_index, "CreateIndex", F_UINT, 0),
	FIELD_SUB(prepared_query, dns, "DNS", F_RECORD, 0, rec_snap_pq_dns),
	FIELD(prepared_query, id, "ID", F_STR, 0),
	FIELD(prepared_query, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(prepared_query, name, "Name", F_STR, 0),
	FIELD_SUB(prepared_query, service, "Service", F_RECORD, 0, rec_snap_pq_service),
	FIELD(prepared_query, session, "Session", F_STR, 0),
	FIELD_SUB(prepared_query, template, "Template", F_RECORD, 0, rec_snap_pq_template),
	FIELD(prepared_query, token, "Token", F_STR, 0),
};
RECORD(rec_snap_query, prepared_query, "PreparedQuery", f_snap_query);

static const struct field f_snap_index[] = {
	FIELD(snap_index, key, "Key", F_STR, 0),
	FIELD(snap_index, value, "Value", F_UINT, 0),
};
RECORD(rec_snap_index, snap_index, "Index", f_snap_index);

static const struct field f_session_image[] = {
	FIELD_SUB(session_image, session, "Session", F_RECORD, 0, rec_session),
	FIELD(session_image, deadline, "Deadline", F_INT, 0),
};
RECORD(rec_session_image, session_image, "SessionImage", f_session_image);

static const struct field f_ttl_image[] = {
	FIELD(ttl_image, ttl, "TTL", F_INT, 0),
	FIELD(ttl_image, deadline, "Deadline", F_INT, 0),
};
RECORD(rec_ttl_image, ttl_image, "KVTTLImage", f_ttl_image);
