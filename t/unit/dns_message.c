/* dns_message.c - messages that others wrote: names, records, CNAMEs followed, options taken out and put in; lies of all kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dnsd/message.h"
#include "t/unit/dns_decode.h"
#include "t/unit/dns_query.h"

/* A message under way; what is read is in memory of its own size, so that a byte too far is seen. */
static struct {
	uint8_t p[65536];
	size_t n;
} b;

static void
put(const void *p, size_t n)
{
	memcpy(b.p + b.n, p, n);
	b.n += n;
}

static void
put16(unsigned v)
{
	put((const uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static void
put_name(const char *text)
{
	uint8_t wire[PKT_NAME_MAX + 1];
	int n = name_to_wire(str_from(text), wire);

	assert_true(n > 0);
	put(wire, (size_t)n);
}

static void
begin(const char *name, unsigned type)
{
	b.n = 0;
	put16(0x1234);
	put16(0x8180);
	put16(1);
	put(b.p, 0);
	put("\0\0\0\0\0\0", 6);
	put_name(name);
	put16(type);
	put16(1);
}

static void
count(unsigned section)
{
	b.p[6 + 2 * section + 1]++;
}

static size_t
rr(unsigned section, const char *owner, unsigned type, const void *data, size_t len)
{
	size_t at;

	count(section);
	put_name(owner);
	put16(type);
	put16(1);
	put("\0\0\0\x3c", 4);
	put16((unsigned)len);
	at = b.n;
	put(data, len);
	return at;
}

static void
rr_name(const char *owner, unsigned type, const char *to)
{
	uint8_t wire[PKT_NAME_MAX + 1];

	rr(0, owner, type, wire, (size_t)name_to_wire(str_from(to), wire));
}

static const uint8_t *
own_copy(size_t n)
{
	static uint8_t *copy;

	free(copy);
	copy = malloc(n > 0 ? n : 1);
	assert_non_null(copy);
	memcpy(copy, b.p, n);
	return copy;
}

static int
follow(const char *name, uint16_t type, struct msg_rr *out, size_t max)
{
	uint8_t wire[PKT_NAME_MAX + 1];
	struct msg m;

	assert_true(name_to_wire(str_from(name), wire) > 0);
	assert_int_equal(msg_read(&m, own_copy(b.n), b.n), 0);
	return msg_follow(&m, wire, type, out, max);
}

static void
test_follow(void **state)
{
	struct msg_rr out[8];

	(void)state;
	begin("a.example", TYPE_A);
	/* Out of order, and with what does not belong to it. */
	rr(0, "c.example", TYPE_A, "\1\2\3\4", 4);
	rr(0, "other.example", TYPE_A, "\6\6\6\6", 4);
	rr_name("B.example", TYPE_CNAME, "C.Example");
	rr(0, "c.example", TYPE_AAAA, "0123456789abcdef", 16);
	rr_name("A.EXAMPLE", TYPE_CNAME, "b.example");
	rr(0, "c.example", TYPE_A, "\1\2\3\5", 4);
	assert_int_equal(follow("a.example", TYPE_A, out, 8), 4);
	assert_int_equal(out[0].type, TYPE_CNAME);
	assert_int_equal(out[1].type, TYPE_CNAME);
	assert_int_equal(out[2].type, TYPE_A);
	assert_memory_equal(b.p + out[2].data, "\1\2\3\4", 4);
	assert_memory_equal(b.p + out[3].data, "\1\2\3\5", 4);
	assert_int_equal(out[3].ttl, 60);
	assert_int_equal(follow("a.example", TYPE_AAAA, out, 8), 3);
	assert_int_equal(follow("a.example", TYPE_ANY, out, 8), 5);
	assert_int_equal(follow("a.example", TYPE_ANY, out, 3), 3);
	assert_int_equal(follow("c.example", TYPE_A, out, 8), 2);
	assert_int_equal(follow("nobody.example", TYPE_A, out, 8), 0);
	assert_int_equal(follow("a.example", TYPE_A, out, 0), 0);
}

static void
test_follow_hostile(void **state)
{
	struct msg_rr out[8];
	char from[16], to[16];

	(void)state;
	begin("a.example", TYPE_A);
	rr_name("a.example", TYPE_CNAME, "b.example");
	rr_name("b.example", TYPE_CNAME, "a.example");
	assert_int_equal(follow("a.example", TYPE_A, out, 8), 0);
	begin("n0", TYPE_A);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(from, sizeof(from), "n%u", i);
		(void)snprintf(to, sizeof(to), "n%u", i + 1);
		rr_name(from, TYPE_CNAME, to);
	}
	rr(0, "n40", TYPE_A, "\1\2\3\4", 4);
	rr(0, "n16", TYPE_AAAA, "0123456789abcdef", 16);
	assert_int_equal(follow("n0", TYPE_A, out, 8), 0);
	assert_int_equal(follow("n30", TYPE_A, out, 8), 8);
	assert_int_equal(follow("n0", TYPE_AAAA, out, 8), 8);
	/* Addresses of a wrong length, in another class or section, and names that do not fill their data, are passed over. */
	begin("a.example", TYPE_A);
	rr(0, "a.example", TYPE_A, "\1\2\3", 3);
	rr(0, "a.example", TYPE_AAAA, "\1\2\3\4", 4);
	rr(0, "a.example", TYPE_CNAME, "\1b\0x", 4);
	rr(0, "a.example", TYPE_CNAME, "\3b", 2);
	rr(1, "a.example", TYPE_A, "\1\2\3\4", 4);
	rr(2, "a.example", TYPE_A, "\1\2\3\4", 4);
	assert_int_equal(follow("a.example", TYPE_ANY, out, 8), 0);
	begin("a.example", TYPE_A);
	b.p[rr(0, "a.example", TYPE_A, "\1\2\3\4", 4) - 7] = 3;
	assert_int_equal(follow("a.example", TYPE_A, out, 8), 0);
}

static void
test_names(void **state)
{
	static const struct {
		const char *bytes;
		size_t n, len;
	} all[] = {
		{ "\1a\0", 3, 3 }, { "\0", 1, 1 }, { "", 0, 0 }, { "\1", 1, 0 }, { "\1a", 2, 0 }, { "\x40", 1, 0 }, { "\x80\0", 2, 0 },
		{ "\xc0", 1, 0 },
		/* a name begins at 12: to itself, into the header, forwards, to the one before it */
		{ "\xc0\x0c", 2, 0 }, { "\xc0\x00", 2, 0 }, { "\xc0\x0e\0", 3, 0 }, { "\1a\xc0\x0c", 4, 0 },
	};
	uint8_t out[PKT_NAME_MAX + 1];
	struct msg m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		memset(b.p, 0, PKT_HEADER);
		memcpy(b.p + PKT_HEADER, all[i].bytes, all[i].n);
		assert_int_equal(msg_read(&m, own_copy(PKT_HEADER + all[i].n), PKT_HEADER + all[i].n), 0);
		assert_int_equal(msg_name(&m, PKT_HEADER, out), all[i].len);
	}
	/* 127 labels of one byte are the most that a name holds; one more is too many, also by a pointer. */
	memset(b.p, 0, PKT_HEADER);
	b.n = PKT_HEADER + 2;
	memcpy(b.p + PKT_HEADER, "\1x", 2);
	for (unsigned i = 0; i < 127; i++)
		put("\1y", 2);
	put("", 1);
	assert_int_equal(msg_read(&m, own_copy(b.n), b.n), 0);
	assert_int_equal(msg_name(&m, PKT_HEADER + 2, out), 255);
	assert_int_equal(msg_name(&m, PKT_HEADER, out), 0);
	/* A ladder of pointers, each to the one before. */
	memset(b.p, 0, PKT_HEADER + 1);
	b.n = PKT_HEADER + 1;
	for (unsigned i = 0; i < 400; i++)
		put16(0xc000 | (i == 0 ? PKT_HEADER : (unsigned)b.n - 2));
	assert_int_equal(msg_read(&m, own_copy(b.n), b.n), 0);
	assert_int_equal(msg_name(&m, PKT_HEADER + 1, out), 1);
	assert_int_equal(msg_name(&m, PKT_HEADER + 1 + 2 * (MSG_POINTERS_MAX - 1), out), 1);
	assert_int_equal(msg_name(&m, PKT_HEADER + 1 + (size_t)2 * MSG_POINTERS_MAX, out), 0);
}

static void
test_counts(void **state)
{
	struct msg m;

	(void)state;
	begin("a.example", TYPE_A);
	assert_int_equal(msg_read(&m, own_copy(b.n), b.n), 0);
	assert_int_equal(msg_end(&m), b.n);
	assert_int_equal(m.question_end, b.n);
	for (unsigned i = 0; i < 4; i++) {
		b.p[4 + 2 * i] ^= 1;
		if (msg_read(&m, own_copy(b.n), b.n) == 0)
			assert_int_equal(msg_end(&m), 0);
		b.p[4 + 2 * i] ^= 1;
	}
	/* 64 KiB of questions */
	memset(b.p, 0, sizeof(b.p));
	b.p[4] = b.p[5] = 0xff;
	assert_int_equal(msg_read(&m, own_copy(PKT_TCP_MAX), PKT_TCP_MAX), -EBADMSG);
	b.p[4] = 0x33;
	b.p[5] = 0;
	assert_int_equal(msg_read(&m, own_copy(PKT_TCP_MAX), PKT_TCP_MAX), 0);
	assert_int_equal(m.question_end, PKT_HEADER + 0x3300 * 5);
	for (size_t n = 0; n < PKT_HEADER; n++)
		assert_int_equal(msg_read(&m, own_copy(n), n), -EBADMSG);
}

/* ---- options */

static void
opt(const char *options, size_t n)
{
	count(2);
	put("\0\0\x29\x04\xd0\0\0\0\0", 9);
	put16((unsigned)n);
	put(options, n);
}

static void
test_options(void **state)
{
	static const char cookie[] = "\0\x0a\0\10abcdefgh", subnet[] = "\0\x08\0\7\0\1\x18\0\1\2\3", keep[] = "\0\x0b\0\0";
	static struct decoded d;
	char all[64];
	struct msg m;
	size_t n, plain;

	(void)state;
	begin("a.example", TYPE_A);
	assert_int_equal(msg_strip_options(b.p, b.n), b.n);
	plain = b.n;
	opt("", 0);
	assert_int_equal(msg_strip_options(b.p, b.n), b.n);
	b.n = plain;
	b.p[11] = 0;
	memcpy(all, cookie, 12);
	memcpy(all + 12, subnet, 11);
	memcpy(all + 23, keep, 4);
	opt(all, 27);
	n = msg_strip_options(b.p, b.n);
	assert_int_equal(n, plain + 11 + 11);
	assert_memory_equal(b.p + plain + 11, subnet, 11);
	assert_true(decode(&d, b.p, n));
	/* ... and in again */
	assert_int_equal(msg_add_option(b.p, n, sizeof(b.p), 1232, OPTION_COOKIE, (const uint8_t *)"abcdefgh", 8), n + 12);
	assert_true(decode(&d, b.p, n + 12));
	assert_memory_equal(b.p + n, cookie, 12);
	/* no room */
	assert_int_equal(msg_add_option(b.p, n + 12, n + 14, 1232, OPTION_KEEPALIVE, (const uint8_t *)"ab", 2), n + 12);
	/* A message without OPT gets one. */
	begin("a.example", TYPE_A);
	rr(0, "a.example", TYPE_A, "\1\2\3\4", 4);
	n = msg_add_option(b.p, b.n, sizeof(b.p), 1232, OPTION_COOKIE, (const uint8_t *)"abcdefgh", 8);
	assert_int_equal(n, b.n + 11 + 12);
	assert_true(decode(&d, b.p, n));
	assert_int_equal(d.rr[1].type, TYPE_OPT);
	assert_int_equal(d.rr[1].class, 1232);
	assert_int_equal(msg_read(&m, b.p, n), 0);
	assert_int_equal(msg_rcode(&m), 0);
	/* One that is not the last record, and lengths that lie, are left alone. */
	begin("a.example", TYPE_A);
	opt(cookie, 12);
	rr(2, "a.example", TYPE_A, "\1\2\3\4", 4);
	assert_int_equal(msg_strip_options(b.p, b.n), b.n);
	assert_int_equal(msg_add_option(b.p, b.n, sizeof(b.p), 1232, OPTION_COOKIE, (const uint8_t *)"x", 1), b.n);
	begin("a.example", TYPE_A);
	opt("\0\x0a\0\77ab", 6);
	assert_int_equal(msg_strip_options(b.p, b.n), b.n);
	begin("a.example", TYPE_A);
	put("junk", 4);
	assert_int_equal(msg_add_option(b.p, b.n, sizeof(b.p), 1232, OPTION_COOKIE, (const uint8_t *)"x", 1), b.n);
	begin("a.example", TYPE_A);
	count(2);
	put("\0\0\x29\x04\xd0\1\0\0\0\0\0", 11);
	b.p[3] = 7;
	assert_int_equal(msg_read(&m, b.p, b.n), 0);
	assert_int_equal(msg_rcode(&m), 16 + 7);
}

/* Every byte set to every value, and every length: read to the end, never beyond. */
static void
test_every_byte(void **state)
{
	static uint8_t whole[512];
	struct msg_rr out[8];
	struct msg m;
	size_t n;

	(void)state;
	begin("a.example", TYPE_A);
	rr_name("a.example", TYPE_CNAME, "b.example");
	count(0);
	put("\xc0\x0c\0\5\0\1\0\0\0\1\0\4\1c\xc0\x0e", 16);
	rr(0, "b.example", TYPE_A, "\1\2\3\4", 4);
	opt("\0\x0a\0\10abcdefgh", 12);
	n = b.n;
	memcpy(whole, b.p, n);
	for (size_t i = 0; i < n; i++) {
		for (unsigned v = 0; v < 256; v++) {
			uint8_t *copy = malloc(n);

			assert_non_null(copy);
			memcpy(copy, whole, n);
			copy[i] = (uint8_t)v;
			if (msg_read(&m, copy, n) == 0) {
				assert_in_range(msg_follow(&m, whole + PKT_HEADER, TYPE_ANY, out, 8) + 4096, 0, 4096 + 8);
				assert_in_range(msg_end(&m), 0, n);
				assert_in_range(msg_rcode(&m), 0, 4095);
			}
			assert_in_range(msg_strip_options(copy, n), 0, n);
			free(copy);
		}
	}
	for (size_t len = 0; len < n; len++) {
		memcpy(b.p, whole, n);
		if (msg_read(&m, own_copy(len), len) == 0)
			assert_int_equal(msg_end(&m), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_follow), cmocka_unit_test(test_follow_hostile), cmocka_unit_test(test_names),
		cmocka_unit_test(test_counts), cmocka_unit_test(test_options), cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests_name("dns_message", tests, NULL, NULL);
}
