/* fsm_kv.c - the KV rows of the API: verbs, indexes, locks. */
#include "t/unit/fsm_help.h"

#define EMPTY "[]"

static char buf1[4096];

/* An entry as it is shown. */
static const char *
entry(unsigned lock, const char *key, unsigned flags, const char *value, const char *session, unsigned create, unsigned modify)
{
	(void)snprintf(buf1, sizeof(buf1), "[{'LockIndex':%u,'Key':'%s','Flags':%u,'Value':%s%s%s%s,'CreateIndex':%u,'ModifyIndex':%u}]",
	    lock, key, flags, value, session != NULL ? ",'Session':'" : "", session != NULL ? session : "",
	    session != NULL ? "'" : "", create, modify);
	return buf1;
}

static void
test_set_and_get(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(get(w, "a"), EMPTY);
	assert_int_equal(w->result_index, 1);	/* an index of 1 means: never written */
	assert_string_equal(w->watch, "key:a ");
	assert_string_equal(put(w, "a", "eA=="), "true");
	assert_string_equal(w->touched, "key:a ");
	assert_string_equal(get(w, "a"), entry(0, "a", 0, "'eA=='", NULL, 1, 1));
	assert_string_equal(kv_op(w, "set", "a", "'Value':'eQ==','Flags':18446744073709551615"), "true");
	assert_string_equal(get(w, "a"), "[{'LockIndex':0,'Key':'a','Flags':18446744073709551615,'Value':'eQ==',"
	    "'CreateIndex':1,'ModifyIndex':2}]");
	assert_int_equal(w->result_index, 2);
	/* Another's write does not move a key's index; an absent key has the table's. */
	put(w, "b", "");
	get(w, "a");
	assert_int_equal(w->result_index, 2);
	get(w, "absent");
	assert_int_equal(w->result_index, 3);
	/* An empty value is null. */
	assert_string_equal(get(w, "b"), entry(0, "b", 0, "null", NULL, 3, 3));
	world_free(w);
}

static void
test_noop_write_moves_no_index(void **state)
{
	struct world *w = world_new();

	(void)state;
	put(w, "a", "eA==");
	put(w, "b", "eA==");
	assert_string_equal(put(w, "a", "eA=="), "true");
	assert_string_equal(w->touched, "");
	assert_int_equal(fsm_applied(w->f), 3);
	get(w, "a");
	assert_int_equal(w->result_index, 1);
	list(w, "");
	assert_int_equal(w->result_index, 2);
	world_free(w);
}

