/*
 * log_sink.c - reads the log pipe and passes whole lines on.
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "consulctl/agent/log_sink.h"
#include "consulctl/agent/log_syslog.h"
#include "lib/log.h"

enum { PIPE_BYTES = 1024 * 1024, CHUNK = 64 * 1024, FILE_MODE = 0640 };

struct log_sink {
	struct log_sink_config c;
	char *stem, *ext;		/* path before and behind "-<unix ns>" */
	int file, rd, wr;
	uint64_t bytes, opened_ms;
	bool file_failed;		/* and that was said */
	bool syslog, polling;
	size_t held;			/* bytes of an unfinished line at the start of chunk */
	char chunk[CHUNK];
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

	if (s->stem == NULL)
		return;
	if (s->file < 0 || is_due(s)) {
		prune(s);
		rc = open_next(s);
	}
	if (s->file >= 0)
		rc = write_all(s->file, p, n);
	if (rc == 0)
		s->bytes += n;
	if ((rc < 0) == s->file_failed)
		return;
	s->file_failed = rc < 0;
	snprintf(text, sizeof(text), "consulctl: the log file %s\n", rc < 0 ? err_text(rc) : "is written again");
	(void)write_all(s->c.out_fd, text, strlen(text));
}

static void
write_syslog(const char *p, size_t n)
{
	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t len = end != NULL ? (size_t)(end - p) : n;

		log_syslog_line(p, len);
		len += end != NULL;
		p += len;
		n -= len;
	}
}

static void
write_lines(struct log_sink *s, size_t n)
{
	(void)write_all(s->c.out_fd, s->chunk, n);
	write_file(s, s->chunk, n);
	if (s->syslog)
		write_syslog(s->chunk, n);
	s->held -= n;
	memmove(s->chunk, s->chunk + n, s->held);
}

/* False when the pipe is empty. */
static bool
pass_on(struct log_sink *s)
{
	ssize_t n = read(s->rd, s->chunk + s->held, sizeof(s->chunk) - s->held);
	const char *last;

	if (n <= 0)
		return false;
	s->held += (size_t)n;
	last = memrchr(s->chunk, '\n', s->held);
	if (last != NULL)
		write_lines(s, (size_t)(last - s->chunk) + 1);
	else if (s->held == sizeof(s->chunk))
		write_lines(s, s->held);
	return true;
}

static void
on_readable(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	(void)pass_on(h->data);
}

static int
open_pipe(struct log_sink *s)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	s->rd = fds[0];
	s->wr = fds[1];
	(void)fcntl(s->wr, F_SETPIPE_SZ, PIPE_BYTES);
	return fcntl(s->rd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int
open_first(struct log_sink *s)
{
	int rc = split_name(s, s->c.file);

	if (rc < 0)
		return rc;
	prune(s);
	return open_next(s);
}

static int
open_outputs(struct log_sink *s, struct buf *err)
{
	int rc = 0;

	if (s->c.file != NULL) {
		rc = open_first(s);
		if (rc < 0 && buf_addf(err, "cannot open the log file %s: %s", s->c.file, err_text(rc)) < 0)
			buf_clear(err);
	}
	if (rc == 0 && s->c.syslog_facility != NULL) {
		rc = log_syslog_open(s->c.syslog_facility);
		s->syslog = rc == 0;
		if (rc < 0 && buf_addf(err, "there is no syslog facility %s", s->c.syslog_facility) < 0)
			buf_clear(err);
	}
	return rc;
}

int
log_sink_new(const struct log_sink_config *c, struct log_sink **ret, struct buf *err)
{
	struct log_sink *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->c = *c;
	s->file = s->rd = s->wr = -1;
	rc = open_pipe(s);
	if (rc == 0)
		rc = open_outputs(s, err);
	if (rc < 0) {
		log_sink_free(s);
		return rc;
	}
	*ret = s;
	return 0;
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
	if (s->syslog)
		log_syslog_close();
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
	if (s->held > 0)
		write_lines(s, s->held);
	if (s->polling)
		uv_close((uv_handle_t *)&s->poll, on_closed);
	else
		sink_release(s);
}
