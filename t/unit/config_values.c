/* config_values.c - rules about single keys and between keys, and what is derived. */
#include "t/unit/config_helper.h"

static const struct {
	const char *text, *error;
} bad[] = {
	{ "datacenter = \"\"", "datacenter cannot be empty" },
	{ "datacenter = \"a b\"", "datacenter cannot be \"a b\". Please use only [a-z0-9-_]" },
	{ "primary_datacenter = \"a.b\"", "primary_datacenter cannot be \"a.b\". Please use only [a-z0-9-_]" },
	{ "node_name = \"  \"", "node_name cannot be empty" },
	{ "node_id = \"x\"", "specified NodeID is invalid: uuid string is wrong length" },
	{ "node_id = \"00000000-0000-0000-0000-00000000000g\"", "specified NodeID is invalid: uuid is improperly formatted" },
	{ "node_meta { \"a b\" = \"x\" }",
	    "node_meta invalid: Couldn't load metadata pair ('a b', 'x'): Key contains invalid characters" },
	{ "node_meta { consul-x = \"x\" }", "node_meta invalid: Couldn't load metadata pair ('consul-x', 'x'): Key prefix "
	    "'consul-' is reserved for internal use" },
	{ "node_meta { \"\" = \"x\" }", "node_meta invalid: Couldn't load metadata pair ('', 'x'): Key cannot be blank" },
	{ "domain = \"\"", "domain cannot be empty" },
	{ "alt_domain = \"Service.example\"", "alt_domain cannot start with {service,connect,virtual,ingress,node,query,addr,dc1}" },
	{ "alt_domain = \"dc1\"", "alt_domain cannot start with {service,connect,virtual,ingress,node,query,addr,dc1}" },
	{ "domain = \"a..b\"", "domain: \"a..b\" is no DNS domain" },
	{ "alt_domain = \"a b\"", "alt_domain: \"a b\" is no DNS domain" },
	{ "bootstrap_expect = -1", "bootstrap_expect cannot be -1. Must be greater than or equal to zero" },
	{ "bootstrap_expect = 3", "'bootstrap_expect > 0' not allowed in dev mode" },
	{ "retry_max = -1", "retry_max cannot be -1. Must be greater than or equal to zero" },
	{ "autopilot { min_quorum = -1 }", "autopilot.min_quorum cannot be -1. Must be greater than or equal to zero" },
	{ "autopilot { max_trailing_logs = -1 }", "autopilot.max_trailing_logs cannot be -1. Must be greater than or equal to zero" },
	{ "autopilot { server_stabilization_time = \"-1s\" }",
	    "autopilot.server_stabilization_time cannot be -1s. Must be greater than or equal to zero" },
	{ "autopilot { min_quorum = 33 }", "autopilot.min_quorum cannot be 33. Must be between 0 and 32" },
	{ "server = false bootstrap = true", "'bootstrap = true' requires 'server = true'" },
	{ "log_level = \"loud\"", "Invalid log level: loud. Valid log levels are: [TRACE DEBUG INFO WARN ERR]" },
	{ "unix_sockets { mode = \"99\" }", "unix_sockets.mode: \"99\" is no octal mode" },
	{ "check_output_max_size = 0", "check_output_max_size cannot be 0. Must be between 1 and 536870912" },
	{ "performance { raft_multiplier = 11 }", "performance.raft_multiplier cannot be 11. Must be between 1 and 10" },
	{ "raft_protocol = 2", "raft_protocol cannot be 2. Must be 3" },
	{ "dns_config { udp_answer_limit = -1 }", "dns_config.udp_answer_limit cannot be -1. Must be greater than or equal to zero" },
	{ "dns_config { a_record_limit = -1 }", "dns_config.a_record_limit cannot be -1. Must be greater than or equal to zero" },
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char want[600];

		if (helper_load_file("a.hcl", bad[i].text) != NULL)
			fail_msg("accepted: %s", bad[i].text);
		snprintf(want, sizeof(want), "%s (%s, line 1)", bad[i].error, helper_path("a.hcl"));
		assert_string_equal(helper_error, want);
	}
}

static void
test_meta_limits(void **state)
{
	char text[8192];
	size_t n = 0;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text), "node_meta {");
	for (int i = 0; i < 65; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " k%d = \"v\"", i);
	snprintf(text + n, sizeof(text) - n, " }");
	assert_null(helper_load_file("a.hcl", text));
	assert_non_null(strstr(helper_error, "Node metadata cannot contain more than 64 key/value pairs"));
	snprintf(text, sizeof(text), "node_meta { %0129d = \"\" }", 1);
	text[12] = 'k';
	assert_null(helper_load_file("a.hcl", text));
	assert_non_null(strstr(helper_error, "Key is too long (limit: 128 characters)"));
	snprintf(text, sizeof(text), "node_meta { k = \"%0513d\" }", 1);
	assert_null(helper_load_file("a.hcl", text));
	assert_non_null(strstr(helper_error, "Value is too long (limit: 512 characters)"));
	snprintf(text, sizeof(text), "node_meta { k = \"%0512d\" }", 1);
	config_free(helper_load_file("a.hcl", text));
	assert_string_equal(helper_error, "");
}

