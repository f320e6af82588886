/* imagedb.c - the image of the state: changes written behind, and everything read back at start. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/store/crc32c.h"
#include "raftd/store/internal.h"

enum {
	CHANGE_HEADER = 9,		/* u8 table, u32 key length, u32 value length */
	CHANGE_GONE = 0xffffffff,
	RECORD_CRC = 4,
	CLOCK_RECORDS = 16,		/* written between two looks at the clock */
	LOAD_BUFFER = 512 * 1024,	/* of a bulk read; a multiple of 1024 */
	LOAD_BUFFERS = 4,
};

struct changes *
changes_new(void)
{
	struct changes *c = calloc(1, sizeof(*c));

	if (c != NULL)
		buf_init(&c->bytes, CHANGES_BYTES_MAX);
	return c;
}

void
changes_free(struct changes *c)
{
	if (c == NULL)
		return;
	buf_release(&c->bytes);
	free(c);
}

/* On disk a value stands behind its checksum, so one is left room here. */
int
changes_add(struct changes *c, unsigned table, struct str key, struct str value)
{
	uint8_t head[CHANGE_HEADER] = { (uint8_t)table }, crc[RECORD_CRC];
	int rc = buf_reserve(&c->bytes, sizeof(head) + key.len + sizeof(crc) + value.len);

	if (rc < 0)
		return rc;
	put_be32(head + 1, (uint32_t)key.len);
	put_be32(head + 5, value.p != NULL ? (uint32_t)value.len : (uint32_t)CHANGE_GONE);
	put_be32(crc, crc32c(crc32c(crc32c(0, head, 1), key.p, key.len), value.p, value.len));
	if (buf_add(&c->bytes, head, sizeof(head)) < 0 || buf_add(&c->bytes, key.p, key.len) < 0 ||
	    buf_add(&c->bytes, crc, value.p != NULL ? sizeof(crc) : 0) < 0 || buf_add(&c->bytes, value.p, value.len) < 0)
		return -ENOMEM;
	c->n++;
	return 0;
}

/* A change, as it lies in the bytes. */
static struct str
change_key(const uint8_t *p)
{
	return (struct str){ (const char *)p + CHANGE_HEADER, get_be32(p + 1) };
}

static size_t
change_value_len(const uint8_t *p)
{
	uint32_t n = get_be32(p + 5);

	return n == CHANGE_GONE ? 0 : RECORD_CRC + (size_t)n;
}

/* By table and key, and by age, which is the place in memory. */
static int
change_cmp(const void *a, const void *b)
{
	const uint8_t *x = *(const uint8_t *const *)a, *y = *(const uint8_t *const *)b;
	int c = x[0] - y[0];

	if (c == 0)
		c = str_cmp(change_key(x), change_key(y));
	return c != 0 ? c : (x > y) - (x < y);
}

static bool
same_record(const uint8_t *x, const uint8_t *y)
{
	return x[0] == y[0] && str_eq(change_key(x), change_key(y));
}

static int
put_change(const struct image *im, DB_TXN *txn, const uint8_t *p)
{
	struct str key = change_key(p);
	DBT k = dbt_of(key.p, key.len), v = dbt_of(key.p + key.len, change_value_len(p));
	DB *t = im->table[p[0]];
	int rc;

	if (v.size > 0)
		return t->put(t, txn, &k, &v, 0);
	rc = t->del(t, txn, &k, 0);
	return rc == DB_NOTFOUND ? 0 : rc;
}

/* NULL: no memory. What a snapshot brings is in order already. */
static const uint8_t **
sorted(const struct changes *c)
{
	const uint8_t *p = c->bytes.data, **v = malloc(c->n * sizeof(*v));
	bool ordered = true;

	if (v == NULL)
		return NULL;
	for (size_t i = 0; i < c->n; i++) {
		v[i] = p;
		p += CHANGE_HEADER + get_be32(p + 1) + change_value_len(p);
		ordered = ordered && (i == 0 || change_cmp(&v[i - 1], &v[i]) < 0);
	}
	if (!ordered)
		qsort(v, c->n, sizeof(*v), change_cmp);
	return v;
}

/*
 * In order of the keys, and of several changes to one record the last: the
 * pages are then visited once for each chunk, not once for each record.
 */
