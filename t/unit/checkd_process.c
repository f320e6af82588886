/* checkd_process.c - scripts and connections of checks when there is no memory; the end of what scripts have started. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkd/kinds.h"
#include "checkd/process.h"
#include "checkd/strays.h"
#include "lib/duration.h"
#include "lib/sock.h"
#include "t/unit/nomem.h"

enum { TRIES = 20 * 1000, FAILURES_MAX = 64 };

static unsigned fail_at;	/* the allocation that fails, counted from 1; 0: none */
static unsigned allocations;

static bool
refuse(void)
{
	return fail_at != 0 && ++allocations == fail_at;
}

/* Whether the allocation that was to fail was reached. */
static bool
failed(void)
{
	bool yes = allocations >= fail_at;

	fail_at = allocations = 0;
	return yes;
}

struct world {
	struct daemon d;
	struct checkd cd;
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
	loop_release(&w->d.loop);
	free(w);
	return 0;
}

/* Turns of the loop until it is so; each waits for a millisecond at most. */
static void
until(struct world *w, bool (*so)(const struct world *w, void *arg), void *arg)
{
	for (int i = 0; i < TRIES && !so(w, arg); i++) {
		(void)uv_run(&w->d.loop.uv, UV_RUN_NOWAIT);
		usleep(1000);
	}
	assert_true(so(w, arg));
}

static bool
none_run(const struct world *w, void *arg)
{
	(void)arg;
	return processes_running(w->cd.processes) == 0;
}

/* ---- programs */

struct seen {
	char text[4096];
	size_t n;
	int ends, status;
};

static void
on_output(void *arg, const char *p, size_t n)
{
	struct seen *s = arg;

	assert_true(s->n + n < sizeof(s->text));
	memcpy(s->text + s->n, p, n);
	s->n += n;
}

static void
on_ended(void *arg, int status)
{
	struct seen *s = arg;

	s->ends++;
	s->status = status;
}

static int
start(struct world *w, struct seen *s, const char *line, struct process **ret)
{
	struct str args[] = { STR("/bin/sh"), STR("-c"), str_from(line) };
	const struct process_use use = { on_output, NULL, on_ended, s };

	return process_start_caged(w->cd.processes, &(struct strs){ args, ARRAY_LEN(args) }, &use, ret);
}

static void
test_program_nomem(void **state)
{
	struct world *w = *state;
	bool reached = true;

	for (unsigned n = 1; reached; n++) {
		struct seen s = { .n = 0 };
		struct process *p;
		int rc;

		assert_true(n < FAILURES_MAX);
		fail_at = n;
		rc = start(w, &s, "echo here", &p);
		reached = failed();
		if (rc < 0) {
			assert_int_equal(rc, -ENOMEM);
			assert_true(reached);
		}
		until(w, none_run, NULL);
		assert_int_equal(s.ends, rc == 0);
		assert_int_equal(s.status, 0);
		if (!reached)
			assert_string_equal(s.text, "here\n");
	}
}

static bool
has_line(const struct world *w, void *arg)
{
	(void)w;
	return memchr(((struct seen *)arg)->text, '\n', ((struct seen *)arg)->n) != NULL;
}

static bool
is_dead(const struct world *w, void *arg)
{
	(void)w;
	return kill(*(pid_t *)arg, 0) < 0 && errno == ESRCH;
}

/* One that has left the group, and whose parent has gone; with memory for the hunt, and without at first. */
static void
test_strays(void **state)
{
	static const char line[] = "(setsid sh -c 'echo $$; exec sleep 300' &); exec sleep 300";
	struct world *w = *state;

	for (unsigned n = 0; n < 3; n++) {
		struct seen s = { .n = 0 };
		struct process *p;
		pid_t stray;

		assert_int_equal(start(w, &s, line, &p), 0);
		until(w, has_line, &s);
		stray = (pid_t)strtol(s.text, NULL, 10);
		assert_true(stray > 0 && !is_dead(w, &stray));
		fail_at = n;
		process_kill(p);
		until(w, none_run, NULL);
		fail_at = allocations = 0;
		assert_int_equal(s.ends, 1);
		assert_int_equal(WTERMSIG(s.status), SIGKILL);
		/* Without memory the first hunt finds nothing, which is not believed. */
		until(w, is_dead, &stray);
	}
}

/* ---- checks */

