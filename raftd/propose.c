/* propose.c - writes: checked, stamped with cluster time, proposed, and answered when they are applied. */
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "raftd/acl/jwt.h"
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

/* ---- what is made outside of the state, which is to be the same on all servers */

/* Operations that make IDs, secrets or times. */
static bool
makes_new(uint16_t op)
{
	return op == OP_SESSION_CREATE || op == OP_QUERY_APPLY || (op >= OP_ACL_BOOTSTRAP && op <= OP_ACL_LOGOUT);
}

/* The content of a regular file of at most out->max bytes. -errno, -ELIMIT. */
static int
read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc = fd < 0 ? -errno : 0;
	struct stat st;
	ssize_t n = 1;

	if (rc == 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		rc = -EINVAL;
	while (rc == 0 && n > 0) {
		rc = buf_reserve(out, out->len < out->max ? (out->max - out->len < 64 * KiB ? out->max - out->len : 64 * KiB) : 1);
		if (rc < 0)
			break;
		n = read(fd, out->data + out->len, out->cap - out->len);
		if (n < 0)
			rc = -errno;
		else
			out->len += (size_t)n;
	}
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

/* System calls: only for what needs them. False: the error is said. */
static bool
make_fresh(struct raftd *r, uint16_t op, struct str request, struct fsm_fresh *ret, struct fsm_error *err)
{
	static struct buf jwks = BUF_INIT(JWT_JWKS_MAX);
	struct timespec now;
	const char *path;
	int rc;

	*ret = (struct fsm_fresh){ .wall_ns = 0 };
	if (!makes_new(op))
		return true;
	randombytes_buf(ret->random, sizeof(ret->random));
	if (clock_gettime(CLOCK_REALTIME, &now) == 0)
		ret->wall_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
	if (op == OP_ACL_BOOTSTRAP && fsm_acl_bootstrapped(r->engine.fsm))
		ret->reset_index = acl_bootstrap_reset(r);
	path = op == OP_ACL_LOGIN ? fsm_acl_jwks_file(r->engine.fsm, request) : NULL;
	if (path == NULL)
		return true;
	buf_clear(&jwks);
	rc = read_file(path, &jwks);
	if (rc < 0) {
		log_warn("agent.acl", "the keys of an auth method cannot be read: file=%s error=\"%s\"", path, err_text(rc));
		err->code = 500;
		(void)snprintf(err->text, sizeof(err->text), "the keys of the auth method cannot be read: %s", err_text(rc));
	}
	ret->jwks = (struct str){ (const char *)jwks.data, jwks.len };
	return rc == 0;
}

/* For the tokens within a request. */
struct askers {
	struct raftd *r;
	bool local;
};

static int
on_asker(void *ctx, struct str token, struct asker *ret)
{
	const struct askers *a = ctx;

	return acl_asker(a->r, token, a->local, ret);
}

/* Fill in what the request lacks, unless it is refused: then err says why. */
static int
check(struct raftd *r, const struct rpc_request *req, const struct query_options *o, struct fsm_entry *e, struct buf *completed,
    struct fsm_error *err)
{
	struct askers askers = { r, req->peer == NULL };
	struct fsm_fresh fresh;
	struct asker who;
	int rc = acl_asker(r, o->token, req->peer == NULL, &who);

	if (rc == -ENOENT) {
		*err = (struct fsm_error){ 403, "ACL not found" };
		return 0;
	}
	if (rc < 0 || !make_fresh(r, req->info->number, e->request, &fresh, err))
		return rc;
	fresh.asker = on_asker;
	fresh.ctx = &askers;
	rc = fsm_check(r->engine.fsm, req->info->number, e->request, e->time, &fresh, &who, completed, &e->request, err);
	sodium_memzero(fresh.random, sizeof(fresh.random));
	if (rc == 0 && err->code == 0 && fresh.reset_index != 0)
		acl_bootstrap_used(r);
	return rc;
}

/* ---- */

/*
 * A write that is refused, but whose first copy may have been carried out: into the log goes a question for the answer of
 * then, which does nothing. Should the state forget the answer before it gets there, the write itself would be carried out.
 */
static int
ask_again(struct fsm_entry *e, struct buf *out)
{
	static const struct kv_op replay = { .verb = { KV_REPLAY, sizeof(KV_REPLAY) - 1 } };
	struct mp_w w = mp_w_init(out);

	buf_clear(out);
	record_encode(&rec_kv_op, &replay, RECORD_WHOLE, &w);
	e->op = OP_KV_APPLY;
	e->request = (struct str){ (const char *)out->data, out->len };
	return w.err;
}

static void
say_refused(struct raftd *r, const struct rpc_request *req, const struct fsm_error *err, struct str payload)
{
	static const struct fsm_error none = { .code = 0 };
	const struct waiter w = { .token = req->token, .op = req->info->number };

	if (err->code == FSM_ANSWERED)
		propose_answer(r, &w, fsm_index(r->engine.fsm), STR_NONE, payload, &none);
	else
		rpc_reply_error(r->d->rpc, req->token, err->code, "%s", err->text);
}

static void
propose(struct raftd *r, const struct rpc_request *req, const struct query_options *o, struct fsm_entry *e)
{
	static struct buf completed = BUF_INIT(RPC_REPLY_MAX);
	const struct net_peer *from = req->peer;
	struct waiter w = { .token = req->token, .at_ns = clock_ns(), .seq = o->seq, .op = req->info->number,
		.forwarded = from != NULL && from->id != 0, .sent = r->hold.serving_sent };
	struct fsm_error err = { .code = 0 };
	int rc;

	e->time = engine_now(r);
	buf_shrink(&completed, 64 * KiB);
	rc = check(r, req, o, e, &completed, &err);
	if (rc == -EDECODE) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (rc == 0 && err.code != 0 && !seen_before(r, o)) {
		if (reads_refusal_holds(r, req))
			say_refused(r, req, &err, e->request);
		return;
	}
	w.replay = rc == 0 && err.code != 0;
	if (w.replay)
		rc = ask_again(e, &completed);
	if (o->origin.len == sizeof(w.origin))
		memcpy(w.origin, o->origin.p, sizeof(w.origin));
	if (rc == 0)
		rc = engine_propose(r, e, &w);
	if (rc < 0)
		refuse(r, req, rc, seen_before(r, o));
	if (completed.len > 0)
		sodium_memzero(completed.data, completed.len);	/* secrets that were made */
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

/* The results of a transaction as its asker may see them. Of a token that has gone meanwhile: none. */
static int
show_txn(struct raftd *r, struct str options, struct str payload, struct buf *out, bool *ret_filtered)
{
	static const char nothing[] = "\x82\xa7Results\x90\xa6" "Errors\xc0";
	struct arena none = ARENA_INIT(0);
	struct mp_r in = mp_r_init(options.p, options.len);
	struct query_options o;
	struct asker who;
	int rc = record_decode(&rec_query_options, &in, &o, &none);

	if (rc == 0)
		rc = acl_asker(r, o.token, false, &who);
	buf_shrink(out, 64 * KiB);
	if (rc == 0)
		rc = fsm_txn_show(payload, &who, out);
	else if (rc == -ENOENT)
		rc = buf_add(out, nothing, sizeof(nothing) - 1);
	*ret_filtered = rc == 0 && (out->len == sizeof(nothing) - 1 || who.filtered);
	return rc;
}

void
propose_answer(struct raftd *r, const struct waiter *w, uint64_t index, struct str options, struct str payload,
    const struct fsm_error *err)
{
	static struct buf shown = BUF_INIT(RPC_REPLY_MAX);
	struct query_meta m = { .index = index, .known_leader = true };
	struct rpc_server *rpc = r->d->rpc;
	struct buf *b;
	struct mp_w out;

	if (err->code != 0) {
		rpc_reply_error(rpc, w->token, err->code, "%s", err->text);
		return;
	}
	if (w->op == OP_TXN_APPLY && acl_on(r) && options.len > 0) {
		int rc = show_txn(r, options, payload, &shown, &m.filtered);

		if (rc < 0) {
			rpc_reply_error(rpc, w->token, 500, "This transaction took place, but its results cannot be told: %s", err_text(rc));
			return;
		}
		payload = (struct str){ (const char *)shown.data, shown.len };
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
	if (b.len > 0)
		sodium_memzero(b.data, b.len);	/* of the first token the secret */
	buf_release(&b);
	return rc;
}
