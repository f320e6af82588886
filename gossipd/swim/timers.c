/* timers.c - a heap of timers that live in their owners. */
#include "gossipd/swim/internal.h"

int
timers_reserve(struct timers *t, size_t n)
{
	size_t cap = t->cap > 0 ? t->cap : 2 * FIXED_TIMERS;
	struct timer **v;

	/* Slot 0 is not used. */
	if (n < t->cap)
		return 0;
	while (cap <= n)
		cap *= 2;
	v = realloc(t->v, cap * sizeof(struct timer *));
	if (v == NULL)
		return -ENOMEM;
	t->v = v;
	t->cap = cap;
	return 0;
}

static void
put(struct timers *t, size_t pos, struct timer *i)
{
	t->v[pos] = i;
	i->pos = (uint32_t)pos;
}

/* i goes where it belongs, pos being free. */
static void
settle(struct timers *t, size_t pos, struct timer *i)
{
	size_t child;

	for (; pos > 1 && i->at < t->v[pos / 2]->at; pos /= 2)
		put(t, pos, t->v[pos / 2]);
	for (; (child = pos * 2) <= t->n; pos = child) {
		if (child < t->n && t->v[child + 1]->at < t->v[child]->at)
			child++;
		if (i->at <= t->v[child]->at)
			break;
		put(t, pos, t->v[child]);
	}
	put(t, pos, i);
}

void
timers_arm(struct timers *t, struct timer *i, uint64_t at)
{
	i->at = at;
	if (i->pos == 0) {
		assert(t->n + 1 < t->cap);
		i->pos = (uint32_t)++t->n;
	}
	settle(t, i->pos, i);
}

void
timers_disarm(struct timers *t, struct timer *i)
{
	size_t pos = i->pos;
	struct timer *last;

	if (pos == 0)
		return;
	i->pos = 0;
	last = t->v[t->n--];
	if (last != i)
		settle(t, pos, last);
}

struct timer *
timers_first(const struct timers *t)
{
	return t->n > 0 ? t->v[1] : NULL;
}
