/* acl.c - ACL records of a snapshot, both ways: their tables, in the bytewise order of their fields' names. */
#include "lib/records_acl.h"
#include "raftd/archive/internal.h"

#define N FF_NULL

enum { TIME_LEN = 15 };

struct snap_token {
	struct acl_token t;		/* its times are not used */
	struct str create_time, expiration_time;	/* Go's 15 bytes */
};

static const struct field f_link[] = {
	FIELD(acl_link, id, "ID", F_STR, 0),
	FIELD(acl_link, name, "Name", F_STR, 0),
};
static RECORD(rec_link, acl_link, "Link", f_link);

static const struct field f_service_identity[] = {
	FIELD(acl_service_identity, datacenters, "Datacenters", F_STRS, N),
	FIELD(acl_service_identity, service_name, "ServiceName", F_STR, 0),
};
static RECORD(rec_service_identity, acl_service_identity, "ServiceIdentity", f_service_identity);

static const struct field f_node_identity[] = {
	FIELD(acl_node_identity, datacenter, "Datacenter", F_STR, 0),
	FIELD(acl_node_identity, node_name, "NodeName", F_STR, 0),
};
static RECORD(rec_node_identity, acl_node_identity, "NodeIdentity", f_node_identity);

static const struct field f_snap_token[] = {
	FIELD(snap_token, t.accessor_id, "AccessorID", F_STR, 0),
	FIELD(snap_token, t.auth_method, "AuthMethod", F_STR, 0),
	FIELD(snap_token, t.create_index, "CreateIndex", F_UINT, 0),
	FIELD(snap_token, create_time, "CreateTime", F_BYTES, 0),
	FIELD(snap_token, t.description, "Description", F_STR, 0),
	FIELD(snap_token, t.expiration_ttl, "ExpirationTTL", F_INT, 0),
	FIELD(snap_token, expiration_time, "ExpirationTime", F_BYTES, N),
	FIELD(snap_token, t.hash, "Hash", F_BYTES, N),
	FIELD(snap_token, t.local, "Local", F_BOOL, 0),
	FIELD(snap_token, t.modify_index, "ModifyIndex", F_UINT, 0),
	FIELD_SUB(snap_token, t.node_identities, "NodeIdentities", F_RECORDS, N, rec_node_identity),
	FIELD_SUB(snap_token, t.policies, "Policies", F_RECORDS, N, rec_link),
	FIELD_SUB(snap_token, t.roles, "Roles", F_RECORDS, N, rec_link),
	FIELD(snap_token, t.rules, "Rules", F_STR, 0),
	FIELD(snap_token, t.secret_id, "SecretID", F_STR, 0),
	FIELD_SUB(snap_token, t.service_identities, "ServiceIdentities", F_RECORDS, N, rec_service_identity),
	FIELD(snap_token, t.type, "Type", F_STR, 0),
};
static RECORD(rec_snap_token, snap_token, "Token", f_snap_token);

