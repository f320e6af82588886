/* acl.c - what the ACL endpoints share, and those that are about ACLs as a whole. */
#include "httpd/acl.h"

#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "lib/json.h"

enum { ASKED_MAX = 64, ANSWER_MAX = 1024 * 1024 };

bool
acl_enabled(struct request *r)
{
	if (!r->h->cfg.acl_enabled)
		acl_disabled(r);
	return r->h->cfg.acl_enabled;
}

static bool
decode(struct request *r, const char *what, const struct record *rec, struct json_object *j, void *obj)
{
	char err[512] = "";
	int rc = record_from_json(rec, j, obj, &r->arena, true, err, sizeof(err));

	if (rc < 0)
		respond_text(r, 400, "Bad request: %s: %s", what, err);
	return rc == 0;
}

/* NULL: answered, or *ret_null: the body is null. */
static struct json_object *
parse(struct request *r, const char *what, bool *ret_null)
{
	char err[256] = "EOF";
	struct json_object *j = NULL;

	*ret_null = false;
	if (r->body.len > 0)
		j = json_parse((const char *)r->body.data, r->body.len, ret_null, err, sizeof(err));
	if (j == NULL && !*ret_null)
		respond_text(r, 400, "Bad request: %s: %s", what, err);
	return j;
}

bool
acl_body(struct request *r, const char *what, const struct record *rec, void *obj)
{
	bool null, ok;
	struct json_object *j = parse(r, what, &null);

	if (j == NULL)
		return null;
	ok = decode(r, what, rec, j, obj);
	(void)json_object_put(j);
	return ok;
}

bool
acl_same(struct request *r, struct str *in_body, struct str in_path, const char *text)
{
	if (in_body->len > 0 && !str_eq(*in_body, in_path)) {
		respond_bad(r, text);
		return false;
	}
	*in_body = in_path;
	return true;
}

bool
acl_has_rest(struct request *r, const char *text)
{
	if (r->rest.len == 0)
		respond_bad(r, text);
	return r->rest.len > 0;
}

struct str
acl_param(const struct request *r, const char *name)
{
	const struct str *v = param_get(&r->params, name);

	return v != NULL ? *v : STR("");
}

/* ---- reads */

void
acl_list(struct request *r, uint16_t op, const struct acl_query *q)
{
	r->view.reply_flags = REPLY_META;
	upstream_read(r, op, q, render_json);
}

/* The element of a list of at most one. */
static int
render_first(const struct view *v, struct str payload, struct reply *ret, bool *ret_found)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);

	*ret_found = mp_r_array(&in) > 0;
	if (in.err < 0)
		return in.err;
	return *ret_found ? render_json(v, mp_r_raw(&in), ret) : 0;
}

static int
render_one(const struct view *v, struct str payload, struct reply *ret)
{
	bool found;
	int rc = render_first(v, payload, ret, &found);

	return rc < 0 || found ? rc : reply_text(ret, 403, "ACL not found");
}

static int
render_one_or_404(const struct view *v, struct str payload, struct reply *ret)
{
	bool found;
	int rc = render_first(v, payload, ret, &found);

	if (rc == 0 && !found) {
		ret->status = 404;
		ret->content = CONTENT_NONE;
	}
	return rc;
}

void
acl_one(struct request *r, uint16_t op, const struct acl_query *q)
{
	r->view.reply_flags = REPLY_META;
	upstream_read(r, op, q, render_one);
}

void
acl_one_or_404(struct request *r, uint16_t op, const struct acl_query *q)
{
	r->view.reply_flags = REPLY_META;
	upstream_read(r, op, q, render_one_or_404);
}

/* ---- writes */

void
acl_shown(struct request *r, const struct rpc_answer *a)
{
	struct str payload;

	if (upstream_payload(r, a, &payload))
		respond_mp(r, 200, payload);
}

void
acl_delete(struct request *r, uint16_t op)
{
	struct acl_ids q = { { &r->rest, 1 } };

	upstream_write(r, op, &q, upstream_ok_true);
}

/* ---- the whole */

