/* staging.c - the file of another image, written beside the one in force. */
#include <string.h>

#include "raftd/store/internal.h"

enum {
	STAGING_CACHE = 8 * 1024 * 1024,
	STAGING_UNWRITTEN = 8 * 1024 * 1024,	/* bytes after which the kernel is told to write them */
};

int
staging_open(struct staging *g, struct env *e, const struct datadir *d)
{
	int rc;

	*g = (struct staging){ .unwritten = 0 };
	image_file_name(g->file, e->image_gen + 1);
	rc = -datadir_remove(d, g->file);
	if (rc == 0)
		rc = db_env_create(&g->db, 0);
	if (rc != 0)
		return rc;
	g->db->app_private = e;
	g->db->set_errcall(g->db, env_on_error);
	rc = g->db->set_cachesize(g->db, 0, STAGING_CACHE, 1);
	if (rc == 0)
		rc = g->db->open(g->db, d->path, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0600);
	return rc != 0 ? rc : image_open(&g->image, g->db, NULL, g->file, e->image.tables);
}

static int
close_all(struct staging *g, u_int32_t flags)
{
	int rc, closed = 0;

	job_end(&g->job);
	rc = image_close(&g->image, flags);
	if (g->db != NULL)
		closed = g->db->close(g->db, 0);
	g->db = NULL;
	return rc != 0 ? rc : closed;
}

void
staging_drop(struct staging *g, const struct datadir *d)
{
	if (g->db == NULL)
		return;
	(void)close_all(g, DB_NOSYNC);
	/* What stays now goes with the next start. */
	(void)datadir_remove(d, g->file);
}

int
staging_begin(struct staging *g, const struct changes *c)
{
	return job_begin(&g->job, c);
}

/* The kernel writes along: what the sync at the end has to wait for is little. */
int
staging_slice(struct staging *g, const struct datadir *d, size_t records, bool *ret_done)
{
	const char *const names[] = { g->file, NULL };
	int rc = job_slice(&g->job, &g->image, records, UINT64_MAX, ret_done);

	if (rc != 0 || !*ret_done)
		return rc;
	g->unwritten += g->job.changes->bytes.len;
	job_end(&g->job);
	g->job.changes = NULL;
	if (g->unwritten >= STAGING_UNWRITTEN) {
		datadir_begin_writing(d, names);
		g->unwritten = 0;
	}
	return 0;
}

int
staging_applied(struct staging *g, uint64_t applied)
{
	return env_meta_put(g->image.meta, NULL, "applied", &applied, 1);
}

int
staging_write_pages(struct staging *g, int percent)
{
	int written;

	return g->db->memp_trickle(g->db, percent, &written);
}

int
staging_close(struct staging *g)
{
	/* What the cache may still have goes out with the first of the tables, which are one file. */
	int rc = g->image.meta->sync(g->image.meta, 0), closed = close_all(g, DB_NOSYNC);

	return rc != 0 ? rc : closed;
}
