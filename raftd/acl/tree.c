/* tree.c - the text of rules, HCL or JSON, into a tree. */
#include "raftd/acl/tree.h"

#include <json-c/linkhash.h>
#include <stdio.h>

#include "lib/hcl.h"
#include "lib/json.h"

/* HCL takes a text that begins with a brace for JSON. */
static bool
is_json(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (strchr(" \t\r\n", text.p[i]) == NULL || text.p[i] == 0)
			return text.p[i] == '{';
	return false;
}

/* Names in front of a colon; the text is JSON. */
static size_t
count_names(struct str text)
{
	size_t n = 0;
	bool quoted = false;

	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '"')
			quoted = !quoted;
		else if (quoted && text.p[i] == '\\')
			i++;
		else if (!quoted && text.p[i] == ':')
			n++;
	}
	return n;
}

/* The depth is bounded by the parser. */
static size_t
count_members(struct json_object *v)
{
	size_t n = 0;

	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(v); i++)
			n += count_members(json_object_array_get_idx(v, i));
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, child) {
			(void)key;
			n += 1 + count_members(child);
		}
	}
	return n;
}

static int
parse_json(struct str text, struct json_object **ret, char *err)
{
	char why[ACL_ERROR_MAX / 2];
	bool is_null;
	struct json_object *j = json_parse(text.p, text.len, &is_null, why, sizeof(why));

	if (j == NULL) {
		(void)snprintf(err, ACL_ERROR_MAX, "Failed to parse ACL rules: %s", why);
		return -EINVAL;
	}
	/* json-c keeps the last of two members of one name: a rule that denies must not get lost so. */
	if (count_names(text) != count_members(j)) {
		(void)snprintf(err, ACL_ERROR_MAX, "Failed to parse ACL rules: a name is there twice in one JSON object");
		json_object_put(j);
		return -EINVAL;
	}
	*ret = j;
	return 0;
}

int
acl_tree_parse(struct str text, struct json_object **ret, char ret_err[ACL_ERROR_MAX])
{
	struct hcl_error e = { 0 };
	int rc;

	if (text.len > ACL_RULES_TEXT_MAX) {
		(void)snprintf(ret_err, ACL_ERROR_MAX, "Failed to parse ACL rules: they have more than %d KiB", ACL_RULES_TEXT_MAX >> 10);
		return -EINVAL;
	}
	/* Absent rules are none. */
	if (text.p == NULL)
		text = STR("");
	if (is_json(text))
		return parse_json(text, ret, ret_err);
	rc = hcl_parse(text, 0, ret, &e);
	if (rc == -EINVAL)
		(void)snprintf(ret_err, ACL_ERROR_MAX, "Failed to parse ACL rules: At %u:%u: %s", e.line, e.column, e.text);
	return rc;
}
