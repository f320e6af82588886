/*
 * queue.c - broadcasts in the order in which they are sent, in one tree.
 *
 * The tree is a treap whose priorities are a mix of each item's number: it needs
 * no source of randomness, and an order of insertion that would bend it cannot be made,
 * since numbers only count upwards.
 */
#include "gossipd/swim/queue.h"

#include <stdlib.h>

enum { BUCKETS_FIRST = 16 };

struct item {
	struct item *left, *right;	/* while it waits to go back into the tree, left is the next such */
	struct item *same;		/* chain of its bucket */
	void *arg;
	uint64_t id;			/* grows: newer is higher */
	uint32_t hash, sent;
	uint32_t key_len, len;
	char bytes[];			/* key, message */
};

struct queue {
	struct item *root;
	struct item **buckets;		/* by key; NULL until the first key */
	size_t nbuckets, keyed;
	size_t n, max;
	uint64_t last_id, seed;
	queue_dropped *dropped;
	void *ctx;
};

static struct str
item_key(const struct item *i)
{
	return (struct str){ i->bytes, i->key_len };
}

static struct str
item_message(const struct item *i)
{
	return (struct str){ i->bytes + i->key_len, i->len };
}

static uint32_t
hash_key(const struct queue *q, struct str key)
{
	uint64_t h = q->seed ^ 14695981039346656037u;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ (unsigned char)key.p[i]) * 1099511628211u;
	h = (h ^ h >> 32) * 0xff51afd7ed558ccdu;
	return (uint32_t)(h >> 32);
}

static uint64_t
priority(const struct item *i)
{
	uint64_t x = i->id * 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
	return x ^ x >> 29;
}

/* Whether a is sent before b. */
static bool
before(const struct item *a, const struct item *b)
{
	if (a->sent != b->sent)
		return a->sent < b->sent;
	if (a->len != b->len)
		return a->len > b->len;
	return a->id > b->id;
}

/* ---- the tree */

/* What is before `at`, and the rest. */
static void
tree_split(struct item *t, const struct item *at, struct item **ret_before, struct item **ret_rest)
{
	while (t != NULL)
		if (before(t, at)) {
			*ret_before = t;
			ret_before = &t->right;
			t = t->right;
		} else {
			*ret_rest = t;
			ret_rest = &t->left;
			t = t->left;
		}
	*ret_before = NULL;
	*ret_rest = NULL;
}

static void
tree_insert(struct item **root, struct item *i)
{
	while (*root != NULL && priority(*root) >= priority(i))
		root = before(i, *root) ? &(*root)->left : &(*root)->right;
	tree_split(*root, i, &i->left, &i->right);
	*root = i;
}

/* All of a is before all of b. */
static struct item *
tree_merge(struct item *a, struct item *b)
{
	struct item *root, **at = &root;

	while (a != NULL && b != NULL)
		if (priority(a) >= priority(b)) {
			*at = a;
			at = &a->right;
			a = a->right;
		} else {
			*at = b;
			at = &b->left;
			b = b->left;
		}
	*at = a != NULL ? a : b;
	return root;
}

static void
tree_remove(struct item **root, struct item *i)
{
	while (*root != i)
		root = before(i, *root) ? &(*root)->left : &(*root)->right;
	*root = tree_merge(i->left, i->right);
}

/* The first that has been sent at least `sent` times and, when exactly that often, is at most len long. */
static struct item *
tree_first(struct item *t, uint32_t sent, size_t len)
{
	struct item *best = NULL;

	while (t != NULL)
		if (t->sent < sent || (t->sent == sent && t->len > len)) {
			t = t->right;
		} else {
			best = t;
			t = t->left;
		}
	return best;
}

/* ---- keys */

static struct item **
key_find(struct queue *q, struct str key, uint32_t hash)
{
	struct item **at;

	if (q->nbuckets == 0)
		return NULL;
	for (at = &q->buckets[hash & (q->nbuckets - 1)]; *at != NULL; at = &(*at)->same)
		if ((*at)->hash == hash && str_eq(item_key(*at), key))
			return at;
	return NULL;
}

/* Room for one key more. Chains grow longer when there is no memory for a wider table. */
static int
key_reserve(struct queue *q)
{
	size_t n = q->nbuckets > 0 ? q->nbuckets * 2 : BUCKETS_FIRST;
	struct item **wide;

	if (q->keyed < q->nbuckets)
		return 0;
	wide = calloc(n, sizeof(struct item *));
	if (wide == NULL)
		return q->nbuckets > 0 ? 0 : -ENOMEM;
	for (size_t b = 0; b < q->nbuckets; b++)
		for (struct item *i = q->buckets[b], *next; i != NULL; i = next) {
			next = i->same;
			i->same = wide[i->hash & (n - 1)];
			wide[i->hash & (n - 1)] = i;
		}
	free(q->buckets);
	q->buckets = wide;
	q->nbuckets = n;
	return 0;
}

