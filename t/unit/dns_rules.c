/* dns_rules.c - what of the configuration, the question's domain and the client's EDNS shapes answers. */
#include "dnsd/apex.h"
#include "t/unit/dns_ask.h"

static void
test_tags_are_combined(void **state)
{
	struct settings *s = world_settings(""), *off = world_settings("\"dns_config\":{\"combine_tags\":false}");
	struct settings *strict = world_settings("\"dns_config\":{\"only_passing\":true}");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Tags\":[\"V1\",\"eu\",\"web\"]") "},"
	    INSTANCE("b", "10.0.0.2", "\"Tags\":[\"v1\",\"us\"]") CHECK("warning") ","
	    INSTANCE("c", "10.0.0.3", "\"Tags\":[\"v1.us\"]") CHECK("warning") "]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "v1.eu.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.nrrs, 1);
	assert_true(has(1, TYPE_A, "v1.eu.web.service.consul.", "10.0.0.1"));
	assert_int_equal(ask_facts(f, s, "web.EU.v1.web.service.consul", TYPE_SRV, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 1);
	/* Who has the joined tag is meant, and nobody else. */
	assert_int_equal(ask_facts(f, s, "v1.us.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.nrrs, 1);
	assert_true(has(1, TYPE_A, "v1.us.web.service.consul.", "10.0.0.3"));
	/* ... even when health forbids to tell of it. */
	assert_int_equal(ask_facts(f, strict, "v1.us.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	assert_int_equal(ask_facts(f, s, "us.v1.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_true(has(1, TYPE_A, "us.v1.web.service.consul.", "10.0.0.2"));
	assert_int_equal(ask_facts(f, s, "eu.us.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	assert_int_equal(ask_facts(f, s, "eu.v2.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	assert_int_equal(ask_facts(f, off, "v1.eu.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	assert_int_equal(ask_facts(f, off, "v1.us.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	facts_free(f);
	/* ... or when all who have it are critical: Consul's answer stays. */
	f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Tags\":[\"v1\",\"eu\"]") "},"
	    INSTANCE("b", "10.0.0.2", "\"Tags\":[\"plain\",\"V1.eu\"]") CHECK("critical") ","
	    INSTANCE("c", "10.0.0.3", "\"Tags\":[\"v1.EU\",\"x.y\"]") CHECK("critical") "]");
	assert_int_equal(f->n, 1);
	assert_int_equal(ask_facts(f, s, "v1.eu.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	assert_int_equal(ask_facts(f, s, "eu.v1.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(ask_facts(f, s, "v1.web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	facts_free(f);
	settings_free(s);
	settings_free(off);
	settings_free(strict);
}

/* One SRV record for each node, address and port; equal ones are told once. */
static void
test_equal_addresses(void **state)
{
#define WEIGHED(n) "\"Address\":\"10.9.9.9\",\"Port\":80,\"Weights\":{\"Passing\":" #n ",\"Warning\":1}"
	struct settings *s = world_settings("");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", WEIGHED(5)) "}," INSTANCE("a", "10.0.0.1", WEIGHED(6)) "},"
	    INSTANCE("b", "10.0.0.2", WEIGHED(7)) "}," INSTANCE("c", "10.0.0.3", WEIGHED(5)) "},"
	    INSTANCE("d", "10.0.0.4", WEIGHED(7)) "}," INSTANCE("b", "10.0.0.2", "\"Port\":80") "}]");

	(void)state;
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_SRV, 1232, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 3);
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 5 80 0a090909.addr.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 7 80 0a090909.addr.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 80 b.node.dc1.consul."));
	assert_int_equal(d.count[3], 3);	/* two targets, and OPT */
	facts_free(f);
	settings_free(s);
}

#define SERVED(addr, port) "{\"Address\":\"" addr "\",\"Port\":" #port "}"

static void
test_other_datacenters(void **state)
{
	struct settings *s = world_settings("\"translate_wan_addrs\":true"), *off = world_settings("");
	struct facts *f = world_service("[{\"Node\":{\"Node\":\"a\",\"Address\":\"10.0.0.1\",\"TaggedAddresses\":{\"lan\":\"10.0.0.1\","
	    "\"wan\":\"198.51.100.1\"}},\"Service\":{\"Service\":\"web\",\"Port\":80}},"
	    "{\"Node\":{\"Node\":\"b\",\"Address\":\"10.0.0.2\",\"TaggedAddresses\":{\"wan\":\"198.51.100.2\"}},"
	    "\"Service\":{\"Service\":\"web\",\"Port\":80,\"Address\":\"10.1.0.2\",\"TaggedAddresses\":{\"wan\":" SERVED("198.51.100.3", 8080)
	    ",\"wan_ipv4\":" SERVED("198.51.100.4", 1) ",\"wan_ipv6\":" SERVED("2001:db8::4", 1) "}}},"
	    "{\"Node\":{\"Node\":\"c\",\"Address\":\"10.0.0.3\",\"TaggedAddresses\":{\"wan\":\"10.0.0.3\"}},"
	    "\"Service\":{\"Service\":\"web\",\"Port\":80}}]");

	(void)state;
	assert_non_null(f->v[0]->wan);
	assert_non_null(f->v[1]->wan);
	/* The same address costs nothing. */
	assert_null(f->v[2]->wan);
	assert_int_equal(ask_facts(f, s, "web.service.dc2.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_true(has(1, TYPE_A, "web.service.dc2.consul.", "198.51.100.1"));
	assert_true(has(1, TYPE_A, "web.service.dc2.consul.", "198.51.100.4"));
	assert_true(has(1, TYPE_A, "web.service.dc2.consul.", "10.0.0.3"));
	assert_int_equal(ask_facts(f, s, "web.service.dc2.consul", TYPE_AAAA, 0, false), OUTCOME_RECORDS);
	assert_int_equal(d.count[1], 1);
	assert_int_equal(ask_facts(f, s, "web.service.dc2.consul", TYPE_SRV, 1232, false), OUTCOME_RECORDS);
	/* A node that is reached elsewhere has its address spelled, since its own name gives the other. */
	assert_true(has(1, TYPE_SRV, "web.service.dc2.consul.", "1 1 80 c6336401.addr.dc2.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.dc2.consul.", "1 1 8080 20010db8000000000000000000000004.addr.dc2.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.dc2.consul.", "1 1 80 c.node.dc2.consul."));
	assert_true(has(3, TYPE_A, "c6336401.addr.dc2.consul.", "198.51.100.1"));
	/* At home, named or not, and where it is off: as registered. */
	for (int i = 0; i < 3; i++) {
		const char *name = i == 0 ? "web.service.consul" : i == 1 ? "web.service.dc1.consul" : "web.service.dc2.consul";

		assert_int_equal(ask_facts(f, i < 2 ? s : off, name, TYPE_A, 0, false), OUTCOME_RECORDS);
		assert_int_equal(d.count[1], 3);
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(d.p[d.rr[k].at], 10);
	}
	facts_free(f);
	settings_free(s);
	settings_free(off);
}

/* Addresses by family of nodes, and a service that has no other address than those. */
static void
test_families(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_service("[{\"Node\":{\"Node\":\"a\",\"Address\":\"10.0.0.1\",\"TaggedAddresses\":{\"lan_ipv4\":\"10.0.0.1\","
	    "\"lan_ipv6\":\"fd00::1\"}},\"Service\":{\"Service\":\"web\",\"Port\":80}},"
	    "{\"Node\":{\"Node\":\"b\",\"Address\":\"10.0.0.2\",\"TaggedAddresses\":{\"lan_ipv4\":\"10.0.0.2\"}},"
	    "\"Service\":{\"Service\":\"web\",\"Port\":80,\"TaggedAddresses\":{\"lan_ipv4\":" SERVED("10.1.0.2", 1) "}}}]");
	struct facts *n = node_facts("{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"TaggedAddresses\":{\"lan_ipv6\":\"fd00::1\",\"wan\":\"1.2.3.4\"}}");

	(void)state;
	ask_facts(f, s, "web.service.consul", TYPE_A, 0, false);
	assert_true(has(1, TYPE_A, "web.service.consul.", "10.0.0.1"));
	assert_true(has(1, TYPE_A, "web.service.consul.", "10.1.0.2"));
	ask_facts(f, s, "web.service.consul", TYPE_AAAA, 0, false);
	assert_int_equal(d.count[1], 1);
	ask_facts(f, s, "web.service.consul", TYPE_SRV, 0, false);
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 80 fd000000000000000000000000000001.addr.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 80 0a010002.addr.dc1.consul."));
	ask_facts(n, s, "n1.node.consul", TYPE_A, 0, false);
	assert_true(has(1, TYPE_A, "n1.node.consul.", "10.0.0.1"));
	ask_facts(n, s, "n1.node.consul", TYPE_AAAA, 0, false);
	assert_true(has(1, TYPE_AAAA, "n1.node.consul.", "fd000000000000000000000000000001"));
	facts_free(f);
	facts_free(n);
	settings_free(s);
}

/* ---- the other domain */

static struct decoded *
ask_zone(const struct settings *s, const struct facts *f, const char *name, uint16_t type)
{
	static uint8_t out[PKT_TCP_MAX];
	uint8_t p[512];
	struct pkt_query q;
	size_t n;

	assert_int_equal(pkt_query_read(p, query_bytes(p, name, type, 0), &q), 0);
	if (type == TYPE_SOA || type == TYPE_NS)
		n = apex_answer(&q, s, f, 77, &rng, out, answer_max(&q, false));
	else
		n = apex_negative(&q, s, 77, RCODE_NXDOMAIN, out, answer_max(&q, false));
	assert_true(decode(&d, out, n));
	assert_true(n <= PKT_UDP_MIN);
	return &d;
}

static void
test_alt_domain(void **state)
{
	struct settings *s = world_settings("\"alt_domain\":\"Alt.example\"");
	struct settings *own = world_settings("\"alt_domain\":\"alt.example.\",\"dns_config\":{\"alt_domain_targets\":true}");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Port\":1") "},"
	    INSTANCE("b", "10.0.0.2", "\"Port\":1,\"Address\":\"10.0.9.9\"") "}]");

	(void)state;
	ask_facts(f, s, "web.service.alt.example", TYPE_SRV, 0, false);
	assert_true(has(1, TYPE_SRV, "web.service.alt.example.", "1 1 1 a.node.dc1.consul."));
	assert_true(has(1, TYPE_SRV, "web.service.alt.example.", "1 1 1 0a000909.addr.dc1.consul."));
	ask_facts(f, own, "web.service.alt.example", TYPE_SRV, 0, false);
	assert_true(has(1, TYPE_SRV, "web.service.alt.example.", "1 1 1 a.node.dc1.alt.example."));
	assert_true(has(1, TYPE_SRV, "web.service.alt.example.", "1 1 1 0a000909.addr.dc1.alt.example."));
	assert_true(has(3, TYPE_A, "a.node.dc1.alt.example.", "10.0.0.1"));
	ask_facts(f, own, "web.service.consul", TYPE_SRV, 0, false);
	assert_true(has(1, TYPE_SRV, "web.service.consul.", "1 1 1 a.node.dc1.consul."));
	assert_string_equal(ask_zone(s, f, "x.alt.example", TYPE_A)->rr[0].owner, "consul.");
	assert_string_equal(ask_zone(own, f, "x.alt.example", TYPE_A)->rr[0].owner, "alt.example.");
	assert_memory_equal(d.p + d.rr[0].at, "\2ns", 3);
	assert_string_equal(ask_zone(own, f, "x.consul", TYPE_A)->rr[0].owner, "consul.");
	ask_zone(s, f, "alt.example", TYPE_NS);
	assert_true(has(1, TYPE_NS, "consul.", "a.node.dc1.consul."));
	ask_zone(own, f, "alt.example", TYPE_NS);
	assert_true(has(1, TYPE_NS, "alt.example.", "a.node.dc1.alt.example."));
	assert_true(has(3, TYPE_A, "a.node.dc1.alt.example.", "10.0.0.1"));
	assert_string_equal(ask_zone(own, f, "alt.example", TYPE_SOA)->rr[0].owner, "alt.example.");
	facts_free(f);
	settings_free(s);
	settings_free(own);
}

/* One domain below the other: names belong to the longer one. */
static void
test_nested_domains(void **state)
{
	struct settings *v[2] = { world_settings("\"alt_domain\":\"x.consul\""),
		world_settings("\"domain\":\"x.consul\",\"alt_domain\":\"consul\"") };
	struct settings *root = world_settings("\"alt_domain\":\".\"");
	size_t prefix = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct zone *z = settings_zone(v[i], (const uint8_t *)"\1a\7service\1x\6consul", 20, &prefix);

		assert_non_null(z);
		assert_int_equal(z->len, 10);
		assert_int_equal(prefix, 10);
		z = settings_zone(v[i], (const uint8_t *)"\1a\7service\6consul", 18, &prefix);
		assert_non_null(z);
		assert_int_equal(z->len, 8);
		assert_null(settings_zone(v[i], (const uint8_t *)"\1a\3com", 7, &prefix));
		settings_free(v[i]);
	}
	/* The root is no other domain. */
	assert_null(settings_zone(root, (const uint8_t *)"\1a\3com", 7, &prefix));
	settings_free(root);
}

/* ---- switches */

static void
test_recursion_is_available(void **state)
{
	struct settings *s = world_settings("\"recursors\":[\"127.0.0.1\"]");
	struct facts *f = world_many(2);
	uint8_t p[512], out[PKT_TCP_MAX];
	struct pkt_query q;

	(void)state;
	ask_facts(f, s, "many.service.consul", TYPE_A, 0, false);
	assert_int_equal(d.flags, 0x8580);
	assert_int_equal(ask_zone(s, f, "consul", TYPE_NS)->flags, 0x8580);
	assert_int_equal(ask_zone(s, f, "x.consul", TYPE_A)->flags, 0x8583);
	assert_int_equal(pkt_query_read(p, query_bytes(p, "x.consul", TYPE_A, 0), &q), 0);
	assert_true(decode(&d, out, apex_error(&q, s, FLAG_AA, RCODE_SERVFAIL, out, sizeof(out))));
	assert_int_equal(d.flags, 0x8582);
	assert_true(decode(&d, out, apex_error(&q, s, 0, RCODE_FORMERR, out, sizeof(out))));
	assert_int_equal(d.flags, 0x8101);
	facts_free(f);
	settings_free(s);
}

/* Whether all records of the answer are of one type. */
static bool
one_type(void)
{
	for (unsigned i = 0; i < d.count[1]; i++)
		if (d.rr[i].type != d.rr[0].type)
			return false;
	return d.count[1] > 0;
}

static void
test_minimal_any(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"minimal_any\":true}"), *off = world_settings("");
	struct settings *limit = world_settings("\"dns_config\":{\"minimal_any\":true,\"a_record_limit\":2}");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Port\":1") "}," INSTANCE("b", "fd00::2", "\"Port\":1") "},"
	    INSTANCE("c", "10.0.0.3", "\"Port\":1") "}," INSTANCE("e", "fd00::5", "\"Port\":1") "}," INSTANCE("g", "10.0.0.7", "\"Port\":1") "}]");
	struct facts *n = node_facts("{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"Meta\":{\"a\":\"v\",\"b\":\"w\"}}");

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		ask_facts(f, s, "web.service.consul", TYPE_ANY, 1232, false);
		assert_int_equal(d.count[1], 3);
		assert_true(one_type());
		ask_facts(f, limit, "web.service.consul", TYPE_ANY, 1232, false);
		assert_int_equal(d.count[1], 2);
		assert_true(one_type());
	}
	ask_facts(f, s, "web.service.consul", TYPE_ANY, 0, true);
	assert_int_equal(d.count[1], 5);
	ask_facts(f, off, "web.service.consul", TYPE_ANY, 1232, false);
	assert_int_equal(d.count[1], 5);
	ask_facts(n, s, "n1.node.consul", TYPE_ANY, 1232, false);
	assert_int_equal(d.count[1], 1);
	assert_int_equal(d.rr[0].type, TYPE_A);
	ask_facts(n, off, "n1.node.consul", TYPE_ANY, 1232, false);
	assert_int_equal(d.count[1], 3);
	facts_free(f);
	facts_free(n);
	settings_free(s);
	settings_free(limit);
	settings_free(off);
}

static void
test_udp_fill(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"udp_fill\":true,\"enable_truncate\":true}");
	struct facts *f = world_many(60);

	(void)state;
	ask_facts(f, s, "many.service.consul", TYPE_A, 0, false);
	/* 12 of header, 25 of question, 16 a record. */
	assert_int_equal(d.count[1], (512 - 7 - 12 - 25) / 16);
	assert_int_equal(d.flags & FLAG_TC, FLAG_TC);
	ask_facts(f, s, "many.service.consul", TYPE_SRV, 0, false);
	assert_true(d.n <= 505);
	assert_true(d.count[1] > 3);
	assert_int_equal(d.count[3], d.count[1]);
	facts_free(f);
	f = world_many(20);
	ask_facts(f, s, "many.service.consul", TYPE_A, 0, false);
	assert_int_equal(d.count[1], 20);
	assert_int_equal(d.flags & FLAG_TC, 0);
	facts_free(f);
	settings_free(s);
}

