/*
 * bexpr_syntax.c - Consul's grammar of filters, for its error texts.
 *
 * The grammar is a parsing expression grammar. Its interpreter notes, as
 * Consul's does, the farthest place at which anything was expected, and all
 * that was expected there. It runs only on texts that bexpr.c has refused:
 * effort and depth are bounded, so it may give up.
 */
#include "lib/bexpr_syntax.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/errs.h"

enum { STEPS_MAX = 100000, DEPTH_MAX = 1000, WANTS_MAX = 64, WANT_LEN_MAX = 32, ERRORS_MAX = 4, ERROR_LEN_MAX = 96 };

/* Expressions stand in prefix order; n: how many operands follow. */
enum peg_op { P_SEQ, P_ALT, P_OPT, P_STAR, P_PLUS, P_AND, P_NOT, P_LIT, P_CLASS, P_ANY, P_RULE, P_ERROR };

enum { R_INPUT, R_OR, R_AND, R_NOT, R_PAREN, R_MATCH, R_OP_VALUE, R_OP, R_VALUE_OP, R_EQUAL, R_NOT_EQUAL, R_EMPTY, R_NOT_EMPTY, R_IN,
	R_NOT_IN, R_CONTAINS, R_NOT_CONTAINS, R_MATCHES, R_NOT_MATCHES, R_SELECTOR, R_IDENTIFIER, R_REST, R_INDEX, R_VALUE, R_NUMBER,
	R_AFTER_NUMBER, R_INT_OR_FLOAT, R_STRING, R_RAW_CHAR, R_DOUBLE_CHAR, R_BLANK, R_EOF, RULES };

struct tok {
	uint8_t op, n;		/* P_RULE: n is the rule */
	const char *text;	/* P_LIT, P_CLASS, P_ERROR */
};

#define SEQ(n) { P_SEQ, n, NULL }
#define ALT(n) { P_ALT, n, NULL }
#define OPT { P_OPT, 1, NULL }
#define STAR { P_STAR, 1, NULL }
#define PLUS { P_PLUS, 1, NULL }
#define AND { P_AND, 1, NULL }
#define NOT { P_NOT, 1, NULL }
#define LIT(s) { P_LIT, 0, s }
#define CLASS(s) { P_CLASS, 0, s }
#define ANY { P_ANY, 0, NULL }
#define R(rule) { P_RULE, rule, NULL }
#define ERROR(s) { P_ERROR, 0, s }
#define B R(R_BLANK)
#define OPT_B OPT, B

static const struct tok input[] = { ALT(2),
	SEQ(8), OPT_B, LIT("("), OPT_B, R(R_OR), OPT_B, LIT(")"), OPT_B, R(R_EOF), SEQ(4), OPT_B, R(R_OR), OPT_B, R(R_EOF) };
static const struct tok or_[] = { ALT(2), SEQ(5), R(R_AND), B, LIT("or"), B, R(R_OR), R(R_AND) };
static const struct tok and_[] = { ALT(2), SEQ(5), R(R_NOT), B, LIT("and"), B, R(R_AND), R(R_NOT) };
static const struct tok not_[] = { ALT(2), SEQ(3), LIT("not"), B, R(R_NOT), R(R_PAREN) };
static const struct tok paren[] = { ALT(3), SEQ(5), LIT("("), OPT_B, R(R_OR), OPT_B, LIT(")"), R(R_MATCH),
	SEQ(6), LIT("("), OPT_B, R(R_OR), OPT_B, NOT, LIT(")"), ERROR("Unmatched parentheses") };
static const struct tok match[] = { ALT(3), R(R_OP_VALUE), R(R_OP), R(R_VALUE_OP) };
static const struct tok op_value[] = { SEQ(3), R(R_SELECTOR), ALT(6), R(R_EQUAL), R(R_NOT_EQUAL), R(R_CONTAINS), R(R_NOT_CONTAINS),
	R(R_MATCHES), R(R_NOT_MATCHES), R(R_VALUE) };
static const struct tok op[] = { SEQ(2), R(R_SELECTOR), ALT(2), R(R_EMPTY), R(R_NOT_EMPTY) };
static const struct tok value_op[] = { ALT(2), SEQ(3), R(R_VALUE), ALT(2), R(R_IN), R(R_NOT_IN), R(R_SELECTOR),
	SEQ(4), R(R_VALUE), ALT(2), R(R_IN), R(R_NOT_IN), NOT, R(R_SELECTOR), ERROR("Invalid selector") };
