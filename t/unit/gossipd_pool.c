/* gossipd_pool.c - what gossipd decides by itself: its tags, who may join, networks, events, addresses to join, parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json_tokener.h>

#include "gossipd/join.h"
#include "gossipd/settings.h"
#include "gossipd/tags.h"

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
tags_text(const struct strmap *tags)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < tags->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s=%.*s", i > 0 ? "," : "", STR_ARG(tags->v[i].key),
		    STR_ARG(tags->v[i].value));
	return text;
}

#define SERVER_TAGS(before_build, more) "acls=0," before_build "build=1.10.12:,dc=east," more "ft_consulctl=1,ft_fs=1,ft_si=1,id=4b1f,port=8300," \
	"raft_vsn=3,role=consul,segment=,vsn=2,vsn_max=3,vsn_min=2"

static void
test_tags(void **state)
{
	static const struct {
		const char *config;
		bool wan;
		const char *name, *addr, *tags;
		int64_t port;
	} cases[] = {
		{ SERVER, false, "n1", "10.0.0.1", SERVER_TAGS("", "") ",wan_join_port=8302", 8301 },
		{ SERVER, true, "n1.east", "192.0.2.1", SERVER_TAGS("", ""), 8302 },
		{ SERVER ",\"bootstrap_expect\":1", true, "n1.east", "192.0.2.1", SERVER_TAGS("bootstrap=1,", ""), 8302 },
		{ SERVER ",\"bootstrap_expect\":3", true, "n1.east", "192.0.2.1", SERVER_TAGS("", "expect=3,"), 8302 },
		{ CLIENT, false, "c1", "10.0.0.2", "acls=0,build=1.10.12:,dc=east,id=,role=node,segment=,vsn=2,vsn_max=3,vsn_min=2", 8301 },
		{ CLIENT ",\"advertise_reconnect_timeout\":90000", false, "c1", "10.0.0.2",
		    "acls=0,build=1.10.12:,dc=east,id=,rc_tm=1m30s,role=node,segment=,vsn=2,vsn_max=3,vsn_min=2", 8301 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_object *j = slice(cases[i].config);
		struct arena a = ARENA_INIT(64 * KiB);
		struct gossip_addr addr;
		struct strmap tags;
		char text[SOCK_ADDR_TEXT_MAX];

		assert_int_equal(tags_own(j, cases[i].wan, &a, &tags), 0);
		assert_string_equal(tags_text(&tags), cases[i].tags);
		assert_true(str_eqs(tags_own_name(j, cases[i].wan, &a), cases[i].name));
		assert_int_equal(tags_own_addr(j, cases[i].wan, &addr), 0);
		addr_ip_text(&addr, text);
		assert_string_equal(text, cases[i].addr);
		assert_int_equal(addr.port, cases[i].port);
		arena_release(&a);
		json_object_put(j);
	}
}

static void
test_tags_too_long(void **state)
{
	char big[700], members[1024];
	struct arena a = ARENA_INIT(64 * KiB);
	struct json_object *j;
	struct strmap tags;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	snprintf(members, sizeof(members), "\"datacenter\":\"%s\"", big);
	j = slice(members);
	assert_int_equal(tags_own(j, false, &a, &tags), -ELIMIT);
	arena_release(&a);
	json_object_put(j);
}

/* Without memory each of them says so. */
static void
test_tags_nomem(void **state)
{
	struct json_object *j = slice(SERVER);
	struct strmap tags;
	size_t max = 0;
	int rc;

	(void)state;
	do {
		struct arena a = ARENA_INIT(max);

		rc = tags_own(j, false, &a, &tags);
		assert_true(rc == 0 || rc == -ENOMEM);
		arena_release(&a);
		max += 16;
	} while (rc < 0 && max < 16 * KiB);
	assert_int_equal(rc, 0);
	json_object_put(j);
}

/* ---- who may join */

struct row {
	const char *name, *tags;	/* "k=v,k=v", NULL: no Meta at all */
	int state;
};

