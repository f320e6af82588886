/* gossip_wire.c - messages: what is written for each form of a field, what is taken and what refused when read. */
#include "t/unit/gossip_vectors.h"

#include "gossipd/wire/codec.h"

static struct arena arena;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

/* ---- tables */

static void
check_table(const struct record *rec)
{
	uint64_t places = 0;

	for (size_t i = 0; i < rec->nfields; i++) {
		const struct field *f = &rec->fields[i];

		if (i > 0 && strcmp(f[-1].name, f->name) >= 0)
			fail_msg("%s: %s is not behind %s", rec->name, f->name, f[-1].name);
		if (f->sub != NULL && f->sub->name[0] != 0)
			check_table(f->sub);
		places |= (uint64_t)1 << (f->flags >> W_AT_SHIFT);
	}
	/* Each place in the declaration once. */
	if (places != ((uint64_t)1 << rec->nfields) - 1)
		fail_msg("%s: its places are %llx", rec->name, (unsigned long long)places);
}

static void
fields_stand_in_the_order_of_names_and_know_their_place(void **state)
{
	static const struct record *const all[] = {
		&rec_msg_ping, &rec_msg_indirect, &rec_msg_ack, &rec_msg_nack, &rec_msg_accuse, &rec_msg_alive, &rec_msg_row,
		&rec_msg_error, &rec_msg_leave, &rec_msg_join, &rec_msg_event, &rec_msg_query, &rec_msg_filter_tag, &rec_msg_response,
		&rec_msg_key_request, &rec_msg_key_response, &rec_msg_member, &rec_msg_serf_state,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		check_table(all[i]);
}

/* ---- reading */

#define BODY(lit) ((struct str){ (lit), sizeof(lit) - 1 })

static void
readers_take_what_peers_take(void **state)
{
	/* Each of them is: node "abc", seqno 7, source 1.2.3.4:258 of "d". */
	static const struct str bodies[] = {
		/* as written */
		BODY("\x85\xa4Node\xa3" "abc\xa5SeqNo\x07\xaaSourceAddr\xa4\1\2\3\4\xaaSourceNode\xa1" "d\xaaSourcePort\xcd\1\2"),
		/* another order, map16, bytes behind it */
		BODY("\xde\0\5\xaaSourcePort\xcd\1\2\xaaSourceAddr\xa4\1\2\3\4\xa5SeqNo\x07\xaaSourceNode\xa1" "d\xa4Node\xa3" "abcjunk"),
		/* integers of other widths and of the signed form, str8 and raw16 for texts and names */
		BODY("\x85\xd9\4Node\xda\0\3" "abc\xa5SeqNo\xcf\0\0\0\0\0\0\0\7\xaaSourceAddr\xa4\1\2\3\4\xaaSourceNode\xd9\1d"
		    "\xaaSourcePort\xd1\1\2"),
		/* bin8 and str8 for bytes; a field named twice: the last counts */
		BODY("\x86\xa4Node\xa3" "xyz\xa4Node\xa3" "abc\xa5SeqNo\xd0\7\xaaSourceAddr\xc4\4\1\2\3\4\xaaSourceNode\xa1" "d\xaaSourcePort\xcd\1\2"),
		/* a list of integers for bytes, of every width */
		BODY("\x85\xa4Node\xa3" "abc\xa5SeqNo\x07\xaaSourceAddr\x94\1\xcc\2\xcd\0\3\xd0\4\xaaSourceNode\xa1" "d\xaaSourcePort\xcd\1\2"),
		/* unknown fields, with anything in them; names are case sensitive */
		BODY("\x88\xa4node\xa1x\xa1q\x92\x81\1\xc3\xc0\xa1r\xcb\0\0\0\0\0\0\0\0\xa4Node\xa3" "abc\xa5SeqNo\x07\xaaSourceAddr\xa4\1\2\3\4"
		    "\xaaSourceNode\xa1" "d\xaaSourcePort\xcd\1\2"),
		/* a name that begins as another does, with a NUL behind it; and nil for one */
		BODY("\x87\xa6Node\0x\xa1x\xc0\1\xa4Node\xa3" "abc\xa5SeqNo\x07\xaaSourceAddr\xa4\1\2\3\4\xaaSourceNode\xa1" "d\xaaSourcePort\xcd\1\2"),
		/* a list in the order of declaration, and one with more than we know */
		BODY("\x95\7\xa3" "abc\xa4\1\2\3\4\xcd\1\2\xa1" "d"),
		BODY("\x97\7\xa3" "abc\xa4\1\2\3\4\xcd\1\2\xa1" "d\x93\1\2\3\xc0"),
	};
	struct msg_ping p;
	size_t used;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		if (wire_get(bodies[i], &rec_msg_ping, &p, &arena, &used) != 0)
			fail_msg("%zu is refused", i);
		assert_same(STR("abc"), p.node, "node");
		assert_int_equal(p.seqno, 7);
		assert_same(STR("\1\2\3\4"), p.source_addr, "address");
		assert_same(STR("d"), p.source_node, "source");
		assert_int_equal(p.source_port, 258);
		assert_int_equal(used, bodies[i].len - (i == 1 ? 4 : 0));
	}
}

