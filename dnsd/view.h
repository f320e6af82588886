/*
 * view.h - what dnsd knows, one view a service or node.
 *
 * A view is made by the first question about its name, which waits for
 * raftd's answer. From then on a watch in raftd keeps it current: each answer
 * arms the next. While raftd is away a view goes on answering with what it
 * knew last, for max_stale at most. A name that does not exist has a view
 * too, watched from its second question on, so that a flood of random names
 * costs one request each and pushes out nothing but other unknown names.
 *
 * Invariant: a view is in exactly one of the lists `known` and `unknown`;
 * one with waiters is never dropped.
 */
#ifndef DNSD_VIEW_H
#define DNSD_VIEW_H

#include <sys/queue.h>

#include "dnsd/answer.h"
#include "lib/rpc.h"

enum {
	VIEWS_KNOWN_MAX = 32768,
	VIEWS_UNKNOWN_MAX = 1024,
	VIEW_ASK_MS = 1000,		/* patience with raftd, before it is asked again or for less */
	VIEW_IDLE_MS = 600 * 1000,	/* dropped when nobody has asked for so long */
	VIEW_UNKNOWN_IDLE_MS = 60 * 1000,
	VIEW_REFUSED_MS = 1000,		/* how long an unknown datacenter or a denial is believed */
	VIEW_CALM_MS = 50,		/* at least between two changes of one view */
	VIEW_RETRY_MS = 500,		/* after an error of raftd's */
	VIEW_STALE_NOTED_MS = 5000,	/* older than this counts in dns.stale_queries */
};

struct views;
struct view;

/* Somebody who waits for a view's first answer; embedded in the caller's record. */
struct waiter {
	TAILQ_ENTRY(waiter) in_view;
	struct view *view;
};

enum view_state {
	VIEW_READY,		/* view_facts() may be used */
	VIEW_WAIT,		/* asked; wait with view_wait() */
	VIEW_FULL,		/* no room for one more: nothing is known */
};

/*
 * ready: the view of w has answered (ok), or cannot for now. w no longer
 * waits when it is called. settings is read through the pointer each time.
 */
struct views *views_new(struct loop *l, int run_fd, struct settings *const *settings,
    void (*ready)(void *ctx, struct waiter *w, bool ok), void *ctx);
void views_free(struct views *vs);	/* nobody may wait any more */

/* The view of a service (NAME_SERVICE) or node (NAME_NODE); dc "" is our own. *ret_state VIEW_FULL: NULL. */
struct view *views_get(struct views *vs, enum name_kind kind, struct str dc, struct str name, enum view_state *ret_state);

const struct facts *view_facts(const struct view *v);

void view_wait(struct view *v, struct waiter *w);
/* Stop waiting; nothing when it does not. Not from within `ready`. */
void view_unwait(struct waiter *w);

/* ---- rendered answers of warm views */

/* The answer to this name and type, if its view may still be believed; else NULL. */
struct answer *views_warm(struct views *vs, const struct pkt_query *q);

/* Keep an answer rendered from v's facts; it goes when they change. */
void views_keep(struct views *vs, struct view *v, struct answer *a);

/* The settings have changed: render anew. all: also ask anew. */
void views_settings_changed(struct views *vs, bool all);

struct views_stats {
	size_t known, unknown, answers, stale;
	bool connected;
};
void views_stats(const struct views *vs, struct views_stats *ret);

#endif
