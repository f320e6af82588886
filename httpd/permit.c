/* permit.c - the right that an endpoint of httpd's own takes is asked for before its handler. */
#include "httpd/permit.h"

#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"
#include "lib/acl_ask.h"

/* What the route's row says; agent's rights are those on this node. */
static struct acl_question
question_of(const struct request *r)
{
	struct acl_question q = { .segment = STR("") };

	/* A row that asks for nothing known is permitted to nobody: raftd does not know it either. */
	if (!acl_question_parse(r->route->acl, q.segment, &q))
		q.resource = str_from(r->route->acl);
	if (str_eqs(q.resource, "agent"))
		q.segment = str_from(r->h->cfg.node_name);
	return q;
}

static void
on_verdict(struct request *r, const struct rpc_answer *a)
{
	struct acl_question q = question_of(r);
	char text[ACL_DENIED_MAX];
	struct acl_allowed v;
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_acl_allowed, &in, &v, &r->arena) < 0 || v.allow.n != 1) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	if (!str_eqs(v.allow.v[0], "1")) {
		acl_denied_text(v.accessor_id, &q, text);
		respond_text(r, 403, "%s", text);
		return;
	}
	r->reply.meta = (struct query_meta){ .index = 0 };
	r->route->handler(r);
}

void
permit_serve(struct request *r)
{
	struct acl_question q = question_of(r);
	struct acl_authorize ask = { .requests = { &q, 1 } };

	if ((r->route->flags & RT_OWN) == 0 || !r->h->cfg.acls)
		r->route->handler(r);
	else
		upstream_ask(r, OP_ACL_AUTHORIZE, &ask, on_verdict);
}
