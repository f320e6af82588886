/* config_defs.c - service and check definitions: names, forms, rules. */
#include "t/unit/config_helper.h"

#define SERVICE(x) "service { name = \"web\" " x " }"
#define CHECK(x) "check { name = \"c\" " x " }"

static const struct {
	const char *text, *path, *json;
} good[] = {
	{ "service { name = \"web\" tags = [\"rails\"] port = 80 }", "services",
	    "[{\"Name\":\"web\",\"Tags\":[\"rails\"],\"Port\":80}]" },
	{ "{\"service\": {\"name\": \"web\", \"tags\": [\"rails\"], \"port\": 80}}", "services",
	    "[{\"Name\":\"web\",\"Tags\":[\"rails\"],\"Port\":80}]" },
	{ "service { name = \"a\" } service { name = \"b\" }", "services", "[{\"Name\":\"a\"},{\"Name\":\"b\"}]" },
	{ "services = [{ name = \"a\" }, { name = \"b\" }]", "services", "[{\"Name\":\"a\"},{\"Name\":\"b\"}]" },
	{ "services { name = \"a\" } service { name = \"b\" }", "services", "[{\"Name\":\"a\"},{\"Name\":\"b\"}]" },
	{ "{\"Service\": {\"NAME\": \"a\", \"EnableTagOverride\": true, \"socket_path\": \"/x\"}}", "services",
	    "[{\"Name\":\"a\",\"EnableTagOverride\":true,\"SocketPath\":\"/x\"}]" },
	{ SERVICE("weights { passing = 5 }"), "services", "[{\"Name\":\"web\",\"Weights\":{\"Passing\":5,\"Warning\":1}}]" },
	{ SERVICE("meta { Ab = \"x\" } tagged_addresses { lan = { address = \"1.2.3.4\" port = 5 } }"), "services",
	    "[{\"Name\":\"web\",\"Meta\":{\"Ab\":\"x\"},\"TaggedAddresses\":{\"lan\":{\"Address\":\"1.2.3.4\",\"Port\":5}}}]" },
	{ SERVICE("check { ttl = \"10s\" }"), "services", "[{\"Name\":\"web\",\"Checks\":[{\"TTL\":\"10s\"}]}]" },
	{ SERVICE("checks = [{ ttl = \"1s\" }, { ttl = \"2s\" }] check { ttl = \"3s\" }"), "services",
	    "[{\"Name\":\"web\",\"Checks\":[{\"TTL\":\"1s\"},{\"TTL\":\"2s\"},{\"TTL\":\"3s\"}]}]" },
	{ SERVICE("check { ttl = \"1s\" } check { ttl = \"2s\" }"), "(error)", "services" },
	{ "{\"check\": {\"Name\": \"c\", \"ServiceID\": \"s\", \"HTTP\": \"http://x\", \"interval\": \"1s\", \"tlsskipverify\": true, "
	  "\"deregistercriticalserviceafter\": \"2m\", \"header\": {\"A\": [\"b\"]}, \"CheckID\": \"i\"}}", "checks",
	    "[{\"Name\":\"c\",\"ServiceID\":\"s\",\"HTTP\":\"http://x\",\"Interval\":\"1s\",\"TLSSkipVerify\":true,"
	    "\"DeregisterCriticalServiceAfter\":\"2m\",\"Header\":{\"A\":[\"b\"]},\"CheckID\":\"i\"}]" },
	{ "checks = [{ name = \"c\" id = \"x\" alias_service = \"web\" }]", "checks",
	    "[{\"Name\":\"c\",\"CheckID\":\"x\",\"AliasService\":\"web\"}]" },
	{ CHECK("script_args = [\"true\"] interval = \"1s\"") " enable_script_checks = true", "checks",
	    "[{\"Name\":\"c\",\"Args\":[\"true\"],\"Interval\":\"1s\"}]" },
	{ CHECK("ScriptArgs = [\"true\"] interval = \"1s\"") " enable_local_script_checks = true", "checks",
	    "[{\"Name\":\"c\",\"Args\":[\"true\"],\"Interval\":\"1s\"}]" },
	{ CHECK("tcp = \"x:1\" interval = \"1s\" status = \"passing\" success_before_passing = 3"), "checks",
	    "[{\"Name\":\"c\",\"TCP\":\"x:1\",\"Interval\":\"1s\",\"Status\":\"passing\",\"SuccessBeforePassing\":3}]" },
	{ SERVICE("port = null"), "(error)", "null" },
	{ "{\"service\": {\"name\": \"web\", \"port\": null, \"check\": null}}", "services", "[{\"Name\":\"web\"}]" },
	{ SERVICE("kind = \"connect-proxy\" proxy { config { a = 1 } }"), "services",
	    "[{\"Name\":\"web\",\"Kind\":\"connect-proxy\",\"Proxy\":{\"config\":{\"a\":1}}}]" },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct config *c = helper_load_file("a.hcl", good[i].text);

		if (strcmp(good[i].path, "(error)") == 0) {
			assert_null(c);
			continue;
		}
		if (c == NULL)
			fail_msg("%s: %s", good[i].text, helper_error);
		assert_string_equal(helper_json(c, good[i].path), good[i].json);
		config_free(c);
	}
}

