/* acl_rules.c - texts of policies and the rules, or sentences, that they give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raftd/acl/rules.h"

/* Rules are told as "key_prefix a/ write; operator read". */
static const struct {
	const char *text, *rules;
} good[] = {
	{ "", "" },
	{ "# nothing\n", "" },
	{ "{}", "" },
	{ "acl = \"read\" keyring = \"write\" operator = \"deny\" mesh = \"read\" peering = \"write\"",
	    "acl read; keyring write; operator deny; mesh read; peering write" },
	{ "operator = \"\"", "" },
	{ "acl = \"read\"\nacl = \"write\"", "acl write" },
	{ "key \"a\" { policy = \"list\" }", "key a list" },
	{ "key_prefix \"\" { policy = \"read\" }", "key_prefix  read" },
	{ "key = { \"a\" = { policy = \"read\" } \"b\" = { policy = \"deny\" } }", "key a read; key b deny" },
	{ "key \"a\" { policy = \"read\" } node \"n\" { policy = \"write\" } key \"b\" { policy = \"write\" }",
	    "key a read; key b write; node n write" },
	{ "key \"a\" { policy = \"read\" } key \"a\" { policy = \"deny\" }", "key a read; key a deny" },
	{ "key = { \"a\" { policy = \"read\" } \"a\" { policy = \"deny\" } }", "key a read; key a deny" },
	{ "key = [{ a = { policy = \"read\" } }, { b = { policy = \"write\" } }]", "key a read; key b write" },
	{ "Key \"a\" { Policy = \"read\" } OPERATOR = \"read\" Key_Prefix \"b\" { POLICY = \"read\" }",
	    "key a read; operator read; key_prefix b read" },
	{ "key \"policy\" { policy = \"read\" }", "key policy read" },
	{ "service \"web\" { policy = \"write\" intentions = \"deny\" }", "service web write; intention web deny" },
	{ "service_prefix \"\" { policy = \"read\" intentions = \"\" }", "service_prefix  read" },
	{ "service_prefix \"a\" { intentions = \"write\" policy = \"deny\" }", "service_prefix a deny; intention_prefix a write" },
	{ "agent \"a\" { policy = \"read\" } event \"a\" { policy = \"read\" } node \"a\" { policy = \"read\" } query \"a\" "
	    "{ policy = \"read\" } service \"a\" { policy = \"read\" } session \"a\" { policy = \"read\" }",
	    "agent a read; event a read; node a read; query a read; service a read; session a read" },
	{ "agent_prefix \"a\" { policy = \"read\" } event_prefix \"a\" { policy = \"read\" } node_prefix \"a\" { policy = \"read\" } "
	    "query_prefix \"a\" { policy = \"read\" } service_prefix \"a\" { policy = \"read\" } session_prefix \"a\" { policy = \"read\" }",
	    "agent_prefix a read; event_prefix a read; node_prefix a read; query_prefix a read; service_prefix a read; "
	    "session_prefix a read" },
	{ " \n\t{\"key_prefix\": {\"\": {\"policy\":\"read\"}}, \"operator\":\"read\", \"node\": {\"n\": {\"policy\": \"write\"}}}",
	    "key_prefix  read; operator read; node n write" },
	{ "{\"key\": [{\"a\": {\"policy\":\"read\"}}, {\"b\": [{\"policy\":\"write\"}, {\"policy\":\"deny\"}]}]}",
	    "key a read; key b write; key b deny" },
	{ "{\"key\": {\"a:\\\"{b\": {\"policy\":\"read\"}}}", "key a:\"{b read" },
	{ "{\"service\": {\"w\": {\"policy\":\"read\", \"intentions\": \"write\"}}}", "service w read; intention w write" },
	{ "key \"\xc3\xa9\\u00e9\" { policy = \"read\" }", "key \xc3\xa9\xc3\xa9 read" },
};

