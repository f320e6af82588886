/*
 * node.c - the shell of a simulated server: carries out what its core wants.
 *
 * What is in memory changes at once with the step; what leaves it (to the
 * disk, to the network) is handed over piece by piece, and the process may
 * end before any of the pieces.
 */
#include <string.h>

#include "t/sim/world.h"

void
node_start(struct world *w, struct node *n)
{
	struct raft_config c = w->timing;
	struct raft_start s;
	int rc;

	if (n->core_live)
		raft_release(&n->core);
	n->up = n->core_live = true;
	n->pause_until = 0;
	clock_start(w, n);
	log_copy(&n->log, &n->dir->log);
	n->state = n->dir->image;
	n->commit = n->fx_commit = n->image_queued = n->state.applied;
	n->seen_commit = n->state.applied;
	n->seen_role = RAFT_FOLLOWER;
	n->seen_term = n->dir->term;
	n->told_persisted = n->log.last;
	n->nwaiters = n->npending = 0;
	n->outgoing = n->incoming = NULL;
	n->incoming_have = 0;
	n->applying = n->installing = false;
	n->crash_in = 0;
	n->lead_since = n->config_since = 0;
	memset(n->heard, 0, sizeof(n->heard));
	disk_found(w, n->dir, &s);
	c.id = n->dir->id;
	c.seed = rnd(w);
	TRACE(w, "%s starts: term %llu vote %s base %llu last %llu applied %llu", trace_name(w, c.id), (unsigned long long)s.term,
	    trace_name(w, s.vote), (unsigned long long)s.base, (unsigned long long)s.last, (unsigned long long)s.applied);
	rc = raft_init(&n->core, &c, &s, clock_local_ms(w, n));
	if (rc < 0)
		world_fail(w, "recovery", "%s cannot start: %d", trace_name(w, c.id), rc);
	world_post(w, w->now + around(w, w->p.image_ms * MS), EV_IMAGE, n, 0, 0, 0, NULL);
	node_step(w, n, &(struct raft_event){ .type = RAFT_TIMER }, NULL);
	faults_hint(w, n, true);
}

void
node_crash(struct world *w, struct node *n)
{
	uint64_t delay = 0;

	TRACE(w, "%s crashes", trace_name(w, n->dir->id));
	w->tally.crashes++;
	n->up = false;
	n->gen++;
	n->pause_until = 0;
	disk_crash(w, n->dir);
	faults_hint(w, n, false);
	/* A supervisor is quick, a reboot is not. */
	if (!w->calm)
		delay = chance(w, 500) ? below(w, 30 * MS) : around(w, w->p.fault_ms * MS);
	world_post(w, w->now + delay, EV_RESTART, n, 0, 0, 0, NULL);
}

/* The process ends here if that is planned. */
static bool
crash_point(struct world *w, struct node *n)
{
	if (n->crash_in == 0 || --n->crash_in > 0)
		return false;
	node_crash(w, n);
	return true;
}

/* ---- memory */

static void
drop_waiters(struct node *n, struct world *w, uint64_t from)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->nwaiters; i++)
		if (n->waiters[i].read || w->entries[n->waiters[i].number].index < from)
			n->waiters[kept++] = n->waiters[i];
	n->nwaiters = kept;
}

static void
truncate_log(struct world *w, struct node *n, uint64_t from)
{
	if (n->seen_role == RAFT_LEADER && n->core.role == RAFT_LEADER && n->seen_term == n->core.term)
		world_fail(w, "leader append-only", "%s cuts off its log at %llu", trace_name(w, n->dir->id),
		    (unsigned long long)from);
	if (from <= n->state.applied || from > n->log.last)
		world_fail(w, "state machine safety", "%s cuts off its log at %llu, has applied %llu of %llu",
		    trace_name(w, n->dir->id), (unsigned long long)from, (unsigned long long)n->state.applied,
		    (unsigned long long)n->log.last);
	n->log.last = from - 1;
	w->tally.truncations++;
	drop_waiters(n, w, from);
}

