/* acl_ask.c - asking this node's raftd what a token may do. */
#include "lib/acl_ask.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_ARENA_MAX = MiB, TEXT_MAX = 1024 };

struct acl_ask {
	struct rpc_client *raftd;
	uint32_t call;
	size_t n;
	acl_ask_done *done;
	void *arg;
};

bool
acl_verdict_allows(const struct acl_verdict *v, size_t i)
{
	return v->code == 0 && i < v->n && str_eqs(v->allow[i], "1");
}

/* What raftd could not be asked, or said instead of an answer. */
static void
tell_failure(const struct acl_ask *q, const struct rpc_answer *a)
{
	struct acl_verdict v = { .code = 500 };
	struct rpc_error e;
	char text[TEXT_MAX];

	if (a->rc == -EPROTO) {
		rpc_error_decode(a, &e);
		/* A success is told by 0, and nothing else may look like one. */
		v.code = e.code != 0 ? e.code : 500;
		v.text = e.text;
	} else {
		(void)snprintf(text, sizeof(text), "cannot ask about the rights of the token: %s", err_text(a->rc));
		v.text = str_from(text);
	}
	q->done(q->arg, &v);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct arena arena = ARENA_INIT(ANSWER_ARENA_MAX);
	struct acl_ask *q = arg;
	struct acl_allowed allowed = { .accessor_id = STR_NONE };
	struct query_meta meta;
	struct str payload;
	int rc = a->rc;

	if (rc == 0)
		rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc == 0) {
		struct mp_r r = mp_r_init(payload.p, payload.len);

		rc = record_decode(&rec_acl_allowed, &r, &allowed, &arena);
	}
	if (rc == 0 && allowed.allow.n != q->n)
		rc = -EDECODE;
	if (rc == 0) {
		struct acl_verdict v = { .accessor = allowed.accessor_id, .n = allowed.allow.n, .allow = allowed.allow.v };

		q->done(q->arg, &v);
	} else {
		tell_failure(q, a->rc != 0 ? a : &(struct rpc_answer){ .rc = rc });
	}
	arena_release(&arena);
	free(q);
}

struct acl_ask *
acl_ask_start(struct rpc_client *raftd, struct str token, const struct acl_question *q, size_t n, acl_ask_done *done,
    void *arg)
{
	struct acl_authorize req = { .requests = { .v = (void *)(uintptr_t)q, .n = n } };
	struct query_options o = { .token = token };
	struct acl_ask *a = n <= ACL_AUTHORIZE_MAX ? malloc(sizeof(*a)) : NULL;

	if (a == NULL)
		return NULL;
	*a = (struct acl_ask){ .raftd = raftd, .n = n, .done = done, .arg = arg };
	a->call = rpc_call_record(raftd, OP_ACL_AUTHORIZE, &o, &req, RPC_RETRY, ACL_ASK_MS, on_answer, a);
	if (a->call == 0) {
		free(a);
		return NULL;
	}
	return a;
}

void
acl_ask_cancel(struct acl_ask *a)
{
	if (a == NULL)
		return;
	rpc_cancel(a->raftd, a->call);
	free(a);
}

bool
acl_question_parse(const char *permission, struct str segment, struct acl_question *ret)
{
	const char *colon = strchr(permission, ':');

	if (colon == NULL)
		return false;
	ret->resource = (struct str){ permission, (size_t)(colon - permission) };
	ret->access = str_from(colon + 1);
	ret->segment = segment;
	return true;
}

void
acl_denied_text(struct str accessor, const struct acl_question *q, char text[ACL_DENIED_MAX])
{
	bool is_anonymous = str_eqs(accessor, ACL_ANONYMOUS);
	char who[128] = "provided token", on[256] = "";

	if (is_anonymous)
		(void)snprintf(who, sizeof(who), "anonymous token");
	else if (accessor.len > 0)
		(void)snprintf(who, sizeof(who), "token with AccessorID '%.*s'", STR_ARG(accessor));
	if (q->segment.len > 0)
		(void)snprintf(on, sizeof(on), " on \"%.*s\"", STR_ARG(q->segment));
	(void)snprintf(text, ACL_DENIED_MAX, "Permission denied: %s lacks permission '%.*s:%.*s'%s%s", who,
	    STR_ARG(q->resource), STR_ARG(q->access), on, is_anonymous ?
	    ". The anonymous token is used implicitly when a request does not specify a token." : "");
}
