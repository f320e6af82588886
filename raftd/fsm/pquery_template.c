/*
 * pquery_template.c - prepared queries that are templates: every text of
 * their Service is filled in for the name that was asked for.
 *
 * The language is the part of HIL that Consul's templates have a use for:
 * ${name.full}, ${name.prefix}, ${name.suffix}, ${agent.segment},
 * ${match(N)}, numbers, "texts" and parentheses; $${ stands for ${.
 */
#include <ctype.h>
#include <stdio.h>

#include "lib/re.h"
#include "raftd/fsm/state.h"

enum {
	DEPTH_MAX = 32,			/* parentheses in each other */
	MATCH_NAME_MAX = 512,		/* bytes of a name that a regular expression is tried on; names in DNS have 255 */
	RENDERED_MAX = 1024 * 1024,	/* bytes of all texts of a query */
	SHOWN_MAX = 300,		/* bytes of a text in an error */
	PATH_LEN_MAX = 256,
};

/* What an expression yields. */
struct value {
	bool is_int;
	int64_t n;
	struct str s;
};

struct template {
	const struct fsm *f;
	const struct prepared_query *q;
	struct str name, segment;
	struct str groups[RE_GROUPS_MAX];
	size_t ngroups, rendered;
	int rc;
	char *why;
	size_t whylen;
	/* the text at hand */
	struct str text;
	const char *path;
	size_t at;
	int depth;
};

static void complain(struct template *t, const char *what, const char *fmt, ...) PRINTF(3, 4);

/* what: "format" or "evaluation for" is bad. */
static void
complain(struct template *t, const char *what, const char *fmt, ...)
{
	char reason[256];
	va_list ap;

	if (t->rc != 0)
		return;
	t->rc = -EINVAL;
	va_start(ap, fmt);
	(void)vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	(void)snprintf(t->why, t->whylen, "Bad %s '%.*s' in Service%s: 1:%zu: %s", what,
	    t->text.len < SHOWN_MAX ? (int)t->text.len : SHOWN_MAX, t->text.p, t->path, t->at + 1, reason);
}

static void *
take(struct template *t, size_t n)
{
	void *p = arena_alloc(t->f->arena, n + 1);

	if (p == NULL && t->rc == 0)
		t->rc = -ENOMEM;
	return p;
}

/* ---- expressions */

static char
peek(const struct template *t)
{
	return t->at < t->text.len ? t->text.p[t->at] : '\0';
}

static void
skip_blanks(struct template *t)
{
	while (peek(t) == ' ' || peek(t) == '\t' || peek(t) == '\n' || peek(t) == '\r')
		t->at++;
}

static bool
take_char(struct template *t, char c)
{
	skip_blanks(t);
	if (peek(t) != c)
		return false;
	t->at++;
	return true;
}

static void
need_char(struct template *t, char c)
{
	if (!take_char(t, c))
		complain(t, "format", "expected '%c'", c);
}

static bool
int_of(struct str s, int64_t *ret)
{
	size_t i = s.len > 0 && s.p[0] == '-';
	int64_t n = 0;

	if (i == s.len || s.len - i > 9)
		return false;
	for (; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		n = n * 10 + (s.p[i] - '0');
	}
	*ret = s.p[0] == '-' ? -n : n;
	return true;
}

static struct value
number(struct template *t)
{
	size_t from = t->at;
	struct value v = { .is_int = true };

	t->at += peek(t) == '-';
	while (peek(t) >= '0' && peek(t) <= '9')
		t->at++;
	v.s = (struct str){ t->text.p + from, t->at - from };
	if (!int_of(v.s, &v.n))
		complain(t, "format", "expected a number");
	return v;
}

static struct value
quoted(struct template *t)
{
	char *out = take(t, t->text.len);
	size_t n = 0;

	t->at++;
	while (t->rc == 0 && t->at < t->text.len && peek(t) != '"') {
		char c = t->text.p[t->at++];

		if (c == '$' && peek(t) == '{') {
			complain(t, "format", "a text in an expression cannot hold another expression");
		} else if (c == '\\') {
			c = peek(t);
			t->at++;
			if (c != '"' && c != '\\' && c != 'n')
				complain(t, "format", "invalid escape in a text");
			c = c == 'n' ? '\n' : c;
		}
		if (t->rc == 0)
			out[n++] = c;
	}
	if (t->rc == 0 && peek(t) != '"')
		complain(t, "format", "unterminated text");
	t->at++;
	return (struct value){ .s = { out, n } };
}

