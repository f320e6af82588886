/*
 * entries.c - the newest part of the log in memory: what is not yet applied
 * or not yet on disk, and a piece behind it for servers that lag a little.
 */
#include <assert.h>
#include <stdlib.h>

#include "raftd/raftd.h"

enum { CAP_FIRST = 64 };

static struct batch **
slot(const struct entries *e, size_t place)
{
	return &e->v[(e->first + place) & (e->cap - 1)];
}

void
entries_release(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		batch_free(*slot(e, i));
	free(e->v);
	*e = (struct entries){ .v = NULL };
}

static int
grow(struct entries *e)
{
	size_t cap = e->cap != 0 ? e->cap * 2 : CAP_FIRST;
	struct batch **v = malloc(cap * sizeof(struct batch *));

	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < e->n; i++)
		v[i] = *slot(e, i);
	free(e->v);
	e->v = v;
	e->first = 0;
	e->cap = cap;
	return 0;
}

int
entries_add(struct entries *e, struct batch *b)
{
	int rc = e->n == e->cap ? grow(e) : 0;

	if (rc < 0)
		return rc;
	assert(b->n > 0 && (e->n == 0 || b->first == batch_last(*slot(e, e->n - 1)) + 1));
	*slot(e, e->n++) = b;
	e->bytes += b->bytes.len;
	return 0;
}

struct batch *
entries_at(const struct entries *e, size_t place)
{
	return place < e->n ? *slot(e, place) : NULL;
}

struct batch *
entries_find(const struct entries *e, uint64_t index, size_t *ret_place)
{
	size_t lo = 0, hi = e->n;

	if (e->n == 0 || index < (*slot(e, 0))->first || index > batch_last(*slot(e, e->n - 1)))
		return NULL;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if ((*slot(e, mid))->first <= index)
			lo = mid;
		else
			hi = mid;
	}
	*ret_place = lo;
	return *slot(e, lo);
}

struct str
entries_data(const struct entries *e, uint64_t index, uint64_t term)
{
	size_t place;
	const struct batch *b = entries_find(e, index, &place);
	struct batch_cursor c;
	struct batch_entry entry;

	if (b == NULL || b->term != term || batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c) < 0)
		return STR_NONE;
	while (batch_next(&c, false, &entry) > 0)
		if (entry.index == index)
			return entry.kind == ENTRY_STATE ? entry.data : STR_NONE;
	return STR_NONE;
}

void
entries_forget(struct entries *e, uint64_t upto, size_t keep, struct batch **ret_spare)
{
	while (e->n > 0 && e->bytes > keep) {
		struct batch *b = *slot(e, 0);

		if (batch_last(b) > upto)
			return;
		e->first = (e->first + 1) & (e->cap - 1);
		e->n--;
		e->bytes -= b->bytes.len;
		if (*ret_spare == NULL) {
			batch_clear(b);
			*ret_spare = b;
		} else {
			batch_free(b);
		}
	}
}

void
entries_truncate(struct entries *e, uint64_t index)
{
	while (e->n > 0) {
		struct batch *b = *slot(e, e->n - 1);

		if (batch_last(b) < index)
			return;
		e->bytes -= b->bytes.len;
		if (b->first < index) {
			batch_cut(b, index);
			e->bytes += b->bytes.len;
			return;
		}
		e->n--;
		batch_free(b);
	}
}
