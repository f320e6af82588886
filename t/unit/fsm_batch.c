/* fsm_batch.c - catalog.batch: each item judged by its own token, applied and answered by itself, in one entry. */
#include "t/unit/fsm_help.h"

#define OK "{}"
#define REG(id) "{'Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'" id "'}}]}"
#define REG_AS(id, token) "{'Token':'" token "','Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'" id "'}}]}"
#define DEREG(id) "{'Deregister':[{'Node':'n1','ServiceID':'" id "'}]}"
#define BAD "{'Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'x'},'Check':{'CheckID':'c','ServiceID':'none'}}]}"

/* Token "NAME" may write the service NAME, "none" is unknown, "bare" may do nothing. */
struct rights {
	const struct fsm *f;
	struct authz *last;
	unsigned asked;
};

static int
on_asker(void *ctx, struct str token, struct asker *ret)
{
	const struct authz_config c = { .default_access = ACL_DENY };
	struct rights *r = ctx;
	struct acl_rules *set = NULL;
	const struct acl_rules *sets[1];
	char text[256], err[ACL_ERROR_MAX] = "";

	struct buf none = BUF_INIT(WORLD_TEXT_MAX);
	struct mp_w w = mp_w_init(&none);
	const struct catalog_query q = { .node = STR("n1") };
	struct fsm_error e;
	uint64_t index;

	/* Looking into the state is what raftd does here, too. */
	assert_int_equal(fsm_query(r->f, OP_CATALOG_NODES, &q, 0, NULL, &w, &index, NULL, &e), 0);
	buf_release(&none);
	r->asked++;
	if (str_eqs(token, "none"))
		return -ENOENT;
	(void)snprintf(text, sizeof(text), "service \"%.*s\" { policy = \"write\" }", STR_ARG(token));
	assert_int_equal(acl_rules_parse(str_from(text), ACL_SYNTAX_CURRENT, &set, err), 0);
	sets[0] = set;
	authz_unref(r->last);
	assert_int_equal(authz_new(sets, str_eqs(token, "bare") ? 0 : 1, &c, &r->last), 0);
	free(set);
	*ret = (struct asker){ .authz = r->last, .secret = STR("s"), .accessor = STR("a") };
	return 0;
}

/* What goes into the log, or "=" and the reply, or "E500 text". */
static const char *
judged(struct world *w, const char *json, bool acls, struct buf *made)
{
	struct buf request = BUF_INIT(WORLD_TEXT_MAX), out = BUF_INIT(WORLD_TEXT_MAX), copy = BUF_INIT(WORLD_TEXT_MAX);
	struct rights rights = { .f = w->f };
	const struct fsm_fresh fresh = { .asker = acls ? on_asker : NULL, .ctx = &rights };
	struct asker nobody = { .secret = STR("anonymous"), .accessor = STR("a") };
	const struct authz_config none = { .default_access = ACL_DENY };
	struct fsm_error err, told = { .code = 0 };
	struct str in, ret;
	static char text[WORLD_TEXT_MAX];

	if (acls)
		assert_int_equal(authz_new(NULL, 0, &none, &nobody.authz), 0);
	encode_request(OP_CATALOG_BATCH, json, &request);
	in = (struct str){ (char *)request.data, request.len };
	assert_int_equal(fsm_check(w->f, OP_CATALOG_BATCH, in, w->time, &fresh, acls ? &nobody : NULL, &out, &ret, &err), 0);
	assert_int_equal(buf_add(&copy, ret.p, ret.len), 0);
	if (made != NULL)
		assert_int_equal(buf_add(made, ret.p, ret.len), 0);
	if (err.code != FSM_ANSWERED)
		told = err;
	if (told.code != 0)
		buf_clear(&copy);
	(void)snprintf(text, sizeof(text), "%s%s", err.code == FSM_ANSWERED ? "=" : "", show(w, &copy, &told));
	authz_unref(rights.last);
	authz_unref(nobody.authz);
	buf_release(&request);
	buf_release(&out);
	buf_release(&copy);
	return text;
}

static struct world *
prepared(void)
{
	struct world *w = world_new();

	node(w, "n1");
	assert_true(reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'old'}}")[0] != 'E');
	return w;
}

static const char *
batch(struct world *w, const char *json)
{
	return apply(w, OP_CATALOG_BATCH, json);
}

static void
test_apply(void **state)
{
	struct world *w = prepared();
	uint64_t before;

	(void)state;
	before = fsm_index(w->f);
	assert_string_equal(batch(w, "{'Items':[" REG("a") "," REG("b") "," DEREG("old") "]}"), "[{},{},{}]");
	assert_int_equal(fsm_index(w->f), before + 1);
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'a':[],'b':[]}");
	/* What fails is undone alone, and the rest stands. */
	assert_string_equal(batch(w, "{'Items':[" REG("c") "," BAD "," REG("d") ",{}]}"),
	    "[{},{'Code':500,'Text':'failed inserting check: Missing service registration on node \\'n1\\''},{},"
	    "{'Code':400,'Text':'an item of a batch is one registration or one deregistration'}]");
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'a':[],'b':[],'c':[],'d':[]}");
	/* Later items see what earlier ones did. */
	assert_string_equal(batch(w, "{'Items':[" DEREG("a") "," REG("a") "," DEREG("b") "]}"), "[{},{},{}]");
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'a':[],'c':[],'d':[]}");
	/* What the leader refused is its answer, and nothing else. */
	assert_string_equal(batch(w, "{'Items':[{'Code':403,'Text':'no'}," REG("e") "]}"), "[{'Code':403,'Text':'no'},{}]");
	assert_string_equal(batch(w, "{'Items':[]}"), "[]");
	world_free(w);
}

