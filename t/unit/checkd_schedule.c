/* checkd_schedule.c - checks run by their timers: when, how often, and until they are taken away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkd/kinds.h"
#include "checkd/process.h"
#include "lib/duration.h"
#include "lib/sock.h"

struct world {
	struct daemon d;
	struct checkd cd;
	uv_timer_t over;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(loop_init(&w->d.loop), 0);
	w->cd.d = &w->d;
	w->cd.local.cd = &w->cd;
	w->cd.changed.cb = checkd_on_changed;
	w->cd.output_max = CHECK_OUTPUT_MAX;
	assert_int_equal(persist_open(&w->cd.persist, NULL), 0);
	assert_int_equal(processes_new(&w->d.loop, &w->cd.processes), 0);
	assert_int_equal(uv_timer_init(&w->d.loop.uv, &w->over), 0);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	local_release(&w->cd.local);
	loop_undefer(&w->d.loop, DEFER_WORK, &w->cd.changed);
	processes_free(w->cd.processes);
	uv_close((uv_handle_t *)&w->over, NULL);
	loop_release(&w->d.loop);
	free(w);
	return 0;
}

static void
stop_loop(uv_timer_t *t)
{
	uv_stop(t->loop);
}

static void
run_ms(struct world *w, uint64_t ms)
{
	assert_int_equal(uv_timer_start(&w->over, stop_loop, ms, 0), 0);
	loop_run(&w->d.loop);
}

static struct check *
attach(struct world *w, const char *id, const struct check_def *given)
{
	struct health_check rec = { .check_id = str_from(id), .name = str_from(id), .definition = STR("\x80") };
	struct check_def def = *given;
	struct check *c;

	def.check_id = def.name = str_from(id);
	assert_int_equal(local_put_check(&w->cd.local, &rec, &def, SOURCE_API, CHECK_CRITICAL, STR(""), &c), 0);
	assert_int_equal(schedule_attach(c), 0);
	return c;
}

/* Connections that wait to be accepted. */
static int
count_connections(int fd)
{
	int n = 0, conn;

	while ((conn = accept(fd, NULL, NULL)) >= 0) {
		n++;
		close(conn);
	}
	return n;
}

static void
test_interval(void **state)
{
	struct world *w = *state;
	union sock_addr a;
	socklen_t len = sizeof(a);
	char target[SOCK_ADDR_TEXT_MAX];
	struct check *c;
	int fd, n;

	assert_int_equal(sock_addr_parse("127.0.0.1", 0, &a), 0);
	fd = sock_inet_listen(&a, SOCK_STREAM, 16, false);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &a.sa, &len), 0);
	sock_addr_format(&a, target);
	c = attach(w, "tcp", &(struct check_def){ .tcp = str_from(target), .interval = NS_PER_S });
	run_ms(w, 1200);
	assert_int_equal(c->status, CHECK_PASSING);
	n = count_connections(fd);
	/* The first within a second, the next a second after it. */
	assert_in_range(n, 1, 2);
	run_ms(w, 2000);
	n += count_connections(fd);
	assert_in_range(n, 2, 4);
	schedule_detach(c);
	run_ms(w, 1300);
	assert_int_equal(count_connections(fd), 0);
	close(fd);
}

static void
test_ttl(void **state)
{
	struct world *w = *state;
	struct check *c = attach(w, "ttl", &(struct check_def){ .ttl = NS_PER_S });

	ttl_update(c, CHECK_PASSING, STR("fine"));
	assert_int_equal(c->status, CHECK_PASSING);
	run_ms(w, 600);
	ttl_update(c, CHECK_WARNING, STR("hm"));
	run_ms(w, 600);
	assert_int_equal(c->status, CHECK_WARNING);	/* each report begins its time anew */
	run_ms(w, 800);
	assert_int_equal(c->status, CHECK_CRITICAL);
	assert_true(str_eqs(c->output, "TTL expired (last output before timeout follows): hm"));
	ttl_restore(c, CHECK_PASSING, STR("kept"), 100);
	assert_int_equal(c->status, CHECK_PASSING);
	run_ms(w, 300);
	assert_int_equal(c->status, CHECK_CRITICAL);
}

