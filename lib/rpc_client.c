/* rpc_client.c - asking a daemon, here or on another node: pipelined calls, posts, reconnects, deadlines. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/link.h"
#include "lib/log.h"
#include "lib/sock.h"

enum { SWEEP_MS = 100, CALL_KEEP = 1024, HELLO_MAX = 4096 };

/* Waiting times between attempts to connect: of local daemons and of other nodes. */
static const struct backoff {
	unsigned min_ms, max_ms;
} backoff_local = { 10, 500 }, backoff_tcp = { 50, 1000 };

/* Of peer.hello: no call has it, since its slot would be above RPC_REQUESTS_MAX. */
#define HELLO_ID UINT32_MAX

/* An open call; body is kept while it may have to be sent again. */
struct call {
	struct call *next;	/* free list */
	uint32_t id;		/* slot + 1, with a generation above */
	uint16_t op;
	unsigned flags;
	uint64_t deadline_ms;	/* 0: none */
	bool open, sent;
	struct buf body;
	rpc_answer_cb *cb;
	void *arg;
};

/*
 * linked: there is a socket. ready: it is connected and, over TCP, greeted.
 * The timer `retry` runs while it is not linked (the next attempt) and, over
 * TCP, while it is linked and not ready (the end of this attempt).
 */
struct rpc_client {
	struct loop *loop;
	int rundir_fd;
	char name[SOCK_ADDR_TEXT_MAX];
	bool tcp, bound;	/* bound: to the local address `from` */
	union sock_addr addr, from;
	struct rpc_greeting greeting;
	struct link link;
	bool linked, ready;
	bool freed;		/* its memory goes when libuv has let go of the timers */
	uv_timer_t retry, sweep;
	int timers;
	const struct backoff *backoff;
	unsigned backoff_ms;
	size_t post;		/* where rpc_post_begin() wrote */
	uint16_t post_op;
	struct call **calls;	/* by slot */
	size_t ncalls, nopen;
	struct call *spare;
	uint16_t generation;
	void (*on_state)(void *arg, bool connected);
	void *state_arg;
};

static void connect_now(struct rpc_client *c);

/* ---- the table of open calls: id = generation << 17 | slot + 1 */

enum { SLOT_BITS = 17 };

static struct call *
call_find(struct rpc_client *c, uint32_t id)
{
	size_t slot = (id & ((1u << SLOT_BITS) - 1)) - 1;
	struct call *k = slot < c->ncalls ? c->calls[slot] : NULL;

	return k != NULL && k->open && k->id == id ? k : NULL;
}

static bool
calls_grow(struct rpc_client *c)
{
	size_t n = c->ncalls != 0 ? c->ncalls * 2 : 16;
	struct call **v = realloc(c->calls, n * sizeof(struct call *));

	if (v == NULL)
		return false;
	c->calls = v;
	for (size_t i = c->ncalls; i < n; i++) {
		v[i] = calloc(1, sizeof(**v));
		if (v[i] == NULL)
			return c->spare != NULL;
		v[i]->id = (uint32_t)i + 1;
		buf_init(&v[i]->body, (size_t)RPC_REPLY_MAX);
		v[i]->next = c->spare;
		c->spare = v[i];
		c->ncalls = i + 1;
	}
	return true;
}

static struct call *
call_new(struct rpc_client *c)
{
	struct call *k;

	if (c->nopen >= RPC_REQUESTS_MAX || (c->spare == NULL && !calls_grow(c)))
		return NULL;
	k = c->spare;
	c->spare = k->next;
	k->id += 1u << SLOT_BITS;
	k->open = true;
	k->sent = false;
	c->nopen++;
	return k;
}

static void
call_release(struct rpc_client *c, struct call *k)
{
	k->open = false;
	buf_shrink(&k->body, CALL_KEEP);
	k->next = c->spare;
	c->spare = k;
	c->nopen--;
}

static void
call_fail(struct rpc_client *c, struct call *k, int rc)
{
	rpc_answer_cb *cb = k->cb;
	void *arg = k->arg;
	struct rpc_answer a = { .rc = rc };

	call_release(c, k);
	cb(arg, &a);
}

/* ---- the connection */

static int
send_frame(struct rpc_client *c, uint8_t kind, uint16_t op, uint32_t id, const void *body, size_t len)
{
	struct frame f = { 0, kind, 0, op, id };
	size_t at;
	int rc = link_frame_begin(&c->link, &f, &at);

	if (rc < 0)
		return rc;
	rc = buf_add(&c->link.out, body, len);
	if (rc < 0)
		link_frame_drop(&c->link, at);
	else
		link_frame_end(&c->link, at);
	return rc;
}

