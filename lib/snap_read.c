/*
 * snap_read.c - a snapshot archive taken apart: gzip, tar, digests, records.
 *
 * The sentences are Consul's, where it has one: what a client sees of a
 * refused restore does not depend on who refused it.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/snap_internal.h"

enum { CHUNK = 256 * 1024, NAME_MAX_LEN = 100, UNREAD_MAX = 16 << 20 };
#define STATE_MAX (UINT64_C(64) << 30)	/* bytes of state.bin: whoever packs more into little may not keep us busy for hours */

struct reader {
	struct snap_gunzip *g;
	uint8_t *chunk;
	char *err;
	const char *what;		/* that is being read, for sentences */
};

struct member {
	char name[NAME_MAX_LEN + 1];
	uint64_t size;
};

/* The digests of what was read, and what SHA256SUMS says. */
struct found {
	crypto_hash_sha256_state meta_hash, state_hash;
	struct buf meta, sums;
	bool has_meta, has_state, has_sums;
	uint64_t state_size;
};

static int
bad(struct reader *r, int64_t rc, const char *why)
{
	return snap_fail((int)rc, r->err, "failed to read snapshot file: %s: %s", r->what, why);
}

/* Exactly n bytes. */
static int
read_whole(struct reader *r, void *p, size_t n)
{
	int64_t got = snap_gunzip_read(r->g, p, n);

	if (got < 0)
		return bad(r, got, snap_gunzip_why(r->g));
	return (size_t)got < n ? bad(r, -EINVAL, "unexpected EOF") : 0;
}

/* ---- tar */

static bool
is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

/* A number in octal, ended by a blank or NUL, or in 256s. False when it is none. */
static bool
tar_number(const uint8_t *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if ((p[0] & 0x80) != 0) {
		for (i = 0; i < n; i++) {
			if (v >> 55 != 0)
				return false;
			v = v << 8 | (i == 0 ? p[i] & 0x7f : p[i]);
		}
		*ret = v;
		return true;
	}
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(p[i] - '0');
	if (i < n && p[i] != 0 && p[i] != ' ')
		return false;
	*ret = v;
	return true;
}

static bool
tar_checksum_right(const uint8_t *b)
{
	uint64_t want, sum = 0;
	int64_t signed_sum = 0;

	if (!tar_number(b + 148, 8, &want))
		return false;
	for (size_t i = 0; i < SNAP_BLOCK; i++) {
		uint8_t c = i >= 148 && i < 156 ? ' ' : b[i];

		sum += c;
		signed_sum += (int8_t)c;
	}
	return sum == want || signed_sum == (int64_t)want;
}

/* The next member's header: 1; 0 at the end of the tar. */
static int
tar_next(struct reader *r, struct member *ret)
{
	uint8_t b[SNAP_BLOCK];
	int64_t got;

	r->what = "failed reading snapshot";
	for (int zeros = 0; zeros < 2; zeros++) {
		got = snap_gunzip_read(r->g, b, sizeof(b));
		if (got < 0)
			return bad(r, got, snap_gunzip_why(r->g));
		if (got == 0)
			return 0;
		if (got < SNAP_BLOCK)
			return bad(r, -EINVAL, "unexpected EOF");
		if (!is_zero(b, sizeof(b))) {
			if (zeros > 0 || !tar_checksum_right(b) || !tar_number(b + 124, 12, &ret->size))
				return bad(r, -EINVAL, "archive/tar: invalid tar header");
			(void)snprintf(ret->name, sizeof(ret->name), "%.*s", NAME_MAX_LEN, (const char *)b);
			/* Links, directories, extended headers, names in two parts: none of ours. */
			if ((b[156] != '0' && b[156] != 0) || (memcmp(b + 257, "ustar", 6) == 0 && b[345] != 0))
				return snap_fail(-EINVAL, r->err, "failed to read snapshot file: unexpected file \"%s\" in snapshot", ret->name);
			if (ret->size > STATE_MAX)
				return snap_fail(-EINVAL, r->err, "failed to read snapshot file: \"%s\" is larger than %u GiB", ret->name,
				    (unsigned)(STATE_MAX >> 30));
			return 1;
		}
	}
	return 0;
}

/* The zeros behind a member, up to the next block. */
static int
tar_padding(struct reader *r, uint64_t size)
{
	size_t n = (size_t)(-size & (SNAP_BLOCK - 1));

	return n > 0 ? read_whole(r, r->chunk, n) : 0;
}

