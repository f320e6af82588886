/* fsm_permit.c - what the asker of a write may do, and what the asker of a read is shown: operations by rules. */
#include "t/unit/fsm_help.h"

#define ACCESSOR "11111111-2222-4333-8444-555555555555"
#define LACKS(what, name) "E403 Permission denied: token with AccessorID '" ACCESSOR "' lacks permission '" what "' on '" name "'"

/* Somebody with these rules, by default denied. "off": ACLs are off; "all": he may do everything. */
static struct asker
asker_of(const char *rules)
{
	struct asker who = { .accessor = STR(ACCESSOR), .secret = STR("a secret") };
	struct authz_config c = { .default_access = ACL_DENY, .management = strcmp(rules, "all") == 0 };
	struct acl_rules *r = NULL;
	const struct acl_rules *sets[1];
	char err[ACL_ERROR_MAX] = "", *text = strdup(rules);

	assert_non_null(text);
	if (strcmp(rules, "off") != 0 && !c.management) {
		for (char *p = text; *p != 0; p++)
			if (*p == '\'')
				*p = '"';
		if (acl_rules_parse(str_from(text), ACL_SYNTAX_CURRENT, &r, err) < 0)
			fail_msg("%s: %s", rules, err);
	}
	sets[0] = r;
	if (strcmp(rules, "off") != 0)
		assert_int_equal(authz_new(sets, r != NULL, &c, &who.authz), 0);
	free(r);
	free(text);
	return who;
}

/* "" when it may go on, else the error; what a transaction is answered. */
static const char *
check_as(struct world *w, uint16_t op, const char *json, const char *rules)
{
	struct buf request = BUF_INIT(WORLD_TEXT_MAX), out = BUF_INIT(WORLD_TEXT_MAX), reply = BUF_INIT(WORLD_TEXT_MAX);
	const struct fsm_fresh fresh = { .random = { 0xff, 1, 2, 3 } };
	struct asker who = asker_of(rules);
	struct fsm_error err;
	struct str in, made;

	encode_request(op, json, &request);
	in = (struct str){ (char *)request.data, request.len };
	assert_int_equal(fsm_check(w->f, op, in, w->time, &fresh, &who, &out, &made, &err), 0);
	if (err.code == FSM_ANSWERED) {
		assert_int_equal(buf_add(&reply, made.p, made.len), 0);
		err.code = 0;
	}
	show(w, &reply, &err);
	authz_unref(who.authz);
	buf_release(&request);
	buf_release(&out);
	buf_release(&reply);
	return w->text;
}

/* Nodes n1 (with web, and db's check c1) and n2, session 1 on n1. */
static struct world *
prepared(void)
{
	struct world *w = world_new();

	node(w, "n1");
	node(w, "n2");
	assert_true(reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'ID':'web-1','Service':'web'},"
	    "'Check':{'CheckID':'c1','Name':'c1','ServiceID':'web-1','Status':'passing'}}")[0] != 'E');
	assert_true(reg(w, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'ID':'db','Service':'db'}}")[0] != 'E');
	assert_true(reg(w, "{'ID':'aaaaaaaa-0000-4000-8000-000000000001','Node':'n3','Address':'10.0.0.3'}")[0] != 'E');
	session(w, SID(1), "");
	put(w, "a/1", "eA==");
	put(w, "a/2", "eA==");
	put(w, "b", "eA==");
	return w;
}

struct row {
	uint16_t op;
	const char *request, *rules, *said;
};

static void
try_rows(const struct row *rows, size_t n)
{
	struct world *w = prepared();

	for (size_t i = 0; i < n; i++) {
		const char *said = check_as(w, rows[i].op, rows[i].request, rows[i].rules);

		if (strcmp(said, rows[i].said) != 0)
			fail_msg("%s with %s: %s", rows[i].request, rows[i].rules, said);
	}
	world_free(w);
}
#define TRY(rows) try_rows(rows, ARRAY_LEN(rows))

