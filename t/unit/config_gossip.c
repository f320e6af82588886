/* config_gossip.c - the keys of gossip and joining, and watches: what is refused, what is derived, who gets it. */
#include "lib/cfg.h"
#include "t/unit/config_helper.h"

#define KEY32 "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
#define KEY_WRONG "encrypt has invalid key: it must be 16, 24 or 32 bytes in base64, as 'consulctl keygen' makes them"

static const struct {
	const char *text, *error;
} bad[] = {
	{ "encrypt = \"x\"", KEY_WRONG },
	{ "encrypt = \"pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s\"", KEY_WRONG },
	{ "encrypt = \"AAAAAAAAAAAAAAAAAAAAAA=\"", KEY_WRONG },
	{ "encrypt = \"AAAAAAAAAAAAAAAAAAAA\"", KEY_WRONG },
	{ "encrypt = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", KEY_WRONG },
	{ "encrypt = \"not base64 at all, not it\"", KEY_WRONG },
	{ "serf_lan_allowed_cidrs = [\"10.0.0.0/8\", \"10.0.0.0\"]", "serf_lan_allowed_cidrs: invalid cidr: 10.0.0.0" },
	{ "serf_wan_allowed_cidrs = [\"10.0.0.0/33\"]", "serf_wan_allowed_cidrs: invalid cidr: 10.0.0.0/33" },
	{ "serf_lan_allowed_cidrs = [\"fd00::/129\"]", "serf_lan_allowed_cidrs: invalid cidr: fd00::/129" },
	{ "serf_lan_allowed_cidrs = [\"10.0.0.0/ 8\"]", "serf_lan_allowed_cidrs: invalid cidr: 10.0.0.0/ 8" },
	{ "serf_lan_allowed_cidrs = [\"10.0.0.0/8x\"]", "serf_lan_allowed_cidrs: invalid cidr: 10.0.0.0/8x" },
	{ "serf_lan_allowed_cidrs = [\"10.0.0.0/000000000008\"]", "serf_lan_allowed_cidrs: invalid cidr: 10.0.0.0/000000000008" },
	{ "serf_lan_allowed_cidrs = [\"x/8\"]", "serf_lan_allowed_cidrs: invalid cidr: x/8" },
	{ "retry_join = [\"provider=aws tag_key=x\"]", "retry_join: asking a cloud provider for addresses (provider=...) is not "
	    "supported: give addresses or names" },
	{ "retry_join_wan = [\"a\", \"provider=gce\"]", "retry_join_wan: asking a cloud provider for addresses (provider=...) is not "
	    "supported: give addresses or names" },
	{ "start_join = [\" \"]", "start_join: an address is empty" },
	{ "start_join = [\"{{ GetNothing }}\"]", NULL },
	{ "server = false start_join_wan = [\"10.0.0.1\"]", "start_join_wan: only a server can join other datacenters" },
	{ "advertise_reconnect_timeout = \"5m\"", "advertise_reconnect_timeout can only be used on a client" },
	{ "advertise_reconnect_timeout = \"-1s\"", "advertise_reconnect_timeout cannot be -1s. Must be greater than or equal to zero" },
	{ "reconnect_timeout = \"-1s\"", "reconnect_timeout cannot be -1s. Must be greater than or equal to zero" },
	{ "retry_max_wan = -1", "retry_max_wan cannot be -1. Must be greater than or equal to zero" },
	{ "ports { serf_lan = -1 }", "ports.serf_lan cannot be off: every node takes part in its datacenter's gossip" },
	{ "gossip_lan { gossip_nodes = 0 }", "gossip_lan.gossip_nodes cannot be 0. Must be between 1 and 64" },
	{ "gossip_lan { gossip_interval = \"0s\" }", "gossip_lan.gossip_interval cannot be 0s. Must be between 1ms and 1h0m0s" },
	{ "gossip_wan { probe_interval = \"2h\" }", "gossip_wan.probe_interval cannot be 2h0m0s. Must be between 1ms and 1h0m0s" },
	{ "gossip_wan { probe_timeout = \"-1s\" }", "gossip_wan.probe_timeout cannot be -1s. Must be between 1ms and 1h0m0s" },
	{ "gossip_lan { retransmit_mult = 0 }", "gossip_lan.retransmit_mult cannot be 0. Must be between 1 and 100" },
	{ "gossip_lan { suspicion_mult = 101 }", "gossip_lan.suspicion_mult cannot be 101. Must be between 1 and 100" },
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char want[600];

		if (helper_load_file("a.hcl", bad[i].text) != NULL)
			fail_msg("accepted: %s", bad[i].text);
		snprintf(want, sizeof(want), "%s (%s, line 1)", bad[i].error != NULL ? bad[i].error : "", helper_path("a.hcl"));
		if (bad[i].error != NULL)
			assert_string_equal(helper_error, want);
		else
			assert_non_null(strstr(helper_error, want));
	}
}

