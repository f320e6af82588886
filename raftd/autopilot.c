/*
 * autopilot.c - the leader looks after the servers: their health, a vote
 * for who has been healthy long enough, the end of those that are dead. The
 * rules are in autopilot_rules.c; here they meet the cluster.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "lib/duration.h"
#include "raftd/autopilot_rules.h"
#include "raftd/raftd.h"

#define SUB "agent.server.autopilot"

enum { LOOK_MS = 2000, CONFIG_BYTES_MAX = 16 * 1024 };

_Static_assert((int)AP_SERVERS_MAX == (int)RAFT_SERVERS_MAX, "autopilot looks at whole configurations");
_Static_assert((int)AP_UNKNOWN == (int)MEMBER_NONE && (int)AP_ALIVE == (int)MEMBER_ALIVE && (int)AP_LEAVING == (int)MEMBER_LEAVING &&
    (int)AP_LEFT == (int)MEMBER_LEFT && (int)AP_FAILED == (int)MEMBER_FAILED, "gossip's words are autopilot's");

struct autopilot {
	struct raftd *r;
	uv_timer_t timer;
	bool leads;
	uint64_t lead_ms;		/* when our term began */
	struct ap_view view;
	bool changing;			/* a configuration of ours is under way */
};

/* ---- its configuration, in the state */

static int
stored_config(struct raftd *r, struct autopilot_config *ret)
{
	struct buf b = BUF_INIT(CONFIG_BYTES_MAX);
	struct arena a = ARENA_INIT(CONFIG_BYTES_MAX);
	struct fsm_error err = { .code = 0 };
	struct mp_w w = mp_w_init(&b);
	struct mp_r in;
	uint64_t index;
	int rc = fsm_query(r->engine.fsm, OP_AUTOPILOT_CONFIG, NULL, 0, NULL, &w, &index, NULL, &err);

	if (rc == 0)
		rc = w.err;
	in = mp_r_init(b.data, b.len);
	if (rc == 0)
		rc = record_decode(&rec_autopilot_config, &in, ret, &a);
	arena_release(&a);
	buf_release(&b);
	return rc;
}

static uint64_t
ms(int64_t ns)
{
	return ns > 0 ? (uint64_t)(ns / NS_PER_MS) : 0;
}

static struct ap_config
rules(struct raftd *r)
{
	struct autopilot_config c = { .create_index = 0 };

	/* Without memory for it nothing is done to anybody. */
	if (stored_config(r, &c) < 0)
		return (struct ap_config){ .stable_ms = UINT64_MAX };
	return (struct ap_config){ .cleanup = c.cleanup_dead_servers, .contact_ms = ms(c.last_contact_threshold),
		.trailing_max = c.max_trailing_logs, .min_quorum = c.min_quorum, .stable_ms = ms(c.server_stabilization_time) };
}

/* The first leader of a cluster writes down what its configuration files say. */
static void
write_first_config(struct raftd *r)
{
	struct json_object *c = r->d->config;
	struct autopilot_config now = { .create_index = 0 };
	const struct autopilot_set set = { .config = {
		.cleanup_dead_servers = cfg_bool(c, "autopilot.cleanup_dead_servers", true),
		.last_contact_threshold = cfg_ms(c, "autopilot.last_contact_threshold", 200) * NS_PER_MS,
		.max_trailing_logs = (uint64_t)cfg_int(c, "autopilot.max_trailing_logs", 250),
		.min_quorum = (uint64_t)cfg_int(c, "autopilot.min_quorum", 0),
		.server_stabilization_time = cfg_ms(c, "autopilot.server_stabilization_time", 10000) * NS_PER_MS } };

	if (stored_config(r, &now) < 0 || now.create_index != 0)
		return;
	if (propose_own(r, OP_AUTOPILOT_SET, &set) < 0)
		log_debug(SUB, "writing the first configuration of autopilot is put off");
}

/* ---- looking */

