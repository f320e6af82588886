/* acl_read.c - what is asked about ACLs. */
#include <stdlib.h>

#include "raftd/fsm/acl.h"

/* ---- what lists show */

static const struct field f_policy_listed[] = {
	FIELD(acl_policy, id, "ID", F_STR, 0),
	FIELD(acl_policy, name, "Name", F_STR, 0),
	FIELD(acl_policy, description, "Description", F_STR, 0),
	FIELD(acl_policy, datacenters, "Datacenters", F_STRS, FF_NULL),
	FIELD(acl_policy, hash, "Hash", F_BYTES, FF_NULL),
	FIELD(acl_policy, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_policy, modify_index, "ModifyIndex", F_UINT, 0),
};
static RECORD(rec_policy_listed, acl_policy, "ACLPolicyListed", f_policy_listed);

static const struct field f_method_listed[] = {
	FIELD(acl_auth_method, name, "Name", F_STR, 0),
	FIELD(acl_auth_method, type, "Type", F_STR, 0),
	FIELD(acl_auth_method, display_name, "DisplayName", F_STR, FF_OMITEMPTY),
	FIELD(acl_auth_method, description, "Description", F_STR, 0),
	FIELD(acl_auth_method, max_token_ttl, "MaxTokenTTL", F_DURATION, FF_OMITEMPTY | FF_DURSTR),
	FIELD(acl_auth_method, token_locality, "TokenLocality", F_STR, FF_OMITEMPTY),
	FIELD(acl_auth_method, create_index, "CreateIndex", F_UINT, 0),
	FIELD(acl_auth_method, modify_index, "ModifyIndex", F_UINT, 0),
};
static RECORD(rec_method_listed, acl_auth_method, "ACLAuthMethodListed", f_method_listed);

struct list {
	struct mp_w *out;
	size_t at;
	uint32_t n;
};

static struct list
list_begin(struct mp_w *out)
{
	return (struct list){ out, mp_w_array_hold(out), 0 };
}

static void
list_add(struct list *l, const struct record *rec, const void *obj)
{
	record_encode(rec, obj, RECORD_PUBLIC, l->out);
	l->n++;
}

static void
list_end(const struct list *l)
{
	mp_w_array_patch(l->out, l->at, l->n);
}

/* ---- tokens */

static bool
names_service(const struct records *list, struct str service)
{
	const struct acl_service_identity *v = list->v;

	for (size_t i = 0; i < list->n; i++)
		if (str_eq(v[i].service_name, service))
			return true;
	return false;
}

static bool
wanted(const struct acl_token *t, const struct acl_query *q)
{
	return (q->policy.len == 0 || acl_links_to(&t->policies, q->policy)) && (q->role.len == 0 || acl_links_to(&t->roles, q->role)) &&
	    (q->auth_method.len == 0 || str_eq_nocase(t->auth_method, q->auth_method)) &&
	    (q->service_name.len == 0 || names_service(&t->service_identities, q->service_name));
}

static void
list_tokens(const struct fsm *f, const struct acl_query *q, const struct asker *who, struct mp_w *out)
{
	struct list l = list_begin(out);
	const struct token_item *item;
	struct tree_iter it;

	tree_seek(&f->acl_tokens, STR_NONE, &it);
	while (out->err == 0 && (item = tree_next(&it)) != NULL) {
		struct acl_token t;

		if (!wanted(&item->t, q))
			continue;
		acl_token_show(f, item, who, &t);
		t.legacy = t.rules.len > 0;
		t.rules = STR_NONE;
		list_add(&l, &rec_acl_token, &t);
	}
	list_end(&l);
}

/* ---- a token with all that its links stand for */

struct expanded {
	struct acl_token t;
	struct records policies, roles;
};

static const struct field f_expanded[] = {
	FIELD_SUB(expanded, policies, "ExpandedPolicies", F_RECORDS, FF_NULL, rec_acl_policy),
	FIELD_SUB(expanded, roles, "ExpandedRoles", F_RECORDS, FF_NULL, rec_acl_role),
};
static RECORD(rec_expanded, expanded, "ACLTokenExpanded", f_expanded);

static void
add_policies(const struct fsm *f, const struct records *links, struct acl_policy *v, size_t *n, size_t max)
{
	const struct acl_link *link = links->v;

	for (size_t i = 0; i < links->n && *n < max; i++) {
		const struct policy_item *p = acl_policy_find(f, link[i].id);
		size_t k = 0;

		while (p != NULL && k < *n && !str_eq(v[k].id, p->p.id))
			k++;
		if (p != NULL && k == *n)
			v[(*n)++] = p->p;
	}
}

