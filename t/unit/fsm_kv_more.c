/* fsm_kv_more.c - KV beyond Consul: TTLs, fencing tokens, parts of lists, our verbs in transactions; and reads by who asks. */
#include "t/unit/fsm_help.h"

#define LACKS(what, name) "E403 Permission denied: token with AccessorID 'acc' lacks permission 'key:" what "' on '" name "'"

/* ---- TTLs */

static const char *
put_ttl(struct world *w, const char *verb, const char *key, const char *more, unsigned seconds)
{
	char json[512];

	(void)snprintf(json, sizeof(json), "{'Op':'%s','DirEnt':{'Key':'%s'%s%s},'TTL':%llu}", verb, key,
	    more[0] != 0 ? "," : "", more, seconds * 1000000000ULL);
	return apply(w, OP_KV_APPLY, json);
}

static const char *
expire(struct world *w, const char *key)
{
	struct str k = str_from(key);
	const struct fsm_tick t = { .expire_keys = { &k, 1 } };

	return tick_all(w, &t);
}

static void
test_ttl(void **state)
{
	struct world *w = world_new();
	struct str keys[4];

	(void)state;
	assert_int_equal(fsm_next_key_deadline(w->f), INT64_MAX);
	assert_string_equal(put_ttl(w, "set", "a", "'Value':'eA=='", 30), "true");
	put(w, "b", "eA==");
	fsm_set_wall(w->f, S(5000), S(1000));
	assert_string_equal(get(w, "a"), "[{'LockIndex':0,'Key':'a','Flags':0,'Value':'eA==','CreateIndex':1,'ModifyIndex':1,"
	    "'ExpiresAt':'1970-01-01T01:23:50.000Z'}]");
	assert_null(strstr(get(w, "b"), "ExpiresAt"));
	assert_int_equal(fsm_next_key_deadline(w->f), S(1030));
	assert_int_equal(fsm_expired_keys(w->f, S(1030) - 1, keys, 4), 0);
	assert_int_equal(fsm_expired_keys(w->f, S(1030), keys, 4), 1);
	assert_true(str_eqs(keys[0], "a"));
	/* The leader's word is checked again by the clock of the entry. */
	w->time = S(1029);
	expire(w, "a");
	assert_string_equal(w->touched, "");
	w->time = S(1030);
	expire(w, "b");
	assert_string_not_equal(get(w, "b"), "[]");
	expire(w, "a");
	assert_string_equal(w->touched, "key:a ");
	assert_string_equal(get(w, "a"), "[]");
	assert_int_equal(fsm_next_key_deadline(w->f), INT64_MAX);
	/* Its going has an index of its own, as any deletion. */
	list(w, "a");
	assert_int_equal(w->result_index, 5);
	world_free(w);
}

static void
test_touch(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(put_ttl(w, "touch", "a", "", 0), "false");
	put_ttl(w, "set", "a", "'Value':'eA=='", 30);
	put(w, "b", "eA==");
	w->time = S(1020);
	assert_string_equal(put_ttl(w, "touch", "a", "", 0), "true");
	assert_string_equal(w->touched, "");
	assert_int_equal(fsm_next_key_deadline(w->f), S(1050));
	get(w, "a");
	assert_int_equal(w->result_index, 2);
	assert_non_null(strstr(w->text, "'Value':'eA=='"));
	assert_string_equal(put_ttl(w, "touch", "a", "", 5), "true");
	assert_int_equal(fsm_next_key_deadline(w->f), S(1025));
	/* A key without TTL gets one by touch only when it is told which. */
	assert_string_equal(put_ttl(w, "touch", "b", "", 0), "false");
	assert_string_equal(put_ttl(w, "touch", "b", "", 2), "true");
	assert_int_equal(fsm_next_key_deadline(w->f), S(1022));
	world_free(w);
}

