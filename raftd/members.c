/*
 * members.c - the leader turns what it knows of the members into nodes,
 * serfHealth checks and the service "consul", as Consul's leader does: on
 * every change, and once a minute over everything.
 *
 * Members are those of gossip, and besides them the servers of the Raft
 * configuration that gossip does not list: they are as healthy as autopilot
 * finds them. What is in the catalog and no member any more is taken out,
 * but only on good evidence:
 * - a node with the service "consul" is there because it was a server: it
 *   goes when it is neither in the configuration nor in gossip;
 * - any other node with serfHealth was a member of gossip's pool: it goes
 *   when gossip does not list it, provided that this pool is the cluster's,
 *   that is, lists every server of the configuration;
 * - nodes without serfHealth are somebody else's.
 */
#include <inttypes.h>
#include <stdio.h>

#include "raftd/raftd.h"

#define SUB "agent.server"

enum { ASK_AGAIN_MS = 1000, ANSWER_MAX = 256 * 1024 * 1024, MEMBERS_MAX_BYTES = 64 * 1024 * 1024 };

/* catalog.node's reply. */
struct node_view {
	struct node node;
	struct recmap services;
};

static const struct field f_node_view[] = {
	FIELD_SUB(node_view, node, "Node", F_RECORD, 0, rec_node),
	FIELD_SUB(node_view, services, "Services", F_RECMAP, 0, rec_node_service),
};
static RECORD(rec_node_view, node_view, "NodeView", f_node_view);

/* Lists, as payloads are. */
struct list {
	struct records v;
};
static const struct field f_members[] = { FIELD_SUB(list, v, "", F_RECORDS, 0, rec_member) };
static RECORD(rec_members, list, "", f_members);
static const struct field f_checks[] = { FIELD_SUB(list, v, "", F_RECORDS, 0, rec_health_check) };
static RECORD(rec_checks, list, "", f_checks);

/* What one member looks like in the catalog now, and what it was read from. */
struct seen {
	struct arena arena;
	struct buf node_bytes, check_bytes;
	bool known;
	struct node_view view;
	struct list checks;
};

/* ---- reading the catalog */

static int
ask_state(struct raftd *r, uint16_t op, const struct catalog_query *q, struct buf *out)
{
	struct mp_w w = mp_w_init(out);
	struct fsm_error err = { .code = 0 };
	uint64_t index;
	int rc = fsm_query(r->engine.fsm, op, q, &w, &index, NULL, &err);

	if (rc == 0 && err.code != 0)
		rc = -EINVAL;
	return rc == 0 ? w.err : rc;
}

static int
see(struct raftd *r, struct str name, struct seen *s)
{
	struct catalog_query q = { .node = name };
	struct mp_r in;
	int rc = ask_state(r, OP_CATALOG_NODE, &q, &s->node_bytes);

	if (rc == 0)
		rc = ask_state(r, OP_HEALTH_NODE, &q, &s->check_bytes);
	if (rc < 0)
		return rc;
	in = mp_r_init(s->node_bytes.data, s->node_bytes.len);
	s->known = mp_r_type(&in) != MP_NIL;
	rc = record_decode(&rec_node_view, &in, &s->view, &s->arena);
	in = mp_r_init(s->check_bytes.data, s->check_bytes.len);
	if (rc == 0)
		rc = record_decode(&rec_checks, &in, &s->checks, &s->arena);
	return rc;
}

static void
see_init(struct seen *s)
{
	*s = (struct seen){ .known = false };
	arena_init(&s->arena, ANSWER_MAX);
	buf_init(&s->node_bytes, ANSWER_MAX);
	buf_init(&s->check_bytes, ANSWER_MAX);
}

static void
see_release(struct seen *s)
{
	arena_release(&s->arena);
	buf_release(&s->node_bytes);
	buf_release(&s->check_bytes);
}

static const struct health_check *
serf_health(const struct list *checks)
{
	const struct health_check *v = checks->v.v;

	for (size_t i = 0; i < checks->v.n; i++)
		if (str_eqs(v[i].check_id, "serfHealth"))
			return &v[i];
	return NULL;
}

static bool
has_health(const struct seen *s, const char *status)
{
	const struct health_check *c = serf_health(&s->checks);

	return c != NULL && str_eqs(c->status, status);
}

/* ---- what a member should look like */

static bool
is_server(const struct seen *s)
{
	const struct node_service *v = s->view.services.v;

	for (size_t i = 0; i < s->view.services.n; i++)
		if (str_eqs(v[i].id, "consul"))
			return true;
	return false;
}

static struct str
tag(const struct member *m, const char *name)
{
	const struct str *v = strmap_get(&m->tags, str_from(name));

	return v != NULL ? *v : STR_NONE;
}

