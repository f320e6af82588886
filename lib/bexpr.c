/* bexpr.c - filter expressions: parsed into a tree in the arena, walked once an object. */
#include "lib/bexpr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bexpr_syntax.h"
#include "lib/re.h"

enum node_kind { N_OR, N_AND, N_NOT, N_MATCH };
enum match_op { M_EQ, M_NE, M_EMPTY, M_NOT_EMPTY, M_IN, M_NOT_IN, M_MATCHES, M_NOT_MATCHES };

/* One word of a selector, resolved: a field, then perhaps a key of its map. */
struct step {
	const struct field *field;
	struct str key;		/* of a map; p NULL: the field itself */
	const struct step *next;
};

struct bexpr {
	enum node_kind kind;
	struct bexpr *left, *right;	/* N_NOT: left */
	enum match_op op;
	const struct step *path;
	struct str value;
	struct re *re;
};

struct parser {
	const char *text, *p, *end;
	const struct record *rec;
	struct arena *a;
	struct bexpr *made;		/* matches with a compiled pattern, by right */
	int rc, depth;
	char *err;
	size_t errlen;
};

static void PRINTF(2, 3)
complain(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->rc != 0)
		return;
	p->rc = -EINVAL;
	va_start(ap, fmt);
	(void)vsnprintf(p->err, p->errlen, fmt, ap);
	va_end(ap);
}

static void *
take(struct parser *p, size_t n)
{
	void *v = arena_alloc(p->a, n);

	if (v == NULL && p->rc == 0)
		p->rc = -ENOMEM;
	return v;
}

/* ---- words */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_word(char c)
{
	return is_alpha(c) || is_digit(c) || c == '_';
}

static void
skip_blanks(struct parser *p)
{
	while (p->p < p->end && is_blank(*p->p))
		p->p++;
}

static void
unexpected(struct parser *p)
{
	unsigned line = 1, column = 1;

	for (const char *c = p->text; c < p->p; c++) {
		column = *c == '\n' ? 1 : column + 1;
		line += *c == '\n';
	}
	complain(p, "%u:%u (%zu): no match found", line, column, (size_t)(p->p - p->text));
}

/* A keyword with blanks, a parenthesis or the end around it; taken when it is there. */
static bool
keyword(struct parser *p, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(p);
	if ((size_t)(p->end - p->p) < n || memcmp(p->p, word, n) != 0)
		return false;
	if (p->p + n < p->end && !is_blank(p->p[n]) && p->p[n] != '(' && p->p[n] != ')')
		return false;
	p->p += n;
	return true;
}

static bool
symbol(struct parser *p, const char *sym)
{
	size_t n = strlen(sym);

	skip_blanks(p);
	if ((size_t)(p->end - p->p) < n || memcmp(p->p, sym, n) != 0)
		return false;
	p->p += n;
	return true;
}

/* A part of the expression in a sentence. */
#define SHOWN(s) (int)((s).len < 256 ? (s).len : 256), (s).p != NULL ? (s).p : ""

/* What stands on one side of an operator. */
struct term {
	struct str text;	/* as written, without quotes */
	bool is_path;		/* it may be a selector */
};

static struct str
quoted(struct parser *p, char quote)
{
	const char *from = ++p->p;

	while (p->p < p->end && *p->p != quote)
		p->p++;
	if (p->p == p->end) {
		unexpected(p);
		return STR_NONE;
	}
	p->p++;
	return (struct str){ from, (size_t)(p->p - 1 - from) };
}

/* Ident(.Ident | ["string"])* */
static struct str
path_text(struct parser *p)
{
	const char *from = p->p;

	for (;;) {
		while (p->p < p->end && is_word(*p->p))
			p->p++;
		while (p->end - p->p > 2 && p->p[0] == '[' && (p->p[1] == '"' || p->p[1] == '`')) {
			p->p++;
			(void)quoted(p, *p->p);
			if (p->rc == 0 && (p->p == p->end || *p->p != ']'))
				unexpected(p);
			if (p->rc != 0)
				return STR_NONE;
			p->p++;
		}
		if (p->end - p->p < 2 || p->p[0] != '.' || !is_alpha(p->p[1]))
			break;
		p->p++;
	}
	return (struct str){ from, (size_t)(p->p - from) };
}

