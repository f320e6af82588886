/* fsm_acl.c - tokens, policies, roles, auth methods, binding rules: what is checked before the log, what an entry does, who a secret is. */
#include "lib/wall.h"
#include "raftd/acl/rules.h"
#include "t/unit/fsm_image.h"
#include "t/unit/nomem.h"

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

#define MGMT "00000000-0000-0000-0000-000000000001"
#define ANON "00000000-0000-0000-0000-000000000002"
#define U(n) "aaaaaaaa-1111-4222-8333-00000000000" #n
#define NOW S(1700000000)	/* Unix time: 2023-11-14T22:13:20Z */

static uint64_t reset_index;

/* As a leader takes a write: checked and completed, then applied. The request that went into the log is in `made`. */
static const char *
act_as(struct world *w, uint16_t op, const char *json, int64_t wall, struct asker *who, struct buf *made)
{
	static uint8_t serial;
	struct buf request = BUF_INIT(WORLD_TEXT_MAX), out = BUF_INIT(WORLD_TEXT_MAX), nothing = BUF_INIT(1);
	struct fsm_fresh fresh = { .wall_ns = wall, .reset_index = reset_index };
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = op };
	struct fsm_error err;

	memset(fresh.random, ++serial, 16);
	memset(fresh.random + 16, serial ^ 0x80, 16);
	encode_request(op, json, &request);
	assert_int_equal(fsm_check(w->f, op, (struct str){ (char *)request.data, request.len }, w->time, &fresh, who, &out, &e.request, &err), 0);
	if (made != NULL)
		assert_int_equal(buf_add(made, e.request.p, e.request.len), 0);
	if (err.code != 0)
		show(w, &nothing, &err);
	else if (made == NULL)
		apply_entry(w, &e);
	buf_release(&request);
	buf_release(&out);
	return w->text;
}

static const char *
act(struct world *w, uint16_t op, const char *json)
{
	return act_as(w, op, json, NOW, NULL, NULL);
}

static const char *
apply_made(struct world *w, uint16_t op, const struct buf *made)
{
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = op, .request = { (char *)made->data, made->len } };

	return apply_entry(w, &e);
}

/* The text behind 'name':' in the last reply; static. */
static const char *
part(const struct world *w, const char *name)
{
	static char out[4][256];
	static int turn;
	char key[64], *p = out[turn = (turn + 1) % 4];
	const char *at;

	(void)snprintf(key, sizeof(key), "'%s':'", name);
	at = strstr(w->text, key);
	assert_non_null(at);
	(void)snprintf(p, sizeof(out[0]), "%.*s", (int)strcspn(at + strlen(key), "'"), at + strlen(key));
	return p;
}

#define HAS(w, what) assert_non_null(strstr((w)->text, what))
#define HAS_NOT(w, what) assert_null(strstr((w)->text, what))

static const char *
fmt(const char *f, ...)
{
	static char out[8192];
	va_list ap;

	va_start(ap, f);
	assert_true(vsnprintf(out, sizeof(out), f, ap) < (int)sizeof(out));
	va_end(ap);
	return out;
}

/* What the leader makes first. */
static struct world *
initial(void)
{
	struct world *w = world_new();

	assert_true(fsm_acl_needs_init(w->f, STR("")));
	apply(w, OP_ACL_POLICY_SET, "{'ID':'" MGMT "','Name':'global-management','Rules':'acl = \\'write\\''}");
	apply(w, OP_ACL_TOKEN_SET, "{'Verb':'init','Token':{'AccessorID':'" ANON "','SecretID':'anonymous','Description':'Anonymous Token'}}");
	assert_false(fsm_acl_needs_init(w->f, STR("")));
	assert_true(fsm_acl_needs_init(w->f, STR("first")));
	return w;
}

struct who {
	struct arena a;
	struct acl_identity id;
	char print[64];
};

