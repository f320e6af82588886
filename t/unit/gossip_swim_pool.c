/* gossip_swim_pool.c - pools of two to eight members on a network inside the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossipd/swim/swim.h"
#include "gossipd/wire/packet.h"
#include "gossipd/wire/stream.h"

enum { MEMBERS = 8, FLYING = 4096, MSEC = 1000000, LATENCY = 1 };

struct member {
	struct swim *s;
	struct swim_config c;
	char name[16];
	int conflicts, joined, gone;
};

enum what { DATAGRAM, STREAM_PING, STREAM_ACK, EXCHANGE };

struct flying {
	uint64_t at, id;
	enum what what;
	int from, to;
	uint32_t seqno;
	struct buf bytes;
};

static struct member members[MEMBERS];
static struct flying flying[FLYING];
static size_t nflying;
static uint64_t now, ids, seed, digest, sent, sent_bytes;
static bool udp_cut[MEMBERS][MEMBERS], tcp_cut[MEMBERS][MEMBERS];
static unsigned loss;			/* of 100 datagrams */
static struct wrap wrap;
static struct swim_names *names;

static uint32_t
rnd(void *ctx)
{
	(void)ctx;
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 32);
}

static void
digest_bytes(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		digest = (digest ^ ((const uint8_t *)p)[i]) * 1099511628211u;
}

static int
index_of(const struct gossip_addr *a)
{
	/* Port 7946 alone is listened on, at 10.0.0.1 and so on. */
	return a->port == 7946 && a->ip[0] == 10 && a->ip[3] >= 1 && a->ip[3] <= MEMBERS ? a->ip[3] - 1 : -1;
}

static struct flying *
fly(enum what what, int from, int to, uint64_t ms)
{
	struct flying *f;

	assert_true(nflying < FLYING);
	f = &flying[nflying++];
	*f = (struct flying){ .at = now + ms * MSEC, .id = ++ids, .what = what, .from = from, .to = to, .bytes = BUF_INIT(1 << 20) };
	return f;
}

static void
hook_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	int from = (int)((struct member *)ctx - members), target = index_of(to);
	struct flying *f;

	digest_bytes(&now, sizeof(now));
	digest_bytes(to->ip, 4);
	digest_bytes(&crc, sizeof(crc));
	digest_bytes(plain.p, plain.len);
	sent++;
	sent_bytes += plain.len;
	assert_true(plain.len <= 1400);
	if (target < 0 || udp_cut[from][target] || (loss > 0 && rnd(NULL) % 100 < loss))
		return;
	f = fly(DATAGRAM, from, target, LATENCY);
	assert_int_equal(buf_add(&f->bytes, plain.p, plain.len), 0);
}

static void
hook_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	int from = (int)((struct member *)ctx - members), target = index_of(to);

	assert_true(name.len > 0 && deadline >= now);
	if (target >= 0 && !tcp_cut[from][target] && !tcp_cut[target][from])
		fly(STREAM_PING, from, target, 2 * LATENCY)->seqno = seqno;
}

static void
hook_exchange(void *ctx, const struct gossip_addr *to, struct str name)
{
	int from = (int)((struct member *)ctx - members), target = index_of(to);

	assert_true(name.len > 0);
	if (target >= 0 && !tcp_cut[from][target] && !tcp_cut[target][from])
		(void)fly(EXCHANGE, from, target, 2 * LATENCY);
}

static void
hook_joined(void *ctx, struct swim_node *n)
{
	(void)n;
	((struct member *)ctx)->joined++;
}

static void
hook_gone(void *ctx, struct swim_node *n)
{
	(void)n;
	((struct member *)ctx)->gone++;
}

static void
hook_conflict(void *ctx, const struct swim_node *known, const struct msg_alive *other)
{
	(void)known;
	assert_true(other->addr.len == 4);
	((struct member *)ctx)->conflicts++;
}

static void
start(int i, const char *name)
{
	struct swim_hooks h = { .ctx = &members[i], .random = rnd, .send = hook_send, .stream_ping = hook_stream_ping, .exchange = hook_exchange,
		.joined = hook_joined, .gone = hook_gone, .conflict = hook_conflict };
	struct member *m = &members[i];

	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	m->c.name = str_from(m->name);
	m->c.addr = (struct gossip_addr){ .ip = { 10, 0, 0, (uint8_t)(i + 1) }, .len = 4, .port = 7946 };
	m->conflicts = m->joined = m->gone = 0;
	m->s = swim_new(&m->c, &h, names, now);
	assert_non_null(m->s);
}

