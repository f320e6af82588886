/* state.c - Serf's part of a push/pull, both ways (5.3). */
#include "gossipd/serf/internal.h"

/* ---- ours */

static int
list_members(struct serf *s, struct msg_serf_state *m, struct arena *a)
{
	size_t n = s->roster.n, left = 0;
	struct msg_ltime *ltimes = arena_alloc(a, n * sizeof(*ltimes));

	m->status_ltimes.keys = arena_alloc(a, n * sizeof(*m->status_ltimes.keys));
	m->left_members.v = arena_alloc(a, s->roster.counts[SERF_LEFT] * sizeof(*m->left_members.v));
	if (ltimes == NULL || m->status_ltimes.keys == NULL || m->left_members.v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct member *member = &s->roster.v[i];

		m->status_ltimes.keys[i] = swim_node_name(member->node);
		ltimes[i].v = member->status_ltime;
		if (member->status == SERF_LEFT)
			m->left_members.v[left++] = swim_node_name(member->node);
	}
	m->status_ltimes.v = ltimes;
	m->status_ltimes.n = n;
	m->left_members.n = left;
	return 0;
}

/* What is known of one slot; 0 events: nothing that can be told. */
static int
list_slot(const struct event_slot *slot, struct msg_event_slot *ret, struct arena *a)
{
	struct msg_event *v = arena_alloc(a, slot->n * sizeof(*v));
	size_t n = 0;

	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < slot->n; i++) {
		const struct seen_event *e = &slot->v[i];

		if (e->content == NULL)
			continue;
		v[n++] = (struct msg_event){ .name = { e->content, e->name_len },
			.payload = { e->content + e->name_len, e->payload_len } };
	}
	*ret = (struct msg_event_slot){ .ltime = slot->ltime, .events = { v, n } };
	return 0;
}

static int
list_events(struct serf *s, struct msg_serf_state *m, struct arena *a)
{
	struct msg_event_slot *v;
	size_t n = 0;

	if (s->rings.events == NULL)
		return 0;
	v = arena_alloc(a, SERF_RING * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < SERF_RING; i++) {
		if (s->rings.events[i].n == 0)
			continue;
		if (list_slot(&s->rings.events[i], &v[n], a) < 0)
			return -ENOMEM;
		n += v[n].events.n > 0;
	}
	m->events = (struct records){ v, n };
	return 0;
}

/* Without memory it is left away: SWIM's own rows are worth more than none of both. */
void
serf_state_local(struct serf *s, struct buf *out)
{
	struct arena a = ARENA_INIT(STATE_ARENA_MAX);
	struct msg_serf_state m = { .ltime = s->clock, .event_ltime = s->event_clock, .query_ltime = s->query_clock };
	int rc = list_members(s, &m, &a);

	if (rc == 0)
		rc = list_events(s, &m, &a);
	if (m.events.n == 0)
		m.events = (struct records){ RECORD_EMPTY, 0 };
	if (rc == 0)
		rc = wire_put(out, SERF_PUSH_PULL, &rec_msg_serf_state, &m);
	if (rc < 0)
		s->stats.dropped++;
	arena_release(&a);
}

/* ---- a peer's */

/* The names of those that left, to be found while the times go by. */
struct left {
	const struct strs *names;
	uint32_t *places;		/* index into names, +1 */
	bool *told;
	size_t mask;
};

static uint32_t *
left_place(struct serf *s, const struct left *l, struct str name)
{
	size_t at = serf_hash(s, name, STR_NONE) & l->mask;

	while (l->places[at] != 0 && !str_eq(l->names->v[l->places[at] - 1], name))
		at = (at + 1) & l->mask;
	return &l->places[at];
}

static int
left_init(struct serf *s, struct left *l, const struct strs *names, struct arena *a)
{
	size_t cap = 8;

	while (cap < names->n * 2)
		cap *= 2;
	*l = (struct left){ .names = names, .mask = cap - 1 };
	l->places = arena_alloc(a, cap * sizeof(*l->places));
	l->told = arena_alloc(a, names->n * sizeof(*l->told));
	if (l->places == NULL || l->told == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < names->n; i++)
		*left_place(s, l, names->v[i]) = (uint32_t)i + 1;
	return 0;
}

