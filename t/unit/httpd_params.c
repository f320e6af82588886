/* httpd_params.c - targets, query strings and the common parameters */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "httpd/gzip.h"
#include "httpd/params.h"
#include "httpd/path.h"
#include "lib/duration.h"

static struct arena arena = ARENA_INIT(1 * MiB);

static char *
copy(const char *s)
{
	return arena_strdup(&arena, str_from(s));
}

static void
assert_str(struct str got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.p != NULL ? got.p : "", want, got.len);
}

static void
test_target(void **state)
{
	static const struct {
		const char *raw, *path, *query;	/* path NULL: refused */
	} rows[] = {
		{ "/", "/", "" },
		{ "/v1/kv/a%20b?x=1", "/v1/kv/a b", "x=1" },
		{ "/v1/kv/a+b", "/v1/kv/a+b", "" },
		{ "/v1/kv/%c3%a4?", "/v1/kv/\xc3\xa4", "" },
		{ "/a?b?c", "/a", "b?c" },
		{ "http://host:80/v1/kv/a?q", "/v1/kv/a", "q" },
		{ "/a%2", NULL, NULL }, { "/a%zz", NULL, NULL }, { "/a%", NULL, NULL }, { "*", NULL, NULL }, { "", NULL, NULL },
		{ "kv", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct target t;
		int rc = target_parse(copy(rows[i].raw), strlen(rows[i].raw), &t);

		assert_int_equal(rc, rows[i].path != NULL ? 0 : -EINVAL);
		if (rc < 0)
			continue;
		assert_str(t.path, rows[i].path);
		assert_str(t.query, rows[i].query);
	}
	arena_reset(&arena);
}

static void
test_nul_is_seen(void **state)
{
	struct target t;

	(void)state;
	assert_int_equal(target_parse(copy("/v1/kv/safe%00evil"), 18, &t), 0);
	assert_int_equal(t.path.len, 16);
	assert_memory_equal(t.path.p, "/v1/kv/safe\0evil", 16);
	assert_false(path_printable(t.path));
	arena_reset(&arena);
}

static void
test_clean(void **state)
{
	static const struct {
		const char *path, *clean;
	} rows[] = {
		{ "/", "/" }, { "/a", "/a" }, { "/a/", "/a/" }, { "//", "/" }, { "/a//b", "/a/b" }, { "/a/./b", "/a/b" },
		{ "/a/../b", "/b" }, { "/../a", "/a" }, { "/a/b/../../c/", "/c/" }, { "/a/..", "/" }, { "/a/.", "/a" },
		{ "/v1/kv//lead", "/v1/kv/lead" }, { "/v1/kv/..a", "/v1/kv/..a" }, { "/v1/kv/a..", "/v1/kv/a.." },
		{ "/v1/kv/...", "/v1/kv/..." }, { "/a/../../..", "/" }, { "///", "/" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool clean = strcmp(rows[i].path, rows[i].clean) == 0;

		assert_int_equal(path_is_clean(str_from(rows[i].path)), clean);
		assert_string_equal(path_clean(str_from(rows[i].path), &arena), rows[i].clean);
	}
	arena_reset(&arena);
}

static void
test_printable(void **state)
{
	static const char *const good[] = { "/v1/kv/a b", "/\xc3\xa4\xe2\x82\xac", "/\xf0\x9f\x98\x80" };
	static const char *const bad[] = { "/\x01", "/\x7f", "/\xc2\x80", "/\xff", "/\xc3", "/\xe2\x80\x8b", "/\xc0\xaf",
		"/\xed\xa0\x80", "/\xc2\xa0", "/\xf4\x90\x80\x80" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(path_printable(str_from(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(path_printable(str_from(bad[i])));
	assert_string_equal(path_encode(str_from("/a b?\xc3\xa4"), &arena), "/a%20b%3F%C3%A4");
}

static void
parse(const char *query, struct params *p)
{
	assert_int_equal(params_parse(copy(query), strlen(query), &arena, p), 0);
}

static void
test_query(void **state)
{
	struct params p;

	(void)state;
	parse("b=2&a=1&a=3&&flag&e=&p=x+y%2bz", &p);
	assert_int_equal(p.n, 6);
	assert_str(*param_get(&p, "a"), "1");
	assert_str(*param_get(&p, "p"), "x y+z");
	assert_true(param_has(&p, "flag"));
	assert_str(*param_get(&p, "flag"), "");
	assert_null(param_get(&p, "A"));
	assert_string_equal(params_encode(&p, &arena), "a=1&a=3&b=2&e=&flag=&p=x+y%2Bz");
	assert_int_equal(params_parse(copy("a=%g"), 4, &arena, &p), -EINVAL);
	assert_int_equal(params_parse(copy("%=1"), 3, &arena, &p), -EINVAL);
	arena_reset(&arena);
}

static void
test_query_is_bounded(void **state)
{
	char many[2 * (HTTP_PARAMS_MAX + 2)];
	struct params p;

	(void)state;
	memset(many, '&', sizeof(many));
	assert_int_equal(params_parse(many, sizeof(many), &arena, &p), -ELIMIT);
	arena_reset(&arena);
}

static void
test_numbers(void **state)
{
	uint64_t v = 7;
	bool b;

	(void)state;
	assert_int_equal(parse_u64(STR("18446744073709551615"), &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(parse_u64(STR("18446744073709551616"), &v), -ERANGE);
	assert_int_equal(parse_u64(STR(""), &v), -EINVAL);
	assert_int_equal(parse_u64(STR("-1"), &v), -EINVAL);
	assert_int_equal(parse_u64(STR("1x"), &v), -EINVAL);
	assert_int_equal(parse_u64(STR("99999999999999999999x"), &v), -EINVAL);
	assert_int_equal(parse_bool(STR("T"), &b), 0);
	assert_true(b);
	assert_int_equal(parse_bool(STR("False"), &b), 0);
	assert_false(b);
	assert_int_equal(parse_bool(STR("yes"), &b), -EINVAL);
}

static const struct http_config conf = { .default_wait_ms = 300000, .max_wait_ms = 600000, .use_cache = true };

static void
test_wait(void **state)
{
	static const struct {
		const char *query, *error;
		uint64_t index;
		int64_t wait_ms;
	} rows[] = {
		{ "", NULL, 0, 300000 }, { "index=5", NULL, 5, 300000 }, { "index=5&wait=1s", NULL, 5, 1000 },
		{ "index=5&wait=0", NULL, 5, 300000 }, { "wait=2h&index=1", NULL, 1, 600000 },
		{ "index=1&wait=-1s", NULL, 1, 300000 }, { "wait=10", "Invalid wait time", 0, 0 },
		{ "index=x", "Invalid index", 0, 0 }, { "index=-1", "Invalid index", 0, 0 },
		{ "wait=x&index=x", "Invalid wait time", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct query_options o = { .min_index = 0 };
		struct read_params r = { 0 };
		struct param_error e = { 0, NULL };
		struct params p;

		parse(rows[i].query, &p);
		params_wait(&p, &conf, &o, &r, &e);
		if (rows[i].error != NULL) {
			assert_int_equal(e.status, 400);
			assert_string_equal(e.text, rows[i].error);
			continue;
		}
		assert_int_equal(e.status, 0);
		assert_int_equal(o.min_index, rows[i].index);
		assert_int_equal(r.wait_ms, rows[i].wait_ms);
	}
	arena_reset(&arena);
}

static void
test_consistency(void **state)
{
	static const struct {
		const char *query, *error;
		enum consistency want;
		bool cached;
	} rows[] = {
		{ "", NULL, CONSISTENCY_DEFAULT, false }, { "stale", NULL, CONSISTENCY_STALE, false },
		{ "consistent", NULL, CONSISTENCY_CONSISTENT, false }, { "leader", NULL, CONSISTENCY_DEFAULT, false },
		{ "cached", NULL, CONSISTENCY_DEFAULT, true }, { "max_stale=3s", NULL, CONSISTENCY_STALE, false },
		{ "max_stale=0s", NULL, CONSISTENCY_DEFAULT, false },
		{ "stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics.", 0, false },
		{ "max_stale=1s&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics.", 0, false },
		{ "cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics.", 0, false },
		{ "max_stale=a%22b", "Invalid max_stale value \"a\\\"b\"", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct query_options o = { .min_index = 0 };
		struct read_params r = { 0 };
		struct param_error e = { 0, NULL };
		struct params p;

		parse(rows[i].query, &p);
		params_consistency(&p, &conf, true, &o, &r, &e, &arena);
		if (rows[i].error != NULL) {
			assert_int_equal(e.status, 400);
			assert_string_equal(e.text, rows[i].error);
			continue;
		}
		assert_int_equal(e.status, 0);
		assert_int_equal(o.consistency, rows[i].want);
		assert_int_equal(r.cached, rows[i].cached);
	}
	arena_reset(&arena);
}

static void
test_discovery_max_stale(void **state)
{
	struct http_config c = conf;
	struct query_options o = { .min_index = 0 };
	struct read_params r = { 0 };
	struct param_error e = { 0, NULL };
	struct params p;

	(void)state;
	c.discovery_max_stale_ms = 5000;
	parse("", &p);
	params_consistency(&p, &c, true, &o, &r, &e, &arena);
	assert_int_equal(o.consistency, CONSISTENCY_STALE);
	assert_int_equal(o.max_stale, 5 * NS_PER_S);
	o = (struct query_options){ .min_index = 0 };
	parse("leader", &p);
	params_consistency(&p, &c, true, &o, &r, &e, &arena);
	assert_int_equal(o.consistency, CONSISTENCY_DEFAULT);
	parse("", &p);
	params_consistency(&p, &c, false, &o, &r, &e, &arena);
	assert_int_equal(o.consistency, CONSISTENCY_DEFAULT);
	arena_reset(&arena);
}

static void
test_other_edition(void **state)
{
	struct param_error e = { 0, NULL };
	struct params p;

	(void)state;
	parse("ns=a", &p);
	params_namespace(&p, STR_NONE, &e);
	assert_int_equal(e.status, 400);
	assert_string_equal(e.text,
	    "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature");
	e.status = 0;
	parse("ns=", &p);
	params_namespace(&p, STR_NONE, &e);
	assert_int_equal(e.status, 0);
	params_namespace(&p, STR("x"), &e);
	assert_int_equal(e.status, 400);
	arena_reset(&arena);
}

static void
test_cache_control(void **state)
{
	static const struct {
		const char *header;
		bool good, must_revalidate;
		uint64_t max_age_s, stale_if_error_s;
	} rows[] = { { "", true, false, 0, 0 }, { "max-age=10", true, false, 10, 0 },
		{ "max-age=10, must-revalidate", true, true, 10, 0 }, { "must-revalidate,\tstale-if-error=7", true, true, 0, 7 },
		{ "max-age=0", true, true, 0, 0 }, { "no-cache, private", true, false, 0, 0 },
		{ "max-age=18446744073709551615", true, false, UINT64_MAX, 0 }, { "max-age=18446744073709551616", false, false, 0, 0 },
		{ "max-age=", false, false, 0, 0 }, { "max-age=-1", false, false, 0, 0 }, { "max-age=x", false, false, 0, 0 },
		{ "no-store, stale-if-error=y", false, false, 0, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct param_error e = { 0, NULL };
		struct read_params got = { 0 };

		params_cache_control(str_from(rows[i].header), &got, &e);
		assert_int_equal(e.status, rows[i].good ? 0 : 400);
		if (!rows[i].good)
			continue;
		assert_int_equal(got.must_revalidate, rows[i].must_revalidate);
		assert_int_equal(got.max_age_s, rows[i].max_age_s);
		assert_int_equal(got.stale_if_error_s, rows[i].stale_if_error_s);
	}
}

static void
test_node_meta(void **state)
{
	struct params p;
	struct strmap m;
	struct strs tags;

	(void)state;
	parse("node-meta=z:1&node-meta=a:b:c&node-meta=bare&tag=x&tag=y", &p);
	assert_int_equal(params_node_meta(&p, &arena, &m), 0);
	assert_int_equal(m.n, 3);
	assert_str(m.v[0].key, "a");
	assert_str(m.v[0].value, "b:c");
	assert_str(m.v[1].key, "bare");
	assert_str(m.v[1].value, "");
	assert_int_equal(params_list(&p, "tag", &arena, &tags), 0);
	assert_int_equal(tags.n, 2);
	arena_reset(&arena);
}

static void
test_gzip_accepted(void **state)
{
	static const struct {
		const char *header;
		bool yes;
	} rows[] = { { "", false }, { "gzip", true }, { "deflate, gzip;q=0.5", true }, { "gzip;q=0", false },
		{ "gzip; q=0.0, br", false }, { "x-gzip", false }, { "*", true }, { "identity", false }, { "GZIP", true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(gzip_accepted(str_from(rows[i].header)), rows[i].yes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_target), cmocka_unit_test(test_nul_is_seen), cmocka_unit_test(test_clean),
		cmocka_unit_test(test_printable), cmocka_unit_test(test_query), cmocka_unit_test(test_query_is_bounded),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_wait), cmocka_unit_test(test_consistency),
		cmocka_unit_test(test_discovery_max_stale), cmocka_unit_test(test_other_edition),
		cmocka_unit_test(test_cache_control), cmocka_unit_test(test_node_meta), cmocka_unit_test(test_gzip_accepted),
	};
	int rc = cmocka_run_group_tests_name("httpd_params", tests, NULL, NULL);

	arena_release(&arena);
	return rc;
}
