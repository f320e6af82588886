/* dns_answer.c - facts into answers: which records, how many, in what size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dnsd/apex.h"
#include "t/unit/dns_ask.h"

static void
test_health_decides(void **state)
{
	struct settings *s = world_settings(""), *strict = world_settings("\"dns_config\":{\"only_passing\":true}");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Port\":1") CHECK("passing")
	    "," INSTANCE("b", "10.0.0.2", "\"Port\":1") CHECK("warning")
	    "," INSTANCE("c", "10.0.0.3", "\"Port\":1") CHECK("critical")
	    "," INSTANCE("d", "10.0.0.4", "\"Port\":1") CHECK("odd") "]");
	struct facts *dead = world_service("[" INSTANCE("c", "10.0.0.3", "\"Port\":1") CHECK("critical") "]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 3);
	assert_false(has(1, TYPE_A, "web.service.consul.", "10.0.0.3"));
	assert_true(has(1, TYPE_A, "web.service.consul.", "10.0.0.4"));
	assert_int_equal(ask_facts(f, strict, "web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 1);
	assert_true(has(1, TYPE_A, "web.service.consul.", "10.0.0.1"));
	/* No healthy instance is NXDOMAIN; a healthy one without such records is not. */
	assert_true(dead->known);
	assert_int_equal(ask_facts(dead, s, "web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_AAAA, 0, false), OUTCOME_NODATA);
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_MX, 0, false), OUTCOME_NODATA);
	assert_int_equal(ask_facts(f, s, "no.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	facts_free(f);
	facts_free(dead);
	settings_free(s);
	settings_free(strict);
}

static void
test_weights(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Port\":1,\"Weights\":{\"Passing\":9,\"Warning\":2}")
	    CHECK("passing") "," INSTANCE("b", "10.0.0.2", "\"Port\":2,\"Weights\":{\"Passing\":9,\"Warning\":2}") CHECK("warning")
	    "," INSTANCE("c", "10.0.0.3", "\"Port\":3") CHECK("warning") "]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_SRV, 0, false), OUTCOME_RECORDS);
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 9 1 a.node.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 2 2 b.node.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 3 c.node.dc1.consul."));
	facts_free(f);
	settings_free(s);
}

static void
test_addresses(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_service("["
	    INSTANCE("Node-A", "10.0.0.1", "\"Port\":1") "},"
	    INSTANCE("Node-A", "10.0.0.1", "\"Port\":2") "},"
	    INSTANCE("b", "10.0.0.2", "\"Port\":1,\"Address\":\"10.7.7.7\",\"TaggedAddresses\":{\"lan_ipv4\":{\"Address\":\"10.8.8.8\"},"
	    "\"lan_ipv6\":{\"Address\":\"fd00::8\"}}") "},"
	    INSTANCE("c", "fd00::3", "\"Port\":1") "},"
	    INSTANCE("d", "10.0.0.4", "\"Port\":1,\"Address\":\"www.example.com\"") "}]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "Web.Service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 2);
	assert_true(has(1, TYPE_A, "Web.Service.consul.", "10.0.0.1"));
	assert_true(has(1, TYPE_A, "Web.Service.consul.", "10.8.8.8"));
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_AAAA, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 2);
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_ANY, 4096, false), OUTCOME_RECORDS);
	/* Without a family the address of IPv6 goes first. */
	assert_int_equal(d.count[1], 3);
	assert_true(has(1, TYPE_AAAA, "web.service.consul.", "fd000000000000000000000000000008"));
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_SRV, 4096, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 5);
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 1 Node-A.node.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 2 Node-A.node.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 1 fd000000000000000000000000000008.addr.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 1 www.example.com."));
	assert_true(has(3, TYPE_AAAA, "fd000000000000000000000000000008.addr.dc1.consul.", "fd000000000000000000000000000008"));
	assert_true(has(3, TYPE_AAAA, "c.node.dc1.consul.", "fd000000000000000000000000000003"));
	/* One address of Node-A, three of others, the OPT. */
	assert_int_equal(d.count[3], 4);
	facts_free(f);
	settings_free(s);
}