static int
identify(struct world *w, const char *secret, int64_t wall, struct who *ret)
{
	int rc;

	arena_reset(&ret->a);
	ret->a.max = 1 << 20;
	rc = fsm_acl_identity(w->f, str_from(secret), wall, &ret->a, &ret->id);
	if (rc == 0)
		memcpy(ret->print, ret->id.fingerprint.p, 32);
	return rc;
}

/* ---- the first tokens */

static void
test_bootstrap(void **state)
{
	struct world *w = initial();
	struct who x = { .a = ARENA_INIT(1 << 20) };

	(void)state;
	assert_false(fsm_acl_bootstrapped(w->f));
	assert_string_equal(act(w, OP_ACL_BOOTSTRAP, "{'SecretID':'x'}"), "E400 Bad request: invalid bootstrap secret: it is not a UUID");
	act(w, OP_ACL_BOOTSTRAP, "{'ResetIndex':77,'Description':'not looked at'}");
	HAS(w, "'Description':'Bootstrap Token (Global Management)','Policies':[{'ID':'" MGMT "','Name':'global-management'}],'Local':false,"
	    "'CreateTime':'2023-11-14T22:13:20Z'");
	assert_int_equal(identify(w, part(w, "SecretID"), NOW, &x), 0);
	assert_true(x.id.management);
	assert_true(fsm_acl_bootstrapped(w->f));
	assert_string_equal(act(w, OP_ACL_BOOTSTRAP, "{'ResetIndex':3}"), "E403 Permission denied: ACL bootstrap no longer allowed (reset index: 3)");
	reset_index = 2;
	assert_string_equal(act(w, OP_ACL_BOOTSTRAP, "{}"), "E500 Invalid bootstrap reset index (specified 2, reset index: 3)");
	reset_index = 3;
	act(w, OP_ACL_BOOTSTRAP, "{'SecretID':'" U(1) "'}");
	assert_string_equal(part(w, "SecretID"), U(1));
	assert_string_equal(act(w, OP_ACL_BOOTSTRAP, "{}"), "E500 Invalid bootstrap reset index (specified 3, reset index: 4)");
	reset_index = 0;
	/* Made twice by two leaders: nothing happens. */
	apply(w, OP_ACL_POLICY_SET, "{'ID':'" MGMT "','Name':'global-management','Rules':'x'}");
	HAS(w, "'Rules':'acl = ");
	assert_string_equal(apply(w, OP_ACL_TOKEN_SET, "{'Verb':'init','Token':{'AccessorID':'" ANON "','SecretID':'anonymous'}}"), "");
	assert_string_equal(w->touched, "");
	arena_release(&x.a);
	world_free(w);
}

/* ---- between the check and the entry */

