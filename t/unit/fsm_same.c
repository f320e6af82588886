/*
 * fsm_same.c - servers that apply the same entries are the same, whatever else is different between them: their settings, their
 * clocks, what they were asked meanwhile, when they started, and by which way the state came to them.
 */
#include "t/unit/fsm_image.h"

#define U(n) "aaaaaaaa-1111-4222-8333-0000000000" #n
#define QID(n) "bbbbbbbb-1111-4222-8333-0000000000" #n
#define MGMT "00000000-0000-0000-0000-000000000001"
#define RESTORE_ID "0123456789abcdef"

enum { TIME_STEP_S = 3 };

/* Entries in the order of a log: an operation and its request, as the leader completed it. Operation 0: coordinates. */
static const struct entry {
	uint16_t op;
	const char *json;
} entries[] = {
	{ OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.1','ID':'11111111-2222-3333-4444-555555555555','Check':{'CheckID':'serfHealth','Status':'passing'}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n2','Address':'10.0.0.2','NodeMeta':{'a':'b'},'Service':{'Service':'Web','ID':'w1','Tags':['t']},"
	    "'Checks':[{'CheckID':'c1','Status':'passing','ServiceID':'w1'},{'Name':'c2','Status':'warning'}]}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','ID':'w2','Meta':{'external-source':'x'}}}" },
	{ 0, "[" AT("n1", "0.25") "," AT("n2", "0.5") "]" },
	{ 0, "[" AT("n1", "0.75") "]" },
	{ OP_SESSION_CREATE, "{'ID':'" SID(1) "','Node':'n1','TTL':'10s','TTLExact':true,'Name':'exact'}" },
	{ OP_SESSION_CREATE, "{'ID':'" SID(2) "','Node':'n1','Behavior':'delete','LockDelay':'20s'}" },
	{ OP_SESSION_CREATE, "{'ID':'" SID(3) "','Node':'n1','TTL':'1s'}" },
	/* Keys with a TTL, in everything that answers with an entry. */
	{ OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'t/1','Value':'MQ=='},'TTL':60000000000}" },
	{ OP_KV_APPLY, "{'Op':'cas','DirEnt':{'Key':'t/2','Value':'Mg=='},'TTL':30000000000}" },
	{ OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'t/3'},'TTL':4000000000}" },
	{ OP_KV_APPLY, "{'Op':'touch','DirEnt':{'Key':'t/1'},'TTL':40000000000}" },
	{ OP_KV_APPLY, "{'Op':'touch','DirEnt':{'Key':'nothing'}}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'increment','Key':'t/1','Value':'NQ=='}},{'KV':{'Verb':'get','Key':'t/1'}},"
	    "{'KV':{'Verb':'get-tree','Key':'t/'}},{'KV':{'Verb':'get-or-empty','Key':'none'}},{'KV':{'Verb':'check-session','Key':'t/2'}}]}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'copy','Key':'t/1','Dest':'c/1'}},{'KV':{'Verb':'move','Key':'c/1','Dest':'c/2'}}]}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'set','Key':'undone','Value':'eA=='}},{'KV':{'Verb':'delete-tree','Key':'t/'}},"
	    "{'KV':{'Verb':'increment','Key':'undone'}}]}" },
	{ OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'set','Key':'1'}},{'KV':{'Verb':'set','Key':'2'}},{'KV':{'Verb':'set','Key':'3'}},"
	    "{'KV':{'Verb':'set','Key':'4'}},{'KV':{'Verb':'set','Key':'5'}},{'KV':{'Verb':'set','Key':'6'}}]}" },
	/* Locks, their tokens, and what becomes of both. */
	{ OP_KV_APPLY, "{'Op':'lock','Fencing':true,'DirEnt':{'Key':'l1','Session':'" SID(1) "','Value':'eA=='}}" },
	{ OP_KV_APPLY, "{'Op':'lock','Fencing':true,'DirEnt':{'Key':'l2','Session':'" SID(2) "'}}" },
	{ OP_KV_APPLY, "{'Op':'lock','Fencing':true,'DirEnt':{'Key':'l1','Session':'" SID(2) "'}}" },
	{ OP_KV_APPLY, "{'Op':'unlock','DirEnt':{'Key':'l1','Session':'" SID(1) "'}}" },
	{ OP_KV_APPLY, "{'Op':'lock','Fencing':true,'DirEnt':{'Key':'l1','Session':'" SID(1) "','Value':'eQ=='}}" },
	/* Prepared queries. */
	{ OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'" QID(01) "','Name':'q','Service':{'Service':'web','Tags':['!x'],'NodeMeta':{'a':'b'}},"
	    "'DNS':{'TTL':'10s'},'Token':'secret'}}" },
	{ OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'" QID(02) "','Name':'geo-','Template':{'Type':'name_prefix_match','Regexp':'^geo-(.*)$'},"
	    "'Service':{'Service':'${match(1)}'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'" QID(03) "','Session':'" SID(2) "','Service':{'Service':'web'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'" QID(04) "','Name':'Q','Service':{'Service':'web'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'update','Query':{'ID':'" QID(01) "','Name':'q','Service':{'Service':'db'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'" QID(05) "','Name':'gone','Service':{'Service':'web'}}}" },
	{ OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(05) "'}}" },
	/* ACLs. */
	{ OP_ACL_POLICY_SET, "{'ID':'" MGMT "','Name':'global-management','Rules':'acl = \\'write\\''}" },
	{ OP_ACL_TOKEN_SET, "{'Verb':'init','Token':{'AccessorID':'00000000-0000-0000-0000-000000000002','SecretID':'anonymous'}}" },
	{ OP_ACL_BOOTSTRAP, "{'AccessorID':'" U(01) "','SecretID':'" U(02) "','CreateTime':'2023-11-14T22:13:20Z'}" },
	{ OP_ACL_BOOTSTRAP, "{'AccessorID':'" U(03) "','SecretID':'" U(04) "','CreateTime':'2023-11-14T22:13:20Z'}" },
	{ OP_ACL_POLICY_SET, "{'ID':'" U(10) "','Name':'p','Rules':'key_prefix \\'a\\' { policy = \\'read\\' }','Datacenters':['dc1']}" },
	{ OP_ACL_POLICY_SET, "{'ID':'" U(11) "','Name':'goes','Rules':''}" },
	{ OP_ACL_ROLE_SET, "{'ID':'" U(12) "','Name':'r','Policies':[{'ID':'" U(10) "'},{'ID':'" U(11) "'}],'NodeIdentities':[{'NodeName':'n','Datacenter':'dc1'}]}" },
	{ OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(13) "','SecretID':'" U(14) "','Policies':[{'ID':'" U(10) "'}],'Roles':[{'ID':'" U(12) "'}],"
	    "'ServiceIdentities':[{'ServiceName':'web'}],'ExpirationTime':'2023-11-15T22:13:20Z','CreateTime':'2023-11-14T22:13:20Z'}}" },
	{ OP_ACL_TOKEN_SET, "{'Verb':'update','Token':{'AccessorID':'" U(13) "','Description':'again','Policies':[{'ID':'" U(11) "'}]}}" },
	{ OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(15) "','SecretID':'" U(14) "'}}" },
	{ OP_ACL_METHOD_SET, "{'Name':'m','Type':'jwt','Config':{'JWKSFile':'/keys','ClaimMappings':{'a':'x'}}}" },
	{ OP_ACL_METHOD_SET, "{'Name':'other','Type':'jwt','Config':{'JWKSFile':'/keys'}}" },
	{ OP_ACL_BINDING_SET, "{'ID':'" U(16) "','AuthMethod':'m','BindType':'role','BindName':'r'}" },
	{ OP_ACL_BINDING_SET, "{'ID':'" U(17) "','AuthMethod':'other','BindType':'service','BindName':'s'}" },
	{ OP_ACL_LOGIN, "{'AuthMethod':'m','Token':{'AccessorID':'" U(18) "','SecretID':'" U(19) "','AuthMethod':'m'}}" },
	{ OP_ACL_LOGIN, "{'AuthMethod':'other','Token':{'AccessorID':'" U(20) "','SecretID':'" U(21) "','AuthMethod':'other'}}" },
	{ OP_ACL_LOGOUT, "{'IDs':['" U(20) "']}" },
	{ OP_ACL_POLICY_DELETE, "{'IDs':['" U(11) "']}" },
	{ OP_ACL_METHOD_DELETE, "{'IDs':['m']}" },
	{ OP_ACL_TOKEN_REAP, "{'IDs':['" U(13) "','" U(01) "']}" },
	/* The catalog, one thing at a time. */
	{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Checks':[{'CheckID':'of-node','Status':'passing'}]}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Checks':[{'CheckID':'of-node','Status':'warning','Output':'x'}]}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n2','SkipNodeUpdate':true,'Checks':[{'CheckID':'c1','Status':'critical','ServiceID':'w1'}]}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'Service':'api','ID':'w1'}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n2','Address':'10.0.0.9','NodeMeta':{'a':'c'}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n3','Address':'10.0.0.1','ID':'11111111-2222-3333-4444-555555555556','Service':{'Service':'web','ID':'w3','Kind':'connect-proxy'}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n4','Address':'10.0.0.4','ID':'11111111-2222-3333-4444-555555555556'}" },
	{ OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'of-node'}" },
	{ OP_CATALOG_BATCH, "{'Items':[{'Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'b1'}}]},"
	    "{'Register':[{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'undone'},'Check':{'CheckID':'b','ServiceID':'none'}}]},"
	    "{'Code':403,'Text':'no'},{'Deregister':[{'Node':'n1','ServiceID':'b1'}]}]}" },
	{ OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'w2'}" },
	{ OP_TXN_APPLY, "{'Ops':[{'Node':{'Verb':'set','Node':{'Node':'n5','Address':'x'}}},{'Service':{'Verb':'set','Node':'n5','Service':{'Service':'web'}}},"
	    "{'Check':{'Verb':'set','Check':{'Node':'n5','CheckID':'k','Status':'critical'}}}]}" },
	{ OP_TXN_APPLY, "{'Ops':[{'Check':{'Verb':'delete','Check':{'Node':'n5','CheckID':'k'}}},{'Service':{'Verb':'delete','Node':'n5','Service':{'ID':'web'}}},"
	    "{'Node':{'Verb':'delete','Node':{'Node':'n5'}}}]}" },
	/* What goes with something else. */
	{ OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':3}}" },
	{ OP_CATALOG_REGISTER, "{'Node':'n2','Address':'10.0.0.2','NodeMeta':{'a':'b'},'Service':{'Service':'Web','ID':'w1','Tags':['t']}}" },
	{ OP_SESSION_DESTROY, "{'ID':'" SID(2) "'}" },
	{ OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'late'},'TTL':1000000000}" },
	{ OP_CATALOG_DEREGISTER, "{'Node':'n2'}" },
	{ OP_CATALOG_DEREGISTER, "{'Node':'n1'}" },
};