static struct str
number_text(struct parser *p)
{
	const char *from = p->p;

	if (*p->p == '-')
		p->p++;
	while (p->p < p->end && (is_digit(*p->p) || *p->p == '.'))
		p->p++;
	return (struct str){ from, (size_t)(p->p - from) };
}

static struct term
parse_term(struct parser *p)
{
	skip_blanks(p);
	if (p->p == p->end) {
		unexpected(p);
	} else if (*p->p == '"' || *p->p == '`') {
		return (struct term){ quoted(p, *p->p), false };
	} else if (is_digit(*p->p) || (*p->p == '-' && p->end - p->p > 1 && is_digit(p->p[1]))) {
		return (struct term){ number_text(p), false };
	} else if (is_alpha(*p->p)) {
		return (struct term){ path_text(p), true };
	} else {
		unexpected(p);
	}
	return (struct term){ STR_NONE, false };
}

/* ---- selectors */

/* The next word of a selector's text, dots and brackets taken off. */
static struct str
next_word(struct str *text)
{
	struct str w;
	size_t n = 0;

	if (text->p[0] == '[') {
		const char *close = memchr(text->p + 2, text->p[1], text->len - 2);

		w = (struct str){ text->p + 2, (size_t)(close - text->p) - 2 };
		n = w.len + 4;
	} else {
		while (n < text->len && is_word(text->p[n]))
			n++;
		w = (struct str){ text->p, n };
	}
	text->p += n;
	text->len -= n;
	if (text->len > 0 && text->p[0] == '.') {
		text->p++;
		text->len--;
	}
	return w;
}

static bool
selectable(const struct field *f)
{
	return f != NULL && f->type != F_RAW && (f->flags & (FF_INTERNAL | FF_ALIAS)) == 0 && strcmp(f->name, "CreateIndex") != 0 &&
	    strcmp(f->name, "ModifyIndex") != 0 && strcmp(f->name, "Definition") != 0;
}

/* *text is left at what was not looked at. */
static const struct step *
resolve(struct parser *p, const struct record *rec, struct str *text)
{
	struct step *s = take(p, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->field = rec != NULL ? record_field(rec, next_word(text)) : NULL;
	if (!selectable(s->field))
		return NULL;
	if (text->len > 0 && (s->field->type == F_STRMAP || s->field->type == F_RECMAP))
		s->key = next_word(text);
	if (text->len == 0)
		return s;
	if (s->field->type == F_RECORD || s->field->type == F_RECORDS || (s->field->type == F_RECMAP && s->key.p != NULL))
		s->next = resolve(p, s->field->sub, text);
	else
		(void)next_word(text);
	return s->next != NULL ? s : NULL;
}

static const struct step *
parse_selector(struct parser *p, struct term t)
{
	const struct step *s;
	struct str rest = t.text;

	if (p->rc != 0)
		return NULL;
	if (!t.is_path) {
		unexpected(p);
		return NULL;
	}
	s = resolve(p, p->rec, &rest);
	/* Up to the word that is nobody's. */
	if (s == NULL) {
		while (t.text.len > rest.len && t.text.p[t.text.len - rest.len - 1] == '.')
			t.text.len--;
		complain(p, "Selector \"%.*s\" is not valid", t.text.len - rest.len < 256 ? (int)(t.text.len - rest.len) : 256, t.text.p);
	}
	return s;
}

/* ---- matches */

static const struct field *
last_field(const struct step *s, bool *ret_in_map)
{
	while (s->next != NULL)
		s = s->next;
	*ret_in_map = s->key.p != NULL;
	return s->field;
}

/* Whether the operator makes sense for what the selector yields. */
static void
check_op(struct parser *p, const struct bexpr *e, struct str selector)
{
	static const char *const names[] = { "Equal", "Not Equal", "Is Empty", "Is Not Empty", "In", "Not In", "Matches",
		"Not Matches" };
	bool in_map, none, text, many;
	const struct field *f = last_field(e->path, &in_map);

	/* A record has no value of its own. */
	none = f->type == F_RECORD || (f->type == F_RECMAP && in_map);
	text = in_map || f->type == F_STR || f->type == F_BYTES;
	many = !in_map && (f->type == F_STRS || f->type == F_STRMAP || f->type == F_RECORDS || f->type == F_RECMAP);
	if (none)
		many = text = false;
	switch (e->op) {
	case M_EQ:
	case M_NE:
		if (!many && !none)
			return;
		break;
	case M_EMPTY:
	case M_NOT_EMPTY:
		if (text || many)
			return;
		break;
	case M_IN:
	case M_NOT_IN:
		if (text || (many && f->type != F_RECORDS))
			return;
		break;
	default:
		if (text)
			return;
		break;
	}
	complain(p, "Invalid match operator \"%s\" for selector \"%.*s\"", names[e->op],
	    selector.len < 256 ? (int)selector.len : 256, selector.p);
}

static bool
number_of(struct str s, double *ret)
{
	char text[64], *end;

	if (s.len == 0 || s.len >= sizeof(text))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = 0;
	*ret = strtod(text, &end);
	return *end == 0;
}

/* As Go reads a boolean; -1: it is none. */
static int
truth_of(struct str s)
{
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" }, *const no[] = { "0", "f", "F", "FALSE", "false", "False" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (str_eqs(s, yes[i]))
			return 1;
		if (str_eqs(s, no[i]))
			return 0;
	}
	return -1;
}

