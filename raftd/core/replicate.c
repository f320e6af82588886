/* replicate.c - the leader: entries to everybody, commitment, heartbeats, and when it is no leader any more (thesis, 3.5, 3.6, 6.2). */
#include "raftd/core/internal.h"

int
replicate_propose(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	uint64_t first = r->trail.last + 1;
	int rc;

	if (r->role != RAFT_LEADER || r->transfer_to != 0)
		return -RAFT_ENOTLEADER;
	if (ev->count == 0 || (ev->config != NULL && ev->count != 1))
		return -EINVAL;
	if (ev->count >= RAFT_NUMBER_MAX - first)
		return -ELIMIT;
	if (ev->config != NULL) {
		rc = member_propose(r, ev->config);
		if (rc < 0)
			return rc;
	}
	/* The no-op entry has begun our run: no memory is needed. */
	trail_extend(&r->trail, r->trail.last + ev->count, r->term);
	if (ev->config != NULL)
		member_push(r, ev->config, first, fx);
	fx->append_first = first;
	fx->append_n = ev->count;
	return 0;
}

/* Elected. The no-op entry commits what earlier terms left (thesis, 3.6.2); election.c has seen to its room. */
void
replicate_start(struct raft *r, struct raft_effects *fx)
{
	for (size_t i = 0; i < r->peers.n; i++)
		progress_new(r, &r->peers.v[i]);
	trail_extend(&r->trail, r->trail.last + 1, r->term);
	r->role = RAFT_LEADER;
	r->leader = r->config.id;
	r->term_start = r->trail.last;
	r->election_at = RAFT_NEVER;
	r->hint_until = 0;
	r->round = 0;
	r->heartbeat_at = r->now_ms;
	r->lease_waived = false;
	r->incoming = (struct raft_snapshot){ 0 };
	r->storing = false;
	r->snapshot_at = r->now_ms;
	fx->append_first = r->term_start;
	fx->append_n = 1;
	fx->noop = true;
	read_as_leader(r);
}

/* ---- what a follower says */

/* It has everything up to m->match on disk, and up to m->hint_index in hand. */
static void
accepted(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
	uint64_t arrived;

	progress_matched(p, m->match);
	arrived = max_u64(p->match, m->hint_index);
	if (p->flow == RAFT_PROBE || (p->flow == RAFT_SNAPSHOT && arrived >= r->trail.base)) {
		progress_pipeline(p, arrived + 1);
	} else if (p->flow == RAFT_PIPELINE && p->check_index != 0 && m->sent_ms >= p->check_ms) {
		if (arrived < p->check_index)
			progress_probe(p, arrived + 1);
		p->check_index = 0;
	}
}

/*
 * Its log has something else, or nothing, at the entry m->match (thesis, 5.3).
 * It names the whole run that stands there: either the run's term is one of
 * ours, then the logs agree where ours ends, or they agree at best in front of it.
 */
static void
refused(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
	uint64_t next = m->hint_index + 1, at = m->match, ours;

	/* Old news: that far it is known to agree, or it was asked elsewhere since. */
	if (p->flow == RAFT_SNAPSHOT || at <= p->match || (p->flow == RAFT_PROBE && at != p->next - 1))
		return;
	if (m->hint_term != 0) {
		ours = trail_last_of(&r->trail, m->hint_term);
		next = ours >= m->hint_index && ours < at ? ours + 1 : m->hint_index;
	}
	progress_probe(p, max_u64(min_u64(next, at), p->match + 1));
}

void
replicate_reply(struct raft *r, const struct raft_message *m)
{
	struct raft_progress *p = peers_find(&r->peers, m->from);

	if (r->role != RAFT_LEADER || m->term != r->term || p == NULL)
		return;
	p->heard_ms = r->now_ms;
	p->round = max_u64(p->round, m->round);
	p->acked_ms = max_u64(p->acked_ms, m->sent_ms);
	if (m->ok)
		accepted(r, p, m);
	else
		refused(r, p, m);
}

/* ---- what became of messages */

int
replicate_sent(struct raft *r, const struct raft_event *ev)
{
	struct raft_progress *p = peers_find(&r->peers, ev->peer);

	if (r->role != RAFT_LEADER || p == NULL || !p->sending)
		return 0;
	if (ev->index > r->trail.last)
		return -EINVAL;
	p->sending = false;
	if (ev->index < ev->first) {
		p->waiting = true;
		p->retry_ms = r->now_ms + r->config.heartbeat_ms;
		p->commit_sent = 0;
	} else if (p->flow == RAFT_PIPELINE && p->next == ev->first) {
		progress_sent(p, ev->index, ev->bytes);
	}
	return 0;
}

void
replicate_peer(struct raft *r, uint64_t id, bool up)
{
	struct raft_progress *p = peers_find(&r->peers, id);

	if (up && id != 0 && id == r->leader)
		read_ask_again(r);
	if (r->role != RAFT_LEADER || p == NULL)
		return;
	if (up)
		p->waiting = false;
	else if (p->flow == RAFT_PIPELINE)
		progress_probe(p, p->match + 1);
}

/* ---- what is due */

static struct raft_message *
append_to(struct raft *r, struct raft_progress *p, uint64_t prev)
{
	struct raft_message *m = message_to(r, RAFT_MSG_APPEND, p->id);

	m->prev_index = prev;
	m->prev_term = trail_term(&r->trail, prev);
	m->first = prev + 1;
	m->last = prev;
	m->commit = r->commit;
	m->round = r->round;
	m->sent_ms = r->now_ms;
	p->commit_sent = r->commit;
	return m;
}

/*
 * One without entries. To a server that is probed it is the probe; to others
 * it refers to an entry that is known to agree, or to none, so that it is not
 * refused because others overtook it.
 */
