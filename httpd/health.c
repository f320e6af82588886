/* health.c - /v1/health */
#include "httpd/discovery.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

void
health_node(struct request *r)
{
	struct catalog_query q;

	if (!discovery_needs(r, "Missing node name") || !discovery_query(r, D_FILTER, &q))
		return;
	q.node = r->rest;
	discovery_read(r, OP_HEALTH_NODE, &q, render_json);
}

void
health_checks(struct request *r)
{
	struct catalog_query q;

	if (!discovery_needs(r, "Missing service name") || !discovery_query(r, D_NEAR | D_META | D_FILTER, &q))
		return;
	q.service = r->rest;
	discovery_read(r, OP_HEALTH_CHECKS, &q, render_json);
}

void
health_state(struct request *r)
{
	struct catalog_query q;

	if (!discovery_needs(r, "Missing check state") || !discovery_query(r, D_NEAR | D_META | D_FILTER, &q))
		return;
	q.state = r->rest;
	discovery_read(r, OP_HEALTH_STATE, &q, render_json);
}

/* ---- ?passing, applied to the answer: a change of health wakes a waiter even when it hides the entry */

/* Skip to the value of a key in the map that comes next; false when it is not there. */
static bool
map_find(struct mp_r *in, const char *name)
{
	uint32_t n = mp_r_map(in);

	for (uint32_t i = 0; i < n && in->err == 0; i++) {
		if (str_eqs(mp_r_str(in), name))
			return true;
		mp_r_skip(in);
	}
	return false;
}

static bool
entry_passing(struct str entry)
{
	struct mp_r in = mp_r_init(entry.p, entry.len);
	uint32_t n;

	if (!map_find(&in, "Checks"))
		return true;
	n = mp_r_array(&in);
	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		struct str check = mp_r_raw(&in);
		struct mp_r c = mp_r_init(check.p, check.len);

		if (map_find(&c, "Status") && !str_eqs(mp_r_str(&c), "passing"))
			return false;
	}
	return true;
}

static int
render_passing(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	struct buf kept = BUF_INIT(RPC_REPLY_MAX);
	struct mp_w w = mp_w_init(&kept);
	uint32_t n = mp_r_array(&in), left = 0;
	size_t at = mp_w_array_hold(&w);
	int rc;

	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		struct str entry = mp_r_raw(&in);

		if (!entry_passing(entry))
			continue;
		mp_w_raw(&w, entry);
		left++;
	}
	mp_w_array_patch(&w, at, left);
	rc = in.err != 0 ? in.err : w.err;
	if (rc == 0)
		rc = reply_mp(v, (struct str){ (const char *)kept.data, kept.len }, ret);
	buf_release(&kept);
	return rc;
}

static int
render_entries(const struct view *v, struct str payload, struct reply *ret)
{
	return (v->flags & VIEW_PASSING) != 0 ? render_passing(v, payload, ret) : reply_mp(v, payload, ret);
}

void
health_service(struct request *r)
{
	struct catalog_query q;
	const struct str *passing = param_get(&r->params, "passing");
	bool only = passing != NULL;

	if (!discovery_needs(r, "Missing service name"))
		return;
	if (passing != NULL && passing->len > 0 && parse_bool(*passing, &only) < 0) {
		respond_bad(r, "Invalid value for ?passing");
		return;
	}
	if (!discovery_query(r, D_NEAR | D_META | D_FILTER | D_TAG, &q))
		return;
	if (only)
		r->view.flags |= VIEW_PASSING;
	q.service = r->rest;
	discovery_read(r, OP_HEALTH_SERVICE, &q, render_entries);
}