static void
test_ttl_ends(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "");
	put_ttl(w, "set", "a", "'Value':'eA=='", 30);
	/* The same again with a TTL: no index moves, the deadline does. */
	w->time = S(1010);
	put_ttl(w, "set", "a", "'Value':'eA=='", 30);
	assert_string_equal(w->touched, "");
	assert_int_equal(fsm_next_key_deadline(w->f), S(1040));
	/* Written anew without one it stays. */
	put(w, "a", "eA==");
	assert_int_equal(fsm_next_key_deadline(w->f), INT64_MAX);
	put_ttl(w, "cas", "a", "'Value':'eQ==','ModifyIndex':3", 7);
	assert_int_equal(fsm_next_key_deadline(w->f), S(1017));
	assert_string_equal(put_ttl(w, "cas", "a", "'Value':'eg==','ModifyIndex':3", 9), "false");
	assert_int_equal(fsm_next_key_deadline(w->f), S(1017));
	kv_op(w, "lock", "a", "'Session':'" SID(1) "'");
	assert_int_equal(fsm_next_key_deadline(w->f), INT64_MAX);
	/* It goes with the key. */
	put_ttl(w, "set", "p/1", "", 7);
	put_ttl(w, "set", "p/2", "", 8);
	kv_op(w, "delete", "p/1", "");
	assert_int_equal(fsm_next_key_deadline(w->f), S(1018));
	kv_op(w, "delete-tree", "p/", "");
	assert_int_equal(fsm_next_key_deadline(w->f), INT64_MAX);
	world_free(w);
}

static void
test_ttl_limits(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(check_first(w, OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'a'},'TTL':999999999}"),
	    "E400 Invalid TTL: a key lasts from a second to ten years");
	assert_string_equal(check_first(w, OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'a'},'TTL':-1}"),
	    "E400 Invalid TTL: a key lasts from a second to ten years");
	assert_string_equal(check_first(w, OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'a'},'TTL':315360000000000001}"),
	    "E400 Invalid TTL: a key lasts from a second to ten years");
	assert_string_equal(check_first(w, OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'a'},'TTL':315360000000000000}"), "");
	assert_string_equal(check_first(w, OP_KV_APPLY, "{'Op':'unlock','DirEnt':{'Key':'a'},'TTL':1000000000}"),
	    "E400 A TTL goes with set, cas and touch alone");
	world_free(w);
}

/* ---- fencing tokens */

static void
test_fencing(void **state)
{
	struct world *w = world_new();
	const char *lock = "{'Op':'lock','DirEnt':{'Key':'k','Session':'" SID(1) "'},'Fencing':true}";

	(void)state;
	node(w, "n1");
	session(w, SID(1), "'LockDelay':0");
	session(w, SID(2), "'LockDelay':0");
	assert_string_equal(apply(w, OP_KV_APPLY, lock), "4");
	/* Held already: the token stays. */
	put(w, "other", "eA==");
	assert_string_equal(apply(w, OP_KV_APPLY, lock), "4");
	assert_string_equal(apply(w, OP_KV_APPLY, "{'Op':'lock','DirEnt':{'Key':'k','Session':'" SID(2) "'},'Fencing':true}"), "0");
	/* A plain write resets LockIndex, as Consul's, and leaves the token alone. */
	put(w, "k", "eA==");
	assert_non_null(strstr(query(w, OP_KV_GET, "{'Key':'k','Fencing':true}"), "'FencingToken':4"));
	assert_non_null(strstr(w->text, "'LockIndex':0"));
	assert_null(strstr(get(w, "k"), "Fencing"));
	kv_op(w, "unlock", "k", "'Session':'" SID(1) "'");
	assert_string_equal(apply(w, OP_KV_APPLY, "{'Op':'lock','DirEnt':{'Key':'k','Session':'" SID(2) "'},'Fencing':true}"), "10");
	/* What a client says of it counts for nothing, and a new key goes on from where the index is. */
	kv_op(w, "set", "k", "'FencingToken':99");
	assert_non_null(strstr(query(w, OP_KV_LIST, "{'Key':'k','Fencing':true}"), "'FencingToken':10"));
	kv_op(w, "delete", "k", "");
	assert_string_equal(apply(w, OP_KV_APPLY, lock), "13");
	world_free(w);
}

/* ---- parts of lists */

static const char *
keys(struct world *w, const char *more)
{
	char json[512];

	(void)snprintf(json, sizeof(json), "{'Key':'a/'%s%s}", more[0] != 0 ? "," : "", more);
	return query(w, OP_KV_KEYS, json);
}

