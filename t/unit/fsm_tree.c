/* fsm_tree.c - the ordered set: random adds, removals and replacements against a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "raftd/fsm/tree.h"

enum { UNIVERSE = 4000 };

struct item {
	char key[12];
	uint64_t index;
};

static uint64_t rng;

static unsigned
roll(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 20) % n;
}

static struct str
item_key(const void *p)
{
	return str_from(((const struct item *)p)->key);
}

static uint64_t
item_index(const void *p)
{
	return ((const struct item *)p)->index;
}

static const struct tree_type type = { item_key, item_index };

static struct item *all[UNIVERSE];

static struct item *
item_new(unsigned i, uint64_t index)
{
	struct item *it = malloc(sizeof(*it));

	assert_non_null(it);
	(void)snprintf(it->key, sizeof(it->key), "%04u", i);
	it->index = index;
	return it;
}

static void
compare(const struct tree *t, const char *prefix)
{
	struct tree_iter it;
	uint64_t max = 0;
	size_t n = 0;

	tree_seek(t, str_from(prefix), &it);
	for (unsigned i = 0; i < UNIVERSE; i++) {
		if (all[i] == NULL)
			continue;
		n++;
		assert_ptr_equal(tree_get(t, item_key(all[i])), all[i]);
		if (strncmp(all[i]->key, prefix, strlen(prefix)) != 0)
			continue;
		assert_ptr_equal(tree_next_prefixed(&it, str_from(prefix)), all[i]);
		max = all[i]->index > max ? all[i]->index : max;
	}
	assert_null(tree_next_prefixed(&it, str_from(prefix)));
	assert_int_equal(tree_prefix_max(t, str_from(prefix)), max);
	assert_int_equal(t->n, n);
}

static void
change(struct tree *t, unsigned i, unsigned grow, uint64_t index)
{
	struct item *new;

	if (all[i] == NULL && roll(100) < grow) {
		all[i] = item_new(i, index);
		assert_int_equal(tree_add(t, all[i]), 0);
	} else if (all[i] != NULL && roll(100) < grow) {
		/* Undoing puts an older index in the place of a newer. */
		new = item_new(i, roll(4) == 0 ? all[i]->index / 2 : index);
		tree_replace(t, all[i], new);
		free(all[i]);
		all[i] = new;
	} else if (all[i] != NULL) {
		tree_del(t, all[i]);
		free(all[i]);
		all[i] = NULL;
	}
}

static void
test_random(void **state)
{
	static const char *const prefixes[] = { "", "0", "1", "20", "399", "3999", "9", "12" };
	struct tree t;
	uint64_t index = 1;

	(void)state;
	tree_init(&t, &type);
	/* Filling, churning, emptying: three times. */
	for (int round = 0; round < 9; round++) {
		unsigned grow = round % 3 == 0 ? 95 : round % 3 == 1 ? 50 : 3;

		for (int i = 0; i < 12000; i++)
			change(&t, roll(UNIVERSE), grow, index++);
		for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
			compare(&t, prefixes[i]);
	}
	tree_release(&t, free);
	memset(all, 0, sizeof(all));
}

static void
test_in_order(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, &type);
	for (unsigned i = 0; i < UNIVERSE; i++) {
		all[i] = item_new(i, i + 1);
		assert_int_equal(tree_add(&t, all[i]), 0);
	}
	compare(&t, "");
	for (unsigned i = UNIVERSE; i-- > 0;) {
		tree_del(&t, all[i]);
		free(all[i]);
		all[i] = NULL;
		if (i % 500 == 0)
			compare(&t, "1");
	}
	assert_null(t.root);
	assert_null(tree_first(&t));
	assert_null(tree_get(&t, STR("0001")));
	for (unsigned i = UNIVERSE; i-- > 0;) {
		all[i] = item_new(i, i + 1);
		assert_int_equal(tree_add(&t, all[i]), 0);
	}
	compare(&t, "");
	tree_release(&t, free);
	memset(all, 0, sizeof(all));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_in_order), cmocka_unit_test(test_random) };
	const char *seed = getenv("FSM_SEED");

	rng = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + 1;
	printf("# FSM_SEED=%llu\n", (unsigned long long)rng);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
