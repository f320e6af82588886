/* linear.c - Wing and Gong's search with Lowe's cache. */
#include "t/sim/linear.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE_MAX = 4000000 };	/* words of memory for visited states */

/* A call or a return; in a list by time from which what is linearized is lifted out. */
struct mark {
	struct mark *prev, *next;
	struct mark *ret;		/* of a call: its return; NULL in a return */
	const struct linear_op *op;
	size_t number;
	uint64_t at;
};

struct frame {
	struct mark *call;
	uint64_t state;			/* before it */
};

/* One key's search. */
struct search {
	struct mark head, *marks;
	struct frame *stack;
	size_t depth;
	bool plain;			/* a register whose values are written once each */
	uint64_t *done;			/* bits: what is linearized */
	size_t words;
	uint64_t *visited;		/* done and state, one behind the other */
	size_t nvisited, visited_cap;
	uint32_t *table;		/* by hash: number in visited + 1 */
	size_t slots;
};

/* ---- what an operation does; false: it cannot have happened in this state */

static bool
lock_step(const struct linear_op *o, uint64_t state, uint64_t *ret)
{
	*ret = state;
	if (o->kind == LINEAR_RELEASE) {
		if (o->ok != (state == o->value))
			return false;
		*ret = o->ok ? 0 : state;
		return true;
	}
	if (o->ok != (state == 0 || state == o->value))
		return false;
	*ret = o->ok ? o->value : state;
	return true;
}

/* With an unknown outcome whatever it would have done is right. */
static struct linear_op
settle(const struct linear_op *o, uint64_t state)
{
	struct linear_op s = *o;

	if (o->ret != LINEAR_UNKNOWN)
		return s;
	s.saw = false;
	s.ok = o->kind == LINEAR_CAS ? state == o->expect : o->kind == LINEAR_ACQUIRE ? state == 0 || state == o->value :
	    o->kind == LINEAR_RELEASE ? state == o->value : true;
	return s;
}

static bool
step(const struct linear_op *op, uint64_t state, uint64_t *ret)
{
	struct linear_op o = settle(op, state);

	*ret = state;
	switch (o.kind) {
	case LINEAR_GET:
		return !o.saw || o.seen == state;
	case LINEAR_PUT:
		*ret = o.ok ? o.value : state;
		return true;
	case LINEAR_DELETE:
		*ret = o.ok ? 0 : state;
		return true;
	case LINEAR_CAS:
		if (o.ok != (state == o.expect) || (o.saw && o.seen != state))
			return false;
		*ret = o.ok ? o.value : state;
		return true;
	default:
		return lock_step(&o, state, ret);
	}
}

/* ---- states visited */

static uint64_t
hash(const uint64_t *p, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ p[i]) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	return h;
}

static bool
same(const struct search *s, size_t i, uint64_t state)
{
	const uint64_t *p = s->visited + i * (s->words + 1);

	return p[s->words] == state && memcmp(p, s->done, s->words * sizeof(*p)) == 0;
}

static bool
table_double(struct search *s)
{
	size_t slots = s->slots != 0 ? s->slots * 2 : 1024, width = s->words + 1;
	uint32_t *t = calloc(slots, sizeof(*t));

	if (t == NULL)
		return false;
	for (size_t i = 0; i < s->nvisited; i++) {
		size_t at = hash(s->visited + i * width, width) & (slots - 1);

		while (t[at] != 0)
			at = (at + 1) & (slots - 1);
		t[at] = (uint32_t)i + 1;
	}
	free(s->table);
	s->table = t;
	s->slots = slots;
	return true;
}

static bool
visited_room(struct search *s)
{
	size_t width = s->words + 1, cap;
	uint64_t *v;

	if (s->nvisited < s->visited_cap)
		return true;
	cap = s->visited_cap != 0 ? s->visited_cap * 2 : 512;
	if (cap * width > CACHE_MAX)
		return false;
	v = realloc(s->visited, cap * width * sizeof(*v));
	if (v == NULL)
		return false;
	s->visited = v;
	s->visited_cap = cap;
	return true;
}

/* 1: new, 0: known, -1: no more room. The bits of `done` are those after the step. */
static int
visit(struct search *s, uint64_t state)
{
	size_t width = s->words + 1, at;
	uint64_t *p;

	if (!visited_room(s) || (s->nvisited * 2 >= s->slots && !table_double(s)))
		return -1;
	p = s->visited + s->nvisited * width;
	memcpy(p, s->done, s->words * sizeof(*p));
	p[s->words] = state;
	for (at = hash(p, width) & (s->slots - 1); s->table[at] != 0; at = (at + 1) & (s->slots - 1))
		if (same(s, s->table[at] - 1, state))
			return 0;
	s->table[at] = (uint32_t)++s->nvisited;
	return 1;
}

