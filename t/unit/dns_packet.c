/* dns_packet.c - queries read and replies written, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dnsd/packet.h"
#include "t/unit/dns_decode.h"
#include "t/unit/dns_query.h"

static struct decoded d;

static void
test_query_is_read(void **state)
{
	uint8_t p[512];
	struct pkt_query q;
	size_t n = query_bytes(p, "WeB.service.Consul", TYPE_SRV, 4096);

	(void)state;
	assert_int_equal(pkt_query_read(p, n, &q), 0);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, TYPE_SRV);
	assert_int_equal(q.class, CLASS_IN);
	assert_true(q.edns);
	assert_int_equal(q.udp_size, 4096);
	assert_int_equal(q.name_len, 20);
	assert_memory_equal(q.name, "\3web\7service\6consul", 20);
	assert_ptr_equal(q.question, p + 12);
	assert_int_equal(q.question_len, 24);
}

static void
test_what_is_no_query(void **state)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
		int rc;
	} cases[] = {
		{ "a response", 2, 0x81, -EBADMSG },
		{ "opcode STATUS", 2, 0x11, RCODE_NOTIMP },
		{ "opcode NOTIFY", 2, 0x21, RCODE_NOTIMP },
		{ "opcode UPDATE", 2, 0x29, RCODE_NOTIMP },
		{ "no question", 5, 0, RCODE_FORMERR },
		{ "two questions", 5, 2, RCODE_FORMERR },
		{ "256 questions", 4, 1, RCODE_FORMERR },
		{ "two answers", 7, 2, RCODE_FORMERR },
		{ "an answer that is not there", 7, 1, RCODE_FORMERR },
		{ "two authorities", 9, 2, RCODE_FORMERR },
		{ "three additionals", 11, 3, RCODE_FORMERR },
		{ "two additionals, one there", 11, 2, RCODE_FORMERR },
		{ "a label of 64", 12, 64, RCODE_FORMERR },
		{ "a pointer to itself", 12, 0xc0, RCODE_FORMERR },
		{ "a reserved label type", 12, 0x80, RCODE_FORMERR },
		{ "EDNS version 1", 12 + 20 + 4 + 6, 1, RCODE_BADVERS },
		{ "an OPT that is not at the root", 12 + 20 + 4, 1, RCODE_FORMERR },
		{ "an OPT longer than the packet", 12 + 20 + 4 + 10, 1, RCODE_FORMERR },
	};
	uint8_t p[512];
	struct pkt_query q;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = query_bytes(p, "web.service.consul", TYPE_A, 4096);

		p[cases[i].at] = cases[i].value;
		if (pkt_query_read(p, n, &q) != cases[i].rc)
			fail_msg("%s: %d", cases[i].what, pkt_query_read(p, n, &q));
	}
}

static void
test_every_cut_is_refused(void **state)
{
	uint8_t p[512];
	struct pkt_query q;
	size_t n = query_bytes(p, "web.service.consul", TYPE_A, 4096);

	(void)state;
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t copy[512];
		int rc;

		memcpy(copy, p, cut);
		rc = pkt_query_read(copy, cut, &q);
		assert_int_equal(rc, cut < 12 ? -EBADMSG : RCODE_FORMERR);
	}
}

static void
test_second_opt_is_refused(void **state)
{
	uint8_t p[512];
	struct pkt_query q;
	size_t n = query_bytes(p, "a.consul", TYPE_A, 4096);

	(void)state;
	memcpy(p + n, p + n - 11, 11);
	p[11] = 2;
	assert_int_equal(pkt_query_read(p, n + 11, &q), RCODE_FORMERR);
	/* Another kind of record beside it is passed over. */
	p[n + 2] = 250;
	assert_int_equal(pkt_query_read(p, n + 11, &q), 0);
	assert_true(q.edns);
}

static void
test_longest_name(void **state)
{
	uint8_t p[512];
	struct pkt_query q;
	char name[256];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[63] = name[127] = name[191] = '.';
	name[253] = 0;
	assert_int_equal(pkt_query_read(p, query_bytes(p, name, TYPE_A, 0), &q), 0);
	assert_int_equal(q.name_len, 255);
	/* One byte more in the last label. */
	p[12 + 192]++;
	assert_int_equal(pkt_query_read(p, 512, &q), RCODE_FORMERR);
}

