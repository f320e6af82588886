/*
 * net.h - addresses of members in the forms that sockets, texts and the wire
 * have, and the networks that members may come from. Pure.
 */
#ifndef GOSSIPD_NET_H
#define GOSSIPD_NET_H

#include <json-c/json_object.h>

#include "gossipd/wire/wire.h"
#include "lib/sock.h"

enum { CIDRS_MAX = 256 };

struct cidr {
	struct gossip_addr net;
	unsigned bits;
};

/* Networks; none: every address is allowed. */
struct cidrs {
	struct cidr *v;
	size_t n;
};

/* A list of "10.0.0.0/8" texts (NULL: none). -EINVAL with the entry in ret_bad (borrowed), -ELIMIT, -ENOMEM. */
int MUST_CHECK cidrs_load(struct cidrs *c, struct json_object *list, const char **ret_bad);
void cidrs_release(struct cidrs *c);
bool cidrs_allow(const struct cidrs *c, const struct gossip_addr *a);

/* -EINVAL: not an IP address. */
int MUST_CHECK addr_parse(const char *ip, uint16_t port, struct gossip_addr *ret);
/* -EINVAL: neither IPv4 nor IPv6. A mapped IPv4 address becomes one. */
int MUST_CHECK addr_from_sock(const union sock_addr *sa, struct gossip_addr *ret);
void addr_to_sock(const struct gossip_addr *a, union sock_addr *ret);
/* "1.2.3.4", "::1" ("" when there is none); and with the port, as sock_addr_format(). */
void addr_ip_text(const struct gossip_addr *a, char text[SOCK_ADDR_TEXT_MAX]);
void addr_text(const struct gossip_addr *a, char text[SOCK_ADDR_TEXT_MAX]);

#endif
