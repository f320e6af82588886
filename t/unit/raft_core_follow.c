/* raft_core_follow.c - the consensus core as a follower: what it keeps, what it acknowledges and when; reads and snapshots that it gets. */
#include "t/unit/raft_core_help.h"

/* Entries are acknowledged when they are on disk, heartbeats at once; what is committed is told up to what is on disk. */
static void
acknowledged_when_on_disk(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	append(2, 2, 5, 2, 7, 2, 6);
	assert_int_equal(fx.nmessages, 0);
	assert_int_equal(fx.commit, 5);
	append(2, 2, 7, 2, 7, 0, 7);
	assert_int_equal(fx.nmessages, 1);
	assert_true(fx.messages[0].ok && fx.messages[0].match == 5 && fx.messages[0].hint_index == 7);
	assert_true(fx.messages[0].round == r.ack_round && fx.messages[0].sent_ms == 7000 + r.ack_round);
	persisted(6);
	assert_true(fx.nmessages == 1 && fx.messages[0].match == 6);
	assert_int_equal(fx.commit, 6);
	now_ms += 50;
	persisted(7);
	assert_true(fx.nmessages == 1 && fx.messages[0].match == 7);
	assert_int_equal(fx.commit, 7);
	assert_int_equal(r.promised_ms, now_ms + LEASE + 1);
	/* Nothing new in it: it is answered at once. */
	append(2, 2, 5, 2, 7, 2, 7);
	assert_int_equal(fx.append_n, 0);
	assert_true(fx.nmessages == 1 && fx.messages[0].match == 7);
	stop();
}

/* A term that is not on disk is not acknowledged either. */
static void
a_new_term_waits_for_the_disk(void **state)
{
	(void)state;
	start(2, 5, 5, 3);
	append(2, 4, 5, 2, 5, 0, 5);
	assert_int_equal(fx.nmessages, 0);
	assert_true(fx.hard_state);
	assert_int_equal(r.leader, 2);
	step("old", (struct raft_event){ .type = RAFT_PERSISTED, .term = 2 });
	assert_int_equal(fx.nmessages, 0);
	persisted(0);
	assert_int_equal(fx.nmessages, 1);
	assert_true(fx.messages[0].ok && fx.messages[0].term == 4 && fx.messages[0].match == 5);
	/* A refusal is a reply like any other. */
	append(3, 6, 9, 5, 9, 0, 5);
	assert_int_equal(fx.nmessages, 0);
	persisted(0);
	assert_int_equal(fx.nmessages, 1);
	assert_true(!fx.messages[0].ok && fx.messages[0].match == 9 && fx.messages[0].hint_index == 5 && fx.messages[0].hint_term == 0);
	stop();
}

/* 1..5 of term 2, 6..10 of term 4: where the logs part, and where to go on. */
static void
hints_name_the_whole_run(void **state)
{
	(void)state;
	start(2, 5, 3, 3);
	append(2, 4, 5, 2, 10, 4, 3);
	persisted(10);
	append(3, 6, 9, 5, 9, 0, 3);
	persisted(10);
	assert_int_equal(fx.messages[0].hint_term, 4);
	assert_int_equal(fx.messages[0].hint_index, 6);
	/* Below what is committed there is nothing to look for. */
	append(3, 6, 5, 1, 5, 0, 3);
	assert_int_equal(fx.messages[0].hint_term, 2);
	assert_int_equal(fx.messages[0].hint_index, 4);
	append(3, 6, 20, 5, 20, 0, 3);
	assert_int_equal(fx.messages[0].hint_term, 0);
	assert_int_equal(fx.messages[0].hint_index, 10);
	stop();
}

/* Only what contradicts is cut off; a report about what was cut off counts for nothing. */
static void
only_conflicts_are_cut(void **state)
{
	uint64_t before;

	(void)state;
	start(2, 5, 3, 3);
	append(2, 2, 5, 2, 9, 2, 3);
	before = r.epoch;
	out[0] = 0;
	append(2, 2, 5, 2, 7, 2, 3);
	append(2, 2, 3, 2, 5, 2, 3);
	assert_int_equal(r.trail.last, 9);
	append(3, 3, 7, 2, 8, 3, 3);
	step("late", (struct raft_event){ .type = RAFT_PERSISTED, .term = 3, .epoch = before, .index = 8 });
	persisted(8);
	for (char *p = out; (p = strstr(p, " round ")) != NULL;)
		memmove(p, p + 7 + strspn(p + 7, "0123456789"), strlen(p + 7 + strspn(p + 7, "0123456789")) + 1);
	expect_text(
	    "append: commit 3\n"
	    "append: commit 3\n  append-reply to 2 term 2 ok match 5 hint 9/0\n"
	    "append: save term 3 vote 0 truncate 8 append 8..8 now Follower of 3 commit 3\n"
	    "late: commit 3\n  append-reply to 3 term 3 ok match 5 hint 8/0\n"
	    "on disk: commit 3\n  append-reply to 3 term 3 ok match 8 hint 8/0\n");
	assert_int_equal(r.epoch, before + 1);
	stop();
}

