/*
 * load.c - a snapshot archive as the records of a state's image.
 *
 * The records build a state as they come, so that whatever does not fit
 * together is found before anybody is told anything; then that state is told.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raftd/archive/load.h"

#define ARENA_MAX ((size_t)4 << 30)	/* for one record */

/* ---- the kinds but the catalog's */

static int
load_kvs(struct loader *l, struct str value, enum fsm_table table, uint64_t *highest)
{
	struct snap_kvs in;
	struct ttl_image t;
	int rc = load_decode(l, &rec_snap_kvs, value, &in);

	if (rc == 0)
		rc = load_take_indexes(l, in.e.create_index, in.e.modify_index, highest);
	if (rc == 0 && in.e.session.len > UINT16_MAX)
		rc = load_refuse(l, "its session is too long");
	if (rc == 0 && in.e.key.len == 0)
		rc = load_refuse(l, "it has no key");
	if (rc == 0)
		rc = load_put_record(l, table, in.e.key, &rec_kv_entry, &in.e);
	if (rc < 0 || table != FSM_KV || in.ttl == 0)
		return rc;
	t = (struct ttl_image){ in.ttl, 0 };
	rc = load_put_record(l, FSM_KV_TTL, in.e.key, &rec_ttl_image, &t);
	return rc == -EINVAL ? load_refuse(l, "key \"%.*s\": its TTL is none", SHOWN(in.e.key)) : rc;
}

static int
load_session(struct loader *l, struct str value)
{
	struct snap_session in;
	struct session_image s = { .deadline = 0 };
	int rc = load_decode(l, &rec_snap_session, value, &in);

	if (rc == 0)
		rc = load_check_name(l, "ID", in.s.id);
	if (rc == 0)
		rc = load_take_indexes(l, in.s.create_index, in.s.modify_index, &l->sessions);
	if (rc < 0)
		return rc;
	if (in.s.node_checks.n == 0)
		in.s.node_checks = in.checks;
	s.session = in.s;
	rc = load_put_record(l, FSM_SESSION, load_lower(l, in.s.id), &rec_session_image, &s);
	return rc == -EINVAL ? load_refuse(l, "session \"%.*s\": its TTL or its ID is none", SHOWN(in.s.id)) : rc;
}

static int
load_autopilot(struct loader *l, struct str value)
{
	struct autopilot_config c;
	uint64_t unused = 0;
	int rc = load_decode(l, &rec_snap_autopilot, value, &c);

	if (rc == 0)
		rc = load_take_indexes(l, c.create_index, c.modify_index, &unused);
	return rc == 0 ? load_put_record(l, FSM_AUTOPILOT, STR("config"), &rec_autopilot_config, &c) : rc;
}

static int
load_kept(struct loader *l, unsigned kind, struct str value)
{
	struct str key;
	int rc = keep_key(kind, value, &l->arena, &key);

	if (rc == -EDECODE || rc == -ELIMIT)
		return load_refuse(l, rc == -ELIMIT ? "its key is too long" : "it is not of the form of its kind");
	return rc == 0 ? load_put(l, FSM_OPAQUE, key, value) : rc;
}

/* One that the state cannot hold, without an ID or with another's name, is kept as it stands. */
static int
load_query(struct loader *l, struct str value)
{
	struct mp_w w = mp_w_init(&l->image);
	struct prepared_query q;
	struct str id;
	int rc = load_decode(l, &rec_snap_query, value, &q);

	if (rc == 0)
		rc = load_take_indexes(l, q.create_index, q.modify_index, &l->queries);
	if (rc < 0)
		return rc;
	load_sort_strmap(&q.service.node_meta);
	load_sort_strmap(&q.service.service_meta);
	id = load_lower(l, q.id);
	buf_clear(&l->image);
	record_encode(&rec_prepared_query, &q, RECORD_WHOLE, &w);
	rc = q.id.len > 0 && id.p == NULL ? -ENOMEM : w.err;
	if (rc == 0)
		rc = fsm_load(l->f, FSM_QUERY, id, (struct str){ (const char *)l->image.data, l->image.len });
	return rc == -EDECODE ? load_kept(l, SNAP_QUERY, value) : rc;
}