static void
send_empty(struct raft *r, struct raft_progress *p)
{
	uint64_t prev = p->flow == RAFT_PROBE ? p->next - 1 : p->match;

	append_to(r, p, prev < r->trail.base ? 0 : prev);
	if (p->flow != RAFT_PROBE)
		return;
	p->waiting = true;
	p->retry_ms = r->now_ms + r->config.heartbeat_ms;
}

/* Entries on their way without word of them: what an answer to a later message says about them will tell. */
static void
plan_check(struct raft *r, struct raft_progress *p)
{
	if (p->flow != RAFT_PIPELINE || p->check_index != 0 || p->next - 1 == p->match)
		return;
	p->check_index = p->next - 1;
	p->check_ms = r->now_ms + r->config.heartbeat_ms / 2;
}

static void
send_round(struct raft *r, bool heartbeat)
{
	struct raft_progress *own = peers_find(&r->peers, r->config.id);

	r->round++;
	r->round_due = false;
	if (own != NULL)
		own->round = r->round;
	for (size_t i = 0; i < r->peers.n; i++) {
		struct raft_progress *p = &r->peers.v[i];

		if (p == own)
			continue;
		send_empty(r, p);
		if (heartbeat)
			plan_check(r, p);
	}
	if (heartbeat) {
		r->heartbeat_at = r->now_ms + r->config.heartbeat_ms;
		r->transfer_told = false;
	}
}

static void
send_entries(struct raft *r, struct raft_progress *p)
{
	append_to(r, p, p->next - 1)->last = r->trail.last;
	p->sending = true;
}

/* The followers' readers wait for it: a message of its own if no entries carry it soon. */
static void
send_commit(struct raft *r, struct raft_progress *p)
{
	struct raft_message *m;

	if (p->commit_sent >= r->commit || p->in_n > 0 || p->sending || p->match < r->trail.base)
		return;
	m = append_to(r, p, p->match);
	m->round = 0;
	m->sent_ms = 0;
}

static void
pump(struct raft *r, struct raft_progress *p, struct raft_effects *fx)
{
	bool held = p->waiting && r->now_ms < p->retry_ms;

	switch (p->flow) {
	case RAFT_PROBE:
		if (!held)
			send_empty(r, p);
		break;
	case RAFT_PIPELINE:
		if (!held && !p->sending && p->next <= r->trail.last && progress_room(r, p))
			send_entries(r, p);
		send_commit(r, p);
		break;
	case RAFT_SNAPSHOT:
		snapshot_send(r, p, fx);
		break;
	}
}

/* Commit what a majority has, but count only for entries of our own term (thesis, 3.6.2). */
static void
advance_commit(struct raft *r)
{
	struct raft_progress *own = peers_find(&r->peers, r->config.id);
	uint64_t index;

	if (own != NULL)
		own->match = r->persisted;
	index = peers_match(&r->peers);
	if (index > r->commit && trail_term(&r->trail, index) == r->term)
		r->commit = index;
}

/* Not before what piled up while we slept can have been read. */
static uint64_t
deadline(const struct raft *r, uint64_t since_ms)
{
	return max_u64(since_ms + r->config.election_ms, r->late_ms + r->config.heartbeat_ms);
}

/* Check-quorum, and a disk that hangs, which deposes nobody who is alone: RAFT_NEVER when neither can depose us. */
static uint64_t
deposed_at(const struct raft *r)
{
	uint64_t heard = peers_heard_ms(&r->peers, r->config.id, RAFT_NEVER), at = RAFT_NEVER;

	if (heard != RAFT_NEVER)
		at = deadline(r, heard);
	if (r->stall_ms != RAFT_NEVER && peers_voters(&r->peers) > 1)
		at = min_u64(at, deadline(r, r->stall_ms));
	return at;
}

/* A leader without a vote of its own leaves when the configuration that says so is committed (thesis, 4.2.2). */
static bool
step_down(struct raft *r, struct raft_effects *fx)
{
	const struct raft_servers *s = raft_servers(r);
	bool removed = s != NULL && s->index <= r->commit && !member_voter(r, r->config.id);

	if (!removed && r->now_ms < deposed_at(r))
		return false;
	if (removed)
		transfer_leaving(r);
	election_follow(r, r->term, fx);
	return true;
}

static bool
alone(const struct raft *r)
{
	return r->peers.n == 1 && r->peers.v[0].id == r->config.id;
}

void
replicate_settle(struct raft *r, struct raft_effects *fx)
{
	bool beat = !alone(r) && r->now_ms >= r->heartbeat_at;

	if (r->role != RAFT_LEADER)
		return;
	advance_commit(r);
	if (step_down(r, fx))
		return;
	for (size_t i = 0; i < r->peers.n; i++) {
		struct raft_progress *p = &r->peers.v[i];

		if (p->id != r->config.id && p->flow != RAFT_SNAPSHOT && p->next <= r->trail.base)
			progress_snapshot(p);
	}
	if (beat || r->round_due)
		send_round(r, beat);
	for (size_t i = 0; i < r->peers.n; i++)
		if (r->peers.v[i].id != r->config.id)
			pump(r, &r->peers.v[i], fx);
	transfer_settle(r);
}

uint64_t
replicate_wake(const struct raft *r)
{
	uint64_t at = deposed_at(r);

	if (!alone(r))
		at = min_u64(at, r->heartbeat_at);
	return r->transfer_to != 0 ? min_u64(at, r->transfer_until) : at;
}

const struct raft_progress *
raft_progress(const struct raft *r, uint64_t id)
{
	if (r->role != RAFT_LEADER)
		return NULL;
	for (size_t i = 0; i < r->peers.n; i++)
		if (r->peers.v[i].id == id)
			return &r->peers.v[i];
	return NULL;
}
