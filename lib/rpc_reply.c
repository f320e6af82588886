/* rpc_reply.c - answers by token, straight into the connection's output buffer. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/rpc_conn.h"
#include "lib/metrics.h"

size_t
rpc_reply_queued(struct rpc_server *s, struct rpc_token t)
{
	const struct conn *c = conn_find(s, t.conn);

	return c != NULL ? link_queued(&c->link) : 0;
}

bool
rpc_request_open(const struct rpc_server *s, struct rpc_token t)
{
	const struct conn *c = conn_find(s, t.conn);

	return c != NULL && c->link.failed == 0 && open_has(&c->open, t.id);
}

static struct buf *
begin(struct rpc_server *s, struct rpc_token t, uint8_t kind, uint8_t flags)
{
	struct conn *c = conn_find(s, t.conn);
	struct frame f = { 0, kind, flags, t.op, t.id };

	assert(s->begun_conn == NULL);
	if (c == NULL || (kind == FRAME_REPLY ? !open_remove(&c->open, t.id, NULL) : !open_has(&c->open, t.id)))
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
	/* An event's request is still open. */
	if (open_has(&c->open, t.id) || open_add(&c->open, t.id, t.op))
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
	(void)open_add(&c->open, t.id, t.op);
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
rpc_reply_answer(struct rpc_server *s, struct rpc_token t, const struct rpc_answer *a)
{
	struct buf *b = begin(s, t, FRAME_REPLY, a->rc == -EPROTO ? FRAME_ERROR : 0);

	if (b != NULL)
		rpc_reply_end(s, t, buf_add(b, a->body, a->len) == 0);
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
	if (code >= 500)
		metric_add(metric_get("rpc.request_error", METRIC_COUNTER), 1);
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
	struct query_meta m = { .index = index, .known_leader = true };
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
