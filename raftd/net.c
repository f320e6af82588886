/*
 * net.c - connections between raftds: those of ours to the other servers, and
 * theirs to us.
 *
 * Each server opens two to each other one, for messages of the core and for
 * forwarded requests; nothing of the core ever comes back on the same
 * connection. A server that is not in our configuration, or not yet, gets
 * one back for messages as long as it keeps its own: the first thing that a
 * new server does is to answer one that knows it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/sock.h"
#include "raftd/raftd.h"

#define SUB "agent.server.net"

enum { STRANGERS_MAX = 2 * RAFT_SERVERS_MAX, SAID_AGAIN_MS = 60 * 1000, HELLO_BODY_MAX = 4096 };

enum purpose { FOR_RAFT, FOR_FORWARD, FOR_JOIN, PURPOSES };
static const char *const purposes[PURPOSES] = { "raft", "forward", "join" };

static const char self_text[] = "This is the server itself";

/* One connection of ours, and what was last said about it in the log. */
struct line {
	struct net *net;
	struct server *server;		/* NULL: to anybody, of net_client() */
	enum purpose purpose;
	struct rpc_client *client;
	uint64_t said_ms;
	int said;
};

/* Another server. */
struct server {
	struct server *next;
	uint64_t id;
	char ip[INET6_ADDRSTRLEN], address[SOCK_ADDR_TEXT_MAX];
	uint16_t port;
	bool configured;		/* in our configuration; else it has a connection to us */
	char cluster[17];		/* as its own greeting said; "": it has not */
	bool moved;			/* to a new address: the core is told that the old connection has gone */
	struct line raft, forward;
};

struct net {
	struct raftd *r;
	char *from;			/* the address to connect from, NULL: any */
	struct server *servers;
	struct line any[PURPOSES];	/* of net_client() */
	struct net_peer *peers;		/* who greeted us */
	struct defer moved;
	struct log_limit refused, strangers;
	bool listening;
};

/* "1.2.3.4:8300", "[::1]:8300" */
static int
parse_address(struct str text, char ip[INET6_ADDRSTRLEN], uint16_t *ret_port)
{
	const char *colon = text.len > 0 ? memrchr(text.p, ':', text.len) : NULL;
	struct str host = { text.p, colon != NULL ? (size_t)(colon - text.p) : 0 };
	union sock_addr addr;
	char number[6] = "";
	long port;

	if (colon == NULL || text.p + text.len - colon - 1 > 5)
		return -EINVAL;
	memcpy(number, colon + 1, (size_t)(text.p + text.len - colon - 1));
	port = strspn(number, "0123456789") == strlen(number) ? strtol(number, NULL, 10) : 0;
	if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = (struct str){ host.p + 1, host.len - 2 };
	if (port < 1 || port > UINT16_MAX || host.len == 0 || host.len >= INET6_ADDRSTRLEN)
		return -EINVAL;
	memcpy(ip, host.p, host.len);
	ip[host.len] = 0;
	*ret_port = (uint16_t)port;
	return sock_addr_parse(ip, *ret_port, &addr);
}

/* ---- the greeting: what is said, and what is not taken */

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

static int
greet(void *arg, struct buf *body)
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

static int
greeted(void *arg, const struct rpc_answer *a)
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

/* ---- our connections */

static void
on_raft_state(void *arg, bool up)
{
	struct line *l = arg;

	if (!up) {
		log_info(SUB, "connection lost: to=%s", l->server->address);
		l->said = -ECLOSED;
	}
	engine_peer(l->net->r, l->server->id, up);
}

static void
on_forward_state(void *arg, bool up)
{
	const struct line *l = arg;
	struct raftd *r = l->net->r;

	if (up && r->engine.core.leader == l->server->id)
		hold_wake_leader(r);
}

static struct rpc_client *
line_open(struct line *l, const char *ip, uint16_t port)
{
	const struct rpc_greeting g = { .arg = l, .from = l->net->from, .greet = greet, .greeted = greeted,
		.connect_ms = NET_CONNECT_MS };

	return rpc_client_new_tcp(&l->net->r->d->loop, ip, port, &g);
}

