/* acl_ops.c - the ACL operations, each to the file of its kind. */
#include "raftd/fsm/acl.h"

int
acl_apply(struct apply *ap, uint64_t op, const union acl_request *q)
{
	switch (op) {
	case OP_ACL_BOOTSTRAP:
		return acl_bootstrap_apply(ap, &q->bootstrap);
	case OP_ACL_TOKEN_SET:
		return acl_token_set(ap, &q->token);
	case OP_ACL_TOKEN_DELETE:
		return acl_token_delete(ap, &q->ids);
	case OP_ACL_TOKEN_REAP:
		return acl_token_reap(ap, &q->ids);
	case OP_ACL_POLICY_SET:
		return acl_policy_set(ap, &q->policy);
	case OP_ACL_POLICY_DELETE:
		return acl_policy_delete(ap, &q->ids);
	case OP_ACL_ROLE_SET:
		return acl_role_set(ap, &q->role);
	case OP_ACL_ROLE_DELETE:
		return acl_role_delete(ap, &q->ids);
	case OP_ACL_METHOD_SET:
		return acl_method_set(ap, &q->method);
	case OP_ACL_METHOD_DELETE:
		return acl_method_delete(ap, &q->ids);
	case OP_ACL_BINDING_SET:
		return acl_binding_set(ap, &q->binding);
	case OP_ACL_BINDING_DELETE:
		return acl_binding_delete(ap, &q->ids);
	case OP_ACL_LOGIN:
		return acl_login_apply(ap, &q->login);
	case OP_ACL_LOGOUT:
		return acl_token_logout(ap, &q->ids);
	default:
		return -EDECODE;
	}
}

/* Whose token goes: the asker's, if a login made it. */
static int
check_logout(const struct fsm *f, const struct asker *who, struct buf *out, struct str *ret_request, struct fsm_error *err)
{
	const struct token_item *t = who != NULL ? acl_token_by_secret(f, who->secret) : NULL;
	struct acl_ids req = { { NULL, 0 } };
	struct str id;

	if (t == NULL)
		fail(err, 403, "ACL not found");
	else if (t->t.auth_method.len == 0)
		fail(err, 403, "Permission denied");
	if (err->code != 0)
		return 0;
	id = t->t.accessor_id;
	req.ids = (struct strs){ &id, 1 };
	return acl_complete(&rec_acl_ids, &req, out, ret_request);
}

int
acl_check(const struct fsm *f, uint16_t op, union acl_request *q, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err)
{
	switch (op) {
	case OP_ACL_BOOTSTRAP:
		return acl_bootstrap_check(f, &q->bootstrap, fresh, out, ret_request, err);
	case OP_ACL_TOKEN_SET:
		return acl_token_check_set(f, &q->token, fresh, who, out, ret_request, err);
	case OP_ACL_TOKEN_DELETE:
		acl_token_check_delete(f, &q->ids, who, err);
		return 0;
	case OP_ACL_TOKEN_REAP:
		fail(err, 403, "Permission denied: the leader alone removes expired tokens");
		return 0;
	case OP_ACL_POLICY_SET:
		return acl_policy_check_set(f, &q->policy, fresh, who, out, ret_request, err);
	case OP_ACL_POLICY_DELETE:
		acl_policy_check_delete(f, &q->ids, who, err);
		return 0;
	case OP_ACL_ROLE_SET:
		return acl_role_check_set(f, &q->role, fresh, who, out, ret_request, err);
	case OP_ACL_METHOD_SET:
		return acl_method_check_set(f, &q->method, who, out, ret_request, err);
	case OP_ACL_BINDING_SET:
		return acl_binding_check_set(f, &q->binding, fresh, who, out, ret_request, err);
	case OP_ACL_LOGIN:
		return acl_login_check(f, &q->login, fresh, out, ret_request, err);
	case OP_ACL_LOGOUT:
		return check_logout(f, who, out, ret_request, err);
	default:	/* roles, auth methods and binding rules that are to be deleted */
		(void)acl_may(who, ACL_WRITE, err);
		return 0;
	}
}
