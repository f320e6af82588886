/*
 * hcl.h - HCL (version 1), as in Consul's configuration files, read into a
 * json-c tree.
 *
 * Objects, nested and labelled blocks (`service "web" { }` is service = {
 * web = { } }), lists, strings with escapes, heredocs, numbers, booleans,
 * comments. A block that is repeated becomes a list of objects; of a repeated
 * scalar the last one counts. The parser is pure and bounded, and every value
 * remembers where it was written: hcl_pos().
 */
#ifndef LIB_HCL_H
#define LIB_HCL_H

#include <json-c/json_object.h>

#include "lib/errs.h"
#include "lib/str.h"

enum {
	HCL_SIZE_MAX = 8 * 1024 * 1024,	/* bytes of one text */
	HCL_DEPTH_MAX = 32,		/* objects, lists and labels in each other */
	HCL_TOKENS_MAX = 1 << 20,	/* keys and values of one text */
	HCL_ERROR_MAX = 200,
	HCL_SOURCE_MAX = (1 << 14) - 1,
	HCL_LINE_MAX = (1 << 18) - 1,	/* later lines are told as this one */
};

struct hcl_error {
	unsigned line, column;		/* from 1 */
	char text[HCL_ERROR_MAX];
};

/* Where a value was written; line 0: not known. */
struct hcl_pos {
	unsigned source;		/* the caller's number for the text */
	unsigned line;
};

/*
 * Parse a whole text into an object, which is the caller's to put. -EINVAL
 * with ret_err filled (malformed, or over a limit), or -ENOMEM.
 */
int MUST_CHECK hcl_parse(struct str text, unsigned source, struct json_object **ret, struct hcl_error *ret_err);

/* 0 if text is UTF-8 without NUL; else -EINVAL with where and what. */
int MUST_CHECK hcl_check_text(struct str text, struct hcl_error *ret_err);

/*
 * The position is kept in the value's userdata: such values cannot be
 * deep-copied by json-c until hcl_pos_clear() was called on the tree. A null
 * has none.
 */
struct hcl_pos hcl_pos(struct json_object *v);
void hcl_pos_set(struct json_object *v, struct hcl_pos pos);
void hcl_pos_clear(struct json_object *tree);

#endif
