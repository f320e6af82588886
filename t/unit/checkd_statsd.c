/* checkd_statsd.c - metrics as statsd's lines, look by look, and names by the rules of telemetry. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <json-c/json.h>

#include "checkd/statsd_lines.h"

#include "t/unit/nomem.h"

static bool armed;
static unsigned left;	/* allocations before the one that fails */

static bool
refuse(void)
{
	return armed && left-- == 0;
}

static struct metric
counter(const char *name, uint64_t count, double sum)
{
	return (struct metric){ .name = str_from(name), .kind = METRIC_COUNTER, .total_count = count, .total_sum = sum };
}

struct got {
	char text[8192];
	size_t len, datagrams, longest;
};

static int
take(void *arg, const void *data, size_t len)
{
	struct got *g = arg;

	assert_true(g->len + len < sizeof(g->text));
	memcpy(g->text + g->len, data, len);
	g->len += len;
	g->text[g->len] = '\0';
	g->datagrams++;
	g->longest = len > g->longest ? len : g->longest;
	return 0;
}

static void
expect(struct statsd_state *s, const struct statsd_format *f, const struct metric *v, size_t n, const char *want)
{
	struct got g = { .len = 0 };

	assert_int_equal(statsd_look(s, f, v, n, take, &g), 0);
	assert_string_equal(g.text, want);
}

static struct statsd_format
plain(const char *json)
{
	struct statsd_format f = { .tags = false };
	struct json_object *slice = json_tokener_parse(json);

	assert_non_null(slice);
	telemetry_read(&f.t, slice);
	f.t.filter = json_object_get(f.t.filter);
	json_object_put(slice);
	return f;
}

static void
what_moved_is_sent(void **state)
{
	struct statsd_format f = plain("{\"telemetry\":{\"disable_hostname\":true}}");
	struct metric_bucket steps[] = { { 1, 3 }, { 2, 1 } };
	struct metric v[] = {
		counter("a", 2, 5),
		{ .name = STR("g;k=v 1"), .kind = METRIC_GAUGE, .count = 1, .sum = 7.5 },
		{ .name = STR("unset"), .kind = METRIC_GAUGE },
		{ .name = STR("t"), .kind = METRIC_SAMPLE, .count = 4, .sum = 4.5, .max = 1.75, .total_count = 4, .total_sum = 4.5, .buckets = { steps, 2 } },
	};
	struct statsd_state s = { .begun = false };

	(void)state;
	expect(&s, &f, v, ARRAY_LEN(v), "consul.g.v_1:7.5|g\n");
	expect(&s, &f, v, ARRAY_LEN(v), "consul.g.v_1:7.5|g\n");
	v[0].total_count = 3;
	v[0].total_sum = 6;
	v[3].total_count = 8;
	v[3].total_sum = 9;
	expect(&s, &f, v, ARRAY_LEN(v), "consul.a:1|c\nconsul.g.v_1:7.5|g\nconsul.t:1|ms|@0.333333333\nconsul.t:1.75|ms\n");
	/* One that is new; a time that the interval's histogram does not have yet; a counter that began again. */
	v[1] = counter("b;x=y", 1, 4);
	v[3].total_count = 10;
	v[3].total_sum = 12;
	v[3].count = 0;
	v[0].total_count = 1;
	v[0].total_sum = 1;
	expect(&s, &f, v, ARRAY_LEN(v), "consul.a:1|c\nconsul.b.y:4|c\nconsul.t:1.5|ms|@0.5\n");
	statsd_state_release(&s);
}

static void
labels_are_tags(void **state)
{
	struct statsd_format f = plain("{\"telemetry\":{\"disable_hostname\":true,\"metrics_prefix\":\"p\"}}");
	struct metric v[] = { { .name = STR("g;k=v;l=w"), .kind = METRIC_GAUGE, .count = 1, .sum = 1 }, { .name = STR("h"), .kind = METRIC_GAUGE, .count = 1 } };
	struct statsd_state s = { .begun = false };

	(void)state;
	f.tags = true;
	expect(&s, &f, v, ARRAY_LEN(v), "p.g:1|g|#k:v,l:w\np.h:0|g\n");
	f.more_tags = json_tokener_parse("[\"env:x\", \"\", 7, \"y\"]");
	assert_non_null(f.more_tags);
	expect(&s, &f, v, ARRAY_LEN(v), "p.g:1|g|#env:x,7,y,k:v,l:w\np.h:0|g|#env:x,7,y\n");
	json_object_put(f.more_tags);
	statsd_state_release(&s);
}

