/*
 * reverse.h - names of addresses: x.x.x.x.in-addr.arpa (RFC 1035, 3.5) and
 * ip6.arpa (RFC 3596, 2.5). Pure.
 */
#ifndef DNSD_REVERSE_H
#define DNSD_REVERSE_H

#include <arpa/inet.h>

#include "dnsd/answer.h"

/* Who is at an address, as raftd says (catalog.reverse): the node, else a service; neither: nobody. */
struct reverse_facts {
	struct str node, service;	/* "" for none */
	char text[];
};

/* The address that a name in arpa (wire form, lower case) stands for, as text; -EINVAL when it is the name of none. */
int MUST_CHECK reverse_address(const uint8_t *name, size_t len, char out[INET6_ADDRSTRLEN]);

/* The payload of catalog.reverse. -EDECODE, -ENOMEM. */
int MUST_CHECK reverse_from_reply(struct str payload, struct reverse_facts **ret);

/* Nobody is there; NULL without memory. */
struct reverse_facts *reverse_nobody(void);

/*
 * The reply to q, a question about an address that somebody is at: a PTR
 * record for PTR and ANY, nothing for other types. Its length, 0: it did not
 * fit or the name is none that DNS can hold.
 */
size_t reverse_answer(const struct pkt_query *q, const struct settings *s, const struct reverse_facts *f, uint8_t *out, size_t cap);

#endif
