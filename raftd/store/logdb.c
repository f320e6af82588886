/* logdb.c - writing the Raft log, a btree of batches, with what goes with it: term, vote, terms' starts, cluster. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/store/internal.h"

enum {
	RUN_KEY = 12,			/* "run-" and the index of its first entry */
	COMPACT_SLICE = 256,		/* records deleted in one transaction, */
	COMPACT_SLICE_NS = 3000000,	/* or as many as that takes: large ones have many pages */
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
	DBT k, v;

	run_key(key, first);
	put_be64(value, term);
	k = dbt_of(key, sizeof(key));
	v = dbt_of(value, sizeof(value));
	return e->meta->put(e->meta, txn, &k, &v, 0);
}

bool
log_is_run(const DBT *k)
{
	return k->size == RUN_KEY && memcmp(k->data, "run-", 4) == 0;
}

int
log_seek(DBC *c, uint64_t index, DBT *k, DBT *v)
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

/* Delete from the cursor on; runs: as long as they are some. */
static int
delete_from(DBC *c, DBT *k, DBT *v, bool runs)
{
	int rc = 0;

	while (rc == 0 && (!runs || log_is_run(k))) {
		rc = c->del(c, 0);
		if (rc == 0)
			rc = c->get(c, k, v, DB_NEXT);
	}
	return rc == DB_NOTFOUND ? 0 : rc;
}

/* The record under the cursor keeps its entries in front of `from`. */
static int
shorten(DBC *c, DBT *k, const DBT *v, uint64_t from)
{
	DBT kept;
	size_t len;
	int rc;

	if (batch_front((struct str){ v->data, v->size }, get_be64(k->data), from, &len) < 0)
		return EDECODE;
	if (len == v->size)
		return 0;
	kept = dbt_of(malloc(len), len);
	if (kept.data == NULL)
		return ENOMEM;
	memcpy(kept.data, v->data, len);
	rc = c->put(c, k, &kept, DB_CURRENT);
	free(kept.data);
	return rc;
}

