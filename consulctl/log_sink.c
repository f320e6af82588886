/*
 * log_sink.c - reads the log pipe and writes rotated files.
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "consulctl/log_sink.h"
#include "lib/log.h"

enum { PIPE_BYTES = 1024 * 1024, CHUNK = 64 * 1024, FILE_MODE = 0640 };

struct log_sink {
	struct log_sink_config c;
	char *stem, *ext;		/* path before and behind "-<unix ns>" */
	int file, rd, wr;
	uint64_t bytes, opened_ms;
	bool mid_line;			/* the last byte written was no newline: not the place to change files */
	bool file_failed;		/* and that was said */
	bool polling;
	uv_poll_t poll;
};

/* "/d/name.log" is stem "/d/name" and ext ".log". */
static int
split_name(struct log_sink *s, const char *file)
{
	const char *base = strrchr(file, '/'), *dot;
	char *whole;

	base = base != NULL ? base + 1 : file;
	if (asprintf(&whole, "%s%s", file, *base == '\0' ? "consul.log" : "") < 0)
		return -ENOMEM;
	base = whole + (base - file);
	dot = strrchr(base, '.');
	s->ext = strdup(dot != NULL ? dot : ".log");
	s->stem = dot != NULL ? strndup(whole, (size_t)(dot - whole)) : strdup(whole);
	free(whole);
	return s->ext != NULL && s->stem != NULL ? 0 : -ENOMEM;
}

/* Remove the oldest files but max_files; the time in their names sorts them. */
static void
prune(const struct log_sink *s)
{
	size_t keep = s->c.max_files > 0 ? (size_t)s->c.max_files : 0;
	char *pattern;
	glob_t g;

	if (s->c.max_files == 0 || asprintf(&pattern, "%s-*%s", s->stem, s->ext) < 0)
		return;
	if (glob(pattern, 0, NULL, &g) == 0) {
		for (size_t i = 0; i + keep < g.gl_pathc; i++)
			(void)unlink(g.gl_pathv[i]);
		globfree(&g);
	}
	free(pattern);
}

static int
open_next(struct log_sink *s)
{
	struct timespec now;
	char *path;
	int fd, rc;

	clock_gettime(CLOCK_REALTIME, &now);
	if (asprintf(&path, "%s-%lld%09ld%s", s->stem, (long long)now.tv_sec, now.tv_nsec, s->ext) < 0)
		return -ENOMEM;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE);
	rc = fd < 0 ? -errno : 0;
	free(path);
	if (rc < 0)
		return rc;
	if (s->file >= 0)
		close(s->file);
	s->file = fd;
	s->bytes = 0;
	s->opened_ms = clock_ms();
	return 0;
}

static bool
is_due(const struct log_sink *s)
{
	return (s->c.rotate_bytes > 0 && s->bytes >= s->c.rotate_bytes) ||
	    (s->c.rotate_ms > 0 && clock_ms() - s->opened_ms >= s->c.rotate_ms);
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno != EINTR)
			return -errno;
		if (w > 0) {
			p += w;
			n -= (size_t)w;
		}
	}
	return 0;
}

/* A full disk loses lines of the file, not of standard output; that is said once there, and once when it works again. */
static void
write_file(struct log_sink *s, const char *p, size_t n)
{
	char text[160];
	int rc = 0;

	if (s->file < 0 || (is_due(s) && !s->mid_line)) {
		prune(s);
		rc = open_next(s);
	}
	if (s->file >= 0)
		rc = write_all(s->file, p, n);
	if (rc == 0)
		s->bytes += n;
	s->mid_line = p[n - 1] != '\n';
	if ((rc < 0) == s->file_failed)
		return;
	s->file_failed = rc < 0;
	snprintf(text, sizeof(text), "consulctl: the log file %s\n", rc < 0 ? err_text(rc) : "is written again");
	(void)write_all(s->c.out_fd, text, strlen(text));
}

/* False when the pipe is empty. */
static bool
pass_on(struct log_sink *s)
{
	static char chunk[CHUNK];
	ssize_t n = read(s->rd, chunk, sizeof(chunk));

	if (n <= 0)
		return false;
	(void)write_all(s->c.out_fd, chunk, (size_t)n);
	write_file(s, chunk, (size_t)n);
	return true;
}

static void
on_readable(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	(void)pass_on(h->data);
}

int
log_sink_new(const struct log_sink_config *c, struct log_sink **ret, struct buf *err)
{
	struct log_sink *s = calloc(1, sizeof(*s));
	int fds[2], rc;

	if (s == NULL)
		return -ENOMEM;
	s->c = *c;
	s->file = s->rd = s->wr = -1;
	rc = split_name(s, c->file);
	if (rc < 0)
		goto fail;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		rc = -errno;
		goto fail;
	}
	s->rd = fds[0];
	s->wr = fds[1];
	(void)fcntl(s->rd, F_SETFL, O_NONBLOCK);
	(void)fcntl(s->wr, F_SETPIPE_SZ, PIPE_BYTES);
	prune(s);
	rc = open_next(s);
	if (rc < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	if (buf_addf(err, "cannot open the log file %s: %s", c->file, err_text(rc)) < 0)
		buf_clear(err);
	log_sink_free(s);
	return rc;
}

int
log_sink_fd(const struct log_sink *s)
{
	return s->wr;
}

/* A description of its own, since O_NONBLOCK belongs to the description and the daemons share the other one. */
int
log_sink_open_own(const struct log_sink *s)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->wr);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int
log_sink_start(struct log_sink *s, struct loop *l)
{
	int rc = uv_poll_init(&l->uv, &s->poll, s->rd);

	if (rc < 0)
		return rc;
	s->poll.data = s;
	s->polling = true;
	return uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

static void
sink_release(struct log_sink *s)
{
	if (s->file >= 0)
		close(s->file);
	if (s->rd >= 0)
		close(s->rd);
	if (s->wr >= 0)
		close(s->wr);
	free(s->stem);
	free(s->ext);
	free(s);
}

static void
on_closed(uv_handle_t *h)
{
	sink_release(h->data);
}

void
log_sink_free(struct log_sink *s)
{
	if (s == NULL)
		return;
	while (s->rd >= 0 && pass_on(s))
		;
	if (s->polling)
		uv_close((uv_handle_t *)&s->poll, on_closed);
	else
		sink_release(s);
}
