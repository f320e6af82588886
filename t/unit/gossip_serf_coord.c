/* gossip_serf_coord.c - coordinates: the steps of the reference bit for bit, what is refused, and the bytes in acks. */
#include "t/unit/gossip_vectors.h"

#include <json-c/json.h>
#include <math.h>

#include "gossipd/serf/coord.h"

static double
half(void *ctx)
{
	unsigned *n = ctx;

	(*n)++;
	return 0.5;
}

/* 0, 1/7, 2/7 ... so that a direction of chance is a known one. */
static double
stairs(void *ctx)
{
	unsigned *n = ctx;

	return (double)((*n)++ % 8) / 7;
}

static double
number(struct json_object *o, const char *key)
{
	struct json_object *v;

	assert_true(json_object_object_get_ex(o, key, &v));
	return json_object_get_double(v);
}

static void
coord_of_json(struct json_object *o, struct coord *c)
{
	struct json_object *vec;

	assert_true(json_object_object_get_ex(o, "Vec", &vec));
	assert_int_equal(json_object_array_length(vec), COORD_DIMENSIONS);
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		c->vec[i] = json_object_get_double(json_object_array_get_idx(vec, i));
	c->error = number(o, "Error");
	c->adjustment = number(o, "Adjustment");
	c->height = number(o, "Height");
}

static void
assert_coord(const struct coord *a, const struct coord *b)
{
	if (memcmp(a, b, sizeof(*a)) == 0)
		return;
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		print_error("vec[%zu] %.17g %.17g\n", i, a->vec[i], b->vec[i]);
	fail_msg("error %.17g %.17g adjustment %.17g %.17g height %.17g %.17g", a->error, b->error, a->adjustment, b->adjustment, a->height,
	    b->height);
}

static void
test_vectors(void **state)
{
	struct json_object *all = vectors_load(), *v, *start, *steps;
	struct coord_latencies na = { .n = 0 }, nb = { .n = 0 };
	struct coord_client c;
	unsigned asked = 0;

	(void)state;
	assert_true(json_object_object_get_ex(all, "vivaldi", &v));
	assert_true(json_object_object_get_ex(v, "start", &start));
	assert_true(json_object_object_get_ex(v, "steps", &steps));
	coord_client_init(&c);
	coord_of_json(start, &c.c);
	assert_int_equal(json_object_array_length(steps), 6);
	for (size_t i = 0; i < json_object_array_length(steps); i++) {
		struct json_object *step = json_object_array_get_idx(steps, i), *node, *other, *after;
		struct coord theirs, want;

		assert_true(json_object_object_get_ex(step, "node", &node));
		assert_true(json_object_object_get_ex(step, "other", &other));
		assert_true(json_object_object_get_ex(step, "after", &after));
		coord_of_json(other, &theirs);
		coord_of_json(after, &want);
		assert_int_equal(coord_update(&c, &theirs, strcmp(json_object_get_string(node), "na") == 0 ? &na : &nb,
		    number(step, "rtt_s"), half, &asked), 0);
		assert_coord(&c.c, &want);
		assert_int_equal(llround(coord_distance(&c.c, &theirs) * 1e9), (long long)number(step, "distance_after_ns"));
	}
	assert_int_equal(asked, 0);
	assert_int_equal(c.resets, 0);
	json_object_put(all);
}

static void
test_fresh(void **state)
{
	struct coord c, zero = { .error = 1.5, .height = 1e-5 };

	(void)state;
	coord_init(&c);
	assert_coord(&c, &zero);
	assert_true(coord_valid(&c));
	/* The two heights, no vector. */
	assert_true(coord_distance(&c, &c) == 20000 / 1e9);
}