static void
key_add(struct queue *q, struct item *i)
{
	struct item **b = &q->buckets[i->hash & (q->nbuckets - 1)];

	i->same = *b;
	*b = i;
	q->keyed++;
}

static void
key_remove(struct queue *q, struct item *i)
{
	struct item **at;

	if (i->key_len == 0)
		return;
	for (at = &q->buckets[i->hash & (q->nbuckets - 1)]; *at != i; at = &(*at)->same)
		;
	*at = i->same;
	q->keyed--;
}

/* ---- the queue */

/* It is out of the tree and out of its bucket. */
static void
item_end(struct queue *q, struct item *i, bool finished)
{
	void *arg = i->arg;

	free(i);
	q->n--;
	if (q->dropped != NULL)
		q->dropped(q->ctx, arg, finished);
}

static void
item_drop(struct queue *q, struct item *i)
{
	tree_remove(&q->root, i);
	key_remove(q, i);
	item_end(q, i, false);
}

static void
drop_down_to(struct queue *q, size_t max)
{
	struct item *last;

	while (q->n > max) {
		for (last = q->root; last->right != NULL; last = last->right)
			;
		item_drop(q, last);
	}
}

struct queue *
queue_new(size_t max)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (q != NULL)
		q->max = max > 0 ? max : 1;
	return q;
}

void
queue_clear(struct queue *q)
{
	struct item *t = q->root, *next;

	/* Turned to the right until there is no left child, the tree is a list. */
	while (t != NULL)
		if (t->left != NULL) {
			next = t->left;
			t->left = next->right;
			next->right = t;
			t = next;
		} else {
			next = t->right;
			free(t);
			t = next;
		}
	free(q->buckets);
	q->root = NULL;
	q->buckets = NULL;
	q->nbuckets = q->keyed = q->n = 0;
}

void
queue_free(struct queue *q)
{
	if (q == NULL)
		return;
	queue_clear(q);
	free(q);
}

void
queue_set_max(struct queue *q, size_t max)
{
	q->max = max > 0 ? max : 1;
	drop_down_to(q, q->max);
}

void
queue_set_seed(struct queue *q, uint64_t seed)
{
	q->seed = seed;
}

void
queue_on_dropped(struct queue *q, queue_dropped *cb, void *ctx)
{
	q->dropped = cb;
	q->ctx = ctx;
}

int
queue_add(struct queue *q, struct str key, struct str message, void *arg)
{
	struct item *i, **old;

	if (key.len > UINT32_MAX / 4 || message.len > UINT32_MAX / 4)
		return -ENOMEM;
	if (key.len > 0 && key_reserve(q) < 0)
		return -ENOMEM;
	i = malloc(sizeof(*i) + key.len + message.len);
	if (i == NULL)
		return -ENOMEM;
	*i = (struct item){ .arg = arg, .id = ++q->last_id, .hash = hash_key(q, key), .key_len = (uint32_t)key.len, .len = (uint32_t)message.len };
	if (key.len > 0)
		memcpy(i->bytes, key.p, key.len);
	if (message.len > 0)
		memcpy(i->bytes + key.len, message.p, message.len);
	old = key.len > 0 ? key_find(q, key, i->hash) : NULL;
	if (old != NULL)
		item_drop(q, *old);
	/* Room is made before the new one is there: it must not be pushed out before it was sent once. */
	drop_down_to(q, q->max - 1);
	if (key.len > 0)
		key_add(q, i);
	tree_insert(&q->root, i);
	q->n++;
	return 0;
}

unsigned
queue_limit(unsigned mult, size_t n)
{
	unsigned digits = 0;

	/* ceil(log10(n + 1)) is the number of digits of n. */
	for (; n > 0; n /= 10)
		digits++;
	return mult * digits;
}

size_t
queue_take(struct queue *q, size_t overhead, size_t room, unsigned limit, void (*take)(void *ctx, struct str message), void *ctx)
{
	struct item *again = NULL, *i;
	uint32_t sent = 0;
	size_t used = 0;

	while (room > used + overhead) {
		i = tree_first(q->root, sent, room - used - overhead);
		if (i == NULL)
			break;
		if (i->sent > sent) {
			/* Nothing fits of those sent less: go on with the next that were sent equally often. */
			sent = i->sent;
			continue;
		}
		take(ctx, item_message(i));
		used += i->len + overhead;
		tree_remove(&q->root, i);
		if (++i->sent >= limit) {
			key_remove(q, i);
			item_end(q, i, true);
			continue;
		}
		/* Back into the tree only at the end, or this call would meet it again. */
		i->left = again;
		again = i;
	}
	while (again != NULL) {
		i = again;
		again = i->left;
		tree_insert(&q->root, i);
	}
	return used;
}

size_t
queue_count(const struct queue *q)
{
	return q->n;
}
