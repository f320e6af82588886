/* acl_role.c - /v1/acl/role, /v1/acl/roles. */
#include "httpd/acl.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

void
acl_roles(struct request *r)
{
	const struct acl_query q = { .policy = acl_param(r, "policy") };

	if (acl_enabled(r))
		acl_list(r, OP_ACL_ROLE_LIST, &q);
}

/* With a path's ID, or without one to make a new role. */
static void
put(struct request *r)
{
	struct acl_role role = { .id = STR("") };

	if (acl_body(r, "Role decoding failed", &rec_acl_role, &role) &&
	    acl_same(r, &role.id, r->rest, "Bad request: Role ID in URL and payload do not match"))
		upstream_write(r, OP_ACL_ROLE_SET, &role, acl_shown);
}

void
acl_role_create(struct request *r)
{
	if (acl_enabled(r))
		put(r);
}

void
acl_role_one(struct request *r)
{
	const struct acl_query q = { .id = r->rest };

	if (!acl_enabled(r))
		return;
	if (r->method == M_PUT)
		put(r);
	else if (!acl_has_rest(r, "Bad request: Missing role ID"))
		return;
	else if (r->method == M_DELETE)
		acl_delete(r, OP_ACL_ROLE_DELETE);
	else
		acl_one_or_404(r, OP_ACL_ROLE_READ, &q);
}

void
acl_role_named(struct request *r)
{
	const struct acl_query q = { .name = r->rest };

	if (acl_enabled(r) && acl_has_rest(r, "Bad request: Missing role Name"))
		acl_one_or_404(r, OP_ACL_ROLE_READ, &q);
}
