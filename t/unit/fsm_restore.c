/* fsm_restore.c - a state that replaces another through the log, and what a restore leaves alone. */
#include "t/unit/fsm_image.h"

/* What a store would hold, a staged generation beside it. */
struct store {
	struct world *w;
	struct image live, next;
	bool staging;
};

static void
store_changed(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	image_changed(&((struct store *)ctx)->live, table, key, value);
}

static void
store_staged(void *ctx, enum fsm_stage what)
{
	struct store *s = ctx;

	assert_true(s->staging == (what != FSM_STAGE_BEGIN));
	s->staging = what == FSM_STAGE_BEGIN;
	if (what == FSM_STAGE_COMMIT) {
		image_free(&s->live);
		s->live = s->next;
		image_init(&s->next);
	}
	image_free(&s->next);
}

static void
store_staged_record(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct store *s = ctx;

	assert_true(s->staging);
	image_changed(&s->next, table, key, value);
}

static void
store_touched(void *ctx, const struct watch_key *key)
{
	note_touched(((struct store *)ctx)->w, key);
}

static struct fsm_sink
store_sink(struct store *s)
{
	return (struct fsm_sink){ .ctx = s, .changed = store_changed, .touched = store_touched, .staged = store_staged,
		.staged_record = store_staged_record };
}

/* ---- parts */

#define RESTORE_ID "0123456789abcdef"

static const char *
part(struct world *w, uint64_t kind, const char *id, uint64_t number, uint64_t index, struct str records)
{
	struct fsm_restore p = { kind, str_from(id), number, index, records };
	struct buf request = BUF_INIT(WORLD_TEXT_MAX);
	struct mp_w m = mp_w_init(&request);
	struct fsm_entry e = { .kind = FSM_ENTRY_RESTORE };

	record_encode(&rec_fsm_restore, &p, RECORD_WHOLE, &m);
	assert_int_equal(m.err, 0);
	e.request = (struct str){ (char *)request.data, request.len };
	apply_entry(w, &e);
	buf_release(&request);
	return w->text;
}

static void
add_u32(struct buf *b, size_t v)
{
	const uint8_t be[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	assert_int_equal(buf_add(b, be, 4), 0);
}

static void
add_record(struct buf *b, const struct image_record *r)
{
	assert_int_equal(buf_addc(b, (uint8_t)r->table), 0);
	add_u32(b, r->key.len);
	add_u32(b, r->value.len);
	assert_int_equal(buf_add(b, r->key.p, r->key.len), 0);
	assert_int_equal(buf_add(b, r->value.p, r->value.len), 0);
}

/* All records in parts of `each` records. Returns how many there were. */
static uint64_t
send_data(struct world *w, const struct image *m, size_t each)
{
	struct buf b = BUF_INIT(WORLD_TEXT_MAX);
	uint64_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		add_record(&b, &m->v[i]);
		if ((i + 1) % each != 0 && i + 1 < m->n)
			continue;
		assert_string_equal(part(w, FSM_RESTORE_DATA, RESTORE_ID, ++n, 0, (struct str){ (char *)b.data, b.len }), "");
		buf_clear(&b);
	}
	buf_release(&b);
	return n;
}

static void
restore(struct world *w, const struct image *m, uint64_t index, size_t each)
{
	assert_string_equal(part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, index, STR_NONE), "");
	assert_true(fsm_restoring(w->f));
	assert_string_equal(part(w, FSM_RESTORE_END, RESTORE_ID, send_data(w, m, each), 0, STR_NONE), "");
	assert_false(fsm_restoring(w->f));
}

/* Something of everything. */
static struct world *
source(void)
{
	struct world *w = world_new();

	node(w, "n1");
	reg(w, "{'Node':'n2','Address':'x','ID':'aaaaaaaa-0000-0000-0000-000000000001','Service':{'Service':'web','Tags':['a']},"
	    "'Checks':[{'CheckID':'a','Status':'passing','ServiceID':'web'}]}");
	session(w, SID(1), "'TTL':'10s','LockDelay':'15s'");
	session(w, SID(2), "");
	put(w, "new/a", "eA==");
	put(w, "new/b", "eQ==");
	put(w, "new/gone", "eQ==");
	kv_op(w, "delete", "new/gone", "");
	kv_op(w, "lock", "held", "'Session':'" SID(1) "'");
	apply(w, OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':3,'LastContactThreshold':'1s'}}");
	coordinates(w, "[" AT("n1", "0.25") "]");
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x07q1"), STR("\x81\xa1k\x01")), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x07q2"), STR("\xc0")), 0);
	return w;
}

