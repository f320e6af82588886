/* kv.c - /v1/kv: values pass as they are, entries as JSON. */
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"
#include "lib/duration.h"

#define KV_TTL_MAX_S (10 * 365 * 86400)

/* The only entry's value as the body; the rest of the entry is not looked at. */
static int
render_raw(struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	struct kv_entry e;
	struct arena none = ARENA_INIT(0);
	int rc;

	(void)mp_r_array(&in);
	rc = record_decode(&rec_kv_entry, &in, &e, &none);
	if (rc < 0)
		return rc;
	ret->content = CONTENT_PLAIN;
	ret->flags |= REPLY_RAW;
	return buf_add(&ret->body, e.value.p, e.value.len);
}

/* {"Count": number} */
static int
render_count(const struct view *v, struct str payload, struct reply *ret)
{
	struct buf out = BUF_INIT(64);
	struct mp_w w = mp_w_init(&out);
	int rc;

	mp_w_map(&w, 1);
	mp_w_cstr(&w, "Count");
	mp_w_raw(&w, payload);
	rc = w.err;
	if (rc == 0)
		rc = reply_mp(v, (struct str){ (const char *)out.data, out.len }, ret);
	buf_release(&out);
	return rc;
}

static int
render_kv(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);

	if ((v->flags & VIEW_COUNT) != 0)
		return render_count(v, payload, ret);
	if ((v->flags & VIEW_PAGE) != 0 && mp_r_array(&in) == 2) {
		payload = mp_r_raw(&in);
		if (mp_r_bool(&in)) {
			ret->name = "X-Consul-Truncated";
			ret->value = "true";
		}
		in = mp_r_init(payload.p, payload.len);
	}
	if (mp_r_array(&in) == 0 && in.err == 0 && (v->flags & VIEW_MISSING_EMPTY) == 0) {
		ret->status = 404;
		return 0;
	}
	ret->status = 200;
	return (v->flags & VIEW_RAW) != 0 ? render_raw(payload, ret) : reply_mp(v, payload, ret);
}

/* A parameter that is a number from 1 on. False: refused. */
static bool
positive(struct request *r, const char *name, uint64_t *ret)
{
	const struct str *s = param_get(&r->params, name);

	if (s == NULL || (parse_u64(*s, ret) == 0 && *ret > 0))
		return true;
	respond_text(r, 400, "Invalid %s: it is not a number above 0", name);
	return false;
}

/* Which part of a list is wanted, or only its length. False: refused. */
static bool
list_part(struct request *r, struct kv_query *q)
{
	const struct str *after = param_get(&r->params, "after");
	bool list = param_has(&r->params, "keys") || param_has(&r->params, "recurse") || param_has(&r->params, "count");

	q->fencing = param_has(&r->params, "fencing");
	if (!positive(r, "limit", &q->limit) || !positive(r, "depth", &q->depth))
		return false;
	if (!list && (q->limit > 0 || q->depth > 0 || after != NULL)) {
		respond_bad(r, "limit, after and depth go with keys, recurse or count");
		return false;
	}
	if (after != NULL)
		q->after = *after;
	q->count = param_has(&r->params, "count");
	if (q->count && (q->limit > 0 || after != NULL)) {
		respond_bad(r, "count tells how many there are: limit and after do not go with it");
		return false;
	}
	r->view.flags |= q->count ? VIEW_COUNT : q->limit > 0 ? VIEW_PAGE : 0;
	return true;
}

static void
kv_get(struct request *r)
{
	struct kv_query q = { .key = r->rest };
	const struct str *sep;

	r->view.reply_flags = REPLY_META;
	if (r->params.n > 0 && !list_part(r, &q))
		return;
	if (param_has(&r->params, "keys")) {
		sep = param_get(&r->params, "separator");
		if (sep == NULL || sep->len == 0)
			sep = param_get(&r->params, "seperator");
		if (sep != NULL)
			q.separator = *sep;
		if (q.key.len == 0)
			r->view.flags |= VIEW_MISSING_EMPTY;
		upstream_read(r, OP_KV_KEYS, &q, render_kv);
		return;
	}
	if (q.count || param_has(&r->params, "recurse")) {
		sep = param_get(&r->params, "separator");
		if (sep != NULL)
			q.separator = *sep;
		upstream_read(r, OP_KV_LIST, &q, render_kv);
		return;
	}
	if (q.key.len == 0) {
		respond_bad(r, "Missing key name");
		return;
	}
	if (param_has(&r->params, "raw"))
		r->view.flags |= VIEW_RAW;
	upstream_read(r, OP_KV_GET, &q, render_kv);
}

