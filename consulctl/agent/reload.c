/*
 * reload.c - a new configuration for running daemons.
 *
 * All or nothing up to the slices: a configuration that is refused, or slices
 * that cannot be written, leave everything as it was. Then each daemon is told
 * to read its slice again and says what it cannot apply.
 */
#include <stdio.h>

#include "consulctl/agent/agent.h"
#include "lib/notify.h"

static void reload_begin(struct agent *a);

static void
tell_manager(bool reloading)
{
	char text[80];

	snprintf(text, sizeof(text), "%s\nMONOTONIC_USEC=%llu", reloading ? "RELOADING=1" : "READY=1",
	    (unsigned long long)(uv_hrtime() / 1000));
	(void)notify_send(text);
}

static const char *
error_text(struct reload *r)
{
	const char *text = buf_cstr(&r->error);

	return text != NULL ? text : "out of memory";
}

/* Everybody has answered, or nothing was begun. */
static void
reload_done(struct agent *a)
{
	struct reload *r = &a->reload;

	if (r->error.len > 0)
		log_err("agent", "Reload config failed: error=\"%s\"", error_text(r));
	else
		log_info("agent", "Configuration reloaded");
	waiters_answer(&r->now, a->rpc, r->error.len > 0 ? error_text(r) : NULL);
	tell_manager(false);
	if (!r->again)
		return;
	r->again = false;
	r->now = r->next;
	r->next.n = 0;
	reload_begin(a);
}

static void
add_error(struct reload *r, const char *daemon, struct str text)
{
	if (buf_addf(&r->error, "%s%s: %.*s", r->error.len > 0 ? "; " : "", daemon, STR_ARG(text)) < 0)
		buf_clear(&r->error);
}

/* The answer's text names keys that this daemon cannot change while it runs. */
static void
read_answer(const struct rpc_answer *answer, struct reload *r, const char *daemon)
{
	struct query_meta meta;
	struct str payload, keys;
	struct rpc_error e;
	struct mp_r rd;

	if (answer->rc == -EPROTO) {
		rpc_error_decode(answer, &e);
		add_error(r, daemon, e.text);
		return;
	}
	if (answer->rc < 0) {
		add_error(r, daemon, str_from(err_text(answer->rc)));
		return;
	}
	if (op_reply_decode(answer->body, answer->len, &meta, &payload) < 0)
		return;
	rd = mp_r_init(payload.p, payload.len);
	keys = mp_r_str(&rd);
	if (rd.err == 0 && keys.len > 0)
		log_warn("agent", "Changes need a restart: daemon=%s keys=\"%.*s\"", daemon, STR_ARG(keys));
}

static void
on_answer(void *arg, const struct rpc_answer *answer)
{
	struct reload_call *call = arg;
	struct agent *a = call->a;

	read_answer(answer, &a->reload, agent_daemon_names[call->daemon]);
	if (--a->reload.open == 0)
		reload_done(a);
}

static void
log_changes(const struct config *next, struct buf *keys)
{
	const struct config_notice *n;

	for (size_t i = 0; (n = config_notice(next, i)) != NULL; i++)
		log_write(n->level, "agent", "%s", n->text);
	if (keys->len > 0 && buf_cstr(keys) != NULL)
		log_warn("agent", "Changes need a restart of the agent: keys=\"%s\"", buf_cstr(keys));
}

/* Read, check and hand out the configuration. Negative with the reason in err, and nothing has changed. */
static int
renew_config(struct agent *a, struct buf *err)
{
	struct buf keys = BUF_INIT(CONFIG_ERR_MAX);
	struct config *next = NULL;
	int rc;

	rc = config_load(a->args, &next, err);
	if (rc < 0)
		return rc;
	rc = config_identify(next, a->config, err);
	if (rc == 0)
		rc = agent_tokens_apply(&a->tokens, next);
	if (rc == 0)
		rc = config_diff(a->config, next, &keys);
	if (rc == 0)
		rc = agent_write_slices(a, next, err);
	if (rc == 0) {
		log_changes(next, &keys);
		config_free(a->config);
		a->config = next;
		next = NULL;
		agent_setup_log(a);
	}
	config_free(next);
	buf_release(&keys);
	return rc;
}

static void
reload_begin(struct agent *a)
{
	struct reload *r = &a->reload;
	int rc;

	log_info("agent", "Reloading configuration...");
	tell_manager(true);
	buf_clear(&r->error);
	rc = renew_config(a, &r->error);
	if (rc < 0) {
		if (r->error.len == 0)
			add_error(r, "consulctl", str_from(err_text(rc)));
		reload_done(a);
		return;
	}
	r->open = AGENT_DAEMONS;
	for (size_t i = 0; i < AGENT_DAEMONS; i++) {
		r->calls[i] = (struct reload_call){ a, i };
		if (rpc_call_record(a->clients[i], OP_DAEMON_RELOAD, NULL, NULL, RPC_RETRY, AGENT_RELOAD_MS, on_answer,
		    &r->calls[i]) == 0)
			on_answer(&r->calls[i], &(struct rpc_answer){ .rc = -ENOMEM });
	}
}

void
agent_reload(struct agent *a, const struct rpc_token *token)
{
	struct reload *r = &a->reload;
	bool running = r->open > 0;

	if (token != NULL && !waiters_add(running ? &r->next : &r->now, *token)) {
		rpc_reply_error(a->rpc, *token, 429, "too many requests wait for a reload");
		return;
	}
	if (running)
		r->again = true;
	else
		reload_begin(a);
}
