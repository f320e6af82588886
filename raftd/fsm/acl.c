/* acl.c - who a secret is, and the first token of all. */
#include <sodium.h>
#include <stdlib.h>

#include "raftd/fsm/acl.h"

/* ---- identity */

struct gather {
	const struct fsm *f;
	struct arena *a;
	struct acl_identity_policy *v;
	size_t n, cap;
	bool management;
	int rc;
};

static void
add(struct gather *g, struct acl_identity_policy p)
{
	if (g->rc < 0)
		return;
	if (g->n == g->cap) {
		size_t cap = g->cap != 0 ? 2 * g->cap : 16;
		struct acl_identity_policy *v = arena_alloc(g->a, cap * sizeof(*v));

		if (v == NULL) {
			g->rc = -ENOMEM;
			return;
		}
		if (g->n > 0)
			memcpy(v, g->v, g->n * sizeof(*v));
		g->v = v;
		g->cap = cap;
	}
	g->v[g->n++] = p;
}

static bool
is_here(const struct fsm *f, const struct strs *datacenters)
{
	struct str here = str_from(f->datacenter);

	for (size_t i = 0; i < datacenters->n; i++)
		if (str_eq_nocase(datacenters->v[i], here))
			return true;
	return datacenters->n == 0;
}

static void
add_policies(struct gather *g, const struct records *links)
{
	const struct acl_link *v = links->v;

	for (size_t i = 0; i < links->n; i++) {
		const struct policy_item *p = acl_policy_find(g->f, v[i].id);
		size_t k = 0;

		if (str_eqs(v[i].id, ACL_MANAGEMENT_POLICY))
			g->management = true;
		if (p == NULL || !is_here(g->f, &p->p.datacenters))
			continue;
		while (k < g->n && !str_eq(g->v[k].id, p->p.id))
			k++;
		if (k == g->n)
			add(g, (struct acl_identity_policy){ p->p.id, p->p.rules, p->p.syntax });
	}
}

/* The rules of an identity, as text. */
static void
add_made(struct gather *g, int (*make)(struct str name, struct buf *out), struct str name)
{
	struct buf b = BUF_INIT(ACL_RULES_TEXT_MAX);
	char *p = NULL;

	if (g->rc == 0)
		g->rc = make(name, &b);
	if (g->rc == 0) {
		p = arena_strdup(g->a, (struct str){ (const char *)b.data, b.len });
		if (p == NULL)
			g->rc = -ENOMEM;
	}
	if (g->rc == 0)
		add(g, (struct acl_identity_policy){ STR(""), { p, b.len }, ACL_SYNTAX_CURRENT });
	buf_release(&b);
}

static void
add_identities(struct gather *g, const struct records *services, const struct records *nodes)
{
	const struct acl_service_identity *s = services->v;
	const struct acl_node_identity *n = nodes->v;

	for (size_t i = 0; i < services->n; i++)
		if (is_here(g->f, &s[i].datacenters))
			add_made(g, acl_rules_of_service, s[i].service_name);
	for (size_t i = 0; i < nodes->n; i++)
		if (str_eq_nocase(n[i].datacenter, str_from(g->f->datacenter)))
			add_made(g, acl_rules_of_node, n[i].node_name);
}

static void
add_number(crypto_generichash_state *h, uint64_t v)
{
	unsigned char b[8];

	for (int i = 0; i < 8; i++)
		b[i] = (unsigned char)(v >> (8 * i));
	(void)crypto_generichash_update(h, b, sizeof(b));
}

/* Equal as long as the rights are: of the rules' texts, in their order. */
static struct str
fingerprint(const struct gather *g)
{
	unsigned char *p = arena_alloc(g->a, ACL_HASH_LEN);
	crypto_generichash_state h;

	if (p == NULL)
		return STR_NONE;
	(void)crypto_generichash_init(&h, NULL, 0, ACL_HASH_LEN);
	add_number(&h, g->management);
	for (size_t i = 0; i < g->n; i++) {
		add_number(&h, (uint64_t)g->v[i].syntax);
		add_number(&h, g->v[i].rules.len);
		if (g->v[i].rules.len > 0)
			(void)crypto_generichash_update(&h, (const unsigned char *)g->v[i].rules.p, g->v[i].rules.len);
	}
	(void)crypto_generichash_final(&h, p, ACL_HASH_LEN);
	return (struct str){ (const char *)p, ACL_HASH_LEN };
}

static void
gather_token(struct gather *g, const struct acl_token *t)
{
	const struct acl_link *roles = t->roles.v;

	add_policies(g, &t->policies);
	add_identities(g, &t->service_identities, &t->node_identities);
	for (size_t i = 0; i < t->roles.n; i++) {
		const struct role_item *r = acl_role_find(g->f, roles[i].id);

		if (r == NULL)
			continue;
		add_policies(g, &r->r.policies);
		add_identities(g, &r->r.service_identities, &r->r.node_identities);
	}
	/* Tokens from before there were policies. */
	if (str_eqs(t->type, "management"))
		g->management = true;
	if (t->rules.len > 0)
		add(g, (struct acl_identity_policy){ STR(""), t->rules, ACL_SYNTAX_LEGACY });
}

