/* world.c - time, randomness, and the life of one seed. */
#include "t/sim/world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
uint64_t
rnd(struct world *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
below(struct world *w, uint64_t n)
{
	return n != 0 ? rnd(w) % n : 0;
}

uint64_t
between(struct world *w, uint64_t lo, uint64_t hi)
{
	return lo + below(w, hi - lo + 1);
}

bool
chance(struct world *w, unsigned permille)
{
	return permille != 0 && below(w, 1000) < permille;
}

/* Each further mean is half as likely; integers alone, so that no machine rounds it otherwise. */
uint64_t
around(struct world *w, uint64_t mean)
{
	uint64_t bits = rnd(w), n = 0;

	while (n < 8 && (bits & 1) != 0) {
		bits >>= 1;
		n++;
	}
	return n * mean + below(w, mean + 1);
}

void *
world_grow(void *v, size_t *cap, size_t want, size_t size)
{
	size_t n = *cap != 0 ? *cap : 64;

	if (want <= *cap)
		return v;
	while (n < want)
		n *= 2;
	v = realloc(v, n * size);
	if (v == NULL)
		abort();
	memset((char *)v + *cap * size, 0, (n - *cap) * size);
	*cap = n;
	return v;
}

void
world_fail(struct world *w, const char *property, const char *fmt, ...)
{
	va_list ap;

	printf("seed %llu: %s broken at step %llu, %.6f s: ", (unsigned long long)w->seed, property,
	    (unsigned long long)w->steps, (double)w->now / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	longjmp(w->failed, 1);
}

/* ---- the heap: by time, then by number */

static bool
sooner(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void
push(struct world *w, const struct event *e)
{
	size_t i = w->nheap++, up;

	w->heap = world_grow(w->heap, &w->heapcap, w->nheap, sizeof(*w->heap));
	for (; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!sooner(e, &w->heap[up]))
			break;
		w->heap[i] = w->heap[up];
	}
	w->heap[i] = *e;
}

static struct event
pop(struct world *w)
{
	struct event top = w->heap[0], e = w->heap[--w->nheap];
	size_t i = 0, kid;

	for (; (kid = 2 * i + 1) < w->nheap; i = kid) {
		if (kid + 1 < w->nheap && sooner(&w->heap[kid + 1], &w->heap[kid]))
			kid++;
		if (!sooner(&w->heap[kid], &e))
			break;
		w->heap[i] = w->heap[kid];
	}
	w->heap[i] = e;
	return top;
}

void
world_post(struct world *w, uint64_t at, enum event_type type, const struct node *n, uint64_t a, uint64_t b, uint64_t c, void *p)
{
	struct event e = { .at = at, .seq = ++w->seq, .type = type, .node = n != NULL ? n->slot : NODES_MAX,
		.gen = n != NULL ? n->gen : 0, .a = a, .b = b, .c = c, .p = p };

	push(w, &e);
}

/* ---- what belongs to the seed */

struct node *
world_node(struct world *w, uint64_t id)
{
	for (unsigned i = 0; i < w->nodes; i++)
		if (w->node[i].dir->id == id)
			return &w->node[i];
	return NULL;
}

struct dir *
world_dir(struct world *w, uint64_t id)
{
	for (size_t i = 0; i < w->ndirs; i++)
		if (w->dirs[i]->id == id)
			return w->dirs[i];
	return NULL;
}

/* Memory of directories and snapshots is kept for the next seed. */
struct dir *
world_mkdir(struct world *w, struct node *n)
{
	struct dir *d = w->dirs[w->ndirs];

	if (d == NULL)
		d = calloc(1, sizeof(*d));
	if (d == NULL)
		abort();
	w->dirs[w->ndirs++] = d;
	*d = (struct dir){ .id = (rnd(w) << 8 | w->ndirs) & RAFT_NUMBER_MAX, .node = n->slot, .log = d->log, .q = d->q,
		.qcap = d->qcap, .number = (unsigned)w->ndirs - 1 };
	log_reset(&d->log, 0, 0);
	return d;
}

struct state *
world_state(struct world *w)
{
	struct state *s;

	if (w->nfree_states > 0)
		return w->free_states[--w->nfree_states];
	s = malloc(sizeof(*s));
	if (s == NULL)
		abort();
	w->states = world_grow(w->states, &w->statescap, w->nstates + 1, sizeof(struct state *));
	w->states[w->nstates++] = s;
	return s;
}

void
world_state_free(struct world *w, struct state *s)
{
	w->free_states = world_grow(w->free_states, &w->free_statescap, w->nfree_states + 1, sizeof(struct state *));
	w->free_states[w->nfree_states++] = s;
}

struct snap *
world_snap(struct world *w)
{
	struct snap *s;

	w->snaps = world_grow(w->snaps, &w->snapscap, w->usedsnaps + 1, sizeof(struct snap *));
	s = w->snaps[w->usedsnaps];
	if (s == NULL)
		s = calloc(1, sizeof(*s));
	if (s == NULL)
		abort();
	w->snaps[w->usedsnaps++] = s;
	return s;
}

uint32_t
world_entry(struct world *w, uint64_t index, uint64_t term, uint32_t prev, enum entry_kind kind, uint32_t arg)
{
	w->entries = world_grow(w->entries, &w->entriescap, w->nentries + 1, sizeof(*w->entries));
	w->entries[w->nentries] = (struct entry){ index, term, prev, kind, arg };
	return (uint32_t)w->nentries++;
}

/* ---- one seed */

/* A seed that failed left packets and states in the middle of something. */
static void
reclaim(struct world *w)
{
	w->free_packets = NULL;
	for (size_t i = 0; i < w->npackets; i++) {
		w->packets[i]->next = w->free_packets;
		w->free_packets = w->packets[i];
	}
	w->nfree_states = 0;
	for (size_t i = 0; i < w->nstates; i++)
		world_state_free(w, w->states[i]);
	for (size_t i = 0; i < w->ndirs; i++)
		w->dirs[i]->qn = 0;
	w->ndirs = w->nheap = 0;
}

static void
clear(struct world *w)
{
	reclaim(w);
	for (unsigned i = 0; i < w->nodes; i++) {
		if (w->node[i].core_live)
			raft_release(&w->node[i].core);
		w->node[i].core_live = w->node[i].up = false;
	}
	if (w->ncommitted > 0) {
		memset(w->committed, 0, (w->ncommitted + 1) * sizeof(*w->committed));
		memset(w->hashes, 0, (w->ncommitted + 1) * sizeof(*w->hashes));
	}
	if (w->nterms > 0)
		memset(w->terms, 0, w->nterms * sizeof(*w->terms));
	memset(w->ops, 0, (w->nops + 1) * sizeof(w->ops[0]));
	memset(w->clients, 0, sizeof(w->clients));
	memset(w->cut, 0, sizeof(w->cut));
	memset(w->fifo_at, 0, sizeof(w->fifo_at));
	w->ncommitted = w->nterms = w->nconfigs = w->usedsnaps = 0;
	w->nentries = 1;
	w->nops = 0;
	w->now = w->seq = w->steps = w->storm_second = w->storm_steps = 0;
	w->final = 0;
	w->calm = false;
	w->settled.n = 0;
	w->boot_uid = 0;
}

static void
begin(struct world *w)
{
	w->entries = world_grow(w->entries, &w->entriescap, 1, sizeof(*w->entries));
	w->committed = world_grow(w->committed, &w->committedcap, 1, sizeof(*w->committed));
	faults_draw(w);
	for (unsigned i = 0; i < w->nodes; i++) {
		struct node *n = &w->node[i];

		n->slot = i;
		n->gen = 0;
		n->pause_until = 0;
		n->dir = world_mkdir(w, n);
		node_start(w, n);
	}
	world_post(w, 0, EV_BOOTSTRAP, NULL, 0, 0, 0, NULL);
	world_post(w, SECOND / 2, EV_FAULT, NULL, 0, 0, 0, NULL);
	world_post(w, SECOND / 2, EV_ADMIN, NULL, 0, 0, 0, NULL);
	world_post(w, w->end, EV_FINAL, NULL, 0, 0, 0, NULL);
	client_start(w);
}

static void
node_event(struct world *w, struct node *n, const struct event *e)
{
	switch (e->type) {
	case EV_TIMER:
		clock_timer(w, n, (uint32_t)e->a);
		break;
	case EV_SYNC:
		disk_synced(w, n);
		break;
	case EV_APPLY:
		node_apply(w, n);
		break;
	case EV_PROPOSE:
		node_propose(w, n);
		break;
	case EV_SENT:
		node_sent(w, n, e);
		break;
	case EV_READ:
		node_read_disk(w, n, e->p);
		break;
	case EV_CHUNK:
		image_stored(w, n, e);
		break;
	case EV_LOAD:
		image_loaded(w, n);
		break;
	case EV_SNAPSHOT:
		image_made(w, n, e->p);
		break;
	case EV_IMAGE:
		disk_image(w, n);
		break;
	case EV_ASSASSIN:
		faults_assassin(w, n);
		break;
	case EV_LINK:
	case EV_LOST:
		node_step(w, n, &(struct raft_event){ .type = e->type == EV_LOST ? RAFT_LEADER_LOST :
			e->b != 0 ? RAFT_PEER_UP : RAFT_PEER_DOWN, .peer = e->a }, NULL);
		break;
	default:
		break;
	}
}

static void
world_event(struct world *w, const struct event *e)
{
	switch (e->type) {
	case EV_PACKET:
		net_arrived(w, e->p);
		break;
	case EV_CLIENT:
		client_wake(w, (unsigned)e->a, (uint32_t)e->b);
		break;
	case EV_FAULT:
		faults_next(w);
		break;
	case EV_HEAL:
		faults_heal(w, (uint32_t)e->a);
		break;
	case EV_ADMIN:
		admin_act(w, e->a == 0);
		break;
	case EV_BOOTSTRAP:
		admin_bootstrap(w);
		break;
	case EV_FINAL:
		final_step(w);
		break;
	default:
		break;
	}
}

/* A suspended process: what comes to it waits, in order, until it goes on. */
static bool
suspended(struct world *w, const struct event *e)
{
	uint64_t until;

	if (e->type == EV_PACKET)
		until = ((struct packet *)e->p)->node < w->nodes ? w->node[((struct packet *)e->p)->node].pause_until : 0;
	else
		until = e->node < NODES_MAX && e->type != EV_RESTART ? w->node[e->node].pause_until : 0;
	if (until <= w->now)
		return false;
	push(w, &(struct event){ .at = until, .seq = ++w->seq, .type = e->type, .node = e->node, .gen = e->gen, .a = e->a,
		.b = e->b, .c = e->c, .p = e->p });
	return true;
}

static void
turn(struct world *w)
{
	struct event e = pop(w);
	struct node *n = e.node < NODES_MAX ? &w->node[e.node] : NULL;

	w->now = e.at;
	if (suspended(w, &e))
		return;
	if (n == NULL)
		world_event(w, &e);
	else if (e.type == EV_RESTART) {
		if (!n->up && e.gen == n->gen)
			node_start(w, n);
	} else if (n->up && e.gen == n->gen)
		node_event(w, n, &e);
	else if (e.type == EV_READ || e.type == EV_SENT)
		net_free(w, e.p);
}

int
world_run(struct world *w, uint64_t seed, double minutes, bool trace)
{
	clear(w);
	w->seed = seed;
	w->random = seed;
	w->trace = trace;
	if (setjmp(w->failed) != 0)
		return 1;
	w->end = (uint64_t)(minutes * 60e6);
	begin(w);
	while (w->final != UINT32_MAX && w->nheap > 0)
		turn(w);
	client_check(w);
	return 0;
}

void
world_release(struct world *w)
{
	clear(w);
	for (size_t i = 0; i < DIRS_MAX && w->dirs[i] != NULL; i++) {
		free(w->dirs[i]->log.v);
		free(w->dirs[i]->q);
		free(w->dirs[i]);
	}
	for (size_t i = 0; i < w->snapscap; i++)
		free(w->snaps[i]);
	for (size_t i = 0; i < w->nstates; i++)
		free(w->states[i]);
	for (size_t i = 0; i < w->npackets; i++)
		free(w->packets[i]);
	for (unsigned i = 0; i < NODES_MAX; i++)
		free(w->node[i].log.v);
	free(w->packets);
	free(w->states);
	free(w->free_states);
	free(w->snaps);
	free(w->heap);
	free(w->runs);
	free(w->entries);
	free(w->committed);
	free(w->hashes);
	free(w->committed_in);
	free(w->terms);
}
