/* rules.c - what is believed of whom: alive, suspect, dead, and our own refutation (spec 4.1). */
#include "gossipd/swim/internal.h"

void
health_add(struct swim *s, int delta)
{
	int max = s->c.awareness_max > 0 ? (int)s->c.awareness_max - 1 : 0, score = (int)s->health + delta;

	s->health = (unsigned)(score < 0 ? 0 : score > max ? max : score);
}

/* ---- telling others */

/* What cannot be queued is only not told by us: push/pulls carry it all the same. */
static void
tell(struct swim *s, uint8_t type, const struct record *rec, const void *msg, struct str about)
{
	struct buf *b = &s->names->message;

	buf_clear(b);
	if (wire_put(b, type, rec, msg) < 0 || queue_add(s->queue, about, (struct str){ (const char *)b->data, b->len }, NULL) < 0)
		s->stats.dropped_messages++;
}

void
tell_alive(struct swim *s, const struct swim_node *n)
{
	const struct ident *i = n->id;
	struct msg_alive m = { .incarnation = n->incarnation, .node = ident_name(i), .addr = { (const char *)i->addr.ip, i->addr.len },
		.port = i->addr.port, .meta = ident_meta(i), .vsn = { (const char *)i->vsn, WIRE_VSN } };

	tell(s, WIRE_ALIVE, &rec_msg_alive, &m, m.node);
}

/* We are not what is said of us: an incarnation above it says so. */
static void
refute(struct swim *s, uint64_t accused)
{
	uint64_t next = (accused > s->self->incarnation ? accused : s->self->incarnation) + 1;

	s->self->incarnation = (uint32_t)(next < INCARNATION_MAX ? next : INCARNATION_MAX);
	health_add(s, 1);
	s->stats.refuted++;
	tell_alive(s, s->self);
}

/* ---- alive */

/* Reads m strictly: what is in doubt is not taken. own_port: instead of none. */
static int
alive_check(const struct msg_alive *m, uint16_t own_port, struct gossip_addr *ret)
{
	const uint8_t *vsn = (const uint8_t *)m->vsn.p;

	if (m->node.len == 0 || m->node.len >= WIRE_NAME_MAX || m->meta.len > WIRE_META_MAX)
		return -EINVAL;
	if (m->incarnation == 0 || m->incarnation > INCARNATION_MAX || m->port > UINT16_MAX)
		return -EINVAL;
	if (vsn == NULL || m->vsn.len < WIRE_VSN || vsn[0] == 0 || vsn[1] == 0 || vsn[0] > vsn[1])
		return -EINVAL;
	return gossip_addr_set(ret, m->addr, m->port > 0 ? m->port : own_port);
}

/*
 * Whether it speaks what we understand, and the other way round. An entry that does not would make every push/pull be refused,
 * ours and those of all whom we told of it (3.4): one message of a stranger must not do that.
 */
static bool
understood(const struct swim *s, const uint8_t *vsn)
{
	const uint8_t *own = s->self->id->vsn;

	for (size_t i = 0; i < WIRE_VSN; i += 3)
		if (own[i + 2] < vsn[i] || own[i + 2] > vsn[i + 1] || vsn[i + 2] < own[i] || vsn[i + 2] > own[i + 1])
			return false;
	return true;
}

/* A name that is gone may come back at another address; one that is left at once. */
static bool
may_move(const struct swim *s, uint64_t now, const struct swim_node *n)
{
	uint64_t reclaim = (uint64_t)s->c.reclaim_ms * MS;

	return n->state == SWIM_LEFT || (n->state == SWIM_DEAD && reclaim > 0 && now - n->since > reclaim);
}

static void
alive_about_us(struct swim *s, const struct msg_alive *m)
{
	const struct ident *i = s->self->id;

	if (m->incarnation < s->self->incarnation)
		return;
	if (m->incarnation == s->self->incarnation && str_eq(m->meta, ident_meta(i)) && m->vsn.len == WIRE_VSN &&
	    memcmp(m->vsn.p, i->vsn, WIRE_VSN) == 0)
		return;
	refute(s, m->incarnation);
}

