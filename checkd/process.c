/* process.c - the programs that checkd runs: their output, and their end. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkd/alarms.h"
#include "checkd/process.h"
#include "checkd/strays.h"
#include "lib/log.h"

enum { REAPED_MAX = 1024 };	/* in one turn; SIGCHLD is then raised anew */

struct processes {
	uv_loop_t *loop;
	uv_signal_t sigchld;
	struct alarms *alarms;
	struct alarm hunt;	/* for what killed programs have started */
	uint64_t hunted_ms;
	struct spawn_user user;	/* of caged ones */
	struct process *first;
	size_t n;
	uint64_t started;	/* ever */
};

struct process {
	struct process *next;
	struct processes *all;
	struct process_use use;
	bool abandoned, reaped, ended, telling;
	bool paused;		/* by its user */
	bool resting;		/* until alarm `rest`: it said much in a short time */
	bool hunted;		/* it was killed, and what it has started is not yet known to be gone */
	int hunts;
	pid_t pid;		/* also its group */
	int status;
	size_t burst;		/* bytes since */
	uint64_t burst_ms;
	struct alarm rest;
	char mark[STRAYS_MARK_MAX];	/* "": not caged */
	uv_pipe_t *pipe;	/* its stdout and stderr; freed by its close callback */
};

static void
handle_closed(uv_handle_t *h)
{
	free(h);
}

static void
drop_pipe(struct process *p)
{
	if (p->pipe == NULL)
		return;
	p->pipe->data = NULL;
	uv_close((uv_handle_t *)p->pipe, handle_closed);
	p->pipe = NULL;
}

static void
process_free(struct process *p)
{
	struct process **at = &p->all->first;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->all->n--;
	alarms_clear(p->all->alarms, &p->rest);
	drop_pipe(p);
	free(p);
}

static void
finish_if_over(struct process *p)
{
	if (!p->reaped || !p->ended || p->hunted || p->telling)
		return;
	/* What is called may kill or abandon it once more. */
	p->telling = true;
	if (!p->abandoned)
		p->use.ended(p->use.arg, p->status);
	process_free(p);
}

static struct process *
find(const struct processes *all, pid_t pid)
{
	struct process *p = all->first;

	while (p != NULL && (p->reaped || p->pid != pid))
		p = p->next;
	return p;
}

/* All children: also those that a program has left behind, which nobody else reaps. */
static void
on_sigchld(uv_signal_t *h, int signum)
{
	struct processes *all = h->data;
	siginfo_t info;
	int status;

	for (int i = 0; i < REAPED_MAX; i++) {
		struct process *p;

		info.si_pid = 0;
		/* Looked at first: what is told of an end may start others, and what is reaped may be reused. */
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return;
		p = find(all, info.si_pid);
		if (waitpid(info.si_pid, &status, WNOHANG) != info.si_pid)
			return;
		if (p == NULL)
			continue;
		p->status = status;
		p->reaped = true;
		if (!p->ended && p->use.reaped != NULL)
			p->use.reaped(p->use.arg);
		finish_if_over(p);
	}
	(void)raise(signum);
}

/* ---- output */

static void read_on(struct process *p);

static void
on_rested(struct alarm *a, uint64_t now_ms)
{
	struct process *p = (struct process *)(void *)((char *)a - offsetof(struct process, rest));

	(void)now_ms;
	p->resting = false;
	read_on(p);
}

/* Whoever prints without end waits for us, not we for him. */
static void
count_output(struct process *p, size_t n)
{
	uint64_t now = alarms_now(p->all->alarms);

	if (now - p->burst_ms >= PROCESS_BURST_MS) {
		p->burst = 0;
		p->burst_ms = now;
	}
	p->burst += n;
	if (p->burst < PROCESS_BURST || p->pipe == NULL)
		return;
	p->resting = true;
	(void)uv_read_stop((uv_stream_t *)p->pipe);
	p->rest.due = on_rested;
	alarms_set(p->all->alarms, &p->rest, p->burst_ms + PROCESS_BURST_MS);
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
	struct process *p = s->data;

	if (p == NULL || n == 0)
		return;
	if (n > 0) {
		count_output(p, (size_t)n);
		p->use.output(p->use.arg, b->base, (size_t)n);
		return;
	}
	drop_pipe(p);
	p->ended = true;
	finish_if_over(p);
}

