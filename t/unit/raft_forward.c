/* raft_forward.c - requests that are held and forwarded: hold.c and forward.c among servers that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raftd/raftd.h"

enum { HOLD_MS = 300, CALLS_MAX = 256, ANSWERS_MAX = 256, OWN = 1 };

/* ---- what hold.c and forward.c talk to */

struct rpc_client {
	uint64_t id;
	bool up, freed;
	void (*on_state)(void *arg, bool up);
	void *arg;
	char address[32];
};

static struct world {
	struct daemon d;
	struct raftd r;
	struct rpc_client clients[8];	/* of servers 2, 3 ...; of a client node's attempts */
	size_t nclients;
	struct { const struct rpc_client *to; uint32_t id; uint64_t token; rpc_answer_cb *cb; void *arg; bool open; } calls[CALLS_MAX];
	size_t ncalls;
	struct { uint64_t token; int code; char text[160]; } answers[ANSWERS_MAX];
	size_t nanswers, refused;
	struct pool_server known[4];
	size_t nknown;
	struct pool_list list;
	bool heard;
	size_t nreads, bad;
	uint64_t reads[CALLS_MAX];
	bool leads;
} w;

static void
answered(struct rpc_token t, int code, const char *text)
{
	assert_true(w.nanswers < ANSWERS_MAX);
	w.answers[w.nanswers].token = t.id;
	w.answers[w.nanswers].code = code;
	(void)snprintf(w.answers[w.nanswers].text, sizeof(w.answers[0].text), "%s", text);
	w.nanswers++;
}

void
rpc_reply_error(struct rpc_server *s, struct rpc_token t, int code, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	(void)s;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w.nanswers == ANSWERS_MAX)
		w.refused++;
	else
		answered(t, code, text);
}

void
rpc_reply_answer(struct rpc_server *s, struct rpc_token t, const struct rpc_answer *a)
{
	(void)s;
	answered(t, a->rc == 0 ? 200 : 400, (const char *)a->body);
}

void
rpc_bad_request(struct rpc_server *s, const struct rpc_request *req, const char *why)
{
	(void)s;
	(void)req;
	(void)why;
	w.bad++;
}

void
rpc_error_decode(const struct rpc_answer *a, struct rpc_error *ret)
{
	const char *text = (const char *)a->body;

	*ret = (struct rpc_error){ strcmp(text, "Not the leader") == 0 ? RPC_NOT_LEADER :
	    strcmp(text, "No longer the leader") == 0 ? RPC_LEADER_LOST : 400, STR_NONE };
}

uint32_t
rpc_call(struct rpc_client *c, uint16_t op, const void *body, size_t len, unsigned flags, uint32_t timeout_ms,
    rpc_answer_cb *cb, void *arg)
{
	(void)op;
	(void)timeout_ms;
	assert_true(c->up && flags == RPC_NO_DEADLINE && w.ncalls < CALLS_MAX);
	w.calls[w.ncalls].to = c;
	w.calls[w.ncalls].id = (uint32_t)w.ncalls + 1;
	w.calls[w.ncalls].token = ((const uint8_t *)body)[len - 1];
	w.calls[w.ncalls].cb = cb;
	w.calls[w.ncalls].arg = arg;
	w.calls[w.ncalls].open = true;
	return w.calls[w.ncalls++].id;
}

void
rpc_cancel(struct rpc_client *c, uint32_t id)
{
	assert_ptr_equal(w.calls[id - 1].to, c);
	w.calls[id - 1].open = false;
}

bool
rpc_client_connected(const struct rpc_client *c)
{
	return c->up;
}

void
rpc_client_on_state(struct rpc_client *c, void (*cb)(void *arg, bool up), void *arg)
{
	c->on_state = cb;
	c->arg = arg;
}

void
rpc_client_free(struct rpc_client *c)
{
	if (c == NULL)
		return;
	c->freed = true;
	c->up = false;
	c->on_state = NULL;
}

