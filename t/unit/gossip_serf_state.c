/* gossip_serf_state.c - Serf's part of a push/pull, both ways (5.3). */
#include "t/unit/gossip_serf_tell.h"

static void
state_of(struct buf *b, struct msg_serf_state *m)
{
	buf_clear(b);
	assert_int_equal(wire_put(b, SERF_PUSH_PULL, &rec_msg_serf_state, m), 0);
}

static void
merge_state(const struct buf *b, bool is_join)
{
	char err[256];

	assert_int_equal(swim_merge(serf_swim(a->s), net->now, NULL, 0, (struct str){ (const char *)b->data, b->len }, is_join, err), 0);
}

static void
test_state_in(void **state)
{
	struct str left[] = { STR("c"), STR("a"), STR("unknown"), STR("d") };
	struct str names[] = { STR("b"), STR("c"), STR("a"), STR("unknown") };
	struct msg_ltime ltimes[] = { { 30 }, { 31 }, { 32 }, { 33 } };
	struct msg_event events[] = { { .name = STR("e"), .payload = STR("1") }, { .name = STR("e"), .payload = STR("2") } };
	struct msg_event_slot slots[] = { { .ltime = 3, .events = { events, 2 } }, { .ltime = 4, .events = { events, 1 } } };
	struct msg_serf_state m = { .ltime = 40, .event_ltime = 50, .query_ltime = 60, .left_members = { left, 4 },
		.status_ltimes = { names, ltimes, 4 }, .events = { slots, 2 } };
	struct buf b = BUF_INIT(WIRE_PACKET_MAX), out = BUF_INIT(2048);

	(void)state;
	for (const char *c = "bcd"; *c != 0; c++) {
		char name[] = { *c, 0 };

		alive(name, (uint8_t)(*c - 'a' + 1), 1);
	}
	dead("c", "b", 1);
	state_of(&b, &m);
	merge_state(&b, false);
	/* Value - 1 is heard, so the clock stands at the value; our own refutation stamped once more. */
	assert_int_equal(stats().clock, 41);
	assert_int_equal(stats().event_clock, 50);
	assert_int_equal(stats().query_clock, 60);
	assert_int_equal(ltime_of("b"), 30);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	assert_int_equal(ltime_of("c"), 32);
	assert_int_equal(status_of(a, "c"), SERF_LEFT);
	/* Listed without a time. */
	assert_int_equal(status_of(a, "d"), SERF_LEAVING);
	assert_int_equal(ltime_of("d"), 1);
	/* They believe that we left: not so. */
	assert_int_equal(status_of(a, "a"), SERF_ALIVE);
	assert_true(ltime_of("a") > 33);
	assert_int_equal(gossiped(a->s->intent_queue, &out), 1);
	assert_int_equal(out.data[0], SERF_JOIN);
	assert_int_equal(times(a, "event:e=1"), 2);
	assert_int_equal(times(a, "event:e=2"), 1);
	/* What came by push/pull is not gossiped on. */
	assert_int_equal(stats().event_queue, 0);
	alive("unknown", 9, 1);
	assert_int_equal(status_of(a, "unknown"), SERF_LEAVING);
	assert_int_equal(ltime_of("unknown"), 34);
	/* Once more: nothing new. */
	merge_state(&b, false);
	assert_int_equal(times(a, "event:e=1"), 2);
	buf_release(&b);
	buf_release(&out);
}

static void
test_state_ignore_old(void **state)
{
	struct msg_event events[] = { { .name = STR("e"), .payload = STR("1") } };
	struct msg_event_slot slots[] = { { .ltime = 3, .events = { events, 1 } } };
	struct msg_serf_state m = { .event_ltime = 5, .events = { slots, 1 } };
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);

	(void)state;
	serf_ignore_old_events(a->s, true);
	/* Only what comes with the join is old. */
	m.event_ltime = 4;
	state_of(&b, &m);
	merge_state(&b, false);
	assert_int_equal(times(a, "event:e=1"), 1);
	m.event_ltime = 5;
	events[0].payload = STR("2");
	state_of(&b, &m);
	merge_state(&b, true);
	assert_int_equal(times(a, "event:e=2"), 0);
	event(4, "late", "");
	assert_int_equal(times(a, "event:late="), 0);
	event(5, "new", "");
	assert_int_equal(times(a, "event:new="), 1);
	buf_release(&b);
}

