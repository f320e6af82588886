/* drain.c - SIGTERM: hand the leadership over, answer what can be answered, write what is left. */
#include "raftd/engine.h"

#define SUB "agent.server.raft"

enum {
	DRAIN_TRANSFER_MS = 700,	/* for the next leader, */
	DRAIN_ANSWER_MS = 300,		/* and for answers to what is in flight */
	DRAIN_LOOK_MS = 5,
};

static struct raftd *
of_timer(uv_timer_t *t)
{
	return t->data;
}

static void
stop_now(struct raftd *r)
{
	struct engine *e = &r->engine;

	if (e->stopping)
		return;
	proposals_now(r);
	e->stopping = true;
	(void)uv_timer_stop(&e->drain);
	persist_stop(r);
}

static void
on_drain_end(uv_timer_t *t)
{
	stop_now(of_timer(t));
}

static void
on_drain_look(uv_timer_t *t)
{
	struct raftd *r = of_timer(t);
	struct engine *e = &r->engine;

	if ((e->wn == 0 && r->hold.n == 0 && !forward_waits(r)) || clock_ms() >= e->drain_ms)
		stop_now(r);
}

/* Another leads, or nobody could be made to. What is in flight may still be answered. */
static void
on_handed_over(void *arg, int rc)
{
	struct raftd *r = arg;

	if (rc < 0)
		log_warn(SUB, "the leadership could not be handed over before stopping: %s", err_text(rc));
	r->engine.drain_ms = clock_ms() + DRAIN_ANSWER_MS;
	(void)uv_timer_start(&r->engine.drain, on_drain_look, 0, DRAIN_LOOK_MS);
}

void
engine_drain(struct raftd *r)
{
	struct engine *e = &r->engine;

	(void)uv_timer_start(&e->drain, on_drain_end, DRAIN_TRANSFER_MS, 0);
	if (e->core.role != RAFT_LEADER || peers_voters(&e->core.peers) < 2 || engine_transfer(r, 0, on_handed_over, r) < 0)
		stop_now(r);
}