struct rpc_client *
net_forward(struct raftd *r, uint64_t id)
{
	(void)r;
	return id >= 2 && id < 8 ? &w.clients[id] : NULL;
}

bool
acl_on(const struct raftd *r)
{
	return r->acl != NULL;
}

/* Questions about tokens go the same way: they come back with the server that is left. */
void
acl_server_left(struct raftd *r, const struct rpc_client *client)
{
	assert_ptr_equal(r, &w.r);
	assert_non_null(client);
}

struct rpc_client *
net_client(struct raftd *r, const char *address, const char *purpose)
{
	struct rpc_client *c = &w.clients[w.nclients++ % 8];

	(void)r;
	assert_string_equal(purpose, "forward");
	*c = (struct rpc_client){ .id = w.nclients };
	(void)snprintf(c->address, sizeof(c->address), "%s", address);
	return c;
}

const struct pool_server *
pool_servers(const struct raftd *r, size_t *ret_n)
{
	(void)r;
	*ret_n = w.nknown;
	return w.known;
}

bool
pool_server_usable(const struct pool_server *s)
{
	return s->status == MEMBER_ALIVE;
}

size_t
pool_usable(const struct raftd *r)
{
	size_t n = 0;

	(void)r;
	for (size_t i = 0; i < w.nknown; i++)
		n += pool_server_usable(&w.known[i]);
	return n;
}

struct pool_list *
pool_members(const struct raftd *r)
{
	(void)r;
	return w.heard ? &w.list : NULL;
}

bool
engine_leads(const struct raftd *r)
{
	(void)r;
	return w.leads;
}

void
reads_confirmed(struct raftd *r, const struct rpc_request *req)
{
	(void)r;
	w.reads[w.nreads++] = req->token.id;
}

void
snapshot_confirmed(struct raftd *r, const struct rpc_request *req)
{
	(void)r;
	(void)req;
}

void
raftd_serve(struct raftd *r, const struct rpc_request *req)
{
	if (!r->server)
		forward_any(r, req);
	else if (w.leads)
		answered(req->token, 200, "here");
	else
		forward_leader(r, req);
}

/* ---- asking */

enum { STAMPED = 1, FROM_SERVER = 2, WAITS = 4 };

/* The token's id is in the body, so that the far end can tell whose it is. */
static void
ask(uint16_t op, uint8_t id, int how)
{
	static struct net_peer server = { .id = 9 };
	const struct query_options o = { .origin = STR("0123456789abcdef"), .seq = (how & STAMPED) != 0 ? id : 0,
		.min_index = (how & WAITS) != 0 ? 7 : 0 };
	struct buf b = BUF_INIT(4096);
	struct mp_w mw = mp_w_init(&b);
	struct rpc_request req = { .token = { 5, id, op }, .info = op_info(op), .peer = (how & FROM_SERVER) != 0 ? &server : NULL };

	record_encode(&rec_query_options, &o, RECORD_WHOLE, &mw);
	mp_w_uint(&mw, id);
	assert_int_equal(mw.err, 0);
	req.body = b.data;
	req.len = b.len;
	raftd_serve(&w.r, &req);
	buf_release(&b);
}

static void
answer(size_t call, int rc, const char *text)
{
	const struct rpc_answer a = { .rc = rc, .body = (const uint8_t *)text, .len = strlen(text) };

	assert_true(w.calls[call].open);
	w.calls[call].open = false;
	w.calls[call].cb(w.calls[call].arg, &a);
}

/* Time goes by at once, but for the loop's timers. */
static uint64_t ahead_ms;

uint64_t __real_clock_ms(void);
uint64_t __wrap_clock_ms(void);

uint64_t
__wrap_clock_ms(void)
{
	return __real_clock_ms() + ahead_ms;
}

