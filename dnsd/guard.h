/*
 * guard.h - who is sent how much: cookies and response-rate limiting.
 *
 * For a process. Costs two comparisons while clients send no cookies and
 * rate_limit is 0; the table of rate limiting is made when it is first needed.
 */
#ifndef DNSD_GUARD_H
#define DNSD_GUARD_H

#include "dnsd/serve.h"

struct guard;

/* settings is read through the pointer each time. NULL without memory. */
struct guard *guard_new(struct settings *const *settings);
void guard_free(struct guard *g);

/*
 * Look at a query's cookie, and set what its reply has to carry. 0: go on;
 * else the rcode of an answer without records: RCODE_BADCOOKIE when what the
 * client has sent is not good and answers are limited (RFC 7873, 5.2.4), or
 * -1 for RCODE_OK, when it has asked for nothing but a cookie (5.4).
 */
enum { GUARD_COOKIE_ONLY = -1 };
int guard_query(struct guard *g, struct pkt_query *q, const struct asker *who);

/*
 * A reply of len bytes to q, about to be sent from out: its length, that of a
 * truncated one now in its place, or 0: it is not sent.
 */
size_t guard_reply(struct guard *g, const struct pkt_query *q, const struct asker *who, uint8_t *out, size_t len);

/* The same before there is a reply, for what is handed on: true when it may be. False: *ret_len as above. */
bool guard_relay(struct guard *g, const struct pkt_query *q, const struct asker *who, uint8_t *out, size_t *ret_len);

#endif
