/*
 * child.c - running a program, and signals as readable events.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "consulctl/cmd/child.h"
#include "consulctl/client/client.h"

enum { SCRIPT_MAX = 2 * MiB };	/* what the kernel lets an argument list be */

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int passed_on[] = { SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH, SIGCHLD };

/* What the new process needs, made before the fork. */
struct prepared {
	char **argv, **env;
	char *script;		/* argv's, for the shell */
	int stdin_fd, report_fd;
	bool group;
	sigset_t mask;
};

/* The words with blanks between, as Consul gives them to the shell. */
static char *
join(char *const *words)
{
	struct buf b = BUF_INIT(SCRIPT_MAX);
	const char *text;
	char *copy;
	int rc = 0;

	for (char *const *w = words; rc == 0 && *w != NULL; w++)
		rc = buf_addf(&b, "%s%s", w > words ? " " : "", *w);
	text = rc == 0 ? buf_cstr(&b) : NULL;
	copy = text != NULL ? strdup(text) : NULL;
	buf_release(&b);
	return copy;
}

static int
prepare_argv(struct prepared *p, const struct child_spec *s)
{
	const char *shell = getenv("SHELL");
	size_t n = 0;

	if (s->shell) {
		p->script = join(s->words);
		p->argv = calloc(4, sizeof(*p->argv));
		if (p->script == NULL || p->argv == NULL)
			return -ENOMEM;
		p->argv[0] = (char *)(shell != NULL && *shell != '\0' ? shell : "/bin/sh");
		p->argv[1] = (char *)"-c";
		p->argv[2] = p->script;
		return 0;
	}
	while (s->words[n] != NULL)
		n++;
	p->argv = calloc(n + 1, sizeof(*p->argv));
	if (p->argv == NULL)
		return -ENOMEM;
	memcpy(p->argv, s->words, n * sizeof(*p->argv));
	return 0;
}

static int
prepare_env(struct prepared *p, const char *variable)
{
	size_t n = 0, name_len = strcspn(variable, "=") + 1, out = 0;

	while (environ[n] != NULL)
		n++;
	p->env = calloc(n + 2, sizeof(*p->env));
	if (p->env == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], variable, name_len) != 0)
			p->env[out++] = environ[i];
	p->env[out] = (char *)variable;
	return 0;
}

/* In the child, between fork and exec: nothing but system calls. Never returns. */
static void
become(const struct prepared *p)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	int err;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (p->group)
		(void)setpgid(0, 0);
	(void)sigaction(SIGPIPE, &dfl, NULL);
	(void)sigprocmask(SIG_SETMASK, &p->mask, NULL);
	if (dup2(p->stdin_fd, STDIN_FILENO) >= 0)
		(void)execvpe(p->argv[0], p->argv, p->env);
	err = errno;
	if (write(p->report_fd, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

/* Fork; what the child reports before it becomes the program is why it could not. */
static int
launch(struct prepared *p, struct child *ret)
{
	int report[2], err = 0;
	pid_t pid;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	p->report_fd = report[1];
	pid = fork();
	if (pid == 0)
		become(p);
	err = pid < 0 ? errno : 0;
	close(report[1]);
	if (pid > 0) {
		if (p->group)
			(void)setpgid(pid, pid);
		n = read(report[0], &err, sizeof(err));
		if (n != sizeof(err))
			err = 0;
		else
			(void)waitpid(pid, NULL, 0);
	}
	close(report[0]);
	if (err == 0)
		*ret = (struct child){ pid, p->group };
	return -err;
}

int
child_start(const struct child_spec *s, struct child *ret)
{
	struct prepared p = { .stdin_fd = s->stdin_fd, .group = isatty(STDIN_FILENO) == 0 };
	int nothing = -1, rc;

	sigemptyset(&p.mask);
	rc = prepare_argv(&p, s);
	if (rc == 0)
		rc = prepare_env(&p, s->variable);
	if (rc == 0 && s->stdin_fd < 0) {
		nothing = p.stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (nothing < 0)
			rc = -errno;
	}
	if (rc == 0)
		rc = launch(&p, ret);
	if (nothing >= 0)
		close(nothing);
	free(p.argv);
	free(p.env);
	free(p.script);
	return rc;
}

void
child_signal(const struct child *c, int signo)
{
	if (c->pid > 0)
		(void)kill(c->group ? -c->pid : c->pid, signo);
}

bool
child_reap(struct child *c, int *ret_status)
{
	int status;

	if (c->pid <= 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
		return false;
	c->pid = 0;
	*ret_status = status;
	return true;
}

const char *
child_failure(int status)
{
	static char text[64];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	if (WIFEXITED(status)) {
		(void)snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	} else {
		(void)snprintf(text, sizeof(text), "signal: %s", strsignal(WTERMSIG(status)));
		text[8] = (char)ascii_lower((unsigned char)text[8]);
	}
	return text;
}

/* Wait until it has ended or the time is over. */
static bool
wait_end(struct child *c, int fd, int64_t deadline)
{
	int status;

	for (;;) {
		struct pollfd p = { fd, POLLIN, 0 };
		int64_t left = deadline - now_ms();

		while (signals_read(fd) != 0)
			;
		if (child_reap(c, &status))
			return true;
		if (left <= 0)
			return false;
		(void)poll(&p, 1, (int)left);
	}
}

bool
child_end(struct child *c, int fd, int grace_ms)
{
	pid_t leader = c->pid;
	bool by_force;

	if (c->pid <= 0)
		return false;
	child_signal(c, SIGTERM);
	child_signal(c, SIGCONT);
	by_force = !wait_end(c, fd, now_ms() + grace_ms);
	/* What is left of the group must not believe that it may go on. */
	if (c->group)
		(void)kill(-leader, SIGKILL);
	else if (by_force)
		(void)kill(leader, SIGKILL);
	if (by_force)
		(void)wait_end(c, fd, now_ms() + grace_ms);
	return by_force;
}

/* ---- signals */

int
signals_open(int fd, bool with_child)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		sigaddset(&set, ending[i]);
	for (size_t i = 0; with_child && i < ARRAY_LEN(passed_on); i++)
		sigaddset(&set, passed_on[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	/* A shell starts what it puts into the background with these ignored, and what is ignored never becomes readable. */
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	/* Our own output may go nowhere; that must not keep us from cleaning up. */
	(void)signal(SIGPIPE, SIG_IGN);
	fd = signalfd(fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int
signals_read(int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}

bool
signal_ends(int signo, bool has_child)
{
	return signo == SIGINT || signo == SIGTERM || (!has_child && (signo == SIGHUP || signo == SIGQUIT));
}

bool
signals_end(int fd)
{
	int signo;

	while ((signo = signals_read(fd)) != 0)
		if (signal_ends(signo, false))
			return true;
	return false;
}
