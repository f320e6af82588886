/*
 * child.c - long work in a child process, which has the state as it stood.
 *
 * The child is a copy of a process with threads: it takes no signals, touches
 * neither loop nor store, and lets go of every socket and lock at once, so
 * that a connection or the data directory is never held open by it. It dies
 * with its parent. What work it may read and write are files without a name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raftd/raftd.h"

enum { NICENESS = 10 };

/* What the child tells at its end: rc, then the sentence. */
struct report {
	int32_t rc;
	char text[CHILD_ERROR_MAX];
};

struct child {
	uv_poll_t poll;
	struct raftd *r;
	pid_t pid;
	int fd;
	size_t got;
	struct report report;
	void (*done)(void *arg, int rc, const char *err);
	void *done_arg;
};

/* ---- in the child */

/* Close all but files without a name, which the work may be about, and the pipe. */
static void
let_go(int keep)
{
	int open_max = 0, dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	struct dirent *e;
	struct stat st;

	while (d != NULL && (e = readdir(d)) != NULL) {
		int fd = (int)strtol(e->d_name, NULL, 10);

		if (fd > open_max)
			open_max = fd;
	}
	if (d != NULL)
		(void)closedir(d);
	for (int fd = 3; fd <= open_max; fd++)
		if (fd != keep && fstat(fd, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_nlink > 0))
			(void)close(fd);
}

static void
run_child(int fd, pid_t parent, child_work *work, void *arg)
{
	struct report report = { .rc = 0 };
	sigset_t none;
	ssize_t n;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	let_go(fd);
	(void)setpriority(PRIO_PROCESS, 0, NICENESS);
	report.rc = work(arg, report.text);
	do
		n = write(fd, &report, sizeof(report));
	while (n < 0 && errno == EINTR);
	_exit(0);
}

/* ---- in the parent */

static void
on_closed(uv_handle_t *h)
{
	free(h->data);
}

/* Its end has been seen, or it has hardly begun: this waits for next to nothing. */
static int
reap(const struct child *c)
{
	int status = 0;

	(void)kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void
let_go_of(struct child *c)
{
	(void)uv_poll_stop(&c->poll);
	(void)close(c->fd);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* One that hangs in a write to a disk ends when that does: the pipe tells. */
void
child_kill(struct child *c)
{
	if (c == NULL)
		return;
	(void)kill(c->pid, SIGKILL);
	c->done = NULL;
}

static void
ended(struct child *c)
{
	char text[CHILD_ERROR_MAX];
	void (*done)(void *arg, int rc, const char *err) = c->done;
	void *arg = c->done_arg;
	bool whole = c->got == sizeof(c->report);
	int rc = whole ? c->report.rc : -ECANCELED, status = reap(c);

	c->report.text[sizeof(c->report.text) - 1] = 0;
	if (whole)
		memcpy(text, c->report.text, sizeof(text));
	else if (WIFSIGNALED(status))
		(void)snprintf(text, sizeof(text), "the process that did it was ended by signal %d", WTERMSIG(status));
	else
		(void)snprintf(text, sizeof(text), "the process that did it ended early");
	let_go_of(c);
	if (done != NULL)
		done(arg, rc, text);
}

static void
on_readable(uv_poll_t *p, int status, int events)
{
	struct child *c = p->data;
	size_t left = sizeof(c->report) - c->got;
	char more;
	ssize_t n = 0;

	(void)events;
	if (status == 0)
		n = left > 0 ? read(c->fd, (char *)&c->report + c->got, left) : read(c->fd, &more, 1);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	/* The pipe's end comes when its memory has gone, which takes a while if it was much. */
	if (n > 0 && left > 0)
		c->got += (size_t)n;
	else
		ended(c);
}

static int
spawn(struct child *c, int out, child_work *work, void *arg)
{
	pid_t parent = getpid();
	sigset_t all, old;

	/* The loop's signal handlers write to a pipe that both share: none may run in the child. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	c->pid = fork();
	if (c->pid == 0)
		run_child(out, parent, work, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return c->pid < 0 ? -errno : 0;
}

int
child_start(struct raftd *r, child_work *work, void *arg, void (*done)(void *done_arg, int rc, const char *err),
    void *done_arg, struct child **ret)
{
	struct child *c = calloc(1, sizeof(*c));
	int fds[2], rc;

	if (c == NULL)
		return -ENOMEM;
	*c = (struct child){ .r = r, .done = done, .done_arg = done_arg };
	if (pipe2(fds, O_CLOEXEC) < 0) {
		rc = -errno;
		free(c);
		return rc;
	}
	rc = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : spawn(c, fds[1], work, arg);
	(void)close(fds[1]);
	if (rc < 0) {
		(void)close(fds[0]);
		free(c);
		return rc;
	}
	c->fd = fds[0];
	rc = uv_poll_init(&r->d->loop.uv, &c->poll, c->fd);
	if (rc < 0) {
		(void)reap(c);
		(void)close(c->fd);
		free(c);
		return rc;
	}
	c->poll.data = c;
	rc = uv_poll_start(&c->poll, UV_READABLE, on_readable);
	if (rc < 0) {
		(void)reap(c);
		let_go_of(c);
	} else {
		*ret = c;
	}
	return rc;
}

int
child_tmpfile(struct raftd *r)
{
	char path[4096];
	int fd;

	if (r->dir == NULL) {
		fd = memfd_create("raftd", MFD_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	fd = open(r->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Not every file system can. */
	if ((size_t)snprintf(path, sizeof(path), "%s/tmp.XXXXXX", r->dir) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (unlink(path) < 0) {
		int rc = -errno;

		(void)close(fd);
		return rc;
	}
	return fd;
}
