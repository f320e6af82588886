/* logread.c - reading the Raft log: its bounds at start, what is to be applied, what a follower lacks. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/store/internal.h"

enum {
	READ_SLICE = 128,		/* records read at a time, */
	READ_SLICE_BYTES = 64 * 1024,	/* or so much of them */
};

static int
damaged(char *ret_err, uint64_t index)
{
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "the log on disk is damaged at index %" PRIu64 ": " DAMAGE_HINT, index);
	return -EDECODE;
}

static int
db_failed(struct env *e, char *ret_err, int rc)
{
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "cannot read the log on disk: %s; " DAMAGE_HINT, env_error(e, rc));
	return rc > 0 ? -rc : -EIO;
}

/* Count and check the entries of the record under the cursor. */
static int
record_last(const DBT *k, const DBT *v, uint64_t *ret_first, uint64_t *ret_last)
{
	struct batch_cursor c;
	struct batch_entry entry;
	int rc;

	if (k->size != 8)
		return -EDECODE;
	*ret_first = get_be64(k->data);
	rc = batch_read((struct str){ v->data, v->size }, *ret_first, &c);
	if (rc < 0)
		return rc;
	while ((rc = batch_next(&c, true, &entry)) > 0)
		*ret_last = entry.index;
	return rc;
}

/* From the base that meta names to the end of the last record. */
static int
start_bounds(struct env *e, struct store_start *st, char *ret_err)
{
	DBT k = { 0 }, v = { 0 };
	uint64_t first = st->base + 1;
	DBC *c;
	int rc = e->log->cursor(e->log, NULL, &c, 0), bad = 0;

	if (rc != 0)
		return db_failed(e, ret_err, rc);
	st->last = st->base;
	rc = c->get(c, &k, &v, DB_FIRST);
	if (rc == 0 && (k.size != 8 || get_be64(k.data) != first))
		bad = -EDECODE;
	else if (rc == 0)
		rc = c->get(c, &k, &v, DB_LAST);
	if (rc == 0 && bad == 0)
		bad = record_last(&k, &v, &first, &st->last);
	(void)c->close(c);
	if (bad < 0)
		return damaged(ret_err, first);
	return rc == 0 || rc == DB_NOTFOUND ? 0 : db_failed(e, ret_err, rc);
}

static int
add_run(struct store_start *st, const DBT *k, const DBT *v)
{
	struct raft_run *p;

	if (v->size != 8)
		return EINVAL;
	p = realloc(st->runs, (st->nruns + 1) * sizeof(*p));
	if (p == NULL)
		return ENOMEM;
	st->runs = p;
	p[st->nruns++] = (struct raft_run){ get_be64((const uint8_t *)k->data + 4), get_be64(v->data) };
	return 0;
}

static int
start_runs(struct env *e, struct store_start *st, char *ret_err)
{
	DBT k = dbt_of("run-", 4), v = { 0 };
	DBC *c;
	int rc = e->meta->cursor(e->meta, NULL, &c, 0);

	if (rc != 0)
		return db_failed(e, ret_err, rc);
	rc = c->get(c, &k, &v, DB_SET_RANGE);
	while (rc == 0 && log_is_run(&k)) {
		rc = add_run(st, &k, &v);
		if (rc == 0)
			rc = c->get(c, &k, &v, DB_NEXT);
	}
	(void)c->close(c);
	return rc == 0 || rc == DB_NOTFOUND ? 0 : db_failed(e, ret_err, rc);
}

/* Numbers that need not be there. */
static int
get_if_any(DB *meta, const char *name, uint64_t *v, size_t n)
{
	int rc = env_meta_get(meta, name, v, n);

	return rc == DB_NOTFOUND ? 0 : rc;
}

int
log_start(struct env *e, struct store_start *st, struct log_found *ret_found, char ret_err[DATADIR_ERROR_MAX])
{
	uint64_t state[2] = { 0, 0 }, epoch[2] = { 0, 0 };
	int rc = get_if_any(e->meta, "state", state, 2);

	if (rc == 0)
		rc = get_if_any(e->image.meta, "applied", &st->applied, 1);
	if (rc == 0)
		rc = get_if_any(e->meta, "cluster", &st->cluster, 1);
	if (rc == 0)
		rc = get_if_any(e->meta, "base", &st->base, 1);
	if (rc == 0)
		rc = get_if_any(e->meta, "epoch", epoch, 2);
	if (rc != 0)
		return db_failed(e, ret_err, rc);
	st->term = state[0];
	st->vote = state[1];
	*ret_found = (struct log_found){ epoch[0], epoch[1] };
	rc = start_bounds(e, st, ret_err);
	return rc < 0 ? rc : start_runs(e, st, ret_err);
}

