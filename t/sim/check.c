/*
 * check.c - what must hold after each step (thesis, figure 3.2, and our own).
 *
 * election safety: check_step, one leader of a term
 * leader append-only: node.c refuses a truncation; check_created: each index once in a term
 * log matching: check_appended, an entry follows the one that it was created behind
 * leader completeness: elected(), a new leader has all that anybody knew to be committed
 * state machine safety: committed() and check_applied, one entry and one state at an index
 *
 * Ours: a message that promises leaves when its promise is on disk
 * (check_send); what a leader commits is on a majority of disks; nothing is
 * applied that is not on the own disk; no two leases hold at one moment; a
 * leader whose disk hangs, or whom no majority answers, does not stay.
 */
#include "t/sim/world.h"

enum { STEPS_PER_SECOND = 50000 };

static size_t
voters(const struct raft_servers *c)
{
	size_t n = 0;

	for (size_t i = 0; c != NULL && i < c->n; i++)
		n += c->v[i].voter;
	return n;
}

static struct term *
term_of(struct world *w, uint64_t term)
{
	if (term > 10000000)
		world_fail(w, "limits of the simulator", "term %llu", (unsigned long long)term);
	w->terms = world_grow(w->terms, &w->termscap, term + 1, sizeof(*w->terms));
	if (w->nterms < term + 1)
		w->nterms = term + 1;
	return &w->terms[term];
}

static void
leads(struct world *w, uint64_t id, uint64_t term)
{
	struct term *t = term_of(w, term);

	if (t->leader != 0 && t->leader != id)
		world_fail(w, "election safety", "%s and %s both lead term %llu", trace_name(w, t->leader), trace_name(w, id),
		    (unsigned long long)term);
	t->leader = id;
}

static bool
led(const struct node *n, uint64_t term)
{
	return (n->core.role == RAFT_LEADER && n->core.term == term) || (n->seen_role == RAFT_LEADER && n->seen_term == term);
}

/* A leader creates an entry; with this very step it may have become one, or be none any more. */
void
check_created(struct world *w, struct node *n, uint64_t index, uint64_t term)
{
	struct term *t = term_of(w, term);

	leads(w, n->dir->id, term);
	if (!led(n, term))
		world_fail(w, "election safety", "%s creates entry %llu of term %llu, which it does not lead",
		    trace_name(w, n->dir->id), (unsigned long long)index, (unsigned long long)term);
	if (index <= t->last)
		world_fail(w, "leader append-only", "%s creates entry %llu of term %llu again", trace_name(w, n->dir->id),
		    (unsigned long long)index, (unsigned long long)term);
	t->last = index;
}

void
check_appended(struct world *w, struct node *n, uint64_t index, uint32_t uid)
{
	const struct entry *e = &w->entries[uid];
	uint64_t term = trail_term(&n->core.trail, index);

	if (e->index != index || e->prev != n->log.v[index - 1])
		world_fail(w, "log matching", "%s appends entry %llu of term %llu behind another than its leader did",
		    trace_name(w, n->dir->id), (unsigned long long)index, (unsigned long long)e->term);
	if (e->term != term)
		world_fail(w, "effects", "%s takes entry %llu to be of term %llu, not %llu", trace_name(w, n->dir->id),
		    (unsigned long long)index, (unsigned long long)term, (unsigned long long)e->term);
}

/* ---- commitment */

static bool
on_disk(const struct dir *d, uint64_t index, uint32_t uid)
{
	return d != NULL && (index < d->log.base || (index <= d->log.last && d->log.v[index] == uid));
}

static void
on_majority(struct world *w, struct node *n, uint64_t index, uint32_t uid)
{
	const struct raft_servers *c = raft_servers(&n->core);
	size_t have = 0;

	for (size_t i = 0; c != NULL && i < c->n; i++)
		have += c->v[i].voter && on_disk(world_dir(w, c->v[i].id), index, uid);
	if (2 * have <= voters(c))
		world_fail(w, "commitment", "%s commits entry %llu, which is on %zu of %zu disks", trace_name(w, n->dir->id),
		    (unsigned long long)index, have, voters(c));
}

static void
committed(struct world *w, struct node *n, uint64_t index)
{
	uint32_t uid = n->log.v[index];

	w->committed = world_grow(w->committed, &w->committedcap, index + 1, sizeof(*w->committed));
	w->hashes = world_grow(w->hashes, &w->hashescap, index + 1, sizeof(*w->hashes));
	if (w->committed[index] != 0 && w->committed[index] != uid)
		world_fail(w, "state machine safety", "%s commits another entry %llu (term %llu, not %llu)",
		    trace_name(w, n->dir->id), (unsigned long long)index, (unsigned long long)w->entries[uid].term,
		    (unsigned long long)w->entries[w->committed[index]].term);
	w->committed[index] = uid;
	if (index <= w->ncommitted)
		return;
	w->ncommitted = index;
	/* Its leader is the first to know. */
	w->committed_in = world_grow(w->committed_in, &w->committed_incap, index + 1, sizeof(*w->committed_in));
	w->committed_in[index] = n->core.term;
	w->tally.commits++;
	if (w->entries[uid].kind == ENTRY_CONFIG)
		w->settled = w->configs[w->entries[uid].arg];
}

