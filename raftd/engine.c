/*
 * engine.c - drives the core: what it wants on disk goes to the store, what
 * it has committed goes to the state machine, what it has to say goes to the
 * other servers, and what it wants to be woken for becomes a timer.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/engine.h"

#define SUB "agent.server.raft"

enum { EXPIRE_LOOK_MS = 250 /* writes that are undecided without a leader */ };

static const struct source nowhere;

static struct raftd *
of_timer(uv_timer_t *t)
{
	return t->data;
}

/* ---- what the core wants told */

static void
set_timer(struct raftd *r, uint64_t at_ms)
{
	uint64_t now = clock_ms();

	uv_update_time(&r->d->loop.uv);
	(void)uv_timer_start(&r->engine.wake, r->engine.wake.timer_cb, at_ms > now ? at_ms - now : 0, 0);
}

/* Deadlines mostly move away: a timer that goes off before its time costs less than one that is set with every step. */
static void
plan_wake(struct raftd *r, uint64_t wake_ms)
{
	struct engine *e = &r->engine;
	bool sooner = wake_ms < e->wake_ms || !uv_is_active((uv_handle_t *)&e->wake);

	e->wake_ms = wake_ms;
	if (wake_ms != RAFT_NEVER && sooner)
		set_timer(r, wake_ms);
}

/* Entries that other servers still want stay on disk, unless there is no room for them. */
void
engine_keep(struct raftd *r)
{
	const struct engine *e = &r->engine;
	uint64_t index = raft_keep(&e->core), made = install_keep(r);

	if (e->store != NULL)
		store_keep(e->store, e->disk_full ? UINT64_MAX : made < index ? made : index);
}

void
engine_config_changed(struct raftd *r)
{
	const struct raft_config_entry *c = configs_current(r->engine.configs, NULL);
	uint64_t cluster;

	if (c != NULL && servers_parse_id(c->cluster, &cluster) == 0)
		persist_cluster(r, cluster);
	if (c != NULL)
		net_servers(r, c);
	join_config_changed(r);
	autopilot_config_changed(r);
}

static void
on_expire(uv_timer_t *t)
{
	struct raftd *r = of_timer(t);

	if (!waiters_expire(r, clock_ns() - r->hold_ms * NS_PER_MS))
		(void)uv_timer_stop(t);
}

static void
role_changed(struct raftd *r)
{
	struct engine *e = &r->engine;

	leader_role_changed(r);
	join_role_changed(r);
	snapshot_role_changed(r);
	if (e->core.role == RAFT_LEADER) {
		(void)uv_timer_stop(&e->expire);
		return;
	}
	install_unneeded(r);
	if (e->wn > 0)
		(void)uv_timer_start(&e->expire, on_expire, EXPIRE_LOOK_MS, EXPIRE_LOOK_MS);
}

/* For who looks after the servers: the same words whatever the reason would leave him in the dark. */
static void
tell_lost(const struct raft *core, uint64_t term)
{
	uint64_t now = clock_ms(), heard = peers_heard_ms(&core->peers, core->config.id, now);

	if (core->term != term)
		log_info(SUB, "stepping down: reason=\"another server's term\" term=%" PRIu64, core->term);
	else if (core->stall_ms != RAFT_NEVER && core->stall_ms + core->config.election_ms <= now)
		log_warn(SUB, "stepping down: reason=\"the disk does not answer\" ms=%" PRIu64, now - core->stall_ms);
	else if (heard + core->config.election_ms <= now)
		log_warn(SUB, "stepping down: reason=\"no word from a majority\" ms=%" PRIu64, now - heard);
	else
		log_info(SUB, "stepping down: reason=\"removed or handed over\"");
}

void
engine_act(struct raftd *r, const struct raft_effects *fx, const struct source *src, bool led)
{
	struct engine *e = &r->engine;

	if (led && e->core.role != RAFT_LEADER) {
		e->led_ms = clock_ms();
		tell_lost(&e->core, e->term_led);
		proposals_drop(r);
	}
	persist_effects(r, fx, src);
	plan_wake(r, fx->wake_ms);
	send_messages(r, fx);
	if (fx->config_changed)
		engine_config_changed(r);
	if (fx->role_changed)
		role_changed(r);
	if (fx->commit > e->core.applied && !e->installing)
		apply_committed(r, fx->commit);
	for (int kind = 0; kind < 2; kind++)
		if (fx->reads_ready[kind] != 0) {
			if (e->barrier_again[kind])
				loop_defer(&r->d->loop, DEFER_WORK, &r->barrier[kind]);
			e->barrier_again[kind] = false;
			hold_wake_reads(r, fx->reads_ready[kind], kind == 1);
		}
	if (fx->leader_changed && e->core.leader != 0 && e->core.leader != r->id)
		hold_wake_leader(r);
	if (fx->snapshot_unneeded)
		install_unneeded(r);
	if (fx->snapshot_wanted)
		install_make(r);
	if (fx->install)
		install_load(r, &e->core.incoming);
	proposals_settle(r, led);
}

