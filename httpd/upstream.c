/* upstream.c - calls to the other daemons, their deadlines and stamps. */
#include "httpd/upstream.h"

#include "httpd/cache.h"
#include "httpd/park.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "lib/duration.h"

enum { ACT_MS = 20000, JOIN_MS = 60000, LEAVE_MS = 60000, KEYRING_MS = 60000, OTHER_READ_MS = 8000, PIECE_MS = 30000, SAVE_MS = 15 * 60 * 1000,
	RESTORE_MS = 60 * 60 * 1000 };

static const char *const peer_names[PEERS] = { "raftd", "checkd", "gossipd", "dnsd", "httpd", "consulctl" };

static void
on_state(void *arg, bool connected)
{
	struct peer_link *p = arg;

	p->connects += connected;
	if (!connected)
		p->lost_ms = uv_now(p->loop);
}

int
upstream_init(struct httpd *h)
{
	for (int i = 0; i < PEERS; i++) {
		h->peers[i].client = rpc_client_new(&h->d->loop, h->d->run_fd, peer_names[i]);
		if (h->peers[i].client == NULL)
			return -ENOMEM;
		h->peers[i].loop = &h->d->loop.uv;
		rpc_client_on_state(h->peers[i].client, on_state, &h->peers[i]);
	}
	write_stamps_init(&h->stamps);
	return 0;
}

void
upstream_release(struct httpd *h)
{
	for (int i = 0; i < PEERS; i++) {
		rpc_client_free(h->peers[i].client);
		h->peers[i].client = NULL;
	}
	write_stamps_release(&h->stamps);
}

struct rpc_client *
upstream_client(struct httpd *h, uint16_t op)
{
	const struct op_info *info = op_info(op);

	switch (info->server) {
	case OP_SERVER_RAFTD:
		return h->peers[PEER_RAFTD].client;
	case OP_SERVER_CHECKD:
		return h->peers[PEER_CHECKD].client;
	case OP_SERVER_GOSSIPD:
		return h->peers[PEER_GOSSIPD].client;
	case OP_SERVER_DNSD:
		return h->peers[PEER_DNSD].client;
	case OP_SERVER_CONSULCTL:
		return h->peers[PEER_CONSULCTL].client;
	case OP_SERVER_ANY:
	case OP_SERVER_HTTPD:
		break;
	}
	return h->peers[PEER_HTTPD].client;
}

const struct peer_link *
upstream_link(const struct httpd *h, const struct rpc_client *c)
{
	for (int i = 0; i < PEERS; i++)
		if (h->peers[i].client == c)
			return &h->peers[i];
	return &h->peers[PEER_HTTPD];
}

static uint32_t
deadline_ms(const struct httpd *h, const struct op_info *op)
{
	if (op->number == OP_SNAPSHOT_SAVE)
		return SAVE_MS;
	if (op->number == OP_SNAPSHOT_RESTORE)
		return RESTORE_MS;
	if (op->number == OP_SNAPSHOT_READ || op->number == OP_SNAPSHOT_WRITE)
		return PIECE_MS;
	if (op->server == OP_SERVER_RAFTD)
		return (uint32_t)(h->cfg.hold_ms + HTTP_HOLD_MARGIN_MS);
	if (op->number == OP_GOSSIP_JOIN)
		return JOIN_MS;
	if (op->number == OP_AGENT_LEAVE)
		return LEAVE_MS;
	if (op->number == OP_GOSSIP_KEYRING)
		return KEYRING_MS;
	/* Daemons that run without consulctl have nobody who keeps tokens: that is told soon. */
	return op->access == OP_ACCESS_ACT && op->number != OP_AGENT_TOKEN_SET ? ACT_MS : OTHER_READ_MS;
}

static void
stamp_done(struct request *r)
{
	if (r->opts.seq != 0)
		write_stamps_done(&r->h->stamps, r->opts.seq);
	r->opts.seq = 0;
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct request *r = arg;

	r->call = 0;
	stamp_done(r);
	r->done(r, a);
}

/* A call that was refused: the request is larger than its operation allows, or there are too many. */
static void
not_sent(struct request *r, const struct op_info *info, const void *record)
{
	struct buf b = BUF_INIT(info->body_max);
	int rc = op_request_encode(info->number, &r->opts, record, &b);

	buf_release(&b);
	stamp_done(r);
	if (rc == -ELIMIT)
		respond_text(r, 413, "Request is too large, max size: %u bytes", info->body_max);
	else
		respond_text(r, 500, "too many requests are waiting for %s", op_server_name(info->server));
}

static void
call(struct request *r, uint16_t op, const void *record, unsigned flags, upstream_done *done)
{
	struct httpd *h = r->h;
	const struct op_info *info = op_info(op);

	r->peer = upstream_client(h, op);
	r->op = op;
	r->done = done;
	r->call_linked = rpc_client_connected(r->peer);
	r->call_connects = upstream_link(h, r->peer)->connects;
	r->call = rpc_call_record(r->peer, op, &r->opts, record, flags, deadline_ms(h, info), on_answer, r);
	if (r->call == 0)
		not_sent(r, info, record);
}

