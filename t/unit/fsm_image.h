/*
 * fsm_image.h - an image of the state in memory: what the store would hold.
 */
#ifndef T_UNIT_FSM_IMAGE_H
#define T_UNIT_FSM_IMAGE_H

#include "t/unit/fsm_help.h"

struct image_record {
	enum fsm_table table;
	struct str key, value;
};

struct image {
	struct image_record *v;		/* by table, then key */
	size_t n, cap;
};

static UNUSED struct str
copy_of(struct str s)
{
	char *p = malloc(s.len + 1);

	assert_non_null(p);
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	return (struct str){ p, s.len };
}

static UNUSED void
image_init(struct image *m)
{
	*m = (struct image){ NULL, 0, 0 };
}

static UNUSED void
image_free(struct image *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free((char *)m->v[i].key.p);
		free((char *)m->v[i].value.p);
	}
	free(m->v);
	image_init(m);
}

static UNUSED size_t
image_find(const struct image *m, enum fsm_table table, struct str key, bool *ret_there)
{
	size_t lo = 0, hi = m->n;

	*ret_there = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = m->v[mid].table != table ? (m->v[mid].table < table ? -1 : 1) : str_cmp(m->v[mid].key, key);

		if (c == 0)
			*ret_there = true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static UNUSED void
image_changed(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct image *m = ctx;
	bool there;
	size_t at = image_find(m, table, key, &there);

	if (there) {
		free((char *)m->v[at].value.p);
		if (value.p != NULL) {
			m->v[at].value = copy_of(value);
			return;
		}
		free((char *)m->v[at].key.p);
		m->n--;
		memmove(m->v + at, m->v + at + 1, (m->n - at) * sizeof(*m->v));
		return;
	}
	if (value.p == NULL)
		return;
	if (m->n == m->cap) {
		m->cap = m->cap * 2 + 64;
		m->v = realloc(m->v, m->cap * sizeof(*m->v));
		assert_non_null(m->v);
	}
	memmove(m->v + at + 1, m->v + at, (m->n - at) * sizeof(*m->v));
	m->v[at] = (struct image_record){ table, copy_of(key), copy_of(value) };
	m->n++;
}

static UNUSED void
image_dump(const struct fsm *f, struct image *ret)
{
	struct fsm_sink sink = { .ctx = ret, .changed = image_changed };

	image_init(ret);
	assert_int_equal(fsm_dump(f, &sink), 0);
}

static UNUSED void
assert_image_equal(const struct image *a, const struct image *b)
{
	for (size_t i = 0; i < a->n || i < b->n; i++) {
		if (i >= a->n || i >= b->n)
			fail_msg("%zu records against %zu", a->n, b->n);
		if (a->v[i].table != b->v[i].table || !str_eq(a->v[i].key, b->v[i].key) || !str_eq(a->v[i].value, b->v[i].value))
			fail_msg("record %zu differs: table %d key %.*s against %d %.*s", i, a->v[i].table, STR_ARG(a->v[i].key),
			    b->v[i].table, STR_ARG(b->v[i].key));
	}
}

static UNUSED void
loaded(struct world *w)
{
	assert_int_equal(fsm_loaded(w->f), 0);
	w->index = fsm_applied(w->f);
	w->time = fsm_time(w->f);
}

static UNUSED struct world *
world_load(const struct image *m)
{
	struct world *w = world_new();

	for (size_t i = 0; i < m->n; i++)
		assert_int_equal(fsm_load(w->f, m->v[i].table, m->v[i].key, m->v[i].value), 0);
	loaded(w);
	return w;
}

/* Tables from the last to the first, keys ascending in each. */
static UNUSED struct world *
world_load_reversed(const struct image *m)
{
	struct world *w = world_new();

	for (int table = FSM_TABLES - 1; table >= 0; table--)
		for (size_t i = 0; i < m->n; i++)
			if ((int)m->v[i].table == table)
				assert_int_equal(fsm_load(w->f, m->v[i].table, m->v[i].key, m->v[i].value), 0);
	loaded(w);
	return w;
}

#endif
