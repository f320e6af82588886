/*
 * join.h - contacting the addresses of a gossip.join request, one after the
 * other.
 *
 * A node that stands alone knows one peer, itself: an address that leads to
 * our own port counts as contacted, every other one is an error that says
 * why. The request fails when none was contacted, with Consul's text.
 */
#ifndef GOSSIPD_JOIN_H
#define GOSSIPD_JOIN_H

#include "gossipd/gossipd.h"

/* Answers token, now or later. req is copied. */
void join_start(struct gossipd *g, struct rpc_token token, const struct join_request *req);

/* Nobody waits for this one any more. */
void join_cancel(struct gossipd *g, struct rpc_token token);

/* Drop all; their handles are closed. */
void join_release(struct gossipd *g);

/* "host", "host:port", "[v6]:port" or a bare v6 address. -EINVAL. host has room for hostlen bytes. */
int MUST_CHECK join_split(struct str addr, uint16_t default_port, char *host, size_t hostlen, uint16_t *ret_port);

#endif
