/* The judge of histories: known cases, and thousands of small random ones against trying out every order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "t/sim/linear.h"

#define U LINEAR_UNKNOWN
#define PUT(from, to, v) { .kind = LINEAR_PUT, .call = from, .ret = to, .value = v, .ok = true }
#define GET(from, to, v) { .kind = LINEAR_GET, .call = from, .ret = to, .seen = v, .saw = true }
#define CAS(from, to, old, v, yes) { .kind = LINEAR_CAS, .call = from, .ret = to, .expect = old, .value = v, .ok = yes }
#define DELETE(from, to) { .kind = LINEAR_DELETE, .call = from, .ret = to, .ok = true }
#define ACQUIRE(from, to, s, yes) { .kind = LINEAR_ACQUIRE, .call = from, .ret = to, .value = s, .ok = yes }
#define RELEASE(from, to, s, yes) { .kind = LINEAR_RELEASE, .call = from, .ret = to, .value = s, .ok = yes }

struct history {
	const char *name;
	enum linear_verdict want;
	struct linear_op ops[8];
	size_t n;
};

static const struct history cases[] = {
	{ "read what was written", LINEAR_OK, { PUT(1, 2, 1), GET(3, 4, 1) }, 2 },
	{ "a stale read", LINEAR_BAD, { PUT(1, 2, 1), GET(3, 4, 0) }, 2 },
	{ "a read beside the write: old", LINEAR_OK, { PUT(1, 5, 1), GET(2, 4, 0) }, 2 },
	{ "a read beside the write: new", LINEAR_OK, { PUT(1, 5, 1), GET(2, 4, 1) }, 2 },
	{ "new, then old again", LINEAR_BAD, { PUT(1, 9, 1), GET(2, 3, 1), GET(4, 5, 0) }, 3 },
	{ "a value that nobody wrote", LINEAR_BAD, { PUT(1, 2, 1), GET(3, 4, 7) }, 2 },
	{ "an acknowledged write is lost", LINEAR_BAD, { PUT(1, 2, 1), PUT(3, 4, 2), GET(5, 6, 1) }, 3 },
	{ "an unknown write shows late", LINEAR_OK, { PUT(1, U, 1), GET(2, 3, 0), GET(8, 9, 1) }, 3 },
	{ "an unknown write shows and goes", LINEAR_BAD, { PUT(1, U, 1), GET(2, 3, 1), GET(4, 5, 0) }, 3 },
	{ "a value is read before it is written", LINEAR_BAD, { GET(1, 2, 1), PUT(3, U, 1) }, 2 },
	{ "two cas on one value", LINEAR_BAD, { PUT(1, 2, 1), CAS(3, 6, 1, 2, true), CAS(4, 5, 1, 3, true) }, 3 },
	{ "cas, and one that fails", LINEAR_OK, { PUT(1, 2, 1), CAS(3, 6, 1, 2, true), CAS(4, 5, 1, 3, false) }, 3 },
	{ "cas fails without a reason", LINEAR_BAD, { PUT(1, 2, 1), CAS(3, 4, 1, 2, false) }, 2 },
	{ "an unknown write is the reason", LINEAR_OK, { PUT(1, 2, 1), PUT(1, U, 9), CAS(3, 4, 1, 2, false) }, 3 },
	{ "but cannot be when the value comes back", LINEAR_BAD,
	    { PUT(1, 2, 1), PUT(1, U, 9), CAS(3, 4, 1, 2, false), GET(5, 6, 1) }, 4 },
	{ "an unknown cas of which a value was seen", LINEAR_OK,
	    { PUT(1, U, 1), CAS(2, U, 1, 2, false), GET(3, 4, 2) }, 3 },
	{ "an unknown cas on nothing", LINEAR_BAD, { CAS(2, U, 1, 2, false), GET(3, 4, 2) }, 2 },
	{ "deleted", LINEAR_OK, { PUT(1, 2, 1), DELETE(3, 4), GET(5, 6, 0) }, 3 },
	{ "deleted and there again", LINEAR_BAD, { PUT(1, 2, 1), DELETE(3, 4), GET(5, 6, 1) }, 3 },
	{ "a lock has one holder", LINEAR_BAD, { ACQUIRE(1, 2, 1, true), ACQUIRE(3, 4, 2, true) }, 2 },
	{ "a lock goes from hand to hand", LINEAR_OK,
	    { ACQUIRE(1, 2, 1, true), ACQUIRE(3, 4, 2, false), RELEASE(5, 6, 1, true), ACQUIRE(7, 8, 2, true) }, 4 },
	{ "a free lock is refused", LINEAR_BAD, { ACQUIRE(1, 2, 1, false) }, 1 },
	{ "released by another", LINEAR_BAD, { ACQUIRE(1, 2, 1, true), RELEASE(3, 4, 2, true) }, 2 },
	{ "an unknown release", LINEAR_OK, { ACQUIRE(1, 2, 1, true), RELEASE(3, U, 1, false), ACQUIRE(5, 6, 2, true) }, 3 },
};

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct linear_op ops[8];
		uint64_t key;

		memcpy(ops, cases[i].ops, sizeof(ops));
		if (linear_check(ops, cases[i].n, &key) != cases[i].want)
			fail_msg("%s", cases[i].name);
	}
}

/* ---- every order, by brute force */

