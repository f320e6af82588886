/* leave.c - leaving in three steps: the intent, SWIM's death, and time for both to get around (4.6). */
#include "gossipd/serf/internal.h"

/* Broadcasts of ours that are waited for carry us as their argument. */
void
serf_leave_dropped(void *ctx, void *arg, bool finished)
{
	struct serf *s = ctx;

	(void)finished;
	if (arg == s)
		s->intent_sent = true;
}

static void
begin(struct serf *s, enum leave_step step, uint64_t wait_ms)
{
	s->leave = step;
	s->leave_at = after(serf_now(s), ms(wait_ms));
}

int
serf_leave(struct serf *s, uint64_t now)
{
	struct msg_leave m = { .node = serf_own_name(s) };

	serf_set_now(s, now);
	if (s->leave != LEAVE_NOT)
		return -EALREADY;
	s->state = SERF_LEAVING;
	serf_snapshot_left(s);
	m.ltime = clock_stamp(&s->clock);
	(void)serf_member_leave_intent(s, &m);
	begin(s, LEAVE_INTENT, s->config.broadcast_timeout_ms);
	/* Nobody to tell, or no memory to tell it with: the next step is due at once. */
	if (!serf_member_others_alive(s) || serf_gossip_new(s->intent_queue, SERF_LEAVE, &rec_msg_leave, &m, s) < 0)
		s->intent_sent = true;
	return 0;
}

/* SWIM may tell of our own death or not: we know. */
static void
self_left(struct serf *s)
{
	struct member *m = serf_roster_of(&s->roster, swim_self(s->swim));

	s->state = SERF_LEFT;
	if (m == NULL || m->status != SERF_LEAVING)
		return;
	m->gone_at = serf_now(s);
	serf_roster_set_status(&s->roster, m, SERF_LEFT);
	serf_changed(s, SERF_CHANGE_LEAVE, m);
}

static void
die(struct serf *s)
{
	begin(s, LEAVE_DEAD, s->config.broadcast_timeout_ms);
	/* Without memory for it the others will find out by themselves. */
	if (swim_leave(s->swim, serf_now(s)) < 0) {
		s->stats.dropped++;
		begin(s, LEAVE_DEAD, 0);
	}
}

void
serf_leave_advance(struct serf *s)
{
	bool due = s->leave_at <= serf_now(s);

	if (s->leave == LEAVE_INTENT && (due || s->intent_sent)) {
		die(s);
		due = s->leave_at <= serf_now(s);
	}
	if (s->leave == LEAVE_DEAD && (due || swim_left(s->swim))) {
		begin(s, LEAVE_PROPAGATE, serf_member_others_alive(s) ? s->config.leave_propagate_ms : 0);
		due = s->leave_at <= serf_now(s);
	}
	if (s->leave == LEAVE_PROPAGATE && due) {
		s->leave = LEAVE_DONE;
		self_left(s);
		if (s->hooks.left != NULL)
			s->hooks.left(s->hooks.ctx);
	}
}

uint64_t
serf_leave_next(const struct serf *s)
{
	if (s->leave == LEAVE_NOT || s->leave == LEAVE_DONE)
		return UINT64_MAX;
	return s->leave == LEAVE_INTENT && s->intent_sent ? 0 : s->leave_at;
}
