/* dns_cookie.c - cookies against RFC 9018's examples, their ages and forgeries; token buckets of rate limiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sodium.h>

#include "dnsd/cookie.h"
#include "dnsd/rrl.h"
#include "lib/str.h"

static void
hex(const char *text, uint8_t *out, size_t n)
{
	size_t len;

	assert_int_equal(sodium_hex2bin(out, n, text, strlen(text), NULL, &len, NULL), 0);
	assert_int_equal(len, n);
}

/* Appendix A of RFC 9018: client, what it sent, when, by which secret; what it got. */
static const struct {
	const char *ip, *sent, *secret, *server;
	uint32_t at;
	enum cookie_state state;
} examples[] = {
	{ "198.51.100.100", "2464c4abcf10c957", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf79f111f8130c3eee29480", 1559731985,
	    COOKIE_ALONE },
	{ "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "e5e973e5a6b2a43f48e7dc849e37bfcf",
	    "010000005cf7a871d4a564a1442aca77", 1559734385, COOKIE_GOOD },
	{ "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", "dd3bdf9344b678b185a6f5cb60fca715",
	    "010000005cf7c57926556bd0934c72f8", 1559741961, COOKIE_GOOD },
	{ "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", "445536bcd2513298075a5d379663c962",
	    "010000005cf7c609a6bb79d16625507a", 1559741961, COOKIE_BAD },
	{ "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c609a6bb79d16625507a", "445536bcd2513298075a5d379663c962",
	    "010000005cf7c609a6bb79d16625507a", 1559741961, COOKIE_GOOD },
};

static void
test_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
		uint64_t epoch = examples[i].at / COOKIE_EPOCH_S + 1;
		struct pkt_cookie c = { .len = (uint8_t)(strlen(examples[i].sent) / 2) };
		uint8_t server[PKT_COOKIE_SERVER];
		struct cookies cs = { 0 };
		union sock_addr peer;

		cs.secrets[epoch % 2].epoch = epoch;
		hex(examples[i].secret, cs.secrets[epoch % 2].key, 16);
		hex(examples[i].sent, c.data, c.len);
		hex(examples[i].server, server, sizeof(server));
		assert_int_equal(sock_addr_parse(examples[i].ip, 1, &peer), 0);
		assert_int_equal(cookie_check(&cs, &c, &peer, examples[i].at), examples[i].state);
		assert_true(c.reply);
		assert_memory_equal(c.server, server, sizeof(server));
	}
}