/* What is within the limit of number is measured as it is sent. */
static void
test_few_records_keep_their_extras(void **state)
{
	struct settings *s = world_settings(""), *plain = world_settings("\"dns_config\":{\"disable_compression\":true}");
	struct facts *f = world_many(3);

	(void)state;
	ask_facts(f, s, "a-rather-long-name-of-a-service-that-many-instances-have.service.consul", TYPE_SRV, 0, false);
	assert_int_equal(d.count[1], 3);
	assert_int_equal(d.count[3], 6);
	ask_facts(f, plain, "a-rather-long-name-of-a-service-that-many-instances-have.service.consul", TYPE_SRV, 0, false);
	assert_int_equal(d.count[1], 2);
	assert_int_equal(d.count[3], 2);
	facts_free(f);
	settings_free(s);
	settings_free(plain);
}

/* The subnet and the cookie in OPT take their room from the records. */
static void
test_options_have_room(void **state)
{
	static uint8_t out[PKT_TCP_MAX];
	struct settings *s = world_settings("");
	struct facts *f = world_many(60);
	uint8_t p[512];
	struct pkt_query q;
	struct dns_name n;
	struct answer *a = NULL;
	enum outcome o;
	size_t prefix;

	(void)state;
	assert_int_equal(pkt_query_read(p, query_bytes(p, "many.service.consul", TYPE_SRV, 1232), &q), 0);
	assert_true(name_in_zone(q.name, q.name_len, &s->domain, &prefix));
	name_parse(q.name, prefix, TYPE_SRV, &n);
	assert_int_equal(answer_render(f, &n, &q, s, &o, &a), 0);
	q.cookie = (struct pkt_cookie){ .len = 8, .reply = true };
	for (uint16_t size = 600; size < 1400; size++) {
		size_t len;

		q.ecs = (struct pkt_ecs){ .present = true, .family = 2, .source = (uint8_t)(size % 129) };
		q.udp_size = size;
		len = answer_write(a, &q, s, false, &rng, out, PKT_UDP_MAX);
		assert_true(decode(&d, out, len));
		assert_true(len <= size - 7u);
		assert_int_equal(d.rr[d.nrrs - 1].type, TYPE_OPT);
		assert_int_equal(d.rr[d.nrrs - 1].rdlen, pkt_opt_len(&q) - PKT_OPT_LEN);
	}
	answer_free(a);
	facts_free(f);
	settings_free(s);
}