static size_t
reply(uint8_t *out, size_t cap, bool compress)
{
	static const uint8_t target[] = "\2n1\4node\3dc1\6consul", zone[] = "\6consul", other[] = "\2n2\4node\3dc1\6consul";
	uint8_t p[512];
	struct pkt_query q;
	struct pkt_w w;
	size_t at;

	assert_int_equal(pkt_query_read(p, query_bytes(p, "Web.service.consul", TYPE_NS, 1400), &q), 0);
	pkt_begin(&w, out, cap, &q, compress);
	pkt_name(&w, zone);
	at = pkt_rr_begin(&w, SECTION_ANSWER, TYPE_NS, 7);
	pkt_name(&w, target);
	pkt_rr_end(&w, at);
	pkt_question_name(&w);
	at = pkt_rr_begin(&w, SECTION_ANSWER, TYPE_NS, 7);
	pkt_name(&w, other);
	pkt_rr_end(&w, at);
	pkt_name(&w, target);
	pkt_rr_tail(&w, SECTION_ADDITIONAL, (const uint8_t *)"\0\1\0\1\0\0\0\7\0\4\12\0\0\1", 14);
	return pkt_end(&w, &q, FLAG_AA, RCODE_OK);
}

static void
test_reply_is_whole(void **state)
{
	uint8_t out[512];
	size_t n[2];

	(void)state;
	for (int compress = 0; compress < 2; compress++) {
		n[compress] = reply(out, sizeof(out), compress);
		assert_true(decode(&d, out, n[compress]));
		assert_int_equal(d.flags, 0x8500);
		assert_string_equal(d.qname, "Web.service.consul.");
		assert_int_equal(d.nrrs, 4);
		assert_string_equal(d.rr[0].owner, "consul.");
		assert_string_equal(decode_data(&d, &d.rr[0]), "n1.node.dc1.consul.");
		assert_string_equal(d.rr[1].owner, "Web.service.consul.");
		assert_string_equal(decode_data(&d, &d.rr[1]), "n2.node.dc1.consul.");
		assert_string_equal(d.rr[2].owner, "n1.node.dc1.consul.");
		assert_string_equal(decode_data(&d, &d.rr[2]), "10.0.0.1");
		assert_int_equal(d.rr[3].type, TYPE_OPT);
		assert_int_equal(d.rr[3].class, 1400);
	}
	/* Header, question, two names in full but for "consul", pointers for the others. */
	assert_int_equal(n[1], 12 + 24 + (2 + 10 + 14) + (2 + 10 + 5) + (2 + 14) + 11);
	assert_true(n[0] > n[1]);
}

static void
test_case_is_kept(void **state)
{
	static const uint8_t upper[] = "\6CONSUL";
	uint8_t p[512], out[512];
	struct pkt_query q;
	struct pkt_w w;
	size_t at, n;

	(void)state;
	assert_int_equal(pkt_query_read(p, query_bytes(p, "a.consul", TYPE_NS, 0), &q), 0);
	pkt_begin(&w, out, sizeof(out), &q, true);
	pkt_name(&w, upper);
	at = pkt_rr_begin(&w, SECTION_ANSWER, TYPE_CNAME, 0);
	pkt_name(&w, upper);
	pkt_rr_end(&w, at);
	n = pkt_end(&w, &q, 0, RCODE_OK);
	assert_true(decode(&d, out, n));
	assert_string_equal(d.rr[0].owner, "CONSUL.");
	assert_int_equal(d.rr[0].rdlen, 2);
}

static void
test_too_small_a_buffer(void **state)
{
	uint8_t out[512];
	size_t whole = reply(out, sizeof(out), true);

	(void)state;
	for (size_t cap = 0; cap < whole; cap++)
		assert_int_equal(reply(out, cap, true), 0);
	assert_int_equal(reply(out, whole, true), whole);
}

static void
test_bad_version_goes_to_opt(void **state)
{
	uint8_t p[512], out[512];
	struct pkt_query q;
	struct pkt_w w;
	size_t n = query_bytes(p, "a.consul", TYPE_A, 4096);

	(void)state;
	p[n - 5] = 1;
	assert_int_equal(pkt_query_read(p, n, &q), RCODE_BADVERS);
	pkt_begin(&w, out, sizeof(out), &q, true);
	n = pkt_end(&w, &q, 0, RCODE_BADVERS);
	assert_true(decode(&d, out, n));
	assert_int_equal(d.flags & 15, 0);
	assert_int_equal(d.rr[0].ttl, 0x01000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query_is_read), cmocka_unit_test(test_what_is_no_query),
		cmocka_unit_test(test_every_cut_is_refused), cmocka_unit_test(test_second_opt_is_refused),
		cmocka_unit_test(test_longest_name), cmocka_unit_test(test_reply_is_whole),
		cmocka_unit_test(test_case_is_kept), cmocka_unit_test(test_too_small_a_buffer),
		cmocka_unit_test(test_bad_version_goes_to_opt),
	};

	return cmocka_run_group_tests_name("dns_packet", tests, NULL, NULL);
}