static void
no_value(struct parser *p, struct str value, struct str selector, const char *function, const char *why)
{
	complain(p, "Failed to coerce value \"%.*s\" for selector \"%.*s\": %s: parsing \"%.*s\": %s", SHOWN(value), SHOWN(selector),
	    function, SHOWN(value), why);
}

/* A whole number, as Go reads one that may have a base before it. */
static void
check_int(struct parser *p, struct str value, struct str selector, bool is_unsigned)
{
	const char *function = is_unsigned ? "strconv.ParseUint" : "strconv.ParseInt";
	char text[64], *end = text;
	double d;

	if (value.len > 0 && value.len < sizeof(text) && !is_blank(value.p[0]) && !(is_unsigned && value.p[0] == '-')) {
		memcpy(text, value.p, value.len);
		text[value.len] = 0;
		errno = 0;
		if (is_unsigned)
			(void)strtoull(text, &end, 0);
		else
			(void)strtoll(text, &end, 0);
	}
	if (end == text || *end != 0 || !number_of(value, &d))
		no_value(p, value, selector, function, "invalid syntax");
	else if (errno == ERANGE)
		no_value(p, value, selector, function, "value out of range");
}

static void
check_value(struct parser *p, struct bexpr *e, struct str selector)
{
	bool in_map;
	const struct field *f = last_field(e->path, &in_map);
	char why[256];
	double d;

	if (e->op == M_MATCHES || e->op == M_NOT_MATCHES) {
		int rc = re_compile(e->value, &e->re, why, sizeof(why));

		if (rc == 0) {
			e->right = p->made;
			p->made = e;
		} else if (rc == -EINVAL) {
			complain(p, "Failed to compile regular expression \"%.*s\": error parsing regexp: %s", SHOWN(e->value), why);
		} else {
			p->rc = rc;
		}
		return;
	}
	if (in_map || e->op == M_EMPTY || e->op == M_NOT_EMPTY)
		return;
	if (f->type == F_BOOL && truth_of(e->value) < 0)
		no_value(p, e->value, selector, "strconv.ParseBool", "invalid syntax");
	else if (f->type == F_DOUBLE && !number_of(e->value, &d))
		no_value(p, e->value, selector, "strconv.ParseFloat", "invalid syntax");
	else if (f->type == F_INT || f->type == F_UINT || f->type == F_DURATION)
		check_int(p, e->value, selector, f->type == F_UINT);
}

static struct bexpr *
make_match(struct parser *p, enum match_op op, struct term selector, struct str value)
{
	struct bexpr *e = p->rc == 0 ? take(p, sizeof(*e)) : NULL;

	if (e == NULL)
		return NULL;
	*e = (struct bexpr){ .kind = N_MATCH, .op = op, .value = value };
	e->path = parse_selector(p, selector);
	if (p->rc == 0)
		check_op(p, e, selector.text);
	if (p->rc == 0)
		check_value(p, e, selector.text);
	return p->rc == 0 ? e : NULL;
}

/* A value: anything that stands where one is wanted, a bare word too. */
static struct bexpr *
match_value(struct parser *p, enum match_op op, struct term selector)
{
	struct term v = parse_term(p);

	return make_match(p, op, selector, v.text);
}

