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

#include "raftd/net.h"

#define SUB "agent.server.net"

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
	const struct rpc_greeting g = { .arg = l, .from = l->net->from, .greet = greet_say, .greeted = greet_answered,
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

struct server *
net_find(const struct net *n, uint64_t id)
{
	struct server *s = n->servers;

	while (s != NULL && s->id != id)
		s = s->next;
	return s;
}

static void
close_lines(struct server *s)
{
	if (s->forward.client != NULL)
		forward_left(s->forward.net->r, s->forward.client);
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
struct server *
net_keep(struct net *n, uint64_t id, struct str address)
{
	struct server *s = net_find(n, id);
	char ip[SERVER_IP_MAX];
	uint16_t port;

	if (s != NULL && str_eqs(address, s->address))
		return s;
	if (address.len >= sizeof(s->address) || servers_parse_address(address, ip, &port) < 0)
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

/* Nobody needs it: we are no longer to talk to it, and it does not talk to us. */
void
net_forget_if_idle(struct net *n, struct server *s)
{
	if (!s->configured && greet_raft_peer(n, s->id) == NULL)
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
		s = net_keep(n, id, v[i].address);
		if (s == NULL) {
			log_err(SUB, "cannot connect to a server: id=%.*s address=\"%.*s\"", STR_ARG(v[i].id), STR_ARG(v[i].address));
			continue;
		}
		s->configured = true;
		if (s->forward.client == NULL)
			server_line(n, s, &s->forward, FOR_FORWARD, on_forward_state);
	}
	for (s = n->servers; s != NULL; s = next) {
		next = s->next;
		net_forget_if_idle(n, s);
	}
}

struct rpc_client *
net_forward(struct raftd *r, uint64_t id)
{
	struct server *s = net_find(r->net, id);

	if (s != NULL && s->forward.client == NULL)
		server_line(r->net, s, &s->forward, FOR_FORWARD, on_forward_state);
	return s != NULL ? s->forward.client : NULL;
}

struct rpc_client *
net_client(struct raftd *r, const char *address, const char *purpose)
{
	enum purpose p = greet_purpose(purpose);
	char ip[SERVER_IP_MAX];
	uint16_t port;

	if (p == PURPOSES || servers_parse_address(str_from(address), ip, &port) < 0)
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
	const struct server *s = net_find(r->net, wire->to);
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
net_up(struct raftd *r, uint64_t id)
{
	const struct server *s = net_find(r->net, id);

	return s != NULL && s->raft.client != NULL && rpc_client_connected(s->raft.client);
}

bool
net_ready(struct raftd *r, uint64_t id)
{
	return net_up(r, id) && rpc_client_queued(net_find(r->net, id)->raft.client) < NET_READY_BYTES;
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
	const struct rpc_greeter g = { .ctx = r->net, .hello = greet_hear, .closed = greet_gone, .conns_max = NET_CONNS_MAX,
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
