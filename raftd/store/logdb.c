/* logdb.c - the Raft log as a btree of batches, and what goes with it: term, vote, terms' starts, configuration. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/store/internal.h"

enum {
	RUN_KEY = 12,			/* "run-" and the index of its first entry */
	COMPACT_SLICE = 256,		/* records deleted in one transaction */
};

static void
run_key(uint8_t key[RUN_KEY], uint64_t first)
{
	memcpy(key, "run-", 4);
	put_be64(key + 4, first);
}

static int
put_run(struct env *e, DB_TXN *txn, uint64_t first, uint64_t term)
{
	uint8_t key[RUN_KEY], value[8];
	DBT k = dbt_of(key, sizeof(key)), v = dbt_of(value, sizeof(value));

	run_key(key, first);
	put_be64(value, term);
	return e->meta->put(e->meta, txn, &k, &v, 0);
}

static int
put_servers(struct env *e, DB_TXN *txn, const struct append *a)
{
	DBT k = dbt_of("servers", 7), v = dbt_of(a->servers->data, a->servers->len);
	int rc = e->meta->put(e->meta, txn, &k, &v, 0);

	if (rc == 0)
		rc = env_meta_put(e->meta, txn, "servers-index", &a->servers_index, 1);
	return rc;
}

static int
put_batches(struct env *e, DB_TXN *txn, const struct append *a)
{
	uint64_t term = a->last_term;
	uint8_t key[8];
	int rc = 0;

	for (const struct batch *b = a->batches; rc == 0 && b != NULL; b = b->store_next) {
		DBT k = dbt_of(key, sizeof(key)), v = dbt_of(b->bytes.data, b->bytes.len);

		put_be64(key, b->first);
		rc = e->log->put(e->log, txn, &k, &v, 0);
		if (rc == 0 && b->term != term)
			rc = put_run(e, txn, b->first, b->term);
		term = b->term;
	}
	return rc;
}

int
log_append(struct env *e, const struct append *a)
{
	DB_TXN *txn;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	if (rc != 0)
		return rc;
	if (a->state) {
		const uint64_t v[2] = { a->term, a->vote };

		rc = env_meta_put(e->meta, txn, "state", v, 2);
	}
	if (rc == 0 && a->servers != NULL)
		rc = put_servers(e, txn, a);
	if (rc == 0)
		rc = put_batches(e, txn, a);
	if (rc != 0) {
		int undone = txn->abort(txn);

		return undone != 0 ? undone : rc;
	}
	return txn->commit(txn, DB_TXN_SYNC);
}

static int
damaged(char *ret_err, uint64_t index)
{
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "the log on disk is damaged at index %" PRIu64 ": move the data directory away "
	    "and let the server rejoin as a new member, or restore a backup", index);
	return -EDECODE;
}

static int
db_failed(struct env *e, char *ret_err, int rc)
{
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "cannot read the log on disk: %s; move the data directory away and let the "
	    "server rejoin as a new member, or restore a backup", env_error(e, rc));
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

static int
start_bounds(struct env *e, struct store_start *st, char *ret_err)
{
	DBT k = { 0 }, v = { 0 };
	uint64_t first, last = 0;
	DBC *c;
	int rc = e->log->cursor(e->log, NULL, &c, 0);

	if (rc != 0)
		return db_failed(e, ret_err, rc);
	rc = c->get(c, &k, &v, DB_FIRST);
	if (rc == 0 && k.size == 8)
		st->base = get_be64(k.data) - 1;
	if (rc == 0)
		rc = c->get(c, &k, &v, DB_LAST);
	if (rc == 0) {
		first = st->base + 1;
		if (record_last(&k, &v, &first, &last) < 0) {
			(void)c->close(c);
			return damaged(ret_err, first);
		}
		st->last = last;
	}
	(void)c->close(c);
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
	while (rc == 0 && k.size == RUN_KEY && memcmp(k.data, "run-", 4) == 0) {
		rc = add_run(st, &k, &v);
		if (rc == 0)
			rc = c->get(c, &k, &v, DB_NEXT);
	}
	(void)c->close(c);
	return rc == 0 || rc == DB_NOTFOUND ? 0 : db_failed(e, ret_err, rc);
}

static int
start_servers(struct env *e, struct store_start *st)
{
	DBT k = dbt_of("servers", 7), v = { 0 };
	int rc;

	v.flags = DB_DBT_MALLOC;
	rc = e->meta->get(e->meta, NULL, &k, &v, 0);
	if (rc == DB_NOTFOUND)
		return 0;
	if (rc != 0)
		return rc;
	rc = buf_add(&st->servers, v.data, v.size) < 0 ? ENOMEM : 0;
	free(v.data);
	return rc != 0 ? rc : env_meta_get(e->meta, "servers-index", &st->servers_index, 1);
}

