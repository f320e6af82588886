/* gzip.c - one deflate stream, reused. */
#include "httpd/gzip.h"

#include <stdlib.h>
#include <zlib.h>

enum { IDLE_MS = 5000, WINDOW_GZIP = 15 + 16, MEM_LEVEL = 8 };

struct gzip {
	uv_timer_t *idle;
	z_stream z;
	bool ready;
	struct buf out;
};

static void
on_idle(uv_timer_t *t)
{
	struct gzip *g = t->data;

	if (g->ready)
		(void)deflateEnd(&g->z);
	g->ready = false;
	buf_release(&g->out);
}

struct gzip *
gzip_new(struct loop *l)
{
	struct gzip *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->idle = malloc(sizeof(*g->idle));
	if (g->idle == NULL) {
		free(g);
		return NULL;
	}
	(void)uv_timer_init(&l->uv, g->idle);
	uv_unref((uv_handle_t *)g->idle);
	g->idle->data = g;
	buf_init(&g->out, SIZE_MAX / 2);
	return g;
}

static void
free_handle(uv_handle_t *t)
{
	free(t);
}

void
gzip_free(struct gzip *g)
{
	if (g == NULL)
		return;
	on_idle(g->idle);
	uv_close((uv_handle_t *)g->idle, free_handle);
	free(g);
}

static int
start(struct gzip *g)
{
	if (g->ready)
		return deflateReset(&g->z) == Z_OK ? 0 : -EINVAL;
	g->z = (z_stream){ 0 };
	if (deflateInit2(&g->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_GZIP, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	g->ready = true;
	return 0;
}

int
gzip_buf(struct gzip *g, struct buf *b)
{
	struct buf swap;
	int rc = start(g);

	if (rc < 0 || b->len > UINT32_MAX)
		return rc < 0 ? rc : -ELIMIT;
	(void)uv_timer_start(g->idle, on_idle, IDLE_MS, 0);
	buf_clear(&g->out);
	rc = buf_reserve(&g->out, b->len);
	if (rc < 0)
		return rc;
	g->z.next_in = b->data;
	g->z.avail_in = (uInt)b->len;
	g->z.next_out = g->out.data;
	g->z.avail_out = (uInt)b->len;
	if (deflate(&g->z, Z_FINISH) != Z_STREAM_END)
		return -ELIMIT;
	g->out.len = b->len - g->z.avail_out;
	/* The answer takes the compressed bytes, we keep its memory for the next one. */
	g->out.max = b->max;
	swap = *b;
	*b = g->out;
	g->out = swap;
	g->out.max = SIZE_MAX / 2;
	return 0;
}

/* ---- without end */

enum { STREAM_WINDOW = 12 + 16, STREAM_MEM_LEVEL = 5, STREAM_ROOM = 256 };

struct gzip_stream {
	z_stream z;
};

struct gzip_stream *
gzip_stream_new(void)
{
	struct gzip_stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	if (deflateInit2(&s->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, STREAM_WINDOW, STREAM_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(s);
		return NULL;
	}
	return s;
}

void
gzip_stream_free(struct gzip_stream *s)
{
	if (s == NULL)
		return;
	(void)deflateEnd(&s->z);
	free(s);
}

int
gzip_stream_add(struct gzip_stream *s, struct str text, bool last, struct buf *out)
{
	int rc;

	if (text.len > UINT32_MAX / 2)
		return -ELIMIT;
	s->z.next_in = (Bytef *)(uintptr_t)text.p;
	s->z.avail_in = (uInt)text.len;
	do {
		size_t room = s->z.avail_in / 2 + STREAM_ROOM;

		rc = buf_reserve(out, room);
		if (rc < 0)
			return rc;
		s->z.next_out = out->data + out->len;
		s->z.avail_out = (uInt)room;
		rc = deflate(&s->z, last ? Z_FINISH : Z_SYNC_FLUSH);
		if (rc != Z_OK && rc != Z_BUF_ERROR && rc != Z_STREAM_END)
			return -EINVAL;
		out->len += room - s->z.avail_out;
	} while (s->z.avail_out == 0 && rc != Z_STREAM_END);
	return 0;
}

/* "q=0", "q=0.0" refuse; every other weight, and none, does not. */
static bool
weight_is_zero(struct str item)
{
	for (size_t i = 0; i + 2 < item.len; i++) {
		if (item.p[i] != 'q' || item.p[i + 1] != '=')
			continue;
		for (size_t j = i + 2; j < item.len; j++)
			if (item.p[j] != '0' && item.p[j] != '.')
				return false;
		return true;
	}
	return false;
}

bool
gzip_accepted(struct str header)
{
	for (size_t i = 0; i < header.len;) {
		const char *comma = memchr(header.p + i, ',', header.len - i);
		size_t n = comma != NULL ? (size_t)(comma - (header.p + i)) : header.len - i, name = 0;
		struct str item = { header.p + i, n };

		i += n + 1;
		while (item.len > 0 && item.p[0] == ' ') {
			item.p++;
			item.len--;
		}
		while (name < item.len && item.p[name] != ';' && item.p[name] != ' ')
			name++;
		if (str_eq_nocase((struct str){ item.p, name }, STR("gzip")) || str_eq((struct str){ item.p, name }, STR("*")))
			return !weight_is_zero(item);
	}
	return false;
}