static struct value expression(struct template *t);

/* What follows an opening parenthesis: the number of a group, out of range of which there is none. */
static struct value
match(struct template *t)
{
	struct value v = expression(t);

	if (t->rc == 0 && !v.is_int && !int_of(v.s, &v.n))
		complain(t, "evaluation for", "match() needs a number");
	need_char(t, ')');
	if (t->rc != 0 || v.n < 0 || (uint64_t)v.n >= t->ngroups)
		return (struct value){ .s = STR("") };
	return (struct value){ .s = t->groups[v.n] };
}

static struct str
suffix(const struct template *t)
{
	if (!str_has_prefix(t->name, t->q->name))
		return t->name;
	return (struct str){ t->name.p + t->q->name.len, t->name.len - t->q->name.len };
}

static struct value
identifier(struct template *t)
{
	size_t from = t->at;
	struct str id;

	while (isalnum((unsigned char)peek(t)) || peek(t) == '_' || peek(t) == '.' || peek(t) == '-' || peek(t) == '*')
		t->at++;
	id = (struct str){ t->text.p + from, t->at - from };
	if (take_char(t, '(')) {
		if (str_eqs(id, "match"))
			return match(t);
		complain(t, "evaluation for", "unknown function called: %.*s", id.len < 64 ? (int)id.len : 64, id.p);
	} else if (str_eqs(id, "name.full")) {
		return (struct value){ .s = t->name };
	} else if (str_eqs(id, "name.prefix")) {
		return (struct value){ .s = t->q->name };
	} else if (str_eqs(id, "name.suffix")) {
		return (struct value){ .s = suffix(t) };
	} else if (str_eqs(id, "agent.segment")) {
		return (struct value){ .s = t->segment };
	} else {
		complain(t, "evaluation for", "unknown variable accessed: %.*s", id.len < 64 ? (int)id.len : 64, id.p);
	}
	return (struct value){ .s = STR("") };
}

static struct value
expression(struct template *t)
{
	struct value v = { .s = STR("") };

	skip_blanks(t);
	if (++t->depth > DEPTH_MAX) {
		complain(t, "format", "expression nested too deeply");
	} else if (take_char(t, '(')) {
		v = expression(t);
		need_char(t, ')');
	} else if (peek(t) == '"') {
		v = quoted(t);
	} else if (peek(t) == '-' || (peek(t) >= '0' && peek(t) <= '9')) {
		v = number(t);
	} else if (isalpha((unsigned char)peek(t))) {
		v = identifier(t);
	} else {
		complain(t, "format", "expected an expression");
	}
	t->depth--;
	return v;
}

/* ---- texts */

struct out {
	char *p;
	size_t n, cap;
};

static void
add(struct template *t, struct out *o, struct str s)
{
	char *p;

	t->rendered += s.len;
	if (t->rc == 0 && t->rendered > RENDERED_MAX)
		complain(t, "evaluation for", "the query becomes longer than %d bytes", RENDERED_MAX);
	if (t->rc != 0 || s.len == 0)
		return;
	if (o->cap - o->n < s.len) {
		size_t cap = 2 * (o->n + s.len);

		p = take(t, cap);
		if (p == NULL)
			return;
		if (o->n > 0)
			memcpy(p, o->p, o->n);
		o->p = p;
		o->cap = cap;
	}
	memcpy(o->p + o->n, s.p, s.len);
	o->n += s.len;
}

static struct str
fill(struct template *t, struct str text, const char *path)
{
	struct out o = { .p = NULL };

	t->text = text;
	t->path = path;
	t->at = 0;
	while (t->rc == 0 && t->at < text.len) {
		struct str rest = { text.p + t->at, text.len - t->at };

		if (str_has_prefix(rest, STR("$${"))) {
			add(t, &o, STR("${"));
			t->at += 3;
		} else if (str_has_prefix(rest, STR("${"))) {
			struct value v;

			t->at += 2;
			v = expression(t);
			need_char(t, '}');
			add(t, &o, v.s);
		} else {
			add(t, &o, (struct str){ rest.p, 1 });
			t->at++;
		}
	}
	return (struct str){ o.p != NULL ? o.p : "", o.n };
}

