/* snapshot.c - GET and PUT /v1/snapshot */
#include "httpd/snapshot.h"

#include <sodium.h>
#include <stdlib.h>

#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/server.h"
#include "httpd/upstream.h"

enum { PIECE = 256 * 1024, BUFFER_MAX = 4 * PIECE + HTTP_POOL_MAX };

struct transfer {
	struct request *r;
	uint8_t id[16];			/* download: raftd's name for it; upload: ours */
	uint64_t size;			/* of a download */
	uint64_t offset;		/* asked for, or handed to raftd, so far */
	struct buf buf;			/* download: not yet taken by the client; upload: not yet handed on */
	size_t taken;			/* download: of buf, by the client */
	bool known;			/* raftd has something under this id that it would have to forget */
	bool suspended;			/* by the reader of a download */
	bool complete;			/* upload: the whole body has arrived */
	bool failed;
};

static struct transfer *
transfer_new(struct request *r)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->r = r;
	buf_init(&t->buf, BUFFER_MAX);
	r->transfer = t;
	return t;
}

static struct str
id_of(const struct transfer *t)
{
	return (struct str){ (const char *)t->id, sizeof(t->id) };
}

static void
on_forgotten(void *arg, const struct rpc_answer *a)
{
	(void)arg;
	(void)a;
}

/* A read behind the end ends a download, a piece out of order an upload. Unanswered, raftd forgets both in a minute. */
static void
forget(struct transfer *t)
{
	const struct snapshot_chunk c = { .id = id_of(t), .offset = UINT64_MAX };
	uint16_t op = t->r->method == M_GET ? OP_SNAPSHOT_READ : OP_SNAPSHOT_WRITE;

	if (t->known)
		(void)rpc_call_record(upstream_client(t->r->h, op), op, &t->r->opts, &c, 0, HTTP_HOLD_MARGIN_MS, on_forgotten, NULL);
}

void
snapshot_leave(struct request *r)
{
	struct transfer *t = r->transfer;

	if (t == NULL)
		return;
	forget(t);
	r->transfer = NULL;
	buf_release(&t->buf);
	free(t);
}

/* ---- GET */

static void
resume(struct transfer *t)
{
	if (!t->suspended)
		return;
	t->suspended = false;
	MHD_resume_connection(t->r->mhd);
	server_kick(t->r->h);
}

static void on_piece(struct request *r, const struct rpc_answer *a);

/* The next piece, unless it is being asked for, or enough lies here. */
static void
ask(struct transfer *t)
{
	const struct snapshot_chunk c = { .id = id_of(t), .offset = t->offset };

	if (t->r->call == 0 && !t->failed && t->offset < t->size && t->buf.len - t->taken < PIECE)
		upstream_ask(t->r, OP_SNAPSHOT_READ, &c, on_piece);
}

static bool
add_piece(struct transfer *t, const struct rpc_answer *a)
{
	struct query_meta meta;
	struct str payload, bytes;
	struct mp_r in;

	if (a->rc != 0 || op_reply_decode(a->body, a->len, &meta, &payload) < 0)
		return false;
	in = mp_r_init(payload.p, payload.len);
	bytes = mp_r_str(&in);
	if (!mp_r_done(&in) || bytes.len == 0 || bytes.len > t->size - t->offset)
		return false;
	buf_consume(&t->buf, t->taken);
	t->taken = 0;
	if (buf_add(&t->buf, bytes.p, bytes.len) < 0)
		return false;
	t->offset += bytes.len;
	return true;
}

/* What was promised cannot be kept: the connection ends before its body does. */
static void
fail_download(struct transfer *t)
{
	t->failed = true;
	resume(t);
}

static void
on_piece(struct request *r, const struct rpc_answer *a)
{
	struct transfer *t = r->transfer;

	if (!add_piece(t, a)) {
		log_err("agent.http", "a snapshot's download is cut short: offset=%llu of=%llu", (unsigned long long)t->offset,
		    (unsigned long long)t->size);
		fail_download(t);
		return;
	}
	resume(t);
	ask(t);
}

