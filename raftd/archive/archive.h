/*
 * archive.h - snapshots as Consul writes and reads them: a gzip'ed tar of
 * meta.json, state.bin and SHA256SUMS, where state.bin is a stream of msgpack
 * records. Pure: descriptors in, records out, and the other way round.
 *
 * Records of the state are given and taken as fsm.h's image records
 * (enum fsm_table, key, value). Kinds that the state does not implement
 * travel as FSM_OPAQUE, byte for byte.
 */
#ifndef RAFTD_ARCHIVE_ARCHIVE_H
#define RAFTD_ARCHIVE_ARCHIVE_H

#include "raftd/fsm/fsm.h"

enum { ARCHIVE_ERROR_MAX = 1024 };

struct archive_meta {
	uint64_t index, term;		/* as the API shows it */
	uint64_t configuration_index;
	struct { char id[64], address[80]; bool voter; } servers[32];
	size_t nservers;
	uint64_t size;			/* read: of state.bin */
	char id[96];			/* "term-index-unix_ms" */
};

/*
 * Write the archive of the state to fd (at its start; a regular file). now_ms:
 * Unix time, for ID and tar. Runs in bounded memory beside the state. Negative with a sentence.
 */
int MUST_CHECK archive_save(const struct fsm *f, const struct archive_meta *m, int64_t now_ms, int fd, char ret_err[ARCHIVE_ERROR_MAX]);

/* What archive_load() found, for those who restore and those who inspect. */
struct archive_sink {
	void *ctx;
	/* A record of the image of a state that holds what the archive held; each key once. Negative ends the loading. */
	int (*record)(void *ctx, enum fsm_table table, struct str key, struct str value);
	/* For inspection: a record of the archive as it stands in state.bin. May be NULL. */
	int (*raw)(void *ctx, unsigned kind, const char *kind_name, struct str bytes);
};

/*
 * Read the archive in fd (a regular file) and check all of it: gzip, tar,
 * digests, Version, Size, every record. Nothing may be believed before this
 * returns 0. datacenter: ours. Negative with a sentence, in Consul's words where it has them.
 */
int MUST_CHECK archive_load(int fd, const char *datacenter, const struct archive_sink *sink, struct archive_meta *ret,
    char ret_err[ARCHIVE_ERROR_MAX]);

#endif
