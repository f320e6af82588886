/* alarm.c - a pairing heap of moments. */
#include <assert.h>

#include "checkd/alarm.h"

/* The earlier of two roots, with the other one below it. */
static struct alarm *
meld(struct alarm *a, struct alarm *b)
{
	struct alarm *t;

	if (b->at_ms < a->at_ms) {
		t = a;
		a = b;
		b = t;
	}
	b->next = a->child;
	b->link = &a->child;
	if (a->child != NULL)
		a->child->link = &b->next;
	a->child = b;
	return a;
}

/* One root out of a list of them: in pairs first, which is what bounds the cost of all that follows. */
static struct alarm *
meld_all(struct alarm *list)
{
	struct alarm *pairs = NULL, *one, *next, *root;

	while (list != NULL) {
		one = list;
		list = one->next;
		if (list != NULL) {
			next = list->next;
			one = meld(one, list);
			list = next;
		}
		one->next = pairs;
		pairs = one;
	}
	root = pairs;
	if (root == NULL)
		return NULL;
	pairs = root->next;
	while (pairs != NULL) {
		next = pairs->next;
		root = meld(root, pairs);
		pairs = next;
	}
	return root;
}

static void
put_root(struct alarm_heap *h, struct alarm *a)
{
	if (a != NULL) {
		a->next = NULL;
		a->link = &h->first;
	}
	h->first = a;
}

void
alarm_heap_set(struct alarm_heap *h, struct alarm *a, uint64_t at_ms)
{
	alarm_heap_clear(h, a);
	a->at_ms = at_ms;
	a->child = NULL;
	put_root(h, h->first != NULL ? meld(h->first, a) : a);
}

void
alarm_heap_clear(struct alarm_heap *h, struct alarm *a)
{
	struct alarm *below;

	if (a->link == NULL)
		return;
	assert(*a->link == a);
	*a->link = a->next;
	if (a->next != NULL)
		a->next->link = a->link;
	below = meld_all(a->child);
	if (below != NULL)
		put_root(h, h->first != NULL ? meld(h->first, below) : below);
	a->child = a->next = NULL;
	a->link = NULL;
}

struct alarm *
alarm_heap_take(struct alarm_heap *h, uint64_t now_ms)
{
	struct alarm *a = h->first;

	if (a == NULL || a->at_ms > now_ms)
		return NULL;
	alarm_heap_clear(h, a);
	return a;
}
