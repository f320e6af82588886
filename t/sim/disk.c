/*
 * disk.c - a model of the store: one queue in order, synced in groups.
 *
 * A sync takes whatever waits when it begins. A crash keeps any prefix of
 * what was not synced, entry by entry, so that hard state, truncation and
 * entries of one step may be torn apart at any point. An installed snapshot
 * replaces image and log in one step of its own.
 */
#include <string.h>

#include "t/sim/world.h"

void
disk_queue(struct world *w, struct node *n, enum disk_op_kind kind, uint64_t a, uint64_t b, void *p)
{
	struct dir *d = n->dir;

	d->q = world_grow(d->q, &d->qcap, d->qn + 1, sizeof(*d->q));
	d->q[d->qn++] = (struct disk_op){ .kind = kind, .a = a, .b = b, .at = w->now, .p = p };
}

void
disk_kick(struct world *w, struct node *n)
{
	struct dir *d = n->dir;
	size_t take = 0;

	if (d->syncing > 0 || d->qn == 0)
		return;
	while (take < d->qn && d->q[take].kind != DISK_INSTALL)
		take++;
	d->syncing = take > 0 ? take : 1;
	world_post(w, w->now + 50 + around(w, w->calm ? 1000 : w->p.sync_us), EV_SYNC, n, 0, 0, 0, NULL);
}

void
disk_stall(struct world *w, struct dir *d, uint64_t us)
{
	if (d->stall_until < w->now + us)
		d->stall_until = w->now + us;
	TRACE(w, "%s disk hangs for %llu ms", trace_name(w, d->id), (unsigned long long)(us / MS));
}

static void
on_truncate(struct world *w, struct dir *d, uint64_t from)
{
	if (from <= d->log.base || from <= d->image.applied)
		world_fail(w, "log kept behind the state", "%s cuts its log off at %llu, the image stands at %llu",
		    trace_name(w, d->id), (unsigned long long)from, (unsigned long long)d->image.applied);
	if (from <= d->log.last)
		d->log.last = from - 1;
	d->epoch++;
}

static void
on_append(struct world *w, struct dir *d, uint64_t index, uint32_t uid)
{
	if (index != d->log.last + 1)
		world_fail(w, "log without gaps", "%s writes entry %llu behind %llu", trace_name(w, d->id),
		    (unsigned long long)index, (unsigned long long)d->log.last);
	log_put(&d->log, index, uid);
}

static void
on_image(struct world *w, struct dir *d, struct state *s)
{
	if (s->applied > d->log.last || s->applied < d->image.applied)
		world_fail(w, "image never ahead of the log", "%s writes an image of %llu over %llu, the log ends at %llu",
		    trace_name(w, d->id), (unsigned long long)s->applied, (unsigned long long)d->image.applied,
		    (unsigned long long)d->log.last);
	d->image = *s;
	world_state_free(w, s);
}

static void
on_install(struct world *w, struct dir *d, const struct snap *s)
{
	if (s->s.index < d->image.applied)
		world_fail(w, "installed snapshot is newer", "%s installs %llu over %llu", trace_name(w, d->id),
		    (unsigned long long)s->s.index, (unsigned long long)d->image.applied);
	d->image = s->state;
	log_reset(&d->log, s->s.index, s->state.uid);
	d->epoch++;
}

static void
carry_out(struct world *w, struct dir *d, const struct disk_op *o)
{
	switch (o->kind) {
	case DISK_STATE:
		if (o->a < d->term || (o->a == d->term && d->vote != 0 && o->b != d->vote))
			world_fail(w, "vote kept", "%s writes term %llu vote %s over term %llu vote %s", trace_name(w, d->id),
			    (unsigned long long)o->a, trace_name(w, o->b), (unsigned long long)d->term, trace_name(w, d->vote));
		d->term = o->a;
		d->vote = o->b;
		break;
	case DISK_TRUNCATE:
		on_truncate(w, d, o->a);
		break;
	case DISK_APPEND:
		on_append(w, d, o->a, (uint32_t)o->b);
		break;
	case DISK_IMAGE:
		on_image(w, d, o->p);
		break;
	case DISK_COMPACT:
		if (o->a > d->log.base && o->a <= d->image.applied)
			d->log.base = o->a;
		break;
	case DISK_INSTALL:
		on_install(w, d, o->p);
		break;
	}
}

static void
carry_out_first(struct world *w, struct dir *d, size_t n)
{
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		carry_out(w, d, &d->q[i]);
	memmove(d->q, d->q + n, (d->qn - n) * sizeof(*d->q));
	d->qn -= n;
}

