/*
 * process.h - the programs that checkd runs, each in a process group of its
 * own that is numbered by its pid.
 */
#ifndef CHECKD_PROCESS_H
#define CHECKD_PROCESS_H

#include "lib/loop.h"
#include "lib/record.h"

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

/* How many have not been reaped, abandoned ones too. */
size_t processes_running(const struct processes *all);

/*
 * Run a program as spawn.h says; use is copied. -errno, also of the exec.
 */
int MUST_CHECK process_start(struct processes *all, const struct strs *args, const struct strs *env, const struct process_use *use,
    struct process **ret);

/* A signal to its whole group. */
void process_signal(struct process *p, int signo);

/* Kill the group and read on no more: ended() follows, perhaps before this returns. */
void process_kill(struct process *p);

/* Kill the group, and call neither output() nor ended() any more; NULL is none. */
void process_abandon(struct process *p);

/* Stop reading its output, and go on: it waits when the pipe is full. */
void process_pause(struct process *p);
void process_resume(struct process *p);

#endif
