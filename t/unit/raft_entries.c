/* raft_entries.c - the log in memory: finding, forgetting and cutting off, against a plain list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "raftd/raftd.h"

static struct batch *
make(uint64_t first, uint64_t term, unsigned n, unsigned bytes)
{
	struct batch *b = batch_new();

	assert_non_null(b);
	for (unsigned i = 0; i < n; i++) {
		size_t at;

		assert_int_equal(batch_entry_begin(b, i % 7 == 6 ? ENTRY_SERVERS : ENTRY_STATE, &at), 0);
		for (unsigned j = 0; j < bytes; j++)
			assert_int_equal(buf_addc(&b->bytes, (uint8_t)(first + i)), 0);
		batch_entry_end(b, at);
	}
	batch_seal(b, first, term);
	return b;
}

static void
test_find(void **state)
{
	struct entries e = { .v = NULL };
	size_t place = 0;

	(void)state;
	assert_null(entries_find(&e, 1, &place));
	assert_null(entries_at(&e, 0));
	for (uint64_t i = 0; i < 300; i++)
		assert_int_equal(entries_add(&e, make(10 + i * 3, 1, 3, 5)), 0);
	assert_null(entries_find(&e, 9, &place));
	assert_null(entries_find(&e, 910, &place));
	for (uint64_t index = 10; index < 910; index++) {
		const struct batch *b = entries_find(&e, index, &place);

		assert_non_null(b);
		assert_int_equal(place, (index - 10) / 3);
		assert_ptr_equal(b, entries_at(&e, place));
		assert_true(b->first <= index && index <= batch_last(b));
	}
	entries_release(&e);
}

static void
test_data(void **state)
{
	struct entries e = { .v = NULL };
	struct str s;

	(void)state;
	assert_int_equal(entries_add(&e, make(5, 2, 8, 3)), 0);
	s = entries_data(&e, 7, 2);
	assert_int_equal(s.len, 3);
	assert_int_equal(s.p[0], 7);
	assert_null(entries_data(&e, 7, 1).p);	/* another term's */
	assert_null(entries_data(&e, 11, 2).p);	/* a configuration */
	assert_null(entries_data(&e, 13, 2).p);
	entries_release(&e);
}

static void
test_truncate(void **state)
{
	struct entries e = { .v = NULL };
	struct batch_cursor c;
	struct batch_entry entry;
	const struct batch *b;
	size_t place;

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(entries_add(&e, make(1 + i * 4, 3, 4, 10)), 0);
	entries_truncate(&e, 23);
	b = entries_find(&e, 22, &place);
	assert_non_null(b);
	assert_int_equal(b->first, 21);
	assert_int_equal(b->n, 2);
	assert_null(entries_find(&e, 23, &place));
	assert_int_equal(batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c), 0);
	assert_int_equal(batch_next(&c, true, &entry), 1);
	assert_int_equal(batch_next(&c, true, &entry), 1);
	assert_int_equal(entry.index, 22);
	assert_int_equal(batch_next(&c, true, &entry), 0);
	/* What follows fits again. */
	assert_int_equal(entries_add(&e, make(23, 4, 1, 10)), 0);
	entries_truncate(&e, 1);
	assert_int_equal(e.n, 0);
	assert_int_equal(e.bytes, 0);
	assert_int_equal(entries_add(&e, make(77, 5, 1, 10)), 0);
	entries_release(&e);
}

static void
test_forget(void **state)
{
	struct entries e = { .v = NULL };
	struct batch *spare = NULL;
	size_t place, one;

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(entries_add(&e, make(1 + i, 3, 1, 100)), 0);
	one = e.bytes / 10;
	entries_forget(&e, 0, 0, &spare);
	assert_int_equal(e.n, 10);
	entries_forget(&e, 10, 4 * one, &spare);
	assert_int_equal(e.n, 4);
	assert_non_null(spare);
	assert_int_equal(spare->n, 0);
	entries_forget(&e, 8, 0, &spare);
	assert_int_equal(e.n, 2);
	assert_non_null(entries_find(&e, 9, &place));
	assert_int_equal(e.bytes, 2 * one);
	batch_free(spare);
	entries_release(&e);
}

/* Any order of these keeps exactly the entries that a list of numbers keeps. */
static void
test_random(void **state)
{
	struct entries e = { .v = NULL };
	unsigned seed = (unsigned)time(NULL);
	uint64_t low = 1, next = 1;

	(void)state;
	printf("# seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < 20000; i++) {
		struct batch *spare = NULL;
		size_t place;
		unsigned n = 1 + (unsigned)rand() % 9, what = (unsigned)rand() % 8;
		uint64_t at = low < next ? low + (uint64_t)rand() % (next - low) : next;

		if (what < 5 || low == next) {
			assert_int_equal(entries_add(&e, make(next, 1, n, 1)), 0);
			next += n;
		} else if (what == 5) {
			entries_truncate(&e, at);
			next = at;
		} else {
			entries_forget(&e, at, 0, &spare);
			batch_free(spare);
			if (e.n > 0)
				low = entries_at(&e, 0)->first;
			else
				low = next;
			assert_true(low <= at + 1);
		}
		assert_int_equal(entries_find(&e, at, &place) != NULL, at >= low && at < next);
		assert_null(entries_find(&e, next, &place));
		assert_int_equal(next > low && entries_find(&e, next - 1, &place) == NULL, 0);
	}
	entries_release(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
