/* stream_topic.c - topics: asking, comparing, and handing changes to their feeds. */
#include "httpd/stream_topic.h"

#include <stdlib.h>

#include "httpd/upstream.h"

enum { ANSWER_MAX = RPC_REPLY_MAX };

struct topic {
	struct topic *next, **prev;
	struct topics *all;
	enum topic_kind kind;
	uint16_t op;
	struct buf question;		/* encoded, with index 0: by it equal ones are found */
	struct rpc_client *client;
	uint32_t call;
	uint64_t connects;		/* that of the connection that the question went by */
	uint64_t index;			/* 0: not known yet */
	uint64_t acl_index;		/* of the last answer */
	struct batch *whole;		/* not KV: all there is, as a reset */
	struct feed *feeds;
};

struct topics {
	struct httpd *h;
	struct topic *list;
	size_t n;
};

/* ---- batches */

static void
batch_unref(struct batch *b)
{
	if (b == NULL || --b->refs > 0)
		return;
	b->h->unsent -= b->counted;
	buf_release(&b->payload);
	free(b);
}

/* Takes payload. NULL: malformed, no memory, or too much waits to be told. */
static struct batch *
batch_new(struct httpd *h, uint64_t to, struct buf *payload)
{
	struct mp_r in = mp_r_init(payload->data, payload->len);
	size_t counted = payload->cap > HTTP_LARGE ? payload->cap : 0;
	struct batch *b = calloc(1, sizeof(*b));

	if (b == NULL || (counted > 0 && h->unsent > 0 && h->unsent + counted > HTTP_UNSENT_MAX)) {
		free(b);
		return NULL;
	}
	*b = (struct batch){ .refs = 1, .h = h, .to = to };
	(void)mp_r_map(&in);
	(void)mp_r_str(&in);
	b->reset = mp_r_bool(&in);
	(void)mp_r_str(&in);
	b->nentries = mp_r_array(&in);
	b->entries_at = payload->len - (size_t)(in.end - in.p);
	for (uint32_t i = 0; i < b->nentries && in.err == 0; i++)
		mp_r_skip(&in);
	(void)mp_r_str(&in);
	b->ndeleted = mp_r_array(&in);
	if (in.err != 0) {
		free(b);
		return NULL;
	}
	h->unsent += counted;
	b->counted = counted;
	b->payload = *payload;
	*payload = (struct buf)BUF_INIT(0);
	return b;
}

/* ---- what identifies an entry, and what has changed of them */

struct item {
	struct str node, id, raw;
};

static struct str
field(struct str map, const char *name)
{
	struct mp_r in = mp_r_init(map.p, map.len);
	uint32_t n = mp_r_map(&in);

	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		if (str_eqs(mp_r_str(&in), name))
			return mp_r_raw(&in);
		mp_r_skip(&in);
	}
	return STR_NONE;
}

static struct str
text_field(struct str map, const char *name)
{
	struct str raw = field(map, name);
	struct mp_r in = mp_r_init(raw.p, raw.len);
	struct str v;

	if (raw.len == 0)
		return STR("");
	v = mp_r_str(&in);
	return in.err == 0 ? v : STR("");
}

static void
item_read(enum topic_kind kind, struct str raw, struct item *ret)
{
	ret->raw = raw;
	if (kind == TOPIC_NODE) {
		ret->node = text_field(raw, "Node");
		ret->id = text_field(raw, "CheckID");
	} else {
		ret->node = text_field(field(raw, "Node"), "Node");
		ret->id = text_field(field(raw, "Service"), "ID");
	}
}

static int
item_cmp(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int c = str_cmp(x->node, y->node);

	return c != 0 ? c : str_cmp(x->id, y->id);
}

/* The entries of a list, sorted. NULL: no memory, or no list. */
static struct item *
items_read(enum topic_kind kind, struct mp_r *in, uint32_t n)
{
	struct item *v = calloc((size_t)n + 1, sizeof(*v));

	if (v == NULL)
		return NULL;
	for (uint32_t i = 0; i < n && in->err == 0; i++)
		item_read(kind, mp_r_raw(in), &v[i]);
	if (in->err != 0) {
		free(v);
		return NULL;
	}
	qsort(v, n, sizeof(*v), item_cmp);
	return v;
}

