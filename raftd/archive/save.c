/*
 * save.c - the state as a snapshot archive.
 *
 * The state is walked twice, for length and digest and for the bytes, so that
 * nothing of it is held a second time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raftd/archive/internal.h"

enum { KINDS_MAX = 16, KIND_LEN_MAX = 64 };
#define ARENA_MAX ((size_t)4 << 30)

/* One entry of the index table. */
struct entry {
	struct str key, lower;
	uint64_t value;
	bool live;		/* the state's own, not one that it only keeps */
};

/* Service kinds have an index too; the state has none for them. */
struct kind_index {
	char key[sizeof("service_kind.") + KIND_LEN_MAX];
	uint64_t value;
};

struct saver {
	const struct fsm *f;
	struct snap_out *o;
	struct arena item;		/* of one record */
	struct arena node_arena;	/* of one node, with its services and checks */
	struct buf node_bytes, rec, part;
	struct node node;
	unsigned kind;			/* of the opaque records being walked */
	struct arena table;		/* the index table */
	struct entry *entries;
	size_t n, cap;
	struct kind_index kinds[KINDS_MAX];
	size_t nkinds;
};

/* ---- helpers */

static int
decode(const struct record *rec, struct str value, void *obj, struct arena *a)
{
	struct mp_r r = mp_r_init(value.p, value.len);

	return record_decode(rec, &r, obj, a);
}

static int
write_record(struct saver *s, unsigned kind, const struct record *rec, const void *obj)
{
	struct mp_w w = mp_w_init(&s->rec);

	buf_clear(&s->rec);
	dialect_encode(rec, obj, &w);
	if (w.err == 0)
		snap_out_record(s->o, kind, (struct str){ (const char *)s->rec.data, s->rec.len });
	return w.err;
}

/* ---- the index table */

static int
add_entry(struct saver *s, struct str key, uint64_t value, bool live)
{
	struct entry e = { .value = value, .live = live };
	char *p = arena_strdup(&s->table, key), *q = arena_strdup(&s->table, key);

	if (p == NULL || q == NULL)
		return -ENOMEM;
	if (s->n == s->cap) {
		size_t cap = s->cap * 2 + 64;
		struct entry *v = realloc(s->entries, cap * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		s->entries = v;
		s->cap = cap;
	}
	for (size_t i = 0; i < key.len; i++)
		q[i] = (char)ascii_lower((unsigned char)q[i]);
	e.key = (struct str){ p, key.len };
	e.lower = (struct str){ q, key.len };
	s->entries[s->n++] = e;
	return 0;
}

static int
on_name(void *ctx, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	uint64_t index;

	(void)mp_r_map(&r);
	(void)mp_r_str(&r);
	index = mp_r_uint(&r);
	return r.err < 0 ? r.err : add_entry(ctx, key, index, true);
}

static int
on_kept_index(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct snap_index in;
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_snap_index, value, &in, &s->item);
	return rc < 0 ? rc : add_entry(s, in.key, in.value, false);
}

static int
collect_entries(struct saver *s)
{
	static const char prefix = SNAP_INDEX;
	const char *name;
	uint64_t value;
	int rc = 0;

	s->n = s->nkinds = 0;
	arena_reset(&s->table);
	for (size_t i = 0; rc == 0 && fsm_table_index(s->f, i, &name, &value); i++)
		if (value != 0)
			rc = add_entry(s, str_from(name), value, true);
	if (rc == 0)
		rc = fsm_walk(s->f, FSM_META, STR_NONE, on_name, s);
	return rc == 0 ? fsm_walk(s->f, FSM_OPAQUE, (struct str){ &prefix, 1 }, on_kept_index, s) : rc;
}

static void
note_kind(struct saver *s, const struct node_service *service)
{
	struct str kind = service->kind.len > 0 ? service->kind : STR("typical");
	char key[sizeof(s->kinds[0].key)];
	size_t i = 0;

	if (kind.len > KIND_LEN_MAX)
		return;
	(void)snprintf(key, sizeof(key), "service_kind.%.*s", STR_ARG(kind));
	while (i < s->nkinds && strcmp(s->kinds[i].key, key) != 0)
		i++;
	if (i == KINDS_MAX)
		return;
	if (i == s->nkinds) {
		memcpy(s->kinds[i].key, key, sizeof(key));
		s->kinds[s->nkinds++].value = 0;
	}
	if (service->modify_index > s->kinds[i].value)
		s->kinds[i].value = service->modify_index;
}

static int
by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = str_cmp(x->lower, y->lower);

	return c != 0 ? c : (int)y->live - (int)x->live;
}

