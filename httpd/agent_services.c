/* agent_services.c - this node's own services: /v1/agent/services, service/..., health/service/..., maintenance */
#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

void
agent_services(struct request *r)
{
	const struct str *filter = param_get(&r->params, "filter");
	struct agent_query q = { .filter = filter != NULL ? *filter : STR_NONE };

	upstream_read(r, OP_AGENT_SERVICES, &q, render_json);
}

/* The service's ContentHash, which is the last of its members, also goes into a header. */
static int
render_service(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	uint32_t n = mp_r_map(&in);

	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		if (str_eqs(mp_r_str(&in), "ContentHash")) {
			struct str hash = mp_r_str(&in);

			(void)snprintf(ret->text, sizeof(ret->text), "%.*s", STR_ARG(hash));
			ret->name = "X-Consul-Contenthash";
			ret->value = NULL;
			break;
		}
		mp_r_skip(&in);
	}
	return reply_mp(v, payload, ret);
}

void
agent_service(struct request *r)
{
	const struct str *hash = param_get(&r->params, "hash");
	struct agent_query q = { .id = r->rest };

	/* Blocks by hash, not by index. */
	r->opts.min_index = 0;
	if (hash != NULL)
		q.hash = *hash;
	upstream_read(r, OP_AGENT_SERVICE, &q, render_service);
}

void
agent_service_register(struct request *r)
{
	struct agent_register q = { .replace_existing_checks = false };
	const struct str *replace = param_get(&r->params, "replace-existing-checks");

	if (replace != NULL && replace->len > 0 && parse_bool(*replace, &q.replace_existing_checks) < 0) {
		respond_bad(r, "Invalid value for replace-existing-checks");
		return;
	}
	if (replace != NULL && replace->len == 0)
		q.replace_existing_checks = true;
	q.client = request_ip(r);
	if (body_record(r, &rec_service_def, &q.service, true))
		upstream_write(r, OP_AGENT_SERVICE_REGISTER, &q, upstream_ok_empty);
}

/* Who registered the instances of a service here: ours. */
void
agent_why(struct request *r)
{
	struct id_request q = { r->rest };

	if (r->rest.len == 0)
		respond_bad(r, "Missing service name");
	else
		upstream_read(r, OP_AGENT_WHY, &q, render_json);
}

/* Which of its instances DNS returns: ours. */
void
agent_dns(struct request *r)
{
	const struct str *tag = param_get(&r->params, "tag");
	struct explain_query q = { r->rest, tag != NULL ? *tag : STR_NONE };

	if (r->rest.len == 0)
		respond_bad(r, "Missing service name");
	else
		upstream_read(r, OP_DNS_EXPLAIN, &q, render_json);
}

void
agent_service_deregister(struct request *r)
{
	struct id_request q = { r->rest };

	if (r->rest.len == 0)
		respond_bad(r, "Missing service ID");
	else
		upstream_write(r, OP_AGENT_SERVICE_DEREGISTER, &q, upstream_ok_empty);
}

static void
maintenance(struct request *r, struct str service)
{
	const struct str *enable = param_get(&r->params, "enable"), *reason = param_get(&r->params, "reason");
	struct maintenance q = { .service_id = service, .reason = reason != NULL ? *reason : STR_NONE,
		.token = r->opts.token };

	if (enable == NULL) {
		respond_bad(r, "Missing value for enable");
	} else if (parse_bool(*enable, &q.enable) < 0) {
		respond_text(r, 400, "Invalid value for enable: %s", go_quote(*enable, &r->arena));
	} else {
		upstream_write(r, OP_AGENT_MAINTENANCE, &q, upstream_ok_empty);
	}
}

void
agent_service_maintenance(struct request *r)
{
	if (r->rest.len == 0)
		respond_bad(r, "Missing service ID");
	else
		maintenance(r, r->rest);
}

void
agent_node_maintenance(struct request *r)
{
	maintenance(r, STR_NONE);
}

