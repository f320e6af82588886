/*
 * supervise.c - starts programs, starts them again, stops them in order.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "consulctl/agent/fdstore.h"
#include "consulctl/agent/notify_server.h"
#include "consulctl/agent/spawn.h"
#include "consulctl/agent/supervise.h"
#include "lib/log.h"

struct child {
	struct supervisor *s;
	const char *name;
	char *const *argv;
	enum child_state state;
	pid_t pid;
	bool was_ready;			/* in any of its lives */
	unsigned failures;		/* ends in a row, each before STABLE_MS */
	uint64_t started_ms, pinged_ms;	/* uv_now() */
	uint64_t watchdog_ms;		/* 0: not watched */
	uint64_t restarts;
	uv_timer_t restart;
	struct fdstore fds;
	char status[STATUS_MAX];
};

struct supervisor {
	struct supervisor_config c;
	struct notify_server notify;
	uv_signal_t sigchld;
	uv_timer_t watch;		/* looks at the watchdogs */
	uv_timer_t step, deadline;	/* of a stop */
	struct child children[SUPERVISE_MAX];
	size_t n;
	size_t untold;			/* while stopping: children[0..untold) have not been asked yet */
	bool all_ready, failed, stopping, stopped;
	uint64_t watched_ms;		/* when the watchdogs were last looked at */
	unsigned open_handles;
	bool initialised;
};

static void child_start(struct child *c);

static struct child *
child_of_pid(struct supervisor *s, pid_t pid)
{
	for (size_t i = 0; i < s->n; i++)
		if (pid > 0 && s->children[i].pid == pid)
			return &s->children[i];
	return NULL;
}

static uint64_t
now_ms(const struct supervisor *s)
{
	return uv_now(&s->c.loop->uv);
}

/* ---- starting */

static void
fail(struct child *c, const char *why)
{
	struct supervisor *s = c->s;

	if (s->failed || s->all_ready)
		return;
	s->failed = true;
	s->c.failed(s->c.arg, c->name, why);
}

/* One that was ready ends with the word that it will not go on (retry_max). */
static void
gave_up(struct child *c)
{
	struct supervisor *s = c->s;

	c->state = CHILD_DOWN;
	if (s->failed)
		return;
	s->failed = true;
	s->c.failed(s->c.arg, c->name, c->status[0] != '\0' ? c->status : "it gave up");
}

static void
on_restart(uv_timer_t *t)
{
	child_start(t->data);
}

/* Start it again, the later the more often it ended in a row. */
static void
schedule_restart(struct child *c)
{
	uint64_t delay = 0;

	if (now_ms(c->s) - c->started_ms >= STABLE_MS)
		c->failures = 0;
	if (c->failures > 0)
		delay = c->failures > 7 ? RESTART_DELAY_MAX_MS : (uint64_t)RESTART_DELAY_MS << (c->failures - 1);
	c->failures++;
	c->restarts++;
	c->state = CHILD_WAITING;
	uv_timer_start(&c->restart, on_restart, delay < RESTART_DELAY_MAX_MS ? delay : RESTART_DELAY_MAX_MS, 0);
}

static void
child_start(struct child *c)
{
	struct supervisor *s = c->s;
	struct spawn sp = {
		.path = c->argv[0], .argv = c->argv, .log_fd = s->c.log_fd, .fds = &c->fds,
		.notify_address = s->notify.address, .watchdog_usec = s->c.watchdog_usec,
	};
	pid_t pid;

	c->status[0] = '\0';
	c->started_ms = now_ms(s);
	pid = spawn(&sp);
	if (pid < 0) {
		log_err("agent", "Cannot start a process: daemon=%s error=\"%s\"", c->name, err_text((int)pid));
		schedule_restart(c);
		return;
	}
	c->pid = pid;
	c->state = CHILD_STARTING;
	c->watchdog_ms = s->c.watchdog_usec / 1000;
	log_debug("agent", "Started daemon: daemon=%s pid=%d", c->name, (int)pid);
}

void
supervisor_start(struct supervisor *s)
{
	uv_update_time(&s->c.loop->uv);
	for (size_t i = 0; i < s->n; i++)
		child_start(&s->children[i]);
}

/* ---- what they tell */

static void
child_ready(struct child *c)
{
	struct supervisor *s = c->s;

	if (c->state != CHILD_STARTING)
		return;
	c->state = CHILD_READY;
	c->was_ready = true;
	c->pinged_ms = now_ms(s);
	log_debug("agent", "Daemon is ready: daemon=%s pid=%d ms=%llu", c->name, (int)c->pid,
	    (unsigned long long)(now_ms(s) - c->started_ms));
	if (s->all_ready || s->stopping)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (!s->children[i].was_ready)
			return;
	s->all_ready = true;
	s->c.ready(s->c.arg);
}

static void
store_fds(struct child *c, struct notify_event *ev)
{
	const char *name = ev->fdname != NULL ? ev->fdname : "stored";

	for (size_t i = 0; i < ev->nfds; i++) {
		int rc = fdstore_add(&c->fds, name, ev->fds[i]);

		if (rc == 0)
			ev->fds[i] = -1;
		else
			log_err("agent", "Cannot keep a descriptor: daemon=%s error=\"%s\"", c->name, err_text(rc));
	}
}

