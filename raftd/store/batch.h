/*
 * batch.h - log entries that are written together.
 *
 * A batch is built by the loop, handed to the store as it stands, applied
 * from the same bytes, and read back in the same form: one record of the log
 * btree, keyed by the index of its first entry.
 *
 *	u64 term			of all its entries
 *	u32 crc, u32 length, u8 kind, data	each entry
 *
 * Numbers are big-endian. The checksum covers index, term, kind and data, so
 * that an entry in a wrong place is noticed too.
 */
#ifndef RAFTD_STORE_BATCH_H
#define RAFTD_STORE_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

enum {
	BATCH_BYTES_MAX = 1024 * 1024 * 1024,	/* one entry may fill it (limits of ops.def) */
	BATCH_BYTES_FULL = 256 * 1024,		/* from here on the next entry starts another batch */
	BATCH_HEADER = 8,
	BATCH_ENTRY_HEADER = 9,
};

/* On disk and between servers: never reused. */
enum entry_kind {
	ENTRY_STATE = 0,	/* for the state machine: struct fsm_entry */
	ENTRY_SERVERS = 1,	/* the Raft configuration: struct servers */
};

struct batch {
	struct batch *next;		/* the loop's list */
	struct batch *store_next;	/* the store's queue, */
	size_t store_len;		/* and what of it is written: the loop may cut n and bytes meanwhile */
	uint32_t store_n;
	atomic_uint holders;		/* the loop, and the store while it is queued */
	uint64_t first, term;		/* valid once sealed */
	uint32_t n;
	struct buf bytes;
};

struct batch *batch_new(void);
/* At any time: the store holds on to what it still has to write. */
void batch_free(struct batch *b);
/* For the store: it needs a batch_free() more. */
void batch_hold(struct batch *b);
/* Empty it for the next use, when all of it is durable; keeps a modest buffer. */
void batch_clear(struct batch *b);

/* Append an entry: begin, add its data to b->bytes, end; or drop it again. `at` names it between. */
int MUST_CHECK batch_entry_begin(struct batch *b, enum entry_kind kind, size_t *ret_at);
void batch_entry_end(struct batch *b, size_t at);
void batch_entry_drop(struct batch *b, size_t at);

/* No more entries: give them their places in the log. */
void batch_seal(struct batch *b, uint64_t first, uint64_t term);

/* Drop the entries from index `from` on; some stay in front (first < from <= last). Also while the store has it queued. */
void batch_cut(struct batch *b, uint64_t from);

/* The bytes of a sealed batch up to its n-th entry. */
size_t batch_len(const struct batch *b, uint32_t n);

static inline uint64_t
batch_last(const struct batch *b)
{
	return b->first + b->n - 1;
}

/* Reading one record. */
struct batch_cursor {
	const uint8_t *p, *end;
	uint64_t index, term;		/* of the next entry */
};

struct batch_entry {
	uint64_t index, term;
	enum entry_kind kind;
	struct str data;
};

/* -EDECODE. */
int MUST_CHECK batch_read(struct str record, uint64_t first, struct batch_cursor *ret);
/* 1 with an entry, 0 at the end, -EDECODE: malformed or (verify) a wrong checksum. */
int MUST_CHECK batch_next(struct batch_cursor *c, bool verify, struct batch_entry *ret);

/* The bytes that entries in front of `from` take in a record that begins at first, their checksums being right. -EDECODE. */
int MUST_CHECK batch_front(struct str record, uint64_t first, uint64_t from, size_t *ret_len);

void put_be32(uint8_t *p, uint32_t v);
void put_be64(uint8_t *p, uint64_t v);
uint32_t get_be32(const uint8_t *p);
uint64_t get_be64(const uint8_t *p);

#endif
