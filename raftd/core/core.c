/* core.c - the state machine's start, and one event to the file that knows it. */
#include "raftd/core/core.h"

#include "raftd/core/internal.h"

const char *
raft_role_name(enum raft_role role)
{
	static const char *const names[] = { "Follower", "Candidate", "Leader" };

	return names[role];
}

static int
set_trail(struct raft_trail *t, const struct raft_start *s)
{
	int rc;

	if (s->nruns > RAFT_RUNS_MAX)
		return -ELIMIT;
	if (s->last > 0 && (s->nruns == 0 || s->runs[0].first > (s->base > 0 ? s->base : 1)))
		return -EINVAL;
	for (size_t i = 0; i < s->nruns; i++)
		if (s->runs[i].term == 0 || s->runs[i].first > s->last ||
		    (i > 0 && (s->runs[i].first <= s->runs[i - 1].first || s->runs[i].term <= s->runs[i - 1].term)))
			return -EINVAL;
	/* One more, for a snapshot that comes to an empty log. */
	rc = trail_reserve(t, s->nruns < RAFT_RUNS_MAX ? s->nruns + 1 : s->nruns);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < s->nruns; i++)
		t->runs[t->n++] = s->runs[i];
	t->last = s->last;
	trail_compact(t, s->base);
	return 0;
}

static int
set_configs(struct raft *r, const struct raft_start *s)
{
	struct raft_effects unused = { 0 };

	for (size_t i = 0; i < s->nconfigs; i++) {
		const struct raft_servers *c = &s->configs[i];

		if (member_check(c) < 0 || c->index > s->last || (i > 0 && c->index <= s->configs[i - 1].index))
			return -EINVAL;
		member_push(r, c, c->index, &unused);
	}
	return 0;
}

/* Nobody but us could have been promised anything, or rely on it. */
static bool
always_alone(const struct raft *r)
{
	for (size_t i = 0; i < r->nconfigs; i++)
		for (size_t j = 0; j < r->configs[i].n; j++)
			if (r->configs[i].v[j].voter && r->configs[i].v[j].id != r->config.id)
				return false;
	return r->nconfigs > 0;
}

int
raft_init(struct raft *r, const struct raft_config *c, const struct raft_start *s, uint64_t now_ms)
{
	int rc;

	*r = (struct raft){ .config = *c, .now_ms = now_ms, .wake_ms = RAFT_NEVER, .term = s->term, .vote = s->vote,
		.state_durable = true, .persisted = s->last, .commit = s->applied, .applied = s->applied, .random = c->seed,
		.election_at = RAFT_NEVER, .stall_ms = RAFT_NEVER };
	if (c->id == 0 || c->election_ms == 0 || c->heartbeat_ms == 0 || c->lease_ms >= c->election_ms)
		return -EINVAL;
	if (s->base > s->applied || s->applied > s->last || s->last >= RAFT_NUMBER_MAX || s->term >= RAFT_NUMBER_MAX)
		return -EINVAL;
	rc = set_trail(&r->trail, s);
	if (rc == 0)
		rc = set_configs(r, s);
	if (rc < 0)
		return rc;
	if (trail_term(&r->trail, s->last) > s->term)
		return -EINVAL;
	/* Reads of this life are not numbered like those of an earlier one, to which answers may still be on their way. */
	r->read_seq = election_random(r, RAFT_NUMBER_MAX / 2);
	/* What we promised in an earlier life is not known; without a term there was none. */
	if (s->term > 0 && !always_alone(r))
		r->promised_ms = now_ms + c->lease_ms + 1;
	follow_reset(r);
	election_plan(r);
	r->wake_ms = r->election_at;
	return 0;
}

void
raft_release(struct raft *r)
{
	trail_release(&r->trail);
}

static int
on_bootstrap(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	int rc;

	if (r->trail.last != 0 || r->nconfigs != 0 || ev->config == NULL || r->incoming.id != 0)
		return -EINVAL;
	rc = member_check(ev->config);
	if (rc == 0)
		rc = trail_append(&r->trail, 1);
	if (rc < 0)
		return rc;
	if (r->term == 0)
		election_term(r, 1, 0, fx);
	member_push(r, ev->config, 1, fx);
	fx->append_first = fx->append_n = 1;
	/* There cannot be a leader to wait for. */
	if (r->election_at != RAFT_NEVER)
		r->election_at = max_u64(r->now_ms, r->promised_ms);
	return 0;
}

static int
on_applied(struct raft *r, const struct raft_event *ev)
{
	if (ev->index > min_u64(r->commit, r->persisted))
		return -EINVAL;
	r->applied = max_u64(r->applied, ev->index);
	return 0;
}

static int
on_compacted(struct raft *r, const struct raft_event *ev)
{
	if (ev->index > r->applied)
		return -EINVAL;
	trail_compact(&r->trail, ev->index);
	return 0;
}