static void
tell(struct world *w, struct node *n, struct snap *installed)
{
	struct dir *d = n->dir;
	uint32_t gen = n->gen;

	if (installed != NULL) {
		image_installed(w, n, installed);
		return;
	}
	n->told_persisted = d->log.last;
	node_step(w, n, &(struct raft_event){ .type = RAFT_PERSISTED, .term = d->term, .vote = d->vote, .epoch = d->epoch,
		.index = d->log.last }, NULL);
	if (!n->up || n->gen != gen || d->log.base <= n->log.base || d->log.base > n->state.applied)
		return;
	n->log.base = d->log.base;
	TRACE(w, "%s keeps entries behind %llu", trace_name(w, d->id), (unsigned long long)d->log.base);
	node_step(w, n, &(struct raft_event){ .type = RAFT_COMPACTED, .index = d->log.base }, NULL);
}

void
disk_synced(struct world *w, struct node *n)
{
	struct dir *d = n->dir;
	struct snap *installed = d->q[0].kind == DISK_INSTALL ? d->q[0].p : NULL;
	uint32_t gen = n->gen;

	if (d->stall_until > w->now) {
		world_post(w, d->stall_until, EV_SYNC, n, 0, 0, 0, NULL);
		return;
	}
	carry_out_first(w, d, d->syncing);
	d->syncing = 0;
	d->synced_at = w->now;
	TRACE(w, "%s disk has term %llu vote %s last %llu epoch %llu", trace_name(w, d->id), (unsigned long long)d->term,
	    trace_name(w, d->vote), (unsigned long long)d->log.last, (unsigned long long)d->epoch);
	tell(w, n, installed);
	if (n->up && n->gen == gen)
		disk_kick(w, n);
}

void
disk_crash(struct world *w, struct dir *d)
{
	size_t keep = chance(w, 400) ? 0 : chance(w, 250) ? d->qn : below(w, d->qn + 1);

	TRACE(w, "%s disk keeps %zu of %zu unsynced writes", trace_name(w, d->id), keep, d->qn);
	carry_out_first(w, d, keep);
	for (size_t i = 0; i < d->qn; i++)
		if (d->q[i].kind == DISK_IMAGE)
			world_state_free(w, d->q[i].p);
	d->qn = d->syncing = 0;
	d->epoch = 0;
	d->stall_until = 0;
}

static void
compact(struct world *w, struct node *n)
{
	uint64_t applied = n->dir->image.applied, upto;

	if (applied <= n->dir->log.base + w->p.trailing)
		return;
	upto = applied - w->p.trailing;
	/* A shell keeps what followers still want, while it has the room. */
	if (!chance(w, 200) && upto > raft_keep(&n->core))
		upto = raft_keep(&n->core);
	if (upto > n->dir->log.base)
		disk_queue(w, n, DISK_COMPACT, upto, 0, NULL);
}

/* The image is written behind, every now and then; the log is cut behind what it made durable. */
void
disk_image(struct world *w, struct node *n)
{
	struct state *s;

	world_post(w, w->now + around(w, w->p.image_ms * MS), EV_IMAGE, n, 0, 0, 0, NULL);
	if (n->installing || n->state.applied <= n->image_queued)
		return;
	s = world_state(w);
	*s = n->state;
	n->image_queued = s->applied;
	disk_queue(w, n, DISK_IMAGE, s->applied, 0, s);
	compact(w, n);
	disk_kick(w, n);
}

static void
found_run(const struct world *w, struct raft_start *s, struct raft_run *runs, uint64_t index, uint32_t uid)
{
	uint64_t term = w->entries[uid].term;

	if (s->nruns == 0 || runs[s->nruns - 1].term != term)
		runs[s->nruns++] = (struct raft_run){ index, term };
}

/* What recovery would find; memory of the runs is the world's own. */
void
disk_found(struct world *w, const struct dir *d, struct raft_start *ret)
{
	struct raft_start s = { .term = d->term, .vote = d->vote, .base = d->log.base, .last = d->log.last,
		.applied = d->image.applied };

	w->runs = world_grow(w->runs, &w->runscap, d->log.last - d->log.base + 1, sizeof(*w->runs));
	if (d->image.config.n > 0)
		w->found[s.nconfigs++] = d->image.config;
	for (uint64_t i = d->log.base; i <= d->log.last; i++) {
		const struct entry *e = &w->entries[d->log.v[i]];

		if (i > 0)
			found_run(w, &s, w->runs, i, d->log.v[i]);
		if (i > s.applied && e->kind == ENTRY_CONFIG && s.nconfigs < CONFIGS_MAX)
			w->found[s.nconfigs++] = w->configs[e->arg];
	}
	s.runs = w->runs;
	s.configs = w->found;
	*ret = s;
}
