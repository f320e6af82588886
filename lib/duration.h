/*
 * duration.h - durations as Go writes them: "10s", "1h30m", "1.5ms".
 */
#ifndef LIB_DURATION_H
#define LIB_DURATION_H

#include <stdint.h>

#include "lib/errs.h"
#include "lib/str.h"

enum { DURATION_TEXT_MAX = 40 };

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* Nanoseconds; units ns us ms s m h, "0" without one. -EINVAL if malformed or over 292 years. */
int MUST_CHECK duration_parse(struct str s, int64_t *ret_ns);

/* The shortest form that Go prints: "1m0s", "1.5s", "0s". */
void duration_format(int64_t ns, char text[DURATION_TEXT_MAX]);

#endif
