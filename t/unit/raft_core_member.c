/* raft_core_member.c - the consensus core while its configuration changes. */
#include "t/unit/raft_core_help.h"

static int
change(struct raft_servers s)
{
	return step("change", (struct raft_event){ .type = RAFT_PROPOSE, .count = 1, .config = &s });
}

static struct raft_servers
without(size_t n, uint64_t id)
{
	struct raft_servers s = servers(0, n);

	s.v[id - 1] = s.v[n - 1];
	s.n--;
	return s;
}

static struct raft_servers
with_non_voter(size_t n)
{
	struct raft_servers s = servers(0, n + 1);

	s.v[n].voter = false;
	return s;
}

/* At most one vote more or less; whatever else makes no sense. */
static void
one_vote_at_a_time(void **state)
{
	struct raft_servers twice = servers(0, 4), zero = servers(0, 4), none = servers(0, 3), swap = servers(0, 3);

	(void)state;
	lead(2, 5, 3);
	twice.v[3].id = 1;
	zero.v[3].id = 0;
	for (size_t i = 0; i < 3; i++)
		none.v[i].voter = false;
	swap.v[2].id = 9;
	assert_int_equal(change(servers(0, 5)), -EINVAL);
	assert_int_equal(change(servers(0, 1)), -EINVAL);
	assert_int_equal(change(servers(0, 0)), -EINVAL);
	assert_int_equal(change(twice), -EINVAL);
	assert_int_equal(change(zero), -EINVAL);
	assert_int_equal(change(none), -EINVAL);
	assert_int_equal(change(swap), -EINVAL);
	assert_int_equal(step("two", (struct raft_event){ .type = RAFT_PROPOSE, .count = 2, .config = &twice }), -EINVAL);
	assert_int_equal(r.trail.last, 6);
	assert_int_equal(change(servers(0, 4)), 0);
	stop();
}

/* Not before an entry of its own term is committed, and one after the other. */
static void
one_change_at_a_time(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	now_ms = r.election_at;
	timer();
	vote_reply(2, true, true, 3);
	persisted(0);
	vote_reply(2, false, true, 3);
	assert_int_equal(change(servers(0, 4)), -RAFT_ECHANGING);
	reply(2, 5);
	sent(2, 6, 6, 10);
	reply(2, 6);
	assert_int_equal(change(servers(0, 4)), -RAFT_ECHANGING);
	persisted(6);
	out[0] = 0;
	assert_int_equal(change(servers(0, 4)), 0);
	/* In force at once, and the new one is asked what it has. */
	expect_text(
	    "change: append 7..7 config 7 commit 6\n"
	    "  append to 2 term 3 prev 6/3 upto 7 commit 6 round 1\n"
	    "  append to 4 term 3 prev 7/3 commit 6 round 1\n");
	assert_int_equal(change(servers(0, 3)), -RAFT_ECHANGING);
	assert_int_equal(peers_voters(&r.peers), 4);
	persisted(7);
	sent(2, 7, 7, 10);
	reply(2, 7);
	assert_int_equal(r.commit, 6);
	reply(4, 7);
	assert_int_equal(r.commit, 7);
	assert_int_equal(change(servers(0, 3)), 0);
	stop();
}

/* A non-voter gets entries, and counts for nothing. */
static void
a_non_voter_does_not_count(void **state)
{
	(void)state;
	lead(2, 5, 1);
	assert_int_equal(change(with_non_voter(1)), 0);
	persisted(7);
	assert_int_equal(r.commit, 7);
	assert_int_equal(r.peers.v[1].id, 2);
	assert_false(r.peers.v[1].voter);
	now_ms = r.heartbeat_at;
	timer();
	assert_true(fx.nmessages > 0 && fx.messages[0].to == 2);
	propose(1);
	reply(2, 7);
	persisted(8);
	assert_int_equal(r.commit, 8);
	stop();
}

/* Not without a majority that is alive: it would be the last thing that we did. */
static void
a_change_that_nobody_could_commit(void **state)
{
	(void)state;
	lead(2, 5, 3);
	now_ms += ELECTION - 1;
	timer();
	reply(2, 6);
	now_ms += HEARTBEAT;
	assert_int_equal(change(without(3, 2)), -RAFT_ECHANGING);
	assert_int_equal(change(without(3, 3)), 0);
	stop();
}