static void
what_is_missing_or_nil_is_zero(void **state)
{
	static const struct str bodies[] = {
		BODY("\x80"), BODY("\xc0"), BODY("\x90"), BODY("\x82\xa4Node\xc0\xa5SeqNo\xc0"), BODY("\x92\xc0\xc0"),
		BODY("\x83\xaaSourceAddr\xc0\xaaSourcePort\0\xc0\1"),
	};
	struct msg_ping p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		memset(&p, 0xee, sizeof(p));
		if (wire_get(bodies[i], &rec_msg_ping, &p, &arena, NULL) != 0)
			fail_msg("%zu is refused", i);
		assert_true(p.node.len == 0 && p.seqno == 0 && p.source_addr.p == NULL && p.source_port == 0);
	}
}

static void
what_peers_refuse_is_refused(void **state)
{
	static const struct {
		const struct record *rec;
		struct str body;
	} cases[] = {
		{ &rec_msg_ping, BODY("\x81\xa4Node\xc4\1x") },			/* bin for a text */
		{ &rec_msg_ping, BODY("\x81\xc4\4Node\xa1x") },			/* bin for a name */
		{ &rec_msg_ping, BODY("\x81\1\xa1x") },				/* a name that is none */
		{ &rec_msg_ping, BODY("\x81\xa4Node\x91\1") },			/* a list for a text */
		{ &rec_msg_ping, BODY("\x81\xa4Node\7") },
		{ &rec_msg_ping, BODY("\x81\xa5SeqNo\xcf\0\0\0\1\0\0\0\0") },	/* 33 bits for 32 */
		{ &rec_msg_ping, BODY("\x81\xa5SeqNo\xff") },			/* -1 */
		{ &rec_msg_ping, BODY("\x81\xa5SeqNo\xcb\0\0\0\0\0\0\0\0") },	/* a double */
		{ &rec_msg_ping, BODY("\x81\xa5SeqNo\xa1" "7") },
		{ &rec_msg_ping, BODY("\x81\xaaSourcePort\xce\0\1\0\0") },	/* 17 bits for 16 */
		{ &rec_msg_ping, BODY("\x81\xaaSourceAddr\x91\xcd\1\0") },	/* 256 for a byte */
		{ &rec_msg_ping, BODY("\x81\xaaSourceAddr\x91\xa1x") },
		{ &rec_msg_ping, BODY("\x81\xaaSourceAddr\x81\1\1") },
		{ &rec_msg_ping, BODY("\xa1x") },				/* neither map nor list */
		{ &rec_msg_ping, BODY("") },
		{ &rec_msg_ping, BODY("\xc1") },
		{ &rec_msg_indirect, BODY("\x81\xa4Nack\1") },			/* an integer for a bool */
		{ &rec_msg_query, BODY("\x81\xabRelayFactor\xcd\1\0") },	/* 9 bits for 8 */
		{ &rec_msg_query, BODY("\x81\xa7Timeout\xcf\x80\0\0\0\0\0\0\0") },	/* above what is signed */
		{ &rec_msg_query, BODY("\x81\xa7" "Filters\x91\x91\xcd\1\0") },
		{ &rec_msg_key_response, BODY("\x81\xa4Keys\x91\xc4\1x") },	/* texts in a list, too */
		{ &rec_msg_member, BODY("\x81\xa4Tags\x81\xa1k\xc4\1v") },
		{ &rec_msg_member, BODY("\x81\xa4Tags\x81\xc4\1k\xa1v") },
		{ &rec_msg_member, BODY("\x81\xabProtocolCur\xcd\1\0") },
		{ &rec_msg_ping, BODY("\x81\xaaSourceAddr\xdd\xff\xff\xff\xff\1") },	/* more than there is */
		{ &rec_msg_ping, BODY("\xdf\xff\xff\xff\xff\1\1") },
		{ &rec_msg_ping, BODY("\x81\xa4Node\xdb\xff\xff\xff\xff" "abc") },
	};
	union any_message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (wire_get(cases[i].body, cases[i].rec, &m, &arena, NULL) != -EDECODE)
			fail_msg("%zu is taken", i);
}

