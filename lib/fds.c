/* fds.c - letting go of the parent's sockets without closing them for it. */
#include "lib/fds.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST = 3 };

static bool
is_kept(int fd, const int *keep, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (keep[i] == fd)
			return true;
	return false;
}

static int
nullify(int null, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) && !S_ISREG(st.st_mode))
		return 0;
	return dup3(null, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int
fds_nullify(const int *keep, size_t n)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), rc;
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	rc = null < 0 || dir == NULL ? -errno : 0;
	while (rc == 0 && (e = readdir(dir)) != NULL) {
		char *end;
		long fd = strtol(e->d_name, &end, 10);

		if (*end == 0 && fd >= FIRST && !is_kept((int)fd, keep, n))
			rc = nullify(null, (int)fd);
	}
	if (dir != NULL)
		(void)closedir(dir);
	if (null >= 0)
		(void)close(null);
	return rc;
}
