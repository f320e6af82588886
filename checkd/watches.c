/* watches.c - the watches of the config files, run and run again. */
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "checkd/output.h"
#include "checkd/process.h"
#include "checkd/watch_command.h"
#include "checkd/watches.h"

struct watch {
	struct watch *next;
	struct checkd *cd;
	struct arena arena;		/* of the command */
	struct watch_command command;
	struct process *process;	/* NULL: it waits to be run */
	uv_timer_t *timer;		/* when it is run again; while it is ending, or has ended but for its output: when it is killed */
	uv_timer_t *quiet;		/* when its output is logged */
	struct output output;
	uint64_t started_ms, retry_ms;
	unsigned early;			/* times it ended soon after it was run */
	bool ending;
};

struct watches {
	struct watch *first;
	size_t n;
	void (*gone)(struct checkd *cd);
};

static void run(struct watch *w);

static void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	process_abandon(w->process);
	timer_free(w->timer);
	timer_free(w->quiet);
	output_release(&w->output);
	arena_release(&w->arena);
	free(w);
}

/* What it said since the last time, emptied. */
static void
take_output(struct watch *w, struct buf *to)
{
	if (output_append_captured(&w->output, to) < 0)
		buf_clear(to);
	output_release(&w->output);
	output_init(&w->output, WATCH_OUTPUT_MAX);
	(void)uv_timer_stop(w->quiet);
}

static void
on_quiet(uv_timer_t *t)
{
	struct watch *w = t->data;
	struct buf text = BUF_INIT(2 * WATCH_OUTPUT_MAX);

	take_output(w, &text);
	log_debug("agent", "watch handler output: watch_handler=\"%.100s\" output=\"%.*s\"", w->command.label, (int)text.len,
	    text.data != NULL ? (char *)text.data : "");
	buf_release(&text);
}

static void
on_output(void *arg, const char *p, size_t n)
{
	struct watch *w = arg;

	output_add(&w->output, p, n);
	(void)uv_timer_start(w->quiet, on_quiet, WATCH_QUIET_MS, 0);
}

static void
on_retry(uv_timer_t *t)
{
	run(t->data);
}

static void
run_later(struct watch *w, const char *why)
{
	struct buf said = BUF_INIT(2 * WATCH_OUTPUT_MAX);
	enum log_level level;

	if (clock_ms() - w->started_ms >= WATCH_STEADY_MS)
		w->retry_ms = w->early = 0;
	w->retry_ms = w->retry_ms == 0 ? WATCH_RETRY_MS : w->retry_ms * 2;
	if (w->retry_ms > WATCH_RETRY_MAX_MS)
		w->retry_ms = WATCH_RETRY_MAX_MS;
	level = ++w->early <= WATCH_EARLY ? LOG_DEBUG : LOG_WARN;
	take_output(w, &said);
	if (log_enabled(level))
		log_write(level, "agent", "a watch has ended, to be run again: watch_handler=\"%.100s\" why=\"%s\" retry_ms=%llu output=\"%.*s\"",
		    w->command.label, why, (unsigned long long)w->retry_ms, (int)said.len, said.data != NULL ? (char *)said.data : "");
	buf_release(&said);
	(void)uv_timer_start(w->timer, on_retry, w->retry_ms, 0);
}

static void
drop(struct watch *w)
{
	struct checkd *cd = w->cd;
	struct watches *all = cd->plans;
	struct watch **at = &all->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	all->n--;
	watch_free(w);
	if (all->n == 0 && all->gone != NULL)
		all->gone(cd);
}

static void
on_grace_over(uv_timer_t *t)
{
	struct watch *w = t->data;

	if (w->process != NULL)
		process_kill(w->process);
}

/* What its handler left behind may hold the output for ever. */
static void
on_reaped(void *arg)
{
	struct watch *w = arg;

	if (!w->ending)
		(void)uv_timer_start(w->timer, on_grace_over, WATCH_GRACE_MS, 0);
}

