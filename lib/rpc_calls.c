/* rpc_calls.c - what a client asks: open calls by id, deadlines, answers. */
#include <stdlib.h>
#include <string.h>

#include "lib/rpc_client.h"

enum { SWEEP_MS = 100, CALL_KEEP = 1024 };

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

/* It holds the token that it was asked with. */
static void
forget_body(struct call *k)
{
	buf_wipe(&k->body);
	buf_shrink(&k->body, CALL_KEEP);
}

static void
call_release(struct rpc_client *c, struct call *k)
{
	k->open = false;
	forget_body(k);
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

/* ---- sending and answering */

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
		forget_body(k);
}

void
calls_begin(struct rpc_client *c)
{
	for (size_t i = 0; i < c->ncalls && c->linked && !c->freed; i++)
		if (c->calls[i]->open && !c->calls[i]->sent)
			send_call(c, c->calls[i]);
}

void
calls_lost(struct rpc_client *c)
{
	for (size_t i = 0; i < c->ncalls && !c->linked && !c->freed; i++) {
		struct call *k = c->calls[i];

		if (k->open && k->sent && (k->flags & RPC_RETRY) == 0)
			call_fail(c, k, -EUNKNOWN);
		else
			k->sent = false;
	}
}

void
calls_answer(struct rpc_client *c, uint32_t id, const struct rpc_answer *a)
{
	struct call *k = call_find(c, id);
	rpc_answer_cb *cb;
	void *arg;

	/* To a call that was cancelled or timed out meanwhile. */
	if (k == NULL)
		return;
	cb = k->cb;
	arg = k->arg;
	if (!a->is_event)
		call_release(c, k);
	cb(arg, a);
}

void
calls_drop(struct rpc_client *c)
{
	for (size_t i = 0; i < c->ncalls; i++)
		c->calls[i]->open = false;
}

void
calls_free(struct rpc_client *c)
{
	for (size_t i = 0; i < c->ncalls; i++) {
		buf_wipe(&c->calls[i]->body);
		buf_release(&c->calls[i]->body);
		free(c->calls[i]);
	}
	free(c->calls);
}

/* ---- deadlines */

void
calls_sweep(uv_timer_t *t)
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

/* ---- asking */

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
		(void)uv_timer_start(&c->sweep, calls_sweep, SWEEP_MS, SWEEP_MS);
	if (c->ready) {
		if (send_frame(c, FRAME_REQUEST, op, id, k->body.data, k->body.len) < 0) {
			call_release(c, k);
			return 0;
		}
		k->sent = true;
		if ((flags & RPC_RETRY) == 0)
			forget_body(k);
	} else {
		client_wake(c);
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

void
rpc_error_decode(const struct rpc_answer *a, struct rpc_error *ret)
{
	struct arena none = ARENA_INIT(0);
	struct mp_r r = mp_r_init(a->body, a->len);

	if (record_decode(&rec_rpc_error, &r, ret, &none) < 0 || ret->code < 400 || ret->code > 599)
		*ret = (struct rpc_error){ 500, STR("malformed error reply") };
}