static void
stop(int i)
{
	swim_free(members[i].s);
	members[i].s = NULL;
}

/* ---- what arrives */

struct arrival {
	struct swim *s;
	struct gossip_addr from;
};

static void
message(void *ctx, uint8_t type, struct str body)
{
	struct arrival *a = ctx;

	swim_message(a->s, now, &a->from, type, body);
}

/* One side's whole state to the other. */
static void
push(struct swim *from, struct swim *to, bool join)
{
	struct buf b = BUF_INIT(1 << 20);
	struct stream_reader *r = stream_reader_new(&wrap, true, 1 << 20);
	const struct stream_message *m;
	const char *why = "";
	char err[256];

	assert_non_null(r);
	assert_int_equal(swim_put_state(from, join, &b), 0);
	assert_int_equal(stream_reader_add(r, b.data, b.len, &why), 1);
	m = stream_reader_message(r);
	assert_true(m->type == WIRE_PUSH_PULL && m->join == join);
	assert_int_equal(swim_merge(to, now, m->rows, m->nrows, m->user_state, m->join, err), 0);
	stream_reader_free(r);
	buf_release(&b);
}

static void
exchange(int a, int b, bool join)
{
	if (members[a].s == NULL || members[b].s == NULL)
		return;
	push(members[a].s, members[b].s, join);
	push(members[b].s, members[a].s, join);
}

static void
arrive(struct flying *f)
{
	struct arrival a = { members[f->to].s, members[f->from].c.addr };

	if (a.s == NULL)
		return;
	switch (f->what) {
	case DATAGRAM:
		assert_int_equal(packet_unwrap(&wrap, (struct str){ (const char *)f->bytes.data, f->bytes.len }, message, &a), PACKET_OK);
		return;
	case STREAM_PING:
		fly(STREAM_ACK, f->to, f->from, LATENCY)->seqno = f->seqno;
		return;
	case STREAM_ACK:
		swim_stream_acked(a.s, now, f->seqno);
		return;
	case EXCHANGE:
		exchange(f->from, f->to, false);
		return;
	}
}

/* The earliest, of equals the first that was sent. */
static size_t
earliest(void)
{
	size_t best = nflying;

	for (size_t i = 0; i < nflying; i++)
		if (best == nflying || flying[i].at < flying[best].at || (flying[i].at == flying[best].at && flying[i].id < flying[best].id))
			best = i;
	return best;
}

/* One thing that is due until then. */
static bool
step(uint64_t end)
{
	size_t f = earliest();
	uint64_t at = f < nflying ? flying[f].at : UINT64_MAX, next;
	struct flying one;
	int who = -1;

	for (int i = 0; i < MEMBERS; i++)
		if (members[i].s != NULL && (next = swim_next(members[i].s)) < at) {
			at = next;
			who = i;
		}
	if (at > end)
		return false;
	now = at > now ? at : now;
	if (who >= 0) {
		assert_true(swim_advance(members[who].s, now) > now);
		return true;
	}
	one = flying[f];
	flying[f] = flying[--nflying];
	arrive(&one);
	buf_release(&one.bytes);
	return true;
}

static void
run(uint64_t ms)
{
	uint64_t end = now + ms * MSEC;

	while (step(end))
		;
	now = end;
}

/* Until it holds; how many milliseconds that took. */
static uint64_t
run_until(bool (*holds)(void), uint64_t ms)
{
	uint64_t begin = now, end = now + ms * MSEC;

	while (!holds())
		if (!step(end))
			fail_msg("it has not come to be within %d ms", (int)ms);
	return (now - begin) / MSEC;
}

static void
finish(void)
{
	for (int i = 0; i < MEMBERS; i++)
		stop(i);
	while (nflying > 0)
		buf_release(&flying[--nflying].bytes);
	swim_names_free(names);
	wrap_release(&wrap);
	names = NULL;
}

/* n members, none of which knows another. */
static void
begin(int n, uint64_t with_seed)
{
	const char *other = getenv("SEED");
	char name[16];

	wrap_init(&wrap);
	names = swim_names_new();
	assert_non_null(names);
	now = 1000000 * (uint64_t)MSEC;
	/* SEED=N in the environment tries others. */
	seed = with_seed + 1000 * (other != NULL ? strtoull(other, NULL, 10) : 0);
	digest = ids = sent = sent_bytes = 0;
	loss = 0;
	memset(udp_cut, 0, sizeof(udp_cut));
	memset(tcp_cut, 0, sizeof(tcp_cut));
	for (int i = 0; i < MEMBERS; i++) {
		swim_config_lan(&members[i].c);
		members[i].c.meta = STR("tags");
		(void)snprintf(name, sizeof(name), "n%d", i + 1);
		if (i < n)
			start(i, name);
	}
}

