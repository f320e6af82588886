/* tcp.h - questions over TCP: pipelined, answered in any order (RFC 7766). */
#ifndef DNSD_TCP_H
#define DNSD_TCP_H

#include "dnsd/serve.h"

enum {
	TCP_CONNS_MAX = 512,		/* beyond it the one idle for longest is closed */
	TCP_CLIENT_CONNS_MAX = 256,	/* of one address (IPv6: /64), beyond it its own one idle for longest */
	TCP_IDLE_MS = 10 * 1000,	/* without a whole question, a question that waits or an answer being taken */
	TCP_WAITING_MAX = 64,		/* questions of one connection that wait for raftd or a recursor */
	TCP_OUT_HIGH = 256 * 1024,	/* answers not taken, above which a connection is not read */
	TCP_OUT_MAX = 512 * 1024,	/* ... and above which it is closed: its questions had waited */
	TCP_OUT_ALL = 32 * 1024 * 1024,	/* of all connections: above it none is read that has any */
	TCP_BACKLOG = 1024,
};

struct tcp;

struct tcp *tcp_new(struct loop *l, struct serve *s);

/* Serve one more listening socket, which is owned from now on. -errno. */
int MUST_CHECK tcp_listen(struct tcp *t, int fd);

/* No more connections and no more questions. */
void tcp_stop(struct tcp *t);
void tcp_free(struct tcp *t);

size_t tcp_conns(const struct tcp *t);

#endif
