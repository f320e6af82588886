/*
 * sync_pool.h - what the gossip pool tells anti-entropy: how large it is,
 * and, while a catalog is missing, that servers have appeared.
 */
#ifndef CHECKD_SYNC_POOL_H
#define CHECKD_SYNC_POOL_H

#include "lib/rpc.h"

enum { POOL_CALL_MS = 10 * 1000, POOL_ARENA_MAX = 64 * 1024 * 1024 };

struct sync_pool {
	struct rpc_client *gossipd;
	uint32_t size_call, watch_call;	/* 0: not asked */
	uint64_t members;		/* that are alive; 0: not known yet */
	uint64_t index, servers;	/* of the last answer of the watch */
	bool watching, counted;
	void (*appeared)(void *arg);
	void *arg;
};

/* The client is borrowed, and freed before this is used for the last time. */
void sync_pool_init(struct sync_pool *p, struct rpc_client *gossipd, void (*appeared)(void *arg), void *arg);

/* Ask for the number of members. */
void sync_pool_ask_size(struct sync_pool *p);

/* Watch for servers, or no longer: appeared() is called whenever more are alive than before. */
void sync_pool_watch(struct sync_pool *p, bool on);

#endif
