/* snap_write.c - a snapshot archive put together: records, tar, gzip. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/snap_internal.h"

/* Level 1: records are small and alike, and whoever saves wants to be done. */
enum { IN_SIZE = 64 * 1024, OUT_SIZE = 128 * 1024, GZIP_WINDOW = 15 + 16, GZIP_LEVEL = 1, GZIP_MEMORY = 8 };

struct snap_out {
	int fd;
	bool writing;		/* the second pass; else only length and digest are wanted */
	int err;
	uint64_t size;		/* of state.bin so far */
	crypto_hash_sha256_state hash;
	z_stream z;
	size_t in_len;
	uint8_t in[IN_SIZE];	/* records are small: hash and deflate get many at once */
	uint8_t out[OUT_SIZE];
};

/* ---- gzip */

static void
flush_out(struct snap_out *o)
{
	size_t n = sizeof(o->out) - o->z.avail_out, at = 0;

	while (at < n && o->err == 0) {
		ssize_t put = write(o->fd, o->out + at, n - at);

		if (put >= 0)
			at += (size_t)put;
		else if (errno != EINTR)
			o->err = -errno;
	}
	o->z.next_out = o->out;
	o->z.avail_out = sizeof(o->out);
}

static void
gzip_add(struct snap_out *o, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0 && o->err == 0) {
		size_t some = n < UINT32_MAX ? n : UINT32_MAX;

		o->z.next_in = (uint8_t *)(uintptr_t)at;
		o->z.avail_in = (uInt)some;
		while (o->z.avail_in > 0 && o->err == 0) {
			if (deflate(&o->z, Z_NO_FLUSH) != Z_OK)
				o->err = -EIO;
			if (o->z.avail_out == 0)
				flush_out(o);
		}
		at += some;
		n -= some;
	}
}

static void
gzip_end(struct snap_out *o)
{
	int rc = Z_OK;

	o->z.avail_in = 0;
	while (o->err == 0 && rc != Z_STREAM_END) {
		rc = deflate(&o->z, Z_FINISH);
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			o->err = -EIO;
		flush_out(o);
	}
}

/* ---- tar */

static void
tar_header(struct snap_out *o, const char *name, uint64_t size, int64_t mtime)
{
	char b[SNAP_BLOCK] = { 0 };
	unsigned sum = 0;

	(void)snprintf(b, 100, "%s", name);
	(void)snprintf(b + 100, 8, "0000600");
	(void)snprintf(b + 108, 8, "0000000");
	(void)snprintf(b + 116, 8, "0000000");
	if (size < UINT64_C(1) << 33) {
		(void)snprintf(b + 124, 12, "%011llo", (unsigned long long)size);
	} else {
		b[124] = (char)0x80;	/* in 256s, as everybody does beyond 8 GiB */
		for (int i = 0; i < 8; i++)
			b[128 + i] = (char)(size >> (8 * (7 - i)));
	}
	(void)snprintf(b + 136, 12, "%011llo", (unsigned long long)mtime & 077777777777);
	memset(b + 148, ' ', 8);
	b[156] = '0';
	memcpy(b + 257, "ustar", 6);
	memcpy(b + 263, "00", 2);
	(void)snprintf(b + 329, 8, "0000000");
	(void)snprintf(b + 337, 8, "0000000");
	for (size_t i = 0; i < sizeof(b); i++)
		sum += (uint8_t)b[i];
	(void)snprintf(b + 148, 7, "%06o", sum);
	gzip_add(o, b, sizeof(b));
}

static void
tar_padding(struct snap_out *o, uint64_t size)
{
	static const char zeros[SNAP_BLOCK];

	gzip_add(o, zeros, (size_t)(-size & (SNAP_BLOCK - 1)));
}

static void
tar_add(struct snap_out *o, const char *name, const struct buf *b, int64_t mtime)
{
	tar_header(o, name, b->len, mtime);
	gzip_add(o, b->data, b->len);
	tar_padding(o, b->len);
}

/* ---- state.bin */

static void
digest(struct snap_out *o, const void *p, size_t n)
{
	(void)crypto_hash_sha256_update(&o->hash, p, n);
	if (o->writing)
		gzip_add(o, p, n);
}

static void
flush_in(struct snap_out *o)
{
	digest(o, o->in, o->in_len);
	o->in_len = 0;
}

