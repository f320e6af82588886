/* rpc_server.c - accepting connections, handing requests to their handlers, replies by token. */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/link.h"
#include "lib/log.h"

enum { SERVER_LISTENERS_MAX = 4, SERVER_OPS_MAX = 512, SERVER_ACCEPTS = 32, SERVER_PAUSE_MS = 100 };

struct conn {
	struct link link;
	struct rpc_server *server;
	uint64_t id;			/* generation << 16 | slot */
	uid_t uid;
	pid_t pid;
	uint32_t *open;			/* ids of requests without an answer yet */
	uint16_t *open_op;
	size_t nopen, open_cap;
	struct conn *next_dead;
};

struct rpc_server {
	struct loop *loop;
	struct rpc_server_config config;
	rpc_handler *handlers[SERVER_OPS_MAX];
	uv_poll_t *listeners[SERVER_LISTENERS_MAX];
	int listen_fds[SERVER_LISTENERS_MAX];
	size_t nlisteners;
	uv_timer_t *pause;
	struct conn *conns[RPC_CONNS_MAX];
	size_t nconns, slots;		/* slots: one past the highest ever used */
	uint64_t generation;
	size_t begun;			/* where rpc_reply_begin() wrote */
	struct conn *begun_conn;
	bool draining;
	bool starved;			/* of descriptors: told in the log, until everybody who waits is served */
};

static void
free_handle(uv_handle_t *h)
{
	free(h);
}

/* ---- connections */

static struct conn *
conn_find(struct rpc_server *s, uint64_t id)
{
	struct conn *c = s->conns[id & 0xffff];

	return c != NULL && c->id == id ? c : NULL;
}

static bool
open_add(struct conn *c, uint32_t id, uint16_t op)
{
	if (c->nopen == c->open_cap) {
		size_t cap = c->open_cap != 0 ? c->open_cap * 2 : 64;
		uint32_t *ids = realloc(c->open, cap * sizeof(*ids));
		uint16_t *ops;

		if (ids == NULL)
			return false;
		c->open = ids;
		ops = realloc(c->open_op, cap * sizeof(*ops));
		if (ops == NULL)
			return false;
		c->open_op = ops;
		c->open_cap = cap;
	}
	c->open[c->nopen] = id;
	c->open_op[c->nopen++] = op;
	return true;
}

/* Parked watches gather at the front, quick answers are among the newest: look from the end. */
static bool
open_remove(struct conn *c, uint32_t id, uint16_t *ret_op)
{
	for (size_t i = c->nopen; i-- > 0;)
		if (c->open[i] == id) {
			if (ret_op != NULL)
				*ret_op = c->open_op[i];
			c->nopen--;
			memmove(c->open + i, c->open + i + 1, (c->nopen - i) * sizeof(*c->open));
			memmove(c->open_op + i, c->open_op + i + 1, (c->nopen - i) * sizeof(*c->open_op));
			return true;
		}
	return false;
}

static bool
open_has(const struct conn *c, uint32_t id)
{
	for (size_t i = 0; i < c->nopen; i++)
		if (c->open[i] == id)
			return true;
	return false;
}

static void
conn_free(struct conn *c)
{
	struct rpc_server *s = c->server;

	s->conns[c->id & 0xffff] = NULL;
	s->nconns--;
	link_close(&c->link);
	if (s->config.cancelled != NULL)
		for (size_t i = 0; i < c->nopen; i++)
			s->config.cancelled(s->config.ctx, (struct rpc_token){ c->id, c->open[i], c->open_op[i] });
	free(c->open);
	free(c->open_op);
	free(c);
}

static void set_accepting(struct rpc_server *s, bool on);

static void
on_closed(struct link *k, int rc)
{
	struct conn *c = (struct conn *)k;
	struct rpc_server *s = c->server;

	if (rc != -ECLOSED && rc != -ECONNRESET && rc != -EPIPE)
		log_warn("agent.rpc", "closing connection: pid=%d error=\"%s\"", (int)c->pid, err_text(rc));
	conn_free(c);
	if (s->nconns == RPC_CONNS_MAX - 1 && !s->draining)
		set_accepting(s, true);
}

