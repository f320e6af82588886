/*
 * http.c - HTTP/1.1 in the clear, over TCP or a Unix socket.
 */
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "consulctl/client/errtext.h"
#include "consulctl/client/transport.h"
#include "lib/sock.h"

enum { ADDRESSES_MAX = 8, READ_SIZE = 64 * KiB, HEAD_MAX = 256 * KiB };

struct conn {
	int fd;			/* -1: unused */
	struct exchange *ex;	/* NULL: idle */
	bool connecting;
	bool reused;		/* it carried an exchange before this one */
	unsigned next_address;	/* what to try when this one refuses */
	struct buf out;		/* the head; the body is sent from where it lies */
	size_t sent;		/* of both */
	struct reply reply;
};

struct http {
	struct transport base;
	char *address;
	bool is_unix, resolved;
	union sock_addr addresses[ADDRESSES_MAX];
	unsigned naddresses;
	struct conn conns[EXCHANGES_MAX];
};

static void
conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->ex = NULL;
	buf_release(&c->out);
	reply_release(&c->reply);
}

static void
fail_dial(struct conn *c, const char *what, const char *address, int err)
{
	struct exchange *ex = c->ex;

	if (err == ETIMEDOUT)
		exchange_fail(ex, -err, "dial %s %s: i/o timeout", what, address);
	else
		exchange_fail(ex, -err, "dial %s %s: connect: %s", what, address, errtext(-err));
	conn_close(c);
}

/* ---- addresses */

/* Split "host:port", "[v6]:port" or "host"; host is the caller's to free. */
static char *
split_address(const char *address, const char **ret_port)
{
	const char *colon = strrchr(address, ':'), *from = address;
	size_t len = strlen(address);

	if (colon != NULL && strchr(colon, ']') == NULL) {
		len = (size_t)(colon - address);
		*ret_port = colon + 1;
	} else {
		*ret_port = "80";
	}
	if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
		from++;
		len -= 2;
	}
	return strndup(from, len);
}

static int
lookup(struct http *h, const char *host, const char *port)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list;
	int rc = getaddrinfo(host, port, &hints, &list);

	if (rc != 0)
		return rc;
	for (struct addrinfo *ai = list; ai != NULL && h->naddresses < ADDRESSES_MAX; ai = ai->ai_next)
		if (ai->ai_addrlen <= sizeof(h->addresses[0]))
			memcpy(&h->addresses[h->naddresses++], ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(list);
	return 0;
}

/* Fills h->addresses; 0, or the exchange has failed. A literal address does not touch the resolver. */
static int
resolve(struct http *h, struct exchange *ex)
{
	const char *port;
	char *host = split_address(h->address, &port), *end;
	unsigned long n;
	int rc;

	if (host == NULL) {
		exchange_fail(ex, -ENOMEM, "out of memory");
		return -ENOMEM;
	}
	n = strtoul(port, &end, 10);
	if (*port != '\0' && *end == '\0' && n <= 65535 && sock_addr_parse(host, (uint16_t)n, &h->addresses[0]) == 0) {
		h->naddresses = 1;
		rc = 0;
	} else {
		rc = lookup(h, host, port);
	}
	if (rc != 0 || h->naddresses == 0)
		exchange_fail(ex, -EHOSTUNREACH, "dial tcp: lookup %s: %s", host,
		    rc == EAI_NONAME || rc == 0 ? "no such host" : gai_strerror(rc));
	else
		h->resolved = true;
	free(host);
	return h->resolved ? 0 : -EHOSTUNREACH;
}

/* ---- connecting */

