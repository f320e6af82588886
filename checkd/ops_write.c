/* ops_write.c - the operations that change this node's services and checks. */
#include "checkd/kinds.h"
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
decode(struct checkd *cd, const struct rpc_request *req, void *request, struct arena *a)
{
	struct query_options o;
	int rc = op_request_decode(req->info, req->body, req->len, &o, request, a);

	if (rc < 0)
		rpc_bad_request(cd->d->rpc, req, err_text(rc));
	return rc == 0;
}

void
op_service_register(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct agent_register q;
	struct refusal why;

	if (decode(cd, req, &q, &a)) {
		if (definition_service(&q.service, SOURCE_API, &cd->script_policy, &a, &why) < 0)
			refuse(cd, req, &why);
		else
			done(cd, req, register_service(cd, &q.service, SOURCE_API, q.replace_existing_checks));
	}
	arena_release(&a);
}

void
op_service_deregister(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct id_request q;
	struct service *s;

	if (decode(cd, req, &q, &a)) {
		s = local_service(&cd->local, q.id);
		if (s != NULL)
			deregister_service(cd, s);
		/* Consul says nothing about an unknown one either. */
		done(cd, req, 0);
	}
	arena_release(&a);
}

void
op_check_register(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct check_def q;
	struct refusal why;

	if (decode(cd, req, &q, &a)) {
		if (definition_check(&q, SOURCE_API, &cd->script_policy, &why) < 0)
			refuse(cd, req, &why);
		else if (q.service_id.len > 0 && local_service(&cd->local, q.service_id) == NULL)
			rpc_reply_error(cd->d->rpc, req->token, 500, "ServiceID \"%.*s\" does not exist", STR_ARG(q.check_id));
		else
			done(cd, req, register_check(cd, &q, SOURCE_API));
	}
	arena_release(&a);
}

void
op_check_deregister(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct id_request q;
	struct check *c;

	if (decode(cd, req, &q, &a)) {
		c = local_check(&cd->local, q.id);
		if (c != NULL)
			deregister_check(cd, c);
		done(cd, req, 0);
	}
	arena_release(&a);
}

void
op_check_update(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	enum check_status status;
	struct check_update q;
	struct check *c;

	if (decode(cd, req, &q, &a)) {
		c = local_check(&cd->local, q.check_id);
		if (status_parse(q.status, &status) < 0) {
			rpc_reply_error(cd->d->rpc, req->token, 400, "Invalid check status: '%.*s'", STR_ARG(q.status));
		} else if (c == NULL || c->runner.kind != &check_kind_ttl) {
			rpc_reply_error(cd->d->rpc, req->token, 500, "CheckID \"%.*s\" does not have associated TTL",
			    STR_ARG(q.check_id));
		} else {
			ttl_update(c, status, q.output);
			done(cd, req, 0);
		}
	}
	arena_release(&a);
}

void
op_maintenance(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct maintenance q;
	struct service *s;

	if (decode(cd, req, &q, &a)) {
		s = q.service_id.len > 0 ? local_service(&cd->local, q.service_id) : NULL;
		if (q.service_id.len > 0 && s == NULL)
			rpc_reply_error(cd->d->rpc, req->token, 404, "No service registered with ID \"%.*s\"", STR_ARG(q.service_id));
		else
			done(cd, req, register_maintenance(cd, s, q.enable, q.reason));
	}
	arena_release(&a);
}