static const struct {
	const char *text, *error;
} bad[] = {
	{ "acl = \"list\"", "Invalid acl policy: \"list\"" },
	{ "operator = \"nope\"", "Invalid operator policy: \"nope\"" },
	{ "{\"keyring\": \"nope\"}", "Invalid keyring policy: \"nope\"" },
	{ "mesh = \"nope\"", "Invalid mesh policy: \"nope\"" },
	{ "peering = \"nope\"", "Invalid peering policy: \"nope\"" },
	{ "acl = true", "Failed to parse ACL rules: acl needs one of \"read\", \"write\" and \"deny\" (line 1)" },
	{ "{\"acl\": null}", "Failed to parse ACL rules: acl needs one of \"read\", \"write\" and \"deny\"" },
	{ "acl \"x\" { policy = \"read\" }", "Failed to parse ACL rules: acl needs one of \"read\", \"write\" and \"deny\" (line 1)" },
	{ "\nkey \"a\" {\n policy = \"Read\" }", "Invalid key policy: \"a\" has \"Read\" instead of read, list, write or deny (line 3)" },
	{ "key_prefix \"\" { policy = \"x\" }", "Invalid key_prefix policy: \"\" has \"x\" instead of read, list, write or deny (line 1)" },
	{ "node \"a\" { policy = \"list\" }", "Invalid node policy: \"a\" has \"list\" instead of read, write or deny (line 1)" },
	{ "{\"node\": {\"a\": {\"policy\": \"list\"}}}", "Invalid node policy: \"a\" has \"list\" instead of read, write or deny" },
	{ "event \"a\" { }", "Invalid event policy: \"a\" has none: read, write or deny (line 1)" },
	{ "event \"a\" { policy = \"\" }", "Invalid event policy: \"a\" has \"\" instead of read, write or deny (line 1)" },
	{ "query \"a\" { policy = 1 }", "Invalid query policy: that of \"a\" is no text: read, write or deny (line 1)" },
	{ "{\"query\": {\"a\": {\"policy\": null}}}", "Invalid query policy: \"a\" has none: read, write or deny" },
	{ "service \"a\" { policy = \"read\" intentions = \"list\" }",
	    "Invalid service intentions policy: \"a\" has \"list\" instead of read, write or deny (line 1)" },
	{ "service \"a\" { policy = \"read\" intentions = 1 }",
	    "Invalid service intentions policy: that of \"a\" is no text: read, write or deny (line 1)" },
	{ "key \"a\" { policy = \"read\" intentions = \"read\" }", "Failed to parse ACL rules: unknown key \"intentions\" in key (line 1)" },
	{ "kye \"a\" { policy = \"read\" }", "Failed to parse ACL rules: unknown key \"kye\" (line 1)" },
	{ "intention \"a\" { policy = \"read\" }", "Failed to parse ACL rules: unknown key \"intention\" (line 1)" },
	{ "_prefix \"a\" { policy = \"read\" }", "Failed to parse ACL rules: unknown key \"_prefix\" (line 1)" },
	{ "acl_prefix \"a\" { policy = \"read\" }", "Failed to parse ACL rules: unknown key \"acl_prefix\" (line 1)" },
	{ "key \"a\" { policy = \"read\" x = 1 }", "Failed to parse ACL rules: unknown key \"x\" in key (line 1)" },
	{ "key \"a\" { policy = \"write\" sentinel { code = \"x\" } }", "Failed to parse ACL rules: Sentinel code in key is not supported (line 1)" },
	{ "sentinel { }", "Failed to parse ACL rules: Sentinel code is not supported (line 1)" },
	{ "key = \"a\"", "Failed to parse ACL rules: key needs a name and a block: key \"name\" { policy = \"read\" } (line 1)" },
	{ "key { policy = \"read\" }", "Failed to parse ACL rules: key needs a name and a block: key \"policy\" { policy = \"read\" } (line 1)" },
	{ "{\"key\": [[{\"a\": {\"policy\":\"read\"}}]]}", "Failed to parse ACL rules: key needs a name and a block: key \"name\" { policy = \"read\" }" },
	{ "{\"key\": {\"a\": [[{\"policy\":\"read\"}]]}}", "Failed to parse ACL rules: key needs a name and a block: key \"a\" { policy = \"read\" }" },
	{ "{\"key\": {\"a\": null}}", "Failed to parse ACL rules: key needs a name and a block: key \"a\" { policy = \"read\" }" },
	{ "{\"key\": {\"a\": {\"policy\":\"deny\"}, \"a\": {\"policy\":\"write\"}}}",
	    "Failed to parse ACL rules: a name is there twice in one JSON object" },
	{ "{\"acl\": \"deny\", \"acl\": \"write\"}", "Failed to parse ACL rules: a name is there twice in one JSON object" },
	{ "key \"a\" { policy = ", "Failed to parse ACL rules: At 1:20: expected a value, found the end of the text" },
	{ "\n}", "Failed to parse ACL rules: At 2:1: '}' closes nothing" },
	{ "{", "Failed to parse ACL rules: unexpected end of data at offset 1" },
	{ "{} x", "Failed to parse ACL rules: unexpected characters behind the value at offset 3" },
};

static void
tell(const struct acl_rules *r, struct buf *out)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct acl_rule *v = &r->v[i];

		assert_int_equal(buf_addf(out, "%s%s%s", i > 0 ? "; " : "", acl_resource_name(v->resource), v->prefix ? "_prefix" : ""), 0);
		if (v->segment.len > 0 || v->prefix)
			assert_int_equal(buf_addf(out, " %.*s", STR_ARG(v->segment)), 0);
		assert_int_equal(buf_addf(out, " %s", acl_access_name(v->access)), 0);
	}
}

