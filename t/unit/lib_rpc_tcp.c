/* lib_rpc_tcp.c - frames between nodes: greetings, refusals, posts, large bodies, lost connections, hostile strangers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/rpc_conn.h"

enum { HELLO_MS = 300, CONNS_MAX = 8, PER_HOST = 6, SOCKETS = 16, BIG = 8 * 1024 * 1024 };

static struct world {
	struct loop loop;
	struct rpc_server *server;
	struct rpc_client *client;
	uint16_t port;
	char dir[64];
	int dir_fd;
	bool refuse, silent;
	int hellos, closed, reset, greeted, refused, lost, ups, downs;
	int answers, unknown, errors, gets, posts, applied;
	uint64_t last_post;
	size_t big_len;
	struct rpc_token *parked;
	size_t nparked;
	uv_timer_t guard;
	bool timed_out;
} w;

/* ---- the server's side */

static void *
h_hello(void *ctx, const struct rpc_request *req, struct buf *reply, char err[256])
{
	const struct query_meta m = { .known_leader = true };
	const struct peer_hello own = { .protocol = PEER_PROTOCOL, .id = STR("server") };
	struct arena none = ARENA_INIT(0);
	struct mp_w mw = mp_w_init(reply);
	struct query_options o;
	struct peer_hello h;

	(void)ctx;
	w.hellos++;
	assert_int_equal(strncmp(req->from, "peer=127.0.0.1:", 15), 0);
	if (w.refuse || op_request_decode(req->info, req->body, req->len, &o, &h, &none) < 0) {
		(void)snprintf(err, 256, "not you");
		return NULL;
	}
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &mw);
	record_encode(&rec_peer_hello, &own, RECORD_WHOLE, &mw);
	assert_int_equal(mw.err, 0);
	return &w;
}

static void
h_closed(void *ctx, void *peer, bool reset)
{
	(void)ctx;
	assert_ptr_equal(peer, &w);
	w.closed++;
	w.reset += reset;
}

static void
h_get(void *ctx, const struct rpc_request *req)
{
	(void)ctx;
	w.gets++;
	if (w.silent) {
		w.parked = realloc(w.parked, (w.nparked + 1) * sizeof(*w.parked));
		assert_non_null(w.parked);
		w.parked[w.nparked++] = req->token;
	} else {
		rpc_reply_text(w.server, req->token, 7, STR("v"));
	}
}

static void
h_apply(void *ctx, const struct rpc_request *req)
{
	(void)ctx;
	w.applied++;
	w.big_len = req->len;
	rpc_reply_bool(w.server, req->token, 1, true);
}

static void
h_post(void *ctx, const struct rpc_request *req)
{
	struct arena none = ARENA_INIT(0);
	struct query_options o;
	struct raft_wire m;

	(void)ctx;
	assert_ptr_equal(req->peer, &w);
	assert_int_equal(op_request_decode(req->info, req->body, req->len, &o, &m, &none), 0);
	assert_int_equal(m.first, w.last_post + 1);
	w.last_post = m.first;
	w.posts++;
}

static void
h_info(void *ctx, const struct rpc_request *req)
{
	(void)ctx;
	rpc_reply_text(w.server, req->token, 7, STR("local"));
}

static const struct rpc_route routes[] = { { OP_KV_GET, h_get }, { OP_KV_APPLY, h_apply }, { OP_PEER_RAFT, h_post },
	{ OP_DAEMON_INFO, h_info } };

static void
serve(void)
{
	const struct rpc_server_config c = { .routes = routes, .nroutes = ARRAY_LEN(routes) };
	const struct rpc_greeter g = { .hello = h_hello, .closed = h_closed, .conns_max = CONNS_MAX, .conns_per_host = PER_HOST,
		.hello_ms = HELLO_MS };
	int fd = sock_unix_listen(w.dir_fd, "raftd.sock", 0600);
	union sock_addr a;
	socklen_t len = sizeof(a);

	assert_true(fd >= 0);
	w.server = rpc_server_new(&w.loop, fd, &c);
	assert_non_null(w.server);
	assert_int_equal(sock_addr_parse("127.0.0.1", w.port, &a), 0);
	fd = sock_inet_listen(&a, SOCK_STREAM, 16, false);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &a.sa, &len), 0);
	w.port = ntohs(a.in.sin_port);
	assert_int_equal(rpc_server_listen_tcp(w.server, fd, &g), 0);
}

/* ---- the client's side */