static void
test_host_names(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"service_ttl\":{\"*\":7000}}");
	struct facts *f = world_service("[" INSTANCE("d", "10.0.0.4", "\"Address\":\"www.example.com\"") "},"
	    INSTANCE("e", "10.0.0.5", "\"Address\":\"www.example.net\"") "}]");
	struct facts *self = world_service("[" INSTANCE("d", "10.0.0.4", "\"Address\":\"web.service.consul\"") "}]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.nrrs, 1);
	assert_int_equal(d.rr[0].type, TYPE_CNAME);
	assert_int_equal(d.rr[0].ttl, 7);
	assert_int_equal(ask_facts(self, s, "web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_true(has(1, TYPE_A, "web.service.consul.", "10.0.0.4"));
	facts_free(f);
	facts_free(self);
	settings_free(s);
}

static void
test_tags(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Tags\":[\"T1\",\"x.y\"]") "},"
	    INSTANCE("b", "10.0.0.2", "\"Tags\":[\"t2\"]") "}]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "t1.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.nrrs, 1);
	assert_int_equal(ask_facts(f, s, "x.y.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(ask_facts(f, s, "_web._t2.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_true(has(1, TYPE_A, "_web._t2.service.consul.", "10.0.0.2"));
	assert_int_equal(ask_facts(f, s, "x.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	facts_free(f);
	settings_free(s);
}

static void
test_service_ttl(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"service_ttl\":{\"web\":5000,\"w*\":6000,\"we*\":7000,\"*\":8000}}");

	(void)state;
	assert_int_equal(settings_service_ttl(s, STR("web")), 5);
	assert_int_equal(settings_service_ttl(s, STR("webx")), 7);
	assert_int_equal(settings_service_ttl(s, STR("wx")), 6);
	assert_int_equal(settings_service_ttl(s, STR("x")), 8);
	settings_free(s);
	s = world_settings("");
	assert_int_equal(settings_service_ttl(s, STR("web")), 0);
	settings_free(s);
}

/* dns.md section 4, row by row. */
static void
test_limits(void **state)
{
	struct settings *s = world_settings(""), *tc = world_settings("\"dns_config\":{\"enable_truncate\":true}");
	struct settings *two = world_settings("\"dns_config\":{\"a_record_limit\":2}");
	struct settings *nine = world_settings("\"dns_config\":{\"udp_answer_limit\":9}");
	struct facts *f = world_many(11);

	(void)state;
	ask_facts(f, s, "many.service.consul", TYPE_A, 0, false);
	assert_int_equal(d.count[1], 3);
	assert_int_equal(d.flags & FLAG_TC, 0);
	ask_facts(f, s, "many.service.consul", TYPE_A, 512, false);
	assert_int_equal(d.count[1], 3);
	ask_facts(f, s, "many.service.consul", TYPE_A, 1232, false);
	assert_int_equal(d.count[1], 11);
	ask_facts(f, s, "many.service.consul", TYPE_A, 0, true);
	assert_int_equal(d.count[1], 11);
	ask_facts(f, tc, "many.service.consul", TYPE_A, 0, false);
	assert_int_equal(d.flags & FLAG_TC, FLAG_TC);
	ask_facts(f, tc, "many.service.consul", TYPE_A, 0, true);
	assert_int_equal(d.flags & FLAG_TC, 0);
	ask_facts(f, two, "many.service.consul", TYPE_A, 4096, false);
	assert_int_equal(d.count[1], 2);
	ask_facts(f, two, "many.service.consul", TYPE_SRV, 4096, false);
	assert_int_equal(d.count[1], 11);
	ask_facts(f, nine, "many.service.consul", TYPE_A, 0, false);
	assert_int_equal(d.count[1], 8);
	/* Cut SRV answers bring the addresses of what is left, and no TXT. */
	ask_facts(f, s, "many.service.consul", TYPE_SRV, 0, false);
	assert_int_equal(d.count[1], 3);
	assert_int_equal(d.count[3], 3);
	ask_facts(f, s, "many.service.consul", TYPE_SRV, 4096, false);
	assert_int_equal(d.count[3], 11 + 11 + 1);
	facts_free(f);
	settings_free(s);
	settings_free(tc);
	settings_free(two);
	settings_free(nine);
}

static void
test_sizes(void **state)
{
	struct settings *s = world_settings(""), *plain = world_settings("\"dns_config\":{\"disable_compression\":true}");
	struct facts *f = world_many(60), *huge = world_many(5000);
	unsigned kept = 0;

	(void)state;
	for (unsigned size = 513; size < 4000; size += 97) {
		ask_facts(f, s, "many.service.consul", TYPE_SRV, size, false);
		assert_true(d.n <= size - 7);
		assert_true(d.count[1] >= kept);
		kept = d.count[1];
		/* The OPT stays when records go. */
		assert_int_equal(d.rr[d.nrrs - 1].type, TYPE_OPT);
	}
	ask_facts(f, plain, "many.service.consul", TYPE_SRV, 1232, false);
	assert_true(d.n <= 1225);
	ask_facts(huge, s, "many.service.consul", TYPE_A, 0, true);
	assert_true(d.count[1] == 4096 || d.n > 65000);
	ask_facts(huge, s, "many.service.consul", TYPE_SRV, 0, true);
	assert_true(d.count[1] > 800 && d.count[1] <= 1024 && d.n <= 65523);
	/* As many addresses as targets: what is beyond the reach of pointers was counted in full. */
	assert_int_equal(d.count[3], d.count[1]);
	ask_facts(huge, s, "many.service.consul", TYPE_A, 65535, false);
	assert_true(d.n <= PKT_UDP_MAX);
	facts_free(f);
	facts_free(huge);
	settings_free(s);
	settings_free(plain);
}

/* An answer to be written at once when nothing is cut, or not. */
static struct answer *
rendered(const struct facts *f, const struct settings *s, uint16_t type, bool plain)
{
	uint8_t p[512];
	struct pkt_query q;
	struct dns_name n;
	struct answer *a = NULL;
	enum outcome o = OUTCOME_EMPTY;
	size_t prefix;

	assert_int_equal(pkt_query_read(p, query_bytes(p, "many.service.consul", type, 0), &q), 0);
	assert_non_null(settings_zone(s, q.name, q.name_len, &prefix));
	name_parse(q.name, prefix, type, &n);
	assert_int_equal(answer_render(f, &n, &q, s, &o, &a), 0);
	assert_int_equal(o, OUTCOME_RECORDS);
	assert_true(a->plain_rrs > 0);
	if (!plain)
		a->plain_rrs = 0;
	return a;
}

/* Two answers written by turns to equal questions, from equal states. */
static void
assert_same(struct answer *a[2], const struct settings *s, uint16_t type, unsigned udp_size, bool tcp, uint64_t state[2])
{
	static uint8_t out[2][PKT_UDP_MAX];
	struct pkt_query q;
	uint8_t p[512];
	size_t n[2];

	assert_int_equal(pkt_query_read(p, query_bytes(p, "many.service.consul", type, udp_size), &q), 0);
	for (unsigned i = 0; i < 2; i++)
		n[i] = answer_write(a[i], &q, s, tcp, &state[i], out[i], PKT_UDP_MAX);
	assert_int_equal(n[0], n[1]);
	assert_memory_equal(out[0], out[1], n[0]);
	assert_int_equal(state[0], state[1]);
}

static void
compare(const struct facts *f, const struct settings *s, uint16_t type)
{
	struct answer *a[2] = { rendered(f, s, type, true), rendered(f, s, type, false) };
	uint64_t state[2] = { 5, 5 };

	assert_same(a, s, type, 0, true, state);
	for (unsigned size = 0; size < 65536; size += size < 1400 ? 1 : 997)
		assert_same(a, s, type, size, false, state);
	/* And where the whole of it just fits. */
	for (unsigned i = 0; i < 64; i++)
		assert_same(a, s, type, a[0]->plain_rrs + a[0]->plain_extras + i, false, state);
	answer_free(a[0]);
	answer_free(a[1]);
}

/* What is written at once when nothing is cut is, byte by byte, what the careful way gives. */
static void
test_plain(void **state)
{
	static const char *const settings[] = { "", "\"dns_config\":{\"disable_compression\":true}",
		"\"dns_config\":{\"a_record_limit\":3,\"enable_truncate\":true}", "\"dns_config\":{\"udp_fill\":true}",
		"\"dns_config\":{\"enable_additional_node_meta_txt\":false}" };
	static const unsigned counts[] = { 1, 3, 4, 10, 150, 400, 1200 };
	static const uint16_t types[] = { TYPE_A, TYPE_SRV, TYPE_ANY };

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
		struct facts *f = world_many(counts[k]);

		for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
			struct settings *s = world_settings(settings[i]);

			for (size_t t = 0; t < ARRAY_LEN(types); t++)
				compare(f, s, types[t]);
			settings_free(s);
		}
		facts_free(f);
	}
}

static void
test_order_is_random(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_many(6);
	unsigned first[6] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 600; i++) {
		ask_facts(f, s, "many.service.consul", TYPE_A, 0, false);
		first[d.p[d.rr[0].at + 3] - 1]++;
	}
	for (unsigned i = 0; i < 6; i++)
		assert_in_range(first[i], 50, 200);
	facts_free(f);
	settings_free(s);
}

