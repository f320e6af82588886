/* gossip_swim_probe.c - probes and their answers, pings for others, and what packets carry. */
#include "t/unit/gossip_swim_help.h"

#define NEWS "alive b 1; quiet; net 1; clear; "
#define PING(name, n) "[ping " name " #" n " by a 10.0.0.1:7946]"

/* What is the case in each: our first tick is at once, the next ones each second. */
static const struct { const char *title, *script, *want; } probes[] = {
	{ "a ping, and its answer", NEWS "advance 0; advance 30; ack 1; health; advance 969; clear; advance 1",
	    "send 10.0.0.2:7946 " PING("b", "2") "\n" },
	{ "the time and the payload of the answer", NEWS "advance 0; advance 30; ack 1; ack 1; advance 900",
	    "send 10.0.0.2:7946 " PING("b", "1") "\nacked b 30 there\n" },
	{ "an answer to something else is none", NEWS "advance 0; ack 2; ack 7; advance 499; clear; advance 1",
	    "stream ping b #1 until 500\n" },
	{ "no answer: over TCP, then suspected", NEWS "advance 1000; health; show",
	    "send 10.0.0.2:7946 " PING("b", "1") "\nstream ping b #1 until 500\n"
	    "send 10.0.0.2:7946 crc " PING("b", "2") " [suspect b 1 from a]\nsend 10.0.0.2:7946 crc [suspect b 1 from a]\nhealth 1\n"
	    "a alive 1 10.0.0.1:7946 ma\nb suspect 1 10.0.0.2:7946 \n" },
	{ "an answer over TCP alone keeps it alive, quietly", NEWS "advance 600; streamack 1; advance 399; clear; advance 1; health; show",
	    "send 10.0.0.2:7946 " PING("b", "2") "\nhealth 0\na alive 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 \n" },
	{ "one that is too early or not ours does not", NEWS "advance 400; streamack 1; advance 200; streamack 5; clear; advance 400; show",
	    "send 10.0.0.2:7946 crc " PING("b", "2") " [suspect b 1 from a]\nsend 10.0.0.2:7946 crc [suspect b 1 from a]\n"
	    "a alive 1 10.0.0.1:7946 ma\nb suspect 1 10.0.0.2:7946 \n" },
	{ "a late answer counts, its time does not", NEWS "advance 700; ack 1; advance 299; clear; advance 1; health; show",
	    "send 10.0.0.2:7946 " PING("b", "2") "\nhealth 0\na alive 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 \n" },
	{ "no TCP ping to one that does not know it", "alive b 1 vsn=1.2.2.2.5.4; quiet; net 1; clear; advance 999", "send 10.0.0.2:7946 " PING("b", "1") "\n" },
	{ "no CRC to one that does not know it", "alive b 1 vsn=1.4.2.2.5.4; quiet; net 1; clear; advance 999; clear; advance 1",
	    "send 10.0.0.2:7946 " PING("b", "2") " [suspect b 1 from a]\nsend 10.0.0.2:7946 [suspect b 1 from a]\n" },
	/* A sick node waits longer: three refutations. */
	{ "health scales how long an answer is waited for", "alive b 1; suspect a 1 b; suspect a 2 b; quiet; net 1; clear; advance 2999; health; show; clear; advance 1; health",
	    "send 10.0.0.2:7946 crc " PING("b", "2") " [suspect b 1 from a]\nsend 10.0.0.2:7946 crc [suspect b 1 from a]\nhealth 3\n" },
	{ "answers heal", "alive b 1; suspect a 1 b; suspect a 2 b; quiet; net 1; advance 0; ack 1; clear; health; advance 1000; ack 2; clear; health; advance 1000; ack 3; clear; health",
	    "health 0\n" },
	{ "the score has its bounds", "alive b 1; suspect a 1 b; suspect a 2 b; suspect a 3 b; suspect a 4 b; suspect a 5 b; suspect a 6 b; suspect a 7 b; "
	    "suspect a 8 b; suspect a 9 b; clear; health", "health 7\n" },
};

static void
test_probe(void **state)
{
	(void)state;
	configure();
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		expect(probes[i].title, probes[i].script, probes[i].want);
}

/* b is probed; c, d and e help. f is too old for a nack. */
static void
prepare_helpers(const char *more)
{
	configure();
	config.gossip_ms = 1000000;
	start();
	run("alive b 1; alive c 1; alive d 1; alive e 1");
	run(more);
	run("quiet; net 1; clear");
	/* So that b is the one. */
	while (table_node(s, s->probe.at) != swim_find(s, STR("b")))
		s->probe.at++;
	s->gossip_at = UINT64_MAX;
}

