/* net.c - the hooks of a simulated member, and what arrives at one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/sim/gossip/world.h"

static uint32_t
index_of(const struct gossip_addr *a)
{
	return (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 | a->ip[3];
}

static struct packet *
packet_new(const struct member *from, const void *data, size_t len)
{
	struct packet *p = malloc(sizeof(*p) + len);

	if (p == NULL)
		exit(2);
	*p = (struct packet){ .from = from->index, .len = len };
	memcpy(p->data, data, len);
	return p;
}

/* A tenth of a millisecond, the way, and up to a fifth of that more. */
static uint64_t
travel(struct world *w, const struct member *a, const struct member *b)
{
	double ms = 0.1 + hypot(a->x - b->x, a->y - b->y);

	return (uint64_t)((ms + 0.2 * ms * world_share(&w->rng)) * (double)MS);
}

void
net_send(struct member *m, uint32_t to, struct packet *p, bool reliable)
{
	struct world *w = m->w;

	for (size_t i = 0; i < p->len; i += 7)
		w->digest = (w->digest ^ p->data[i]) * 0x100000001b3u;
	if (to >= w->nmembers || (!reliable && world_share(&w->rng) < w->loss)) {
		w->lost++;
		free(p);
		return;
	}
	happen_add(w, &(struct happen){ .at = w->now + travel(w, m, &w->members[to]), .what = AT_PACKET, .who = to, .packet = p });
}

/* ---- hooks */

static uint32_t
hook_random(void *ctx)
{
	struct member *m = ctx;

	return (uint32_t)(world_random(&m->rng) >> 32);
}

static void
hook_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	struct member *m = ctx;

	m->packets++;
	m->bytes += plain.len + UDP_HEADER + (crc ? 5 : 0);
	net_send(m, index_of(to), packet_new(m, plain.p, plain.len), false);
}

static void
hook_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	struct member *m = ctx;
	uint32_t i = index_of(to);

	(void)name;
	(void)deadline;
	if (i < m->w->nmembers)
		happen_add(m->w, &(struct happen){ .at = m->w->now + travel(m->w, m, &m->w->members[i]), .what = AT_STREAM_PING, .who = i,
			.seqno = seqno, .packet = (struct packet *)(uintptr_t)m->index });
}

void
net_exchange(struct member *m, uint32_t to, bool join, bool answer)
{
	struct buf out = BUF_INIT(STREAM_INFLATED_MAX);
	struct packet *p;

	if (to >= m->w->nmembers)
		return;
	if (swim_put_state(serf_swim(m->serf), join, &out) < 0)
		exit(2);
	p = packet_new(m, out.data, out.len);
	p->stream = true;
	p->join = join;
	p->answer = answer;
	m->stream_bytes += out.len;
	buf_release(&out);
	net_send(m, to, p, true);
}

static void
hook_exchange(void *ctx, const struct gossip_addr *to, struct str name, bool join)
{
	(void)name;
	net_exchange(ctx, index_of(to), join, false);
}

static void
hook_changed(void *ctx, enum serf_change what, const struct serf_member *about)
{
	measure_heard(ctx, what, about);
}

static void
hook_left(void *ctx)
{
	struct member *m = ctx;

	m->left = true;
}

void
net_hooks(struct member *m, struct serf_hooks *h)
{
	*h = (struct serf_hooks){ .ctx = m, .random = hook_random, .send = hook_send, .stream_ping = hook_stream_ping,
		.exchange = hook_exchange, .changed = hook_changed, .left = hook_left };
}

/* ---- arriving */

struct arriving {
	struct member *m;
	struct gossip_addr from;
};

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	const struct arriving *a = ctx;

	swim_message(serf_swim(a->m->serf), a->m->w->now, &a->from, type, body);
}

static void
on_exchange(struct member *m, const struct packet *p)
{
	struct stream_reader *r = stream_reader_new(&m->w->wrap, p->answer, STREAM_INFLATED_MAX);
	const struct stream_message *got;
	const char *why = "";
	char err[256] = "";

	if (r == NULL || stream_reader_add(r, p->data, p->len, &why) != 1) {
		fprintf(stderr, "a push/pull cannot be read: %s\n", why);
		exit(1);
	}
	got = stream_reader_message(r);
	if (!p->answer)
		net_exchange(m, p->from, p->join, true);
	if (swim_merge(serf_swim(m->serf), m->w->now, got->rows, got->nrows, got->user_state, got->join, err) < 0) {
		fprintf(stderr, "a push/pull is refused: %s\n", err);
		exit(1);
	}
	if (p->answer && p->join)
		serf_joined(m->serf, m->w->now);
	stream_reader_free(r);
}

void
net_handle(struct member *m, struct packet *p)
{
	struct arriving a = { .m = m };

	if (m->serf == NULL)
		return;
	m->w->delivered++;
	if (p->stream) {
		on_exchange(m, p);
	} else {
		a.from = *swim_node_addr(swim_self(serf_swim(m->serf)));
		a.from.ip[1] = (uint8_t)(p->from >> 16);
		a.from.ip[2] = (uint8_t)(p->from >> 8);
		a.from.ip[3] = (uint8_t)p->from;
		if (packet_unwrap(&m->w->wrap, (struct str){ (const char *)p->data, p->len }, on_message, &a) != PACKET_OK) {
			fputs("a packet of ours cannot be read\n", stderr);
			exit(1);
		}
	}
	member_wake(m);
}

void
net_arrived(struct world *w, uint32_t to, struct packet *p)
{
	struct member *m = &w->members[to];

	p->next = NULL;
	if (m->serf != NULL && m->blocked_until > w->now) {
		if (m->ninbox >= INBOX_MAX) {
			w->overflowed++;
			free(p);
			return;
		}
		*m->inbox_tail = p;
		m->inbox_tail = &p->next;
		m->ninbox++;
		return;
	}
	net_handle(m, p);
	free(p);
}
