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
	ENV_FORMAT = 2,		/* of the files; another one is refused */
	ENV_NAME = 32,		/* of a file */
};

/* The image in one file: its tables, and how far it is. */
struct image {
	/*
	 * Its own, in the same file: should the file be lost or put back from a
	 * copy, the log is applied from where it stands.
	 */
	DB *meta;
	DB *table[STORE_TABLES_MAX];
	unsigned tables;
};

/* One environment with its tables. */
struct env {
	DB_ENV *db;
	DB *meta;			/* raft.db */
	DB *log;			/* entries-N.db */
	struct image image;		/* image-N.db */
	uint64_t image_gen, log_gen;	/* the N in force */
	char image_file[ENV_NAME], log_file[ENV_NAME];
	uint64_t checkpoint_bytes;
	char last_error[256];		/* what Berkeley DB said of its last failure */
};

/* env.c; results are those of Berkeley DB, 0 or else */
int MUST_CHECK env_open(struct env *e, const char *path, unsigned tables, char ret_err[DATADIR_ERROR_MAX]);
void env_close(struct env *e);
const char *env_error(const struct env *e, int rc);
void env_on_error(const DB_ENV *db, const char *prefix, const char *text);
/* Values of a meta table: big-endian numbers by name. DB_NOTFOUND when absent. */
int env_meta_get(DB *meta, const char *name, uint64_t *v, size_t n);
int env_meta_put(DB *meta, DB_TXN *txn, const char *name, const uint64_t *v, size_t n);
int env_checkpoint(struct env *e);
/* Log written since the last checkpoint. */
int env_log_bytes(struct env *e, uint64_t *ret);
/* Write so many pages, without a sync, that percent of those in the cache are clean. */
int env_write_pages(struct env *e, int percent);
/* Have the kernel begin to write the files that checkpoints write to. */
void env_begin_writing(const struct env *e, const struct datadir *d);
/* Remove what generations that are not in force have left, but a file that is being staged (""). -errno. */
int MUST_CHECK env_remove_others(const struct env *e, const struct datadir *d, const char *staged);
DBT dbt_of(const void *p, size_t n);
void image_file_name(char name[ENV_NAME], uint64_t gen);
/* Open the tables of a file, making what is not there. On failure close what was opened. txn NULL: an environment without. */
int image_open(struct image *im, DB_ENV *db, DB_TXN *txn, const char *file, unsigned tables);
/* flags: 0 writes what the cache has of the file; DB_NOSYNC. */
int image_close(struct image *im, u_int32_t flags);

/* A switch to other files, in one synced transaction. */
struct env_switch {
	uint64_t applied;		/* where the new image stands */
	uint64_t log_term;		/* not 0: the log is a new one too, and begins behind it */
	uint64_t epoch;			/* of the log then */
};
int env_switch(struct env *e, const struct env_switch *sw);

/* logdb.c, logread.c; all return 0, or what Berkeley DB or errno says; EDECODE: damaged at *ret_bad */
struct log_bounds {
	uint64_t base;			/* in front of the first entry on disk */
	uint64_t last, last_term;	/* of the newest; base and its term when there is none */
	uint64_t epoch;			/* counts, over the life of the directory, the transactions that cut something off */
};
struct append {
	bool state;			/* term and vote changed */
	uint64_t term, vote;
	uint64_t cluster;		/* 0: unchanged */
	uint64_t cut;			/* entries from here on go first; CUT_NONE */
	struct batch *batches;		/* by store_next */
};
#define CUT_NONE UINT64_MAX
/* Position on the record that holds index: the last one that begins at or before it. */
int log_seek(DBC *c, uint64_t index, DBT *k, DBT *v);
bool log_is_run(const DBT *k);
int log_append(struct env *e, const struct append *a, struct log_bounds *t, uint64_t *ret_bad);
/* What was found beside a struct store_start. */
struct log_found {
	uint64_t epoch, cut;		/* the newest epoch, and how short its transaction made the log */
};
/* What the log holds: base, last, runs, state, cluster. Negative with a sentence. */
int MUST_CHECK log_start(struct env *e, struct store_start *st, struct log_found *ret_found, char ret_err[DATADIR_ERROR_MAX]);
int MUST_CHECK log_load(struct env *e, uint64_t after, uint64_t last, const struct store_loader *ld,
    char ret_err[DATADIR_ERROR_MAX]);