static void
test_indirect(void **state)
{
	(void)state;
	prepare_helpers("noprobe");
	timers_arm(&s->timers, &s->probe_timer, now);
	run("advance 500");
	assert_string_equal(out, "send 10.0.0.2:7946 " PING("b", "1") "\n"
	    "send 10.0.0.3:7946 [indirect b 10.0.0.2:7946 #1 nack]\nsend 10.0.0.4:7946 [indirect b 10.0.0.2:7946 #1 nack]\n"
	    "send 10.0.0.5:7946 [indirect b 10.0.0.2:7946 #1 nack]\nstream ping b #1 until 500\n");
	/* All helpers live and say no: it is b's fault, not ours. */
	run("clear; nack 1; nack 2; nack 1; nack 1; nack 1; advance 499; net 0; advance 1; health; clear; told");
	assert_string_equal(out, "tell [suspect b 1 from a]\n");
	assert_int_equal(swim_stats(s)->nacks, 3);
	assert_int_equal(swim_health(s), 0);
	swim_free(s);
	/* One does not: a point. */
	prepare_helpers("");
	run("advance 600; nack 1; nack 1; advance 400; clear; health");
	assert_string_equal(out, "health 1\n");
	swim_free(s);
	/* None does: three. */
	prepare_helpers("");
	run("advance 1000; clear; health");
	assert_string_equal(out, "health 3\n");
	swim_free(s);
	/* A helper got through. */
	prepare_helpers("");
	run("advance 800; nack 1; ack 1; clear; advance 199; show");
	assert_string_equal(out, "a alive 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \nd alive 1 10.0.0.4:7946 \n"
	    "e alive 1 10.0.0.5:7946 \n");
	swim_free(s);
}

/* Helpers are alive, and not too old to be told to say no. */
static void
test_helpers(void **state)
{
	(void)state;
	prepare_helpers("suspect c 1 e; dead d 1 e; alive e 2 vsn=1.3.2.2.5.4");
	config.gossip_ms = 200;
	run("advance 500; clear; net 0; advance 500; health");
	/* No nack was to be expected: one point for the failure. */
	assert_string_equal(out, "health 1\n");
	swim_free(s);
	prepare_helpers("suspect c 1 e; dead d 1 e; alive e 2 vsn=1.3.2.2.5.4");
	run("advance 499; clear; advance 1");
	assert_string_equal(out, "send 10.0.0.5:7946 [indirect b 10.0.0.2:7946 #1]\nstream ping b #1 until 500\n");
	swim_free(s);
}

static const struct { const char *title, *script, *want; } answers[] = {
	{ "a ping for us", "net 1; ping a 7 from=10.0.0.9", "send 10.0.0.9:999 [ack 7 where]\n" },
	{ "for whoever hears it", "net 1; ping - 7 from=10.0.0.9", "send 10.0.0.9:999 [ack 7 where]\n" },
	{ "for somebody else", "net 1; ping b 7 from=10.0.0.9", "" },
	{ "to where the asker says", "net 1; ping a 7 from=10.0.0.9 src=10.0.0.8 port=55", "send 10.0.0.8:55 [ack 7 where]\n" },
	{ "unless it says half of it", "net 1; ping a 7 from=10.0.0.9 src=10.0.0.8; ping a 8 from=10.0.0.9 port=5; ping a 9 from=10.0.0.9 src=1.2.3 port=5",
	    "send 10.0.0.9:999 [ack 7 where]\nsend 10.0.0.9:999 [ack 8 where]\nsend 10.0.0.9:999 [ack 9 where]\n" },
	{ "for another, which answers", "net 1; indirect b 70 src=10.0.0.3 nack=1; ack 1; advance 1000",
	    "send 10.0.0.2:7946 " PING("b", "1") "\nsend 10.0.0.3:77 [ack 70 nil]\n" },
	{ "which does not answer", "net 1; indirect b 70 src=10.0.0.3 nack=1; advance 399; clear; advance 1; advance 100; ack 1; advance 1000",
	    "send 10.0.0.3:77 [nack 70]\n" },
	{ "which answers late", "net 1; indirect b 70 src=10.0.0.3 nack=1; advance 400; clear; advance 99; ack 1; advance 1000", "send 10.0.0.3:77 [ack 70 nil]\n" },
	{ "and no nack is wanted", "net 1; indirect b 70 src=10.0.0.3; advance 1000", "send 10.0.0.2:7946 " PING("b", "1") "\n" },
	{ "to where it came from", "net 1; indirect b 70 nack=1; ack 1", "send 10.0.0.2:7946 " PING("b", "1") "\nsend 10.0.0.99:999 [ack 70 nil]\n" },
	{ "port 0 is ours", "net 1; indirect b 70 port=0; ack 1; ack 1; clear; indirect b 71 port=9", "send 10.0.0.2:9 " PING("b", "2") "\n" },
	{ "an address that is none", "net 1; indirect b 70 target=1.2.3; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "two at a time, the second answers", "net 1; indirect b 70 src=10.0.0.3 nack=1; advance 100; indirect c 71 src=10.0.0.3 nack=1; clear; ack 2; advance 299; "
	    "clear; advance 1; advance 1000", "send 10.0.0.3:77 [nack 70]\n" },
	{ "two at a time, none answers", "net 1; indirect b 70 src=10.0.0.3 nack=1; advance 100; indirect c 71 src=10.0.0.4 nack=1; clear; advance 1000",
	    "send 10.0.0.3:77 [nack 70]\nsend 10.0.0.4:77 [nack 71]\n" },
};

