/* gossip_serf_rules.c - one Serf and what it is told: clocks, rings, intents, push/pulls, filters, answers, relays, limits. */
#include "t/unit/gossip_serf_net.h"

static struct lan *net;
static struct peer *a;

static int
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

static int
teardown(void **state)
{
	(void)state;
	net_release(net);
	free(net);
	return 0;
}

/* ---- telling it */

static void
tell_raw(struct str message)
{
	swim_message(serf_swim(a->s), net->now, &a->addr, WIRE_USER, message);
}

static void
tell(uint8_t type, const struct record *rec, const void *msg)
{
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);

	assert_int_equal(wire_put(&b, type, rec, msg), 0);
	tell_raw((struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static void
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

static void
dead(const char *name, const char *from, uint64_t incarnation)
{
	struct msg_accuse m = { .incarnation = incarnation, .node = str_from(name), .from = str_from(from) };
	struct buf b = BUF_INIT(1024);

	assert_int_equal(wire_put_body(&b, &rec_msg_accuse, &m), 0);
	swim_message(serf_swim(a->s), net->now, &a->addr, WIRE_DEAD, (struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static void
leave(const char *name, uint64_t ltime, bool prune)
{
	struct msg_leave m = { .ltime = ltime, .node = str_from(name), .prune = prune };

	tell(SERF_LEAVE, &rec_msg_leave, &m);
}

static void
join(const char *name, uint64_t ltime)
{
	struct msg_join m = { .ltime = ltime, .node = str_from(name) };

	tell(SERF_JOIN, &rec_msg_join, &m);
}

static void
event(uint64_t ltime, const char *name, const char *payload)
{
	struct msg_event m = { .ltime = ltime, .name = str_from(name), .payload = str_from(payload) };

	tell(SERF_EVENT, &rec_msg_event, &m);
}

static void
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

static struct serf_stats
stats(void)
{
	struct serf_stats st;

	serf_get_stats(a->s, &st);
	return st;
}

static void
keep_message(void *ctx, struct str message)
{
	struct buf *b = ctx;

	buf_clear(b);
	assert_int_equal(buf_add(b, message.p, message.len), 0);
}

/* The one message that waits to be gossiped, taken; empty: none. */
static size_t
gossiped(struct queue *q, struct buf *ret)
{
	size_t n = queue_count(q);

	buf_clear(ret);
	(void)queue_take(q, 2, 1400, 1, keep_message, ret);
	queue_clear(q);
	return n;
}

static uint64_t
ltime_of(const char *name)
{
	struct serf_member m;

	assert_true(serf_find(a->s, str_from(name), &m));
	return m.status_ltime;
}

/* ---- 5.1 */

static void
test_clocks(void **state)
{
	struct serf_stats st = stats();
	char err[256];

	(void)state;
	assert_int_equal(st.clock, 1);
	assert_int_equal(st.event_clock, 1);
	assert_int_equal(st.query_clock, 1);
	join("b", 10);
	assert_int_equal(stats().clock, 11);
	join("b", 9);
	leave("b", 10, false);
	assert_int_equal(stats().clock, 11);
	leave("b", 11, false);
	assert_int_equal(stats().clock, 12);
	/* A join intent of ours stamps the clock and hears itself. */
	serf_joined(a->s, net->now);
	assert_int_equal(ltime_of("a"), 12);
	assert_int_equal(stats().clock, 13);
	event(5, "e", "");
	assert_int_equal(stats().event_clock, 6);
	assert_int_equal(serf_event(a->s, net->now, STR("own"), STR(""), false, err), 0);
	assert_int_equal(stats().event_clock, 7);
	query((struct msg_query){ .ltime = 70, .id = 1 });
	assert_int_equal(stats().query_clock, 71);
	/* The last time there is would turn the clock over. */
	st = stats();
	join("b", UINT64_MAX);
	leave("b", UINT64_MAX, false);
	event(UINT64_MAX, "e", "");
	query((struct msg_query){ .ltime = UINT64_MAX, .id = 1 });
	assert_int_equal(stats().malformed, st.malformed + 4);
	assert_int_equal(stats().clock, 13);
	join("b", UINT64_MAX - 1);
	assert_true(stats().clock == UINT64_MAX);
	serf_joined(a->s, net->now);
	assert_true(stats().clock == UINT64_MAX);
}

static void
test_event_ring(void **state)
{
	struct buf b = BUF_INIT(2048);

	(void)state;
	event(1000, "e", "1");
	assert_int_equal(gossiped(a->s->event_queue, &b), 1);
	assert_int_equal(b.data[0], SERF_EVENT);
	/* The clock is 1001: 489 is just new enough. */
	event(488, "old", "1");
	assert_int_equal(times(a, "event:old=1"), 0);
	assert_int_equal(gossiped(a->s->event_queue, &b), 0);
	event(489, "old", "2");
	assert_int_equal(times(a, "event:old=2"), 1);
	/* Seen before: name and payload count, the rest does not. */
	event(1000, "e", "1");
	assert_int_equal(times(a, "event:e=1"), 1);
	event(1000, "e", "2");
	event(1000, "f", "1");
	assert_int_equal(times(a, "event:e=2"), 1);
	assert_int_equal(times(a, "event:f=1"), 1);
	event(1001, "e", "1");
	assert_int_equal(times(a, "event:e=1"), 2);
	/* The border between name and payload is no accident. */
	event(1002, "ab", "c");
	event(1002, "a", "bc");
	assert_int_equal(times(a, "event:ab=c"), 1);
	assert_int_equal(times(a, "event:a=bc"), 1);
	/* Another time in the same place of the ring. */
	event(1002 + SERF_RING, "ab", "c");
	assert_int_equal(times(a, "event:ab=c"), 2);
	buf_release(&b);
}

static void
test_query_ring(void **state)
{
	struct buf b = BUF_INIT(2048);

	(void)state;
	query((struct msg_query){ .ltime = 1000, .id = 1 });
	assert_int_equal(gossiped(a->s->query_queue, &b), 1);
	query((struct msg_query){ .ltime = 1000, .id = 1 });
	assert_int_equal(gossiped(a->s->query_queue, &b), 0);
	query((struct msg_query){ .ltime = 1000, .id = 2 });
	query((struct msg_query){ .ltime = 489, .id = 1 });
	query((struct msg_query){ .ltime = 488, .id = 1 });
	query((struct msg_query){ .ltime = 1000 - SERF_RING, .id = 3 });
	assert_int_equal(times(a, "query:q="), 3);
	buf_release(&b);
}

static void
test_limits(void **state)
{
	char *big = NET_ALLOC(10000), name[16];
	struct msg_event m = { .ltime = 5, .name = STR("big"), .payload = { big, SERF_EVENT_SANE_MAX - 3 } };

	(void)state;
	memset(big, 'x', 10000);
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().events, 1);
	/* Too large for a packet: heard, not gossiped. */
	assert_int_equal(stats().event_queue, 0);
	m.payload.len++;
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().events, 1);
	assert_int_equal(stats().refused, 1);
	for (int i = 0; i < SERF_SLOT_MAX + 3; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		event(100, name, "");
		query((struct msg_query){ .ltime = 100, .id = (uint64_t)i });
	}
	assert_int_equal(stats().events, 1 + SERF_SLOT_MAX);
	assert_int_equal(stats().queries, SERF_SLOT_MAX);
	assert_int_equal(stats().refused, 1 + 3 + 3);
	/* More than is kept: the oldest go, and are still known. */
	for (unsigned i = 0; i < 400; i++) {
		m.ltime = 200 + i;
		m.payload.len = 8000;
		tell(SERF_EVENT, &rec_msg_event, &m);
	}
	assert_true(a->s->rings.bytes <= SERF_RING_BYTES_MAX);
	assert_true(a->s->rings.bytes > SERF_RING_BYTES_MAX - 20000);
	assert_int_equal(stats().events, 1 + SERF_SLOT_MAX + 400);
	m.ltime = 200;
	tell(SERF_EVENT, &rec_msg_event, &m);
	m.ltime = 599;
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().events, 1 + SERF_SLOT_MAX + 400);
	m.payload.len = 8001;
	m.ltime = 200;
	tell(SERF_EVENT, &rec_msg_event, &m);
	assert_int_equal(stats().events, 2 + SERF_SLOT_MAX + 400);
	free(big);
}

/* ---- 5.2 */

static void
test_leave_intents(void **state)
{
	struct buf b = BUF_INIT(2048);

	(void)state;
	alive("b", 2, 1);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	assert_int_equal(ltime_of("b"), 0);
	/* No newer than what is known: nothing. */
	leave("b", 0, false);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 0);
	leave("b", 5, false);
	assert_int_equal(status_of(a, "b"), SERF_LEAVING);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 1);
	leave("b", 5, false);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 0);
	/* Leaving stays, its time goes on. */
	leave("b", 6, false);
	assert_int_equal(ltime_of("b"), 6);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 1);
	join("b", 6);
	assert_int_equal(status_of(a, "b"), SERF_LEAVING);
	join("b", 7);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	assert_int_equal(times(a, "update:b"), 1);
	leave("b", 8, false);
	dead("b", "b", 1);
	assert_int_equal(status_of(a, "b"), SERF_LEFT);
	leave("b", 9, false);
	assert_int_equal(status_of(a, "b"), SERF_LEFT);
	assert_int_equal(times(a, "leave:b"), 1);
	/* A join intent does not bring it back, SWIM does. */
	join("b", 10);
	assert_int_equal(status_of(a, "b"), SERF_LEFT);
	alive("b", 2, 2);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	/* Failed, and then told to have left. */
	dead("b", "c", 2);
	assert_int_equal(status_of(a, "b"), SERF_FAILED);
	leave("b", 11, false);
	assert_int_equal(status_of(a, "b"), SERF_LEFT);
	assert_int_equal(times(a, "leave:b"), 2);
	buf_release(&b);
}

