/* gossip_serf_pool.c - small pools: joining, leaving, failing, events, queries, keys, reaping, coming back. */
#include "t/unit/gossip_serf_net.h"

static struct lan *net;

static int
setup(void **state)
{
	(void)state;
	net = NET_ALLOC(sizeof(*net));
	net_init(net, 42);
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

static struct peer *
peer(char name)
{
	return &net->peers[name - 'a'];
}

static void
on_answer(void *ctx, struct str from, bool ack, struct str payload)
{
	if (from.len == 0)
		heard(ctx, " end ");
	else if (ack)
		heard(ctx, " ack:%.*s ", STR_ARG(from));
	else
		heard(ctx, " answer:%.*s=%.*s ", STR_ARG(from), STR_ARG(payload));
}

static uint64_t
ask(struct peer *p, struct serf_ask q)
{
	int rc = 0;
	uint64_t number;

	q.answer = on_answer;
	q.ctx = p;
	number = serf_ask(p->s, net->now, &q, &rc);
	assert_int_equal(rc, 0);
	assert_true(number > 0);
	return number;
}

static void
test_join(void **state)
{
	(void)state;
	net_pool(net, 8);
	for (size_t i = 0; i < net->n; i++) {
		struct peer *p = &net->peers[i];

		assert_int_equal(serf_count(p->s, SERF_NONE), 8);
		assert_int_equal(serf_count(p->s, SERF_ALIVE), 8);
		assert_int_equal(serf_asked_of(p->s), 8);
		for (char c = 'a'; c < 'a' + 8; c++) {
			char word[] = { 'j', 'o', 'i', 'n', ':', c, 0 };

			assert_int_equal(times(p, word), 1);
		}
		assert_int_equal(serf_own_status(p->s), SERF_ALIVE);
	}
	/* Their join intents are all heard, of push/pulls by whom gossip missed: nobody is left at Lamport time 0 but who never joined anybody. */
	net_run(net, 35 * SECOND);
	for (size_t i = 0, at = 0; i < net->n; i++, at = 0) {
		struct serf_member m;

		while (serf_each(net->peers[i].s, &at, &m))
			if (!str_eqs(swim_node_name(m.node), "a"))
				assert_true(m.status_ltime > 0);
	}
}

static void
test_leave(void **state)
{
	uint64_t from;

	(void)state;
	net_pool(net, 4);
	from = net->now;
	assert_int_equal(serf_leave(peer('c')->s, net->now), 0);
	assert_int_equal(serf_leave(peer('c')->s, net->now), -EALREADY);
	assert_int_equal(serf_own_status(peer('c')->s), SERF_LEAVING);
	while (!peer('c')->left) {
		assert_true(net->now - from < 20 * SECOND);
		net_step(net);
	}
	/* Both messages were sent their full number of times, and 3 s passed. */
	assert_true(net->now - from >= 3 * SECOND);
	assert_true(net->now - from < 8 * SECOND);
	assert_int_equal(serf_own_status(peer('c')->s), SERF_LEFT);
	for (const char *c = "abd"; *c != 0; c++) {
		assert_int_equal(status_of(peer(*c), "c"), SERF_LEFT);
		assert_int_equal(times(peer(*c), "leaving:c"), 1);
		assert_int_equal(times(peer(*c), "leave:c"), 1);
		assert_int_equal(times(peer(*c), "failed:c"), 0);
	}
	assert_int_equal(times(peer('c'), "leave:c"), 1);
	assert_int_equal(status_of(peer('c'), "c"), SERF_LEFT);
}

static void
test_leave_alone(void **state)
{
	uint64_t from;

	(void)state;
	peer_new(net)->config.tombstone_timeout_ms = 1000;
	peer_start(peer('a'));
	net_run(net, SECOND);
	from = net->now;
	assert_int_equal(serf_leave(peer('a')->s, net->now), 0);
	while (!peer('a')->left && net->now < from + 10 * SECOND)
		net_step(net);
	assert_true(peer('a')->left);
	/* Nobody to tell, nothing to wait for. */
	assert_int_equal(net->now - from, 0);
	/* We do not erase ourselves. */
	net_run(net, 60 * SECOND);
	assert_int_equal(status_of(peer('a'), "a"), SERF_LEFT);
}

/* The others have all died, unseen yet: the leave ends by its time-outs. */
static void
test_leave_unheard(void **state)
{
	uint64_t from;

	(void)state;
	net_pool(net, 3);
	net->loss = 100;
	from = net->now;
	assert_int_equal(serf_leave(peer('a')->s, net->now), 0);
	while (!peer('a')->left && net->now < from + 60 * SECOND)
		net_step(net);
	assert_true(peer('a')->left);
	assert_true(net->now - from <= 13 * SECOND + SECOND);
}

/* SWIM's death alone, without the intent, is a failure (the third trap). */
static void
test_dead_without_intent(void **state)
{
	(void)state;
	net_pool(net, 3);
	assert_int_equal(swim_leave(serf_swim(peer('b')->s), net->now), 0);
	net_until(net, "b", SERF_FAILED, 30 * SECOND);
	assert_int_equal(times(peer('a'), "failed:b"), 1);
}

static void
test_fail_and_return(void **state)
{
	struct serf_member m;

	(void)state;
	net_pool(net, 5);
	peer_stop(peer('e'));
	net_until(net, "e", SERF_FAILED, 60 * SECOND);
	for (const char *c = "abcd"; *c != 0; c++)
		assert_int_equal(times(peer(*c), "failed:e"), 1);
	/* Longer than SWIM keeps its entry. */
	net_run(net, 120 * SECOND);
	assert_null(swim_find(serf_swim(peer('a')->s), STR("e")));
	assert_int_equal(status_of(peer('a'), "e"), SERF_FAILED);
	assert_int_equal(serf_count(peer('a')->s, SERF_FAILED), 1);
	peer_start(peer('e'));
	peer_join(peer('e'), peer('b'));
	net_until(net, "e", SERF_ALIVE, 30 * SECOND);
	assert_int_equal(times(peer('a'), "join:e"), 2);
	assert_int_equal(serf_count(peer('a')->s, SERF_NONE), 5);
	assert_true(serf_find(peer('a')->s, STR("e"), &m));
	assert_int_equal(m.gone_at, 0);
}

/* A failed member is tried again, and found without doing anything itself. */
static void
test_reconnect(void **state)
{
	(void)state;
	net_pool(net, 3);
	net->cut[2] = true;
	net_until(net, "c", SERF_FAILED, 60 * SECOND);
	net_run(net, 120 * SECOND);
	assert_true(peer('a')->exchanges + peer('b')->exchanges > 0);
	net->cut[2] = false;
	for (const char *c = "abc"; *c != 0; c++) {
		char name[] = { *c, 0 };

		net_until(net, name, SERF_ALIVE, 300 * SECOND);
	}
}

static void
test_force_leave(void **state)
{
	(void)state;
	net_pool(net, 4);
	assert_int_equal(serf_force_leave(peer('a')->s, net->now, STR("nobody"), false), -ENOENT);
	assert_int_equal(serf_force_leave(peer('a')->s, net->now, STR("a"), false), -EINVAL);
	peer_stop(peer('d'));
	net_until(net, "d", SERF_FAILED, 60 * SECOND);
	assert_int_equal(serf_force_leave(peer('b')->s, net->now, STR("d"), false), 0);
	assert_int_equal(status_of(peer('b'), "d"), SERF_LEFT);
	net_until(net, "d", SERF_LEFT, 5 * SECOND);
	assert_int_equal(times(peer('c'), "leave:d"), 1);
	/* Once more with prune: it is gone at once. */
	assert_int_equal(serf_force_leave(peer('b')->s, net->now, STR("d"), true), 0);
	assert_int_equal(status_of(peer('b'), "d"), SERF_NONE);
	net_until(net, "d", SERF_NONE, 5 * SECOND);
	assert_int_equal(times(peer('c'), "reap:d"), 1);
	assert_int_equal(serf_count(peer('a')->s, SERF_NONE), 3);
}

/* Force-leaving one that lives does nothing for long: it says so. */
static void
test_force_leave_alive(void **state)
{
	(void)state;
	net_pool(net, 4);
	assert_int_equal(serf_force_leave(peer('a')->s, net->now, STR("b"), true), 0);
	assert_int_equal(status_of(peer('a'), "b"), SERF_LEAVING);
	net_until(net, "b", SERF_ALIVE, 10 * SECOND);
	net_run(net, 20 * SECOND);
	for (const char *c = "abcd"; *c != 0; c++)
		assert_int_equal(status_of(peer(*c), "b"), SERF_ALIVE);
	assert_int_equal(times(peer('a'), "update:b"), 1);
}

/* Reaped when its time has come, left or failed, and by its own tag rc_tm. */
static void
test_reap(void **state)
{
	static struct strpair tag = { { "rc_tm", 5 }, { "40s", 3 } };

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct peer *p = peer_new(net);

		p->config.reconnect_timeout_ms = 300000;
		p->config.tombstone_timeout_ms = 100000;
	}
	peer('d')->tags = (struct strmap){ &tag, 1 };
	for (const char *c = "abcd"; *c != 0; c++)
		peer_start(peer(*c));
	for (const char *c = "bcd"; *c != 0; c++)
		peer_join(peer(*c), peer('a'));
	net_run(net, 5 * SECOND);
	/* b leaves, c and d die. */
	assert_int_equal(serf_leave(peer('b')->s, net->now), 0);
	net_run(net, 10 * SECOND);
	for (const char *c = "bcd"; *c != 0; c++)
		peer_stop(peer(*c));
	net_until(net, "d", SERF_FAILED, 60 * SECOND);
	net_run(net, 38 * SECOND);
	assert_int_equal(times(peer('a'), "reap:d"), 0);
	net_run(net, 20 * SECOND);
	assert_int_equal(times(peer('a'), "reap:d"), 1);
	assert_int_equal(times(peer('a'), "reap:b"), 0);
	assert_int_equal(status_of(peer('a'), "b"), SERF_LEFT);
	net_run(net, 70 * SECOND);
	assert_int_equal(times(peer('a'), "reap:b"), 1);
	assert_int_equal(status_of(peer('a'), "c"), SERF_FAILED);
	net_run(net, 250 * SECOND);
	assert_int_equal(times(peer('a'), "reap:c"), 1);
	assert_int_equal(serf_count(peer('a')->s, SERF_NONE), 1);
}

