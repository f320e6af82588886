/*
 * check_target.c - what 10,000 checks ask: a port that accepts, and one that
 * answers HTTP requests.
 *
 *	check_target IP TCP_PORT HTTP_PORT
 *
 * A line on stdin is answered by one with what was served so far:
 * connections to the first port, requests at the second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_MAX = 65536, EVENTS = 256, REQUEST_MAX = 4096 };

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/* What is known of a descriptor. */
enum role { NONE, LISTEN_TCP, LISTEN_HTTP, CONN_TCP, CONN_HTTP, CONTROL };
static unsigned char roles[FDS_MAX];
static unsigned long tcp_served, http_served;
static int ep;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
watch(int fd, enum role role)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (fd >= FDS_MAX || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
	roles[fd] = (unsigned char)role;
}

static void
listen_at(const char *ip, const char *port, enum role role)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || inet_pton(AF_INET, ip, &a.sin_addr) != 1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	watch(fd, role);
}

static void
accept_all(int fd, enum role role)
{
	int conn;

	while ((conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		watch(conn, role);
}

static void
hang_up(int fd)
{
	roles[fd] = NONE;
	(void)close(fd);
}

/* Requests come in one piece here. */
static void
serve(int fd)
{
	char request[REQUEST_MAX];
	ssize_t n = read(fd, request, sizeof(request));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 4 && memcmp(request + n - 4, "\r\n\r\n", 4) == 0 && write(fd, answer, sizeof(answer) - 1) == sizeof(answer) - 1)
		http_served++;
	hang_up(fd);
}

static void
drain(int fd)
{
	char bytes[REQUEST_MAX];

	if (read(fd, bytes, sizeof(bytes)) < 0 && errno == EAGAIN)
		return;
	tcp_served++;
	hang_up(fd);
}

static bool
tell(void)
{
	char line[64];

	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		return false;
	return printf("%lu %lu\n", tcp_served, http_served) > 0 && fflush(stdout) == 0;
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	bool going = true;

	if (argc != 4) {
		fprintf(stderr, "usage: check_target IP TCP_PORT HTTP_PORT\n");
		return 2;
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		die("epoll_create1");
	listen_at(argv[1], argv[2], LISTEN_TCP);
	listen_at(argv[1], argv[3], LISTEN_HTTP);
	watch(STDIN_FILENO, CONTROL);
	while (going) {
		int n = epoll_wait(ep, events, EVENTS, -1);

		for (int i = 0; i < n && going; i++) {
			int fd = events[i].data.fd;

			switch ((enum role)roles[fd]) {
			case LISTEN_TCP: accept_all(fd, CONN_TCP); break;
			case LISTEN_HTTP: accept_all(fd, CONN_HTTP); break;
			case CONN_TCP: drain(fd); break;
			case CONN_HTTP: serve(fd); break;
			case CONTROL: going = tell(); break;
			case NONE: break;
			}
		}
	}
	return 0;
}
