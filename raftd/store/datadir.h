/*
 * datadir.h - the directory that one server owns: its lock, its id, and its
 * own record of what was durable.
 *
 * Measured: Berkeley DB lets two processes open one home without an error,
 * and after one flipped bit in its log recovers to half of what was synced
 * without a word. Hence the lock, and the `durable` file.
 */
#ifndef RAFTD_STORE_DATADIR_H
#define RAFTD_STORE_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/errs.h"

enum { DATADIR_ERROR_MAX = 1024 };

/* What was on disk when the last sync returned. */
struct durable {
	uint64_t term, vote, last;
};

struct datadir {
	const char *path;	/* borrowed */
	int fd, lock_fd, durable_fd;
	uint64_t id;		/* random, made with the directory */
	bool fresh;		/* this start made it */
	struct durable durable;	/* as found, */
	uint64_t epoch;		/* and in which epoch: the log's last may go back with a new one only */
};

#define DATADIR_INIT { NULL, -1, -1, -1, 0, false, { 0, 0, 0 }, 0 }

/*
 * Make or open it, and own it until datadir_close(). Waits a second for a
 * previous owner that is about to end. Negative with one sentence in ret_err.
 */
int MUST_CHECK datadir_open(struct datadir *d, const char *path, char ret_err[DATADIR_ERROR_MAX]);
void datadir_close(struct datadir *d);

/* Rewrite the durable file in place, without a sync: it must never claim what is not on disk. -errno. */
int MUST_CHECK datadir_durable(struct datadir *d, const struct durable *v, uint64_t epoch);

/* Have the kernel begin to write what it holds of these files (names, then NULL): a sync soon after is quicker. */
void datadir_begin_writing(const struct datadir *d, const char *const *names);

/* The same, waiting until the file and its name are on disk. -errno. */
int MUST_CHECK datadir_sync(const struct datadir *d, const char *name);

/* Remove a file; it is fine when there is none. -errno. */
int datadir_remove(const struct datadir *d, const char *name);

/* Remove the files whose names begin with prefix, but these two. -errno. */
int MUST_CHECK datadir_remove_others(const struct datadir *d, const char *prefix, const char *keep, const char *keep_too);

/* Bytes that may still be written below it. */
uint64_t datadir_space(const struct datadir *d);

#endif
