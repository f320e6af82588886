/* gossip_serf_hostile.c - random and mutated messages at a Serf, and pools whose memory runs out. The seed is printed; argv[1] repeats one. */
#include <stddef.h>
#include <stdbool.h>

#include "t/unit/nomem.h"
#define NET_ALLOC __real_malloc
#include <time.h>

#include "t/unit/gossip_serf_net.h"

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused, once, closed;
static uint64_t first_seed;

static bool
refuse(void)
{
	if (!closed || left != 0) {
		left -= closed && left > 0;
		return false;
	}
	refused = true;
	left -= once;
	return true;
}

/* ---- messages that could be */

static uint64_t
any_number(struct lan *n)
{
	static const uint64_t some[] = { 0, 1, 2, 3, 511, 512, 513, 1000, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX - 1, UINT64_MAX };

	return net_random(n) % 3 == 0 ? some[net_random(n) % ARRAY_LEN(some)] : net_random(n) % 600;
}

static struct str
any_name(struct lan *n)
{
	static char longer[600];
	static const char *const some[] = { "a", "b", "c", "d", "e", "", "nobody", "x\ny", "_serf_ping", "_serf_conflict", "_serf_list-keys",
		"_serf_install-key", "_serf_" };

	if (net_random(n) % 10 == 0) {
		memset(longer, 'a' + (int)(net_random(n) % 26), sizeof(longer));
		return (struct str){ longer, net_random(n) % sizeof(longer) };
	}
	return str_from(some[net_random(n) % ARRAY_LEN(some)]);
}

static struct str
any_bytes(struct lan *n, char *to, size_t max)
{
	size_t len = net_random(n) % (max + 1);

	for (size_t i = 0; i < len; i++)
		to[i] = (char)net_random(n);
	return (struct str){ to, len };
}

static int
any_query(struct lan *n, struct buf *b)
{
	char ip[16], filters[3][40], payload[64];
	struct str v[3];
	struct msg_query m = { .ltime = any_number(n), .id = any_number(n) & UINT32_MAX, .addr = { ip, net_random(n) % 4 == 0 ? 16 : 4 },
		.port = net_random(n) % 2 == 0 ? 7946 : net_random(n) & 0xffff, .source_node = any_name(n), .filters = { v, net_random(n) % 4 },
		.flags = net_random(n) % 4, .relay_factor = net_random(n) & 255, .timeout = (int64_t)any_number(n), .name = any_name(n),
		.payload = any_bytes(n, payload, sizeof(payload)) };

	memcpy(ip, "\x7f\0\0\1AAAABBBBCCCC", 16);
	ip[3] = (char)(net_random(n) % 6);
	for (size_t i = 0; i < 3; i++) {
		v[i] = any_bytes(n, filters[i], sizeof(filters[i]));
		if (v[i].len > 3 && net_random(n) % 2 == 0) {
			memcpy(filters[i], "\x00\x91\xa1" "a", 4);
			v[i].len = 4;
		}
	}
	return wire_put(b, SERF_QUERY, &rec_msg_query, &m);
}

static int
any_state(struct lan *n, struct buf *b)
{
	struct str left_names[8], names[8];
	struct msg_ltime ltimes[8];
	struct msg_event events[4];
	struct msg_event_slot slots[4];
	struct msg_serf_state m = { .ltime = any_number(n), .event_ltime = any_number(n), .query_ltime = any_number(n),
		.left_members = { left_names, net_random(n) % 9 }, .status_ltimes = { names, ltimes, net_random(n) % 9 },
		.events = { slots, net_random(n) % 5 } };

	for (size_t i = 0; i < 8; i++) {
		left_names[i] = any_name(n);
		names[i] = any_name(n);
		ltimes[i].v = any_number(n);
	}
	for (size_t i = 0; i < 4; i++) {
		events[i] = (struct msg_event){ .name = any_name(n), .payload = any_name(n) };
		slots[i] = (struct msg_event_slot){ .ltime = any_number(n), .events = { events, net_random(n) % 5 } };
	}
	return wire_put(b, SERF_PUSH_PULL, &rec_msg_serf_state, &m);
}