static void
test_intent_and_death_in_any_order(void **state)
{
	(void)state;
	alive("b", 2, 1);
	alive("c", 3, 1);
	leave("b", 5, false);
	dead("b", "b", 1);
	dead("c", "c", 1);
	assert_int_equal(status_of(a, "c"), SERF_FAILED);
	leave("c", 6, false);
	assert_int_equal(status_of(a, "b"), SERF_LEFT);
	assert_int_equal(status_of(a, "c"), SERF_LEFT);
}

static void
test_intents_about_us(void **state)
{
	struct buf b = BUF_INIT(2048);
	struct arena arena = ARENA_INIT(4096);
	struct msg_join m;

	(void)state;
	leave("a", 20, false);
	assert_int_equal(status_of(a, "a"), SERF_ALIVE);
	/* Answered by a join intent above it. */
	assert_int_equal(gossiped(a->s->intent_queue, &b), 1);
	assert_int_equal(b.data[0], SERF_JOIN);
	assert_int_equal(wire_get((struct str){ (const char *)b.data + 1, b.len - 1 }, &rec_msg_join, &m, &arena, NULL), 0);
	assert_int_equal(m.ltime, 21);
	assert_true(str_eqs(m.node, "a"));
	leave("a", 20, false);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 0);
	/* Not while we leave indeed. */
	assert_int_equal(serf_leave(a->s, net->now), 0);
	leave("a", 50, false);
	assert_int_equal(ltime_of("a"), 50);
	assert_int_equal(status_of(a, "a"), SERF_LEAVING);
	arena_release(&arena);
	buf_release(&b);
}

