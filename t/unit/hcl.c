/* hcl.c - HCL texts and the trees, errors and lines that they give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/hcl.h"
#include "lib/utf8.h"

static const struct {
	const char *text, *json;
} good[] = {
	{ "", "{}" },
	{ "# only\n// comments /*\n/* here\n */", "{}" },
	{ "a = 1", "{\"a\":1}" },
	{ "a = 1 b = 2", "{\"a\":1,\"b\":2}" },
	{ "a = -17\nb = 0x1F\nc = -0x10\nd = 0755\ne = 0", "{\"a\":-17,\"b\":31,\"c\":-16,\"d\":493,\"e\":0}" },
	{ "a = 1.5\nb = 1e3\nc = -2.5E-1", "{\"a\":1.5,\"b\":1000.0,\"c\":-0.25}" },
	{ "a = 9223372036854775807 b = -9223372036854775808", "{\"a\":9223372036854775807,\"b\":-9223372036854775808}" },
	{ "a = true b = false", "{\"a\":true,\"b\":false}" },
	{ "a = \"x\" \"b c\" = \"y\"", "{\"a\":\"x\",\"b c\":\"y\"}" },
	{ "a = \"\\n\\t\\\"\\\\\\u00e9\\U0001F600\\x41\\101\"", "{\"a\":\"\\n\\t\\\"\\\\\xc3\xa9\xf0\x9f\x98\x80" "AA\"}" },
	{ "a = \"{{ GetInterfaceIP \\\"eth0\\\" }}\"", "{\"a\":\"{{ GetInterfaceIP \\\"eth0\\\" }}\"}" },
	{ "a = \"x${ f(\"y\") }z\"", "{\"a\":\"x${ f(\\\"y\\\") }z\"}" },
	{ "a = [1, \"b\", true, [2], { c = 3 }]", "{\"a\":[1,\"b\",true,[2],{\"c\":3}]}" },
	{ "a = [\n 1, # one\n 2, // two\n]", "{\"a\":[1,2]}" },
	{ "a = []", "{\"a\":[]}" },
	{ "a { b = 1 }", "{\"a\":{\"b\":1}}" },
	{ "a = { b = 1, c = 2 }", "{\"a\":{\"b\":1,\"c\":2}}" },
	{ "a { b { c {} } }", "{\"a\":{\"b\":{\"c\":{}}}}" },
	{ "a {} a { b = 1 } a {}", "{\"a\":[{},{\"b\":1},{}]}" },
	{ "a \"x\" { n = 1 } a \"y\" { n = 2 }", "{\"a\":[{\"x\":{\"n\":1}},{\"y\":{\"n\":2}}]}" },
	{ "a b \"c\" { n = 1 }", "{\"a\":{\"b\":{\"c\":{\"n\":1}}}}" },
	{ "a = 1\na = 2", "{\"a\":2}" },
	{ "a = <<EOF\none\n two\nEOF\nb = 1", "{\"a\":\"one\\n two\\n\",\"b\":1}" },
	{ "a = <<-EOF\n\t\tone\n\t\t two\n\t\tEOF\n", "{\"a\":\"one\\n two\\n\"}" },
	{ "a = <<-EOF\n  one\n two\n  EOF", "{\"a\":\"  one\\n two\\n\"}" },
	{ "a = <<E\nE", "{\"a\":\"\"}" },
	{ "a = <<E\r\nx\r\nE\r\n", "{\"a\":\"x\\r\\n\"}" },
	{ "a-b.c_d = 1", "{\"a-b.c_d\":1}" },
	{ "\xc3\xa9 = 1", "{\"\xc3\xa9\":1}" },
};

static const struct {
	const char *text, *error;
} bad[] = {
	{ "a", "1:2: expected '=' or '{', found the end of the text" },
	{ "a =", "1:4: expected a value, found the end of the text" },
	{ "a = b", "1:5: 'b' is no value: strings need quotes" },
	{ "a = null", "1:5: 'null' is no value: strings need quotes" },
	{ "\n\n  a = ]", "3:7: expected a value, found ']'" },
	{ "}", "1:1: '}' closes nothing" },
	{ "a {\n b = 1", "2:7: an object is not closed: '}' is missing" },
	{ "= 1", "1:1: expected a key, found '='" },
	{ "a = \"x", "1:7: a string is not closed" },
	{ "a = \"x\n\"", "1:7: a string is not closed in its line" },
	{ "a = \"\\q\"", "1:7: unknown escape sequence" },
	{ "a = \"\\u12\"", "1:10: the escape sequence needs 2 more digits" },
	{ "a = \"\\ud800\"", "1:12: the escape sequence is not a character" },
	{ "a = \"\\u0000\"", "1:12: the escape sequence is not a character" },
	{ "a = [1 2]", "1:8: expected ',' or ']', found '2'" },
	{ "a = [1,", "1:8: expected a value, found the end of the text" },
	{ "a = 99999999999999999999", "1:25: number '99999999999999999999' is out of range" },
	{ "a = 1e999", "1:10: number '1e999' is out of range" },
	{ "a = 1.2.3", "1:5: '1.2.3' is no value: strings need quotes" },
	{ "a = 0x", "1:5: '0x' is no value: strings need quotes" },
	{ "a = 08", "1:5: '08' is no value: strings need quotes" },
	{ "a = --1", "1:5: '--1' is no value: strings need quotes" },
	{ "a \"b\" = 1", "1:7: labels need an object, not '='" },
	{ "a = <<EOF\nx\n", "3:1: a heredoc is not closed by a line 'EOF'" },
	{ "a = <<\nx\n", "2:1: a heredoc needs a marker, alone in its line behind '<<'" },
	{ "a = <b", "1:5: expected a value, found '<'" },
	{ "a = 1 /* x\n", "1:11: the comment that began in line 1 is not closed" },
	{ "a = \"\xff\"", "1:6: not UTF-8" },
	{ "a = 1\n\xc0\x80 = 2", "2:1: not UTF-8" },
	{ "a = \x01", "1:5: expected a value, found byte 0x01" },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct json_object *j = NULL;
		struct hcl_error e;

		if (hcl_parse(str_from(good[i].text), 1, &j, &e) < 0)
			fail_msg("%s: %u:%u: %s", good[i].text, e.line, e.column, e.text);
		assert_string_equal(json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
		    good[i].json);
		json_object_put(j);
	}
}

