/* member.c - what joins, deaths and intents make of a member's status (5.2). */
#include "gossipd/serf/internal.h"

/* An intent that came before the member did. */
static void
apply_intent(struct serf *s, struct member *m)
{
	const struct intent *it = serf_intents_find(s, swim_node_name(m->node));

	if (it == NULL)
		return;
	m->status_ltime = it->ltime;
	if (it->type == SERF_LEAVE)
		serf_roster_set_status(&s->roster, m, SERF_LEAVING);
}

void
serf_member_joined(struct serf *s, struct swim_node *n)
{
	struct member *m = serf_roster_of(&s->roster, n);

	if (m == NULL)
		m = serf_roster_revive(s, n);
	if (m != NULL) {
		serf_roster_set_status(&s->roster, m, SERF_ALIVE);
		m->gone_at = 0;
		serf_changed(s, SERF_CHANGE_JOIN, m);
		return;
	}
	m = serf_roster_add(&s->roster, n);
	if (m == NULL) {
		/* Looked for again when it is time to reap. */
		s->missed = true;
		s->stats.dropped++;
		return;
	}
	apply_intent(s, m);
	serf_changed(s, SERF_CHANGE_JOIN, m);
}

void
serf_member_gone(struct serf *s, struct swim_node *n)
{
	struct member *m = serf_roster_of(&s->roster, n);

	if (m == NULL || (m->status != SERF_LEAVING && m->status != SERF_ALIVE))
		return;
	m->gone_at = serf_now(s);
	if (m->status == SERF_LEAVING) {
		serf_roster_set_status(&s->roster, m, SERF_LEFT);
		serf_changed(s, SERF_CHANGE_LEAVE, m);
	} else {
		serf_roster_set_status(&s->roster, m, SERF_FAILED);
		serf_changed(s, SERF_CHANGE_FAILED, m);
	}
}

void
serf_member_updated(struct serf *s, struct swim_node *n)
{
	struct member *m = serf_roster_of(&s->roster, n);

	if (m != NULL)
		serf_changed(s, SERF_CHANGE_UPDATE, m);
}

void
serf_member_forgotten(struct serf *s, struct swim_node *n)
{
	struct member *m = serf_roster_of(&s->roster, n);

	if (m == NULL)
		return;
	/* Strangers that come and go must not fill us for the days until they are reaped. */
	if (s->roster.nkept < s->kept_max && serf_roster_keep(s, m) == 0)
		return;
	s->stats.dropped++;
	serf_reap_erase(s, m);
}

bool
serf_member_others_alive(const struct serf *s)
{
	size_t n = s->roster.counts[SERF_ALIVE];
	struct member *self = serf_roster_of(&s->roster, swim_self(s->swim));

	return n > (self != NULL && self->status == SERF_ALIVE ? 1 : 0);
}

/* Say that we are here, above every intent that we have heard of. */
void
serf_member_broadcast_join(struct serf *s)
{
	struct msg_join m = { .ltime = s->clock, .node = serf_own_name(s) };

	(void)serf_member_join_intent(s, &m);
	if (serf_gossip_new(s->intent_queue, SERF_JOIN, &rec_msg_join, &m, NULL) < 0)
		s->stats.dropped++;
}

static bool
leave_known(struct serf *s, struct member *m, const struct msg_leave *msg)
{
	if (msg->ltime <= m->status_ltime)
		return false;
	if (serf_is_self(s, m) && s->state == SERF_ALIVE) {
		serf_member_broadcast_join(s);
		return false;
	}
	m->status_ltime = msg->ltime;
	if (m->status == SERF_ALIVE) {
		serf_roster_set_status(&s->roster, m, SERF_LEAVING);
		serf_changed(s, SERF_CHANGE_LEAVING, m);
	} else if (m->status == SERF_FAILED) {
		serf_roster_set_status(&s->roster, m, SERF_LEFT);
		serf_changed(s, SERF_CHANGE_LEAVE, m);
	}
	/* We are a member of our own until the end, also when we leave. */
	if (msg->prune && m->status == SERF_LEAVING && !serf_is_self(s, m))
		serf_reap_prune_later(s, m);
	else if (msg->prune && !serf_is_self(s, m))
		serf_reap_erase(s, m);
	return true;
}

bool
serf_member_leave_intent(struct serf *s, const struct msg_leave *msg)
{
	struct member *m;

	if (!clock_hear(&s->clock, msg->ltime)) {
		s->stats.refused++;
		return false;
	}
	m = serf_roster_find(s, msg->node);
	if (m == NULL)
		return serf_intents_remember(s, msg->node, SERF_LEAVE, msg->ltime);
	return leave_known(s, m, msg);
}

bool
serf_member_join_intent(struct serf *s, const struct msg_join *msg)
{
	struct member *m;

	if (!clock_hear(&s->clock, msg->ltime)) {
		s->stats.refused++;
		return false;
	}
	m = serf_roster_find(s, msg->node);
	if (m == NULL)
		return serf_intents_remember(s, msg->node, SERF_JOIN, msg->ltime);
	if (msg->ltime <= m->status_ltime)
		return false;
	m->status_ltime = msg->ltime;
	if (m->status == SERF_LEAVING) {
		serf_roster_set_status(&s->roster, m, SERF_ALIVE);
		serf_changed(s, SERF_CHANGE_UPDATE, m);
	}
	return true;
}

/* ---- what the header offers of members */

static void
show(const struct member *m, struct serf_member *ret)
{
	*ret = (struct serf_member){ m->node, m->status, m->status_ltime, m->gone_at };
}

size_t
serf_count(const struct serf *s, enum serf_status status)
{
	return status == SERF_NONE ? s->roster.n : s->roster.counts[status];
}

bool
serf_each(struct serf *s, size_t *at, struct serf_member *ret)
{
	if (*at >= s->roster.n)
		return false;
	show(&s->roster.v[(*at)++], ret);
	return true;
}

bool
serf_find(struct serf *s, struct str name, struct serf_member *ret)
{
	struct member *m = serf_roster_find(s, name);

	if (m == NULL)
		return false;
	show(m, ret);
	return true;
}

/* The shell may answer by asking about members: it is given a copy. */
void
serf_changed(struct serf *s, enum serf_change what, const struct member *m)
{
	struct serf_member shown;

	show(m, &shown);
	serf_snapshot_changed(s, what, m);
	if (s->hooks.changed != NULL)
		s->hooks.changed(s->hooks.ctx, what, &shown);
}

int
serf_force_leave(struct serf *s, uint64_t now, struct str name, bool prune)
{
	struct msg_leave m = { .node = name, .prune = prune };
	char copy[WIRE_NAME_MAX];

	serf_set_now(s, now);
	if (!name_ok(name) || serf_roster_find(s, name) == NULL)
		return -ENOENT;
	if (str_eq(name, serf_own_name(s)))
		return -EINVAL;
	/* The caller's name may be the very one that is erased. */
	memcpy(copy, name.p, name.len);
	m.node.p = copy;
	m.ltime = clock_stamp(&s->clock);
	(void)serf_member_leave_intent(s, &m);
	if (!serf_member_others_alive(s))
		return 0;
	return serf_gossip_new(s->intent_queue, SERF_LEAVE, &rec_msg_leave, &m, NULL);
}
