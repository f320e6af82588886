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

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_matches), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_linear) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
