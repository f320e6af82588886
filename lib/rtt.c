/* rtt.c - the distance of two network coordinates. */
#include <math.h>

#include "lib/rtt.h"

/* A day: nothing measures as much, and sums and squares of it stay far from overflowing. */
#define SECONDS_MAX 86400.0

/* The plane's part is Euclid's; a message climbs down from one node's height and up to the other's. */
double
rtt_seconds(const struct coordinate *a, const struct coordinate *b)
{
	const struct coordinate_axis *x, *y;
	double squares = 0, raw, adjusted;

	if (a == NULL || b == NULL || a->vec.n != b->vec.n || a->vec.n == 0)
		return INFINITY;
	x = a->vec.v;
	y = b->vec.v;
	for (size_t i = 0; i < a->vec.n; i++) {
		double d = x[i].v - y[i].v;

		squares += d * d;
	}
	raw = sqrt(squares) + a->height + b->height;
	adjusted = raw + a->adjustment + b->adjustment;
	return adjusted > 0 ? adjusted : raw;
}

static bool
within(double v)
{
	return isfinite(v) && fabs(v) <= SECONDS_MAX;
}

const char *
rtt_complaint(const struct coordinate *c)
{
	const struct coordinate_axis *x = c->vec.v;

	for (size_t i = 0; i < c->vec.n; i++)
		if (!within(x[i].v))
			return "invalid coordinate";
	if (!within(c->error) || !within(c->adjustment) || !within(c->height) || c->error < 0 || c->height < 0)
		return "invalid coordinate";
	return c->vec.n != RTT_DIMENSIONS ? "incompatible coordinate" : NULL;
}
