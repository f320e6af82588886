/* keyring_op.c - listing and changing the gossip keys of all members. */
#include "gossipd/keyring_op.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MESSAGES_MAX = 8192, KEY_NAMES_MAX = 1024, KEY_ARENA_MAX = 16 * 1024 * 1024, RELAY_MAX = 5 };

struct keyring_op;

/* What one pool answers. */
struct key_poll {
	struct keyring_op *op;
	struct pool *p;
	uint64_t number;		/* of the query; 0: over */
	struct strpair *messages;
	size_t nmessages, messages_cap;
	struct str *keys, *primary;
	struct key_count *counts, *primary_counts;
	size_t nkeys, nprimary;
	int64_t nodes, responses, errors;
	const char *error;
	struct defer end;
};

struct keyring_op {
	struct keyring_op *next;
	struct gossipd *g;
	struct rpc_token token;
	struct arena a;
	char query[32];
	struct key_poll polls[2];
	size_t npolls;
	unsigned open;			/* polls that go on */
};

/* ---- answers of members */

static void
add_message(struct key_poll *k, struct str from, struct str text)
{
	struct arena *a = &k->op->a;
	struct strpair pair;

	if (k->nmessages == KEY_MESSAGES_MAX)
		return;
	if (k->nmessages == k->messages_cap) {
		size_t cap = k->messages_cap > 0 ? k->messages_cap * 2 : 16;
		struct strpair *more = arena_alloc(a, cap * sizeof(more[0]));

		if (more == NULL)
			return;
		if (k->nmessages > 0)
			memcpy(more, k->messages, k->nmessages * sizeof(more[0]));
		k->messages = more;
		k->messages_cap = cap;
	}
	pair.key = str_from(arena_strdup(a, from));
	pair.value = str_from(arena_strdup(a, text));
	if (pair.key.p != NULL && pair.value.p != NULL)
		k->messages[k->nmessages++] = pair;
}

/* One more member has this key. */
static void
count(struct arena *a, struct str *names, struct key_count *counts, size_t *n, struct str key)
{
	if (key.len == 0 || key.len >= KEY_TEXT_MAX)
		return;
	for (size_t i = 0; i < *n; i++)
		if (str_eq(names[i], key)) {
			counts[i].v++;
			return;
		}
	if (*n == KEY_NAMES_MAX)
		return;
	names[*n] = str_from(arena_strdup(a, key));
	if (names[*n].p != NULL)
		counts[(*n)++].v = 1;
}

static void
take_answer(struct key_poll *k, struct str from, struct str payload)
{
	struct arena a = ARENA_INIT(256 * KiB);
	struct msg_key_response r;
	struct str body = { payload.p != NULL ? payload.p + 1 : NULL, payload.len > 0 ? payload.len - 1 : 0 };

	k->responses++;
	if (payload.len == 0 || (uint8_t)payload.p[0] != SERF_KEY_RESPONSE || wire_get(body, &rec_msg_key_response, &r, &a, NULL) < 0) {
		add_message(k, from, STR("Failed to decode key query response"));
		k->errors++;
	} else {
		if (!r.result)
			k->errors++;
		if (!r.result || r.message.len > 0)
			add_message(k, from, r.message);
		for (size_t i = 0; i < r.keys.n && i < KEYS_MAX; i++)
			count(&k->op->a, k->keys, k->counts, &k->nkeys, r.keys.v[i]);
		count(&k->op->a, k->primary, k->primary_counts, &k->nprimary, r.primary_key);
	}
	arena_release(&a);
}

/* ---- the reply */

static int
by_key(const void *a, const void *b)
{
	const struct strpair *x = a, *y = b;

	return str_cmp(x->key, y->key);
}

static void
put_reply(struct key_poll *k, struct mp_w *w)
{
	struct pool *p = k->p;
	struct keyring_response r = {
		.wan = p->wan, .datacenter = p->self.dc, .segment = STR(""),
		.messages = { k->messages, k->nmessages },
		.keys = { k->keys, k->counts, k->nkeys }, .primary_keys = { k->primary, k->primary_counts, k->nprimary },
		.num_nodes = k->nodes, .num_resp = k->responses, .num_err = k->errors, .error = STR(""),
	};
	char error[128];

	if (k->nmessages > 1)
		qsort(k->messages, k->nmessages, sizeof(k->messages[0]), by_key);
	if (k->error != NULL) {
		r.error = str_from(k->error);
	} else if (k->errors > 0) {
		snprintf(error, sizeof(error), "%lld/%lld nodes reported failure", (long long)k->errors, (long long)k->nodes);
		r.error = str_from(error);
	} else if (k->responses != k->nodes) {
		snprintf(error, sizeof(error), "%lld/%lld nodes reported success", (long long)k->responses, (long long)k->nodes);
		r.error = str_from(error);
	}
	record_encode(&rec_keyring_response, &r, RECORD_WHOLE, w);
}

