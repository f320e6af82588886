/* process.c - the programs that checkd runs: their output, and their end. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkd/process.h"
#include "checkd/spawn.h"
#include "lib/log.h"

struct processes {
	uv_loop_t *loop;
	uv_signal_t sigchld;
	struct process *first;
	size_t n;
};

struct process {
	struct process *next;
	struct processes *all;
	struct process_use use;
	bool abandoned, reaped, ended, telling, paused;
	pid_t pid;		/* also its group */
	int status;
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
	drop_pipe(p);
	free(p);
}

static void
finish_if_over(struct process *p)
{
	if (!p->reaped || !p->ended || p->telling)
		return;
	/* What is called may kill or abandon it once more. */
	p->telling = true;
	if (!p->abandoned)
		p->use.ended(p->use.arg, p->status);
	process_free(p);
}

static void
on_sigchld(uv_signal_t *h, int signum)
{
	struct processes *all = h->data;
	bool again = true;

	(void)signum;
	/* What is told of an end may start or end others: the list is looked at from its start. */
	while (again) {
		again = false;
		for (struct process *p = all->first; p != NULL && !again; p = p->next) {
			if (p->reaped || waitpid(p->pid, &p->status, WNOHANG) != p->pid)
				continue;
			p->reaped = again = true;
			if (!p->ended && p->use.reaped != NULL)
				p->use.reaped(p->use.arg);
			finish_if_over(p);
		}
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
	struct process *p = s->data;

	if (p == NULL || n == 0)
		return;
	if (n > 0) {
		p->use.output(p->use.arg, b->base, (size_t)n);
		return;
	}
	drop_pipe(p);
	p->ended = true;
	finish_if_over(p);
}

/* Read the output from fd, which is taken over whatever the outcome. */
static int
watch_output(struct process *p, int fd)
{
	int rc;

	p->pipe = malloc(sizeof(*p->pipe));
	rc = p->pipe == NULL ? -ENOMEM : uv_pipe_init(p->all->loop, p->pipe, 0);
	if (rc < 0) {
		free(p->pipe);
		p->pipe = NULL;
		close(fd);
		return rc;
	}
	p->pipe->data = p;
	rc = uv_pipe_open(p->pipe, fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return uv_read_start((uv_stream_t *)p->pipe, on_alloc, on_output);
}

int
process_start(struct processes *all, const struct strs *args, const struct strs *env, const struct process_use *use,
    struct process **ret)
{
	struct process *p = calloc(1, sizeof(*p));
	int fd, rc;

	if (p == NULL)
		return -ENOMEM;
	rc = spawn_group(args, env, &p->pid, &fd);
	if (rc < 0) {
		free(p);
		return rc;
	}
	p->all = all;
	p->use = *use;
	p->next = all->first;
	all->first = p;
	all->n++;
	if (watch_output(p, fd) < 0)
		p->ended = true;	/* it runs all the same; its status still counts */
	*ret = p;
	return 0;
}

void
process_signal(struct process *p, int signo)
{
	/* Once reaped, the number of the child may be another's; its group's not while a member is left. */
	if (kill(-p->pid, signo) < 0 && errno != ESRCH)
		log_warn("agent", "cannot signal a program's processes: pid=%d signal=%d error=\"%s\"", (int)p->pid, signo, err_text(-errno));
}

void
process_kill(struct process *p)
{
	process_signal(p, SIGKILL);
	drop_pipe(p);
	p->ended = true;
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
	int rc;

	if (p->pipe == NULL || !p->paused)
		return;
	p->paused = false;
	rc = uv_read_start((uv_stream_t *)p->pipe, on_alloc, on_output);
	assert(rc == 0);	/* it only fails for a stream that is closing, or not open */
	(void)rc;
}

int
processes_new(struct loop *l, struct processes **ret)
{
	struct processes *all = calloc(1, sizeof(*all));

	if (all == NULL || uv_signal_init(&l->uv, &all->sigchld) < 0) {
		free(all);
		return -ENOMEM;
	}
	all->loop = &l->uv;
	all->sigchld.data = all;
	*ret = all;
	return uv_signal_start(&all->sigchld, on_sigchld, SIGCHLD);
}

static void
signal_closed(uv_handle_t *h)
{
	free(h->data);
}

void
processes_free(struct processes *all)
{
	if (all == NULL)
		return;
	while (all->first != NULL) {
		/* Zombies that are left are init's to reap. */
		process_signal(all->first, SIGKILL);
		process_free(all->first);
	}
	uv_close((uv_handle_t *)&all->sigchld, signal_closed);
}

size_t
processes_running(const struct processes *all)
{
	return all->n;
}
