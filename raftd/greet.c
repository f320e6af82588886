/*
 * greet.c - peer.hello, from both ends: who is there, of which datacenter and
 * cluster, and whether we have to do with each other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "raftd/net.h"

#define SUB "agent.server.net"

enum { SAID_AGAIN_MS = 60 * 1000 };

static const char *const purposes[PURPOSES] = { "raft", "forward", "join" };
static const char self_text[] = "This is the server itself";

enum purpose
greet_purpose(const char *name)
{
	enum purpose p = FOR_RAFT;

	while (p < PURPOSES && strcmp(purposes[p], name) != 0)
		p++;
	return p;
}

const char *
greet_purpose_name(enum purpose p)
{
	return purposes[p];
}

/* ---- what is said, and what is not taken */

static void
own_hello(struct raftd *r, const char *purpose, char id[17], struct peer_hello *ret)
{
	id[0] = 0;
	if (r->server)
		servers_format_id(r->id, id);
	*ret = (struct peer_hello){ .protocol = PEER_PROTOCOL, .purpose = str_from(purpose), .datacenter = str_from(r->datacenter),
		.cluster = str_from(r->cluster), .id = str_from(id), .node_id = str_from(r->node_id), .node = str_from(r->node_name),
		.address = str_from(r->address), .version = STR(PACKAGE_VERSION) };
}

/* Peer text in a sentence of ours: bounded. */
#define SHOWN(s) (int)((s).len > 64 ? 64 : (s).len), (s).p != NULL ? (s).p : ""

/* Whether we belong together, as far as both know. */
static int
check_hello(const struct raftd *r, const struct peer_hello *h, const char *who, char err[256])
{
	if (h->protocol != PEER_PROTOCOL)
		(void)snprintf(err, 256, "%s speaks protocol %d, not %" PRIu64, who, PEER_PROTOCOL, h->protocol);
	else if (!str_eqs(h->datacenter, r->datacenter))
		(void)snprintf(err, 256, "%s is of datacenter %s, not %.*s", who, r->datacenter, SHOWN(h->datacenter));
	else if (h->cluster.len > 0 && r->cluster[0] != 0 && !str_eqs(h->cluster, r->cluster))
		(void)snprintf(err, 256, "%s belongs to cluster %s, not to %.*s", who, r->cluster, SHOWN(h->cluster));
	else
		return 0;
	return -EPROTO;
}

int
greet_say(void *arg, struct buf *body)
{
	const struct line *l = arg;
	struct peer_hello h;
	char id[17];

	own_hello(l->net->r, purposes[l->purpose], id, &h);
	/* Of no cluster yet: we answer one that is about to make us part of its own. */
	if (h.cluster.len == 0 && l->server != NULL)
		h.cluster = str_from(l->server->cluster);
	return op_request_encode(OP_PEER_HELLO, NULL, &h, body);
}

/* The answer of who was greeted. -EPROTO with a sentence: it is not whom we look for. */
static int
check_answer(const struct line *l, const struct rpc_answer *a, char err[256])
{
	struct arena none = ARENA_INIT(0);
	struct query_meta m;
	struct peer_hello h;
	struct str payload;
	struct mp_r in;
	uint64_t id;
	int rc = op_reply_decode(a->body, a->len, &m, &payload);

	if (rc == 0) {
		in = mp_r_init(payload.p, payload.len);
		rc = record_decode(&rec_peer_hello, &in, &h, &none);
	}
	if (rc == 0 && servers_parse_id(h.id, &id) < 0)
		rc = -EDECODE;
	if (rc < 0) {
		(void)snprintf(err, 256, "malformed answer to peer.hello");
		return rc;
	}
	rc = check_hello(l->net->r, &h, "This server", err);
	if (rc == 0 && l->server != NULL && id != l->server->id) {
		(void)snprintf(err, 256, "There is another server at this address: id=%.*s node=%.*s", SHOWN(h.id), SHOWN(h.node));
		rc = -EPROTO;
	}
	return rc;
}

/* Once for each kind of failure, and again after a while. */
static void
say(struct line *l, int rc, const char *text)
{
	const char *to = l->server != NULL ? l->server->address : "a server", *note = "";
	uint64_t now = clock_ms();

	if (rc == l->said && now < l->said_ms + SAID_AGAIN_MS)
		return;
	/* Of those who came by themselves there may be any number. */
	if ((l->server == NULL || !l->server->configured) && !log_allowed(&l->net->strangers, now, &note))
		return;
	l->said = rc;
	l->said_ms = now;
	if (rc == 0)
		log_info(SUB, "connected: to=%s for=%s%s", to, purposes[l->purpose], note);
	else
		log_warn(SUB, "cannot talk to a server: to=%s for=%s error=\"%s\"%s", to, purposes[l->purpose], text, note);
}

int
greet_answered(void *arg, const struct rpc_answer *a)
{
	struct line *l = arg;
	struct rpc_error e;
	char err[256];
	int rc = a->rc;

	if (rc == 0) {
		rc = check_answer(l, a, err);
	} else if (rc == -EPROTO) {
		rpc_error_decode(a, &e);
		(void)snprintf(err, sizeof(err), "%.*s", (int)(e.text.len > 200 ? 200 : e.text.len), e.text.p != NULL ? e.text.p : "");
		/* Its own address was among those to join. */
		if (l->server == NULL && strcmp(err, self_text) == 0)
			return rc;
	} else {
		(void)snprintf(err, sizeof(err), "%s", err_text(rc));
		/* Whoever looks for servers expects that some are not there. */
		if (l->server == NULL)
			return rc;
	}
	if (rc < 0 || l->server != NULL)
		say(l, rc, err);
	return rc;
}

