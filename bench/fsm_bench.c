/* fsm_bench.c - what the replicated state costs: CPU time and heap of KV writes, reads, scans and loading. */
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "raftd/fsm/fsm.h"

enum { VALUE_LEN = 100 };

static uint64_t rng = 88172645463325252u;

static unsigned
roll(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 20) % n;
}

static double
cpu_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
heap_mib(void)
{
	struct mallinfo2 m = mallinfo2();

	return (double)(m.uordblks + m.hblkhd) / MiB;
}

static void __attribute__((noreturn))
die(const char *what)
{
	fprintf(stderr, "fsm_bench: %s failed\n", what);
	exit(1);
}

static struct str
key_of(unsigned i, char text[32])
{
	return (struct str){ text, (size_t)snprintf(text, 32, "bench/key%06u", i) };
}

/* ---- the image in memory */

struct saved {
	struct buf bytes;
	size_t n;
};

static void
on_changed(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct saved *s = ctx;
	uint32_t head[3] = { (uint32_t)table, (uint32_t)key.len, (uint32_t)value.len };

	if (s == NULL)
		return;
	if (buf_add(&s->bytes, head, sizeof(head)) < 0 || buf_add(&s->bytes, key.p, key.len) < 0 ||
	    buf_add(&s->bytes, value.p, value.len) < 0)
		die("saving");
	s->n++;
}

static void
on_touched(void *ctx, const struct watch_key *key)
{
	(void)ctx;
	(void)key;
}

static struct fsm *
new_fsm(void)
{
	static const struct fsm_config c = { "dc1", 64, INT64_C(10000000000) };
	struct fsm *f = fsm_new(&c);

	if (f == NULL)
		die("fsm_new");
	return f;
}

/* ---- operations */

struct bench {
	struct fsm *f;
	uint64_t index;
	struct buf request, options, result;
	uint64_t seq;
	bool stamped;
};

static void
put(struct bench *b, unsigned i, const char *value)
{
	static const struct fsm_sink sink = { .changed = on_changed, .touched = on_touched };
	struct mp_w w = mp_w_init(&b->request), ow = mp_w_init(&b->options);
	struct kv_op op = { .verb = STR("set") };
	struct query_options o = { .origin = STR("0123456789abcdef") };
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY };
	struct fsm_error err;
	char key[32];

	buf_clear(&b->request);
	buf_clear(&b->options);
	buf_clear(&b->result);
	op.entry = (struct kv_entry){ .key = key_of(i, key), .value = { value, VALUE_LEN } };
	record_encode(&rec_kv_op, &op, RECORD_WHOLE, &w);
	e.request = (struct str){ (char *)b->request.data, b->request.len };
	if (b->stamped) {
		o.seq = ++b->seq;
		o.floor = o.seq > 64 ? o.seq - 64 : 1;	/* as with 64 writes under way */
		record_encode(&rec_query_options, &o, RECORD_WHOLE, &ow);
		e.options = (struct str){ (char *)b->options.data, b->options.len };
	}
	if (fsm_apply(b->f, ++b->index, &e, &b->result, &err, &sink) < 0 || err.code != 0)
		die("fsm_apply");
	if (b->stamped && b->index % 64 == 0 && fsm_flush(b->f, &sink) < 0)
		die("fsm_flush");
}

static void
query(struct bench *b, uint16_t op, struct str key, uint64_t *ret_index)
{
	struct mp_w w = mp_w_init(&b->result);
	struct kv_query q = { .key = key };
	struct watch_set watch;
	struct fsm_error err;

	buf_clear(&b->result);
	if (fsm_query(b->f, op, &q, 0, NULL, &w, ret_index, &watch, &err) < 0)
		die("fsm_query");
}

static void __attribute__((format(printf, 3, 4)))
report(double from, unsigned n, const char *fmt, ...)
{
	double s = cpu_s() - from;
	va_list ap;

	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	printf(": %.3f s of CPU, %.3f us each\n", s, s * 1e6 / n);
}