static int
any_message(struct lan *n, struct buf *b)
{
	char payload[64], ip[4] = { 127, 0, 0, (char)(net_random(n) % 6) };
	struct msg_leave leave = { .ltime = any_number(n), .node = any_name(n), .prune = net_random(n) % 2 == 0 };
	struct msg_join join = { .ltime = any_number(n), .node = any_name(n) };
	struct msg_event event = { .ltime = any_number(n), .name = any_name(n), .payload = any_bytes(n, payload, sizeof(payload)) };
	struct msg_response response = { .ltime = any_number(n), .id = any_number(n) & UINT32_MAX, .from = any_name(n), .flags = net_random(n) % 4,
		.payload = any_bytes(n, payload, sizeof(payload)) };
	struct msg_relay relay = { .dest_ip = { ip, 4 }, .dest_zone = STR(""), .dest_name = any_name(n), .dest_port = 7946,
		.message = net_random(n) % 2 == 0 ? STR("\x05\x80") : any_bytes(n, payload, sizeof(payload)) };

	switch (net_random(n) % 7) {
	case 0:
		return wire_put(b, SERF_LEAVE, &rec_msg_leave, &leave);
	case 1:
		return wire_put(b, SERF_JOIN, &rec_msg_join, &join);
	case 2:
		return wire_put(b, SERF_EVENT, &rec_msg_event, &event);
	case 3:
		return any_query(n, b);
	case 4:
		return wire_put(b, SERF_RESPONSE, &rec_msg_response, &response);
	case 5:
		return wire_put_relay(b, &relay);
	default:
		return any_state(n, b);
	}
}

static void
mutate(struct lan *n, struct buf *b)
{
	for (unsigned i = net_random(n) % 4; i > 0 && b->len > 0; i--)
		b->data[net_random(n) % b->len] ^= (uint8_t)(1u << net_random(n) % 8);
	if (net_random(n) % 4 == 0)
		b->len = net_random(n) % (b->len + 1);
}

static void
ended(void *ctx, struct str from, bool ack, struct str payload)
{
	(void)ctx;
	(void)from;
	(void)ack;
	(void)payload;
}

/* Whatever came, it keeps its bounds and can be asked. */
static void
check(struct peer *p)
{
	size_t n = 0, counts[SERF_FAILED + 1] = { 0 };
	struct buf out = BUF_INIT(MiB);
	struct serf_member m, again;
	struct serf_stats st;

	for (size_t at = 0; serf_each(p->s, &at, &m); n++) {
		counts[m.status]++;
		assert_true(serf_find(p->s, swim_node_name(m.node), &again));
		assert_ptr_equal(m.node, again.node);
		assert_int_equal(m.status == SERF_FAILED || m.status == SERF_LEFT, m.gone_at != 0);
	}
	assert_int_equal(n, serf_count(p->s, SERF_NONE));
	for (int i = SERF_ALIVE; i <= SERF_FAILED; i++)
		assert_int_equal(counts[i], serf_count(p->s, i));
	assert_true(p->s->intents.n <= SERF_INTENTS_MAX);
	assert_true(p->s->rings.bytes <= SERF_RING_BYTES_MAX);
	assert_true(p->s->nasks <= SERF_ASKS_MAX && p->s->nown <= SERF_OWN_ANSWERS_MAX && p->s->nprunings <= SERF_ERASE_MAX);
	serf_get_stats(p->s, &st);
	assert_true(st.intent_queue <= 4096 && st.event_queue <= 4096 && st.query_queue <= 4096);
	assert_int_equal(serf_snapshot_write(p->s, &out), 0);
	buf_release(&out);
}

static void
hostile(uint64_t seed)
{
	struct lan *n = NET_ALLOC(sizeof(*n));
	struct serf_ask q = { .name = STR("q"), .answer = ended };
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);
	struct peer *a;
	char err[256];

	net_init(n, seed);
	net_pool(n, 4);
	a = &n->peers[0];
	a->reply = NULL;
	for (int i = 0; i < 3000; i++) {
		int rc = 0;

		a->heard[0] = a->lines[0] = 0;
		buf_clear(&b);
		assert_int_equal(any_message(n, &b), 0);
		if (net_random(n) % 2 == 0)
			mutate(n, &b);
		if (b.len > 0 && b.data[0] == SERF_PUSH_PULL)
			assert_int_equal(swim_merge(serf_swim(a->s), n->now, NULL, 0, (struct str){ (const char *)b.data, b.len },
			    net_random(n) % 2 == 0, err), 0);
		else
			swim_message(serf_swim(a->s), n->now, &n->peers[1].addr, WIRE_USER, (struct str){ (const char *)b.data, b.len });
		if (net_random(n) % 50 == 0 && a->s->nasks < SERF_ASKS_MAX)
			(void)serf_ask(a->s, n->now, &q, &rc);
		if (net_random(n) % 100 == 0) {
			for (size_t k = 0; k < n->n; k++)
				n->peers[k].heard[0] = n->peers[k].lines[0] = 0;
			net_run(n, SECOND);
		}
		if (i % 500 == 0)
			check(a);
	}
	check(a);
	buf_release(&b);
	net_release(n);
	free(n);
}

static void
test_hostile(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 10; i++) {
		print_message("# seed %" PRIu64 "\n", first_seed + i);
		hostile(first_seed + i);
	}
}

/* ---- memory runs out */