static void
test_once(void **state)
{
	struct world *w = prepared();

	(void)state;
	w->options = (struct query_options){ .origin = STR("0123456789abcdef"), .seq = 1, .floor = 1 };
	assert_string_equal(batch(w, "{'Items':[" REG("a") "," BAD "]}"),
	    "[{},{'Code':500,'Text':'failed inserting check: Missing service registration on node \\'n1\\''}]");
	/* The same stamp with something else: the first answer, and no change. */
	assert_string_equal(batch(w, "{'Items':[" DEREG("a") "]}"),
	    "[{},{'Code':500,'Text':'failed inserting check: Missing service registration on node \\'n1\\''}]");
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'a':[],'old':[]}");
	world_free(w);
}

static void
test_check(void **state)
{
	static const struct {
		const char *json, *want;
		bool acls;
	} cases[] = {
		{ "{'Items':[]}", "=[]", false },
		{ "{'Items':[" REG("old") "]}", "=[{}]", false },
		{ "{'Items':[{}," REG("old") "]}", "=[{'Code':400,'Text':'an item of a batch is one registration or one deregistration'},{}]", false },
		{ "{'Items':[{'Register':[{'Address':'x'}]}," REG("old") "]}", "=[{'Code':500,'Text':'Must provide node'},{}]", false },
		{ "{'Items':[{'Deregister':[{}]}]}", "=[{'Code':500,'Text':'Must provide node'}]", false },
		{ "{'Items':[" REG_AS("old", "none") "]}", "=[{'Code':403,'Text':'ACL not found'}]", true },
		{ "{'Items':[" REG_AS("old", "old") "," REG_AS("old", "bare") "]}",
		    "=[{},{'Code':403,'Text':'Permission denied: token with AccessorID 'a' lacks permission 'service:write' on \\'old\\''}]", true },
		/* A code that the asker brings is none. */
		{ "{'Items':[{'Code':7,'Text':'x','Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'old'}}]}]}", "=[{}]", false },
	};
	struct world *w = prepared();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(judged(w, cases[i].json, cases[i].acls, NULL), cases[i].want);
	world_free(w);
}

/* One that is denied does not hold up the others, and no token gets into the log. */
static void
test_denied(void **state)
{
	struct buf made = BUF_INIT(WORLD_TEXT_MAX), result = BUF_INIT(WORLD_TEXT_MAX);
	struct world *w = prepared();
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_CATALOG_BATCH };
	const char *text = judged(w, "{'Items':[" REG_AS("a", "a") "," REG_AS("b", "other") "," REG("c") "," REG_AS("d", "d") "]}", true, &made);

	(void)state;
	assert_null(strstr(text, "Token"));
	assert_non_null(strstr(text, "'Code':403"));
	e.request = (struct str){ (char *)made.data, made.len };
	text = apply_entry(w, &e);
	assert_int_equal(strncmp(text, "[{},{'Code':403,", 16), 0);
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'a':[],'d':[],'old':[]}");
	buf_release(&made);
	buf_release(&result);
	world_free(w);
}

static void
test_limit(void **state)
{
	static char json[CATALOG_BATCH_MAX * 8 + 64];
	struct world *w = prepared();

	(void)state;
	(void)snprintf(json, sizeof(json), "{'Items':[{}");
	for (int i = 0; i < CATALOG_BATCH_MAX; i++)
		append(json, sizeof(json), ",{}");
	append(json, sizeof(json), "]}");
	assert_string_equal(judged(w, json, false, NULL), "E413 a batch has at most 512 items, not 513");
	world_free(w);
}

/* Few bytes that would stand for much memory: refused before they do. */
static void
test_bloated(void **state)
{
	static const uint8_t head[] = "\x81\xa5Items\x92", item[] = "\x81\xa8Register\x91\x81\xa6" "Checks\xdd";
	enum { CHECKS = RECORD_ELEMS_MAX };
	static const uint8_t count[] = { CHECKS >> 24 & 255, CHECKS >> 16 & 255, CHECKS >> 8 & 255, CHECKS & 255 };
	struct buf request = BUF_INIT(8 * MiB), out = BUF_INIT(WORLD_TEXT_MAX);
	static const struct fsm_fresh fresh = { .asker = NULL };
	struct world *w = prepared();
	struct fsm_error err;
	struct str ret;

	(void)state;
	assert_int_equal(buf_add(&request, head, sizeof(head) - 1), 0);
	for (int k = 0; k < 2; k++) {
		assert_int_equal(buf_add(&request, item, sizeof(item) - 1), 0);
		assert_int_equal(buf_add(&request, count, sizeof(count)), 0);
		for (int i = 0; i < CHECKS; i++)
			assert_int_equal(buf_addc(&request, '\x80'), 0);
	}
	assert_int_equal(fsm_check(w->f, OP_CATALOG_BATCH, (struct str){ (char *)request.data, request.len }, w->time, &fresh, NULL, &out, &ret, &err), -ENOMEM);
	buf_release(&request);
	buf_release(&out);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apply), cmocka_unit_test(test_once), cmocka_unit_test(test_check),
		cmocka_unit_test(test_denied), cmocka_unit_test(test_limit), cmocka_unit_test(test_bloated),
	};

	return cmocka_run_group_tests_name("fsm_batch", tests, NULL, NULL);
}
