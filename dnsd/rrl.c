/* rrl.c - response-rate limiting: equal answers to one network, counted. */
#include "dnsd/rrl.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct account {
	uint64_t key;			/* 0: nobody's */
	uint64_t ms;			/* when tokens were counted */
	float tokens;
	uint32_t over;			/* answers that were too many, since the last that was not */
};

struct rrl {
	uint8_t secret[crypto_shorthash_KEYBYTES];
	struct account rows[RRL_ROWS][RRL_WAYS];
};

struct rrl *
rrl_new(void)
{
	struct rrl *r = calloc(1, sizeof(*r));

	if (r != NULL)
		randombytes_buf(r->secret, sizeof(r->secret));
	return r;
}

void
rrl_free(struct rrl *r)
{
	free(r);
}

/* The network as bytes: family, then what of the address belongs to it. */
static size_t
put_network(uint8_t *out, const union sock_addr *peer)
{
	const struct in6_addr *a = &peer->in6.sin6_addr;

	if (peer->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(a)) {
		out[0] = 6;
		memcpy(out + 1, a->s6_addr, 7);
		return 8;
	}
	out[0] = 4;
	memcpy(out + 1, peer->sa.sa_family == AF_INET6 ? a->s6_addr + 12 : (const uint8_t *)&peer->in.sin_addr, 3);
	return 4;
}

static uint64_t
key_of(const struct rrl *r, const union sock_addr *peer, unsigned kind, uint16_t type, const uint8_t *name, size_t name_len)
{
	uint8_t in[16 + PKT_NAME_MAX], out[crypto_shorthash_BYTES];
	size_t n = put_network(in, peer);
	uint64_t key;

	in[n++] = (uint8_t)kind;
	in[n++] = (uint8_t)(type >> 8);
	in[n++] = (uint8_t)type;
	if (name != NULL && name_len <= PKT_NAME_MAX) {
		memcpy(in + n, name, name_len);
		n += name_len;
	}
	(void)crypto_shorthash(out, in, n, r->secret);
	memcpy(&key, out, sizeof(key));
	return key != 0 ? key : 1;
}

/* The account of key, or the one of its row that gives way to it. */
static struct account *
find(struct rrl *r, uint64_t key, uint32_t rate, uint64_t now_ms)
{
	struct account *row = r->rows[key % RRL_ROWS], *oldest = row;

	for (unsigned i = 0; i < RRL_WAYS; i++) {
		if (row[i].key == key)
			return &row[i];
		if (row[i].ms < oldest->ms)
			oldest = &row[i];
	}
	*oldest = (struct account){ .key = key, .ms = now_ms, .tokens = (float)rate };
	return oldest;
}

enum rrl_verdict
rrl_account(struct rrl *r, const union sock_addr *peer, unsigned kind, uint16_t type, const uint8_t *name, size_t name_len,
    uint32_t rate, uint32_t slip, uint64_t now_ms)
{
	struct account *a = find(r, key_of(r, peer, kind, type, name, name_len), rate, now_ms);
	uint64_t passed = now_ms > a->ms ? now_ms - a->ms : 0;

	a->tokens += (float)passed * (float)rate / 1000;
	if (a->tokens > (float)rate)
		a->tokens = (float)rate;
	a->ms = now_ms;
	if (a->tokens >= 1) {
		a->tokens -= 1;
		a->over = 0;
		return RRL_PASS;
	}
	a->over++;
	return slip > 0 && a->over % slip == 0 ? RRL_SLIP : RRL_DROP;
}