static void
test_races(void **state)
{
	struct world *w = initial();
	struct buf made = BUF_INIT(1 << 16), other = BUF_INIT(1 << 16);
	char id[64];

	(void)state;
	act(w, OP_ACL_POLICY_SET, "{'Name':'p','Rules':'acl = \\'read\\''}");
	(void)snprintf(id, sizeof(id), "%s", part(w, "ID"));
	act_as(w, OP_ACL_POLICY_SET, fmt("{'ID':'%s','Name':'q'}", id), NOW, NULL, &made);
	act(w, OP_ACL_POLICY_DELETE, fmt("{'IDs':['%s']}", id));
	assert_string_equal(w->text, "true");
	/* It is not made anew by what was to change it. */
	assert_string_equal(apply_made(w, OP_ACL_POLICY_SET, &made), fmt("E500 cannot find policy %s", id));
	/* Two that would have one name: the second is refused. */
	buf_clear(&made);
	act_as(w, OP_ACL_ROLE_SET, "{'Name':'r'}", NOW, NULL, &made);
	act_as(w, OP_ACL_ROLE_SET, "{'Name':'R'}", NOW, NULL, &other);
	apply_made(w, OP_ACL_ROLE_SET, &made);
	assert_string_equal(apply_made(w, OP_ACL_ROLE_SET, &other), "E500 Invalid Role: A Role with Name 'R' already exists");
	/* A token that has gone is not changed. */
	buf_clear(&made);
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(1) "','SecretID':'" U(2) "'}}");
	act_as(w, OP_ACL_TOKEN_SET, "{'Verb':'update','Token':{'AccessorID':'" U(1) "','Description':'d'}}", NOW, NULL, &made);
	act(w, OP_ACL_TOKEN_DELETE, "{'IDs':['" U(1) "']}");
	assert_string_equal(apply_made(w, OP_ACL_TOKEN_SET, &made), "E500 Cannot find token '" U(1) "'");
	/* What no check lets into the log does not become a part of the state either: its image would not load. */
	assert_string_equal(apply(w, OP_ACL_POLICY_SET, "{'Name':'x'}"), "E500 cannot find policy ");
	assert_string_equal(apply(w, OP_ACL_ROLE_SET, "{'Name':'x'}"), "E500 cannot find role ");
	assert_string_equal(apply(w, OP_ACL_BINDING_SET, "{'AuthMethod':'x'}"), "E500 cannot find binding rule ");
	assert_string_equal(apply(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'SecretID':'x'}}"), "E500 Invalid Token: it is not complete");
	assert_string_equal(apply(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'x','SecretID':'y','ExpirationTime':'soon'}}"),
	    "E500 Invalid Token: it is not complete");
	assert_string_equal(apply(w, OP_ACL_BOOTSTRAP, "{}"), "E500 Invalid Token: it is not complete");
	assert_false(fsm_acl_bootstrapped(w->f));
	/* Verbs that are the leader's, and reaping, are not for others. */
	assert_string_equal(act(w, OP_ACL_TOKEN_SET, "{'Verb':'init','Token':{}}"), "E400 Bad request: unknown verb");
	assert_int_equal(strncmp(act(w, OP_ACL_TOKEN_REAP, "{'IDs':['" ANON "']}"), "E403", 4), 0);
	buf_release(&made);
	buf_release(&other);
	world_free(w);
}

/* ---- who a secret is */

static size_t
policies(const struct who *x)
{
	return x->id.policies.n;
}

