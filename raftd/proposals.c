/*
 * proposals.c - what this server wants in the log as the leader: writes, those
 * of one turn as one batch, and configurations; and handing the leadership over.
 */
#include "raftd/engine.h"

#define SUB "agent.server.raft"

enum { TRANSFER_WAIT_MS = 3000 /* for another leader, when ours has given up */ };

/* ---- writes */

void
proposals_drop(struct raftd *r)
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

void
proposals_now(struct raftd *r)
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
		proposals_drop(r);
		return;
	}
	e->open = NULL;
	count_proposed(src.proposed->n);
	engine_act(r, &fx, &src, true);
}

static void
on_propose(struct defer *d)
{
	proposals_now((struct raftd *)((char *)d - offsetof(struct raftd, engine.propose)));
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
	if (e->open == NULL)
		e->open = engine_batch(e);
	/* One that is empty is left from an entry that found no room. */
	if (e->open->n == 0)
		e->open_first = e->core.trail.last + 1;
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
		proposals_now(r);
	return 0;
}

/* ---- configurations */

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
		bytes = batch_bytes(b);
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

	/* Committed is not yet applied, and done is called only then. */
	if (rc == 0 && e->change.done != NULL)
		rc = -RAFT_ECHANGING;
	if (rc == 0)
		rc = config_batch(r, c, &src, &servers);
	if (rc < 0)
		return rc;
	proposals_now(r);
	rc = raft_step(&e->core, &ev, &fx);
	if (rc < 0) {
		batch_free(src.proposed);
		return rc;
	}
	e->change.index = fx.append_first;
	e->change.term = e->core.term;
	e->change.done = done;
	e->change.arg = arg;
	engine_act(r, &fx, &src, true);
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
	rc = engine_do(r, &ev, &src, &fx);
	if (rc < 0)
		batch_free(src.proposed);
	return rc;
}

/* ---- handing over */

int
engine_transfer(struct raftd *r, uint64_t id, void (*done)(void *arg, int rc), void *arg)
{
	const struct raft_event ev = { .type = RAFT_TRANSFER, .now_ms = clock_ms(), .peer = id };
	struct engine *e = &r->engine;
	int rc;

	proposals_now(r);
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

void
proposals_settle(struct raftd *r, bool led)
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

void
proposals_init(struct engine *e)
{
	e->propose.cb = on_propose;
}