static void
send_call(struct rpc_client *c, struct call *k)
{
	if (send_frame(c, FRAME_REQUEST, k->op, k->id, k->body.data, k->body.len) < 0) {
		call_fail(c, k, -ENOMEM);
		return;
	}
	k->sent = true;
	if ((k->flags & RPC_RETRY) == 0)
		buf_shrink(&k->body, CALL_KEEP);
}

static void
set_ready(struct rpc_client *c, bool ready)
{
	if (c->ready == ready)
		return;
	c->ready = ready;
	if (c->on_state != NULL)
		c->on_state(c->state_arg, ready);
}

static void on_retry(uv_timer_t *t);

static void
retry_later(struct rpc_client *c)
{
	(void)uv_timer_start(&c->retry, on_retry, c->backoff_ms, 0);
	c->backoff_ms = c->backoff_ms * 2 > c->backoff->max_ms ? c->backoff->max_ms : c->backoff_ms * 2;
}

/* This attempt came to nothing. */
static void
attempt_failed(struct rpc_client *c, int rc)
{
	const struct rpc_answer a = { .rc = rc };

	if (c->tcp)
		(void)c->greeting.greeted(c->greeting.arg, &a);
	if (!c->freed)
		retry_later(c);
}

static struct rpc_client *
of_link(struct link *l)
{
	return (struct rpc_client *)(void *)((char *)l - offsetof(struct rpc_client, link));
}

static int64_t
body_max(struct link *l, const struct frame *f)
{
	const struct rpc_client *c = of_link(l);

	if (c->tcp && !c->ready)
		return f->kind == FRAME_REPLY && f->id == HELLO_ID ? (int64_t)HELLO_MAX : -1;
	return f->kind == FRAME_REPLY || f->kind == FRAME_EVENT ? (int64_t)RPC_REPLY_MAX : -1;
}

/* Connected: what waited goes out. */
static void
begin_calls(struct rpc_client *c)
{
	set_ready(c, true);
	for (size_t i = 0; i < c->ncalls && c->linked && !c->freed; i++)
		if (c->calls[i]->open && !c->calls[i]->sent)
			send_call(c, c->calls[i]);
}

static void
on_greeted(struct rpc_client *c, const struct rpc_answer *a)
{
	int rc = c->greeting.greeted(c->greeting.arg, a);

	if (c->freed)
		return;
	if (rc < 0 || a->rc < 0) {
		link_close(&c->link);
		c->linked = false;
		retry_later(c);
		return;
	}
	(void)uv_timer_stop(&c->retry);
	c->backoff_ms = c->backoff->min_ms;
	begin_calls(c);
}

static int
on_frame(struct link *l, const struct frame *f, const uint8_t *body)
{
	struct rpc_client *c = of_link(l);
	struct call *k = call_find(c, f->id);
	struct rpc_answer a = { .rc = (f->flags & FRAME_ERROR) != 0 ? -EPROTO : 0, .is_event = f->kind == FRAME_EVENT,
		.body = body, .len = f->len };
	rpc_answer_cb *cb;
	void *arg;

	if (!c->ready) {
		on_greeted(c, &a);
		return 0;
	}
	c->backoff_ms = c->backoff->min_ms;
	/* An answer to a call that was cancelled or timed out meanwhile. */
	if (k == NULL)
		return 0;
	cb = k->cb;
	arg = k->arg;
	if (!a.is_event)
		call_release(c, k);
	cb(arg, &a);
	return 0;
}

/* The connection has gone: calls that may be repeated wait for the next one, the others end here. */
static void
lose(struct rpc_client *c, int rc)
{
	bool was_ready = c->ready;

	link_close(&c->link);
	c->linked = false;
	set_ready(c, false);
	for (size_t i = 0; i < c->ncalls && !c->linked && !c->freed; i++) {
		struct call *k = c->calls[i];

		if (k->open && k->sent && (k->flags & RPC_RETRY) == 0)
			call_fail(c, k, -EUNKNOWN);
		else
			k->sent = false;
	}
	if (c->linked || c->freed)
		return;
	if (!was_ready)
		attempt_failed(c, rc);
	else if (!uv_is_active((uv_handle_t *)&c->retry))
		retry_later(c);
}

static void
on_closed(struct link *l, int rc)
{
	struct rpc_client *c = of_link(l);

	/* Who greets is told by greeted(). */
	if (rc == -EDECODE && c->ready)
		log_warn("agent.rpc", "closing connection: %s=%s error=\"%s\"", c->tcp ? "peer" : "daemon", c->name, err_text(rc));
	lose(c, rc);
}

static const struct link_ops client_ops = { body_max, on_frame, on_closed, false };