/* The leader leads on until the configuration without it is committed, does not count itself, and tells somebody to go on. */
static void
a_leader_removes_itself(void **state)
{
	(void)state;
	lead(2, 5, 3);
	assert_int_equal(change(without(3, 1)), 0);
	persisted(7);
	sent(2, 7, 7, 10);
	sent(3, 7, 7, 10);
	reply(2, 7);
	assert_int_equal(r.commit, 6);
	assert_int_equal(r.role, RAFT_LEADER);
	out[0] = 0;
	reply(3, 7);
	expect_text("reply: now Follower of 0 commit 7\n  handover to 3 term 3\n");
	assert_true(r.election_at == RAFT_NEVER);
	stop();
}

/* It may be the only one that has the configuration without it: others with less in their logs cannot be elected. */
static void
who_is_removed_may_have_to_lead(void **state)
{
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 };
	const struct raft_run run = { 1, 2 };
	struct raft_servers s[] = { servers(1, 2), servers(6, 2) };
	const struct raft_start st = { 2, 0, 0, 6, 5, &run, 1, s, 2 };

	(void)state;
	out[0] = 0;
	s[1].v[0].voter = false;
	assert_int_equal(raft_init(&r, &c, &st, 1000), 0);
	assert_true(r.election_at != RAFT_NEVER);
	now_ms = r.election_at;
	timer();
	vote_reply(2, true, true, 3);
	persisted(0);
	vote_reply(2, false, true, 3);
	assert_int_equal(r.role, RAFT_LEADER);
	persisted(7);
	reply(2, 6);
	sent(2, 7, 7, 10);
	assert_int_equal(r.commit, 5);
	reply(2, 7);
	assert_int_equal(r.commit, 7);
	assert_int_equal(r.role, RAFT_FOLLOWER);
	assert_true(r.election_at == RAFT_NEVER);
	stop();
	/* Once it hears that that is committed it never stands again. */
	assert_int_equal(raft_init(&r, &c, &st, 1000), 0);
	now_ms = r.election_at;
	receive("append", (struct raft_message){ .type = RAFT_MSG_APPEND, .from = 2, .term = 2, .prev_index = 6, .prev_term = 2, .first = 7,
		.last = 6, .commit = 6, .round = 1 });
	now_ms = r.election_at;
	timer();
	assert_int_equal(fx.nmessages, 0);
	assert_true(r.election_at == RAFT_NEVER);
	stop();
	const struct raft_start later = { 2, 0, 0, 6, 6, &run, 1, s + 1, 1 };

	assert_int_equal(raft_init(&r, &c, &later, 1000), 0);
	assert_true(r.election_at == RAFT_NEVER);
	stop();
}

/* What is left of a cluster of two is no single voter yet, while the other may rely on a promise. */
static void
the_last_voter_waits_after_a_restart(void **state)
{
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 };
	const struct raft_run run = { 1, 2 };
	const struct raft_servers s[] = { servers(1, 2), servers(6, 1) };
	const struct raft_start st = { 2, 0, 0, 6, 5, &run, 1, s, 2 }, later = { 2, 0, 0, 6, 6, &run, 1, s + 1, 1 };

	(void)state;
	assert_int_equal(raft_init(&r, &c, &st, 1000), 0);
	assert_int_equal(r.election_at, 1000 + LEASE + 1);
	stop();
	assert_int_equal(raft_init(&r, &c, &later, 1000), 0);
	assert_int_equal(r.election_at, 1000);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_vote_at_a_time),
		cmocka_unit_test(one_change_at_a_time),
		cmocka_unit_test(a_non_voter_does_not_count),
		cmocka_unit_test(a_change_that_nobody_could_commit),
		cmocka_unit_test(a_leader_removes_itself),
		cmocka_unit_test(who_is_removed_may_have_to_lead),
		cmocka_unit_test(the_last_voter_waits_after_a_restart),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