/* one: as it stands. What cannot be a coordinate of the state is kept in a list of its own, as Consul writes them. */
static int
load_coordinate(struct loader *l, struct str one)
{
	struct mp_r r = mp_r_init(one.p, one.len);
	struct mp_w w = mp_w_init(&l->image);
	struct coordinate_entry c;
	char *list;
	int rc = record_decode(&rec_coordinate_entry, &r, &c, &l->arena);

	if (rc == 0) {
		struct str key = load_join_lower(l, c.node, c.segment);

		buf_clear(&l->image);
		record_encode(&rec_coordinate_entry, &c, RECORD_WHOLE, &w);
		rc = key.p == NULL ? -ENOMEM : w.err;
		if (rc == 0)
			rc = fsm_load(l->f, FSM_COORDINATE, key, (struct str){ (const char *)l->image.data, l->image.len });
	}
	if (rc != -EDECODE) {
		l->coordinates = true;
		return rc;
	}
	list = arena_alloc(&l->arena, 1 + one.len);
	if (list == NULL)
		return -ENOMEM;
	list[0] = (char)0x91;
	memcpy(list + 1, one.p, one.len);
	return load_kept(l, SNAP_COORDINATE, (struct str){ list, 1 + one.len });
}

static int
load_coordinates(struct loader *l, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	uint32_t n;
	int rc = 0;

	if (mp_r_type(&r) != MP_ARRAY)
		return load_refuse(l, "it is not a list");
	n = mp_r_array(&r);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct str one = mp_r_raw(&r);

		rc = r.err < 0 ? r.err : load_coordinate(l, one);
	}
	return rc == 0 && !mp_r_done(&r) ? -EDECODE : rc;
}

/* Tokens, policies, roles, auth methods, binding rules; those from before 1.4 become tokens. */
static int
load_acl(struct loader *l, unsigned kind, struct str value, uint64_t *highest)
{
	uint64_t create, modify;
	enum fsm_table table;
	struct str key;
	struct mp_r r = mp_r_init(value.p, value.len);
	int rc = mp_r_type(&r) == MP_MAP ? archive_acl_indexes(value, &l->arena, &create, &modify) :
	    load_refuse(l, "it is not of the form of its kind");

	if (rc == 0)
		rc = load_take_indexes(l, create, modify, highest);
	buf_clear(&l->image);
	if (rc == 0)
		rc = fsm_acl_from_snapshot(kind, value, &l->arena, &table, &key, &l->image);
	return rc == 0 ? load_put(l, table, key, (struct str){ (const char *)l->image.data, l->image.len }) : rc;
}

/* An index is kept like what is unknown; finish() looks which of them are ours. */
static int
load_index(struct loader *l, struct str value)
{
	struct snap_index in;
	uint64_t unused = 0;
	int rc = load_decode(l, &rec_snap_index, value, &in);

	if (rc == 0)
		rc = load_check_name(l, "key", in.key);
	if (rc == 0)
		rc = load_take_indexes(l, 0, in.value, &unused);
	return rc == 0 ? load_kept(l, SNAP_INDEX, value) : rc;
}

/* Before tokens were as they are, this told that the first one had been made. */
static int
load_bootstrap(struct loader *l, struct str value)
{
	struct snap_index in = { .key = STR("acl-token-bootstrap") };
	struct mp_w w = mp_w_init(&l->image);
	struct autopilot_config c;	/* for its indexes: the record has no more that is used */
	int rc = load_decode(l, &rec_snap_autopilot, value, &c);

	if (rc < 0)
		return rc;
	in.value = c.modify_index;
	buf_clear(&l->image);
	dialect_encode(&rec_snap_index, &in, &w);
	return w.err < 0 ? w.err : load_index(l, (struct str){ (const char *)l->image.data, l->image.len });
}