static void
test_prune(void **state)
{
	(void)state;
	alive("b", 2, 1);
	alive("c", 3, 1);
	dead("b", "c", 1);
	leave("b", 5, true);
	assert_int_equal(status_of(a, "b"), SERF_NONE);
	assert_int_equal(times(a, "reap:b"), 1);
	/* One that leaves is given 5 s and the delay (3 s). */
	leave("c", 6, true);
	dead("c", "c", 1);
	assert_int_equal(status_of(a, "c"), SERF_LEFT);
	net_run(net, 7900 * MS);
	assert_int_equal(status_of(a, "c"), SERF_LEFT);
	net_run(net, 200 * MS);
	assert_int_equal(status_of(a, "c"), SERF_NONE);
	/* SWIM still knows it: should it live after all, it is new. */
	alive("c", 3, 2);
	assert_int_equal(status_of(a, "c"), SERF_ALIVE);
}

static void
test_recent_intents(void **state)
{
	struct buf b = BUF_INIT(2048);

	(void)state;
	leave("b", 5, false);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 1);
	leave("b", 5, false);
	join("b", 4);
	assert_int_equal(gossiped(a->s->intent_queue, &b), 0);
	alive("b", 2, 1);
	assert_int_equal(status_of(a, "b"), SERF_LEAVING);
	assert_int_equal(ltime_of("b"), 5);
	leave("c", 5, false);
	join("c", 6);
	alive("c", 3, 1);
	assert_int_equal(status_of(a, "c"), SERF_ALIVE);
	assert_int_equal(ltime_of("c"), 6);
	/* Older than five minutes. */
	leave("d", 9, false);
	net_run(net, 299 * SECOND);
	leave("e", 9, false);
	net_run(net, 2 * SECOND);
	alive("d", 4, 1);
	alive("e", 5, 1);
	assert_int_equal(status_of(a, "d"), SERF_ALIVE);
	assert_int_equal(ltime_of("d"), 0);
	assert_int_equal(status_of(a, "e"), SERF_LEAVING);
	buf_release(&b);
}