/* peer.hello is the first thing that goes out. */
static int
greet(struct rpc_client *c)
{
	const struct frame f = { 0, FRAME_REQUEST, 0, OP_PEER_HELLO, HELLO_ID };
	size_t at;
	int rc = link_frame_begin(&c->link, &f, &at);

	if (rc == 0)
		rc = c->greeting.greet(c->greeting.arg, &c->link.out);
	if (rc == 0)
		link_frame_end(&c->link, at);
	return rc;
}

static int
open_socket(struct rpc_client *c)
{
	char sock[80];

	if (c->tcp)
		return sock_inet_connect(&c->addr, c->bound ? &c->from : NULL);
	(void)snprintf(sock, sizeof(sock), "%s.sock", c->name);
	return sock_unix_connect(c->rundir_fd, sock);
}

static void
connect_now(struct rpc_client *c)
{
	int fd = open_socket(c), rc = fd;

	if (fd >= 0) {
		rc = link_open(&c->link, c->loop, fd, c->tcp, &client_ops);
		if (rc < 0)
			(void)close(fd);
	}
	if (rc >= 0 && c->tcp) {
		rc = greet(c);
		if (rc < 0)
			link_close(&c->link);
	}
	if (rc < 0) {
		attempt_failed(c, rc);
		return;
	}
	c->linked = true;
	if (c->tcp)
		(void)uv_timer_start(&c->retry, on_retry, c->greeting.connect_ms, 0);
	else
		begin_calls(c);
}

static void
on_retry(uv_timer_t *t)
{
	struct rpc_client *c = t->data;

	if (c->linked)
		lose(c, -ETIMEDOUT);
	else
		connect_now(c);
}

/* ---- deadlines */

static void
on_sweep(uv_timer_t *t)
{
	struct rpc_client *c = t->data;
	uint64_t now = uv_now(&c->loop->uv);
	bool timed = false;

	for (size_t i = 0; i < c->ncalls && !c->freed; i++) {
		struct call *k = c->calls[i];

		if (k->open && k->deadline_ms != 0 && k->deadline_ms <= now) {
			if (k->sent && c->linked)
				(void)send_frame(c, FRAME_CANCEL, k->op, k->id, NULL, 0);
			call_fail(c, k, -ETIMEDOUT);
		}
	}
	if (c->freed)
		return;
	/* Watches have none: an idle daemon that watches sleeps. Counted last, since callbacks may have asked again. */
	for (size_t i = 0; i < c->ncalls && !timed; i++)
		timed = c->calls[i]->open && c->calls[i]->deadline_ms != 0;
	if (!timed)
		(void)uv_timer_stop(t);
}

/* ---- the interface */

static struct rpc_client *
client_new(struct loop *l, const char *name, const struct backoff *b)
{
	struct rpc_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->loop = l;
	c->backoff = b;
	c->backoff_ms = b->min_ms;
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	(void)uv_timer_init(&l->uv, &c->retry);
	(void)uv_timer_init(&l->uv, &c->sweep);
	c->timers = 2;
	c->retry.data = c->sweep.data = c;
	return c;
}

struct rpc_client *
rpc_client_new(struct loop *l, int rundir_fd, const char *name)
{
	struct rpc_client *c = client_new(l, name, &backoff_local);

	if (c != NULL)
		c->rundir_fd = rundir_fd;
	return c;
}

struct rpc_client *
rpc_client_new_tcp(struct loop *l, const char *ip, uint16_t port, const struct rpc_greeting *g)
{
	char name[SOCK_ADDR_TEXT_MAX];
	union sock_addr addr, from;
	struct rpc_client *c;

	if (sock_addr_parse(ip, port, &addr) < 0)
		return NULL;
	sock_addr_format(&addr, name);
	c = client_new(l, name, &backoff_tcp);
	if (c == NULL)
		return NULL;
	c->tcp = true;
	c->addr = addr;
	c->greeting = *g;
	/* Only one of the same family can be where the connection comes from. */
	c->bound = g->from != NULL && sock_addr_parse(g->from, 0, &from) == 0 && from.sa.sa_family == addr.sa.sa_family;
	if (c->bound)
		c->from = from;
	(void)uv_timer_start(&c->retry, on_retry, 0, 0);
	return c;
}

static void
on_timer_closed(uv_handle_t *h)
{
	struct rpc_client *c = h->data;

	if (--c->timers > 0)
		return;
	for (size_t i = 0; i < c->ncalls; i++) {
		buf_release(&c->calls[i]->body);
		free(c->calls[i]);
	}
	free(c->calls);
	free(c);
}

void
rpc_client_free(struct rpc_client *c)
{
	if (c == NULL)
		return;
	/* A callback of its own may free it: what called that looks at `freed`. */
	c->freed = true;
	c->on_state = NULL;
	if (c->linked)
		link_close(&c->link);
	c->linked = c->ready = false;
	for (size_t i = 0; i < c->ncalls; i++)
		c->calls[i]->open = false;
	uv_close((uv_handle_t *)&c->retry, on_timer_closed);
	uv_close((uv_handle_t *)&c->sweep, on_timer_closed);
}

