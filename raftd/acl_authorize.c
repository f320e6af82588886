/* acl_authorize.c - acl.authorize and acl.resolve: what a token may do, for those who decide about what they own. */
#include <string.h>

#include "raftd/acl.h"

/* ---- acl.authorize */

static bool
allows(const struct acl_rights *x, const struct acl_question *q)
{
	enum acl_resource resource = acl_resource_parse(q->resource);
	enum acl_access access = acl_access_parse(q->access);

	if (x == NULL)
		return true;
	/* What is not known is not allowed. */
	if (resource == ACL_RESOURCES)
		return false;
	if (str_eqs(q->access, "write-prefix"))
		return authz_may_below(x->authz, resource, q->segment);
	if (access != ACL_READ && access != ACL_LIST && access != ACL_WRITE)
		return false;
	return authz_may(x->authz, resource, q->segment.p != NULL ? q->segment : STR(""), access);
}

static int
judge(const struct acl_authorize *q, const struct acl_rights *x, struct arena *a, struct strs *ret)
{
	const struct acl_question *v = q->requests.v;

	*ret = (struct strs){ NULL, 0 };
	if (q->requests.n > ACL_AUTHORIZE_MAX)
		return -ELIMIT;
	if (q->requests.n == 0)
		return 0;
	ret->v = arena_alloc(a, q->requests.n * sizeof(*ret->v));
	if (ret->v == NULL)
		return -ENOMEM;
	for (; ret->n < q->requests.n; ret->n++)
		ret->v[ret->n] = allows(x, &v[ret->n]) ? STR("1") : STR("0");
	return 0;
}

void
acl_answer(struct raftd *r, struct rpc_token t, struct str body, const struct acl_rights *x)
{
	struct acl_allowed out = { .accessor_id = x != NULL ? (struct str){ x->accessor, x->accessor_len } : STR(""),
		.expires_ms = ACL_KEEP_MS };
	const struct query_meta m = { .index = 1, .known_leader = true };
	struct arena arena = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct acl_authorize q;
	struct buf *b;
	struct mp_w w;
	int rc = op_request_decode(op_info(t.op), body.p, body.len, &o, &q, &arena);

	if (rc == 0)
		rc = judge(&q, x, &arena, &out.allow);
	b = rc == 0 ? rpc_reply_begin(r->d->rpc, t) : NULL;
	if (rc < 0)
		rpc_reply_error(r->d->rpc, t, rc == -ENOMEM ? 500 : 400, "acl.authorize: %s", err_text(rc));
	if (b != NULL) {
		w = mp_w_init(b);
		record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
		record_encode(&rec_acl_allowed, &out, RECORD_WHOLE, &w);
		rpc_reply_end(r->d->rpc, t, w.err == 0);
	}
	arena_release(&arena);
}

/* A token that was made a moment ago may not have come to a follower: it asks how far the leader is before it says no. */
static void
authorize_here(struct raftd *r, const struct rpc_request *req, struct str token)
{
	struct acl_entry *e;
	int rc = acl_entry_of(r->acl, token, true, &e);

	if (rc == -ENOENT && !reads_refusal_holds(r, req))
		return;
	if (rc < 0)
		acl_refuse(r, req->token, rc);
	else
		acl_answer(r, req->token, (struct str){ (const char *)req->body, req->len }, &e->rights);
}

void
acl_authorize(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct query_options o;
	struct acl_authorize q;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &r->arena);
	if (rc < 0)
		rpc_bad_request(r->d->rpc, req, err_text(rc));
	else if (!acl_on(r))
		acl_answer(r, req->token, (struct str){ (const char *)req->body, req->len }, NULL);
	else if (r->server)
		authorize_here(r, req, o.token);
	else
		acl_cache_authorize(r->acl, req, o.token);
}

/* ---- acl.resolve */

int
acl_resolve(struct raftd *r, struct str token, struct mp_w *out, uint64_t *ret_index, struct fsm_error *ret_err)
{
	struct acl_identity id = { .management = false };
	struct acl *a = r->acl;
	int rc;

	if (a == NULL) {
		*ret_err = (struct fsm_error){ 401, "ACL support disabled" };
		return 0;
	}
	*ret_index = fsm_index(r->engine.fsm);
	rc = acl_identity_of(a, token, &id);
	if (rc == 0)
		record_encode(&rec_acl_identity, &id, RECORD_WHOLE, out);
	arena_reset(&a->arena);
	if (rc == -ENOENT) {
		*ret_err = (struct fsm_error){ 403, "ACL not found" };
		return 0;
	}
	return rc < 0 ? rc : out->err;
}
