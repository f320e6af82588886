/* suspect.c - Lifeguard's suspicion: how long an accused member has to answer (spec 4.2). */
#include <math.h>

#include "gossipd/swim/internal.h"

static unsigned
confirmations_wanted(unsigned mult, size_t n)
{
	unsigned k = mult > 2 ? mult - 2 : 0;

	/* Those two are the accused and the accuser. */
	if (n < (size_t)k + 2)
		return 0;
	return k < CONFIRMERS_MAX ? k : CONFIRMERS_MAX;
}

/* Milliseconds with c of k confirmations. */
static uint64_t
timeout_ms(unsigned mult, unsigned max_mult, uint32_t probe_interval_ms, size_t n, unsigned k, unsigned c)
{
	double scale = fmax(1, log10(fmax(1, (double)n))), whole;
	uint64_t min = (uint64_t)mult * (uint64_t)(scale * 1000) * probe_interval_ms / 1000, max = max_mult * min;

	if (k < 1 || max < min)
		return min;
	if (c >= k)
		return min;
	whole = floor((double)max - log(c + 1.0) / log(k + 1.0) * (double)(max - min));
	return whole > (double)min ? (uint64_t)whole : min;
}

uint64_t
swim_suspicion_ms(unsigned mult, unsigned max_mult, uint32_t probe_interval_ms, size_t n, unsigned confirmations)
{
	return timeout_ms(mult, max_mult, probe_interval_ms, n, confirmations_wanted(mult, n), confirmations);
}

static uint64_t
due(const struct swim *s, const struct suspicion *u)
{
	return u->started +
	    timeout_ms(s->c.suspicion_mult, s->c.suspicion_max_mult, s->c.probe_interval_ms, u->n, u->k, u->confirmed) * MS;
}

/* Two accusers of one hash count as one. */
static uint64_t
accuser(struct str from)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < from.len; i++)
		h = (h ^ (unsigned char)from.p[i]) * 1099511628211u;
	return h;
}

int
suspicion_start(struct swim *s, uint64_t now, struct swim_node *n, struct str from)
{
	unsigned k = confirmations_wanted(s->c.suspicion_mult, s->table.n);
	struct suspicion *u;

	assert(n->state == SWIM_ALIVE);
	if (timers_reserve(&s->timers, FIXED_TIMERS + s->table.nsuspicions + 1) < 0)
		return -ENOMEM;
	u = malloc(sizeof(*u) + (k + 1) * sizeof(u->from[0]));
	if (u == NULL)
		return -ENOMEM;
	*u = (struct suspicion){ .timer = { .kind = TIMER_SUSPICION }, .node = n, .started = now, .n = s->table.n, .k = k };
	u->from[0] = accuser(from);
	n->state = SWIM_SUSPECT;
	n->suspicion = u;
	s->table.nsuspicions++;
	timers_arm(&s->timers, &u->timer, due(s, u));
	return 0;
}

bool
suspicion_confirm(struct swim *s, struct swim_node *n, struct str from)
{
	struct suspicion *u = n->suspicion;
	uint64_t who = accuser(from);

	if (u->confirmed >= u->k)
		return false;
	for (unsigned i = 0; i <= u->confirmed; i++)
		if (u->from[i] == who)
			return false;
	u->from[++u->confirmed] = who;
	timers_arm(&s->timers, &u->timer, due(s, u));
	s->stats.confirmed++;
	return true;
}

void
suspicion_end(struct swim *s, struct swim_node *n)
{
	struct suspicion *u = n->suspicion;

	assert(n->state == SWIM_SUSPECT);
	timers_disarm(&s->timers, &u->timer);
	n->since = u->started;
	n->state = SWIM_ALIVE;
	s->table.nsuspicions--;
	free(u);
}

void
suspicion_fire(struct swim *s, uint64_t now, struct timer *t)
{
	const struct suspicion *u = (const struct suspicion *)t;
	struct str name = ident_name(u->node->id);
	struct msg_accuse m = { .incarnation = u->node->incarnation, .node = name, .from = ident_name(s->self->id) };

	/* It ends the suspicion, and with it this timer. */
	rule_dead(s, now, &m);
}
