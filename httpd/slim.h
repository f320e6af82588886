/*
 * slim.h - what a request that waits for a long time does without.
 *
 * Thousands may wait: each keeps its connection and how its answer is to be
 * shown, and nothing of what was decoded to ask. The question itself is kept
 * once for all equal ones, encoded, and is decoded again when it has to be
 * asked anew.
 */
#ifndef HTTPD_SLIM_H
#define HTTPD_SLIM_H

#include "httpd/request.h"

/* Give back the request's arena and buffers. What pointed into them is empty afterwards. */
void slim_request(struct request *r);

/*
 * Decode the encoded question into r->record, with token and datacenter, so
 * that it can be asked again. -ENOMEM, -EDECODE.
 */
int MUST_CHECK slim_restore(struct request *r, struct str question);

/* Give back the pages of the library's memory for this connection that hold nothing. */
void slim_connection(const struct request *r);

#endif
