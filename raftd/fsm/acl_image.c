/*
 * acl_image.c - ACL records on their way in: from the image, from a snapshot of Consul's, and from an earlier release,
 * which kept those of a snapshot as opaque records. The first entry of the next leader makes them ours (acl_adopt()),
 * on every server alike.
 */
#include <sodium.h>
#include <stdlib.h>

#include "lib/snap_archive.h"
#include "raftd/fsm/acl.h"

enum { SNAP_TIME_LEN = 15, IMAGE_MAX = 256 * 1024 * 1024 };

typedef int read_fn(struct fsm *f, struct str key, struct str value, void **ret);

static const struct kind {
	unsigned snap;		/* as snapshots number it */
	enum fsm_table image;
	enum item_table table;
	const struct table_ops *ops;
	read_fn *read;
	const struct record *rec;
} kinds[] = {
	{ SNAP_POLICY, FSM_ACL_POLICY, T_ACL_POLICY, &acl_policy_ops, acl_policy_read, &rec_acl_policy },
	{ SNAP_ROLE, FSM_ACL_ROLE, T_ACL_ROLE, &acl_role_ops, acl_role_read, &rec_acl_role },
	{ SNAP_AUTH_METHOD, FSM_ACL_METHOD, T_ACL_METHOD, &acl_method_ops, acl_method_read, &rec_acl_auth_method },
	{ SNAP_BINDING_RULE, FSM_ACL_BINDING, T_ACL_BINDING, &acl_binding_ops, acl_binding_read, &rec_acl_binding_rule },
	{ SNAP_TOKEN, FSM_ACL_TOKEN, T_ACL_TOKEN, &acl_token_ops, acl_token_read, &rec_acl_token },
	{ SNAP_ACL, FSM_ACL_TOKEN, T_ACL_TOKEN, &acl_token_ops, acl_token_read, &rec_acl_token },
};

int
acl_load(struct fsm *f, enum fsm_table table, struct str key, struct str value)
{
	void *item;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].image == table) {
			rc = kinds[i].read(f, key, value, &item);
			return rc == 0 ? change_load(f, kinds[i].table, item) : rc;
		}
	return -EDECODE;
}

/* ---- from a snapshot */

static uint64_t
big_endian(const char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | (unsigned char)p[i];
	return v;
}

/* Go's form of a moment: version 1, seconds since the year 1, nanoseconds, the zone's minutes. -EDECODE, -ENOMEM. */
static int
read_time(struct str raw, struct arena *a, struct str *ret)
{
	char text[WALL_TEXT_MAX], *copy;
	uint64_t s;

	if (raw.len != SNAP_TIME_LEN || raw.p[0] != 1)
		return -EDECODE;
	s = big_endian(raw.p + 1, 8);
	if (s > INT64_MAX / 4)
		return -EDECODE;
	wall_format((struct wall){ (int64_t)s + WALL_ZERO_S, (uint32_t)big_endian(raw.p + 9, 4) }, text);
	copy = arena_strdup(a, str_from(text));
	*ret = (struct str){ copy, strlen(text) };
	return copy != NULL ? 0 : -ENOMEM;
}

