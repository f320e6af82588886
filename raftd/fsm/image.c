/* image.c - the whole state as records, out and in. */
#include <stdlib.h>

#include "raftd/fsm/acl.h"

#define META_STATE "state"
#define META_SERVERS "servers"

static const struct field f_meta[] = {
	FIELD(fsm, applied, "Applied", F_UINT, 0),
	FIELD(fsm, time, "Time", F_INT, 0),
	FIELD(fsm, distance, "Distance", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.kvs, "KVs", F_UINT, 0),
	FIELD(fsm, idx.tombstones, "Tombstones", F_UINT, 0),
	FIELD(fsm, idx.sessions, "Sessions", F_UINT, 0),
	FIELD(fsm, idx.nodes, "Nodes", F_UINT, 0),
	FIELD(fsm, idx.services, "Services", F_UINT, 0),
	FIELD(fsm, idx.checks, "Checks", F_UINT, 0),
	FIELD(fsm, idx.extinction, "ServiceExtinction", F_UINT, 0),
	FIELD(fsm, idx.coordinates, "Coordinates", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.queries, "PreparedQueries", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.acl_tokens, "ACLTokens", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.acl_policies, "ACLPolicies", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.acl_roles, "ACLRoles", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.acl_methods, "ACLAuthMethods", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.acl_bindings, "ACLBindingRules", F_UINT, FF_OMITEMPTY),
	FIELD(fsm, idx.acl_bootstrap, "ACLBootstrap", F_UINT, FF_OMITEMPTY),
};
static RECORD(rec_meta, fsm, "Meta", f_meta);

/* The Raft configuration in force. */
struct servers_image {
	uint64_t index;
	struct str bytes;
};

static const struct field f_servers_image[] = {
	FIELD(servers_image, index, "Index", F_UINT, 0),
	FIELD(servers_image, bytes, "Bytes", F_BYTES, 0),
};
static RECORD(rec_servers_image, servers_image, "ServersImage", f_servers_image);

static int
report(const struct fsm *f, struct str key, const struct record *rec, const void *obj, const struct fsm_sink *sink)
{
	struct mp_w w = mp_w_init(f->enc);

	buf_clear(f->enc);
	record_encode(rec, obj, RECORD_WHOLE, &w);
	if (w.err == 0 && sink->changed != NULL)
		sink->changed(sink->ctx, FSM_META, key, (struct str){ (const char *)f->enc->data, f->enc->len });
	return w.err;
}

static int
report_servers(const struct fsm *f, const struct fsm_sink *sink)
{
	const struct servers_image s = { f->servers.index, { f->servers.bytes, f->servers.len } };

	return s.index != 0 ? report(f, STR(META_SERVERS), &rec_servers_image, &s, sink) : 0;
}

int
fsm_flush(struct fsm *f, const struct fsm_sink *sink)
{
	int rc = 0;

	if (f->meta_dirty)
		rc = report(f, STR(META_STATE), &rec_meta, f, sink);
	if (rc == 0 && f->servers.dirty)
		rc = report_servers(f, sink);
	if (rc < 0)
		return rc;
	f->meta_dirty = f->servers.dirty = false;
	return origin_flush(f, sink);
}

int
meta_dump(const struct fsm *f, const struct fsm_sink *sink)
{
	int rc = report(f, STR(META_STATE), &rec_meta, f, sink);

	return rc == 0 ? report_servers(f, sink) : rc;
}

int
fsm_dump(const struct fsm *f, const struct fsm_sink *sink)
{
	int rc = meta_dump(f, sink);

	if (rc == 0)
		rc = change_dump(f, sink);
	return rc == 0 ? origin_dump(f, sink) : rc;
}

static int
servers_load(struct fsm *f, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct servers_image in;
	char *copy;
	int rc = record_decode(&rec_servers_image, &r, &in, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r))
		return -EDECODE;
	copy = malloc(in.bytes.len + 1);
	if (copy == NULL)
		return -ENOMEM;
	if (in.bytes.len > 0)
		memcpy(copy, in.bytes.p, in.bytes.len);
	free(f->servers.bytes);
	f->servers = (struct servers){ copy, in.bytes.len, in.index, false };
	return 0;
}

