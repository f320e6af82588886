/* message.c - messages: their names, how one begins, and what no honest server would send. */
#include "raftd/core/internal.h"

const char *
raft_message_name(enum raft_message_type type)
{
	static const char *const names[RAFT_MSG_TYPES] = { "?", "prevote", "prevote-reply", "vote", "vote-reply", "append",
		"append-reply", "snapshot", "snapshot-reply", "handover", "read", "read-reply" };

	return type > 0 && type < RAFT_MSG_TYPES ? names[type] : names[0];
}

/* 2 a peer, 1 a read and a few fit: if ever more come up, the last ones are lost, as messages may be. */
struct raft_message *
message_to(struct raft *r, enum raft_message_type type, uint64_t to)
{
	struct raft_message *m = &r->out[r->nout];

	if (r->nout < RAFT_MESSAGES_MAX)
		r->nout++;
	*m = (struct raft_message){ .type = type, .from = r->config.id, .to = to, .term = r->term };
	return m;
}

static bool
numbers_ok(const struct raft_message *m)
{
	const uint64_t v[] = { m->term, m->prev_index, m->prev_term, m->first, m->last, m->commit, m->round, m->sent_ms,
		m->match, m->hint_index, m->hint_term, m->snapshot.index, m->snapshot.term, m->snapshot.size, m->offset,
		m->bytes, m->read, m->read_index };

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		if (v[i] >= RAFT_NUMBER_MAX)
			return false;
	return m->term > 0 && (m->prev_index == 0) == (m->prev_term == 0);
}

/* The runs cover first..last, and terms rise from that of the entry in front to that of the leader. */
static bool
runs_ok(const struct raft_event *ev)
{
	const struct raft_message *m = ev->message;
	uint64_t term = m->prev_term, index = m->first;

	if (ev->nruns == 0 || ev->nruns > RAFT_RUNS_MAX || ev->runs[0].first != m->first || ev->runs[0].term < term)
		return false;
	for (size_t i = 0; i < ev->nruns; i++) {
		if (ev->runs[i].term == 0 || ev->runs[i].term > m->term || ev->runs[i].first > m->last)
			return false;
		if (i > 0 && (ev->runs[i].first <= index || ev->runs[i].term <= term))
			return false;
		index = ev->runs[i].first;
		term = ev->runs[i].term;
	}
	return true;
}

static bool
configs_ok(const struct raft_event *ev)
{
	const struct raft_message *m = ev->message;
	const struct raft_servers *before = NULL;

	for (size_t i = 0; i < ev->nconfigs; i++) {
		const struct raft_servers *s = &ev->configs[i];

		if (s->index < m->first || s->index > m->last || (before != NULL && s->index <= before->index))
			return false;
		if (member_check(s) < 0 || member_follows(before, s) < 0)
			return false;
		before = s;
	}
	return true;
}

static bool
append_ok(const struct raft_event *ev)
{
	const struct raft_message *m = ev->message;

	if (m->prev_term > m->term)
		return false;
	if (m->last < m->first || m->first == 0)
		return ev->nruns == 0 && ev->nconfigs == 0;
	return m->first == m->prev_index + 1 && runs_ok(ev) && configs_ok(ev);
}

static bool
snapshot_ok(const struct raft_message *m)
{
	const struct raft_snapshot *s = &m->snapshot;

	return s->id != 0 && s->index != 0 && s->term != 0 && s->term <= m->term && s->size != 0 && m->offset <= s->size &&
	    m->bytes <= s->size - m->offset;
}

static bool
append_reply_ok(const struct raft *r, const struct raft_message *m)
{
	/* One of an older term is not looked at, one of a newer term only for the term. */
	if (m->term != r->term || r->role != RAFT_LEADER)
		return true;
	if (m->round > r->round || m->sent_ms > r->now_ms)
		return false;
	if (m->ok)
		return m->match <= m->hint_index && m->hint_index <= r->trail.last;
	return m->hint_index <= m->match && (m->hint_term == 0 || m->hint_index > 0);
}

int
message_check(const struct raft *r, const struct raft_event *ev)
{
	const struct raft_message *m = ev->message;
	bool ok = true;

	if (m == NULL || m->from == 0 || m->from == r->config.id || m->to != r->config.id || !numbers_ok(m))
		return -EINVAL;
	if (m->type == RAFT_MSG_APPEND)
		ok = append_ok(ev);
	else if (m->type == RAFT_MSG_SNAPSHOT)
		ok = snapshot_ok(m);
	else if (m->type == RAFT_MSG_PREVOTE || m->type == RAFT_MSG_VOTE)
		ok = m->prev_term < m->term || m->prev_index == 0;
	else if (m->type == RAFT_MSG_APPEND_REPLY)
		ok = append_reply_ok(r, m);
	else if (m->type == RAFT_MSG_READ_REPLY)
		ok = m->read_index > 0;
	else
		ok = m->type > 0 && m->type < RAFT_MSG_TYPES;
	return ok ? 0 : -EINVAL;
}
