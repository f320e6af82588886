/* env.c - the Berkeley DB environment: opened with recovery, small, owned by one process. */
#include "raftd/store/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char meta_file[] = "raft.db";

void
env_on_error(const DB_ENV *db, const char *prefix, const char *text)
{
	struct env *e = db->app_private;

	(void)prefix;
	/* What comes behind the cause of a panic says less. */
	if (strstr(text, "PANIC") != NULL && e->last_error[0] != 0)
		return;
	(void)snprintf(e->last_error, sizeof(e->last_error), "%s", text);
}

const char *
env_error(const struct env *e, int rc)
{
	if (rc == DB_RUNRECOVERY && e->last_error[0] != 0)
		return e->last_error;
	return db_strerror(rc);
}

DBT
dbt_of(const void *p, size_t n)
{
	DBT t = { 0 };

	t.data = (void *)(uintptr_t)p;
	t.size = (u_int32_t)n;
	return t;
}

static int
configure(struct env *e)
{
	DB_ENV *db = e->db;
	int rc;

	db->app_private = e;
	db->set_errcall(db, env_on_error);
	rc = db->set_cachesize(db, 0, ENV_CACHE_BYTES, 1);
	if (rc == 0)
		rc = db->set_lg_bsize(db, ENV_LOG_BUFFER);
	if (rc == 0)
		rc = db->set_lg_max(db, ENV_LOG_FILE);
	/* Zeroed log files: a sync then finds its blocks in place and spares the file system's journal (measured: a third). */
	if (rc == 0)
		rc = db->log_set_config(db, DB_LOG_ZERO, 1);
	if (rc == 0)
		rc = db->log_set_config(db, DB_LOG_AUTO_REMOVE, 1);
	return rc;
}

static int
open_table(DB_ENV *db, DB_TXN *txn, const char *file, const char *name, DB **ret)
{
	DB *t;
	int rc = db_create(&t, db, 0);

	if (rc != 0)
		return rc;
	*ret = t;
	rc = t->set_flags(t, DB_CHKSUM);
	if (rc == 0)
		rc = t->set_pagesize(t, ENV_PAGE);
	if (rc == 0)
		rc = t->open(t, txn, file, name, DB_BTREE, DB_CREATE | (txn != NULL ? DB_THREAD : 0), 0600);
	return rc;
}

void
image_file_name(char name[ENV_NAME], uint64_t gen)
{
	(void)snprintf(name, ENV_NAME, "image-%" PRIu64 ".db", gen);
}

static void
log_file_name(char name[ENV_NAME], uint64_t gen)
{
	(void)snprintf(name, ENV_NAME, "entries-%" PRIu64 ".db", gen);
}

int
image_open(struct image *im, DB_ENV *db, DB_TXN *txn, const char *file, unsigned tables)
{
	char name[24];
	int rc = open_table(db, txn, file, "meta", &im->meta);

	im->tables = tables;
	for (unsigned i = 0; rc == 0 && i < tables; i++) {
		(void)snprintf(name, sizeof(name), "table-%u", i);
		rc = open_table(db, txn, file, name, &im->table[i]);
	}
	return rc;
}

static int
close_table(DB **t, u_int32_t flags)
{
	DB *db = *t;

	*t = NULL;
	return db != NULL ? db->close(db, flags) : 0;
}

int
image_close(struct image *im, u_int32_t flags)
{
	int rc = close_table(&im->meta, flags), closed;

	for (unsigned i = 0; i < im->tables; i++) {
		closed = close_table(&im->table[i], flags);
		rc = rc != 0 ? rc : closed;
	}
	return rc;
}

/* End a transaction that was for opening. */
static int
end_open(DB_TXN *txn, int rc)
{
	if (rc != 0) {
		(void)txn->abort(txn);
		return rc;
	}
	return txn->commit(txn, 0);
}

