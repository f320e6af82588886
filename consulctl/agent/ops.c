/*
 * ops.c - what the supervisor answers on RUNDIR/consulctl.sock.
 */
#include <unistd.h>

#include <config.h>	/* not ours in this folder: the one of configure */
#include "consulctl/agent/agent.h"
#include "lib/daemon.h"
#include "lib/daemon_log.h"
#include "lib/sock.h"

static bool
decode_empty(struct agent *a, const struct rpc_request *req)
{
	struct arena arena = ARENA_INIT(4 * KiB);
	struct query_options o;
	int rc = op_request_decode(req->info, req->body, req->len, &o, NULL, &arena);

	arena_release(&arena);
	if (rc < 0)
		rpc_bad_request(a->rpc, req, err_text(rc));
	return rc == 0;
}

static void
serve_reload(void *ctx, const struct rpc_request *req)
{
	struct agent *a = ctx;

	if (!decode_empty(a, req))
		return;
	if (a->leaving || a->stopping)
		rpc_reply_error(a->rpc, req->token, 500, "the agent is stopping");
	else
		agent_reload(a, &req->token);
}

static void
serve_leave(void *ctx, const struct rpc_request *req)
{
	struct agent *a = ctx;

	if (!decode_empty(a, req))
		return;
	if (a->stopping)
		rpc_reply_error(a->rpc, req->token, 500, "the agent is stopping");
	else
		agent_leave(a, &req->token);
}

/* Begin a reply: QueryMeta is written. False when the asker has gone. */
static bool
begin_reply(struct agent *a, struct rpc_token t, struct mp_w *ret_w)
{
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct buf *b = rpc_reply_begin(a->rpc, t);

	if (b == NULL)
		return false;
	*ret_w = mp_w_init(b);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, ret_w);
	return true;
}

static void
encode_child(struct mp_w *w, const struct child_info *c)
{
	mp_w_map(w, 4);
	mp_w_cstr(w, "Name");
	mp_w_cstr(w, c->name);
	mp_w_cstr(w, "Pid");
	mp_w_int(w, c->pid);
	mp_w_cstr(w, "State");
	mp_w_cstr(w, child_state_name(c->state));
	mp_w_cstr(w, "Restarts");
	mp_w_uint(w, c->restarts);
}

static void
serve_status(void *ctx, const struct rpc_request *req)
{
	struct agent *a = ctx;
	struct child_info c;
	struct mp_w w;
	size_t at;
	uint32_t n = 0;

	if (!decode_empty(a, req) || !begin_reply(a, req->token, &w))
		return;
	at = mp_w_array_hold(&w);
	while (supervisor_child(a->sup, n, &c)) {
		encode_child(&w, &c);
		n++;
	}
	mp_w_array_patch(&w, at, n);
	rpc_reply_end(a->rpc, req->token, w.err == 0);
}

static void
serve_info(void *ctx, const struct rpc_request *req)
{
	struct agent *a = ctx;
	struct info_writer iw = { 0 };
	struct child_info c;

	if (!decode_empty(a, req) || !begin_reply(a, req->token, &iw.w))
		return;
	iw.map_at = mp_w_map_hold(&iw.w);
	info_section(&iw, "consulctl");
	info_add(&iw, "pid", "%d", (int)getpid());
	info_add(&iw, "version", "%s", PACKAGE_VERSION);
	info_add(&iw, "uptime_ms", "%llu", (unsigned long long)(clock_ms() - a->started_ms));
	info_add(&iw, "ready", "%s", a->up ? "true" : "false");
	for (size_t i = 0; supervisor_child(a->sup, i, &c); i++)
		info_add(&iw, c.name, "%s pid=%d restarts=%llu", child_state_name(c.state), (int)c.pid,
		    (unsigned long long)c.restarts);
	mp_w_map_patch(&iw.w, iw.section_at, iw.keys);
	mp_w_map_patch(&iw.w, iw.map_at, iw.sections);
	rpc_reply_end(a->rpc, req->token, iw.w.err == 0);
}

static void
serve_metrics(void *ctx, const struct rpc_request *req)
{
	struct agent *a = ctx;
	struct mp_w w;

	if (!decode_empty(a, req) || !begin_reply(a, req->token, &w))
		return;
	metrics_tick(clock_ms());
	metrics_encode(&w);
	rpc_reply_end(a->rpc, req->token, w.err == 0);
}

static void
serve_token_set(void *ctx, const struct rpc_request *req)
{
	agent_set_token(ctx, req);
}

static void
serve_log(void *ctx, const struct rpc_request *req)
{
	struct agent *a = ctx;

	daemon_log_subscribe(a->rpc, req);
}

static void
on_cancelled(void *ctx, struct rpc_token t)
{
	(void)ctx;
	if (t.op == OP_DAEMON_LOG)
		daemon_log_cancelled(t);
}

static void
on_credit(void *ctx, struct rpc_token t, uint32_t credits)
{
	(void)ctx;
	if (t.op == OP_DAEMON_LOG)
		daemon_log_credit(t, credits);
}

int
agent_ops_open(struct agent *a)
{
	static const struct rpc_route routes[] = {
		{ OP_AGENT_RELOAD, serve_reload }, { OP_AGENT_LEAVE, serve_leave }, { OP_AGENT_STATUS, serve_status },
		{ OP_AGENT_TOKEN_SET, serve_token_set },
		{ OP_DAEMON_INFO, serve_info }, { OP_DAEMON_METRICS, serve_metrics }, { OP_DAEMON_LOG, serve_log },
	};
	struct rpc_server_config c = {
		.routes = routes, .nroutes = ARRAY_LEN(routes), .ctx = a, .cancelled = on_cancelled, .credit = on_credit,
	};
	int fd = sock_unix_listen(a->run.fd, "consulctl.sock", 0600);

	if (fd < 0)
		return fd;
	a->rpc = rpc_server_new(&a->loop, fd, &c);
	if (a->rpc == NULL) {
		close(fd);
		return -ENOMEM;
	}
	daemon_log_init();
	return 0;
}
