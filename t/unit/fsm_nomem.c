/* fsm_nomem.c - the Nth allocation fails, for every N: -ENOMEM is told, and what is there can be freed. */
#include "t/unit/fsm_image.h"

#include "t/unit/nomem.h"

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused;
static bool once;	/* only that one is refused: all behind it succeed */

static bool
refuse(void)
{
	if (left != 0) {
		left -= left > 0;
		return false;
	}
	refused = true;
	left -= once;
	return true;
}

/* Something of everything, in leaves that are full. */
static struct world *
prepared(void)
{
	struct world *w = world_new();
	char key[32];

	node(w, "n1");
	reg(w, "{'Node':'n2','Address':'x','Service':{'Service':'web'},'Checks':[{'CheckID':'a','Status':'passing','ServiceID':'web'}]}");
	coordinates(w, "[" AT("n1", "1") "," AT("n2", "2") "]");
	session(w, SID(1), "'TTL':'10s','LockDelay':'15s'");
	apply(w, OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'t','Value':'eA=='},'TTL':10000000000}");
	session(w, SID(2), "'Behavior':'delete'");
	for (int i = 0; i < 125; i++) {
		(void)snprintf(key, sizeof(key), "k/%03d", i);
		put(w, key, "eA==");
	}
	for (int i = 0; i < 62; i++) {
		(void)snprintf(key, sizeof(key), "l/%03d", i);
		kv_op(w, "lock", key, i % 2 == 0 ? "'Session':'" SID(1) "'" : "'Session':'" SID(2) "'");
	}
	return w;
}

static const struct {
	uint16_t op;
	const char *json;
} cases[] = {
	{ OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'k/999','Value':'eA==','Flags':1}}" },
	{ OP_KV_APPLY, "{'Op':'lock','DirEnt':{'Key':'l/0000','Session':'" SID(1) "'}}" },
	{ OP_KV_APPLY, "{'Op':'unlock','DirEnt':{'Key':'l/000','Session':'" SID(1) "'}}" },
	{ OP_KV_APPLY, "{'Op':'delete-tree','DirEnt':{'Key':'k/'}}" },
	{ OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'k/999','Value':'eA=='},'TTL':10000000000}" },
	{ OP_KV_APPLY, "{'Op':'touch','DirEnt':{'Key':'k/001'},'TTL':10000000000}" },
	{ OP_KV_APPLY, "{'Op':'delete','DirEnt':{'Key':'t'}}" },
	{ OP_SESSION_CREATE, "{'ID':'" SID(3) "','Node':'n1','TTL':'20s'}" },
	{ OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}" },
	{ OP_SESSION_DESTROY, "{'ID':'" SID(2) "'}" },
	{ OP_SESSION_RENEW, "{'ID':'" SID(1) "'}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n3','Address':'y','Service':{'Service':'db','Tags':['t']},'Check':{'CheckID':'b','ServiceID':'db'}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n2','Address':'y','Service':{'Service':'db','ID':'web'},'Check':{'CheckID':'b','ServiceID':'none'}}" },
	{ OP_CATALOG_DEREGISTER, "{'Node':'n2'}" },
	{ OP_CATALOG_BATCH, "{'Items':[{'Register':[{'Node':'n3','Address':'y','Service':{'Service':'db'}}]},{'Deregister':[{'Node':'n2','ServiceID':'web'}]},"
	    "{'Register':[{'Node':'n1','Address':'10.0.0.1','Check':{'CheckID':'b','ServiceID':'none'}}]},{'Code':403,'Text':'no'}]}" },
	{ OP_CATALOG_DEREGISTER, "{'Node':'n1'}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'delete-tree','Key':'k/0'}},{'KV':{'Verb':'set','Key':'z'}},{'Node':{'Verb':'delete',"
	    "'Node':{'Node':'n1'}}},{'KV':{'Verb':'get','Key':'none'}}]}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'move','Key':'k/001','Dest':'m'}},{'KV':{'Verb':'increment','Key':'i'}}]}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'delete','Key':'k/001'}},{'KV':{'Verb':'get-tree','Key':'k/'}}]}" },
	/* Names so long that each key made of them takes an allocation of its own. */
	{ OP_CATALOG_REGISTER, "{'Node':'n%09000d','Address':'y','Service':{'Service':'db'},'Check':{'CheckID':'b','ServiceID':'db'}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n1','Address':'y','Service':{'Service':'s%09000d'},'Check':{'CheckID':'c%09000d'}}" },
};

