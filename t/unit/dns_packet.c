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

/* ---- EDNS options */

/* A query whose OPT has these bytes of options. */
static int
with_options(const char *options, size_t len, struct pkt_query *q)
{
	static uint8_t p[1024];
	size_t n = query_bytes(p, "a.consul", TYPE_A, 4096);

	memcpy(p + n, options, len);
	p[n - 2] = (uint8_t)(len >> 8);
	p[n - 1] = (uint8_t)len;
	return pkt_query_read(p, n + len, q);
}

#define OPTIONS(s) (s), sizeof(s) - 1

static void
test_subnet_is_read(void **state)
{
	struct pkt_query q;

	(void)state;
	assert_int_equal(with_options(OPTIONS("\0\10\0\7\0\1\30\0\12\1\2"), &q), 0);
	assert_true(q.ecs.present);
	assert_int_equal(q.ecs.family, 1);
	assert_int_equal(q.ecs.source, 24);
	assert_int_equal(q.ecs.scope, 0);
	assert_memory_equal(q.ecs.addr, "\12\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	/* Bits behind the source length go. */
	assert_int_equal(with_options(OPTIONS("\0\10\0\7\0\1\23\0\12\1\377"), &q), 0);
	assert_memory_equal(q.ecs.addr, "\12\1\340\0", 4);
	assert_int_equal(with_options(OPTIONS("\0\10\0\14\0\2\100\0\40\1\15\270\0\1\0\2"), &q), 0);
	assert_int_equal(q.ecs.family, 2);
	assert_memory_equal(q.ecs.addr, "\40\1\15\270\0\1\0\2\0\0\0\0\0\0\0\0", 16);
	/* None: of our families, and of others. */
	assert_int_equal(with_options(OPTIONS("\0\10\0\4\0\1\0\0"), &q), 0);
	assert_true(q.ecs.present);
	assert_int_equal(with_options(OPTIONS("\0\10\0\4\0\0\0\0"), &q), 0);
	assert_int_equal(with_options(OPTIONS("\0\10\0\4\0\11\0\0"), &q), 0);
	assert_int_equal(q.ecs.family, 9);
	/* The next query has none of it. */
	assert_int_equal(with_options("", 0, &q), 0);
	assert_false(q.ecs.present);
}

static void
test_cookie_is_read(void **state)
{
	struct pkt_query q;

	(void)state;
	assert_int_equal(with_options(OPTIONS("\0\12\0\10abcdefgh"), &q), 0);
	assert_int_equal(q.cookie.len, 8);
	assert_false(q.cookie.reply);
	assert_memory_equal(q.cookie.data, "abcdefgh", 8);
	assert_int_equal(with_options(OPTIONS("\0\12\0\20abcdefgh12345678"), &q), 0);
	assert_int_equal(q.cookie.len, 16);
	assert_int_equal(with_options(OPTIONS("\0\12\0\50abcdefghijklmnopqrstuvwxyz01234567890123"), &q), 0);
	assert_int_equal(q.cookie.len, 40);
	/* Behind options that nobody knows; the first of two counts. */
	assert_int_equal(with_options(OPTIONS("\0\3\0\0\375\351\0\2xx\0\12\0\10abcdefgh\0\12\0\10hgfedcba"), &q), 0);
	assert_memory_equal(q.cookie.data, "abcdefgh", 8);
	assert_int_equal(with_options("", 0, &q), 0);
	assert_int_equal(q.cookie.len, 0);
}

static void
test_malformed_options(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
	} cases[] = {
		{ "a code without length", OPTIONS("\0\10\0") },
		{ "longer than OPT", OPTIONS("\0\10\0\7\0\1\30\0\12\1") },
		{ "a byte behind the last", OPTIONS("\0\10\0\7\0\1\30\0\12\1\2\0") },
		{ "a subnet cut in its family", OPTIONS("\0\10\0\1\0") },
		{ "a subnet without lengths", OPTIONS("\0\10\0\2\0\1") },
		{ "a subnet with a scope", OPTIONS("\0\10\0\7\0\1\30\30\12\1\2") },
		{ "too few bytes of address", OPTIONS("\0\10\0\6\0\1\30\0\12\1") },
		{ "too many bytes of address", OPTIONS("\0\10\0\10\0\1\30\0\12\1\2\0") },
		{ "33 bits of IPv4", OPTIONS("\0\10\0\11\0\1\41\0\12\1\2\3\0") },
		{ "129 bits of IPv6", OPTIONS("\0\10\0\25\0\2\201\0ABCDEFGHIJKLMNOPQ") },
		{ "bits of no family", OPTIONS("\0\10\0\5\0\0\10\0\12") },
		{ "bits of a family that nobody knows", OPTIONS("\0\10\0\5\0\3\10\0\12") },
		{ "an empty cookie", OPTIONS("\0\12\0\0") },
		{ "a cookie of 7", OPTIONS("\0\12\0\7abcdefg") },
		{ "a cookie of 9", OPTIONS("\0\12\0\11abcdefgh1") },
		{ "a cookie of 15", OPTIONS("\0\12\0\17abcdefgh1234567") },
		{ "a cookie of 41", OPTIONS("\0\12\0\51abcdefghijklmnopqrstuvwxyz012345678901234") },
	};
	struct pkt_query q;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (with_options(cases[i].bytes, cases[i].len, &q) != RCODE_FORMERR)
			fail_msg("%s", cases[i].what);
}

