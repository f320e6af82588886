/* serf.c - one Serf: made and freed, its messages to the file that knows them, and its timers. */
#include "gossipd/serf/internal.h"

#include <stdlib.h>

static void
config_common(struct serf_config *c)
{
	*c = (struct serf_config){ .tombstone_timeout_ms = 24u * 3600 * 1000, .reap_ms = 15000, .reconnect_ms = 30000,
		.broadcast_timeout_ms = 5000, .recent_intent_ms = 5 * 60 * 1000, .event_max = 512, .query_max = 1024, .response_max = 1024,
		.queue_max = 4096, .coordinates = true };
}

void
serf_config_consul(struct serf_config *c)
{
	config_common(c);
	c->reconnect_timeout_ms = 72u * 3600 * 1000;
	c->leave_propagate_ms = 3000;
}

void
serf_config_serf(struct serf_config *c)
{
	config_common(c);
	c->reconnect_timeout_ms = 24u * 3600 * 1000;
	c->leave_propagate_ms = 1000;
	c->resolve_conflicts = true;
}

/* ---- what all files use */

uint64_t
serf_now(const struct serf *s)
{
	uint64_t swim = s->swim != NULL ? swim_now(s->swim) : 0;

	return swim > s->now ? swim : s->now;
}

void
serf_set_now(struct serf *s, uint64_t now)
{
	if (now > s->now)
		s->now = now;
}

static uint64_t
hash_bytes(uint64_t h, struct str v)
{
	for (size_t i = 0; i < v.len; i++)
		h = (h ^ (unsigned char)v.p[i]) * 1099511628211u;
	/* The length, so that the border between two strings counts. */
	h = (h ^ v.len) * 1099511628211u;
	return h ^ h >> 29;
}

/* Seeded, so that names that meet in one place cannot be chosen from outside. */
uint64_t
serf_hash(const struct serf *s, struct str a, struct str b)
{
	uint64_t h = hash_bytes(hash_bytes(s->seed, a), b);

	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	return h ^ h >> 33;
}

struct str
serf_own_name(const struct serf *s)
{
	return swim_node_name(swim_self(s->swim));
}

bool
serf_is_self(const struct serf *s, const struct member *m)
{
	return m->node == swim_self(s->swim);
}

void
serf_gossip(struct serf *s, struct queue *q, struct str message, void *arg)
{
	/* One that fits no packet would lie in the queue for ever, and keep us awake. */
	if (message.len > swim_user_max(s->swim) || queue_add(q, STR(""), message, arg) < 0)
		s->stats.dropped++;
}

int
serf_gossip_new(struct queue *q, uint8_t type, const struct record *rec, const void *msg, void *arg)
{
	struct buf raw = BUF_INIT(WIRE_PACKET_MAX);
	int rc = wire_put(&raw, type, rec, msg);

	if (rc == 0)
		rc = queue_add(q, STR(""), (struct str){ (const char *)raw.data, raw.len }, arg);
	buf_release(&raw);
	return rc;
}

void
serf_send(struct serf *s, const struct gossip_addr *to, struct str message)
{
	struct buf raw = BUF_INIT(WIRE_PACKET_MAX);

	if (buf_addc(&raw, WIRE_USER) == 0 && buf_add(&raw, message.p, message.len) == 0)
		s->hooks.send(s->hooks.ctx, to, (struct str){ (const char *)raw.data, raw.len }, false);
	else
		s->stats.dropped++;
	buf_release(&raw);
}

/* ---- messages: each says by 0 that it was news, which is then gossiped on */

static int
take_leave(struct serf *s, struct str body, struct arena *a)
{
	struct msg_leave m;

	if (wire_get(body, &rec_msg_leave, &m, a, NULL) < 0 || !name_ok(m.node) || m.ltime == UINT64_MAX)
		return -EDECODE;
	return serf_member_leave_intent(s, &m) ? 0 : -EALREADY;
}

static int
take_join(struct serf *s, struct str body, struct arena *a)
{
	struct msg_join m;

	if (wire_get(body, &rec_msg_join, &m, a, NULL) < 0 || !name_ok(m.node) || m.ltime == UINT64_MAX)
		return -EDECODE;
	return serf_member_join_intent(s, &m) ? 0 : -EALREADY;
}

