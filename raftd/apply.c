/* apply.c - committed entries into the state machine, and what comes of them. */
#include <inttypes.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

#define SUB "agent.server.raft"

enum { RESULT_MAX = RPC_REPLY_MAX, RESULT_KEEP = 64 * 1024 };

static void
on_changed(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct raftd *r = ctx;

	if (r->engine.store != NULL && store_change(r->engine.store, table, key, value) < 0)
		log_fatal(SUB, "no memory for the changes of the image");
}

static void
on_touched(void *ctx, const struct watch_key *key)
{
	watch_touched(ctx, key);
}

static void on_staged_record(void *ctx, enum fsm_table table, struct str key, struct str value);

/* An installation that came to nothing has taken the place of what was staged. */
static void
stage_all(struct raftd *r)
{
	const struct fsm_sink whole = { .ctx = r, .changed = on_staged_record };
	struct engine *e = &r->engine;

	e->stage_lost = false;
	store_stage_begin(e->store);
	if (fsm_dump(e->fsm, &whole) < 0)
		log_fatal(SUB, "no memory for the changes of the image");
}

/*
 * A restore: the image of the new state is written beside the one in force,
 * which stands still meanwhile. A start in between finds the log in front of
 * it, and begins the restore anew.
 */
static void
on_staged(void *ctx, enum fsm_stage what)
{
	struct raftd *r = ctx;
	struct engine *e = &r->engine;

	if (what == FSM_STAGE_COMMIT)
		leader_restored(r);
	if (e->store == NULL)
		return;
	switch (what) {
	case FSM_STAGE_BEGIN:
		e->stage_lost = false;
		store_stage_begin(e->store);
		break;
	case FSM_STAGE_DROP:
		store_stage_drop(e->store);
		break;
	case FSM_STAGE_COMMIT:
		if (e->stage_lost)
			stage_all(r);
		e->image_sent = fsm_applied(e->fsm);
		if (store_stage_commit(e->store, e->image_sent, 0) < 0)
			log_fatal(SUB, "no memory for the changes of the image");
		break;
	}
}

static void
on_staged_record(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct store *st = ((struct raftd *)ctx)->engine.store;

	if (st == NULL)
		return;
	if (store_stage(st, table, key, value) < 0 || (store_changed_bytes(st) >= STORE_IMAGE_CHUNK && store_stage_send(st) < 0))
		log_fatal(SUB, "no memory for the changes of the image");
}

static struct fsm_sink
sink_of(struct raftd *r)
{
	return (struct fsm_sink){ .ctx = r, .changed = on_changed, .touched = on_touched, .staged = on_staged,
		.staged_record = on_staged_record };
}

void
apply_flush(struct raftd *r)
{
	const struct fsm_sink sink = sink_of(r);
	struct engine *e = &r->engine;

	if (e->store == NULL || e->core.applied == e->image_sent || e->installing || fsm_restoring(e->fsm))
		return;
	e->image_sent = e->core.applied;
	engine_keep(r);
	if (fsm_flush(e->fsm, &sink) < 0 || store_changes_send(e->store, e->core.applied) < 0)
		log_fatal(SUB, "no memory for the changes of the image");
	(void)uv_timer_stop(&e->image);
}

static void
on_image_timer(uv_timer_t *t)
{
	apply_flush(t->data);
}

void
apply_init(struct raftd *r)
{
	struct engine *e = &r->engine;

	(void)uv_timer_init(&r->d->loop.uv, &e->image);
	e->image.data = r;
	buf_init(&e->result, RESULT_MAX);
}

void
apply_release(struct raftd *r)
{
	uv_close((uv_handle_t *)&r->engine.image, NULL);
	buf_release(&r->engine.result);
}

