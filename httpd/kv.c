/* kv.c - /v1/kv: values pass as they are, entries as JSON. */
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

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

static int
render_kv(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);

	if (mp_r_array(&in) == 0 && in.err == 0 && (v->flags & VIEW_MISSING_EMPTY) == 0) {
		ret->status = 404;
		return 0;
	}
	ret->status = 200;
	return (v->flags & VIEW_RAW) != 0 ? render_raw(payload, ret) : reply_mp(v, payload, ret);
}

static void
kv_get(struct request *r)
{
	struct kv_query q = { .key = r->rest };
	const struct str *sep;

	r->view.reply_flags = REPLY_META;
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
	if (param_has(&r->params, "recurse")) {
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

static void
kv_put(struct request *r)
{
	static const char *const exclusive[] = { "cas", "acquire", "release" };
	struct kv_op op = { .verb = STR("set"), .entry = { .key = r->rest,
	    .value = { (const char *)r->body.data, r->body.len } } };
	const struct str *acquire = param_get(&r->params, "acquire"), *release = param_get(&r->params, "release");
	bool given, cas = false;

	if (r->rest.len == 0) {
		respond_bad(r, "Missing key name");
		return;
	}
	if (r->params.n > 0 && (!no_conflict(r, exclusive, ARRAY_LEN(exclusive)) ||
	    !number(r, "flags", &op.entry.flags, &given) || !number(r, "cas", &op.entry.modify_index, &cas)))
		return;
	if (cas)
		op.verb = STR("cas");
	if (acquire != NULL) {
		op.verb = STR("lock");
		op.entry.session = *acquire;
	} else if (release != NULL) {
		op.verb = STR("unlock");
		op.entry.session = *release;
	}
	upstream_write(r, OP_KV_APPLY, &op, upstream_ok_bool);
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
