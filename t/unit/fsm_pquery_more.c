/* fsm_pquery_more.c - prepared queries: who may change, see and run them, and what becomes of them when memory runs out. */
#include "t/unit/fsm_image.h"

#include "t/unit/nomem.h"

#define QID(n) "0000000" #n "-0000-4000-8000-000000000000"
#define ACCESSOR "11111111-2222-4333-8444-555555555555"
#define LACKS(what, name) "E403 Permission denied: token with AccessorID '" ACCESSOR "' lacks permission '" what "' on '" name "'"

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused;

static bool
refuse(void)
{
	if (left != 0) {
		left -= left > 0;
		return false;
	}
	refused = true;
	return true;
}

static const char *
create(struct world *w, const char *id, const char *rest)
{
	char json[4096];

	assert_true(snprintf(json, sizeof(json), "{'Verb':'create','Query':{'ID':'%s',%s}}", id, rest) < (int)sizeof(json));
	return apply(w, OP_QUERY_APPLY, json);
}

/* Somebody with these rules, by default denied; "all": he may do everything. */
static struct asker
asker_of(const char *rules)
{
	struct asker who = { .accessor = STR(ACCESSOR), .secret = STR("a secret") };
	struct authz_config c = { .default_access = ACL_DENY, .management = strcmp(rules, "all") == 0 };
	const struct acl_rules *sets[1] = { NULL };
	struct acl_rules *r = NULL;
	char err[ACL_ERROR_MAX] = "", *text = strdup(rules);

	assert_non_null(text);
	for (char *p = text; *p != 0; p++)
		if (*p == '\'')
			*p = '"';
	if (!c.management && acl_rules_parse(str_from(text), ACL_SYNTAX_CURRENT, &r, err) < 0)
		fail_msg("%s: %s", rules, err);
	sets[0] = r;
	assert_int_equal(authz_new(sets, r != NULL, &c, &who.authz), 0);
	free(r);
	free(text);
	return who;
}

static const char *
read_by(struct world *w, uint16_t op, const char *json, const char *rules, bool *ret_filtered)
{
	struct asker who = asker_of(rules);

	(void)query_as(w, op, json, 0, &who);
	*ret_filtered = who.filtered;
	authz_unref(who.authz);
	return w->text;
}

static const char *
check_by(struct world *w, const char *json, const char *rules)
{
	struct buf request = BUF_INIT(WORLD_TEXT_MAX), out = BUF_INIT(WORLD_TEXT_MAX), none = BUF_INIT(1);
	const struct fsm_fresh fresh = { .random = { 0xff, 1, 2, 3 } };
	struct asker who = asker_of(rules);
	struct fsm_error err;
	struct str in, made;

	encode_request(OP_QUERY_APPLY, json, &request);
	in = (struct str){ (char *)request.data, request.len };
	assert_int_equal(fsm_check(w->f, OP_QUERY_APPLY, in, w->time, &fresh, &who, &out, &made, &err), 0);
	show(w, &none, &err);
	authz_unref(who.authz);
	buf_release(&request);
	buf_release(&out);
	return w->text;
}

/* Queries of each kind, and two instances. */
static struct world *
prepared(void)
{
	struct world *w = world_new();

	node(w, "n1");
	node(w, "n2");
	session(w, SID(1), "");
	assert_int_not_equal(reg(w, "{'Node':'n1','Address':'10.0.0.1','Service':{'Service':'web','ID':'a'}}")[0], 'E');
	assert_int_not_equal(reg(w, "{'Node':'n2','Address':'10.0.0.1','Service':{'Service':'web','ID':'b'},'Check':{'CheckID':'c','ServiceID':'b','Status':'passing'}}")[0], 'E');
	coordinates(w, "[" AT("n1", "1") "," AT("n2", "2") "]");
	create(w, QID(1), "'Name':'app','Token':'secret','Service':{'Service':'web'}");
	create(w, QID(2), "'Name':'tmpl-','Token':'','Template':{'Type':'name_prefix_match','Regexp':'^tmpl-(.*)$'},"
	    "'Service':{'Service':'${match(1)}','Tags':['!${name.suffix}'],'NodeMeta':{},'Failover':{'Targets':[{'Datacenter':'${name.full}'}]}}");
	create(w, QID(3), "'Session':'" SID(1) "','Token':'secret','Service':{'Service':'web'}");
	return w;
}

