/* acl_binding.c - /v1/acl/binding-rule, /v1/acl/binding-rules. */
#include "httpd/acl.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

void
acl_binding_rules(struct request *r)
{
	const struct acl_query q = { .auth_method = acl_param(r, "authmethod") };

	if (acl_enabled(r))
		acl_list(r, OP_ACL_BINDING_LIST, &q);
}

static void
put(struct request *r)
{
	struct acl_binding_rule rule = { .id = STR("") };

	if (acl_body(r, "BindingRule decoding failed", &rec_acl_binding_rule, &rule) &&
	    acl_same(r, &rule.id, r->rest, "Bad request: BindingRule ID in URL and payload do not match"))
		upstream_write(r, OP_ACL_BINDING_SET, &rule, acl_shown);
}

void
acl_binding_create(struct request *r)
{
	if (acl_enabled(r))
		put(r);
}

void
acl_binding_one(struct request *r)
{
	const struct acl_query q = { .id = r->rest };

	if (!acl_enabled(r))
		return;
	if (r->method == M_PUT)
		put(r);
	else if (!acl_has_rest(r, "Bad request: Missing binding rule ID"))
		return;
	else if (r->method == M_DELETE)
		acl_delete(r, OP_ACL_BINDING_DELETE);
	else
		acl_one_or_404(r, OP_ACL_BINDING_READ, &q);
}
