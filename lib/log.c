/* log.c - formatting of log lines. */
#include "lib/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/json.h"

static struct {
	enum log_level level;
	bool json, journal;
	enum log_level tap_level;
	log_tap *tap;
	void *tap_arg;
	bool in_tap;
	char last_error[512];
} state = { .level = LOG_INFO, .tap_level = LOG_ERR };

static const char *const names[] = { "trace", "debug", "info", "warn", "error" };
static const char *const tags[] = { "[TRACE] ", "[DEBUG] ", "[INFO]  ", "[WARN]  ", "[ERROR] " };
static const int priorities[] = { 7, 7, 6, 4, 3 };	/* of syslog(3) */

int
log_level_parse(const char *s, enum log_level *ret)
{
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(s, names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	if (strcasecmp(s, "err") != 0)
		return -EINVAL;
	*ret = LOG_ERR;
	return 0;
}

const char *
log_level_name(enum log_level l)
{
	return names[l];
}

/* JOURNAL_STREAM names device and inode of the journal's socket: is that our stderr? */
static bool
stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return env != NULL && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	    st.st_dev == dev && st.st_ino == ino;
}

void
log_setup(enum log_level level, bool json)
{
	state.level = level;
	state.json = json;
	state.journal = stderr_is_journal();
}

bool
log_enabled(enum log_level l)
{
	return l >= state.level || (state.tap != NULL && l >= state.tap_level);
}

const char *
log_last_error(void)
{
	return state.last_error;
}

void
log_set_tap(enum log_level lowest, log_tap *cb, void *arg)
{
	state.tap_level = lowest;
	state.tap = cb;
	state.tap_arg = arg;
}

static void
stamp(char out[32], const char *zone_form)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, 32 - n, zone_form, ts.tv_nsec / 1000000);
}

/* One line is one line, whatever a peer sent. */
static void
clean(char *s)
{
	for (; *s != 0; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

static void
emit(const char *prefix, const char *line)
{
	char out[LOG_LINE_MAX + 160];
	int n = snprintf(out, sizeof(out), "%s%s\n", prefix, line);
	size_t len = n < (int)sizeof(out) ? (size_t)n : sizeof(out) - 1;

	/* A log that cannot be written is nobody's reason to stop. */
	ssize_t ignored = write(STDERR_FILENO, out, len);
	(void)ignored;
}

static void
json_line(struct buf *b, enum log_level l, const char *subsystem, const char *text, const char *time)
{
	int rc = 0;

	rc |= buf_addf(b, "{\"@level\":\"%s\",\"@message\":", names[l]);
	rc |= json_add_string(b, str_from(text));
	rc |= buf_adds(b, ",\"@module\":");
	rc |= json_add_string(b, str_from(subsystem));
	rc |= buf_addf(b, ",\"@timestamp\":\"%s\"}", time);
	if (rc != 0)
		buf_clear(b);
}

static void
write_line(enum log_level l, const char *subsystem, const char *text)
{
	char line[LOG_LINE_MAX + 64], time[32], prefix[64];
	struct buf json = BUF_INIT(LOG_LINE_MAX * 8);
	bool tapped = state.tap != NULL && l >= state.tap_level && !state.in_tap;

	if (l == LOG_ERR)
		(void)snprintf(state.last_error, sizeof(state.last_error), "%s", text);
	(void)snprintf(line, sizeof(line), "%s%s: %s", tags[l], subsystem, text);
	if (state.json || tapped) {
		stamp(time, ".%03ld000Z");
		json_line(&json, l, subsystem, text, time);
	}
	stamp(time, ".%03ldZ");
	if (l >= state.level && state.json) {
		emit("", buf_cstr(&json) != NULL ? buf_cstr(&json) : text);
	} else if (l >= state.level) {
		if (state.journal)
			(void)snprintf(prefix, sizeof(prefix), "<%d>", priorities[l]);
		else
			(void)snprintf(prefix, sizeof(prefix), "%s ", time);
		emit(prefix, line);
	}
	if (tapped) {
		char stamped[sizeof(line) + 40];

		(void)snprintf(stamped, sizeof(stamped), "%s %s", time, line);
		state.in_tap = true;
		state.tap(state.tap_arg, l, stamped, buf_cstr(&json) != NULL ? buf_cstr(&json) : "{}");
		state.in_tap = false;
	}
	buf_release(&json);
}

void
log_write(enum log_level l, const char *subsystem, const char *fmt, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;

	if (!log_enabled(l))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	write_line(l, subsystem, text);
}

void
log_fatal(const char *subsystem, const char *fmt, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	write_line(LOG_ERR, subsystem, text);
	abort();
}

bool
log_allowed(struct log_limit *l, uint64_t now_ms, const char **ret_note)
{
	if (now_ms >= l->until_ms) {
		l->until_ms = now_ms + 10000;
		l->n = 0;
	}
	if (l->n == LOG_LIMIT_LINES)
		return false;
	*ret_note = ++l->n == LOG_LIMIT_LINES ? " (more lines of this kind are left out for up to 10s)" : "";
	return true;
}
