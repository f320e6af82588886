/* conflict.c - somebody else has our name: the others say who keeps it (5.6). */
#include "gossipd/serf/internal.h"

static bool
is_about_us(struct serf *s, const struct msg_member *m)
{
	struct gossip_addr a;

	return gossip_addr_set(&a, m->addr, m->port) == 0 && gossip_addr_eq(&a, swim_node_addr(swim_self(s->swim)));
}

/* Fewer than more than half: even no answer at all is a defeat. */
static void
count_out(struct serf *s)
{
	size_t majority = s->vote.answers / 2 + 1;

	s->vote.running = false;
	if (s->vote.matching < majority && s->hooks.conflict_lost != NULL)
		s->hooks.conflict_lost(s->hooks.ctx);
}

static void
voted(void *ctx, struct str from, bool ack, struct str payload)
{
	struct serf *s = ctx;
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	struct msg_member m;

	if (from.len == 0) {
		count_out(s);
		return;
	}
	if (ack || payload.len < 2 || (uint8_t)payload.p[0] != SERF_CONFLICT)
		return;
	if (wire_get((struct str){ payload.p + 1, payload.len - 1 }, &rec_msg_member, &m, &a, NULL) == 0) {
		s->vote.answers++;
		s->vote.matching += is_about_us(s, &m);
	} else {
		s->stats.malformed++;
	}
	arena_release(&a);
}

void
serf_conflict_vote(struct serf *s)
{
	struct serf_ask q = { .name = STR("_serf_conflict"), .payload = serf_own_name(s), .answer = voted, .ctx = s };
	int rc = 0;

	if (s->vote.running || s->state != SERF_ALIVE)
		return;
	s->vote.running = true;
	s->vote.answers = s->vote.matching = 0;
	/* Without a vote we stay: the other tries again. */
	if (serf_ask(s, serf_now(s), &q, &rc) == 0) {
		s->vote.running = false;
		s->stats.dropped++;
	}
}
