/*
 * rexec.h - remote execution: jobs that events in the pool announce and the
 * KV store holds, as `consulctl exec` leaves them there.
 *
 * Below PREFIX/SESSION/ lies `job`; this node answers below its own name
 * with `ack`, pieces of output `out/%05x`, and `exit`. All of it is written
 * with the job's session, so it goes with it.
 */
#ifndef CHECKD_REXEC_H
#define CHECKD_REXEC_H

#include "checkd/checkd.h"

enum {
	REXEC_JOBS_MAX = 32,		/* at once; more are refused */
	REXEC_SEEN_MAX = 64,		/* sessions that are remembered, so that no job is run twice */
	REXEC_PREFIX_MAX = 512,		/* bytes of the keys' prefix */
	REXEC_JOB_MAX = 1024 * 1024,	/* of what a job holds, decoded */
	REXEC_PIECE = 4096,		/* of output in one key, */
	REXEC_PIECE_MS = 500,		/* or what has come within this time */
	REXEC_HELD_MAX = 64 * 1024,	/* of output that waits to be written; the program is not read from beyond half of it */
	REXEC_OUTPUT_MAX = 16 * 1024 * 1024,	/* of one job; the rest is not told */
	REXEC_WAIT_MS = 2000,		/* between signs of life, unless the job says otherwise, */
	REXEC_WAIT_MIN_MS = 500,	/* and never below */
	REXEC_CALL_MS = 10 * 1000,
	REXEC_RETRY_MS = 5 * 1000,
};

struct rexec;

/* What an event announces. */
struct rexec_event {
	struct str prefix, session;
};

/* What a job asks for. */
struct rexec_spec {
	struct str command;	/* a line for the shell, "" none */
	struct strs args;	/* a program with its arguments, instead */
	struct str script;	/* what a file holds that is run, instead */
	uint64_t wait_ms;
};

/* Wait for jobs, unless the slice says disable_remote_exec (which it does by default). -ENOMEM. */
int MUST_CHECK rexec_start(struct checkd *cd);
void rexec_stop(struct checkd *cd);

/* ---- rexec_spec.c: pure. Strings are the arena's and end with a NUL; -EINVAL, -ENOMEM, -ELIMIT. */

int MUST_CHECK rexec_event_parse(struct str payload, struct arena *a, struct rexec_event *ret);
int MUST_CHECK rexec_spec_parse(struct str json, struct arena *a, struct rexec_spec *ret);

/* ---- rexec_job.c */

struct rexec_jobs {
	struct checkd *cd;
	struct write_stamps stamps;
	struct rexec_job *first;
	size_t n;
};

/* Fetch a job and run it. */
void rexec_job_start(struct rexec_jobs *all, const struct rexec_event *e);
/* Kill and forget them; the client of raftd has been freed. */
void rexec_jobs_release(struct rexec_jobs *all);

#endif