static void
server_line(struct net *n, struct server *s, struct line *l, enum purpose purpose, void (*state)(void *, bool))
{
	*l = (struct line){ .net = n, .server = s, .purpose = purpose };
	l->client = line_open(l, s->ip, s->port);
	if (l->client != NULL)
		rpc_client_on_state(l->client, state, l);
	else
		log_err(SUB, "no memory for a connection: to=%s", s->address);
}

static struct server *
find(const struct net *n, uint64_t id)
{
	struct server *s = n->servers;

	while (s != NULL && s->id != id)
		s = s->next;
	return s;
}

static void
close_lines(struct server *s)
{
	rpc_client_free(s->raft.client);
	rpc_client_free(s->forward.client);
	s->raft.client = s->forward.client = NULL;
}

static void
remove_server(struct net *n, struct server *s)
{
	struct server **p = &n->servers;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	close_lines(s);
	free(s);
}

/* Know this server at this address. NULL: the address is none, or no memory. */
static struct server *
keep(struct net *n, uint64_t id, struct str address)
{
	struct server *s = find(n, id);
	char ip[INET6_ADDRSTRLEN];
	uint16_t port;

	if (s != NULL && str_eqs(address, s->address))
		return s;
	if (address.len >= sizeof(s->address) || parse_address(address, ip, &port) < 0)
		return NULL;
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL)
			return NULL;
		s->id = id;
		s->next = n->servers;
		n->servers = s;
	} else {
		s->moved = s->raft.client != NULL && rpc_client_connected(s->raft.client);
		close_lines(s);
		if (s->moved)
			loop_defer(&n->r->d->loop, DEFER_WORK, &n->moved);
	}
	memcpy(s->address, address.p, address.len);
	s->address[address.len] = 0;
	memcpy(s->ip, ip, sizeof(ip));
	s->port = port;
	server_line(n, s, &s->raft, FOR_RAFT, on_raft_state);
	return s;
}

/* Not from within net_servers(), which the engine calls in the middle of a step. */
static void
on_moved(struct defer *d)
{
	struct net *n = (struct net *)(void *)((char *)d - offsetof(struct net, moved));

	for (struct server *s = n->servers; s != NULL; s = s->next)
		if (s->moved) {
			s->moved = false;
			engine_peer(n->r, s->id, false);
		}
}

static struct net_peer *
raft_peer(const struct net *n, uint64_t id)
{
	struct net_peer *p = n->peers;

	while (p != NULL && (p->id != id || !p->raft))
		p = p->next;
	return p;
}

/* Nobody needs it: we are no longer to talk to it, and it does not talk to us. */
static void
forget_if_idle(struct net *n, struct server *s)
{
	if (!s->configured && raft_peer(n, s->id) == NULL)
		remove_server(n, s);
}

void
net_servers(struct raftd *r, const struct raft_config_entry *c)
{
	const struct raft_server_info *v = c->servers.v;
	struct net *n = r->net;
	struct server *s, *next;
	uint64_t id;

	for (s = n->servers; s != NULL; s = s->next)
		s->configured = false;
	for (size_t i = 0; i < c->servers.n; i++) {
		if (servers_parse_id(v[i].id, &id) < 0 || id == r->id)
			continue;
		s = keep(n, id, v[i].address);
		if (s == NULL) {
			log_err(SUB, "cannot connect to a server: id=%.*s address=\"%.*s\"", SHOWN(v[i].id), SHOWN(v[i].address));
			continue;
		}
		s->configured = true;
		if (s->forward.client == NULL)
			server_line(n, s, &s->forward, FOR_FORWARD, on_forward_state);
	}
	for (s = n->servers; s != NULL; s = next) {
		next = s->next;
		forget_if_idle(n, s);
	}
}

