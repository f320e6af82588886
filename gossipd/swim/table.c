/* table.c - the entries of a pool: by name, and in the order of probing. */
#include "gossipd/swim/internal.h"

enum {
	HASH_FIRST = 32, LIST_FIRST = 16,
	HASH_SLOT = (1 << 20) - 1,	/* bits of an entry of the hash that are the slot, plus 1 */
};

static struct swim_node *
slot_node(const struct table *t, uint32_t slot)
{
	return &t->chunks[slot / NODES_A_CHUNK][slot % NODES_A_CHUNK];
}

struct swim_node *
table_node(const struct swim *s, size_t pos)
{
	return slot_node(&s->table, s->table.list[pos]);
}

/* ---- by name */

static size_t
hash_home(const struct table *t, uint32_t name_hash)
{
	return name_hash & (t->nhash - 1);
}

/* The highest bits of the hash stand beside the slot: hardly ever is another entry than the right one looked at. */
static uint32_t
hash_entry(uint32_t name_hash, uint32_t slot)
{
	return (name_hash & ~(uint32_t)HASH_SLOT) | (slot + 1);
}

static uint32_t
entry_slot(uint32_t entry)
{
	return (entry & HASH_SLOT) - 1;
}

static void
hash_put(struct table *t, uint32_t slot)
{
	uint32_t name_hash = slot_node(t, slot)->id->name_hash;
	size_t at = hash_home(t, name_hash);

	while (t->hash[at] != 0)
		at = (at + 1) & (t->nhash - 1);
	t->hash[at] = hash_entry(name_hash, slot);
}

/* Room for one more, four fifths full at most. */
static int
hash_reserve(struct table *t)
{
	size_t nhash = t->nhash > 0 ? t->nhash * 2 : HASH_FIRST;
	uint32_t *wide;

	if ((t->n + 1) * 5 <= t->nhash * 4)
		return 0;
	wide = calloc(nhash, sizeof(*wide));
	if (wide == NULL)
		return -ENOMEM;
	free(t->hash);
	t->hash = wide;
	t->nhash = nhash;
	for (size_t i = 0; i < t->n; i++)
		hash_put(t, t->list[i]);
	return 0;
}

/* What follows moves up, so that no search ends at the hole. */
static void
hash_remove(struct table *t, uint32_t slot)
{
	size_t mask = t->nhash - 1, hole = hash_home(t, slot_node(t, slot)->id->name_hash), at, home;

	while (entry_slot(t->hash[hole]) != slot)
		hole = (hole + 1) & mask;
	for (at = (hole + 1) & mask; t->hash[at] != 0; at = (at + 1) & mask) {
		home = hash_home(t, slot_node(t, entry_slot(t->hash[at]))->id->name_hash);
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		t->hash[hole] = t->hash[at];
		hole = at;
	}
	t->hash[hole] = 0;
}

struct swim_node *
table_find(const struct swim *s, struct str name)
{
	const struct table *t = &s->table;
	uint32_t h;
	struct swim_node *n;

	if (t->nhash == 0)
		return NULL;
	h = names_hash(s->names, name);
	for (size_t at = hash_home(t, h); t->hash[at] != 0; at = (at + 1) & (t->nhash - 1)) {
		if (((t->hash[at] ^ h) & ~(uint32_t)HASH_SLOT) != 0)
			continue;
		n = slot_node(t, entry_slot(t->hash[at]));
		if (n->id->name_hash == h && str_eq(ident_name(n->id), name))
			return n;
	}
	return NULL;
}

/* ---- slots */