/* ---- the search */

static void
lift(struct mark *call)
{
	struct mark *ret = call->ret;

	call->prev->next = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	ret->prev->next = ret->next;
	if (ret->next != NULL)
		ret->next->prev = ret->prev;
}

static void
unlift(struct mark *call)
{
	struct mark *ret = call->ret;

	ret->prev->next = ret;
	if (ret->next != NULL)
		ret->next->prev = ret;
	call->prev->next = call;
	if (call->next != NULL)
		call->next->prev = call;
}

static void
flip(struct search *s, const struct mark *call)
{
	s->done[call->number / 64] ^= (uint64_t)1 << call->number % 64;
}

/* Only what has surely happened must find its place; the rest stays behind as "never". */
static bool
finished(const struct search *s)
{
	const struct mark *m = s->head.next;

	while (m != NULL && m->op->ret == LINEAR_UNKNOWN)
		m = m->next;
	return m == NULL;
}

/*
 * On a plain register a write of unknown outcome that nobody saw (the others
 * have been bounded) serves one purpose: to be why a cas failed that does not
 * say what it found. Such puts are as good as each other: the first will do.
 */
static bool
useless(const struct search *s, const struct mark *m, uint64_t state)
{
	bool wanted = false;

	if (!s->plain || m->op->ret != LINEAR_UNKNOWN)
		return false;
	if (m->op->kind == LINEAR_CAS && m->op->expect != state)
		return true;
	for (const struct mark *k = s->head.next; k != NULL && k->ret != NULL; k = k->next) {
		const struct linear_op *o = k->op;

		if (o->kind == LINEAR_PUT && o->ret == LINEAR_UNKNOWN && m->op->kind == LINEAR_PUT && k != m && k->at <= m->at &&
		    k->number < m->number)
			return true;
		wanted |= o->kind == LINEAR_CAS && o->ret != LINEAR_UNKNOWN && !o->ok && !o->saw && o->expect == state;
	}
	return !wanted;
}

static enum linear_verdict
search(struct search *s)
{
	struct mark *m = s->head.next;
	uint64_t state = 0, next;
	int rc;

	while (!finished(s)) {
		/* Whoever has returned must have been linearized before anything that follows. */
		if (m == NULL || m->ret == NULL) {
			if (s->depth == 0)
				return LINEAR_BAD;
			m = s->stack[--s->depth].call;
			state = s->stack[s->depth].state;
			flip(s, m);
			unlift(m);
			m = m->next;
			continue;
		}
		if (useless(s, m, state) || !step(m->op, state, &next)) {
			m = m->next;
			continue;
		}
		flip(s, m);
		rc = visit(s, next);
		if (rc < 0)
			return LINEAR_HARD;
		if (rc == 0) {
			flip(s, m);
			m = m->next;
			continue;
		}
		s->stack[s->depth++] = (struct frame){ m, state };
		state = next;
		lift(m);
		m = s->head.next;
	}
	return LINEAR_OK;
}

