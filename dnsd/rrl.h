/*
 * rrl.h - response-rate limiting: equal answers to one network, counted.
 *
 * A forged question sends its answer to somebody who has not asked. Who has
 * asked forgets it when it comes too often, and asks again by TCP when it is
 * told so (every slip-th answer that is too many). One token bucket for each
 * network (/24 of IPv4, /56 of IPv6) and answer, in a table of fixed size: the
 * one that was quiet for longest of its row gives way. The hash is keyed, so
 * nobody can choose who shares a row. No clock.
 */
#ifndef DNSD_RRL_H
#define DNSD_RRL_H

#include "dnsd/packet.h"
#include "lib/sock.h"

enum { RRL_ROWS = 4096, RRL_WAYS = 8 };

struct rrl;

enum rrl_verdict { RRL_PASS, RRL_DROP, RRL_SLIP };

/* About RRL_ROWS * RRL_WAYS * 24 bytes. NULL without memory. */
struct rrl *rrl_new(void);
void rrl_free(struct rrl *r);

/*
 * One more answer to peer: kind is anything that tells answers of this name
 * and type apart, name may be NULL (equal to all without). rate: so many a
 * second, and as many at once; slip 0: what is too many is dropped always.
 */
enum rrl_verdict rrl_account(struct rrl *r, const union sock_addr *peer, unsigned kind, uint16_t type,
    const uint8_t *name, size_t name_len, uint32_t rate, uint32_t slip, uint64_t now_ms);

#endif