static void
test_largest_datagram(void **state)
{
	struct settings *s = world_settings("");
	struct facts *f = world_many(5000);

	(void)state;
	ask_facts(f, s, "many.service.consul", TYPE_SRV, 65535, false);
	assert_true(d.n <= PKT_UDP_MAX);
	/* Cut to size: no target without its address. */
	assert_true(d.count[1] > 700);
	assert_int_equal(d.count[3], d.count[1] + 1);
	facts_free(f);
	settings_free(s);
}

#define L60 "012345678901234567890123456789012345678901234567890123456789"

/* Name servers and refusals stay within 512 bytes whatever the names. */
static void
test_zone_replies_fit(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"disable_compression\":true},\"domain\":\"" L60 "." L60 "." L60 "\"");
	struct settings *c = world_settings("");
	struct facts *f = world_service("[" INSTANCE("a" L60, "10.0.0.1", "\"Port\":1") "}," INSTANCE("b" L60, "10.0.0.2", "\"Port\":1") "},"
	    INSTANCE("c" L60, "10.0.0.3", "\"Port\":1") "}," INSTANCE("d" L60, "10.0.0.4", "\"Port\":1") "}]");

	(void)state;
	ask_zone(c, f, "consul", TYPE_NS);
	assert_int_equal(d.count[1], 3);
	assert_int_equal(d.count[3], 3);
	ask_zone(s, f, "x." L60 "." L60 "." L60, TYPE_SOA);
	assert_int_equal(d.count[1], 0);
	assert_int_equal(d.flags, 0x8700);
	ask_zone(s, f, "x." L60 "." L60 "." L60, TYPE_NS);
	assert_int_equal(d.flags, 0x8700);
	ask_zone(s, f, "x." L60 "." L60 "." L60, TYPE_A);
	assert_int_equal(d.count[2], 0);
	assert_int_equal(d.flags, 0x8503);
	facts_free(f);
	settings_free(s);
	settings_free(c);
}

