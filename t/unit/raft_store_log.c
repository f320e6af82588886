/* raft_store_log.c - the store's log: cut off at its end, read back, kept for who still needs it. */
#include "t/unit/raft_store_help.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void
start(void)
{
	must_open(w.dir);
	must_load();
	assert_int_equal(store_run(w.store), 0);
}

static void
cut(uint64_t from)
{
	uint64_t epoch = w.epoch;

	store_truncate(w.store, from);
	WAIT_FOR(w.epoch > epoch);
}

/* What a start finds: entries 1..last, of the terms that the text says, "1:1 6:2". */
static void
expect_log(const char *dir, uint64_t last, const char *runs)
{
	const struct store_start *st;
	char got[256] = "";

	must_open(dir);
	st = store_found(w.store);
	assert_int_equal(st->last, last);
	for (size_t i = 0; i < st->nruns; i++)
		(void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%" PRIu64 ":%" PRIu64, i > 0 ? " " : "",
		    st->runs[i].first, st->runs[i].term);
	assert_string_equal(got, runs);
	must_load();
	assert_int_equal(w.last_entry, last);
	for (uint64_t i = w.first_entry; i <= last && last > 0; i++) {
		uint64_t term = 0;

		for (size_t r = 0; r < st->nruns && st->runs[r].first <= i; r++)
			term = st->runs[r].term;
		assert_int_equal(w.terms[i], term);
	}
	shut();
}

static void
the_end_is_cut_off(void **state)
{
	(void)state;
	start();
	store_state(w.store, 1, 7);
	append(1, 10, 1);
	append(11, 10, 2);
	append(21, 10, 3);
	/* In a batch, */
	cut(26);
	assert_int_equal(w.durable.last, 25);
	stop();
	expect_log(w.dir, 25, "1:1 11:2 21:3");
	/* at its edge: the term goes too; */
	start();
	cut(21);
	assert_int_equal(w.durable.last, 20);
	assert_int_equal(w.epoch, 1);
	append(21, 2, 4);
	/* several records, and nothing at all. */
	cut(5);
	cut(5);
	assert_int_equal(w.epoch, 3);
	assert_int_equal(w.durable.last, 4);
	append(5, 1, 1);
	append(6, 1, 6);
	stop();
	expect_log(w.dir, 6, "1:1 6:6");
	start();
	cut(1);
	assert_int_equal(w.durable.last, 0);
	shut();
	expect_log(w.dir, 0, "");
	start();
	append(1, 2, 9);
	shut();
	expect_log(w.dir, 2, "1:9");
}

/* In order with what waits; the caller cuts and frees its own at once. */
static void
what_waits_is_cut_too(void **state)
{
	struct batch *a = entries(1, 10, 1), *b = entries(11, 10, 1), *c = entries(16, 5, 2);

	(void)state;
	start();
	store_state(w.store, 1, 7);
	store_append(w.store, a);
	store_append(w.store, b);
	store_truncate(w.store, 16);
	batch_cut(b, 16);
	assert_int_equal(batch_last(b), 15);
	store_append(w.store, c);
	store_truncate(w.store, 8);
	batch_free(b);
	batch_free(c);
	batch_cut(a, 8);
	queue(8, 3, 3);
	store_truncate(w.store, 9);
	queue(9, 2, 4);
	batch_free(a);
	WAIT_FOR(w.epoch == 3 && w.durable.last == 10);
	/* Over what is written and what waits. */
	queue(11, 5, 5);
	store_truncate(w.store, 10);
	queue(10, 1, 6);
	store_truncate(w.store, 12);
	WAIT_FOR(w.epoch == 5 && w.durable.last == 10);
	shut();
	expect_log(w.dir, 10, "1:1 8:3 9:4 10:6");
}

/* Behind a compaction nothing but the base may be left. */
static void
all_that_is_left_is_cut_off(void **state)
{
	char err[DATADIR_ERROR_MAX];

	(void)state;
	assert_int_equal(try_open(w.dir, 1, 0, err), 0);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 3, 7);
	append(1, 10, 2);
	append(11, 10, 3);
	for (int i = 0; i < 2; i++) {
		change(0, "key", "x");
		assert_int_equal(store_changes_send(w.store, 10), 0);
	}
	WAIT_FOR(w.base == 10);
	cut(11);
	assert_int_equal(w.durable.last, 10);
	stop();
	must_open(w.dir);
	assert_int_equal(store_found(w.store)->base, 10);
	assert_int_equal(store_found(w.store)->last, 10);
	assert_int_equal(store_found(w.store)->nruns, 1);
	assert_int_equal(store_found(w.store)->runs[0].term, 2);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	append(11, 3, 2);
	append(14, 3, 4);
	stop();
	must_open(w.dir);
	assert_int_equal(store_found(w.store)->last, 16);
	assert_int_equal(store_found(w.store)->nruns, 2);
	must_load();
	assert_true(w.first_entry == 11 && w.last_entry == 16);
}