static int
list_reserve(struct table *t)
{
	size_t cap = t->cap > 0 ? t->cap + t->cap / 2 : LIST_FIRST;
	uint32_t *list;

	if (t->n < t->cap)
		return 0;
	list = realloc(t->list, cap * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	t->list = list;
	t->cap = cap;
	return 0;
}

static void
slot_free(struct table *t, uint32_t slot)
{
	struct swim_node *n = slot_node(t, slot);

	*n = (struct swim_node){ .pos = t->free };
	t->free = slot + 1;
}

static int
slot_reserve(struct table *t)
{
	struct swim_node **chunks, *chunk;

	if (t->free != 0)
		return 0;
	if ((t->nchunks + 1) * NODES_A_CHUNK >= HASH_SLOT)
		return -ELIMIT;
	chunks = realloc(t->chunks, (t->nchunks + 1) * sizeof(struct swim_node *));
	if (chunks == NULL)
		return -ENOMEM;
	t->chunks = chunks;
	chunk = calloc(NODES_A_CHUNK, sizeof(*chunk));
	if (chunk == NULL)
		return -ENOMEM;
	chunks[t->nchunks++] = chunk;
	for (uint32_t i = NODES_A_CHUNK; i-- > 0;)
		slot_free(t, (uint32_t)(t->nchunks - 1) * NODES_A_CHUNK + i);
	return 0;
}

/* ---- entries */

static void
list_swap(struct table *t, size_t a, size_t b)
{
	uint32_t slot = t->list[a];

	t->list[a] = t->list[b];
	t->list[b] = slot;
	slot_node(t, t->list[a])->pos = (uint32_t)a;
	slot_node(t, t->list[b])->pos = (uint32_t)b;
}

struct swim_node *
table_add(struct swim *s, uint64_t now, struct ident *id)
{
	struct table *t = &s->table;
	struct swim_node *n;
	uint32_t slot;

	if (t->n >= s->c.nodes_max || hash_reserve(t) < 0 || list_reserve(t) < 0 || slot_reserve(t) < 0)
		return NULL;
	slot = t->free - 1;
	n = slot_node(t, slot);
	t->free = n->pos;
	*n = (struct swim_node){ .id = id, .since = now, .pos = (uint32_t)t->n, .state = SWIM_DEAD };
	t->list[t->n++] = slot;
	hash_put(t, slot);
	/* A random place: how long it takes until a new member is probed is bounded on average. */
	if (t->n > 1) {
		list_swap(t, t->n - 1, random_below(s, (uint32_t)t->n - 1));
		probe_wake(s, now);
	}
	return n;
}

void
node_set_state(struct swim *s, uint64_t now, struct swim_node *n, enum swim_state state)
{
	bool was = !node_gone(n);

	assert(n->state != SWIM_SUSPECT && state != SWIM_SUSPECT);
	n->state = (uint8_t)state;
	n->since = now;
	s->table.nalive += (size_t)!node_gone(n) - (size_t)was;
}

static void
table_remove(struct swim *s, struct swim_node *n)
{
	struct table *t = &s->table;
	uint32_t slot = t->list[n->pos];

	assert(node_gone(n) && n != s->self && s->probe.node != n);
	hash_remove(t, slot);
	list_swap(t, n->pos, t->n - 1);
	t->n--;
	if (n->keep) {
		n->pos = slot;
		n->kept = true;
		return;
	}
	names_put(s->names, n->id);
	slot_free(t, slot);
}

void
swim_keep(struct swim_node *n)
{
	n->keep = true;
}

void
swim_drop(struct swim *s, struct swim_node *n)
{
	if (n == NULL)
		return;
	n->keep = false;
	if (!n->kept)
		return;
	names_put(s->names, n->id);
	slot_free(&s->table, n->pos);
}

void
table_wrap(struct swim *s, uint64_t now)
{
	struct table *t = &s->table;
	struct swim_node *n;

	for (size_t i = 0; i < t->n;) {
		n = table_node(s, i);
		if (n == s->self || !node_gone(n) || now - n->since <= (uint64_t)s->c.gossip_to_dead_ms * MS) {
			i++;
			continue;
		}
		if (s->h.forgotten != NULL)
			s->h.forgotten(s->h.ctx, n);
		table_remove(s, n);
	}
	for (size_t i = t->n; i > 1; i--)
		list_swap(t, i - 1, random_below(s, (uint32_t)i));
}

void
table_release(struct swim *s)
{
	struct table *t = &s->table;
	struct swim_node *n;

	for (uint32_t slot = 0; slot < t->nchunks * NODES_A_CHUNK; slot++) {
		n = slot_node(t, slot);
		if (n->id == NULL)
			continue;
		if (n->state == SWIM_SUSPECT)
			suspicion_end(s, n);
		names_put(s->names, n->id);
	}
	for (size_t i = 0; i < t->nchunks; i++)
		free(t->chunks[i]);
	free(t->chunks);
	free(t->list);
	free(t->hash);
	*t = (struct table){ 0 };
}
