/* re_groups.c - where a pattern matches, and its groups: Pike's machine again, its threads in the order of preference. */
#include <stdlib.h>

#include "lib/re_internal.h"

#define NOWHERE UINT32_MAX

/* Threads that wait for the next byte, the preferred one first, each with its slots. */
struct list {
	uint32_t *pcs, *slots, n;
};

/* What is still to be followed, or (pc NOWHERE) a slot to be set back. */
struct todo {
	uint32_t pc, slot, old;
};

struct machine {
	const struct re *re;
	struct str s;
	size_t width;		/* slots of a thread */
	uint32_t *sparse, *slots;
	struct todo *stack;
	struct list now, next;
	void *block;
};

static int
machine_init(struct machine *m, const struct re *re, struct str s)
{
	size_t n = (size_t)re->n + 1, width = 2 * (size_t)re->groups;
	uint32_t *p = calloc(n * (3 + 2 * width) + width, sizeof(*p));

	*m = (struct machine){ .re = re, .s = s, .width = width, .block = p };
	m->stack = calloc(2 * n + 2, sizeof(*m->stack));
	if (p == NULL || m->stack == NULL)
		return -ENOMEM;
	m->sparse = p;
	m->now.pcs = p + n;
	m->next.pcs = p + 2 * n;
	m->now.slots = p + 3 * n;
	m->next.slots = m->now.slots + n * width;
	m->slots = m->next.slots + n * width;
	return 0;
}

static void
machine_release(struct machine *m)
{
	free(m->stack);
	free(m->block);
}

/* One instruction of those that take no byte; each is followed once a list, and adds at most two to the stack. */
static uint32_t
expand(struct machine *m, uint32_t pc, size_t at, uint32_t depth)
{
	const struct insn *i = &m->re->code[pc];

	switch (i->op) {
	case OP_SPLIT:
		m->stack[depth++] = (struct todo){ i->y, 0, 0 };
		m->stack[depth++] = (struct todo){ i->x, 0, 0 };
		break;
	case OP_JMP:
		m->stack[depth++] = (struct todo){ i->x, 0, 0 };
		break;
	case OP_SAVE:
		m->stack[depth++] = (struct todo){ NOWHERE, i->x, m->slots[i->x] };
		m->slots[i->x] = (uint32_t)at;
		m->stack[depth++] = (struct todo){ pc + 1, 0, 0 };
		break;
	case OP_SET:
	case OP_MATCH:
		break;
	default:
		if (re_holds(i->op, m->s, at))
			m->stack[depth++] = (struct todo){ pc + 1, 0, 0 };
		break;
	}
	return depth;
}

/* Add pc, with m->slots, and all that it leads to without a byte. */
static void
follow(struct machine *m, struct list *t, uint32_t pc, size_t at)
{
	uint32_t depth = 0;

	m->stack[depth++] = (struct todo){ pc, 0, 0 };
	while (depth > 0) {
		struct todo d = m->stack[--depth];

		if (d.pc == NOWHERE) {
			m->slots[d.slot] = d.old;
			continue;
		}
		if (m->sparse[d.pc] < t->n && t->pcs[m->sparse[d.pc]] == d.pc)
			continue;
		m->sparse[d.pc] = t->n;
		t->pcs[t->n] = d.pc;
		memcpy(t->slots + t->n * m->width, m->slots, m->width * sizeof(*m->slots));
		t->n++;
		depth = expand(m, d.pc, at, depth);
	}
}

/* Every thread takes the byte at `at`. True when one had come to its end: those behind it are given up. */
static bool
step(struct machine *m, size_t at, uint32_t *best)
{
	m->next.n = 0;
	for (uint32_t i = 0; i < m->now.n; i++) {
		const struct insn *in = &m->re->code[m->now.pcs[i]];
		const uint32_t *slots = m->now.slots + i * m->width;

		if (in->op == OP_MATCH) {
			memcpy(best, slots, m->width * sizeof(*best));
			best[1] = (uint32_t)at;
			return true;
		}
		if (in->op != OP_SET || at == m->s.len || !set_has(&m->re->sets[in->x], (unsigned char)m->s.p[at]))
			continue;
		memcpy(m->slots, slots, m->width * sizeof(*slots));
		follow(m, &m->next, m->now.pcs[i] + 1, at + 1);
	}
	return false;
}

static bool
run(struct machine *m, uint32_t *best)
{
	bool found = false;

	for (size_t at = 0; at <= m->s.len; at++) {
		struct list swap;

		if (!found) {
			memset(m->slots, 0xff, m->width * sizeof(*m->slots));
			m->slots[0] = (uint32_t)at;
			follow(m, &m->now, 0, at);
		}
		if (m->now.n == 0)
			break;
		if (step(m, at, best))
			found = true;
		swap = m->now;
		m->now = m->next;
		m->next = swap;
	}
	return found;
}

int
re_groups(const struct re *re, struct str s, struct str *ret, size_t *ret_n)
{
	uint32_t best[2 * RE_GROUPS_MAX];
	struct machine m;
	int rc = s.len < NOWHERE ? machine_init(&m, re, s) : -ELIMIT;

	*ret_n = 0;
	if (rc == -ELIMIT)
		return rc;
	if (rc == 0 && run(&m, best)) {
		for (; *ret_n < re->groups; (*ret_n)++) {
			uint32_t from = best[2 * *ret_n], to = best[2 * *ret_n + 1];

			ret[*ret_n] = to == NOWHERE || from == NOWHERE ? STR_NONE : (struct str){ s.p + from, to - from };
		}
	}
	machine_release(&m);
	return rc;
}