/* Calls in front of returns at the same moment: then they are concurrent, which allows more. */
static int
by_time(const void *a, const void *b)
{
	const struct mark *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if ((x->op != NULL) != (y->op != NULL))
		return x->op != NULL ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

/* The marks in time order, in a list; a return finds its call by number. */
static bool
lay_out(struct search *s, const struct linear_op *ops, size_t n)
{
	struct mark **calls = calloc(n, sizeof(struct mark *));

	s->marks = calloc(2 * n, sizeof(*s->marks));
	s->stack = calloc(n, sizeof(*s->stack));
	s->words = (n + 63) / 64;
	s->done = calloc(s->words, sizeof(*s->done));
	if (calls == NULL || s->marks == NULL || s->stack == NULL || s->done == NULL) {
		free(calls);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		s->marks[2 * i] = (struct mark){ .op = &ops[i], .number = i, .at = ops[i].call };
		s->marks[2 * i + 1] = (struct mark){ .number = i, .at = ops[i].ret };
	}
	qsort(s->marks, 2 * n, sizeof(*s->marks), by_time);
	for (size_t i = 0; i < 2 * n; i++) {
		struct mark *m = &s->marks[i];

		m->prev = i > 0 ? m - 1 : &s->head;
		m->next = i + 1 < 2 * n ? m + 1 : NULL;
		if (m->op != NULL) {
			calls[m->number] = m;
		} else {
			m->op = &ops[m->number];
			calls[m->number]->ret = m;
		}
	}
	s->head.next = s->marks;
	free(calls);
	return true;
}

static enum linear_verdict
check_key(const struct linear_op *ops, size_t n, bool plain)
{
	enum linear_verdict verdict = LINEAR_HARD;
	struct search s = { .plain = plain };

	if (n == 0)
		return LINEAR_OK;
	if (lay_out(&s, ops, n))
		verdict = search(&s);
	free(s.marks);
	free(s.stack);
	free(s.done);
	free(s.visited);
	free(s.table);
	return verdict;
}

/* ---- what can be told of unknown outcomes */

static bool
writes(const struct linear_op *o)
{
	return o->kind == LINEAR_PUT || o->kind == LINEAR_CAS;
}

/* Does an operation show that this value was there? By then at the latest it was written. */
static bool
witnesses(const struct linear_op *o, uint64_t value)
{
	if (o->ret == LINEAR_UNKNOWN)
		return false;
	return (o->saw && o->seen == value) || (o->kind == LINEAR_CAS && o->ok && o->expect == value);
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* A register whose values are written once each, and never taken away. */
static bool
is_plain(const struct linear_op *ops, size_t n)
{
	uint64_t *values = calloc(n + 1, sizeof(*values));
	size_t m = 0;
	bool plain = values != NULL;

	for (size_t i = 0; plain && i < n; i++) {
		if (writes(&ops[i]))
			values[m++] = ops[i].value;
		plain = writes(&ops[i]) || ops[i].kind == LINEAR_GET;
	}
	if (plain)
		qsort(values, m, sizeof(*values), by_number);
	for (size_t i = 0; plain && i < m; i++)
		plain = values[i] != 0 && (i == 0 || values[i] != values[i - 1]);
	free(values);
	return plain;
}

/* When an unknown write had surely happened, as far as is known by now. */
static bool
bound(struct linear_op *ops, size_t n, size_t i)
{
	uint64_t until = LINEAR_UNKNOWN;

	for (size_t k = 0; k < n; k++)
		if (k != i && witnesses(&ops[k], ops[i].value) && ops[k].ret < until)
			until = ops[k].ret;
	if (until == LINEAR_UNKNOWN)
		return false;
	ops[i].ret = until > ops[i].call ? until : ops[i].call;
	ops[i].ok = true;
	ops[i].saw = false;
	return true;
}

/*
 * On a plain register an unknown write that was seen has happened, before the
 * first witness returned; an unknown cas of which that is known is a witness
 * itself. When every failed cas says what it found, the others may be left
 * out: an order in which they stand is right without them too.
 */
static size_t
narrow(struct linear_op *ops, size_t n)
{
	bool more = true, blind = false;
	size_t kept = 0;

	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++)
			if (ops[i].ret == LINEAR_UNKNOWN && bound(ops, n, i))
				more = true;
	}
	for (size_t i = 0; i < n; i++)
		blind |= ops[i].kind == LINEAR_CAS && ops[i].ret != LINEAR_UNKNOWN && !ops[i].ok && !ops[i].saw;
	for (size_t i = 0; i < n; i++)
		if (blind || ops[i].ret != LINEAR_UNKNOWN)
			ops[kept++] = ops[i];
	return kept;
}

static int
by_key(const void *a, const void *b)
{
	const struct linear_op *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->call > y->call) - (x->call < y->call);
}

/* A read that never returned says nothing. */
static size_t
drop_lost_reads(struct linear_op *ops, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (ops[i].kind != LINEAR_GET || ops[i].ret != LINEAR_UNKNOWN)
			ops[kept++] = ops[i];
	return kept;
}

enum linear_verdict
linear_check(struct linear_op *ops, size_t n, uint64_t *ret_key)
{
	enum linear_verdict verdict;
	bool plain;

	n = drop_lost_reads(ops, n);
	qsort(ops, n, sizeof(*ops), by_key);
	for (size_t i = 0, end, m; i < n; i = end) {
		for (end = i; end < n && ops[end].key == ops[i].key; end++)
			;
		m = end - i;
		*ret_key = ops[i].key;
		plain = is_plain(ops + i, m);
		if (plain)
			m = narrow(ops + i, m);
		verdict = check_key(ops + i, m, plain);
		if (verdict != LINEAR_OK)
			return verdict;
	}
	return LINEAR_OK;
}
