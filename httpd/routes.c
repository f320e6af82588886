/* routes.c - the one table of endpoints, hot ones and more exact ones first. */
#include "httpd/routes.h"

#include <stdio.h>

#define R RT_READ
#define B (RT_READ | RT_BLOCK)
#define DISC (RT_DC | RT_READ | RT_BLOCK | RT_DISCOVERY)

static const struct route routes[] = {
	/* path                            methods                    common parameters        permission          operation                   handler */
	{ "/v1/kv/",                       M_GET | M_PUT | M_DELETE,  RT_DC | B | RT_VALUE,    "key:read, key:write", 0,                         kv_serve },
	{ "/v1/health/service/",           M_GET,                     DISC | RT_CACHED,        "service:read, node:read", OP_HEALTH_SERVICE,     health_service },
	{ "/v1/health/node/",              M_GET,                     DISC,                    "node:read",        OP_HEALTH_NODE,             health_node },
	{ "/v1/health/checks/",            M_GET,                     DISC,                    "service:read",     OP_HEALTH_CHECKS,           health_checks },
	{ "/v1/health/state/",             M_GET,                     DISC,                    "node:read",        OP_HEALTH_STATE,            health_state },

	{ "/v1/catalog/service/",          M_GET,                     DISC | RT_CACHED,        "service:read, node:read", OP_CATALOG_SERVICE,    catalog_service },
	{ "/v1/catalog/services",          M_GET,                     DISC | RT_CACHED,        "service:read",     OP_CATALOG_SERVICES,        catalog_services },
	{ "/v1/catalog/nodes",             M_GET,                     DISC,                    "node:read",        OP_CATALOG_NODES,           catalog_nodes },
	{ "/v1/catalog/node/",             M_GET,                     DISC,                    "node:read, service:read", OP_CATALOG_NODE,       catalog_node },
	{ "/v1/catalog/node-services/",    M_GET,                     DISC,                    "node:read, service:read", OP_CATALOG_NODE_SERVICES, catalog_node },
	{ "/v1/catalog/datacenters",       M_GET,                     R | RT_DISCOVERY | RT_CACHED, "none",        OP_CATALOG_DATACENTERS,     catalog_datacenters },
	{ "/v1/catalog/register",          M_PUT,                     RT_DC,                   "node:write, service:write", OP_CATALOG_REGISTER, catalog_register },
	{ "/v1/catalog/deregister",        M_PUT,                     RT_DC,                   "node:write, service:write", OP_CATALOG_DEREGISTER, catalog_deregister },

	{ "/v1/session/create",            M_PUT,                     RT_DC,                   "session:write",    OP_SESSION_CREATE,          session_create },
	{ "/v1/session/destroy/",          M_PUT,                     RT_DC,                   "session:write",    OP_SESSION_DESTROY,         session_destroy },
	{ "/v1/session/renew/",            M_PUT,                     RT_DC,                   "session:write",    OP_SESSION_RENEW,           session_renew },
	{ "/v1/session/info/",             M_GET,                     RT_DC | B,               "session:read",     OP_SESSION_INFO,            session_info },
	{ "/v1/session/node/",             M_GET,                     RT_DC | B,               "session:read",     OP_SESSION_NODE,            session_node },
	{ "/v1/session/list",              M_GET,                     RT_DC | B,               "session:read",     OP_SESSION_LIST,            session_list },

	{ "/v1/txn",                       M_PUT,                     RT_DC | R | RT_TXN,      "as each operation", OP_TXN_APPLY,              txn_apply },

	{ "/v1/stream",                    M_GET,                     RT_DC | R,               "as each topic",    0,                          stream_serve },

	{ "/v1/status/leader",             M_GET,                     RT_DC,                   "none",             OP_STATUS_LEADER,           status_leader },
	{ "/v1/status/peers",              M_GET,                     RT_DC,                   "none",             OP_STATUS_PEERS,            status_peers },

	{ "/v1/snapshot",                  M_GET | M_PUT,             RT_DC | R | RT_SNAPSHOT, "acl:write",        OP_SNAPSHOT_SAVE,           snapshot_serve },
	{ "/v1/operator/raft/configuration", M_GET,                   RT_DC | R,               "operator:read",    OP_RAFT_CONFIGURATION,      operator_raft_configuration },
	{ "/v1/operator/raft/peer",        M_DELETE,                  RT_DC,                   "operator:write",   OP_RAFT_REMOVE_PEER,        operator_raft_peer },
	{ "/v1/operator/raft/transfer-leader", M_POST | M_PUT,        RT_DC,                   "operator:write",   OP_RAFT_TRANSFER,           operator_raft_transfer },
	{ "/v1/operator/autopilot/configuration", M_GET | M_PUT,      RT_DC | R,               "operator:read, operator:write", OP_AUTOPILOT_CONFIG, operator_autopilot_configuration },
	{ "/v1/operator/autopilot/health", M_GET,                     RT_DC | R,               "operator:read",    OP_AUTOPILOT_HEALTH,        operator_autopilot_health },
	{ "/v1/operator/autopilot/state",  M_GET,                     RT_DC | R,               "operator:read",    OP_AUTOPILOT_STATE,         operator_autopilot_state },

	{ "/v1/operator/usage",            M_GET,                     RT_DC | B,               "operator:read",    OP_OPERATOR_USAGE,          operator_usage },
	{ "/v1/internal/ui/nodes",         M_GET,                     DISC,                    "node:read, service:read", OP_UI_NODES,         ui_nodes },
	{ "/v1/internal/ui/node/",         M_GET,                     DISC,                    "node:read, service:read", OP_UI_NODES,         ui_node },
	{ "/v1/internal/ui/services",      M_GET,                     DISC,                    "service:read, node:read", OP_UI_SERVICES,      ui_services },

	/* The service mesh is not there: as a Consul without it. */
	{ "/v1/catalog/connect/",          M_GET,                     DISC,                    "service:read, node:read", OP_CATALOG_SERVICE,  mesh_empty },
	{ "/v1/catalog/gateway-services/", M_GET,                     DISC,                    "service:read",     OP_CATALOG_SERVICE,         mesh_empty },
	{ "/v1/health/connect/",           M_GET,                     DISC,                    "service:read, node:read", OP_HEALTH_SERVICE,   mesh_empty },
	{ "/v1/health/ingress/",           M_GET,                     DISC,                    "service:read, node:read", OP_HEALTH_SERVICE,   mesh_empty },
	{ "/v1/internal/ui/gateway-services-nodes/", M_GET,           DISC,                    "service:read",     OP_CATALOG_SERVICE,         mesh_empty },
	{ "/v1/internal/ui/gateway-intentions/", M_GET,               DISC,                    "service:read",     OP_CATALOG_SERVICE,         mesh_empty },
	{ "/v1/internal/ui/service-topology/", M_GET,                 0,                       "service:read",     0,                          mesh_missing },
	{ "/v1/internal/ui/metrics-proxy/", M_GET,                    0,                       "none",             0,                          mesh_missing },
	{ "/v1/internal/federation-states", M_GET,                    RT_DC | B,               "operator:read",    0,                          mesh_empty },
	{ "/v1/internal/federation-state/", M_GET,                    0,                       "operator:read",    0,                          mesh_missing },
	{ "/v1/agent/connect/ca/roots",    M_GET,                     0,                       "none",             0,                          mesh_off },
	{ "/v1/agent/connect/ca/leaf/",    M_GET,                     0,                       "service:write",    0,                          mesh_off },
	{ "/v1/agent/connect/authorize",   M_POST,                    0,                       "service:write",    0,                          mesh_off },
	{ "/v1/connect/ca/configuration",  M_GET | M_PUT,             0,                       "operator:read, operator:write", 0,             mesh_off },
	{ "/v1/connect/ca/roots",          M_GET,                     0,                       "none",             0,                          mesh_off },
	{ "/v1/connect/intentions",        M_GET,                     RT_DC | B,               "intention:read",   0,                          mesh_empty },
	{ "/v1/connect/intentions/",       M_GET | M_DELETE,          0,                       "intention:read, intention:write", 0,           mesh_missing },
	{ "/v1/config",                    M_PUT,                     0,                       "service:write or operator:write", 0,           mesh_off },
	{ "/v1/config/",                   M_GET | M_DELETE,          RT_DC | B,               "service:read or operator:read", 0,             mesh_config },
	{ "/v1/discovery-chain/",          M_GET | M_POST,            0,                       "service:read",     0,                          mesh_off },

	{ "/v1/query",                     M_GET | M_POST,            RT_DC | B,               "query:read, query:write", OP_QUERY_LIST,        query_general },
	{ "/v1/query/",                    M_GET,                     RT_DC | R | RT_CACHED,   "service:read, node:read", OP_QUERY_EXECUTE,     query_run },
	{ "/v1/query/",                    M_GET,                     RT_DC | R,               "query:read",       OP_QUERY_EXPLAIN,           query_run },
	{ "/v1/query/",                    M_GET | M_PUT | M_DELETE,  RT_DC | B,               "query:read, query:write", OP_QUERY_GET,         query_one },

	{ "/v1/operator/keyring",          M_GET | M_POST | M_PUT | M_DELETE, 0,               "keyring:read, keyring:write", OP_GOSSIP_KEYRING, operator_keyring },

	{ "/v1/event/fire/",               M_PUT,                     RT_DC,                   "event:write",      OP_GOSSIP_EVENT_FIRE,       event_fire },
	{ "/v1/event/list",                M_GET,                     RT_BLOCK,                "event:read",       OP_GOSSIP_EVENT_LIST,       event_list },

	{ "/v1/coordinate/datacenters",    M_GET,                     0,                       "none",             OP_GOSSIP_COORDINATES,      coordinate_datacenters },
	{ "/v1/coordinate/nodes",          M_GET,                     RT_DC | B,               "node:read",        OP_COORDINATE_LIST,         coordinate_nodes },
	{ "/v1/coordinate/node/",          M_GET,                     RT_DC | B,               "node:read",        OP_COORDINATE_NODE,         coordinate_node },
	{ "/v1/coordinate/update",         M_PUT,                     RT_DC,                   "node:write",       OP_COORDINATE_UPDATE,       coordinate_update },

	{ "/v1/agent/check/pass/",         M_PUT,                     0,                       "service:write or node:write", OP_AGENT_CHECK_UPDATE, agent_check_result },
	{ "/v1/agent/check/warn/",         M_PUT,                     0,                       "service:write or node:write", OP_AGENT_CHECK_UPDATE, agent_check_result },
	{ "/v1/agent/check/fail/",         M_PUT,                     0,                       "service:write or node:write", OP_AGENT_CHECK_UPDATE, agent_check_result },
	{ "/v1/agent/check/update/",       M_PUT,                     0,                       "service:write or node:write", OP_AGENT_CHECK_UPDATE, agent_check_update },
	{ "/v1/agent/check/register",      M_PUT,                     0,                       "service:write or node:write", OP_AGENT_CHECK_REGISTER, agent_check_register },
	{ "/v1/agent/check/deregister/",   M_PUT,                     0,                       "service:write or node:write", OP_AGENT_CHECK_DEREGISTER, agent_check_deregister },
	{ "/v1/agent/checks",              M_GET,                     0,                       "service:read, node:read", OP_AGENT_CHECKS,      agent_checks },
	{ "/v1/agent/services",            M_GET,                     0,                       "service:read",     OP_AGENT_SERVICES,          agent_services },
	{ "/v1/agent/service/register",    M_PUT,                     0,                       "service:write",    OP_AGENT_SERVICE_REGISTER,  agent_service_register },
	{ "/v1/agent/service/deregister/", M_PUT,                     0,                       "service:write",    OP_AGENT_SERVICE_DEREGISTER, agent_service_deregister },
	{ "/v1/agent/service/maintenance/", M_PUT,                    0,                       "service:write",    OP_AGENT_MAINTENANCE,       agent_service_maintenance },
	{ "/v1/agent/service/",            M_GET,                     RT_BLOCK,                "service:read",     OP_AGENT_SERVICE,           agent_service },
	{ "/v1/agent/health/service/id/",  M_GET,                     0,                       "service:read",     OP_AGENT_HEALTH,            agent_health_by_id },
	{ "/v1/agent/health/service/name/", M_GET,                    0,                       "service:read",     OP_AGENT_HEALTH,            agent_health_by_name },
	{ "/v1/agent/why/",                M_GET,                     0,                       "service:read, node:read", OP_AGENT_WHY,        agent_why },
	{ "/v1/agent/dns/",                M_GET,                     0,                       "service:read, node:read", OP_DNS_EXPLAIN,      agent_dns },
	{ "/v1/agent/maintenance",         M_PUT,                     0,                       "node:write",       OP_AGENT_MAINTENANCE,       agent_node_maintenance },
	{ "/v1/agent/self",                M_GET,                     RT_OWN,                  "agent:read",       0,                          agent_self },
	{ "/v1/agent/host",                M_GET,                     RT_OWN,                  "operator:read",    0,                          agent_host },
	{ "/v1/agent/version",             M_GET,                     RT_OWN,                  "agent:read",       0,                          agent_version },
	{ "/v1/agent/members",             M_GET,                     0,                       "node:read",        OP_GOSSIP_MEMBERS,          agent_members },
	{ "/v1/agent/join/",               M_PUT,                     0,                       "agent:write",      OP_GOSSIP_JOIN,             agent_join },
	{ "/v1/agent/leave",               M_PUT,                     RT_OWN,                  "agent:write",      OP_AGENT_LEAVE,             agent_leave },
	{ "/v1/agent/force-leave/",        M_PUT,                     0,                       "operator:write",   OP_GOSSIP_FORCE_LEAVE,      agent_force_leave },
	{ "/v1/agent/reload",              M_PUT,                     RT_OWN,                  "agent:write",      OP_AGENT_RELOAD,            agent_reload },
	{ "/v1/agent/monitor",             M_GET,                     RT_OWN,                  "agent:read",       OP_DAEMON_LOG,              agent_monitor },
	{ "/v1/agent/metrics",             M_GET,                     RT_OWN,                  "agent:read",       OP_DAEMON_METRICS,          agent_metrics },

	{ "/v1/agent/token/",              M_PUT,                     RT_OWN,                  "agent:write",      OP_AGENT_TOKEN_SET,         agent_token_set },

	{ "/v1/internal/acl/authorize",    M_POST,                    RT_DC,                   "none",             OP_ACL_AUTHORIZE,           acl_authorize_many },
	{ "/v1/acl/bootstrap",             M_PUT,                     RT_DC,                   "none",             OP_ACL_BOOTSTRAP,           acl_bootstrap },
	{ "/v1/acl/login",                 M_POST,                    RT_DC,                   "none",             OP_ACL_LOGIN,               acl_login },
	{ "/v1/acl/logout",                M_POST,                    RT_DC,                   "none",             OP_ACL_LOGOUT,              acl_logout },
	{ "/v1/acl/rules/translate",       M_POST,                    RT_DC,                   "acl:read",         OP_ACL_TRANSLATE,           acl_translate },
	{ "/v1/acl/rules/translate/",      M_GET,                     RT_DC | R,               "acl:read",         OP_ACL_TRANSLATE,           acl_translate_token },
	{ "/v1/acl/create",                M_PUT,                     0,                       "acl:write",        0,                          acl_legacy },
	{ "/v1/acl/update",                M_PUT,                     0,                       "acl:write",        0,                          acl_legacy },
	{ "/v1/acl/destroy/",              M_PUT,                     0,                       "acl:write",        0,                          acl_legacy },
	{ "/v1/acl/info/",                 M_GET,                     0,                       "acl:read",         0,                          acl_legacy },
	{ "/v1/acl/clone/",                M_PUT,                     0,                       "acl:write",        0,                          acl_legacy },
	{ "/v1/acl/list",                  M_GET,                     0,                       "acl:read",         0,                          acl_legacy },
	{ "/v1/acl/replication",           M_GET,                     RT_DC | R,               "none",             OP_ACL_REPLICATION,         acl_replication },
	{ "/v1/acl/policies",              M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_POLICY_LIST,         acl_policies },
	{ "/v1/acl/policy",                M_PUT,                     RT_DC,                   "acl:write",        OP_ACL_POLICY_SET,          acl_policy_create },
	{ "/v1/acl/policy/name/",          M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_POLICY_READ,         acl_policy_named },
	{ "/v1/acl/policy/",               M_GET | M_PUT | M_DELETE,  RT_DC | B,               "acl:read, acl:write", OP_ACL_POLICY_READ,      acl_policy_one },
	{ "/v1/acl/roles",                 M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_ROLE_LIST,           acl_roles },
	{ "/v1/acl/role",                  M_PUT,                     RT_DC,                   "acl:write",        OP_ACL_ROLE_SET,            acl_role_create },
	{ "/v1/acl/role/name/",            M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_ROLE_READ,           acl_role_named },
	{ "/v1/acl/role/",                 M_GET | M_PUT | M_DELETE,  RT_DC | B,               "acl:read, acl:write", OP_ACL_ROLE_READ,        acl_role_one },
	{ "/v1/acl/binding-rules",         M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_BINDING_LIST,        acl_binding_rules },
	{ "/v1/acl/binding-rule",          M_PUT,                     RT_DC,                   "acl:write",        OP_ACL_BINDING_SET,         acl_binding_create },
	{ "/v1/acl/binding-rule/",         M_GET | M_PUT | M_DELETE,  RT_DC | B,               "acl:read, acl:write", OP_ACL_BINDING_READ,     acl_binding_one },
	{ "/v1/acl/auth-methods",          M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_METHOD_LIST,         acl_auth_methods },
	{ "/v1/acl/auth-method",           M_PUT,                     RT_DC,                   "acl:write",        OP_ACL_METHOD_SET,          acl_method_create },
	{ "/v1/acl/auth-method/",          M_GET | M_PUT | M_DELETE,  RT_DC | B,               "acl:read, acl:write", OP_ACL_METHOD_READ,      acl_method_one },
	{ "/v1/acl/tokens",                M_GET,                     RT_DC | B,               "acl:read",         OP_ACL_TOKEN_LIST,          acl_tokens },
	{ "/v1/acl/token/self",            M_GET,                     RT_DC | B,               "none",             OP_ACL_TOKEN_READ,          acl_token_self },
	{ "/v1/acl/token",                 M_PUT,                     RT_DC,                   "acl:write",        OP_ACL_TOKEN_SET,           acl_token_create },
	{ "/v1/acl/token/",                M_GET | M_PUT | M_DELETE,  RT_DC | B,               "acl:read, acl:write", OP_ACL_TOKEN_READ,       acl_token_one },

	{ "/",                             M_GET,                     RT_PLAIN,                "none",             0,                          root_get },
};

