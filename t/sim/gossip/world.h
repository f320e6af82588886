/*
 * world.h - pools of the real gossipd/swim and gossipd/serf on a simulated
 * network and clock, in one process, under one seed.
 *
 * A member is a struct serf with hooks. Datagrams take the time of their way
 * (members lie in a plane), may be lost, and wait in a bounded buffer while their receiver is
 * blocked: one that is starved of CPU runs for a moment, then not at all for seconds, timers and packets alike.
 * Streams lose nothing. The same seed gives the same run: world.digest is made of
 * every packet and its time.
 */
#ifndef T_SIM_GOSSIP_WORLD_H
#define T_SIM_GOSSIP_WORLD_H

#include "gossipd/serf/serf.h"
#include "gossipd/wire/stream.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

enum { UDP_HEADER = 28, INBOX_MAX = 512, NAME_MAX_SIM = 16 };

struct world;

struct packet {
	struct packet *next;		/* in an inbox */
	uint32_t from;
	bool stream, join, answer;	/* stream: a whole push/pull */
	size_t len;
	uint8_t data[];
};

struct member {
	struct world *w;
	uint32_t index;
	char name[NAME_MAX_SIM];
	struct serf *serf;		/* NULL: not there */
	bool starved, left;
	uint64_t blocked_until;		/* of now: it does not run */
	uint64_t wake_at;		/* the wake-up that counts */
	struct packet *inbox, **inbox_tail;
	size_t ninbox;
	double x, y;			/* ms */
	uint64_t rng;
	uint64_t packets, bytes, stream_bytes;	/* sent */
};

enum happening { AT_WAKE, AT_PACKET, AT_STREAM_PING, AT_STREAM_ACK, AT_BLOCK, AT_RUN };

struct happen {
	uint64_t at, number;
	enum happening what;
	uint32_t who, seqno;
	struct packet *packet;
};

/* What is watched for: how members hear of one of them. */
struct watch_for {
	char name[NAME_MAX_SIM];
	enum serf_change what;
	uint64_t *heard;		/* by member: when, 0: not yet */
	size_t n, of;
};

struct options {
	uint64_t seed;
	uint32_t members;
	double loss;			/* 0 .. 1 */
	double starved;			/* share of members */
	bool lifeguard;			/* false: SWIM as in its paper, with suspicion */
	bool timers_first;		/* a member that runs again sees to its timers before its packets */
	uint32_t quiet_s, noisy_s;
};

struct world {
	struct options o;
	uint64_t now, started, number, rng, digest;
	struct happen *heap;
	size_t nheap, heap_cap;
	struct member *members;
	size_t nmembers, cap;
	struct swim_names *names;
	struct wrap wrap;
	struct swim_config swim;
	struct serf_config serf;
	double loss;
	struct watch_for watched;
	/* "Failed", told of members that are there: of healthy ones, at healthy members; at all; of starved ones. */
	uint64_t false_both, false_healthy, false_starved;
	uint64_t delivered, lost, overflowed;
};

/* ---- world.c */
void world_init(struct world *w, const struct options *o, uint32_t room);
void world_release(struct world *w);
/* Members 0 .. n - 1, who know each other already. */
void world_form(struct world *w, uint32_t n);
/* One more; through: whom it joins by. Its index. */
uint32_t world_join(struct world *w, uint32_t through);
void world_kill(struct world *w, uint32_t i);
void world_leave(struct world *w, uint32_t i);
/* From now on this share of the members runs short of CPU, and this share of the datagrams is lost. */
void world_trouble(struct world *w, double starved, double loss);
/* Until that time, or until done says so. */
void world_run(struct world *w, uint64_t until, bool (*done)(struct world *w));
uint64_t world_random(uint64_t *state);
double world_share(uint64_t *state);		/* 0 .. 1 */

/* ---- net.c: hooks of a member, and what arrives */
void net_hooks(struct member *m, struct serf_hooks *h);
void net_send(struct member *m, uint32_t to, struct packet *p, bool reliable);
void net_arrived(struct world *w, uint32_t to, struct packet *p);
void net_exchange(struct member *m, uint32_t to, bool join, bool answer);
void net_handle(struct member *m, struct packet *p);
void happen_add(struct world *w, const struct happen *h);
void member_wake(struct member *m);

/* ---- measure.c */
/* To be called before the member joins, and while one that is to go is there: the others are waited for. */
void measure_watch(struct world *w, const char *name, enum serf_change what);
void measure_heard(struct member *m, enum serf_change what, const struct serf_member *about);
bool measure_all_heard(struct world *w);
struct spread {
	double first, median, last;	/* seconds since from */
	size_t heard, of;
};
struct spread measure_spread(struct world *w, uint64_t from);

#endif