static void
test_list_and_keys(void **state)
{
	struct world *w = world_new();
	const char *const keys[] = { "a/b", "a/c/1", "a/c/2", "a/c/3/x", "ab", "b", "a", "a/", "a/c0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		put(w, keys[i], "");
	assert_string_equal(query(w, OP_KV_KEYS, "{'Key':''}"),
	    "['a','a/','a/b','a/c/1','a/c/2','a/c/3/x','a/c0','ab','b']");
	assert_string_equal(query(w, OP_KV_KEYS, "{'Key':'a/','Separator':'/'}"), "['a/','a/b','a/c/','a/c0']");
	assert_string_equal(query(w, OP_KV_KEYS, "{'Key':'','Separator':'/'}"), "['a','a/','ab','b']");
	assert_string_equal(query(w, OP_KV_KEYS, "{'Key':'zz'}"), "[]");
	assert_non_null(strstr(list(w, "a/c/"), "'Key':'a/c/1'"));
	assert_null(strstr(w->text, "a/c0"));
	assert_int_equal(w->result_index, 4);
	assert_string_equal(w->watch, "prefix:a/c/ ");
	world_free(w);
}

static void
test_prefix_index(void **state)
{
	struct world *w = world_new();

	(void)state;
	put(w, "p/1", "");
	put(w, "p/2", "");
	put(w, "q", "");
	list(w, "p/");
	assert_int_equal(w->result_index, 2);
	/* A tombstone keeps the prefix's index from going back. */
	assert_string_equal(kv_op(w, "delete", "p/2", ""), "true");
	assert_string_equal(w->touched, "key:p/2 ");
	list(w, "p/");
	assert_int_equal(w->result_index, 4);
	put(w, "q", "eA==");
	list(w, "p/");
	assert_int_equal(w->result_index, 4);
	/* Reaped, it goes back to the newest key that lives. */
	tick(w, NULL, NULL, 4);
	list(w, "p/");
	assert_int_equal(w->result_index, 1);
	/* The empty prefix has the table's index; so has one with nothing below, which other keys' writes do not wake all the same. */
	list(w, "");
	assert_int_equal(w->result_index, 5);
	assert_string_equal(list(w, "none/"), EMPTY);
	assert_int_equal(w->result_index, 5);
	assert_string_equal(w->watch, "prefix:none/ ");
	world_free(w);
}

static void
test_tombstones(void **state)
{
	struct world *w = world_new();
	uint64_t n;

	(void)state;
	assert_int_equal(fsm_tombstones(w->f, &n), 0);
	put(w, "a", "");
	put(w, "b", "");
	kv_op(w, "delete", "a", "");
	kv_op(w, "delete", "b", "");
	assert_int_equal(fsm_tombstones(w->f, &n), 3);
	assert_int_equal(n, 2);
	/* A tombstone stays when its key is made again, and moves when it goes again. */
	put(w, "a", "");
	kv_op(w, "delete", "a", "");
	assert_int_equal(fsm_tombstones(w->f, &n), 4);
	assert_int_equal(n, 2);
	tick(w, NULL, NULL, 5);
	assert_int_equal(fsm_tombstones(w->f, &n), 6);
	assert_int_equal(n, 1);
	/* The absent key: max of the tables, which reaping leaves alone. */
	get(w, "a");
	assert_int_equal(w->result_index, 6);
	world_free(w);
}

static void
test_delete(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(kv_op(w, "delete", "absent", ""), "true");
	assert_string_equal(kv_op(w, "delete-cas", "absent", "'ModifyIndex':7"), "true");
	put(w, "a", "");
	assert_string_equal(kv_op(w, "delete-cas", "a", "'ModifyIndex':0"), "false");
	assert_string_equal(kv_op(w, "delete-cas", "a", "'ModifyIndex':2"), "false");
	assert_string_equal(kv_op(w, "delete-cas", "a", "'ModifyIndex':3"), "true");
	assert_string_equal(get(w, "a"), EMPTY);
	assert_string_equal(kv_op(w, "delete", "", ""), "E500 Must provide key");
	assert_string_equal(check_first(w, OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':''}}"), "E500 Must provide key");
	world_free(w);
}

static void
test_delete_tree(void **state)
{
	struct world *w = world_new();
	char key[32];
	uint64_t n;

	(void)state;
	for (int i = 0; i < 500; i++) {
		(void)snprintf(key, sizeof(key), "t/%03d", i);
		put(w, key, "eA==");
	}
	put(w, "other", "");
	assert_string_equal(kv_op(w, "delete-tree", "t/1", ""), "true");
	assert_non_null(strstr(w->touched, "key:t/100 "));
	assert_null(strstr(w->touched, "key:t/200 "));
	/* One tombstone stands for all. */
	assert_int_equal(fsm_tombstones(w->f, &n), 502);
	assert_int_equal(n, 1);
	list(w, "t/");
	assert_int_equal(w->result_index, 502);
	assert_string_equal(list(w, "t/1"), EMPTY);
	assert_int_equal(w->result_index, 502);
	/* Nothing below: no tombstone, no index moves. */
	kv_op(w, "delete-tree", "zzz", "");
	list(w, "");
	assert_int_equal(w->result_index, 502);
	assert_string_equal(kv_op(w, "delete-tree", "", ""), "true");
	assert_string_equal(list(w, ""), EMPTY);
	assert_int_equal(w->result_index, 504);
	assert_int_equal(fsm_tombstones(w->f, &n), 502);
	assert_int_equal(n, 1);
	world_free(w);
}

static void
test_cas(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(kv_op(w, "cas", "a", "'ModifyIndex':5"), "false");
	assert_string_equal(kv_op(w, "cas", "a", "'ModifyIndex':0,'Value':'eA=='"), "true");
	assert_string_equal(kv_op(w, "cas", "a", "'ModifyIndex':0,'Value':'eQ=='"), "false");
	assert_string_equal(kv_op(w, "cas", "a", "'ModifyIndex':1"), "false");
	assert_string_equal(kv_op(w, "cas", "a", "'ModifyIndex':2,'Value':'eQ=='"), "true");
	assert_string_equal(get(w, "a"), entry(0, "a", 0, "'eQ=='", NULL, 2, 5));
	world_free(w);
}

static void
test_acquire_and_release(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "");
	session(w, SID(2), "");
	/* An absent key is created with LockIndex 1. */
	assert_string_equal(kv_op(w, "lock", "k", "'Value':'eA==','Session':'" SID(1) "'"), "true");
	assert_string_equal(get(w, "k"), entry(1, "k", 0, "'eA=='", SID(1), 4, 4));
	/* The same session again updates the value and keeps LockIndex; another gets false. */
	assert_string_equal(kv_op(w, "lock", "k", "'Value':'eQ==','Session':'" SID(1) "'"), "true");
	assert_string_equal(get(w, "k"), entry(1, "k", 0, "'eQ=='", SID(1), 4, 5));
	assert_string_equal(kv_op(w, "lock", "k", "'Session':'" SID(2) "'"), "false");
	/* Only the holder releases; the body replaces value and flags, LockIndex is kept. */
	assert_string_equal(kv_op(w, "unlock", "k", "'Session':'" SID(2) "'"), "false");
	assert_string_equal(kv_op(w, "unlock", "none", "'Session':'" SID(1) "'"), "false");
	assert_string_equal(kv_op(w, "unlock", "k", "'Value':'eg==','Flags':3,'Session':'" SID(1) "'"), "true");
	assert_string_equal(get(w, "k"), entry(1, "k", 3, "'eg=='", NULL, 4, 9));
	assert_string_equal(kv_op(w, "unlock", "k", "'Session':'" SID(1) "'"), "false");
	/* The next holder counts one more. */
	assert_string_equal(kv_op(w, "lock", "k", "'Value':'eA==','Session':'" SID(2) "'"), "true");
	assert_string_equal(get(w, "k"), entry(2, "k", 0, "'eA=='", SID(2), 4, 11));
	world_free(w);
}

static void
test_plain_writes_on_a_locked_key(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "");
	kv_op(w, "lock", "k", "'Session':'" SID(1) "'");
	/* Allowed to all; the session is kept, LockIndex is reset. */
	assert_string_equal(put(w, "k", "eA=="), "true");
	assert_string_equal(get(w, "k"), entry(0, "k", 0, "'eA=='", SID(1), 3, 4));
	assert_string_equal(kv_op(w, "cas", "k", "'ModifyIndex':4,'Value':'eQ=='"), "true");
	assert_string_equal(get(w, "k"), entry(0, "k", 0, "'eQ=='", SID(1), 3, 5));
	assert_string_equal(kv_op(w, "delete", "k", ""), "true");
	assert_string_equal(get(w, "k"), EMPTY);
	/* The session holds nothing more: its end touches no key. */
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}");
	assert_null(strstr(w->touched, "key:"));
	world_free(w);
}

