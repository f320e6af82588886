/*
 * path.h - a request's target taken apart: percent-decoding, dot segments,
 * characters that may not be there. Pure.
 */
#ifndef HTTPD_PATH_H
#define HTTPD_PATH_H

#include "lib/arena.h"
#include "lib/errs.h"
#include "lib/str.h"

struct target {
	struct str path;	/* decoded */
	struct str query;	/* as it came, without the '?' */
};

/*
 * Split and decode `raw` in place (decoding never lengthens it). -EINVAL for a
 * malformed escape or a target that is not a path.
 */
int MUST_CHECK target_parse(char *raw, size_t len, struct target *ret);

/* Decode %XX (and, in queries, '+') in place; the new length, or -EINVAL. */
int64_t url_decode(char *p, size_t len, bool plus);

/* Whether the path holds no "//", "." or ".." segment. */
bool path_is_clean(struct str path);

/* The path without those; NULL without memory. */
const char *path_clean(struct str path, struct arena *a);

/* Whether every character is printable and the text is UTF-8. */
bool path_printable(struct str path);

/* Percent-encode for a Location header; slash and what may stand in a path stay. NULL without memory. */
const char *path_encode(struct str path, struct arena *a);

#endif
