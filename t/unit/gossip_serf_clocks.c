/* gossip_serf_clocks.c - times that strangers make up: no message brings a clock to its end; and what else must not be lasting. */
#include "t/unit/gossip_serf_tell.h"

#define HALF (UINT64_C(1) << 63)
#define STEP (UINT64_C(1) << 24)

static uint64_t
clock_of(size_t which)
{
	struct serf_stats st = stats();

	return which == 0 ? st.clock : which == 1 ? st.event_clock : st.query_clock;
}

static void
tell_time(size_t which, uint64_t t)
{
	if (which == 0)
		join("b", t);
	else if (which == 1)
		event(t, "e", "");
	else
		query((struct msg_query){ .ltime = t, .id = (uint64_t)t & 0xffff });
}

static void
test_bounds(void **state)
{
	struct serf_stats before;

	(void)state;
	for (size_t which = 0; which < 3; which++) {
		/* The lower half is believed, and a step beyond it. */
		tell_time(which, HALF - 2);
		assert_true(clock_of(which) == HALF - 1);
		tell_time(which, HALF + STEP - 1);
		assert_true(clock_of(which) == HALF + STEP);
		/* What is further away is not taken, and changes nothing. */
		before = stats();
		tell_time(which, UINT64_MAX - 1);
		tell_time(which, HALF + 2 * STEP);
		assert_true(clock_of(which) == HALF + STEP);
		assert_int_equal(stats().refused, before.refused + 2);
		assert_int_equal(stats().events, before.events);
		assert_int_equal(stats().queries, before.queries);
		tell_time(which, HALF + 2 * STEP - 1);
		assert_true(clock_of(which) == HALF + 2 * STEP);
		assert_int_equal(stats().refused, before.refused + 2);
	}
	leave("b", UINT64_MAX - 1, false);
	assert_true(clock_of(0) == HALF + 2 * STEP);
}

/* At the very end, which nobody gets to, it stays. */
static void
test_end(void **state)
{
	(void)state;
	a->s->clock = UINT64_MAX - 2;
	join("b", UINT64_MAX - 1);
	assert_true(stats().clock == UINT64_MAX);
	serf_joined(a->s, net->now);
	assert_true(stats().clock == UINT64_MAX);
}

static void
tell_state(uint64_t ltime, const char *name, uint64_t status_ltime, bool left, bool join)
{
	struct str names[] = { str_from(name) };
	struct msg_ltime ltimes[] = { { status_ltime } };
	struct msg_serf_state m = { .ltime = ltime, .event_ltime = ltime, .query_ltime = ltime, .left_members = { names, left },
		.status_ltimes = { .keys = names, .v = ltimes, .n = 1 }, .events = { RECORD_EMPTY, 0 } };
	struct buf b = BUF_INIT(4096);
	char err[256];

	assert_int_equal(wire_put(&b, SERF_PUSH_PULL, &rec_msg_serf_state, &m), 0);
	assert_int_equal(swim_merge(serf_swim(a->s), net->now, NULL, 0, (struct str){ (const char *)b.data, b.len }, join, err), 0);
	buf_release(&b);
}

static void
test_push_pull(void **state)
{
	char err[256];

	(void)state;
	alive("b", 2, 1);
	tell_state(UINT64_MAX, "b", UINT64_MAX - 1, false, false);
	for (size_t which = 0; which < 3; which++)
		assert_true(clock_of(which) == HALF + STEP / 2);
	assert_int_equal(ltime_of("b"), 0);
	tell_state(1, "b", UINT64_MAX - 2, true, false);
	assert_int_equal(ltime_of("b"), 0);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	/* Nor does it make every event to come an old one. */
	serf_ignore_old_events(a->s, true);
	tell_state(UINT64_MAX, "b", 1, false, true);
	serf_ignore_old_events(a->s, false);
	assert_int_equal(serf_event(a->s, net->now, STR("own"), STR(""), false, err), 0);
	assert_int_equal(times(a, "event:own="), 1);
}

static void
test_resume(void **state)
{
	static const struct serf_previous p = { .clock = UINT64_MAX - 3, .event_clock = UINT64_MAX - 3, .query_clock = UINT64_MAX };
	char err[256];

	(void)state;
	serf_resume(a->s, &p);
	for (size_t which = 0; which < 3; which++)
		assert_true(clock_of(which) == UINT64_MAX - STEP + 1);
	assert_int_equal(serf_event(a->s, net->now, STR("own"), STR(""), false, err), 0);
	assert_int_equal(times(a, "event:own="), 1);
	/* And it is written down where the clocks are now. */
	(void)serf_advance(a->s, net->now);
	assert_non_null(strstr(a->lines, "event-clock: 18446744073692774400\n"));
}