/* What a server that leads asks its state, and those that do not, do not. */
static void
be_asked(struct world *w)
{
	static const char *const lists[] = { "{'Key':''}", "{'Key':'t/','Depth':1}" };

	fsm_set_wall(w->f, S(1700000000) + w->time * 3, w->time);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		query(w, OP_KV_LIST, lists[i]);
	query(w, OP_KV_CHANGES, "{'Key':''}");
	query(w, OP_UI_SERVICES, "{}");
	query(w, OP_QUERY_EXECUTE, "{'ID':'geo-web'}");
	query(w, OP_ACL_TOKEN_LIST, "{}");
	check_first(w, OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'set','Key':'x'}}]}");
	check_first(w, OP_ACL_POLICY_SET, "{'Name':'never','Rules':''}");
}

/* Stamped, so that the results are in the state, too. */
static void
step(struct world *w, size_t i)
{
	w->options = (struct query_options){ .origin = STR("0123456789abcdef"), .seq = i + 1, .floor = i > 20 ? i - 20 : 1 };
	w->time += S(TIME_STEP_S);
	if (entries[i].op != 0)
		apply(w, entries[i].op, entries[i].json);
	else
		coordinates(w, entries[i].json);
}

/* What the leader would propose now, by the state of `of`. */
static void
let_expire(struct world *w, const struct world *of)
{
	struct str ids[16], keys[16];
	const struct fsm_tick t = { .expire = { ids, fsm_expired(of->f, of->time, ids, 16) },
		.expire_keys = { keys, fsm_expired_keys(of->f, of->time, keys, 16) } };

	w->options = (struct query_options){ .seq = 0 };
	tick_all(w, &t);
}