static void
check_commit(struct world *w, struct node *n)
{
	uint64_t upto = n->core.commit < n->log.last ? n->core.commit : n->log.last;

	if (upto <= n->seen_commit)
		return;
	if (n->seen_commit < n->log.base)
		n->seen_commit = n->log.base;
	while (n->seen_commit < upto)
		committed(w, n, ++n->seen_commit);
	if (n->core.role == RAFT_LEADER)
		on_majority(w, n, upto, n->log.v[upto]);
}

/*
 * It has all that was committed in earlier terms (late votes may elect it
 * when a newer leader is at work already). By log matching the newest of
 * these entries stands for all in front of it.
 */
static void
elected(struct world *w, struct node *n)
{
	uint64_t newest = w->ncommitted;
	bool has;

	while (newest > 0 && w->committed_in[newest] >= n->core.term)
		newest--;
	has = n->log.last >= newest;
	if (has && newest >= n->log.base)
		has = n->log.v[newest] == w->committed[newest];
	else if (has)
		has = n->log.v[n->log.base] != 0;
	if (!has)
		world_fail(w, "leader completeness", "%s leads term %llu with a log up to %llu that lacks committed entry %llu of term %llu",
		    trace_name(w, n->dir->id), (unsigned long long)n->core.term, (unsigned long long)n->log.last,
		    (unsigned long long)newest, (unsigned long long)w->entries[w->committed[newest]].term);
	w->tally.elections++;
	n->lead_since = w->now;
	admin_elected(w);
	faults_elected(w, n);
	TRACE(w, "%s leads term %llu", trace_name(w, n->dir->id), (unsigned long long)n->core.term);
}

void
check_applied(struct world *w, struct node *n)
{
	uint64_t index = n->state.applied;

	if (index > w->ncommitted || w->committed[index] != n->state.uid)
		world_fail(w, "state machine safety", "%s applies another entry %llu", trace_name(w, n->dir->id),
		    (unsigned long long)index);
	if (w->hashes[index] != 0 && w->hashes[index] != n->state.hash)
		world_fail(w, "state machine safety", "%s is in another state after entry %llu", trace_name(w, n->dir->id),
		    (unsigned long long)index);
	w->hashes[index] = n->state.hash;
}

/* ---- leases */

static void
check_lease(struct world *w, struct node *n)
{
	if (!raft_lease_valid(&n->core, clock_local_ms(w, n)))
		return;
	for (unsigned i = 0; i < w->nodes; i++) {
		struct node *o = &w->node[i];

		if (o != n && o->up && o->core.role == RAFT_LEADER && raft_lease_valid(&o->core, clock_local_ms(w, o)))
			world_fail(w, "one lease at a time", "%s (term %llu) and %s (term %llu) both hold one",
			    trace_name(w, n->dir->id), (unsigned long long)n->core.term, trace_name(w, o->dir->id),
			    (unsigned long long)o->core.term);
	}
}

/* ---- leaders that are of no use */

/* Three election timeouts, which its own clock may count a little longer; suspended, it cannot know. */
static bool
long_ago(const struct world *w, const struct node *n, uint64_t when)
{
	if (when < n->pause_until)
		when = n->pause_until;
	return w->now > when + (3 * w->timing.election_ms + w->timing.heartbeat_ms) * MS;
}

/* Where there is another one that could lead. */
static void
check_disk(struct world *w, struct node *n)
{
	const struct dir *d = n->dir;

	for (size_t i = 0; i < d->qn && voters(raft_servers(&n->core)) > 1; i++) {
		if (d->q[i].kind != DISK_APPEND)
			continue;
		/* One that gets on does not hang; and it has not been in the way before there was another voter. */
		if (long_ago(w, n, d->q[i].at) && long_ago(w, n, d->synced_at) && long_ago(w, n, n->lead_since) &&
		    long_ago(w, n, n->config_since))
			world_fail(w, "a leader whose disk hangs steps down", "%s waits since %.3f s", trace_name(w, d->id),
			    (double)d->q[i].at / 1e6);
		return;
	}
}

