/* snap_gunzip.c - a gzip file, decompressed piece by piece. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/snap_internal.h"

enum { IN_SIZE = 64 * 1024, GZIP_HEADER = 10, GZIP_WINDOW = 15 + 16 };

struct snap_gunzip {
	int fd;
	z_stream z;
	bool ready;		/* inflateInit2() was called */
	bool at_end;		/* of the compressed stream, and of the file */
	const char *why;
	uint8_t in[IN_SIZE];
};

struct snap_gunzip *
snap_gunzip_new(int fd)
{
	struct snap_gunzip *g = calloc(1, sizeof(*g));

	if (g != NULL)
		g->fd = fd;
	return g;
}

void
snap_gunzip_free(struct snap_gunzip *g)
{
	if (g != NULL && g->ready)
		(void)inflateEnd(&g->z);
	free(g);
}

const char *
snap_gunzip_why(const struct snap_gunzip *g)
{
	return g->why;
}

static int
bad(struct snap_gunzip *g, int rc, const char *why)
{
	g->why = why;
	return rc;
}

/* More compressed bytes. 0 at the file's end. */
static int64_t
fill(struct snap_gunzip *g)
{
	ssize_t n;

	do {
		n = read(g->fd, g->in, sizeof(g->in));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return bad(g, -errno, strerror(errno));
	g->z.next_in = g->in;
	g->z.avail_in = (uInt)n;
	return n;
}

int
snap_gunzip_open(struct snap_gunzip *g)
{
	int64_t n;
	int rc;

	if (lseek(g->fd, 0, SEEK_SET) < 0)
		return bad(g, -errno, strerror(errno));
	n = fill(g);
	if (n < 0)
		return (int)n;
	if (n < GZIP_HEADER)
		return bad(g, -EINVAL, n == 0 ? "EOF" : "unexpected EOF");
	if (g->in[0] != 0x1f || g->in[1] != 0x8b || g->in[2] != Z_DEFLATED)
		return bad(g, -EINVAL, "gzip: invalid header");
	rc = g->ready ? inflateReset2(&g->z, GZIP_WINDOW) : inflateInit2(&g->z, GZIP_WINDOW);
	if (rc != Z_OK)
		return bad(g, -ENOMEM, "no memory to decompress it");
	g->ready = true;
	g->at_end = false;
	return 0;
}

/* The compressed stream ended well: so must the file. */
static int
finish(struct snap_gunzip *g)
{
	int64_t n = g->z.avail_in > 0 ? 1 : fill(g);

	if (n > 0)
		return bad(g, -EINVAL, "unexpected EOF");	/* Consul looks for another gzip file there */
	g->at_end = n == 0;
	return (int)n;
}

int64_t
snap_gunzip_read(struct snap_gunzip *g, void *p, size_t n)
{
	size_t want = n < UINT32_MAX ? n : UINT32_MAX;

	g->z.next_out = p;
	g->z.avail_out = (uInt)want;
	while (g->z.avail_out > 0 && !g->at_end) {
		int64_t more = g->z.avail_in > 0 ? 1 : fill(g);
		int rc;

		if (more < 0)
			return more;
		rc = inflate(&g->z, Z_NO_FLUSH);
		if (rc == Z_STREAM_END)
			rc = finish(g);
		else if (rc == Z_BUF_ERROR)
			rc = more == 0 ? bad(g, -EINVAL, "unexpected EOF") : 0;
		else if (rc == Z_MEM_ERROR)
			rc = bad(g, -ENOMEM, "no memory to decompress it");
		else if (rc != Z_OK)
			rc = bad(g, -EINVAL, g->z.msg != NULL && strstr(g->z.msg, "check") != NULL ? "gzip: invalid checksum" :
			    "flate: corrupt input");
		else if (more == 0 && g->z.avail_out > 0)
			rc = bad(g, -EINVAL, "unexpected EOF");
		if (rc < 0)
			return rc;
	}
	return (int64_t)(want - g->z.avail_out);
}
