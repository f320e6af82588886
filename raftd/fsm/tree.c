/* tree.c - the B+ tree: full nodes are split on the way down, poor ones merged on the way up. */
#include "raftd/fsm/tree.h"

#include <assert.h>
#include <stdlib.h>

enum { LEAF_MAX = 62, INNER_MAX = 36 };	/* 752 and 1016 bytes: whole malloc chunks */

/*
 * All keys of a leaf have their first `skip` bytes in common; head holds the
 * four bytes behind those, so that a search looks at items only where these
 * do not decide: a miss of the cache instead of six.
 */
struct leaf {
	uint32_t n;
	uint32_t skip;
	uint32_t head[LEAF_MAX];
	void *item[LEAF_MAX];
};

struct edge {
	void *child;
	const void *first;	/* the least item below */
	uint64_t max;		/* the largest index below */
};

/* As in a leaf, of what stands first behind each edge. */
struct inner {
	uint32_t n;
	uint32_t skip;
	uint32_t head[INNER_MAX];
	struct edge edge[INNER_MAX];
};

void
tree_init(struct tree *t, const struct tree_type *type)
{
	*t = (struct tree){ type, NULL, 0, 0 };
}

static void
release(void *node, unsigned level, void (*drop)(void *item))
{
	if (level == 0) {
		struct leaf *l = node;

		for (size_t i = 0; drop != NULL && i < l->n; i++)
			drop(l->item[i]);
	} else {
		struct inner *in = node;

		for (size_t i = 0; i < in->n; i++)
			release(in->edge[i].child, level - 1, drop);
	}
	free(node);
}

void
tree_release(struct tree *t, void (*drop)(void *item))
{
	if (t->root != NULL)
		release(t->root, t->height, drop);
	tree_init(t, t->type);
}

/* ---- places */

static int
cmp_key(const struct tree *t, const void *item, struct str key)
{
	return str_cmp(t->type->key(item), key);
}

static uint32_t
head_of(struct str key, size_t skip)
{
	uint32_t h = 0;

	for (size_t i = skip; i < skip + 4; i++)
		h = h << 8 | (i < key.len ? (unsigned char)key.p[i] : 0);
	return h;
}

static size_t
common_prefix(struct str a, struct str b, size_t max)
{
	size_t n = 0;

	while (n < max && n < a.len && n < b.len && a.p[n] == b.p[n])
		n++;
	return n;
}

/* Make skip and heads anew. */
static void
leaf_rehead(const struct tree *t, struct leaf *l)
{
	l->skip = 0;
	if (l->n > 0)
		l->skip = (uint32_t)common_prefix(t->type->key(l->item[0]), t->type->key(l->item[l->n - 1]), UINT32_MAX);
	for (size_t i = 0; i < l->n; i++)
		l->head[i] = head_of(t->type->key(l->item[i]), l->skip);
}

