/*
 * schema.c - the table of the configuration's keys.
 *
 * Order: as in consulctl.conf(5). A key whose code comes later moves from
 * IGNORED or REFUSED to USED in the change that brings the code.
 */
#include "consulctl/config/schema.h"

#include "lib/errs.h"

#define R TO_RAFTD
#define G TO_GOSSIPD
#define H TO_HTTPD
#define D TO_DNSD
#define C TO_CHECKD
#define ALL TO_ALL
#define NONE TO_NONE

/* RELOAD: a reload applies a change. */
#define USED(path, type, daemons, dflt) { path, KT_##type, KC_USED, daemons, false, dflt }
#define RELOAD(path, type, daemons, dflt) { path, KT_##type, KC_USED, daemons, true, dflt }
#define IGNORED(path, type, dflt) { path, KT_##type, KC_IGNORED, NONE, true, dflt }
#define REFUSED(path, type, dflt) { path, KT_##type, KC_REFUSED, NONE, true, dflt }
#define RENAMED(path, type, target) { path, KT_##type, KC_RENAMED, NONE, true, target }

#define TLS_SECTION(name) \
	REFUSED("tls." name ".ca_file", STR, ""), \
	REFUSED("tls." name ".ca_path", STR, ""), \
	REFUSED("tls." name ".cert_file", STR, ""), \
	REFUSED("tls." name ".key_file", STR, ""), \
	IGNORED("tls." name ".tls_min_version", STR, "TLSv1_2"), \
	IGNORED("tls." name ".tls_cipher_suites", STR, ""), \
	REFUSED("tls." name ".verify_incoming", BOOL, "false"), \
	REFUSED("tls." name ".verify_outgoing", BOOL, "false"), \
	REFUSED("tls." name ".verify_server_hostname", BOOL, "false"), \
	REFUSED("tls." name ".use_auto_cert", BOOL, "false")

