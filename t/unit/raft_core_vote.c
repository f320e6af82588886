/* raft_core_vote.c - the consensus core: who stands when, and who votes for whom. */
#include "t/unit/raft_core_help.h"

static int
ask(const char *what, enum raft_message_type type, uint64_t from, uint64_t term, uint64_t last, uint64_t last_term, bool transfer)
{
	return receive(what, (struct raft_message){ .type = type, .from = from, .term = term, .prev_index = last, .prev_term = last_term,
		.transfer = transfer });
}

/* Pre-votes first; votes are asked for when our own is on disk; entries wait for nothing. */
static void
an_election(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	assert_in_range(r.election_at, 1000 + ELECTION, 1000 + ELECTION * 3 / 2);
	timer();
	now_ms = r.election_at;
	assert_true(fx.wake_ms == now_ms);
	timer();
	vote_reply(2, true, true, 3);
	vote_reply(3, true, true, 3);
	persisted(0);
	vote_reply(3, false, true, 3);
	vote_reply(2, false, true, 3);
	expect_text(
	    "timer: commit 5\n"
	    "timer: commit 5\n"
	    "  prevote to 2 term 3 prev 5/2\n"
	    "  prevote to 3 term 3 prev 5/2\n"
	    "pre-vote: save term 3 vote 1 now Candidate of 0 commit 5\n"
	    "pre-vote: commit 5\n"
	    "on disk: commit 5\n"
	    "  vote to 2 term 3 prev 5/2\n"
	    "  vote to 3 term 3 prev 5/2\n"
	    "vote: append 6..6 noop now Leader of 1 commit 5\n"
	    "  append to 2 term 3 prev 5/2 commit 5 round 1\n"
	    "  append to 3 term 3 prev 5/2 commit 5 round 1\n"
	    "vote: commit 5\n");
	stop();
}

/* Votes of strangers, of other terms and of the past do not count. */
static void
votes_that_do_not_count(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	now_ms = r.election_at;
	timer();
	vote_reply(9, true, true, 3);
	vote_reply(2, true, true, 2);
	vote_reply(2, true, true, 4);
	assert_int_equal(r.role, RAFT_FOLLOWER);
	vote_reply(2, true, true, 3);
	assert_int_equal(r.role, RAFT_CANDIDATE);
	vote_reply(2, false, true, 3);
	assert_int_equal(r.role, RAFT_CANDIDATE);
	persisted(0);
	vote_reply(2, false, true, 2);
	vote_reply(9, false, true, 3);
	assert_int_equal(r.role, RAFT_CANDIDATE);
	vote_reply(2, false, false, 3);
	vote_reply(3, false, false, 3);
	assert_int_equal(r.role, RAFT_FOLLOWER);
	stop();
}

static void
a_vote_waits_for_the_disk(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	ask("vote", RAFT_MSG_VOTE, 2, 3, 5, 2, false);
	ask("rival", RAFT_MSG_VOTE, 3, 3, 9, 2, false);
	step("old", (struct raft_event){ .type = RAFT_PERSISTED, .term = 3, .vote = 0 });
	persisted(0);
	ask("again", RAFT_MSG_VOTE, 2, 3, 5, 2, false);
	ask("rival", RAFT_MSG_VOTE, 3, 3, 9, 2, false);
	ask("old term", RAFT_MSG_VOTE, 3, 2, 9, 1, false);
	expect_text(
	    "vote: save term 3 vote 2 commit 5\n"
	    "rival: commit 5\n"
	    "old: commit 5\n"
	    "on disk: commit 5\n"
	    "  vote-reply to 2 term 3 ok\n"
	    "again: commit 5\n"
	    "  vote-reply to 2 term 3 ok\n"
	    "rival: commit 5\n"
	    "  vote-reply to 3 term 3\n"
	    "old term: commit 5\n"
	    "  vote-reply to 3 term 3\n");
	stop();
}

