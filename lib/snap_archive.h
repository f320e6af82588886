/*
 * snap_archive.h - the container of a snapshot as Consul writes it: a gzip'ed
 * tar of meta.json, state.bin and SHA256SUMS, where state.bin is a header and
 * a row of records, each a kind byte and a msgpack value.
 *
 * What the records mean is not known here (raftd/archive converts them to the
 * state and back). Both ways run in memory that does not grow with the
 * archive, but for the largest single record.
 */
#ifndef LIB_SNAP_ARCHIVE_H
#define LIB_SNAP_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/errs.h"
#include "lib/str.h"

enum {
	SNAP_ERROR_MAX = 1024,
	SNAP_SERVERS_MAX = 32,		/* of a configuration, in what is written; a longer one is read so far */
	SNAP_META_MAX = 1 << 20,	/* bytes of meta.json */
	SNAP_SUMS_MAX = 64 << 10,	/* bytes of SHA256SUMS */
	SNAP_RECORD_MAX = 1 << 30,	/* bytes of one record */
};

/* Kinds of records; numbers are Consul's. */
enum snap_kind {
	SNAP_REGISTER = 0, SNAP_DEREGISTER = 1, SNAP_KVS = 2, SNAP_SESSION = 3, SNAP_ACL = 4, SNAP_TOMBSTONE = 5,
	SNAP_COORDINATE = 6, SNAP_QUERY = 7, SNAP_TXN = 8, SNAP_AUTOPILOT = 9, SNAP_AREA = 10, SNAP_ACL_BOOTSTRAP = 11,
	SNAP_INTENTION = 12, SNAP_CA_ROOT = 13, SNAP_CA_STATE = 14, SNAP_CA_CONFIG = 15, SNAP_INDEX = 16, SNAP_TOKEN = 17,
	SNAP_POLICY = 19, SNAP_CA_LEAF = 21, SNAP_CONFIG_ENTRY = 22, SNAP_ROLE = 23, SNAP_BINDING_RULE = 25,
	SNAP_AUTH_METHOD = 27, SNAP_CHUNKING = 29, SNAP_FEDERATION = 30, SNAP_SYSTEM_METADATA = 31,
	SNAP_KINDS
};

/* As `consul snapshot inspect` calls it ("KVS"); "Unknown" for a number without a name. */
const char *snap_kind_name(unsigned kind);
/* Whether records of this kind may stand in a snapshot. */
bool snap_kind_known(unsigned kind);

struct snap_server {
	char id[64], address[80];
	bool voter;
};

/* What meta.json tells. Longer texts are cut. */
struct snap_meta {
	uint64_t version;		/* 1 */
	uint64_t index, term;
	uint64_t configuration_index;
	struct snap_server servers[SNAP_SERVERS_MAX];
	size_t nservers;
	uint64_t size;			/* of state.bin */
	char id[96];			/* "term-index-unix_ms", free text */
};

/* ---- reading */

struct snap_sink {
	void *ctx;
	/* May be NULL. state.bin's header, before the first record. Negative ends the reading. */
	int (*header)(void *ctx, uint64_t last_index);
	/*
	 * May be NULL. A record as it stands in state.bin: value is one msgpack
	 * value, whole, valid during the call. offset: of its kind byte in
	 * state.bin. Negative ends the reading; -EINVAL with its reason in ret_err
	 * (which names the record for it), or any code of lib/errs.h.
	 */
	int (*record)(void *ctx, unsigned kind, struct str value, uint64_t offset, char ret_err[SNAP_ERROR_MAX]);
};

/*
 * Read the archive in fd, a regular file, from its start, twice: first the
 * container (gzip, tar, digests, Version, Size), then, when all of it is
 * right, the records. Kinds that may not stand in a snapshot are refused.
 * Nothing that the sink was told may be believed before this returns 0.
 * Returns 0; -EINVAL: not a snapshot that we accept, with a sentence in
 * Consul's words where it has them; else an error of reading or memory, or
 * what the sink returned, with a sentence too.
 */
int MUST_CHECK snap_read(int fd, const struct snap_sink *sink, struct snap_meta *ret, char ret_err[SNAP_ERROR_MAX]);

/* ---- writing */

struct snap_out;

/* Append to state.bin: bytes, or a record of this kind. Errors are kept and told at the end. */
void snap_out_bytes(struct snap_out *o, const void *p, size_t n);
void snap_out_record(struct snap_out *o, unsigned kind, struct str value);

/*
 * Write an archive to fd, at its start. `state` tells the whole state.bin,
 * its header included; it is called twice, for length and digest and then
 * for the bytes, and must tell the same both times. m->version and m->size
 * are not looked at; an empty m->id is made of term, index and now_ms (Unix
 * time, also the times in the tar). Negative with a sentence.
 */
int MUST_CHECK snap_write(int fd, const struct snap_meta *m, int64_t now_ms, int (*state)(void *ctx, struct snap_out *o),
    void *ctx, char ret_err[SNAP_ERROR_MAX]);

#endif
