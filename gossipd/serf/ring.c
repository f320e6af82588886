/*
 * ring.c - which events and queries were seen, by their Lamport time (5.1).
 *
 * What is kept of events is told again in push/pulls. When that becomes too much
 * the oldest lose their content; their hashes still tell them from new ones.
 */
#include "gossipd/serf/internal.h"

#include <stdlib.h>

/* Too old to be told from what was forgotten. */
static bool
too_old(uint64_t ltime, uint64_t clock, uint64_t min)
{
	return ltime < min || (clock > SERF_RING && ltime < clock - SERF_RING);
}

static void
event_forget(struct serf *s, struct seen_event *e)
{
	if (e->content != NULL)
		s->rings.bytes -= e->name_len + e->payload_len;
	free(e->content);
	e->content = NULL;
}

static void
slot_clear(struct serf *s, struct event_slot *slot)
{
	for (size_t i = 0; i < slot->n; i++)
		event_forget(s, &slot->v[i]);
	free(slot->v);
	*slot = (struct event_slot){ .n = 0 };
}

static bool
slot_has_content(const struct event_slot *slot)
{
	for (size_t i = 0; i < slot->n; i++)
		if (slot->v[i].content != NULL)
			return true;
	return false;
}

/* Drop the content of the oldest slot that has any. False: there is none. */
static bool
shed_oldest(struct serf *s)
{
	struct event_slot *oldest = NULL;

	for (size_t i = 0; i < SERF_RING; i++) {
		struct event_slot *slot = &s->rings.events[i];

		if ((oldest == NULL || slot->ltime < oldest->ltime) && slot_has_content(slot))
			oldest = slot;
	}
	if (oldest == NULL)
		return false;
	for (size_t i = 0; i < oldest->n; i++)
		event_forget(s, &oldest->v[i]);
	return true;
}

static bool
same_event(const struct seen_event *e, uint64_t hash, const struct msg_event *m)
{
	if (e->hash != hash || e->name_len != m->name.len || e->payload_len != m->payload.len)
		return false;
	return e->content == NULL || (str_eq((struct str){ e->content, e->name_len }, m->name) &&
	    str_eq((struct str){ e->content + e->name_len, e->payload_len }, m->payload));
}

/* Without memory for its content its hash must do. */
static void
event_keep(struct serf *s, struct seen_event *e, const struct msg_event *m)
{
	size_t len = m->name.len + m->payload.len;

	while (s->rings.bytes + len > SERF_RING_BYTES_MAX)
		if (!shed_oldest(s))
			return;
	e->content = malloc(len + 1);
	if (e->content == NULL)
		return;
	if (m->name.len > 0)
		memcpy(e->content, m->name.p, m->name.len);
	if (m->payload.len > 0)
		memcpy(e->content + m->name.len, m->payload.p, m->payload.len);
	s->rings.bytes += len;
}

/* Room for one more of n elements. */
static int
slot_room(void **v, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t more = *cap == 0 ? 1 : *cap * 2;
	void *p;

	if (n < *cap)
		return 0;
	if (n >= SERF_SLOT_MAX)
		return -ELIMIT;
	p = realloc(*v, more * size);
	if (p == NULL)
		return -ENOMEM;
	*v = p;
	*cap = more;
	return 0;
}

int
serf_ring_event(struct serf *s, const struct msg_event *m)
{
	uint64_t hash = serf_hash(s, m->name, m->payload);
	struct event_slot *slot;
	struct seen_event *e;
	void *v;
	int rc;

	if (too_old(m->ltime, s->event_clock, s->event_min))
		return -EALREADY;
	if (s->rings.events == NULL)
		s->rings.events = calloc(SERF_RING, sizeof(*s->rings.events));
	if (s->rings.events == NULL)
		return -ENOMEM;
	slot = &s->rings.events[m->ltime % SERF_RING];
	if (slot->ltime != m->ltime)
		slot_clear(s, slot);
	for (size_t i = 0; i < slot->n; i++)
		if (same_event(&slot->v[i], hash, m))
			return -EALREADY;
	v = slot->v;
	rc = slot_room(&v, slot->n, &slot->cap, sizeof(*slot->v));
	if (rc < 0)
		return rc;
	slot->v = v;
	slot->ltime = m->ltime;
	e = &slot->v[slot->n++];
	*e = (struct seen_event){ .hash = hash, .name_len = (uint32_t)m->name.len, .payload_len = (uint32_t)m->payload.len };
	event_keep(s, e, m);
	return 0;
}

int
serf_ring_query(struct serf *s, uint64_t ltime, uint32_t id)
{
	struct query_slot *slot;
	void *v;
	int rc;

	if (too_old(ltime, s->query_clock, s->query_min))
		return -EALREADY;
	if (s->rings.queries == NULL)
		s->rings.queries = calloc(SERF_RING, sizeof(*s->rings.queries));
	if (s->rings.queries == NULL)
		return -ENOMEM;
	slot = &s->rings.queries[ltime % SERF_RING];
	if (slot->ltime != ltime)
		slot->n = 0;
	for (size_t i = 0; i < slot->n; i++)
		if (slot->ids[i] == id)
			return -EALREADY;
	v = slot->ids;
	rc = slot_room(&v, slot->n, &slot->cap, sizeof(*slot->ids));
	if (rc < 0)
		return rc;
	slot->ids = v;
	slot->ltime = ltime;
	slot->ids[slot->n++] = id;
	return 0;
}

void
serf_ring_release(struct serf *s)
{
	for (size_t i = 0; i < SERF_RING; i++) {
		if (s->rings.events != NULL)
			slot_clear(s, &s->rings.events[i]);
		if (s->rings.queries != NULL)
			free(s->rings.queries[i].ids);
	}
	free(s->rings.events);
	free(s->rings.queries);
	s->rings = (struct rings){ .bytes = 0 };
}
