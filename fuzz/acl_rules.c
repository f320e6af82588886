/* acl_rules.c - fuzz target: policies' rules, what they compile to, and their translation. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "raftd/acl/authz.h"

/* Each rule is found again under its own name: it, or a stronger one for the same. */
static void
check_rules(const struct acl_rules *r)
{
	static const struct authz_config config = { .default_access = ACL_DENY, .key_list = true };
	struct authz *a = NULL;

	if (authz_new(&r, 1, &config, &a) < 0)
		return;
	for (size_t i = 0; i < r->n; i++) {
		const struct acl_rule *v = &r->v[i];
		bool may = authz_may(a, v->resource, v->segment, ACL_WRITE);

		if (acl_resource_name(v->resource) == NULL || acl_access_name(v->access) == NULL)
			abort();
		/* Nothing may be written where one of the rules for the same denies. */
		for (size_t k = 0; may && k < r->n && r->n < 100; k++)
			if (r->v[k].access == ACL_DENY && r->v[k].resource == v->resource && !r->v[k].prefix && str_eq(r->v[k].segment, v->segment))
				abort();
		if (may && !authz_may_any(a, v->resource, ACL_WRITE))
			abort();
		if (authz_may_below(a, v->resource, v->segment) && v->access != ACL_WRITE && r->n == 1)
			abort();
	}
	authz_unref(a);
}

static void
check_translation(struct str text, const struct acl_rules *legacy)
{
	struct buf out = BUF_INIT(64 * MiB);
	struct acl_rules *today = NULL;
	char err[ACL_ERROR_MAX];

	if (acl_rules_translate(text, &out, err) < 0)
		abort();
	/* A text that grew beyond the limit by being written neatly cannot be read again. */
	if (out.len <= ACL_RULES_TEXT_MAX) {
		if (acl_rules_parse((struct str){ (char *)out.data, out.len }, ACL_SYNTAX_CURRENT, &today, err) < 0 || today->n != legacy->n)
			abort();
		free(today);
	}
	buf_release(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };

	for (int syntax = ACL_SYNTAX_CURRENT; syntax <= (ACL_SYNTAX_LEGACY | ACL_SYNTAX_STORED); syntax++) {
		struct acl_rules *r = NULL;
		char err[ACL_ERROR_MAX];
		int rc;

		memset(err, 'x', sizeof(err));
		rc = acl_rules_parse(text, (unsigned)syntax, &r, err);
		if (rc == 0) {
			check_rules(r);
			if (syntax == ACL_SYNTAX_LEGACY)
				check_translation(text, r);
			free(r);
		} else if (rc == -EINVAL && memchr(err, 0, sizeof(err)) == NULL) {
			abort();
		}
	}
	return 0;
}