/* The state's own entry stands for both, but for kinds of services, of which it sees the present ones alone. */
static int
write_entries(struct saver *s)
{
	int rc = 0;

	for (size_t i = 0; i < s->nkinds && rc == 0; i++)
		rc = add_entry(s, str_from(s->kinds[i].key), s->kinds[i].value, true);
	if (s->n > 1)
		qsort(s->entries, s->n, sizeof(*s->entries), by_key);
	for (size_t i = 0; i < s->n && rc == 0; i++) {
		struct snap_index out = { s->entries[i].key, s->entries[i].value };
		bool kind = str_has_prefix(out.key, STR("service_kind."));

		for (; i + 1 < s->n && str_eq(s->entries[i].lower, s->entries[i + 1].lower); i++)
			if (kind && s->entries[i + 1].value > out.value)
				out.value = s->entries[i + 1].value;
		rc = write_record(s, SNAP_INDEX, &rec_snap_index, &out);
	}
	return rc;
}

/* The highest index of a table; those of services are none. */
static uint64_t
last_index(const struct saver *s)
{
	uint64_t max = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->entries[i].value > max && !str_has_prefix(s->entries[i].key, STR("service.")) &&
		    !str_has_prefix(s->entries[i].key, STR("service_")))
			max = s->entries[i].value;
	return max;
}

/* ---- nodes, services, checks */

static int
write_register(struct saver *s, struct str service, struct str check)
{
	const struct snap_register r = { .node = s->node, .service = service, .check = check };

	return write_record(s, SNAP_REGISTER, &rec_snap_register, &r);
}

/* obj as a part of a register record; valid until the next one. */
static int
make_part(struct saver *s, const struct record *rec, const void *obj, struct str *ret)
{
	struct mp_w w = mp_w_init(&s->part);

	buf_clear(&s->part);
	dialect_encode(rec, obj, &w);
	*ret = (struct str){ (const char *)s->part.data, s->part.len };
	return w.err;
}

static int
take_weights(struct saver *s, struct snap_service *out)
{
	struct buf b = BUF_INIT(64);
	struct mp_w w = mp_w_init(&b);
	char *p;

	dialect_encode(&rec_snap_weights, &out->s.weights, &w);
	p = w.err == 0 ? arena_strdup(&s->item, (struct str){ (const char *)b.data, b.len }) : NULL;
	out->weights = (struct str){ p, b.len };
	buf_release(&b);
	return p == NULL ? -ENOMEM : 0;
}

static int
on_service(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct snap_service out = { .weights = STR_NONE };
	struct str part;
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_node_service, value, &out.s, &s->item);
	if (rc == 0)
		rc = proxy_from_api(out.s.proxy, &s->item, &out.proxy);
	if (rc == 0)
		rc = connect_from_api(out.s.connect, &s->item, &out.connect);
	if (rc == 0)
		rc = take_weights(s, &out);
	if (rc == 0)
		rc = make_part(s, &rec_snap_service, &out, &part);
	if (rc < 0)
		return rc;
	note_kind(s, &out.s);
	return write_register(s, part, STR_NONE);
}

static int
on_check(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct snap_check out = { .definition = { 0 } };
	struct str part;
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_health_check, value, &out.c, &s->item);
	/* The state never looked into it: what is no definition is saved as none. */
	if (rc == 0 && out.c.definition.len > 0 && decode(&rec_check_definition, out.c.definition, &out.definition, &s->item) < 0)
		out.definition = (struct check_definition){ 0 };
	if (rc == 0)
		rc = make_part(s, &rec_snap_check, &out, &part);
	return rc < 0 ? rc : write_register(s, STR_NONE, part);
}

static int
on_node(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	char *prefix;
	int rc;

	arena_reset(&s->node_arena);
	buf_clear(&s->node_bytes);
	rc = buf_add(&s->node_bytes, value.p, value.len);
	if (rc == 0)
		rc = decode(&rec_node, (struct str){ (const char *)s->node_bytes.data, s->node_bytes.len }, &s->node, &s->node_arena);
	prefix = arena_strdup(&s->node_arena, key);	/* its NUL is a part */
	if (rc == 0 && prefix == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = write_register(s, STR_NONE, STR_NONE);
	if (rc == 0)
		rc = fsm_walk(s->f, FSM_SERVICE, (struct str){ prefix, key.len + 1 }, on_service, s);
	return rc == 0 ? fsm_walk(s->f, FSM_CHECK, (struct str){ prefix, key.len + 1 }, on_check, s) : rc;
}

/* ---- the others */

static int
on_session(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct session_image in;
	struct snap_session out = { .checks = { NULL, 0 } };
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_session_image, value, &in, &s->item);
	out.s = in.session;
	return rc < 0 ? rc : write_record(s, SNAP_SESSION, &rec_snap_session, &out);
}

