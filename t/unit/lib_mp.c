/* lib_mp.c - msgpack round trips, bounds, and the way to JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/json.h"

static void
round_trips(void **state)
{
	static const int64_t ints[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX, -1, -32, -33,
		-128, -129, -32768, -32769, INT32_MIN, (int64_t)INT32_MIN - 1, INT64_MIN };
	struct buf b = BUF_INIT(1 << 20);
	struct mp_w w = mp_w_init(&b);
	struct mp_r r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ints); i++)
		mp_w_int(&w, ints[i]);
	mp_w_uint(&w, UINT64_MAX);
	mp_w_double(&w, -1.5);
	mp_w_cstr(&w, "h\xc3\xa9");
	mp_w_bin(&w, (struct str){ "\0\1", 2 });
	assert_int_equal(w.err, 0);
	r = mp_r_init(b.data, b.len);
	for (size_t i = 0; i < ARRAY_LEN(ints); i++)
		assert_true(mp_r_int(&r) == ints[i]);
	assert_true(mp_r_uint(&r) == UINT64_MAX);
	assert_true(mp_r_double(&r) < -1.4 && r.err == 0);
	assert_int_equal(mp_r_str(&r).len, 3);
	assert_int_equal(mp_r_str(&r).len, 2);
	assert_true(mp_r_done(&r));
	buf_release(&b);
}

/* Every prefix of a valid document is an error, never an overrun (ASan watches). */
static void
every_cut_is_an_error(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct mp_w w = mp_w_init(&b);

	(void)state;
	mp_w_map(&w, 3);
	mp_w_cstr(&w, "list");
	mp_w_array(&w, 20);
	for (int i = 0; i < 20; i++)
		mp_w_int(&w, i * 1000 - 5000);
	mp_w_cstr(&w, "long");
	mp_w_str(&w, (struct str){ "0123456789012345678901234567890123456789", 40 });
	mp_w_cstr(&w, "f");
	mp_w_double(&w, 3.25);
	for (size_t n = 0; n <= b.len; n++) {
		uint8_t *copy = test_malloc(n + 1);
		struct mp_r r;

		memcpy(copy, b.data, n);
		r = mp_r_init(copy, n);
		mp_r_skip(&r);
		assert_int_equal(mp_r_done(&r), n == b.len);
		test_free(copy);
	}
	buf_release(&b);
}

static void
depth_and_counts_are_bounded(void **state)
{
	uint8_t deep[200], huge[] = { 0xdd, 0xff, 0xff, 0xff, 0xff };
	struct mp_r r;

	(void)state;
	memset(deep, 0x91, sizeof(deep));
	deep[sizeof(deep) - 1] = 0xc0;
	r = mp_r_init(deep, sizeof(deep));
	mp_r_skip(&r);
	assert_int_equal(r.err, -EDECODE);
	r = mp_r_init(huge, sizeof(huge));
	assert_int_equal(mp_r_array(&r), 0);
	assert_int_equal(r.err, -EDECODE);
}

static const char *
as_json(const char *in, const char *indent)
{
	static struct buf out = BUF_INIT(1 << 20);
	struct buf mp = BUF_INIT(1 << 20);
	struct mp_w w = mp_w_init(&mp);
	struct mp_r r;
	char err[128];
	bool null;
	struct json_object *j = json_parse(in, strlen(in), &null, err, sizeof(err));

	if (j == NULL && !null)
		return err[0] != 0 ? "refused" : "?";
	buf_clear(&out);
	if (mp_from_json(&w, j) == 0) {
		r = mp_r_init(mp.data, mp.len);
		assert_int_equal(json_from_mp(&out, &r, indent), 0);
	} else {
		assert_int_equal(buf_adds(&out, "too deep"), 0);
	}
	json_object_put(j);
	buf_release(&mp);
	return buf_cstr(&out);
}

static void
json_comes_out_as_go_writes_it(void **state)
{
	(void)state;
	assert_string_equal(as_json("{\"b\":1,\"a\":[true,null,-5,1.5]}", NULL), "{\"a\":[true,null,-5,1.5],\"b\":1}");
	assert_string_equal(as_json("\"<a&b>\\u2028\\n\\u0001\"", NULL), "\"\\u003ca\\u0026b\\u003e\\u2028\\n\\u0001\"");
	assert_string_equal(as_json("{\"a\":[],\"b\":{},\"c\":[1]}", "    "),
	    "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1\n    ]\n}");
	assert_string_equal(as_json("18446744073709551615", NULL), "18446744073709551615");
	assert_string_equal(as_json("{\"a\":1} x", NULL), "refused");
	assert_string_equal(as_json("{\"a\":", NULL), "refused");
	assert_string_equal(as_json("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", NULL), "too deep");
}

/* What json-c would change without a word. */
static void
json_is_not_bent(void **state)
{
	static const char *const refused[] = { "18446744073709551616", "-9223372036854775809", "[1,{\"a\":100000000000000000000}]",
		"{\"a\\u0000b\":1}", "{\"a\":{\"\\u0000\" : 1}}", "{\"\\\\\\u0000\":1}" };
	static const char *const taken[] = { "-9223372036854775808", "[\"18446744073709551616\"]", "{\"a\":\"b\\u0000:\"}",
		"{\"a\\\\u0000\":1}" };
	char deep[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_string_equal(as_json(refused[i], NULL), "refused");
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		assert_string_equal(as_json(taken[i], NULL), taken[i]);
	memset(deep, '[', 70);
	memset(deep + 70, ']', 70);
	deep[140] = 0;
	assert_string_equal(as_json(deep, NULL), "refused");
}

static void
base64_both_ways(void **state)
{
	static const char *const words[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" };
	static const char *const coded[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
	struct buf b = BUF_INIT(100);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		buf_clear(&b);
		assert_int_equal(json_add_base64(&b, str_from(words[i])), 0);
		assert_string_equal(buf_cstr(&b), coded[i]);
		buf_clear(&b);
		assert_int_equal(base64_decode(str_from(coded[i]), &b), 0);
		assert_string_equal(buf_cstr(&b), words[i]);
	}
	assert_int_equal(base64_decode(STR("Zg="), &b), -EINVAL);
	assert_int_equal(base64_decode(STR("Z==="), &b), -EINVAL);
	assert_int_equal(base64_decode(STR("Zg==Zg=="), &b), -EINVAL);
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips), cmocka_unit_test(every_cut_is_an_error),
		cmocka_unit_test(depth_and_counts_are_bounded), cmocka_unit_test(json_comes_out_as_go_writes_it),
		cmocka_unit_test(json_is_not_bent),
		cmocka_unit_test(base64_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
