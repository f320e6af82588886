/* config_flags.c - the flags of `consulctl agent`. */
#include "t/unit/config_helper.h"

static const struct {
	const char *args[6];
	const char *path, *json;
} good[] = {
	{ { "-node", "x" }, "node_name", "\"x\"" },
	{ { "--node=x=y" }, "node_name", "\"x=y\"" },
	{ { "-node=" , "-node=y" }, "node_name", "\"y\"" },
	{ { "-server=false" }, "server", "false" },
	{ { "-server" }, "server", "true" },
	{ { "-enable-script-checks=T" }, "enable_script_checks", "true" },
	{ { "-http-port", "1" }, "ports.http", "1" },
	{ { "-http-port=0x10" }, "ports.http", "16" },
	{ { "-dns-port=-1" }, "ports.dns", "-1" },
	{ { "-dns-port", "-1", "-server-port=2" }, "ports.server", "2" },
	{ { "-serf-lan-port=3" }, "ports.serf_lan", "3" },
	{ { "-serf-wan-port=3" }, "ports.serf_wan", "3" },
	{ { "-client=0.0.0.0 ::1" }, "client_addr", "[\"0.0.0.0\",\"::1\"]" },
	{ { "-allow-write-http-from=a", "-allow-write-http-from", "b=c" }, "http_config.allow_write_http_from", "[\"a\",\"b=c\"]" },
	{ { "-retry-join=a.example:7301", "-retry-join=10.0.0.1" }, "retry_join", "[\"a.example:7301\",\"10.0.0.1\"]" },
	{ { "-join=10.0.0.1:8301" }, "start_join", "[\"10.0.0.1:8301\"]" },
	{ { "-retry-interval=5s", "-retry-max=3" }, "retry_interval", "5000" },
	{ { "-retry-join-wan=x" }, "retry_join_wan", "[\"x\"]" },
	{ { "-join-wan=x", "-join-wan=y" }, "start_join_wan", "[\"x\",\"y\"]" },
	{ { "-retry-interval-wan=2s", "-retry-max-wan=3" }, "retry_interval_wan", "2000" },
	{ { "-retry-interval-wan=2s", "-retry-max-wan=3" }, "retry_max_wan", "3" },
	{ { "-rejoin" }, "rejoin_after_leave", "true" },
	{ { "-encrypt=pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=" }, "encrypt", "\"pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=\"" },
	{ { "-serf-lan-allowed-cidrs=10.0.0.0/8", "-serf-lan-allowed-cidrs", "::1/128" }, "serf_lan_allowed_cidrs",
	    "[\"10.0.0.0/8\",\"::1/128\"]" },
	{ { "-serf-wan-allowed-cidrs=10.0.0.0/8" }, "serf_wan_allowed_cidrs", "[\"10.0.0.0/8\"]" },
	{ { "-disable-keyring-file=false" }, "disable_keyring_file", "false" },
	{ { "-default-query-time=1m" }, "default_query_time", "60000" },
	{ { "-node-meta=a:b:c", "-node-meta", "d" }, "node_meta", "{\"a\":\"b:c\",\"d\":\"\"}" },
	{ { "-advertise", "192.0.2.1" }, "advertise_addr", "\"192.0.2.1\"" },
	{ { "-serf-lan-bind=127.0.0.2" }, "serf_lan", "\"127.0.0.2\"" },
	{ { "-log-level=trace", "-log-json" }, "log_json", "true" },
	{ { "-check_output_max_size=1" }, "check_output_max_size", "1" },
	{ { "-hcl=node_name = \"a\"", "-hcl", "node_name = \"b\"" }, "node_name", "\"b\"" },
	{ { "-node=x", "--" }, "node_name", "\"x\"" },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const char *args[8] = { "-dev" };
		struct config *c;

		memcpy(args + 1, good[i].args, sizeof(good[i].args));
		c = helper_load(args);
		if (c == NULL)
			fail_msg("%s: %s", args[1], helper_error);
		assert_string_equal(helper_json(c, good[i].path), good[i].json);
		config_free(c);
	}
}

static const struct {
	const char *args[4];
	const char *error;
} bad[] = {
	{ { "-bogus" }, "flag provided but not defined: -bogus" },
	{ { "--bogus=1" }, "flag provided but not defined: -bogus" },
	{ { "-" }, "Unexpected extra arguments: [-]" },
	{ { "x" }, "Unexpected extra arguments: [x]" },
	{ { "-dev", "x", "y" }, "Unexpected extra arguments: [x ...]" },
	{ { "-node" }, "flag needs an argument: -node" },
	{ { "-server=maybe" }, "invalid boolean value \"maybe\" for -server: parse error" },
	{ { "-dev=maybe" }, "invalid boolean value \"maybe\" for -dev: parse error" },
	{ { "-http-port=x" }, "invalid value \"x\" for flag -http-port: parse error" },
	{ { "-http-port=" }, "invalid value \"\" for flag -http-port: parse error" },
	{ { "-config-format=xml" }, "-config-format must be either 'hcl' or 'json'" },
	{ { "-dev", "-http-port=70000" }, "failed to parse the command line: 1 error occurred:\n\t* ports.http: invalid port 70000: "
	    "the highest is 65535" },
	{ { "-dev", "-retry-interval=1" }, "failed to parse the command line: 1 error occurred:\n\t* retry_interval: invalid "
	    "duration: time: invalid duration \"1\"" },
	{ { "-dev", "-encrypt=x" }, "encrypt has invalid key: it must be 16, 24 or 32 bytes in base64, as 'consulctl keygen' makes them" },
	{ { "-dev", "-hcl=x = " }, "failed to parse -hcl flag 1: line 1, column 5: expected a value, found the end of the text" },
	{ { "-dev", "-bootstrap-expect=3" }, "'bootstrap_expect > 0' not allowed in dev mode" },
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (helper_load(bad[i].args) != NULL)
			fail_msg("accepted: %s", bad[i].args[0]);
		assert_string_equal(helper_error, bad[i].error);
	}
}

static void
test_help(void **state)
{
	static const char *const words[] = { "-h", "--help", "-help" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		char *argv[] = { (char *)"agent", (char *)"-dev", (char *)words[i], NULL };
		struct buf err = BUF_INIT(CONFIG_ERR_MAX);
		struct config_args *a = NULL;

		assert_int_equal(config_args_parse(3, argv, &a, &err), 1);
		assert_null(a);
		buf_release(&err);
	}
}

/* Each flag's key exists, and the names are sorted for the usage. */
static void
test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_nflags; i++) {
		const struct config_flag *f = &config_flags[i];

		if (f->path != NULL) {
			const struct config_key *k = config_key_find(str_from(f->path));

			if (k == NULL)
				fail_msg("flag %s: no key %s", f->name, f->path);
			assert_int_equal(k->type == KT_BOOL, f->value == NULL);
		}
		if (i > 0)
			assert_true(strcmp(config_flags[i - 1].name, f->name) < 0);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_good),
	cmocka_unit_test(test_bad),
	cmocka_unit_test(test_help),
	cmocka_unit_test(test_table),
};

HELPER_MAIN(tests)