static void
test_identity(void **state)
{
	struct world *w = initial();
	struct who x = { .a = ARENA_INIT(1 << 20) };
	char before[32], policy[64];
	uint64_t index;

	(void)state;
	assert_int_equal(identify(w, "nobody", NOW, &x), -ENOENT);
	assert_int_equal(identify(w, "", NOW, &x), 0);
	assert_string_equal(x.id.accessor_id.p, ANON);
	assert_int_equal(policies(&x), 0);
	act(w, OP_ACL_POLICY_SET, "{'Name':'p','Rules':'acl = \\'read\\''}");
	(void)snprintf(policy, sizeof(policy), "%s", part(w, "ID"));
	act(w, OP_ACL_POLICY_SET, "{'Name':'elsewhere','Rules':'acl = \\'read\\'','Datacenters':['dc2']}");
	act(w, OP_ACL_ROLE_SET, "{'Name':'r','Policies':[{'Name':'p'},{'Name':'elsewhere'}],'NodeIdentities':[{'NodeName':'n','Datacenter':'dc2'},"
	    "{'NodeName':'n','Datacenter':'DC1'}]}");
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'SecretID':'" U(1) "','Policies':[{'Name':'p'}],'Roles':[{'Name':'r'}],"
	    "'ServiceIdentities':[{'ServiceName':'web','Datacenters':['dc2']},{'ServiceName':'db','Datacenters':['dc2']},{'ServiceName':'db'}],"
	    "'ExpirationTTL':'60s'}}");
	HAS(w, "'ServiceIdentities':[{'ServiceName':'db'},{'ServiceName':'web','Datacenters':['dc2']}]");
	HAS(w, "'ExpirationTime':'2023-11-14T22:14:20Z'");
	assert_int_equal(identify(w, U(1), NOW, &x), 0);
	/* p once, db, and the node here. */
	assert_int_equal(policies(&x), 3);
	assert_true(x.id.expires == NOW + S(60));
	memcpy(before, x.print, 32);
	index = fsm_acl_index(w->f);
	/* What is said of a policy does not count, what it says does. */
	act(w, OP_ACL_POLICY_SET, fmt("{'ID':'%s','Name':'p2','Description':'x','Rules':'acl = \\'read\\''}", policy));
	assert_true(fsm_acl_index(w->f) > index);
	assert_non_null(strstr(w->touched, "acl: "));
	assert_int_equal(identify(w, U(1), NOW, &x), 0);
	assert_memory_equal(before, x.print, 32);
	act(w, OP_ACL_POLICY_SET, fmt("{'ID':'%s','Name':'p2','Rules':'acl = \\'write\\''}", policy));
	assert_int_equal(identify(w, U(1), NOW, &x), 0);
	assert_memory_not_equal(before, x.print, 32);
	act(w, OP_ACL_POLICY_DELETE, fmt("{'IDs':['%s']}", policy));
	assert_int_equal(identify(w, U(1), NOW, &x), 0);
	assert_int_equal(policies(&x), 2);
	/* Its time is over; the leader takes it out. */
	assert_int_equal(identify(w, U(1), NOW + S(59), &x), 0);
	assert_int_equal(identify(w, U(1), NOW + S(60), &x), -ENOENT);
	arena_release(&x.a);
	world_free(w);
}

static void
test_reap(void **state)
{
	struct world *w = initial();
	struct str ids[2];
	int64_t next;

	(void)state;
	assert_int_equal(fsm_acl_expired(w->f, INT64_MAX, ids, 2, &next), 0);
	assert_true(next == INT64_MAX);
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(1) "','ExpirationTTL':'2m'}}");
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(2) "','ExpirationTTL':'1m'}}");
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(3) "'}}");
	assert_int_equal(fsm_acl_expired(w->f, NOW, ids, 2, &next), 0);
	assert_true(next == NOW + S(60));
	assert_int_equal(fsm_acl_expired(w->f, NOW + S(119), ids, 2, &next), 1);
	assert_string_equal(ids[0].p, U(2));
	assert_true(next == NOW + S(120));
	assert_int_equal(fsm_acl_expired(w->f, NOW + S(120), ids, 1, &next), 1);
	assert_true(next == NOW + S(120));
	/* One that does not expire stays, whatever the entry says. */
	apply(w, OP_ACL_TOKEN_REAP, "{'IDs':['" U(2) "','" U(3) "','" U(9) "']}");
	assert_string_equal(query(w, OP_ACL_TOKEN_READ, "{'ID':'" U(2) "'}"), "[]");
	query(w, OP_ACL_TOKEN_READ, "{'ID':'" U(3) "'}");
	HAS(w, U(3));
	world_free(w);
}

/* ---- auth methods */

#define METHOD "{'Name':'m','Type':'jwt','Config':{'JWKSFile':'/keys','ClaimMappings':{'a':'x'},'ListClaimMappings':{'g':'groups'}}}"

