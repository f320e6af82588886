/*
 * wall.h - moments of the calendar as people read them: RFC 3339, in UTC.
 *
 * Pure. A moment is seconds since 1970 and nanoseconds behind them, in the
 * years 1 to 9999.
 */
#ifndef LIB_WALL_H
#define LIB_WALL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/str.h"

enum { WALL_TEXT_MAX = 40 };

/* The moment that Go writes for "never set": the first of the year 1. */
#define WALL_ZERO_S INT64_C(-62135596800)
#define WALL_ZERO_TEXT "0001-01-01T00:00:00Z"

struct wall {
	int64_t s;
	uint32_t ns;
};

/* "2026-11-23T14:45:29.5Z": as many digits of the second as it takes. What is outside of the years is cut to them. */
void wall_format(struct wall t, char text[WALL_TEXT_MAX]);

/* Any offset from UTC is understood. False when it is no such moment. */
bool wall_parse(struct str s, struct wall *ret);

/* In nanoseconds, cut to what they can hold; and back. */
int64_t wall_to_ns(struct wall t);
struct wall wall_from_ns(int64_t ns);

#endif
