/*
 * coordinates.h - where this node lies in the network, told to the catalog.
 */
#ifndef CHECKD_COORDINATES_H
#define CHECKD_COORDINATES_H

#include "checkd/checkd.h"

enum {
	COORDINATE_MIN_MS = 15 * 1000,
	COORDINATE_RATE = 64,		/* a second, of the whole pool */
	COORDINATE_CALL_MS = 10 * 1000,
	COORDINATE_ARENA_MAX = 64 * 1024,
};

struct coordinates;

/* Begin, unless the slice says disable_coordinates. -ENOMEM. */
int MUST_CHECK coordinates_start(struct checkd *cd);
void coordinates_stop(struct checkd *cd);

/* The shortest time between two updates of a node in a pool of this many; as much again is added at random. Pure. */
uint64_t coordinate_interval_ms(uint64_t members);

#endif
