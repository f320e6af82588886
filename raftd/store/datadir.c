/* datadir.c - opening, locking and marking the data directory. */
#include "raftd/store/datadir.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "raftd/store/batch.h"
#include "raftd/store/crc32c.h"

enum {
	DURABLE_SIZE = 44,
	DURABLE_CRC = DURABLE_SIZE - 4,	/* its place */
	ID_TEXT = 16,
	LOCK_TRIES = 50,
	LOCK_PAUSE_MS = 20,
};

static const char durable_magic[8] = "raftdur2", durable_magic_1[8] = "raftdur1";

static int
fail(char *ret_err, int rc, const char *path, const char *what)
{
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s%s: %s", path, what, strerror(-rc));
	return rc;
}

static int
take_lock(struct datadir *d, char *ret_err)
{
	const struct timespec pause = { 0, LOCK_PAUSE_MS * 1000000L };

	d->lock_fd = openat(d->fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return fail(ret_err, -errno, d->path, "/LOCK");
	for (int i = 0; flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fail(ret_err, -errno, d->path, "/LOCK");
		if (i == LOCK_TRIES) {
			(void)snprintf(ret_err, DATADIR_ERROR_MAX,
			    "data directory %s is in use by another running node", d->path);
			return -EBUSY;
		}
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/* Write a small file that is whole or not there after a crash. */
static int
write_whole(int dir_fd, const char *name, const void *p, size_t n)
{
	char tmp[32];
	int fd, rc = 0;

	(void)snprintf(tmp, sizeof(tmp), "%s.new", name);
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, p, n) != (ssize_t)n)
		rc = errno != 0 ? -errno : -EIO;
	else if (fsync(fd) < 0)
		rc = -errno;
	(void)close(fd);
	if (rc == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		rc = -errno;
	if (rc == 0 && fsync(dir_fd) < 0)
		rc = -errno;
	return rc;
}

static void
durable_encode(const struct durable *v, uint64_t epoch, uint8_t out[DURABLE_SIZE])
{
	memcpy(out, durable_magic, sizeof(durable_magic));
	put_be64(out + 8, v->term);
	put_be64(out + 16, v->vote);
	put_be64(out + 24, v->last);
	put_be64(out + 32, epoch);
	put_be32(out + DURABLE_CRC, crc32c(0, out, DURABLE_CRC));
}

static int
durable_read(struct datadir *d, char *ret_err)
{
	uint8_t in[DURABLE_SIZE];
	ssize_t n = pread(d->durable_fd, in, sizeof(in), 0);

	if (n < 0)
		return fail(ret_err, -errno, d->path, "/durable");
	if (n >= (ssize_t)sizeof(durable_magic_1) && memcmp(in, durable_magic_1, sizeof(durable_magic_1)) == 0) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s was written by an earlier release, in a format that this one does not "
		    "read: move the directory away and start with an empty one", d->path);
		return -EDECODE;
	}
	if (n != DURABLE_SIZE || memcmp(in, durable_magic, sizeof(durable_magic)) != 0 ||
	    crc32c(0, in, DURABLE_CRC) != get_be32(in + DURABLE_CRC)) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s/durable is damaged: what this server had promised cannot be "
		    "checked; move the directory away and let the server rejoin as a new member, or restore a backup", d->path);
		return -EDECODE;
	}
	d->durable = (struct durable){ get_be64(in + 8), get_be64(in + 16), get_be64(in + 24) };
	d->epoch = get_be64(in + 32);
	return 0;
}

static int
id_parse(const char *text, ssize_t n, uint64_t *ret)
{
	char buf[ID_TEXT + 1];
	int used = 0;

	if (n < ID_TEXT)
		return -EDECODE;
	memcpy(buf, text, ID_TEXT);
	buf[ID_TEXT] = 0;
	if (sscanf(buf, "%16" SCNx64 "%n", ret, &used) != 1 || used != ID_TEXT || *ret == 0)
		return -EDECODE;
	return 0;
}

static int
id_read(struct datadir *d, char *ret_err)
{
	char text[ID_TEXT + 2];
	int fd = openat(d->fd, "id", O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		rc = fail(ret_err, -errno, d->path, "/id");
	else if (id_parse(text, n, &d->id) < 0) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX,
		    "%s/id is damaged: it must hold the 16 hexadecimal digits of this directory's id", d->path);
		rc = -EDECODE;
	}
	(void)close(fd);
	return rc;
}