static struct ap_sight
sight(const struct autopilot *ap, const struct raft_server *s, uint64_t now)
{
	const struct raft *core = &ap->r->engine.core;
	const struct raft_progress *p = raft_progress(core, s->id);
	const struct raft_server_info *info = servers_find(configs_current(ap->r->engine.configs, NULL), s->id);
	struct ap_sight x = { .id = s->id, .voter = s->voter, .leader = s->id == ap->r->id };
	uint64_t since = p != NULL && p->heard_ms != 0 ? p->heard_ms : ap->lead_ms;

	x.heard = p != NULL && p->heard_ms != 0;
	x.contact_ms = x.leader || since > now ? 0 : now - since;
	x.index = x.leader ? core->trail.last : p != NULL ? p->match : 0;
	x.term = trail_term(&core->trail, x.index);
	x.gossip = info != NULL ? (enum ap_gossip)pool_status(ap->r, info) : AP_UNKNOWN;
	return x;
}

static void
tell_changes(const struct ap_view *was, struct ap_view *is, struct raftd *r)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	bool changed = was->n != is->n;

	for (size_t i = 0; i < is->n; i++) {
		const struct ap_server *s = &is->v[i], *old = ap_find(was, s->now.id);
		const struct raft_server_info *info = servers_find(c, s->now.id);

		changed = changed || old == NULL || old->failed != s->failed || old->now.heard != s->now.heard;
		if (old == NULL || info == NULL || old->failed == s->failed)
			continue;
		if (s->failed)
			log_warn(SUB, "server has failed: node=%.*s address=%.*s contact_ms=%" PRIu64, STR_ARG(info->node),
			    STR_ARG(info->address), s->now.contact_ms);
		else
			log_info(SUB, "server is back: node=%.*s address=%.*s", STR_ARG(info->node), STR_ARG(info->address));
	}
	if (changed)
		members_changed(r);
}

static void
look(struct autopilot *ap, const struct ap_config *c, uint64_t now)
{
	const struct raft *core = &ap->r->engine.core;
	const struct raft_servers *servers = raft_servers(core);
	struct ap_sight seen[AP_SERVERS_MAX];
	const struct ap_view was = ap->view;
	size_t n = 0;

	for (size_t i = 0; servers != NULL && i < servers->n; i++)
		seen[n++] = sight(ap, &servers->v[i], now);
	ap_look(&ap->view, c, seen, n, trail_term(&core->trail, core->trail.last), core->trail.last, now);
	tell_changes(&was, &ap->view, ap->r);
}

/* ---- acting: one change at a time */

static void
on_changed(void *arg, int rc)
{
	struct raftd *r = arg;

	if (r->autopilot == NULL)
		return;
	r->autopilot->changing = false;
	if (rc < 0)
		log_warn(SUB, "a change of the servers did not take place: error=\"%s\"", err_text(rc));
}

static void
act(struct autopilot *ap, struct ap_decision d)
{
	const struct raft_config_entry *c = configs_current(ap->r->engine.configs, NULL);
	const struct raft_server_info *s = servers_find(c, d.id);
	struct raft_server_info voter;
	struct servers_changed next;
	int rc;

	if (d.action == AP_NOTHING || s == NULL)
		return;
	voter = *s;
	voter.voter = true;
	if (d.action == AP_PROMOTE)
		log_info(SUB, "Promoting server: id=%.*s address=%.*s name=%.*s", STR_ARG(s->node_id), STR_ARG(s->address), STR_ARG(s->node));
	else if (pool_status(ap->r, s) == MEMBER_LEFT)
		log_info(SUB, "removing server by ID, it has left: id=%.*s name=%.*s address=%.*s", STR_ARG(s->node_id), STR_ARG(s->node),
		    STR_ARG(s->address));
	else
		log_info(SUB, "Attempting removal of failed server node: id=%.*s name=%.*s address=%.*s", STR_ARG(s->node_id),
		    STR_ARG(s->node), STR_ARG(s->address));
	ap->changing = true;
	rc = servers_change(c, d.action == AP_REMOVE ? s : NULL, d.action == AP_PROMOTE ? &voter : NULL, &next);
	if (rc == 0)
		rc = engine_propose_servers(ap->r, &next.config, on_changed, ap->r);
	if (rc < 0) {
		ap->changing = false;
		log_debug(SUB, "the servers cannot be changed now: error=\"%s\"", err_text(rc));
	}
}

