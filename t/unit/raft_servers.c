/* raft_servers.c - configurations of servers: taken whole or refused, their order, recovery from a peers.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "raftd/raftd.h"
#include "raftd/recover_plan.h"

#define CLUSTER "00000000000000c1"

static const struct raft_server_info three[3] = {
	{ STR("00000000000000a1"), STR("11111111-0000-0000-0000-000000000001"), STR("n1"), STR("10.0.0.1:8300"), true, STR("1") },
	{ STR("00000000000000a2"), STR("11111111-0000-0000-0000-000000000002"), STR("n2"), STR("[::1]:8300"), true, STR("1") },
	{ STR("00000000000000a3"), STR("11111111-0000-0000-0000-000000000003"), STR("n3"), STR("10.0.0.3:8300"), false, STR("1") },
};

static struct raft_config_entry
config(const struct raft_server_info *v, size_t n)
{
	return (struct raft_config_entry){ STR(CLUSTER), { (void *)(uintptr_t)v, n } };
}

static struct str
encode(const struct raft_config_entry *c, struct buf *b)
{
	buf_clear(b);
	assert_int_equal(servers_encode(c, b), 0);
	return (struct str){ (const char *)b->data, b->len };
}

static void
test_ids(void **state)
{
	static const char *const bad[] = { "", "0000000000000000", "00000000000000A1", "00000000000000a", "00000000000000a11", "0x000000000000a1",
		" 0000000000000a1", "-0000000000000a1" };
	char text[17];
	uint64_t id = 0;

	(void)state;
	assert_int_equal(servers_parse_id(STR("00000000000000a1"), &id), 0);
	assert_int_equal(id, 0xa1);
	assert_int_equal(servers_parse_id(STR("ffffffffffffffff"), &id), 0);
	assert_true(id == UINT64_MAX);
	servers_format_id(0xa1, text);
	assert_string_equal(text, "00000000000000a1");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(servers_parse_id(str_from(bad[i]), &id), -EDECODE);
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *text, *ip;	/* NULL: refused */
		uint16_t port;
	} rows[] = {
		{ "1.2.3.4:8300", "1.2.3.4", 8300 }, { "[::1]:1", "::1", 1 }, { "[fe80::1]:65535", "fe80::1", 65535 }, { "1.2.3.4:0", NULL, 0 },
		{ "1.2.3.4:65536", NULL, 0 }, { "1.2.3.4:", NULL, 0 }, { "1.2.3.4", NULL, 0 }, { ":8300", NULL, 0 }, { "", NULL, 0 },
		{ "::1:8300", NULL, 0 }, { "[::1]", NULL, 0 }, { "[]:1", NULL, 0 }, { "host:8300", NULL, 0 }, { "1.2.3.4:+1", NULL, 0 },
		{ "1.2.3.4:0x1", NULL, 0 }, { "1.2.3.4: 1", NULL, 0 }, { "1.2.3.4.5:1", NULL, 0 },
	};
	char ip[SERVER_IP_MAX];
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int rc = servers_parse_address(str_from(rows[i].text), ip, &port);

		if (rc != (rows[i].ip != NULL ? 0 : -EDECODE))
			fail_msg("%s: %d", rows[i].text, rc);
		if (rc == 0)
			assert_string_equal(ip, rows[i].ip);
		if (rc == 0)
			assert_int_equal(port, rows[i].port);
	}
	assert_int_equal(servers_parse_address((struct str){ "1.2.3.4\0:8300", 13 }, ip, &port), -EDECODE);
}

