/* snapfile.c - writing and reading a state as a file, with a checksum over all of it. */
#include "raftd/snapfile.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/errs.h"
#include "raftd/store/batch.h"

static const char magic[] = "consulctl-state 1\n";

enum {
	MAGIC = sizeof(magic) - 1,
	MAGIC_NAME = sizeof("consulctl-state ") - 1,
	RECORD_HEADER = 9,
	END_TABLE = 0xff,
	KEY_MAX = 1024 * 1024,
	VALUE_MAX = 1024 * 1024 * 1024,
	OUT_FULL = 256 * 1024,
	IN_PIECE = 256 * 1024,
};

/* ---- writing */

struct snapfile_writer {
	int fd, err;
	uint64_t n;
	struct buf out;
	crypto_generichash_state hash;
};

static int
write_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* Hash and write what has gathered. */
static void
flush(struct snapfile_writer *w)
{
	if (w->err < 0)
		return;
	(void)crypto_generichash_update(&w->hash, w->out.data, w->out.len);
	w->err = write_all(w->fd, w->out.data, w->out.len);
	buf_shrink(&w->out, 2 * OUT_FULL);
}

static void
put(struct snapfile_writer *w, const void *p, size_t n)
{
	if (w->err == 0)
		w->err = buf_add(&w->out, p, n);
}

struct snapfile_writer *
snapfile_write(int fd, uint64_t index, uint64_t term)
{
	struct snapfile_writer *w = calloc(1, sizeof(*w));
	uint8_t head[16];

	if (w == NULL)
		return NULL;
	w->fd = fd;
	buf_init(&w->out, (size_t)VALUE_MAX + KEY_MAX + OUT_FULL + 1024);
	(void)crypto_generichash_init(&w->hash, NULL, 0, crypto_generichash_BYTES);
	put_be64(head, index);
	put_be64(head + 8, term);
	put(w, magic, MAGIC);
	put(w, head, sizeof(head));
	return w;
}

int
snapfile_add(struct snapfile_writer *w, unsigned table, struct str key, struct str value)
{
	uint8_t head[RECORD_HEADER] = { (uint8_t)table };

	if (w->err == 0 && (table >= END_TABLE || key.len > KEY_MAX || value.len > VALUE_MAX))
		w->err = -ELIMIT;
	if (w->err < 0)
		return w->err;
	put_be32(head + 1, (uint32_t)key.len);
	put_be32(head + 5, (uint32_t)value.len);
	put(w, head, sizeof(head));
	put(w, key.p, key.len);
	put(w, value.p, value.len);
	w->n++;
	if (w->out.len >= OUT_FULL)
		flush(w);
	return w->err;
}

int
snapfile_end(struct snapfile_writer *w)
{
	uint8_t tail[9] = { END_TABLE }, hash[crypto_generichash_BYTES];
	int rc;

	put_be64(tail + 1, w->n);
	put(w, tail, sizeof(tail));
	flush(w);
	(void)crypto_generichash_final(&w->hash, hash, sizeof(hash));
	if (w->err == 0)
		w->err = write_all(w->fd, hash, sizeof(hash));
	rc = w->err;
	buf_release(&w->out);
	free(w);
	return rc;
}

/* ---- reading */

struct snapfile_reader {
	int fd;
	off_t at;			/* of what is read next */
	size_t used;			/* of in: records handed out */
	size_t hashed;			/* of in */
	bool begun, ended;
	uint64_t n, index, term;
	struct buf in;
	crypto_generichash_state hash;
};

struct snapfile_reader *
snapfile_read(int fd)
{
	struct snapfile_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->fd = fd;
	buf_init(&r->in, (size_t)VALUE_MAX + KEY_MAX + IN_PIECE + 1024);
	(void)crypto_generichash_init(&r->hash, NULL, 0, crypto_generichash_BYTES);
	return r;
}

void
snapfile_free(struct snapfile_reader *r)
{
	if (r == NULL)
		return;
	buf_release(&r->in);
	free(r);
}

static int
damaged(char *err, const char *what)
{
	(void)snprintf(err, 256, "the snapshot is %s", what);
	return -EDECODE;
}

