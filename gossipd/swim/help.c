/* help.c - answering pings, and pinging for others (spec 2.3). */
#include "gossipd/swim/internal.h"

/* Where an answer goes: as the asker says, else where it came from. */
static struct gossip_addr
asker(struct str addr, uint64_t port, const struct gossip_addr *from)
{
	struct gossip_addr a;

	if (addr.len > 0 && port > 0 && port <= UINT16_MAX && gossip_addr_set(&a, addr, port) == 0)
		return a;
	return *from;
}

void
answer_ping(struct swim *s, const struct gossip_addr *from, const struct msg_ping *m)
{
	struct gossip_addr to = asker(m->source_addr, m->source_port, from);
	struct msg_ack ack = { .seqno = m->seqno };

	/* Who had this address before us is asked, not we. */
	if (m->node.len > 0 && !str_eq(m->node, ident_name(s->self->id)))
		return;
	if (s->h.ack_payload != NULL)
		ack.payload = s->h.ack_payload(s->h.ctx);
	swim_send_message(s, &to, WIRE_ACK, &rec_msg_ack, &ack);
}

/* ---- for others */

/*
 * A nack goes out when four fifths of the time for an answer are over, as Lifeguard has it (section IV.A). memberlist waits for
 * all of it, and its nack comes when the asker, which takes half of its interval for itself, has just given up. An answer
 * that comes after the nack is passed on all the same.
 */
enum { NACK_FIFTHS = 4 };

static struct help *
help_at(const struct helping *h, size_t i)
{
	return &h->v[(h->first + i) % h->cap];
}

static int
reserve(struct helping *h)
{
	size_t cap = h->cap > 0 ? h->cap * 2 : 8;
	struct help *v;

	if (h->n < h->cap)
		return 0;
	if (h->cap >= HELPING_MAX)
		return -ELIMIT;
	v = malloc(cap * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < h->n; i++)
		v[i] = *help_at(h, i);
	free(h->v);
	h->v = v;
	h->cap = cap;
	h->first = 0;
	return 0;
}

/* Ended ones at the front leave, and the timer is that of what comes next. */
static void
settle(struct swim *s)
{
	struct helping *h = &s->helping;
	uint64_t next;

	while (h->n > 0 && help_at(h, 0)->done) {
		h->first = (h->first + 1) % h->cap;
		h->n--;
		h->told -= h->told > 0;
	}
	if (h->n == 0) {
		timers_disarm(&s->timers, &s->help_timer);
		return;
	}
	next = help_at(h, 0)->deadline;
	if (h->told < h->n && help_at(h, h->told)->nack_at < next)
		next = help_at(h, h->told)->nack_at;
	timers_arm(&s->timers, &s->help_timer, next);
}

void
help_ask(struct swim *s, uint64_t now, const struct gossip_addr *from, const struct msg_indirect *m)
{
	const uint64_t timeout = (uint64_t)s->c.probe_timeout_ms * MS;
	struct helping *h = &s->helping;
	struct gossip_addr target;
	struct help *one;
	struct msg_ping ping;

	if (m->port > UINT16_MAX || m->node.len >= WIRE_NAME_MAX ||
	    gossip_addr_set(&target, m->target, m->port > 0 ? m->port : s->c.addr.port) < 0) {
		s->stats.malformed++;
		return;
	}
	if (reserve(h) < 0) {
		s->stats.dropped_messages++;
		return;
	}
	one = help_at(h, h->n++);
	*one = (struct help){ .to = asker(m->source_addr, m->source_port, from), .seqno = ++s->seqno, .theirs = (uint32_t)m->seqno,
		.nack_at = now + timeout / 5 * NACK_FIFTHS, .deadline = now + timeout, .nack = m->nack };
	settle(s);
	s->stats.indirect++;
	ping = ping_of(s, one->seqno, m->node);
	swim_send_message(s, &target, WIRE_PING, &rec_msg_ping, &ping);
}

void
help_ack(struct swim *s, const struct msg_ack *m)
{
	struct helping *h = &s->helping;
	struct msg_ack ack;
	struct help *one;

	for (size_t i = 0; i < h->n; i++) {
		one = help_at(h, i);
		if (one->done || one->seqno != m->seqno)
			continue;
		one->done = true;
		ack = (struct msg_ack){ .seqno = one->theirs };
		swim_send_message(s, &one->to, WIRE_ACK, &rec_msg_ack, &ack);
		settle(s);
		return;
	}
}

void
help_overdue(struct swim *s, uint64_t now)
{
	struct helping *h = &s->helping;
	struct msg_nack nack;
	struct help *one;

	for (; h->told < h->n && help_at(h, h->told)->nack_at <= now; h->told++) {
		one = help_at(h, h->told);
		if (one->done || !one->nack)
			continue;
		nack = (struct msg_nack){ .seqno = one->theirs };
		swim_send_message(s, &one->to, WIRE_NACK, &rec_msg_nack, &nack);
	}
	for (size_t i = 0; i < h->n && help_at(h, i)->deadline <= now; i++)
		help_at(h, i)->done = true;
	settle(s);
}
