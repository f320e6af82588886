/*
 * tree.h - the text of rules as a tree, whichever of both languages it is
 * written in. For raftd/acl alone.
 */
#ifndef RAFTD_ACL_TREE_H
#define RAFTD_ACL_TREE_H

#include <json-c/json_object.h>

#include "raftd/acl/rules.h"

/* An object, the caller's to put. -EINVAL with a whole sentence, -ENOMEM. */
int MUST_CHECK acl_tree_parse(struct str text, struct json_object **ret, char ret_err[ACL_ERROR_MAX]);

/* As acl_rules_parse(). */
int MUST_CHECK acl_rules_of_tree(struct json_object *tree, unsigned syntax, struct acl_rules **ret, char ret_err[ACL_ERROR_MAX]);

/* Whether a resource has no names: acl, keyring, mesh, operator, peering. */
bool acl_resource_is_scalar(enum acl_resource r);

#endif
