/*
 * reads.c - reads, answered from memory straight into the connection's
 * output by whichever server is asked: stale ones at once, the leader's
 * default ones under its lease, all others when this server's state is known
 * to be as new as the leader's was when they came. One barrier serves all
 * reads of a turn.
 */
#include <sodium.h>
#include <time.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

/* What a READ operation may ask; decoded without an allocation of its own. */
union query {
	struct kv_query kv;
	struct catalog_query catalog;
	struct id_request id;
	struct pq_request pquery;
	struct reverse_query reverse;
	struct acl_query acl;
};

struct read {
	const struct rpc_request *req;
	struct query_options o;
	union query q;
};

bool
check_served(struct raftd *r, struct rpc_token t, struct str datacenter)
{
	if (datacenter.len != 0 && !str_eqs(datacenter, r->datacenter)) {
		rpc_reply_error(r->d->rpc, t, 500, "No path to datacenter");
		return false;
	}
	return true;
}

/* ---- a reply whose index is known only at its end */

enum { META_INDEX_AT = 8 };	/* behind the map header, the name and the type byte */

/* What is told of a leader that was never heard of: as Consul does. */
#define NEVER_MS (INT64_MAX / 1000000)

static int64_t
last_contact(const struct raftd *r)
{
	uint64_t ms = engine_last_contact(r);

	return ms < (uint64_t)NEVER_MS ? (int64_t)ms : NEVER_MS;
}

/* Answers that are as new as the leader's are of no age. With ACLs whether something is left out is told last: meta_filtered(). */
static void
meta_begin(const struct raftd *r, bool stale, struct mp_w *w)
{
	uint8_t head[META_INDEX_AT + 8] = { 0x82, 0xa5, 'I', 'n', 'd', 'e', 'x', 0xcf };
	const struct str bytes = { (const char *)head, sizeof(head) };
	int64_t contact = stale ? last_contact(r) : 0;

	if (contact > 0)
		head[0]++;
	if (acl_on(r))
		head[0] = (uint8_t)(head[0] + 2);
	mp_w_raw(w, bytes);
	if (contact > 0) {
		mp_w_str(w, STR("LastContact"));
		mp_w_int(w, contact);
	}
	mp_w_str(w, STR("KnownLeader"));
	mp_w_bool(w, engine_known_leader(r));
	if (acl_on(r)) {
		mp_w_str(w, STR("ACLIndex"));
		mp_w_uint(w, fsm_acl_index(r->engine.fsm));
		mp_w_str(w, STR("ResultsFilteredByACLs"));
		mp_w_bool(w, false);
	}
}

/* end: where the meta ends. */
static void
meta_filtered(struct buf *b, size_t end, const struct asker *who)
{
	if (asker_tells(who))
		b->data[end - 1] = 0xc3;	/* true, in msgpack */
}

static void
meta_index(struct buf *b, size_t at, uint64_t index)
{
	put_be64(b->data + at + META_INDEX_AT, index);
}

