/* lib_rpc.c - frames over real Unix sockets: pipelining, watches, streams, reconnects, garbage. */
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

#include "lib/log.h"
#include "lib/rpc.h"
#include "lib/sock.h"

enum { PARKED_MAX = 64, LONG_NAME = 120 };

static struct world {
	struct loop loop;
	struct rpc_server *server;
	struct rpc_client *client;
	char dir[512];
	int dir_fd;
	int answers, errors, events, unknown, cancelled, bad;
	uint32_t credit;
	struct rpc_token parked[PARKED_MAX], stream;
	size_t nparked;
	uv_timer_t guard;
	bool timed_out;
} w;

static void
h_get(void *ctx, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(1 << 16);
	struct query_options o;
	struct kv_query q;

	(void)ctx;
	if (op_request_decode(req->info, req->body, req->len, &o, &q, &a) < 0) {
		w.bad++;
		rpc_bad_request(w.server, req, "test");
	} else if (o.min_index > 0) {
		w.parked[w.nparked++] = req->token;
	} else if (str_eqs(q.key, "bad")) {
		rpc_reply_error(w.server, req->token, 404, "no %s", "such key");
	} else {
		rpc_reply_text(w.server, req->token, 7, q.key);
	}
	arena_release(&a);
}

static void
h_log(void *ctx, const struct rpc_request *req)
{
	(void)ctx;
	w.stream = req->token;
}

static void
on_cancelled(void *ctx, struct rpc_token t)
{
	(void)ctx;
	(void)t;
	w.cancelled++;
}

static void
on_credit(void *ctx, struct rpc_token t, uint32_t n)
{
	(void)ctx;
	w.credit += n;
	for (uint32_t i = 0; i < n; i++) {
		struct buf *b = rpc_event_begin(w.server, t);
		struct mp_w mw;

		assert_non_null(b);
		mw = mp_w_init(b);
		mp_w_cstr(&mw, "line");
		rpc_event_end(w.server, t, mw.err == 0);
	}
}

static const struct rpc_route routes[] = { { OP_KV_GET, h_get }, { OP_DAEMON_LOG, h_log } };

static void
serve(void)
{
	struct rpc_server_config c = { .routes = routes, .nroutes = ARRAY_LEN(routes), .cancelled = on_cancelled,
		.credit = on_credit };
	int fd = sock_unix_listen(w.dir_fd, "raftd.sock", 0600);

	assert_true(fd >= 0);
	w.server = rpc_server_new(&w.loop, fd, &c);
	assert_non_null(w.server);
}

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	w.timed_out = true;
	uv_stop(&w.loop.uv);
}

/* Run until *counter reaches n. */
static void
run_until(const int *counter, int n)
{
	(void)uv_timer_start(&w.guard, on_guard, 20000, 0);
	while (*counter < n && !w.timed_out)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	(void)uv_timer_stop(&w.guard);
	assert_false(w.timed_out);
}

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char name[LONG_NAME + 1];
	size_t n;

	(void)state;
	memset(&w, 0, sizeof(w));
	log_setup(LOG_ERR, false);
	n = (size_t)snprintf(w.dir, sizeof(w.dir), "%s/rpc-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(w.dir));
	/* Longer than sun_path: must work all the same. */
	memset(name, 'd', LONG_NAME);
	name[LONG_NAME] = 0;
	(void)snprintf(w.dir + n, sizeof(w.dir) - n, "/%s", name);
	assert_int_equal(mkdir(w.dir, 0700), 0);
	w.dir_fd = sock_dir_open(w.dir);
	assert_true(w.dir_fd >= 0);
	assert_int_equal(loop_init(&w.loop), 0);
	(void)uv_timer_init(&w.loop.uv, &w.guard);
	serve();
	w.client = rpc_client_new(&w.loop, w.dir_fd, "raftd");
	assert_non_null(w.client);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rpc_client_free(w.client);
	rpc_server_free(w.server);
	uv_close((uv_handle_t *)&w.guard, NULL);
	loop_release(&w.loop);
	(void)unlinkat(w.dir_fd, "raftd.sock", 0);
	(void)close(w.dir_fd);
	(void)rmdir(w.dir);
	*strrchr(w.dir, '/') = 0;
	(void)rmdir(w.dir);
	return 0;
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct rpc_error e;
	struct query_meta m;
	struct str payload;

	(void)arg;
	if (a->is_event) {
		w.events++;
		return;
	}
	if (a->rc == -EPROTO) {
		rpc_error_decode(a, &e);
		assert_int_equal(e.code, 404);
		assert_true(str_eqs(e.text, "no such key"));
		w.errors++;
	} else if (a->rc == -EUNKNOWN) {
		w.unknown++;
	} else {
		assert_int_equal(a->rc, 0);
		assert_int_equal(op_reply_decode(a->body, a->len, &m, &payload), 0);
		assert_int_equal(m.index, 7);
		w.answers++;
	}
}