/* Text that no name can hold: left out, never sent. */
static void
test_what_dns_cannot_hold(void **state)
{
	struct settings *s = world_settings("\"datacenter\":\"a" L60 "bcde\"");
	struct facts *f = world_service("[" INSTANCE("a", "10.0.0.1", "\"Port\":1,\"Address\":\"10.0.0.9\"") "},"
	    INSTANCE("b", "10.0.0.2", "\"Port\":70000,\"Tags\":[\"\",\".\",\"a..b\"]") "}]");
	struct facts *h = world_service("[" INSTANCE("a", "b..c", "\"Port\":1") "}," INSTANCE("b", "10.0.0.1", "\"Port\":1,\"Address\":\"a..b\"") "}]");

	(void)state;
	/* No label holds this datacenter: there are addresses, but no names. */
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_SRV, 0, false), OUTCOME_NODATA);
	assert_int_equal(ask_facts(f, s, "web.service.consul", TYPE_A, 0, false), OUTCOME_RECORDS);
	assert_int_equal(ask_facts(h, s, "web.service.consul", TYPE_A, 0, false), OUTCOME_NODATA);
	assert_int_equal(ask_facts(h, s, "web.service.consul", TYPE_SRV, 0, false), OUTCOME_NODATA);
	assert_int_equal(ask_facts(f, s, "a.web.service.consul", TYPE_A, 0, false), OUTCOME_NXDOMAIN);
	facts_free(f);
	facts_free(h);
	settings_free(s);
}

