/* consulctl_options.c - flags of a command line, as Go's flag package reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consulctl/options.h"

static const struct option table[] = {
	{ "n", OPT_INT, "number", "1", "How many." },
	{ "cas", OPT_BOOL, NULL, NULL, "Check." },
	{ "shell", OPT_BOOL, NULL, "true", "Shell." },
	{ "name", OPT_STR, "text", "none", "Name. It is a long explanation that does not fit into one line of "
	  "seventy-two columns, not by far.\n\nSecond paragraph." },
	{ "index", OPT_U64, "number", NULL, "Index." },
	{ "timeout", OPT_DURATION, "duration", NULL, "Time." },
	{ "tag", OPT_LIST, "text", NULL, "Tags." },
	{ "meta", OPT_MAP, "key=value", NULL, "Metadata." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

enum { WORDS_MAX = 32 };

struct line {
	char text[512];
	char *argv[WORDS_MAX];
	struct options o;
	struct buf err;
};

/* Parse "cmd words words"; words are separated by a single blank, so that two make an empty word. */
static int
parse(struct line *l, const char *words)
{
	int argc = 1;

	snprintf(l->text, sizeof(l->text), "cmd %s", words);
	l->argv[0] = l->text;
	for (char *p = l->text; (p = strchr(p, ' ')) != NULL && argc < WORDS_MAX - 1;) {
		*p++ = '\0';
		l->argv[argc++] = p;
	}
	if (*words == '\0')
		argc = 1;
	l->argv[argc] = NULL;
	buf_init(&l->err, 4096);
	options_init(&l->o);
	options_use(&l->o, table);
	options_use(&l->o, NULL);
	options_use(&l->o, options_client);
	return options_parse(&l->o, argc, l->argv, &l->err);
}

static void
line_release(struct line *l)
{
	options_release(&l->o);
	buf_release(&l->err);
}

static void
test_defaults(void **state)
{
	struct line l;

	(void)state;
	assert_int_equal(parse(&l, ""), 0);
	assert_int_equal(options_int(&l.o, "n"), 1);
	assert_false(options_bool(&l.o, "cas"));
	assert_true(options_bool(&l.o, "shell"));
	assert_string_equal(options_str(&l.o, "name"), "none");
	assert_string_equal(options_str(&l.o, "token"), "");
	assert_int_equal(options_u64(&l.o, "index"), 0);
	assert_int_equal(options_ns(&l.o, "timeout"), 0);
	assert_null(options_list(&l.o, "tag", 0));
	assert_false(options_given(&l.o, "n"));
	assert_int_equal(l.o.nargs, 0);
	line_release(&l);
}

static void
test_forms(void **state)
{
	struct line l;

	(void)state;
	assert_int_equal(parse(&l, "-n 3 --cas -shell=false --name=a=b -index 18446744073709551615 -timeout=1m30s -tag x -tag= -meta k=v=w rest -cas"), 0);
	assert_int_equal(options_int(&l.o, "n"), 3);
	assert_true(options_bool(&l.o, "cas"));
	assert_false(options_bool(&l.o, "shell"));
	assert_string_equal(options_str(&l.o, "name"), "a=b");
	assert_true(options_u64(&l.o, "index") == UINT64_MAX);
	assert_true(options_ns(&l.o, "timeout") == INT64_C(90000000000));
	assert_string_equal(options_list(&l.o, "tag", 0), "x");
	assert_string_equal(options_list(&l.o, "tag", 1), "");
	assert_null(options_list(&l.o, "tag", 2));
	assert_string_equal(options_list(&l.o, "meta", 0), "k=v=w");
	assert_int_equal(l.o.nargs, 2);
	assert_string_equal(l.o.args[0], "rest");
	assert_string_equal(l.o.args[1], "-cas");
	line_release(&l);

	assert_int_equal(parse(&l, "-n=-2 -n=0x10 -- -cas"), 0);
	assert_int_equal(options_int(&l.o, "n"), 16);
	assert_int_equal(l.o.nargs, 1);
	assert_string_equal(l.o.args[0], "-cas");
	line_release(&l);

	assert_int_equal(parse(&l, "- -cas"), 0);
	assert_int_equal(l.o.nargs, 2);
	line_release(&l);

	assert_int_equal(parse(&l, "-timeout=-1s"), 0);
	assert_true(options_ns(&l.o, "timeout") == INT64_C(-1000000000));
	line_release(&l);
}

static void
test_help(void **state)
{
	static const char *const asks[] = { "-h", "-help", "--help", "-cas -h", "-n 1 --h" };
	struct line l;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		assert_int_equal(parse(&l, asks[i]), 1);
		line_release(&l);
	}
	assert_int_equal(parse(&l, "child -h"), 0);
	line_release(&l);
}

static void
test_refusals(void **state)
{
	static const struct { const char *words, *sentence; } cases[] = {
		{ "-x", "flag provided but not defined: -x" },
		{ "-nn=1", "flag provided but not defined: -nn" },
		{ "---n", "bad flag syntax: ---n" },
		{ "-=1", "bad flag syntax: -=1" },
		{ "-name", "flag needs an argument: -name" },
		{ "-n x", "invalid value \"x\" for flag -n: parse error" },
		{ "-n=", "invalid value \"\" for flag -n: parse error" },
		{ "-n=99999999999999999999", "invalid value \"99999999999999999999\" for flag -n: value out of range" },
		{ "-index=-1", "invalid value \"-1\" for flag -index: parse error" },
		{ "-index=1x", "invalid value \"1x\" for flag -index: parse error" },
		{ "-timeout=5", "invalid value \"5\" for flag -timeout: parse error" },
		{ "-cas=yes", "invalid boolean value \"yes\" for -cas: parse error" },
		{ "-meta=x", "invalid value \"x\" for flag -meta: Missing \"=\" value in argument: x" },
	};
	struct line l;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(parse(&l, cases[i].words), -EINVAL);
		assert_string_equal(buf_cstr(&l.err), cases[i].sentence);
		line_release(&l);
	}
}

static void
test_bools(void **state)
{
	bool b = false;

	(void)state;
	assert_int_equal(options_bool_parse("T", &b), 0);
	assert_true(b);
	assert_int_equal(options_bool_parse("FALSE", &b), 0);
	assert_false(b);
	assert_int_equal(options_bool_parse("on", &b), -EINVAL);
	assert_int_equal(options_bool_parse("", &b), -EINVAL);
}

static void
test_explanation(void **state)
{
	const struct option few[] = { table[3], table[1], { NULL, OPT_BOOL, NULL, NULL, NULL } };
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	options_print(f, "Command Options", few);
	options_print(f, "Nothing", &few[2]);
	fclose(f);
	assert_string_equal(text,
	    "Command Options\n\n"
	    "  -cas\n     Check.\n\n"
	    "  -name=<text>\n"
	    "     Name. It is a long explanation that does not fit into one line of\n"
	    "     seventy-two columns, not by far.\n\n"
	    "     Second paragraph.\n"
	    "     Default: none\n\n");
	free(text);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bools),
		cmocka_unit_test(test_explanation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