static void
the_largest_values_that_fit_are_taken(void **state)
{
	struct msg_query q, again;
	struct buf b = BUF_INIT(4096);

	(void)state;
	memset(&q, 0, sizeof(q));
	q.ltime = UINT64_MAX;
	q.id = q.flags = UINT32_MAX;
	q.port = UINT16_MAX;
	q.relay_factor = UINT8_MAX;
	q.timeout = INT64_MIN;
	assert_int_equal(wire_put_body(&b, &rec_msg_query, &q), 0);
	assert_int_equal(wire_get(buf_str(&b), &rec_msg_query, &again, &arena, NULL), 0);
	assert_true(record_equal(&rec_msg_query, &q, &again, NULL));
	buf_release(&b);
}

static void
nesting_is_followed_so_far_and_no_further(void **state)
{
	struct msg_nack m;
	char deep[2 + MP_DEPTH_MAX + 1];

	(void)state;
	/* {"x": [[...[nil]...]]} */
	memset(deep, 0x91, sizeof(deep));
	memcpy(deep, "\x81\xa1", 2);
	deep[2] = 'x';
	deep[sizeof(deep) - 1] = (char)0xc0;
	assert_int_equal(wire_get((struct str){ deep, sizeof(deep) }, &rec_msg_nack, &m, &arena, NULL), 0);
	{
		char deeper[sizeof(deep) + 1];

		memset(deeper, 0x91, sizeof(deeper));
		memcpy(deeper, deep, 3);
		deeper[sizeof(deeper) - 1] = (char)0xc0;
		assert_int_equal(wire_get((struct str){ deeper, sizeof(deeper) }, &rec_msg_nack, &m, &arena, NULL), -EDECODE);
	}
}

static void
an_arena_is_needed_for_lists_alone(void **state)
{
	struct msg_ping p;
	struct arena tiny = ARENA_INIT(16);
	struct msg_key_response r;

	(void)state;
	assert_int_equal(wire_get(BODY("\x82\xa5SeqNo\7\xaaSourceAddr\xa4\1\2\3\4"), &rec_msg_ping, &p, NULL, NULL), 0);
	assert_int_equal(p.source_addr.len, 4);
	assert_int_equal(wire_get(BODY("\x81\xaaSourceAddr\x90"), &rec_msg_ping, &p, NULL, NULL), 0);
	assert_true(p.source_addr.len == 0 && p.source_addr.p != NULL);
	assert_int_equal(wire_get(BODY("\x81\xaaSourceAddr\x94\1\2\3\4"), &rec_msg_ping, &p, NULL, NULL), -EDECODE);
	assert_int_equal(wire_get(BODY("\x81\xa4Keys\x91\xa1x"), &rec_msg_key_response, &r, &tiny, NULL), 0);
	assert_int_equal(wire_get(BODY("\x81\xa4Keys\x91\xa1x"), &rec_msg_key_response, &r, &tiny, NULL), -ELIMIT);
	arena_release(&tiny);
}

/* ---- writing */