int
log_start(struct env *e, struct store_start *st, char ret_err[DATADIR_ERROR_MAX])
{
	uint64_t state[2] = { 0, 0 };
	int rc = env_meta_get(e->meta, "state", state, 2);

	if (rc == 0 || rc == DB_NOTFOUND)
		rc = env_meta_get(e->image_meta, "applied", &st->applied, 1);
	if (rc == 0 || rc == DB_NOTFOUND)
		rc = start_servers(e, st);
	if (rc != 0)
		return db_failed(e, ret_err, rc);
	st->term = state[0];
	st->vote = state[1];
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

/* Position on the record that holds index: the last one that begins at or before it. */
static int
seek(DBC *c, uint64_t index, DBT *k, DBT *v)
{
	uint8_t key[8];
	int rc;

	put_be64(key, index);
	*k = dbt_of(key, sizeof(key));
	rc = c->get(c, k, v, DB_SET_RANGE);
	if (rc == DB_NOTFOUND)
		return c->get(c, k, v, DB_LAST);
	if (rc == 0 && (k->size != 8 || get_be64(k->data) != index))
		return c->get(c, k, v, DB_PREV);
	return rc;
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
	rc = seek(c, next, &k, &v);
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

/* Runs that end at or before base: all but the one that covers it. */
static int
compact_runs(struct env *e, DB_TXN *txn, uint64_t base)
{
	DBT k = dbt_of("run-", 4), v = { 0 };
	uint64_t older = 0;
	uint8_t key[RUN_KEY];
	DBC *c;
	int rc = e->meta->cursor(e->meta, txn, &c, 0), closed;

	if (rc != 0)
		return rc;
	rc = c->get(c, &k, &v, DB_SET_RANGE);
	while (rc == 0 && k.size == RUN_KEY && memcmp(k.data, "run-", 4) == 0) {
		uint64_t first = get_be64((const uint8_t *)k.data + 4);

		if (first > base)
			break;
		if (older != 0) {
			DBT old = dbt_of(key, sizeof(key));

			run_key(key, older);
			rc = e->meta->del(e->meta, txn, &old, 0);
		}
		older = first;
		if (rc == 0)
			rc = c->get(c, &k, &v, DB_NEXT);
	}
	closed = c->close(c);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

/*
 * Delete records from the front while the one behind begins at or before
 * upto + 1: the record that holds upto itself stays if it goes further.
 */
static int
compact_records(struct env *e, DB_TXN *txn, uint64_t upto, uint64_t *ret_base, bool *ret_more)
{
	DBT k = { 0 }, v = { 0 };
	DBC *c;
	int rc = e->log->cursor(e->log, txn, &c, 0), closed;

	if (rc != 0)
		return rc;
	v.flags = DB_DBT_PARTIAL;	/* keys only */
	*ret_more = true;
	rc = c->get(c, &k, &v, DB_FIRST);
	for (int i = 0; rc == 0 && i <= COMPACT_SLICE; i++) {
		*ret_base = get_be64(k.data) - 1;
		rc = c->get(c, &k, &v, DB_NEXT);
		if (rc == DB_NOTFOUND || (rc == 0 && get_be64(k.data) > upto + 1)) {
			*ret_more = false;
			rc = 0;
			break;
		}
		if (rc == 0 && i < COMPACT_SLICE) {
			rc = c->get(c, &k, &v, DB_PREV);
			if (rc == 0)
				rc = c->del(c, 0);
			if (rc == 0)
				rc = c->get(c, &k, &v, DB_NEXT);
		}
	}
	closed = c->close(c);
	if (rc == DB_NOTFOUND) {
		*ret_more = false;
		rc = 0;
	}
	return rc != 0 ? rc : closed;
}

int
log_compact(struct env *e, uint64_t upto, uint64_t *ret_base, bool *ret_more)
{
	DB_TXN *txn;
	uint64_t base = 0;
	bool more = false;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	if (rc != 0)
		return rc;
	rc = compact_records(e, txn, upto, &base, &more);
	if (rc == 0 && base > 0)
		rc = compact_runs(e, txn, base);
	if (rc != 0) {
		int undone = txn->abort(txn);

		return undone != 0 ? undone : rc;
	}
	rc = txn->commit(txn, DB_TXN_NOSYNC);
	if (rc == 0) {
		*ret_base = base;
		*ret_more = more;
	}
	return rc;
}
