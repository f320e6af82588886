/* raft_store_stage.c - another image beside the one in force: written, put in force, dropped, and killed on the way. */
#include "t/unit/raft_store_help.h"

#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raftd/store/crc32c.h"

static void
start(void)
{
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
}

/* n records of an image by this name, in two chunks. */
static void
stage(const char *name, unsigned n)
{
	char key[64];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(key, sizeof(key), "key %06u", i);
		assert_int_equal(store_stage(w.store, i % TABLES, str_from(key), str_from(name)), 0);
		if (i == n / 2)
			assert_int_equal(store_stage_send(w.store), 0);
	}
}

/* What loading an image of stage() must give. */
static uint64_t
sum_of(const char *name, unsigned n)
{
	uint64_t sum = 0;
	char key[64];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(key, sizeof(key), "key %06u", i);
		sum += (i % TABLES + 1) * (crc32c(0, key, strlen(key)) + (uint64_t)crc32c(0, name, strlen(name)));
	}
	return sum;
}

/* Files of other generations than this one are gone. */
static void
only_files(const char *dir, const char *image, const char *log)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, "image-", 6) == 0)
			assert_string_equal(e->d_name, image);
		if (strncmp(e->d_name, "entries-", 8) == 0)
			assert_string_equal(e->d_name, log);
	}
	(void)closedir(d);
}

/* A log of 20 entries, an image of theirs that stands at 10. */
static void
begin(void)
{
	start();
	store_state(w.store, 1, 7);
	append(1, 10, 1);
	append(11, 10, 1);
	change(0, "old", "x");
	assert_int_equal(store_changes_send(w.store, 10), 0);
}

static void
another_image(void **state)
{
	(void)state;
	begin();
	store_stage_begin(w.store);
	stage("new", 1000);
	assert_true(store_changed_bytes(w.store) > 0);
	assert_int_equal(store_stage_commit(w.store, 20, 0), 0);
	assert_int_equal(store_changed_bytes(w.store), 0);
	/* Sent now it is a change of the new one; entries go on. */
	change(0, "later", "y");
	assert_int_equal(store_changes_send(w.store, 21), 0);
	append(21, 1, 1);
	WAIT_FOR(w.staged == 20);
	assert_int_equal(w.epoch, 0);
	stop();
	must_open(w.dir);
	assert_int_equal(store_found(w.store)->base, 0);
	assert_int_equal(store_found(w.store)->last, 21);
	assert_int_equal(store_found(w.store)->applied, 21);
	must_load();
	assert_int_equal(w.records, 1001);
	assert_true(w.sum == sum_of("new", 1000) + crc32c(0, "later", 5) + (uint64_t)crc32c(0, "y", 1));
	only_files(w.dir, "image-2.db", "entries-1.db");
}

