/*
 * resolve.h - a question's way: zone, kind of name, views, answer.
 *
 * Everything that an answer needs is a view. One that is not there yet is
 * waited for, and the question resolved again from its start when it is.
 */
#ifndef DNSD_RESOLVE_H
#define DNSD_RESOLVE_H

#include "dnsd/guard.h"
#include "dnsd/relay.h"
#include "dnsd/serve.h"
#include "dnsd/view.h"

enum {
	RESOLVE_DEPTH = 3,		/* names of ours that lead to each other (CNAME) */
	RESOLVE_ROUNDS_MAX = 16,	/* times that one question is resolved again */
};

/* What answers are made from; settings is read through the pointer each time. */
struct resolver {
	struct loop *loop;
	struct settings *const *settings;
	struct views *views;
	struct guard *guard;
	struct relay *relay;
	struct zone arpa;
	uint64_t rng;
};

/* One question on its way. */
struct turn {
	struct resolver *r;
	struct pkt_query *q;
	bool tcp;
	const struct asker *who;
	const uint8_t *raw;		/* the question as it came; NULL when it has waited */
	size_t raw_len;
	bool no_client;			/* in: the order for this client is not to be had */
	struct view *wait;		/* set: not known yet */
	bool wait_client;		/* ... and it would only be the better order */
	bool wait_host;			/* ... and the recursors are asked */
	bool relayed;			/* a recursor's answer will be delivered */
	bool counted;			/* by guard_relay() */
	bool reverse;			/* it is about an address */
	uint8_t *out;
	size_t cap;
};

/* The reply's length, or 0 with t->wait or t->relayed set. */
size_t resolve(struct turn *t);

/* The same for a question whose view cannot be had: of what is left, or SERVFAIL. client: t->wait_client was set. */
size_t resolve_without(struct turn *t, bool client);

/* An rcode and nothing else. flags: FLAG_AA, FLAG_RA. */
size_t resolve_refuse(const struct turn *t, unsigned flags, enum pkt_rcode rcode);

#endif