static void
test_answers(void **state)
{
	(void)state;
	configure();
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		expect(answers[i].title, answers[i].script, answers[i].want);
	/* As many as there is room for at a time. */
	start();
	for (int i = 0; i < HELPING_MAX + 3; i++) {
		run("indirect b 70 nack=1");
		advance(1);
	}
	assert_int_equal(swim_stats(s)->dropped_messages, 3);
	assert_int_equal(swim_stats(s)->indirect, HELPING_MAX);
	advance(1000);
	assert_int_equal(s->helping.n, 0);
	run("indirect b 70 nack=1; ack 260");
	assert_int_equal(s->helping.n, 1);
	swim_free(s);
}

/* What goes along with other messages, and in what. */
static void
test_packets(void **state)
{
	(void)state;
	configure();
	start();
	run("noprobe; alive b 1; quiet; noprobe; alive b 2; net 1; clear");
	user_waiting = "hello";
	run("ping a 7 from=10.0.0.9");
	assert_string_equal(out, "send 10.0.0.9:999 [ack 7 where] [alive b 2 10.0.0.2:7946 ] [user hello]\n");
	/* Nothing but what fits: 2 of the compound and 2 a part, 1 of the user message. */
	run("quiet; clear");
	user_waiting = "12345678901234567890";
	struct msg_ack ack = { .seqno = 7, .payload = STR("where") };
	struct buf b = BUF_INIT(1024);
	assert_int_equal(wire_put(&b, WIRE_ACK, &rec_msg_ack, &ack), 0);
	s->c.overhead = 40;
	s->c.packet_max = b.len + 40 + 2 + 2 + 2 + 1 + 20 - 1;
	run("ping a 7 from=10.0.0.9");
	assert_string_equal(out, "send 10.0.0.9:999 [ack 7 where]\n");
	s->c.packet_max++;
	run("clear; ping a 7 from=10.0.0.9");
	assert_string_equal(out, "send 10.0.0.9:999 [ack 7 where] [user 12345678901234567890]\n");
	swim_set_overhead(s, 41);
	user_waiting = "12345678901234567890";
	run("clear; ping a 7 from=10.0.0.9");
	assert_string_equal(out, "send 10.0.0.9:999 [ack 7 where]\n");
	/* A packet that is too small for the message itself has it alone. */
	s->c.packet_max = 10;
	run("clear; ping a 7 from=10.0.0.9");
	assert_string_equal(out, "send 10.0.0.9:999 [ack 7 where]\n");
	buf_release(&b);
	swim_free(s);
}

/* Many small ones: 255 a packet at most, and never more bytes than it may have. */
static size_t largest, most;

static void
measure(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	(void)ctx;
	(void)to;
	(void)crc;
	largest = plain.len > largest ? plain.len : largest;
	if (plain.p[0] == WIRE_COMPOUND && (uint8_t)plain.p[1] > most)
		most = (uint8_t)plain.p[1];
}

