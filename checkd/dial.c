/* dial.c - a socket connected to "host:port", found by name when need be. */
#include "checkd/dial.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/errs.h"
#include "lib/sock.h"

/* One address being tried; freed when its handle is closed. */
struct attempt {
	uv_poll_t poll;
	struct dial *d;
	int fd;
};

/* It lives until its resolver has answered and its handles are closed, longer than its owner's interest if need be. */
struct dial {
	uv_loop_t *uv;
	uv_timer_t soon;		/* so that nothing is told before dial_start() has returned */
	uv_getaddrinfo_t resolve;
	struct addrinfo *found, *at;	/* addresses not tried yet from `at` */
	struct attempt *attempt;
	int socktype;
	bool resolving, ended;
	dial_done *done;
	void *arg;
	char host[DIAL_HOST_MAX], port[DIAL_PORT_MAX];
	char fault[DIAL_FAULT_MAX];	/* of the last address tried */
};

static void try_next(struct dial *d);

int
dial_split(struct str target, char host[DIAL_HOST_MAX], char port[DIAL_PORT_MAX])
{
	const char *colon = target.len > 0 ? memrchr(target.p, ':', target.len) : NULL;
	struct str h, p;

	if (colon == NULL)
		return -EINVAL;
	h = (struct str){ target.p, (size_t)(colon - target.p) };
	p = (struct str){ colon + 1, target.len - h.len - 1 };
	if (h.len >= 2 && h.p[0] == '[' && h.p[h.len - 1] == ']')
		h = (struct str){ h.p + 1, h.len - 2 };
	if (h.len >= DIAL_HOST_MAX || p.len == 0 || p.len >= DIAL_PORT_MAX)
		return -EINVAL;
	if (h.len == 0)
		h = STR("localhost");
	snprintf(host, DIAL_HOST_MAX, "%.*s", STR_ARG(h));
	snprintf(port, DIAL_PORT_MAX, "%.*s", STR_ARG(p));
	return 0;
}

bool
dial_port_valid(const char *port)
{
	return port[strspn(port, "0123456789")] != '\0' || strtoul(port, NULL, 10) <= UINT16_MAX;
}

static const char *
network(const struct dial *d)
{
	return d->socktype == SOCK_DGRAM ? "udp" : "tcp";
}

static void
attempt_closed(uv_handle_t *h)
{
	free(h->data);
}

/* The descriptor stays open. */
static void
drop_attempt(struct dial *d)
{
	if (d->attempt == NULL)
		return;
	d->attempt->d = NULL;
	uv_close((uv_handle_t *)&d->attempt->poll, attempt_closed);
	d->attempt = NULL;
}

static void
timer_closed(uv_handle_t *h)
{
	struct dial *d = h->data;

	uv_freeaddrinfo(d->found);
	free(d);
}

/* A resolver still at work frees it later. */
static void
end(struct dial *d)
{
	if (d->attempt != NULL)
		(void)close(d->attempt->fd);
	drop_attempt(d);
	d->ended = true;
	(void)uv_timer_stop(&d->soon);
	if (d->resolving)
		(void)uv_cancel((uv_req_t *)&d->resolve);
	else
		uv_close((uv_handle_t *)&d->soon, timer_closed);
}

static void
finish(struct dial *d, int fd)
{
	dial_done *done = d->done;
	void *arg = d->arg;
	char fault[DIAL_FAULT_MAX];

	memcpy(fault, d->fault, sizeof(fault));
	end(d);
	done(arg, fd, fd >= 0 ? NULL : fault);
}

/* Keep why the address at hand cannot be reached, and go on to the next. */
static void
note_fault(struct dial *d, int err)
{
	char peer[SOCK_ADDR_TEXT_MAX], text[128];
	union sock_addr a;

	memcpy(&a, d->at->ai_addr, d->at->ai_addrlen);
	sock_addr_format(&a, peer);
	/* Go's names begin with a small letter. */
	snprintf(text, sizeof(text), "%s", strerror(err));
	if (text[0] != '\0')
		text[0] = (char)ascii_lower((unsigned char)text[0]);
	snprintf(d->fault, sizeof(d->fault), "dial %s %s: connect: %s", network(d), peer, text);
	d->at = d->at->ai_next;
}

