/* fsm_image.c - entries and the image: round trips, writes that happen once, damaged records. */
#include "t/unit/fsm_image.h"

/* A state with something in every table. */
static struct world *
full(void)
{
	struct world *w = world_new();
	char key[32];

	node(w, "n1");
	reg(w, "{'Node':'n2','Address':'10.0.0.2','ID':'11111111-2222-3333-4444-555555555555','TaggedAddresses':{'lan':'x'},"
	    "'NodeMeta':{'a':'b'},'Service':{'Service':'Web','ID':'w1','Tags':['t'],'Meta':{'m':'1'},'Proxy':{'Mode':'x'}},"
	    "'Checks':[{'CheckID':'c1','Status':'passing','ServiceID':'w1'},{'Name':'c2','Status':'warning'}]}");
	reg(w, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'Service':'gone'}}");
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n2','ServiceID':'gone'}");
	coordinates(w, "[" AT("n1", "0.5") "," AT("n2", "0.25") "]");
	session(w, SID(1), "'TTL':'10s','Name':'s'");
	session(w, SID(2), "'Behavior':'delete','LockDelay':'20s'");
	for (int i = 0; i < 300; i++) {
		(void)snprintf(key, sizeof(key), "k/%d", i);
		put(w, key, "eA==");
	}
	kv_op(w, "set", "flags", "'Flags':5");
	kv_op(w, "lock", "l1", "'Session':'" SID(1) "','Value':'eA=='");
	kv_op(w, "lock", "l2", "'Session':'" SID(2) "'");
	kv_op(w, "delete", "k/7", "");
	kv_op(w, "delete-tree", "k/1", "");
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(2) "'}");
	w->options = (struct query_options){ .origin = STR("0123456789abcdef"), .seq = 1, .floor = 1 };
	put(w, "once", "eA==");
	w->options.seq = 2;
	kv_op(w, "lock", "x", "'Session':'" SID(9) "'");
	w->options = (struct query_options){ .seq = 0 };
	return w;
}

static void
test_round_trip(void **state)
{
	struct world *a = full(), *b;
	struct image x, y, z;

	(void)state;
	image_dump(a->f, &x);
	b = world_load(&x);
	image_dump(b->f, &y);
	assert_image_equal(&x, &y);
	assert_int_equal(fsm_applied(b->f), a->index);
	assert_true(fsm_time(b->f) == a->time);
	assert_true(fsm_next_deadline(b->f) == fsm_next_deadline(a->f));
	/* Loaded table by table in the opposite order it is the same. */
	world_free(b);
	b = world_load_reversed(&x);
	image_dump(b->f, &z);
	assert_image_equal(&x, &z);
	/* And the same entries do the same to both. */
	a->time = b->time = S(1015);
	for (int i = 0; i < 2; i++) {
		struct world *w = i == 0 ? a : b;

		assert_string_equal(kv_op(w, "lock", "l2", "'Session':'" SID(1) "'"), "false");
		tick(w, NULL, NULL, a->index - 2);
		apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
		apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n2','ServiceID':'w1'}");
		kv_op(w, "delete-tree", "k", "");
		w->time = S(1030);
		put(w, "z", "");
	}
	image_free(&y);
	image_free(&z);
	image_dump(a->f, &y);
	image_dump(b->f, &z);
	assert_image_equal(&y, &z);
	image_free(&x);
	image_free(&y);
	image_free(&z);
	world_free(a);
	world_free(b);
}

/* What changed() says, batch by batch, is the image. */
static void
test_changes_make_the_image(void **state)
{
	struct world *w = world_new();
	struct image live, dump;
	struct fsm_sink sink = { .ctx = &live, .changed = image_changed };

	(void)state;
	image_init(&live);
	w->sink = &sink;
	for (int i = 0; i < 3; i++) {
		node(w, i == 0 ? "n1" : "n2");
		session(w, SID(1), "'TTL':'10s'");
		w->options = (struct query_options){ .origin = STR("0123456789abcdef"), .seq = (uint64_t)i + 1 };
		put(w, "a", "eA==");
		kv_op(w, "lock", "b", "'Session':'" SID(1) "'");
		w->options = (struct query_options){ .seq = 0 };
		reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web'},'Check':{'Name':'c'}}");
		kv_op(w, "delete", "a", "");
		apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
		tick(w, NULL, NULL, w->index - 1);
		w->time += S(20);
		assert_int_equal(fsm_flush(w->f, &sink), 0);
		image_dump(w->f, &dump);
		assert_image_equal(&live, &dump);
		image_free(&dump);
	}
	/* An hour of silence: the origin is forgotten, on disk as well. */
	w->time += S(3700);
	tick(w, NULL, NULL, 0);
	assert_int_equal(fsm_flush(w->f, &sink), 0);
	image_dump(w->f, &dump);
	assert_image_equal(&live, &dump);
	for (size_t i = 0; i < dump.n; i++)
		assert_int_not_equal(dump.v[i].table, FSM_ORIGIN);
	image_free(&dump);
	image_free(&live);
	world_free(w);
}