static void
test_parts(void **state)
{
	const char *const all[] = { "a/", "a/b", "a/c/1", "a/c/2", "a/c/d/e", "a/f/", "a/f/1", "a/g", "b" };
	struct world *w = world_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		put(w, all[i], "");
	assert_string_equal(keys(w, "'Limit':3"), "[['a/','a/b','a/c/1'],true]");
	assert_int_equal(w->result_index, 8);
	assert_string_equal(keys(w, "'Limit':3,'After':'a/c/1'"), "[['a/c/2','a/c/d/e','a/f/'],true]");
	assert_string_equal(keys(w, "'Limit':3,'After':'a/f/'"), "[['a/f/1','a/g'],false]");
	assert_string_equal(keys(w, "'Limit':8"), "[['a/','a/b','a/c/1','a/c/2','a/c/d/e','a/f/','a/f/1','a/g'],false]");
	assert_string_equal(keys(w, "'After':'a/f/0'"), "['a/f/1','a/g']");
	assert_string_equal(keys(w, "'After':'a'"), "['a/','a/b','a/c/1','a/c/2','a/c/d/e','a/f/','a/f/1','a/g']");
	assert_string_equal(keys(w, "'After':'b'"), "[]");
	assert_string_equal(keys(w, "'Count':true"), "8");
	/* Cut names: what is below one is behind it. */
	assert_string_equal(keys(w, "'Separator':'/','Limit':3"), "[['a/','a/b','a/c/'],true]");
	assert_string_equal(keys(w, "'Separator':'/','Limit':3,'After':'a/c/'"), "[['a/f/','a/g'],false]");
	assert_string_equal(keys(w, "'Separator':'/','After':'a/'"), "['a/b','a/c/','a/f/','a/g']");
	assert_string_equal(keys(w, "'Separator':'/','Count':true"), "5");
	assert_string_equal(keys(w, "'Depth':1"), "['a/','a/b','a/c/','a/f/','a/g']");
	assert_string_equal(keys(w, "'Depth':2"), "['a/','a/b','a/c/1','a/c/2','a/c/d/','a/f/','a/f/1','a/g']");
	assert_string_equal(keys(w, "'Depth':2,'After':'a/f/'"), "['a/f/1','a/g']");
	/* Entries: those that lie no deeper. */
	assert_string_equal(query(w, OP_KV_LIST, "{'Key':'a/','Depth':1,'Count':true}"), "3");
	assert_string_equal(query(w, OP_KV_LIST, "{'Key':'a/','Depth':2,'Count':true}"), "7");
	assert_string_equal(query(w, OP_KV_LIST, "{'Key':'a/','Count':true}"), "8");
	assert_string_equal(query(w, OP_KV_LIST, "{'Key':'none','Count':true}"), "0");
	assert_non_null(strstr(query(w, OP_KV_LIST, "{'Key':'a/','Limit':1,'After':'a/f/1'}"), "[[{'LockIndex':0,'Key':'a/g'"));
	assert_non_null(strstr(w->text, "}],false]"));
	world_free(w);
}

/* Pages put together are the whole, whatever their size, separator and depth. */
static void
test_pages(void **state)
{
	static const char *const ways[] = { "'Count':false", "'Separator':'/'", "'Separator':'/','Depth':2", "'Separator':'//'" };
	struct world *w = world_new();
	unsigned seed = 7;

	(void)state;
	for (unsigned i = 0; i < 150; i++) {
		char key[16] = "a/";

		for (unsigned n = 2 + (seed = seed * 1103515245 + 12345, seed >> 16) % 6, j = 2; j < n; j++)
			key[j] = "ab/"[(seed = seed * 1103515245 + 12345, seed >> 16) % 3];
		put(w, key, "");
	}
	for (size_t way = 0; way < ARRAY_LEN(ways); way++)
		for (unsigned limit = 1; limit < 8; limit++) {
			char whole[8192], pages[8192] = "", more[256], after[64] = "";
			bool cut = true;

			(void)snprintf(whole, sizeof(whole), "%s", keys(w, ways[way]));
			while (cut) {
				char *end, *p;

				(void)snprintf(more, sizeof(more), "%s,'Limit':%u,'After':'%s'", ways[way], limit, after);
				(void)keys(w, more);
				end = strrchr(w->text, ']') - 1;
				cut = strstr(w->text, "],true]") != NULL;
				for (; *end != ']'; end--)
					continue;
				*end = 0;
				append(pages, sizeof(pages), "%s%s", pages[0] != 0 ? "," : "", w->text + 2);
				p = strrchr(w->text, '\'');
				*p = 0;
				(void)snprintf(after, sizeof(after), "%s", strrchr(w->text, '\'') + 1);
			}
			assert_memory_equal(pages, whole + 1, strlen(pages));
			assert_string_equal(whole + 1 + strlen(pages), "]");
		}
	world_free(w);
}