static void
op_free(struct keyring_op *op)
{
	struct keyring_op **at = &op->g->keyring_ops;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	op->g->nkeyring_ops--;
	for (size_t i = 0; i < op->npolls; i++)
		loop_undefer(&op->g->d->loop, DEFER_WORK, &op->polls[i].end);
	arena_release(&op->a);
	free(op);
}

static void
finish(struct keyring_op *op)
{
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct rpc_server *rpc = op->g->d->rpc;
	struct buf *out = rpc_reply_begin(rpc, op->token);
	struct mp_w w;

	if (out != NULL) {
		w = mp_w_init(out);
		record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
		mp_w_array(&w, (uint32_t)op->npolls);
		for (size_t i = 0; i < op->npolls; i++)
			put_reply(&op->polls[i], &w);
		rpc_reply_end(rpc, op->token, w.err == 0);
	}
	op_free(op);
}

/* ---- the queries */

static void
poll_over(struct key_poll *k)
{
	k->number = 0;
	if (--k->op->open == 0)
		finish(k->op);
}

static void
on_answer(void *ctx, struct str from, bool ack, struct str payload)
{
	struct key_poll *k = ctx;

	if (ack)
		return;
	if (from.len == 0) {
		/* Not from within the protocol's call. */
		k->number = 0;
		loop_defer(&k->op->g->d->loop, DEFER_WORK, &k->end);
		return;
	}
	take_answer(k, from, payload);
	/* All have answered: the query's time need not be waited for. */
	if (k->responses >= k->nodes)
		loop_defer(&k->op->g->d->loop, DEFER_WORK, &k->end);
}

static void
on_end(struct defer *d)
{
	struct key_poll *k = (struct key_poll *)((char *)d - offsetof(struct key_poll, end));
	uint64_t number = k->number;

	if (number != 0) {
		/* Ending it tells us once more, which puts us here again. */
		serf_ask_end(k->p->serf, number);
		if (k->number != 0) {
			k->number = 0;
			loop_defer(&k->op->g->d->loop, DEFER_WORK, &k->end);
		}
		return;
	}
	poll_over(k);
}

static void
poll_begin(struct key_poll *k, struct str payload, unsigned relay_factor)
{
	struct serf_ask ask = { .name = str_from(k->op->query), .payload = payload, .relay_factor = relay_factor, .answer = on_answer, .ctx = k };
	int rc = 0;

	k->end.cb = on_end;
	k->keys = arena_alloc(&k->op->a, KEY_NAMES_MAX * sizeof(k->keys[0]));
	k->primary = arena_alloc(&k->op->a, KEY_NAMES_MAX * sizeof(k->primary[0]));
	k->counts = arena_alloc(&k->op->a, KEY_NAMES_MAX * sizeof(k->counts[0]));
	k->primary_counts = arena_alloc(&k->op->a, KEY_NAMES_MAX * sizeof(k->primary_counts[0]));
	k->nodes = (int64_t)serf_asked_of(k->p->serf);
	if (k->keys == NULL || k->primary == NULL || k->counts == NULL || k->primary_counts == NULL)
		rc = -ENOMEM;
	else
		k->number = serf_ask(k->p->serf, clock_ns(), &ask, &rc);
	pool_touch(k->p);
	if (k->number == 0) {
		k->error = err_text(rc < 0 ? rc : -ENOMEM);
		loop_defer(&k->op->g->d->loop, DEFER_WORK, &k->end);
	}
}

/* ---- the operation */

static const char *const verbs[][2] = { { "list", "_serf_list-keys" }, { "install", "_serf_install-key" }, { "use", "_serf_use-key" },
	{ "remove", "_serf_remove-key" } };