static void
test_tags(void **state)
{
	struct strpair pair = { STR("role"), STR("web") };
	struct strmap tags = { &pair, 1 };
	struct serf_member m;
	char *large = NET_ALLOC(600);

	(void)state;
	net_pool(net, 3);
	assert_int_equal(serf_set_tags(peer('b')->s, net->now, &tags), 0);
	net_run(net, 5 * SECOND);
	for (const char *c = "abc"; *c != 0; c++) {
		assert_int_equal(times(peer(*c), "update:b"), 1);
		assert_true(serf_find(peer(*c)->s, STR("b"), &m));
		assert_true(str_eq(swim_node_meta(m.node), STR("\xff\x81\xa4" "role\xa3" "web")));
	}
	memset(large, 'x', 600);
	pair.value = (struct str){ large, 600 };
	assert_int_equal(serf_set_tags(peer('b')->s, net->now, &tags), -ELIMIT);
	free(large);
}

/* ---- events */

static void
test_events(void **state)
{
	char err[256];

	(void)state;
	net_pool(net, 8);
	net->loss = 20;
	assert_int_equal(serf_event(peer('a')->s, net->now, STR("deploy"), STR("1"), false, err), 0);
	assert_int_equal(times(peer('a'), "event:deploy=1"), 1);
	assert_int_equal(serf_event(peer('a')->s, net->now, STR("deploy"), STR("1"), false, err), 0);
	assert_int_equal(serf_event(peer('h')->s, net->now, STR("deploy"), STR("2"), true, err), 0);
	net_run(net, 40 * SECOND);
	for (size_t i = 0; i < net->n; i++) {
		/* The same again is another event, at another time. */
		assert_int_equal(times(&net->peers[i], "event:deploy=1"), 2);
		assert_int_equal(times(&net->peers[i], "event:deploy=2+") + times(&net->peers[i], "event:deploy=2"), 1);
	}
	/* Who comes later hears what was, by the push/pull. */
	net->loss = 0;
	net->n--;
	peer_stop(&net->peers[net->n]);
	peer_start(peer_new(net));
	net->peers[7].heard[0] = 0;
	peer_join(peer('h'), peer('c'));
	net_run(net, 10 * SECOND);
	assert_int_equal(times(peer('h'), "event:deploy=1"), 2);
	assert_int_equal(times(peer('h'), "event:deploy=2"), 1);
}