static uint32_t
create_entry(struct world *w, struct node *n, uint64_t index, const struct raft_event *ev, size_t i)
{
	uint64_t term = trail_term(&n->core.trail, index);
	uint32_t prev = n->log.v[index - 1], uid;
	struct waiter *p = &n->pending[i];

	if (ev->type == RAFT_BOOTSTRAP) {
		if (w->boot_uid == 0)
			w->boot_uid = world_entry(w, index, term, prev, ENTRY_CONFIG, (uint32_t)w->nconfigs);
	} else {
		check_created(w, n, index, term);
	}
	if (ev->type == RAFT_BOOTSTRAP || (ev->type == RAFT_PROPOSE && ev->config != NULL)) {
		if (w->nconfigs == CONFIGS_MAX)
			world_fail(w, "limits of the simulator", "too many configurations");
		w->tally.configs++;
		w->configs[w->nconfigs] = *ev->config;
		w->configs[w->nconfigs++].index = index;
		if (ev->type == RAFT_BOOTSTRAP)
			return w->boot_uid;
		return world_entry(w, index, term, prev, ENTRY_CONFIG, (uint32_t)w->nconfigs - 1);
	}
	if (ev->type != RAFT_PROPOSE)
		return world_entry(w, index, term, prev, ENTRY_NOOP, 0);
	uid = world_entry(w, index, term, prev, ENTRY_OP, p->op);
	p->number = uid;
	if (n->nwaiters < WAITERS_MAX)
		n->waiters[n->nwaiters++] = *p;
	return uid;
}

static void
append_log(struct world *w, struct node *n, const struct raft_event *ev, const struct packet *from, const struct raft_effects *fx)
{
	for (uint64_t i = 0; i < fx->append_n; i++) {
		uint64_t index = fx->append_first + i;
		uint32_t uid;

		if (index != n->log.last + 1)
			world_fail(w, "log without gaps", "%s appends entry %llu behind %llu", trace_name(w, n->dir->id),
			    (unsigned long long)index, (unsigned long long)n->log.last);
		if (from == NULL || fx->noop) {
			uid = create_entry(w, n, index, ev, i);
		} else {
			if (index < from->m.first || index > from->m.last)
				world_fail(w, "effects", "%s appends entry %llu, which was not in the message",
				    trace_name(w, n->dir->id), (unsigned long long)index);
			uid = from->uid[index - from->m.first];
		}
		check_appended(w, n, index, uid);
		log_put(&n->log, index, uid);
	}
}

/* ---- answers to clients */

/* refused: it has had no effect, and may be asked elsewhere. */
static void
answer(struct world *w, const struct waiter *p, bool refused, bool ok, uint32_t seen)
{
	struct packet *k = net_packet(w, PACKET_REPLY);

	k->op = p->op;
	k->gen = p->gen;
	k->refused = refused;
	k->ok = ok;
	k->seen = seen;
	net_reply(w, k);
}

static void
answer_read(struct world *w, struct node *n, const struct waiter *p)
{
	uint32_t v = n->state.reg[w->ops[p->op].key];

	if (p->op == 0)
		return;
	TRACE(w, "%s answers read #%u: %u", trace_name(w, n->dir->id), p->op, v);
	answer(w, p, false, true, v);
}

static void
answer_reads(struct world *w, struct node *n, const uint64_t ready[2])
{
	size_t kept = 0;

	for (size_t i = 0; i < n->nwaiters; i++) {
		struct waiter *p = &n->waiters[i];

		if (p->read && p->number <= ready[p->consistent])
			answer_read(w, n, p);
		else
			n->waiters[kept++] = *p;
	}
	n->nwaiters = kept;
}

static void
answer_writes(struct world *w, struct node *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->nwaiters; i++) {
		struct waiter *p = &n->waiters[i];
		uint64_t index = p->read ? 0 : w->entries[p->number].index;

		if (p->read || index > n->state.applied)
			n->waiters[kept++] = *p;
		else if (w->committed[index] == p->number)
			answer(w, p, false, w->ops[p->op].applied_ok, w->ops[p->op].applied_seen);
	}
	n->nwaiters = kept;
}

/* ---- messages with entries */

static void
tell_sent(struct world *w, struct node *n, const struct packet *k, uint64_t upto, uint64_t delay)
{
	struct packet *s = net_packet(w, PACKET_MESSAGE);

	s->m = k->m;
	s->m.last = upto;
	world_post(w, w->now + delay, EV_SENT, n, 0, 0, 0, s);
}

