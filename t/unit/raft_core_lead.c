/* raft_core_lead.c - the consensus core as the leader: entries to everybody, commitment, rounds, leases, and when it gives up. */
#include "t/unit/raft_core_help.h"

static const struct raft_progress *
peer(uint64_t id)
{
	return raft_progress(&r, id);
}

static int
refuse(uint64_t from, uint64_t prev, uint64_t hint_index, uint64_t hint_term)
{
	return receive("refused", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = from, .term = r.term, .match = prev,
		.hint_index = hint_index, .hint_term = hint_term, .round = r.round, .sent_ms = now_ms });
}

/* The append with entries for this server in the last step, NULL: there is none. */
static const struct raft_message *
entries_to(uint64_t id)
{
	for (size_t i = 0; i < fx.nmessages; i++)
		if (fx.messages[i].to == id && fx.messages[i].type == RAFT_MSG_APPEND && fx.messages[i].last >= fx.messages[i].first)
			return &fx.messages[i];
	return NULL;
}

static size_t
messages_to(uint64_t id, enum raft_message_type type)
{
	size_t n = 0;

	for (size_t i = 0; i < fx.nmessages; i++)
		n += fx.messages[i].to == id && fx.messages[i].type == type;
	return n;
}

/* Everybody answers the newest append as having all of it. */
static void
all_reply(size_t n)
{
	for (uint64_t id = 2; id <= n; id++)
		reply(id, r.trail.last);
}

/* Entries go out before they are on our disk; they are committed when they are on the disks of a majority, ours or not. */
static void
a_write(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(2);
	sent(2, 7, 8, 100);
	sent(3, 7, 8, 100);
	reply(2, 8);
	persisted(8);
	expect_text(
	    "propose: append 7..8 commit 6\n"
	    "  append to 2 term 3 prev 6/3 upto 8 commit 6 round 1\n"
	    "  append to 3 term 3 prev 6/3 upto 8 commit 6 round 1\n"
	    "sent: commit 6\n"
	    "sent: commit 6\n"
	    "reply: commit 6\n"
	    "on disk: commit 8\n"
	    "  append to 2 term 3 prev 8/3 commit 8\n");
	/* The other one has entries on their way: it is told when it has answered for those. */
	reply(3, 8);
	expect_text("reply: commit 8\n  append to 3 term 3 prev 8/3 commit 8\n");
	propose(1);
	sent(2, 9, 9, 100);
	sent(3, 9, 9, 100);
	reply(2, 9);
	assert_int_equal(r.commit, 8);
	reply(3, 9);
	assert_int_equal(r.commit, 9);
	assert_int_equal(fx.commit, 8);
	stop();
}

/* An entry of an earlier term on a majority of disks is not committed before one of our own is. */
static void
earlier_terms_are_not_counted(void **state)
{
	(void)state;
	start(2, 5, 3, 3);
	now_ms = r.election_at;
	timer();
	vote_reply(2, true, true, 3);
	persisted(0);
	vote_reply(2, false, true, 3);
	persisted(5);
	reply(2, 5);
	reply(3, 5);
	assert_int_equal(r.commit, 3);
	sent(2, 6, 6, 10);
	persisted(6);
	reply(2, 6);
	assert_int_equal(r.commit, 6);
	stop();
}

/* 1..5 of term 2, ours is 6 of term 3. One round trip for a run of theirs that we do not have. */
static void
conflicts_are_found_by_runs(void **state)
{
	(void)state;
	start(2, 5, 0, 3);
	now_ms = r.election_at;
	timer();
	vote_reply(2, true, true, 3);
	persisted(0);
	vote_reply(2, false, true, 3);
	/* Theirs ends early. */
	refuse(2, 5, 2, 0);
	assert_int_equal(peer(2)->next, 3);
	assert_true(fx.nmessages == 1 && fx.messages[0].prev_index == 2);
	refuse(2, 5, 1, 0);
	assert_int_equal(peer(2)->next, 3);
	/* Theirs has a run of term 1 from 2 on: we have none of it. */
	refuse(2, 2, 2, 1);
	assert_int_equal(peer(2)->next, 2);
	/* A run of ours that is longer here: it agrees where theirs ends. */
	refuse(3, 5, 4, 1);
	assert_int_equal(peer(3)->next, 4);
	refuse(2, 1, 1, 1);
	assert_int_equal(peer(2)->next, 1);
	reply(2, 0);
	assert_int_equal(peer(2)->flow, RAFT_PIPELINE);
	assert_true(entries_to(2) != NULL && entries_to(2)->first == 1 && entries_to(2)->last == 6);
	stop();
	/* Ours: 1..9 of term 2. Theirs: 5..9 of term 2 as well, and then 10..20 of term 1, which nobody can have had. */
	lead(2, 9, 3);
	assert_int_equal(refuse(2, 10, 12, 3), -EINVAL);
	stop();
}

