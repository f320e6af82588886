/*
 * bexpr.h - Consul's filter expressions, evaluated over records.
 *
 *   Service.Tags contains "v2" and not (Node.Meta.zone == a or Checks is empty)
 *
 * "and" binds tighter than "or", "not" tightest. Matches: == != in, not in,
 * contains, not contains, matches, not matches (re.h), is empty, is not
 * empty. A value is a number, a "string", a `string` or a bare word.
 *
 * A selector names fields by their wire names, case included, then map keys,
 * dotted or as ["key"]; through a list of records it stands for each element,
 * and one that matches is enough. Indexes and free-form values (Definition,
 * Proxy) cannot be selected.
 */
#ifndef LIB_BEXPR_H
#define LIB_BEXPR_H

#include "lib/record.h"

enum {
	BEXPR_TEXT_MAX = 16384,		/* bytes of an expression */
	BEXPR_DEPTH_MAX = 100,		/* nested "not" and parentheses */
};

struct bexpr;

/*
 * Compile text for objects described by rec; text and arena must outlive the
 * result. -EINVAL with the reason in ret_err, -ENOMEM.
 */
int MUST_CHECK bexpr_parse(struct str text, const struct record *rec, struct arena *a, struct bexpr **ret, char *ret_err,
    size_t errlen);

bool bexpr_match(const struct bexpr *e, const void *obj);

/* Only what is not in the arena. NULL is fine. */
void bexpr_free(struct bexpr *e);

#endif
