/*
 * leader.c - what only a leader does: the clocks of sessions and keys, and
 * the reaping of tombstones.
 *
 * Deadlines of both are in cluster time, which entries carry, so the
 * next leader goes on with them as they are. A renewal is answered when the
 * entry that holds it is applied: none that was answered is lost with its
 * leader. While there are deadlines an entry is written every few
 * seconds even when nothing else is, so that a restart of all servers gives
 * them no more than that.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

#define SUB "agent.server"

enum { EXPIRE_MAX = 1024, EXPIRE_BYTES_MAX = 1024 * 1024, RENEWALS_MAX = 1 << 20, RENEW_BYTES_MAX = 256 * 1024 * 1024, RENEWALS_KEEP = 1024 };

static void on_tick(uv_timer_t *t);
static void on_reap(uv_timer_t *t);

void
leader_init(struct raftd *r)
{
	struct leader *l = &r->leader;

	for (int i = 0; i < 2; i++)
		arena_init(&l->renewals[i].arena, RENEW_BYTES_MAX);
	(void)uv_timer_init(&r->d->loop.uv, &l->tick);
	(void)uv_timer_init(&r->d->loop.uv, &l->reap);
	l->tick.data = l->reap.data = r;
	acl_leader_init(r);
}

void
leader_release(struct raftd *r)
{
	struct leader *l = &r->leader;

	uv_close((uv_handle_t *)&l->tick, NULL);
	uv_close((uv_handle_t *)&l->reap, NULL);
	acl_leader_release();
	for (int i = 0; i < 2; i++) {
		arena_release(&l->renewals[i].arena);
		free(l->renewals[i].v);
	}
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
		log_info("agent.server.raft", "election won: tally=%zu", peers_voters(&core->peers) / 2 + 1);
		log_info("agent.server.raft", "entering leader state: leader=\"Node at %s [Leader]\"", r->address);
		break;
	}
}

/* The state is that of the whole log: from here on we answer and act. */
static void
begin(struct raftd *r)
{
	struct leader *l = &r->leader;

	l->active = true;
	l->nseen = 0;
	log_info(SUB, "cluster leadership acquired");
	(void)uv_timer_start(&l->reap, on_reap, REAP_MS, REAP_MS);
	pool_new_leader(r);
	members_start(r);
	autopilot_lead(r, true);
	acl_lead(r, true);
	hold_wake_leader(r);
}

/* ---- renewals */

static void
clear(struct renewals *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].secret.len > 0)
			sodium_memzero((char *)(uintptr_t)b->v[i].secret.p, b->v[i].secret.len);
	if (b->cap > RENEWALS_KEEP) {
		free(b->v);
		b->v = NULL;
		b->cap = 0;
	}
	b->n = 0;
	b->time = 0;
	arena_reset(&b->arena);
}

/* Not ours any more: whoever leads renews them. To renew twice is to renew. */
static void
pass_on(struct raftd *r, struct renewals *b)
{
	struct buf body = BUF_INIT(op_info(OP_SESSION_RENEW)->body_max);

	for (size_t i = 0; i < b->n; i++) {
		const struct renewal *x = &b->v[i];
		const struct query_options o = { .token = x->secret };
		const struct id_request q = { x->id };
		int rc;

		if (x->forwarded) {
			rpc_reply_error(r->d->rpc, x->token, RPC_NOT_LEADER, "Not the leader");
			continue;
		}
		buf_clear(&body);
		rc = op_request_encode(OP_SESSION_RENEW, &o, &q, &body);
		if (rc == 0) {
			const struct rpc_request req = { .token = x->token, .info = op_info(OP_SESSION_RENEW), .body = body.data,
				.len = body.len };

			forward_leader(r, &req);
		} else {
			rpc_reply_error(r->d->rpc, x->token, 500, "No cluster leader");
		}
	}
	buf_release(&body);
	clear(b);
}

static void
end(struct raftd *r)
{
	struct leader *l = &r->leader;

	l->active = false;
	l->nseen = 0;
	(void)uv_timer_stop(&l->tick);
	(void)uv_timer_stop(&l->reap);
	members_stop(r);
	autopilot_lead(r, false);
	acl_lead(r, false);
	log_info(SUB, "cluster leadership lost");
	pass_on(r, &l->renewals[1]);
	pass_on(r, &l->renewals[0]);
}

void
leader_role_changed(struct raftd *r)
{
	log_role(r);
	count_role(r->engine.core.role);
	if (r->leader.active && r->engine.core.role != RAFT_LEADER)
		end(r);
}

