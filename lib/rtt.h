/*
 * rtt.h - how long a message goes between two nodes and back, by their coordinates.
 *
 * Shared by who sorts by it (raftd) and who shows it (consulctl). Moving
 * coordinates by what was measured is gossipd's own affair.
 */
#ifndef LIB_RTT_H
#define LIB_RTT_H

#include "lib/records.h"

enum { RTT_DIMENSIONS = 8 };	/* of every coordinate in the pools we can be in */

/*
 * The estimate in seconds, above 0 but for coordinates that were never moved.
 * INFINITY when there is none: one of them is NULL, or they have another
 * number of dimensions.
 */
double rtt_seconds(const struct coordinate *a, const struct coordinate *b);

/*
 * What is wrong with a coordinate that came from somewhere: NULL when it has
 * RTT_DIMENSIONS, every number in it is finite, and none is farther away than
 * any two nodes of one planet can be; else the words for it.
 */
const char *rtt_complaint(const struct coordinate *c);

#endif
