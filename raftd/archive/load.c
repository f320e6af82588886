/*
 * load.c - a snapshot archive as the records of a state's image.
 *
 * The records build a state as they come, so that whatever does not fit
 * together is found before anybody is told anything; then that state is told.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raftd/archive/internal.h"

enum { KEY_MAX = 1 << 20, NAME_MAX_SHOWN = 200, NOT_THERE = 2 };
#define ARENA_MAX ((size_t)4 << 30)	/* for one record */
#define INDEX_END (UINT64_C(1) << 62)	/* indexes are below, and so they can still grow */

struct loader {
	struct fsm *f;
	struct str datacenter;
	struct arena arena;		/* of one record */
	struct buf image;		/* one record of the image */
	struct buf last_node;		/* each of a node's records repeats it */
	char *why;			/* of the record at hand */
	uint64_t kvs, tombstones, sessions, nodes, services, checks, queries;	/* the highest index of each, for tables without a record of it */
	uint64_t tokens, policies, roles, methods, bindings;	/* the same of ACLs */
	uint64_t last_index;		/* of the header */
	bool coordinates;		/* there are some, which have no index of their own */
};

/* ---- what every record needs */

static int
refuse(struct loader *l, const char *fmt, ...) PRINTF(2, 3);

static int
refuse(struct loader *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(l->why, SNAP_ERROR_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* A name for a sentence. */
#define SHOWN(s) (int)((s).len < NAME_MAX_SHOWN ? (s).len : NAME_MAX_SHOWN), (s).p != NULL ? (s).p : ""

static struct str
lower(struct loader *l, struct str s)
{
	char *p = arena_strdup(&l->arena, s);

	for (size_t i = 0; p != NULL && i < s.len; i++)
		p[i] = (char)ascii_lower((unsigned char)p[i]);
	return (struct str){ p, p != NULL ? s.len : 0 };
}

/* x NUL y in lower case: keys of services and checks. */
static struct str
join_lower(struct loader *l, struct str x, struct str y)
{
	char *p = arena_alloc(&l->arena, x.len + 1 + y.len);

	if (p == NULL)
		return STR_NONE;
	for (size_t i = 0; i < x.len; i++)
		p[i] = (char)ascii_lower((unsigned char)x.p[i]);
	for (size_t i = 0; i < y.len; i++)
		p[x.len + 1 + i] = (char)ascii_lower((unsigned char)y.p[i]);
	return (struct str){ p, x.len + 1 + y.len };
}

static int
put(struct loader *l, enum fsm_table table, struct str key, struct str value)
{
	int rc;

	if (key.p == NULL)
		return -ENOMEM;
	if (key.len == 0 || key.len > KEY_MAX)
		return refuse(l, key.len == 0 ? "it has no key" : "its key is too long");
	rc = fsm_load(l->f, table, key, value);
	return rc == -EDECODE ? refuse(l, "it does not fit into the state") : rc;
}

static int
put_record(struct loader *l, enum fsm_table table, struct str key, const struct record *rec, const void *obj)
{
	struct mp_w w = mp_w_init(&l->image);

	buf_clear(&l->image);
	record_encode(rec, obj, RECORD_WHOLE, &w);
	return w.err < 0 ? w.err : put(l, table, key, (struct str){ (const char *)l->image.data, l->image.len });
}

static int
decode(struct loader *l, const struct record *rec, struct str value, void *obj)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	int rc;

	if (mp_r_type(&r) != MP_MAP)
		return refuse(l, "it is not a map");
	rc = record_decode(rec, &r, obj, &l->arena);
	return rc == 0 && !mp_r_done(&r) ? -EDECODE : rc;
}

/* The indexes of an item are in bounds; the highest is remembered. */
static int
take_indexes(struct loader *l, uint64_t create, uint64_t modify, uint64_t *highest)
{
	if (create >= INDEX_END || modify >= INDEX_END)
		return refuse(l, "its index is too high");
	if (modify > *highest)
		*highest = modify;
	return 0;
}

/* A name that becomes a part of a key. */
static int
check_name(struct loader *l, const char *what, struct str name)
{
	if (name.len == 0)
		return refuse(l, "it has no %s", what);
	if (memchr(name.p, 0, name.len) != NULL)
		return refuse(l, "the %s holds a NUL", what);
	return 0;
}

/* ---- maps are kept in the order of their keys */

static int
by_key(const void *a, const void *b)
{
	return str_cmp(((const struct strpair *)a)->key, ((const struct strpair *)b)->key);
}

static void
sort_strmap(struct strmap *m)
{
	if (m->n > 1)
		qsort(m->v, m->n, sizeof(*m->v), by_key);
}

struct place {
	struct str key;
	size_t at;
};

static int
by_place(const void *a, const void *b)
{
	return str_cmp(((const struct place *)a)->key, ((const struct place *)b)->key);
}

static int
sort_recmap(struct loader *l, struct recmap *m, size_t size)
{
	struct place *order;
	char *v;

	if (m->n < 2)
		return 0;
	order = arena_alloc(&l->arena, m->n * sizeof(*order));
	v = arena_alloc(&l->arena, m->n * size);
	if (order == NULL || v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++)
		order[i] = (struct place){ m->keys[i], i };
	qsort(order, m->n, sizeof(*order), by_place);
	for (size_t i = 0; i < m->n; i++) {
		memcpy(v + i * size, (const char *)m->v + order[i].at * size, size);
		m->keys[i] = order[i].key;
	}
	m->v = v;
	return 0;
}

/* ---- nodes, services, checks */

struct found {
	struct str key;
	struct buf *value;	/* NULL: not wanted */
};

static int
on_found(void *ctx, struct str key, struct str value)
{
	const struct found *want = ctx;
	int rc;

	if (!str_eq(key, want->key))
		return NOT_THERE;	/* it would be the first of those that start with it */
	rc = want->value != NULL ? buf_add(want->value, value.p, value.len) : 0;
	return rc < 0 ? rc : 1;
}

/* 1: there is a record of this key; its value is appended. prefix: the key as fsm_walk() wants it. */
static int
find(struct loader *l, enum fsm_table table, struct str prefix, struct str key, struct buf *ret_value)
{
	struct found want = { key, ret_value };
	int rc = fsm_walk(l->f, table, prefix, on_found, &want);

	return rc == NOT_THERE ? 0 : rc;
}

static int
load_node(struct loader *l, struct snap_register *r)
{
	struct mp_w w = mp_w_init(&l->image);
	struct node *n = &r->node;
	int rc = check_name(l, "node name", n->node);

	if (rc == 0)
		rc = take_indexes(l, n->create_index, n->modify_index, &l->nodes);
	if (rc < 0)
		return rc;
	if (n->datacenter.len == 0)
		n->datacenter = l->datacenter;
	sort_strmap(&n->tagged_addresses);
	sort_strmap(&n->meta);
	buf_clear(&l->image);
	record_encode(&rec_node, n, RECORD_WHOLE, &w);
	if (w.err < 0)
		return w.err;
	if (l->image.len == l->last_node.len && memcmp(l->image.data, l->last_node.data, l->image.len) == 0)
		return 0;
	rc = put(l, FSM_NODE, lower(l, n->node), (struct str){ (const char *)l->image.data, l->image.len });
	if (rc < 0)
		return rc;
	buf_clear(&l->last_node);
	return buf_add(&l->last_node, l->image.data, l->image.len);
}

/* Its name has an index of its own: the highest of its instances', until a record says better. */
static int
load_name(struct loader *l, const struct node_service *s)
{
	struct str name = lower(l, s->service), key;
	struct snap_index had = { .value = 0 }, is = { .value = s->modify_index };
	struct buf value = BUF_INIT(4096);
	struct mp_w w = mp_w_init(&l->image);
	struct mp_r r;
	int rc;

	key = (struct str){ arena_printf(&l->arena, "service.%.*s", STR_ARG(name)), strlen("service.") + name.len };
	if (name.p == NULL || key.p == NULL)
		return -ENOMEM;
	rc = find(l, FSM_META, name, key, &value);
	if (rc > 0) {
		r = mp_r_init(value.data, value.len);
		(void)mp_r_map(&r);
		(void)mp_r_str(&r);
		had.value = mp_r_uint(&r);
		rc = r.err;
	}
	buf_release(&value);
	if (rc < 0 || (had.value >= is.value && had.value > 0))
		return rc;
	buf_clear(&l->image);
	mp_w_map(&w, 1);
	mp_w_cstr(&w, "Index");
	mp_w_uint(&w, is.value);
	return w.err < 0 ? w.err : put(l, FSM_META, key, (struct str){ (const char *)l->image.data, l->image.len });
}

static int
take_weights(struct loader *l, struct snap_service *s)
{
	s->s.weights = (struct weights){ 1, 1 };
	return s->weights.len > 0 ? decode(l, &rec_snap_weights, s->weights, &s->s.weights) : 0;
}

static int
load_service(struct loader *l, const struct node *n, struct str value)
{
	struct snap_service s;
	int rc = decode(l, &rec_snap_service, value, &s);

	if (rc == 0)
		rc = take_weights(l, &s);
	if (rc == 0)
		rc = check_name(l, "service name", s.s.service);
	if (rc == 0 && s.s.id.len == 0)
		s.s.id = s.s.service;
	if (rc == 0)
		rc = check_name(l, "service ID", s.s.id);
	if (rc == 0)
		rc = take_indexes(l, s.s.create_index, s.s.modify_index, &l->services);
	if (rc == 0)
		rc = proxy_to_api(&s.proxy, &l->arena, &s.s.proxy);
	if (rc == 0)
		rc = connect_to_api(&s.connect, &l->arena, &s.s.connect);
	if (rc == 0)
		rc = sort_recmap(l, &s.s.tagged_addresses, sizeof(struct service_address));
	if (rc < 0)
		return rc;
	sort_strmap(&s.s.meta);
	rc = put_record(l, FSM_SERVICE, join_lower(l, n->node, s.s.id), &rec_node_service, &s.s);
	return rc == 0 ? load_name(l, &s.s) : rc;
}

/* What the check says of itself, in the API's form. */
static int
take_definition(struct loader *l, struct snap_check *c)
{
	struct buf b = BUF_INIT(SNAP_RECORD_MAX);
	struct mp_w w = mp_w_init(&b);
	int rc = sort_recmap(l, &c->definition.header, sizeof(struct strs_value));
	char *p = NULL;

	if (rc == 0) {
		record_encode(&rec_check_definition, &c->definition, RECORD_PUBLIC, &w);
		rc = w.err;
	}
	if (rc == 0)
		p = arena_strdup(&l->arena, (struct str){ (const char *)b.data, b.len });
	if (rc == 0 && p == NULL)
		rc = -ENOMEM;
	c->c.definition = (struct str){ p, b.len };
	buf_release(&b);
	return rc;
}

/* The check's service must be there; its name is the service's. */
static int
take_service_name(struct loader *l, const struct node *n, struct health_check *c)
{
	struct str key = join_lower(l, n->node, c->service_id);
	struct buf value = BUF_INIT(SNAP_RECORD_MAX);
	struct node_service s;
	struct mp_r r;
	char *copy;
	int rc = key.p != NULL ? find(l, FSM_SERVICE, key, key, &value) : -ENOMEM;

	if (rc == 0)
		rc = refuse(l, "Missing service registration on node \"%.*s\"", SHOWN(n->node));
	if (rc > 0) {
		r = mp_r_init(value.data, value.len);
		rc = record_decode(&rec_node_service, &r, &s, &l->arena);
		copy = rc == 0 ? arena_strdup(&l->arena, s.service) : NULL;
		c->service_name = (struct str){ copy, s.service.len };
		if (rc == 0 && copy == NULL)
			rc = -ENOMEM;
	}
	buf_release(&value);
	return rc;
}

static int
load_check(struct loader *l, const struct node *n, struct snap_check *c)
{
	int rc;

	if (c->c.node.len == 0)
		c->c.node = n->node;
	if (!str_eq_nocase(c->c.node, n->node))
		return refuse(l, "check node \"%.*s\" does not match node \"%.*s\"", SHOWN(c->c.node), SHOWN(n->node));
	rc = check_name(l, "check ID", c->c.check_id);
	if (rc == 0 && c->c.service_id.len > 0)
		rc = take_service_name(l, n, &c->c);
	if (rc == 0)
		rc = take_indexes(l, c->c.create_index, c->c.modify_index, &l->checks);
	if (rc == 0)
		rc = take_definition(l, c);
	return rc == 0 ? put_record(l, FSM_CHECK, join_lower(l, n->node, c->c.check_id), &rec_health_check, &c->c) : rc;
}

static int
load_register(struct loader *l, struct str value)
{
	struct snap_register r;
	struct snap_check one, *more;
	int rc = decode(l, &rec_snap_register, value, &r);

	if (rc == 0)
		rc = load_node(l, &r);
	if (rc == 0 && r.service.len > 0)
		rc = load_service(l, &r.node, r.service);
	if (rc == 0 && r.check.len > 0) {
		rc = decode(l, &rec_snap_check, r.check, &one);
		if (rc == 0)
			rc = load_check(l, &r.node, &one);
	}
	more = r.checks.v;
	for (size_t i = 0; rc == 0 && i < r.checks.n; i++)
		rc = load_check(l, &r.node, &more[i]);
	return rc;
}

/* ---- the others */

static int
load_kvs(struct loader *l, struct str value, enum fsm_table table, uint64_t *highest)
{
	struct snap_kvs in;
	struct ttl_image t;
	int rc = decode(l, &rec_snap_kvs, value, &in);

	if (rc == 0)
		rc = take_indexes(l, in.e.create_index, in.e.modify_index, highest);
	if (rc == 0 && in.e.session.len > UINT16_MAX)
		rc = refuse(l, "its session is too long");
	if (rc == 0 && in.e.key.len == 0)
		rc = refuse(l, "it has no key");
	if (rc == 0)
		rc = put_record(l, table, in.e.key, &rec_kv_entry, &in.e);
	if (rc < 0 || table != FSM_KV || in.ttl == 0)
		return rc;
	t = (struct ttl_image){ in.ttl, 0 };
	rc = put_record(l, FSM_KV_TTL, in.e.key, &rec_ttl_image, &t);
	return rc == -EINVAL ? refuse(l, "key \"%.*s\": its TTL is none", SHOWN(in.e.key)) : rc;
}

static int
load_session(struct loader *l, struct str value)
{
	struct snap_session in;
	struct session_image s = { .deadline = 0 };
	int rc = decode(l, &rec_snap_session, value, &in);

	if (rc == 0)
		rc = check_name(l, "ID", in.s.id);
	if (rc == 0)
		rc = take_indexes(l, in.s.create_index, in.s.modify_index, &l->sessions);
	if (rc < 0)
		return rc;
	if (in.s.node_checks.n == 0)
		in.s.node_checks = in.checks;
	s.session = in.s;
	rc = put_record(l, FSM_SESSION, lower(l, in.s.id), &rec_session_image, &s);
	return rc == -EINVAL ? refuse(l, "session \"%.*s\": its TTL or its ID is none", SHOWN(in.s.id)) : rc;
}

static int
load_autopilot(struct loader *l, struct str value)
{
	struct autopilot_config c;
	uint64_t unused = 0;
	int rc = decode(l, &rec_snap_autopilot, value, &c);

	if (rc == 0)
		rc = take_indexes(l, c.create_index, c.modify_index, &unused);
	return rc == 0 ? put_record(l, FSM_AUTOPILOT, STR("config"), &rec_autopilot_config, &c) : rc;
}

static int
load_kept(struct loader *l, unsigned kind, struct str value)
{
	struct str key;
	int rc = keep_key(kind, value, &l->arena, &key);

	if (rc == -EDECODE || rc == -ELIMIT)
		return refuse(l, rc == -ELIMIT ? "its key is too long" : "it is not of the form of its kind");
	return rc == 0 ? put(l, FSM_OPAQUE, key, value) : rc;
}

/* One that the state cannot hold, without an ID or with another's name, is kept as it stands. */
static int
load_query(struct loader *l, struct str value)
{
	struct mp_w w = mp_w_init(&l->image);
	struct prepared_query q;
	struct str id;
	int rc = decode(l, &rec_snap_query, value, &q);

	if (rc == 0)
		rc = take_indexes(l, q.create_index, q.modify_index, &l->queries);
	if (rc < 0)
		return rc;
	sort_strmap(&q.service.node_meta);
	sort_strmap(&q.service.service_meta);
	id = lower(l, q.id);
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
		struct str key = join_lower(l, c.node, c.segment);

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
		return refuse(l, "it is not a list");
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
	    refuse(l, "it is not of the form of its kind");

	if (rc == 0)
		rc = take_indexes(l, create, modify, highest);
	buf_clear(&l->image);
	if (rc == 0)
		rc = fsm_acl_from_snapshot(kind, value, &l->arena, &table, &key, &l->image);
	return rc == 0 ? put(l, table, key, (struct str){ (const char *)l->image.data, l->image.len }) : rc;
}

/* An index is kept like what is unknown; finish() looks which of them are ours. */
static int
load_index(struct loader *l, struct str value)
{
	struct snap_index in;
	uint64_t unused = 0;
	int rc = decode(l, &rec_snap_index, value, &in);

	if (rc == 0)
		rc = check_name(l, "key", in.key);
	if (rc == 0)
		rc = take_indexes(l, 0, in.value, &unused);
	return rc == 0 ? load_kept(l, SNAP_INDEX, value) : rc;
}

/* Before tokens were as they are, this told that the first one had been made. */
static int
load_bootstrap(struct loader *l, struct str value)
{
	struct snap_index in = { .key = STR("acl-token-bootstrap") };
	struct mp_w w = mp_w_init(&l->image);
	struct autopilot_config c;	/* for its indexes: the record has no more that is used */
	int rc = decode(l, &rec_snap_autopilot, value, &c);

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
		return refuse(l, "a field of it has the wrong type");
	return rc == -ELIMIT ? refuse(l, "it is too large") : rc;
}

static int
on_header(void *ctx, uint64_t last_index)
{
	struct loader *l = ctx;

	l->last_index = last_index < INDEX_END ? last_index : 0;
	return 0;
}

/* ---- the whole */

static int
on_index(void *ctx, struct str key, struct str value)
{
	struct loader *l = ctx;
	struct buf copy = BUF_INIT(2 * KEY_MAX), image = BUF_INIT(64);
	struct mp_w w = mp_w_init(&image);
	struct snap_index in;
	struct str name = { key.p + 1, key.len - 1 }, prefix = STR("service.");
	int rc = buf_add(&copy, value.p, value.len);

	arena_reset(&l->arena);
	if (rc == 0)
		rc = decode(l, &rec_snap_index, (struct str){ (const char *)copy.data, copy.len }, &in);
	if (rc == 0 && !fsm_set_table_index(l->f, name, in.value) && str_has_prefix(name, prefix))
		rc = find(l, FSM_META, (struct str){ name.p + prefix.len, name.len - prefix.len }, name, NULL);
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
	return find(l, FSM_META, (struct str){ name.p + prefix.len, name.len - prefix.len }, name, NULL);
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
	struct telling t = { l, sink, BUF_INIT(2 * KEY_MAX), 0 };
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
	if (meta.index >= INDEX_END) {
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