static void
test_packet_bounds(void **state)
{
	char script[64];

	(void)state;
	configure();
	for (int wide = 0; wide < 2; wide++) {
		config.packet_max = wide ? 60000 : 1400;
		config.overhead = 29;
		start();
		for (int i = 0; i < 600; i++) {
			(void)snprintf(script, sizeof(script), "alive n%d 1 addr=10.1.1.1", i);
			run(script);
			(void)snprintf(script, sizeof(script), "dead n%d 1 b", i);
			run(i % 2 == 0 ? script : "quiet; alive n0 1");
			out[0] = 0;
		}
		for (int i = 0; i < 600; i++) {
			(void)snprintf(script, sizeof(script), "alive n%d 2 addr=10.1.1.1", i);
			run(script);
			out[0] = 0;
		}
		s->h.send = measure;
		largest = most = 0;
		advance(10000);
		assert_true(most > 0 && most <= PARTS_MAX);
		assert_true(largest <= config.packet_max - config.overhead);
		assert_true(wide ? most == PARTS_MAX : largest > 1250);
		swim_free(s);
	}
}

/* Ticks: to whom, how often, and silence. */
static void
test_gossip(void **state)
{
	unsigned copies = 0;

	(void)state;
	configure();
	config.probe_interval_ms = 1000000;
	start();
	/* Each goes out limit times in all: 4 members, 4 times. */
	run("alive b 1; alive c 1; alive d 1; noprobe; quiet; clear; net 1; alive b 2; advance 0");
	for (const char *p = out; (p = strstr(p, "crc [alive b 2")) != NULL; p++)
		copies++;
	assert_int_equal(copies, 3);
	run("clear; advance 199");
	assert_string_equal(out, "");
	run("advance 1");
	assert_non_null(strstr(out, "crc [alive b 2 10.0.0.2:7946 ]\n"));
	assert_int_equal(queue_count(s->queue), 0);
	/* Silence costs no wake-up at all; news after it go at once. */
	run("clear");
	assert_int_equal(swim_next(s), UINT64_MAX);
	run("advance 10000");
	user_waiting = "hi";
	assert_true(swim_next(s) <= now);
	run("advance 0");
	assert_non_null(strstr(out, "crc [user hi]\n"));
	assert_int_equal(swim_next(s), UINT64_MAX);
	swim_free(s);
	/* The layer above that has no hook for it is asked each time. */
	start();
	s->h.pending = NULL;
	run("alive b 1; noprobe; quiet; advance 0");
	assert_int_equal(swim_next(s), now + 200 * (uint64_t)MS);
	swim_free(s);
	/* The dead hear of it for a while, those that left do not. */
	start();
	run("alive b 1; alive c 1; dead b 1 a; dead c 1 c; noprobe; quiet; clear; net 1; alive d 1; dead d 1 d; noprobe");
	out[0] = 0;
	run("advance 29999");
	assert_non_null(strstr(out, "send 10.0.0.2:7946 crc"));
	assert_null(strstr(out, "send 10.0.0.3"));
	run("advance 2; clear; alive d 2 meta=x; dead d 2 d; noprobe; clear; advance 1000");
	assert_string_equal(out, "");
	swim_free(s);
}

/* Push/pull: when, with whom, and what. */
static void
test_exchange(void **state)
{
	struct buf b = BUF_INIT(1 << 20);

	(void)state;
	configure();
	config.push_pull_ms = 30000;
	config.gossip_ms = 1000000;
	start();
	s->exchange_timer.at = now + 5000 * (uint64_t)MS;
	run("alive b 1; alive c 1; suspect b 1 c; dead c 1 a; noprobe; quiet; clear; advance 5000");
	/* With those that are alive, and nobody else. */
	assert_string_equal(out, "gone b\n");
	run("dead b 1 a; alive d 1; noprobe; quiet; clear; advance 30000; advance 29999");
	assert_string_equal(out, "exchange d\n");
	run("advance 1");
	assert_string_equal(out, "exchange d\nexchange d\n");
	/* Our rows: the reader of the wire takes them back. */
	run("clear; show");
	assert_int_equal(swim_put_state(s, true, &b), 0);
	assert_int_equal(b.data[0], WIRE_PUSH_PULL);
	assert_non_null(memmem(b.data, b.len, "state of joining", 16));
	assert_int_equal(memcmp(b.data + b.len - 16, "state of joining", 16), 0);
	assert_non_null(memmem(b.data, b.len, "\xa4Join\xc3\xa5Nodes\x04\xacUserStateLen\x10", 27));
	/* No room: nothing is left of it. */
	buf_release(&b);
	b = (struct buf)BUF_INIT(150);
	assert_int_equal(buf_adds(&b, "before"), 0);
	assert_int_equal(swim_put_state(s, false, &b), -ELIMIT);
	assert_int_equal(b.len, 6);
	buf_release(&b);
	swim_free(s);
}