/* An installed snapshot: the log begins anew, and what is queued behind the commit is of the new one. */
static void
another_log(void **state)
{
	const struct store_start *st;

	(void)state;
	begin();
	append(21, 5, 2);
	queue(26, 5, 2);
	store_stage_begin(w.store);
	stage("new", 1000);
	store_state(w.store, 9, 3);
	assert_int_equal(store_stage_commit(w.store, 100, 7), 0);
	queue(101, 2, 7);
	queue(103, 4, 8);
	store_truncate(w.store, 105);
	queue(105, 1, 9);
	WAIT_FOR(w.staged == 100 && w.epoch == 2 && w.durable.last == 105);
	assert_int_equal(w.durable.term, 9);
	shut();
	must_open(w.dir);
	st = store_found(w.store);
	assert_true(st->base == 100 && st->last == 105 && st->applied == 100 && st->term == 9 && st->vote == 3);
	assert_int_equal(st->nruns, 4 - 1);
	assert_true(st->runs[0].first == 100 && st->runs[0].term == 7);
	assert_true(st->runs[1].first == 103 && st->runs[1].term == 8);
	assert_true(st->runs[2].first == 105 && st->runs[2].term == 9);
	must_load();
	assert_int_equal(w.records, 1000);
	assert_true(w.sum == sum_of("new", 1000));
	assert_true(w.first_entry == 101 && w.last_entry == 105);
	only_files(w.dir, "image-2.db", "entries-2.db");
	/* Once more, with a log that is empty then; the old files go while it runs. */
	assert_int_equal(store_run(w.store), 0);
	store_stage_begin(w.store);
	assert_int_equal(store_stage_commit(w.store, 200, 10), 0);
	WAIT_FOR(w.staged == 200 && w.epoch == 1);
	assert_int_equal(w.durable.last, 200);
	w.timed_out = false;
	assert_int_equal(uv_timer_start(&w.guard, on_guard, WAIT_MS, 0), 0);
	while ((has_file(w.dir, "image-2.db") || has_file(w.dir, "entries-2.db")) && !w.timed_out) {
		(void)usleep(1000);
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
	}
	only_files(w.dir, "image-3.db", "entries-3.db");
	shut();
	must_open(w.dir);
	st = store_found(w.store);
	assert_true(st->base == 200 && st->last == 200 && st->applied == 200 && st->nruns == 1 && st->runs[0].term == 10);
	must_load();
	assert_true(w.records == 0 && w.entries == 0);
	assert_int_equal(store_run(w.store), 0);
	append(201, 3, 10);
	append(204, 3, 11);
	shut();
	must_open(w.dir);
	assert_int_equal(store_found(w.store)->last, 206);
	assert_int_equal(store_found(w.store)->nruns, 2);
	must_load();
}

static void
a_dropped_image(void **state)
{
	(void)state;
	begin();
	store_stage_begin(w.store);
	stage("one", 3000);
	assert_int_equal(store_stage_send(w.store), 0);
	store_stage_drop(w.store);
	/* Begun anew without an end of the one before. */
	store_stage_begin(w.store);
	stage("two", 3000);
	assert_int_equal(store_stage_send(w.store), 0);
	store_stage_begin(w.store);
	stage("three", 2000);
	assert_int_equal(store_stage_commit(w.store, 20, 0), 0);
	/* And one on its heels that is not completed. */
	store_stage_begin(w.store);
	stage("four", 500);
	assert_int_equal(store_stage_send(w.store), 0);
	store_stage_drop(w.store);
	WAIT_FOR(w.staged == 20);
	append(21, 1, 1);
	store_stage_begin(w.store);
	stage("five", 500);
	assert_int_equal(store_stage_send(w.store), 0);
	stop();
	must_open(w.dir);
	assert_int_equal(store_found(w.store)->applied, 20);
	must_load();
	assert_int_equal(w.records, 2000);
	assert_true(w.sum == sum_of("three", 2000));
	only_files(w.dir, "image-2.db", "entries-1.db");
}

/* What commits find on their way, several of them queued at once. */
static void
commits_in_a_row(void **state)
{
	(void)state;
	begin();
	for (uint64_t i = 1; i <= 5; i++) {
		store_stage_begin(w.store);
		stage("row", (unsigned)i * 100);
		assert_int_equal(store_stage_commit(w.store, i * 100, i), 0);
		queue(i * 100 + 1, 3, i);
		change(0, "later", "y");
		assert_int_equal(store_changes_send(w.store, i * 100 + 1), 0);
	}
	WAIT_FOR(w.staged == 500 && w.epoch == 5 && w.durable.last == 503);
	stop();
	must_open(w.dir);
	assert_true(store_found(w.store)->base == 500 && store_found(w.store)->applied == 501);
	must_load();
	assert_int_equal(w.records, 501);
	assert_true(w.first_entry == 501 && w.last_entry == 503);
}

/* Reads asked before an installation have no answer behind it. */
static void
reads_across_an_installation(void **state)
{
	(void)state;
	begin();
	assert_int_equal(store_read(w.store, 1, 100000, 5), 0);
	store_stage_begin(w.store);
	assert_int_equal(store_stage_commit(w.store, 100, 7), 0);
	assert_int_equal(store_read(w.store, 1, 100000, 6), 0);
	WAIT_FOR(w.staged == 100 && w.reads == 2);
	assert_null(w.read);
	stop();
}