/* ---- nodes */

static void
test_node(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"node_ttl\":9000}");
	struct settings *bare = world_settings("\"dns_config\":{\"enable_additional_node_meta_txt\":false}");
	struct facts *f = node_facts("{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"Meta\":{\"a=`\":\"v\",\"RFC1035-x\":\"raw\"}}");
	struct facts *none = facts_new_unknown();

	(void)state;
	assert_int_equal(ask_facts(f, s, "n1.node.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_true(has(1, TYPE_A, "n1.node.consul.", "10.0.0.1"));
	assert_int_equal(d.rr[0].ttl, 9);
	assert_true(has(3, TYPE_TXT, "n1.node.consul.", "\"raw\""));
	assert_true(has(3, TYPE_TXT, "n1.node.consul.", "\"a`=``=v\""));
	assert_int_equal(ask_facts(f, bare, "n1.node.consul", TYPE_AAAA, 0, false), OUTCOME_EMPTY);
	assert_int_equal(ask_facts(f, bare, "n1.node.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.nrrs, 1);
	assert_int_equal(ask_facts(f, s, "n1.node.consul", TYPE_TXT, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 2);
	assert_int_equal(d.count[3], 0);
	assert_int_equal(ask_facts(f, s, "n1.node.consul", TYPE_ANY, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 3);
	assert_int_equal(ask_facts(none, s, "n1.node.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	facts_free(f);
	facts_free(none);
	settings_free(s);
	settings_free(bare);
}

static void
test_large_meta_is_bounded(void **state)
{
	struct settings *s = world_settings("");
	struct buf b = BUF_INIT(1 * MiB);
	struct facts *f;
	char value[513];
	int rc;

	(void)state;
	memset(value, 'v', 512);
	value[512] = 0;
	rc = buf_adds(&b, "{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"Meta\":{");
	for (unsigned i = 0; i < 64 && rc == 0; i++)
		rc = buf_addf(&b, "%s\"k%u\":\"%s\"", i > 0 ? "," : "", i, value);
	assert_int_equal(rc, 0);
	assert_int_equal(buf_adds(&b, "}}"), 0);
	f = node_facts(buf_cstr(&b));
	/* In ADDITIONAL it is left out without a sign, in ANSWER with one. */
	ask_facts(f, s, "n1.node.consul", TYPE_A, 0, false);
	assert_int_equal(d.nrrs, 1);
	assert_int_equal(d.flags & FLAG_TC, 0);
	ask_facts(f, s, "n1.node.consul", TYPE_TXT, 1232, false);
	assert_true(d.n <= 1232);
	assert_int_equal(d.count[1], 2);
	assert_int_equal(d.flags & FLAG_TC, FLAG_TC);
	ask_facts(f, s, "n1.node.consul", TYPE_TXT, 0, true);
	assert_int_equal(d.count[1], 64);
	buf_release(&b);
	facts_free(f);
	settings_free(s);
}

static void
test_names_that_dns_cannot_hold(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_service("[" INSTANCE("a..b", "10.0.0.1", "\"Port\":1") "},"
	    INSTANCE("0123456789012345678901234567890123456789012345678901234567890123", "10.0.0.2", "\"Port\":1") "},"
	    INSTANCE("", "10.0.0.3", "\"Port\":1") "}," INSTANCE("ok", "10.0.0.4", "\"Port\":1") "}]");

	(void)state;
	ask_facts(f, s, "web.service.consul", TYPE_A, 1232, false);
	assert_int_equal(d.count[1], 4);
	ask_facts(f, s, "web.service.consul", TYPE_SRV, 1232, false);
	assert_int_equal(d.count[1], 1);
	facts_free(f);
	settings_free(s);
}

/* ---- the zone itself */

static void
test_apex(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"soa\":{\"refresh\":1,\"retry\":2,\"expire\":3,\"min_ttl\":4},\"node_ttl\":5000}");
	struct facts *f = world_service("[" INSTANCE("A1", "10.0.0.1", "\"Port\":1") "}," INSTANCE("b_2", "10.0.0.2", "\"Port\":1") "},"
	    INSTANCE("c", "10.0.0.3", "\"Port\":1") "}," INSTANCE("d", "10.0.0.4", "\"Port\":1") "}," INSTANCE("e", "10.0.0.5", "\"Port\":1") "}]");
	uint8_t p[512], out[PKT_TCP_MAX];
	struct pkt_query q;

	(void)state;
	assert_int_equal(pkt_query_read(p, query_bytes(p, "x.consul", TYPE_SOA, 0), &q), 0);
	assert_true(decode(&d, out, apex_answer(&q, s, f, 77, &rng, out, sizeof(out))));
	assert_int_equal(d.count[1], 1);
	assert_string_equal(d.rr[0].owner, "consul.");
	assert_int_equal(d.rr[0].ttl, 4);
	assert_memory_equal(out + d.rr[0].at + d.rr[0].rdlen - 20, "\0\0\0\115\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4", 20);
	assert_int_equal(d.count[2], 3);
	assert_int_equal(d.count[3], 3);
	assert_int_equal(pkt_query_read(p, query_bytes(p, "consul", TYPE_NS, 0), &q), 0);
	for (unsigned i = 0; i < 50; i++) {
		assert_true(decode(&d, out, apex_answer(&q, s, f, 77, &rng, out, sizeof(out))));
		assert_int_equal(d.count[1], 3);
		assert_int_equal(d.rr[0].ttl, 5);
		assert_false(has(1, TYPE_NS, "consul.", "b_2.node.dc1.consul."));
	}
	assert_true(decode(&d, out, apex_negative(&q, s, 77, RCODE_NXDOMAIN, out, sizeof(out))));
	assert_int_equal(d.flags, 0x8503);
	assert_int_equal(d.count[2], 1);
	facts_free(f);
	settings_free(s);
}

static void
test_broken_replies_of_raftd(void **state)
{
	static const char *const bad[] = { "", "\xc1", "\x91", "\x91\x81\xa4Node\x01", "\xdd\xff\xff\xff\xff" };
	struct arena scratch = ARENA_INIT(1 * MiB);
	struct facts *f = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(facts_from_health(str_from(bad[i]), &scratch, &f) < 0);
	assert_true(facts_from_node(STR("\x81\xa4Node\x81\xa4Node"), &scratch, &f) < 0);
	assert_null(f);
	assert_int_equal(facts_from_node(STR("\xc0"), &scratch, &f), 0);
	assert_false(f->known);
	facts_free(f);
	arena_release(&scratch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health_decides), cmocka_unit_test(test_weights), cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_host_names), cmocka_unit_test(test_tags), cmocka_unit_test(test_service_ttl),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_sizes), cmocka_unit_test(test_plain),
		cmocka_unit_test(test_order_is_random),
		cmocka_unit_test(test_node), cmocka_unit_test(test_large_meta_is_bounded),
		cmocka_unit_test(test_names_that_dns_cannot_hold), cmocka_unit_test(test_apex),
		cmocka_unit_test(test_broken_replies_of_raftd),
	};

	return cmocka_run_group_tests_name("dns_answer", tests, NULL, NULL);
}