static void
on_ended(void *arg, int status)
{
	struct watch *w = arg;
	char why[64];

	w->process = NULL;
	if (w->ending) {
		if (w->output.total > 0)
			on_quiet(w->quiet);
		drop(w);
		return;
	}
	if (WIFSIGNALED(status))
		(void)snprintf(why, sizeof(why), "signal %d", WTERMSIG(status));
	else
		(void)snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(status));
	run_later(w, why);
}

static void
run(struct watch *w)
{
	const struct process_use use = { on_output, on_reaped, on_ended, w };
	int rc;

	w->started_ms = clock_ms();
	rc = process_start(w->cd->processes, &w->command.args, &w->command.env, &use, &w->process);
	if (rc < 0)
		run_later(w, err_text(rc));
}

static void
end(struct watch *w)
{
	if (w->ending)
		return;
	w->ending = true;
	(void)uv_timer_stop(w->timer);
	if (w->process == NULL) {
		drop(w);
		return;
	}
	/* It ends its handler, which is in a group of its own. */
	process_signal(w->process, SIGTERM);
	(void)uv_timer_start(w->timer, on_grace_over, WATCH_GRACE_MS, 0);
}

static void
end_all(struct watches *all)
{
	struct watch *next;

	for (struct watch *w = all->first; w != NULL; w = next) {
		next = w->next;
		end(w);
	}
}

/* One watch of the slice; NULL, told, when it cannot be. */
static struct watch *
watch_new(struct checkd *cd, struct json_object *j, const char *program, const char *address)
{
	struct watch *w = calloc(1, sizeof(*w));
	const char *why = NULL;
	int rc;

	if (w == NULL)
		return NULL;
	w->cd = cd;
	arena_init(&w->arena, WATCH_ARENA_MAX);
	output_init(&w->output, WATCH_OUTPUT_MAX);
	w->timer = timer_new(&cd->d->loop.uv, w);
	w->quiet = timer_new(&cd->d->loop.uv, w);
	rc = w->timer == NULL || w->quiet == NULL ? -ENOMEM : watch_command(j, program, address, &w->arena, &w->command, &why);
	if (rc < 0) {
		log_err("agent", "cannot run a watch: error=\"%s\"", why != NULL ? why : err_text(rc));
		watch_free(w);
		return NULL;
	}
	return w;
}

static void
run_all(struct checkd *cd, struct json_object *list, const char *program, const char *address)
{
	struct watches *all = cd->plans;

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct watch *w;

		if (i == WATCHES_MAX) {
			log_err("agent", "the watches beyond the first %d are not run", (int)WATCHES_MAX);
			return;
		}
		w = watch_new(cd, json_object_array_get_idx(list, i), program, address);
		if (w == NULL)
			continue;
		w->next = all->first;
		all->first = w;
		all->n++;
		run(w);
	}
}

int
watches_apply(struct checkd *cd, struct json_object *slice)
{
	struct json_object *list = cfg_get(slice, "watches");
	struct arena a = ARENA_INIT(64 * KiB);
	const char *program, *address;

	if (cd->plans == NULL)
		cd->plans = calloc(1, sizeof(*cd->plans));
	if (cd->plans == NULL)
		return -ENOMEM;
	end_all(cd->plans);
	if (json_object_is_type(list, json_type_array) && json_object_array_length(list) > 0) {
		program = watch_program(&a);
		address = watch_address(slice, &a);
		if (program == NULL || address == NULL)
			log_err("agent", "watch plans require an HTTP or HTTPS endpoint");
		else
			run_all(cd, list, program, address);
	}
	arena_release(&a);
	return 0;
}

bool
watches_end(struct checkd *cd, void (*gone)(struct checkd *cd))
{
	if (cd->plans == NULL)
		return true;
	end_all(cd->plans);
	if (cd->plans->n == 0)
		return true;
	cd->plans->gone = gone;
	return false;
}

void
watches_release(struct checkd *cd)
{
	struct watch *w;

	if (cd->plans == NULL)
		return;
	while ((w = cd->plans->first) != NULL) {
		cd->plans->first = w->next;
		watch_free(w);
	}
	free(cd->plans);
	cd->plans = NULL;
}

size_t
watches_running(const struct checkd *cd)
{
	return cd->plans != NULL ? cd->plans->n : 0;
}