/* ---- members */

static int
read_small(struct reader *r, const struct member *m, struct buf *out, crypto_hash_sha256_state *hash)
{
	int rc;

	if (m->size > out->max)
		return bad(r, -EINVAL, "it is too large");
	rc = buf_reserve(out, (size_t)m->size + 1);
	if (rc < 0)
		return bad(r, rc, err_text(rc));
	rc = read_whole(r, out->data, (size_t)m->size);
	if (rc < 0)
		return rc;
	out->len = (size_t)m->size;
	if (hash != NULL)
		(void)crypto_hash_sha256_update(hash, out->data, out->len);
	return tar_padding(r, m->size);
}

/* Through state.bin: into the hash, or the walk. */
static int
read_state(struct reader *r, const struct member *m, crypto_hash_sha256_state *hash, struct snap_walk *walk)
{
	uint64_t left = m->size;

	while (left > 0) {
		size_t n = left < CHUNK ? (size_t)left : CHUNK;
		int rc = read_whole(r, r->chunk, n);

		if (rc < 0)
			return rc;
		if (hash != NULL)
			(void)crypto_hash_sha256_update(hash, r->chunk, n);
		if (walk != NULL)
			rc = snap_walk_push(walk, r->chunk, n, r->err);
		if (rc < 0)
			return rc;
		left -= n;
	}
	return tar_padding(r, m->size);
}

static int
read_member(struct reader *r, const struct member *m, struct found *f)
{
	if (strcmp(m->name, SNAP_META_NAME) == 0 && !f->has_meta) {
		f->has_meta = true;
		r->what = "failed to read snapshot metadata";
		return read_small(r, m, &f->meta, &f->meta_hash);
	}
	if (strcmp(m->name, SNAP_STATE_NAME) == 0 && !f->has_state) {
		f->has_state = true;
		f->state_size = m->size;
		r->what = "failed to read or write snapshot data";
		return read_state(r, m, &f->state_hash, NULL);
	}
	if (strcmp(m->name, SNAP_SUMS_NAME) == 0 && !f->has_sums) {
		f->has_sums = true;
		r->what = "failed to read snapshot hashes";
		return read_small(r, m, &f->sums, NULL);
	}
	return snap_fail(-EINVAL, r->err, "failed to read snapshot file: unexpected file \"%s\" in snapshot", m->name);
}

/* ---- digests */

/* "hex name": the digest's bytes and the name behind blanks. False when the line is not of that form. */
static bool
split_sum(const char *line, size_t n, uint8_t digest[SNAP_DIGEST], struct str *ret_name)
{
	size_t bin_len;
	const char *end;

	while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
		n--;
	if (sodium_hex2bin(digest, SNAP_DIGEST, line, n, NULL, &bin_len, &end) != 0 || bin_len != SNAP_DIGEST)
		return false;
	n -= (size_t)(end - line);
	if (n == 0 || *end != ' ')
		return false;
	while (n > 0 && *end == ' ') {
		end++;
		n--;
	}
	*ret_name = (struct str){ end, n };
	return n > 0;
}

static int
sums_fail(struct reader *r, const char *what, struct str name)
{
	return snap_fail(-EINVAL, r->err, "failed to read snapshot file: failed checking integrity of snapshot: %s \"%.*s\"", what,
	    (int)(name.len < 200 ? name.len : 200), name.p);
}

static int
check_sums(struct reader *r, struct found *f)
{
	uint8_t meta[SNAP_DIGEST], state[SNAP_DIGEST], got[SNAP_DIGEST];
	const char *p = (const char *)f->sums.data, *end = p != NULL ? p + f->sums.len : NULL;
	bool saw_meta = false, saw_state = false;

	(void)crypto_hash_sha256_final(&f->meta_hash, meta);
	(void)crypto_hash_sha256_final(&f->state_hash, state);
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl != NULL ? nl : end) - p);
		bool is_meta, is_state;
		struct str name;

		if (!split_sum(p, n, got, &name))
			return sums_fail(r, "malformed line", (struct str){ p, n });
		is_meta = str_eqs(name, SNAP_META_NAME);
		is_state = str_eqs(name, SNAP_STATE_NAME);
		if (!is_meta && !is_state)
			return sums_fail(r, "list missing hash for", name);
		if (memcmp(got, is_meta ? meta : state, SNAP_DIGEST) != 0)
			return sums_fail(r, "hash check failed for", name);
		saw_meta |= is_meta;
		saw_state |= is_state;
		p = nl != NULL ? nl + 1 : end;
	}
	if (!saw_meta)
		return sums_fail(r, "file missing for", STR(SNAP_META_NAME));
	return saw_state ? 0 : sums_fail(r, "file missing for", STR(SNAP_STATE_NAME));
}