static void
test_method(void **state)
{
	struct world *w = initial();
	struct buf request = BUF_INIT(4096);

	(void)state;
	/* Entries as the leader's check has let them through. */
	apply(w, OP_ACL_METHOD_SET, METHOD);
	HAS(w, "'Name':'m','Type':'jwt','Description':'','Config':{");
	assert_string_equal(act(w, OP_ACL_BINDING_SET, "{'AuthMethod':'m','Selector':'value.y == z','BindType':'role','BindName':'b'}"),
	    "E500 invalid Binding Rule: Selector is invalid: Selector 'value.y' is not valid");
	assert_string_equal(act(w, OP_ACL_BINDING_SET, "{'AuthMethod':'m','BindType':'service','BindName':'A b'}"), "E500 Invalid Binding Rule: invalid BindName");
	assert_string_equal(act(w, OP_ACL_BINDING_SET, "{'AuthMethod':'m','BindType':'service','BindName':'a-${value.x'}"),
	    "E500 Invalid Binding Rule: invalid BindName");
	act(w, OP_ACL_BINDING_SET, "{'AuthMethod':'m','Selector':'value.x == z and w in list.groups','BindType':'service','BindName':'A-${ value.x }'}");
	HAS(w, "'BindName':'A-${ value.x }'");
	assert_non_null(strstr(w->touched, "acl_binding: "));
	encode_request(OP_ACL_LOGIN, "{'AuthMethod':'M'}", &request);
	assert_string_equal(fsm_acl_jwks_file(w->f, (struct str){ (char *)request.data, request.len }), "/keys");
	buf_clear(&request);
	/* A login that is refused leaves the bearer's token out too. */
	act_as(w, OP_ACL_LOGIN, "{'AuthMethod':'none','BearerToken':'very-secret','Token':{'SecretID':'" U(1) "'}}", NOW, NULL, &request);
	assert_string_equal(w->text, "E403 ACL not found");
	assert_null(memmem(request.data, request.len, "very-secret", 11));
	assert_null(memmem(request.data, request.len, U(1), 36));
	/* What a login made goes with its method. */
	apply(w, OP_ACL_LOGIN, "{'AuthMethod':'m','Token':{'AccessorID':'" U(1) "','SecretID':'" U(2) "','AuthMethod':'m'}}");
	apply(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(3) "','SecretID':'" U(4) "'}}");
	act(w, OP_ACL_METHOD_DELETE, "{'IDs':['M']}");
	assert_string_equal(query(w, OP_ACL_BINDING_LIST, "{}"), "[]");
	assert_string_equal(query(w, OP_ACL_METHOD_LIST, NULL), "[]");
	assert_string_equal(query(w, OP_ACL_TOKEN_READ, "{'ID':'" U(1) "'}"), "[]");
	query(w, OP_ACL_TOKEN_READ, "{'ID':'" U(3) "'}");
	HAS(w, U(4));
	assert_string_equal(apply(w, OP_ACL_LOGIN, "{'AuthMethod':'m','Token':{'AccessorID':'" U(1) "','SecretID':'" U(2) "','AuthMethod':'m'}}"), "E403 ACL not found");
	buf_release(&request);
	world_free(w);
}

/* ---- the image */

static struct world *
full(void)
{
	struct world *w = initial();

	act(w, OP_ACL_BOOTSTRAP, "{}");
	act(w, OP_ACL_POLICY_SET, "{'Name':'p','Rules':'acl = \\'read\\'','Datacenters':['dc1']}");
	act(w, OP_ACL_ROLE_SET, "{'Name':'r','Policies':[{'Name':'p'}],'NodeIdentities':[{'NodeName':'n','Datacenter':'dc1'}]}");
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'AccessorID':'" U(1) "','SecretID':'" U(2) "','Policies':[{'Name':'p'}],'Roles':[{'Name':'r'}],"
	    "'ServiceIdentities':[{'ServiceName':'web'}],'ExpirationTTL':'1h'}}");
	apply(w, OP_ACL_METHOD_SET, METHOD);
	act(w, OP_ACL_BINDING_SET, "{'AuthMethod':'m','BindType':'role','BindName':'r'}");
	apply(w, OP_ACL_LOGIN, "{'AuthMethod':'m','Token':{'AccessorID':'" U(5) "','SecretID':'" U(6) "','AuthMethod':'m'}}");
	return w;
}

