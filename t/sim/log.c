/* log.c - entries by index, as a server has them in memory or on disk. */
#include <string.h>

#include "t/sim/world.h"

void
log_put(struct log *l, uint64_t index, uint32_t uid)
{
	l->v = world_grow(l->v, &l->cap, index + 1, sizeof(*l->v));
	l->v[index] = uid;
	l->last = index;
}

void
log_reset(struct log *l, uint64_t index, uint32_t uid)
{
	log_put(l, index, uid);
	l->base = index;
}

void
log_copy(struct log *to, const struct log *from)
{
	to->v = world_grow(to->v, &to->cap, from->last + 1, sizeof(*to->v));
	memcpy(to->v + from->base, from->v + from->base, (from->last - from->base + 1) * sizeof(*to->v));
	to->base = from->base;
	to->last = from->last;
}
