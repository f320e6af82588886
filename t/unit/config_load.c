/* config_load.c - the sources of a configuration: which files, their order, how they are merged, what is said of bad ones. */
#include <sys/stat.h>

#include "t/unit/config_helper.h"

/* The error of a file, with its directory cut off. */
static const char *
without_dir(const char *s)
{
	static char out[CONFIG_ERR_MAX];
	size_t n = strlen(helper_dir), used = 0;

	for (; *s != 0 && used < sizeof(out) - 1; s++) {
		if (strncmp(s, helper_dir, n) == 0)
			s += n;
		if (*s != 0)
			out[used++] = *s;
	}
	out[used] = 0;
	return out;
}

static void
test_bad_files(void **state)
{
	static const struct {
		const char *name, *text, *error;
	} cases[] = {
		{ "a.json", "{\"bogus\": 1}", "failed to parse /a.json: 1 error occurred:\n\t* invalid config key bogus (line 1)" },
		{ "a.json", "{\n\"bogus\": null}", "failed to parse /a.json: 1 error occurred:\n\t* invalid config key bogus (line 1)" },
		{ "a.json", "{\n\n\"ports\": {\"htpt\": 1}}",
		    "failed to parse /a.json: 1 error occurred:\n\t* invalid config key ports.htpt (line 3)" },
		{ "a.hcl", "bogus = 1\nports {\n http = \"x\"\n}\nserver = 1",
		    "failed to parse /a.hcl: 3 errors occurred:\n\t* invalid config key bogus (line 1)\n\t* ports.http: expected a "
		    "number, got a string (line 3)\n\t* server: expected true or false, got a number (line 5)" },
		{ "a.hcl", "retry_interval = \"10\"",
		    "failed to parse /a.hcl: 1 error occurred:\n\t* retry_interval: invalid duration: time: invalid duration \"10\" (line 1)" },
		{ "a.hcl", "retry_interval = 10", "failed to parse /a.hcl: 1 error occurred:\n\t* retry_interval: expected a duration "
		    "in quotes, as \"10s\", got a number (line 1)" },
		{ "a.json", "{\"dns_config\": {\"a_record_limit\": 1.5}}",
		    "failed to parse /a.json: 1 error occurred:\n\t* dns_config.a_record_limit: expected a whole number, got 1.5 (line 1)" },
		{ "a.hcl", "dns_config { service_ttl { \"*\" = \"-1s\" } }",
		    "failed to parse /a.hcl: 1 error occurred:\n\t* dns_config.service_ttl.*: must not be negative (line 1)" },
		{ "a.hcl", "ports = 1", "failed to parse /a.hcl: 1 error occurred:\n\t* ports: expected an object (line 1)" },
		{ "a.hcl", "\"ports.http\" = 1", "failed to parse /a.hcl: 1 error occurred:\n\t* invalid config key ports.http (line 1)" },
		{ "a.hcl", "ports = { http = 70000 }", "failed to parse /a.hcl: 1 error occurred:\n\t* ports.http: invalid port "
		    "70000: the highest is 65535 (line 1)" },
		{ "a.json", "{\"node_name\": \"a\\u0000b\"}",
		    "failed to parse /a.json: 1 error occurred:\n\t* node_name: the string holds a NUL byte (line 1)" },
		{ "a.json", "{\"recursors\": \"x\"}",
		    "failed to parse /a.json: 1 error occurred:\n\t* recursors: expected a list of strings, got a string (line 1)" },
		{ "a.json", "{\"recursors\": [1]}",
		    "failed to parse /a.json: 1 error occurred:\n\t* recursors[0]: expected a string (line 1)" },
		{ "a.json", "{\"node_meta\": {\"a\": 1}}",
		    "failed to parse /a.json: 1 error occurred:\n\t* node_meta.a: expected a string, got a number (line 1)" },
		{ "a.json", "{\"datacenter\": \"x\"", "failed to parse /a.json: line 1, column 19: unexpected end of the JSON text" },
		{ "a.json", "{\n \"datacenter\": x}", "failed to parse /a.json: line 2, column 16: unexpected character" },
		{ "a.json", "[1]", "failed to parse /a.json: line 1, column 4: the JSON value is no object" },
		{ "a.json", "{} x", "failed to parse /a.json: line 1, column 4: characters behind the end of the JSON value" },
		{ "a.json", "", "failed to parse /a.json: line 1, column 1: unexpected end of the JSON text" },
		{ "a.json", "{\"node_name\": \"\xff\"}", "failed to parse /a.json: line 1, column 16: not UTF-8" },
		{ "a.json", "{\n\"server\\u0000x\": true}", "failed to parse /a.json: line 2, column 1: a key holds a NUL byte" },
		{ "a.hcl", "x = \n", "failed to parse /a.hcl: line 2, column 1: expected a value, found the end of the text" },
		{ "a.hcl", "{\"bogus\": 1}", "failed to parse /a.hcl: 1 error occurred:\n\t* invalid config key bogus (line 1)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = helper_load_file(cases[i].name, cases[i].text);

		if (c != NULL)
			fail_msg("accepted: %s", cases[i].text);
		assert_string_equal(without_dir(helper_error), cases[i].error);
	}
}

static void
test_many_problems(void **state)
{
	char text[4096] = "";
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 30; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "bogus%d = 1\n", i);
	assert_null(helper_load_file("a.hcl", text));
	assert_non_null(strstr(helper_error, ": 30 errors occurred:"));
	assert_non_null(strstr(helper_error, "bogus19 (line 20)\n\t* and more"));
	assert_null(strstr(helper_error, "bogus20"));
}