static void
copy_file(const char *from, const char *to, const char *name)
{
	char cmd[512];

	(void)snprintf(cmd, sizeof(cmd), "cp '%s/%s' '%s/%s'", from, name, to, name);
	assert_int_equal(system(cmd), 0);
}

/* The mark may be older than a cut, never newer; and what came behind the cut is promised again. */
static void
the_mark_knows_of_cuts(void **state)
{
	char before[128], after[128], later[128], copy[128], err[DATADIR_ERROR_MAX];

	(void)state;
	(void)snprintf(before, sizeof(before), "%s/before", w.root);
	(void)snprintf(after, sizeof(after), "%s/after", w.root);
	(void)snprintf(later, sizeof(later), "%s/later", w.root);
	(void)snprintf(copy, sizeof(copy), "%s/copy", w.root);
	start();
	store_state(w.store, 1, 7);
	append(1, 20, 1);
	copy_dir(w.dir, before);
	cut(11);
	copy_dir(w.dir, after);
	append(11, 5, 2);
	copy_dir(w.dir, later);
	shut();

	/* Killed between the cut and the mark. */
	copy_dir(after, copy);
	copy_file(before, copy, "durable");
	expect_log(copy, 10, "1:1");
	/* That start has made the mark: now it is strict. */
	copy_dir(copy, after);
	copy_dir(later, copy);
	copy_file(after, copy, "durable");
	expect_log(copy, 15, "1:1 11:2");
	copy_dir(after, copy);
	copy_file(later, copy, "durable");
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "had been promised"));
	/* The cut is lost. */
	copy_dir(before, copy);
	copy_file(later, copy, "durable");
	assert_true(try_open(copy, 0, 10, err) < 0);
	assert_non_null(strstr(err, "had been promised"));
}

/* ---- killed at any moment: what is found is the log behind some step, none before the last that was told */

enum { STEPS_MAX = 20000, LOG_MAX = 2000 };

struct progress {
	volatile uint64_t done;		/* steps told as durable */
	volatile uint64_t begun;
};

/* One step of a history that a seed tells: `terms` as it was, and what is done to it. */
struct history {
	uint64_t random, last, epoch, term;
	uint64_t terms[LOG_MAX + 64];
};

struct step {
	uint64_t cut;			/* 0: append */
	uint64_t first, term;
	uint32_t n;
};

static uint64_t
next_random(uint64_t *r)
{
	*r = *r * 6364136223846793005u + 1442695040888963407u;
	return *r >> 33;
}

static struct step
next_step(struct history *h)
{
	struct step s = { 0 };

	h->term++;
	if (h->last > 1 && (h->last > LOG_MAX || next_random(&h->random) % 3 == 0)) {
		uint64_t span = next_random(&h->random) % 10 == 0 ? h->last : 12;

		s.cut = h->last + 2 - next_random(&h->random) % (span < h->last ? span : h->last);
		h->last = s.cut - 1 < h->last ? s.cut - 1 : h->last;
		h->epoch++;
		return s;
	}
	s.first = h->last + 1;
	s.n = 1 + (uint32_t)(next_random(&h->random) % 20);
	s.term = h->term;
	for (uint32_t i = 0; i < s.n; i++)
		h->terms[++h->last] = s.term;
	return s;
}