static const struct tok equal[] = { SEQ(3), OPT_B, LIT("=="), OPT_B };
static const struct tok not_equal[] = { SEQ(3), OPT_B, LIT("!="), OPT_B };
static const struct tok empty[] = { SEQ(4), B, LIT("is"), B, LIT("empty") };
static const struct tok not_empty[] = { SEQ(6), B, LIT("is"), B, LIT("not"), B, LIT("empty") };
static const struct tok in[] = { SEQ(3), B, LIT("in"), B };
static const struct tok not_in[] = { SEQ(5), B, LIT("not"), B, LIT("in"), B };
static const struct tok contains[] = { SEQ(3), B, LIT("contains"), B };
static const struct tok not_contains[] = { SEQ(5), B, LIT("not"), B, LIT("contains"), B };
static const struct tok matches[] = { SEQ(3), B, LIT("matches"), B };
static const struct tok not_matches[] = { SEQ(5), B, LIT("not"), B, LIT("matches"), B };
static const struct tok selector[] = { SEQ(2), R(R_IDENTIFIER), STAR, R(R_REST) };
static const struct tok identifier[] = { SEQ(2), CLASS("[a-zA-Z]"), STAR, CLASS("[a-zA-Z0-9_]") };
static const struct tok rest[] = { ALT(2), SEQ(2), LIT("."), R(R_IDENTIFIER), R(R_INDEX) };
static const struct tok index_[] = { ALT(3), SEQ(5), LIT("["), OPT_B, R(R_STRING), OPT_B, LIT("]"),
	SEQ(4), LIT("["), OPT_B, NOT, R(R_STRING), ERROR("Invalid index"),
	SEQ(6), LIT("["), OPT_B, R(R_STRING), OPT_B, NOT, LIT("]"), ERROR("Unclosed index expression") };
static const struct tok value[] = { ALT(3), R(R_SELECTOR), R(R_NUMBER), R(R_STRING) };
static const struct tok number[] = { ALT(2), SEQ(3), OPT, LIT("-"), R(R_INT_OR_FLOAT), AND, R(R_AFTER_NUMBER),
	SEQ(4), OPT, LIT("-"), R(R_INT_OR_FLOAT), NOT, R(R_AFTER_NUMBER), ERROR("Invalid number literal") };
static const struct tok after_number[] = { AND, ALT(3), B, R(R_EOF), LIT(")") };
static const struct tok int_or_float[] = { SEQ(2), ALT(2), LIT("0"), SEQ(2), CLASS("[1-9]"), STAR, CLASS("[0-9]"),
	OPT, SEQ(2), LIT("."), PLUS, CLASS("[0-9]") };
static const struct tok string[] = { ALT(2),
	ALT(2), SEQ(3), LIT("`"), STAR, R(R_RAW_CHAR), LIT("`"), SEQ(3), LIT("\""), STAR, R(R_DOUBLE_CHAR), LIT("\""),
	SEQ(3), ALT(2), SEQ(2), LIT("`"), STAR, R(R_RAW_CHAR), SEQ(2), LIT("\""), STAR, R(R_DOUBLE_CHAR), R(R_EOF),
	ERROR("Unterminated string literal") };
static const struct tok raw_char[] = { SEQ(2), NOT, LIT("`"), ANY };
static const struct tok double_char[] = { SEQ(2), NOT, LIT("\""), ANY };
static const struct tok blank[] = { PLUS, CLASS("[ \\t\\r\\n]") };
static const struct tok eof[] = { NOT, ANY };