static void
answer_renewal(struct raftd *r, const struct renewal *x)
{
	const struct query_meta m = { .index = fsm_index(r->engine.fsm), .known_leader = true };
	const struct id_request q = { x->id };
	struct fsm_error err = { .code = 0 };
	struct buf *b = rpc_reply_begin(r->d->rpc, x->token);
	struct mp_w w;
	uint64_t index;
	int rc;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	rc = fsm_query(r->engine.fsm, OP_SESSION_INFO, &q, 0, NULL, &w, &index, NULL, &err);
	if (rc == 0 && err.code != 0) {
		rpc_reply_drop(r->d->rpc, x->token);
		rpc_reply_error(r->d->rpc, x->token, err.code, "%s", err.text);
		return;
	}
	rpc_reply_end(r->d->rpc, x->token, rc == 0 && w.err == 0);
}

/* Entries' times only grow, and a batch has a time of its own: that of the newest entry tells whether it is applied. */
static void
answer_applied(struct raftd *r)
{
	struct renewals *b = &r->leader.renewals[1];

	if (b->time == 0 || fsm_time(r->engine.fsm) < b->time)
		return;
	for (size_t i = 0; i < b->n; i++)
		answer_renewal(r, &b->v[i]);
	clear(b);
}

/* ---- the tick */

/* Of sessions and keys. */
static int64_t
next_deadline(const struct raftd *r)
{
	int64_t session = fsm_next_deadline(r->engine.fsm), key = fsm_next_key_deadline(r->engine.fsm);

	return session < key ? session : key;
}

/* When the nearest session or key runs out, renewals want to go, or time has to reach the disk. */
static void
plan_tick(struct raftd *r)
{
	struct leader *l = &r->leader;
	int64_t deadline = next_deadline(r), now = engine_now(r), wait_ms = INT64_MAX, idle_ms;

	if (deadline != INT64_MAX) {
		wait_ms = (deadline - now) / NS_PER_MS + 1;
		idle_ms = TIME_KEEP_MS - (now - r->engine.time_last) / NS_PER_MS;
		if (wait_ms > idle_ms)
			wait_ms = idle_ms;
		/* Deadlines that fall together go into one entry. */
		if (wait_ms < RENEW_MS)
			wait_ms = RENEW_MS;
	}
	/* One batch of renewals at a time: what comes meanwhile goes together into the next. */
	if (l->renewals[0].n > 0 && l->renewals[1].time == 0 && wait_ms > RENEW_MS)
		wait_ms = RENEW_MS;
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
	answer_applied(r);
	members_applied(r);
	plan_tick(r);
}

static int
propose_tick(struct raftd *r, const struct fsm_tick *tick, int64_t time)
{
	static const char no_options[] = "\x80";
	struct fsm_entry e = { .kind = FSM_ENTRY_TICK, .time = time, .options = { no_options, 1 } };
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

static int
by_session(const void *a, const void *b)
{
	return str_cmp(((const struct renewal *)a)->id, ((const struct renewal *)b)->id);
}

/* The sessions of the batch that is gathered, each once; in its arena. -ENOMEM. */
static int
list_renewed(struct renewals *b, struct strs *ret)
{
	*ret = (struct strs){ NULL, 0 };
	if (b->n == 0)
		return 0;
	qsort(b->v, b->n, sizeof(*b->v), by_session);
	ret->v = arena_alloc(&b->arena, b->n * sizeof(*ret->v));
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < b->n; i++)
		if (i == 0 || !str_eq(b->v[i].id, b->v[i - 1].id))
			ret->v[ret->n++] = b->v[i].id;
	return 0;
}

/* What was gathered is on its way. */
static void
exchange(struct leader *l, int64_t time)
{
	struct renewals sent = l->renewals[0];

	l->renewals[0] = l->renewals[1];
	l->renewals[1] = sent;
	l->renewals[1].time = time;
}

/* As many as one entry should hold: the others go with the next. */
static size_t
that_fit(const struct str *keys, size_t n)
{
	size_t bytes = 0, i = 0;

	while (i < n && (i == 0 || bytes + keys[i].len <= EXPIRE_BYTES_MAX))
		bytes += keys[i++].len;
	return i;
}

