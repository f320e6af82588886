/* follow.c - the follower: what a leader sends is compared, kept and acknowledged (thesis, section 3.5). */
#include "raftd/core/internal.h"

/* Nothing is known of the leader of this term yet, but that what is committed is in its log too (thesis, 3.6.3). */
void
follow_reset(struct raft *r)
{
	r->verified = r->commit;
	r->acked_match = min_u64(r->commit, r->persisted);
	r->ack_round = 0;
	r->ack_sent_ms = 0;
	r->ack_now = false;
	r->refusal.due = false;
	r->snapshot_ack = false;
}

int
follow_check(const struct raft *r, const struct raft_message *m)
{
	/* There is one leader in a term. */
	if (m->term == r->term && (r->role == RAFT_LEADER || (r->leader != 0 && r->leader != m->from)))
		return -EINVAL;
	return 0;
}

void
follow_heard(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	election_follow(r, m->term, fx);
	if (r->leader != m->from) {
		r->leader = m->from;
		read_ask_again(r);
	}
	r->heard_ms = r->now_ms;
	r->hint_until = 0;
	election_plan(r);
}

/* What is to be done with an append. */
struct plan {
	bool refused;
	uint64_t hint_index, hint_term;
	uint64_t from;		/* the first entry to be kept; behind the last: none */
	uint64_t cut;		/* ours go from here on; 0: none do */
};

/* The first of the message's entries that we do not have, or have of another term; behind the last: none. */
static uint64_t
first_new(const struct raft_trail *t, const struct raft_event *ev)
{
	for (size_t i = 0; i < ev->nruns; i++) {
		uint64_t first = max_u64(ev->runs[i].first, t->base + 1), have;
		uint64_t last = i + 1 < ev->nruns ? ev->runs[i + 1].first - 1 : ev->message->last;

		if (last < first)
			continue;
		if (trail_term(t, first) != ev->runs[i].term)
			return first;
		/* Terms never fall, so the same term at one more place is the same run. */
		have = trail_last_of(t, ev->runs[i].term);
		if (have < last)
			return have + 1;
	}
	return ev->message->last + 1;
}

/* Up to here nothing can differ: it is committed, or this very leader's. If it does, something is broken. */
static uint64_t
settled(const struct raft *r, const struct raft_message *m)
{
	return m->term == r->term ? max_u64(r->commit, r->verified) : r->commit;
}

/* Is the entry in front of the message's ours as well? */
static int
plan_prev(const struct raft *r, const struct raft_message *m, struct plan *pl)
{
	uint64_t term = trail_term(&r->trail, m->prev_index);

	if (m->prev_index > r->trail.last) {
		pl->refused = true;
		pl->hint_index = r->trail.last;
	} else if (m->prev_index >= r->trail.base && term != m->prev_term) {
		if (m->prev_index <= settled(r, m))
			return -EINVAL;
		pl->refused = true;
		pl->hint_term = term;
		pl->hint_index = max_u64(trail_run_first(&r->trail, m->prev_index), r->commit + 1);
	}
	return 0;
}

/* The configuration in force in front of an entry. */
static const struct raft_servers *
config_before(const struct raft *r, uint64_t index)
{
	for (size_t i = r->nconfigs; i-- > 0;)
		if (r->configs[i].index < index)
			return &r->configs[i];
	return NULL;
}

static int
plan_append(struct raft *r, const struct raft_event *ev, struct plan *pl)
{
	const struct raft_message *m = ev->message;
	int rc;

	*pl = (struct plan){ .from = m->last + 1 };
	rc = plan_prev(r, m, pl);
	if (rc < 0 || pl->refused || ev->nruns == 0)
		return rc;
	pl->from = first_new(&r->trail, ev);
	if (pl->from > m->last)
		return 0;
	if (pl->from <= r->trail.last)
		pl->cut = pl->from;
	if (pl->cut != 0 && pl->cut <= settled(r, m))
		return -EINVAL;
	/* The older of two configurations is committed: member.c. */
	if (pl->cut != 0 && r->nconfigs == RAFT_CONFIGS_KEPT && r->configs[0].index >= pl->cut)
		return -EINVAL;
	for (size_t i = 0; i < ev->nconfigs; i++)
		if (ev->configs[i].index >= pl->from)
			return member_follows(config_before(r, pl->from), &ev->configs[i]) < 0 ? -EINVAL :
			    trail_reserve(&r->trail, ev->nruns);
	return trail_reserve(&r->trail, ev->nruns);
}

