/* gossip_serf_snapshot.c - the snapshot file: the lines that are told, the whole file anew, and reading what was left of one. */
#include "t/unit/gossip_serf_net.h"

static struct serf_previous prev;
static size_t bad;

static void
read_text(const char *text, bool rejoin)
{
	serf_previous_release(&prev);
	assert_int_equal(serf_snapshot_read(str_from(text), rejoin, &prev, &bad), 0);
}

static const char *
addr_of(const char *name)
{
	static char text[64];

	for (size_t i = 0; i < prev.n; i++) {
		const uint8_t *ip = prev.alive[i].addr.ip;

		if (strcmp(prev.alive[i].name, name) != 0)
			continue;
		(void)snprintf(text, sizeof(text), "%zu:%d.%d..%d:%d", (size_t)prev.alive[i].addr.len, ip[0], ip[1], ip[15], prev.alive[i].addr.port);
		return text;
	}
	return "none";
}

static void
test_read(void **state)
{
	(void)state;
	read_text("", false);
	assert_int_equal(prev.n, 0);
	assert_int_equal(bad, 0);
	read_text("alive: a 127.0.0.1:8301\nclock: 5\nevent-clock: 6\nalive: b c 10.1.2.3:1\nquery-clock: 7\n"
	    "coordinate: {\"Vec\":[0]}\n# a comment\n\nclock: 8\nalive: six [::1]:8301\nnot-alive: a\nnot-alive: nobody\n", false);
	assert_int_equal(bad, 0);
	assert_int_equal(prev.n, 2);
	assert_int_equal(prev.clock, 8);
	assert_int_equal(prev.event_clock, 6);
	assert_int_equal(prev.query_clock, 7);
	assert_false(prev.left);
	assert_string_equal(addr_of("a"), "none");
	/* The address is the last word. */
	assert_string_equal(addr_of("b c"), "4:10.1..0:1");
	assert_string_equal(addr_of("six"), "16:0.0..1:8301");
	/* Twice: the last counts, also behind a not-alive. */
	read_text("alive: a 127.0.0.1:1\nalive: a 128.2.0.1:2\nnot-alive: a\nalive: a 129.3.0.1:3\n", false);
	assert_int_equal(prev.n, 1);
	assert_string_equal(addr_of("a"), "4:129.3..0:3");
	serf_previous_release(&prev);
}

static void
test_read_leave(void **state)
{
	static const char text[] = "alive: a 127.0.0.1:1\nclock: 5\nevent-clock: 6\nquery-clock: 7\nleave\n";

	(void)state;
	read_text(text, false);
	assert_true(prev.left);
	assert_int_equal(prev.n, 0);
	assert_int_equal(prev.clock + prev.event_clock + prev.query_clock, 0);
	read_text(text, true);
	assert_true(prev.left);
	assert_int_equal(prev.n, 1);
	assert_int_equal(prev.clock, 5);
	/* A life behind it. */
	read_text("alive: a 127.0.0.1:1\nleave\nalive: b 127.0.0.2:2\nclock: 3\n", false);
	assert_false(prev.left);
	assert_int_equal(prev.n, 1);
	assert_string_equal(addr_of("b"), "4:127.0..0:2");
	assert_int_equal(prev.clock, 3);
	serf_previous_release(&prev);
}

static void
test_read_damaged(void **state)
{
	static const char *const lines[] = { "alive: a", "alive: ", "alive:  127.0.0.1:1", "alive: a 127.0.0.1", "alive: a 127.0.0.1:0",
		"alive: a 127.0.0.1:65536", "alive: a 127.0.0.1:", "alive: a 127.0.0:1", "alive: a [::1:1", "alive: a ::1:1", "alive: a []:1",
		"alive: a 127.0.0.1:1x", "alive: a ", "clock: ", "clock: x", "clock: -1", "clock: 18446744073709551616", "leaveX", "gibberish",
		"Alive: a 127.0.0.1:1", "alive: a [:1" };
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		(void)snprintf(text, sizeof(text), "alive: z 127.0.0.1:1\n%s\nclock: 9\n", lines[i]);
		read_text(text, false);
		if (bad != 1 || prev.n != 1 || prev.clock != 9)
			fail_msg("%s: %zu bad, %zu alive, clock %" PRIu64, lines[i], bad, prev.n, prev.clock);
	}
	/* The last line was torn: its half must not be taken for a whole. */
	read_text("clock: 5\nalive: a 127.0.0.1:83", false);
	assert_int_equal(bad, 1);
	assert_int_equal(prev.n, 0);
	assert_int_equal(serf_snapshot_read((struct str){ "alive: a\0b 1.2.3.4:5\n", 21 }, false, &prev, &bad), 0);
	assert_int_equal(bad, 1);
	serf_previous_release(&prev);
}

