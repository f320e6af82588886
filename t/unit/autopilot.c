/* autopilot.c - autopilot's rules: who is healthy, who is promoted, who is removed, and who never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "raftd/autopilot_rules.h"

static const struct ap_config normal = { .cleanup = true, .contact_ms = 200, .trailing_max = 250, .stable_ms = 10000 };

enum { TERM = 7, LAST = 1000, DEAD = AP_DEAD_MS };

/* "L" leader, "V" voter, "N" non-voter, "v" and "n" the same, silent for long, "f" a voter silent since it failed; contact in ms. */
static size_t
sights(const char *what, uint64_t silent_ms, struct ap_sight v[AP_SERVERS_MAX])
{
	size_t n = strlen(what);

	for (size_t i = 0; i < n; i++) {
		bool silent = what[i] == 'v' || what[i] == 'n';

		v[i] = (struct ap_sight){ .id = i + 1, .voter = what[i] != 'N' && what[i] != 'n', .leader = what[i] == 'L', .heard = true,
			.contact_ms = silent ? silent_ms : 50, .index = LAST, .term = TERM };
	}
	return n;
}

static struct ap_view
look(const char *what, uint64_t silent_ms, const struct ap_config *c, uint64_t began, uint64_t now)
{
	struct ap_sight v[AP_SERVERS_MAX];
	struct ap_view view = { .n = 0 };

	ap_look(&view, c, v, sights(what, 50, v), TERM, LAST, began);
	ap_look(&view, c, v, sights(what, silent_ms, v), TERM, LAST, now);
	return view;
}