static void
test_lock_errors(void **state)
{
	struct world *w = world_new();
	static const struct {
		const char *more, *error;
	} cases[] = {
		{ "'Session':'" SID(9) "'", "E500 raft apply failed: invalid session \"" SID(9) "\"" },
		{ "'Session':'junk'", "E500 raft apply failed: failed session lookup: index error: UUID must be 36 characters" },
		{ "'Session':'zz000000-0000-4000-8000-000000000009'",
		    "E500 raft apply failed: failed session lookup: index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'" },
		{ "", "E500 raft apply failed: missing session" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char json[512], want[512];

		(void)snprintf(want, sizeof(want), "%s", cases[i].error);
		for (char *p = want; *p != 0; p++)
			if (*p == '"')
				*p = '\'';
		assert_string_equal(kv_op(w, "lock", "k", cases[i].more), want);
		(void)snprintf(json, sizeof(json), "{'Op':'lock','DirEnt':{'Key':'k'%s%s}}", cases[i].more[0] ? "," : "",
		    cases[i].more);
		assert_string_equal(check_first(w, OP_KV_APPLY, json), want);
	}
	assert_string_equal(kv_op(w, "bogus", "k", ""), "E500 raft apply failed: unknown KV verb 'bogus'");
	assert_string_equal(get(w, "k"), EMPTY);
	world_free(w);
}

static void
test_big_and_odd_keys(void **state)
{
	struct world *w = world_new();
	char *big = malloc(600000);
	struct buf request = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	struct kv_op op = { .verb = STR("set") };
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY };
	struct mp_w m = mp_w_init(&request), o = mp_w_init(&out);
	struct kv_query q = { .key = { "a\0b\xff", 4 } };
	struct watch_set watch;
	struct fsm_error err;

	(void)state;
	assert_non_null(big);
	memset(big, 0xfe, 600000);
	op.entry = (struct kv_entry){ .key = q.key, .value = { big, 524288 } };
	record_encode(&rec_kv_op, &op, RECORD_WHOLE, &m);
	e.request = (struct str){ (char *)request.data, request.len };
	assert_string_equal(apply_entry(w, &e), "true");
	assert_int_equal(fsm_query(w->f, OP_KV_GET, &q, 0, NULL, &o, &w->result_index, &watch, &err), 0);
	assert_true(out.len > 524288);
	free(big);
	buf_release(&request);
	buf_release(&out);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_get),
		cmocka_unit_test(test_noop_write_moves_no_index),
		cmocka_unit_test(test_list_and_keys),
		cmocka_unit_test(test_prefix_index),
		cmocka_unit_test(test_tombstones),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_delete_tree),
		cmocka_unit_test(test_cas),
		cmocka_unit_test(test_acquire_and_release),
		cmocka_unit_test(test_plain_writes_on_a_locked_key),
		cmocka_unit_test(test_lock_errors),
		cmocka_unit_test(test_big_and_odd_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