static void
source_image(struct image *m)
{
	struct world *w = source();

	image_dump(w->f, m);
	world_free(w);
}

/* A state that was there before. */
static struct world *
old_world(void)
{
	struct world *w = world_new();

	w->time = S(5000);
	node(w, "n9");
	reg(w, "{'Node':'n9','Address':'10.0.0.1','SkipNodeUpdate':true,'Service':{'Service':'old'}}");
	assert_string_equal(apply(w, OP_SESSION_CREATE, "{'ID':'" SID(9) "','Node':'n9','LockDelay':'60s'}"), "'" SID(9) "'");
	kv_op(w, "lock", "held", "'Session':'" SID(9) "'");
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(9) "'}");
	w->options = (struct query_options){ .origin = STR("writer"), .seq = 7, .floor = 1 };
	put(w, "old/k", "eA==");
	w->options = (struct query_options){ 0 };
	assert_int_equal(fsm_apply_servers(w->f, ++w->index, STR("three servers"), NULL), 0);
	return w;
}

/* ---- tests */

static void
test_replaces(void **state)
{
	struct world *w = old_world();
	struct image m;
	uint64_t before = fsm_index(w->f), index;

	(void)state;
	source_image(&m);
	restore(w, &m, 100, 3);
	assert_string_equal(w->touched, "all: ");
	assert_int_equal(fsm_applied(w->f), w->index);
	assert_int_equal(fsm_index(w->f), 101);
	assert_true(fsm_index(w->f) > before);
	assert_string_equal(get(w, "old/k"), "[]");
	assert_string_equal(list(w, "new/"), "[{'LockIndex':0,'Key':'new/a','Flags':0,'Value':'eA==','CreateIndex':5,'ModifyIndex':5},"
	    "{'LockIndex':0,'Key':'new/b','Flags':0,'Value':'eQ==','CreateIndex':6,'ModifyIndex':6}]");
	assert_int_equal(w->result_index, 8);	/* of the tombstone below it */
	assert_non_null(strstr(query(w, OP_CATALOG_SERVICE, "{'Service':'web'}"), "'ServiceTags':['a']"));
	assert_string_equal(query(w, OP_CATALOG_SERVICE, "{'Service':'old'}"), "[]");
	assert_non_null(strstr(query(w, OP_AUTOPILOT_CONFIG, NULL), "'MinQuorum':3"));
	assert_string_equal(query(w, OP_COORDINATE_LIST, "{}"), "[" AT("n1", "0.25") "]");
	assert_string_equal(fsm_servers(w->f, &index).p != NULL ? "kept" : "", "kept");
	put(w, "new/c", "eA==");
	assert_non_null(strstr(get(w, "new/c"), "'CreateIndex':102,'ModifyIndex':102"));
	image_free(&m);
	world_free(w);
}

static void
test_indexes(void **state)
{
	static const struct {
		uint64_t old, snapshot, want;	/* 0: the log's */
	} cases[] = {
		{ 20, 1, 0 }, { 1, 5, 12 }, { 20, 1000000, 1000001 },
	};
	struct image m;

	(void)state;
	source_image(&m);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world *w = world_new();

		w->index = cases[i].old;
		node(w, "n");
		/* The snapshot's own index may lie: what it holds counts too. */
		restore(w, &m, cases[i].snapshot, 1000);
		assert_int_equal(fsm_index(w->f), cases[i].want != 0 && cases[i].want > w->index ? cases[i].want : w->index);
		world_free(w);
	}
	image_free(&m);
}