/* The part of the build tag in front of its revision: "1.10.12:abc". */
static struct str
version(const struct member *m)
{
	struct str build = tag(m, "build");
	const char *colon = build.len > 0 ? memchr(build.p, ':', build.len) : NULL;

	if (colon != NULL)
		build.len = (size_t)(colon - build.p);
	return build;
}

enum { SERVICE_META = 7 };

struct consul_service {
	struct node_service service;
	struct strpair meta[SERVICE_META];
	char current[24], min[24], max[24];
};

static int64_t
port_number(struct str s)
{
	int64_t port = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || port > UINT16_MAX)
			return 0;
		port = port * 10 + (s.p[i] - '0');
	}
	return port <= UINT16_MAX ? port : 0;
}

static void
consul_service(const struct member *m, struct consul_service *ret)
{
	(void)snprintf(ret->current, sizeof(ret->current), "%" PRId64, m->protocol_cur);
	(void)snprintf(ret->min, sizeof(ret->min), "%" PRId64, m->protocol_min);
	(void)snprintf(ret->max, sizeof(ret->max), "%" PRId64, m->protocol_max);
	ret->meta[0] = (struct strpair){ STR("non_voter"), STR("false") };
	ret->meta[1] = (struct strpair){ STR("raft_version"), tag(m, "raft_vsn") };
	ret->meta[2] = (struct strpair){ STR("read_replica"), STR("false") };
	ret->meta[3] = (struct strpair){ STR("serf_protocol_current"), str_from(ret->current) };
	ret->meta[4] = (struct strpair){ STR("serf_protocol_max"), str_from(ret->max) };
	ret->meta[5] = (struct strpair){ STR("serf_protocol_min"), str_from(ret->min) };
	ret->meta[6] = (struct strpair){ STR("version"), version(m) };
	ret->service = (struct node_service){ .id = STR("consul"), .service = STR("consul"), .port = port_number(tag(m, "port")),
		.meta = { ret->meta, SERVICE_META }, .weights = { 1, 1 } };
}

static bool
same_meta(const struct strmap *a, const struct strmap *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!str_eq(a->v[i].key, b->v[i].key) || !str_eq(a->v[i].value, b->v[i].value))
			return false;
	return true;
}

static bool
has_service(const struct seen *s, const struct node_service *want)
{
	const struct node_service *v = s->view.services.v;

	for (size_t i = 0; i < s->view.services.n; i++)
		if (str_eq(v[i].id, want->id))
			return v[i].port == want->port && same_meta(&v[i].meta, &want->meta);
	return false;
}

/* ---- acting */

static void
write_catalog(struct raftd *r, uint16_t op, const void *request, struct str member)
{
	int rc = propose_own(r, op, request);

	r->members.written = r->engine.time_last;
	if (rc < 0)
		log_warn(SUB, "failed to reconcile member: member=%.*s error=\"%s\"", STR_ARG(member), err_text(rc));
}

static void
alive(struct raftd *r, const struct member *m, const struct seen *s)
{
	struct register_request req = { .id = tag(m, "id"), .node = m->name, .address = m->addr, .skip_node_update = true };
	struct health_check check = { .node = m->name, .check_id = STR("serfHealth"), .name = STR("Serf Health Status"),
		.status = STR("passing"), .output = STR("Agent alive and reachable") };
	bool server = str_eqs(tag(m, "role"), "consul"), moved;
	struct consul_service own;

	moved = s->known && (!str_eq(s->view.node.address, m->addr) || !str_eq(s->view.node.id, req.id));
	if (server)
		consul_service(m, &own);
	if (s->known && !moved && has_health(s, "passing") && (!server || has_service(s, &own.service)))
		return;
	/* What others wrote of the node stays as it is. */
	if (moved) {
		req.skip_node_update = false;
		req.tagged_addresses = s->view.node.tagged_addresses;
		req.node_meta = s->view.node.meta;
	}
	if (server)
		req.service = (struct records){ &own.service, 1 };
	req.check = (struct records){ &check, 1 };
	log_info(SUB, "member joined, marking health alive: member=%.*s", STR_ARG(m->name));
	write_catalog(r, OP_CATALOG_REGISTER, &req, m->name);
}

static void
failed(struct raftd *r, const struct member *m, const struct seen *s)
{
	struct register_request req = { .id = tag(m, "id"), .node = m->name, .address = m->addr, .skip_node_update = true };
	struct health_check check = { .node = m->name, .check_id = STR("serfHealth"), .name = STR("Serf Health Status"),
		.status = STR("critical"), .output = STR("Agent not live or unreachable") };

	if (!s->known || has_health(s, "critical"))
		return;
	req.check = (struct records){ &check, 1 };
	log_info(SUB, "member failed, marking health critical: member=%.*s", STR_ARG(m->name));
	write_catalog(r, OP_CATALOG_REGISTER, &req, m->name);
}

