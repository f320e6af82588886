/*
 * snapshot.h - what the two halves of the API's snapshots share: files that
 * are written or read piece by piece (snapshot.c), and a state that goes
 * through the log (restore.c).
 *
 * Invariant: the loop never waits for a file. Children write archives and
 * take them apart, libuv's pool moves the pieces; only what a child has just
 * written is read in small parts on the loop.
 */
#ifndef RAFTD_SNAPSHOT_H
#define RAFTD_SNAPSHOT_H

#include "raftd/archive/archive.h"
#include "raftd/raftd.h"

enum {
	SNAPSHOT_FILES_MAX = 4,			/* being saved, and being uploaded, at once */
	SNAPSHOT_PIECE = 256 * 1024,		/* bytes of an archive in one answer */
	SNAPSHOT_IDLE_MS = 60 * 1000,		/* a file that nobody asks for is forgotten after */
	SNAPSHOT_TIDY_MS = 5 * 1000,
	RESTORE_PART = 512 * 1024,		/* bytes of records in one entry; more only for a single larger record */
	RESTORE_FLIGHT = 4 * 1024 * 1024,	/* bytes of entries proposed and not yet applied */
	RESTORE_PARTS = 16,			/* such entries */
};

enum snap_use {
	SNAP_SAVED,	/* an archive of our state: made by a child, then read by its asker */
	SNAP_UPLOAD,	/* an archive that is to be restored */
};

struct snap_file {
	struct snap_file *next;
	struct raftd *r;
	enum snap_use use;
	uint8_t id[16];
	int fd;
	uint64_t size, touched_ms;
	unsigned busy;			/* pieces of it in libuv's pool */
	bool dead;			/* freed with the last of them */
	bool restoring;
	struct child *child;		/* still makes it */
	struct rpc_token token;		/* who waits for that */
	struct snap_meta meta;
};

struct restore;

struct snapshot {
	struct snap_file *files;
	uv_timer_t tidy;		/* runs while there are files, or something is owed */
	uv_timer_t pump;		/* more of a restore may be proposed in the next turn */
	struct restore *restore;	/* one at a time */
	unsigned open_handles;		/* while the timers are being closed */
	bool owe_drop;			/* a restore ended half-way and the log could not yet be told */
};

/* snapshot.c: out of the list; its descriptor and memory go as soon as nobody works on it. */
void snap_file_drop(struct snap_file *f);
/* Whether the disk below fd has room for `more` bytes beside what the store needs. */
bool snap_room(int fd, uint64_t more);
/* Bytes of an uploaded archive, and of what it holds: fewer where files lie in memory. */
uint64_t snap_bytes_max(const struct raftd *r);
void snap_tidy_start(struct raftd *r);

/* restore.c: f is complete. Answers t now or later. */
void restore_start(struct raftd *r, struct snap_file *f, struct rpc_token t);
/* Leadership was lost, or the end is near: no more of it. */
void restore_abandon(struct raftd *r);
/* Its BEGIN is in the log. */
bool restore_begun(const struct restore *x);
/* Entries were applied. */
void restore_applied(struct raftd *r);
/* The next part. */
void restore_pump(struct raftd *r);
/* Tell the log that what was begun does not go on, if that is owed. */
void restore_drop_owed(struct raftd *r);

#endif
