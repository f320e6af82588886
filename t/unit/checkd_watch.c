/* checkd_watch.c - the commands of watches, the environment of programs, jobs of remote execution, how often coordinates go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checkd/coordinates.h"
#include "checkd/process.h"
#include "checkd/rexec.h"
#include "checkd/watch_command.h"
#include "lib/json.h"

/* Words with "|" between. */
static const char *
joined(const struct strs *v)
{
	static char text[4096];
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", i > 0 ? "|" : "", STR_ARG(v->v[i]));
	return text;
}

static struct json_object *
parse(const char *text)
{
	bool null;
	char err[256];
	struct json_object *j = json_parse(text, strlen(text), &null, err, sizeof(err));

	assert_non_null(j);
	return j;
}

static void
test_command(void **state)
{
	static const struct {
		const char *watch, *args, *env, *label, *why;
	} cases[] = {
		{ "{\"type\":\"key\",\"key\":\"-a b\",\"args\":[\"/bin/x\",\"-y\",\"\"]}",
			"P|watch|-keep-going|-http-addr=A|-type=key|-key=-a b|-shell=false|--|/bin/x|-y|", "CONSUL_HTTP_SSL", "/bin/x", NULL },
		{ "{\"type\":\"keyprefix\",\"prefix\":\"p/\",\"handler\":\"cat | wc\",\"token\":\"s\",\"datacenter\":\"dc2\",\"stale\":true}",
			"P|watch|-keep-going|-http-addr=A|-type=keyprefix|-datacenter=dc2|-prefix=p/|-stale|-shell=true|--|cat | wc",
			"CONSUL_HTTP_SSL|CONSUL_HTTP_TOKEN_FILE|CONSUL_HTTP_TOKEN=s", "cat | wc", NULL },
		{ "{\"type\":\"service\",\"service\":\"w\",\"tag\":[\"a\",\"b\"],\"passingonly\":true,\"args\":[\"h\"]}",
			"P|watch|-keep-going|-http-addr=A|-type=service|-service=w|-tag=a|-tag=b|-passingonly=true|-shell=false|--|h",
			"CONSUL_HTTP_SSL", "h", NULL },
		{ "{\"type\":\"event\",\"name\":\"deploy\",\"handler_type\":\"http\",\"http_handler_config\":{\"path\":\"http://h/x\",\"method\":\"PUT\","
			"\"header\":{\"X-A\":[\"1\",\"2\"]},\"timeout\":1500,\"tls_skip_verify\":true}}",
			"P|watch|-keep-going|-http-addr=A|-type=event|-name=deploy|-http-handler=http://h/x|-http-method=PUT|-http-timeout=1500ms|"
			"-http-tls-skip-verify", "CONSUL_HTTP_SSL|CONSULCTL_HTTP_HEADERS=X-A:1\nX-A:2\n", "http://h/x", NULL },
		{ "{\"type\":\"checks\",\"state\":\"critical\",\"http_handler_config\":{\"path\":\"https://h/\",\"timeout\":\"3s\"}}",
			"P|watch|-keep-going|-http-addr=A|-type=checks|-state=critical|-http-handler=https://h/|-http-timeout=3s", "CONSUL_HTTP_SSL",
			"https://h/", NULL },
		{ "{\"type\":\"nodes\",\"http_handler_config\":{\"path\":\"https://h/\",\"header\":{\"a\":[\"b\\nc:d\"]}}}", NULL, NULL, NULL,
			"a header has more than one line" },
		{ "{\"args\":[\"x\"]}", NULL, NULL, NULL, "Watch type must be specified" },
		{ "{\"type\":\"nodes\"}", NULL, NULL, NULL, "Handler must be specified" },
		{ "{\"type\":\"nodes\",\"args\":[]}", NULL, NULL, NULL, "Handler must be specified" },
		{ "{\"type\":\"nodes\",\"handler_type\":\"http\"}", NULL, NULL, NULL, "Handler must be specified" },
		{ "{\"type\":\"key\",\"key\":\"a\\u0000b\",\"args\":[\"x\"]}", NULL, NULL, NULL, "a parameter has a NUL in it" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(WATCH_ARENA_MAX);
		struct json_object *j = parse(cases[i].watch);
		struct watch_command c;
		const char *why = NULL;
		int rc = watch_command(j, "P", "A", &a, &c, &why);

		if (cases[i].why != NULL) {
			assert_int_equal(rc, -EINVAL);
			assert_string_equal(why, cases[i].why);
		} else {
			assert_int_equal(rc, 0);
			assert_string_equal(joined(&c.args), cases[i].args);
			assert_string_equal(joined(&c.env), cases[i].env);
			assert_string_equal(c.label, cases[i].label);
		}
		json_object_put(j);
		arena_release(&a);
	}
}

/* Whatever memory there is: a command or an error. */
static void
test_command_limits(void **state)
{
	struct json_object *j = parse("{\"type\":\"service\",\"service\":\"w\",\"tag\":[\"a\",\"b\"],\"token\":\"t\",\"args\":[\"h\",\"i\"]}");
	struct json_object *many = parse("{\"type\":\"nodes\",\"args\":[]}"), *args = json_object_object_get(many, "args");
	bool done = false;

	(void)state;
	for (size_t max = 0; !done; max += 16) {
		struct arena a = ARENA_INIT(max);
		struct watch_command c;
		const char *why = NULL;
		int rc = watch_command(j, "P", "A", &a, &c, &why);

		assert_true(rc == 0 || rc == -ENOMEM);
		assert_null(why);
		done = rc == 0;
		assert_true(max < WATCH_ARENA_MAX);
		arena_release(&a);
	}
	for (int i = 0; i <= WATCH_WORDS_MAX; i++)
		assert_int_equal(json_object_array_add(args, json_object_new_string("x")), 0);
	{
		struct arena a = ARENA_INIT(WATCH_ARENA_MAX);
		struct watch_command c;
		const char *why = NULL;

		assert_int_equal(watch_command(many, "P", "A", &a, &c, &why), -ELIMIT);
		arena_release(&a);
	}
	json_object_put(j);
	json_object_put(many);
}

static void
test_address(void **state)
{
	static const struct {
		const char *slice, *want;
	} cases[] = {
		{ "{\"addresses\":{\"http\":[\"10.0.0.1\",\"127.0.0.1\"]},\"ports\":{\"http\":8500}}", "http://10.0.0.1:8500" },
		{ "{\"client_addr\":[\"0.0.0.0\"],\"ports\":{\"http\":80}}", "http://127.0.0.1:80" },
		{ "{\"client_addr\":[\"::\"],\"addresses\":{\"http\":[]}}", "http://[::1]:8500" },
		{ "{\"client_addr\":[\"fd00::1\"]}", "http://[fd00::1]:8500" },
		{ "{\"addresses\":{\"http\":[\"unix:///run/a b.sock\"]},\"ports\":{\"http\":-1}}", "unix:///run/a b.sock" },
		{ "{\"client_addr\":[\"127.0.0.1\"],\"ports\":{\"http\":-1}}", NULL },
		{ "{}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(64 * KiB);
		struct json_object *j = parse(cases[i].slice);
		const char *got = watch_address(j, &a);

		if (cases[i].want == NULL)
			assert_null(got);
		else
			assert_string_equal(got, cases[i].want);
		json_object_put(j);
		arena_release(&a);
	}
}

/* ---- processes */

struct seen {
	struct loop *loop;
	struct process *process;
	char text[65536];
	size_t n;
	int status, ends;
	bool pause;
};

static void
on_output(void *arg, const char *p, size_t n)
{
	struct seen *s = arg;

	assert_true(s->n + n < sizeof(s->text));
	memcpy(s->text + s->n, p, n);
	s->n += n;
	s->text[s->n] = '\0';
	if (s->pause) {
		process_pause(s->process);
		uv_stop(&s->loop->uv);
	}
}

static void
on_ended(void *arg, int status)
{
	struct seen *s = arg;

	s->status = status;
	s->ends++;
	uv_stop(&s->loop->uv);
}

static void
start(struct processes *all, struct seen *s, const char *line, const struct strs *env)
{
	struct str args[] = { STR("/bin/sh"), STR("-c"), str_from(line) };
	const struct process_use use = { on_output, NULL, on_ended, s };

	assert_int_equal(process_start(all, &(struct strs){ args, ARRAY_LEN(args) }, env, &use, &s->process), 0);
}

static void
test_process(void **state)
{
	struct str change[] = { STR("CHECKD_ADDED=a b=c"), STR("CHECKD_KEPT=new"), STR("CHECKD_TAKEN") };
	struct loop l;
	struct processes *all;
	struct seen s = { .loop = &l };

	(void)state;
	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(processes_new(&l, &all), 0);
	assert_int_equal(setenv("CHECKD_TAKEN", "x", 1), 0);
	assert_int_equal(setenv("CHECKD_TAKEN_NOT", "y", 1), 0);
	assert_int_equal(setenv("CHECKD_KEPT", "old", 1), 0);
	start(all, &s, "echo $CHECKD_ADDED $CHECKD_KEPT ${CHECKD_TAKEN-gone} $CHECKD_TAKEN_NOT; exit 7", &(struct strs){ change, 3 });
	loop_run(&l);
	assert_string_equal(s.text, "a b=c new gone y\n");
	assert_int_equal(s.status, 7 << 8);
	assert_int_equal(processes_running(all), 0);

	/* What is not read waits in the program. */
	s = (struct seen){ .loop = &l, .pause = true };
	start(all, &s, "printf %40000s x; printf %40000s y | tail -c 5", NULL);
	loop_run(&l);
	assert_in_range(s.n, 1, 16384);
	assert_int_equal(s.ends, 0);
	process_pause(s.process);
	s.pause = false;
	process_resume(s.process);
	process_resume(s.process);
	loop_run(&l);
	assert_int_equal(s.n, 40005);
	assert_int_equal(s.ends, 1);

	/* Killed with what it has left behind; and one that is let go of. */
	s = (struct seen){ .loop = &l };
	start(all, &s, "sleep 60 & exec sleep 60", NULL);
	process_kill(s.process);
	loop_run(&l);
	assert_int_equal(s.status, 9);
	assert_int_equal(s.ends, 1);
	s = (struct seen){ .loop = &l };
	start(all, &s, "exec sleep 60", NULL);
	process_abandon(s.process);
	for (int i = 0; i < 1000 && processes_running(all) > 0; i++)
		(void)uv_run(&l.uv, UV_RUN_ONCE);
	assert_int_equal(processes_running(all), 0);
	assert_int_equal(s.ends, 0);
	processes_free(all);
	loop_release(&l);
}

/* ---- remote execution */

static void
test_rexec(void **state)
{
	static const struct {
		const char *json;
		int rc;
		uint64_t wait_ms;
		const char *what;
	} cases[] = {
		{ "{\"Command\":\"uptime\",\"Args\":null,\"Script\":null,\"Wait\":2000000000}", 0, 2000, "uptime" },
		{ "{\"Args\":[\"a\",\"\"],\"Wait\":1}", 0, 500, "a" },
		{ "{\"Script\":\"IyEvYmluL3NoCg==\"}", 0, 2000, "#!/bin/sh\n" },
		{ "{\"Command\":\"x\",\"Wait\":-5,\"Unknown\":{}}", 0, 2000, "x" },
		{ "{\"Command\":\"\"}", -EINVAL, 0, NULL }, { "{}", -EINVAL, 0, NULL }, { "[]", -EINVAL, 0, NULL }, { "", -EINVAL, 0, NULL },
		{ "{\"Command\":[]}", -EINVAL, 0, NULL }, { "{\"Args\":{}}", -EINVAL, 0, NULL }, { "{\"Args\":[null]}", -EINVAL, 0, NULL },
		{ "{\"Script\":\"!\"}", -EINVAL, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int rc = -ENOMEM;

		/* With too little memory first. */
		for (size_t max = 0; rc == -ENOMEM; max += 8) {
			struct arena a = ARENA_INIT(max);
			struct rexec_spec s = { .wait_ms = 0 };

			rc = rexec_spec_parse(str_from(cases[i].json), &a, &s);
			assert_true(rc == -ENOMEM || rc == cases[i].rc);
			if (rc == 0) {
				const struct str got = s.script.len > 0 ? s.script : s.args.n > 0 ? s.args.v[0] : s.command;

				assert_true(str_eqs(got, cases[i].what));
				assert_int_equal(s.wait_ms, cases[i].wait_ms);
			}
			assert_true(max < 4096);
			arena_release(&a);
		}
	}
}

static void
test_rexec_event(void **state)
{
	struct arena a = ARENA_INIT(64 * KiB);
	struct rexec_event e;
	char longest[1024];

	(void)state;
	assert_int_equal(rexec_event_parse(STR("{\"Prefix\":\"_rexec/\",\"Session\":\"01234567-89ab-cdef-0123-456789ABCDEF\"}"), &a, &e), 0);
	assert_true(str_eqs(e.prefix, "_rexec"));
	assert_true(str_eqs(e.session, "01234567-89ab-cdef-0123-456789ABCDEF"));
	assert_int_equal(rexec_event_parse(STR("{\"Prefix\":\"x\",\"Session\":\"01234567-89ab-cdef-0123-456789abcdeg\"}"), &a, &e), -EINVAL);
	assert_int_equal(rexec_event_parse(STR("{\"Prefix\":\"x\",\"Session\":\"0123456789abcdef0123456789abcdef0123\"}"), &a, &e), -EINVAL);
	assert_int_equal(rexec_event_parse(STR_NONE, &a, &e), -EINVAL);
	(void)snprintf(longest, sizeof(longest), "{\"Prefix\":\"%0*d\",\"Session\":\"01234567-89ab-cdef-0123-456789abcdef\"}", REXEC_PREFIX_MAX + 1, 0);
	assert_int_equal(rexec_event_parse(str_from(longest), &a, &e), -EINVAL);
	arena_release(&a);
}

static void
test_coordinates(void **state)
{
	(void)state;
	assert_int_equal(coordinate_interval_ms(0), 15000);
	assert_int_equal(coordinate_interval_ms(960), 15000);
	assert_int_equal(coordinate_interval_ms(961), 15015);
	assert_int_equal(coordinate_interval_ms(6400), 100000);
	assert_true(coordinate_interval_ms(UINT64_MAX) >= 15000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_command_limits),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_rexec),
		cmocka_unit_test(test_rexec_event),
		cmocka_unit_test(test_coordinates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
