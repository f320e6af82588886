/* acl_ask.c - what a token may do is asked of a raftd that plays its part here; requests wait behind the gate for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/acl_gate.h"
#include "lib/log.h"
#include "lib/sock.h"
#include "t/unit/nomem.h"

enum { MANY = 20000, ALLOCATIONS_MAX = 400 };

static struct world {
	struct loop loop;
	struct rpc_server *server;
	struct rpc_client *client, *raftd;
	struct acl_gate *gate;
	char dir[512];
	int dir_fd;
	uv_timer_t guard;
	bool timed_out;
	/* the raftd of this test */
	int asked, largest;
	struct rpc_token stuck;
	bool is_stuck;
	/* what came back */
	int verdicts, answers, errors, served;
	uint64_t code;
	char text[1024], accessor[64], allowed[16];
	/* of the refusals of memory */
	bool failing;
	long left;
} w;

static bool
refuse(void)
{
	return w.failing && w.left-- == 0;
}

/* ---- raftd: "good" may read what begins with "web"; "short" is answered too few; "stuck" is not answered */

static void
answer_questions(const struct rpc_request *req, const struct acl_authorize *q, struct str token)
{
	const struct acl_question *v = q->requests.v;
	size_t n = q->requests.n, left = str_eqs(token, "short") ? 1 : 0;
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct buf *out = rpc_reply_begin(w.server, req->token);
	struct mp_w m;

	if (out == NULL)
		return;
	m = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &m);
	mp_w_map(&m, 2);
	mp_w_cstr(&m, "AccessorID");
	mp_w_cstr(&m, token.len == 0 ? "00000000-0000-0000-0000-000000000002" : "acc-1");
	mp_w_cstr(&m, "Allow");
	mp_w_array(&m, (uint32_t)(n - left));
	for (size_t i = 0; i < n - left; i++)
		mp_w_cstr(&m, token.len > 0 && str_eqs(v[i].access, "read") && str_has_prefix(v[i].segment, STR("web")) ? "1" : "0");
	rpc_reply_end(w.server, req->token, m.err == 0);
}

static void
h_authorize(void *ctx, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(8 * MiB);
	struct acl_authorize q;
	struct query_options o;
	int rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);

	(void)ctx;
	w.asked++;
	if (rc < 0) {
		rpc_reply_error(w.server, req->token, 500, "%s", err_text(rc));
	} else if (str_eqs(o.token, "stuck")) {
		w.stuck = req->token;
		w.is_stuck = true;
	} else if (str_eqs(o.token, "unknown")) {
		rpc_reply_error(w.server, req->token, 403, "ACL not found");
	} else {
		if ((int)q.requests.n > w.largest)
			w.largest = (int)q.requests.n;
		answer_questions(req, &q, o.token);
	}
	arena_release(&a);
}

/* ---- a daemon: the ID says what it asks for */

static void
serve_service(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct arena a = ARENA_INIT(64 * KiB);
	struct query_options o;
	struct agent_query q;
	bool ok = true;

	(void)ctx;
	if (op_request_decode(req->info, req->body, req->len, &o, &q, &a) < 0) {
		rpc_bad_request(w.server, req, "test");
		goto out;
	}
	if (str_eqs(q.id, "early")) {
		rpc_reply_error(w.server, req->token, 404, "no such thing");
		goto out;
	}
	if (str_eqs(q.id, "many"))
		for (int i = 0; i < MANY; i++) {
			char name[32];

			(void)snprintf(name, sizeof(name), "%s-%d", i % 2 == 0 ? "web" : "db", i);
			if (!acl_may(f, "service", str_from(name), "read") == (i % 2 == 0))
				ok = false;
		}
	else
		ok = acl_may(f, "service", q.id, "read");
	/* Another question follows from the answer to the first. */
	if (str_eqs(q.id, "web-then") && ok)
		ok = acl_may(f, "service", STR("web"), "read") && acl_may(f, "node", STR("n1"), "write");
	if (acl_pending(f))
		goto out;
	w.served++;
	if (ok)
		rpc_reply_text(w.server, req->token, 1, acl_internal(f) ? STR("internal") : STR("yes"));
	else
		acl_refuse(f);
out:
	arena_release(&a);
}

