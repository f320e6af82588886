/*
 * members.c - the leader turns what it knows of the members into nodes,
 * serfHealth checks and the service "consul", as Consul's leader does: what
 * has changed at once, and once a minute everything.
 *
 * Members are those of gossip (pool.c) with the role "node" or "consul" in our
 * datacenter, and besides them the servers of the Raft configuration that
 * gossip does not list: they are as healthy as autopilot finds them. What is
 * in the catalog and no member any more is taken out, but only on good
 * evidence:
 * - a member that the last list of the same gossipd had is one no more;
 * - a node with the service "consul" is there because it was a server: it
 *   goes when it is neither in the configuration nor in gossip;
 * - any other node with serfHealth was a member of the pool: it goes
 *   when gossip does not list it, provided that this pool is the cluster's,
 *   that is, lists every server of the configuration. For both a gossipd that
 *   has just started is not asked: it has yet to find the others;
 * - nodes without serfHealth are somebody else's.
 */
#include <inttypes.h>
#include <stdio.h>

#include "config.h"
#include "raftd/raftd.h"

#define SUB "agent.server"

enum {
	AGAIN_MS = 5000,
	SETTLED_AGAIN_MS = POOL_SETTLED_MS + 100,	/* the loop's clock may be a little behind */
	ANSWER_MAX = 256 * 1024 * 1024,
};

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

/* A list, as payloads are. */
struct list {
	struct records v;
};
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
	int rc = fsm_query(r->engine.fsm, op, q, 0, NULL, &w, &index, NULL, &err);

	if (rc == 0 && err.code != 0)
		rc = -EINVAL;
	return rc == 0 ? w.err : rc;
}

/* By a name, or the beginning of an ID. */
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

