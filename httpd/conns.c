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

enum { BATCH = 64, SWEEP_MS = 5000 };

struct conns {
	struct httpd *h;
	int epoll_fd;
	uv_poll_t *poll;
	struct conn *gone, *all;
	uv_timer_t *sweep;
};

static void on_sweep(uv_timer_t *t);

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
	c->since_ms = clock_ms();
	c->all_next = cs->all;
	c->all_prev = &cs->all;
	if (c->all_next != NULL)
		c->all_next->all_prev = &c->all_next;
	else
		(void)uv_timer_start(cs->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	cs->all = c;
	return c;
}

/* The socket leaves the set by being closed. */
void
conn_free(struct conn *c)
{
	list_remove(c);
	*c->all_prev = c->all_next;
	if (c->all_next != NULL)
		c->all_next->all_prev = c->all_prev;
	free(c);
}

void
conn_moves(struct conn *c, size_t bytes)
{
	c->since_ms = clock_ms();
	c->body_bytes += bytes;
}

/* Whether a client takes longer over what it sends than anybody needs. */
static bool
too_slow(const struct conn *c, uint64_t now)
{
	const struct request *r = c->r;
	uint64_t started, moved;

	if (r == NULL)
		return !c->used && now - c->since_ms > HTTP_FIRST_MS;
	started = r->started_ns / 1000000;
	moved = c->since_ms > started ? c->since_ms : started;
	if (r->state == REQ_HEAD)
		return now - started > HTTP_HEAD_MS;
	/* An archive waits for raftd now and then. */
	if ((r->state != REQ_BODY && r->state != REQ_DRAIN) || r->transfer != NULL)
		return false;
	return now - moved > HTTP_STALL_MS || now - started > HTTP_BODY_MS + c->body_bytes / HTTP_BODY_RATE * 1000;
}

static void
on_sweep(uv_timer_t *t)
{
	struct conns *cs = t->data;
	uint64_t now = clock_ms();

	if (cs->all == NULL)
		(void)uv_timer_stop(t);
	for (struct conn *c = cs->all; c != NULL; c = c->all_next) {
		if (c->gone || !too_slow(c, now))
			continue;
		log_debug("agent.http", "closing a connection whose request does not come");
		(void)shutdown(c->fd, SHUT_RDWR);
	}
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
	c->used = true;
	c->body_bytes = 0;
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
	cs->sweep = malloc(sizeof(*cs->sweep));
	cs->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cs->poll == NULL || cs->sweep == NULL || cs->epoll_fd < 0 || uv_poll_init(&h->d->loop.uv, cs->poll, cs->epoll_fd) < 0) {
		if (cs->epoll_fd >= 0)
			(void)close(cs->epoll_fd);
		free(cs->poll);
		free(cs->sweep);
		free(cs);
		return NULL;
	}
	(void)uv_timer_init(&h->d->loop.uv, cs->sweep);
	cs->sweep->data = cs;
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
	uv_close((uv_handle_t *)cs->sweep, free_handle);
	(void)close(cs->epoll_fd);
	free(cs);
}
