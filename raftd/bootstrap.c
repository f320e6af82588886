/*
 * bootstrap.c - the first configuration of a new cluster, out of servers
 * that belong to none.
 *
 * With bootstrap_expect = 1, -bootstrap or -dev a server with an empty
 * directory begins at once, alone. With N > 1 it asks around (join.c), every
 * server that gossip knows and whoever those tell of, until N servers have
 * told within the last seconds that they are empty and expect to be among N,
 * and no server whose node is alive has yet to be heard. The one with the
 * lowest data-directory id among the N lowest draws a random cluster id and
 * proposes itself and the others as the voters of that cluster. Each of them
 * agrees when it is empty, expects N too, has met no server of any cluster and
 * keeps to no other proposal; it then keeps to this one for ten seconds. When
 * all have agreed within two seconds of the first offer the proposer writes
 * entry 1 and stands for election.
 *
 * Why two clusters cannot come out of N servers. A data directory belongs to
 * at most one cluster for ever: the first message of a cluster that a server
 * acts on, its vote included, puts the cluster's id on disk before anything
 * is answered, and messages of another are refused from then on. A cluster
 * does nothing, above all acknowledges nothing, without votes and disks of a
 * majority of its first configuration. If there are exactly N directories
 * that expect N, each first configuration holds all of them; two majorities
 * of the same N have a server in common, which would have to belong to both.
 * So even when agreements are forgotten (a restart, a proposer that was
 * stopped for longer than they are kept) at most one of the proposals comes
 * to life; the author of the other finds its voters in another cluster. The
 * agreements are there so that this does not happen: they serialise the
 * proposals while everybody is up.
 *
 * Gossip has no part in that argument: it says whom to ask, and what it says
 * may be late, incomplete or wrong. Who is there, empty and agrees is known
 * from each server itself, by its directory. A server that gossip does not
 * list, or lists under a wrong address, is one that does not answer; one that
 * it lists twice answers twice with the same id and counts once.
 *
 * A server that was wiped counts as a new directory. As long as one server
 * of the old cluster can be reached nobody begins a new one.
 *
 * So it takes a mistake: bootstrap_expect = 1 (or -bootstrap) on two servers
 * that are to be one cluster; 2N or more servers that expect N and cannot
 * see each other, in pools that nobody has joined or behind a cut network,
 * when first started (with N+1 to 2N-1 a proposer must also be cut off for
 * more than ten seconds between its decision and its first message, and its
 * first configuration be split between it and the next); or as many wiped
 * servers at once as make N empty ones, out of reach of the rest.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "raftd/join.h"

#define SUB "agent.server"

bool
join_empty(const struct raftd *r)
{
	return r->cluster[0] == 0 && configs_current(r->engine.configs, NULL) == NULL && r->engine.core.trail.last == 0;
}

static void
draw_cluster(char out[17])
{
	uint64_t id = 0;

	while (id == 0)
		randombytes_buf(&id, sizeof(id));
	servers_format_id(id, out);
}

void
bootstrap_alone(struct raftd *r)
{
	struct raft_server_info own = servers_own(r);
	struct raft_config_entry c = { .servers = { &own, 1 } };
	char cluster[17];
	int rc;

	draw_cluster(cluster);
	own.voter = true;
	c.cluster = str_from(cluster);
	rc = engine_bootstrap(r, &c);
	if (rc < 0)
		log_fatal(SUB, "cannot begin a cluster: %s", err_text(rc));
}

/* ---- who is there */

static uint64_t
id_of(const struct raft_server_info *s)
{
	uint64_t id = 0;

	return servers_parse_id(s->id, &id) == 0 ? id : 0;
}

static int
by_id(const void *a, const void *b)
{
	const struct raft_server_info *x = a, *y = b;

	return str_cmp(x->id, y->id);
}

/* Ourselves and all who told lately that they wait to begin; in the order of their ids. */
static size_t
gather(struct join *j, uint64_t now, struct raft_server_info v[JOIN_TARGETS_MAX + 1])
{
	size_t n = 0;

	v[n] = servers_own(j->r);
	v[n++].voter = true;
	for (size_t i = 0; i < j->ntargets; i++) {
		const struct target *t = j->targets[i];
		bool there = t->info != NULL && t->info->voter && !t->own && t->heard_ms + JOIN_FRESH_MS > now;

		for (size_t k = 0; there && k < n; k++)
			there = !str_eq(v[k].id, t->info->id);
		if (there)
			v[n++] = *t->info;
	}
	qsort(v, n, sizeof(*v), by_id);
	return n;
}

