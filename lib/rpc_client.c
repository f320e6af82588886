/* rpc_client.c - the connection to a daemon, here or on another node: made again when it is lost, greeted, posts. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/rpc_client.h"

enum { HELLO_MAX = 4096 };

/* To local daemons, and to other nodes. */
static const struct backoff backoff_local = { 10, 500 }, backoff_tcp = { 50, 1000 };

static void connect_now(struct rpc_client *c);

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
	calls_begin(c);
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
	const struct rpc_answer a = { .rc = (f->flags & FRAME_ERROR) != 0 ? -EPROTO : 0, .is_event = f->kind == FRAME_EVENT,
		.body = body, .len = f->len };

	if (!c->ready) {
		on_greeted(c, &a);
		return 0;
	}
	c->backoff_ms = c->backoff->min_ms;
	calls_answer(c, f->id, &a);
	return 0;
}

static void
lose(struct rpc_client *c, int rc)
{
	bool was_ready = c->ready;

	link_close(&c->link);
	c->linked = false;
	set_ready(c, false);
	calls_lost(c);
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

void
client_wake(struct rpc_client *c)
{
	if (!c->linked && !uv_is_active((uv_handle_t *)&c->retry))
		(void)uv_timer_start(&c->retry, on_retry, 0, 0);
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
	calls_free(c);
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
	calls_drop(c);
	uv_close((uv_handle_t *)&c->retry, on_timer_closed);
	uv_close((uv_handle_t *)&c->sweep, on_timer_closed);
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
