/* fsm_txn.c - transactions: verbs, error texts, all or nothing, what is returned. */
#include "t/unit/fsm_help.h"

#define K(verb, more) "{'KV':{'Verb':'" verb "'," more "}}"
#define OPS(ops) "{'Ops':[" ops "]}"

static const char *
txn(struct world *w, const char *json)
{
	return apply(w, OP_TXN_APPLY, json);
}

/* The same by the way of read-only transactions. */
static const char *
txn_read(struct world *w, const char *json)
{
	struct buf request = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	struct arena a = ARENA_INIT(1 << 20);
	struct mp_w m = mp_w_init(&out);
	struct txn_request req;
	struct fsm_error err;
	struct mp_r r;

	encode_request(OP_TXN_APPLY, json, &request);
	assert_true(fsm_txn_is_read((struct str){ (char *)request.data, request.len }));
	r = mp_r_init(request.data, request.len);
	assert_int_equal(record_decode(&rec_txn_request, &r, &req, &a), 0);
	assert_int_equal(fsm_query_txn(w->f, &req, NULL, &m, &w->result_index, &err), 0);
	show(w, &out, &err);
	arena_release(&a);
	buf_release(&request);
	buf_release(&out);
	return w->text;
}

static bool
is_read(const char *json)
{
	struct buf request = BUF_INIT(1 << 20);
	bool r;

	encode_request(OP_TXN_APPLY, json, &request);
	r = fsm_txn_is_read((struct str){ (char *)request.data, request.len });
	buf_release(&request);
	return r;
}

/* Keys a (modify index 2, value x) and l (locked by session 1), nodes n1, services web. */
static struct world *
prepared(void)
{
	struct world *w = world_new();

	node(w, "n1");						/* 1 */
	put(w, "a", "eA==");					/* 2 */
	session(w, SID(1), "'LockDelay':'15s'");		/* 3 */
	session(w, SID(2), "");					/* 4 */
	kv_op(w, "lock", "l", "'Session':'" SID(1) "'");	/* 5 */
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web'}}");	/* 6 */
	return w;
}

