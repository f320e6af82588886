/* hcl.c - the HCL parser: one pass, recursive descent within HCL_DEPTH_MAX. */
#include "lib/hcl.h"

#include <json-c/linkhash.h>
#include <stdlib.h>

#include "lib/hcl_text.h"

static int parse_value(struct hcl_reader *h, struct json_object **ret);

static bool
is_ident_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool
is_ident(char c)
{
	return is_ident_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* A name or a string, NUL-terminated in h->scratch. */
static int
parse_key(struct hcl_reader *h, const char **ret)
{
	const char *start = h->p;

	if (++h->tokens > HCL_TOKENS_MAX)
		return hcl_fail(h, "more than %d keys and values", HCL_TOKENS_MAX);
	buf_clear(&h->scratch);
	if (hcl_peek(h) == '"') {
		int rc = hcl_read_string(h);

		if (rc < 0)
			return rc;
	} else if (h->p < h->end && is_ident_start(*h->p)) {
		while (h->p < h->end && is_ident(*h->p))
			h->p++;
		if (buf_add(&h->scratch, start, (size_t)(h->p - start)) < 0)
			return -ENOMEM;
	} else {
		return hcl_fail_at_char(h, "a key");
	}
	*ret = buf_cstr(&h->scratch);
	return *ret != NULL ? 0 : -ENOMEM;
}

/* Store value (ours to give away or to put) under key; a second object of one name makes a list. */
static int
add_member(struct json_object *obj, const char *key, struct json_object *value)
{
	struct json_object *old = NULL, *list;

	if (json_object_is_type(value, json_type_object) && json_object_object_get_ex(obj, key, &old)) {
		if (json_object_is_type(old, json_type_object)) {
			list = json_object_new_array();
			if (list == NULL)
				goto fail;
			hcl_pos_set(list, hcl_pos(old));
			if (json_object_array_add(list, json_object_get(old)) < 0 ||
			    json_object_object_add(obj, key, list) < 0) {
				json_object_put(list);
				goto fail;
			}
			old = list;
		}
		if (json_object_is_type(old, json_type_array)) {
			if (json_object_array_add(old, value) < 0)
				goto fail;
			return 0;
		}
	}
	if (json_object_object_add(obj, key, value) == 0)
		return 0;
fail:
	json_object_put(value);
	return -ENOMEM;
}

struct labels {
	char *v[HCL_DEPTH_MAX];
	size_t n;
};

static void
labels_release(struct labels *l)
{
	while (l->n > 0)
		free(l->v[--l->n]);
}

/* The keys in front of '=' or '{': one, or one and labels. */
static int
parse_labels(struct hcl_reader *h, struct labels *l)
{
	const char *key = NULL;
	int rc;

	for (;;) {
		rc = parse_key(h, &key);
		if (rc < 0)
			return rc;
		if (l->n + h->depth >= HCL_DEPTH_MAX)
			return hcl_fail(h, "nested deeper than %d", HCL_DEPTH_MAX);
		l->v[l->n] = strdup(key);
		if (l->v[l->n] == NULL)
			return -ENOMEM;
		l->n++;
		rc = hcl_skip_blank(h);
		if (rc < 0)
			return rc;
		if (hcl_peek(h) == '{')
			return 0;
		if (hcl_peek(h) == '=') {
			if (l->n > 1)
				return hcl_fail(h, "labels need an object, not '='");
			h->p++;
			return hcl_skip_blank(h);
		}
		if (hcl_peek(h) != '"' && (h->p >= h->end || !is_ident_start(*h->p)))
			return hcl_fail_at_char(h, "'=' or '{'");
	}
}

/* Wrap *value into one object for each label behind the key. */
static int
wrap_labels(const struct labels *l, struct hcl_pos pos, struct json_object **value)
{
	for (size_t i = l->n; i > 1; i--) {
		struct json_object *outer = json_object_new_object();

		if (outer == NULL)
			return -ENOMEM;
		hcl_pos_set(outer, pos);
		if (json_object_object_add(outer, l->v[i - 1], *value) < 0) {
			json_object_put(outer);
			return -ENOMEM;
		}
		*value = outer;
	}
	return 0;
}

/* key = value, key { }, key "label" { } */
static int
parse_item(struct hcl_reader *h, struct json_object *obj)
{
	struct labels l = { .n = 0 };
	struct json_object *value = NULL;
	struct hcl_pos pos = { h->source, h->line };
	unsigned wrapped;
	int rc;

	rc = parse_labels(h, &l);
	if (rc < 0)
		goto out;
	wrapped = (unsigned)l.n - 1;
	h->depth += wrapped;
	rc = parse_value(h, &value);
	h->depth -= wrapped;
	if (rc < 0)
		goto out;
	hcl_pos_set(value, pos);
	rc = wrap_labels(&l, pos, &value);
	if (rc < 0)
		goto out;
	rc = add_member(obj, l.v[0], value);
	value = NULL;
out:
	json_object_put(value);
	labels_release(&l);
	return rc;
}

/* The members of an object up to its '}', or of the whole text. */
static int
parse_items(struct hcl_reader *h, struct json_object *obj, bool whole)
{
	int rc;

	for (;;) {
		rc = hcl_skip_blank(h);
		if (rc < 0)
			return rc;
		if (h->p == h->end)
			return whole ? 0 : hcl_fail(h, "an object is not closed: '}' is missing");
		if (*h->p == '}') {
			if (whole)
				return hcl_fail(h, "'}' closes nothing");
			h->p++;
			return 0;
		}
		rc = parse_item(h, obj);
		if (rc == 0)
			rc = hcl_skip_blank(h);
		if (rc < 0)
			return rc;
		if (!whole && hcl_peek(h) == ',')
			h->p++;
	}
}

static int
parse_object(struct hcl_reader *h, struct json_object **ret)
{
	struct json_object *obj = json_object_new_object();
	int rc;

	if (obj == NULL)
		return -ENOMEM;
	h->p++;
	rc = parse_items(h, obj, false);
	if (rc < 0) {
		json_object_put(obj);
		return rc;
	}
	*ret = obj;
	return 0;
}

/* One element and its comma; 1 when the list has ended. */
static int
parse_element(struct hcl_reader *h, struct json_object *list)
{
	struct json_object *v = NULL;
	int rc = hcl_skip_blank(h);

	if (rc < 0)
		return rc;
	if (hcl_peek(h) == ']') {
		h->p++;
		return 1;
	}
	rc = parse_value(h, &v);
	if (rc < 0)
		return rc;
	if (json_object_array_add(list, v) < 0) {
		json_object_put(v);
		return -ENOMEM;
	}
	rc = hcl_skip_blank(h);
	if (rc < 0)
		return rc;
	if (hcl_peek(h) == ',') {
		h->p++;
		return 0;
	}
	return hcl_peek(h) == ']' ? 0 : hcl_fail_at_char(h, "',' or ']'");
}

static int
parse_list(struct hcl_reader *h, struct json_object **ret)
{
	struct json_object *list = json_object_new_array();
	int rc = 0;

	if (list == NULL)
		return -ENOMEM;
	h->p++;
	while (rc == 0)
		rc = parse_element(h, list);
	if (rc < 0) {
		json_object_put(list);
		return rc;
	}
	*ret = list;
	return 0;
}

/* What stands without quotes: a boolean or a number. */
static int
parse_word(struct hcl_reader *h, struct json_object **ret)
{
	const char *start = h->p;
	struct str word;
	int rc;

	while (h->p < h->end && (is_ident(*h->p) || *h->p == '+'))
		h->p++;
	word = (struct str){ start, (size_t)(h->p - start) };
	if (word.len == 0)
		return hcl_fail_at_char(h, "a value");
	if (str_eqs(word, "true") || str_eqs(word, "false")) {
		*ret = json_object_new_boolean(word.len == 4);
		return *ret != NULL ? 0 : -ENOMEM;
	}
	rc = hcl_number(word, ret);
	if (rc == -EINVAL) {
		h->p = start;
		return hcl_fail(h, "'%.*s' is no value: strings need quotes", word.len < 40 ? (int)word.len : 40, start);
	}
	return rc == -ERANGE ? hcl_fail(h, "number '%.*s' is out of range", word.len < 40 ? (int)word.len : 40, start) : rc;
}

static int
parse_text(struct hcl_reader *h, struct json_object **ret)
{
	int rc;

	buf_clear(&h->scratch);
	rc = *h->p == '"' ? hcl_read_string(h) : hcl_read_heredoc(h);
	if (rc < 0)
		return rc;
	*ret = json_object_new_string_len(h->scratch.data != NULL ? (const char *)h->scratch.data : "", (int)h->scratch.len);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
parse_value(struct hcl_reader *h, struct json_object **ret)
{
	struct hcl_pos pos = { h->source, h->line };
	char c = hcl_peek(h);
	int rc;

	if (++h->tokens > HCL_TOKENS_MAX)
		return hcl_fail(h, "more than %d keys and values", HCL_TOKENS_MAX);
	if (h->depth >= HCL_DEPTH_MAX)
		return hcl_fail(h, "nested deeper than %d", HCL_DEPTH_MAX);
	h->depth++;
	if (c == '{')
		rc = parse_object(h, ret);
	else if (c == '[')
		rc = parse_list(h, ret);
	else if (c == '"' || c == '<')
		rc = parse_text(h, ret);
	else
		rc = parse_word(h, ret);
	h->depth--;
	if (rc == 0)
		hcl_pos_set(*ret, pos);
	return rc;
}

int
hcl_parse(struct str text, unsigned source, struct json_object **ret, struct hcl_error *ret_err)
{
	struct hcl_reader h = {
		.p = text.p, .end = text.p + text.len, .line_start = text.p, .line = 1,
		.source = source, .err = ret_err, .scratch = BUF_INIT(HCL_SIZE_MAX + 1),
	};
	struct json_object *root;
	int rc;

	*ret_err = (struct hcl_error){ 0 };
	if (text.len == 0)
		h.p = h.end = h.line_start = "";
	if (text.len > HCL_SIZE_MAX)
		return hcl_fail(&h, "more than %d MiB", HCL_SIZE_MAX >> 20);
	rc = hcl_check_text(text, ret_err);
	if (rc < 0)
		return rc;
	root = json_object_new_object();
	if (root == NULL)
		return -ENOMEM;
	hcl_pos_set(root, (struct hcl_pos){ source, 1 });
	rc = parse_items(&h, root, true);
	buf_release(&h.scratch);
	if (rc < 0) {
		json_object_put(root);
		return rc;
	}
	*ret = root;
	return 0;
}

struct hcl_pos
hcl_pos(struct json_object *v)
{
	uintptr_t u = v != NULL ? (uintptr_t)json_object_get_userdata(v) : 0;

	return (struct hcl_pos){ (unsigned)(u >> 18) & HCL_SOURCE_MAX, (unsigned)(u & HCL_LINE_MAX) };
}

void
hcl_pos_set(struct json_object *v, struct hcl_pos pos)
{
	uintptr_t line = pos.line < HCL_LINE_MAX ? pos.line : HCL_LINE_MAX;
	uintptr_t source = pos.source <= HCL_SOURCE_MAX ? pos.source : 0;

	if (v != NULL)
		json_object_set_userdata(v, (void *)(source << 18 | line), NULL);
}

void
hcl_pos_clear(struct json_object *tree)
{
	if (tree == NULL)
		return;
	json_object_set_userdata(tree, NULL, NULL);
	if (json_object_is_type(tree, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(tree); i++)
			hcl_pos_clear(json_object_array_get_idx(tree, i));
	} else if (json_object_is_type(tree, json_type_object)) {
		json_object_object_foreach(tree, key, v) {
			(void)key;
			hcl_pos_clear(v);
		}
	}
}