static void
gone(struct raftd *r, struct str name, const char *reason)
{
	const struct deregister_request req = { .node = name };

	/* Our own leaving is for the next leader to write down. */
	if (str_eqs(name, r->node_name))
		return;
	log_info(SUB, "deregistering member: member=%.*s reason=%s", STR_ARG(name), reason);
	write_catalog(r, OP_CATALOG_DEREGISTER, &req, name);
}

static void
reconcile_member(struct raftd *r, const struct member *m)
{
	struct seen s;
	int rc;

	if (!str_eqs(tag(m, "dc"), r->datacenter))
		return;
	see_init(&s);
	rc = see(r, m->name, &s);
	if (rc < 0)
		log_warn(SUB, "failed to reconcile member: member=%.*s error=\"%s\"", STR_ARG(m->name), err_text(rc));
	else if (m->status == MEMBER_ALIVE)
		alive(r, m, &s);
	else if (m->status == MEMBER_FAILED)
		failed(r, m, &s);
	else if (m->status == MEMBER_LEFT && s.known)
		gone(r, m->name, "left");
	see_release(&s);
}

/* ---- the servers of the configuration */

static bool
lists(const struct member *v, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_nocase(v[i].name, name))
			return true;
	return false;
}

/* As gossip would tell of this server. */
static void
reconcile_server(struct raftd *r, const struct raft_server_info *s, enum server_health health)
{
	enum { PORT = 3 };
	struct strpair tags[] = { { STR("build"), s->version }, { STR("dc"), str_from(r->datacenter) }, { STR("id"), s->node_id },
		[PORT] = { STR("port"), STR_NONE }, { STR("raft_vsn"), STR("3") }, { STR("role"), STR("consul") } };
	struct member m = { .name = s->node, .tags = { tags, ARRAY_LEN(tags) }, .protocol_cur = 2, .protocol_min = 1, .protocol_max = 5,
		.status = health == SERVER_ALIVE ? MEMBER_ALIVE : MEMBER_FAILED };
	char ip[SERVER_IP_MAX], port[8];
	uint16_t number;

	if (servers_parse_address(s->address, ip, &number) < 0)
		return;
	(void)snprintf(port, sizeof(port), "%u", (unsigned)number);
	tags[PORT].value = str_from(port);
	m.addr = str_from(ip);
	reconcile_member(r, &m);
}

/* Those that gossip does not list, but ourselves. */
static void
reconcile_servers(struct raftd *r, const struct member *v, size_t n)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *s = c != NULL ? c->servers.v : NULL;
	uint64_t id;

	for (size_t i = 0; c != NULL && i < c->servers.n; i++) {
		enum server_health health = servers_parse_id(s[i].id, &id) == 0 ? autopilot_server(r, id) : SERVER_UNKNOWN;

		if (id != r->id && s[i].node.len > 0 && health != SERVER_UNKNOWN && !lists(v, n, s[i].node))
			reconcile_server(r, &s[i], health);
	}
}

/* ---- nodes that are members no more */

static bool
in_configuration(const struct raft_config_entry *c, struct str node)
{
	const struct raft_server_info *s = c != NULL ? c->servers.v : NULL;

	for (size_t i = 0; c != NULL && i < c->servers.n; i++)
		if (str_eq_nocase(s[i].node, node))
			return true;
	return false;
}

static void
reap(struct raftd *r, struct str node, bool whole_pool)
{
	struct seen s;
	int rc;

	see_init(&s);
	rc = see(r, node, &s);
	if (rc < 0)
		log_warn(SUB, "failed to reconcile member: member=%.*s error=\"%s\"", STR_ARG(node), err_text(rc));
	else if (s.known && (whole_pool || is_server(&s)))
		gone(r, node, "reaped");
	see_release(&s);
}

static void
reap_unknown(struct raftd *r, const struct member *v, size_t n)
{
	const struct raft_config_entry *config = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *servers = config != NULL ? config->servers.v : NULL;
	struct catalog_query q = { .state = STR("any") };
	struct buf bytes = BUF_INIT(ANSWER_MAX);
	struct arena a = ARENA_INIT(ANSWER_MAX);
	struct list checks = { { NULL, 0 } };
	const struct health_check *c;
	bool whole_pool = config != NULL;
	struct mp_r in;
	int rc = ask_state(r, OP_HEALTH_STATE, &q, &bytes);

	for (size_t i = 0; whole_pool && i < config->servers.n; i++)
		whole_pool = lists(v, n, servers[i].node);
	in = mp_r_init(bytes.data, bytes.len);
	if (rc == 0)
		rc = record_decode(&rec_checks, &in, &checks, &a);
	c = checks.v.v;
	for (size_t i = 0; rc == 0 && i < checks.v.n; i++)
		if (str_eqs(c[i].check_id, "serfHealth") && !lists(v, n, c[i].node) && !in_configuration(config, c[i].node))
			reap(r, c[i].node, whole_pool);
	if (rc < 0)
		log_warn(SUB, "cannot look for nodes that are members no more: error=\"%s\"", err_text(rc));
	arena_release(&a);
	buf_release(&bytes);
}

