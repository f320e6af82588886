/*
 * clock.c - each server's clock, and the one timer that its core wants.
 *
 * Rates lie within 4.6% of true time, so that two differ by less than a
 * tenth. A new process may find any time (a reboot starts from zero); while
 * one lives its clock never goes back, whatever its rate does.
 */
#include "t/sim/world.h"

enum { RATE_MIN = 954000, RATE_MAX = 1046000, RATE_ONE = 1000000 };

static uint64_t
local_us(const struct world *w, const struct node *n)
{
	return n->local_base + (w->now - n->true_base) * (uint64_t)n->rate / RATE_ONE;
}

uint64_t
clock_local_ms(const struct world *w, const struct node *n)
{
	return local_us(w, n) / MS;
}

static int64_t
draw_rate(struct world *w)
{
	if (w->p.clock == 0)
		return RATE_ONE;
	/* The extremes are where a lease could break. */
	if (chance(w, 500))
		return chance(w, 500) ? RATE_MIN : RATE_MAX;
	return (int64_t)between(w, RATE_MIN, RATE_MAX);
}

void
clock_start(struct world *w, struct node *n)
{
	n->true_base = w->now;
	n->local_base = chance(w, 300) ? below(w, 10 * MS) : below(w, 1000000 * SECOND);
	n->rate = draw_rate(w);
	n->wake_at = RAFT_NEVER;
	n->wake_ms = RAFT_NEVER;
}

void
clock_drift(struct world *w, struct node *n)
{
	uint64_t local = local_us(w, n);

	n->true_base = w->now;
	n->local_base = local;
	n->rate = draw_rate(w);
	TRACE(w, "%s clock runs at %lld ppm", trace_name(w, n->dir->id), (long long)(n->rate - RATE_ONE));
	n->wake_at = RAFT_NEVER;
	clock_wake(w, n, n->wake_ms);
}

/* One timer pends: an earlier wish replaces it, a later one waits until it fires. */
void
clock_wake(struct world *w, struct node *n, uint64_t wake_ms)
{
	uint64_t local = local_us(w, n), at;

	n->wake_ms = wake_ms;
	if (wake_ms == RAFT_NEVER)
		return;
	at = w->now;
	if (wake_ms * MS > local)
		at += ((wake_ms * MS - local) * RATE_ONE + (uint64_t)n->rate - 1) / (uint64_t)n->rate;
	if (at >= n->wake_at)
		return;
	n->wake_at = at;
	world_post(w, at, EV_TIMER, n, ++n->wake_gen, 0, 0, NULL);
}

void
clock_timer(struct world *w, struct node *n, uint32_t gen)
{
	struct raft_event ev = { .type = RAFT_TIMER };

	if (gen != n->wake_gen)
		return;
	n->wake_at = RAFT_NEVER;
	if (n->wake_ms == RAFT_NEVER)
		return;
	if (clock_local_ms(w, n) < n->wake_ms)
		clock_wake(w, n, n->wake_ms);
	else
		node_step(w, n, &ev, NULL);
}