static void
run_for(uint64_t ms)
{
	uint64_t until = __real_clock_ms() + ms;

	while (__real_clock_ms() < until) {
		(void)uv_run(&w.d.loop.uv, UV_RUN_NOWAIT);
		uv_sleep(5);
	}
}

static void
expect_answer(size_t i, uint64_t token, int code, const char *text)
{
	assert_true(w.nanswers > i);
	assert_int_equal(w.answers[i].token, token);
	assert_string_equal(w.answers[i].text, text);
	assert_int_equal(w.answers[i].code, code);
}

static void
leader(uint64_t id, bool up)
{
	w.r.engine.core.leader = id;
	if (id >= 2)
		w.clients[id].up = up;
}

static int
setup_as(bool server)
{
	memset(&w, 0, sizeof(w));
	ahead_ms = 0;
	w.r.d = &w.d;
	w.r.id = OWN;
	w.r.server = server;
	w.r.hold_ms = HOLD_MS;
	assert_int_equal(loop_init(&w.d.loop), 0);
	hold_init(&w.r);
	assert_int_equal(forward_init(&w.r), 0);
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_as(true);
}

static int
setup_client(void **state)
{
	(void)state;
	return setup_as(false);
}

static int
teardown(void **state)
{
	(void)state;
	forward_release(&w.r);
	hold_release(&w.r);
	loop_release(&w.d.loop);
	return 0;
}

/* ---- a server's */

static void
held_until_there_is_a_leader(void **state)
{
	(void)state;
	for (uint8_t i = 1; i <= 5; i++)
		ask(OP_KV_APPLY, i, 0);
	assert_int_equal(w.r.hold.n, 5);
	assert_int_equal(w.ncalls, 0);
	hold_cancelled(&w.r, (struct rpc_token){ 5, 3, OP_KV_APPLY });
	hold_cancelled(&w.r, (struct rpc_token){ 6, 4, OP_KV_APPLY });
	leader(2, true);
	hold_wake_leader(&w.r);
	assert_int_equal(w.r.hold.n, 0);
	assert_int_equal(w.ncalls, 4);
	for (size_t i = 0; i < 4; i++) {
		static const uint64_t order[] = { 1, 2, 4, 5 };

		assert_int_equal(w.calls[i].token, order[i]);
		answer(i, 0, "done");
		expect_answer(i, order[i], 200, "done");
	}
	ask(OP_KV_APPLY, 6, 0);
	answer(4, -EPROTO, "bad key");
	expect_answer(4, 6, 400, "bad key");
}

static void
given_up_after_a_while(void **state)
{
	(void)state;
	ask(OP_KV_APPLY, 1, 0);
	run_for(HOLD_MS / 3);
	leader(2, false);
	ask(OP_KV_APPLY, 2, 0);
	run_for(HOLD_MS * 4 / 5);
	assert_int_equal(w.nanswers, 1);
	expect_answer(0, 1, 500, "No cluster leader");
	run_for(HOLD_MS * 4 / 5);
	expect_answer(1, 2, 500, "No cluster leader");
	assert_false(uv_is_active((uv_handle_t *)&w.r.hold.timer));
}

static void
sent_again_when_told_that_it_does_not_lead(void **state)
{
	size_t n;

	(void)state;
	leader(2, true);
	/* Not carried out: even what has no stamp may go elsewhere. */
	ask(OP_RAFT_TRANSFER, 1, 0);
	answer(0, -EPROTO, "Not the leader");
	assert_int_equal(w.r.hold.n, 1);
	leader(3, true);
	hold_wake_leader(&w.r);
	assert_ptr_equal(w.calls[1].to, &w.clients[3]);
	answer(1, -EPROTO, "Not the leader");
	/* The same one is asked again, without a change, and not for ever. */
	for (n = 2; w.nanswers == 0; n = w.ncalls) {
		run_for(10);
		for (size_t i = n; i < w.ncalls; i++)
			answer(i, -EPROTO, "Not the leader");
	}
	assert_in_range(n, 3, 6);
	expect_answer(0, 1, 500, "No cluster leader");
}

