/* files.c - small files read whole, and replaced whole. */
#include "gossipd/files.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
file_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		rc = buf_reserve(out, 4096);
		/* The last bytes that out may hold are as good as the others. */
		if (rc == -ELIMIT && out->len < out->max)
			rc = buf_reserve(out, out->max - out->len);
		if (rc < 0)
			break;
		n = read(fd, out->data + out->len, out->cap - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = -errno;
		if (n <= 0)
			break;
		out->len += (size_t)n;
	}
	(void)close(fd);
	return rc;
}

int
file_write_all(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -ENOSPC;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int
sync_directory_of(const char *path)
{
	char copy[PATH_MAX];
	int fd, rc;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
		return -ENAMETOOLONG;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	(void)close(fd);
	return rc;
}

int
file_replace(const char *path, const char *suffix, const void *p, size_t n, int *ret_fd)
{
	char next[PATH_MAX];
	int fd, rc;

	if ((size_t)snprintf(next, sizeof(next), "%s%s", path, suffix) >= sizeof(next))
		return -ENAMETOOLONG;
	fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = file_write_all(fd, p, n);
	if (rc == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0 || rename(next, path) < 0))
		rc = -errno;
	if (rc == 0)
		rc = sync_directory_of(path);
	else
		(void)unlink(next);
	if (rc == 0 && ret_fd != NULL)
		*ret_fd = fd;
	else
		(void)close(fd);
	return rc;
}
