/* catalog.c - /v1/catalog, and what its reads share with /v1/health. */
#include "httpd/body.h"
#include "httpd/discovery.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

bool
discovery_query(struct request *r, unsigned takes, struct catalog_query *q)
{
	const struct str *near = param_get(&r->params, "near"), *filter = param_get(&r->params, "filter");
	int rc = 0;

	*q = (struct catalog_query){ .near = STR_NONE };
	if (r->params.n == 0)
		return true;
	if ((takes & D_NEAR) != 0 && near != NULL)
		q->near = str_eqs(*near, "_agent") ? str_from(r->h->cfg.node_name) : *near;
	if ((takes & D_FILTER) != 0 && filter != NULL)
		q->filter = *filter;
	if ((takes & D_META) != 0)
		rc = params_node_meta(&r->params, &r->arena, &q->node_meta);
	if (rc == 0 && (takes & D_TAG) != 0)
		rc = params_list(&r->params, "tag", &r->arena, &q->tags);
	if (rc < 0)
		respond_empty(r, 500);
	return rc == 0;
}

bool
discovery_needs(struct request *r, const char *missing)
{
	if (r->rest.len == 0)
		respond_bad(r, missing);
	return r->rest.len > 0;
}

void
discovery_read(struct request *r, uint16_t op, const struct catalog_query *q, render_fn *render)
{
	r->view.reply_flags = REPLY_META | REPLY_CONSISTENCY;
	upstream_read(r, op, q, render);
}

void
catalog_nodes(struct request *r)
{
	struct catalog_query q;

	if (discovery_query(r, D_NEAR | D_META | D_FILTER, &q))
		discovery_read(r, OP_CATALOG_NODES, &q, render_json);
}

void
catalog_services(struct request *r)
{
	struct catalog_query q;

	if (discovery_query(r, D_META | D_FILTER, &q))
		discovery_read(r, OP_CATALOG_SERVICES, &q, render_json);
}

void
catalog_service(struct request *r)
{
	struct catalog_query q;

	if (!discovery_needs(r, "Missing service name") || !discovery_query(r, D_NEAR | D_META | D_FILTER | D_TAG, &q))
		return;
	q.service = r->rest;
	discovery_read(r, OP_CATALOG_SERVICE, &q, render_json);
}

/* catalog/node and catalog/node-services */
void
catalog_node(struct request *r)
{
	struct catalog_query q;

	if (!discovery_needs(r, "Missing node name") || !discovery_query(r, D_FILTER, &q))
		return;
	q.node = r->rest;
	discovery_read(r, r->route->op, &q, render_json);
}

void
catalog_datacenters(struct request *r)
{
	upstream_read(r, OP_CATALOG_DATACENTERS, NULL, render_json);
}

/* What the agent of a node did not say it takes back when it compares the catalog with what it knows. */
static void
on_changed(struct request *r, const struct rpc_answer *a)
{
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (!mp_r_bool(&in) && in.err == 0) {
		r->reply.name = "X-Consul-Warning";
		r->reply.value = "the node runs an agent, which will undo this: ask that agent instead";
	}
	respond_bool(r, true);
}

void
catalog_register(struct request *r)
{
	struct register_request q = { .datacenter = r->opts.datacenter };

	if (!body_record(r, &rec_register_request, &q, true))
		return;
	r->opts.datacenter = q.datacenter;
	upstream_write(r, OP_CATALOG_REGISTER, &q, on_changed);
}

void
catalog_deregister(struct request *r)
{
	struct deregister_request q = { .datacenter = r->opts.datacenter };

	if (!body_record(r, &rec_deregister_request, &q, true))
		return;
	r->opts.datacenter = q.datacenter;
	upstream_write(r, OP_CATALOG_DEREGISTER, &q, on_changed);
}