/* One that is alone has nothing to do until somebody comes, and is in step then. */
static void
test_alone(void **state)
{
	(void)state;
	configure();
	start();
	run("advance 0");
	assert_int_equal(swim_next(s), UINT64_MAX);
	run("advance 10300; alive b 1; quiet; net 1; clear; advance 699");
	assert_string_equal(out, "");
	run("advance 1");
	assert_string_equal(out, "send 10.0.0.2:7946 " PING("b", "1") "\n");
	swim_free(s);
	/* Leaving alone is done at once; with others, when they were told; when all of them are gone, too. */
	start();
	run("leave; clear; left");
	assert_string_equal(out, "left 1\n");
	swim_free(s);
	start();
	run("alive b 1; quiet; leave; clear; left; advance 600; left; advance 200; left");
	assert_string_equal(out, "left 0\nleft 1\nleft 1\n");
	swim_free(s);
	start();
	run("alive b 1; quiet; leave; clear; left; dead b 1 b; clear; left");
	assert_string_equal(out, "left 1\n");
	swim_free(s);
}

/* A daemon that was stopped for an hour: what is late happens once. */
static void
test_stall(void **state)
{
	(void)state;
	configure();
	config.push_pull_ms = 30000;
	start();
	run("alive b 1; clear; advance 10; ack 1; net 1; clear");
	now += 3600000 * (uint64_t)MS;
	uint64_t next = swim_advance(s, now);
	flush();
	assert_true(next > now);
	unsigned pings = 0, exchanges = 0;
	for (const char *p = out; (p = strstr(p, "[ping b")) != NULL; p++)
		pings++;
	for (const char *p = out; (p = strstr(p, "exchange b")) != NULL; p++)
		exchanges++;
	assert_int_equal(pings, 1);
	assert_int_equal(exchanges, 1);
	swim_free(s);
}

/* Each is probed once a round, whatever the order. */
static void
test_round(void **state)
{
	unsigned seen[10] = { 0 };

	(void)state;
	configure();
	config.gossip_ms = 1000000;
	start();
	run("alive b 1; alive c 1; alive d 1; alive e 1; alive f 1; alive g 1; alive h 1; alive i 1; quiet; net 1; clear; dead h 1 h; quiet");
	s->gossip_at = UINT64_MAX;
	for (unsigned i = 1; i <= 7 * 50; i++) {
		char script[32];

		out[0] = 0;
		run(i > 1 ? "advance 1000" : "advance 0");
		assert_non_null(strstr(out, "[ping "));
		seen[strstr(out, "[ping ")[6] - 'a']++;
		(void)snprintf(script, sizeof(script), "ack %u", i);
		run(script);
		/* Nobody is two ahead of anybody but for the shuffle between two rounds. */
		for (char c = 'b'; c <= 'i'; c++)
			assert_true(c == 'h' || seen[c - 'a'] + 1 >= i / 7);
	}
	assert_int_equal(seen['h' - 'a'], 0);
	for (char c = 'b'; c <= 'i'; c++)
		assert_true(c == 'h' || (seen[c - 'a'] >= 49 && seen[c - 'a'] <= 51));
	swim_free(s);
}

static bool
not_c(const struct swim_node *n)
{
	return !str_eqs(swim_node_name(n), "c");
}

static void
test_random(void **state)
{
	struct swim_node *v[PICK_MAX];
	unsigned seen[8] = { 0 };

	(void)state;
	configure();
	start();
	assert_int_equal(swim_random(s, v, 3, NULL), 0);
	run("alive b 1; alive c 1; alive d 1; alive e 1; alive f 1");
	for (int i = 0; i < 4000; i++) {
		assert_int_equal(swim_random(s, v, 2, not_c), 2);
		assert_ptr_not_equal(v[0], v[1]);
		for (int j = 0; j < 2; j++)
			seen[swim_node_name(v[j]).p[0] - 'a']++;
	}
	assert_int_equal(seen[0] + seen[2], 0);
	for (int i = 1; i < 6; i++)
		assert_true(i == 2 || (seen[i] > 1700 && seen[i] < 2300));
	assert_int_equal(swim_random(s, v, 100, NULL), 5);
	swim_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe), cmocka_unit_test(test_indirect), cmocka_unit_test(test_helpers), cmocka_unit_test(test_answers),
		cmocka_unit_test(test_packets), cmocka_unit_test(test_packet_bounds), cmocka_unit_test(test_gossip), cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_alone), cmocka_unit_test(test_stall), cmocka_unit_test(test_round), cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