/* ---- the two passes */

/* The rest of the gzip must be empty, and its checksum right. */
static int
read_rest(struct reader *r)
{
	uint64_t n = 0;

	for (;;) {
		int64_t got = snap_gunzip_read(r->g, r->chunk, CHUNK);

		if (got < 0)
			return snap_fail((int)got, r->err, "%s", snap_gunzip_why(r->g));
		if (got == 0)
			break;
		n += (uint64_t)got;
		if (n >= UNREAD_MAX)
			return snap_fail(-EINVAL, r->err, "more than %u unread uncompressed bytes remain", (unsigned)UNREAD_MAX);
	}
	return n > 0 ? snap_fail(-EINVAL, r->err, "%llu unread uncompressed bytes remain", (unsigned long long)n) : 0;
}

static int
check_meta(struct reader *r, const struct found *f, struct snap_meta *ret)
{
	int rc = 0;

	*ret = (struct snap_meta){ 0 };
	if (f->has_meta)
		rc = snap_meta_parse((struct str){ (const char *)f->meta.data, f->meta.len }, ret, r->err);
	if (rc < 0)
		return rc;
	if (ret->version != 1)
		return snap_fail(-EINVAL, r->err, "Raft error when restoring snapshot: unsupported snapshot version %llu",
		    (unsigned long long)ret->version);
	if (ret->size != f->state_size)
		return snap_fail(-EINVAL, r->err, "Raft error when restoring snapshot: failed to write snapshot, size didn't match (%llu != %llu)",
		    (unsigned long long)f->state_size, (unsigned long long)ret->size);
	return 0;
}

static int
open_gzip(struct reader *r)
{
	int rc = snap_gunzip_open(r->g);

	return rc < 0 ? snap_fail(rc, r->err, "failed to decompress snapshot: %s", snap_gunzip_why(r->g)) : 0;
}

static int
check_container(struct reader *r, struct found *f, struct snap_meta *ret)
{
	struct member m;
	int rc = open_gzip(r);

	while (rc == 0 && (rc = tar_next(r, &m)) > 0)
		rc = read_member(r, &m, f);
	if (rc == 0)
		rc = check_sums(r, f);
	if (rc == 0)
		rc = read_rest(r);
	return rc == 0 ? check_meta(r, f, ret) : rc;
}

static int
walk_state(struct reader *r, const struct snap_sink *sink)
{
	struct snap_walk walk;
	struct member m;
	int rc = open_gzip(r);

	snap_walk_init(&walk, sink);
	while (rc == 0 && (rc = tar_next(r, &m)) > 0) {
		rc = read_state(r, &m, NULL, strcmp(m.name, SNAP_STATE_NAME) == 0 ? &walk : NULL);
		r->what = "failed to read or write snapshot data";
	}
	if (rc == 0)
		rc = snap_walk_end(&walk, r->err);
	snap_walk_release(&walk);
	return rc;
}

int
snap_read(int fd, const struct snap_sink *sink, struct snap_meta *ret, char ret_err[SNAP_ERROR_MAX])
{
	struct reader r = { .g = snap_gunzip_new(fd), .chunk = malloc(CHUNK), .err = ret_err, .what = "" };
	struct found f = { .meta = BUF_INIT(SNAP_META_MAX), .sums = BUF_INIT(SNAP_SUMS_MAX) };
	struct snap_meta meta;
	int rc;

	(void)crypto_hash_sha256_init(&f.meta_hash);
	(void)crypto_hash_sha256_init(&f.state_hash);
	if (r.g == NULL || r.chunk == NULL)
		rc = snap_fail(-ENOMEM, ret_err, "no memory to read the snapshot");
	else
		rc = check_container(&r, &f, &meta);
	if (rc == 0)
		rc = walk_state(&r, sink);
	if (rc == 0)
		*ret = meta;
	buf_release(&f.meta);
	buf_release(&f.sums);
	snap_gunzip_free(r.g);
	free(r.chunk);
	return rc;
}
