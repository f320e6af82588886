/* checkd_rules.c - the pure rules of checks: definitions, thresholds, outputs, sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "checkd/kinds.h"
#include "checkd/output.h"
#include "checkd/sync.h"
#include "lib/duration.h"
#include "lib/json.h"

/* ---- thresholds: results in, what counts out ('.' nothing, p w c a status) */

static void
test_threshold(void **state)
{
	static const struct {
		int64_t passing, warning, critical;
		const char *in, *out;
	} cases[] = {
		{ 0, 0, 0, "pcwcp", "pcwcp" },
		{ 0, 0, 3, "cpcccpc", "cp..cp." },	/* the first one counts at once */
		{ 2, 0, 0, "pcppcwp", "pc.pc.p" },	/* warnings are successes */
		{ 3, 0, 2, "pccppwccp", "p.c..w.c." },
		{ 0, 1, 3, "pcccp", "pwwcp" },		/* warning on the way to critical */
		{ 0, 5, 2, "pccp", "p.cp" },		/* a warning later than critical is none */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct threshold t;

		threshold_init(&t, cases[i].passing, cases[i].warning, cases[i].critical);
		for (size_t k = 0; cases[i].in[k] != '\0'; k++) {
			enum check_status in = cases[i].in[k] == 'p' ? CHECK_PASSING : cases[i].in[k] == 'w' ? CHECK_WARNING : CHECK_CRITICAL;
			enum check_status out;
			char got = threshold_take(&t, in, &out) ? "pwc"[out] : '.';

			if (got != cases[i].out[k])
				fail_msg("case %zu, result %zu: %c, not %c", i, k, got, cases[i].out[k]);
		}
	}
}

