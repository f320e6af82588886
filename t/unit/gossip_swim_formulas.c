/* gossip_swim_formulas.c - times and limits that depend on the size of the pool, with the values of the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gossipd/swim/queue.h"
#include "gossipd/swim/swim.h"

/* With the values that the reference library gave: "formulas" of t/data/gossip/vectors.json. */
static void
test_by_size(void **state)
{
	static const struct {
		size_t n;
		uint64_t lan, wan;
		unsigned limit;
		uint32_t push_pull;
	} rows[] = {
		{ 0, 4000, 30000, 0, 30000 }, { 1, 4000, 30000, 4, 30000 }, { 2, 4000, 30000, 4, 30000 }, { 3, 4000, 30000, 4, 30000 },
		{ 4, 4000, 30000, 4, 30000 }, { 5, 4000, 30000, 4, 30000 }, { 10, 4000, 30000, 8, 30000 }, { 50, 6792, 50940, 8, 60000 },
		{ 100, 8000, 60000, 12, 90000 }, { 1000, 12000, 90000, 16, 180000 }, { 10000, 16000, 120000, 20, 300000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Enough confirmations for the shortest time. */
		assert_int_equal(swim_suspicion_ms(4, 6, 1000, rows[i].n, 99), rows[i].lan);
		assert_int_equal(swim_suspicion_ms(6, 6, 5000, rows[i].n, 99), rows[i].wan);
		assert_int_equal(queue_limit(4, rows[i].n), rows[i].limit);
		assert_int_equal(swim_push_pull_ms(30000, rows[i].n), rows[i].push_pull);
	}
	assert_int_equal(queue_limit(4, 9), 4);
	assert_int_equal(queue_limit(4, 99), 8);
	assert_int_equal(swim_push_pull_ms(30000, 32), 30000);
	assert_int_equal(swim_push_pull_ms(30000, 33), 60000);
	assert_int_equal(swim_push_pull_ms(30000, 64), 60000);
	assert_int_equal(swim_push_pull_ms(30000, 65), 90000);
	assert_int_equal(swim_push_pull_ms(UINT32_MAX, 65), UINT32_MAX);
	assert_true(swim_push_pull_ms(1, SIZE_MAX) <= 32);
}

static void
test_by_confirmations(void **state)
{
	static const struct { unsigned confirmations, k; uint64_t total_ms; } rows[] = {
		{ 0, 1, 24000 }, { 1, 1, 4000 },
		{ 0, 2, 24000 }, { 1, 2, 11381 }, { 2, 2, 4000 },
		{ 0, 3, 24000 }, { 1, 3, 14000 }, { 2, 3, 8150 }, { 3, 3, 4000 },
		{ 0, 4, 24000 }, { 1, 4, 15386 }, { 2, 4, 10347 }, { 3, 4, 6772 }, { 4, 4, 4000 },
	};

	(void)state;
	/* k = mult - 2; the interval is such that the shortest time is 4 s. */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned mult = rows[i].k + 2;
		uint32_t interval_ms = 4000 / mult;

		if (4000 % mult != 0)
			continue;
		assert_int_equal(swim_suspicion_ms(mult, 6, interval_ms, 10, rows[i].confirmations), rows[i].total_ms);
	}
	/* Three and six do not divide 4 s: with 12 s all times are three times as long. */
	assert_int_equal(swim_suspicion_ms(3, 6, 4000, 10, 0), 72000);
	assert_int_equal(swim_suspicion_ms(3, 6, 4000, 10, 1), 12000);
	assert_int_equal(swim_suspicion_ms(6, 6, 2000, 10, 1) / 3, 15386);
	assert_int_equal(swim_suspicion_ms(6, 6, 2000, 10, 2) / 3, 10347);
	assert_int_equal(swim_suspicion_ms(6, 6, 2000, 10, 3) / 3, 6772);
	/* Too few members to confirm: the shortest time from the beginning. */
	assert_int_equal(swim_suspicion_ms(4, 6, 1000, 3, 0), 4000);
	assert_int_equal(swim_suspicion_ms(4, 6, 1000, 4, 0), 24000);
	assert_int_equal(swim_suspicion_ms(2, 6, 1000, 100, 0), 4000);
	assert_int_equal(swim_suspicion_ms(0, 6, 1000, 100, 0), 0);
	assert_int_equal(swim_suspicion_ms(4, 0, 1000, 100, 0), 8000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_by_size), cmocka_unit_test(test_by_confirmations) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