/* Deadlines are in cluster time, and shown as the wall's. */
static void
tell_wall(struct raftd *r)
{
	struct timespec ts;

	if (!fsm_has_ttls(r->engine.fsm) || clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return;
	fsm_set_wall(r->engine.fsm, (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec, engine_now(r));
}

enum outcome { ANSWERED, NOT_YET };

/*
 * Whether a read that waits goes on waiting: its index has not grown, or its answer is the same as before (what it depends on
 * is wider than what it shows). seen is brought up to date when it does.
 */
static bool
goes_on(const struct raftd *r, uint64_t min_index, uint64_t index, const uint8_t *payload, size_t len, struct read_seen *seen)
{
	uint64_t digest;

	if (min_index == 0 || (index > min_index && !seen->known))
		return false;
	digest = watch_digest(r, payload, len);
	if (index > min_index && digest != seen->digest)
		return false;
	*seen = (struct read_seen){ true, digest, fsm_index(r->engine.fsm) };
	return true;
}

static int
query(struct raftd *r, const struct read *rd, uint64_t since, struct asker *who, struct mp_w *w, uint64_t *ret_index,
    struct watch_set *ret_watch, struct fsm_error *err)
{
	uint16_t op = rd->req->token.op;

	if (op == OP_ACL_RESOLVE)
		return acl_resolve(r, who->secret, w, ret_index, err);
	return fsm_query(r->engine.fsm, op, &rd->q, since, who, w, ret_index, ret_watch, err);
}

/* A prepared query may have a token of its own to run with. */
static struct str
token_of(const struct raftd *r, const struct read *rd)
{
	struct str own = STR_NONE;

	if (rd->req->token.op == OP_QUERY_EXECUTE)
		own = fsm_query_token(r->engine.fsm, &rd->q.pquery);
	return own.len > 0 ? own : rd->o.token;
}

/*
 * Whether changes are asked for behind an index that this state has not reached: it is another one (-dev, begun anew), and
 * waiting for that index would leave out what happens until then. Who may be behind cannot tell.
 */
static bool
lost_state(const struct raftd *r, const struct read *rd)
{
	return rd->req->token.op == OP_KV_CHANGES && rd->o.min_index > fsm_index(r->engine.fsm) &&
	    (rd->o.consistency != CONSISTENCY_STALE || engine_leads(r));
}

/* Run the query; NOT_YET: there is nothing new above min, and nothing was answered. */
static enum outcome
answer(struct raftd *r, const struct read *rd, struct read_seen *seen, struct watch_set *ret_watch)
{
	const struct query_options *o = &rd->o;
	const struct rpc_token t = rd->req->token;
	const uint64_t min_index = lost_state(r, rd) ? 0 : o->min_index;
	struct rpc_server *rpc = r->d->rpc;
	struct fsm_error err = { .code = 0 };
	uint64_t index = 0, since = min_index;
	struct asker who;
	size_t at, from;
	struct buf *b;
	struct mp_w w;
	int rc;

	if (!acl_who(r, rd->req, token_of(r, rd), &who))
		return ANSWERED;
	b = rpc_reply_begin(rpc, t);
	if (b == NULL)
		return ANSWERED;
	at = b->len;
	w = mp_w_init(b);
	meta_begin(r, o->consistency == CONSISTENCY_STALE, &w);
	from = b->len;
	/* Nothing was to be told when it was looked at last: only what came behind that has to be looked for. */
	if (min_index > 0 && seen->known && seen->index > min_index)
		since = seen->index;
	tell_wall(r);
	rc = query(r, rd, since, &who, &w, &index, min_index > 0 ? ret_watch : NULL, &err);
	if (rc == 0 && err.code != 0) {
		rpc_reply_drop(rpc, t);
		rpc_reply_error(rpc, t, err.code, "%s", err.text);
		return ANSWERED;
	}
	if (rc == 0 && w.err == 0 && goes_on(r, min_index, index, b->data + from, b->len - from, seen)) {
		rpc_reply_drop(rpc, t);
		return NOT_YET;
	}
	if (rc == 0 && w.err == 0) {
		meta_index(b, at, index);
		meta_filtered(b, from, &who);
	}
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
	/* The state draws nothing by lot itself. */
	else if (req->info->number == OP_QUERY_EXECUTE)
		randombytes_buf(&rd->q.pquery.seed, sizeof(rd->q.pquery.seed));
	return rc == 0;
}

/*
 * Between two waits nobody looks after the asker's rights: where the ACL state has changed since the answer that he names, he
 * is told anew.
 */
static bool
rights_passed(const struct raftd *r, const struct query_options *o)
{
	return acl_on(r) && o->acl_index != 0 && o->acl_index < fsm_acl_index(r->engine.fsm);
}

static void
serve(struct raftd *r, struct read *rd)
{
	struct watch_set keys = { .n = 0 };
	struct read_seen seen = { .known = false };

	if (rights_passed(r, &rd->o))
		rd->o.min_index = 0;
	if (answer(r, rd, &seen, &keys) == NOT_YET)
		watch_park(r, rd->req, &keys, &seen);
}

/* They wait in hold.c. Too many barriers under way: the next that holds makes place for this one. */
static void
barrier(struct raftd *r, bool consistent)
{
	uint64_t number;

	if (engine_read(r, consistent, &number) < 0)
		r->engine.barrier_again[consistent] = true;
}

static void
on_default_barrier(struct defer *d)
{
	barrier((struct raftd *)((char *)d - offsetof(struct raftd, barrier[0])), false);
}

static void
on_consistent_barrier(struct defer *d)
{
	barrier((struct raftd *)((char *)d - offsetof(struct raftd, barrier[1])), true);
}

/* A stale answer that would be older than the asker takes is no answer. */
static bool
stale_will_do(const struct raftd *r, const struct query_options *o)
{
	return o->consistency == CONSISTENCY_STALE &&
	    (o->max_stale <= 0 || engine_last_contact(r) <= (uint64_t)o->max_stale / NS_PER_MS);
}

/* For the number that the next barrier gets, or one behind it. */
static void
wait_barrier(struct raftd *r, const struct rpc_request *req, bool consistent)
{
	hold_add(r, req, r->engine.core.read_seq + 1, consistent);
	loop_defer(&r->d->loop, DEFER_WORK, &r->barrier[consistent]);
}

/* Where the read can go on now: true. Else it waits. */
static bool
may_read(struct raftd *r, const struct rpc_request *req, const struct query_options *o)
{
	bool consistent = o->consistency == CONSISTENCY_CONSISTENT;

	if (r->hold.serving_confirmed || stale_will_do(r, o))
		return true;
	if (!consistent && engine_leads(r) && raft_lease_valid(&r->engine.core, clock_ms()))
		return true;
	if (engine_lags(r)) {
		forward_leader(r, req);
		return false;
	}
	wait_barrier(r, req, consistent);
	return false;
}

bool
reads_refusal_holds(struct raftd *r, const struct rpc_request *req)
{
	if (r->hold.serving_confirmed || raft_lease_valid(&r->engine.core, clock_ms()))
		return true;
	wait_barrier(r, req, false);
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
	if (may_read(r, req, &rd.o))
		serve(r, &rd);
}

bool
reads_again(struct raftd *r, struct rpc_token t, struct str body, bool local, bool anyway, struct read_seen *seen,
    struct watch_set *ret_watch)
{
	static char somebody;	/* of another node: who, does not matter any more */
	const struct rpc_request req = { .token = t, .info = op_info(t.op), .body = (const uint8_t *)body.p, .len = body.len,
		.peer = local ? NULL : &somebody };
	struct read rd = { .req = &req };

	if (!decode(r, &rd))
		return true;
	if (anyway)
		rd.o.min_index = 0;
	return answer(r, &rd, seen, ret_watch) == ANSWERED;
}

/* ---- transactions that only read */

static void
answer_txn(struct raftd *r, const struct rpc_request *req, const struct query_options *o, const struct txn_request *txn)
{
	struct rpc_server *rpc = r->d->rpc;
	struct fsm_error err = { .code = 0 };
	uint64_t index = 0;
	struct asker who;
	size_t at, from;
	struct buf *b;
	struct mp_w w;
	int rc;

	if (!acl_who(r, req, o->token, &who))
		return;
	b = rpc_reply_begin(rpc, req->token);
	if (b == NULL)
		return;
	at = b->len;
	w = mp_w_init(b);
	tell_wall(r);
	meta_begin(r, o->consistency == CONSISTENCY_STALE, &w);
	from = b->len;
	rc = fsm_query_txn(r->engine.fsm, txn, &who, &w, &index, &err);
	if (rc == 0 && err.code != 0) {
		rpc_reply_drop(rpc, req->token);
		rpc_reply_error(rpc, req->token, err.code, "%s", err.text);
		return;
	}
	if (rc == 0 && w.err == 0) {
		meta_index(b, at, index);
		meta_filtered(b, from, &who);
	}
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
		answer_txn(r, req, &o, &txn);
}

void
reads_txn(struct raftd *r, const struct rpc_request *req, const struct query_options *o)
{
	if (may_read(r, req, o))
		serve_txn(r, req);
}

void
reads_confirmed(struct raftd *r, const struct rpc_request *req)
{
	struct read rd = { .req = req };

	if (decode(r, &rd))
		serve(r, &rd);
}

void
reads_init(struct raftd *r)
{
	r->barrier[0].cb = on_default_barrier;
	r->barrier[1].cb = on_consistent_barrier;
	arena_init(&r->arena, REQUEST_ARENA_MAX);
}

void
reads_release(struct raftd *r)
{
	loop_undefer(&r->d->loop, DEFER_WORK, &r->barrier[0]);
	loop_undefer(&r->d->loop, DEFER_WORK, &r->barrier[1]);
	arena_release(&r->arena);
}