static void
test_kv_errors(void **state)
{
	static const struct {
		const char *op, *what;
	} cases[] = {
		{ K("cas", "'Key':'a','Index':1"), "failed to set key \\'a\\', index is stale" },
		{ K("cas", "'Key':'a'"), "failed to set key \\'a\\', index is stale" },
		{ K("lock", "'Key':'l','Session':'" SID(2) "'"), "failed to lock key \\'l\\', lock is already held" },
		{ K("lock", "'Key':'a','Session':'" SID(9) "'"), "invalid session \\'" SID(9) "\\'" },
		{ K("lock", "'Key':'a'"), "missing session" },
		{ K("unlock", "'Key':'l','Session':'" SID(2) "'"),
		    "failed to unlock key \\'l\\', lock isn't held, or is held by another session" },
		{ K("unlock", "'Key':'a','Session':'" SID(1) "'"),
		    "failed to unlock key \\'a\\', lock isn't held, or is held by another session" },
		{ K("get", "'Key':'zz'"), "key \\'zz\\' doesn't exist" },
		{ K("check-index", "'Key':'a','Index':3"), "failed index check for key \\'a\\', current modify index 2 != 3" },
		{ K("check-index", "'Key':'zz','Index':3"), "failed to check index, key \\'zz\\' doesn't exist" },
		{ K("check-session", "'Key':'l','Session':'" SID(2) "'"),
		    "failed session check for key \\'l\\', current session \\'" SID(1) "\\' != \\'" SID(2) "\\'" },
		{ K("check-session", "'Key':'zz','Session':'" SID(2) "'"), "failed to check session, key \\'zz\\' doesn't exist" },
		{ K("check-not-exists", "'Key':'a'"), "key \\'a\\' exists" },
		{ K("delete-cas", "'Key':'a','Index':1"), "failed to delete key \\'a\\', index is stale" },
		{ K("x", "'Key':'a'"), "unknown KV verb \\'x\\'" },
		{ K("set", "'Value':''"), "Must provide key" },
		{ K("get-tree", "'Key':''"), "Must provide key" },
		{ "{'Node':{'Verb':'get','Node':{'Node':'zz'}}}", "node \\'zz\\' doesn't exist" },
		{ "{'Node':{'Verb':'x','Node':{'Node':'zz'}}}", "unknown Node verb \\'x\\'" },
		{ "{'Node':{'Verb':'get','Node':{}}}", "Must provide node" },
		{ "{'Node':{'Verb':'cas','Node':{'Node':'n1','Address':'1.1.1.1'}}}", "failed to set node \\'n1\\', index is stale" },
		{ "{'Node':{'Verb':'delete-cas','Node':{'Node':'n1','ModifyIndex':9}}}",
		    "failed to delete node \\'n1\\', index is stale" },
		{ "{'Service':{'Verb':'get','Node':'n1','Service':{'ID':'zz'}}}", "service \\'zz\\' on node \\'n1\\' doesn't exist" },
		{ "{'Service':{'Verb':'set','Node':'zz','Service':{'Service':'a'}}}", "Missing node registration" },
		{ "{'Service':{'Verb':'set','Node':'n1','Service':{'ID':'a'}}}", "Must provide service name with ID" },
		{ "{'Service':{'Verb':'cas','Node':'n1','Service':{'Service':'web','ModifyIndex':2}}}",
		    "failed to set service \\'web\\' on node \\'n1\\', index is stale" },
		{ "{'Service':{'Verb':'delete-cas','Node':'n1','Service':{'ID':'web','ModifyIndex':2}}}",
		    "failed to delete service \\'web\\' on node \\'n1\\', index is stale" },
		{ "{'Service':{'Verb':'x','Node':'n1','Service':{'ID':'web'}}}", "unknown Service verb \\'x\\'" },
		{ "{'Check':{'Verb':'set','Check':{'Node':'n1'}}}", "Must provide check ID or name" },
		{ "{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'zz'}}}", "check \\'zz\\' on node \\'n1\\' doesn't exist" },
		{ "{'Check':{'Verb':'set','Check':{'Node':'n1','CheckID':'c','ServiceID':'zz'}}}", "Missing service registration" },
		{ "{'Check':{'Verb':'cas','Check':{'Node':'n1','CheckID':'serfHealth','ModifyIndex':2}}}",
		    "failed to set check \\'serfHealth\\' on node \\'n1\\', index is stale" },
		{ "{'Check':{'Verb':'delete-cas','Check':{'Node':'n1','CheckID':'serfHealth','ModifyIndex':2}}}",
		    "failed to delete check \\'serfHealth\\' on node \\'n1\\', index is stale" },
		{ "{'Check':{'Verb':'x','Check':{'Node':'n1','CheckID':'serfHealth'}}}", "unknown Check verb \\'x\\'" },
	};
	struct world *w = prepared();
	char json[1024], want[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(json, sizeof(json), OPS(K("set", "'Key':'new'") ",%s"), cases[i].op);
		(void)snprintf(want, sizeof(want), "{'Results':null,'Errors':[{'OpIndex':1,'What':'%s'}]}", cases[i].what);
		assert_string_equal(txn(w, json), want);
		/* Nothing was applied, nobody is told. */
		assert_string_equal(w->touched, "");
		assert_string_equal(get(w, "new"), "[]");
		assert_int_equal(w->result_index, 5);
	}
	world_free(w);
}

static void
test_all_failures_are_listed(void **state)
{
	struct world *w = prepared();

	(void)state;
	assert_string_equal(txn(w, OPS(K("get", "'Key':'x'") "," K("set", "'Key':'x'") "," K("get", "'Key':'x'") ","
	    K("get", "'Key':'y'"))), "{'Results':null,'Errors':[{'OpIndex':0,'What':'key \\'x\\' doesn't exist'},"
	    "{'OpIndex':3,'What':'key \\'y\\' doesn't exist'}]}");
	world_free(w);
}

