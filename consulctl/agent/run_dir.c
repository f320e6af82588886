/*
 * run_dir.c - makes, locks and fills the runtime directory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/agent/run_dir.h"
#include "lib/loop.h"
#include "lib/sock.h"

#define LOCK_NAME "lock"
#define LOCK_NEW "lock.new"
#define LOCK_SUFFIX ".lock"	/* of each daemon */
#define TEMPORARY_PREFIX "consulctl-dev-"

enum { NFTW_FDS = 16 };

/* One sentence into err; rc is passed through. */
static int PRINTF(3, 4)
refuse(int rc, struct buf *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (buf_vaddf(err, fmt, ap) < 0)
		buf_clear(err);	/* the code alone has to do */
	va_end(ap);
	return rc;
}

/* dir/name, to be freed; NULL without memory. */
static char *
join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* ---- removing a tree */

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

static void
remove_tree(const char *path)
{
	(void)nftw(path, remove_entry, NFTW_FDS, FTW_DEPTH | FTW_PHYS);
}

/* ---- waiting for the former agent's daemons (lib/daemon.c: hold_lock()) */

/* False when the lock is held until the deadline. */
static bool
wait_lock(int fd, uint64_t deadline)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (clock_ms() >= deadline)
			return false;
		(void)poll(NULL, 0, RUN_DIR_POLL_MS);
	}
	return true;
}

/* The holder's pid when it belongs to a supervisor, which must be dead since its directory is ours; 0 otherwise. */
static pid_t
orphan_holder(int fd)
{
	char text[64] = "";
	int pid = 0, parent = 0;

	if (pread(fd, text, sizeof(text) - 1, 0) < 0 || sscanf(text, "%d %d", &pid, &parent) != 2)
		return 0;
	return pid > 1 && parent > 0 ? pid : 0;
}

/* Wait, then kill what hangs. False when it is still there. */
static bool
wait_gone(int fd, uint64_t deadline)
{
	pid_t pid;

	if (wait_lock(fd, deadline))
		return true;
	pid = orphan_holder(fd);
	if (pid == 0 || kill(pid, SIGKILL) < 0)
		return false;
	return wait_lock(fd, clock_ms() + RUN_DIR_WAIT_MS);
}

static bool
is_daemon_lock(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL && strcmp(dot, LOCK_SUFFIX) == 0;
}

/* Wait for all daemons of a directory. -EBUSY with a sentence when one stays that has no supervisor. */
static int
wait_unused(const char *path, struct buf *err)
{
	uint64_t deadline = clock_ms() + RUN_DIR_WAIT_MS;
	DIR *d = opendir(path);
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return 0;
	while (rc == 0 && (e = readdir(d)) != NULL) {
		int fd = is_daemon_lock(e->d_name) ? openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;

		if (fd < 0)
			continue;
		if (!wait_gone(fd, deadline))
			rc = refuse(-EBUSY, err, "a daemon is already running, see %s/%s", path, e->d_name);
		close(fd);
	}
	closedir(d);
	return rc;
}

/* ---- the lock */

/* -EWOULDBLOCK when somebody holds it. The file says who. */
static int
lock_file(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
		close(fd);
		return -EIO;
	}
	*ret_fd = fd;
	return 0;
}

static long
lock_holder(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtol(text, NULL, 10);
}

static int
make_dir(const char *path, struct buf *err)
{
	struct stat st;
	int rc;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		rc = -errno;
		return refuse(rc, err, "cannot make the directory %s: %s", path, err_text(rc));
	}
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return refuse(-ENOTDIR, err, "%s is not a directory", path);
	if ((st.st_mode & 0077) != 0 && chmod(path, 0700) < 0) {
		rc = -errno;
		return refuse(rc, err, "cannot make %s private: %s", path, err_text(rc));
	}
	return 0;
}

/* What both kinds need once path is there. */
static int
open_inside(struct run_dir *r, struct buf *err)
{
	char *config = join(r->path, "config");
	int rc;

	if (config == NULL)
		return refuse(-ENOMEM, err, "out of memory");
	r->fd = sock_dir_open(r->path);
	rc = r->fd < 0 ? refuse(r->fd, err, "cannot open %s: %s", r->path, err_text(r->fd)) : make_dir(config, err);
	free(config);
	return rc;
}

