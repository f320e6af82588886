/*
 * fdstore.c - a bounded list of named descriptors.
 */
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/agent/fdstore.h"

bool
fdname_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > FDNAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~' || name[i] == ':')
			return false;
	return true;
}

/* A daemon that got a socket back may store it again: the same inode, since every socket has its own. */
static bool
has_file(const struct fdstore *s, const struct stat *st)
{
	struct stat have;

	for (size_t i = 0; i < s->n; i++)
		if (fstat(s->v[i].fd, &have) == 0 && have.st_dev == st->st_dev && have.st_ino == st->st_ino)
			return true;
	return false;
}

int
fdstore_add(struct fdstore *s, const char *name, int fd)
{
	struct stat st;

	if (!fdname_valid(name))
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (has_file(s, &st)) {
		close(fd);
		return 0;
	}
	if (s->n == FDSTORE_MAX)
		return -ELIMIT;
	s->v[s->n].fd = fd;
	memcpy(s->v[s->n].name, name, strlen(name) + 1);
	s->n++;
	return 0;
}

size_t
fdstore_remove(struct fdstore *s, const char *name)
{
	size_t kept = 0, before = s->n;

	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->v[i].name, name) == 0)
			close(s->v[i].fd);
		else
			s->v[kept++] = s->v[i];
	}
	s->n = kept;
	return before - kept;
}

int
fdstore_names(const struct fdstore *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		int rc = buf_addf(out, "%s%s", i > 0 ? ":" : "", s->v[i].name);

		if (rc < 0)
			return rc;
	}
	return 0;
}

void
fdstore_clear(struct fdstore *s)
{
	for (size_t i = 0; i < s->n; i++)
		close(s->v[i].fd);
	s->n = 0;
}
