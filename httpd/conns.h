/*
 * conns.h - open connections: whom each serves, and whether its client has
 * gone.
 *
 * The library notices neither when it has suspended a connection nor when the
 * end of a client's bytes arrives together with the last of them. So each
 * socket is also in an epoll set of ours that asks for EPOLLRDHUP alone. A
 * client that has closed its half counts as gone: what waits for it without
 * an end (a blocking query, a stream) ends; what is being answered is
 * answered; what can never be complete is closed. So is who takes too long to
 * say what it wants: never one that waits for us, or rests between requests.
 */
#ifndef HTTPD_CONNS_H
#define HTTPD_CONNS_H

#include "httpd/clients.h"
#include "httpd/httpd.h"

struct MHD_Connection;

struct conn {
	struct client *client;
	struct request *r;		/* the one that is open, or NULL */
	struct conn *next, **prev;	/* among the gone ones to look at; prev NULL: not among them */
	struct conn *all_next, **all_prev;
	uint64_t since_ms;		/* when it was made; of a request with a body: when the last of it came */
	uint64_t body_bytes;
	int fd;
	bool gone, used;		/* used: it has asked something */
};

struct conns;

struct conns *conns_new(struct httpd *h);
void conns_free(struct conns *cs);

/* A new connection. NULL without memory or when its socket cannot be watched. */
struct conn *conn_new(struct conns *cs, struct client *client, int fd);
void conn_free(struct conn *c);

/* A piece of a body has come. */
void conn_moves(struct conn *c, size_t bytes);

/* That of the library's connection. */
struct conn *conn_of(struct MHD_Connection *mhd);

/* The request of this connection is over. */
void conn_idle(struct conns *cs, struct conn *c);

/* After the library has run: end what can never be complete. Whether some still have bytes for it to read. */
bool conns_reap(struct conns *cs);

#endif
