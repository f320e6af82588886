/* raft_store.c - the store: what survives a crash, and what is noticed when it did not. */
#include "t/unit/raft_store_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftd/store/crc32c.h"

static void
checksums_agree(void **state)
{
	uint8_t bytes[300];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t n = 0; n < sizeof(bytes); n++)
		assert_int_equal(crc32c(5, bytes, n), crc32c_table(5, bytes, n));
}

static void
batches_are_checked(void **state)
{
	struct batch *b = batch_new();
	struct batch_cursor c;
	struct batch_entry e;
	size_t at;

	(void)state;
	assert_int_equal(batch_entry_begin(b, ENTRY_STATE, &at), 0);
	assert_int_equal(buf_adds(&b->bytes, "abc"), 0);
	batch_entry_end(b, at);
	assert_int_equal(batch_entry_begin(b, ENTRY_STATE, &at), 0);
	batch_entry_drop(b, at);
	assert_int_equal(batch_entry_begin(b, ENTRY_SERVERS, &at), 0);
	batch_entry_end(b, at);
	batch_seal(b, 41, 3);
	assert_int_equal(batch_read((struct str){ (char *)b->bytes.data, b->bytes.len }, 41, &c), 0);
	assert_int_equal(batch_next(&c, true, &e), 1);
	assert_int_equal(e.index, 41);
	assert_true(str_eqs(e.data, "abc"));
	assert_int_equal(batch_next(&c, true, &e), 1);
	assert_int_equal(e.kind, ENTRY_SERVERS);
	assert_int_equal(batch_next(&c, true, &e), 0);
	/* The same bytes in another place of the log are wrong. */
	assert_int_equal(batch_read((struct str){ (char *)b->bytes.data, b->bytes.len }, 42, &c), 0);
	assert_int_equal(batch_next(&c, true, &e), -EDECODE);
	for (size_t i = 0; i < b->bytes.len; i++) {
		int rc = 1;

		b->bytes.data[i] ^= 1;
		assert_int_equal(batch_read((struct str){ (char *)b->bytes.data, b->bytes.len }, 41, &c), 0);
		while (rc > 0)
			rc = batch_next(&c, true, &e);
		assert_int_equal(rc, -EDECODE);
		b->bytes.data[i] ^= 1;
	}
	for (size_t n = 0; n < b->bytes.len; n++)
		if (batch_read((struct str){ (char *)b->bytes.data, n }, 41, &c) == 0)
			while (batch_next(&c, true, &e) > 0)
				;
	batch_free(b);
}

static void
everything_comes_back(void **state)
{
	const struct store_start *st;
	uint64_t sum;

	(void)state;
	must_open(w.dir);
	assert_int_equal(store_found(w.store)->last, 0);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 77);
	store_cluster(w.store, 4711);
	append(1, 1, 1);
	append(2, 5, 1);
	store_state(w.store, 2, 78);
	append(7, 3, 2);
	change(0, "a", "1");
	change(1, "a", "2");
	change(0, "b", "3");
	change(0, "a", "4");
	change(2, "gone", "5");
	change(2, "gone", NULL);
	assert_int_equal(store_changes_send(w.store, 6), 0);
	stop();

	must_open(w.dir);
	st = store_found(w.store);
	assert_int_equal(st->term, 2);
	assert_int_equal(st->vote, 78);
	assert_int_equal(st->base, 0);
	assert_int_equal(st->last, 9);
	assert_int_equal(st->applied, 6);
	assert_int_equal(st->nruns, 2);
	assert_int_equal(st->runs[1].first, 7);
	assert_true(st->cluster == 4711);
	must_load();
	assert_int_equal(w.records, 3);
	sum = crc32c(0, "a", 1) + (uint64_t)crc32c(0, "4", 1) + crc32c(0, "b", 1) + crc32c(0, "3", 1) +
	    2 * (crc32c(0, "a", 1) + (uint64_t)crc32c(0, "2", 1));
	assert_int_equal(w.sum, sum);
	assert_int_equal(w.first_entry, 7);
	assert_int_equal(w.last_entry, 9);
}