static void
read_on(struct process *p)
{
	int rc;

	if (p->pipe == NULL || p->paused || p->resting)
		return;
	rc = uv_read_start((uv_stream_t *)p->pipe, on_alloc, on_output);
	assert(rc == 0);	/* it only fails for a stream that is closing, or not open */
	(void)rc;
}

/* Read the output from fd, which is taken over whatever the outcome. */
static int
watch_output(struct process *p, int fd)
{
	int rc = uv_pipe_open(p->pipe, fd);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	return uv_read_start((uv_stream_t *)p->pipe, on_alloc, on_output);
}

/* One that is not in the list yet; what can fail for want of memory has not failed then. */
static struct process *
process_new(struct processes *all, const struct process_use *use)
{
	struct process *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->pipe = malloc(sizeof(*p->pipe));
	if (p->pipe == NULL || uv_pipe_init(all->loop, p->pipe, 0) < 0) {
		free(p->pipe);
		free(p);
		return NULL;
	}
	p->pipe->data = p;
	p->all = all;
	p->use = *use;
	return p;
}

static int
start(struct processes *all, struct spawn *how, const struct process_use *use, struct process **ret)
{
	struct process *p = process_new(all, use);
	int fd, rc;

	if (p == NULL)
		return -ENOMEM;
	if (how->caged) {
		(void)snprintf(p->mark, sizeof(p->mark), STRAYS_VARIABLE "%d-%llu", (int)getpid(), (unsigned long long)++all->started);
		how->mark = p->mark;
	}
	rc = spawn_program(how, &p->pid, &fd);
	if (rc < 0) {
		drop_pipe(p);
		free(p);
		return rc;
	}
	p->next = all->first;
	all->first = p;
	all->n++;
	if (watch_output(p, fd) < 0)
		p->ended = true;	/* it runs all the same; its status still counts */
	*ret = p;
	return 0;
}

int
process_start(struct processes *all, const struct strs *args, const struct strs *env, const struct process_use *use,
    struct process **ret)
{
	return start(all, &(struct spawn){ .args = args, .env = env }, use, ret);
}

int
process_start_caged(struct processes *all, const struct strs *args, const struct process_use *use, struct process **ret)
{
	return start(all, &(struct spawn){ .args = args, .user = &all->user, .caged = true }, use, ret);
}

int
process_status(const struct process *p)
{
	return p->status;
}

void
process_signal(struct process *p, int signo)
{
	/* Once reaped, the number of the child may be another's; its group's not while a member is left. */
	if (kill(-p->pid, signo) < 0 && errno != ESRCH)
		log_warn("agent", "cannot signal a program's processes: pid=%d signal=%d error=\"%s\"", (int)p->pid, signo, err_text(-errno));
}

/* ---- the end of a program with all that it has started */

/* Whether nothing is left of it, or it is given up. What the first hunt has found is looked for once more. */
static bool
is_gone(struct process *p, size_t found)
{
	p->hunts++;
	if (found == 0 && p->hunts > 1)
		return true;
	if (p->hunts < PROCESS_HUNTS_MAX)
		return false;
	log_err("agent", "cannot end what a check's script has started: pid=%d processes=%zu", (int)p->pid, found);
	return true;
}

/* One walk through /proc is for several of them. */
static void
hunt(struct processes *all)
{
	struct stray_run runs[STRAYS_RUNS_MAX];
	struct process *prey[STRAYS_RUNS_MAX];
	size_t n = 0;

	for (struct process *p = all->first; p != NULL && n < STRAYS_RUNS_MAX; p = p->next) {
		if (!p->hunted)
			continue;
		prey[n] = p;
		runs[n++] = (struct stray_run){ .leader = p->reaped ? 0 : p->pid, .mark = p->mark };
	}
	if (n == 0)
		return;
	strays_kill(runs, n);
	all->hunted_ms = alarms_now(all->alarms);
	for (size_t i = 0; i < n; i++) {
		/* Also without /proc: whatever became of the group's members, they die. */
		if (prey[i]->hunts == 0)
			process_signal(prey[i], SIGKILL);
		if (is_gone(prey[i], runs[i].found))
			prey[i]->hunted = false;
	}
}