#define KV(verb, key) "{'Op':'" verb "','DirEnt':{'Key':'" key "','Session':'" SID(1) "'}}"

static void
test_kv(void **state)
{
	static const struct row rows[] = {
		{ OP_KV_APPLY, KV("set", "a"), "off", "" },
		{ OP_KV_APPLY, KV("set", "a"), "all", "" },
		{ OP_KV_APPLY, KV("set", "a"), "", LACKS("key:write", "a") },
		{ OP_KV_APPLY, KV("set", "a"), "key 'a' { policy = 'read' }", LACKS("key:write", "a") },
		{ OP_KV_APPLY, KV("set", "a"), "key 'a' { policy = 'write' }", "" },
		{ OP_KV_APPLY, KV("set", "ab"), "key 'a' { policy = 'write' }", LACKS("key:write", "ab") },
		{ OP_KV_APPLY, KV("set", "ab"), "key_prefix 'a' { policy = 'write' }", "" },
		{ OP_KV_APPLY, KV("cas", "ab"), "key_prefix 'a' { policy = 'list' }", LACKS("key:write", "ab") },
		{ OP_KV_APPLY, KV("lock", "ab"), "key_prefix 'a' { policy = 'read' }", LACKS("key:write", "ab") },
		{ OP_KV_APPLY, KV("unlock", "ab"), "key_prefix 'a' { policy = 'read' }", LACKS("key:write", "ab") },
		{ OP_KV_APPLY, KV("delete", "ab"), "key_prefix 'a' { policy = 'read' }", LACKS("key:write", "ab") },
		{ OP_KV_APPLY, KV("delete-cas", "ab"), "key_prefix 'a' { policy = 'read' }", LACKS("key:write", "ab") },
		{ OP_KV_APPLY, KV("delete-tree", "a/"), "key_prefix 'a' { policy = 'write' }", "" },
		{ OP_KV_APPLY, KV("delete-tree", "a/"), "key_prefix 'a' { policy = 'write' } key 'a/x' { policy = 'read' }",
		    LACKS("key:write", "a/") },
		{ OP_KV_APPLY, KV("delete-tree", "a/"), "key 'a/' { policy = 'write' }", LACKS("key:write", "a/") },
	};

	(void)state;
	TRY(rows);
}

static void
test_sessions(void **state)
{
	static const struct row rows[] = {
		{ OP_SESSION_CREATE, "{'Node':'n1'}", "session 'n2' { policy = 'write' }", LACKS("session:write", "n1") },
		{ OP_SESSION_CREATE, "{'Node':'n1'}", "session 'n1' { policy = 'read' }", LACKS("session:write", "n1") },
		{ OP_SESSION_CREATE, "{'Node':'n1'}", "session 'n1' { policy = 'write' }", "" },
		{ OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}", "session 'n2' { policy = 'write' }", LACKS("session:write", "n1") },
		{ OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}", "session_prefix '' { policy = 'write' }", "" },
		/* N1 is n1, and a rule about the one says nothing of the other. */
		{ OP_SESSION_CREATE, "{'Node':'N1'}", "session_prefix '' { policy = 'write' } session 'n1' { policy = 'deny' }", LACKS("session:write", "n1") },
		/* One that is not there is nobody's. */
		{ OP_SESSION_DESTROY, "{'ID':'" SID(9) "'}", "", "true" },
	};
	struct world *w = prepared();
	struct asker who = asker_of("session 'n2' { policy = 'write' }");
	struct fsm_error err;

	(void)state;
	TRY(rows);
	assert_false(fsm_may_renew(w->f, STR(SID(1)), &who, &err));
	assert_int_equal(err.code, 403);
	assert_true(fsm_may_renew(w->f, STR(SID(9)), &who, &err));
	authz_unref(who.authz);
	world_free(w);
}

#define N1 "node 'n1' { policy = 'write' } "
#define BUT_N1 "node_prefix '' { policy = 'write' } node 'n1' { policy = 'deny' } "
#define BUT_WEB "service_prefix '' { policy = 'write' } service 'web' { policy = 'deny' } "
#define WEB "service 'web' { policy = 'write' } "

