/* rpc_server.c - accepting connections, greeting those of other nodes, handing requests to their handlers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/rpc_conn.h"

enum { SERVER_ACCEPTS = 32, SERVER_PAUSE_MS = 100, HELLO_SWEEP_MS = 200, HELLO_REPLY_MAX = 64 * 1024 };

static void set_accepting(struct rpc_server *s, bool tcp, bool on);

static void
free_handle(uv_handle_t *h)
{
	free(h);
}

/* ---- connections */

struct conn *
conn_find(const struct rpc_server *s, uint64_t id)
{
	struct conn *c = s->conns[id & 0xffff];

	return c != NULL && c->id == id ? c : NULL;
}

void
conn_fail(struct conn *c, int rc)
{
	if (c->link.failed == 0)
		c->link.failed = rc;
	loop_defer(c->server->loop, DEFER_FLUSH, &c->link.flush);
}

static void
conn_free(struct conn *c, bool reset)
{
	struct rpc_server *s = c->server;

	s->conns[c->id & 0xffff] = NULL;
	if (c->tcp)
		s->ntcp--;
	else
		s->nlocal--;
	link_close(&c->link);
	if (s->config.cancelled != NULL)
		for (size_t i = 0; i < c->open.cap; i++)
			if (c->open.v[i].id != 0)
				s->config.cancelled(s->config.ctx, (struct rpc_token){ c->id, c->open.v[i].id, c->open.v[i].op });
	if (c->peer != NULL)
		c->listener->greeter.closed(c->listener->greeter.ctx, c->peer, reset);
	free(c->open.v);
	free(c);
}

/* What local daemons do is worth a line each; what comes over the network could fill the log. */
static void
warn_closing(struct conn *c, const char *why)
{
	const char *note = "";

	if (!c->tcp || log_allowed(&c->server->refusals, clock_ms(), &note))
		log_warn("agent.rpc", "closing connection: %s error=\"%s\"%s", c->name, why, note);
}

static void
on_closed(struct link *k, int rc)
{
	struct conn *c = (struct conn *)k;
	struct rpc_server *s = c->server;
	bool gone = rc == -ECLOSED || rc == -ECONNRESET || rc == -EPIPE;

	/* -ECANCELED: whoever closes it has said why. */
	if (!gone && rc != -ECANCELED)
		warn_closing(c, c->why != NULL ? c->why : err_text(rc));
	conn_free(c, gone && !c->link.finish);
	if (s->nlocal == RPC_CONNS_MAX - 1 && !s->draining)
		set_accepting(s, false, true);
}

/* ---- frames */

/* What one node may ask another. */
static bool
served_to_nodes(const struct op_info *op)
{
	return op->access == OP_ACCESS_READ || op->access == OP_ACCESS_WRITE || op->access == OP_ACCESS_LEADER ||
	    op->access == OP_ACCESS_PEER;
}

static const char *
refused(const struct conn *c, const struct frame *f, const struct op_info *op)
{
	if (op == NULL)
		return "an unknown operation";
	if (!c->tcp)
		return op->access == OP_ACCESS_PEER ? "an operation that is between servers only" : NULL;
	if (c->peer == NULL)
		return f->kind == FRAME_REQUEST && op->number == OP_PEER_HELLO ? NULL : "something else than peer.hello first";
	if (op->number == OP_PEER_HELLO)
		return "a second peer.hello";
	return served_to_nodes(op) ? NULL : "an operation that is not served to other nodes";
}

/* Any number of nodes may send large bodies: there is memory for so much of them. */
static bool
room_for_large(const struct rpc_server *s)
{
	size_t total = 0;

	for (size_t i = 0; i < s->slots; i++)
		if (s->conns[i] != NULL && s->conns[i]->tcp)
			total += s->conns[i]->link.in.len;
	return total <= s->tcp_in_max;
}

static int64_t
body_max(struct link *k, const struct frame *f)
{
	struct conn *c = (struct conn *)k;
	const struct op_info *op = op_info(f->op);
	int64_t max = -1;

	c->why = refused(c, f, op);
	if (c->why != NULL)
		return -1;
	switch (f->kind) {
	case FRAME_REQUEST:
		max = op->body_max;
		break;
	case FRAME_CANCEL:
		max = 0;
		break;
	case FRAME_CREDIT:
		max = c->tcp ? -1 : 9;
		break;
	case FRAME_POST:
		max = op->access == OP_ACCESS_PEER ? (int64_t)op->body_max : -1;
		break;
	default:
		break;
	}
	if (max < 0)
		c->why = "a frame of a kind that is not expected";
	else if (f->len > (uint64_t)max)
		c->why = "a body above the limit of its operation";
	else if (c->tcp && f->len > RPC_TCP_LARGE && !room_for_large(c->server))
		c->why = "other nodes are sending too much at once";
	return c->why == NULL ? max : -1;
}

