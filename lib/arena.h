/*
 * arena.h - memory that is freed all at once.
 *
 * One request, one arena: what it decodes lives until arena_reset(), which
 * keeps the first block, so that a warm arena serves without malloc.
 */
#ifndef LIB_ARENA_H
#define LIB_ARENA_H

#include <stddef.h>

#include "lib/errs.h"
#include "lib/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;	/* newest first */
	size_t used, max;		/* bytes handed out, and their limit */
};

#define ARENA_INIT(max_) { NULL, 0, (max_) }

void arena_init(struct arena *a, size_t max);

/* n bytes, aligned for any type, zeroed. NULL at the limit or without memory. */
void *arena_alloc(struct arena *a, size_t n);

/* A NUL-terminated copy of s; NULL as above. */
char *arena_strdup(struct arena *a, struct str s);

/* printf into the arena; NULL as above. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);

/* Overwrite what was handed out with zeros: for what held secrets, before it is reset or released. */
void arena_wipe(struct arena *a);

void arena_reset(struct arena *a);
void arena_release(struct arena *a);

#endif