/* Names are for errors of their own alone. */
static const struct rule {
	const struct tok *tok;
	const char *name;
} rules[RULES] = {
	[R_INPUT] = { input, "" }, [R_OR] = { or_, "" }, [R_AND] = { and_, "" }, [R_NOT] = { not_, "" }, [R_PAREN] = { paren, "grouping" },
	[R_MATCH] = { match, "" }, [R_OP_VALUE] = { op_value, "" }, [R_OP] = { op, "" }, [R_VALUE_OP] = { value_op, "match" },
	[R_EQUAL] = { equal, "" }, [R_NOT_EQUAL] = { not_equal, "" }, [R_EMPTY] = { empty, "" }, [R_NOT_EMPTY] = { not_empty, "" },
	[R_IN] = { in, "" }, [R_NOT_IN] = { not_in, "" }, [R_CONTAINS] = { contains, "" }, [R_NOT_CONTAINS] = { not_contains, "" },
	[R_MATCHES] = { matches, "" }, [R_NOT_MATCHES] = { not_matches, "" }, [R_SELECTOR] = { selector, "" },
	[R_IDENTIFIER] = { identifier, "" }, [R_REST] = { rest, "" }, [R_INDEX] = { index_, "index" }, [R_VALUE] = { value, "" },
	[R_NUMBER] = { number, "number" }, [R_AFTER_NUMBER] = { after_number, "" }, [R_INT_OR_FLOAT] = { int_or_float, "" },
	[R_STRING] = { string, "string" }, [R_RAW_CHAR] = { raw_char, "" }, [R_DOUBLE_CHAR] = { double_char, "" },
	[R_BLANK] = { blank, "" }, [R_EOF] = { eof, "" },
};

/* ---- the interpreter */

struct want {
	const struct tok *tok;
	bool not;
};

struct peg {
	struct str text;
	size_t at, farthest;
	struct want wants[WANTS_MAX];
	size_t nwants;
	bool inverted, gave_up;
	unsigned steps, depth;
	const char *rule;
	char errors[ERRORS_MAX][ERROR_LEN_MAX];
	size_t nerrors;
};

/* Lines and columns as Consul counts them: a newline is the beginning of its line. */
static void
describe(const struct peg *p, size_t at, char out[ERROR_LEN_MAX])
{
	unsigned line = 1, column = 0;

	for (size_t i = 0; i <= at; i++) {
		if (i < p->text.len && ((unsigned char)p->text.p[i] & 0xc0) == 0x80)
			continue;
		column++;
		if (i < p->text.len && p->text.p[i] == '\n') {
			line++;
			column = 0;
		}
	}
	(void)snprintf(out, ERROR_LEN_MAX, "%u:%u (%zu)", line, column, at);
}

static void
note(struct peg *p, const struct tok *tok, size_t at, bool matched)
{
	if (matched != p->inverted || at < p->farthest)
		return;
	if (at > p->farthest) {
		p->farthest = at;
		p->nwants = 0;
	}
	for (size_t i = 0; i < p->nwants; i++)
		if (p->wants[i].tok->op == tok->op && p->wants[i].not == p->inverted &&
		    (tok->text == NULL || strcmp(p->wants[i].tok->text, tok->text) == 0))
			return;
	if (p->nwants < WANTS_MAX)
		p->wants[p->nwants++] = (struct want){ tok, p->inverted };
}

static void
error(struct peg *p, const char *text)
{
	char place[ERROR_LEN_MAX], whole[ERROR_LEN_MAX];

	describe(p, p->at, place);
	(void)snprintf(whole, sizeof(whole), "%.32s: rule \"%s\": %s", place, p->rule, text);
	for (size_t i = 0; i < p->nerrors; i++)
		if (strcmp(p->errors[i], whole) == 0)
			return;
	if (p->nerrors < ERRORS_MAX)
		memcpy(p->errors[p->nerrors++], whole, sizeof(whole));
}

static const struct tok *
skip(const struct tok *t)
{
	unsigned n = t->op == P_RULE ? 0 : t->n;

	for (t++; n > 0; n--)
		t = skip(t);
	return t;
}

static bool
in_class(const char *c, char ch)
{
	for (c++; *c != ']'; c++) {
		char from = *c, to;

		if (from == '\\')
			from = *++c == 't' ? '\t' : *c == 'r' ? '\r' : '\n';
		to = from;
		if (c[1] == '-') {
			to = c[2];
			c += 2;
		}
		if (ch >= from && ch <= to)
			return true;
	}
	return false;
}

/* One of those that look at the text itself. */
static bool
terminal(struct peg *p, const struct tok *t)
{
	size_t n = t->op == P_LIT ? strlen(t->text) : 1, at = p->at;
	bool ok = p->text.len - at >= n;

	if (ok && t->op == P_LIT)
		ok = memcmp(p->text.p + at, t->text, n) == 0;
	else if (ok && t->op == P_CLASS)
		ok = in_class(t->text, p->text.p[at]);
	note(p, t, at, ok);
	if (ok)
		p->at += n;
	while (ok && t->op == P_ANY && p->at < p->text.len && ((unsigned char)p->text.p[p->at] & 0xc0) == 0x80)
		p->at++;
	return ok;
}

