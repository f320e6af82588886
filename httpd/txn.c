/* txn.c - PUT /v1/txn */
#include <json-c/json_object.h>

#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

/* How many of the record's lists hold something. */
static size_t
kinds(const struct txn_op *op)
{
	return (op->kv.n > 0) + (op->node.n > 0) + (op->service.n > 0) + (op->check.n > 0);
}

static bool
parse_ops(struct request *r, struct json_object *j, struct txn_request *q)
{
	size_t n = json_object_array_length(j);
	struct txn_op *ops;

	if (n > (size_t)r->h->cfg.txn_max_ops) {
		respond_text(r, 413, "Transaction contains too many operations (%zu > %lld)", n, (long long)r->h->cfg.txn_max_ops);
		return false;
	}
	ops = arena_alloc(&r->arena, (n + 1) * sizeof(*ops));
	if (ops == NULL) {
		respond_empty(r, 500);
		return false;
	}
	*q = (struct txn_request){ .ops = { ops, 0 } };
	for (size_t i = 0; i < n; i++) {
		struct json_object *e = json_object_array_get_idx(j, i);
		struct txn_op *op = &ops[q->ops.n];
		char err[256];

		*op = (struct txn_op){ .kv = { NULL, 0 } };
		if (e != NULL && record_from_json(&rec_txn_op, e, op, &r->arena, false, err, sizeof(err)) < 0) {
			respond_text(r, 400, "Failed to parse body: %s", err);
			return false;
		}
		/* An operation of no known kind does nothing. */
		q->ops.n += kinds(op) == 1;
		if (kinds(op) > 1) {
			respond_text(r, 400, "Failed to parse body: operation %zu is of several kinds", i);
			return false;
		}
	}
	return true;
}

static bool
values_fit(struct request *r, const struct txn_request *q)
{
	const struct txn_op *ops = q->ops.v;

	for (size_t i = 0; i < q->ops.n; i++) {
		const struct txn_kv *kv = ops[i].kv.n > 0 ? ops[i].kv.v : NULL;

		if (kv == NULL || kv->value.len <= (size_t)r->h->cfg.kv_max_value)
			continue;
		respond_text(r, 413, "Value for key %s is too large (%zu > %lld bytes)", go_quote(kv->key, &r->arena),
		    kv->value.len, (long long)r->h->cfg.kv_max_value);
		return false;
	}
	return true;
}

static bool
op_writes(const struct txn_op *op)
{
	static const char *const reads[] = { "get", "get-tree", "get-or-empty", "check-index", "check-session",
		"check-not-exists" };
	struct str verb = op->kv.n > 0 ? ((const struct txn_kv *)op->kv.v)->verb :
	    op->node.n > 0 ? ((const struct txn_node *)op->node.v)->verb :
	    op->service.n > 0 ? ((const struct txn_service *)op->service.v)->verb :
	    ((const struct txn_check *)op->check.v)->verb;

	for (size_t i = 0; i < (op->kv.n > 0 ? ARRAY_LEN(reads) : 1); i++)
		if (str_eqs(verb, reads[i]))
			return false;
	return true;
}

static bool
txn_writes(const struct txn_request *q)
{
	for (size_t i = 0; i < q->ops.n; i++)
		if (op_writes((const struct txn_op *)q->ops.v + i))
			return true;
	return false;
}

/* Whether the reply lists errors; its two members raw in pairs. */
static bool
txn_failed(struct str payload, struct str *ret_pairs)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	uint32_t n = mp_r_map(&in);
	bool failed = false;

	*ret_pairs = (struct str){ (const char *)in.p, (size_t)(in.end - in.p) };
	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		bool errors = str_eqs(mp_r_str(&in), "Errors");

		failed = failed || (errors && mp_r_type(&in) == MP_ARRAY);
		mp_r_skip(&in);
	}
	return failed;
}

static void
on_written(struct request *r, const struct rpc_answer *a)
{
	struct str payload, pairs;

	if (upstream_payload(r, a, &payload))
		respond_mp(r, txn_failed(payload, &pairs) ? 409 : 200, payload);
}

/* A transaction that only reads is answered with what is known of the read. */
static void
on_read(struct request *r, const struct rpc_answer *a)
{
	struct str payload, pairs;
	struct buf out = BUF_INIT(RPC_REPLY_MAX);
	struct mp_w w = mp_w_init(&out);
	bool failed;

	if (!upstream_payload(r, a, &payload))
		return;
	failed = txn_failed(payload, &pairs);
	r->reply.flags = REPLY_LEADER;
	mp_w_map(&w, 8);
	mp_w_raw(&w, pairs);
	mp_w_cstr(&w, "Index");
	mp_w_uint(&w, 0);
	mp_w_cstr(&w, "LastContact");
	mp_w_int(&w, r->reply.meta.last_contact_ms * 1000000);
	mp_w_cstr(&w, "KnownLeader");
	mp_w_bool(&w, r->reply.meta.known_leader);
	mp_w_cstr(&w, "ConsistencyLevel");
	mp_w_cstr(&w, "");
	mp_w_cstr(&w, "NotModified");
	mp_w_bool(&w, false);
	mp_w_cstr(&w, "Backend");
	mp_w_uint(&w, 0);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, failed ? 409 : 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

void
txn_apply(struct request *r)
{
	struct txn_request q;
	bool null, ok;
	struct json_object *j = body_parse(r, "Failed to parse body", &null);

	if (j == NULL && !null)
		return;
	if (j != NULL && !json_object_is_type(j, json_type_array)) {
		(void)json_object_put(j);
		respond_bad(r, "Failed to parse body: json: the body is not a list of operations");
		return;
	}
	if (j == NULL)
		j = json_object_new_array();
	ok = j != NULL && parse_ops(r, j, &q);
	(void)json_object_put(j);
	if (!ok || !values_fit(r, &q))
		return;
	if (txn_writes(&q)) {
		r->opts.consistency = CONSISTENCY_DEFAULT;
		upstream_write(r, OP_TXN_APPLY, &q, on_written);
	} else {
		/* Answered as a read: no stamp. */
		upstream_ask(r, OP_TXN_APPLY, &q, on_read);
	}
}