static void
a_log_must_be_as_good_as_ours(void **state)
{
	(void)state;
	start(4, 5, 5, 3);
	ask("shorter", RAFT_MSG_PREVOTE, 2, 5, 4, 4, false);
	ask("older", RAFT_MSG_PREVOTE, 2, 5, 9, 3, false);
	ask("same", RAFT_MSG_PREVOTE, 2, 5, 5, 4, false);
	ask("shorter", RAFT_MSG_VOTE, 2, 5, 4, 4, false);
	persisted(0);
	ask("older", RAFT_MSG_VOTE, 3, 6, 9, 3, false);
	persisted(0);
	ask("longer", RAFT_MSG_VOTE, 2, 6, 6, 4, false);
	persisted(0);
	expect_text(
	    "shorter: commit 5\n"
	    "  prevote-reply to 2 term 4\n"
	    "older: commit 5\n"
	    "  prevote-reply to 2 term 4\n"
	    "same: commit 5\n"
	    "  prevote-reply to 2 term 5 ok\n"
	    "shorter: save term 5 vote 0 commit 5\n"
	    "on disk: commit 5\n"
	    "  vote-reply to 2 term 5\n"
	    "older: save term 6 vote 0 commit 5\n"
	    "on disk: commit 5\n"
	    "  vote-reply to 3 term 6\n"
	    "longer: save term 6 vote 2 commit 5\n"
	    "on disk: commit 5\n"
	    "  vote-reply to 2 term 6 ok\n");
	stop();
}

/* While a leader is heard of, nobody gets a vote, and nobody's term is taken over. */
static void
a_leader_is_not_deposed_by_a_stranger(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	append(2, 2, 5, 2, 5, 0, 5);
	out[0] = 0;
	now_ms += ELECTION - 1;
	ask("vote", RAFT_MSG_VOTE, 3, 9, 5, 2, false);
	ask("pre-vote", RAFT_MSG_PREVOTE, 3, 9, 5, 2, false);
	assert_int_equal(r.term, 2);
	now_ms++;
	ask("pre-vote", RAFT_MSG_PREVOTE, 3, 9, 5, 2, false);
	ask("vote", RAFT_MSG_VOTE, 3, 9, 5, 2, false);
	expect_text(
	    "vote: commit 5\n"
	    "pre-vote: commit 5\n"
	    "  prevote-reply to 3 term 2\n"
	    "pre-vote: commit 5\n"
	    "  prevote-reply to 3 term 9 ok\n"
	    "vote: save term 9 vote 3 now Follower of 0 commit 5\n");
	stop();
}

/* A hint ends the waiting for the leader, not the promise to it. */
static void
a_hint_does_not_shorten_a_promise(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	append(2, 2, 5, 2, 5, 0, 5);
	assert_int_equal(r.promised_ms, now_ms + LEASE + 1);
	out[0] = 0;
	step("stranger", (struct raft_event){ .type = RAFT_LEADER_LOST, .peer = 3 });
	step("hint", (struct raft_event){ .type = RAFT_LEADER_LOST, .peer = 2 });
	assert_in_range(r.election_at, r.promised_ms + 5, r.promised_ms + 30);
	now_ms = r.promised_ms - 1;
	ask("vote", RAFT_MSG_VOTE, 3, 3, 5, 2, false);
	ask("pre-vote", RAFT_MSG_PREVOTE, 3, 3, 5, 2, false);
	now_ms++;
	ask("vote", RAFT_MSG_VOTE, 3, 3, 5, 2, false);
	expect_text(
	    "stranger: commit 5\n"
	    "hint: now Follower of 0 commit 5\n"
	    "vote: commit 5\n"
	    "pre-vote: commit 5\n"
	    "  prevote-reply to 3 term 2\n"
	    "vote: save term 3 vote 3 commit 5\n");
	stop();
}

/* After a hint a pre-vote that came to nothing is soon tried again, for a while; a leader that speaks ends that. */
static void
after_a_hint_tries_are_frequent(void **state)
{
	uint64_t hint;

	(void)state;
	start(2, 5, 5, 3);
	append(2, 2, 5, 2, 5, 0, 5);
	hint = now_ms;
	step("hint", (struct raft_event){ .type = RAFT_LEADER_LOST, .peer = 2 });
	for (now_ms = r.election_at; now_ms < hint + ELECTION; now_ms = r.election_at) {
		timer();
		assert_true(r.prevote);
		vote_reply(3, true, false, 2);
		if (now_ms < hint + ELECTION)
			assert_in_range(r.election_at, now_ms + 20, now_ms + 60);
	}
	timer();
	assert_in_range(r.election_at, now_ms + ELECTION / 4, now_ms + ELECTION);
	append(2, 2, 5, 2, 5, 0, 5);
	assert_false(r.prevote);
	assert_int_equal(r.leader, 2);
	assert_in_range(r.election_at, now_ms + ELECTION, now_ms + ELECTION * 3 / 2);
	stop();
}

