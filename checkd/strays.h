/*
 * strays.h - the end of what a program has started, also outside of its
 * process group.
 *
 * This process adopts the orphans among its descendants
 * (PR_SET_CHILD_SUBREAPER), so all that a program started is below it.
 * What belongs to a program descends from it, or shows its mark in
 * /proc/PID/environ, which outlives its parents.
 */
#ifndef CHECKD_STRAYS_H
#define CHECKD_STRAYS_H

#include <stddef.h>
#include <sys/types.h>

enum {
	STRAYS_MARK_MAX = 64,
	STRAYS_RUNS_MAX = 32,		/* programs ended by one hunt */
	STRAYS_SEEN_MAX = 65536,	/* processes looked at */
};

#define STRAYS_VARIABLE "CONSULCTL_RUN="

struct stray_run {
	pid_t leader;		/* the program; 0: it was reaped */
	const char *mark;	/* STRAYS_VARIABLE and what is this run's alone */
	size_t found;		/* set: its processes that were killed */
};

/*
 * Kill all processes of these programs: they are stopped first, until no
 * walk through /proc finds one that still runs, so that none can go on by
 * forking. Without /proc, or memory, nothing is found.
 */
void strays_kill(struct stray_run *runs, size_t n);

#endif