/* "%09000d" becomes 9,000 digits. */
static void
encode_case(size_t i, struct buf *out)
{
	char *json = malloc(1 << 17), *p = json;

	assert_non_null(json);
	for (const char *c = cases[i].json; *c != 0; c++) {
		if (*c != '%') {
			*p++ = *c;
			continue;
		}
		memset(p, '0', 9000);
		p += 9000;
		c = strchr(c, 'd');
	}
	*p = 0;
	encode_request(cases[i].op, json, out);
	free(json);
}

/* As an image of an older release has it. */
#define KEPT "\x91\x82\xa4Node\xa2n2\xa5" "Coord\x81\xa3Vec\x98\0\0\0\0\0\0\0\0"

/* A batch of coordinates (the first of them for a node of which one is kept), or a new leader's entry, with the Nth allocation refused. */
static bool
locate_without(bool batch, long n)
{
	static const char json[] = "{'Entries':[" AT("n2", "3") "," AT("n1", "4") "," AT("none", "4") "]}";
	struct world *w = prepared();
	struct buf request = BUF_INIT(1 << 20), result = BUF_INIT(1 << 20);
	struct fsm_entry e = { .kind = batch ? FSM_ENTRY_COORDINATES : FSM_ENTRY_NOOP };
	struct fsm_error err;
	int rc;

	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n2\0"), STR(KEPT)), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n9\0"), STR(KEPT)), 0);
	encode_record(&rec_fsm_coordinates, json, &request);
	e.request = (struct str){ (char *)request.data, request.len };
	refused = false;
	left = n;
	rc = fsm_apply(w->f, w->index + 1, &e, &result, &err, NULL);
	left = -1;
	assert_int_equal(rc, refused ? -ENOMEM : 0);
	buf_release(&request);
	buf_release(&result);
	world_free(w);
	return !refused;
}

static void
test_coordinates(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		long n = 0;

		once = i % 2 == 1;
		while (!locate_without(i < 2, n))
			n++;
		assert_true(n > 1);
	}
}

/* A list in the order of distance with the Nth allocation refused. */
static void
test_near(void **state)
{
	const struct catalog_query q = { .near = STR("n2"), .service = STR("web"), .state = STR("any") };
	static const uint16_t ops[] = { OP_CATALOG_NODES, OP_CATALOG_SERVICE, OP_HEALTH_STATE, OP_HEALTH_SERVICE, OP_COORDINATE_NODE };
	struct world *w = prepared();

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(ops); i++) {
		once = i % 2 == 1;
		for (long n = 0;; n++) {
			struct buf out = BUF_INIT(1 << 20);
			struct mp_w m = mp_w_init(&out);
			struct fsm_error err;
			uint64_t index;
			int rc;

			refused = false;
			left = n;
			rc = fsm_query(w->f, ops[i / 2], &q, 0, NULL, &m, &index, NULL, &err);
			left = -1;
			assert_int_equal(rc, refused ? -ENOMEM : 0);
			assert_int_equal(err.code, 0);
			buf_release(&out);
			if (!refused)
				break;
		}
	}
	world_free(w);
}

/* What went with the last entry could not be remembered, and that is told: the entry itself needs no memory for it. */
static bool
forgotten(struct world *w)
{
	return strncmp(query_as(w, OP_KV_CHANGES, "{'Key':''}", w->index, NULL), "{'Reset':true", strlen("{'Reset':true")) == 0;
}

