/*
 * permit.h - which rights the operations on this node's services and checks
 * take (lib/acl_gate.h). Each asks for all that may matter at once.
 */
#ifndef CHECKD_PERMIT_H
#define CHECKD_PERMIT_H

#include "checkd/checkd.h"
#include "lib/acl_gate.h"

/* For lists and reads. A check without a service is the node's. */
bool permit_see_service(struct acl_facts *f, const struct service *s);
bool permit_see_check(const struct checkd *cd, struct acl_facts *f, const struct check *c);

/* Writing the new one, and the one of the same id that it would replace. */
bool permit_register_service(const struct checkd *cd, struct acl_facts *f, const struct service_def *def);
bool permit_register_check(const struct checkd *cd, struct acl_facts *f, const struct check_def *def);

/* Changing one that is there. */
bool permit_change_service(struct acl_facts *f, const struct service *s);
bool permit_change_check(const struct checkd *cd, struct acl_facts *f, const struct check *c);
bool permit_change_node(const struct checkd *cd, struct acl_facts *f);

#endif
