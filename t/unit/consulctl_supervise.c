/*
 * consulctl_supervise.c - programs kept running, and their descriptors.
 *
 * The programs are this one: started with a mode as its argument it behaves
 * well or badly on purpose.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "consulctl/agent/supervise.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/sock.h"

enum { TEST_MAX_MS = 20000, WATCHDOG_USEC = 400000 };

/* ---- the programs */

static void
tell(const char *fmt, const char *a)
{
	char text[1024];

	snprintf(text, sizeof(text), fmt, a);
	if (notify_send(text) < 0)
		_exit(3);
}

/* A listener that survives: taken over, or made and stored. STATUS says which. */
static void
mode_listen(void)
{
	int fd = notify_take("http");
	union sock_addr a;
	bool old = fd >= 0;

	if (!old) {
		if (sock_addr_parse("127.0.0.1", 0, &a) < 0 || (fd = sock_inet_listen(&a, SOCK_STREAM, 5, false)) < 0 ||
		    notify_store("http", fd) < 0)
			_exit(4);
	}
	tell("STATUS=%s\nREADY=1", old ? "taken" : "made");
	pause();
}

/* Which descriptors are open, found without opening one. */
static void
mode_fds(void)
{
	char text[256];
	size_t n = 0;

	for (int fd = 0; fd < 100; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%d ", fd);
	tell("STATUS=%s\nREADY=1", text);
	pause();
}

static void
mode_session(void)
{
	sigset_t blocked;

	sigprocmask(SIG_SETMASK, NULL, &blocked);
	tell("STATUS=%s\nREADY=1", getsid(0) == getpid() && !sigismember(&blocked, SIGTERM) ? "own session" : "not its own");
	pause();
}

static int
run_mode(const char *mode)
{
	if (strcmp(mode, "listen") == 0)
		mode_listen();
	else if (strcmp(mode, "fds") == 0)
		mode_fds();
	else if (strcmp(mode, "session") == 0)
		mode_session();
	else if (strcmp(mode, "refuse") == 0)
		tell("STATUS=%s", "no such port");
	else if (strcmp(mode, "stubborn") == 0) {
		signal(SIGTERM, SIG_IGN);
		tell("%s", "READY=1");
		for (;;)
			pause();
	} else if (strcmp(mode, "ping") == 0) {
		tell("%s", "READY=1");
		for (;;) {
			usleep(WATCHDOG_USEC / 4);
			tell("%s", "WATCHDOG=1");
		}
	}
	return strcmp(mode, "refuse") == 0 ? EXIT_REFUSED : 1;
}

/* ---- the tests */

static char self[4096];

struct fixture {
	struct loop loop;
	struct supervisor *s;
	uv_timer_t tick, bound;
	bool (*until)(struct fixture *f);
	bool ready, failed, stopped, timeout;
	char failed_name[32], why[STATUS_MAX];
	char *argv[SUPERVISE_MAX][3];
	size_t n;
	pid_t pid;		/* scratch of a test */
};

static void
on_ready(void *arg)
{
	((struct fixture *)arg)->ready = true;
}

static void
on_failed(void *arg, const char *name, const char *why)
{
	struct fixture *f = arg;

	f->failed = true;
	snprintf(f->failed_name, sizeof(f->failed_name), "%s", name);
	snprintf(f->why, sizeof(f->why), "%s", why);
}

static void
on_stopped(void *arg)
{
	((struct fixture *)arg)->stopped = true;
}

static void
on_tick(uv_timer_t *t)
{
	struct fixture *f = t->data;

	if (f->until(f))
		uv_stop(&f->loop.uv);
}

static void
on_bound(uv_timer_t *t)
{
	struct fixture *f = t->data;

	f->timeout = true;
	uv_stop(&f->loop.uv);
}

static struct fixture *
setup(uint64_t watchdog_usec)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct supervisor_config c = {
		.loop = &f->loop, .log_fd = STDERR_FILENO, .watchdog_usec = watchdog_usec,
		.ready = on_ready, .failed = on_failed, .stopped = on_stopped, .arg = f,
	};

	assert_int_equal(loop_init(&f->loop), 0);
	uv_timer_init(&f->loop.uv, &f->tick);
	uv_timer_init(&f->loop.uv, &f->bound);
	f->tick.data = f->bound.data = f;
	assert_int_equal(supervisor_new(&c, &f->s), 0);
	return f;
}

static void
add(struct fixture *f, const char *name, const char *mode)
{
	char **argv = f->argv[f->n++];

	argv[0] = self;
	argv[1] = (char *)(uintptr_t)mode;
	assert_int_equal(supervisor_add(f->s, name, argv), 0);
}

/* Run the loop until the condition holds. */
static void
run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
	f->until = until;
	uv_timer_start(&f->tick, on_tick, 0, 5);
	uv_timer_start(&f->bound, on_bound, TEST_MAX_MS, 0);
	loop_run(&f->loop);
	assert_false(f->timeout);
}

static bool
is_ready(struct fixture *f)
{
	return f->ready;
}

static bool
is_failed(struct fixture *f)
{
	return f->failed;
}

static bool
is_stopped(struct fixture *f)
{
	return f->stopped;
}

static struct child_info
info(struct fixture *f, size_t i)
{
	struct child_info c;

	assert_true(supervisor_child(f->s, i, &c));
	return c;
}

