/*
 * final.c - liveness: once faults have stopped, a cluster comes back.
 *
 * Within a bounded time there is a leader, a write and then a read at every
 * member succeed, and all members have the same log and state. Servers that
 * were removed run on, with whatever they last knew, and must not disturb.
 */
#include "t/sim/world.h"

enum { FINAL_FAULTS, FINAL_DRAIN, FINAL_WRITE, FINAL_READ, FINAL_SAME };

#define FINAL_TIMEOUTS 60	/* election timeouts until all is well */
#define FINAL_SLACK (20 * SECOND)

static struct node *
leader(struct world *w)
{
	struct node *l = NULL;

	for (unsigned i = 0; i < w->nodes; i++)
		if (w->node[i].up && w->node[i].core.role == RAFT_LEADER && (l == NULL || w->node[i].core.term > l->core.term))
			l = &w->node[i];
	return l;
}

static bool
idle(const struct world *w)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (w->clients[i].op != 0)
			return false;
	return true;
}

static void
write_last(struct world *w)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		w->clients[i].stubborn = true;
	client_ask(w, 0, OP_PUT, 0);
}

static void
read_last(struct world *w)
{
	const struct raft_servers *c = &w->settled;

	for (size_t i = 0; i < c->n; i++) {
		struct node *n = world_node(w, c->v[i].id);

		if (n == NULL)
			continue;
		w->clients[n->slot].pinned = (int)n->slot;
		client_ask(w, n->slot, chance(w, 500) ? OP_GET : OP_GET_CONSISTENT, 0);
	}
}

/* Every member that is not lost has what the leader has, and has applied it. */
static bool
same(struct world *w)
{
	struct node *l = leader(w);
	const struct raft_servers *c = l != NULL ? raft_servers(&l->core) : NULL;

	for (size_t i = 0; c != NULL && i < c->n; i++) {
		struct node *n = world_node(w, c->v[i].id);

		if (n != NULL && (n->log.last != l->log.last || n->state.applied != l->log.last || n->state.hash != l->state.hash))
			return false;
	}
	return c != NULL;
}

static void
late(struct world *w)
{
	struct node *l = leader(w);

	for (unsigned i = 0; w->trace && i < w->nodes; i++) {
		struct node *n = &w->node[i];

		TRACE(w, "%s is %s of term %llu: last %llu, applied %llu of %llu", trace_name(w, n->dir->id),
		    raft_role_name(n->core.role), (unsigned long long)n->core.term, (unsigned long long)n->log.last,
		    (unsigned long long)n->state.applied, (unsigned long long)n->core.commit);
	}
	if (l == NULL)
		world_fail(w, "liveness", "%.1f s after the last fault nobody leads",
		    (double)(w->now - w->end) / 1e6);
	world_fail(w, "liveness", "%.1f s after the last fault, with %s as leader, %s", (double)(w->now - w->end) / 1e6,
	    trace_name(w, l->dir->id), w->final <= FINAL_WRITE ? "a write is not done" : w->final == FINAL_READ ?
	    "a member does not read" : "the members' logs are not the same");
}

static bool
advance(struct world *w)
{
	switch (w->final) {
	case FINAL_FAULTS:
		faults_stop(w);
		break;
	case FINAL_DRAIN:
		if (!idle(w) && w->now < w->end + FINAL_SLACK / 2)
			return false;
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			w->clients[i].op = 0;
		write_last(w);
		break;
	case FINAL_WRITE:
		if (!idle(w))
			return false;
		read_last(w);
		break;
	case FINAL_READ:
		if (!idle(w))
			return false;
		break;
	default:
		if (!same(w))
			return false;
		TRACE(w, "all is well");
		w->final = UINT32_MAX;
		return true;
	}
	w->final++;
	return true;
}

void
final_step(struct world *w)
{
	if (w->now > w->end + FINAL_SLACK + FINAL_TIMEOUTS * w->timing.election_ms * MS)
		late(w);
	(void)advance(w);
	if (w->final != UINT32_MAX)
		world_post(w, w->now + 20 * MS, EV_FINAL, NULL, 0, 0, 0, NULL);
}
