/* snapshot.c - the snapshot file of one pool. */
#include "gossipd/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gossipd/files.h"
#include "gossipd/gossipd.h"

static void
warn(struct snapshot *s, const char *what, int rc)
{
	const char *note;

	if (log_allowed(&s->limit, clock_ms(), &note))
		log_warn(s->p->log, "serf: snapshot file %s: path=%s error=\"%s\"%s", what, s->path, err_text(rc), note);
}

/* ---- the thread's part */

static int
append(struct snapshot *s)
{
	int fd = s->fd, rc;

	if (fd < 0) {
		fd = open(s->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		s->next_fd = fd;
	}
	rc = file_write_all(fd, s->writing.data, s->writing.len);
	/* Half a line would spoil the next one. */
	if (rc < 0 && ftruncate(fd, (off_t)s->size) < 0)
		return -errno;
	return rc;
}

static void
on_work(uv_work_t *w)
{
	struct snapshot *s = w->data;

	s->next_fd = -1;
	s->rc = s->rewriting ? file_replace(s->path, ".compact", s->writing.data, s->writing.len, &s->next_fd) : append(s);
}

/* ---- the loop's */

static uint64_t
size_max(struct snapshot *s)
{
	uint64_t by_nodes = SNAPSHOT_REWRITE_PER_NODE * (uint64_t)serf_count(s->p->serf, SERF_ALIVE);

	return by_nodes > SNAPSHOT_REWRITE_MIN ? by_nodes : SNAPSHOT_REWRITE_MIN;
}

static void on_timer(uv_timer_t *t);

static void
arm(struct snapshot *s, uint64_t ms)
{
	if (s->open && !s->busy && !uv_is_active((uv_handle_t *)&s->timer) && uv_timer_start(&s->timer, on_timer, ms, 0) < 0)
		warn(s, "is not written", -ENOMEM);
}

/* What comes after a rest is written soon, so that a start is not forgotten; what goes on coming is collected. */
static uint64_t
wait_ms(const struct snapshot *s)
{
	if (s->failing)
		return SNAPSHOT_RETRY_MS;
	return s->early > 0 || clock_ms() - s->written_ms > SNAPSHOT_FLUSH_MS ? SNAPSHOT_SOON_MS : SNAPSHOT_FLUSH_MS;
}

static void
on_done(uv_work_t *w, int status)
{
	struct snapshot *s = w->data;

	s->busy = false;
	if (status < 0)
		s->rc = status;
	if (s->next_fd >= 0) {
		if (s->fd >= 0)
			(void)close(s->fd);
		s->fd = s->next_fd;
	}
	if (s->rc < 0) {
		warn(s, "cannot be written", s->rc);
		s->failing = true;
		/* What was to replace the file is made anew; what was to be appended waits. */
		if (s->rewriting)
			buf_clear(&s->writing);
	} else {
		s->size = s->rewriting ? s->writing.len : s->size + s->writing.len;
		if (s->failing)
			log_info(s->p->log, "serf: snapshot file is written again: path=%s", s->path);
		s->failing = false;
		if (s->rewriting)
			s->rewrite = false;
		buf_shrink(&s->writing, 4 * KiB);
	}
	if (!s->open) {
		buf_release(&s->writing);
		return;
	}
	if (s->failing || s->rewrite || s->pending.len > 0)
		arm(s, wait_ms(s));
	if (s->p->g->d->draining)
		snapshot_flush(s);
}

/* Fill `writing` with what is to be written now; 0 when there is nothing. */
static int
prepare(struct snapshot *s)
{
	int rc;

	/* What a full disk does not take does not pile up. */
	if (s->writing.len > SNAPSHOT_PENDING_MAX) {
		buf_shrink(&s->writing, 4 * KiB);
		s->rewrite = true;
	}
	if (!s->hold && !s->p->closed && (s->rewrite || s->size + s->pending.len > size_max(s))) {
		buf_clear(&s->writing);
		rc = serf_snapshot_write(s->p->serf, &s->writing);
		if (rc < 0)
			return rc;
		buf_clear(&s->pending);
		s->rewrite = s->rewriting = true;
		return 1;
	}
	s->rewriting = false;
	rc = s->pending.len > 0 ? buf_add(&s->writing, s->pending.data, s->pending.len) : 0;
	if (rc < 0)
		return rc;
	buf_clear(&s->pending);
	return s->writing.len > 0;
}

static void
start(struct snapshot *s)
{
	int rc;

	if (s->busy)
		return;
	(void)uv_timer_stop(&s->timer);
	rc = prepare(s);
	s->written_ms = clock_ms();
	s->early -= s->early > 0;
	if (rc > 0) {
		s->work.data = s;
		rc = uv_queue_work(&s->p->g->d->loop.uv, &s->work, on_work, on_done);
		s->busy = rc == 0;
	}
	if (rc < 0) {
		warn(s, "cannot be written", rc);
		arm(s, SNAPSHOT_RETRY_MS);
	}
}

static void
on_timer(uv_timer_t *t)
{
	start(t->data);
}

void
snapshot_line(struct snapshot *s, struct str line)
{
	int rc;

	if (!s->on)
		return;
	rc = buf_add(&s->pending, line.p, line.len);
	if (rc == 0) {
		rc = buf_addc(&s->pending, '\n');
		if (rc < 0)
			s->pending.len -= line.len;
	}
	/* A line is lost: the whole is written instead. */
	if (rc < 0)
		s->rewrite = true;
	arm(s, wait_ms(s));
}

void
snapshot_flush(struct snapshot *s)
{
	if (s->open && !s->busy && !snapshot_idle(s))
		start(s);
}

bool
snapshot_idle(const struct snapshot *s)
{
	return !s->busy && (s->failing || (s->pending.len == 0 && s->writing.len == 0));
}

void
snapshot_open(struct snapshot *s, struct pool *p, const char *path, bool rejoin, struct serf_previous *ret_previous)
{
	struct buf text = BUF_INIT(SNAPSHOT_READ_MAX);
	size_t bad = 0;
	int rc;

	*s = (struct snapshot){ .p = p, .fd = -1, .next_fd = -1, .early = SNAPSHOT_EARLY };
	buf_init(&s->pending, SNAPSHOT_PENDING_MAX);
	buf_init(&s->writing, SNAPSHOT_READ_MAX);
	memset(ret_previous, 0, sizeof(*ret_previous));
	if ((size_t)snprintf(s->path, sizeof(s->path), "%s", path) >= sizeof(s->path)) {
		log_warn(p->log, "serf: snapshot file is not kept: its path is too long");
		buf_release(&text);
		return;
	}
	rc = file_read(path, &text);
	if (rc == 0)
		rc = serf_snapshot_read((struct str){ (const char *)text.data, text.len }, rejoin, ret_previous, &bad);
	if (rc < 0 && rc != -ENOENT)
		warn(s, "cannot be read", rc);
	if (bad > 0)
		log_warn(p->log, "serf: snapshot file has lines that cannot be read: path=%s lines=%zu", path, bad);
	s->size = text.len;
	/* The last line may lack its end. */
	if (text.len > 0 && text.data[text.len - 1] != '\n' && buf_addc(&s->pending, '\n') < 0)
		s->rewrite = true;
	buf_release(&text);
	rc = uv_timer_init(&p->g->d->loop.uv, &s->timer);
	if (rc < 0) {
		warn(s, "is not written", rc);
		return;
	}
	s->timer.data = s;
	s->on = s->open = true;
}

void
snapshot_close(struct snapshot *s)
{
	if (!s->open)
		return;
	s->open = s->on = false;
	uv_close((uv_handle_t *)&s->timer, NULL);
}

void
snapshot_release(struct snapshot *s)
{
	if (s->p == NULL)
		return;
	buf_release(&s->pending);
	/* What a thread still works on stays its own: the process ends with it. */
	if (s->busy)
		return;
	buf_release(&s->writing);
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
}
