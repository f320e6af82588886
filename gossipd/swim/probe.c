/* probe.c - is the next of the list alive: ping, then through others and over TCP (spec 4.3). */
#include "gossipd/swim/internal.h"

struct msg_ping
ping_of(const struct swim *s, uint32_t seqno, struct str node)
{
	const struct ident *us = s->self->id;

	return (struct msg_ping){ .seqno = seqno, .node = node, .source_addr = { (const char *)us->addr.ip, us->addr.len },
		.source_port = us->addr.port, .source_node = ident_name(us) };
}

static uint64_t
interval(const struct swim *s)
{
	return (uint64_t)(s->c.probe_interval_ms > 0 ? s->c.probe_interval_ms : 1) * MS;
}

static void
probe_start(struct swim *s, uint64_t now, struct swim_node *n)
{
	uint64_t timeout = (uint64_t)s->c.probe_timeout_ms * MS;
	struct probe *p = &s->probe;
	struct msg_ping m;
	struct msg_accuse accusation;

	p->stage = PROBE_DIRECT;
	p->node = n;
	p->seqno = ++s->seqno;
	p->incarnation = n->incarnation;
	p->sent = now;
	p->deadline = now + interval(s) * (s->health + 1);
	p->nacks_wanted = p->nacks = 0;
	p->by_stream = false;
	s->stats.probes++;
	timers_arm(&s->timers, &s->answer_timer, now + timeout < p->deadline ? now + timeout : p->deadline);
	m = ping_of(s, p->seqno, ident_name(n->id));
	if (n->state == SWIM_ALIVE) {
		swim_send_message(s, &n->id->addr, WIRE_PING, &rec_msg_ping, &m);
		return;
	}
	/* It hears in the same packet what it is accused of, so that it can refute. */
	accusation = (struct msg_accuse){ .incarnation = n->incarnation, .node = ident_name(n->id), .from = ident_name(s->self->id) };
	swim_send_pair(s, n, &m, &accusation);
}

/* The next of the list that is worth it. The shuffle at its end may show those that are not once more, so two rounds find anybody. */
static void
probe_next(struct swim *s, uint64_t now)
{
	struct swim_node *n;
	size_t looked = 0;

	while (looked < 2 * s->table.n) {
		if (s->probe.at >= s->table.n) {
			table_wrap(s, now);
			s->probe.at = 0;
			continue;
		}
		n = table_node(s, s->probe.at++);
		looked++;
		if (n == s->self || node_gone(n))
			continue;
		probe_start(s, now, n);
		return;
	}
}

static void
probe_end(struct swim *s, uint64_t now, int health)
{
	bool late = s->probe.late;

	s->probe.stage = PROBE_IDLE;
	s->probe.node = NULL;
	s->probe.late = false;
	timers_disarm(&s->timers, &s->answer_timer);
	health_add(s, health);
	if (late)
		probe_next(s, now);
}

void
probe_tick(struct swim *s, uint64_t now)
{
	s->probe.tick = now;
	/* Alone there is nobody to ask until somebody comes: probe_wake(). */
	if (s->table.n > 1)
		timers_arm(&s->timers, &s->probe_timer, now + interval(s));
	if (s->probe.stage != PROBE_IDLE)
		s->probe.late = true;
	else
		probe_next(s, now);
}

void
probe_wake(struct swim *s, uint64_t now)
{
	uint64_t due = s->probe.tick;

	if (s->probe_timer.pos != 0)
		return;
	/* In step with the ticks that would have been. */
	if (due <= now)
		due += ((now - due) / interval(s) + 1) * interval(s);
	timers_arm(&s->timers, &s->probe_timer, due);
}

/* No answer yet: others ask for us, and we ask over TCP. */
static void
probe_indirect(struct swim *s, uint64_t now)
{
	struct probe *p = &s->probe;
	struct swim_node *helpers[PICK_MAX];
	struct pick pick = { s, now, p->node };
	size_t n = pick_random(s, helpers, s->c.indirect_checks, pick_alive, &pick);
	struct msg_ping ping = ping_of(s, p->seqno, ident_name(p->node->id));
	const struct gossip_addr *to = &p->node->id->addr;
	struct msg_indirect m = { .seqno = p->seqno, .target = { (const char *)to->ip, to->len }, .port = to->port, .node = ping.node,
		.source_addr = ping.source_addr, .source_port = ping.source_port, .source_node = ping.source_node };

	p->stage = PROBE_INDIRECT;
	timers_arm(&s->timers, &s->answer_timer, p->deadline);
	for (size_t i = 0; i < n; i++) {
		m.nack = helpers[i]->id->vsn[1] >= 4;
		p->nacks_wanted += m.nack;
		swim_send_message(s, &helpers[i]->id->addr, WIRE_INDIRECT, &rec_msg_indirect, &m);
	}
	if (s->c.stream_pings && s->h.stream_ping != NULL && p->node->id->vsn[1] >= 3)
		s->h.stream_ping(s->h.ctx, to, ping.node, p->seqno, p->deadline);
}

static void
probe_failed(struct swim *s, uint64_t now)
{
	struct probe *p = &s->probe;
	struct msg_accuse m = { .incarnation = p->incarnation, .node = ident_name(p->node->id), .from = ident_name(s->self->id) };
	/* A helper that does not even say that it had no answer: the fault may be ours. */
	int health = p->nacks_wanted > 0 ? (int)(p->nacks_wanted - p->nacks) : 1;

	s->stats.probes_failed++;
	/* Over TCP it answers: it is alive, though UDP does not get through. */
	if (p->by_stream) {
		probe_end(s, now, -1);
		return;
	}
	rule_suspect(s, now, &m);
	probe_end(s, now, health);
}

void
probe_overdue(struct swim *s, uint64_t now)
{
	if (s->probe.stage == PROBE_DIRECT && now < s->probe.deadline)
		probe_indirect(s, now);
	else
		probe_failed(s, now);
}

bool
probe_ack(struct swim *s, uint64_t now, const struct msg_ack *m)
{
	struct probe *p = &s->probe;

	if (p->stage == PROBE_IDLE || m->seqno != p->seqno)
		return false;
	/* Later on it may have come through a helper: its time says nothing. */
	if (p->stage == PROBE_DIRECT && s->h.acked != NULL)
		s->h.acked(s->h.ctx, p->node, now - p->sent, m->payload);
	probe_end(s, now, -1);
	return true;
}

void
probe_nack(struct swim *s, const struct msg_nack *m)
{
	struct probe *p = &s->probe;

	if (p->stage != PROBE_INDIRECT || m->seqno != p->seqno || p->nacks >= p->nacks_wanted)
		return;
	p->nacks++;
	s->stats.nacks++;
}

void
probe_stream_ack(struct swim *s, uint32_t seqno)
{
	if (s->probe.stage == PROBE_INDIRECT && s->probe.seqno == seqno)
		s->probe.by_stream = true;
}