/* ---- health of a service as this agent sees it */

static int
status_code(struct str status)
{
	if (str_eqs(status, "passing"))
		return 200;
	return str_eqs(status, "warning") ? 429 : 503;
}

static int
severity(struct str status)
{
	static const char *const order[] = { "passing", "warning", "critical", "maintenance" };

	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (str_eqs(status, order[i]))
			return (int)i;
	return 2;
}

/* The worst AggregatedStatus of the list; STR_NONE for an empty one. */
static struct str
worst_status(struct str payload)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	uint32_t n = mp_r_array(&in);
	struct str worst = STR_NONE;

	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		uint32_t fields = mp_r_map(&in);

		for (uint32_t k = 0; k < fields && in.err == 0; k++) {
			if (str_eqs(mp_r_str(&in), "AggregatedStatus")) {
				struct str s = mp_r_str(&in);

				if (worst.p == NULL || severity(s) > severity(worst))
					worst = s;
			} else {
				mp_r_skip(&in);
			}
		}
	}
	return worst;
}

static bool
wants_text(const struct request *r)
{
	const struct str *format = param_get(&r->params, "format");

	return (format != NULL && str_eqs(*format, "text")) ||
	    (r->accept.len > 0 && str_has_prefix(r->accept, STR("text/plain")));
}

static void
reason(struct request *r, struct str text)
{
	const char *copy = arena_strdup(&r->arena, text);

	r->reply.name = copy != NULL ? "X-Consul-Reason" : NULL;
	r->reply.value = copy;
}

static void
unknown_service(struct request *r, bool by_name)
{
	const char *why = arena_printf(&r->arena, by_name ? "ServiceName %.*s Not Found" : "ServiceId %.*s not found",
	    STR_ARG(r->rest));
	bool pretty = (r->view.flags & VIEW_PRETTY) != 0;

	if (why != NULL)
		reason(r, str_from(why));
	if (wants_text(r)) {
		respond_text(r, 404, "%s", why != NULL ? why : "");
		r->reply.content = CONTENT_PLAIN;
		return;
	}
	if (by_name)
		respond_text(r, 404, pretty ? "[]\n" : "[]");
	else
		respond_text(r, 404, pretty ? "{\n    \"AggregatedStatus\": \"critical\",\n    \"Service\": null,\n"
		    "    \"Checks\": null\n}\n" : "{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}");
	r->reply.content = CONTENT_JSON;
}

static void
show_health(struct request *r, const struct rpc_answer *a, bool by_name)
{
	struct str payload, worst;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	worst = worst_status(payload);
	if (worst.p == NULL) {
		unknown_service(r, by_name);
		return;
	}
	reason(r, worst);
	if (wants_text(r)) {
		respond_text(r, status_code(worst), "%.*s", STR_ARG(worst));
		r->reply.content = CONTENT_PLAIN;
		return;
	}
	if (!by_name) {
		in = mp_r_init(payload.p, payload.len);
		(void)mp_r_array(&in);
		payload = mp_r_raw(&in);
	}
	respond_mp(r, status_code(worst), payload);
}

static void
on_health_by_id(struct request *r, const struct rpc_answer *a)
{
	show_health(r, a, false);
}

static void
on_health_by_name(struct request *r, const struct rpc_answer *a)
{
	show_health(r, a, true);
}

void
agent_health_by_id(struct request *r)
{
	struct agent_query q = { .id = r->rest };

	if (r->rest.len == 0)
		respond_bad(r, "Bad request: Missing serviceID");
	else
		upstream_ask(r, OP_AGENT_HEALTH, &q, on_health_by_id);
}

void
agent_health_by_name(struct request *r)
{
	struct agent_query q = { .id = r->rest, .by_name = true };

	if (r->rest.len == 0)
		respond_bad(r, "Bad request: Missing service Name");
	else
		upstream_ask(r, OP_AGENT_HEALTH, &q, on_health_by_name);
}
