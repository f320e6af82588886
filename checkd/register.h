/*
 * register.h - adding and removing services and checks, with their runners
 * and their files.
 */
#ifndef CHECKD_REGISTER_H
#define CHECKD_REGISTER_H

#include "checkd/checkd.h"

/*
 * Add or replace a completed definition (definition.h) and its checks;
 * from: who brought it, "FILE:LINE" or a client's address, "" unknown. Of
 * the checks the service had, those that are the same go on as they were,
 * and those that the definition lacks stay, unless replace_checks (all go)
 * or the source is a file (its earlier checks go). -errno of the data directory:
 * nothing has changed; -ENOMEM, -ELIMIT: parts of it may be in place.
 */
int MUST_CHECK register_service(struct checkd *cd, const struct service_def *def, enum source source, struct str from,
    bool replace_checks);

/* Add or replace one check; its service, if it names one, is there. */
int MUST_CHECK register_check(struct checkd *cd, const struct check_def *def, enum source source);

/* Maintenance of a service (NULL: the node) begins or ends; nothing when it is so already. */
int MUST_CHECK register_maintenance(struct checkd *cd, const struct service *s, bool enable, struct str reason);

/* Remove, with its files; a service with its checks. */
void deregister_service(struct checkd *cd, struct service *s);
void deregister_check(struct checkd *cd, struct check *c);

/*
 * What was registered over the API before a restart: services before the
 * file definitions, which replace those of the same id and whose checks may
 * belong to them, and checks behind.
 */
void register_persisted_services(struct checkd *cd);
void register_persisted_checks(struct checkd *cd);

#endif
