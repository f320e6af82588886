/*
 * records.h - the records that daemons exchange, store and show.
 *
 * Wire names, order and null-or-empty habits are those of Consul's JSON, so
 * that a reply made by a daemon needs no knowledge to become a JSON answer.
 * Strings are slices: see record.h for who owns them. Durations are
 * nanoseconds unless the name says otherwise.
 */
#ifndef LIB_RECORDS_H
#define LIB_RECORDS_H

#include "lib/record.h"

/* ---- around every request and reply (rpc bodies: see ops.h) */

enum consistency { CONSISTENCY_DEFAULT = 0, CONSISTENCY_CONSISTENT = 1, CONSISTENCY_STALE = 2 };

struct query_options {
	struct str token;	/* ACL secret, "" for none */
	struct str datacenter;	/* "" for our own */
	uint64_t consistency;	/* enum consistency */
	uint64_t min_index;	/* not 0: wait until the result's index is above it */
	int64_t max_stale;	/* ns, 0: any */
	struct str origin;	/* writes: 16 random bytes that name the writing process, */
	uint64_t seq;		/* its number for this write, from 1, */
	uint64_t floor;		/* and the lowest number whose answer it still lacks */
};

struct query_meta {
	uint64_t index;		/* X-Consul-Index */
	int64_t last_contact_ms;
	bool known_leader;
};

/* The body of an error reply. */
struct rpc_error {
	uint64_t code;		/* as an HTTP status: 400 403 404 409 413 429 500 */
	struct str text;	/* shown to the client word for word */
};

/* ---- KV */

struct kv_entry {
	uint64_t lock_index;
	struct str key;
	uint64_t flags;
	struct str value;
	struct str session;
	uint64_t create_index, modify_index;
};

struct kv_query {
	struct str key;		/* or prefix */
	struct str separator;	/* kv.keys */
};

/* verbs: set cas delete delete-cas delete-tree lock unlock, and in transactions get get-tree check-index check-session check-not-exists */
struct kv_op {
	struct str verb;
	struct kv_entry entry;	/* modify_index: what cas compares with */
};

/* ---- sessions */

struct service_check_ref {
	struct str id, ns;
};

struct session {
	struct str id, name, node;
	int64_t lock_delay;
	struct str behavior;	/* release, delete */
	struct str ttl;		/* as given: "10s"; "" none */
	struct strs node_checks;
	struct records service_checks;	/* service_check_ref */
	uint64_t create_index, modify_index;
};

/* session.create's input keeps the legacy field too. */
struct session_create {
	struct str id, name, node;
	int64_t lock_delay;
	struct str behavior, ttl;
	struct strs node_checks;
	bool no_node_checks;	/* internal: the list was given and empty */
	struct records service_checks;
	struct strs checks;	/* legacy name of node_checks */
};

struct id_request {
	struct str id;
};

/* ---- catalog */

struct node {
	struct str id, node, address, datacenter;
	struct strmap tagged_addresses, meta;
	uint64_t create_index, modify_index;
};

struct service_address {
	struct str address;
	int64_t port;
};

struct weights {
	int64_t passing, warning;
};

/* A service instance as it stands under its node (catalog/node, health, txn). */
struct node_service {
	struct str kind;
	struct str id, service;
	struct strs tags;
	struct str address;
	struct recmap tagged_addresses;		/* service_address */
	struct strmap meta;
	int64_t port;
	struct str socket_path;
	struct weights weights;
	bool enable_tag_override;
	struct str proxy, connect;		/* msgpack as given; never looked into */
	uint64_t create_index, modify_index;
};

/* A service instance with its node (catalog/service). */
struct service_node {
	struct str id, node, address, datacenter;
	struct strmap tagged_addresses, node_meta;
	struct str service_kind, service_id, service_name;
	struct strs service_tags;
	struct str service_address;
	struct recmap service_tagged_addresses;
	struct weights service_weights;
	struct strmap service_meta;
	int64_t service_port;
	struct str service_socket_path;
	bool service_enable_tag_override;
	struct str service_proxy, service_connect;
	uint64_t create_index, modify_index;
};

struct check_definition {
	int64_t interval;
	uint64_t output_max_size;
	int64_t timeout, deregister_critical_service_after;
	struct str http, tls_server_name;
	bool tls_skip_verify;
	struct recmap header;			/* strs_value: lists of strings */
	struct str method, body, tcp, h2ping;
	struct strs script_args;
	struct str docker_container_id, shell, grpc;
	bool grpc_use_tls;
	struct str alias_node, alias_service;
	int64_t ttl;
};

/* One list of strings as a map's value (HTTP headers). */
struct strs_value {
	struct strs v;
};

struct health_check {
	struct str node, check_id, name, status, notes, output;
	struct str service_id, service_name;
	struct strs service_tags;
	struct str type, interval, timeout;
	int64_t exposed_port;
	struct str definition;			/* msgpack map: what a check_definition shows, {} by default */
	uint64_t create_index, modify_index;
};

struct register_request {
	struct str datacenter, id, node, address;
	struct strmap tagged_addresses, node_meta;
	struct records service;			/* node_service: 0 or 1 */
	struct records check;			/* health_check: 0 or 1 */
	struct records checks;			/* health_check */
	bool skip_node_update;
};

struct deregister_request {
	struct str datacenter, node, service_id, check_id;
};

/* Parameters of catalog.* and health.* reads; each uses what it needs. */
struct catalog_query {
	struct str node;
	struct str service;
	struct strs tags;	/* all must be there, whatever their case */
	struct strmap node_meta;
	struct str state;
	struct str near;
	struct str filter;
};