static void
reconcile(struct raftd *r)
{
	struct members *m = &r->members;
	struct arena a = ARENA_INIT(ANSWER_MAX);
	struct mp_r in = mp_r_init(m->last.data, m->last.len);
	struct list all = { { NULL, 0 } };
	const struct member *v;
	int rc = 0;

	if (!m->active || !engine_leads(r))
		return;
	/* What was written last is to be seen first, or it is written again. */
	m->again = fsm_time(r->engine.fsm) < m->written;
	if (m->again)
		return;
	if (m->last.len > 0)
		rc = record_decode(&rec_members, &in, &all, &a);
	if (rc < 0) {
		log_warn(SUB, "cannot read the list of members: %s", err_text(rc));
		all.v.n = 0;
	}
	v = all.v.v;
	for (size_t i = 0; i < all.v.n; i++)
		reconcile_member(r, &v[i]);
	reconcile_servers(r, v, all.v.n);
	/* Without a word from gossip nothing is known of who has gone. */
	if (all.v.n > 0)
		reap_unknown(r, v, all.v.n);
	arena_release(&a);
}

void
members_changed(struct raftd *r)
{
	if (r->members.active && !r->members.look.queued)
		loop_defer(&r->d->loop, DEFER_WORK, &r->members.look);
}

void
members_applied(struct raftd *r)
{
	if (r->members.again && fsm_time(r->engine.fsm) >= r->members.written)
		members_changed(r);
}

static void
on_look(struct defer *d)
{
	reconcile((struct raftd *)((char *)d - offsetof(struct raftd, members.look)));
}

/* ---- watching gossip */

static void on_answer(void *arg, const struct rpc_answer *a);

static void
watch_pool(struct raftd *r)
{
	const struct query_options o = { .min_index = r->members.index };
	const struct member_query q = { .wan = false };

	if (r->members.call == 0 && r->members.active)
		r->members.call = rpc_call_record(r->members.gossip, OP_GOSSIP_MEMBERS, &o, &q, RPC_RETRY | RPC_NO_DEADLINE, 0,
		    on_answer, r);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct raftd *r = arg;
	struct members *m = &r->members;
	struct query_meta meta;
	struct str payload;
	int rc = a->rc;

	m->call = 0;
	if (rc == 0)
		rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc == 0) {
		buf_clear(&m->last);
		rc = buf_add(&m->last, payload.p, payload.len);
	}
	if (rc < 0) {
		/* The timer asks again, from the beginning. */
		m->index = 0;
		if (m->active)
			(void)uv_timer_start(&m->timer, m->timer.timer_cb, ASK_AGAIN_MS, RECONCILE_MS);
		return;
	}
	/* An index that went back is that of another gossipd. */
	m->index = meta.index < m->index ? 0 : meta.index;
	reconcile(r);
	watch_pool(r);
}

static void
on_timer(uv_timer_t *t)
{
	struct raftd *r = t->data;

	watch_pool(r);
	reconcile(r);
}

int
members_init(struct raftd *r)
{
	struct members *m = &r->members;

	buf_init(&m->last, MEMBERS_MAX_BYTES);
	(void)uv_timer_init(&r->d->loop.uv, &m->timer);
	m->timer.data = r;
	m->timer.timer_cb = on_timer;
	m->look.cb = on_look;
	m->gossip = rpc_client_new(&r->d->loop, r->d->run_fd, "gossipd");
	return m->gossip != NULL ? 0 : -ENOMEM;
}

void
members_start(struct raftd *r)
{
	struct members *m = &r->members;

	m->active = true;
	m->index = 0;
	m->written = 0;
	m->again = false;
	/* What was heard when we led before is not true any more. */
	buf_clear(&m->last);
	watch_pool(r);
	(void)uv_timer_start(&m->timer, on_timer, RECONCILE_MS, RECONCILE_MS);
}

void
members_stop(struct raftd *r)
{
	struct members *m = &r->members;

	m->active = false;
	(void)uv_timer_stop(&m->timer);
	if (m->call != 0)
		rpc_cancel(m->gossip, m->call);
	m->call = 0;
}

void
members_release(struct raftd *r)
{
	loop_undefer(&r->d->loop, DEFER_WORK, &r->members.look);
	uv_close((uv_handle_t *)&r->members.timer, NULL);
	rpc_client_free(r->members.gossip);
	buf_release(&r->members.last);
}
