/* lib_metrics.c - intervals, totals and the histogram of samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/metrics.h"

static struct arena arena = ARENA_INIT(1 << 20);

/* The record of a name, read back from what daemon.metrics would answer. */
static struct metric
read_back(const char *name)
{
	static struct buf b = BUF_INIT(1 << 20);
	struct metric m;
	struct mp_w w;
	struct mp_r r;
	uint32_t n;

	buf_clear(&b);
	w = mp_w_init(&b);
	metrics_encode(&w);
	assert_int_equal(w.err, 0);
	r = mp_r_init(b.data, b.len);
	n = mp_r_array(&r);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(record_decode(&rec_metric, &r, &m, &arena), 0);
		if (str_eqs(m.name, name))
			return m;
	}
	fail_msg("no metric %s", name);
	return m;
}

static void
an_interval_is_shown_when_it_is_over(void **state)
{
	struct metric_slot *c = metric_get("test.counter", METRIC_COUNTER), *g = metric_get("test.gauge", METRIC_GAUGE);
	struct metric m;

	(void)state;
	metrics_tick(1000000);
	metric_add(c, 2);
	metric_add(c, 3);
	metric_set(g, 7);
	assert_int_equal(read_back("test.counter").count, 0);
	assert_true(fabs(read_back("test.gauge").sum - 7) < 1e-9);
	metrics_tick(1000000 + METRICS_INTERVAL_MS - 1);
	assert_int_equal(read_back("test.counter").count, 0);
	metrics_tick(1000000 + METRICS_INTERVAL_MS);
	m = read_back("test.counter");
	assert_int_equal(m.count, 2);
	assert_int_equal(m.buckets.n, 0);
	assert_true(fabs(m.sum - 5) < 1e-9 && fabs(m.min - 2) < 1e-9 && fabs(m.max - 3) < 1e-9);
	metrics_tick(1000000 + 2 * METRICS_INTERVAL_MS);
	m = read_back("test.counter");
	assert_int_equal(m.count, 0);
	assert_int_equal(m.total_count, 2);
	assert_true(fabs(read_back("test.gauge").sum - 7) < 1e-9);
	metric_clear(g);
	assert_int_equal(read_back("test.gauge").count, 0);
	metric_set(g, 8);
	assert_int_equal(read_back("test.gauge").count, 1);
}

/* Whatever is observed lies at or below the end of its step, by less than a fifth. */
static void
a_quantile_is_at_most_a_fifth_too_high(void **state)
{
	static const double values[] = { 0, -1, 1e-6, 1.0 / 1024, 0.001, 0.5, 1, 1.19, 2, 3.14159, 64, 1000, 60000, 1048576, 1e30 };
	struct metric_slot *s = metric_get("test.sample", METRIC_SAMPLE);
	uint64_t now = 2000000;
	struct metric m;

	(void)state;
	metrics_tick(now);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		double q;

		metric_add(s, values[i]);
		metrics_tick(now += METRICS_INTERVAL_MS);
		m = read_back("test.sample");
		assert_int_equal(m.buckets.n, 1);
		q = metric_quantile(m.buckets.v, m.buckets.n, 0.5);
		if (values[i] <= 1e6 && values[i] > METRICS_LE_MIN)
			assert_true(q >= values[i] && q <= values[i] * 1.2);
	}
	for (int i = 1; i <= 1000; i++)
		metric_add(s, i);
	metrics_tick(now + METRICS_INTERVAL_MS);
	m = read_back("test.sample");
	assert_true(metric_quantile(m.buckets.v, m.buckets.n, 0.5) >= 500 && metric_quantile(m.buckets.v, m.buckets.n, 0.5) < 600);
	assert_true(metric_quantile(m.buckets.v, m.buckets.n, 0.99) >= 990 && metric_quantile(m.buckets.v, m.buckets.n, 0.99) < 1190);
	assert_true(metric_quantile(NULL, 0, 0.5) <= 0);
}

/* What a child does with its area: two intervals. */
static void
child(struct metrics_area *a, unsigned n, uint64_t now)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		metrics_use_area(a);
		if (!metrics_tick(now))
			_exit(1);
		for (unsigned i = 0; i < n; i++) {
			metric_add(metric_get("area.both", METRIC_SAMPLE), 4);
			metric_add(metric_get("area.child", METRIC_COUNTER), 1);
		}
		metric_set(metric_get("area.gauge", METRIC_GAUGE), 5);
		_exit(metrics_tick(now + METRICS_INTERVAL_MS) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The parent tells the sums of its own and its children's slots; a successor's go on from the totals of before. */
static void
areas_are_summed(void **state)
{
	struct metrics_area *a[2];
	uint64_t now = 1000000000;

	(void)state;
	assert_true(metrics_tick(now - 2 * METRICS_INTERVAL_MS));
	for (int i = 0; i < 2; i++) {
		a[i] = mmap(NULL, metrics_area_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		assert_true(a[i] != MAP_FAILED);
		metrics_add_area(a[i]);
	}
	metric_add(metric_get("area.both", METRIC_SAMPLE), 1);
	metric_set(metric_get("area.gauge", METRIC_GAUGE), 2);
	child(a[0], 3, now);
	child(a[1], 5, now);
	assert_true(metrics_tick(now + METRICS_INTERVAL_MS));
	assert_int_equal(read_back("area.both").total_count, 9);
	assert_int_equal(read_back("area.both").count, 9);
	assert_true(fabs(read_back("area.both").total_sum - 33) < 1e-9);
	assert_true(fabs(read_back("area.both").max - 4) < 1e-9 && fabs(read_back("area.both").min - 1) < 1e-9);
	assert_int_equal(read_back("area.both").buckets.n, 2);
	assert_int_equal(read_back("area.child").total_count, 8);
	assert_true(fabs(read_back("area.gauge").sum - 12) < 1e-9);
	child(a[1], 7, 2 * now);
	assert_int_equal(read_back("area.child").total_count, 15);
	assert_int_equal(read_back("area.child").count, 10);
	assert_true(fabs(read_back("area.gauge").sum - 12) < 1e-9);
	arena_release(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_interval_is_shown_when_it_is_over), cmocka_unit_test(a_quantile_is_at_most_a_fifth_too_high),
		cmocka_unit_test(areas_are_summed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