/* One entry with the Nth allocation refused. True: it was not reached. */
static bool
apply_without(size_t i, long n)
{
	struct world *w = prepared();
	struct image changes;
	struct fsm_sink sink = { .ctx = &changes };
	struct buf request = BUF_INIT(1 << 20), result = BUF_INIT(1 << 20), options = BUF_INIT(4096);
	struct query_options o = { .origin = STR("0123456789abcdef"), .seq = 1, .floor = 1 };
	struct mp_w m = mp_w_init(&options);
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = cases[i].op };
	struct fsm_error err;
	int rc;

	image_init(&changes);
	encode_case(i, &request);
	record_encode(&rec_query_options, &o, RECORD_WHOLE, &m);
	e.request = (struct str){ (char *)request.data, request.len };
	e.options = (struct str){ (char *)options.data, options.len };
	e.time = w->time + S(1);
	refused = false;
	left = n;
	rc = fsm_apply(w->f, w->index + 1, &e, &result, &err, &sink);
	left = -1;
	if (rc != 0 || !refused || !forgotten(w))
		assert_int_equal(rc, refused ? -ENOMEM : 0);
	buf_release(&request);
	buf_release(&result);
	buf_release(&options);
	world_free(w);
	return !refused;
}

/* The whole of a prepared state as one part. */
static void
encode_state(struct buf *out)
{
	struct world *w = prepared();
	struct image m;

	image_dump(w->f, &m);
	for (size_t i = 0; i < m.n; i++) {
		const struct image_record *r = &m.v[i];
		const uint8_t head[9] = { (uint8_t)r->table, 0, 0, (uint8_t)(r->key.len >> 8), (uint8_t)r->key.len,
			(uint8_t)(r->value.len >> 24), (uint8_t)(r->value.len >> 16), (uint8_t)(r->value.len >> 8), (uint8_t)r->value.len };

		assert_int_equal(buf_add(out, head, sizeof(head)), 0);
		assert_int_equal(buf_add(out, r->key.p, r->key.len), 0);
		assert_int_equal(buf_add(out, r->value.p, r->value.len), 0);
	}
	image_free(&m);
	world_free(w);
}

/* BEGIN, one DATA and END with the Nth allocation refused. True: it was not reached. */
static bool
restore_without(struct str records, long n)
{
	struct fsm_restore parts[] = {
		{ .part = FSM_RESTORE_BEGIN, .id = STR("0123456789abcdef"), .index = 1000 },
		{ .part = FSM_RESTORE_DATA, .id = STR("0123456789abcdef"), .number = 1, .records = records },
		{ .part = FSM_RESTORE_END, .id = STR("0123456789abcdef"), .number = 1 },
	};
	struct world *w = prepared();
	struct buf request[3] = { BUF_INIT(1 << 20), BUF_INIT(1 << 20), BUF_INIT(1 << 20) }, result = BUF_INIT(1 << 20);
	struct fsm_entry e = { .kind = FSM_ENTRY_RESTORE, .time = w->time };
	struct fsm_error err;
	int rc = 0;

	for (size_t i = 0; i < 3; i++) {
		struct mp_w m = mp_w_init(&request[i]);

		record_encode(&rec_fsm_restore, &parts[i], RECORD_WHOLE, &m);
	}
	refused = false;
	left = n;
	for (size_t i = 0; i < 3 && rc == 0; i++) {
		e.request = (struct str){ (char *)request[i].data, request[i].len };
		rc = fsm_apply(w->f, w->index + 1 + i, &e, &result, &err, NULL);
	}
	left = -1;
	assert_int_equal(rc, refused ? -ENOMEM : 0);
	assert_int_equal(rc == 0 ? err.code : 0, 0);
	for (size_t i = 0; i < 3; i++)
		buf_release(&request[i]);
	world_free(w);
	return !refused;
}

static void
test_restore(void **state)
{
	struct buf records = BUF_INIT(1 << 20);
	long n = 0;

	(void)state;
	encode_state(&records);
	while (!restore_without((struct str){ (char *)records.data, records.len }, n))
		n += n < 60 ? 1 : 37;
	buf_release(&records);
}

static void
test_apply(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		/* The long runs are alike in the middle. */
		long n = 0, step = 1;

		once = i % 2 == 1;
		while (!apply_without(i / 2, n)) {
			n += step;
			step = n > 40 ? n / 8 : 1;
		}
	}
}