struct net_peer *
greet_raft_peer(const struct net *n, uint64_t id)
{
	struct net_peer *p = n->peers;

	while (p != NULL && (p->id != id || !p->raft))
		p = p->next;
	return p;
}

/* ---- their connections */

static int
parse_hello(struct net *n, const struct peer_hello *h, struct net_peer *p, char err[256])
{
	struct raftd *r = n->r;
	int rc = check_hello(r, h, "This server", err);

	if (rc < 0)
		return rc;
	p->raft = str_eqs(h->purpose, purposes[FOR_RAFT]);
	if (!p->raft && !str_eqs(h->purpose, purposes[FOR_FORWARD]) && !str_eqs(h->purpose, purposes[FOR_JOIN])) {
		(void)snprintf(err, 256, "Unknown purpose of a connection: %.*s", SHOWN(h->purpose));
		return -EPROTO;
	}
	if (h->id.len == 0 ? p->raft : servers_parse_id(h->id, &p->id) < 0 || p->id == 0) {
		(void)snprintf(err, 256, "Malformed server id: \"%.*s\"", SHOWN(h->id));
		return -EPROTO;
	}
	if (p->id == r->id && str_eqs(h->node_id, r->node_id) && str_eqs(h->address, r->address)) {
		(void)snprintf(err, 256, "%s", self_text);
		return -EPROTO;
	}
	if (p->id == r->id) {
		(void)snprintf(err, 256, "The server at %.*s has the id %.*s of the one at %s: its data directory is a copy", SHOWN(h->address),
		    SHOWN(h->id), r->address);
		return -EPROTO;
	}
	if (h->cluster.len > 0 && servers_parse_id(h->cluster, &p->cluster) < 0) {
		(void)snprintf(err, 256, "Malformed cluster id: \"%.*s\"", SHOWN(h->cluster));
		return -EPROTO;
	}
	(void)snprintf(p->node, sizeof(p->node), "%.*s", SHOWN(h->node));
	return 0;
}

/* Messages can be answered only on a connection of our own. */
static int
answer_line(struct net *n, const struct peer_hello *h, const struct net_peer *p, char err[256])
{
	struct server *s = net_find(n, p->id);
	size_t strangers = 0;

	for (const struct server *x = n->servers; x != NULL; x = x->next)
		strangers += !x->configured;
	/* The configuration says where those in it are. */
	if (s != NULL && s->configured)
		return 0;
	if (s == NULL && strangers >= NET_STRANGERS_MAX) {
		(void)snprintf(err, 256, "This server has too many peers that are not in its configuration");
		return -ELIMIT;
	}
	s = net_keep(n, p->id, h->address);
	if (s == NULL) {
		(void)snprintf(err, 256, "Not an address to answer at: \"%.*s\"", SHOWN(h->address));
		return -EINVAL;
	}
	s->cluster[0] = 0;
	if (p->cluster != 0)
		servers_format_id(p->cluster, s->cluster);
	return 0;
}

static void
add_peer(struct net *n, struct net_peer *p)
{
	struct net_peer *old = p->raft ? greet_raft_peer(n, p->id) : NULL;

	/* One that was not seen to end: it is over, since there is a new one. */
	if (old != NULL) {
		old->raft = false;
		rpc_server_close_peer(n->r->d->rpc, old);
	}
	p->next = n->peers;
	p->link = &n->peers;
	if (n->peers != NULL)
		n->peers->link = &p->next;
	n->peers = p;
}

static void
refuse(struct net *n, const struct rpc_request *req, const char *err)
{
	const char *note;

	if (strcmp(err, self_text) != 0 && log_allowed(&n->refused, clock_ms(), &note))
		log_warn(SUB, "refusing connection: %s error=\"%s\"%s", req->from, err, note);
}

void *
greet_hear(void *ctx, const struct rpc_request *req, struct buf *reply, char err[256])
{
	const struct query_meta m = { .known_leader = true };
	struct net *n = ctx;
	struct net_peer *p = calloc(1, sizeof(*p));
	struct arena none = ARENA_INIT(0);
	struct mp_w w = mp_w_init(reply);
	struct peer_hello h, own;
	struct query_options o;
	char id[17];
	int rc = op_request_decode(req->info, req->body, req->len, &o, &h, &none);

	(void)snprintf(err, 256, rc < 0 ? "Malformed peer.hello" : "Out of memory");
	if (rc == 0 && p == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = parse_hello(n, &h, p, err);
	if (rc == 0 && p->raft)
		rc = answer_line(n, &h, p, err);
	if (rc == 0) {
		own_hello(n->r, purposes[p->raft ? FOR_RAFT : FOR_FORWARD], id, &own);
		record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
		record_encode(&rec_peer_hello, &own, RECORD_WHOLE, &w);
		rc = w.err;
	}
	if (rc < 0) {
		refuse(n, req, err);
		free(p);
		return NULL;
	}
	p->net = n;
	(void)snprintf(p->from, sizeof(p->from), "%s", req->from);
	add_peer(n, p);
	return p;
}

void
greet_gone(void *ctx, void *peer, bool reset)
{
	struct net_peer *p = peer;
	struct net *n = ctx;
	struct server *s = net_find(n, p->id);
	bool raft = p->raft;
	uint64_t id = p->id;

	*p->link = p->next;
	if (p->next != NULL)
		p->next->link = p->link;
	free(p);
	if (!raft)
		return;
	if (reset && n->listening)
		engine_peer_lost(n->r, id);
	if (s != NULL)
		net_forget_if_idle(n, s);
}
