/*
 * reads.c - reads, answered from memory straight into the connection's
 * output: the default ones under the leader's lease, consistent ones behind
 * a read barrier, stale ones at once.
 */
#include <string.h>

#include "raftd/raftd.h"

/* What a READ operation may ask; decoded without an allocation of its own. */
union query {
	struct kv_query kv;
	struct catalog_query catalog;
	struct id_request id;
};

struct read {
	const struct rpc_request *req;
	struct query_options o;
	union query q;
};

bool
check_served(struct raftd *r, struct rpc_token t, struct str datacenter)
{
	if (!r->server) {
		rpc_reply_error(r->d->rpc, t, 500, "No known Consul servers");
		return false;
	}
	if (datacenter.len != 0 && !str_eqs(datacenter, r->datacenter)) {
		rpc_reply_error(r->d->rpc, t, 500, "No path to datacenter");
		return false;
	}
	return true;
}

/* ---- a reply whose index is known only at its end */

enum { META_INDEX_AT = 8 };	/* behind the map header, the name and the type byte */

static void
meta_begin(const struct raftd *r, struct mp_w *w)
{
	static const uint8_t head[META_INDEX_AT + 8] = { 0x82, 0xa5, 'I', 'n', 'd', 'e', 'x', 0xcf };
	const struct str bytes = { (const char *)head, sizeof(head) };

	mp_w_raw(w, bytes);
	mp_w_str(w, STR("KnownLeader"));
	mp_w_bool(w, r->engine.core.leader != 0);
}

static void
meta_index(struct buf *b, size_t at, uint64_t index)
{
	put_be64(b->data + at + META_INDEX_AT, index);
}

enum outcome { ANSWERED, NOT_YET };

/* Run the query; NOT_YET: its index is not above min, and nothing was answered. */
static enum outcome
answer(struct raftd *r, struct rpc_token t, uint64_t min_index, const union query *q, struct watch_set *ret_watch)
{
	struct rpc_server *rpc = r->d->rpc;
	struct buf *b = rpc_reply_begin(rpc, t);
	struct fsm_error err = { .code = 0 };
	uint64_t index = 0;
	struct mp_w w;
	size_t at;
	int rc;

	if (b == NULL)
		return ANSWERED;
	at = b->len;
	w = mp_w_init(b);
	meta_begin(r, &w);
	rc = fsm_query(r->engine.fsm, t.op, q, &w, &index, min_index > 0 ? ret_watch : NULL, &err);
	if (rc == 0 && err.code != 0) {
		rpc_reply_drop(rpc, t);
		rpc_reply_error(rpc, t, err.code, "%s", err.text);
		return ANSWERED;
	}
	if (rc == 0 && w.err == 0 && min_index > 0 && index <= min_index) {
		rpc_reply_drop(rpc, t);
		return NOT_YET;
	}
	if (rc == 0 && w.err == 0)
		meta_index(b, at, index);
	rpc_reply_end(rpc, t, rc == 0 && w.err == 0);
	return ANSWERED;
}

/* ---- which of the ways a read goes */

static bool
decode(struct raftd *r, struct read *rd)
{
	const struct rpc_request *req = rd->req;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &rd->o, &rd->q, &r->arena);
	if (rc < 0)
		rpc_bad_request(r->d->rpc, req, err_text(rc));
	return rc == 0;
}

static void
serve(struct raftd *r, const struct read *rd)
{
	struct watch_set keys = { .n = 0 };

	if (answer(r, rd->req->token, rd->o.min_index, &rd->q, &keys) == NOT_YET)
		watch_park(r, rd->req, &keys);
}

static void
on_barrier(struct defer *d)
{
	struct raftd *r = (struct raftd *)((char *)d - offsetof(struct raftd, barrier));
	uint64_t number;

	/* Not the leader any more: those who wait are told when their time is over. */
	if (engine_read(r, &number) < 0)
		return;
}

/* Where the read can go on now: true. Else it waits, or was answered. */
static bool
may_read(struct raftd *r, const struct rpc_request *req, uint64_t consistency)
{
	if (consistency == CONSISTENCY_STALE)
		return true;
	if (!engine_leads(r)) {
		hold_add(r, req, 0);
		return false;
	}
	if (consistency == CONSISTENCY_DEFAULT && raft_lease_valid(&r->engine.core, clock_ms()))
		return true;
	hold_add(r, req, r->engine.core.read_seq + 1);
	loop_defer(&r->d->loop, DEFER_WORK, &r->barrier);
	return false;
}

void
reads_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct read rd = { .req = req };

	if (!decode(r, &rd) || !check_served(r, req->token, rd.o.datacenter))
		return;
	count_query(watch_count(r));
	if (may_read(r, req, rd.o.consistency))
		serve(r, &rd);
}

bool
reads_again(struct raftd *r, struct rpc_token t, struct str body, struct watch_set *ret_watch)
{
	const struct rpc_request req = { .token = t, .info = op_info(t.op), .body = (const uint8_t *)body.p, .len = body.len };
	struct read rd = { .req = &req };

	if (!decode(r, &rd))
		return true;
	return answer(r, t, rd.o.min_index, &rd.q, ret_watch) == ANSWERED;
}

/* ---- transactions that only read */

static void
answer_txn(struct raftd *r, const struct rpc_request *req, const struct txn_request *txn)
{
	struct rpc_server *rpc = r->d->rpc;
	struct buf *b = rpc_reply_begin(rpc, req->token);
	struct fsm_error err = { .code = 0 };
	uint64_t index = 0;
	struct mp_w w;
	size_t at;
	int rc;

	if (b == NULL)
		return;
	at = b->len;
	w = mp_w_init(b);
	meta_begin(r, &w);
	rc = fsm_query_txn(r->engine.fsm, txn, &w, &index, &err);
	if (rc == 0 && err.code != 0) {
		rpc_reply_drop(rpc, req->token);
		rpc_reply_error(rpc, req->token, err.code, "%s", err.text);
		return;
	}
	if (rc == 0 && w.err == 0)
		meta_index(b, at, index);
	rpc_reply_end(rpc, req->token, rc == 0 && w.err == 0);
}

static void
serve_txn(struct raftd *r, const struct rpc_request *req)
{
	struct query_options o;
	struct txn_request txn;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, &txn, &r->arena);
	if (rc < 0)
		rpc_bad_request(r->d->rpc, req, err_text(rc));
	else
		answer_txn(r, req, &txn);
}

void
reads_txn(struct raftd *r, const struct rpc_request *req, const struct query_options *o)
{
	if (may_read(r, req, o->consistency))
		serve_txn(r, req);
}

void
reads_confirmed(struct raftd *r, const struct rpc_request *req)
{
	struct read rd = { .req = req };

	if (req->info->number == OP_TXN_APPLY)
		serve_txn(r, req);
	else if (decode(r, &rd))
		serve(r, &rd);
}

void
reads_init(struct raftd *r)
{
	r->barrier.cb = on_barrier;
	arena_init(&r->arena, REQUEST_ARENA_MAX);
}

void
reads_release(struct raftd *r)
{
	loop_undefer(&r->d->loop, DEFER_WORK, &r->barrier);
	arena_release(&r->arena);
}