/* ---- who asks */

static struct asker
asker_of(const char *rules, bool key_list)
{
	struct asker who = { .accessor = STR("acc") };
	const struct authz_config c = { .default_access = ACL_DENY, .key_list = key_list };
	struct acl_rules *r = NULL;
	const struct acl_rules *sets[1];
	char err[ACL_ERROR_MAX];

	assert_int_equal(acl_rules_parse(str_from(rules), ACL_SYNTAX_CURRENT, &r, err), 0);
	sets[0] = r;
	assert_int_equal(authz_new(sets, 1, &c, &who.authz), 0);
	free(r);
	return who;
}

static void
test_rights(void **state)
{
	struct world *w = world_new();
	struct asker who = asker_of("key_prefix \"a/\" { policy = \"read\" } key \"a/secret\" { policy = \"deny\" }", false);
	struct asker lists = asker_of("key_prefix \"a/\" { policy = \"list\" } key_prefix \"b\" { policy = \"read\" }", true);

	(void)state;
	put(w, "a/1", "eA==");
	put(w, "a/secret", "eA==");
	put(w, "b", "eA==");
	assert_non_null(strstr(query_as(w, OP_KV_GET, "{'Key':'a/1'}", 0, &who), "'Key':'a/1'"));
	assert_false(who.filtered);
	assert_string_equal(query_as(w, OP_KV_GET, "{'Key':'b'}", 0, &who), LACKS("read", "b"));
	/* Whether it exists makes no difference. */
	assert_string_equal(query_as(w, OP_KV_GET, "{'Key':'none'}", 0, &who), LACKS("read", "none"));
	assert_string_equal(query_as(w, OP_KV_KEYS, "{'Key':''}", 0, &who), "['a/1']");
	assert_true(who.filtered);
	assert_null(strstr(query_as(w, OP_KV_LIST, "{'Key':'a/'}", 0, &who), "secret"));
	assert_string_equal(query_as(w, OP_KV_LIST, "{'Key':'b'}", 0, &who), "[]");
	assert_string_equal(query_as(w, OP_KV_LIST, "{'Key':'','Count':true}", 0, &who), "1");
	/* What is hidden is no page's end. */
	assert_string_equal(query_as(w, OP_KV_KEYS, "{'Key':'','Limit':1}", 0, &who), "[['a/1'],false]");
	kv_op(w, "delete", "a/secret", "");
	assert_string_equal(query_as(w, OP_KV_CHANGES, "{'Key':''}", 3, &who), "{'Reset':false,'Entries':[],'Deleted':[]}");
	assert_int_equal(w->result_index, 3);
	/* With enable_key_list_policy to read is not to list. */
	assert_string_equal(query_as(w, OP_KV_KEYS, "{'Key':'a/'}", 0, &lists), "['a/1']");
	assert_string_equal(query_as(w, OP_KV_KEYS, "{'Key':'b'}", 0, &lists), LACKS("list", "b"));
	assert_string_equal(query_as(w, OP_KV_CHANGES, "{'Key':'b'}", 0, &lists), LACKS("list", "b"));
	assert_non_null(strstr(query_as(w, OP_KV_GET, "{'Key':'b'}", 0, &lists), "'Key':'b'"));
	authz_unref(who.authz);
	authz_unref(lists.authz);
	world_free(w);
}

/* ---- transactions */

static const char *
txn(struct world *w, const char *kv)
{
	char json[1024];

	(void)snprintf(json, sizeof(json), "{'Ops':[{'KV':{%s}}]}", kv);
	return apply(w, OP_TXN_APPLY, json);
}

static const char *
value(struct world *w, const char *key)
{
	char *end;

	(void)get(w, key);
	end = strstr(w->text, "'Value':");
	if (end == NULL)
		return "absent";
	end += strlen("'Value':");
	end[strcspn(end, ",")] = 0;
	return end;
}