static void
lost_on_the_way(void **state)
{
	(void)state;
	leader(2, true);
	ask(OP_KV_APPLY, 1, STAMPED);
	ask(OP_KV_APPLY, 2, 0);
	ask(OP_SNAPSHOT_SAVE, 3, 0);
	leader(0, false);
	w.clients[2].up = false;
	for (size_t i = 0; i < 3; i++)
		answer(i, -EUNKNOWN, "");
	expect_answer(0, 2, 500, "The connection to the server that was asked is lost; whether this took place is unknown");
	expect_answer(1, 3, 500, "The connection to the server that was asked is lost; whether this took place is unknown");
	assert_int_equal(w.r.hold.n, 1);
	leader(3, true);
	hold_wake_leader(&w.r);
	assert_ptr_equal(w.calls[3].to, &w.clients[3]);
	assert_int_equal(w.calls[3].token, 1);
	/* And lost once more, for good. */
	w.clients[3].up = false;
	answer(3, -EUNKNOWN, "");
	leader(0, false);
	run_for(2 * HOLD_MS);
	expect_answer(2, 1, 500, "No cluster leader; whether this write took place is unknown");
}

static void
taken_back_from_a_leader_that_is_none_any_more(void **state)
{
	(void)state;
	leader(2, true);
	ask(OP_KV_APPLY, 1, STAMPED);
	ask(OP_KV_APPLY, 2, 0);
	leader(3, true);
	hold_wake_leader(&w.r);
	assert_false(w.calls[0].open);
	assert_true(w.calls[1].open);
	assert_ptr_equal(w.calls[2].to, &w.clients[3]);
	answer(2, 0, "new");
	answer(1, 0, "old");
	expect_answer(0, 1, 200, "new");
	expect_answer(1, 2, 200, "old");
	/* We lead: what was elsewhere is served here. */
	ask(OP_KV_APPLY, 3, STAMPED);
	leader(OWN, true);
	w.leads = true;
	hold_wake_leader(&w.r);
	expect_answer(2, 3, 200, "here");
}

/* It is no longer in the configuration: its connection is about to be closed. */
static void
taken_back_from_a_server_that_is_left(void **state)
{
	(void)state;
	leader(2, true);
	ask(OP_KV_APPLY, 1, STAMPED);
	ask(OP_KV_APPLY, 2, 0);
	forward_left(&w.r, &w.clients[3]);
	assert_true(w.calls[0].open && w.calls[1].open);
	forward_left(&w.r, &w.clients[2]);
	assert_false(w.calls[0].open || w.calls[1].open);
	expect_answer(0, 2, 500, "The connection to the server that was asked is lost; whether this took place is unknown");
	assert_int_equal(w.r.hold.n, 1);
	leader(3, true);
	hold_wake_leader(&w.r);
	assert_ptr_equal(w.calls[2].to, &w.clients[3]);
	answer(2, 0, "done");
	expect_answer(1, 1, 200, "done");
}

/* What it has in its log may yet be carried out: never is that said to be refused. */
static void
sent_again_when_told_that_it_led(void **state)
{
	(void)state;
	leader(2, true);
	ask(OP_KV_APPLY, 1, STAMPED);
	ask(OP_RAFT_TRANSFER, 2, 0);
	answer(0, -EPROTO, "No longer the leader");
	answer(1, -EPROTO, "No longer the leader");
	expect_answer(0, 2, 500, "The connection to the server that was asked is lost; whether this took place is unknown");
	assert_int_equal(w.r.hold.n, 1);
	leader(0, false);
	run_for(2 * HOLD_MS);
	expect_answer(1, 1, 500, "No cluster leader; whether this write took place is unknown");
}

