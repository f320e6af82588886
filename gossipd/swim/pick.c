/* pick.c - random members. */
#include "gossipd/swim/internal.h"

bool
pick_alive(const void *pick, const struct swim_node *n)
{
	const struct pick *p = pick;

	return n->state == SWIM_ALIVE && n != p->not;
}

static bool
taken(struct swim_node *const *v, size_t n, const struct swim_node *node)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] == node)
			return true;
	return false;
}

size_t
pick_random(struct swim *s, struct swim_node **ret, size_t n, bool (*good)(const void *ctx, const struct swim_node *n), const void *ctx)
{
	size_t got = 0, all = s->table.n, tries, start;
	struct swim_node *node;

	if (n > PICK_MAX)
		n = PICK_MAX;
	if (all < 2 || n == 0)
		return 0;
	for (tries = 8 * n; tries > 0 && got < n; tries--) {
		node = table_node(s, random_below(s, (uint32_t)all));
		if (node != s->self && !taken(ret, got, node) && good(ctx, node))
			ret[got++] = node;
	}
	if (got == n)
		return got;
	/* Few are good: whoever follows a random place. That place alone decides, but in the small pools where it matters the list is shuffled. */
	start = random_below(s, (uint32_t)all);
	for (size_t i = 0; i < all && got < n; i++) {
		node = table_node(s, (start + i) % all);
		if (node != s->self && !taken(ret, got, node) && good(ctx, node))
			ret[got++] = node;
	}
	return got;
}

struct wish {
	bool (*pick)(const struct swim_node *n);
};

static bool
wished(const void *wish, const struct swim_node *n)
{
	const struct wish *w = wish;

	return w->pick == NULL || w->pick(n);
}

size_t
swim_random(struct swim *s, struct swim_node **ret, size_t n, bool (*pick)(const struct swim_node *n))
{
	struct wish w = { pick };

	return pick_random(s, ret, n, wished, &w);
}