static int
take_event(struct serf *s, struct str body, struct arena *a)
{
	struct msg_event m;

	if (wire_get(body, &rec_msg_event, &m, a, NULL) < 0 || m.ltime == UINT64_MAX)
		return -EDECODE;
	return serf_event_take(s, &m);
}

static int
take_query(struct serf *s, struct str body, struct arena *a)
{
	struct msg_query m;
	bool gossip = false;
	int rc;

	if (wire_get(body, &rec_msg_query, &m, a, NULL) < 0 || m.ltime == UINT64_MAX)
		return -EDECODE;
	rc = serf_query_take(s, &m, &gossip);
	return rc == 0 && !gossip ? -EALREADY : rc;
}

static int
take_response(struct serf *s, struct str body, struct arena *a)
{
	struct msg_response m;

	if (wire_get(body, &rec_msg_response, &m, a, NULL) < 0)
		return -EDECODE;
	serf_ask_response(s, &m);
	return -EALREADY;
}

static int
take(struct serf *s, uint8_t type, struct str body, struct arena *a, struct queue **ret_queue)
{
	switch (type) {
	case SERF_LEAVE:
		*ret_queue = s->intent_queue;
		return take_leave(s, body, a);
	case SERF_JOIN:
		*ret_queue = s->intent_queue;
		return take_join(s, body, a);
	case SERF_EVENT:
		*ret_queue = s->event_queue;
		return take_event(s, body, a);
	case SERF_QUERY:
		*ret_queue = s->query_queue;
		return take_query(s, body, a);
	case SERF_RESPONSE:
		return take_response(s, body, a);
	case SERF_RELAY:
		serf_query_relay_take(s, body);
		return -EALREADY;
	default:
		return -EDECODE;
	}
}

void
serf_take(struct serf *s, struct str message)
{
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	struct queue *queue = NULL;
	int rc = -EDECODE;

	if (message.len > 0)
		rc = take(s, (uint8_t)message.p[0], (struct str){ message.p + 1, message.len - 1 }, &a, &queue);
	arena_release(&a);
	if (rc == 0)
		serf_gossip(s, queue, message, NULL);
	else if (rc == -EDECODE)
		s->stats.malformed++;
	else if (rc == -ELIMIT)
		s->stats.refused++;
	else if (rc != -EALREADY)
		s->stats.dropped++;
}

/* ---- swim's hooks: the network goes through, the rest is ours */

static uint32_t
hook_random(void *ctx)
{
	struct serf *s = ctx;

	return s->hooks.random(s->hooks.ctx);
}

static void
hook_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	struct serf *s = ctx;

	s->hooks.send(s->hooks.ctx, to, plain, crc);
}

static void
hook_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	struct serf *s = ctx;

	s->hooks.stream_ping(s->hooks.ctx, to, name, seqno, deadline);
}

static void
hook_exchange(void *ctx, const struct gossip_addr *to, struct str name)
{
	struct serf *s = ctx;

	s->hooks.exchange(s->hooks.ctx, to, name, false);
}

static void
hook_joined(void *ctx, struct swim_node *n)
{
	serf_member_joined(ctx, n);
}

static void
hook_gone(void *ctx, struct swim_node *n)
{
	serf_member_gone(ctx, n);
}

static void
hook_updated(void *ctx, struct swim_node *n)
{
	serf_member_updated(ctx, n);
}

static void
hook_forgotten(void *ctx, struct swim_node *n)
{
	serf_member_forgotten(ctx, n);
}

static void
hook_conflict(void *ctx, const struct swim_node *known, const struct msg_alive *other)
{
	struct serf *s = ctx;

	if (s->hooks.conflict != NULL)
		s->hooks.conflict(s->hooks.ctx, known, other);
	if (s->config.resolve_conflicts && known == swim_self(s->swim))
		serf_conflict_vote(s);
}

static bool
hook_admit(void *ctx, const struct msg_alive *m)
{
	struct serf *s = ctx;

	return s->hooks.admit(s->hooks.ctx, m);
}

static int
hook_admit_all(void *ctx, const struct msg_alive *rows, size_t n, char err[256])
{
	struct serf *s = ctx;

	return s->hooks.admit_all(s->hooks.ctx, rows, n, err);
}

static void
hook_user(void *ctx, struct str message)
{
	serf_take(ctx, message);
}

