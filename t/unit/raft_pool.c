/* raft_pool.c - which members are servers that we talk to, what lists of a gossipd that was restarted mean, and no memory for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

struct rpc_client {
	void (*on_state)(void *arg, bool up);
	void *arg;
};

static struct world {
	struct daemon d;
	struct raftd r;
	struct rpc_client gossip;
	rpc_answer_cb *cb;
	void *arg;
	uint64_t asked;		/* MinIndex of the last question */
	size_t told, lost;
} w;

/* ---- the N-th allocation fails; 0: none does */
static size_t fail_at, allocations;

#include "t/unit/nomem.h"

static bool
refuse(void)
{
	return ++allocations == fail_at;
}

/* ---- what pool.c talks to */

struct rpc_client *
rpc_client_new(struct loop *l, int fd, const char *name)
{
	(void)l;
	(void)fd;
	assert_string_equal(name, "gossipd");
	return &w.gossip;
}

void
rpc_client_free(struct rpc_client *c)
{
	(void)c;
}

void
rpc_client_on_state(struct rpc_client *c, void (*cb)(void *arg, bool up), void *arg)
{
	c->on_state = cb;
	c->arg = arg;
}

uint32_t
rpc_call_record(struct rpc_client *c, uint16_t op, const struct query_options *o, const void *request, unsigned flags,
    uint32_t timeout_ms, rpc_answer_cb *cb, void *arg)
{
	(void)c;
	(void)request;
	(void)timeout_ms;
	assert_int_equal(op, OP_GOSSIP_MEMBERS);
	assert_int_equal(flags, RPC_NO_DEADLINE);
	w.asked = o->min_index;
	w.cb = cb;
	w.arg = arg;
	return 1;
}

void
engine_peer_lost(struct raftd *r, uint64_t id)
{
	(void)r;
	(void)id;
	w.lost++;
}

void
forward_pool_changed(struct raftd *r)
{
	(void)r;
	w.told++;
}

void
join_pool_changed(struct raftd *r)
{
	(void)r;
	fail();
}

void
autopilot_pool_changed(struct raftd *r)
{
	(void)r;
	fail();
}

void
members_changed(struct raftd *r)
{
	(void)r;
	fail();
}

/* ---- */

static int
setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.r.d = &w.d;
	w.r.datacenter = "dc1";
	assert_int_equal(loop_init(&w.d.loop), 0);
	assert_int_equal(pool_init(&w.r), 0);
	pool_start(&w.r);
	assert_non_null(w.cb);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fail_at = 0;
	pool_release(&w.r);
	loop_release(&w.d.loop);
	return 0;
}

/* A server of ours but for one tag, which has another value (NULL: none). */
static struct member
make(const char *name, int64_t status, const char *tag, const char *value)
{
	static struct strpair tags[16][8];
	static size_t next;
	static const char *const normal[][2] = { { "build", "1.10.12:" }, { "dc", "dc1" }, { "ft_consulctl", "1" }, { "id", "x" },
		{ "port", "8300" }, { "role", "consul" }, { "vsn", "2" } };
	struct strpair *t = tags[next++ % 16];
	struct member m = { .name = str_from(name), .addr = STR("10.0.0.1"), .port = 8301, .status = status, .tags = { t, 0 } };

	for (size_t i = 0; i < ARRAY_LEN(normal); i++) {
		const char *v = tag != NULL && strcmp(tag, normal[i][0]) == 0 ? value : normal[i][1];

		if (v != NULL)
			t[m.tags.n++] = (struct strpair){ str_from(normal[i][0]), str_from(v) };
	}
	return m;
}

static void
answer(uint64_t index, const struct member *v, size_t n)
{
	const struct query_meta meta = { .index = index };
	struct buf b = BUF_INIT(1 << 20);
	struct mp_w out = mp_w_init(&b);
	struct rpc_answer a = { .rc = 0 };

	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &out);
	mp_w_array(&out, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		record_encode(&rec_member, &v[i], RECORD_WHOLE, &out);
	a.body = b.data;
	a.len = b.len;
	w.cb(w.arg, &a);
	buf_release(&b);
}