static void
write_deleted(enum topic_kind kind, const struct item *it, struct mp_w *w)
{
	mp_w_map(w, 2);
	mp_w_cstr(w, "Node");
	mp_w_str(w, it->node);
	mp_w_cstr(w, kind == TOPIC_NODE ? "CheckID" : "ServiceID");
	mp_w_str(w, it->id);
}

/* Both in order: what is new or not as it was, and what is no more. */
static void
write_difference(enum topic_kind kind, const struct item *was, uint32_t nwas, const struct item *is, uint32_t nis,
    struct mp_w *w)
{
	uint32_t entries = 0, deleted = 0, i = 0, j = 0;
	size_t at;

	mp_w_map(w, 3);
	mp_w_cstr(w, "Reset");
	mp_w_bool(w, false);
	mp_w_cstr(w, "Entries");
	at = mp_w_array_hold(w);
	for (j = 0; j < nis; j++) {
		while (i < nwas && item_cmp(&was[i], &is[j]) < 0)
			i++;
		if (i < nwas && item_cmp(&was[i], &is[j]) == 0 && str_cmp(was[i].raw, is[j].raw) == 0)
			continue;
		mp_w_raw(w, is[j].raw);
		entries++;
	}
	mp_w_array_patch(w, at, entries);
	mp_w_cstr(w, "Deleted");
	at = mp_w_array_hold(w);
	for (i = 0, j = 0; i < nwas; i++) {
		while (j < nis && item_cmp(&is[j], &was[i]) < 0)
			j++;
		if (j < nis && item_cmp(&is[j], &was[i]) == 0)
			continue;
		write_deleted(kind, &was[i], w);
		deleted++;
	}
	mp_w_array_patch(w, at, deleted);
}

/* What leads from one state to the other. NULL without memory. */
static struct batch *
difference(const struct topic *t, const struct batch *was, const struct batch *is)
{
	struct mp_r a = mp_r_init(was->payload.data + was->entries_at, was->payload.len - was->entries_at);
	struct mp_r b = mp_r_init(is->payload.data + is->entries_at, is->payload.len - is->entries_at);
	struct item *old = items_read(t->kind, &a, was->nentries), *new = items_read(t->kind, &b, is->nentries);
	struct buf out = BUF_INIT(ANSWER_MAX);
	struct mp_w w = mp_w_init(&out);
	struct batch *d = NULL;

	if (old != NULL && new != NULL) {
		write_difference(t->kind, old, was->nentries, new, is->nentries, &w);
		if (w.err == 0)
			d = batch_new(t->all->h, is->to, &out);
	}
	free(old);
	free(new);
	buf_release(&out);
	return d;
}

/* Meta and payload of an answer; an index is never 0, which stands for none. */
static int
answer_decode(const struct rpc_answer *a, struct query_meta *ret, struct str *ret_payload)
{
	int rc = op_reply_decode(a->body, a->len, ret, ret_payload);

	if (rc < 0 || ret->index == 0)
		ret->index = 1;
	return rc;
}

/* An answer as a batch: a list of entries is all there is. */
static struct batch *
answer_batch(const struct topic *t, uint64_t index, struct str payload)
{
	struct buf out = BUF_INIT(ANSWER_MAX);
	struct mp_w w = mp_w_init(&out);
	struct batch *b = NULL;

	if (t->kind == TOPIC_KV) {
		mp_w_raw(&w, payload);
	} else {
		mp_w_map(&w, 3);
		mp_w_cstr(&w, "Reset");
		mp_w_bool(&w, true);
		mp_w_cstr(&w, "Entries");
		mp_w_raw(&w, payload);
		mp_w_cstr(&w, "Deleted");
		mp_w_array(&w, 0);
	}
	if (w.err == 0)
		b = batch_new(t->all->h, index, &out);
	buf_release(&out);
	return b;
}

