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

void
apply_flush(struct raftd *r)
{
	const struct fsm_sink sink = { r, on_changed, on_touched };
	struct engine *e = &r->engine;

	if (e->store == NULL || e->core.applied == e->image_sent)
		return;
	e->image_sent = e->core.applied;
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
answer(struct raftd *r, uint64_t index, const struct fsm_error *err)
{
	struct engine *e = &r->engine;
	struct waiter w;

	/* Entries of our own have no waiter. */
	if (e->wn == 0 || engine_waiter(e, 0)->index != index)
		return;
	w = *engine_waiter(e, 0);
	engine_waiter_pop(e);
	count_answered(w.op, clock_ns() - w.at_ns);
	if (w.token.conn != 0)
		propose_answer(r, &w, index, (struct str){ (const char *)e->result.data, e->result.len }, err);
}

static void
apply_entry(struct raftd *r, const struct batch_entry *entry)
{
	const struct fsm_sink sink = { r, on_changed, on_touched };
	struct engine *e = &r->engine;
	struct fsm_error err = { .code = 0 };
	struct fsm_entry fe;
	uint64_t began = clock_ns();
	int rc;

	if (entry->kind != ENTRY_STATE)
		return;
	buf_clear(&e->result);
	rc = fsm_entry_decode(entry->data, &fe);
	if (rc == 0)
		rc = fsm_apply(e->fsm, entry->index, &fe, &e->result, &err, &sink);
	if (rc < 0)
		log_fatal(SUB, "cannot apply the log: index=%" PRIu64 " error=\"%s\"", entry->index, err_text(rc));
	count_applied(fe.op, clock_ns() - began);
	answer(r, entry->index, &err);
}

/* The entries of one batch in (applied, commit]; the last index seen. */
static uint64_t
apply_batch(struct raftd *r, const struct batch *b, uint64_t applied, uint64_t commit)
{
	struct batch_cursor c;
	struct batch_entry entry;

	if (batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c) < 0)
		log_fatal(SUB, "entries in memory are damaged: index=%" PRIu64, b->first);
	while (c.index <= commit && batch_next(&c, false, &entry) > 0)
		if (entry.index > applied) {
			apply_entry(r, &entry);
			applied = entry.index;
		}
	return applied;
}

void
apply_forget(struct raftd *r)
{
	struct engine *e = &r->engine;
	uint64_t upto = e->core.applied < e->core.persisted ? e->core.applied : e->core.persisted;
	struct batch *b;

	while ((b = e->head) != NULL && batch_last(b) <= upto) {
		e->head = b->next;
		if (e->head == NULL)
			e->tail = &e->head;
		e->flight_bytes -= b->bytes.len;
		if (e->spare == NULL) {
			batch_clear(b);
			e->spare = b;
		} else {
			batch_free(b);
		}
	}
}

void
apply_committed(struct raftd *r, uint64_t commit)
{
	struct raft_event ev = { .type = RAFT_APPLIED };
	struct engine *e = &r->engine;
	uint64_t applied = e->core.applied;

	for (const struct batch *b = e->head; b != NULL && b->first <= commit; b = b->next)
		if (batch_last(b) > applied)
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
}
