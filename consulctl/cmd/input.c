/*
 * input.c - data that a command line names.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "consulctl/client/errtext.h"
#include "consulctl/cmd/input.h"

enum { READ_SIZE = 64 * KiB };

int
input_fd(int fd, struct buf *out)
{
	for (;;) {
		ssize_t n;
		int rc = buf_reserve(out, READ_SIZE);

		/* The last piece before the maximum is smaller. */
		if (rc == -ELIMIT && out->len < out->max)
			rc = buf_reserve(out, out->max - out->len);
		if (rc < 0)
			return rc;
		n = read(fd, out->data + out->len, out->cap - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		out->len += (size_t)n;
	}
}

int
input_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = input_fd(fd, out);
	close(fd);
	return rc;
}

int
input_argument(const char *arg, struct buf *out, struct buf *err)
{
	int rc, told;

	if (arg[0] == '@') {
		rc = input_file(arg + 1, out);
		if (rc < 0) {
			told = buf_addf(err, "Failed to read file: open %s: %s", arg + 1, errtext(rc));
			return told < 0 ? told : rc;
		}
		return 0;
	}
	if (strcmp(arg, "-") == 0) {
		rc = input_fd(STDIN_FILENO, out);
		if (rc < 0) {
			told = buf_addf(err, "Failed to read stdin: %s", errtext(rc));
			return told < 0 ? told : rc;
		}
		return 0;
	}
	return buf_adds(out, arg);
}