static void
on_notify(void *arg, struct notify_event *ev)
{
	struct supervisor *s = arg;
	struct child *c = child_of_pid(s, ev->pid);

	if (c == NULL)
		return;		/* anybody can send, and as much as he likes: no log line */
	if (ev->status != NULL)
		snprintf(c->status, sizeof(c->status), "%s", ev->status);
	if (ev->fdstore_remove && ev->fdname != NULL)
		fdstore_remove(&c->fds, ev->fdname);
	else if (ev->fdstore && !s->stopping)
		store_fds(c, ev);
	if (ev->watchdog_usec >= 0)
		c->watchdog_ms = (uint64_t)ev->watchdog_usec / 1000;
	if (ev->watchdog)
		c->pinged_ms = now_ms(s);
	if (ev->watchdog_trigger)
		kill(c->pid, SIGKILL);
	if (ev->ready)
		child_ready(c);
}

/*
 * Kill who has not pinged in time. When this very look is late, the machine
 * or all of us stood still: nobody had a chance, so everybody gets a new one.
 */
static void
on_watch(uv_timer_t *t)
{
	struct supervisor *s = t->data;
	uint64_t now, period = uv_timer_get_repeat(t);
	bool late;

	notify_server_drain(&s->notify);
	now = now_ms(s);
	late = now - s->watched_ms > 2 * period;
	s->watched_ms = now;
	for (size_t i = 0; i < s->n; i++) {
		struct child *c = &s->children[i];

		if (c->state != CHILD_READY || c->watchdog_ms == 0)
			continue;
		if (late)
			c->pinged_ms = now;
		if (now - c->pinged_ms <= c->watchdog_ms)
			continue;
		log_err("agent", "Daemon hangs, killing it: daemon=%s pid=%d", c->name, (int)c->pid);
		kill(c->pid, SIGKILL);
		c->pinged_ms = now;
	}
}

/* ---- their end */

static void
log_death(const struct child *c, int status)
{
	if (WIFSIGNALED(status))
		log_err("agent", "Daemon died: daemon=%s pid=%d signal=\"%s\"", c->name, (int)c->pid,
		    strsignal(WTERMSIG(status)));
	else
		log_err("agent", "Daemon ended: daemon=%s pid=%d exit=%d", c->name, (int)c->pid, WEXITSTATUS(status));
}

/* A program that was never ready has told why it cannot be, or keeps dying. */
static void
died_unready(struct child *c, int status)
{
	char why[STATUS_MAX + 64];

	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSED) {
		snprintf(why, sizeof(why), "%s", c->status[0] != '\0' ? c->status : "it refused to start");
		c->state = CHILD_DOWN;
		fail(c, why);
	} else if (c->failures + 1 >= START_ATTEMPTS) {
		c->state = CHILD_DOWN;
		fail(c, "it keeps dying before it is ready");
	} else {
		schedule_restart(c);
	}
}

static void stop_advance(struct supervisor *s);

static void
child_died(struct child *c, int status)
{
	bool on_purpose = c->state == CHILD_READY && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REFUSED;

	if (!c->s->stopping)
		log_death(c, status);
	else if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
		log_debug("agent", "Daemon ended badly: daemon=%s status=0x%x", c->name, (unsigned)status);
	c->pid = 0;
	if (c->s->stopping) {
		c->state = CHILD_DOWN;
		stop_advance(c->s);
	} else if (!c->was_ready) {
		died_unready(c, status);
	} else if (on_purpose) {
		gave_up(c);
	} else {
		schedule_restart(c);
	}
}

static void
on_sigchld(uv_signal_t *h, int sig)
{
	struct supervisor *s = h->data;
	int status;
	pid_t pid;

	(void)sig;
	notify_server_drain(&s->notify);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = child_of_pid(s, pid);

		if (c != NULL)
			child_died(c, status);
	}
}

/* ---- stopping */

static bool
told_are_down(const struct supervisor *s)
{
	for (size_t i = s->untold; i < s->n; i++)
		if (s->children[i].pid != 0)
			return false;
	return true;
}

static void
all_down(struct supervisor *s)
{
	if (s->stopped)
		return;
	s->stopped = true;
	uv_timer_stop(&s->step);
	uv_timer_stop(&s->deadline);
	s->c.stopped(s->c.arg);
}

/* Its listeners go first: nobody would accept what they take in from now on. */
static void
child_stop(struct child *c)
{
	fdstore_clear(&c->fds);
	uv_timer_stop(&c->restart);
	if (c->pid == 0) {
		c->state = CHILD_DOWN;
		return;
	}
	c->state = CHILD_STOPPING;
	kill(c->pid, SIGTERM);
}

/* Ask the next ones, as long as all who were asked have ended. */
static void
stop_advance(struct supervisor *s)
{
	while (s->untold > 0 && told_are_down(s)) {
		child_stop(&s->children[--s->untold]);
		uv_timer_again(&s->step);
	}
	if (s->untold == 0 && told_are_down(s))
		all_down(s);
}