/* One record as a batch of the loop's. */
static int
give(const DBT *k, const DBT *v, uint64_t *next, const struct store_loader *ld)
{
	uint64_t first = 0, last = 0;
	struct batch *b;

	if (record_last(k, v, &first, &last) < 0 || first > *next || last < *next)
		return -EDECODE;
	b = batch_new();
	if (b == NULL || buf_add(&b->bytes, v->data, v->size) < 0) {
		batch_free(b);
		return -ENOMEM;
	}
	b->first = first;
	b->term = get_be64(v->data);
	b->n = (uint32_t)(last - first + 1);
	*next = last + 1;
	return ld->batch(ld->ctx, b);
}

int
log_load(struct env *e, uint64_t after, uint64_t last, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX])
{
	DBT k = { 0 }, v = { 0 };
	uint64_t next = after + 1;
	DBC *c;
	int rc, given = 0;

	if (after >= last)
		return 0;
	rc = e->log->cursor(e->log, NULL, &c, 0);
	if (rc != 0)
		return db_failed(e, ret_err, rc);
	rc = log_seek(c, next, &k, &v);
	while (rc == 0 && given == 0 && next <= last) {
		given = give(&k, &v, &next, ld);
		if (given == 0 && next <= last)
			rc = c->get(c, &k, &v, DB_NEXT);
	}
	(void)c->close(c);
	if (given == -EDECODE || rc == DB_NOTFOUND)
		return damaged(ret_err, next);
	if (given < 0) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "cannot load the log: %s", err_text(given));
		return given;
	}
	return rc == 0 ? 0 : db_failed(e, ret_err, rc);
}

/* The record under the cursor as a batch; its memory is the one that Berkeley DB gave. */
static int
take_record(struct read_job *job, const DBT *k, DBT *v)
{
	uint64_t first = 0, last = 0;
	struct batch *b;

	if (record_last(k, v, &first, &last) < 0 || first > job->at || last < job->at) {
		free(v->data);
		return EDECODE;
	}
	b = batch_new();
	if (b == NULL) {
		free(v->data);
		return ENOMEM;
	}
	b->bytes.data = v->data;
	b->bytes.len = b->bytes.cap = v->size;
	b->first = first;
	b->term = get_be64(v->data);
	b->n = (uint32_t)(last - first + 1);
	*job->tail = b;
	job->tail = &b->next;
	job->bytes += v->size;
	job->at = last + 1;
	return 0;
}

/*
 * Each slice looks for its place anew: in between the log may have been cut
 * at either end. What is missing in the middle is damage.
 */
int
log_read(struct env *e, struct read_job *job, uint64_t last, bool *ret_done, uint64_t *ret_bad)
{
	DBT k = { 0 }, v = { .flags = DB_DBT_MALLOC }, none = { .flags = DB_DBT_PARTIAL };
	size_t until = job->bytes + READ_SLICE_BYTES;
	DBC *c;
	int rc = e->log->cursor(e->log, NULL, &c, 0), closed, records = 0;

	if (rc != 0)
		return rc;
	rc = log_seek(c, job->at, &k, &none);
	if (rc == 0)
		rc = c->get(c, &k, &v, DB_CURRENT);
	while (rc == 0) {
		rc = take_record(job, &k, &v);
		*ret_done = job->bytes >= job->max_bytes || job->at > last;
		if (rc != 0 || *ret_done || ++records == READ_SLICE || job->bytes >= until)
			break;
		rc = c->get(c, &k, &v, DB_NEXT);
	}
	closed = c->close(c);
	*ret_bad = job->at;
	if (rc == DB_NOTFOUND)
		rc = EDECODE;
	return rc != 0 ? rc : closed;
}

void
read_job_trim(struct read_job *job)
{
	struct batch **at = &job->list, *b;

	while (*at != NULL && batch_last(*at) < job->cut)
		at = &(*at)->next;
	if (*at != NULL && (*at)->first < job->cut) {
		batch_cut(*at, job->cut);
		at = &(*at)->next;
	}
	while ((b = *at) != NULL) {
		*at = b->next;
		batch_free(b);
	}
	job->tail = at;
}

void
read_job_free(struct read_job *job)
{
	if (job == NULL)
		return;
	job->cut = 0;
	read_job_trim(job);
	free(job);
}