static void
h_service(void *ctx, const struct rpc_request *req)
{
	acl_gate_serve(w.gate, w.server, ctx, req, serve_service);
}

static void
on_cancelled(void *ctx, struct rpc_token t)
{
	(void)ctx;
	(void)acl_gate_cancelled(w.gate, t);
}

static const struct rpc_route routes[] = { { OP_ACL_AUTHORIZE, h_authorize }, { OP_AGENT_SERVICE, h_service } };

static void
serve(void)
{
	struct rpc_server_config c = { .routes = routes, .nroutes = ARRAY_LEN(routes), .cancelled = on_cancelled };
	int fd = sock_unix_listen(w.dir_fd, "raftd.sock", 0600);

	assert_true(fd >= 0);
	w.server = rpc_server_new(&w.loop, fd, &c);
	assert_non_null(w.server);
}

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	memset(&w, 0, sizeof(w));
	log_setup(LOG_ERR, false);
	(void)snprintf(w.dir, sizeof(w.dir), "%s/acl-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(w.dir));
	w.dir_fd = sock_dir_open(w.dir);
	assert_true(w.dir_fd >= 0);
	assert_int_equal(loop_init(&w.loop), 0);
	(void)uv_timer_init(&w.loop.uv, &w.guard);
	serve();
	w.client = rpc_client_new(&w.loop, w.dir_fd, "raftd");
	w.raftd = rpc_client_new(&w.loop, w.dir_fd, "raftd");
	w.gate = acl_gate_new(w.raftd, true);
	assert_true(w.client != NULL && w.raftd != NULL && w.gate != NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	w.failing = false;
	acl_gate_free(w.gate);
	w.gate = NULL;
	rpc_client_free(w.client);
	rpc_client_free(w.raftd);
	rpc_server_free(w.server);
	uv_close((uv_handle_t *)&w.guard, NULL);
	loop_release(&w.loop);
	(void)unlinkat(w.dir_fd, "raftd.sock", 0);
	(void)close(w.dir_fd);
	(void)rmdir(w.dir);
	return 0;
}

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	w.timed_out = true;
	uv_stop(&w.loop.uv);
}

static void
run_until(const int *counter, int n)
{
	(void)uv_timer_start(&w.guard, on_guard, 30000, 0);
	while (*counter < n && !w.timed_out)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	(void)uv_timer_stop(&w.guard);
	assert_false(w.timed_out);
}

/* ---- asking */

static void
copy(char *to, size_t size, struct str s)
{
	(void)snprintf(to, size, "%.*s", STR_ARG(s));
}

static void
on_verdict(void *arg, const struct acl_verdict *v)
{
	(void)arg;
	w.verdicts++;
	w.code = v->code;
	copy(w.text, sizeof(w.text), v->text);
	copy(w.accessor, sizeof(w.accessor), v->accessor);
	for (size_t i = 0; i + 1 < sizeof(w.allowed); i++)
		w.allowed[i] = i < v->n ? acl_verdict_allows(v, i) ? 'y' : 'n' : '\0';
}

static void
ask(const char *token, size_t n)
{
	static const struct acl_question q[] = { { { "service", 7 }, { "web", 3 }, { "read", 4 } },
		{ { "service", 7 }, { "db", 2 }, { "read", 4 } }, { { "service", 7 }, { "web", 3 }, { "write", 5 } } };
	int before = w.verdicts;

	memset(w.allowed, 0, sizeof(w.allowed));
	assert_non_null(acl_ask_start(w.raftd, str_from(token), q, n, on_verdict, NULL));
	assert_int_equal(w.verdicts, before);
	run_until(&w.verdicts, before + 1);
}

static void
each_question_has_its_answer(void **state)
{
	(void)state;
	ask("good", 3);
	assert_int_equal(w.code, 0);
	assert_string_equal(w.allowed, "ynn");
	assert_string_equal(w.accessor, "acc-1");
	ask("good", 0);
	assert_int_equal(w.code, 0);
	assert_string_equal(w.allowed, "");
	ask("", 1);
	assert_int_equal(w.code, 0);
	assert_string_equal(w.allowed, "n");
}