static int
greet(void *arg, struct buf *body)
{
	const struct peer_hello h = { .protocol = PEER_PROTOCOL, .id = STR("client") };

	(void)arg;
	return op_request_encode(OP_PEER_HELLO, NULL, &h, body);
}

static int
greeted(void *arg, const struct rpc_answer *a)
{
	struct rpc_error e;

	(void)arg;
	if (a->rc == -EPROTO) {
		rpc_error_decode(a, &e);
		assert_true(str_eqs(e.text, "not you"));
		w.refused++;
	} else if (a->rc < 0) {
		w.lost++;
	} else {
		w.greeted++;
	}
	return a->rc;
}

static void
on_state(void *arg, bool up)
{
	(void)arg;
	w.ups += up;
	w.downs += !up;
}

static void
connect_client(void)
{
	const struct rpc_greeting g = { .from = "127.0.0.1", .greet = greet, .greeted = greeted, .connect_ms = 2000 };

	w.client = rpc_client_new_tcp(&w.loop, "127.0.0.1", w.port, &g);
	assert_non_null(w.client);
	rpc_client_on_state(w.client, on_state, NULL);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	(void)arg;
	if (a->rc == -EUNKNOWN)
		w.unknown++;
	else if (a->rc < 0)
		w.errors++;
	else
		w.answers++;
}

static uint32_t
ask(unsigned flags)
{
	const struct kv_query q = { .key = STR("k") };

	return rpc_call_record(w.client, OP_KV_GET, NULL, &q, flags, 10000, on_answer, NULL);
}

/* ---- running */

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	w.timed_out = true;
}

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
	(void)state;
	memset(&w, 0, sizeof(w));
	log_setup(LOG_ERR, false);
	(void)snprintf(w.dir, sizeof(w.dir), "/tmp/rpc-tcp-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	w.dir_fd = sock_dir_open(w.dir);
	assert_true(w.dir_fd >= 0);
	assert_int_equal(loop_init(&w.loop), 0);
	(void)uv_timer_init(&w.loop.uv, &w.guard);
	serve();
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
	free(w.parked);
	return 0;
}

/* ---- between friends */

static void
a_greeting_comes_first(void **state)
{
	(void)state;
	connect_client();
	/* Asked before there is a connection: waits for it. */
	for (int i = 0; i < 100; i++)
		assert_int_not_equal(ask(0), 0);
	assert_false(rpc_client_connected(w.client));
	run_until(&w.answers, 100);
	assert_int_equal(w.hellos, 1);
	assert_int_equal(w.greeted, 1);
	assert_int_equal(w.ups, 1);
	assert_true(rpc_client_connected(w.client));
}

static void
the_refused_try_again(void **state)
{
	(void)state;
	w.refuse = true;
	connect_client();
	assert_int_not_equal(ask(0), 0);
	run_until(&w.refused, 3);
	assert_int_equal(w.ups, 0);
	assert_int_equal(w.gets, 0);
	assert_null(rpc_post_begin(w.client, OP_PEER_RAFT));
	w.refuse = false;
	run_until(&w.answers, 1);
	assert_int_equal(w.ups, 1);
	assert_int_equal(w.closed, 0);
}

static void
post(uint64_t number, bool ok)
{
	const struct raft_wire m = { .type = 1, .first = number };
	struct buf *b = rpc_post_begin(w.client, OP_PEER_RAFT);

	assert_non_null(b);
	assert_int_equal(op_request_encode(OP_PEER_RAFT, NULL, &m, b), 0);
	rpc_post_end(w.client, ok);
}

static void
posts_arrive_in_order_or_are_dropped(void **state)
{
	(void)state;
	connect_client();
	assert_null(rpc_post_begin(w.client, OP_PEER_RAFT));
	run_until(&w.ups, 1);
	for (uint64_t i = 1; i <= 1000; i++) {
		post(i, true);
		post(i + 1, false);
	}
	run_until(&w.posts, 1000);
	assert_int_equal(w.last_post, 1000);
}

static void
posts_stop_while_too_much_waits(void **state)
{
	static char chunk[1024 * 1024];
	const struct raft_wire m = { .type = 7, .first = 1, .data = { chunk, sizeof(chunk) } };
	struct buf *b;
	int n = 0;

	(void)state;
	connect_client();
	run_until(&w.ups, 1);
	while (n < 100 && (b = rpc_post_begin(w.client, OP_PEER_RAFT)) != NULL) {
		assert_int_equal(op_request_encode(OP_PEER_RAFT, NULL, &m, b), 0);
		rpc_post_end(w.client, true);
		n++;
	}
	assert_in_range(n, 4, 5);
	assert_true(rpc_client_queued(w.client) > RPC_OUT_HIGH);
}

