/* acl_token.c - tokens: what a secret stands for. */
#include <sodium.h>
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/fsm/acl.h"

static struct str
token_key(const void *item)
{
	return ((const struct token_item *)item)->key;
}

static struct str
token_secret_key(const void *item)
{
	return ((const struct token_item *)item)->secret_key;
}

static struct str
token_due_key(const void *item)
{
	return ((const struct token_item *)item)->due_key;
}

const struct tree_type acl_token_tree = { token_key, NULL };
const struct tree_type acl_token_secret_tree = { token_secret_key, NULL };
const struct tree_type acl_token_due_tree = { token_due_key, NULL };

static int
token_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->acl_tokens, &f->acl_tokens_by_secret, &f->acl_tokens_due }, 3, old, new);
}

static const struct tree *
token_primary(const struct fsm *f)
{
	return &f->acl_tokens;
}

static const struct field f_token_item[] = {
	FIELD_SUB(token_item, t, "", F_RECORD, 0, rec_acl_token),
	FIELD(token_item, key, "", F_STR, 0),
	FIELD(token_item, secret_key, "", F_BYTES, 0),
	FIELD(token_item, due_key, "", F_BYTES, 0),
};
static RECORD(rec_token_item, token_item, "TokenItem", f_token_item);

static struct str
token_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_acl_token, &((const struct token_item *)item)->t, RECORD_WHOLE, w);
	return token_key(item);
}

static void
token_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	touch_one(sink, WATCH_ACL_TOKEN, token_key(new != NULL ? new : old));
	acl_changed(f, sink);
}

static void
token_drop(void *item)
{
	const struct token_item *t = item;

	if (t->t.secret_id.len > 0)
		sodium_memzero((char *)(uintptr_t)t->t.secret_id.p, t->t.secret_id.len);
	free(item);
}

static void
token_release(struct fsm *f)
{
	tree_release(&f->acl_tokens_due, NULL);
	tree_release(&f->acl_tokens_by_secret, NULL);
	tree_release(&f->acl_tokens, token_drop);
}

const struct table_ops acl_token_ops = { FSM_ACL_TOKEN, token_primary, token_swap, token_encode, token_touch, token_drop,
	token_release };

/* Of a token that expires, a moment of which everything can be told. */
static bool
read_expiry(const struct acl_token *t, int64_t *ret)
{
	struct wall at;

	*ret = INT64_MAX;
	if (t->expiration_time.len == 0)
		return true;
	if (!wall_parse(t->expiration_time, &at))
		return false;
	*ret = wall_to_ns(at);
	if (*ret < 0)
		*ret = 0;	/* before 1970 is as long ago as any */
	return true;
}

static void
secret_digest(struct str secret, char out[ACL_HASH_LEN])
{
	(void)crypto_generichash((unsigned char *)out, ACL_HASH_LEN, (const unsigned char *)secret.p, secret.len, NULL, 0);
}

/* NULL without memory. */
static struct token_item *
token_new(const struct fsm *f, const struct acl_token *t, int64_t expires)
{
	char digest[ACL_HASH_LEN];
	struct token_item in = { .t = *t, .expires = expires, .key = lower(f, t->accessor_id) };

	if (in.key.p == NULL)
		return NULL;
	secret_digest(t->secret_id, digest);
	in.secret_key = (struct str){ digest, sizeof(digest) };
	if (expires != INT64_MAX) {
		in.due_key = join_u64(f, (uint64_t)expires, in.key);
		if (in.due_key.p == NULL)
			return NULL;
	}
	return record_dup(&rec_token_item, &in);
}

struct token_item *
acl_token_find(const struct fsm *f, struct str accessor)
{
	return tree_get(&f->acl_tokens, lower(f, accessor));
}

struct token_item *
acl_token_by_secret(const struct fsm *f, struct str secret)
{
	char digest[ACL_HASH_LEN];
	struct token_item *item;

	if (secret.len == 0)
		return NULL;
	secret_digest(secret, digest);
	item = tree_get(&f->acl_tokens_by_secret, (struct str){ digest, sizeof(digest) });
	if (item == NULL || item->t.secret_id.len != secret.len || sodium_memcmp(item->t.secret_id.p, secret.p, secret.len) != 0)
		return NULL;
	return item;
}

