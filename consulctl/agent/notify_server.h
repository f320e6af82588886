/*
 * notify_server.h - systemd's notify protocol (sd_notify(3)), the
 * supervisor's half.
 *
 * One datagram socket in the abstract namespace, so that no path is too long
 * for it. Anybody on the machine can send to it: the sender's pid comes from
 * the kernel (SCM_CREDENTIALS), and the receiver judges whom it believes.
 */
#ifndef CONSULCTL_AGENT_NOTIFY_SERVER_H
#define CONSULCTL_AGENT_NOTIFY_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/loop.h"

enum {
	NOTIFY_MESSAGE_MAX = 4096,	/* bytes; longer ones are dropped */
	NOTIFY_FDS_MAX = 253,		/* the kernel's SCM_MAX_FD */
	NOTIFY_BURST = 64,		/* messages read in one go */
};

/* One message. Strings point into the text it was parsed from; NULL: not given. */
struct notify_event {
	pid_t pid;
	bool ready, stopping, watchdog, watchdog_trigger, fdstore, fdstore_remove;
	int64_t watchdog_usec;		/* -1: not given */
	const char *status, *fdname;
	int fds[NOTIFY_FDS_MAX];	/* -1 what the receiver took over; the rest is closed */
	size_t nfds;
};

/* Read a message's text (changed in place) into *ret: all but pid and fds. -EINVAL when it holds a NUL or a bad number. */
int MUST_CHECK notify_parse(char *text, size_t len, struct notify_event *ret);

typedef void notify_receive(void *arg, struct notify_event *ev);
typedef void notify_closed(void *arg);

struct notify_server {
	uv_poll_t poll;
	int fd;
	char address[64];		/* the value of NOTIFY_SOCKET */
	notify_receive *cb;
	notify_closed *closed;
	void *arg;
};

/* -errno. */
int MUST_CHECK notify_server_init(struct notify_server *n, struct loop *l, notify_receive *cb, void *arg);

/*
 * Take what is waiting. Before a dead daemon's status is judged, since its
 * last words are in the socket when its exit is seen.
 */
void notify_server_drain(struct notify_server *n);

/* Nothing is received any more; n must live until closed is called with the arg given at init. */
void notify_server_close(struct notify_server *n, notify_closed *closed);

#endif
