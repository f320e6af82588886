/*
 * member.c - configurations: which servers there are and which of them vote (thesis, chapter 4).
 *
 * A configuration is proposed only when the one before it is committed. So
 * whoever has two of them in the log may take the older one for committed:
 * only the newest can be cut off, and two are all that need to be kept.
 */
#include <string.h>

#include "raftd/core/internal.h"

const struct raft_servers *
raft_servers(const struct raft *r)
{
	return r->nconfigs > 0 ? &r->configs[r->nconfigs - 1] : NULL;
}

static const struct raft_server *
find(const struct raft_servers *s, uint64_t id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].id == id)
			return &s->v[i];
	return NULL;
}

int
member_check(const struct raft_servers *s)
{
	size_t voters = 0;

	if (s->n == 0 || s->n > RAFT_SERVERS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].id == 0 || find(s, s->v[i].id) != &s->v[i])
			return -EINVAL;
		voters += s->v[i].voter;
	}
	return voters > 0 ? 0 : -EINVAL;
}

/* Voters of a that are not voters of b. */
static size_t
lost_votes(const struct raft_servers *a, const struct raft_servers *b)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++) {
		const struct raft_server *s = find(b, a->v[i].id);

		n += a->v[i].voter && (s == NULL || !s->voter);
	}
	return n;
}

int
member_follows(const struct raft_servers *a, const struct raft_servers *b)
{
	return a == NULL || lost_votes(a, b) + lost_votes(b, a) <= 1 ? 0 : -EINVAL;
}

/* A majority of these voters is alive, so that they can go on. Of a server that is new we do not know: it may. */
static bool
can_go_on(struct raft *r, const struct raft_servers *s)
{
	size_t voters = 0, alive = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct raft_progress *p = peers_find(&r->peers, s->v[i].id);

		voters += s->v[i].voter;
		alive += s->v[i].voter && (p == NULL || p->id == r->config.id || r->now_ms < p->heard_ms + r->config.election_ms);
	}
	return alive > voters / 2;
}

int
member_propose(struct raft *r, const struct raft_servers *s)
{
	const struct raft_servers *now = raft_servers(r);

	if (member_check(s) < 0 || member_follows(now, s) < 0)
		return -EINVAL;
	if (r->commit < r->term_start || (now != NULL && now->index > r->commit))
		return -RAFT_ECHANGING;
	return can_go_on(r, s) ? 0 : -RAFT_ECHANGING;
}

static bool
has_vote(const struct raft_servers *s, uint64_t id)
{
	const struct raft_server *v = s != NULL ? find(s, id) : NULL;

	return v != NULL && v->voter;
}

bool
member_voter(const struct raft *r, uint64_t id)
{
	return has_vote(raft_servers(r), id);
}

/*
 * A server that has lost its vote may still be needed to lead until that is
 * committed: it can be the only one that has the configuration (thesis, 4.2.2).
 */
bool
member_may_lead(const struct raft *r)
{
	const struct raft_servers *s = raft_servers(r);

	if (member_voter(r, r->config.id))
		return true;
	return r->nconfigs > 1 && s->index > r->commit && has_vote(&r->configs[r->nconfigs - 2], r->config.id);
}

/* The table of peers follows the configuration in force. What is known of those that stay is kept. */
static void
refit(struct raft *r, struct raft_effects *fx)
{
	const struct raft_servers *s = raft_servers(r);
	struct raft_peers old = r->peers;

	r->peers.n = 0;
	for (size_t i = 0; s != NULL && i < s->n; i++) {
		struct raft_progress *p = &r->peers.v[r->peers.n++];
		const struct raft_progress *known = peers_find(&old, s->v[i].id);

		if (known != NULL) {
			*p = *known;
		} else {
			*p = (struct raft_progress){ .id = s->v[i].id };
			progress_new(r, p);
		}
		p->voter = s->v[i].voter;
	}
	fx->config_changed = true;
	if (r->role != RAFT_LEADER && (r->election_at == RAFT_NEVER || !member_may_lead(r)))
		election_plan(r);
}

void
member_push(struct raft *r, const struct raft_servers *s, uint64_t index, struct raft_effects *fx)
{
	if (r->nconfigs == RAFT_CONFIGS_KEPT)
		memmove(r->configs, r->configs + 1, --r->nconfigs * sizeof(r->configs[0]));
	r->configs[r->nconfigs] = *s;
	r->configs[r->nconfigs++].index = index;
	refit(r, fx);
}

void
member_cut(struct raft *r, uint64_t from, struct raft_effects *fx)
{
	if (r->nconfigs == 0 || r->configs[r->nconfigs - 1].index < from)
		return;
	while (r->nconfigs > 0 && r->configs[r->nconfigs - 1].index >= from)
		r->nconfigs--;
	refit(r, fx);
}

void
member_reset(struct raft *r, const struct raft_servers *s, struct raft_effects *fx)
{
	r->nconfigs = 0;
	member_push(r, s, s->index, fx);
}
