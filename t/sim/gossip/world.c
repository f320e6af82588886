/* world.c - the clock, and the life of members. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/sim/gossip/world.h"

/* splitmix64 */
uint64_t
world_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

double
world_share(uint64_t *state)
{
	return (double)(world_random(state) >> 11) / 9007199254740992.0;
}

static void *
need(void *p)
{
	if (p == NULL) {
		fputs("out of memory\n", stderr);
		exit(2);
	}
	return p;
}

/* ---- what happens when: a binary heap */

static bool
before(const struct happen *a, const struct happen *b)
{
	return a->at != b->at ? a->at < b->at : a->number < b->number;
}

void
happen_add(struct world *w, const struct happen *h)
{
	size_t i = w->nheap++;

	if (w->nheap > w->heap_cap) {
		w->heap_cap = w->heap_cap > 0 ? 2 * w->heap_cap : 1024;
		w->heap = need(realloc(w->heap, w->heap_cap * sizeof(*w->heap)));
	}
	w->heap[i] = *h;
	w->heap[i].number = w->number++;
	while (i > 0 && before(&w->heap[i], &w->heap[(i - 1) / 2])) {
		struct happen t = w->heap[i];

		w->heap[i] = w->heap[(i - 1) / 2];
		w->heap[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
}

static struct happen
happen_take(struct world *w)
{
	struct happen first = w->heap[0], last = w->heap[--w->nheap];
	size_t i = 0, c;

	while ((c = 2 * i + 1) < w->nheap) {
		if (c + 1 < w->nheap && before(&w->heap[c + 1], &w->heap[c]))
			c++;
		if (!before(&w->heap[c], &last))
			break;
		w->heap[i] = w->heap[c];
		i = c;
	}
	w->heap[i] = last;
	return first;
}

/* ---- members */

/* When the member wants to run next is told by it, after everything that it did. */
void
member_wake(struct member *m)
{
	uint64_t next = m->serf != NULL ? serf_next(m->serf) : UINT64_MAX;

	if (next == UINT64_MAX)
		return;
	if (next < m->w->now)
		next = m->w->now;
	if (m->wake_at > m->w->now && m->wake_at <= next)
		return;
	m->wake_at = next;
	happen_add(m->w, &(struct happen){ .at = next, .what = AT_WAKE, .who = m->index });
}

static void
tags_of(const struct member *m, struct buf *out)
{
	char id[40];
	struct strpair v[] = { { STR("build"), STR("1.10.12:") }, { STR("dc"), STR("dc1") }, { STR("id"), STR_NONE },
		{ STR("role"), STR("node") }, { STR("segment"), STR("") }, { STR("vsn"), STR("2") }, { STR("vsn_max"), STR("3") },
		{ STR("vsn_min"), STR("2") } };
	const struct strmap tags = { v, ARRAY_LEN(v) };

	(void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012x", m->index);
	v[2].value = str_from(id);
	if (wire_put_tags(out, &tags) < 0)
		need(NULL);
}

static void
address_of(uint32_t i, struct gossip_addr *a)
{
	const uint8_t ip[4] = { 10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };

	if (gossip_addr_set(a, (struct str){ (const char *)ip, sizeof(ip) }, 8301) < 0)
		need(NULL);
}

static struct member *
member_start(struct world *w)
{
	struct member *m = &w->members[w->nmembers];
	struct buf meta = BUF_INIT(WIRE_META_MAX);
	struct swim_config c = w->swim;
	struct serf_hooks h = { .ctx = m };

	if (w->nmembers == w->cap)
		need(NULL);
	*m = (struct member){ .w = w, .index = (uint32_t)w->nmembers, .rng = w->o.seed ^ ((w->nmembers + 1) << 20),
		.x = 20 * world_share(&w->rng), .y = 20 * world_share(&w->rng) };
	m->inbox_tail = &m->inbox;
	(void)snprintf(m->name, sizeof(m->name), "m%zu", w->nmembers++);
	tags_of(m, &meta);
	c.name = str_from(m->name);
	c.meta = (struct str){ (const char *)meta.data, meta.len };
	address_of(m->index, &c.addr);
	net_hooks(m, &h);
	m->serf = need(serf_new(&w->serf, &c, &h, w->names, w->now));
	buf_release(&meta);
	return m;
}

static void
introduce(struct member *to, struct member *m)
{
	struct swim_node *self = swim_self(serf_swim(m->serf));
	const struct gossip_addr *a = swim_node_addr(self);
	const struct msg_alive row = { .incarnation = 1, .node = str_from(m->name), .addr = { (const char *)a->ip, a->len }, .port = a->port,
		.meta = swim_node_meta(self), .vsn = { (const char *)swim_node_vsn(self), WIRE_VSN } };

	if (swim_preload(serf_swim(to->serf), to->w->now, &row) < 0)
		need(NULL);
}

void
world_form(struct world *w, uint32_t n)
{
	while (w->nmembers < n)
		(void)member_start(w);
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < n; k++)
			if (i != k)
				introduce(&w->members[i], &w->members[k]);
		member_wake(&w->members[i]);
	}
}

uint32_t
world_join(struct world *w, uint32_t through)
{
	struct member *m = member_start(w);

	net_exchange(m, through, true, false);
	member_wake(m);
	return m->index;
}

void
world_kill(struct world *w, uint32_t i)
{
	serf_free(w->members[i].serf);
	w->members[i].serf = NULL;
}

void
world_leave(struct world *w, uint32_t i)
{
	if (serf_leave(w->members[i].serf, w->now) < 0)
		need(NULL);
	member_wake(&w->members[i]);
}

/* ---- running short */

void
world_trouble(struct world *w, double starved, double loss)
{
	uint32_t n = (uint32_t)(starved * (double)w->nmembers + 0.5);

	w->loss = loss;
	for (uint32_t k = 0; k < n;) {
		struct member *m = &w->members[world_random(&w->rng) % w->nmembers];

		if (m->starved || m->serf == NULL)
			continue;
		m->starved = true;
		k++;
		happen_add(w, &(struct happen){ .at = w->now + world_random(&w->rng) % SECOND, .what = AT_BLOCK, .who = m->index });
	}
}

/* Away for two to sixteen seconds, then there for a tenth of one to one. */
static void
block(struct member *m)
{
	m->blocked_until = m->w->now + (2000 + world_random(&m->w->rng) % 14000) * MS;
	happen_add(m->w, &(struct happen){ .at = m->blocked_until, .what = AT_RUN, .who = m->index });
}

/* What has come meanwhile is worked off at once: before the timers, as gossipd does, or after. */
static void
unblock(struct member *m)
{
	struct packet *p;

	m->blocked_until = 0;
	if (m->serf != NULL && m->w->o.timers_first)
		(void)serf_advance(m->serf, m->w->now);
	while ((p = m->inbox) != NULL) {
		m->inbox = p->next;
		if (m->inbox == NULL)
			m->inbox_tail = &m->inbox;
		m->ninbox--;
		net_handle(m, p);
		free(p);
	}
	if (m->serf != NULL)
		(void)serf_advance(m->serf, m->w->now);
	member_wake(m);
	happen_add(m->w, &(struct happen){ .at = m->w->now + (100 + world_random(&m->w->rng) % 900) * MS, .what = AT_BLOCK, .who = m->index });
}

static void
happens(struct world *w, const struct happen *h)
{
	struct member *m = &w->members[h->who];

	w->digest = (w->digest ^ h->at ^ ((uint64_t)h->what << 56) ^ h->who) * 0x100000001b3u;
	switch (h->what) {
	case AT_WAKE:
		if (h->at != m->wake_at || m->serf == NULL || m->blocked_until > w->now)
			return;
		(void)serf_advance(m->serf, w->now);
		member_wake(m);
		return;
	case AT_PACKET:
		net_arrived(w, h->who, h->packet);
		return;
	case AT_STREAM_PING:
		/* The kernel takes the connection, but a blocked member does not answer. */
		if (m->serf != NULL && m->blocked_until <= w->now)
			happen_add(w, &(struct happen){ .at = w->now + MS, .what = AT_STREAM_ACK, .who = (uint32_t)(uintptr_t)h->packet, .seqno = h->seqno });
		return;
	case AT_STREAM_ACK:
		if (m->serf != NULL && m->blocked_until <= w->now) {
			swim_stream_acked(serf_swim(m->serf), w->now, h->seqno);
			member_wake(m);
		}
		return;
	case AT_BLOCK:
		if (m->serf != NULL)
			block(m);
		return;
	case AT_RUN:
		unblock(m);
		return;
	}
}

void
world_run(struct world *w, uint64_t until, bool (*done)(struct world *w))
{
	while (w->nheap > 0 && w->heap[0].at <= until) {
		struct happen h = happen_take(w);

		w->now = h.at;
		happens(w, &h);
		if (done != NULL && done(w))
			return;
	}
	w->now = until;
}

/* ---- beginning and end */

void
world_init(struct world *w, const struct options *o, uint32_t room)
{
	*w = (struct world){ .o = *o, .now = SECOND, .started = SECOND, .rng = o->seed, .cap = room, .digest = 0xcbf29ce484222325u };
	w->members = need(calloc(room, sizeof(*w->members)));
	w->watched.heard = need(calloc(room, sizeof(*w->watched.heard)));
	w->names = need(swim_names_new());
	wrap_init(&w->wrap);
	swim_config_lan(&w->swim);
	serf_config_consul(&w->serf);
	w->swim.nodes_max = room + 1;
	memcpy(w->swim.vsn, "\1\5\2\2\5\4", WIRE_VSN);
	if (!o->lifeguard) {
		w->swim.awareness_max = 1;
		w->swim.suspicion_max_mult = 1;
	}
}

void
world_release(struct world *w)
{
	for (size_t i = 0; i < w->nmembers; i++) {
		struct packet *p;

		while ((p = w->members[i].inbox) != NULL) {
			w->members[i].inbox = p->next;
			free(p);
		}
		serf_free(w->members[i].serf);
	}
	for (size_t i = 0; i < w->nheap; i++)
		if (w->heap[i].what == AT_PACKET)
			free(w->heap[i].packet);
	free(w->heap);
	free(w->members);
	free(w->watched.heard);
	swim_names_free(w->names);
	wrap_release(&w->wrap);
}
