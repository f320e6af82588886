/* acl_method.c - /v1/acl/auth-method, /v1/acl/auth-methods. */
#include "httpd/acl.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

void
acl_auth_methods(struct request *r)
{
	if (acl_enabled(r))
		acl_list(r, OP_ACL_METHOD_LIST, NULL);
}

static void
put(struct request *r)
{
	struct acl_auth_method m = { .name = STR("") };

	if (!acl_body(r, "AuthMethod decoding failed", &rec_acl_auth_method, &m))
		return;
	if (r->rest.len > 0 && !acl_same(r, &m.name, r->rest, "Bad request: AuthMethod Name in URL and payload do not match"))
		return;
	upstream_write(r, OP_ACL_METHOD_SET, &m, acl_shown);
}

void
acl_method_create(struct request *r)
{
	if (acl_enabled(r))
		put(r);
}

void
acl_method_one(struct request *r)
{
	const struct acl_query q = { .name = r->rest };

	if (!acl_enabled(r))
		return;
	if (r->method == M_PUT)
		put(r);
	else if (!acl_has_rest(r, "Bad request: Missing auth method name"))
		return;
	else if (r->method == M_DELETE)
		acl_delete(r, OP_ACL_METHOD_DELETE);
	else
		acl_one_or_404(r, OP_ACL_METHOD_READ, &q);
}
