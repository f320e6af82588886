/* event.c - /v1/event: user events, sent and remembered by this node's gossipd. */
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { USER_EVENT_MAX = 512 };	/* Serf's, for name and payload: gossipd looks again, at what it makes of them */

static struct str
param_or_empty(const struct request *r, const char *name)
{
	const struct str *v = param_get(&r->params, name);

	return v != NULL ? *v : STR("");
}

/* As Consul shows one that was just sent: its time is gossip's affair. */
static void
on_fired(struct request *r, const struct rpc_answer *a)
{
	struct buf out = BUF_INIT(64 * KiB);
	struct mp_w w = mp_w_init(&out);
	struct user_event e;
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_user_event, &in, &e, &r->arena) < 0) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	e.ltime = 0;
	record_encode(&rec_user_event, &e, RECORD_PUBLIC, &w);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

void
event_fire(struct request *r)
{
	const struct user_event e = { .name = r->rest, .payload = { (const char *)r->body.data, r->body.len },
		.node_filter = param_or_empty(r, "node"), .service_filter = param_or_empty(r, "service"),
		.tag_filter = param_or_empty(r, "tag") };

	if (e.name.len == 0)
		respond_bad(r, "Missing name");
	else if (r->opts.datacenter.len > 0 && !str_eqs(r->opts.datacenter, r->h->cfg.datacenter))
		respond_text(r, 500, "No path to datacenter");
	else if (e.tag_filter.len > 0 && e.service_filter.len == 0)
		respond_text(r, 500, "Cannot provide tag filter without service filter");
	else if (e.name.len + e.payload.len > USER_EVENT_MAX)
		respond_text(r, 500, "user event exceeds configured limit of %d bytes before encoding", USER_EVENT_MAX);
	else
		upstream_write(r, OP_GOSSIP_EVENT_FIRE, &e, on_fired);
}

/* Its index is that of the last event, made of its ID: who waits, waits for another one, not for a higher one. */
void
event_list(struct request *r)
{
	const struct event_query q = { .name = param_or_empty(r, "name") };

	r->view.reply_flags = REPLY_INDEX;
	upstream_read(r, OP_GOSSIP_EVENT_LIST, &q, render_json);
}
