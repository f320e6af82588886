/*
 * gossipd.h - what the files of gossipd share.
 */
#ifndef GOSSIPD_GOSSIPD_H
#define GOSSIPD_GOSSIPD_H

#include "gossipd/listen.h"
#include "gossipd/pool.h"
#include "lib/daemon.h"

enum {
	WATCHES_MAX = 4096,		/* waiting gossip.members requests */
	JOINS_MAX = 16,			/* joins under way */
	JOIN_ADDRS_MAX = 256,		/* addresses of one join */
	JOIN_TIMEOUT_MS = 10000,	/* to connect to one address, as memberlist's TCP timeout */
};

/* A gossip.members request whose MinIndex has not been passed. */
struct watch {
	struct watch *next;
	struct rpc_token token;
	uint64_t min_index;
	bool wan;
};

struct gossipd {
	struct daemon *d;
	struct json_object *started_with;	/* the slice of the start: what needs a restart is compared with it */
	struct pool lan, wan;
	bool has_wan;			/* servers with a WAN port */
	struct listen lan_listen, wan_listen;
	struct watch *watches;
	size_t nwatches;
	struct join *joins;		/* see join.h */
	size_t njoins;
};

/* Answer the watches whose index has passed. */
void gossipd_wake(struct gossipd *g);

extern const struct rpc_route gossipd_routes[];
extern const size_t gossipd_nroutes;
void gossipd_cancelled(void *ctx, struct rpc_token token);

#endif