/* All that a pool does, on as few members as will do. */
static void
life(struct lan *n)
{
	struct strpair pair = { STR("k"), STR("v") };
	struct strmap tags = { &pair, 1 };
	struct str names[] = { STR("a") };
	struct serf_ask q = { .name = STR("_serf_list-keys"), .want_ack = true, .relay_factor = 1, .answer = ended };
	struct peer *a = &n->peers[0], *b = &n->peers[1];
	struct serf_previous prev;
	struct buf out = BUF_INIT(4096);
	size_t bad;
	char err[256];
	int rc = 0;

	closed = true;
	rc = serf_event(a->s, n->now, STR("e"), STR("1"), false, err);
	assert_true(rc == 0 || rc == -ENOMEM);
	(void)serf_ask(a->s, n->now, &q, &rc);
	q.name = STR("_serf_conflict");
	q.nodes = (struct strs){ names, 1 };
	q.tag = STR("x");
	q.payload = STR("b");
	(void)serf_ask(b->s, n->now, &q, &rc);
	rc = serf_set_tags(a->s, n->now, &tags);
	assert_true(rc == 0 || rc == -ENOMEM);
	closed = false;
	net_run(n, 100 * MS);
	closed = true;
	(void)serf_advance(a->s, n->now);
	rc = serf_force_leave(a->s, n->now, STR("c"), true);
	assert_true(rc == 0 || rc == -ENOMEM || rc == -ENOENT);
	serf_joined(a->s, n->now);
	rc = serf_snapshot_write(a->s, &out);
	assert_true(rc == 0 || rc == -ENOMEM);
	if (rc == 0) {
		rc = serf_snapshot_read((struct str){ (const char *)out.data, out.len }, false, &prev, &bad);
		assert_true(rc == 0 || rc == -ENOMEM);
		serf_previous_release(&prev);
	}
	rc = serf_leave(b->s, n->now);
	assert_int_equal(rc, 0);
	buf_release(&out);
	closed = false;
}

/* What comes from outside, with memory refused inside. */
static void
bombard(struct lan *n)
{
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);
	char err[256];

	for (int i = 0; i < 60; i++) {
		buf_clear(&b);
		assert_int_equal(any_message(n, &b), 0);
		closed = true;
		if (b.data[0] == SERF_PUSH_PULL)
			assert_int_equal(swim_merge(serf_swim(n->peers[0].s), n->now, NULL, 0, (struct str){ (const char *)b.data, b.len },
			    true, err), 0);
		else
			swim_message(serf_swim(n->peers[0].s), n->now, &n->peers[1].addr, WIRE_USER, (struct str){ (const char *)b.data, b.len });
		(void)serf_advance(n->peers[0].s, n->now);
		closed = false;
	}
	buf_release(&b);
}

/* One life with the Nth allocation refused, or all from it on. True: it was not reached. */
static bool
without(long at, bool only_one, bool starting)
{
	struct lan *n = NET_ALLOC(sizeof(*n));
	struct peer *p;

	net_init(n, 5);
	net_pool(n, 3);
	n->peers[0].nkeys = n->peers[1].nkeys = 2;
	refused = false;
	once = only_one;
	left = at;
	if (starting) {
		p = peer_new(n);
		closed = true;
		(void)peer_try(p);
		closed = false;
		if (p->s != NULL)
			(void)serf_advance(p->s, n->now);
	} else {
		life(n);
		bombard(n);
	}
	left = -1;
	/* With memory again it goes on, and tells the truth. */
	net_run(n, 20 * SECOND);
	check(&n->peers[0]);
	if (!starting)
		assert_true(n->peers[1].left);
	net_release(n);
	free(n);
	return !refused;
}

static void
test_start_without_memory(void **state)
{
	long n = 0;

	(void)state;
	while (!without(n, true, true))
		n++;
	assert_true(n > 5);
}

static void
test_life_without_memory(void **state)
{
	long n = 0;

	(void)state;
	for (int only_one = 0; only_one < 2; only_one++, n = 0) {
		while (!without(n, only_one != 0, false))
			n += 1 + n / 24;
		assert_true(n > 50);
	}
}

/* A member that there was no memory for is found when there is. */
static void
test_missed(void **state)
{
	struct lan *n = NET_ALLOC(sizeof(*n));
	struct peer *a;

	(void)state;
	net_init(n, 5);
	net_pool(n, 2);
	a = &n->peers[0];
	serf_roster_erase(a->s, serf_roster_find(a->s, STR("b")));
	assert_int_equal(status_of(a, "b"), SERF_NONE);
	/* Its joining is heard again, and the table can grow no more. */
	a->s->roster.cap = a->s->roster.n;
	closed = true;
	once = false;
	left = 0;
	serf_member_joined(a->s, swim_find(serf_swim(a->s), STR("b")));
	closed = false;
	left = -1;
	assert_int_equal(status_of(a, "b"), SERF_NONE);
	net_run(n, 20 * SECOND);
	assert_int_equal(status_of(a, "b"), SERF_ALIVE);
	net_release(n);
	free(n);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile), cmocka_unit_test(test_start_without_memory), cmocka_unit_test(test_life_without_memory),
		cmocka_unit_test(test_missed),
	};

	first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
