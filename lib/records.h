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
	uint64_t acl_index;	/* with min_index, of the answer it is from: do not wait if rights may have changed since; 0: no matter */
	int64_t max_stale;	/* ns, 0: any */
	struct str origin;	/* writes: 16 random bytes that name the writing process, */
	uint64_t seq;		/* its number for this write, from 1, */
	uint64_t floor;		/* and the lowest number whose answer it still lacks */
	bool internal;		/* a daemon's own question, on nobody's behalf: httpd never sets it, nothing from TCP may */
};

struct query_meta {
	uint64_t index;		/* X-Consul-Index */
	int64_t last_contact_ms;
	bool known_leader;
	uint64_t acl_index;	/* of the last change to the ACL state that the answer was made with, 0: no ACLs */
	bool filtered;		/* something was left out for lack of rights */
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
	struct str expires_at;	/* RFC 3339: only of a key with a TTL */
	uint64_t fencing;	/* the index of its last acquisition: only where it is asked for */
};

struct kv_query {
	struct str key;		/* or prefix */
	struct str separator;	/* kv.keys */
	struct str after;	/* lists: only what comes behind this name */
	uint64_t limit;		/* lists: so many at most, 0: all; then the payload is [list, whether there is more] */
	uint64_t depth;		/* lists: so many levels below the prefix, 0: all */
	bool count;		/* lists: only how many there are; the payload is a number */
	bool fencing;		/* entries show their fencing tokens */
};

/*
 * verbs: set cas delete delete-cas delete-tree lock unlock touch, and in transactions get get-or-empty get-tree check-index
 * check-session check-not-exists copy move increment
 */
struct kv_op {
	struct str verb;
	struct kv_entry entry;	/* modify_index: what cas compares with */
	int64_t ttl;		/* set, cas, touch: the key goes so many ns later; 0: it stays, for touch: as long as before */
	bool fencing;		/* lock: the payload is the fencing token, 0 when it was not acquired */
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
	bool ttl_exact;		/* it ends after its TTL, not after twice that */
	struct strs node_checks;
	struct records service_checks;	/* service_check_ref */
	uint64_t create_index, modify_index;
};

