/* fsm_changes.c - kv.changes: what changed below a prefix since an index, against a plain list of the same state. */
#include "t/unit/fsm_help.h"

static const char *
changes(struct world *w, const char *prefix, uint64_t since)
{
	char json[256];

	(void)snprintf(json, sizeof(json), "{'Key':'%s'}", prefix);
	return query_as(w, OP_KV_CHANGES, json, since, NULL);
}

/* The names in w->text, deleted ones with a minus: "a b -c". */
static const char *
names(struct world *w)
{
	static char out[65536];
	const char *gone = strstr(w->text, "'Deleted'"), *p = w->text;

	out[0] = 0;
	assert_non_null(gone);
	while ((p = strstr(p, "'Key':'")) != NULL) {
		const char *end;

		p += strlen("'Key':'");
		end = strchr(p, '\'');
		append(out, sizeof(out), "%s%s%.*s", out[0] != 0 ? " " : "", p > gone ? "-" : "", (int)(end - p), p);
	}
	return out;
}

static bool
reset(const struct world *w)
{
	return strncmp(w->text, "{'Reset':true", strlen("{'Reset':true")) == 0;
}

static void
test_since(void **state)
{
	struct world *w = world_new();

	(void)state;
	put(w, "p/a", "eA==");
	put(w, "p/b", "eA==");
	put(w, "q", "eA==");
	/* Nothing known yet: all there is. */
	changes(w, "p/", 0);
	assert_true(reset(w));
	assert_string_equal(names(w), "p/a p/b");
	assert_int_equal(w->result_index, 3);
	assert_string_equal(w->watch, "prefix:p/ ");
	/* Nothing since: the index says that there is nothing to tell. */
	assert_string_equal(changes(w, "p/", 3), "{'Reset':false,'Entries':[],'Deleted':[]}");
	assert_int_equal(w->result_index, 3);
	put(w, "q", "eQ==");
	assert_string_equal(changes(w, "p/", 3), "{'Reset':false,'Entries':[],'Deleted':[]}");
	assert_int_equal(w->result_index, 3);
	put(w, "p/c", "eA==");
	kv_op(w, "delete", "p/a", "");
	assert_string_equal(changes(w, "p/", 3), "{'Reset':false,'Entries':[{'LockIndex':0,'Key':'p/c','Flags':0,'Value':'eA==',"
	    "'CreateIndex':5,'ModifyIndex':5}],'Deleted':[{'Key':'p/a','ModifyIndex':6}]}");
	assert_int_equal(w->result_index, 6);
	assert_string_equal((changes(w, "p/", 5), names(w)), "-p/a");
	assert_string_equal((changes(w, "", 3), names(w)), "p/c q -p/a");
	world_free(w);
}

static void
test_gone_and_back(void **state)
{
	struct world *w = world_new();

	(void)state;
	put(w, "p/a", "eA==");
	kv_op(w, "delete", "p/a", "");
	put(w, "p/a", "eA==");
	/* What is there again is told as it stands, not as gone. */
	assert_string_equal((changes(w, "p/", 1), names(w)), "p/a");
	kv_op(w, "delete-tree", "p/", "");
	assert_string_equal((changes(w, "p/", 3), names(w)), "-p/a");
	/* Reaping tombstones takes nothing from what is remembered. */
	tick(w, NULL, NULL, 4);
	assert_string_equal((changes(w, "p/", 3), names(w)), "-p/a");
	assert_false(reset(w));
	world_free(w);
}

/* Deletions are remembered in a bounded number: who asks for older ones is told all. */
static void
test_bounded(void **state)
{
	static const struct fsm_sink deaf;
	struct world *w = world_new();
	char key[32];

	(void)state;
	put(w, "p/stays", "eA==");
	kv_op(w, "delete", "p/never", "");
	for (unsigned i = 0; i < (1 << 16) + 10; i++) {
		(void)snprintf(key, sizeof(key), "t/%06u", i);
		put(w, key, "");
	}
	(void)changes(w, "p/", 2);
	assert_false(reset(w));
	w->sink = &deaf;
	kv_op(w, "delete-tree", "t/", "");
	w->sink = NULL;
	(void)changes(w, "p/", 2);
	assert_true(reset(w));
	assert_string_equal(names(w), "p/stays");
	/* From its index on it goes on as before. */
	kv_op(w, "delete", "p/stays", "");
	assert_string_equal((changes(w, "p/", w->result_index), names(w)), "-p/stays");
	assert_false(reset(w));
	world_free(w);
}

/* One state after another, random writes: who follows the changes has what a list shows. */
static void
test_follower(void **state)
{
	struct world *w = world_new();
	bool have[64] = { false };
	uint64_t since = 0;
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		unsigned n = (seed = seed * 1103515245 + 12345) >> 16;
		char key[32];

		(void)snprintf(key, sizeof(key), "%s/%02u", n % 3 == 0 ? "q" : "p", n / 4 % 64);
		if (n % 67 == 0)
			kv_op(w, "delete-tree", "p/0", "");
		else if (n % 5 < 2)
			kv_op(w, "delete", key, "");
		else
			put(w, key, i % 2 == 0 ? "eA==" : "eQ==");
		if (n % 7 != 0)
			continue;
		(void)changes(w, "p/", since);
		if (reset(w))
			memset(have, 0, sizeof(have));
		for (const char *p = names(w); *p != 0; p += strcspn(p, " "), p += *p == ' ')
			have[strtoul(p + (*p == '-') + 2, NULL, 10)] = *p != '-';
		since = w->result_index;
		(void)query(w, OP_KV_KEYS, "{'Key':'p/'}");
		for (unsigned k = 0; k < 64; k++) {
			(void)snprintf(key, sizeof(key), "'p/%02u'", k);
			assert_int_equal(have[k], strstr(w->text, key) != NULL);
		}
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_gone_and_back),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_follower),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
