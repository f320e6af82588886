/* records_acl.c - the tables of ACLs and prepared queries. */
#include "lib/records_acl.h"

#define E FF_OMITEMPTY

static const struct field f_acl_link[] = {
	FIELD(acl_link, id, "ID", F_STR, 0),
	FIELD(acl_link, name, "Name", F_STR, 0),
};
RECORD(rec_acl_link, acl_link, "ACLLink", f_acl_link);

static const struct field f_acl_service_identity[] = {
	FIELD(acl_service_identity, service_name, "ServiceName", F_STR, 0),
	FIELD(acl_service_identity, datacenters, "Datacenters", F_STRS, E),
};
RECORD(rec_acl_service_identity, acl_service_identity, "ACLServiceIdentity", f_acl_service_identity);

static const struct field f_acl_node_identity[] = {
	FIELD(acl_node_identity, node_name, "NodeName", F_STR, 0),
	FIELD(acl_node_identity, datacenter, "Datacenter", F_STR, 0),
};
RECORD(rec_acl_node_identity, acl_node_identity, "ACLNodeIdentity", f_acl_node_identity);

static const struct field f_acl_token[] = {
	FIELD(acl_token, accessor_id, "AccessorID", F_STR, 0),
	FIELD(acl_token, secret_id, "SecretID", F_STR, 0),
	FIELD(acl_token, description, "Description", F_STR, 0),
	FIELD_SUB(acl_token, policies, "Policies", F_RECORDS, E, rec_acl_link),
	FIELD_SUB(acl_token, roles, "Roles", F_RECORDS, E, rec_acl_link),
	FIELD_SUB(acl_token, service_identities, "ServiceIdentities", F_RECORDS, E, rec_acl_service_identity),
	FIELD_SUB(acl_token, node_identities, "NodeIdentities", F_RECORDS, E, rec_acl_node_identity),
	FIELD(acl_token, type, "Type", F_STR, E | FF_INTERNAL),
	FIELD(acl_token, rules, "Rules", F_STR, E),
	FIELD(acl_token, local, "Local", F_BOOL, 0),
	FIELD(acl_token, auth_method, "AuthMethod", F_STR, E),
	FIELD(acl_token, expiration_time, "ExpirationTime", F_STR, E),
	FIELD(acl_token, expiration_ttl, "ExpirationTTL", F_DURATION, E | FF_INTERNAL),
	FIELD(acl_token, create_time, "CreateTime", F_STR, 0),
	FIELD(acl_token, hash, "Hash", F_BYTES, FF_NULL),
	FIELD(acl_token, legacy, "Legacy", F_BOOL, E),
	FIELD(acl_token, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_token, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_acl_token, acl_token, "ACLToken", f_acl_token);

static const struct field f_acl_policy[] = {
	FIELD(acl_policy, id, "ID", F_STR, 0),
	FIELD(acl_policy, name, "Name", F_STR, 0),
	FIELD(acl_policy, description, "Description", F_STR, 0),
	FIELD(acl_policy, rules, "Rules", F_STR, 0),
	FIELD(acl_policy, datacenters, "Datacenters", F_STRS, E),
	FIELD(acl_policy, hash, "Hash", F_BYTES, FF_NULL),
	FIELD(acl_policy, syntax, "Syntax", F_INT, E | FF_INTERNAL),
	FIELD(acl_policy, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_policy, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_acl_policy, acl_policy, "ACLPolicy", f_acl_policy);

static const struct field f_acl_role[] = {
	FIELD(acl_role, id, "ID", F_STR, 0),
	FIELD(acl_role, name, "Name", F_STR, 0),
	FIELD(acl_role, description, "Description", F_STR, 0),
	FIELD_SUB(acl_role, policies, "Policies", F_RECORDS, E, rec_acl_link),
	FIELD_SUB(acl_role, service_identities, "ServiceIdentities", F_RECORDS, E, rec_acl_service_identity),
	FIELD_SUB(acl_role, node_identities, "NodeIdentities", F_RECORDS, E, rec_acl_node_identity),
	FIELD(acl_role, hash, "Hash", F_BYTES, FF_NULL),
	FIELD(acl_role, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_role, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_acl_role, acl_role, "ACLRole", f_acl_role);

static const struct field f_acl_auth_method[] = {
	FIELD(acl_auth_method, name, "Name", F_STR, 0),
	FIELD(acl_auth_method, type, "Type", F_STR, 0),
	FIELD(acl_auth_method, display_name, "DisplayName", F_STR, E),
	FIELD(acl_auth_method, description, "Description", F_STR, 0),
	FIELD(acl_auth_method, max_token_ttl, "MaxTokenTTL", F_DURATION, E | FF_DURSTR),
	FIELD(acl_auth_method, token_locality, "TokenLocality", F_STR, E),
	FIELD(acl_auth_method, config, "Config", F_RAW, 0),
	FIELD(acl_auth_method, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_auth_method, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_acl_auth_method, acl_auth_method, "ACLAuthMethod", f_acl_auth_method);

static const struct field f_acl_binding_rule[] = {
	FIELD(acl_binding_rule, id, "ID", F_STR, 0),
	FIELD(acl_binding_rule, description, "Description", F_STR, 0),
	FIELD(acl_binding_rule, auth_method, "AuthMethod", F_STR, 0),
	FIELD(acl_binding_rule, selector, "Selector", F_STR, 0),
	FIELD(acl_binding_rule, bind_type, "BindType", F_STR, 0),
	FIELD(acl_binding_rule, bind_name, "BindName", F_STR, 0),
	FIELD(acl_binding_rule, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_binding_rule, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_acl_binding_rule, acl_binding_rule, "ACLBindingRule", f_acl_binding_rule);

static const struct field f_acl_bootstrap[] = {
	FIELD(acl_bootstrap, secret_id, "SecretID", F_STR, E),
	FIELD(acl_bootstrap, accessor_id, "AccessorID", F_STR, E),
	FIELD(acl_bootstrap, create_time, "CreateTime", F_STR, E),
	FIELD(acl_bootstrap, description, "Description", F_STR, E),
	FIELD(acl_bootstrap, reset_index, "ResetIndex", F_UINT, E),
};
RECORD(rec_acl_bootstrap, acl_bootstrap, "ACLBootstrap", f_acl_bootstrap);

static const struct field f_acl_token_set[] = {
	FIELD_SUB(acl_token_set, token, "Token", F_RECORD, 0, rec_acl_token),
	FIELD(acl_token_set, verb, "Verb", F_STR, 0),
	FIELD(acl_token_set, new_accessor_id, "NewAccessorID", F_STR, E),
};
RECORD(rec_acl_token_set, acl_token_set, "ACLTokenSet", f_acl_token_set);

static const struct field f_acl_ids[] = {
	FIELD(acl_ids, ids, "IDs", F_STRS, 0),
};
RECORD(rec_acl_ids, acl_ids, "ACLIds", f_acl_ids);

static const struct field f_acl_login[] = {
	FIELD(acl_login, auth_method, "AuthMethod", F_STR, 0),
	FIELD(acl_login, bearer_token, "BearerToken", F_STR, E),
	FIELD(acl_login, meta, "Meta", F_STRMAP, E),
	FIELD_SUB(acl_login, token, "Token", F_RECORD, 0, rec_acl_token),
};
RECORD(rec_acl_login, acl_login, "ACLLogin", f_acl_login);

static const struct field f_acl_query[] = {
	FIELD(acl_query, id, "ID", F_STR, E),
	FIELD(acl_query, name, "Name", F_STR, E),
	FIELD(acl_query, policy, "Policy", F_STR, E),
	FIELD(acl_query, role, "Role", F_STR, E),
	FIELD(acl_query, auth_method, "AuthMethod", F_STR, E),
	FIELD(acl_query, service_name, "ServiceName", F_STR, E),
	FIELD(acl_query, expanded, "Expanded", F_BOOL, E),
};
RECORD(rec_acl_query, acl_query, "ACLQuery", f_acl_query);

static const struct field f_acl_rules_text[] = {
	FIELD(acl_rules_text, rules, "Rules", F_STR, 0),
	FIELD(acl_rules_text, accessor_id, "AccessorID", F_STR, 0),
};
RECORD(rec_acl_rules_text, acl_rules_text, "ACLRulesText", f_acl_rules_text);

static const struct field f_acl_identity_policy[] = {
	FIELD(acl_identity_policy, id, "ID", F_STR, 0),
	FIELD(acl_identity_policy, rules, "Rules", F_STR, 0),
	FIELD(acl_identity_policy, syntax, "Syntax", F_INT, 0),
};
RECORD(rec_acl_identity_policy, acl_identity_policy, "ACLIdentityPolicy", f_acl_identity_policy);

static const struct field f_acl_identity[] = {
	FIELD(acl_identity, accessor_id, "AccessorID", F_STR, 0),
	FIELD(acl_identity, name, "Name", F_STR, 0),
	FIELD(acl_identity, management, "Management", F_BOOL, 0),
	FIELD_SUB(acl_identity, policies, "Policies", F_RECORDS, 0, rec_acl_identity_policy),
	FIELD(acl_identity, expires, "Expires", F_INT, 0),
	FIELD(acl_identity, default_policy, "DefaultPolicy", F_STR, 0),
	FIELD(acl_identity, fingerprint, "Fingerprint", F_BYTES, 0),
};
RECORD(rec_acl_identity, acl_identity, "ACLIdentity", f_acl_identity);

static const struct field f_acl_question[] = {
	FIELD(acl_question, resource, "Resource", F_STR, 0),
	FIELD(acl_question, segment, "Segment", F_STR, 0),
	FIELD(acl_question, access, "Access", F_STR, 0),
};
RECORD(rec_acl_question, acl_question, "ACLQuestion", f_acl_question);

static const struct field f_acl_authorize[] = {
	FIELD_SUB(acl_authorize, requests, "Requests", F_RECORDS, 0, rec_acl_question),
};
RECORD(rec_acl_authorize, acl_authorize, "ACLAuthorize", f_acl_authorize);

static const struct field f_acl_allowed[] = {
	FIELD(acl_allowed, accessor_id, "AccessorID", F_STR, 0),
	FIELD(acl_allowed, allow, "Allow", F_STRS, 0),
	FIELD(acl_allowed, expires_ms, "ExpiresMs", F_UINT, 0),
};
RECORD(rec_acl_allowed, acl_allowed, "ACLAllowed", f_acl_allowed);

static const struct field f_acl_replication[] = {
	FIELD(acl_replication, enabled, "Enabled", F_BOOL, 0),
	FIELD(acl_replication, running, "Running", F_BOOL, 0),
	FIELD(acl_replication, source_datacenter, "SourceDatacenter", F_STR, 0),
	FIELD(acl_replication, replication_type, "ReplicationType", F_STR, 0),
	FIELD(acl_replication, replicated_index, "ReplicatedIndex", F_UINT, 0),
	FIELD(acl_replication, replicated_role_index, "ReplicatedRoleIndex", F_UINT, 0),
	FIELD(acl_replication, replicated_token_index, "ReplicatedTokenIndex", F_UINT, 0),
	FIELD(acl_replication, last_success, "LastSuccess", F_STR, 0),
	FIELD(acl_replication, last_error, "LastError", F_STR, 0),
};
RECORD(rec_acl_replication, acl_replication, "ACLReplication", f_acl_replication);

static const struct field f_agent_token_set[] = {
	FIELD(agent_token_set, type, "Type", F_STR, 0),
	FIELD(agent_token_set, token, "Token", F_STR, 0),
};
RECORD(rec_agent_token_set, agent_token_set, "AgentTokenSet", f_agent_token_set);

static const struct field f_pq_failover_target[] = {
	FIELD(pq_failover_target, peer, "Peer", F_STR, E),
	FIELD(pq_failover_target, datacenter, "Datacenter", F_STR, 0),
};
RECORD(rec_pq_failover_target, pq_failover_target, "PreparedQueryFailoverTarget", f_pq_failover_target);

static const struct field f_pq_failover[] = {
	FIELD(pq_failover, nearest_n, "NearestN", F_INT, 0),
	FIELD(pq_failover, datacenters, "Datacenters", F_STRS, FF_NULL),
	FIELD_SUB(pq_failover, targets, "Targets", F_RECORDS, E, rec_pq_failover_target),
};
RECORD(rec_pq_failover, pq_failover, "PreparedQueryFailover", f_pq_failover);

static const struct field f_pq_service[] = {
	FIELD(pq_service, service, "Service", F_STR, 0),
	FIELD_SUB(pq_service, failover, "Failover", F_RECORD, 0, rec_pq_failover),
	FIELD(pq_service, only_passing, "OnlyPassing", F_BOOL, 0),
	FIELD(pq_service, ignore_check_ids, "IgnoreCheckIDs", F_STRS, FF_NULL),
	FIELD(pq_service, near, "Near", F_STR, 0),
	FIELD(pq_service, tags, "Tags", F_STRS, FF_NULL),
	FIELD(pq_service, node_meta, "NodeMeta", F_STRMAP, FF_NULL),
	FIELD(pq_service, service_meta, "ServiceMeta", F_STRMAP, FF_NULL),
	FIELD(pq_service, connect, "Connect", F_BOOL, 0),
	FIELD(pq_service, peer, "Peer", F_STR, E),
	FIELD(pq_service, sameness_group, "SamenessGroup", F_STR, E),
};
RECORD(rec_pq_service, pq_service, "PreparedQueryService", f_pq_service);

static const struct field f_pq_template[] = {
	FIELD(pq_template, type, "Type", F_STR, 0),
	FIELD(pq_template, regexp, "Regexp", F_STR, 0),
	FIELD(pq_template, remove_empty_tags, "RemoveEmptyTags", F_BOOL, 0),
};
RECORD(rec_pq_template, pq_template, "PreparedQueryTemplate", f_pq_template);

static const struct field f_pq_dns[] = {
	FIELD(pq_dns, ttl, "TTL", F_STR, 0),
};
RECORD(rec_pq_dns, pq_dns, "PreparedQueryDns", f_pq_dns);

static const struct field f_prepared_query[] = {
	FIELD(prepared_query, id, "ID", F_STR, 0),
	FIELD(prepared_query, name, "Name", F_STR, 0),
	FIELD(prepared_query, session, "Session", F_STR, 0),
	FIELD(prepared_query, token, "Token", F_STR, 0),
	FIELD_SUB(prepared_query, template, "Template", F_RECORD, 0, rec_pq_template),
	FIELD_SUB(prepared_query, service, "Service", F_RECORD, 0, rec_pq_service),
	FIELD_SUB(prepared_query, dns, "DNS", F_RECORD, 0, rec_pq_dns),
	FIELD(prepared_query, create_index, "CreateIndex", F_UINT, 0),
	FIELD(prepared_query, modify_index, "ModifyIndex", F_UINT, 0),
};
RECORD(rec_prepared_query, prepared_query, "PreparedQuery", f_prepared_query);

static const struct field f_pq_apply[] = {
	FIELD(pq_apply, verb, "Verb", F_STR, 0),
	FIELD_SUB(pq_apply, query, "Query", F_RECORD, 0, rec_prepared_query),
};
RECORD(rec_pq_apply, pq_apply, "PreparedQueryApply", f_pq_apply);

static const struct field f_pq_request[] = {
	FIELD(pq_request, id, "ID", F_STR, 0),
	FIELD(pq_request, limit, "Limit", F_INT, 0),
	FIELD(pq_request, near, "Near", F_STR, 0),
	FIELD(pq_request, source_ip, "SourceIP", F_STR, 0),
	FIELD(pq_request, agent_node, "AgentNode", F_STR, 0),
	FIELD(pq_request, agent_segment, "AgentSegment", F_STR, 0),
	FIELD(pq_request, connect, "Connect", F_BOOL, 0),
	FIELD(pq_request, ranked, "Ranked", F_BOOL, E),
	FIELD(pq_request, seed, "Seed", F_UINT, E),
};
RECORD(rec_pq_request, pq_request, "PreparedQueryRequest", f_pq_request);

static const struct field f_pq_result[] = {
	FIELD(pq_result, service, "Service", F_STR, 0),
	FIELD_SUB(pq_result, nodes, "Nodes", F_RECORDS, 0, rec_health_entry),
	FIELD_SUB(pq_result, dns, "DNS", F_RECORD, 0, rec_pq_dns),
	FIELD(pq_result, datacenter, "Datacenter", F_STR, 0),
	FIELD(pq_result, failovers, "Failovers", F_INT, 0),
};
RECORD(rec_pq_result, pq_result, "PreparedQueryResult", f_pq_result);

#undef E
