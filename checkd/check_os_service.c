/* check_os_service.c - checks that ask systemd whether a unit is active. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "checkd/kinds.h"
#include "checkd/output.h"
#include "checkd/process.h"
#include "lib/duration.h"

enum { SERVICE_TIMEOUT_DEFAULT_S = 30, TEXT_MAX = 1024, SAID_MAX = 512 };

/* One run of `systemctl is-active`. */
struct service_run {
	struct check *c;
	struct process *process;
	bool timed_out;
	struct output said;
};

static void
run_free(struct service_run *r)
{
	output_release(&r->said);
	free(r);
}

enum check_status
os_service_status(struct str name, int exit_code, struct str said, char *text, size_t textlen)
{
	/* States on the way to another one; systemctl(1) prints one word a unit. */
	static const char *const passing_by[] = { "activating", "deactivating", "reloading", "refreshing", "maintenance" };
	static const char *const states[] = { "active", "inactive", "failed", "unknown" };
	const char *newline = said.len > 0 ? memchr(said.p, '\n', said.len) : NULL;
	struct str word = newline != NULL ? (struct str){ said.p, (size_t)(newline - said.p) } : said;

	if (exit_code == 0) {
		snprintf(text, textlen, "Service \"%.*s\" is healthy", STR_ARG(name));
		return CHECK_PASSING;
	}
	for (size_t i = 0; i < ARRAY_LEN(passing_by); i++)
		if (str_eqs(word, passing_by[i])) {
			snprintf(text, textlen, "service status: %s", passing_by[i]);
			return CHECK_WARNING;
		}
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (str_eqs(word, states[i])) {
			snprintf(text, textlen, "service status: %s - OS Service unhealthy", states[i]);
			return CHECK_CRITICAL;
		}
	/* It could not ask: no systemd runs here, or it does not answer. */
	snprintf(text, textlen, "cannot ask systemd for service \"%.*s\": %.*s", STR_ARG(name),
	    (int)(word.len > 0 ? word.len : sizeof("systemctl has failed") - 1), word.len > 0 ? word.p : "systemctl has failed");
	return CHECK_CRITICAL;
}

static void
on_output(void *arg, const char *p, size_t n)
{
	struct service_run *r = arg;
	size_t room = r->said.total < SAID_MAX ? SAID_MAX - (size_t)r->said.total : 0;

	/* Its first line is what counts. */
	output_add(&r->said, p, n < room ? n : room);
}

static void
on_ended(void *arg, int wait_status)
{
	struct service_run *r = arg;
	struct check *c = r->c;
	struct buf said = BUF_INIT(SAID_MAX);
	char text[TEXT_MAX];
	enum check_status status;

	if (!r->timed_out) {
		struct str s = STR("");

		if (output_append(&r->said, &said) == 0 && said.len > 0)
			s = (struct str){ (char *)said.data, said.len };
		status = os_service_status(c->def->os_service, WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1, s, text,
		    sizeof(text));
		schedule_result(c, status, str_from(text));
	}
	c->runner.run = NULL;
	run_free(r);
	buf_release(&said);
	schedule_ended(c);
}

static void
on_late(struct check *c)
{
	struct service_run *r = c->runner.run;
	char after[DURATION_TEXT_MAX], text[DURATION_TEXT_MAX + 64];

	duration_format(r->c->def->timeout > 0 ? r->c->def->timeout : SERVICE_TIMEOUT_DEFAULT_S * NS_PER_S, after);
	snprintf(text, sizeof(text), "Timed out (%s) running check", after);
	r->timed_out = true;
	/* Told at once; the next run waits until this program is gone. */
	schedule_result(r->c, CHECK_CRITICAL, str_from(text));
	process_kill(r->process);
}

static void
cannot_run(struct check *c, int rc)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "cannot ask systemd for service \"%.*s\": systemctl: %s", STR_ARG(c->def->os_service),
	    rc == -ENOENT ? "there is no such program in $PATH" : err_text(rc));
	schedule_done(c, CHECK_CRITICAL, str_from(text));
}

static void
os_service_start(struct check *c)
{
	int64_t ms = c->def->timeout > 0 ? c->def->timeout / NS_PER_MS : SERVICE_TIMEOUT_DEFAULT_S * 1000;
	struct str words[] = { STR("systemctl"), STR("is-active"), STR("--"), c->def->os_service };
	struct strs args = { words, ARRAY_LEN(words) };
	struct service_run *r = calloc(1, sizeof(*r));
	struct process_use use = { on_output, NULL, on_ended, r };
	int rc;

	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	r->c = c;
	output_init(&r->said, SAID_MAX);
	rc = process_start(c->cd->processes, &args, NULL, &use, &r->process);
	if (rc < 0) {
		run_free(r);
		cannot_run(c, rc);
		return;
	}
	c->runner.run = r;
	schedule_deadline(c, (uint64_t)ms, on_late);
}

/* Abandoned: killed, and reaped later. */
static void
os_service_stop(struct check *c)
{
	struct service_run *r = c->runner.run;

	if (r == NULL)
		return;
	c->runner.run = NULL;
	process_abandon(r->process);
	run_free(r);
}

const struct check_kind check_kind_os_service = { "os_service", true, os_service_start, os_service_stop };
