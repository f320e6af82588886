/* raft_core_help.h - one core under test, server 1 of a cluster; what it wants, as text. */
#ifndef T_UNIT_RAFT_CORE_HELP_H
#define T_UNIT_RAFT_CORE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "raftd/core/core.h"

enum { SELF = 1, ELECTION = 1000, HEARTBEAT = 100, LEASE = 100, INFLIGHT = 1000 };

static struct raft r;
static struct raft_effects fx;
static char out[16384];
static uint64_t now_ms, reads_from;

static inline void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	size_t len = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out + len, sizeof(out) - len, fmt, ap);
	va_end(ap);
}

static inline void
say_message(const struct raft_message *m)
{
	say("  %s to %" PRIu64 " term %" PRIu64 "%s%s%s", raft_message_name(m->type), m->to, m->term, m->ok ? " ok" : "",
	    m->transfer ? " transfer" : "", m->consistent ? " consistent" : "");
	if (m->type == RAFT_MSG_APPEND || m->prev_index > 0)
		say(" prev %" PRIu64 "/%" PRIu64, m->prev_index, m->prev_term);
	if (m->type == RAFT_MSG_APPEND && m->last >= m->first)
		say(" upto %" PRIu64, m->last);
	if (m->type == RAFT_MSG_APPEND)
		say(" commit %" PRIu64, m->commit);
	if (m->round > 0)
		say(" round %" PRIu64, m->round);
	if (m->type == RAFT_MSG_APPEND_REPLY)
		say(" match %" PRIu64 " hint %" PRIu64 "/%" PRIu64, m->match, m->hint_index, m->hint_term);
	if (m->snapshot.id > 0)
		say(" snapshot %" PRIu64 " at %" PRIu64, m->snapshot.id, m->offset);
	if (m->read > 0)
		say(" read %" PRIu64, m->read > reads_from ? m->read - reads_from : m->read);
	if (m->read_index > 0)
		say(" index %" PRIu64, m->read_index);
	say("\n");
}

static inline void
say_effects(void)
{
	if (fx.hard_state)
		say(" save term %" PRIu64 " vote %" PRIu64, r.term, r.vote);
	if (fx.truncate_from > 0)
		say(" truncate %" PRIu64, fx.truncate_from);
	if (fx.append_n > 0)
		say(" append %" PRIu64 "..%" PRIu64 "%s", fx.append_first, fx.append_first + fx.append_n - 1, fx.noop ? " noop" : "");
	if (fx.role_changed || fx.leader_changed)
		say(" now %s of %" PRIu64, raft_role_name(r.role), r.leader);
	if (fx.config_changed)
		say(" config %" PRIu64, raft_servers(&r) != NULL ? raft_servers(&r)->index : 0);
	if (fx.read != 0)
		say(" read %" PRIu64, fx.read - reads_from);
	for (int i = 0; i < 2; i++)
		if (fx.reads_ready[i] != 0)
			say(" ready%s %" PRIu64, i == 1 ? " consistent" : "", fx.reads_ready[i] - reads_from);
	say("%s%s%s%s", fx.snapshot_wanted ? " snapshot-wanted" : "", fx.snapshot_unneeded ? " snapshot-unneeded" : "",
	    fx.chunk ? " chunk" : "", fx.install ? " install" : "");
	say(" commit %" PRIu64 "\n", fx.commit);
	for (size_t i = 0; i < fx.nmessages; i++)
		say_message(&fx.messages[i]);
}

/* One paragraph an event: what it was, what the core wants, where it stands. */
static inline int
step(const char *what, struct raft_event ev)
{
	int rc;

	ev.now_ms = now_ms;
	rc = raft_step(&r, &ev, &fx);
	say("%s:", what);
	if (rc < 0)
		say(" refused %d", rc);
	say_effects();
	assert_true(r.applied <= r.commit && r.applied <= r.persisted && r.persisted <= r.trail.last);
	return rc;
}

static inline void
expect_text(const char *want)
{
	if (strcmp(out, want) != 0)
		print_message("got:\n%s", out);
	assert_string_equal(out, want);
	out[0] = 0;
}

