/*
 * routes.h - the table of endpoints.
 */
#ifndef HTTPD_ROUTES_H
#define HTTPD_ROUTES_H

#include "httpd/request.h"

/* Which of the common parameters an endpoint takes. */
enum route_flag {
	RT_DC = 1,		/* ?dc */
	RT_READ = 2,		/* consistency parameters */
	RT_BLOCK = 4,		/* ?index and ?wait */
	RT_DISCOVERY = 8,	/* a catalog or health read: discovery_max_stale, effective consistency */
	RT_CACHED = 16,		/* ?cached */
	RT_VALUE = 32,		/* the body is a KV value */
	RT_TXN = 64,		/* the body is a transaction */
	RT_SNAPSHOT = 256,	/* the body is an archive, of almost any size */
	RT_PLAIN = 128,		/* no common parameters, no headers of ours */
	RT_OWN = 512,		/* the permission is asked for here, before the handler (permit.h) */
};

struct route {
	const char *path;	/* ending in '/': everything below */
	unsigned methods;	/* enum http_method */
	unsigned flags;
	const char *acl;	/* the resource and permission asked for */
	uint16_t op;		/* the operation that serves it; 0: several, or none */
	void (*handler)(struct request *r);
};

/* The row for a path, rest set to what follows a prefix; NULL: unknown. */
const struct route *route_find(struct str path, struct str *ret_rest);

/* Whether path + "/" is a row (a redirect is due). */
bool route_is_dir(struct str path);

/* Row i, or NULL past the last. */
const struct route *route_row(unsigned i);

/* Count a request of this row, which took ns. */
void route_measure(const struct request *r, uint64_t ns);

enum { ALLOW_TEXT_MAX = 64 };
/* "OPTIONS,GET,PUT" */
void route_allow(const struct route *rt, char text[ALLOW_TEXT_MAX]);

/* The handlers, a file a family. */
void root_get(struct request *r);
void kv_serve(struct request *r);
void session_create(struct request *r);
void session_destroy(struct request *r);
void session_renew(struct request *r);
void session_info(struct request *r);
void session_node(struct request *r);
void session_list(struct request *r);
void catalog_register(struct request *r);
void catalog_deregister(struct request *r);
void catalog_datacenters(struct request *r);
void catalog_nodes(struct request *r);
void catalog_services(struct request *r);
void catalog_service(struct request *r);
void catalog_node(struct request *r);
void health_node(struct request *r);
void health_checks(struct request *r);
void health_state(struct request *r);
void health_service(struct request *r);
void status_leader(struct request *r);
void status_peers(struct request *r);
void txn_apply(struct request *r);
void snapshot_serve(struct request *r);
void operator_raft_configuration(struct request *r);
void operator_raft_peer(struct request *r);
void operator_raft_transfer(struct request *r);
void operator_autopilot_configuration(struct request *r);
void operator_autopilot_health(struct request *r);
void operator_autopilot_state(struct request *r);
void operator_keyring(struct request *r);
void operator_usage(struct request *r);
void ui_nodes(struct request *r);
void ui_node(struct request *r);
void ui_services(struct request *r);
void mesh_empty(struct request *r);
void mesh_off(struct request *r);
void mesh_missing(struct request *r);
void mesh_config(struct request *r);
void query_general(struct request *r);
void query_one(struct request *r);
void query_run(struct request *r);
void event_fire(struct request *r);
void event_list(struct request *r);
void coordinate_datacenters(struct request *r);
void coordinate_nodes(struct request *r);
void coordinate_node(struct request *r);
void coordinate_update(struct request *r);
void agent_why(struct request *r);
void agent_dns(struct request *r);
void agent_self(struct request *r);
void agent_host(struct request *r);
void agent_version(struct request *r);
void agent_members(struct request *r);
void agent_join(struct request *r);
void agent_leave(struct request *r);
void agent_force_leave(struct request *r);
void agent_reload(struct request *r);
void agent_monitor(struct request *r);
void agent_metrics(struct request *r);
void agent_token_set(struct request *r);
void agent_services(struct request *r);
void agent_service(struct request *r);
void agent_service_register(struct request *r);
void agent_service_deregister(struct request *r);
void agent_service_maintenance(struct request *r);
void agent_node_maintenance(struct request *r);
void agent_checks(struct request *r);
void agent_check_register(struct request *r);
void agent_check_deregister(struct request *r);
void agent_check_result(struct request *r);
void agent_check_update(struct request *r);
void agent_health_by_id(struct request *r);
void agent_health_by_name(struct request *r);
void stream_serve(struct request *r);
void acl_disabled(struct request *r);
void acl_bootstrap(struct request *r);
void acl_login(struct request *r);
void acl_logout(struct request *r);
void acl_translate(struct request *r);
void acl_translate_token(struct request *r);
void acl_legacy(struct request *r);
void acl_replication(struct request *r);
void acl_authorize_many(struct request *r);
void acl_policies(struct request *r);
void acl_policy_create(struct request *r);
void acl_policy_named(struct request *r);
void acl_policy_one(struct request *r);
void acl_roles(struct request *r);
void acl_role_create(struct request *r);
void acl_role_named(struct request *r);
void acl_role_one(struct request *r);
void acl_binding_rules(struct request *r);
void acl_binding_create(struct request *r);
void acl_binding_one(struct request *r);
void acl_auth_methods(struct request *r);
void acl_method_create(struct request *r);
void acl_method_one(struct request *r);
void acl_tokens(struct request *r);
void acl_token_self(struct request *r);
void acl_token_create(struct request *r);
void acl_token_one(struct request *r);

#endif