/* ---- who holds whom for what */

static int
state_at(int i, const char *name)
{
	struct swim_node *n = swim_find(members[i].s, str_from(name));

	return n != NULL ? (int)swim_node_state(n) : -1;
}

static bool
all_agree(int n)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			if (members[i].s != NULL && members[j].s != NULL && state_at(i, members[j].name) != SWIM_ALIVE)
				return false;
	return true;
}

static int size;

static bool
agreed(void)
{
	return all_agree(size);
}

/* Everybody else holds the last of them for that. */
static bool
last_is(int state)
{
	for (int i = 0; i < size - 1; i++)
		if (state_at(i, members[size - 1].name) != state)
			return false;
	return true;
}

/* Dropped from a table already, or dead. */
static bool
last_gone(void)
{
	for (int i = 0; i < size - 1; i++)
		if (state_at(i, members[size - 1].name) != SWIM_DEAD && state_at(i, members[size - 1].name) != -1)
			return false;
	return true;
}

static bool
last_forgotten(void)
{
	return last_is(-1);
}

static bool
last_left(void)
{
	return last_is(SWIM_LEFT);
}

static bool
last_alive(void)
{
	return last_is(SWIM_ALIVE);
}

/*
 * Gossip misses a member now and then, one in a hundred in pools as small as these, and then a push/pull brings it: what must come
 * to be has this long. (Time is simulated.)
 */
enum { LONG = 300000 };

/* All joined through the first. */
static void
form(int n, uint64_t with_seed)
{
	begin(n, with_seed);
	size = n;
	for (int i = 1; i < n; i++) {
		run(300);
		exchange(i, 0, true);
	}
	(void)run_until(agreed, LONG);
	run(3000);
}

static void
cut_udp(int i, int j)
{
	udp_cut[i][j] = udp_cut[j][i] = true;
}

static uint64_t
total(uint64_t (*of)(const struct swim_stats *t))
{
	uint64_t sum = 0;

	for (int i = 0; i < MEMBERS; i++)
		if (members[i].s != NULL)
			sum += of(swim_stats(members[i].s));
	return sum;
}

static uint64_t
suspicions(const struct swim_stats *t)
{
	return t->suspected;
}

static uint64_t
refutations(const struct swim_stats *t)
{
	return t->refuted;
}

static uint64_t
faults(const struct swim_stats *t)
{
	return t->malformed + t->dropped_messages + t->refused_members;
}

/* ---- tests */

static void
test_join(void **state)
{
	(void)state;
	for (int n = 2; n <= MEMBERS; n++) {
		form(n, (uint64_t)n);
		run(120000);
		assert_true(agreed());
		assert_int_equal(total(suspicions), 0);
		assert_int_equal(total(faults), 0);
		for (int i = 0; i < n; i++) {
			assert_int_equal(members[i].joined, n - 1);
			assert_int_equal(members[i].gone, 0);
			assert_int_equal(swim_count(members[i].s), n);
			assert_int_equal(swim_health(members[i].s), 0);
			assert_int_equal(swim_node_incarnation(swim_self(members[i].s)), 1);
		}
		finish();
	}
}

static void
test_failure(void **state)
{
	uint64_t took;

	(void)state;
	for (int n = 2; n <= MEMBERS; n++) {
		form(n, 100 + (uint64_t)n);
		stop(n - 1);
		took = run_until(last_gone, LONG);
		/* A probe that fails, and at least the shortest suspicion; at most a round of probes, and the longest. */
		assert_true(took >= 4000 && took <= 45000);
		assert_true(agreed());
		for (int i = 0; i < n - 1; i++)
			assert_true(members[i].gone >= 1);
		/* Dropped in the end. */
		(void)run_until(last_forgotten, LONG);
		finish();
	}
}

/* Two that cannot reach each other by datagrams are alive to each other through the others. */
static void
test_indirect(void **state)
{
	(void)state;
	form(5, 7);
	cut_udp(0, 1);
	tcp_cut[0][1] = true;
	run(120000);
	assert_true(agreed());
	assert_int_equal(total(suspicions), 0);
	assert_true(swim_stats(members[2].s)->indirect > 0);
	finish();
}

