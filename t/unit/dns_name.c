/* dns_name.c - Consul's names: the grammar as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "dnsd/name.h"

static const char *
kind_name(enum name_kind k)
{
	static const char *const names[] = { "none", "service", "node", "query", "mesh", "addr", "addr-empty" };

	return names[k];
}

/* What a name (without its zone) says: "kind name tag dc". */
static const char *
said(const char *text, uint16_t type)
{
	static char out[1024];
	uint8_t wire[PKT_NAME_MAX + 1];
	struct dns_name n;
	int len = name_to_wire(str_from(text), wire);

	assert_true(len > 0);
	name_parse(wire, (size_t)len - 1, type, &n);
	if (n.kind == NAME_NONE || n.kind == NAME_ADDR_EMPTY)
		return kind_name(n.kind);
	if (n.kind == NAME_ADDR) {
		(void)snprintf(out, sizeof(out), "addr %u %u.%u.%u.%u", n.addr_len, n.addr[0], n.addr[1], n.addr[2], n.addr[3]);
		return out;
	}
	(void)snprintf(out, sizeof(out), "%s name=%.*s tag=%.*s dc=%.*s", kind_name(n.kind), STR_ARG(n.name), STR_ARG(n.tag),
	    STR_ARG(n.dc));
	return out;
}