static struct rpc_request
request_of(struct conn *c, const struct frame *f, const uint8_t *body)
{
	return (struct rpc_request){ .token = { c->id, f->id, f->op }, .info = op_info(f->op), .body = body, .len = f->len,
		.uid = c->uid, .pid = c->pid, .peer = c->peer, .from = c->name };
}

/* The first request over TCP: until it is accepted the connection is a stranger's. */
static int
on_hello(struct conn *c, const struct rpc_request *req)
{
	const struct rpc_greeter *g = &c->listener->greeter;
	struct buf reply = BUF_INIT(HELLO_REPLY_MAX);
	char err[256] = "";

	c->peer = g->hello(g->ctx, req, &reply, err);
	if (c->peer != NULL) {
		rpc_reply_bytes(c->server, req->token, reply.data, reply.len);
	} else {
		rpc_reply_error(c->server, req->token, 403, "%s", err);
		/* Its deadline stays, in case it does not take that. */
		link_finish(&c->link);
	}
	buf_release(&reply);
	return 0;
}

static int
on_request(struct conn *c, const struct frame *f, const uint8_t *body)
{
	struct rpc_server *s = c->server;
	const struct rpc_request req = request_of(c, f, body);

	if (f->id == 0 || c->open.n >= RPC_REQUESTS_MAX || open_has(&c->open, f->id)) {
		c->why = f->id == 0 ? "a request without an id" : c->open.n >= RPC_REQUESTS_MAX ? "too many open requests" :
		    "a second request with the id of an open one";
		return -EDECODE;
	}
	if (!open_add(&c->open, f->id, f->op))
		return -ENOMEM;
	if (c->tcp && c->peer == NULL)
		return on_hello(c, &req);
	if (s->handlers[f->op] == NULL)
		rpc_reply_error(s, req.token, 404, "operation %s is not served here", req.info->name);
	else
		s->handlers[f->op](s->config.ctx, &req);
	return 0;
}

/* Its token names no request: it cannot be answered. */
static int
on_post(struct conn *c, const struct frame *f, const uint8_t *body)
{
	struct rpc_server *s = c->server;
	const struct rpc_request req = request_of(c, f, body);

	if (f->id != 0 || s->handlers[f->op] == NULL) {
		c->why = "a post that nobody takes";
		return -EDECODE;
	}
	s->handlers[f->op](s->config.ctx, &req);
	return 0;
}

static int
on_frame(struct link *k, const struct frame *f, const uint8_t *body)
{
	struct conn *c = (struct conn *)k;
	struct rpc_server *s = c->server;
	struct rpc_token t = { c->id, f->id, f->op };
	struct mp_r r = mp_r_init(body, f->len);
	uint64_t n;

	switch (f->kind) {
	case FRAME_REQUEST:
		return on_request(c, f, body);
	case FRAME_POST:
		return on_post(c, f, body);
	case FRAME_CANCEL:
		if (open_remove(&c->open, f->id, &t.op) && s->config.cancelled != NULL)
			s->config.cancelled(s->config.ctx, t);
		return 0;
	default:
		n = mp_r_uint(&r);
		if (!mp_r_done(&r) || n > UINT32_MAX)
			return -EDECODE;
		if (open_has(&c->open, f->id) && s->config.credit != NULL)
			s->config.credit(s->config.ctx, t, (uint32_t)n);
		return 0;
	}
}

/* The connection is closed at the end of the turn; its other requests are cancelled. */
void
rpc_bad_request(struct rpc_server *s, const struct rpc_request *req, const char *why)
{
	struct conn *c = conn_find(s, req->token.conn);
	const char *note = "";

	if (c == NULL)
		return;
	if (!c->tcp || log_allowed(&s->refusals, clock_ms(), &note))
		log_warn("agent.rpc", "malformed request: op=%s %s error=\"%s\"%s", req->info->name, c->name, why, note);
	conn_fail(c, -ECANCELED);
}

static const struct link_ops server_ops = { body_max, on_frame, on_closed, true };

/* ---- accepting */

