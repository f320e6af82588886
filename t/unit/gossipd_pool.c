/* gossipd_pool.c - the pool of a node that stands alone: its member, tags and index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json_tokener.h>

#include "gossipd/join.h"
#include "gossipd/pool.h"

#define SERVER "\"node_name\":\"n1\",\"node_id\":\"4b1f\",\"datacenter\":\"east\",\"server\":true,\"advertise_addr\":\"10.0.0.1\"," \
	"\"advertise_addr_wan\":\"192.0.2.1\",\"ports\":{\"server\":8300,\"serf_lan\":8301,\"serf_wan\":8302}"
#define CLIENT "\"node_name\":\"c1\",\"datacenter\":\"east\",\"server\":false,\"advertise_addr\":\"10.0.0.2\",\"ports\":{\"serf_lan\":8301,\"serf_wan\":8302}"

static struct json_object *
slice(const char *members)
{
	char text[2048];
	struct json_object *j;

	snprintf(text, sizeof(text), "{%s}", members);
	j = json_tokener_parse(text);
	assert_non_null(j);
	return j;
}

static const char *
tags_text(const struct member *m)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < m->tags.n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s=%.*s", i > 0 ? "," : "", STR_ARG(m->tags.v[i].key),
		    STR_ARG(m->tags.v[i].value));
	return text;
}

static void
test_tags(void **state)
{
	static const struct {
		const char *config;
		bool wan;
		const char *name, *addr, *tags;
		int64_t port;
	} cases[] = {
		{ SERVER, false, "n1", "10.0.0.1", "acls=0,build=1.10.12:,dc=east,ft_fs=1,ft_si=1,id=4b1f,port=8300,raft_vsn=3,"
		    "role=consul,segment=,vsn=2,vsn_max=3,vsn_min=2,wan_join_port=8302", 8301 },
		{ SERVER, true, "n1.east", "192.0.2.1", "acls=0,build=1.10.12:,dc=east,ft_fs=1,ft_si=1,id=4b1f,port=8300,raft_vsn=3,"
		    "role=consul,segment=,vsn=2,vsn_max=3,vsn_min=2", 8302 },
		{ SERVER ",\"bootstrap_expect\":1", true, "n1.east", "192.0.2.1", "acls=0,bootstrap=1,build=1.10.12:,dc=east,ft_fs=1,"
		    "ft_si=1,id=4b1f,port=8300,raft_vsn=3,role=consul,segment=,vsn=2,vsn_max=3,vsn_min=2", 8302 },
		{ SERVER ",\"bootstrap_expect\":3", true, "n1.east", "192.0.2.1", "acls=0,build=1.10.12:,dc=east,expect=3,ft_fs=1,"
		    "ft_si=1,id=4b1f,port=8300,raft_vsn=3,role=consul,segment=,vsn=2,vsn_max=3,vsn_min=2", 8302 },
		{ CLIENT, false, "c1", "10.0.0.2", "acls=0,build=1.10.12:,dc=east,id=,role=node,segment=,vsn=2,vsn_max=3,vsn_min=2", 8301 },
		{ CLIENT ",\"advertise_reconnect_timeout\":90000", false, "c1", "10.0.0.2",
		    "acls=0,build=1.10.12:,dc=east,id=,rc_tm=1m30s,role=node,segment=,vsn=2,vsn_max=3,vsn_min=2", 8301 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_object *j = slice(cases[i].config);
		struct pool p;

		assert_int_equal(pool_init(&p, j, cases[i].wan, 7), 0);
		assert_true(str_eqs(p.self.name, cases[i].name));
		assert_true(str_eqs(p.self.addr, cases[i].addr));
		assert_int_equal(p.self.port, cases[i].port);
		assert_string_equal(tags_text(&p.self), cases[i].tags);
		assert_int_equal(p.self.status, MEMBER_ALIVE);
		pool_release(&p);
		json_object_put(j);
	}
}

static void
test_tags_too_long(void **state)
{
	char big[700], members[1024];
	struct json_object *j;
	struct pool p;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	snprintf(members, sizeof(members), "\"datacenter\":\"%s\"", big);
	j = slice(members);
	assert_int_equal(pool_init(&p, j, false, 1), -ELIMIT);
	json_object_put(j);
}

static void
test_index(void **state)
{
	struct json_object *a = slice(CLIENT), *b = slice(CLIENT ",\"advertise_reconnect_timeout\":1000");
	struct pool p;

	(void)state;
	assert_int_equal(pool_init(&p, a, false, 40), 0);
	assert_int_equal(pool_update(&p, a), 0);
	assert_int_equal(p.index, 40);
	assert_int_equal(pool_update(&p, b), 1);
	assert_int_equal(p.index, 41);
	pool_set_status(&p, MEMBER_LEAVING);
	assert_int_equal(p.index, 42);
	pool_set_status(&p, MEMBER_LEAVING);
	assert_int_equal(p.index, 42);
	assert_int_equal(pool_update(&p, a), 1);
	assert_int_equal(p.self.status, MEMBER_LEAVING);
	assert_int_equal(pool_count(&p, MEMBER_LEAVING), 1);
	assert_int_equal(pool_count(&p, MEMBER_ALIVE), 0);
	assert_true(pool_knows(&p, STR("C1")));
	assert_false(pool_knows(&p, STR("c")));
	pool_release(&p);
	json_object_put(a);
	json_object_put(b);
}

static void
test_join_split(void **state)
{
	static const struct {
		const char *in, *host;
		unsigned port;
	} good[] = {
		{ "10.0.0.1", "10.0.0.1", 8301 }, { "10.0.0.1:1", "10.0.0.1", 1 }, { "host:65535", "host", 65535 },
		{ "::1", "::1", 8301 }, { "[::1]", "::1", 8301 }, { "[::1]:9", "::1", 9 },
	};
	static const char *const bad[] = { "", ":1", "a:", "a:0", "a:65536", "a:-1", "a:1x", "[::1", "[::1]x", "[]:1", "a:123456789" };
	char host[64];
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(join_split(str_from(good[i].in), 8301, host, sizeof(host), &port), 0);
		assert_string_equal(host, good[i].host);
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(join_split(str_from(bad[i]), 8301, host, sizeof(host), &port), -EINVAL);
	assert_int_equal(join_split(STR("a\0b"), 8301, host, sizeof(host), &port), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_tags_too_long),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_join_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
