/* session.c - /v1/session */
#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"
#include "lib/duration.h"

enum { LOCK_DELAY_S = 15 };

/* The session that Consul's client asks for when it says nothing. */
static void
session_defaults(struct request *r, struct session_create *c)
{
	static struct str serf_health[] = { { "serfHealth", 10 } };
	static struct str marker[] = { { "", 0 } };

	*c = (struct session_create){ .node = str_from(r->h->cfg.node_name), .lock_delay = LOCK_DELAY_S * NS_PER_S,
		.behavior = STR("release"), .node_checks = { serf_health, 1 }, .checks = { marker, 1 } };
}

void
session_create(struct request *r)
{
	struct session_create c;
	const struct str *unset;

	session_defaults(r, &c);
	unset = c.checks.v;
	if (r->body.len > 0 && !body_record(r, &rec_session_create, &c, false))
		return;
	/* Names that were given empty mean no checks; the old field stands in for the new one. */
	if (c.checks.v != unset)
		c.node_checks = c.checks;
	c.checks = (struct strs){ NULL, 0 };
	c.no_node_checks = c.node_checks.n == 0;
	if (c.node.len == 0)
		c.node = str_from(r->h->cfg.node_name);
	c.id = STR_NONE;
	upstream_write(r, OP_SESSION_CREATE, &c, upstream_ok_id);
}

static bool
has_id(struct request *r, const char *missing)
{
	if (r->rest.len == 0)
		respond_bad(r, missing);
	return r->rest.len > 0;
}

void
session_destroy(struct request *r)
{
	struct id_request q = { r->rest };

	if (has_id(r, "Missing session"))
		upstream_write(r, OP_SESSION_DESTROY, &q, upstream_ok_true);
}

static void
on_renewed(struct request *r, const struct rpc_answer *a)
{
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (mp_r_array(&in) == 0 && in.err == 0)
		respond_text(r, 404, "Session id '%.*s' not found", STR_ARG(r->rest));
	else
		respond_mp(r, 200, payload);
}

void
session_renew(struct request *r)
{
	struct id_request q = { r->rest };

	if (has_id(r, "Missing session"))
		upstream_write(r, OP_SESSION_RENEW, &q, on_renewed);
}

void
session_info(struct request *r)
{
	struct id_request q = { r->rest };

	r->view.reply_flags = REPLY_META;
	if (has_id(r, "Missing session"))
		upstream_read(r, OP_SESSION_INFO, &q, render_json);
}

void
session_node(struct request *r)
{
	struct id_request q = { r->rest };

	r->view.reply_flags = REPLY_META;
	if (has_id(r, "Missing node name"))
		upstream_read(r, OP_SESSION_NODE, &q, render_json);
}

void
session_list(struct request *r)
{
	r->view.reply_flags = REPLY_META;
	upstream_read(r, OP_SESSION_LIST, NULL, render_json);
}
