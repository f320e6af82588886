/*
 * packet.h - DNS messages: a query read, a reply written.
 *
 * Pure: bytes in, bytes out, no allocation. Reading goes through a bounded
 * cursor with a sticky error; writing too, so that both are checked once.
 * Names are in wire form (length bytes, root at the end) throughout.
 */
#ifndef DNSD_PACKET_H
#define DNSD_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/errs.h"

enum {
	PKT_HEADER = 12,
	PKT_NAME_MAX = 255,	/* bytes of a name, root included (RFC 1035, 2.3.4) */
	PKT_LABEL_MAX = 63,
	PKT_QUESTION_MAX = PKT_NAME_MAX + 4,
	PKT_UDP_MIN = 512,	/* what a client without EDNS takes */
	PKT_UDP_MAX = 65507,	/* what a UDP datagram over IPv4 holds */
	PKT_TCP_MAX = 65535,
	PKT_POINTER_MAX = 0x3fff, /* highest offset that a compression pointer reaches */
	PKT_OPT_LEN = 11,	/* without options; pkt_opt_len() tells of those too */
	PKT_RR_FIXED = 10,	/* type, class, TTL, length */
	PKT_NAMES_MAX = 96,	/* labels remembered for compression in one reply */
	PKT_COOKIE_CLIENT = 8,	/* bytes of a client's cookie (RFC 7873, 4) */
	PKT_COOKIE_SERVER = 16,	/* of ours (RFC 9018, 4) */
	PKT_COOKIE_MAX = 40,	/* of both in a query */
};

enum pkt_rcode {
	RCODE_OK = 0,
	RCODE_FORMERR = 1,
	RCODE_SERVFAIL = 2,
	RCODE_NXDOMAIN = 3,
	RCODE_NOTIMP = 4,
	RCODE_REFUSED = 5,
	RCODE_BADVERS = 16,	/* in EDNS only (RFC 6891, 9) */
	RCODE_BADCOOKIE = 23,	/* in EDNS only (RFC 7873, 8) */
};

enum pkt_type {
	TYPE_A = 1,
	TYPE_NS = 2,
	TYPE_CNAME = 5,
	TYPE_SOA = 6,
	TYPE_PTR = 12,
	TYPE_MX = 15,
	TYPE_TXT = 16,
	TYPE_AAAA = 28,
	TYPE_SRV = 33,
	TYPE_OPT = 41,
	TYPE_IXFR = 251,
	TYPE_AXFR = 252,
	TYPE_ANY = 255,
};

/* EDNS options: RFC 7871, RFC 7873, RFC 7828. */
enum pkt_option { OPTION_ECS = 8, OPTION_COOKIE = 10, OPTION_KEEPALIVE = 11 };

enum pkt_class { CLASS_IN = 1, CLASS_ANY = 255 };

enum pkt_flag { FLAG_QR = 0x8000, FLAG_AA = 0x0400, FLAG_TC = 0x0200, FLAG_RD = 0x0100, FLAG_RA = 0x0080 };

enum pkt_section { SECTION_ANSWER, SECTION_AUTHORITY, SECTION_ADDITIONAL };

/* ---- reading */

/* The client's subnet (RFC 7871, 6). */
struct pkt_ecs {
	bool present;
	uint8_t family;			/* 1: IPv4, 2: IPv6 */
	uint8_t source;			/* bits of addr that are told */
	uint8_t scope;			/* for the reply: bits that the answer depends on; 0 from pkt_query_read() */
	uint8_t addr[16];		/* bits behind `source` are 0 */
};

/* Cookies (RFC 7873, 4): what the client sent, and what it is sent. */
struct pkt_cookie {
	uint8_t len;			/* 0: none; 8: the client's alone; 16 to 40: with the server's behind it */
	bool reply;			/* send client's and `server` back */
	bool good;			/* where reply is set: what the client sent is ours (guard.c) */
	uint8_t data[PKT_COOKIE_MAX];
	uint8_t server[PKT_COOKIE_SERVER];
};

struct pkt_query {
	uint16_t id, flags;
	uint16_t type, class;
	bool edns;
	uint16_t udp_size;		/* as the client's OPT says */
	uint8_t name_len;		/* 0 when the question could not be read */
	uint16_t question_len;
	const uint8_t *question;	/* name, type and class as they came; borrowed */
	uint8_t name[PKT_NAME_MAX + 1];	/* lower case */
	/* EDNS options. What the reply's OPT says of them is set by who answers, before pkt_end(). */
	struct pkt_ecs ecs;
	struct pkt_cookie cookie;
	uint16_t keepalive;		/* read: 1 when it is asked for; to be told: in 100 ms, 0: not at all (RFC 7828) */
};

/*
 * Read a query. Returns 0; or the rcode with which to refuse it (header and,
 * when it could be read, question are in ret); or -EBADMSG for a packet that
 * deserves no answer: shorter than a header, or itself a response. With 0
 * question_len may be 0: the client asks for a cookie alone (RFC 7873, 5.4),
 * and the reply to that is RCODE_OK without records.
 */
int MUST_CHECK pkt_query_read(const uint8_t *p, size_t n, struct pkt_query *ret);

/* A seeded hash of a name in wire form and a type. */
uint32_t pkt_name_hash(const uint8_t *name, size_t len, uint16_t type, uint64_t seed);

/* ---- writing */

struct pkt_w {
	uint8_t *p;
	size_t len, cap;
	int err;			/* 0 or -ELIMIT */
	bool compress;
	uint16_t counts[3];		/* records by section */
	unsigned nnames;
	uint16_t names[PKT_NAMES_MAX];	/* offsets at which a name or the rest of one starts */
};

/* Header and question of the reply to q, into out. */
void pkt_begin(struct pkt_w *w, uint8_t *out, size_t cap, const struct pkt_query *q, bool compress);

void pkt_u16(struct pkt_w *w, uint16_t v);
void pkt_u32(struct pkt_w *w, uint32_t v);
void pkt_bytes(struct pkt_w *w, const void *p, size_t n);

/* The next n bytes, for the caller to fill; NULL when there is no room. */
uint8_t *pkt_room(struct pkt_w *w, size_t n);

/* A name, compressed against those before it, whose case it must share. */
void pkt_name(struct pkt_w *w, const uint8_t *name);

/* The question's name again: a pointer, or a copy without compression. */
void pkt_question_name(struct pkt_w *w);

/* A name of len bytes that stands uncompressed at offset `at` of this reply. */
void pkt_name_at(struct pkt_w *w, size_t at, size_t len);

/* Owner written, this begins the rest of a record; ret is handed to pkt_rr_end(), which fills in the length. */
size_t pkt_rr_begin(struct pkt_w *w, enum pkt_section s, uint16_t type, uint32_t ttl);
void pkt_rr_end(struct pkt_w *w, size_t at);

/* A record whose bytes behind the owner are at hand. */
void pkt_rr_tail(struct pkt_w *w, enum pkt_section s, const uint8_t *tail, size_t len);

/* What pkt_end() will need for OPT and its options, as q stands now; 0 without EDNS. */
size_t pkt_opt_len(const struct pkt_query *q);

/*
 * Complete header and OPT (when the query had one). An rcode above 15 has its
 * upper bits in OPT, so it is only for queries with EDNS. flags: FLAG_AA, FLAG_TC,
 * FLAG_RA. Returns the reply's length, 0 when it did not fit.
 */
size_t pkt_end(struct pkt_w *w, const struct pkt_query *q, unsigned flags, enum pkt_rcode rcode);

/* Bytes of a name in wire form, root included. */
size_t pkt_name_len(const uint8_t *name);

#endif
