/*
 * files.h - small files read whole, and replaced whole. These calls block:
 * they are for the start and for the thread pool.
 */
#ifndef GOSSIPD_FILES_H
#define GOSSIPD_FILES_H

#include <sys/types.h>

#include "lib/buf.h"

/* Append the file's bytes. -ENOENT, -ELIMIT (more than out may hold), -errno. */
int MUST_CHECK file_read(const char *path, struct buf *out);

/* All of it, or -errno. */
int MUST_CHECK file_write_all(int fd, const void *p, size_t n);

/*
 * Write PATH SUFFIX, sync it and put it in the place of PATH; the directory is synced too. ret_fd (may be
 * NULL): the new file, open for appending. -errno: what was there stays.
 */
int MUST_CHECK file_replace(const char *path, const char *suffix, const void *p, size_t n, int *ret_fd);

#endif
