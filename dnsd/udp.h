/* udp.h - a bound UDP socket whose questions are answered in batches. */
#ifndef DNSD_UDP_H
#define DNSD_UDP_H

#include "dnsd/serve.h"

enum {
	UDP_BATCH = 64,			/* datagrams taken, and sent, by one system call */
	UDP_ROUNDS_MAX = 8,		/* batches in a turn, before others have theirs */
	UDP_QUERY_MAX = 1536,		/* longer ones are cut by the kernel, and refused */
	UDP_SOCKET_BUFFER = 4 * 1024 * 1024, /* asked of the kernel, which may give less */
};

struct udp;

/* Serve fd, which is owned from now on. NULL, with fd closed, when it cannot be. */
struct udp *udp_new(struct loop *l, int fd, struct serve *s);

/* Questions again, after udp_stop(). */
void udp_start(struct udp *u);

/* No more questions; those that wait are still answered until udp_free(). */
void udp_stop(struct udp *u);
void udp_free(struct udp *u);

#endif
