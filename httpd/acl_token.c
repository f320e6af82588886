/* acl_token.c - /v1/acl/token, /v1/acl/tokens. */
#include "httpd/acl.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

static bool
expanded(const struct request *r)
{
	const struct str *v = param_get(&r->params, "expanded");
	bool yes = false;

	/* A bare ?expanded is a yes, as is what Go calls true. */
	return v != NULL && (v->len == 0 || (parse_bool(*v, &yes) == 0 && yes));
}

void
acl_tokens(struct request *r)
{
	const struct acl_query q = { .policy = acl_param(r, "policy"), .role = acl_param(r, "role"),
		.auth_method = acl_param(r, "authmethod"), .service_name = acl_param(r, "servicename") };

	if (acl_enabled(r))
		acl_list(r, OP_ACL_TOKEN_LIST, &q);
}

void
acl_token_self(struct request *r)
{
	const struct acl_query q = { .expanded = expanded(r) };

	if (acl_enabled(r))
		acl_one(r, OP_ACL_TOKEN_READ, &q);
}

void
acl_token_create(struct request *r)
{
	struct acl_token_set q = { .verb = STR("create") };

	if (acl_enabled(r) && acl_body(r, "Token decoding failed", &rec_acl_token, &q.token))
		upstream_write(r, OP_ACL_TOKEN_SET, &q, acl_shown);
}

/* PUT of a token, or of TOKEN/clone. */
static void
put(struct request *r)
{
	static const struct str clone = { "/clone", 6 };
	struct acl_token_set q = { .verb = STR("update") };
	struct str id = r->rest;
	bool cloning = id.len >= clone.len && str_eq((struct str){ id.p + id.len - clone.len, clone.len }, clone);

	if (!acl_body(r, "Token decoding failed", &rec_acl_token, &q.token))
		return;
	if (cloning) {
		q.verb = STR("clone");
		q.token.accessor_id = (struct str){ id.p, id.len - clone.len };
	} else if (id.len == 0) {
		q.verb = STR("create");
	} else if (!acl_same(r, &q.token.accessor_id, id, "Bad request: Token Accessor ID in URL and payload do not match")) {
		return;
	}
	upstream_write(r, OP_ACL_TOKEN_SET, &q, acl_shown);
}

void
acl_token_one(struct request *r)
{
	const struct acl_query q = { .id = r->rest, .expanded = expanded(r) };

	if (!acl_enabled(r))
		return;
	if (r->method == M_PUT)
		put(r);
	else if (!acl_has_rest(r, "Bad request: Missing token ID"))
		return;
	else if (r->method == M_DELETE)
		acl_delete(r, OP_ACL_TOKEN_DELETE);
	else
		acl_one(r, OP_ACL_TOKEN_READ, &q);
}