#undef R
#undef B
#undef DISC

/* How a path of this row ends besides: rows that begin alike are told apart by it. */
static const char *
suffix_of(const struct route *rt)
{
	return rt->op == OP_QUERY_EXECUTE ? "/execute" : rt->op == OP_QUERY_EXPLAIN ? "/explain" : "";
}

/* Whether the path ends so; the name before it is left, if there is one ("/v1/query/execute" is about the query "execute"). */
static bool
cut_suffix(struct str path, const char *suffix, struct str *rest)
{
	size_t n = strlen(suffix);

	if (path.len < n || memcmp(path.p + path.len - n, suffix, n) != 0)
		return false;
	if (rest->len >= n)
		rest->len -= n;
	return true;
}

const struct route *
route_find(struct str path, struct str *ret_rest)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		const char *p = routes[i].path;
		size_t n = strlen(p);

		/* "/" is itself alone: every path would be below it. */
		if (n > path.len || (n < path.len && (n == 1 || p[n - 1] != '/')) || memcmp(p, path.p, n) != 0)
			continue;
		*ret_rest = (struct str){ path.p + n, path.len - n };
		if (cut_suffix(path, suffix_of(&routes[i]), ret_rest))
			return &routes[i];
	}
	return NULL;
}

bool
route_is_dir(struct str path)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		size_t n = strlen(routes[i].path);

		if (n == path.len + 1 && routes[i].path[n - 1] == '/' && memcmp(routes[i].path, path.p, path.len) == 0)
			return true;
	}
	return false;
}