static void
test_life(void **state)
{
	static const uint8_t master[COOKIE_MASTER] = { 1 }, other[COOKIE_MASTER] = { 2 };
	struct pkt_cookie c = { .len = PKT_COOKIE_CLIENT, .data = "abcdefgh" }, back;
	struct cookies cs, same, strange;
	union sock_addr peer, neighbour;
	uint32_t t = 2000000000;

	(void)state;
	cookies_init(&cs, master);
	cookies_init(&same, master);
	cookies_init(&strange, other);
	assert_int_equal(sock_addr_parse("192.0.2.1", 5, &peer), 0);
	assert_int_equal(sock_addr_parse("192.0.2.2", 5, &neighbour), 0);
	assert_int_equal(cookie_check(&cs, &(struct pkt_cookie){ .len = 0 }, &peer, t), COOKIE_NONE);
	assert_int_equal(cookie_check(&cs, &c, &peer, t), COOKIE_ALONE);
	c.len = PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER;
	memcpy(c.data + PKT_COOKIE_CLIENT, c.server, PKT_COOKIE_SERVER);
	/* Another process with the same secret knows it; somebody else's address, secret or cookie does not do. */
	back = c;
	assert_int_equal(cookie_check(&same, &back, &peer, t + 1), COOKIE_GOOD);
	assert_memory_equal(back.server, c.data + PKT_COOKIE_CLIENT, PKT_COOKIE_SERVER);
	assert_int_equal(cookie_check(&cs, &back, &neighbour, t + 1), COOKIE_BAD);
	back = c;
	assert_int_equal(cookie_check(&strange, &back, &peer, t + 1), COOKIE_BAD);
	for (unsigned i = 0; i < c.len * 8u; i++) {
		back = c;
		back.data[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(cookie_check(&cs, &back, &peer, t + 1), COOKIE_BAD);
	}
	for (uint8_t len = 16; len <= PKT_COOKIE_MAX; len++) {
		back = c;
		back.len = len;
		assert_int_equal(cookie_check(&cs, &back, &peer, t + 1), len == 24 ? COOKIE_GOOD : COOKIE_BAD);
	}
	/* Its age: replaced after half an hour, no more good after one, and not long before it was made. */
	back = c;
	assert_int_equal(cookie_check(&cs, &back, &peer, t + COOKIE_RENEW_S + 1), COOKIE_GOOD);
	assert_memory_not_equal(back.server, c.data + PKT_COOKIE_CLIENT, PKT_COOKIE_SERVER);
	back = c;
	assert_int_equal(cookie_check(&cs, &back, &peer, t + COOKIE_OLD_S), COOKIE_GOOD);
	assert_int_equal(cookie_check(&cs, &back, &peer, t + COOKIE_OLD_S + 1), COOKIE_BAD);
	assert_int_equal(cookie_check(&cs, &back, &peer, t - COOKIE_AHEAD_S), COOKIE_GOOD);
	assert_int_equal(cookie_check(&cs, &back, &peer, t - COOKIE_AHEAD_S - 1), COOKIE_BAD);
}

/* The secret changes; a cookie of before stays good. */
static void
test_rollover(void **state)
{
	static const uint8_t master[COOKIE_MASTER] = { 1 };
	uint32_t change = 23148 * (uint32_t)COOKIE_EPOCH_S;
	struct pkt_cookie c = { .len = PKT_COOKIE_CLIENT, .data = "abcdefgh" };
	struct cookies cs;
	union sock_addr peer;

	(void)state;
	cookies_init(&cs, master);
	assert_int_equal(sock_addr_parse("2001:db8::1", 5, &peer), 0);
	for (unsigned i = 0; i < 5; i++) {
		c.len = PKT_COOKIE_CLIENT;
		assert_int_equal(cookie_check(&cs, &c, &peer, change - 10), COOKIE_ALONE);
		c.len = PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER;
		memcpy(c.data + PKT_COOKIE_CLIENT, c.server, PKT_COOKIE_SERVER);
		assert_int_equal(cookie_check(&cs, &c, &peer, change + 10), COOKIE_GOOD);
		assert_int_equal(cookie_check(&cs, &c, &peer, change + COOKIE_RENEW_S), COOKIE_GOOD);
		assert_int_not_equal(memcmp(cs.secrets[0].key, cs.secrets[1].key, 16), 0);
		change += COOKIE_EPOCH_S;
	}
	assert_ptr_equal(cookie_master(), cookie_master());
	assert_int_equal(sodium_is_zero(cookie_master(), COOKIE_MASTER), 0);
}

/* ---- rate limiting */

static void
test_buckets(void **state)
{
	struct rrl *r = rrl_new();
	union sock_addr a, same, other, a6, same6, other6;
	unsigned pass = 0, slip = 0, drop = 0;

	(void)state;
	assert_non_null(r);
	assert_int_equal(sock_addr_parse("192.0.2.1", 5, &a), 0);
	assert_int_equal(sock_addr_parse("192.0.2.200", 5, &same), 0);
	assert_int_equal(sock_addr_parse("192.0.3.1", 5, &other), 0);
	assert_int_equal(sock_addr_parse("2001:db8:0:100::1", 5, &a6), 0);
	assert_int_equal(sock_addr_parse("2001:db8:0:1ff::2", 5, &same6), 0);
	assert_int_equal(sock_addr_parse("2001:db8:0:200::1", 5, &other6), 0);
	for (unsigned i = 0; i < 100; i++) {
		switch (rrl_account(r, i % 2 ? &a : &same, 0, TYPE_A, (const uint8_t *)"\3web", 5, 10, 2, 1000)) {
		case RRL_PASS: pass++; break;
		case RRL_SLIP: slip++; break;
		case RRL_DROP: drop++; break;
		}
	}
	assert_int_equal(pass, 10);
	assert_int_equal(slip, 45);
	assert_int_equal(drop, 45);
	/* Another network, name, type or kind of answer is another account. */
	assert_int_equal(rrl_account(r, &other, 0, TYPE_A, (const uint8_t *)"\3web", 5, 10, 2, 1000), RRL_PASS);
	assert_int_equal(rrl_account(r, &a, 0, TYPE_A, (const uint8_t *)"\3wec", 5, 10, 2, 1000), RRL_PASS);
	assert_int_equal(rrl_account(r, &a, 0, TYPE_SRV, (const uint8_t *)"\3web", 5, 10, 2, 1000), RRL_PASS);
	assert_int_equal(rrl_account(r, &a, 1, TYPE_A, (const uint8_t *)"\3web", 5, 10, 2, 1000), RRL_PASS);
	/* Time fills it: 10 a second, never more than 10. */
	assert_int_equal(rrl_account(r, &a, 0, TYPE_A, (const uint8_t *)"\3web", 5, 10, 0, 1099), RRL_DROP);
	assert_int_equal(rrl_account(r, &a, 0, TYPE_A, (const uint8_t *)"\3web", 5, 10, 0, 1101), RRL_PASS);
	pass = 0;
	for (unsigned i = 0; i < 100; i++)
		pass += rrl_account(r, &a, 0, TYPE_A, (const uint8_t *)"\3web", 5, 10, 0, 1000000) == RRL_PASS;
	assert_int_equal(pass, 10);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rrl_account(r, i % 2 ? &a6 : &same6, 0, TYPE_A, NULL, 0, 2, 1, 1000), i < 2 ? RRL_PASS : RRL_SLIP);
	assert_int_equal(rrl_account(r, &other6, 0, TYPE_A, NULL, 0, 2, 1, 1000), RRL_PASS);
	rrl_free(r);
	rrl_free(NULL);
}

/* More accounts than there is room for: whoever is busy keeps being limited. */
static void
test_table_full(void **state)
{
	struct rrl *r = rrl_new();
	union sock_addr busy, a;
	unsigned pass = 0;

	(void)state;
	assert_non_null(r);
	assert_int_equal(sock_addr_parse("192.0.2.1", 5, &busy), 0);
	assert_int_equal(sock_addr_parse("10.0.0.1", 5, &a), 0);
	for (uint32_t i = 0; i < 200000; i++) {
		a.in.sin_addr.s_addr = htonl(0x0b000000 + (i << 8));
		(void)rrl_account(r, &a, 0, TYPE_A, NULL, 0, 5, 2, 1000 + i / 1000);
		if (i % 20 == 0)
			pass += rrl_account(r, &busy, 0, TYPE_A, NULL, 0, 5, 2, 1000 + i / 1000) == RRL_PASS;
	}
	assert_in_range(pass, 5, 12);
	rrl_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples), cmocka_unit_test(test_life), cmocka_unit_test(test_rollover),
		cmocka_unit_test(test_buckets), cmocka_unit_test(test_table_full),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dns_cookie", tests, NULL, NULL);
}