static void
on_tick(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct leader *l = &r->leader;
	struct str expired[EXPIRE_MAX], keys[EXPIRE_MAX];
	struct fsm_tick tick = { .reap_tombstones = 0 };
	int64_t now = engine_now(r);
	bool overdue;
	int rc = 0;

	if (!engine_leads(r))
		return;
	if (l->renewals[1].time == 0)
		rc = list_renewed(&l->renewals[0], &tick.renew);
	tick.expire.v = expired;
	tick.expire.n = fsm_expired(r->engine.fsm, now, expired, EXPIRE_MAX);
	tick.expire_keys.v = keys;
	tick.expire_keys.n = that_fit(keys, fsm_expired_keys(r->engine.fsm, now, keys, EXPIRE_MAX));
	if (tick.expire.n > 0)
		log_debug(SUB, "Session TTL expired: sessions=%zu first=%.*s", tick.expire.n, STR_ARG(expired[0]));
	overdue = next_deadline(r) != INT64_MAX && now - r->engine.time_last >= TIME_KEEP_MS * NS_PER_MS;
	/* Later than every entry before it: see answer_applied(). */
	if (now <= r->engine.time_last)
		now = r->engine.time_last + 1;
	if (rc == 0 && (tick.renew.n + tick.expire.n + tick.expire_keys.n > 0 || overdue)) {
		rc = propose_tick(r, &tick, now);
		if (rc == 0 && tick.renew.n > 0)
			exchange(l, now);
	}
	/* What was proposed will be planned anew when it is applied; what could not be is tried again. */
	if (rc < 0)
		(void)uv_timer_start(&l->tick, on_tick, 10 * RENEW_MS, 0);
	else if (tick.renew.n + tick.expire.n + tick.expire_keys.n == 0)
		plan_tick(r);
}

static int
add_renewal(struct raftd *r, const struct rpc_request *req, struct str id, struct str secret)
{
	struct renewals *b = &r->leader.renewals[0];
	const struct net_peer *from = req->peer;
	struct renewal *v;
	char *copy, *kept;

	if (b->n >= RENEWALS_MAX)
		return -ELIMIT;
	if (b->n == b->cap) {
		v = realloc(b->v, (b->cap != 0 ? b->cap * 2 : 16) * sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		b->v = v;
		b->cap = b->cap != 0 ? b->cap * 2 : 16;
	}
	copy = arena_strdup(&b->arena, id);
	kept = secret.len > 0 ? arena_strdup(&b->arena, secret) : NULL;
	if (copy == NULL || (kept == NULL && secret.len > 0))
		return -ENOMEM;
	b->v[b->n++] = (struct renewal){ { copy, id.len }, { kept, secret.len }, req->token, from != NULL && from->id != 0 };
	plan_tick(r);
	return 0;
}

/* Whether there is such a session; else the request has been answered, or waits until that is certain. */
static bool
known(struct raftd *r, const struct rpc_request *req, struct str id)
{
	const struct renewal x = { .id = id, .token = req->token };
	struct buf b = BUF_INIT(RENEW_BYTES_MAX);
	struct mp_w w = mp_w_init(&b);
	const struct id_request q = { id };
	struct fsm_error err = { .code = 0 };
	struct mp_r list;
	uint64_t index;
	bool found;
	int rc = fsm_query(r->engine.fsm, OP_SESSION_INFO, &q, 0, NULL, &w, &index, NULL, &err);

	list = mp_r_init(b.data, b.len);
	found = rc == 0 && err.code == 0 && w.err == 0 && mp_r_array(&list) > 0;
	buf_release(&b);
	if (!found && reads_refusal_holds(r, req))
		answer_renewal(r, &x);
	return found;
}

static bool
may_renew(struct raftd *r, const struct rpc_request *req, struct str token, struct str id)
{
	struct fsm_error err = { .code = 0 };
	struct asker who;

	if (!acl_who(r, req, token, &who))
		return false;
	if (fsm_may_renew(r->engine.fsm, id, &who, &err))
		return true;
	rpc_reply_error(r->d->rpc, req->token, err.code, "%s", err.text);
	return false;
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
	if (!engine_leads(r)) {
		forward_leader(r, req);
	} else if (r->engine.disk_full) {
		rpc_reply_error(r->d->rpc, req->token, 500, "The server's disk is full: this write was refused and nothing was changed");
	} else if (known(r, req, q.id) && may_renew(r, req, o.token, q.id)) {
		rc = add_renewal(r, req, q.id, o.token);
		if (rc < 0)
			rpc_reply_error(r->d->rpc, req->token, 429, "The server has too many unfinished writes: this one was refused");
	}
}

/* ---- tombstones */

/* Its tombstones are as old as their restoration. */
void
leader_restored(struct raftd *r)
{
	r->leader.nseen = 0;
	members_restored(r);
}

/* Every half minute note how far the state is: what was there 15 minutes ago, in this leader's time, may go. */
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
	l->seen[l->nseen].index = fsm_index(r->engine.fsm);
	l->seen[l->nseen++].at_ms = now;
	while (old < l->nseen && l->seen[old].at_ms + REAP_AFTER_MS <= now)
		old++;
	if (old == 0)
		return;
	tick.reap_tombstones = l->seen[old - 1].index;
	if (n == 0 || oldest > tick.reap_tombstones)
		return;
	log_debug(SUB, "reaping tombstones: index=%" PRIu64, tick.reap_tombstones);
	if (propose_tick(r, &tick, engine_now(r)) < 0)
		log_debug(SUB, "reaping tombstones is put off");
}
