/* records.c - the tables of the records: wire name, type and habit of each member. */
#include "lib/records.h"

#define E FF_OMITEMPTY
#define N FF_NULL
#define I FF_INTERNAL

static const struct field f_query_options[] = {
	FIELD(query_options, token, "Token", F_STR, E),
	FIELD(query_options, datacenter, "Datacenter", F_STR, E),
	FIELD(query_options, consistency, "Consistency", F_UINT, E),
	FIELD(query_options, min_index, "MinIndex", F_UINT, E),
	FIELD(query_options, acl_index, "ACLIndex", F_UINT, E),
	FIELD(query_options, max_stale, "MaxStale", F_DURATION, E),
	FIELD(query_options, origin, "Origin", F_BYTES, E),
	FIELD(query_options, seq, "Seq", F_UINT, E),
	FIELD(query_options, floor, "Floor", F_UINT, E),
	FIELD(query_options, internal, "Internal", F_BOOL, E),
};
RECORD(rec_query_options, query_options, "QueryOptions", f_query_options);

static const struct field f_query_meta[] = {
	FIELD(query_meta, index, "Index", F_UINT, 0),
	FIELD(query_meta, last_contact_ms, "LastContact", F_INT, E),
	FIELD(query_meta, known_leader, "KnownLeader", F_BOOL, 0),
	FIELD(query_meta, acl_index, "ACLIndex", F_UINT, E),
	FIELD(query_meta, filtered, "ResultsFilteredByACLs", F_BOOL, E),
};
RECORD(rec_query_meta, query_meta, "QueryMeta", f_query_meta);

static const struct field f_rpc_error[] = {
	FIELD(rpc_error, code, "Code", F_UINT, 0),
	FIELD(rpc_error, text, "Text", F_STR, 0),
};
RECORD(rec_rpc_error, rpc_error, "Error", f_rpc_error);