static void
test_recent_intents_bounded(void **state)
{
	char name[16];

	(void)state;
	for (int i = 0; i < SERF_INTENTS_MAX + 500; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		leave(name, 5, false);
		net->now += MS;
	}
	assert_int_equal(a->s->intents.n, SERF_INTENTS_MAX);
	/* The oldest made room. */
	alive("n0", 2, 1);
	alive("n1523", 3, 1);
	assert_int_equal(status_of(a, "n0"), SERF_ALIVE);
	assert_int_equal(status_of(a, "n1523"), SERF_LEAVING);
	net_run(net, 400 * SECOND);
	assert_int_equal(a->s->intents.n, 0);
}

/* ---- 5.3 */

static void
state_of(struct buf *b, struct msg_serf_state *m)
{
	buf_clear(b);
	assert_int_equal(wire_put(b, SERF_PUSH_PULL, &rec_msg_serf_state, m), 0);
}

static void
merge_state(const struct buf *b, bool is_join)
{
	char err[256];

	assert_int_equal(swim_merge(serf_swim(a->s), net->now, NULL, 0, (struct str){ (const char *)b->data, b->len }, is_join, err), 0);
}

static void
test_state_in(void **state)
{
	struct str left[] = { STR("c"), STR("a"), STR("unknown"), STR("d") };
	struct str names[] = { STR("b"), STR("c"), STR("a"), STR("unknown") };
	struct msg_ltime ltimes[] = { { 30 }, { 31 }, { 32 }, { 33 } };
	struct msg_event events[] = { { .name = STR("e"), .payload = STR("1") }, { .name = STR("e"), .payload = STR("2") } };
	struct msg_event_slot slots[] = { { .ltime = 3, .events = { events, 2 } }, { .ltime = 4, .events = { events, 1 } } };
	struct msg_serf_state m = { .ltime = 40, .event_ltime = 50, .query_ltime = 60, .left_members = { left, 4 },
		.status_ltimes = { names, ltimes, 4 }, .events = { slots, 2 } };
	struct buf b = BUF_INIT(WIRE_PACKET_MAX), out = BUF_INIT(2048);

	(void)state;
	for (const char *c = "bcd"; *c != 0; c++) {
		char name[] = { *c, 0 };

		alive(name, (uint8_t)(*c - 'a' + 1), 1);
	}
	dead("c", "b", 1);
	state_of(&b, &m);
	merge_state(&b, false);
	/* Value - 1 is heard, so the clock stands at the value; our own refutation stamped once more. */
	assert_int_equal(stats().clock, 41);
	assert_int_equal(stats().event_clock, 50);
	assert_int_equal(stats().query_clock, 60);
	assert_int_equal(ltime_of("b"), 30);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	assert_int_equal(ltime_of("c"), 32);
	assert_int_equal(status_of(a, "c"), SERF_LEFT);
	/* Listed without a time. */
	assert_int_equal(status_of(a, "d"), SERF_LEAVING);
	assert_int_equal(ltime_of("d"), 1);
	/* They believe that we left: not so. */
	assert_int_equal(status_of(a, "a"), SERF_ALIVE);
	assert_true(ltime_of("a") > 33);
	assert_int_equal(gossiped(a->s->intent_queue, &out), 1);
	assert_int_equal(out.data[0], SERF_JOIN);
	assert_int_equal(times(a, "event:e=1"), 2);
	assert_int_equal(times(a, "event:e=2"), 1);
	/* What came by push/pull is not gossiped on. */
	assert_int_equal(stats().event_queue, 0);
	alive("unknown", 9, 1);
	assert_int_equal(status_of(a, "unknown"), SERF_LEAVING);
	assert_int_equal(ltime_of("unknown"), 34);
	/* Once more: nothing new. */
	merge_state(&b, false);
	assert_int_equal(times(a, "event:e=1"), 2);
	buf_release(&b);
	buf_release(&out);
}

