/*
 * persist.c - entries on their way to the disk, and what the store says of
 * it. They are in memory first: the store has them from there, and so have
 * other servers.
 */
#include <inttypes.h>
#include <unistd.h>

#include "raftd/engine.h"

#define SUB "agent.server.raft"

static void
out_of_memory(void)
{
	log_fatal(SUB, "no memory for log entries");
}

/* ---- what the core wants on disk */

struct batch *
engine_batch(struct engine *e)
{
	struct batch *b = e->spare;

	e->spare = NULL;
	if (b == NULL)
		b = batch_new();
	if (b == NULL)
		out_of_memory();
	return b;
}

/* Configurations among them come into force with the log; the newest time is where cluster time goes on. */
static void
note_entries(struct raftd *r, const struct batch *b)
{
	struct engine *e = &r->engine;
	struct str newest = STR_NONE;
	struct batch_cursor c;
	struct batch_entry entry;
	struct fsm_entry fe;
	char err[256];

	if (batch_read(batch_bytes(b), b->first, &c) < 0)
		return;
	while (batch_next(&c, false, &entry) > 0) {
		if (entry.kind == ENTRY_STATE) {
			newest = entry.data;
			continue;
		}
		/* A long log may hold any number of them; the one before it is committed: member.c of the core. */
		configs_compact(e->configs, entry.index - 1);
		if (configs_add(e->configs, entry.index, entry.data, err) < 0)
			log_fatal(SUB, "cannot take a configuration: index=%" PRIu64 " error=\"%s\"", entry.index, err);
	}
	if (newest.p != NULL && fsm_entry_decode(newest, &fe) == 0 && fe.time > e->time_last)
		e->time_last = fe.time;
}

/* Takes the batch, which has its place. */
static void
append(struct raftd *r, struct batch *b)
{
	struct engine *e = &r->engine;

	e->flight_bytes += b->bytes.len;
	if (entries_add(&e->entries, b) < 0)
		out_of_memory();
	if (e->store != NULL) {
		store_append(e->store, b);
	} else {
		loop_defer(&r->d->loop, DEFER_WORK, &e->persisted);
	}
}

static void
append_received(struct raftd *r, struct batch *b)
{
	note_entries(r, b);
	append(r, b);
}

/* The leader's own first entry. */
static struct batch *
make_noop(struct raftd *r)
{
	struct fsm_entry noop = { .kind = FSM_ENTRY_NOOP };
	struct engine *e = &r->engine;
	struct batch *b = engine_batch(e);
	size_t at;

	e->time_base = e->time_last > e->time_heard ? e->time_last : e->time_heard;
	e->time_base_ns = clock_ns();
	e->term_led = e->core.term;
	noop.time = e->time_last = e->time_base;
	if (batch_entry_begin(b, ENTRY_STATE, &at) < 0 || fsm_entry_encode(&noop, &b->bytes) < 0)
		out_of_memory();
	batch_entry_end(b, at);
	return b;
}

static void
truncate_log(struct raftd *r, uint64_t from)
{
	struct engine *e = &r->engine;

	log_info(SUB, "entries that the leader does not have are cut off: from=%" PRIu64, from);
	waiters_cut(r, from);
	if (e->store != NULL)
		store_truncate(e->store, from);
	entries_truncate(&e->entries, from);
	configs_truncate(e->configs, from);
	e->flight_bytes = 0;
	for (size_t i = e->entries.n; i-- > 0 && batch_last(entries_at(&e->entries, i)) > e->core.applied;)
		e->flight_bytes += entries_at(&e->entries, i)->bytes.len;
}

/*
 * A directory belongs to one cluster for ever: that of the first message that
 * it acts on, or of its first configuration. It is on disk before anything
 * that follows is answered.
 */
void
persist_cluster(struct raftd *r, uint64_t cluster)
{
	struct engine *e = &r->engine;

	if (r->cluster[0] != 0 || cluster == 0)
		return;
	servers_format_id(cluster, r->cluster);
	log_info(SUB, "this server belongs to a cluster now: cluster=%s", r->cluster);
	if (e->store != NULL) {
		store_cluster(e->store, cluster);
		store_state(e->store, e->core.term, e->core.vote);
	}
}

