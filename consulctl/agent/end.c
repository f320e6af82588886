/*
 * end.c - how the agent ends: signals by Consul's rules, leaving,
 * stopping.
 *
 * SIGINT leaves first unless skip_leave_on_interrupt, SIGTERM does when
 * leave_on_terminate. A second one ends at once.
 */
#include <signal.h>

#include "consulctl/agent/agent.h"
#include "lib/cfg.h"
#include "lib/notify.h"

bool
waiters_add(struct waiters *w, struct rpc_token t)
{
	if (w->n == AGENT_WAITERS_MAX)
		return false;
	w->v[w->n++] = t;
	return true;
}

void
waiters_answer(struct waiters *w, struct rpc_server *s, const char *error)
{
	for (size_t i = 0; i < w->n; i++) {
		if (error != NULL)
			rpc_reply_error(s, w->v[i], 500, "%s", error);
		else
			rpc_reply_nil(s, w->v[i], 1);
	}
	w->n = 0;
}

static void
on_stop(uv_timer_t *t)
{
	struct agent *a = t->data;

	supervisor_stop(a->sup);
}

/* In the next turn, so that the answers of this one leave before the daemons do. */
void
agent_stop(struct agent *a, int exit_code)
{
	if (a->stopping)
		return;
	a->stopping = true;
	a->exit_code = exit_code;
	(void)notify_send("STOPPING=1");
	uv_timer_stop(&a->leave_timer);
	uv_timer_stop(&a->drain_timer);
	uv_timer_start(&a->stop_timer, on_stop, 0, 0);
}

static void
leave_over(struct agent *a, int exit_code, const char *error)
{
	waiters_answer(&a->leave_waiters, a->rpc, error);
	agent_stop(a, exit_code);
}

static void
leave_complete(struct agent *a)
{
	log_info("agent", "Graceful exit completed");
	leave_over(a, 0, NULL);
}

static void
on_drained(uv_timer_t *t)
{
	leave_complete(t->data);
}

/*
 * A server that has left goes on answering for a while: clients of its RPC
 * and HTTP learn of the leave by gossip, and what they have on the way ends
 * well. Whatever is configured, the leave is over in time.
 */
static void
drain(struct agent *a)
{
	uint64_t wait = (uint64_t)cfg_ms(config_tree(a->config), "performance.leave_drain_time", 0);
	uint64_t left = uv_timer_get_due_in(&a->leave_timer);

	if (!a->leave_others || wait == 0) {
		leave_complete(a);
		return;
	}
	left = left > AGENT_LEAVE_SPARE_MS ? left - AGENT_LEAVE_SPARE_MS : 0;
	if (wait > left)
		wait = left;
	log_info("agent", "Waiting to drain requests: ms=%llu", (unsigned long long)wait);
	uv_timer_start(&a->drain_timer, on_drained, wait, 0);
}

static void
on_left(void *arg, const struct rpc_answer *answer)
{
	struct agent *a = arg;
	struct rpc_error e = { 500, str_from(err_text(answer->rc)) };

	if (a->stopping)
		return;
	if (answer->rc == 0) {
		drain(a);
		return;
	}
	if (answer->rc == -EPROTO)
		rpc_error_decode(answer, &e);
	log_err("agent", "Error on leave: error=\"%.*s\"", STR_ARG(e.text));
	leave_over(a, 1, "the node could not leave the cluster");
}

static void
on_leave_timeout(uv_timer_t *t)
{
	struct agent *a = t->data;

	log_err("agent", "Timeout on graceful leave. Exiting");
	leave_over(a, 1, "the node did not leave the cluster in time");
}

/* What we ask for ourselves needs no token. */
static const struct query_options own = { .internal = true };

static void
leave_pool(struct agent *a)
{
	if (rpc_call_record(a->clients[AGENT_GOSSIPD], OP_GOSSIP_LEAVE, &own, NULL, RPC_RETRY, AGENT_LEAVE_MS, on_left, a) == 0)
		on_left(a, &(struct rpc_answer){ .rc = -ENOMEM });
}

/* The last server of a cluster stays what it is; one that cannot be taken out now is cleaned up by autopilot. */
static void
on_removed(void *arg, const struct rpc_answer *answer)
{
	struct agent *a = arg;
	struct rpc_error e = { 500, str_from(err_text(answer->rc)) };

	if (a->stopping)
		return;
	if (answer->rc == -EPROTO)
		rpc_error_decode(answer, &e);
	if (answer->rc < 0)
		log_info("agent", "this server stays in the Raft configuration: reason=\"%.*s\"", STR_ARG(e.text));
	leave_pool(a);
}

