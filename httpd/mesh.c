/*
 * mesh.c - endpoints of the service mesh, which we do not have: they answer
 * what a Consul answers that was told to do without it.
 */
#include "httpd/discovery.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { SHOWN_MAX = 512 };

/* What is not there, by the path that it would be at. */
static const struct {
	const char *path, *text;
} missing[] = {
	{ "/v1/connect/intentions/", "Intention not found" },
	{ "/v1/internal/ui/metrics-proxy/", "Metrics proxy is not enabled" },
};

static int
render_nothing(const struct view *v, struct str payload, struct reply *ret)
{
	static const char empty[] = "\x90";

	(void)payload;
	return reply_mp(v, (struct str){ empty, 1 }, ret);
}

/*
 * An empty list. The question goes to raftd all the same: who waits for a
 * change is to wait, and who has no token is to hear it. Of a service the
 * instances are asked for, else those of a service that cannot be.
 */
void
mesh_empty(struct request *r)
{
	struct catalog_query q;

	if (r->route->op != 0) {
		if (!discovery_needs(r, "Missing service name") || !discovery_query(r, D_NEAR | D_META | D_TAG, &q))
			return;
		q.service = r->rest;
		discovery_read(r, r->route->op, &q, render_nothing);
		return;
	}
	q = (struct catalog_query){ .service = STR("") };
	discovery_read(r, OP_CATALOG_SERVICE, &q, render_nothing);
}

void
mesh_off(struct request *r)
{
	respond_text(r, 500, "Connect must be enabled in order to use this endpoint");
}

void
mesh_missing(struct request *r)
{
	for (size_t i = 0; i < ARRAY_LEN(missing); i++)
		if (strcmp(missing[i].path, r->route->path) == 0) {
			respond_text(r, 404, "%s", missing[i].text);
			return;
		}
	respond_empty(r, 404);
}

/* /v1/config/KIND and /v1/config/KIND/NAME */
void
mesh_config(struct request *r)
{
	const char *slash = r->rest.len > 0 ? memchr(r->rest.p, '/', r->rest.len) : NULL;
	struct str kind = r->rest, name = STR_NONE;

	if (slash != NULL) {
		kind.len = (size_t)(slash - r->rest.p);
		name = (struct str){ slash + 1, r->rest.len - kind.len - 1 };
	}
	if (kind.len == 0) {
		respond_bad(r, "Bad request: Must provide a kind");
	} else if (r->method == M_DELETE) {
		/* What is not there is gone. */
		if (name.len == 0)
			respond_text(r, 404, "Must provide both a kind and name to delete");
		else
			respond_mp(r, 200, STR("\x80"));
	} else if (name.len == 0) {
		mesh_empty(r);
	} else {
		const char *k = go_quote(kind, &r->arena), *n = go_quote(name, &r->arena);

		respond_text(r, 404, "Config entry not found for %.*s / %.*s", SHOWN_MAX, k != NULL ? k : "", SHOWN_MAX, n != NULL ? n : "");
	}
}