/* Cut off only what contradicts: a message that was overtaken must not cost us what came behind it. */
static void
cut(struct raft *r, uint64_t from, struct raft_effects *fx)
{
	if (from == 0)
		return;
	trail_truncate(&r->trail, from);
	r->persisted = min_u64(r->persisted, from - 1);
	r->epoch++;
	member_cut(r, from, fx);
	fx->truncate_from = from;
}

static void
keep(struct raft *r, const struct raft_event *ev, uint64_t from, struct raft_effects *fx)
{
	uint64_t last = ev->message->last;

	if (from > last)
		return;
	for (size_t i = 0; i < ev->nruns; i++) {
		uint64_t end = i + 1 < ev->nruns ? ev->runs[i + 1].first - 1 : last;

		if (end >= from)
			trail_extend(&r->trail, end, ev->runs[i].term);
	}
	for (size_t i = 0; i < ev->nconfigs; i++)
		if (ev->configs[i].index >= from)
			member_push(r, &ev->configs[i], ev->configs[i].index, fx);
	fx->append_first = from;
	fx->append_n = last - from + 1;
}

static void
take(struct raft *r, const struct raft_event *ev, const struct plan *pl, struct raft_effects *fx)
{
	const struct raft_message *m = ev->message;
	uint64_t upto = ev->nruns > 0 ? m->last : m->prev_index;

	cut(r, pl->cut, fx);
	keep(r, ev, pl->from, fx);
	r->refusal.due = false;
	r->verified = max_u64(r->verified, upto);
	r->commit = max_u64(r->commit, min_u64(m->commit, r->verified));
	/* Entries that are new are acknowledged when they are on disk. */
	if (ev->nruns > 0 ? upto <= r->persisted : m->round != 0)
		r->ack_now = true;
}

int
follow_append(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	const struct raft_message *m = ev->message;
	struct plan pl = { .from = m->last + 1 };
	int rc = follow_check(r, m);

	/* While a snapshot replaces the log and the state, both are left alone. */
	if (rc == 0 && !r->installing)
		rc = plan_append(r, ev, &pl);
	if (rc < 0)
		return rc;
	follow_heard(r, m, fx);
	r->ack_round = max_u64(r->ack_round, m->round);
	r->ack_sent_ms = max_u64(r->ack_sent_ms, m->sent_ms);
	if (r->installing) {
		r->ack_now = true;
	} else if (pl.refused) {
		r->refusal.due = true;
		r->refusal.prev = m->prev_index;
		r->refusal.index = pl.hint_index;
		r->refusal.term = pl.hint_term;
	} else {
		take(r, ev, &pl, fx);
	}
	return 0;
}

void
follow_refuse(struct raft *r, const struct raft_message *m)
{
	/* A term is told when it is on disk: the old leader asks again. */
	if (r->state_durable)
		message_to(r, m->type == RAFT_MSG_APPEND ? RAFT_MSG_APPEND_REPLY : RAFT_MSG_SNAPSHOT_REPLY, m->from)->match = m->prev_index;
}

/* Every reply is a promise. It repeats when the append was sent, so that it may be as late as it likes. */
void
follow_settle(struct raft *r)
{
	uint64_t match = min_u64(r->verified, r->persisted);
	struct raft_message *m;

	if (r->role != RAFT_FOLLOWER || r->leader == 0 || !r->state_durable)
		return;
	if (!r->refusal.due && !r->ack_now && match <= r->acked_match)
		return;
	m = message_to(r, RAFT_MSG_APPEND_REPLY, r->leader);
	m->round = r->ack_round;
	m->sent_ms = r->ack_sent_ms;
	m->ok = !r->refusal.due;
	if (m->ok) {
		m->match = r->acked_match = match;
		m->hint_index = r->verified;
		r->ack_now = false;
	} else {
		m->match = r->refusal.prev;
		m->hint_index = r->refusal.index;
		m->hint_term = r->refusal.term;
		r->refusal.due = false;
	}
	r->promised_ms = max_u64(r->promised_ms, r->now_ms + r->config.lease_ms + 1);
}
