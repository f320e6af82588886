/* event.c - user events: once each, to us and to the others. */
#include <stdio.h>

#include "gossipd/serf/internal.h"

/* Hear of an event, ours or another's. As serf_ring_event(); -ELIMIT also for one that is too long, or too far in the future. */
int
serf_event_take(struct serf *s, const struct msg_event *m)
{
	int rc;

	if (m->name.len + m->payload.len > SERF_EVENT_SANE_MAX || !clock_hear(&s->event_clock, m->ltime))
		return -ELIMIT;
	rc = serf_ring_event(s, m);
	if (rc < 0)
		return rc;
	s->stats.events++;
	if (m->ltime > s->event_seen)
		s->event_seen = m->ltime;
	if (s->hooks.event != NULL)
		s->hooks.event(s->hooks.ctx, m->ltime, m->name, m->payload, m->coalesce);
	return 0;
}

static int
check(size_t len, size_t max, const char *kind, const char *when, char err[256])
{
	if (len <= max)
		return 0;
	(void)snprintf(err, 256, "%suser event exceeds %s limit of %zu bytes %s encoding", when[0] == 'a' ? "encoded " : "", kind, max, when);
	return -ELIMIT;
}

static int
fire(struct serf *s, struct msg_event *m, struct buf *raw, char err[256])
{
	size_t len = m->name.len + m->payload.len;
	int rc = check(len, s->config.event_max, "configured", "before", err);

	if (rc == 0)
		rc = check(len, SERF_EVENT_SANE_MAX, "sane", "before", err);
	if (rc == 0)
		rc = wire_put(raw, SERF_EVENT, &rec_msg_event, m);
	if (rc == 0)
		rc = check(raw->len, s->config.event_max, "configured", "after", err);
	if (rc == 0)
		rc = check(raw->len, SERF_EVENT_SANE_MAX, "sane", "after", err);
	if (rc < 0)
		return rc;
	/* The clock goes on by hearing it, before the hook is told: who fires another one from there gets another time. */
	return serf_event_take(s, m);
}

int
serf_event(struct serf *s, uint64_t now, struct str name, struct str payload, bool coalesce, char err[256])
{
	struct buf raw = BUF_INIT(2 * SERF_EVENT_SANE_MAX);
	struct msg_event m = { .ltime = s->event_clock, .name = name, .payload = payload, .coalesce = coalesce };
	int rc;

	serf_set_now(s, now);
	err[0] = 0;
	rc = fire(s, &m, &raw, err);
	if (rc == 0)
		serf_gossip(s, s->event_queue, (struct str){ (const char *)raw.data, raw.len }, NULL);
	else if (err[0] == 0)
		(void)snprintf(err, 256, "user event: %s", err_text(rc));
	buf_release(&raw);
	return rc;
}
