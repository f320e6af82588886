/* index.c - a chained hash table of answers. */
#include "dnsd/index.h"

#include <stdlib.h>

/* Of one answer no more than this is brought near: the next ones need the cache too. */
enum { BUCKETS_FIRST = 256, LINE = 64, AHEAD_BYTES_MAX = 24 * LINE };

int
answer_index_init(struct answer_index *x, uint64_t seed)
{
	x->n = 0;
	x->seed = seed;
	x->nbuckets = BUCKETS_FIRST;
	x->buckets = calloc(x->nbuckets, sizeof(*x->buckets));
	return x->buckets != NULL ? 0 : -ENOMEM;
}

void
answer_index_release(struct answer_index *x)
{
	free(x->buckets);
	x->buckets = NULL;
}

struct answer *
answer_index_find(const struct answer_index *x, const struct pkt_query *q)
{
	uint32_t h = pkt_name_hash(q->name, q->name_len, q->type, x->seed);
	struct answer *a = x->buckets[h & (x->nbuckets - 1)];

	while (a != NULL && (a->hash != h || a->type != q->type || a->name_len != q->name_len ||
	    memcmp(a->name, q->name, q->name_len) != 0))
		a = a->next_in_bucket;
	return a;
}

static void
bring(const void *p, size_t from, size_t to)
{
	for (; from < to; from += LINE)
		__builtin_prefetch((const char *)p + from);
}

void
answer_index_ahead(const struct answer_index *x, const struct pkt_query *q, unsigned n)
{
	uint32_t h[INDEX_AHEAD];
	const struct answer *a;

	for (unsigned i = 0; i < n; i++) {
		h[i] = pkt_name_hash(q[i].name, q[i].name_len, q[i].type, x->seed);
		__builtin_prefetch(&x->buckets[h[i] & (x->nbuckets - 1)]);
	}
	for (unsigned i = 0; i < n; i++) {
		a = x->buckets[h[i] & (x->nbuckets - 1)];
		if (a != NULL)
			bring(a, 0, sizeof(*a));
	}
	for (unsigned i = 0; i < n; i++) {
		a = x->buckets[h[i] & (x->nbuckets - 1)];
		while (a != NULL && a->hash != h[i])
			a = a->next_in_bucket;
		if (a == NULL)
			continue;
		/* The view's first two lines tell whether it may be believed. */
		bring(a->view, 0, 2 * LINE);
		bring(a, sizeof(*a) / LINE * LINE, a->size < AHEAD_BYTES_MAX ? a->size : AHEAD_BYTES_MAX);
	}
}

static void
grow(struct answer_index *x)
{
	uint32_t n = x->nbuckets * 2;
	struct answer **b = calloc(n, sizeof(*b));

	/* Without memory the chains just get longer. */
	if (b == NULL)
		return;
	for (uint32_t i = 0; i < x->nbuckets; i++) {
		struct answer *a, *next;

		for (a = x->buckets[i]; a != NULL; a = next) {
			next = a->next_in_bucket;
			a->next_in_bucket = b[a->hash & (n - 1)];
			b[a->hash & (n - 1)] = a;
		}
	}
	free(x->buckets);
	x->buckets = b;
	x->nbuckets = n;
}

void
answer_index_add(struct answer_index *x, struct answer *a)
{
	struct answer **b;

	if (x->n >= x->nbuckets)
		grow(x);
	a->hash = pkt_name_hash(a->name, a->name_len, a->type, x->seed);
	b = &x->buckets[a->hash & (x->nbuckets - 1)];
	a->next_in_bucket = *b;
	*b = a;
	x->n++;
}

void
answer_index_remove(struct answer_index *x, struct answer *a)
{
	struct answer **p = &x->buckets[a->hash & (x->nbuckets - 1)];

	while (*p != a)
		p = &(*p)->next_in_bucket;
	*p = a->next_in_bucket;
	x->n--;
}
