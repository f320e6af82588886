/*
 * dial.h - a socket connected to "host:port", found by name when need be.
 *
 * Names are resolved in libuv's pool, so the loop never waits; a literal
 * address needs neither the resolver nor a thread. The addresses of a name
 * are tried one after the other. Faults are told in the words of Go's
 * dialer, which Consul's clients know: `dial tcp 127.0.0.1:1: connect:
 * connection refused`.
 */
#ifndef CHECKD_DIAL_H
#define CHECKD_DIAL_H

#include <uv.h>

#include "lib/str.h"

struct dial;

/*
 * Called once, from the loop, never from dial_start(): fd is connected,
 * non-blocking and the receiver's to close; or it is -1 and fault says why.
 * The dial is gone then.
 */
typedef void dial_done(void *arg, int fd, const char *fault);

enum { DIAL_HOST_MAX = 256, DIAL_PORT_MAX = 8, DIAL_FAULT_MAX = 512 };

/*
 * Cut "host:port" or "[v6]:port"; no host is localhost, as for Go. -EINVAL
 * when there is no port, or a part is too long. Pure.
 */
int dial_split(struct str target, char host[DIAL_HOST_MAX], char port[DIAL_PORT_MAX]);

/* Whether a port is a name, or a number that is one: getaddrinfo(3) takes 99999 for 34463. Pure. */
bool dial_port_valid(const char *port);

/*
 * What is the matter with a socket that a poll handle reports on with this
 * status (libuv says EBADF of any error): an errno, or 0.
 */
int dial_socket_error(int fd, int status);

/* Begin; socktype is SOCK_STREAM or SOCK_DGRAM. There is no time limit: the owner cancels. NULL without memory. */
struct dial *dial_start(uv_loop_t *uv, struct str target, int socktype, dial_done *done, void *arg);

/* Give up before done() was called; NULL is none. */
void dial_cancel(struct dial *d);

#endif