int
job_begin(struct image_job *job, const struct changes *c)
{
	*job = (struct image_job){ .changes = c };
	if (c->n > 0) {
		job->sorted = sorted(c);
		if (job->sorted == NULL)
			return ENOMEM;
	}
	return 0;
}

int
job_slice(struct image_job *job, const struct image *im, size_t records, uint64_t until_ns, bool *ret_done)
{
	size_t n = job->changes->n, slice = 0;
	int rc = 0;

	for (; rc == 0 && job->at < n && slice < records; job->at++) {
		if (job->at + 1 < n && same_record(job->sorted[job->at], job->sorted[job->at + 1]))
			continue;
		rc = put_change(im, job->txn, job->sorted[job->at]);
		if (++slice % CLOCK_RECORDS == 0 && thread_now() >= until_ns)
			records = slice;
	}
	job->written += slice;
	*ret_done = rc == 0 && job->at == n;
	return rc;
}

void
job_end(struct image_job *job)
{
	free(job->sorted);
	job->sorted = NULL;
	job->txn = NULL;
}

/* The transaction stays open between the slices, so that entries of the log need not wait for the whole chunk. */
int
image_begin(struct env *e, const struct changes *c, struct image_job *job)
{
	int rc = job_begin(job, c);

	if (rc == 0)
		rc = e->db->txn_begin(e->db, NULL, &job->txn, 0);
	if (rc != 0)
		job_end(job);
	return rc;
}

static int
end_job(struct env *e, struct image_job *job, int rc)
{
	DB_TXN *txn = job->txn;

	job_end(job);
	if (rc == 0)
		rc = env_meta_put(e->image.meta, txn, "applied", &job->changes->applied, 1);
	if (rc != 0) {
		int undone = txn->abort(txn);

		return undone != 0 ? undone : rc;
	}
	return txn->commit(txn, DB_TXN_NOSYNC);
}

int
image_slice(struct env *e, struct image_job *job, size_t records, uint64_t until_ns, bool *ret_done)
{
	bool over;
	int rc = job_slice(job, &e->image, records, until_ns, &over);

	*ret_done = false;
	if (rc == 0 && !over)
		return 0;
	rc = end_job(e, job, rc);
	*ret_done = rc == 0;
	return rc;
}

void
image_abort(struct image_job *job)
{
	if (job->txn != NULL)
		(void)job->txn->abort(job->txn);
	job_end(job);
}

static int
load_record(unsigned table, struct str key, struct str value, const struct store_loader *ld)
{
	const uint8_t t = (uint8_t)table;
	struct str data = { value.p + RECORD_CRC, value.len - RECORD_CRC };

	if (value.len < RECORD_CRC || get_be32((const uint8_t *)value.p) !=
	    crc32c(crc32c(crc32c(0, &t, 1), key.p, key.len), data.p, data.len))
		return -EDECODE;
	return ld->record(ld->ctx, table, key, data);
}

/* One bulk buffer full of records. */
static int
load_bulk(unsigned table, DBT *bulk, const struct store_loader *ld)
{
	struct str key, value;
	void *at, *k, *v;
	size_t klen, vlen;
	int rc;

	DB_MULTIPLE_INIT(at, bulk);
	for (;;) {
		DB_MULTIPLE_KEY_NEXT(at, bulk, k, klen, v, vlen);
		if (at == NULL)
			return 0;
		key = (struct str){ k, klen };
		value = (struct str){ v, vlen };
		rc = load_record(table, key, value, ld);
		if (rc < 0)
			return rc;
	}
}

/*
 * Reading and building go on side by side: a thread reads bulk buffers (and
 * checks pages), the caller's builds the state from them. Measured with a
 * million keys: two thirds of the time that one thread needs.
 */
struct reader {
	struct env *env;
	DBT bulk[LOAD_BUFFERS];
	unsigned table[LOAD_BUFFERS];
	size_t filled, emptied;		/* buffers so far; the next is at [n % LOAD_BUFFERS] */
	bool over, stop;
	int rc;				/* of Berkeley DB */
	unsigned at;			/* table being read */
	pthread_mutex_t mutex;
	pthread_cond_t moved;
};

/* A record larger than the buffer: Berkeley DB has told how much it needs. */
static int
grow_bulk(DBT *bulk)
{
	size_t want = ((size_t)bulk->size + 64 * 1024) / 1024 * 1024;
	void *p = realloc(bulk->data, want);

	if (p == NULL)
		return ENOMEM;
	bulk->data = p;
	bulk->ulen = (u_int32_t)want;
	return 0;
}