static void
test_txn_copy_and_move(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "");
	kv_op(w, "set", "a", "'Value':'eA==','Flags':7");
	assert_string_equal(txn(w, "'Verb':'copy','Key':'a','Dest':'b'"), "{'Results':[{'KV':{'LockIndex':0,'Key':'b','Flags':7,"
	    "'Value':null,'CreateIndex':4,'ModifyIndex':4}}],'Errors':null}");
	assert_string_equal(value(w, "b"), "'eA=='");
	txn(w, "'Verb':'move','Key':'a','Dest':'c/d'");
	assert_string_equal(value(w, "a"), "absent");
	assert_string_equal(value(w, "c/d"), "'eA=='");
	assert_non_null(strstr(txn(w, "'Verb':'move','Key':'a','Dest':'x'"), "doesn't exist"));
	assert_non_null(strstr(txn(w, "'Verb':'copy','Key':'b'"), "'What':'copy needs a destination key in Dest'"));
	assert_non_null(strstr(txn(w, "'Verb':'move','Key':'b','Dest':'b'"), "onto itself"));
	kv_op(w, "lock", "b", "'Session':'" SID(1) "'");
	assert_non_null(strstr(txn(w, "'Verb':'move','Key':'b','Dest':'x'"), "it is locked"));
	assert_string_equal(value(w, "x"), "absent");
	/* As a whole or not at all. */
	apply(w, OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'move','Key':'c/d','Dest':'e'}},{'KV':{'Verb':'get','Key':'none'}}]}");
	assert_string_equal(value(w, "e"), "absent");
	assert_string_equal(value(w, "c/d"), "'eA=='");
	world_free(w);
}

static void
test_txn_increment(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(txn(w, "'Verb':'increment','Key':'n'"), "{'Results':[{'KV':{'LockIndex':0,'Key':'n','Flags':0,"
	    "'Value':'MQ==','CreateIndex':1,'ModifyIndex':1}}],'Errors':null}");
	txn(w, "'Verb':'increment','Key':'n','Value':'NDE='");	/* 41 */
	assert_string_equal(value(w, "n"), "'NDI='");		/* 42 */
	txn(w, "'Verb':'increment','Key':'n','Value':'LTUw'");	/* -50 */
	assert_string_equal(value(w, "n"), "'LTg='");		/* -8 */
	assert_non_null(strstr(txn(w, "'Verb':'increment','Key':'n','Value':'eA=='"), "Value is not a decimal number"));
	put(w, "t", "eA==");
	assert_non_null(strstr(txn(w, "'Verb':'increment','Key':'t'"), "does not hold a decimal number"));
	/* 9223372036854775807 */
	put(w, "m", "OTIyMzM3MjAzNjg1NDc3NTgwNw==");
	assert_non_null(strstr(txn(w, "'Verb':'increment','Key':'m'"), "the number is too large"));
	txn(w, "'Verb':'increment','Key':'m','Value':'LTE='");
	assert_string_equal(value(w, "m"), "'OTIyMzM3MjAzNjg1NDc3NTgwNg=='");
	/* -9223372036854775808 + 0 */
	put(w, "l", "LTkyMjMzNzIwMzY4NTQ3NzU4MDg=");
	assert_non_null(strstr(txn(w, "'Verb':'increment','Key':'l','Value':'MA=='"), "'Errors':null"));
	/* A counter keeps its deadline. */
	put_ttl(w, "set", "c", "'Value':'MQ=='", 30);
	w->time = S(1005);
	assert_non_null(strstr(txn(w, "'Verb':'increment','Key':'c'"), "'Errors':null"));
	/* The log's results hold no moment of a server's own clock. */
	assert_null(strstr(w->text, "ExpiresAt"));
	assert_non_null(strstr(get(w, "c"), "ExpiresAt"));
	assert_int_equal(fsm_next_key_deadline(w->f), S(1030));
	world_free(w);
}

static void
test_txn_get_or_empty(void **state)
{
	struct world *w = world_new();

	(void)state;
	put(w, "a", "eA==");
	assert_string_equal(apply(w, OP_TXN_APPLY, "{'Ops':[{'KV':{'Verb':'get-or-empty','Key':'none'}},{'KV':{'Verb':'get-or-empty',"
	    "'Key':'a'}}]}"), "{'Results':[{'KV':{'LockIndex':0,'Key':'none','Flags':0,'Value':null,'CreateIndex':0,'ModifyIndex':0}},"
	    "{'KV':{'LockIndex':0,'Key':'a','Flags':0,'Value':'eA==','CreateIndex':1,'ModifyIndex':1}}],'Errors':null}");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_touch),
		cmocka_unit_test(test_ttl_ends),
		cmocka_unit_test(test_ttl_limits),
		cmocka_unit_test(test_fencing),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_txn_copy_and_move),
		cmocka_unit_test(test_txn_increment),
		cmocka_unit_test(test_txn_get_or_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
