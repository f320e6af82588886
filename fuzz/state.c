/*
 * fuzz/state.c - fuzz target: entries of the log, one after the other.
 *
 * Two replicas that apply the same have the same image, and what one wrote
 * the other loads.
 */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "raftd/fsm/fsm.h"

enum { ENTRIES_MAX = 64 };

static struct fsm *
fsm_empty(void)
{
	static const struct fsm_config c = { "dc1", 64, 0 };
	struct fsm *f = fsm_new(&c);

	if (f == NULL)
		abort();
	return f;
}

/* Records in the order in which they come: table, key, value with their lengths. */
static void
on_changed(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct mp_w w = mp_w_init(ctx);

	mp_w_uint(&w, (uint64_t)table);
	mp_w_bin(&w, key);
	mp_w_bin(&w, value);
	if (w.err != 0)
		abort();
}

static void
dump(const struct fsm *f, struct buf *out)
{
	const struct fsm_sink sink = { .ctx = out, .changed = on_changed };

	if (fsm_dump(f, &sink) != 0)
		abort();
}

static void
expect_same(const struct buf *a, const struct buf *b)
{
	if (a->len != b->len || memcmp(a->data, b->data, a->len) != 0)
		abort();
}

static void
reload(const struct buf *image)
{
	struct buf again = BUF_INIT(64 * MiB);
	struct mp_r r = mp_r_init(image->data, image->len);
	struct fsm *f = fsm_empty();

	while (r.p < r.end) {
		enum fsm_table table = (enum fsm_table)mp_r_uint(&r);
		struct str key = mp_r_str(&r), value = mp_r_str(&r);

		if (r.err != 0 || fsm_load(f, table, key, value) != 0)
			abort();
	}
	if (fsm_loaded(f) != 0)
		abort();
	dump(f, &again);
	expect_same(image, &again);
	buf_release(&again);
	fsm_free(f);
}

/* The input is a row of msgpack arrays, as entries stand in the log. */
static bool
next_entry(struct mp_r *r, struct fsm_entry *ret)
{
	struct str raw = mp_r_raw(r);

	return r->err == 0 && raw.len > 0 && fsm_entry_decode(raw, ret) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fsm *f[2] = { fsm_empty(), fsm_empty() };
	struct buf image[2] = { BUF_INIT(64 * MiB), BUF_INIT(64 * MiB) }, result = BUF_INIT(64 * MiB);
	struct mp_r r = mp_r_init(data, size);
	struct fsm_entry e;
	struct fsm_error err;
	int rc[2] = { 0, 0 };

	for (uint64_t index = 1; index <= ENTRIES_MAX && rc[0] == 0 && next_entry(&r, &e); index++)
		for (int i = 0; i < 2; i++)
			rc[i] = fsm_apply(f[i], index, &e, &result, &err, NULL);
	if (rc[0] != rc[1])
		abort();
	dump(f[0], &image[0]);
	dump(f[1], &image[1]);
	expect_same(&image[0], &image[1]);
	/* An entry that cannot be read stops the daemon: what is then in memory goes nowhere. */
	if (rc[0] == 0)
		reload(&image[0]);
	for (int i = 0; i < 2; i++) {
		buf_release(&image[i]);
		fsm_free(f[i]);
	}
	buf_release(&result);
	return 0;
}
