/* raft_core.c - the consensus core: one voter, its parts, and how it starts. */
#include "t/unit/raft_core_help.h"

static void
one_voter_elects_itself(void **state)
{
	(void)state;
	start(1, 1, 1, 1);
	timer();
	propose(1);
	persisted(0);
	propose(2);
	persisted(2);
	applied(2);
	persisted(4);
	applied(4);
	expect_text(
	    "timer: save term 2 vote 1 now Candidate of 0 commit 1\n"
	    "propose: refused -4201 commit 1\n"
	    "on disk: append 2..2 noop now Leader of 1 commit 1\n"
	    "propose: append 3..4 commit 1\n"
	    "on disk: commit 2\n"
	    "applied: commit 2\n"
	    "on disk: commit 4\n"
	    "applied: commit 4\n");
	assert_true(raft_lease_valid(&r, now_ms));
	assert_true(fx.wake_ms == RAFT_NEVER);
	stop();
}

/* What an earlier term left is committed by the new term's no-op entry, not before it. */
static void
earlier_terms_wait_for_the_noop(void **state)
{
	(void)state;
	start(4, 10, 6, 1);
	timer();
	step("old term's report", (struct raft_event){ .type = RAFT_PERSISTED, .term = 4, .index = 10 });
	persisted(10);
	assert_false(raft_lease_valid(&r, now_ms));
	persisted(11);
	assert_false(raft_lease_valid(&r, now_ms));
	applied(11);
	assert_true(raft_lease_valid(&r, now_ms));
	expect_text(
	    "timer: save term 5 vote 1 now Candidate of 0 commit 6\n"
	    "old term's report: commit 6\n"
	    "on disk: append 11..11 noop now Leader of 1 commit 6\n"
	    "on disk: commit 11\n"
	    "applied: commit 11\n");
	stop();
}

static void
a_read_waits_for_a_leader_and_until_it_is_applied(void **state)
{
	const struct raft_event read = { .type = RAFT_READ }, strict = { .type = RAFT_READ, .consistent = true };

	(void)state;
	start(1, 1, 1, 1);
	step("read", read);
	timer();
	persisted(0);
	step("read", strict);
	step("read", read);
	persisted(2);
	applied(2);
	step("read", read);
	step("read", strict);
	expect_text(
	    "read: read 1 commit 1\n"
	    "timer: save term 2 vote 1 now Candidate of 0 commit 1\n"
	    "on disk: append 2..2 noop now Leader of 1 commit 1\n"
	    "read: read 2 commit 1\n"
	    "read: read 3 commit 1\n"
	    "on disk: commit 2\n"
	    "applied: ready 3 ready consistent 2 commit 2\n"
	    "read: read 4 ready 4 commit 2\n"
	    "read: read 5 ready 5 ready consistent 5 commit 2\n");
	stop();
}

/* More barriers than places: none is lost, and none is answered too early. */
static void
reads_are_bounded(void **state)
{
	struct raft_event read = { .type = RAFT_READ };

	(void)state;
	start(1, 1, 1, 1);
	timer();
	persisted(0);
	for (int i = 0; i < 100; i++) {
		read.consistent = i % 3 == 0;
		step("read", read);
		assert_int_equal(fx.reads_ready[0], 0);
	}
	assert_int_equal(r.nreads, RAFT_READ_ROUNDS_MAX);
	persisted(2);
	assert_int_equal(fx.reads_ready[0], 0);
	applied(2);
	assert_int_equal(fx.reads_ready[0] - reads_from, 100);
	assert_int_equal(fx.reads_ready[1] - reads_from, 100);
	assert_int_equal(r.nreads, 0);
	stop();
}

/* Of servers that were never started before one is told to begin. */
static void
bootstrap_makes_a_cluster(void **state)
{
	struct raft_servers s = servers(0, 1), twice = servers(0, 2), many = servers(0, RAFT_SERVERS_MAX);

	(void)state;
	start(0, 0, 0, 0);
	assert_true(r.election_at == RAFT_NEVER);
	timer();
	twice.v[1].id = 1;
	many.n++;
	assert_int_equal(step("twice", (struct raft_event){ .type = RAFT_BOOTSTRAP, .config = &twice }), -EINVAL);
	assert_int_equal(step("many", (struct raft_event){ .type = RAFT_BOOTSTRAP, .config = &many }), -EINVAL);
	out[0] = 0;
	step("bootstrap", (struct raft_event){ .type = RAFT_BOOTSTRAP, .config = &s });
	assert_int_equal(step("again", (struct raft_event){ .type = RAFT_BOOTSTRAP, .config = &s }), -EINVAL);
	timer();
	persisted(1);
	now_ms = r.election_at;
	timer();
	persisted(1);
	persisted(2);
	expect_text(
	    "bootstrap: save term 1 vote 0 append 1..1 config 1 commit 0\n"
	    "again: refused -22 commit 0\n"
	    "timer: commit 0\n"
	    "on disk: commit 0\n"
	    "timer: save term 2 vote 1 now Candidate of 0 commit 0\n"
	    "on disk: append 2..2 noop now Leader of 1 commit 0\n"
	    "on disk: commit 2\n");
	stop();
}