/* A long log goes at once. */
static void
a_long_log_is_replaced(void **state)
{
	uint64_t began;

	(void)state;
	start();
	store_state(w.store, 1, 7);
	for (uint64_t i = 0; i < 200000; i += 20)
		queue(i + 1, 20, 1);
	WAIT_FOR(w.durable.last == 200000);
	began = uv_hrtime();
	store_stage_begin(w.store);
	assert_int_equal(store_stage_commit(w.store, 1000000, 7), 0);
	WAIT_FOR(w.staged == 1000000);
	print_message("# a log of 200000 entries replaced in %" PRIu64 " ms\n", (uv_hrtime() - began) / 1000000);
	append(1000001, 10, 7);
	stop();
	must_open(w.dir);
	assert_true(store_found(w.store)->base == 1000000 && store_found(w.store)->last == 1000010);
	must_load();
	assert_int_equal(w.entries, 10);
}

/*
 * ---- The process ends at each call that changes a file, one after the
 * other, in the middle of what is written to Berkeley DB's log. A page of a
 * table goes to the kernel whole or not at all.
 */
enum { PAGE = 4096 };
static atomic_int die_at;		/* calls left, 0: never */

static void
maybe_die(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&die_at) == 0 || atomic_fetch_sub(&die_at, 1) > 1)
		return;
	if (n > 1 && n != PAGE)
		(void)syscall(SYS_pwrite64, fd, p, n / 2, at);
	(void)kill(getpid(), SIGKILL);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	maybe_die(fd, p, n, at);
	return syscall(SYS_pwrite64, fd, p, n, at);
}

int
fdatasync(int fd)
{
	maybe_die(fd, NULL, 0, 0);
	return (int)syscall(SYS_fdatasync, fd);
}

static atomic_bool disk_hangs, hanging;

int
fsync(int fd)
{
	maybe_die(fd, NULL, 0, 0);
	while (atomic_load(&disk_hangs)) {
		atomic_store(&hanging, true);
		(void)usleep(1000);
	}
	return (int)syscall(SYS_fsync, fd);
}

int
rename(const char *from, const char *to)
{
	maybe_die(-1, NULL, 0, 0);
	return (int)syscall(SYS_rename, from, to);
}

int
unlinkat(int fd, const char *name, int flags)
{
	maybe_die(-1, NULL, 0, 0);
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

/* From an image at 10 in a log of 20 to one at 100 with a log of its own, then on in that. */
static void
install(bool new_log, unsigned *told)
{
	uint64_t end = new_log ? 100 : 20;

	store_stage_begin(w.store);
	stage("new", 50);
	assert_int_equal(store_stage_commit(w.store, end, new_log ? 7 : 0), 0);
	queue(end + 1, 3, 8);
	WAIT_FOR(w.staged == end);
	*told = 1;
	WAIT_FOR(w.durable.last == end + 3);
	*told = 2;
	/* The old files go. */
	w.timed_out = false;
	assert_int_equal(uv_timer_start(&w.guard, on_guard, WAIT_MS, 0), 0);
	while (has_file(w.dir, "image-1.db") && !w.timed_out) {
		(void)usleep(200);
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
	}
}

/* All of the old or all of the new; then on from there. Returns whether it is the new. */
static bool
old_or_new(const char *dir, bool new_log, unsigned told)
{
	const struct store_start *st;
	uint64_t last;
	bool is_new;

	must_open(dir);
	st = store_found(w.store);
	last = st->last;
	is_new = st->applied != 10;
	assert_true(is_new || told == 0);
	if (is_new)
		assert_true(st->base == (new_log ? 100 : 0) && st->applied == (new_log ? 100 : 20));
	else
		assert_true(st->base == 0);
	assert_true(told < 2 || last == st->applied + 3);
	must_load();
	assert_int_equal(w.records, is_new ? 50 : 1);
	assert_true(!is_new || w.sum == sum_of("new", 50));
	only_files(dir, is_new ? "image-2.db" : "image-1.db", is_new && new_log ? "entries-2.db" : "entries-1.db");
	assert_int_equal(store_run(w.store), 0);
	append(last + 1, 2, 9);
	shut();
	must_open(dir);
	assert_int_equal(store_found(w.store)->last, last + 2);
	must_load();
	shut();
	return is_new;
}

static void
killed_at_each_step(bool new_log)
{
	unsigned *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char old[128], run[128];
	unsigned news = 0;
	int n, st;

	assert_true(told != MAP_FAILED);
	(void)snprintf(old, sizeof(old), "%s/old", w.root);
	(void)snprintf(run, sizeof(run), "%s/run", w.root);
	begin();
	stop();
	copy_dir(w.dir, old);
	for (n = 1, st = 1; st != 0; n++) {
		pid_t pid;

		copy_dir(old, run);
		*told = 0;
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			(void)snprintf(w.dir, sizeof(w.dir), "%.64s/run", w.root);
			assert_int_equal(uv_loop_fork(&w.loop.uv), 0);
			start();
			atomic_store(&die_at, n);
			install(new_log, told);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &st, 0), pid);
		assert_true(st == 0 || WIFSIGNALED(st));
		news += old_or_new(run, new_log, *told);
	}
	print_message("# %d steps, %u of them behind the switch\n", n, news);
	assert_true(n > 20 && news > 3 && (int)news < n - 3);
	(void)munmap(told, sizeof(*told));
}

