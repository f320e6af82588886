/* config_slices.c - what each daemon gets, the node's id, and what a reload may change. */
#include <sys/stat.h>

#include "lib/cfg.h"
#include "t/unit/config_helper.h"

static const char *const daemons[] = { "raftd", "gossipd", "httpd", "dnsd", "checkd" };

static void
test_common(void **state)
{
	struct config *c = helper_load((const char *const[]){ "-dev", "-node=n1", NULL });
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);

	(void)state;
	assert_non_null(c);
	assert_int_equal(config_identify(c, NULL, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(daemons); i++) {
		struct json_object *s = config_slice(c, daemons[i], "/run/x");

		assert_non_null(s);
		assert_string_equal(cfg_str(s, "run_dir", ""), "/run/x");
		assert_string_equal(cfg_str(s, "node_name", ""), "n1");
		assert_string_equal(cfg_str(s, "datacenter", ""), "dc1");
		assert_string_equal(cfg_str(s, "bind_addr", ""), "127.0.0.1");
		assert_string_equal(cfg_str(s, "advertise_addr", ""), "127.0.0.1");
		assert_string_equal(cfg_str(s, "version", ""), "1.10.12");
		assert_string_equal(cfg_str(s, "log_level", ""), "DEBUG");
		assert_int_equal(strlen(cfg_str(s, "node_id", "")), 36);
		assert_true(cfg_bool(s, "dev_mode", false));
		assert_int_equal(cfg_int(s, "ports.server", 0), 8300);
		assert_true(strlen(json_object_to_json_string_ext(s, JSON_C_TO_STRING_PLAIN)) < 6000);
		json_object_put(s);
	}
	assert_null(config_slice(c, "otherd", "/run/x"));
	config_free(c);
}

/* Definitions, with their tokens, are checkd's alone; so are the others' keys theirs. */
static void
test_apart(void **state)
{
	struct config *c = helper_load_file("a.hcl", "service { name = \"web\" token = \"s3cret\" }");

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_LEN(daemons); i++) {
		struct json_object *s = config_slice(c, daemons[i], "/run/x");
		bool has = strstr(json_object_to_json_string(s), "s3cret") != NULL;

		assert_int_equal(has, strcmp(daemons[i], "checkd") == 0);
		assert_int_equal(cfg_get(s, "dns_config") != NULL, strcmp(daemons[i], "dnsd") == 0);
		assert_int_equal(cfg_get(s, "debug_config") != NULL, strcmp(daemons[i], "httpd") == 0);
		json_object_put(s);
	}
	config_free(c);
}

static const char *
identify(const char *const *args, const struct config *prev, char id[40])
{
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	struct config *c = helper_load(args);
	int rc;

	assert_non_null(c);
	rc = config_identify(c, prev, &err);
	helper_take_error(&err);
	snprintf(id, 40, "%s", rc == 0 ? cfg_str(config_tree(c), "node_id", "") : "");
	config_free(c);
	return id;
}

static void
test_node_id(void **state)
{
	const char *args[] = { "-server", "-bind=127.0.0.1", "-data-dir", NULL, NULL };
	char deep[512], deeper[512], first[40], again[40], given[40];
	struct stat st;

	(void)state;
	snprintf(deep, sizeof(deep), "%s", helper_path("deep"));
	snprintf(deeper, sizeof(deeper), "%s", helper_path("deep/er"));
	args[3] = deep;
	assert_int_equal(strlen(identify(args, NULL, first)), 36);
	assert_int_equal(stat(helper_path("deep/node-id"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 36);
	assert_string_equal(identify(args, NULL, again), first);
	identify((const char *const[]){ "-server", "-bind=127.0.0.1", "-data-dir", deep,
	    "-node-id=11111111-2222-3333-4444-555555555555", NULL }, NULL, given);
	assert_string_equal(given, "11111111-2222-3333-4444-555555555555");
	helper_write("deep/node-id", "  rubbish\n");
	assert_string_equal(identify(args, NULL, again), "");
	assert_non_null(strstr(helper_error, "deep/node-id holds no node id: correct it, or remove it to get a new one"));
	helper_write("deep/node-id", "ABCDEF00-0000-4000-8000-000000000000\n");
	assert_string_equal(identify(args, NULL, again), "abcdef00-0000-4000-8000-000000000000");
	args[3] = deeper;
	assert_int_equal(strlen(identify(args, NULL, again)), 36);
	unlink(helper_path("deep/er/node-id"));
	rmdir(helper_path("deep/er"));
}

static void
test_dev_id(void **state)
{
	const char *const args[] = { "-dev", NULL };
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	struct config *c = helper_load(args);
	char again[40], other[40];

	(void)state;
	assert_non_null(c);
	assert_int_equal(config_identify(c, NULL, &err), 0);
	assert_string_equal(identify(args, c, again), cfg_str(config_tree(c), "node_id", ""));
	assert_string_not_equal(identify(args, NULL, other), again);
	config_free(c);
}

static void
test_reload(void **state)
{
	static const struct {
		const char *next, *keys;
	} cases[] = {
		{ "", "" },
		{ "log_level = \"info\" services = [{ name = \"x\" }] dns_config { node_ttl = \"5s\" } node_meta { a = \"b\" }", "" },
		{ "limits { http_max_conns_per_client = 7 }", "" },
		{ "connect { enabled = true }", "" },
		{ "advertise_addr_ipv6 = \"2001:db8::1\"", "advertise_addr, advertise_addr_ipv6, advertise_addr_wan, tagged_addresses" },
		{ "domain = \"x\"", "domain" },
		{ "ports { http = 1 dns = 2 } node_name = \"other\"", "node_name, ports.dns, ports.http" },
		{ "http_config { response_headers { a = \"b\" } }", "http_config.response_headers" },
	};
	struct config *running = helper_load_file("a.hcl", "node_name = \"n\"");

	(void)state;
	assert_non_null(running);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf keys = BUF_INIT(4096), none = BUF_INIT(4096);
		struct config *next;
		char text[500];

		snprintf(text, sizeof(text), "node_name = \"n\" %s", cases[i].next);
		next = helper_load_file("a.hcl", text);
		assert_non_null(next);
		assert_int_equal(config_diff(running, next, &keys), 0);
		assert_string_equal(buf_cstr(&keys), cases[i].keys);
		assert_string_equal(cfg_str(config_tree(next), "node_name", ""), "n");
		assert_string_equal(cfg_str(config_tree(next), "domain", ""), "consul.");
		/* What needs a restart has kept its value. */
		assert_int_equal(config_diff(running, next, &none), 0);
		assert_int_equal(none.len, 0);
		buf_release(&keys);
		buf_release(&none);
		config_free(next);
	}
	config_free(running);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_common),
	cmocka_unit_test(test_apart),
	cmocka_unit_test(test_node_id),
	cmocka_unit_test(test_dev_id),
	cmocka_unit_test(test_reload),
};

HELPER_MAIN(tests)