void
snap_out_bytes(struct snap_out *o, const void *p, size_t n)
{
	if (o->err != 0 || n == 0)
		return;
	o->size += n;
	if (n > sizeof(o->in) - o->in_len)
		flush_in(o);
	if (n > sizeof(o->in)) {
		digest(o, p, n);
		return;
	}
	memcpy(o->in + o->in_len, p, n);
	o->in_len += n;
}

void
snap_out_record(struct snap_out *o, unsigned kind, struct str value)
{
	const uint8_t k = (uint8_t)kind;

	snap_out_bytes(o, &k, 1);
	snap_out_bytes(o, value.p, value.len);
}

/* One pass over the state. */
static int
run_state(struct snap_out *o, int (*state)(void *ctx, struct snap_out *o), void *ctx, uint8_t digest[SNAP_DIGEST])
{
	int rc;

	o->size = o->in_len = 0;
	(void)crypto_hash_sha256_init(&o->hash);
	rc = state(ctx, o);
	flush_in(o);
	(void)crypto_hash_sha256_final(&o->hash, digest);
	return rc < 0 ? rc : o->err;
}

static int
format_sums(const struct buf *meta, const uint8_t state[SNAP_DIGEST], struct buf *out)
{
	char hex[2 * SNAP_DIGEST + 1];
	uint8_t digest[SNAP_DIGEST];
	int rc;

	(void)crypto_hash_sha256(digest, meta->data, meta->len);
	rc = buf_addf(out, "%s  " SNAP_META_NAME "\n", sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
	if (rc == 0)
		rc = buf_addf(out, "%s  " SNAP_STATE_NAME "\n", sodium_bin2hex(hex, sizeof(hex), state, SNAP_DIGEST));
	return rc;
}

/* All in one stream, the state between what is known of it before and after. */
static int
write_all(struct snap_out *o, const struct buf *meta, const struct buf *sums, int64_t mtime,
    int (*state)(void *ctx, struct snap_out *o), void *ctx, const uint8_t want[SNAP_DIGEST])
{
	static const char end[2 * SNAP_BLOCK];
	uint64_t size = o->size;
	uint8_t got[SNAP_DIGEST];
	int rc;

	o->writing = true;
	tar_add(o, SNAP_META_NAME, meta, mtime);
	tar_header(o, SNAP_STATE_NAME, size, mtime);
	rc = run_state(o, state, ctx, got);
	if (rc < 0)
		return rc;
	if (o->size != size || memcmp(got, want, SNAP_DIGEST) != 0)
		return -EIO;
	tar_padding(o, size);
	tar_add(o, SNAP_SUMS_NAME, sums, mtime);
	gzip_add(o, end, sizeof(end));
	gzip_end(o);
	return o->err;
}

static int
write_archive(struct snap_out *o, struct snap_meta *m, int64_t now_ms, int (*state)(void *ctx, struct snap_out *o), void *ctx)
{
	struct buf meta = BUF_INIT(SNAP_META_MAX), sums = BUF_INIT(SNAP_SUMS_MAX);
	uint8_t digest[SNAP_DIGEST];
	int rc = run_state(o, state, ctx, digest);

	m->size = o->size;
	if (rc == 0)
		rc = snap_meta_format(m, &meta);
	if (rc == 0)
		rc = format_sums(&meta, digest, &sums);
	if (rc == 0)
		rc = write_all(o, &meta, &sums, now_ms / 1000, state, ctx, digest);
	buf_release(&meta);
	buf_release(&sums);
	return rc;
}

int
snap_write(int fd, const struct snap_meta *m, int64_t now_ms, int (*state)(void *ctx, struct snap_out *o), void *ctx,
    char ret_err[SNAP_ERROR_MAX])
{
	struct snap_out *o = calloc(1, sizeof(*o));
	struct snap_meta meta = *m;
	int rc;

	if (o == NULL || deflateInit2(&o->z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(o);
		return snap_fail(-ENOMEM, ret_err, "no memory to write the snapshot");
	}
	o->fd = fd;
	o->z.next_out = o->out;
	o->z.avail_out = sizeof(o->out);
	if (meta.id[0] == 0)
		(void)snprintf(meta.id, sizeof(meta.id), "%llu-%llu-%lld", (unsigned long long)m->term, (unsigned long long)m->index,
		    (long long)now_ms);
	rc = lseek(fd, 0, SEEK_SET) < 0 || ftruncate(fd, 0) < 0 ? -errno : write_archive(o, &meta, now_ms, state, ctx);
	(void)deflateEnd(&o->z);
	free(o);
	return rc < 0 ? snap_fail(rc, ret_err, "failed to write snapshot: %s", err_text(rc)) : 0;
}