int
acl_token_read(struct fsm *f, struct str key, struct str value, void **ret)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct token_item *item, *same;
	struct acl_token in;
	int64_t expires;
	int rc = record_decode(&rec_acl_token, &r, &in, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !str_eq_nocase(in.accessor_id, key) || in.accessor_id.len == 0 || in.secret_id.len == 0 ||
	    !read_expiry(&in, &expires))
		return -EDECODE;
	item = token_new(f, &in, expires);
	if (item == NULL)
		return -ENOMEM;
	same = acl_token_by_secret(f, in.secret_id);
	if (same != NULL && !str_eq(same->key, item->key)) {
		token_drop(item);
		return -EDECODE;
	}
	index_loaded(f, max_u64(in.create_index, in.modify_index));
	*ret = item;
	return 0;
}

void
acl_token_show(const struct fsm *f, const struct token_item *item, const struct asker *who, struct acl_token *ret)
{
	*ret = item->t;
	ret->policies = acl_show_policies(f, &item->t.policies);
	ret->roles = acl_show_roles(f, &item->t.roles);
	if (!asker_may(who, ACL_ACL, STR(""), ACL_WRITE))
		ret->secret_id = STR("<hidden>");
}

/* ---- changes */

int
acl_token_put(struct apply *ap, struct token_item *old, const struct acl_token *in)
{
	struct token_item *item;
	struct acl_token t = *in, shown;
	int64_t expires;

	/* All of this was looked at before it went into the log; what comes there by another way changes nothing. */
	if (t.accessor_id.len == 0 || t.secret_id.len == 0 || !read_expiry(&t, &expires)) {
		fail(ap->err, 500, "Invalid Token: it is not complete");
		return 0;
	}
	t.create_index = old != NULL ? old->t.create_index : ap->index;
	t.modify_index = ap->index;
	t.expiration_ttl = 0;
	t.legacy = false;
	if (t.create_time.len == 0)
		t.create_time = STR(WALL_ZERO_TEXT);
	t.hash = acl_token_hash(ap->f->arena, &t);
	item = t.hash.p != NULL ? token_new(ap->f, &t, expires) : NULL;
	if (item == NULL)
		return -ENOMEM;
	acl_token_show(ap->f, item, NULL, &shown);
	record_encode(&rec_acl_token, &shown, RECORD_PUBLIC, ap->w);
	ap->f->idx.acl_tokens = ap->index;
	return change_put(ap, T_ACL_TOKEN, old, item);
}

/* What may change of one that is there. */
static struct acl_token
merged(const struct token_item *old, const struct acl_token *new)
{
	struct acl_token t = old->t;

	t.description = new->description;
	t.policies = new->policies;
	t.roles = new->roles;
	t.service_identities = new->service_identities;
	t.node_identities = new->node_identities;
	return t;
}

int
acl_token_set(struct apply *ap, const struct acl_token_set *req)
{
	struct token_item *old = acl_token_find(ap->f, req->token.accessor_id);
	struct acl_token t = req->token;

	if (str_eqs(req->verb, "update")) {
		if (old == NULL) {
			fail(ap->err, 500, "Cannot find token %s", go_quote(ap->f, t.accessor_id));
			return 0;
		}
		t = merged(old, &req->token);
		return acl_token_put(ap, old, &t);
	}
	if (old != NULL || acl_token_by_secret(ap->f, t.secret_id) != NULL) {
		if (!str_eqs(req->verb, "init"))
			fail(ap->err, 500, "Invalid Token: %s is already in use", old != NULL ? "AccessorID" : "SecretID");
		return 0;
	}
	return acl_token_put(ap, NULL, &t);
}

static int
token_remove(struct apply *ap, struct token_item *t)
{
	ap->f->idx.acl_tokens = ap->index;
	return change_put(ap, T_ACL_TOKEN, t, NULL);
}

int
acl_token_delete(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct token_item *t = acl_token_find(ap->f, req->ids.v[i]);

		if (t != NULL && !str_eqs(t->key, ACL_ANONYMOUS_ACCESSOR))
			rc = token_remove(ap, t);
	}
	mp_w_bool(ap->w, true);
	return rc;
}

int
acl_token_reap(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct token_item *t = acl_token_find(ap->f, req->ids.v[i]);

		if (t != NULL && t->expires != INT64_MAX)
			rc = token_remove(ap, t);
	}
	mp_w_bool(ap->w, true);
	return rc;
}

int
acl_token_logout(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct token_item *t = acl_token_find(ap->f, req->ids.v[i]);

		if (t != NULL && t->t.auth_method.len > 0)
			rc = token_remove(ap, t);
	}
	mp_w_bool(ap->w, true);
	return rc;
}

