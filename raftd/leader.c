/*
 * leader.c - what only a leader does: the first entries of its term, the
 * clocks of sessions, and the reaping of tombstones.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

#define SUB "agent.server"

enum { EXPIRE_MAX = 1024, RENEWALS_MAX = 1 << 20, RENEW_BYTES_MAX = 256 * 1024 * 1024 };

static void on_tick(uv_timer_t *t);
static void on_reap(uv_timer_t *t);

void
leader_init(struct raftd *r)
{
	struct leader *l = &r->leader;

	arena_init(&l->renewals, RENEW_BYTES_MAX);
	(void)uv_timer_init(&r->d->loop.uv, &l->tick);
	(void)uv_timer_init(&r->d->loop.uv, &l->reap);
	l->tick.data = l->reap.data = r;
}

void
leader_release(struct raftd *r)
{
	struct leader *l = &r->leader;

	uv_close((uv_handle_t *)&l->tick, NULL);
	uv_close((uv_handle_t *)&l->reap, NULL);
	arena_release(&l->renewals);
	free(l->renew);
}

static void
log_role(struct raftd *r)
{
	const struct raft *core = &r->engine.core;

	switch (core->role) {
	case RAFT_FOLLOWER:
		log_info("agent.server.raft", "entering follower state: follower=\"Node at %s [Follower]\" leader=", r->address);
		break;
	case RAFT_CANDIDATE:
		log_info("agent.server.raft", "entering candidate state: node=\"Node at %s [Candidate]\" term=%" PRIu64, r->address,
		    core->term);
		break;
	case RAFT_LEADER:
		log_info("agent.server.raft", "election won: tally=%zu", core->voters.n / 2 + 1);
		log_info("agent.server.raft", "entering leader state: leader=\"Node at %s [Leader]\"", r->address);
		break;
	}
}

/* The configuration of a server that made itself the first becomes part of the log. */
static void
record_servers(struct raftd *r)
{
	static const struct waiter nobody;
	struct engine *e = &r->engine;
	struct buf b = BUF_INIT(1 * MiB);
	struct str raw;
	int rc;

	if (e->servers_index != 0)
		return;
	rc = servers_encode_own(r, &b);
	raw = (struct str){ (const char *)b.data, b.len };
	e->servers_index = e->core.trail.last + (e->open != NULL ? e->open->n : 0) + 1;
	if (rc == 0 && e->store != NULL)
		rc = store_servers(e->store, e->servers_index, raw);
	if (rc == 0)
		rc = engine_propose_entry(r, ENTRY_SERVERS, NULL, raw, &nobody);
	buf_release(&b);
	if (rc < 0)
		log_fatal(SUB, "cannot record the configuration: %s", err_text(rc));
}

/* The state is that of the whole log: from here on we answer and act. */
static void
begin(struct raftd *r)
{
	struct leader *l = &r->leader;

	l->active = true;
	log_info(SUB, "cluster leadership acquired");
	log_info(SUB, "New leader elected: payload=%s", r->node_name);
	record_servers(r);
	(void)uv_timer_start(&l->reap, on_reap, REAP_MS, REAP_MS);
	members_start(r);
	hold_wake(r, 0);
}

static void
end(struct raftd *r)
{
	struct leader *l = &r->leader;

	l->active = false;
	l->nrenew = l->nseen = 0;
	(void)uv_timer_stop(&l->tick);
	(void)uv_timer_stop(&l->reap);
	members_stop(r);
	log_info(SUB, "cluster leadership lost");
}

void
leader_role_changed(struct raftd *r)
{
	log_role(r);
	count_role(r->engine.core.role);
	if (r->leader.active && r->engine.core.role != RAFT_LEADER)
		end(r);
}

/* ---- sessions */

/* When the nearest session runs out, and no later than renewals may wait. */
static void
plan_tick(struct raftd *r)
{
	struct leader *l = &r->leader;
	int64_t deadline = fsm_next_deadline(r->engine.fsm), wait_ms = INT64_MAX;

	if (deadline != INT64_MAX) {
		wait_ms = (deadline - engine_now(r)) / NS_PER_MS + 1;
		/* Deadlines that fall together go into one entry. */
		if (wait_ms < TICK_MS / 10)
			wait_ms = TICK_MS / 10;
	}
	if (l->nrenew > 0 && wait_ms > TICK_MS)
		wait_ms = TICK_MS;
	if (wait_ms == INT64_MAX) {
		(void)uv_timer_stop(&l->tick);
		return;
	}
	if (uv_is_active((uv_handle_t *)&l->tick) && uv_timer_get_due_in(&l->tick) <= (uint64_t)wait_ms)
		return;
	uv_update_time(&r->d->loop.uv);
	(void)uv_timer_start(&l->tick, on_tick, (uint64_t)wait_ms, 0);
}

void
leader_applied(struct raftd *r)
{
	if (!engine_leads(r))
		return;
	if (!r->leader.active)
		begin(r);
	plan_tick(r);
}

static int
propose_tick(struct raftd *r, const struct fsm_tick *tick)
{
	static const char no_options[] = "\x80";
	struct fsm_entry e = { .kind = FSM_ENTRY_TICK, .time = engine_now(r), .options = { no_options, 1 } };
	struct buf b = BUF_INIT(RENEW_BYTES_MAX);
	struct mp_w w = mp_w_init(&b);
	int rc;

	record_encode(&rec_fsm_tick, tick, RECORD_WHOLE, &w);
	e.request = (struct str){ (const char *)b.data, b.len };
	rc = w.err;
	if (rc == 0)
		rc = engine_propose(r, &e, NULL);
	buf_release(&b);
	return rc;
}

