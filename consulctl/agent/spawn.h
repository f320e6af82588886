/*
 * spawn.h - start one program with exactly the descriptors it is given.
 */
#ifndef CONSULCTL_AGENT_SPAWN_H
#define CONSULCTL_AGENT_SPAWN_H

#include <sys/types.h>

#include "consulctl/agent/fdstore.h"

struct spawn {
	const char *path;
	char *const *argv;
	int log_fd;			/* becomes its descriptor 2 */
	const struct fdstore *fds;	/* become 3, 4, ...: LISTEN_FDS */
	const char *notify_address;	/* NOTIFY_SOCKET */
	uint64_t watchdog_usec;		/* WATCHDOG_USEC; 0: none */
};

enum { EXIT_SPAWN = 78 };	/* of a child that could not become the program; it has said why on log_fd */

/*
 * Fork and execute: a session of its own (a terminal's Ctrl-C is for the
 * supervisor alone), no other descriptor, default signals, our environment
 * with the variables above and CONSULCTL_PARENT. A pid or -errno.
 */
pid_t spawn(const struct spawn *s);

#endif
