/* lib_record.c - records by their tables: msgpack, JSON, copies; and durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/duration.h"
#include "lib/json.h"
#include "lib/ops.h"

static int
from_json(const struct record *rec, const char *text, void *obj, struct arena *a, char *err, size_t errlen)
{
	bool null;
	struct json_object *j = json_parse(text, strlen(text), &null, err, errlen);
	int rc;

	assert_non_null(j);
	memset(obj, 0, rec->size);
	err[0] = 0;
	rc = record_from_json(rec, j, obj, a, true, err, errlen);
	json_object_put(j);
	return rc;
}

static void
names_match_whatever_their_case(void **state)
{
	struct arena a = ARENA_INIT(1 << 20);
	struct service_def s;
	const struct check_def *c;
	char err[256];

	(void)state;
	assert_int_equal(from_json(&rec_service_def,
	    "{\"NAME\":\"web\",\"tags\":[\"a\",\"b\"],\"port\":80,\"meta\":{\"z\":\"1\",\"a\":\"2\"},"
	    "\"check\":{\"id\":\"c1\",\"script_args\":[\"x\"],\"Interval\":\"10s\",\"deregister_critical_service_after\":60000000000,"
	    "\"header\":{\"X\":[\"1\",\"2\"]}}}", &s, &a, err, sizeof(err)), 0);
	assert_true(str_eqs(s.name, "web") && s.tags.n == 2 && s.port == 80);
	assert_true(str_eqs(s.meta.v[0].key, "a"));
	assert_int_equal(s.check.n, 1);
	c = s.check.v;
	assert_true(str_eqs(c->check_id, "c1") && c->args.n == 1 && c->interval == 10 * NS_PER_S);
	assert_true(c->deregister_critical_service_after == 60 * NS_PER_S && c->header.n == 1);
	assert_int_equal(((const struct strs_value *)c->header.v)[0].v.n, 2);
	assert_int_equal(from_json(&rec_service_def, "{\"bogus\":1}", &s, &a, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "json: unknown field \"bogus\"");
	assert_int_equal(from_json(&rec_service_def, "{\"port\":\"80\"}", &s, &a, err, sizeof(err)), -EINVAL);
	arena_release(&a);
}

static void
a_copy_equals_and_survives_its_source(void **state)
{
	struct arena a = ARENA_INIT(1 << 20), a2 = ARENA_INIT(1 << 20);
	struct buf b1 = BUF_INIT(1 << 20), b2 = BUF_INIT(1 << 20);
	struct mp_w w1 = mp_w_init(&b1), w2 = mp_w_init(&b2);
	struct service_def s, back, *copy;
	struct mp_r r;
	char err[256];

	(void)state;
	assert_int_equal(from_json(&rec_service_def,
	    "{\"Name\":\"web\",\"Tags\":[\"a\"],\"TaggedAddresses\":{\"lan\":{\"Address\":\"1.2.3.4\",\"Port\":5}},"
	    "\"Checks\":[{\"HTTP\":\"http://x/\",\"Interval\":\"1s\",\"Header\":{\"A\":[\"b\"]}},{\"TTL\":\"5s\"}],"
	    "\"Proxy\":{\"Config\":{\"x\":[1,2]}}}", &s, &a, err, sizeof(err)), 0);
	record_encode(&rec_service_def, &s, RECORD_WHOLE, &w1);
	copy = record_dup(&rec_service_def, &s);
	assert_non_null(copy);
	assert_true(record_equal(&rec_service_def, &s, copy, NULL));
	arena_release(&a);
	record_encode(&rec_service_def, copy, RECORD_WHOLE, &w2);
	assert_int_equal(w1.err | w2.err, 0);
	assert_int_equal(b1.len, b2.len);
	assert_memory_equal(b1.data, b2.data, b1.len);
	for (size_t n = 0; n <= b1.len; n++) {
		uint8_t *cut = test_malloc(n + 1);
		int rc;

		memcpy(cut, b1.data, n);
		r = mp_r_init(cut, n);
		rc = record_decode(&rec_service_def, &r, &back, &a2);
		assert_int_equal(rc == 0, n == b1.len);
		if (rc == 0)
			assert_true(record_equal(&rec_service_def, &back, copy, NULL));
		arena_reset(&a2);
		test_free(cut);
	}
	free(copy);
	arena_release(&a2);
	buf_release(&b1);
	buf_release(&b2);
}

static void
unknown_fields_are_skipped(void **state)
{
	struct arena a = ARENA_INIT(1 << 16);
	struct buf b = BUF_INIT(1 << 16);
	struct mp_w w = mp_w_init(&b);
	struct kv_query q;
	struct mp_r r;

	(void)state;
	mp_w_map(&w, 3);
	mp_w_cstr(&w, "FromTheFuture");
	mp_w_array(&w, 2);
	mp_w_nil(&w);
	mp_w_map(&w, 0);
	mp_w_cstr(&w, "Key");
	mp_w_cstr(&w, "k");
	mp_w_cstr(&w, "Separator");
	mp_w_nil(&w);
	r = mp_r_init(b.data, b.len);
	assert_int_equal(record_decode(&rec_kv_query, &r, &q, &a), 0);
	assert_true(str_eqs(q.key, "k") && q.separator.len == 0 && mp_r_done(&r));
	buf_release(&b);
	arena_release(&a);
}

static void
empty_members_follow_consul(void **state)
{
	struct kv_entry e = { .key = STR("k"), .create_index = 1, .modify_index = 2 };
	struct buf b = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16);
	struct mp_w w = mp_w_init(&b);
	struct mp_r r;

	(void)state;
	record_encode(&rec_kv_entry, &e, RECORD_PUBLIC, &w);
	r = mp_r_init(b.data, b.len);
	assert_int_equal(json_from_mp(&out, &r, NULL), 0);
	assert_string_equal(buf_cstr(&out),
	    "{\"LockIndex\":0,\"Key\":\"k\",\"Flags\":0,\"Value\":null,\"CreateIndex\":1,\"ModifyIndex\":2}");
	buf_release(&b);
	buf_release(&out);
}

static void
durations_read_and_print_as_go(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = { { "10s", "10s" }, { "1h30m", "1h30m0s" }, { "1.5s", "1.5s" }, { "90s", "1m30s" }, { "0", "0s" },
		{ "250ms", "250ms" }, { "1500us", "1.5ms" }, { "-5s", "-5s" }, { "7ns", "7ns" }, { "100h", "100h0m0s" },
		{ ".5s", "500ms" }, { "1m0.25s", "1m0.25s" } };
	static const char *const bad[] = { "", "10", "s", "1x", "1s2", "--1s", "99999999999h", "1.s.s" };
	char text[DURATION_TEXT_MAX];
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(duration_parse(str_from(good[i].in), &ns), 0);
		duration_format(ns, text);
		assert_string_equal(text, good[i].out);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(duration_parse(str_from(bad[i]), &ns), -EINVAL);
}

/* Every row of the catalogue can be found, and its number is its own. */
static void
operations_are_consistent(void **state)
{
	(void)state;
	for (unsigned i = 0; op_row(i) != NULL; i++) {
		assert_ptr_equal(op_info(op_row(i)->number), op_row(i));
		assert_true(op_row(i)->body_max >= 4 * KiB);
	}
	assert_null(op_info(0));
	assert_null(op_info(65535));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_match_whatever_their_case), cmocka_unit_test(a_copy_equals_and_survives_its_source),
		cmocka_unit_test(unknown_fields_are_skipped), cmocka_unit_test(empty_members_follow_consul),
		cmocka_unit_test(durations_read_and_print_as_go), cmocka_unit_test(operations_are_consistent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
