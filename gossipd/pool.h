/*
 * pool.h - one pool (LAN or WAN) at work: the pure protocol, its sockets,
 * its files and its timer.
 *
 * The protocol is called from the loop alone, and never from its own hooks:
 * what a hook asks for (packets, connections, files) happens later.
 */
#ifndef GOSSIPD_POOL_H
#define GOSSIPD_POOL_H

#include "gossipd/autojoin.h"
#include "gossipd/consul.h"
#include "gossipd/keyfile.h"
#include "gossipd/net.h"
#include "gossipd/serf/serf.h"
#include "gossipd/snapshot.h"
#include "gossipd/stream.h"
#include "gossipd/udp.h"
#include "lib/daemon.h"
#include "lib/records.h"

enum {
	POOL_NODES_MAX = 65536,		/* members that are known, */
	POOL_NODES_OPEN_MAX = 16384,	/* and where anybody can make them up, for want of a key */
	POOL_PACKET_MAX = 1400,
	POOL_RECLAIM_MS = 30000,	/* a failed member's name may come from another address after */
	POOL_ARENA_MAX = 256 * 1024,	/* of one question */
	POOL_MERGE_ARENA_MAX = 8 * 1024 * 1024,	/* to check a whole push/pull: the IDs of its rows */
};

struct gossipd;

struct pool {
	struct gossipd *g;
	bool wan, on;
	bool closed;			/* we have left: nothing goes in or out any more */
	const char *log, *log_swim;	/* subsystems of Serf's and memberlist's lines */
	const char *label;		/* "LAN" */
	struct serf *serf;		/* NULL while it is made */
	struct keyring *keys;
	struct consul_self self;
	struct gossip_addr addr;	/* that is advertised */
	char bind_ip[SOCK_ADDR_TEXT_MAX];
	struct arena strings;		/* of self */
	struct cidrs allowed;
	/* One for each that may be at work at a time: they hold scratch. */
	struct wrap wrap_in, wrap_out, stream_in, stream_out;
	struct udp udp;
	struct streams streams;
	struct keyfile keyfile;
	struct snapshot snapshot;
	struct autojoin autojoin;
	uv_timer_t timer;
	bool timer_open;
	uint64_t armed;			/* when the timer fires, ns */
	struct defer due;
	uint64_t index;			/* moves with each change of a member */
	uint64_t random[2];
	uint64_t failed_probes;		/* of swim's count, those that were logged */
	uint64_t name_conflicts;	/* members of a name that another one has */
	struct log_limit refusals, conflicts, faults;
	struct metric_slot *joined, *failed_member, *left_member, *updated;
};

/*
 * Open a pool: ports, keys, snapshot, and the member that is us. Negative: the
 * reason has been logged. index: where the pool's index starts; a restarted
 * gossipd gives a higher one than it had, so that no watcher waits for an
 * index of its earlier life.
 */
int MUST_CHECK pool_open(struct pool *p, struct gossipd *g, bool wan, uint64_t index);

/* Stop the work; what is on its way to the disk gets there. Handles are closed, memory goes with pool_release(). */
void pool_close(struct pool *p);
void pool_release(struct pool *p);

/* Something was given to the protocol: its timer is set anew at the end of the turn. */
void pool_touch(struct pool *p);

/* Take tags from a new slice. -ENOMEM, -ELIMIT. */
int MUST_CHECK pool_update(struct pool *p, struct json_object *slice);

/* Nothing goes in or out any more. */
void pool_shut(struct pool *p);

/* A member as records.h has it; its strings come from the arena. -ENOMEM, -ELIMIT. */
int MUST_CHECK pool_member(const struct serf_member *m, struct arena *a, struct member *ret);

/* The member of this name, whatever the case. */
bool pool_find(struct pool *p, struct str name, struct serf_member *ret);

/* What a server among the members says of itself (ret may be NULL); its strings lie in the member's Meta. False: it is none. */
bool pool_server(const struct serf_member *m, struct arena *a, struct consul_server *ret);

#endif