static void
test_kv_results(void **state)
{
	struct world *w = prepared();

	(void)state;
	/* Writes and checks return the entry without its value, get with it, deletes and check-not-exists nothing. */
	assert_string_equal(txn(w, OPS(K("set", "'Key':'n','Value':'eQ==','Flags':7") "," K("get", "'Key':'n'") ","
	    K("check-index", "'Key':'a','Index':2") "," K("check-session", "'Key':'l','Session':'" SID(1) "'") ","
	    K("check-not-exists", "'Key':'zz'") "," K("cas", "'Key':'a','Index':2,'Value':'eg=='") ","
	    K("lock", "'Key':'n','Session':'" SID(2) "'") "," K("unlock", "'Key':'n','Session':'" SID(2) "','Value':'eQ=='") ","
	    K("get-tree", "'Key':'none'") "," K("delete", "'Key':'n'") "," K("delete-tree", "'Key':'zz'") ","
	    K("delete-cas", "'Key':'absent','Index':1"))),
	    "{'Results':[{'KV':{'LockIndex':0,'Key':'n','Flags':7,'Value':null,'CreateIndex':7,'ModifyIndex':7}},"
	    "{'KV':{'LockIndex':0,'Key':'n','Flags':7,'Value':'eQ==','CreateIndex':7,'ModifyIndex':7}},"
	    "{'KV':{'LockIndex':0,'Key':'a','Flags':0,'Value':null,'CreateIndex':2,'ModifyIndex':2}},"
	    "{'KV':{'LockIndex':1,'Key':'l','Flags':0,'Value':null,'Session':'" SID(1) "','CreateIndex':5,'ModifyIndex':5}},"
	    "{'KV':{'LockIndex':0,'Key':'a','Flags':0,'Value':null,'CreateIndex':2,'ModifyIndex':7}},"
	    "{'KV':{'LockIndex':1,'Key':'n','Flags':0,'Value':null,'Session':'" SID(2) "','CreateIndex':7,'ModifyIndex':7}},"
	    "{'KV':{'LockIndex':1,'Key':'n','Flags':0,'Value':null,'CreateIndex':7,'ModifyIndex':7}}],'Errors':null}");
	assert_string_equal(get(w, "n"), "[]");
	/* Only deletes: no results, but a list. */
	assert_string_equal(txn(w, OPS(K("delete", "'Key':'a'"))), "{'Results':[],'Errors':null}");
	world_free(w);
}

static void
test_get_tree(void **state)
{
	struct world *w = prepared();

	(void)state;
	put(w, "t/2", "eQ==");
	put(w, "t/1", "eA==");
	assert_string_equal(txn_read(w, OPS(K("get-tree", "'Key':'t/'"))),
	    "{'Results':[{'KV':{'LockIndex':0,'Key':'t/1','Flags':0,'Value':'eA==','CreateIndex':8,'ModifyIndex':8}},"
	    "{'KV':{'LockIndex':0,'Key':'t/2','Flags':0,'Value':'eQ==','CreateIndex':7,'ModifyIndex':7}}],'Errors':null}");
	world_free(w);
}

static void
test_lock_delay(void **state)
{
	struct world *w = prepared();

	(void)state;
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}");
	assert_string_equal(txn(w, OPS(K("lock", "'Key':'l','Session':'" SID(2) "'"))),
	    "{'Results':null,'Errors':[{'OpIndex':0,'What':'failed to lock key \\'l\\' due to lock delay'}]}");
	w->time += S(15);
	assert_non_null(strstr(txn(w, OPS(K("lock", "'Key':'l','Session':'" SID(2) "'"))), "'LockIndex':2"));
	world_free(w);
}

