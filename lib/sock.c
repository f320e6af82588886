/* sock.c - making sockets. */
#include "lib/sock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int
sock_dir_open(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* The directory as the kernel's own short name for it: always fits. */
static int
dir_addr(int dir_fd, const char *name, struct sockaddr_un *un)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	return n < (int)sizeof(un->sun_path) ? 0 : -ENAMETOOLONG;
}

int
sock_unix_connect(int dir_fd, const char *name)
{
	struct sockaddr_un un;
	int fd, rc = dir_addr(dir_fd, name, &un);

	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A Unix socket connects at once or not at all; EAGAIN is a full backlog. */
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	return fd;
}

int
sock_unix_listen(int dir_fd, const char *name, mode_t mode)
{
	struct sockaddr_un un;
	int fd, rc = dir_addr(dir_fd, name, &un);

	if (rc < 0)
		return rc;
	fd = sock_unix_connect(dir_fd, name);
	if (fd >= 0) {
		(void)close(fd);
		return -EADDRINUSE;
	}
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || fchmodat(dir_fd, name, mode, 0) < 0 ||
	    listen(fd, SOMAXCONN) < 0) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	return fd;
}

/* Opens the directory of a path and points name at its last part. */
static int
split_path(const char *path, char copy[PATH_MAX], const char **ret_name)
{
	char *slash;
	int n = snprintf(copy, PATH_MAX, "%s", path);

	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	slash = strrchr(copy, '/');
	if (slash == NULL || slash[1] == 0)
		return -EINVAL;
	*slash = 0;
	*ret_name = slash + 1;
	return sock_dir_open(copy[0] != 0 ? copy : "/");
}

int
sock_unix_connect_path(const char *path)
{
	char copy[PATH_MAX];
	const char *name;
	int fd, dir = split_path(path, copy, &name);

	if (dir < 0)
		return dir;
	fd = sock_unix_connect(dir, name);
	(void)close(dir);
	return fd;
}

int
sock_unix_listen_path(const char *path, mode_t mode)
{
	char copy[PATH_MAX];
	const char *name;
	int fd, dir = split_path(path, copy, &name);

	if (dir < 0)
		return dir;
	fd = sock_unix_listen(dir, name, mode);
	(void)close(dir);
	return fd;
}

int
sock_addr_parse(const char *ip, uint16_t port, union sock_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, ip, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons(port);
		return 0;
	}
	if (inet_pton(AF_INET6, ip, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons(port);
		return 0;
	}
	return -EINVAL;
}

socklen_t
sock_addr_len(const union sock_addr *a)
{
	return a->sa.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

void
sock_addr_format(const union sock_addr *a, char text[SOCK_ADDR_TEXT_MAX])
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (a->sa.sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof(ip));
		(void)snprintf(text, SOCK_ADDR_TEXT_MAX, "%s:%u", ip, ntohs(a->in.sin_port));
	} else {
		(void)inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof(ip));
		(void)snprintf(text, SOCK_ADDR_TEXT_MAX, "[%s]:%u", ip, ntohs(a->in6.sin6_port));
	}
}

int
sock_inet_listen(const union sock_addr *a, int type, int backlog, bool reuseport)
{
	int on = 1, rc, fd = socket(a->sa.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* UDP with SO_REUSEADDR would let two daemons share a port unseen. */
	rc = type == SOCK_STREAM ? setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) : 0;
	if (rc == 0 && a->sa.sa_family == AF_INET6)
		rc = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (rc == 0 && reuseport)
		rc = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (rc == 0)
		rc = bind(fd, &a->sa, sock_addr_len(a));
	if (rc == 0 && type == SOCK_STREAM)
		rc = listen(fd, backlog);
	if (rc < 0) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	return fd;
}

int
sock_inet_connect(const union sock_addr *to, const union sock_addr *from)
{
	int on = 1, rc, fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	rc = sock_tcp_options(fd);
	/* The port is chosen at connect(): only together with the other end must it be unique. */
	if (rc == 0 && from != NULL && (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
	    bind(fd, &from->sa, sock_addr_len(from)) < 0))
		rc = -errno;
	if (rc == 0 && connect(fd, &to->sa, sock_addr_len(to)) < 0 && errno != EINPROGRESS)
		rc = -errno;
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int
sock_tcp_options(int fd)
{
	int on = 1, idle = 2, every = 1, probes = SOCK_PEER_LOST_MS / 1000 - idle;
	unsigned lost_ms = SOCK_PEER_LOST_MS;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost_ms, sizeof(lost_ms)) < 0)
		return -errno;
	return 0;
}