static void
test_writes(void **state)
{
	static const struct {
		const char *json, *rules, *want;
	} cases[] = {
		{ "{'Verb':'create','Query':{'Name':'app2','Service':{'Service':'x'}}}", "query_prefix 'app' { policy = 'write' }", "" },
		{ "{'Verb':'create','Query':{'Name':'app2','Service':{'Service':'x'}}}", "query_prefix 'app' { policy = 'read' }", LACKS("query:write", "app2") },
		{ "{'Verb':'create','Query':{'Name':'app2','Service':{'Service':'x'}}}", "query 'app' { policy = 'write' }", LACKS("query:write", "app2") },
		{ "{'Verb':'create','Query':{'Name':'t','Template':{'Type':'name_prefix_match'},'Service':{'Service':'x'}}}",
		    "query 't' { policy = 'write' }", "" },
		{ "{'Verb':'create','Query':{'Template':{'Type':'name_prefix_match'},'Service':{'Service':'x'}}}", "query 't' { policy = 'write' }",
		    "E403 Permission denied: token with AccessorID '" ACCESSOR "' lacks permission 'query:write'" },
		{ "{'Verb':'create','Query':{'Template':{'Type':'name_prefix_match'},'Service':{'Service':'x'}}}", "query_prefix '' { policy = 'write' }", "" },
		/* Without a name, whoever has the session may. */
		{ "{'Verb':'create','Query':{'Session':'" SID(1) "','Service':{'Service':'x'}}}", "key 'k' { policy = 'read' }", "" },
		{ "{'Verb':'delete','Query':{'ID':'" QID(3) "'}}", "key 'k' { policy = 'read' }", "" },
		{ "{'Verb':'delete','Query':{'ID':'" QID(1) "'}}", "key 'k' { policy = 'read' }", LACKS("query:write", "app") },
		{ "{'Verb':'delete','Query':{'ID':'" QID(1) "'}}", "query 'app' { policy = 'write' }", "" },
		/* Its old name and its new one. */
		{ "{'Verb':'update','Query':{'ID':'" QID(1) "','Name':'new','Service':{'Service':'x'}}}", "query 'app' { policy = 'write' }", LACKS("query:write", "new") },
		{ "{'Verb':'update','Query':{'ID':'" QID(1) "','Name':'new','Service':{'Service':'x'}}}", "query 'new' { policy = 'write' }", LACKS("query:write", "app") },
		{ "{'Verb':'update','Query':{'ID':'" QID(1) "','Name':'new','Service':{'Service':'x'}}}", "all", "" },
	};
	struct world *w = prepared();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (strcmp(check_by(w, cases[i].json, cases[i].rules), cases[i].want) != 0)
			fail_msg("%s, %s: %s", cases[i].json, cases[i].rules, w->text);
	world_free(w);
}

static void
test_reads(void **state)
{
	static const char app[] = "query 'app' { policy = 'read' }", none[] = "key 'k' { policy = 'read' }";
	struct world *w = prepared();
	const struct pq_request by_name = { .id = STR("APP") }, unknown = { .id = STR("nobody") }, template = { .id = STR("tmpl-x") };
	bool filtered;

	(void)state;
	/* Who manages ACLs sees all, and tokens. */
	assert_non_null(strstr(read_by(w, OP_QUERY_LIST, NULL, "all", &filtered), "'Token':'secret'"));
	assert_non_null(strstr(w->text, QID(3)));
	assert_false(filtered);
	assert_non_null(strstr(read_by(w, OP_QUERY_LIST, NULL, app, &filtered), "'Name':'app','Session':'','Token':'\\u003chidden\\u003e'"));
	assert_null(strstr(w->text, QID(2)));
	assert_null(strstr(w->text, QID(3)));
	assert_true(filtered);
	assert_string_equal(read_by(w, OP_QUERY_LIST, NULL, none, &filtered), "[]");
	assert_true(filtered);
	assert_non_null(strstr(read_by(w, OP_QUERY_GET, "{'ID':'" QID(1) "'}", app, &filtered), "'Token':'\\u003chidden\\u003e'"));
	assert_string_equal(read_by(w, OP_QUERY_GET, "{'ID':'" QID(1) "'}", none, &filtered), LACKS("query:read", "app"));
	/* One without a name, by its ID. */
	assert_non_null(strstr(read_by(w, OP_QUERY_GET, "{'ID':'" QID(3) "'}", none, &filtered), "'Token':'\\u003chidden\\u003e'"));
	assert_non_null(strstr(read_by(w, OP_QUERY_EXPLAIN, "{'ID':'app'}", app, &filtered), "'Token':'\\u003chidden\\u003e'"));
	assert_string_equal(read_by(w, OP_QUERY_EXPLAIN, "{'ID':'tmpl-x'}", app, &filtered), LACKS("query:read", "tmpl-"));
	/* A template's token is not hidden when it has none. */
	assert_non_null(strstr(read_by(w, OP_QUERY_EXPLAIN, "{'ID':'tmpl-x'}", "query 'tmpl-' { policy = 'read' }", &filtered), "'Token':''"));
	/* To run it takes no right on it, but what is found is what may be seen. */
	assert_non_null(strstr(read_by(w, OP_QUERY_EXECUTE, "{'ID':'app'}", "service 'web' { policy = 'read' } node 'n2' { policy = 'read' }", &filtered), "'ID':'b'"));
	assert_null(strstr(w->text, "'ID':'a'"));
	assert_true(filtered);
	assert_non_null(strstr(read_by(w, OP_QUERY_EXECUTE, "{'ID':'app'}", "node_prefix '' { policy = 'read' }", &filtered), "'Nodes':[]"));
	assert_true(filtered);
	/* Whose token it is run with. */
	assert_true(str_eqs(fsm_query_token(w->f, &by_name), "secret"));
	assert_int_equal(fsm_query_token(w->f, &template).len, 0);
	assert_int_equal(fsm_query_token(w->f, &unknown).len, 0);
	world_free(w);
}

