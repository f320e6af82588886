/*
 * pool.c - the members of the LAN pool as our own gossipd tells them, and
 * which of them are servers that we talk to.
 *
 * There is one watch of gossip.members a node. While gossipd is away the last
 * list stays. One that was restarted knows nobody until it has joined again:
 * its lists are of another life, nothing follows from who is missing in
 * them at first, and servers that were known before are still asked for a
 * while.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sock.h"
#include "raftd/raftd.h"

#define SUB "agent.server.serf"
#define SUB_CLIENT "agent.client.serf"

enum {
	LIST_ARENA_MAX = 256 * 1024 * 1024,
	LIST_BYTES_MAX = 64 * 1024 * 1024,
	ASK_AGAIN_MS = 1000,		/* after an error */
	PAUSE_PER = 10,			/* members a millisecond that passes between two lists: a large pool changes often */
	PAUSE_MAX_MS = 1000,
	EVENT_MS = 5000,
};

struct pool {
	struct raftd *r;
	struct rpc_client *gossip;
	uint32_t call;
	uint64_t index, life;
	bool lost;			/* gossipd has gone since the last list */
	uv_timer_t timer;		/* asks again; forgets */
	struct pool_list *list;
	struct pool_server servers[POOL_SERVERS_MAX];
	size_t nservers;
	struct log_limit many;
};

/* The list as it comes: a bare array. */
struct members_list {
	struct records v;
};
static const struct field f_members[] = { FIELD_SUB(members_list, v, "", F_RECORDS, 0, rec_member) };
static RECORD(rec_members, members_list, "", f_members);

/* ---- one member */

struct str
pool_tag(const struct member *m, const char *name)
{
	const struct str *v = strmap_get(&m->tags, str_from(name));

	return v != NULL ? *v : STR_NONE;
}

static bool
is_number(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.len > 0 && s.len <= 9;
}

/* "1.10.12:abc": three numbers, whatever follows them. */
static bool
is_build(struct str s)
{
	size_t i = 0;

	for (int part = 0; part < 3; part++) {
		size_t from = i;

		while (i < s.len && s.p[i] >= '0' && s.p[i] <= '9')
			i++;
		if (i == from || (part < 2 && (i == s.len || s.p[i++] != '.')))
			return false;
	}
	return true;
}

int64_t
pool_port(const struct member *m)
{
	struct str s = pool_tag(m, "port");
	int64_t port = 0;

	for (size_t i = 0; is_number(s) && i < s.len; i++)
		port = port * 10 + (s.p[i] - '0');
	return port <= UINT16_MAX ? port : 0;
}

bool
pool_is_server(const struct member *m)
{
	struct str expect = pool_tag(m, "expect"), raft = pool_tag(m, "raft_vsn");

	return str_eqs(pool_tag(m, "role"), "consul") && pool_port(m) > 0 && is_number(pool_tag(m, "vsn")) &&
	    is_build(pool_tag(m, "build")) && (expect.len == 0 || is_number(expect)) && (raft.len == 0 || is_number(raft));
}

static bool
has_tag(const struct member *m, const char *name)
{
	return strmap_get(&m->tags, str_from(name)) != NULL;
}

bool
pool_is_ours(const struct member *m)
{
	return has_tag(m, "ft_consulctl");
}

/* ---- lists */

static int
by_name(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return pool_name_cmp(x->name, y->name);
}

int
pool_name_cmp(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int rc = n > 0 ? strncasecmp(a.p, b.p, n) : 0;

	if (rc == 0 && a.len != b.len)
		rc = a.len < b.len ? -1 : 1;
	return rc != 0 ? rc : str_cmp(a, b);
}

struct pool_list *
pool_list_ref(struct pool_list *l)
{
	if (l != NULL)
		l->refs++;
	return l;
}

void
pool_list_free(struct pool_list *l)
{
	if (l == NULL || --l->refs > 0)
		return;
	arena_release(&l->arena);
	free(l);
}