static void
on_timer(uv_timer_t *t)
{
	struct autopilot *ap = t->data;
	struct ap_config c;
	uint64_t now = clock_ms();

	if (!engine_leads(ap->r))
		return;
	write_first_config(ap->r);
	c = rules(ap->r);
	look(ap, &c, now);
	if (!ap->changing)
		act(ap, ap_decide(&ap->view, &c, now));
}

/* ---- being asked */

/* RFC 3339, of a moment of the boot clock. */
static const char *
when(struct arena *a, uint64_t at_ms)
{
	time_t t = time(NULL) - (time_t)((clock_ms() - at_ms) / 1000);
	char text[40];
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return "";
	return arena_printf(a, "%s", text);
}

static const char *
contact(struct arena *a, const struct ap_server *s)
{
	char text[DURATION_TEXT_MAX];

	duration_format((int64_t)s->now.contact_ms * NS_PER_MS, text);
	return arena_printf(a, "%s", text);
}

/* Gossip's word; of who it does not know: who answers is alive. */
static const char *
status(const struct ap_server *s)
{
	static const char *const words[] = { [AP_ALIVE] = "alive", [AP_LEAVING] = "leaving", [AP_LEFT] = "left", [AP_FAILED] = "failed" };

	if (s->now.gossip != AP_UNKNOWN)
		return words[s->now.gossip];
	return s->failed ? "failed" : s->now.leader || s->now.heard ? "alive" : "none";
}

static struct str
node_id(const struct raft_server_info *s)
{
	return s->node_id.len > 0 ? s->node_id : s->id;
}

static void
reply(struct raftd *r, const struct rpc_request *req, const struct record *rec, const void *obj)
{
	const struct query_meta m = { .index = 1, .known_leader = true };
	struct buf *b = rpc_reply_begin(r->d->rpc, req->token);
	struct mp_w w;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	record_encode(rec, obj, RECORD_PUBLIC, &w);
	rpc_reply_end(r->d->rpc, req->token, w.err == 0);
}

void
autopilot_measure(struct raftd *r, struct metric_slot *healthy, struct metric_slot *tolerance)
{
	const struct autopilot *ap = r->autopilot;

	if (ap == NULL || !ap->leads || ap->view.n == 0) {
		metric_clear(healthy);
		metric_clear(tolerance);
		return;
	}
	metric_set(healthy, ap_healthy(&ap->view) ? 1 : 0);
	metric_set(tolerance, (double)ap_tolerance(&ap->view));
}

static void
answer_health(struct autopilot *ap, const struct rpc_request *req)
{
	const struct raft_config_entry *c = configs_current(ap->r->engine.configs, NULL);
	struct autopilot_server_health v[AP_SERVERS_MAX];
	struct autopilot_health h = { .healthy = ap_healthy(&ap->view), .failure_tolerance = (int64_t)ap_tolerance(&ap->view),
		.servers = { v, 0 } };

	for (size_t i = 0; i < ap->view.n; i++) {
		const struct ap_server *s = &ap->view.v[i];
		const struct raft_server_info *info = servers_find(c, s->now.id);

		if (info == NULL)
			continue;
		v[h.servers.n++] = (struct autopilot_server_health){ .id = node_id(info), .name = info->node, .address = info->address,
			.serf_status = str_from(status(s)), .version = info->version, .leader = s->now.leader,
			.last_contact = str_from(contact(&ap->r->arena, s)), .last_term = s->now.term, .last_index = s->now.index,
			.healthy = s->healthy, .voter = s->now.voter, .stable_since = str_from(when(&ap->r->arena, s->since_ms)) };
	}
	reply(ap->r, req, &rec_autopilot_health, &h);
}