const struct route *
route_row(unsigned i)
{
	return i < ARRAY_LEN(routes) ? &routes[i] : NULL;
}

void
route_allow(const struct route *rt, char text[ALLOW_TEXT_MAX])
{
	unsigned m = rt->methods;

	(void)snprintf(text, ALLOW_TEXT_MAX, "OPTIONS%s%s%s%s", (m & M_GET) != 0 ? ",GET" : "", (m & M_PUT) != 0 ? ",PUT" : "",
	    (m & M_POST) != 0 ? ",POST" : "", (m & M_DELETE) != 0 ? ",DELETE" : "");
}

/* A row's metric, its path with dots and "_" for what follows a prefix: of now, with labels, and as it was called before 1.9. */
struct route_metrics {
	struct metric_slot *now, *old;
};

static struct route_metrics *
route_metric(const struct route *rt, enum http_method method, const char *method_name)
{
	static struct route_metrics slots[ARRAY_LEN(routes)][4];
	size_t m = method == M_GET ? 0 : method == M_PUT ? 1 : method == M_POST ? 2 : 3, n = strlen(rt->path);
	struct route_metrics *slot = &slots[rt - routes][m];
	char name[METRIC_NAME_MAX], path[56];

	if (slot->now != NULL)
		return slot;
	(void)snprintf(path, sizeof(path), "%s%s", rt->path + 1, rt->path[n - 1] == '/' ? "_" : "");
	for (char *p = path; *p != '\0'; p++)
		if (*p == '/')
			*p = '.';
	(void)snprintf(name, sizeof(name), "api.http;method=%.7s;path=%s", method_name, path);
	slot->now = metric_get(name, METRIC_SAMPLE);
	(void)snprintf(name, sizeof(name), "http.%.7s.%s", method_name, path);
	slot->old = metric_get(name, METRIC_SAMPLE);
	return slot;
}

void
route_measure(const struct request *r, uint64_t ns)
{
	const struct route_metrics *m;

	if (r->route == NULL || (r->route->methods & r->method) == 0)
		return;
	m = route_metric(r->route, r->method, r->method_name);
	metric_add(m->now, (double)ns / 1e6);
	metric_add(m->old, (double)ns / 1e6);
}
