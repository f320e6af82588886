/* archive_nomem.c - the Nth allocation fails, for every N: saving and loading say so, and nothing is told of what is not whole. */
#include "t/unit/archive.h"

#include "t/unit/nomem.h"

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refusing;

static bool
refuse(void)
{
	if (left != 0) {
		left -= left > 0;
		return false;
	}
	refusing = true;
	return true;
}

static int
count(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	(void)table;
	(void)key;
	(void)value;
	++*(size_t *)ctx;
	return 0;
}

/* True: N allocations were enough. */
static bool
load_without(int fd, size_t records, long n)
{
	size_t told = 0;
	const struct archive_sink sink = { &told, count };
	struct snap_meta meta;
	char err[SNAP_ERROR_MAX] = "";
	int rc;

	refusing = false;
	left = n;
	rc = archive_load(fd, "dc1", &sink, &meta, err);
	left = -1;
	assert_int_equal(rc < 0, refusing);
	assert_true(rc == 0 ? told == records : err[0] != 0 && told < records);
	return !refusing;
}

static bool
save_without(struct world *w, long n)
{
	struct snap_meta meta = { .index = 1, .term = 1 };
	char err[SNAP_ERROR_MAX] = "";
	int fd = scratch(), rc;

	refusing = false;
	left = n;
	rc = archive_save(w->f, &meta, 0, fd, err);
	left = -1;
	assert_int_equal(rc < 0, refusing);
	assert_true(rc == 0 || err[0] != 0);
	(void)close(fd);
	return !refusing;
}

static void
each_allocation(const char *name)
{
	struct snap_meta meta;
	struct world *w = load(open_data(name), &meta);
	struct image m;
	long n = 0;
	int fd = open_data(name);

	image_dump(w->f, &m);
	while (!load_without(fd, m.n, n))
		n++;
	for (n = 0; !save_without(w, n);)
		n++;
	image_free(&m);
	world_free(w);
	(void)close(fd);
}

static void
test_each_allocation(void **state)
{
	(void)state;
	each_allocation("b-catalog.snap");
	each_allocation("c-acl.snap");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_allocation) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