static int
open_meta(struct env *e)
{
	DB_TXN *txn;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	return rc != 0 ? rc : end_open(txn, open_table(e->db, txn, meta_file, "meta", &e->meta));
}

static int
open_image(struct env *e, uint64_t gen, struct image *ret)
{
	char file[ENV_NAME];
	DB_TXN *txn;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	image_file_name(file, gen);
	return rc != 0 ? rc : end_open(txn, image_open(ret, e->db, txn, file, e->image.tables));
}

static int
open_log(struct env *e, uint64_t gen, DB **ret)
{
	char file[ENV_NAME];
	DB_TXN *txn;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	log_file_name(file, gen);
	return rc != 0 ? rc : end_open(txn, open_table(e->db, txn, file, "log", ret));
}

static void
set_generations(struct env *e, uint64_t image, uint64_t log)
{
	e->image_gen = image;
	e->log_gen = log;
	image_file_name(e->image_file, image);
	log_file_name(e->log_file, log);
}

/* The format, and which files are in force: written with the environment. */
static int
read_meta(struct env *e, uint64_t *ret_format)
{
	uint64_t format = ENV_FORMAT, files[2] = { 1, 1 };
	int rc = env_meta_get(e->meta, "format", &format, 1);

	if (rc == DB_NOTFOUND) {
		rc = env_meta_put(e->meta, NULL, "files", files, 2);
		if (rc == 0)
			rc = env_meta_put(e->meta, NULL, "format", &format, 1);
	} else if (rc == 0 && format == ENV_FORMAT) {
		rc = env_meta_get(e->meta, "files", files, 2);
	}
	set_generations(e, files[0], files[1]);
	*ret_format = format;
	return rc;
}

static int
open_tables(struct env *e, uint64_t *ret_format)
{
	int rc = open_meta(e);

	if (rc == 0)
		rc = read_meta(e, ret_format);
	if (rc != 0 || *ret_format != ENV_FORMAT)
		return rc;
	rc = open_log(e, e->log_gen, &e->log);
	return rc != 0 ? rc : open_image(e, e->image_gen, &e->image);
}

int
env_open(struct env *e, const char *path, unsigned tables, char ret_err[DATADIR_ERROR_MAX])
{
	/* No DB_INIT_LOCK: one thread does all, and a chunk of the image would hold a lock for each of its pages. */
	const u_int32_t flags = DB_CREATE | DB_RECOVER | DB_PRIVATE | DB_THREAD | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL;
	uint64_t format = ENV_FORMAT;
	int rc;

	*e = (struct env){ .image.tables = tables };
	rc = db_env_create(&e->db, 0);
	if (rc == 0)
		rc = configure(e);
	if (rc == 0)
		rc = e->db->open(e->db, path, flags, 0600);
	if (rc == 0)
		rc = open_tables(e, &format);
	if (rc == 0 && format != ENV_FORMAT) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, format > ENV_FORMAT ?
		    "%s was written by a newer release (format %" PRIu64 "): start that one" :
		    "%s was written by an earlier release in a format (%" PRIu64 ") that this one does not read: move the directory "
		    "away and start with an empty one", path, format);
		return -EDECODE;
	}
	if (rc == 0)
		return 0;
	(void)snprintf(ret_err, DATADIR_ERROR_MAX,
	    "%s: cannot open the database: %s (%s); when the disk has room and is sound, move the directory away and let the "
	    "server rejoin as a new member, or restore a backup", path, db_strerror(rc), e->last_error);
	return rc > 0 ? -rc : -EIO;
}

void
env_close(struct env *e)
{
	(void)image_close(&e->image, DB_NOSYNC);
	(void)close_table(&e->meta, DB_NOSYNC);
	(void)close_table(&e->log, DB_NOSYNC);
	if (e->db != NULL)
		(void)e->db->close(e->db, 0);
	*e = (struct env){ 0 };
}

