/*
 * relay.h - questions that are not ours: to the recursors, and their answers back.
 *
 * What the recursor said goes to the client as it is, under the client's own
 * id, cut (TC) to what the client takes over UDP. Options of EDNS that are
 * between two neighbours only (cookie, keepalive) are taken out on the way
 * and ours put in (RFC 6891, 6.2.6; RFC 7873, 5.2). Equal questions that are
 * under way share one call: no more than one chance for who guesses ids (RFC
 * 5452, 5), and a recursor that asks us in turn does not circle for ever.
 */
#ifndef DNSD_RELAY_H
#define DNSD_RELAY_H

#include "dnsd/serve.h"
#include "dnsd/upstream.h"

enum {
	RELAY_WAITING_MAX = 8192,	/* clients' questions under way */
	RELAY_QUERY_MAX = 4096,		/* bytes of one: over TCP it could have 64 KiB, and is kept while it is under way */
};

struct relay;

/* Borrows both; settings is read through the pointer each time. NULL without memory. */
struct relay *relay_new(struct settings *const *settings, struct upstream *u);
/* Questions under way end without a word. Before upstream_free(). */
void relay_free(struct relay *r);

/*
 * Relay a client's question: q as it was read, raw the n bytes that it was
 * read from, both copied; raw NULL when they are not at hand any more, then
 * the query is made from q. True: who->deliver is called once, never before
 * this returns, with the answer or SERVFAIL (RA set). False: there is no
 * recursor, no room or no memory, or the question is too long, and the caller
 * answers.
 */
bool relay_ask(struct relay *r, const struct asker *who, const struct pkt_query *q, const uint8_t *raw, size_t n);

/* This transport has gone: its questions are forgotten. */
void relay_forget(struct relay *r, const void *transport);

/* Clients' questions under way. */
size_t relay_waiting(const struct relay *r);

#endif
