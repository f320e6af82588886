/* fsm_session.c - sessions: creation, renewal, and all the ways in which they end. */
#include "t/unit/fsm_help.h"

static const char *
info(struct world *w, const char *id)
{
	char json[128];

	(void)snprintf(json, sizeof(json), "{'ID':'%s'}", id);
	return query(w, OP_SESSION_INFO, json);
}

static void
test_create(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	assert_string_equal(session(w, SID(1), "'Name':'mine','TTL':'10s','LockDelay':'15s'"), "'" SID(1) "'");
	assert_string_equal(w->touched, "session:" SID(1) " sessions: ");
	assert_string_equal(info(w, SID(1)), "[{'ID':'" SID(1) "','Name':'mine','Node':'n1','LockDelay':15000000000,"
	    "'Behavior':'release','TTL':'10s','NodeChecks':['serfHealth'],'ServiceChecks':null,'CreateIndex':2,'ModifyIndex':2}]");
	assert_int_equal(w->result_index, 2);
	assert_string_equal(w->watch, "session:" SID(1) " ");
	/* Below 1000 a bare number is seconds, else nanoseconds. */
	session(w, SID(2), "'LockDelay':20,'Behavior':'delete'");
	assert_non_null(strstr(info(w, SID(2)), "'LockDelay':20000000000,'Behavior':'delete','TTL':''"));
	session(w, SID(3), "'NoNodeChecks':true");
	assert_non_null(strstr(info(w, SID(3)), "'NodeChecks':[]"));
	world_free(w);
}

static void
test_create_errors(void **state)
{
	struct world *w = world_new();
	static const struct {
		const char *json, *error;
	} cases[] = {
		{ "{'Node':'n1','TTL':'1s'}", "E500 Invalid Session TTL '1000000000', must be between [10s=24h0m0s]" },
		{ "{'Node':'n1','TTL':'86401s'}", "E500 Invalid Session TTL '86401000000000', must be between [10s=24h0m0s]" },
		{ "{'Node':'n1','TTL':'abc'}", "E500 Session TTL 'abc' invalid: time: invalid duration 'abc'" },
		{ "{'Node':'n1','TTL':'10'}", "E500 Session TTL '10' invalid: time: missing unit in duration '10'" },
		{ "{'Node':'n1','TTL':'10x'}", "E500 Session TTL '10x' invalid: time: unknown unit 'x' in duration '10x'" },
		{ "{'Node':'n1','Behavior':'x'}", "E500 Invalid Behavior setting 'x'" },
		{ "{}", "E500 Must provide Node" },
		{ "{'Node':'zz'}", "E500 apply failed: Missing node registration" },
		{ "{'Node':'n1','NodeChecks':['x']}", "E500 apply failed: Missing check 'x' registration" },
		{ "{'Node':'n1','Checks':['y']}", "E500 apply failed: Missing check 'y' registration" },
		{ "{'Node':'n1','ServiceChecks':[{'ID':'z'}]}", "E500 apply failed: Missing check 'z' registration" },
		{ "{'Node':'n1','NodeChecks':['bad']}", "E500 apply failed: Check 'bad' is in critical state" },
	};

	(void)state;
	node(w, "n1");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'bad','Status':'critical'}}");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(check_first(w, OP_SESSION_CREATE, cases[i].json), cases[i].error);
		assert_string_equal(query(w, OP_SESSION_LIST, "{}"), "[]");
	}
	/* The same is refused when it stands in the log. */
	assert_string_equal(session(w, SID(1), "'NodeChecks':['bad']"), "E500 apply failed: Check 'bad' is in critical state");
	assert_string_equal(session(w, SID(1), "'TTL':'-1s'"), "E500 Invalid Session TTL '-1000000000', must be between [0s=24h0m0s]");
	/* But not for a setting of this server: a session that was opened stays when it is raised and the log applied again. */
	assert_string_equal(session(w, SID(1), "'TTL':'1s'"), "'" SID(1) "'");
	assert_string_equal(check_first(w, OP_SESSION_CREATE, "{'Node':'n1','TTL':'0s'}"), "");
	world_free(w);
}