/* ---- asking */

static void feed_go_on(struct feed *f);

/* The question of a topic for what comes behind an index; 0: it cannot be asked now. */
static uint32_t
ask(const struct topic *t, uint64_t index, rpc_answer_cb *cb, void *arg)
{
	const struct op_info *info = op_info(t->op);
	struct arena a = ARENA_INIT(HTTP_ARENA_MAX);
	void *record = arena_alloc(&a, info->request->size);
	struct query_options o;
	uint32_t call = 0;

	if (record != NULL && op_request_decode(info, t->question.data, t->question.len, &o, record, &a) == 0) {
		o.min_index = index;
		o.acl_index = index > 0 ? t->acl_index : 0;
		call = rpc_call_record(t->client, t->op, &o, record, RPC_RETRY | RPC_NO_DEADLINE, 0, cb, arg);
	}
	arena_release(&a);
	return call;
}

/* Whether a failure is a refusal that will be one again. */
static bool
refused(const struct rpc_answer *a, struct rpc_error *ret)
{
	if (a->rc != -EPROTO)
		return false;
	rpc_error_decode(a, ret);
	return ret->code >= 400 && ret->code < 500 && ret->code != 429;
}

static void
feed_fail(struct feed *f, int status, struct str text)
{
	f->calls = f->in_step = false;
	f->owner->failed(f->owner->arg, f, status, text);
}

static void
topic_fail(struct topic *t, int status, struct str text)
{
	struct feed *next;

	for (struct feed *f = t->feeds; f != NULL; f = next) {
		next = f->next;
		feed_fail(f, status, text);
	}
}

static void
give(struct feed *f, struct batch *b)
{
	b->refs++;
	f->batch = b;
	f->in_step = false;
	f->owner->ready(f->owner->arg, f);
}

static void on_topic(void *arg, const struct rpc_answer *a);

static void
topic_ask(struct topic *t)
{
	if (t->call != 0)
		return;
	t->connects = upstream_link(t->all->h, t->client)->connects;
	t->call = ask(t, t->index, on_topic, t);
}

/* The question has failed, or raftd was started anew and may have another state, with other indexes: what there is now tells. */
static void
topic_ask_anew(struct topic *t)
{
	if (t->call != 0)
		rpc_cancel(t->client, t->call);
	t->connects = upstream_link(t->all->h, t->client)->connects;
	t->call = ask(t, 0, on_topic, t);
}

/* What was answered earlier is not to be built on: rights have changed, or the whole state. */
static void
topic_restart(struct topic *t)
{
	struct feed *next;

	t->index = 0;
	for (struct feed *f = t->feeds; f != NULL; f = next) {
		next = f->next;
		f->restart = true;
		if (f->in_step)
			feed_go_on(f);
	}
}

static void
kv_answered(struct topic *t, uint64_t index, struct str payload)
{
	struct batch *b;
	uint64_t from = t->index;
	struct feed *next;

	if (index <= from) {
		topic_restart(t);
		return;
	}
	b = answer_batch(t, index, payload);
	if (b == NULL) {
		topic_fail(t, 503, STR("too much has changed at once"));
		return;
	}
	t->index = index;
	for (struct feed *f = t->feeds; f != NULL; f = next) {
		next = f->next;
		if (f->in_step && f->pos >= from)
			give(f, b);
	}
	batch_unref(b);
	topic_ask(t);
}

static void
list_answered(struct topic *t, uint64_t index, struct str payload)
{
	struct batch *was = t->whole, *is = answer_batch(t, index, payload), *d = NULL;
	bool back = index < t->index;
	struct feed *next;

	if (is != NULL && was != NULL)
		d = difference(t, was, is);
	if (is == NULL || (was != NULL && d == NULL)) {
		batch_unref(is);
		topic_fail(t, 503, STR("too much has changed at once"));
		return;
	}
	t->whole = is;
	t->index = index;
	for (struct feed *f = t->feeds; f != NULL; f = next) {
		next = f->next;
		/* An index that goes back, or that a client has from elsewhere, is another state's. */
		f->restart = f->restart || back || (was == NULL && f->pos > index);
		if (was == NULL || (back && f->in_step))
			feed_go_on(f);
		else if (f->in_step && d->nentries + d->ndeleted > 0)
			give(f, d);
		else if (f->in_step)
			f->pos = index;
	}
	batch_unref(was);
	batch_unref(d);
	topic_ask(t);
}