static uint32_t
call_start(struct rpc_client *c, struct call *k, uint16_t op, unsigned flags, uint32_t timeout_ms, rpc_answer_cb *cb,
    void *arg)
{
	uint32_t id = k->id;
	const struct op_info *info = op_info(op);

	/* The server would close the connection, and everybody's calls with it. */
	if (info != NULL && k->body.len > info->body_max) {
		call_release(c, k);
		return 0;
	}
	k->op = op;
	k->flags = flags;
	k->cb = cb;
	k->arg = arg;
	k->deadline_ms = (flags & RPC_NO_DEADLINE) != 0 ? 0 : uv_now(&c->loop->uv) + timeout_ms;
	if (k->deadline_ms != 0 && !uv_is_active((uv_handle_t *)&c->sweep))
		(void)uv_timer_start(&c->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	if (c->ready) {
		if (send_frame(c, FRAME_REQUEST, op, id, k->body.data, k->body.len) < 0) {
			call_release(c, k);
			return 0;
		}
		k->sent = true;
		if ((flags & RPC_RETRY) == 0)
			buf_shrink(&k->body, CALL_KEEP);
	} else if (!c->linked && !uv_is_active((uv_handle_t *)&c->retry)) {
		(void)uv_timer_start(&c->retry, on_retry, 0, 0);
	}
	return id;
}

uint32_t
rpc_call(struct rpc_client *c, uint16_t op, const void *body, size_t len, unsigned flags, uint32_t timeout_ms,
    rpc_answer_cb *cb, void *arg)
{
	struct call *k = call_new(c);

	if (k == NULL)
		return 0;
	if (buf_add(&k->body, body, len) < 0) {
		call_release(c, k);
		return 0;
	}
	return call_start(c, k, op, flags, timeout_ms, cb, arg);
}

uint32_t
rpc_call_record(struct rpc_client *c, uint16_t op, const struct query_options *o, const void *request, unsigned flags,
    uint32_t timeout_ms, rpc_answer_cb *cb, void *arg)
{
	struct call *k = call_new(c);

	if (k == NULL)
		return 0;
	if (op_request_encode(op, o, request, &k->body) < 0) {
		call_release(c, k);
		return 0;
	}
	return call_start(c, k, op, flags, timeout_ms, cb, arg);
}

void
rpc_cancel(struct rpc_client *c, uint32_t id)
{
	struct call *k = call_find(c, id);

	if (k == NULL)
		return;
	if (k->sent && c->linked)
		(void)send_frame(c, FRAME_CANCEL, k->op, id, NULL, 0);
	call_release(c, k);
}

void
rpc_give_credit(struct rpc_client *c, uint32_t id, uint32_t n)
{
	struct call *k = call_find(c, id);
	struct buf b = BUF_INIT(16);
	struct mp_w w = mp_w_init(&b);

	if (k == NULL || !k->sent || !c->linked)
		return;
	mp_w_uint(&w, n);
	if (w.err == 0)
		(void)send_frame(c, FRAME_CREDIT, k->op, id, b.data, b.len);
	buf_release(&b);
}

struct buf *
rpc_post_begin(struct rpc_client *c, uint16_t op)
{
	const struct frame f = { 0, FRAME_POST, 0, op, 0 };

	if (!c->ready || link_queued(&c->link) > RPC_OUT_HIGH || link_frame_begin(&c->link, &f, &c->post) < 0)
		return NULL;
	c->post_op = op;
	return &c->link.out;
}

void
rpc_post_end(struct rpc_client *c, bool ok)
{
	if (ok && c->link.out.len - c->post - FRAME_HEADER <= op_info(c->post_op)->body_max)
		link_frame_end(&c->link, c->post);
	else
		link_frame_drop(&c->link, c->post);
}

size_t
rpc_client_queued(const struct rpc_client *c)
{
	return c->linked ? link_queued(&c->link) : 0;
}

bool
rpc_client_connected(const struct rpc_client *c)
{
	return c->ready;
}

void
rpc_client_on_state(struct rpc_client *c, void (*cb)(void *arg, bool connected), void *arg)
{
	c->on_state = cb;
	c->state_arg = arg;
}

void
rpc_error_decode(const struct rpc_answer *a, struct rpc_error *ret)
{
	struct arena none = ARENA_INIT(0);
	struct mp_r r = mp_r_init(a->body, a->len);

	if (record_decode(&rec_rpc_error, &r, ret, &none) < 0 || ret->code < 400 || ret->code > 599)
		*ret = (struct rpc_error){ 500, STR("malformed error reply") };
}