static struct str
hook_ack_payload(void *ctx)
{
	struct serf *s = ctx;

	if (s->ack.len == 0 && coord_put(&s->ack, &s->coord.c) < 0) {
		s->stats.dropped++;
		return STR_NONE;
	}
	return (struct str){ (const char *)s->ack.data, s->ack.len };
}

/* 0 .. 1 */
static double
random_fraction(void *ctx)
{
	struct serf *s = ctx;

	return (double)s->hooks.random(s->hooks.ctx) / 4294967296.0;
}

static void
hook_acked(void *ctx, struct swim_node *n, uint64_t rtt_ns, struct str payload)
{
	struct serf *s = ctx;
	struct member *m = serf_roster_of(&s->roster, n);
	double rtt_s = (double)(rtt_ns / NS_PER_S) + (double)(rtt_ns % NS_PER_S) / 1e9;
	struct coord theirs;
	struct net *net;

	if (payload.len == 0 || m == NULL)
		return;
	if (coord_get(payload, &theirs) < 0) {
		s->stats.malformed++;
		return;
	}
	net = serf_roster_net(&s->roster, m);
	if (net == NULL) {
		s->stats.dropped++;
		return;
	}
	if (coord_update(&s->coord, &theirs, &net->latencies, rtt_s, random_fraction, s) < 0) {
		s->stats.refused++;
		return;
	}
	net->c = theirs;
	net->known = true;
	buf_clear(&s->ack);
}

static void
hook_broadcasts(void *ctx, size_t overhead, size_t room, void (*take_one)(void *arg, struct str message), void *arg)
{
	struct serf *s = ctx;
	unsigned limit = swim_limit(s->swim);

	room -= queue_take(s->intent_queue, overhead, room, limit, take_one, arg);
	room -= queue_take(s->query_queue, overhead, room, limit, take_one, arg);
	(void)queue_take(s->event_queue, overhead, room, limit, take_one, arg);
}

static bool
hook_pending(void *ctx)
{
	struct serf *s = ctx;

	return queue_count(s->intent_queue) + queue_count(s->query_queue) + queue_count(s->event_queue) > 0;
}

static void
hook_local_state(void *ctx, bool join, struct buf *out)
{
	(void)join;
	serf_state_local(ctx, out);
}

static void
hook_remote_state(void *ctx, bool join, struct str state)
{
	serf_state_remote(ctx, join, state);
}

static struct swim_hooks
swim_hooks_for(struct serf *s)
{
	return (struct swim_hooks){ .ctx = s, .random = hook_random, .send = hook_send, .stream_ping = hook_stream_ping,
		.exchange = hook_exchange, .joined = hook_joined, .gone = hook_gone, .updated = hook_updated, .forgotten = hook_forgotten,
		.conflict = hook_conflict, .admit = s->hooks.admit != NULL ? hook_admit : NULL,
		.admit_all = s->hooks.admit_all != NULL ? hook_admit_all : NULL, .user = hook_user,
		.ack_payload = s->config.coordinates ? hook_ack_payload : NULL, .acked = s->config.coordinates ? hook_acked : NULL,
		.broadcasts = hook_broadcasts, .pending = hook_pending, .local_state = hook_local_state, .remote_state = hook_remote_state };
}

/* ---- life */

static bool
make_queues(struct serf *s)
{
	s->intent_queue = queue_new(s->config.queue_max);
	s->query_queue = queue_new(s->config.queue_max);
	s->event_queue = queue_new(s->config.queue_max);
	if (s->intent_queue == NULL || s->query_queue == NULL || s->event_queue == NULL)
		return false;
	queue_on_dropped(s->intent_queue, serf_leave_dropped, s);
	return true;
}

struct serf *
serf_new(const struct serf_config *c, const struct swim_config *sc, const struct serf_hooks *h, struct swim_names *names, uint64_t now)
{
	struct serf *s = calloc(1, sizeof(*s));
	struct swim_hooks hooks;

	if (s == NULL)
		return NULL;
	s->config = *c;
	s->hooks = *h;
	s->now = now;
	s->gossip_ms = sc->gossip_ms;
	s->kept_max = sc->nodes_max;
	s->seed = (uint64_t)h->random(h->ctx) << 32 | h->random(h->ctx);
	s->clock = s->event_clock = s->query_clock = 1;
	s->strangers = SIZE_MAX;
	s->state = SERF_ALIVE;
	s->reap_at = after(now, ms(c->reap_ms));
	s->reconnect_at = after(now, ms(c->reconnect_ms));
	s->queue_check_at = after(now, ms(QUEUE_CHECK_MS));
	coord_client_init(&s->coord);
	buf_init(&s->ack, KiB);
	hooks = swim_hooks_for(s);
	if (make_queues(s))
		s->swim = swim_new(sc, &hooks, names, now);
	if (s->swim == NULL || serf_roster_add(&s->roster, swim_self(s->swim)) == NULL) {
		serf_free(s);
		return NULL;
	}
	return s;
}

