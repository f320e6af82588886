/* ops_write.c - the operations that change this node's services and checks. */
#include "checkd/kinds.h"
#include "checkd/permit.h"
#include "checkd/register.h"
#include "checkd/sync.h"

static void
refuse(struct checkd *cd, const struct rpc_request *req, const struct refusal *why)
{
	rpc_reply_error(cd->d->rpc, req->token, why->code, "%s", why->text);
}

/* It is in place; answer when the catalog has been told, or could not be. */
static void
done(struct checkd *cd, const struct rpc_request *req, int rc)
{
	if (rc < 0)
		rpc_reply_error(cd->d->rpc, req->token, 500, "failed to store the registration: %s", err_text(rc));
	else
		sync_wait(cd, req->token);
}

/* Decode into request; false when that failed, and the connection was closed for it. */
static bool
decode(struct checkd *cd, const struct rpc_request *req, struct query_options *o, void *request, struct arena *a)
{
	int rc = op_request_decode(req->info, req->body, req->len, o, request, a);

	if (rc < 0)
		rpc_bad_request(cd->d->rpc, req, err_text(rc));
	return rc == 0;
}

/* Whether to go on; if not, the answers are still awaited, or the request was refused. */
static bool
permitted(struct acl_facts *f, bool may)
{
	if (acl_pending(f))
		return false;
	if (!may)
		acl_refuse_missing(f);
	return may;
}

void
op_service_register(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct agent_register q;
	struct refusal why;

	if (decode(cd, req, &o, &q, &a)) {
		q.service.token = tokens_given(&cd->tokens, q.service.token, o.token);
		if (definition_service(&q.service, SOURCE_API, &cd->script_policy, &a, &why) < 0)
			refuse(cd, req, &why);
		else if (permitted(f, permit_register_service(cd, f, &q.service)))
			done(cd, req, register_service(cd, &q.service, SOURCE_API, q.client, q.replace_existing_checks));
	}
	arena_release(&a);
}

/* Consul says nothing about an unknown one while ACLs are off, and knows what to ask for only when it is there. */
void
op_service_deregister(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct id_request q;
	struct service *s;

	if (decode(cd, req, &o, &q, &a)) {
		s = local_service(&cd->local, q.id);
		if (permitted(f, s == NULL || permit_change_service(f, s))) {
			if (s == NULL && !acl_open(f)) {
				rpc_reply_error(cd->d->rpc, req->token, 404, "Unknown service ID \"%.*s\". Ensure that the service ID is "
				    "passed, not the service name.", STR_ARG(q.id));
			} else {
				if (s != NULL)
					deregister_service(cd, s);
				done(cd, req, 0);
			}
		}
	}
	arena_release(&a);
}

void
op_check_register(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct check_def q;
	struct refusal why;

	if (decode(cd, req, &o, &q, &a)) {
		q.token = tokens_given(&cd->tokens, q.token, o.token);
		if (definition_check(&q, SOURCE_API, &cd->script_policy, &why) < 0)
			refuse(cd, req, &why);
		else if (q.service_id.len > 0 && local_service(&cd->local, q.service_id) == NULL)
			rpc_reply_error(cd->d->rpc, req->token, 500, "ServiceID \"%.*s\" does not exist", STR_ARG(q.check_id));
		else if (permitted(f, permit_register_check(cd, f, &q)))
			done(cd, req, register_check(cd, &q, SOURCE_API));
	}
	arena_release(&a);
}

static void
unknown_check(struct checkd *cd, const struct rpc_request *req, struct str id)
{
	rpc_reply_error(cd->d->rpc, req->token, 404, "Unknown check ID \"%.*s\". Ensure that the check ID is passed, not the "
	    "check name.", STR_ARG(id));
}

void
op_check_deregister(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct id_request q;
	struct check *c;

	if (decode(cd, req, &o, &q, &a)) {
		c = local_check(&cd->local, q.id);
		if (permitted(f, c == NULL || permit_change_check(cd, f, c))) {
			if (c == NULL && !acl_open(f)) {
				unknown_check(cd, req, q.id);
			} else {
				if (c != NULL)
					deregister_check(cd, c);
				done(cd, req, 0);
			}
		}
	}
	arena_release(&a);
}

static void
update(struct checkd *cd, const struct rpc_request *req, const struct check_update *q, struct acl_facts *f)
{
	struct check *c = local_check(&cd->local, q->check_id);
	enum check_status status;

	if (status_parse(q->status, &status) < 0) {
		rpc_reply_error(cd->d->rpc, req->token, 400, "Invalid check status: '%.*s'", STR_ARG(q->status));
		return;
	}
	if (!permitted(f, c == NULL || permit_change_check(cd, f, c)))
		return;
	if (c == NULL && !acl_open(f)) {
		unknown_check(cd, req, q->check_id);
	} else if (c == NULL || c->runner.kind != &check_kind_ttl) {
		rpc_reply_error(cd->d->rpc, req->token, 500, "CheckID \"%.*s\" does not have associated TTL", STR_ARG(q->check_id));
	} else {
		ttl_update(c, status, q->output);
		done(cd, req, 0);
	}
}

void
op_check_update(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct check_update q;

	if (decode(cd, req, &o, &q, &a))
		update(cd, req, &q, f);
	arena_release(&a);
}

void
op_maintenance(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct maintenance q;
	struct service *s;
	bool may;

	if (decode(cd, req, &o, &q, &a)) {
		s = q.service_id.len > 0 ? local_service(&cd->local, q.service_id) : NULL;
		if (q.service_id.len > 0 && s == NULL) {
			rpc_reply_error(cd->d->rpc, req->token, 404, "No service registered with ID \"%.*s\"", STR_ARG(q.service_id));
		} else {
			may = s != NULL ? permit_change_service(f, s) : permit_change_node(cd, f);
			if (permitted(f, may))
				done(cd, req, register_maintenance(cd, s, q.enable, q.reason));
		}
	}
	arena_release(&a);
}