/* ---- host names that lead on */

/* As many addresses as ctx says of any name, all of one owner. */
static size_t
find_host(void *ctx, const uint8_t *name, uint16_t type, struct host_rr *out)
{
	static uint8_t tail[HOST_RRS_MAX][PKT_RR_FIXED + 16], owner[PKT_NAME_MAX + 1];
	size_t n = *(const size_t *)ctx;

	(void)type;
	memcpy(owner, name, pkt_name_len(name));
	for (size_t i = 0; i < n; i++) {
		struct addr a = { ADDR_V4, { { 192, 0, 2, (uint8_t)i } } };

		out[i] = (struct host_rr){ owner, tail[i], (uint16_t)answer_addr_tail(&a, 99, tail[i]) };
	}
	return n;
}

static unsigned
count_owner(unsigned section, const char *owner)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d.nrrs; i++)
		n += d.rr[i].section == section && strcmp(d.rr[i].owner, owner) == 0;
	return n;
}

static void
ask_hosts(struct facts *f, const struct settings *s, size_t records, uint16_t type, unsigned udp_size)
{
	static uint8_t out[PKT_TCP_MAX];
	struct hosts hosts = { &records, find_host };
	struct answer *a = NULL;
	struct pkt_query q;
	struct dns_name n;
	enum outcome o;
	uint8_t p[512];
	size_t prefix;

	assert_int_equal(pkt_query_read(p, query_bytes(p, "web.service.consul", type, udp_size), &q), 0);
	assert_non_null(settings_zone(s, q.name, q.name_len, &prefix));
	name_parse(q.name, prefix, type, &n);
	assert_int_equal(answer_render_with(f, &n, &q, s, &hosts, &o, &a), 0);
	assert_int_equal(o, OUTCOME_RECORDS);
	assert_true(decode(&d, out, answer_write(a, &q, s, false, &rng, out, PKT_UDP_MAX)));
	answer_free(a);
}

