/*
 * log_sink.h - a copy of what is logged, in files that rotate, or to syslog.
 *
 * Only when one of these is wanted do log lines pass through the supervisor:
 * daemons then write into a pipe, and what comes out of it goes on to standard
 * output as well. Files are named as Consul names them, NAME-<unix ns>.EXT.
 */
#ifndef CONSULCTL_AGENT_LOG_SINK_H
#define CONSULCTL_AGENT_LOG_SINK_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/loop.h"

struct log_sink_config {
	const char *file;		/* NULL: none; a path; ending in '/': the directory for consul.log */
	const char *syslog_facility;	/* NULL: no syslog */
	uint64_t rotate_ms;		/* 0: never */
	uint64_t rotate_bytes;		/* 0: never */
	int64_t max_files;		/* besides the current one; 0 keeps all, -1 none */
	int out_fd;			/* gets all as well; not closed */
};

struct log_sink;

/* Opens the first file. Negative with a sentence in err. The strings are not needed later. */
int MUST_CHECK log_sink_new(const struct log_sink_config *c, struct log_sink **ret, struct buf *err);

/* What others write to; blocking. */
int log_sink_fd(const struct log_sink *s);

/* The same for the supervisor's own lines: never blocks, since it is the one who reads. A descriptor to be closed, or -errno. */
int log_sink_open_own(const struct log_sink *s);

/* Begin to read, in this loop. */
int MUST_CHECK log_sink_start(struct log_sink *s, struct loop *l);

/* Write what is still in the pipe. Freed when the loop has let go of it; NULL is fine. */
void log_sink_free(struct log_sink *s);

#endif
