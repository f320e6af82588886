/*
 * recover.h - a cluster that lost its majority for good goes on with those
 * that are left.
 */
#ifndef RAFTD_RECOVER_H
#define RAFTD_RECOVER_H

#include "raftd/raftd.h"

/*
 * Before the engine begins: carry out a peers.json that lies in the
 * directory, and have what was recovered before stand in for the log's
 * configurations. Negative, and the reason has been logged.
 */
int MUST_CHECK recover_init(struct raftd *r);

/* raftd recover [-n] DIRECTORY [PEERS.JSON]: the exit code. */
int recover_main(int argc, char **argv);

#endif
