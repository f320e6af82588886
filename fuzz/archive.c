/*
 * fuzz/archive.c - fuzz target: snapshot archives.
 *
 * The first byte tells what the rest is: 's' the state.bin of an archive
 * that is otherwise right, 't' the tar in it, anything else belongs to the
 * file itself. What is taken is saved and loaded again, and is then the same.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "fuzz/fuzz.h"
#include "raftd/archive/archive.h"

enum { IMAGE_MAX = 256 << 20 };

static int
scratch(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	return fd;
}

static void
put(int fd, const void *p, size_t n)
{
	if (write(fd, p, n) != (ssize_t)n)
		abort();
}

/* Not compressed, so that the input's bytes are the tar's. */
static void
put_gzip(int fd, const uint8_t *p, size_t n)
{
	z_stream z = { 0 };
	uint8_t *out;
	size_t max;

	if (deflateInit2(&z, 0, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	max = deflateBound(&z, n) + 64;
	out = malloc(max);
	if (out == NULL)
		abort();
	z.next_in = (uint8_t *)(uintptr_t)p;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)max;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	put(fd, out, max - z.avail_out);
	(void)deflateEnd(&z);
	free(out);
}

struct input {
	const uint8_t *p;
	size_t n;
};

static int
on_state(void *ctx, struct snap_out *o)
{
	const struct input *in = ctx;

	snap_out_bytes(o, in->p, in->n);
	return 0;
}

static int
archive_of(const uint8_t *data, size_t size)
{
	struct input in = { data + 1, size - 1 };
	const struct snap_meta meta = { .index = 7, .term = 1 };
	char err[SNAP_ERROR_MAX];
	int fd = scratch();

	if (data[0] == 's') {
		if (snap_write(fd, &meta, 0, on_state, &in, err) < 0)
			abort();
	} else if (data[0] == 't') {
		put_gzip(fd, data + 1, size - 1);
	} else {
		put(fd, data, size);
	}
	return fd;
}

/* ---- the state, and its records in their order */

struct loaded {
	struct fsm *f;
	struct buf image;
};

static int
on_record(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct loaded *l = ctx;
	struct mp_w w = mp_w_init(&l->image);

	if (fsm_load(l->f, table, key, value) != 0)
		abort();
	mp_w_uint(&w, (uint64_t)table);
	mp_w_bin(&w, key);
	mp_w_bin(&w, value);
	if (w.err != 0)
		abort();
	return 0;
}

/* False: refused, with a sentence. */
static bool
load(int fd, struct loaded *ret)
{
	static const struct fsm_config c = { "dc1", 64, 0 };
	const struct archive_sink sink = { ret, on_record };
	struct snap_meta meta;
	char err[SNAP_ERROR_MAX] = "";
	int rc;

	ret->f = fsm_new(&c);
	buf_init(&ret->image, IMAGE_MAX);
	if (ret->f == NULL)
		abort();
	rc = archive_load(fd, "dc1", &sink, &meta, err);
	if (rc < 0 && (err[0] == 0 || ret->image.len > 0))
		abort();
	if (rc == 0 && fsm_loaded(ret->f) != 0)
		abort();
	(void)close(fd);
	return rc == 0;
}

static void
release(struct loaded *l)
{
	fsm_free(l->f);
	buf_release(&l->image);
}

static int
save(const struct fsm *f)
{
	const struct snap_meta meta = { .index = 7, .term = 1 };
	char err[SNAP_ERROR_MAX];
	int fd = scratch();

	if (archive_save(f, &meta, 0, fd, err) < 0)
		abort();
	return fd;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loaded a, b, c;

	if (size == 0)
		return 0;
	if (!load(archive_of(data, size), &a)) {
		release(&a);
		return 0;
	}
	/* Saving brings everything into Consul's form; from then on nothing changes. */
	if (!load(save(a.f), &b) || !load(save(b.f), &c))
		abort();
	if (b.image.len != c.image.len || memcmp(b.image.data, c.image.data, b.image.len) != 0)
		abort();
	release(&a);
	release(&b);
	release(&c);
	return 0;
}