int
run_dir_open(struct run_dir *r, const char *data_dir, struct buf *err)
{
	char *lock = NULL;
	int rc;

	r->path = join(data_dir, "run");
	lock = r->path != NULL ? join(r->path, LOCK_NAME) : NULL;
	if (lock == NULL)
		return refuse(-ENOMEM, err, "out of memory");
	rc = make_dir(r->path, err);
	if (rc < 0)
		goto out;
	rc = lock_file(lock, &r->lock_fd);
	if (rc == -EWOULDBLOCK)
		rc = refuse(rc, err, "another agent (pid %ld) is running with the data directory %s", lock_holder(lock), data_dir);
	else if (rc < 0)
		rc = refuse(rc, err, "cannot lock %s: %s", lock, err_text(rc));
	if (rc == 0)
		rc = wait_unused(r->path, err);
	if (rc == 0)
		rc = open_inside(r, err);
out:
	free(lock);
	return rc;
}

/* ---- temporary ones */

static const char *
tmp_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir != NULL && dir[0] == '/' ? dir : "/tmp";
}

/* One that nobody locks any more, though it has a lock: its agent was killed. */
static bool
is_stale(const char *path)
{
	char lock[PATH_MAX];
	struct stat st;
	bool stale;
	int fd;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return false;
	if (snprintf(lock, sizeof(lock), "%s/" LOCK_NAME, path) >= (int)sizeof(lock))
		return false;
	fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	stale = flock(fd, LOCK_EX | LOCK_NB) == 0;
	close(fd);
	return stale;
}

static void
remove_stale(const char *dir)
{
	struct buf ignored = BUF_INIT(PATH_MAX * 2);	/* what cannot be removed stays */
	DIR *d = opendir(dir);
	struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		char path[PATH_MAX];

		if (strncmp(e->d_name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) != 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path) || !is_stale(path))
			continue;
		if (wait_unused(path, &ignored) == 0)
			remove_tree(path);
		buf_clear(&ignored);
	}
	closedir(d);
	buf_release(&ignored);
}

/* The lock gets its name when it is held: an agent that starts at the same time must not find it free. */
static int
lock_new(const struct run_dir *r, int *ret_fd)
{
	char *new = join(r->path, LOCK_NEW), *name = join(r->path, LOCK_NAME);
	int rc;

	rc = new != NULL && name != NULL ? lock_file(new, ret_fd) : -ENOMEM;
	if (rc == 0 && rename(new, name) < 0)
		rc = -errno;
	free(new);
	free(name);
	return rc;
}

int
run_dir_open_temporary(struct run_dir *r, struct buf *err)
{
	int rc;

	remove_stale(tmp_dir());
	r->path = join(tmp_dir(), TEMPORARY_PREFIX "XXXXXX");
	if (r->path == NULL)
		return refuse(-ENOMEM, err, "out of memory");
	if (mkdtemp(r->path) == NULL) {
		rc = -errno;
		return refuse(rc, err, "cannot make a directory in %s: %s", tmp_dir(), err_text(rc));
	}
	r->temporary = true;
	rc = lock_new(r, &r->lock_fd);
	if (rc < 0)
		return refuse(rc, err, "cannot make a lock in %s: %s", r->path, err_text(rc));
	return open_inside(r, err);
}

/* ---- files */

static int
write_whole(const char *path, const char *text)
{
	size_t len = strlen(text), done = 0;
	int rc = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (done < len && rc == 0) {
		ssize_t n = write(fd, text + done, len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			rc = -errno;
	}
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int
write_new(const char *dir, const struct run_dir_file *f, char **ret_path)
{
	char *name = join(dir, f->name);

	*ret_path = NULL;
	if (name == NULL || asprintf(ret_path, "%s.new", name) < 0)
		*ret_path = NULL;
	free(name);
	return *ret_path != NULL ? write_whole(*ret_path, f->text) : -ENOMEM;
}

static int
take_name(const char *dir, const struct run_dir_file *f, const char *new)
{
	char *name = join(dir, f->name);
	int rc = 0;

	if (name == NULL)
		return -ENOMEM;
	if (rename(new, name) < 0)
		rc = -errno;
	free(name);
	return rc;
}

int
run_dir_write(const struct run_dir *r, const struct run_dir_file *files, size_t n, struct buf *err)
{
	char *new[RUN_DIR_FILES_MAX] = { NULL };
	int rc = n <= RUN_DIR_FILES_MAX ? 0 : -ELIMIT;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = write_new(r->path, &files[i], &new[i]);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = take_name(r->path, &files[i], new[i]);
	for (size_t i = 0; i < RUN_DIR_FILES_MAX; i++) {
		if (rc < 0 && new[i] != NULL)
			(void)unlink(new[i]);
		free(new[i]);
	}
	return rc < 0 ? refuse(rc, err, "cannot write the daemons' configuration in %s: %s", r->path, err_text(rc)) : 0;
}

void
run_dir_close(struct run_dir *r)
{
	if (r->temporary)
		remove_tree(r->path);
	if (r->fd >= 0)
		close(r->fd);
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	free(r->path);
	*r = (struct run_dir)RUN_DIR_INIT;
}