static void
test_kept(void **state)
{
	struct world *w = old_world(), *again;
	struct image m, dump;
	uint64_t index;
	struct str servers;

	(void)state;
	source_image(&m);
	/* The lock delay of the ended session holds before, and not after. */
	assert_string_equal(apply(w, OP_SESSION_CREATE, "{'ID':'" SID(8) "','Node':'n9'}"), "'" SID(8) "'");
	assert_string_equal(kv_op(w, "lock", "held", "'Session':'" SID(8) "'"), "false");
	restore(w, &m, 50, 2);
	assert_string_equal(kv_op(w, "unlock", "held", "'Session':'" SID(1) "'"), "true");
	assert_string_equal(kv_op(w, "lock", "held", "'Session':'" SID(2) "'"), "true");
	/* A full TTL from the end of the restore on. */
	assert_int_equal(fsm_next_deadline(w->f), S(5020));
	assert_true(fsm_seen(w->f, STR("writer"), 7));
	servers = fsm_servers(w->f, &index);
	assert_true(str_eqs(servers, "three servers"));
	image_dump(w->f, &dump);
	again = world_load(&dump);
	assert_int_equal(fsm_index(again->f), fsm_index(w->f));
	assert_int_equal(fsm_next_deadline(again->f), S(5020));
	assert_true(str_eqs(fsm_servers(again->f, &index), "three servers"));
	assert_int_equal(index, 7);
	world_free(again);
	image_free(&dump);
	image_free(&m);
	world_free(w);
}

static void
test_same_everywhere(void **state)
{
	struct world *a = old_world(), *b = old_world();
	struct image m, one, two;

	(void)state;
	source_image(&m);
	restore(a, &m, 100, 1);
	restore(b, &m, 100, 1);
	image_dump(a->f, &one);
	image_dump(b->f, &two);
	assert_image_equal(&one, &two);
	/* One that was loaded from its image goes on like one that was not. */
	world_free(b);
	b = world_load(&two);
	restore(a, &m, 7, 4);
	restore(b, &m, 7, 4);
	put(a, "x", "eA==");
	put(b, "x", "eA==");
	image_free(&one);
	image_free(&two);
	image_dump(a->f, &one);
	image_dump(b->f, &two);
	assert_image_equal(&one, &two);
	image_free(&one);
	image_free(&two);
	image_free(&m);
	world_free(a);
	world_free(b);
}

static void
test_store(void **state)
{
	struct world *w = old_world();
	struct store s = { .w = w };
	struct fsm_sink sink = store_sink(&s), dump = { .ctx = &s.live, .changed = image_changed };
	struct image m, want;

	(void)state;
	source_image(&m);
	assert_int_equal(fsm_dump(w->f, &dump), 0);
	w->sink = &sink;
	restore(w, &m, 100, 2);
	image_dump(w->f, &want);
	assert_image_equal(&s.live, &want);
	image_free(&want);
	/* Dropped: the live image goes on. */
	assert_string_equal(part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 200, STR_NONE), "");
	(void)send_data(w, &m, 5);
	put(w, "y", "eA==");
	assert_string_equal(part(w, FSM_RESTORE_DROP, RESTORE_ID, 0, 0, STR_NONE), "");
	assert_false(s.staging);
	assert_int_equal(fsm_flush(w->f, &sink), 0);
	image_dump(w->f, &want);
	assert_image_equal(&s.live, &want);
	image_free(&want);
	image_free(&s.live);
	image_free(&m);
	world_free(w);
}