static bool
user_allowed(const struct rpc_server *s, int fd, struct conn *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	c->uid = cred.uid;
	c->pid = cred.pid;
	(void)snprintf(c->name, sizeof(c->name), "pid=%d", (int)c->pid);
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	for (size_t i = 0; i < s->config.nuids; i++)
		if (s->config.uids[i] == cred.uid)
			return true;
	log_warn("agent.rpc", "refusing connection: uid=%u pid=%d", (unsigned)cred.uid, (int)cred.pid);
	return false;
}

static bool
same_host(const union sock_addr *a, const union sock_addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	return a->sa.sa_family == AF_INET ? a->in.sin_addr.s_addr == b->in.sin_addr.s_addr :
	    memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

/* A node: whom there is room for may greet. */
static bool
node_allowed(struct rpc_server *s, const struct listener *l, int fd, struct conn *c)
{
	socklen_t len = sizeof(c->addr);
	char text[SOCK_ADDR_TEXT_MAX];
	const char *note;
	size_t same = 0;

	c->uid = (uid_t)-1;
	if (getpeername(fd, &c->addr.sa, &len) < 0 || sock_tcp_options(fd) < 0)
		return false;
	sock_addr_format(&c->addr, text);
	(void)snprintf(c->name, sizeof(c->name), "peer=%s", text);
	for (size_t i = 0; i < s->slots; i++)
		same += s->conns[i] != NULL && s->conns[i]->tcp && same_host(&s->conns[i]->addr, &c->addr);
	if (s->ntcp < l->greeter.conns_max && s->ntcp < RPC_TCP_CONNS_MAX && same < l->greeter.conns_per_host)
		return true;
	if (log_allowed(&s->refusals, clock_ms(), &note))
		log_warn("agent.rpc", "refusing connection: %s error=\"there are %zu connections already, %zu from this host\"%s", c->name,
		    s->ntcp, same, note);
	return false;
}

/* Whoever connects and does not say who it is. */
static void
on_hello_sweep(uv_timer_t *t)
{
	struct rpc_server *s = t->data;
	uint64_t now = uv_now(&s->loop->uv);
	size_t waiting = 0;

	for (size_t i = 0; i < s->slots; i++) {
		struct conn *c = s->conns[i];

		if (c == NULL || !c->tcp || c->peer != NULL)
			continue;
		waiting++;
		if (now < c->hello_by_ms || c->link.failed != 0)
			continue;
		c->why = c->link.finish ? "its refusal was not read" : "no peer.hello in time";
		conn_fail(c, -ETIMEDOUT);
	}
	if (waiting == 0)
		(void)uv_timer_stop(t);
}

static void
conn_open(struct rpc_server *s, struct listener *l, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	size_t slot = 0;

	if (c == NULL || !(l->tcp ? node_allowed(s, l, fd, c) : user_allowed(s, fd, c)))
		goto refuse;
	while (s->conns[slot] != NULL)
		slot++;
	c->server = s;
	c->listener = l;
	c->tcp = l->tcp;
	c->id = ++s->generation << 16 | slot;
	if (link_open(&c->link, s->loop, fd, false, &server_ops) < 0)
		goto refuse;
	s->conns[slot] = c;
	if (slot >= s->slots)
		s->slots = slot + 1;
	if (!l->tcp) {
		s->nlocal++;
		return;
	}
	s->ntcp++;
	c->hello_by_ms = uv_now(&s->loop->uv) + l->greeter.hello_ms;
	if (!uv_is_active((uv_handle_t *)s->hello))
		(void)uv_timer_start(s->hello, on_hello_sweep, HELLO_SWEEP_MS, HELLO_SWEEP_MS);
	return;
refuse:
	free(c);
	(void)close(fd);
}

static void
on_pause_over(uv_timer_t *t)
{
	struct rpc_server *s = t->data;

	if (s->draining)
		return;
	set_accepting(s, true, true);
	if (s->nlocal < RPC_CONNS_MAX)
		set_accepting(s, false, true);
}

static void
on_accept(uv_poll_t *p, int status, int events)
{
	struct listener *l = p->data;
	struct rpc_server *s = l->server;

	(void)events;
	if (status < 0)
		return;
	for (int i = 0; i < SERVER_ACCEPTS; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
			/* Out of descriptors: what is open goes on, newcomers wait in the backlog. */
			if (!s->starved)
				log_warn("agent.rpc", "cannot accept connections for now: error=\"%s\"", err_text(-errno));
			s->starved = true;
			set_accepting(s, false, false);
			set_accepting(s, true, false);
			(void)uv_timer_start(s->pause, on_pause_over, SERVER_PAUSE_MS, 0);
			return;
		}
		if (fd < 0) {
			s->starved = s->starved && errno != EAGAIN;
			return;
		}
		conn_open(s, l, fd);
		if (!l->tcp && s->nlocal == RPC_CONNS_MAX) {
			set_accepting(s, false, false);
			return;
		}
	}
}

