/*
 * server.h - the HTTP server: libmicrohttpd inside our loop, its listeners,
 * the limits on connections.
 */
#ifndef HTTPD_SERVER_H
#define HTTPD_SERVER_H

#include "httpd/httpd.h"

/* Listen on every address of the config. Negative: the reason was logged. */
int MUST_CHECK server_start(struct httpd *h);

/* Have the library look at its connections at the end of this turn. */
void server_kick(struct httpd *h);

/* Serve a connection, which is the server's from now on; it may be refused. fd does not block. */
void server_serve(struct httpd *h, int fd, const struct sockaddr *from, socklen_t len);

/* Accept no more. */
void server_quiesce(struct httpd *h);

/* Close every connection; none may be suspended. */
void server_stop(struct httpd *h);

/* Open connections. */
unsigned server_conns(const struct httpd *h);

#endif