/* A check that is taken away while its program runs. */
static void
test_abandoned(void **state)
{
	struct world *w = *state;
	struct str args[] = { STR("sh"), STR("-c"), STR("sleep 60 & wait") };
	struct check *c = attach(w, "script", &(struct check_def){ .args = { args, ARRAY_LEN(args) }, .interval = NS_PER_S });

	for (int i = 0; i < 300 && processes_running(w->cd.processes) == 0; i++)
		run_ms(w, 10);
	assert_int_equal(processes_running(w->cd.processes), 1);
	run_ms(w, 50);
	local_remove_check(&w->cd.local, c);
	for (int i = 0; i < 300 && processes_running(w->cd.processes) > 0; i++)
		run_ms(w, 10);
	assert_int_equal(processes_running(w->cd.processes), 0);
	local_forget_check(&w->cd.local, c);
	run_ms(w, 10);
}

/* A service that was critical for too long goes with all of its checks, and anti-entropy is left to take them out of the catalog. */
static void
test_reap(void **state)
{
	struct world *w = *state;
	struct check_def def = { .service_id = STR("web"), .ttl = 3600 * NS_PER_S, .deregister_critical_service_after = 90 * NS_PER_S };
	struct node_service rec = { .id = STR("web"), .service = STR("web"), .weights = { 1, 1 } };
	struct health_check h = { .check_id = STR("b"), .name = STR("b"), .service_id = STR("web"), .definition = STR("\x80") };
	struct service *s;
	struct check *a, *b;

	assert_int_equal(local_put_service(&w->cd.local, &rec, STR(""), SOURCE_API, &s), 0);
	h.check_id = h.name = STR("a");
	assert_int_equal(local_put_check(&w->cd.local, &h, &def, SOURCE_API, CHECK_CRITICAL, STR(""), &a), 0);
	h.check_id = h.name = STR("b");
	def.deregister_critical_service_after = 0;
	assert_int_equal(local_put_check(&w->cd.local, &h, &def, SOURCE_API, CHECK_PASSING, STR(""), &b), 0);
	a->critical_since_ms = 1000;
	reap_now(&w->cd, 1000 + 90 * 1000);
	assert_false(s->sync.deleted);
	reap_now(&w->cd, 1000 + 90 * 1000 + 1);
	assert_true(s->sync.deleted && s->sync.dirty);
	assert_true(a->sync.deleted && b->sync.deleted);
	reap_now(&w->cd, UINT64_MAX / 2);
	run_ms(w, 10);
}

/* An output alone is held back; a status is not. */
static void
test_hold(void **state)
{
	struct world *w = *state;
	struct check *c = attach(w, "ttl", &(struct check_def){ .ttl = 3600 * NS_PER_S });
	uint64_t version;

	w->cd.update_interval_ms = 1000;
	ttl_update(c, CHECK_PASSING, STR("a"));
	version = c->sync.version;
	ttl_update(c, CHECK_PASSING, STR("b"));
	ttl_update(c, CHECK_PASSING, STR("c"));
	assert_int_equal(c->sync.version, version);
	assert_true(str_eqs(c->output, "c"));
	run_ms(w, 50);
	assert_int_equal(c->sync.version, version);
	run_ms(w, 1800);
	assert_int_equal(c->sync.version, version + 1);
	assert_null(c->hold);
	ttl_update(c, CHECK_WARNING, STR("c"));
	assert_int_equal(c->sync.version, version + 2);
	w->cd.update_interval_ms = 0;
	ttl_update(c, CHECK_WARNING, STR("d"));
	assert_int_equal(c->sync.version, version + 3);
	w->cd.discard_output = true;
	ttl_update(c, CHECK_WARNING, STR("e"));
	assert_true(str_eqs(c->output, ""));
}