static void
answer_state(struct autopilot *ap, const struct rpc_request *req)
{
	const struct raft_config_entry *c = configs_current(ap->r->engine.configs, NULL);
	struct autopilot_server_state v[AP_SERVERS_MAX];
	struct str keys[AP_SERVERS_MAX], voters[AP_SERVERS_MAX];
	struct autopilot_state st = { .healthy = ap_healthy(&ap->view), .failure_tolerance = (int64_t)ap_tolerance(&ap->view),
		.optimistic_failure_tolerance = (int64_t)ap_tolerance(&ap->view), .servers = { keys, v, 0 }, .voters = { voters, 0 } };

	for (size_t i = 0; i < ap->view.n; i++) {
		const struct ap_server *s = &ap->view.v[i];
		const struct raft_server_info *info = servers_find(c, s->now.id);

		if (info == NULL)
			continue;
		if (s->now.leader)
			st.leader = node_id(info);
		if (s->now.voter)
			voters[st.voters.n++] = node_id(info);
		keys[st.servers.n] = node_id(info);
		v[st.servers.n++] = (struct autopilot_server_state){ .id = node_id(info), .name = info->node, .address = info->address,
			.node_status = str_from(status(s)), .version = info->version,
			.last_contact = str_from(contact(&ap->r->arena, s)), .last_term = s->now.term, .last_index = s->now.index,
			.healthy = s->healthy, .stable_since = str_from(when(&ap->r->arena, s->since_ms)),
			.status = str_from(s->now.leader ? "leader" : s->now.voter ? "voter" : "non-voter"),
			.node_type = str_from(s->now.voter ? "voter" : "") };
	}
	reply(ap->r, req, &rec_autopilot_state, &st);
}

void
autopilot_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct query_options o;
	struct ap_config c;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, NULL, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (!engine_leads(r)) {
		forward_leader(r, req);
		return;
	}
	if (!acl_require(r, req, o.token, ACL_OPERATOR, STR(""), ACL_READ))
		return;
	c = rules(r);
	look(r->autopilot, &c, clock_ms());
	if (req->info->number == OP_AUTOPILOT_HEALTH)
		answer_health(r->autopilot, req);
	else
		answer_state(r->autopilot, req);
}

enum server_health
autopilot_server(struct raftd *r, uint64_t id)
{
	const struct ap_server *s = r->autopilot != NULL && r->autopilot->leads ? ap_find(&r->autopilot->view, id) : NULL;

	if (s == NULL)
		return SERVER_UNKNOWN;
	if (s->failed)
		return SERVER_FAILED;
	return s->now.leader || s->now.heard ? SERVER_ALIVE : SERVER_UNKNOWN;
}

bool
autopilot_may_remove(struct raftd *r, uint64_t id)
{
	const struct ap_config c = rules(r);

	look(r->autopilot, &c, clock_ms());
	return ap_may_remove(&r->autopilot->view, id);
}

/* ---- beginning and end */

void
autopilot_lead(struct raftd *r, bool leads)
{
	struct autopilot *ap = r->autopilot;

	ap->leads = leads;
	ap->view.n = 0;
	ap->changing = false;
	if (leads) {
		ap->lead_ms = clock_ms();
		(void)uv_timer_start(&ap->timer, on_timer, 0, LOOK_MS);
	} else {
		(void)uv_timer_stop(&ap->timer);
	}
}

/* Who has come is looked at soon, who has gone is forgotten. */
void
autopilot_config_changed(struct raftd *r)
{
	if (r->autopilot != NULL && r->autopilot->leads)
		(void)uv_timer_start(&r->autopilot->timer, on_timer, 0, LOOK_MS);
}

void
autopilot_pool_changed(struct raftd *r)
{
	autopilot_config_changed(r);
}

int
autopilot_init(struct raftd *r)
{
	struct autopilot *ap = calloc(1, sizeof(*ap));

	if (ap == NULL)
		return -ENOMEM;
	ap->r = r;
	(void)uv_timer_init(&r->d->loop.uv, &ap->timer);
	ap->timer.data = ap;
	r->autopilot = ap;
	return 0;
}

static void
free_autopilot(uv_handle_t *h)
{
	free(h->data);
}

void
autopilot_release(struct raftd *r)
{
	struct autopilot *ap = r->autopilot;

	if (ap == NULL)
		return;
	r->autopilot = NULL;
	uv_close((uv_handle_t *)&ap->timer, free_autopilot);
}
