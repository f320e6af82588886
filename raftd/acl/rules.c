/* rules.c - the rules of a policy: from the tree of an HCL or JSON text to an array, in two passes, the first of which counts. */
#include "raftd/acl/rules.h"

#include <assert.h>
#include <json-c/json_object.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/hcl.h"
#include "raftd/acl/tree.h"

static const char *const resources[ACL_RESOURCES] = {
	"acl", "agent", "event", "intention", "key", "keyring", "mesh", "node", "operator", "peering", "query", "service", "session",
};
static const char *const accesses[] = { NULL, "read", "list", "write", "deny" };

const char *
acl_resource_name(enum acl_resource r)
{
	return (unsigned)r < ACL_RESOURCES ? resources[r] : NULL;
}

const char *
acl_access_name(enum acl_access a)
{
	return (unsigned)a < ARRAY_LEN(accesses) ? accesses[a] : NULL;
}

enum acl_resource
acl_resource_parse(struct str s)
{
	for (size_t i = 0; i < ACL_RESOURCES; i++)
		if (str_eqs(s, resources[i]))
			return (enum acl_resource)i;
	return ACL_RESOURCES;
}

enum acl_access
acl_access_parse(struct str s)
{
	for (size_t i = 1; i < ARRAY_LEN(accesses); i++)
		if (str_eqs(s, accesses[i]))
			return (enum acl_access)i;
	return ACL_NONE;
}

bool
acl_resource_is_scalar(enum acl_resource r)
{
	return r == ACL_ACL || r == ACL_KEYRING || r == ACL_MESH || r == ACL_OPERATOR || r == ACL_PEERING;
}

struct pass {
	unsigned syntax;		/* enum acl_syntax */
	struct acl_rules *out;	/* NULL: count */
	char *bytes;		/* where the next segment goes */
	size_t n, bytes_n;
	char *err;
};

struct block {
	const char *key;	/* as written: "key_prefix" */
	enum acl_resource resource;
	bool prefix;
};

static int PRINTF(3, 4)
refuse(char *err, struct json_object *at, const char *fmt, ...)
{
	unsigned line = hcl_pos(at).line;
	char text[ACL_ERROR_MAX - 32];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (line > 0)
		(void)snprintf(err, ACL_ERROR_MAX, "%s (line %u)", text, line);
	else
		(void)snprintf(err, ACL_ERROR_MAX, "%s", text);
	return -EINVAL;
}

static void
emit(struct pass *p, enum acl_resource resource, bool prefix, enum acl_access access, struct str segment)
{
	if (p->out != NULL) {
		if (segment.len > 0)
			memcpy(p->bytes, segment.p, segment.len);
		p->out->v[p->n] = (struct acl_rule){ resource, prefix, access, { p->bytes, segment.len } };
		p->bytes += segment.len;
	}
	p->n++;
	p->bytes_n += segment.len;
}

/* The text of a value; "" for what is none. */
static struct str
text_of(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_string))
		return STR("");
	return (struct str){ json_object_get_string(v), (size_t)json_object_get_string_len(v) };
}

static int
refuse_scalar(struct pass *p, const char *key, struct json_object *v)
{
	if (!json_object_is_type(v, json_type_string))
		return refuse(p->err, v, "Failed to parse ACL rules: %s needs one of \"read\", \"write\" and \"deny\"", key);
	/* Who matches on Consul's answer finds it literally. */
	(void)snprintf(p->err, ACL_ERROR_MAX, "Invalid %s policy: \"%.64s\"", key, json_object_get_string(v));
	return -EINVAL;
}

/* operator = "read"; an empty text is no rule. */
static int
read_scalar(struct pass *p, const struct block *b, struct json_object *v)
{
	struct str s = text_of(v);
	enum acl_access access = acl_access_parse(s);

	if (json_object_is_type(v, json_type_string) && s.len == 0)
		return 0;
	if (access == ACL_NONE || access == ACL_LIST)
		return refuse_scalar(p, b->key, v);
	emit(p, b->resource, false, access, STR(""));
	return 0;
}

static int
refuse_access(struct pass *p, const struct block *b, const char *what, struct str name, struct json_object *v, struct json_object *at)
{
	const char *also = b->resource == ACL_KEY ? "list, " : "";

	if (v == NULL)
		return refuse(p->err, at, "Invalid %s%s policy: \"%.*s\" has none: read, %swrite or deny", b->key, what,
		    name.len < 128 ? (int)name.len : 128, name.p, also);
	if (!json_object_is_type(v, json_type_string))
		return refuse(p->err, v, "Invalid %s%s policy: that of \"%.*s\" is no text: read, %swrite or deny", b->key, what,
		    name.len < 128 ? (int)name.len : 128, name.p, also);
	return refuse(p->err, v, "Invalid %s%s policy: \"%.*s\" has \"%.64s\" instead of read, %swrite or deny", b->key, what,
	    name.len < 128 ? (int)name.len : 128, name.p, json_object_get_string(v), also);
}

struct body {
	struct json_object *policy, *intentions;
};

/* What stands between the braces of one name. */
static int
read_members(struct pass *p, const struct block *b, struct json_object *v, struct body *ret)
{
	*ret = (struct body){ NULL, NULL };
	json_object_object_foreach(v, key, child) {
		struct str k = str_from(key);

		if (str_eq_nocase(k, STR("policy")))
			ret->policy = child;
		else if (str_eq_nocase(k, STR("intentions")) && b->resource == ACL_SERVICE)
			ret->intentions = child;
		else if (str_eq_nocase(k, STR("sentinel")))
			return refuse(p->err, child, "Failed to parse ACL rules: Sentinel code in %s is not supported", b->key);
		else if ((p->syntax & ACL_SYNTAX_STORED) == 0)
			return refuse(p->err, child, "Failed to parse ACL rules: unknown key \"%.64s\" in %s", key, b->key);
	}
	return 0;
}

