/* check_udp.c - checks that send an empty datagram, and fail when it is refused. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "checkd/dial.h"
#include "checkd/kinds.h"
#include "lib/duration.h"
#include "lib/sock.h"

enum { UDP_TIMEOUT_DEFAULT_MS = 10000, TEXT_MAX = 1024 };

/* One run; freed when its socket's handle is closed, if it has got one. */
struct udp_run {
	struct check *c;
	struct dial *dial;
	uv_poll_t poll;
	int fd;			/* -1: not connected yet, so poll is none */
};

static void
poll_closed(uv_handle_t *h)
{
	free(h->data);
}

static void
run_free(struct udp_run *r)
{
	dial_cancel(r->dial);
	if (r->fd < 0) {
		free(r);
		return;
	}
	uv_close((uv_handle_t *)&r->poll, poll_closed);
	(void)close(r->fd);
}

static void
finish(struct udp_run *r, enum check_status status, const char *text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, str_from(text));
}

/* UDP has no word for "I am here": what was not refused counts as received. */
static void
succeed(struct udp_run *r)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "UDP connect %.*s: Success", STR_ARG(r->c->def->udp));
	finish(r, CHECK_PASSING, text);
}

static void
on_late(struct check *c)
{
	struct udp_run *r = c->runner.run;
	char text[TEXT_MAX];

	if (r->fd >= 0) {
		succeed(r);
		return;
	}
	snprintf(text, sizeof(text), "dial udp %.*s: i/o timeout", STR_ARG(r->c->def->udp));
	finish(r, CHECK_CRITICAL, text);
}

/* What Go says of a socket that was refused: `read udp FROM->TO: read: connection refused`. */
static void
fail(struct udp_run *r, const char *op, int err)
{
	char from[SOCK_ADDR_TEXT_MAX] = "", to[SOCK_ADDR_TEXT_MAX] = "", text[TEXT_MAX];
	union sock_addr a;
	socklen_t len = sizeof(a);

	if (getsockname(r->fd, &a.sa, &len) == 0)
		sock_addr_format(&a, from);
	len = sizeof(a);
	if (getpeername(r->fd, &a.sa, &len) == 0)
		sock_addr_format(&a, to);
	snprintf(text, sizeof(text), "%s udp %s->%s: %s: %s", op, from, to, op,
	    err == ECONNREFUSED ? "connection refused" : strerror(err));
	finish(r, CHECK_CRITICAL, text);
}

static void
on_readable(uv_poll_t *p, int status, int events)
{
	struct udp_run *r = p->data;
	char byte;
	ssize_t n;

	(void)events;
	if (status < 0) {
		fail(r, "read", dial_socket_error(r->fd, status));
		return;
	}
	n = recv(r->fd, &byte, 1, MSG_DONTWAIT);
	if (n >= 0)
		succeed(r);
	else if (errno != EAGAIN && errno != EINTR)
		fail(r, "read", errno);
}

static void
on_dialled(void *arg, int fd, const char *fault)
{
	struct udp_run *r = arg;
	int rc;

	r->dial = NULL;
	if (fd < 0) {
		finish(r, CHECK_CRITICAL, fault);
		return;
	}
	rc = uv_poll_init_socket(&r->c->cd->d->loop.uv, &r->poll, fd);
	if (rc < 0) {
		(void)close(fd);
		finish(r, CHECK_CRITICAL, uv_strerror(rc));
		return;
	}
	r->poll.data = r;
	r->fd = fd;
	rc = uv_poll_start(&r->poll, UV_READABLE, on_readable);
	if (rc < 0)
		fail(r, "read", -rc);
	else if (send(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		fail(r, "write", errno);
}

static void
udp_start(struct check *c)
{
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : UDP_TIMEOUT_DEFAULT_MS;
	uv_loop_t *uv = &c->cd->d->loop.uv;
	struct udp_run *r = calloc(1, sizeof(*r));

	if (r != NULL) {
		r->c = c;
		r->fd = -1;
		r->dial = dial_start(uv, c->def->udp, SOCK_DGRAM, on_dialled, r);
	}
	if (r == NULL || r->dial == NULL) {
		if (r != NULL)
			run_free(r);
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	c->runner.run = r;
	schedule_deadline(c, timeout, on_late);
}

static void
udp_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_udp = { "udp", true, udp_start, udp_stop };
