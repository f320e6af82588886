/* config_acl.c - the keys of ACLs: their rules, their old names, and who gets to see a token. */
#include "lib/cfg.h"
#include "t/unit/config_helper.h"

static const char *const daemons[] = { "raftd", "gossipd", "httpd", "dnsd", "checkd" };

static struct config *
load(const char *text)
{
	return helper_load_file("a.hcl", text);
}

static void
test_enabled(void **state)
{
	static const struct {
		const char *text;
		bool on;
	} cases[] = {
		{ "node_name = \"x\"", false },
		{ "acl { enabled = true }", true },
		{ "acl_datacenter = \"dc1\"", true },
		{ "acl_datacenter = \"dc1\" acl { enabled = false }", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = load(cases[i].text);

		assert_non_null(c);
		for (size_t k = 0; k < ARRAY_LEN(daemons); k++) {
			struct json_object *s = config_slice(c, daemons[k], "/run/x");

			assert_non_null(cfg_get(s, "acl.enabled"));
			assert_int_equal(cfg_bool(s, "acl.enabled", !cases[i].on), cases[i].on);
			json_object_put(s);
		}
		assert_null(cfg_get(config_tree(c), CONFIG_ACL_IMPLIED));
		config_free(c);
	}
}

static void
test_rules(void **state)
{
	static const char *const cases[][2] = {
		{ "acl { default_policy = \"maybe\" }", "acl.default_policy: \"maybe\" is none of allow, deny" },
		{ "acl { down_policy = \"\" }", "acl.down_policy: \"\" is none of allow, deny, extend-cache, async-cache" },
		{ "acl { token_ttl = \"-1s\" }", "acl.token_ttl cannot be -1s. Must be greater than or equal to zero" },
		{ "acl { policy_ttl = \"48h\" }", "acl.policy_ttl cannot be 48h0m0s. Must be between 0s and 1h0m0s" },
		{ "acl { tokens { agent = \"s3c ret\" } }", "acl.tokens.agent: a token is printable ASCII text without blanks" },
		{ "acl { tokens { default = \"s3c\\nret\" } }", "acl.tokens.default: a token is printable ASCII text without blanks" },
		{ "acl { tokens { agent = 5 } }", "acl.tokens.agent: expected a string, got a number" },
		{ "acl { tokens { unknown = \"s3cret\" } }", "invalid config key acl.tokens.unknown" },
		{ "acl { enabled = true } primary_datacenter = \"dc2\"",
		    "primary_datacenter: ACLs of another datacenter are not supported yet: this one is \"dc1\", not \"dc2\"" },
		{ "acl_datacenter = \"dc2\"",
		    "primary_datacenter: ACLs of another datacenter are not supported yet: this one is \"dc1\", not \"dc2\"" },
	};
	char text[1200], many[1026];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_null(load(cases[i][0]));
		if (strstr(helper_error, cases[i][1]) == NULL)
			fail_msg("%s\nis not in\n%s", cases[i][1], helper_error);
		assert_null(strstr(helper_error, "s3c"));
	}
	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	snprintf(text, sizeof(text), "acl { tokens { dns = \"%s\" } }", many);
	assert_null(load(text));
	assert_non_null(strstr(helper_error, "acl.tokens.dns: a token is no longer than 1024 bytes"));
	assert_null(strstr(helper_error, "xx"));
	/* Without ACLs the other datacenter is nobody's business. */
	config_free(load("primary_datacenter = \"dc2\""));
	assert_string_equal(helper_error, "");
}