static bool
is_reply(const struct raft_message *m)
{
	switch (m->type) {
	case RAFT_MSG_PREVOTE_REPLY:
		/* Granted, its term is the one that we would begin. */
		return !m->ok;
	case RAFT_MSG_VOTE_REPLY:
	case RAFT_MSG_APPEND_REPLY:
	case RAFT_MSG_SNAPSHOT_REPLY:
	case RAFT_MSG_READ_REPLY:
		return true;
	default:
		return false;
	}
}

static int
on_message(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	const struct raft_message *m = ev->message;
	int rc = message_check(r, ev);

	if (rc < 0)
		return rc;
	if (is_reply(m) && m->term > r->term)
		election_follow(r, m->term, fx);
	switch (m->type) {
	case RAFT_MSG_PREVOTE:
		vote_asked_before(r, m);
		return 0;
	case RAFT_MSG_PREVOTE_REPLY:
		election_prevote_reply(r, m, fx);
		return 0;
	case RAFT_MSG_VOTE:
		vote_asked(r, m, fx);
		return 0;
	case RAFT_MSG_VOTE_REPLY:
		election_vote_reply(r, m, fx);
		return 0;
	case RAFT_MSG_APPEND:
		if (m->term >= r->term)
			return follow_append(r, ev, fx);
		follow_refuse(r, m);
		return 0;
	case RAFT_MSG_APPEND_REPLY:
		replicate_reply(r, m);
		return 0;
	case RAFT_MSG_SNAPSHOT:
		if (m->term >= r->term)
			return snapshot_chunk(r, m, fx);
		follow_refuse(r, m);
		return 0;
	case RAFT_MSG_SNAPSHOT_REPLY:
		snapshot_reply(r, m);
		return 0;
	case RAFT_MSG_HANDOVER:
		election_handover(r, m, fx);
		return 0;
	case RAFT_MSG_READ:
		read_asked(r, m);
		return 0;
	case RAFT_MSG_READ_REPLY:
		read_answered(r, m);
		return 0;
	case RAFT_MSG_TYPES:
		break;
	}
	return -EINVAL;
}

static int
dispatch(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	switch (ev->type) {
	case RAFT_TIMER:
		election_timer(r, fx);
		return 0;
	case RAFT_BOOTSTRAP:
		return on_bootstrap(r, ev, fx);
	case RAFT_PROPOSE:
		return replicate_propose(r, ev, fx);
	case RAFT_PERSISTED:
		disk_persisted(r, ev, fx);
		return 0;
	case RAFT_APPLIED:
		return on_applied(r, ev);
	case RAFT_READ:
		read_begin(r, ev->consistent, fx);
		return 0;
	case RAFT_COMPACTED:
		return on_compacted(r, ev);
	case RAFT_MESSAGE:
		return on_message(r, ev, fx);
	case RAFT_SENT:
		return replicate_sent(r, ev);
	case RAFT_PEER_UP:
	case RAFT_PEER_DOWN:
		replicate_peer(r, ev->peer, ev->type == RAFT_PEER_UP);
		return 0;
	case RAFT_LEADER_LOST:
		election_leader_lost(r, ev->peer);
		return 0;
	case RAFT_TRANSFER:
		return transfer_begin(r, ev->peer);
	case RAFT_SNAPSHOT_READY:
		return snapshot_ready(r, &ev->snapshot);
	case RAFT_SNAPSHOT_FAILED:
		snapshot_failed(r);
		return 0;
	case RAFT_CHUNK:
		return snapshot_stored(r, ev, fx);
	case RAFT_INSTALLED:
		return snapshot_installed(r, ev, fx);
	case RAFT_INSTALL_FAILED:
		return snapshot_install_failed(r, ev);
	}
	return -EINVAL;
}

static void
settle(struct raft *r, struct raft_effects *fx)
{
	disk_settle(r);
	replicate_settle(r, fx);
	follow_settle(r);
	vote_settle(r);
	snapshot_settle(r, fx);
	read_settle(r, fx);
}

static uint64_t
wake_at(const struct raft *r)
{
	return min_u64(r->role == RAFT_LEADER ? replicate_wake(r) : r->election_at, read_wake(r));
}

/* Seldom is an accident; often is how things are, and no excuse. */
static void
note_late(struct raft *r)
{
	if (r->wake_ms == RAFT_NEVER || r->now_ms <= r->wake_ms + r->config.heartbeat_ms)
		return;
	if (r->late_ms == 0 || r->now_ms >= r->late_ms + 2 * (uint64_t)r->config.election_ms)
		r->late_ms = r->now_ms;
}

int
raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *ret)
{
	enum raft_role role = r->role;
	uint64_t leader = r->leader;
	int rc;

	*ret = (struct raft_effects){ 0 };
	r->nout = 0;
	r->now_ms = max_u64(r->now_ms, ev->now_ms);
	note_late(r);
	rc = dispatch(r, ev, ret);
	if (rc == 0)
		settle(r, ret);
	ret->role_changed = r->role != role;
	ret->leader_changed = r->leader != leader;
	ret->commit = min_u64(r->commit, r->persisted);
	ret->messages = r->out;
	ret->nmessages = r->nout;
	ret->wake_ms = r->wake_ms = wake_at(r);
	return rc;
}
