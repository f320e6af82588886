/*
 * snapfile.h - the file in which a state goes from one server to another:
 * records of the image as fsm_dump() tells them, and a checksum.
 *
 *	"consulctl-state 1\n", u64 log index, u64 its term
 *	u8 table, u32 key length, u32 value length, key, value	each record
 *	u8 0xff, u64 number of records, BLAKE2b-256 of all in front of it
 *
 * Numbers are big-endian.
 */
#ifndef RAFTD_SNAPFILE_H
#define RAFTD_SNAPFILE_H

#include <stdint.h>

#include "lib/errs.h"
#include "lib/str.h"

struct snapfile_writer;
/* fd stays the caller's. NULL without memory. */
struct snapfile_writer *snapfile_write(int fd, uint64_t index, uint64_t term);
int MUST_CHECK snapfile_add(struct snapfile_writer *w, unsigned table, struct str key, struct str value);	/* -errno; sticky */
/* Frees w. -errno of this or an earlier call. */
int MUST_CHECK snapfile_end(struct snapfile_writer *w);

struct snapfile_reader;
/* Reads from fd's start, in pieces; keys up to 1 MiB, values up to 1 GiB. NULL without memory. */
struct snapfile_reader *snapfile_read(int fd);
void snapfile_free(struct snapfile_reader *r);
/*
 * 1 and a record, valid until the next call; 0: the end, and the checksum is
 * right; negative with a sentence in ret_err: -EDECODE damaged or truncated,
 * -ENOTSUP of a later version, -errno.
 */
int MUST_CHECK snapfile_next(struct snapfile_reader *r, unsigned *ret_table, struct str *ret_key, struct str *ret_value,
    char ret_err[256]);
/* Known after the first snapfile_next(). */
uint64_t snapfile_index(const struct snapfile_reader *r);
uint64_t snapfile_term(const struct snapfile_reader *r);

#endif
