/*
 * waiters.c - many blocking queries at once, as a program that is told when to go on.
 *
 *	waiters IP PORT CLIENTS KEYS	each client waits for one of KEYS keys
 *
 * It prints "parked" when every client waits, and then takes orders, a line
 * each: "wake" writes the first key and prints how long its waiters took
 * ("woken COUNT FIRST_MS MEDIAN_MS LAST_MS") before they wait again; "quit"
 * hangs up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 2048, EVENTS = 512, LIMIT_S = 60, CLIENTS_MAX = 50000, QUIET_MS = 500 };

struct client {
	int fd;
	unsigned key;
	uint64_t index;
	size_t len;
	char answer[ANSWER_MAX];
};

static struct client *clients;
static size_t nclients, nkeys;
static int epoll_fd;
static struct sockaddr_in server;

static void
die(const char *what)
{
	(void)fprintf(stderr, "waiters: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)(void *)&server, sizeof(server)) < 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void
send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		text += n;
		len -= (size_t)n;
	}
}

static void
ask(struct client *c, uint64_t index)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "GET /v1/kv/waiters/%u?index=%llu&wait=590s HTTP/1.1\r\nHost: bench\r\n\r\n", c->key,
	    (unsigned long long)index);

	c->len = 0;
	send_all(c->fd, text, (size_t)n);
}

/* Whether the answer is there as a whole. */
static int
complete(struct client *c)
{
	char *end, *len, *index;

	c->answer[c->len] = '\0';
	end = strstr(c->answer, "\r\n\r\n");
	len = strstr(c->answer, "Content-Length: ");
	index = strstr(c->answer, "X-Consul-Index: ");
	if (end == NULL || len == NULL || c->len < (size_t)(end + 4 - c->answer) + strtoul(len + 16, NULL, 10))
		return 0;
	if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0 || index == NULL) {
		(void)fprintf(stderr, "waiters: answered: %.200s\n", c->answer);
		exit(1);
	}
	c->index = strtoull(index + 16, NULL, 10);
	return 1;
}

/* Collect n answers; when[i] is when the i-th was there. How many came within that time. */
static size_t
collect(size_t n, double limit_ms, double *when)
{
	struct epoll_event events[EVENTS];
	double end = now_ms() + limit_ms;
	size_t got = 0;

	while (got < n && now_ms() < end) {
		int k = epoll_wait(epoll_fd, events, EVENTS, 20);

		for (int i = 0; i < k; i++) {
			struct client *c = &clients[events[i].data.u32];
			ssize_t m = recv(c->fd, c->answer + c->len, sizeof(c->answer) - 1 - c->len, MSG_DONTWAIT);

			if (m < 0 && errno == EAGAIN)
				continue;
			if (m <= 0)
				die("a connection was lost");
			c->len += (size_t)m;
			if (complete(c)) {
				if (when != NULL)
					when[got] = now_ms();
				got++;
				c->len = 0;
			}
		}
	}
	return got;
}

static void
put(int fd, unsigned key, const char *value)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "PUT /v1/kv/waiters/%u HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n%s", key,
	    strlen(value), value);

	send_all(fd, text, (size_t)n);
}

static void
put_answered(int fd)
{
	char text[2048];
	size_t len = 0;

	while (len < 5 || memcmp(text + len - 4, "true", 4) != 0) {
		ssize_t n = recv(fd, text + len, sizeof(text) - len, 0);

		if (n <= 0)
			die("a write was not answered");
		len += (size_t)n;
	}
}

static void
wake(int fd, double *when)
{
	size_t want = (nclients + nkeys - 1) / nkeys, got;
	char value[64];
	double start = now_ms();

	(void)snprintf(value, sizeof(value), "woken at %f", start);
	put(fd, 0, value);
	got = collect(want, LIMIT_S * 1000.0, when);
	put_answered(fd);
	(void)printf("woken %zu %.2f %.2f %.2f\n", got, got > 0 ? when[0] - start : 0, got > 0 ? when[got / 2] - start : 0,
	    got > 0 ? when[got - 1] - start : 0);
	(void)fflush(stdout);
	for (size_t i = 0; i < nclients; i += nkeys)
		ask(&clients[i], clients[i].index);
}

static void
park_all(int fd)
{
	struct epoll_event e = { .events = EPOLLIN };

	for (size_t k = 0; k < nkeys; k++) {
		put(fd, (unsigned)k, "first");
		put_answered(fd);
	}
	for (size_t i = 0; i < nclients; i++) {
		clients[i].fd = dial();
		clients[i].key = (unsigned)(i % nkeys);
		e.data.u32 = (uint32_t)i;
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, clients[i].fd, &e) < 0)
			die("epoll_ctl");
		ask(&clients[i], 0);
	}
	if (collect(nclients, LIMIT_S * 1000.0, NULL) < nclients)
		die("not every client had a first answer");
	for (size_t i = 0; i < nclients; i++)
		ask(&clients[i], clients[i].index);
	if (collect(1, QUIET_MS, NULL) > 0)
		die("one was woken by nothing");
	(void)puts("parked");
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct rlimit rl;
	char order[32];
	double *when;
	int fd;

	if (argc != 5)
		return 2;
	server = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10)) };
	nclients = strtoul(argv[3], NULL, 10);
	nkeys = strtoul(argv[4], NULL, 10);
	if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || nclients < 1 || nclients > CLIENTS_MAX || nkeys < 1 ||
	    nkeys > nclients)
		return 2;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	clients = calloc(nclients, sizeof(*clients));
	when = calloc(nclients, sizeof(*when));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (clients == NULL || when == NULL || epoll_fd < 0)
		die("start");
	fd = dial();
	park_all(fd);
	while (fgets(order, sizeof(order), stdin) != NULL && strcmp(order, "quit\n") != 0)
		if (strcmp(order, "wake\n") == 0)
			wake(fd, when);
	free(clients);
	free(when);
	return 0;
}