static bool
apply(const struct linear_op *o, uint64_t *value)
{
	bool unknown = o->ret == U;

	switch (o->kind) {
	case LINEAR_GET:
		return unknown || *value == o->seen;
	case LINEAR_CAS:
		if (!unknown && (o->ok != (*value == o->expect) || (o->saw && o->seen != *value)))
			return false;
		if (*value == o->expect)
			*value = o->value;
		return true;
	case LINEAR_DELETE:
		*value = 0;
		return true;
	default:
		*value = o->value;
		return true;
	}
}

static bool
orderable(const struct linear_op *ops, size_t n, unsigned done, uint64_t value)
{
	bool finished = true;
	uint64_t first = U;

	for (size_t i = 0; i < n; i++) {
		if ((done >> i & 1) != 0)
			continue;
		finished &= ops[i].ret == U;
		if (ops[i].ret < first)
			first = ops[i].ret;
	}
	if (finished)
		return true;
	for (size_t i = 0; i < n; i++) {
		uint64_t next = value;

		if ((done >> i & 1) == 0 && ops[i].call <= first && apply(&ops[i], &next) &&
		    orderable(ops, n, done | 1u << i, next))
			return true;
	}
	return false;
}

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Few values and short times, so that about half of them can be explained. */
static size_t
invent(uint64_t *x, struct linear_op *ops)
{
	size_t n = 2 + next_random(x) % 6;
	bool deletes = next_random(x) % 4 == 0, unique = next_random(x) % 2 == 0;

	for (size_t i = 0; i < n; i++) {
		struct linear_op *o = &ops[i];

		*o = (struct linear_op){ .call = next_random(x) % 20 };
		o->kind = (enum linear_kind)(next_random(x) % (deletes ? 4 : 3));
		o->ret = next_random(x) % 4 == 0 ? U : o->call + 1 + next_random(x) % 12;
		o->value = unique ? i + 1 : 1 + next_random(x) % 3;
		o->expect = next_random(x) % 4;
		o->seen = next_random(x) % 4;
		o->ok = o->kind != LINEAR_CAS || next_random(x) % 2 == 0;
		o->saw = o->kind == LINEAR_GET || (o->kind == LINEAR_CAS && !o->ok && next_random(x) % 2 == 0);
	}
	return n;
}

static void
test_random(void **state)
{
	uint64_t seed = (uint64_t)time(NULL), x = seed * 2654435761u + 88172645463325252u, key;
	size_t good = 0, rounds = 200000;

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)seed);
	for (size_t i = 0; i < rounds; i++) {
		struct linear_op ops[8];
		size_t n = invent(&x, ops);
		bool want = orderable(ops, n, 0, 0);

		good += want;
		if ((linear_check(ops, n, &key) == LINEAR_OK) != want)
			fail_msg("seed %llu, history %zu: %s expected", (unsigned long long)seed, i, want ? "good" : "bad");
	}
	print_message("# %zu of %zu can be explained\n", good, rounds);
	assert_in_range(good, rounds / 20, rounds * 19 / 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