static void
an_installation_killed_at_each_step(void **state)
{
	(void)state;
	killed_at_each_step(true);
}

static void
a_restore_killed_at_each_step(void **state)
{
	(void)state;
	killed_at_each_step(false);
}

/* The disk takes its time for the new file: entries do not wait for it, and with a new log term and vote do not. */
static void
a_slow_disk_holds_up_nothing(void **state)
{
	(void)state;
	begin();
	for (uint64_t i = 1; i <= 2; i++) {
		store_stage_begin(w.store);
		stage("new", 1000);
		atomic_store(&hanging, false);
		atomic_store(&disk_hangs, true);
		assert_int_equal(store_stage_commit(w.store, i == 1 ? 20 : 100, i == 1 ? 0 : 7), 0);
		while (!atomic_load(&hanging))
			(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		if (i == 1) {
			append(21, 3, 1);
			append(24, 3, 1);
		} else {
			queue(101, 3, 8);
			store_state(w.store, 5, 3);
			WAIT_FOR(w.durable.term == 5);
			assert_int_equal(w.durable.last, 26);
		}
		assert_int_equal(w.staged, i == 1 ? 0 : 20);
		atomic_store(&disk_hangs, false);
		WAIT_FOR(w.staged == (i == 1 ? 20 : 100));
	}
	WAIT_FOR(w.durable.last == 103);
	stop();
}

/* ---- killed at any moment */

struct progress {
	volatile uint64_t committed;	/* generation told, */
	volatile uint64_t begun;	/* and begun */
};

enum { GENERATION = 300 };		/* records of each */

/* Generation g: at index 1000 * g, of term g; by turns with a new log. */
static void
write_generations(struct progress *p)
{
	char name[32];

	start();
	store_state(w.store, 1, 7);
	for (uint64_t g = 1;; g++) {
		bool reset = g % 2 == 1;

		(void)snprintf(name, sizeof(name), "generation %" PRIu64, g);
		p->begun = g;
		store_stage_begin(w.store);
		stage(name, GENERATION);
		if (!reset)
			for (uint64_t i = 1000 * g - 998; i <= 1000 * g; i += 9)
				queue(i, 9, g - 1);
		assert_int_equal(store_stage_commit(w.store, 1000 * g, reset ? g : 0), 0);
		if (reset)
			queue(1000 * g + 1, 1, g);
		change(0, "key 000000", name);
		assert_int_equal(store_changes_send(w.store, 1000 * g + reset), 0);
		WAIT_FOR(w.staged == 1000 * g);
		p->committed = g;
	}
}

static void
killed_at_any_moment(void **state)
{
	struct progress *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned seed = (unsigned)getpid();

	(void)state;
	assert_true(p != MAP_FAILED);
	print_message("# seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 12; round++) {
		char dir[128], name[32];
		uint64_t g;
		pid_t pid;
		int st;

		*p = (struct progress){ 0 };
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			(void)snprintf(w.dir, sizeof(w.dir), "%.64s/k%d", w.root, round);
			assert_int_equal(uv_loop_fork(&w.loop.uv), 0);
			write_generations(p);
		}
		while (p->begun < (uint64_t)round * 4 + 2 && waitpid(pid, &st, WNOHANG) == 0)
			(void)usleep(100);
		(void)usleep((useconds_t)(random() % 8000));
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &st, 0);
		(void)snprintf(dir, sizeof(dir), "%s/k%d", w.root, round);
		must_open(dir);
		must_load();
		g = store_found(w.store)->applied / 1000;
		print_message("# begun %" PRIu64 ", told %" PRIu64 ", found %" PRIu64 "\n", p->begun, p->committed, g);
		assert_true(g >= p->committed && g <= p->begun);
		(void)snprintf(name, sizeof(name), "generation %" PRIu64, g);
		assert_int_equal(w.records, GENERATION);
		assert_true(w.sum == sum_of(name, GENERATION));
		assert_true(store_found(w.store)->base == 1000 * (g % 2 == 1 ? g : g - 1));
		/* The log goes on from there. */
		assert_int_equal(store_run(w.store), 0);
		append(store_found(w.store)->last + 1, 3, g + 2);
		stop();
		must_open(dir);
		must_load();
		shut();
	}
	(void)munmap(p, sizeof(*p));
}