static void
texts_are_written_in_the_old_dialect(void **state)
{
	static const struct {
		size_t len;
		struct str head;
	} cases[] = {
		{ 0, BODY("\xa0") }, { 31, BODY("\xbf") }, { 32, BODY("\xda\0\x20") }, { 255, BODY("\xda\0\xff") }, { 256, BODY("\xda\1\0") },
		{ 65535, BODY("\xda\xff\xff") }, { 65536, BODY("\xdb\0\1\0\0") },
	};
	static char text[65536];
	struct buf b = BUF_INIT(1 << 20);

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct msg_error m = { { text, cases[i].len } };
		struct msg_error back;

		buf_clear(&b);
		assert_int_equal(wire_put(&b, WIRE_ERROR, &rec_msg_error, &m), 0);
		assert_int_equal(b.len, 8 + cases[i].head.len + cases[i].len);
		assert_same(BODY("\x0d\x81\xa5" "Error"), (struct str){ (char *)b.data, 8 }, "head");
		assert_same(cases[i].head, (struct str){ (char *)b.data + 8, cases[i].head.len }, "length");
		assert_int_equal(wire_get((struct str){ (char *)b.data + 1, b.len - 1 }, &rec_msg_error, &back, NULL, NULL), 0);
		assert_same(m.error, back.error, "text");
	}
	buf_release(&b);
}

static void
nil_empty_and_left_out_are_three_things(void **state)
{
	struct buf b = BUF_INIT(4096);
	struct msg_ack ack = { 1, STR_NONE };
	struct msg_key_request key = { STR_NONE };
	struct msg_ping ping = { .seqno = 1 };
	struct msg_key_response keys;

	(void)state;
	memset(&keys, 0, sizeof(keys));
	assert_int_equal(wire_put_body(&b, &rec_msg_ack, &ack), 0);
	ack.payload = STR("");
	assert_int_equal(wire_put_body(&b, &rec_msg_ack, &ack), 0);
	assert_same(BODY("\x82\xa7Payload\xc0\xa5SeqNo\1" "\x82\xa7Payload\xa0\xa5SeqNo\1"), buf_str(&b), "acks");
	buf_clear(&b);
	assert_int_equal(wire_put_body(&b, &rec_msg_key_request, &key), 0);
	assert_same(BODY("\x81\xa3Key\xa0"), buf_str(&b), "no key");
	buf_clear(&b);
	assert_int_equal(wire_put_body(&b, &rec_msg_ping, &ping), 0);
	assert_same(BODY("\x82\xa4Node\xa0\xa5SeqNo\1"), buf_str(&b), "a ping without a source");
	buf_clear(&b);
	assert_int_equal(wire_put_body(&b, &rec_msg_key_response, &keys), 0);
	assert_same(BODY("\x84\xa4Keys\xc0\xa7Message\xa0\xaaPrimaryKey\xa0\xa6Result\xc2"), buf_str(&b), "no keys");
	/* A list that was read as empty is none that was nil. */
	assert_int_equal(wire_get(BODY("\x81\xa4Keys\x90"), &rec_msg_key_response, &keys, NULL, NULL), 0);
	buf_clear(&b);
	assert_int_equal(wire_put_body(&b, &rec_msg_key_response, &keys), 0);
	assert_same(BODY("\x84\xa4Keys\x90\xa7Message\xa0\xaaPrimaryKey\xa0\xa6Result\xc2"), buf_str(&b), "an empty list of keys");
	buf_release(&b);
}

static void
what_does_not_fit_leaves_nothing_behind(void **state)
{
	struct msg_ping ping = { .seqno = 1, .node = STR("a-name") };
	struct msg_relay relay = { .dest_ip = STR("\1\2\3\4"), .message = STR("\0\1\2") };
	struct strpair pair = { STR("a"), STR("b") };
	const struct strmap tags = { &pair, 1 };
	struct buf whole = BUF_INIT(4096), b;

	(void)state;
	assert_int_equal(wire_put(&whole, WIRE_PING, &rec_msg_ping, &ping), 0);
	for (size_t max = 0; max <= whole.len + 2; max++) {
		buf_init(&b, max);
		if (max >= 2)
			assert_int_equal(buf_add(&b, "xy", 2), 0);
		assert_int_equal(wire_put(&b, WIRE_PING, &rec_msg_ping, &ping), max < whole.len + 2 ? -ELIMIT : 0);
		assert_int_equal(b.len, max < 2 ? 0 : max < whole.len + 2 ? 2 : whole.len + 2);
		buf_release(&b);
	}
	buf_init(&b, 8);
	assert_int_equal(wire_put_body(&b, &rec_msg_ping, &ping), -ELIMIT);
	assert_int_equal(wire_put_relay(&b, &relay), -ELIMIT);
	assert_int_equal(b.len, 0);
	buf_release(&b);
	buf_init(&b, 4);
	assert_int_equal(wire_put_tags(&b, &tags), -ELIMIT);
	assert_int_equal(b.len, 0);
	buf_release(&b);
	buf_release(&whole);
}