void
fsm_acl_snapshot_time(struct str text, char out[15])
{
	struct wall t;
	uint64_t s;

	if (!wall_parse(text, &t))
		t = (struct wall){ WALL_ZERO_S, 0 };
	s = (uint64_t)(t.s - WALL_ZERO_S);
	out[0] = 1;
	for (int i = 0; i < 8; i++)
		out[1 + i] = (char)(s >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		out[9 + i] = (char)(t.ns >> (24 - 8 * i));
	/* The zone: Consul has the server's own, UTC here, for all moments but the zero one. */
	out[13] = out[14] = (char)(t.s == WALL_ZERO_S && t.ns == 0 ? 0xff : 0);
}

/*
 * An accessor for a token that has none: the same on every server, so it is made of the secret. The
 * secrets of those days were UUIDs that nobody guesses, unless their owner chose them.
 */
static struct str
make_accessor(struct str secret, struct arena *a)
{
	static const unsigned char purpose[] = "accessor of an old token";
	uint8_t raw[16];
	char *id = arena_alloc(a, 37);

	if (id == NULL)
		return STR_NONE;
	(void)crypto_generichash(raw, sizeof(raw), (const unsigned char *)secret.p, secret.len, purpose, sizeof(purpose) - 1);
	uuid_make(raw, id);
	return (struct str){ id, 36 };
}

static int
take_token(struct acl_token *t, struct arena *a)
{
	int rc = 0;

	if (t->create_time.len > 0)
		rc = read_time(t->create_time, a, &t->create_time);
	else
		t->create_time = STR(WALL_ZERO_TEXT);
	if (rc == 0 && t->expiration_time.len > 0)
		rc = read_time(t->expiration_time, a, &t->expiration_time);
	if (rc == 0 && t->accessor_id.len == 0) {
		t->accessor_id = make_accessor(t->secret_id, a);
		rc = t->accessor_id.p != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0 && t->hash.len == 0) {
		t->hash = acl_token_hash(a, t);
		rc = t->hash.p != NULL ? 0 : -ENOMEM;
	}
	t->expiration_ttl = 0;
	t->legacy = false;
	return rc;
}

/* From before there were policies: the ID is the secret. */
struct old_acl {
	struct str id, name, type, rules;
	uint64_t create_index, modify_index;
};

static const struct field f_old_acl[] = {
	FIELD(old_acl, create_index, "CreateIndex", F_UINT, 0),
	FIELD(old_acl, id, "ID", F_STR, 0),
	FIELD(old_acl, modify_index, "ModifyIndex", F_UINT, 0),
	FIELD(old_acl, name, "Name", F_STR, 0),
	FIELD(old_acl, rules, "Rules", F_STR, 0),
	FIELD(old_acl, type, "Type", F_STR, 0),
};
static RECORD(rec_old_acl, old_acl, "ACL", f_old_acl);

static int
read_old(struct mp_r *r, struct arena *a, struct acl_token *ret)
{
	struct old_acl in;
	int rc = record_decode(&rec_old_acl, r, &in, a);

	*ret = (struct acl_token){ .secret_id = in.id, .description = in.name, .type = in.type, .rules = in.rules,
		.create_index = in.create_index, .modify_index = in.modify_index };
	return rc;
}

union any {
	struct acl_token token;
	struct acl_policy policy;
	struct acl_role role;
	struct acl_auth_method method;
	struct acl_binding_rule binding;
};

static struct str
key_of(const struct kind *k, const union any *x)
{
	switch (k->image) {
	case FSM_ACL_TOKEN:
		return x->token.accessor_id;
	case FSM_ACL_POLICY:
		return x->policy.id;
	case FSM_ACL_ROLE:
		return x->role.id;
	case FSM_ACL_METHOD:
		return x->method.name;
	default:
		return x->binding.id;
	}
}

int
fsm_acl_from_snapshot(unsigned kind, struct str value, struct arena *a, enum fsm_table *ret_table, struct str *ret_key,
    struct buf *ret_value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct mp_w w = mp_w_init(ret_value);
	const struct kind *k = kinds;
	union any x;
	char *key;
	int rc;

	while (k < kinds + ARRAY_LEN(kinds) && k->snap != kind)
		k++;
	if (k == kinds + ARRAY_LEN(kinds) || mp_r_type(&r) != MP_MAP)
		return -EDECODE;
	rc = kind == SNAP_ACL ? read_old(&r, a, &x.token) : record_decode(k->rec, &r, &x, a);
	if (rc == 0 && !mp_r_done(&r))
		rc = -EDECODE;
	if (rc == 0 && k->image == FSM_ACL_TOKEN)
		rc = take_token(&x.token, a);
	if (rc < 0)
		return rc;
	record_encode(k->rec, &x, RECORD_WHOLE, &w);
	*ret_table = k->image;
	key = arena_strdup(a, key_of(k, &x));
	*ret_key = (struct str){ key, key_of(k, &x).len };
	for (size_t i = 0; key != NULL && i < ret_key->len; i++)
		key[i] = (char)ascii_lower((unsigned char)key[i]);
	return key == NULL ? -ENOMEM : w.err;
}

/* ---- from an earlier release */

/* 1: it does not fit into the state, and stays where it is. */
static int
adopt_one(struct apply *ap, const void *ctx, struct opaque_item *o)
{
	const struct kind *k = ctx;
	struct buf image = BUF_INIT(IMAGE_MAX);
	enum fsm_table table;
	struct str key;
	void *item = NULL;
	int rc = fsm_acl_from_snapshot(k->snap, o->value, ap->f->arena, &table, &key, &image);

	if (rc == 0)
		rc = k->read(ap->f, key, (struct str){ (const char *)image.data, image.len }, &item);
	buf_release(&image);
	if (rc < 0)
		return rc == -EDECODE ? 1 : rc;
	if (tree_get(k->ops->primary(ap->f), key) != NULL) {
		k->ops->drop(item);
	} else {
		rc = change_put(ap, k->table, NULL, item);
		if (rc < 0)
			return rc;
	}
	return change_put(ap, T_OPAQUE, o, NULL);
}

struct kept_index {
	struct str key;
	uint64_t value;
};

static const struct field f_kept_index[] = {
	FIELD(kept_index, key, "Key", F_STR, 0),
	FIELD(kept_index, value, "Value", F_UINT, 0),
};
static RECORD(rec_kept_index, kept_index, "Index", f_kept_index);

/* Whether the first token had been made. */
static int
adopt_bootstrap(struct apply *ap)
{
	static const char key[] = { SNAP_INDEX, 'a', 'c', 'l', '-', 't', 'o', 'k', 'e', 'n', '-', 'b', 'o', 'o', 't', 's', 't', 'r', 'a', 'p' };
	struct opaque_item *o = tree_get(&ap->f->opaque, (struct str){ key, sizeof(key) });
	struct kept_index in;
	struct mp_r r;

	if (o == NULL)
		return 0;
	r = mp_r_init(o->value.p, o->value.len);
	if (record_decode(&rec_kept_index, &r, &in, ap->f->arena) == 0 && ap->f->idx.acl_bootstrap == 0)
		ap->f->idx.acl_bootstrap = in.value;
	return change_put(ap, T_OPAQUE, o, NULL);
}

int
acl_adopt(struct apply *ap)
{
	struct indexes *idx = &ap->f->idx;
	uint64_t *const index[] = { &idx->acl_policies, &idx->acl_roles, &idx->acl_methods, &idx->acl_bindings, &idx->acl_tokens,
		&idx->acl_tokens };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(kinds) && rc == 0; i++) {
		bool any = false;

		rc = opaque_adopt(ap, kinds[i].snap, adopt_one, &kinds[i], &any);
		if (any)
			*index[i] = ap->index;
	}
	return rc == 0 ? adopt_bootstrap(ap) : rc;
}