static void
apply_state(struct raftd *r, const struct batch_entry *entry)
{
	const struct fsm_sink sink = sink_of(r);
	struct engine *e = &r->engine;
	struct fsm_error err = { .code = 0 };
	struct fsm_entry fe = { .kind = 0 };
	uint64_t began = clock_ns();
	int rc;

	buf_clear(&e->result);
	rc = fsm_entry_decode(entry->data, &fe);
	if (rc == 0)
		rc = fsm_apply(e->fsm, entry->index, &fe, &e->result, &err, &sink);
	/* To go on without it would make this server another than the others, and nobody would notice. */
	if (rc == -EDECODE)
		log_fatal(SUB, "cannot apply the log: an entry is damaged, or a later release wrote it, which this server then needs as well: "
		    "index=%" PRIu64 " kind=%" PRIu64 " op=%" PRIu64, entry->index, fe.kind, fe.op);
	if (rc < 0)
		log_fatal(SUB, "cannot apply the log: index=%" PRIu64 " error=\"%s\"", entry->index, err_text(rc));
	count_applied(fe.op, clock_ns() - began);
	waiters_applied(r, entry->index, entry->term, fe.options, (struct str){ (const char *)e->result.data, e->result.len }, &err);
}

static void
apply_servers(struct raftd *r, const struct batch_entry *entry)
{
	const struct fsm_sink sink = sink_of(r);
	struct engine *e = &r->engine;
	void (*done)(void *arg, int rc) = e->change.done;
	int rc = fsm_apply_servers(e->fsm, entry->index, entry->data, &sink);

	if (rc < 0)
		log_fatal(SUB, "cannot apply the log: index=%" PRIu64 " error=\"%s\"", entry->index, err_text(rc));
	configs_compact(e->configs, entry->index);
	if (done != NULL && e->change.index == entry->index) {
		e->change.done = NULL;
		done(e->change.arg, e->change.term == entry->term ? 0 : -RAFT_ENOTLEADER);
	}
}

/* The entries of one batch in (applied, commit]; the last index seen. */
static uint64_t
apply_batch(struct raftd *r, const struct batch *b, uint64_t applied, uint64_t commit)
{
	struct engine *e = &r->engine;
	struct batch_cursor c;
	struct batch_entry entry;

	if (batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c) < 0)
		log_fatal(SUB, "entries in memory are damaged: index=%" PRIu64, b->first);
	while (c.index <= commit && batch_next(&c, false, &entry) > 0) {
		if (entry.index <= applied)
			continue;
		if (entry.kind == ENTRY_STATE)
			apply_state(r, &entry);
		else
			apply_servers(r, &entry);
		applied = entry.index;
	}
	if (applied == batch_last(b))
		e->flight_bytes -= b->bytes.len < e->flight_bytes ? b->bytes.len : e->flight_bytes;
	return applied;
}

/* Other servers may lag a little: a server that is alone keeps nothing for them. */
void
apply_forget(struct raftd *r)
{
	struct engine *e = &r->engine;
	const struct raft_servers *servers = raft_servers(&e->core);
	uint64_t upto = e->core.applied < e->core.persisted ? e->core.applied : e->core.persisted;

	entries_forget(&e->entries, upto, servers != NULL && servers->n > 1 ? ENTRIES_KEEP : 0, &e->spare);
}

void
apply_committed(struct raftd *r, uint64_t commit)
{
	struct raft_event ev = { .type = RAFT_APPLIED };
	struct engine *e = &r->engine;
	uint64_t applied = e->core.applied;
	const struct batch *b;
	size_t place;

	if (entries_find(&e->entries, applied + 1, &place) != NULL)
		for (; (b = entries_at(&e->entries, place)) != NULL && b->first <= commit; place++)
			applied = apply_batch(r, b, applied, commit);
	buf_shrink(&e->result, RESULT_KEEP);
	if (applied != commit)
		log_fatal(SUB, "committed entries are missing: applied=%" PRIu64 " commit=%" PRIu64, applied, commit);
	ev.now_ms = clock_ms();
	ev.index = applied;
	engine_step(r, &ev);
	if (e->store != NULL && store_changed_bytes(e->store) >= STORE_IMAGE_CHUNK)
		apply_flush(r);
	else if (e->store != NULL && !uv_is_active((uv_handle_t *)&e->image))
		(void)uv_timer_start(&e->image, on_image_timer, IMAGE_LAG_MS, 0);
	leader_applied(r);
	snapshot_applied(r);
}
