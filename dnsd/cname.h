/*
 * cname.h - host names in the place of addresses: where they lead.
 *
 * Names below our domains are answered from our views, RESOLVE_DEPTH deep,
 * so that a circle ends; others by the recursors, as views of their own.
 */
#ifndef DNSD_CNAME_H
#define DNSD_CNAME_H

#include "dnsd/answer.h"
#include "dnsd/view.h"

struct turn;

/* While one answer is rendered. */
struct cname {
	struct turn *t;
	struct waiter *hold;		/* keeps t->wait from being dropped for the next view that is asked for */
	struct waiter held;
	unsigned depth;			/* how many names of ours may still be followed */
	bool inside;			/* one was: the answer changes with a view that is not its own */
	uint64_t good_until_ms;		/* of what recursors told, in the loop's time; 0: they told nothing */
	/* What the last find() gave. */
	struct answer *sub;
	uint8_t owner[PKT_NAME_MAX + 1];
	uint8_t tail[PKT_RR_FIXED + 16];
};

/* For answer_render_with(). When something is not known yet, t->wait is set and the answer is to be rendered again. */
struct hosts cname_begin(struct cname *c, struct turn *t);
void cname_end(struct cname *c);

#endif
