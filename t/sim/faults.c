/*
 * faults.c - what kind of bad day a seed has.
 *
 * A profile weights the faults; sizes, timeouts and latencies are drawn too,
 * so that two seeds of one profile still differ in kind. Faults stop at the
 * end; then everything heals, and the cluster has to come back.
 */
#include "t/sim/world.h"

#include <string.h>

static const struct profile profiles[] = {
	{ .name = "calm", .loss = 1, .delay_us = 500, .slow_ms = 50, .slow = 1, .fault_ms = 4000, .crash = 1, .transfer = 4,
	  .member = 2, .clock = 1, .sync_us = 800, .trailing = 100, .image_ms = 300 },
	{ .name = "lossy", .loss = 150, .dup = 100, .slow = 100, .slow_ms = 800, .delay_us = 3000, .fault_ms = 350, .crash = 2,
	  .point = 2, .transfer = 2, .hint = 2, .cut = 1, .member = 1, .clock = 1, .sync_us = 1000, .trailing = 20, .image_ms = 200,
	  .damage = 20, .uncached = 100 },
	{ .name = "partitions", .loss = 5, .dup = 5, .slow = 5, .slow_ms = 300, .delay_us = 1000, .fault_ms = 175, .cut = 20,
	  .crash = 1, .transfer = 2, .hint = 2, .pause = 2, .clock = 1, .sync_us = 1000, .trailing = 15, .image_ms = 150,
	  .damage = 20, .uncached = 100 },
	{ .name = "crashes", .loss = 5, .dup = 5, .slow = 5, .slow_ms = 200, .delay_us = 1000, .fault_ms = 125, .crash = 10,
	  .point = 20, .cut = 1, .hint = 2, .clock = 1, .sync_us = 3000, .trailing = 15, .image_ms = 100, .damage = 20,
	  .uncached = 100, .apply_lag = 50 },
	{ .name = "disks", .loss = 5, .slow = 10, .slow_ms = 300, .delay_us = 1000, .fault_ms = 350, .stall = 20, .crash = 5,
	  .point = 5, .cut = 2, .transfer = 2, .clock = 1, .sync_us = 15000, .trailing = 20, .image_ms = 400, .damage = 20,
	  .uncached = 300, .apply_lag = 200 },
	{ .name = "membership", .loss = 10, .dup = 5, .slow = 10, .slow_ms = 300, .delay_us = 1500, .fault_ms = 200, .member = 30,
	  .wipe = 3, .crash = 4, .point = 4, .cut = 5, .transfer = 3, .hint = 1, .clock = 1, .sync_us = 2000, .trailing = 20,
	  .image_ms = 150, .damage = 20, .uncached = 50 },
	{ .name = "snapshots", .loss = 30, .dup = 20, .slow = 30, .slow_ms = 300, .delay_us = 1000, .fault_ms = 175, .crash = 5,
	  .point = 5, .cut = 8, .wipe = 3, .member = 4, .transfer = 1, .clock = 1, .sync_us = 1500, .trailing = 1, .image_ms = 10,
	  .damage = 100, .uncached = 300, .apply_lag = 50, .leaders = 500 },
	{ .name = "clocks", .loss = 5, .dup = 5, .slow = 20, .slow_ms = 300, .delay_us = 1000, .fault_ms = 200, .pause = 15,
	  .cut = 10, .clock = 15, .transfer = 6, .hint = 6, .crash = 4, .sync_us = 800, .trailing = 30, .image_ms = 200 },
	{ .name = "everything", .loss = 40, .dup = 30, .slow = 40, .slow_ms = 500, .delay_us = 2000, .fault_ms = 125, .crash = 5,
	  .point = 10, .pause = 4, .stall = 4, .cut = 8, .transfer = 4, .member = 8, .wipe = 2, .hint = 4, .clock = 4,
	  .sync_us = 4000, .trailing = 10, .image_ms = 60, .damage = 60, .uncached = 200, .apply_lag = 100 },
	/* Voters are told that their leader has died, and somebody is there to ask for their votes. */
	{ .name = "hints", .loss = 5, .dup = 5, .slow = 20, .slow_ms = 200, .delay_us = 500, .fault_ms = 20, .hint = 120, .cut = 5,
	  .crash = 3, .pause = 2, .transfer = 4, .clock = 4, .sync_us = 500, .trailing = 30, .image_ms = 200 },
	/* Voters forget, while somebody who has not heard of the leader asks for their votes. */
	{ .name = "restarts", .loss = 2, .slow = 5, .slow_ms = 100, .delay_us = 500, .fault_ms = 150, .crash = 20, .cut = 6, .clock = 1,
	  .sync_us = 500, .trailing = 30, .image_ms = 200, .spare = true },
	/* Leaders come and go before they have said everything to everybody. */
	{ .name = "churn", .loss = 60, .dup = 20, .slow = 150, .slow_ms = 300, .delay_us = 8000, .fault_ms = 120, .crash = 6,
	  .point = 6, .cut = 12, .transfer = 4, .member = 20, .hint = 6, .clock = 1, .sync_us = 4000, .trailing = 4, .image_ms = 60,
	  .damage = 20, .uncached = 200, .leaders = 700 },
	/* Entries reach a majority one by one, and each leader ends before it has sent its own first one (thesis, figure 3.7). */
	{ .name = "reigns", .loss = 60, .dup = 20, .slow = 150, .slow_ms = 300, .delay_us = 8000, .fault_ms = 120, .crash = 3,
	  .point = 3, .cut = 8, .hint = 3, .sync_us = 2000, .trailing = 30, .image_ms = 200, .leaders = 700, .assassin = 150,
	  .small = true },
	/* Who was told to lead stands late, when it was given up and others have gone on. */
	{ .name = "transfers", .loss = 10, .dup = 20, .slow = 150, .slow_ms = 1200, .delay_us = 1000, .fault_ms = 100, .transfer = 30,
	  .stall = 6, .cut = 3, .crash = 2, .hint = 2, .clock = 1, .sync_us = 5000, .trailing = 30, .image_ms = 200 },
};