static struct bexpr *
parse_match(struct parser *p)
{
	struct term left = parse_term(p);
	bool no;

	if (p->rc != 0)
		return NULL;
	if (symbol(p, "=="))
		return match_value(p, M_EQ, left);
	if (symbol(p, "!="))
		return match_value(p, M_NE, left);
	if (keyword(p, "is")) {
		no = keyword(p, "not");
		if (keyword(p, "empty"))
			return make_match(p, no ? M_NOT_EMPTY : M_EMPTY, left, STR_NONE);
		unexpected(p);
		return NULL;
	}
	no = keyword(p, "not");
	if (keyword(p, "in")) {
		struct term right = parse_term(p);

		return make_match(p, no ? M_NOT_IN : M_IN, right, left.text);
	}
	if (keyword(p, "contains"))
		return match_value(p, no ? M_NOT_IN : M_IN, left);
	if (keyword(p, "matches"))
		return match_value(p, no ? M_NOT_MATCHES : M_MATCHES, left);
	unexpected(p);
	return NULL;
}

/* ---- and, or, not */

static struct bexpr *parse_or(struct parser *p);

static struct bexpr *
make(struct parser *p, enum node_kind kind, struct bexpr *left, struct bexpr *right)
{
	struct bexpr *e = p->rc == 0 ? take(p, sizeof(*e)) : NULL;

	if (e != NULL)
		*e = (struct bexpr){ .kind = kind, .left = left, .right = right };
	return e;
}

static struct bexpr *
parse_not(struct parser *p)
{
	struct bexpr *e = NULL;

	if (p->rc == 0 && ++p->depth > BEXPR_DEPTH_MAX)
		complain(p, "expression nested too deeply");
	if (p->rc != 0)
		return NULL;
	if (keyword(p, "not")) {
		e = make(p, N_NOT, parse_not(p), NULL);
	} else if (symbol(p, "(")) {
		e = parse_or(p);
		if (p->rc == 0 && !symbol(p, ")"))
			unexpected(p);
	} else {
		e = parse_match(p);
	}
	p->depth--;
	return e;
}

static struct bexpr *
parse_and(struct parser *p)
{
	struct bexpr *e = parse_not(p);

	while (p->rc == 0 && keyword(p, "and"))
		e = make(p, N_AND, e, parse_not(p));
	return e;
}

static struct bexpr *
parse_or(struct parser *p)
{
	struct bexpr *e = parse_and(p);

	while (p->rc == 0 && keyword(p, "or"))
		e = make(p, N_OR, e, parse_and(p));
	return e;
}

int
bexpr_parse(struct str text, const struct record *rec, struct arena *a, struct bexpr **ret, char *ret_err, size_t errlen)
{
	struct parser p = { text.p, text.p, text.p + text.len, rec, a, NULL, 0, 0, ret_err, errlen };
	struct bexpr *e = NULL, *root;

	if (text.len > BEXPR_TEXT_MAX)
		complain(&p, "expression longer than %d bytes", BEXPR_TEXT_MAX);
	else
		e = parse_or(&p);
	skip_blanks(&p);
	if (p.rc == 0 && p.p != p.end)
		unexpected(&p);
	/* What is wrong by the grammar goes before what is wrong with a selector or value. */
	if (p.rc == -EINVAL && text.len <= BEXPR_TEXT_MAX)
		(void)bexpr_syntax_error(text, ret_err, errlen);
	/* The root holds the chain of what bexpr_free() has to give back. */
	root = p.rc == 0 ? take(&p, sizeof(*root)) : NULL;
	if (root == NULL) {
		bexpr_free(&(struct bexpr){ .kind = N_NOT, .right = p.made });
		return p.rc;
	}
	*root = (struct bexpr){ .kind = N_NOT, .left = e, .right = p.made };
	*ret = root;
	return 0;
}

void
bexpr_free(struct bexpr *root)
{
	for (struct bexpr *e = root != NULL ? root->right : NULL; e != NULL; e = e->right) {
		re_free(e->re);
		e->re = NULL;
	}
}

/* ---- evaluation */

#define MEMBER(obj, f, type) ((const type *)(const void *)((const char *)(obj) + (f)->offset))

static bool
str_contains(struct str s, struct str part)
{
	return part.len == 0 || (s.len > 0 && memmem(s.p, s.len, part.p, part.len) != NULL);
}