/* Delete some records whose entries are all at or below upto. *ret_base: the log begins behind it, 0: as before; *ret_more. */
int log_compact(struct env *e, uint64_t upto, uint64_t *ret_base, bool *ret_more);
/* The log is a new one that begins behind index: what meta says of it. */
int log_reset(struct env *e, DB_TXN *txn, uint64_t index, uint64_t term, uint64_t epoch);

/* A list of batches being read, some records at a time. */
struct read_job {
	struct read_job *next;
	uint64_t at, arg;		/* the index to go on with */
	size_t bytes, max_bytes;
	struct batch *list, **tail;
	uint64_t cut;			/* the loop's: from here on it is no longer what the log holds */
};
/* A slice more; last is the log's. *ret_done: that is all. */
int log_read(struct env *e, struct read_job *job, uint64_t last, bool *ret_done, uint64_t *ret_bad);
void read_job_free(struct read_job *job);
/* Drop what stands at or behind job->cut. */
void read_job_trim(struct read_job *job);

/* imagedb.c */
struct changes {
	struct changes *next;
	uint64_t applied;
	size_t n;
	struct buf bytes;
	/* Of another image: */
	bool first;			/* it begins here */
	bool commit;			/* and is complete */
	uint64_t log_term, epoch;	/* store_stage_commit() */
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
/* The parts that need no transaction: sort the chunk, put at most `records` more of it into an image, free. */
int job_begin(struct image_job *job, const struct changes *c);
int job_slice(struct image_job *job, const struct image *im, size_t records, uint64_t until_ns, bool *ret_done);
void job_end(struct image_job *job);
int image_begin(struct env *e, const struct changes *c, struct image_job *job);
/* At most `records` more; done: the chunk is in the image. The job is over then, and after an error. */
int image_slice(struct env *e, struct image_job *job, size_t records, uint64_t until_ns, bool *ret_done);
void image_abort(struct image_job *job);
int MUST_CHECK image_load(struct env *e, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX]);

/*
 * staging.c: another image, in an environment of its own that knows no
 * transactions: what is written into it is not in the log, and worth nothing
 * before the file is on disk as a whole and env_switch() has made it the image.
 */
struct staging {
	DB_ENV *db;			/* NULL: there is none */
	struct image image;
	char file[ENV_NAME];
	struct image_job job;
	size_t unwritten;		/* bytes since the kernel was last told to write */
};
int staging_open(struct staging *g, struct env *e, const struct datadir *d);
/* Close it and remove its file. */
void staging_drop(struct staging *g, const struct datadir *d);
int staging_begin(struct staging *g, const struct changes *c);
int staging_slice(struct staging *g, const struct datadir *d, size_t records, bool *ret_done);
/* Complete: say where it stands; give the kernel percent of its pages. */
int staging_applied(struct staging *g, uint64_t applied);
int staging_write_pages(struct staging *g, int percent);
/* All of it is on disk: close. */
int staging_close(struct staging *g);

/* ---- between the loop and the thread */

/* What the thread has to tell; the newest of each replaces an older one. */
struct answers {
	bool durable, staged, compacted, space, failed, stopped;
	struct durable d;
	uint64_t epoch, staged_applied, base;
	bool full;
	char text[DATADIR_ERROR_MAX];
	struct read_job *reads, **reads_tail;	/* each of these is told */
};

enum { READS_MAX = 64 };		/* that wait */

/* On the way from a staged image to the image in force. */
enum stage_phase {
	STAGE_WRITE,			/* records go into it */
	STAGE_PAGES,			/* its pages go to the kernel */
	STAGE_SYNC,			/* a thread of its own waits for the disk */
	STAGE_SWITCH,
};