/* A watch waits for minutes: a peer that has gone without a word must be noticed. */
static void
tune(int fd)
{
	int one = 1, idle_s = CONNECT_MS_MAX / 1000;
	unsigned ms = CONNECT_MS_MAX;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* Try addresses from c->next_address on. */
static void
dial_tcp(struct http *h, struct conn *c)
{
	char text[SOCK_ADDR_TEXT_MAX] = "";
	int err = EHOSTUNREACH;

	while (c->next_address < h->naddresses) {
		const union sock_addr *a = &h->addresses[c->next_address++];

		sock_addr_format(a, text);
		c->fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (c->fd >= 0) {
			tune(c->fd);
			if (connect(c->fd, &a->sa, sock_addr_len(a)) == 0 || errno == EINPROGRESS) {
				c->connecting = true;
				return;
			}
		}
		err = errno;
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
	}
	fail_dial(c, "tcp", text, err);
}

static void
dial_unix(struct http *h, struct conn *c)
{
	c->fd = sock_unix_connect_path(h->address);
	if (c->fd < 0)
		fail_dial(c, "unix", h->address, -c->fd);
}

static void
dial(struct http *h, struct conn *c)
{
	c->next_address = 0;
	if (h->is_unix)
		dial_unix(h, c);
	else
		dial_tcp(h, c);
}

/* Is an idle connection still one? The peer closes those that it is tired of. */
static bool
conn_alive(const struct conn *c)
{
	char b;

	return recv(c->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static struct conn *
conn_take(struct http *h)
{
	struct conn *unused = NULL;

	for (size_t i = 0; i < EXCHANGES_MAX; i++) {
		struct conn *c = &h->conns[i];

		if (c->fd >= 0 && c->ex == NULL) {
			if (conn_alive(c))
				return c;
			conn_close(c);
		}
		if (c->fd < 0)
			unused = c;
	}
	return unused;
}

static int
render(const struct http *h, struct exchange *ex, struct buf *out)
{
	int rc;

	rc = buf_addf(out, "%s ", ex->method);
	if (rc == 0)
		rc = buf_add(out, ex->target.data, ex->target.len);
	if (rc == 0)
		rc = buf_addf(out, " HTTP/1.1\r\nHost: %s\r\n", h->is_unix ? "localhost" : h->address);
	if (rc == 0)
		rc = buf_add(out, ex->headers.data, ex->headers.len);
	if (rc == 0 && (ex->body.p != NULL || strcmp(ex->method, "GET") != 0))
		rc = buf_addf(out, "Content-Length: %zu\r\n", ex->body.len);
	if (rc == 0)
		rc = buf_adds(out, "\r\n");
	return rc;
}

/* Bytes that have not been sent yet. */
static size_t
unsent(const struct conn *c)
{
	return c->out.len + c->ex->body.len - c->sent;
}

static void
http_begin(struct transport *t, struct exchange *ex)
{
	struct http *h = (struct http *)t;
	struct conn *c = conn_take(h);

	if (c == NULL) {
		exchange_fail(ex, -ELIMIT, "too many requests at a time");
		return;
	}
	if (!h->is_unix && !h->resolved && resolve(h, ex) < 0)
		return;
	buf_init(&c->out, HEAD_MAX);
	reply_init(&c->reply);
	c->sent = 0;
	if (render(h, ex, &c->out) < 0) {
		exchange_fail(ex, -ENOMEM, "request too large");
		conn_close(c);
		return;
	}
	c->ex = ex;
	c->reused = c->fd >= 0;
	if (!c->reused)
		dial(h, c);
}

/* ---- an exchange under way */

static int
sink(void *arg, const void *p, size_t n)
{
	struct conn *c = arg;

	return exchange_body(c->ex, c->reply.status, p, n);
}

/*
 * The peer may have become tired of an idle connection in the moment in which
 * it was used again. What it cannot have acted upon is sent once more.
 */
static bool
conn_again(struct http *h, struct conn *c, int rc)
{
	bool gone = rc == -ECLOSED || rc == -ECONNRESET || rc == -EPIPE;
	bool silent = c->reply.state == REPLY_STATUS && c->reply.line.len == 0;

	if (!c->reused || !gone || !silent || (strcmp(c->ex->method, "GET") != 0 && c->sent > 0))
		return false;
	close(c->fd);
	c->fd = -1;
	c->reused = false;
	c->sent = 0;
	dial(h, c);
	return true;
}

static void
conn_fail(struct http *h, struct conn *c, int rc)
{
	if (conn_again(h, c, rc))
		return;
	if (rc == -ECLOSED)
		exchange_fail(c->ex, rc, "%s", c->reply.head_done ? "unexpected EOF" : "EOF");
	else if (rc == -EDECODE)
		exchange_fail(c->ex, rc, "net/http: malformed HTTP response");
	else if (rc == -ELIMIT)
		exchange_fail(c->ex, rc, "answer of more than %u MiB", EXCHANGE_BODY_MAX / MiB);
	else
		exchange_fail(c->ex, rc, "%s", errtext(rc));
	conn_close(c);
}

static void
conn_finish(struct conn *c)
{
	struct exchange *ex = c->ex;
	bool in_step = unsent(c) == 0;

	ex->status = c->reply.status;
	ex->index = c->reply.index;
	ex->done = true;
	c->ex = NULL;
	/* An answer before the whole request was taken leaves the stream out of step. */
	if (!c->reply.keep_alive || !in_step)
		conn_close(c);
	buf_release(&c->out);
	reply_release(&c->reply);
}

static void
conn_connected(struct http *h, struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);
	char text[SOCK_ADDR_TEXT_MAX];

	c->connecting = false;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err == 0)
		return;
	if (c->next_address < h->naddresses) {
		close(c->fd);
		c->fd = -1;
		dial_tcp(h, c);
		return;
	}
	sock_addr_format(&h->addresses[c->next_address - 1], text);
	fail_dial(c, "tcp", text, err);
}

static void
conn_write(struct http *h, struct conn *c)
{
	size_t head = c->sent < c->out.len ? c->out.len - c->sent : 0, body = c->sent + head - c->out.len;
	struct iovec v[2] = { { c->out.data + c->out.len - head, head },
		{ (void *)(uintptr_t)(c->ex->body.p != NULL ? c->ex->body.p + body : ""), c->ex->body.len - body } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = ARRAY_LEN(v) };
	ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);

	if (n >= 0)
		c->sent += (size_t)n;
	else if ((errno == EPIPE || errno == ECONNRESET) && c->sent > 0)
		/* The peer refuses the rest; it may have said why. */
		c->sent += unsent(c);
	else if (errno != EAGAIN && errno != EINTR)
		conn_fail(h, c, -errno);
}