static void
a_failure_is_never_a_yes(void **state)
{
	(void)state;
	ask("unknown", 1);
	assert_int_equal(w.code, 403);
	assert_string_equal(w.text, "ACL not found");
	assert_string_equal(w.allowed, "");
	ask("short", 3);
	assert_int_equal(w.code, 500);
	assert_string_equal(w.allowed, "");
	assert_null(acl_ask_start(w.raftd, STR("good"), NULL, ACL_AUTHORIZE_MAX + 1, on_verdict, NULL));
}

static void
who_does_not_wait_is_not_called(void **state)
{
	struct acl_ask *a;

	(void)state;
	a = acl_ask_start(w.raftd, STR("good"), NULL, 0, on_verdict, NULL);
	assert_non_null(a);
	acl_ask_cancel(a);
	acl_ask_cancel(NULL);
	ask("good", 1);
	assert_int_equal(w.verdicts, 1);
}

static void
a_denial_is_told_in_known_words(void **state)
{
	struct acl_question q;
	char text[ACL_DENIED_MAX];
	struct str long_name = { NULL, 4000 };
	char *many = malloc(long_name.len);

	(void)state;
	assert_true(acl_question_parse("agent:read", STR("n1"), &q));
	acl_denied_text(STR("acc-1"), &q, text);
	assert_string_equal(text, "Permission denied: token with AccessorID 'acc-1' lacks permission 'agent:read' on \"n1\"");
	assert_true(acl_question_parse("operator:read", STR(""), &q));
	acl_denied_text(STR("acc-1"), &q, text);
	assert_string_equal(text, "Permission denied: token with AccessorID 'acc-1' lacks permission 'operator:read'");
	acl_denied_text(STR("00000000-0000-0000-0000-000000000002"), &q, text);
	assert_string_equal(text, "Permission denied: anonymous token lacks permission 'operator:read'. "
	    "The anonymous token is used implicitly when a request does not specify a token.");
	assert_false(acl_question_parse("none", STR(""), &q));
	assert_non_null(many);
	memset(many, 'x', long_name.len);
	long_name.p = many;
	assert_true(acl_question_parse("service:write", long_name, &q));
	acl_denied_text(long_name, &q, text);
	assert_true(strlen(text) < ACL_DENIED_MAX);
	free(many);
}

/* ---- the gate */

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct rpc_error e;
	struct query_meta m;
	struct str payload;
	struct mp_r r;

	(void)arg;
	w.answers++;
	w.text[0] = '\0';
	w.code = 0;
	if (a->rc == -EPROTO) {
		rpc_error_decode(a, &e);
		w.code = e.code;
		copy(w.text, sizeof(w.text), e.text);
	} else if (a->rc == 0) {
		assert_int_equal(op_reply_decode(a->body, a->len, &m, &payload), 0);
		r = mp_r_init(payload.p, payload.len);
		copy(w.text, sizeof(w.text), mp_r_str(&r));
	} else {
		w.errors++;
		w.code = 1;
	}
}

static uint32_t
start(const char *token, const char *id, bool internal)
{
	struct query_options o = { .token = str_from(token), .internal = internal };
	struct agent_query q = { .id = str_from(id) };

	return rpc_call_record(w.client, OP_AGENT_SERVICE, &o, &q, 0, 20000, on_answer, NULL);
}

static void
get(const char *token, const char *id)
{
	int before = w.answers;

	assert_int_not_equal(start(token, id, false), 0);
	run_until(&w.answers, before + 1);
	assert_int_equal(acl_gate_waiting(w.gate), 0);
}

static void
a_request_waits_for_its_rights(void **state)
{
	(void)state;
	get("good", "web");
	assert_string_equal(w.text, "yes");
	assert_int_equal(w.asked, 1);
	get("good", "db");
	assert_int_equal(w.code, 403);
	assert_string_equal(w.text, "Permission denied: token with AccessorID 'acc-1' lacks permission 'service:read' on \"db\"");
	get("unknown", "web");
	assert_int_equal(w.code, 403);
	assert_string_equal(w.text, "ACL not found");
	get("", "web");
	assert_int_equal(w.code, 403);
	assert_non_null(strstr(w.text, "anonymous token lacks permission"));
	assert_int_equal(w.served, 3);
}

