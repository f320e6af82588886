/* hangup.c - an epoll set of its own with EPOLLRDHUP, nested in the loop. */
#include "httpd/hangup.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64 };

struct hangups {
	int epoll_fd;
	uv_poll_t *poll;
	/* Events being handled: one that is unwatched meanwhile is struck out. */
	struct epoll_event *events;
	int nevents;
};

static void
on_events(uv_poll_t *p, int status, int what)
{
	struct hangups *s = p->data;
	struct epoll_event events[BATCH];

	(void)status;
	(void)what;
	s->nevents = epoll_wait(s->epoll_fd, events, BATCH, 0);
	s->events = events;
	for (int i = 0; i < s->nevents; i++) {
		struct hangup *hu = events[i].data.ptr;

		if (hu != NULL)
			hu->cb(hu);
	}
	s->events = NULL;
	s->nevents = 0;
}

struct hangups *
hangups_new(struct loop *l)
{
	struct hangups *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->poll = malloc(sizeof(*s->poll));
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->poll == NULL || s->epoll_fd < 0 || uv_poll_init(&l->uv, s->poll, s->epoll_fd) < 0) {
		if (s->epoll_fd >= 0)
			(void)close(s->epoll_fd);
		free(s->poll);
		free(s);
		return NULL;
	}
	s->poll->data = s;
	(void)uv_poll_start(s->poll, UV_READABLE, on_events);
	return s;
}

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

void
hangups_free(struct hangups *s)
{
	if (s == NULL)
		return;
	uv_close((uv_handle_t *)s->poll, free_handle);
	(void)close(s->epoll_fd);
	free(s);
}

int
hangup_watch(struct hangups *s, struct hangup *hu, int fd)
{
	struct epoll_event ev = { .events = EPOLLRDHUP, .data.ptr = hu };

	hu->fd = -1;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	hu->fd = fd;
	return 0;
}

void
hangup_unwatch(struct hangups *s, struct hangup *hu)
{
	struct epoll_event none = { 0 };

	if (hu->fd < 0)
		return;
	(void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, hu->fd, &none);
	hu->fd = -1;
	for (int i = 0; i < s->nevents; i++)
		if (s->events[i].data.ptr == hu)
			s->events[i].data.ptr = NULL;
}