static void
on_tick(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct leader *l = &r->leader;
	struct str expired[EXPIRE_MAX];
	struct fsm_tick tick = { .renew = { l->renew, l->nrenew } };
	int rc = 0;

	if (!engine_leads(r))
		return;
	tick.expire.v = expired;
	tick.expire.n = fsm_expired(r->engine.fsm, engine_now(r), expired, EXPIRE_MAX);
	if (tick.expire.n > 0)
		log_debug(SUB, "Session TTL expired: sessions=%zu first=%.*s", tick.expire.n, STR_ARG(expired[0]));
	if (tick.renew.n + tick.expire.n > 0)
		rc = propose_tick(r, &tick);
	if (rc == 0) {
		l->nrenew = 0;
		arena_reset(&l->renewals);
	}
	/* What was proposed will be planned anew when it is applied; what could not be is tried again. */
	if (rc < 0)
		(void)uv_timer_start(&l->tick, on_tick, TICK_MS, 0);
	else if (tick.renew.n + tick.expire.n == 0)
		plan_tick(r);
}

static int
grow_renewals(struct leader *l)
{
	size_t cap = l->renew_cap != 0 ? l->renew_cap * 2 : 16;
	struct str *v;

	if (l->nrenew < l->renew_cap)
		return 0;
	if (l->nrenew >= RENEWALS_MAX)
		return -ELIMIT;
	v = realloc(l->renew, cap * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	l->renew = v;
	l->renew_cap = cap;
	return 0;
}

/* Kept in order, so that a session that is renewed twice is found. */
static int
add_renewal(struct raftd *r, struct str id)
{
	struct leader *l = &r->leader;
	size_t lo = 0, hi = l->nrenew;
	char *copy;
	int rc;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = str_cmp(l->renew[mid], id);

		if (c == 0)
			return 0;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	rc = grow_renewals(l);
	if (rc < 0)
		return rc;
	copy = arena_strdup(&l->renewals, id);
	if (copy == NULL)
		return -ENOMEM;
	memmove(l->renew + lo + 1, l->renew + lo, (l->nrenew - lo) * sizeof(*l->renew));
	l->renew[lo] = (struct str){ copy, id.len };
	l->nrenew++;
	plan_tick(r);
	return 0;
}

static void
answer_renewal(struct raftd *r, const struct rpc_request *req, struct str id)
{
	const struct query_meta m = { fsm_applied(r->engine.fsm), 0, true };
	const struct id_request q = { id };
	struct fsm_error err = { .code = 0 };
	struct buf *b = rpc_reply_begin(r->d->rpc, req->token);
	struct mp_w w;
	struct mp_r list;
	uint64_t index;
	size_t at;
	int rc;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	at = b->len;
	rc = fsm_query(r->engine.fsm, OP_SESSION_INFO, &q, &w, &index, NULL, &err);
	if (rc == 0 && err.code != 0) {
		rpc_reply_drop(r->d->rpc, req->token);
		rpc_reply_error(r->d->rpc, req->token, err.code, "%s", err.text);
		return;
	}
	if (rc == 0 && w.err == 0) {
		list = mp_r_init(b->data + at, b->len - at);
		/* Without a place in the next tick the renewal did not happen: say so. */
		if (mp_r_array(&list) > 0)
			rc = add_renewal(r, id);
	}
	rpc_reply_end(r->d->rpc, req->token, rc == 0 && w.err == 0);
}

void
leader_renew(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct query_options o;
	struct id_request q;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, &q, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (!engine_leads(r))
		hold_add(r, req, 0);
	else if (r->engine.disk_full)
		rpc_reply_error(r->d->rpc, req->token, 500, "The server's disk is full: this write was refused and nothing was changed");
	else
		answer_renewal(r, req, q.id);
}

/* ---- tombstones */

/* Every half minute note how far the log is: what was there 15 minutes ago may go. */
static void
on_reap(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct leader *l = &r->leader;
	struct fsm_tick tick = { .reap_tombstones = 0 };
	uint64_t now = clock_ms(), n, oldest = fsm_tombstones(r->engine.fsm, &n);
	struct fsm_stats st;
	size_t old = 0;

	fsm_stats(r->engine.fsm, &st);
	count_sessions(st.sessions);
	if (l->nseen == ARRAY_LEN(l->seen))
		memmove(l->seen, l->seen + 1, --l->nseen * sizeof(l->seen[0]));
	l->seen[l->nseen].index = r->engine.core.applied;
	l->seen[l->nseen++].at_ms = now;
	while (old < l->nseen && l->seen[old].at_ms + REAP_AFTER_MS <= now)
		old++;
	if (old == 0)
		return;
	tick.reap_tombstones = l->seen[old - 1].index;
	if (n == 0 || oldest > tick.reap_tombstones)
		return;
	log_debug(SUB, "reaping tombstones: index=%" PRIu64, tick.reap_tombstones);
	if (propose_tick(r, &tick) < 0)
		log_debug(SUB, "reaping tombstones is put off");
}