static void
test_grammar(void **state)
{
	static const struct {
		const char *text;
		uint16_t type;
		const char *said;
	} cases[] = {
		{ "web.service", TYPE_A, "service name=web tag= dc=" },
		{ "web.service.dc2", TYPE_A, "service name=web tag= dc=dc2" },
		{ "web.service.dc2.x", TYPE_A, "none" },
		{ "service", TYPE_A, "none" },
		{ "service.dc2", TYPE_A, "none" },
		{ "rails.web.service", TYPE_SRV, "service name=web tag=rails dc=" },
		{ "x.y.many.service", TYPE_A, "service name=many tag=x.y dc=" },
		{ "_web._tcp.service", TYPE_SRV, "service name=web tag= dc=" },
		{ "_web._udp.service", TYPE_SRV, "service name=web tag=udp dc=" },
		{ "_web._rails.service.dc1", TYPE_SRV, "service name=web tag=rails dc=dc1" },
		{ "_web._tcp.service", TYPE_A, "service name=web tag= dc=" },
		{ "_web._tcp", TYPE_SRV, "service name=web tag= dc=" },
		{ "_web._tcp.dc1", TYPE_SRV, "service name=web tag= dc=dc1" },
		{ "_web._tcp", TYPE_A, "none" },
		{ "_web.tcp.service", TYPE_SRV, "service name=tcp tag=_web dc=" },
		{ "n1.node", TYPE_A, "node name=n1 tag= dc=" },
		{ "a.b.node.dc1", TYPE_A, "node name=a.b tag= dc=dc1" },
		{ "node", TYPE_A, "none" },
		{ "service.service", TYPE_A, "service name=service tag= dc=" },
		{ "node.service.dc1", TYPE_A, "service name=node tag= dc=dc1" },
		{ "web.service.node", TYPE_A, "node name=web.service tag= dc=" },
		{ "q1.query", TYPE_A, "query name=q1 tag= dc=" },
		{ "a.b.query.dc1", TYPE_A, "query name=a.b tag= dc=dc1" },
		/* Consul 1.16 */
		{ "web.service.dc2.dc", TYPE_A, "service name=web tag= dc=dc2" },
		{ "a.b.web.service.dc2.dc", TYPE_A, "service name=web tag=a.b dc=dc2" },
		{ "web.service.default.ap", TYPE_A, "service name=web tag= dc=" },
		{ "web.service.default.ns.default.ap.dc2.dc", TYPE_A, "service name=web tag= dc=dc2" },
		{ "web.service.dc2.dc.default.ns", TYPE_A, "service name=web tag= dc=dc2" },
		{ "web.service.other.ap", TYPE_A, "none" },
		{ "web.service.other.ns", TYPE_A, "none" },
		{ "web.service.x.peer", TYPE_A, "none" },
		{ "web.service.x.peer.dc2.dc", TYPE_A, "none" },
		{ "web.service.x.sg", TYPE_A, "none" },
		{ "web.service.dc1.dc.dc2.dc", TYPE_A, "none" },
		{ "web.service.default.ns.dc2", TYPE_A, "none" },
		{ "web.service.dc.dc", TYPE_A, "service name=web tag= dc=dc" },
		{ "web.service.dc", TYPE_A, "service name=web tag= dc=dc" },
		{ "_web._tcp.dc2.dc", TYPE_SRV, "service name=web tag= dc=dc2" },
		{ "_web._tcp.dc2.dc", TYPE_A, "none" },
		{ "n1.node.dc2.dc", TYPE_A, "node name=n1 tag= dc=dc2" },
		{ "n1.node.x.peer", TYPE_A, "none" },
		{ "q1.query.dc2.dc", TYPE_A, "query name=q1 tag= dc=dc2" },
		{ "_q1._tcp.query", TYPE_SRV, "query name=q1 tag= dc=" },
		{ "_a.b._tcp.query.dc1", TYPE_SRV, "query name=a.b tag= dc=dc1" },
		{ "_a.query", TYPE_SRV, "query name=_a tag= dc=" },
		{ "web.virtual", TYPE_A, "mesh name=web tag= dc=" },
		{ "web.virtual.x.peer", TYPE_A, "none" },
		{ "0a000102.addr.dc9.dc", TYPE_A, "addr 4 10.0.1.2" },
		{ "0a000102.addr.x.peer", TYPE_A, "addr 4 10.0.1.2" },
		{ "0a000102.addr.x.y", TYPE_A, "none" },
		/* Nothing but the underscores of RFC 2782. */
		{ "_._tcp.service", TYPE_SRV, "none" },
		{ "_web._.service", TYPE_SRV, "service name=web tag= dc=" },
		{ "_._tcp.query", TYPE_SRV, "none" },
		{ "_web", TYPE_SRV, "service name=_web tag= dc=" },
		{ "web.connect", TYPE_A, "mesh name=web tag= dc=" },
		{ "web.ingress", TYPE_A, "mesh name=web tag= dc=" },
		{ "0a000102.addr", TYPE_A, "addr 4 10.0.1.2" },
		{ "0a000102.addr.dc9", TYPE_AAAA, "addr 4 10.0.1.2" },
		{ "20010db8000000000000000000000001.addr", TYPE_A, "addr 16 32.1.13.184" },
		{ "0a0001.addr", TYPE_A, "addr-empty" },
		{ "0a00010203.addr", TYPE_A, "addr-empty" },
		{ "0a0001020.addr", TYPE_A, "none" },
		{ "20010db80000000000000000000000010.addr", TYPE_A, "none" },
		{ "20010db800000000000000000000000.addr", TYPE_A, "addr-empty" },
		{ "0a00010x.addr", TYPE_A, "none" },
		{ "a.0a000102.addr", TYPE_A, "none" },
		{ "web", TYPE_A, "none" },
		{ "web.services", TYPE_A, "none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (strcmp(said(cases[i].text, cases[i].type), cases[i].said) != 0)
			fail_msg("%s: %s", cases[i].text, said(cases[i].text, cases[i].type));
}

static void
test_apex_says_nothing(void **state)
{
	struct dns_name n;

	(void)state;
	name_parse((const uint8_t *)"", 0, TYPE_A, &n);
	assert_int_equal(n.kind, NAME_NONE);
}

/* The longest name of the smallest labels, and labels with bytes of any kind. */
static void
test_odd_labels(void **state)
{
	uint8_t wire[PKT_NAME_MAX + 1];
	struct dns_name n;

	(void)state;
	for (size_t i = 0; i < 246; i += 2) {
		wire[i] = 1;
		wire[i + 1] = 'a';
	}
	memcpy(wire + 246, "\7service", 8);
	name_parse(wire, 254, TYPE_A, &n);
	assert_int_equal(n.kind, NAME_SERVICE);
	assert_int_equal(n.name.len, 1);
	assert_int_equal(n.tag.len, 122 * 2 - 1);
	name_parse((const uint8_t *)"\3a\0b\4\377._\n\7service", 17, TYPE_A, &n);
	assert_int_equal(n.kind, NAME_SERVICE);
	assert_int_equal(n.name.len, 4);
	assert_memory_equal(n.name.p, "\377._\n", 4);
	assert_memory_equal(n.tag.p, "a\0b", 3);
	/* A keyword is a label of its own. */
	name_parse((const uint8_t *)"\13web.service", 12, TYPE_A, &n);
	assert_int_equal(n.kind, NAME_NONE);
}

static void
test_zone(void **state)
{
	struct zone z = { .len = 0 };
	size_t prefix = 99;

	(void)state;
	assert_false(name_in_zone((const uint8_t *)"\1a", 3, &z, &prefix));
	assert_int_equal(zone_set(&z, STR("Example.Consul.")), 0);
	assert_int_equal(z.len, 16);
	assert_memory_equal(z.name, "\7example\6consul", 16);
	assert_true(name_in_zone((const uint8_t *)"\1a\7example\6consul", 18, &z, &prefix));
	assert_int_equal(prefix, 2);
	assert_true(name_in_zone((const uint8_t *)"\7example\6consul", 16, &z, &prefix));
	assert_int_equal(prefix, 0);
	assert_false(name_in_zone((const uint8_t *)"\6consul", 8, &z, &prefix));
	/* The zone's bytes at the end, but inside of a label. */
	assert_false(name_in_zone((const uint8_t *)"\11a\7example\6consul", 18, &z, &prefix));
}

static void
test_text_to_wire(void **state)
{
	static const char *const bad[] = { ".a", "a..b", "a.." };
	uint8_t out[PKT_NAME_MAX + 1];
	char name[300];

	(void)state;
	assert_int_equal(name_to_wire(STR(""), out), 1);
	assert_int_equal(name_to_wire(STR("a.bc."), out), 6);
	assert_memory_equal(out, "\1a\2bc", 6);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(name_to_wire(str_from(bad[i]), out), -EINVAL);
	memset(name, 'a', sizeof(name));
	assert_int_equal(name_to_wire((struct str){ name, 63 }, out), 65);
	assert_int_equal(name_to_wire((struct str){ name, 64 }, out), -EINVAL);
	name[63] = name[127] = name[191] = '.';
	assert_int_equal(name_to_wire((struct str){ name, 253 }, out), 255);
	assert_int_equal(name_to_wire((struct str){ name, 254 }, out), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar), cmocka_unit_test(test_apex_says_nothing),
		cmocka_unit_test(test_odd_labels),
		cmocka_unit_test(test_zone), cmocka_unit_test(test_text_to_wire),
	};

	return cmocka_run_group_tests_name("dns_name", tests, NULL, NULL);
}