enum { PROFILES = sizeof(profiles) / sizeof(profiles[0]) };

int
faults_profile(const char *name)
{
	for (size_t i = 0; i < PROFILES; i++)
		if (strcmp(profiles[i].name, name) == 0)
			return (int)i;
	return -1;
}

static unsigned
scaled(struct world *w, unsigned x)
{
	return (unsigned)(x * between(w, 30, 170) / 100);
}

static void
draw_timing(struct world *w)
{
	struct raft_config *c = &w->timing;

	c->election_ms = (uint32_t)between(w, 150, 1000);
	c->heartbeat_ms = c->election_ms / (uint32_t)between(w, 4, 10);
	c->lease_ms = (uint32_t)between(w, c->heartbeat_ms, c->election_ms - 1);
	c->inflight_bytes = between(w, 1, 200) * ENTRY_BYTES;
}

/* Servers and first voters; the others wait to be added. */
static void
draw_servers(struct world *w)
{
	static const unsigned sizes[] = { 1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7 };

	w->nodes = sizes[below(w, sizeof(sizes) / sizeof(sizes[0]))];
	w->boot.n = chance(w, 700) ? w->nodes : between(w, 1, w->nodes);
	w->nclients = (unsigned)between(w, 2, CLIENTS_MAX - 1);
}

void
faults_draw(struct world *w)
{
	static const unsigned packets[] = { 1, 1, 2, 4, 16, PACKET_ENTRIES_MAX };

	w->p = profiles[w->profile >= 0 ? (size_t)w->profile : below(w, PROFILES)];
	w->p.fault_ms = scaled(w, w->p.fault_ms);
	w->p.loss = scaled(w, w->p.loss);
	w->p.delay_us = scaled(w, w->p.delay_us);
	w->p.sync_us = scaled(w, w->p.sync_us);
	w->p.trailing = scaled(w, w->p.trailing);
	w->p.image_ms = scaled(w, w->p.image_ms) + 1;
	w->fifo = chance(w, 500);
	w->packet_max = w->p.small ? 1 : packets[below(w, sizeof(packets) / sizeof(packets[0]))];
	w->think_us = between(w, 2, 80) * MS;
	draw_timing(w);
	draw_servers(w);
	w->p.fault_ms = w->p.fault_ms * w->timing.election_ms / 500 + 1;
	TRACE(w, "profile %s: %u servers, %zu voters, %u clients, election %u ms, heartbeat %u ms, lease %u ms, %s",
	    w->p.name, w->nodes, w->boot.n, w->nclients, w->timing.election_ms, w->timing.heartbeat_ms, w->timing.lease_ms,
	    w->fifo ? "in order" : "out of order");
}