static void
assert_same(const struct world *a, const struct world *b)
{
	struct image x, y;

	image_dump(a->f, &x);
	image_dump(b->f, &y);
	assert_image_equal(&x, &y);
	image_free(&x);
	image_free(&y);
}

static struct world *
reloaded(const struct world *w, bool reversed)
{
	struct image m;
	struct world *ret;

	image_dump(w->f, &m);
	ret = reversed ? world_load_reversed(&m) : world_load(&m);
	image_free(&m);
	return ret;
}

/* Settings that are another server's own. */
static struct world *
other_server(void)
{
	static const struct fsm_config c = { "dc1", 5, S(60) };
	struct world *w = world_new();

	fsm_free(w->f);
	w->f = fsm_new(&c);
	assert_non_null(w->f);
	return w;
}

static void
test_same(void **state)
{
	struct world *a = world_new(), *b = other_server(), *c = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		struct world *copy = c != NULL ? c : b;

		be_asked(b);
		step(a, i);
		step(b, i);
		assert_string_equal(a->text, b->text);
		assert_string_equal(a->touched, b->touched);
		/* One that has just started from an image, a different one at each entry. */
		if (c != NULL) {
			step(c, i);
			assert_string_equal(a->text, c->text);
			assert_string_equal(a->touched, c->touched);
		}
		let_expire(b, a);
		if (c != NULL)
			let_expire(c, a);
		let_expire(a, a);
		assert_same(a, b);
		assert_same(a, copy);
		if (c != NULL)
			world_free(c);
		c = reloaded(a, i % 2 == 1);
	}
	world_free(a);
	world_free(b);
	world_free(c);
}

