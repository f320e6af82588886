/*
 * message.h - DNS messages that others wrote: read with bounds, never trusted.
 *
 * Pure, no allocation. Names are in wire form; compression pointers must lead
 * backwards and at most MSG_POINTERS_MAX follow each other (RFC 1035, 4.1.4).
 */
#ifndef DNSD_MESSAGE_H
#define DNSD_MESSAGE_H

#include "dnsd/packet.h"

enum {
	MSG_POINTERS_MAX = 128,		/* in one name */
	MSG_CHAIN_MAX = 16,		/* CNAMEs after each other */
};

struct msg {
	const uint8_t *p;		/* borrowed */
	size_t n;
	uint16_t id, flags;
	uint16_t count[4];		/* questions, then records by section */
	size_t question_end;		/* offset behind the questions */
	/* where msg_next() is */
	size_t at;
	unsigned section, done;
};

/* A record; offsets are into the message. */
struct msg_rr {
	enum pkt_section section;
	uint16_t type, class;
	uint32_t ttl;
	size_t owner, data, len;
};

/* Header and questions. -EBADMSG. */
int MUST_CHECK msg_read(struct msg *m, const uint8_t *p, size_t n);

/* The next record, from the first answer on: 1, 0 behind the last one, -EBADMSG. */
int MUST_CHECK msg_next(struct msg *m, struct msg_rr *ret);

/* Go back before the first record. */
void msg_rewind(struct msg *m);

/* Offset behind the last record; 0 when one of them is not well-formed. */
size_t msg_end(struct msg *m);

/* The name at an offset, pointers followed and case kept. Its length, 0 when it is not well-formed. */
size_t msg_name(const struct msg *m, size_t at, uint8_t out[PKT_NAME_MAX + 1]);

/* Whether two names in wire form are the same but for case. */
bool msg_name_same(const uint8_t *a, const uint8_t *b);

/* The rcode; with OPT its upper bits too (RFC 6891, 6.1.3). */
unsigned msg_rcode(struct msg *m);

/*
 * The records of class IN in the answer section that lead from name (wire
 * form) to its addresses: CNAMEs in the order in which they are followed, then
 * those of type TYPE_A or TYPE_AAAA (TYPE_ANY: both) of the last name; at most
 * max. Loops of CNAMEs end after MSG_CHAIN_MAX, with none. The number, or
 * -EBADMSG. Names in the data are well-formed, addresses have their length.
 */
int MUST_CHECK msg_follow(struct msg *m, const uint8_t *name, uint16_t type, struct msg_rr *out, size_t max);

/* ---- replies to a query of ours */

enum msg_verdict {
	REPLY_FOREIGN,	/* not to this query: it may still come */
	REPLY_FINAL,	/* NOERROR or NXDOMAIN, all of it well-formed */
	REPLY_NEXT,	/* an error, or malformed: somebody else may know */
};

/*
 * Judge a message of *n bytes as a reply to query, which has one question that
 * ends at question_end. When it is final *n becomes the length of what is
 * whole in it: bytes behind the last record are dropped, and of a truncated
 * one (TC) that was cut inside of a record only the question is left.
 */
enum msg_verdict msg_judge(const uint8_t *query, size_t question_end, uint8_t *p, size_t *n);

/* ---- options that are between two neighbours only */

/*
 * Take cookie and keepalive out of a message of n bytes, in place, when its
 * OPT is the last record. The length that is left; n when nothing was.
 */
size_t msg_strip_options(uint8_t *p, size_t n);

/*
 * Put an option into the OPT of a message of n bytes, which must be its last
 * record; a message without OPT gets one, of this UDP size. The new length;
 * n, untouched, when that is impossible.
 */
size_t msg_add_option(uint8_t *p, size_t n, size_t cap, uint16_t udp_size, uint16_t code, const uint8_t *data, size_t len);

#endif
