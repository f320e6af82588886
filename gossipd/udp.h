/*
 * udp.h - the datagrams of one pool: many received in one call, all of a turn
 * sent in one.
 *
 * Nothing is kept for later: what the system does not take is dropped and
 * counted, as the network could have done.
 */
#ifndef GOSSIPD_UDP_H
#define GOSSIPD_UDP_H

#include "gossipd/wire/packet.h"
#include "lib/daemon.h"

struct pool;

enum {
	UDP_BATCH = 16,			/* received in one call */
	UDP_ROUNDS_MAX = 16,		/* such calls before others get their turn */
	UDP_OUT_MAX = 64,		/* sent in one call */
	UDP_OUT_BYTES_MAX = 4 * 1024 * 1024,
	UDP_SOCKET_BUFFER = 2 * 1024 * 1024,
	UDP_SCRATCH_KEEP = 64 * 1024,
};

struct udp_out {
	size_t at, len;
	struct gossip_addr to;
};

struct udp_counts {
	uint64_t received, received_bytes, sent, sent_bytes;
	uint64_t unsent;			/* the system did not take them */
	uint64_t strangers;			/* not from an allowed network */
	uint64_t faults[PACKET_FAULTS];
};

struct udp {
	struct pool *p;
	int fd, family;
	uv_poll_t poll;
	bool open;
	struct buf out;
	struct udp_out v[UDP_OUT_MAX];
	unsigned n;
	struct defer flush;
	struct udp_counts counts;
	struct log_limit strangers, faults, unsent;
};

/* Takes the bound socket over, also when it fails. */
int MUST_CHECK udp_open(struct udp *u, struct pool *p, int fd);
/* Take what has arrived. */
void udp_receive(struct udp *u);
/* Wrap it, and send it at the end of the turn. */
void udp_send(struct udp *u, const struct gossip_addr *to, struct str plain, bool crc);
void udp_flush(struct udp *u);
void udp_close(struct udp *u);
void udp_release(struct udp *u);

#endif
