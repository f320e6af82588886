/* gossip_swim_hostile.c - whatever strangers send, and memory that runs out: no harm, and bounds hold. */
#include "t/unit/gossip_swim_help.h"

#include <time.h>

enum { MESSAGES = 60000, NAMES = 24, TABLE_MAX = 12 };

#include "t/unit/nomem.h"

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused_memory, once;

static bool
refuse(void)
{
	if (left != 0) {
		left -= left > 0;
		return false;
	}
	refused_memory = true;
	left -= once;
	return true;
}

/* ---- what must hold after anything */

static void
check_pool(void)
{
	size_t n = 0, alive = 0, suspects = 0;

	assert_true(swim_count(s) <= s->c.nodes_max);
	for (struct swim_node *i = swim_each(s, NULL); i != NULL; i = swim_each(s, i), n++) {
		assert_ptr_equal(swim_find(s, swim_node_name(i)), i);
		assert_true(swim_node_incarnation(i) >= 1 && swim_node_incarnation(i) <= INCARNATION_MAX);
		assert_true(swim_node_since(i) <= now);
		alive += !node_gone(i);
		suspects += i->state == SWIM_SUSPECT;
		if (i->state == SWIM_SUSPECT)
			assert_true(i->suspicion->timer.pos != 0 && s->timers.v[i->suspicion->timer.pos] == &i->suspicion->timer);
	}
	assert_int_equal(n, swim_count(s));
	assert_int_equal(alive, swim_alive(s));
	assert_int_equal(suspects, s->table.nsuspicions);
	assert_int_equal(swim_node_state(swim_self(s)), swim_leaving(s) ? SWIM_LEFT : SWIM_ALIVE);
	assert_true(swim_health(s) < s->c.awareness_max);
	assert_true(s->helping.n <= HELPING_MAX && s->names->n <= 2 * s->c.nodes_max);
	assert_true(queue_count(s->queue) <= s->c.nodes_max);
	for (size_t i = 2; i <= s->timers.n; i++)
		assert_true(s->timers.v[i / 2]->at <= s->timers.v[i]->at);
}

/* ---- random messages */

static uint32_t
chance(uint32_t n)
{
	return hook_random(NULL) % n;
}

static struct str
any_name(char *to)
{
	uint32_t i = chance(NAMES + 3);

	if (i == NAMES)
		return STR("");
	if (i == NAMES + 1) {
		memset(to, 'x', WIRE_NAME_MAX + 10);
		return (struct str){ to, WIRE_NAME_MAX - 2 + chance(5) };
	}
	to[0] = (char)('a' + i);
	return (struct str){ to, 1 };
}

static uint64_t
any_incarnation(void)
{
	static const uint64_t odd[] = { 0, 1, INCARNATION_MAX - 1, INCARNATION_MAX, UINT32_MAX };

	return chance(6) == 0 ? odd[chance(5)] : chance(40);
}

static struct str
any_bytes(char *to, size_t usual)
{
	size_t n = chance(8) == 0 ? chance(20) : usual;

	for (size_t i = 0; i < n; i++)
		to[i] = (char)chance(i < 6 ? 7 : 256);
	return (struct str){ to, n };
}

static struct msg_alive
any_alive(char *bytes)
{
	struct msg_alive m = { .node = any_name(bytes), .incarnation = any_incarnation(), .port = chance(6) == 0 ? chance(65536) : 7946,
		.state = (int64_t)chance(5) };

	m.addr = any_bytes(bytes + 600, chance(5) == 0 ? 16 : 4);
	if (m.node.len == 1 && chance(4) != 0)
		m.addr = (struct str){ memcpy(bytes + 600, (char[]){ 10, 0, 0, (char)(m.node.p[0] - 'a' + 1) }, 4), 4 };
	m.vsn = any_bytes(bytes + 700, WIRE_VSN);
	if (chance(5) != 0)
		m.vsn = (struct str){ memcpy(bytes + 700, "\1\5\2\2\5\4", WIRE_VSN), WIRE_VSN };
	m.meta = (struct str){ memset(bytes + 800, (int)chance(3), 520), chance(10) == 0 ? chance(520) : chance(4) };
	return m;
}

