/* acl_compile.c - identities into authorizers: the rules of all policies of a token, parsed and merged. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raftd/acl.h"

#define SUB "agent.acl"

void
acl_rights_release(struct acl_rights *x)
{
	authz_unref(x->authz);
	sodium_memzero(x, sizeof(*x));
}

bool
acl_rights_expired(const struct acl_rights *x)
{
	struct timespec now;

	if (x->expires == 0)
		return false;
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return true;
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec >= x->expires;
}

static enum acl_access
access_of_default(struct str policy)
{
	return str_eqs(policy, "allow") ? ACL_WRITE : ACL_DENY;
}

/* Every policy of the identity; those that were parsed so far on failure, too. *ret_bad: one that is none. */
static int
parse_all(const struct acl_identity *id, struct acl_rules **sets, size_t *ret_n, const struct acl_identity_policy **ret_bad)
{
	const struct acl_identity_policy *p = id->policies.v;
	char why[ACL_ERROR_MAX];
	int rc = 0;

	*ret_bad = NULL;
	for (*ret_n = 0; rc == 0 && *ret_n < id->policies.n; (*ret_n)++) {
		rc = acl_rules_parse(p[*ret_n].rules, (p[*ret_n].syntax == ACL_SYNTAX_LEGACY ? ACL_SYNTAX_LEGACY : ACL_SYNTAX_CURRENT) | ACL_SYNTAX_STORED,
		    &sets[*ret_n], why);
		if (rc < 0)
			*ret_bad = &p[*ret_n];
		if (rc < 0)
			break;
	}
	return rc;
}

static int
compile(const struct acl_identity *id, bool key_list, struct authz **ret)
{
	struct authz_config c = { .default_access = access_of_default(id->default_policy), .key_list = key_list,
		.management = id->management };
	struct acl_rules **sets = calloc(id->policies.n + 1, sizeof(struct acl_rules *));
	const struct acl_identity_policy *bad = NULL;
	size_t n = 0;
	int rc = sets != NULL ? 0 : -ENOMEM;

	if (rc == 0 && !id->management)
		rc = parse_all(id, sets, &n, &bad);
	if (rc == -EINVAL) {
		/* Without rules that may have denied something nothing is allowed. */
		log_err(SUB, "a policy's rules cannot be read, and its tokens may do nothing: policy=%.*s accessor=%.*s",
		    STR_ARG(bad->id), STR_ARG(id->accessor_id));
		c.default_access = ACL_DENY;
		rc = authz_new(NULL, 0, &c, ret);
	} else if (rc == 0) {
		rc = authz_new((const struct acl_rules *const *)sets, n, &c, ret);
	}
	for (size_t i = 0; sets != NULL && i < n; i++)
		free(sets[i]);
	free((void *)sets);
	return rc;
}

int
acl_compile(struct acl_rights *x, const struct acl_identity *id, bool key_list,
    const struct acl_rights *(*like)(void *ctx, const unsigned char *fingerprint), void *ctx, bool *ret_changed)
{
	unsigned char fingerprint[ACL_FINGERPRINT] = { 0 };
	const struct acl_rights *same = NULL;
	struct authz *authz = NULL;
	int rc = 0;

	if (id->fingerprint.len > 0)
		memcpy(fingerprint, id->fingerprint.p, id->fingerprint.len < sizeof(fingerprint) ? id->fingerprint.len : sizeof(fingerprint));
	*ret_changed = x->authz == NULL || id->fingerprint.len == 0 || x->default_access != access_of_default(id->default_policy) ||
	    memcmp(x->fingerprint, fingerprint, sizeof(fingerprint)) != 0;
	if (*ret_changed) {
		if (like != NULL && id->fingerprint.len > 0)
			same = like(ctx, fingerprint);
		if (same != NULL)
			authz = authz_ref(same->authz);
		else
			rc = compile(id, key_list, &authz);
		if (rc < 0)
			return rc;
		authz_unref(x->authz);
		x->authz = authz;
		memcpy(x->fingerprint, fingerprint, sizeof(fingerprint));
		x->default_access = access_of_default(id->default_policy);
	}
	x->accessor_len = id->accessor_id.len < sizeof(x->accessor) ? id->accessor_id.len : sizeof(x->accessor) - 1;
	if (x->accessor_len > 0)
		memcpy(x->accessor, id->accessor_id.p, x->accessor_len);
	x->expires = id->expires;
	return 0;
}

int
acl_compile_none(struct acl_rights *x, enum acl_access default_access)
{
	const struct authz_config c = { .default_access = default_access };

	return authz_new(NULL, 0, &c, &x->authz);
}

int
acl_compile_recovery(struct acl_rights *x, const char *node)
{
	struct acl_rule v[] = {
		{ .resource = ACL_AGENT, .access = ACL_WRITE, .segment = str_from(node) },
		{ .resource = ACL_NODE, .prefix = true, .access = ACL_READ, .segment = STR("") },
	};
	const struct acl_rules rules = { v, ARRAY_LEN(v) };
	const struct acl_rules *const sets[] = { &rules };
	const struct authz_config c = { .default_access = ACL_DENY };
	static const char name[] = "agent-recovery";

	memcpy(x->accessor, name, sizeof(name));
	x->accessor_len = sizeof(name) - 1;
	return authz_new(sets, 1, &c, &x->authz);
}