/* Ours: 1..6 of term 2, 7..9 of term 4. Theirs goes on with term 2 to 9, or with term 3 from 5 on. */
static void
a_run_of_ours_ends_the_search(void **state)
{
	const struct raft_config c = { SELF, ELECTION, HEARTBEAT, LEASE, INFLIGHT, 42 };
	const struct raft_run runs[] = { { 1, 2 }, { 7, 4 } };
	const struct raft_servers s = servers(1, 3);
	const struct raft_start st = { 4, 0, 0, 9, 1, runs, 2, &s, 1 };

	(void)state;
	assert_int_equal(raft_init(&r, &c, &st, 1000), 0);
	now_ms = r.election_at;
	timer();
	vote_reply(2, true, true, 5);
	persisted(0);
	vote_reply(2, false, true, 5);
	refuse(2, 9, 2, 2);
	assert_int_equal(peer(2)->next, 7);
	refuse(3, 9, 5, 3);
	assert_int_equal(peer(3)->next, 5);
	stop();
}

/* Old refusals, of what is known to agree or was asked before. */
static void
late_refusals_are_ignored(void **state)
{
	(void)state;
	lead(2, 5, 3);
	refuse(2, 5, 0, 0);
	assert_int_equal(peer(2)->flow, RAFT_PIPELINE);
	refuse(2, 6, 0, 0);
	assert_int_equal(peer(2)->next, 7);
	propose(1);
	sent(2, 7, 7, 10);
	refuse(2, 7, 6, 0);
	assert_int_equal(peer(2)->flow, RAFT_PROBE);
	assert_int_equal(peer(2)->next, 7);
	refuse(2, 7, 3, 0);
	assert_int_equal(peer(2)->next, 7);
	stop();
}

/* No more than so many bytes, or messages, without an answer. */
static void
what_is_on_its_way_is_bounded(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(1);
	sent(2, 7, 7, INFLIGHT - 1);
	propose(1);
	assert_non_null(entries_to(2));
	propose(1);
	assert_null(entries_to(2));
	sent(2, 8, 8, 1);
	assert_null(entries_to(2));
	propose(1);
	assert_null(entries_to(2));
	assert_int_equal(peer(2)->in_bytes, INFLIGHT);
	reply(2, 7);
	assert_true(entries_to(2) != NULL && entries_to(2)->first == 9 && entries_to(2)->last == 10);
	propose(2 * RAFT_INFLIGHT_MAX);
	sent(2, 9, 9, 0);
	for (uint64_t i = 10; entries_to(2) != NULL; i++)
		sent(2, i, i, 0);
	assert_int_equal(peer(2)->in_n, RAFT_INFLIGHT_MAX);
	stop();
}

/* A connection that is backed up has peace until the next heartbeat. */
static void
not_sent(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(1);
	assert_int_equal(sent(2, 7, 99, 0), -EINVAL);
	sent(2, 7, 6, 0);
	assert_null(entries_to(2));
	propose(1);
	assert_null(entries_to(2));
	now_ms += HEARTBEAT;
	timer();
	assert_true(entries_to(2) != NULL && entries_to(2)->first == 7);
	stop();
}

