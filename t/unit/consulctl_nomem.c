/* consulctl_nomem.c - the Nth allocation fails, for every N: it is told, nothing leaks, nothing falls over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consulctl/cmd/child.h"
#include "consulctl/cmd/exec_job.h"
#include "consulctl/cmd/watch_http.h"
#include "consulctl/client/client.h"
#include "consulctl/table.h"
#include "consulctl/value.h"

#include "t/unit/nomem.h"
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused;

static bool
refuse(void)
{
	if (left == 0)
		refused = true;
	return left == 0 || (left > 0 && left-- == 0);
}

char *
__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return refuse() ? NULL : __real_strndup(s, n);
}

/* ---- what is tried: 0, or a negative code */

static int
try_options(void)
{
	static const struct option table[] = { { "tag", OPT_LIST, "t", NULL, "" }, { NULL, OPT_BOOL, NULL, NULL, NULL } };
	char *argv[] = { (char *)"x", (char *)"-tag=a", (char *)"-tag", (char *)"b", (char *)"-token=t", (char *)"rest", NULL };
	struct buf err = BUF_INIT(1024);
	struct options o;
	int rc;

	options_init(&o);
	options_use(&o, table);
	options_use(&o, options_client);
	rc = options_parse(&o, 6, argv, &err);
	options_release(&o);
	buf_release(&err);
	return rc;
}

static int
try_table(void)
{
	struct table t;
	FILE *f = fopen("/dev/null", "w");
	int rc;

	table_init(&t, 2);
	for (int i = 0; i < 100; i++)
		table_addf(&t, "cell %d with a text that makes it long enough to need room", i);
	rc = f != NULL ? table_print(&t, f, TABLE_GAP) : -ENOMEM;
	if (f != NULL)
		fclose(f);
	table_release(&t);
	return rc;
}

static int
try_values(void)
{
	static const char text[] = "{\"b\":\"2\",\"a\":\"1\",\"c\":[{},[]]}";
	struct buf out = BUF_INIT(4096);
	struct json_object *j;
	long keep = left;
	int rc;

	/* The tree is json-c's: what is tried is what we make of it. */
	left = -1;
	j = json_object_new_object();
	json_object_object_add(j, "b", json_object_new_string("2"));
	json_object_object_add(j, "a", json_object_new_string("1"));
	left = keep;
	rc = value_pairs(j, ",", &out);
	if (rc == 0) {
		assert_string_equal(buf_cstr(&out) != NULL ? (char *)out.data : "a=1,b=2", "a=1,b=2");
		rc = value_reindent(str_from(text), "    ", &out);
	}
	json_object_put(j);
	buf_release(&out);
	return rc;
}

/* A question to a port where nobody listens: everything but the answer. */
static int
ask(const char *address)
{
	char flag[64];
	char *argv[] = { (char *)"x", flag, (char *)"-token=secret", NULL };
	struct buf err = BUF_INIT(1024);
	struct options o;
	struct client c;
	struct request r;
	int rc;

	snprintf(flag, sizeof(flag), "-http-addr=%s", address);
	options_init(&o);
	options_use(&o, options_client);
	rc = options_parse(&o, 3, argv, &err);
	if (rc == 0)
		rc = client_open(&c, &o);
	if (rc == 0) {
		request_init(&r, "PUT", "/v1/kv/", "a key/of ours");
		request_param(&r, "flags", "7");
		request_param_u64(&r, "cas", 12);
		r.ex.body = STR("value");
		rc = client_call(&c, &r, false);
		assert_true(rc < 0);
		assert_int_not_equal(r.error[0], '\0');
		rc = rc == -ECONNREFUSED || rc == -ENOENT ? 0 : rc;
		request_release(&r);
		client_close(&c);
	}
	options_release(&o);
	buf_release(&err);
	return rc;
}

static int
try_tcp(void)
{
	return ask("http://127.0.0.1:1/prefix");
}

static int
try_unix(void)
{
	return ask("unix:///nowhere/sock");
}

static int
try_child(void)
{
	char *words[] = { (char *)"exit", (char *)"3", NULL };
	struct child_spec spec = { .words = words, .shell = true, .variable = "A=b", .stdin_fd = -1 };
	struct child child = { .pid = 0 };
	int status = 0, rc = child_start(&spec, &child);

	while (rc == 0 && !child_reap(&child, &status))
		;
	if (rc == 0)
		assert_string_equal(child_failure(status), "exit status 3");
	return rc;
}