static void
an_answer_may_lead_to_another_question(void **state)
{
	(void)state;
	get("good", "web-then");
	assert_int_equal(w.code, 403);
	assert_non_null(strstr(w.text, "'node:write' on \"n1\""));
	/* The fact that was known, "web-then", is not asked again; && stops at what is not. */
	assert_int_equal(w.asked, 3);
	assert_int_equal(w.largest, 1);
}

static void
long_lists_are_asked_in_parts(void **state)
{
	(void)state;
	get("good", "many");
	assert_string_equal(w.text, "yes");
	assert_int_equal(w.largest, ACL_AUTHORIZE_MAX);
	assert_int_equal(w.asked, 3);
	assert_int_equal(w.served, 1);
}

static void
what_is_answered_is_over(void **state)
{
	(void)state;
	get("good", "early");
	assert_int_equal(w.code, 404);
	assert_int_equal(w.asked, 0);
}

static void
own_questions_and_acls_that_are_off_ask_nobody(void **state)
{
	int before = w.answers;

	(void)state;
	assert_int_not_equal(start("", "db", true), 0);
	run_until(&w.answers, before + 1);
	assert_string_equal(w.text, "internal");
	acl_gate_free(w.gate);
	w.gate = acl_gate_new(w.raftd, false);
	assert_non_null(w.gate);
	get("unknown", "db");
	assert_string_equal(w.text, "yes");
	assert_int_equal(w.asked, 0);
}

static void
who_hangs_up_frees_its_place(void **state)
{
	uint32_t id;
	int stuck = 0;

	(void)state;
	id = start("stuck", "web", false);
	assert_int_not_equal(id, 0);
	for (int i = 0; i < 1000 && !w.is_stuck; i++)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	assert_true(w.is_stuck);
	assert_int_equal(acl_gate_waiting(w.gate), 1);
	rpc_cancel(w.client, id);
	(void)uv_timer_start(&w.guard, on_guard, 30000, 0);
	while (acl_gate_waiting(w.gate) > 0 && !w.timed_out)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	(void)uv_timer_stop(&w.guard);
	assert_false(w.timed_out);
	/* raftd was told, too. */
	while (rpc_request_open(w.server, w.stuck) && stuck++ < 1000)
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
	assert_false(rpc_request_open(w.server, w.stuck));
}

/* Whatever allocation fails: one answer, and never a yes to who may not. */
static void
without_memory_nobody_gets_through(void **state)
{
	bool met = true;

	(void)state;
	get("good", "web");
	get("good", "db");
	for (long n = 0; met && n < ALLOCATIONS_MAX; n++) {
		int before = w.answers;
		uint32_t id;

		w.failing = true;
		w.left = n;
		id = start("good", "db", false);
		if (id != 0) {
			(void)uv_timer_start(&w.guard, on_guard, 30000, 0);
			while (w.answers == before && !w.timed_out)
				(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
			(void)uv_timer_stop(&w.guard);
		}
		met = w.left < 0;
		w.failing = false;
		assert_false(w.timed_out);
		if (id != 0) {
			assert_int_equal(w.answers, before + 1);
			assert_true(w.code != 0);
		}
		assert_int_equal(acl_gate_waiting(w.gate), 0);
	}
	assert_false(met);
	get("good", "web");
	assert_string_equal(w.text, "yes");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_question_has_its_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_is_never_a_yes, setup, teardown),
		cmocka_unit_test_setup_teardown(who_does_not_wait_is_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(a_denial_is_told_in_known_words, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_waits_for_its_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_may_lead_to_another_question, setup, teardown),
		cmocka_unit_test_setup_teardown(long_lists_are_asked_in_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_answered_is_over, setup, teardown),
		cmocka_unit_test_setup_teardown(own_questions_and_acls_that_are_off_ask_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(who_hangs_up_frees_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_nobody_gets_through, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
