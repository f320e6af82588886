/* acl_bootstrap.c - the file by which an operator without any token may have a first one made again. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftd/raftd.h"

#define SUB "agent.server.acl"

enum { TEXT_MAX = 64 };

/* data_dir/acl-bootstrap-reset; NULL: there is no such directory, or no memory. */
static char *
path_of(const struct raftd *r)
{
	const char *data_dir = cfg_str(r->d->config, "data_dir", "");
	char *path;

	if (data_dir[0] == 0 || asprintf(&path, "%s/acl-bootstrap-reset", data_dir) < 0)
		return NULL;
	return path;
}

/* A whole number, with white space around it. */
static bool
parse(const char *text, uint64_t *ret)
{
	char *end;

	text += strspn(text, " \t\r\n");
	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && end[strspn(end, " \t\r\n")] == 0;
}

uint64_t
acl_bootstrap_reset(const struct raftd *r)
{
	char *path = path_of(r), text[TEXT_MAX + 1];
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW) : -1;
	uint64_t index = 0;
	ssize_t n;

	if (fd >= 0) {
		n = read(fd, text, TEXT_MAX);
		text[n > 0 ? n : 0] = 0;
		if (!parse(text, &index)) {
			log_err(SUB, "bootstrap: failed to parse reset index: path=%s", path);
			index = 0;
		}
		(void)close(fd);
	} else if (path != NULL && errno != ENOENT) {
		log_err(SUB, "bootstrap: failed to read path: path=%s error=\"%s\"", path, strerror(errno));
	}
	free(path);
	return index;
}

void
acl_bootstrap_used(const struct raftd *r)
{
	char *path = path_of(r);

	/* It would let nobody in again: the index that it names has moved. */
	if (path != NULL && unlink(path) < 0 && errno != ENOENT)
		log_warn(SUB, "failed to remove bootstrap file: path=%s error=\"%s\"", path, strerror(errno));
	free(path);
}