static void
test_events_ignored(void **state)
{
	char err[256];

	(void)state;
	net_pool(net, 2);
	assert_int_equal(serf_event(peer('a')->s, net->now, STR("old"), STR(""), false, err), 0);
	net_run(net, 10 * SECOND);
	peer_start(peer_new(net));
	serf_ignore_old_events(peer('c')->s, true);
	peer_join(peer('c'), peer('a'));
	net_run(net, SECOND);
	serf_ignore_old_events(peer('c')->s, false);
	net_run(net, 100 * SECOND);
	assert_int_equal(times(peer('c'), "event:old="), 0);
	assert_int_equal(serf_event(peer('b')->s, net->now, STR("new"), STR(""), false, err), 0);
	net_run(net, 5 * SECOND);
	assert_int_equal(times(peer('c'), "event:new="), 1);
}

static void
test_event_limits(void **state)
{
	char big[12000], err[256];
	struct peer *p;

	(void)state;
	memset(big, 'x', sizeof(big));
	p = peer_new(net);
	peer_start(p);
	assert_int_equal(serf_event(p->s, net->now, STR("n"), (struct str){ big, 512 }, false, err), -ELIMIT);
	assert_string_equal(err, "user event exceeds configured limit of 512 bytes before encoding");
	assert_int_equal(serf_event(p->s, net->now, STR("n"), (struct str){ big, 511 }, false, err), -ELIMIT);
	assert_string_equal(err, "encoded user event exceeds configured limit of 512 bytes after encoding");
	assert_int_equal(serf_event(p->s, net->now, STR("n"), (struct str){ big, 460 }, false, err), 0);
	peer_stop(p);
	p->config.event_max = 20000;
	peer_start(p);
	assert_int_equal(serf_event(p->s, net->now, STR("n"), (struct str){ big, 9216 }, false, err), -ELIMIT);
	assert_string_equal(err, "user event exceeds sane limit of 9216 bytes before encoding");
	assert_int_equal(serf_event(p->s, net->now, STR("n"), (struct str){ big, 9210 }, false, err), -ELIMIT);
	assert_string_equal(err, "encoded user event exceeds sane limit of 9216 bytes after encoding");
}