static uint32_t
ask(const char *key, uint64_t min_index, unsigned flags)
{
	struct query_options o = { .min_index = min_index };
	struct kv_query q = { .key = str_from(key) };
	uint32_t id = rpc_call_record(w.client, OP_KV_GET, &o, &q, flags, 10000, on_answer, NULL);

	assert_int_not_equal(id, 0);
	return id;
}

static void
calls_are_pipelined_and_errors_told(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		(void)ask(i % 10 == 9 ? "bad" : "k", 0, RPC_RETRY);
	run_until(&w.answers, 900);
	run_until(&w.errors, 100);
	assert_int_equal(w.answers, 900);
}

static void
a_cancelled_watch_is_told_to_the_server(void **state)
{
	uint32_t id = ask("k", 5, RPC_RETRY | RPC_NO_DEADLINE);

	(void)state;
	(void)ask("k", 0, RPC_RETRY);
	run_until(&w.answers, 1);
	assert_int_equal(w.nparked, 1);
	rpc_cancel(w.client, id);
	run_until(&w.cancelled, 1);
	/* Answering it now goes nowhere, and harms nobody. */
	rpc_reply_text(w.server, w.parked[0], 7, STR("late"));
	(void)ask("k", 0, RPC_RETRY);
	run_until(&w.answers, 2);
}

static void
a_stream_takes_credit(void **state)
{
	uint32_t id = rpc_call_record(w.client, OP_DAEMON_LOG, NULL, &(struct log_query){ .json = true }, RPC_NO_DEADLINE, 0,
	    on_answer, NULL);

	(void)state;
	(void)ask("k", 0, RPC_RETRY);
	run_until(&w.answers, 1);
	rpc_give_credit(w.client, id, 3);
	run_until(&w.events, 3);
	assert_int_equal(w.credit, 3);
	rpc_cancel(w.client, id);
	run_until(&w.cancelled, 1);
}

static void
a_lost_connection_is_made_again(void **state)
{
	(void)state;
	(void)ask("k", 0, RPC_RETRY);
	run_until(&w.answers, 1);
	(void)ask("k", 3, RPC_RETRY | RPC_NO_DEADLINE);
	(void)ask("k", 3, RPC_NO_DEADLINE);
	while (w.nparked < 2)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	rpc_server_free(w.server);
	w.nparked = 0;
	serve();
	/* The one that may be repeated arrives again; the other's outcome is unknown. */
	run_until(&w.unknown, 1);
	while (w.nparked < 1)
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE);
	rpc_reply_text(w.server, w.parked[0], 7, STR("v"));
	run_until(&w.answers, 2);
}

/* Each of these closes its own connection and leaves the server answering. */
static void
garbage_closes_one_connection(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} garbage[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27 },
		{ "\xff\xff\xff\xff\x01\x00\x00\x6e\x00\x00\x00\x01", 12 },
		{ "\x00\x00\x00\x00\x09\x00\x00\x6e\x00\x00\x00\x01", 12 },
		{ "\x00\x00\x00\x00\x01\x00\xff\xff\x00\x00\x00\x01", 12 },
		{ "\x00\x00\x00\x01\x01\x00\x00\x6e\x00\x00\x00\x01\xc1", 13 },
		{ "\x00\x00\x00\x02\x01\x00\x00\x6e\x00\x00\x00\x00\x80\x80", 14 },
	};

	(void)state;
	(void)ask("k", 0, RPC_RETRY);
	run_until(&w.answers, 1);
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		int fd = sock_unix_connect(w.dir_fd, "raftd.sock"), spins = 0;
		char c;

		assert_true(fd >= 0);
		assert_int_equal(send(fd, garbage[i].bytes, garbage[i].len, 0), (ssize_t)garbage[i].len);
		while (recv(fd, &c, 1, 0) < 0 && errno == EAGAIN && spins++ < 1000)
			(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		assert_true(spins < 1000);
		(void)close(fd);
	}
	(void)ask("k", 0, RPC_RETRY);
	run_until(&w.answers, 2);
	assert_int_equal(rpc_server_conns(w.server), 1);
}

static void
stamps_keep_a_floor(void **state)
{
	struct query_options o = { 0 };
	struct write_stamps s;

	(void)state;
	write_stamps_init(&s);
	for (uint64_t i = 1; i <= 200; i++) {
		assert_int_equal(write_stamps_take(&s, &o), 0);
		assert_int_equal(o.seq, i);
		assert_int_equal(o.floor, i > 3 ? 2 : 1);
		if (i == 3) {
			write_stamps_done(&s, 3);
			write_stamps_done(&s, 1);
		}
	}
	write_stamps_release(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_are_pipelined_and_errors_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cancelled_watch_is_told_to_the_server, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_takes_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lost_connection_is_made_again, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_closes_one_connection, setup, teardown),
		cmocka_unit_test(stamps_keep_a_floor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