static void
hunt_later(struct processes *all)
{
	uint64_t now = alarms_now(all->alarms), next = all->hunted_ms + PROCESS_HUNT_MS;

	if (!alarm_is_set(&all->hunt))
		alarms_set(all->alarms, &all->hunt, next > now ? next : now);
}

static void
on_hunt(struct alarm *a, uint64_t now_ms)
{
	struct processes *all = (struct processes *)(void *)((char *)a - offsetof(struct processes, hunt));
	bool again = true, left = false;

	(void)now_ms;
	hunt(all);
	/* What is told of an end may start others: the list is looked at from its start. */
	while (again) {
		again = false;
		for (struct process *p = all->first; p != NULL && !again; p = p->next) {
			again = p->hunts > 0 && !p->hunted && p->reaped && p->ended && !p->telling;
			if (again)
				finish_if_over(p);
		}
	}
	for (struct process *p = all->first; p != NULL; p = p->next)
		left |= p->hunted;
	if (left)
		hunt_later(all);
}

void
process_kill(struct process *p)
{
	drop_pipe(p);
	p->ended = true;
	if (p->mark[0] != '\0' && p->hunts == 0) {
		p->hunted = true;
		hunt_later(p->all);
		return;
	}
	process_signal(p, SIGKILL);
	finish_if_over(p);
}

void
process_abandon(struct process *p)
{
	if (p == NULL)
		return;
	p->abandoned = true;
	process_kill(p);
}

void
process_pause(struct process *p)
{
	if (p->pipe == NULL || p->paused)
		return;
	(void)uv_read_stop((uv_stream_t *)p->pipe);
	p->paused = true;
}

void
process_resume(struct process *p)
{
	if (p->pipe == NULL || !p->paused)
		return;
	p->paused = false;
	read_on(p);
}

int
processes_new(struct loop *l, struct processes **ret)
{
	struct processes *all = calloc(1, sizeof(*all));
	int rc = all == NULL ? -ENOMEM : alarms_new(l, CLOCK_MONOTONIC, &all->alarms);

	if (rc == 0)
		rc = uv_signal_init(&l->uv, &all->sigchld);
	if (rc < 0) {
		if (all != NULL)
			alarms_free(all->alarms);
		free(all);
		return rc;
	}
	spawn_init();
	/* Without it orphans are init's, and are found no more. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		log_warn("agent", "cannot adopt what programs leave behind: error=\"%s\"", err_text(-errno));
	all->loop = &l->uv;
	all->sigchld.data = all;
	all->hunt.due = on_hunt;
	*ret = all;
	return uv_signal_start(&all->sigchld, on_sigchld, SIGCHLD);
}

int
processes_set_user(struct processes *all, const char *name)
{
	if (name != NULL)
		return spawn_user_find(name, &all->user);
	all->user = (struct spawn_user){ .set = false };
	return 0;
}

static void
signal_closed(uv_handle_t *h)
{
	free(h->data);
}

void
processes_free(struct processes *all)
{
	bool left = true;

	if (all == NULL)
		return;
	for (struct process *p = all->first; p != NULL; p = p->next)
		p->hunted = p->mark[0] != '\0' && p->hunts == 0;
	while (left) {
		hunt(all);
		left = false;
		for (struct process *p = all->first; p != NULL; p = p->next) {
			p->hunted &= p->hunts == 0;
			left |= p->hunted;
		}
	}
	while (all->first != NULL) {
		/* Zombies that are left are init's to reap. */
		process_signal(all->first, SIGKILL);
		process_free(all->first);
	}
	alarms_free(all->alarms);
	uv_close((uv_handle_t *)&all->sigchld, signal_closed);
}

size_t
processes_running(const struct processes *all)
{
	return all->n;
}
