/* exchange.c - push/pull: everything we know for everything a peer knows (spec 3.2, 3.4, 4.5). */
#include <stdio.h>

#include "gossipd/swim/internal.h"
#include "gossipd/wire/stream.h"

/* The n up to which the interval is the configured one. */
enum { SCALE_FROM = 32 };

uint32_t
swim_push_pull_ms(uint32_t interval_ms, size_t n)
{
	uint32_t factor = 1;

	for (size_t reach = SCALE_FROM; reach < n && factor < 32; reach *= 2)
		factor++;
	return interval_ms > UINT32_MAX / factor ? UINT32_MAX : interval_ms * factor;
}

void
exchange_tick(struct swim *s, uint64_t now)
{
	struct pick pick = { s, now, NULL };
	struct swim_node *n;

	timers_arm(&s->timers, &s->exchange_timer, now + (uint64_t)swim_push_pull_ms(s->c.push_pull_ms, s->table.n) * MS);
	if (s->h.exchange != NULL && pick_random(s, &n, 1, pick_alive, &pick) == 1)
		s->h.exchange(s->h.ctx, &n->id->addr, ident_name(n->id));
}

/* ---- ours */

struct rows {
	const struct swim *s;
	size_t at;
};

static bool
next_row(void *rows, struct msg_alive *ret)
{
	struct rows *r = rows;
	const struct swim_node *n;
	const struct ident *i;

	if (r->at >= r->s->table.n)
		return false;
	n = table_node(r->s, r->at++);
	i = n->id;
	*ret = (struct msg_alive){ .incarnation = n->incarnation, .node = ident_name(i), .addr = { (const char *)i->addr.ip, i->addr.len },
		.port = i->addr.port, .meta = ident_meta(i), .vsn = { (const char *)i->vsn, WIRE_VSN }, .state = n->state };
	return true;
}

int
swim_put_state(struct swim *s, bool join, struct buf *out)
{
	struct buf user = BUF_INIT(out->max);
	struct rows rows = { .s = s };
	size_t before = out->len;
	int rc;

	if (s->h.local_state != NULL)
		s->h.local_state(s->h.ctx, join, &user);
	rc = stream_put_push_pull(out, join, s->table.n, next_row, &rows, (struct str){ (const char *)user.data, user.len });
	buf_release(&user);
	if (rc < 0)
		out->len = before;
	return rc;
}

/* ---- a peer's */

struct versions {
	uint8_t min, max;		/* what all alive ones understand */
	uint8_t serf_min, serf_max;
};

static void
narrow(struct versions *v, const uint8_t *vsn)
{
	v->min = vsn[0] > v->min ? vsn[0] : v->min;
	v->max = vsn[1] < v->max ? vsn[1] : v->max;
	v->serf_min = vsn[3] > v->serf_min ? vsn[3] : v->serf_min;
	v->serf_max = vsn[4] < v->serf_max ? vsn[4] : v->serf_max;
}

static int
speaks(const struct versions *v, const uint8_t *vsn, struct str name, char err[256])
{
	bool member = vsn[2] < v->min || vsn[2] > v->max;

	if (!member && vsn[5] >= v->serf_min && vsn[5] <= v->serf_max)
		return 0;
	name.len = name.len < 64 ? name.len : 64;
	(void)snprintf(err, 256, "node '%.*s' speaks %s version %u, the pool understands %u to %u", STR_ARG(name), member ? "membership" : "Serf",
	    vsn[member ? 2 : 5], member ? v->min : v->serf_min, member ? v->max : v->serf_max);
	return -EINVAL;
}

/* Zeros when it did not tell. */
static const uint8_t *
row_vsn(const struct msg_alive *m)
{
	static const uint8_t none[WIRE_VSN];

	return m->vsn.p != NULL && m->vsn.len >= WIRE_VSN ? (const uint8_t *)m->vsn.p : none;
}

/* What all that are alive understand must be spoken by everybody, dead or alive, theirs or ours: the span of what is spoken. */
static void
widen(struct versions *spoken, const uint8_t *vsn)
{
	spoken->min = vsn[2] < spoken->min ? vsn[2] : spoken->min;
	spoken->max = vsn[2] > spoken->max ? vsn[2] : spoken->max;
	spoken->serf_min = vsn[5] < spoken->serf_min ? vsn[5] : spoken->serf_min;
	spoken->serf_max = vsn[5] > spoken->serf_max ? vsn[5] : spoken->serf_max;
}

static bool
within(const struct versions *spoken, const struct versions *v)
{
	return spoken->min >= v->min && spoken->max <= v->max && spoken->serf_min >= v->serf_min && spoken->serf_max <= v->serf_max;
}

static int
check_versions(const struct swim *s, const struct msg_alive *rows, size_t n, char err[256])
{
	struct versions v = { 0, UINT8_MAX, 0, UINT8_MAX }, spoken = { UINT8_MAX, 0, UINT8_MAX, 0 };
	const struct swim_node *own;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		widen(&spoken, row_vsn(&rows[i]));
		if (rows[i].state == SWIM_ALIVE && rows[i].vsn.len >= WIRE_VSN)
			narrow(&v, row_vsn(&rows[i]));
	}
	for (size_t i = 0; i < s->table.n; i++) {
		own = table_node(s, i);
		widen(&spoken, own->id->vsn);
		if (own->state == SWIM_ALIVE)
			narrow(&v, own->id->vsn);
	}
	if (within(&spoken, &v))
		return 0;
	/* Somebody does not: who it is is looked for only now. */
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = speaks(&v, row_vsn(&rows[i]), rows[i].node, err);
	for (size_t i = 0; i < s->table.n && rc == 0; i++) {
		own = table_node(s, i);
		rc = speaks(&v, own->id->vsn, ident_name(own->id), err);
	}
	return rc;
}

static void
merge_row(struct swim *s, uint64_t now, const struct msg_alive *m)
{
	struct msg_accuse a = { .incarnation = m->incarnation, .node = m->node, .from = m->node };

	switch (m->state) {
	case SWIM_ALIVE:
		rule_alive(s, now, m);
		return;
	case SWIM_LEFT:
		rule_dead(s, now, &a);
		return;
	case SWIM_SUSPECT:
	case SWIM_DEAD:
		/* What a peer holds for dead may only be out of its reach: it makes us suspicious, no more. */
		a.from = ident_name(s->self->id);
		rule_suspect(s, now, &a);
		return;
	default:
		s->stats.malformed++;
		return;
	}
}

int
swim_merge(struct swim *s, uint64_t now, const struct msg_alive *rows, size_t n, struct str user_state, bool join, char err[256])
{
	int rc = check_versions(s, rows, n, err);

	s->now = now;
	if (rc == 0 && join && s->h.admit_all != NULL)
		rc = s->h.admit_all(s->h.ctx, rows, n, err);
	if (rc < 0) {
		s->stats.refused_members++;
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++)
		merge_row(s, now, &rows[i]);
	if (user_state.len > 0 && s->h.remote_state != NULL)
		s->h.remote_state(s->h.ctx, join, user_state);
	return 0;
}