/* Of each kind that this release added there has been something at some time: the entries are not refused for another reason. */
static void
test_nothing_is_left_out(void **state)
{
	struct world *w = world_new();
	bool seen[FSM_TABLES] = { false };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		struct image m;

		step(w, i);
		image_dump(w->f, &m);
		for (size_t k = 0; k < m.n; k++)
			seen[m.v[k].table] = true;
		image_free(&m);
	}
	for (int table = 0; table < FSM_TABLES; table++)
		if (!seen[table] && table != FSM_OPAQUE)
			fail_msg("nothing of table %d", table);
	world_free(w);
}

/* ---- who waits is woken */

/* What may be waited for. */
static const struct entry reads[] = {
	{ OP_KV_GET, "{'Key':'t/1'}" }, { OP_KV_GET, "{'Key':'l1'}" }, { OP_KV_GET, "{'Key':'late'}" },
	{ OP_KV_LIST, "{'Key':''}" }, { OP_KV_LIST, "{'Key':'t/'}" }, { OP_KV_LIST, "{'Key':'c','Count':true}" },
	{ OP_KV_KEYS, "{'Key':'','Separator':'/'}" }, { OP_KV_KEYS, "{'Key':'c/'}" },
	{ OP_SESSION_INFO, "{'ID':'" SID(1) "'}" }, { OP_SESSION_NODE, "{'ID':'N1'}" }, { OP_SESSION_LIST, NULL },
	{ OP_CATALOG_NODES, "{}" }, { OP_CATALOG_NODES, "{'NodeMeta':{'a':'b'}}" }, { OP_CATALOG_SERVICES, "{}" },
	{ OP_CATALOG_SERVICES, "{'NodeMeta':{'a':'b'}}" }, { OP_CATALOG_SERVICES, "{'Filter':'NodeMeta.a == b'}" },
	{ OP_CATALOG_SERVICE, "{'Service':'web'}" }, { OP_CATALOG_SERVICE, "{'Service':'API'}" }, { OP_CATALOG_SERVICE, "{'Service':'none'}" },
	{ OP_CATALOG_NODE, "{'Node':'n1'}" }, { OP_CATALOG_NODE_SERVICES, "{'Node':'n2'}" }, { OP_CATALOG_NODE_SERVICES, "{'Node':'n4'}" },
	{ OP_HEALTH_NODE, "{'Node':'n1'}" }, { OP_HEALTH_NODE, "{'Node':'n2','NodeMeta':{'a':'b'}}" }, { OP_HEALTH_CHECKS, "{'Service':'web'}" },
	{ OP_HEALTH_CHECKS, "{'Service':'web','NodeMeta':{'a':'b'}}" }, { OP_HEALTH_STATE, "{'State':'any'}" },
	{ OP_HEALTH_STATE, "{'State':'critical'}" }, { OP_HEALTH_SERVICE, "{'Service':'web'}" },
	{ OP_HEALTH_SERVICE, "{'Service':'web','Filter':'Checks.Status == critical'}" }, { OP_HEALTH_SERVICE, "{'Service':'api','NodeMeta':{'a':'b'}}" },
	{ OP_UI_NODES, "{}" }, { OP_UI_NODES, "{'Node':'n2'}" }, { OP_UI_SERVICES, "{}" }, { OP_OPERATOR_USAGE, NULL },
	{ OP_COORDINATE_LIST, "{}" }, { OP_COORDINATE_NODE, "{'Node':'n1'}" },
	{ OP_QUERY_LIST, NULL }, { OP_QUERY_GET, "{'ID':'" QID(01) "'}" },
	{ OP_ACL_TOKEN_LIST, "{}" }, { OP_ACL_TOKEN_READ, "{'ID':'" U(13) "','Expanded':true}" }, { OP_ACL_POLICY_LIST, "{}" },
	{ OP_ACL_POLICY_READ, "{'ID':'" U(11) "'}" }, { OP_ACL_ROLE_LIST, "{}" }, { OP_ACL_ROLE_READ, "{'ID':'" U(12) "'}" },
	{ OP_ACL_METHOD_LIST, NULL }, { OP_ACL_METHOD_READ, "{'Name':'M'}" }, { OP_ACL_BINDING_LIST, "{}" },
	{ OP_ACL_BINDING_READ, "{'ID':'" U(16) "'}" },
};

