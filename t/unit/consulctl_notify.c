/* consulctl_notify.c - notifications read, descriptors kept by name. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "consulctl/agent/fdstore.h"
#include "consulctl/agent/notify_server.h"

static int
parse(const char *text, size_t len, struct notify_event *ev)
{
	static char copy[NOTIFY_MESSAGE_MAX + 1];

	memcpy(copy, text, len);
	return notify_parse(copy, len, ev);
}

static void
test_parse(void **state)
{
	struct notify_event ev;

	(void)state;
	assert_int_equal(parse("READY=1\nSTATUS=a = b\n", 21, &ev), 0);
	assert_true(ev.ready);
	assert_string_equal(ev.status, "a = b");
	assert_null(ev.fdname);
	assert_int_equal(ev.watchdog_usec, -1);

	assert_int_equal(parse("FDSTORE=1\nFDNAME=http", 21, &ev), 0);
	assert_true(ev.fdstore && !ev.ready);
	assert_string_equal(ev.fdname, "http");

	assert_int_equal(parse("WATCHDOG=1\nWATCHDOG_USEC=250000", 31, &ev), 0);
	assert_true(ev.watchdog && !ev.watchdog_trigger);
	assert_int_equal(ev.watchdog_usec, 250000);

	assert_int_equal(parse("MAINPID=1\nnonsense\nREADY=0", 26, &ev), 0);
	assert_false(ev.ready);
	assert_int_equal(parse("", 0, &ev), 0);
}

static void
test_parse_refuses(void **state)
{
	struct notify_event ev;

	(void)state;
	assert_int_equal(parse("READY=1\0", 8, &ev), -EINVAL);
	assert_int_equal(parse("WATCHDOG_USEC=-1", 16, &ev), -EINVAL);
	assert_int_equal(parse("WATCHDOG_USEC=1x", 16, &ev), -EINVAL);
	assert_int_equal(parse("WATCHDOG_USEC=", 14, &ev), -EINVAL);
	assert_int_equal(parse("WATCHDOG_USEC=99999999999999999999", 34, &ev), -EINVAL);
}

static int
new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void
test_store(void **state)
{
	struct buf names = BUF_INIT(256);
	struct fdstore s = { .n = 0 };
	int fd = new_socket(), again = dup(fd);

	(void)state;
	assert_int_equal(fdstore_add(&s, "http", fd), 0);
	assert_int_equal(fdstore_add(&s, "http", again), 0);	/* the same socket: kept once */
	assert_int_equal(fcntl(again, F_GETFD), -1);
	assert_int_equal(fdstore_add(&s, "dns", new_socket()), 0);
	assert_int_equal(fdstore_add(&s, "http", new_socket()), 0);
	assert_int_equal(fdstore_names(&s, &names), 0);
	assert_string_equal(buf_cstr(&names), "http:dns:http");
	assert_int_equal(fdstore_remove(&s, "http"), 2);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(fdstore_remove(&s, "http"), 0);
	assert_int_equal(s.n, 1);
	fdstore_clear(&s);
	assert_int_equal(s.n, 0);
	buf_release(&names);
}

static void
test_store_refuses(void **state)
{
	static const char *const bad[] = { "", "a:b", "a\nb", "\xc3\xa4",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	struct fdstore s = { .n = 0 };
	int fd = new_socket();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(fdstore_add(&s, bad[i], fd), -EINVAL);
	assert_true(fcntl(fd, F_GETFD) >= 0);	/* still the caller's */
	close(fd);
	assert_int_equal(fdstore_add(&s, "closed", fd), -EBADF);
	for (size_t i = 0; i < FDSTORE_MAX; i++)
		assert_int_equal(fdstore_add(&s, "many", new_socket()), 0);
	fd = new_socket();
	assert_int_equal(fdstore_add(&s, "many", fd), -ELIMIT);
	close(fd);
	fdstore_clear(&s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_store_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