int
acl_token_end_method(struct apply *ap, struct str method)
{
	struct str from = STR_NONE;
	struct token_item *t;
	struct tree_iter it;
	int rc = 0;

	/* A tree is not walked while it changes: each time on from where the last one stood. */
	while (rc == 0) {
		tree_seek(&ap->f->acl_tokens, from, &it);
		do
			t = tree_next(&it);
		while (t != NULL && !str_eq_nocase(t->t.auth_method, method));
		if (t == NULL)
			break;
		from = t->key;	/* the journal keeps the item until the entry is done */
		rc = token_remove(ap, t);
	}
	return rc;
}

/* ---- before the log */

static bool
vet_new_id(const struct fsm *f, struct str id, const char *what, struct fsm_error *err)
{
	if (!acl_is_uuid(id))
		fail(err, 500, "Invalid Token: %s is not a valid UUID", what);
	else if (acl_token_find(f, id) != NULL || acl_token_by_secret(f, id) != NULL)
		fail(err, 500, "Invalid Token: %s is already in use", what);
	else if (acl_is_reserved(id))
		fail(err, 500, "Invalid Token: UUIDs with the prefix \"%s\" are reserved", ACL_RESERVED_PREFIX);
	return err->code == 0;
}

static bool
vet_expiry(const struct fsm *f, struct acl_token *t, int64_t now, struct fsm_error *err)
{
	char text[DURATION_TEXT_MAX];
	int64_t expires, left;

	duration_format(t->expiration_ttl, text);
	if (t->expiration_ttl < 0)
		fail(err, 500, "Token Expiration TTL '%s' should be > 0", text);
	else if (t->expiration_ttl > 0 && t->expiration_time.len > 0)
		fail(err, 500, "Token Expiration TTL and Expiration Time cannot both be set");
	if (err->code != 0)
		return false;
	if (t->expiration_ttl > 0)
		t->expiration_time = acl_time(f, now <= INT64_MAX - t->expiration_ttl ? now + t->expiration_ttl : INT64_MAX - 1);
	t->expiration_ttl = 0;
	if (t->expiration_time.len == 0)
		return true;
	if (!read_expiry(t, &expires)) {
		fail(err, 400, "Bad request: Token decoding failed: parsing time %s as RFC 3339", go_quote(f, t->expiration_time));
		return false;
	}
	left = expires - now;
	duration_format(left, text);
	if (left < 0)
		fail(err, 500, "ExpirationTime cannot be before CreateTime");
	else if (left > ACL_TTL_MAX)
		fail(err, 500, "ExpirationTime cannot be more than 24h0m0s in the future (was %s)", text);
	else if (left < ACL_TTL_MIN)
		fail(err, 500, "ExpirationTime cannot be less than 1m0s in the future (was %s)", text);
	return err->code == 0;
}

/* What the token links to, and what it must not say of itself. */
static bool
vet_content(const struct fsm *f, struct acl_token *t, struct fsm_error *err)
{
	if (!acl_vet_policies(f, &t->policies, "token", err) || !acl_vet_roles(f, &t->roles, err) ||
	    !acl_vet_services(f, &t->service_identities, t->local, "token", err) || !acl_vet_nodes(&t->node_identities, "token", err))
		return false;
	if (t->rules.len > 0)
		fail(err, 500, "Rules cannot be specified for this token");
	else if (t->type.len > 0)
		fail(err, 500, "Type cannot be specified for this token");
	return err->code == 0;
}

bool
acl_token_create(const struct fsm *f, struct acl_token *t, const struct fsm_fresh *fresh, struct fsm_error *err)
{
	if (t->accessor_id.len == 0)
		t->accessor_id = acl_uuid(f, fresh->random);
	else if (!vet_new_id(f, t->accessor_id, "AccessorID", err))
		return false;
	if (t->secret_id.len == 0)
		t->secret_id = acl_uuid(f, fresh->random + 16);
	else if (!vet_new_id(f, t->secret_id, "SecretID", err))
		return false;
	if (str_eq_nocase(t->accessor_id, t->secret_id)) {
		fail(err, 500, "Invalid Token: SecretID is already in use");
		return false;
	}
	t->create_time = acl_time(f, fresh->wall_ns);
	return vet_expiry(f, t, fresh->wall_ns, err) && vet_content(f, t, err);
}