static const struct {
	const char *text, *path, *json;
} good[] = {
	{ "", "encrypt", "\"\"" },
	{ "encrypt = \"" KEY32 "\"", "encrypt", "\"" KEY32 "\"" },
	{ "encrypt = \"AAAAAAAAAAAAAAAAAAAAAA==\"", "encrypt", "\"AAAAAAAAAAAAAAAAAAAAAA==\"" },
	{ "encrypt = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "encrypt", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"" },
	{ "", "encrypt_verify_incoming", "true" },
	{ "encrypt_verify_outgoing = false", "encrypt_verify_outgoing", "false" },
	{ "serf_lan_allowed_cidrs = [\"10.0.0.0/8\", \"fd00::/8\", \"0.0.0.0/0\"]", "serf_lan_allowed_cidrs",
	    "[\"10.0.0.0/8\",\"fd00::/8\",\"0.0.0.0/0\"]" },
	{ "retry_join = [\"a.example\", \"10.0.0.1:7301\", \"[::1]:1\"]", "retry_join", "[\"a.example\",\"10.0.0.1:7301\",\"[::1]:1\"]" },
	{ "start_join = [\"{{ GetInterfaceIP \\\"lo\\\" }}:8301\"]", "start_join", "[\"127.0.0.1:8301\"]" },
	{ "reconnect_timeout = \"0s\"", "reconnect_timeout", "259200000" },
	{ "reconnect_timeout_wan = \"24h\"", "reconnect_timeout_wan", "86400000" },
	{ "server = false advertise_reconnect_timeout = \"5m\"", "advertise_reconnect_timeout", "300000" },
	{ "server = false retry_join_wan = [\"x\"]", "retry_join_wan", "[]" },
	{ "server = false", "leave_on_terminate", "true" },
	{ "server = false", "skip_leave_on_interrupt", "false" },
	{ "", "leave_on_terminate", "false" },
	{ "", "skip_leave_on_interrupt", "true" },
	{ "", "disable_keyring_file", "true" },
	{ "", "disable_remote_exec", "true" },
	{ "", "performance.leave_drain_time", "5000" },
	/* -dev gossips fast, unless told otherwise. */
	{ "", "gossip_lan.gossip_interval", "100" },
	{ "", "gossip_lan.gossip_nodes", "3" },
	{ "", "gossip_lan.probe_interval", "100" },
	{ "", "gossip_lan.probe_timeout", "100" },
	{ "", "gossip_lan.suspicion_mult", "3" },
	{ "", "gossip_wan.probe_interval", "100" },
	{ "", "gossip_wan.suspicion_mult", "3" },
	{ "gossip_lan { probe_interval = \"2s\" }", "gossip_lan.probe_interval", "2000" },
	{ "gossip_lan { probe_interval = \"2s\" }", "gossip_lan.probe_timeout", "100" },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct config *c = helper_load_file("a.hcl", good[i].text);

		if (c == NULL)
			fail_msg("%s: %s", good[i].text, helper_error);
		if (strcmp(helper_json(c, good[i].path), good[i].json) != 0)
			fail_msg("%s: %s is %s", good[i].text, good[i].path, helper_json(c, good[i].path));
		config_free(c);
	}
}

/* Without -dev. */
static void
test_defaults(void **state)
{
	static const struct {
		const char *path, *json;
	} defaults[] = {
		{ "gossip_lan.gossip_interval", "200" }, { "gossip_lan.probe_interval", "1000" }, { "gossip_lan.probe_timeout", "500" },
		{ "gossip_lan.suspicion_mult", "4" }, { "gossip_wan.gossip_interval", "500" }, { "gossip_wan.gossip_nodes", "3" },
		{ "gossip_wan.probe_interval", "5000" }, { "gossip_wan.suspicion_mult", "6" }, { "retry_interval", "30000" },
		{ "disable_keyring_file", "false" }, { "reconnect_timeout", "259200000" },
	};
	struct config *c = helper_load((const char *const[]){ "-bind=127.0.0.1", "-data-dir", helper_path("d"), NULL });

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		assert_string_equal(helper_json(c, defaults[i].path), defaults[i].json);
	config_free(c);
}