static void
test_core(void **state)
{
	struct raft_config_entry c = config(three, 3);
	struct buf b = BUF_INIT(64 * KiB);
	struct raft_servers core;
	char err[256];

	(void)state;
	assert_int_equal(servers_core(42, encode(&c, &b), &core, err), 0);
	assert_int_equal(core.index, 42);
	assert_int_equal(core.n, 3);
	assert_int_equal(core.v[1].id, 0xa2);
	assert_true(core.v[1].voter);
	assert_false(core.v[2].voter);
	assert_ptr_equal(servers_find(&c, 0xa3), &three[2]);
	assert_null(servers_find(&c, 0xa4));
	assert_null(servers_find(NULL, 0xa1));
	assert_ptr_equal(servers_find_node(&c, STR("11111111-0000-0000-0000-000000000002")), &three[1]);
	assert_null(servers_find_node(&c, STR("")));
	assert_ptr_equal(servers_find_address(&c, STR("[::1]:8300")), &three[1]);
	buf_release(&b);
}

/* One thing wrong at a time. */
static void
test_refused(void **state)
{
	struct raft_server_info v[RAFT_SERVERS_MAX + 1];
	struct buf b = BUF_INIT(64 * KiB);
	struct raft_servers core;
	char err[256], long_name[300], ids[RAFT_SERVERS_MAX + 1][17];

	(void)state;
	memset(long_name, 'x', sizeof(long_name));
	for (int i = 0; i < 11; i++) {
		struct raft_config_entry c = config(v, 3);

		memcpy(v, three, sizeof(three));
		switch (i) {
		case 0: c.cluster = STR("c1"); break;
		case 1: c.cluster = STR("0000000000000000"); break;
		case 2: v[1].id = v[0].id; break;
		case 3: v[1].id = STR("xx"); break;
		case 4: v[1].node_id = v[0].node_id; break;
		case 5: v[1].address = STR("nowhere"); break;
		case 6: v[0].voter = v[1].voter = false; break;
		case 7: v[2].node = (struct str){ long_name, sizeof(long_name) }; break;
		case 8: v[2].node = STR("a\nb"); break;
		case 9: c.servers.n = 0; break;
		default: v[2].version = STR("\x7f"); break;
		}
		err[0] = 0;
		if (servers_core(1, encode(&c, &b), &core, err) != -EDECODE)
			fail_msg("case %d was taken", i);
		assert_true(err[0] != 0);
		assert_int_equal(servers_check(&c, err), -EDECODE);
	}
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		servers_format_id(i + 1, ids[i]);
		v[i] = (struct raft_server_info){ .id = str_from(ids[i]), .address = STR("1.1.1.1:1"), .voter = true };
	}
	for (size_t n = RAFT_SERVERS_MAX; n <= RAFT_SERVERS_MAX + 1; n++) {
		struct raft_config_entry c = config(v, n);

		assert_int_equal(servers_core(1, encode(&c, &b), &core, err), n <= RAFT_SERVERS_MAX ? 0 : -EDECODE);
	}
	buf_release(&b);
}

/* Cut off, with bytes behind, with bits flipped: a sentence, or a configuration that is one. */
static void
test_damaged(void **state)
{
	unsigned seed = getenv("TEST_SEED") != NULL ? (unsigned)strtoul(getenv("TEST_SEED"), NULL, 10) : (unsigned)time(NULL);
	struct raft_config_entry c = config(three, 3);
	struct buf b = BUF_INIT(64 * KiB), damaged = BUF_INIT(64 * KiB);
	struct str whole = encode(&c, &b);
	struct raft_servers core;
	char err[256];

	(void)state;
	printf("# seed=%u\n", seed);
	srand(seed);
	for (size_t n = 0; n < whole.len; n++)
		assert_int_equal(servers_core(1, (struct str){ whole.p, n }, &core, err), -EDECODE);
	for (int i = 0; i < 20000; i++) {
		int rc;

		buf_clear(&damaged);
		assert_int_equal(buf_add(&damaged, whole.p, whole.len), 0);
		for (int k = rand() % 4; k >= 0; k--)
			damaged.data[(size_t)rand() % damaged.len] ^= (uint8_t)(1 << rand() % 8);
		rc = servers_core(1, (struct str){ (const char *)damaged.data, damaged.len }, &core, err);
		assert_true(rc == -EDECODE || (rc == 0 && core.n > 0 && core.n <= 3));
	}
	assert_int_equal(buf_add(&b, "\xc0", 1), 0);
	assert_int_equal(servers_core(1, (struct str){ (const char *)b.data, b.len }, &core, err), -EDECODE);
	buf_release(&b);
	buf_release(&damaged);
}

