/* acl_translate.c - legacy rules in today's words, and the rules of identities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raftd/acl/rules.h"

static const struct {
	const char *legacy, *today;
} texts[] = {
	{ "", "" },
	{ "# only a comment\n/* and another */", "" },
	{ "# top\nagent \"\" {\n  # inside\n  policy = \"write\"\n}\n\n/* block */\nkey \"\" {\n\tpolicy = \"write\"\n}\n// end\noperator = \"read\" # why\n",
	    "agent_prefix \"\" {\n  policy = \"write\"\n}\n\nkey_prefix \"\" {\n  policy = \"write\"\n}\n\noperator = \"read\"" },
	{ "node \"a\" { policy = \"read\" } query \"b\" { policy = \"deny\" } session \"c\" { policy = \"write\" } event \"d\" { policy = \"read\" } keyring = \"write\"",
	    "node_prefix \"a\" {\n  policy = \"read\"\n}\n\nquery_prefix \"b\" {\n  policy = \"deny\"\n}\n\n"
	    "session_prefix \"c\" {\n  policy = \"write\"\n}\n\nevent_prefix \"d\" {\n  policy = \"read\"\n}\n\nkeyring = \"write\"" },
	{ "service \"w\" { policy = \"read\" intentions = \"deny\" } service \"\" { policy = \"write\" }",
	    "service_prefix \"w\" {\n  policy     = \"read\"\n  intentions = \"deny\"\n}\n\nservice_prefix \"\" {\n  policy = \"write\"\n}" },
	/* JSON, and names that are words of the language. */
	{ "{\"key\": {\"\": {\"policy\": \"read\"}, \"key\": {\"policy\": \"read\"}, \"policy\": {\"policy\": \"deny\"}}, \"session\": {\"\": {\"policy\": \"write\"}}}",
	    "key_prefix \"\" {\n  policy = \"read\"\n}\n\nkey_prefix \"key\" {\n  policy = \"read\"\n}\n\nkey_prefix \"policy\" {\n  policy = \"deny\"\n}\n\n"
	    "session_prefix \"\" {\n  policy = \"write\"\n}" },
	/* A list where it was one, and what was translated already. */
	{ "key \"a\" { policy = \"list\" } key_prefix \"b\" { policy = \"read\" }",
	    "key_prefix \"a\" {\n  policy = \"list\"\n}\n\nkey_prefix \"b\" {\n  policy = \"read\"\n}" },
	{ "key \"q\\\"b\\\\s\\u0001\\n$\\u0024{x}\" { policy = \"read\" }", "key_prefix \"q\\\"b\\\\s\\u0001\\u000a$\\u0024{x}\" {\n  policy = \"read\"\n}" },
};

static void
expect_same_rules(struct str a, enum acl_syntax of_a, struct str b)
{
	struct acl_rules *x = NULL, *y = NULL;
	char err[ACL_ERROR_MAX];

	assert_int_equal(acl_rules_parse(a, of_a, &x, err), 0);
	if (acl_rules_parse(b, ACL_SYNTAX_CURRENT, &y, err) < 0)
		fail_msg("%s", err);
	assert_int_equal(x->n, y->n);
	for (size_t i = 0; i < x->n; i++) {
		assert_int_equal(x->v[i].resource, y->v[i].resource);
		assert_int_equal(x->v[i].prefix, y->v[i].prefix);
		assert_int_equal(x->v[i].access, y->v[i].access);
		assert_true(str_eq(x->v[i].segment, y->v[i].segment));
	}
	free(x);
	free(y);
}

static void
test_translate(void **state)
{
	struct buf out = BUF_INIT(1 << 20);
	char err[ACL_ERROR_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct str legacy = str_from(texts[i].legacy);

		buf_clear(&out);
		assert_int_equal(acl_rules_translate(legacy, &out, err), 0);
		assert_string_equal(buf_cstr(&out), texts[i].today);
		expect_same_rules(legacy, ACL_SYNTAX_LEGACY, (struct str){ (char *)out.data, out.len });
	}
	buf_release(&out);
}

static void
test_refused(void **state)
{
	struct buf out = BUF_INIT(40);
	char err[ACL_ERROR_MAX];

	(void)state;
	assert_int_equal(buf_adds(&out, "before"), 0);
	assert_int_equal(acl_rules_translate(STR("key \"a\" {"), &out, err), -EINVAL);
	assert_string_equal(err, "Failed to parse ACL rules: At 1:10: an object is not closed: '}' is missing");
	assert_int_equal(acl_rules_translate(STR("key \"a\" { policy = \"x\" }"), &out, err), -EINVAL);
	/* What does not fit leaves nothing behind. */
	assert_int_equal(acl_rules_translate(STR("key \"a\" { policy = \"read\" } key \"b\" { policy = \"read\" }"), &out, err), -ELIMIT);
	assert_int_equal(out.len, 6);
	assert_int_equal(acl_rules_of_node(STR("n"), &out), -ELIMIT);
	assert_int_equal(out.len, 6);
	buf_release(&out);
}

static void
test_identities(void **state)
{
	struct buf out = BUF_INIT(1 << 20);

	(void)state;
	assert_int_equal(acl_rules_of_service(STR("web"), &out), 0);
	assert_string_equal(buf_cstr(&out), "service \"web\" {\n  policy = \"write\"\n}\n\nservice \"web-sidecar-proxy\" {\n  policy = \"write\"\n}\n\n"
	    "service_prefix \"\" {\n  policy = \"read\"\n}\n\nnode_prefix \"\" {\n  policy = \"read\"\n}");
	expect_same_rules(STR("service \"web\" { policy = \"write\" } service \"web-sidecar-proxy\" { policy = \"write\" } "
	    "service_prefix \"\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }"), ACL_SYNTAX_CURRENT, (struct str){ (char *)out.data, out.len });
	buf_clear(&out);
	assert_int_equal(acl_rules_of_node(STR("n1"), &out), 0);
	assert_string_equal(buf_cstr(&out), "node \"n1\" {\n  policy = \"write\"\n}\n\nservice_prefix \"\" {\n  policy = \"read\"\n}");
	buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "legacy_rules_in_todays_words", test_translate, NULL, NULL, NULL },
		{ "what_cannot_be_translated_leaves_nothing", test_refused, NULL, NULL, NULL },
		{ "identities", test_identities, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
