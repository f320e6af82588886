/*
 * listen.h - the ports of a pool, held so that a clash is seen at start.
 *
 * What arrives there is dropped without a word: connections are closed,
 * datagrams read and forgotten.
 */
#ifndef GOSSIPD_LISTEN_H
#define GOSSIPD_LISTEN_H

#include "lib/daemon.h"

struct listen {
	uv_tcp_t tcp;
	uv_udp_t udp;
	bool tcp_open, udp_open;
	struct loop *loop;
	struct metric_slot *accepted, *received;
};

/* Bind name ("serf_lan") on TCP and UDP. Negative when that fails; the reason has been logged. */
int MUST_CHECK listen_open(struct listen *l, struct daemon *d, const char *name, const char *ip, uint16_t port);
void listen_close(struct listen *l);

#endif