/* Some bytes of it are others. */
static void
mutate(struct buf *b)
{
	for (uint32_t n = chance(4) == 0 ? 1 + chance(4) : 0; n > 0 && b->len > 0; n--)
		b->data[chance((uint32_t)b->len)] = (uint8_t)chance(256);
	if (chance(20) == 0)
		b->len = chance((uint32_t)b->len + 1);
}

static uint8_t
any_body(struct buf *b)
{
	static const uint8_t accusations[] = { WIRE_SUSPECT, WIRE_DEAD };
	char bytes[1400], from[600];
	struct msg_alive alive = any_alive(bytes);
	struct msg_accuse accuse = { .incarnation = any_incarnation(), .node = alive.node, .from = any_name(from) };
	struct msg_ping ping = { .node = alive.node, .seqno = chance(9), .source_addr = alive.addr, .source_port = chance(9) };
	struct msg_indirect ind = { .node = alive.node, .seqno = chance(9), .target = alive.addr, .nack = chance(2) == 0, .source_port = chance(3) };
	struct msg_ack ack = { .seqno = (uint32_t)(s->seqno - chance(4)), .payload = alive.meta };
	struct msg_nack nack = { .seqno = ack.seqno };
	int rc = 0;

	switch (chance(8)) {
	case 0:
		rc = wire_put_body(b, &rec_msg_ping, &ping);
		assert_int_equal(rc, 0);
		return WIRE_PING;
	case 1:
		rc = wire_put_body(b, &rec_msg_indirect, &ind);
		assert_int_equal(rc, 0);
		return WIRE_INDIRECT;
	case 2:
		rc = wire_put_body(b, &rec_msg_ack, &ack);
		assert_int_equal(rc, 0);
		return WIRE_ACK;
	case 3:
		rc = wire_put_body(b, &rec_msg_nack, &nack);
		assert_int_equal(rc, 0);
		return WIRE_NACK;
	case 4:
	case 5:
		rc = wire_put_body(b, &rec_msg_accuse, &accuse);
		assert_int_equal(rc, 0);
		return accusations[chance(2)];
	default:
		rc = wire_put_body(b, &rec_msg_alive, &alive);
		assert_int_equal(rc, 0);
		return WIRE_ALIVE;
	}
}

static void
any_merge(void)
{
	struct msg_alive many[8];
	char bytes[8][1400], err[256];
	size_t n = chance(9);
	int rc;

	for (size_t i = 0; i < n; i++)
		many[i] = any_alive(bytes[i]);
	rc = swim_merge(s, now, many, n, STR("state"), chance(2) == 0, err);
	assert_true(rc == 0 || (rc == -EINVAL && strlen(err) > 0));
}

static void
test_random_messages(void **state)
{
	struct buf b = BUF_INIT(65536);
	const char *given = getenv("SEED");
	uint64_t started = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	uint8_t type;

	(void)state;
	print_message("SEED=%" PRIu64 "\n", started);
	configure();
	config.nodes_max = TABLE_MAX;
	config.push_pull_ms = 30000;
	config.reclaim_ms = 20000;
	start();
	random_state = started;
	for (int i = 0; i < MESSAGES; i++) {
		buf_clear(&b);
		type = any_body(&b);
		mutate(&b);
		swim_message(s, now, &config.addr, chance(30) == 0 ? (uint8_t)chance(256) : type, (struct str){ (const char *)b.data, b.len });
		if (chance(20) == 0)
			any_merge();
		if (chance(10) == 0)
			advance(chance(3000));
		if (chance(100) == 0)
			now += (uint64_t)chance(100000) * MS;
		if (i % 16 == 0)
			check_pool();
		out[0] = 0;
	}
	buf_release(&b);
	assert_true(swim_stats(s)->malformed > 0 && swim_stats(s)->refuted > 0);
	swim_free(s);
}

/* ---- no memory */