static int
write_entry(struct saver *s, unsigned kind, struct str key, struct str value)
{
	struct snap_kvs out = { .ttl = kind == SNAP_KVS ? fsm_key_ttl(s->f, key) : 0 };
	int rc;

	arena_reset(&s->item);
	rc = decode(&rec_kv_entry, value, &out.e, &s->item);
	out.e.key = key;
	return rc < 0 ? rc : write_record(s, kind, &rec_snap_kvs, &out);
}

static int
on_kv(void *ctx, struct str key, struct str value)
{
	return write_entry(ctx, SNAP_KVS, key, value);
}

static int
on_tombstone(void *ctx, struct str key, struct str value)
{
	return write_entry(ctx, SNAP_TOMBSTONE, key, value);
}

/* Each by itself, in a list of one. */
static int
on_coordinate(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct mp_w w = mp_w_init(&s->rec);
	struct coordinate_entry c;
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_coordinate_entry, value, &c, &s->item);
	if (rc < 0)
		return rc;
	buf_clear(&s->rec);
	mp_w_array(&w, 1);
	dialect_encode(&rec_snap_coordinate, &c, &w);
	if (w.err == 0)
		snap_out_record(s->o, SNAP_COORDINATE, (struct str){ (const char *)s->rec.data, s->rec.len });
	return w.err;
}

static int
on_autopilot(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct autopilot_config c;
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_autopilot_config, value, &c, &s->item);
	return rc < 0 ? rc : write_record(s, SNAP_AUTOPILOT, &rec_snap_autopilot, &c);
}

static int
on_query(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;
	struct prepared_query q;
	int rc;

	(void)key;
	arena_reset(&s->item);
	rc = decode(&rec_prepared_query, value, &q, &s->item);
	return rc < 0 ? rc : write_record(s, SNAP_QUERY, &rec_snap_query, &q);
}

static int
on_acl(struct saver *s, unsigned kind, struct str value)
{
	struct mp_w w = mp_w_init(&s->rec);
	int rc;

	arena_reset(&s->item);
	buf_clear(&s->rec);
	rc = archive_acl_put(kind, value, &s->item, &w);
	if (rc == 0)
		snap_out_record(s->o, kind, (struct str){ (const char *)s->rec.data, s->rec.len });
	return rc;
}

#define ON_ACL(name, kind) \
	static int name(void *ctx, struct str key, struct str value) \
	{ \
		(void)key; \
		return on_acl(ctx, kind, value); \
	}
ON_ACL(on_policy, SNAP_POLICY)
ON_ACL(on_role, SNAP_ROLE)
ON_ACL(on_binding, SNAP_BINDING_RULE)
ON_ACL(on_method, SNAP_AUTH_METHOD)
#undef ON_ACL

/* Consul has tokens in the order of their secrets. */
struct place {
	struct str secret, accessor;
};

struct places {
	struct saver *s;
	struct place *v;
	size_t n, cap;
};