/* A message is never lost because what it quotes is long. */
static void
test_long_names(void **state)
{
	char path[20000];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_null(helper_load((const char *const[]){ "-dev", "-config-file", path, NULL }));
	assert_memory_equal(helper_error, "config: Open failed on xxx", 26);
	assert_null(helper_load((const char *const[]){ "-dev", path, NULL }));
	assert_memory_equal(helper_error, "Unexpected extra arguments: [xxx", 31);
	assert_null(helper_load((const char *const[]){ "-dev", "-bind", path, NULL }));
	assert_memory_equal(helper_error, "bind_addr: ", 11);
}

static void
test_paths(void **state)
{
	struct config *c;

	(void)state;
	assert_null(helper_load((const char *const[]){ "-dev", "-config-file", helper_path("none.hcl"), NULL }));
	assert_string_equal(without_dir(helper_error), "config: Open failed on /none.hcl. No such file or directory");
	assert_int_equal(mkdir(helper_path("d"), 0700), 0);
	assert_int_equal(mkdir(helper_path("d/sub.json"), 0700), 0);
	helper_write("d/b.json", "{\"node_name\": \"b\", \"http_config\": {\"block_endpoints\": [\"2.2.2.2\"]}}");
	helper_write("d/a.hcl", "node_name = \"a\"\nhttp_config { block_endpoints = [\"1.1.1.1\"] }");
	helper_write("d/c.txt", "not looked at");
	assert_int_equal(symlink("c.txt", helper_path("d/z.txt")), 0);
	c = helper_load((const char *const[]){ "-dev", "-config-dir", helper_path("d"), NULL });
	assert_non_null(c);
	assert_string_equal(helper_json(c, "node_name"), "\"b\"");
	assert_string_equal(helper_json(c, "http_config.block_endpoints"), "[\"1.1.1.1\",\"2.2.2.2\"]");
	assert_true(helper_has_notice(c, LOG_WARN, "d/c.txt, extension must be .hcl or .json, or config format must be set"));
	config_free(c);
	assert_null(helper_load((const char *const[]){ "-dev", "-config-dir", helper_path("d"), "-config-format=hcl", NULL }));
	assert_non_null(strstr(helper_error, "d/c.txt: line 1, column 14: expected"));
	helper_write("plain", "node_name = \"p\"");
	c = helper_load((const char *const[]){ "-dev", "-config-format", "hcl", "-config-file", helper_path("plain"), NULL });
	assert_non_null(c);
	assert_string_equal(helper_json(c, "node_name"), "\"p\"");
	config_free(c);
}