/* A pool that a stranger has told the highest times goes on: events, queries and leaving. */
static void
test_pool_goes_on(void **state)
{
	static const uint64_t highest[] = { UINT64_MAX - 1, HALF - 1, HALF + STEP - 1, UINT64_MAX - 2, HALF + 9 * STEP };
	char err[256], heard_name[32];

	(void)state;
	a->config.leave_propagate_ms = 100;
	for (size_t i = 0; i < 3; i++) {
		struct peer *p = peer_new(net);

		p->reply = "yes";
		peer_start(p);
		peer_join(p, a);
	}
	net_run(net, 10 * SECOND);
	assert_int_equal(serf_count(a->s, SERF_ALIVE), 4);
	for (size_t i = 0; i < ARRAY_LEN(highest); i++) {
		join("b", highest[i]);
		leave("c", highest[i], false);
		event(highest[i], "far", "");
		query((struct msg_query){ .ltime = highest[i], .id = 1 });
		tell_state(highest[i], "c", highest[i], false, false);
		/* Push/pulls bring clocks together that one push/pull drove apart. */
		net_run(net, 90 * SECOND);
		(void)snprintf(heard_name, sizeof(heard_name), "round%zu", i);
		assert_int_equal(serf_event(net->peers[i % 4].s, net->now, str_from(heard_name), STR("1"), false, err), 0);
		net_run(net, 10 * SECOND);
		(void)snprintf(heard_name, sizeof(heard_name), "event:round%zu=1", i);
		for (size_t k = 0; k < 4; k++)
			if (times(&net->peers[k], heard_name) != 1)
				fail_msg("round %zu: %s has not heard it", i, net->peers[k].name);
		for (size_t k = 0; k < 4; k++)
			net_until(net, net->peers[k].name, SERF_ALIVE, 60 * SECOND);
	}
	assert_int_equal(serf_leave(net->peers[1].s, net->now), 0);
	net_until(net, "b", SERF_LEFT, 60 * SECOND);
}

/* Who joins a pool whose clocks were driven far above the half catches up. */
static void
test_catches_up(void **state)
{
	struct peer *b;
	char err[256];

	(void)state;
	a->s->event_clock = a->s->clock = HALF + 4 * STEP;
	b = peer_new(net);
	peer_start(b);
	peer_join(b, a);
	net_run(net, 3 * SECOND);
	for (int i = 0; i < 30 && times(b, "event:caught=") == 0; i++) {
		assert_int_equal(serf_event(a->s, net->now, STR("caught"), STR(""), false, err), 0);
		net_run(net, 30 * SECOND);
	}
	assert_true(times(b, "event:caught=") > 0);
}

/* ---- what else a stranger must not be able to do for good */

/* A prune while we leave does not take us out of our own list. */
static void
test_own_prune(void **state)
{
	(void)state;
	alive("b", 2, 1);
	assert_int_equal(serf_leave(a->s, net->now), 0);
	leave("a", 50, true);
	net_run(net, 20 * SECOND);
	assert_true(a->left);
	assert_int_equal(status_of(a, "a"), SERF_LEFT);
	leave("a", 60, true);
	assert_int_equal(status_of(a, "a"), SERF_LEFT);
}

/* A message that is heard, and fits no packet together with its wrapping, does not keep the pool awake for ever. */
static void
test_no_room(void **state)
{
	const size_t max = swim_user_max(serf_swim(a->s));
	char payload[1400];
	struct msg_event m = { .ltime = 5, .name = STR("e"), .payload = { payload, 0 } };
	struct buf b = BUF_INIT(2048);
	size_t head;

	(void)state;
	memset(payload, 'x', sizeof(payload));
	assert_int_equal(max, 1395);
	m.payload.len = 1000;
	assert_int_equal(wire_put(&b, SERF_EVENT, &rec_msg_event, &m), 0);
	head = b.len - 1000;
	buf_release(&b);
	alive("b", 2, 1);
	m.payload.len = max - head + 1;
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().events, 1);
	assert_int_equal(stats().event_queue, 0);
	m.ltime = 6;
	m.payload.len = max - head;
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().event_queue, 1);
	net_run(net, 3 * SECOND);
	assert_int_equal(stats().event_queue, 0);
	/* A seal takes of the room. */
	swim_set_overhead(serf_swim(a->s), 29);
	m.ltime = 7;
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().event_queue, 0);
}