/* As agents send it: 512 places, most of them nil. */
static void
test_state_sparse(void **state)
{
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);
	static const char head[] = "\x02\x86\xaa" "EventLTime\x07\xa6" "Events\xdc\x02\x00";
	static const char slot[] = "\x82\xa6" "Events\x91\x82\xa4" "Name\xa1" "e\xa7" "Payload\xc0\xa5" "LTime\x06";
	static const char tail[] = "\xa5" "LTime\x09\xab" "LeftMembers\xc0\xaa" "QueryLTime\x02\xac" "StatusLTimes\x80";

	(void)state;
	assert_int_equal(buf_add(&b, head, sizeof(head) - 1), 0);
	for (int i = 0; i < SERF_RING; i++)
		assert_int_equal(i == 6 ? buf_add(&b, slot, sizeof(slot) - 1) : buf_addc(&b, 0xc0), 0);
	assert_int_equal(buf_add(&b, tail, sizeof(tail) - 1), 0);
	merge_state(&b, false);
	assert_int_equal(stats().malformed, 0);
	assert_int_equal(times(a, "event:e="), 1);
	assert_int_equal(stats().clock, 9);
	/* Any end too early is malformed, and changes nothing. */
	for (size_t n = 1; n < b.len; n += 1 + n / 16) {
		struct buf part = { b.data, n, n, n };

		merge_state(&part, false);
	}
	assert_true(stats().malformed > 20);
	assert_int_equal(stats().clock, 9);
	buf_release(&b);
}

static void
test_state_out(void **state)
{
	struct arena arena = ARENA_INIT(STATE_ARENA_MAX);
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);
	const struct msg_event_slot *slots;
	struct msg_serf_state m;
	char err[256];

	(void)state;
	/* Without events it is an empty list, not nil. */
	serf_state_local(a->s, &b);
	assert_non_null(memmem(b.data, b.len, "\xa6" "Events\x90", 8));
	alive("b", 2, 1);
	alive("c", 3, 1);
	dead("c", "b", 1);
	leave("c", 7, false);
	assert_int_equal(serf_event(a->s, net->now, STR("e"), STR("1"), false, err), 0);
	event(1, "f", "");
	event(600, "g", "x");
	buf_clear(&b);
	serf_state_local(a->s, &b);
	assert_int_equal(b.data[0], SERF_PUSH_PULL);
	assert_int_equal(wire_get((struct str){ (const char *)b.data + 1, b.len - 1 }, &rec_msg_serf_state, &m, &arena, NULL), 0);
	assert_int_equal(m.ltime, 8);
	assert_int_equal(m.event_ltime, 601);
	assert_int_equal(m.query_ltime, 1);
	assert_int_equal(m.left_members.n, 1);
	assert_true(str_eqs(m.left_members.v[0], "c"));
	assert_int_equal(m.status_ltimes.n, 3);
	assert_int_equal(m.events.n, 2);
	slots = m.events.v;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(slots[i].events.n, slots[i].ltime == 1 ? 2 : 1);
	arena_release(&arena);
	buf_release(&b);
}

/* The same key twice: the last counts. */
static void
test_state_twice(void **state)
{
	static const char text[] = "\x02\x82\xa6" "Events\x93\x81\xa5" "LTime\x01\x81\xa5" "LTime\x02\x81\xa5" "LTime\x03"
	    "\xa6" "Events\x91\x83\xa6" "Events\x92\x80\x80\xa6" "Events\x91\x81\xa4" "Name\xa1" "e\xa5" "LTime\x04";
	struct buf b = BUF_INIT(1024);

	(void)state;
	assert_int_equal(buf_add(&b, text, sizeof(text) - 1), 0);
	merge_state(&b, false);
	assert_int_equal(stats().malformed, 0);
	assert_int_equal(stats().events, 1);
	assert_int_equal(times(a, "event:e="), 1);
	buf_release(&b);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_state_in), T(test_state_ignore_old), T(test_state_sparse), T(test_state_out), T(test_state_twice),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