struct answered {
	char *text, *watch;
	uint64_t index;
};

/* A new deadline is no news. */
static void
drop_deadlines(char *text)
{
	static const char name[] = ",'ExpiresAt':'";
	char *p;

	while ((p = strstr(text, name)) != NULL) {
		char *end = strchr(p + strlen(name), '\'') + 1;

		memmove(p, end, strlen(end) + 1);
	}
}

static void
ask_all(struct world *w, struct answered *v)
{
	for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
		query(w, reads[i].op, reads[i].json);
		drop_deadlines(w->text);
		free(v[i].text);
		free(v[i].watch);
		v[i] = (struct answered){ strdup(w->text), strdup(w->watch), w->result_index };
		assert_non_null(v[i].text);
		assert_non_null(v[i].watch);
		assert_true(w->watch[0] != 0);
	}
}

/* One word of what is watched, one of what was touched. */
static bool
wakes(const char *watched, size_t wlen, const char *touched, size_t tlen)
{
	const size_t prefix = strlen("prefix:"), key = strlen("key:");

	if (strncmp(watched, "prefix:", prefix) == 0)
		return strncmp(touched, "key:", key) == 0 && tlen - key >= wlen - prefix &&
		    memcmp(touched + key, watched + prefix, wlen - prefix) == 0;
	return wlen == tlen && memcmp(watched, touched, wlen) == 0;
}

static bool
woken(const char *watch, const char *touched)
{
	for (const char *x = watch; *x != 0; x += strcspn(x, " ") + 1)
		for (const char *t = touched; *t != 0; t += strcspn(t, " ") + 1)
			if (wakes(x, strcspn(x, " "), t, strcspn(t, " ")))
				return true;
	return false;
}

