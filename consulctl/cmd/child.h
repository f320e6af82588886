/*
 * child.h - the program that watch and lock run, and the signals that reach us
 * meanwhile.
 */
#ifndef CONSULCTL_CMD_CHILD_H
#define CONSULCTL_CMD_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/errs.h"

struct child {
	pid_t pid;		/* 0: none runs */
	bool group;		/* it leads a process group: signals go to all of it */
};

struct child_spec {
	char *const *words;	/* ended by NULL */
	bool shell;		/* the words are a script for $SHELL */
	const char *variable;	/* "NAME=value", added to its environment */
	int stdin_fd;		/* -1: /dev/null */
};

/*
 * Start it. 0 or -errno, also when it could not be executed. It dies with us,
 * and it gets a process group of its own unless we are a terminal's, where
 * Ctrl-C and Ctrl-Z have to reach it too.
 */
int MUST_CHECK child_start(const struct child_spec *s, struct child *ret);

void child_signal(const struct child *c, int signo);

/* True when it has ended; then pid is 0 and *ret_status is that of waitpid(2). */
bool child_reap(struct child *c, int *ret_status);

/* "exit status 3", "signal: killed"; NULL when it ended well. Static memory. */
const char *child_failure(int status);

/* SIGTERM, then SIGKILL after the grace period. fd is one of signals_open(). True when the second was needed. */
bool child_end(struct child *c, int fd, int grace_ms);

/* ---- signals */

/*
 * Block what would end us and read it from a descriptor instead: -errno or the
 * descriptor. with_child: also what a child's end brings and what is to be
 * passed on to a child; fd may be one that was opened before, which is changed.
 */
int MUST_CHECK signals_open(int fd, bool with_child);

/* The next one, 0 when there is none. */
int signals_read(int fd);

/* SIGINT and SIGTERM ask us to end; without a child, so do SIGHUP and SIGQUIT. */
bool signal_ends(int signo, bool has_child);
/* Reads what has come; true when one of them asks us, who have no child, to end. */
bool signals_end(int fd);

#endif
