/*
 * value.c - looking into JSON that an agent sent.
 */
#include <json-c/linkhash.h>
#include <stdlib.h>
#include <string.h>

#include "consulctl/value.h"

enum { DEPTH_MAX = 64 };

struct json_object *
value_get(struct json_object *j, const char *name)
{
	struct json_object *v = NULL;

	if (!json_object_is_type(j, json_type_object))
		return NULL;
	return json_object_object_get_ex(j, name, &v) ? v : NULL;
}

const char *
value_text(struct json_object *j, const char *name)
{
	struct json_object *v = value_get(j, name);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

uint64_t
value_u64(struct json_object *j, const char *name)
{
	struct json_object *v = value_get(j, name);

	return json_object_is_type(v, json_type_int) ? json_object_get_uint64(v) : 0;
}

size_t
value_count(struct json_object *j)
{
	if (json_object_is_type(j, json_type_array))
		return json_object_array_length(j);
	if (json_object_is_type(j, json_type_object))
		return (size_t)json_object_object_length(j);
	return 0;
}

struct json_object *
value_at(struct json_object *j, size_t i)
{
	return json_object_is_type(j, json_type_array) ? json_object_array_get_idx(j, i) : NULL;
}

static int
by_bytes(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

const char **
value_names(struct json_object *j, size_t *ret_n)
{
	size_t max = json_object_is_type(j, json_type_object) ? value_count(j) : 0, n = 0;
	const char **names = calloc(max + 1, sizeof(*names));

	if (names == NULL)
		return NULL;
	if (max > 0) {
		json_object_object_foreach(j, name, v) {
			(void)v;
			names[n++] = name;
		}
		qsort(names, n, sizeof(*names), by_bytes);
	}
	*ret_n = n;
	return names;
}

int
value_pairs(struct json_object *j, const char *joiner, struct buf *out)
{
	size_t n;
	const char **names = value_names(j, &n);
	int rc = 0;

	if (names == NULL)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = buf_addf(out, "%s%s=%s", i > 0 ? joiner : "", names[i], value_text(j, names[i]));
	free(names);
	return rc;
}

/* ---- layout */

struct layout {
	const char *indent;
	struct buf *out;
	unsigned depth;
	char open[DEPTH_MAX];	/* the brackets that are open */
};

static int
newline(struct layout *l)
{
	int rc;

	if (l->indent == NULL)
		return 0;
	rc = buf_addc(l->out, '\n');
	for (unsigned i = 0; rc == 0 && i < l->depth; i++)
		rc = buf_adds(l->out, l->indent);
	return rc;
}

static int
bracket_open(struct layout *l, char c, bool is_empty)
{
	int rc = buf_addc(l->out, (uint8_t)c);

	if (rc < 0)
		return rc;
	if (l->depth == DEPTH_MAX)
		return -EDECODE;
	l->open[l->depth++] = c;
	return is_empty ? 0 : newline(l);
}

static int
bracket_close(struct layout *l, char c, bool is_empty)
{
	int rc = 0;

	if (l->depth == 0 || l->open[--l->depth] != (c == '}' ? '{' : '['))
		return -EDECODE;
	if (!is_empty)
		rc = newline(l);
	return rc == 0 ? buf_addc(l->out, (uint8_t)c) : rc;
}

/* The string that begins at p, quotes included; 0 when it does not end. */
static size_t
string_len(struct str s, size_t p)
{
	for (size_t i = p + 1; i < s.len; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1 - p;
	}
	return 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The first byte at or behind p that is no blank; 0 at the end. */
static char
peek(struct str s, size_t p)
{
	while (p < s.len && is_blank(s.p[p]))
		p++;
	return p < s.len ? s.p[p] : '\0';
}

/* One byte outside of strings; prev is the last one that was no blank. */
static int
punctuation(struct layout *l, struct str s, size_t i, char prev)
{
	char c = s.p[i], next;
	int rc;

	switch (c) {
	case '{':
	case '[':
		next = peek(s, i + 1);
		return bracket_open(l, c, next == '}' || next == ']');
	case '}':
	case ']':
		return bracket_close(l, c, prev == '{' || prev == '[');
	case ',':
		rc = buf_addc(l->out, ',');
		return rc == 0 ? newline(l) : rc;
	case ':':
		rc = buf_addc(l->out, ':');
		return rc == 0 && l->indent != NULL ? buf_addc(l->out, ' ') : rc;
	default:
		return buf_addc(l->out, (uint8_t)c);
	}
}

int
value_reindent(struct str json, const char *indent, struct buf *out)
{
	struct layout l = { .indent = indent, .out = out };
	char prev = '\0';
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json.len; i++) {
		if (is_blank(json.p[i]))
			continue;
		if (json.p[i] == '"') {
			size_t len = string_len(json, i);

			if (len == 0)
				return -EDECODE;
			rc = buf_add(out, json.p + i, len);
			i += len - 1;
		} else {
			rc = punctuation(&l, json, i, prev);
		}
		prev = json.p[i];
	}
	return rc == 0 && l.depth > 0 ? -EDECODE : rc;
}