/* The image may be behind, the log never: what is said to be durable is there after a crash at any moment. */
static void
a_crash_loses_nothing_durable(void **state)
{
	char copy[128], key[32];

	(void)state;
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	for (uint64_t i = 1; i <= 200; i++) {
		append(i, 1, 1);
		(void)snprintf(key, sizeof(key), "key %" PRIu64, i);
		change(0, key, "x");
		if (i % 20 == 0)
			assert_int_equal(store_changes_send(w.store, i), 0);
		if (i % 67 == 0) {
			struct store *live = w.store;

			copy_dir(w.dir, copy);
			must_open(copy);
			assert_true(store_found(w.store)->last >= i);
			must_load();
			assert_int_equal(w.records, store_found(w.store)->applied);
			assert_int_equal(w.last_entry, store_found(w.store)->last);
			shut();
			w.store = live;
		}
	}
}

static void
old_entries_go(void **state)
{
	char err[DATADIR_ERROR_MAX], value[2048];
	uint64_t next = 1;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	assert_int_equal(try_open(w.dir, 64 * 1024, 10, err), 0);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	while (w.base < 100 && next < 20000) {
		append(next, 2, next < 50 ? 1 : 2);
		next += 2;
		change(1, "k", value);
		if (next % 10 == 1)
			assert_int_equal(store_changes_send(w.store, next - 1), 0);
	}
	assert_true(w.base >= 100);
	stop();
	must_open(w.dir);
	assert_true(store_found(w.store)->base >= 100);
	assert_int_equal(store_found(w.store)->last, next - 1);
	assert_int_equal(store_found(w.store)->nruns, 1);
	assert_int_equal(store_found(w.store)->runs[0].term, 2);
	must_load();
}

/* The loop runs, nothing is written. */
static void
let_pass(uint64_t ms)
{
	w.timed_out = false;
	assert_int_equal(uv_timer_start(&w.guard, on_guard, ms, 0), 0);
	while (!w.timed_out && !w.failed)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
}

static uint64_t
checkpoints(void)
{
	struct store_stats st;

	store_stats(w.store, &st);
	return st.checkpoints;
}

/* At rest there is one checkpoint, none when next to nothing was written since, and entries do not wait for any of it. */
static void
an_idle_store_is_left_clean(void **state)
{
	char key[32], value[1024];
	uint64_t next = 2;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	append(1, 1, 1);
	for (int i = 0; i < 1500; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i);
		change(1, key, value);
	}
	assert_int_equal(store_changes_send(w.store, 1), 0);
	assert_int_equal(checkpoints(), 0);
	for (int i = 0; i < 50 && checkpoints() == 0; i++)
		let_pass(100);
	assert_int_equal(checkpoints(), 1);
	append(next++, 1, 1);
	let_pass(1500);
	assert_int_equal(checkpoints(), 1);

	/* Whoever writes all the time is not idle. */
	for (int i = 0; i < 1500; i++) {
		(void)snprintf(key, sizeof(key), "more %d", i);
		change(1, key, value);
	}
	assert_int_equal(store_changes_send(w.store, next - 1), 0);
	for (int i = 0; i < 15; i++) {
		append(next++, 1, 1);
		let_pass(100);
	}
	assert_int_equal(checkpoints(), 1);
	stop();
}

/* Entries that change far more than they hold do not outrun the image for ever. */
static void
the_image_keeps_up(void **state)
{
	char value[4096], key[32];
	struct store_stats st;
	uint64_t lag = 0;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	for (uint64_t i = 1; i <= 120; i++) {
		append(i, 1, 1);
		for (int k = 0; k < 300; k++) {
			(void)snprintf(key, sizeof(key), "key %d", k);
			change(0, key, value);
		}
		assert_int_equal(store_changes_send(w.store, i), 0);
		store_stats(w.store, &st);
		lag = st.image_lag_bytes > lag ? st.image_lag_bytes : lag;
	}
	print_message("# lag %" PRIu64 " KiB at most\n", lag / 1024);
	assert_true(lag <= STORE_LAG_MAX + 4 * 300 * sizeof(value));
	stop();
}

static void
one_owner(void **state)
{
	char err[DATADIR_ERROR_MAX];
	struct store *first;

	(void)state;
	must_open(w.dir);
	first = w.store;
	assert_int_equal(try_open(w.dir, 0, 10, err), -EBUSY);
	assert_non_null(strstr(err, "in use by another running node"));
	w.store = first;
}