/* Messages get lost without a word: what is answered later tells. */
static void
lost_entries_are_sent_again(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(1);
	sent(2, 7, 7, 10);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(peer(2)->flow, RAFT_PIPELINE);
		now_ms += HEARTBEAT;
		timer();
		reply(2, 6);
	}
	assert_int_equal(peer(2)->flow, RAFT_PROBE);
	reply(2, 6);
	assert_true(entries_to(2) != NULL && entries_to(2)->first == 7);
	/* Those that have arrived and wait for its disk are not sent again. */
	sent(2, 7, 7, 10);
	for (int i = 0; i < 4; i++) {
		now_ms += HEARTBEAT;
		timer();
		receive("reply", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = 2, .term = r.term, .ok = true, .match = 6,
			.hint_index = 7, .round = r.round, .sent_ms = now_ms });
		assert_int_equal(peer(2)->flow, RAFT_PIPELINE);
	}
	/* With the connection goes what was on it. */
	step("down", (struct raft_event){ .type = RAFT_PEER_DOWN, .peer = 2 });
	assert_int_equal(peer(2)->flow, RAFT_PROBE);
	assert_int_equal(peer(2)->in_n, 0);
	assert_int_equal(messages_to(2, RAFT_MSG_APPEND), 1);
	step("up", (struct raft_event){ .type = RAFT_PEER_UP, .peer = 2 });
	assert_int_equal(messages_to(2, RAFT_MSG_APPEND), 1);
	assert_int_equal(fx.messages[0].prev_index, 6);
	stop();
}

static void
heartbeats_go_to_everybody(void **state)
{
	(void)state;
	lead(2, 5, 3);
	assert_int_equal(fx.wake_ms, r.heartbeat_at);
	now_ms = r.heartbeat_at;
	timer();
	expect_text("timer: commit 6\n  append to 2 term 3 prev 6/3 commit 6 round 2\n  append to 3 term 3 prev 6/3 commit 6 round 2\n");
	assert_int_equal(fx.wake_ms, now_ms + HEARTBEAT);
	stop();
}

/* A majority was not heard of for an election timeout. */
static void
without_a_majority_it_gives_up(void **state)
{
	uint64_t heard;

	(void)state;
	lead(2, 5, 5);
	heard = now_ms;
	now_ms += HEARTBEAT;
	timer();
	reply(2, 6);
	while (r.role == RAFT_LEADER) {
		now_ms = fx.wake_ms;
		timer();
	}
	assert_int_equal(now_ms, heard + ELECTION);
	assert_int_equal(r.leader, 0);
	assert_int_equal(r.term, 3);
	assert_false(raft_lease_valid(&r, now_ms));
	assert_true(peer(2) == NULL);
	stop();
	lead(2, 5, 3);
	assert_true(peer(9) == NULL);
	stop();
}

/* Nobody answered because nobody was asked: we were asleep. */
static void
who_slept_is_not_deposed_at_once(void **state)
{
	(void)state;
	lead(2, 5, 3);
	now_ms += 5 * ELECTION;
	timer();
	assert_int_equal(r.role, RAFT_LEADER);
	assert_false(raft_lease_valid(&r, now_ms));
	now_ms += HEARTBEAT / 2;
	reply(2, 6);
	now_ms += HEARTBEAT;
	timer();
	assert_int_equal(r.role, RAFT_LEADER);
	stop();
	lead(2, 5, 3);
	now_ms += 5 * ELECTION;
	timer();
	now_ms += HEARTBEAT;
	timer();
	assert_int_equal(r.role, RAFT_FOLLOWER);
	stop();
}

/* A disk that has not brought on what waits for it, in an election timeout. */
static void
a_stalled_disk_deposes(void **state)
{
	uint64_t began;

	(void)state;
	lead(2, 5, 3);
	propose(2);
	began = now_ms;
	for (int i = 1; i < ELECTION / HEARTBEAT; i++) {
		now_ms += HEARTBEAT;
		timer();
		all_reply(3);
		assert_int_equal(r.role, RAFT_LEADER);
	}
	assert_true(fx.wake_ms <= began + ELECTION);
	now_ms = began + ELECTION;
	timer();
	assert_int_equal(r.role, RAFT_FOLLOWER);
	assert_int_equal(r.leader, 0);
	stop();
	/* One that is only slow does not. */
	lead(2, 5, 3);
	for (uint64_t i = 7; i < 30; i++) {
		propose(1);
		now_ms += HEARTBEAT;
		timer();
		all_reply(3);
		if (i % 6 == 0)
			persisted(r.trail.last - 4);
		assert_int_equal(r.role, RAFT_LEADER);
	}
	stop();
}

/* ---- leases */

