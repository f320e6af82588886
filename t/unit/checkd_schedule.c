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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_interval, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ttl, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abandoned, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
