/*
 * store.h - what survives: the Raft log and the image of the state.
 *
 * The loop never waits for a disk. It hands work over by queue, a thread of
 * the store does it, and the answers come back on the loop: "durable to
 * index N". Whatever waits when a sync begins goes into that one sync.
 *
 * The image is written behind the applied entries and without a sync of its
 * own, in one transaction with the applied index; the log replays what a
 * crash takes from it. Log and image share one environment, so that the
 * image can never be ahead of the log.
 */
#ifndef RAFTD_STORE_STORE_H
#define RAFTD_STORE_STORE_H

#include "lib/loop.h"
#include "lib/str.h"
#include "raftd/core/core.h"
#include "raftd/store/batch.h"
#include "raftd/store/datadir.h"

enum {
	STORE_TABLES_MAX = 32,
	STORE_IMAGE_CHUNK = 4 * 1024 * 1024,	/* bytes of changes in one transaction */
	STORE_LAG_MAX = 64 * 1024 * 1024,	/* bytes of changes that may wait; beyond, entries wait for the image */
	STORE_CHECKPOINT_BYTES = 16 * 1024 * 1024,
	STORE_SPACE_MIN = 24 * 1024 * 1024,	/* kept free: Berkeley DB must always be able to finish */
};

struct store;

/* What the store tells the loop; called on the loop. */
struct store_events {
	/*
	 * All that was queued before is on disk: term, vote, truncations up to
	 * this epoch (the number of store_truncate() and installations since
	 * store_open()), and the entries up to d->last.
	 */
	void (*durable)(void *ctx, const struct durable *d, uint64_t epoch);
	/*
	 * The answer to store_read(): a list by `next` of whole batches as they
	 * stand in the log, the caller's from now on; the first holds the index
	 * that was asked for. NULL: it is no longer there. What was cut off
	 * since it was asked for is not in it. In the order of the questions.
	 */
	void (*read)(void *ctx, uint64_t arg, struct batch *list);
	/* store_stage_commit() is done: the new image is in force on disk. */
	void (*staged)(void *ctx, uint64_t applied);
	/* The log now begins behind this index. */
	void (*compacted)(void *ctx, uint64_t base);
	/* The disk is so full that new entries must be refused, or no longer. */
	void (*space)(void *ctx, bool full);
	/* A write failed: nothing more can be promised. */
	void (*failed)(void *ctx, const char *text);
	/* After store_stop(): all that was queued is done, checkpoint included. */
	void (*stopped)(void *ctx);
};

struct store_config {
	const char *path;		/* of the directory; copied */
	unsigned tables;		/* of the image, at most STORE_TABLES_MAX */
	uint64_t trailing;		/* entries kept behind the last checkpoint */
	uint64_t checkpoint_bytes;	/* 0: STORE_CHECKPOINT_BYTES */
	uint64_t space_min;		/* 0: STORE_SPACE_MIN */
	const struct store_events *events;
	void *ctx;
};

/* What opening found: the start of the core. */
struct store_start {
	uint64_t id, term, vote;
	uint64_t base, last, applied;
	struct raft_run *runs;
	size_t nruns;
	uint64_t cluster;		/* 0: belongs to none yet */
};

/* Called while loading, on the loop's thread; a negative result ends the loading. */
struct store_loader {
	void *ctx;
	int (*record)(void *ctx, unsigned table, struct str key, struct str value);
	int (*batch)(void *ctx, struct batch *b);	/* takes b: one with entries above `applied`, in order */
};

/*
 * Open the directory: lock, recover, compare with what was promised.
 * Negative with one sentence in ret_err.
 */
int MUST_CHECK store_open(struct loop *l, const struct store_config *c, struct store **ret, char ret_err[DATADIR_ERROR_MAX]);
const struct store_start *store_found(const struct store *s);

/* Read the image, then the log behind it. Before store_run(). Negative with one sentence in ret_err. */
int MUST_CHECK store_load(struct store *s, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX]);

/* Start the thread. -errno. */
int MUST_CHECK store_run(struct store *s);

/* From the next checkpoint on. */
void store_set_trailing(struct store *s, uint64_t entries);

/* Put term and vote on disk, before every batch queued after this. */
void store_state(struct store *s, uint64_t term, uint64_t vote);

/* The cluster that this directory belongs to from now on: on disk with the state that is queued next. */
void store_cluster(struct store *s, uint64_t cluster);

/*
 * Put entries on disk. b stays the caller's, unchanged until it is durable but
 * for batch_cut() after store_truncate(); batch_free() may come at any time.
 */
void store_append(struct store *s, struct batch *b);

/*
 * Cut the log off in front of `from` (above what was ever sent to the image),
 * in order with what is appended before and after. A batch that reaches over
 * it is shortened on disk; in memory that is the caller's to do, after the
 * call: batch_cut(). One that is cut off whole may be freed then.
 */
void store_truncate(struct store *s, uint64_t from);

/*
 * Read entries from `first` on, whole batches until there are max_bytes of
 * them, at least one; answered by events->read with arg. Checksums are
 * verified: what is damaged ends in events->failed. -ENOMEM; -ELIMIT: too many wait.
 */
int MUST_CHECK store_read(struct store *s, uint64_t first, size_t max_bytes, uint64_t arg);

/* Keep entries behind this index whatever trailing says, until called again; UINT64_MAX: no such wish. */
void store_keep(struct store *s, uint64_t index);

/*
 * Another image beside the one in force, for a state that replaces the whole:
 * begin, any number of records, then commit or drop. Changes of the image in
 * force must not be sent in between. Written without a sync in slices between
 * other work; `staged` bytes count in store_changed_bytes() and image lag.
 * Quickest when the records come in the order of tables and keys.
 * commit, in one synced transaction: the new image, which stands at `applied`,
 * is in force and the old one goes. log_term not 0: all entries are deleted
 * too, and the log begins behind `applied`, which is of that term (an
 * installed snapshot; counts as a truncation in the epoch). A start in
 * between finds the old image and what the log holds. From the call on,
 * changes are of the new image, and with log_term entries of the new log; term
 * and vote do not wait for it. events->staged comes before the durable of its
 * epoch. Only one is being staged: begin drops what was not committed.
 */
void store_stage_begin(struct store *s);
int MUST_CHECK store_stage(struct store *s, unsigned table, struct str key, struct str value);
int MUST_CHECK store_stage_send(struct store *s);	/* what was added goes to the thread */
int MUST_CHECK store_stage_commit(struct store *s, uint64_t applied, uint64_t log_term);
void store_stage_drop(struct store *s);

/* Changes of the image: add records, then send what was added with the index it brings the image to. */
int MUST_CHECK store_change(struct store *s, unsigned table, struct str key, struct str value);	/* value.p NULL: gone */
size_t store_changed_bytes(const struct store *s);	/* added and not yet sent */
int MUST_CHECK store_changes_send(struct store *s, uint64_t applied);

/* Finish what is queued, checkpoint, then events->stopped. */
void store_stop(struct store *s);

/* End the thread, close all; what is queued is lost as in a crash unless stopped. NULL is fine. */
void store_free(struct store *s);

struct store_stats {
	uint64_t syncs, entries;	/* synced commits, entries in them */
	uint64_t sync_ns;		/* spent in them */
	uint64_t image_commits, image_records, checkpoints;
	uint64_t image_lag_bytes;	/* changes queued */
	uint64_t applied_on_disk;	/* by the image */
};
void store_stats(struct store *s, struct store_stats *ret);

#endif