/* What it promised before it stopped, a voter does not know: it waits. Alone it need not. */
static void
a_voter_that_restarts_waits(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	now_ms = 1000 + LEASE;
	ask("early", RAFT_MSG_VOTE, 2, 3, 5, 2, false);
	ask("early", RAFT_MSG_PREVOTE, 2, 3, 5, 2, false);
	now_ms++;
	ask("vote", RAFT_MSG_VOTE, 2, 3, 5, 2, false);
	expect_text(
	    "early: commit 5\n"
	    "early: commit 5\n"
	    "  prevote-reply to 2 term 2\n"
	    "vote: save term 3 vote 2 commit 5\n");
	stop();
	start(2, 5, 5, 1);
	assert_int_equal(r.election_at, 1000);
	stop();
}

/* Only the leader of our very term can have given back our promise. */
static void
a_transfer_passes_the_promise(void **state)
{
	(void)state;
	for (uint64_t term = 3; term <= 4; term++) {
		start(2, 5, 5, 3);
		append(2, 2, 5, 2, 5, 0, 5);
		out[0] = 0;
		ask("vote", RAFT_MSG_VOTE, 3, term, 5, 2, true);
		assert_int_equal(r.vote, term == 3 ? 3 : 0);
		assert_int_equal(r.term, term == 3 ? 3 : 2);
		stop();
	}
	start(2, 5, 5, 3);
	append(2, 2, 5, 2, 5, 0, 5);
	out[0] = 0;
	ask("pre-vote", RAFT_MSG_PREVOTE, 3, 3, 5, 2, true);
	expect_text("pre-vote: commit 5\n  prevote-reply to 3 term 2\n");
	stop();
}

static void
told_to_stand(void **state)
{
	const struct raft_message told = { .type = RAFT_MSG_HANDOVER, .from = 2, .term = 2 };
	struct raft_message other = told;

	(void)state;
	start(2, 5, 5, 3);
	receive("no leader yet", told);
	append(2, 2, 5, 2, 5, 0, 5);
	out[0] = 0;
	other.from = 3;
	receive("stranger", other);
	other.from = 2;
	other.term = 1;
	receive("old", other);
	other.term = 3;
	receive("new", other);
	receive("told", told);
	persisted(0);
	expect_text(
	    "stranger: commit 5\n"
	    "old: commit 5\n"
	    "new: commit 5\n"
	    "told: save term 3 vote 1 now Candidate of 0 commit 5\n"
	    "on disk: commit 5\n"
	    "  vote to 2 term 3 transfer prev 5/2\n"
	    "  vote to 3 term 3 transfer prev 5/2\n");
	/* The next try is an election like any other. */
	now_ms = r.election_at;
	timer();
	vote_reply(3, true, true, 4);
	persisted(0);
	expect_text(
	    "timer: now Follower of 0 commit 5\n"
	    "  prevote to 2 term 4 prev 5/2\n"
	    "  prevote to 3 term 4 prev 5/2\n"
	    "pre-vote: save term 4 vote 1 now Candidate of 0 commit 5\n"
	    "on disk: commit 5\n"
	    "  vote to 2 term 4 prev 5/2\n"
	    "  vote to 3 term 4 prev 5/2\n");
	stop();
}

/* A leader that a majority hears refuses; a higher term in an answer deposes it, or that server would be stuck. */
static void
a_leader_refuses_and_is_deposed(void **state)
{
	(void)state;
	lead(2, 5, 3);
	ask("vote", RAFT_MSG_VOTE, 3, 9, 9, 8, false);
	ask("untrue", RAFT_MSG_VOTE, 3, 4, 9, 3, true);
	ask("pre-vote", RAFT_MSG_PREVOTE, 3, 9, 9, 8, false);
	step("hint", (struct raft_event){ .type = RAFT_LEADER_LOST, .peer = 2 });
	receive("reply", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 9 });
	expect_text(
	    "vote: commit 6\n"
	    "untrue: commit 6\n"
	    "pre-vote: commit 6\n"
	    "  prevote-reply to 3 term 3\n"
	    "hint: commit 6\n"
	    "reply: save term 9 vote 0 now Follower of 0 commit 6\n");
	stop();
}

