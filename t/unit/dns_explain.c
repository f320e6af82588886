/* dns_explain.c - why DNS returns an instance or does not: each reason, by the rules that answers are made by. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dnsd/explain.h"
#include "t/unit/dns_world.h"

#define NODE(addr) "{\"Node\":{\"Node\":\"n1\",\"Address\":\"" addr "\"}"
#define WEB ",\"Service\":{\"Service\":\"web\",\"Port\":80,\"Tags\":[\"V1\",\"eu\"]}"
#define AT(addr) ",\"Service\":{\"Service\":\"web\",\"Address\":\"" addr "\"}"
#define CHECKS(list) ",\"Checks\":[{\"CheckID\":\"serfHealth\",\"Name\":\"Serf Health Status\",\"Status\":\"passing\"}" list "]}"
#define OF_NODE(id, status) ",{\"CheckID\":\"" id "\",\"Name\":\"" id "\",\"Status\":\"" status "\"}"
#define OF_SERVICE(id, status) ",{\"CheckID\":\"" id "\",\"Name\":\"" id "\",\"Status\":\"" status "\",\"ServiceID\":\"web\",\"ServiceName\":\"web\"}"
#define WITH_NOTES(id, notes, more) ",{\"CheckID\":\"" id "\",\"Status\":\"critical\",\"Notes\":\"" notes "\"" more "}"

/* An entry as raftd tells it. */
static void
encode(const char *json, struct buf *out)
{
	struct json_object *j = json_tokener_parse(json);
	struct arena a = ARENA_INIT(1 * MiB);
	struct mp_w w = mp_w_init(out);
	struct health_entry e;
	char err[256];

	memset(&e, 0, sizeof(e));
	assert_non_null(j);
	assert_int_equal(record_from_json(&rec_health_entry, j, &e, &a, true, err, sizeof(err)), 0);
	record_encode(&rec_health_entry, &e, RECORD_PUBLIC, &w);
	assert_int_equal(w.err, 0);
	arena_release(&a);
	json_object_put(j);
}

static int
judge(const struct settings *s, const char *json, struct str tag, char why[EXPLAIN_WHY_MAX])
{
	struct arena a = ARENA_INIT(EXPLAIN_ARENA_MAX);
	struct buf b = BUF_INIT(1 * MiB);
	int rc;

	encode(json, &b);
	rc = explain_judge(s, (struct str){ (const char *)b.data, b.len }, tag, &a, why);
	buf_release(&b);
	arena_release(&a);
	return rc;
}

static void
test_judge(void **state)
{
	static const char only_passing[] = "\"dns_config\":{\"only_passing\":true}", no_combining[] = "\"dns_config\":{\"combine_tags\":false}";
	static const struct {
		const char *settings, *entry, *tag;
		int want;
		const char *why;
	} cases[] = {
		{ "", NODE("10.0.0.1") WEB CHECKS(""), "", 1, "IPv4 only: not by AAAA" },
		{ "", NODE("fd00::1") WEB CHECKS(""), "", 1, "IPv6 only: not by A" },
		{ "", NODE("10.0.0.1") AT("fd00::2") CHECKS(""), "", 1, "IPv6 only: not by A" },
		{ "", NODE("") WEB CHECKS(""), "", 0, "neither it nor its node has an address" },
		{ "", NODE("") AT("10.0.0.2") CHECKS(""), "", 1, "IPv4 only: not by AAAA" },
		{ "", NODE("10.0.0.1") AT("db.example.org") CHECKS(""), "", 1, "its address is a host name, told as CNAME" },
		{ "", "{\"Node\":{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"TaggedAddresses\":{\"lan_ipv4\":\"10.0.0.1\",\"lan_ipv6\":\"fd00::1\"}}" WEB CHECKS(""),
		    "", 1, "" },
		/* Health: the worst check is the one to tell. */
		{ "", NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("slow", "warning")), "", 1, "IPv4 only: not by AAAA" },
		{ only_passing, NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("slow", "warning")), "", 0,
		    "check \"slow\" of the instance is warning, and dns_config.only_passing is set" },
		{ only_passing, NODE("10.0.0.1") WEB CHECKS(OF_NODE("disk", "warning")), "", 0,
		    "check \"disk\" of the node is warning, and dns_config.only_passing is set" },
		{ only_passing, NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("fine", "passing")), "", 1, "IPv4 only: not by AAAA" },
		{ only_passing, NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("slow", "warning") OF_NODE("disk", "critical")), "", 0, "check \"disk\" of the node is critical" },
		{ "", NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("up", "critical") OF_SERVICE("slow", "warning")), "", 0, "check \"up\" of the instance is critical" },
		{ "", NODE("10.0.0.1") WEB CHECKS(WITH_NOTES("nameless", "", "")), "", 0, "check \"nameless\" of the node is critical" },
		{ "", NODE("10.0.0.1") WEB CHECKS(WITH_NOTES("_node_maintenance", "kernel", "")), "", 0, "the node is in maintenance: kernel" },
		{ "", NODE("10.0.0.1") WEB CHECKS(WITH_NOTES("_service_maintenance:web", "disk", ",\"ServiceID\":\"web\"")), "", 0, "the instance is in maintenance: disk" },
		/* What ails it comes before its tags, and those before its addresses. */
		{ "", NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("up", "critical")), "none", 0, "check \"up\" of the instance is critical" },
		{ "", NODE("") WEB CHECKS(""), "none", 0, "it does not have the tag \"none\"" },
		{ "", NODE("10.0.0.1") WEB CHECKS(""), "v1", 1, "IPv4 only: not by AAAA" },
		{ "", NODE("10.0.0.1") WEB CHECKS(""), "EU.v1", 1, "IPv4 only: not by AAAA" },
		{ "", NODE("10.0.0.1") WEB CHECKS(""), "eu.v2", 0, "it does not have the tag \"eu.v2\"" },
		{ "", NODE("10.0.0.1") WEB CHECKS(""), "eu.", 1, "IPv4 only: not by AAAA" },
		{ "", NODE("10.0.0.1") WEB CHECKS(""), ".eu", 0, "it does not have the tag \".eu\"" },
		{ no_combining, NODE("10.0.0.1") WEB CHECKS(""), "eu.v1", 0, "it does not have the tag \"eu.v1\"" },
	};
	char why[EXPLAIN_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings *s = world_settings(cases[i].settings);
		int rc = judge(s, cases[i].entry, str_from(cases[i].tag), why);

		if (rc != cases[i].want || strcmp(why, cases[i].why) != 0)
			fail_msg("case %zu: %d \"%s\", not %d \"%s\"", i, rc, why, cases[i].want, cases[i].why);
		settings_free(s);
	}
}

