/* raft_core.c - the consensus core by transcripts: what goes in, what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "raftd/core/core.h"

enum { SELF = 7, SEED = 42 };

static struct raft r;
static char out[8192];
static uint64_t now_ms;

static void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	size_t len = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out + len, sizeof(out) - len, fmt, ap);
	va_end(ap);
}

/* One line an event: what it was, what the core wants, where it stands. */
static int
step(const char *what, struct raft_event ev)
{
	struct raft_effects fx;
	int rc;

	ev.now_ms = now_ms;
	rc = raft_step(&r, &ev, &fx);
	say("%s:", what);
	if (rc < 0)
		say(" refused %d", rc);
	if (fx.hard_state)
		say(" save term %" PRIu64 " vote %" PRIu64, r.term, r.vote);
	if (fx.append_n > 0)
		say(" append %" PRIu64 "..%" PRIu64 "%s", fx.append_first, fx.append_first + fx.append_n - 1, fx.noop ? " noop" : "");
	if (fx.role_changed)
		say(" now %s", raft_role_name(r.role));
	if (fx.read != 0)
		say(" read %" PRIu64, fx.read);
	if (fx.reads_ready != 0)
		say(" ready %" PRIu64, fx.reads_ready);
	say(" commit %" PRIu64, fx.commit);
	if (fx.wake_ms != RAFT_NEVER)
		say(" wake");
	say("\n");
	return rc;
}

static void
start(uint64_t term, uint64_t base, uint64_t last, uint64_t applied, const uint64_t *voters, size_t n)
{
	const struct raft_config c = { SELF, 1000, 100, 100, SEED };
	const struct raft_run run = { 1, term };
	const struct raft_start s = { term, SELF, base, last, applied, &run, last > 0 ? 1 : 0, voters, n };

	out[0] = 0;
	now_ms = 1000;
	assert_int_equal(raft_init(&r, &c, &s, now_ms), 0);
}

static struct raft_event
persisted(uint64_t term, uint64_t index, uint64_t index_term)
{
	return (struct raft_event){ .type = RAFT_PERSISTED, .term = term, .vote = SELF, .index = index, .index_term = index_term };
}

static const uint64_t alone[] = { SELF }, three[] = { SELF, 8, 9 };

static void
one_voter_elects_itself(void **state)
{
	(void)state;
	start(0, 0, 0, 0, alone, 1);
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	step("early propose", (struct raft_event){ .type = RAFT_PROPOSE, .count = 1 });
	step("term on disk", persisted(1, 0, 0));
	step("propose 2", (struct raft_event){ .type = RAFT_PROPOSE, .count = 2 });
	step("1 on disk", persisted(1, 1, 1));
	step("applied 1", (struct raft_event){ .type = RAFT_APPLIED, .index = 1 });
	step("3 on disk", persisted(1, 3, 1));
	step("applied 3", (struct raft_event){ .type = RAFT_APPLIED, .index = 3 });
	assert_string_equal(out,
	    "timer: save term 1 vote 7 now Candidate commit 0 wake\n"
	    "early propose: refused -4201 commit 0 wake\n"
	    "term on disk: append 1..1 noop now Leader commit 0\n"
	    "propose 2: append 2..3 commit 0\n"
	    "1 on disk: commit 1\n"
	    "applied 1: commit 1\n"
	    "3 on disk: commit 3\n"
	    "applied 3: commit 3\n");
	assert_true(raft_lease_valid(&r, now_ms));
	raft_release(&r);
}

/* What an earlier term left is committed by the new term's no-op entry, not before it. */
static void
earlier_terms_wait_for_the_noop(void **state)
{
	(void)state;
	start(4, 0, 10, 6, alone, 1);
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	step("old term's report", persisted(4, 10, 4));
	step("term on disk", persisted(5, 10, 4));
	assert_false(raft_lease_valid(&r, now_ms));
	step("noop on disk", persisted(5, 11, 5));
	assert_false(raft_lease_valid(&r, now_ms));
	step("applied", (struct raft_event){ .type = RAFT_APPLIED, .index = 11 });
	assert_true(raft_lease_valid(&r, now_ms));
	assert_string_equal(out,
	    "timer: save term 5 vote 7 now Candidate commit 6 wake\n"
	    "old term's report: commit 6 wake\n"
	    "term on disk: append 11..11 noop now Leader commit 6\n"
	    "noop on disk: commit 11\n"
	    "applied: commit 11\n");
	raft_release(&r);
}

