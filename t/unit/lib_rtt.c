/* lib_rtt.c - distances of coordinates, and which coordinates are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "lib/rtt.h"

static struct coordinate_axis axes[2][RTT_DIMENSIONS + 1];
static struct coordinate a, b;

static int
zero(void **state)
{
	(void)state;
	memset(axes, 0, sizeof(axes));
	a = (struct coordinate){ .vec = { axes[0], RTT_DIMENSIONS } };
	b = (struct coordinate){ .vec = { axes[1], RTT_DIMENSIONS } };
	return 0;
}

static void
near(double got, double want)
{
	if (fabs(got - want) > 1e-12)
		fail_msg("%g is not %g", got, want);
}

static void
the_plane_and_both_heights_add_up(void **state)
{
	(void)state;
	near(rtt_seconds(&a, &b), 0);
	axes[0][0].v = 0.003;
	axes[1][7].v = -0.004;
	near(rtt_seconds(&a, &b), 0.005);
	near(rtt_seconds(&b, &a), 0.005);
	near(rtt_seconds(&a, &a), 0);
	a.height = 0.001;
	b.height = 0.002;
	near(rtt_seconds(&a, &b), 0.008);
}

static void
adjustments_count_unless_they_would_make_it_vanish(void **state)
{
	(void)state;
	a.height = 0.010;
	a.adjustment = 0.001;
	b.adjustment = -0.003;
	near(rtt_seconds(&a, &b), 0.008);
	b.adjustment = -0.011;
	near(rtt_seconds(&a, &b), 0.010);
	b.adjustment = -0.5;
	near(rtt_seconds(&a, &b), 0.010);
}

static void
there_is_none_to_an_unknown_or_another_kind_of_coordinate(void **state)
{
	(void)state;
	assert_true(isinf(rtt_seconds(&a, NULL)) && isinf(rtt_seconds(NULL, &a)) && isinf(rtt_seconds(NULL, NULL)));
	b.vec.n = RTT_DIMENSIONS - 1;
	assert_true(isinf(rtt_seconds(&a, &b)));
	a.vec.n = b.vec.n = 0;
	assert_true(isinf(rtt_seconds(&a, &b)));
}

static void
only_coordinates_that_can_be_are_taken(void **state)
{
	static const double bad[] = { NAN, INFINITY, -INFINITY, 1e300, -1e300, 86401 };

	(void)state;
	assert_null(rtt_complaint(&a));
	a.error = 1.5;
	a.height = 1e-5;
	a.adjustment = -0.3;
	axes[0][3].v = -12;
	assert_null(rtt_complaint(&a));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		double *const where[] = { &axes[0][0].v, &axes[0][7].v, &a.error, &a.height, &a.adjustment };

		for (size_t j = 0; j < ARRAY_LEN(where); j++) {
			double was = *where[j];

			*where[j] = bad[i];
			assert_non_null(rtt_complaint(&a));
			*where[j] = was;
		}
	}
	assert_null(rtt_complaint(&a));
	a.height = -0.001;
	assert_non_null(rtt_complaint(&a));
	a.height = 0;
	a.error = -1;
	assert_non_null(rtt_complaint(&a));
	a.error = 0;
	a.vec.n = RTT_DIMENSIONS + 1;
	assert_string_equal(rtt_complaint(&a), "incompatible coordinate");
	a.vec.n = 0;
	assert_non_null(rtt_complaint(&a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_plane_and_both_heights_add_up, zero),
		cmocka_unit_test_setup(adjustments_count_unless_they_would_make_it_vanish, zero),
		cmocka_unit_test_setup(there_is_none_to_an_unknown_or_another_kind_of_coordinate, zero),
		cmocka_unit_test_setup(only_coordinates_that_can_be_are_taken, zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
