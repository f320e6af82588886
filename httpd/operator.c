/* operator.c - /v1/operator: the servers' Raft configuration, and autopilot. */
#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

/* ---- raft */

void
operator_raft_configuration(struct request *r)
{
	upstream_read(r, OP_RAFT_CONFIGURATION, NULL, render_json);
}

void
operator_raft_peer(struct request *r)
{
	const struct str *id = param_get(&r->params, "id"), *address = param_get(&r->params, "address");
	const struct raft_peer_request q = { id != NULL ? *id : STR_NONE, address != NULL ? *address : STR_NONE };

	if (id == NULL && address == NULL)
		respond_bad(r, "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove");
	else if (id != NULL && address != NULL)
		respond_bad(r, "Bad request: Must specify only one of ?id or ?address");
	else
		upstream_write(r, OP_RAFT_REMOVE_PEER, &q, upstream_ok_empty);
}

static void
on_transferred(struct request *r, const struct rpc_answer *a)
{
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	r->reply.content = CONTENT_JSON;
	if (buf_addf(&r->reply.body, (r->view.flags & VIEW_PRETTY) != 0 ? "{\n    \"Success\": %s\n}\n" : "{\"Success\":%s}",
	    mp_r_bool(&in) ? "true" : "false") < 0)
		respond_empty(r, 500);
	else
		respond_done(r);
}

void
operator_raft_transfer(struct request *r)
{
	const struct str *id = param_get(&r->params, "id");
	const struct raft_peer_request q = { .id = id != NULL ? *id : STR_NONE };

	upstream_write(r, OP_RAFT_TRANSFER, &q, on_transferred);
}

/* ---- autopilot */

/* A refused CAS is `false`, anything else that went well `true`. */
static void
autopilot_set(struct request *r)
{
	static const char prefix[] = "Bad request: Error parsing autopilot config";
	const struct str *cas = param_get(&r->params, "cas");
	struct autopilot_set set = { .cas = cas != NULL };
	char err[512] = "";
	bool null;
	struct json_object *j = body_parse(r, prefix, &null);
	int rc;

	if (j == NULL && !null)
		return;
	rc = j != NULL ? record_from_json(&rec_autopilot_config, j, &set.config, &r->arena, true, err, sizeof(err)) : 0;
	(void)json_object_put(j);
	if (rc < 0) {
		respond_text(r, 400, "%s: %s", prefix, err);
		return;
	}
	rc = cas != NULL ? parse_u64(*cas, &set.config.modify_index) : 0;
	if (rc < 0) {
		const char *quoted = go_quote(*cas, &r->arena);

		respond_text(r, 400, "Bad request: Error parsing cas value: strconv.ParseUint: parsing %s: %s",
		    quoted != NULL ? quoted : "", rc == -ERANGE ? "value out of range" : "invalid syntax");
		return;
	}
	upstream_write(r, OP_AUTOPILOT_SET, &set, cas != NULL ? upstream_ok_bool : upstream_ok_true);
}

void
operator_autopilot_configuration(struct request *r)
{
	if (r->method == M_PUT)
		autopilot_set(r);
	else
		upstream_read(r, OP_AUTOPILOT_CONFIG, NULL, render_json);
}

/* Monitoring looks at the status alone. */
static void
on_health(struct request *r, const struct rpc_answer *a)
{
	struct autopilot_health health;
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_autopilot_health, &in, &health, &r->arena) < 0)
		respond_text(r, 500, "malformed answer from another daemon");
	else
		respond_mp(r, health.healthy ? 200 : 429, payload);
}

void
operator_autopilot_health(struct request *r)
{
	upstream_ask(r, OP_AUTOPILOT_HEALTH, NULL, on_health);
}

void
operator_autopilot_state(struct request *r)
{
	upstream_read(r, OP_AUTOPILOT_STATE, NULL, render_json);
}