static void
test_health(void **state)
{
	static const struct {
		struct ap_sight s;
		bool healthy;
	} rows[] = {
		{ { .id = 1, .heard = true, .contact_ms = 200, .index = LAST, .term = TERM }, true },
		{ { .id = 1, .heard = true, .contact_ms = 201, .index = LAST, .term = TERM }, false },
		{ { .id = 1, .heard = false, .contact_ms = 0, .index = LAST, .term = TERM }, false },
		{ { .id = 1, .heard = true, .index = LAST - 250, .term = TERM }, true },
		{ { .id = 1, .heard = true, .index = LAST - 251, .term = TERM }, false },
		{ { .id = 1, .heard = true, .index = LAST + 5, .term = TERM }, true },
		{ { .id = 1, .heard = true, .index = LAST, .term = TERM - 1 }, false },
		{ { .id = 1, .leader = true }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ap_view view = { .n = 0 };

		ap_look(&view, &normal, &rows[i].s, 1, TERM, LAST, 0);
		if (view.v[0].healthy != rows[i].healthy)
			fail_msg("row %zu", i);
		assert_int_equal(ap_healthy(&view), rows[i].healthy);
	}
	assert_false(ap_healthy(&(struct ap_view){ .n = 0 }));
}

/* Health is counted from its last change; who comes back begins anew. */
static void
test_since(void **state)
{
	struct ap_sight v[AP_SERVERS_MAX];
	struct ap_view view = { .n = 0 };

	(void)state;
	ap_look(&view, &normal, v, sights("LV", 0, v), TERM, LAST, 100);
	ap_look(&view, &normal, v, sights("LV", 0, v), TERM, LAST, 200);
	assert_int_equal(ap_find(&view, 2)->since_ms, 100);
	ap_look(&view, &normal, v, sights("Lv", 300, v), TERM, LAST, 300);
	assert_int_equal(ap_find(&view, 2)->since_ms, 300);
	assert_false(ap_find(&view, 2)->failed);
	ap_look(&view, &normal, v, sights("Lv", AP_FAILED_MS, v), TERM, LAST, 400);
	assert_int_equal(ap_find(&view, 2)->since_ms, 300);
	assert_true(ap_find(&view, 2)->failed);
	ap_look(&view, &normal, v, sights("L", 0, v), TERM, LAST, 500);
	assert_null(ap_find(&view, 2));
	ap_look(&view, &normal, v, sights("LV", 0, v), TERM, LAST, 600);
	assert_int_equal(ap_find(&view, 2)->since_ms, 600);
	assert_int_equal(ap_find(&view, 1)->since_ms, 100);
}

static void
test_tolerance(void **state)
{
	static const struct {
		const char *servers;
		uint64_t tolerance;
	} rows[] = { { "L", 0 }, { "LV", 0 }, { "LVV", 1 }, { "LVv", 0 }, { "LVVV", 1 }, { "LVVVV", 2 }, { "LVVVv", 1 }, { "LVVvv", 0 },
		{ "LVVNN", 1 }, { "Lvv", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ap_view view = look(rows[i].servers, 5000, &normal, 0, 1000);

		if (ap_tolerance(&view) != rows[i].tolerance)
			fail_msg("%s: %d", rows[i].servers, (int)ap_tolerance(&view));
	}
}

static void
test_promotion(void **state)
{
	struct ap_view view = look("LVN", 0, &normal, 1000, 10999);
	struct ap_sight v[AP_SERVERS_MAX];
	struct ap_decision d = ap_decide(&view, &normal, 10999);

	(void)state;
	assert_int_equal(d.action, AP_NOTHING);
	d = ap_decide(&view, &normal, 11000);
	assert_int_equal(d.action, AP_PROMOTE);
	assert_int_equal(d.id, 3);
	/* The one that has been healthy for longer goes first. */
	ap_look(&view, &normal, v, sights("LVNN", 0, v), TERM, LAST, 12000);
	v[2] = v[3];
	ap_look(&view, &normal, v, 3, TERM, LAST, 13000);
	assert_int_equal(ap_decide(&view, &normal, 21999).action, AP_NOTHING);
	assert_int_equal(ap_decide(&view, &normal, 22000).id, 4);
	/* Not one that is ill, however long. */
	view = look("LVn", 5000, &normal, 0, 20000);
	assert_int_equal(ap_decide(&view, &normal, 90000).action, AP_NOTHING);
}

static void
test_cleanup(void **state)
{
	static const struct {
		const char *servers;
		uint64_t min_quorum;
		uint64_t removed;	/* 0: none */
	} rows[] = {
		{ "LVV", 0, 0 }, { "LVv", 0, 3 }, { "LVn", 0, 3 }, { "Lv", 0, 0 }, { "Lvv", 0, 0 }, { "LVVv", 0, 4 }, { "LVvv", 0, 0 },
		{ "LVVvv", 0, 4 }, { "LVvvv", 0, 0 }, { "Lvvvv", 0, 0 }, { "LVVVvvv", 0, 5 }, { "LVv", 3, 0 }, { "LVv", 2, 3 },
		{ "LVVvv", 4, 0 }, { "LVVvv", 3, 4 }, { "LVvn", 3, 4 }, { "Lvn", 0, 3 }, { "L", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ap_config c = normal;
		struct ap_view view;
		struct ap_decision d;

		c.min_quorum = rows[i].min_quorum;
		view = look(rows[i].servers, DEAD - 1, &c, 0, 50000);
		d = ap_decide(&view, &c, 50000);
		assert_int_equal(d.action, AP_NOTHING);
		view = look(rows[i].servers, DEAD, &c, 0, 50000);
		d = ap_decide(&view, &c, 50000);
		if (d.action != (rows[i].removed != 0 ? AP_REMOVE : AP_NOTHING) || d.id != rows[i].removed)
			fail_msg("%s min %d: action %d, server %d", rows[i].servers, (int)rows[i].min_quorum, d.action, (int)d.id);
		c.cleanup = false;
		assert_int_equal(ap_decide(&view, &c, 50000).action, AP_NOTHING);
	}
}

static void
test_removal_by_hand(void **state)
{
	static const struct {
		const char *servers;
		uint64_t id;
		bool may;
	} rows[] = { { "L", 1, false }, { "LV", 2, true }, { "LV", 1, true }, { "Lv", 1, false }, { "Lv", 2, true }, { "LVV", 2, true },
		{ "LVv", 2, false }, { "LVv", 3, true }, { "LVVv", 2, true }, { "LVVvv", 2, false }, { "LN", 1, false } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ap_view view = look(rows[i].servers, AP_FAILED_MS, &normal, 0, 1000);

		if (ap_may_remove(&view, rows[i].id) != rows[i].may)
			fail_msg("%s without %d", rows[i].servers, (int)rows[i].id);
	}
}

/*
 * Whatever is seen: one step at a time, never a leader, nobody who was heard
 * of, and what is left holds a quorum of voters that are heard of.
 */
static void
test_random(void **state)
{
	unsigned seed = getenv("TEST_SEED") != NULL ? (unsigned)strtoul(getenv("TEST_SEED"), NULL, 10) : (unsigned)time(NULL);
	struct ap_view view = { .n = 0 };
	struct ap_config c = normal;

	(void)state;
	printf("# seed=%u\n", seed);
	srand(seed);
	for (unsigned i = 0; i < 200000; i++) {
		struct ap_sight v[AP_SERVERS_MAX];
		size_t n = 1 + (size_t)(rand() % 9), voters = 0, alive = 0, leader = (size_t)rand() % n;
		struct ap_decision d;

		c.min_quorum = (uint64_t)(rand() % 6);
		for (size_t k = 0; k < n; k++) {
			v[k] = (struct ap_sight){ .id = k + 1, .leader = k == leader, .voter = k == leader || rand() % 4 != 0,
				.heard = rand() % 8 != 0, .contact_ms = k == leader ? 0 : (uint64_t)(rand() % 5) * 10000, .index = LAST, .term = TERM };
			voters += v[k].voter;
		}
		ap_look(&view, &c, v, n, TERM, LAST, i * 2000ull);
		d = ap_decide(&view, &c, i * 2000ull);
		if (d.action == AP_PROMOTE)
			assert_true(ap_find(&view, d.id)->healthy && !ap_find(&view, d.id)->now.voter);
		if (d.action != AP_REMOVE)
			continue;
		assert_true(d.id != leader + 1 && v[d.id - 1].contact_ms >= AP_DEAD_MS);
		if (!v[d.id - 1].voter)
			continue;
		for (size_t k = 0; k < n; k++)
			alive += v[k].voter && k + 1 != d.id && v[k].contact_ms < AP_FAILED_MS;
		assert_true(alive > (voters - 1) / 2);
		assert_true(voters - 1 >= c.min_quorum);
	}
}

/* What gossip says, beside what the connection tells: failed is dead soon, alive never is, left goes whatever the cleanup. */
static void
test_gossip(void **state)
{
	static const struct {
		enum ap_gossip gossip;
		uint64_t silent_ms;
		bool voter, cleanup, healthy, failed;
		enum ap_action action;
	} rows[] = {
		{ AP_UNKNOWN, 50, true, true, true, false, AP_NOTHING },
		{ AP_UNKNOWN, AP_DEAD_MS - 1, true, true, false, true, AP_NOTHING },
		{ AP_UNKNOWN, AP_DEAD_MS, true, true, false, true, AP_REMOVE },
		{ AP_ALIVE, 50, true, true, true, false, AP_NOTHING },
		{ AP_ALIVE, 100 * AP_DEAD_MS, true, true, false, true, AP_NOTHING },
		{ AP_FAILED, 50, true, true, false, false, AP_NOTHING },
		{ AP_FAILED, AP_SILENT_MS, true, true, false, true, AP_NOTHING },
		{ AP_FAILED, AP_FAILED_MS - 1, true, true, false, true, AP_NOTHING },
		{ AP_FAILED, AP_FAILED_MS, true, true, false, true, AP_REMOVE },
		{ AP_FAILED, AP_FAILED_MS, true, false, false, true, AP_NOTHING },
		{ AP_FAILED, AP_FAILED_MS, false, true, false, true, AP_REMOVE },
		{ AP_LEAVING, 50, false, true, true, false, AP_NOTHING },
		{ AP_LEFT, 50, true, false, false, false, AP_REMOVE },
		{ AP_LEFT, 50, false, false, false, false, AP_REMOVE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ap_config c = normal;
		struct ap_sight v[AP_SERVERS_MAX];
		struct ap_view view = { .n = 0 };
		struct ap_decision d;
		size_t n = sights("LVV", 50, v);

		c.cleanup = rows[i].cleanup;
		v[2].gossip = rows[i].gossip;
		v[2].contact_ms = rows[i].silent_ms;
		v[2].voter = rows[i].voter;
		ap_look(&view, &c, v, n, TERM, LAST, 0);
		ap_look(&view, &c, v, n, TERM, LAST, 20000);
		d = ap_decide(&view, &c, 20000);
		if (view.v[2].healthy != rows[i].healthy || view.v[2].failed != rows[i].failed || d.action != rows[i].action)
			fail_msg("row %zu: healthy %d failed %d action %d", i, view.v[2].healthy, view.v[2].failed, (int)d.action);
	}
}

/* One that left stays while it is needed for a quorum, and the leader does not take itself out. */
static void
test_left(void **state)
{
	struct ap_sight v[AP_SERVERS_MAX];
	struct ap_view view = { .n = 0 };
	size_t n = sights("LVv", DEAD, v);

	(void)state;
	v[0].gossip = AP_LEFT;
	v[1].gossip = AP_LEFT;
	v[2].gossip = AP_FAILED;
	ap_look(&view, &normal, v, n, TERM, LAST, 0);
	/* One is dead and one that has left may stop answering at any time: neither can go before the other. */
	assert_int_equal(ap_decide(&view, &normal, 0).action, AP_NOTHING);
	v[1].gossip = AP_ALIVE;
	ap_look(&view, &normal, v, n, TERM, LAST, 0);
	assert_int_equal(ap_decide(&view, &normal, 0).id, 3);
	v[1].gossip = AP_LEFT;
	v[2].gossip = AP_ALIVE;
	ap_look(&view, &normal, v, n, TERM, LAST, 0);
	assert_int_equal(ap_decide(&view, &normal, 0).action, AP_NOTHING);
	n = sights("LV", 50, v);
	v[1].gossip = AP_LEFT;
	ap_look(&view, &normal, v, n, TERM, LAST, 0);
	assert_int_equal(ap_decide(&view, &normal, 0).id, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_tolerance),
		cmocka_unit_test(test_promotion),
		cmocka_unit_test(test_cleanup),
		cmocka_unit_test(test_removal_by_hand),
		cmocka_unit_test(test_gossip),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