/* ---- queries */

static void
test_query(void **state)
{
	(void)state;
	net_pool(net, 5);
	for (size_t i = 0; i < net->n; i++)
		net->peers[i].reply = "here";
	ask(peer('b'), (struct serf_ask){ .name = STR("where"), .payload = STR("x"), .want_ack = true });
	net_run(net, SECOND);
	assert_int_equal(times(peer('b'), "end"), 1);	/* all have answered: before its time is over */
	for (size_t i = 0; i < net->n; i++) {
		char word[32];

		assert_int_equal(times(&net->peers[i], "query:where=x"), 1);
		(void)snprintf(word, sizeof(word), "answer:%s=here", net->peers[i].name);
		assert_int_equal(times(peer('b'), word), 1);
		(void)snprintf(word, sizeof(word), "ack:%s", net->peers[i].name);
		assert_int_equal(times(peer('b'), word), 1);
	}
	net_run(net, 10 * SECOND);
	assert_int_equal(times(peer('b'), "end"), 1);
}

/* Nobody answers: over after 16 gossip intervals (5 members: times 1). */
static void
test_query_timeout(void **state)
{
	uint64_t from;

	(void)state;
	net_pool(net, 5);
	from = net->now;
	ask(peer('b'), (struct serf_ask){ .name = STR("where") });
	while (times(peer('b'), "end") == 0)
		net_step(net);
	assert_int_equal(net->now - from, 3200 * MS);
	from = net->now;
	ask(peer('b'), (struct serf_ask){ .name = STR("where"), .timeout_ms = 700 });
	while (times(peer('b'), "end") == 1)
		net_step(net);
	assert_int_equal(net->now - from, 700 * MS);
}

static void
test_query_ended(void **state)
{
	struct serf_stats st;
	uint64_t number;

	(void)state;
	net_pool(net, 3);
	for (size_t i = 0; i < net->n; i++)
		net->peers[i].reply = "late";
	number = ask(peer('a'), (struct serf_ask){ .name = STR("where") });
	serf_ask_end(peer('a')->s, number);
	assert_int_equal(times(peer('a'), "end"), 1);
	serf_ask_end(peer('a')->s, number);
	net_run(net, 5 * SECOND);
	assert_int_equal(times(peer('a'), "end"), 1);
	assert_null(strstr(peer('a')->heard, "answer"));
	serf_get_stats(peer('a')->s, &st);
	assert_int_equal(st.late_responses, 3);
}

