/*
 * log.h - one line an event, to stderr and to whoever subscribed.
 *
 * The form is Consul's, `2006-01-02T15:04:05.000Z [INFO]  agent: Synced service: service=web`,
 * or one JSON object a line, or, when stderr is the journal, the line without
 * a time and with its priority in front (sd-daemon(3)).
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/errs.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERR };
enum { LOG_LINE_MAX = 4096 };	/* longer lines are cut */

/* "trace" "debug" "info" "warn" "err"/"error", whatever the case; -EINVAL otherwise. */
int MUST_CHECK log_level_parse(const char *s, enum log_level *ret);
const char *log_level_name(enum log_level l);

/* Before the first line; again on reload. */
void log_setup(enum log_level level, bool json);
bool log_enabled(enum log_level l);

/* subsystem: "agent", "agent.server.raft" ...; the message is "text: key=value key=value". */
void log_write(enum log_level l, const char *subsystem, const char *fmt, ...) PRINTF(3, 4);

#define log_debug(sub, ...) do { if (log_enabled(LOG_DEBUG)) log_write(LOG_DEBUG, sub, __VA_ARGS__); } while (0)
#define log_info(sub, ...) do { if (log_enabled(LOG_INFO)) log_write(LOG_INFO, sub, __VA_ARGS__); } while (0)
#define log_warn(sub, ...) log_write(LOG_WARN, sub, __VA_ARGS__)
#define log_err(sub, ...) log_write(LOG_ERR, sub, __VA_ARGS__)

/* At most LOG_LIMIT_LINES in ten seconds about what somebody else can cause at will. now_ms is any steady clock's. */
enum { LOG_LIMIT_LINES = 10 };
struct log_limit {
	uint64_t until_ms;
	unsigned n;
};
/* Whether one more may be written; the last one that may says so in *ret_note (else ""). */
bool log_allowed(struct log_limit *l, uint64_t now_ms, const char **ret_note);

/* The text of the last line written at LOG_ERR, "" before the first one. */
const char *log_last_error(void);

/* Also give each formatted line (text form or JSON, no newline) to cb; at most one tap. */
typedef void log_tap(void *arg, enum log_level l, const char *text, const char *json_text);
void log_set_tap(enum log_level lowest, log_tap *cb, void *arg);

/* Our own broken invariant, or a failed write that must not be retried: log and abort(). */
void log_fatal(const char *subsystem, const char *fmt, ...) PRINTF(2, 3) __attribute__((noreturn));

#endif