static void
never_forwarded_twice(void **state)
{
	(void)state;
	leader(2, true);
	ask(OP_KV_APPLY, 1, STAMPED | FROM_SERVER);
	expect_answer(0, 1, RPC_NOT_LEADER, "Not the leader");
	leader(0, false);
	ask(OP_KV_APPLY, 2, STAMPED | FROM_SERVER);
	expect_answer(1, 2, RPC_NOT_LEADER, "Not the leader");
	/* About to be the leader: the asker is right, and waits here. */
	leader(OWN, true);
	ask(OP_KV_APPLY, 3, STAMPED | FROM_SERVER);
	assert_int_equal(w.r.hold.n, 1);
	leader(2, true);
	hold_wake_leader(&w.r);
	expect_answer(2, 3, RPC_NOT_LEADER, "Not the leader");
}

static void
cancelled_on_the_way(void **state)
{
	(void)state;
	leader(2, true);
	ask(OP_KV_APPLY, 1, STAMPED);
	ask(OP_KV_APPLY, 2, STAMPED);
	forward_cancelled(&w.r, (struct rpc_token){ 5, 1, OP_KV_APPLY });
	forward_cancelled(&w.r, (struct rpc_token){ 5, 7, OP_KV_APPLY });
	assert_false(w.calls[0].open);
	answer(1, 0, "done");
	assert_int_equal(w.nanswers, 1);
	expect_answer(0, 2, 200, "done");
}

static void
reads_wait_for_their_barrier(void **state)
{
	const struct rpc_request req = { .info = op_info(OP_KV_GET), .body = (const uint8_t *)"\x80", .len = 1 };

	(void)state;
	for (uint32_t i = 1; i <= 6; i++) {
		struct rpc_request one = req;

		one.token = (struct rpc_token){ 5, i, OP_KV_GET };
		hold_add(&w.r, &one, (i + 1) / 2, i % 2 == 0);
	}
	hold_wake_reads(&w.r, 2, false);
	assert_int_equal(w.nreads, 2);
	hold_wake_reads(&w.r, 3, true);
	assert_int_equal(w.nreads, 5);
	for (size_t i = 0; i < 5; i++) {
		static const uint64_t order[] = { 1, 3, 2, 4, 6 };

		assert_int_equal(w.reads[i], order[i]);
	}
	run_for(2 * HOLD_MS);
	expect_answer(0, 5, 500, "No cluster leader");
}

static void
so_many_and_no_more(void **state)
{
	const struct rpc_request req = { .info = op_info(OP_KV_APPLY), .body = (const uint8_t *)"\x80", .len = 1 };
	uint64_t from = clock_ms();

	(void)state;
	w.r.hold_ms = 60000;
	for (uint32_t i = 1; i <= HELD_MAX + 3; i++) {
		struct rpc_request one = req;

		one.token = (struct rpc_token){ 5, i, OP_KV_APPLY };
		hold_add(&w.r, &one, 0, false);
	}
	assert_int_equal(w.r.hold.n, HELD_MAX);
	assert_int_equal(w.nanswers, 3);
	for (uint32_t i = HELD_MAX; i > 0; i--)
		hold_cancelled(&w.r, (struct rpc_token){ 5, i, OP_KV_APPLY });
	assert_int_equal(w.r.hold.n, 0);
	assert_int_equal(w.r.hold.bytes, 0);
	assert_in_range(clock_ms() - from, 0, 5000);
}

/* ---- a client node's */

static void
no_servers_are_known(void **state)
{
	(void)state;
	w.r.hold_ms = 5000;
	/* Nobody has told yet: that is worth waiting for. */
	ask(OP_KV_GET, 1, 0);
	assert_int_equal(w.nanswers, 0);
	w.heard = true;
	forward_pool_changed(&w.r);
	expect_answer(0, 1, 500, "No known Consul servers");
	ask(OP_KV_GET, 2, 0);
	expect_answer(1, 2, 500, "No known Consul servers");
	assert_int_equal(w.nclients, 0);
}

