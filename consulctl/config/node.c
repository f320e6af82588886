/* node.c - the node's id: given, kept in data_dir/node-id, or made. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/config/build.h"

enum { UUID_LEN = 36 };

static void
make_uuid(char id[UUID_LEN + 1])
{
	unsigned char b[16];

	randombytes_buf(b, sizeof(b));
	b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	(void)snprintf(id, UUID_LEN + 1, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
	    b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static bool
is_uuid(const char *s)
{
	for (size_t i = 0; i < UUID_LEN; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : s[i] == 0 || strchr("0123456789abcdef", s[i]) == NULL)
			return false;
	return s[UUID_LEN] == 0;
}

/* The directory and those above it. */
static int
make_dirs(const char *path)
{
	char *copy = strdup(path);
	int rc = 0;

	if (copy == NULL)
		return -ENOMEM;
	for (char *p = copy + 1; rc == 0; p++) {
		if (*p != '/' && *p != 0)
			continue;
		char end = *p;

		*p = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			rc = -errno;
		*p = end;
		if (end == 0)
			break;
	}
	free(copy);
	return rc;
}

/* -ENOENT: not there; -EINVAL: there, but no id. */
static int
read_id(int dir, char id[UUID_LEN + 1])
{
	char text[UUID_LEN + 8];
	int fd = openat(dir, "node-id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	close(fd);
	while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
		n--;
	text[n] = 0;
	for (char *p = text; *p != 0; p++)
		*p = (char)ascii_lower((unsigned char)*p);
	if (n != UUID_LEN || !is_uuid(text))
		return -EINVAL;
	memcpy(id, text, UUID_LEN + 1);
	return 0;
}

/* Whole or not at all, also across a crash. */
static int
write_id(int dir, const char *id)
{
	int fd = openat(dir, "node-id.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, id, UUID_LEN);
	if (n != UUID_LEN)
		rc = n < 0 ? -errno : -ENOSPC;
	if (rc == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && renameat(dir, "node-id.tmp", dir, "node-id") < 0)
		rc = -errno;
	if (rc == 0 && fsync(dir) < 0)
		rc = -errno;
	if (rc < 0)
		(void)unlinkat(dir, "node-id.tmp", 0);
	return rc;
}

/* The id in data_dir, made when there is none. */
static int
settle_id(const char *data_dir, char id[UUID_LEN + 1], struct buf *err)
{
	int rc = make_dirs(data_dir), dir;

	if (rc < 0)
		return config_fail(err, rc, "Failed to create data_dir %s: %s", data_dir, err_text(rc));
	dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return config_fail(err, -errno, "Failed to open data_dir %s: %s", data_dir, strerror(errno));
	rc = read_id(dir, id);
	if (rc == -EINVAL) {
		rc = config_fail(err, rc, "%s/node-id holds no node id: correct it, or remove it to get a new one", data_dir);
	} else if (rc == -ENOENT) {
		make_uuid(id);
		rc = write_id(dir, id);
		if (rc < 0)
			rc = config_fail(err, rc, "Failed to write %s/node-id: %s", data_dir, err_text(rc));
	} else if (rc < 0) {
		rc = config_fail(err, rc, "Failed to read %s/node-id: %s", data_dir, err_text(rc));
	}
	close(dir);
	return rc;
}

/* A given id is used and not kept, but data_dir has to be there. */
static int
check_dir(const char *data_dir, struct buf *err)
{
	int rc = make_dirs(data_dir);

	return rc < 0 ? config_fail(err, rc, "Failed to create data_dir %s: %s", data_dir, err_text(rc)) : 0;
}

int
config_identify(struct config *c, const struct config *prev, struct buf *err)
{
	struct json_object *given = config_get(c->tree, "node_id"), *before = prev != NULL ? config_get(prev->tree, "node_id") : NULL;
	const char *data_dir = json_object_get_string(config_get(c->tree, "data_dir"));
	char id[UUID_LEN + 1];
	int rc = 0;

	if (given != NULL && json_object_get_string_len(given) > 0)
		return c->dev ? 0 : check_dir(data_dir, err);
	if (c->dev && before != NULL)
		(void)snprintf(id, sizeof(id), "%s", json_object_get_string(before));
	else if (c->dev)
		make_uuid(id);
	else
		rc = settle_id(data_dir, id, err);
	if (rc < 0)
		return rc;
	return config_set(c->tree, "node_id", json_object_new_string(id)) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}