/* Whatever is committed is never cut, and nothing changes when somebody asks for it. */
static void
committed_entries_stay(void **state)
{
	(void)state;
	start(2, 9, 7, 3);
	assert_int_equal(append(2, 5, 6, 2, 8, 4, 7), -EINVAL);
	assert_int_equal(append(2, 5, 6, 3, 6, 0, 7), -EINVAL);
	assert_int_equal(r.term, 2);
	assert_int_equal(r.trail.last, 9);
	assert_int_equal(append(2, 5, 7, 2, 8, 4, 7), 0);
	assert_int_equal(r.trail.last, 8);
	stop();
}

/* What lies behind entries that are known to be the leader's may be another's. */
static void
commit_follows_what_is_verified(void **state)
{
	(void)state;
	start(2, 9, 3, 3);
	append(2, 4, 5, 2, 5, 0, 9);
	assert_int_equal(r.commit, 5);
	append(2, 4, 5, 2, 7, 3, 9);
	assert_int_equal(r.commit, 7);
	assert_int_equal(fx.commit, 5);
	persisted(7);
	assert_int_equal(fx.commit, 7);
	stop();
}

/* The leader tells the commit index by a message that wants no answer. */
static void
a_notice_wants_no_answer(void **state)
{
	(void)state;
	start(2, 9, 3, 3);
	append(2, 2, 9, 2, 9, 0, 3);
	assert_int_equal(fx.nmessages, 1);
	receive("notice", (struct raft_message){ .type = RAFT_MSG_APPEND, .from = 2, .term = 2, .prev_index = 9, .prev_term = 2,
		.first = 10, .last = 9, .commit = 8 });
	assert_int_equal(fx.nmessages, 0);
	assert_int_equal(fx.commit, 8);
	stop();
}

static void
a_leader_of_the_past_is_told(void **state)
{
	(void)state;
	start(4, 5, 5, 3);
	append(2, 3, 5, 3, 5, 0, 5);
	expect_text("append: commit 5\n  append-reply to 2 term 4 match 5 hint 0/0\n");
	assert_int_equal(r.leader, 0);
	/* There is one leader in a term. */
	append(2, 4, 5, 4, 5, 0, 5);
	assert_int_equal(append(3, 4, 5, 4, 5, 0, 5), -EINVAL);
	assert_int_equal(r.leader, 2);
	stop();
}

static struct raft_message
config_append(uint64_t term, uint64_t prev)
{
	return (struct raft_message){ .type = RAFT_MSG_APPEND, .from = 2, .to = SELF, .term = term, .prev_index = prev, .prev_term = 2,
		.first = prev + 1, .last = prev + 1, .round = 1 };
}

/* In force while it stands in the log. One that changes two votes was never proposed by a leader. */
static void
configurations_come_and_go(void **state)
{
	struct raft_servers two = servers(6, 2), many = servers(6, 5);
	struct raft_message m = config_append(2, 5);
	struct raft_run run = { 6, 2 };
	struct raft_event ev = { .type = RAFT_MESSAGE, .message = &m, .runs = &run, .nruns = 1, .configs = &two, .nconfigs = 1 };

	(void)state;
	start(2, 5, 5, 3);
	ev.configs = &many;
	assert_int_equal(step("append", ev), -EINVAL);
	assert_int_equal(r.leader, 0);
	ev.configs = &two;
	assert_int_equal(step("append", ev), 0);
	assert_true(fx.config_changed);
	assert_int_equal(raft_servers(&r)->n, 2);
	assert_int_equal(peers_voters(&r.peers), 2);
	m = config_append(3, 5);
	run.term = 3;
	ev.nconfigs = 0;
	assert_int_equal(step("append", ev), 0);
	assert_true(fx.config_changed);
	assert_int_equal(raft_servers(&r)->n, 3);
	assert_int_equal(raft_servers(&r)->index, 1);
	stop();
}