static const struct target *
of_cluster(const struct join *j)
{
	for (size_t i = 0; i < j->ntargets; i++)
		if (j->targets[i]->heard_ms != 0 && j->targets[i]->cluster[0] != 0)
			return j->targets[i];
	return NULL;
}

/* One that gossip has told of a moment ago may belong to a cluster: it is heard first, or found not to answer. */
static bool
all_heard(const struct join *j)
{
	for (size_t i = 0; i < j->ntargets; i++) {
		const struct target *t = j->targets[i];

		if (t->alive_ms != 0 && t->heard_ms == 0 && !t->refused && t->failures < JOIN_DEAF)
			return false;
	}
	return true;
}

static bool
keeps_to_other(const struct join *j, uint64_t now, const char *cluster)
{
	return j->first.held[0] != 0 && now < j->first.held_until_ms && strcmp(j->first.held, cluster) != 0;
}

/* ---- proposing */

void
bootstrap_abort(struct join *j)
{
	struct bootstrap *b = &j->first;

	/* Those that were answered are not known there any more. */
	for (size_t i = 0; i < b->ncalls; i++)
		rpc_cancel(b->calls[i].t->client, b->calls[i].call);
	b->ncalls = 0;
	if (b->offered)
		b->again_ms = clock_ms() + OFFER_MS / 2 + randombytes_uniform(OFFER_MS / 2);
	b->offered = false;
}

static struct target *
target_of(struct join *j, struct str id)
{
	for (size_t i = 0; i < j->ntargets; i++)
		if (j->targets[i]->info != NULL && !j->targets[i]->own && j->targets[i]->client != NULL &&
		    str_eq(j->targets[i]->info->id, id))
			return j->targets[i];
	return NULL;
}

/* All agreed. What they are is what they were asked as: the targets have not changed since, else it would have been taken back. */
static void
begin(struct join *j)
{
	struct raft_server_info v[RAFT_SERVERS_MAX];
	struct bootstrap *b = &j->first;
	struct raft_config_entry c = { str_from(b->cluster), { v, b->n } };
	char err[256];
	int rc;

	for (size_t i = 0; i < b->n; i++) {
		char id[17];
		const struct target *t;

		servers_format_id(b->ids[i], id);
		t = b->ids[i] == j->r->id ? NULL : target_of(j, str_from(id));
		if (t == NULL && b->ids[i] != j->r->id)
			return;
		v[i] = t != NULL ? *t->info : servers_own(j->r);
		v[i].voter = true;
	}
	rc = servers_check(&c, err);
	if (rc == 0) {
		log_info(SUB, "all servers agreed, beginning a new cluster: cluster=%s servers=%zu", b->cluster, b->n);
		rc = engine_bootstrap(j->r, &c);
		if (rc < 0)
			log_err(SUB, "cannot begin a cluster: error=\"%s\"", err_text(rc));
	} else {
		log_err(SUB, "cannot begin a cluster: error=\"%s\"", err);
	}
}

static void
on_offered(void *arg, const struct rpc_answer *a)
{
	struct join *j = arg;
	struct bootstrap *b = &j->first;
	struct rpc_error e = { 500, str_from(err_text(a->rc)) };
	struct query_meta meta;
	struct str payload = STR_NONE;
	bool agreed = false;
	struct mp_r in;

	if (a->rc == 0 && op_reply_decode(a->body, a->len, &meta, &payload) == 0) {
		in = mp_r_init(payload.p, payload.len);
		agreed = mp_r_bool(&in) && mp_r_done(&in);
	}
	if (a->rc == -EPROTO)
		rpc_error_decode(a, &e);
	if (!b->offered)
		return;
	if (!agreed) {
		log_warn(SUB, "a server does not agree to begin a cluster: error=\"%.*s\"", STR_ARG(e.text));
		bootstrap_abort(j);
	} else if (++b->agreed == b->n - 1) {
		b->offered = false;
		b->ncalls = 0;
		if (clock_ms() - b->began_ms <= OFFER_MS && join_empty(j->r) && of_cluster(j) == NULL)
			begin(j);
	}
}

static void
offer(struct join *j, uint64_t now, const struct raft_server_info *v, size_t n)
{
	struct bootstrap *b = &j->first;
	const struct peer_bootstrap p = { .config = { str_from(b->cluster), { (void *)(uintptr_t)v, n } }, .expect = j->r->expect };

	b->offered = true;
	b->agreed = 0;
	b->began_ms = now;
	for (size_t i = 0; i < n; i++) {
		struct target *t = id_of(&v[i]) == j->r->id ? NULL : target_of(j, v[i].id);
		uint32_t call = t != NULL ? rpc_call_record(t->client, OP_PEER_BOOTSTRAP, NULL, &p, 0, OFFER_MS, on_offered, j) : 0;

		if (call != 0) {
			b->calls[b->ncalls].t = t;
			b->calls[b->ncalls++].call = call;
		}
	}
	/* One could not be asked: nothing comes of it. */
	if (b->ncalls != n - 1)
		bootstrap_abort(j);
}