static void
test_query_filters(void **state)
{
	struct str names[] = { STR("b"), STR("d"), STR("zzz") };
	struct strpair tags[] = { { STR("role"), STR("web-1") }, { STR("role"), STR("db") } };

	(void)state;
	for (int i = 0; i < 4; i++)
		(void)peer_new(net);
	peer('b')->tags = (struct strmap){ &tags[0], 1 };
	peer('c')->tags = (struct strmap){ &tags[1], 1 };
	for (const char *c = "abcd"; *c != 0; c++)
		peer_start(peer(*c));
	for (const char *c = "bcd"; *c != 0; c++)
		peer_join(peer(*c), peer('a'));
	net_run(net, 5 * SECOND);
	ask(peer('a'), (struct serf_ask){ .name = STR("names"), .nodes = { names, 3 } });
	ask(peer('a'), (struct serf_ask){ .name = STR("tag"), .tag = STR("role"), .tag_expr = STR("web-[0-9]+") });
	ask(peer('a'), (struct serf_ask){ .name = STR("part"), .tag = STR("role"), .tag_expr = STR("^d|b-") });
	ask(peer('a'), (struct serf_ask){ .name = STR("empty"), .tag = STR("none"), .tag_expr = STR("^$") });
	ask(peer('a'), (struct serf_ask){ .name = STR("both"), .nodes = { names, 3 }, .tag = STR("role"), .tag_expr = STR("web") });
	ask(peer('a'), (struct serf_ask){ .name = STR("broken"), .tag = STR("role"), .tag_expr = STR("(") });
	net_run(net, 5 * SECOND);
	static const struct { const char *word, *who; } want[] = { { "query:names=", "bd" }, { "query:tag=", "b" }, { "query:part=", "bc" },
		{ "query:empty=", "abcd" }, { "query:both=", "b" }, { "query:broken=", "" } };

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		for (const char *c = "abcd"; *c != 0; c++)
			assert_int_equal(times(peer(*c), want[i].word), strchr(want[i].who, *c) != NULL);
	assert_int_equal(times(peer('a'), "end"), 6);
}

/* No answer reaches the asker straight: relays bring them, once each. */
static bool
eat_straight(struct item *i)
{
	return i->to == 0 && i->len > 2 && i->data[0] == 8 && i->data[1] == 5 && i->join == false && i->from == 1;
}

static void
test_relay(void **state)
{
	struct serf_stats st;

	(void)state;
	net_pool(net, 5);
	peer('b')->reply = "by others";
	net->eat = eat_straight;
	ask(peer('a'), (struct serf_ask){ .name = STR("q"), .want_ack = true });
	net_run(net, 5 * SECOND);
	assert_int_equal(times(peer('a'), "answer:b=by"), 0);
	assert_null(strstr(peer('a')->heard, "answer:b"));
	ask(peer('a'), (struct serf_ask){ .name = STR("q"), .want_ack = true, .relay_factor = 3 });
	net_run(net, 5 * SECOND);
	assert_non_null(strstr(peer('a')->heard, "answer:b=by others"));
	assert_int_equal(times(peer('a'), "ack:b"), 1);
	serf_get_stats(peer('a')->s, &st);
	assert_true(st.duplicate_responses > 0);
	/* More relays than members there are: none at all. */
	ask(peer('a'), (struct serf_ask){ .name = STR("q"), .want_ack = true, .relay_factor = 5 });
	net_run(net, 5 * SECOND);
	assert_int_equal(times(peer('a'), "ack:b"), 1);
}

static void
test_ask_limits(void **state)
{
	char big[1200];
	struct serf_ask q = { .name = STR("q"), .answer = on_answer, .timeout_ms = 1000 };
	int rc = 0;

	(void)state;
	peer_start(peer_new(net));
	q.ctx = peer('a');
	memset(big, 'x', sizeof(big));
	q.payload = (struct str){ big, 1024 };
	assert_int_equal(serf_ask(peer('a')->s, net->now, &q, &rc), 0);
	assert_int_equal(rc, -ELIMIT);
	q.payload = STR("");
	for (int i = 0; i < SERF_ASKS_MAX; i++)
		assert_true(serf_ask(peer('a')->s, net->now, &q, &rc) > 0);
	assert_int_equal(serf_ask(peer('a')->s, net->now, &q, &rc), 0);
	assert_int_equal(rc, -ELIMIT);
	net_run(net, 2 * SECOND);
	assert_int_equal(times(peer('a'), "end"), SERF_ASKS_MAX);
	assert_true(serf_ask(peer('a')->s, net->now, &q, &rc) > 0);
}

