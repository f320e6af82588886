/*
 * upstream.h - questions to the recursors, over UDP or TCP.
 *
 * Each question goes out under an id of its own from a source port of its
 * own, both random (RFC 5452, 9.2), and an answer counts only when address,
 * port, id and question fit. The recursors are tried in their order, or in a
 * random one, each for recursor_timeout; NOERROR and NXDOMAIN are final,
 * anything else lets the next one try.
 */
#ifndef DNSD_UPSTREAM_H
#define DNSD_UPSTREAM_H

#include "dnsd/settings.h"
#include "lib/loop.h"

enum {
	UPSTREAM_CALLS_MAX = 4096,	/* under way at once; half of the descriptors that we may have, if that is less */
	UPSTREAM_REPLY_MAX = PKT_TCP_MAX,
};

struct upstream;
struct upstream_call;

/* settings is read through the pointer each time. NULL without memory. */
struct upstream *upstream_new(struct loop *l, struct settings *const *settings);
/* Calls under way end without a word. */
void upstream_free(struct upstream *u);

/*
 * Ask what the query of n bytes asks, which is copied. done is called once,
 * never before this returns: with the reply under the query's own id,
 * borrowed for the call, or with NULL when no recursor had an answer.
 * NULL: too many are under way, or there is no memory or no recursor.
 */
struct upstream_call *upstream_ask(struct upstream *u, const uint8_t *query, size_t n, bool tcp,
    void (*done)(void *arg, const uint8_t *reply, size_t len), void *arg);

/* done is not called any more; NULL is none. */
void upstream_cancel(struct upstream_call *c);

size_t upstream_calls(const struct upstream *u);

#endif