static void
pool(const char *what)
{
	w.heard = true;
	w.nknown = strlen(what);
	for (size_t i = 0; i < w.nknown; i++) {
		w.known[i] = (struct pool_server){ .status = what[i] == 'a' ? MEMBER_ALIVE : what[i] == 'f' ? MEMBER_FAILED : MEMBER_LEFT };
		(void)snprintf(w.known[i].address, sizeof(w.known[i].address), "10.0.0.%zu:8300", i + 1);
	}
	forward_pool_changed(&w.r);
}

static struct rpc_client *
newest(void)
{
	return &w.clients[(w.nclients - 1) % 8];
}

static void
another_server_is_tried(void **state)
{
	struct rpc_client *c;
	char first[32];

	(void)state;
	pool("aa");
	w.r.hold_ms = 5000;
	ask(OP_KV_GET, 1, 0);
	while (w.nclients < 2)
		run_for(10);
	assert_string_not_equal(w.clients[0].address, w.clients[1].address);
	assert_true(w.clients[0].freed);
	c = newest();
	c->up = true;
	c->on_state(c->arg, true);
	assert_int_equal(w.ncalls, 1);
	answer(0, 0, "read");
	expect_answer(0, 1, 200, "read");
	/* It goes with two reads and a write on the way. */
	ask(OP_KV_GET, 2, 0);
	ask(OP_KV_APPLY, 3, STAMPED);
	ask(OP_KV_APPLY, 4, 0);
	(void)snprintf(first, sizeof(first), "%s", c->address);
	c->up = false;
	c->on_state(c->arg, false);
	for (size_t i = 1; i < 4; i++)
		answer(i, -EUNKNOWN, "");
	expect_answer(1, 4, 500, "The connection to the server that was asked is lost; whether this took place is unknown");
	while (w.nclients < 3)
		run_for(10);
	c = newest();
	assert_string_not_equal(c->address, first);
	c->up = true;
	c->on_state(c->arg, true);
	assert_int_equal(w.ncalls, 6);
	answer(4, 0, "again");
	answer(5, 0, "again");
	expect_answer(2, 2, 200, "again");
	expect_answer(3, 3, 200, "again");
}

static void
come_up(struct rpc_client *c)
{
	c->up = true;
	c->on_state(c->arg, true);
}

/* Its connection does not tell: reads and stamped writes go elsewhere, what may be done once only is waited for. */
static void
gossip_says_that_it_failed(void **state)
{
	struct rpc_client *old, *next;

	(void)state;
	pool("a");
	come_up(newest());
	old = newest();
	ask(OP_KV_GET, 1, 0);
	ask(OP_KV_APPLY, 2, STAMPED);
	ask(OP_KV_APPLY, 3, 0);
	pool("aa");
	assert_ptr_equal(newest(), old);
	assert_int_equal(w.nclients, 1);
	pool("fa");
	assert_int_equal(w.nclients, 2);
	next = newest();
	assert_string_equal(next->address, "10.0.0.2:8300");
	assert_false(old->freed);
	come_up(next);
	assert_int_equal(w.ncalls, 5);
	assert_ptr_equal(w.calls[3].to, next);
	assert_false(w.calls[0].open);
	assert_false(w.calls[1].open);
	answer(2, 0, "once");
	expect_answer(0, 3, 200, "once");
	answer(3, 0, "again");
	expect_answer(1, 1, 200, "again");
	/* What it was asked is not known when it is not there; nor who could be asked when nobody is left. */
	pool("fl");
	assert_int_equal(w.nclients, 2);
	expect_answer(2, 2, 500, "No known Consul servers; whether this write took place is unknown");
	pool("al");
	assert_string_equal(newest()->address, "10.0.0.1:8300");
}

