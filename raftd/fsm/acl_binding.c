/* acl_binding.c - binding rules: what an auth method's word is worth here. */
#include <stdlib.h>

#include "raftd/fsm/acl.h"

static struct str
binding_key(const void *item)
{
	return ((const struct binding_item *)item)->key;
}

const struct tree_type acl_binding_tree = { binding_key, NULL };

static int
binding_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->acl_bindings }, 1, old, new);
}

static const struct tree *
binding_primary(const struct fsm *f)
{
	return &f->acl_bindings;
}

static const struct field f_binding_item[] = {
	FIELD_SUB(binding_item, b, "", F_RECORD, 0, rec_acl_binding_rule),
	FIELD(binding_item, key, "", F_STR, 0),
};
static RECORD(rec_binding_item, binding_item, "BindingItem", f_binding_item);

static struct str
binding_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_acl_binding_rule, &((const struct binding_item *)item)->b, RECORD_WHOLE, w);
	return binding_key(item);
}

static void
binding_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	(void)f;
	touch_one(sink, WATCH_ACL_BINDING, binding_key(new != NULL ? new : old));
	touch_one(sink, WATCH_ACL_BINDING, STR(""));	/* whoever lists them */
}

static void
binding_release(struct fsm *f)
{
	tree_release(&f->acl_bindings, free);
}

const struct table_ops acl_binding_ops = { FSM_ACL_BINDING, binding_primary, binding_swap, binding_encode, binding_touch, free,
	binding_release };

static struct binding_item *
binding_new(const struct fsm *f, const struct acl_binding_rule *b)
{
	const struct binding_item in = { *b, lower(f, b->id) };

	return in.key.p != NULL ? record_dup(&rec_binding_item, &in) : NULL;
}

struct binding_item *
acl_binding_find(const struct fsm *f, struct str id)
{
	return tree_get(&f->acl_bindings, lower(f, id));
}

int
acl_binding_read(struct fsm *f, struct str key, struct str value, void **ret)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct binding_item *item;
	struct acl_binding_rule in;
	int rc = record_decode(&rec_acl_binding_rule, &r, &in, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !str_eq_nocase(in.id, key) || in.id.len == 0)
		return -EDECODE;
	item = binding_new(f, &in);
	if (item == NULL)
		return -ENOMEM;
	index_loaded(f, max_u64(in.create_index, in.modify_index));
	*ret = item;
	return 0;
}

/* ---- changes */

static bool
is_bind_type(struct str s)
{
	return str_eqs(s, "service") || str_eqs(s, "role") || str_eqs(s, "node");
}

int
acl_binding_check_set(const struct fsm *f, struct acl_binding_rule *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err)
{
	const struct binding_item *old = NULL;
	const struct method_item *m;

	if (!acl_may(who, ACL_WRITE, err))
		return 0;
	req->create_index = 0;
	if (req->id.len == 0) {
		req->id = acl_uuid(f, fresh->random);
	} else if (!acl_is_uuid(req->id)) {
		fail(err, 500, "Binding Rule ID invalid UUID");
	} else {
		old = acl_binding_find(f, req->id);
		if (old == NULL)
			fail(err, 500, "cannot find binding rule %.*s", STR_ARG(req->id));
		else if (req->auth_method.len > 0 && !str_eq(old->b.auth_method, req->auth_method))
			fail(err, 500, "the AuthMethod field of an Binding Rule is immutable");
		if (err->code == 0) {
			req->create_index = old->b.create_index;
			req->auth_method = old->b.auth_method;
		}
	}
	m = err->code == 0 ? acl_method_find(f, req->auth_method) : NULL;
	if (err->code != 0)
		return 0;
	if (req->auth_method.len == 0)
		fail(err, 500, "Invalid Binding Rule: no AuthMethod is set");
	else if (m == NULL)
		fail(err, 500, "cannot find auth method with name %s", go_quote(f, req->auth_method));
	else if (req->bind_type.len == 0)
		fail(err, 500, "Invalid Binding Rule: no BindType is set");
	else if (req->bind_name.len == 0)
		fail(err, 500, "Invalid Binding Rule: no BindName is set");
	else if (!is_bind_type(req->bind_type))
		fail(err, 500, "Invalid Binding Rule: unknown BindType %s", go_quote(f, req->bind_type));
	if (err->code != 0 || !acl_login_vet_rule(f, req, &m->m, err))
		return 0;
	return acl_complete(&rec_acl_binding_rule, req, out, ret_request);
}

/* create_index: as of policies. */
int
acl_binding_set(struct apply *ap, const struct acl_binding_rule *req)
{
	struct binding_item *old = acl_binding_find(ap->f, req->id), *item;
	struct acl_binding_rule b = *req;

	if (req->id.len == 0 || (req->create_index == 0 ? old != NULL : old == NULL || old->b.create_index != req->create_index))
		fail(ap->err, 500, "cannot find binding rule %.*s", STR_ARG(req->id));
	else if (acl_method_find(ap->f, req->auth_method) == NULL)
		fail(ap->err, 500, "cannot find auth method with name %s", go_quote(ap->f, req->auth_method));
	if (FAILED(ap))
		return 0;
	b.create_index = old != NULL ? old->b.create_index : ap->index;
	b.modify_index = ap->index;
	item = binding_new(ap->f, &b);
	if (item == NULL)
		return -ENOMEM;
	ap->f->idx.acl_bindings = ap->index;
	record_encode(&rec_acl_binding_rule, &item->b, RECORD_PUBLIC, ap->w);
	return change_put(ap, T_ACL_BINDING, old, item);
}

static int
binding_remove(struct apply *ap, struct binding_item *b)
{
	ap->f->idx.acl_bindings = ap->index;
	return change_put(ap, T_ACL_BINDING, b, NULL);
}

int
acl_binding_delete(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct binding_item *b = acl_binding_find(ap->f, req->ids.v[i]);

		if (b != NULL)
			rc = binding_remove(ap, b);
	}
	mp_w_bool(ap->w, true);
	return rc;
}

int
acl_binding_end_method(struct apply *ap, struct str method)
{
	struct str from = STR_NONE;
	struct binding_item *b;
	struct tree_iter it;
	int rc = 0;

	while (rc == 0) {
		tree_seek(&ap->f->acl_bindings, from, &it);
		do
			b = tree_next(&it);
		while (b != NULL && !str_eq_nocase(b->b.auth_method, method));
		if (b == NULL)
			break;
		from = b->key;	/* the journal keeps the item until the entry is done */
		rc = binding_remove(ap, b);
	}
	return rc;
}
