/* acl_method.c - auth methods: whose word about a bearer is taken. */
#include <json-c/json_object.h>
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/acl/jwt.h"
#include "raftd/fsm/acl.h"

static struct str
method_key(const void *item)
{
	return ((const struct method_item *)item)->key;
}

const struct tree_type acl_method_tree = { method_key, NULL };

static int
method_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->acl_methods }, 1, old, new);
}

static const struct tree *
method_primary(const struct fsm *f)
{
	return &f->acl_methods;
}

static const struct field f_method_item[] = {
	FIELD_SUB(method_item, m, "", F_RECORD, 0, rec_acl_auth_method),
	FIELD(method_item, key, "", F_STR, 0),
};
static RECORD(rec_method_item, method_item, "MethodItem", f_method_item);

static struct str
method_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_acl_auth_method, &((const struct method_item *)item)->m, RECORD_WHOLE, w);
	return method_key(item);
}

static void
method_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	(void)f;
	touch_one(sink, WATCH_ACL_METHOD, method_key(new != NULL ? new : old));
	touch_one(sink, WATCH_ACL_METHOD, STR(""));	/* whoever lists them */
}

static void
method_release(struct fsm *f)
{
	tree_release(&f->acl_methods, free);
}

const struct table_ops acl_method_ops = { FSM_ACL_METHOD, method_primary, method_swap, method_encode, method_touch, free,
	method_release };

static struct method_item *
method_new(const struct fsm *f, const struct acl_auth_method *m)
{
	const struct method_item in = { *m, lower(f, m->name) };

	return in.key.p != NULL ? record_dup(&rec_method_item, &in) : NULL;
}

struct method_item *
acl_method_find(const struct fsm *f, struct str name)
{
	return tree_get(&f->acl_methods, lower(f, name));
}

int
acl_method_read(struct fsm *f, struct str key, struct str value, void **ret)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct method_item *item;
	struct acl_auth_method in;
	int rc = record_decode(&rec_acl_auth_method, &r, &in, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !str_eq_nocase(in.name, key) || in.name.len == 0)
		return -EDECODE;
	item = method_new(f, &in);
	if (item == NULL)
		return -ENOMEM;
	index_loaded(f, max_u64(in.create_index, in.modify_index));
	*ret = item;
	return 0;
}

/* ---- changes */

/* Its configuration is one that tokens can be verified by. Negative: no memory. */
static int
vet_config(const struct acl_auth_method *m, struct fsm_error *err)
{
	static const char none = (char)0x80;
	struct json_object *config = acl_config_json(m->config.len > 0 ? m->config : (struct str){ &none, 1 });
	struct jwt_method *jwt = NULL;
	char why[ACL_ERROR_MAX];
	int rc;

	if (config == NULL)
		return -ENOMEM;
	rc = jwt_method_new(config, &jwt, why);
	if (rc == -EINVAL || rc == -ENOENT)
		fail(err, 500, "Invalid Auth Method: %s", why);
	jwt_method_free(jwt);
	json_object_put(config);
	return rc == -EINVAL || rc == -ENOENT ? 0 : rc;
}

static void
vet(const struct fsm *f, const struct acl_auth_method *m, const struct method_item *old, struct fsm_error *err)
{
	char text[DURATION_TEXT_MAX];

	duration_format(m->max_token_ttl, text);
	if (m->name.len == 0)
		fail(err, 500, "Invalid Auth Method: no Name is set");
	else if (!acl_is_name(m->name, ACL_NAME_MAX))
		fail(err, 500, "Invalid Auth Method: invalid Name. Only alphanumeric characters, '-' and '_' are allowed");
	else if (old != NULL && !str_eq(old->m.type, m->type))
		fail(err, 500, "Changing an auth method's type from %s to %s is not permitted", go_quote(f, old->m.type), go_quote(f, m->type));
	else if (!str_eqs(m->type, "jwt"))
		fail(err, 500, "Invalid Auth Method: Type should be one of: [jwt]");
	else if (m->max_token_ttl != 0 && m->max_token_ttl > ACL_TTL_MAX)
		fail(err, 500, "MaxTokenTTL %s cannot be more than 24h0m0s", text);
	else if (m->max_token_ttl != 0 && m->max_token_ttl < ACL_TTL_MIN)
		fail(err, 500, "MaxTokenTTL %s cannot be less than 1m0s", text);
	else if (m->token_locality.len > 0 && !str_eqs(m->token_locality, "local") && !str_eqs(m->token_locality, "global"))
		fail(err, 500, "Invalid Auth Method: TokenLocality should be one of 'local' or 'global'");
}

int
acl_method_check_set(const struct fsm *f, struct acl_auth_method *req, struct asker *who, struct buf *out, struct str *ret_request,
    struct fsm_error *err)
{
	const struct method_item *old = acl_method_find(f, req->name);
	int rc = 0;

	if (!acl_may(who, ACL_WRITE, err))
		return 0;
	if (req->type.len == 0 && old != NULL)
		req->type = old->m.type;
	vet(f, req, old, err);
	if (err->code == 0)
		rc = vet_config(req, err);
	if (rc < 0 || err->code != 0)
		return rc;
	return acl_complete(&rec_acl_auth_method, req, out, ret_request);
}

int
acl_method_set(struct apply *ap, const struct acl_auth_method *req)
{
	struct method_item *old = acl_method_find(ap->f, req->name), *item;
	struct acl_auth_method m = *req;

	vet(ap->f, req, old, ap->err);
	if (FAILED(ap))
		return 0;
	m.create_index = old != NULL ? old->m.create_index : ap->index;
	m.modify_index = ap->index;
	item = method_new(ap->f, &m);
	if (item == NULL)
		return -ENOMEM;
	ap->f->idx.acl_methods = ap->index;
	record_encode(&rec_acl_auth_method, &item->m, RECORD_PUBLIC, ap->w);
	return change_put(ap, T_ACL_METHOD, old, item);
}

int
acl_method_delete(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct method_item *m = acl_method_find(ap->f, req->ids.v[i]);

		if (m == NULL)
			continue;
		ap->f->idx.acl_methods = ap->index;
		rc = change_put(ap, T_ACL_METHOD, m, NULL);
		if (rc == 0)
			rc = acl_binding_end_method(ap, m->m.name);
		if (rc == 0)
			rc = acl_token_end_method(ap, m->m.name);
	}
	mp_w_bool(ap->w, true);
	return rc;
}
