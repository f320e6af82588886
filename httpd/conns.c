/* conns.c - the set of sockets, and the list of those whose client has gone. */
#include "httpd/conns.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "httpd/monitor.h"
#include "httpd/park.h"
#include "httpd/request.h"
#include "httpd/server.h"
#include "httpd/snapshot.h"
#include "httpd/stream.h"

enum { BATCH = 64 };

struct conns {
	struct httpd *h;
	int epoll_fd;
	uv_poll_t *poll;
	struct conn *gone;
};

static void
list_add(struct conns *cs, struct conn *c)
{
	if (c->prev != NULL)
		return;
	c->next = cs->gone;
	c->prev = &cs->gone;
	if (c->next != NULL)
		c->next->prev = &c->next;
	cs->gone = c;
}

static void
list_remove(struct conn *c)
{
	if (c->prev == NULL)
		return;
	*c->prev = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->prev = NULL;
}

static void
on_events(uv_poll_t *p, int status, int what)
{
	struct conns *cs = p->data;
	struct epoll_event events[BATCH];
	int n = epoll_wait(cs->epoll_fd, events, BATCH, 0);

	(void)status;
	(void)what;
	/* Nothing here closes a connection: that is left to the library's next run. */
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		c->gone = true;
		list_add(cs, c);
		if (c->r != NULL) {
			park_hangup(c->r);
			monitor_hangup(c->r);
			stream_hangup(c->r);
			snapshot_hangup(c->r);
		}
	}
	if (n > 0)
		server_kick(cs->h);
}

struct conn *
conn_new(struct conns *cs, struct client *client, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLET, .data.ptr = c };

	if (c == NULL)
		return NULL;
	if (epoll_ctl(cs->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(c);
		return NULL;
	}
	c->client = client;
	c->fd = fd;
	return c;
}

/* The socket leaves the set by being closed. */
void
conn_free(struct conn *c)
{
	list_remove(c);
	free(c);
}

struct conn *
conn_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *ci = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return ci->socket_context;
}

void
conn_idle(struct conns *cs, struct conn *c)
{
	c->r = NULL;
	if (c->gone)
		list_add(cs, c);
}

static bool
being_answered(const struct request *r)
{
	return r != NULL && (r->state == REQ_WAIT || r->state == REQ_READY || r->state == REQ_SENT || r->state == REQ_GONE);
}

bool
conns_reap(struct conns *cs)
{
	struct conn *next;
	bool later = false;

	for (struct conn *c = cs->gone; c != NULL; c = next) {
		int unread = 0;

		next = c->next;
		if (being_answered(c->r)) {
			list_remove(c);	/* conn_idle() brings it back */
			continue;
		}
		if (ioctl(c->fd, FIONREAD, &unread) == 0 && unread > 0) {
			later = true;
			continue;
		}
		/* The library may have missed the end. This it does not miss. */
		list_remove(c);
		(void)shutdown(c->fd, SHUT_RDWR);
	}
	return later;
}

struct conns *
conns_new(struct httpd *h)
{
	struct conns *cs = calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	cs->h = h;
	cs->poll = malloc(sizeof(*cs->poll));
	cs->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cs->poll == NULL || cs->epoll_fd < 0 || uv_poll_init(&h->d->loop.uv, cs->poll, cs->epoll_fd) < 0) {
		if (cs->epoll_fd >= 0)
			(void)close(cs->epoll_fd);
		free(cs->poll);
		free(cs);
		return NULL;
	}
	cs->poll->data = cs;
	(void)uv_poll_start(cs->poll, UV_READABLE, on_events);
	return cs;
}

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

void
conns_free(struct conns *cs)
{
	if (cs == NULL)
		return;
	uv_close((uv_handle_t *)cs->poll, free_handle);
	(void)close(cs->epoll_fd);
	free(cs);
}