/* Nine tenths of what a majority promised, counted from the sending; our own promise counts as now. */
static void
a_lease_counts_from_the_sending(void **state)
{
	uint64_t sent_at;

	(void)state;
	lead(2, 5, 3);
	now_ms += HEARTBEAT;
	timer();
	sent_at = now_ms;
	now_ms += 60;
	receive("reply", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 3, .ok = true, .match = 6,
		.hint_index = 6, .round = r.round, .sent_ms = sent_at });
	assert_true(raft_lease_valid(&r, now_ms));
	assert_true(raft_lease_valid(&r, sent_at + LEASE * 9 / 10 - 1));
	assert_false(raft_lease_valid(&r, sent_at + LEASE * 9 / 10));
	/* Nobody can answer what has not been sent. */
	assert_int_equal(receive("reply", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 3, .ok = true,
		.match = 6, .hint_index = 6, .round = r.round, .sent_ms = now_ms + 1 }), -EINVAL);
	stop();
}

/* A follower may have shown what is committed but not yet applied here. */
static void
a_lease_does_not_show_the_past(void **state)
{
	(void)state;
	lead(2, 5, 3);
	assert_true(raft_lease_valid(&r, now_ms));
	propose(1);
	sent(2, 7, 7, 10);
	sent(3, 7, 7, 10);
	all_reply(3);
	assert_int_equal(r.commit, 7);
	assert_false(raft_lease_valid(&r, now_ms));
	step("read", (struct raft_event){ .type = RAFT_READ });
	assert_int_equal(fx.reads_ready[0], 0);
	persisted(7);
	applied(7);
	assert_int_equal(fx.reads_ready[0], fx.reads_ready[0] > 0 ? reads_from + 1 : 1);
	assert_true(raft_lease_valid(&r, now_ms));
	stop();
}

/* A read is answered at once under a lease, by a round when it must not be, or when there is none. */
static void
reads_by_lease_and_by_round(void **state)
{
	const struct raft_event read = { .type = RAFT_READ }, strict = { .type = RAFT_READ, .consistent = true };

	(void)state;
	lead(2, 5, 3);
	step("read", read);
	step("strict", strict);
	step("strict", strict);
	reply(2, 6);
	now_ms += LEASE;
	step("read", read);
	receive("late", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = 2, .term = 3, .ok = true, .match = 6,
		.hint_index = 6, .round = 3, .sent_ms = now_ms - LEASE });
	reply(3, 6);
	expect_text(
	    "read: read 1 ready 1 commit 6\n"
	    "strict: read 2 commit 6\n"
	    "  append to 2 term 3 prev 6/3 commit 6 round 2\n  append to 3 term 3 prev 6/3 commit 6 round 2\n"
	    "strict: read 3 commit 6\n"
	    "  append to 2 term 3 prev 6/3 commit 6 round 3\n  append to 3 term 3 prev 6/3 commit 6 round 3\n"
	    "reply: ready 3 ready consistent 3 commit 6\n"
	    "read: read 4 commit 6\n"
	    "  append to 2 term 3 prev 6/3 commit 6 round 4\n  append to 3 term 3 prev 6/3 commit 6 round 4\n"
	    "late: commit 6\n"
	    "reply: ready 4 commit 6\n");
	stop();
}

static int
asked(uint64_t from, uint64_t number, bool consistent)
{
	return receive("asked", (struct raft_message){ .type = RAFT_MSG_READ, .from = from, .term = r.term, .read = number,
		.consistent = consistent });
}