static void
test_catalog(void **state)
{
	struct world *w = prepared();

	(void)state;
	assert_string_equal(txn(w, OPS("{'Node':{'Verb':'set','Node':{'Node':'n2','Address':'10.0.0.2'}}},"
	    "{'Service':{'Verb':'set','Node':'n2','Service':{'Service':'db','Port':5}}},"
	    "{'Check':{'Verb':'set','Check':{'Node':'n2','Name':'up','Status':'passing','ServiceID':'db'}}},"
	    "{'Node':{'Verb':'delete','Node':{'Node':'n1'}}}")),
	    "{'Results':[{'Node':{'ID':'','Node':'n2','Address':'10.0.0.2','Datacenter':'dc1','TaggedAddresses':null,'Meta':null,"
	    "'CreateIndex':7,'ModifyIndex':7}},{'Service':{'ID':'db','Service':'db','Tags':[],'Address':'','Meta':null,'Port':5,"
	    "'Weights':{'Passing':1,'Warning':1},'EnableTagOverride':false,'Proxy':{'Mode':'','MeshGateway':{},'Expose':{}},"
	    "'Connect':{},'CreateIndex':7,'ModifyIndex':7}},{'Check':{'Node':'n2','CheckID':'up','Name':'up','Status':'passing',"
	    "'Notes':'','Output':'','ServiceID':'db','ServiceName':'db','ServiceTags':[],'Type':'','Interval':'','Timeout':'',"
	    "'ExposedPort':0,'Definition':{},'CreateIndex':7,'ModifyIndex':7}}],'Errors':null}");
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'db':[]}");
	assert_string_equal(query(w, OP_SESSION_LIST, "{}"), "[]");
	/* cas: 0 creates, the right index changes. */
	assert_non_null(strstr(txn(w, OPS("{'Service':{'Verb':'cas','Node':'n2','Service':{'Service':'db','ModifyIndex':7,'Port':6}}},"
	    "{'Check':{'Verb':'cas','Check':{'Node':'n2','Name':'new','ModifyIndex':0}}},"
	    "{'Node':{'Verb':'cas','Node':{'Node':'n2','Address':'10.0.0.9','ModifyIndex':7}}}")), "'Errors':null"));
	assert_non_null(strstr(txn_read(w, OPS("{'Service':{'Verb':'get','Node':'n2','Service':{'ID':'db'}}},"
	    "{'Check':{'Verb':'get','Check':{'Node':'n2','CheckID':'new'}}},{'Node':{'Verb':'get','Node':{'Node':'N2'}}}")),
	    "'Status':'critical'"));
	assert_string_equal(txn(w, OPS("{'Check':{'Verb':'delete','Check':{'Node':'n2','CheckID':'new'}}},"
	    "{'Service':{'Verb':'delete-cas','Node':'n2','Service':{'ID':'db','ModifyIndex':8}}},"
	    "{'Node':{'Verb':'delete-cas','Node':{'Node':'n2','ModifyIndex':8}}}")), "{'Results':[],'Errors':null}");
	assert_string_equal(query(w, OP_CATALOG_NODES, "{}"), "[]");
	world_free(w);
}

/* A failure behind great changes: the state is as it was, byte for byte. */
static void
test_undo(void **state)
{
	struct world *w = prepared();
	char before[4096];

	(void)state;
	(void)snprintf(before, sizeof(before), "%s", query(w, OP_HEALTH_SERVICE, "{'Service':'web'}"));
	assert_non_null(strstr(txn(w, OPS(K("delete-tree", "'Key':'a'") "," K("unlock", "'Key':'l','Session':'" SID(1) "'") ","
	    "{'Node':{'Verb':'delete','Node':{'Node':'n1'}}},{'Node':{'Verb':'set','Node':{'Node':'n3','Address':'x'}}},"
	    K("get", "'Key':'zz'"))), "'OpIndex':4"));
	assert_string_equal(query(w, OP_HEALTH_SERVICE, "{'Service':'web'}"), before);
	assert_int_equal(w->result_index, 6);
	assert_non_null(strstr(get(w, "l"), SID(1)));
	query(w, OP_CATALOG_NODES, "{}");
	assert_null(strstr(w->text, "n3"));
	/* The lock still belongs to its session. */
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
	assert_null(strstr(get(w, "l"), SID(1)));
	world_free(w);
}

static void
test_reads_and_limits(void **state)
{
	struct world *w = prepared();
	char json[8192] = "{'Ops':[";

	(void)state;
	assert_true(is_read(OPS(K("get", "'Key':'a'") "," K("check-index", "'Key':'a'") "," K("check-not-exists", "'Key':'a'"))));
	assert_false(is_read(OPS(K("get", "'Key':'a'") "," K("set", "'Key':'a'"))));
	assert_false(is_read(OPS("{'Node':{'Verb':'delete','Node':{'Node':'n'}}}")));
	assert_true(is_read(OPS("{'Node':{'Verb':'get','Node':{'Node':'n'}}}")));
	assert_string_equal(txn_read(w, OPS(K("get", "'Key':'zz'"))),
	    "{'Results':null,'Errors':[{'OpIndex':0,'What':'key \\'zz\\' doesn't exist'}]}");
	for (int i = 0; i < 65; i++)
		append(json, sizeof(json), "%s" K("get", "'Key':'a'"), i > 0 ? "," : "");
	append(json, sizeof(json), "]}");
	assert_string_equal(check_first(w, OP_TXN_APPLY, json), "E413 Transaction contains too many operations (65 > 64)");
	assert_string_equal(txn_read(w, json), "E413 Transaction contains too many operations (65 > 64)");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kv_errors),
		cmocka_unit_test(test_all_failures_are_listed),
		cmocka_unit_test(test_kv_results),
		cmocka_unit_test(test_get_tree),
		cmocka_unit_test(test_lock_delay),
		cmocka_unit_test(test_catalog),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_reads_and_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
