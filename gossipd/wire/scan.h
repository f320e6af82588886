/*
 * scan.h - finding the end of msgpack values whose bytes are still arriving.
 *
 * No byte of content is looked at twice: a scan goes on where it stopped. At
 * most the nine bytes of one header wait for their rest.
 */
#ifndef GOSSIPD_WIRE_SCAN_H
#define GOSSIPD_WIRE_SCAN_H

#include "lib/mp.h"

struct scan {
	size_t pos;		/* what was scanned */
	size_t limit;		/* how long the input may become */
	uint64_t bytes;		/* of content to pass over */
	int depth;
	uint64_t todo[MP_DEPTH_MAX];	/* values still to come, by level */
};

/* Go on at pos with n values, or with n bytes. */
void scan_values(struct scan *s, uint64_t n);
void scan_bytes(struct scan *s, uint64_t n);

/* `all` begins where it always began, and has grown. 1: everything asked for is there, up to pos; 0: more is needed; -EDECODE, -ELIMIT. */
int MUST_CHECK scan_go(struct scan *s, struct str all);

#endif
