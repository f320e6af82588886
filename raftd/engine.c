/*
 * engine.c - drives the core: what it wants on disk goes to the store, what
 * it has committed goes to the state machine, what it has to say goes to the
 * other servers, and what it wants to be woken for becomes a timer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

#define SUB "agent.server.raft"

enum {
	EXPIRE_LOOK_MS = 250,		/* writes that are undecided without a leader */
	TRANSFER_WAIT_MS = 3000,	/* for another leader, when ours has given up */
	DRAIN_TRANSFER_MS = 700,	/* SIGTERM: for the next leader, */
	DRAIN_ANSWER_MS = 300,		/* and for answers to what is in flight */
	DRAIN_LOOK_MS = 5,
};

/* Where entries come from that the core wants appended. */
struct source {
	struct batch *proposed;
	uint64_t cluster;		/* not 0: it is a configuration of this cluster */
	const struct raft_wire *wire;
};

static const struct source nowhere;

static struct raftd *
of_timer(uv_timer_t *t)
{
	return t->data;
}

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

static struct str
bytes_of(const struct batch *b)
{
	return (struct str){ (const char *)b->bytes.data, b->bytes.len };
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

	if (batch_read(bytes_of(b), b->first, &c) < 0)
		return;
	while (batch_next(&c, false, &entry) > 0)
		if (entry.kind == ENTRY_STATE)
			newest = entry.data;
		else if (configs_add(e->configs, entry.index, entry.data, err) < 0)
			log_fatal(SUB, "cannot take a configuration: index=%" PRIu64 " error=\"%s\"", entry.index, err);
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
static void
join_cluster(struct raftd *r, uint64_t cluster)
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

static void
to_disk(struct raftd *r, const struct raft_effects *fx, const struct source *src)
{
	struct engine *e = &r->engine;
	struct batch *b = src->proposed;

	if (fx->hard_state || fx->append_n > 0)
		join_cluster(r, src->cluster);
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
		join_cluster(r, cluster);
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

/* The proposals of this turn will not be ours to make. */
static void
drop_open(struct raftd *r)
{
	struct engine *e = &r->engine;
	struct batch *b = e->open;

	if (b == NULL)
		return;
	e->open = NULL;
	if (b->n > 0)
		waiters_unproposed(r, b, e->open_first);
	batch_free(b);
}

/* Who waits for a change of the configuration or for another leader. */
static void
settle(struct raftd *r, bool led)
{
	struct engine *e = &r->engine;
	const struct raft *core = &e->core;
	void (*done)(void *arg, int rc) = e->change.done;
	int rc = core->leader != 0 && core->leader != r->id ? 0 : -ETIMEDOUT;

	if (done != NULL && led && core->role != RAFT_LEADER) {
		e->change.done = NULL;
		done(e->change.arg, -RAFT_ENOTLEADER);
	}
	done = e->transfer.done;
	if (done == NULL)
		return;
	if (rc < 0 && (core->role == RAFT_LEADER ? core->transfer_to != 0 : clock_ms() < e->transfer.until_ms))
		return;
	e->transfer.done = NULL;
	done(e->transfer.arg, rc);
	if (engine_leads(r))
		hold_wake_leader(r);
}

static void
act(struct raftd *r, const struct raft_effects *fx, const struct source *src, bool led)
{
	struct engine *e = &r->engine;

	if (led && e->core.role != RAFT_LEADER)
		drop_open(r);
	to_disk(r, fx, src);
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
	settle(r, led);
}

static int
step(struct raftd *r, const struct raft_event *ev, const struct source *src, struct raft_effects *fx)
{
	struct engine *e = &r->engine;
	bool led = e->core.role == RAFT_LEADER;
	int rc = raft_step(&e->core, ev, fx);

	if (rc == 0)
		act(r, fx, src, led);
	return rc;
}

int
engine_try(struct raftd *r, const struct raft_event *ev)
{
	struct raft_effects fx;

	return step(r, ev, &nowhere, &fx);
}

void
engine_step(struct raftd *r, const struct raft_event *ev)
{
	int rc = engine_try(r, ev);

	if (rc < 0)
		log_fatal(SUB, "the consensus core refused an event: type=%d error=\"%s\"", (int)ev->type, err_text(rc));
}

/* ---- a state from another server */

void
engine_replaced(struct raftd *r, struct fsm *fsm, const struct raft_snapshot *s)
{
	const struct watch_key all = { .kind = WATCH_ALL };
	struct raft_servers servers = { .index = 0 };
	struct raft_event ev = { .type = RAFT_INSTALLED, .now_ms = clock_ms(), .snapshot = *s, .config = &servers };
	struct engine *e = &r->engine;
	uint64_t index;
	struct str bytes = fsm_servers(fsm, &index);
	char err[256];

	waiters_passed(r, s->index);
	entries_truncate(&e->entries, 0);
	e->flight_bytes = 0;
	fsm_free(e->fsm);
	e->fsm = fsm;
	if (fsm_time(fsm) > e->time_last)
		e->time_last = fsm_time(fsm);
	e->image_sent = s->index;
	configs_truncate(e->configs, 0);
	/* Checked before the state was taken. */
	if (configs_add(e->configs, index, bytes, err) < 0 || servers_core(index, bytes, &servers, err) < 0)
		log_fatal(SUB, "cannot take the configuration of a snapshot: %s", err);
	watch_touched(r, &all);
	engine_step(r, &ev);
	engine_config_changed(r);
}

/* ---- other servers */

static void
message_of(const struct raft_wire *w, struct raft_message *ret)
{
	*ret = (struct raft_message){ .type = (enum raft_message_type)w->type, .from = w->from, .to = w->to, .term = w->term,
		.prev_index = w->prev_index, .prev_term = w->prev_term, .transfer = w->transfer, .ok = w->ok,
		.first = w->first, .last = w->last, .commit = w->commit, .round = w->round, .sent_ms = w->sent_ms,
		.match = w->match, .hint_index = w->hint_index, .hint_term = w->hint_term,
		.snapshot = { w->snap_id, w->snap_index, w->snap_term, w->snap_size }, .offset = w->offset,
		.bytes = w->data.len, .read = w->read, .read_index = w->read_index, .consistent = w->consistent };
}

int
engine_message(struct raftd *r, const struct raft_wire *w, uint64_t cluster, char ret_err[256])
{
	struct engine *e = &r->engine;
	struct raft_message m;
	struct raft_event ev = { .type = RAFT_MESSAGE, .now_ms = clock_ms(), .message = &m };
	const struct source src = { .cluster = cluster, .wire = w };
	struct raft_effects fx;
	bool led = e->core.role == RAFT_LEADER;
	uint64_t own = 0;
	int rc = r->cluster[0] != 0 ? servers_parse_id(str_from(r->cluster), &own) : 0;

	if (e->stopping)
		return 0;
	if (cluster == 0 || (own != 0 && own != cluster)) {
		(void)snprintf(ret_err, 256, "a message of the core from a server of %s", cluster == 0 ? "no cluster" : "another cluster");
		return -EDECODE;
	}
	if (w->type == 0 || w->type >= RAFT_MSG_TYPES || w->to != r->id || w->data.len > CHUNK_BYTES) {
		(void)snprintf(ret_err, 256, "a message that is not for this server, or of no known kind");
		return -EDECODE;
	}
	message_of(w, &m);
	if (m.type == RAFT_MSG_APPEND && w->entries.len > 0)
		rc = receive_check(r, w, &ev, ret_err);
	else if (m.type == RAFT_MSG_APPEND && m.last >= m.first)
		rc = -EINVAL;
	if (rc == 0)
		rc = raft_step(&e->core, &ev, &fx);
	if (rc == -EINVAL) {
		(void)snprintf(ret_err, 256, "a message that contradicts itself: type=%s", raft_message_name(m.type));
		return -EDECODE;
	}
	if (rc == -EDECODE)
		return rc;
	if (rc < 0) {
		log_warn(SUB, "a message is left out: type=%s error=\"%s\"", raft_message_name(m.type), err_text(rc));
		return 0;
	}
	if (m.type == RAFT_MSG_APPEND && e->core.leader == m.from && e->core.term == m.term) {
		e->time_heard = w->time > e->time_heard ? w->time : e->time_heard;
		e->commit_heard = w->commit;
	}
	count_message(&e->core, &m, ev.now_ms);
	act(r, &fx, &src, led);
	if (fx.chunk)
		install_chunk(r, &m, w->data);
	return 0;
}

void
engine_peer(struct raftd *r, uint64_t id, bool up)
{
	const struct raft_event ev = { .type = up ? RAFT_PEER_UP : RAFT_PEER_DOWN, .now_ms = clock_ms(), .peer = id };

	if (!r->engine.stopping)
		engine_step(r, &ev);
}

void
engine_peer_lost(struct raftd *r, uint64_t id)
{
	const struct raft_event ev = { .type = RAFT_LEADER_LOST, .now_ms = clock_ms(), .peer = id };

	if (!r->engine.stopping)
		engine_step(r, &ev);
}

/* ---- proposals: those of one turn become one batch */

static void
propose_now(struct raftd *r)
{
	struct raft_event ev = { .type = RAFT_PROPOSE, .now_ms = clock_ms() };
	struct engine *e = &r->engine;
	const struct source src = { .proposed = e->open };
	struct raft_effects fx;
	int rc;

	/* Empty: its first entry found no memory. */
	if (src.proposed == NULL || src.proposed->n == 0)
		return;
	ev.count = src.proposed->n;
	rc = raft_step(&e->core, &ev, &fx);
	if (rc < 0) {
		if (rc != -RAFT_ENOTLEADER)
			log_warn(SUB, "the consensus core refused %" PRIu64 " proposals: error=\"%s\"", ev.count, err_text(rc));
		drop_open(r);
		return;
	}
	e->open = NULL;
	count_proposed(src.proposed->n);
	act(r, &fx, &src, true);
}

static void
on_propose(struct defer *d)
{
	propose_now((struct raftd *)((char *)d - offsetof(struct raftd, engine.propose)));
}

static int
may_propose(const struct engine *e)
{
	if (e->core.role != RAFT_LEADER || e->core.transfer_to != 0 || e->stopping)
		return -RAFT_ENOTLEADER;
	if (e->disk_full)
		return -ENOSPC;
	if (e->wn >= WAITERS_MAX || e->flight_bytes > FLIGHT_BYTES_MAX)
		return -ELIMIT;
	return 0;
}

int
engine_propose(struct raftd *r, const struct fsm_entry *entry, const struct waiter *w)
{
	struct engine *e = &r->engine;
	struct waiter waiter;
	size_t at;
	int rc = may_propose(e);

	if (rc < 0)
		return rc;
	if (e->open == NULL) {
		e->open = engine_batch(e);
		e->open_first = e->core.trail.last + 1;
	}
	rc = batch_entry_begin(e->open, ENTRY_STATE, &at);
	if (rc < 0)
		return rc;
	rc = fsm_entry_encode(entry, &e->open->bytes);
	if (rc == 0 && w != NULL && w->token.conn != 0) {
		waiter = *w;
		waiter.index = e->open_first + e->open->n;
		waiter.term = e->core.term;
		rc = waiters_add(e, &waiter);
	}
	if (rc < 0) {
		batch_entry_drop(e->open, at);
		return rc;
	}
	batch_entry_end(e->open, at);
	e->time_last = entry->time;
	loop_defer(&r->d->loop, DEFER_WORK, &e->propose);
	if (e->open->bytes.len >= BATCH_BYTES_FULL)
		propose_now(r);
	return 0;
}

/* A batch with this configuration alone. */
static int
config_batch(struct raftd *r, const struct raft_config_entry *c, struct source *ret, struct raft_servers *ret_core)
{
	struct batch *b = engine_batch(&r->engine);
	struct str bytes;
	char err[256];
	size_t at;
	int rc = batch_entry_begin(b, ENTRY_SERVERS, &at);

	if (rc == 0)
		rc = servers_encode(c, &b->bytes);
	if (rc == 0) {
		batch_entry_end(b, at);
		bytes = bytes_of(b);
		bytes.p += BATCH_HEADER + BATCH_ENTRY_HEADER;
		bytes.len -= BATCH_HEADER + BATCH_ENTRY_HEADER;
		/* Its index is the core's to fill in. */
		rc = servers_core(UINT64_MAX, bytes, ret_core, err);
		if (rc < 0)
			log_warn(SUB, "a configuration cannot be: %s", err);
	}
	if (rc == 0)
		rc = servers_parse_id(c->cluster, &ret->cluster);
	if (rc < 0)
		batch_free(b);
	else
		ret->proposed = b;
	return rc == -EDECODE ? -EINVAL : rc;
}

int
engine_propose_servers(struct raftd *r, const struct raft_config_entry *c, void (*done)(void *arg, int rc), void *arg)
{
	struct raft_servers servers;
	struct raft_event ev = { .type = RAFT_PROPOSE, .now_ms = clock_ms(), .count = 1, .config = &servers };
	struct engine *e = &r->engine;
	struct source src = { .proposed = NULL };
	struct raft_effects fx;
	int rc = may_propose(e);

	if (rc == 0)
		rc = config_batch(r, c, &src, &servers);
	if (rc < 0)
		return rc;
	propose_now(r);
	rc = raft_step(&e->core, &ev, &fx);
	if (rc < 0) {
		batch_free(src.proposed);
		return rc;
	}
	e->change.index = fx.append_first;
	e->change.term = e->core.term;
	e->change.done = done;
	e->change.arg = arg;
	act(r, &fx, &src, true);
	return 0;
}

int
engine_bootstrap(struct raftd *r, const struct raft_config_entry *c)
{
	struct raft_servers servers;
	const struct raft_event ev = { .type = RAFT_BOOTSTRAP, .now_ms = clock_ms(), .config = &servers };
	struct source src = { .proposed = NULL };
	struct raft_effects fx;
	int rc = config_batch(r, c, &src, &servers);

	if (rc < 0)
		return rc;
	rc = step(r, &ev, &src, &fx);
	if (rc < 0)
		batch_free(src.proposed);
	return rc;
}

int
engine_transfer(struct raftd *r, uint64_t id, void (*done)(void *arg, int rc), void *arg)
{
	const struct raft_event ev = { .type = RAFT_TRANSFER, .now_ms = clock_ms(), .peer = id };
	struct engine *e = &r->engine;
	int rc;

	propose_now(r);
	/* One at a time: done is told of the one that is under way. */
	if (e->transfer.done != NULL)
		return -RAFT_ECHANGING;
	e->transfer.done = done;
	e->transfer.arg = arg;
	e->transfer.until_ms = ev.now_ms + TRANSFER_WAIT_MS;
	rc = engine_try(r, &ev);
	if (rc < 0)
		e->transfer.done = NULL;
	return rc;
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
on_yielded(void *arg, int rc)
{
	(void)arg;
	if (rc < 0)
		log_warn(SUB, "the disk is full, and no other server takes over: %s", err_text(rc));
}

bool
engine_yield(struct raftd *r)
{
	struct engine *e = &r->engine;

	return e->core.role == RAFT_LEADER && peers_voters(&e->core.peers) > 1 &&
	    (e->transfer.done != NULL || engine_transfer(r, 0, on_yielded, r) == 0);
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

static const struct store_events events = { .durable = on_durable, .read = send_read, .staged = install_staged,
	.compacted = on_compacted, .space = on_space, .failed = on_failed, .stopped = on_stopped };

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
	int rc = step(r, &ev, &nowhere, &fx);

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
	const struct raft *core = &r->engine.core;
	uint64_t now = clock_ms();

	if (core->role == RAFT_LEADER)
		return 0;
	if (core->heard_ms == 0)
		return RAFT_NEVER;
	return now > core->heard_ms ? now - core->heard_ms : 0;
}

/* ---- start and end */

int
engine_init(struct raftd *r)
{
	struct engine *e = &r->engine;
	uv_timer_t *const timers[] = { &e->wake, &e->expire, &e->drain, &e->held };

	e->propose.cb = on_propose;
	e->persisted.cb = on_dev_persisted;
	e->drained.cb = on_drained;
	e->wake_ms = RAFT_NEVER;
	buf_init(&e->scratch, (size_t)1024 * MiB);
	apply_init(r);
	for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
		(void)uv_timer_init(&r->d->loop.uv, timers[i]);
		timers[i]->data = r;
	}
	e->wake.timer_cb = on_wake;
	return start_engine(r, &events);
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

/* ---- SIGTERM: hand over, answer, write what is left */

static void
stop_now(struct raftd *r)
{
	struct engine *e = &r->engine;

	if (e->stopping)
		return;
	propose_now(r);
	e->stopping = true;
	(void)uv_timer_stop(&e->drain);
	if (e->store == NULL) {
		loop_defer(&r->d->loop, DEFER_FLUSH, &e->drained);
		return;
	}
	apply_flush(r);
	store_stop(e->store);
}

static void
on_drain_end(uv_timer_t *t)
{
	stop_now(of_timer(t));
}

static void
on_drain_look(uv_timer_t *t)
{
	struct raftd *r = of_timer(t);
	struct engine *e = &r->engine;

	if ((e->wn == 0 && r->hold.n == 0) || clock_ms() >= e->drain_ms)
		stop_now(r);
}

/* Another leads, or nobody could be made to. What is in flight may still be answered. */
static void
on_handed_over(void *arg, int rc)
{
	struct raftd *r = arg;

	if (rc < 0)
		log_warn(SUB, "the leadership could not be handed over before stopping: %s", err_text(rc));
	r->engine.drain_ms = clock_ms() + DRAIN_ANSWER_MS;
	(void)uv_timer_start(&r->engine.drain, on_drain_look, 0, DRAIN_LOOK_MS);
}

void
engine_drain(struct raftd *r)
{
	struct engine *e = &r->engine;

	(void)uv_timer_start(&e->drain, on_drain_end, DRAIN_TRANSFER_MS, 0);
	if (e->core.role != RAFT_LEADER || peers_voters(&e->core.peers) < 2 || engine_transfer(r, 0, on_handed_over, r) < 0)
		stop_now(r);
}

void
engine_release(struct raftd *r)
{
	struct engine *e = &r->engine;

	loop_undefer(&r->d->loop, DEFER_WORK, &e->propose);
	loop_undefer(&r->d->loop, DEFER_WORK, &e->persisted);
	loop_undefer(&r->d->loop, DEFER_FLUSH, &e->drained);
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