/* ---- the state of Serf */

static void
a_ring_of_nothing_takes_no_memory(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct mp_w w = mp_w_init(&b);
	struct msg_serf_state m;
	const struct msg_event_slot *slot;

	(void)state;
	mp_w_map(&w, 2);
	mp_w_cstr(&w, "Events");
	mp_w_array(&w, 60000);
	for (int i = 0; i < 60000; i++) {
		if (i != 1234)
			mp_w_nil(&w);
		else
			mp_w_raw(&w, BODY("\x82\xa6" "Events\x92\x82\xa4Name\xa1" "e\xa7Payload\xa1p\x91\xa1" "f\xa5LTime\x09"));
	}
	mp_w_cstr(&w, "LTime");
	mp_w_uint(&w, 77);
	assert_int_equal(w.err, 0);
	assert_int_equal(wire_get(buf_str(&b), &rec_msg_serf_state, &m, &arena, NULL), 0);
	assert_true(arena.used < 1024);
	assert_true(m.ltime == 77 && m.events.n == 1);
	slot = m.events.v;
	assert_true(slot->ltime == 9 && slot->events.n == 2);
	assert_same(STR("p"), ((const struct msg_event *)slot->events.v)[0].payload, "payload");
	assert_same(STR("f"), ((const struct msg_event *)slot->events.v)[1].name, "an event as a list");
	buf_release(&b);
}

static void
a_state_goes_out_and_comes_back(void **state)
{
	struct str names[2] = { STR("n1"), STR("a-name-of-more-than-thirty-two-bytes") };
	struct msg_ltime times[2] = { { 3 }, { UINT64_MAX } };
	struct msg_event events[2] = { { .name = STR("x"), .payload = STR("y") }, { .name = STR("z") } };
	struct msg_event_slot slots[1] = { { 5, { events, 2 } } };
	struct msg_serf_state m, back;
	struct buf b = BUF_INIT(4096);

	(void)state;
	memset(&m, 0, sizeof(m));
	assert_int_equal(wire_put(&b, SERF_PUSH_PULL, &rec_msg_serf_state, &m), 0);
	assert_same(BODY("\2\x86\xaa" "EventLTime\0\xa6" "Events\x90\xa5LTime\0\xabLeftMembers\x90\xaaQueryLTime\0\xacStatusLTimes\x80"),
	    buf_str(&b), "an empty one");
	m = (struct msg_serf_state){ .ltime = 1, .status_ltimes = { names, times, 2 }, .left_members = { names, 1 }, .event_ltime = 2,
		.events = { slots, 1 }, .query_ltime = 3 };
	buf_clear(&b);
	assert_int_equal(wire_put_body(&b, &rec_msg_serf_state, &m), 0);
	assert_int_equal(wire_get(buf_str(&b), &rec_msg_serf_state, &back, &arena, NULL), 0);
	assert_true(record_equal(&rec_msg_serf_state, &m, &back, NULL));
	buf_release(&b);
}

/* ---- relays, tags, addresses */