static void
test_order(void **state)
{
	static const char interrupted[] = "E500 failed to restore snapshot: it was interrupted; the old state stays";
	struct world *w = old_world();
	struct fsm_entry noop = { .kind = FSM_ENTRY_NOOP };
	struct image m;
	uint64_t n;

	(void)state;
	source_image(&m);
	assert_string_equal(part(w, FSM_RESTORE_DATA, RESTORE_ID, 1, 0, STR_NONE), interrupted);
	assert_string_equal(part(w, FSM_RESTORE_END, RESTORE_ID, 0, 0, STR_NONE), interrupted);
	/* A number is left out; then there is nothing to end. */
	part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 100, STR_NONE);
	assert_string_equal(part(w, FSM_RESTORE_DATA, RESTORE_ID, 2, 0, STR_NONE), interrupted);
	assert_false(fsm_restoring(w->f));
	/* The same part twice. */
	part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 100, STR_NONE);
	n = send_data(w, &m, 4);
	assert_string_equal(part(w, FSM_RESTORE_DATA, RESTORE_ID, n, 0, STR_NONE), interrupted);
	/* Another restore's. */
	part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 100, STR_NONE);
	assert_string_equal(part(w, FSM_RESTORE_DATA, "another restore!", 1, 0, STR_NONE), interrupted);
	/* Not all of it. */
	part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 100, STR_NONE);
	n = send_data(w, &m, 4);
	assert_string_equal(part(w, FSM_RESTORE_END, RESTORE_ID, n + 1, 0, STR_NONE), interrupted);
	/* A new leader. */
	part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 100, STR_NONE);
	n = send_data(w, &m, 4);
	apply_entry(w, &noop);
	assert_false(fsm_restoring(w->f));
	assert_string_equal(part(w, FSM_RESTORE_END, RESTORE_ID, n, 0, STR_NONE), interrupted);
	assert_string_equal(get(w, "new/a"), "[]");
	assert_non_null(strstr(get(w, "old/k"), "'old/k'"));
	assert_int_equal(fsm_index(w->f), fsm_applied(w->f));
	image_free(&m);
	world_free(w);
}

