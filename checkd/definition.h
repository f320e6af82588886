/*
 * definition.h - what a service or check definition must look like.
 *
 * Pure. Texts are Consul's, since clients show them.
 */
#ifndef CHECKD_DEFINITION_H
#define CHECKD_DEFINITION_H

#include "lib/records.h"

enum { DEFINITION_CHECKS_MAX = 256, DEFINITION_META_MAX = 64 };

/* Where a definition came from; it decides whether scripts are allowed and what a reload replaces. */
enum source { SOURCE_API, SOURCE_FILE };

/* Which sources may bring scripts. */
struct script_policy {
	bool api, files;
};

/* The answer to a definition that is refused. */
struct refusal {
	int code;		/* as an HTTP status */
	char text[1024];
};

/* grpc http ttl tcp alias docker script h2ping udp os_service, or "" (no type): the first that matches. */
const char *check_def_type(const struct check_def *d);

/* Whether an h2ping check speaks TLS: it does unless it says that it does not. */
bool definition_h2ping_uses_tls(const struct check_def *d);

/*
 * Complete a service definition and check it and its checks: the id, the
 * checks' ids and names. Lists and strings come from the arena. Negative
 * with *ret_why told.
 */
int MUST_CHECK definition_service(struct service_def *d, enum source source, const struct script_policy *p, struct arena *a,
    struct refusal *ret_why);

/* The same for one check that stands alone or names its service. */
int MUST_CHECK definition_check(struct check_def *d, enum source source, const struct script_policy *p, struct refusal *ret_why);

/* The catalog's record of a completed definition; members point into it. */
void definition_node_service(const struct service_def *d, struct node_service *ret);

/*
 * The catalog's record of a check without status and output. service is the
 * one it belongs to or NULL. Texts come from the arena; -ENOMEM.
 */
int MUST_CHECK definition_health_check(const struct check_def *d, const struct node_service *service, struct str node,
    struct arena *a, struct health_check *ret);

#endif
