/*
 * authz.h - what a token may do: the rules of all its policies, compiled.
 *
 * For a name the exact rule decides, else the longest prefix, else the
 * default policy. Rules of several policies for the same segment are merged:
 * deny, then write, list, read. Decisions cost one search of a sorted array,
 * whatever the number of rules, and allocate nothing.
 *
 * Pure. Immutable and counted by references: one for all requests of a token.
 */
#ifndef RAFTD_ACL_AUTHZ_H
#define RAFTD_ACL_AUTHZ_H

#include "lib/buf.h"
#include "raftd/acl/rules.h"

struct authz;

/*
 * Compile n sets of rules; they are copied. ACL_WRITE as default_access allows, ACL_DENY denies what no
 * rule speaks of; acl needs a rule whatever the default. key_list: acl.enable_key_list_policy, without
 * which list is read. management: everything is allowed. A service's rule stands for its intentions where no
 * policy says more of them (read, or deny); mesh and peering fall back on operator. -ENOMEM.
 */
struct authz_config {
	enum acl_access default_access;
	bool key_list, management;
};
int MUST_CHECK authz_new(const struct acl_rules *const *sets, size_t n, const struct authz_config *c, struct authz **ret);
struct authz *authz_ref(struct authz *a);
void authz_unref(struct authz *a);		/* NULL is fine */

/* Whether `want` (ACL_READ, ACL_LIST, ACL_WRITE) of this is allowed. name: "" for acl, keyring, mesh, operator, peering. */
bool authz_may(const struct authz *a, enum acl_resource r, struct str name, enum acl_access want);
/* Whether everything below this prefix may be written: no rule below it says otherwise. */
bool authz_may_below(const struct authz *a, enum acl_resource r, struct str prefix);
/* Whether any name of this resource may be read (Consul's node:read and service:read "any"). */
bool authz_may_any(const struct authz *a, enum acl_resource r, enum acl_access want);
/* Whether everything of this resource may be read: lists need no filter. */
bool authz_may_all(const struct authz *a, enum acl_resource r, enum acl_access want);

/* Whether to list keys takes a right of its own (acl.enable_key_list_policy). */
bool authz_lists_keys(const struct authz *a);

/* ---- who asks: what the state machine's reads and checks are given */

/* NULL in its place, or authz NULL: ACLs are off, or it is this server itself; everything is allowed. */
struct asker {
	struct authz *authz;
	struct str accessor;	/* of the token, for texts */
	struct str secret;	/* as it came */
	bool local;		/* the request came from a daemon of this node */
	bool filtered;		/* out: something was left out for lack of rights */
};

static inline bool
asker_may(const struct asker *w, enum acl_resource r, struct str name, enum acl_access want)
{
	return w == NULL || w->authz == NULL || authz_may(w->authz, r, name, want);
}

/* For lists: whether this may be shown; remembers that something was not. */
static inline bool
asker_sees(struct asker *w, enum acl_resource r, struct str name)
{
	if (asker_may(w, r, name, ACL_READ))
		return true;
	w->filtered = true;
	return false;
}

/*
 * The text of a denial: "Permission denied: token with AccessorID '...' lacks permission 'key:write' on \"a\"",
 * in Consul's words (an anonymous one is told what that is). text is always terminated.
 */
void asker_denied(const struct asker *w, enum acl_resource r, struct str name, enum acl_access want, char *text, size_t len);

/* The anonymous token. */
#define ACL_ANONYMOUS_ACCESSOR "00000000-0000-0000-0000-000000000002"
#define ACL_ANONYMOUS_SECRET "anonymous"
#define ACL_MANAGEMENT_POLICY "00000000-0000-0000-0000-000000000001"

/* Whether to tell that something was left out: not to who has no token, since that would tell that there is something. */
static inline bool
asker_tells(const struct asker *w)
{
	return w->filtered && !str_eqs(w->accessor, ACL_ANONYMOUS_ACCESSOR);
}

#endif