static void
test_register(void **state)
{
	static const struct row rows[] = {
		/* The node. */
		{ OP_CATALOG_REGISTER, "{'Node':'n9','Address':'10.0.0.9'}", "", LACKS("node:write", "n9") },
		{ OP_CATALOG_REGISTER, "{'Node':'n9','Address':'10.0.0.9'}", "node 'n9' { policy = 'read' }", LACKS("node:write", "n9") },
		{ OP_CATALOG_REGISTER, "{'Node':'n9','Address':'10.0.0.9'}", "node 'n9' { policy = 'write' }", "" },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.9'}", "", LACKS("node:write", "n1") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.1','NodeMeta':{'a':'b'}}", "", LACKS("node:write", "n1") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.1','TaggedAddresses':{'lan':'b'}}", "", LACKS("node:write", "n1") },
		/* Nothing of it changes: it is answered at once. */
		{ OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.1'}", "", "false" },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true}", "", "false" },
		/* Another's ID: that one goes. */
		{ OP_CATALOG_REGISTER, "{'ID':'aaaaaaaa-0000-4000-8000-000000000001','Node':'n1','Address':'10.0.0.1'}", N1,
		    LACKS("node:write", "n3") },
		{ OP_CATALOG_REGISTER, "{'ID':'aaaaaaaa-0000-4000-8000-000000000001','Node':'n1','Address':'10.0.0.1'}",
		    "node_prefix 'n' { policy = 'write' }", "" },
		{ OP_CATALOG_REGISTER, "{'Node':'N1','Address':'10.0.0.9'}", BUT_N1, LACKS("node:write", "n1") },
		{ OP_CATALOG_REGISTER, "{'Node':'N1','SkipNodeUpdate':true,'Check':{'Name':'mem'}}", BUT_N1, LACKS("node:write", "n1") },
		/* Services. */
		{ OP_CATALOG_REGISTER, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'Service':'WEB'}}", BUT_WEB, LACKS("service:write", "web") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'api'}}", N1, LACKS("service:write", "api") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web'}}", WEB, "" },
		{ OP_CATALOG_REGISTER, "{'Node':'n9','Address':'1.2.3.4','Service':{'Service':'web'}}", WEB, LACKS("node:write", "n9") },
		/* In the place of another's. */
		{ OP_CATALOG_REGISTER, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'ID':'db','Service':'web'}}", WEB,
		    LACKS("service:write", "db") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'consul'}}", WEB, LACKS("service:write", "consul") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'consul'}}", N1, "" },
		/* Checks, by kind. */
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'Name':'mem'}}", WEB, LACKS("node:write", "n1") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'Name':'mem'}}", N1, "" },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Checks':[{'Name':'up','ServiceID':'web-1'}]}", N1,
		    LACKS("service:write", "web") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Checks':[{'Name':'up','ServiceID':'web-1'}]}", WEB, "" },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'ID':'w2','Service':'web'},"
		    "'Check':{'Name':'up','ServiceID':'w2'}}", WEB, "" },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Checks':[{'Name':'up','ServiceID':'zz'}]}", WEB,
		    "E500 Unknown service 'zz' for check 'up'" },
		/* A service's check becomes the node's. */
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'c1','Name':'c1'}}", N1,
		    LACKS("service:write", "web") },
		{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'serfHealth','Name':'x','ServiceID':'web-1'}}", WEB,
		    LACKS("node:write", "n1") },
	};

	(void)state;
	TRY(rows);
}

