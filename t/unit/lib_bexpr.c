/* lib_bexpr.c - filter expressions: what matches, what is refused and how it is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/bexpr.h"
#include "lib/records.h"

static struct str tags[] = { { "v1", 2 }, { "rails", 5 } };
static struct strpair meta[] = { { { "a-b", 3 }, { "dash", 4 } }, { { "empty", 5 }, { "", 0 } }, { { "zone", 4 }, { "east", 4 } } };
static struct str lan = { "lan", 3 };
static struct service_address lan_address = { { "10.1.1.1", 8 }, 8080 };
static struct health_check checks[] = {
	{ .check_id = { "c1", 2 }, .status = { "passing", 7 } }, { .check_id = { "c2", 2 }, .status = { "warning", 7 } },
};
static const struct health_entry entry = {
	.node = { .node = { "n1", 2 }, .address = { "10.0.0.1", 8 }, .meta = { meta, 3 } },
	.service = { .id = { "web-1", 5 }, .service = { "web", 3 }, .tags = { tags, 2 }, .port = 80, .enable_tag_override = true,
		.tagged_addresses = { &lan, &lan_address, 1 }, .weights = { 1, 2 } },
	.checks = { checks, 2 },
};

static void
test_matches(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = {
		{ "Node.Node == n1", true },
		{ "Node.Node==n1", true },
		{ "Node.Node == \"n1\"", true },
		{ "Node.Node == `n1`", true },
		{ "Node.Node != n1", false },
		{ "Node.Node == N1", false },
		{ "  ( Node.Node == n1 )  ", true },
		{ "Service.Port == 80", true },
		{ "Service.Port != 80", false },
		{ "Service.Port == 81", false },
		{ "Service.EnableTagOverride == true", true },
		{ "Service.EnableTagOverride != true", false },
		{ "Service.EnableTagOverride == false", false },
		{ "v1 in Service.Tags", true },
		{ "\"v1\" in Service.Tags", true },
		{ "v2 in Service.Tags", false },
		{ "v2 not in Service.Tags", true },
		{ "Service.Tags contains rails", true },
		{ "Service.Tags not contains rails", false },
		{ "Service.Tags is empty", false },
		{ "Service.Tags is not empty", true },
		{ "Service.Kind is empty", true },
		{ "Service.Meta is empty", true },
		{ "zone in Node.Meta", true },
		{ "Node.Meta contains none", false },
		{ "Node.Meta.zone == east", true },
		{ "Node.Meta[\"zone\"] == east", true },
		{ "Node.Meta[\"a-b\"] == dash", true },
		{ "Node.Meta.empty is empty", true },
		/* An absent key: what denies holds. */
		{ "Node.Meta.none == x", false },
		{ "Node.Meta.none != x", true },
		{ "Node.Meta.none is empty", true },
		{ "Node.Meta.none is not empty", false },
		{ "x in Node.Meta.none", false },
		{ "x not in Node.Meta.none", true },
		{ "Node.Meta.none matches \".*\"", false },
		{ "Node.Meta.zone not matches \"^e.*t$\"", false },
		{ "Node.Meta.zone matches \"as\"", true },
		{ "0.0 in Node.Address", true },
		{ "Node.Address contains \"0.0.0\"", true },
		{ "Service.TaggedAddresses.lan.Address == \"10.1.1.1\"", true },
		{ "Service.TaggedAddresses.lan.Port == 8080", true },
		{ "Service.TaggedAddresses.wan.Port == 8080", false },
		{ "Service.TaggedAddresses contains lan", true },
		/* Through a list one element that matches is enough. */
		{ "Checks.Status == warning", true },
		{ "Checks.Status == critical", false },
		{ "Checks.Status != passing", true },
		{ "not Checks.Status == critical", true },
		{ "Checks is not empty", true },
		{ "Service.Weights.Warning == 2", true },
		/* and binds tighter than or; not binds tightest. */
		{ "Node.Node == n1 or Node.Node == x and Node.Node == y", true },
		{ "(Node.Node == n1 or Node.Node == x) and Node.Node == y", false },
		{ "not Node.Node == x and Node.Node == n1", true },
		{ "not not Node.Node == n1", true },
		{ "not (Node.Node == n1)", false },
		{ "not(Node.Node == x)", true },
		{ "Node.Node==x or Service.Service==web", true },
	};
	struct arena a = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[256] = "";
		struct bexpr *e = NULL;

		if (bexpr_parse(str_from(cases[i].text), &rec_health_entry, &a, &e, err, sizeof(err)) < 0)
			fail_msg("%s: %s", cases[i].text, err);
		if (bexpr_match(e, &entry) != cases[i].want)
			fail_msg("%s: not %d", cases[i].text, cases[i].want);
		bexpr_free(e);
	}
	arena_release(&a);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "Foo == 1", "Selector \"Foo\" is not valid" },
		{ "node.node == 1", "Selector \"node.node\" is not valid" },
		{ "Node == 1", "Selector \"Node\" is not valid" },
		{ "Node.Foo == 1", "Selector \"Node.Foo\" is not valid" },
		{ "Node.Node.x == 1", "Selector \"Node.Node.x\" is not valid" },
		{ "Node.CreateIndex == 1", "Selector \"Node.CreateIndex\" is not valid" },
		{ "Checks.Definition == 1", "Selector \"Checks.Definition\" is not valid" },
		{ "Service.Proxy is empty", "Selector \"Service.Proxy\" is not valid" },
		{ "Service.Tags == x", "Invalid match operator \"Equal\" for selector \"Service.Tags\"" },
		{ "Service.Port matches x", "Invalid match operator \"Matches\" for selector \"Service.Port\"" },
		{ "Service.Port is empty", "Invalid match operator \"Is Empty\" for selector \"Service.Port\"" },
		{ "Service.Port == abc", "Failed to convert \"abc\" to a number" },
		{ "Service.EnableTagOverride == 2", "Failed to convert \"2\" to a boolean" },
		{ "Node.Node matches \"(\"", "Failed to compile regular expression: missing closing )" },
		{ "", "1:1 (0): no match found" },
		{ "Node.Node", "1:10 (9): no match found" },
		{ "Node.Node == ", "1:14 (13): no match found" },
		{ "Node.Node == n1 and", "1:20 (19): no match found" },
		{ "Node.Node == n1 xor Node.Node == n1", "1:17 (16): no match found" },
		{ "Node.Node ==\n\"n1", "2:4 (16): no match found" },
		{ "(Node.Node == n1", "1:17 (16): no match found" },
		{ "Node.Node == n1)", "1:16 (15): no match found" },
		{ "Node.Meta[\"x == 1", "1:18 (17): no match found" },
		{ "Node.Meta[\"x\"", "1:14 (13): no match found" },
		{ "\"a\" == \"b\"", "1:11 (10): no match found" },
		{ "Node.Node is", "1:13 (12): no match found" },
	};
	struct arena a = ARENA_INIT(1 << 20);
	char deep[BEXPR_TEXT_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[256] = "";
		struct bexpr *e = NULL;

		assert_int_equal(bexpr_parse(str_from(cases[i].text), &rec_health_entry, &a, &e, err, sizeof(err)), -EINVAL);
		assert_string_equal(err, cases[i].error);
	}
	for (int close = 0; close < 2; close++) {
		char err[256] = "";
		struct bexpr *e = NULL;
		size_t n = close ? sizeof(deep) - 1 : 1000;

		memset(deep, '(', n);
		assert_int_equal(bexpr_parse((struct str){ deep, n }, &rec_health_entry, &a, &e, err, sizeof(err)), -EINVAL);
	}
	arena_release(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_matches), cmocka_unit_test(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