static void
test_damaged_records(void **state)
{
	struct world *a = full();
	struct image x;

	(void)state;
	image_dump(a->f, &x);
	/* Each value cut short, each key changed: refused or harmless, never a crash. */
	for (size_t i = 0; i < x.n; i += x.v[i].table == FSM_KV ? 40 : 1) {
		struct world *b = world_new();
		struct str v = x.v[i].value;

		assert_int_equal(fsm_load(b->f, x.v[i].table, x.v[i].key, (struct str){ v.p, v.len - 1 }), -EDECODE);
		assert_int_equal(fsm_load(b->f, x.v[i].table, x.v[i].key, STR("\xc1")), -EDECODE);
		if (x.v[i].table == FSM_NODE || x.v[i].table == FSM_SERVICE || x.v[i].table == FSM_CHECK || x.v[i].table == FSM_SESSION)
			assert_int_equal(fsm_load(b->f, x.v[i].table, STR("other"), v), -EDECODE);
		world_free(b);
	}
	assert_int_equal(fsm_load(a->f, FSM_TABLES, STR("x"), STR("\x80")), -EDECODE);
	image_free(&x);
	world_free(a);
}

/* Without one of its parts an image does not load. */
static void
test_parts_that_do_not_fit(void **state)
{
	struct world *a = full(), *b;
	struct image x;

	(void)state;
	image_dump(a->f, &x);
	for (int without = 0; without < FSM_TABLES; without++) {
		b = world_new();
		for (size_t i = 0; i < x.n; i++)
			if ((int)x.v[i].table != without)
				assert_int_equal(fsm_load(b->f, x.v[i].table, x.v[i].key, x.v[i].value), 0);
		if (without == FSM_NODE || without == FSM_SERVICE || without == FSM_META)
			assert_int_equal(fsm_loaded(b->f), -EDECODE);
		world_free(b);
	}
	image_free(&x);
	world_free(a);
}

static void
test_entries(void **state)
{
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .time = S(5), .op = OP_KV_APPLY, .options = STR("\x80"), .request = STR("\x81\xa1" "a\x01") };
	struct buf b = BUF_INIT(1024);
	struct fsm_entry got;
	struct str in;

	(void)state;
	assert_int_equal(fsm_entry_encode(&e, &b), 0);
	in = (struct str){ (char *)b.data, b.len };
	assert_int_equal(fsm_entry_decode(in, &got), 0);
	assert_true(got.kind == e.kind && got.time == e.time && got.op == e.op);
	assert_true(str_eq(got.options, e.options) && str_eq(got.request, e.request));
	for (size_t n = 0; n < in.len; n++)
		assert_int_equal(fsm_entry_decode((struct str){ in.p, n }, &got), -EDECODE);
	/* An element of a later release is skipped. */
	b.data[0] = 0x96;
	assert_int_equal(buf_adds(&b, "\xa1z"), 0);
	assert_int_equal(fsm_entry_decode((struct str){ (char *)b.data, b.len }, &got), 0);
	assert_int_equal(fsm_entry_decode(STR("\x95\x00\x00\x00\xc0\xc0\x00"), &got), -EDECODE);
	buf_release(&b);
}

/* Entries as release 0.1 wrote them: they must be read for ever. */
static void
test_fixture_of_the_first_release(void **state)
{
	static const char set[] = "\x95\x01\xcf\x00\x00\x00\xe8\xd4\xa5\x10\x00\x71\x80\x82\xa2" "Op\xa3set\xa6" "DirEnt\x87\xa9LockIndex\x00\xa3Key\xa1"
	    "a\xa5" "Flags\x01\xa5Value\xc4\x01x\xab" "CreateIndex\x00\xabModifyIndex\x00\xa7Session\xa0";
	static const char noop[] = "\x95\x00\x00\x00\xc0\xc0";
	static const char tick1[] = "\x95\x02\x05\x00\xc0\x81\xaeReapTombstones\x01";
	struct world *w = world_new();
	struct fsm_entry e;

	(void)state;
	assert_int_equal(fsm_entry_decode((struct str){ set, sizeof(set) - 1 }, &e), 0);
	assert_true(e.time == S(1000));
	assert_string_equal(apply_entry(w, &e), "true");
	assert_string_equal(get(w, "a"), "[{'LockIndex':0,'Key':'a','Flags':1,'Value':'eA==','CreateIndex':1,'ModifyIndex':1}]");
	assert_int_equal(fsm_entry_decode((struct str){ noop, sizeof(noop) - 1 }, &e), 0);
	assert_string_equal(apply_entry(w, &e), "");
	assert_int_equal(fsm_entry_decode((struct str){ tick1, sizeof(tick1) - 1 }, &e), 0);
	assert_string_equal(apply_entry(w, &e), "");
	assert_int_equal(fsm_applied(w->f), 3);
	world_free(w);
}