/* Local listeners, or those of TCP. */
static void
set_accepting(struct rpc_server *s, bool tcp, bool on)
{
	for (size_t i = 0; i < s->nlisteners; i++)
		if (s->listeners[i].tcp == tcp && s->listeners[i].poll != NULL) {
			if (on)
				(void)uv_poll_start(s->listeners[i].poll, UV_READABLE, on_accept);
			else
				(void)uv_poll_stop(s->listeners[i].poll);
		}
}

static int
listen_on(struct rpc_server *s, int fd, const struct rpc_greeter *g)
{
	struct listener *l;
	uv_poll_t *p;
	int rc;

	if (s->nlisteners == SERVER_LISTENERS_MAX)
		return -ELIMIT;
	p = malloc(sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	rc = uv_poll_init(&s->loop->uv, p, fd);
	if (rc < 0) {
		free(p);
		return rc;
	}
	l = &s->listeners[s->nlisteners++];
	*l = (struct listener){ .poll = p, .fd = fd, .tcp = g != NULL, .server = s };
	if (g != NULL)
		l->greeter = *g;
	p->data = l;
	return uv_poll_start(p, UV_READABLE, on_accept);
}

int
rpc_server_listen(struct rpc_server *s, int fd)
{
	return listen_on(s, fd, NULL);
}

int
rpc_server_listen_tcp(struct rpc_server *s, int fd, const struct rpc_greeter *g)
{
	return listen_on(s, fd, g);
}

void
rpc_server_limit_host(struct rpc_server *s, size_t conns_per_host)
{
	for (size_t i = 0; i < s->nlisteners; i++)
		s->listeners[i].greeter.conns_per_host = conns_per_host;
}

void
rpc_server_close_peer(struct rpc_server *s, void *peer)
{
	for (size_t i = 0; i < s->slots; i++)
		if (s->conns[i] != NULL && s->conns[i]->peer == peer && peer != NULL)
			conn_fail(s->conns[i], -ECANCELED);
}

static void
listener_close(struct listener *l)
{
	if (l->poll == NULL)
		return;
	uv_close((uv_handle_t *)l->poll, free_handle);
	l->poll = NULL;
	(void)close(l->fd);
}

void
rpc_server_close_tcp(struct rpc_server *s)
{
	for (size_t i = 0; i < s->slots; i++)
		if (s->conns[i] != NULL && s->conns[i]->tcp)
			conn_free(s->conns[i], false);
	for (size_t i = 0; i < s->nlisteners; i++)
		if (s->listeners[i].tcp)
			listener_close(&s->listeners[i]);
}

static uv_timer_t *
timer_new(struct rpc_server *s)
{
	uv_timer_t *t = malloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	(void)uv_timer_init(&s->loop->uv, t);
	t->data = s;
	return t;
}

struct rpc_server *
rpc_server_new(struct loop *l, int fd, const struct rpc_server_config *c)
{
	struct rpc_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->loop = l;
	s->config = *c;
	s->tcp_in_max = RPC_TCP_IN_MAX;
	for (size_t i = 0; i < c->nroutes; i++) {
		assert(c->routes[i].op < SERVER_OPS_MAX);
		s->handlers[c->routes[i].op] = c->routes[i].handler;
	}
	s->pause = timer_new(s);
	s->hello = timer_new(s);
	if (s->pause != NULL && s->hello != NULL && rpc_server_listen(s, fd) == 0)
		return s;
	rpc_server_free(s);
	return NULL;
}

void
rpc_server_drain(struct rpc_server *s)
{
	s->draining = true;
	set_accepting(s, false, false);
	set_accepting(s, true, false);
}

void
rpc_server_free(struct rpc_server *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->slots; i++)
		if (s->conns[i] != NULL)
			conn_free(s->conns[i], false);
	for (size_t i = 0; i < s->nlisteners; i++)
		listener_close(&s->listeners[i]);
	if (s->pause != NULL)
		uv_close((uv_handle_t *)s->pause, free_handle);
	if (s->hello != NULL)
		uv_close((uv_handle_t *)s->hello, free_handle);
	free(s);
}

size_t
rpc_server_conns(const struct rpc_server *s)
{
	return s->nlocal + s->ntcp;
}