void
acl_replication(struct request *r)
{
	if (!acl_enabled(r))
		return;
	r->view.reply_flags = 0;
	upstream_read(r, OP_ACL_REPLICATION, NULL, render_json);
}

/* The endpoints of tokens as they were before 1.4 went with Consul 1.11. */
void
acl_legacy(struct request *r)
{
	if (acl_enabled(r))
		respond_text(r, 410, "Endpoint %.*s for the legacy ACL system was removed in Consul 1.11.", STR_ARG(r->path));
}

static int
render_text(const struct view *v, struct str payload, struct reply *ret)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	struct str text = mp_r_str(&in);

	(void)v;
	ret->status = 200;
	ret->content = CONTENT_TEXT;
	return in.err < 0 ? in.err : buf_add(&ret->body, text.p, text.len);
}

void
acl_translate(struct request *r)
{
	struct acl_rules_text q = { .rules = { (const char *)r->body.data, r->body.len } };

	if (acl_enabled(r))
		upstream_read(r, OP_ACL_TRANSLATE, &q, render_text);
}

void
acl_translate_token(struct request *r)
{
	struct acl_rules_text q = { .accessor_id = r->rest };

	if (acl_enabled(r) && acl_has_rest(r, "Bad request: Missing token ID"))
		upstream_read(r, OP_ACL_TRANSLATE, &q, render_text);
}

/* ---- what a token may do, for the UI */

/* The questions in the body; false: answered. */
static bool
questions(struct request *r, struct acl_authorize *ret)
{
	static const char what[] = "Failed to decode request body";
	struct json_object *list, *wrapped = json_object_new_object();
	bool null, ok = false;

	*ret = (struct acl_authorize){ { NULL, 0 } };
	list = parse(r, what, &null);
	if (list == NULL || wrapped == NULL) {
		if (wrapped == NULL && list != NULL)
			respond_empty(r, 500);
		json_object_put(list);
		json_object_put(wrapped);
		return null;
	}
	if (!json_object_is_type(list, json_type_array)) {
		respond_text(r, 400, "Bad request: %s: json: it is no list", what);
		json_object_put(list);
	} else if (json_object_array_length(list) > ASKED_MAX) {
		respond_text(r, 400, "Bad request: Refusing to process more than %d authorizations at once", ASKED_MAX);
		json_object_put(list);
	} else if (json_object_object_add(wrapped, "Requests", list) < 0) {
		respond_empty(r, 500);
		json_object_put(list);
	} else {
		ok = decode(r, what, &rec_acl_authorize, wrapped, ret);
	}
	json_object_put(wrapped);
	return ok;
}

/* The questions again, each with its answer. */
static void
on_authorized(struct request *r, const struct rpc_answer *a)
{
	struct buf out = BUF_INIT(ANSWER_MAX);
	struct mp_w w = mp_w_init(&out);
	struct acl_authorize asked;
	struct acl_allowed told;
	struct str payload;
	struct mp_r in;

	if (!upstream_payload(r, a, &payload) || !questions(r, &asked))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_acl_allowed, &in, &told, &r->arena) < 0 || told.allow.n != asked.requests.n) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	mp_w_array(&w, (uint32_t)asked.requests.n);
	for (size_t i = 0; i < asked.requests.n; i++) {
		const struct acl_question *q = (const struct acl_question *)asked.requests.v + i;

		mp_w_map(&w, 4);
		mp_w_cstr(&w, "Resource");
		mp_w_str(&w, q->resource);
		mp_w_cstr(&w, "Access");
		mp_w_str(&w, q->access);
		mp_w_cstr(&w, "Segment");
		mp_w_str(&w, q->segment);
		mp_w_cstr(&w, "Allow");
		mp_w_bool(&w, str_eqs(told.allow.v[i], "1"));
	}
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

void
acl_authorize_many(struct request *r)
{
	struct acl_authorize asked;

	if (acl_enabled(r) && questions(r, &asked))
		upstream_ask(r, OP_ACL_AUTHORIZE, &asked, on_authorized);
}