/* The adjustments count only where they leave something. */
static void
test_distance(void **state)
{
	struct coord a, b;

	(void)state;
	coord_init(&a);
	coord_init(&b);
	b.vec[0] = 3;
	b.vec[1] = 4;
	a.height = b.height = 0.5;
	assert_true(coord_distance(&a, &b) == 6.0);
	a.adjustment = -2;
	assert_true(coord_distance(&a, &b) == 4.0);
	b.adjustment = -4;
	assert_true(coord_distance(&a, &b) == 6.0);
	/* Cut to whole nanoseconds, not rounded. */
	a.adjustment = 0.9e-9;
	b.adjustment = 0;
	assert_true(coord_distance(&a, &b) == 6.0);
	/* Finite, and beyond all nanoseconds. */
	a.vec[0] = 1e300;
	assert_true(coord_distance(&a, &b) > 1e12);
}

static void
test_refused(void **state)
{
	static const double rtts[] = { -1e-9, 10.000001, NAN, INFINITY, -INFINITY };
	struct coord_client c, before;
	struct coord_latencies l = { .n = 0 };
	struct coord other;
	unsigned asked = 0;

	(void)state;
	coord_client_init(&c);
	before = c;
	coord_init(&other);
	for (size_t i = 0; i < ARRAY_LEN(rtts); i++)
		assert_int_equal(coord_update(&c, &other, &l, rtts[i], half, &asked), -EINVAL);
	other.vec[7] = NAN;
	assert_int_equal(coord_update(&c, &other, &l, 0.1, half, &asked), -EINVAL);
	coord_init(&other);
	other.height = INFINITY;
	assert_int_equal(coord_update(&c, &other, &l, 0.1, half, &asked), -EINVAL);
	assert_memory_equal(&c, &before, sizeof(c));
	assert_int_equal(l.n, 0);
	/* The ends of the range are in it. */
	coord_init(&other);
	assert_int_equal(coord_update(&c, &other, &l, 0, half, &asked), 0);
	assert_int_equal(coord_update(&c, &other, &l, 10, half, &asked), 0);
}

/* Two that lie on each other part in a direction of chance, and their heights stay. */
static void
test_same_place(void **state)
{
	struct coord_client c;
	struct coord_latencies l = { .n = 0 };
	struct coord other;
	unsigned asked = 0;
	double length = 0;

	(void)state;
	coord_client_init(&c);
	coord_init(&other);
	assert_int_equal(coord_update(&c, &other, &l, 0.1, stairs, &asked), 0);
	assert_int_equal(asked, COORD_DIMENSIONS);
	assert_true(c.c.vec[0] < 0 && c.c.vec[7] > 0);
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		length += c.c.vec[i] * c.c.vec[i];
	/* A quarter of a half of what is missing. */
	assert_true(fabs(sqrt(length) - 0.125 * (0.1 - 2e-5)) < 1e-5);
	/* All the same number: no direction, so one is taken. */
	coord_client_init(&c);
	l.n = 0;
	assert_int_equal(coord_update(&c, &other, &l, 0.1, half, &asked), 0);
	assert_true(c.c.vec[0] > 0 && c.c.vec[1] == 0);
}

/* One that has become absurd begins anew. */
static void
test_reset(void **state)
{
	struct coord_client c;
	struct coord_latencies l = { .n = 0 };
	struct coord other, fresh;
	unsigned asked = 0;

	(void)state;
	coord_client_init(&c);
	coord_init(&fresh);
	coord_init(&other);
	other.vec[0] = 1e308;
	other.vec[1] = -1e308;
	assert_int_equal(coord_update(&c, &other, &l, 0.1, half, &asked), 0);
	assert_int_equal(c.resets, 1);
	assert_coord(&c.c, &fresh);
}

