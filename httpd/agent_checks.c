/* agent_checks.c - this node's own checks: /v1/agent/checks, check/... */
#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

void
agent_checks(struct request *r)
{
	const struct str *filter = param_get(&r->params, "filter");
	struct agent_query q = { .filter = filter != NULL ? *filter : STR_NONE };

	upstream_read(r, OP_AGENT_CHECKS, &q, render_json);
}

void
agent_check_register(struct request *r)
{
	struct check_def q = { .name = STR_NONE };

	if (body_record(r, &rec_check_def, &q, true))
		upstream_write(r, OP_AGENT_CHECK_REGISTER, &q, upstream_ok_empty);
}

static bool
has_check(struct request *r)
{
	if (r->rest.len == 0)
		respond_bad(r, "Missing check ID");
	return r->rest.len > 0;
}

void
agent_check_deregister(struct request *r)
{
	struct id_request q = { r->rest };

	if (has_check(r))
		upstream_write(r, OP_AGENT_CHECK_DEREGISTER, &q, upstream_ok_empty);
}

/* check/pass, check/warn and check/fail: the status is in the path. */
void
agent_check_result(struct request *r)
{
	static const struct {
		const char *path;
		struct str status;
	} results[] = { { "/v1/agent/check/pass/", { "passing", 7 } }, { "/v1/agent/check/warn/", { "warning", 7 } },
		{ "/v1/agent/check/fail/", { "critical", 8 } } };
	const struct str *note = param_get(&r->params, "note");
	struct check_update q = { .check_id = r->rest, .output = note != NULL ? *note : STR_NONE };

	for (size_t i = 0; i < ARRAY_LEN(results); i++)
		if (strcmp(r->route->path, results[i].path) == 0)
			q.status = results[i].status;
	if (has_check(r))
		upstream_write(r, OP_AGENT_CHECK_UPDATE, &q, upstream_ok_empty);
}

void
agent_check_update(struct request *r)
{
	struct check_update q = { .check_id = STR_NONE };

	if (!body_record(r, &rec_check_update, &q, false))
		return;
	q.check_id = r->rest;
	if (!str_eqs(q.status, "passing") && !str_eqs(q.status, "warning") && !str_eqs(q.status, "critical")) {
		respond_text(r, 400, "Invalid check status: '%.*s'", STR_ARG(q.status));
		return;
	}
	if (has_check(r))
		upstream_write(r, OP_AGENT_CHECK_UPDATE, &q, upstream_ok_empty);
}