/* A watch's document to a port where nobody listens. */
static int
try_watch_http(void)
{
	static const struct option table[] = {
		{ "http-handler", OPT_STR, "u", NULL, "" }, { "http-header", OPT_LIST, "h", NULL, "" }, { "http-method", OPT_STR, "m", "POST", "" },
		{ "http-timeout", OPT_DURATION, "d", "10s", "" }, { "http-tls-skip-verify", OPT_BOOL, NULL, NULL, "" },
		{ NULL, OPT_BOOL, NULL, NULL, NULL },
	};
	char *argv[] = { (char *)"x", (char *)"-http-handler=http://127.0.0.1:1/a?b", (char *)"-http-header=X-A:b", NULL };
	uint8_t text[] = "{}";
	struct buf document = { .data = text, .len = 2, .cap = 2, .max = 2 }, err = BUF_INIT(1024);
	struct watch_http h;
	struct options o;
	int rc;

	options_init(&o);
	options_use(&o, table);
	rc = options_parse(&o, 3, argv, &err);
	if (rc == 0)
		rc = watch_http_open(&h, &o);
	if (rc == 0) {
		rc = watch_http_send(&h, 7, &document, -1);
		assert_true(rc < 0);
		assert_int_not_equal(h.error[0], '\0');
		rc = rc == -ECONNREFUSED ? 0 : rc;
		watch_http_close(&h);
	}
	options_release(&o);
	buf_release(&err);
	return rc;
}

/* A job of remote execution, up to where the agent would have to answer. */
static int
try_exec_job(void)
{
	static const struct option table[] = {
		{ "node", OPT_STR, "n", NULL, "" }, { "service", OPT_STR, "s", NULL, "" }, { "tag", OPT_STR, "t", NULL, "" },
		{ "prefix", OPT_STR, "p", "_rexec", "" }, { "shell", OPT_BOOL, NULL, "true", "" }, { "wait", OPT_DURATION, "d", "2s", "" },
		{ NULL, OPT_BOOL, NULL, NULL, NULL },
	};
	char *argv[] = { (char *)"x", (char *)"-http-addr=127.0.0.1:1", (char *)"-node=^a", (char *)"echo", (char *)"a b", NULL };
	struct buf err = BUF_INIT(1024);
	char session[] = "s", dir[] = "_rexec/s/", id[64];
	struct exec_job j;
	struct options o;
	struct client c;
	int rc;

	options_init(&o);
	options_use(&o, table);
	options_use(&o, options_client);
	rc = options_parse(&o, 5, argv, &err);
	if (rc == 0)
		rc = client_open(&c, &o);
	if (rc == 0) {
		exec_job_init(&j, &c, &o, -1);
		rc = exec_job_open(&j, "name", "node");
		j.session = session;
		j.dir = dir;
		if (rc == -ECONNREFUSED)
			rc = exec_job_upload(&j, NULL);
		if (rc == -ECONNREFUSED)
			rc = exec_job_fire(&j, id);
		assert_true(rc < 0);
		assert_int_not_equal(j.error[0], '\0');
		rc = rc == -ECONNREFUSED ? 0 : rc;
		client_close(&c);
	}
	options_release(&o);
	buf_release(&err);
	return rc;
}

/* Once with every allocation, then with the Nth refused, until none is left to refuse. */
static void
try_all(int (*what)(void))
{
	long n = 0;

	left = -1;
	assert_int_equal(what(), 0);
	do {
		int rc;

		left = n++;
		refused = false;
		rc = what();
		left = -1;
		assert_true(rc == 0 || refused);
		assert_true(n < 10000);
	} while (refused);
	assert_true(n > 1);
}

#define TEST(name) \
static void \
test_##name(void **state) \
{ \
	(void)state; \
	try_all(try_##name); \
}

TEST(options)
TEST(table)
TEST(values)
TEST(tcp)
TEST(unix)
TEST(child)
TEST(watch_http)
TEST(exec_job)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_child),
		cmocka_unit_test(test_watch_http),
		cmocka_unit_test(test_exec_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