static void
a_read_waits_until_it_is_applied(void **state)
{
	(void)state;
	start(0, 0, 0, 0, alone, 1);
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	assert_int_equal(step("read", (struct raft_event){ .type = RAFT_READ }), -RAFT_ENOTLEADER);
	step("term on disk", persisted(1, 0, 0));
	step("read", (struct raft_event){ .type = RAFT_READ });
	step("read", (struct raft_event){ .type = RAFT_READ });
	step("noop on disk", persisted(1, 1, 1));
	step("applied", (struct raft_event){ .type = RAFT_APPLIED, .index = 1 });
	step("read", (struct raft_event){ .type = RAFT_READ });
	assert_string_equal(out,
	    "timer: save term 1 vote 7 now Candidate commit 0 wake\n"
	    "read: refused -4201 commit 0 wake\n"
	    "term on disk: append 1..1 noop now Leader commit 0\n"
	    "read: read 1 commit 0\n"
	    "read: read 2 commit 0\n"
	    "noop on disk: commit 1\n"
	    "applied: ready 2 commit 1\n"
	    "read: read 3 ready 3 commit 1\n");
	raft_release(&r);
}

/* More barriers than places: none is lost, and none is answered too early. */
static void
read_rounds_are_bounded(void **state)
{
	struct raft_event read = { .type = RAFT_READ, .now_ms = 1000 }, applied = { .type = RAFT_APPLIED, .index = 1 };
	struct raft_effects fx;

	(void)state;
	start(0, 0, 0, 0, alone, 1);
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	step("term on disk", persisted(1, 0, 0));
	for (int i = 0; i < 100; i++)
		assert_int_equal(raft_step(&r, &read, &fx), 0);
	assert_int_equal(fx.read, 100);
	assert_int_equal(fx.reads_ready, 0);
	step("noop on disk", persisted(1, 1, 1));
	assert_int_equal(raft_step(&r, &applied, &fx), 0);
	assert_int_equal(fx.reads_ready, 100);
	raft_release(&r);
}

static void
bootstrap_makes_a_voter(void **state)
{
	(void)state;
	start(0, 0, 0, 0, NULL, 0);
	step("timer without a vote", (struct raft_event){ .type = RAFT_TIMER });
	step("servers", (struct raft_event){ .type = RAFT_SERVERS, .voters = alone, .nvoters = 1 });
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	assert_string_equal(out,
	    "timer without a vote: commit 0\n"
	    "servers: commit 0 wake\n"
	    "timer: save term 1 vote 7 now Candidate commit 0 wake\n");
	raft_release(&r);
}

/* One of three is no majority: it stands, and stands again in the next term, but never leads. */
static void
one_of_three_does_not_lead(void **state)
{
	(void)state;
	start(0, 0, 0, 0, three, 3);
	step("too early", (struct raft_event){ .type = RAFT_TIMER });
	now_ms += 2000;
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	step("term on disk", persisted(1, 0, 0));
	now_ms += 2001;
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	now_ms += 2001;
	step("vote still on its way", (struct raft_event){ .type = RAFT_TIMER });
	assert_string_equal(out,
	    "too early: commit 0 wake\n"
	    "timer: save term 1 vote 7 now Candidate commit 0 wake\n"
	    "term on disk: commit 0 wake\n"
	    "timer: save term 2 vote 7 now Candidate commit 0 wake\n"
	    "vote still on its way: commit 0 wake\n");
	assert_int_equal(r.role, RAFT_CANDIDATE);
	raft_release(&r);
}

static void
quorum_of(void **state)
{
	struct raft_voters vs = { .n = 5 };
	static const uint64_t match[] = { 9, 3, 7, 1, 5 };

	(void)state;
	for (size_t i = 0; i < vs.n; i++)
		vs.v[i] = (struct raft_progress){ .id = i + 1, .match = match[i], .round = match[i] * 2, .acked_ms = match[i] * 3 };
	assert_int_equal(voters_match(&vs), 5);
	assert_int_equal(voters_round(&vs), 10);
	assert_int_equal(voters_acked_ms(&vs), 15);
	assert_int_equal(voters_outcome(&vs), RAFT_VOTE_NONE);
	vs.v[0].vote = vs.v[1].vote = RAFT_VOTE_GRANTED;
	vs.v[2].vote = vs.v[3].vote = RAFT_VOTE_REFUSED;
	assert_int_equal(voters_outcome(&vs), RAFT_VOTE_NONE);
	vs.v[4].vote = RAFT_VOTE_GRANTED;
	assert_int_equal(voters_outcome(&vs), RAFT_VOTE_GRANTED);
	vs.v[4].vote = RAFT_VOTE_REFUSED;
	assert_int_equal(voters_outcome(&vs), RAFT_VOTE_REFUSED);
	vs.n = 2;
	assert_int_equal(voters_match(&vs), 3);
	vs.n = 0;
	assert_int_equal(voters_match(&vs), 0);
	assert_int_equal(voters_outcome(&vs), RAFT_VOTE_NONE);
}

