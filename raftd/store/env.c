/* env.c - the Berkeley DB environment: opened with recovery, small, owned by one process. */
#include "raftd/store/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENV_RAFT, ENV_IMAGE };
const char *const env_files[] = { [ENV_RAFT] = "raft.db", [ENV_IMAGE] = "image-1.db", NULL };

static void
on_error(const DB_ENV *db, const char *prefix, const char *text)
{
	struct env *e = db->app_private;

	(void)prefix;
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
	db->set_errcall(db, on_error);
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
open_table(struct env *e, DB_TXN *txn, const char *file, const char *name, DB **ret)
{
	DB *t;
	int rc = db_create(&t, e->db, 0);

	if (rc != 0)
		return rc;
	*ret = t;
	rc = t->set_flags(t, DB_CHKSUM);
	if (rc == 0)
		rc = t->set_pagesize(t, ENV_PAGE);
	if (rc == 0)
		rc = t->open(t, txn, file, name, DB_BTREE, DB_CREATE | DB_THREAD, 0600);
	return rc;
}

static int
open_tables(struct env *e)
{
	DB_TXN *txn;
	char name[24];
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	if (rc != 0)
		return rc;
	rc = open_table(e, txn, env_files[ENV_RAFT], "log", &e->log);
	if (rc == 0)
		rc = open_table(e, txn, env_files[ENV_RAFT], "meta", &e->meta);
	if (rc == 0)
		rc = open_table(e, txn, "image-1.db", "meta", &e->image_meta);
	for (unsigned i = 0; rc == 0 && i < e->tables; i++) {
		(void)snprintf(name, sizeof(name), "table-%u", i);
		rc = open_table(e, txn, env_files[ENV_IMAGE], name, &e->image[i]);
	}
	if (rc != 0) {
		(void)txn->abort(txn);
		return rc;
	}
	return txn->commit(txn, 0);
}

static int
check_format(struct env *e, char *ret_err, const char *path)
{
	uint64_t format = ENV_FORMAT;
	int rc = env_meta_get(e->meta, "format", &format, 1);

	if (rc == DB_NOTFOUND)
		rc = env_meta_put(e->meta, NULL, "format", &format, 1);
	if (rc != 0) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s: cannot read the database: %s", path, env_error(e, rc));
		return -EIO;
	}
	if (format != ENV_FORMAT) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX,
		    "%s was written by a newer release (format %" PRIu64 "): start that one", path, format);
		return -EDECODE;
	}
	return 0;
}

int
env_open(struct env *e, const char *path, unsigned tables, char ret_err[DATADIR_ERROR_MAX])
{
	/* No DB_INIT_LOCK: one thread does all, and a chunk of the image would hold a lock for each of its pages. */
	const u_int32_t flags = DB_CREATE | DB_RECOVER | DB_PRIVATE | DB_THREAD | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL;
	int rc;

	*e = (struct env){ .tables = tables };
	rc = db_env_create(&e->db, 0);
	if (rc == 0)
		rc = configure(e);
	if (rc == 0)
		rc = e->db->open(e->db, path, flags, 0600);
	if (rc == 0)
		rc = open_tables(e);
	if (rc == 0)
		return check_format(e, ret_err, path);
	(void)snprintf(ret_err, DATADIR_ERROR_MAX,
	    "%s: cannot open the database: %s (%s); when the disk has room and is sound, move the directory away and let the "
	    "server rejoin as a new member, or restore a backup", path, db_strerror(rc), e->last_error);
	return rc > 0 ? -rc : -EIO;
}

void
env_close(struct env *e)
{
	for (unsigned i = 0; i < e->tables; i++)
		if (e->image[i] != NULL)
			(void)e->image[i]->close(e->image[i], DB_NOSYNC);
	if (e->image_meta != NULL)
		(void)e->image_meta->close(e->image_meta, DB_NOSYNC);
	if (e->meta != NULL)
		(void)e->meta->close(e->meta, DB_NOSYNC);
	if (e->log != NULL)
		(void)e->log->close(e->log, DB_NOSYNC);
	if (e->db != NULL)
		(void)e->db->close(e->db, 0);
	*e = (struct env){ 0 };
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
