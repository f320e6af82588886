/*
 * roster.c - the members as a dense array, and the few facts that only some have.
 *
 * SWIM's node leads to its member by its user word. Members that SWIM has
 * dropped are found by chains of equal hash: there are few of them.
 */
#include "gossipd/serf/internal.h"

#include <assert.h>
#include <stdlib.h>

enum { CHAINS_FIRST = 16 };

static uint32_t
index_of(const struct roster *t, const struct member *m)
{
	return (uint32_t)(m - t->v);
}

static void
link_node(struct roster *t, struct member *m)
{
	*swim_node_user(m->node) = (void *)(uintptr_t)(index_of(t, m) + 1);
}

struct member *
serf_roster_of(const struct roster *t, struct swim_node *node)
{
	uintptr_t at = (uintptr_t)*swim_node_user(node);

	return at > 0 ? &t->v[at - 1] : NULL;
}

static uint32_t *
chain_of(struct serf *s, struct str name)
{
	return &s->roster.chains[serf_hash(s, name, STR_NONE) % s->roster.nchains];
}

/* The link that leads to the member, or the 0 at its chain's end. */
static uint32_t *
chain_find(struct serf *s, struct str name)
{
	struct roster *t = &s->roster;
	uint32_t *at = chain_of(s, name);

	while (*at != 0 && !str_eq(swim_node_name(t->v[*at - 1].node), name))
		at = &t->v[*at - 1].link;
	return at;
}

static void
chain_in(struct serf *s, struct member *m)
{
	uint32_t *at = chain_of(s, swim_node_name(m->node));

	m->link = *at;
	*at = index_of(&s->roster, m) + 1;
}

static void
chain_out(struct serf *s, struct member *m)
{
	uint32_t *at = chain_of(s, swim_node_name(m->node));

	while (*at != index_of(&s->roster, m) + 1) {
		assert(*at != 0);
		at = &s->roster.v[*at - 1].link;
	}
	*at = m->link;
	m->link = 0;
}

struct member *
serf_roster_find(struct serf *s, struct str name)
{
	struct swim_node *node = swim_find(s->swim, name);
	struct member *m = node != NULL ? serf_roster_of(&s->roster, node) : NULL;
	uint32_t at;

	if (m != NULL || s->roster.nkept == 0)
		return m;
	at = *chain_find(s, name);
	return at != 0 ? &s->roster.v[at - 1] : NULL;
}

struct member *
serf_roster_add(struct roster *t, struct swim_node *node)
{
	struct member *m;

	if (t->n == t->cap) {
		/* By a quarter: a doubled array would cost each member half of its own size again. */
		size_t cap = t->cap + t->cap / 4 + 8;
		struct member *v = cap < UINT32_MAX ? realloc(t->v, cap * sizeof(*v)) : NULL;

		if (v == NULL)
			return NULL;
		t->v = v;
		t->cap = cap;
	}
	m = &t->v[t->n++];
	*m = (struct member){ .node = node, .status = SERF_ALIVE };
	t->counts[SERF_ALIVE]++;
	link_node(t, m);
	return m;
}

void
serf_roster_set_status(struct roster *t, struct member *m, enum serf_status status)
{
	assert(t->counts[m->status] > 0);
	t->counts[m->status]--;
	t->counts[status]++;
	m->status = (uint8_t)status;
}

/* The place in nets becomes free: the last one moves there. */
static void
net_erase(struct roster *t, struct member *m)
{
	uint32_t at = m->link;

	assert(!m->kept);
	if (at == 0)
		return;
	m->link = 0;
	t->nnets--;
	if (at - 1 < t->nnets) {
		t->nets[at - 1] = t->nets[t->nnets];
		t->v[t->nets[at - 1].member].link = at;
	}
}

struct net *
serf_roster_net(struct roster *t, struct member *m)
{
	assert(!m->kept);
	if (m->link != 0)
		return &t->nets[m->link - 1];
	if (t->nnets == t->nets_cap) {
		size_t cap = t->nets_cap + t->nets_cap / 4 + 4;
		struct net *v = realloc(t->nets, cap * sizeof(*v));

		if (v == NULL)
			return NULL;
		t->nets = v;
		t->nets_cap = cap;
	}
	t->nets[t->nnets++] = (struct net){ .member = index_of(t, m) };
	m->link = (uint32_t)t->nnets;
	return &t->nets[m->link - 1];
}

const struct net *
serf_roster_known(const struct roster *t, const struct member *m)
{
	const struct net *net = !m->kept && m->link != 0 ? &t->nets[m->link - 1] : NULL;

	return net != NULL && net->known ? net : NULL;
}

/* More chains, once there are more members than chains. */
static int
chains_grow(struct serf *s)
{
	struct roster *t = &s->roster;
	size_t n = t->nchains == 0 ? CHAINS_FIRST : t->nchains * 2;
	uint32_t *v;

	if (t->nkept < t->nchains)
		return 0;
	v = calloc(n, sizeof(*v));
	if (v == NULL)
		return t->nchains > 0 ? 0 : -ENOMEM;
	free(t->chains);
	t->chains = v;
	t->nchains = n;
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].kept)
			chain_in(s, &t->v[i]);
	return 0;
}

int
serf_roster_keep(struct serf *s, struct member *m)
{
	int rc = chains_grow(s);

	if (rc < 0)
		return rc;
	net_erase(&s->roster, m);
	*swim_node_user(m->node) = NULL;
	swim_keep(m->node);
	m->kept = true;
	s->roster.nkept++;
	chain_in(s, m);
	return 0;
}

/* The node of a kept member is given back. */
static void
unkeep(struct serf *s, struct member *m)
{
	chain_out(s, m);
	swim_drop(s->swim, m->node);
	m->node = NULL;
	m->kept = false;
	s->roster.nkept--;
}

struct member *
serf_roster_revive(struct serf *s, struct swim_node *node)
{
	struct roster *t = &s->roster;
	uint32_t at = t->nkept > 0 ? *chain_find(s, swim_node_name(node)) : 0;
	struct member *m = at != 0 ? &t->v[at - 1] : NULL;

	if (m == NULL)
		return NULL;
	unkeep(s, m);
	m->node = node;
	link_node(t, m);
	return m;
}

/* The last member moves to where one was erased. */
static void
move_last(struct serf *s, uint32_t at)
{
	struct roster *t = &s->roster;
	struct member *last = &t->v[t->n - 1];

	if (last->kept)
		chain_out(s, last);
	t->v[at] = *last;
	last = &t->v[at];
	if (last->kept) {
		chain_in(s, last);
		return;
	}
	link_node(t, last);
	if (last->link != 0)
		t->nets[last->link - 1].member = at;
}

void
serf_roster_erase(struct serf *s, struct member *m)
{
	struct roster *t = &s->roster;
	uint32_t at = index_of(t, m);

	t->counts[m->status]--;
	if (m->kept) {
		unkeep(s, m);
	} else {
		net_erase(t, m);
		*swim_node_user(m->node) = NULL;
	}
	if (at + 1 < t->n)
		move_last(s, at);
	t->n--;
}

void
serf_roster_release(struct serf *s)
{
	struct roster *t = &s->roster;

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].kept)
			swim_drop(s->swim, t->v[i].node);
	free(t->v);
	free(t->nets);
	free(t->chains);
	*t = (struct roster){ .n = 0 };
}