static void
test_many_filters(void **state)
{
	struct str filters[SERF_FILTERS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(filters); i++)
		filters[i] = STR("\x00\x91\xa1" "a");
	query((struct msg_query){ .ltime = 1, .filters = { filters, SERF_FILTERS_MAX + 1 } });
	assert_int_equal(times(a, "query:q="), 0);
	assert_int_equal(stats().refused, 1);
	query((struct msg_query){ .ltime = 2, .filters = { filters, SERF_FILTERS_MAX } });
	assert_int_equal(times(a, "query:q="), 1);
}

/* Expressions in such numbers that they would take minutes are not matched. */
static void
test_many_expressions(void **state)
{
	struct str filter = STR("\x01\x82\xa4" "Expr\xa2.*\xa3" "Tag\xa1" "x");

	(void)state;
	net_run(net, SECOND);
	for (uint64_t i = 0; i < 2 * SERF_EXPRESSIONS_MAX; i++)
		query((struct msg_query){ .ltime = 1 + i, .filters = { &filter, 1 } });
	assert_int_equal(times(a, "query:q="), SERF_EXPRESSIONS_MAX);
	assert_int_equal(stats().refused, SERF_EXPRESSIONS_MAX);
	net_run(net, SECOND);
	query((struct msg_query){ .ltime = 600, .filters = { &filter, 1 } });
	assert_int_equal(times(a, "query:q="), SERF_EXPRESSIONS_MAX + 1);
}

/* Of a push/pull that names unknown members without end as many are remembered as there is room for, and no more looked for. */
static void
test_many_strangers(void **state)
{
	enum { MANY = 3 * SERF_INTENTS_MAX };
	static char text[MANY][8];
	static struct str names[MANY];
	static struct msg_ltime ltimes[MANY];
	struct msg_serf_state m = { .ltime = 3, .left_members = { names, MANY / 2 },
		.status_ltimes = { .keys = names, .v = ltimes, .n = MANY }, .events = { RECORD_EMPTY, 0 } };
	struct buf b = BUF_INIT(1 << 20);
	char err[256];

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "n%zu", i);
		names[i] = str_from(text[i]);
		ltimes[i].v = 5;
	}
	assert_int_equal(wire_put(&b, SERF_PUSH_PULL, &rec_msg_serf_state, &m), 0);
	assert_int_equal(swim_merge(serf_swim(a->s), net->now, NULL, 0, (struct str){ (const char *)b.data, b.len }, false, err), 0);
	buf_release(&b);
	assert_int_equal(a->s->intents.n, SERF_INTENTS_MAX);
	assert_int_equal(stats().refused, MANY - SERF_INTENTS_MAX);
	/* Of one message at a time the newest are remembered, as ever. */
	leave("newest", 20, false);
	alive("newest", 9, 1);
	assert_int_equal(status_of(a, "newest"), SERF_LEAVING);
	alive("n0", 10, 1);
	assert_int_equal(stats().refused, MANY - SERF_INTENTS_MAX);
}

/* Accused at the highest incarnation there is no answer to it; but it passes, when the others have forgotten. */
static void
test_highest_incarnation(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct peer *p = peer_new(net);

		peer_start(p);
		peer_join(p, a);
	}
	net_run(net, 10 * SECOND);
	dead("b", "c", UINT32_MAX - 1);
	net_until(net, "b", SERF_FAILED, 10 * SECOND);
	net_until(net, "b", SERF_ALIVE, 600 * SECOND);
	net_run(net, 600 * SECOND);
	net_until(net, "b", SERF_ALIVE, SECOND);
	/* One below it is answered as any other. */
	dead("c", "b", UINT32_MAX - 2);
	net_until(net, "c", SERF_ALIVE, 5 * SECOND);
	net_run(net, 60 * SECOND);
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 4; k++)
			assert_int_equal(status_of(&net->peers[i], net->peers[k].name), SERF_ALIVE);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_bounds), T(test_end), T(test_push_pull), T(test_resume), T(test_pool_goes_on),
		T(test_catches_up), T(test_own_prune), T(test_no_room), T(test_many_filters), T(test_many_expressions), T(test_many_strangers), T(test_highest_incarnation) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
