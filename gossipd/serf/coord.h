/*
 * coord.h - network coordinates: Vivaldi with height, adjustment and a latency
 * filter, as Serf has them (spec 5.7; Dabek et al., "Vivaldi", SIGCOMM 2004; Ledlie et
 * al., "Network Coordinates in the Wild", NSDI 2007). Pure; seconds.
 */
#ifndef GOSSIPD_SERF_COORD_H
#define GOSSIPD_SERF_COORD_H

#include "lib/buf.h"
#include "lib/str.h"

enum { COORD_DIMENSIONS = 8, COORD_WINDOW = 20, COORD_LATENCIES = 3 };

struct coord {
	double vec[COORD_DIMENSIONS], error, adjustment, height;
};

/* The last round trips to one node, for the median. */
struct coord_latencies {
	double v[COORD_LATENCIES];
	unsigned n;
};

struct coord_client {
	struct coord c;
	double window[COORD_WINDOW];
	unsigned at;
	uint64_t resets;		/* times it had become invalid */
};

void coord_init(struct coord *c);
void coord_client_init(struct coord_client *c);
bool coord_valid(const struct coord *c);

/* Seconds; the estimate with adjustments (spec 5.7, and api.md section 9). */
double coord_distance(const struct coord *a, const struct coord *b);

/*
 * A round trip of rtt_s to a node at `other`. random: 0 .. 1, for the direction of two that lie on each other.
 * -EINVAL: rtt or other out of range; nothing has changed.
 */
int MUST_CHECK coord_update(struct coord_client *c, const struct coord *other, struct coord_latencies *l, double rtt_s,
    double (*random)(void *ctx), void *ctx);

/* The payload of an ack. -EDECODE: another version or dimension, or not finite. */
int MUST_CHECK coord_put(struct buf *out, const struct coord *c);
int MUST_CHECK coord_get(struct str payload, struct coord *ret);

#endif