/* NULL with a negative code in *ret_rc. */
static struct pool_list *
list_new(struct str bytes, int *ret_rc)
{
	struct pool_list *l = bytes.len <= LIST_BYTES_MAX ? malloc(sizeof(*l) + bytes.len) : NULL;
	struct members_list all;
	struct mp_r in;

	*ret_rc = bytes.len <= LIST_BYTES_MAX ? -ENOMEM : -ELIMIT;
	if (l == NULL)
		return NULL;
	*l = (struct pool_list){ .refs = 1 };
	arena_init(&l->arena, LIST_ARENA_MAX);
	if (bytes.len > 0)
		memcpy(l->bytes, bytes.p, bytes.len);
	in = mp_r_init(l->bytes, bytes.len);
	*ret_rc = record_decode(&rec_members, &in, &all, &l->arena);
	if (*ret_rc < 0) {
		pool_list_free(l);
		return NULL;
	}
	l->v = all.v.v;
	l->n = all.v.n;
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), by_name);
	return l;
}

const struct member *
pool_list_find(const struct pool_list *l, struct str name)
{
	size_t lo = 0, hi = l != NULL ? l->n : 0;

	/* The first one of this name, whatever its case. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct str s = l->v[mid].name;
		size_t n = s.len < name.len ? s.len : name.len;
		int rc = n > 0 ? strncasecmp(s.p, name.p, n) : 0;

		if (rc < 0 || (rc == 0 && s.len < name.len))
			lo = mid + 1;
		else
			hi = mid;
	}
	return l != NULL && lo < l->n && str_eq_nocase(l->v[lo].name, name) ? &l->v[lo] : NULL;
}

/* ---- the servers among them */

static bool
make_server(const struct raftd *r, const struct member *m, struct pool_server *ret)
{
	char ip[SERVER_IP_MAX];
	uint16_t port;

	*ret = (struct pool_server){ .status = m->status, .until_ms = UINT64_MAX };
	if (m->status <= MEMBER_NONE || m->status > MEMBER_FAILED)
		return false;
	if (!pool_is_server(m) || !pool_is_ours(m) || !str_eqs(pool_tag(m, "dc"), r->datacenter) || m->addr.len >= SERVER_IP_MAX ||
	    m->name.len >= sizeof(ret->node) || pool_tag(m, "id").len >= sizeof(ret->node_id))
		return false;
	(void)snprintf(ret->address, sizeof(ret->address), memchr(m->addr.p, ':', m->addr.len) != NULL ? "[%.*s]:%d" : "%.*s:%d",
	    STR_ARG(m->addr), (int)pool_port(m));
	(void)snprintf(ret->node, sizeof(ret->node), "%.*s", STR_ARG(m->name));
	(void)snprintf(ret->node_id, sizeof(ret->node_id), "%.*s", STR_ARG(pool_tag(m, "id")));
	return servers_parse_address(str_from(ret->address), ip, &port) == 0;
}

static const struct pool_server *
find_server(const struct pool_server *v, size_t n, const char *node)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].node, node) == 0)
			return &v[i];
	return NULL;
}

/* Those that a gossipd of another life has not heard of yet. */
static void
keep_known(struct pool *p, const struct pool_server *was, size_t nwas, uint64_t now)
{
	for (size_t i = 0; i < nwas && p->nservers < POOL_SERVERS_MAX; i++) {
		struct pool_server s = was[i];

		if (s.until_ms == UINT64_MAX && now < p->list->since_ms + POOL_SETTLED_MS)
			s.until_ms = p->list->since_ms + POOL_SETTLED_MS;
		s.changed = false;
		if (s.until_ms != UINT64_MAX && s.until_ms > now && pool_list_find(p->list, str_from(s.node)) == NULL)
			p->servers[p->nservers++] = s;
	}
}

static void
take_servers(struct pool *p, bool other_life, uint64_t now)
{
	struct pool_server *was = p->nservers > 0 ? malloc(p->nservers * sizeof(*was)) : NULL;
	size_t nwas = was != NULL ? p->nservers : 0;
	const char *note;

	if (nwas > 0)
		memcpy(was, p->servers, nwas * sizeof(*was));
	p->nservers = 0;
	for (size_t i = 0; i < p->list->n; i++) {
		struct pool_server s;
		const struct pool_server *old;

		if (!make_server(p->r, &p->list->v[i], &s))
			continue;
		if (p->nservers == POOL_SERVERS_MAX) {
			if (log_allowed(&p->many, now, &note))
				log_warn(SUB, "too many servers in the pool, some are not asked: max=%d%s", POOL_SERVERS_MAX, note);
			break;
		}
		old = find_server(was, nwas, s.node);
		if (old == NULL && pool_server_usable(&s))
			log_info(p->r->server ? "agent.server" : "agent.client", "%s: server=\"%s (Addr: tcp/%s) (DC: %s)\"",
			    p->r->server ? "Adding LAN server" : "adding server", s.node, s.address, p->r->datacenter);
		s.since_ms = old != NULL && old->status == s.status ? old->since_ms : now;
		s.changed = old != NULL && old->status != s.status;
		p->servers[p->nservers++] = s;
	}
	/* Within one life who is missing has been forgotten by the pool, but for those that an earlier one knew. */
	for (size_t i = 0; !other_life && i < nwas;)
		if (was[i].until_ms == UINT64_MAX)
			was[i] = was[--nwas];
		else
			i++;
	keep_known(p, was, nwas, now);
	free(was);
}