static void
test_state_ignore_old(void **state)
{
	struct msg_event events[] = { { .name = STR("e"), .payload = STR("1") } };
	struct msg_event_slot slots[] = { { .ltime = 3, .events = { events, 1 } } };
	struct msg_serf_state m = { .event_ltime = 5, .events = { slots, 1 } };
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);

	(void)state;
	serf_ignore_old_events(a->s, true);
	/* Only what comes with the join is old. */
	m.event_ltime = 4;
	state_of(&b, &m);
	merge_state(&b, false);
	assert_int_equal(times(a, "event:e=1"), 1);
	m.event_ltime = 5;
	events[0].payload = STR("2");
	state_of(&b, &m);
	merge_state(&b, true);
	assert_int_equal(times(a, "event:e=2"), 0);
	event(4, "late", "");
	assert_int_equal(times(a, "event:late="), 0);
	event(5, "new", "");
	assert_int_equal(times(a, "event:new="), 1);
	buf_release(&b);
}

/* As agents send it: 512 places, most of them nil. */
static void
test_state_sparse(void **state)
{
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);
	static const char head[] = "\x02\x86\xaa" "EventLTime\x07\xa6" "Events\xdc\x02\x00";
	static const char slot[] = "\x82\xa6" "Events\x91\x82\xa4" "Name\xa1" "e\xa7" "Payload\xc0\xa5" "LTime\x06";
	static const char tail[] = "\xa5" "LTime\x09\xab" "LeftMembers\xc0\xaa" "QueryLTime\x02\xac" "StatusLTimes\x80";

	(void)state;
	assert_int_equal(buf_add(&b, head, sizeof(head) - 1), 0);
	for (int i = 0; i < SERF_RING; i++)
		assert_int_equal(i == 6 ? buf_add(&b, slot, sizeof(slot) - 1) : buf_addc(&b, 0xc0), 0);
	assert_int_equal(buf_add(&b, tail, sizeof(tail) - 1), 0);
	merge_state(&b, false);
	assert_int_equal(stats().malformed, 0);
	assert_int_equal(times(a, "event:e="), 1);
	assert_int_equal(stats().clock, 9);
	/* Any end too early is malformed, and changes nothing. */
	for (size_t n = 1; n < b.len; n += 1 + n / 16) {
		struct buf part = { b.data, n, n, n };

		merge_state(&part, false);
	}
	assert_true(stats().malformed > 20);
	assert_int_equal(stats().clock, 9);
	buf_release(&b);
}

