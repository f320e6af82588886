/*
 * answer.h - a question about a service or a node, answered.
 *
 * An answer is rendered once, from facts, for one name and type: its records
 * lie ready in wire form. Which of them are sent, in which order and how
 * many, is decided each time it is written. Pure: randomness comes in as a
 * state of the caller's.
 */
#ifndef DNSD_ANSWER_H
#define DNSD_ANSWER_H

#include "dnsd/facts.h"
#include "dnsd/name.h"
#include "dnsd/settings.h"

enum {
	ANSWER_TCP_SIZE = 65523,	/* what a reply over TCP may hold */
	ANSWER_TCP_MAX = 4096,		/* answers over TCP */
	ANSWER_TCP_SRV_MAX = 1024,
	ANSWER_SLACK = 7,		/* bytes that a reply stays below the client's size */
	ANSWER_BYTES_MAX = 64 * 1024 * 1024, /* of one rendered answer */
};

/* What comes of a question, when it is not records. */
enum outcome {
	OUTCOME_RECORDS,
	OUTCOME_EMPTY,		/* NOERROR, nothing else */
	OUTCOME_NODATA,		/* NOERROR with SOA */
	OUTCOME_NXDOMAIN,	/* with SOA */
};

/* A record that was found for a host name: its owner in wire form and lower case, and what stands behind it. */
struct host_rr {
	const uint8_t *owner, *tail;
	uint16_t len;		/* of the tail: type, class, TTL, length, data */
};

enum { HOST_RRS_MAX = 32, HOST_RRS_PLAIN = 5 };	/* told of one host name; to clients without EDNS */

/* How host names that stand in the place of addresses are resolved. */
struct hosts {
	void *ctx;
	/*
	 * The records that lead from name (wire form) to its addresses, and these: IPv4 for TYPE_A, IPv6 for TYPE_AAAA, else
	 * what there is. Writes at most HOST_RRS_MAX, good until the next call, and returns their number; 0: nothing is known.
	 */
	size_t (*find)(void *ctx, const uint8_t *name, uint16_t type, struct host_rr *out);
};

struct view;

struct answer {
	/* For the index of warm answers (view.h). */
	struct answer *next_in_bucket, *next_in_view;
	struct view *view;
	uint64_t good_until_ms;	/* 0: as long as the view's facts are the same */
	uint32_t hash;
	uint16_t type;
	uint8_t name_len;
	uint32_t size;		/* bytes of the block that all writings read */
	/* Ours. */
	bool of_service;	/* shuffled, limited and cut as Consul does */
	uint32_t n, nfirst;	/* records; those that UDP may tell of, all but for minimal_any */
	uint32_t nextra, ncommon;	/* the last ncommon of the extras belong to no record */
	uint32_t stamp;		/* counts writings, to send each extra once */
	/*
	 * All extras belong to one record's target alone, and their bytes follow those of the record: then these are the
	 * bytes of all records and all extras with owners that are pointers. 0: it is not so simple.
	 */
	uint32_t plain_rrs, plain_extras;
	bool of_query;		/* a prepared query's */
	uint16_t *ranks;	/* of each record: those of one rank are shuffled, ranks stay in order; NULL: all are alike */
	uint16_t *order;	/* of records; kept shuffled from one writing to the next */
	struct answer_rr *rr;
	struct answer_extra *extra;
	uint8_t *bytes;
	const uint8_t *name;	/* the question's, lower case */
};

/*
 * Render the answer to q, whose name said n. Sets *ret_outcome; with
 * OUTCOME_RECORDS *ret is the answer, the caller's to free. -ENOMEM, -ELIMIT.
 */
int MUST_CHECK answer_render(const struct facts *f, const struct dns_name *n, const struct pkt_query *q,
    const struct settings *s, enum outcome *ret_outcome, struct answer **ret);

/* The same; hosts (NULL: nobody) is asked about host names. */
int MUST_CHECK answer_render_with(const struct facts *f, const struct dns_name *n, const struct pkt_query *q,
    const struct settings *s, const struct hosts *hosts, enum outcome *ret_outcome, struct answer **ret);

void answer_free(struct answer *a);

/*
 * Write the reply to q into out, whose cap is PKT_UDP_MAX at least, from an
 * answer rendered for its name and type with these settings. rng: any
 * non-zero state, stepped. Returns the length.
 */
size_t answer_write(struct answer *a, const struct pkt_query *q, const struct settings *s, bool tcp, uint64_t *rng,
    uint8_t *out, size_t cap);

/* The bytes of reply that the client of q takes. */
size_t answer_max(const struct pkt_query *q, bool tcp);

/* The name of a node below the main domain, in wire form; its length, or -EINVAL for a name that DNS cannot hold. */
int MUST_CHECK answer_node_name(struct str node, const struct settings *s, struct str dc, uint8_t out[PKT_NAME_MAX + 1]);

/* The same below another zone. */
int MUST_CHECK answer_node_name_in(struct str node, const struct zone *z, struct str dc, uint8_t out[PKT_NAME_MAX + 1]);

/* The whole of an address record behind its owner (PKT_RR_FIXED + 16 bytes at most); ADDR_V4 or ADDR_V6. */
size_t answer_addr_tail(const struct addr *a, uint32_t ttl, uint8_t out[PKT_RR_FIXED + 16]);

/* A step of the generator: a number below n. */
uint32_t answer_random(uint64_t *rng, uint32_t n);

#endif
