/*
 * sync_self.h - how this node describes itself in the catalog, from its
 * config slice.
 */
#ifndef CHECKD_SYNC_SELF_H
#define CHECKD_SYNC_SELF_H

#include <json-c/json_object.h>

#include "checkd/diff.h"

enum { SELF_ARENA_MAX = 256 * 1024 };

struct sync_self {
	struct self self;
	struct arena arena;	/* its strings */
};

/* Take a slice; 1 when something changed, 0 when not, -ENOMEM, -ELIMIT (then it is as it was). */
int MUST_CHECK sync_self_set(struct sync_self *s, struct json_object *slice);
void sync_self_release(struct sync_self *s);

#endif