/* Takes k. All of it, a part, or nothing, as buffers allow. */
static void
send_entries(struct world *w, struct node *n, struct packet *k)
{
	uint64_t first = k->m.first, count = k->m.last - first + 1;

	if (first <= n->log.base || (!w->calm && chance(w, 20))) {
		tell_sent(w, n, k, first - 1, 0);
		net_free(w, k);
		return;
	}
	if (count > w->packet_max)
		count = w->packet_max;
	if (chance(w, 100))
		count = between(w, 1, count);
	k->m.last = first + count - 1;
	k->n = count;
	for (uint64_t i = 0; i < count; i++)
		k->uid[i] = n->log.v[first + i];
	tell_sent(w, n, k, k->m.last, chance(w, 800) ? 0 : around(w, MS));
	net_send(w, n, k);
}

void
node_read_disk(struct world *w, struct node *n, struct packet *k)
{
	if (n->dir->stall_until > w->now)
		world_post(w, n->dir->stall_until, EV_READ, n, 0, 0, 0, k);
	else if (n->core.role != RAFT_LEADER || n->core.term != k->m.term)
		net_free(w, k);
	else
		send_entries(w, n, k);
}

void
node_sent(struct world *w, struct node *n, const struct event *e)
{
	struct packet *k = e->p;
	struct raft_message m = k->m;

	net_free(w, k);
	if (n->core.role != RAFT_LEADER || n->core.term != m.term)
		return;
	node_step(w, n, &(struct raft_event){ .type = RAFT_SENT, .peer = m.to, .first = m.first, .index = m.last,
		.bytes = m.last >= m.first ? (m.last - m.first + 1) * ENTRY_BYTES : 0 }, NULL);
}

static void
send_message(struct world *w, struct node *n, const struct raft_message *m)
{
	struct packet *k;

	check_send(w, n, m);
	if (m->type == RAFT_MSG_SNAPSHOT && (n->outgoing == NULL || n->outgoing->s.id != m->snapshot.id))
		return;
	k = net_packet(w, PACKET_MESSAGE);
	k->m = *m;
	if (m->type == RAFT_MSG_SNAPSHOT) {
		uint64_t left = m->snapshot.size - m->offset;

		k->m.bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES;
		k->snap = n->outgoing;
	}
	if (m->type != RAFT_MSG_APPEND || m->last < m->first)
		net_send(w, n, k);
	else if (chance(w, w->p.uncached))
		world_post(w, w->now + around(w, 2 * MS), EV_READ, n, 0, 0, 0, k);
	else
		send_entries(w, n, k);
}

/* ---- one step */

/* What goes to the disk, in order; false: the process has ended. */
static bool
hand_over(struct world *w, struct node *n, const struct raft_effects *fx)
{
	if (crash_point(w, n))
		return false;
	if (fx->hard_state) {
		disk_queue(w, n, DISK_STATE, n->core.term, n->core.vote, NULL);
		if (crash_point(w, n))
			return false;
	}
	if (fx->truncate_from != 0) {
		disk_queue(w, n, DISK_TRUNCATE, fx->truncate_from, 0, NULL);
		if (crash_point(w, n))
			return false;
	}
	for (uint64_t i = 0; i < fx->append_n; i++)
		disk_queue(w, n, DISK_APPEND, fx->append_first + i, n->log.v[fx->append_first + i], NULL);
	disk_kick(w, n);
	return fx->append_n == 0 || !crash_point(w, n);
}

static void
carry_out(struct world *w, struct node *n, const struct packet *from, const struct raft_effects *fx)
{
	if (!hand_over(w, n, fx))
		return;
	if (fx->commit > n->commit)
		n->commit = fx->commit;
	if (n->commit > n->state.applied && !n->applying) {
		n->applying = true;
		world_post(w, w->now + (chance(w, w->p.apply_lag) ? around(w, 10 * MS) : 0), EV_APPLY, n, 0, 0, 0, NULL);
	}
	if (fx->reads_ready[0] != 0 || fx->reads_ready[1] != 0)
		answer_reads(w, n, fx->reads_ready);
	if (fx->snapshot_unneeded)
		n->outgoing = NULL;
	if (fx->snapshot_wanted)
		image_make(w, n);
	if (fx->chunk)
		image_chunk(w, n, from);
	if (fx->install)
		image_install(w, n);
	for (size_t i = 0; i < fx->nmessages; i++) {
		send_message(w, n, &fx->messages[i]);
		if (crash_point(w, n))
			return;
	}
	clock_wake(w, n, fx->wake_ms);
}