/* The first item that is not below key, which begins as all keys of the leaf do. */
static size_t
leaf_search(const struct tree *t, const struct leaf *l, struct str key)
{
	uint32_t h = head_of(key, l->skip);
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (l->head[mid] < h || (l->head[mid] == h && cmp_key(t, l->item[mid], key) < 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The first item that is not below key, whatever key. */
static size_t
leaf_pos(const struct tree *t, const struct leaf *l, struct str key)
{
	struct str first;
	size_t n;

	if (l->n == 0)
		return 0;
	first = t->type->key(l->item[0]);
	n = common_prefix(first, key, l->skip);
	if (n == l->skip)
		return leaf_search(t, l, key);
	return n == key.len || (unsigned char)key.p[n] < (unsigned char)first.p[n] ? 0 : l->n;
}

static void
inner_rehead(const struct tree *t, struct inner *in)
{
	in->skip = 0;
	if (in->n > 0)
		in->skip = (uint32_t)common_prefix(t->type->key(in->edge[0].first), t->type->key(in->edge[in->n - 1].first), UINT32_MAX);
	for (size_t i = 0; i < in->n; i++)
		in->head[i] = head_of(t->type->key(in->edge[i].first), in->skip);
}

/* The edge below which key belongs: the last whose first item is not above it, else the first edge. */
static size_t
inner_pos(const struct tree *t, const struct inner *in, struct str key)
{
	struct str first = t->type->key(in->edge[0].first);
	size_t lo = 1, hi = in->n, n = common_prefix(first, key, in->skip);
	uint32_t h;

	if (n < in->skip)
		return n == key.len || (unsigned char)key.p[n] < (unsigned char)first.p[n] ? 0 : in->n - 1;
	h = head_of(key, in->skip);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (in->head[mid] < h || (in->head[mid] == h && cmp_key(t, in->edge[mid].first, key) <= 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

void *
tree_get(const struct tree *t, struct str key)
{
	const void *node = t->root;
	const struct leaf *l;
	size_t i;

	if (node == NULL)
		return NULL;
	for (unsigned level = t->height; level > 0; level--) {
		const struct inner *in = node;

		node = in->edge[inner_pos(t, in, key)].child;
	}
	/* A key that begins otherwise is not equal to the one that is found. */
	l = node;
	i = leaf_search(t, l, key);
	return i < l->n && str_eq(t->type->key(l->item[i]), key) ? l->item[i] : NULL;
}

/* ---- what an edge says of its child */

static uint64_t
item_index(const struct tree *t, const void *item)
{
	return t->type->index != NULL ? t->type->index(item) : 0;
}

static void
edge_refresh(const struct tree *t, struct edge *e, unsigned child_level)
{
	e->max = 0;
	if (child_level == 0) {
		const struct leaf *l = e->child;

		e->first = l->item[0];
		for (size_t i = 0; t->type->index != NULL && i < l->n; i++)
			if (item_index(t, l->item[i]) > e->max)
				e->max = item_index(t, l->item[i]);
	} else {
		const struct inner *in = e->child;

		e->first = in->edge[0].first;
		for (size_t i = 0; i < in->n; i++)
			if (in->edge[i].max > e->max)
				e->max = in->edge[i].max;
	}
}

static size_t
node_count(const void *node)
{
	return *(const uint32_t *)node;	/* n comes first in both kinds */
}

static size_t
node_max(unsigned level)
{
	return level == 0 ? LEAF_MAX : INNER_MAX;
}

/* Move `n` slots from the end of `from` to the front of `to`, which has room. */
static void
shift_right(const struct tree *t, void *from, void *to, unsigned level, size_t n)
{
	if (level == 0) {
		struct leaf *a = from, *b = to;

		memmove(b->item + n, b->item, b->n * sizeof(b->item[0]));
		memcpy(b->item, a->item + a->n - n, n * sizeof(b->item[0]));
		a->n -= (uint32_t)n;
		b->n += (uint32_t)n;
		leaf_rehead(t, a);
		leaf_rehead(t, b);
	} else {
		struct inner *a = from, *b = to;

		memmove(b->edge + n, b->edge, b->n * sizeof(b->edge[0]));
		memcpy(b->edge, a->edge + a->n - n, n * sizeof(b->edge[0]));
		a->n -= (uint32_t)n;
		b->n += (uint32_t)n;
		inner_rehead(t, a);
		inner_rehead(t, b);
	}
}

/* ---- adding */

static void *
node_new(unsigned level)
{
	uint32_t *n = malloc(level == 0 ? sizeof(struct leaf) : sizeof(struct inner));

	if (n != NULL)
		*n = 0;
	return n;
}

/*
 * Split the full child behind edge i in two. keep: slots that stay; all but
 * one when items come in ascending order, so that full nodes are left behind.
 */
static int
split_child(struct tree *t, struct inner *in, unsigned level, size_t i, size_t keep)
{
	void *left = in->edge[i].child, *right = node_new(level - 1);

	if (right == NULL)
		return -ENOMEM;
	shift_right(t, left, right, level - 1, node_count(left) - keep);
	memmove(in->edge + i + 2, in->edge + i + 1, (in->n - i - 1) * sizeof(in->edge[0]));
	in->n++;
	in->edge[i + 1].child = right;
	edge_refresh(t, &in->edge[i], level - 1);
	edge_refresh(t, &in->edge[i + 1], level - 1);
	inner_rehead(t, in);
	return 0;
}

/* A full root gets a parent, so that it can be split like any child. */
static int
grow(struct tree *t)
{
	struct inner *root;

	if (node_count(t->root) < node_max(t->height))
		return 0;
	assert(t->height < TREE_HEIGHT_MAX);
	root = node_new(1);
	if (root == NULL)
		return -ENOMEM;
	root->n = 1;
	root->edge[0].child = t->root;
	edge_refresh(t, &root->edge[0], t->height);
	inner_rehead(t, root);
	t->root = root;
	t->height++;
	return 0;
}

static void
leaf_insert(const struct tree *t, struct leaf *l, struct str key, void *item, bool last)
{
	size_t i = last ? l->n : leaf_pos(t, l, key);

	assert(l->n < LEAF_MAX);
	assert(i == l->n || !str_eq(t->type->key(l->item[i]), key));
	memmove(l->item + i + 1, l->item + i, (l->n - i) * sizeof(l->item[0]));
	memmove(l->head + i + 1, l->head + i, (l->n - i) * sizeof(l->head[0]));
	l->item[i] = item;
	l->n++;
	if (l->n == 1 || common_prefix(key, t->type->key(l->item[i == 0 ? 1 : 0]), l->skip) < l->skip)
		leaf_rehead(t, l);
	else
		l->head[i] = head_of(key, l->skip);
}

/* last: the key is above all others, no comparison is needed. */
static int
add_below(struct tree *t, void *node, unsigned level, struct str key, void *item, bool last)
{
	struct inner *in = node;
	struct edge *e;
	size_t i;
	int rc;

	if (level == 0) {
		leaf_insert(t, node, key, item, last);
		return 0;
	}
	i = last ? in->n - 1 : inner_pos(t, in, key);
	if (node_count(in->edge[i].child) == node_max(level - 1)) {
		rc = split_child(t, in, level, i, last ? node_max(level - 1) - 1 : node_max(level - 1) / 2);
		if (rc < 0)
			return rc;
		if (last || cmp_key(t, in->edge[i + 1].first, key) <= 0)
			i++;
	}
	e = &in->edge[i];
	rc = add_below(t, e->child, level - 1, key, item, last);
	if (rc < 0)
		return rc;
	if (item_index(t, item) > e->max)
		e->max = item_index(t, item);
	if (!last && i == 0 && cmp_key(t, e->first, key) > 0) {
		e->first = item;
		inner_rehead(t, in);
	}
	return 0;
}

static const void *
tree_last(const struct tree *t)
{
	const void *node = t->root;

	for (unsigned level = t->height; level > 0; level--) {
		const struct inner *in = node;

		node = in->edge[in->n - 1].child;
	}
	return ((const struct leaf *)node)->item[node_count(node) - 1];
}

bool
tree_is_last(const struct tree *t, struct str key)
{
	return t->root == NULL || cmp_key(t, tree_last(t), key) < 0;
}

int
tree_add(struct tree *t, void *item)
{
	struct str key = t->type->key(item);
	bool last = false;
	int rc;

	if (t->root == NULL) {
		t->root = node_new(0);
		if (t->root == NULL)
			return -ENOMEM;
	} else {
		last = cmp_key(t, tree_last(t), key) < 0;
	}
	rc = grow(t);
	if (rc == 0)
		rc = add_below(t, t->root, t->height, key, item, last);
	if (rc == 0)
		t->n++;
	return rc;
}

/* ---- replacing */

void
tree_replace(struct tree *t, const void *old, void *new)
{
	struct str key = t->type->key(old);
	void *node = t->root;
	struct edge *path[TREE_HEIGHT_MAX];
	struct leaf *l;
	size_t i;

	for (unsigned level = t->height; level > 0; level--) {
		struct inner *in = node;

		path[level - 1] = &in->edge[inner_pos(t, in, key)];
		node = path[level - 1]->child;
	}
	l = node;
	i = leaf_search(t, l, key);
	assert(i < l->n && l->item[i] == old);
	l->item[i] = new;
	for (unsigned level = 0; level < t->height; level++) {
		struct edge *e = path[level];

		if (item_index(t, new) >= e->max) {
			e->max = item_index(t, new);
			if (e->first == old)
				e->first = new;
		} else {
			edge_refresh(t, e, level);
		}
	}
}

/* ---- deleting */

static void
slot_remove(void *node, unsigned level, size_t i)
{
	if (level == 0) {
		struct leaf *l = node;

		memmove(l->item + i, l->item + i + 1, (l->n - i - 1) * sizeof(l->item[0]));
		memmove(l->head + i, l->head + i + 1, (l->n - i - 1) * sizeof(l->head[0]));
		l->n--;
	} else {
		struct inner *in = node;

		memmove(in->edge + i, in->edge + i + 1, (in->n - i - 1) * sizeof(in->edge[0]));
		in->n--;
	}
}

/* Empty the child behind edge i into its left or right neighbour when that leaves it room to grow. */
static void
merge_child(struct tree *t, struct inner *in, unsigned level, size_t i)
{
	size_t n = node_count(in->edge[i].child), room = node_max(level - 1) * 3 / 4;
	void *child = in->edge[i].child;

	if (n > node_max(level - 1) / 4 || in->n < 2)
		return;
	if (i == 0)
		i = 1;	/* the right neighbour is emptied into this one */
	if (node_count(in->edge[i - 1].child) + node_count(in->edge[i].child) > room)
		return;
	child = in->edge[i].child;
	n = node_count(in->edge[i - 1].child);
	shift_right(t, in->edge[i - 1].child, child, level - 1, n);
	free(in->edge[i - 1].child);
	in->edge[i - 1].child = child;
	slot_remove(in, level, i);
	edge_refresh(t, &in->edge[i - 1], level - 1);
	inner_rehead(t, in);
}

static void
del_below(struct tree *t, void *node, unsigned level, struct str key, const void *item)
{
	struct inner *in = node;
	struct edge *e;
	bool first;
	size_t i;

	if (level == 0) {
		struct leaf *l = node;

		i = leaf_search(t, l, key);
		assert(i < l->n && l->item[i] == item);
		slot_remove(l, 0, i);
		return;
	}
	i = inner_pos(t, in, key);
	e = &in->edge[i];
	del_below(t, e->child, level - 1, key, item);
	if (node_count(e->child) == 0) {
		free(e->child);
		slot_remove(in, level, i);
		inner_rehead(t, in);
		return;
	}
	first = e->first == item;
	if (first || item_index(t, item) == e->max)
		edge_refresh(t, e, level - 1);
	if (first)
		inner_rehead(t, in);
	merge_child(t, in, level, i);
}

void
tree_del(struct tree *t, const void *item)
{
	assert(t->root != NULL);
	del_below(t, t->root, t->height, t->type->key(item), item);
	t->n--;
	while (t->height > 0 && node_count(t->root) == 1) {
		struct inner *root = t->root;

		t->root = root->edge[0].child;
		t->height--;
		free(root);
	}
	if (node_count(t->root) == 0) {
		free(t->root);
		t->root = NULL;
		t->height = 0;
	}
}

/* ---- prefixes */

/* Below, inside (0) or behind the keys that start with prefix. */
static int
cmp_prefix(const struct tree *t, const void *item, struct str prefix)
{
	struct str key = t->type->key(item);

	return str_has_prefix(key, prefix) ? 0 : str_cmp(key, prefix);
}

/* with_lower, with_upper: whether the range's ends may lie inside this subtree. */
static uint64_t
max_below(const struct tree *t, const void *node, unsigned level, struct str prefix)
{
	uint64_t max = 0;

	if (level == 0) {
		const struct leaf *l = node;

		for (size_t i = leaf_pos(t, l, prefix); i < l->n && cmp_prefix(t, l->item[i], prefix) == 0; i++)
			if (item_index(t, l->item[i]) > max)
				max = item_index(t, l->item[i]);
		return max;
	}
	const struct inner *in = node;

	for (size_t i = inner_pos(t, in, prefix); i < in->n; i++) {
		const struct edge *e = &in->edge[i];
		bool whole = cmp_prefix(t, e->first, prefix) == 0;
		uint64_t m;

		if (!whole && cmp_prefix(t, e->first, prefix) > 0)
			break;
		/* Every key below lies inside when the next edge begins inside too. */
		whole = whole && i + 1 < in->n && cmp_prefix(t, in->edge[i + 1].first, prefix) == 0;
		m = whole ? e->max : max_below(t, e->child, level - 1, prefix);
		if (m > max)
			max = m;
	}
	return max;
}

uint64_t
tree_prefix_max(const struct tree *t, struct str prefix)
{
	return t->root != NULL ? max_below(t, t->root, t->height, prefix) : 0;
}

struct newer {
	const struct tree *t;
	struct str prefix;
	uint64_t since;
	void (*each)(void *ctx, const void *item);
	void *ctx;
};

static void
newer_below(const struct newer *w, const void *node, unsigned level)
{
	const struct tree *t = w->t;

	if (level == 0) {
		const struct leaf *l = node;

		for (size_t i = leaf_pos(t, l, w->prefix); i < l->n && cmp_prefix(t, l->item[i], w->prefix) == 0; i++)
			if (item_index(t, l->item[i]) > w->since)
				w->each(w->ctx, l->item[i]);
		return;
	}
	const struct inner *in = node;

	for (size_t i = inner_pos(t, in, w->prefix); i < in->n; i++) {
		const struct edge *e = &in->edge[i];

		if (cmp_prefix(t, e->first, w->prefix) > 0)
			break;
		if (e->max > w->since)
			newer_below(w, e->child, level - 1);
	}
}

void
tree_walk_newer(const struct tree *t, struct str prefix, uint64_t since, void (*each)(void *ctx, const void *item), void *ctx)
{
	const struct newer w = { t, prefix, since, each, ctx };

	if (t->root != NULL)
		newer_below(&w, t->root, t->height);
}

/* ---- iterating */

void
tree_seek(const struct tree *t, struct str from, struct tree_iter *it)
{
	const void *node = t->root;

	it->t = t;
	it->node[0] = NULL;
	if (node == NULL)
		return;
	for (unsigned level = t->height; level > 0; level--) {
		const struct inner *in = node;

		it->node[level] = in;
		it->pos[level] = (unsigned)inner_pos(t, in, from);
		node = in->edge[it->pos[level]].child;
	}
	it->node[0] = node;
	it->pos[0] = (unsigned)leaf_pos(t, node, from);
}

/* Go to the next leaf; false behind the last. */
static bool
next_leaf(struct tree_iter *it)
{
	unsigned level = 1;

	while (level <= it->t->height && it->pos[level] + 1 >= node_count(it->node[level]))
		level++;
	if (level > it->t->height) {
		it->node[0] = NULL;
		return false;
	}
	it->pos[level]++;
	for (; level > 0; level--) {
		const struct inner *in = it->node[level];

		it->node[level - 1] = in->edge[it->pos[level]].child;
		it->pos[level - 1] = 0;
	}
	return true;
}

void *
tree_next(struct tree_iter *it)
{
	const struct leaf *l = it->node[0];

	if (l == NULL)
		return NULL;
	if (it->pos[0] == l->n) {
		if (!next_leaf(it))
			return NULL;
		l = it->node[0];
	}
	return l->item[it->pos[0]++];
}

void *
tree_next_prefixed(struct tree_iter *it, struct str prefix)
{
	void *item = tree_next(it);

	return item != NULL && str_has_prefix(it->t->type->key(item), prefix) ? item : NULL;
}

void *
tree_first(const struct tree *t)
{
	struct tree_iter it;

	tree_seek(t, STR_NONE, &it);
	return tree_next(&it);
}