static void
teardown(struct fixture *f)
{
	supervisor_stop(f->s);
	run_until(f, is_stopped);
	for (size_t i = 0; i < f->n; i++)
		assert_int_equal(info(f, i).pid, 0);
	supervisor_free(f->s);
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_close((uv_handle_t *)&f->bound, NULL);
	loop_release(&f->loop);
	free(f);
}

static bool
is_back(struct fixture *f)
{
	struct child_info c = info(f, 0);

	return c.state == CHILD_READY && c.pid != f->pid;
}

static void
test_restart_keeps_sockets(void **state)
{
	struct fixture *f = setup(0);
	uint64_t began;

	(void)state;
	add(f, "one", "listen");
	add(f, "two", "listen");
	supervisor_start(f->s);
	run_until(f, is_ready);
	assert_string_equal(info(f, 0).status, "made");
	f->pid = info(f, 0).pid;
	began = clock_ms();
	kill(f->pid, SIGKILL);
	run_until(f, is_back);
	assert_true(clock_ms() - began < 1000);
	assert_string_equal(info(f, 0).status, "taken");
	assert_int_equal(info(f, 0).restarts, 1);
	assert_int_equal(info(f, 1).restarts, 0);
	/* The second end in a row is waited after. */
	f->pid = info(f, 0).pid;
	began = clock_ms();
	kill(f->pid, SIGKILL);
	run_until(f, is_back);
	assert_true(clock_ms() - began >= RESTART_DELAY_MS - 5);
	teardown(f);
}

static void
test_descriptors(void **state)
{
	struct fixture *f = setup(0);
	int open_here = dup(STDIN_FILENO);

	(void)state;
	add(f, "one", "fds");
	add(f, "two", "session");
	supervisor_start(f->s);
	run_until(f, is_ready);
	assert_string_equal(info(f, 0).status, "0 1 2 ");
	assert_string_equal(info(f, 1).status, "own session");
	close(open_here);
	teardown(f);
}

static void
test_refused(void **state)
{
	struct fixture *f = setup(0);

	(void)state;
	add(f, "good", "listen");
	add(f, "bad", "refuse");
	supervisor_start(f->s);
	run_until(f, is_failed);
	assert_string_equal(f->failed_name, "bad");
	assert_string_equal(f->why, "no such port");
	assert_false(f->ready);
	teardown(f);
}

static void
test_keeps_dying(void **state)
{
	struct fixture *f = setup(0);

	(void)state;
	add(f, "bad", "crash");
	supervisor_start(f->s);
	run_until(f, is_failed);
	assert_int_equal(info(f, 0).restarts, START_ATTEMPTS - 1);
	teardown(f);
}

static void
test_not_a_program(void **state)
{
	struct fixture *f = setup(0);
	static char nowhere[] = "/nonexistent/program";

	(void)state;
	add(f, "bad", "ready");
	f->argv[0][0] = nowhere;
	supervisor_start(f->s);
	run_until(f, is_failed);
	teardown(f);
}

static void
test_stubborn_is_killed(void **state)
{
	struct fixture *f = setup(0);
	uint64_t began;

	(void)state;
	add(f, "one", "listen");
	add(f, "two", "stubborn");
	add(f, "three", "stubborn");
	supervisor_start(f->s);
	run_until(f, is_ready);
	began = clock_ms();
	supervisor_stop(f->s);
	run_until(f, is_stopped);
	assert_true(clock_ms() - began < 2000);
	teardown(f);
}

static void
test_kill(void **state)
{
	struct fixture *f = setup(0);
	uint64_t began;

	(void)state;
	add(f, "one", "stubborn");
	add(f, "two", "stubborn");
	supervisor_start(f->s);
	run_until(f, is_ready);
	began = clock_ms();
	supervisor_kill(f->s);
	run_until(f, is_stopped);
	assert_true(clock_ms() - began < 1000);
	teardown(f);
}

static void
test_watchdog(void **state)
{
	struct fixture *f = setup(WATCHDOG_USEC);

	(void)state;
	add(f, "hangs", "listen");	/* never pings */
	add(f, "lives", "ping");
	supervisor_start(f->s);
	run_until(f, is_ready);
	f->pid = info(f, 0).pid;
	run_until(f, is_back);
	assert_int_equal(info(f, 0).restarts, 1);
	assert_int_equal(info(f, 1).restarts, 0);
	teardown(f);
}

/* A stranger's message changes nothing. */
static void
test_stranger(void **state)
{
	struct fixture *f = setup(0);

	(void)state;
	add(f, "good", "listen");
	supervisor_start(f->s);
	run_until(f, is_ready);
	setenv("NOTIFY_SOCKET", supervisor_notify_address(f->s), 1);
	assert_int_equal(notify_send("STATUS=lies"), 0);
	assert_int_equal(notify_store("http", STDIN_FILENO), 0);
	unsetenv("NOTIFY_SOCKET");
	f->pid = info(f, 0).pid;
	kill(f->pid, SIGKILL);
	run_until(f, is_back);
	assert_string_equal(info(f, 0).status, "taken");
	teardown(f);
}

int
main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart_keeps_sockets),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_keeps_dying),
		cmocka_unit_test(test_not_a_program),
		cmocka_unit_test(test_stubborn_is_killed),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_stranger),
	};
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 1)
		return run_mode(argv[1]);
	if (n < 0)
		return 1;
	log_setup(LOG_ERR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
