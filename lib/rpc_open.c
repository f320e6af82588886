/* rpc_open.c - the open requests of a connection, found by id whatever their number. */
#include <stdlib.h>

#include "lib/rpc_conn.h"

enum { OPEN_FIRST = 64 };

/* Ids count up: spread them over the table. */
static size_t
place(const struct open_reqs *t, uint32_t id)
{
	uint32_t h = id * 0x9e3779b1u;

	return (h ^ h >> 15) & (t->cap - 1);
}

static size_t
find(const struct open_reqs *t, uint32_t id)
{
	size_t i = place(t, id);

	while (t->v[i].id != 0 && t->v[i].id != id)
		i = (i + 1) & (t->cap - 1);
	return i;
}

static bool
grow(struct open_reqs *t)
{
	struct open_reqs next = { NULL, t->n, t->cap != 0 ? t->cap * 2 : OPEN_FIRST };

	next.v = calloc(next.cap, sizeof(*next.v));
	if (next.v == NULL)
		return false;
	for (size_t i = 0; i < t->cap; i++)
		if (t->v[i].id != 0)
			next.v[find(&next, t->v[i].id)] = t->v[i];
	free(t->v);
	*t = next;
	return true;
}

bool
open_add(struct open_reqs *t, uint32_t id, uint16_t op)
{
	if (t->n * 2 >= t->cap && !grow(t))
		return false;
	t->v[find(t, id)] = (struct open_req){ id, op };
	t->n++;
	return true;
}

bool
open_has(const struct open_reqs *t, uint32_t id)
{
	return id != 0 && t->n > 0 && t->v[find(t, id)].id == id;
}

/* Linear probing without tombstones: what stood behind the hole moves into it if its own place allows. */
bool
open_remove(struct open_reqs *t, uint32_t id, uint16_t *ret_op)
{
	size_t mask = t->cap - 1, hole, i;

	if (!open_has(t, id))
		return false;
	hole = find(t, id);
	if (ret_op != NULL)
		*ret_op = t->v[hole].op;
	for (i = (hole + 1) & mask; t->v[i].id != 0; i = (i + 1) & mask)
		if (((i - place(t, t->v[i].id)) & mask) >= ((i - hole) & mask)) {
			t->v[hole] = t->v[i];
			hole = i;
		}
	t->v[hole].id = 0;
	t->n--;
	return true;
}