static void
who_is_a_server(void **state)
{
	static const struct { const char *tag, *value; size_t n; } rows[] = {
		{ NULL, NULL, 1 }, { "dc", "dc2", 0 }, { "role", "node", 0 }, { "ft_consulctl", NULL, 0 }, { "ft_consulctl", "", 1 },
		{ "port", NULL, 0 }, { "port", "0", 0 }, { "port", "65536", 0 }, { "port", "8300x", 0 }, { "port", "99999999999999999999", 0 },
		{ "vsn", NULL, 0 }, { "vsn", "two", 0 }, { "build", NULL, 0 }, { "build", "1.10", 0 }, { "build", "1.10.", 0 }, { "build", "2.0.1-dev", 1 },
		{ "id", NULL, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct member m = make("s", MEMBER_ALIVE, rows[i].tag, rows[i].value);

		answer(i + 1, &m, 1);
		if (pool_usable(&w.r) != rows[i].n)
			fail_msg("row %zu", i);
	}
	for (int64_t s = -1; s < 9; s++) {
		const struct member m = make("s", s, NULL, NULL);

		answer((uint64_t)(100 + s), &m, 1);
		assert_int_equal(pool_usable(&w.r), s == MEMBER_ALIVE || s == MEMBER_LEAVING);
	}
}

static void
another_life(void **state)
{
	const struct member two[] = { make("b", MEMBER_ALIVE, NULL, NULL), make("A", MEMBER_ALIVE, "port", "8301") };
	const struct rpc_answer gone = { .rc = -EUNKNOWN };
	struct pool_list *first;

	(void)state;
	answer(10, two, 2);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.asked, 10);
	first = pool_list_ref(pool_members(&w.r));
	assert_true(str_eqs(first->v[0].name, "A"));
	assert_non_null(pool_list_find(first, STR("B")));
	assert_null(pool_list_find(first, STR("c")));
	/* In one life, who is missing has gone. */
	answer(11, two, 1);
	assert_int_equal(pool_members(&w.r)->life, first->life);
	assert_int_equal(pool_usable(&w.r), 1);
	answer(12, two, 2);
	/* gossipd dies: the list stays; and the next one, with nobody, says nothing of those that were known. */
	w.gossip.on_state(w.gossip.arg, false);
	w.cb(w.arg, &gone);
	assert_int_equal(w.asked, 0);
	assert_int_equal(pool_usable(&w.r), 2);
	answer(13, two, 0);
	assert_int_not_equal(pool_members(&w.r)->life, first->life);
	assert_int_equal(pool_usable(&w.r), 2);
	/* What is heard again counts as heard, whatever it says. */
	{
		const struct member failed = make("b", MEMBER_FAILED, NULL, NULL);

		answer(14, &failed, 1);
		assert_int_equal(pool_usable(&w.r), 1);
		answer(15, &failed, 0);
		assert_int_equal(pool_usable(&w.r), 1);
	}
	/* An index that went back is that of another one, too. */
	answer(3, two, 2);
	assert_int_not_equal(pool_members(&w.r)->life, first->life + 1);
	assert_false(pool_settled(&w.r));
	pool_list_free(first);
}

/* Two members tell one node ID: one that was renamed, or one that lies. */
static void
one_id_twice(void **state)
{
	static const struct { int64_t a, b, is; } rows[] = {
		{ MEMBER_LEFT, MEMBER_ALIVE, MEMBER_ALIVE }, { MEMBER_LEFT, MEMBER_FAILED, MEMBER_FAILED }, { MEMBER_LEFT, MEMBER_LEFT, MEMBER_LEFT },
		{ MEMBER_FAILED, MEMBER_LEAVING, MEMBER_LEAVING }, { MEMBER_LEAVING, MEMBER_ALIVE, MEMBER_ALIVE },
	};
	const struct raft_server_info s = { .node_id = STR("X"), .address = STR("10.9.9.9:1") };

	(void)state;
	assert_int_equal(pool_status(&w.r, &s), MEMBER_NONE);
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		bool swapped = i % 2 != 0;
		const struct member v[] = { make("a", swapped ? rows[i / 2].b : rows[i / 2].a, NULL, NULL),
			make("b", swapped ? rows[i / 2].a : rows[i / 2].b, NULL, NULL) };

		answer(i + 1, v, 2);
		if ((int64_t)pool_status(&w.r, &s) != rows[i / 2].is)
			fail_msg("row %zu", i);
	}
}

static void
without_memory(void **state)
{
	const struct member two[] = { make("b", MEMBER_ALIVE, NULL, NULL), make("A", MEMBER_ALIVE, NULL, NULL) };
	const struct query_meta meta = { .index = 5 };
	struct buf b = BUF_INIT(1 << 20);
	struct mp_w out = mp_w_init(&b);
	struct rpc_answer a = { .rc = 0 };
	size_t n = 0;

	(void)state;
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &out);
	mp_w_array(&out, 2);
	for (size_t i = 0; i < 2; i++)
		record_encode(&rec_member, &two[i], RECORD_WHOLE, &out);
	a.body = b.data;
	a.len = b.len;
	/* The list is taken whole or not at all. */
	do {
		allocations = 0;
		fail_at = ++n;
		w.cb(w.arg, &a);
		assert_int_equal(pool_usable(&w.r), pool_members(&w.r) != NULL ? 2 : 0);
	} while (allocations >= n && n < 100);
	fail_at = 0;
	assert_in_range(n, 2, 50);
	assert_non_null(pool_members(&w.r));
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_is_a_server, setup, teardown),
		cmocka_unit_test_setup_teardown(another_life, setup, teardown),
		cmocka_unit_test_setup_teardown(one_id_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
