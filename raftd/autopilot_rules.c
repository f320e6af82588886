/*
 * autopilot_rules.c - Consul's rules for looking after servers: who is
 * healthy, who gets a vote, who is taken out.
 */
#include "raftd/autopilot_rules.h"

#include <assert.h>

const struct ap_server *
ap_find(const struct ap_view *view, uint64_t id)
{
	for (size_t i = 0; i < view->n; i++)
		if (view->v[i].now.id == id)
			return &view->v[i];
	return NULL;
}

/* A connection that answers is better evidence than the lack of a word from gossip. */
static bool
is_failed(const struct ap_sight *s)
{
	return !s->leader && (s->contact_ms >= AP_FAILED_MS || (s->gossip == AP_FAILED && s->contact_ms >= AP_SILENT_MS));
}

static bool
is_healthy(const struct ap_sight *s, const struct ap_config *c, uint64_t term, uint64_t last)
{
	if (s->leader)
		return true;
	if (!s->heard || s->contact_ms > c->contact_ms || s->term != term || s->gossip == AP_FAILED || s->gossip == AP_LEFT)
		return false;
	return s->index >= last || last - s->index <= c->trailing_max;
}

void
ap_look(struct ap_view *view, const struct ap_config *c, const struct ap_sight *seen, size_t n, uint64_t term,
    uint64_t last, uint64_t now_ms)
{
	struct ap_view next = { .n = n, .term = term, .last = last };

	assert(n <= AP_SERVERS_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct ap_server *was = ap_find(view, seen[i].id);
		struct ap_server *s = &next.v[i];

		s->now = seen[i];
		s->healthy = is_healthy(&seen[i], c, term, last);
		s->failed = is_failed(&seen[i]);
		s->since_ms = was != NULL && was->healthy == s->healthy ? was->since_ms : now_ms;
	}
	*view = next;
}

static void
count(const struct ap_view *view, uint64_t *ret_voters, uint64_t *ret_healthy)
{
	*ret_voters = *ret_healthy = 0;
	for (size_t i = 0; i < view->n; i++)
		if (view->v[i].now.voter) {
			++*ret_voters;
			*ret_healthy += view->v[i].healthy;
		}
}

bool
ap_healthy(const struct ap_view *view)
{
	for (size_t i = 0; i < view->n; i++)
		if (!view->v[i].healthy)
			return false;
	return view->n > 0;
}

uint64_t
ap_tolerance(const struct ap_view *view)
{
	uint64_t voters, healthy;

	count(view, &voters, &healthy);
	return healthy > voters / 2 + 1 ? healthy - (voters / 2 + 1) : 0;
}

/* For a quorum the worse of what gossip and the connection say counts. */
static bool
is_counted_on(const struct ap_server *s)
{
	if (s->now.leader)
		return true;
	return !s->failed && s->now.heard && s->now.gossip != AP_FAILED && s->now.gossip != AP_LEFT;
}

bool
ap_may_remove(const struct ap_view *view, uint64_t id)
{
	uint64_t voters = 0, alive = 0;

	for (size_t i = 0; i < view->n; i++)
		if (view->v[i].now.voter && view->v[i].now.id != id) {
			voters++;
			alive += is_counted_on(&view->v[i]);
		}
	return voters > 0 && alive >= voters / 2 + 1;
}

static bool
is_dead(const struct ap_server *s)
{
	if (s->now.leader || s->now.gossip == AP_ALIVE)
		return false;
	return s->now.contact_ms >= (s->now.gossip == AP_FAILED ? AP_FAILED_MS : AP_DEAD_MS);
}

/* It has said so, or somebody for it: whatever it is doing still, it is not to be counted on. */
static struct ap_decision
let_go(const struct ap_view *view)
{
	for (size_t i = 0; i < view->n; i++) {
		const struct ap_sight *s = &view->v[i].now;

		if (s->gossip == AP_LEFT && !s->leader && (!s->voter || ap_may_remove(view, s->id)))
			return (struct ap_decision){ AP_REMOVE, s->id };
	}
	return (struct ap_decision){ AP_NOTHING, 0 };
}

/* One without a vote does no harm; of the voters never more than a minority, and never below min_quorum. */
static struct ap_decision
clean_up(const struct ap_view *view, const struct ap_config *c)
{
	uint64_t voters = 0, dead = 0, voter = 0;

	for (size_t i = 0; i < view->n; i++) {
		const struct ap_server *s = &view->v[i];

		if (is_dead(s) && !s->now.voter)
			return (struct ap_decision){ AP_REMOVE, s->now.id };
		voters += s->now.voter;
		if (is_dead(s)) {
			dead++;
			if (voter == 0)
				voter = s->now.id;
		}
	}
	if (dead == 0 || dead > (voters - 1) / 2 || voters - dead < c->min_quorum || !ap_may_remove(view, voter))
		return (struct ap_decision){ AP_NOTHING, 0 };
	return (struct ap_decision){ AP_REMOVE, voter };
}

/* The one that has been healthy for the longest. */
static struct ap_decision
promote(const struct ap_view *view, const struct ap_config *c, uint64_t now_ms)
{
	const struct ap_server *best = NULL;

	for (size_t i = 0; i < view->n; i++) {
		const struct ap_server *s = &view->v[i];

		if (s->now.voter || !s->healthy || s->now.gossip == AP_LEAVING || now_ms - s->since_ms < c->stable_ms)
			continue;
		if (best == NULL || s->since_ms < best->since_ms)
			best = s;
	}
	return best != NULL ? (struct ap_decision){ AP_PROMOTE, best->now.id } : (struct ap_decision){ AP_NOTHING, 0 };
}

struct ap_decision
ap_decide(const struct ap_view *view, const struct ap_config *c, uint64_t now_ms)
{
	struct ap_decision d = let_go(view);

	if (d.action == AP_NOTHING)
		d = promote(view, c, now_ms);
	return d.action == AP_NOTHING && c->cleanup ? clean_up(view, c) : d;
}