/* ---- the pure parts, by a clock of our own */

enum { ALARMS = 2000 };

static uint64_t fired_ms;

static void
on_alarm(struct alarm *a, uint64_t now_ms)
{
	assert_false(alarm_is_set(a));
	assert_true(a->at_ms >= fired_ms && a->at_ms <= now_ms);
	fired_ms = a->at_ms;
}

/* Against a plain array: set, set again and cleared in any order, each is taken once, in time and in order. */
static void
test_alarms(void **state)
{
	static struct alarm v[ALARMS];
	static uint64_t want[ALARMS];	/* 0: not set */
	struct alarm_heap h = { NULL };
	uint64_t now = 1, seed = 12345;
	size_t taken = 0, due = 0;

	(void)state;
	for (size_t round = 0; round < 200 * 1000; round++) {
		size_t i;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		i = (seed >> 33) % ALARMS;
		v[i].due = on_alarm;
		if ((seed >> 20) % 4 == 0) {
			alarm_heap_clear(&h, &v[i]);
			want[i] = 0;
		} else {
			want[i] = now + 1 + (seed >> 40) % 5000;
			alarm_heap_set(&h, &v[i], want[i]);
		}
		if (round % 500 != 0)
			continue;
		now += 300;
		fired_ms = 0;
		for (i = 0; i < ALARMS; i++)
			due += want[i] != 0 && want[i] <= now;
		for (struct alarm *a; (a = alarm_heap_take(&h, now)) != NULL; taken++) {
			i = (size_t)(a - v);
			assert_int_equal(a->at_ms, want[i]);
			want[i] = 0;
			a->due(a, now);
		}
		assert_int_equal(taken, due);
		for (i = 0; i < ALARMS; i++)
			assert_int_equal(alarm_is_set(&v[i]), want[i] != 0);
	}
	assert_true(taken > 10000);
}

static uint64_t
middle(uint64_t n)
{
	return n / 2;
}