/* Two equals ask each other at the same moment: the one with the lower id gives way. */
static void
of_two_equals_one_goes_first(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	now_ms = r.election_at;
	timer();
	out[0] = 0;
	ask("pre-vote", RAFT_MSG_PREVOTE, 2, 3, 5, 2, false);
	assert_false(r.prevote);
	assert_true(r.election_at > now_ms);
	vote_reply(3, true, true, 3);
	expect_text("pre-vote: commit 5\n  prevote-reply to 2 term 3 ok\npre-vote: commit 5\n");
	stop();
	start(2, 5, 5, 3);
	r.config.id = 2;
	now_ms = r.election_at;
	timer();
	out[0] = 0;
	(void)step("pre-vote", (struct raft_event){ .type = RAFT_MESSAGE, .message = &(struct raft_message){
		.type = RAFT_MSG_PREVOTE, .from = 1, .to = 2, .term = 3, .prev_index = 5, .prev_term = 2 } });
	assert_true(r.prevote);
	expect_text("pre-vote: commit 5\n  prevote-reply to 1 term 2\n");
	stop();
}

/* A server with a better log and an older term learns the term from the refusal, or nobody could ever lead. */
static void
a_refusal_tells_the_term(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	now_ms = r.election_at;
	timer();
	vote_reply(3, true, false, 7);
	persisted(0);
	now_ms = r.election_at;
	out[0] = 0;
	timer();
	expect_text("timer: commit 5\n  prevote to 2 term 8 prev 5/2\n  prevote to 3 term 8 prev 5/2\n");
	stop();
}

/* Who cannot write would be no use as a leader. */
static void
a_stalled_disk_does_not_stand(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	append(2, 2, 5, 2, 6, 2, 5);
	now_ms = r.election_at;
	out[0] = 0;
	timer();
	assert_true(r.election_at > now_ms);
	expect_text("timer: commit 5\n");
	persisted(6);
	now_ms = r.election_at;
	out[0] = 0;
	timer();
	expect_text("timer: now Follower of 0 commit 5\n  prevote to 2 term 3 prev 6/2\n  prevote to 3 term 3 prev 6/2\n");
	stop();
}

/* We slept over the timer: the leader's word may lie unread in our sockets. */
static void
who_slept_looks_first(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	now_ms = r.election_at + HEARTBEAT + 1;
	timer();
	expect_text("timer: commit 5\n");
	assert_in_range(r.election_at, now_ms + 1, now_ms + HEARTBEAT);
	now_ms = r.election_at;
	timer();
	assert_true(r.prevote);
	stop();
	/* Where that is how things are it does not keep anybody from standing. */
	start(2, 5, 5, 3);
	now_ms = r.election_at + HEARTBEAT + 1;
	timer();
	now_ms = r.election_at + HEARTBEAT + 1;
	timer();
	assert_true(r.prevote);
	stop();
}

/* A server without a vote answers, and never stands. */
static void
a_non_voter_answers(void **state)
{
	struct raft_servers s = servers(1, 3);
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 };
	const struct raft_run run = { 1, 2 };
	const struct raft_start st = { 2, 0, 0, 5, 5, &run, 1, &s, 1 };

	(void)state;
	out[0] = 0;
	s.v[0].voter = false;
	assert_int_equal(raft_init(&r, &c, &st, 1000), 0);
	assert_true(r.election_at == RAFT_NEVER);
	now_ms = 1000 + LEASE + 1;
	timer();
	ask("vote", RAFT_MSG_VOTE, 2, 3, 5, 2, false);
	persisted(0);
	append(2, 3, 5, 2, 5, 0, 5);
	assert_true(r.election_at == RAFT_NEVER);
	now_ms += ELECTION;
	timer();
	assert_int_equal(fx.nmessages, 0);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_election),
		cmocka_unit_test(votes_that_do_not_count),
		cmocka_unit_test(a_vote_waits_for_the_disk),
		cmocka_unit_test(a_log_must_be_as_good_as_ours),
		cmocka_unit_test(a_leader_is_not_deposed_by_a_stranger),
		cmocka_unit_test(a_hint_does_not_shorten_a_promise),
		cmocka_unit_test(after_a_hint_tries_are_frequent),
		cmocka_unit_test(a_voter_that_restarts_waits),
		cmocka_unit_test(a_transfer_passes_the_promise),
		cmocka_unit_test(told_to_stand),
		cmocka_unit_test(a_leader_refuses_and_is_deposed),
		cmocka_unit_test(of_two_equals_one_goes_first),
		cmocka_unit_test(a_refusal_tells_the_term),
		cmocka_unit_test(a_stalled_disk_does_not_stand),
		cmocka_unit_test(who_slept_looks_first),
		cmocka_unit_test(a_non_voter_answers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