static int
expand(const struct fsm *f, const struct acl_token *t, struct expanded *x)
{
	const struct acl_link *link = t->roles.v;
	struct acl_role *roles = arena_alloc(f->arena, (t->roles.n + 1) * sizeof(*roles));
	struct acl_policy *v;
	size_t max = t->policies.n, n = 0;

	if (roles == NULL)
		return -ENOMEM;
	x->roles = (struct records){ roles, 0 };
	for (size_t i = 0; i < t->roles.n; i++) {
		const struct role_item *r = acl_role_find(f, link[i].id);

		if (r == NULL)
			continue;
		roles[x->roles.n] = r->r;
		roles[x->roles.n++].policies = acl_show_policies(f, &r->r.policies);
		max += r->r.policies.n;
	}
	v = arena_alloc(f->arena, (max + 1) * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	add_policies(f, &t->policies, v, &n, max);
	for (size_t i = 0; i < x->roles.n; i++)
		add_policies(f, &roles[i].policies, v, &n, max);
	x->policies = (struct records){ v, n };
	return 0;
}

static void
write_expanded(const struct fsm *f, const struct acl_token *t, struct mp_w *out)
{
	struct expanded x = { .t = *t };
	size_t at = mp_w_map_hold(out);
	uint32_t n;

	if (expand(f, t, &x) < 0) {
		f->scratch->starved = true;
		return;
	}
	n = record_encode_members(&rec_expanded, &x, RECORD_PUBLIC, out);
	mp_w_cstr(out, "NamespaceDefaultPolicyIDs");
	mp_w_nil(out);
	mp_w_cstr(out, "NamespaceDefaultRoleIDs");
	mp_w_nil(out);
	n += 2 + record_encode_members(&rec_acl_token, t, RECORD_PUBLIC, out);
	mp_w_map_patch(out, at, n);
}

/* Without an accessor the asker's own, as its secret is known to him anyway. */
static void
read_token(const struct fsm *f, const struct acl_query *q, const struct asker *who, struct mp_w *out)
{
	const struct token_item *item;
	struct acl_token t;
	bool own = q->id.len == 0;

	if (own)
		item = who != NULL ? acl_token_by_secret(f, who->secret) : NULL;
	else
		item = acl_token_find(f, q->id);
	mp_w_array(out, item != NULL);
	if (item == NULL)
		return;
	acl_token_show(f, item, own ? NULL : who, &t);
	if (q->expanded)
		write_expanded(f, &t, out);
	else
		record_encode(&rec_acl_token, &t, RECORD_PUBLIC, out);
}

/* ---- the others */

static void
read_policy(const struct fsm *f, const struct acl_query *q, struct mp_w *out)
{
	const struct policy_item *p = q->id.len > 0 ? acl_policy_find(f, q->id) : acl_policy_by_name(f, q->name);

	mp_w_array(out, p != NULL);
	if (p != NULL)
		record_encode(&rec_acl_policy, &p->p, RECORD_PUBLIC, out);
}

static void
list_policies(const struct fsm *f, struct mp_w *out)
{
	struct list l = list_begin(out);
	const struct policy_item *p;
	struct tree_iter it;

	tree_seek(&f->acl_policies, STR_NONE, &it);
	while (out->err == 0 && (p = tree_next(&it)) != NULL)
		list_add(&l, &rec_policy_listed, &p->p);
	list_end(&l);
}

static struct acl_role
shown(const struct fsm *f, const struct role_item *item)
{
	struct acl_role r = item->r;

	r.policies = acl_show_policies(f, &item->r.policies);
	return r;
}

static void
read_role(const struct fsm *f, const struct acl_query *q, struct mp_w *out)
{
	const struct role_item *item = q->id.len > 0 ? acl_role_find(f, q->id) : acl_role_by_name(f, q->name);
	struct acl_role r;

	mp_w_array(out, item != NULL);
	if (item == NULL)
		return;
	r = shown(f, item);
	record_encode(&rec_acl_role, &r, RECORD_PUBLIC, out);
}

static void
list_roles(const struct fsm *f, const struct acl_query *q, struct mp_w *out)
{
	struct list l = list_begin(out);
	const struct role_item *item;
	struct tree_iter it;

	tree_seek(&f->acl_roles, STR_NONE, &it);
	while (out->err == 0 && (item = tree_next(&it)) != NULL) {
		struct acl_role r;

		if (q->policy.len > 0 && !acl_links_to(&item->r.policies, q->policy))
			continue;
		r = shown(f, item);
		list_add(&l, &rec_acl_role, &r);
	}
	list_end(&l);
}

static void
read_method(const struct fsm *f, const struct acl_query *q, struct mp_w *out)
{
	const struct method_item *m = acl_method_find(f, q->name);

	mp_w_array(out, m != NULL);
	if (m != NULL)
		record_encode(&rec_acl_auth_method, &m->m, RECORD_PUBLIC, out);
}

static void
list_methods(const struct fsm *f, struct mp_w *out)
{
	struct list l = list_begin(out);
	const struct method_item *m;
	struct tree_iter it;

	tree_seek(&f->acl_methods, STR_NONE, &it);
	while (out->err == 0 && (m = tree_next(&it)) != NULL)
		list_add(&l, &rec_method_listed, &m->m);
	list_end(&l);
}

static void
read_binding(const struct fsm *f, const struct acl_query *q, struct mp_w *out)
{
	const struct binding_item *b = acl_binding_find(f, q->id);

	mp_w_array(out, b != NULL);
	if (b != NULL)
		record_encode(&rec_acl_binding_rule, &b->b, RECORD_PUBLIC, out);
}

static void
list_bindings(const struct fsm *f, const struct acl_query *q, struct mp_w *out)
{
	struct list l = list_begin(out);
	const struct binding_item *b;
	struct tree_iter it;

	tree_seek(&f->acl_bindings, STR_NONE, &it);
	while (out->err == 0 && (b = tree_next(&it)) != NULL)
		if (q->auth_method.len == 0 || str_eq_nocase(b->b.auth_method, q->auth_method))
			list_add(&l, &rec_acl_binding_rule, &b->b);
	list_end(&l);
}

static void
read_replication(struct mp_w *out)
{
	static const struct acl_replication none = { .last_success = { WALL_ZERO_TEXT, sizeof(WALL_ZERO_TEXT) - 1 },
		.last_error = { WALL_ZERO_TEXT, sizeof(WALL_ZERO_TEXT) - 1 } };

	record_encode(&rec_acl_replication, &none, RECORD_PUBLIC, out);
}

static int
translate(const struct fsm *f, const struct acl_rules_text *q, struct mp_w *out, struct fsm_error *err)
{
	const struct token_item *t = q->accessor_id.len > 0 ? acl_token_find(f, q->accessor_id) : NULL;
	struct buf text = BUF_INIT(4 * ACL_RULES_TEXT_MAX);
	char why[ACL_ERROR_MAX];
	int rc = 0;

	if (q->accessor_id.len > 0 && t == NULL)
		fail(err, 403, "ACL not found");
	else if (t != NULL && t->t.rules.len == 0)
		fail(err, 500, "The specified token does not have any rules set");
	else
		rc = acl_rules_translate(t != NULL ? t->t.rules : q->rules, &text, why);
	if (rc == -EINVAL && t != NULL)
		fail(err, 500, "Failed to parse legacy rules: %s", why);
	else if (rc == -EINVAL)
		fail(err, 400, "Bad request: %s", why);
	if (rc == 0 && err->code == 0)
		mp_w_str(out, (struct str){ (const char *)text.data, text.len });
	buf_release(&text);
	return rc == -EINVAL ? 0 : rc;
}

/* ---- each operation: its index, and what it waits for */

static uint64_t
index_of(const struct fsm *f, uint16_t op)
{
	const struct indexes *i = &f->idx;

	if (op == OP_ACL_TOKEN_READ || op == OP_ACL_TOKEN_LIST)
		return max_u64(i->acl_tokens, max_u64(i->acl_policies, i->acl_roles));	/* whose names it shows */
	if (op == OP_ACL_POLICY_READ || op == OP_ACL_POLICY_LIST)
		return i->acl_policies;
	if (op == OP_ACL_ROLE_READ || op == OP_ACL_ROLE_LIST)
		return max_u64(i->acl_roles, i->acl_policies);
	if (op == OP_ACL_METHOD_READ || op == OP_ACL_METHOD_LIST)
		return i->acl_methods;
	if (op == OP_ACL_BINDING_READ || op == OP_ACL_BINDING_LIST)
		return i->acl_bindings;
	return fsm_index(f);
}

static void
watch_for(uint16_t op, struct watch_set *watch)
{
	if (op == OP_ACL_METHOD_READ || op == OP_ACL_METHOD_LIST)
		watch_add(watch, WATCH_ACL_METHOD, STR(""));
	else if (op == OP_ACL_BINDING_READ || op == OP_ACL_BINDING_LIST)
		watch_add(watch, WATCH_ACL_BINDING, STR(""));
	else
		watch_add(watch, WATCH_ACL, STR(""));
}

int
acl_query_read(const struct fsm *f, uint16_t op, const void *q, struct asker *who, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	const struct acl_query *query = q;

	*idx = index_of(f, op);
	watch_for(op, watch);
	/* What one asks about oneself needs no right, and nor does what tells nothing about anybody: a monitor looks at it. */
	if (!(op == OP_ACL_TOKEN_READ && query->id.len == 0) && op != OP_ACL_REPLICATION && !acl_may(who, ACL_READ, err))
		return 0;
	switch (op) {
	case OP_ACL_TOKEN_READ:
		read_token(f, query, who, out);
		break;
	case OP_ACL_TOKEN_LIST:
		list_tokens(f, query, who, out);
		break;
	case OP_ACL_POLICY_READ:
		read_policy(f, query, out);
		break;
	case OP_ACL_POLICY_LIST:
		list_policies(f, out);
		break;
	case OP_ACL_ROLE_READ:
		read_role(f, query, out);
		break;
	case OP_ACL_ROLE_LIST:
		list_roles(f, query, out);
		break;
	case OP_ACL_METHOD_READ:
		read_method(f, query, out);
		break;
	case OP_ACL_METHOD_LIST:
		list_methods(f, out);
		break;
	case OP_ACL_BINDING_READ:
		read_binding(f, query, out);
		break;
	case OP_ACL_BINDING_LIST:
		list_bindings(f, query, out);
		break;
	case OP_ACL_REPLICATION:
		read_replication(out);
		break;
	case OP_ACL_TRANSLATE:
		return translate(f, q, out, err);
	default:
		return -EINVAL;
	}
	return 0;
}