/* session.create's input keeps the legacy field too. */
struct session_create {
	struct str id, name, node;
	int64_t lock_delay;
	struct str behavior, ttl;
	bool ttl_exact;
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
	bool sidecar;				/* in snapshots only: LocallyRegisteredAsSidecar */
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
	bool tls_skip_verify, disable_redirects;
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

/* Several of both, judged and answered one by one. */
enum { CATALOG_BATCH_MAX = 512 };

struct batch_item {
	struct str token;			/* whose rights decide, "" those of the request's; never in the log */
	struct records reg;			/* register_request: 0 or 1 */
	struct records dereg;			/* deregister_request: 0 or 1 */
	int64_t code;				/* in the log: refused by the leader, as in struct rpc_error; 0: it is not */
	struct str text;
};

struct catalog_batch {
	struct records items;			/* batch_item, at most CATALOG_BATCH_MAX */
};

/* What came of an item; code 0: it stands. */
struct batch_result {
	int64_t code;
	struct str text;
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
	struct str segment;	/* coordinate.*: "" any */
};

/* catalog.reverse */
struct reverse_query {
	struct str address;	/* IPv4 or IPv6, as text */
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
	struct str dest;	/* copy, move: the other key */
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
	struct str h2ping_use_tls;	/* a boolean as it came; "" when it did not, which means true */
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
	struct str client;	/* its address, for agent.why; "" unknown */
};

struct agent_query {
	struct str id;		/* service or check id, or service name */
	bool by_name;
	struct str hash;	/* agent.service: content hash to wait on */
	int64_t wait;
	struct str filter;
};

/* dns.explain */
struct explain_query {
	struct str service, tag;
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
	bool own;		/* gossip.coordinates: this node's alone */
};

struct join_request {
	struct strs addrs;
	bool wan;
};

struct force_leave_request {
	struct str node;
	bool prune;
	bool wan;		/* the WAN pool alone */
};

/* Consul's user event; as /v1/event shows it. In the pool it travels in another form (gossipd/event.c). */
struct user_event {
	struct str id, name, payload;
	struct str node_filter, service_filter, tag_filter;
	uint64_t version, ltime;
};

struct event_query {
	struct str name;	/* "" : all */
	bool internal;		/* those whose name begins with "_" instead, which others do not see */
};

struct serf_event {
	struct str name, payload;
	bool coalesce;
};

struct keyring_request {
	struct str verb;	/* list install use remove */
	struct str key;		/* base64 */
	int64_t relay_factor;	/* 0 .. 5 */
	bool local_only;	/* list */
};

/* Consul's KeyringResponse; one a pool. */
struct key_count {
	uint64_t v;
};
struct keyring_response {
	bool wan;
	struct str datacenter, segment;
	struct strmap messages;		/* node to text */
	struct recmap keys, primary_keys;	/* base64 to key_count */
	int64_t num_nodes, num_resp, num_err;
	struct str error;		/* internal: of this pool */
};

/* Seconds; one of Vivaldi's (gossipd/serf/coord.h). */
struct coordinate_axis {
	double v;
};
struct coordinate {
	struct records vec;	/* coordinate_axis: 8 of them */
	double error, adjustment, height;
};
struct coordinate_entry {
	struct str node, segment;
	struct coordinate coord;
};

/* ---- servers (records_raft.c) */

/* One server of a Raft configuration, as it stands in the log, and as a server tells of itself. */
struct raft_server_info {
	struct str id;		/* of its data directory, 16 hexadecimal digits */
	struct str node_id, node;
	struct str address;	/* ip:port of ports.server */
	bool voter;
	struct str version;	/* of consulctl */
};

/* A Raft configuration in the log. */
struct raft_config_entry {
	struct str cluster;		/* 16 hexadecimal digits, random, the same in all configurations of a cluster */
	struct records servers;		/* raft_server_info */
};

/* raft.configuration's reply: Consul's RaftConfiguration. */
struct raft_server_view {
	struct str id, node, address;	/* id: the node's ID, as Consul shows it */
	bool leader;
	struct str protocol_version;
	bool voter;
	uint64_t last_index;
};

struct raft_configuration {
	struct records servers;		/* raft_server_view */
	uint64_t index;
};

struct raft_peer_request {
	struct str id;		/* a node's ID, or */
	struct str address;
};

/* Consul's names; durations in ns. */
struct autopilot_config {
	bool cleanup_dead_servers;
	int64_t last_contact_threshold;
	uint64_t max_trailing_logs, min_quorum;
	int64_t server_stabilization_time;
	struct str redundancy_zone_tag;
	bool disable_upgrade_migration;
	struct str upgrade_version_tag;
	uint64_t create_index, modify_index;
};

struct autopilot_set {
	struct autopilot_config config;
	bool cas;		/* only if config.modify_index is the stored one */
};

struct autopilot_server_health {
	struct str id, name, address, serf_status, version;
	bool leader;
	struct str last_contact;	/* "12.3ms" */
	uint64_t last_term, last_index;
	bool healthy, voter;
	struct str stable_since;	/* RFC 3339 */
};

struct autopilot_health {
	bool healthy;
	int64_t failure_tolerance;
	struct records servers;		/* autopilot_server_health */
};

struct autopilot_server_state {
	struct str id, name, address, node_status, version;
	struct str last_contact;
	uint64_t last_term, last_index;
	bool healthy;
	struct str stable_since, status;	/* leader, voter, non-voter */
	struct strmap meta;
	struct str node_type;
};

struct autopilot_state {
	bool healthy;
	int64_t failure_tolerance, optimistic_failure_tolerance;
	struct recmap servers;		/* id to autopilot_server_state */
	struct str leader;
	struct strs voters;
};

struct snapshot_info {
	struct str id;		/* 16 bytes: names it in snapshot.read */
	uint64_t index, term, size;
};

struct snapshot_chunk {
	struct str id;		/* 16 bytes; of a restore: random, chosen by who writes it */
	uint64_t offset;
	struct str data;
};

/* ---- between servers */

enum { PEER_PROTOCOL = 3 };	/* raised when entries of the log say what an older server would pass over */

struct peer_hello {
	uint64_t protocol;	/* PEER_PROTOCOL */
	struct str purpose;	/* "raft": messages of the core; "forward": requests */
	struct str datacenter;
	struct str cluster;	/* as in raft_config_entry; "" when none yet */
	struct str id;		/* of the data directory; "" from a client node */
	struct str node_id, node, address, version;
};

struct peer_joined {
	struct str status;	/* "member", "joining", "ask the leader", "no leader", "not bootstrapped" */
	struct str cluster;
	struct str leader;	/* its address */
	struct records servers;	/* raft_server_info: all that the answering server knows; not bootstrapped: itself first, voter: it expects to be asked */
};

struct peer_bootstrap {
	struct raft_config_entry config;	/* that is proposed */
	uint64_t expect;
};

/* A message of the core on the wire: the members of struct raft_message (raftd/core/core.h), and what goes with it. */
struct raft_wire {
	uint64_t type, from, to, term, prev_index, prev_term;
	bool transfer, ok;
	uint64_t first, last, commit, round, sent_ms, match, hint_index, hint_term;
	uint64_t snap_id, snap_index, snap_term, snap_size, offset;
	uint64_t read, read_index;
	bool consistent;
	int64_t time;		/* APPEND: cluster time of the leader */
	struct str entries;	/* APPEND: one after the other u64 first, u32 length (big-endian), a batch (raftd/store/batch.h) */
	struct str data;	/* SNAPSHOT: the chunk */
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
extern const struct record rec_batch_item, rec_catalog_batch, rec_batch_result;
extern const struct record rec_catalog_query, rec_health_entry, rec_reverse_query;
extern const struct record rec_txn_kv, rec_txn_node, rec_txn_service, rec_txn_check, rec_txn_op, rec_txn_request;
extern const struct record rec_check_def, rec_service_def, rec_agent_service, rec_agent_register, rec_agent_query;
extern const struct record rec_explain_query, rec_check_update, rec_maintenance;
extern const struct record rec_member, rec_member_query, rec_join_request, rec_force_leave_request;
extern const struct record rec_user_event, rec_event_query, rec_serf_event, rec_keyring_request, rec_key_count, rec_keyring_response;
extern const struct record rec_coordinate_axis, rec_coordinate, rec_coordinate_entry;
extern const struct record rec_raft_server, rec_raft_config_entry, rec_raft_server_view, rec_raft_configuration, rec_raft_peer_request;
extern const struct record rec_autopilot_config, rec_autopilot_set, rec_autopilot_server_health, rec_autopilot_health,
    rec_autopilot_server_state, rec_autopilot_state;
extern const struct record rec_snapshot_info, rec_snapshot_chunk;
extern const struct record rec_peer_hello, rec_peer_joined, rec_peer_bootstrap, rec_raft_wire;
extern const struct record rec_log_query, rec_log_line, rec_metric_bucket, rec_metric;

#endif
