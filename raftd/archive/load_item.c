/* load_item.c - what every record of a snapshot needs on its way into the state. */
#include <stdio.h>
#include <stdlib.h>

#include "raftd/archive/load.h"

enum { NOT_THERE = 2 };

int
load_refuse(struct loader *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(l->why, SNAP_ERROR_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

struct str
load_lower(struct loader *l, struct str s)
{
	char *p = arena_strdup(&l->arena, s);

	for (size_t i = 0; p != NULL && i < s.len; i++)
		p[i] = (char)ascii_lower((unsigned char)p[i]);
	return (struct str){ p, p != NULL ? s.len : 0 };
}

struct str
load_join_lower(struct loader *l, struct str x, struct str y)
{
	char *p = arena_alloc(&l->arena, x.len + 1 + y.len);

	if (p == NULL)
		return STR_NONE;
	for (size_t i = 0; i < x.len; i++)
		p[i] = (char)ascii_lower((unsigned char)x.p[i]);
	for (size_t i = 0; i < y.len; i++)
		p[x.len + 1 + i] = (char)ascii_lower((unsigned char)y.p[i]);
	return (struct str){ p, x.len + 1 + y.len };
}

int
load_put(struct loader *l, enum fsm_table table, struct str key, struct str value)
{
	int rc;

	if (key.p == NULL)
		return -ENOMEM;
	if (key.len == 0 || key.len > LOAD_KEY_MAX)
		return load_refuse(l, key.len == 0 ? "it has no key" : "its key is too long");
	rc = fsm_load(l->f, table, key, value);
	return rc == -EDECODE ? load_refuse(l, "it does not fit into the state") : rc;
}

int
load_put_record(struct loader *l, enum fsm_table table, struct str key, const struct record *rec, const void *obj)
{
	struct mp_w w = mp_w_init(&l->image);

	buf_clear(&l->image);
	record_encode(rec, obj, RECORD_WHOLE, &w);
	return w.err < 0 ? w.err : load_put(l, table, key, (struct str){ (const char *)l->image.data, l->image.len });
}

int
load_decode(struct loader *l, const struct record *rec, struct str value, void *obj)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	int rc;

	if (mp_r_type(&r) != MP_MAP)
		return load_refuse(l, "it is not a map");
	rc = record_decode(rec, &r, obj, &l->arena);
	return rc == 0 && !mp_r_done(&r) ? -EDECODE : rc;
}

int
load_take_indexes(struct loader *l, uint64_t create, uint64_t modify, uint64_t *highest)
{
	if (create >= LOAD_INDEX_END || modify >= LOAD_INDEX_END)
		return load_refuse(l, "its index is too high");
	if (modify > *highest)
		*highest = modify;
	return 0;
}

int
load_check_name(struct loader *l, const char *what, struct str name)
{
	if (name.len == 0)
		return load_refuse(l, "it has no %s", what);
	if (memchr(name.p, 0, name.len) != NULL)
		return load_refuse(l, "the %s holds a NUL", what);
	return 0;
}

/* ---- maps are kept in the order of their keys */

static int
by_key(const void *a, const void *b)
{
	return str_cmp(((const struct strpair *)a)->key, ((const struct strpair *)b)->key);
}

void
load_sort_strmap(struct strmap *m)
{
	if (m->n > 1)
		qsort(m->v, m->n, sizeof(*m->v), by_key);
}

struct place {
	struct str key;
	size_t at;
};

static int
by_place(const void *a, const void *b)
{
	return str_cmp(((const struct place *)a)->key, ((const struct place *)b)->key);
}

int
load_sort_recmap(struct loader *l, struct recmap *m, size_t size)
{
	struct place *order;
	char *v;

	if (m->n < 2)
		return 0;
	order = arena_alloc(&l->arena, m->n * sizeof(*order));
	v = arena_alloc(&l->arena, m->n * size);
	if (order == NULL || v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++)
		order[i] = (struct place){ m->keys[i], i };
	qsort(order, m->n, sizeof(*order), by_place);
	for (size_t i = 0; i < m->n; i++) {
		memcpy(v + i * size, (const char *)m->v + order[i].at * size, size);
		m->keys[i] = order[i].key;
	}
	m->v = v;
	return 0;
}

/* ---- what is in the state already */

struct found {
	struct str key;
	struct buf *value;	/* NULL: not wanted */
};

static int
on_found(void *ctx, struct str key, struct str value)
{
	const struct found *want = ctx;
	int rc;

	if (!str_eq(key, want->key))
		return NOT_THERE;	/* it would be the first of those that start with it */
	rc = want->value != NULL ? buf_add(want->value, value.p, value.len) : 0;
	return rc < 0 ? rc : 1;
}

int
load_find(struct loader *l, enum fsm_table table, struct str prefix, struct str key, struct buf *ret_value)
{
	struct found want = { key, ret_value };
	int rc = fsm_walk(l->f, table, prefix, on_found, &want);

	return rc == NOT_THERE ? 0 : rc;
}
