/* swim.c - a pool's life, what arrives and what is due, each to the file that knows it. */
#include "gossipd/swim/swim.h"

#include "gossipd/swim/internal.h"

/* ---- profiles */

void
swim_config_lan(struct swim_config *c)
{
	*c = (struct swim_config){ .vsn = { 1, 5, 2, 2, 5, 4 }, .probe_interval_ms = 1000, .probe_timeout_ms = 500, .indirect_checks = 3,
		.retransmit_mult = 4, .suspicion_mult = 4, .suspicion_max_mult = 6, .push_pull_ms = 30000, .gossip_ms = 200, .gossip_nodes = 3,
		.gossip_to_dead_ms = 30000, .reclaim_ms = 0, .awareness_max = 8, .stream_pings = true, .packet_max = 1400, .nodes_max = 65536 };
}

void
swim_config_wan(struct swim_config *c)
{
	swim_config_lan(c);
	c->probe_interval_ms = 5000;
	c->probe_timeout_ms = 3000;
	c->suspicion_mult = 6;
	c->push_pull_ms = 60000;
	c->gossip_ms = 500;
	c->gossip_nodes = 4;
	c->gossip_to_dead_ms = 60000;
}

void
swim_config_local(struct swim_config *c)
{
	swim_config_lan(c);
	c->probe_timeout_ms = 200;
	c->indirect_checks = 1;
	c->retransmit_mult = 2;
	c->suspicion_mult = 3;
	c->push_pull_ms = 15000;
	c->gossip_ms = 100;
	c->gossip_to_dead_ms = 15000;
}

/* ---- entries */

struct str
swim_node_name(const struct swim_node *n)
{
	return ident_name(n->id);
}

struct str
swim_node_meta(const struct swim_node *n)
{
	return ident_meta(n->id);
}

const struct gossip_addr *
swim_node_addr(const struct swim_node *n)
{
	return &n->id->addr;
}

const uint8_t *
swim_node_vsn(const struct swim_node *n)
{
	return n->id->vsn;
}

enum swim_state
swim_node_state(const struct swim_node *n)
{
	return (enum swim_state)n->state;
}

uint32_t
swim_node_incarnation(const struct swim_node *n)
{
	return n->incarnation;
}

uint64_t
swim_node_since(const struct swim_node *n)
{
	return n->state == SWIM_SUSPECT ? n->suspicion->started : n->since;
}

void **
swim_node_user(struct swim_node *n)
{
	return &n->user;
}

/* ---- life */

/* A random part of it. */
static uint64_t
stagger(struct swim *s, uint32_t interval_ms)
{
	return ((uint64_t)s->h.random(s->h.ctx) * ((uint64_t)interval_ms * 1000) >> 32) * 1000;
}

static void
dropped(void *swim, void *arg, bool finished)
{
	struct swim *s = swim;

	/* Only our own leave has one. Nothing replaces it but an entry that was dropped for want of room: there is nothing to wait for then either. */
	(void)finished;
	if (arg != NULL)
		s->leave_sent = true;
}

/* Our own entry, alive. */
static int
add_self(struct swim *s, const struct swim_config *c, uint64_t now)
{
	struct gossip_addr addr;
	struct ident *id;

	if (c->name.len == 0 || c->name.len >= WIRE_NAME_MAX || c->meta.len > WIRE_META_MAX || c->vsn[0] == 0 || c->vsn[0] > c->vsn[1])
		return -EINVAL;
	if (gossip_addr_set(&addr, (struct str){ (const char *)c->addr.ip, c->addr.len }, c->addr.port) < 0)
		return -EINVAL;
	id = names_get(s->names, c->name, c->meta, &addr, c->vsn);
	if (id == NULL)
		return -ENOMEM;
	s->self = table_add(s, now, id);
	if (s->self == NULL) {
		names_put(s->names, id);
		return -ENOMEM;
	}
	s->self->incarnation = 1;
	node_set_state(s, now, s->self, SWIM_ALIVE);
	tell_alive(s, s->self);
	return 0;
}

static void
start_timers(struct swim *s, uint64_t now)
{
	s->probe_timer.kind = TIMER_PROBE;
	s->answer_timer.kind = TIMER_ANSWER;
	s->exchange_timer.kind = TIMER_EXCHANGE;
	s->help_timer.kind = TIMER_HELP;
	timers_arm(&s->timers, &s->probe_timer, now + stagger(s, s->c.probe_interval_ms));
	s->gossip_at = now + stagger(s, s->c.gossip_ms);
	if (s->c.push_pull_ms > 0)
		timers_arm(&s->timers, &s->exchange_timer, now + stagger(s, s->c.push_pull_ms));
}

