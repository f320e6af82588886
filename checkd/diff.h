/*
 * diff.h - what the catalog holds of this node against what it shall hold.
 *
 * Pure: marks the entries of the local state that have to be pushed.
 */
#ifndef CHECKD_DIFF_H
#define CHECKD_DIFF_H

#include "checkd/local.h"

/* How this node describes itself. */
struct self {
	struct str id, node, address, datacenter;
	struct strmap tagged_addresses, meta;
};

/*
 * Compare with the catalog's services and checks of this node. discard_output:
 * outputs are not pushed at all. Entries that a write is under way for are
 * left alone. -ENOMEM, -ELIMIT; then some entries are marked and some not.
 */
int MUST_CHECK diff_services(struct local *l, const struct node_service *v, size_t n);
int MUST_CHECK diff_checks(struct local *l, const struct health_check *v, size_t n, bool discard_output);

/* Whether the catalog's node is what we say; its address is the leader's business. */
bool diff_node_same(const struct self *self, const struct node *node);

#endif