/* RFC 7873, 5.4: a cookie may be asked for without a question. */
static void
test_cookie_without_question(void **state)
{
	static const uint8_t p[] = "\x12\x34\1\0\0\0\0\0\0\0\0\1" "\0\0\x29\4\xd0\0\0\0\0\0\14" "\0\12\0\10" "abcdefgh";
	uint8_t out[512];
	struct pkt_query q;
	struct pkt_w w;

	(void)state;
	assert_int_equal(pkt_query_read(p, sizeof(p) - 1, &q), 0);
	assert_int_equal(q.question_len, 0);
	assert_int_equal(q.cookie.len, 8);
	q.cookie.reply = true;
	memcpy(q.cookie.server, "SERVERCOOKIE----", 16);
	pkt_begin(&w, out, sizeof(out), &q, true);
	assert_true(decode(&d, out, pkt_end(&w, &q, 0, RCODE_OK)));
	assert_int_equal(d.count[0], 0);
	assert_int_equal(d.nrrs, 1);
}

static void
test_options_are_written(void **state)
{
	uint8_t out[512];
	struct pkt_query q;
	struct pkt_w w;
	size_t n;

	(void)state;
	/* A client's cookie that is not to be answered is not. */
	assert_int_equal(with_options(OPTIONS("\0\10\0\7\0\1\23\0\12\1\377\0\12\0\20abcdefgh12345678"), &q), 0);
	assert_int_equal(pkt_opt_len(&q), PKT_OPT_LEN + 4 + 7);
	q.cookie.reply = true;
	q.ecs.scope = 16;
	memcpy(q.cookie.server, "SERVERCOOKIE----", 16);
	assert_int_equal(pkt_opt_len(&q), PKT_OPT_LEN + 4 + 7 + 4 + 24);
	pkt_begin(&w, out, sizeof(out), &q, true);
	n = pkt_end(&w, &q, 0, RCODE_BADCOOKIE);
	assert_int_equal(n, 12 + 10 + 4 + pkt_opt_len(&q));
	assert_true(decode(&d, out, n));
	assert_int_equal(d.flags & 15, 7);
	assert_int_equal(d.rr[0].type, TYPE_OPT);
	assert_int_equal(d.rr[0].ttl, 0x01000000);
	assert_int_equal(d.rr[0].rdlen, 39);
	assert_memory_equal(out + d.rr[0].at, "\0\10\0\7\0\1\23\20\12\1\340" "\0\12\0\30" "abcdefghSERVERCOOKIE----", 39);
	/* Not a byte less will do. */
	for (size_t cap = 12 + 14; cap < n; cap++) {
		pkt_begin(&w, out, cap, &q, true);
		assert_int_equal(pkt_end(&w, &q, 0, RCODE_OK), 0);
	}
	q.edns = false;
	assert_int_equal(pkt_opt_len(&q), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query_is_read), cmocka_unit_test(test_what_is_no_query),
		cmocka_unit_test(test_every_cut_is_refused), cmocka_unit_test(test_second_opt_is_refused),
		cmocka_unit_test(test_longest_name), cmocka_unit_test(test_reply_is_whole),
		cmocka_unit_test(test_case_is_kept), cmocka_unit_test(test_too_small_a_buffer),
		cmocka_unit_test(test_bad_version_goes_to_opt), cmocka_unit_test(test_subnet_is_read),
		cmocka_unit_test(test_cookie_is_read), cmocka_unit_test(test_malformed_options),
		cmocka_unit_test(test_cookie_without_question), cmocka_unit_test(test_options_are_written),
	};

	return cmocka_run_group_tests_name("dns_packet", tests, NULL, NULL);
}