static void
test_output(void **state)
{
	static const struct {
		const char *adds[4], *plain, *captured;
	} cases[] = {
		{ { NULL }, "", "" },
		{ { "abc" }, "abc", "abc" },
		{ { "abcdefgh" }, "abcdefgh", "abcdefgh" },
		{ { "abcd", "efghij" }, "cdefghij", "Captured 8 of 10 bytes\n...\ncdefghij" },
		{ { "0123456789abcdef" }, "89abcdef", "Captured 8 of 16 bytes\n...\n89abcdef" },
		{ { "abc", "0123456789abcdef", "xy" }, "abcdefxy", "Captured 8 of 21 bytes\n...\nabcdefxy" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf plain = BUF_INIT(256), captured = BUF_INIT(256);
		struct output o;

		output_init(&o, 8);
		for (size_t k = 0; cases[i].adds[k] != NULL; k++)
			output_add(&o, cases[i].adds[k], strlen(cases[i].adds[k]));
		assert_int_equal(output_append(&o, &plain), 0);
		assert_int_equal(output_append_captured(&o, &captured), 0);
		assert_string_equal(buf_cstr(&plain), cases[i].plain);
		assert_string_equal(buf_cstr(&captured), cases[i].captured);
		output_release(&o);
		buf_release(&plain);
		buf_release(&captured);
	}
}

static void
test_output_cut(void **state)
{
	struct buf b = BUF_INIT(256);

	(void)state;
	assert_int_equal(output_cut(STR("12345"), 5, &b), 0);
	assert_string_equal(buf_cstr(&b), "12345");
	buf_clear(&b);
	assert_int_equal(output_cut(STR("123456"), 5, &b), 0);
	assert_string_equal(buf_cstr(&b), "12345 ... (captured 5 of 6 bytes)");
	buf_release(&b);
}

static void
test_sum(void **state)
{
	struct status_sum s = { .worst = CHECK_PASSING };

	(void)state;
	assert_string_equal(status_sum_text(&s), "passing");
	status_sum_add(&s, STR("a"), CHECK_WARNING);
	status_sum_add(&s, STR("b"), CHECK_PASSING);
	assert_string_equal(status_sum_text(&s), "warning");
	status_sum_add(&s, STR("c"), CHECK_CRITICAL);
	assert_string_equal(status_sum_text(&s), "critical");
	status_sum_add(&s, STR("_service_maintenance:x"), CHECK_CRITICAL);
	assert_string_equal(status_sum_text(&s), "maintenance");
	assert_true(status_is_maintenance(STR("_node_maintenance")));
	assert_false(status_is_maintenance(STR("_node_maintenance2")));
}

static void
test_times(void **state)
{
	static const struct {
		uint64_t nodes;
		unsigned scale;
	} scales[] = { { 0, 1 }, { 1, 1 }, { 128, 1 }, { 129, 2 }, { 256, 2 }, { 257, 3 }, { 512, 3 }, { 10000, 8 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(scales); i++)
		assert_int_equal(sync_scale(scales[i].nodes), scales[i].scale);
	assert_int_equal(schedule_interval_ms(1), 1000);
	assert_int_equal(schedule_interval_ms(999 * NS_PER_MS), 1000);
	assert_int_equal(schedule_interval_ms(10 * NS_PER_S), 10000);
	assert_int_equal(random_below(0), 0);
	for (int i = 0; i < 1000; i++)
		assert_true(random_below(7) < 7);
}

/* ---- definitions */

static int
define(const char *json, const struct record *rec, enum source source, struct script_policy policy, void *obj, struct arena *a,
    struct refusal *why)
{
	char err[256];
	bool null;
	struct json_object *j = json_parse(json, strlen(json), &null, err, sizeof(err));
	int rc;

	assert_non_null(j);
	memset(obj, 0, rec->size);
	assert_int_equal(record_from_json(rec, j, obj, a, true, err, sizeof(err)), 0);
	json_object_put(j);
	rc = rec == &rec_service_def ? definition_service(obj, source, &policy, a, why) : definition_check(obj, source, &policy, why);
	return rc;
}

static void
test_refusals(void **state)
{
	static const struct {
		const struct record *rec;
		const char *json;
		int code;
		const char *text;
	} cases[] = {
		{ &rec_service_def, "{}", 400, "Missing service name" },
		{ &rec_service_def, "{\"name\":\"w\",\"address\":\"0.0.0.0\"}", 400, "Invalid service address" },
		{ &rec_service_def, "{\"name\":\"w\",\"address\":\"::\"}", 400, "Invalid service address" },
		{ &rec_service_def, "{\"name\":\"w\",\"weights\":{\"passing\":0,\"warning\":1}}", 400,
		    "Invalid Weights: Passing must be greater than 0" },
		{ &rec_service_def, "{\"name\":\"w\",\"weights\":{\"passing\":70000,\"warning\":1}}", 400,
		    "Invalid Weights: DNS Weight must be between 0 and 65535" },
		{ &rec_service_def, "{\"name\":\"w\",\"meta\":{\"a b\":\"c\"}}", 400,
		    "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters" },
		{ &rec_service_def, "{\"name\":\"w\",\"meta\":{\"consul-x\":\"c\"}}", 400,
		    "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'c'): Key prefix 'consul-' is reserved for internal use" },
		{ &rec_service_def, "{\"name\":\"w\",\"port\":70000}", 400, "Invalid service: port 70000 is not between 0 and 65535" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"http\":\"http://x\"}}", 400,
		    "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, or TCP checks" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"ttl\":\"1s\",\"interval\":\"1s\"}}", 400,
		    "Invalid check: Interval and TTL cannot both be specified" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"name\":\"x\"}}", 400, "Invalid check: TTL must be > 0 for TTL checks" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"alias_service\":\"x\",\"http\":\"http://x\",\"interval\":\"1s\"}}", 400,
		    "Invalid check: Interval cannot be set for Alias checks" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"ttl\":\"1s\",\"status\":\"bad\"}}", 400,
		    "Status for checks must 'passing', 'warning', 'critical'" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"args\":[\"true\"],\"interval\":\"1s\"}}", 500,
		    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"grpc\":\"x:1\"}}", 400,
		    "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, or TCP checks" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"udp\":\"x:1\"}}", 400,
		    "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"os_service\":\"x\",\"ttl\":\"1s\",\"interval\":\"1s\"}}", 400,
		    "Invalid check: Interval and TTL cannot both be specified" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"docker_container_id\":\"x\",\"args\":[\"a\"],\"interval\":\"1s\"}}", 500,
		    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"docker_container_id\":\"x\",\"interval\":\"1s\"}}", 400,
		    "Invalid check: a Docker check needs \"args\", the command that it runs in the container" },
		{ &rec_service_def, "{\"name\":\"w\",\"check\":{\"h2ping\":\"x:1\",\"h2ping_use_tls\":\"no\",\"interval\":\"1s\"}}", 400,
		    "Invalid check: H2PingUseTLS must be true or false" },
		{ &rec_check_def, "{\"name\":\"c\",\"tcp\":\"a:1\",\"interval\":\"1s\",\"failures_before_warning\":3,"
		    "\"failures_before_critical\":2}", 400,
		    "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical" },
		{ &rec_check_def, "{\"name\":\"c\",\"tcp\":\"a:1\",\"interval\":\"1s\",\"failures_before_critical\":-2}", 400,
		    "Invalid check: SuccessBeforePassing, FailuresBeforeWarning and FailuresBeforeCritical must not be negative" },
		{ &rec_check_def, "{\"name\":\"c\",\"tcp\":\"a:1\",\"interval\":\"1s\",\"timeout\":\"-1s\"}", 400,
		    "Invalid check: Timeout must not be negative" },
		{ &rec_check_def, "{\"name\":\"c\",\"ttl\":\"1s\",\"deregister_critical_service_after\":\"-1m\"}", 400,
		    "Invalid check: DeregisterCriticalServiceAfter must not be negative" },
		{ &rec_check_def, "{\"ttl\":\"1s\"}", 400, "Missing check name" },
		{ &rec_check_def, "{\"name\":\"c\",\"ttl\":\"1s\",\"status\":\"x\"}", 400, "Bad check status" },
		{ &rec_check_def, "{\"name\":\"c\",\"ttl\":\"1s\",\"output_max_size\":-1}", 400,
		    "Invalid check: MaxOutputMaxSize must be positive" },
		{ &rec_check_def, "{\"name\":\"c\",\"tcp\":\"a\\u0000:1\",\"interval\":\"1s\"}", 400,
		    "Invalid check: a text must not contain a NUL byte" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		union { struct service_def s; struct check_def c; } def;
		struct arena a = ARENA_INIT(64 * KiB);
		struct refusal why = { .code = 0 };

		assert_int_equal(define(cases[i].json, cases[i].rec, SOURCE_API, (struct script_policy){ false, false }, &def, &a, &why),
		    -EINVAL);
		assert_string_equal(why.text, cases[i].text);
		assert_int_equal(why.code, cases[i].code);
		arena_release(&a);
	}
}

static void
test_script_policy(void **state)
{
	static const char json[] = "{\"name\":\"c\",\"args\":[\"/bin/true\"],\"interval\":\"1s\"}";
	static const struct {
		struct script_policy policy;
		enum source source;
		int rc;
	} cases[] = {
		{ { false, false }, SOURCE_API, -EINVAL }, { { false, false }, SOURCE_FILE, -EINVAL },
		{ { false, true }, SOURCE_API, -EINVAL }, { { false, true }, SOURCE_FILE, 0 },
		{ { true, true }, SOURCE_API, 0 }, { { true, true }, SOURCE_FILE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(64 * KiB);
		struct check_def def;
		struct refusal why;

		assert_int_equal(define(json, &rec_check_def, cases[i].source, cases[i].policy, &def, &a, &why), cases[i].rc);
		if (cases[i].rc < 0 && cases[i].source == SOURCE_FILE)
			assert_string_equal(why.text, "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
			    "'enable_local_script_checks' to true");
		arena_release(&a);
	}
}

static void
test_completion(void **state)
{
	struct arena a = ARENA_INIT(64 * KiB);
	struct script_policy none = { false, false };
	struct node_service rec;
	struct health_check h;
	struct service_def d;
	struct check_def *c;
	struct refusal why;

	(void)state;
	assert_int_equal(define("{\"name\":\"web\",\"check\":{\"ttl\":\"1s\"}}", &rec_service_def, SOURCE_API, none, &d, &a, &why), 0);
	c = d.checks.v;
	assert_int_equal(d.checks.n, 1);
	assert_true(str_eqs(c->check_id, "service:web"));
	assert_true(str_eqs(c->name, "Service 'web' check"));

	assert_int_equal(define("{\"name\":\"web\",\"id\":\"w1\",\"tags\":[\"t\"],\"check\":{\"ttl\":\"1s\",\"CheckID\":\"mine\"},\"checks\":"
	    "[{\"tcp\":\"h:1\",\"interval\":\"90s\",\"name\":\"n\"},{\"ttl\":\"2s\"}]}", &rec_service_def, SOURCE_API, none, &d, &a, &why), 0);
	c = d.checks.v;
	assert_int_equal(d.checks.n, 3);
	assert_true(str_eqs(c[0].check_id, "mine"));
	assert_true(str_eqs(c[1].check_id, "service:w1:2"));
	assert_true(str_eqs(c[1].name, "n"));
	assert_true(str_eqs(c[2].check_id, "service:w1:3"));
	definition_node_service(&d, &rec);
	assert_int_equal(rec.weights.passing, 1);
	assert_int_equal(definition_health_check(&c[1], &rec, STR("n1"), &a, &h), 0);
	assert_true(str_eqs(h.interval, "1m30s"));
	assert_true(str_eqs(h.timeout, "0s"));
	assert_true(str_eqs(h.type, "tcp"));
	assert_true(str_eqs(h.service_id, "w1"));
	assert_true(str_eqs(h.service_tags.v[0], "t"));
	/* An empty single form beside a list is not a check. */
	assert_int_equal(define("{\"name\":\"web\",\"check\":{},\"checks\":[{\"ttl\":\"2s\"}]}", &rec_service_def, SOURCE_API, none, &d,
	    &a, &why), 0);
	assert_int_equal(d.checks.n, 1);
	arena_release(&a);
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *json, *want;
	} cases[] = {
		{ "{\"name\":\"w\",\"port\":8}", "" },
		{ "{\"name\":\"w\",\"address\":\"db.local\",\"port\":8}", "" },
		{ "{\"name\":\"w\",\"address\":\"10.0.0.1\",\"port\":8}", "lan_ipv4=10.0.0.1:8 wan_ipv4=10.0.0.1:8 " },
		{ "{\"name\":\"w\",\"address\":\"fd00::1\",\"port\":8}", "lan_ipv6=fd00::1:8 wan_ipv6=fd00::1:8 " },
		{ "{\"name\":\"w\",\"address\":\"10.0.0.1\",\"port\":8,\"tagged_addresses\":{\"wan_ipv4\":{\"address\":\"1.2.3.4\",\"port\":9},"
		    "\"lan\":{\"address\":\"10.0.0.2\",\"port\":7},\"z\":{\"address\":\"x\",\"port\":1}}}",
		    "lan=10.0.0.2:7 lan_ipv4=10.0.0.1:8 wan_ipv4=1.2.3.4:9 z=x:1 " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena a = ARENA_INIT(64 * KiB);
		struct buf b = BUF_INIT(1024);
		struct service_def d;
		struct refusal why;
		const struct service_address *v;

		assert_int_equal(define(cases[i].json, &rec_service_def, SOURCE_API, (struct script_policy){ false, false }, &d, &a, &why), 0);
		v = d.tagged_addresses.v;
		for (size_t k = 0; k < d.tagged_addresses.n; k++)
			assert_int_equal(buf_addf(&b, "%.*s=%.*s:%d ", STR_ARG(d.tagged_addresses.keys[k]), STR_ARG(v[k].address), (int)v[k].port), 0);
		assert_string_equal(buf_cstr(&b), cases[i].want);
		buf_release(&b);
		arena_release(&a);
	}
}

/* ---- aliases */

static void
test_alias(void **state)
{
	const struct health_check checks[] = {
		{ .check_id = STR("own"), .name = STR("own"), .status = STR("critical") },
		{ .check_id = STR("n"), .name = STR("node"), .status = STR("passing") },
		{ .check_id = STR("w"), .name = STR("warns"), .status = STR("warning"), .output = STR("hm"), .service_id = STR("web") },
		{ .check_id = STR("c"), .name = STR("fails"), .status = STR("critical"), .output = STR("no"), .service_id = STR("db") },
	};
	char text[256];

	(void)state;
	assert_int_equal(alias_sum(checks, 0, STR("own"), STR("web"), true, STR("n1"), text, sizeof(text)), CHECK_PASSING);
	assert_string_equal(text, "No checks found.");
	assert_int_equal(alias_sum(checks, 2, STR("own"), STR("web"), true, STR("n1"), text, sizeof(text)), CHECK_PASSING);
	assert_string_equal(text, "All checks passing.");
	assert_int_equal(alias_sum(checks, 4, STR("own"), STR("web"), true, STR("n1"), text, sizeof(text)), CHECK_WARNING);
	assert_string_equal(text, "Aliased check \"warns\" failing: hm");
	assert_int_equal(alias_sum(checks, 4, STR("own"), STR("db"), true, STR("n1"), text, sizeof(text)), CHECK_CRITICAL);
	assert_string_equal(text, "Aliased check \"fails\" failing: no");
	/* A node's own checks do not stand for a service that it has not got. */
	assert_int_equal(alias_sum(checks, 2, STR("own"), STR("gone"), false, STR("n1"), text, sizeof(text)), CHECK_CRITICAL);
	assert_string_equal(text, "Service gone could not be found on node n1");
	assert_int_equal(alias_sum(checks, 2, STR("own"), STR(""), false, STR("n1"), text, sizeof(text)), CHECK_PASSING);
	assert_string_equal(text, "All checks passing.");
	assert_int_equal(alias_sum(checks, 0, STR("own"), STR("gone"), false, STR("n1"), text, sizeof(text)), CHECK_CRITICAL);
	assert_string_equal(text, "Service gone could not be found on node n1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threshold),
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_output_cut),
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_script_policy),
		cmocka_unit_test(test_completion),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_alias),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
