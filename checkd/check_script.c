/* check_script.c - checks that run a program. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "checkd/kinds.h"
#include "checkd/output.h"
#include "checkd/process.h"
#include "lib/duration.h"

enum {
	SCRIPT_TIMEOUT_DEFAULT_MS = 30 * 1000,
	LEFTOVERS_MS = 1000,		/* after the script's end: what is printed in so long by others still counts */
	RESULT_MAX = 16 * 1024 * 1024,
};

/* One run of the program. */
struct script_run {
	struct check *c;
	struct process *process;
	bool told;			/* its result was given */
	bool over;			/* it has ended by itself; its output has not */
	uint64_t until_ms;		/* CLOCK_MONOTONIC: its time is over */
	struct output output;
};

static uint64_t
timeout_ms(const struct check *c)
{
	return c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : SCRIPT_TIMEOUT_DEFAULT_MS;
}

static void
run_free(struct script_run *r)
{
	output_release(&r->output);
	free(r);
}

static enum check_status
status_of(int wait_status)
{
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
		return CHECK_PASSING;
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 1)
		return CHECK_WARNING;
	return CHECK_CRITICAL;
}

static void
on_output(void *arg, const char *p, size_t n)
{
	struct script_run *r = arg;

	output_add(&r->output, p, n);
}

/* Its result: what it says of itself, or before what it has printed. */
static void
tell(struct script_run *r, enum check_status status, const char *before)
{
	struct buf text = BUF_INIT(RESULT_MAX);
	int rc = buf_adds(&text, before);

	r->told = true;
	if (rc == 0 && before[0] != '\0' && r->output.total > 0)
		rc = buf_adds(&text, "\n\n");
	if (rc == 0)
		rc = output_append_captured(&r->output, &text);
	schedule_result(r->c, status, rc == 0 && text.len > 0 ? (struct str){ (char *)text.data, text.len } : str_from(before));
	buf_release(&text);
}

static void
on_ended(void *arg, int wait_status)
{
	struct script_run *r = arg;
	struct check *c = r->c;

	if (!r->told)
		tell(r, status_of(wait_status), "");
	c->runner.run = NULL;
	run_free(r);
	schedule_ended(c);
}

static void
on_late(struct check *c)
{
	struct script_run *r = c->runner.run;
	char after[DURATION_TEXT_MAX], text[DURATION_TEXT_MAX + 64];

	if (!r->told && r->over) {
		tell(r, status_of(process_status(r->process)), "");
	} else if (!r->told) {
		duration_format(c->def->timeout > 0 ? c->def->timeout : SCRIPT_TIMEOUT_DEFAULT_MS * NS_PER_MS, after);
		snprintf(text, sizeof(text), "Timed out (%s) running check", after);
		log_warn("agent", "Check timed out: check=%s timeout=%s", c->id, after);
		/* Told at once; the next run waits until this one is gone. */
		tell(r, CHECK_CRITICAL, text);
	}
	process_kill(r->process);
}

/*
 * The script has ended, and something that it has left behind holds its
 * output open: its own word counts. What was left has the script's time to
 * end, in which the check is not run again.
 */
static void
on_left_alone(struct check *c)
{
	struct script_run *r = c->runner.run;
	uint64_t now = alarms_clock_ms(CLOCK_MONOTONIC);

	tell(r, status_of(process_status(r->process)), "");
	schedule_deadline(c, r->until_ms > now ? r->until_ms - now : 0, on_late);
}

static void
on_reaped(void *arg)
{
	struct script_run *r = arg;

	r->over = true;
	if (!r->told && r->until_ms > alarms_clock_ms(CLOCK_MONOTONIC) + LEFTOVERS_MS)
		schedule_deadline(r->c, LEFTOVERS_MS, on_left_alone);
}

static void
cannot_run(struct check *c, int rc)
{
	char text[1024], why[128];

	/* Go's words for errors are the system's, but for the first letter. */
	snprintf(why, sizeof(why), "%s", err_text(rc));
	why[0] = (char)ascii_lower((uint8_t)why[0]);
	if (rc == -ENOENT && memchr(c->def->args.v[0].p, '/', c->def->args.v[0].len) == NULL)
		snprintf(text, sizeof(text), "exec: \"%.*s\": executable file not found in $PATH", STR_ARG(c->def->args.v[0]));
	else
		snprintf(text, sizeof(text), "fork/exec %.*s: %s", STR_ARG(c->def->args.v[0]), why);
	schedule_done(c, CHECK_CRITICAL, str_from(text));
}

static void
script_start(struct check *c)
{
	struct script_run *r = calloc(1, sizeof(*r));
	struct process_use use = { on_output, on_reaped, on_ended, r };
	int rc;

	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	r->c = c;
	output_init(&r->output, checkd_output_max(c));
	rc = process_start_caged(c->cd->processes, &c->def->args, &use, &r->process);
	if (rc < 0) {
		run_free(r);
		cannot_run(c, rc);
		return;
	}
	c->runner.run = r;
	r->until_ms = alarms_clock_ms(CLOCK_MONOTONIC) + timeout_ms(c);
	schedule_deadline(c, timeout_ms(c), on_late);
}

/* Abandoned: killed, and reaped later. */
static void
script_stop(struct check *c)
{
	struct script_run *r = c->runner.run;

	if (r == NULL)
		return;
	c->runner.run = NULL;
	process_abandon(r->process);
	run_free(r);
}

const struct check_kind check_kind_script = { "script", true, script_start, script_stop };