int
engine_do(struct raftd *r, const struct raft_event *ev, const struct source *src, struct raft_effects *fx)
{
	struct engine *e = &r->engine;
	bool led = e->core.role == RAFT_LEADER;
	int rc = raft_step(&e->core, ev, fx);

	if (rc == 0)
		engine_act(r, fx, src, led);
	return rc;
}

int
engine_try(struct raftd *r, const struct raft_event *ev)
{
	struct raft_effects fx;

	return engine_do(r, ev, &nowhere, &fx);
}

void
engine_step(struct raftd *r, const struct raft_event *ev)
{
	int rc = engine_try(r, ev);

	if (rc < 0)
		log_fatal(SUB, "the consensus core refused an event: type=%d error=\"%s\"", (int)ev->type, err_text(rc));
}

/* ---- timers */

static void
on_wake(uv_timer_t *t)
{
	const struct raft_event ev = { .type = RAFT_TIMER, .now_ms = clock_ms() };
	struct raftd *r = of_timer(t);
	struct engine *e = &r->engine;

	if (e->stopping || e->wake_ms == RAFT_NEVER)
		return;
	if (ev.now_ms < e->wake_ms)
		set_timer(r, e->wake_ms);
	else
		engine_step(r, &ev);
}

/* ---- questions */

bool
engine_leads(const struct raftd *r)
{
	const struct engine *e = &r->engine;

	return e->core.role == RAFT_LEADER && e->core.applied >= e->core.term_start && e->core.transfer_to == 0;
}

int64_t
engine_now(const struct raftd *r)
{
	const struct engine *e = &r->engine;
	int64_t now = e->time_base + (int64_t)(clock_ns() - e->time_base_ns);

	return now > e->time_last ? now : e->time_last;
}

int
engine_read(struct raftd *r, bool consistent, uint64_t *ret_number)
{
	const struct raft_event ev = { .type = RAFT_READ, .now_ms = clock_ms(), .consistent = consistent };
	struct raft_effects fx;
	int rc = engine_do(r, &ev, &nowhere, &fx);

	if (rc == 0)
		*ret_number = fx.read;
	return rc;
}

bool
engine_known_leader(const struct raftd *r)
{
	return r->engine.core.leader != 0;
}

bool
engine_lags(const struct raftd *r)
{
	const struct engine *e = &r->engine;

	return e->core.role != RAFT_LEADER && e->core.leader != 0 &&
	    (e->installing || e->core.incoming.id != 0 || e->commit_heard > e->core.applied + LAG_ENTRIES);
}

uint64_t
engine_last_contact(const struct raftd *r)
{
	const struct engine *e = &r->engine;
	uint64_t now = clock_ms(), last = e->core.heard_ms > e->led_ms ? e->core.heard_ms : e->led_ms;

	if (e->core.role == RAFT_LEADER)
		return 0;
	if (last == 0)
		return RAFT_NEVER;
	return now > last ? now - last : 0;
}

/* ---- start and end */

int
engine_init(struct raftd *r)
{
	struct engine *e = &r->engine;
	uv_timer_t *const timers[] = { &e->wake, &e->expire, &e->drain, &e->held };

	proposals_init(e);
	persist_init(e);
	e->wake_ms = RAFT_NEVER;
	buf_init(&e->scratch, (size_t)1024 * MiB);
	apply_init(r);
	for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
		(void)uv_timer_init(&r->d->loop.uv, timers[i]);
		timers[i]->data = r;
	}
	e->wake.timer_cb = on_wake;
	return start_engine(r, &persist_events);
}

void
engine_start(struct raftd *r)
{
	const struct raft *core = &r->engine.core;

	log_info(SUB, "entering follower state: follower=\"Node at %s [Follower]\" leader=", r->address);
	if (raft_servers(core) != NULL)
		engine_config_changed(r);
	else if (!r->bootstrap)
		log_warn(SUB, "no known peers, aborting election");
	plan_wake(r, core->election_at);
}

void
engine_release(struct raftd *r)
{
	struct engine *e = &r->engine;

	loop_undefer(&r->d->loop, DEFER_WORK, &e->propose);
	persist_release(r);
	install_release(r);
	store_free(e->store);
	if (e->wake.data != NULL) {
		uv_close((uv_handle_t *)&e->wake, NULL);
		uv_close((uv_handle_t *)&e->expire, NULL);
		uv_close((uv_handle_t *)&e->drain, NULL);
		uv_close((uv_handle_t *)&e->held, NULL);
		apply_release(r);
	}
	send_release(r);
	entries_release(&e->entries);
	batch_free(e->open);
	batch_free(e->spare);
	configs_free(e->configs);
	raft_release(&e->core);
	fsm_free(e->fsm);
	free(e->waiters);
	free(e->runs);
	free(e->found);
	buf_release(&e->scratch);
}