/* No datagram comes through to or from the last, but TCP does. */
static void
test_stream_fallback(void **state)
{
	(void)state;
	for (int streams = 0; streams < 2; streams++) {
		form(4, 8);
		for (int i = 0; i < 3; i++)
			cut_udp(i, 3);
		for (int i = 0; i < 3 && !streams; i++)
			tcp_cut[i][3] = true;
		if (streams) {
			run(60000);
			assert_true(last_alive());
			assert_true(members[0].gone == 0 && swim_stats(members[0].s)->probes_failed > 0);
		} else {
			(void)run_until(last_gone, LONG);
		}
		finish();
	}
}

static void
accuse(int at, uint8_t type, const char *who, const char *from, uint32_t incarnation)
{
	struct msg_accuse m = { .incarnation = incarnation, .node = str_from(who), .from = str_from(from) };
	struct buf b = BUF_INIT(1024);

	assert_int_equal(wire_put_body(&b, &rec_msg_accuse, &m), 0);
	swim_message(members[at].s, now, &members[at].c.addr, type, (struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static void
test_refute(void **state)
{
	(void)state;
	form(6, 9);
	accuse(1, WIRE_SUSPECT, "n6", "n3", 1);
	assert_int_equal(state_at(1, "n6"), SWIM_SUSPECT);
	run(10000);
	(void)run_until(agreed, LONG);
	assert_true(swim_node_incarnation(swim_self(members[5].s)) >= 2);
	assert_true(swim_stats(members[5].s)->refuted >= 1);
	/* Even one that is said to be dead comes back. */
	accuse(1, WIRE_DEAD, "n6", "n3", 2);
	accuse(2, WIRE_DEAD, "n6", "n6", 2);
	assert_int_equal(state_at(2, "n6"), SWIM_LEFT);
	(void)run_until(agreed, LONG);
	assert_true(swim_node_incarnation(swim_self(members[5].s)) >= 3);
	finish();
}

static bool
renamed(void)
{
	for (int i = 0; i < 5; i++)
		if (state_at(i, "n5") != SWIM_ALIVE || !str_eqs(swim_node_meta(swim_find(members[i].s, STR("n5"))), "three"))
			return false;
	return true;
}

static void
test_restart(void **state)
{
	(void)state;
	/* Quickly, before anybody noticed: with another Meta. */
	form(5, 10);
	assert_int_equal(swim_set_meta(members[4].s, now, STR("one")), 0);
	assert_int_equal(swim_set_meta(members[4].s, now, STR("two")), 0);
	run(3000);
	stop(4);
	members[4].c.meta = STR("three");
	start(4, "n5");
	exchange(4, 1, true);
	run(10000);
	(void)run_until(renamed, LONG);
	for (int i = 0; i < 4; i++)
		assert_true(str_eqs(swim_node_meta(swim_find(members[i].s, STR("n5"))), "three"));
	assert_true(swim_node_incarnation(swim_self(members[4].s)) > 3);
	/* After all held it for dead. */
	stop(4);
	(void)run_until(last_gone, LONG);
	start(4, "n5");
	exchange(4, 0, true);
	(void)run_until(agreed, LONG);
	finish();
}

static void
test_leave(void **state)
{
	(void)state;
	form(7, 11);
	assert_int_equal(swim_leave(members[6].s, now), 0);
	assert_true(swim_leaving(members[6].s) && !swim_left(members[6].s));
	(void)run_until(last_left, LONG);
	run(3000);
	assert_true(swim_left(members[6].s));
	/* What it hears after that does not bring it back. */
	accuse(6, WIRE_SUSPECT, "n7", "n1", 9);
	run(10000);
	assert_true(last_left());
	stop(6);
	run(5000);
	/* Its name may come back at once, with an incarnation that is lower. */
	start(6, "n7");
	exchange(6, 3, true);
	(void)run_until(agreed, LONG);
	finish();
}

static void
test_conflict(void **state)
{
	(void)state;
	form(4, 12);
	/* A fifth takes the third's name. */
	start(4, "n3");
	exchange(4, 0, true);
	run(5000);
	assert_true(members[0].conflicts > 0 && members[4].conflicts > 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(swim_node_addr(swim_find(members[i].s, STR("n3")))->ip[3], 3);
	assert_int_equal(state_at(1, "n3"), SWIM_ALIVE);
	finish();
}

static bool
third_moved(void)
{
	for (int i = 0; i < 2; i++) {
		struct swim_node *n = swim_find(members[i].s, STR("n3"));

		if (n == NULL || swim_node_state(n) != SWIM_ALIVE || swim_node_addr(n)->ip[3] != 5)
			return false;
	}
	return true;
}

static void
test_reclaim(void **state)
{
	(void)state;
	form(3, 13);
	for (int i = 0; i < 3; i++)
		stop(i);
	finish();
	begin(0, 13);
	for (int i = 0; i < MEMBERS; i++) {
		members[i].c.reclaim_ms = 10000;
		members[i].c.gossip_to_dead_ms = 600000;
	}
	start(0, "n1");
	start(1, "n2");
	start(2, "n3");
	exchange(1, 0, true);
	exchange(2, 0, true);
	run(3000);
	stop(2);
	size = 3;
	(void)run_until(last_gone, LONG);
	start(4, "n3");
	exchange(4, 0, true);
	run(3000);
	/* Too early. */
	assert_false(third_moved());
	assert_true(members[0].conflicts > 0);
	run(12000);
	exchange(4, 0, true);
	(void)run_until(third_moved, LONG);
	finish();
}

static bool
apart(void)
{
	for (int i = 0; i < 8; i++)
		for (int j = 0; j < 8; j++)
			if (i / 4 != j / 4 && state_at(i, members[j].name) != SWIM_DEAD)
				return false;
	return true;
}

static void
test_partition(void **state)
{
	(void)state;
	form(8, 14);
	for (int i = 0; i < 4; i++)
		for (int j = 4; j < 8; j++) {
			cut_udp(i, j);
			tcp_cut[i][j] = true;
		}
	(void)run_until(apart, 40000);
	for (int i = 0; i < 8; i++)
		assert_int_equal(swim_alive(members[i].s), 4);
	memset(udp_cut, 0, sizeof(udp_cut));
	memset(tcp_cut, 0, sizeof(tcp_cut));
	/* Push/pulls, as the layer above makes them with those that failed: they hear that they are dead, and say that they are not. */
	exchange(0, 4, true);
	for (int tries = 0; tries < 30 && !agreed(); tries++) {
		exchange(tries % 4, 4 + tries % 4, true);
		run(10000);
	}
	assert_true(agreed());
	finish();
}

/* Cut off for short: whether it refutes in time or only when it hears that it is dead, it is back without any help. */
static void
test_short_partition(void **state)
{
	(void)state;
	form(8, 17);
	for (int i = 0; i < 7; i++) {
		cut_udp(i, 7);
		tcp_cut[i][7] = true;
	}
	run(4000);
	assert_false(agreed());
	memset(udp_cut, 0, sizeof(udp_cut));
	memset(tcp_cut, 0, sizeof(tcp_cut));
	(void)run_until(agreed, LONG);
	assert_true(total(refutations) > 0);
	finish();
}

static void
test_loss(void **state)
{
	uint64_t false_deaths = 0;

	(void)state;
	form(8, 15);
	loss = 10;
	run(300000);
	for (int i = 0; i < 8; i++)
		false_deaths += (uint64_t)members[i].gone;
	assert_int_equal(false_deaths, 0);
	finish();
}

static uint64_t
digest_of(uint64_t with_seed)
{
	uint64_t d;

	form(8, with_seed);
	loss = 5;
	run(20000);
	stop(7);
	run(30000);
	assert_int_equal(swim_leave(members[6].s, now), 0);
	run(10000);
	d = digest;
	finish();
	return d;
}

static void
test_determinism(void **state)
{
	uint64_t a = digest_of(99), b = digest_of(99), c = digest_of(98);

	(void)state;
	assert_true(a == b);
	assert_true(a != c);
}

/* What a quiet pool costs: probes and their answers, no more. */
static void
test_quiet(void **state)
{
	(void)state;
	form(8, 16);
	run(60000);
	sent = sent_bytes = 0;
	run(100000);
	/* Each second of each: one ping, and one ack. */
	assert_true(sent <= 8 * 100 * 2 + 16);
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join), cmocka_unit_test(test_failure), cmocka_unit_test(test_indirect), cmocka_unit_test(test_stream_fallback),
		cmocka_unit_test(test_refute), cmocka_unit_test(test_restart), cmocka_unit_test(test_leave), cmocka_unit_test(test_conflict),
		cmocka_unit_test(test_reclaim), cmocka_unit_test(test_partition), cmocka_unit_test(test_short_partition), cmocka_unit_test(test_loss), cmocka_unit_test(test_determinism),
		cmocka_unit_test(test_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
