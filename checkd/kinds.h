/*
 * kinds.h - the ways of checking.
 */
#ifndef CHECKD_KINDS_H
#define CHECKD_KINDS_H

#include "checkd/checkd.h"

extern const struct check_kind check_kind_script, check_kind_http, check_kind_tcp, check_kind_ttl, check_kind_alias;
extern const struct check_kind check_kind_grpc, check_kind_h2ping, check_kind_udp, check_kind_docker, check_kind_os_service;
/* A TCP check with tcp_use_tls. */
extern const struct check_kind check_kind_tcp_tls;

/* ---- check_os_service.c */

/* What `systemctl is-active` says of a unit by its exit code and its first line. Pure; text has at most its buffer's size. */
enum check_status os_service_status(struct str name, int exit_code, struct str said, char *text, size_t textlen);

/* ---- check_ttl.c */

/* The application's own word; c is a TTL check. */
void ttl_update(struct check *c, enum check_status status, struct str note);

/* Go on with a state saved before a restart, for what is left of its time. */
void ttl_restore(struct check *c, enum check_status status, struct str output, uint64_t left_ms);

/* ---- check_alias.c */

/* Local checks have changed: look at the aliases of local services again. */
void alias_evaluate(struct checkd *cd);

/* What an alias says for these checks. Pure; text has at most its buffer's size. */
enum check_status alias_sum(const struct health_check *checks, size_t n, struct str own_id, struct str service_id,
    bool service_exists, struct str node, char *text, size_t textlen);

#endif