static void
write_history(uint64_t seed, struct progress *p)
{
	static struct history h;
	uint64_t ends[2][64] = { { 0 } };	/* of the last steps: epoch and last entry */
	uint64_t told = 0;

	h.random = seed;
	start();
	for (uint64_t i = 0; i < STEPS_MAX; i++) {
		struct step s = next_step(&h);

		p->begun = i + 1;
		if (s.cut != 0)
			store_truncate(w.store, s.cut);
		else
			queue(s.first, s.n, s.term);
		ends[0][i % 64] = h.epoch;
		ends[1][i % 64] = h.last;
		/* Now and then wait for all, else for what is 40 steps old. */
		do {
			(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
			while (told <= i && (w.epoch > ends[0][told % 64] ||
			    (w.epoch == ends[0][told % 64] && w.durable.last >= ends[1][told % 64])))
				told++;
			p->done = told;
		} while (told + 40 < i || (i % 97 == 0 && told <= i));
	}
}

static bool
log_is(const struct history *h, uint64_t last)
{
	return h->last == last && memcmp(h->terms + 1, w.terms + 1, last * sizeof(w.terms[0])) == 0;
}

static void
check_history(uint64_t seed, const struct progress *p)
{
	static struct history h;
	bool found = p->done == 0 && store_found(w.store)->last == 0;

	memset(&h, 0, sizeof(h));
	h.random = seed;
	for (uint64_t i = 1; i <= p->begun && !found; i++) {
		(void)next_step(&h);
		found = i >= p->done && log_is(&h, store_found(w.store)->last);
	}
	if (!found)
		fail_msg("seed %" PRIu64 ": done %" PRIu64 " begun %" PRIu64 ": found %" PRIu64, seed, p->done, p->begun,
		    store_found(w.store)->last);
}

static void
killed_at_any_moment(void **state)
{
	struct progress *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = (uint64_t)getpid();

	(void)state;
	assert_true(p != MAP_FAILED);
	for (int round = 0; round < 12; round++, seed++) {
		uint64_t random = seed, until = 1 + next_random(&random) % 600;
		char dir[128];
		pid_t pid;
		int st;

		*p = (struct progress){ 0 };
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			(void)snprintf(w.dir, sizeof(w.dir), "%.64s/k%d", w.root, round);
			assert_int_equal(uv_loop_fork(&w.loop.uv), 0);
			write_history(seed, p);
			_exit(0);
		}
		while (p->begun < until && waitpid(pid, &st, WNOHANG) == 0)
			(void)usleep(100);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &st, 0);
		(void)snprintf(dir, sizeof(dir), "%s/k%d", w.root, round);
		must_open(dir);
		must_load();
		print_message("# seed %" PRIu64 ": killed at step %" PRIu64 ", told %" PRIu64 ", last %" PRIu64 "\n", seed,
		    p->begun, p->done, store_found(w.store)->last);
		check_history(seed, p);
		shut();
	}
	(void)munmap(p, sizeof(*p));
}

/* ---- reading */

/* Ask and wait; *ret_last: of what came, 0: nothing did. */
static void
read_back(uint64_t first, size_t max_bytes, uint64_t *ret_last, size_t *ret_bytes)
{
	unsigned reads = w.reads;
	uint64_t next = 0;
	struct batch_cursor c;
	struct batch_entry e;
	char want[32];

	*ret_bytes = 0;
	assert_int_equal(store_read(w.store, first, max_bytes, first + 1), 0);
	WAIT_FOR(w.reads > reads);
	assert_int_equal(w.read_arg, first + 1);
	for (struct batch *b = w.read; b != NULL; b = b->next) {
		assert_true(next == 0 ? b->first <= first && batch_last(b) >= first : b->first == next);
		next = batch_last(b) + 1;
		*ret_bytes += b->bytes.len;
		assert_int_equal(batch_read((struct str){ (char *)b->bytes.data, b->bytes.len }, b->first, &c), 0);
		while (batch_next(&c, true, &e) > 0) {
			(void)snprintf(want, sizeof(want), "entry %" PRIu64, e.index);
			assert_true(str_eqs(e.data, want));
			assert_int_equal(e.term, b->term);
		}
		assert_int_equal(c.index, next);
	}
	*ret_last = next == 0 ? 0 : next - 1;
	free_read();
}

static void
entries_are_read_back(void **state)
{
	uint64_t last = 0, written = 0;
	size_t bytes;

	(void)state;
	start();
	store_state(w.store, 1, 7);
	for (; written < 50000; written += 50)
		queue(written + 1, 50, 1);
	WAIT_FOR(w.durable.last == written);
	/* While more comes. */
	for (uint64_t first = 1; first <= 50000; first = last + 1) {
		queue(written + 1, 1, 2);
		written++;
		read_back(first, 100000, &last, &bytes);
		assert_true(last > first && bytes >= (last < 50000 ? 100000u : 1u) && bytes < 102000);
	}
	WAIT_FOR(w.durable.last == written);
	read_back(7, 1, &last, &bytes);
	assert_int_equal(last, 50);
	read_back(written, 1 << 20, &last, &bytes);
	assert_int_equal(last, written);
	read_back(1, 1 << 30, &last, &bytes);
	assert_int_equal(last, written);
	/* Nothing there. */
	read_back(written + 1, 1, &last, &bytes);
	assert_int_equal(last, 0);
	read_back(0, 1, &last, &bytes);
	assert_int_equal(last, 0);
	stop();
}