static int64_t
body_max(struct link *k, const struct frame *f)
{
	const struct op_info *op = op_info(f->op);

	(void)k;
	switch (f->kind) {
	case FRAME_REQUEST:
		return op != NULL ? (int64_t)op->body_max : -1;
	case FRAME_CANCEL:
		return op != NULL ? 0 : -1;
	case FRAME_CREDIT:
		return op != NULL ? 9 : -1;
	default:
		return -1;
	}
}

static int
on_request(struct conn *c, const struct frame *f, const uint8_t *body)
{
	struct rpc_server *s = c->server;
	struct rpc_request req = {
		.token = { c->id, f->id, f->op }, .info = op_info(f->op), .body = body, .len = f->len, .uid = c->uid, .pid = c->pid,
	};

	if (f->id == 0 || c->nopen >= RPC_REQUESTS_MAX)
		return -EDECODE;
	if (!open_add(c, f->id, f->op))
		return -ENOMEM;
	if (s->handlers[f->op] == NULL) {
		rpc_reply_error(s, req.token, 404, "operation %s is not served here", req.info->name);
		return 0;
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
	case FRAME_CANCEL:
		if (open_remove(c, f->id, &t.op) && s->config.cancelled != NULL)
			s->config.cancelled(s->config.ctx, t);
		return 0;
	default:
		n = mp_r_uint(&r);
		if (!mp_r_done(&r) || n > UINT32_MAX)
			return -EDECODE;
		if (open_has(c, f->id) && s->config.credit != NULL)
			s->config.credit(s->config.ctx, t, (uint32_t)n);
		return 0;
	}
}

static const struct link_ops server_ops = { body_max, on_frame, on_closed, true };

/* ---- accepting */

static bool
peer_allowed(const struct rpc_server *s, int fd, struct conn *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int domain = 0;
	socklen_t dlen = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &dlen) < 0 || domain != AF_UNIX) {
		c->uid = (uid_t)-1;
		c->pid = 0;
		return domain != AF_UNIX;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	c->uid = cred.uid;
	c->pid = cred.pid;
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	for (size_t i = 0; i < s->config.nuids; i++)
		if (s->config.uids[i] == cred.uid)
			return true;
	log_warn("agent.rpc", "refusing connection: uid=%u pid=%d", (unsigned)cred.uid, (int)cred.pid);
	return false;
}

static void
conn_open(struct rpc_server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	size_t slot = 0;

	if (c == NULL || !peer_allowed(s, fd, c))
		goto refuse;
	while (s->conns[slot] != NULL)
		slot++;
	c->server = s;
	c->id = ++s->generation << 16 | slot;
	if (link_open(&c->link, s->loop, fd, false, &server_ops) < 0)
		goto refuse;
	s->conns[slot] = c;
	s->nconns++;
	if (slot >= s->slots)
		s->slots = slot + 1;
	return;
refuse:
	free(c);
	(void)close(fd);
}

static void
on_pause_over(uv_timer_t *t)
{
	struct rpc_server *s = t->data;

	if (!s->draining && s->nconns < RPC_CONNS_MAX)
		set_accepting(s, true);
}

static void
on_accept(uv_poll_t *p, int status, int events)
{
	struct rpc_server *s = p->data;
	uv_os_fd_t lfd;

	(void)events;
	if (status < 0 || uv_fileno((uv_handle_t *)p, &lfd) < 0)
		return;
	for (int i = 0; i < SERVER_ACCEPTS; i++) {
		int fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
			/* Out of descriptors: what is open goes on, newcomers wait in the backlog. */
			if (!s->starved)
				log_warn("agent.rpc", "cannot accept connections for now: error=\"%s\"", err_text(-errno));
			s->starved = true;
			set_accepting(s, false);
			(void)uv_timer_start(s->pause, on_pause_over, SERVER_PAUSE_MS, 0);
			return;
		}
		if (fd < 0) {
			s->starved = s->starved && errno != EAGAIN;
			return;
		}
		conn_open(s, fd);
		if (s->nconns == RPC_CONNS_MAX) {
			set_accepting(s, false);
			return;
		}
	}
}

