/*
 * admin.c - an administrator: bootstraps, adds, promotes, demotes, removes.
 *
 * It asks whoever believes to lead, as often as it likes, also for changes
 * that must be refused. It is careful in one thing, as a real one has to be:
 * voters whose directory is lost for good are never so many that those that
 * live are no majority, in any configuration that may come to be in force.
 */
#include "t/sim/world.h"

/* Every start until somebody has it on disk: the very same first entry. */
void
admin_bootstrap(struct world *w)
{
	struct node *n = &w->node[0];
	struct raft_event ev = { .type = RAFT_BOOTSTRAP, .config = &w->boot };

	if (w->ncommitted > 0)
		return;
	world_post(w, w->now + 100 * MS, EV_BOOTSTRAP, NULL, 0, 0, 0, NULL);
	if (!n->up || n->pause_until > w->now || n->log.last > 0 || n->core.term > 0)
		return;
	for (size_t i = 0; i < w->boot.n; i++)
		w->boot.v[i] = (struct raft_server){ w->node[i].dir->id, true };
	node_step(w, n, &ev, NULL);
}

/* Do those voters that are not lost make a majority? */
static bool
alive(struct world *w, const struct raft_servers *c, const struct dir *without)
{
	size_t voters = 0, live = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct dir *d = world_dir(w, c->v[i].id);

		voters += c->v[i].voter;
		live += c->v[i].voter && !d->wiped && d != without;
	}
	return 2 * live > voters;
}

static bool
may_wipe(struct world *w, const struct dir *d)
{
	if (w->ncommitted == 0 || !alive(w, &w->settled, d))
		return false;
	for (size_t i = 0; i < w->nconfigs; i++)
		if (w->configs[i].index > w->settled.index && !alive(w, &w->configs[i], d))
			return false;
	return true;
}

void
admin_wipe(struct world *w)
{
	struct node *n = &w->node[below(w, w->nodes)];

	if (w->ndirs == DIRS_MAX || n->dir->log.last == 0 || !may_wipe(w, n->dir))
		return;
	if (n->up)
		node_crash(w, n);
	TRACE(w, "%s is wiped", trace_name(w, n->dir->id));
	w->tally.wipes++;
	n->dir->wiped = true;
	n->dir = world_mkdir(w, n);
}

static size_t
find(const struct raft_servers *c, uint64_t id)
{
	size_t i = 0;

	while (i < c->n && c->v[i].id != id)
		i++;
	return i;
}

static void
toggle(struct world *w, struct raft_servers *c, uint64_t id)
{
	size_t i = find(c, id);

	if (i == c->n)
		c->v[c->n++] = (struct raft_server){ id, chance(w, 300) };
	else if (!c->v[i].voter)
		c->v[i].voter = true;
	else if (chance(w, 300))
		c->v[i].voter = false;
	else
		c->v[i] = c->v[--c->n];
}

/* Those that are lost go first; else any server changes its place. */
static uint64_t
choose(struct world *w, const struct raft_servers *c)
{
	for (size_t i = 0; chance(w, 700) && i < c->n; i++)
		if (world_dir(w, c->v[i].id)->wiped)
			return c->v[i].id;
	return w->node[below(w, w->nodes)].dir->id;
}

static size_t
voters(const struct raft_servers *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->v[i].voter;
	return n;
}

static void
change(struct world *w, struct node *n)
{
	const struct raft_servers *now = raft_servers(&n->core);
	struct raft_servers next;
	uint64_t id;

	if (now == NULL)
		return;
	next = *now;
	id = choose(w, &next);
	if (world_dir(w, id)->wiped) {
		next.v[find(&next, id)] = next.v[next.n - 1];
		next.n--;
	} else {
		toggle(w, &next, id);
	}
	if (voters(&next) > 0 && alive(w, &next, NULL))
		node_config(w, n, &next, false);
}

/* Two voters go at once: what the thesis forbids. */
static void
change_two(struct world *w, struct node *n)
{
	const struct raft_servers *now = raft_servers(&n->core);
	struct raft_servers next = { .n = 0 };
	unsigned gone = 0;

	if (now == NULL || voters(now) < 3)
		return;
	for (size_t i = 0; i < now->n; i++)
		if (!now->v[i].voter || gone++ >= 2)
			next.v[next.n++] = now->v[i];
	if (alive(w, &next, NULL))
		node_config(w, n, &next, true);
}

/* Impatient: a new leader finds a change waiting, before it has committed anything. */
void
admin_elected(struct world *w)
{
	if (w->p.member > 0 && !w->calm && chance(w, 500))
		world_post(w, w->now + below(w, 30 * MS), EV_ADMIN, NULL, 1, 0, 0, NULL);
}

void
admin_act(struct world *w, bool again)
{
	if (w->calm)
		return;
	if (again)
		world_post(w, w->now + around(w, w->p.member > 0 ? 20000 * MS / w->p.member : 5000 * MS), EV_ADMIN, NULL, 0, 0, 0, NULL);
	if (w->p.member == 0 && !chance(w, 200))
		return;
	for (unsigned i = 0; i < w->nodes; i++) {
		struct node *n = &w->node[i];

		if (!n->up || n->pause_until > w->now || n->core.role != RAFT_LEADER)
			continue;
		if (chance(w, 50))
			change_two(w, n);
		else
			change(w, n);
		if (n->up && n->core.role == RAFT_LEADER && chance(w, 300))
			change(w, n);
	}
}
