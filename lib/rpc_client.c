/* rpc_client.c - asking a daemon: pipelined calls, reconnects, deadlines. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/link.h"
#include "lib/log.h"
#include "lib/sock.h"

enum { BACKOFF_MIN_MS = 10, BACKOFF_MAX_MS = 500, SWEEP_MS = 100, CALL_KEEP = 1024, CALLS_SPARE_MAX = 256 };

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

struct rpc_client {
	struct loop *loop;
	int rundir_fd;
	char name[64];
	struct link link;
	bool linked, ready;	/* ready: connected */
	uv_timer_t *retry, *sweep;
	unsigned backoff_ms;
	struct call **calls;	/* by slot */
	size_t ncalls, nopen;
	struct call *spare;
	uint16_t generation;
	void (*on_state)(void *arg, bool connected);
	void *state_arg;
};

static void connect_now(struct rpc_client *c);

static void
free_handle(uv_handle_t *h)
{
	free(h);
}

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

static void
on_retry(uv_timer_t *t)
{
	struct rpc_client *c = t->data;

	if (!c->linked)
		connect_now(c);
}

static void
retry_later(struct rpc_client *c)
{
	(void)uv_timer_start(c->retry, on_retry, c->backoff_ms, 0);
	c->backoff_ms = c->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : c->backoff_ms * 2;
}

static int64_t
body_max(struct link *k, const struct frame *f)
{
	(void)k;
	return f->kind == FRAME_REPLY || f->kind == FRAME_EVENT ? (int64_t)RPC_REPLY_MAX : -1;
}

static int
on_frame(struct link *l, const struct frame *f, const uint8_t *body)
{
	struct rpc_client *c = (struct rpc_client *)(void *)((char *)l - offsetof(struct rpc_client, link));
	struct call *k = call_find(c, f->id);
	struct rpc_answer a = { .rc = (f->flags & FRAME_ERROR) != 0 ? -EPROTO : 0, .is_event = f->kind == FRAME_EVENT,
		.body = body, .len = f->len };
	rpc_answer_cb *cb;
	void *arg;

	set_ready(c, true);
	c->backoff_ms = BACKOFF_MIN_MS;
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

static void
on_closed(struct link *l, int rc)
{
	struct rpc_client *c = (struct rpc_client *)(void *)((char *)l - offsetof(struct rpc_client, link));

	link_close(&c->link);
	c->linked = false;
	if (rc == -EDECODE)
		log_warn("agent.rpc", "closing connection: daemon=%s error=\"%s\"", c->name, err_text(rc));
	set_ready(c, false);
	for (size_t i = 0; i < c->ncalls && !c->linked; i++) {
		struct call *k = c->calls[i];

		if (k->open && k->sent && (k->flags & RPC_RETRY) == 0)
			call_fail(c, k, -EUNKNOWN);
		else
			k->sent = false;
	}
	if (!c->linked && !uv_is_active((uv_handle_t *)c->retry))
		retry_later(c);
}

static const struct link_ops client_ops = { body_max, on_frame, on_closed, false };

static void
connect_now(struct rpc_client *c)
{
	char sock[80];
	int fd;

	(void)snprintf(sock, sizeof(sock), "%s.sock", c->name);
	fd = sock_unix_connect(c->rundir_fd, sock);
	if (fd < 0) {
		retry_later(c);
		return;
	}
	if (link_open(&c->link, c->loop, fd, false, &client_ops) < 0) {
		(void)close(fd);
		retry_later(c);
		return;
	}
	c->linked = true;
	set_ready(c, true);
	for (size_t i = 0; i < c->ncalls; i++)
		if (c->calls[i]->open && !c->calls[i]->sent)
			send_call(c, c->calls[i]);
}

/* ---- deadlines */

static void
on_sweep(uv_timer_t *t)
{
	struct rpc_client *c = t->data;
	uint64_t now = uv_now(&c->loop->uv);
	bool timed = false;

	for (size_t i = 0; i < c->ncalls; i++) {
		struct call *k = c->calls[i];

		if (k->open && k->deadline_ms != 0 && k->deadline_ms <= now) {
			if (k->sent && c->linked)
				(void)send_frame(c, FRAME_CANCEL, k->op, k->id, NULL, 0);
			call_fail(c, k, -ETIMEDOUT);
		}
	}
	/* Watches have none: an idle daemon that watches sleeps. Counted last, since callbacks may have asked again. */
	for (size_t i = 0; i < c->ncalls && !timed; i++)
		timed = c->calls[i]->open && c->calls[i]->deadline_ms != 0;
	if (!timed)
		(void)uv_timer_stop(t);
}

/* ---- the interface */

struct rpc_client *
rpc_client_new(struct loop *l, int rundir_fd, const char *name)
{
	struct rpc_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->loop = l;
	c->rundir_fd = rundir_fd;
	c->backoff_ms = BACKOFF_MIN_MS;
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	c->retry = malloc(sizeof(*c->retry));
	c->sweep = malloc(sizeof(*c->sweep));
	if (c->retry == NULL || c->sweep == NULL) {
		free(c->retry);
		free(c->sweep);
		free(c);
		return NULL;
	}
	(void)uv_timer_init(&l->uv, c->retry);
	(void)uv_timer_init(&l->uv, c->sweep);
	c->retry->data = c->sweep->data = c;
	return c;
}

void
rpc_client_free(struct rpc_client *c)
{
	if (c == NULL)
		return;
	if (c->linked)
		link_close(&c->link);
	uv_close((uv_handle_t *)c->retry, free_handle);
	uv_close((uv_handle_t *)c->sweep, free_handle);
	for (size_t i = 0; i < c->ncalls; i++) {
		buf_release(&c->calls[i]->body);
		free(c->calls[i]);
	}
	free(c->calls);
	free(c);
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
	if (k->deadline_ms != 0 && !uv_is_active((uv_handle_t *)c->sweep))
		(void)uv_timer_start(c->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	if (c->linked) {
		if (send_frame(c, FRAME_REQUEST, op, id, k->body.data, k->body.len) < 0) {
			call_release(c, k);
			return 0;
		}
		k->sent = true;
		if ((flags & RPC_RETRY) == 0)
			buf_shrink(&k->body, CALL_KEEP);
	} else if (!uv_is_active((uv_handle_t *)c->retry)) {
		(void)uv_timer_start(c->retry, on_retry, 0, 0);
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

bool
rpc_client_connected(const struct rpc_client *c)
{
	return c->linked && c->ready;
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