static void
expect(const char *text, unsigned syntax, const char *rules)
{
	struct buf got = BUF_INIT(1 << 20);
	struct acl_rules *r = NULL;
	char err[ACL_ERROR_MAX] = "";

	if (acl_rules_parse(str_from(text), syntax, &r, err) < 0)
		fail_msg("%s: %s", text, err);
	tell(r, &got);
	assert_string_equal(buf_cstr(&got), rules);
	buf_release(&got);
	free(r);
}

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		expect(good[i].text, ACL_SYNTAX_CURRENT, good[i].rules);
}

static void
expect_error(struct str text, const char *want)
{
	struct acl_rules *r = NULL;
	char err[ACL_ERROR_MAX] = "";

	assert_int_equal(acl_rules_parse(text, ACL_SYNTAX_CURRENT, &r, err), -EINVAL);
	assert_null(r);
	assert_string_equal(err, want);
}

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		expect_error(str_from(bad[i].text), bad[i].error);
	expect_error(STR("a\0"), "Failed to parse ACL rules: At 1:2: a NUL byte");
	expect_error(STR("key \"\xff\" { policy = \"read\" }"), "Failed to parse ACL rules: At 1:6: not UTF-8");
}

static void
test_legacy(void **state)
{
	(void)state;
	expect("key \"a/\" { policy = \"write\" } service \"\" { policy = \"read\" intentions = \"write\" } operator = \"read\"", ACL_SYNTAX_LEGACY,
	    "key_prefix a/ write; service_prefix  read; intention_prefix  write; operator read");
	expect("agent \"\" { policy = \"read\" } event \"\" { policy = \"read\" } node \"\" { policy = \"read\" } query \"\" { policy = \"read\" } "
	    "session \"\" { policy = \"read\" } keyring = \"deny\"", ACL_SYNTAX_LEGACY,
	    "agent_prefix  read; event_prefix  read; node_prefix  read; query_prefix  read; session_prefix  read; keyring deny");
	/* What was written in today's words already. */
	expect("key_prefix \"a\" { policy = \"read\" }", ACL_SYNTAX_LEGACY, "key_prefix a read");
}

/* What Consul passed over when it was stored there is passed over here; what it would have refused is refused. */
static void
test_stored(void **state)
{
	struct acl_rules *r = NULL;
	char err[ACL_ERROR_MAX];

	(void)state;
	expect("kye \"a\" { policy = \"read\" } namespace \"n\" { } key \"b\" { policy = \"read\" x = 1 }", ACL_SYNTAX_CURRENT | ACL_SYNTAX_STORED, "key b read");
	expect("key \"b\" { policy = \"read\" x = 1 }", ACL_SYNTAX_LEGACY | ACL_SYNTAX_STORED, "key_prefix b read");
	assert_int_equal(acl_rules_parse(STR("key \"b\" { policy = \"x\" }"), ACL_SYNTAX_STORED, &r, err), -EINVAL);
	assert_int_equal(acl_rules_parse(STR("key \"b\" { policy = \"read\" sentinel { } }"), ACL_SYNTAX_STORED, &r, err), -EINVAL);
	assert_int_equal(acl_rules_parse(STR("kye \"b\" {"), ACL_SYNTAX_STORED, &r, err), -EINVAL);
	/* Rules that are absent are none. */
	assert_int_equal(acl_rules_parse(STR_NONE, ACL_SYNTAX_STORED, &r, err), 0);
	assert_int_equal(r->n, 0);
	free(r);
}

/* Long names and values are told boundedly. */
static void
test_long(void **state)
{
	struct buf text = BUF_INIT(1 << 20);
	struct acl_rules *r = NULL;
	char err[ACL_ERROR_MAX];

	(void)state;
	for (int which = 0; which < 2; which++) {
		buf_clear(&text);
		assert_int_equal(buf_addf(&text, which == 0 ? "key \"%020000d\" { policy = \"x\" }" : "key \"a\" { policy = \"%020000d\" }", 0), 0);
		memset(err, 'x', sizeof(err));
		assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err), -EINVAL);
		assert_non_null(memchr(err, 0, sizeof(err)));
		assert_true(strlen(err) < 300);
	}
	buf_release(&text);
}

