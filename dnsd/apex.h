/*
 * apex.h - replies that need no view of their own: what the domain says of
 * itself (SOA, NS), addresses written in names, and refusals. Pure.
 *
 * Each writes into out and returns the reply's length. cap is what the client
 * takes (answer_max()), 512 at least: what does not fit is left out.
 */
#ifndef DNSD_APEX_H
#define DNSD_APEX_H

#include "dnsd/answer.h"

enum { APEX_NS_MAX = 3 };	/* name servers told of */

/* NXDOMAIN, or NOERROR without data, with the SOA that says how long to believe it. now: unix time, the serial. */
size_t apex_negative(const struct pkt_query *q, const struct settings *s, uint32_t now, enum pkt_rcode rcode,
    uint8_t *out, size_t cap);

/* An rcode and nothing else. flags: FLAG_AA, with which RA goes when there are recursors, or FLAG_RA alone. */
size_t apex_error(const struct pkt_query *q, const struct settings *s, unsigned flags, enum pkt_rcode rcode,
    uint8_t *out, size_t cap);

/* The answer to SOA or NS; servers: the instances of service "consul". */
size_t apex_answer(const struct pkt_query *q, const struct settings *s, const struct facts *servers, uint32_t now,
    uint64_t *rng, uint8_t *out, size_t cap);

/* The address that a name spells, for NAME_ADDR. */
size_t apex_addr(const struct pkt_query *q, const struct settings *s, const struct dns_name *n, uint8_t *out, size_t cap);

#endif