int
node_try(struct world *w, struct node *n, struct raft_event *ev, const struct packet *from)
{
	struct raft_effects fx;
	int rc;

	check_before(w, n);
	ev->now_ms = clock_local_ms(w, n);
	w->steps++;
	check_storm(w);
	rc = raft_step(&n->core, ev, &fx);
	if (w->trace)
		trace_step(w, n, ev, rc, &fx);
	if (rc < 0) {
		clock_wake(w, n, fx.wake_ms);
		return rc;
	}
	if (fx.truncate_from != 0)
		truncate_log(w, n, fx.truncate_from);
	append_log(w, n, ev, from, &fx);
	if (ev->type == RAFT_READ)
		n->waiters[n->nwaiters - 1].number = fx.read;
	check_step(w, n, &fx);
	carry_out(w, n, from, &fx);
	return 0;
}

void
node_step(struct world *w, struct node *n, struct raft_event *ev, const struct packet *from)
{
	int rc = node_try(w, n, ev, from);

	if (rc < 0)
		world_fail(w, "effects", "%s refuses event %d with %d", trace_name(w, n->dir->id), ev->type, rc);
}

/* ---- what comes in */

void
node_message(struct world *w, struct node *n, struct packet *k)
{
	struct raft_event ev = { .type = RAFT_MESSAGE, .message = &k->m };

	w->runs = world_grow(w->runs, &w->runscap, k->n, sizeof(*w->runs));
	for (size_t i = 0; i < k->n; i++) {
		const struct entry *e = &w->entries[k->uid[i]];

		if (ev.nruns == 0 || w->runs[ev.nruns - 1].term != e->term)
			w->runs[ev.nruns++] = (struct raft_run){ e->index, e->term };
		if (e->kind == ENTRY_CONFIG)
			w->found[ev.nconfigs++] = w->configs[e->arg];
	}
	ev.runs = w->runs;
	ev.configs = w->found;
	check_heard(w, n, k);
	node_step(w, n, &ev, k);
}

static void
apply_op(struct world *w, struct node *n, uint32_t number)
{
	struct op *o = &w->ops[number];
	uint32_t *reg = &n->state.reg[o->key], seen = *reg;
	bool ok = o->kind == OP_PUT || seen == o->expect;

	if ((n->state.done[number / 8] & 1 << number % 8) != 0)
		return;
	n->state.done[number / 8] |= (uint8_t)(1 << number % 8);
	if (ok)
		*reg = o->value;
	if (o->applied && (o->applied_ok != ok || o->applied_seen != seen))
		world_fail(w, "state machine safety", "%s finds another result for #%u", trace_name(w, n->dir->id), number);
	o->applied = true;
	o->applied_ok = ok;
	o->applied_seen = seen;
}

void
node_apply(struct world *w, struct node *n)
{
	uint64_t upto = n->commit;

	n->applying = false;
	if (upto <= n->state.applied)
		return;
	if (!w->calm && chance(w, w->p.apply_lag))
		upto = between(w, n->state.applied + 1, upto);
	while (n->state.applied < upto) {
		uint32_t uid = n->log.v[n->state.applied + 1];
		const struct entry *e = &w->entries[uid];

		n->state.applied++;
		n->state.uid = uid;
		n->state.hash = (n->state.hash ^ uid) * 0x9e3779b97f4a7c15u;
		if (e->kind == ENTRY_CONFIG)
			n->state.config = w->configs[e->arg];
		else if (e->kind == ENTRY_OP)
			apply_op(w, n, e->arg);
		check_applied(w, n);
	}
	answer_writes(w, n);
	node_step(w, n, &(struct raft_event){ .type = RAFT_APPLIED, .index = n->state.applied }, NULL);
}

