/* cookie.c - the server's half of DNS cookies. */
#include "dnsd/cookie.h"

#include <sodium.h>
#include <string.h>

/* version, three bytes of nothing, the time, then the hash (RFC 9018, 4) */
enum { VERSION = 1, TIME_AT = 4, HASH_AT = 8 };

const uint8_t *
cookie_master(void)
{
	static uint8_t master[COOKIE_MASTER];
	static bool made;

	if (!made)
		randombytes_buf(master, sizeof(master));
	made = true;
	return master;
}

void
cookies_init(struct cookies *cs, const uint8_t master[COOKIE_MASTER])
{
	memset(cs, 0, sizeof(*cs));
	memcpy(cs->master, master, COOKIE_MASTER);
}

/* The secret of a time. */
static const uint8_t *
secret(struct cookies *cs, uint32_t at)
{
	uint64_t epoch = at / COOKIE_EPOCH_S + 1;
	uint8_t *key = cs->secrets[epoch % 2].key;

	_Static_assert(sizeof(cs->secrets[0].key) == crypto_shorthash_KEYBYTES, "a key of SipHash");
	_Static_assert(COOKIE_MASTER == crypto_kdf_KEYBYTES, "a key to derive from");
	if (cs->secrets[epoch % 2].epoch != epoch) {
		(void)crypto_kdf_derive_from_key(key, sizeof(cs->secrets[0].key), epoch, "dnscooki", cs->master);
		cs->secrets[epoch % 2].epoch = epoch;
	}
	return key;
}

/* The hash over the client's cookie, our bytes before it and the client's address (RFC 9018, 4.4). */
static void
hash(struct cookies *cs, const uint8_t *client, const uint8_t *server, uint32_t at, const union sock_addr *peer,
    uint8_t out[crypto_shorthash_BYTES])
{
	uint8_t in[PKT_COOKIE_CLIENT + HASH_AT + 16];
	size_t n = PKT_COOKIE_CLIENT + HASH_AT;

	memcpy(in, client, PKT_COOKIE_CLIENT);
	memcpy(in + PKT_COOKIE_CLIENT, server, HASH_AT);
	if (peer->sa.sa_family == AF_INET6) {
		memcpy(in + n, &peer->in6.sin6_addr, 16);
		n += 16;
	} else {
		memcpy(in + n, &peer->in.sin_addr, 4);
		n += 4;
	}
	(void)crypto_shorthash(out, in, n, secret(cs, at));
}

static uint32_t
time_of(const uint8_t *server)
{
	const uint8_t *p = server + TIME_AT;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
make(struct cookies *cs, struct pkt_cookie *c, const union sock_addr *peer, uint32_t now)
{
	uint8_t *s = c->server;

	memset(s, 0, HASH_AT);
	s[0] = VERSION;
	s[TIME_AT] = (uint8_t)(now >> 24);
	s[TIME_AT + 1] = (uint8_t)(now >> 16);
	s[TIME_AT + 2] = (uint8_t)(now >> 8);
	s[TIME_AT + 3] = (uint8_t)now;
	hash(cs, c->data, s, now, peer, s + HASH_AT);
}

/* Whether the client's cookie is one of ours, and its age in seconds, less than 0 when it is ahead. */
static bool
ours(struct cookies *cs, const struct pkt_cookie *c, const union sock_addr *peer, uint32_t now, int32_t *ret_age)
{
	const uint8_t *s = c->data + PKT_COOKIE_CLIENT;
	uint8_t is[crypto_shorthash_BYTES];

	if (c->len != PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER || s[0] != VERSION)
		return false;
	/* Serial arithmetic: the time goes round in 2106 (RFC 9018, 4.3). */
	*ret_age = (int32_t)(now - time_of(s));
	if (*ret_age > COOKIE_OLD_S || *ret_age < -COOKIE_AHEAD_S)
		return false;
	hash(cs, c->data, s, time_of(s), peer, is);
	return sodium_memcmp(is, s + HASH_AT, sizeof(is)) == 0;
}

enum cookie_state
cookie_check(struct cookies *cs, struct pkt_cookie *c, const union sock_addr *peer, uint32_t now)
{
	int32_t age = 0;
	bool good;

	if (c->len == 0)
		return COOKIE_NONE;
	c->reply = true;
	good = ours(cs, c, peer, now, &age);
	if (good && age <= COOKIE_RENEW_S && age >= 0)
		memcpy(c->server, c->data + PKT_COOKIE_CLIENT, PKT_COOKIE_SERVER);
	else
		make(cs, c, peer, now);
	if (good)
		return COOKIE_GOOD;
	return c->len == PKT_COOKIE_CLIENT ? COOKIE_ALONE : COOKIE_BAD;
}