/* An alive message with these tags; what it points to comes from the arena. */
static struct msg_alive
alive(const struct row *r, struct arena *a)
{
	struct strpair v[16];
	struct strmap tags = { v, 0 };
	struct buf meta = BUF_INIT(WIRE_META_MAX);
	struct msg_alive m = { .incarnation = 1, .node = str_from(r->name), .addr = STR("\x7f\x00\x00\x01"), .port = 8301, .state = r->state };
	char *text = r->tags != NULL ? arena_strdup(a, str_from(r->tags)) : NULL, *save = NULL;

	for (char *p = text != NULL ? strtok_r(text, ",", &save) : NULL; p != NULL; p = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(p, '=');

		assert_non_null(eq);
		v[tags.n++] = (struct strpair){ { p, (size_t)(eq - p) }, str_from(eq + 1) };
	}
	if (text != NULL) {
		assert_int_equal(wire_put_tags(&meta, &tags), 0);
		m.meta.len = meta.len;
		m.meta.p = arena_strdup(a, (struct str){ (const char *)meta.data, meta.len });
		assert_non_null(m.meta.p);
	}
	buf_release(&meta);
	return m;
}

#define A_SERVER "build=1.10.12:,dc=dc1,id=s2,port=8300,role=consul,vsn=2"

static void
test_server(void **state)
{
	static const struct {
		const char *tags;
		bool server;
	} cases[] = {
		{ A_SERVER, true }, { A_SERVER ",wan_join_port=8302,expect=3,raft_vsn=3,ft_x=1,sl_a=b:1", true },
		{ "build=v1.2.3-dev,dc=x,port=1,role=consul,vsn=2", true },
		{ "build=1.10,dc=x,port=1,role=consul,vsn=2", false }, { "build=1.2.3,dc=x,port=x,role=consul,vsn=2", false },
		{ "build=1.2.3,dc=x,role=consul,vsn=2", false }, { "build=1.2.3,dc=x,port=1,role=consul", false },
		{ "build=1.2.3,dc=x,port=1,role=node,vsn=2", false }, { A_SERVER ",expect=many", false },
		{ A_SERVER ",wan_join_port=", false }, { A_SERVER ",ft_a=x", false }, { A_SERVER ",sl_a=here", false }, { "", false },
		{ A_SERVER ",sl_a=[::1]:1", true }, { A_SERVER ",sl_a=b:x", false }, { A_SERVER ",sl_a=::1:1", false }, { A_SERVER ",sl_a=b:", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(64 * KiB);
		struct msg_alive m = alive(&(struct row){ "n", cases[i].tags, 0 }, &a);
		struct strmap tags;

		assert_int_equal(wire_get_tags(m.meta, &tags, &a), 0);
		assert_int_equal(consul_is_server(&tags, NULL), cases[i].server);
		arena_release(&a);
	}
}

static const struct consul_self lan = { .name = { "n1", 2 }, .id = { "id1", 3 }, .dc = { "dc1", 3 }, .segment = { "", 0 }, .wan = false };
static const struct consul_self wan = { .name = { "n1.dc1", 6 }, .id = { "id1", 3 }, .dc = { "dc1", 3 }, .segment = { "", 0 }, .wan = true };

/* Section 6.3 of the facts: what was seen accepted and refused. */
static void
test_admit(void **state)
{
	static const struct {
		const struct consul_self *self;
		struct row row;
		bool ok;
	} cases[] = {
		{ &lan, { "a", "build=1.10.12:,dc=dc1,id=x,role=node,segment=,vsn=2", 0 }, true },
		{ &lan, { "a", "dc=dc1,role=node", 0 }, true }, { &lan, { "a", "", 0 }, true }, { &lan, { "a", NULL, 0 }, true },
		{ &lan, { "a", "role=web", 0 }, true }, { &lan, { "a", "dc=west,role=web", 0 }, true }, { &lan, { "a", A_SERVER, 0 }, true },
		{ &lan, { "a", "build=1.2.3,dc=west9,port=x,role=consul,vsn=2", 0 }, true },
		{ &lan, { "a", "dc=west9,role=node", 0 }, false }, { &lan, { "a", "role=node", 0 }, false },
		{ &lan, { "a", "dc=dc1,role=node,segment=x", 0 }, false }, { &lan, { "a", "segment=x", 0 }, false },
		{ &lan, { "a", "dc=dc1,id=id1,role=node", 0 }, false }, { &lan, { "n1", "dc=dc1,id=id1,role=node", 0 }, true },
		{ &lan, { "a", "build=1.2.3,dc=dc2,port=1,role=consul,vsn=2", 0 }, false }, { &lan, { "", "", 0 }, false },
		{ &wan, { "a.dc2", "build=1.2.3,dc=dc2,port=1,role=consul,vsn=2", 0 }, true }, { &wan, { "a.dc2", "dc=dc2,role=node", 0 }, false },
		{ &wan, { "a.dc2", "", 0 }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(64 * KiB);
		struct msg_alive m = alive(&cases[i].row, &a);
		char err[256] = "";

		assert_int_equal(consul_admit(cases[i].self, &m, &a, err), cases[i].ok ? 0 : -EINVAL);
		assert_int_equal(err[0] == '\0', cases[i].ok);
		assert_int_equal(consul_admit_all(cases[i].self, &m, 1, &a, err), cases[i].ok ? 0 : -EINVAL);
		arena_release(&a);
	}
}

static void
test_admit_all(void **state)
{
	static const struct {
		struct row rows[3];
		bool ok;
	} cases[] = {
		{ { { "a", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "b", "build=1.10.12:,dc=dc1,id=y,role=node", 0 }, { "c", "", 0 } }, true },
		{ { { "a", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "b", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "c", "", 0 } }, false },
		/* One of them had no ID of its own yet. */
		{ { { "a", "build=0.8.4:,dc=dc1,id=x,role=node", 0 }, { "b", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "c", "", 0 } }, true },
		{ { { "a", "build=0.8.5:,dc=dc1,id=x,role=node", 0 }, { "b", "build=0.9.0:,dc=dc1,id=x,role=node", 0 }, { "c", "", 0 } }, false },
		/* One has left. */
		{ { { "a", "build=1.10.12:,dc=dc1,id=x,role=node", SWIM_LEFT }, { "b", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "c", "", 0 } }, true },
		/* One has failed: its machine may have another name now, we may be it; but it is still somewhere. */
		{ { { "a", "build=1.10.12:,dc=dc1,id=x,role=node", SWIM_DEAD }, { "b", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "c", "", 0 } }, true },
		{ { { "a", "build=1.10.12:,dc=dc1,id=x,role=node", SWIM_SUSPECT }, { "b", "build=1.10.12:,dc=dc1,id=x,role=node", 0 }, { "c", "", 0 } }, false },
		{ { { "a", "build=1.10.12:,dc=dc1,id=id1,role=node", SWIM_DEAD }, { "b", "", 0 }, { "c", "", 0 } }, true },
		{ { { "a", "build=1.10.12:,dc=dc1,id=id1,role=node", 0 }, { "b", "", 0 }, { "c", "", 0 } }, false },
		{ { { "a", "build=1.10.12:,dc=west,id=x,role=node", SWIM_DEAD }, { "b", "", 0 }, { "c", "", 0 } }, false },
		{ { { "a", "build=1.10.12:,dc=west,id=x,role=node", SWIM_LEFT }, { "b", "", 0 }, { "c", "", 0 } }, true },
		{ { { "a", "", 0 }, { "b", "", 0 }, { "c", "dc=west,role=node", 0 } }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(64 * KiB), tight = ARENA_INIT(8);
		struct msg_alive m[3];
		char err[256] = "";

		for (size_t n = 0; n < 3; n++)
			m[n] = alive(&cases[i].rows[n], &a);
		assert_int_equal(consul_admit_all(&lan, m, 3, &a, err), cases[i].ok ? 0 : -EINVAL);
		/* Who cannot be checked is refused. */
		assert_int_equal(consul_admit_all(&lan, m, 3, &tight, err), -EINVAL);
		arena_release(&a);
		arena_release(&tight);
	}
}

/* ---- networks */

static void
test_cidrs(void **state)
{
	static const struct {
		const char *list, *ip;
		bool ok;
	} cases[] = {
		{ "[]", "8.8.8.8", true }, { "[\"10.0.0.0/8\"]", "10.255.0.1", true }, { "[\"10.0.0.0/8\"]", "11.0.0.1", false },
		{ "[\"10.1.2.128/25\"]", "10.1.2.127", false }, { "[\"10.1.2.128/25\"]", "10.1.2.200", true },
		{ "[\"0.0.0.0/0\"]", "1.2.3.4", true }, { "[\"0.0.0.0/0\"]", "::1", false }, { "[\"127.0.0.1/32\", \"fd00::/8\"]", "fdff::1", true },
		{ "[\"127.0.0.1/32\", \"fd00::/8\"]", "fe80::1", false }, { "[\"127.0.0.1/32\"]", "127.0.0.2", false },
	};
	static const char *const bad[] = { "[\"10.0.0.0\"]", "[\"10.0.0.0/33\"]", "[\"x/8\"]", "[\"::/129\"]", "[\"10.0.0.0/-1\"]", "[\"1.1.1.1/8x\"]", "[null]" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_object *j = json_tokener_parse(cases[i].list);
		struct gossip_addr addr;
		struct cidrs c;
		const char *what;

		assert_int_equal(cidrs_load(&c, j, &what), 0);
		assert_int_equal(addr_parse(cases[i].ip, 1, &addr), 0);
		assert_int_equal(cidrs_allow(&c, &addr), cases[i].ok);
		cidrs_release(&c);
		json_object_put(j);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct json_object *j = json_tokener_parse(bad[i]);
		struct cidrs c;
		const char *what = NULL;

		assert_int_equal(cidrs_load(&c, j, &what), -EINVAL);
		assert_non_null(what);
		json_object_put(j);
	}
}

/* ---- events */

static void
test_event_form(void **state)
{
	/* As a Consul agent writes it (6.5): modern msgpack, the ID with a str8 header, the payload a bin8. */
	static const char seen[] = "\x85\xa2" "ID" "\xd9\x24" "01234567-89ab-cdef-0123-456789abcdef" "\xa1" "n" "\xa6" "deploy" "\xa2" "nf" "\xa2" ".*"
	    "\xa1" "p" "\xc4\x03" "v42" "\xa1" "v" "\x01";
	struct buf out = BUF_INIT(1024);
	struct arena a = ARENA_INIT(64 * KiB);
	struct user_event ev, plain = { .id = STR("x"), .name = STR("y"), .version = 1 };

	(void)state;
	assert_int_equal(event_decode((struct str){ seen, sizeof(seen) - 1 }, &ev, &a), 0);
	assert_true(str_eqs(ev.name, "deploy") && str_eqs(ev.payload, "v42") && str_eqs(ev.node_filter, ".*"));
	assert_int_equal(ev.version, 1);
	assert_int_equal(event_encode(&ev, &out), 0);
	assert_int_equal(out.len, sizeof(seen) - 1);
	assert_memory_equal(out.data, seen, out.len);
	buf_clear(&out);
	assert_int_equal(event_encode(&plain, &out), 0);
	assert_memory_equal(out.data, "\x83\xa2" "ID" "\xa1" "x" "\xa1" "n" "\xa1" "y" "\xa1" "v" "\x01", out.len);
	for (size_t cut = 0; cut < sizeof(seen) - 1; cut++)
		assert_int_not_equal(event_decode((struct str){ seen, cut }, &ev, &a), 0);
	buf_release(&out);
	arena_release(&a);
}

static void
test_event_index(void **state)
{
	char id[EVENT_ID_TEXT];

	(void)state;
	assert_int_equal(event_index(STR("00000000-0000-0001-0000-000000000002")), 3);
	assert_int_equal(event_index(STR("ffffffff-ffff-ffff-0000-000000000000")), UINT64_MAX);
	assert_int_equal(event_index(STR("00000000-0000-0001-0000-000000000001")), 1);
	assert_int_equal(event_index(STR("no id")), 1);
	assert_int_equal(event_index(STR("")), 1);
	assert_int_equal(event_index(STR("00000000-0000-0001-0000-0000000000021")), 1);
	for (int i = 0; i < 100; i++) {
		event_new_id(id);
		assert_int_equal(strlen(id), 36);
		assert_int_equal(id[14], '4');
		assert_int_not_equal(event_index(str_from(id)), 1);
	}
}

static void
test_event_filters(void **state)
{
	static const struct {
		const char *name, *node, *service, *tag, *err;
	} cases[] = {
		{ "deploy", "", "", "", NULL }, { "deploy", "^n[0-9]+$", "web", "v.", NULL }, { "", "", "", "", "User event missing name" },
		{ "deploy", "", "", "v1", "Cannot provide tag filter without service filter" }, { "deploy", "(", "", "", "Invalid node filter: " },
		{ "deploy", "", "[", "", "Invalid service filter: " }, { "deploy", "", "a", "*", "Invalid tag filter: " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct user_event ev = { .name = str_from(cases[i].name), .node_filter = str_from(cases[i].node),
			.service_filter = str_from(cases[i].service), .tag_filter = str_from(cases[i].tag) };
		char err[256] = "";

		assert_int_equal(event_check(&ev, err), cases[i].err == NULL ? 0 : -EINVAL);
		if (cases[i].err != NULL)
			assert_memory_equal(err, cases[i].err, strlen(cases[i].err));
	}
	assert_true(event_filter(STR(""), STR("x")));
	assert_true(event_filter(STR("^we"), STR("web")));
	assert_false(event_filter(STR("^we$"), STR("web")));
	assert_false(event_filter(STR("("), STR("(")));
}

/* ---- parameters */

static void
test_settings(void **state)
{
	struct json_object *plain = slice("\"dev_mode\":false"), *dev = slice("\"dev_mode\":true,\"gossip_lan\":{\"probe_interval\":1000,\"probe_timeout\":250}"),
	    *own = slice("\"gossip_wan\":{\"gossip_interval\":50,\"gossip_nodes\":7,\"suspicion_mult\":9},\"reconnect_timeout_wan\":1000");
	struct swim_config c;
	struct serf_config s;

	(void)state;
	settings_swim(&c, plain, false);
	assert_int_equal(c.gossip_ms, 200);
	assert_int_equal(c.probe_interval_ms, 1000);
	assert_int_equal(c.suspicion_mult, 4);
	assert_int_equal(c.reclaim_ms, 30000);
	assert_memory_equal(c.vsn, "\x01\x05\x02\x02\x05\x04", 6);
	settings_swim(&c, plain, true);
	assert_int_equal(c.gossip_nodes, 3);
	assert_int_equal(c.probe_interval_ms, 5000);
	assert_int_equal(c.suspicion_mult, 6);
	settings_swim(&c, dev, false);
	assert_int_equal(c.gossip_ms, 100);
	assert_int_equal(c.probe_interval_ms, 100);
	assert_int_equal(c.probe_timeout_ms, 250);
	assert_int_equal(c.suspicion_mult, 3);
	settings_swim(&c, own, true);
	assert_int_equal(c.gossip_ms, 50);
	assert_int_equal(c.gossip_nodes, 7);
	assert_int_equal(c.suspicion_mult, 9);
	settings_serf(&s, own, true);
	assert_int_equal(s.reconnect_timeout_ms, 1000);
	settings_serf(&s, own, false);
	assert_int_equal(s.reconnect_timeout_ms, 72ull * 3600 * 1000);
	assert_true(s.coordinates);
	json_object_put(plain);
	json_object_put(dev);
	json_object_put(own);
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
		{ "n1.dc1/10.0.0.1:7", "10.0.0.1", 7 }, { "n1/[::1]:9", "::1", 9 }, { "n1/host", "host", 8301 },
	};
	static const char *const bad[] = { "", ":1", "a:", "a:0", "a:65536", "a:-1", "a:1x", "[::1", "[::1]x", "[]:1", "a:123456789", "n1/" };
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
		cmocka_unit_test(test_tags_nomem),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_admit),
		cmocka_unit_test(test_admit_all),
		cmocka_unit_test(test_cidrs),
		cmocka_unit_test(test_event_form),
		cmocka_unit_test(test_event_index),
		cmocka_unit_test(test_event_filters),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_join_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