/* The gossip's key is gossipd's alone, and nobody shows it. */
static void
test_key_is_secret(void **state)
{
	static const char *const daemons[] = { "raftd", "gossipd", "httpd", "dnsd", "checkd" };
	struct config *c = helper_load_file("a.hcl", "encrypt = \"" KEY32 "\" watches { type = \"nodes\" args = [\"x\"] token = \"s3cret\" }");
	const struct config_notice *n;

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_LEN(daemons); i++) {
		struct json_object *s = config_slice(c, daemons[i], "/run/x");
		const char *text = json_object_to_json_string_ext(s, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

		assert_int_equal(strstr(text, KEY32) != NULL, strcmp(daemons[i], "gossipd") == 0);
		assert_int_equal(strstr(text, "s3cret") != NULL, strcmp(daemons[i], "checkd") == 0);
		if (strcmp(daemons[i], "httpd") == 0)
			assert_string_equal(cfg_str(s, "debug_config.encrypt", ""), "hidden");
		json_object_put(s);
	}
	for (size_t i = 0; (n = config_notice(c, i)) != NULL; i++)
		assert_null(strstr(n->text, KEY32));
	config_free(c);
	c = helper_load_file("a.hcl", "");
	assert_non_null(c);
	struct json_object *s = config_slice(c, "httpd", "/run/x");
	assert_string_equal(cfg_str(s, "debug_config.encrypt", "?"), "");
	json_object_put(s);
	config_free(c);
	assert_null(helper_load_file("a.hcl", "encrypt = \"" KEY32 "x\""));
	assert_null(strstr(helper_error, KEY32));
}

static void
test_slices(void **state)
{
	static const char *const gossip[] = {
		"encrypt", "encrypt_verify_incoming", "encrypt_verify_outgoing", "disable_keyring_file", "start_join", "start_join_wan",
		"retry_join", "retry_join_wan", "retry_interval", "retry_interval_wan", "retry_max", "retry_max_wan", "rejoin_after_leave",
		"reconnect_timeout", "reconnect_timeout_wan", "advertise_reconnect_timeout", "gossip_lan.gossip_interval",
		"gossip_wan.suspicion_mult", "serf_lan_allowed_cidrs", "serf_wan_allowed_cidrs", "disable_coordinates", "advertise_addr",
		"advertise_addr_wan", "serf_lan", "serf_wan", "ports.serf_lan", "ports.serf_wan", "ports.server", "data_dir",
	};
	static const char *const check[] = { "watches", "disable_remote_exec", "disable_coordinates" };
	static const char *const not_raft[] = { "start_join", "retry_join", "retry_interval", "retry_max", "encrypt" };
	struct config *c = helper_load_file("a.hcl", "");
	struct json_object *g, *k, *r;

	(void)state;
	assert_non_null(c);
	g = config_slice(c, "gossipd", "/run/x");
	k = config_slice(c, "checkd", "/run/x");
	r = config_slice(c, "raftd", "/run/x");
	for (size_t i = 0; i < ARRAY_LEN(gossip); i++)
		if (cfg_get(g, gossip[i]) == NULL)
			fail_msg("gossipd lacks %s", gossip[i]);
	for (size_t i = 0; i < ARRAY_LEN(check); i++)
		if (cfg_get(k, check[i]) == NULL)
			fail_msg("checkd lacks %s", check[i]);
	for (size_t i = 0; i < ARRAY_LEN(not_raft); i++)
		assert_null(cfg_get(r, not_raft[i]));
	json_object_put(g);
	json_object_put(k);
	json_object_put(r);
	config_free(c);
}

/* ---- watches */

static const struct {
	const char *watch, *error;
} bad_watches[] = {
	{ "args = [\"x\"]", "Watch type must be specified" },
	{ "type = \"bogus\" args = [\"x\"]", "Unsupported watch type: bogus" },
	{ "type = \"connect_leaf\" args = [\"x\"]", "Watch type connect_leaf is not allowed in agent config" },
	{ "type = 7 args = [\"x\"]", "watches[0].type: expected a string, got a number" },
	{ "type = \"key\" args = [\"x\"]", "Must specify a single key to watch" },
	{ "type = \"keyprefix\" args = [\"x\"]", "Must specify a single prefix to watch" },
	{ "type = \"service\" args = [\"x\"]", "Must specify a single service to watch" },
	{ "type = \"checks\" service = \"a\" state = \"any\" args = [\"x\"]", "Cannot specify service and state" },
	{ "type = \"nodes\" key = \"k\" args = [\"x\"]", "Invalid parameters: [key]" },
	{ "type = \"nodes\" bogus = \"k\" args = [\"x\"]", "Invalid parameters: [watches[0].bogus]" },
	{ "type = \"nodes\"", "Must define a watch handler" },
	{ "type = \"nodes\" args = []", "Must define a watch handler" },
	{ "type = \"nodes\" args = \"x\"", "watches[0].args: Watch args must be a list of strings" },
	{ "type = \"nodes\" args = [7]", "watches[0].args[0]: expected a string" },
	{ "type = \"nodes\" args = [\"x\"] handler = \"y\"", "Only one watch handler allowed" },
	{ "type = \"nodes\" args = [\"x\"] handler_type = \"http\"", "Only one watch handler allowed" },
	{ "type = \"nodes\" handler_type = \"ftp\"", "Handler type 'ftp' not recognized" },
	{ "type = \"nodes\" handler_type = \"http\"", "Handler type 'http' requires 'http_handler_config' to be set" },
	{ "type = \"nodes\" handler_type = \"http\" http_handler_config { method = \"PUT\" }", "Requires 'path' to be set" },
	{ "type = \"nodes\" handler_type = \"http\" http_handler_config { path = \"http://x\" timeout = \"soon\" }",
	    "invalid duration: time: invalid duration \"soon\"" },
	{ "type = \"nodes\" args = [\"x\"] http_handler_config { path = \"http://x\" }", "Invalid parameters: [http_handler_config]" },
	{ "type = \"nodes\" handler_type = \"http\" http_handler_config { path = \"http://x\" header = \"a\" }", "expected an object" },
};

