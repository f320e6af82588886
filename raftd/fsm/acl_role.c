/* acl_role.c - roles: policies and identities under one name. */
#include <stdlib.h>

#include "raftd/fsm/acl.h"

static struct str
role_key(const void *item)
{
	return ((const struct role_item *)item)->key;
}

static struct str
role_name_key(const void *item)
{
	return ((const struct role_item *)item)->name_key;
}

const struct tree_type acl_role_tree = { role_key, NULL };
const struct tree_type acl_role_name_tree = { role_name_key, NULL };

static int
role_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->acl_roles, &f->acl_roles_by_name }, 2, old, new);
}

static const struct tree *
role_primary(const struct fsm *f)
{
	return &f->acl_roles;
}

static const struct field f_role_item[] = {
	FIELD_SUB(role_item, r, "", F_RECORD, 0, rec_acl_role),
	FIELD(role_item, key, "", F_STR, 0),
	FIELD(role_item, name_key, "", F_STR, 0),
};
static RECORD(rec_role_item, role_item, "RoleItem", f_role_item);

static struct str
role_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_acl_role, &((const struct role_item *)item)->r, RECORD_WHOLE, w);
	return role_key(item);
}

static void
role_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	touch_one(sink, WATCH_ACL_ROLE, role_key(new != NULL ? new : old));
	acl_changed(f, sink);
}

static void
role_release(struct fsm *f)
{
	tree_release(&f->acl_roles_by_name, NULL);
	tree_release(&f->acl_roles, free);
}

const struct table_ops acl_role_ops = { FSM_ACL_ROLE, role_primary, role_swap, role_encode, role_touch, free, role_release };

static struct role_item *
role_new(const struct fsm *f, const struct acl_role *r)
{
	const struct role_item in = { *r, lower(f, r->id), lower(f, r->name) };

	return in.key.p != NULL && in.name_key.p != NULL ? record_dup(&rec_role_item, &in) : NULL;
}

struct role_item *
acl_role_find(const struct fsm *f, struct str id)
{
	return tree_get(&f->acl_roles, lower(f, id));
}

struct role_item *
acl_role_by_name(const struct fsm *f, struct str name)
{
	return tree_get(&f->acl_roles_by_name, lower(f, name));
}

int
acl_role_read(struct fsm *f, struct str key, struct str value, void **ret)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct role_item *item, *same;
	struct acl_role in;
	int rc = record_decode(&rec_acl_role, &r, &in, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !str_eq_nocase(in.id, key) || in.id.len == 0 || in.name.len == 0)
		return -EDECODE;
	item = role_new(f, &in);
	if (item == NULL)
		return -ENOMEM;
	same = tree_get(&f->acl_roles_by_name, item->name_key);
	if (same != NULL && !str_eq(same->key, item->key)) {
		free(item);
		return -EDECODE;
	}
	index_loaded(f, max_u64(in.create_index, in.modify_index));
	*ret = item;
	return 0;
}

/* ---- changes */

static bool
vet(const struct fsm *f, const struct acl_role *r, const struct role_item *old, struct fsm_error *err)
{
	const struct role_item *same = acl_role_by_name(f, r->name);

	if (r->name.len == 0)
		fail(err, 500, "Invalid Role: no Name is set");
	else if (!acl_is_name(r->name, ACL_ROLE_NAME_MAX))
		fail(err, 500, "Invalid Role: invalid Name. Only alphanumeric characters, '-' and '_' are allowed");
	else if (old == NULL && same != NULL)
		fail(err, 500, "Invalid Role: A Role with Name %s already exists", go_quote(f, r->name));
	else if (old != NULL && same != NULL && same != old)
		fail(err, 500, "Invalid Role: A role with name %s already exists", go_quote(f, r->name));
	return err->code == 0;
}

int
acl_role_check_set(const struct fsm *f, struct acl_role *req, const struct fsm_fresh *fresh, struct asker *who, struct buf *out,
    struct str *ret_request, struct fsm_error *err)
{
	const struct role_item *old = NULL;

	if (!acl_may(who, ACL_WRITE, err))
		return 0;
	req->create_index = 0;
	if (req->id.len == 0) {
		req->id = acl_uuid(f, fresh->random);
	} else if (!acl_is_uuid(req->id)) {
		fail(err, 500, "Role ID invalid UUID");
	} else {
		old = acl_role_find(f, req->id);
		if (old == NULL)
			fail(err, 500, "cannot find role %.*s", STR_ARG(req->id));
		else
			req->create_index = old->r.create_index;
	}
	if (err->code != 0 || !vet(f, req, old, err) || !acl_vet_policies(f, &req->policies, "role", err) ||
	    !acl_vet_services(f, &req->service_identities, false, "role", err) || !acl_vet_nodes(&req->node_identities, "role", err))
		return 0;
	return acl_complete(&rec_acl_role, req, out, ret_request);
}

/* create_index: as of policies. */
int
acl_role_set(struct apply *ap, const struct acl_role *req)
{
	struct role_item *old = acl_role_find(ap->f, req->id), *item;
	struct acl_role r = *req, shown;

	if (req->id.len == 0 || (req->create_index == 0 ? old != NULL : old == NULL || old->r.create_index != req->create_index))
		fail(ap->err, 500, "cannot find role %.*s", STR_ARG(req->id));
	if (FAILED(ap) || !vet(ap->f, req, old, ap->err))
		return 0;
	r.create_index = old != NULL ? old->r.create_index : ap->index;
	r.modify_index = ap->index;
	r.hash = acl_role_hash(ap->f->arena, &r);
	item = r.hash.p != NULL ? role_new(ap->f, &r) : NULL;
	if (item == NULL)
		return -ENOMEM;
	ap->f->idx.acl_roles = ap->index;
	shown = item->r;
	shown.policies = acl_show_policies(ap->f, &shown.policies);
	record_encode(&rec_acl_role, &shown, RECORD_PUBLIC, ap->w);
	return change_put(ap, T_ACL_ROLE, old, item);
}

int
acl_role_delete(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct role_item *r = acl_role_find(ap->f, req->ids.v[i]);

		if (r == NULL)
			continue;
		ap->f->idx.acl_roles = ap->index;
		rc = change_put(ap, T_ACL_ROLE, r, NULL);
	}
	mp_w_bool(ap->w, true);
	return rc;
}