static void
conn_read(struct http *h, struct conn *c)
{
	char chunk[READ_SIZE];
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);
	int rc;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		rc = -errno;
	else if (n == 0)
		rc = reply_end(&c->reply);
	else
		rc = reply_feed(&c->reply, chunk, (size_t)n, sink, c);
	if (rc < 0)
		conn_fail(h, c, rc);
	else if (rc > 0)
		conn_finish(c);
}

static void
conn_event(struct http *h, struct conn *c, short events)
{
	if (c->connecting) {
		if (events & (POLLOUT | POLLERR | POLLHUP))
			conn_connected(h, c);
		return;
	}
	if ((events & POLLOUT) && unsent(c) > 0)
		conn_write(h, c);
	if (c->ex != NULL && !c->connecting && (events & (POLLIN | POLLERR | POLLHUP)))
		conn_read(h, c);
}

static bool
http_wait(struct transport *t, int fd, int timeout_ms)
{
	struct http *h = (struct http *)t;
	struct pollfd p[EXCHANGES_MAX + 1];
	struct conn *who[EXCHANGES_MAX];
	nfds_t n = 0;

	for (size_t i = 0; i < EXCHANGES_MAX; i++) {
		struct conn *c = &h->conns[i];

		if (c->ex == NULL)
			continue;
		who[n] = c;
		p[n].fd = c->fd;
		p[n++].events = (short)(c->connecting ? POLLOUT : POLLIN | (unsent(c) > 0 ? POLLOUT : 0));
	}
	p[n] = (struct pollfd){ fd, POLLIN, 0 };
	if (poll(p, n + (fd >= 0), timeout_ms) <= 0)
		return false;
	for (nfds_t i = 0; i < n; i++)
		if (p[i].revents != 0)
			conn_event(h, who[i], p[i].revents);
	return fd >= 0 && p[n].revents != 0;
}

static void
http_cancel(struct transport *t, struct exchange *ex)
{
	struct http *h = (struct http *)t;

	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		if (h->conns[i].ex == ex)
			conn_close(&h->conns[i]);
}

static void
http_free(struct transport *t)
{
	struct http *h = (struct http *)t;

	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		conn_close(&h->conns[i]);
	free(h->address);
	free(h);
}

struct transport *
http_transport_new(const char *address, bool is_unix)
{
	static const struct transport_ops ops = { http_begin, http_wait, http_cancel, http_free };
	struct http *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->base.ops = &ops;
	h->is_unix = is_unix;
	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		h->conns[i].fd = -1;
	h->address = strdup(address);
	if (h->address == NULL) {
		http_free(&h->base);
		return NULL;
	}
	return &h->base;
}