static void
take_left(struct serf *s, struct str name, uint64_t ltime)
{
	struct msg_leave m = { .node = name };

	if (!name_ok(name) || ltime >= UINT64_MAX - 1) {
		s->stats.malformed++;
		return;
	}
	m.ltime = ltime + 1;
	(void)serf_member_leave_intent(s, &m);
}

/* Those that left go first, so that the joins do not raise their times above it. */
static void
take_members(struct serf *s, const struct msg_serf_state *m, struct left *l)
{
	const struct msg_ltime *ltimes = m->status_ltimes.v;
	size_t n = m->status_ltimes.n;

	for (size_t i = 0; i < n && l->names->n > 0; i++) {
		uint32_t at = *left_place(s, l, m->status_ltimes.keys[i]);

		if (at == 0)
			continue;
		l->told[at - 1] = true;
		take_left(s, m->status_ltimes.keys[i], ltimes[i].v);
	}
	for (size_t i = 0; i < l->names->n; i++)
		if (!l->told[i] && *left_place(s, l, l->names->v[i]) == i + 1)
			take_left(s, l->names->v[i], 0);
	for (size_t i = 0; i < n; i++) {
		struct msg_join join = { .node = m->status_ltimes.keys[i], .ltime = ltimes[i].v };

		if (l->names->n > 0 && *left_place(s, l, join.node) != 0)
			continue;
		if (name_ok(join.node) && join.ltime < UINT64_MAX)
			(void)serf_member_join_intent(s, &join);
		else
			s->stats.malformed++;
	}
}

/* Whether they were sent with or without the wish to be put together is not told (5.3). */
static void
take_events(struct serf *s, const struct msg_serf_state *m)
{
	const struct msg_event_slot *slots = m->events.v;

	for (size_t i = 0; i < m->events.n; i++) {
		const struct msg_event *v = slots[i].events.v;

		for (size_t k = 0; k < slots[i].events.n; k++) {
			struct msg_event e = { .ltime = slots[i].ltime, .name = v[k].name, .payload = v[k].payload };
			int rc = e.ltime < UINT64_MAX ? serf_event_take(s, &e) : -ELIMIT;

			s->stats.refused += rc == -ELIMIT;
			s->stats.dropped += rc == -ENOMEM;
		}
	}
}

/* No message of the time that a clock shows has been sent yet. */
static void
witness_before(uint64_t *clock, uint64_t t)
{
	if (t > 0)
		clock_follow(clock, t - 1);
}

void
serf_state_remote(struct serf *s, bool join, struct str state)
{
	struct arena a = ARENA_INIT(STATE_ARENA_MAX);
	struct msg_serf_state m;
	struct left left;

	if (state.len < 2 || (uint8_t)state.p[0] != SERF_PUSH_PULL ||
	    wire_get((struct str){ state.p + 1, state.len - 1 }, &rec_msg_serf_state, &m, &a, NULL) < 0) {
		s->stats.malformed++;
		goto out;
	}
	if (left_init(s, &left, &m.left_members, &a) < 0) {
		s->stats.dropped++;
		goto out;
	}
	witness_before(&s->clock, m.ltime);
	witness_before(&s->event_clock, m.event_ltime);
	witness_before(&s->query_clock, m.query_ltime);
	s->strangers = SERF_INTENTS_MAX;
	take_members(s, &m, &left);
	s->strangers = SIZE_MAX;
	/* Not above what our clock has come to believe, or nothing would ever be new. */
	if (join && s->ignore_old && m.event_ltime > s->event_min)
		s->event_min = m.event_ltime < s->event_clock ? m.event_ltime : s->event_clock;
	take_events(s, &m);
out:
	arena_release(&a);
}