static void
test_old_names(void **state)
{
	struct config *c = load("acl_agent_master_token = \"m\" acl_agent_token = \"a\" acl_token = \"d\" acl_master_token = \"i\" "
	    "acl_replication_token = \"r\" acl_default_policy = \"deny\" acl_down_policy = \"allow\" acl_ttl = \"5s\" "
	    "acl_enable_key_list_policy = true enable_acl_replication = true");

	(void)state;
	assert_non_null(c);
	assert_string_equal(helper_json(c, "acl.tokens.agent_recovery"), "\"m\"");
	assert_string_equal(helper_json(c, "acl.tokens.agent"), "\"a\"");
	assert_string_equal(helper_json(c, "acl.tokens.default"), "\"d\"");
	assert_string_equal(helper_json(c, "acl.tokens.initial_management"), "\"i\"");
	assert_true(helper_has_notice(c, LOG_INFO, "config key has no effect here: key=acl.tokens.replication"));
	assert_string_equal(helper_json(c, "acl.default_policy"), "\"deny\"");
	assert_string_equal(helper_json(c, "acl.down_policy"), "\"allow\"");
	assert_string_equal(helper_json(c, "acl.token_ttl"), "5000");
	assert_string_equal(helper_json(c, "acl.enable_key_list_policy"), "true");
	assert_true(helper_has_notice(c, LOG_INFO, "config key has no effect here: key=acl.enable_token_replication"));
	assert_string_equal(helper_json(c, "acl.enabled"), "false");
	config_free(c);
	c = load("acl { tokens { master = \"i\" agent_master = \"m\" } }");
	assert_non_null(c);
	assert_true(helper_has_notice(c, LOG_WARN, "config key is deprecated: key=acl.tokens.master use=acl.tokens.initial_management"));
	assert_string_equal(helper_json(c, "acl.tokens.agent_recovery"), "\"m\"");
	config_free(c);
}

/* Each token goes to who needs it; what agent/self is shown has none. */
static void
test_secrets(void **state)
{
	static const struct {
		const char *daemon, *sees;
	} cases[] = {
		{ "raftd", "initial recovery " }, { "gossipd", "" }, { "httpd", "default " }, { "dnsd", "default dns " },
		{ "checkd", "agent default files " },
	};
	static const char *const secrets[] = { "initial", "agent", "recovery", "default", "replica", "files", "dns" };
	struct config *c = load("acl { enabled = true tokens { initial_management = \"s3cret-initial\" agent = \"s3cret-agent\" "
	    "agent_recovery = \"s3cret-recovery\" default = \"s3cret-default\" replication = \"s3cret-replica\" "
	    "config_file_service_registration = \"s3cret-files\" dns = \"s3cret-dns\" } } node_meta { a = \"b\" }");

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_object *s = config_slice(c, cases[i].daemon, "/run/x");
		const char *text = json_object_to_json_string(s);

		for (size_t k = 0; k < ARRAY_LEN(secrets); k++) {
			char secret[40], word[40];

			snprintf(secret, sizeof(secret), "\"s3cret-%s\"", secrets[k]);
			snprintf(word, sizeof(word), "%s ", secrets[k]);
			if ((strstr(text, secret) != NULL) != (strstr(cases[i].sees, word) != NULL))
				fail_msg("%s in the slice of %s", secrets[k], cases[i].daemon);
		}
		if (strcmp(cases[i].daemon, "httpd") == 0) {
			assert_string_equal(cfg_str(s, "debug_config.acl.tokens.agent", ""), "hidden");
			assert_string_equal(cfg_str(s, "debug_config.acl.tokens.default", ""), "hidden");
			assert_null(strstr(json_object_to_json_string(cfg_get(s, "debug_config")), "s3cret"));
		}
		json_object_put(s);
	}
	/* Hiding them has not changed them. */
	assert_string_equal(helper_json(c, "acl.tokens.agent"), "\"s3cret-agent\"");
	for (size_t i = 0; config_notice(c, i) != NULL; i++)
		assert_null(strstr(config_notice(c, i)->text, "s3cret"));
	assert_true(helper_has_notice(c, LOG_WARN, "acl.tokens.initial_management is no UUID"));
	config_free(c);
}

/* A reload takes tokens over, and tells of what it cannot change. */
static void
test_reload(void **state)
{
	struct config *was = load("acl { enabled = true default_policy = \"allow\" tokens { agent = \"a\" } }");
	struct config *next = load("acl { enabled = false default_policy = \"deny\" tokens { agent = \"b\" } }");
	struct buf keys = BUF_INIT(CONFIG_ERR_MAX);

	(void)state;
	assert_non_null(was);
	assert_non_null(next);
	assert_int_equal(config_diff(was, next, &keys), 0);
	assert_string_equal(buf_cstr(&keys), "acl.enabled, acl.default_policy");
	assert_string_equal(helper_json(next, "acl.tokens.agent"), "\"b\"");
	assert_string_equal(helper_json(next, "acl.enabled"), "true");
	buf_release(&keys);
	config_free(was);
	config_free(next);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enabled), cmocka_unit_test(test_rules), cmocka_unit_test(test_old_names), cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests(tests, helper_setup, helper_teardown);
}