/* The node of this name alone: what is no node's name may be the beginning of another one's ID. */
static int
see_named(struct raftd *r, struct str name, struct seen *s)
{
	int rc = see(r, name, s);

	if (rc == 0 && s->known && !str_eq_nocase(s->view.node.node, name)) {
		s->known = false;
		s->view = (struct node_view){ .node = { .node = STR_NONE } };
	}
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

/* The part of the build tag in front of its revision: "1.10.12:abc". */
static struct str
version(const struct member *m)
{
	struct str build = pool_tag(m, "build");
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

static void
consul_service(const struct member *m, struct consul_service *ret)
{
	(void)snprintf(ret->current, sizeof(ret->current), "%" PRId64, m->protocol_cur);
	(void)snprintf(ret->min, sizeof(ret->min), "%" PRId64, m->protocol_min);
	(void)snprintf(ret->max, sizeof(ret->max), "%" PRId64, m->protocol_max);
	ret->meta[0] = (struct strpair){ STR("non_voter"), STR("false") };
	ret->meta[1] = (struct strpair){ STR("raft_version"), pool_tag(m, "raft_vsn") };
	ret->meta[2] = (struct strpair){ STR("read_replica"), STR("false") };
	ret->meta[3] = (struct strpair){ STR("serf_protocol_current"), str_from(ret->current) };
	ret->meta[4] = (struct strpair){ STR("serf_protocol_max"), str_from(ret->max) };
	ret->meta[5] = (struct strpair){ STR("serf_protocol_min"), str_from(ret->min) };
	ret->meta[6] = (struct strpair){ STR("version"), version(m) };
	ret->service = (struct node_service){ .id = STR("consul"), .service = STR("consul"), .port = pool_port(m),
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
	/* What one could not be written for the others have to wait for, too. */
	int rc = !r->members.failed ? propose_own(r, op, request) : 0;

	r->members.written = r->engine.time_last;
	if (rc == 0)
		return;
	r->members.failed = true;
	log_warn(SUB, "failed to reconcile member: member=%.*s error=\"%s\"", STR_ARG(member), err_text(rc));
}

static void
write_health(struct raftd *r, const struct member *m, struct register_request *req, bool passing)
{
	struct health_check check = { .node = m->name, .check_id = STR("serfHealth"), .name = STR("Serf Health Status"),
		.status = passing ? STR("passing") : STR("critical"),
		.output = passing ? STR("Agent alive and reachable") : STR("Agent not live or unreachable") };

	req->check = (struct records){ &check, 1 };
	write_catalog(r, OP_CATALOG_REGISTER, req, m->name);
}

/* The member of this name, whatever the case, that is alive and has this ID; but not m. */
static bool
lives(const struct raftd *r, struct str name, struct str id, const struct member *m)
{
	const struct pool_list *l = pool_members(r);
	const struct member *x = pool_list_find(l, name);

	for (; x != NULL && x < l->v + l->n && str_eq_nocase(x->name, name); x++)
		if (x->status == MEMBER_ALIVE && str_eq_nocase(pool_tag(x, "id"), id) && !str_eq(x->name, m->name))
			return true;
	return false;
}

/* The node in the catalog is that of another member, who is alive and has the same name in other letters. */
static bool
is_of_other(const struct raftd *r, const struct member *m, const struct seen *s)
{
	return s->known && s->view.node.id.len > 0 && lives(r, m->name, s->view.node.id, m);
}

/* The catalog has the member's ID under the name of another one, who is alive. */
static bool
id_is_of_other(struct raftd *r, const struct member *m)
{
	struct str id = pool_tag(m, "id");
	struct seen s;
	bool yes;

	if (id.len == 0)
		return false;
	see_init(&s);
	yes = see(r, id, &s) == 0 && s.known && str_eq_nocase(s.view.node.id, id) && !str_eq_nocase(s.view.node.node, m->name) &&
	    lives(r, s.view.node.node, id, m);
	see_release(&s);
	return yes;
}

/* Whether somebody else who is alive has what the member claims: who is in the catalog stays there. */
static bool
claimed(struct raftd *r, const struct member *m, const struct seen *s, bool new_id)
{
	const char *what = is_of_other(r, m, s) ? "name" : new_id && id_is_of_other(r, m) ? "node ID" : NULL;

	if (what != NULL)
		log_warn(SUB, "another member that is alive has the same %s, not registering: member=%.*s address=%.*s", what,
		    STR_ARG(m->name), STR_ARG(m->addr));
	return what != NULL;
}

static void
drop_consul_service(struct raftd *r, const struct member *m)
{
	const struct deregister_request req = { .node = m->name, .service_id = STR("consul") };

	log_info(SUB, "a member is no server of ours any more: member=%.*s", STR_ARG(m->name));
	write_catalog(r, OP_CATALOG_DEREGISTER, &req, m->name);
}

/*
 * What others wrote of the node stays as it is. When another machine has taken over the name the
 * one before has failed, with its sessions, and only then the name is free.
 */
static void
put_node(struct raftd *r, const struct member *m, const struct seen *s, bool moved, bool other_id, struct register_request *req)
{
	struct register_request old = { .node = m->name, .address = m->addr, .skip_node_update = true };

	if (other_id && serf_health(&s->checks) != NULL && !has_health(s, "critical")) {
		log_info(SUB, "a node has another ID, the one before has failed: member=%.*s", STR_ARG(m->name));
		write_health(r, m, &old, false);
	}
	if (moved) {
		req->skip_node_update = false;
		req->tagged_addresses = s->view.node.tagged_addresses;
		req->node_meta = s->view.node.meta;
	}
	log_info(SUB, "member joined, marking health alive: member=%.*s", STR_ARG(m->name));
	write_health(r, m, req, true);
}

static void
alive(struct raftd *r, const struct member *m, const struct seen *s)
{
	struct register_request req = { .id = pool_tag(m, "id"), .node = m->name, .address = m->addr, .skip_node_update = true };
	bool server = pool_is_server(m) && pool_is_ours(m), other_id, moved;
	struct consul_service own;

	/* A member that tells no ID has none to differ. */
	if (req.id.len == 0)
		req.id = s->view.node.id;
	other_id = s->known && s->view.node.id.len > 0 && !str_eq_nocase(s->view.node.id, req.id);
	moved = s->known && (!str_eq(s->view.node.address, m->addr) || !str_eq(s->view.node.id, req.id));
	if (server)
		consul_service(m, &own);
	if (!server && is_server(s))
		drop_consul_service(r, m);
	if (s->known && !moved && has_health(s, "passing") && (!server || has_service(s, &own.service)))
		return;
	if ((!s->known || moved) && claimed(r, m, s, !s->known || other_id))
		return;
	if (server)
		req.service = (struct records){ &own.service, 1 };
	put_node(r, m, s, moved, other_id, &req);
}

static void
failed(struct raftd *r, const struct member *m, const struct seen *s)
{
	struct register_request req = { .id = pool_tag(m, "id"), .node = m->name, .address = m->addr, .skip_node_update = true };

	if (!s->known || has_health(s, "critical"))
		return;
	log_info(SUB, "member failed, marking health critical: member=%.*s", STR_ARG(m->name));
	write_health(r, m, &req, false);
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

/* Whether the node in the catalog is there because of this member, rather than somebody else's. */
static bool
is_node_of(const struct member *m, const struct seen *s)
{
	struct str id = pool_tag(m, "id");

	return s->known && (serf_health(&s->checks) != NULL || (id.len > 0 && str_eq_nocase(s->view.node.id, id)));
}

static void
reconcile_member(struct raftd *r, const struct member *m)
{
	struct seen s;
	int rc;

	see_init(&s);
	rc = see_named(r, m->name, &s);
	if (rc < 0) {
		r->members.failed = true;
		log_warn(SUB, "failed to reconcile member: member=%.*s error=\"%s\"", STR_ARG(m->name), err_text(rc));
	} else if (m->status == MEMBER_ALIVE) {
		alive(r, m, &s);
	} else if (m->status == MEMBER_FAILED && is_node_of(m, &s) && !is_of_other(r, m, &s)) {
		failed(r, m, &s);
	} else if (m->status == MEMBER_LEFT && is_node_of(m, &s) && !is_of_other(r, m, &s)) {
		gone(r, m->name, "left");
	}
	see_release(&s);
}

/* Whatever else is in the pool, a bare serf agent for example, is no node of the catalog. */
static bool
concerns_us(const struct raftd *r, const struct member *m)
{
	return str_eqs(pool_tag(m, "dc"), r->datacenter) && (str_eqs(pool_tag(m, "role"), "node") || pool_is_server(m));
}

/* ---- the servers of the configuration */

/* As gossip would tell of this server. */
static void
reconcile_server(struct raftd *r, const struct raft_server_info *s, enum server_health health)
{
	enum { PORT = 4 };
	struct strpair tags[] = { { STR("build"), s->version.len > 0 ? s->version : STR(PACKAGE_VERSION) }, { STR("dc"), str_from(r->datacenter) }, { STR("ft_consulctl"), STR("1") },
		{ STR("id"), s->node_id }, [PORT] = { STR("port"), STR_NONE }, { STR("raft_vsn"), STR("3") }, { STR("role"), STR("consul") },
		{ STR("vsn"), STR("2") } };
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
reconcile_servers(struct raftd *r, const struct pool_list *l)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *s = c != NULL ? c->servers.v : NULL;
	uint64_t id;

	for (size_t i = 0; c != NULL && i < c->servers.n; i++) {
		enum server_health health = servers_parse_id(s[i].id, &id) == 0 ? autopilot_server(r, id) : SERVER_UNKNOWN;

		if (id != r->id && s[i].node.len > 0 && health != SERVER_UNKNOWN &&
		    pool_list_find(l, s[i].node) == NULL)
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
	rc = see_named(r, node, &s);
	if (rc < 0)
		log_warn(SUB, "failed to reconcile member: member=%.*s error=\"%s\"", STR_ARG(node), err_text(rc));
	else if (s.known && serf_health(&s.checks) != NULL && (whole_pool || is_server(&s)))
		gone(r, node, "reaped");
	see_release(&s);
}

static void
reap_unknown(struct raftd *r, const struct pool_list *l)
{
	const struct raft_config_entry *config = configs_current(r->engine.configs, NULL);
	const struct raft_server_info *servers = config != NULL ? config->servers.v : NULL;
	struct catalog_query q = { .state = STR("any"), .filter = STR("CheckID == serfHealth") };
	struct buf bytes = BUF_INIT(ANSWER_MAX);
	struct arena a = ARENA_INIT(ANSWER_MAX);
	struct list checks = { { NULL, 0 } };
	const struct health_check *c;
	bool whole_pool = config != NULL;
	struct mp_r in;
	int rc = ask_state(r, OP_HEALTH_STATE, &q, &bytes);

	for (size_t i = 0; whole_pool && i < config->servers.n; i++)
		whole_pool = pool_list_find(l, servers[i].node) != NULL;
	in = mp_r_init(bytes.data, bytes.len);
	if (rc == 0)
		rc = record_decode(&rec_checks, &in, &checks, &a);
	c = checks.v.v;
	for (size_t i = 0; rc == 0 && i < checks.v.n; i++)
		if (pool_list_find(l, c[i].node) == NULL && !in_configuration(config, c[i].node))
			reap(r, c[i].node, whole_pool);
	if (rc < 0)
		log_warn(SUB, "cannot look for nodes that are members no more: error=\"%s\"", err_text(rc));
	arena_release(&a);
	buf_release(&bytes);
}

/* ---- what has changed */

/* Who was in the list before and is not in this one. */
static void
vanished(struct raftd *r, const struct pool_list *l, const struct member *m)
{
	if (concerns_us(r, m) && pool_list_find(l, m->name) == NULL &&
	    !in_configuration(configs_current(r->engine.configs, NULL), m->name))
		reap(r, m->name, true);
}

/* Both are in the same order. Without a list before, everybody is new. whole: look also at what has not changed. */
static void
reconcile_list(struct raftd *r, const struct pool_list *was, const struct pool_list *is, bool whole)
{
	size_t nwas = was != NULL ? was->n : 0, at = 0;

	for (size_t i = 0; i < is->n; i++) {
		const struct member *m = &is->v[i], *old;

		while (at < nwas && pool_name_cmp(was->v[at].name, m->name) < 0)
			vanished(r, is, &was->v[at++]);
		old = at < nwas && str_eq(was->v[at].name, m->name) ? &was->v[at++] : NULL;
		if (concerns_us(r, m) && (whole || old == NULL || !record_equal(&rec_member, old, m, NULL)))
			reconcile_member(r, m);
	}
	while (at < nwas)
		vanished(r, is, &was->v[at++]);
}

static void
reconcile(struct raftd *r)
{
	struct members *m = &r->members;
	struct pool_list *l = pool_members(r);
	bool whole = m->whole, other_life = l != NULL && (m->done == NULL || m->done->life != l->life);

	if (!m->active || !engine_leads(r))
		return;
	/* What was written last is to be seen first, or it is written again. */
	m->again = fsm_time(r->engine.fsm) < m->written;
	if (m->again)
		return;
	m->whole = m->failed = false;
	/* Without a word from gossip nothing is known of who has gone. */
	if (l != NULL && l->n > 0) {
		reconcile_list(r, other_life ? NULL : m->done, l, whole);
		if (whole && pool_settled(r))
			reap_unknown(r, l);
	}
	reconcile_servers(r, l);
	if (l != m->done) {
		pool_list_free(m->done);
		m->done = pool_list_ref(l);
	}
	/* What could not be done is tried again soon; who is missing is looked for as soon as that is known. */
	if (m->failed)
		m->whole = true;
	if (m->failed || other_life)
		(void)uv_timer_start(&m->timer, m->timer.timer_cb, m->failed ? AGAIN_MS : SETTLED_AGAIN_MS, RECONCILE_MS);
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

void
members_restored(struct raftd *r)
{
	r->members.whole = true;
	members_changed(r);
}

static void
on_look(struct defer *d)
{
	reconcile((struct raftd *)((char *)d - offsetof(struct raftd, members.look)));
}

static void
on_timer(uv_timer_t *t)
{
	struct raftd *r = t->data;

	r->members.whole = true;
	reconcile(r);
}

/* ---- start and end */

int
members_init(struct raftd *r)
{
	struct members *m = &r->members;

	(void)uv_timer_init(&r->d->loop.uv, &m->timer);
	m->timer.data = r;
	m->timer.timer_cb = on_timer;
	m->look.cb = on_look;
	return 0;
}

void
members_start(struct raftd *r)
{
	struct members *m = &r->members;

	m->active = true;
	m->written = 0;
	m->again = m->failed = false;
	/* What happened while nobody led is found by looking at everything. */
	m->whole = true;
	(void)uv_timer_start(&m->timer, on_timer, RECONCILE_MS, RECONCILE_MS);
	members_changed(r);
}

void
members_stop(struct raftd *r)
{
	struct members *m = &r->members;

	m->active = false;
	(void)uv_timer_stop(&m->timer);
	pool_list_free(m->done);
	m->done = NULL;
}

void
members_release(struct raftd *r)
{
	loop_undefer(&r->d->loop, DEFER_WORK, &r->members.look);
	uv_close((uv_handle_t *)&r->members.timer, NULL);
	pool_list_free(r->members.done);
	r->members.done = NULL;
}
