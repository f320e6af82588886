/* agent_ops.c - membership and life of the agent: members, join, force-leave, leave, reload, version */
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

void
agent_members(struct request *r)
{
	const struct str *wan = param_get(&r->params, "wan"), *segment = param_get(&r->params, "segment");
	struct member_query q = { .wan = wan != NULL && wan->len > 0, .segment = segment != NULL ? *segment : STR_NONE };

	/* "_all" is what consul members asks for. */
	if (q.segment.len > 0 && !str_eqs(q.segment, "_all")) {
		if (q.wan)
			respond_bad(r, "Cannot provide a segment with wan=true");
		else
			respond_text(r, 500, "Network segments are not supported in this version of Consul");
		return;
	}
	upstream_read(r, OP_GOSSIP_MEMBERS, &q, render_json);
}

void
agent_join(struct request *r)
{
	const struct str *wan = param_get(&r->params, "wan");
	struct join_request q = { .addrs = { &r->rest, 1 }, .wan = wan != NULL && wan->len > 0 };

	upstream_write(r, OP_GOSSIP_JOIN, &q, upstream_ok_empty);
}

void
agent_force_leave(struct request *r)
{
	struct force_leave_request q = { .node = r->rest, .prune = param_has(&r->params, "prune"),
		.wan = param_has(&r->params, "wan") };

	upstream_write(r, OP_GOSSIP_FORCE_LEAVE, &q, upstream_ok_empty);
}

void
agent_leave(struct request *r)
{
	upstream_write(r, OP_AGENT_LEAVE, NULL, upstream_ok_empty);
}

void
agent_reload(struct request *r)
{
	upstream_write(r, OP_AGENT_RELOAD, NULL, upstream_ok_empty);
}

void
agent_version(struct request *r)
{
	struct buf out = BUF_INIT(1024);
	struct mp_w w = mp_w_init(&out);

	mp_w_map(&w, 4);
	mp_w_cstr(&w, "SHA");
	mp_w_cstr(&w, r->h->cfg.revision);
	mp_w_cstr(&w, "BuildDate");
	mp_w_cstr(&w, "1970-01-01T00:00:01Z");
	mp_w_cstr(&w, "HumanVersion");
	mp_w_cstr(&w, r->h->cfg.version);
	mp_w_cstr(&w, "FIPS");
	mp_w_cstr(&w, "");
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}