static const struct {
	const char *text, *path, *json;
} good[] = {
	{ "datacenter = \"DC-1\"", "datacenter", "\"dc-1\"" },
	{ "datacenter = \"Other\"", "primary_datacenter", "\"other\"" },
	{ "domain = \"Example.Org\"", "domain", "\"Example.Org.\"" },
	{ "domain = \"x.\"", "domain", "\"x.\"" },
	{ "alt_domain = \"x\"", "alt_domain", "\"x.\"" },
	{ "node_id = \"ABCDEF00-0000-0000-0000-000000000000\"", "node_id", "\"abcdef00-0000-0000-0000-000000000000\"" },
	{ "", "leave_on_terminate", "false" },
	{ "", "skip_leave_on_interrupt", "true" },
	{ "server = false", "leave_on_terminate", "true" },
	{ "server = false", "skip_leave_on_interrupt", "false" },
	{ "server = false leave_on_terminate = false", "leave_on_terminate", "false" },
	{ "ports { http = 0 dns = -7 }", "ports.http", "-1" },
	{ "ports { http = 0 dns = -7 }", "ports.dns", "-1" },
	{ "ports { http = 65535 }", "ports.http", "65535" },
	{ "ports { http = 8500.0 }", "ports.http", "8500" },
	{ "data_dir = \"/nowhere\"", "data_dir", "\"\"" },
	{ "", "dev_mode", "true" },
	{ "", "version", "\"1.10.12\"" },
	{ "default_query_time = \"1h1m0.5s\"", "default_query_time", "3660500" },
	{ "session_ttl_min = \"1us\"", "session_ttl_min", "1" },
	{ "telemetry { prometheus_retention_time = \"24h\" }", "telemetry.prometheus_retention_time", "86400000" },
	{ "dns_config { soa { min_ttl = 5 } }", "dns_config.soa", "{\"refresh\":3600,\"retry\":600,\"expire\":86400,\"min_ttl\":5}" },
	{ "performance { }", "performance.raft_multiplier", "1" },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct config *c = helper_load_file("a.hcl", good[i].text);

		if (c == NULL)
			fail_msg("%s: %s", good[i].text, helper_error);
		assert_string_equal(helper_json(c, good[i].path), good[i].json);
		config_free(c);
	}
}

/* A server with a disk: bootstrap_expect, data_dir. */
static void
test_server(void **state)
{
	const char *const base[] = { "-bind=127.0.0.1", "-server", "-data-dir", helper_path("data"), "-hcl", NULL, NULL };
	static const struct {
		const char *hcl, *error;
		const char *notice;
	} cases[] = {
		{ "bootstrap_expect = 3", NULL, NULL },
		{ "bootstrap_expect = 33", "bootstrap_expect cannot be 33. Must be between 0 and 32", NULL },
		{ "bootstrap_expect = 4", NULL, "bootstrap_expect is even number" },
		{ "bootstrap_expect = 2", NULL, "provide no failure tolerance" },
		{ "bootstrap_expect = 1", NULL, "BootstrapExpect is set to 1; this is the same as Bootstrap mode." },
		{ "bootstrap = true", NULL, "Bootstrap mode enabled! Do not enable unless necessary" },
		{ "bootstrap = true bootstrap_expect = 3",
		    "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive", NULL },
		{ "server = false bootstrap_expect = 3", "'bootstrap_expect > 0' requires 'server = true'", NULL },
		{ "data_dir = \"\"", "data_dir cannot be empty", NULL },
		{ "data_dir = \"/dev/null\"", "data_dir \"/dev/null\" is not a directory", NULL },
		{ "node_name = \"a_b\"", NULL, "Node name \"a_b\" will not be discoverable via DNS due to invalid characters." },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *args[ARRAY_LEN(base)];
		struct config *c;

		memcpy(args, base, sizeof(base));
		args[5] = cases[i].hcl;
		c = helper_load(args);
		if (cases[i].error != NULL) {
			assert_null(c);
			assert_memory_equal(helper_error, cases[i].error, strlen(cases[i].error));
			continue;
		}
		if (c == NULL)
			fail_msg("%s: %s", cases[i].hcl, helper_error);
		if (cases[i].notice != NULL)
			assert_true(helper_has_notice(c, LOG_WARN, cases[i].notice));
		assert_string_equal(helper_json(c, "dev_mode"), "false");
		config_free(c);
	}
	assert_null(helper_load((const char *const[]){ "-bind=127.0.0.1", NULL }));
	assert_string_equal(helper_error, "data_dir cannot be empty");
}

/* Every default is of its key's type, and every old name leads to a key. */
static void
test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_nkeys; i++) {
		const struct config_key *k = &config_keys[i];

		for (const char *p = k->path; *p != 0; p++)
			assert_int_equal(ascii_lower((unsigned char)*p), (unsigned char)*p);
		assert_ptr_equal(config_key_find(str_from(k->path)), k);
		if (k->class == KC_RENAMED) {
			assert_non_null(config_key_find(str_from(k->dflt)));
		} else if (k->dflt != NULL) {
			struct json_object *v = config_raw_from_text(k->type, k->dflt);

			if (v == NULL)
				fail_msg("%s: default %s", k->path, k->dflt);
			json_object_put(v);
		}
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_bad),
	cmocka_unit_test(test_meta_limits),
	cmocka_unit_test(test_good),
	cmocka_unit_test(test_server),
	cmocka_unit_test(test_table),
};

HELPER_MAIN(tests)