/* What says which files are in force, and with a new log where that begins. */
static int
put_switch(struct env *e, const struct env_switch *sw, const uint64_t files[2])
{
	DB_TXN *txn;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	if (rc != 0)
		return rc;
	rc = env_meta_put(e->meta, txn, "files", files, 2);
	if (rc == 0 && sw->log_term != 0)
		rc = log_reset(e, txn, sw->applied, sw->log_term, sw->epoch);
	if (rc != 0) {
		int undone = txn->abort(txn);

		return undone != 0 ? undone : rc;
	}
	return txn->commit(txn, DB_TXN_SYNC);
}

int
env_switch(struct env *e, const struct env_switch *sw)
{
	const uint64_t files[2] = { e->image_gen + 1, e->log_gen + (sw->log_term != 0) };
	struct image image = { .tables = 0 };
	DB *log = NULL;
	int rc = open_image(e, files[0], &image);

	if (rc == 0 && sw->log_term != 0)
		rc = open_log(e, files[1], &log);
	if (rc == 0)
		rc = put_switch(e, sw, files);
	if (rc != 0) {
		(void)image_close(&image, DB_NOSYNC);
		(void)close_table(&log, DB_NOSYNC);
		return rc;
	}
	rc = image_close(&e->image, DB_NOSYNC);
	e->image = image;
	if (log != NULL) {
		int closed = close_table(&e->log, DB_NOSYNC);

		rc = rc != 0 ? rc : closed;
		e->log = log;
	}
	set_generations(e, files[0], files[1]);
	return rc;
}

void
env_begin_writing(const struct env *e, const struct datadir *d)
{
	const char *const names[] = { meta_file, e->log_file, e->image_file, NULL };

	datadir_begin_writing(d, names);
}

int
env_remove_others(const struct env *e, const struct datadir *d, const char *staged)
{
	int rc = datadir_remove_others(d, "image-", e->image_file, staged);

	if (rc == 0)
		rc = datadir_remove_others(d, "entries-", e->log_file, "");
	/* Berkeley DB's names for files that it is about to make. */
	return rc < 0 ? rc : datadir_remove_others(d, "__db.", "", "");
}

enum { META_NUMBERS_MAX = 4 };

int
env_meta_get(DB *meta, const char *name, uint64_t *v, size_t n)
{
	uint8_t bytes[META_NUMBERS_MAX * 8];
	DBT key = dbt_of(name, strlen(name)), data = { 0 };
	int rc;

	data.data = bytes;
	data.ulen = sizeof(bytes);
	data.flags = DB_DBT_USERMEM;
	rc = meta->get(meta, NULL, &key, &data, 0);
	if (rc != 0)
		return rc;
	if (data.size != n * 8)
		return EINVAL;
	for (size_t i = 0; i < n; i++)
		v[i] = get_be64(bytes + i * 8);
	return 0;
}

int
env_meta_put(DB *meta, DB_TXN *txn, const char *name, const uint64_t *v, size_t n)
{
	uint8_t bytes[META_NUMBERS_MAX * 8];
	DBT key = dbt_of(name, strlen(name)), data = dbt_of(bytes, n * 8);

	for (size_t i = 0; i < n; i++)
		put_be64(bytes + i * 8, v[i]);
	return meta->put(meta, txn, &key, &data, txn == NULL ? DB_AUTO_COMMIT : 0);
}

int
env_checkpoint(struct env *e)
{
	return e->db->txn_checkpoint(e->db, 0, 0, DB_FORCE);
}

int
env_log_bytes(struct env *e, uint64_t *ret)
{
	DB_LOG_STAT *st;
	int rc = e->db->log_stat(e->db, &st, 0);

	if (rc != 0)
		return rc;
	*ret = (uint64_t)st->st_wc_mbytes * MiB + st->st_wc_bytes;
	free(st);
	return 0;
}

int
env_write_pages(struct env *e, int percent)
{
	int written;

	return e->db->memp_trickle(e->db, percent, &written);
}