static int
make_query(struct keyring_op *op, const struct keyring_request *q, struct buf *payload, char err[256])
{
	uint8_t raw[KEY_BYTES_MAX];
	struct msg_key_request m = { .key = STR("") };
	const char *name = NULL;
	size_t len = 0;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (str_eqs(q->verb, verbs[i][0]))
			name = verbs[i][1];
	if (name == NULL || q->relay_factor < 0 || q->relay_factor > RELAY_MAX) {
		snprintf(err, 256, name == NULL ? "no such keyring operation" : "Relay factor must be in range: [0, %d]", RELAY_MAX);
		return -EINVAL;
	}
	snprintf(op->query, sizeof(op->query), "%s", name);
	if (!str_eqs(q->verb, "list")) {
		if (key_parse(q->key, raw, &len) < 0) {
			snprintf(err, 256, "the key is not base64 of 16, 24 or 32 bytes");
			return -EINVAL;
		}
		m.key = (struct str){ (const char *)raw, len };
	}
	if (q->local_only && !str_eqs(q->verb, "list")) {
		snprintf(err, 256, "argument error: LocalOnly can only be used for List operations");
		return -EINVAL;
	}
	rc = wire_put(payload, SERF_KEY_REQUEST, &rec_msg_key_request, &m);
	sodium_memzero(raw, sizeof(raw));
	return rc;
}

/* The key does not stay behind in memory that is given back. */
static void
forget(struct buf *payload)
{
	if (payload->data != NULL)
		sodium_memzero(payload->data, payload->cap);
	buf_release(payload);
}

static void
begin(struct gossipd *g, const struct rpc_request *req, const struct keyring_request *q)
{
	struct buf payload = BUF_INIT(1024);
	struct keyring_op *op = g->nkeyring_ops < KEYRING_OPS_MAX ? calloc(1, sizeof(*op)) : NULL;
	char err[256] = "out of memory";
	int rc;

	if (g->lan.closed) {
		free(op);
		rpc_reply_error(g->d->rpc, req->token, 500, "this node has left");
		return;
	}
	if (op == NULL) {
		rpc_reply_error(g->d->rpc, req->token, 500, "too many keyring operations at a time");
		return;
	}
	op->g = g;
	op->token = req->token;
	arena_init(&op->a, KEY_ARENA_MAX);
	op->next = g->keyring_ops;
	g->keyring_ops = op;
	g->nkeyring_ops++;
	rc = make_query(op, q, &payload, err);
	if (rc < 0) {
		rpc_reply_error(g->d->rpc, req->token, rc == -EINVAL ? 400 : 500, "%s", err);
		op_free(op);
		forget(&payload);
		return;
	}
	if (g->has_wan && !q->local_only)
		op->polls[op->npolls++] = (struct key_poll){ .op = op, .p = &g->wan };
	op->polls[op->npolls++] = (struct key_poll){ .op = op, .p = &g->lan };
	op->open = (unsigned)op->npolls;
	for (size_t i = 0; i < op->npolls; i++)
		poll_begin(&op->polls[i], (struct str){ (const char *)payload.data, payload.len }, (unsigned)q->relay_factor);
	forget(&payload);
}

void
op_keyring(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct daemon *d = ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct keyring_request q;
	int rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);

	if (rc < 0)
		rpc_bad_request(d->rpc, req, err_text(rc));
	else if (gossipd_permitted(f, acl_may(f, "keyring", STR(""), str_eqs(q.verb, "list") ? "read" : "write")))
		begin(d->ctx, req, &q);
	arena_release(&a);
}

void
keyring_ops_end(struct gossipd *g)
{
	for (struct keyring_op *op = g->keyring_ops; op != NULL; op = op->next)
		for (size_t i = 0; i < op->npolls; i++)
			if (op->polls[i].number != 0)
				loop_defer(&g->d->loop, DEFER_WORK, &op->polls[i].end);
}

void
keyring_ops_release(struct gossipd *g)
{
	while (g->keyring_ops != NULL) {
		struct keyring_op *op = g->keyring_ops;

		/* The protocol must not tell us any more. */
		for (size_t i = 0; i < op->npolls; i++) {
			uint64_t number = op->polls[i].number;

			op->polls[i].number = 0;
			if (number != 0)
				serf_ask_end(op->polls[i].p->serf, number);
		}
		op_free(op);
	}
}