static void
a_relay_carries_a_message(void **state)
{
	const struct msg_relay m = { STR("\1\2\3\4"), STR(""), STR("n"), 7, STR("\5rest") };
	struct msg_relay back;
	struct buf b = BUF_INIT(4096);

	(void)state;
	assert_int_equal(wire_put_relay(&b, &m), 0);
	assert_same(BODY("\x09\x82\xa8" "DestAddr\x83\xa2IP\xa4\1\2\3\4\xa4Port\7\xa4Zone\xa0\xa8" "DestName\xa1n\5rest"), buf_str(&b), "relay");
	assert_int_equal(wire_get_relay((struct str){ (char *)b.data + 1, b.len - 1 }, &back, &arena), 0);
	assert_true(str_eq(m.dest_ip, back.dest_ip) && str_eq(m.dest_name, back.dest_name) && back.dest_port == 7);
	assert_same(m.message, back.message, "message");
	/* In the order of declaration; a header without anything behind it. */
	assert_int_equal(wire_get_relay(BODY("\x92\x93\xa4\1\2\3\4\7\xa1z\xa1n"), &back, &arena), 0);
	assert_true(back.dest_port == 7 && str_eqs(back.dest_zone, "z") && str_eqs(back.dest_name, "n") && back.message.len == 0);
	for (size_t n = 0; n < b.len - 1 - m.message.len; n++)
		assert_int_equal(wire_get_relay((struct str){ (char *)b.data + 1, n }, &back, &arena), -EDECODE);
	assert_int_equal(wire_get_relay(BODY("\x81\xa8" "DestAddr\x81\xa4Port\xce\0\1\0\0"), &back, &arena), -EDECODE);
	buf_release(&b);
}

static void
tags_are_sorted_and_bounded(void **state)
{
	struct strpair pairs[] = { { STR("b"), STR("2") }, { STR("a"), STR("1") }, { STR(""), STR("0") } };
	struct strpair many[300];
	char value[600];
	struct buf b = BUF_INIT(4096);
	struct strmap back;

	(void)state;
	assert_int_equal(wire_put_tags(&b, &(struct strmap){ pairs, 3 }), 0);
	assert_same(BODY("\xff\x83\xa0\xa1" "0\xa1" "a\xa1" "1\xa1" "b\xa1" "2"), buf_str(&b), "tags");
	assert_int_equal(wire_put_tags(&b, &(struct strmap){ NULL, 0 }), 0);
	assert_int_equal(b.len, 15);
	/* Read in whatever order: sorted, and the last of a name. */
	assert_int_equal(wire_get_tags(BODY("\xff\x84\xa1" "b\xa1" "1\xa1" "a\xa1" "2\xa1" "b\xa1" "3\xa1" "c\xa0"), &back, &arena), 0);
	assert_int_equal(back.n, 3);
	assert_true(str_eqs(back.v[0].key, "a") && str_eqs(back.v[1].key, "b") && str_eqs(back.v[1].value, "3") && str_eqs(back.v[2].key, "c"));
	assert_int_equal(wire_get_tags(BODY("web"), &back, &arena), 0);
	assert_true(back.n == 1 && str_eqs(back.v[0].key, "role") && str_eqs(back.v[0].value, "web"));
	assert_int_equal(wire_get_tags(STR_NONE, &back, &arena), 0);
	assert_true(back.n == 1 && str_eqs(*strmap_get(&back, STR("role")), ""));
	assert_int_equal(wire_get_tags(BODY("\xff\xc0"), &back, &arena), 0);
	assert_int_equal(back.n, 0);
	assert_int_equal(wire_get_tags(BODY("\xff"), &back, &arena), -EDECODE);
	assert_int_equal(wire_get_tags(BODY("\xff\x81\xa1k\xc4\1v"), &back, &arena), -EDECODE);
	/* 512 bytes go in and out, no more. */
	memset(value, 'v', sizeof(value));
	buf_clear(&b);
	pairs[0].value = (struct str){ value, WIRE_META_MAX - 7 };
	assert_int_equal(wire_put_tags(&b, &(struct strmap){ pairs, 1 }), 0);
	assert_int_equal(b.len, WIRE_META_MAX);
	assert_int_equal(wire_get_tags(buf_str(&b), &back, &arena), 0);
	assert_int_equal(back.v[0].value.len, WIRE_META_MAX - 7);
	assert_int_equal(buf_addc(&b, 0), 0);
	assert_int_equal(wire_get_tags(buf_str(&b), &back, &arena), -ELIMIT);
	pairs[0].value.len++;
	assert_int_equal(wire_put_tags(&b, &(struct strmap){ pairs, 1 }), -ELIMIT);
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct strpair){ STR(""), STR("") };
	assert_int_equal(wire_put_tags(&b, &(struct strmap){ many, ARRAY_LEN(many) }), -ELIMIT);
	assert_int_equal(b.len, WIRE_META_MAX + 1);
	buf_release(&b);
}