void
serf_free(struct serf *s)
{
	if (s == NULL)
		return;
	if (s->swim != NULL)
		serf_roster_release(s);
	swim_free(s->swim);
	serf_intents_release(s);
	serf_ring_release(s);
	serf_reap_release(s);
	serf_ask_release(s);
	queue_free(s->intent_queue);
	queue_free(s->query_queue);
	queue_free(s->event_queue);
	buf_release(&s->ack);
	free(s);
}

struct swim *
serf_swim(struct serf *s)
{
	return s->swim;
}

enum serf_status
serf_own_status(const struct serf *s)
{
	return s->state;
}

/* ---- time */

static void
check_queues(struct serf *s)
{
	size_t max = 2 * s->roster.n > s->config.queue_max ? 2 * s->roster.n : s->config.queue_max;

	s->queue_check_at = after(serf_now(s), ms(QUEUE_CHECK_MS));
	queue_set_max(s->intent_queue, max);
	queue_set_max(s->query_queue, max);
	queue_set_max(s->event_queue, max);
}

uint64_t
serf_advance(struct serf *s, uint64_t now)
{
	serf_set_now(s, now);
	if (!s->begun) {
		s->begun = true;
		serf_changed(s, SERF_CHANGE_JOIN, serf_roster_of(&s->roster, swim_self(s->swim)));
	}
	(void)swim_advance(s->swim, now);
	serf_ask_advance(s);
	serf_reap_advance(s);
	serf_leave_advance(s);
	if (s->queue_check_at <= serf_now(s))
		check_queues(s);
	serf_snapshot_advance(s);
	return serf_next(s);
}

uint64_t
serf_next(const struct serf *s)
{
	const uint64_t all[] = { swim_next(s->swim), serf_ask_next(s), serf_reap_next(s), serf_leave_next(s), serf_snapshot_next(s), s->queue_check_at };
	uint64_t next = s->begun ? UINT64_MAX : 0;

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i] < next)
			next = all[i];
	return next;
}

/* ---- joining, tags, coordinates, counts */

void
serf_joined(struct serf *s, uint64_t now)
{
	serf_set_now(s, now);
	if (s->state == SERF_ALIVE)
		serf_member_broadcast_join(s);
}

void
serf_ignore_old_events(struct serf *s, bool on)
{
	s->ignore_old = on;
}

int
serf_set_tags(struct serf *s, uint64_t now, const struct strmap *tags)
{
	struct buf meta = BUF_INIT(WIRE_META_MAX);
	int rc = wire_put_tags(&meta, tags);

	serf_set_now(s, now);
	if (rc == 0)
		rc = swim_set_meta(s->swim, now, (struct str){ (const char *)meta.data, meta.len });
	buf_release(&meta);
	return rc;
}

const struct coord *
serf_coordinate(const struct serf *s)
{
	return &s->coord.c;
}

bool
serf_coordinate_of(struct serf *s, struct str name, struct coord *ret)
{
	struct member *m = serf_roster_find(s, name);
	const struct net *net = m != NULL ? serf_roster_known(&s->roster, m) : NULL;

	if (m != NULL && serf_is_self(s, m)) {
		*ret = s->coord.c;
		return true;
	}
	if (net != NULL)
		*ret = net->c;
	return net != NULL;
}

void
serf_get_stats(const struct serf *s, struct serf_stats *ret)
{
	*ret = s->stats;
	ret->clock = s->clock;
	ret->event_clock = s->event_clock;
	ret->query_clock = s->query_clock;
	ret->intent_queue = queue_count(s->intent_queue);
	ret->event_queue = queue_count(s->event_queue);
	ret->query_queue = queue_count(s->query_queue);
	ret->coordinate_resets = s->coord.resets;
}
