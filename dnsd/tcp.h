/* tcp.h - questions over TCP: pipelined, answered in any order (RFC 7766). */
#ifndef DNSD_TCP_H
#define DNSD_TCP_H

#include "dnsd/serve.h"

enum {
	TCP_CONNS_MAX = 512,		/* beyond it the one idle for longest is closed */
	TCP_IDLE_MS = 10 * 1000,	/* without a whole question or a byte taken of an answer */
	TCP_WAITING_MAX = 64,		/* questions of one connection that wait for raftd */
	TCP_OUT_HIGH = 256 * 1024,	/* answers not taken, above which a connection is not read */
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