/* ---- every text of a record */

static void walk(struct template *t, const struct record *rec, void *obj, const char *path);

static void
walk_strs(struct template *t, struct strs *list, const char *path)
{
	struct str *v = list->n > 0 ? take(t, list->n * sizeof(*v)) : NULL;
	char one[PATH_LEN_MAX];

	for (size_t i = 0; i < list->n && t->rc == 0; i++) {
		(void)snprintf(one, sizeof(one), "%.200s[%zu]", path, i);
		v[i] = fill(t, list->v[i], one);
	}
	if (v != NULL)
		list->v = v;
}

static void
walk_strmap(struct template *t, struct strmap *m, const char *path)
{
	struct strpair *v = m->n > 0 ? take(t, m->n * sizeof(*v)) : NULL;
	char one[PATH_LEN_MAX];

	for (size_t i = 0; i < m->n && t->rc == 0; i++) {
		(void)snprintf(one, sizeof(one), "%.100s[%.*s]", path, m->v[i].key.len < 100 ? (int)m->v[i].key.len : 100, m->v[i].key.p);
		v[i] = (struct strpair){ m->v[i].key, fill(t, m->v[i].value, one) };
	}
	if (v != NULL)
		m->v = v;
}

static void
walk_records(struct template *t, const struct record *rec, struct records *list, const char *path)
{
	char *v = list->n > 0 ? take(t, list->n * rec->size) : NULL;
	char one[PATH_LEN_MAX];

	if (v != NULL)
		memcpy(v, list->v, list->n * rec->size);
	for (size_t i = 0; i < list->n && t->rc == 0; i++) {
		(void)snprintf(one, sizeof(one), "%.200s[%zu]", path, i);
		walk(t, rec, v + i * rec->size, one);
	}
	if (v != NULL)
		list->v = v;
}

static void
walk(struct template *t, const struct record *rec, void *obj, const char *path)
{
	for (size_t i = 0; i < rec->nfields && t->rc == 0; i++) {
		const struct field *f = &rec->fields[i];
		void *member = (char *)obj + f->offset;
		char one[PATH_LEN_MAX];

		(void)snprintf(one, sizeof(one), "%.100s.%s", path, f->name);
		if (f->type == F_STR)
			*(struct str *)member = fill(t, *(struct str *)member, one);
		else if (f->type == F_STRS)
			walk_strs(t, member, one);
		else if (f->type == F_STRMAP)
			walk_strmap(t, member, one);
		else if (f->type == F_RECORD)
			walk(t, f->sub, member, one);
		else if (f->type == F_RECORDS)
			walk_records(t, f->sub, member, one);
	}
}

/* ---- the query */

static void
find_groups(struct template *t)
{
	const struct str pattern = t->q->template.regexp;
	struct re *re = NULL;
	char reason[128];

	if (pattern.len == 0)
		return;
	t->rc = re_compile(pattern, &re, reason, sizeof(reason));
	if (t->rc == -EINVAL)
		(void)snprintf(t->why, t->whylen, "Bad Regexp: error parsing regexp: %s", reason);
	if (t->rc == 0 && t->name.len <= MATCH_NAME_MAX)
		t->rc = re_groups(re, t->name, t->groups, &t->ngroups);
	re_free(re);
}

static void
remove_empty(struct strs *tags)
{
	size_t n = 0;

	for (size_t i = 0; i < tags->n; i++)
		if (tags->v[i].len > 0)
			tags->v[n++] = tags->v[i];
	tags->n = n;
}

int
pquery_render(const struct fsm *f, const struct prepared_query *q, struct str name, struct str segment, struct prepared_query *ret,
    char *why, size_t whylen)
{
	struct template t = { .f = f, .q = q, .name = name, .segment = segment, .why = why, .whylen = whylen };

	if (!str_eqs(q->template.type, "name_prefix_match")) {
		(void)snprintf(why, whylen, "Bad Template.Type '%.*s'", q->template.type.len < SHOWN_MAX ? (int)q->template.type.len : SHOWN_MAX,
		    q->template.type.p);
		return -EINVAL;
	}
	find_groups(&t);
	*ret = *q;
	if (t.rc == 0)
		walk(&t, &rec_pq_service, &ret->service, "");
	if (t.rc == 0 && q->template.remove_empty_tags)
		remove_empty(&ret->service.tags);
	return t.rc;
}