/* Whether no two of these parameters are there. */
static bool
no_conflict(struct request *r, const char *const names[], size_t n)
{
	size_t found = 0;
	const char *query;

	for (size_t i = 0; i < n; i++)
		found += param_has(&r->params, names[i]);
	if (found < 2)
		return true;
	query = params_encode(&r->params, &r->arena);
	respond_text(r, 400, "Conflicting flags: %s", query != NULL ? query : "");
	return false;
}

/* A parameter that is a number; the refusal is worded as Go's. */
static bool
number(struct request *r, const char *name, uint64_t *ret, bool *ret_given)
{
	const struct str *s = param_get(&r->params, name);
	int rc;

	*ret_given = s != NULL;
	if (s == NULL)
		return true;
	rc = parse_u64(*s, ret);
	if (rc == 0)
		return true;
	respond_text(r, 500, "strconv.ParseUint: parsing %s: %s", go_quote(*s, &r->arena),
	    rc == -ERANGE ? "value out of range" : "invalid syntax");
	return false;
}

/* The fencing token, 0 when the key was not acquired. */
static void
on_fenced(struct request *r, const struct rpc_answer *a)
{
	struct str payload;
	uint64_t token;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	token = mp_r_uint(&in);
	if (token > 0) {
		(void)snprintf(r->reply.text, sizeof(r->reply.text), "%llu", (unsigned long long)token);
		r->reply.name = "X-Consul-Fencing-Token";
	}
	respond_bool(r, token > 0);
}

/* ?ttl, ?touch, ?fencing. False: refused. */
static bool
put_extras(struct request *r, struct kv_op *op)
{
	const struct str *ttl = param_get(&r->params, "ttl");
	bool lock = param_has(&r->params, "acquire"), unlock = param_has(&r->params, "release");

	op->fencing = param_has(&r->params, "fencing");
	if (ttl != NULL && (duration_parse(*ttl, &op->ttl) < 0 || op->ttl < NS_PER_S || op->ttl > KV_TTL_MAX_S * NS_PER_S))
		respond_bad(r, "Invalid ttl: it is a duration from 1s to ten years");
	else if (ttl != NULL && (lock || unlock))
		respond_bad(r, "ttl does not go with acquire and release: what a session holds lasts as long as the session");
	else if (op->fencing && !lock)
		respond_bad(r, "fencing goes with acquire");
	else if (param_has(&r->params, "touch") && r->body.len > 0)
		respond_bad(r, "touch keeps the value: it takes no body");
	return r->state != REQ_READY;
}

static void
kv_put(struct request *r)
{
	static const char *const exclusive[] = { "cas", "acquire", "release", "touch" };
	struct kv_op op = { .verb = STR("set"), .entry = { .key = r->rest,
	    .value = { (const char *)r->body.data, r->body.len } } };
	const struct str *acquire = param_get(&r->params, "acquire"), *release = param_get(&r->params, "release");
	bool given, cas = false;

	if (r->rest.len == 0) {
		respond_bad(r, "Missing key name");
		return;
	}
	if (r->params.n > 0 && (!no_conflict(r, exclusive, ARRAY_LEN(exclusive)) ||
	    !number(r, "flags", &op.entry.flags, &given) || !number(r, "cas", &op.entry.modify_index, &cas) ||
	    !put_extras(r, &op)))
		return;
	if (cas)
		op.verb = STR("cas");
	if (param_has(&r->params, "touch"))
		op.verb = STR("touch");
	if (acquire != NULL) {
		op.verb = STR("lock");
		op.entry.session = *acquire;
	} else if (release != NULL) {
		op.verb = STR("unlock");
		op.entry.session = *release;
	}
	upstream_write(r, OP_KV_APPLY, &op, op.fencing ? on_fenced : upstream_ok_bool);
}

static void
kv_delete(struct request *r)
{
	static const char *const exclusive[] = { "recurse", "cas" };
	struct kv_op op = { .verb = STR("delete"), .entry = { .key = r->rest } };
	bool cas = false;

	if (!no_conflict(r, exclusive, ARRAY_LEN(exclusive)))
		return;
	if (param_has(&r->params, "recurse")) {
		op.verb = STR("delete-tree");
	} else if (r->rest.len == 0) {
		respond_bad(r, "Missing key name");
		return;
	}
	if (!number(r, "cas", &op.entry.modify_index, &cas))
		return;
	if (cas)
		op.verb = STR("delete-cas");
	upstream_write(r, OP_KV_APPLY, &op, upstream_ok_bool);
}

void
kv_serve(struct request *r)
{
	if (r->method == M_GET)
		kv_get(r);
	else if (r->method == M_PUT)
		kv_put(r);
	else
		kv_delete(r);
}