static void
trail_of_terms(void **state)
{
	struct raft_trail t = { .base = 0 };

	(void)state;
	for (uint64_t term = 1; term <= 20; term++)
		for (uint64_t i = 0; i < 5; i++)
			assert_int_equal(trail_append(&t, term), 0);
	assert_int_equal(t.n, 20);
	assert_int_equal(trail_term(&t, 0), 0);
	assert_int_equal(trail_term(&t, 1), 1);
	assert_int_equal(trail_term(&t, 5), 1);
	assert_int_equal(trail_term(&t, 6), 2);
	assert_int_equal(trail_term(&t, 100), 20);
	assert_int_equal(trail_term(&t, 101), 0);
	trail_compact(&t, 52);
	assert_int_equal(trail_term(&t, 51), 0);
	assert_int_equal(trail_term(&t, 52), 11);
	assert_int_equal(trail_term(&t, 56), 12);
	trail_compact(&t, 100);
	assert_int_equal(t.n, 1);
	assert_int_equal(trail_term(&t, 100), 20);
	assert_int_equal(trail_append(&t, 21), 0);
	assert_int_equal(trail_term(&t, 101), 21);
	trail_release(&t);
}

/* No event, however odd, may end in anything but a refusal. */
static void
nonsense_is_refused(void **state)
{
	static const uint64_t zero[] = { 0 };
	uint64_t many[RAFT_VOTERS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < RAFT_VOTERS_MAX + 1; i++)
		many[i] = i + 1;
	start(3, 2, 10, 6, alone, 1);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_APPLIED, .index = 99 }), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_COMPACTED, .index = 7 }), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_PROPOSE, .count = 0 }), -RAFT_ENOTLEADER);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_SERVERS, .voters = zero, .nvoters = 1 }), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_SERVERS, .voters = many, .nvoters = RAFT_VOTERS_MAX + 1 }), -ELIMIT);
	assert_int_equal(step("x", (struct raft_event){ .type = (enum raft_event_type)99 }), -EINVAL);
	assert_int_equal(step("x", persisted(3, 99, 3)), 0);
	assert_int_equal(r.persisted, 10);
	assert_int_equal(r.commit, 6);
	raft_release(&r);
}

static void
bad_starts_are_refused(void **state)
{
	const struct raft_config c = { SELF, 1000, 100, 100, SEED };
	const struct raft_run good = { 1, 2 }, late[] = { { 1, 2 }, { 5, 2 } };
	const struct raft_start bad[] = {
		{ .term = 2, .base = 5, .last = 4, .applied = 5 },
		{ .term = 2, .base = 0, .last = 4, .applied = 5, .runs = &good, .nruns = 1 },
		{ .term = 2, .base = 2, .last = 4, .applied = 1, .runs = &good, .nruns = 1 },
		{ .term = 1, .base = 0, .last = 4, .applied = 0, .runs = &good, .nruns = 1 },
		{ .term = 2, .base = 0, .last = 4, .applied = 0 },
		{ .term = 2, .base = 0, .last = 8, .applied = 0, .runs = late, .nruns = 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(raft_init(&r, &c, &bad[i], 0), -EINVAL);
		raft_release(&r);
	}
}

static void
compaction_keeps_the_last_term(void **state)
{
	(void)state;
	start(3, 0, 10, 10, alone, 1);
	step("compact", (struct raft_event){ .type = RAFT_COMPACTED, .index = 10 });
	step("timer", (struct raft_event){ .type = RAFT_TIMER });
	step("term on disk", persisted(4, 10, 3));
	step("noop on disk", persisted(4, 11, 4));
	assert_string_equal(out,
	    "compact: commit 10 wake\n"
	    "timer: save term 4 vote 7 now Candidate commit 10 wake\n"
	    "term on disk: append 11..11 noop now Leader commit 10\n"
	    "noop on disk: commit 11\n");
	raft_release(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_voter_elects_itself),
		cmocka_unit_test(earlier_terms_wait_for_the_noop),
		cmocka_unit_test(a_read_waits_until_it_is_applied),
		cmocka_unit_test(read_rounds_are_bounded),
		cmocka_unit_test(bootstrap_makes_a_voter),
		cmocka_unit_test(one_of_three_does_not_lead),
		cmocka_unit_test(quorum_of),
		cmocka_unit_test(trail_of_terms),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(bad_starts_are_refused),
		cmocka_unit_test(compaction_keeps_the_last_term),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
