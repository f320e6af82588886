/*
 * log_syslog.h - log lines for syslog(3).
 */
#ifndef CONSULCTL_AGENT_LOG_SYSLOG_H
#define CONSULCTL_AGENT_LOG_SYSLOG_H

#include <stddef.h>

#include "lib/errs.h"

/* facility: "LOCAL0", "daemon" ..., whatever the case. -EINVAL for an unknown one. */
int MUST_CHECK log_syslog_open(const char *facility);

/* One line of our log, text or JSON, without newline; its level becomes the priority, its time is left out. */
void log_syslog_line(const char *line, size_t len);

void log_syslog_close(void);

#endif