/* ---- without memory */

static const struct {
	uint16_t op;
	const char *json;
} writes[] = {
	{ OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'" QID(9) "','Name':'z','Session':'" SID(1) "','Template':{'Type':'name_prefix_match',"
	    "'Regexp':'(z)(.*)'},'Service':{'Service':'${match(1)}','Tags':['a','b']}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'update','Query':{'ID':'" QID(1) "','Name':'other','Service':{'Service':'x'},'DNS':{'TTL':'bad'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'update','Query':{'ID':'" QID(1) "','Name':'other','Service':{'Service':'x'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(2) "'}}" },
	{ OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}" },
	{ 0, NULL },
};

#define KEPT "\x82\xa2ID\xd9\x24" QID(8) "\xa4Name\xa1k"

/* True: the Nth allocation was not reached. */
static bool
write_without(size_t i, long n)
{
	struct world *w = prepared();
	struct buf request = BUF_INIT(1 << 20), result = BUF_INIT(1 << 20);
	struct fsm_entry e = { .kind = writes[i].op != 0 ? FSM_ENTRY_OP : FSM_ENTRY_NOOP, .op = writes[i].op };
	struct fsm_error err;
	int rc;

	if (writes[i].op != 0)
		encode_request(writes[i].op, writes[i].json, &request);
	else
		assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7k"), STR(KEPT)), 0);
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
test_nomem_writes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
		long n = 0;

		while (!write_without(i, n))
			n++;
	}
}

static void
test_nomem_reads(void **state)
{
	static const struct {
		uint16_t op;
		struct pq_request q;
	} reads[] = {
		{ OP_QUERY_EXECUTE, { .id = STR("app"), .near = STR("n2") } }, { OP_QUERY_EXECUTE, { .id = STR("tmpl-web") } },
		{ OP_QUERY_EXPLAIN, { .id = STR("tmpl-web") } }, { OP_QUERY_GET, { .id = STR(QID(1)) } }, { OP_QUERY_LIST, { .id = STR("") } },
		{ OP_QUERY_EXECUTE, { .id = STR("nobody") } },
	};
	struct world *w = prepared();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
		for (long n = 0;; n++) {
			struct buf out = BUF_INIT(1 << 20);
			struct mp_w m = mp_w_init(&out);
			struct fsm_error err;
			uint64_t index;
			int rc;

			refused = false;
			left = n;
			rc = fsm_query(w->f, reads[i].op, &reads[i].q, 0, NULL, &m, &index, NULL, &err);
			left = -1;
			assert_int_equal(rc, refused ? -ENOMEM : 0);
			buf_release(&out);
			if (!refused)
				break;
		}
	}
	world_free(w);
}

static void
test_nomem_load(void **state)
{
	(void)state;
	for (long n = 0;; n++) {
		struct world *w = world_new();
		int rc;

		refused = false;
		left = n;
		rc = fsm_load(w->f, FSM_QUERY, STR(QID(8)), STR(KEPT));
		left = -1;
		assert_int_equal(rc, refused ? -ENOMEM : 0);
		world_free(w);
		if (!refused)
			return;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes), cmocka_unit_test(test_reads), cmocka_unit_test(test_nomem_writes),
		cmocka_unit_test(test_nomem_reads), cmocka_unit_test(test_nomem_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