int
fsm_acl_identity(const struct fsm *f, struct str secret, int64_t wall_ns, struct arena *a, struct acl_identity *ret)
{
	const struct token_item *t = acl_token_by_secret(f, secret.len > 0 ? secret : STR(ACL_ANONYMOUS_SECRET));
	struct gather g = { .f = f, .a = a };

	arena_reset(f->arena);
	f->scratch->starved = false;
	/* The anonymous one counts as there, without rights, even before the leader has made it. */
	*ret = (struct acl_identity){ .accessor_id = STR(ACL_ANONYMOUS_ACCESSOR) };
	if (t == NULL && secret.len > 0 && !str_eqs(secret, ACL_ANONYMOUS_SECRET))
		return -ENOENT;
	if (t != NULL && t->expires <= wall_ns)
		return -ENOENT;
	if (t != NULL) {
		gather_token(&g, &t->t);
		ret->accessor_id = t->t.accessor_id;
		ret->name = t->t.description;
		ret->expires = t->expires != INT64_MAX ? t->expires : 0;
	}
	if (g.rc < 0 || f->scratch->starved)
		return -ENOMEM;
	ret->management = g.management;
	ret->policies = (struct records){ g.v, g.n };
	ret->fingerprint = fingerprint(&g);
	return ret->fingerprint.p != NULL ? 0 : -ENOMEM;
}

uint64_t
fsm_acl_index(const struct fsm *f)
{
	return f->scratch->acl_index;
}

bool
fsm_acl_needs_init(const struct fsm *f, struct str initial_management)
{
	arena_reset(f->arena);
	return acl_policy_find(f, STR(ACL_MANAGEMENT_POLICY)) == NULL || acl_token_find(f, STR(ACL_ANONYMOUS_ACCESSOR)) == NULL ||
	    (initial_management.len > 0 && acl_token_by_secret(f, initial_management) == NULL);
}

bool
fsm_acl_bootstrapped(const struct fsm *f)
{
	return f->idx.acl_bootstrap != 0;
}

/* ---- the first token */

static bool
vet_bootstrap(const struct fsm *f, const struct acl_bootstrap *req, struct fsm_error *err)
{
	uint64_t done = f->idx.acl_bootstrap;

	if (done != 0 && req->reset_index == 0)
		fail(err, 403, "Permission denied: ACL bootstrap no longer allowed (reset index: %llu)", (unsigned long long)done);
	else if (done != 0 && req->reset_index != done)
		fail(err, 500, "Invalid bootstrap reset index (specified %llu, reset index: %llu)",
		    (unsigned long long)req->reset_index, (unsigned long long)done);
	else if (acl_token_by_secret(f, req->secret_id) != NULL || acl_token_find(f, req->accessor_id) != NULL)
		fail(err, 500, "Invalid Token: SecretID is already in use");
	return err->code == 0;
}

int
acl_bootstrap_check(const struct fsm *f, struct acl_bootstrap *req, const struct fsm_fresh *fresh, struct buf *out,
    struct str *ret_request, struct fsm_error *err)
{
	req->description = STR_NONE;
	req->reset_index = fresh->reset_index;
	req->accessor_id = acl_uuid(f, fresh->random);
	req->create_time = acl_time(f, fresh->wall_ns);
	if (req->secret_id.len == 0)
		req->secret_id = acl_uuid(f, fresh->random + 16);
	else if (!acl_is_uuid(req->secret_id))
		fail(err, 400, "Bad request: invalid bootstrap secret: it is not a UUID");
	else if (acl_is_reserved(req->secret_id))
		fail(err, 400, "Bad request: UUIDs with the prefix \"%s\" are reserved", ACL_RESERVED_PREFIX);
	if (err->code != 0 || !vet_bootstrap(f, req, err))
		return 0;
	return acl_complete(&rec_acl_bootstrap, req, out, ret_request);
}

int
acl_bootstrap_apply(struct apply *ap, const struct acl_bootstrap *req)
{
	struct acl_link link = { STR(ACL_MANAGEMENT_POLICY), STR("") };
	const struct acl_token t = {
		.accessor_id = req->accessor_id, .secret_id = req->secret_id, .create_time = req->create_time,
		.description = req->description.len > 0 ? req->description : STR("Bootstrap Token (Global Management)"),
		.policies = { &link, 1 }, .type = STR("management"),
	};

	if (!vet_bootstrap(ap->f, req, ap->err))
		return 0;
	ap->f->idx.acl_bootstrap = ap->index;
	return acl_token_put(ap, NULL, &t);
}