static void
test_deregister(void **state)
{
	static const struct row rows[] = {
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1'}", WEB, LACKS("node:write", "n1") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1'}", N1, "" },
		{ OP_CATALOG_DEREGISTER, "{'Node':'N1'}", BUT_N1, LACKS("node:write", "n1") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'N1','ServiceID':'web-1'}", BUT_N1, LACKS("service:write", "web") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'N1','CheckID':'serfHealth'}", BUT_N1, LACKS("node:write", "n1") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'web-1'}", N1, "" },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'web-1'}", WEB, "" },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'web-1'}", "service 'web-1' { policy = 'write' }",
		    LACKS("service:write", "web") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'zz'}", WEB, "E500 Unknown service 'zz'" },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'serfHealth'}", WEB, LACKS("node:write", "n1") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'c1'}", WEB, "" },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'c1'}", "", LACKS("service:write", "web") },
		{ OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'zz'}", WEB, "E500 Unknown check 'zz'" },
		{ OP_AUTOPILOT_SET, "{'Config':{}}", "operator = 'read'",
		    "E403 Permission denied: token with AccessorID '" ACCESSOR "' lacks permission 'operator:write'" },
		{ OP_AUTOPILOT_SET, "{'Config':{}}", "operator = 'write'", "" },
	};

	(void)state;
	TRY(rows);
}

#define OPS(ops) "{'Ops':[" ops "]}"
#define TXN_KV(verb, key) "{'KV':{'Verb':'" verb "','Key':'" key "','Session':'" SID(1) "'}}"
#define DENIED(op, what, name) "{'OpIndex':" op ",'What':'Permission denied: token with AccessorID '" ACCESSOR \
    "' lacks permission '" what "' on \\'" name "\\''}"
#define ERRORS(list) "{'Results':null,'Errors':[" list "]}"

static void
test_txn(void **state)
{
	static const struct row rows[] = {
		{ OP_TXN_APPLY, OPS(TXN_KV("set", "a")), "off", "" },
		{ OP_TXN_APPLY, OPS(TXN_KV("set", "a")), "key 'a' { policy = 'write' }", "" },
		{ OP_TXN_APPLY, OPS(TXN_KV("set", "a") "," TXN_KV("set", "b") "," TXN_KV("delete", "c")), "key 'a' { policy = 'write' }",
		    ERRORS(DENIED("1", "key:write", "b") "," DENIED("2", "key:write", "c")) },
		{ OP_TXN_APPLY, OPS(TXN_KV("lock", "a")), "key 'a' { policy = 'read' }", ERRORS(DENIED("0", "key:write", "a")) },
		{ OP_TXN_APPLY, OPS(TXN_KV("delete-tree", "a")), "key 'a' { policy = 'write' }", ERRORS(DENIED("0", "key:write", "a")) },
		{ OP_TXN_APPLY, OPS(TXN_KV("delete-tree", "a")), "key_prefix 'a' { policy = 'write' }", "" },
		/* What comes of these tells of the key. */
		{ OP_TXN_APPLY, OPS(TXN_KV("check-index", "a")), "", ERRORS(DENIED("0", "key:read", "a")) },
		{ OP_TXN_APPLY, OPS(TXN_KV("check-session", "a")), "", ERRORS(DENIED("0", "key:read", "a")) },
		{ OP_TXN_APPLY, OPS(TXN_KV("check-not-exists", "a")), "", ERRORS(DENIED("0", "key:read", "a")) },
		{ OP_TXN_APPLY, OPS(TXN_KV("check-index", "a")), "key 'a' { policy = 'read' }", "" },
		/* Reads are filtered, not refused. */
		{ OP_TXN_APPLY, OPS(TXN_KV("get", "a") "," TXN_KV("get-tree", "a")), "", "" },
		{ OP_TXN_APPLY, OPS("{'Node':{'Verb':'get','Node':{'Node':'n1'}}}"), "", "" },
		{ OP_TXN_APPLY, OPS("{'Node':{'Verb':'set','Node':{'Node':'n1'}}}"), "", ERRORS(DENIED("0", "node:write", "n1")) },
		{ OP_TXN_APPLY, OPS("{'Node':{'Verb':'set','Node':{'Node':'n1'}}}"), N1, "" },
		{ OP_TXN_APPLY, OPS("{'Node':{'Verb':'delete','Node':{'Node':'N1'}}}"), BUT_N1, ERRORS(DENIED("0", "node:write", "n1")) },
		{ OP_TXN_APPLY, OPS("{'Service':{'Verb':'set','Node':'n2','Service':{'Service':'WEB'}}}"), BUT_WEB, ERRORS(DENIED("0", "service:write", "web")) },
		{ OP_TXN_APPLY, OPS("{'Check':{'Verb':'set','Check':{'Node':'N1','CheckID':'mem','Name':'mem'}}}"), BUT_N1, ERRORS(DENIED("0", "node:write", "n1")) },
		{ OP_TXN_APPLY, OPS("{'Service':{'Verb':'get','Node':'n1','Service':{'ID':'web-1'}}}"), "", "" },
		{ OP_TXN_APPLY, OPS("{'Service':{'Verb':'delete','Node':'n1','Service':{'ID':'web-1','Service':'mine'}}}"),
		    "service 'mine' { policy = 'write' }", ERRORS(DENIED("0", "service:write", "web")) },
		{ OP_TXN_APPLY, OPS("{'Service':{'Verb':'delete','Node':'n1','Service':{'ID':'web-1'}}}"), WEB, "" },
		{ OP_TXN_APPLY, OPS("{'Service':{'Verb':'set','Node':'n1','Service':{'ID':'web-1','Service':'mine'}}}"),
		    "service 'mine' { policy = 'write' }", ERRORS(DENIED("0", "service:write", "web")) },
		{ OP_TXN_APPLY, OPS("{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'c1'}}}"), "", "" },
		{ OP_TXN_APPLY, OPS("{'Check':{'Verb':'set','Check':{'Node':'n1','CheckID':'c1','ServiceID':'web-1','ServiceName':'mine'}}}"),
		    "service 'mine' { policy = 'write' }", ERRORS(DENIED("0", "service:write", "web")) },
		{ OP_TXN_APPLY, OPS("{'Check':{'Verb':'delete','Check':{'Node':'n1','CheckID':'serfHealth'}}}"), WEB,
		    ERRORS(DENIED("0", "node:write", "n1")) },
		{ OP_TXN_APPLY, OPS("{'Check':{'Verb':'delete','Check':{'Node':'n1','CheckID':'serfHealth'}}}"), N1, "" },
	};

	(void)state;
	TRY(rows);
}