static void
test_hosts_when_cut(void **state)
{
	struct settings *s = world_settings("\"dns_config\":{\"service_ttl\":{\"*\":7000}}");
	struct facts *f = world_service("[" INSTANCE("a", "h.example", "\"Port\":1") "}," INSTANCE("b", "h.example", "\"Port\":2") "},"
	    INSTANCE("c", "h.example", "\"Port\":3") "}," INSTANCE("e", "h.example", "\"Port\":4") "}]");
	struct facts *one = world_service("[" INSTANCE("a", "h.example", "\"Port\":1") "}]");

	(void)state;
	ask_hosts(f, s, 4, TYPE_SRV, 1232);
	assert_int_equal(d.count[1], 4);
	assert_int_equal(count_owner(3, "h.example."), 4);
	/* Cut: the first record of a name is enough. */
	ask_hosts(f, s, 4, TYPE_SRV, 0);
	assert_int_equal(d.count[1], 3);
	assert_int_equal(count_owner(3, "h.example."), 1);
	/* What a CNAME leads to is a part of the answer: without all of it there is TC. */
	ask_hosts(one, s, HOST_RRS_MAX, TYPE_A, 0);
	assert_int_equal(d.count[1], 1 + HOST_RRS_PLAIN);
	assert_int_equal(d.rr[1].ttl, 7);
	assert_int_equal(d.flags & FLAG_TC, 0);
	ask_hosts(one, s, HOST_RRS_MAX, TYPE_A, 1232);
	assert_int_equal(d.count[1], 1 + HOST_RRS_MAX);
	ask_hosts(one, s, HOST_RRS_MAX, TYPE_A, 512);
	assert_int_equal(d.count[1], 1 + HOST_RRS_PLAIN);
	assert_int_equal(d.flags & FLAG_TC, FLAG_TC);
	facts_free(f);
	facts_free(one);
	settings_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags_are_combined), cmocka_unit_test(test_equal_addresses), cmocka_unit_test(test_other_datacenters), cmocka_unit_test(test_families),
		cmocka_unit_test(test_alt_domain), cmocka_unit_test(test_nested_domains),
		cmocka_unit_test(test_recursion_is_available), cmocka_unit_test(test_minimal_any), cmocka_unit_test(test_udp_fill),
		cmocka_unit_test(test_few_records_keep_their_extras), cmocka_unit_test(test_options_have_room),
		cmocka_unit_test(test_largest_datagram), cmocka_unit_test(test_zone_replies_fit),
		cmocka_unit_test(test_what_dns_cannot_hold), cmocka_unit_test(test_hosts_when_cut),
	};

	return cmocka_run_group_tests_name("dns_rules", tests, NULL, NULL);
}