static void
test_state_out(void **state)
{
	struct arena arena = ARENA_INIT(STATE_ARENA_MAX);
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);
	const struct msg_event_slot *slots;
	struct msg_serf_state m;
	char err[256];

	(void)state;
	/* Without events it is an empty list, not nil. */
	serf_state_local(a->s, &b);
	assert_non_null(memmem(b.data, b.len, "\xa6" "Events\x90", 8));
	alive("b", 2, 1);
	alive("c", 3, 1);
	dead("c", "b", 1);
	leave("c", 7, false);
	assert_int_equal(serf_event(a->s, net->now, STR("e"), STR("1"), false, err), 0);
	event(1, "f", "");
	event(600, "g", "x");
	buf_clear(&b);
	serf_state_local(a->s, &b);
	assert_int_equal(b.data[0], SERF_PUSH_PULL);
	assert_int_equal(wire_get((struct str){ (const char *)b.data + 1, b.len - 1 }, &rec_msg_serf_state, &m, &arena, NULL), 0);
	assert_int_equal(m.ltime, 8);
	assert_int_equal(m.event_ltime, 601);
	assert_int_equal(m.query_ltime, 1);
	assert_int_equal(m.left_members.n, 1);
	assert_true(str_eqs(m.left_members.v[0], "c"));
	assert_int_equal(m.status_ltimes.n, 3);
	assert_int_equal(m.events.n, 2);
	slots = m.events.v;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(slots[i].events.n, slots[i].ltime == 1 ? 2 : 1);
	arena_release(&arena);
	buf_release(&b);
}

/* The same key twice: the last counts. */
static void
test_state_twice(void **state)
{
	static const char text[] = "\x02\x82\xa6" "Events\x93\x81\xa5" "LTime\x01\x81\xa5" "LTime\x02\x81\xa5" "LTime\x03"
	    "\xa6" "Events\x91\x83\xa6" "Events\x92\x80\x80\xa6" "Events\x91\x81\xa4" "Name\xa1" "e\xa5" "LTime\x04";
	struct buf b = BUF_INIT(1024);

	(void)state;
	assert_int_equal(buf_add(&b, text, sizeof(text) - 1), 0);
	merge_state(&b, false);
	assert_int_equal(stats().malformed, 0);
	assert_int_equal(stats().events, 1);
	assert_int_equal(times(a, "event:e="), 1);
	buf_release(&b);
}

/* ---- the table of members: one that is erased makes room for the last */

static void
test_roster_moves(void **state)
{
	static const char *const names[] = { "b", "c", "d", "e" };
	struct coord c;

	(void)state;
	/* One without a way, so that e is moved among the members alone at first. */
	alive("x", 9, 1);
	for (uint8_t i = 0; i < 4; i++) {
		struct net *way;

		alive(names[i], (uint8_t)(i + 2), 1);
		way = serf_roster_net(&a->s->roster, serf_roster_find(a->s, str_from(names[i])));
		assert_non_null(way);
		coord_init(&way->c);
		way->c.vec[0] = i;
		way->known = true;
	}
	dead("x", "c", 1);
	leave("x", 5, true);
	/* b goes, and e takes its way's place; then e goes too. */
	for (int gone = 0; gone < 4; gone += 3) {
		dead(names[gone], "c", 1);
		leave(names[gone], 5, true);
		for (size_t i = 0; i < 4; i++) {
			bool there = gone == 0 ? i != 0 : i == 1 || i == 2;

			assert_int_equal(serf_coordinate_of(a->s, str_from(names[i]), &c), there);
			if (there)
				assert_true(c.vec[0] == (double)i);
		}
	}
	assert_int_equal(a->s->roster.nnets, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(a->s->roster.nets[i].member < a->s->roster.n);
		assert_int_equal(a->s->roster.v[a->s->roster.nets[i].member].link, i + 1);
	}
	/* Both that are left fail for so long that SWIM forgets them: c is erased, d moves, and is found where it is. */
	dead("c", "d", 1);
	dead("d", "c", 1);
	alive("f", 7, 1);
	net_run(net, 200 * SECOND);
	assert_null(swim_find(serf_swim(a->s), STR("d")));
	assert_int_equal(a->s->roster.nkept, 3);
	leave("c", 6, true);
	assert_int_equal(status_of(a, "c"), SERF_NONE);
	assert_int_equal(status_of(a, "d"), SERF_FAILED);
	assert_int_equal(status_of(a, "f"), SERF_FAILED);
	leave("f", 6, true);
	assert_int_equal(status_of(a, "f"), SERF_NONE);
	assert_int_equal(status_of(a, "d"), SERF_FAILED);
	leave("d", 6, true);
	assert_int_equal(a->s->roster.nkept, 0);
	assert_int_equal(serf_count(a->s, SERF_NONE), 1);
}

