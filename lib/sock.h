/*
 * sock.h - sockets: Unix ones in a directory whatever the length of its
 * path, TCP and UDP ones on an address.
 *
 * A socket path longer than sun_path is reached through
 * /proc/self/fd/DIR/NAME. Every descriptor is close-on-exec and non-blocking.
 */
#ifndef LIB_SOCK_H
#define LIB_SOCK_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/errs.h"
#include "lib/str.h"

/* Open a directory for the functions below; a descriptor or -errno. */
int sock_dir_open(const char *path);

/* Bind and listen at dir/name, replacing a dead socket there. A descriptor or -errno. */
int sock_unix_listen(int dir_fd, const char *name, mode_t mode);

/* Begin to connect to dir/name; a descriptor or -errno (-ECONNREFUSED, -ENOENT: nobody there). */
int sock_unix_connect(int dir_fd, const char *name);

/* An absolute path of any length (a client's unix:// address). */
int sock_unix_connect_path(const char *path);
int sock_unix_listen_path(const char *path, mode_t mode);

union sock_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage ss;
};

enum { SOCK_ADDR_TEXT_MAX = 64 };

/* A literal IPv4 or IPv6 address; -EINVAL for names. */
int MUST_CHECK sock_addr_parse(const char *ip, uint16_t port, union sock_addr *ret);
socklen_t sock_addr_len(const union sock_addr *a);
/* "1.2.3.4:80", "[::1]:80" */
void sock_addr_format(const union sock_addr *a, char text[SOCK_ADDR_TEXT_MAX]);

/* Bind (and listen, for SOCK_STREAM). reuseport: SO_REUSEPORT too. A descriptor or -errno. */
int sock_inet_listen(const union sock_addr *a, int type, int backlog, bool reuseport);

/*
 * Begin to connect over TCP, from this local address when from is not NULL. A
 * descriptor, connected when it turns writable without SO_ERROR, or -errno.
 */
int sock_inet_connect(const union sock_addr *to, const union sock_addr *from);

/*
 * For connections between nodes: no delay; a peer that has vanished is noticed
 * within SOCK_PEER_LOST_MS, whether data is on its way to it or not. -errno.
 */
enum { SOCK_PEER_LOST_MS = 5000 };
int MUST_CHECK sock_tcp_options(int fd);

#endif