/* The same servers as in our last proposal are offered the same cluster: who still keeps to that may agree again. */
static void
propose(struct join *j, uint64_t now, struct raft_server_info *v, size_t n)
{
	struct bootstrap *b = &j->first;
	bool same = b->n == n && b->cluster[0] != 0;
	char names[512];
	int at = 0;

	for (size_t i = 0; same && i < n; i++)
		same = b->ids[i] == id_of(&v[i]);
	if (!same)
		draw_cluster(b->cluster);
	b->n = n;
	names[0] = 0;
	for (size_t i = 0; i < n; i++) {
		b->ids[i] = id_of(&v[i]);
		v[i].voter = true;
		if (at < (int)sizeof(names) - 1)
			at += snprintf(names + at, sizeof(names) - (size_t)at, "%s%.*s", i > 0 ? "," : "", STR_ARG(v[i].address));
	}
	log_info(SUB, "Found expected number of peers, attempting bootstrap: peers=%s", names);
	(void)snprintf(b->held, sizeof(b->held), "%s", b->cluster);
	b->held_until_ms = now + AGREED_MS;
	offer(j, now, v, n);
}

void
bootstrap_tick(struct join *j, uint64_t now)
{
	struct raft_server_info v[JOIN_TARGETS_MAX + 1];
	struct bootstrap *b = &j->first;
	size_t n, expect = (size_t)j->r->expect;

	if (b->offered && now - b->began_ms > OFFER_MS)
		bootstrap_abort(j);
	if (expect < 2 || expect > RAFT_SERVERS_MAX || b->offered || now < b->again_ms || !join_empty(j->r) || of_cluster(j) != NULL)
		return;
	n = gather(j, now, v);
	if (n < expect) {
		if (b->told != n)
			log_info(SUB, "waiting for other servers before a cluster begins: expected=%zu present=%zu", expect, n);
		b->told = n;
		return;
	}
	if (id_of(&v[0]) == j->r->id && all_heard(j) && !keeps_to_other(j, now, b->cluster))
		propose(j, now, v, expect);
}

/* ---- agreeing */

/* A sentence when we do not agree, else NULL. */
static const char *
objection(struct join *j, const struct peer_bootstrap *p, uint64_t now, char err[256])
{
	const struct raft_server_info *v = p->config.servers.v, *own = servers_find(&p->config, j->r->id);
	const struct target *t;
	char cluster[17];

	if (!join_empty(j->r))
		return "this server belongs to a cluster or has a log";
	if (p->expect != j->r->expect || p->expect < 2)
		return "this server has another bootstrap_expect: all servers should have the same";
	if (servers_check(&p->config, err) < 0)
		return err;
	if (p->config.servers.n != p->expect)
		return "the proposal has not as many servers as are expected";
	for (size_t i = 0; i < p->config.servers.n; i++)
		if (!v[i].voter)
			return "the proposal has a server without a vote";
	if (own == NULL || !str_eqs(own->address, j->r->address))
		return "the proposal does not name this server and its address";
	t = of_cluster(j);
	if (t != NULL) {
		(void)snprintf(err, 256, "the server at %s belongs to a cluster already", t->address);
		return err;
	}
	(void)snprintf(cluster, sizeof(cluster), "%.*s", STR_ARG(p->config.cluster));
	if (keeps_to_other(j, now, cluster))
		return "this server has agreed to another proposal a moment ago";
	memcpy(j->first.held, cluster, sizeof(cluster));
	j->first.held_until_ms = now + AGREED_MS;
	return NULL;
}

void
bootstrap_handle(struct join *j, const struct rpc_request *req)
{
	struct raftd *r = j->r;
	struct peer_bootstrap p;
	struct query_options o;
	char err[256];
	const char *why;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, &p, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	why = objection(j, &p, clock_ms(), err);
	if (why != NULL) {
		log_warn(SUB, "not agreeing to begin a cluster: cluster=%.*s reason=\"%s\"", (int)(p.config.cluster.len < 16 ?
		    p.config.cluster.len : 16), p.config.cluster.p != NULL ? p.config.cluster.p : "", why);
		rpc_reply_error(r->d->rpc, req->token, 409, "%s: %s", r->address, why);
		return;
	}
	log_info(SUB, "agreeing to begin a cluster: cluster=%.*s servers=%zu", STR_ARG(p.config.cluster), p.config.servers.n);
	rpc_reply_bool(r->d->rpc, req->token, 1, true);
}