static void
large_bodies_arrive_whole(void **state)
{
	char *v = calloc(1, BIG);
	const struct kv_op op = { .verb = STR("set"), .entry = { .key = STR("k"), .value = { v, BIG } } };

	(void)state;
	assert_non_null(v);
	connect_client();
	assert_int_not_equal(rpc_call_record(w.client, OP_KV_APPLY, NULL, &op, 0, 10000, on_answer, NULL), 0);
	run_until(&w.answers, 1);
	assert_true(w.big_len > BIG);
	free(v);
}

static void
a_lost_connection_is_made_and_greeted_again(void **state)
{
	(void)state;
	w.silent = true;
	connect_client();
	assert_int_not_equal(ask(RPC_RETRY), 0);
	assert_int_not_equal(ask(0), 0);
	run_until(&w.gets, 2);
	rpc_server_free(w.server);
	assert_int_equal(w.closed, 1);
	assert_int_equal(w.reset, 0);
	w.silent = false;
	serve();
	run_until(&w.unknown, 1);
	run_until(&w.answers, 1);
	assert_int_equal(w.ups, 2);
	assert_int_equal(w.downs, 1);
	assert_int_equal(w.hellos, 2);
}

static void
the_server_sees_the_end_of_a_peer(void **state)
{
	(void)state;
	connect_client();
	run_until(&w.ups, 1);
	rpc_client_free(w.client);
	w.client = NULL;
	run_until(&w.closed, 1);
	assert_int_equal(w.reset, 1);
	connect_client();
	run_until(&w.ups, 2);
	rpc_server_close_peer(w.server, &w);
	run_until(&w.closed, 2);
	assert_int_equal(w.reset, 1);
	run_until(&w.ups, 3);
	rpc_server_close_tcp(w.server);
	assert_int_equal(w.closed, 3);
	run_until(&w.lost, 2);
	assert_int_equal(rpc_server_conns(w.server), 0);
}

/* A callback of its own may free a client. */
static void
free_me(void *arg, const struct rpc_answer *a)
{
	(void)arg;
	(void)a;
	rpc_client_free(w.client);
	w.client = NULL;
	w.answers++;
}

static void
a_client_may_be_freed_by_its_callback(void **state)
{
	const struct kv_query q = { .key = STR("k") };

	(void)state;
	connect_client();
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(rpc_call_record(w.client, OP_KV_GET, NULL, &q, 0, 10000, free_me, NULL), 0);
	run_until(&w.answers, 1);
	run_until(&w.closed, 1);
	w.silent = true;
	connect_client();
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(rpc_call_record(w.client, OP_KV_GET, NULL, &q, 0, 10000, free_me, NULL), 0);
	run_until(&w.gets, 6);
	rpc_server_close_peer(w.server, &w);
	run_until(&w.answers, 2);
	assert_int_equal(w.answers, 2);
}

/* Requests without an answer are found whatever their number and order. */
static void
ten_thousand_wait_and_are_answered(void **state)
{
	enum { N = 10000 };
	uint64_t rnd = 88172645463325252u;

	(void)state;
	w.silent = true;
	connect_client();
	for (int i = 0; i < N; i++)
		assert_int_not_equal(ask(0), 0);
	run_until(&w.gets, N);
	for (size_t i = N; i > 1; i--) {
		struct rpc_token t;
		size_t j;

		rnd ^= rnd << 13;
		rnd ^= rnd >> 7;
		rnd ^= rnd << 17;
		j = (size_t)(rnd % i);
		t = w.parked[i - 1];
		w.parked[i - 1] = w.parked[j];
		w.parked[j] = t;
	}
	for (size_t i = 0; i < N; i++) {
		rpc_reply_text(w.server, w.parked[i], 7, STR("v"));
		/* Twice: goes nowhere. */
		rpc_reply_text(w.server, w.parked[i], 7, STR("v"));
	}
	run_until(&w.answers, N);
	assert_int_equal(w.answers, N);
	assert_int_equal(w.errors, 0);
}

/* ---- strangers */

static int
raw_connect(void)
{
	union sock_addr a;
	int fd;

	assert_int_equal(sock_addr_parse("127.0.0.1", w.port, &a), 0);
	fd = sock_inet_connect(&a, NULL);
	assert_true(fd >= 0);
	return fd;
}