/* ---- queries */

static void
test_filters(void **state)
{
	static const struct { const char *bytes; size_t len; bool yes; } cases[] = {
#define C(s, yes) { s, sizeof(s) - 1, yes }
		C("", false), C("\x00", false), C("\x00\x90", false), C("\x00\x91\xa1" "a", true), C("\x00\x92\xa1" "b\xa1" "a", true),
		C("\x00\xdc\x00\x01\xd9\x01" "a", true), C("\x00\x91\xa1" "b", false), C("\x00\x92\xa1" "a", false), C("\x00\xc0", false),
		C("\x01\x82\xa4" "Expr\xa0\xa3" "Tag\xa1" "x", true), C("\x01\x82\xa4" "Expr\xa1.\xa3" "Tag\xa1" "x", false),
		C("\x01\x82\xa4" "Expr\xa1(\xa3" "Tag\xa1" "x", false), C("\x01\xc1", false), C("\x02\x91\xa1" "a", false),
#undef C
	};
	struct buf b = BUF_INIT(2048);
	struct str two[] = { STR("\x00\x91\xa1" "a"), STR("\x00\x91\xa1" "b") };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str filter = { cases[i].bytes, cases[i].len };

		a->heard[0] = 0;
		query((struct msg_query){ .ltime = i + 1, .filters = { &filter, 1 } });
		if (times(a, "query:q=") != cases[i].yes)
			fail_msg("filter %zu", i);
		/* Whoever it is for, it is gossiped on. */
		assert_int_equal(gossiped(a->s->query_queue, &b), 1);
	}
	a->heard[0] = 0;
	query((struct msg_query){ .ltime = 100, .filters = { two, 2 } });
	assert_int_equal(times(a, "query:q="), 0);
	two[1] = two[0];
	two[0] = STR("\x00\x91\xa1" "b");
	query((struct msg_query){ .ltime = 103, .filters = { two, 2 } });
	assert_int_equal(times(a, "query:q="), 0);
	query((struct msg_query){ .ltime = 101, .flags = QUERY_NO_BROADCAST });
	assert_int_equal(times(a, "query:q="), 1);
	(void)gossiped(a->s->query_queue, &b);
	query((struct msg_query){ .ltime = 102, .flags = QUERY_NO_BROADCAST });
	assert_int_equal(gossiped(a->s->query_queue, &b), 0);
	buf_release(&b);
}

static size_t eaten;
static struct { uint8_t bytes[2048]; size_t len; } last;

/* Everything that a sends to 127.0.0.50, where nobody is. */
static bool
eat_all(struct item *i)
{
	if (i->len < 2 || i->data[0] != WIRE_USER || (i->data[1] != SERF_RESPONSE && i->data[1] != SERF_RELAY))
		return false;
	eaten++;
	last.len = i->len;
	assert_true(i->len <= sizeof(last.bytes));
	memcpy(last.bytes, i->data, i->len);
	return true;
}

static struct peer *
asker(void)
{
	struct peer *x = peer_new(net);

	x->addr.ip[3] = 50;
	net->eat = eat_all;
	eaten = 0;
	return x;
}

static void
test_ack(void **state)
{
	(void)state;
	(void)asker();
	query((struct msg_query){ .ltime = 9, .id = 8, .flags = QUERY_ACK });
	assert_int_equal(eaten, 1);
	/* Flags 1, and a payload that is nil. */
	assert_memory_equal(last.bytes, "\x08\x05\x85\xa5" "Flags\x01\xa4" "From\xa1" "a\xa2" "ID\x08\xa5" "LTime\x09\xa7" "Payload\xc0", last.len);
	a->reply = "yes";
	query((struct msg_query){ .ltime = 10, .id = 8 });
	assert_int_equal(eaten, 2);
	assert_memory_equal(last.bytes, "\x08\x05\x85\xa5" "Flags\x00\xa4" "From\xa1" "a\xa2" "ID\x08\xa5" "LTime\x0a\xa7" "Payload\xa3" "yes", last.len);
	/* Relays: none that could be asked, and only with enough members. */
	query((struct msg_query){ .ltime = 11, .id = 8, .relay_factor = 1 });
	assert_int_equal(eaten, 3);
}