static int
load_record(struct loader *l, unsigned kind, struct str value)
{
	switch (kind) {
	case SNAP_REGISTER:
		return load_register(l, value);
	case SNAP_KVS:
		return load_kvs(l, value, FSM_KV, &l->kvs);
	case SNAP_TOMBSTONE:
		return load_kvs(l, value, FSM_TOMBSTONE, &l->tombstones);
	case SNAP_SESSION:
		return load_session(l, value);
	case SNAP_COORDINATE:
		return load_coordinates(l, value);
	case SNAP_QUERY:
		return load_query(l, value);
	case SNAP_AUTOPILOT:
		return load_autopilot(l, value);
	case SNAP_ACL:
	case SNAP_TOKEN:
		return load_acl(l, kind, value, &l->tokens);
	case SNAP_POLICY:
		return load_acl(l, kind, value, &l->policies);
	case SNAP_ROLE:
		return load_acl(l, kind, value, &l->roles);
	case SNAP_AUTH_METHOD:
		return load_acl(l, kind, value, &l->methods);
	case SNAP_BINDING_RULE:
		return load_acl(l, kind, value, &l->bindings);
	case SNAP_ACL_BOOTSTRAP:
		return load_bootstrap(l, value);
	case SNAP_INDEX:
		return load_index(l, value);
	case SNAP_CHUNKING:
		return 0;	/* of writes in flight, which are none of the state */
	default:
		return load_kept(l, kind, value);
	}
}

static int
on_record(void *ctx, unsigned kind, struct str value, uint64_t offset, char ret_err[SNAP_ERROR_MAX])
{
	struct loader *l = ctx;
	int rc;

	(void)offset;
	l->why = ret_err;
	arena_reset(&l->arena);
	rc = load_record(l, kind, value);
	if (rc == -EDECODE)
		return load_refuse(l, "a field of it has the wrong type");
	return rc == -ELIMIT ? load_refuse(l, "it is too large") : rc;
}

static int
on_header(void *ctx, uint64_t last_index)
{
	struct loader *l = ctx;

	l->last_index = last_index < LOAD_INDEX_END ? last_index : 0;
	return 0;
}

/* ---- the whole */

static int
on_index(void *ctx, struct str key, struct str value)
{
	struct loader *l = ctx;
	struct buf copy = BUF_INIT(2 * LOAD_KEY_MAX), image = BUF_INIT(64);
	struct mp_w w = mp_w_init(&image);
	struct snap_index in;
	struct str name = { key.p + 1, key.len - 1 }, prefix = STR("service.");
	int rc = buf_add(&copy, value.p, value.len);

	arena_reset(&l->arena);
	if (rc == 0)
		rc = load_decode(l, &rec_snap_index, (struct str){ (const char *)copy.data, copy.len }, &in);
	if (rc == 0 && !fsm_set_table_index(l->f, name, in.value) && str_has_prefix(name, prefix))
		rc = load_find(l, FSM_META, (struct str){ name.p + prefix.len, name.len - prefix.len }, name, NULL);
	if (rc > 0) {
		mp_w_map(&w, 1);
		mp_w_cstr(&w, "Index");
		mp_w_uint(&w, in.value);
		rc = w.err < 0 ? w.err : fsm_load(l->f, FSM_META, name, (struct str){ (const char *)image.data, image.len });
	}
	buf_release(&copy);
	buf_release(&image);
	return rc;
}

/* Indexes of tables and services: as the snapshot says, else the highest that was seen. */
static int
finish(struct loader *l)
{
	static const char prefix = SNAP_INDEX;
	const struct { const char *name; uint64_t index; } seen[] = {
		{ "kvs", l->kvs }, { "tombstones", l->tombstones }, { "sessions", l->sessions }, { "nodes", l->nodes },
		{ "services", l->services }, { "checks", l->checks }, { "prepared-queries", l->queries }, { "acl-tokens", l->tokens },
		{ "acl-policies", l->policies }, { "acl-roles", l->roles }, { "acl-auth-methods", l->methods },
		{ "acl-binding-rules", l->bindings }, { "coordinates", l->coordinates ? l->last_index : 0 },
	};
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(seen); i++)
		(void)fsm_set_table_index(l->f, str_from(seen[i].name), seen[i].index);
	rc = fsm_walk(l->f, FSM_OPAQUE, (struct str){ &prefix, 1 }, on_index, l);
	return rc == 0 ? fsm_loaded(l->f) : rc;
}