static bool
match_text(const struct bexpr *e, struct str s)
{
	switch (e->op) {
	case M_EQ:
		return str_eq(s, e->value);
	case M_NE:
		return !str_eq(s, e->value);
	case M_EMPTY:
		return s.len == 0;
	case M_NOT_EMPTY:
		return s.len > 0;
	case M_IN:
		return str_contains(s, e->value);
	case M_NOT_IN:
		return !str_contains(s, e->value);
	case M_MATCHES:
		return re_match(e->re, s);
	case M_NOT_MATCHES:
		return !re_match(e->re, s);
	}
	return false;
}

static bool
negative(enum match_op op)
{
	return op == M_NE || op == M_EMPTY || op == M_NOT_IN || op == M_NOT_MATCHES;
}

static bool
match_many(const struct bexpr *e, const struct str *v, size_t n)
{
	bool in = false;

	if (e->op == M_EMPTY || e->op == M_NOT_EMPTY)
		return (n == 0) == (e->op == M_EMPTY);
	for (size_t i = 0; i < n && !in && v != NULL; i++)
		in = str_eq(v[i], e->value);
	return in == (e->op == M_IN);
}

static bool
match_number(const struct bexpr *e, double have)
{
	double want;

	if (!number_of(e->value, &want))
		return false;
	return (have < want || have > want) == (e->op == M_NE);
}

static bool
match_map(const struct bexpr *e, const struct strmap *m)
{
	if (e->op == M_EMPTY || e->op == M_NOT_EMPTY)
		return match_many(e, NULL, m->n);
	return (strmap_get(m, e->value) != NULL) == (e->op == M_IN);
}

static bool
match_field(const struct bexpr *e, const struct field *f, const void *obj)
{
	switch (f->type) {
	case F_BOOL:
		return (*MEMBER(obj, f, bool) == (truth_of(e->value) > 0)) == (e->op == M_EQ);
	case F_INT:
	case F_DURATION:
		return match_number(e, (double)*MEMBER(obj, f, int64_t));
	case F_UINT:
		return match_number(e, (double)*MEMBER(obj, f, uint64_t));
	case F_DOUBLE:
		return match_number(e, *MEMBER(obj, f, double));
	case F_STR:
	case F_BYTES:
		return match_text(e, *MEMBER(obj, f, struct str));
	case F_STRS:
		return match_many(e, MEMBER(obj, f, struct strs)->v, MEMBER(obj, f, struct strs)->n);
	case F_STRMAP:
		return match_map(e, MEMBER(obj, f, struct strmap));
	case F_RECORDS:
		return match_many(e, NULL, MEMBER(obj, f, struct records)->n);
	case F_RECMAP:
		return match_many(e, MEMBER(obj, f, struct recmap)->keys, MEMBER(obj, f, struct recmap)->n);
	case F_RECORD:
	case F_RAW:
		break;
	}
	return false;
}

static bool match_path(const struct bexpr *e, const struct step *s, const void *obj);

static bool
match_in_recmap(const struct bexpr *e, const struct step *s, const struct recmap *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (str_eq(m->keys[i], s->key))
			return match_path(e, s->next, (const char *)m->v + i * s->field->sub->size);
	return negative(e->op);
}

static bool
match_path(const struct bexpr *e, const struct step *s, const void *obj)
{
	const struct field *f = s->field;

	if (f->type == F_STRMAP && s->key.p != NULL) {
		const struct str *v = strmap_get(MEMBER(obj, f, struct strmap), s->key);

		return v != NULL ? match_text(e, *v) : negative(e->op);
	}
	if (s->next == NULL)
		return match_field(e, f, obj);
	if (f->type == F_RECMAP)
		return match_in_recmap(e, s, MEMBER(obj, f, struct recmap));
	if (f->type == F_RECORD)
		return match_path(e, s->next, MEMBER(obj, f, char));
	/* A list: one element that matches is enough. */
	const struct records *list = MEMBER(obj, f, struct records);

	for (size_t i = 0; i < list->n; i++)
		if (match_path(e, s->next, (const char *)list->v + i * f->sub->size))
			return true;
	return false;
}

static bool
eval(const struct bexpr *e, const void *obj)
{
	switch (e->kind) {
	case N_OR:
		return eval(e->left, obj) || eval(e->right, obj);
	case N_AND:
		return eval(e->left, obj) && eval(e->right, obj);
	case N_NOT:
		return !eval(e->left, obj);
	case N_MATCH:
		return match_path(e, e->path, obj);
	}
	return false;
}

bool
bexpr_match(const struct bexpr *root, const void *obj)
{
	return eval(root->left, obj);
}