static ssize_t
read_pieces(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct transfer *t = cls;
	size_t n = t->buf.len - t->taken < max ? t->buf.len - t->taken : max;

	(void)pos;
	if (n > 0) {
		memcpy(buf, t->buf.data + t->taken, n);
		t->taken += n;
		ask(t);
		return (ssize_t)n;
	}
	ask(t);
	/* A question that could not even be asked was answered in its place. */
	if (t->failed || t->r->call == 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	MHD_suspend_connection(t->r->mhd);
	t->suspended = true;
	return 0;
}

/* The first piece is there, so that what goes wrong until then has an answer of its own. */
static void
on_first(struct request *r, const struct rpc_answer *a)
{
	struct transfer *t = r->transfer;

	if (!add_piece(t, a)) {
		if (a->rc != 0)
			respond_failed(r, a);
		else
			respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	r->reply.content = CONTENT_GZIP;
	r->reply.flags = REPLY_META;
	r->shared = shared_reply_stream(r->h, &r->view, &r->reply, t->size, read_pieces, t);
	if (r->shared == NULL)
		respond_empty(r, 500);
	else
		respond_done(r);
}

static void
on_saved(struct request *r, const struct rpc_answer *a)
{
	struct transfer *t = r->transfer;
	struct snapshot_info info;
	struct str payload;
	struct mp_r in;
	struct snapshot_chunk c;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_snapshot_info, &in, &info, &r->arena) < 0 || info.id.len != sizeof(t->id) || info.size == 0) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	memcpy(t->id, info.id.p, sizeof(t->id));
	t->size = info.size;
	t->known = true;
	r->reply.meta.index = info.index;
	c = (struct snapshot_chunk){ .id = id_of(t) };
	upstream_ask(r, OP_SNAPSHOT_READ, &c, on_first);
}

/* ---- PUT */

/* An answer before the end of the body: what is still to come is read and dropped first. */
static void
settle(struct request *r)
{
	if (r->state == REQ_READY && !r->transfer->complete)
		r->state = REQ_DRAIN;
}

static void
on_restored(struct request *r, const struct rpc_answer *a)
{
	upstream_ok_empty(r, a);
}

static void on_written(struct request *r, const struct rpc_answer *a);

/* Hand the next piece on, or ask for the restore when that was all. */
static void
hand_on(struct transfer *t)
{
	struct request *r = t->r;
	struct snapshot_chunk c = { .id = id_of(t), .offset = t->offset };

	if (r->call != 0)
		return;
	if (t->complete && t->buf.len == 0 && t->known) {
		t->known = false;
		upstream_write(r, OP_SNAPSHOT_RESTORE, &c, on_restored);
		return;
	}
	if (!t->complete && t->buf.len < PIECE)
		return;
	c.data = (struct str){ t->buf.len > 0 ? (const char *)t->buf.data : "", t->buf.len < PIECE ? t->buf.len : PIECE };
	t->known = true;
	t->offset += c.data.len;
	upstream_write(r, OP_SNAPSHOT_WRITE, &c, on_written);
	buf_consume(&t->buf, c.data.len);
	settle(r);
}

static void
on_written(struct request *r, const struct rpc_answer *a)
{
	struct transfer *t = r->transfer;

	if (a->rc != 0) {
		respond_failed(r, a);
		settle(r);
		return;
	}
	hand_on(t);
	if (r->suspended)
		request_wake(r);
}

bool
snapshot_body(struct request *r, const char *data, size_t len)
{
	struct transfer *t = r->transfer != NULL ? r->transfer : transfer_new(r);

	if (t == NULL)
		return false;
	if (len > r->body_max || t->offset + t->buf.len > r->body_max - len) {
		upstream_forget(r);
		respond_text(r, 413, "Request body too large, max size: %llu bytes", (unsigned long long)r->body_max);
		settle(r);
		return true;
	}
	if (t->offset + t->buf.len == 0)
		randombytes_buf(t->id, sizeof(t->id));
	if (buf_add(&t->buf, data, len) < 0)
		return false;
	hand_on(t);
	/* The library hands on the chunks that it has even when the first of them suspended the connection. */
	if (r->state == REQ_BODY && r->call != 0 && t->buf.len >= PIECE && !r->suspended) {
		MHD_suspend_connection(r->mhd);
		r->suspended = true;
	}
	return true;
}

void
snapshot_serve(struct request *r)
{
	if (r->transfer == NULL && transfer_new(r) == NULL) {
		respond_empty(r, 500);
		return;
	}
	if (r->method == M_GET) {
		upstream_ask(r, OP_SNAPSHOT_SAVE, NULL, on_saved);
		return;
	}
	r->transfer->complete = true;
	hand_on(r->transfer);
}

/* ---- ends */

void
snapshot_hangup(struct request *r)
{
	struct transfer *t = r->transfer;

	/* Of an upload the rest may be on its way, and a restore is not taken back. */
	if (t == NULL || r->method != M_GET)
		return;
	if (r->state == REQ_WAIT) {
		request_forget(r);
		request_gone(r);
	} else {
		fail_download(t);
	}
}

void
snapshot_abandon(struct request *r)
{
	if (r->transfer == NULL)
		return;
	if (r->method == M_GET) {
		fail_download(r->transfer);
	} else if (r->state == REQ_BODY || r->state == REQ_DRAIN) {
		upstream_forget(r);
		request_gone(r);
	}
}