struct telling {
	struct loader *l;
	const struct archive_sink *sink;
	struct buf copy;
	int rc;
};

/* Whether the state itself holds this index, so that its record is not kept. */
static int
index_is_ours(struct loader *l, struct str name)
{
	const struct str prefix = STR("service.");
	const char *table;
	uint64_t unused;

	for (size_t i = 0; fsm_table_index(l->f, i, &table, &unused); i++)
		if (str_eqs(name, table))
			return 1;
	if (!str_has_prefix(name, prefix))
		return 0;
	return load_find(l, FSM_META, (struct str){ name.p + prefix.len, name.len - prefix.len }, name, NULL);
}

static void
tell(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct telling *t = ctx;

	if (t->rc != 0)
		return;
	if (table == FSM_OPAQUE && key.p[0] == SNAP_INDEX) {
		buf_clear(&t->copy);
		t->rc = buf_add(&t->copy, value.p, value.len);
		if (t->rc == 0)
			t->rc = index_is_ours(t->l, (struct str){ key.p + 1, key.len - 1 });
		value = (struct str){ (const char *)t->copy.data, t->copy.len };
	}
	if (t->rc == 0)
		t->rc = t->sink->record(t->sink->ctx, table, key, value);
	else if (t->rc > 0)
		t->rc = 0;
}

static int
tell_all(struct loader *l, const struct archive_sink *sink, char ret_err[SNAP_ERROR_MAX])
{
	struct telling t = { l, sink, BUF_INIT(2 * LOAD_KEY_MAX), 0 };
	const struct fsm_sink as_fsm = { .ctx = &t, .changed = tell };
	int rc = fsm_dump(l->f, &as_fsm);

	buf_release(&t.copy);
	if (rc == 0)
		rc = t.rc;
	if (rc < 0)
		(void)snprintf(ret_err, SNAP_ERROR_MAX, "failed to restore snapshot: %s", err_text(rc));
	return rc;
}

static int
load(struct loader *l, int fd, const struct archive_sink *sink, struct snap_meta *ret, char ret_err[SNAP_ERROR_MAX])
{
	const struct snap_sink snap = { .ctx = l, .header = on_header, .record = on_record };
	struct snap_meta meta;
	int rc = snap_read(fd, &snap, &meta, ret_err);

	if (rc < 0)
		return rc;
	if (meta.index >= LOAD_INDEX_END) {
		(void)snprintf(ret_err, SNAP_ERROR_MAX, "failed to restore snapshot: its index %llu is too high", (unsigned long long)meta.index);
		return -EINVAL;
	}
	l->why = ret_err;
	rc = finish(l);
	if (rc < 0) {
		(void)snprintf(ret_err, SNAP_ERROR_MAX, "failed to restore snapshot: %s",
		    rc == -EDECODE ? "its records do not fit together" : err_text(rc));
		return rc == -EDECODE ? -EINVAL : rc;
	}
	rc = tell_all(l, sink, ret_err);
	if (rc == 0)
		*ret = meta;
	return rc;
}

int
archive_load(int fd, const char *datacenter, const struct archive_sink *sink, struct snap_meta *ret,
    char ret_err[SNAP_ERROR_MAX])
{
	const struct fsm_config config = { .datacenter = datacenter, .txn_ops_max = 1 };
	struct loader l = { .f = fsm_new(&config), .datacenter = str_from(datacenter) };
	int rc;

	arena_init(&l.arena, ARENA_MAX);
	buf_init(&l.image, SNAP_RECORD_MAX);
	buf_init(&l.last_node, SNAP_RECORD_MAX);
	if (l.f == NULL) {
		(void)snprintf(ret_err, SNAP_ERROR_MAX, "failed to restore snapshot: %s", err_text(-ENOMEM));
		rc = -ENOMEM;
	} else {
		rc = load(&l, fd, sink, ret, ret_err);
	}
	fsm_free(l.f);
	arena_release(&l.arena);
	buf_release(&l.image);
	buf_release(&l.last_node);
	return rc;
}