/* ---- hints, true and false: connections come and go, somebody is said to have died */

static void
hint(struct world *w, struct node *to, enum event_type type, uint64_t peer, bool up)
{
	if (to->up)
		world_post(w, w->now + (w->calm ? MS : around(w, 5 * MS)), type, to, peer, up, 0, NULL);
}

/* n has started or ended: most others notice, at some time. */
void
faults_hint(struct world *w, struct node *n, bool up)
{
	for (unsigned i = 0; i < w->nodes; i++) {
		struct node *o = &w->node[i];

		if (o == n || !o->up || w->cut[n->slot][i] || w->cut[i][n->slot])
			continue;
		if (up)
			hint(w, n, EV_LINK, o->dir->id, true);
		if (up || chance(w, 700))
			hint(w, o, EV_LINK, n->dir->id, up);
		if (!up && chance(w, 500))
			hint(w, o, EV_LOST, n->dir->id, false);
	}
}

static void
false_hint(struct world *w)
{
	struct node *n = &w->node[below(w, w->nodes)], *o = &w->node[below(w, w->nodes)];

	if (n == o)
		return;
	if (chance(w, 600)) {
		if (chance(w, 500))
			o = world_node(w, n->core.leader) != NULL ? world_node(w, n->core.leader) : o;
		hint(w, n, EV_LOST, o->dir->id, false);
		return;
	}
	hint(w, n, EV_LINK, o->dir->id, false);
	hint(w, n, EV_LINK, o->dir->id, true);
}

/* ---- cuts */

static void
cut_pair(struct world *w, unsigned a, unsigned b, bool both)
{
	w->cut[a][b] = true;
	if (both)
		w->cut[b][a] = true;
}

static void
cut_groups(struct world *w, unsigned mask, unsigned way)
{
	for (unsigned a = 0; a < w->nodes; a++)
		for (unsigned b = 0; b < w->nodes; b++)
			if ((mask >> a & 1) != 0 && (mask >> b & 1) == 0) {
				cut_pair(w, way == 2 ? b : a, way == 2 ? a : b, way == 0);
				if (way == 0 && chance(w, 500))
					hint(w, &w->node[a], EV_LINK, w->node[b].dir->id, false);
			}
}

static void
cut(struct world *w)
{
	unsigned mask = (unsigned)below(w, 1u << w->nodes), way = (unsigned)below(w, 4);

	/* A leader alone, or as good as deaf or dumb, is the hardest case. */
	for (unsigned i = 0; chance(w, 300 + w->p.leaders) && i < w->nodes; i++)
		if (w->node[i].up && w->node[i].core.role == RAFT_LEADER)
			mask = 1u << i | (chance(w, 300) ? 1u << below(w, w->nodes) : 0);
	if (way == 3) {
		for (unsigned i = 0; i < w->nodes; i++)
			cut_pair(w, (unsigned)below(w, w->nodes), (unsigned)below(w, w->nodes), chance(w, 500));
	} else {
		cut_groups(w, mask, way);
	}
	TRACE(w, "network is cut: servers %x, way %u", mask, way);
	world_post(w, w->now + 50 * MS + around(w, 1000 * MS), EV_HEAL, NULL, ++w->cut_gen, 0, 0, NULL);
}

void
faults_heal(struct world *w, uint32_t gen)
{
	if (gen != w->cut_gen)
		return;
	TRACE(w, "network heals");
	for (unsigned a = 0; a < w->nodes; a++)
		for (unsigned b = 0; b < w->nodes; b++) {
			if (w->cut[a][b] || w->cut[b][a])
				hint(w, &w->node[a], EV_LINK, w->node[b].dir->id, true);
		}
	for (unsigned a = 0; a < NODES_MAX; a++)
		for (unsigned b = 0; b < NODES_MAX; b++)
			w->cut[a][b] = false;
}

/* ---- one fault */

