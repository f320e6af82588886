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
	send_message(s, &to, WIRE_ACK, &rec_msg_ack, &ack);
}

/* ---- for others */

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
		v[i] = h->v[(h->first + i) % h->cap];
	free(h->v);
	h->v = v;
	h->cap = cap;
	h->first = 0;
	return 0;
}

void
help_ask(struct swim *s, uint64_t now, const struct gossip_addr *from, const struct msg_indirect *m)
{
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
	one = &h->v[(h->first + h->n++) % h->cap];
	*one = (struct help){ .to = asker(m->source_addr, m->source_port, from), .seqno = ++s->seqno, .theirs = (uint32_t)m->seqno,
		.deadline = now + (uint64_t)s->c.probe_timeout_ms * MS, .nack = m->nack };
	if (s->help_timer.pos == 0)
		timers_arm(&s->timers, &s->help_timer, one->deadline);
	s->stats.indirect++;
	ping = ping_of(s, one->seqno, m->node);
	send_message(s, &target, WIRE_PING, &rec_msg_ping, &ping);
}

/* Ended ones at the front leave, and the timer is that of the first that stays. */
static void
settle(struct swim *s)
{
	struct helping *h = &s->helping;

	while (h->n > 0 && h->v[h->first].done) {
		h->first = (h->first + 1) % h->cap;
		h->n--;
	}
	if (h->n == 0)
		timers_disarm(&s->timers, &s->help_timer);
	else if (s->help_timer.pos == 0 || s->help_timer.at != h->v[h->first].deadline)
		timers_arm(&s->timers, &s->help_timer, h->v[h->first].deadline);
}

void
help_ack(struct swim *s, const struct msg_ack *m)
{
	struct helping *h = &s->helping;
	struct msg_ack ack;
	struct help *one;

	for (size_t i = 0; i < h->n; i++) {
		one = &h->v[(h->first + i) % h->cap];
		if (one->done || one->seqno != m->seqno)
			continue;
		one->done = true;
		ack = (struct msg_ack){ .seqno = one->theirs };
		send_message(s, &one->to, WIRE_ACK, &rec_msg_ack, &ack);
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

	for (size_t i = 0; i < h->n; i++) {
		one = &h->v[(h->first + i) % h->cap];
		if (one->deadline > now)
			break;
		if (!one->done && one->nack) {
			nack = (struct msg_nack){ .seqno = one->theirs };
			send_message(s, &one->to, WIRE_NACK, &rec_msg_nack, &nack);
		}
		one->done = true;
	}
	settle(s);
}
