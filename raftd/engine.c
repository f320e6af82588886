/*
 * engine.c - drives the core: what it wants on disk goes to the store, what
 * it has committed goes to the state machine, what it wants to be woken for
 * becomes a timer.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

#define SUB "agent.server.raft"

static struct raftd *
of_timer(uv_timer_t *t)
{
	return t->data;
}

/* ---- waiters: a ring, ordered by index */

struct waiter *
engine_waiter(struct engine *e, size_t i)
{
	return &e->waiters[(e->wfirst + i) % e->wcap];
}

void
engine_waiter_pop(struct engine *e)
{
	e->wfirst = (e->wfirst + 1) % e->wcap;
	e->wn--;
}

static int
waiter_add(struct engine *e, const struct waiter *w)
{
	if (e->wn == e->wcap) {
		size_t cap = e->wcap != 0 ? e->wcap * 2 : 64;
		struct waiter *v;

		if (e->wn >= WAITERS_MAX)
			return -ELIMIT;
		v = malloc(cap * sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		for (size_t i = 0; i < e->wn; i++)
			v[i] = e->waiters[(e->wfirst + i) % e->wcap];
		free(e->waiters);
		e->waiters = v;
		e->wfirst = 0;
		e->wcap = cap;
	}
	e->waiters[(e->wfirst + e->wn++) % e->wcap] = *w;
	return 0;
}

bool
engine_in_flight(struct raftd *r, struct str origin, uint64_t seq)
{
	struct engine *e = &r->engine;

	for (size_t i = 0; i < e->wn; i++) {
		const struct waiter *w = engine_waiter(e, i);

		if (w->seq == seq && origin.len == sizeof(w->origin) && memcmp(w->origin, origin.p, origin.len) == 0)
			return true;
	}
	return false;
}

/* Their writes may or may not become part of the log. */
static void
fail_waiters(struct raftd *r, const char *why)
{
	struct engine *e = &r->engine;

	for (size_t i = 0; i < e->wn; i++) {
		struct waiter *w = engine_waiter(e, i);

		if (w->token.conn != 0)
			rpc_reply_error(r->d->rpc, w->token, 500, "%s; whether this write took place is unknown", why);
		w->token.conn = 0;
	}
}

/* ---- one step */

static void
queue_batch(struct raftd *r, struct batch *b, uint64_t first)
{
	struct engine *e = &r->engine;

	batch_seal(b, first, e->core.term);
	*e->tail = b;
	e->tail = &b->next;
	e->flight_bytes += b->bytes.len;
	if (e->store != NULL) {
		store_append(e->store, b);
	} else {
		e->dev_last = batch_last(b);
		loop_defer(&r->d->loop, DEFER_WORK, &e->persisted);
	}
}

static struct batch *
take_batch(struct engine *e)
{
	struct batch *b = e->spare;

	e->spare = NULL;
	if (b == NULL)
		b = batch_new();
	if (b == NULL)
		log_fatal(SUB, "no memory for log entries");
	return b;
}

/* The leader's own first entry. */
static void
append_noop(struct raftd *r, uint64_t first)
{
	struct fsm_entry noop = { .kind = FSM_ENTRY_NOOP };
	struct engine *e = &r->engine;
	struct batch *b = take_batch(e);
	size_t at;

	e->time_base = e->time_last;
	e->time_base_ns = clock_ns();
	noop.time = e->time_base;
	if (batch_entry_begin(b, ENTRY_STATE, &at) < 0 || fsm_entry_encode(&noop, &b->bytes) < 0)
		log_fatal(SUB, "no memory for log entries");
	batch_entry_end(b, at);
	queue_batch(r, b, first);
}

static void
set_wake(struct raftd *r, uint64_t wake_ms)
{
	uint64_t now = clock_ms();

	if (wake_ms == RAFT_NEVER)
		(void)uv_timer_stop(&r->engine.wake);
	else {
		uv_update_time(&r->d->loop.uv);
		(void)uv_timer_start(&r->engine.wake, r->engine.wake.timer_cb, wake_ms > now ? wake_ms - now : 0, 0);
	}
}

static void
act(struct raftd *r, const struct raft_effects *fx)
{
	struct engine *e = &r->engine;

	set_wake(r, fx->wake_ms);
	if (fx->hard_state) {
		if (e->store != NULL)
			store_state(e->store, e->core.term, e->core.vote);
		else
			loop_defer(&r->d->loop, DEFER_WORK, &e->persisted);
	}
	if (fx->role_changed)
		leader_role_changed(r);
	if (fx->noop)
		append_noop(r, fx->append_first);
	if (fx->commit > e->core.applied)
		apply_committed(r, fx->commit);
	if (fx->reads_ready != 0)
		hold_wake(r, fx->reads_ready);
}

void
engine_step(struct raftd *r, const struct raft_event *ev)
{
	struct raft_effects fx;
	int rc = raft_step(&r->engine.core, ev, &fx);

	if (rc < 0)
		log_fatal(SUB, "the consensus core refused an event: type=%d error=\"%s\"", ev->type, err_text(rc));
	act(r, &fx);
}

/* ---- proposals: those of one turn become one batch */

static void
propose_now(struct raftd *r)
{
	struct raft_event ev = { .type = RAFT_PROPOSE, .now_ms = clock_ms() };
	struct engine *e = &r->engine;
	struct batch *b = e->open;
	struct raft_effects fx;
	int rc;

	/* Empty: its first entry found no memory. */
	if (b == NULL || b->n == 0)
		return;
	e->open = NULL;
	ev.count = b->n;
	rc = raft_step(&e->core, &ev, &fx);
	if (rc < 0)
		log_fatal(SUB, "the consensus core refused %u proposals: error=\"%s\"", b->n, err_text(rc));
	count_proposed(b->n);
	queue_batch(r, b, fx.append_first);
	act(r, &fx);
}

static void
on_propose(struct defer *d)
{
	propose_now((struct raftd *)((char *)d - offsetof(struct raftd, engine.propose)));
}

static int
may_propose(const struct engine *e)
{
	if (e->core.role != RAFT_LEADER || e->stopping)
		return -RAFT_ENOTLEADER;
	if (e->disk_full)
		return -ENOSPC;
	if (e->wn >= WAITERS_MAX || e->flight_bytes > FLIGHT_BYTES_MAX)
		return -ELIMIT;
	return 0;
}

int
engine_propose_entry(struct raftd *r, enum entry_kind kind, const struct fsm_entry *entry, struct str raw, const struct waiter *w)
{
	struct engine *e = &r->engine;
	struct waiter waiter = *w;
	size_t at;
	int rc = may_propose(e);

	if (rc < 0)
		return rc;
	if (e->open == NULL)
		e->open = take_batch(e);
	rc = batch_entry_begin(e->open, kind, &at);
	if (rc < 0)
		return rc;
	rc = entry != NULL ? fsm_entry_encode(entry, &e->open->bytes) : buf_add(&e->open->bytes, raw.p, raw.len);
	waiter.index = e->core.trail.last + e->open->n + 1;
	if (rc == 0 && waiter.token.conn != 0)
		rc = waiter_add(e, &waiter);
	if (rc < 0) {
		batch_entry_drop(e->open, at);
		return rc;
	}
	batch_entry_end(e->open, at);
	if (entry != NULL)
		e->time_last = entry->time;
	loop_defer(&r->d->loop, DEFER_WORK, &e->propose);
	if (e->open->bytes.len >= BATCH_BYTES_FULL)
		propose_now(r);
	return 0;
}

int
engine_propose(struct raftd *r, const struct fsm_entry *entry, const struct waiter *w)
{
	static const struct waiter nobody;

	return engine_propose_entry(r, ENTRY_STATE, entry, STR_NONE, w != NULL ? w : &nobody);
}

/* ---- what the store tells */

static void
persisted(struct raftd *r, const struct durable *d, uint64_t index_term)
{
	const struct raft_event ev = { .type = RAFT_PERSISTED, .now_ms = clock_ms(), .term = d->term, .vote = d->vote,
		.index = d->last, .index_term = index_term };

	engine_step(r, &ev);
	apply_forget(r);
}

static void
on_durable(void *ctx, const struct durable *d, uint64_t index_term)
{
	struct engine *e = &((struct raftd *)ctx)->engine;
	struct store_stats now;

	store_stats(e->store, &now);
	count_synced(&e->counted, &now);
	e->counted = now;
	persisted(ctx, d, index_term);
}

/* In memory everything is as durable as it gets at once. */
static void
on_dev_persisted(struct defer *def)
{
	struct raftd *r = (struct raftd *)((char *)def - offsetof(struct raftd, engine.persisted));
	const struct raft *core = &r->engine.core;
	struct durable d = { core->term, core->vote, r->engine.dev_last };

	persisted(r, &d, trail_term(&core->trail, d.last));
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

	if (full) {
		log_err(SUB, "the disk is full: writes are refused, reads go on: dir=%s", r->dir);
		fail_waiters(r, "The server's disk is full");
	} else {
		log_info(SUB, "the disk has room again: writes are accepted: dir=%s", r->dir);
	}
	r->engine.disk_full = full;
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

static const struct store_events events = { on_durable, on_compacted, on_space, on_failed, on_stopped };

/* ---- timers */

static void
on_wake(uv_timer_t *t)
{
	const struct raft_event ev = { .type = RAFT_TIMER, .now_ms = clock_ms() };
	struct raftd *r = of_timer(t);

	if (r->engine.core.role == RAFT_FOLLOWER)
		log_info(SUB, "heartbeat timeout reached, starting election: last-leader=");
	engine_step(r, &ev);
}

/* ---- questions */

bool
engine_leads(const struct raftd *r)
{
	const struct engine *e = &r->engine;

	return e->core.role == RAFT_LEADER && e->core.applied >= e->core.term_start;
}

int64_t
engine_now(const struct raftd *r)
{
	const struct engine *e = &r->engine;
	int64_t now = e->time_base + (int64_t)(clock_ns() - e->time_base_ns);

	return now > e->time_last ? now : e->time_last;
}

int
engine_read(struct raftd *r, uint64_t *ret_number)
{
	const struct raft_event ev = { .type = RAFT_READ, .now_ms = clock_ms() };
	struct raft_effects fx;
	int rc = raft_step(&r->engine.core, &ev, &fx);

	if (rc < 0)
		return rc;
	*ret_number = fx.read;
	act(r, &fx);
	return 0;
}

/* ---- start and end */

/* The time of the newest entry, from which cluster time goes on. */
static void
note_time(struct engine *e, const struct batch *b)
{
	struct batch_cursor c;
	struct batch_entry entry;
	struct fsm_entry fe;

	if (batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c) < 0)
		return;
	while (batch_next(&c, false, &entry) > 0)
		if (entry.kind == ENTRY_STATE && fsm_entry_decode(entry.data, &fe) == 0 && fe.time > e->time_last)
			e->time_last = fe.time;
}

static int
load_record(void *ctx, unsigned table, struct str key, struct str value)
{
	struct raftd *r = ctx;

	return fsm_load(r->engine.fsm, (enum fsm_table)table, key, value);
}

static int
load_batch(void *ctx, struct batch *b)
{
	struct engine *e = &((struct raftd *)ctx)->engine;

	note_time(e, b);
	*e->tail = b;
	e->tail = &b->next;
	e->flight_bytes += b->bytes.len;
	return 0;
}

static int
open_store(struct raftd *r)
{
	const struct store_config c = { .path = r->dir, .tables = FSM_TABLES, .events = &events, .ctx = r,
		.trailing = (uint64_t)cfg_int(r->d->config, "raft_trailing_logs", 10240) };
	const struct store_loader ld = { r, load_record, load_batch };
	struct engine *e = &r->engine;
	char err[DATADIR_ERROR_MAX];
	int rc = store_open(&r->d->loop, &c, &e->store, err);

	if (rc == 0) {
		r->id = store_found(e->store)->id;
		rc = store_load(e->store, &ld, err);
	}
	if (rc < 0) {
		log_err("agent.server", "%s", err);
		return rc;
	}
	rc = fsm_loaded(e->fsm);
	if (rc < 0) {
		log_err("agent.server", "%s: the image of the state does not fit together (%s): move the directory away and let the "
		    "server rejoin as a new member, or restore a backup", r->dir, err_text(rc));
		return rc;
	}
	if (fsm_time(e->fsm) > e->time_last)
		e->time_last = fsm_time(e->fsm);
	return 0;
}

static int
start_core(struct raftd *r)
{
	const uint64_t m = (uint64_t)cfg_int(r->d->config, "performance.raft_multiplier", 5);
	const struct raft_config c = { .id = r->id, .election_ms = (uint32_t)(200 * m), .heartbeat_ms = (uint32_t)(20 * m),
		.lease_ms = 100, .seed = r->id ^ clock_ns() };
	static const struct store_start nothing;
	const struct store_start *found = r->engine.store != NULL ? store_found(r->engine.store) : &nothing;
	struct str bytes = { (const char *)found->servers.data, found->servers.len };
	uint64_t voters[RAFT_VOTERS_MAX];
	struct raft_start s = { .term = found->term, .vote = found->vote, .base = found->base, .last = found->last,
		.applied = found->applied, .runs = found->runs, .nruns = found->nruns, .voters = voters };
	int rc = bytes.len > 0 ? servers_voters(bytes, voters, &s.nvoters) : 0;

	if (rc == 0)
		rc = raft_init(&r->engine.core, &c, &s, clock_ms());
	if (rc < 0)
		log_err("agent.server", "%s: the log does not fit together (%s): move the directory away and let the server rejoin "
		    "as a new member, or restore a backup", r->dir, err_text(rc));
	r->engine.servers_index = found->servers_index;
	r->engine.image_sent = found->applied;
	log_info(SUB, "initial configuration: index=%" PRIu64 " servers=%zu", found->servers_index, s.nvoters);
	return rc;
}

int
engine_init(struct raftd *r)
{
	const struct fsm_config fc = { r->datacenter, 64, cfg_ms(r->d->config, "session_ttl_min", 10000) * NS_PER_MS };
	struct engine *e = &r->engine;
	int rc = 0;

	e->tail = &e->head;
	e->propose.cb = on_propose;
	e->persisted.cb = on_dev_persisted;
	e->drained.cb = on_drained;
	apply_init(r);
	(void)uv_timer_init(&r->d->loop.uv, &e->wake);
	e->wake.data = r;
	e->wake.timer_cb = on_wake;
	e->fsm = fsm_new(&fc);
	if (e->fsm == NULL) {
		log_err("agent.server", "no memory for the state");
		return -ENOMEM;
	}
	if (!r->dev)
		rc = open_store(r);
	if (rc == 0)
		rc = start_core(r);
	if (rc == 0 && e->store != NULL)
		rc = store_run(e->store);
	return rc;
}

/* A server that was told to be the first makes itself the only voter; its configuration entry follows when it leads. */
void
engine_start(struct raftd *r)
{
	struct raft_event ev = { .type = RAFT_SERVERS, .now_ms = clock_ms(), .voters = &r->id, .nvoters = 1 };
	struct raft *core = &r->engine.core;

	log_info(SUB, "entering follower state: follower=\"Node at %s [Follower]\" leader=", r->address);
	if (core->voters.n == 0 && !r->bootstrap)
		log_warn(SUB, "no known peers, aborting election");
	if (core->voters.n == 0 && r->bootstrap)
		engine_step(r, &ev);
	else
		set_wake(r, core->election_at);
}

void
engine_drain(struct raftd *r)
{
	struct engine *e = &r->engine;

	propose_now(r);
	e->stopping = true;
	if (e->store == NULL) {
		loop_defer(&r->d->loop, DEFER_FLUSH, &e->drained);
		return;
	}
	apply_flush(r);
	store_stop(e->store);
}

void
engine_release(struct raftd *r)
{
	struct engine *e = &r->engine;
	struct batch *b;

	loop_undefer(&r->d->loop, DEFER_WORK, &e->propose);
	loop_undefer(&r->d->loop, DEFER_WORK, &e->persisted);
	loop_undefer(&r->d->loop, DEFER_FLUSH, &e->drained);
	store_free(e->store);
	if (e->fsm != NULL) {
		uv_close((uv_handle_t *)&e->wake, NULL);
		apply_release(r);
	}
	while ((b = e->head) != NULL) {
		e->head = b->next;
		batch_free(b);
	}
	batch_free(e->open);
	batch_free(e->spare);
	raft_release(&e->core);
	fsm_free(e->fsm);
	free(e->waiters);
}