/* A batch judged before the log with the Nth allocation refused: nothing passes for want of memory, and none is told to be refused. */
static bool
judge_without(struct world *w, const char *json, const char *want, long n)
{
	static const struct fsm_fresh nobody = { .asker = NULL };
	struct buf request = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), copy = BUF_INIT(1 << 20);
	struct fsm_error err, none = { .code = 0 };
	struct str ret;
	int rc;

	encode_request(OP_CATALOG_BATCH, json, &request);
	refused = false;
	left = n;
	rc = fsm_check(w->f, OP_CATALOG_BATCH, (struct str){ (char *)request.data, request.len }, w->time, &nobody, NULL, &out, &ret, &err);
	left = -1;
	assert_int_equal(rc, refused ? -ENOMEM : 0);
	if (rc == 0) {
		assert_int_equal(buf_add(&copy, ret.p, ret.len), 0);
		assert_string_equal(show(w, &copy, &none), want);
	}
	buf_release(&request);
	buf_release(&out);
	buf_release(&copy);
	return !refused;
}

static void
test_batch_check(void **state)
{
	static const struct {
		const char *json, *want;
	} batches[] = {
		/* Something is to be done: what the log gets. */
		{ "{'Items':[{'Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'a'}}]},{'Register':[{'Address':'x'}]},{}]}", NULL },
		/* Nothing is: the answers. */
		{ "{'Items':[{'Register':[{'Address':'x'}]},{},{'Deregister':[{}]}]}", "[{'Code':500,'Text':'Must provide node'},"
		    "{'Code':400,'Text':'an item of a batch is one registration or one deregistration'},{'Code':500,'Text':'Must provide node'}]" },
	};
	struct world *w = prepared();
	char first[WORLD_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(batches); i++) {
		const char *json = batches[i / 2].json, *want = batches[i / 2].want;
		struct buf request = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), copy = BUF_INIT(1 << 20);
		static const struct fsm_fresh nobody = { .asker = NULL };
		struct fsm_error err, none = { .code = 0 };
		struct str ret;
		long n = 0;

		once = i % 2 == 1;
		encode_request(OP_CATALOG_BATCH, json, &request);
		assert_int_equal(fsm_check(w->f, OP_CATALOG_BATCH, (struct str){ (char *)request.data, request.len }, w->time, &nobody, NULL, &out, &ret, &err), 0);
		assert_int_equal(buf_add(&copy, ret.p, ret.len), 0);
		(void)snprintf(first, sizeof(first), "%s", show(w, &copy, &none));
		if (want != NULL)
			assert_string_equal(first, want);
		while (!judge_without(w, json, first, n))
			n++;
		assert_true(n > 1);
		buf_release(&request);
		buf_release(&out);
		buf_release(&copy);
	}
	world_free(w);
}

static void
test_load(void **state)
{
	struct world *w = prepared();
	struct image m;
	bool whole = false;

	(void)state;
	once = false;
	tick(w, NULL, SID(1), 0);
	kv_op(w, "delete", "k/001", "");
	image_dump(w->f, &m);
	world_free(w);
	for (long n = 0; !whole; n += n > 40 ? n / 8 : 1) {
		int rc = 0;

		w = world_new();
		refused = false;
		left = n;
		for (size_t i = 0; i < m.n && rc == 0; i++)
			rc = fsm_load(w->f, m.v[i].table, m.v[i].key, m.v[i].value);
		if (rc == 0)
			rc = fsm_loaded(w->f);
		left = -1;
		whole = !refused;
		assert_int_equal(rc, refused ? -ENOMEM : 0);
		world_free(w);
	}
	image_free(&m);
}

static void
test_new(void **state)
{
	static const struct fsm_config c = { "dc1", 64, 0 };

	(void)state;
	for (long n = 0; n < 2; n++) {
		left = n;
		assert_null(fsm_new(&c));
		left = -1;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_apply), cmocka_unit_test(test_restore), cmocka_unit_test(test_load), cmocka_unit_test(test_new),
		cmocka_unit_test(test_coordinates), cmocka_unit_test(test_near), cmocka_unit_test(test_batch_check) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