static size_t
current(const struct configs *c, uint64_t *index)
{
	const struct raft_config_entry *e = configs_current(c, index);

	return e != NULL ? e->servers.n : 0;
}

static void
test_list(void **state)
{
	struct configs *c = configs_new();
	struct buf b = BUF_INIT(64 * KiB);
	char err[256];
	uint64_t index;

	(void)state;
	assert_non_null(c);
	assert_int_equal(current(c, &index), 0);
	assert_int_equal(index, 0);
	for (size_t n = 1; n <= 3; n++) {
		struct raft_config_entry e = config(three, n);

		assert_int_equal(configs_add(c, n * 10, encode(&e, &b), err), 0);
		assert_int_equal(current(c, &index), n);
		assert_int_equal(index, n * 10);
		assert_int_equal(configs_add(c, n * 10, encode(&e, &b), err), -EDECODE);
	}
	configs_compact(c, 9);
	configs_compact(c, 19);
	configs_truncate(c, 31);
	assert_int_equal(current(c, &index), 3);
	configs_truncate(c, 30);
	assert_int_equal(current(c, &index), 2);
	configs_compact(c, 20);
	configs_truncate(c, 21);
	assert_int_equal(current(c, &index), 2);
	configs_truncate(c, 20);
	assert_int_equal(current(c, &index), 0);
	assert_int_equal(configs_add(c, 5, STR("\xc1"), err), -EDECODE);
	assert_int_equal(current(c, &index), 0);
	configs_free(c);
	configs_free(NULL);
	buf_release(&b);
}

static void
test_change(void **state)
{
	struct raft_server_info v[RAFT_SERVERS_MAX], put = three[1], other = three[0];
	struct raft_config_entry c = config(three, 3);
	struct servers_changed next;
	const struct raft_server_info *s;

	(void)state;
	s = next.v;
	assert_int_equal(servers_change(&c, &three[0], NULL, &next), 0);
	assert_true(next.config.servers.n == 2 && str_eq(s[0].id, three[1].id) && str_eq(s[1].id, three[2].id));
	assert_true(str_eqs(next.config.cluster, CLUSTER));
	put.voter = false;
	assert_int_equal(servers_change(&c, NULL, &put, &next), 0);
	assert_true(next.config.servers.n == 3 && !s[1].voter && s[0].voter);
	other.id = STR("00000000000000a9");
	assert_int_equal(servers_change(&c, &three[0], &other, &next), 0);
	assert_true(next.config.servers.n == 3 && str_eq(s[2].id, other.id));
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = three[0];
	c = config(v, RAFT_SERVERS_MAX);
	assert_int_equal(servers_change(&c, NULL, &other, &next), -ELIMIT);
	assert_int_equal(servers_change(&c, &v[3], &other, &next), 0);
	assert_int_equal(next.config.servers.n, RAFT_SERVERS_MAX);
}

/* ---- peers.json */

