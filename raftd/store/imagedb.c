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
	LOAD_BUFFER = 1024 * 1024,	/* of a bulk read; a multiple of 1024 */
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
put_change(struct env *e, DB_TXN *txn, const uint8_t *p)
{
	struct str key = change_key(p);
	DBT k = dbt_of(key.p, key.len), v = dbt_of(key.p + key.len, change_value_len(p));
	DB *t = e->image[p[0]];
	int rc;

	if (v.size > 0)
		return t->put(t, txn, &k, &v, 0);
	rc = t->del(t, txn, &k, 0);
	return rc == DB_NOTFOUND ? 0 : rc;
}

static const uint8_t **
sorted(const struct changes *c)
{
	const uint8_t *p = c->bytes.data, **v = malloc(c->n * sizeof(*v));

	if (v == NULL)
		return NULL;
	for (size_t i = 0; i < c->n; i++) {
		v[i] = p;
		p += CHANGE_HEADER + get_be32(p + 1) + change_value_len(p);
	}
	qsort(v, c->n, sizeof(*v), change_cmp);
	return v;
}

/* In order of the keys, and of several changes to one record the last: a third of the page accesses. */
int
image_write(struct env *e, const struct changes *c, uint64_t *ret_records)
{
	const uint8_t **v = NULL;
	DB_TXN *txn;
	uint64_t records = 0;
	int rc;

	if (c->n > 0 && (v = sorted(c)) == NULL)
		return ENOMEM;
	rc = e->db->txn_begin(e->db, NULL, &txn, 0);
	if (rc != 0) {
		free(v);
		return rc;
	}
	for (size_t i = 0; rc == 0 && i < c->n; i++) {
		if (i + 1 < c->n && same_record(v[i], v[i + 1]))
			continue;
		rc = put_change(e, txn, v[i]);
		records++;
	}
	free(v);
	if (rc == 0)
		rc = env_meta_put(e, txn, "applied", &c->applied, 1);
	if (rc != 0) {
		int undone = txn->abort(txn);

		return undone != 0 ? undone : rc;
	}
	rc = txn->commit(txn, DB_TXN_NOSYNC);
	if (rc == 0)
		*ret_records += records;
	return rc;
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

static int
load_table(struct env *e, unsigned table, DBT *bulk, const struct store_loader *ld, int *ret_loaded)
{
	DBT key = { 0 };
	DBC *c;
	int rc = e->image[table]->cursor(e->image[table], NULL, &c, 0);

	if (rc != 0)
		return rc;
	for (;;) {
		rc = c->get(c, &key, bulk, DB_MULTIPLE_KEY | DB_NEXT);
		if (rc == DB_BUFFER_SMALL) {
			rc = grow_bulk(bulk);
			if (rc == 0)
				continue;
		}
		if (rc != 0)
			break;
		*ret_loaded = load_bulk(table, bulk, ld);
		if (*ret_loaded < 0)
			break;
	}
	(void)c->close(c);
	return rc == DB_NOTFOUND ? 0 : rc;
}

int
image_load(struct env *e, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX])
{
	DBT bulk = { 0 };
	int rc = 0, loaded = 0;
	unsigned t;

	bulk.data = malloc(LOAD_BUFFER);
	if (bulk.data == NULL)
		rc = ENOMEM;
	bulk.ulen = LOAD_BUFFER;
	bulk.flags = DB_DBT_USERMEM;
	for (t = 0; rc == 0 && loaded == 0 && t < e->tables; t++)
		rc = load_table(e, t, &bulk, ld, &loaded);
	free(bulk.data);
	if (rc == 0 && loaded == 0)
		return 0;
	(void)snprintf(ret_err, DATADIR_ERROR_MAX, "the image of the state on disk cannot be read (table %u: %s): move the data "
	    "directory away and let the server rejoin as a new member, or restore a backup", t - 1,
	    rc != 0 ? env_error(e, rc) : err_text(loaded));
	return rc != 0 ? (rc > 0 ? -rc : -EIO) : loaded;
}
