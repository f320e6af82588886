/*
 * gossipd.h - what the files of gossipd share: the daemon's state, its limits.
 */
#ifndef GOSSIPD_GOSSIPD_H
#define GOSSIPD_GOSSIPD_H

#include "gossipd/event.h"
#include "gossipd/pool.h"
#include "lib/acl_gate.h"
#include "lib/daemon.h"

enum {
	WATCHES_MAX = 4096,		/* waiting gossip.members and gossip.event_list requests, each */
	JOINS_MAX = 16,			/* joins asked for that are under way */
	JOIN_ADDRS_MAX = 256,		/* addresses of one join */
	LEAVERS_MAX = 16,		/* who wait for the end of our leave */
	KEYRING_OPS_MAX = 8,		/* at a time */
	REQUEST_ARENA_MAX = 256 * 1024,
	FLOOD_MS = 60 * 1000,		/* LAN servers into the WAN pool, besides each new one at once */
	METRICS_MS = 5000,		/* what the pools count goes to the metrics */
};

/* A gossip.members request whose MinIndex has not been passed. */
struct watch {
	struct watch *next;
	struct acl_kept kept;		/* the whole request: what may be seen is asked for again */
	uint64_t min_index;
	bool wan;
};

struct keyring_op;
struct join;

struct gossipd {
	struct daemon *d;
	struct rpc_client *raftd;		/* asked for the rights of tokens */
	struct acl_gate *gate;
	struct json_object *started_with;	/* the slice of the start: what needs a restart is compared with it */
	struct pool lan, wan;
	bool has_wan;			/* servers with a WAN port */
	bool restarted;			/* the supervisor kept our ports from an earlier life */
	struct watch *watches;
	size_t nwatches;
	struct defer wake;
	struct join *joins;		/* see join.h */
	size_t njoins;			/* of these asked for */
	struct rpc_token leavers[LEAVERS_MAX];
	size_t nleavers;
	struct keyring_op *keyring_ops;	/* see keyring_op.h */
	size_t nkeyring_ops;
	struct events events;		/* see event.h */
	unsigned starting;		/* pools whose start_join is not over: ready after that */
	uv_timer_t flood, measure;
	struct defer flood_now;
	bool flooding, flood_again;
};

/* A member changed: watches whose index has passed are answered at the end of the turn. */
void gossipd_changed(struct gossipd *g);

/* A pool has finished leaving. */
void gossipd_left(struct gossipd *g);

/* Give up: the reason is logged and told to the supervisor, and the process ends so that it is not started again. */
void gossipd_give_up(const char *why) __attribute__((noreturn));

/* ops.c, keyring_op.c, event_op.c */
extern const struct rpc_route gossipd_routes[];
extern const size_t gossipd_nroutes;
void gossipd_cancelled(void *ctx, struct rpc_token token);
void ops_release(struct gossipd *g);
acl_handler op_keyring, op_event_fire, op_event_list, op_serf_event;

/* Whether to go on; if not, the answers are still awaited, or the request was refused. */
bool gossipd_permitted(struct acl_facts *f, bool may);
/* The same for what only the daemons of this node ask for. */
bool gossipd_own(struct acl_facts *f, struct gossipd *g, const struct rpc_request *req);

/* info.c */
void gossipd_info(struct daemon *d, struct info_writer *iw);
void gossipd_measure(struct gossipd *g);

#endif
