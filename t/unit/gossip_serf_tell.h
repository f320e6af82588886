/* gossip_serf_tell.h - one Serf called a, what it is told, and what it then gossips. */
#ifndef T_UNIT_GOSSIP_SERF_TELL_H
#define T_UNIT_GOSSIP_SERF_TELL_H

#include "t/unit/gossip_serf_net.h"

static struct lan *net;
static struct peer *a;

static UNUSED int
setup(void **state)
{
	(void)state;
	net = NET_ALLOC(sizeof(*net));
	net_init(net, 7);
	a = peer_new(net);
	peer_start(a);
	(void)serf_advance(a->s, net->now);
	return 0;
}

static UNUSED int
teardown(void **state)
{
	(void)state;
	net_release(net);
	free(net);
	return 0;
}

/* ---- telling it */

static UNUSED void
tell_raw(struct str message)
{
	swim_message(serf_swim(a->s), net->now, &a->addr, WIRE_USER, message);
}

static UNUSED void
tell(uint8_t type, const struct record *rec, const void *msg)
{
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);

	assert_int_equal(wire_put(&b, type, rec, msg), 0);
	tell_raw((struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static UNUSED void
alive(const char *name, uint8_t last, uint64_t incarnation)
{
	uint8_t ip[4] = { 127, 0, 0, last };
	struct msg_alive m = { .incarnation = incarnation, .node = str_from(name), .addr = { (const char *)ip, 4 }, .port = 7946,
		.meta = STR("\xff\x80"), .vsn = STR("\1\5\2\2\5\4") };
	struct buf b = BUF_INIT(1024);

	assert_int_equal(wire_put_body(&b, &rec_msg_alive, &m), 0);
	swim_message(serf_swim(a->s), net->now, &a->addr, WIRE_ALIVE, (struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static UNUSED void
dead(const char *name, const char *from, uint64_t incarnation)
{
	struct msg_accuse m = { .incarnation = incarnation, .node = str_from(name), .from = str_from(from) };
	struct buf b = BUF_INIT(1024);

	assert_int_equal(wire_put_body(&b, &rec_msg_accuse, &m), 0);
	swim_message(serf_swim(a->s), net->now, &a->addr, WIRE_DEAD, (struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static UNUSED void
leave(const char *name, uint64_t ltime, bool prune)
{
	struct msg_leave m = { .ltime = ltime, .node = str_from(name), .prune = prune };

	tell(SERF_LEAVE, &rec_msg_leave, &m);
}

static UNUSED void
join(const char *name, uint64_t ltime)
{
	struct msg_join m = { .ltime = ltime, .node = str_from(name) };

	tell(SERF_JOIN, &rec_msg_join, &m);
}

static UNUSED void
event(uint64_t ltime, const char *name, const char *payload)
{
	struct msg_event m = { .ltime = ltime, .name = str_from(name), .payload = str_from(payload) };

	tell(SERF_EVENT, &rec_msg_event, &m);
}

static UNUSED void
query(struct msg_query m)
{
	static const uint8_t ip[4] = { 127, 0, 0, 50 };

	m.addr = (struct str){ (const char *)ip, 4 };
	m.port = 7946;
	m.source_node = STR("x");
	m.timeout = NS_PER_S;
	if (m.name.p == NULL)
		m.name = STR("q");
	tell(SERF_QUERY, &rec_msg_query, &m);
}

static UNUSED struct serf_stats
stats(void)
{
	struct serf_stats st;

	serf_get_stats(a->s, &st);
	return st;
}

static UNUSED void
keep_message(void *ctx, struct str message)
{
	struct buf *b = ctx;

	buf_clear(b);
	assert_int_equal(buf_add(b, message.p, message.len), 0);
}

/* The one message that waits to be gossiped, taken; empty: none. */
static UNUSED size_t
gossiped(struct queue *q, struct buf *ret)
{
	size_t n = queue_count(q);

	buf_clear(ret);
	(void)queue_take(q, 2, 1400, 1, keep_message, ret);
	queue_clear(q);
	return n;
}

static UNUSED uint64_t
ltime_of(const char *name)
{
	struct serf_member m;

	assert_true(serf_find(a->s, str_from(name), &m));
	return m.status_ltime;
}

#endif