/* What was handed out is done with: hash it and make room. */
static void
consume(struct snapfile_reader *r)
{
	(void)crypto_generichash_update(&r->hash, r->in.data + r->hashed, r->used - r->hashed);
	r->hashed = r->used;
	if (r->used >= IN_PIECE || r->used == r->in.len) {
		buf_consume(&r->in, r->used);
		if (r->in.len == 0)
			buf_shrink(&r->in, 4 * IN_PIECE);
		r->used = r->hashed = 0;
	}
}

/* Have n bytes behind `used`. The file is read in pieces, so that a length that lies costs no memory. */
static int
need(struct snapfile_reader *r, size_t n, char *err)
{
	while (r->in.len - r->used < n) {
		int rc = buf_reserve(&r->in, IN_PIECE);
		ssize_t got;

		if (rc < 0) {
			(void)snprintf(err, 256, "no memory for the snapshot's records");
			return rc;
		}
		got = pread(r->fd, r->in.data + r->in.len, IN_PIECE, r->at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = -errno;
			(void)snprintf(err, 256, "cannot read the snapshot: %s", err_text(rc));
			return rc;
		}
		if (got == 0)
			return damaged(err, "cut off");
		r->in.len += (size_t)got;
		r->at += got;
	}
	return 0;
}

static int
read_head(struct snapfile_reader *r, char *err)
{
	int rc = need(r, MAGIC + 16, err);

	if (rc < 0)
		return rc;
	if (memcmp(r->in.data, magic, MAGIC_NAME) != 0)
		return damaged(err, "none of ours");
	if (memcmp(r->in.data, magic, MAGIC) != 0) {
		(void)snprintf(err, 256, "the snapshot is of a later version");
		return -ENOTSUP;
	}
	r->index = get_be64(r->in.data + MAGIC);
	r->term = get_be64(r->in.data + MAGIC + 8);
	r->used = MAGIC + 16;
	r->begun = true;
	return 0;
}

static int
read_end(struct snapfile_reader *r, char *err)
{
	uint8_t hash[crypto_generichash_BYTES], more;
	int rc = need(r, 9 + sizeof(hash), err);
	ssize_t got;

	if (rc < 0)
		return rc;
	if (get_be64(r->in.data + r->used + 1) != r->n)
		return damaged(err, "damaged: records are missing");
	r->used += 9;
	(void)crypto_generichash_update(&r->hash, r->in.data + r->hashed, r->used - r->hashed);
	r->hashed = r->used;
	(void)crypto_generichash_final(&r->hash, hash, sizeof(hash));
	if (sodium_memcmp(hash, r->in.data + r->used, sizeof(hash)) != 0)
		return damaged(err, "damaged: its checksum is wrong");
	r->used += sizeof(hash);
	do
		got = pread(r->fd, &more, 1, r->at);
	while (got < 0 && errno == EINTR);
	if (r->used != r->in.len || got != 0)
		return damaged(err, "damaged: it goes on behind its end");
	r->ended = true;
	return 0;
}

int
snapfile_next(struct snapfile_reader *r, unsigned *ret_table, struct str *ret_key, struct str *ret_value, char ret_err[256])
{
	uint32_t klen, vlen;
	const char *p;
	int rc = 0;

	if (r->ended)
		return 0;
	if (!r->begun)
		rc = read_head(r, ret_err);
	if (rc == 0) {
		consume(r);
		rc = need(r, 1, ret_err);
	}
	if (rc == 0 && r->in.data[r->used] == END_TABLE)
		return read_end(r, ret_err);
	if (rc == 0)
		rc = need(r, RECORD_HEADER, ret_err);
	if (rc < 0)
		return rc;
	klen = get_be32(r->in.data + r->used + 1);
	vlen = get_be32(r->in.data + r->used + 5);
	if (klen > KEY_MAX || vlen > VALUE_MAX)
		return damaged(ret_err, "damaged: a record is larger than any can be");
	rc = need(r, RECORD_HEADER + (size_t)klen + vlen, ret_err);
	if (rc < 0)
		return rc;
	p = (const char *)r->in.data + r->used;
	*ret_table = (uint8_t)p[0];
	*ret_key = (struct str){ p + RECORD_HEADER, klen };
	*ret_value = (struct str){ p + RECORD_HEADER + klen, vlen };
	r->used += RECORD_HEADER + (size_t)klen + vlen;
	r->n++;
	return 1;
}

uint64_t
snapfile_index(const struct snapfile_reader *r)
{
	return r->index;
}

uint64_t
snapfile_term(const struct snapfile_reader *r)
{
	return r->term;
}
