/* ui.c - /v1/internal/ui and /v1/operator/usage: the catalog summed up. */
#include "httpd/discovery.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { USAGE_MAX = 1024 * 1024 };

void
ui_nodes(struct request *r)
{
	struct catalog_query q;

	if (discovery_query(r, D_FILTER, &q))
		discovery_read(r, OP_UI_NODES, &q, render_json);
}

/* The only one of the list, without it; 404 when there is none. */
static int
render_node(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	struct str one;

	if (mp_r_array(&in) == 0 && in.err == 0) {
		ret->status = 404;
		ret->content = CONTENT_NONE;
		return 0;
	}
	one = mp_r_raw(&in);
	return in.err < 0 ? in.err : reply_mp(v, one, ret);
}

void
ui_node(struct request *r)
{
	struct catalog_query q;

	if (!discovery_needs(r, "Missing node name") || !discovery_query(r, 0, &q))
		return;
	q.node = r->rest;
	discovery_read(r, OP_UI_NODES, &q, render_node);
}

void
ui_services(struct request *r)
{
	struct catalog_query q;

	if (discovery_query(r, D_FILTER, &q))
		discovery_read(r, OP_UI_SERVICES, &q, render_json);
}

/* {"Usage": payload, ...}: of one datacenter, which is all that ?global could ask for. */
static int
render_usage(const struct view *v, struct str payload, struct reply *ret)
{
	struct buf out = BUF_INIT(USAGE_MAX);
	struct mp_w w = mp_w_init(&out);
	int rc;

	mp_w_map(&w, 8);
	mp_w_cstr(&w, "Usage");
	mp_w_raw(&w, payload);
	mp_w_cstr(&w, "Index");
	mp_w_uint(&w, ret->meta.index);
	mp_w_cstr(&w, "LastContact");
	mp_w_int(&w, ret->meta.last_contact_ms * 1000000);
	mp_w_cstr(&w, "KnownLeader");
	mp_w_bool(&w, ret->meta.known_leader);
	mp_w_cstr(&w, "ConsistencyLevel");
	mp_w_cstr(&w, v->consistency == CONSISTENCY_STALE ? "stale" : v->consistency == CONSISTENCY_CONSISTENT ? "consistent" : "leader");
	mp_w_cstr(&w, "NotModified");
	mp_w_bool(&w, false);
	mp_w_cstr(&w, "Backend");
	mp_w_uint(&w, 0);
	mp_w_cstr(&w, "ResultsFilteredByACLs");
	mp_w_bool(&w, ret->meta.filtered);
	rc = w.err;
	if (rc == 0)
		rc = reply_mp(v, (struct str){ (const char *)out.data, out.len }, ret);
	buf_release(&out);
	return rc;
}

void
operator_usage(struct request *r)
{
	r->view.reply_flags = REPLY_META | REPLY_CONSISTENCY;
	upstream_read(r, OP_OPERATOR_USAGE, NULL, render_usage);
}