const struct config_key config_keys[] = {
	/* identity, mode, storage */
	USED("datacenter", STR, ALL, "dc1"),
	USED("primary_datacenter", STR, R | H, NULL),
	USED("node_name", STR, ALL, NULL),
	USED("node_id", STR, ALL, NULL),
	IGNORED("disable_host_node_id", BOOL, "true"),
	RELOAD("node_meta", STRMAP, R | G | H | C, "{}"),
	USED("data_dir", STR, R | G | H | C, ""),
	USED("server", BOOL, ALL, "false"),
	USED("bootstrap", BOOL, R | G, "false"),
	USED("bootstrap_expect", INT, R | G, "0"),
	USED("domain", STR, H | D, "consul."),
	USED("alt_domain", STR, D, ""),
	USED("pid_file", STR, NONE, ""),
	RELOAD("log_level", STR, ALL, "INFO"),
	USED("log_json", BOOL, ALL, "false"),
	USED("log_file", STR, NONE, ""),
	USED("log_rotate_duration", DURATION, NONE, "24h"),
	USED("log_rotate_bytes", INT, NONE, "0"),
	USED("log_rotate_max_files", INT, NONE, "0"),
	USED("enable_syslog", BOOL, NONE, "false"),
	USED("syslog_facility", STR, NONE, "LOCAL0"),
	IGNORED("disable_update_check", BOOL, "false"),
	IGNORED("disable_anonymous_signature", BOOL, "false"),
	IGNORED("enable_debug", BOOL, "false"),
	USED("disable_remote_exec", BOOL, C, "true"),
	USED("disable_http_unprintable_char_filter", BOOL, H, "false"),
	USED("disable_coordinates", BOOL, G | H | C, "false"),
	USED("disable_keyring_file", BOOL, G, "false"),
	USED("translate_wan_addrs", BOOL, H | D, "false"),
	IGNORED("auto_reload_config", BOOL, "false"),
	IGNORED("license_path", STR, ""),
	IGNORED("audit", ANY, NULL),
	IGNORED("segment", STR, ""),
	IGNORED("segments", OBJECTS, "[]"),
	IGNORED("read_replica", BOOL, "false"),
	IGNORED("non_voting_server", BOOL, "false"),

	/* addresses and ports */
	USED("bind_addr", ADDR, ALL, "0.0.0.0"),
	USED("advertise_addr", ADDR, ALL, NULL),
	USED("advertise_addr_ipv4", ADDR, NONE, NULL),
	USED("advertise_addr_ipv6", ADDR, NONE, NULL),
	USED("advertise_addr_wan", ADDR, R | G | C, NULL),
	USED("advertise_addr_wan_ipv4", ADDR, NONE, NULL),
	USED("advertise_addr_wan_ipv6", ADDR, NONE, NULL),
	USED("client_addr", ADDRS, ALL, "127.0.0.1"),
	USED("addresses.dns", ADDRS, H | D | C, NULL),
	USED("addresses.http", ADDRS, H | D | C, NULL),
	USED("addresses.https", ADDRS, H | D | C, NULL),
	IGNORED("addresses.grpc", ADDRS, NULL),
	IGNORED("addresses.grpc_tls", ADDRS, NULL),
	USED("serf_lan", ADDR, G, NULL),
	USED("serf_wan", ADDR, G, NULL),
	USED("tagged_addresses", STRMAP, R | H | D | C, "{}"),
	USED("unix_sockets.user", STR, H, ""),
	USED("unix_sockets.group", STR, H, ""),
	USED("unix_sockets.mode", STR, H, ""),
	USED("ports.dns", PORT, ALL, "8600"),
	USED("ports.http", PORT, ALL, "8500"),
	REFUSED("ports.https", PORT, "-1"),
	IGNORED("ports.grpc", PORT, "-1"),
	IGNORED("ports.grpc_tls", PORT, "-1"),
	USED("ports.serf_lan", PORT, ALL, "8301"),
	USED("ports.serf_wan", PORT, ALL, "8302"),
	USED("ports.server", PORT, ALL, "8300"),
	IGNORED("ports.sidecar_min_port", PORT, "21000"),
	IGNORED("ports.sidecar_max_port", PORT, "21255"),
	IGNORED("ports.expose_min_port", PORT, "21500"),
	IGNORED("ports.expose_max_port", PORT, "21755"),
	IGNORED("ports.proxy_min_port", PORT, "20000"),
	IGNORED("ports.proxy_max_port", PORT, "20255"),

	/* joining and gossip */
	USED("start_join", STRS, G, "[]"),
	USED("start_join_wan", STRS, G, "[]"),
	USED("retry_join", STRS, G, "[]"),
	USED("retry_join_wan", STRS, G, "[]"),
	USED("retry_interval", DURATION, G, "30s"),
	USED("retry_interval_wan", DURATION, G, "30s"),
	USED("retry_max", INT, G, "0"),
	USED("retry_max_wan", INT, G, "0"),
	USED("rejoin_after_leave", BOOL, G, "false"),
	USED("leave_on_terminate", BOOL, NONE, NULL),
	USED("skip_leave_on_interrupt", BOOL, NONE, NULL),
	USED("reconnect_timeout", DURATION, G, "72h"),
	USED("reconnect_timeout_wan", DURATION, G, "72h"),
	USED("advertise_reconnect_timeout", DURATION, G, "0s"),
	USED("encrypt", STR, G, ""),
	USED("encrypt_verify_incoming", BOOL, G, "true"),
	USED("encrypt_verify_outgoing", BOOL, G, "true"),
	USED("gossip_lan.gossip_interval", DURATION, G, "200ms"),
	USED("gossip_lan.gossip_nodes", INT, G, "3"),
	USED("gossip_lan.probe_interval", DURATION, G, "1s"),
	USED("gossip_lan.probe_timeout", DURATION, G, "500ms"),
	USED("gossip_lan.retransmit_mult", INT, G, "4"),
	USED("gossip_lan.suspicion_mult", INT, G, "4"),
	USED("gossip_wan.gossip_interval", DURATION, G, "500ms"),
	USED("gossip_wan.gossip_nodes", INT, G, "3"),
	USED("gossip_wan.probe_interval", DURATION, G, "5s"),
	USED("gossip_wan.probe_timeout", DURATION, G, "3s"),
	USED("gossip_wan.retransmit_mult", INT, G, "4"),
	USED("gossip_wan.suspicion_mult", INT, G, "6"),
	USED("serf_lan_allowed_cidrs", STRS, G, "[]"),
	USED("serf_wan_allowed_cidrs", STRS, G, "[]"),

	/* Raft, performance, limits */
	USED("raft_protocol", INT, NONE, "3"),
	IGNORED("protocol", INT, "2"),
	IGNORED("raft_snapshot_threshold", INT, "16384"),
	IGNORED("raft_snapshot_interval", DURATION, "30s"),
	RELOAD("raft_trailing_logs", INT, R, "10240"),
	IGNORED("raft_logstore.backend", STR, "boltdb"),
	IGNORED("raft_logstore.disable_log_cache", BOOL, "false"),
	IGNORED("raft_logstore.verification.enabled", BOOL, "false"),
	IGNORED("raft_logstore.verification.interval", DURATION, "0s"),
	IGNORED("raft_logstore.boltdb.no_freelist_sync", BOOL, "false"),
	IGNORED("raft_logstore.wal.segment_size_mb", INT, "64"),
	USED("performance.raft_multiplier", INT, R, "5"),
	USED("performance.leave_drain_time", DURATION, NONE, "5s"),
	USED("performance.rpc_hold_timeout", DURATION, R | H | D, "7s"),
	RELOAD("limits.http_max_conns_per_client", INT, H, "200"),
	IGNORED("limits.https_handshake_timeout", DURATION, "5s"),
	IGNORED("limits.rpc_handshake_timeout", DURATION, "5s"),
	IGNORED("limits.rpc_client_timeout", DURATION, "60s"),
	IGNORED("limits.rpc_rate", FLOAT, "-1"),
	IGNORED("limits.rpc_max_burst", INT, "1000"),
	RELOAD("limits.rpc_max_conns_per_client", INT, R, "100"),
	USED("limits.kv_max_value_size", INT, R | H, "524288"),
	USED("limits.txn_max_req_len", INT, R | H, "524288"),
	USED("limits.txn_max_ops", INT, R | H, "64"),
	IGNORED("limits.request_limits.mode", STR, "disabled"),
	IGNORED("limits.request_limits.read_rate", FLOAT, "-1"),
	IGNORED("limits.request_limits.write_rate", FLOAT, "-1"),
	USED("default_query_time", DURATION, R | H, "300s"),
	USED("max_query_time", DURATION, R | H, "600s"),
	USED("discovery_max_stale", DURATION, H, "0s"),
	USED("session_ttl_min", DURATION, R | H, "10s"),
	USED("autopilot.cleanup_dead_servers", BOOL, R, "true"),
	USED("autopilot.last_contact_threshold", DURATION, R, "200ms"),
	USED("autopilot.max_trailing_logs", INT, R, "250"),
	USED("autopilot.min_quorum", INT, R, "0"),
	USED("autopilot.server_stabilization_time", DURATION, R, "10s"),
	IGNORED("autopilot.disable_upgrade_migration", BOOL, "false"),
	IGNORED("autopilot.redundancy_zone_tag", STR, ""),
	IGNORED("autopilot.upgrade_version_tag", STR, ""),
	IGNORED("use_streaming_backend", BOOL, "true"),
	IGNORED("rpc.enable_streaming", BOOL, "true"),
	IGNORED("cache.entry_fetch_rate", FLOAT, NULL),
	IGNORED("cache.entry_fetch_max_burst", INT, "2"),

	/* checks, services, watches */
	RELOAD("service", SERVICE, NONE, NULL),
	RELOAD("services", SERVICES, C, "[]"),
	RELOAD("check", CHECK, NONE, NULL),
	RELOAD("checks", CHECKS, C, "[]"),
	USED("check_update_interval", DURATION, C, "5m"),
	USED("check_output_max_size", INT, C, "4096"),
	RELOAD("discard_check_output", BOOL, C, "false"),
	USED("enable_script_checks", BOOL, C, "false"),
	USED("enable_local_script_checks", BOOL, C, "false"),
	USED("script_check_user", STR, C, ""),		/* ours: Consul has no such key */
	RELOAD("enable_agent_tls_for_checks", BOOL, C, "false"),
	IGNORED("enable_central_service_config", BOOL, "true"),
	RELOAD("watches", WATCHES, C, "[]"),

	/* HTTP, UI, DNS, telemetry */
	USED("http_config.block_endpoints", STRS, H, "[]"),
	USED("http_config.allow_write_http_from", STRS, H, "[]"),
	USED("http_config.response_headers", STRMAP, H, "{}"),
	USED("http_config.use_cache", BOOL, H, "true"),
	USED("http_config.max_header_bytes", INT, H, "0"),
	IGNORED("ui_config.enabled", BOOL, "false"),
	IGNORED("ui_config.dir", STR, ""),
	IGNORED("ui_config.content_path", STR, "/ui/"),
	IGNORED("ui_config.metrics_provider", STR, ""),
	IGNORED("ui_config.metrics_provider_files", STRS, "[]"),
	IGNORED("ui_config.metrics_provider_options_json", STR, ""),
	IGNORED("ui_config.metrics_proxy.base_url", STR, ""),
	IGNORED("ui_config.metrics_proxy.add_headers", OBJECTS, "[]"),
	IGNORED("ui_config.metrics_proxy.path_allowlist", STRS, "[]"),
	IGNORED("ui_config.dashboard_url_templates", STRMAP, "{}"),
	RENAMED("ui", BOOL, "ui_config.enabled"),
	RENAMED("ui_dir", STR, "ui_config.dir"),
	RENAMED("ui_content_path", STR, "ui_config.content_path"),
	RELOAD("dns_config.allow_stale", BOOL, D, "true"),
	RELOAD("dns_config.a_record_limit", INT, D, "0"),
	RELOAD("dns_config.disable_compression", BOOL, D, "false"),
	RELOAD("dns_config.enable_truncate", BOOL, D, "false"),
	RELOAD("dns_config.max_stale", DURATION, D, "87600h"),
	RELOAD("dns_config.node_ttl", DURATION, D, "0s"),
	RELOAD("dns_config.only_passing", BOOL, D, "false"),
	RELOAD("dns_config.recursor_timeout", DURATION, D, "2s"),
	RELOAD("dns_config.recursor_strategy", STR, D, "sequential"),
	RELOAD("dns_config.combine_tags", BOOL, D, "true"),
	RELOAD("dns_config.udp_fill", BOOL, D, "false"),
	RELOAD("dns_config.alt_domain_targets", BOOL, D, "false"),
	RELOAD("dns_config.minimal_any", BOOL, D, "false"),
	RELOAD("dns_config.cookies", BOOL, D, "true"),
	RELOAD("dns_config.rate_limit", INT, D, "0"),
	RELOAD("dns_config.rate_limit_slip", INT, D, "2"),
	USED("dns_config.workers", INT, D, "0"),
	RELOAD("dns_config.service_ttl", DURMAP, D, "{}"),
	RELOAD("dns_config.udp_answer_limit", INT, D, "3"),
	RELOAD("dns_config.enable_additional_node_meta_txt", BOOL, D, "true"),
	RELOAD("dns_config.soa.refresh", INT, D, "3600"),
	RELOAD("dns_config.soa.retry", INT, D, "600"),
	RELOAD("dns_config.soa.expire", INT, D, "86400"),
	RELOAD("dns_config.soa.min_ttl", INT, D, "0"),
	IGNORED("dns_config.use_cache", BOOL, "false"),
	IGNORED("dns_config.cache_max_age", DURATION, "0s"),
	IGNORED("dns_config.prefer_namespace", BOOL, "false"),
	RELOAD("recursors", STRS, D, "[]"),
	RELOAD("telemetry.metrics_prefix", STR, H | C, "consul"),
	RELOAD("telemetry.prefix_filter", STRS, H | C, "[]"),
	RELOAD("telemetry.filter_default", BOOL, H | C, "true"),
	RELOAD("telemetry.disable_hostname", BOOL, H | C, "false"),
	RELOAD("telemetry.prometheus_retention_time", DURATION, H, "0s"),
	RELOAD("telemetry.statsd_address", STR, C, ""),
	RELOAD("telemetry.statsite_address", STR, C, ""),
	RELOAD("telemetry.dogstatsd_addr", STR, C, ""),
	RELOAD("telemetry.dogstatsd_tags", STRS, C, "[]"),
	IGNORED("telemetry.disable_compat_1.9", BOOL, "false"),
	IGNORED("telemetry.retry_failed_connection", BOOL, "true"),
	IGNORED("telemetry.enable_host_metrics", BOOL, "false"),
	IGNORED("telemetry.disable_per_tenancy_usage_metrics", BOOL, "false"),
	IGNORED("telemetry.circonus_api_token", STR, ""),
	IGNORED("telemetry.circonus_api_app", STR, ""),
	IGNORED("telemetry.circonus_api_url", STR, ""),
	IGNORED("telemetry.circonus_broker_id", STR, ""),
	IGNORED("telemetry.circonus_broker_select_tag", STR, ""),
	IGNORED("telemetry.circonus_check_display_name", STR, ""),
	IGNORED("telemetry.circonus_check_force_metric_activation", STR, ""),
	IGNORED("telemetry.circonus_check_id", STR, ""),
	IGNORED("telemetry.circonus_check_instance_id", STR, ""),
	IGNORED("telemetry.circonus_check_search_tag", STR, ""),
	IGNORED("telemetry.circonus_check_tags", STR, ""),
	IGNORED("telemetry.circonus_submission_interval", STR, ""),
	IGNORED("telemetry.circonus_submission_url", STR, ""),

	/* ACL */
	USED("acl.enabled", BOOL, ALL, NULL),
	USED("acl.default_policy", STR, R | H, "allow"),
	USED("acl.down_policy", STR, R, "extend-cache"),
	USED("acl.policy_ttl", DURATION, R, "30s"),
	USED("acl.role_ttl", DURATION, R, "30s"),
	USED("acl.token_ttl", DURATION, R, "30s"),
	USED("acl.enable_key_list_policy", BOOL, R, "false"),
	IGNORED("acl.enable_token_replication", BOOL, "false"),
	USED("acl.enable_token_persistence", BOOL, NONE, "false"),
	RENAMED("acl.tokens.master", STR, "acl.tokens.initial_management"),
	RELOAD("acl.tokens.initial_management", STR, R, ""),
	RELOAD("acl.tokens.agent", STR, C, ""),
	RENAMED("acl.tokens.agent_master", STR, "acl.tokens.agent_recovery"),
	RELOAD("acl.tokens.agent_recovery", STR, R, ""),
	RELOAD("acl.tokens.default", STR, H | D | C, ""),
	IGNORED("acl.tokens.replication", STR, ""),
	RELOAD("acl.tokens.config_file_service_registration", STR, C, ""),
	RELOAD("acl.tokens.dns", STR, D, ""),
	RENAMED("acl_datacenter", STR, "primary_datacenter"),
	RENAMED("acl_agent_master_token", STR, "acl.tokens.agent_recovery"),
	RENAMED("acl_agent_token", STR, "acl.tokens.agent"),
	RENAMED("acl_default_policy", STR, "acl.default_policy"),
	RENAMED("acl_down_policy", STR, "acl.down_policy"),
	RENAMED("acl_enable_key_list_policy", BOOL, "acl.enable_key_list_policy"),
	RENAMED("acl_master_token", STR, "acl.tokens.initial_management"),
	RENAMED("acl_replication_token", STR, "acl.tokens.replication"),
	RENAMED("acl_ttl", DURATION, "acl.token_ttl"),
	RENAMED("acl_token", STR, "acl.tokens.default"),
	RENAMED("enable_acl_replication", BOOL, "acl.enable_token_replication"),

	/* TLS; the files are taken when they serve checks alone (tls.c) */
	REFUSED("ca_file", STR, ""),
	REFUSED("ca_path", STR, ""),
	REFUSED("cert_file", STR, ""),
	REFUSED("key_file", STR, ""),
	RELOAD("server_name", STR, NONE, ""),
	REFUSED("verify_incoming", BOOL, "false"),
	REFUSED("verify_incoming_rpc", BOOL, "false"),
	REFUSED("verify_incoming_https", BOOL, "false"),
	REFUSED("verify_outgoing", BOOL, "false"),
	REFUSED("verify_server_hostname", BOOL, "false"),
	IGNORED("tls_min_version", STR, "tls12"),
	IGNORED("tls_cipher_suites", STR, ""),
	IGNORED("tls_prefer_server_cipher_suites", BOOL, "false"),
	TLS_SECTION("defaults"),
	TLS_SECTION("internal_rpc"),
	TLS_SECTION("https"),
	TLS_SECTION("grpc"),
	REFUSED("auto_encrypt.tls", BOOL, "false"),
	REFUSED("auto_encrypt.allow_tls", BOOL, "false"),
	IGNORED("auto_encrypt.dns_san", STRS, "[]"),
	IGNORED("auto_encrypt.ip_san", STRS, "[]"),
	REFUSED("auto_config.enabled", BOOL, "false"),
	IGNORED("auto_config.intro_token", STR, ""),
	IGNORED("auto_config.intro_token_file", STR, ""),
	IGNORED("auto_config.server_addresses", STRS, "[]"),
	IGNORED("auto_config.dns_sans", STRS, "[]"),
	IGNORED("auto_config.ip_sans", STRS, "[]"),
	REFUSED("auto_config.authorization.enabled", BOOL, "false"),
	IGNORED("auto_config.authorization.static", ANY, NULL),

	/* the mesh, and what belongs to a vendor's services */
	IGNORED("connect.enabled", BOOL, "false"),
	IGNORED("connect.ca_provider", STR, "consul"),
	IGNORED("connect.ca_config", ANY, NULL),
	IGNORED("connect.enable_mesh_gateway_wan_federation", BOOL, "false"),
	IGNORED("primary_gateways", STRS, "[]"),
	IGNORED("primary_gateways_interval", DURATION, "30s"),
	IGNORED("config_entries.bootstrap", OBJECTS, "[]"),
	IGNORED("peering.enabled", BOOL, "true"),
	IGNORED("locality.region", STR, ""),
	IGNORED("locality.zone", STR, ""),
	IGNORED("xds.update_max_per_second", FLOAT, "250"),
	IGNORED("cloud", ANY, NULL),
	IGNORED("reporting", ANY, NULL),
};