static void
test_check_gives_an_id(void **state)
{
	struct world *w = world_new();
	struct buf request = BUF_INIT(4096), out = BUF_INIT(4096);
	struct fsm_fresh fresh = { .wall_ns = 0 };
	struct fsm_error err;
	struct str made;
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_SESSION_CREATE };

	(void)state;
	node(w, "n1");
	memset(fresh.random, 0xff, sizeof(fresh.random));
	encode_request(OP_SESSION_CREATE, "{'Node':'n1','Name':'x'}", &request);
	assert_int_equal(fsm_check(w->f, OP_SESSION_CREATE, (struct str){ (char *)request.data, request.len }, 0, &fresh, NULL, &out,
	    &made, &err), 0);
	assert_int_equal(err.code, 0);
	e.request = made;
	assert_string_equal(apply_entry(w, &e), "'ffffffff-ffff-4fff-bfff-ffffffffffff'");
	buf_release(&request);
	buf_release(&out);
	world_free(w);
}

static void
test_lists(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	node(w, "N2");
	assert_string_equal(query(w, OP_SESSION_LIST, "{}"), "[]");
	session(w, SID(2), "");
	session(w, SID(1), "");
	apply(w, OP_SESSION_CREATE, "{'ID':'" SID(3) "','Node':'n2'}");
	query(w, OP_SESSION_LIST, "{}");
	assert_true(strstr(w->text, SID(1)) < strstr(w->text, SID(2)));
	assert_int_equal(w->result_index, 5);
	query(w, OP_SESSION_NODE, "{'ID':'n1'}");
	assert_non_null(strstr(w->text, SID(2)));
	assert_null(strstr(w->text, SID(3)));
	/* A node's name in any case. */
	assert_non_null(strstr(query(w, OP_SESSION_NODE, "{'ID':'N2'}"), SID(3)));
	assert_string_equal(query(w, OP_SESSION_NODE, "{'ID':'zz'}"), "[]");
	assert_string_equal(info(w, SID(9)), "[]");
	assert_string_equal(info(w, "junk"), "E500 failed session lookup: index error: UUID must be 36 characters");
	world_free(w);
}

static void
test_destroy(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}"), "true");
	assert_string_equal(check_first(w, OP_SESSION_DESTROY, "{'ID':''}"), "E500 Must provide ID");
	assert_string_equal(check_first(w, OP_SESSION_DESTROY, "{'ID':'x'}"),
	    "E500 apply failed: failed session lookup: index error: UUID must be 36 characters");
	node(w, "n1");
	session(w, SID(1), "");
	kv_op(w, "lock", "b", "'Value':'eA==','Session':'" SID(1) "'");
	kv_op(w, "lock", "a", "'Value':'eA==','Session':'" SID(1) "'");
	assert_string_equal(apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}"), "true");
	assert_string_equal(w->touched, "session:" SID(1) " sessions: key:a key:b ");
	/* Released: the index moves, LockIndex and value stay. */
	assert_string_equal(get(w, "a"), "[{'LockIndex':1,'Key':'a','Flags':0,'Value':'eA==','CreateIndex':5,'ModifyIndex':6}]");
	query(w, OP_SESSION_LIST, "{}");
	assert_int_equal(w->result_index, 6);
	world_free(w);
}

static void
test_behavior_delete(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "'Behavior':'delete'");
	kv_op(w, "lock", "k", "'Session':'" SID(1) "'");
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}");
	assert_string_equal(get(w, "k"), "[]");
	list(w, "k");
	assert_int_equal(w->result_index, 4);
	world_free(w);
}

static void
test_lock_delay(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "'LockDelay':'15s'");
	session(w, SID(2), "");
	kv_op(w, "lock", "k", "'Session':'" SID(1) "'");
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}");
	/* In cluster time, whoever asks; other writes go through. */
	w->time += S(14);
	assert_string_equal(kv_op(w, "lock", "k", "'Session':'" SID(2) "'"), "false");
	assert_string_equal(put(w, "k", "eA=="), "true");
	assert_string_equal(kv_op(w, "lock", "j", "'Session':'" SID(2) "'"), "true");
	w->time += S(1);
	assert_string_equal(kv_op(w, "lock", "k", "'Session':'" SID(2) "'"), "true");
	/* At most 60 s. */
	session(w, SID(3), "'LockDelay':'300s'");
	kv_op(w, "lock", "m", "'Session':'" SID(3) "'");
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(3) "'}");
	w->time += S(59);
	assert_string_equal(kv_op(w, "lock", "m", "'Session':'" SID(2) "'"), "false");
	w->time += S(1);
	assert_string_equal(kv_op(w, "lock", "m", "'Session':'" SID(2) "'"), "true");
	world_free(w);
}