static bool parse(struct peg *p, const struct tok *t);

static bool
sequence(struct peg *p, const struct tok *t)
{
	size_t start = p->at;
	unsigned n = t->n;

	for (t++; n > 0; n--, t = skip(t))
		if (!parse(p, t)) {
			p->at = start;
			return false;
		}
	return true;
}

static bool
choice(struct peg *p, const struct tok *t)
{
	unsigned n = t->n;

	for (t++; n > 0; n--, t = skip(t))
		if (parse(p, t))
			return true;
	return false;
}

static bool
repeated(struct peg *p, const struct tok *t)
{
	bool any = t->op == P_STAR;

	while (!p->gave_up && parse(p, t + 1))
		any = true;
	return any;
}

/* Look ahead, without taking anything. */
static bool
ahead(struct peg *p, const struct tok *t)
{
	bool not = t->op == P_NOT, ok;
	size_t start = p->at;

	p->inverted ^= not;
	ok = parse(p, t + 1);
	p->inverted ^= not;
	p->at = start;
	return ok != not;
}

static bool
called(struct peg *p, const struct rule *r)
{
	const char *caller = p->rule;
	bool ok;

	p->rule = r->name;
	ok = parse(p, r->tok);
	p->rule = caller;
	return ok;
}

static bool
parse_one(struct peg *p, const struct tok *t)
{
	switch ((enum peg_op)t->op) {
	case P_SEQ:
		return sequence(p, t);
	case P_ALT:
		return choice(p, t);
	case P_OPT:
		(void)parse(p, t + 1);
		return true;
	case P_STAR:
	case P_PLUS:
		return repeated(p, t);
	case P_AND:
	case P_NOT:
		return ahead(p, t);
	case P_LIT:
	case P_CLASS:
	case P_ANY:
		return terminal(p, t);
	case P_RULE:
		return called(p, &rules[t->n]);
	case P_ERROR:
		error(p, t->text);
		break;
	}
	return false;
}

static bool
parse(struct peg *p, const struct tok *t)
{
	bool ok;

	if (++p->steps > STEPS_MAX || p->depth >= DEPTH_MAX)
		p->gave_up = true;
	if (p->gave_up)
		return false;
	p->depth++;
	ok = parse_one(p, t);
	p->depth--;
	return ok;
}

/* ---- telling */

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
show(const struct want *w, char out[WANT_LEN_MAX])
{
	const char *quote = w->tok->op == P_LIT ? "\"" : "", *text = w->tok->op == P_ANY ? "." : w->tok->text;

	(void)snprintf(out, WANT_LEN_MAX, "%s%s%s%s%s", w->not ? "!" : "", quote, quote[0] != 0 && text[0] == '"' ? "\\" : "", text, quote);
}

static void
append(char *out, size_t len, const char *fmt, ...) PRINTF(3, 4);

static void
append(char *out, size_t len, const char *fmt, ...)
{
	size_t n = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out + n, len - n, fmt, ap);
	va_end(ap);
}

static void
tell_expected(const struct peg *p, char *out, size_t len)
{
	char texts[WANTS_MAX][WANT_LEN_MAX], place[ERROR_LEN_MAX];
	bool at_end = false;
	size_t n = 0;

	for (size_t i = 0; i < p->nwants; i++) {
		show(&p->wants[i], texts[n]);
		if (strcmp(texts[n], "!.") == 0)
			at_end = true;
		else
			n++;
	}
	qsort(texts, n, sizeof(texts[0]), by_text);
	if (at_end && n < WANTS_MAX)
		(void)snprintf(texts[n++], WANT_LEN_MAX, "EOF");
	describe(p, p->farthest, place);
	(void)snprintf(out, len, "%s: no match found, expected: ", place);
	for (size_t i = 0; i < n; i++)
		append(out, len, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", texts[i]);
}

bool
bexpr_syntax_error(struct str text, char *out, size_t len)
{
	struct peg p = { .text = text, .rule = "" };

	if (len == 0 || parse(&p, rules[R_INPUT].tok) || p.gave_up)
		return false;
	out[0] = 0;
	for (size_t i = 0; i < p.nerrors; i++)
		append(out, len, "%s%s", i > 0 ? "\n" : "", p.errors[i]);
	if (p.nerrors == 0)
		tell_expected(&p, out, len);
	return true;
}
