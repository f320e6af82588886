/* lib_re.c - regular expressions: syntax, matches, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/re.h"

static void
test_matches(void **state)
{
	static const struct {
		const char *re, *text;
		bool want;
	} cases[] = {
		{ "", "", true },
		{ "", "x", true },
		{ "b", "abc", true },
		{ "d", "abc", false },
		{ "^b", "abc", false },
		{ "^a", "abc", true },
		{ "c$", "abc", true },
		{ "b$", "abc", false },
		{ "^$", "", true },
		{ "^$", "x", false },
		{ "a.c", "abc", true },
		{ "a.c", "a\nc", false },
		{ "(?s)a.c", "a\nc", true },
		{ "ab*c", "ac", true },
		{ "ab+c", "ac", false },
		{ "ab?c", "abbc", false },
		{ "ab*?c", "abbbc", true },
		{ "^a{2}$", "aa", true },
		{ "^a{2}$", "aaa", false },
		{ "^a{2,}$", "aaaa", true },
		{ "^a{2,3}$", "aaaa", false },
		{ "^a{0}$", "", true },
		{ "a{x}", "a{x}", true },
		{ "a{,2}", "a{,2}", true },
		{ "^(ab|cd)+$", "abcdab", true },
		{ "^(ab|cd)+$", "abc", false },
		{ "^(?:ab)?$", "ab", true },
		{ "a|b|", "zzz", true },
		{ "^(|a)b", "b", true },
		{ "[a-c]", "xbx", true },
		{ "[^a-c]", "abc", false },
		{ "[]a]", "]", true },
		{ "[^]a]", "]", false },
		{ "[a-]", "-", true },
		{ "[\\]]", "]", true },
		{ "[\\d]+z", "12z", true },
		{ "[[:alpha:]]{3}", "ab1", false },
		{ "[[:alpha:]]{3}", "abz", true },
		{ "[[:digit:][:upper:]]", "q7", true },
		{ "\\d+\\.\\d+", "v1.10", true },
		{ "\\D", "123", false },
		{ "\\w\\s\\W", "a -", true },
		{ "\\bweb\\b", "my web app", true },
		{ "\\bweb\\b", "website", false },
		{ "\\Beb", "web", true },
		{ "\\Aweb\\z", "web", true },
		{ "\\x41\\t", "A\t", true },
		{ "(?i)WeB", "wEb", true },
		{ "(?i:w)eb", "Web", true },
		{ "(?i:w)eb", "WEB", false },
		{ "a\\.b", "axb", false },
		{ "\\/\\-\\_", "/-_", true },
		{ "(a*)*", "aaa", true },
		{ "(a*)*b", "aaaa", false },
		{ "\xc3\xa9", "caf\xc3\xa9", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct re *re = NULL;
		char err[128] = "";

		if (re_compile(str_from(cases[i].re), &re, err, sizeof(err)) < 0)
			fail_msg("%s: %s", cases[i].re, err);
		if (re_match(re, str_from(cases[i].text)) != cases[i].want)
			fail_msg("%s on %s: not %d", cases[i].re, cases[i].text, cases[i].want);
		re_free(re);
	}
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "(", ")", "a)", "[", "[a", "[b-a]", "*", "+a", "a|*", "(*)", "\\", "\\1", "\\q", "(?=a)",
		"(?<n>a)", "(?i", "a{1001}", "a{3,2}", "((a{100}){100}){100}", "(){1000}{1000}{1000}", "[[:alpha:]" };
	char deep[500];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct re *re = NULL;
		char err[128] = "";

		if (re_compile(str_from(bad[i]), &re, err, sizeof(err)) != -EINVAL || err[0] == 0)
			fail_msg("%s was taken", bad[i]);
	}
	memset(deep, '(', sizeof(deep));
	{
		struct re *re = NULL;
		char err[128] = "";

		assert_int_equal(re_compile((struct str){ deep, sizeof(deep) }, &re, err, sizeof(err)), -EINVAL);
	}
}

/* What takes backtracking matchers longer than the universe. */
static void
test_linear(void **state)
{
	char text[20000];
	struct re *re;
	char err[128];

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(re_compile(STR("(a+)+(a+)+(a*)*b"), &re, err, sizeof(err)), 0);
	assert_false(re_match(re, (struct str){ text, sizeof(text) }));
	re_free(re);
}

/* What each group took, "|" between them; "-" for one that took no part. */
static void
test_groups(void **state)
{
	static const struct {
		const char *pattern, *text, *want;
	} cases[] = {
		{ "a", "xax", "a" }, { "(a)(b)?", "xac", "a|a|-" }, { "(a*)(a*)", "aaa", "aaa|aaa|" }, { "(a*?)(a*)", "aaa", "aaa||aaa" },
		{ "(?U)(a*)(a*?)", "aaa", "aaa||aaa" }, { "(a|ab)(c|bcd)", "abcd", "abcd|a|bcd" }, { "(ab|a)(bcd|c)", "abcd", "abc|ab|c" },
		{ "^geo-(.*?)-([^-]+)$", "geo-web-x-eu", "geo-web-x-eu|web-x|eu" }, { "(?P<name>[a-z]+)([0-9]+)", "--ab12", "ab12|ab|12" },
		{ "(?:a(b))+", "abab", "abab|b" }, { "(a(b(c)))", "abc", "abc|abc|bc|c" }, { "x(y)?", "xz", "x|-" }, { "(a)|(b)", "b", "b|-|b" },
		{ "()", "", "|" }, { "$", "abc", "" }, { "(a{2})(a{0,2})", "aaaaa", "aaaa|aa|aa" }, { "(?i)(A)b", "aB", "aB|a" },
		{ "\\b(\\w+)\\b", "  two words", "two|two" }, { "z", "abc", NULL }, { "^b", "ab", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str groups[RE_GROUPS_MAX];
		char err[128] = "", got[256] = "";
		struct re *re;
		size_t n;

		assert_int_equal(re_compile(str_from(cases[i].pattern), &re, err, sizeof(err)), 0);
		assert_int_equal(re_groups(re, str_from(cases[i].text), groups, &n), 0);
		assert_int_equal(n > 0, cases[i].want != NULL);
		assert_int_equal(re_match(re, str_from(cases[i].text)), n > 0);
		for (size_t k = 0; k < n; k++)
			(void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%.*s", k > 0 ? "|" : "", groups[k].p != NULL ? (int)groups[k].len : 1,
			    groups[k].p != NULL ? groups[k].p : "-");
		if (n > 0 && strcmp(got, cases[i].want) != 0)
			fail_msg("%s on %s: %s", cases[i].pattern, cases[i].text, got);
		re_free(re);
	}
}

/* More groups than are told apart: the rest still group. */
static void
test_many_groups(void **state)
{
	struct str groups[RE_GROUPS_MAX];
	char pattern[40 * 3 + 1] = "", text[41] = "", err[128];
	struct re *re;
	size_t n;

	(void)state;
	for (int i = 0; i < 40; i++) {
		memcpy(pattern + 3 * i, "(a)", 4);
		memcpy(text + i, "a", 2);
	}
	assert_int_equal(re_compile(str_from(pattern), &re, err, sizeof(err)), 0);
	assert_int_equal(re_groups(re, str_from(text), groups, &n), 0);
	assert_int_equal(n, RE_GROUPS_MAX);
	assert_int_equal(groups[0].len, 40);
	assert_ptr_equal(groups[32].p, text + 31);
	re_free(re);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_matches), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_linear), cmocka_unit_test(test_groups), cmocka_unit_test(test_many_groups) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