/* A server takes itself out of the configuration first, so that the others need not wait for it any more. */
static void
leave_servers(struct agent *a)
{
	const struct raft_peer_request q = { .id = str_from(cfg_str(config_tree(a->config), "node_id", "")) };

	if (rpc_call_record(a->clients[AGENT_RAFTD], OP_RAFT_REMOVE_PEER, &own, &q, 0, AGENT_LEAVE_SERVERS_MS, on_removed, a) == 0)
		leave_pool(a);
}

/* Is anybody there who might still ask us? */
static void
on_size(void *arg, const struct rpc_answer *answer)
{
	struct agent *a = arg;
	struct query_meta meta;
	struct str payload;
	struct mp_r rd;
	int64_t n = 0;

	if (a->stopping)
		return;
	if (answer->rc == 0 && op_reply_decode(answer->body, answer->len, &meta, &payload) == 0) {
		rd = mp_r_init(payload.p, payload.len);
		n = mp_r_int(&rd);
		a->leave_others = rd.err == 0 && n > 1;
	}
	leave_servers(a);
}

void
agent_leave(struct agent *a, const struct rpc_token *token)
{
	if (token != NULL && !waiters_add(&a->leave_waiters, *token))
		rpc_reply_error(a->rpc, *token, 429, "too many requests wait for the leave");
	if (a->leaving)
		return;
	a->leaving = true;
	log_info("agent", "Gracefully shutting down agent...");
	uv_timer_start(&a->leave_timer, on_leave_timeout, AGENT_LEAVE_MS, 0);
	if (!cfg_bool(config_tree(a->config), "server", false) || cfg_bool(config_tree(a->config), "dev_mode", false))
		leave_pool(a);
	else if (rpc_call_record(a->clients[AGENT_GOSSIPD], OP_GOSSIP_SIZE, &own, NULL, RPC_RETRY, AGENT_LEAVE_SIZE_MS, on_size, a) == 0)
		leave_servers(a);
}

static void
on_end_signal(uv_signal_t *h, int sig)
{
	struct agent *a = h->data;
	struct json_object *tree = config_tree(a->config);
	bool graceful;

	if (a->leaving || a->stopping) {
		log_info("agent", "Caught second signal, Exiting: signal=%s", sig == SIGINT ? "interrupt" : "terminated");
		a->stopping = true;
		a->exit_code = 1;
		supervisor_kill(a->sup);
		return;
	}
	log_info("agent", "Caught: signal=%s", sig == SIGINT ? "interrupt" : "terminated");
	graceful = sig == SIGINT ? !cfg_bool(tree, "skip_leave_on_interrupt", false) : cfg_bool(tree, "leave_on_terminate", false);
	if (graceful) {
		agent_leave(a, NULL);
		return;
	}
	log_info("agent", "Graceful shutdown disabled. Exiting");
	agent_stop(a, 1);
}

static void
on_hangup(uv_signal_t *h, int sig)
{
	struct agent *a = h->data;

	(void)sig;
	if (a->leaving || a->stopping)
		return;
	log_info("agent", "Caught: signal=hangup");
	agent_reload(a, NULL);
}

int
agent_end_init(struct agent *a)
{
	uv_signal_t *signals[] = { &a->sigint, &a->sigterm, &a->sighup };
	uv_timer_t *timers[] = { &a->leave_timer, &a->drain_timer, &a->stop_timer, &a->watchdog };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
		uv_timer_init(&a->loop.uv, timers[i]);
		timers[i]->data = a;
	}
	for (size_t i = 0; i < ARRAY_LEN(signals) && rc == 0; i++) {
		rc = uv_signal_init(&a->loop.uv, signals[i]);
		signals[i]->data = a;
	}
	if (rc == 0)
		rc = uv_signal_start(&a->sigint, on_end_signal, SIGINT);
	if (rc == 0)
		rc = uv_signal_start(&a->sigterm, on_end_signal, SIGTERM);
	if (rc == 0)
		rc = uv_signal_start(&a->sighup, on_hangup, SIGHUP);
	return rc;
}

void
agent_end_close(struct agent *a)
{
	uv_handle_t *all[] = { (uv_handle_t *)&a->sigint, (uv_handle_t *)&a->sigterm, (uv_handle_t *)&a->sighup,
		(uv_handle_t *)&a->leave_timer, (uv_handle_t *)&a->drain_timer, (uv_handle_t *)&a->stop_timer,
		(uv_handle_t *)&a->watchdog };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		uv_close(all[i], NULL);
}
