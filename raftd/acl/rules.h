/*
 * rules.h - the rules of one policy: text in HCL or JSON, parsed and checked.
 *
 * Consul's language: `acl`, `keyring`, `operator`, `mesh`, `peering` = "read"
 * (write, deny); `agent`, `event`, `key`, `node`, `query`, `service`,
 * `session` and each with `_prefix`, as `key_prefix "app/" { policy = "write" }`.
 * A key's policy may be "list"; a service's block may hold `intentions`.
 * Sentinel blocks are refused (another edition), and so are unknown keys: a
 * rule with a slip in its name would not protect what it says. Legacy syntax (before 1.4):
 * names are prefixes; its translation gives today's text.
 *
 * Pure. Rules are immutable once parsed.
 */
#ifndef RAFTD_ACL_RULES_H
#define RAFTD_ACL_RULES_H

#include "lib/buf.h"
#include "lib/str.h"

enum {
	ACL_RULES_TEXT_MAX = 512 * 1024,	/* bytes of one policy's rules, which bounds their number too */
	ACL_ERROR_MAX = 512,
	ACL_NAME_MAX = 128,
	ACL_IDENTITY_NAME_MAX = 256,
};

enum acl_resource { ACL_ACL, ACL_AGENT, ACL_EVENT, ACL_INTENTION, ACL_KEY, ACL_KEYRING, ACL_MESH, ACL_NODE, ACL_OPERATOR,
	ACL_PEERING, ACL_QUERY, ACL_SERVICE, ACL_SESSION, ACL_RESOURCES };

/* In the order in which rules of one segment are merged: a later one loses against deny, and wins against an earlier one. */
enum acl_access { ACL_NONE = 0, ACL_READ = 1, ACL_LIST = 2, ACL_WRITE = 3, ACL_DENY = 4 };

/*
 * What is stored may have come with a snapshot of Consul, which passes over keys that it does not know:
 * with ACL_SYNTAX_STORED so do we, in rules that nobody writes any more.
 */
enum acl_syntax { ACL_SYNTAX_CURRENT = 0, ACL_SYNTAX_LEGACY = 1, ACL_SYNTAX_STORED = 2 };

/* "key", "write"; NULL and ACL_RESOURCES, ACL_NONE for what is none. */
const char *acl_resource_name(enum acl_resource r);
const char *acl_access_name(enum acl_access a);
enum acl_resource acl_resource_parse(struct str s);
enum acl_access acl_access_parse(struct str s);

struct acl_rule {
	enum acl_resource resource;
	bool prefix;
	enum acl_access access;
	struct str segment;		/* "" for acl, keyring, mesh, operator, peering */
};

struct acl_rules {
	struct acl_rule *v;
	size_t n;
};

/*
 * One block of memory, to be freed with free(). -EINVAL with the whole
 * sentence for the client in ret_err: "Failed to parse ACL rules: ..." for a
 * malformed text, "Invalid key policy: ..." for a wrong word, as Consul has
 * them; -ENOMEM. syntax: one of the first two, maybe with ACL_SYNTAX_STORED. A service's `intentions` give a rule of ACL_INTENTION; what
 * follows for intentions from a service's policy alone is authz_new()'s.
 */
int MUST_CHECK acl_rules_parse(struct str text, unsigned syntax, struct acl_rules **ret, char ret_err[ACL_ERROR_MAX]);

/*
 * Legacy text as today's, appended to out: comments go, names become prefixes,
 * one block an empty line from the next. -EINVAL with a sentence, -ENOMEM, -ELIMIT.
 */
int MUST_CHECK acl_rules_translate(struct str text, struct buf *out, char ret_err[ACL_ERROR_MAX]);

/*
 * The rules that a service identity and a node identity stand for, as text, appended to
 * out (Consul's synthetic policies). -ENOMEM, -ELIMIT.
 */
int MUST_CHECK acl_rules_of_service(struct str service, struct buf *out);
int MUST_CHECK acl_rules_of_node(struct str node, struct buf *out);

/*
 * Names of policies, roles and auth methods: [A-Za-z0-9_-]{1,128}. Of an
 * identity's service or node: the same in lower case, up to 256, with a letter or digit at both ends.
 */
bool acl_name_ok(struct str s);
bool acl_identity_name_ok(struct str s);

#endif
