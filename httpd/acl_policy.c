/* acl_policy.c - /v1/acl/policy, /v1/acl/policies. */
#include "httpd/acl.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

void
acl_policies(struct request *r)
{
	if (!acl_enabled(r))
		return;
	acl_list(r, OP_ACL_POLICY_LIST, NULL);
}

void
acl_policy_create(struct request *r)
{
	struct acl_policy p = { .syntax = 0 };

	if (!acl_enabled(r) || !acl_body(r, "Policy decoding failed", &rec_acl_policy, &p))
		return;
	if (p.id.len > 0)
		respond_bad(r, "Bad request: Cannot specify the ID when creating a new policy");
	else
		upstream_write(r, OP_ACL_POLICY_SET, &p, acl_shown);
}

static void
put(struct request *r)
{
	struct acl_policy p = { .syntax = 0 };

	if (acl_body(r, "Policy decoding failed", &rec_acl_policy, &p) &&
	    acl_same(r, &p.id, r->rest, "Bad request: Policy ID in URL and payload do not match"))
		upstream_write(r, OP_ACL_POLICY_SET, &p, acl_shown);
}

void
acl_policy_one(struct request *r)
{
	const struct acl_query q = { .id = r->rest };

	if (!acl_enabled(r))
		return;
	if (r->method == M_PUT)
		put(r);
	else if (!acl_has_rest(r, "Bad request: Missing policy ID"))
		return;
	else if (r->method == M_DELETE)
		acl_delete(r, OP_ACL_POLICY_DELETE);
	else
		acl_one(r, OP_ACL_POLICY_READ, &q);
}

void
acl_policy_named(struct request *r)
{
	const struct acl_query q = { .name = r->rest };

	if (acl_enabled(r) && acl_has_rest(r, "Bad request: Missing policy Name"))
		acl_one(r, OP_ACL_POLICY_READ, &q);
}
