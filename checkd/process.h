/*
 * process.h - the programs that checkd runs, each in a session and a process
 * group of its own that are numbered by its pid.
 *
 * What they leave behind when they end by themselves is left alone; orphans
 * become children of ours, and are reaped. Their output is read at a bounded
 * rate.
 */
#ifndef CHECKD_PROCESS_H
#define CHECKD_PROCESS_H

#include "checkd/spawn.h"
#include "lib/loop.h"
#include "lib/record.h"

enum {
	PROCESS_BURST = 1024 * 1024,	/* bytes of output read */
	PROCESS_BURST_MS = 20,		/* in so long, and no more */
	PROCESS_HUNT_MS = 100,		/* between two hunts for what a killed program has started */
	PROCESS_HUNTS_MAX = 50,		/* then it is given up */
};

struct processes;
struct process;

/* Told of one process; never before process_start() has returned. */
struct process_use {
	void (*output)(void *arg, const char *p, size_t n);
	/* NULL, or: it was reaped, but its output has not ended. No process may be started or ended in here. */
	void (*reaped)(void *arg);
	/*
	 * It was reaped and its output has ended, which a process it left behind
	 * may hold open. The process is freed behind this call.
	 */
	void (*ended)(void *arg, int wait_status);
	void *arg;
};

/* All of them; reaped together. -ENOMEM. */
int MUST_CHECK processes_new(struct loop *l, struct processes **ret);

/* Kill what runs, without a further call; NULL is none. */
void processes_free(struct processes *all);

/* Whom caged programs run as from now on; NULL: as we do. spawn_user_find() tells what that may be. */
int MUST_CHECK processes_set_user(struct processes *all, const char *name);

/* How many have not been reaped, abandoned ones too. */
size_t processes_running(const struct processes *all);

/*
 * Run a program as spawn.h says; use is copied. -errno, also of the exec.
 */
int MUST_CHECK process_start(struct processes *all, const struct strs *args, const struct strs *env, const struct process_use *use,
    struct process **ret);

/*
 * The same with the limits of a check's script, as the user that was set, and
 * with a mark by which process_kill() finds what it has started, also what
 * has left its group.
 */
int MUST_CHECK process_start_caged(struct processes *all, const struct strs *args, const struct process_use *use,
    struct process **ret);

/* What waitpid() said of one that was reaped. */
int process_status(const struct process *p);

/* A signal to its whole group. */
void process_signal(struct process *p, int signo);

/*
 * Kill the group and read on no more: ended() follows, perhaps before this
 * returns. With a caged one it follows when all that it had started is gone
 * as well, or has been hunted for PROCESS_HUNTS_MAX times.
 */
void process_kill(struct process *p);

/* Kill the group, and call neither output() nor ended() any more; NULL is none. */
void process_abandon(struct process *p);

/* Stop reading its output, and go on: it waits when the pipe is full. */
void process_pause(struct process *p);
void process_resume(struct process *p);

#endif
