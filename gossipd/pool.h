/*
 * pool.h - the members of one pool as this node sees them.
 *
 * Pure: no socket, no clock. A pool that stands alone has one member, this
 * node. The index moves whenever a member changes, which is what watchers
 * of gossip.members wait for.
 */
#ifndef GOSSIPD_POOL_H
#define GOSSIPD_POOL_H

#include "lib/cfg.h"
#include "lib/records.h"

enum { POOL_ARENA_MAX = 64 * 1024, POOL_TAGS_MAX = 20, POOL_META_MAX = 512 };

struct pool {
	bool wan;
	struct arena arena;	/* the strings of self */
	struct member self;
	uint64_t index;
};

/*
 * This node by its config slice. index: where the pool's index starts; a
 * restarted gossipd gives a higher one than it had, so that no watcher waits
 * for an index of its earlier life. -ENOMEM, -ELIMIT (tags over POOL_META_MAX).
 */
int MUST_CHECK pool_init(struct pool *p, struct json_object *slice, bool wan, uint64_t index);
void pool_release(struct pool *p);

/* Take name, address and tags from a new slice; 1 when that changed the member, 0, or as pool_init() (unchanged then). */
int MUST_CHECK pool_update(struct pool *p, struct json_object *slice);

void pool_set_status(struct pool *p, enum member_status status);

/* Whether a member has this name (whatever the case, as node names compare). */
bool pool_knows(const struct pool *p, struct str name);

/* Append the members as an array of Member. */
void pool_encode(const struct pool *p, struct mp_w *w);

/* Members in this status. */
unsigned pool_count(const struct pool *p, enum member_status status);

#endif
