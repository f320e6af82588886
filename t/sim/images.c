/*
 * images.c - snapshots between servers: made, sent in chunks, stored, installed.
 *
 * A snapshot holds the state of the moment when making it began, and is
 * ready later. At the receiver each chunk takes time to store, the file may
 * be lost on the way, and a complete one may turn out to be damaged.
 */
#include "t/sim/world.h"

void
image_make(struct world *w, struct node *n)
{
	struct snap *s = world_snap(w);

	s->state = n->state;
	s->s = (struct raft_snapshot){ .id = rnd(w) | 1, .index = n->state.applied,
		.term = w->entries[n->state.uid].term, .size = between(w, 1, 5 * CHUNK_BYTES) };
	n->outgoing = s;
	world_post(w, w->now + MS + around(w, 20 * MS), EV_SNAPSHOT, n, 0, 0, 0, s);
}

void
image_made(struct world *w, struct node *n, const struct snap *s)
{
	struct raft_event ev = { .type = RAFT_SNAPSHOT_READY };

	if (n->outgoing != s)
		return;
	if (!w->calm && chance(w, w->p.damage)) {
		ev.type = RAFT_SNAPSHOT_FAILED;
		n->outgoing = NULL;
	} else {
		ev.snapshot = s->s;
	}
	node_step(w, n, &ev, NULL);
}

/* The chunk is written where the message says; what that makes complete shows in `have`. */
void
image_chunk(struct world *w, struct node *n, const struct packet *k)
{
	if (n->incoming != k->snap) {
		n->incoming = k->snap;
		n->incoming_have = 0;
	}
	if (k->m.offset > n->incoming_have)
		world_fail(w, "chunks in order", "%s stores %llu at %llu of a file that has %llu", trace_name(w, n->dir->id),
		    (unsigned long long)k->m.bytes, (unsigned long long)k->m.offset, (unsigned long long)n->incoming_have);
	if (k->m.offset + k->m.bytes > n->incoming_have)
		n->incoming_have = k->m.offset + k->m.bytes;
	world_post(w, w->now + around(w, 2 * MS), EV_CHUNK, n, n->incoming_have, 0, 0, n->incoming);
}

void
image_stored(struct world *w, struct node *n, const struct event *e)
{
	struct raft_event ev = { .type = RAFT_CHUNK, .index = e->a };

	if (n->incoming != e->p || n->installing)
		return;
	if (!w->calm && chance(w, w->p.damage))
		ev.index = n->incoming_have = 0;
	if (ev.index > n->incoming_have)
		return;
	ev.snapshot = n->incoming->s;
	node_step(w, n, &ev, NULL);
}

void
image_install(struct world *w, struct node *n)
{
	if (n->incoming == NULL || n->incoming_have != n->incoming->s.size)
		world_fail(w, "chunks in order", "%s installs a snapshot of which it has %llu bytes", trace_name(w, n->dir->id),
		    (unsigned long long)n->incoming_have);
	n->installing = true;
	TRACE(w, "%s loads the snapshot of %llu", trace_name(w, n->dir->id), (unsigned long long)n->incoming->s.index);
	world_post(w, w->now + MS + around(w, 50 * MS), EV_LOAD, n, 0, 0, 0, NULL);
}

void
image_loaded(struct world *w, struct node *n)
{
	struct raft_event ev = { .type = RAFT_INSTALL_FAILED, .snapshot = n->incoming->s };

	if (w->calm || !chance(w, w->p.damage)) {
		disk_queue(w, n, DISK_INSTALL, 0, 0, n->incoming);
		disk_kick(w, n);
		return;
	}
	n->incoming = NULL;
	n->incoming_have = 0;
	n->installing = false;
	node_step(w, n, &ev, NULL);
}

void
image_installed(struct world *w, struct node *n, struct snap *s)
{
	struct raft_event ev = { .type = RAFT_INSTALLED, .snapshot = s->s, .config = &s->state.config };

	if (s->s.index < n->state.applied)
		world_fail(w, "installed snapshot is newer", "%s has applied %llu, installs %llu", trace_name(w, n->dir->id),
		    (unsigned long long)n->state.applied, (unsigned long long)s->s.index);
	n->installing = false;
	n->incoming = NULL;
	n->incoming_have = 0;
	w->tally.installs++;
	n->state = s->state;
	n->commit = n->image_queued = s->s.index;
	n->told_persisted = s->s.index;
	log_reset(&n->log, s->s.index, s->state.uid);
	node_step(w, n, &ev, NULL);
}