static const struct {
	const char *text, *error;
} bad[] = {
	{ "service { port = 1 }", "service: Missing service name" },
	{ SERVICE("bogus = 1"), "invalid config key service.bogus" },
	{ "services = [{ name = \"a\" }, { name = \"b\" bogus = 1 }]", "invalid config key services[1].bogus" },
	{ SERVICE("check { bogus = 1 }"), "invalid config key service.check.bogus" },
	{ SERVICE("enabletag_override = true"), "invalid config key service.enabletag_override" },
	{ SERVICE("port = \"80\""), "service.port: expected a number, got a string" },
	{ SERVICE("port = 65536"), "service: Invalid service port 65536" },
	{ SERVICE("port = -1"), "service: Invalid service port -1" },
	{ SERVICE("address = \"0.0.0.0\""), "service: Invalid service address" },
	{ SERVICE("address = \"::\""), "service: Invalid service address" },
	{ SERVICE("socket_path = \"/x\" port = 1"), "service: a service with a socket path has no address or port" },
	{ SERVICE("tags = \"a\""), "service.tags: expected a list of strings, got a string" },
	{ SERVICE("kind = \"x\""), "service: Invalid service kind: x" },
	{ SERVICE("weights { passing = 0 }"), "service: Invalid Weights: Passing must be greater than 0" },
	{ SERVICE("weights { warning = -1 }"), "service: Invalid Weights: Warning must be greater or equal than 0" },
	{ SERVICE("weights { passing = 65536 }"),
	    "service: Invalid Weights: Passing Weight and Warning Weight must be between 0 and 65535" },
	{ SERVICE("meta { \"a b\" = \"\" }"), "service: Invalid Service Meta: Couldn't load metadata pair ('a b', ''): Key "
	    "contains invalid characters" },
	{ SERVICE("tagged_addresses { x { address = \"1.1.1.1\" } }"), "service: Invalid Tagged Address tag: x" },
	{ SERVICE("tagged_addresses { lan { address = \"::\" } }"), "service: Invalid tagged address 'lan'" },
	{ "service = 1", "service: expected an object, got a number" },
	{ "services = [1]", "services[0]: expected an object" },
	{ "check { ttl = \"1s\" }", "check: Missing check name" },
	{ CHECK(""), "check: Invalid check: TTL must be > 0 for TTL checks" },
	{ CHECK("ttl = \"1s\" interval = \"1s\""), "check: Invalid check: Interval and TTL cannot both be specified" },
	{ CHECK("http = \"x\""), "check: Invalid check: Interval must be > 0 for Script, HTTP, H2PING, or TCP checks" },
	{ CHECK("alias_service = \"x\" http = \"http://x\" interval = \"1s\""), "check: Invalid check: Interval cannot be set for Alias checks" },
	{ CHECK("alias_node = \"x\" ttl = \"1s\""), "check: Invalid check: TTL must be not be set for Alias checks" },
	{ CHECK("tcp = \"x\" interval = \"1s\" output_max_size = -1"), "check: Invalid check: MaxOutputMaxSize must be positive" },
	{ CHECK("ttl = \"1s\" status = \"good\""), "check: Status for checks must 'passing', 'warning', 'critical'" },
	{ CHECK("ttl = \"x\""), "check.ttl: invalid duration: time: invalid duration \"x\"" },
	{ CHECK("ttl = 10"), "check.ttl: expected a duration in quotes, as \"10s\", got a number" },
	{ CHECK("ttl = \"1s\" failures_before_critical = -1"), "check: Invalid check: FailuresBeforeCritical must not be negative" },
	{ CHECK("script = \"true\" interval = \"1s\""),
	    "check.script: shell scripts as one string are gone: give the command as a list in 'args'" },
	{ CHECK("header = { a = \"b\" } ttl = \"1s\""), "check.header.a: expected a list of strings, got a string" },
	{ SERVICE("check { http = \"x\" }"),
	    "service.check: Invalid check: Interval must be > 0 for Script, HTTP, H2PING, or TCP checks" },
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char want[600];

		if (helper_load_file("a.hcl", bad[i].text) != NULL)
			fail_msg("accepted: %s", bad[i].text);
		snprintf(want, sizeof(want), "failed to parse %s: 1 error occurred:\n\t* %s (line 1)", helper_path("a.hcl"), bad[i].error);
		assert_string_equal(helper_error, want);
	}
}

/* A start refuses scripts that nobody has allowed; validate does not ask. */
static void
test_scripts(void **state)
{
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	const char *path = helper_path("s.hcl");

	(void)state;
	assert_null(helper_load_file("s.hcl", SERVICE("check { args = [\"true\"] interval = \"1s\" }")));
	assert_memory_equal(helper_error, "Failed to register service \"web\": Scripts are disabled on this agent; to enable, configure "
	    "'enable_script_checks' or 'enable_local_script_checks' to true", 130);
	assert_null(helper_load_file("s.hcl", CHECK("args = [\"true\"] interval = \"1s\"")));
	assert_memory_equal(helper_error, "Failed to register check \"c\": Scripts are disabled", 50);
	helper_write("s.hcl", CHECK("args = [\"true\"] interval = \"1s\"") " data_dir = \"/nowhere\" bind_addr = \"127.0.0.1\"");
	assert_int_equal(config_validate(&path, 1, NULL, &err), 0);
	buf_release(&err);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_good),
	cmocka_unit_test(test_bad),
	cmocka_unit_test(test_scripts),
};

HELPER_MAIN(tests)
