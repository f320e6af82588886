/*
 * value.h - looking into JSON that an agent sent: whatever is missing or of
 * another type reads as empty.
 */
#ifndef CONSULCTL_VALUE_H
#define CONSULCTL_VALUE_H

#include <json-c/json_object.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

/* Borrowed; NULL when j is no object or has no such member. */
struct json_object *value_get(struct json_object *j, const char *name);

/* Never NULL; borrowed. */
const char *value_text(struct json_object *j, const char *name);
uint64_t value_u64(struct json_object *j, const char *name);

/* How many elements or members, and the i-th element. */
size_t value_count(struct json_object *j);
struct json_object *value_at(struct json_object *j, size_t i);

/* The names of an object's members in bytewise order; the caller frees the array, not the names. NULL without memory. */
const char **value_names(struct json_object *j, size_t *ret_n);

/* "a=1<joiner>b=2", sorted by name, of an object of texts. */
int MUST_CHECK value_pairs(struct json_object *j, const char *joiner, struct buf *out);

/*
 * Write JSON text anew: indent is one level's ("    ", "\t"), NULL for no
 * blanks at all. Numbers and strings stay byte for byte what they were, so
 * nothing is lost to a number type. -EDECODE when brackets do not match.
 */
int MUST_CHECK value_reindent(struct str json, const char *indent, struct buf *out);

#endif
