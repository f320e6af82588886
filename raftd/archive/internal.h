/*
 * internal.h - Consul's records in a snapshot, as both directions see them.
 */
#ifndef RAFTD_ARCHIVE_INTERNAL_H
#define RAFTD_ARCHIVE_INTERNAL_H

#include "lib/records_acl.h"
#include "raftd/archive/archive.h"

/* One node, or it with one of its services or checks. */
struct snap_register {
	struct node node;
	struct str service, check;	/* msgpack of one, empty: none */
	struct records checks;		/* health_check */
	bool skip_node_update;
	struct str token;
};

struct snap_connect {
	bool native;
	struct str sidecar;	/* msgpack */
};

struct snap_mesh_gateway {
	struct str mode;
};

struct snap_path {
	int64_t listener_port, local_path_port;
	bool parsed_from_check;
	struct str path, protocol;
};

struct snap_expose {
	bool checks;
	struct records paths;
};

struct snap_transparent {
	bool dialed_directly;
	int64_t port;
};

struct snap_upstream {
	bool centrally;
	struct str config;	/* msgpack */
	struct str datacenter, name, ns, type;
	struct strs ingress_hosts;
	struct str bind_address;
	int64_t bind_port;
	struct str socket_mode, socket_path;
	struct snap_mesh_gateway mesh;
};

struct snap_proxy {
	struct str config;	/* msgpack */
	struct str service_id, service_name;
	struct snap_expose expose;
	struct str local_address;
	int64_t local_port;
	struct str local_socket;
	struct snap_mesh_gateway mesh;
	struct str mode;
	struct snap_transparent transparent;
	struct records upstreams;
};

struct snap_service {
	struct node_service s;	/* its proxy, connect and weights are not used */
	struct snap_connect connect;
	struct snap_proxy proxy;
	struct str weights;	/* msgpack: Consul has a nil there */
};

struct snap_check {
	struct health_check c;	/* its definition is not used */
	struct check_definition definition;
};

struct snap_session {
	struct session s;
	struct strs checks;	/* the old name of NodeChecks */
};

struct snap_kvs {
	struct kv_entry e;
	int64_t ttl;		/* ns; 0: it stays */
};

/* A record of FSM_KV_TTL. */
struct ttl_image {
	int64_t ttl, deadline;
};

struct snap_index {
	struct str key;
	uint64_t value;
};

/* A record of FSM_SESSION. */
struct session_image {
	struct session session;
	int64_t deadline;
};

/* Fields in the bytewise order of their names, as Consul writes them (fields.c). */
extern const struct record rec_snap_register, rec_snap_service, rec_snap_check, rec_snap_session, rec_snap_kvs, rec_snap_index,
    rec_snap_autopilot, rec_snap_coordinate, rec_snap_query, rec_snap_proxy, rec_snap_weights, rec_session_image, rec_ttl_image;

/* ---- dialect.c: msgpack as Consul writes it: text and bytes as raw, every field, nil for what is empty */

void dialect_str(struct mp_w *w, struct str s);
void dialect_encode(const struct record *rec, const void *obj, struct mp_w *w);
/* One value of any form, its strings as raw and its numbers as floats: what came from JSON. */
void dialect_json(struct mp_w *w, struct str value);

/* ---- acl.c */

/* A record of the image as one of the snapshot's kind; and the indexes of one of a snapshot. -EDECODE, -ENOMEM. */
int MUST_CHECK archive_acl_put(unsigned kind, struct str image, struct arena *a, struct mp_w *w);
int MUST_CHECK archive_acl_indexes(struct str value, struct arena *a, uint64_t *ret_create, uint64_t *ret_modify);

/* ---- proxy.c */

/* What the API shows of a proxy (arena; empty: nothing is set), and back (zero when it is no proxy). */
int MUST_CHECK proxy_to_api(const struct snap_proxy *p, struct arena *a, struct str *ret);
int MUST_CHECK proxy_from_api(struct str api, struct arena *a, struct snap_proxy *ret);
int MUST_CHECK connect_to_api(const struct snap_connect *c, struct arena *a, struct str *ret);
int MUST_CHECK connect_from_api(struct str api, struct arena *a, struct snap_connect *ret);

/* ---- keep.c */

enum { KEEP_KEY_MAX = 4096 };

/*
 * The key under which FSM_OPAQUE keeps a record: kind byte, then its primary
 * key as Consul sorts it (arena). -EDECODE when the record is not of the form that its kind has.
 */
int MUST_CHECK keep_key(unsigned kind, struct str value, struct arena *a, struct str *ret);

#endif