static void
suspend(struct world *w, struct node *n)
{
	if (n->pause_until > w->now)
		return;
	n->pause_until = w->now + 10 * MS + around(w, 500 * MS);
	TRACE(w, "%s is suspended for %llu ms", trace_name(w, n->dir->id), (unsigned long long)((n->pause_until - w->now) / MS));
}

static void
power_failure(struct world *w)
{
	TRACE(w, "power fails");
	for (unsigned i = 0; i < w->nodes; i++)
		if (w->node[i].up)
			node_crash(w, &w->node[i]);
}

static void
transfer(struct world *w, struct node *n)
{
	struct raft_event ev = { .type = RAFT_TRANSFER };
	struct node *to = &w->node[below(w, w->nodes)];

	if (n->pause_until > w->now)
		return;
	if (chance(w, 500) && to != n)
		ev.peer = to->dir->id;
	if (node_try(w, n, &ev, NULL) == 0)
		w->tally.transfers++;
}

static void
strike(struct world *w, struct node *n)
{
	const struct profile *p = &w->p;
	const unsigned weights[] = { p->crash, p->point, p->pause, p->stall, p->cut, p->transfer, p->wipe, p->hint, p->clock };
	unsigned sum = 0, which = 0;
	uint64_t at;

	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
		sum += weights[i];
	for (at = below(w, sum); at >= weights[which]; which++)
		at -= weights[which];
	if (!n->up && which != 4 && which != 6 && which != 7)
		return;
	switch (which) {
	case 0:
		if (chance(w, 50))
			power_failure(w);
		else
			node_crash(w, n);
		break;
	case 1:
		n->crash_in = (unsigned)between(w, 1, 12);
		break;
	case 2:
		suspend(w, n);
		break;
	case 3:
		disk_stall(w, n->dir, around(w, 1500 * MS));
		break;
	case 4:
		cut(w);
		break;
	case 5:
		transfer(w, n);
		break;
	case 6:
		admin_wipe(w);
		break;
	case 7:
		false_hint(w);
		break;
	default:
		clock_drift(w, n);
		break;
	}
}

/* Shortly after it has become leader, when some of its first messages have arrived. */
void
faults_elected(struct world *w, struct node *n)
{
	if (!w->calm && chance(w, w->p.assassin))
		world_post(w, w->now + below(w, 16 * (uint64_t)w->p.delay_us), EV_ASSASSIN, n, 0, 0, 0, NULL);
}

/* Alone, or dead. */
void
faults_assassin(struct world *w, struct node *n)
{
	if (w->calm)
		return;
	if (chance(w, 200)) {
		node_crash(w, n);
		return;
	}
	cut_groups(w, 1u << n->slot, 0);
	TRACE(w, "network is cut: %s is alone", trace_name(w, n->dir->id));
	world_post(w, w->now + 50 * MS + around(w, 500 * MS), EV_HEAL, NULL, ++w->cut_gen, 0, 0, NULL);
}

void
faults_next(struct world *w)
{
	struct node *n = &w->node[below(w, w->nodes)];

	if (w->calm)
		return;
	for (unsigned i = 0; chance(w, 300 + w->p.leaders) && i < w->nodes; i++)
		if (w->node[i].up && w->node[i].core.role == RAFT_LEADER)
			n = &w->node[i];
	for (unsigned i = 0; w->p.spare && n->core.role == RAFT_LEADER && i < w->nodes; i++)
		n = &w->node[(n->slot + 1) % w->nodes];
	world_post(w, w->now + around(w, w->p.fault_ms * MS), EV_FAULT, NULL, 0, 0, 0, NULL);
	strike(w, n);
}

/* All that can come back comes back, and hears of the others. */
void
faults_stop(struct world *w)
{
	TRACE(w, "faults stop");
	w->calm = true;
	faults_heal(w, ++w->cut_gen);
	for (unsigned i = 0; i < w->nodes; i++) {
		struct node *n = &w->node[i];

		n->crash_in = 0;
		n->dir->stall_until = 0;
		if (!n->up)
			world_post(w, w->now, EV_RESTART, n, 0, 0, 0, NULL);
		for (unsigned k = 0; k < w->nodes; k++)
			if (k != i)
				hint(w, n, EV_LINK, w->node[k].dir->id, true);
	}
}