static int
cut_records(struct env *e, DB_TXN *txn, uint64_t from)
{
	DBT k = { 0 }, v = { 0 };
	DBC *c;
	int rc = e->log->cursor(e->log, txn, &c, 0), closed;

	if (rc != 0)
		return rc;
	rc = log_seek(c, from, &k, &v);
	if (rc == 0 && k.size != 8)
		rc = EDECODE;
	if (rc == 0 && get_be64(k.data) < from) {
		rc = shorten(c, &k, &v, from);
		if (rc == 0)
			rc = c->get(c, &k, &v, DB_NEXT);
	}
	if (rc == 0) {
		v.flags = DB_DBT_PARTIAL;	/* keys only */
		rc = delete_from(c, &k, &v, false);
	}
	closed = c->close(c);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

/* Delete the runs from an index on. *ret_term: of the run in front, 0 when there is none. */
static int
cut_runs(struct env *e, DB_TXN *txn, uint64_t from, uint64_t *ret_term)
{
	uint8_t key[RUN_KEY];
	DBT k, v = { 0 };
	DBC *c;
	int rc = e->meta->cursor(e->meta, txn, &c, 0), closed;

	if (rc != 0)
		return rc;
	run_key(key, from);
	k = dbt_of(key, sizeof(key));
	rc = c->get(c, &k, &v, DB_SET_RANGE);
	if (rc == 0)
		rc = delete_from(c, &k, &v, true);
	*ret_term = 0;
	if (rc == 0 || rc == DB_NOTFOUND) {
		run_key(key, from);
		k = dbt_of(key, sizeof(key));
		rc = c->get(c, &k, &v, DB_SET_RANGE);
		if (rc == 0 || rc == DB_NOTFOUND)
			rc = c->get(c, &k, &v, rc == 0 ? DB_PREV : DB_LAST);
		if (rc == 0 && log_is_run(&k) && v.size == 8)
			*ret_term = get_be64(v.data);
	}
	closed = c->close(c);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

static int
put_epoch(struct env *e, DB_TXN *txn, uint64_t epoch, uint64_t last)
{
	const uint64_t v[2] = { epoch, last };

	return env_meta_put(e->meta, txn, "epoch", v, 2);
}

static int
cut_log(struct env *e, DB_TXN *txn, uint64_t from, struct log_bounds *t)
{
	int rc;

	if (from > t->last)
		return 0;
	rc = cut_records(e, txn, from);
	if (rc == 0)
		rc = cut_runs(e, txn, from, &t->last_term);
	t->last = from - 1;
	t->epoch++;
	return rc != 0 ? rc : put_epoch(e, txn, t->epoch, t->last);
}

static int
put_batches(struct env *e, DB_TXN *txn, const struct batch *b, struct log_bounds *t)
{
	uint8_t key[8];
	int rc = 0;

	for (; rc == 0 && b != NULL; b = b->store_next) {
		DBT k = dbt_of(key, sizeof(key)), v = dbt_of(b->bytes.data, b->store_len);

		put_be64(key, b->first);
		rc = e->log->put(e->log, txn, &k, &v, 0);
		if (rc == 0 && b->term != t->last_term)
			rc = put_run(e, txn, b->first, b->term);
		t->last = b->first + b->store_n - 1;
		t->last_term = b->term;
	}
	return rc;
}

static int
put_state(struct env *e, DB_TXN *txn, const struct append *a)
{
	const uint64_t v[2] = { a->term, a->vote };
	int rc = env_meta_put(e->meta, txn, "state", v, 2);

	if (rc == 0 && a->cluster != 0)
		rc = env_meta_put(e->meta, txn, "cluster", &a->cluster, 1);
	return rc;
}

int
log_append(struct env *e, const struct append *a, struct log_bounds *t, uint64_t *ret_bad)
{
	struct log_bounds b = *t;
	DB_TXN *txn;
	int rc = e->db->txn_begin(e->db, NULL, &txn, 0);

	if (rc != 0)
		return rc;
	*ret_bad = a->cut;
	if (a->state)
		rc = put_state(e, txn, a);
	if (rc == 0 && a->cut != CUT_NONE)
		rc = cut_log(e, txn, a->cut, &b);
	if (rc == 0)
		rc = put_batches(e, txn, a->batches, &b);
	if (rc != 0) {
		int undone = txn->abort(txn);

		return undone != 0 ? undone : rc;
	}
	rc = txn->commit(txn, DB_TXN_SYNC);
	if (rc == 0)
		*t = b;
	return rc;
}

int
log_reset(struct env *e, DB_TXN *txn, uint64_t index, uint64_t term, uint64_t epoch)
{
	uint64_t none;
	int rc = cut_runs(e, txn, 0, &none);

	if (rc == 0)
		rc = put_run(e, txn, index, term);
	if (rc == 0)
		rc = env_meta_put(e->meta, txn, "base", &index, 1);
	return rc != 0 ? rc : put_epoch(e, txn, epoch, index);
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
	while (rc == 0 && log_is_run(&k)) {
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
	const uint64_t until = thread_now() + COMPACT_SLICE_NS;
	DBT k = { 0 }, v = { 0 };
	DBC *c;
	int rc = e->log->cursor(e->log, txn, &c, 0), closed;

	if (rc != 0)
		return rc;
	v.flags = DB_DBT_PARTIAL;	/* keys only */
	*ret_more = true;
	rc = c->get(c, &k, &v, DB_FIRST);
	for (int i = 0; rc == 0 && i <= COMPACT_SLICE; i++) {
		bool last = i == COMPACT_SLICE || (i > 0 && thread_now() > until);

		*ret_base = get_be64(k.data) - 1;
		rc = c->get(c, &k, &v, DB_NEXT);
		if (rc == DB_NOTFOUND || (rc == 0 && get_be64(k.data) > upto + 1)) {
			*ret_more = false;
			rc = 0;
			break;
		}
		if (last)
			break;
		if (rc == 0) {
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
	if (rc == 0 && base > 0)
		rc = env_meta_put(e->meta, txn, "base", &base, 1);
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