static bool
vet_update(const struct fsm *f, struct acl_token *t, int64_t now, struct fsm_error *err)
{
	const struct token_item *old = acl_token_find(f, t->accessor_id);
	int64_t expires;

	if (!acl_is_uuid(t->accessor_id))
		fail(err, 500, "AccessorID is not a valid UUID");
	else if (old == NULL || old->expires <= now)
		fail(err, 500, "Cannot find token %s", go_quote(f, t->accessor_id));
	else if (t->secret_id.len > 0 && (t->secret_id.len != old->t.secret_id.len ||
	    sodium_memcmp(t->secret_id.p, old->t.secret_id.p, t->secret_id.len) != 0))
		fail(err, 500, "Changing a tokens SecretID is not permitted");
	else if (t->local != old->t.local)
		fail(err, 500, "cannot toggle local mode of %.*s", STR_ARG(t->accessor_id));
	else if (t->auth_method.len > 0 && !str_eq(t->auth_method, old->t.auth_method))
		fail(err, 500, "Cannot change AuthMethod of %.*s", STR_ARG(t->accessor_id));
	else if (t->expiration_ttl != 0)
		fail(err, 500, "Cannot change expiration time of %.*s", STR_ARG(t->accessor_id));
	else if (t->expiration_time.len > 0 && (!read_expiry(t, &expires) || expires != old->expires))
		fail(err, 500, "Cannot change expiration time of %.*s", STR_ARG(t->accessor_id));
	return err->code == 0 && vet_content(f, t, err);
}

/* A new one like the one of this accessor. */
static bool
make_clone(const struct fsm *f, struct acl_token *t, int64_t now, struct fsm_error *err)
{
	const struct token_item *old = acl_token_find(f, t->accessor_id);
	struct str description = t->description;

	if (old == NULL || old->expires <= now)
		fail(err, 403, "ACL not found");
	else if (old->t.auth_method.len > 0)
		fail(err, 500, "Cannot clone a token created from an auth method");
	else if (old->t.rules.len > 0)
		fail(err, 500, "Cannot clone a legacy ACL with this endpoint");
	if (err->code != 0)
		return false;
	*t = (struct acl_token){
		.description = description.len > 0 ? description : old->t.description,
		.policies = acl_show_policies(f, &old->t.policies), .roles = acl_show_roles(f, &old->t.roles),
		.local = old->t.local, .expiration_time = old->t.expiration_time,
	};
	/* Of its own: they are put in order where they lie. */
	t->service_identities = acl_copy_list(f, &old->t.service_identities, sizeof(struct acl_service_identity));
	t->node_identities = acl_copy_list(f, &old->t.node_identities, sizeof(struct acl_node_identity));
	return true;
}

int
acl_token_check_set(const struct fsm *f, struct acl_token_set *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err)
{
	struct acl_token *t = &req->token;

	if (!acl_may(who, ACL_WRITE, err))
		return 0;
	if (str_eqs(req->verb, "update")) {
		if (!vet_update(f, t, fresh->wall_ns, err))
			return 0;
		t->secret_id = STR_NONE;	/* it stays, and need not be written again */
		return acl_complete(&rec_acl_token_set, req, out, ret_request);
	}
	if (str_eqs(req->verb, "clone")) {
		if (!make_clone(f, t, fresh->wall_ns, err))
			return 0;
	} else if (!str_eqs(req->verb, "create")) {
		fail(err, 400, "Bad request: unknown verb");
		return 0;
	} else if (t->auth_method.len > 0) {
		fail(err, 500, "AuthMethod field is disallowed outside of Login");
		return 0;
	}
	req->verb = STR("create");
	if (!acl_token_create(f, t, fresh, err))
		return 0;
	return acl_complete(&rec_acl_token_set, req, out, ret_request);
}

void
acl_token_check_delete(const struct fsm *f, const struct acl_ids *req, struct asker *who, struct fsm_error *err)
{
	if (!acl_may(who, ACL_WRITE, err))
		return;
	for (size_t i = 0; i < req->ids.n && err->code == 0; i++) {
		const struct token_item *t = acl_token_find(f, req->ids.v[i]);

		if (!acl_is_uuid(req->ids.v[i]))
			fail(err, 500, "Accessor ID is missing or an invalid UUID");
		else if (str_eqs(req->ids.v[i], ACL_ANONYMOUS_ACCESSOR))
			fail(err, 500, "Delete operation not permitted on the anonymous token");
		else if (t != NULL && who != NULL && acl_token_by_secret(f, who->secret) == t)
			fail(err, 500, "Deletion of the request's authorization token is not permitted");
	}
}

/* ---- expiry */

size_t
fsm_acl_expired(const struct fsm *f, int64_t wall_ns, struct str *ids, size_t max, int64_t *ret_next)
{
	const struct token_item *t;
	struct tree_iter it;
	size_t n = 0;

	*ret_next = INT64_MAX;
	tree_seek(&f->acl_tokens_due, STR_NONE, &it);
	while ((t = tree_next(&it)) != NULL) {
		if (t->expires > wall_ns || n == max) {
			*ret_next = t->expires;
			break;
		}
		ids[n++] = t->key;
	}
	return n;
}
