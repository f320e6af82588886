/* gossip_swim_rules.c - what is believed of whom, one sentence of the rules after the other. */
#include "t/unit/gossip_swim_help.h"

struct rule {
	const char *title, *script, *want;
};

#define AB "alive b 1; quiet; clear; "
#define ABC "alive b 1; alive c 1; quiet; clear; "
#define ABCD "alive b 1; alive c 1; alive d 1; quiet; clear; "

static const struct rule alive_rules[] = {
	{ "we are alive from the start", "show", "a alive 1 10.0.0.1:7946 ma\n" },
	{ "an unknown member joins, and is told on", "alive b 1 meta=mb; told; show",
	    "joined b\ntell [alive b 1 10.0.0.2:7946 mb]\na alive 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 mb\n" },
	{ "the same again is no news", AB "alive b 1; told", "" },
	{ "an older one is no news", "alive b 5; quiet; clear; alive b 4 meta=x; told; show",
	    "a alive 1 10.0.0.1:7946 ma\nb alive 5 10.0.0.2:7946 \n" },
	{ "a newer one is told on without an event", AB "alive b 2; told", "tell [alive b 2 10.0.0.2:7946 ]\n" },
	{ "another Meta is an update", AB "alive b 2 meta=x; told; show",
	    "updated b\ntell [alive b 2 10.0.0.2:7946 x]\na alive 1 10.0.0.1:7946 ma\nb alive 2 10.0.0.2:7946 x\n" },
	{ "other versions alone are not", AB "alive b 2 vsn=1.4.2.2.5.4; told", "tell [alive b 2 10.0.0.2:7946 ]\n" },
	{ "the dead come back with a higher incarnation", ABC "dead b 1 c; quiet; clear; alive b 1; alive b 2; told",
	    "joined b\ntell [alive b 2 10.0.0.2:7946 ]\n" },
	{ "those that left too", ABC "dead b 1 b; quiet; clear; alive b 1; alive b 2; told",
	    "joined b\ntell [alive b 2 10.0.0.2:7946 ]\n" },
	{ "coming back with another Meta is a join alone", ABC "dead b 1 c; quiet; clear; alive b 2 meta=x", "joined b\n" },
	{ "a suspect is alive again without an event, by a higher incarnation", ABC "suspect b 1 c; quiet; clear; alive b 1; alive b 2; told",
	    "tell [alive b 2 10.0.0.2:7946 ]\n" },
	{ "another address is a conflict, and nothing changes", AB "alive b 9 addr=10.0.0.7; told; show",
	    "conflict b 10.0.0.7:7946\na alive 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 \n" },
	{ "another port too", AB "alive b 9 port=1", "conflict b 10.0.0.2:1\n" },
	{ "a suspect keeps its address", ABC "suspect b 1 c; quiet; clear; alive b 9 port=1", "conflict b 10.0.0.2:1\n" },
	{ "the dead keep theirs without reclaim", ABC "dead b 1 c; quiet; clear; alive b 9 port=1", "conflict b 10.0.0.2:1\n" },
	{ "a name that left moves at once, whatever its incarnation", AB "alive b 5; dead b 5 b; quiet; clear; alive b 1 port=1; told; show",
	    "joined b\ntell [alive b 1 10.0.0.2:1 ]\na alive 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:1 \n" },
	{ "our own name elsewhere is a conflict", "alive a 9 addr=10.0.0.7; told", "conflict a 10.0.0.7:7946\n" },
	/* about us */
	{ "what we say of ourselves is no news", "alive a 1 meta=ma; told", "" },
	{ "an older word about us neither", "incarnation 5; quiet; alive a 4 meta=x; told", "" },
	{ "our incarnation with another Meta is refuted", "alive a 1 meta=x; told; health", "tell [alive a 2 10.0.0.1:7946 ma]\nhealth 1\n" },
	{ "our incarnation with other versions is refuted", "alive a 1 meta=ma vsn=1.4.2.2.5.4; told", "tell [alive a 2 10.0.0.1:7946 ma]\n" },
	{ "a higher one is refuted above it", "alive a 7 meta=ma; told; show",
	    "tell [alive a 8 10.0.0.1:7946 ma]\na alive 8 10.0.0.1:7946 ma\n" },
	{ "while leaving nothing about us counts", ABC "leave; clear; quiet; alive a 9 meta=x; told; show",
	    "a left 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \n" },
	/* strictness */
	{ "incarnation 0", "alive b 0; told; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "an incarnation that nobody could refute", "alive b 4294967295; told; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "no versions", "alive b 1 vsn=; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "five versions", "alive b 1 vsn=1.5.2.2.5; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "minimum 0", "alive b 1 vsn=0.5.2.2.5.4; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "maximum 0", "alive b 1 vsn=1.0.2.2.5.4; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "versions that are not ours", "alive b 1 vsn=1.1.1.2.5.4; alive c 1 vsn=3.5.3.2.5.4; alive d 1 vsn=1.5.2.2.3.3; alive e 1 vsn=1.5.2.5.5.5; stats",
		"malformed 0 refused 4 dropped 0\n" },
	{ "speaking what we do not understand", "alive b 1 vsn=1.9.6.2.5.4; alive c 1 vsn=1.5.2.2.9.6; alive d 1 vsn=1.5.0.2.5.4; stats",
		"malformed 0 refused 3 dropped 0\n" },
	{ "other versions that fit", "alive b 1 vsn=1.2.2.2.5.5; alive c 1 vsn=2.9.5.4.4.4; stats", "joined b\njoined c\nmalformed 0 refused 0 dropped 0\n" },
	{ "versions that are not ours, said of us, are refuted", "alive a 1 vsn=1.1.1.2.5.4; told", "tell [alive a 2 10.0.0.1:7946 ma]\n" },
	{ "minimum above maximum", "alive b 1 vsn=4.3.2.2.5.4; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "an address of 5 bytes", "alive b 1 addr=10.0.0.2.1; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "no address", "alive b 1 addr=; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "a Meta of 512 bytes is taken", "alive b 1 metalen=512; stats", "joined b\nmalformed 0 refused 0 dropped 0\n" },
	{ "one of 513 is not", "alive b 1 metalen=513; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "port 0 is ours", "alive b 1 port=0; told", "joined b\ntell [alive b 1 10.0.0.2:7946 ]\n" },
	{ "a mapped address is an IPv4 one", "alive b 1 addr=0.0.0.0.0.0.0.0.0.0.255.255.10.0.0.2; alive b 2; told",
	    "joined b\ntell [alive b 2 10.0.0.2:7946 ]\n" },
	{ "an IPv6 one stays", "alive b 1 addr=32.1.0.0.0.0.0.0.0.0.0.0.0.0.0.1; told", "joined b\ntell [alive b 1 16 bytes:7946 ]\n" },
};

static const struct rule accusation_rules[] = {
	{ "a suspect is told on, and no event", ABC "suspect b 1 c; told; show",
	    "tell [suspect b 1 from c]\na alive 1 10.0.0.1:7946 ma\nb suspect 1 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \n" },
	{ "of a higher incarnation, which is taken", AB "suspect b 7 c; told; alive b 7; show",
	    "tell [suspect b 7 from c]\na alive 1 10.0.0.1:7946 ma\nb suspect 7 10.0.0.2:7946 \n" },
	{ "an unknown one is nothing", AB "suspect x 1 b; dead x 1 b; told; stats", "malformed 0 refused 0 dropped 0\n" },
	{ "an older one neither", "alive b 5; quiet; clear; suspect b 4 c; dead b 4 c; told", "" },
	{ "a second accuser confirms and is told on, the same one is not", ABCD "suspect b 1 c; told; clear; suspect b 1 c; told; suspect b 1 d; told",
	    "tell [suspect b 1 from d]\n" },
	{ "at most k are told on", ABCD "alive e 1; alive f 1; suspect b 1 c; told; clear; suspect b 1 d; told; suspect b 1 e; told; suspect b 1 f; told",
	    "tell [suspect b 1 from d]\ntell [suspect b 1 from e]\n" },
	{ "in a pool of three none confirm", ABC "suspect b 1 c; told; clear; suspect b 1 a; told", "" },
	{ "the dead are not suspected", ABC "dead b 1 c; quiet; clear; suspect b 1 c; told", "" },
	{ "those that left neither", ABC "dead b 1 b; quiet; clear; suspect b 1 c; told", "" },
	{ "we refute", "suspect a 1 b; told; health; suspect a 7 b; told; health",
	    "tell [alive a 2 10.0.0.1:7946 ma]\nhealth 1\ntell [alive a 8 10.0.0.1:7946 ma]\nhealth 2\n" },
	{ "but not what is older", "suspect a 3 b; quiet; suspect a 3 b; told; dead a 3 b; told", "" },
	{ "the last incarnation is refuted with itself", "suspect a 4294967294 b; told", "tell [alive a 4294967294 10.0.0.1:7946 ma]\n" },
	{ "and one above it is malformed", "suspect a 4294967295 b; dead a 4294967295 b; told; stats", "malformed 2 refused 0 dropped 0\n" },
	{ "we refute our death", "dead a 1 b; told; show", "tell [alive a 2 10.0.0.1:7946 ma]\na alive 2 10.0.0.1:7946 ma\n" },
	{ "and that we left", "dead a 4 a; told", "tell [alive a 5 10.0.0.1:7946 ma]\n" },
	{ "dead is told on", ABC "dead b 1 c; told; show",
	    "gone b\ntell [dead b 1 from c]\na alive 1 10.0.0.1:7946 ma\nb dead 1 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \n" },
	{ "said by itself it has left", AB "dead b 3 b; told; show",
	    "gone b\ntell [dead b 3 from b]\na alive 1 10.0.0.1:7946 ma\nb left 3 10.0.0.2:7946 \n" },
	{ "dead is dead once", ABC "dead b 1 c; quiet; clear; dead b 1 c; dead b 9 b; told; show",
	    "a alive 1 10.0.0.1:7946 ma\nb dead 1 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \n" },
	{ "a suspect dies, and its timer with it", ABC "noprobe; suspect b 1 c; dead b 1 c; clear; quiet; advance 20000; told", "" },
	{ "leaving: a dead message by us about us", ABC "leave; told; show; leave",
	    "gone a\ntell [dead a 1 from a]\na left 1 10.0.0.1:7946 ma\nb alive 1 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \nleave -114\n" },
	{ "leaving: nothing is refuted", ABC "leave; clear; quiet; suspect a 5 b; dead a 5 b; dead a 9 a; told; meta x", "meta -114\n" },
	{ "leaving replaces what was said of us", AB "meta x; leave; clear; told", "tell [dead a 2 from a]\n" },
	{ "another Meta of ours", AB "meta x; told; show",
	    "updated a\ntell [alive a 2 10.0.0.1:7946 x]\na alive 2 10.0.0.1:7946 x\nb alive 1 10.0.0.2:7946 \n" },
	{ "an earlier life's incarnation", "incarnation 9; told; incarnation 3; told; show",
	    "tell [alive a 9 10.0.0.1:7946 ma]\na alive 9 10.0.0.1:7946 ma\n" },
	{ "news replace what was queued about the same member", AB "alive b 2; alive b 3; dead b 3 c; clear; told", "tell [dead b 3 from c]\n" },
	{ "a user message", "user hello", "user hello\n" },
	{ "what cannot be read", "garbage 0; garbage 1; garbage 2; garbage 3; garbage 4; garbage 5; garbage 11; garbage 6; garbage 200; stats",
	    "malformed 9 refused 0 dropped 0\n" },
};

static const struct rule row_rules[] = {
	{ "alive, left, dead and suspect rows", "alive b 1; alive c 1; alive d 1; alive e 1; quiet; clear; row alive f 3 meta=x; row left b 1; row dead c 1; "
	    "row suspect d 2; merge; told; show",
	    "joined f\ngone b\ntell [alive f 3 10.0.0.6:7946 x]\ntell [suspect d 2 from a]\ntell [suspect c 1 from a]\ntell [dead b 1 from b]\n"
	    "a alive 1 10.0.0.1:7946 ma\nb left 1 10.0.0.2:7946 \nc suspect 1 10.0.0.3:7946 \nd suspect 2 10.0.0.4:7946 \n"
	    "e alive 1 10.0.0.5:7946 \nf alive 3 10.0.0.6:7946 x\n" },
	{ "rows of the gone that we never knew are nothing", "row dead b 1; row left c 1; row suspect d 1; merge; told; show", "a alive 1 10.0.0.1:7946 ma\n" },
	{ "a restarted node refutes its old self", "row alive a 5 meta=ma; merge; told", "tell [alive a 6 10.0.0.1:7946 ma]\n" },
	{ "and that it left", "row left a 5; merge; told", "tell [alive a 6 10.0.0.1:7946 ma]\n" },
	{ "and that it died", "row dead a 5; merge; told", "tell [alive a 6 10.0.0.1:7946 ma]\n" },
	{ "a state that is none", "row what b 1; merge; stats", "malformed 1 refused 0 dropped 0\n" },
	{ "user state", "merge - state=x; merge join state=y", "state x\nstate join y\n" },
	/* versions */
	{ "a row that speaks too much", "row alive b 1 vsn=1.5.6.2.5.4; merge; show",
	    "refused: node 'b' speaks membership version 6, the pool understands 1 to 5\na alive 1 10.0.0.1:7946 ma\n" },
	{ "a dead row too", "row dead b 1 vsn=1.5.2.2.5.6; merge",
	    "refused: node 'b' speaks Serf version 6, the pool understands 2 to 5\n" },
	{ "a row that we do not understand", "row alive b 1 vsn=3.5.3.2.5.4; merge",
	    "refused: node 'a' speaks membership version 2, the pool understands 3 to 5\n" },
	{ "a Serf minimum above ours", "row alive b 1 vsn=1.5.2.5.5.5; merge", "refused: node 'a' speaks Serf version 4, the pool understands 5 to 5\n" },
	{ "a dead one's bounds do not count", "row dead b 1 vsn=3.5.3.2.5.4; merge; stats", "malformed 0 refused 0 dropped 0\n" },
	{ "two rows that do not fit", "row alive b 1 vsn=1.4.2.2.4.4; row alive c 1 vsn=1.5.5.2.5.4; merge",
	    "refused: node 'c' speaks membership version 5, the pool understands 1 to 4\n" },
	{ "narrower ones that fit", "row alive b 1 vsn=1.2.2.2.5.4; row alive c 1 vsn=1.5.2.4.4.4; merge", "joined b\njoined c\n" },
	{ "one that is between", "row alive b 1 vsn=1.5.5.2.5.4; merge", "joined b\n" },
	{ "our own members' bounds count", "alive b 1 vsn=1.4.2.2.5.4; clear; row alive c 1 vsn=1.5.5.2.5.4; merge; stats",
	    "refused: node 'c' speaks membership version 5, the pool understands 1 to 4\nmalformed 0 refused 1 dropped 0\n" },
	{ "one without versions", "row alive b 1 vsn=; merge", "refused: node 'b' speaks membership version 0, the pool understands 1 to 5\n" },
};

static void
run_rules(const struct rule *r, size_t n)
{
	configure();
	for (size_t i = 0; i < n; i++)
		expect(r[i].title, r[i].script, r[i].want);
}

static void
test_alive(void **state)
{
	(void)state;
	run_rules(alive_rules, ARRAY_LEN(alive_rules));
}

static void
test_accusations(void **state)
{
	(void)state;
	run_rules(accusation_rules, ARRAY_LEN(accusation_rules));
}

static void
test_rows(void **state)
{
	(void)state;
	run_rules(row_rules, ARRAY_LEN(row_rules));
}

/* Whom the layer above does not want. */
static void
test_admission(void **state)
{
	(void)state;
	configure();
	start();
	refused = "b";
	run("alive b 1; alive c 1; row alive b 1; row alive d 1; merge; stats; show");
	assert_string_equal(out, "joined c\njoined d\nmalformed 0 refused 2 dropped 0\na alive 1 10.0.0.1:7946 ma\nc alive 1 10.0.0.3:7946 \n"
	    "d alive 1 10.0.0.4:7946 \n");
	out[0] = 0;
	run("row alive e 1; row dead b 1; merge join state=x; merge join state=x");
	assert_string_equal(out, "refused: b is not wanted\nstate join x\n");
	/* Ourselves nobody refuses. */
	refused = "a";
	run("clear; quiet; alive a 5; told");
	assert_string_equal(out, "tell [alive a 6 10.0.0.1:7946 ma]\n");
	swim_free(s);
}

static void
test_reclaim(void **state)
{
	(void)state;
	configure();
	config.reclaim_ms = 30000;
	config.gossip_to_dead_ms = 100000;
	start();
	run(ABC "dead b 1 c; quiet; clear");
	now += 30000 * (uint64_t)MS;
	run("alive b 9 port=1");
	assert_string_equal(out, "conflict b 10.0.0.2:1\n");
	now += 1;
	run("clear; alive b 1 port=1; told; alive b 1 port=2");
	assert_string_equal(out, "joined b\ntell [alive b 1 10.0.0.2:1 ]\nconflict b 10.0.0.2:2\n");
	swim_free(s);
}

/* A suspect that answered does not die of its old timer, and one that did not does. */
static void
test_timer_of_suspect(void **state)
{
	(void)state;
	configure();
	config.probe_interval_ms = 1000000;
	start();
	run(ABC "suspect b 1 c; alive b 2; clear; advance 100000; show");
	assert_string_equal(out, "a alive 1 10.0.0.1:7946 ma\nb alive 2 10.0.0.2:7946 \nc alive 1 10.0.0.3:7946 \n");
	swim_free(s);
	config.probe_interval_ms = 1000;
	config.gossip_ms = 1000000;
	/* No probes: only the times of suspicion are looked at. */
	start();
	run(ABC "noprobe; suspect b 1 c; quiet; clear; advance 3999");
	assert_string_equal(out, "");
	run("advance 1; told");
	assert_string_equal(out, "gone b\ntell [dead b 1 from a]\n");
	assert_int_equal(swim_stats(s)->declared_dead, 1);
	swim_free(s);
	/* Four: k = 2. Two confirmations at once, and it dies at 4 s; one, at 11.381 s. */
	for (int confirmations = 0; confirmations < 3; confirmations++) {
		static const int dies[] = { 24000, 11381, 4000 };

		start();
		run(ABCD "noprobe; suspect b 1 c; advance 1000");
		if (confirmations > 0)
			run("suspect b 1 d");
		if (confirmations > 1)
			run("suspect b 1 a");
		assert_int_equal(swim_node_since(swim_find(s, STR("b"))), now - 1000 * (uint64_t)MS);
		run("quiet; clear");
		advance((uint64_t)dies[confirmations] - 1001);
		assert_string_equal(out, "");
		advance(1);
		assert_string_equal(out, "gone b\n");
		swim_free(s);
	}
	/* Confirmed later than it would have lived: at once. */
	start();
	run(ABCD "noprobe; suspect b 1 c; advance 12000; quiet; clear; suspect b 1 d; advance 0; told");
	assert_string_equal(out, "gone b\ntell [dead b 1 from a]\n");
	swim_free(s);
}

/* The table has its bound, and who has been gone for long makes room. */
static void
test_table(void **state)
{
	struct swim_node *n;
	char script[64];
	size_t seen = 0;

	(void)state;
	configure();
	config.nodes_max = 4;
	start();
	run("alive b 1; alive c 1; alive d 1; alive e 1; stats");
	assert_string_equal(out, "joined b\njoined c\njoined d\nmalformed 0 refused 0 dropped 1\n");
	run("dead b 1 b; clear");
	n = swim_find(s, STR("b"));
	*swim_node_user(n) = &config;
	/* Nobody answers: the others die too, and are dropped each at its time. */
	advance(200000);
	assert_non_null(strstr(out, "forgotten b\n"));
	assert_non_null(strstr(out, "gone c\n"));
	assert_non_null(strstr(out, "forgotten c\n"));
	assert_int_equal(swim_count(s), 1);
	assert_int_equal(swim_alive(s), 1);
	assert_null(swim_find(s, STR("b")));
	swim_free(s);
	/* Many, in and out: the hash and the list agree. */
	config.nodes_max = 10000;
	start();
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(script, sizeof(script), "alive n%d 1 addr=10.1.1.1", i);
		run(script);
		out[0] = 0;
		if (i % 2 == 0) {
			(void)snprintf(script, sizeof(script), "dead n%d 1 n%d", i, i);
			run(script);
		}
	}
	assert_int_equal(swim_count(s), 3001);
	assert_int_equal(swim_alive(s), 1501);
	now += 40000 * (uint64_t)MS;
	out[0] = 0;
	table_wrap(s, now);
	assert_int_equal(swim_count(s), 1501);
	for (n = swim_each(s, NULL); n != NULL; n = swim_each(s, n), seen++)
		assert_ptr_equal(swim_find(s, swim_node_name(n)), n);
	assert_int_equal(seen, 1501);
	swim_free(s);
}

static struct swim_node *kept;

static void
keep(void *ctx, struct swim_node *n)
{
	(void)ctx;
	swim_keep(n);
	kept = n;
}

/* The layer above may keep what we forget; a kept one and the same come back are two. */
static void
test_keep(void **state)
{
	struct swim_names *names = swim_names_new();

	(void)state;
	assert_non_null(names);
	configure();
	start();
	s->h.forgotten = keep;
	run(ABC "dead b 1 c; alive c 2");
	now += 40000 * (uint64_t)MS;
	table_wrap(s, now);
	assert_non_null(kept);
	assert_null(swim_find(s, STR("b")));
	assert_true(str_eqs(swim_node_name(kept), "b") && swim_node_state(kept) == SWIM_DEAD);
	run("alive b 1 addr=10.9.9.9");
	assert_true(swim_find(s, STR("b")) != kept && swim_node_addr(kept)->ip[1] == 0);
	swim_drop(s, kept);
	swim_drop(s, NULL);
	/* One that is kept at the end goes with the pool. */
	run("dead b 1 c");
	now += 40000 * (uint64_t)MS;
	table_wrap(s, now);
	swim_free(s);
	/* Two pools, one identity. */
	s = swim_new(&config, &hooks, names, now);
	assert_non_null(s);
	run("alive b 1 meta=x");
	struct swim *other = swim_new(&config, &hooks, names, now), *first = s;
	assert_non_null(other);
	s = other;
	run("alive b 1 meta=x");
	assert_ptr_equal(swim_node_name(swim_find(s, STR("b"))).p, swim_node_name(swim_find(first, STR("b"))).p);
	swim_free(first);
	assert_true(str_eqs(swim_node_meta(swim_find(s, STR("b"))), "x"));
	swim_free(s);
	assert_int_equal(names->n, 0);
	swim_names_free(names);
}

/* Members that are there from the beginning; and what time it is for hooks. */
static void
test_preload(void **state)
{
	struct msg_alive m = { .incarnation = 3, .node = STR("b"), .addr = { (char[]){ 10, 0, 0, 2 }, 4 }, .port = 7946, .meta = STR("x"),
		.vsn = { "\1\5\2\2\5\4", WIRE_VSN } }, bad;

	(void)state;
	configure();
	config.nodes_max = 3;
	start();
	assert_int_equal(swim_preload(s, now, &m), 0);
	assert_int_equal(swim_preload(s, now, &m), -EINVAL);
	run("told; show");
	assert_string_equal(out, "joined b\na alive 1 10.0.0.1:7946 ma\nb alive 3 10.0.0.2:7946 x\n");
	m.node = STR("c");
	for (int i = 0; i < 4; i++) {
		bad = m;
		if (i == 0)
			bad.incarnation = 0;
		else if (i == 1)
			bad.vsn.len = 5;
		else if (i == 2)
			bad.addr.len = 3;
		else
			bad.node.len = 0;
		assert_int_equal(swim_preload(s, now, &bad), -EINVAL);
	}
	assert_int_equal(swim_preload(s, now, &m), 0);
	m.node = STR("d");
	assert_int_equal(swim_preload(s, now, &m), -ELIMIT);
	assert_int_equal(swim_alive(s), 3);
	run("advance 700; user hello");
	assert_true(swim_now(s) == now);
	swim_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alive), cmocka_unit_test(test_accusations), cmocka_unit_test(test_rows), cmocka_unit_test(test_admission),
		cmocka_unit_test(test_reclaim), cmocka_unit_test(test_timer_of_suspect), cmocka_unit_test(test_table), cmocka_unit_test(test_keep),
		cmocka_unit_test(test_preload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
