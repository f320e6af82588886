/* re.c - regular expressions: a tree, then a program, then all its threads in step (Pike's machine). */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/re_internal.h"

/* ---- the tree */

enum kind { K_EMPTY, K_SET, K_CAT, K_ALT, K_REPEAT, K_ASSERT, K_GROUP };

struct node {
	enum kind kind;
	uint32_t a, b;		/* children; K_SET: a is the set; K_GROUP: b is its number */
	int min, max;		/* K_REPEAT; max -1: no end */
	bool lazy;
	enum op op;		/* K_ASSERT */
};

struct compiler {
	const char *p, *end;
	struct node *nodes;
	uint32_t nnodes, nodes_cap;
	struct re *re;
	uint32_t code_cap, sets_cap;
	bool fold, dot_all, lazy;	/* (?i) (?s) (?U) */
	int depth, rc;
	uint32_t work;		/* generate() calls: repeats of nothing emit nothing */
	char *err;
	size_t errlen;
};

static void PRINTF(2, 3)
complain(struct compiler *c, const char *fmt, ...)
{
	va_list ap;

	if (c->rc != 0)
		return;
	c->rc = -EINVAL;
	va_start(ap, fmt);
	(void)vsnprintf(c->err, c->errlen, fmt, ap);
	va_end(ap);
}

/* Room for one more element in an array bounded by RE_PROGRAM_MAX. */
static void *
grow(struct compiler *c, void *p, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t want = *cap != 0 ? *cap * 2 : 32;
	void *q;

	if (n < *cap || c->rc != 0)
		return p;
	if (n >= RE_PROGRAM_MAX) {
		complain(c, "expression too large");
		return p;
	}
	q = realloc(p, want * size);
	if (q == NULL) {
		c->rc = -ENOMEM;
		return p;
	}
	*cap = want;
	return q;
}

static uint32_t
node(struct compiler *c, struct node n)
{
	c->nodes = grow(c, c->nodes, c->nnodes, &c->nodes_cap, sizeof(n));
	if (c->rc != 0)
		return 0;
	c->nodes[c->nnodes] = n;
	return c->nnodes++;
}

/* ---- sets of bytes */

static void
set_add(struct set *s, unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to; i++)
		s->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void
set_invert(struct set *s)
{
	for (int i = 0; i < 4; i++)
		s->bits[i] = ~s->bits[i];
}

static void
set_merge(struct set *s, const struct set *o)
{
	for (int i = 0; i < 4; i++)
		s->bits[i] |= o->bits[i];
}

static void
set_fold(struct set *s)
{
	for (unsigned b = 'a'; b <= 'z'; b++)
		if (set_has(s, (unsigned char)b) || set_has(s, (unsigned char)(b - 32))) {
			set_add(s, b, b);
			set_add(s, b - 32, b - 32);
		}
}

static uint32_t
set_node(struct compiler *c, struct set s)
{
	struct re *re = c->re;

	if (c->fold)
		set_fold(&s);
	re->sets = grow(c, re->sets, re->nsets, &c->sets_cap, sizeof(s));
	if (c->rc != 0)
		return 0;
	re->sets[re->nsets] = s;
	return node(c, (struct node){ .kind = K_SET, .a = re->nsets++ });
}

/* \d \w \s and their opposites. */
static bool
class_escape(char ch, struct set *ret)
{
	struct set s = { { 0 } };

	switch (ascii_lower((unsigned char)ch)) {
	case 'd':
		set_add(&s, '0', '9');
		break;
	case 'w':
		set_add(&s, '0', '9');
		set_add(&s, 'a', 'z');
		set_add(&s, 'A', 'Z');
		set_add(&s, '_', '_');
		break;
	case 's':
		set_add(&s, '\t', '\n');
		set_add(&s, '\f', '\r');
		set_add(&s, ' ', ' ');
		break;
	default:
		return false;
	}
	if (ch >= 'A' && ch <= 'Z')
		set_invert(&s);
	set_merge(ret, &s);
	return true;
}