/* ---- reads */

static void
read_reply(uint64_t from, uint64_t read, uint64_t index, bool consistent)
{
	receive("answer", (struct raft_message){ .type = RAFT_MSG_READ_REPLY, .from = from, .term = r.term, .read = reads_from + read,
		.read_index = index, .consistent = consistent });
}

static void
reads_are_asked_of_the_leader(void **state)
{
	const struct raft_event read = { .type = RAFT_READ }, strict = { .type = RAFT_READ, .consistent = true };

	(void)state;
	start(2, 9, 9, 3);
	step("read", read);
	append(2, 2, 9, 2, 9, 0, 9);
	assert_int_equal(fx.nmessages, 2);
	out[0] = 0;
	step("read", read);
	step("read", strict);
	assert_int_equal(fx.wake_ms, now_ms + HEARTBEAT);
	read_reply(2, 1, 9, false);
	read_reply(3, 2, 9, false);
	now_ms += HEARTBEAT;
	timer();
	read_reply(2, 2, 10, false);
	read_reply(2, 3, 9, true);
	expect_text(
	    "read: read 2 commit 9\n  read to 2 term 2 read 2\n"
	    "read: read 3 commit 9\n  read to 2 term 2 consistent read 3\n"
	    "answer: ready 1 commit 9\n"
	    "answer: commit 9\n"
	    "timer: commit 9\n  read to 2 term 2 read 2\n  read to 2 term 2 consistent read 3\n"
	    "answer: commit 9\n"
	    "answer: ready 3 ready consistent 3 commit 9\n");
	/* An answer to what was never asked. */
	step("read", read);
	read_reply(2, 1000, 9, true);
	assert_int_equal(fx.reads_ready[0], 0);
	stop();
}

/* The next leader is asked what the last one did not answer. */
static void
reads_outlive_a_leader(void **state)
{
	(void)state;
	start(2, 9, 9, 3);
	append(2, 2, 9, 2, 9, 0, 9);
	step("read", (struct raft_event){ .type = RAFT_READ });
	step("hint", (struct raft_event){ .type = RAFT_LEADER_LOST, .peer = 2 });
	append(3, 3, 9, 2, 9, 0, 9);
	out[0] = 0;
	persisted(9);
	assert_int_equal(fx.nmessages, 2);
	assert_int_equal(fx.messages[1].type, RAFT_MSG_READ);
	assert_int_equal(fx.messages[1].to, 3);
	read_reply(3, 1, 9, false);
	assert_int_equal(fx.reads_ready[0], reads_from + 1);
	stop();
}

/* ---- snapshots */

static const struct raft_snapshot snap = { 77, 50, 3, 1000 };

static void
chunk(uint64_t offset, uint64_t bytes)
{
	receive("chunk", (struct raft_message){ .type = RAFT_MSG_SNAPSHOT, .from = 2, .term = 3, .snapshot = snap, .offset = offset,
		.bytes = bytes });
}

static void
stored(uint64_t bytes)
{
	step("stored", (struct raft_event){ .type = RAFT_CHUNK, .snapshot = snap, .index = bytes });
}

static void
a_snapshot_in_chunks(void **state)
{
	struct raft_servers s = servers(40, 3);
	uint64_t before;

	(void)state;
	start(3, 9, 7, 3);
	before = r.epoch;
	chunk(0, 600);
	chunk(0, 600);
	stored(600);
	chunk(0, 600);
	chunk(600, 400);
	stored(1000);
	chunk(600, 400);
	expect_text(
	    "chunk: now Follower of 2 chunk commit 7\n"
	    "chunk: commit 7\n"
	    "stored: commit 7\n  snapshot-reply to 2 term 3 snapshot 77 at 600\n"
	    "chunk: commit 7\n  snapshot-reply to 2 term 3 snapshot 77 at 600\n"
	    "chunk: chunk commit 7\n"
	    "stored: install commit 7\n  snapshot-reply to 2 term 3 snapshot 77 at 1000\n"
	    "chunk: commit 7\n  snapshot-reply to 2 term 3 snapshot 77 at 1000\n");
	/* Meanwhile the log is left alone, and the leader is answered. */
	append(2, 3, 9, 3, 12, 3, 12);
	assert_int_equal(fx.append_n, 0);
	assert_int_equal(fx.commit, 7);
	assert_true(fx.nmessages == 1 && fx.messages[0].ok && fx.messages[0].hint_index < 10);
	step("install", (struct raft_event){ .type = RAFT_INSTALLED, .snapshot = snap, .config = &s });
	assert_true(fx.config_changed);
	assert_int_equal(fx.commit, 50);
	assert_int_equal(r.applied, 50);
	assert_int_equal(r.trail.base, 50);
	assert_int_equal(r.trail.last, 50);
	assert_int_equal(trail_term(&r.trail, 50), 3);
	assert_int_equal(r.epoch, before + 1);
	assert_true(fx.nmessages == 1 && fx.messages[0].ok && fx.messages[0].match == 50);
	append(2, 3, 50, 3, 51, 3, 51);
	assert_int_equal(fx.append_first, 51);
	stop();
}

