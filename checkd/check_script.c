/* check_script.c - checks that run a program. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "checkd/kinds.h"
#include "checkd/output.h"
#include "checkd/process.h"
#include "lib/duration.h"

enum { SCRIPT_TIMEOUT_DEFAULT_S = 30, RESULT_MAX = 16 * 1024 * 1024 };

/* One run of the program. */
struct script_run {
	struct check *c;
	struct process *process;
	bool timed_out;
	uv_timer_t *timer;
	struct output output;
};

static void
run_free(struct script_run *r)
{
	timer_free(r->timer);
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

static void
on_ended(void *arg, int wait_status)
{
	struct script_run *r = arg;
	struct check *c = r->c;
	struct buf text = BUF_INIT(RESULT_MAX);
	struct str out = STR("");

	if (!r->timed_out) {
		if (output_append_captured(&r->output, &text) == 0 && text.len > 0)
			out = (struct str){ (char *)text.data, text.len };
		schedule_result(c, status_of(wait_status), out);
	}
	c->runner.run = NULL;
	run_free(r);
	schedule_ended(c);
	buf_release(&text);
}

static void
on_timeout(uv_timer_t *t)
{
	struct script_run *r = t->data;
	char after[DURATION_TEXT_MAX], text[DURATION_TEXT_MAX + 64];
	int64_t ns = r->c->def->timeout > 0 ? r->c->def->timeout : SCRIPT_TIMEOUT_DEFAULT_S * NS_PER_S;

	duration_format(ns, after);
	snprintf(text, sizeof(text), "Timed out (%s) running check", after);
	log_warn("agent", "Check timed out: check=%s timeout=%s", r->c->id, after);
	r->timed_out = true;
	/* Told at once; the next run waits until this one is gone. */
	schedule_result(r->c, CHECK_CRITICAL, str_from(text));
	process_kill(r->process);
}

static void
cannot_run(struct check *c, int rc)
{
	char text[1024];

	if (rc == -ENOENT && memchr(c->def->args.v[0].p, '/', c->def->args.v[0].len) == NULL)
		snprintf(text, sizeof(text), "exec: \"%.*s\": executable file not found in $PATH", STR_ARG(c->def->args.v[0]));
	else
		snprintf(text, sizeof(text), "fork/exec %.*s: %s", STR_ARG(c->def->args.v[0]), err_text(rc));
	schedule_done(c, CHECK_CRITICAL, str_from(text));
}

static struct script_run *
run_new(struct check *c)
{
	struct script_run *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->timer = timer_new(&c->cd->d->loop.uv, r);
	if (r->timer == NULL) {
		free(r);
		return NULL;
	}
	r->c = c;
	output_init(&r->output, checkd_output_max(c));
	return r;
}

static void
script_start(struct check *c)
{
	int64_t ms = c->def->timeout > 0 ? c->def->timeout / NS_PER_MS : SCRIPT_TIMEOUT_DEFAULT_S * 1000;
	struct script_run *r = run_new(c);
	struct process_use use = { on_output, NULL, on_ended, r };
	int rc;

	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	rc = process_start(c->cd->processes, &c->def->args, NULL, &use, &r->process);
	if (rc < 0) {
		run_free(r);
		cannot_run(c, rc);
		return;
	}
	c->runner.run = r;
	(void)uv_timer_start(r->timer, on_timeout, (uint64_t)ms, 0);
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