struct swim *
swim_new(const struct swim_config *c, const struct swim_hooks *h, struct swim_names *names, uint64_t now)
{
	struct swim *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->c = *c;
	s->c.name = s->c.meta = STR_NONE;
	s->c.nodes_max = c->nodes_max > 0 ? c->nodes_max : 1;
	s->h = *h;
	s->names = names;
	s->now = now;
	if (names == NULL)
		s->names = s->own_names = swim_names_new();
	if (s->names == NULL)
		goto fail;
	if (!s->names->seeded) {
		s->names->seed = h->random(h->ctx);
		s->names->seeded = true;
	}
	s->queue = queue_new(s->c.nodes_max);
	if (s->queue == NULL || timers_reserve(&s->timers, FIXED_TIMERS) < 0)
		goto fail;
	queue_set_seed(s->queue, (uint64_t)s->names->seed << 32 | s->names->seed);
	queue_on_dropped(s->queue, dropped, s);
	/* Sequence numbers begin at 1, which keeps pings and acks short: who can forge an ack need not guess, a forged alive message has none. */
	if (add_self(s, c, now) < 0)
		goto fail;
	start_timers(s, now);
	return s;
fail:
	swim_free(s);
	return NULL;
}

void
swim_free(struct swim *s)
{
	if (s == NULL)
		return;
	queue_free(s->queue);
	table_release(s);
	free(s->timers.v);
	free(s->helping.v);
	swim_names_free(s->own_names);
	free(s);
}

void
swim_set_incarnation(struct swim *s, uint32_t incarnation)
{
	if (incarnation > INCARNATION_MAX)
		incarnation = INCARNATION_MAX;
	if (incarnation <= s->self->incarnation)
		return;
	s->self->incarnation = incarnation;
	tell_alive(s, s->self);
}

/* ---- time */

uint64_t
swim_now(const struct swim *s)
{
	return s->now;
}

uint64_t
swim_next(const struct swim *s)
{
	const struct timer *t = timers_first(&s->timers);
	uint64_t next = t != NULL ? t->at : UINT64_MAX;

	return s->gossip_at < next && gossip_wanted(s) ? s->gossip_at : next;
}

static void
fire(struct swim *s, uint64_t now, struct timer *t)
{
	switch ((enum timer_kind)t->kind) {
	case TIMER_PROBE:
		timers_disarm(&s->timers, t);
		probe_tick(s, now);
		return;
	case TIMER_ANSWER:
		probe_overdue(s, now);
		return;
	case TIMER_EXCHANGE:
		exchange_tick(s, now);
		return;
	case TIMER_HELP:
		help_overdue(s, now);
		return;
	case TIMER_SUSPICION:
		suspicion_fire(s, now, t);
		return;
	}
}

uint64_t
swim_advance(struct swim *s, uint64_t now)
{
	struct timer *t;
	uint64_t next;

	s->now = now;
	/* Everything that fires goes on later than now, or ends. */
	while ((next = swim_next(s)) <= now) {
		t = timers_first(&s->timers);
		if (t != NULL && t->at <= next)
			fire(s, now, t);
		else
			gossip_tick(s, now);
	}
	return next;
}

/* ---- messages */

static int
read_body(struct swim *s, struct str body, const struct record *rec, void *ret)
{
	int rc;

	arena_reset(&s->names->arena);
	rc = wire_get(body, rec, ret, &s->names->arena, NULL);
	if (rc == -ENOMEM)
		s->stats.dropped_messages++;
	else if (rc < 0)
		s->stats.malformed++;
	return rc;
}

static void
on_ack(struct swim *s, uint64_t now, struct str body)
{
	struct msg_ack m = { 0 };

	if (read_body(s, body, &rec_msg_ack, &m) == 0 && !probe_ack(s, now, &m))
		help_ack(s, &m);
}

static void
on_alive(struct swim *s, uint64_t now, struct str body)
{
	struct msg_alive m = { 0 };

	if (read_body(s, body, &rec_msg_alive, &m) == 0)
		rule_alive(s, now, &m);
}