static void
addresses_have_one_form(void **state)
{
	struct gossip_addr a, b;

	(void)state;
	memset(&a, 0xff, sizeof(a));
	assert_int_equal(gossip_addr_set(&a, STR("\1\2\3\4"), 8301), 0);
	assert_int_equal(gossip_addr_set(&b, STR("\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4"), 8301), 0);
	assert_true(a.len == 4 && a.port == 8301 && gossip_addr_eq(&a, &b) && memcmp(&a, &b, sizeof(a)) == 0);
	assert_int_equal(gossip_addr_set(&b, STR("\1\2\3\4"), 8302), 0);
	assert_false(gossip_addr_eq(&a, &b));
	assert_int_equal(gossip_addr_set(&b, STR("\1\2\3\5"), 8301), 0);
	assert_false(gossip_addr_eq(&a, &b));
	assert_int_equal(gossip_addr_set(&b, STR("\1\2\3\4\0\0\0\0\0\0\0\0\0\0\0\0"), 8301), 0);
	assert_true(b.len == 16 && !gossip_addr_eq(&a, &b));
	assert_int_equal(gossip_addr_set(&b, STR("\1\2\3\4\5"), 1), -EINVAL);
	assert_int_equal(gossip_addr_set(&b, STR_NONE, 1), -EINVAL);
	assert_int_equal(gossip_addr_set(&b, STR("\1\2\3\4"), 65536), -EINVAL);
}

/* ---- everything that the agents sent, cut short */

static void
cut(struct str body, const struct record *rec, size_t whole)
{
	union any_message m;

	for (size_t n = 0; n < whole; n++) {
		/* A block of its own length: what is read behind it would be seen. */
		char *copy = malloc(n > 0 ? n : 1);

		assert_non_null(copy);
		memcpy(copy, body.p, n);
		if (wire_get((struct str){ copy, n }, rec, &m, &arena, NULL) != -EDECODE)
			fail_msg("%s: %zu bytes of %zu are taken", rec->name, n, whole);
		free(copy);
	}
}

static void
messages_cut_anywhere_are_refused(void **state)
{
	struct json_object *all = vectors_load(), *vectors = member(all, "vectors");
	size_t done = 0;

	(void)state;
	for (size_t i = 0; i < json_object_array_length(vectors); i++) {
		struct json_object *v = json_object_array_get_idx(vectors, i);
		struct buf in = hex_of(v, "hex");
		bool serf = in.data[0] == WIRE_USER;
		const struct record *rec = serf ? serf_record(in.data[1]) : membership_record(in.data[0]);
		struct str body = { (char *)in.data + 1 + serf, in.len - 1 - serf };
		union any_message m;
		size_t used;

		/* Seals look like pings: those that are bare messages decode whole. */
		if (rec != NULL && wire_get(body, rec, &m, &arena, &used) == 0 && used == body.len) {
			cut(body, rec, used);
			done++;
		}
		buf_release(&in);
	}
	assert_true(done > 10);
	json_object_put(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_stand_in_the_order_of_names_and_know_their_place),
		cmocka_unit_test_setup_teardown(readers_take_what_peers_take, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_or_nil_is_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(what_peers_refuse_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_largest_values_that_fit_are_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(nesting_is_followed_so_far_and_no_further, setup, teardown),
		cmocka_unit_test_setup_teardown(an_arena_is_needed_for_lists_alone, setup, teardown),
		cmocka_unit_test(texts_are_written_in_the_old_dialect),
		cmocka_unit_test(nil_empty_and_left_out_are_three_things),
		cmocka_unit_test(what_does_not_fit_leaves_nothing_behind),
		cmocka_unit_test_setup_teardown(a_ring_of_nothing_takes_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_state_goes_out_and_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_relay_carries_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(tags_are_sorted_and_bounded, setup, teardown),
		cmocka_unit_test(addresses_have_one_form),
		cmocka_unit_test_setup_teardown(messages_cut_anywhere_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