static void
bench_writes(struct bench *b, unsigned n, double before)
{
	char value[VALUE_LEN];
	double from;

	memset(value, 'v', sizeof(value));
	from = cpu_s();
	for (unsigned i = 0; i < n; i++)
		put(b, i, value);
	report(from, n, "put, new keys in order");
	printf("heap for %u keys of %d bytes: %.1f MiB\n", n, VALUE_LEN, heap_mib() - before);
	value[0] = 'w';
	from = cpu_s();
	for (unsigned i = 0; i < n; i++) {
		value[1] = (char)i;
		put(b, roll(n), value);
	}
	report(from, n, "put, changing random keys");
	b->stamped = true;
	value[0] = 'x';
	from = cpu_s();
	for (unsigned i = 0; i < n; i++) {
		value[1] = (char)i;
		put(b, roll(n), value);
	}
	report(from, n, "the same with stamps, flushed each 64");
	printf("heap after it: %.1f MiB\n", heap_mib() - before);
}

static void
bench_reads(struct bench *b, unsigned n)
{
	uint64_t index;
	char key[32];
	double from = cpu_s();

	for (unsigned i = 0; i < n; i++)
		query(b, OP_KV_GET, key_of(roll(n), key), &index);
	report(from, n, "get, random keys");
	from = cpu_s();
	query(b, OP_KV_LIST, STR("bench/"), &index);
	report(from, n, "list of all, per key");
	from = cpu_s();
	query(b, OP_KV_KEYS, STR("bench/"), &index);
	report(from, n, "keys of all, per key");
	from = cpu_s();
	for (unsigned i = 0; i < 10000; i++) {
		struct str k = key_of(roll(n), key);

		k.len -= 1;
		query(b, OP_KV_LIST, k, &index);
	}
	report(from, 10000, "list of ten keys with the prefix's index");
}

static void
bench_load(const struct fsm *old, unsigned n)
{
	struct saved s = { BUF_INIT(SIZE_MAX / 2), 0 };
	struct fsm_sink sink = { .ctx = &s, .changed = on_changed, .touched = on_touched };
	struct fsm *f;
	double from = cpu_s(), before;
	const uint8_t *p;

	if (fsm_dump(old, &sink) < 0)
		die("fsm_dump");
	report(from, n, "dump, per key");
	before = heap_mib();
	from = cpu_s();
	f = new_fsm();
	p = s.bytes.data;
	for (size_t i = 0; i < s.n; i++) {
		uint32_t head[3];

		memcpy(head, p, sizeof(head));
		p += sizeof(head);
		if (fsm_load(f, (enum fsm_table)head[0], (struct str){ (const char *)p, head[1] },
		    (struct str){ (const char *)p + head[1], head[2] }) < 0)
			die("fsm_load");
		p += head[1] + head[2];
	}
	if (fsm_loaded(f) < 0)
		die("fsm_loaded");
	report(from, n, "load, per key");
	printf("heap of the loaded state: %.1f MiB\n", heap_mib() - before);
	from = cpu_s();
	fsm_free(f);
	report(from, n, "free, per key");
	buf_release(&s.bytes);
}

static void
bench_delete(struct bench *b, unsigned n)
{
	static const struct fsm_sink sink = { .changed = on_changed, .touched = on_touched };
	struct kv_op op = { .verb = STR("delete-tree"), .entry.key = STR("bench/") };
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = OP_KV_APPLY };
	struct mp_w w = mp_w_init(&b->request);
	struct fsm_error err;
	double from = cpu_s();

	buf_clear(&b->request);
	buf_clear(&b->result);
	record_encode(&rec_kv_op, &op, RECORD_WHOLE, &w);
	e.request = (struct str){ (char *)b->request.data, b->request.len };
	if (fsm_apply(b->f, ++b->index, &e, &b->result, &err, &sink) < 0 || err.code != 0)
		die("fsm_apply");
	report(from, n, "delete-tree of all, per key");
}

int
main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
	double before = heap_mib();
	struct bench b = { .f = new_fsm(), .request = BUF_INIT(MiB), .options = BUF_INIT(MiB), .result = BUF_INIT(1024 * MiB) };

	if (n == 0) {
		fprintf(stderr, "usage: fsm_bench [KEYS]\n");
		return 2;
	}
	bench_writes(&b, n, before);
	bench_reads(&b, n);
	bench_load(b.f, n);
	bench_delete(&b, n);
	fsm_free(b.f);
	buf_release(&b.request);
	buf_release(&b.options);
	buf_release(&b.result);
	return 0;
}