/* The durable file comes last: where it is, the directory was made whole. */
static int
make(struct datadir *d, char *ret_err)
{
	const struct durable none = { 0, 0, 0 };
	uint8_t bytes[DURABLE_SIZE];
	char text[ID_TEXT + 2];
	int rc;

	if (faccessat(d->fd, "raft.db", F_OK, 0) == 0) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s holds a database but no file named durable: what this server had "
		    "promised cannot be checked; restore the file or move the directory away", d->path);
		return -EDECODE;
	}
	do
		randombytes_buf(&d->id, sizeof(d->id));
	while (d->id == 0);
	(void)snprintf(text, sizeof(text), "%016" PRIx64 "\n", d->id);
	rc = write_whole(d->fd, "id", text, ID_TEXT + 1);
	if (rc < 0)
		return fail(ret_err, rc, d->path, "/id");
	durable_encode(&none, 0, bytes);
	rc = write_whole(d->fd, "durable", bytes, sizeof(bytes));
	if (rc < 0)
		return fail(ret_err, rc, d->path, "/durable");
	d->fresh = true;
	return 0;
}

static int
open_marks(struct datadir *d, char *ret_err)
{
	int rc;

	if (faccessat(d->fd, "durable", F_OK, 0) < 0) {
		rc = make(d, ret_err);
		if (rc < 0)
			return rc;
	}
	rc = id_read(d, ret_err);
	if (rc == -ENOENT)
		return fail(ret_err, rc, d->path, "/id");
	if (rc < 0)
		return rc;
	d->durable_fd = openat(d->fd, "durable", O_RDWR | O_CLOEXEC);
	if (d->durable_fd < 0)
		return fail(ret_err, -errno, d->path, "/durable");
	return durable_read(d, ret_err);
}

int
datadir_open(struct datadir *d, const char *path, char ret_err[DATADIR_ERROR_MAX])
{
	int rc;

	*d = (struct datadir)DATADIR_INIT;
	d->path = path;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail(ret_err, -errno, path, "");
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return fail(ret_err, -errno, path, "");
	rc = take_lock(d, ret_err);
	if (rc == 0)
		rc = open_marks(d, ret_err);
	if (rc < 0)
		datadir_close(d);
	return rc;
}

void
datadir_close(struct datadir *d)
{
	if (d->durable_fd >= 0)
		(void)close(d->durable_fd);
	if (d->lock_fd >= 0)
		(void)close(d->lock_fd);
	if (d->fd >= 0)
		(void)close(d->fd);
	d->fd = d->lock_fd = d->durable_fd = -1;
}

int
datadir_durable(struct datadir *d, const struct durable *v, uint64_t epoch)
{
	uint8_t bytes[DURABLE_SIZE];
	ssize_t n;

	durable_encode(v, epoch, bytes);
	n = pwrite(d->durable_fd, bytes, sizeof(bytes), 0);
	if (n < 0)
		return -errno;
	return n == DURABLE_SIZE ? 0 : -EIO;
}

/* Nothing depends on it, so errors do not matter. */
void
datadir_begin_writing(const struct datadir *d, const char *const *names)
{
	for (; *names != NULL; names++) {
		int fd = openat(d->fd, *names, O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		(void)close(fd);
	}
}

int
datadir_sync(const struct datadir *d, const char *name)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		rc = -errno;
	(void)close(fd);
	if (rc == 0 && fsync(d->fd) < 0)
		rc = -errno;
	return rc;
}

int
datadir_remove(const struct datadir *d, const char *name)
{
	return unlinkat(d->fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int
datadir_remove_others(const struct datadir *d, const char *prefix, const char *keep, const char *keep_too)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (dir == NULL) {
		rc = -errno;
		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	while (rc == 0 && (e = readdir(dir)) != NULL)
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && strcmp(e->d_name, keep) != 0 &&
		    strcmp(e->d_name, keep_too) != 0)
			rc = datadir_remove(d, e->d_name);
	(void)closedir(dir);
	return rc;
}

uint64_t
datadir_space(const struct datadir *d)
{
	struct statvfs v;

	if (fstatvfs(d->fd, &v) < 0)
		return UINT64_MAX;
	return (uint64_t)v.f_bavail * v.f_frsize;
}
