/* answer_rr.h - how a rendered answer lies in memory: between render.c, which makes it, and answer.c. */
#ifndef DNSD_ANSWER_RR_H
#define DNSD_ANSWER_RR_H

#include "dnsd/packet.h"

/* From the end of a SRV record's owner to its target: type to length, then priority, weight and port. */
enum { ANSWER_SRV_TARGET = PKT_RR_FIXED + 6 };

enum extra_owner {
	OWNER_QUESTION,		/* the name asked for */
	OWNER_TARGET,		/* the target of the SRV record that it belongs to */
	OWNER_NAME,		/* a name of its own */
};

/* What is left out by some writings. */
enum extra_kind {
	EXTRA_MORE = 1,		/* once something was cut: TXT, and what is not the first record of its name */
	EXTRA_FAR = 2,		/* for clients without EDNS: there are many */
};

/* A record of the answer section. Offsets are into answer.bytes; what stands there begins behind the owner. */
struct answer_rr {
	uint32_t at, extra;	/* its extras are extra .. extra + nextra - 1; equal targets share them */
	uint16_t len, nextra;
};

/* A record of the additional section. */
struct answer_extra {
	uint32_t at, owner_at;
	uint32_t target_at;	/* while writing: where in the packet the target stands */
	uint32_t stamp;		/* the last writing or count that has it */
	uint16_t len;
	uint8_t owner, owner_len;
	uint8_t kinds;		/* enum extra_kind */
	bool in_answer;		/* it stands in the answer section: where a CNAME leads */
};

#endif
