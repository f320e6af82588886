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
		{ "node.node == 1", "Selector \"node\" is not valid" },
		{ "Node == 1", "Invalid match operator \"Equal\" for selector \"Node\"" },
		{ "Node.Foo.bar == 1", "Selector \"Node.Foo\" is not valid" },
		{ "Node.Meta.a.b == 1", "Selector \"Node.Meta.a.b\" is not valid" },
		{ "Service.TaggedAddresses.lan == 1", "Invalid match operator \"Equal\" for selector \"Service.TaggedAddresses.lan\"" },
		{ "Node.Foo == 1", "Selector \"Node.Foo\" is not valid" },
		{ "Node.Node.x == 1", "Selector \"Node.Node.x\" is not valid" },
		{ "Node.CreateIndex == 1", "Selector \"Node.CreateIndex\" is not valid" },
		{ "Checks.Definition == 1", "Selector \"Checks.Definition\" is not valid" },
		{ "Service.Proxy is empty", "Selector \"Service.Proxy\" is not valid" },
		{ "Service.Tags == x", "Invalid match operator \"Equal\" for selector \"Service.Tags\"" },
		{ "Service.Port matches x", "Invalid match operator \"Matches\" for selector \"Service.Port\"" },
		{ "Service.Port is empty", "Invalid match operator \"Is Empty\" for selector \"Service.Port\"" },
		{ "Service.Port == abc", "Failed to coerce value \"abc\" for selector \"Service.Port\": strconv.ParseInt: parsing \"abc\": invalid syntax" },
		{ "Service.Port == 1.5", "Failed to coerce value \"1.5\" for selector \"Service.Port\": strconv.ParseInt: parsing \"1.5\": invalid syntax" },
		{ "Service.Port == 99999999999999999999", "Failed to coerce value \"99999999999999999999\" for selector \"Service.Port\": strconv.ParseInt: "
		    "parsing \"99999999999999999999\": value out of range" },
		{ "Service.EnableTagOverride == 2", "Failed to coerce value \"2\" for selector \"Service.EnableTagOverride\": strconv.ParseBool: parsing \"2\": invalid syntax" },
		{ "Node.Node matches \"(\"", "Failed to compile regular expression \"(\": error parsing regexp: missing closing )" },
		/* Where it cannot go on, and what would be expected there, as Consul's parser tells. */
		{ "", "1:1 (0): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]" },
		{ "foo == \"12x", "1:12 (11): rule \"string\": Unterminated string literal" },
		{ "foo == `12x", "1:12 (11): rule \"string\": Unterminated string literal" },
		{ "foo == 3x", "1:9 (8): rule \"number\": Invalid number literal" },
		{ "foo[3] == abc", "1:5 (4): rule \"index\": Invalid index" },
		{ "x in foo[\"abc\"", "1:15 (14): rule \"index\": Unclosed index expression" },
		{ "foo[\"abc\" == 3", "1:11 (10): rule \"index\": Unclosed index expression" },
		{ "x in 32", "1:6 (5): rule \"match\": Invalid selector" },
		{ "32 == 32", "1:4 (3): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]" },
		{ "32 is empty", "1:4 (3): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]" },
		{ "x in foo abc", "1:10 (9): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF" },
		{ "x in foo and ", "1:14 (13): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]" },
		{ "x in foo or ", "1:13 (12): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]" },
		{ "x in foo or not ", "1:17 (16): no match found, expected: \"!=\", \"(\", \"-\", \"0\", \"==\", \"\\\"\", \"`\", \"contains\", \"in\", \"is\", "
		    "\"matches\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]" },
		{ "(foo == 4", "1:10 (9): rule \"grouping\": Unmatched parentheses" },
		{ "Node.Node == n1 xor Node.Node == n1", "1:17 (16): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF" },
		{ "Node.Node ==\n\"n1", "2:4 (16): rule \"string\": Unterminated string literal" },
	};
	struct arena a = ARENA_INIT(1 << 20);
	char deep[BEXPR_TEXT_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[1024] = "";
		struct bexpr *e = NULL;

		assert_int_equal(bexpr_parse(str_from(cases[i].text), &rec_health_entry, &a, &e, err, sizeof(err)), -EINVAL);
		if (strcmp(err, cases[i].error) != 0)
			fail_msg("%s: %s, not %s", cases[i].text, err, cases[i].error);
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