static void
topic_answered(struct topic *t, const struct query_meta *meta, struct str payload)
{
	t->acl_index = meta->acl_index;
	if (t->kind == TOPIC_KV)
		kv_answered(t, meta->index, payload);
	else
		list_answered(t, meta->index, payload);
}

static void
on_topic(void *arg, const struct rpc_answer *a)
{
	struct topic *t = arg;
	struct rpc_error e;
	struct str payload;
	struct query_meta meta;

	t->call = 0;
	if (refused(a, &e))
		topic_fail(t, (int)e.code, e.text);
	else if (a->rc != 0)
		return;		/* the next tick asks again */
	else if (answer_decode(a, &meta, &payload) < 0)
		topic_fail(t, 500, STR("malformed answer from another daemon"));
	else
		topic_answered(t, &meta, payload);
}

/* ---- feeds */

static void
on_feed(void *arg, const struct rpc_answer *a)
{
	struct feed *f = arg;
	struct topic *t = f->topic;
	struct rpc_error e;
	struct str payload;
	struct batch *b;
	struct query_meta meta;

	f->call = 0;
	if (refused(a, &e)) {
		feed_fail(f, (int)e.code, e.text);
		return;
	}
	if (a->rc != 0)
		return;
	b = answer_decode(a, &meta, &payload) == 0 ? answer_batch(t, meta.index, payload) : NULL;
	if (b == NULL) {
		feed_fail(f, 503, STR("too much has changed at once"));
		return;
	}
	if (!b->reset && meta.index <= f->pos) {
		/* Not because of a change: rights are others now. */
		f->pos = 0;
		f->call = ask(t, 0, on_feed, f);
		batch_unref(b);
		return;
	}
	f->calls = false;
	if (t->index == 0) {
		t->index = meta.index;
		t->acl_index = meta.acl_index;
		topic_ask(t);
	}
	give(f, b);
	batch_unref(b);
}

/* A KV feed reads what it lacks by itself; at the topic's index, or beyond, it follows the topic. */
static void
kv_go_on(struct feed *f)
{
	struct topic *t = f->topic;

	if (t->index == 0 && f->pos != 0)
		t->index = f->pos;
	if (f->pos != 0 && f->pos >= t->index) {
		f->in_step = true;
		topic_ask(t);
		return;
	}
	f->calls = true;
	f->call = ask(t, f->pos, on_feed, f);
}

static void
feed_go_on(struct feed *f)
{
	struct topic *t = f->topic;

	f->in_step = false;
	if (f->restart)
		f->pos = 0;
	f->restart = false;
	if (t->kind == TOPIC_KV)
		kv_go_on(f);
	else if (t->whole == NULL)
		topic_ask(t);
	else if (f->pos != 0 && f->pos >= t->index)
		f->in_step = true;
	else
		give(f, t->whole);
}

void
feed_told(struct feed *f)
{
	struct batch *b = f->batch;

	if (b->to > f->pos || b->reset)
		f->pos = b->to;
	f->batch = NULL;
	batch_unref(b);
	feed_go_on(f);
}

/* ---- topics */

bool
topic_parse(struct str text, enum topic_kind *ret_kind, struct str *ret_name)
{
	static const struct {
		struct str prefix;
		enum topic_kind kind;
	} kinds[] = { { { "kv:", 3 }, TOPIC_KV }, { { "service:", 8 }, TOPIC_SERVICE }, { { "node:", 5 }, TOPIC_NODE } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!str_has_prefix(text, kinds[i].prefix))
			continue;
		*ret_kind = kinds[i].kind;
		*ret_name = (struct str){ text.p + kinds[i].prefix.len, text.len - kinds[i].prefix.len };
		return kinds[i].kind == TOPIC_KV || ret_name->len > 0;
	}
	return false;
}