/* The longest rule that fits decides, of two alike the one that forbids. */
static void
filters(void **state)
{
	static const struct {
		const char *name;
		bool allowed;
	} rows[] = { { "consul.x", false }, { "consul.raft.apply", true }, { "consul.raft.rpc", false }, { "consul.raft.rpc.a", true },
		{ "consul.same", false }, { "odd", true } };
	struct statsd_format f = plain("{\"telemetry\":{\"prefix_filter\":[\"-consul\",\"+consul.raft\",\"-consul.raft.rpc\",\"+consul.raft.rpc.a\","
	    "\"-consul.same\",\"+consul.same\",\"odd\",\"\",\"-\"]}}");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (telemetry_allowed(&f.t, rows[i].name) != rows[i].allowed)
			fail_msg("%s", rows[i].name);
	f.t.filter_default = false;
	assert_false(telemetry_allowed(&f.t, "odd"));
	json_object_put(f.t.filter);
}

static void
datagrams_are_bounded(void **state)
{
	struct statsd_format f = plain("{\"telemetry\":{\"disable_hostname\":true}}");
	struct metric v[200];
	char names[ARRAY_LEN(v)][16];
	struct statsd_state s = { .begun = false };
	struct got g = { .len = 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "gauge%03zu", i);
		v[i] = (struct metric){ .name = str_from(names[i]), .kind = METRIC_GAUGE, .count = 1, .sum = 1.5 };
	}
	assert_int_equal(statsd_look(&s, &f, v, ARRAY_LEN(v), take, &g), 0);
	assert_true(g.datagrams == 4 && g.longest <= STATSD_DATAGRAM_MAX);
	assert_int_equal(g.len, ARRAY_LEN(v) * strlen("consul.gauge000:1.5|g\n"));
	statsd_state_release(&s);
}

/* Two daemons' metrics: one name once, a base's labels together, gauges with a host's name. */
static void
merged(void **state)
{
	struct metric_bucket a[] = { { 1, 1 }, { 4, 1 } }, b[] = { { 2, 1 } };
	struct metric v[] = {
		{ .name = STR("x.y"), .kind = METRIC_SAMPLE, .count = 2, .sum = 5, .min = 1, .max = 4, .total_count = 2, .buckets = { a, 2 } },
		counter("x;l=2", 1, 1), counter("x", 1, 1), counter("x;l=1", 1, 1),
		{ .name = STR("x.y"), .kind = METRIC_SAMPLE, .count = 1, .sum = 2, .min = 2, .max = 2, .total_count = 1, .buckets = { b, 1 } },
	};
	static const char *const order[] = { "x", "x;l=1", "x;l=2", "x.y" };
	struct arena arena = ARENA_INIT(64 * 1024);
	struct telemetry t = { .prefix = "consul", .host = "h" };
	struct metric_label labels[TELEMETRY_LABELS_MAX];
	char name[TELEMETRY_NAME_MAX];
	const struct metric_bucket *all;

	(void)state;
	assert_int_equal(telemetry_merge(v, ARRAY_LEN(v), &arena), ARRAY_LEN(order));
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		assert_true(str_eqs(v[i].name, order[i]));
	assert_true(v[3].count == 3 && v[3].total_count == 3 && v[3].buckets.n == 3 && v[3].max >= 4 && v[3].min <= 1);
	all = v[3].buckets.v;
	assert_true(all[0].le < all[1].le && all[1].le < all[2].le);
	assert_int_equal(telemetry_labels(v[1].name, labels), 1);
	assert_true(str_eqs(labels[0].name, "l") && str_eqs(labels[0].value, "1"));
	telemetry_name(&t, &v[1], name);
	assert_string_equal(name, "consul.x");
	v[1].kind = METRIC_GAUGE;
	telemetry_name(&t, &v[1], name);
	assert_string_equal(name, "consul.h.x");
	arena_release(&arena);
}

/* Without memory a look fails or is whole; the one after it goes on from what was sent. */
static void
no_memory(void **state)
{
	struct statsd_format f = plain("{\"telemetry\":{\"disable_hostname\":true}}");
	struct metric v[] = { counter("a", 1, 1) };
	bool failed = true;

	(void)state;
	for (unsigned n = 0; failed && n < 100; n++) {
		struct statsd_state s = { .begun = false };
		struct got g = { .len = 0 };

		v[0].total_count = 1;
		v[0].total_sum = 1;
		assert_int_equal(statsd_look(&s, &f, v, 1, take, &g), 0);
		v[0].total_count = 2;
		v[0].total_sum = 4;
		armed = true;
		left = n;
		failed = statsd_look(&s, &f, v, 1, take, &g) == -ENOMEM;
		armed = false;
		if (failed) {
			assert_int_equal(g.len, 0);
			expect(&s, &f, v, 1, "consul.a:3|c\n");
		} else {
			assert_string_equal(g.text, "consul.a:3|c\n");
		}
		statsd_state_release(&s);
	}
	assert_false(failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_moved_is_sent), cmocka_unit_test(labels_are_tags), cmocka_unit_test(filters),
		cmocka_unit_test(datagrams_are_bounded), cmocka_unit_test(merged),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