static void
test_limits(void **state)
{
	struct buf text = BUF_INIT(8 << 20);
	char err[ACL_ERROR_MAX];
	struct acl_rules *r = NULL;

	(void)state;
	for (unsigned n = 0; n <= ACL_RULES_TEXT_MAX; n += 16)
		assert_int_equal(buf_adds(&text, "acl =   \"read\"  "), 0);
	assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err), -EINVAL);
	assert_string_equal(err, "Failed to parse ACL rules: they have more than 512 KiB");
	assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, ACL_RULES_TEXT_MAX }, ACL_SYNTAX_CURRENT, &r, err), 0);
	assert_int_equal(r->n, 1);
	free(r);
	buf_clear(&text);
	for (unsigned n = 0; n < 10000; n++)
		assert_int_equal(buf_addf(&text, "key \"k/%05u\" { policy = \"read\" }\n", n), 0);
	assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err), 0);
	assert_int_equal(r->n, 10000);
	assert_true(str_eqs(r->v[9999].segment, "k/09999"));
	free(r);
	/* Deep ones are refused by either parser. */
	buf_clear(&text);
	for (unsigned n = 0; n < 1000; n++)
		assert_int_equal(buf_adds(&text, "{\"a\":"), 0);
	assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err), -EINVAL);
	buf_clear(&text);
	for (unsigned n = 0; n < 1000; n++)
		assert_int_equal(buf_adds(&text, "a {"), 0);
	assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err), -EINVAL);
	buf_release(&text);
}

/* As many rules as fit into a text. */
static void
test_dense(void **state)
{
	struct buf text = BUF_INIT(8 << 20);
	char err[ACL_ERROR_MAX];
	struct acl_rules *r = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(buf_adds(&text, "{\"service\":{\"\":["), 0);
	while (text.len + 64 < ACL_RULES_TEXT_MAX) {
		assert_int_equal(buf_addf(&text, "%s{\"policy\":\"read\",\"intentions\":\"read\"}", n > 0 ? "," : ""), 0);
		n += 2;
	}
	assert_int_equal(buf_adds(&text, "]}}"), 0);
	assert_int_equal(acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err), 0);
	assert_int_equal(r->n, n);
	assert_true(n > 25000);
	free(r);
	buf_release(&text);
}

static void
test_names(void **state)
{
	char name[300];

	(void)state;
	for (unsigned i = 0; i < ACL_RESOURCES; i++)
		assert_int_equal(acl_resource_parse(str_from(acl_resource_name((enum acl_resource)i))), i);
	assert_int_equal(acl_resource_parse(STR("keys")), ACL_RESOURCES);
	assert_int_equal(acl_resource_parse(STR("")), ACL_RESOURCES);
	assert_null(acl_resource_name(ACL_RESOURCES));
	for (unsigned i = ACL_READ; i <= ACL_DENY; i++)
		assert_int_equal(acl_access_parse(str_from(acl_access_name((enum acl_access)i))), i);
	assert_int_equal(acl_access_parse(STR("")), ACL_NONE);
	assert_int_equal(acl_access_parse(STR("Read")), ACL_NONE);
	assert_null(acl_access_name(ACL_NONE));

	assert_true(acl_name_ok(STR("aZ09_-")));
	assert_false(acl_name_ok(STR("")));
	assert_false(acl_name_ok(STR("a b")));
	assert_false(acl_name_ok(STR("a\0b")));
	assert_false(acl_name_ok(STR("\xc3\xa9")));
	memset(name, 'a', sizeof(name));
	assert_true(acl_name_ok((struct str){ name, 128 }));
	assert_false(acl_name_ok((struct str){ name, 129 }));
	assert_true(acl_identity_name_ok((struct str){ name, 256 }));
	assert_false(acl_identity_name_ok((struct str){ name, 257 }));
	assert_true(acl_identity_name_ok(STR("a")));
	assert_true(acl_identity_name_ok(STR("0a-b_c9")));
	assert_false(acl_identity_name_ok(STR("")));
	assert_false(acl_identity_name_ok(STR("A")));
	assert_false(acl_identity_name_ok(STR("-a")));
	assert_false(acl_identity_name_ok(STR("a_")));
	assert_false(acl_identity_name_ok(STR("a.b")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "texts_and_their_rules", test_good, NULL, NULL, NULL },
		{ "texts_that_are_refused", test_bad, NULL, NULL, NULL },
		{ "names_of_legacy_rules_are_prefixes", test_legacy, NULL, NULL, NULL },
		{ "stored_rules_may_hold_unknown_keys", test_stored, NULL, NULL, NULL },
		{ "sentences_are_bounded", test_long, NULL, NULL, NULL },
		{ "size_depth_and_number_have_limits", test_limits, NULL, NULL, NULL },
		{ "a_text_as_dense_as_can_be", test_dense, NULL, NULL, NULL },
		{ "words_and_names", test_names, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