/* Of everything a little, more than first allocations hold. */
static const char *const life[] = {
	"alive b 1 meta=one; alive c 1; alive d 1; alive e 1; alive f 1; alive g 1; alive h 1; alive i 1; alive j 1; alive k 1; alive l 1; alive m 1",
	"alive n 1; alive o 1; alive p 1; alive q 1; alive r 1; alive s 1; alive t 1; alive u 1; alive v 1; alive w 1; alive x 1; alive y 1; alive z 1",
	"suspect b 1 c; suspect b 1 d; suspect c 1 d; suspect d 1 e; suspect e 1 f; suspect f 1 g; suspect g 1 h; suspect a 1 b; dead h 1 h; dead i 1 b",
	"suspect j 1 x; suspect k 1 x; suspect l 1 x; suspect m 1 x; suspect n 1 x; suspect o 1 x; suspect p 1 x; suspect q 1 x; suspect r 1 x",
	"alive b 2 meta=two; row alive c 2; row dead d 1; row left e 1; merge join state=x; indirect b 1 nack=1; indirect b 2; indirect b 3",
	"indirect b 4; indirect b 5; indirect b 6; indirect b 7; indirect b 8; indirect b 9; ping a 1; advance 700; ack 1; nack 2; meta other",
	"advance 3000; incarnation 9; leave; advance 2000",
};

static bool
live_without(long n)
{
	struct buf b = BUF_INIT(1 << 16);
	bool reached;

	refused_memory = false;
	now = 1000000 * (uint64_t)MS;
	random_state = 1;
	net = false;
	nlines = nrows = 0;
	left = n;
	s = swim_new(&config, &hooks, NULL, now);
	for (size_t i = 0; s != NULL && i < ARRAY_LEN(life); i++) {
		run(life[i]);
		out[0] = 0;
	}
	if (s != NULL && swim_put_state(s, false, &b) < 0)
		assert_true(refused_memory);
	left = -1;
	reached = refused_memory;
	buf_release(&b);
	if (s != NULL) {
		check_pool();
		/* With memory again it goes on: what was lost is told once more. */
		run("alive b 50 meta=late; row alive z 50; merge; advance 1000");
		assert_true(swim_find(s, STR("z")) != NULL || swim_count(s) < 26);
		assert_true(str_eqs(swim_node_meta(swim_find(s, STR("b"))), "late"));
		check_pool();
		out[0] = 0;
	} else {
		assert_true(reached);
	}
	swim_free(s);
	return !reached;
}

static void
test_no_memory(void **state)
{
	long n;

	(void)state;
	configure();
	for (int mode = 0; mode < 2; mode++) {
		once = mode == 0;
		for (n = 0; n < 2000 && !live_without(n); n++)
			;
		assert_in_range(n, 60, 1999);
	}
	/* The queue: what was there stays. */
	once = false;
	for (n = 0; n < 3; n++) {
		struct queue *q = queue_new(4);

		assert_non_null(q);
		if (n == 2)
			assert_int_equal(queue_add(q, STR("k"), STR("first"), NULL), 0);
		left = n % 2;
		assert_int_equal(queue_add(q, STR("k"), STR("second"), NULL), -ENOMEM);
		left = -1;
		assert_int_equal(queue_count(q), n == 2);
		queue_free(q);
	}
}

/* A name, Meta or address of ours that cannot be. */
static void
test_bad_config(void **state)
{
	static char longest[WIRE_NAME_MAX + 1];

	(void)state;
	memset(longest, 'n', sizeof(longest));
	for (int i = 0; i < 6; i++) {
		configure();
		switch (i) {
		case 0: config.name = STR(""); break;
		case 1: config.name = (struct str){ longest, WIRE_NAME_MAX }; break;
		case 2: config.meta = (struct str){ longest, WIRE_META_MAX + 1 }; break;
		case 3: config.addr.len = 0; break;
		case 4: config.vsn[0] = 0; break;
		case 5: config.vsn[0] = 6; break;
		}
		assert_null(swim_new(&config, &hooks, NULL, 1));
	}
	swim_free(NULL);
	swim_names_free(NULL);
	configure();
	start();
	assert_int_equal(swim_set_meta(s, now, (struct str){ longest, WIRE_META_MAX + 1 }), -ELIMIT);
	swim_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_messages), cmocka_unit_test(test_no_memory), cmocka_unit_test(test_bad_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