static const struct field f_snap_policy[] = {
	FIELD(acl_policy, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_policy, datacenters, "Datacenters", F_STRS, N),
	FIELD(acl_policy, description, "Description", F_STR, 0),
	FIELD(acl_policy, hash, "Hash", F_BYTES, N),
	FIELD(acl_policy, id, "ID", F_STR, 0),
	FIELD(acl_policy, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(acl_policy, name, "Name", F_STR, 0),
	FIELD(acl_policy, rules, "Rules", F_STR, 0),
	FIELD(acl_policy, syntax, "Syntax", F_INT, 0),
};
static RECORD(rec_snap_policy, acl_policy, "Policy", f_snap_policy);

static const struct field f_snap_role[] = {
	FIELD(acl_role, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_role, description, "Description", F_STR, 0),
	FIELD(acl_role, hash, "Hash", F_BYTES, N),
	FIELD(acl_role, id, "ID", F_STR, 0),
	FIELD(acl_role, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(acl_role, name, "Name", F_STR, 0),
	FIELD_SUB(acl_role, node_identities, "NodeIdentities", F_RECORDS, N, rec_node_identity),
	FIELD_SUB(acl_role, policies, "Policies", F_RECORDS, N, rec_link),
	FIELD_SUB(acl_role, service_identities, "ServiceIdentities", F_RECORDS, N, rec_service_identity),
};
static RECORD(rec_snap_role, acl_role, "Role", f_snap_role);

static const struct field f_snap_binding[] = {
	FIELD(acl_binding_rule, auth_method, "AuthMethod", F_STR, 0),
	FIELD(acl_binding_rule, bind_name, "BindName", F_STR, 0),
	FIELD(acl_binding_rule, bind_type, "BindType", F_STR, 0),
	FIELD(acl_binding_rule, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_binding_rule, description, "Description", F_STR, 0),
	FIELD(acl_binding_rule, id, "ID", F_STR, 0),
	FIELD(acl_binding_rule, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(acl_binding_rule, selector, "Selector", F_STR, 0),
};
static RECORD(rec_snap_binding, acl_binding_rule, "BindingRule", f_snap_binding);

static const struct field f_snap_method[] = {
	FIELD(acl_auth_method, config, "Config", F_RAW, N),
	FIELD(acl_auth_method, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_auth_method, description, "Description", F_STR, 0),
	FIELD(acl_auth_method, display_name, "DisplayName", F_STR, 0),
	FIELD(acl_auth_method, max_token_ttl, "MaxTokenTTL", F_INT, 0),
	FIELD(acl_auth_method, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(acl_auth_method, name, "Name", F_STR, 0),
	FIELD(acl_auth_method, token_locality, "TokenLocality", F_STR, 0),
	FIELD(acl_auth_method, type, "Type", F_STR, 0),
};
static RECORD(rec_snap_method, acl_auth_method, "AuthMethod", f_snap_method);

/* ---- out */

static int
read_image(const struct record *rec, struct str image, void *obj, struct arena *a)
{
	struct mp_r r = mp_r_init(image.p, image.len);

	return record_decode(rec, &r, obj, a);
}

static int
put_token(struct str image, struct arena *a, struct mp_w *w)
{
	char created[TIME_LEN], expires[TIME_LEN];
	struct snap_token out;
	int rc = read_image(&rec_acl_token, image, &out.t, a);

	if (rc < 0)
		return rc;
	fsm_acl_snapshot_time(out.t.create_time, created);
	out.create_time = (struct str){ created, TIME_LEN };
	out.expiration_time = STR_NONE;
	if (out.t.expiration_time.len > 0) {
		fsm_acl_snapshot_time(out.t.expiration_time, expires);
		out.expiration_time = (struct str){ expires, TIME_LEN };
	}
	dialect_encode(&rec_snap_token, &out, w);
	return w->err;
}

static int
put_method(struct str image, struct arena *a, struct mp_w *w)
{
	struct buf config = BUF_INIT(SNAP_RECORD_MAX);
	struct mp_w c = mp_w_init(&config);
	struct acl_auth_method out;
	int rc = read_image(&rec_acl_auth_method, image, &out, a);

	if (rc == 0 && out.config.len > 0) {
		dialect_json(&c, out.config);
		out.config = (struct str){ (const char *)config.data, config.len };
		rc = c.err;
	}
	if (rc == 0) {
		dialect_encode(&rec_snap_method, &out, w);
		rc = w->err;
	}
	buf_release(&config);
	return rc;
}

int
archive_acl_put(unsigned kind, struct str image, struct arena *a, struct mp_w *w)
{
	const struct record *from, *to;
	union {
		struct acl_policy policy;
		struct acl_role role;
		struct acl_binding_rule binding;
	} x;
	int rc;

	switch (kind) {
	case SNAP_TOKEN:
		return put_token(image, a, w);
	case SNAP_AUTH_METHOD:
		return put_method(image, a, w);
	case SNAP_POLICY:
		from = &rec_acl_policy;
		to = &rec_snap_policy;
		break;
	case SNAP_ROLE:
		from = &rec_acl_role;
		to = &rec_snap_role;
		break;
	default:
		from = &rec_acl_binding_rule;
		to = &rec_snap_binding;
		break;
	}
	rc = read_image(from, image, &x, a);
	if (rc < 0)
		return rc;
	dialect_encode(to, &x, w);
	return w->err;
}

/* ---- in */

struct indexes {
	uint64_t create, modify;
};

static const struct field f_indexes[] = {
	FIELD(indexes, create, "CreateIndex", F_UINT, 0),
	FIELD(indexes, modify, "ModifyIndex", F_UINT, 0),
};
static RECORD(rec_indexes, indexes, "Indexes", f_indexes);

int
archive_acl_indexes(struct str value, struct arena *a, uint64_t *ret_create, uint64_t *ret_modify)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct indexes x;
	int rc = mp_r_type(&r) == MP_MAP ? record_decode(&rec_indexes, &r, &x, a) : -EDECODE;

	if (rc < 0)
		return rc;
	*ret_create = x.create;
	*ret_modify = x.modify;
	return 0;
}
