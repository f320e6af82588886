/*
 * archive.h - the state as a snapshot archive of Consul's format, and back.
 *
 * The container is lib/snap_archive.h's. Here its records become what the
 * state holds, as fsm.h's image records (enum fsm_table, key, value), and the
 * other way round. Kinds that the state does not implement travel as
 * FSM_OPAQUE, byte for byte.
 */
#ifndef RAFTD_ARCHIVE_ARCHIVE_H
#define RAFTD_ARCHIVE_ARCHIVE_H

#include "lib/snap_archive.h"
#include "raftd/fsm/fsm.h"

/*
 * Write the archive of the state to fd (at its start; a regular file). now_ms:
 * Unix time, for ID and tar. Of m: index, term, the servers, configuration_index
 * (as the API shows indexes). Runs in bounded memory beside the state; walks
 * the state twice. Negative with a sentence.
 */
int MUST_CHECK archive_save(const struct fsm *f, const struct snap_meta *m, int64_t now_ms, int fd,
    char ret_err[SNAP_ERROR_MAX]);

struct archive_sink {
	void *ctx;
	/*
	 * A record of the image of a state that holds what the archive held: each
	 * key once, in the order of fsm_dump(), ready for FSM_RESTORE_DATA. Negative ends
	 * the loading. Told only after the whole archive was found good.
	 */
	int (*record)(void *ctx, enum fsm_table table, struct str key, struct str value);
};

/*
 * Read the archive in fd (a regular file) and check all of it: gzip, tar,
 * digests, Version, Size, every record and that they fit together; for that
 * the state is built in memory once. datacenter: ours, for nodes that name none.
 * ret->index is what FSM_RESTORE_BEGIN wants. Returns 0; -EINVAL with
 * a sentence, in Consul's words where it has them, for an archive that is
 * refused; another negative code with a sentence: a failure of ours.
 */
int MUST_CHECK archive_load(int fd, const char *datacenter, const struct archive_sink *sink, struct snap_meta *ret,
    char ret_err[SNAP_ERROR_MAX]);

#endif
