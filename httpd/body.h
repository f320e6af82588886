/*
 * body.h - JSON request bodies into records.
 */
#ifndef HTTPD_BODY_H
#define HTTPD_BODY_H

#include "httpd/request.h"

/* Parse the body; put the object. NULL: the request was answered (400), or the body is null and *ret_null set. */
struct json_object *body_parse(struct request *r, const char *prefix, bool *ret_null);

/*
 * The body as a record; obj keeps what the body does not name. strict:
 * unknown fields are refused. false: the request was answered with 400
 * "Request decode failed: ...".
 */
bool body_record(struct request *r, const struct record *rec, void *obj, bool strict);

#endif
