/*
 * tree.h - an ordered set of items: a B+ tree of pointers.
 *
 * Items are the caller's; the tree asks for their key and, when the type has
 * one, for their index, of which each subtree keeps the maximum. Keys are
 * compared bytewise and are unique. Adding in ascending order costs O(1)
 * amortised and fills the nodes; everything else is O(log n).
 *
 * No function may be called on a tree while an iterator over it is in use,
 * but for tree_get() and other iterators.
 */
#ifndef RAFTD_FSM_TREE_H
#define RAFTD_FSM_TREE_H

#include "lib/errs.h"
#include "lib/str.h"

enum { TREE_HEIGHT_MAX = 16 };	/* inner levels: never reached, nodes keep a quarter of their fan-out */

struct tree_type {
	struct str (*key)(const void *item);
	uint64_t (*index)(const void *item);	/* NULL: no maximum is kept */
};

struct tree {
	const struct tree_type *type;
	void *root;		/* NULL while empty */
	unsigned height;	/* inner levels above the leaves */
	size_t n;
};

void tree_init(struct tree *t, const struct tree_type *type);

/* Free the tree's own memory; each item is handed to `drop` first (may be NULL). */
void tree_release(struct tree *t, void (*drop)(void *item));

/* NULL when absent. */
void *tree_get(const struct tree *t, struct str key);

/* Whether the key is above all that are there. */
bool tree_is_last(const struct tree *t, struct str key);
/* The key must be absent. -ENOMEM leaves the set as it was. */
int MUST_CHECK tree_add(struct tree *t, void *item);

/* new takes the place of old, which must be there and have the same key. Never fails. */
void tree_replace(struct tree *t, const void *old, void *new);

/* The item must be there. */
void tree_del(struct tree *t, const void *item);

/* The largest index among items whose key starts with prefix, 0 when there is none. */
uint64_t tree_prefix_max(const struct tree *t, struct str prefix);

/* Each item whose key starts with prefix and whose index is above `since`, in order; costs what is found, not what is there. */
void tree_walk_newer(const struct tree *t, struct str prefix, uint64_t since, void (*each)(void *ctx, const void *item), void *ctx);

struct tree_iter {
	const struct tree *t;
	const void *node[TREE_HEIGHT_MAX + 1];	/* by level: 0 is the leaf */
	unsigned pos[TREE_HEIGHT_MAX + 1];
};

/* Stand before the first item whose key is not below `from`. */
void tree_seek(const struct tree *t, struct str from, struct tree_iter *it);

/* The next item, NULL behind the last. */
void *tree_next(struct tree_iter *it);

/* The next item if its key starts with prefix, else NULL. */
void *tree_next_prefixed(struct tree_iter *it, struct str prefix);

/* The first item, or NULL. */
void *tree_first(const struct tree *t);

#endif