static const struct field f_kv_entry[] = {
	FIELD(kv_entry, lock_index, "LockIndex", F_UINT, 0),
	FIELD(kv_entry, key, "Key", F_STR, 0),
	FIELD(kv_entry, flags, "Flags", F_UINT, 0),
	FIELD(kv_entry, value, "Value", F_BYTES, N),
	FIELD(kv_entry, session, "Session", F_STR, E),
	FIELD(kv_entry, create_index, "CreateIndex", F_UINT, 0),
	FIELD(kv_entry, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(kv_entry, expires_at, "ExpiresAt", F_STR, E),
	FIELD(kv_entry, fencing, "FencingToken", F_UINT, E),
};
RECORD(rec_kv_entry, kv_entry, "KVEntry", f_kv_entry);

static const struct field f_kv_query[] = {
	FIELD(kv_query, key, "Key", F_STR, 0),
	FIELD(kv_query, separator, "Separator", F_STR, E),
	FIELD(kv_query, after, "After", F_STR, E),
	FIELD(kv_query, limit, "Limit", F_UINT, E),
	FIELD(kv_query, depth, "Depth", F_UINT, E),
	FIELD(kv_query, count, "Count", F_BOOL, E),
	FIELD(kv_query, fencing, "Fencing", F_BOOL, E),
};
RECORD(rec_kv_query, kv_query, "KVQuery", f_kv_query);

static const struct field f_kv_op[] = {
	FIELD(kv_op, verb, "Op", F_STR, 0),
	FIELD_SUB(kv_op, entry, "DirEnt", F_RECORD, 0, rec_kv_entry),
	FIELD(kv_op, ttl, "TTL", F_INT, E),
	FIELD(kv_op, fencing, "Fencing", F_BOOL, E),
};
RECORD(rec_kv_op, kv_op, "KVOp", f_kv_op);

static const struct field f_service_check_ref[] = {
	FIELD(service_check_ref, id, "ID", F_STR, 0),
	FIELD(service_check_ref, ns, "Namespace", F_STR, 0),
};
RECORD(rec_service_check_ref, service_check_ref, "ServiceCheck", f_service_check_ref);

static const struct field f_session[] = {
	FIELD(session, id, "ID", F_STR, 0),
	FIELD(session, name, "Name", F_STR, 0),
	FIELD(session, node, "Node", F_STR, 0),
	FIELD(session, lock_delay, "LockDelay", F_DURATION, 0),
	FIELD(session, behavior, "Behavior", F_STR, 0),
	FIELD(session, ttl, "TTL", F_STR, 0),
	FIELD(session, ttl_exact, "TTLExact", F_BOOL, E),
	FIELD(session, node_checks, "NodeChecks", F_STRS, 0),
	FIELD_SUB(session, service_checks, "ServiceChecks", F_RECORDS, N, rec_service_check_ref),
	FIELD(session, create_index, "CreateIndex", F_UINT, 0),
	FIELD(session, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_session, session, "Session", f_session);

static const struct field f_session_create[] = {
	FIELD(session_create, id, "ID", F_STR, E),
	FIELD(session_create, name, "Name", F_STR, E),
	FIELD(session_create, node, "Node", F_STR, E),
	FIELD(session_create, lock_delay, "LockDelay", F_DURATION, FF_SECONDS),
	FIELD(session_create, behavior, "Behavior", F_STR, E),
	FIELD(session_create, ttl, "TTL", F_STR, E),
	FIELD(session_create, ttl_exact, "TTLExact", F_BOOL, E),
	FIELD(session_create, node_checks, "NodeChecks", F_STRS, E),
	FIELD(session_create, no_node_checks, "NoNodeChecks", F_BOOL, E | I),
	FIELD_SUB(session_create, service_checks, "ServiceChecks", F_RECORDS, E, rec_service_check_ref),
	FIELD(session_create, checks, "Checks", F_STRS, E),
};
RECORD(rec_session_create, session_create, "SessionCreate", f_session_create);

static const struct field f_id_request[] = {
	FIELD(id_request, id, "ID", F_STR, 0),
};
RECORD(rec_id_request, id_request, "IDRequest", f_id_request);

static const struct field f_node[] = {
	FIELD(node, id, "ID", F_STR, 0),
	FIELD(node, node, "Node", F_STR, 0),
	FIELD(node, address, "Address", F_STR, 0),
	FIELD(node, datacenter, "Datacenter", F_STR, 0),
	FIELD(node, tagged_addresses, "TaggedAddresses", F_STRMAP, N),
	FIELD(node, meta, "Meta", F_STRMAP, N),
	FIELD(node, create_index, "CreateIndex", F_UINT, 0),
	FIELD(node, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_node, node, "Node", f_node);

static const struct field f_service_address[] = {
	FIELD(service_address, address, "Address", F_STR, 0),
	FIELD(service_address, port, "Port", F_INT, 0),
};
RECORD(rec_service_address, service_address, "ServiceAddress", f_service_address);

static const struct field f_weights[] = {
	FIELD(weights, passing, "Passing", F_INT, 0),
	FIELD(weights, warning, "Warning", F_INT, 0),
};
RECORD(rec_weights, weights, "Weights", f_weights);

static const struct field f_node_service[] = {
	FIELD(node_service, kind, "Kind", F_STR, E),
	FIELD(node_service, id, "ID", F_STR, 0),
	FIELD(node_service, service, "Service", F_STR, 0),
	FIELD(node_service, tags, "Tags", F_STRS, 0),
	FIELD(node_service, address, "Address", F_STR, 0),
	FIELD_SUB(node_service, tagged_addresses, "TaggedAddresses", F_RECMAP, E, rec_service_address),
	FIELD(node_service, meta, "Meta", F_STRMAP, N),
	FIELD(node_service, port, "Port", F_INT, E),
	FIELD(node_service, socket_path, "SocketPath", F_STR, E),
	FIELD_SUB(node_service, weights, "Weights", F_RECORD, 0, rec_weights),
	FIELD(node_service, enable_tag_override, "EnableTagOverride", F_BOOL, 0),
	FIELD(node_service, proxy, "Proxy", F_RAW, E),
	FIELD(node_service, connect, "Connect", F_RAW, E),
	FIELD(node_service, sidecar, "LocallyRegisteredAsSidecar", F_BOOL, E | I),
	FIELD(node_service, create_index, "CreateIndex", F_UINT, 0),
	FIELD(node_service, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_node_service, node_service, "NodeService", f_node_service);

static const struct field f_service_node[] = {
	FIELD(service_node, id, "ID", F_STR, 0),
	FIELD(service_node, node, "Node", F_STR, 0),
	FIELD(service_node, address, "Address", F_STR, 0),
	FIELD(service_node, datacenter, "Datacenter", F_STR, 0),
	FIELD(service_node, tagged_addresses, "TaggedAddresses", F_STRMAP, N),
	FIELD(service_node, node_meta, "NodeMeta", F_STRMAP, N),
	FIELD(service_node, service_kind, "ServiceKind", F_STR, 0),
	FIELD(service_node, service_id, "ServiceID", F_STR, 0),
	FIELD(service_node, service_name, "ServiceName", F_STR, 0),
	FIELD(service_node, service_tags, "ServiceTags", F_STRS, 0),
	FIELD(service_node, service_address, "ServiceAddress", F_STR, 0),
	FIELD_SUB(service_node, service_tagged_addresses, "ServiceTaggedAddresses", F_RECMAP, E, rec_service_address),
	FIELD_SUB(service_node, service_weights, "ServiceWeights", F_RECORD, 0, rec_weights),
	FIELD(service_node, service_meta, "ServiceMeta", F_STRMAP, 0),
	FIELD(service_node, service_port, "ServicePort", F_INT, 0),
	FIELD(service_node, service_socket_path, "ServiceSocketPath", F_STR, 0),
	FIELD(service_node, service_enable_tag_override, "ServiceEnableTagOverride", F_BOOL, 0),
	FIELD(service_node, service_proxy, "ServiceProxy", F_RAW, E),
	FIELD(service_node, service_connect, "ServiceConnect", F_RAW, E),
	FIELD(service_node, create_index, "CreateIndex", F_UINT, 0),
	FIELD(service_node, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_service_node, service_node, "ServiceNode", f_service_node);

/* A record without a name of its own: record_*() treat it as the bare list. */
static const struct field f_strs_value[] = {
	FIELD(strs_value, v, "", F_STRS, 0),
};
RECORD(rec_strs_value, strs_value, "", f_strs_value);

static const struct field f_check_definition[] = {
	FIELD(check_definition, interval, "Interval", F_DURATION, E | FF_DURSTR),
	FIELD(check_definition, output_max_size, "OutputMaxSize", F_UINT, E),
	FIELD(check_definition, timeout, "Timeout", F_DURATION, E | FF_DURSTR),
	FIELD(check_definition, deregister_critical_service_after, "DeregisterCriticalServiceAfter", F_DURATION, E | FF_DURSTR),
	FIELD(check_definition, http, "HTTP", F_STR, E),
	FIELD(check_definition, tls_server_name, "TLSServerName", F_STR, E),
	FIELD(check_definition, tls_skip_verify, "TLSSkipVerify", F_BOOL, E),
	FIELD(check_definition, disable_redirects, "DisableRedirects", F_BOOL, E),
	FIELD_SUB(check_definition, header, "Header", F_RECMAP, E, rec_strs_value),
	FIELD(check_definition, method, "Method", F_STR, E),
	FIELD(check_definition, body, "Body", F_STR, E),
	FIELD(check_definition, tcp, "TCP", F_STR, E),
	FIELD(check_definition, h2ping, "H2PING", F_STR, E),
	FIELD(check_definition, script_args, "ScriptArgs", F_STRS, E),
	FIELD(check_definition, docker_container_id, "DockerContainerID", F_STR, E),
	FIELD(check_definition, shell, "Shell", F_STR, E),
	FIELD(check_definition, grpc, "GRPC", F_STR, E),
	FIELD(check_definition, grpc_use_tls, "GRPCUseTLS", F_BOOL, E),
	FIELD(check_definition, alias_node, "AliasNode", F_STR, E),
	FIELD(check_definition, alias_service, "AliasService", F_STR, E),
	FIELD(check_definition, ttl, "TTL", F_DURATION, E),
};
RECORD(rec_check_definition, check_definition, "HealthCheckDefinition", f_check_definition);

static const struct field f_health_check[] = {
	FIELD(health_check, node, "Node", F_STR, 0),
	FIELD(health_check, check_id, "CheckID", F_STR, 0),
	FIELD(health_check, name, "Name", F_STR, 0),
	FIELD(health_check, status, "Status", F_STR, 0),
	FIELD(health_check, notes, "Notes", F_STR, 0),
	FIELD(health_check, output, "Output", F_STR, 0),
	FIELD(health_check, service_id, "ServiceID", F_STR, 0),
	FIELD(health_check, service_name, "ServiceName", F_STR, 0),
	FIELD(health_check, service_tags, "ServiceTags", F_STRS, 0),
	FIELD(health_check, type, "Type", F_STR, 0),
	FIELD(health_check, interval, "Interval", F_STR, 0),
	FIELD(health_check, timeout, "Timeout", F_STR, 0),
	FIELD(health_check, exposed_port, "ExposedPort", F_INT, 0),
	FIELD_SUB(health_check, definition, "Definition", F_RAW, 0, rec_check_definition),
	FIELD(health_check, create_index, "CreateIndex", F_UINT, 0),
	FIELD(health_check, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_health_check, health_check, "HealthCheck", f_health_check);

static const struct field f_register_request[] = {
	FIELD(register_request, datacenter, "Datacenter", F_STR, E),
	FIELD(register_request, id, "ID", F_STR, E),
	FIELD(register_request, node, "Node", F_STR, E),
	FIELD(register_request, address, "Address", F_STR, E),
	FIELD(register_request, tagged_addresses, "TaggedAddresses", F_STRMAP, E),
	FIELD(register_request, node_meta, "NodeMeta", F_STRMAP, E),
	FIELD_SUB(register_request, service, "Service", F_RECORDS, E, rec_node_service),
	FIELD_SUB(register_request, check, "Check", F_RECORDS, E, rec_health_check),
	FIELD_SUB(register_request, checks, "Checks", F_RECORDS, E, rec_health_check),
	FIELD(register_request, skip_node_update, "SkipNodeUpdate", F_BOOL, E),
};
RECORD(rec_register_request, register_request, "RegisterRequest", f_register_request);

static const struct field f_deregister_request[] = {
	FIELD(deregister_request, datacenter, "Datacenter", F_STR, E),
	FIELD(deregister_request, node, "Node", F_STR, E),
	FIELD(deregister_request, service_id, "ServiceID", F_STR, E),
	FIELD(deregister_request, check_id, "CheckID", F_STR, E),
};
RECORD(rec_deregister_request, deregister_request, "DeregisterRequest", f_deregister_request);

static const struct field f_batch_item[] = {
	FIELD(batch_item, token, "Token", F_STR, E),
	FIELD_SUB(batch_item, reg, "Register", F_RECORDS, E, rec_register_request),
	FIELD_SUB(batch_item, dereg, "Deregister", F_RECORDS, E, rec_deregister_request),
	FIELD(batch_item, code, "Code", F_INT, E),
	FIELD(batch_item, text, "Text", F_STR, E),
};
RECORD(rec_batch_item, batch_item, "BatchItem", f_batch_item);

static const struct field f_catalog_batch[] = {
	FIELD_SUB(catalog_batch, items, "Items", F_RECORDS, 0, rec_batch_item),
};
RECORD(rec_catalog_batch, catalog_batch, "CatalogBatch", f_catalog_batch);

static const struct field f_batch_result[] = {
	FIELD(batch_result, code, "Code", F_INT, E),
	FIELD(batch_result, text, "Text", F_STR, E),
};
RECORD(rec_batch_result, batch_result, "BatchResult", f_batch_result);

static const struct field f_catalog_query[] = {
	FIELD(catalog_query, node, "Node", F_STR, E),
	FIELD(catalog_query, service, "Service", F_STR, E),
	FIELD(catalog_query, tags, "Tags", F_STRS, E),
	FIELD(catalog_query, node_meta, "NodeMeta", F_STRMAP, E),
	FIELD(catalog_query, state, "State", F_STR, E),
	FIELD(catalog_query, near, "Near", F_STR, E),
	FIELD(catalog_query, filter, "Filter", F_STR, E),
	FIELD(catalog_query, segment, "Segment", F_STR, E),
};
RECORD(rec_catalog_query, catalog_query, "CatalogQuery", f_catalog_query);

static const struct field f_reverse_query[] = {
	FIELD(reverse_query, address, "Address", F_STR, 0),
};
RECORD(rec_reverse_query, reverse_query, "ReverseQuery", f_reverse_query);

static const struct field f_health_entry[] = {
	FIELD_SUB(health_entry, node, "Node", F_RECORD, 0, rec_node),
	FIELD_SUB(health_entry, service, "Service", F_RECORD, 0, rec_node_service),
	FIELD_SUB(health_entry, checks, "Checks", F_RECORDS, 0, rec_health_check),
};
RECORD(rec_health_entry, health_entry, "HealthEntry", f_health_entry);

static const struct field f_txn_kv[] = {
	FIELD(txn_kv, verb, "Verb", F_STR, 0),
	FIELD(txn_kv, key, "Key", F_STR, 0),
	FIELD(txn_kv, value, "Value", F_BYTES, E),
	FIELD(txn_kv, flags, "Flags", F_UINT, E),
	FIELD(txn_kv, index, "Index", F_UINT, E),
	FIELD(txn_kv, session, "Session", F_STR, E),
	FIELD(txn_kv, dest, "Dest", F_STR, E),
};
RECORD(rec_txn_kv, txn_kv, "TxnKV", f_txn_kv);

static const struct field f_txn_node[] = {
	FIELD(txn_node, verb, "Verb", F_STR, 0),
	FIELD_SUB(txn_node, node, "Node", F_RECORD, 0, rec_node),
};
RECORD(rec_txn_node, txn_node, "TxnNode", f_txn_node);

static const struct field f_txn_service[] = {
	FIELD(txn_service, verb, "Verb", F_STR, 0),
	FIELD(txn_service, node, "Node", F_STR, 0),
	FIELD_SUB(txn_service, service, "Service", F_RECORD, 0, rec_node_service),
};
RECORD(rec_txn_service, txn_service, "TxnService", f_txn_service);

static const struct field f_txn_check[] = {
	FIELD(txn_check, verb, "Verb", F_STR, 0),
	FIELD_SUB(txn_check, check, "Check", F_RECORD, 0, rec_health_check),
};
RECORD(rec_txn_check, txn_check, "TxnCheck", f_txn_check);

static const struct field f_txn_op[] = {
	FIELD_SUB(txn_op, kv, "KV", F_RECORDS, E, rec_txn_kv),
	FIELD_SUB(txn_op, node, "Node", F_RECORDS, E, rec_txn_node),
	FIELD_SUB(txn_op, service, "Service", F_RECORDS, E, rec_txn_service),
	FIELD_SUB(txn_op, check, "Check", F_RECORDS, E, rec_txn_check),
};
RECORD(rec_txn_op, txn_op, "TxnOp", f_txn_op);

static const struct field f_txn_request[] = {
	FIELD_SUB(txn_request, ops, "Ops", F_RECORDS, 0, rec_txn_op),
};
RECORD(rec_txn_request, txn_request, "TxnRequest", f_txn_request);

static const struct field f_check_def[] = {
	FIELD(check_def, check_id, "CheckID", F_STR, E),
	FIELD(check_def, name, "Name", F_STR, E),
	FIELD(check_def, notes, "Notes", F_STR, E),
	FIELD(check_def, service_id, "ServiceID", F_STR, E),
	FIELD(check_def, status, "Status", F_STR, E),
	FIELD(check_def, token, "Token", F_STR, E),
	FIELD(check_def, args, "Args", F_STRS, E),
	FIELD(check_def, script, "Script", F_STR, E),
	FIELD(check_def, interval, "Interval", F_DURATION, E),
	FIELD(check_def, timeout, "Timeout", F_DURATION, E),
	FIELD(check_def, ttl, "TTL", F_DURATION, E),
	FIELD(check_def, http, "HTTP", F_STR, E),
	FIELD(check_def, method, "Method", F_STR, E),
	FIELD(check_def, body, "Body", F_STR, E),
	FIELD_SUB(check_def, header, "Header", F_RECMAP, E, rec_strs_value),
	FIELD(check_def, disable_redirects, "DisableRedirects", F_BOOL, E),
	FIELD(check_def, tls_skip_verify, "TLSSkipVerify", F_BOOL, E),
	FIELD(check_def, tls_server_name, "TLSServerName", F_STR, E),
	FIELD(check_def, output_max_size, "OutputMaxSize", F_INT, E),
	FIELD(check_def, tcp, "TCP", F_STR, E),
	FIELD(check_def, tcp_use_tls, "TCPUseTLS", F_BOOL, E),
	FIELD(check_def, udp, "UDP", F_STR, E),
	FIELD(check_def, grpc, "GRPC", F_STR, E),
	FIELD(check_def, grpc_use_tls, "GRPCUseTLS", F_BOOL, E),
	FIELD(check_def, h2ping, "H2PING", F_STR, E),
	FIELD(check_def, h2ping_use_tls, "H2PingUseTLS", F_RAW, E),
	FIELD(check_def, docker_container_id, "DockerContainerID", F_STR, E),
	FIELD(check_def, shell, "Shell", F_STR, E),
	FIELD(check_def, os_service, "OSService", F_STR, E),
	FIELD(check_def, alias_node, "AliasNode", F_STR, E),
	FIELD(check_def, alias_service, "AliasService", F_STR, E),
	FIELD(check_def, success_before_passing, "SuccessBeforePassing", F_INT, E),
	FIELD(check_def, failures_before_warning, "FailuresBeforeWarning", F_INT, E),
	FIELD(check_def, failures_before_critical, "FailuresBeforeCritical", F_INT, E),
	FIELD(check_def, deregister_critical_service_after, "DeregisterCriticalServiceAfter", F_DURATION, E),
	/* aliases that Consul's decoders take; only ever read */
	FIELD(check_def, check_id, "ID", F_STR, E | FF_ALIAS),
	FIELD(check_def, args, "ScriptArgs", F_STRS, E | FF_ALIAS),
};
RECORD(rec_check_def, check_def, "CheckDefinition", f_check_def);

static const struct field f_service_def[] = {
	FIELD(service_def, kind, "Kind", F_STR, E),
	FIELD(service_def, id, "ID", F_STR, E),
	FIELD(service_def, name, "Name", F_STR, E),
	FIELD(service_def, tags, "Tags", F_STRS, E),
	FIELD(service_def, address, "Address", F_STR, E),
	FIELD_SUB(service_def, tagged_addresses, "TaggedAddresses", F_RECMAP, E, rec_service_address),
	FIELD(service_def, meta, "Meta", F_STRMAP, E),
	FIELD(service_def, port, "Port", F_INT, E),
	FIELD(service_def, socket_path, "SocketPath", F_STR, E),
	FIELD_SUB(service_def, weights, "Weights", F_RECORDS, E, rec_weights),
	FIELD(service_def, enable_tag_override, "EnableTagOverride", F_BOOL, E),
	FIELD(service_def, token, "Token", F_STR, E),
	FIELD_SUB(service_def, check, "Check", F_RECORDS, E, rec_check_def),
	FIELD_SUB(service_def, checks, "Checks", F_RECORDS, E, rec_check_def),
	FIELD(service_def, proxy, "Proxy", F_RAW, E),
	FIELD(service_def, connect, "Connect", F_RAW, E),
};
RECORD(rec_service_def, service_def, "ServiceDefinition", f_service_def);

static const struct field f_agent_service[] = {
	FIELD(agent_service, kind, "Kind", F_STR, E),
	FIELD(agent_service, id, "ID", F_STR, 0),
	FIELD(agent_service, service, "Service", F_STR, 0),
	FIELD(agent_service, tags, "Tags", F_STRS, 0),
	FIELD(agent_service, meta, "Meta", F_STRMAP, 0),
	FIELD(agent_service, port, "Port", F_INT, 0),
	FIELD(agent_service, address, "Address", F_STR, 0),
	FIELD(agent_service, socket_path, "SocketPath", F_STR, E),
	FIELD_SUB(agent_service, tagged_addresses, "TaggedAddresses", F_RECMAP, E, rec_service_address),
	FIELD_SUB(agent_service, weights, "Weights", F_RECORD, 0, rec_weights),
	FIELD(agent_service, enable_tag_override, "EnableTagOverride", F_BOOL, 0),
	FIELD(agent_service, datacenter, "Datacenter", F_STR, E),
	FIELD(agent_service, content_hash, "ContentHash", F_STR, E),
};
RECORD(rec_agent_service, agent_service, "AgentService", f_agent_service);

static const struct field f_agent_register[] = {
	FIELD_SUB(agent_register, service, "Service", F_RECORD, 0, rec_service_def),
	FIELD(agent_register, replace_existing_checks, "ReplaceExistingChecks", F_BOOL, E),
	FIELD(agent_register, client, "Client", F_STR, E),
};
RECORD(rec_agent_register, agent_register, "AgentRegister", f_agent_register);

static const struct field f_explain_query[] = {
	FIELD(explain_query, service, "Service", F_STR, 0),
	FIELD(explain_query, tag, "Tag", F_STR, E),
};
RECORD(rec_explain_query, explain_query, "ExplainQuery", f_explain_query);

static const struct field f_agent_query[] = {
	FIELD(agent_query, id, "ID", F_STR, E),
	FIELD(agent_query, by_name, "ByName", F_BOOL, E),
	FIELD(agent_query, hash, "Hash", F_STR, E),
	FIELD(agent_query, wait, "Wait", F_DURATION, E),
	FIELD(agent_query, filter, "Filter", F_STR, E),
};
RECORD(rec_agent_query, agent_query, "AgentQuery", f_agent_query);

static const struct field f_check_update[] = {
	FIELD(check_update, check_id, "CheckID", F_STR, E),
	FIELD(check_update, status, "Status", F_STR, E),
	FIELD(check_update, output, "Output", F_STR, E),
};
RECORD(rec_check_update, check_update, "CheckUpdate", f_check_update);

static const struct field f_maintenance[] = {
	FIELD(maintenance, service_id, "ServiceID", F_STR, E),
	FIELD(maintenance, enable, "Enable", F_BOOL, 0),
	FIELD(maintenance, reason, "Reason", F_STR, E),
	FIELD(maintenance, token, "Token", F_STR, E),
};
RECORD(rec_maintenance, maintenance, "Maintenance", f_maintenance);

static const struct field f_log_query[] = {
	FIELD(log_query, level, "Level", F_STR, E),
	FIELD(log_query, json, "JSON", F_BOOL, E),
};
RECORD(rec_log_query, log_query, "LogQuery", f_log_query);

static const struct field f_log_line[] = {
	FIELD(log_line, text, "Text", F_STR, 0),
};
RECORD(rec_log_line, log_line, "LogLine", f_log_line);

static const struct field f_metric_bucket[] = {
	FIELD(metric_bucket, le, "LE", F_DOUBLE, 0),
	FIELD(metric_bucket, count, "Count", F_UINT, 0),
};
RECORD(rec_metric_bucket, metric_bucket, "MetricBucket", f_metric_bucket);

static const struct field f_metric[] = {
	FIELD(metric, name, "Name", F_STR, 0),
	FIELD(metric, kind, "Kind", F_INT, 0),
	FIELD(metric, count, "Count", F_UINT, E),
	FIELD(metric, sum, "Sum", F_DOUBLE, E),
	FIELD(metric, sum_sq, "SumSq", F_DOUBLE, E),
	FIELD(metric, min, "Min", F_DOUBLE, E),
	FIELD(metric, max, "Max", F_DOUBLE, E),
	FIELD(metric, total_count, "TotalCount", F_UINT, E),
	FIELD(metric, total_sum, "TotalSum", F_DOUBLE, E),
	FIELD_SUB(metric, buckets, "Buckets", F_RECORDS, E, rec_metric_bucket),
};
RECORD(rec_metric, metric, "Metric", f_metric);