/* What a server was asked before its turn was over is not forgotten there. */
static void
one_that_was_left_fails(void **state)
{
	struct rpc_client *old;
	uint8_t id = 10;

	(void)state;
	pool("aa");
	old = newest();
	come_up(old);
	ask(OP_KV_GET, 1, WAITS);
	for (;;) {
		size_t call = w.ncalls;

		ask(OP_KV_GET, id++, 0);
		ahead_ms += 5000;
		run_for(250);
		if (w.nclients > 1)
			break;
		assert_in_range(ahead_ms, 0, 600 * 1000);
		answer(call, 0, "quick");
	}
	assert_string_not_equal(newest()->address, old->address);
	come_up(newest());
	assert_true(w.calls[0].open && w.calls[w.ncalls - 1].open);
	/* Its node fails: the read that waits goes over, and so does the quick one. */
	assert_int_equal(w.calls[w.ncalls - 1].to == old, true);
	pool(old->address[7] == '1' ? "fa" : "af");
	hold_wake_leader(&w.r);
	assert_false(w.calls[0].open);
	assert_true(w.calls[w.ncalls - 1].open && w.calls[w.ncalls - 1].to == newest());
	assert_true(w.calls[w.ncalls - 2].open && w.calls[w.ncalls - 2].to == newest());
	assert_int_equal(w.nclients, 2);
}

static void
one_that_was_left_hangs(void **state)
{
	struct rpc_client *old;
	size_t call;

	(void)state;
	pool("aa");
	old = newest();
	come_up(old);
	do {
		call = w.ncalls;
		ask(OP_KV_GET, (uint8_t)(1 + call), 0);
		ahead_ms += 5000;
		run_for(250);
		assert_in_range(ahead_ms, 0, 600 * 1000);
		if (w.nclients == 1)
			answer(call, 0, "quick");
	} while (w.nclients == 1);
	come_up(newest());
	assert_true(w.calls[call].open && w.calls[call].to == old);
	ahead_ms += 20 * 1000;
	for (int i = 0; i < 3000 && w.ncalls < call + 2; i++)
		run_for(10);
	assert_false(w.calls[call].open);
	assert_int_equal(w.ncalls, call + 2);
	answer(call + 1, 0, "late");
	expect_answer(w.nanswers - 1, 1 + call, 200, "late");
}

/* Over many changes everybody has a turn, and each once in a round. */
static void
everybody_has_a_turn(void **state)
{
	unsigned seen = 0;

	(void)state;
	pool("aaa");
	for (int i = 0; i < 3; i++) {
		struct rpc_client *c = newest();

		seen |= 1u << (c->address[7] - '1');
		come_up(c);
		c->up = false;
		c->on_state(c->arg, false);
		for (size_t n = w.nclients; w.nclients == n;)
			run_for(10);
	}
	assert_int_equal(seen, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(held_until_there_is_a_leader, setup, teardown),
		cmocka_unit_test_setup_teardown(given_up_after_a_while, setup, teardown),
		cmocka_unit_test_setup_teardown(sent_again_when_told_that_it_does_not_lead, setup, teardown),
		cmocka_unit_test_setup_teardown(lost_on_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_back_from_a_leader_that_is_none_any_more, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_back_from_a_server_that_is_left, setup, teardown),
		cmocka_unit_test_setup_teardown(sent_again_when_told_that_it_led, setup, teardown),
		cmocka_unit_test_setup_teardown(never_forwarded_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled_on_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_wait_for_their_barrier, setup, teardown),
		cmocka_unit_test_setup_teardown(so_many_and_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(no_servers_are_known, setup_client, teardown),
		cmocka_unit_test_setup_teardown(another_server_is_tried, setup_client, teardown),
		cmocka_unit_test_setup_teardown(gossip_says_that_it_failed, setup_client, teardown),
		cmocka_unit_test_setup_teardown(one_that_was_left_fails, setup_client, teardown),
		cmocka_unit_test_setup_teardown(one_that_was_left_hangs, setup_client, teardown),
		cmocka_unit_test_setup_teardown(everybody_has_a_turn, setup_client, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
