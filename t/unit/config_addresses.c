/* config_addresses.c - addresses: templates, what is advertised, listeners and their collisions. */
#include "t/unit/config_helper.h"

static const struct {
	const char *text, *path, *json;
} good[] = {
	{ "", "client_addr", "[\"127.0.0.1\"]" },
	{ "client_addr = \"127.0.0.1 ::1\"", "client_addr", "[\"127.0.0.1\",\"::1\"]" },
	{ "client_addr = \"127.0.0.1 ::1\"", "addresses.dns", "[\"127.0.0.1\",\"::1\"]" },
	{ "client_addr = \"0.0.0.0\" addresses { http = \"unix:///a/b 127.0.0.1\" }", "addresses.http",
	    "[\"unix:///a/b\",\"127.0.0.1\"]" },
	{ "client_addr = \"0.0.0.0\" addresses { http = \"127.0.0.1\" }", "addresses.dns", "[\"0.0.0.0\"]" },
	{ "bind_addr = \"10.1.2.3\"", "advertise_addr", "\"10.1.2.3\"" },
	{ "bind_addr = \"[::1]\"", "bind_addr", "\"::1\"" },
	{ "bind_addr = \"[FD00:0:0::00A]\"", "advertise_addr", "\"fd00::a\"" },
	{ "client_addr = \"127.0.0.1 0:0::1\"", "client_addr", "[\"127.0.0.1\",\"::1\"]" },
	{ "bind_addr = \"10.1.2.3\"", "serf_wan", "\"10.1.2.3\"" },
	{ "bind_addr = \"10.1.2.3\" serf_lan = \"10.1.2.4\"", "serf_lan", "\"10.1.2.4\"" },
	{ "bind_addr = \"0.0.0.0\" advertise_addr = \"192.0.2.1\"", "advertise_addr_wan", "\"192.0.2.1\"" },
	{ "bind_addr = \"0.0.0.0\" advertise_addr_ipv4 = \"192.0.2.1\"", "advertise_addr", "\"192.0.2.1\"" },
	{ "advertise_addr = \"192.0.2.1\" advertise_addr_wan = \"2001:db8::1\"", "tagged_addresses",
	    "{\"lan\":\"192.0.2.1\",\"lan_ipv4\":\"192.0.2.1\",\"wan\":\"2001:db8::1\",\"wan_ipv6\":\"2001:db8::1\"}" },
	{ "advertise_addr = \"192.0.2.1\" advertise_addr_ipv6 = \"2001:db8::1\" tagged_addresses { x = \"y\" }", "tagged_addresses",
	    "{\"x\":\"y\",\"lan\":\"192.0.2.1\",\"lan_ipv4\":\"192.0.2.1\",\"lan_ipv6\":\"2001:db8::1\",\"wan\":\"192.0.2.1\","
	    "\"wan_ipv4\":\"192.0.2.1\"}" },
	{ "bind_addr = \"{{ GetInterfaceIP \\\"lo\\\" }}\"", "bind_addr", "\"127.0.0.1\"" },
	{ "bind_addr = \"{{GetInterfaceIP `lo`}}\"", "bind_addr", "\"127.0.0.1\"" },
	{ "client_addr = \"{{ GetInterfaceIP \\\"lo\\\" }} 10.0.0.1\"", "client_addr", "[\"127.0.0.1\",\"10.0.0.1\"]" },
	{ "ports { http = 8600 } addresses { http = \"127.0.0.2\" }", "ports.http", "8600" },
	{ "server = false ports { server = 8301 }", "ports.server", "8301" },
	{ "ports { http = -1 dns = -1 }", "ports.dns", "-1" },
	{ "", "recursors", "[]" },
	{ "recursors = [\"10.0.0.1\", \"10.0.0.2:5353\", \"[::1]\", \"[FD00::1]:54\", \"fd00:0::2\"]", "recursors",
	    "[\"10.0.0.1\",\"10.0.0.2:5353\",\"::1\",\"[fd00::1]:54\",\"fd00::2\"]" },
	{ "recursors = [\"{{ GetInterfaceIP \\\"lo\\\" }}:5353 10.0.0.3\"]", "recursors", "[\"127.0.0.1:5353\",\"10.0.0.3\"]" },
	{ "dns_config { recursor_strategy = \"random\" }", "dns_config.recursor_strategy", "\"random\"" },
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

static const struct {
	const char *text, *error;
} bad[] = {
	{ "bind_addr = \"\"", "bind_addr cannot be empty" },
	{ "recursors = [\"dns.example\"]", "recursors: invalid ip address: dns.example" },
	{ "recursors = [\"1.2.3.4\", \"1.2.3\"]", "recursors: invalid ip address: 1.2.3" },
	{ "recursors = [\"1.2.3.4:0\"]", "recursors: invalid port: 1.2.3.4:0" },
	{ "recursors = [\"1.2.3.4:65536\"]", "recursors: invalid port: 1.2.3.4:65536" },
	{ "recursors = [\"[::1]:x\"]", "recursors: invalid port: [::1]:x" },
	{ "recursors = [\"[::1\"]", "recursors: invalid ip address: [::1" },
	{ "recursors = [\"[::1]x\"]", "recursors: invalid ip address: [::1]x" },
	{ "recursors = [\"0.0.0.0\"]", "recursors: DNS recursor address cannot be 0.0.0.0, :: or [::]: 0.0.0.0" },
	{ "recursors = [\"[::]:53\"]", "recursors: DNS recursor address cannot be 0.0.0.0, :: or [::]: [::]:53" },
	{ "recursors = [\" \"]", "recursors: an empty address: \" \"" },
	{ "recursors = [\"1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9\", \"2.1.1.1 2.1.1.2 2.1.1.3 "
	  "2.1.1.4 2.1.1.5 2.1.1.6 2.1.1.7 2.1.1.8\"]", "recursors: more than 16 addresses: 2.1.1.8" },
	{ "dns_config { recursor_strategy = \"sideways\" }",
	    "dns_config.recursor_strategy: invalid strategy: sideways, must be \"sequential\" or \"random\"" },
	{ "dns_config { recursor_timeout = \"-1s\" }", "dns_config.recursor_timeout cannot be -1s. Must be greater than or equal to zero" },
	{ "dns_config { max_stale = \"-1s\" }", "dns_config.max_stale cannot be -1s. Must be greater than or equal to zero" },
	{ "dns_config { node_ttl = \"-1s\" }", "dns_config.node_ttl cannot be -1s. Must be greater than or equal to zero" },
	{ "check_update_interval = \"-1s\"", "check_update_interval cannot be -1s. Must be greater than or equal to zero" },
	{ "bind_addr = \"localhost\"", "bind_addr: invalid ip address: localhost" },
	{ "bind_addr = \"1.2.3.4 1.2.3.5\"", "bind_addr cannot contain multiple addresses. Please specify only one" },
	{ "bind_addr = \"unix:///x\"", "bind_addr cannot be a unix socket" },
	{ "advertise_addr = \"0.0.0.0\"", "Advertise address cannot be 0.0.0.0, :: or [::]" },
	{ "advertise_addr_wan = \"::\"", "Advertise WAN address cannot be 0.0.0.0, :: or [::]" },
	{ "advertise_addr_ipv4 = \"::1\"", "advertise_addr_ipv4: ::1 is no IPv4 address" },
	{ "advertise_addr_ipv6 = \"1.2.3.4\"", "advertise_addr_ipv6: 1.2.3.4 is no IPv6 address" },
	{ "client_addr = \"x\"", "client_addr: invalid ip address: x" },
	{ "client_addr = \" \"", "client_addr cannot be empty" },
	{ "client_addr = \"\"", "client_addr cannot be empty" },
	{ "client_addr = \"unix:///x\"", "client_addr cannot be a unix socket" },
	{ "addresses { dns = \"unix:///x\" }", "addresses.dns cannot be a unix socket" },
	{ "addresses { http = \"unix://x\" }", "addresses.http: a unix:// address needs an absolute path" },
	{ "bind_addr = \"{{ GetAllInterfaces | attr \\\"address\\\" }}\"", "bind_addr: template '{{ GetAllInterfaces | attr "
	    "\"address\" }}' is not supported: only GetPrivateIP, GetPublicIP and GetInterfaceIP \"NAME\", or their plurals, are" },
	{ "bind_addr = \"{{ GetInterfaceIP \\\"none0\\\" }}\"",
	    "bind_addr: no address found for template '{{ GetInterfaceIP \"none0\" }}'" },
	{ "bind_addr = \"{{ GetPrivateIP\"", "bind_addr: a template is not closed by '}}'" },
	{ "ports { http = 8600 }", "HTTP address 127.0.0.1:8600 already configured for DNS" },
	{ "client_addr = \"0.0.0.0\" ports { server = 8500 }", "RPC Advertise address 127.0.0.1:8500 already configured for HTTP" },
	{ "ports { serf_wan = 8301 }", "Serf Advertise WAN address 127.0.0.1:8301 already configured for Serf Advertise LAN" },
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

/* bind_addr is any address: the machine decides, in one of three ways. */
static void
test_detect(void **state)
{
	struct config_addrs found;
	struct config *c = helper_load((const char *const[]){ "-dev", "-bind=0.0.0.0", NULL });

	(void)state;
	assert_int_equal(config_interface_addrs(ADDRS_PRIVATE_V4, "", &found), 0);
	if (found.n == 1) {
		assert_non_null(c);
		assert_string_equal(json_object_get_string(config_get(config_tree(c), "advertise_addr")), found.v[0]);
	} else if (found.n == 0) {
		assert_null(c);
		assert_string_equal(helper_error, "No private IPv4 address found");
	} else {
		assert_null(c);
		assert_string_equal(helper_error, "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or "
		    "'advertise'.");
	}
	config_free(c);
	assert_int_equal(config_interface_addrs(ADDRS_OF_INTERFACE, "lo", &found), 0);
	assert_true(found.n >= 1);
	assert_string_equal(found.v[0], "127.0.0.1");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_good),
	cmocka_unit_test(test_bad),
	cmocka_unit_test(test_detect),
};

HELPER_MAIN(tests)