static int
meta_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct fsm in;
	int rc;

	if (str_eqs(key, META_SERVERS))
		return servers_load(f, value);
	if (!str_eqs(key, META_STATE))
		return name_load(f, key, value);
	rc = record_decode(&rec_meta, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (!mp_r_done(&r))
		return -EDECODE;
	f->applied = in.applied;
	f->distance = in.distance;
	f->time = in.time;
	f->idx = in.idx;
	return 0;
}

int
fsm_load(struct fsm *f, enum fsm_table table, struct str key, struct str value)
{
	arena_reset(f->arena);
	switch (table) {
	case FSM_META:
		return meta_load(f, key, value);
	case FSM_KV:
		return kv_load(f, key, value);
	case FSM_TOMBSTONE:
		return tomb_load(f, key, value);
	case FSM_SESSION:
		return session_load(f, key, value);
	case FSM_NODE:
		return node_load(f, key, value);
	case FSM_SERVICE:
		return service_load(f, key, value);
	case FSM_CHECK:
		return check_load(f, key, value);
	case FSM_ORIGIN:
		return origin_load(f, key, value);
	case FSM_LOCK_DELAY:
		return delay_load(f, key, value);
	case FSM_OPAQUE:
		return opaque_load(f, key, value);
	case FSM_AUTOPILOT:
		return autopilot_load(f, key, value);
	case FSM_COORDINATE:
		return coordinate_load(f, key, value);
	case FSM_KV_TTL:
		return ttl_load(f, key, value);
	case FSM_QUERY:
		return pquery_load(f, key, value);
	case FSM_ACL_TOKEN:
	case FSM_ACL_POLICY:
	case FSM_ACL_ROLE:
	case FSM_ACL_METHOD:
	case FSM_ACL_BINDING:
		return acl_load(f, table, key, value);
	case FSM_TABLES:
		break;
	}
	return -EDECODE;
}

/* ---- the indexes of tables */

static const struct {
	const char *name;	/* Consul's */
	size_t offset;
} table_indexes[] = {
	{ "acl-auth-methods", offsetof(struct indexes, acl_methods) },
	{ "acl-binding-rules", offsetof(struct indexes, acl_bindings) },
	{ "acl-policies", offsetof(struct indexes, acl_policies) },
	{ "acl-roles", offsetof(struct indexes, acl_roles) },
	{ "acl-token-bootstrap", offsetof(struct indexes, acl_bootstrap) },
	{ "acl-tokens", offsetof(struct indexes, acl_tokens) },
	{ "checks", offsetof(struct indexes, checks) },
	{ "coordinates", offsetof(struct indexes, coordinates) },
	{ "kvs", offsetof(struct indexes, kvs) },
	{ "nodes", offsetof(struct indexes, nodes) },
	{ "prepared-queries", offsetof(struct indexes, queries) },
	{ "service_last_extinction", offsetof(struct indexes, extinction) },
	{ "services", offsetof(struct indexes, services) },
	{ "sessions", offsetof(struct indexes, sessions) },
	{ "tombstones", offsetof(struct indexes, tombstones) },
};

bool
fsm_table_index(const struct fsm *f, size_t i, const char **ret_name, uint64_t *ret_index)
{
	if (i >= ARRAY_LEN(table_indexes))
		return false;
	*ret_name = table_indexes[i].name;
	memcpy(ret_index, (const char *)&f->idx + table_indexes[i].offset, sizeof(*ret_index));
	return true;
}

bool
fsm_set_table_index(struct fsm *f, struct str name, uint64_t index)
{
	for (size_t i = 0; i < ARRAY_LEN(table_indexes); i++)
		if (str_eqs(name, table_indexes[i].name)) {
			memcpy((char *)&f->idx + table_indexes[i].offset, &index, sizeof(index));
			return true;
		}
	return false;
}

int
fsm_loaded(struct fsm *f)
{
	int rc = tomb_loaded(f);

	f->scratch->acl_index = f->applied;
	/* What went before is not known here. */
	gone_reset(f->gone, fsm_index(f));
	f->address_left = max_u64(f->idx.nodes, f->idx.services);
	if (rc == 0)
		rc = ttl_loaded(f);
	return rc == 0 ? service_loaded(f) : rc;
}