static void
test_unreadable_entries(void **state)
{
	static const struct fsm_entry bad[] = {
		{ .kind = 9 },
		{ .kind = FSM_ENTRY_OP, .op = 60000, .request = { "\x80", 1 } },
		{ .kind = FSM_ENTRY_OP, .op = OP_KV_GET, .request = { "\x80", 1 } },
		{ .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY, .request = { "\x81", 1 } },
		{ .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY, .request = { "\x80\x80", 2 } },
		{ .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY, .options = { "\x81", 1 }, .request = { "\x80", 1 } },
		{ .kind = FSM_ENTRY_TICK, .request = { "\x81\xa5Renew\x01", 8 } },
	};
	struct buf out = BUF_INIT(64);
	struct fsm_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct world *w = world_new();

		assert_int_equal(fsm_apply(w->f, 1, &bad[i], &out, &err, NULL), -EDECODE);
		assert_int_equal(out.len, 0);
		world_free(w);
	}
	buf_release(&out);
}

/* ---- writes happen once */

static void
stamp(struct world *w, uint64_t seq, uint64_t floor)
{
	w->options = (struct query_options){ .origin = STR("0123456789abcdef"), .seq = seq, .floor = floor };
}

static void
test_once(void **state)
{
	struct world *w = world_new();
	static const char unknown[] = "E500 The outcome of this write is no longer known";

	(void)state;
	stamp(w, 1, 1);
	assert_string_equal(kv_op(w, "cas", "a", "'Value':'eA=='"), "true");
	/* The same again: the first result, nothing changed, nobody told. */
	assert_string_equal(kv_op(w, "cas", "a", "'Value':'eA=='"), "true");
	assert_string_equal(w->touched, "");
	get(w, "a");
	assert_int_equal(w->result_index, 1);
	assert_true(fsm_seen(w->f, w->options.origin, 1));
	assert_false(fsm_seen(w->f, w->options.origin, 2));
	/* Errors are results too. */
	stamp(w, 2, 1);
	kv_op(w, "lock", "b", "'Session':'" SID(1) "'");
	assert_string_equal(reg(w, "{'Node':'n1','Address':'x'}"), "E500 raft apply failed: invalid session '" SID(1) "'");
	assert_string_equal(query(w, OP_CATALOG_NODES, "{}"), "[]");
	world_free(w);

	w = world_new();
	stamp(w, 1, 1);
	put(w, "a", "");
	stamp(w, 3, 1);
	put(w, "b", "");
	stamp(w, 2, 1);	/* out of order is fine */
	put(w, "c", "");
	assert_non_null(strstr(get(w, "c"), "'ModifyIndex':3"));
	/* Below the floor results are dropped; what comes late is refused, not applied again. */
	stamp(w, 4, 3);
	put(w, "d", "");
	stamp(w, 2, 3);
	assert_string_equal(put(w, "c", "eA=="), unknown);
	stamp(w, 3, 3);
	assert_string_equal(put(w, "b", "eA=="), "true");
	assert_non_null(strstr(get(w, "b"), "'ModifyIndex':2"));
	/* Another origin has its own numbers; without a stamp everything is applied. */
	stamp(w, 0, 0);
	assert_string_equal(put(w, "b", "eA=="), "true");
	assert_non_null(strstr(get(w, "b"), "'ModifyIndex':7"));
	w->options = (struct query_options){ .origin = STR("fedcba9876543210"), .seq = 1 };
	assert_string_equal(put(w, "b", "eQ=="), "true");
	assert_non_null(strstr(get(w, "b"), "'ModifyIndex':8"));
	world_free(w);
}

static void
test_origins_are_bounded(void **state)
{
	struct world *w = world_new();
	struct fsm_stats st;
	char name[17];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		(void)snprintf(name, sizeof(name), "%016u", i);
		w->options = (struct query_options){ .origin = { name, 16 }, .seq = 1 };
		w->time += 1;
		put(w, "k", "");
	}
	fsm_stats(w->f, &st);
	assert_int_equal(st.origins, 4096);
	/* The oldest went. */
	assert_false(fsm_seen(w->f, STR("0000000000000903"), 1));
	assert_true(fsm_seen(w->f, STR("0000000000000904"), 1));
	/* Idle for an hour of cluster time: all. */
	w->options = (struct query_options){ .seq = 0 };
	w->time += S(3500);
	tick(w, NULL, NULL, 0);
	fsm_stats(w->f, &st);
	assert_int_equal(st.origins, 4096);
	w->time += S(200);
	tick(w, NULL, NULL, 0);
	fsm_stats(w->f, &st);
	assert_int_equal(st.origins, 0);
	/* One origin's results are bounded in number. */
	for (unsigned i = 1; i <= 4200; i++) {
		stamp(w, i, 1);
		put(w, "k", "");
	}
	stamp(w, 104, 1);
	assert_string_equal(put(w, "k", "eA=="), "E500 The outcome of this write is no longer known");
	stamp(w, 105, 1);
	assert_string_equal(put(w, "k", "eA=="), "true");
	assert_non_null(strstr(get(w, "k"), "'Value':null"));
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_changes_make_the_image),
		cmocka_unit_test(test_damaged_records),
		cmocka_unit_test(test_parts_that_do_not_fit),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_fixture_of_the_first_release),
		cmocka_unit_test(test_unreadable_entries),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_origins_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