static void
answer_counts(void *ctx, struct str from, bool ack, struct str payload)
{
	(void)payload;
	heard(ctx, from.len == 0 ? " end " : ack ? " ack:%.*s " : " answer:%.*s ", STR_ARG(from));
}

static void
test_responses(void **state)
{
	struct serf_ask q = { .name = STR("q"), .want_ack = true, .answer = answer_counts, .ctx = a };
	struct msg_response m = { .from = STR("b") };
	int rc = 0;

	(void)state;
	alive("b", 2, 1);
	assert_true(serf_ask(a->s, net->now, &q, &rc) > 0);
	m.ltime = a->s->asks[0]->ltime;
	m.id = a->s->asks[0]->id ^ 1;
	tell(SERF_RESPONSE, &rec_msg_response, &m);
	m.id ^= 1;
	m.ltime++;
	tell(SERF_RESPONSE, &rec_msg_response, &m);
	assert_int_equal(stats().late_responses, 2);
	m.ltime--;
	m.from = STR("stranger");
	tell(SERF_RESPONSE, &rec_msg_response, &m);
	assert_int_equal(stats().refused, 1);
	assert_null(strstr(a->heard, "answer"));
	m.from = STR("b");
	for (int i = 0; i < 3; i++) {
		tell(SERF_RESPONSE, &rec_msg_response, &m);
		m.flags = QUERY_ACK;
		tell(SERF_RESPONSE, &rec_msg_response, &m);
		m.flags = 0;
	}
	assert_int_equal(times(a, "answer:b"), 1);
	assert_int_equal(times(a, "ack:b"), 1);
	assert_int_equal(stats().duplicate_responses, 4);
	net_run(net, 10 * SECOND);
	tell(SERF_RESPONSE, &rec_msg_response, &m);
	assert_int_equal(stats().late_responses, 3);
	assert_int_equal(times(a, "end"), 1);
}

static void
test_relay_rules(void **state)
{
	static const uint8_t ip[4] = { 127, 0, 0, 50 };
	struct msg_relay m = { .dest_ip = { (const char *)ip, 4 }, .dest_zone = STR(""), .dest_name = STR("x"), .dest_port = 7946,
		.message = STR("\x05\x80") };
	struct buf b = BUF_INIT(2048);

	(void)state;
	(void)asker();
	for (int i = 0; i < 5; i++) {
		struct msg_relay bad = m;

		if (i == 1)
			bad.message = STR("\x03\x80");
		if (i == 2)
			bad.dest_port = 22;
		if (i == 3)
			bad.dest_name = STR("y");
		if (i == 4)
			bad.message = STR("");
		/* 0: not a member yet. */
		if (i == 1)
			alive("x", 50, 1);
		buf_clear(&b);
		assert_int_equal(wire_put_relay(&b, &bad), 0);
		tell_raw((struct str){ (const char *)b.data, b.len });
		assert_int_equal(eaten, 0);
	}
	assert_int_equal(stats().refused, 4);
	assert_int_equal(stats().malformed, 1);
	buf_clear(&b);
	assert_int_equal(wire_put_relay(&b, &m), 0);
	tell_raw((struct str){ (const char *)b.data, b.len });
	assert_int_equal(eaten, 1);
	assert_memory_equal(last.bytes, "\x08\x05\x80", last.len);
	buf_release(&b);
}

/* ---- memory: what a member costs */

static void
test_member_size(void **state)
{
	(void)state;
	assert_true(sizeof(struct member) * 5 / 4 <= 48);
	assert_int_equal(a->s->roster.nnets, 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_clocks), T(test_event_ring), T(test_query_ring), T(test_limits), T(test_leave_intents),
		T(test_intent_and_death_in_any_order), T(test_intents_about_us), T(test_prune), T(test_recent_intents),
		T(test_recent_intents_bounded), T(test_state_in), T(test_state_ignore_old), T(test_state_sparse), T(test_state_out), T(test_state_twice),
		T(test_roster_moves),
		T(test_filters), T(test_ack), T(test_responses), T(test_relay_rules), T(test_member_size),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
