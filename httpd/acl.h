/*
 * acl.h - what the ACL endpoints share.
 */
#ifndef HTTPD_ACL_H
#define HTTPD_ACL_H

#include "httpd/request.h"
#include "httpd/upstream.h"
#include "lib/records_acl.h"

/* Whether there are ACLs; else the request is answered (401). */
bool acl_enabled(struct request *r);

/* The body as a record, strictly. false: answered, 400 "Bad request: WHAT: ...". */
bool acl_body(struct request *r, const char *what, const struct record *rec, void *obj);

/* A body may name what the path names, and nothing else. false: answered, 400 with this text. */
bool acl_same(struct request *r, struct str *in_body, struct str in_path, const char *text);

/* A read of a list; of one object that is 403 "ACL not found", or 404, when it is not there. */
void acl_list(struct request *r, uint16_t op, const struct acl_query *q);
void acl_one(struct request *r, uint16_t op, const struct acl_query *q);
void acl_one_or_404(struct request *r, uint16_t op, const struct acl_query *q);

/* Whether there is something behind the path; else the request is answered, 400 with this text. */
bool acl_has_rest(struct request *r, const char *text);

/* Delete what the path names. */
void acl_delete(struct request *r, uint16_t op);

/* The text of a query parameter, empty without one. */
struct str acl_param(const struct request *r, const char *name);

/* For upstream_write(): what was made or changed is the answer. */
upstream_done acl_shown;

#endif