const struct pool_server *
pool_servers(const struct raftd *r, size_t *ret_n)
{
	*ret_n = r->pool != NULL ? r->pool->nservers : 0;
	return r->pool != NULL ? r->pool->servers : NULL;
}

bool
pool_server_usable(const struct pool_server *s)
{
	return (s->status == MEMBER_ALIVE || s->status == MEMBER_LEAVING) && (s->until_ms == UINT64_MAX || clock_ms() < s->until_ms);
}

size_t
pool_usable(const struct raftd *r)
{
	size_t all, n = 0;
	const struct pool_server *v = pool_servers(r, &all);

	for (size_t i = 0; i < all; i++)
		n += pool_server_usable(&v[i]);
	return n;
}

/* By its node ID; by its address when one of the two does not tell the ID. */
static bool
is_server_of(const struct pool_server *p, const struct raft_server_info *s)
{
	if (p->node_id[0] != 0 && s->node_id.len > 0)
		return str_eq_nocase(s->node_id, str_from(p->node_id));
	return str_eqs(s->address, p->address);
}

/* How much a status says, when several members have one node ID: who is there is not elsewhere. */
static int
weight(int64_t status)
{
	static const int weights[] = { [MEMBER_ALIVE] = 4, [MEMBER_LEAVING] = 3, [MEMBER_FAILED] = 2, [MEMBER_LEFT] = 1 };

	return status > MEMBER_NONE && (size_t)status < ARRAY_LEN(weights) ? weights[status] : 0;
}

/* A server that has another name now leaves the old one behind as one that has left; anybody may tell an ID that is not its own. */
enum member_status
pool_status(const struct raftd *r, const struct raft_server_info *s)
{
	size_t n;
	const struct pool_server *v = pool_servers(r, &n);
	int64_t best = MEMBER_NONE;

	/* What an earlier life told is not known any more. */
	for (size_t i = 0; i < n; i++)
		if (v[i].until_ms == UINT64_MAX && is_server_of(&v[i], s) && weight(v[i].status) > weight(best))
			best = v[i].status;
	return (enum member_status)best;
}

/* The leader's node has failed or left: no need to wait for the election timeout. */
static void
look_at_leader(struct pool *p)
{
	struct raftd *r = p->r;
	uint64_t leader = r->server ? r->engine.core.leader : 0;
	const struct raft_server_info *s = servers_find(configs_current(r->engine.configs, NULL), leader);

	for (size_t i = 0; s != NULL && leader != r->id && i < p->nservers; i++) {
		const struct pool_server *x = &p->servers[i];

		if (!x->changed || !is_server_of(x, s) || (int64_t)pool_status(r, s) != x->status || pool_server_usable(x))
			continue;
		log_info(SUB, "the leader's node has %s: node=%s address=%s", x->status == MEMBER_LEFT ? "left" : "failed", x->node, x->address);
		engine_peer_lost(r, leader);
		return;
	}
}

/* ---- the watch */

static void on_answer(void *arg, const struct rpc_answer *a);

static void
ask(struct pool *p)
{
	const struct query_options o = { .min_index = p->index, .internal = true };
	const struct member_query q = { .wan = false };

	if (p->call == 0 && !p->r->d->draining)
		p->call = rpc_call_record(p->gossip, OP_GOSSIP_MEMBERS, &o, &q, RPC_NO_DEADLINE, 0, on_answer, p);
	if (p->call == 0)
		(void)uv_timer_start(&p->timer, p->timer.timer_cb, ASK_AGAIN_MS, 0);
}

static void
tell(struct pool *p)
{
	struct raftd *r = p->r;

	if (!r->server) {
		forward_pool_changed(r);
		return;
	}
	look_at_leader(p);
	join_pool_changed(r);
	autopilot_pool_changed(r);
	members_changed(r);
}

