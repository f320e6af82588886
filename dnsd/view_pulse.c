/*
 * view_pulse.c - whether raftd is there and knows its leader, while views are asked for.
 *
 * A watch that stays silent says nothing: raftd may hang, or have lost its
 * leader, and then what a view knows gets old. So, while there are questions,
 * raftd is asked once a second how long ago it heard of the leader.
 */
#include "dnsd/view_inner.h"

/* A node that nobody has: the smallest question there is that every release answers. */
static const struct catalog_query question = { .node = { ".", 1 } };

static void
lost(struct views *vs)
{
	if (vs->lost_ms == 0)
		vs->lost_ms = vs->heard_ms > 0 ? vs->heard_ms : 1;
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct views *vs = arg;
	uint64_t now = uv_now(&vs->loop->uv), late = 0;
	struct query_meta meta;
	struct str payload;

	vs->pulse_call = 0;
	/* What refuses us is there. */
	if (a->rc == 0 && op_reply_decode(a->body, a->len, &meta, &payload) == 0 && meta.last_contact_ms > VIEW_PULSE_MS)
		late = (uint64_t)meta.last_contact_ms;
	if (a->rc < 0 && a->rc != -EPROTO) {
		lost(vs);
		return;
	}
	vs->heard_ms = now > late ? now - late : 1;
	vs->lost_ms = late > 0 ? vs->heard_ms : 0;
}

static void
beat(struct views *vs)
{
	const struct query_options o = { .token = str_from((*vs->settings)->token), .consistency = CONSISTENCY_STALE };

	if (vs->pulse_call != 0)
		return;
	vs->pulse_call = rpc_call_record(vs->raftd, OP_CATALOG_NODE, &o, &question, 0, VIEW_PULSE_MS, on_answer, vs);
	if (vs->pulse_call == 0)
		lost(vs);
}

static void
on_timer(uv_timer_t *t)
{
	struct views *vs = t->data;

	/* Nobody asks: nothing needs to be known. */
	if (!vs->asked) {
		vs->pulsing = false;
		(void)uv_timer_stop(t);
		return;
	}
	vs->asked = false;
	beat(vs);
}

void
view_pulse_start(struct views *vs)
{
	vs->pulsing = true;
	if (vs->lost_ms == 0)
		vs->heard_ms = uv_now(&vs->loop->uv);
	(void)uv_timer_start(vs->pulse, on_timer, VIEW_PULSE_MS, VIEW_PULSE_MS);
	beat(vs);
}

void
view_pulse_end(struct views *vs)
{
	if (vs->pulse_call != 0)
		rpc_cancel(vs->raftd, vs->pulse_call);
	vs->pulse_call = 0;
}

void
view_pulse_heard(struct views *vs)
{
	vs->heard_ms = uv_now(&vs->loop->uv);
	vs->lost_ms = 0;
}
