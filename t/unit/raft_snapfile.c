/* raft_snapfile.c - a state as a file: read back as written, and refused whole whatever is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "raftd/snapfile.h"

enum { RECORDS = 40 };

static char big[700 * 1024];

static struct str
value_of(unsigned i)
{
	return (struct str){ big, i == 20 ? sizeof(big) : (size_t)i * 3 };
}

static int
make(void)
{
	int fd = memfd_create("snap", 0);
	struct snapfile_writer *w = snapfile_write(fd, 77, 5);
	char key[16];

	assert_true(fd >= 0);
	assert_non_null(w);
	for (unsigned i = 0; i < RECORDS; i++) {
		int n = snprintf(key, sizeof(key), "key%u", i);

		assert_int_equal(snapfile_add(w, i % 11, (struct str){ key, (size_t)n }, value_of(i)), 0);
	}
	assert_int_equal(snapfile_end(w), 0);
	return fd;
}

/* What reading it ends with, and how many records came. */
static int
read_all(int fd, unsigned *ret_n)
{
	struct snapfile_reader *r = snapfile_read(fd);
	struct str key, value;
	char err[256] = "";
	unsigned table;
	int rc;

	*ret_n = 0;
	assert_non_null(r);
	while ((rc = snapfile_next(r, &table, &key, &value, err)) > 0)
		(*ret_n)++;
	assert_true(rc == 0 || err[0] != 0);
	if (rc == 0) {
		assert_int_equal(snapfile_index(r), 77);
		assert_int_equal(snapfile_term(r), 5);
		assert_int_equal(snapfile_next(r, &table, &key, &value, err), 0);
	}
	snapfile_free(r);
	return rc;
}

static void
test_round(void **state)
{
	int fd = make();
	struct snapfile_reader *r = snapfile_read(fd);
	struct str key, value;
	char err[256], want[16];
	unsigned table;

	(void)state;
	for (unsigned i = 0; i < RECORDS; i++) {
		assert_int_equal(snapfile_next(r, &table, &key, &value, err), 1);
		(void)snprintf(want, sizeof(want), "key%u", i);
		assert_int_equal(table, i % 11);
		assert_true(str_eqs(key, want));
		assert_true(str_eq(value, value_of(i)));
	}
	assert_int_equal(snapfile_next(r, &table, &key, &value, err), 0);
	snapfile_free(r);
	(void)close(fd);
}

static void
test_empty(void **state)
{
	int fd = memfd_create("snap", 0);
	struct snapfile_writer *w = snapfile_write(fd, 77, 5);
	unsigned n;

	(void)state;
	assert_int_equal(snapfile_end(w), 0);
	assert_int_equal(read_all(fd, &n), 0);
	assert_int_equal(n, 0);
	(void)close(fd);
}

/* Cut off anywhere: never taken for whole. */
static void
test_cut(void **state)
{
	int whole = make();
	off_t size = lseek(whole, 0, SEEK_END);
	unsigned n;

	(void)state;
	assert_int_equal(read_all(whole, &n), 0);
	assert_int_equal(n, RECORDS);
	for (off_t len = 0; len < size; len += len < 300 || len > size - 300 ? 1 : 9973) {
		int fd = make();

		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(read_all(fd, &n), -EDECODE);
		(void)close(fd);
	}
	(void)close(whole);
}

/* Any bit. */
static void
test_flipped(void **state)
{
	int fd = make();
	off_t size = lseek(fd, 0, SEEK_END);
	unsigned n;

	(void)state;
	for (off_t at = 0; at < size; at += at < 300 || at > size - 300 ? 1 : 9973)
		for (unsigned bit = 1; bit < 256; bit <<= 3) {
			uint8_t c, flipped;
			int rc;

			assert_int_equal(pread(fd, &c, 1, at), 1);
			flipped = (uint8_t)(c ^ bit);
			assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
			rc = read_all(fd, &n);
			assert_true(rc == -EDECODE || rc == -ENOTSUP);
			assert_int_equal(pwrite(fd, &c, 1, at), 1);
		}
	assert_int_equal(read_all(fd, &n), 0);
	(void)close(fd);
}

static void
test_more(void **state)
{
	int fd = make();
	unsigned n;

	(void)state;
	assert_int_equal(lseek(fd, 0, SEEK_END) > 0, 1);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read_all(fd, &n), -EDECODE);
	(void)close(fd);
}

static void
test_later_version(void **state)
{
	int fd = make();
	unsigned n;

	(void)state;
	assert_int_equal(pwrite(fd, "2", 1, 16), 1);
	assert_int_equal(read_all(fd, &n), -ENOTSUP);
	(void)close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_more),
		cmocka_unit_test(test_later_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