/* policy = "write", and a service's intentions. A list is several blocks of the same name. */
static int
read_body(struct pass *p, const struct block *b, struct str name, struct json_object *v, bool listed)
{
	enum acl_access access;
	struct body body;
	int rc;

	if (json_object_is_type(v, json_type_array) && !listed) {
		for (size_t i = 0; i < json_object_array_length(v); i++) {
			rc = read_body(p, b, name, json_object_array_get_idx(v, i), true);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (!json_object_is_type(v, json_type_object))
		return refuse(p->err, v, "Failed to parse ACL rules: %s needs a name and a block: %s \"%.*s\" { policy = \"read\" }", b->key,
		    b->key, name.len < 128 ? (int)name.len : 128, name.p);
	rc = read_members(p, b, v, &body);
	if (rc < 0)
		return rc;
	access = acl_access_parse(text_of(body.policy));
	if (access == ACL_NONE || (access == ACL_LIST && b->resource != ACL_KEY))
		return refuse_access(p, b, "", name, body.policy, v);
	emit(p, b->resource, b->prefix, access, name);
	if (body.intentions == NULL || (json_object_is_type(body.intentions, json_type_string) && text_of(body.intentions).len == 0))
		return 0;
	access = acl_access_parse(text_of(body.intentions));
	if (access == ACL_NONE || access == ACL_LIST)
		return refuse_access(p, b, " intentions", name, body.intentions, v);
	emit(p, ACL_INTENTION, b->prefix, access, name);
	return 0;
}

/* key "a" { } key "b" { }: an object of names, or a list of such. */
static int
read_names(struct pass *p, const struct block *b, struct json_object *v, bool listed)
{
	int rc;

	if (json_object_is_type(v, json_type_array) && !listed) {
		for (size_t i = 0; i < json_object_array_length(v); i++) {
			rc = read_names(p, b, json_object_array_get_idx(v, i), true);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (!json_object_is_type(v, json_type_object))
		return refuse(p->err, v, "Failed to parse ACL rules: %s needs a name and a block: %s \"name\" { policy = \"read\" }", b->key, b->key);
	json_object_object_foreach(v, name, body) {
		rc = read_body(p, b, str_from(name), body, false);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* "key_prefix" is prefixes of keys. -EINVAL for what is no resource with rules of its own. */
static int
read_key(const char *key, unsigned syntax, struct block *ret)
{
	static const char suffix[] = "_prefix";
	struct str s = str_from(key);
	bool prefix = s.len >= sizeof(suffix) && str_eq_nocase((struct str){ s.p + s.len - (sizeof(suffix) - 1), sizeof(suffix) - 1 }, STR(suffix));

	if (prefix)
		s.len -= sizeof(suffix) - 1;
	for (size_t i = 0; i < ACL_RESOURCES; i++) {
		bool scalar = acl_resource_is_scalar((enum acl_resource)i);

		if (i == ACL_INTENTION || (prefix && scalar) || !str_eq_nocase(s, str_from(resources[i])))
			continue;
		*ret = (struct block){ key, (enum acl_resource)i, prefix || ((syntax & ACL_SYNTAX_LEGACY) != 0 && !scalar) };
		return 0;
	}
	return -EINVAL;
}

static int
read_tree(struct pass *p, struct json_object *tree)
{
	struct block b;
	int rc;

	json_object_object_foreach(tree, key, v) {
		if (str_eq_nocase(str_from(key), STR("sentinel")))
			return refuse(p->err, v, "Failed to parse ACL rules: Sentinel code is not supported");
		rc = read_key(key, p->syntax, &b);
		if (rc < 0 && (p->syntax & ACL_SYNTAX_STORED) != 0)
			continue;
		if (rc < 0)
			return refuse(p->err, v, "Failed to parse ACL rules: unknown key \"%.64s\"", key);
		rc = acl_resource_is_scalar(b.resource) ? read_scalar(p, &b, v) : read_names(p, &b, v, false);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
acl_rules_of_tree(struct json_object *tree, unsigned syntax, struct acl_rules **ret, char ret_err[ACL_ERROR_MAX])
{
	struct pass p = { .syntax = syntax, .err = ret_err };
	struct pass count;
	struct acl_rules *rules;
	int rc = read_tree(&p, tree);

	if (rc < 0)
		return rc;
	count = p;
	rules = malloc(sizeof(*rules) + count.n * sizeof(*rules->v) + count.bytes_n + 1);
	if (rules == NULL)
		return -ENOMEM;
	rules->v = (struct acl_rule *)(rules + 1);
	rules->n = count.n;
	p = (struct pass){ .syntax = syntax, .err = ret_err, .out = rules, .bytes = (char *)(rules->v + count.n) };
	rc = read_tree(&p, tree);
	/* The same tree was counted. */
	assert(rc == 0 && p.n == count.n && p.bytes_n == count.bytes_n);
	*ret = rules;
	return 0;
}

int
acl_rules_parse(struct str text, unsigned syntax, struct acl_rules **ret, char ret_err[ACL_ERROR_MAX])
{
	struct json_object *tree;
	int rc = acl_tree_parse(text, &tree, ret_err);

	if (rc < 0)
		return rc;
	rc = acl_rules_of_tree(tree, syntax, ret, ret_err);
	json_object_put(tree);
	return rc;
}