struct rpc_client *
net_forward(struct raftd *r, uint64_t id)
{
	struct server *s = find(r->net, id);

	if (s != NULL && s->forward.client == NULL)
		server_line(r->net, s, &s->forward, FOR_FORWARD, on_forward_state);
	return s != NULL ? s->forward.client : NULL;
}

struct rpc_client *
net_client(struct raftd *r, const char *address, const char *purpose)
{
	enum purpose p = FOR_RAFT;
	char ip[INET6_ADDRSTRLEN];
	uint16_t port;

	while (p < PURPOSES && strcmp(purposes[p], purpose) != 0)
		p++;
	if (p == PURPOSES || parse_address(str_from(address), ip, &port) < 0)
		return NULL;
	return line_open(&r->net->any[p], ip, port);
}

/* ---- messages of the core */

/* A msgpack bin made of pieces, each behind its header, if it has one. */
static void
encode_pieces(struct mp_w *w, bool entries, const struct net_piece *v, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += v[i].bytes.len + (entries ? 12 : 0);
	mp_w_cstr(w, entries ? "Entries" : "Data");
	mp_w_bin_head(w, len);
	for (size_t i = 0; i < n; i++) {
		uint8_t head[12];

		for (int b = 0; b < 8; b++)
			head[b] = (uint8_t)(v[i].first >> (56 - 8 * b));
		for (int b = 0; b < 4; b++)
			head[8 + b] = (uint8_t)(v[i].bytes.len >> (24 - 8 * b));
		if (entries)
			mp_w_raw(w, (struct str){ (const char *)head, sizeof(head) });
		mp_w_raw(w, v[i].bytes);
	}
}

bool
net_send(struct raftd *r, const struct raft_wire *wire, const struct net_piece *pieces, size_t n)
{
	const struct server *s = find(r->net, wire->to);
	size_t at, begun;
	struct buf *b;
	struct mp_w w;
	uint32_t members;
	bool ok;

	if (s == NULL || s->raft.client == NULL)
		return false;
	b = rpc_post_begin(s->raft.client, OP_PEER_RAFT);
	if (b == NULL)
		return false;
	begun = b->len;
	w = mp_w_init(b);
	mp_w_map(&w, 0);
	at = mp_w_map_hold(&w);
	members = record_encode_members(&rec_raft_wire, wire, RECORD_WHOLE, &w);
	if (n > 0)
		encode_pieces(&w, wire->type == RAFT_MSG_APPEND, pieces, n);
	mp_w_map_patch(&w, at, members + (n > 0));
	ok = w.err == 0 && b->len - begun <= op_info(OP_PEER_RAFT)->body_max;
	rpc_post_end(s->raft.client, ok);
	return ok;
}

bool
net_ready(struct raftd *r, uint64_t id)
{
	const struct server *s = find(r->net, id);

	return s != NULL && s->raft.client != NULL && rpc_client_connected(s->raft.client) &&
	    rpc_client_queued(s->raft.client) < NET_READY_BYTES;
}

void
net_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	const struct net_peer *p = req->peer;
	struct arena none = ARENA_INIT(0);
	char err[256] = "a message of the core that is none";
	struct query_options o;
	struct raft_wire w;
	int rc = -EDECODE;

	if (p == NULL || !p->raft || req->token.id != 0)
		(void)snprintf(err, sizeof(err), "a message of the core where none is expected");
	else
		rc = op_request_decode(req->info, req->body, req->len, &o, &w, &none);
	if (rc == 0 && (w.from != p->id || w.to != r->id)) {
		(void)snprintf(err, sizeof(err), "a message from %016" PRIx64 " to %016" PRIx64 " on a connection from %016" PRIx64, w.from,
		    w.to, p->id);
		rc = -EDECODE;
	}
	if (rc == 0)
		rc = engine_message(r, &w, p->cluster, err);
	if (rc < 0)
		rpc_bad_request(r->d->rpc, req, err);
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
	struct server *s = find(n, p->id);
	size_t strangers = 0;

	for (const struct server *x = n->servers; x != NULL; x = x->next)
		strangers += !x->configured;
	/* The configuration says where those in it are. */
	if (s != NULL && s->configured)
		return 0;
	if (s == NULL && strangers >= STRANGERS_MAX) {
		(void)snprintf(err, 256, "This server has too many peers that are not in its configuration");
		return -ELIMIT;
	}
	s = keep(n, p->id, h->address);
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
	struct net_peer *old = p->raft ? raft_peer(n, p->id) : NULL;

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