static void
followers_reads(void **state)
{
	(void)state;
	lead(2, 5, 3);
	reads_from = 1000;
	asked(2, 10, false);
	asked(2, 11, true);
	asked(3, 12, true);
	reply(2, 6);
	expect_text(
	    "asked: commit 6\n  read-reply to 2 term 3 read 10 index 6\n"
	    "asked: commit 6\n"
	    "  append to 2 term 3 prev 6/3 commit 6 round 2\n  append to 3 term 3 prev 6/3 commit 6 round 2\n"
	    "asked: commit 6\n"
	    "  append to 2 term 3 prev 6/3 commit 6 round 3\n  append to 3 term 3 prev 6/3 commit 6 round 3\n"
	    "reply: commit 6\n"
	    "  read-reply to 2 term 3 consistent read 11 index 6\n  read-reply to 3 term 3 consistent read 12 index 6\n");
	for (uint64_t i = 0; i < 200; i++)
		asked(2 + i % 2, 100 + i, true);
	assert_int_equal(r.nreads, RAFT_READ_ROUNDS_MAX);
	reply(3, 6);
	assert_int_equal(r.nreads, 0);
	assert_int_equal(fx.messages[fx.nmessages - 1].read, 299);
	/* Ours need a place more than theirs, who ask again; a stranger gets none at all. */
	for (uint64_t i = 0; i < RAFT_READ_ROUNDS_MAX; i++)
		asked(2, 400 + i, true);
	asked(3, 500, true);
	assert_int_equal(fx.nmessages, 0);
	assert_int_equal(step("read", (struct raft_event){ .type = RAFT_READ, .consistent = true }), 0);
	assert_int_equal(r.nreads, RAFT_READ_ROUNDS_MAX);
	reads_from = fx.read;
	reply(3, 6);
	assert_int_equal(fx.reads_ready[1], reads_from);
	/* Deposed, we answer nobody, and ask for ourselves. */
	asked(2, 600, true);
	step("read", (struct raft_event){ .type = RAFT_READ, .consistent = true });
	receive("reply", (struct raft_message){ .type = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 9 });
	assert_int_equal(r.nreads, 1);
	assert_int_equal(r.reads[0].from, SELF);
	stop();
}

/* ---- handing over */

static void
a_transfer(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(1);
	sent(2, 7, 7, 10);
	sent(3, 7, 7, 10);
	persisted(7);
	reply(3, 7);
	applied(7);
	out[0] = 0;
	assert_int_equal(step("to whom", (struct raft_event){ .type = RAFT_TRANSFER, .peer = 9 }), -EINVAL);
	assert_int_equal(step("to us", (struct raft_event){ .type = RAFT_TRANSFER, .peer = SELF }), -EINVAL);
	step("to 2", (struct raft_event){ .type = RAFT_TRANSFER, .peer = 2 });
	assert_int_equal(step("to 3", (struct raft_event){ .type = RAFT_TRANSFER, .peer = 3 }), -RAFT_ECHANGING);
	assert_int_equal(propose(1), -RAFT_ENOTLEADER);
	assert_true(raft_lease_valid(&r, now_ms));
	out[0] = 0;
	/* Only when it has everything; and from then on there is no lease. */
	reply(2, 7);
	expect_text("reply: commit 7\n  append to 2 term 3 prev 7/3 commit 7\n  handover to 2 term 3\n");
	assert_false(raft_lease_valid(&r, now_ms));
	now_ms += HEARTBEAT;
	timer();
	assert_int_equal(messages_to(2, RAFT_MSG_HANDOVER), 1);
	/* It comes to nothing: proposals are taken again, leases are not. */
	while (r.transfer_to != 0) {
		all_reply(3);
		now_ms = fx.wake_ms;
		timer();
	}
	assert_int_equal(r.role, RAFT_LEADER);
	all_reply(3);
	assert_int_equal(propose(1), 0);
	assert_false(raft_lease_valid(&r, now_ms));
	/* The target stands after all. */
	receive("vote", (struct raft_message){ .type = RAFT_MSG_VOTE, .from = 2, .term = 4, .prev_index = 8, .prev_term = 3, .transfer = true });
	assert_int_equal(r.role, RAFT_FOLLOWER);
	assert_int_equal(r.vote, 2);
	stop();
}

static void
a_transfer_finds_the_best(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(1);
	sent(3, 7, 7, 10);
	persisted(7);
	reply(3, 7);
	step("any", (struct raft_event){ .type = RAFT_TRANSFER });
	assert_int_equal(r.transfer_to, 3);
	assert_int_equal(messages_to(3, RAFT_MSG_HANDOVER), 1);
	stop();
}

/* ---- snapshots */

static void
ready(uint64_t id)
{
	step("ready", (struct raft_event){ .type = RAFT_SNAPSHOT_READY, .snapshot = { id, 6, 3, 1000 } });
}

static void
wants(uint64_t from, uint64_t id, uint64_t offset)
{
	receive("wants", (struct raft_message){ .type = RAFT_MSG_SNAPSHOT_REPLY, .from = from, .term = 3, .snapshot = { id, 6, 3, 1000 },
		.offset = offset });
}