/* The one that was asked takes its time: do not let the others wait for it. */
static void
on_step(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	if (s->untold > 0)
		child_stop(&s->children[--s->untold]);
	stop_advance(s);
}

static void
on_deadline(uv_timer_t *t)
{
	struct supervisor *s = t->data;
	bool hopeless = uv_timer_get_repeat(t) == 0;

	for (size_t i = 0; i < s->n; i++) {
		struct child *c = &s->children[i];

		if (c->pid == 0)
			continue;
		log_warn("agent", "Daemon does not end, %s: daemon=%s pid=%d", hopeless ? "giving it up" : "killing it", c->name,
		    (int)c->pid);
		kill(c->pid, SIGKILL);
	}
	if (hopeless)
		all_down(s);
	else
		uv_timer_start(t, on_deadline, STOP_GIVE_UP_MS - STOP_KILL_MS, 0);
}

void
supervisor_stop(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->untold = s->n;
	uv_timer_stop(&s->watch);
	for (size_t i = 0; i < s->n; i++)
		uv_timer_stop(&s->children[i].restart);
	uv_update_time(&s->c.loop->uv);
	uv_timer_start(&s->step, on_step, STOP_STEP_MS, STOP_STEP_MS);
	uv_timer_start(&s->deadline, on_deadline, STOP_KILL_MS, STOP_KILL_MS);
	stop_advance(s);
}

void
supervisor_kill(struct supervisor *s)
{
	supervisor_stop(s);
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].pid != 0)
			kill(s->children[i].pid, SIGKILL);
}

/* ---- life */

static void
let_go(void *arg)
{
	struct supervisor *s = arg;

	if (--s->open_handles == 0)
		free(s);
}

static void
on_handle_closed(uv_handle_t *h)
{
	let_go(h->data);
}

static void
on_child_handle_closed(uv_handle_t *h)
{
	struct child *c = h->data;

	let_go(c->s);
}

static int
init_handles(struct supervisor *s)
{
	uv_loop_t *l = &s->c.loop->uv;
	uv_timer_t *timers[] = { &s->watch, &s->step, &s->deadline };
	int rc;

	rc = uv_signal_init(l, &s->sigchld);
	if (rc < 0)
		return rc;
	s->sigchld.data = s;
	for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
		uv_timer_init(l, timers[i]);	/* never fails */
		timers[i]->data = s;
	}
	s->open_handles += 1 + ARRAY_LEN(timers);
	s->initialised = true;
	return uv_signal_start(&s->sigchld, on_sigchld, SIGCHLD);
}

int
supervisor_new(const struct supervisor_config *c, struct supervisor **ret)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	uint64_t watch_ms = c->watchdog_usec / 1000 / 4;
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->c = *c;
	rc = notify_server_init(&s->notify, c->loop, on_notify, s);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->open_handles = 1;
	rc = init_handles(s);
	if (rc < 0) {
		supervisor_free(s);
		return rc;
	}
	s->watched_ms = now_ms(s);
	if (watch_ms > 0)
		uv_timer_start(&s->watch, on_watch, watch_ms, watch_ms);
	*ret = s;
	return 0;
}

int
supervisor_add(struct supervisor *s, const char *name, char *const *argv)
{
	struct child *c = &s->children[s->n];

	if (s->n == SUPERVISE_MAX)
		return -ELIMIT;
	*c = (struct child){ .s = s, .name = name, .argv = argv };
	uv_timer_init(&s->c.loop->uv, &c->restart);
	c->restart.data = c;
	s->open_handles++;
	s->n++;
	return 0;
}

bool
supervisor_child(const struct supervisor *s, size_t i, struct child_info *ret)
{
	const struct child *c = &s->children[i];

	if (i >= s->n)
		return false;
	*ret = (struct child_info){ c->name, c->pid, c->state, c->restarts, c->status };
	return true;
}

const char *
supervisor_notify_address(const struct supervisor *s)
{
	return s->notify.address;
}

const char *
child_state_name(enum child_state st)
{
	static const char *const names[] = {
		[CHILD_DOWN] = "down", [CHILD_STARTING] = "starting", [CHILD_READY] = "ready",
		[CHILD_STOPPING] = "stopping", [CHILD_WAITING] = "waiting",
	};

	return names[st];
}

void
supervisor_free(struct supervisor *s)
{
	if (s == NULL)
		return;
	notify_server_close(&s->notify, let_go);
	if (!s->initialised)
		return;
	for (size_t i = 0; i < s->n; i++) {
		fdstore_clear(&s->children[i].fds);
		uv_close((uv_handle_t *)&s->children[i].restart, on_child_handle_closed);
	}
	uv_close((uv_handle_t *)&s->watch, on_handle_closed);
	uv_close((uv_handle_t *)&s->step, on_handle_closed);
	uv_close((uv_handle_t *)&s->deadline, on_handle_closed);
	uv_close((uv_handle_t *)&s->sigchld, on_handle_closed);
}