void
persist_effects(struct raftd *r, const struct raft_effects *fx, const struct source *src)
{
	struct engine *e = &r->engine;
	struct batch *b = src->proposed;

	if (fx->hard_state || fx->append_n > 0)
		persist_cluster(r, src->cluster);
	if (fx->hard_state && e->store != NULL)
		store_state(e->store, e->core.term, e->core.vote);
	else if (fx->hard_state)
		loop_defer(&r->d->loop, DEFER_WORK, &e->persisted);
	if (fx->truncate_from != 0)
		truncate_log(r, fx->truncate_from);
	if (fx->append_n == 0)
		return;
	if (fx->noop)
		b = make_noop(r);
	if (b == NULL) {
		receive_entries(r, src->wire, fx->append_first, fx->append_n, append_received);
		return;
	}
	batch_seal(b, fx->append_first, trail_term(&e->core.trail, fx->append_first));
	if (src->cluster != 0)
		note_entries(r, b);
	append(r, b);
}

/* ---- what the store tells */

static void
persisted(struct raftd *r, const struct durable *d, uint64_t epoch)
{
	const struct raft_event ev = { .type = RAFT_PERSISTED, .now_ms = clock_ms(), .term = d->term, .vote = d->vote,
		.index = d->last, .epoch = epoch };

	engine_step(r, &ev);
	apply_forget(r);
}

static void
on_durable(void *ctx, const struct durable *d, uint64_t epoch)
{
	struct engine *e = &((struct raftd *)ctx)->engine;
	struct store_stats now;

	store_stats(e->store, &now);
	count_synced(&e->counted, &now);
	e->counted = now;
	persisted(ctx, d, epoch);
}

/* In memory everything is as durable as it gets at once. */
static void
on_dev_persisted(struct defer *def)
{
	struct raftd *r = (struct raftd *)((char *)def - offsetof(struct raftd, engine.persisted));
	const struct raft *core = &r->engine.core;
	struct durable d = { core->term, core->vote, core->trail.last };

	persisted(r, &d, core->epoch);
}

static void
on_compacted(void *ctx, uint64_t base)
{
	const struct raft_event ev = { .type = RAFT_COMPACTED, .now_ms = clock_ms(), .index = base };

	engine_step(ctx, &ev);
}

static void
on_space(void *ctx, bool full)
{
	struct raftd *r = ctx;

	r->engine.disk_full = full;
	if (full) {
		log_err(SUB, "the disk is full: writes are refused, reads go on: dir=%s", r->dir);
		if (!engine_yield(r))
			waiters_fail(r, "The server's disk is full");
	} else {
		log_info(SUB, "the disk has room again: writes are accepted: dir=%s", r->dir);
	}
	engine_keep(r);
}

/* What is on disk can no longer be told: only a new start, which reads it, may go on. */
static void
on_failed(void *ctx, const char *text)
{
	(void)ctx;
	log_err(SUB, "%s; stopping, since what is on disk is no longer known", text);
	_exit(1);
}

static void
on_stopped(void *ctx)
{
	struct raftd *r = ctx;

	loop_defer(&r->d->loop, DEFER_FLUSH, &r->engine.drained);
}

/* The last writes' answers go out at the end of the turn: only then may the loop stop. */
static void
on_drained(struct defer *d)
{
	struct raftd *r = (struct raftd *)((char *)d - offsetof(struct raftd, engine.drained));

	daemon_stopped(r->d);
}

const struct store_events persist_events = { .durable = on_durable, .read = send_read, .staged = install_staged,
	.compacted = on_compacted, .space = on_space, .failed = on_failed, .stopped = on_stopped };

void
persist_stop(struct raftd *r)
{
	struct engine *e = &r->engine;

	if (e->store == NULL) {
		loop_defer(&r->d->loop, DEFER_FLUSH, &e->drained);
		return;
	}
	apply_flush(r);
	store_stop(e->store);
}

void
persist_init(struct engine *e)
{
	e->persisted.cb = on_dev_persisted;
	e->drained.cb = on_drained;
}

void
persist_release(struct raftd *r)
{
	loop_undefer(&r->d->loop, DEFER_WORK, &r->engine.persisted);
	loop_undefer(&r->d->loop, DEFER_FLUSH, &r->engine.drained);
}