static void *
on_hello(void *ctx, const struct rpc_request *req, struct buf *reply, char err[256])
{
	const struct query_meta m = { 0, 0, true };
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

static void
on_closed(void *ctx, void *peer, bool reset)
{
	struct net_peer *p = peer;
	struct net *n = ctx;
	struct server *s = find(n, p->id);
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
		forget_if_idle(n, s);
}

/* ---- start and end */

int
net_init(struct raftd *r)
{
	struct net *n = calloc(1, sizeof(*n));
	const char *bind = cfg_str(r->d->config, "bind_addr", "");

	if (n == NULL) {
		log_err(SUB, "no memory for connections");
		return -ENOMEM;
	}
	n->r = r;
	n->moved.cb = on_moved;
	if (bind[0] != 0 && strcmp(bind, "0.0.0.0") != 0 && strcmp(bind, "::") != 0) {
		n->from = strdup(bind);
		if (n->from == NULL) {
			free(n);
			log_err(SUB, "no memory for connections");
			return -ENOMEM;
		}
	}
	for (int p = 0; p < PURPOSES; p++)
		n->any[p] = (struct line){ .net = n, .purpose = (enum purpose)p };
	r->net = n;
	return 0;
}

static size_t
host_limit(struct json_object *config)
{
	int64_t n = cfg_int(config, "limits.rpc_max_conns_per_client", 100);

	return n > 0 && n < NET_CONNS_MAX ? (size_t)n : NET_CONNS_MAX;
}

void
net_reload(struct raftd *r, struct json_object *next)
{
	rpc_server_limit_host(r->d->rpc, host_limit(next));
}

int
net_listen(struct raftd *r)
{
	struct json_object *c = r->d->config;
	int64_t port = cfg_int(c, "ports.server", 0);
	const struct rpc_greeter g = { .ctx = r->net, .hello = on_hello, .closed = on_closed, .conns_max = NET_CONNS_MAX,
		.conns_per_host = host_limit(c), .hello_ms = NET_HELLO_MS };
	int fd, rc;

	if (port <= 0)
		return 0;
	fd = daemon_listen(r->d, "server", cfg_str(c, "bind_addr", "0.0.0.0"), (uint16_t)port, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	rc = rpc_server_listen_tcp(r->d->rpc, fd, &g);
	if (rc < 0)
		log_err(SUB, "cannot listen for other servers: %s", err_text(rc));
	r->net->listening = rc == 0;
	return rc;
}

void
net_release(struct raftd *r)
{
	struct net *n = r->net;

	if (n == NULL)
		return;
	/* What their end does from here on is of no interest. */
	n->listening = false;
	rpc_server_close_tcp(r->d->rpc);
	while (n->servers != NULL)
		remove_server(n, n->servers);
	loop_undefer(&r->d->loop, DEFER_WORK, &n->moved);
	free(n->from);
	free(n);
	r->net = NULL;
}

void
net_info(struct raftd *r, struct info_writer *iw)
{
	const struct net *n = r->net;
	size_t incoming = 0;

	info_section(iw, "net");
	for (const struct net_peer *p = n->peers; p != NULL; p = p->next)
		incoming++;
	info_add(iw, "incoming", "%zu", incoming);
	for (const struct server *s = n->servers; s != NULL; s = s->next) {
		const bool up = s->raft.client != NULL && rpc_client_connected(s->raft.client);
		char key[32];

		(void)snprintf(key, sizeof(key), "server_%016" PRIx64, s->id);
		info_add(iw, key, "%s %s%s", s->address, up ? "connected" : "not connected", s->configured ? "" : ", not in the configuration");
	}
}
