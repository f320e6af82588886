/*
 * kv.h - what the kv commands share.
 */
#ifndef CONSULCTL_CMD_KV_H
#define CONSULCTL_CMD_KV_H

#include <json-c/json_object.h>

#include "consulctl/client/client.h"

enum { KV_VALUE_MAX = 256 * MiB };	/* the server has its own idea of a large value */

/* A key without the "/" that people put in front of it. */
const char *kv_key(const char *arg);

/* The bytes of an entry's Value, empty for null. */
int MUST_CHECK kv_value(struct json_object *entry, struct buf *out);

/* Under prefix, as a JSON array; *ret is NULL when there is nothing. Negative with r->error. */
int MUST_CHECK kv_list(struct client *c, struct request *r, const char *prefix, struct json_object **ret);

#endif
