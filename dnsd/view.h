/*
 * view.h - what dnsd knows, one view a name: of a service, a node, a prepared
 * query, an address, or a foreign host.
 *
 * A view is made by the first question about its name, which waits for the
 * answer. From then on a watch in raftd keeps it current: each answer arms
 * the next. While raftd is away a view goes on answering with what it knew
 * last, for max_stale at most. A name that does not exist has a view too,
 * watched from its second question on, so that a flood of random names costs
 * one request each and pushes out nothing but other unknown names. So it is
 * with what depends on the client's address, of which there are as many.
 *
 * Foreign hosts are asked of the recursors and believed for their TTL.
 *
 * Invariant: a view is in exactly one list, that of its class; one with
 * waiters is never dropped.
 */
#ifndef DNSD_VIEW_H
#define DNSD_VIEW_H

#include <sys/queue.h>

#include "dnsd/answer.h"
#include "dnsd/host.h"
#include "dnsd/reverse.h"
#include "lib/rpc.h"

enum {
	VIEWS_KNOWN_MAX = 32768,
	VIEWS_UNKNOWN_MAX = 1024,
	VIEWS_CLIENTS_MAX = 1024,	/* of clients' addresses */
	VIEW_ANSWERS_MAX = 256,		/* kept of one view: a name has spellings without end (tags in any order) */
	VIEW_RECORDS_MAX = 256 * 1024,	/* in them, about: of a service with many instances fewer answers are kept */
	VIEWS_ANSWERS_MAX = 128 * 1024,	/* of all views; beyond it those used least recently lose theirs */
	VIEW_ASK_MS = 1000,		/* patience with raftd, before it is asked again or for less */
	VIEW_IDLE_MS = 600 * 1000,	/* dropped when nobody has asked for so long */
	VIEW_UNKNOWN_IDLE_MS = 60 * 1000,
	VIEW_REFUSED_MS = 1000,		/* how long an unknown datacenter, a denial or that there is no such query is believed */
	VIEW_UNWATCHED_MS = 500,	/* and an answer of a raftd that does not tell when it changes */
	VIEW_SORTED_MS = 10 * 1000,	/* an order by distance is asked for anew when it is older; distances are not watched */
	VIEW_PULSE_MS = 1000,		/* while there are questions raftd is asked so often whether it has a leader */
	VIEWS_REFRESHING_MAX = 128,	/* asked at a time of those that can answer meanwhile: a raftd that is back is not flooded */
	VIEW_CALM_MS = 50,		/* at least between two changes of one view */
	VIEW_RETRY_MS = 500,		/* after an error of raftd's */
	VIEW_STALE_NOTED_MS = 5000,	/* older than this counts in dns.stale_queries */
};

struct upstream;
struct views;
struct view;

enum view_kind {
	VIEW_SERVICE,
	VIEW_NODE,
	VIEW_QUERY,		/* a prepared query, by name or ID */
	VIEW_REVERSE,		/* an address as text */
	VIEW_HOST4, VIEW_HOST6,	/* a foreign host name, in wire form and lower case: its IPv4 or IPv6 addresses */
};

struct view_key {
	enum view_kind kind;
	struct str dc;		/* "": our own */
	struct str name;
	struct str client;	/* VIEW_QUERY: of whom the order depends, an address as text; "" for nobody */
};

/* Somebody who waits for a view's first answer; embedded in the caller's record. */
struct waiter {
	TAILQ_ENTRY(waiter) in_view;
	struct view *view;
};

enum view_state {
	VIEW_READY,		/* what is known may be used */
	VIEW_WAIT,		/* asked; wait with view_wait() */
	VIEW_FULL,		/* no room for one more, or nobody to ask: nothing is known */
};

/*
 * ready: the view of w has answered (ok), or cannot for now. w no longer
 * waits when it is called. settings is read through the pointer each time;
 * upstream is borrowed.
 */
struct views *views_new(struct loop *l, int run_fd, struct settings *const *settings, struct upstream *upstream,
    void (*ready)(void *ctx, struct waiter *w, bool ok), void *ctx);
void views_free(struct views *vs);	/* nobody may wait any more; before upstream_free() */

/* The view of a name. *ret_state VIEW_FULL: NULL. */
struct view *views_get(struct views *vs, const struct view_key *key, enum view_state *ret_state);

/* What a view knows that is VIEW_READY; only that of its kind is not NULL. Good until the loop's next turn. */
const struct facts *view_facts(const struct view *v);			/* services, nodes, queries */
const struct reverse_facts *view_reverse(const struct view *v);
const struct host_facts *view_host(const struct view *v);

/* Until when a foreign host is believed, in the loop's time. */
uint64_t view_believed_ms(const struct view *v);

void view_wait(struct view *v, struct waiter *w);
/* Stop waiting; nothing when it does not. Not from within `ready`. */
void view_unwait(struct waiter *w);

/* Whether raftd is there to be asked. */
bool views_connected(const struct views *vs);

/* How old is what a view tells, when raftd is away: ms, 0 when it is current. */
uint64_t view_age_ms(const struct view *v);

/* ---- rendered answers of warm views */

/* The answer to this name and type, if its view may still be believed; else NULL. */
struct answer *views_warm(struct views *vs, const struct pkt_query *q);

/* Questions that will be asked of views_warm() next, INDEX_AHEAD (index.h) at most: their answers are brought near. */
void views_ahead(const struct views *vs, const struct pkt_query *q, unsigned n);

/* Keep an answer rendered from v's facts, for q's name and type; it goes when they change. */
void views_keep(struct views *vs, struct view *v, struct answer *a);

/* The settings have changed: render anew. all: also ask anew. */
void views_settings_changed(struct views *vs, bool all);

struct views_stats {
	size_t known, unknown, answers, stale;
	bool connected;
};
void views_stats(const struct views *vs, struct views_stats *ret);

#endif
