/* query.c - queries that ask us, what we answer, and answers that we pass on. */
#include "gossipd/serf/internal.h"

/* Of a query, whether it may be answered and where to. */
static int
describe(struct serf *s, const struct msg_query *m, struct serf_query *ret)
{
	int64_t timeout = m->timeout > 0 ? m->timeout : 0;

	*ret = (struct serf_query){ .ltime = m->ltime, .id = (uint32_t)m->id, .no_broadcast = (m->flags & QUERY_NO_BROADCAST) != 0 };
	if (m->source_node.len >= sizeof(ret->source) || gossip_addr_set(&ret->from, m->addr, m->port) < 0)
		return -EDECODE;
	if (timeout > QUERY_TIMEOUT_MAX_S * NS_PER_S)
		timeout = QUERY_TIMEOUT_MAX_S * NS_PER_S;
	if (m->source_node.len > 0)
		memcpy(ret->source, m->source_node.p, m->source_node.len);
	ret->relay_factor = m->relay_factor < SERF_RELAY_MAX ? (unsigned)m->relay_factor : SERF_RELAY_MAX;
	ret->deadline = after(serf_now(s), (uint64_t)timeout);
	return 0;
}

/* Members that understand relays: SWIM's protocol 5. */
static bool
may_relay(const struct swim_node *n)
{
	return swim_node_state(n) == SWIM_ALIVE && swim_node_vsn(n)[1] >= 5;
}

static void
relay(struct serf *s, const struct serf_query *q, struct str response)
{
	struct msg_relay m = { .dest_ip = { (const char *)q->from.ip, q->from.len }, .dest_zone = STR(""), .dest_name = str_from(q->source),
		.dest_port = q->from.port, .message = response };
	struct swim_node *through[SERF_RELAY_MAX];
	struct buf raw = BUF_INIT(WIRE_PACKET_MAX);
	size_t n;

	if (q->relay_factor == 0 || s->roster.n < (size_t)q->relay_factor + 1)
		return;
	if (wire_put_relay(&raw, &m) < 0 || raw.len > s->config.response_max) {
		s->stats.dropped++;
		buf_release(&raw);
		return;
	}
	n = swim_random(s->swim, through, q->relay_factor, may_relay);
	for (size_t i = 0; i < n; i++)
		serf_send(s, swim_node_addr(through[i]), (struct str){ (const char *)raw.data, raw.len });
	buf_release(&raw);
}

/* An ack or an answer, straight to who asked and by others. */
static int
respond(struct serf *s, const struct serf_query *q, bool ack, struct str payload)
{
	struct msg_response m = { .ltime = q->ltime, .id = q->id, .from = serf_own_name(s), .flags = ack ? QUERY_ACK : 0,
		.payload = payload };
	struct buf raw = BUF_INIT(WIRE_PACKET_MAX);
	struct str response;
	int rc = wire_put(&raw, SERF_RESPONSE, &rec_msg_response, &m);

	if (rc == 0 && !ack && raw.len > s->config.response_max)
		rc = -ELIMIT;
	response = (struct str){ (const char *)raw.data, raw.len };
	if (rc == 0 && gossip_addr_eq(&q->from, swim_node_addr(swim_self(s->swim)))) {
		rc = serf_ask_own_response(s, &m);
	} else if (rc == 0) {
		serf_send(s, &q->from, response);
		relay(s, q, response);
	}
	buf_release(&raw);
	return rc;
}

int
serf_respond(struct serf *s, uint64_t now, const struct serf_query *q, struct str payload)
{
	serf_set_now(s, now);
	if (serf_now(s) > q->deadline)
		return -ETIMEDOUT;
	return respond(s, q, false, payload);
}

static void
answer(struct serf *s, const struct msg_query *m, const struct serf_query *q)
{
	if ((m->flags & QUERY_ACK) != 0 && respond(s, q, true, STR_NONE) < 0)
		s->stats.dropped++;
	if (serf_builtin_is(m->name))
		serf_builtin_answer(s, q, m->name, m->payload);
	else if (s->hooks.query != NULL)
		s->hooks.query(s->hooks.ctx, q, m->name, m->payload);
}

/* Hear of a query, ours or another's. As serf_ring_query(); -EDECODE: it cannot be answered; -ELIMIT also: it is too far in the future. */
int
serf_query_take(struct serf *s, const struct msg_query *m, bool *ret_gossip)
{
	struct serf_query q;
	int rc = describe(s, m, &q);

	if (rc < 0)
		return rc;
	if (m->filters.n > SERF_FILTERS_MAX || !clock_hear(&s->query_clock, m->ltime))
		return -ELIMIT;
	rc = serf_ring_query(s, m->ltime, (uint32_t)m->id);
	if (rc < 0)
		return rc;
	s->stats.queries++;
	if (m->ltime > s->query_seen)
		s->query_seen = m->ltime;
	*ret_gossip = !q.no_broadcast;
	if (serf_filter_passes(s, &m->filters))
		answer(s, m, &q);
	return 0;
}

/*
 * An answer that is to reach its asker through us. Only answers, and only to
 * where that member is: we are no way to send anything to anybody.
 */
void
serf_query_relay_take(struct serf *s, struct str body)
{
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	struct gossip_addr to;
	struct msg_relay m;
	struct member *asker;

	if (wire_get_relay(body, &m, &a) < 0 || gossip_addr_set(&to, m.dest_ip, m.dest_port) < 0 || m.message.len == 0) {
		s->stats.malformed++;
		goto out;
	}
	asker = serf_roster_find(s, m.dest_name);
	if ((uint8_t)m.message.p[0] != SERF_RESPONSE || asker == NULL || !gossip_addr_eq(&to, swim_node_addr(asker->node)))
		s->stats.refused++;
	else if (serf_is_self(s, asker))
		serf_take(s, m.message);
	else
		serf_send(s, &to, m.message);
out:
	arena_release(&a);
}