/* Whether the server closes it; what it says before that is counted. */
static bool
is_closed(int fd, size_t *ret_bytes)
{
	char got[4096];

	*ret_bytes = 0;
	for (int i = 0; i < 2000; i++) {
		ssize_t n = recv(fd, got, sizeof(got), 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		if (n > 0)
			*ret_bytes += (size_t)n;
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		(void)poll(NULL, 0, 1);
	}
	return false;
}

static void
raw_send(int fd, const void *p, size_t n)
{
	struct pollfd ready = { fd, POLLOUT, 0 };

	(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void
add_frame(struct buf *b, uint8_t kind, uint16_t op, uint32_t id, const void *body, size_t len)
{
	const struct frame f = { (uint32_t)len, kind, 0, op, id };
	uint8_t head[FRAME_HEADER];

	frame_encode(&f, head);
	assert_int_equal(buf_add(b, head, sizeof(head)), 0);
	assert_int_equal(buf_add(b, body, len), 0);
}

static void
add_hello(struct buf *b, uint32_t id)
{
	struct buf body = BUF_INIT(4096);

	assert_int_equal(greet(NULL, &body), 0);
	add_frame(b, FRAME_REQUEST, OP_PEER_HELLO, id, body.data, body.len);
	buf_release(&body);
}

static void
what_is_not_for_strangers_or_nodes_closes(void **state)
{
	static const struct {
		bool hello;
		uint8_t kind;
		uint16_t op;
		uint32_t id;
		size_t len;
	} bad[] = {
		{ false, FRAME_REQUEST, OP_KV_GET, 1, 2 }, { false, FRAME_POST, OP_PEER_RAFT, 0, 2 },
		{ false, FRAME_CANCEL, OP_PEER_HELLO, 1, 0 }, { false, FRAME_REQUEST, OP_PEER_HELLO, 0, 2 },
		{ false, FRAME_REQUEST, OP_PEER_HELLO, 1, 4097 }, { false, FRAME_REPLY, OP_PEER_HELLO, 1, 2 },
		{ true, FRAME_REQUEST, OP_DAEMON_INFO, 2, 1 }, { true, FRAME_REQUEST, OP_DAEMON_RELOAD, 2, 1 },
		{ true, FRAME_REQUEST, OP_DAEMON_LOG, 2, 2 }, { true, FRAME_REQUEST, OP_PEER_HELLO, 2, 2 },
		{ true, FRAME_POST, OP_KV_APPLY, 0, 2 }, { true, FRAME_POST, OP_PEER_RAFT, 5, 2 },
		{ true, FRAME_POST, OP_PEER_JOIN, 0, 2 }, { true, FRAME_CREDIT, OP_KV_GET, 2, 1 },
		{ true, FRAME_REQUEST, OP_GOSSIP_LEAVE, 2, 1 }, { true, FRAME_EVENT, OP_KV_GET, 2, 1 },
		{ true, FRAME_REQUEST, 999, 2, 1 }, { true, 77, OP_KV_GET, 2, 1 },
	};
	static char zeros[5000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf b = BUF_INIT(65536);
		int fd = raw_connect();
		size_t got;

		if (bad[i].hello)
			add_hello(&b, 1);
		add_frame(&b, bad[i].kind, bad[i].op, bad[i].id, zeros, bad[i].len);
		raw_send(fd, b.data, b.len);
		if (!is_closed(fd, &got))
			fail_msg("case %zu was not closed", i);
		assert_true(bad[i].hello ? got > FRAME_HEADER || got == 0 : got == 0);
		(void)close(fd);
		buf_release(&b);
	}
	assert_int_equal(w.posts + w.gets + w.applied, 0);
	assert_int_equal(rpc_server_conns(w.server), 0);
}

static void
local_sockets_are_not_for_peers(void **state)
{
	struct buf b = BUF_INIT(65536);
	int fd = sock_unix_connect(w.dir_fd, "raftd.sock");
	size_t got;

	(void)state;
	assert_true(fd >= 0);
	add_hello(&b, 1);
	raw_send(fd, b.data, b.len);
	assert_true(is_closed(fd, &got));
	assert_int_equal(got, 0);
	assert_int_equal(w.hellos, 0);
	(void)close(fd);
	buf_release(&b);
}

static void
who_says_nothing_is_closed(void **state)
{
	int fd = raw_connect();
	uint64_t from = clock_ms();
	size_t got;

	(void)state;
	raw_send(fd, "\0\0\0\x02\x01", 5);
	assert_true(is_closed(fd, &got));
	assert_in_range(clock_ms() - from, HELLO_MS, 20 * HELLO_MS);
	(void)close(fd);
}

static void
there_is_room_for_so_many(void **state)
{
	int fd[SOCKETS], open = 0;
	size_t got;

	(void)state;
	for (int i = 0; i < PER_HOST + 2; i++) {
		struct buf b = BUF_INIT(4096);

		fd[i] = raw_connect();
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		if (i < PER_HOST) {
			add_hello(&b, 1);
			raw_send(fd[i], b.data, b.len);
		}
		buf_release(&b);
	}
	run_until(&w.hellos, PER_HOST);
	for (int i = 0; i < PER_HOST + 2; i++) {
		if (i >= PER_HOST)
			assert_true(is_closed(fd[i], &got));
		else
			open++;
		(void)close(fd[i]);
	}
	assert_int_equal(open, PER_HOST);
	run_until(&w.closed, PER_HOST);
	assert_int_equal(rpc_server_conns(w.server), 0);
}

/* A header may promise what its operation allows: memory is taken for what has come. */
static void
promises_cost_no_memory(void **state)
{
	static char some[100 * 1024];
	const struct frame f = { 700u * 1024 * 1024, FRAME_REQUEST, 0, OP_KV_APPLY, 2 };
	uint8_t head[FRAME_HEADER];
	struct buf b = BUF_INIT(4096);
	const struct conn *c = NULL;
	int fd = raw_connect();

	(void)state;
	add_hello(&b, 1);
	raw_send(fd, b.data, b.len);
	frame_encode(&f, head);
	raw_send(fd, head, sizeof(head));
	raw_send(fd, some, sizeof(some));
	for (int i = 0; i < 5000 && (c == NULL || c->link.in.len < sizeof(some) + FRAME_HEADER); i++) {
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		(void)poll(NULL, 0, 1);
		c = w.server->conns[0];
	}
	assert_non_null(c);
	assert_int_equal(c->link.in.len, sizeof(some) + FRAME_HEADER);
	assert_true(c->link.in.cap <= 1024 * 1024);
	(void)close(fd);
	buf_release(&b);
}

/* And together, whatever each may send: small requests go on. */
static void
all_large_bodies_share_a_limit(void **state)
{
	static char some[1024 * 1024];
	const struct frame f = { 700u * 1024 * 1024, FRAME_REQUEST, 0, OP_KV_APPLY, 2 };
	uint8_t head[FRAME_HEADER];
	int fd[4], closed = 0;
	size_t got;

	(void)state;
	w.server->tcp_in_max = 2 * sizeof(some);
	frame_encode(&f, head);
	for (int i = 0; i < 4; i++) {
		struct buf b = BUF_INIT(4096);
		size_t at = 0;

		fd[i] = raw_connect();
		add_hello(&b, 1);
		raw_send(fd[i], b.data, b.len);
		raw_send(fd[i], head, sizeof(head));
		for (int tries = 0; at < sizeof(some) && tries < 5000; tries++) {
			ssize_t n = send(fd[i], some + at, sizeof(some) - at, MSG_NOSIGNAL);

			at += n > 0 ? (size_t)n : 0;
			(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		}
		buf_release(&b);
	}
	for (int i = 3; i >= 0 && closed == 0; i--)
		closed += is_closed(fd[i], &got);
	assert_int_not_equal(closed, 0);
	connect_client();
	assert_int_not_equal(ask(0), 0);
	run_until(&w.answers, 1);
	for (int i = 0; i < 4; i++)
		(void)close(fd[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_greeting_comes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(the_refused_try_again, setup, teardown),
		cmocka_unit_test_setup_teardown(posts_arrive_in_order_or_are_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(posts_stop_while_too_much_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(large_bodies_arrive_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lost_connection_is_made_and_greeted_again, setup, teardown),
		cmocka_unit_test_setup_teardown(the_server_sees_the_end_of_a_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_may_be_freed_by_its_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(ten_thousand_wait_and_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_for_strangers_or_nodes_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(local_sockets_are_not_for_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(who_says_nothing_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(there_is_room_for_so_many, setup, teardown),
		cmocka_unit_test_setup_teardown(promises_cost_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(all_large_bodies_share_a_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