static void
a_damaged_snapshot_is_fetched_again(void **state)
{
	(void)state;
	start(3, 9, 7, 3);
	chunk(0, 1000);
	stored(1000);
	out[0] = 0;
	step("failed", (struct raft_event){ .type = RAFT_INSTALL_FAILED, .snapshot = snap });
	chunk(0, 1000);
	expect_text("failed: commit 7\n  snapshot-reply to 2 term 3 snapshot 77 at 0\nchunk: chunk commit 7\n");
	stored(0);
	assert_int_equal(fx.messages[0].offset, 0);
	stop();
}

/* A snapshot that was overtaken by the entries themselves must not cost what was acknowledged behind it. */
static void
a_late_snapshot_takes_nothing(void **state)
{
	(void)state;
	start(3, 40, 7, 3);
	chunk(0, 600);
	append(2, 3, 40, 3, 60, 3, 30);
	persisted(60);
	out[0] = 0;
	stored(600);
	chunk(600, 400);
	assert_int_equal(r.trail.last, 60);
	assert_int_equal(r.incoming.id, 0);
	assert_int_equal(fx.commit, 50);
	assert_true(!fx.chunk && fx.nmessages == 1 && fx.messages[0].type == RAFT_MSG_APPEND_REPLY && fx.messages[0].match == 60);
	stop();
}

/* The same while its last chunk is being stored. */
static void
a_snapshot_is_overtaken_at_last(void **state)
{
	(void)state;
	start(3, 40, 7, 3);
	chunk(0, 1000);
	append(2, 3, 40, 3, 60, 3, 30);
	persisted(60);
	stored(1000);
	assert_false(fx.install);
	assert_int_equal(r.incoming.id, 0);
	assert_int_equal(r.trail.last, 60);
	/* What the caller says of a file that is no longer wanted. */
	stored(1000);
	assert_int_equal(step("install", (struct raft_event){ .type = RAFT_INSTALLED, .snapshot = snap }), -EINVAL);
	stop();
}

/* To a server that knows nothing the first configuration may be any. */
static void
the_first_configuration(void **state)
{
	const struct raft_run run = { 1, 1 };
	const struct raft_servers five = servers(1, 5);
	const struct raft_message m = { .type = RAFT_MSG_APPEND, .from = 2, .to = SELF, .term = 2, .first = 1, .last = 3, .round = 1 };

	(void)state;
	start(0, 0, 0, 0);
	assert_int_equal(step("append", (struct raft_event){ .type = RAFT_MESSAGE, .message = &m, .runs = &run, .nruns = 1,
		.configs = &five, .nconfigs = 1 }), 0);
	assert_int_equal(raft_servers(&r)->n, 5);
	assert_true(r.election_at != RAFT_NEVER);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledged_when_on_disk),
		cmocka_unit_test(a_new_term_waits_for_the_disk),
		cmocka_unit_test(hints_name_the_whole_run),
		cmocka_unit_test(only_conflicts_are_cut),
		cmocka_unit_test(committed_entries_stay),
		cmocka_unit_test(commit_follows_what_is_verified),
		cmocka_unit_test(a_notice_wants_no_answer),
		cmocka_unit_test(a_leader_of_the_past_is_told),
		cmocka_unit_test(configurations_come_and_go),
		cmocka_unit_test(reads_are_asked_of_the_leader),
		cmocka_unit_test(reads_outlive_a_leader),
		cmocka_unit_test(a_snapshot_in_chunks),
		cmocka_unit_test(a_damaged_snapshot_is_fetched_again),
		cmocka_unit_test(a_late_snapshot_takes_nothing),
		cmocka_unit_test(a_snapshot_is_overtaken_at_last),
		cmocka_unit_test(the_first_configuration),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