static void
test_image(void **state)
{
	struct world *a = full(), *b;
	struct who x = { .a = ARENA_INIT(1 << 20) };
	struct image m, n;

	(void)state;
	image_dump(a->f, &m);
	b = world_load_reversed(&m);
	image_dump(b->f, &n);
	assert_image_equal(&m, &n);
	assert_int_equal(identify(b, U(2), NOW, &x), 0);
	assert_int_equal(policies(&x), 3);
	assert_true(fsm_acl_bootstrapped(b->f));
	assert_true(fsm_acl_index(b->f) >= fsm_acl_index(a->f));
	/* What does not fit: a secret twice, a name twice, a time that is none. */
	image_free(&n);
	assert_int_equal(fsm_load(b->f, FSM_ACL_TOKEN, STR("zz"), STR("\x82\xaa" "AccessorID\xa2zz\xa8SecretID\xa9" "anonymous")), -EDECODE);
	assert_int_equal(fsm_load(b->f, FSM_ACL_POLICY, STR("zz"), STR("\x82\xa2ID\xa2zz\xa4Name\xa1P")), -EDECODE);
	assert_int_equal(fsm_load(b->f, FSM_ACL_ROLE, STR("zz"), STR("\x82\xa2ID\xa2zz\xa4Name\xa1R")), -EDECODE);
	assert_int_equal(fsm_load(b->f, FSM_ACL_TOKEN, STR("zz"), STR("\x83\xaa" "AccessorID\xa2zz\xa8SecretID\xa1s\xae" "ExpirationTime\xa1x")), -EDECODE);
	assert_int_equal(fsm_load(b->f, FSM_ACL_TOKEN, STR("yy"), STR("\x82\xaa" "AccessorID\xa2zz\xa8SecretID\xa1s")), -EDECODE);
	image_free(&m);
	arena_release(&x.a);
	world_free(a);
	world_free(b);
}

/* ---- what an earlier release kept */

#define T15 "\xaf\x01\0\0\0\x0e\xdc\xe6\x8b\x70\0\0\0\0\xff\xff"

static void
test_adopt(void **state)
{
	struct world *w = world_new();
	struct who x = { .a = ARENA_INIT(1 << 20) };
	static const char token[] = "\x85\xaa" "AccessorID\xa3" "acc\xa8SecretID\xa3sec\xaa" "CreateTime" T15 "\xa8Policies\x91\x82\xa2ID\xa2pp\xa4Name\xa0\xab" "ModifyIndex\x07";
	static const char policy[] = "\x84\xa2ID\xa2pp\xa4Name\xa1p\xa5Rules\xa0\xab" "ModifyIndex\x06";
	static const char old[] = "\x84\xa2ID\xa3old\xa4Name\xa4" "past\xa4Type\xa6" "client\xa5Rules\xa3" "k{}";
	static const char index[] = "\x82\xa3Key\xb3" "acl-token-bootstrap\xa5Value\x05";

	(void)state;
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x11sec"), (struct str){ token, sizeof(token) - 1 }), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x13pp"), (struct str){ policy, sizeof(policy) - 1 }), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x04old"), (struct str){ old, sizeof(old) - 1 }), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x10" "acl-token-bootstrap"), (struct str){ index, sizeof(index) - 1 }), 0);
	/* One that is no role stays as it is. */
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\x17x"), STR("\x81\xa2ID\xa1x")), 0);
	assert_string_equal(query(w, OP_ACL_TOKEN_LIST, "{}"), "[]");
	noop(w);
	query(w, OP_ACL_TOKEN_READ, "{'ID':'ACC'}");
	HAS(w, "'SecretID':'sec'");
	HAS(w, "'Policies':[{'ID':'pp','Name':'p'}]");
	HAS(w, "'CreateTime':'2023-11-15T09:50:40Z'");
	assert_int_equal(identify(w, "old", NOW, &x), 0);
	assert_int_equal(((const struct acl_identity_policy *)x.id.policies.v)->syntax, ACL_SYNTAX_LEGACY);
	assert_int_equal(x.id.accessor_id.len, 36);
	assert_string_equal(act(w, OP_ACL_BOOTSTRAP, "{}"), "E403 Permission denied: ACL bootstrap no longer allowed (reset index: 5)");
	assert_string_equal(query(w, OP_ACL_ROLE_LIST, "{}"), "[]");
	/* Once. */
	act(w, OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'SecretID':'" U(1) "'}}");
	noop(w);
	assert_string_equal(w->touched, "");
	arena_release(&x.a);
	world_free(w);
}