void
node_propose(struct world *w, struct node *n)
{
	struct raft_event ev = { .type = RAFT_PROPOSE, .count = n->npending };
	int rc = n->npending > 0 ? node_try(w, n, &ev, NULL) : 0;

	if (rc < 0 && rc != -RAFT_ENOTLEADER)
		world_fail(w, "effects", "%s refuses a proposal with %d", trace_name(w, n->dir->id), rc);
	for (size_t i = 0; rc < 0 && i < n->npending; i++)
		answer(w, &n->pending[i], true, false, 0);
	n->npending = 0;
}

void
node_config(struct world *w, struct node *n, const struct raft_servers *config, bool bogus)
{
	struct raft_event ev = { .type = RAFT_PROPOSE, .count = 1, .config = config };
	int rc = node_try(w, n, &ev, NULL);

	if (bogus && rc == 0)
		world_fail(w, "one change at a time", "%s takes a change of two votes", trace_name(w, n->dir->id));
	if (!bogus && rc == -EINVAL)
		world_fail(w, "effects", "%s refuses a change of one server", trace_name(w, n->dir->id));
}

/* ---- requests of clients */

/* Its number comes with the step, and perhaps at once the answer. */
static void
barrier(struct world *w, struct node *n, const struct waiter *p)
{
	struct raft_event ev = { .type = RAFT_READ, .consistent = p->consistent };

	n->waiters[n->nwaiters] = *p;
	n->waiters[n->nwaiters++].number = UINT64_MAX;
	w->tally.barrier_reads++;
	node_step(w, n, &ev, NULL);
}

/* More readers than there are places for: nobody waits for their answers, but who shares a place with them. */
static void
crowd(struct world *w, struct node *n)
{
	uint32_t gen = n->gen;

	for (unsigned i = 0; i < RAFT_READ_ROUNDS_MAX + 8 && n->up && n->gen == gen && n->nwaiters < WAITERS_MAX; i++)
		barrier(w, n, &(struct waiter){ .read = true, .consistent = chance(w, 300) });
}

static void
read_request(struct world *w, struct node *n, const struct packet *k, bool consistent)
{
	struct waiter p = { .op = k->op, .gen = k->gen, .read = true, .consistent = consistent };
	uint32_t gen = n->gen;

	if (!w->calm && chance(w, 2))
		crowd(w, n);
	if (!n->up || n->gen != gen)
		return;
	if (!consistent && chance(w, 700) && raft_lease_valid(&n->core, clock_local_ms(w, n))) {
		w->tally.lease_reads++;
		answer_read(w, n, &p);
		return;
	}
	if (n->nwaiters == WAITERS_MAX) {
		answer(w, &p, true, false, 0);
		return;
	}
	barrier(w, n, &p);
}

static void
forward(struct world *w, struct node *n, const struct packet *k)
{
	struct node *leader = world_node(w, n->core.leader);
	struct packet *f;

	if (n->core.leader == 0 || leader == NULL || leader == n || k->forwarded) {
		answer(w, &(struct waiter){ .op = k->op, .gen = k->gen }, true, false, 0);
		return;
	}
	f = net_packet(w, PACKET_REQUEST);
	f->op = k->op;
	f->gen = k->gen;
	f->node = leader->slot;
	f->forwarded = true;
	net_send(w, n, f);
}

void
node_request(struct world *w, struct node *n, const struct packet *k)
{
	enum op_kind kind = w->ops[k->op].kind;

	if (kind == OP_GET || kind == OP_GET_CONSISTENT) {
		read_request(w, n, k, kind == OP_GET_CONSISTENT);
	} else if (n->core.role != RAFT_LEADER) {
		forward(w, n, k);
	} else if (n->npending < WAITERS_MAX / 2 && n->nwaiters < WAITERS_MAX / 2) {
		n->pending[n->npending++] = (struct waiter){ .op = k->op, .gen = k->gen };
		if (n->npending == 1)
			world_post(w, w->now + (chance(w, 500) ? 0 : below(w, MS)), EV_PROPOSE, n, 0, 0, 0, NULL);
	}
}