/* defaults < -dev < list flags < files as given < scalar flags < -hcl */
static void
test_order(void **state)
{
	struct config *c;

	(void)state;
	helper_write("one.hcl", "log_level = \"warn\"\nhttp_config { allow_write_http_from = [\"10.0.0.0/8\"] block_endpoints = [\"1.1.1.1\"] }\nnode_meta { a = \"1\" b = \"1\" }\n"
	    "domain = \"one\"\nnode_name = \"one\"");
	helper_write("two.json", "{\"http_config\": {\"block_endpoints\": [\"2.2.2.2\"]}, \"node_meta\": {\"b\": \"2\", \"c\": \"2\"}, \"domain\": \"two\", "
	    "\"node_name\": \"two\", \"dns_config\": {\"service_ttl\": {\"*\": \"5s\"}}}");
	c = helper_load((const char *const[]){ "-dev", "-config-file", helper_path("two.json"), "-config-file",
	    helper_path("one.hcl"), "-allow-write-http-from=::/0", "--node", "flag", "-node-meta=b:3", "-hcl", "node_meta { d = \"4\" }",
	    "-hcl=domain = \"last\"\ndns_config { service_ttl { web = \"1s\" } }", NULL });
	assert_non_null(c);
	assert_string_equal(helper_json(c, "log_level"), "\"warn\"");
	assert_string_equal(helper_json(c, "http_config.block_endpoints"), "[\"2.2.2.2\",\"1.1.1.1\"]");
	assert_string_equal(helper_json(c, "http_config.allow_write_http_from"), "[\"::/0\",\"10.0.0.0/8\"]");
	assert_string_equal(helper_json(c, "node_meta"), "{\"b\":\"3\",\"c\":\"2\",\"a\":\"1\",\"d\":\"4\"}");
	assert_string_equal(helper_json(c, "domain"), "\"last.\"");
	assert_string_equal(helper_json(c, "node_name"), "\"flag\"");
	assert_string_equal(helper_json(c, "dns_config.service_ttl"), "{\"*\":5000,\"web\":1000}");
	assert_string_equal(helper_json(c, "bind_addr"), "\"127.0.0.1\"");
	assert_string_equal(helper_json(c, "session_ttl_min"), "10000");
	config_free(c);
}

/* Names are found whatever their case; null is as good as absent. */
static void
test_case_and_null(void **state)
{
	struct config *c = helper_load_file("a.json", "{\"Node_Name\": \"x\", \"DNS_CONFIG\": {\"Node_TTL\": \"1s\"}, "
	    "\"domain\": null, \"ports\": null, \"addresses\": {\"http\": null}, \"telemetry\": [], \"autopilot\": [{\"min_quorum\": 1}]}");

	(void)state;
	assert_non_null(c);
	assert_string_equal(helper_json(c, "node_name"), "\"x\"");
	assert_string_equal(helper_json(c, "dns_config.node_ttl"), "1000");
	assert_string_equal(helper_json(c, "domain"), "\"consul.\"");
	assert_string_equal(helper_json(c, "ports.http"), "8500");
	config_free(c);
}

/* What Consul's own test tools write, as far as it means nothing here, is told and passed over. */
static void
test_ignored(void **state)
{
	static const char *const keys[] = {
		"segments", "connect.enabled", "connect.ca_config", "disable_update_check", "ports.grpc", "telemetry.retry_failed_connection",
		"ui_config.enabled", "cache.entry_fetch_rate", "peering.enabled",
	};
	struct config *c = helper_load_file("a.json", "{\"segments\": null, \"connect\": {\"enabled\": true, \"ca_config\": "
	    "{\"cluster_id\": \"x\"}}, \"disable_update_check\": true, \"ports\": {\"grpc\": 8502}, \"telemetry\": "
	    "{\"retry_failed_connection\": true, \"disable_compat_1.9\": true}, \"ui\": true, "
	    "\"performance\": {\"raft_multiplier\": 1}, \"cache\": {\"entry_fetch_rate\": 0.5}, \"peering\": {\"enabled\": true}, "
	    "\"verify_incoming\": false, \"encrypt\": \"\", \"ports\": {\"https\": -1, \"grpc\": 1}}");

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		char want[100];

		snprintf(want, sizeof(want), "config key has no effect here: key=%s ", keys[i]);
		if (!helper_has_notice(c, LOG_INFO, want))
			fail_msg("no notice of %s", keys[i]);
	}
	assert_true(helper_has_notice(c, LOG_WARN, "config key is deprecated: key=ui use=ui_config.enabled"));
	assert_false(helper_has_notice(c, LOG_INFO, "performance"));
	config_free(c);
}