static void
test_wall(void **state)
{
	static const struct { const char *in, *out; } times[] = {
		{ "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z" }, { "2023-11-14T23:43:20.120+01:30", "2023-11-14T22:13:20.12Z" },
		{ "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z" }, { "9999-12-31T23:59:59.999999999z", "9999-12-31T23:59:59.999999999Z" },
		{ "2000-02-29t00:00:00-00:01", "2000-02-29T00:01:00Z" }, { "1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z" },
	};
	static const char *const bad[] = { "", "2023-11-14", "2023-13-14T22:13:20Z", "2023-02-29T22:13:20Z", "2023-11-14T24:13:20Z", "2023-11-14T22:13:20",
		"2023-11-14T22:13:20.Z", "2023-11-14T22:13:20+1:00", "2023-11-14T22:13:20Zx", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01",
		"2023-11-14 22:13:20Z", "2023-11-14T22:13:20+25:00" };
	char text[WALL_TEXT_MAX];
	struct wall t;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		assert_true(wall_parse(str_from(times[i].in), &t));
		wall_format(t, text);
		assert_string_equal(text, times[i].out);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (wall_parse(str_from(bad[i]), &t))
			fail_msg("%s is no time", bad[i]);
	for (int64_t s = WALL_ZERO_S; s < INT64_C(253402300799); s += INT64_C(86400) * 977 + 12345) {
		struct wall back;

		wall_format((struct wall){ s, 1 }, text);
		assert_true(wall_parse(str_from(text), &back));
		assert_true(back.s == s && back.ns == 1);
	}
	assert_true(wall_to_ns(wall_from_ns(-1)) == -1);
	assert_true(wall_to_ns((struct wall){ INT64_C(253402300799), 0 }) == INT64_MAX);
}

/* ---- without memory */

static const struct {
	uint16_t op;
	const char *json;
} cases[] = {
	{ OP_ACL_TOKEN_SET, "{'Verb':'create','Token':{'Policies':[{'Name':'p'}],'Roles':[{'Name':'r'}],'ServiceIdentities':[{'ServiceName':'b'},"
	    "{'ServiceName':'a'},{'ServiceName':'a'}],'ExpirationTTL':'1h'}}" },
	{ OP_ACL_TOKEN_SET, "{'Verb':'update','Token':{'AccessorID':'" U(1) "','Policies':[{'Name':'p'}]}}" },
	{ OP_ACL_TOKEN_SET, "{'Verb':'clone','Token':{'AccessorID':'" U(1) "'}}" },
	{ OP_ACL_TOKEN_DELETE, "{'IDs':['" U(1) "']}" },
	{ OP_ACL_POLICY_SET, "{'Name':'p2','Rules':'acl = \\'read\\''}" },
	{ OP_ACL_ROLE_SET, "{'Name':'r2','Policies':[{'Name':'p'}]}" },
	{ OP_ACL_BINDING_SET, "{'AuthMethod':'m','Selector':'value.x == a','BindType':'service','BindName':'${value.x}'}" },
	{ OP_ACL_METHOD_DELETE, "{'IDs':['m']}" },
};

