/*
 * supervise.h - programs that are kept running.
 *
 * All are started at once. One that ends is started again: at once the first
 * time, then after a delay that doubles, until it has stayed up for a while.
 * Its stored descriptors survive it. One that does not ping its watchdog is
 * killed. They are stopped in the reverse order of supervisor_add().
 */
#ifndef CONSULCTL_AGENT_SUPERVISE_H
#define CONSULCTL_AGENT_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/loop.h"

enum {
	SUPERVISE_MAX = 8,		/* programs */
	RESTART_DELAY_MS = 100,		/* before the second start in a row, doubled for each after it */
	RESTART_DELAY_MAX_MS = 10000,
	STABLE_MS = 10000,		/* up for this long: the next restart is the first again */
	START_ATTEMPTS = 5,		/* of a program that was never ready */
	STOP_STEP_MS = 250,		/* the next one is asked to stop after this, even when the former has not ended */
	STOP_KILL_MS = 1850,		/* what still runs is killed */
	STOP_GIVE_UP_MS = 3000,		/* what even then runs hangs in the kernel */
	STATUS_MAX = 512,
	EXIT_REFUSED = 78,		/* EX_CONFIG: starting it again would not help (lib/daemon.h) */
};

enum child_state { CHILD_DOWN, CHILD_STARTING, CHILD_READY, CHILD_STOPPING, CHILD_WAITING };

struct child_info {
	const char *name;
	pid_t pid;			/* 0: not running */
	enum child_state state;
	uint64_t restarts;
	const char *status;		/* its last STATUS=, or "" */
};

struct supervisor_config {
	struct loop *loop;
	int log_fd;			/* everybody's standard error */
	uint64_t watchdog_usec;		/* 0: none */
	/* All have been ready. Called once. */
	void (*ready)(void *arg);
	/* One cannot be started, or ends for good (EXIT_REFUSED) after it was ready; why is a sentence. Called at most once. */
	void (*failed)(void *arg, const char *name, const char *why);
	/* After supervisor_stop() or supervisor_kill(): none runs any more. */
	void (*stopped)(void *arg);
	void *arg;
};

struct supervisor;

/* 0 or -errno. Takes SIGCHLD of this process: children of others are reaped unseen. */
int MUST_CHECK supervisor_new(const struct supervisor_config *c, struct supervisor **ret);

/* argv[0] is the program's path. Name and argv must outlive s. -ELIMIT. */
int MUST_CHECK supervisor_add(struct supervisor *s, const char *name, char *const *argv);

void supervisor_start(struct supervisor *s);
void supervisor_stop(struct supervisor *s);
void supervisor_kill(struct supervisor *s);

/* Child i, false past the last. */
bool supervisor_child(const struct supervisor *s, size_t i, struct child_info *ret);
/* The NOTIFY_SOCKET of its children. */
const char *supervisor_notify_address(const struct supervisor *s);
const char *child_state_name(enum child_state st);

/* None may run. Freed when the loop has let go of its handles; NULL is fine. */
void supervisor_free(struct supervisor *s);

#endif