static void
test_refused(void **state)
{
	static const char unfit[] = "E500 failed to restore snapshot: its records do not fit together; the old state stays";
	static const struct {
		const char *records;
		size_t len;
		bool at_end;
	} cases[] = {
		{ "\x01\0\0\0", 4, false },				/* cut off */
		{ "\x01\xff\xff\xff\xff\xff\xff\xff\xff", 9, false },
		{ "\x63\0\0\0\x01\0\0\0\x01kv", 11, false },		/* no such table */
		{ "\x01\0\0\0\x01\0\0\0\x01k\xc1", 11, false },		/* no msgpack */
		{ "\x09\0\0\0\x01\0\0\0\x02k\x01\x02", 12, false },	/* two values */
		{ "\x00\0\0\0\x0b\0\0\0\x08service.web\x81\xa5Index\x01", 28, true },	/* a name without instances */
	};
	struct world *w = old_world();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 100, STR_NONE);
		part(w, FSM_RESTORE_DATA, RESTORE_ID, 1, 0, (struct str){ cases[i].records, cases[i].len });
		if (cases[i].at_end)
			part(w, FSM_RESTORE_END, RESTORE_ID, 1, 0, STR_NONE);
		assert_string_equal(w->text, unfit);
		assert_false(fsm_restoring(w->f));
	}
	assert_non_null(strstr(part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, UINT64_MAX, STR_NONE), "E500 failed to restore snapshot: its index 1844"));
	part(w, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 1, STR_NONE);
	part(w, FSM_RESTORE_DATA, RESTORE_ID, 1, 0, STR("\x02\0\0\0\x01\0\0\0\x16" "k\x81\xabModifyIndex\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
	assert_non_null(strstr(part(w, FSM_RESTORE_END, RESTORE_ID, 1, 0, STR_NONE), "its index 1844"));
	assert_false(fsm_restoring(w->f));
	assert_non_null(strstr(get(w, "old/k"), "'old/k'"));
	world_free(w);
}

/* The last of two records with one key stands; two nodes with one ID do not fit. */
static void
test_twice(void **state)
{
	struct image a, b;
	struct world *w = source(), *r = world_new();

	(void)state;
	image_dump(w->f, &a);
	put(w, "new/a", "enp6");
	reg(w, "{'Node':'n2','Address':'y','ID':'aaaaaaaa-0000-0000-0000-000000000001'}");
	kv_op(w, "unlock", "held", "'Session':'" SID(1) "'");
	image_dump(w->f, &b);
	part(r, FSM_RESTORE_BEGIN, RESTORE_ID, 0, 20, STR_NONE);
	assert_int_equal(send_data(r, &a, 1000), 1);
	for (size_t i = 0; i < b.n; i++) {
		struct buf one = BUF_INIT(WORLD_TEXT_MAX);

		add_record(&one, &b.v[i]);
		assert_string_equal(part(r, FSM_RESTORE_DATA, RESTORE_ID, i + 2, 0, (struct str){ (char *)one.data, one.len }), "");
		buf_release(&one);
	}
	assert_string_equal(part(r, FSM_RESTORE_END, RESTORE_ID, b.n + 1, 0, STR_NONE), "");
	assert_non_null(strstr(get(r, "new/a"), "'Value':'enp6'"));
	assert_non_null(strstr(query(r, OP_CATALOG_NODE, "{'Node':'n2'}"), "'Address':'y'"));
	assert_null(strstr(get(r, "held"), "Session"));
	assert_string_equal(query(r, OP_KV_LIST, "{'Key':'new/gone'}"), "[]");
	assert_int_equal(r->result_index, 8);
	image_free(&a);
	image_free(&b);
	world_free(w);
	world_free(r);
}

static void
test_servers(void **state)
{
	struct world *w = world_new(), *again;
	struct image live, dump;
	struct fsm_sink sink = { .ctx = &live, .changed = image_changed };
	uint64_t index;

	(void)state;
	image_init(&live);
	assert_int_equal(fsm_servers(w->f, &index).len, 0);
	assert_int_equal(index, 0);
	put(w, "k", "eA==");
	assert_int_equal(fsm_apply_servers(w->f, ++w->index, STR("one"), &sink), 0);
	assert_int_equal(fsm_apply_servers(w->f, ++w->index, STR("two"), &sink), 0);
	assert_int_equal(fsm_applied(w->f), 3);
	w->sink = &sink;
	put(w, "l", "eA==");
	assert_int_equal(fsm_flush(w->f, &sink), 0);
	image_dump(w->f, &dump);
	again = world_load(&dump);
	assert_true(str_eqs(fsm_servers(again->f, &index), "two"));
	assert_int_equal(index, 3);
	put(w, "k", "eQ==");
	assert_int_equal(fsm_flush(w->f, &sink), 0);
	image_free(&dump);
	image_dump(w->f, &dump);
	assert_image_equal(&live, &dump);
	image_free(&live);
	image_free(&dump);
	world_free(again);
	world_free(w);
}

static void
test_autopilot(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(query(w, OP_AUTOPILOT_CONFIG, NULL), "{'CleanupDeadServers':true,'LastContactThreshold':'200ms',"
	    "'MaxTrailingLogs':250,'MinQuorum':0,'ServerStabilizationTime':'10s','RedundancyZoneTag':'','DisableUpgradeMigration':false,"
	    "'UpgradeVersionTag':'','CreateIndex':0,'ModifyIndex':0}");
	assert_string_equal(apply(w, OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':1,'ModifyIndex':0},'CAS':true}"), "false");
	assert_string_equal(apply(w, OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':3}}"), "true");
	assert_string_equal(apply(w, OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':5,'ModifyIndex':1},'CAS':true}"), "false");
	assert_string_equal(apply(w, OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':5,'ModifyIndex':2,'LastContactThreshold':'1s'},'CAS':true}"), "true");
	assert_string_equal(query(w, OP_AUTOPILOT_CONFIG, NULL), "{'CleanupDeadServers':false,'LastContactThreshold':'1s',"
	    "'MaxTrailingLogs':0,'MinQuorum':5,'ServerStabilizationTime':'0s','RedundancyZoneTag':'','DisableUpgradeMigration':false,"
	    "'UpgradeVersionTag':'','CreateIndex':2,'ModifyIndex':4}");
	assert_string_equal(check_first(w, OP_AUTOPILOT_SET, "{'Config':{'LastContactThreshold':'-1s'}}"),
	    "E400 Bad request: LastContactThreshold must not be negative");
	assert_string_equal(check_first(w, OP_AUTOPILOT_SET, "{'Config':{'ServerStabilizationTime':'-1s'}}"),
	    "E400 Bad request: ServerStabilizationTime must not be negative");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaces), cmocka_unit_test(test_indexes), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_same_everywhere), cmocka_unit_test(test_store), cmocka_unit_test(test_order),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_twice), cmocka_unit_test(test_servers),
		cmocka_unit_test(test_autopilot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