/* The check, then the entry, each with the Nth allocation refused. True: it was not reached in either. */
static bool
without(size_t i, long n)
{
	struct world *w = full();
	struct buf request = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16), result = BUF_INIT(1 << 16);
	const struct fsm_fresh fresh = { .random = { 9, 8, 7 }, .wall_ns = NOW };
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = cases[i].op, .time = w->time };
	struct fsm_error err;
	bool reached;
	int rc;

	encode_request(cases[i].op, cases[i].json, &request);
	refused = false;
	left = n;
	rc = fsm_check(w->f, cases[i].op, (struct str){ (char *)request.data, request.len }, w->time, &fresh, NULL, &out, &e.request, &err);
	left = -1;
	reached = refused;
	if (refused)
		assert_int_equal(rc, -ENOMEM);
	else
		assert_int_equal(rc | err.code, 0);
	out.len = 0;
	assert_int_equal(fsm_check(w->f, cases[i].op, (struct str){ (char *)request.data, request.len }, w->time, &fresh, NULL, &out, &e.request, &err), 0);
	refused = false;
	left = n;
	rc = fsm_apply(w->f, w->index + 1, &e, &result, &err, NULL);
	left = -1;
	assert_int_equal(rc, refused ? -ENOMEM : 0);
	reached |= refused;
	buf_release(&request);
	buf_release(&out);
	buf_release(&result);
	world_free(w);
	return !reached;
}

static void
test_nomem(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		long n = 0;

		while (!without(i, n))
			n++;
		assert_true(n > 0);
	}
}

/* Each read with the Nth allocation refused: all of the answer, or none. */
static void
test_nomem_reads(void **state)
{
	static const uint16_t ops[] = { OP_ACL_TOKEN_LIST, OP_ACL_TOKEN_READ, OP_ACL_POLICY_LIST, OP_ACL_ROLE_LIST, OP_ACL_METHOD_LIST,
		OP_ACL_BINDING_LIST };
	const struct acl_query q = { .id = STR(U(1)), .expanded = true };
	struct world *w = full();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		const struct acl_query all = { .expanded = true }, *use = ops[i] == OP_ACL_TOKEN_READ ? &q : &all;
		struct buf whole = BUF_INIT(1 << 20);

		for (long n = -1;; n++) {
			struct buf out = BUF_INIT(1 << 20);
			struct mp_w m = mp_w_init(&out);
			struct fsm_error err;
			uint64_t index;
			int rc;

			refused = false;
			left = n;
			rc = fsm_query(w->f, ops[i], use, 0, NULL, &m, &index, NULL, &err);
			left = -1;
			assert_int_equal(rc, refused ? -ENOMEM : 0);
			assert_int_equal(err.code, 0);
			if (n < 0)
				assert_int_equal(buf_add(&whole, out.data, out.len), 0);
			else if (!refused)
				assert_true(out.len == whole.len && memcmp(out.data, whole.data, out.len) == 0);
			buf_release(&out);
			if (n >= 0 && !refused)
				break;
		}
		assert_true(whole.len > 1);
		buf_release(&whole);
	}
	world_free(w);
}

static void
test_nomem_identity(void **state)
{
	struct world *w = full();

	(void)state;
	for (long n = 0;; n++) {
		struct arena a = ARENA_INIT(1 << 20);
		struct acl_identity id;
		int rc;

		refused = false;
		left = n;
		rc = fsm_acl_identity(w->f, STR(U(2)), NOW, &a, &id);
		left = -1;
		assert_int_equal(rc, refused ? -ENOMEM : 0);
		arena_release(&a);
		if (!refused)
			break;
	}
	world_free(w);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bootstrap), cmocka_unit_test(test_races), cmocka_unit_test(test_identity), cmocka_unit_test(test_reap),
		cmocka_unit_test(test_method), cmocka_unit_test(test_image), cmocka_unit_test(test_adopt), cmocka_unit_test(test_wall),
		cmocka_unit_test(test_nomem), cmocka_unit_test(test_nomem_reads), cmocka_unit_test(test_nomem_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