struct store {
	struct env env;
	struct datadir dir;
	char *path;
	struct store_config config;
	struct store_start start;
	struct changes *adding;		/* the loop's, not sent yet */
	struct changes *stage_adding;	/* the same of another image, NULL: nothing */
	bool stage_first;		/* its next chunk begins a new one */
	size_t nreads;			/* the loop's: asked and not answered */
	uint64_t epoch;			/* the loop's: cuts and installations asked for */
	uv_async_t *async;
	bool thread_runs;
	pthread_t thread;

	/* The thread's own. */
	struct durable durable;		/* on disk now, */
	struct log_bounds log;		/* and the log with it */
	uint64_t epoch_done;		/* of the loop's counting */
	uint64_t image_applied;		/* by the image as written */
	uint64_t compact_upto;		/* entries to delete, 0: none */
	bool full;
	struct changes *writing;	/* the chunk that job writes */
	struct image_job job;
	bool other_turn;		/* entries were written last: a slice of something else is next */
	bool image_turn;		/* of what else there is, entries were read last */
	size_t slice;			/* records of the image in it */
	struct staging staging;
	enum stage_phase stage_phase;
	struct changes *stage_writing;	/* the chunk that goes into it */
	int stage_percent;
	uint64_t stage_at;		/* no room: when to look again */
	pthread_t syncer;		/* STAGE_SYNC */
	bool old_files;			/* of a generation before: removed behind the next checkpoint */
	enum { SWEEP_NONE, SWEEP_PAGES, SWEEP_FILES, SWEEP_END } sweep;	/* how far on the way to a checkpoint */
	int sweep_percent;		/* of the pages are to be clean after the next step */
	uint64_t sweep_at;		/* the next step; */
	uint64_t rest_at;		/* nothing was written since: idle; 0: nothing to do then */
	uint64_t space, space_ns;	/* what the file system said, and when */
	uint64_t space_used;		/* at most, since */

	pthread_mutex_t mutex;		/* guards all below */
	pthread_cond_t wake;
	uint64_t cut;			/* in front of the batches; CUT_NONE */
	uint64_t cut_epoch;		/* when cut and batches are done */
	struct batch *batches, **batches_tail;
	size_t nentries;		/* in batches */
	size_t want;			/* entries worth waiting for */
	uint64_t first_ns, newest_ns;	/* arrival of the oldest and the newest batch */
	bool state, stopping, quit;
	uint64_t term, vote;
	uint64_t cluster;		/* 0: none to be written */
	struct changes *changes, **changes_tail;
	struct changes *stages, **stages_tail;
	unsigned commits, resets;	/* among them, until done; resets: of the log too, which new entries wait for */
	bool stage_drop;
	bool synced;			/* STAGE_SYNC is over, */
	int sync_rc;			/* with this */
	size_t changes_bytes;		/* in both queues */
	struct read_job *reads, **reads_tail;
	struct read_job *reading;
	uint64_t trailing, keep;
	struct answers answers;
	struct store_stats stats;
};

/* thread.c */
void *store_thread(void *arg);
uint64_t thread_now(void);
void thread_tell(struct store *s);
void thread_failed(struct store *s, const char *what, const char *why);
/* What an operator can do about damage. */
#define DAMAGE_HINT "move the data directory away and let the server rejoin as a new member, or restore a backup"
/* Begin the way to a checkpoint when at least `bytes` of log were written since the last one. */
bool thread_begin_sweep(struct store *s, uint64_t bytes);
/* New entries are refused while less than the reserve is left; a fifth more ends it. */
void thread_check_space(struct store *s);
/* Entries that were accepted may use the reserve, but for a part that Berkeley DB itself may need. */
bool thread_room_for(struct store *s, size_t bytes);

/* stagework.c: what the thread does for another image. With the mutex held: is there something to do now? */
bool stage_due(struct store *s, uint64_t now);
bool stage_work(struct store *s);
/* The thread ends. */
void stage_end(struct store *s);

#endif