/* ---- reads */

int
upstream_render(struct httpd *h, const struct view *v, render_fn *render, const struct rpc_answer *a, struct reply *rp)
{
	struct str payload;
	int rc = op_reply_decode(a->body, a->len, &rp->meta, &payload);

	(void)h;
	if (rc < 0)
		return rc;
	rp->flags = v->reply_flags;
	rp->consistency = v->consistency;
	return render(v, payload, rp);
}

bool
upstream_too_stale(struct request *r, const struct rpc_answer *a)
{
	struct query_meta meta;
	struct str payload;

	if (a->rc != 0 || r->opts.consistency != CONSISTENCY_STALE || r->opts.max_stale <= 0 ||
	    op_reply_decode(a->body, a->len, &meta, &payload) < 0 || meta.last_contact_ms <= r->opts.max_stale / NS_PER_MS)
		return false;
	r->opts.max_stale = 0;
	r->opts.consistency = r->view.consistency = CONSISTENCY_DEFAULT;
	return true;
}

static void
on_read(struct request *r, const struct rpc_answer *a)
{
	int rc;

	if (upstream_too_stale(r, a)) {
		upstream_read_now(r);
		return;
	}
	if (a->rc != 0) {
		respond_failed(r, a);
		return;
	}
	rc = upstream_render(r->h, &r->view, r->render, a, &r->reply);
	if (rc < 0)
		respond_text(r, 500, "cannot show the answer: %s", err_text(rc));
	else
		respond_done(r);
}

void
upstream_read_now(struct request *r)
{
	r->opts.min_index = 0;
	if (r->op == OP_AGENT_SERVICE && r->record != NULL)
		((struct agent_query *)(uintptr_t)r->record)->hash = STR_NONE;
	call(r, r->op, r->record, RPC_RETRY, on_read);
}

void
upstream_read(struct request *r, uint16_t op, const void *record, render_fn *render)
{
	const struct op_info *info = op_info(op);
	bool hash = op == OP_AGENT_SERVICE && ((const struct agent_query *)record)->hash.len > 0;

	if (r->read.cached && (r->route->flags & RT_CACHED) != 0) {
		cache_read(r, op, record, render);
		return;
	}
	r->op = op;
	r->record = NULL;
	r->render = render;
	if (r->opts.min_index == 0 && !hash && r->opts.max_stale == 0) {
		call(r, op, record, RPC_RETRY, on_read);
		return;
	}
	if (info->request != NULL && record != NULL) {
		void *copy = arena_alloc(&r->arena, info->request->size);

		if (copy == NULL) {
			respond_empty(r, 500);
			return;
		}
		memcpy(copy, record, info->request->size);
		r->record = copy;
	}
	if (r->opts.min_index == 0 && !hash)
		call(r, op, r->record, RPC_RETRY, on_read);
	else
		park_join(r);
}

/* ---- changes */

void
upstream_write(struct request *r, uint16_t op, const void *record, upstream_done *done)
{
	const struct op_info *info = op_info(op);
	unsigned flags = 0;

	if (info->access == OP_ACCESS_WRITE) {
		if (write_stamps_take(&r->h->stamps, &r->opts) < 0) {
			respond_text(r, 500, "too many writes are waiting for an answer");
			return;
		}
		flags = RPC_RETRY;
	}
	call(r, op, record, flags, done);
}

void
upstream_ask(struct request *r, uint16_t op, const void *record, upstream_done *done)
{
	call(r, op, record, RPC_RETRY, done);
}

bool
upstream_payload(struct request *r, const struct rpc_answer *a, struct str *ret)
{
	if (a->rc != 0) {
		respond_failed(r, a);
		return false;
	}
	if (op_reply_decode(a->body, a->len, &r->reply.meta, ret) < 0) {
		respond_text(r, 500, "malformed answer from another daemon");
		return false;
	}
	return true;
}

void
upstream_ok_empty(struct request *r, const struct rpc_answer *a)
{
	struct str payload;

	if (upstream_payload(r, a, &payload))
		respond_empty(r, 200);
}

void
upstream_ok_bool(struct request *r, const struct rpc_answer *a)
{
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	respond_bool(r, mp_r_bool(&in));
}

void
upstream_ok_true(struct request *r, const struct rpc_answer *a)
{
	struct str payload;

	if (upstream_payload(r, a, &payload))
		respond_bool(r, true);
}

void
upstream_ok_id(struct request *r, const struct rpc_answer *a)
{
	struct str payload;
	struct buf out = BUF_INIT(256);
	struct mp_w w = mp_w_init(&out);

	if (!upstream_payload(r, a, &payload))
		return;
	mp_w_map(&w, 1);
	mp_w_cstr(&w, "ID");
	mp_w_raw(&w, payload);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

void
upstream_forget(struct request *r)
{
	if (r->call != 0)
		rpc_cancel(r->peer, r->call);
	r->call = 0;
	stamp_done(r);
}