/* Texts of others are cut, never what is behind them. */
static void
test_long(void **state)
{
	struct settings *s = world_settings("");
	char text[9001], json[20000], why[EXPLAIN_WHY_MAX];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)snprintf(json, sizeof(json), NODE("10.0.0.1") WEB ",\"Checks\":[{\"CheckID\":\"a\",\"Name\":\"%s\",\"Status\":\"critical\"}]}", text);
	assert_int_equal(judge(s, json, STR(""), why), 0);
	assert_string_equal(why + strlen(why) - strlen("x\" of the node is critical"), "x\" of the node is critical");
	(void)snprintf(json, sizeof(json), NODE("10.0.0.1") WEB ",\"Checks\":[{\"CheckID\":\"_node_maintenance\",\"Notes\":\"%s\",\"Status\":\"critical\"}]}", text);
	assert_int_equal(judge(s, json, STR(""), why), 0);
	assert_int_equal(strncmp(why, "the node is in maintenance: xxx", 31), 0);
	assert_int_equal(judge(s, NODE("10.0.0.1") WEB CHECKS(""), str_from(text), why), 0);
	assert_string_equal(why + strlen(why) - 2, "x\"");
	settings_free(s);
}

static void
test_broken(void **state)
{
	struct settings *s = world_settings("");
	struct buf b = BUF_INIT(1 * MiB);
	struct arena small = ARENA_INIT(16);
	char why[EXPLAIN_WHY_MAX];

	(void)state;
	encode(NODE("10.0.0.1") WEB CHECKS(OF_SERVICE("up", "critical")), &b);
	for (size_t n = 0; n < b.len; n++) {
		struct arena a = ARENA_INIT(EXPLAIN_ARENA_MAX);

		assert_true(explain_judge(s, (struct str){ (const char *)b.data, n }, STR(""), &a, why) < 0);
		arena_release(&a);
	}
	assert_true(explain_judge(s, (struct str){ (const char *)b.data, b.len }, STR(""), &small, why) < 0);
	arena_release(&small);
	buf_release(&b);
	settings_free(s);
}

#define X63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void
test_name(void **state)
{
	static const char more_than_one[] = "DNS cannot say the name: it is more than one label, or none";
	static const struct {
		const char *settings, *name, *why;	/* NULL: it can be said */
	} cases[] = {
		{ "", "web", NULL },
		{ "", "Web-2", NULL },
		{ "", "service", NULL },
		{ "", "node", NULL },
		{ "", X63, NULL },
		{ "", X63 "x", "DNS cannot say the name: a label has at most 63 bytes" },
		{ "", "", more_than_one },
		{ "", "a.b", more_than_one },
		{ "", ".", more_than_one },
		{ "\"domain\":\"" X63 "." X63 "." X63 "\"", "web", NULL },
		{ "\"domain\":\"" X63 "." X63 "." X63 "\"", X63, "DNS cannot say the name: with the domain it is longer than 255 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings *s = world_settings(cases[i].settings);
		char why[EXPLAIN_WHY_MAX] = "";
		bool ok = explain_name(s, str_from(cases[i].name), why);

		if (ok != (cases[i].why == NULL) || strcmp(why, ok ? "" : cases[i].why) != 0)
			fail_msg("case %zu: %d \"%s\"", i, ok, why);
		settings_free(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_judge), cmocka_unit_test(test_long), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_name) };

	return cmocka_run_group_tests_name("dns_explain", tests, NULL, NULL);
}