static void
test_refused(void **state)
{
	static const char *const cases[][2] = {
		{ "verify_incoming", "verify_incoming = true" },
		{ "verify_outgoing", "verify_outgoing = true" },
		{ "verify_server_hostname", "verify_server_hostname = true" },
		{ "verify_incoming_rpc", "verify_incoming_rpc = true" },
		{ "cert_file", "cert_file = \"x.pem\"" },
		{ "key_file", "key_file = \"x.pem\"" },
		{ "ca_file", "ca_file = \"x.pem\"" },
		{ "ca_path", "ca_path = \"/x\"" },
		{ "ports.https", "ports { https = 8501 }" },
		{ "tls.defaults.verify_incoming", "tls { defaults { verify_incoming = true } }" },
		{ "tls.https.cert_file", "tls { https { cert_file = \"x\" } }" },
		{ "auto_encrypt.tls", "auto_encrypt { tls = true }" },
		{ "auto_encrypt.allow_tls", "auto_encrypt { allow_tls = true }" },
		{ "auto_config.enabled", "auto_config { enabled = true }" },
		{ "verify_incoming", "verify_incoming = true\nenable_agent_tls_for_checks = true" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char want[200];

		assert_null(helper_load_file("a.hcl", cases[i][1]));
		snprintf(want, sizeof(want), "%s is not supported yet, and a security setting is never ignored: remove it or switch "
		    "it off (/a.hcl, line 1)", cases[i][0]);
		assert_string_equal(without_dir(helper_error), want);
	}
	/* A later source may switch it off again. */
	helper_write("a.hcl", "auto_encrypt { tls = true }");
	config_free(helper_load((const char *const[]){ "-dev", "-config-file", helper_path("a.hcl"), "-hcl",
	    "auto_encrypt { tls = false }", NULL }));
	assert_string_equal(helper_error, "");
}

static void
test_large(void **state)
{
	FILE *f = fopen(helper_path("big.json"), "w");
	struct config *c;

	(void)state;
	assert_non_null(f);
	fputs("{\"services\": [", f);
	for (int i = 0; i < 5000; i++)
		fprintf(f, "%s{\"name\": \"web\", \"id\": \"web%d\", \"port\": %d}\n", i > 0 ? "," : "", i, i);
	fputs("]}", f);
	fclose(f);
	c = helper_load((const char *const[]){ "-dev", "-config-file", helper_path("big.json"), NULL });
	assert_non_null(c);
	assert_int_equal(json_object_array_length(config_get(config_tree(c), "services")), 5000);
	config_free(c);
	f = fopen(helper_path("big.json"), "w");
	assert_non_null(f);
	for (int i = 0; i < HCL_SIZE_MAX / 16 + 1; i++)
		fputs("                ", f);
	fclose(f);
	assert_null(helper_load((const char *const[]){ "-dev", "-config-file", helper_path("big.json"), NULL }));
	assert_non_null(strstr(helper_error, "larger than 8 MiB"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_bad_files),
	cmocka_unit_test(test_many_problems),
	cmocka_unit_test(test_long_names),
	cmocka_unit_test(test_paths),
	cmocka_unit_test(test_order),
	cmocka_unit_test(test_case_and_null),
	cmocka_unit_test(test_ignored),
	cmocka_unit_test(test_refused),
	cmocka_unit_test(test_large),
};

HELPER_MAIN(tests)
