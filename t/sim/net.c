/* net.c - packets between servers, and between clients and servers. */
#include "t/sim/world.h"

#include <stdlib.h>

struct packet *
net_packet(struct world *w, enum packet_kind kind)
{
	struct packet *k = w->free_packets;

	if (k != NULL) {
		w->free_packets = k->next;
	} else {
		k = malloc(sizeof(*k));
		if (k == NULL)
			abort();
		w->packets = world_grow(w->packets, &w->packetscap, w->npackets + 1, sizeof(struct packet *));
		w->packets[w->npackets++] = k;
	}
	k->kind = kind;
	k->node = NODES_MAX;
	k->n = 0;
	k->snap = NULL;
	k->op = k->gen = k->seen = 0;
	k->forwarded = k->ok = k->refused = false;
	return k;
}

void
net_free(struct world *w, struct packet *k)
{
	k->next = w->free_packets;
	w->free_packets = k;
}

static struct packet *
copy(struct world *w, const struct packet *k)
{
	struct packet *c = net_packet(w, k->kind);

	c->m = k->m;
	c->node = k->node;
	c->n = k->n;
	for (size_t i = 0; i < k->n; i++)
		c->uid[i] = k->uid[i];
	c->snap = k->snap;
	c->op = k->op;
	c->gen = k->gen;
	c->forwarded = k->forwarded;
	return c;
}

static uint64_t
delay(struct world *w)
{
	if (w->calm)
		return 200 + below(w, 2 * MS);
	/* Out of another time: its sender, its term, its configuration may be history. */
	if (!w->fifo && chance(w, 1))
		return below(w, 8 * SECOND);
	if (chance(w, w->p.slow))
		return below(w, w->p.slow_ms * MS);
	return 100 + around(w, w->p.delay_us);
}

static void
post(struct world *w, const struct node *from, struct packet *k)
{
	uint64_t at = w->now + delay(w), *line;

	/* As on one TCP connection: nothing overtakes. */
	if (w->fifo && from != NULL && k->node < NODES_MAX) {
		line = &w->fifo_at[from->slot][k->node];
		if (at < *line)
			at = *line;
		*line = at;
	}
	world_post(w, at, EV_PACKET, NULL, 0, 0, 0, k);
}

/* The directory that it is for may have gone: then it has no server. */
void
net_send(struct world *w, const struct node *from, struct packet *k)
{
	struct node *to = k->kind == PACKET_MESSAGE ? world_node(w, k->m.to) : &w->node[k->node];

	if (to == NULL || w->cut[from->slot][to->slot] || (!w->calm && chance(w, w->p.loss))) {
		TRACE(w, "   lost");
		net_free(w, k);
		return;
	}
	k->node = to->slot;
	if (!w->calm && chance(w, w->p.dup))
		post(w, from, copy(w, k));
	post(w, from, k);
}

/* Clients reach every server that runs, whatever cuts there are between servers. */
void
net_request(struct world *w, struct packet *k)
{
	if (!w->calm && chance(w, w->p.loss / 4))
		net_free(w, k);
	else
		post(w, NULL, k);
}

void
net_reply(struct world *w, struct packet *k)
{
	k->node = NODES_MAX;
	net_request(w, k);
}

void
net_arrived(struct world *w, struct packet *k)
{
	struct node *n = k->node < NODES_MAX ? &w->node[k->node] : NULL;

	if (k->kind == PACKET_REPLY)
		client_reply(w, k);
	else if (n == NULL || !n->up)
		TRACE(w, "lost: nobody listens");
	else if (k->kind == PACKET_REQUEST)
		node_request(w, n, k);
	else if (n->dir->id == k->m.to)
		node_message(w, n, k);
	net_free(w, k);
}