static void
take(struct pool *p, struct pool_list *l, uint64_t index)
{
	uint64_t now = clock_ms();
	bool other = p->list == NULL || p->lost || index < p->index;

	p->life += other;
	l->life = p->life;
	l->since_ms = other ? now : p->list->since_ms;
	if (other)
		log_info(p->r->server ? SUB : SUB_CLIENT, "the members are known: members=%zu", l->n);
	pool_list_free(p->list);
	p->list = l;
	p->index = index;
	p->lost = false;
	take_servers(p, other, now);
	log_debug(p->r->server ? SUB : SUB_CLIENT, "the pool has changed: members=%zu servers=%zu", l->n, p->nservers);
	tell(p);
}

/* Small pools at once; of a large one not every single change, and none that is no change. */
static void
pause_then_ask(struct pool *p, bool same)
{
	uint64_t ms = same ? ASK_AGAIN_MS : p->list->n / PAUSE_PER;

	if (ms == 0)
		ask(p);
	else
		(void)uv_timer_start(&p->timer, p->timer.timer_cb, ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS, 0);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct pool *p = arg;
	struct pool_list *l = NULL;
	struct query_meta meta;
	struct str payload;
	int rc = a->rc;

	p->call = 0;
	if (rc == 0)
		rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc == 0)
		l = list_new(payload, &rc);
	if (l != NULL) {
		bool same = meta.index == p->index;

		take(p, l, meta.index);
		pause_then_ask(p, same);
		return;
	}
	if (rc != -EUNKNOWN)
		log_warn(p->r->server ? SUB : SUB_CLIENT, "gossipd does not tell the members: error=\"%s\"", err_text(rc));
	p->index = 0;
	if (rc == -EUNKNOWN)
		ask(p);
	else
		(void)uv_timer_start(&p->timer, p->timer.timer_cb, ASK_AGAIN_MS, 0);
}

static void
on_timer(uv_timer_t *t)
{
	ask(t->data);
}

static void
on_gossip_state(void *arg, bool up)
{
	struct pool *p = arg;

	if (!up)
		p->lost = true;
}

/* ---- for others */

struct pool_list *
pool_members(const struct raftd *r)
{
	return r->pool != NULL ? r->pool->list : NULL;
}

bool
pool_settled(const struct raftd *r)
{
	const struct pool *p = r->pool;

	return p != NULL && p->list != NULL && !p->lost && clock_ms() - p->list->since_ms >= POOL_SETTLED_MS;
}

static void
on_announced(void *arg, const struct rpc_answer *a)
{
	(void)arg;
	if (a->rc < 0)
		log_warn(SUB, "failed to broadcast new leader event: error=\"%s\"", err_text(a->rc));
}

void
pool_new_leader(struct raftd *r)
{
	const struct serf_event e = { .name = STR("consul:new-leader"), .payload = str_from(r->node_name) };
	const struct query_options o = { .internal = true };

	if (rpc_call_record(r->pool->gossip, OP_GOSSIP_SERF_EVENT, &o, &e, 0, EVENT_MS, on_announced, r) == 0)
		log_warn(SUB, "failed to broadcast new leader event: error=\"%s\"", err_text(-ENOMEM));
}

/* ---- start and end */

int
pool_init(struct raftd *r)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->r = r;
	r->pool = p;
	(void)uv_timer_init(&r->d->loop.uv, &p->timer);
	p->timer.data = p;
	p->timer.timer_cb = on_timer;
	p->gossip = rpc_client_new(&r->d->loop, r->d->run_fd, "gossipd");
	if (p->gossip == NULL)
		return -ENOMEM;
	rpc_client_on_state(p->gossip, on_gossip_state, p);
	return 0;
}

struct rpc_client *
pool_gossip(struct raftd *r)
{
	return r->pool->gossip;
}

void
pool_start(struct raftd *r)
{
	ask(r->pool);
}

static void
free_pool(uv_handle_t *h)
{
	free(h->data);
}

void
pool_release(struct raftd *r)
{
	struct pool *p = r->pool;

	if (p == NULL)
		return;
	r->pool = NULL;
	rpc_client_free(p->gossip);
	pool_list_free(p->list);
	uv_close((uv_handle_t *)&p->timer, free_pool);
}