/* ---- what transactions show */

static const char *
txn_read_as(struct world *w, const char *json, const char *rules, bool *ret_filtered)
{
	struct buf request = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	struct asker who = asker_of(rules);
	struct arena a = ARENA_INIT(1 << 20);
	struct mp_w m = mp_w_init(&out);
	struct txn_request req;
	struct fsm_error err;
	struct mp_r r;

	encode_request(OP_TXN_APPLY, json, &request);
	r = mp_r_init(request.data, request.len);
	assert_int_equal(record_decode(&rec_txn_request, &r, &req, &a), 0);
	assert_int_equal(fsm_query_txn(w->f, &req, &who, &m, &w->result_index, &err), 0);
	show(w, &out, &err);
	*ret_filtered = who.filtered;
	authz_unref(who.authz);
	arena_release(&a);
	buf_release(&request);
	buf_release(&out);
	return w->text;
}

static void
test_txn_reads(void **state)
{
	struct world *w = prepared();
	const char *text;
	bool filtered;

	(void)state;
	text = txn_read_as(w, OPS(TXN_KV("get-tree", "a/") "," TXN_KV("get", "b")), "key 'a/2' { policy = 'read' }", &filtered);
	assert_non_null(strstr(text, "'Key':'a/2'"));
	assert_null(strstr(text, "'Key':'a/1'"));
	assert_null(strstr(text, "'Key':'b'"));
	assert_true(filtered);
	/* Nothing tells whether a key is there that may not be read. */
	assert_string_equal(txn_read_as(w, OPS(TXN_KV("get", "b")), "", &filtered), "{'Results':[],'Errors':null}");
	assert_true(filtered);
	assert_string_equal(txn_read_as(w, OPS(TXN_KV("get", "zz")), "", &filtered), "{'Results':[],'Errors':null}");
	assert_true(filtered);
	assert_non_null(strstr(txn_read_as(w, OPS(TXN_KV("get", "zz")), "all", &filtered), "doesn't exist"));
	assert_string_equal(txn_read_as(w, OPS("{'Service':{'Verb':'get','Node':'n1','Service':{'ID':'zz'}}}"), "", &filtered), "{'Results':[],'Errors':null}");
	assert_string_equal(txn_read_as(w, OPS("{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'zz'}}}"), "", &filtered), "{'Results':[],'Errors':null}");
	assert_non_null(strstr(txn_read_as(w, OPS("{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'zz'}}}"), "all", &filtered), "doesn't exist"));
	assert_false(filtered);
	text = txn_read_as(w, OPS(TXN_KV("get", "b") "," TXN_KV("check-index", "b")), "", &filtered);
	assert_string_equal(text, ERRORS(DENIED("1", "key:read", "b")));
	text = txn_read_as(w, OPS("{'Node':{'Verb':'get','Node':{'Node':'n1'}}},{'Service':{'Verb':'get','Node':'n1','Service':{'ID':'web-1'}}},"
	    "{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'c1'}}}"), "node_prefix '' { policy = 'read' }", &filtered);
	assert_non_null(strstr(text, "{'Node':{"));
	assert_null(strstr(text, "{'Service':{"));
	assert_null(strstr(text, "{'Check':{"));
	assert_true(filtered);
	world_free(w);
}