/* Measured in the wild: a flipped bit in Berkeley DB's log, and half of what was synced is gone without a word. */
static void
a_shortened_log_is_noticed(void **state)
{
	char copy[128], whole[128], err[DATADIR_ERROR_MAX];
	long at;

	(void)state;
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	(void)snprintf(whole, sizeof(whole), "%s/whole", w.root);
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	for (uint64_t i = 1; i <= 100; i++)
		append(i, 1, 1);
	copy_dir(w.dir, copy);
	copy_dir(w.dir, whole);
	/* The last of them: pages that were logged when the tables were made may hold memory of an earlier test. */
	at = find_text(copy, "log.0000000001", "entry 50");
	assert_true(at > 0);
	flip(copy, "log.0000000001", at, false);
	shut();
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "had been promised"));
	assert_non_null(strstr(err, "move the directory away"));
	/* Without the flipped bit the same copy opens: it is the bit that was noticed. */
	must_open(whole);
	shut();
}

static void
damaged_marks_are_noticed(void **state)
{
	char copy[128], path[512], err[DATADIR_ERROR_MAX];

	(void)state;
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	append(1, 3, 1);
	stop();

	copy_dir(w.dir, copy);
	flip(copy, "durable", 20, false);
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "durable is damaged"));

	copy_dir(w.dir, copy);
	(void)snprintf(path, sizeof(path), "%s/durable", copy);
	assert_int_equal(unlink(path), 0);
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "no file named durable"));

	copy_dir(w.dir, copy);
	flip(copy, "id", 3, false);
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "id"));

	/* A file of another directory, with the database of this one. */
	copy_dir(w.dir, copy);
	(void)snprintf(path, sizeof(path), "printf '%%s\\n' 00000000deadbeef > %s/id", copy);
	assert_int_equal(system(path), 0);
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "two data directories"));

	/* The database is gone, the promise is not. */
	copy_dir(w.dir, copy);
	(void)snprintf(path, sizeof(path), "rm -f %s/*.db %s/log.*", copy, copy);
	assert_int_equal(system(path), 0);
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "had been promised"));
}

/* Whatever byte of the image is wrong, nothing wrong is loaded. */
static void
a_damaged_image_is_not_served(void **state)
{
	char copy[128], err[DATADIR_ERROR_MAX], key[32], value[64];
	uint64_t sum;
	size_t records;
	int noticed = 0;

	(void)state;
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	append(1, 3, 1);
	for (int i = 0; i < 500; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i);
		(void)snprintf(value, sizeof(value), "some value of record number %d", i);
		change(1, key, value);
	}
	assert_int_equal(store_changes_send(w.store, 3), 0);
	stop();
	must_open(w.dir);
	must_load();
	sum = w.sum;
	records = w.records;
	shut();
	for (long at = 3000; at < 60000; at += 3001) {
		int rc;

		copy_dir(w.dir, copy);
		flip(copy, "image-1.db", at, true);
		rc = try_open(copy, 0, 10, err);
		if (rc == 0)
			rc = try_load(err);
		if (rc < 0)
			noticed++;
		else
			assert_true(w.sum == sum && w.records == records);
		if (w.store != NULL)
			shut();
	}
	assert_true(noticed > 10);
}

/* Entries and records of the same numbers, the image as far as `upto`. */
static void
write_some(uint64_t first, uint64_t upto)
{
	char err[DATADIR_ERROR_MAX], key[32];

	assert_int_equal(try_open(w.dir, 0, 1000, err), 0);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	for (uint64_t i = first; i <= upto; i++) {
		append(i, 1, 1);
		(void)snprintf(key, sizeof(key), "key %" PRIu64, i);
		change(1, key, "x");
	}
	assert_int_equal(store_changes_send(w.store, upto), 0);
	stop();
}

