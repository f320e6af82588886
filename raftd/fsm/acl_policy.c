/* acl_policy.c - policies: named sets of rules. */
#include <stdlib.h>

#include "raftd/fsm/acl.h"

static struct str
policy_key(const void *item)
{
	return ((const struct policy_item *)item)->key;
}

static struct str
policy_name_key(const void *item)
{
	return ((const struct policy_item *)item)->name_key;
}

const struct tree_type acl_policy_tree = { policy_key, NULL };
const struct tree_type acl_policy_name_tree = { policy_name_key, NULL };

static int
policy_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->acl_policies, &f->acl_policies_by_name }, 2, old, new);
}

static const struct tree *
policy_primary(const struct fsm *f)
{
	return &f->acl_policies;
}

static const struct field f_policy_item[] = {
	FIELD_SUB(policy_item, p, "", F_RECORD, 0, rec_acl_policy),
	FIELD(policy_item, key, "", F_STR, 0),
	FIELD(policy_item, name_key, "", F_STR, 0),
};
static RECORD(rec_policy_item, policy_item, "PolicyItem", f_policy_item);

static struct str
policy_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_acl_policy, &((const struct policy_item *)item)->p, RECORD_WHOLE, w);
	return policy_key(item);
}

static void
policy_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	touch_one(sink, WATCH_ACL_POLICY, policy_key(new != NULL ? new : old));
	acl_changed(f, sink);
}

static void
policy_release(struct fsm *f)
{
	tree_release(&f->acl_policies_by_name, NULL);
	tree_release(&f->acl_policies, free);
}

const struct table_ops acl_policy_ops = { FSM_ACL_POLICY, policy_primary, policy_swap, policy_encode, policy_touch, free,
	policy_release };

static struct policy_item *
policy_new(const struct fsm *f, const struct acl_policy *p)
{
	const struct policy_item in = { *p, lower(f, p->id), lower(f, p->name) };

	return in.key.p != NULL && in.name_key.p != NULL ? record_dup(&rec_policy_item, &in) : NULL;
}

struct policy_item *
acl_policy_find(const struct fsm *f, struct str id)
{
	return tree_get(&f->acl_policies, lower(f, id));
}

struct policy_item *
acl_policy_by_name(const struct fsm *f, struct str name)
{
	return tree_get(&f->acl_policies_by_name, lower(f, name));
}

int
acl_policy_read(struct fsm *f, struct str key, struct str value, void **ret)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct policy_item *item, *same;
	struct acl_policy in;
	int rc = record_decode(&rec_acl_policy, &r, &in, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !str_eq_nocase(in.id, key) || in.id.len == 0 || in.name.len == 0)
		return -EDECODE;
	item = policy_new(f, &in);
	if (item == NULL)
		return -ENOMEM;
	same = tree_get(&f->acl_policies_by_name, item->name_key);
	if (same != NULL && !str_eq(same->key, item->key)) {
		free(item);
		return -EDECODE;
	}
	index_loaded(f, max_u64(in.create_index, in.modify_index));
	*ret = item;
	return 0;
}

/* ---- changes */

/* Whether it may be in the state. old: what it replaces, NULL when it is new. */
static bool
vet(const struct fsm *f, const struct acl_policy *p, const struct policy_item *old, struct fsm_error *err)
{
	const struct policy_item *same = acl_policy_by_name(f, p->name);

	if (p->name.len == 0)
		fail(err, 500, "Invalid Policy: no Name is set");
	else if (!acl_is_name(p->name, ACL_NAME_MAX))
		fail(err, 500, "Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed");
	else if (old == NULL && same != NULL)
		fail(err, 500, "Invalid Policy: A Policy with Name %s already exists", go_quote(f, p->name));
	else if (old != NULL && same != NULL && same != old)
		fail(err, 500, "Invalid Policy: A policy with name %s already exists", go_quote(f, p->name));
	else if (old != NULL && str_eqs(old->key, ACL_MANAGEMENT_POLICY) && p->datacenters.n > 0)
		fail(err, 500, "Changing the Datacenters of the builtin global-management policy is not permitted");
	else if (old != NULL && str_eqs(old->key, ACL_MANAGEMENT_POLICY) && !str_eq(p->rules, old->p.rules))
		fail(err, 500, "Changing the Rules for the builtin global-management policy is not permitted");
	return err->code == 0;
}

