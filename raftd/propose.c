/* propose.c - writes: checked, stamped with cluster time, proposed, and answered when they are applied. */
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "raftd/raftd.h"

/* A write that was sent again must not be refused for what its own first copy has changed. */
static bool
seen_before(struct raftd *r, const struct query_options *o)
{
	return o->seq != 0 && (fsm_seen(r->engine.fsm, o->origin, o->seq) || engine_in_flight(r, o->origin, o->seq));
}

/* seen: it has come before, and its first copy may have been carried out. */
static void
refuse(struct raftd *r, const struct rpc_request *req, int rc, bool seen)
{
	struct rpc_server *rpc = r->d->rpc;

	if (rc == -RAFT_ENOTLEADER || (rc == -ENOSPC && engine_yield(r))) {
		forward_leader(r, req);
		return;
	}
	if (seen) {
		rpc_reply_error(rpc, req->token, 500, "The server cannot take this write again: %s; whether it took place is unknown",
		    err_text(rc));
		return;
	}
	switch (rc) {
	case -ENOSPC:
		rpc_reply_error(rpc, req->token, 500, "The server's disk is full: this write was refused and nothing was changed");
		break;
	case -ELIMIT:
		rpc_reply_error(rpc, req->token, 429, "The server has too many unfinished writes: this one was refused");
		break;
	default:
		rpc_reply_error(rpc, req->token, 500, "The server cannot take this write: %s", err_text(rc));
		break;
	}
}

/* Where the request record begins behind the options. */
static bool
split(const struct rpc_request *req, struct str *ret_options, struct str *ret_request)
{
	struct mp_r in = mp_r_init(req->body, req->len);

	*ret_options = mp_r_raw(&in);
	*ret_request = mp_r_raw(&in);
	return mp_r_done(&in);
}

static void
propose(struct raftd *r, const struct rpc_request *req, const struct query_options *o, struct fsm_entry *e)
{
	static struct buf completed = BUF_INIT(RPC_REPLY_MAX);
	const struct net_peer *from = req->peer;
	struct waiter w = { .token = req->token, .at_ns = clock_ns(), .seq = o->seq, .op = req->info->number,
		.forwarded = from != NULL && from->id != 0, .sent = r->hold.serving_sent };
	struct fsm_error err = { .code = 0 };
	struct fsm_fresh fresh = { .wall_ns = 0 };
	int rc;

	/* A system call each: only for what needs a new name. */
	if (req->info->number == OP_SESSION_CREATE)
		randombytes_buf(fresh.random, sizeof(fresh.random));
	e->time = engine_now(r);
	buf_shrink(&completed, 64 * KiB);
	rc = fsm_check(r->engine.fsm, req->info->number, e->request, e->time, &fresh, NULL, &completed, &e->request, &err);
	if (rc == -EDECODE) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (rc == 0 && err.code != 0 && !seen_before(r, o)) {
		if (reads_refusal_holds(r, req))
			rpc_reply_error(r->d->rpc, req->token, err.code, "%s", err.text);
		return;
	}
	if (o->origin.len == sizeof(w.origin))
		memcpy(w.origin, o->origin.p, sizeof(w.origin));
	if (rc == 0)
		rc = engine_propose(r, e, &w);
	if (rc < 0)
		refuse(r, req, rc, seen_before(r, o));
}

void
propose_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = req->info->number };
	struct query_options o;
	struct mp_r in;
	int rc = -EDECODE;

	arena_reset(&r->arena);
	if (split(req, &e.options, &e.request)) {
		in = mp_r_init(e.options.p, e.options.len);
		rc = record_decode(&rec_query_options, &in, &o, &r->arena);
	}
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (req->info->number == OP_TXN_APPLY && fsm_txn_is_read(e.request))
		reads_txn(r, req, &o);
	else if (!engine_leads(r))
		refuse(r, req, -RAFT_ENOTLEADER, false);
	else if (snapshot_restoring(r))
		hold_add(r, req, 0, false);
	else
		propose(r, req, &o, &e);
}

void
propose_answer(struct raftd *r, const struct waiter *w, uint64_t index, struct str payload, const struct fsm_error *err)
{
	const struct query_meta m = { index, 0, true, false };
	struct rpc_server *rpc = r->d->rpc;
	struct buf *b;
	struct mp_w out;

	if (err->code != 0) {
		rpc_reply_error(rpc, w->token, err->code, "%s", err->text);
		return;
	}
	b = rpc_reply_begin(rpc, w->token);
	if (b == NULL)
		return;
	out = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &out);
	mp_w_raw(&out, payload);
	rpc_reply_end(rpc, w->token, out.err == 0);
}

int
propose_own(struct raftd *r, uint16_t op, const void *request)
{
	static const char no_options[] = "\x80";
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = op, .options = { no_options, 1 }, .time = engine_now(r) };
	struct buf b = BUF_INIT(1 * MiB);
	struct mp_w w = mp_w_init(&b);
	int rc;

	record_encode(op_info(op)->request, request, RECORD_WHOLE, &w);
	e.request = (struct str){ (const char *)b.data, b.len };
	rc = w.err;
	if (rc == 0)
		rc = engine_propose(r, &e, NULL);
	buf_release(&b);
	return rc;
}