static void
a_snapshot_for_who_is_too_far_behind(void **state)
{
	(void)state;
	lead(2, 5, 3);
	propose(1);
	sent(2, 7, 7, 10);
	persisted(7);
	reply(2, 7);
	applied(7);
	step("compact", (struct raft_event){ .type = RAFT_COMPACTED, .index = 6 });
	refuse(3, 7, 2, 0);
	assert_int_equal(peer(3)->next, 7);	/* it had acknowledged 6 */
	step("compact", (struct raft_event){ .type = RAFT_COMPACTED, .index = 7 });
	assert_int_equal(peer(3)->flow, RAFT_SNAPSHOT);
	assert_true(fx.snapshot_wanted);
	out[0] = 0;
	step("failed", (struct raft_event){ .type = RAFT_SNAPSHOT_FAILED });
	assert_false(fx.snapshot_wanted);
	stop();
}

static void
chunks_one_by_one(void **state)
{
	(void)state;
	lead(2, 5, 3);
	step("compact", (struct raft_event){ .type = RAFT_COMPACTED, .index = 6 });
	/* One that has lost its connection and all that we know of it is a new server: */
	r.peers.v[2].match = 0;
	r.peers.v[2].next = 1;
	r.peers.v[2].flow = RAFT_PROBE;
	r.peers.v[2].waiting = false;
	reply(2, 6);
	assert_true(fx.snapshot_wanted);
	assert_int_equal(raft_keep(&r), 6);
	out[0] = 0;
	ready(55);
	timer();
	wants(3, 55, 400);
	wants(3, 54, 500);
	wants(3, 55, 1000);
	assert_int_equal(raft_keep(&r), 6);
	expect_text(
	    "ready: commit 6\n  snapshot to 3 term 3 snapshot 55 at 0\n"
	    "timer: commit 6\n"
	    "wants: commit 6\n  snapshot to 3 term 3 snapshot 55 at 400\n"
	    "wants: commit 6\n"
	    "wants: commit 6\n");
	reply(3, 6);
	assert_true(fx.snapshot_unneeded);
	assert_int_equal(peer(3)->flow, RAFT_PIPELINE);
	stop();
}

static void
a_damaged_snapshot_is_made_anew(void **state)
{
	(void)state;
	lead(2, 5, 3);
	step("compact", (struct raft_event){ .type = RAFT_COMPACTED, .index = 6 });
	r.peers.v[2].match = 0;
	r.peers.v[2].next = 1;
	r.peers.v[2].flow = RAFT_PROBE;
	r.peers.v[2].waiting = false;
	reply(2, 6);
	ready(55);
	wants(3, 55, 1000);
	out[0] = 0;
	wants(3, 55, 0);
	expect_text("wants: snapshot-unneeded commit 6\n");
	assert_int_equal(r.outgoing.id, 0);
	/* Not at once: it may be the other's disk. */
	assert_false(fx.snapshot_wanted);
	now_ms += r.config.election_ms;
	reply(2, 6);
	wants(3, 55, 0);
	assert_true(fx.snapshot_wanted);
	ready(56);
	assert_int_equal(r.outgoing.id, 56);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write),
		cmocka_unit_test(earlier_terms_are_not_counted),
		cmocka_unit_test(conflicts_are_found_by_runs),
		cmocka_unit_test(a_run_of_ours_ends_the_search),
		cmocka_unit_test(late_refusals_are_ignored),
		cmocka_unit_test(what_is_on_its_way_is_bounded),
		cmocka_unit_test(not_sent),
		cmocka_unit_test(lost_entries_are_sent_again),
		cmocka_unit_test(heartbeats_go_to_everybody),
		cmocka_unit_test(without_a_majority_it_gives_up),
		cmocka_unit_test(who_slept_is_not_deposed_at_once),
		cmocka_unit_test(a_stalled_disk_deposes),
		cmocka_unit_test(a_lease_counts_from_the_sending),
		cmocka_unit_test(a_lease_does_not_show_the_past),
		cmocka_unit_test(reads_by_lease_and_by_round),
		cmocka_unit_test(followers_reads),
		cmocka_unit_test(a_transfer),
		cmocka_unit_test(a_transfer_finds_the_best),
		cmocka_unit_test(a_snapshot_for_who_is_too_far_behind),
		cmocka_unit_test(chunks_one_by_one),
		cmocka_unit_test(a_damaged_snapshot_is_made_anew),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