static void
topic_free(struct topic *t)
{
	*t->prev = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	t->all->n--;
	if (t->call != 0)
		rpc_cancel(t->client, t->call);
	batch_unref(t->whole);
	/* The question holds a token. */
	if (t->question.data != NULL)
		explicit_bzero(t->question.data, t->question.cap);
	buf_release(&t->question);
	free(t);
}

static int
question_encode(enum topic_kind kind, struct str name, const struct query_options *o, uint16_t *ret_op, struct buf *out)
{
	struct kv_query kv = { .key = name };
	struct catalog_query q = { .node = STR_NONE };
	struct query_options plain = *o;

	plain.min_index = 0;
	if (kind == TOPIC_KV) {
		*ret_op = OP_KV_CHANGES;
		return op_request_encode(OP_KV_CHANGES, &plain, &kv, out);
	}
	*ret_op = kind == TOPIC_SERVICE ? OP_HEALTH_SERVICE : OP_HEALTH_NODE;
	if (kind == TOPIC_SERVICE)
		q.service = name;
	else
		q.node = name;
	return op_request_encode(*ret_op, &plain, &q, out);
}

/* Takes question. */
static struct topic *
topic_get(struct topics *ts, enum topic_kind kind, uint16_t op, struct buf *question)
{
	struct topic *t;

	for (t = ts->list; t != NULL; t = t->next)
		if (t->op == op && t->question.len == question->len && memcmp(t->question.data, question->data, question->len) == 0)
			return t;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	*t = (struct topic){ .all = ts, .kind = kind, .op = op, .question = *question, .client = upstream_client(ts->h, op),
		.next = ts->list, .prev = &ts->list };
	*question = (struct buf)BUF_INIT(0);
	if (t->next != NULL)
		t->next->prev = &t->next;
	ts->list = t;
	ts->n++;
	return t;
}

int
feed_open(struct topics *ts, struct feed *f, enum topic_kind kind, struct str name, const struct query_options *o,
    uint64_t since, const struct feed_owner *owner)
{
	struct buf question = BUF_INIT(64 * KiB);
	uint16_t op;
	int rc = question_encode(kind, name, o, &op, &question);
	struct topic *t = rc == 0 ? topic_get(ts, kind, op, &question) : NULL;

	buf_release(&question);
	if (t == NULL)
		return rc < 0 ? rc : -ENOMEM;
	*f = (struct feed){ .topic = t, .owner = owner, .pos = since, .next = t->feeds, .prev = &t->feeds };
	if (f->next != NULL)
		f->next->prev = &f->next;
	t->feeds = f;
	feed_go_on(f);
	return 0;
}

void
feed_close(struct feed *f)
{
	struct topic *t = f->topic;

	if (t == NULL)
		return;
	if (f->call != 0)
		rpc_cancel(t->client, f->call);
	batch_unref(f->batch);
	*f->prev = f->next;
	if (f->next != NULL)
		f->next->prev = f->prev;
	*f = (struct feed){ .topic = NULL };
	if (t->feeds == NULL)
		topic_free(t);
}

void
topics_tick(struct topics *ts)
{
	for (struct topic *t = ts->list; t != NULL; t = t->next) {
		bool waits = t->call != 0 && t->connects == upstream_link(ts->h, t->client)->connects;

		if (t->kind != TOPIC_KV && !waits)
			topic_ask_anew(t);
		else if (t->call == 0 && t->index != 0)
			topic_ask(t);
		for (struct feed *f = t->feeds; f != NULL; f = f->next)
			if (f->calls && f->call == 0)
				f->call = ask(t, f->pos, on_feed, f);
	}
}

struct topics *
topics_new(struct httpd *h)
{
	struct topics *ts = calloc(1, sizeof(*ts));

	if (ts != NULL)
		ts->h = h;
	return ts;
}

void
topics_free(struct topics *ts)
{
	free(ts);
}

size_t
topics_count(const struct topics *ts)
{
	return ts->n;
}
