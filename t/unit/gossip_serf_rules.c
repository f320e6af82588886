/* gossip_serf_rules.c - one Serf and what it is told: clocks, rings, intents, filters, answers, relays, limits. */
#include "t/unit/gossip_serf_tell.h"

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

/* Where is the member of this name? Nothing about ourselves, nil about nobody. */
static void
test_conflict_answers(void **state)
{
	struct arena arena = ARENA_INIT(4096);
	struct msg_response r;
	struct msg_member m;

	(void)state;
	(void)asker();
	alive("b", 2, 1);
	query((struct msg_query){ .ltime = 1, .name = STR("_serf_conflict"), .payload = STR("a") });
	assert_int_equal(eaten, 0);
	query((struct msg_query){ .ltime = 2, .name = STR("_serf_conflict"), .payload = STR("nobody") });
	assert_int_equal(eaten, 1);
	assert_int_equal(wire_get((struct str){ (const char *)last.bytes + 2, last.len - 2 }, &rec_msg_response, &r, &arena, NULL), 0);
	assert_true(str_eq(r.payload, STR("\x06\xc0")));
	query((struct msg_query){ .ltime = 3, .name = STR("_serf_conflict"), .payload = STR("b") });
	assert_int_equal(eaten, 2);
	assert_int_equal(wire_get((struct str){ (const char *)last.bytes + 2, last.len - 2 }, &rec_msg_response, &r, &arena, NULL), 0);
	assert_int_equal(r.payload.p[0], SERF_CONFLICT);
	assert_int_equal(wire_get((struct str){ r.payload.p + 1, r.payload.len - 1 }, &rec_msg_member, &m, &arena, NULL), 0);
	assert_true(str_eqs(m.name, "b"));
	assert_true(str_eq(m.addr, STR("\x7f\0\0\2")));
	assert_int_equal(m.port, 7946);
	assert_int_equal(m.status, SERF_ALIVE);
	assert_int_equal(m.protocol_max, 5);
	assert_int_equal(m.delegate_cur, 4);
	/* None of Serf's own queries reaches the shell. */
	assert_null(strstr(a->heard, "query"));
	arena_release(&arena);
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
		T(test_recent_intents_bounded), T(test_roster_moves),
		T(test_filters), T(test_ack), T(test_conflict_answers), T(test_responses), T(test_relay_rules), T(test_member_size),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