static void
test_bad_watches(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_watches); i++) {
		char text[600];

		snprintf(text, sizeof(text), "watches = [{ %s }]", bad_watches[i].watch);
		if (helper_load_file("a.hcl", text) != NULL)
			fail_msg("accepted: %s", text);
		if (strstr(helper_error, bad_watches[i].error) == NULL || strstr(helper_error, "1 error occurred") == NULL ||
		    strstr(helper_error, "(line 1)") == NULL || strstr(helper_error, "a.hcl") == NULL)
			fail_msg("%s: %s", text, helper_error);
	}
}

static void
test_good_watches(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{ "watches = [{ type = \"key\" key = \"a\" args = [\"x\", \"y z\"] stale = true datacenter = \"dc2\" token = \"t\" }]",
		    "[{\"type\":\"key\",\"key\":\"a\",\"args\":[\"x\",\"y z\"],\"stale\":true,\"datacenter\":\"dc2\",\"token\":\"t\","
		    "\"handler_type\":\"script\"}]" },
		{ "watches { type = \"keyprefix\" prefix = \"a/\" handler = \"cat\" }",
		    "[{\"type\":\"keyprefix\",\"prefix\":\"a/\",\"handler\":\"cat\",\"handler_type\":\"script\"}]" },
		{ "watches = [{ type = \"service\" service = \"web\" tag = \"a\" passingonly = true args = [\"x\"] }]",
		    "[{\"type\":\"service\",\"service\":\"web\",\"tag\":[\"a\"],\"passingonly\":true,\"args\":[\"x\"],\"handler_type\":\"script\"}]" },
		{ "watches = [{ type = \"service\" service = \"web\" tag = [\"a\", \"b\"] args = [\"x\"] }, { type = \"event\" args = [\"y\"] }]",
		    "[{\"type\":\"service\",\"service\":\"web\",\"tag\":[\"a\",\"b\"],\"args\":[\"x\"],\"handler_type\":\"script\"},"
		    "{\"type\":\"event\",\"args\":[\"y\"],\"handler_type\":\"script\"}]" },
		{ "watches = [{ type = \"event\" name = \"e\" handler_type = \"http\" http_handler_config { path = \"http://x/\" "
		    "method = \"PUT\" timeout = \"5s\" tls_skip_verify = true header { X-A = [\"1\", \"2\"] X-B = \"3\" } } }]",
		    "[{\"type\":\"event\",\"name\":\"e\",\"handler_type\":\"http\",\"http_handler_config\":{\"path\":\"http://x/\","
		    "\"method\":\"PUT\",\"timeout\":\"5s\",\"tls_skip_verify\":true,\"header\":{\"X-A\":[\"1\",\"2\"],\"X-B\":[\"3\"]}}}]" },
		{ "watches = []", "[]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct config *c = helper_load_file("a.hcl", cases[i].text);

		if (c == NULL)
			fail_msg("%s: %s", cases[i].text, helper_error);
		assert_string_equal(helper_json(c, "watches"), cases[i].json);
		config_free(c);
	}
}

/* Those of all files. */
static void
test_watches_add_up(void **state)
{
	struct config *c;

	(void)state;
	helper_write("a.hcl", "watches { type = \"nodes\" args = [\"a\"] }");
	helper_write("b.json", "{\"watches\": [{\"type\": \"services\", \"args\": [\"b\"]}]}");
	c = helper_load((const char *const[]){ "-dev", "-config-file", helper_path("a.hcl"), "-config-file", helper_path("b.json"), NULL });
	assert_non_null(c);
	assert_int_equal(json_object_array_length(config_get(config_tree(c), "watches")), 2);
	config_free(c);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_bad),
	cmocka_unit_test(test_good),
	cmocka_unit_test(test_defaults),
	cmocka_unit_test(test_key_is_secret),
	cmocka_unit_test(test_slices),
	cmocka_unit_test(test_bad_watches),
	cmocka_unit_test(test_good_watches),
	cmocka_unit_test(test_watches_add_up),
};

HELPER_MAIN(tests)
