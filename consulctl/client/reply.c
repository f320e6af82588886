/*
 * reply.c - reading an HTTP/1.1 answer (RFC 9112).
 */
#include <stdlib.h>
#include <strings.h>

#include "consulctl/client/reply.h"
#include "lib/str.h"

void
reply_init(struct reply *r)
{
	*r = (struct reply){ .state = REPLY_STATUS };
	buf_init(&r->line, REPLY_LINE_MAX);
}

void
reply_release(struct reply *r)
{
	buf_release(&r->line);
}

static int
number(const char *s, int base, uint64_t *ret)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, base);
	if (end == s || *s == '-' || *s == '+' || errno != 0)
		return -EDECODE;
	*ret = v;
	return 0;
}

static int
status_line(struct reply *r, const char *s)
{
	uint64_t status;

	if (strncmp(s, "HTTP/1.", 7) != 0 || strlen(s) < 12 || s[8] != ' ')
		return -EDECODE;
	if (number(s + 9, 10, &status) < 0 || status < 100 || status > 999)
		return -EDECODE;
	r->status = (int)status;
	r->keep_alive = s[7] != '0';
	r->state = REPLY_HEADER;
	return 0;
}

static int
header_line(struct reply *r, char *s)
{
	char *value = strchr(s, ':');

	if (value == NULL)
		return -EDECODE;
	*value++ = '\0';
	value += strspn(value, " \t");
	if (strcasecmp(s, "content-length") == 0) {
		r->has_length = true;
		return number(value, 10, &r->left);
	}
	if (strcasecmp(s, "transfer-encoding") == 0)
		r->chunked = strcasecmp(value, "chunked") == 0;
	else if (strcasecmp(s, "connection") == 0 && strcasecmp(value, "close") == 0)
		r->keep_alive = false;
	else if (strcasecmp(s, "x-consul-index") == 0)
		return number(value, 10, &r->index);
	return 0;
}

/* The empty line behind the headers: how does the body end? */
static void
head_end(struct reply *r)
{
	if (r->status < 200) {
		/* An interim answer; the real one follows. */
		reply_release(r);
		reply_init(r);
		return;
	}
	r->head_done = true;
	r->lines = 0;
	if (r->status == 204 || r->status == 304)
		r->state = REPLY_DONE;
	else if (r->chunked)
		r->state = REPLY_CHUNK;
	else if (r->has_length)
		r->state = r->left > 0 ? REPLY_LENGTH : REPLY_DONE;
	else {
		r->state = REPLY_TO_END;
		r->keep_alive = false;
	}
}

static int
chunk_line(struct reply *r, const char *s)
{
	int rc = number(s, 16, &r->left);

	if (rc < 0)
		return rc;
	r->state = r->left > 0 ? REPLY_CHUNK_DATA : REPLY_TRAILER;
	return 0;
}

/* One whole line, without its end. */
static int
line(struct reply *r, char *s)
{
	if (++r->lines > REPLY_LINES_MAX && r->state != REPLY_CHUNK && r->state != REPLY_CHUNK_END)
		return -EDECODE;
	switch (r->state) {
	case REPLY_STATUS:
		return status_line(r, s);
	case REPLY_HEADER:
		if (*s != '\0')
			return header_line(r, s);
		head_end(r);
		return 0;
	case REPLY_CHUNK:
		r->lines = 0;
		return chunk_line(r, s);
	case REPLY_CHUNK_END:
		r->state = REPLY_CHUNK;
		return *s == '\0' ? 0 : -EDECODE;
	case REPLY_TRAILER:
		if (*s == '\0')
			r->state = REPLY_DONE;
		return 0;
	default:
		return -EDECODE;
	}
}

/* Take bytes up to the end of a line; *used says how many. */
static int
feed_line(struct reply *r, const char *p, size_t n, size_t *used)
{
	const char *nl = memchr(p, '\n', n);
	int rc;

	*used = nl != NULL ? (size_t)(nl - p) + 1 : n;
	rc = buf_add(&r->line, p, *used - (nl != NULL));
	if (rc < 0)
		return rc == -ELIMIT ? -EDECODE : rc;
	if (nl == NULL)
		return 0;
	if (r->line.len > 0 && r->line.data[r->line.len - 1] == '\r')
		r->line.len--;
	rc = buf_addc(&r->line, 0);
	if (rc < 0)
		return rc == -ELIMIT ? -EDECODE : rc;
	r->line.len = 0;
	return line(r, (char *)r->line.data);
}

static int
feed_body(struct reply *r, const char *p, size_t n, size_t *used, reply_sink *sink, void *arg)
{
	int rc;

	*used = r->state == REPLY_TO_END || n < r->left ? n : (size_t)r->left;
	rc = sink(arg, p, *used);
	if (rc < 0 || r->state == REPLY_TO_END)
		return rc;
	r->left -= *used;
	if (r->left == 0)
		r->state = r->state == REPLY_LENGTH ? REPLY_DONE : REPLY_CHUNK_END;
	return 0;
}

int
reply_feed(struct reply *r, const char *p, size_t n, reply_sink *sink, void *arg)
{
	int rc;

	while (n > 0) {
		size_t used = 0;

		if (r->state == REPLY_DONE)
			return -EDECODE;
		if (r->state == REPLY_LENGTH || r->state == REPLY_TO_END || r->state == REPLY_CHUNK_DATA)
			rc = feed_body(r, p, n, &used, sink, arg);
		else
			rc = feed_line(r, p, n, &used);
		if (rc < 0)
			return rc;
		p += used;
		n -= used;
	}
	return r->state == REPLY_DONE;
}

int
reply_end(struct reply *r)
{
	return r->state == REPLY_DONE || r->state == REPLY_TO_END ? 1 : -ECLOSED;
}