static void
test_ttl(void **state)
{
	struct world *w = world_new();
	struct str ids[4];

	(void)state;
	node(w, "n1");
	assert_true(fsm_next_deadline(w->f) == INT64_MAX);
	session(w, SID(1), "'TTL':'10s'");
	session(w, SID(2), "");
	session(w, SID(3), "'TTL':'0s'");
	/* Twice the TTL after the last renewal. */
	assert_true(fsm_next_deadline(w->f) == S(1020));
	assert_int_equal(fsm_expired(w->f, S(1020) - 1, ids, 4), 0);
	assert_int_equal(fsm_expired(w->f, S(1020), ids, 4), 1);
	assert_string_equal(ids[0].p, SID(1));
	w->time = S(1005);
	tick(w, SID(1), NULL, 0);
	assert_string_equal(w->touched, "");
	assert_true(fsm_next_deadline(w->f) == S(1025));
	/* Checked again when applied: a late proposal does no harm. */
	w->time = S(1024);
	tick(w, NULL, SID(1), 0);
	assert_non_null(strstr(info(w, SID(1)), SID(1)));
	w->time = S(1025);
	tick(w, NULL, SID(1), 0);
	assert_string_equal(info(w, SID(1)), "[]");
	tick(w, NULL, SID(2), 0);
	assert_non_null(strstr(info(w, SID(2)), SID(2)));
	assert_true(fsm_next_deadline(w->f) == INT64_MAX);
	world_free(w);
}

static void
test_renew(void **state)
{
	struct world *w = world_new();
	uint64_t before;

	(void)state;
	node(w, "n1");
	session(w, SID(1), "'TTL':'10s'");
	query(w, OP_SESSION_LIST, "{}");
	before = w->result_index;
	w->time += S(7);
	assert_non_null(strstr(apply(w, OP_SESSION_RENEW, "{'ID':'" SID(1) "'}"), "[{'ID':'" SID(1) "'"));
	assert_true(fsm_next_deadline(w->f) == S(1027));
	assert_string_equal(apply(w, OP_SESSION_RENEW, "{'ID':'" SID(9) "'}"), "[]");
	/* No index moves by it. */
	query(w, OP_SESSION_LIST, "{}");
	assert_int_equal(w->result_index, before);
	world_free(w);
}

/* Everything that ends a session besides its owner and its clock. */
static void
test_ends_with_node_and_checks(void **state)
{
	static const struct {
		const char *name;
		uint16_t op;
		const char *json;
		bool ends;
	} cases[] = {
		{ "node deregistered", OP_CATALOG_DEREGISTER, "{'Node':'n1'}", true },
		{ "other node deregistered", OP_CATALOG_DEREGISTER, "{'Node':'n2'}", false },
		{ "linked check deleted", OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'c1'}", true },
		{ "linked service check deleted", OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'sc'}", true },
		{ "its service deleted", OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'web'}", true },
		{ "unlinked check deleted", OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'serfHealth'}", false },
		{ "linked check warning", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'c1','Status':'warning'}}", false },
		{ "linked check critical", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'c1','Status':'critical'}}", true },
		{ "linked service check critical", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'sc','Status':'critical','ServiceID':'web'}}", true },
		{ "unlinked check critical", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'c2','Status':'critical'}}", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world *w = world_new();

		node(w, "n1");
		node(w, "n2");
		reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web'},'Checks':[{'CheckID':'c1','Status':'passing'},"
		    "{'CheckID':'sc','Status':'passing','ServiceID':'web'}]}");
		assert_string_equal(session(w, SID(1), "'NodeChecks':['c1'],'ServiceChecks':[{'ID':'sc'}]"), "'" SID(1) "'");
		kv_op(w, "lock", "k", "'Session':'" SID(1) "'");
		assert_true(apply(w, cases[i].op, cases[i].json)[0] != 'E');
		if ((strcmp(info(w, SID(1)), "[]") == 0) != cases[i].ends)
			fail_msg("%s: %s", cases[i].name, w->text);
		if ((strstr(get(w, "k"), "Session") == NULL) != cases[i].ends)
			fail_msg("%s: %s", cases[i].name, w->text);
		world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_create_errors),
		cmocka_unit_test(test_check_gives_an_id),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_destroy),
		cmocka_unit_test(test_behavior_delete),
		cmocka_unit_test(test_lock_delay),
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_ends_with_node_and_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