static void
test_when(void **state)
{
	static const struct {
		uint64_t due_ms, now_ms, interval_ms;
		bool moved;
		uint64_t when_ms;
	} cases[] = {
		{ 5000, 5000, 10000, false, 5000 },
		{ 5000, 5999, 10000, false, 5999 },		/* a busy machine: at once */
		{ 5000, 6000, 10000, false, 6000 + 5000 },	/* away: within the interval */
		{ 5000, 5000 + 8 * 3600 * 1000, 1000, false, 5000 + 8 * 3600 * 1000 + 500 },
		{ 5000, 8000000, 3600 * 1000, false, 8000000 + 15000 },	/* and soon, however long that is */
		{ 5000, 8000000, 3600 * 1000, true, 8000000 },	/* once */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(schedule_when(cases[i].due_ms, cases[i].now_ms, cases[i].interval_ms, cases[i].moved, middle),
		    cases[i].when_ms);
}

struct fake_check {
	struct alarm due;
	bool moved;
	unsigned runs;
};

/*
 * A node of a thousand checks that sleeps for an hour: afterwards each runs
 * once, and no second sees many more of them than the seconds before did.
 */
static void
test_sleep(void **state)
{
	enum { CHECKS = 1000, INTERVAL_MS = 10000, SECONDS = 20 };
	static struct fake_check v[CHECKS];
	struct alarm_heap h = { NULL };
	uint64_t now = 1000000;
	unsigned in_second[SECONDS] = { 0 };

	(void)state;
	for (size_t i = 0; i < CHECKS; i++)
		alarm_heap_set(&h, &v[i].due, now + random_below(INTERVAL_MS));
	now += 3600 * 1000;
	for (uint64_t ms = 0; ms < SECONDS * 1000; ms += ALARMS_GRAIN_MS) {
		for (struct alarm *a; (a = alarm_heap_take(&h, now + ms)) != NULL;) {
			struct fake_check *c = (struct fake_check *)(void *)a;
			uint64_t when = schedule_when(a->at_ms, now + ms, INTERVAL_MS, c->moved, random_below);

			c->moved = when > now + ms;
			c->runs += !c->moved;
			in_second[ms / 1000] += !c->moved;
			alarm_heap_set(&h, a, c->moved ? when : now + ms + INTERVAL_MS);
		}
		/* Who drew no delay at all has just begun its second run. */
		for (size_t i = 0; ms == INTERVAL_MS && i < CHECKS; i++)
			assert_true(v[i].runs == 1 || (v[i].runs == 2 && v[i].due.at_ms == now + 2 * INTERVAL_MS));
	}
	for (size_t i = 0; i < SECONDS; i++)
		assert_in_range(in_second[i], CHECKS / 20, CHECKS / 5);
}

/* ---- the loop's part */

struct timed {
	struct alarm a;
	struct world *w;
	uint64_t fired_ms;
};

static void
on_timed(struct alarm *a, uint64_t now_ms)
{
	((struct timed *)(void *)a)->fired_ms = now_ms;
}

static void
test_clocks(void **state)
{
	static const clockid_t clocks[] = { CLOCK_BOOTTIME, CLOCK_MONOTONIC };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(clocks); i++) {
		struct timed soon = { .a = { .due = on_timed }, .w = w }, never = soon, moved = soon;
		struct alarms *all;
		uint64_t began;

		assert_int_equal(alarms_new(&w->d.loop, clocks[i], &all), 0);
		began = alarms_now(all);
		alarms_set(all, &moved.a, began + 60000);
		alarms_set(all, &never.a, began + 20);
		alarms_set(all, &soon.a, began + 40);
		alarms_set(all, &moved.a, began + 60);
		alarms_clear(all, &never.a);
		for (int n = 0; n < 3000 && moved.fired_ms == 0; n++)
			run_ms(w, 10);
		assert_true(soon.fired_ms >= began + 40 && moved.fired_ms >= began + 60 && moved.fired_ms >= soon.fired_ms);
		assert_int_equal(never.fired_ms, 0);
		alarms_set(all, &never.a, began + 60000);
		alarms_free(all);
		assert_false(alarm_is_set(&never.a));
	}
	run_ms(w, 1);
}

static bool answered, late;

static void
on_answer(uv_poll_t *p, int status, int events)
{
	char c;

	(void)status;
	(void)events;
	assert_int_equal(read((int)(intptr_t)p->data, &c, 1), 1);
	answered = true;
}

static void
on_deadline(struct alarm *a, uint64_t now_ms)
{
	(void)a;
	(void)now_ms;
	assert_true(answered);
	late = true;
}

/* A process that was stopped sees what came meanwhile before it calls it missing. */
static void
test_grace(void **state)
{
	struct world *w = *state;
	struct alarm a = { .due = on_deadline };
	struct alarms *all;
	uv_poll_t poll;
	int fds[2];

	answered = late = false;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(alarms_new(&w->d.loop, CLOCK_MONOTONIC, &all), 0);
	assert_int_equal(uv_poll_init(&w->d.loop.uv, &poll, fds[0]), 0);
	poll.data = (void *)(intptr_t)fds[0];
	assert_int_equal(uv_poll_start(&poll, UV_READABLE, on_answer), 0);
	alarms_set(all, &a, alarms_now(all) + 100);
	run_ms(w, 1);
	usleep((ALARMS_LATE_MS + 300) * 1000);
	assert_int_equal(write(fds[1], "x", 1), 1);
	for (int n = 0; n < 3000 && !late; n++)
		run_ms(w, 10);
	assert_true(late && answered);
	alarms_free(all);
	uv_close((uv_handle_t *)&poll, NULL);
	run_ms(w, 1);
	close(fds[0]);
	close(fds[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alarms),
		cmocka_unit_test(test_when),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test_setup_teardown(test_clocks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interval, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ttl, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abandoned, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