static void
quorum_of(void **state)
{
	struct raft_peers ps = { .n = 6 };
	static const uint64_t match[] = { 9, 3, 7, 1, 5, 99 };

	(void)state;
	for (size_t i = 0; i < ps.n; i++)
		ps.v[i] = (struct raft_progress){ .id = i + 1, .voter = i < 5, .match = match[i], .round = match[i] * 2,
			.acked_ms = match[i] * 3, .heard_ms = match[i] * 4 };
	assert_int_equal(peers_voters(&ps), 5);
	assert_int_equal(peers_match(&ps), 5);
	assert_int_equal(peers_round(&ps), 10);
	assert_int_equal(peers_acked_ms(&ps, 4, 100), 21);
	assert_int_equal(peers_heard_ms(&ps, 6, 100), 20);
	assert_int_equal(peers_outcome(&ps), RAFT_VOTE_NONE);
	ps.v[0].vote = ps.v[1].vote = RAFT_VOTE_GRANTED;
	ps.v[5].vote = RAFT_VOTE_GRANTED;
	ps.v[2].vote = ps.v[3].vote = RAFT_VOTE_REFUSED;
	assert_int_equal(peers_outcome(&ps), RAFT_VOTE_NONE);
	ps.v[4].vote = RAFT_VOTE_GRANTED;
	assert_int_equal(peers_outcome(&ps), RAFT_VOTE_GRANTED);
	ps.v[4].vote = RAFT_VOTE_REFUSED;
	assert_int_equal(peers_outcome(&ps), RAFT_VOTE_REFUSED);
	ps.n = 2;
	assert_int_equal(peers_match(&ps), 3);
	ps.n = 0;
	assert_int_equal(peers_match(&ps), 0);
	assert_int_equal(peers_outcome(&ps), RAFT_VOTE_NONE);
}

static void
trail_of_terms(void **state)
{
	struct raft_trail t = { .base = 0 };

	(void)state;
	for (uint64_t term = 2; term <= 40; term += 2)
		for (uint64_t i = 0; i < 5; i++)
			assert_int_equal(trail_append(&t, term), 0);
	assert_int_equal(t.n, 20);
	assert_int_equal(trail_term(&t, 0), 0);
	assert_int_equal(trail_term(&t, 1), 2);
	assert_int_equal(trail_term(&t, 5), 2);
	assert_int_equal(trail_term(&t, 6), 4);
	assert_int_equal(trail_term(&t, 100), 40);
	assert_int_equal(trail_term(&t, 101), 0);
	assert_int_equal(trail_run_first(&t, 8), 6);
	assert_int_equal(trail_last_of(&t, 4), 10);
	assert_int_equal(trail_last_of(&t, 5), 0);
	assert_int_equal(trail_last_of(&t, 40), 100);
	assert_int_equal(trail_last_of(&t, 41), 0);
	trail_compact(&t, 52);
	assert_int_equal(trail_term(&t, 51), 0);
	assert_int_equal(trail_term(&t, 52), 22);
	assert_int_equal(trail_run_first(&t, 54), 52);
	assert_int_equal(trail_last_of(&t, 20), 0);
	trail_truncate(&t, 97);
	assert_int_equal(t.last, 96);
	assert_int_equal(trail_term(&t, 96), 40);
	trail_truncate(&t, 96);
	assert_int_equal(trail_term(&t, 95), 38);
	assert_int_equal(trail_last_of(&t, 40), 0);
	trail_compact(&t, 95);
	assert_int_equal(t.n, 1);
	assert_int_equal(trail_term(&t, 95), 38);
	assert_int_equal(trail_append(&t, 42), 0);
	assert_int_equal(trail_term(&t, 96), 42);
	trail_reset(&t, 500, 50);
	assert_int_equal(trail_term(&t, 500), 50);
	assert_int_equal(trail_term(&t, 96), 0);
	trail_release(&t);
}

static void
a_trail_has_a_limit(void **state)
{
	struct raft_trail t = { .base = 0 };

	(void)state;
	for (uint64_t term = 1; term <= RAFT_RUNS_MAX; term++)
		assert_int_equal(trail_append(&t, term), 0);
	assert_int_equal(trail_append(&t, RAFT_RUNS_MAX), 0);
	assert_int_equal(trail_append(&t, RAFT_RUNS_MAX + 1), -ELIMIT);
	assert_int_equal(t.last, RAFT_RUNS_MAX + 1);
	trail_release(&t);
}