static bool
eat_answers(struct item *i)
{
	return i->len > 2 && i->data[0] == 8 && i->data[1] == 5;
}

static void
test_respond_limits(void **state)
{
	struct serf_query q = { .ltime = 1, .id = 1, .from = { .ip = { 127, 0, 0, 9 }, .len = 4, .port = 1 } };
	char big[1200];

	(void)state;
	net->eat = eat_answers;
	peer_start(peer_new(net));
	memset(big, 'x', sizeof(big));
	q.deadline = net->now + SECOND;
	assert_int_equal(serf_respond(peer('a')->s, net->now, &q, (struct str){ big, 1024 }), -ELIMIT);
	assert_int_equal(serf_respond(peer('a')->s, net->now, &q, (struct str){ big, 900 }), 0);
	assert_int_equal(serf_respond(peer('a')->s, net->now + 2 * SECOND, &q, STR("x")), -ETIMEDOUT);
}

/* ---- Serf's own queries */

static void
test_ping(void **state)
{
	(void)state;
	net_pool(net, 3);
	ask(peer('a'), (struct serf_ask){ .name = STR("_serf_ping"), .want_ack = true });
	net_run(net, 5 * SECOND);
	for (const char *c = "abc"; *c != 0; c++) {
		char word[] = { 'a', 'c', 'k', ':', *c, 0 };

		assert_int_equal(times(peer('a'), word), 1);
		assert_null(strstr(peer(*c)->heard, "query:"));
	}
	assert_null(strstr(peer('a')->heard, "answer:"));
}

static struct msg_key_response key_answer;
static size_t key_answers, key_count;
static char key_message[128];

static void
on_key(void *ctx, struct str from, bool ack, struct str payload)
{
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);

	(void)ctx;
	assert_false(ack);
	if (from.len == 0)
		return;
	assert_int_equal(payload.p[0], SERF_KEY_RESPONSE);
	assert_int_equal(wire_get((struct str){ payload.p + 1, payload.len - 1 }, &rec_msg_key_response, &key_answer, &a, NULL), 0);
	(void)snprintf(key_message, sizeof(key_message), "%.*s", STR_ARG(key_answer.message));
	key_count = key_answer.keys.n;
	key_answers++;
	arena_release(&a);
}

static void
key_query(const char *name, struct str payload)
{
	struct serf_ask q = { .name = str_from(name), .payload = payload, .answer = on_key };
	int rc = 0;

	key_answers = 0;
	assert_true(serf_ask(peer('a')->s, net->now, &q, &rc) > 0);
	net_run(net, 5 * SECOND);
}

static void
test_keys(void **state)
{
	static const char request[] = "\x07\x81\xa3" "Key\xa3" "abc";

	(void)state;
	net_pool(net, 3);
	key_query("_serf_install-key", (struct str){ request, sizeof(request) - 1 });
	assert_int_equal(key_answers, 3);
	assert_true(key_answer.result);
	for (const char *c = "abc"; *c != 0; c++)
		assert_int_equal(times(peer(*c), "install-key:abc"), 1);
	key_query("_serf_use-key", (struct str){ request, sizeof(request) - 1 });
	assert_int_equal(times(peer('b'), "use-key:abc"), 1);
	for (size_t i = 0; i < net->n; i++)
		net->peers[i].key_message = "Removing the primary key is not allowed";
	key_query("_serf_remove-key", (struct str){ request, sizeof(request) - 1 });
	assert_int_equal(key_answers, 3);
	assert_false(key_answer.result);
	assert_string_equal(key_message, "Removing the primary key is not allowed");
	/* Not a key request: answered, and refused. */
	key_query("_serf_install-key", STR("rubbish"));
	assert_int_equal(key_answers, 3);
	assert_false(key_answer.result);
	assert_int_equal(times(peer('b'), "install-key:abc"), 1);
	key_query("_serf_frobnicate", STR(""));
	assert_int_equal(key_answers, 0);
}