static void
check_quorum(struct world *w, struct node *n)
{
	const struct raft_servers *c = raft_servers(&n->core);
	size_t near = 0;

	if (!long_ago(w, n, n->lead_since) || !long_ago(w, n, n->config_since))
		return;
	for (size_t i = 0; c != NULL && i < c->n; i++) {
		const struct dir *d = world_dir(w, c->v[i].id);

		near += c->v[i].voter && (d == n->dir || !long_ago(w, n, n->heard[d->number]));
	}
	if (2 * near <= voters(c))
		world_fail(w, "a leader that no majority answers steps down", "%s hears %zu of %zu", trace_name(w, n->dir->id),
		    near, voters(c));
}

void
check_heard(struct world *w, struct node *n, const struct packet *k)
{
	n->heard[world_dir(w, k->m.from)->number] = w->now;
}

/* ---- steps */

/* Servers that answer each other without end. */
void
check_storm(struct world *w)
{
	if (w->now / SECOND != w->storm_second) {
		w->storm_second = w->now / SECOND;
		w->storm_steps = w->steps;
	}
	if (w->steps - w->storm_steps > STEPS_PER_SECOND)
		world_fail(w, "no storms", "more than %d steps within a second", STEPS_PER_SECOND);
}

void
check_before(struct world *w, struct node *n)
{
	(void)w;
	n->seen_role = n->core.role;
	n->seen_term = n->core.term;
}

void
check_step(struct world *w, struct node *n, const struct raft_effects *fx)
{
	if (n->core.term < n->seen_term)
		world_fail(w, "terms never go back", "%s goes from term %llu to %llu", trace_name(w, n->dir->id),
		    (unsigned long long)n->seen_term, (unsigned long long)n->core.term);
	if (n->core.trail.last != n->log.last)
		world_fail(w, "effects", "%s counts %llu entries, its log ends at %llu", trace_name(w, n->dir->id),
		    (unsigned long long)n->core.trail.last, (unsigned long long)n->log.last);
	if (fx->commit > n->told_persisted || fx->commit < n->fx_commit)
		world_fail(w, "applied is persisted", "%s may apply up to %llu (before: %llu), %llu are on its disk",
		    trace_name(w, n->dir->id), (unsigned long long)fx->commit, (unsigned long long)n->fx_commit,
		    (unsigned long long)n->told_persisted);
	n->fx_commit = fx->commit;
	if (fx->config_changed)
		n->config_since = w->now;
	check_commit(w, n);
	if (n->core.role != RAFT_LEADER)
		return;
	leads(w, n->dir->id, n->core.term);
	if (n->seen_role != RAFT_LEADER || n->seen_term != n->core.term)
		elected(w, n);
	check_lease(w, n);
	check_disk(w, n);
	check_quorum(w, n);
}

/* ---- promises */

static void
broken(struct world *w, struct node *n, const struct raft_message *m)
{
	const struct dir *d = n->dir;

	world_fail(w, "promises are on disk", "%s sends %s of term %llu to %s (match %llu), its disk has term %llu vote %s last %llu",
	    trace_name(w, d->id), raft_message_name(m->type), (unsigned long long)m->term, trace_name(w, m->to),
	    (unsigned long long)m->match, (unsigned long long)d->term, trace_name(w, d->vote), (unsigned long long)d->log.last);
}

static void
check_ack(struct world *w, struct node *n, const struct raft_message *m)
{
	const struct term *t = term_of(w, m->term);
	const struct node *leader = world_node(w, t->leader);

	if (n->dir->term < m->term || n->dir->log.last < m->match)
		broken(w, n, m);
	/* While the leader of this very term lives, its log says what the entry must be. */
	if (leader == NULL || !leader->up || leader->core.role != RAFT_LEADER || leader->core.term != m->term ||
	    m->match < leader->log.base || m->match < n->dir->log.base)
		return;
	if (m->match > leader->log.last || n->dir->log.v[m->match] != leader->log.v[m->match])
		world_fail(w, "log matching", "%s acknowledges entry %llu, which is not that of %s", trace_name(w, n->dir->id),
		    (unsigned long long)m->match, trace_name(w, leader->dir->id));
}

void
check_send(struct world *w, struct node *n, const struct raft_message *m)
{
	const struct dir *d = n->dir;

	if (m->from != d->id || m->to == d->id || m->to == 0)
		world_fail(w, "effects", "%s sends a message from %s to %s", trace_name(w, d->id), trace_name(w, m->from),
		    trace_name(w, m->to));
	switch (m->type) {
	case RAFT_MSG_VOTE:
		if (d->term != m->term || d->vote != m->from)
			broken(w, n, m);
		break;
	case RAFT_MSG_VOTE_REPLY:
		if (m->ok && (d->term != m->term || d->vote != m->to))
			broken(w, n, m);
		break;
	case RAFT_MSG_APPEND:
		if (d->term != m->term || d->vote != m->from)
			broken(w, n, m);
		leads(w, m->from, m->term);
		break;
	case RAFT_MSG_APPEND_REPLY:
		if (m->ok)
			check_ack(w, n, m);
		break;
	default:
		break;
	}
}