/* Any bit of the files of a second generation: the start is refused, or all is there. */
static void
a_wrong_bit_is_noticed_or_harmless(void **state)
{
	static const char *const files[] = { "entries-2.db", "image-2.db", "raft.db", "durable", "log.0000000001" };
	char live[128], copy[128], path[512], err[DATADIR_ERROR_MAX];
	unsigned noticed = 0, seed = (unsigned)getpid();
	struct stat st;

	(void)state;
	print_message("# seed %u\n", seed);
	srandom(seed);
	(void)snprintf(live, sizeof(live), "%s/live", w.root);
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	begin();
	store_stage_begin(w.store);
	stage("new", 500);
	assert_int_equal(store_stage_commit(w.store, 100, 7), 0);
	for (uint64_t i = 101; i <= 150; i++)
		queue(i, 1, i < 125 ? 7 : 8);
	WAIT_FOR(w.staged == 100 && w.durable.last == 150);
	stop();
	start();
	append(151, 10, 8);
	store_truncate(w.store, 155);
	WAIT_FOR(w.epoch == 1 && w.durable.last == 154);
	copy_dir(w.dir, live);
	shut();
	for (int i = 0; i < 60; i++) {
		const char *file = files[i % 5];
		long at;
		int rc;

		copy_dir(live, copy);
		(void)snprintf(path, sizeof(path), "%s/%s", copy, file);
		assert_int_equal(stat(path, &st), 0);
		at = random() % (st.st_size < 60000 ? st.st_size : 60000);
		flip(copy, file, at, false);
		rc = try_open(copy, 0, 1000, err);
		if (rc == 0)
			rc = try_load(err);
		assert_true(rc == 0 || err[0] != 0);
		if (rc == 0 && (store_found(w.store)->last != 154 || store_found(w.store)->base != 100 || w.records != 500 ||
		    w.sum != sum_of("new", 500) || w.first_entry != 101 || w.last_entry != 154 || w.terms[124] != 7 ||
		    w.terms[125] != 8 || store_found(w.store)->nruns != 2))
			fail_msg("%s at %ld: last %" PRIu64 " records %zu", file, at, store_found(w.store)->last, w.records);
		noticed += rc < 0;
		if (w.store != NULL)
			shut();
	}
	print_message("# %u of 60 noticed\n", noticed);
	assert_true(noticed > 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(another_image, setup, teardown),
		cmocka_unit_test_setup_teardown(another_log, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dropped_image, setup, teardown),
		cmocka_unit_test_setup_teardown(commits_in_a_row, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_across_an_installation, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_log_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(an_installation_killed_at_each_step, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_killed_at_each_step, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_disk_holds_up_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_at_any_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wrong_bit_is_noticed_or_harmless, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
