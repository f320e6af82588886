/*
 * internal.h - what the files of the store share: the environment, its
 * tables, the queue. Everything below `env` belongs to the store's thread
 * once it runs.
 */
#ifndef RAFTD_STORE_INTERNAL_H
#define RAFTD_STORE_INTERNAL_H

#include <db.h>
#include <pthread.h>

#include "raftd/store/store.h"

enum {
	ENV_CACHE_BYTES = 4 * 1024 * 1024,
	ENV_LOG_BUFFER = 256 * 1024,
	ENV_LOG_FILE = 8 * 1024 * 1024,
	ENV_PAGE = 4096,
	ENV_FORMAT = 1,		/* of the files; a newer one is refused */
};

/* One environment with its tables. */
struct env {
	DB_ENV *db;
	DB *log, *meta;			/* raft.db */
	/*
	 * image-1.db. Its own meta table says how far it is: should the file be
	 * lost or put back from a copy, the log is applied from where it stands.
	 */
	DB *image_meta, *image[STORE_TABLES_MAX];
	unsigned tables;
	uint64_t checkpoint_bytes;
	char last_error[256];		/* what Berkeley DB said of its last failure */
};

/* env.c */
int MUST_CHECK env_open(struct env *e, const char *path, unsigned tables, char ret_err[DATADIR_ERROR_MAX]);
void env_close(struct env *e);
const char *env_error(const struct env *e, int rc);
/* Values of a meta table: big-endian numbers by name. DB_NOTFOUND when absent. */
int env_meta_get(DB *meta, const char *name, uint64_t *v, size_t n);
int env_meta_put(DB *meta, DB_TXN *txn, const char *name, const uint64_t *v, size_t n);
int env_checkpoint(struct env *e);
/* Log written since the last checkpoint. */
int env_log_bytes(struct env *e, uint64_t *ret);
/* Write so many pages, without a sync, that percent of those in the cache are clean. */
int env_write_pages(struct env *e, int percent);
/* The files that checkpoints write to; ends with NULL. */
extern const char *const env_files[];
DBT dbt_of(const void *p, size_t n);

/* logdb.c; all return 0, or what Berkeley DB or errno says */
struct append {
	struct batch *batches;		/* by store_next */
	bool state;			/* term and vote changed */
	uint64_t term, vote;
	uint64_t last_term;		/* of the newest entry on disk */
	const struct buf *servers;	/* NULL: unchanged */
	uint64_t servers_index;
};
int log_append(struct env *e, const struct append *a);
/* What the log holds: base, last, runs, state, servers. Negative with a sentence. */
int MUST_CHECK log_start(struct env *e, struct store_start *st, char ret_err[DATADIR_ERROR_MAX]);
int MUST_CHECK log_load(struct env *e, uint64_t after, uint64_t last, const struct store_loader *ld,
    char ret_err[DATADIR_ERROR_MAX]);
/* Delete some records whose entries are all at or below upto. *ret_base: the log begins behind it; *ret_more. */
int log_compact(struct env *e, uint64_t upto, uint64_t *ret_base, bool *ret_more);

/* imagedb.c */
struct changes {
	struct changes *next;
	uint64_t applied;
	size_t n;
	struct buf bytes;
};
enum { CHANGES_BYTES_MAX = 1024 * 1024 * 1024 };
struct changes *changes_new(void);
void changes_free(struct changes *c);
int MUST_CHECK changes_add(struct changes *c, unsigned table, struct str key, struct str value);
/* A chunk of changes on its way to disk, some records at a time. */
struct image_job {
	const struct changes *changes;
	const uint8_t **sorted;
	size_t at, written;
	DB_TXN *txn;
};
int image_begin(struct env *e, const struct changes *c, struct image_job *ret);
/* At most `records` more; done: the chunk is in the image. The job is over then, and after an error. */
int image_slice(struct env *e, struct image_job *job, size_t records, bool *ret_done);
void image_abort(struct image_job *job);
int MUST_CHECK image_load(struct env *e, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX]);

/* ---- between the loop and the thread */

/* What the thread has to tell; the newest of each replaces an older one. */
struct answers {
	bool durable, compacted, space, failed, stopped;
	struct durable d;
	uint64_t index_term, base;
	bool full;
	char text[DATADIR_ERROR_MAX];
};

struct store {
	struct env env;
	struct datadir dir;
	char *path;
	struct store_config config;
	struct store_start start;
	struct changes *adding;		/* the loop's, not sent yet */
	uv_async_t *async;
	bool thread_runs;
	pthread_t thread;

	/* The thread's own. */
	struct durable durable;		/* on disk now */
	uint64_t last_term;		/* of durable.last */
	uint64_t image_applied;		/* by the image as written */
	uint64_t compact_upto;		/* entries to delete, 0: none */
	struct buf servers;
	bool full;
	struct changes *writing;	/* the chunk that job writes */
	struct image_job job;
	bool other_turn;		/* entries were written last: a slice of something else is next */
	size_t slice;			/* records of the image in it */
	enum { SWEEP_NONE, SWEEP_PAGES, SWEEP_FILES, SWEEP_END } sweep;	/* how far on the way to a checkpoint */
	int sweep_percent;		/* of the pages are to be clean after the next step */
	uint64_t sweep_at;		/* the next step; */
	uint64_t rest_at;		/* nothing was written since: idle; 0: nothing to do then */
	uint64_t space, space_ns;	/* what the file system said, and when */
	uint64_t space_used;		/* at most, since */

	pthread_mutex_t mutex;		/* guards all below */
	pthread_cond_t wake;
	struct batch *batches, **batches_tail;
	size_t nentries;		/* in batches */
	size_t want;			/* entries worth waiting for */
	uint64_t first_ns, newest_ns;	/* arrival of the oldest and the newest batch */
	bool state, stopping, quit;
	uint64_t term, vote;
	struct buf servers_in;
	uint64_t servers_index;		/* 0: none queued */
	struct changes *changes, **changes_tail;
	size_t changes_bytes;
	uint64_t trailing;
	struct answers answers;
	struct store_stats stats;
};

/* thread.c */
void *store_thread(void *arg);

#endif
