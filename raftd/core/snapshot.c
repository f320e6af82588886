/* snapshot.c - the state in chunks to a server that the log does not reach any more (thesis, chapter 5). */
#include "raftd/core/internal.h"

/* In election timeouts: an installation is asked about; a file that nobody has asked for is given up. */
enum { SNAPSHOT_INSTALL = 4, SNAPSHOT_KEPT = 30 };

/* ---- the leader's half */

int
snapshot_ready(struct raft *r, const struct raft_snapshot *s)
{
	if (s->id == 0 || s->size == 0 || s->size >= RAFT_NUMBER_MAX || s->index == 0 || s->index > r->applied || s->term == 0)
		return -EINVAL;
	/* One that nobody waits for any more is given back by snapshot_settle(). */
	r->outgoing = *s;
	r->outgoing_bad = false;
	r->snapshot_asked = false;
	return 0;
}

void
snapshot_failed(struct raft *r)
{
	r->snapshot_asked = false;
	r->snapshot_at = r->now_ms + r->config.election_ms;
}

static bool
alive(const struct raft *r, const struct raft_progress *p, uint64_t elections)
{
	return r->now_ms < p->heard_ms + elections * r->config.election_ms;
}

void
snapshot_send(struct raft *r, struct raft_progress *p, struct raft_effects *fx)
{
	struct raft_message *m;

	if (!alive(r, p, 1) || r->outgoing_bad || (p->waiting && r->now_ms < p->retry_ms))
		return;
	if (r->outgoing.id == 0) {
		if (!r->snapshot_asked && r->now_ms >= r->snapshot_at)
			r->snapshot_asked = fx->snapshot_wanted = true;
		return;
	}
	if (p->snapshot_id != r->outgoing.id || p->snapshot_offset == r->outgoing.size) {
		/* Another file; or no word of the last one: the answer to its first chunk will tell. */
		p->snapshot_id = r->outgoing.id;
		p->snapshot_offset = 0;
	}
	m = message_to(r, RAFT_MSG_SNAPSHOT, p->id);
	m->snapshot = r->outgoing;
	m->offset = p->snapshot_offset;
	p->waiting = true;
	p->retry_ms = r->now_ms + r->config.election_ms;
}

void
snapshot_reply(struct raft *r, const struct raft_message *m)
{
	struct raft_progress *p = peers_find(&r->peers, m->from);

	if (r->role != RAFT_LEADER || m->term != r->term || p == NULL)
		return;
	p->heard_ms = r->now_ms;
	if (p->flow != RAFT_SNAPSHOT || r->outgoing.id == 0 || m->snapshot.id != r->outgoing.id || m->offset > r->outgoing.size)
		return;
	/* It had all of it, and begins anew: the file was damaged on its way, or is. Another one is made. */
	if (m->offset == 0 && p->snapshot_id == m->snapshot.id && p->snapshot_offset == r->outgoing.size)
		r->outgoing_bad = true;
	p->snapshot_id = m->snapshot.id;
	p->snapshot_offset = m->offset;
	/* Complete: an append reply that matches the snapshot will end it. */
	p->waiting = m->offset == r->outgoing.size;
	p->retry_ms = r->now_ms + SNAPSHOT_INSTALL * r->config.election_ms;
}

static bool
outgoing_needed(const struct raft *r)
{
	if (r->role != RAFT_LEADER || r->outgoing_bad || r->outgoing.index < r->trail.base)
		return false;
	for (size_t i = 0; i < r->peers.n; i++)
		if (r->peers.v[i].flow == RAFT_SNAPSHOT && alive(r, &r->peers.v[i], SNAPSHOT_KEPT))
			return true;
	return false;
}

uint64_t
raft_keep(const struct raft *r)
{
	uint64_t keep = UINT64_MAX;

	for (size_t i = 0; r->role == RAFT_LEADER && i < r->peers.n; i++) {
		const struct raft_progress *p = &r->peers.v[i];

		if (p->id == r->config.id || !alive(r, p, 1) || p->flow == RAFT_PROBE)
			continue;
		if (p->flow == RAFT_PIPELINE)
			keep = min_u64(keep, p->match);
		else if (r->outgoing.id != 0)
			keep = min_u64(keep, r->outgoing.index);
		else if (r->snapshot_asked)
			keep = min_u64(keep, r->trail.base);
	}
	return keep;
}

