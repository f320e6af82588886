/*
 * host.h - what a recursor says of a host name: the way to its addresses.
 *
 * Pure: a query's bytes out, a reply's bytes in.
 */
#ifndef DNSD_HOST_H
#define DNSD_HOST_H

#include "dnsd/answer.h"

enum {
	HOST_QUERY_MAX = PKT_HEADER + PKT_QUESTION_MAX + PKT_OPT_LEN,
	HOST_UDP_SIZE = 1232,			/* taken of a recursor without fragments on any usual path */
	HOST_TTL_MIN_MS = 1000,			/* believed for its TTL, but at least and at most so long */
	HOST_TTL_MAX_MS = 3600 * 1000,
	HOST_NONE_MS = 5000,			/* that there are no addresses is believed */
	HOST_FAILED_MS = 1000,			/* when no recursor answers: until one is asked again */
	HOST_STALE_MS = 24 * 3600 * 1000,	/* and what was known before is told for so long ... */
	HOST_RECHECK_MS = 30 * 1000,		/* ... without another try each time (RFC 8767, 5) */
};

struct host_facts {
	uint32_t ttl_ms;	/* to be believed */
	size_t n;		/* 0: there are no addresses */
	struct host_rr rr[];	/* in the order in which names lead to each other, addresses last */
};

/* The question for addresses (TYPE_A or TYPE_AAAA) of a name in wire form; its length. */
size_t host_query(const uint8_t *name, uint16_t type, uint8_t out[HOST_QUERY_MAX]);

/* The reply to it. -EBADMSG for one that says nothing about the name (errors included), -ENOMEM. */
int MUST_CHECK host_from_reply(const uint8_t *p, size_t n, const uint8_t *name, uint16_t type, struct host_facts **ret);

/* Nothing is known; NULL without memory. */
struct host_facts *host_unknown(uint32_t ttl_ms);

#endif