static void
on_accusation(struct swim *s, uint64_t now, struct str body, void (*rule)(struct swim *s, uint64_t now, const struct msg_accuse *m))
{
	struct msg_accuse m = { 0 };

	if (read_body(s, body, &rec_msg_accuse, &m) == 0)
		rule(s, now, &m);
}

void
swim_message(struct swim *s, uint64_t now, const struct gossip_addr *from, uint8_t type, struct str body)
{
	struct msg_ping ping = { 0 };
	struct msg_indirect indirect = { 0 };
	struct msg_nack nack = { 0 };

	s->now = now;
	switch (type) {
	case WIRE_PING:
		if (read_body(s, body, &rec_msg_ping, &ping) == 0)
			answer_ping(s, from, &ping);
		return;
	case WIRE_INDIRECT:
		if (read_body(s, body, &rec_msg_indirect, &indirect) == 0)
			help_ask(s, now, from, &indirect);
		return;
	case WIRE_ACK:
		on_ack(s, now, body);
		return;
	case WIRE_NACK:
		if (read_body(s, body, &rec_msg_nack, &nack) == 0)
			probe_nack(s, &nack);
		return;
	case WIRE_SUSPECT:
		on_accusation(s, now, body, rule_suspect);
		return;
	case WIRE_ALIVE:
		on_alive(s, now, body);
		return;
	case WIRE_DEAD:
		on_accusation(s, now, body, rule_dead);
		return;
	case WIRE_USER:
		if (s->h.user != NULL && body.len > 0)
			s->h.user(s->h.ctx, body);
		return;
	default:
		s->stats.malformed++;
	}
}

void
swim_stream_acked(struct swim *s, uint64_t now, uint32_t seqno)
{
	s->now = now;
	probe_stream_ack(s, seqno);
}

/* ---- ourselves */

int
swim_set_meta(struct swim *s, uint64_t now, struct str meta)
{
	struct ident *old = s->self->id, *id;
	bool other;

	s->now = now;
	if (s->leaving)
		return -EALREADY;
	if (meta.len > WIRE_META_MAX)
		return -ELIMIT;
	id = names_get(s->names, ident_name(old), meta, &old->addr, old->vsn);
	if (id == NULL)
		return -ENOMEM;
	other = id != old;
	s->self->id = id;
	names_put(s->names, old);
	if (s->self->incarnation < INCARNATION_MAX)
		s->self->incarnation++;
	tell_alive(s, s->self);
	if (other && s->h.updated != NULL)
		s->h.updated(s->h.ctx, s->self);
	return 0;
}

int
swim_leave(struct swim *s, uint64_t now)
{
	struct str name = ident_name(s->self->id);
	struct msg_accuse m = { .incarnation = s->self->incarnation, .node = name, .from = name };
	struct buf *b = &s->names->message;
	int rc;

	s->now = now;
	if (s->leaving)
		return -EALREADY;
	buf_clear(b);
	rc = wire_put(b, WIRE_DEAD, &rec_msg_accuse, &m);
	if (rc == 0)
		rc = queue_add(s->queue, name, (struct str){ (const char *)b->data, b->len }, s);
	if (rc < 0)
		return rc;
	s->leaving = true;
	node_set_state(s, now, s->self, SWIM_LEFT);
	if (s->h.gone != NULL)
		s->h.gone(s->h.ctx, s->self);
	return 0;
}

bool
swim_left(const struct swim *s)
{
	return s->leaving && (s->leave_sent || s->table.nalive == 0);
}

bool
swim_leaving(const struct swim *s)
{
	return s->leaving;
}

/* ---- looking */

struct swim_node *
swim_each(struct swim *s, struct swim_node *after)
{
	size_t at = after != NULL ? (size_t)after->pos + 1 : 0;

	return at < s->table.n ? table_node(s, at) : NULL;
}

struct swim_node *
swim_find(struct swim *s, struct str name)
{
	return table_find(s, name);
}

struct swim_node *
swim_self(struct swim *s)
{
	return s->self;
}

size_t
swim_count(const struct swim *s)
{
	return s->table.n;
}

size_t
swim_alive(const struct swim *s)
{
	return s->table.nalive;
}

unsigned
swim_health(const struct swim *s)
{
	return s->health;
}

unsigned
swim_limit(const struct swim *s)
{
	return queue_limit(s->c.retransmit_mult, s->table.n);
}

void
swim_set_overhead(struct swim *s, size_t overhead)
{
	s->c.overhead = overhead;
}

const struct swim_stats *
swim_stats(const struct swim *s)
{
	return &s->stats;
}