static void
test_read_many(void **state)
{
	struct buf b = BUF_INIT(64 * MiB);

	(void)state;
	for (unsigned i = 0; i < SERF_PREVIOUS_MAX + 10; i++)
		assert_int_equal(buf_addf(&b, "alive: node-%u 10.%u.%u.1:8301\n", i, i >> 8 & 255, i & 255), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(buf_addf(&b, "not-alive: node-%u\n", i), 0);
	assert_int_equal(serf_snapshot_read((struct str){ (const char *)b.data, b.len }, false, &prev, &bad), 0);
	assert_int_equal(bad, 10);
	assert_int_equal(prev.n, SERF_PREVIOUS_MAX - 1000);
	serf_previous_release(&prev);
	buf_release(&b);
}

static void
test_write(void **state)
{
	struct lan *net = NET_ALLOC(sizeof(*net));
	struct buf out = BUF_INIT(1 << 16), tight = BUF_INIT(30);
	char err[256];
	struct peer *a;

	(void)state;
	net_init(net, 3);
	net_pool(net, 4);
	a = &net->peers[0];
	assert_int_equal(serf_event(a->s, net->now, STR("e"), STR(""), false, err), 0);
	peer_stop(&net->peers[3]);
	net_until(net, "d", SERF_FAILED, 60 * SECOND);
	net_run(net, SECOND);
	/* Told line by line. */
	assert_non_null(strstr(a->lines, "alive: a 127.0.0.1:7946\n"));
	assert_non_null(strstr(a->lines, "alive: d 127.0.0.4:7946\n"));
	assert_non_null(strstr(a->lines, "not-alive: d\n"));
	assert_non_null(strstr(a->lines, "\nevent-clock: 1\n"));
	assert_null(strstr(a->lines, "query-clock"));
	read_text(a->lines, false);
	assert_int_equal(bad, 0);
	assert_int_equal(prev.n, 3);
	assert_int_equal(prev.clock, a->s->clock - 1);
	/* And as a whole: the same. */
	assert_int_equal(serf_snapshot_write(a->s, &out), 0);
	assert_int_equal(buf_addc(&out, 0), 0);
	read_text((const char *)out.data, false);
	assert_int_equal(bad, 0);
	assert_int_equal(prev.n, 3);
	assert_int_equal(prev.clock, a->s->clock - 1);
	assert_int_equal(prev.event_clock, 1);
	assert_int_equal(serf_snapshot_write(a->s, &tight), -ELIMIT);
	assert_int_equal(tight.len, 0);
	/* Leaving: said at once, and nothing behind it. */
	assert_int_equal(serf_leave(a->s, net->now), 0);
	net_run(net, 10 * SECOND);
	assert_true(a->left);
	assert_string_equal(a->lines + strlen(a->lines) - 7, "\nleave\n");
	buf_clear(&out);
	assert_int_equal(serf_snapshot_write(a->s, &out), 0);
	assert_int_equal(buf_addc(&out, 0), 0);
	assert_null(strstr((char *)out.data, "alive"));
	assert_non_null(strstr((char *)out.data, "\nleave\n"));
	serf_previous_release(&prev);
	buf_release(&out);
	buf_release(&tight);
	net_release(net);
	free(net);
}

/* A name must not become a line of its own. */
static void
test_write_names(void **state)
{
	struct lan *net = NET_ALLOC(sizeof(*net));
	uint8_t ip[4] = { 127, 0, 0, 9 };
	struct msg_alive m = { .incarnation = 1, .node = STR("x\nleave\ny"), .addr = { (const char *)ip, 4 }, .port = 1, .meta = STR("\xff\x80"),
		.vsn = STR("\1\5\2\2\5\4") };
	struct buf b = BUF_INIT(1024), out = BUF_INIT(4096);
	struct peer *a;

	(void)state;
	net_init(net, 3);
	net_pool(net, 1);
	a = &net->peers[0];
	assert_int_equal(wire_put_body(&b, &rec_msg_alive, &m), 0);
	swim_message(serf_swim(a->s), net->now, &a->addr, WIRE_ALIVE, (struct str){ (const char *)b.data, b.len });
	assert_int_equal(serf_count(a->s, SERF_NONE), 2);
	assert_null(strstr(a->lines, "leave"));
	assert_int_equal(serf_snapshot_write(a->s, &out), 0);
	assert_null(memmem(out.data, out.len, "leave", 5));
	buf_release(&b);
	buf_release(&out);
	net_release(net);
	free(net);
}

static void
test_resume(void **state)
{
	struct lan *net = NET_ALLOC(sizeof(*net));
	struct peer *a;

	(void)state;
	net_init(net, 3);
	a = peer_new(net);
	peer_start(a);
	read_text("clock: 10\nevent-clock: 20\nquery-clock: 30\n", false);
	serf_resume(a->s, &prev);
	assert_int_equal(a->s->clock, 11);
	assert_int_equal(a->s->event_clock, 21);
	assert_int_equal(a->s->query_clock, 31);
	assert_int_equal(a->s->event_min, 21);
	assert_int_equal(a->s->query_min, 31);
	/* What the file says already is not told again. */
	net_run(net, SECOND);
	assert_null(strstr(a->lines, "clock"));
	serf_previous_release(&prev);
	net_release(net);
	free(net);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read), cmocka_unit_test(test_read_leave), cmocka_unit_test(test_read_damaged),
		cmocka_unit_test(test_read_many), cmocka_unit_test(test_write), cmocka_unit_test(test_write_names), cmocka_unit_test(test_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