/* An answer that became another one by the last entry: who waited for it is found, and its index has grown. */
static void
assert_told(const struct answered *before, const struct answered *after, const char *touched)
{
	for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
		/* Who asks for what is not there is refused at once. */
		if (strcmp(before[i].text, after[i].text) == 0 || before[i].text[0] == 'E')
			continue;
		if (!woken(before[i].watch, touched))
			fail_msg("op %u %s: %s became %s, watched %s, touched %s", reads[i].op, reads[i].json, before[i].text, after[i].text,
			    before[i].watch, touched);
		if (after[i].index <= before[i].index)
			fail_msg("op %u %s: %s became %s, and the index went from %llu to %llu", reads[i].op, reads[i].json, before[i].text,
			    after[i].text, (unsigned long long)before[i].index, (unsigned long long)after[i].index);
	}
}

static void
test_waking(void **state)
{
	static struct answered v[2][ARRAY_LEN(reads)];
	static char touched[sizeof(((struct world *)0)->touched)];
	struct world *w = world_new();
	size_t turn = 0, changed = 0;

	(void)state;
	noop(w);	/* as every log begins */
	ask_all(w, v[0]);
	for (size_t i = 0; i < 2 * ARRAY_LEN(entries); i++) {
		if (i % 2 == 0)
			step(w, i / 2);
		else
			let_expire(w, w);
		memcpy(touched, w->touched, sizeof(touched));
		ask_all(w, v[!turn]);
		assert_told(v[turn], v[!turn], touched);
		for (size_t k = 0; k < ARRAY_LEN(reads); k++)
			changed += strcmp(v[0][k].text, v[1][k].text) != 0;
		turn = !turn;
	}
	assert_true(changed > 200);
	for (size_t k = 0; k < ARRAY_LEN(reads); k++)
		for (int i = 0; i < 2; i++) {
			free(v[i][k].text);
			free(v[i][k].watch);
		}
	world_free(w);
}

/* ---- a restore in the middle */

static void
add_u32(struct buf *b, size_t v)
{
	const uint8_t be[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	assert_int_equal(buf_add(b, be, 4), 0);
}

static void
part(struct world *w, const struct fsm_restore *p)
{
	struct buf request = BUF_INIT(WORLD_TEXT_MAX);
	struct mp_w m = mp_w_init(&request);
	struct fsm_entry e = { .kind = FSM_ENTRY_RESTORE };

	record_encode(&rec_fsm_restore, p, RECORD_WHOLE, &m);
	e.request = (struct str){ (char *)request.data, request.len };
	assert_string_equal(apply_entry(w, &e), "");
	buf_release(&request);
}

static void
restore(struct world *w, const struct image *m)
{
	struct fsm_restore p = { FSM_RESTORE_BEGIN, STR(RESTORE_ID), 0, 77, STR_NONE };
	struct buf b = BUF_INIT(WORLD_TEXT_MAX);

	part(w, &p);
	for (size_t i = 0; i < m->n; i++) {
		assert_int_equal(buf_addc(&b, (uint8_t)m->v[i].table), 0);
		add_u32(&b, m->v[i].key.len);
		add_u32(&b, m->v[i].value.len);
		assert_int_equal(buf_add(&b, m->v[i].key.p, m->v[i].key.len), 0);
		assert_int_equal(buf_add(&b, m->v[i].value.p, m->v[i].value.len), 0);
	}
	p = (struct fsm_restore){ FSM_RESTORE_DATA, STR(RESTORE_ID), 1, 0, { (char *)b.data, b.len } };
	part(w, &p);
	p = (struct fsm_restore){ FSM_RESTORE_END, STR(RESTORE_ID), 1, 0, STR_NONE };
	part(w, &p);
	buf_release(&b);
}

/* The state at each entry is restored by two servers, one of which starts anew behind it; and both go on alike. */
static void
test_restore(void **state)
{
	struct world *source = world_new();

	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_LEN(entries); i++) {
		struct world *a = world_new(), *b = other_server(), *c;
		struct image m;

		step(source, i);
		be_asked(b);
		image_dump(source->f, &m);
		restore(a, &m);
		restore(b, &m);
		assert_same(a, b);
		c = reloaded(a, i % 2 == 0);
		assert_same(a, c);
		c->index = a->index;
		step(a, i + 1);
		be_asked(b);
		step(b, i + 1);
		step(c, i + 1);
		assert_string_equal(a->text, b->text);
		assert_string_equal(a->text, c->text);
		a->time = b->time = c->time = S(5000);
		let_expire(b, a);
		let_expire(c, a);
		let_expire(a, a);
		assert_same(a, b);
		assert_same(a, c);
		image_free(&m);
		world_free(a);
		world_free(b);
		world_free(c);
	}
	world_free(source);
}

