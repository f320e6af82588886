/* intent.c - the last word heard of a member before the member itself was (5.2). */
#include "gossipd/serf/internal.h"

#include <stdlib.h>

static struct intent *
find(const struct serf *s, struct str name)
{
	uint64_t hash = serf_hash(s, name, STR_NONE);

	for (size_t i = 0; i < s->intents.n; i++) {
		struct intent *it = &s->intents.v[i];

		if (it->hash == hash && str_eq((struct str){ it->name, it->len }, name))
			return it;
	}
	return NULL;
}

static void
forget(struct serf *s, struct intent *it)
{
	struct intents *all = &s->intents;

	free(it->name);
	*it = all->v[--all->n];
}

/* The one that would expire first makes room. */
static void
make_room(struct serf *s)
{
	struct intent *first = &s->intents.v[0];

	for (size_t i = 1; i < s->intents.n; i++)
		if (s->intents.v[i].expires < first->expires)
			first = &s->intents.v[i];
	forget(s, first);
}

static int
grow(struct intents *all)
{
	size_t cap = all->cap == 0 ? 8 : all->cap * 2;
	struct intent *v;

	if (all->n < all->cap)
		return 0;
	v = realloc(all->v, cap * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	all->v = v;
	all->cap = cap;
	return 0;
}

/* NULL without memory. */
static struct intent *
add(struct serf *s, struct str name)
{
	struct intents *all = &s->intents;
	struct intent *it;
	char *copy;

	if (all->n >= SERF_INTENTS_MAX)
		make_room(s);
	if (grow(all) < 0)
		return NULL;
	copy = malloc(name.len);
	if (copy == NULL)
		return NULL;
	memcpy(copy, name.p, name.len);
	it = &all->v[all->n++];
	*it = (struct intent){ .name = copy, .len = (uint32_t)name.len, .hash = serf_hash(s, name, STR_NONE) };
	return it;
}

bool
serf_intents_remember(struct serf *s, struct str name, enum serf_type type, uint64_t ltime)
{
	struct intent *it;

	/* A push/pull may name a million of them, which would only push each other out. */
	if (s->strangers == 0) {
		s->stats.refused++;
		return false;
	}
	s->strangers--;
	it = find(s, name);
	if (it != NULL && ltime <= it->ltime)
		return false;
	if (it == NULL)
		it = add(s, name);
	if (it == NULL) {
		s->stats.dropped++;
		return false;
	}
	it->type = (uint8_t)type;
	it->ltime = ltime;
	it->expires = after(serf_now(s), ms(s->config.recent_intent_ms));
	return true;
}

const struct intent *
serf_intents_find(const struct serf *s, struct str name)
{
	const struct intent *it = find(s, name);

	return it != NULL && it->expires > serf_now(s) ? it : NULL;
}

void
serf_intents_expire(struct serf *s)
{
	for (size_t i = s->intents.n; i-- > 0;)
		if (s->intents.v[i].expires <= serf_now(s))
			forget(s, &s->intents.v[i]);
}

void
serf_intents_release(struct serf *s)
{
	for (size_t i = 0; i < s->intents.n; i++)
		free(s->intents.v[i].name);
	free(s->intents.v);
	s->intents = (struct intents){ .n = 0 };
}
