/*
 * snapshot.h - the snapshot file of one pool: who was in it, for the next
 * start (shared/spec/gossip-protocol.md section 5.8).
 *
 * Lines are collected for SNAPSHOT_FLUSH_MS and written by the thread pool.
 * A disk that fails or is full is told and tried again; the pool works on.
 */
#ifndef GOSSIPD_SNAPSHOT_H
#define GOSSIPD_SNAPSHOT_H

#include <limits.h>

#include "gossipd/serf/serf.h"
#include "lib/daemon.h"

struct pool;

enum {
	SNAPSHOT_FLUSH_MS = 500,
	SNAPSHOT_SOON_MS = 20,			/* the first line after a rest, and the first lines of all */
	SNAPSHOT_EARLY = 16,			/* writings: who is killed soon after joining shall know whom it has met */
	SNAPSHOT_RETRY_MS = 5000,		/* after a failure */
	SNAPSHOT_READ_MAX = 64 * 1024 * 1024,
	SNAPSHOT_PENDING_MAX = 1024 * 1024,	/* lines that wait; beyond it the file is written anew later */
	SNAPSHOT_REWRITE_MIN = 128 * 1024,	/* smaller files are never rewritten */
	SNAPSHOT_REWRITE_PER_NODE = 256,
};

struct snapshot {
	struct pool *p;
	char path[PATH_MAX];
	int fd;				/* -1: not open */
	bool on, open;			/* open: the timer is */
	uint64_t size, written_ms;
	unsigned early;			/* writings that are still done soon */
	struct buf pending, writing;
	bool rewrite;			/* wanted */
	bool hold;			/* not yet: the file names members that we have not met again */
	/* The thread's, while busy: */
	bool busy, rewriting;
	int rc, next_fd;
	uv_work_t work;
	uv_timer_t timer;
	bool failing;
	struct log_limit limit;
};

/*
 * Read what is there into ret_previous (released by the caller), and go on writing. A file that cannot be read
 * or written is a warning.
 */
void snapshot_open(struct snapshot *s, struct pool *p, const char *path, bool rejoin, struct serf_previous *ret_previous);
void snapshot_line(struct snapshot *s, struct str line);
/* Write what waits as soon as possible. */
void snapshot_flush(struct snapshot *s);
/* Whether nothing waits (or cannot be written). */
bool snapshot_idle(const struct snapshot *s);
void snapshot_close(struct snapshot *s);
void snapshot_release(struct snapshot *s);

#endif