/* Servers 1..n, all voters. */
static inline struct raft_servers
servers(uint64_t index, size_t n)
{
	struct raft_servers s = { .index = index, .n = n };

	for (size_t i = 0; i < n; i++)
		s.v[i] = (struct raft_server){ i + 1, true };
	return s;
}

/* A log of one run, entries 1..last of this term; the cluster has n voters. Its promise of an earlier life is over. */
static inline void
start(uint64_t term, uint64_t last, uint64_t applied, size_t n)
{
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 };
	const struct raft_run run = { 1, term };
	const struct raft_servers s = servers(n > 0 && last > 0 ? 1 : 0, n);
	const struct raft_start st = { term, 0, 0, last, applied, &run, last > 0, &s, n > 0 };

	out[0] = 0;
	now_ms = 1000;
	assert_int_equal(raft_init(&r, &c, &st, now_ms), 0);
	reads_from = r.read_seq;
	now_ms = r.promised_ms > now_ms ? r.promised_ms : now_ms;
}

static inline int
timer(void)
{
	return step("timer", (struct raft_event){ .type = RAFT_TIMER });
}

/* All that was handed out is on disk, up to this entry. */
static inline int
persisted(uint64_t index)
{
	return step("on disk", (struct raft_event){ .type = RAFT_PERSISTED, .term = r.term, .vote = r.vote, .epoch = r.epoch, .index = index });
}

static inline int
applied(uint64_t index)
{
	return step("applied", (struct raft_event){ .type = RAFT_APPLIED, .index = index });
}

static inline int
receive(const char *what, struct raft_message m)
{
	m.to = SELF;
	return step(what, (struct raft_event){ .type = RAFT_MESSAGE, .message = &m });
}

/* An append from `from`, entries prev + 1..last all of one term; 0: none. */
static inline int
append(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t last, uint64_t run_term, uint64_t commit)
{
	static uint64_t round;
	const struct raft_run run = { prev + 1, run_term };
	const struct raft_message m = { .type = RAFT_MSG_APPEND, .from = from, .to = SELF, .term = term, .prev_index = prev,
		.prev_term = prev_term, .first = prev + 1, .last = last, .commit = commit, .round = round + 1, .sent_ms = 7000 + round + 1 };

	round++;
	return step("append", (struct raft_event){ .type = RAFT_MESSAGE, .message = &m, .runs = &run, .nruns = last > prev });
}

/* A reply to the newest append of ours. */
static inline int
reply(uint64_t from, uint64_t match)
{
	return receive("reply", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = from, .term = r.term, .ok = true,
		.match = match, .hint_index = match, .round = r.round, .sent_ms = now_ms });
}

static inline int
propose(uint64_t count)
{
	return step("propose", (struct raft_event){ .type = RAFT_PROPOSE, .count = count });
}

static inline int
sent(uint64_t peer, uint64_t first, uint64_t last, uint64_t bytes)
{
	return step("sent", (struct raft_event){ .type = RAFT_SENT, .peer = peer, .first = first, .index = last, .bytes = bytes });
}

static inline int
vote_reply(uint64_t from, bool pre, bool ok, uint64_t term)
{
	return receive(pre ? "pre-vote" : "vote",
	    (struct raft_message){ .type = pre ? RAFT_MSG_PREVOTE_REPLY : RAFT_MSG_VOTE_REPLY, .from = from, .term = term, .ok = ok });
}

/* Elected; its no-op entry is on disk, here and there, and applied. */
static inline void
lead(uint64_t term, uint64_t last, size_t n)
{
	start(term, last, last, n);
	now_ms = r.election_at;
	timer();
	for (uint64_t id = 2; id <= n; id++)
		vote_reply(id, true, true, term + 1);
	persisted(0);
	for (uint64_t id = 2; id <= n; id++)
		vote_reply(id, false, true, term + 1);
	assert_int_equal(r.role, RAFT_LEADER);
	persisted(last + 1);
	for (uint64_t id = 2; id <= n; id++) {
		reply(id, last);
		sent(id, last + 1, last + 1, 10);
		reply(id, last + 1);
	}
	applied(last + 1);
	out[0] = 0;
}

static inline void
stop(void)
{
	raft_release(&r);
}

#endif
