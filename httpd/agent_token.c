/* agent_token.c - the agent's own tokens: /v1/agent/token/... */
#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

/* Without ACLs there are none, whoever asks. */
void
agent_token_set(struct request *r)
{
	struct agent_token_set q = { .token = STR_NONE };

	if (!r->h->cfg.acls) {
		respond_text(r, 401, "ACL support disabled");
		return;
	}
	if (!body_record(r, &rec_agent_token_set, &q, false))
		return;
	q.type = r->rest;
	upstream_write(r, OP_AGENT_TOKEN_SET, &q, upstream_ok_empty);
}
