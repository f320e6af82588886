/* notify.c - talking to the supervisor, and taking what it hands down. */
#include "lib/notify.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_FIRST = 3, LISTEN_MAX = 128, LISTEN_NAME_MAX = 256 };

static struct {
	bool read;
	int n;
	bool taken[LISTEN_MAX];
	char names[LISTEN_MAX][LISTEN_NAME_MAX];
} handed;

static int
notify_addr(struct sockaddr_un *un, socklen_t *len)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path != NULL ? strlen(path) : 0;

	if (n == 0)
		return 0;
	if ((path[0] != '/' && path[0] != '@') || n >= sizeof(un->sun_path))
		return -EINVAL;
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n);
	if (path[0] == '@')
		un->sun_path[0] = 0;
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return 1;
}

static int
send_with_fd(const char *state, int fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)state, strlen(state) };
	struct sockaddr_un un;
	struct msghdr m = { .msg_name = &un, .msg_iov = &iov, .msg_iovlen = 1 };
	int s, rc = notify_addr(&un, &m.msg_namelen);

	if (rc <= 0)
		return rc;
	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	rc = sendmsg(s, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
	(void)close(s);
	return rc;
}

int
notify_send(const char *state)
{
	return send_with_fd(state, -1);
}

int
notify_store(const char *name, int fd)
{
	char state[LISTEN_NAME_MAX + 32];

	(void)snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
	return send_with_fd(state, fd);
}

/* LISTEN_FDS counts descriptors from 3 on, LISTEN_FDNAMES names them, LISTEN_PID says whom they are for. */
static void
read_environment(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	long n;

	handed.read = true;
	if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long)getpid())
		return;
	n = strtol(fds, NULL, 10);
	if (n < 1 || n > LISTEN_MAX)
		return;
	handed.n = (int)n;
	for (int i = 0; i < handed.n; i++) {
		size_t len = names != NULL ? strcspn(names, ":") : 0;

		if (len < LISTEN_NAME_MAX && names != NULL)
			memcpy(handed.names[i], names, len);
		if (names != NULL)
			names += len + (names[len] == ':');
		(void)fcntl(LISTEN_FIRST + i, F_SETFD, FD_CLOEXEC);
	}
}

int
notify_take(const char *name)
{
	if (!handed.read)
		read_environment();
	for (int i = 0; i < handed.n; i++)
		if (!handed.taken[i] && strcmp(handed.names[i], name) == 0) {
			int fd = LISTEN_FIRST + i;

			handed.taken[i] = true;
			(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
			return fd;
		}
	return -ENOENT;
}

void
notify_close_rest(void)
{
	if (!handed.read)
		read_environment();
	for (int i = 0; i < handed.n; i++)
		if (!handed.taken[i])
			(void)close(LISTEN_FIRST + i);
	handed.n = 0;
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
}

uint64_t
notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long v = usec != NULL ? strtoull(usec, NULL, 10) : 0;

	if (pid != NULL && strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	return v / 2000;
}