/* What is cut off after the question is not in the answer; as many questions as there may be. */
static void
reads_and_cuts(void **state)
{
	uint64_t last;
	size_t bytes;
	unsigned n = 0;

	(void)state;
	start();
	store_state(w.store, 1, 7);
	for (uint64_t i = 0; i < 2000; i += 10)
		queue(i + 1, 10, 1);
	WAIT_FOR(w.durable.last == 2000);
	assert_int_equal(store_read(w.store, 1, 1 << 20, 1), 0);
	store_truncate(w.store, 996);
	queue(996, 10, 2);
	WAIT_FOR(w.reads == 1);
	for (struct batch *b = w.read; b != NULL; b = b->next)
		last = batch_last(b);
	assert_int_equal(last, 995);
	/* Asked behind a cut, read behind it. */
	store_truncate(w.store, 993);
	assert_int_equal(store_read(w.store, 992, 1, 1), 0);
	WAIT_FOR(w.reads == 2);
	assert_true(w.read != NULL && batch_last(w.read) == 992);
	assert_int_equal(store_read(w.store, 991, 1 << 20, 1), 0);
	store_truncate(w.store, 991);
	WAIT_FOR(w.reads == 3);
	assert_null(w.read);
	WAIT_FOR(w.durable.last == 990);
	read_back(900, 1 << 20, &last, &bytes);
	assert_int_equal(last, 990);

	w.reads = 0;
	while (store_read(w.store, 1, 1, n) == 0)
		n++;
	assert_int_equal(n, 64);
	WAIT_FOR(w.reads == n);
	stop();
}

static void
damage_is_not_read(void **state)
{
	const uint64_t base = 7000000;	/* texts that no test before has left in memory */
	unsigned reads;

	(void)state;
	start();
	store_state(w.store, 1, 7);
	store_stage_begin(w.store);
	assert_int_equal(store_stage_commit(w.store, base, 1), 0);
	for (uint64_t i = base; i < base + 30000; i += 10)
		queue(i + 1, 10, 1);
	WAIT_FOR(w.durable.last == base + 30000);
	change(0, "key", "x");
	assert_int_equal(store_changes_send(w.store, base + 30000), 0);
	stop();
	flip(w.dir, "entries-2.db", find_text(w.dir, "entries-2.db", "entry 7015005"), false);
	start();
	reads = w.reads;
	assert_int_equal(store_read(w.store, base + 10001, 1, 1), 0);
	WAIT_FOR(w.reads > reads);
	assert_int_equal(store_read(w.store, base + 15001, 1, 1), 0);
	w.timed_out = false;
	assert_int_equal(uv_timer_start(&w.guard, on_guard, WAIT_MS, 0), 0);
	while (!w.failed && !w.timed_out)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	assert_true(w.failed);
	assert_non_null(strstr(w.failure, "cannot read the log at index 7015001"));
	assert_non_null(strstr(w.failure, "move the data directory away"));
	shut();
}

static void
entries_are_kept(void **state)
{
	char err[DATADIR_ERROR_MAX];
	uint64_t last;
	size_t bytes;

	(void)state;
	assert_int_equal(try_open(w.dir, 1, 0, err), 0);
	must_load();
	assert_int_equal(store_run(w.store), 0);
	store_state(w.store, 1, 7);
	store_keep(w.store, 55);
	for (uint64_t i = 1; i <= 200; i += 10) {
		append(i, 10, 1);
		change(0, "key", "x");
		assert_int_equal(store_changes_send(w.store, i + 9), 0);
	}
	WAIT_FOR(w.base == 50);
	read_back(1, 1, &last, &bytes);
	assert_int_equal(last, 0);
	read_back(51, 1, &last, &bytes);
	assert_int_equal(last, 60);
	store_keep(w.store, UINT64_MAX);
	for (uint64_t i = 201; i <= 300; i++) {
		append(i, 1, 1);
		change(0, "key", "x");
		assert_int_equal(store_changes_send(w.store, i), 0);
	}
	WAIT_FOR(w.base >= 200);
	read_back(51, 1, &last, &bytes);
	assert_int_equal(last, 0);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_end_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_is_cut_too, setup, teardown),
		cmocka_unit_test_setup_teardown(all_that_is_left_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(the_mark_knows_of_cuts, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_at_any_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(entries_are_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_and_cuts, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(entries_are_kept, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