/* An image that is not the one that was written is made again from the log where it ends, or the start is refused. */
static void
a_lost_image_is_not_taken_for_an_empty_one(void **state)
{
	char copy[128], old[160], path[512], err[DATADIR_ERROR_MAX];
	int rc;

	(void)state;
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	(void)snprintf(old, sizeof(old), "%s/old", w.root);
	write_some(1, 20);
	copy_dir(w.dir, old);
	write_some(21, 40);

	copy_dir(w.dir, copy);
	(void)snprintf(path, sizeof(path), "%s/image-1.db", copy);
	assert_int_equal(unlink(path), 0);
	must_open(copy);
	assert_int_equal(store_found(w.store)->applied, 0);
	must_load();
	assert_true(w.records == 0 && w.first_entry == 1 && w.last_entry == 40);
	shut();

	copy_dir(w.dir, copy);
	(void)snprintf(path, sizeof(path), "cp %s/image-1.db %s/image-1.db", old, copy);
	assert_int_equal(system(path), 0);
	rc = try_open(copy, 0, 10, err);
	if (rc == 0) {
		must_load();
		assert_int_equal(w.records, 20);
		assert_true(w.first_entry == 21 && w.last_entry == 40);
		shut();
	}
}

/* Any bit of any file, after a crash: the start is refused, or all that was durable is there. */
static void
a_wrong_bit_is_noticed_or_harmless(void **state)
{
	static const char *const files[] = { "entries-1.db", "image-1.db", "log.0000000001", "durable", "id", "raft.db" };
	char live[128], copy[128], path[512], err[DATADIR_ERROR_MAX], key[32];
	unsigned noticed = 0, seed = (unsigned)getpid();
	struct stat st;

	(void)state;
	print_message("# seed %u\n", seed);
	srandom(seed);
	(void)snprintf(live, sizeof(live), "%s/live", w.root);
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	write_some(1, 50);
	assert_int_equal(try_open(w.dir, 0, 1000, err), 0);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	for (uint64_t i = 51; i <= 100; i++) {
		append(i, 1, 1);
		(void)snprintf(key, sizeof(key), "key %" PRIu64, i);
		change(1, key, "x");
		if (i == 75)
			assert_int_equal(store_changes_send(w.store, i), 0);
	}
	copy_dir(w.dir, live);
	shut();
	for (int i = 0; i < 60; i++) {
		const char *file = files[i % 5 < 3 ? i % 5 : random() % 6];
		long at;
		int rc;

		copy_dir(live, copy);
		(void)snprintf(path, sizeof(path), "%s/%s", copy, file);
		assert_int_equal(stat(path, &st), 0);
		/* What Berkeley DB has written of a log file is at its front. */
		at = random() % (st.st_size < 40000 ? st.st_size : 40000);
		flip(copy, file, at, false);
		rc = try_open(copy, 0, 1000, err);
		if (rc == 0)
			rc = try_load(err);
		if (rc == 0 && (store_found(w.store)->last != 100 || w.records != store_found(w.store)->applied ||
		    w.last_entry != 100 || w.first_entry != store_found(w.store)->applied + 1))
			fail_msg("%s at %ld: last %" PRIu64 " applied %" PRIu64 " records %zu", file, at,
			    store_found(w.store)->last, store_found(w.store)->applied, w.records);
		noticed += rc < 0;
		if (w.store != NULL)
			shut();
	}
	print_message("# %u of 60 noticed\n", noticed);
	assert_true(noticed > 5);
}

static void
a_read_only_directory_is_told(void **state)
{
	char err[DATADIR_ERROR_MAX], cmd[256];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "%s/nowhere/raftd", w.root);
	assert_true(try_open(cmd, 0, 10, err) < 0);
	assert_non_null(strstr(err, "nowhere"));
	/* A file where the directory should be. */
	(void)snprintf(cmd, sizeof(cmd), "touch %s", w.dir);
	assert_int_equal(system(cmd), 0);
	assert_true(try_open(w.dir, 0, 10, err) < 0);
	assert_non_null(strstr(err, "Not a directory"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_agree),
		cmocka_unit_test(batches_are_checked),
		cmocka_unit_test_setup_teardown(everything_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_crash_loses_nothing_durable, setup, teardown),
		cmocka_unit_test_setup_teardown(old_entries_go, setup, teardown),
		cmocka_unit_test_setup_teardown(an_idle_store_is_left_clean, setup, teardown),
		cmocka_unit_test_setup_teardown(the_image_keeps_up, setup, teardown),
		cmocka_unit_test_setup_teardown(one_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shortened_log_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_marks_are_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_damaged_image_is_not_served, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lost_image_is_not_taken_for_an_empty_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wrong_bit_is_noticed_or_harmless, setup, teardown),
		cmocka_unit_test_setup_teardown(a_read_only_directory_is_told, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
