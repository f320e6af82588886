/*
 * cookie.h - the server's half of DNS cookies (RFC 7873, RFC 9018).
 *
 * A cookie binds the client's own one and its address to a secret of ours, so
 * that who has it cannot be somebody else's forged address. Stateless: its
 * time stands in it. Secrets are made of one master secret and change each
 * COOKIE_EPOCH_S; the cookie's own time says which it was made with, so those
 * of before stay good as long as they may be. Processes that share the master
 * secret know each other's cookies. No allocation, no clock.
 */
#ifndef DNSD_COOKIE_H
#define DNSD_COOKIE_H

#include "dnsd/packet.h"
#include "lib/sock.h"

enum {
	COOKIE_MASTER = 32,		/* bytes of the master secret */
	COOKIE_EPOCH_S = 24 * 3600,	/* a secret's time */
	COOKIE_OLD_S = 3600,		/* older ones are not good (RFC 9018, 4.3) */
	COOKIE_RENEW_S = 1800,		/* older ones are good, and replaced */
	COOKIE_AHEAD_S = 300,		/* what another process' clock may be ahead */
};

struct cookies {
	uint8_t master[COOKIE_MASTER];
	struct {
		uint64_t epoch;		/* plus one; 0: not made yet */
		uint8_t key[16];
	} secrets[2];
};

enum cookie_state {
	COOKIE_NONE,	/* the client has not sent any */
	COOKIE_ALONE,	/* its own alone: it begins */
	COOKIE_GOOD,	/* ours is behind it: it is who it says */
	COOKIE_BAD,
};

/*
 * The master secret of this process, random, made at the first call. Those
 * who are to share it are forked after that.
 */
const uint8_t *cookie_master(void);

void cookies_init(struct cookies *cs, const uint8_t master[COOKIE_MASTER]);

/* Look at a query's cookie. Unless there is none, what its reply has to carry is set. now: seconds since 1970. */
enum cookie_state cookie_check(struct cookies *cs, struct pkt_cookie *c, const union sock_addr *peer, uint32_t now);

#endif