/* The median of three: one slow answer among quick ones counts for nothing. */
static void
test_filter(void **state)
{
	struct coord_client a, b;
	struct coord_latencies la = { .n = 0 }, lb = { .n = 0 };
	struct coord other;
	unsigned asked = 0;

	(void)state;
	coord_init(&other);
	other.vec[0] = 0.05;
	coord_client_init(&a);
	coord_client_init(&b);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(coord_update(&a, &other, &la, 0.02, half, &asked), 0);
		assert_int_equal(coord_update(&b, &other, &lb, i == 4 ? 9.0 : 0.02, half, &asked), 0);
		assert_coord(&a.c, &b.c);
	}
	/* Of two it is the greater one. */
	coord_client_init(&a);
	coord_client_init(&b);
	la = (struct coord_latencies){ { 0.5 }, 1 };
	lb = (struct coord_latencies){ .n = 0 };
	assert_int_equal(coord_update(&a, &other, &la, 0.02, half, &asked), 0);
	assert_int_equal(coord_update(&b, &other, &lb, 0.5, half, &asked), 0);
	assert_coord(&a.c, &b.c);
}

static void
test_bytes(void **state)
{
	struct buf b = BUF_INIT(1024), tight = BUF_INIT(40);
	struct coord c = { { 0.001, -0.002, 0.003, 0, 1e-9, -5, 6, 7 }, 1.2, -1e-5, 2e-4 }, got;

	(void)state;
	assert_int_equal(coord_put(&b, &c), 0);
	assert_int_equal(b.data[0], 1);
	assert_int_equal(b.data[1], 0x84);
	assert_memory_equal(b.data + 2, "\xaa" "Adjustment\xcb", 12);
	/* Names 10 5 6 3, a header each; three doubles, and eight behind a header. */
	assert_int_equal(b.len, 1 + 1 + 11 + 6 + 7 + 4 + 3 * 9 + 1 + 8 * 9);
	assert_int_equal(coord_get(buf_str(&b), &got), 0);
	assert_coord(&c, &got);
	/* Every end of it too early. */
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(coord_get((struct str){ (const char *)b.data, n }, &got), -EDECODE);
	b.data[0] = 2;
	assert_int_equal(coord_get(buf_str(&b), &got), -EDECODE);
	assert_int_equal(coord_put(&tight, &c), -ELIMIT);
	assert_int_equal(tight.len, 0);
	buf_release(&b);
	buf_release(&tight);
}

static void
test_bytes_of_others(void **state)
{
	static const struct { const char *bytes; size_t len; int rc; } cases[] = {
#define C(s, rc) { s, sizeof(s) - 1, rc }
		C("\x01\xc0", -EDECODE),
		C("\x01\x80", -EDECODE),
		/* Unknown names, integers for doubles, floats, another order. */
		C("\x01\x84\xa3Vec\x98\x01\x02\x03\x04\x05\x06\x07\xff\xa3New\x92\x01\x02\xa6Height\xca\x3f\x00\x00\x00\xa5" "Error\x01", 0),
		/* A list in the order of its declaration. */
		C("\x01\x94\x98\x01\x02\x03\x04\x05\x06\x07\xff\x01\x00\xca\x3f\x00\x00\x00", 0),
		C("\x01\x91\x98\x01\x02\x03\x04\x05\x06\x07\xff", 0),
		C("\x01\x95\x98\x01\x02\x03\x04\x05\x06\x07\xff\x01\x00\xca\x3f\x00\x00\x00\xa1x", 0),
		/* Seven dimensions, nine, not a number. */
		C("\x01\x81\xa3Vec\x97\x01\x02\x03\x04\x05\x06\x07", -EDECODE),
		C("\x01\x81\xa3Vec\x99\x01\x02\x03\x04\x05\x06\x07\x08\x09", -EDECODE),
		C("\x01\x82\xa3Vec\x98\x01\x02\x03\x04\x05\x06\x07\x08\xa5" "Error\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", -EDECODE),
		C("\x01\x82\xa3Vec\x98\x01\x02\x03\x04\x05\x06\x07\x08\xa5" "Error\xa1x", -EDECODE),
#undef C
	};
	struct coord got;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(coord_get((struct str){ cases[i].bytes, cases[i].len }, &got), cases[i].rc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors), cmocka_unit_test(test_fresh), cmocka_unit_test(test_distance),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_same_place), cmocka_unit_test(test_reset),
		cmocka_unit_test(test_filter), cmocka_unit_test(test_bytes), cmocka_unit_test(test_bytes_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