/* health.service: one entry of the reply. Encoded by hand-off: Node, Service, Checks. */
struct health_entry {
	struct node node;
	struct node_service service;
	struct records checks;	/* health_check */
};

/* catalog.node: Services is a map by id, catalog.node_services: a list. */

/* ---- transactions */

struct txn_kv {
	struct str verb, key, value;
	uint64_t flags, index;
	struct str session;
};

struct txn_node {
	struct str verb;
	struct node node;
};

struct txn_service {
	struct str verb, node;
	struct node_service service;
};

struct txn_check {
	struct str verb;
	struct health_check check;
};

/* Exactly one of the lists holds one element. */
struct txn_op {
	struct records kv, node, service, check;
};

struct txn_request {
	struct records ops;	/* txn_op */
};

/* ---- this node's own services and checks (checkd) */

struct check_def {
	struct str check_id, name, notes, service_id, status, token;
	struct strs args;
	struct str script;		/* old name; refused with a sentence */
	int64_t interval, timeout, ttl;
	struct str http, method, body;
	struct recmap header;		/* strs_value */
	bool disable_redirects, tls_skip_verify;
	struct str tls_server_name;
	int64_t output_max_size;
	struct str tcp;
	bool tcp_use_tls;
	struct str udp, grpc;
	bool grpc_use_tls;
	struct str h2ping;
	bool h2ping_use_tls;
	struct str docker_container_id, shell;
	struct str os_service;
	struct str alias_node, alias_service;
	int64_t success_before_passing, failures_before_warning, failures_before_critical;
	int64_t deregister_critical_service_after;
};

struct service_def {
	struct str kind, id, name;
	struct strs tags;
	struct str address;
	struct recmap tagged_addresses;	/* service_address */
	struct strmap meta;
	int64_t port;
	struct str socket_path;
	struct records weights;		/* weights: 0 or 1 */
	bool enable_tag_override;
	struct str token;
	struct records check;		/* check_def: 0 or 1 */
	struct records checks;		/* check_def */
	struct str proxy, connect;	/* msgpack as given */
};

struct agent_service {
	struct str kind, id, service;
	struct strs tags;
	struct strmap meta;
	int64_t port;
	struct str address;
	struct str socket_path;
	struct recmap tagged_addresses;
	struct weights weights;
	bool enable_tag_override;
	struct str datacenter;
	struct str content_hash;	/* agent/service/:id only */
};

/* agent.service_register, agent.check_register */
struct agent_register {
	struct service_def service;
	bool replace_existing_checks;
};

struct agent_query {
	struct str id;		/* service or check id, or service name */
	bool by_name;
	struct str hash;	/* agent.service: content hash to wait on */
	int64_t wait;
	struct str filter;
};

struct check_update {
	struct str check_id, status, output;
};

struct maintenance {
	struct str service_id;	/* "" for the node */
	bool enable;
	struct str reason;
	struct str token;
};

/* ---- membership (gossipd) */

enum member_status { MEMBER_NONE, MEMBER_ALIVE, MEMBER_LEAVING, MEMBER_LEFT, MEMBER_FAILED };

struct member {
	struct str name, addr;
	int64_t port;
	struct strmap tags;	/* role dc id build port ... as Consul's */
	int64_t status;		/* enum member_status */
	int64_t protocol_min, protocol_max, protocol_cur;
	int64_t delegate_min, delegate_max, delegate_cur;
};

struct member_query {
	bool wan;
	struct str segment;
};

struct join_request {
	struct strs addrs;
	bool wan;
};

struct force_leave_request {
	struct str node;
	bool prune;
};

/* ---- every daemon */

struct log_query {
	struct str level;	/* "" INFO */
	bool json;
};

struct log_line {
	struct str text;	/* one line, formatted, without newline */
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_SAMPLE };

/* One step of a sample's histogram: this many observations up to le, and above the step before. */
struct metric_bucket {
	double le;
	uint64_t count;
};

struct metric {
	struct str name;	/* "http.GET.v1.kv._", without the prefix */
	int64_t kind;		/* enum metric_kind */
	uint64_t count;		/* events in the interval (counter, sample) */
	double sum, sum_sq, min, max;	/* over the interval; gauge: sum is the value */
	uint64_t total_count;	/* since start */
	double total_sum;
	struct records buckets;	/* metric_bucket, ascending, empty steps left out: samples only, over the interval */
};

extern const struct record rec_query_options, rec_query_meta, rec_rpc_error;
extern const struct record rec_kv_entry, rec_kv_query, rec_kv_op;
extern const struct record rec_service_check_ref, rec_session, rec_session_create, rec_id_request;
extern const struct record rec_node, rec_service_address, rec_weights, rec_node_service, rec_service_node;
extern const struct record rec_strs_value, rec_check_definition, rec_health_check, rec_register_request, rec_deregister_request;
extern const struct record rec_catalog_query, rec_health_entry;
extern const struct record rec_txn_kv, rec_txn_node, rec_txn_service, rec_txn_check, rec_txn_op, rec_txn_request;
extern const struct record rec_check_def, rec_service_def, rec_agent_service, rec_agent_register, rec_agent_query;
extern const struct record rec_check_update, rec_maintenance;
extern const struct record rec_member, rec_member_query, rec_join_request, rec_force_leave_request;
extern const struct record rec_log_query, rec_log_line, rec_metric_bucket, rec_metric;

#endif
