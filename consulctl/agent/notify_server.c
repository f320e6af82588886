/*
 * notify_server.c - receives what daemons tell with sd_notify(3).
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "consulctl/agent/notify_server.h"
#include "lib/log.h"

static int
parse_usec(const char *s, int64_t *ret)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno != 0 || end == s || *end != '\0' || v < 0)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* One assignment. Those that mean nothing here (MAINPID, BARRIER, ERRNO, ...) are passed over, as the protocol asks. */
static int
parse_line(const char *line, struct notify_event *ev)
{
	if (strcmp(line, "READY=1") == 0)
		ev->ready = true;
	else if (strcmp(line, "STOPPING=1") == 0)
		ev->stopping = true;
	else if (strcmp(line, "WATCHDOG=1") == 0)
		ev->watchdog = true;
	else if (strcmp(line, "WATCHDOG=trigger") == 0)
		ev->watchdog_trigger = true;
	else if (strcmp(line, "FDSTORE=1") == 0)
		ev->fdstore = true;
	else if (strcmp(line, "FDSTOREREMOVE=1") == 0)
		ev->fdstore_remove = true;
	else if (strncmp(line, "FDNAME=", 7) == 0)
		ev->fdname = line + 7;
	else if (strncmp(line, "STATUS=", 7) == 0)
		ev->status = line + 7;
	else if (strncmp(line, "WATCHDOG_USEC=", 14) == 0)
		return parse_usec(line + 14, &ev->watchdog_usec);
	return 0;
}

int
notify_parse(char *text, size_t len, struct notify_event *ret)
{
	char *line, *next;

	*ret = (struct notify_event){ .watchdog_usec = -1 };
	if (memchr(text, '\0', len) != NULL)
		return -EINVAL;
	text[len] = '\0';
	for (line = text; line != NULL; line = next) {
		int rc;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		rc = parse_line(line, ret);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Descriptors and sender of a message. A message without credentials has pid 0, which is nobody. */
static void
take_control(struct msghdr *m, pid_t *ret_pid, int *fds, size_t *ret_nfds)
{
	*ret_pid = 0;
	*ret_nfds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			*ret_pid = cred.pid;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			*ret_nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), *ret_nfds * sizeof(int));
		}
	}
}

/* Parse and hand on; whatever the receiver did not take is closed, which also answers a BARRIER=1. */
static void
deliver(struct notify_server *n, struct msghdr *m, char *text, size_t len)
{
	struct notify_event ev;
	int fds[NOTIFY_FDS_MAX];
	size_t nfds;
	pid_t pid;

	take_control(m, &pid, fds, &nfds);
	if ((m->msg_flags & MSG_TRUNC) != 0 || notify_parse(text, len, &ev) < 0) {
		log_debug("agent", "Malformed notification dropped: pid=%d bytes=%zu", (int)pid, len);
	} else {
		if ((m->msg_flags & MSG_CTRUNC) != 0)
			log_err("agent", "Descriptors of a notification were lost: pid=%d", (int)pid);
		ev.pid = pid;
		ev.nfds = nfds;
		memcpy(ev.fds, fds, nfds * sizeof(int));
		n->cb(n->arg, &ev);
		memcpy(fds, ev.fds, nfds * sizeof(int));
	}
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* One message; false when none is waiting. */
static bool
receive(struct notify_server *n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int))];
	} control;
	char text[NOTIFY_MESSAGE_MAX + 1];
	struct iovec iov = { text, NOTIFY_MESSAGE_MAX };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t len;

	len = recvmsg(n->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (len < 0)
		return errno == EINTR;
	deliver(n, &m, text, (size_t)len);
	return true;
}

void
notify_server_drain(struct notify_server *n)
{
	for (int i = 0; i < NOTIFY_BURST; i++)
		if (!receive(n))
			return;
}

static void
on_readable(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	notify_server_drain(h->data);
}

/* An abstract name that nobody else has taken or can guess in advance. */
static int
bind_abstract(int fd, char address[64])
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	uint64_t r;
	int len;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	len = snprintf(address, 64, "@consulctl/%ld/%016llx", (long)getpid(), (unsigned long long)r);
	memcpy(sa.sun_path + 1, address + 1, (size_t)len - 1);
	if (bind(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) < 0)
		return -errno;
	return 0;
}

int
notify_server_init(struct notify_server *n, struct loop *l, notify_receive *cb, void *arg)
{
	int fd, rc, on = 1;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0) {
		rc = -errno;
		goto fail;
	}
	rc = bind_abstract(fd, n->address);
	if (rc < 0)
		goto fail;
	rc = uv_poll_init(&l->uv, &n->poll, fd);
	if (rc < 0)
		goto fail;
	n->fd = fd;
	n->cb = cb;
	n->arg = arg;
	n->poll.data = n;
	return uv_poll_start(&n->poll, UV_READABLE, on_readable);
fail:
	close(fd);
	return rc;
}

static void
on_closed(uv_handle_t *h)
{
	struct notify_server *n = h->data;

	close(n->fd);
	n->closed(n->arg);
}

void
notify_server_close(struct notify_server *n, notify_closed *closed)
{
	n->closed = closed;
	uv_close((uv_handle_t *)&n->poll, on_closed);
}