static int
hex_digit(char ch)
{
	ch = (char)ascii_lower((unsigned char)ch);
	return ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* The byte that an escape stands for; p stands behind the backslash. */
static unsigned char
byte_escape(struct compiler *c)
{
	static const char names[] = "a\ab\bf\fn\nr\rt\tv\v";
	char ch = *c->p++;

	for (size_t i = 0; i + 1 < sizeof(names); i += 2)
		if (ch == names[i] && ch != 'b')
			return (unsigned char)names[i + 1];
	if (ch == 'x' && c->end - c->p >= 2 && hex_digit(c->p[0]) >= 0 && hex_digit(c->p[1]) >= 0) {
		c->p += 2;
		return (unsigned char)(hex_digit(c->p[-2]) << 4 | hex_digit(c->p[-1]));
	}
	if ((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'))
		complain(c, "invalid escape sequence: `\\%c`", ch);
	return (unsigned char)ch;
}

/* [:alpha:] inside of brackets. */
static bool
named_class(struct compiler *c, struct set *s)
{
	static const struct {
		const char *name, *ranges;
	} names[] = {
		{ "[:alnum:]", "09azAZ" }, { "[:alpha:]", "azAZ" }, { "[:digit:]", "09" }, { "[:lower:]", "az" },
		{ "[:upper:]", "AZ" }, { "[:space:]", "\t\r  " }, { "[:blank:]", "\t\t  " }, { "[:xdigit:]", "09afAF" },
		{ "[:word:]", "09azAZ__" }, { "[:punct:]", "!/:@[`{~" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t n = strlen(names[i].name);

		if ((size_t)(c->end - c->p) < n || memcmp(c->p, names[i].name, n) != 0)
			continue;
		for (const char *r = names[i].ranges; *r != 0; r += 2)
			set_add(s, (unsigned char)r[0], (unsigned char)r[1]);
		c->p += n;
		return true;
	}
	return false;
}

/* One byte of a range. */
static unsigned
range_end(struct compiler *c)
{
	if (c->p == c->end)
		return 0;
	if (*c->p == '\\' && c->end - c->p > 1) {
		c->p++;
		return byte_escape(c);
	}
	return (unsigned char)*c->p++;
}

static uint32_t
parse_brackets(struct compiler *c)
{
	struct set s = { { 0 } };
	bool invert = false, first = true;
	unsigned from, to;

	if (c->p < c->end && *c->p == '^') {
		invert = true;
		c->p++;
	}
	for (; c->rc == 0 && c->p < c->end && (*c->p != ']' || first); first = false) {
		if (named_class(c, &s))
			continue;
		if (*c->p == '\\' && c->end - c->p > 1 && class_escape(c->p[1], &s)) {
			c->p += 2;
			continue;
		}
		from = to = range_end(c);
		if (c->end - c->p > 1 && c->p[0] == '-' && c->p[1] != ']') {
			c->p++;
			to = range_end(c);
		}
		if (to < from)
			complain(c, "invalid character class range");
		else
			set_add(&s, from, to);
	}
	if (c->p == c->end)
		complain(c, "missing closing ]");
	c->p++;
	if (c->fold)
		set_fold(&s);
	if (invert)
		set_invert(&s);
	return c->rc == 0 ? set_node(c, s) : 0;
}

/* ---- the parser */

static uint32_t parse_alt(struct compiler *c);

static uint32_t
assertion(struct compiler *c, enum op op)
{
	return node(c, (struct node){ .kind = K_ASSERT, .op = op });
}

static uint32_t
parse_escape(struct compiler *c)
{
	struct set s = { { 0 } };
	unsigned char b;

	if (c->p == c->end) {
		complain(c, "trailing backslash at end of expression");
		return 0;
	}
	switch (*c->p) {
	case 'A':
		c->p++;
		return assertion(c, OP_BEGIN);
	case 'z':
		c->p++;
		return assertion(c, OP_END);
	case 'b':
		c->p++;
		return assertion(c, OP_WORD);
	case 'B':
		c->p++;
		return assertion(c, OP_NOT_WORD);
	default:
		break;
	}
	if (class_escape(*c->p, &s)) {
		c->p++;
	} else {
		b = byte_escape(c);
		set_add(&s, b, b);
	}
	return c->rc == 0 ? set_node(c, s) : 0;
}

/* (?i) (?s) (?U) (?-i) and the same before a colon; false when it was only flags, without a group. */
static bool
parse_flags(struct compiler *c)
{
	bool on = true;

	for (; c->p < c->end; c->p++)
		switch (*c->p) {
		case 'i':
			c->fold = on;
			break;
		case 's':
			c->dot_all = on;
			break;
		case 'U':
			c->lazy = on;
			break;
		case '-':
			on = false;
			break;
		case ':':
		case ')':
			return *c->p++ == ':';
		default:
			complain(c, "invalid or unsupported Perl syntax: `(?%c`", *c->p);
			return false;
		}
	complain(c, "missing closing )");
	return false;
}

/* P<name> behind a question mark; the name itself is of no use here. */
static bool
take_group_name(struct compiler *c)
{
	const char *p = c->p + 2, *name = p;

	if (c->end - c->p < 4 || c->p[0] != 'P' || c->p[1] != '<')
		return false;
	while (p < c->end && word_byte((unsigned char)*p))
		p++;
	if (p == name || p == c->end || *p != '>')
		return false;
	c->p = p + 1;
	return true;
}

static uint32_t
parse_group(struct compiler *c)
{
	bool fold = c->fold, dot_all = c->dot_all, lazy = c->lazy, captures = true;
	uint32_t n, number = 0;

	if (++c->depth > RE_DEPTH_MAX)
		complain(c, "expression nests too deeply");
	if (c->rc == 0 && c->end - c->p > 1 && c->p[0] == '?') {
		c->p++;
		captures = take_group_name(c);
		if (!captures && !parse_flags(c)) {
			c->depth--;
			return node(c, (struct node){ .kind = K_EMPTY });
		}
	}
	if (captures && c->re->groups < RE_GROUPS_MAX)
		number = c->re->groups++;
	n = c->rc == 0 ? parse_alt(c) : 0;
	if (c->rc == 0 && (c->p == c->end || *c->p != ')'))
		complain(c, "missing closing )");
	c->p++;
	c->depth--;
	c->fold = fold;
	c->dot_all = dot_all;
	c->lazy = lazy;
	return number > 0 ? node(c, (struct node){ .kind = K_GROUP, .a = n, .b = number }) : n;
}

static uint32_t
parse_atom(struct compiler *c)
{
	struct set s = { { 0 } };
	char ch = *c->p++;

	switch (ch) {
	case '(':
		return parse_group(c);
	case '[':
		return parse_brackets(c);
	case '\\':
		return parse_escape(c);
	case '^':
		return assertion(c, OP_BEGIN);
	case '$':
		return assertion(c, OP_END);
	case '*':
	case '+':
	case '?':
		complain(c, "missing argument to repetition operator: `%c`", ch);
		return 0;
	case '.':
		set_add(&s, 0, 255);
		if (!c->dot_all)
			s.bits[0] &= ~(UINT64_C(1) << '\n');
		return set_node(c, s);
	default:
		set_add(&s, (unsigned char)ch, (unsigned char)ch);
		return set_node(c, s);
	}
}

static bool
take_number(struct compiler *c, int *ret)
{
	const char *from = c->p;

	*ret = 0;
	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9' && *ret <= RE_REPEAT_MAX; c->p++)
		*ret = *ret * 10 + (*c->p - '0');
	return c->p > from;
}

/* {n} {n,} {n,m}; anything else is literal. */
static bool
take_counts(struct compiler *c, int *min, int *max)
{
	const char *from = c->p++;

	if (take_number(c, min)) {
		*max = *min;
		if (c->p < c->end && *c->p == ',') {
			c->p++;
			if (!take_number(c, max))
				*max = -1;
		}
		if (c->p < c->end && *c->p == '}') {
			c->p++;
			if (*min > RE_REPEAT_MAX || *max > RE_REPEAT_MAX || (*max >= 0 && *max < *min))
				complain(c, "invalid repeat count: `%.*s`", c->p - from < 32 ? (int)(c->p - from) : 32, from);
			return true;
		}
	}
	c->p = from;
	return false;
}

static uint32_t
parse_repeat(struct compiler *c)
{
	uint32_t n = parse_atom(c);
	int min, max;
	bool lazy;

	while (c->rc == 0 && c->p < c->end) {
		min = *c->p == '+';
		max = *c->p == '?' ? 1 : -1;
		if (*c->p == '*' || *c->p == '+' || *c->p == '?')
			c->p++;
		else if (*c->p != '{' || !take_counts(c, &min, &max))
			break;
		lazy = c->lazy;
		if (c->p < c->end && *c->p == '?') {
			c->p++;
			lazy = !lazy;
		}
		n = node(c, (struct node){ .kind = K_REPEAT, .a = n, .min = min, .max = max, .lazy = lazy });
	}
	return n;
}

static uint32_t
parse_cat(struct compiler *c)
{
	uint32_t n = node(c, (struct node){ .kind = K_EMPTY });

	while (c->rc == 0 && c->p < c->end && *c->p != '|' && *c->p != ')')
		n = node(c, (struct node){ .kind = K_CAT, .a = n, .b = parse_repeat(c) });
	return n;
}

static uint32_t
parse_alt(struct compiler *c)
{
	uint32_t n = parse_cat(c);

	while (c->rc == 0 && c->p < c->end && *c->p == '|') {
		c->p++;
		n = node(c, (struct node){ .kind = K_ALT, .a = n, .b = parse_cat(c) });
	}
	return n;
}

/* ---- the program */

static uint32_t
emit(struct compiler *c, enum op op, uint32_t x, uint32_t y)
{
	struct re *re = c->re;

	re->code = grow(c, re->code, re->n, &c->code_cap, sizeof(*re->code));
	if (c->rc != 0)
		return 0;
	re->code[re->n] = (struct insn){ op, x, y };
	return re->n++;
}

static void generate(struct compiler *c, uint32_t n);

/* A split at `at`: on to what stands behind it, or out to here; which of them is tried first is in their order. */
static void
fill_split(struct compiler *c, uint32_t at, bool lazy)
{
	if (c->rc == 0)
		c->re->code[at] = lazy ? (struct insn){ OP_SPLIT, c->re->n, at + 1 } : (struct insn){ OP_SPLIT, at + 1, c->re->n };
}

static void
generate_repeat(struct compiler *c, struct node r)
{
	uint32_t split;

	for (int i = 0; i < r.min && c->rc == 0; i++)
		generate(c, r.a);
	if (r.max < 0) {
		split = emit(c, OP_SPLIT, 0, 0);
		generate(c, r.a);
		(void)emit(c, OP_JMP, split, 0);
		fill_split(c, split, r.lazy);
	}
	for (int i = r.min; i < r.max && c->rc == 0; i++) {
		split = emit(c, OP_SPLIT, 0, 0);
		generate(c, r.a);
		fill_split(c, split, r.lazy);
	}
}

static void
generate_alt(struct compiler *c, struct node n)
{
	uint32_t split = emit(c, OP_SPLIT, 0, 0), jump;

	generate(c, n.a);
	jump = emit(c, OP_JMP, 0, 0);
	if (c->rc == 0)
		c->re->code[split] = (struct insn){ OP_SPLIT, split + 1, c->re->n };
	generate(c, n.b);
	if (c->rc == 0)
		c->re->code[jump].x = c->re->n;
}

static void
generate(struct compiler *c, uint32_t at)
{
	struct node n;

	if (c->rc == 0 && ++c->work > 8 * RE_PROGRAM_MAX)
		complain(c, "expression too large");
	if (c->rc != 0)
		return;
	n = c->nodes[at];
	switch (n.kind) {
	case K_EMPTY:
		break;
	case K_SET:
		(void)emit(c, OP_SET, n.a, 0);
		break;
	case K_CAT:
		generate(c, n.a);
		generate(c, n.b);
		break;
	case K_ALT:
		generate_alt(c, n);
		break;
	case K_REPEAT:
		generate_repeat(c, n);
		break;
	case K_ASSERT:
		(void)emit(c, n.op, 0, 0);
		break;
	case K_GROUP:
		(void)emit(c, OP_SAVE, 2 * n.b, 0);
		generate(c, n.a);
		(void)emit(c, OP_SAVE, 2 * n.b + 1, 0);
		break;
	}
}

int
re_compile(struct str pattern, struct re **ret, char *ret_err, size_t errlen)
{
	struct compiler c = { .p = pattern.p, .end = pattern.p + pattern.len, .re = calloc(1, sizeof(struct re)),
		.err = ret_err, .errlen = errlen };
	uint32_t root;

	if (c.re == NULL)
		return -ENOMEM;
	c.re->groups = 1;	/* the whole match */
	root = parse_alt(&c);
	if (c.rc == 0 && c.p < c.end)
		complain(&c, "unexpected )");
	generate(&c, root);
	(void)emit(&c, OP_MATCH, 0, 0);
	free(c.nodes);
	if (c.rc == 0) {
		c.re->threads = calloc((size_t)c.re->n * 4 + 4, sizeof(uint32_t));
		if (c.re->threads == NULL)
			c.rc = -ENOMEM;
	}
	if (c.rc < 0) {
		re_free(c.re);
		return c.rc;
	}
	*ret = c.re;
	return 0;
}

void
re_free(struct re *re)
{
	if (re == NULL)
		return;
	free(re->code);
	free(re->sets);
	free(re->threads);
	free(re);
}

/* ---- the machine */

struct threads {
	uint32_t *dense, n;
};

struct machine {
	const struct re *re;
	uint32_t *sparse, *stack;
	struct str s;
};

static bool
word_at(struct str s, size_t i)
{
	return i < s.len && word_byte((unsigned char)s.p[i]);
}

bool
re_holds(enum op op, struct str s, size_t at)
{
	bool boundary = (at > 0 && word_at(s, at - 1)) != word_at(s, at);

	switch (op) {
	case OP_BEGIN:
		return at == 0;
	case OP_END:
		return at == s.len;
	case OP_WORD:
		return boundary;
	default:
		return !boundary;
	}
}

/* Add pc and all that it leads to without a byte. True when that is a match. */
static bool
follow(struct machine *m, struct threads *t, uint32_t pc, size_t at)
{
	uint32_t depth = 0;

	m->stack[depth++] = pc;
	while (depth > 0) {
		const struct insn *i;

		pc = m->stack[--depth];
		if (m->sparse[pc] < t->n && t->dense[m->sparse[pc]] == pc)
			continue;
		m->sparse[pc] = t->n;
		t->dense[t->n++] = pc;
		i = &m->re->code[pc];
		if (i->op == OP_MATCH)
			return true;
		/* Each pc is expanded once, and leaves at most one more on the stack than it took. */
		if (i->op == OP_JMP || i->op == OP_SPLIT)
			m->stack[depth++] = i->x;
		if (i->op == OP_SPLIT)
			m->stack[depth++] = i->y;
		if (i->op == OP_SAVE || (i->op > OP_SAVE && i->op < OP_MATCH && re_holds(i->op, m->s, at)))
			m->stack[depth++] = pc + 1;
	}
	return false;
}

bool
re_match(const struct re *re, struct str s)
{
	uint32_t n = re->n + 1;
	struct machine m = { re, re->threads + 2 * (size_t)n, re->threads + 3 * (size_t)n, s };
	struct threads now = { re->threads, 0 }, next = { re->threads + n, 0 }, swap;

	for (size_t at = 0; at <= s.len; at++) {
		if (follow(&m, &now, 0, at))
			return true;
		next.n = 0;
		for (uint32_t i = 0; i < now.n && at < s.len; i++) {
			const struct insn *in = &re->code[now.dense[i]];

			if (in->op == OP_SET && set_has(&re->sets[in->x], (unsigned char)s.p[at]) &&
			    follow(&m, &next, now.dense[i] + 1, at + 1))
				return true;
		}
		swap = now;
		now = next;
		next = swap;
	}
	return false;
}
