/*
 * keyring_op.h - the operation that changes or lists the gossip keys of all
 * members, by a query in each pool.
 */
#ifndef GOSSIPD_KEYRING_OP_H
#define GOSSIPD_KEYRING_OP_H

#include "gossipd/gossipd.h"

/* The pools end: what has been answered by now is all. */
void keyring_ops_end(struct gossipd *g);

/* Drop those under way; nobody is answered. */
void keyring_ops_release(struct gossipd *g);

#endif
