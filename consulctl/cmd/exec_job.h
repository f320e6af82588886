/*
 * exec_job.h - a job of remote execution: its session, what lies under its
 * prefix in the KV store, and the event that calls the nodes.
 *
 * PREFIX/SESSION/job says what to run; each node that the event is for writes
 * NODE/ack, NODE/out/00000 and so on (an empty one only says that it still
 * runs), and NODE/exit beside it.
 */
#ifndef CONSULCTL_CMD_EXEC_JOB_H
#define CONSULCTL_CMD_EXEC_JOB_H

#include "consulctl/client/client.h"

enum {
	EXEC_TTL_MS = 15 * 1000,	/* of the session */
	EXEC_RENEW_MS = 5 * 1000,
	EXEC_END_MS = 15 * 1000,	/* for cleaning up: an agent that hangs must not keep us */
	EXEC_SCRIPT_MAX = 1 * MiB,
};

struct exec_job {
	struct client_hook hook;	/* fd: our signals; due_ms: the next renewal */
	struct client *client;
	const struct options *options;
	char *session;			/* NULL: none */
	char *dir;			/* PREFIX/SESSION/ */
	bool uploaded;
	struct request renewal;
	bool renewing;
	char error[REQUEST_ERROR_MAX];	/* a sentence, once something failed */
};

void exec_job_init(struct exec_job *j, struct client *c, const struct options *o, int signal_fd);

/* node: NULL, or the one of another datacenter that the session hangs on. 0 or negative with j->error; so are the next two. */
int MUST_CHECK exec_job_open(struct exec_job *j, const char *name, const char *node);

/* What is to be run: a script, or else the arguments of the command line, as one line for the shell or as words. */
int MUST_CHECK exec_job_upload(struct exec_job *j, const struct buf *script);

/* ret_id has room for the event's id. */
int MUST_CHECK exec_job_fire(struct exec_job *j, char ret_id[64]);

/* Destroy the session, then remove everything of the job. No signal interrupts it. */
void exec_job_end(struct exec_job *j);

#endif