int
dial_socket_error(int fd, int status)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return errno;
	return err == 0 && status < 0 ? -status : err;
}

static void
on_connected(uv_poll_t *p, int status, int events)
{
	struct attempt *t = p->data;
	struct dial *d = t->d;
	int fd = t->fd, err = dial_socket_error(fd, status);

	(void)events;
	drop_attempt(d);
	if (err == 0) {
		finish(d, fd);
		return;
	}
	(void)close(fd);
	note_fault(d, err);
	try_next(d);
}

/* Wait until it is connected. -ENOMEM or an errno of libuv; the descriptor stays the caller's then. */
static int
watch(struct dial *d, int fd)
{
	struct attempt *t = calloc(1, sizeof(*t));
	int rc;

	if (t == NULL)
		return -ENOMEM;
	rc = uv_poll_init_socket(d->uv, &t->poll, fd);
	if (rc < 0) {
		free(t);
		return rc;
	}
	t->fd = fd;
	t->d = d;
	t->poll.data = t;
	d->attempt = t;
	rc = uv_poll_start(&t->poll, UV_WRITABLE, on_connected);
	if (rc < 0)
		drop_attempt(d);
	return rc;
}

/* The next address, or the fault of the last. */
static void
try_next(struct dial *d)
{
	while (d->at != NULL) {
		const struct addrinfo *a = d->at;
		int fd, err;

		if (a->ai_addrlen > sizeof(union sock_addr)) {
			d->at = a->ai_next;
			continue;
		}
		fd = socket(a->ai_family, d->socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		err = fd < 0 ? errno : 0;
		if (err == 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0)
			err = errno;
		if (err == 0) {
			finish(d, fd);
			return;
		}
		if (err == EINPROGRESS) {
			err = -watch(d, fd);
			if (err == 0)
				return;
		}
		if (fd >= 0)
			(void)close(fd);
		note_fault(d, err);
	}
	finish(d, -1);
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct dial *d = req->data;

	d->resolving = false;
	d->found = d->at = res;
	if (d->ended) {
		uv_close((uv_handle_t *)&d->soon, timer_closed);
		return;
	}
	if (status < 0)
		snprintf(d->fault, sizeof(d->fault), "dial %s: lookup %s: %s", network(d), d->host,
		    status == UV_EAI_NONAME || status == UV_EAI_NODATA ? "no such host" : uv_strerror(status));
	try_next(d);
}

static void
on_soon(uv_timer_t *t)
{
	struct dial *d = t->data;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = d->socktype };
	int rc;

	if (d->fault[0] != '\0') {
		finish(d, -1);
		return;
	}
	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(d->host, d->port, &hints, &d->found) == 0) {
		d->at = d->found;
		try_next(d);
		return;
	}
	hints.ai_flags = 0;
	rc = uv_getaddrinfo(d->uv, &d->resolve, on_resolved, d->host, d->port, &hints);
	if (rc == 0) {
		d->resolving = true;
		return;
	}
	snprintf(d->fault, sizeof(d->fault), "dial %s: lookup %s: %s", network(d), d->host, uv_strerror(rc));
	finish(d, -1);
}

struct dial *
dial_start(uv_loop_t *uv, struct str target, int socktype, dial_done *done, void *arg)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (d == NULL || uv_timer_init(uv, &d->soon) < 0) {
		free(d);
		return NULL;
	}
	d->uv = uv;
	d->socktype = socktype;
	d->done = done;
	d->arg = arg;
	d->soon.data = d->resolve.data = d;
	if (dial_split(target, d->host, d->port) < 0)
		snprintf(d->fault, sizeof(d->fault), "dial %s: address %.*s: missing port in address", network(d),
		    (int)(target.len < 256 ? target.len : 256), target.p);
	else if (!dial_port_valid(d->port))
		snprintf(d->fault, sizeof(d->fault), "dial %s: address %s: invalid port", network(d), d->port);
	if (uv_timer_start(&d->soon, on_soon, 0, 0) < 0) {
		end(d);
		return NULL;
	}
	return d;
}

void
dial_cancel(struct dial *d)
{
	if (d != NULL)
		end(d);
}
