/*
 * log_syslog.c - the only file that includes <syslog.h>, whose names of
 * levels are those of lib/log.h.
 */
#define SYSLOG_NAMES
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "consulctl/agent/log_syslog.h"

static const struct level {
	const char *text, *json;	/* how a line of this level tells it */
	int priority;
} levels[] = {
	{ "[TRACE] ", "{\"@level\":\"trace\"", LOG_DEBUG },
	{ "[DEBUG] ", "{\"@level\":\"debug\"", LOG_DEBUG },
	{ "[INFO] ", "{\"@level\":\"info\"", LOG_INFO },
	{ "[WARN] ", "{\"@level\":\"warn\"", LOG_WARNING },
	{ "[ERROR] ", "{\"@level\":\"error\"", LOG_ERR },
};

int
log_syslog_open(const char *facility)
{
	for (const CODE *c = facilitynames; c->c_name != NULL; c++)
		if (strcasecmp(c->c_name, facility) == 0) {
			openlog("consul", LOG_PID | LOG_NDELAY, c->c_val);
			return 0;
		}
	return -EINVAL;
}

void
log_syslog_line(const char *line, size_t len)
{
	const char *blank = memchr(line, ' ', len), *tag = blank != NULL ? blank + 1 : line;
	size_t rest = len - (size_t)(tag - line);

	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		size_t tl = strlen(levels[i].text), jl = strlen(levels[i].json);

		if (len >= jl && memcmp(line, levels[i].json, jl) == 0) {
			syslog(levels[i].priority, "%.*s", (int)len, line);
			return;
		}
		if (rest >= tl && memcmp(tag, levels[i].text, tl) == 0) {
			syslog(levels[i].priority, "%.*s", (int)rest, tag);
			return;
		}
	}
	syslog(LOG_INFO, "%.*s", (int)len, line);
}

void
log_syslog_close(void)
{
	closelog();
}
