/* check_script.c - checks that run a program. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkd/kinds.h"
#include "checkd/output.h"
#include "checkd/spawn.h"
#include "lib/duration.h"

enum { SCRIPT_TIMEOUT_DEFAULT_S = 30, RESULT_MAX = 16 * 1024 * 1024 };

struct scripts {
	uv_loop_t *loop;
	uv_signal_t sigchld;
	struct script_run *runs;
	size_t nruns;
};

/*
 * One child. It is over when the child was reaped and its output has ended,
 * which a process it left behind may hold open until the time is up.
 */
struct script_run {
	struct script_run *next;
	struct scripts *all;
	struct check *c;	/* NULL: abandoned */
	pid_t pid;		/* also its process group */
	int status;
	bool reaped, ended, timed_out;
	uv_pipe_t *pipe;	/* its stdout and stderr; freed by its close callback */
	uv_timer_t *timer;
	struct output output;
};

static void
handle_closed(uv_handle_t *h)
{
	free(h);
}

static void
drop_pipe(struct script_run *r)
{
	if (r->pipe == NULL)
		return;
	r->pipe->data = NULL;
	uv_close((uv_handle_t *)r->pipe, handle_closed);
	r->pipe = NULL;
}

static void
run_free(struct script_run *r)
{
	struct script_run **at = &r->all->runs;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	r->all->nruns--;
	drop_pipe(r);
	timer_free(r->timer);
	output_release(&r->output);
	free(r);
}

/* Everything that the child has started and that did not leave its group. */
static void
kill_group(const struct script_run *r)
{
	/* Once reaped, the number of the child may be another's; its group's not while a member is left. */
	if (kill(-r->pid, SIGKILL) < 0 && errno != ESRCH)
		log_warn("agent", "cannot kill a check's processes: pid=%d error=\"%s\"", (int)r->pid, err_text(-errno));
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
finish_if_over(struct script_run *r)
{
	struct check *c = r->c;
	struct buf text = BUF_INIT(RESULT_MAX);
	struct str out = STR("");

	if (!r->reaped || !r->ended)
		return;
	if (c == NULL) {
		run_free(r);
		return;
	}
	if (!r->timed_out) {
		if (output_append_captured(&r->output, &text) == 0 && text.len > 0)
			out = (struct str){ (char *)text.data, text.len };
		schedule_result(c, status_of(r->status), out);
	}
	c->runner.run = NULL;
	run_free(r);
	schedule_ended(c);
	buf_release(&text);
}

static void
on_sigchld(uv_signal_t *h, int signum)
{
	struct scripts *all = h->data;
	struct script_run *r, *next;

	(void)signum;
	for (r = all->runs; r != NULL; r = next) {
		next = r->next;
		if (r->reaped || waitpid(r->pid, &r->status, WNOHANG) != r->pid)
			continue;
		r->reaped = true;
		if (r->c == NULL || r->timed_out)
			r->ended = true;	/* nobody reads on */
		finish_if_over(r);
	}
}

static void
on_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	static char chunk[16 * 1024];

	(void)h;
	(void)want;
	*b = uv_buf_init(chunk, sizeof(chunk));
}

static void
on_output(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct script_run *r = s->data;

	if (r == NULL || n == 0)
		return;
	if (n > 0) {
		output_add(&r->output, b->base, (size_t)n);
		return;
	}
	drop_pipe(r);
	r->ended = true;
	finish_if_over(r);
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
	kill_group(r);
	drop_pipe(r);
	r->timed_out = r->ended = true;
	/* Told at once; the next run waits until this one is gone. */
	schedule_result(r->c, CHECK_CRITICAL, str_from(text));
	finish_if_over(r);
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

/* Read the child's output from fd, which is taken over whatever the outcome. */
static int
watch_output(struct script_run *r, int fd)
{
	int rc;

	r->pipe = malloc(sizeof(*r->pipe));
	rc = r->pipe == NULL ? -ENOMEM : uv_pipe_init(r->all->loop, r->pipe, 0);
	if (rc < 0) {
		free(r->pipe);
		r->pipe = NULL;
		close(fd);
		return rc;
	}
	r->pipe->data = r;
	rc = uv_pipe_open(r->pipe, fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return uv_read_start((uv_stream_t *)r->pipe, on_alloc, on_output);
}

static struct script_run *
run_new(struct check *c)
{
	struct scripts *all = c->cd->scripts;
	struct script_run *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->timer = timer_new(all->loop, r);
	if (r->timer == NULL) {
		free(r);
		return NULL;
	}
	r->all = all;
	r->c = c;
	output_init(&r->output, checkd_output_max(c));
	r->next = all->runs;
	all->runs = r;
	all->nruns++;
	return r;
}

static void
script_start(struct check *c)
{
	int64_t ms = c->def->timeout > 0 ? c->def->timeout / NS_PER_MS : SCRIPT_TIMEOUT_DEFAULT_S * 1000;
	struct script_run *r = run_new(c);
	int fd, rc;

	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	rc = spawn_group(&c->def->args, &r->pid, &fd);
	if (rc < 0) {
		run_free(r);
		cannot_run(c, rc);
		return;
	}
	c->runner.run = r;
	(void)uv_timer_start(r->timer, on_timeout, (uint64_t)ms, 0);
	if (watch_output(r, fd) < 0)
		r->ended = true;	/* it runs all the same; its status still counts */
}

/* Abandoned: killed, and reaped later. */
static void
script_stop(struct check *c)
{
	struct script_run *r = c->runner.run;

	if (r == NULL)
		return;
	kill_group(r);
	drop_pipe(r);
	uv_timer_stop(r->timer);
	r->c = NULL;
	r->ended = true;
	c->runner.run = NULL;
	finish_if_over(r);
}

int
scripts_init(struct checkd *cd)
{
	struct scripts *all = calloc(1, sizeof(*all));

	if (all == NULL || uv_signal_init(&cd->d->loop.uv, &all->sigchld) < 0) {
		free(all);
		return -ENOMEM;
	}
	all->loop = &cd->d->loop.uv;
	all->sigchld.data = all;
	cd->scripts = all;
	return uv_signal_start(&all->sigchld, on_sigchld, SIGCHLD);
}

static void
signal_closed(uv_handle_t *h)
{
	free(h->data);
}

void
scripts_release(struct checkd *cd)
{
	struct scripts *all = cd->scripts;

	if (all == NULL)
		return;
	/* Checks have been detached, which killed their groups; the rest is init's to reap. */
	while (all->runs != NULL)
		run_free(all->runs);
	uv_close((uv_handle_t *)&all->sigchld, signal_closed);
	cd->scripts = NULL;
}

size_t
scripts_running(const struct checkd *cd)
{
	return cd->scripts->nruns;
}

const struct check_kind check_kind_script = { "script", true, script_start, script_stop };
