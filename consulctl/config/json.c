/*
 * json.c - JSON sources: parsed by json-c, then walked a second time
 * for the lines.
 *
 * The walk follows the text with the tree at its side. It trusts the text,
 * which json-c has accepted; where both differ (a repeated name, one with
 * escapes), values get no position of their own, and messages none.
 */
#include <json-c/json_tokener.h>
#include <stdio.h>
#include <stdlib.h>

#include "consulctl/config/build.h"

struct walker {
	const char *p, *end;
	unsigned line, source;
	unsigned nul_line;	/* of a name with an escaped NUL, which json-c cuts off there; 0: none */
};

static void walk_value(struct walker *w, struct json_object *v, unsigned depth);

static void
walk_blank(struct walker *w)
{
	for (; w->p < w->end && strchr(" \t\r\n,:", *w->p) != NULL && *w->p != 0; w->p++)
		if (*w->p == '\n')
			w->line++;
}

/* The bytes between the quotes. */
static struct str
walk_string(struct walker *w)
{
	struct str s = { ++w->p, 0 };

	while (w->p < w->end && *w->p != '"') {
		if (*w->p == '\n')
			w->line++;
		w->p += *w->p == '\\' && w->end - w->p > 1 ? 2 : 1;
	}
	s.len = (size_t)(w->p - s.p);
	if (w->p < w->end)
		w->p++;
	return s;
}

static bool
has_nul(struct str s)
{
	for (size_t i = 0; i + 1 < s.len; i++) {
		if (s.p[i] != '\\')
			continue;
		if (str_has_prefix((struct str){ s.p + i, s.len - i }, STR("\\u0000")))
			return true;
		i++;
	}
	return false;
}

static struct json_object *
member(struct json_object *obj, struct str name)
{
	struct json_object *v = NULL;
	char *key;

	if (!json_object_is_type(obj, json_type_object) || memchr(name.p, '\\', name.len) != NULL)
		return NULL;
	key = strndup(name.p, name.len);
	if (key != NULL)
		(void)json_object_object_get_ex(obj, key, &v);
	free(key);
	return v;
}

static void
walk_object(struct walker *w, struct json_object *obj, unsigned depth)
{
	w->p++;
	for (walk_blank(w); w->p < w->end && *w->p == '"'; walk_blank(w)) {
		struct hcl_pos pos = { w->source, w->line };
		struct str name = walk_string(w);
		struct json_object *v = member(obj, name);

		if (has_nul(name))
			w->nul_line = pos.line;
		walk_blank(w);
		walk_value(w, v, depth + 1);
		hcl_pos_set(v, pos);
	}
	if (w->p < w->end)
		w->p++;
}

static void
walk_array(struct walker *w, struct json_object *list, unsigned depth)
{
	bool is_list = json_object_is_type(list, json_type_array);
	size_t n = is_list ? json_object_array_length(list) : 0;

	w->p++;
	walk_blank(w);
	for (size_t i = 0; w->p < w->end && *w->p != ']'; i++) {
		walk_value(w, i < n ? json_object_array_get_idx(list, i) : NULL, depth + 1);
		walk_blank(w);
	}
	if (w->p < w->end)
		w->p++;
}

/* Always moves on. */
static void
walk_value(struct walker *w, struct json_object *v, unsigned depth)
{
	if (w->p >= w->end)
		return;
	if (depth > HCL_DEPTH_MAX) {
		w->p = w->end;
		return;
	}
	hcl_pos_set(v, (struct hcl_pos){ w->source, w->line });
	if (*w->p == '{') {
		walk_object(w, v, depth);
	} else if (*w->p == '[') {
		walk_array(w, v, depth);
	} else if (*w->p == '"') {
		(void)walk_string(w);
	} else {
		for (w->p++; w->p < w->end && strchr(" \t\r\n,]}", *w->p) == NULL; )
			w->p++;
	}
}

static void
place(struct str text, size_t offset, struct hcl_error *e)
{
	e->line = e->column = 1;
	for (size_t i = 0; i < offset && i < text.len; i++) {
		e->column++;
		if (text.p[i] == '\n') {
			e->line++;
			e->column = 1;
		}
	}
}

/* Where json-c stopped, and why. */
static int
judge(struct json_tokener *t, struct str text, struct json_object *j, struct hcl_error *ret_err)
{
	enum json_tokener_error e = json_tokener_get_error(t);
	size_t at = json_tokener_get_parse_end(t);

	if (e == json_tokener_success) {
		while (at < text.len && strchr(" \t\r\n", text.p[at]) != NULL)
			at++;
		if (at == text.len && json_object_is_type(j, json_type_object))
			return 0;
		place(text, at, ret_err);
		(void)snprintf(ret_err->text, sizeof(ret_err->text), "%s",
		    at < text.len ? "characters behind the end of the JSON value" : "the JSON value is no object");
		return -EINVAL;
	}
	place(text, at, ret_err);
	(void)snprintf(ret_err->text, sizeof(ret_err->text), "%s",
	    e == json_tokener_continue ? "unexpected end of the JSON text" : json_tokener_error_desc(e));
	return -EINVAL;
}

int
config_json_parse(struct str text, unsigned source, struct json_object **ret, struct hcl_error *ret_err)
{
	struct walker w = { text.p, text.p + text.len, 1, source, 0 };
	struct json_tokener *t;
	struct json_object *j;
	int rc;

	*ret_err = (struct hcl_error){ 0 };
	if (text.len > HCL_SIZE_MAX) {
		(void)snprintf(ret_err->text, sizeof(ret_err->text), "more than %d MiB", HCL_SIZE_MAX >> 20);
		return -EINVAL;
	}
	rc = hcl_check_text(text, ret_err);
	if (rc < 0)
		return rc;
	t = json_tokener_new_ex(HCL_DEPTH_MAX);
	if (t == NULL)
		return -ENOMEM;
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	j = json_tokener_parse_ex(t, text.len > 0 ? text.p : "", (int)text.len);
	rc = judge(t, text, j, ret_err);
	json_tokener_free(t);
	if (rc < 0) {
		json_object_put(j);
		return rc;
	}
	walk_blank(&w);
	walk_value(&w, j, 0);
	if (w.nul_line > 0) {
		json_object_put(j);
		ret_err->line = w.nul_line;
		ret_err->column = 1;
		(void)snprintf(ret_err->text, sizeof(ret_err->text), "a key holds a NUL byte");
		return -EINVAL;
	}
	*ret = j;
	return 0;
}
