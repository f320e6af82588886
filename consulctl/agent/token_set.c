/*
 * token_set.c - one of the agent's own tokens is set while it runs.
 *
 * It is kept first, then written into the slices, then the daemons that use
 * it are told. One that does not answer reads its slice when it is started
 * again: the token is set all the same.
 */
#include <stdlib.h>

#include "consulctl/agent/agent.h"

struct token_set {
	struct token_set *next, **prev;
	struct agent *a;
	struct rpc_token token;
	size_t open;		/* daemons that have not answered, and one for whoever asks them */
};

static void
forget(struct token_set *s)
{
	*s->prev = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	s->a->ntoken_sets--;
	free(s);
}

void
agent_drop_token_sets(struct agent *a)
{
	while (a->token_sets != NULL)
		forget(a->token_sets);
}

static void
settle(struct token_set *s)
{
	if (--s->open > 0)
		return;
	rpc_reply_nil(s->a->rpc, s->token, 1);
	forget(s);
}

static void
on_answer(void *arg, const struct rpc_answer *answer)
{
	struct rpc_error e = { 500, str_from(err_text(answer->rc)) };

	if (answer->rc == -EPROTO)
		rpc_error_decode(answer, &e);
	if (answer->rc < 0)
		log_warn("agent", "A daemon has not taken up a token: error=\"%.*s\"", STR_ARG(e.text));
	settle(arg);
}

static void
tell_daemons(struct agent *a, const struct rpc_request *req, int kind)
{
	struct token_set *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		rpc_reply_error(a->rpc, req->token, 500, "the token is set, but there was no memory to tell the daemons");
		return;
	}
	*s = (struct token_set){ a->token_sets, &a->token_sets, a, req->token, 1 };
	if (s->next != NULL)
		s->next->prev = &s->next;
	a->token_sets = s;
	a->ntoken_sets++;
	for (size_t i = 0; i < AGENT_DAEMONS; i++) {
		if (!agent_token_used_by(kind, agent_daemon_names[i]))
			continue;
		s->open++;
		if (rpc_call_record(a->clients[i], OP_DAEMON_TOKENS, NULL, NULL, RPC_RETRY, AGENT_RELOAD_MS, on_answer, s) == 0)
			on_answer(s, &(struct rpc_answer){ .rc = -ENOMEM });
	}
	settle(s);
}

/* What the configuration says now, in each daemon's slice. */
static int
renew_slices(struct agent *a, struct buf *err)
{
	int rc = agent_tokens_apply(&a->tokens, a->config);

	if (rc < 0)
		return buf_adds(err, "out of memory") < 0 ? -ENOMEM : rc;
	return agent_write_slices(a, a->config, err);
}

static void
refuse(struct agent *a, const struct rpc_request *req, int rc, struct buf *err)
{
	rpc_reply_error(a->rpc, req->token, rc == -EINVAL ? 400 : 500, "%s", err->len > 0 && buf_cstr(err) != NULL ? buf_cstr(err) :
	    err_text(rc));
}

void
agent_set_token(struct agent *a, const struct rpc_request *req)
{
	struct arena arena = ARENA_INIT(64 * KiB);
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	struct agent_token_set q;
	struct query_options o;
	int kind = -1, rc = op_request_decode(req->info, req->body, req->len, &o, &q, &arena);

	if (rc < 0) {
		rpc_bad_request(a->rpc, req, err_text(rc));
		goto out;
	}
	kind = agent_token_kind(q.type);
	if (a->stopping) {
		rpc_reply_error(a->rpc, req->token, 500, "the agent is stopping");
	} else if (kind < 0) {
		rpc_reply_error(a->rpc, req->token, 404, "Token \"%.*s\" is unknown", STR_ARG(q.type));
	} else if (a->ntoken_sets >= AGENT_TOKEN_SETS_MAX) {
		rpc_reply_error(a->rpc, req->token, 429, "too many tokens are being set");
	} else {
		rc = agent_tokens_set(&a->tokens, a->config, kind, q.token, &err);
		if (rc == 0)
			rc = renew_slices(a, &err);
		if (rc < 0) {
			refuse(a, req, rc, &err);
			goto out;
		}
		log_info("agent", "Updated agent's ACL token: token=%.*s", STR_ARG(q.type));
		tell_daemons(a, req, kind);
	}
out:
	buf_release(&err);
	arena_release(&arena);
}