static void
set_accepting(struct rpc_server *s, bool on)
{
	for (size_t i = 0; i < s->nlisteners; i++)
		if (on)
			(void)uv_poll_start(s->listeners[i], UV_READABLE, on_accept);
		else
			(void)uv_poll_stop(s->listeners[i]);
}

int
rpc_server_listen(struct rpc_server *s, int fd)
{
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
	p->data = s;
	s->listen_fds[s->nlisteners] = fd;
	s->listeners[s->nlisteners++] = p;
	return uv_poll_start(p, UV_READABLE, on_accept);
}

struct rpc_server *
rpc_server_new(struct loop *l, int fd, const struct rpc_server_config *c)
{
	struct rpc_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->loop = l;
	s->config = *c;
	s->pause = malloc(sizeof(*s->pause));
	if (s->pause == NULL || uv_timer_init(&l->uv, s->pause) < 0) {
		free(s->pause);
		free(s);
		return NULL;
	}
	s->pause->data = s;
	for (size_t i = 0; i < c->nroutes; i++) {
		assert(c->routes[i].op < SERVER_OPS_MAX);
		s->handlers[c->routes[i].op] = c->routes[i].handler;
	}
	if (rpc_server_listen(s, fd) < 0) {
		uv_close((uv_handle_t *)s->pause, free_handle);
		free(s);
		return NULL;
	}
	return s;
}

void
rpc_server_drain(struct rpc_server *s)
{
	s->draining = true;
	set_accepting(s, false);
}

void
rpc_server_free(struct rpc_server *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->slots; i++)
		if (s->conns[i] != NULL)
			conn_free(s->conns[i]);
	for (size_t i = 0; i < s->nlisteners; i++) {
		uv_close((uv_handle_t *)s->listeners[i], free_handle);
		(void)close(s->listen_fds[i]);
	}
	uv_close((uv_handle_t *)s->pause, free_handle);
	free(s);
}

size_t
rpc_reply_queued(struct rpc_server *s, struct rpc_token t)
{
	const struct conn *c = conn_find(s, t.conn);

	return c != NULL ? link_queued(&c->link) : 0;
}

size_t
rpc_server_conns(const struct rpc_server *s)
{
	return s->nconns;
}

/* ---- answering */

static struct buf *
begin(struct rpc_server *s, struct rpc_token t, uint8_t kind, uint8_t flags)
{
	struct conn *c = conn_find(s, t.conn);
	struct frame f = { 0, kind, flags, t.op, t.id };

	assert(s->begun_conn == NULL);
	if (c == NULL || (kind == FRAME_REPLY ? !open_remove(c, t.id, NULL) : !open_has(c, t.id)))
		return NULL;
	if (link_frame_begin(&c->link, &f, &s->begun) < 0)
		return NULL;
	s->begun_conn = c;
	return &c->link.out;
}

static void
end(struct rpc_server *s, struct rpc_token t, bool ok)
{
	struct conn *c = s->begun_conn;

	assert(c != NULL && c->id == t.conn);
	s->begun_conn = NULL;
	if (ok && c->link.out.len - s->begun - FRAME_HEADER <= RPC_REPLY_MAX) {
		link_frame_end(&c->link, s->begun);
		return;
	}
	link_frame_drop(&c->link, s->begun);
	if (open_add(c, t.id, t.op))
		rpc_reply_error(s, t, 500, "the answer is too large or memory is short");
}