static void
test_list_keys(void **state)
{
	(void)state;
	net_pool(net, 2);
	for (size_t i = 0; i < net->n; i++)
		net->peers[i].nkeys = 3;
	key_query("_serf_list-keys", STR(""));
	assert_int_equal(key_answers, 2);
	assert_int_equal(key_count, 3);
	assert_string_equal(key_message, "");
	/* More than fit into 1024 bytes: cut, and said so. */
	for (size_t i = 0; i < net->n; i++)
		net->peers[i].nkeys = 60;
	key_query("_serf_list-keys", STR(""));
	assert_int_equal(key_answers, 2);
	assert_true(key_count > 15 && key_count < 23);
	char want[128];

	(void)snprintf(want, sizeof(want), "truncated key list response, showing first %zu of 60 keys", key_count);
	assert_string_equal(key_message, want);
}

/* ---- our name, claimed at another address */

static void
claim(struct peer *p, const char *name, uint8_t last)
{
	uint8_t ip[4] = { 127, 0, 0, last };
	static const char vsn[] = "\1\5\2\2\5\4";
	struct msg_alive m = { .incarnation = 9, .node = str_from(name), .addr = { (const char *)ip, 4 }, .port = 7946, .meta = STR("\xff\x80"),
		.vsn = { vsn, WIRE_VSN } };
	struct buf b = BUF_INIT(1024);

	assert_int_equal(wire_put_body(&b, &rec_msg_alive, &m), 0);
	swim_message(serf_swim(p->s), net->now, &p->addr, WIRE_ALIVE, (struct str){ (const char *)b.data, b.len });
	buf_release(&b);
}

static void
test_conflict(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		peer_new(net)->config.resolve_conflicts = i != 3;
	for (const char *c = "abcd"; *c != 0; c++)
		peer_start(peer(*c));
	for (const char *c = "bcd"; *c != 0; c++)
		peer_join(peer(*c), peer('a'));
	net_run(net, 5 * SECOND);
	/* All the others know us where we are. */
	claim(peer('b'), "b", 77);
	net_run(net, 10 * SECOND);
	assert_false(peer('b')->lost_conflict);
	/* Without the others there is no majority. */
	net->cut[1] = true;
	claim(peer('b'), "b", 77);
	net_run(net, 10 * SECOND);
	assert_true(peer('b')->lost_conflict);
	/* Consul does not vote, and nobody votes about others. */
	net->cut[3] = true;
	claim(peer('d'), "d", 77);
	claim(peer('a'), "c", 77);
	net_run(net, 10 * SECOND);
	assert_false(peer('d')->lost_conflict);
	assert_false(peer('a')->lost_conflict);
}

/* Two answers against one: known elsewhere, and not known at all. */
static void
test_conflict_lost(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		peer_new(net)->config.resolve_conflicts = true;
	for (const char *c = "abcd"; *c != 0; c++)
		peer_start(peer(*c));
	for (const char *c = "bcd"; *c != 0; c++)
		peer_join(peer(*c), peer('a'));
	net_run(net, 5 * SECOND);
	/* b is started anew where nobody has seen it. */
	peer_stop(peer('b'));
	peer('b')->addr.ip[3] = 99;
	peer_start(peer('b'));
	claim(peer('b'), "b", 2);
	peer_join(peer('b'), peer('a'));
	net_run(net, 10 * SECOND);
	assert_true(peer('b')->lost_conflict);
	assert_false(peer('a')->lost_conflict);
}

/* ---- coordinates */

static void
test_coordinates(void **state)
{
	struct coord c, fresh;

	(void)state;
	coord_init(&fresh);
	net_pool(net, 3);
	net_run(net, 60 * SECOND);
	assert_true(serf_coordinate_of(peer('a')->s, STR("b"), &c));
	assert_true(coord_valid(&c));
	assert_true(serf_coordinate_of(peer('a')->s, STR("a"), &c));
	assert_memory_equal(&c, serf_coordinate(peer('a')->s), sizeof(c));
	assert_memory_not_equal(&c, &fresh, sizeof(c));
	assert_false(serf_coordinate_of(peer('a')->s, STR("nobody"), &c));
	/* Acks carry the one of now. */
	for (const char *p = "abc"; *p != 0; p++) {
		const struct buf *ack = &peer(*p)->s->ack;

		if (ack->len == 0)
			continue;
		assert_int_equal(coord_get((struct str){ (const char *)ack->data, ack->len }, &c), 0);
		assert_memory_equal(&c, serf_coordinate(peer(*p)->s), sizeof(c));
	}
	/* A ping takes 1 to 3 ms there and back. */
	assert_true(serf_coordinate_of(peer('a')->s, STR("b"), &c));
	assert_true(coord_distance(serf_coordinate(peer('a')->s), &c) > 1e-4);
	assert_true(coord_distance(serf_coordinate(peer('a')->s), &c) < 0.02);
}

