/*
 * run_dir.h - the runtime directory of one agent: its lock, the daemons'
 * config slices and everybody's sockets.
 *
 * It is data_dir/run, or with -dev a temporary directory that goes away with
 * the agent. Whoever holds its lock is the agent of this data_dir.
 */
#ifndef CONSULCTL_AGENT_RUN_DIR_H
#define CONSULCTL_AGENT_RUN_DIR_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum {
	RUN_DIR_FILES_MAX = 8,		/* written in one go */
	RUN_DIR_WAIT_MS = 2000,		/* for the daemons of an agent that was killed; then they are killed, too */
	RUN_DIR_POLL_MS = 2,
};

struct run_dir {
	char *path;
	int fd;			/* O_PATH, for sock.h */
	int lock_fd;
	bool temporary;
};

#define RUN_DIR_INIT { NULL, -1, -1, false }

/*
 * Make (mode 0700) and lock; then wait until the daemons of an agent that was
 * killed have gone (each holds NAME.lock to its end). Negative with a sentence
 * in err: not ours, in use, not writable, a daemon without supervisor in it.
 */
int MUST_CHECK run_dir_open(struct run_dir *r, const char *data_dir, struct buf *err);

/* A new one in $TMPDIR; those of killed -dev agents are removed from there, when their daemons have gone. */
int MUST_CHECK run_dir_open_temporary(struct run_dir *r, struct buf *err);

struct run_dir_file {
	const char *name;	/* config/NAME.json */
	const char *text;
};

/*
 * Replace files (mode 0600): all are written before the first one takes its
 * name, so a full disk changes nothing. Negative with a sentence in err.
 */
int MUST_CHECK run_dir_write(const struct run_dir *r, const struct run_dir_file *files, size_t n, struct buf *err);

/* Remove a temporary one, give up the lock. Fine on RUN_DIR_INIT. */
void run_dir_close(struct run_dir *r);

#endif