static void
expect_error(struct str text, const char *want)
{
	struct json_object *j = NULL;
	struct hcl_error e;
	char got[300];

	assert_int_equal(hcl_parse(text, 1, &j, &e), -EINVAL);
	assert_null(j);
	snprintf(got, sizeof(got), "%u:%u: %s", e.line, e.column, e.text);
	assert_string_equal(got, want);
}

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		expect_error(str_from(bad[i].text), bad[i].error);
	expect_error(STR("a = 1\n\0b = 2"), "2:1: a NUL byte");
}

/* Every prefix of a text is judged without a crash; ASan watches the ends. */
static void
test_prefixes(void **state)
{
	static const char text[] = "a = <<-E\n x\n E\nb \"c\" { d = [1.5e1, \"\\u00e9${\"}\"}\", true] } /* x */ # y\n\xc3\xa9 = 0x1f";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *exact = malloc(n > 0 ? n : 1);
		struct json_object *j = NULL;
		struct hcl_error e;

		assert_non_null(exact);
		memcpy(exact, text, n);
		if (hcl_parse((struct str){ exact, n }, 1, &j, &e) == 0)
			json_object_put(j);
		free(exact);
	}
}

static char *
repeat(const char *s, size_t n, size_t *ret_len)
{
	size_t len = strlen(s);
	char *text = malloc(len * n + 1);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * len, s, len);
	text[len * n] = 0;
	*ret_len = len * n;
	return text;
}

static void
test_limits(void **state)
{
	static const struct {
		const char *unit;
		size_t n;
		const char *error;
	} cases[] = {
		{ "a = [", 1, "1:6: expected a value, found the end of the text" },
		{ "a {", 200000, "1:98: nested deeper than 32" },
		{ "a ", 200000, "1:66: nested deeper than 32" },
		{ "a=1 ", 600000, "1:2097153: more than 1048576 keys and values" },
		{ "# 3456789\n", HCL_SIZE_MAX / 10 + 1, "1:1: more than 8 MiB" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len;
		char *text = repeat(cases[i].unit, cases[i].n, &len);

		expect_error((struct str){ text, len }, cases[i].error);
		free(text);
	}
}

static unsigned
line_of(struct json_object *j, const char *key)
{
	struct json_object *v = NULL;

	assert_true(json_object_object_get_ex(j, key, &v));
	assert_int_equal(hcl_pos(v).source, 7);
	return hcl_pos(v).line;
}

static void
test_positions(void **state)
{
	static const char text[] = "a = 1\n\nb = <<E\nx\nE\nc\n{ d = [\n1,\n2] }\nblock {}\nblock {}\n";
	struct json_object *j = NULL, *copy = NULL, *c, *d;
	struct hcl_error e;

	(void)state;
	assert_int_equal(hcl_parse(str_from(text), 7, &j, &e), 0);
	assert_int_equal(line_of(j, "a"), 1);
	assert_int_equal(line_of(j, "b"), 3);
	assert_int_equal(line_of(j, "c"), 6);
	c = json_object_object_get(j, "c");
	assert_int_equal(line_of(c, "d"), 7);
	d = json_object_object_get(c, "d");
	assert_int_equal(hcl_pos(json_object_array_get_idx(d, 1)).line, 9);
	d = json_object_object_get(j, "block");
	assert_int_equal(hcl_pos(json_object_array_get_idx(d, 0)).line, 10);
	assert_int_equal(hcl_pos(json_object_array_get_idx(d, 1)).line, 11);
	assert_int_equal(hcl_pos(NULL).line, 0);
	hcl_pos_clear(j);
	assert_int_equal(hcl_pos(c).line, 0);
	assert_int_equal(json_object_deep_copy(j, &copy, NULL), 0);
	json_object_put(copy);
	json_object_put(j);
}

static void
test_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{ "a", 1 }, { "\xc3\xa9", 2 }, { "\xe2\x82\xac", 3 }, { "\xf0\x9f\x98\x80", 4 }, { "", 0 }, { "\x80", 0 },
		{ "\xc1\xbf", 0 }, { "\xe0\x9f\xbf", 0 }, { "\xed\xa0\x80", 0 }, { "\xf4\x90\x80\x80", 0 }, { "\xf5\x80\x80\x80", 0 },
		{ "\xe2\x82", 0 }, { "\xe2\x82z", 0 },
	};
	char out[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(utf8_length(cases[i].text, strlen(cases[i].text)), cases[i].len);
	for (uint32_t r = 0; r < 0x110000; r += 0x101) {
		bool surrogate = r >= 0xd800 && r < 0xe000;
		size_t n = utf8_encode(r, out);

		assert_int_equal(n == 0, surrogate);
		assert_int_equal(n > 0 ? utf8_length(out, n) : 0, n);
	}
	assert_int_equal(utf8_encode(0x110000, out), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
