/*
 * event.h - Consul's user events: in and out of their form in the pool, the
 * last ones that were for this node, and who waits for the next.
 */
#ifndef GOSSIPD_EVENT_H
#define GOSSIPD_EVENT_H

#include "lib/acl_gate.h"
#include "lib/daemon.h"
#include "lib/records.h"

struct gossipd;
struct event_watch;
struct event_pending;

enum {
	EVENTS_KEPT = 256,
	EVENTS_INTERNAL_KEPT = 64,
	EVENTS_PENDING_MAX = 64,	/* that wait for the list of this node's services */
	EVENT_SERVICES_MS = 10000,	/* they wait that long */
	EVENT_ID_TEXT = 37,		/* a UUID with its NUL */
};

/* In the pool a user event's name has this in front. */
#define EVENT_PREFIX "consul:event:"
#define EVENT_NEW_LEADER "consul:new-leader"

/* Oldest first: v[(first + i) % max]. */
struct event_ring {
	struct user_event *v[EVENTS_KEPT];
	size_t first, n, max;
};

struct events {
	struct gossipd *g;
	struct event_ring all, internal;
	struct event_watch *watches;
	size_t nwatches;
	struct event_pending *pending;
	size_t npending;
	struct rpc_client *checkd;	/* made when an event is first for services */
	uint64_t taken, malformed, crowded;
	struct log_limit faults;
};

void events_init(struct events *e, struct gossipd *g);
void events_release(struct events *e);

/* A user event of the LAN pool has arrived. */
void events_take(struct events *e, uint64_t ltime, struct str name, struct str payload);

/* The form in the pool, both ways; strings point into payload. -EDECODE. */
int MUST_CHECK event_encode(const struct user_event *ev, struct buf *out);
int MUST_CHECK event_decode(struct str payload, struct user_event *ret, struct arena *a);

/* Whether the filters are sound. -EINVAL with Consul's sentence. */
int MUST_CHECK event_check(const struct user_event *ev, char err[256]);

/* Whether the filter (a regular expression; "" lets all pass, one that is none lets nothing) takes this text. */
bool event_filter(struct str filter, struct str text);

/* XOR of the two halves of an ID; 1 for what is no ID. */
uint64_t event_index(struct str id);

void event_new_id(char id[EVENT_ID_TEXT]);

/* The newest event of this name ("" : any), or NULL. */
const struct user_event *events_last(const struct event_ring *r, struct str name);
/* Whether one of this name is hidden from the asker; asks for all of them. */
bool events_hidden(const struct event_ring *r, struct str name, struct acl_facts *f);
/* Append those of this name that the asker may see, oldest first. */
void events_encode(const struct event_ring *r, struct str name, struct acl_facts *f, struct mp_w *w);

/* event_op.c: an event was kept; who waited for it is answered. */
void events_wake(struct events *e);
void event_watch_cancel(struct events *e, struct rpc_token token);
void event_watches_release(struct events *e);

#endif
