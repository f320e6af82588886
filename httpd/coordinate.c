/* coordinate.c - /v1/coordinate: where nodes lie, by the catalog, and servers of all datacenters, by gossip. */
#include <stdlib.h>

#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { DATACENTERS_BYTES_MAX = 16 * 1024 * 1024 };

/* Whether there are any; else the request is answered. */
static bool
enabled(struct request *r)
{
	if (r->h->cfg.disable_coordinates)
		respond_text(r, 401, "Coordinate support disabled");
	return !r->h->cfg.disable_coordinates;
}

/* ---- of the catalog */

static void
read_catalog(struct request *r, uint16_t op, struct str node, render_fn *render)
{
	const struct str *segment = param_get(&r->params, "segment");
	const struct catalog_query q = { .node = node, .segment = segment != NULL ? *segment : STR_NONE };

	r->view.reply_flags = REPLY_META;
	upstream_read(r, op, &q, render);
}

void
coordinate_nodes(struct request *r)
{
	if (enabled(r))
		read_catalog(r, OP_COORDINATE_LIST, STR_NONE, render_json);
}

static int
render_node(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);

	if (mp_r_array(&in) > 0 || in.err < 0)
		return render_json(v, payload, ret);
	ret->status = 404;
	ret->content = CONTENT_NONE;
	return 0;
}

void
coordinate_node(struct request *r)
{
	if (enabled(r))
		read_catalog(r, OP_COORDINATE_NODE, r->rest, render_node);
}

/* Consul's CoordinateUpdateRequest. */
struct update {
	struct str datacenter;
	struct coordinate_entry entry;
};

static const struct field f_update[] = {
	FIELD(update, datacenter, "Datacenter", F_STR, 0),
	FIELD(update, entry.node, "Node", F_STR, 0),
	FIELD(update, entry.segment, "Segment", F_STR, 0),
	FIELD_SUB(update, entry.coord, "Coord", F_RECORD, 0, rec_coordinate),
};
static RECORD(rec_update, update, "CoordinateUpdateRequest", f_update);

void
coordinate_update(struct request *r)
{
	struct update u = { .datacenter = STR_NONE };

	if (!enabled(r) || !body_record(r, &rec_update, &u, true))
		return;
	if (r->opts.datacenter.len == 0)
		r->opts.datacenter = u.datacenter;
	upstream_write(r, OP_COORDINATE_UPDATE, &u.entry, upstream_ok_empty);
}

/* ---- of the WAN pool */

struct place {
	struct str datacenter;
	struct coordinate_entry entry;
};

static int
by_datacenter(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int c = str_cmp(x->datacenter, y->datacenter);

	return c != 0 ? c : str_cmp(x->entry.node, y->entry.node);
}

/* Behind the last dot of the name, which is cut off it: names of datacenters have none. */
static struct str
cut_datacenter(const struct request *r, struct str *name)
{
	for (size_t i = name->len; i > 0; i--)
		if (name->p[i - 1] == '.') {
			struct str dc = { name->p + i, name->len - i };

			name->len = i - 1;
			return dc;
		}
	return str_from(r->h->cfg.datacenter);
}

static void
write_datacenters(struct mp_w *w, const struct place *v, size_t n)
{
	size_t outer = mp_w_array_hold(w), inner = 0;
	uint32_t datacenters = 0, nodes = 0;

	for (size_t i = 0; i < n; i++) {
		if (i == 0 || !str_eq(v[i].datacenter, v[i - 1].datacenter)) {
			if (i > 0)
				mp_w_array_patch(w, inner, nodes);
			mp_w_map(w, 3);
			mp_w_cstr(w, "Datacenter");
			mp_w_str(w, v[i].datacenter);
			mp_w_cstr(w, "AreaID");
			mp_w_cstr(w, "wan");
			mp_w_cstr(w, "Coordinates");
			inner = mp_w_array_hold(w);
			datacenters++;
			nodes = 0;
		}
		record_encode(&rec_coordinate_entry, &v[i].entry, RECORD_PUBLIC, w);
		nodes++;
	}
	if (n > 0)
		mp_w_array_patch(w, inner, nodes);
	mp_w_array_patch(w, outer, datacenters);
}

static void
on_wan(struct request *r, const struct rpc_answer *a)
{
	struct buf out = BUF_INIT(DATACENTERS_BYTES_MAX);
	struct mp_w w = mp_w_init(&out);
	struct str payload;
	struct place *v;
	struct mp_r in;
	uint32_t n;
	int rc = 0;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	n = mp_r_array(&in);
	v = arena_alloc(&r->arena, (n + 1) * sizeof(*v));
	for (uint32_t i = 0; v != NULL && i < n && rc == 0; i++) {
		rc = record_decode(&rec_coordinate_entry, &in, &v[i].entry, &r->arena);
		if (rc == 0)
			v[i].datacenter = cut_datacenter(r, &v[i].entry.node);
	}
	if (v == NULL || rc < 0 || in.err < 0) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	qsort(v, n, sizeof(*v), by_datacenter);
	write_datacenters(&w, v, n);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

void
coordinate_datacenters(struct request *r)
{
	static const struct member_query wan = { .wan = true };

	if (!enabled(r))
		return;
	/* Client nodes are not in the WAN pool: a server is asked. */
	if (r->h->cfg.server)
		upstream_ask(r, OP_GOSSIP_COORDINATES, &wan, on_wan);
	else
		upstream_ask(r, OP_COORDINATE_DATACENTERS, NULL, on_wan);
}