const size_t config_nkeys = ARRAY_LEN(config_keys);

const struct config_key *
config_key_find(struct str path)
{
	for (size_t i = 0; i < config_nkeys; i++)
		if (str_eq_nocase(path, str_from(config_keys[i].path)))
			return &config_keys[i];
	return NULL;
}

bool
config_key_is_object(struct str path)
{
	for (size_t i = 0; i < config_nkeys; i++) {
		struct str key = str_from(config_keys[i].path);

		/* A digit: the dot belongs to a name, disable_compat_1.9. */
		if (key.len > path.len + 1 && key.p[path.len] == '.' && (key.p[path.len + 1] < '0' || key.p[path.len + 1] > '9') &&
		    str_eq_nocase((struct str){ key.p, path.len }, path))
			return true;
	}
	return false;
}

const char *
config_type_text(enum key_type t)
{
	switch (t) {
	case KT_BOOL:
		return "true or false";
	case KT_INT:
	case KT_FLOAT:
	case KT_PORT:
		return "a number";
	case KT_STR:
	case KT_ADDR:
	case KT_ADDRS:
		return "a string";
	case KT_DURATION:
		return "a duration in quotes, as \"10s\"";
	case KT_STRS:
		return "a list of strings";
	case KT_STRMAP:
		return "an object of strings";
	case KT_DURMAP:
		return "an object of durations";
	case KT_SERVICE:
	case KT_CHECK:
		return "an object";
	case KT_SERVICES:
	case KT_CHECKS:
	case KT_WATCHES:
	case KT_OBJECTS:
		return "a list of objects";
	case KT_ANY:
		break;
	}
	return "anything";
}