/* It is news, and it is allowed. n: what we had, NULL if nothing. */
static void
alive_take(struct swim *s, uint64_t now, struct swim_node *n, const struct msg_alive *m, const struct gossip_addr *addr)
{
	struct ident *id = names_get(s->names, m->node, m->meta, addr, (const uint8_t *)m->vsn.p), *old;
	bool fresh, updated;

	if (id != NULL && n == NULL) {
		n = table_add(s, now, id);
		if (n == NULL)
			names_put(s->names, id);
	}
	if (id == NULL || n == NULL) {
		s->stats.dropped_messages++;
		return;
	}
	if (n->state == SWIM_SUSPECT) {
		suspicion_end(s, n);
		n->since = now;
	}
	fresh = node_gone(n);
	updated = !str_eq(ident_meta(n->id), ident_meta(id));
	old = n->id;
	n->id = id;
	if (old != id)
		names_put(s->names, old);
	else if (n->incarnation > 0)
		names_put(s->names, id);	/* It had a reference already, unless the entry is new. */
	n->incarnation = (uint32_t)m->incarnation;
	tell_alive(s, n);
	if (fresh)
		node_set_state(s, now, n, SWIM_ALIVE);
	if (fresh && s->h.joined != NULL)
		s->h.joined(s->h.ctx, n);
	else if (!fresh && updated && s->h.updated != NULL)
		s->h.updated(s->h.ctx, n);
}

void
rule_alive(struct swim *s, uint64_t now, const struct msg_alive *in)
{
	struct msg_alive m = *in;
	struct gossip_addr addr;
	struct swim_node *n;
	bool moved;

	if (alive_check(in, s->c.addr.port, &addr) < 0) {
		s->stats.malformed++;
		return;
	}
	m.addr = (struct str){ (const char *)addr.ip, addr.len };
	m.port = addr.port;
	n = table_find(s, m.node);
	if (n == s->self && s->leaving)
		return;
	moved = n != NULL && !gossip_addr_eq(&n->id->addr, &addr);
	/* Old news are not worth asking whether they would be admitted: most rows of a push/pull are. */
	if (n != NULL && n != s->self && !moved && m.incarnation <= n->incarnation)
		return;
	if (n != s->self && (!understood(s, (const uint8_t *)m.vsn.p) || (s->h.admit != NULL && !s->h.admit(s->h.ctx, &m)))) {
		s->stats.refused_members++;
		return;
	}
	if (moved && !may_move(s, now, n)) {
		if (s->h.conflict != NULL)
			s->h.conflict(s->h.ctx, n, &m);
		return;
	}
	if (n == s->self)
		alive_about_us(s, &m);
	else
		alive_take(s, now, n, &m, &addr);
}

/* ---- suspect and dead */

/* The entry that a well-formed accusation is about, when it is not old news. */
static struct swim_node *
accused(struct swim *s, const struct msg_accuse *m)
{
	struct swim_node *n;

	if (m->node.len == 0 || m->node.len >= WIRE_NAME_MAX || m->from.len >= WIRE_NAME_MAX || m->incarnation > INCARNATION_MAX) {
		s->stats.malformed++;
		return NULL;
	}
	n = table_find(s, m->node);
	return n != NULL && m->incarnation >= n->incarnation ? n : NULL;
}

void
rule_suspect(struct swim *s, uint64_t now, const struct msg_accuse *m)
{
	struct swim_node *n = accused(s, m);

	if (n == NULL)
		return;
	if (n->state == SWIM_SUSPECT) {
		/* At most k are told on: more would not shorten anybody's timer (Lifeguard's dogpile). */
		if (suspicion_confirm(s, n, m->from))
			tell(s, WIRE_SUSPECT, &rec_msg_accuse, m, m->node);
		return;
	}
	if (n->state != SWIM_ALIVE)
		return;
	if (n == s->self) {
		refute(s, m->incarnation);
		return;
	}
	if (suspicion_start(s, now, n, m->from) < 0) {
		s->stats.dropped_messages++;
		return;
	}
	n->incarnation = (uint32_t)m->incarnation;
	s->stats.suspected++;
	tell(s, WIRE_SUSPECT, &rec_msg_accuse, m, m->node);
}

void
rule_dead(struct swim *s, uint64_t now, const struct msg_accuse *m)
{
	struct swim_node *n = accused(s, m);
	bool left = str_eq(m->node, m->from);

	if (n == NULL || node_gone(n))
		return;
	/* A leaving node is in state left already, see swim_leave(). */
	if (n == s->self) {
		refute(s, m->incarnation);
		return;
	}
	if (n->state == SWIM_SUSPECT)
		suspicion_end(s, n);
	n->incarnation = (uint32_t)m->incarnation;
	node_set_state(s, now, n, left ? SWIM_LEFT : SWIM_DEAD);
	s->stats.declared_dead += !left;
	tell(s, WIRE_DEAD, &rec_msg_accuse, m, m->node);
	if (s->h.gone != NULL)
		s->h.gone(s->h.ctx, n);
}