int
acl_policy_check_set(const struct fsm *f, struct acl_policy *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err)
{
	const struct policy_item *old = NULL;
	struct acl_rules *rules = NULL;
	char why[ACL_ERROR_MAX];
	int rc;

	if (!acl_may(who, ACL_WRITE, err))
		return 0;
	req->create_index = 0;
	req->syntax = ACL_SYNTAX_CURRENT;
	if (req->id.len == 0) {
		req->id = acl_uuid(f, fresh->random);
	} else if (!acl_is_uuid(req->id)) {
		fail(err, 500, "Policy ID invalid UUID");
	} else {
		old = acl_policy_find(f, req->id);
		if (old == NULL)
			fail(err, 500, "cannot find policy %.*s", STR_ARG(req->id));
		else
			req->create_index = old->p.create_index;	/* of this very one: see acl_policy_set() */
	}
	if (err->code != 0 || !vet(f, req, old, err))
		return 0;
	rc = acl_rules_parse(req->rules, ACL_SYNTAX_CURRENT, &rules, why);
	free(rules);
	if (rc == -EINVAL) {
		fail(err, 500, "%s", why);
		return 0;
	}
	return rc == 0 ? acl_complete(&rec_acl_policy, req, out, ret_request) : rc;
}

/* create_index: of the one that is to be changed, 0: a new one is to be made. */
int
acl_policy_set(struct apply *ap, const struct acl_policy *req)
{
	struct policy_item *old = acl_policy_find(ap->f, req->id), *item;
	struct acl_policy p = *req;

	if (old != NULL && req->create_index == 0 && str_eqs(old->key, ACL_MANAGEMENT_POLICY)) {
		/* Two leaders in turn wanted to make it. */
		record_encode(&rec_acl_policy, &old->p, RECORD_PUBLIC, ap->w);
		return 0;
	}
	if (req->id.len == 0 || (req->create_index == 0 ? old != NULL : old == NULL || old->p.create_index != req->create_index))
		fail(ap->err, 500, "cannot find policy %.*s", STR_ARG(req->id));
	if (FAILED(ap) || !vet(ap->f, req, old, ap->err))
		return 0;
	p.create_index = old != NULL ? old->p.create_index : ap->index;
	p.modify_index = ap->index;
	p.hash = acl_policy_hash(ap->f->arena, &p);
	item = p.hash.p != NULL ? policy_new(ap->f, &p) : NULL;
	if (item == NULL)
		return -ENOMEM;
	ap->f->idx.acl_policies = ap->index;
	record_encode(&rec_acl_policy, &item->p, RECORD_PUBLIC, ap->w);
	return change_put(ap, T_ACL_POLICY, old, item);
}

void
acl_policy_check_delete(const struct fsm *f, const struct acl_ids *req, struct asker *who, struct fsm_error *err)
{
	if (!acl_may(who, ACL_WRITE, err))
		return;
	for (size_t i = 0; i < req->ids.n; i++) {
		const struct policy_item *p = acl_policy_find(f, req->ids.v[i]);

		if (p != NULL && str_eqs(p->key, ACL_MANAGEMENT_POLICY))
			fail(err, 500, "Delete operation not permitted on the builtin global-management policy");
	}
}

/* Links to it stay where they are, and are passed over from now on. */
int
acl_policy_delete(struct apply *ap, const struct acl_ids *req)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < req->ids.n; i++) {
		struct policy_item *p = acl_policy_find(ap->f, req->ids.v[i]);

		if (p == NULL || str_eqs(p->key, ACL_MANAGEMENT_POLICY))
			continue;
		ap->f->idx.acl_policies = ap->index;
		rc = change_put(ap, T_ACL_POLICY, p, NULL);
	}
	mp_w_bool(ap->w, true);
	return rc;
}