/* The results of one that writes, when it has been applied. */
static void
test_txn_results(void **state)
{
	struct world *w = prepared();
	struct buf request = BUF_INIT(1 << 20), result = BUF_INIT(1 << 20), shown = BUF_INIT(1 << 20);
	struct asker who = asker_of("key 'b' { policy = 'write' } node 'n1' { policy = 'read' }");
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_TXN_APPLY };
	struct fsm_error err;

	(void)state;
	encode_request(OP_TXN_APPLY, OPS(TXN_KV("set", "b") "," TXN_KV("get-tree", "a/") ",{'Node':{'Verb':'get','Node':{'Node':'n1'}}},"
	    "{'Node':{'Verb':'get','Node':{'Node':'n2'}}},{'Service':{'Verb':'get','Node':'n1','Service':{'ID':'web-1'}}},"
	    "{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'serfHealth'}}},{'Check':{'Verb':'get','Check':{'Node':'n1','CheckID':'c1'}}}"),
	    &request);
	e.request = (struct str){ (char *)request.data, request.len };
	e.time = w->time;
	assert_int_equal(fsm_apply(w->f, ++w->index, &e, &result, &err, NULL), 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(fsm_txn_show((struct str){ (char *)result.data, result.len }, &who, &shown), 0);
	show(w, &shown, &err);
	assert_non_null(strstr(w->text, "'Key':'b'"));
	assert_null(strstr(w->text, "'Key':'a/"));
	assert_non_null(strstr(w->text, "'Node':'n1','Address'"));
	assert_null(strstr(w->text, "'Node':'n2'"));
	assert_null(strstr(w->text, "web"));
	assert_non_null(strstr(w->text, "serfHealth"));
	assert_non_null(strstr(w->text, "],'Errors':null}"));
	assert_true(who.filtered);
	/* Nonsense is not followed. */
	assert_true(fsm_txn_show((struct str){ (char *)result.data, result.len / 2 }, &who, &shown) < 0);
	authz_unref(who.authz);
	buf_release(&request);
	buf_release(&result);
	buf_release(&shown);
	world_free(w);
}

/* ---- reads */

struct seen {
	uint16_t op;
	const char *request, *rules;
	const char *has[3], *lacks[3];
	bool filtered;
};