/* The buffer to fill next, or NULL when the caller wants no more. */
static DBT *
next_free(struct reader *rd)
{
	DBT *b = NULL;

	pthread_mutex_lock(&rd->mutex);
	while (rd->filled - rd->emptied == LOAD_BUFFERS && !rd->stop)
		(void)pthread_cond_wait(&rd->moved, &rd->mutex);
	if (!rd->stop)
		b = &rd->bulk[rd->filled % LOAD_BUFFERS];
	pthread_mutex_unlock(&rd->mutex);
	return b;
}

static void
give_filled(struct reader *rd, unsigned table)
{
	pthread_mutex_lock(&rd->mutex);
	rd->table[rd->filled % LOAD_BUFFERS] = table;
	rd->filled++;
	pthread_cond_signal(&rd->moved);
	pthread_mutex_unlock(&rd->mutex);
}

static int
read_table(struct reader *rd, unsigned table)
{
	DB *t = rd->env->image.table[table];
	DBT key = { 0 }, *bulk;
	DBC *c;
	int rc = t->cursor(t, NULL, &c, 0);

	if (rc != 0)
		return rc;
	while ((bulk = next_free(rd)) != NULL) {
		rc = c->get(c, &key, bulk, DB_MULTIPLE_KEY | DB_NEXT);
		if (rc == DB_BUFFER_SMALL) {
			rc = grow_bulk(bulk);
			if (rc == 0)
				continue;
		}
		if (rc != 0)
			break;
		give_filled(rd, table);
	}
	(void)c->close(c);
	return rc == DB_NOTFOUND ? 0 : rc;
}

static void *
read_image(void *arg)
{
	struct reader *rd = arg;
	int rc = 0;

	for (unsigned t = 0; rc == 0 && t < rd->env->image.tables; t++) {
		rd->at = t;
		rc = read_table(rd, t);
	}
	pthread_mutex_lock(&rd->mutex);
	rd->rc = rc;
	rd->over = true;
	pthread_cond_signal(&rd->moved);
	pthread_mutex_unlock(&rd->mutex);
	return NULL;
}

/* Build from what is read until all is, or something is wrong. */
static int
build(struct reader *rd, const struct store_loader *ld)
{
	int rc = 0;

	pthread_mutex_lock(&rd->mutex);
	while (rc == 0) {
		size_t slot = rd->emptied % LOAD_BUFFERS;

		while (rd->filled == rd->emptied && !rd->over)
			(void)pthread_cond_wait(&rd->moved, &rd->mutex);
		if (rd->filled == rd->emptied)
			break;
		pthread_mutex_unlock(&rd->mutex);
		rc = load_bulk(rd->table[slot], &rd->bulk[slot], ld);
		pthread_mutex_lock(&rd->mutex);
		rd->emptied++;
		rd->stop = rc != 0;
		pthread_cond_signal(&rd->moved);
	}
	pthread_mutex_unlock(&rd->mutex);
	return rc;
}

static int
reader_init(struct reader *rd, struct env *e)
{
	rd->env = e;
	for (size_t i = 0; i < LOAD_BUFFERS; i++) {
		rd->bulk[i].data = malloc(LOAD_BUFFER);
		rd->bulk[i].ulen = LOAD_BUFFER;
		rd->bulk[i].flags = DB_DBT_USERMEM;
		if (rd->bulk[i].data == NULL)
			return ENOMEM;
	}
	return 0;
}

int
image_load(struct env *e, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX])
{
	struct reader rd = { .mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
	pthread_t thread;
	int loaded = 0, begun = reader_init(&rd, e);

	if (begun == 0)
		begun = pthread_create(&thread, NULL, read_image, &rd);
	if (begun == 0) {
		loaded = build(&rd, ld);
		(void)pthread_join(thread, NULL);
	} else {
		rd.rc = begun;
	}
	for (size_t i = 0; i < LOAD_BUFFERS; i++)
		free(rd.bulk[i].data);
	if (rd.rc == 0 && loaded == 0)
		return 0;
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "the image of the state on disk cannot be read (table %u: %s): " DAMAGE_HINT, rd.at,
	    rd.rc != 0 ? env_error(e, rd.rc) : err_text(loaded));
	return rd.rc != 0 ? (rd.rc > 0 ? -rd.rc : -EIO) : loaded;
}