static int
on_place(void *ctx, struct str key, struct str value)
{
	struct places *p = ctx;
	struct acl_token t;
	char *secret, *accessor;
	int rc;

	arena_reset(&p->s->item);
	rc = decode(&rec_acl_token, value, &t, &p->s->item);
	if (rc < 0)
		return rc;
	if (p->n == p->cap) {
		size_t cap = 2 * p->cap + 64;
		struct place *v = realloc(p->v, cap * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		p->v = v;
		p->cap = cap;
	}
	secret = arena_strdup(&p->s->table, t.secret_id);
	accessor = arena_strdup(&p->s->table, key);
	if (secret == NULL || accessor == NULL)
		return -ENOMEM;
	p->v[p->n++] = (struct place){ { secret, t.secret_id.len }, { accessor, key.len } };
	return 0;
}

static int
by_secret(const void *a, const void *b)
{
	return str_cmp(((const struct place *)a)->secret, ((const struct place *)b)->secret);
}

static int
on_token(void *ctx, struct str key, struct str value)
{
	int rc = on_acl(ctx, SNAP_TOKEN, value);

	(void)key;
	return rc < 0 ? rc : 1;	/* that one alone */
}

static int
write_tokens(struct saver *s)
{
	struct places p = { .s = s };
	int rc = fsm_walk(s->f, FSM_ACL_TOKEN, STR_NONE, on_place, &p);

	if (p.n > 1)
		qsort(p.v, p.n, sizeof(*p.v), by_secret);
	for (size_t i = 0; i < p.n && rc >= 0; i++)
		rc = fsm_walk(s->f, FSM_ACL_TOKEN, p.v[i].accessor, on_token, s);
	free(p.v);
	return rc < 0 ? rc : 0;
}

static int
on_kept(void *ctx, struct str key, struct str value)
{
	struct saver *s = ctx;

	(void)key;
	snap_out_record(s->o, s->kind, value);
	return 0;
}

static int
write_kept(struct saver *s, unsigned kind)
{
	const char prefix = (char)kind;

	s->kind = kind;
	return fsm_walk(s->f, FSM_OPAQUE, (struct str){ &prefix, 1 }, on_kept, s);
}

/* Empty: it is of writes in flight, which none of ours are. */
static void
write_chunking(struct saver *s)
{
	static const char value[] = "\x81\xa8" "ChunkMap\x80";

	snap_out_record(s->o, SNAP_CHUNKING, (struct str){ value, sizeof(value) - 1 });
}

static int
write_header(struct saver *s)
{
	struct mp_w w = mp_w_init(&s->rec);

	buf_clear(&s->rec);
	mp_w_map(&w, 1);
	dialect_str(&w, STR("LastIndex"));
	mp_w_uint(&w, last_index(s));
	snap_out_bytes(s->o, s->rec.data, s->rec.len);
	return w.err;
}

/* In Consul's order; kinds without a walk of their own are kept ones. */
static const struct step {
	unsigned kind;
	enum fsm_table table;
	int (*each)(void *ctx, struct str key, struct str value);
} steps[] = {
	{ SNAP_REGISTER, FSM_NODE, on_node },
	{ SNAP_COORDINATE, FSM_COORDINATE, on_coordinate },
	{ SNAP_COORDINATE, 0, NULL },
	{ SNAP_SESSION, FSM_SESSION, on_session },
	{ SNAP_ACL, 0, NULL },
	{ SNAP_TOKEN, FSM_ACL_TOKEN, NULL },
	{ SNAP_TOKEN, 0, NULL },
	{ SNAP_POLICY, FSM_ACL_POLICY, on_policy },
	{ SNAP_POLICY, 0, NULL },
	{ SNAP_ROLE, FSM_ACL_ROLE, on_role },
	{ SNAP_ROLE, 0, NULL },
	{ SNAP_BINDING_RULE, FSM_ACL_BINDING, on_binding },
	{ SNAP_BINDING_RULE, 0, NULL },
	{ SNAP_AUTH_METHOD, FSM_ACL_METHOD, on_method },
	{ SNAP_AUTH_METHOD, 0, NULL },
	{ SNAP_KVS, FSM_KV, on_kv },
	{ SNAP_TOMBSTONE, FSM_TOMBSTONE, on_tombstone },
	{ SNAP_QUERY, FSM_QUERY, on_query },
	{ SNAP_QUERY, 0, NULL },
	{ SNAP_AUTOPILOT, FSM_AUTOPILOT, on_autopilot },
	{ SNAP_AREA, 0, NULL },
	{ SNAP_INTENTION, 0, NULL },
	{ SNAP_CA_ROOT, 0, NULL },
	{ SNAP_CA_STATE, 0, NULL },
	{ SNAP_CA_CONFIG, 0, NULL },
	{ SNAP_CONFIG_ENTRY, 0, NULL },
	{ SNAP_FEDERATION, 0, NULL },
	{ SNAP_SYSTEM_METADATA, 0, NULL },
};

static int
write_state(void *ctx, struct snap_out *o)
{
	struct saver *s = ctx;
	int rc;

	s->o = o;
	rc = collect_entries(s);
	if (rc == 0)
		rc = write_header(s);
	for (size_t i = 0; i < ARRAY_LEN(steps) && rc == 0; i++) {
		if (steps[i].table == FSM_ACL_TOKEN)
			rc = write_tokens(s);
		else if (steps[i].each != NULL)
			rc = fsm_walk(s->f, steps[i].table, STR_NONE, steps[i].each, s);
		else
			rc = write_kept(s, steps[i].kind);
	}
	if (rc == 0)
		rc = write_entries(s);
	if (rc == 0)
		write_chunking(s);
	return rc;
}

int
archive_save(const struct fsm *f, const struct snap_meta *m, int64_t now_ms, int fd, char ret_err[SNAP_ERROR_MAX])
{
	struct saver s = { .f = f };
	int rc;

	arena_init(&s.item, ARENA_MAX);
	arena_init(&s.node_arena, ARENA_MAX);
	arena_init(&s.table, ARENA_MAX);
	buf_init(&s.node_bytes, SNAP_RECORD_MAX);
	buf_init(&s.rec, (size_t)2 * SNAP_RECORD_MAX);
	buf_init(&s.part, SNAP_RECORD_MAX);
	rc = snap_write(fd, m, now_ms, write_state, &s, ret_err);
	arena_release(&s.item);
	arena_release(&s.node_arena);
	arena_release(&s.table);
	buf_release(&s.node_bytes);
	buf_release(&s.rec);
	buf_release(&s.part);
	free(s.entries);
	return rc;
}