struct buf *
rpc_reply_begin(struct rpc_server *s, struct rpc_token t)
{
	return begin(s, t, FRAME_REPLY, 0);
}

void
rpc_reply_end(struct rpc_server *s, struct rpc_token t, bool ok)
{
	end(s, t, ok);
}

void
rpc_reply_drop(struct rpc_server *s, struct rpc_token t)
{
	struct conn *c = s->begun_conn;

	assert(c != NULL && c->id == t.conn);
	s->begun_conn = NULL;
	link_frame_drop(&c->link, s->begun);
	/* begin() has just made the place that this takes again: it cannot fail. */
	(void)open_add(c, t.id, t.op);
}

struct buf *
rpc_event_begin(struct rpc_server *s, struct rpc_token t)
{
	/* A line logged while a reply is being written cannot go into the middle of it. */
	if (s->begun_conn != NULL)
		return NULL;
	return begin(s, t, FRAME_EVENT, 0);
}

void
rpc_event_end(struct rpc_server *s, struct rpc_token t, bool ok)
{
	if (ok) {
		end(s, t, true);
		return;
	}
	link_frame_drop(&s->begun_conn->link, s->begun);
	s->begun_conn = NULL;
}

void
rpc_reply_bytes(struct rpc_server *s, struct rpc_token t, const void *body, size_t len)
{
	struct buf *b = rpc_reply_begin(s, t);

	if (b != NULL)
		rpc_reply_end(s, t, buf_add(b, body, len) == 0);
}

void
rpc_reply_error(struct rpc_server *s, struct rpc_token t, int code, const char *fmt, ...)
{
	char text[2048];
	struct rpc_error e = { (uint64_t)code, STR_NONE };
	struct buf *b;
	struct mp_w w;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	e.text = str_from(text);
	b = begin(s, t, FRAME_REPLY, FRAME_ERROR);
	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_rpc_error, &e, RECORD_WHOLE, &w);
	if (w.err == 0) {
		rpc_reply_end(s, t, true);
		return;
	}
	/* Not even that fits: the asker's deadline will tell it. */
	link_frame_drop(&s->begun_conn->link, s->begun);
	s->begun_conn = NULL;
}

/* QueryMeta, after which the caller writes the payload. */
static struct buf *
begin_meta(struct rpc_server *s, struct rpc_token t, uint64_t index, struct mp_w *w)
{
	struct query_meta m = { index, 0, true };
	struct buf *b = rpc_reply_begin(s, t);

	if (b == NULL)
		return NULL;
	*w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, w);
	return b;
}

void
rpc_reply_nil(struct rpc_server *s, struct rpc_token t, uint64_t index)
{
	struct mp_w w;

	if (begin_meta(s, t, index, &w) == NULL)
		return;
	mp_w_nil(&w);
	rpc_reply_end(s, t, w.err == 0);
}

void
rpc_reply_bool(struct rpc_server *s, struct rpc_token t, uint64_t index, bool v)
{
	struct mp_w w;

	if (begin_meta(s, t, index, &w) == NULL)
		return;
	mp_w_bool(&w, v);
	rpc_reply_end(s, t, w.err == 0);
}

void
rpc_reply_text(struct rpc_server *s, struct rpc_token t, uint64_t index, struct str v)
{
	struct mp_w w;

	if (begin_meta(s, t, index, &w) == NULL)
		return;
	mp_w_str(&w, v);
	rpc_reply_end(s, t, w.err == 0);
}

/* The connection is closed at the end of the turn; its other requests are cancelled. */
void
rpc_bad_request(struct rpc_server *s, const struct rpc_request *req, const char *why)
{
	struct conn *c = conn_find(s, req->token.conn);

	if (c == NULL)
		return;
	log_warn("agent.rpc", "malformed request: op=%s pid=%d error=\"%s\"", req->info->name, (int)req->pid, why);
	c->link.failed = -EDECODE;
	loop_defer(s->loop, DEFER_FLUSH, &c->link.flush);
}