/* No event of the caller's, however odd, may end in anything but a refusal. */
static void
nonsense_is_refused(void **state)
{
	(void)state;
	start(3, 10, 6, 1);
	assert_int_equal(applied(99), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_COMPACTED, .index = 7 }), -EINVAL);
	assert_int_equal(propose(0), -RAFT_ENOTLEADER);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_TRANSFER }), -RAFT_ENOTLEADER);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_INSTALLED }), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_MESSAGE }), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = (enum raft_event_type)99 }), -EINVAL);
	assert_int_equal(persisted(99), 0);
	assert_int_equal(r.persisted, 10);
	assert_int_equal(r.commit, 6);
	stop();
	lead(3, 10, 1);
	assert_int_equal(propose(0), -EINVAL);
	assert_int_equal(propose(RAFT_NUMBER_MAX), -ELIMIT);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_TRANSFER }), -EINVAL);
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_SNAPSHOT_READY }), -EINVAL);
	stop();
}

static void
bad_starts_are_refused(void **state)
{
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 }, long_lease = { SELF, 100, 10, 100, 1, 1 };
	const struct raft_run good = { 1, 2 }, late[] = { { 1, 2 }, { 5, 2 } }, gap = { 3, 2 };
	const struct raft_servers beyond = servers(5, 1), nobody = { .index = 1 }, order[] = { servers(2, 1), servers(2, 1) };
	const struct raft_start bad[] = {
		{ .term = 2, .base = 5, .last = 4, .applied = 5 },
		{ .term = 2, .base = 0, .last = 4, .applied = 5, .runs = &good, .nruns = 1 },
		{ .term = 2, .base = 2, .last = 4, .applied = 1, .runs = &good, .nruns = 1 },
		{ .term = 1, .base = 0, .last = 4, .applied = 0, .runs = &good, .nruns = 1 },
		{ .term = 2, .base = 0, .last = 4, .applied = 0 },
		{ .term = 2, .base = 0, .last = 4, .applied = 0, .runs = &gap, .nruns = 1 },
		{ .term = 2, .base = 0, .last = 8, .applied = 0, .runs = late, .nruns = 2 },
		{ .term = 2, .base = 0, .last = 4, .applied = 0, .runs = &good, .nruns = 1, .configs = &beyond, .nconfigs = 1 },
		{ .term = 2, .base = 0, .last = 4, .applied = 0, .runs = &good, .nruns = 1, .configs = &nobody, .nconfigs = 1 },
		{ .term = 2, .base = 0, .last = 4, .applied = 0, .runs = &good, .nruns = 1, .configs = order, .nconfigs = 2 },
		{ .term = RAFT_NUMBER_MAX },
	};
	const struct raft_start empty = { .term = 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(raft_init(&r, &c, &bad[i], 0), -EINVAL);
		raft_release(&r);
	}
	assert_int_equal(raft_init(&r, &long_lease, &empty, 0), -EINVAL);
	raft_release(&r);
}

static void
compaction_keeps_the_last_term(void **state)
{
	(void)state;
	start(3, 10, 10, 1);
	step("compact", (struct raft_event){ .type = RAFT_COMPACTED, .index = 10 });
	timer();
	persisted(10);
	persisted(11);
	expect_text(
	    "compact: commit 10\n"
	    "timer: save term 4 vote 1 now Candidate of 0 commit 10\n"
	    "on disk: append 11..11 noop now Leader of 1 commit 10\n"
	    "on disk: commit 11\n");
	stop();
}

/* A configuration is known to be committed once another follows: two are kept of any number. */
static void
the_newest_configurations_are_kept(void **state)
{
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 };
	const struct raft_run run = { 1, 1 };
	struct raft_servers all[RAFT_CONFIGS_MAX + 10];
	const struct raft_start s = { 1, 0, 0, 1000, 1, &run, 1, all, ARRAY_LEN(all) };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		all[i] = servers(i + 1, 1 + i % 2);
	assert_int_equal(raft_init(&r, &c, &s, 0), 0);
	assert_int_equal(raft_servers(&r)->index, ARRAY_LEN(all));
	assert_int_equal(r.nconfigs, 2);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_voter_elects_itself),
		cmocka_unit_test(earlier_terms_wait_for_the_noop),
		cmocka_unit_test(a_read_waits_for_a_leader_and_until_it_is_applied),
		cmocka_unit_test(reads_are_bounded),
		cmocka_unit_test(bootstrap_makes_a_cluster),
		cmocka_unit_test(quorum_of),
		cmocka_unit_test(trail_of_terms),
		cmocka_unit_test(a_trail_has_a_limit),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(bad_starts_are_refused),
		cmocka_unit_test(compaction_keeps_the_last_term),
		cmocka_unit_test(the_newest_configurations_are_kept),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