static void
try_seen(struct world *w, const struct seen *s)
{
	struct asker who = asker_of(s->rules);
	const char *text = query_as(w, s->op, s->request, 0, &who);

	for (size_t i = 0; i < ARRAY_LEN(s->has); i++) {
		if (s->has[i] != NULL && strstr(text, s->has[i]) == NULL)
			fail_msg("%s %s with %s lacks %s: %s", op_info(s->op)->name, s->request, s->rules, s->has[i], text);
		if (s->lacks[i] != NULL && strstr(text, s->lacks[i]) != NULL)
			fail_msg("%s %s with %s shows %s: %s", op_info(s->op)->name, s->request, s->rules, s->lacks[i], text);
	}
	if (who.filtered != s->filtered)
		fail_msg("%s %s with %s: filtered %d", op_info(s->op)->name, s->request, s->rules, who.filtered);
	authz_unref(who.authz);
}

#define NODES "node_prefix '' { policy = 'read' } "
#define SERVICES "service_prefix '' { policy = 'read' } "

static void
test_reads(void **state)
{
	static const struct seen rows[] = {
		{ OP_CATALOG_NODES, "{}", "", { "[]" }, { NULL }, true },
		{ OP_CATALOG_NODES, "{}", "node 'n2' { policy = 'read' }", { "'Node':'n2'" }, { "'Node':'n1'" }, true },
		{ OP_CATALOG_NODES, "{}", NODES, { "'Node':'n1'", "'Node':'n2'" }, { NULL }, false },
		/* That something was left out tells nothing of what: not whether a filter fits it. */
		{ OP_CATALOG_NODES, "{'Filter':'Node == n2'}", "node 'n2' { policy = 'read' }", { "'Node':'n2'" }, { NULL }, true },
		{ OP_CATALOG_NODES, "{'Filter':'Node == n1'}", "node 'n2' { policy = 'read' }", { "[]" }, { NULL }, true },
		{ OP_CATALOG_NODES, "{'Filter':'Node == zz'}", "node 'n2' { policy = 'read' }", { "[]" }, { NULL }, true },
		{ OP_CATALOG_SERVICE, "{'Service':'web','Filter':'Node == zz'}", SERVICES, { "[]" }, { NULL }, true },
		{ OP_HEALTH_SERVICE, "{'Service':'web','Filter':'Node.Node == zz'}", SERVICES, { "[]" }, { NULL }, true },
		{ OP_HEALTH_STATE, "{'State':'any','Filter':'Node == zz'}", "", { "[]" }, { NULL }, true },
		{ OP_CATALOG_NODE, "{'Node':'n1','Filter':'Service == zz'}", NODES, { "'Services':{}" }, { NULL }, true },
		/* Nor do names tell of nodes. */
		{ OP_CATALOG_SERVICES, "{'Filter':'Node == n1'}", SERVICES, { "{}" }, { NULL }, true },
		{ OP_CATALOG_SERVICES, "{'Filter':'Node == n1'}", SERVICES "node 'n1' { policy = 'read' } ", { "'web'" }, { "'db'" }, true },
		{ OP_CATALOG_SERVICES, "{}", "", { "{}" }, { NULL }, true },
		{ OP_CATALOG_SERVICES, "{}", "service 'web' { policy = 'read' }", { "'web'" }, { "'db'" }, true },
		{ OP_CATALOG_SERVICE, "{'Service':'web'}", SERVICES, { "[]" }, { NULL }, true },
		{ OP_CATALOG_SERVICE, "{'Service':'web'}", NODES, { "[]" }, { NULL }, true },
		{ OP_CATALOG_SERVICE, "{'Service':'web'}", NODES SERVICES, { "'ServiceID':'web-1'" }, { NULL }, false },
		{ OP_CATALOG_NODE, "{'Node':'n1'}", SERVICES, { "null" }, { "n1" }, true },
		{ OP_CATALOG_NODE, "{'Node':'n1'}", NODES, { "'Services':{}" }, { "web" }, true },
		{ OP_CATALOG_NODE, "{'Node':'n1'}", NODES WEB, { "web-1" }, { NULL }, false },
		{ OP_CATALOG_NODE_SERVICES, "{'Node':'n1'}", SERVICES, { "{'Node':null,'Services':null}" }, { NULL }, true },
		{ OP_CATALOG_NODE_SERVICES, "{'Node':'n1'}", NODES, { "'Services':[]" }, { "web" }, true },
		{ OP_HEALTH_NODE, "{'Node':'n1'}", SERVICES, { "[]" }, { NULL }, true },
		{ OP_HEALTH_NODE, "{'Node':'n1'}", NODES, { "serfHealth" }, { "c1" }, true },
		{ OP_HEALTH_NODE, "{'Node':'n1'}", NODES SERVICES, { "serfHealth", "c1" }, { NULL }, false },
		{ OP_HEALTH_CHECKS, "{'Service':'web'}", NODES, { "[]" }, { NULL }, true },
		{ OP_HEALTH_CHECKS, "{'Service':'web'}", NODES WEB, { "c1" }, { NULL }, false },
		{ OP_HEALTH_STATE, "{'State':'any'}", "", { "[]" }, { NULL }, true },
		{ OP_HEALTH_STATE, "{'State':'any'}", "node 'n2' { policy = 'read' }", { "'Node':'n2'" }, { "'Node':'n1'" }, true },
		{ OP_HEALTH_SERVICE, "{'Service':'web'}", WEB, { "[]" }, { NULL }, true },
		{ OP_HEALTH_SERVICE, "{'Service':'web'}", WEB NODES, { "web-1", "serfHealth", "c1" }, { NULL }, false },
		{ OP_SESSION_LIST, "", "", { "[]" }, { NULL }, true },
		{ OP_SESSION_LIST, "", "session 'n1' { policy = 'read' }", { SID(1) }, { NULL }, false },
		{ OP_SESSION_INFO, "{'ID':'" SID(1) "'}", "", { "[]" }, { NULL }, true },
		{ OP_SESSION_INFO, "{'ID':'" SID(1) "'}", "session 'n1' { policy = 'read' }", { SID(1) }, { NULL }, false },
		{ OP_SESSION_NODE, "{'ID':'n1'}", "session 'n2' { policy = 'read' }", { "[]" }, { NULL }, true },
		{ OP_COORDINATE_LIST, "{}", "node 'n2' { policy = 'read' }", { "'Node':'n2'" }, { "'Node':'n1'" }, true },
		{ OP_COORDINATE_NODE, "{'Node':'n1'}", "", { LACKS("node:read", "n1") }, { NULL }, false },
		{ OP_COORDINATE_NODE, "{'Node':'n1'}", NODES, { "'Node':'n1'" }, { NULL }, false },
		{ OP_AUTOPILOT_CONFIG, "", "", { "lacks permission 'operator:read'" }, { NULL }, false },
		{ OP_AUTOPILOT_CONFIG, "", "operator = 'read'", { "CleanupDeadServers" }, { NULL }, false },
		{ OP_KV_GET, "{'Key':'b'}", "", { LACKS("key:read", "b") }, { NULL }, false },
		{ OP_KV_GET, "{'Key':'b'}", "key 'b' { policy = 'read' }", { "'Key':'b'" }, { NULL }, false },
		{ OP_KV_LIST, "{'Key':'a/'}", "key 'a/2' { policy = 'read' }", { "a/2" }, { "a/1" }, true },
		{ OP_KV_KEYS, "{'Key':''}", "key 'a/2' { policy = 'read' }", { "a/2" }, { "a/1", "b" }, true },
	};
	struct world *w = prepared();

	(void)state;
	coordinates(w, "[" AT("n1", "0.1") "," AT("n2", "0.2") "]");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		try_seen(w, &rows[i]);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kv), cmocka_unit_test(test_sessions), cmocka_unit_test(test_register),
		cmocka_unit_test(test_deregister), cmocka_unit_test(test_txn), cmocka_unit_test(test_txn_reads),
		cmocka_unit_test(test_txn_results), cmocka_unit_test(test_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