/* ---- the follower's half */

/* Our log or our state has what the snapshot has: nothing of it is wanted, and what we acknowledged behind it stays. */
static bool
have(const struct raft *r, const struct raft_snapshot *s)
{
	return s->index <= r->commit || (s->index <= r->trail.last && trail_term(&r->trail, s->index) == s->term);
}

static void
skip(struct raft *r, const struct raft_snapshot *s)
{
	r->verified = max_u64(r->verified, s->index);
	r->commit = max_u64(r->commit, s->index);
	r->ack_now = true;
	if (r->incoming.id == 0 || !have(r, &r->incoming))
		return;
	r->incoming = (struct raft_snapshot){ 0 };
	r->storing = false;
}

static bool
same(const struct raft_snapshot *a, const struct raft_snapshot *b)
{
	return a->id == b->id && a->index == b->index && a->term == b->term && a->size == b->size;
}

int
snapshot_chunk(struct raft *r, const struct raft_message *m, struct raft_effects *fx)
{
	int rc = follow_check(r, m);

	if (rc < 0)
		return rc;
	if (r->incoming.id == m->snapshot.id && !same(&r->incoming, &m->snapshot))
		return -EINVAL;
	follow_heard(r, m, fx);
	if (r->installing) {
		r->snapshot_ack = r->incoming.id == m->snapshot.id;
		return 0;
	}
	if (have(r, &m->snapshot)) {
		skip(r, &m->snapshot);
		return 0;
	}
	if (r->incoming.id != m->snapshot.id) {
		r->incoming = m->snapshot;
		r->incoming_offset = 0;
		r->storing = false;
	}
	if (r->storing)
		return 0;
	if (m->offset == r->incoming_offset && m->bytes > 0)
		r->storing = fx->chunk = true;
	else
		r->snapshot_ack = true;
	return 0;
}

int
snapshot_stored(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	const struct raft_snapshot stored = r->incoming;

	if (r->incoming.id == 0 || ev->snapshot.id != r->incoming.id || !r->storing)
		return 0;
	if (ev->index > r->incoming.size)
		return -EINVAL;
	r->storing = false;
	r->incoming_offset = ev->index;
	r->snapshot_ack = true;
	if (ev->index < r->incoming.size)
		return 0;
	/* Entries may have come meanwhile. */
	if (have(r, &r->incoming))
		skip(r, &stored);
	else
		r->installing = fx->install = true;
	return 0;
}

int
snapshot_installed(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	const struct raft_snapshot *s = &r->incoming;

	if (!r->installing || ev->snapshot.id != s->id || ev->config == NULL || member_check(ev->config) < 0 ||
	    ev->config->index > s->index)
		return -EINVAL;
	trail_reset(&r->trail, s->index, s->term);
	r->epoch++;
	r->persisted = r->commit = r->applied = s->index;
	r->verified = max_u64(r->verified, s->index);
	r->installing = false;
	r->incoming = (struct raft_snapshot){ 0 };
	r->ack_now = true;
	member_reset(r, ev->config, fx);
	return 0;
}

int
snapshot_install_failed(struct raft *r, const struct raft_event *ev)
{
	if (!r->installing || ev->snapshot.id != r->incoming.id)
		return -EINVAL;
	r->installing = false;
	r->incoming_offset = 0;
	r->snapshot_ack = true;
	return 0;
}

void
snapshot_settle(struct raft *r, struct raft_effects *fx)
{
	struct raft_message *m;

	if (r->outgoing.id != 0 && !outgoing_needed(r)) {
		r->outgoing = (struct raft_snapshot){ 0 };
		r->snapshot_at = r->now_ms + (r->outgoing_bad ? r->config.election_ms : 0);
		r->outgoing_bad = false;
		fx->snapshot_unneeded = true;
	}
	if (!r->snapshot_ack || r->role != RAFT_FOLLOWER || r->leader == 0 || r->incoming.id == 0 || !r->state_durable)
		return;
	r->snapshot_ack = false;
	m = message_to(r, RAFT_MSG_SNAPSHOT_REPLY, r->leader);
	m->snapshot = r->incoming;
	m->offset = r->incoming_offset;
}