/* What reading transactions tell of the state's age is an index of the API, behind a restore too. */
static void
test_index_of_reads(void **state)
{
	struct world *source = world_new(), *w = world_new();
	struct buf out = BUF_INIT(4096);
	struct mp_w o = mp_w_init(&out);
	const struct txn_request none = { .ops = { NULL, 0 } };
	struct fsm_error err;
	struct image m;
	uint64_t index;

	(void)state;
	put(source, "a", "eA==");
	image_dump(source->f, &m);
	restore(w, &m);
	assert_true(fsm_index(w->f) > 77 && fsm_applied(w->f) < 77);
	assert_int_equal(fsm_query_txn(w->f, &none, NULL, &o, &index, &err), 0);
	assert_int_equal(index, fsm_index(w->f));
	image_free(&m);
	buf_release(&out);
	world_free(source);
	world_free(w);
}

/* The next holder's fencing token is above all that the restored state has seen, whatever its other indexes say. */
static void
test_fencing_goes_on(void **state)
{
	static const char held[] = "\x85\xa5Value\xc4\x00\xab" "CreateIndex\x01\xabModifyIndex\x01\xa9LockIndex\x01\xac" "FencingToken\xcd\x27\x10";
	struct image_record r = { FSM_KV, STR("l"), { held, sizeof(held) - 1 } };
	const struct image m = { &r, 1, 1 };
	struct world *w = world_new();
	char *end;

	(void)state;
	restore(w, &m);
	node(w, "n1");
	session(w, SID(1), "");
	apply(w, OP_KV_APPLY, "{'Op':'lock','Fencing':true,'DirEnt':{'Key':'l','Session':'" SID(1) "'}}");
	assert_true(strtoull(w->text, &end, 10) > 10000 && *end == 0);
	world_free(w);
}

/* ---- what one entry may cost */

/* A transaction that asks for more than can be answered fails as a whole; the servers go on. */
static void
test_results_are_bounded(void **state)
{
	static char value[1 << 20], json[1 << 16];
	static const char *const last[] = { "", ",{'KV':{'Verb':'set','Key':'b','Value':'eA=='}}" };
	struct world *w = world_new();
	char *put_json = malloc(sizeof(value) + 256);
	size_t n;

	(void)state;
	assert_non_null(put_json);
	memset(value, 'A', sizeof(value) - 4);
	value[sizeof(value) - 4] = 0;
	(void)snprintf(put_json, sizeof(value) + 256, "{'Op':'set','DirEnt':{'Key':'big/a','Value':'%s'}}", value);
	{
		struct buf request = BUF_INIT(4 << 20);
		struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY };

		encode_request(OP_KV_APPLY, put_json, &request);
		e.request = (struct str){ (char *)request.data, request.len };
		assert_string_equal(apply_entry(w, &e), "true");
		buf_release(&request);
	}
	n = (size_t)snprintf(json, sizeof(json), "{'Ops':[{'KV':{'Verb':'get-tree','Key':'big/'}}");
	for (int i = 1; i < 120; i++)
		n += (size_t)snprintf(json + n, sizeof(json) - n, ",{'KV':{'Verb':'get-tree','Key':'big/'}}");
	(void)snprintf(json + n, sizeof(json) - n, "%s]}", last[1]);
	apply(w, OP_TXN_APPLY, json);
	assert_non_null(strstr(w->text, "'What':'the results of the transaction are larger than 67108864 bytes'"));
	assert_string_equal(get(w, "b"), "[]");
	assert_string_equal(put(w, "c", "eA=="), "true");
	free(put_json);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_nothing_is_left_out),
		cmocka_unit_test(test_waking),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_index_of_reads),
		cmocka_unit_test(test_fencing_goes_on),
		cmocka_unit_test(test_results_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
