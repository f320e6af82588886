/* gossip.c - packets: one message and what else fits, and the gossip ticks (spec 2.1, 4.4). */
#include "gossipd/swim/internal.h"

/*
 * Bytes of a compound's head; what each part costs more; a user message's type byte; and the lowest
 * membership version that understands a CRC.
 */
enum { HEAD = 2, PART = 2, USER = 1, VSN_CRC = 5 };

/* The messages of a packet, back to back in the scratch buffer. */
struct packet {
	struct swim *s;
	struct buf *bytes;
	size_t n;
	uint32_t end[PARTS_MAX];
};

static void
packet_init(struct packet *p, struct swim *s)
{
	p->s = s;
	p->bytes = &s->names->parts;
	p->n = 0;
	buf_clear(p->bytes);
}

static void
part_end(struct packet *p)
{
	p->end[p->n++] = (uint32_t)p->bytes->len;
}

/* A message that finds no room counts as sent: a loss like those of the network. */
static void
take(void *packet, struct str message)
{
	struct packet *p = packet;

	if (p->n == PARTS_MAX || buf_add(p->bytes, message.p, message.len) < 0)
		p->s->stats.dropped_messages++;
	else
		part_end(p);
}

static void
take_user(void *packet, struct str message)
{
	struct packet *p = packet;

	if (p->n == PARTS_MAX || buf_reserve(p->bytes, message.len + USER) < 0 || buf_addc(p->bytes, WIRE_USER) < 0 ||
	    buf_add(p->bytes, message.p, message.len) < 0)
		p->s->stats.dropped_messages++;
	else
		part_end(p);
}

static int
packet_put(struct packet *p, uint8_t type, const struct record *rec, const void *msg)
{
	int rc = wire_put(p->bytes, type, rec, msg);

	if (rc == 0)
		part_end(p);
	else
		p->s->stats.dropped_messages++;
	return rc;
}

/* What is to be told goes where room is left: about members first. */
static void
packet_fill(struct packet *p)
{
	struct swim *s = p->s;
	size_t used = HEAD + s->c.overhead + p->bytes->len + p->n * PART, room;

	if (used >= s->c.packet_max)
		return;
	room = s->c.packet_max - used;
	if (queue_count(s->queue) > 0)
		room -= queue_take(s->queue, PART, room, swim_limit(s), take, p);
	if (s->h.broadcasts != NULL && room > PART + USER)
		s->h.broadcasts(s->h.ctx, PART + USER, room, take_user, p);
}

static void
packet_send(struct packet *p, const struct gossip_addr *to, bool crc)
{
	struct swim *s = p->s;
	struct str parts[PARTS_MAX];
	struct buf *out = &s->names->packet;
	size_t at = 0;

	for (size_t i = 0; i < p->n; at = p->end[i++])
		parts[i] = (struct str){ (const char *)p->bytes->data + at, p->end[i] - at };
	buf_clear(out);
	if (packet_compound(parts, p->n, out) < 0)
		s->stats.dropped_messages++;
	else
		s->h.send(s->h.ctx, to, (struct str){ (const char *)out->data, out->len }, crc);
}

void
swim_send_message(struct swim *s, const struct gossip_addr *to, uint8_t type, const struct record *rec, const void *msg)
{
	struct packet p;

	packet_init(&p, s);
	if (packet_put(&p, type, rec, msg) < 0)
		return;
	packet_fill(&p);
	packet_send(&p, to, false);
}

void
swim_send_pair(struct swim *s, const struct swim_node *n, const struct msg_ping *ping, const struct msg_accuse *suspect)
{
	struct packet p;

	packet_init(&p, s);
	if (packet_put(&p, WIRE_PING, &rec_msg_ping, ping) == 0 && packet_put(&p, WIRE_SUSPECT, &rec_msg_accuse, suspect) == 0)
		packet_send(&p, &n->id->addr, n->id->vsn[1] >= VSN_CRC);
}

size_t
swim_user_max(const struct swim *s)
{
	size_t used = HEAD + s->c.overhead + PART + USER;

	return used < s->c.packet_max ? s->c.packet_max - used : 0;
}

/* ---- ticks */

bool
gossip_wanted(const struct swim *s)
{
	if (s->table.n < 2)
		return false;
	return queue_count(s->queue) > 0 || (s->h.broadcasts != NULL && (s->h.pending == NULL || s->h.pending(s->h.ctx)));
}

/* Those that died a short while ago may be back, and should hear of it. */
static bool
may_hear(const void *pick, const struct swim_node *n)
{
	const struct pick *p = pick;

	return !node_gone(n) || (n->state == SWIM_DEAD && p->now - n->since <= (uint64_t)p->s->c.gossip_to_dead_ms * MS);
}

void
gossip_tick(struct swim *s, uint64_t now)
{
	struct pick pick = { s, now, NULL };
	struct swim_node *to[PICK_MAX];
	struct packet p;
	size_t n = pick_random(s, to, s->c.gossip_nodes, may_hear, &pick);

	/* A tick that was late, or that nobody wanted, does not bring the next one nearer. */
	s->gossip_at += (uint64_t)(s->c.gossip_ms > 0 ? s->c.gossip_ms : 1) * MS;
	if (s->gossip_at <= now)
		s->gossip_at = now + (uint64_t)(s->c.gossip_ms > 0 ? s->c.gossip_ms : 1) * MS;
	for (size_t i = 0; i < n; i++) {
		packet_init(&p, s);
		packet_fill(&p);
		if (p.n == 0)
			return;
		packet_send(&p, &to[i]->id->addr, to[i]->id->vsn[1] >= VSN_CRC);
	}
}
