/* consulctl_text.c - what commands print and read: columns, JSON laid out anew, HTTP answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consulctl/client/reply.h"
#include "consulctl/table.h"
#include "consulctl/value.h"

/* ---- tables */

static char *
printed(const struct table *t, unsigned gap)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_int_equal(table_print(t, f, gap), 0);
	fclose(f);
	return text;
}

static void
test_columns(void **state)
{
	struct table t;
	char *text;

	(void)state;
	table_init(&t, 3);
	table_adds(&t, "Node");
	table_adds(&t, "ID");
	table_adds(&t, "Last");
	table_addf(&t, "n\xc3\xb6%c", 'd');
	table_adds(&t, "");
	table_add(&t, STR("x"));
	table_adds(&t, "longer name");
	table_adds(&t, "1");
	table_add(&t, STR_NONE);
	text = printed(&t, TABLE_GAP);
	assert_string_equal(text, "Node         ID  Last\nn\xc3\xb6" "d              x\nlonger name  1   \n");
	free(text);
	table_release(&t);
}

static void
test_wide(void **state)
{
	struct table t;
	char *text;

	(void)state;
	table_init(&t, 2);
	text = printed(&t, TABLE_WIDE_GAP);
	assert_string_equal(text, "");
	free(text);
	table_adds(&t, "Key");
	table_adds(&t, "a");
	table_adds(&t, "Value");
	table_add(&t, STR("b\0c"));
	text = printed(&t, TABLE_WIDE_GAP);
	assert_memory_equal(text, "Key        a\nValue      b\0c\n", 29);
	free(text);
	table_release(&t);
}

/* ---- JSON */

static void
test_reindent(void **state)
{
	static const struct { const char *in, *indent, *out; } cases[] = {
		{ "[]", "    ", "[]" },
		{ " { } ", "    ", "{}" },
		{ "null\n", "    ", "null" },
		{ "[1,{\"a\":18446744073709551615}]", "\t", "[\n\t1,\n\t{\n\t\t\"a\": 18446744073709551615\n\t}\n]" },
		{ "[\n    1,\n    {\n        \"a b\": \"x, {y}: \\\" z\\\\\"\n    }\n]\n", NULL, "[1,{\"a b\":\"x, {y}: \\\" z\\\\\"}]" },
		{ "{\"a\":[],\"b\":{}}", "    ", "{\n    \"a\": [],\n    \"b\": {}\n}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = BUF_INIT(4096);

		assert_int_equal(value_reindent(str_from(cases[i].in), cases[i].indent, &out), 0);
		assert_string_equal(buf_cstr(&out), cases[i].out);
		buf_release(&out);
	}
}

static void
test_reindent_refuses(void **state)
{
	static const char *const bad[] = { "[", "]", "{]", "[1}", "\"abc", "[\"a\\\"]" };
	char deep[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf out = BUF_INIT(4096);

		assert_int_equal(value_reindent(str_from(bad[i]), NULL, &out), -EDECODE);
		buf_release(&out);
	}
	memset(deep, '[', sizeof(deep));
	{
		struct buf out = BUF_INIT(4096);

		assert_int_equal(value_reindent((struct str){ deep, sizeof(deep) }, NULL, &out), -EDECODE);
		buf_release(&out);
	}
}

/* ---- HTTP */

static int
collect(void *arg, const void *p, size_t n)
{
	return buf_add(arg, p, n);
}

/* Feed it in pieces of `step` bytes, then the end of the stream. */
static int
read_reply(const char *text, size_t step, struct reply *r, struct buf *body)
{
	size_t len = strlen(text);
	int rc = 0;

	reply_init(r);
	buf_clear(body);
	for (size_t i = 0; rc == 0 && i < len; i += step)
		rc = reply_feed(r, text + i, len - i < step ? len - i : step, collect, body);
	return rc == 0 ? reply_end(r) : rc;
}

static void
test_replies(void **state)
{
	static const struct { const char *text, *body; int status; bool keep; uint64_t index; } good[] = {
		{ "HTTP/1.1 200 OK\r\nX-CONSUL-index: 42\r\nContent-Length: 5\r\n\r\nhello", "hello", 200, true, 42 },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "", 404, false, 0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", "hello", 200, true, 0 },
		{ "HTTP/1.0 200 OK\r\n\r\nhello", "hello", 200, false, 0 },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "", 204, true, 0 },
	};
	struct buf body = BUF_INIT(4096);
	struct reply r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		for (size_t step = 1; step < 80; step += 13) {
			assert_int_equal(read_reply(good[i].text, step, &r, &body), 1);
			assert_int_equal(r.status, good[i].status);
			assert_int_equal(r.keep_alive, good[i].keep);
			assert_true(r.index == good[i].index);
			assert_int_equal(body.len, strlen(good[i].body));
			assert_memory_equal(body.data != NULL ? (char *)body.data : "", good[i].body, body.len);
			reply_release(&r);
		}
	}
	buf_release(&body);
}

static void
test_bad_replies(void **state)
{
	static const struct { const char *text; int rc; } bad[] = {
		{ "", -ECLOSED },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", -ECLOSED },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", -ECLOSED },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello", -EDECODE },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n", -EDECODE },
		{ "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", -EDECODE },
		{ "HTTP/2 200\r\n\r\n", -EDECODE },
		{ "HTTP/1.1 20 OK\r\n\r\n", -EDECODE },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EDECODE },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", -EDECODE },
	};
	struct buf body = BUF_INIT(4096);
	struct reply r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(read_reply(bad[i].text, 1000, &r, &body), bad[i].rc);
		reply_release(&r);
	}
	buf_release(&body);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_reindent),
		cmocka_unit_test(test_reindent_refuses),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_bad_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