static void
test_plan(void **state)
{
	struct raft_config_entry now = config(three, 3);
	static const char good[] = "[{\"id\": \"11111111-0000-0000-0000-000000000003\", \"address\": \"10.0.0.33:8300\"},"
	    "{\"id\": \"00000000000000a1\", \"non_voter\": true}]", other_order[] = "[{\"id\": \"00000000000000a1\", \"non_voter\": true},"
	    "{\"id\": \"11111111-0000-0000-0000-000000000003\", \"address\": \"10.0.0.34:8300\"}]";
	const struct raft_server_info *v;
	struct recover_plan p, q;
	char err[RECOVER_ERROR_MAX];

	(void)state;
	assert_int_equal(recover_plan(STR(good), &now, 0xa3, &p, err), 0);
	v = p.next.servers.v;
	assert_int_equal(p.next.servers.n, 2);
	assert_true(str_eqs(v[0].id, "00000000000000a1") && !v[0].voter && str_eqs(v[0].address, "10.0.0.1:8300"));
	assert_true(str_eqs(v[1].id, "00000000000000a3") && v[1].voter && str_eqs(v[1].address, "10.0.0.33:8300"));
	assert_false(str_eqs(p.next.cluster, CLUSTER));
	/* The same servers come to the same new cluster, in whatever order and at whatever addresses. */
	assert_int_equal(recover_plan(STR(other_order), &now, 0xa1, &q, err), 0);
	assert_true(str_eq(p.next.cluster, q.next.cluster));
	recover_plan_release(&q);
	now.cluster = p.next.cluster;
	assert_int_equal(recover_plan(STR(good), &now, 0xa3, &q, err), 0);
	assert_false(str_eq(p.next.cluster, q.next.cluster));
	recover_plan_release(&q);
	recover_plan_release(&p);
}

static void
test_plan_refused(void **state)
{
	static const struct {
		const char *json, *why;
	} rows[] = {
		{ "", "peers.json" }, { "null", "a list of servers" }, { "{}", "a list of servers" }, { "[]", "it has 0 servers" },
		{ "[1]", "not an object" }, { "[{}]", "has no id" }, { "[{\"id\": 7}]", "element 1" },
		{ "[{\"id\": \"00000000000000a1\", \"port\": 1}]", "unknown field" },
		{ "[{\"id\": \"22222222-0000-0000-0000-000000000001\"}]", "let that server join" },
		{ "[{\"id\": \"00000000000000a1\"}, {\"id\": \"11111111-0000-0000-0000-000000000001\"}]", "twice" },
		{ "[{\"id\": \"00000000000000a1\", \"non_voter\": true}]", "no voter" },
		{ "[{\"id\": \"00000000000000a1\", \"address\": \"n1\"}]", "not ip:port" },
		{ "[{\"id\": \"00000000000000a2\"}]", "does not name this server itself" },
		{ "[{\"id\": \"00000000000000a1\"}", "peers.json" },
	};
	struct raft_config_entry now = config(three, 3);
	char err[RECOVER_ERROR_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct recover_plan p;

		assert_int_equal(recover_plan(str_from(rows[i].json), &now, 0xa1, &p, err), -EINVAL);
		if (strstr(err, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].json, err);
		recover_plan_release(&p);
	}
}

/* What stands in for the log's configurations: by index, and those of the old cluster that came later. */
static void
test_replaced(void **state)
{
	struct raft_config_entry old = config(three, 3), next = config(three, 1), later = config(three, 2);
	struct buf b = BUF_INIT(64 * KiB), r = BUF_INIT(64 * KiB);
	struct configs *c = configs_new();
	struct raft_servers core;
	char err[256];
	uint64_t index;

	(void)state;
	assert_false(servers_replaced(0));
	next.cluster = STR("00000000000000c2");
	later.cluster = next.cluster;
	assert_int_equal(servers_replace(100, STR(CLUSTER), encode(&next, &r)), 0);
	assert_true(servers_replaced(100) && !servers_replaced(101));
	assert_int_equal(configs_add(c, 3, encode(&old, &b), err), 0);
	assert_int_equal(current(c, &index), 1);
	assert_int_equal(index, 3);
	assert_int_equal(servers_core(101, encode(&old, &b), &core, err), 0);
	assert_int_equal(core.n, 1);
	assert_int_equal(servers_core(102, encode(&later, &b), &core, err), 0);
	assert_int_equal(core.n, 2);
	assert_int_equal(servers_core(100, encode(&later, &b), &core, err), 0);
	assert_int_equal(core.n, 1);
	configs_free(c);
	buf_release(&b);
	buf_release(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_core),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_plan_refused),
		cmocka_unit_test(test_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