static bool
has_run(const struct world *w, void *arg)
{
	const struct check *c = arg;

	(void)w;
	return c->output.len > 0 && !c->runner.running;
}

static void
check_nomem(struct world *w, const struct check_def *given, const char *passing)
{
	struct health_check rec = { .check_id = STR("c"), .name = STR("c"), .definition = STR("\x80") };
	struct check_def def = *given;
	bool reached = true;

	def.check_id = def.name = STR("c");
	def.interval = NS_PER_S;
	for (unsigned n = 1; reached; n++) {
		struct check *c;

		assert_true(n < FAILURES_MAX);
		assert_int_equal(local_put_check(&w->cd.local, &rec, &def, SOURCE_API, CHECK_WARNING, STR(""), &c), 0);
		assert_int_equal(schedule_attach(c), 0);
		/* From its start on: this runs it before its time. */
		schedule_expire(c, 3600 * 1000, NULL);
		c->runner.running = true;
		fail_at = n;
		c->runner.kind->start(c);
		for (int i = 0; i < TRIES && c->runner.running; i++) {
			(void)uv_run(&w->d.loop.uv, UV_RUN_NOWAIT);
			usleep(1000);
		}
		reached = failed();
		assert_false(c->runner.running);
		if (!reached) {
			until(w, has_run, c);
			assert_int_equal(c->status, CHECK_PASSING);
			assert_true(str_eqs(c->output, passing));
		} else {
			/* Not without a result: at least its status is a new one. */
			assert_int_not_equal(c->status, CHECK_WARNING);
		}
		local_remove_check(&w->cd.local, c);
		local_forget_check(&w->cd.local, c);
	}
}

static void
test_checks_nomem(void **state)
{
	struct str args[] = { STR("/bin/echo"), STR("fine") };
	struct world *w = *state;
	union sock_addr a;
	socklen_t len = sizeof(a);
	char target[SOCK_ADDR_TEXT_MAX], text[SOCK_ADDR_TEXT_MAX + 64];
	int fd;

	assert_int_equal(sock_addr_parse("127.0.0.1", 0, &a), 0);
	fd = sock_inet_listen(&a, SOCK_STREAM, 64, false);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &a.sa, &len), 0);
	sock_addr_format(&a, target);
	(void)snprintf(text, sizeof(text), "TCP connect %s: Success", target);
	check_nomem(w, &(struct check_def){ .tcp = str_from(target) }, text);
	(void)snprintf(target, sizeof(target), "localhost:%d", ntohs(a.in.sin_port));
	(void)snprintf(text, sizeof(text), "TCP connect %s: Success", target);
	check_nomem(w, &(struct check_def){ .tcp = str_from(target) }, text);
	check_nomem(w, &(struct check_def){ .args = { args, ARRAY_LEN(args) } }, "fine\n");
	close(fd);
	/* A socket that takes what comes, and says nothing. */
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	a.in.sin_port = 0;
	assert_int_equal(bind(fd, &a.sa, sizeof(a.in)), 0);
	assert_int_equal(getsockname(fd, &a.sa, &len), 0);
	sock_addr_format(&a, target);
	(void)snprintf(text, sizeof(text), "UDP connect %s: Success", target);
	check_nomem(w, &(struct check_def){ .udp = str_from(target), .timeout = 20 * NS_PER_MS }, text);
	close(fd);
}

/* With a systemctl(1) of our own, which takes each unit for active. */
static void
test_os_service_nomem(void **state)
{
	char dir[] = "/tmp/checkd-process-XXXXXX", path[sizeof(dir) + 16], search[4096];
	const char *before = getenv("PATH");
	FILE *f;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/systemctl", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs("#!/bin/sh\necho active\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0700), 0);
	(void)snprintf(search, sizeof(search), "%s:%s", dir, before != NULL ? before : "/bin:/usr/bin");
	before = before != NULL ? strdup(before) : NULL;
	assert_int_equal(setenv("PATH", search, 1), 0);
	check_nomem(*state, &(struct check_def){ .os_service = STR("web") }, "Service \"web\" is healthy");
	if (before != NULL)
		assert_int_equal(setenv("PATH", before, 1), 0);
	free((char *)(uintptr_t)before);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_program_nomem, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checks_nomem, setup, teardown),
		cmocka_unit_test_setup_teardown(test_os_service_nomem, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