static void
test_no_coordinates(void **state)
{
	struct coord c;

	(void)state;
	for (int i = 0; i < 2; i++)
		peer_new(net)->config.coordinates = i == 0;
	peer_start(peer('a'));
	peer_start(peer('b'));
	peer_join(peer('b'), peer('a'));
	net_run(net, 30 * SECOND);
	assert_false(serf_coordinate_of(peer('a')->s, STR("b"), &c));
	assert_false(serf_coordinate_of(peer('b')->s, STR("a"), &c));
}

/* ---- a next life */

static void
resume(struct peer *p, bool rejoin, size_t want)
{
	struct serf_previous prev;
	size_t bad = 0;

	assert_int_equal(serf_snapshot_read(str_from(p->lines), rejoin, &prev, &bad), 0);
	assert_int_equal(bad, 0);
	assert_int_equal(prev.n, want);
	peer_start(p);
	serf_resume(p->s, &prev);
	for (size_t i = 0; i < prev.n; i++)
		if (strcmp(prev.alive[i].name, p->name) != 0)
			exchange(p, &prev.alive[i].addr, true, ITEM_ASK);
	serf_previous_release(&prev);
}

static void
test_restart(void **state)
{
	char err[256];

	(void)state;
	net_pool(net, 4);
	assert_int_equal(serf_event(peer('a')->s, net->now, STR("once"), STR(""), false, err), 0);
	net_run(net, 10 * SECOND);
	assert_int_equal(times(peer('d'), "event:once="), 1);
	peer_stop(peer('d'));
	net_until(net, "d", SERF_FAILED, 60 * SECOND);
	resume(peer('d'), false, 4);
	net_until(net, "d", SERF_ALIVE, 30 * SECOND);
	net_run(net, 60 * SECOND);
	/* Told in its first life, not again in its second. */
	assert_int_equal(times(peer('d'), "event:once="), 1);
	assert_int_equal(serf_count(peer('d')->s, SERF_ALIVE), 4);
}

/* Left, and come back: the others' memory of the leave is outbid. */
static void
test_rejoin_after_leave(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		peer_new(net)->config.rejoin_after_leave = true;
	for (const char *c = "abcd"; *c != 0; c++)
		peer_start(peer(*c));
	for (const char *c = "bcd"; *c != 0; c++)
		peer_join(peer(*c), peer('a'));
	net_run(net, 5 * SECOND);
	assert_int_equal(serf_leave(peer('d')->s, net->now), 0);
	net_run(net, 15 * SECOND);
	assert_true(peer('d')->left);
	peer_stop(peer('d'));
	net_until(net, "d", SERF_LEFT, 10 * SECOND);
	resume(peer('d'), true, 4);
	net_until(net, "d", SERF_ALIVE, 30 * SECOND);
	net_run(net, 90 * SECOND);
	for (const char *c = "abcd"; *c != 0; c++) {
		assert_int_equal(status_of(peer(*c), "d"), SERF_ALIVE);
		assert_int_equal(serf_count(peer(*c)->s, SERF_ALIVE), 4);
	}
	/* Without the wish to come back the file has nobody to go to. */
	assert_int_equal(serf_leave(peer('d')->s, net->now), 0);
	net_run(net, 15 * SECOND);
	peer_stop(peer('d'));
	resume(peer('d'), false, 0);
	net_run(net, 10 * SECOND);
	assert_int_equal(serf_count(peer('d')->s, SERF_NONE), 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_join), T(test_leave), T(test_leave_alone), T(test_leave_unheard), T(test_dead_without_intent), T(test_fail_and_return),
		T(test_reconnect), T(test_force_leave), T(test_force_leave_alive), T(test_reap), T(test_tags), T(test_events),
		T(test_events_ignored), T(test_event_limits), T(test_query), T(test_query_timeout), T(test_query_ended),
		T(test_query_filters), T(test_relay), T(test_ask_limits), T(test_respond_limits), T(test_ping), T(test_keys),
		T(test_list_keys), T(test_conflict), T(test_conflict_lost), T(test_coordinates), T(test_no_coordinates), T(test_restart),
		T(test_rejoin_after_leave),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
