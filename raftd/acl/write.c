/* write.c - rules written as text: those of identities, and old ones in today's words. */
#include <stdlib.h>

#include "raftd/acl/tree.h"

/* A name as an HCL string: what would end it, or begin an interpolation, is escaped. */
static int
add_quoted(struct buf *out, struct str s)
{
	int rc = buf_addc(out, '"');

	for (size_t i = 0; rc == 0 && i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || (c == '$' && i + 1 < s.len && s.p[i + 1] == '{'))
			rc = buf_addf(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			rc = buf_addf(out, "\\%c", c);
		else
			rc = buf_addc(out, c);
	}
	return rc < 0 ? rc : buf_addc(out, '"');
}

static int
separate(struct buf *out, bool *first)
{
	if (!*first)
		return buf_adds(out, "\n\n");
	*first = false;
	return 0;
}

/* One block; intentions ACL_NONE: no word of them. */
static int
add_block(struct buf *out, const struct acl_rule *r, struct str name, enum acl_access intentions)
{
	int rc = buf_addf(out, "%s%s ", acl_resource_name(r->resource), r->prefix ? "_prefix" : "");

	if (rc == 0)
		rc = add_quoted(out, name);
	if (rc < 0)
		return rc;
	if (intentions == ACL_NONE)
		return buf_addf(out, " {\n  policy = \"%s\"\n}", acl_access_name(r->access));
	return buf_addf(out, " {\n  policy     = \"%s\"\n  intentions = \"%s\"\n}", acl_access_name(r->access), acl_access_name(intentions));
}

static int
add_rules(struct buf *out, const struct acl_rules *rules)
{
	bool first = true;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < rules->n; i++) {
		const struct acl_rule *r = &rules->v[i], *next = i + 1 < rules->n ? r + 1 : NULL;
		/* That of a service's intentions stands right behind it. */
		bool pair = r->resource == ACL_SERVICE && next != NULL && next->resource == ACL_INTENTION;

		rc = separate(out, &first);
		if (rc < 0)
			break;
		if (acl_resource_is_scalar(r->resource))
			rc = buf_addf(out, "%s = \"%s\"", acl_resource_name(r->resource), acl_access_name(r->access));
		else
			rc = add_block(out, r, r->segment, pair ? next->access : ACL_NONE);
		i += pair;
	}
	return rc;
}

int
acl_rules_translate(struct str text, struct buf *out, char ret_err[ACL_ERROR_MAX])
{
	struct acl_rules *rules;
	size_t before = out->len;
	int rc = acl_rules_parse(text, ACL_SYNTAX_LEGACY, &rules, ret_err);

	if (rc < 0)
		return rc;
	rc = add_rules(out, rules);
	if (rc < 0)
		out->len = before;
	free(rules);
	return rc;
}

struct line {
	enum acl_resource resource;
	bool prefix;
	enum acl_access access;
	const char *suffix;	/* behind the identity's name; NULL: "" instead of it */
};

static int
add_identity(struct buf *out, struct str name, const struct line *v, size_t n)
{
	struct buf full = BUF_INIT(64 * KiB);
	size_t before = out->len;
	bool first = true;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct acl_rule r = { v[i].resource, v[i].prefix, v[i].access, STR("") };

		buf_clear(&full);
		if (v[i].suffix != NULL)
			rc = buf_add(&full, name.p, name.len);
		if (rc == 0 && v[i].suffix != NULL)
			rc = buf_adds(&full, v[i].suffix);
		if (rc == 0)
			rc = separate(out, &first);
		if (rc == 0)
			rc = add_block(out, &r, (struct str){ (const char *)full.data, full.len }, ACL_NONE);
	}
	buf_release(&full);
	if (rc < 0)
		out->len = before;
	return rc;
}

int
acl_rules_of_service(struct str service, struct buf *out)
{
	static const struct line lines[] = {
		{ ACL_SERVICE, false, ACL_WRITE, "" },
		{ ACL_SERVICE, false, ACL_WRITE, "-sidecar-proxy" },
		{ ACL_SERVICE, true, ACL_READ, NULL },
		{ ACL_NODE, true, ACL_READ, NULL },
	};

	return add_identity(out, service, lines, ARRAY_LEN(lines));
}

int
acl_rules_of_node(struct str node, struct buf *out)
{
	static const struct line lines[] = {
		{ ACL_NODE, false, ACL_WRITE, "" },
		{ ACL_SERVICE, true, ACL_READ, NULL },
	};

	return add_identity(out, node, lines, ARRAY_LEN(lines));
}
