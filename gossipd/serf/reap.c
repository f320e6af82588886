/* reap.c - members that have been gone for long: looked for again, and at last erased (5.2). */
#include <stdlib.h>

#include "gossipd/serf/internal.h"

static void
pruning_free(struct serf *s, size_t at)
{
	free(s->prunings[at].name);
	s->prunings[at] = s->prunings[--s->nprunings];
}

/* One that is leaving is given the time to do so. */
void
serf_reap_prune_later(struct serf *s, struct member *m)
{
	struct str name = swim_node_name(m->node);
	uint64_t wait = after(ms(s->config.broadcast_timeout_ms), ms(s->config.leave_propagate_ms));
	struct pruning *p;

	for (size_t i = 0; i < s->nprunings; i++)
		if (str_eq((struct str){ s->prunings[i].name, s->prunings[i].len }, name))
			return;
	if (s->nprunings >= SERF_ERASE_MAX) {
		s->stats.dropped++;
		return;
	}
	p = realloc(s->prunings, (s->nprunings + 1) * sizeof(*p));
	if (p == NULL) {
		s->stats.dropped++;
		return;
	}
	s->prunings = p;
	p = &s->prunings[s->nprunings];
	*p = (struct pruning){ .name = malloc(name.len), .len = name.len, .at = after(serf_now(s), wait) };
	if (p->name == NULL) {
		s->stats.dropped++;
		return;
	}
	memcpy(p->name, name.p, name.len);
	s->nprunings++;
}

void
serf_reap_erase(struct serf *s, struct member *m)
{
	serf_changed(s, SERF_CHANGE_REAP, m);
	serf_roster_erase(s, m);
}

/* A member may tell its own patience by its tag rc_tm. */
static uint64_t
patience(const struct member *m, uint64_t otherwise_ms)
{
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	struct strmap tags = { NULL, 0 };
	const struct str *text = NULL;
	int64_t ns = 0;

	if (wire_get_tags(swim_node_meta(m->node), &tags, &a) == 0)
		text = strmap_get(&tags, STR("rc_tm"));
	if (text == NULL || duration_parse(*text, &ns) < 0 || ns <= 0)
		ns = 0;
	arena_release(&a);
	return ns > 0 ? (uint64_t)ns : ms(otherwise_ms);
}

static bool
overdue(struct serf *s, const struct member *m)
{
	uint64_t otherwise_ms;

	if (m->status == SERF_FAILED)
		otherwise_ms = s->config.reconnect_timeout_ms;
	else if (m->status == SERF_LEFT)
		otherwise_ms = s->config.tombstone_timeout_ms;
	else
		return false;
	return !serf_is_self(s, m) && serf_now(s) - m->gone_at > patience(m, otherwise_ms);
}

static void
prune(struct serf *s)
{
	for (size_t i = s->nprunings; i-- > 0;) {
		struct pruning *p = &s->prunings[i];
		struct member *m;

		if (p->at > serf_now(s))
			continue;
		m = serf_roster_find(s, (struct str){ p->name, p->len });
		/* It may have come back meanwhile. */
		if (m != NULL && (m->status == SERF_LEAVING || m->status == SERF_LEFT))
			serf_reap_erase(s, m);
		pruning_free(s, i);
	}
}

/* Members that there was no memory for when they joined. */
static void
find_missed(struct serf *s)
{
	s->missed = false;
	for (struct swim_node *n = swim_each(s->swim, NULL); n != NULL; n = swim_each(s->swim, n))
		if (swim_node_state(n) <= SWIM_SUSPECT && serf_roster_of(&s->roster, n) == NULL)
			serf_member_joined(s, n);
}

static void
reap(struct serf *s)
{
	for (size_t i = s->roster.n; i-- > 0;)
		if (i < s->roster.n && overdue(s, &s->roster.v[i]))
			serf_reap_erase(s, &s->roster.v[i]);
	serf_intents_expire(s);
	if (s->missed)
		find_missed(s);
}

/* The more have failed the likelier one is tried, so that the whole pool does not try the same few. */
static void
reconnect(struct serf *s)
{
	size_t failed = s->roster.counts[SERF_FAILED];
	size_t alive = s->roster.counts[SERF_ALIVE] + s->roster.counts[SERF_LEAVING];
	double chance;
	size_t pick;

	if (failed == 0 || s->state != SERF_ALIVE)
		return;
	chance = (double)failed / (double)(alive > 0 ? alive : 1);
	if ((double)s->hooks.random(s->hooks.ctx) / 4294967296.0 > chance)
		return;
	pick = s->hooks.random(s->hooks.ctx) % failed;
	for (size_t i = 0; i < s->roster.n; i++) {
		struct swim_node *n = s->roster.v[i].node;

		if (s->roster.v[i].status != SERF_FAILED || pick-- > 0)
			continue;
		s->hooks.exchange(s->hooks.ctx, swim_node_addr(n), swim_node_name(n), true);
		return;
	}
}

/* The next time that is a multiple of the interval away, however long we were not called. */
static uint64_t
next_of(uint64_t at, uint64_t now, uint32_t interval_ms)
{
	uint64_t next = after(at, ms(interval_ms));

	return next > now ? next : after(now, ms(interval_ms));
}

void
serf_reap_advance(struct serf *s)
{
	uint64_t now = serf_now(s);

	prune(s);
	if (s->reap_at <= now) {
		s->reap_at = next_of(s->reap_at, now, s->config.reap_ms);
		reap(s);
	}
	if (s->reconnect_at <= now) {
		s->reconnect_at = next_of(s->reconnect_at, now, s->config.reconnect_ms);
		reconnect(s);
	}
}

uint64_t
serf_reap_next(const struct serf *s)
{
	uint64_t next = s->reap_at < s->reconnect_at ? s->reap_at : s->reconnect_at;

	for (size_t i = 0; i < s->nprunings; i++)
		if (s->prunings[i].at < next)
			next = s->prunings[i].at;
	return next;
}

void
serf_reap_release(struct serf *s)
{
	while (s->nprunings > 0)
		pruning_free(s, s->nprunings - 1);
	free(s->prunings);
	s->prunings = NULL;
}
