/*
 * spawn.c - fork and exec by hand.
 *
 * libuv's uv_spawn cannot put a pid into the child's environment
 * (LISTEN_PID) nor place descriptors from 3 on. Everything is prepared before
 * the fork: the child makes system calls only.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consulctl/agent/spawn.h"

enum {
	FIRST_LISTEN_FD = 3,
	ENV_ADDED = 7,
	ENV_TEXT_MAX = FDSTORE_MAX * (FDNAME_MAX + 1) + 512,
	PID_DIGITS = 20,
	LEFT_OPEN_MAX = 1024,
};

/* The child's environment: envp points into text, and into ours. */
struct child_env {
	char **envp;
	char *listen_pid;	/* PID_DIGITS bytes that the child fills in; NULL without descriptors */
	struct buf text;
};

/* What tells a program about its supervisor: ours, if we have one, is not the child's. */
static bool
is_private(const char *assignment)
{
	static const char *const names[] = { "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=",
		"WATCHDOG_USEC=", "WATCHDOG_PID=", "CONSULCTL_PARENT=" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strncmp(assignment, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The added assignments, each ended by a NUL, in one buffer. */
static int
env_text(struct buf *b, const struct spawn *s)
{
	int rc = buf_addf(b, "CONSULCTL_PARENT=%ld%cNOTIFY_SOCKET=%s%c", (long)getpid(), 0, s->notify_address, 0);

	if (rc == 0 && s->watchdog_usec > 0)
		rc = buf_addf(b, "WATCHDOG_USEC=%llu%c", (unsigned long long)s->watchdog_usec, 0);
	if (rc < 0 || s->fds->n == 0)
		return rc;
	rc = buf_addf(b, "LISTEN_FDS=%zu%cLISTEN_PID=%*s%cLISTEN_FDNAMES=", s->fds->n, 0, PID_DIGITS, "", 0);
	if (rc == 0)
		rc = fdstore_names(s->fds, b);
	return rc == 0 ? buf_addc(b, 0) : rc;
}

static void
env_release(struct child_env *e)
{
	free(e->envp);
	buf_release(&e->text);
}

static int
env_build(struct child_env *e, const struct spawn *s)
{
	size_t n = 0, count = 0;
	int rc;

	*e = (struct child_env){ NULL, NULL, BUF_INIT(ENV_TEXT_MAX) };
	rc = env_text(&e->text, s);
	if (rc < 0)
		goto fail;
	while (environ[count] != NULL)
		count++;
	e->envp = calloc(count + ENV_ADDED, sizeof(*e->envp));
	if (e->envp == NULL) {
		rc = -ENOMEM;
		goto fail;
	}
	for (size_t i = 0; i < count; i++)
		if (!is_private(environ[i]))
			e->envp[n++] = environ[i];
	for (size_t at = 0; at < e->text.len; at += strlen((char *)e->text.data + at) + 1) {
		e->envp[n] = (char *)e->text.data + at;
		if (strncmp(e->envp[n], "LISTEN_PID=", 11) == 0)
			e->listen_pid = e->envp[n] + 11;
		n++;
	}
	return 0;
fail:
	env_release(e);
	return rc;
}

/* ---- in the child: system calls only */

static void
put_pid(char *text, pid_t pid)
{
	char digits[PID_DIGITS];
	int n = 0, i = 0;

	do {
		digits[n++] = (char)('0' + pid % 10);
		pid /= 10;
	} while (pid > 0);
	while (n > 0)
		text[i++] = digits[--n];
	text[i] = '\0';
}

/* Descriptors 0 to 2 and from 3 on the stored ones; all else is closed. Copies go above the targets first, since both may overlap. */
static int
place_fds(const struct spawn *s)
{
	int above = FIRST_LISTEN_FD + (int)s->fds->n, copies[FDSTORE_MAX], null, log;

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -1;
	null = fcntl(null, F_DUPFD_CLOEXEC, above);
	log = fcntl(s->log_fd, F_DUPFD_CLOEXEC, above);
	if (null < 0 || log < 0)
		return -1;
	for (size_t i = 0; i < s->fds->n; i++) {
		copies[i] = fcntl(s->fds->v[i].fd, F_DUPFD_CLOEXEC, above);
		if (copies[i] < 0)
			return -1;
	}
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0)
		return -1;
	for (size_t i = 0; i < s->fds->n; i++)
		if (dup2(copies[i], FIRST_LISTEN_FD + (int)i) < 0)
			return -1;
	/* A kernel older than close_range(2): what our starter may have left open is low. */
	if (close_range((unsigned)above, ~0u, 0) < 0)
		for (int fd = above; fd < LEFT_OPEN_MAX; fd++)
			close(fd);
	return 0;
}

/* All signals are blocked: none may run the supervisor's handlers here. */
static void
default_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < _NSIG; sig++)
		sigaction(sig, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn))
child(const struct spawn *s, const struct child_env *e)
{
	static const char text[] = "consulctl: cannot run ";
	ssize_t ignored;

	default_signals();
	(void)setsid();
	if (e->listen_pid != NULL)
		put_pid(e->listen_pid, getpid());
	if (place_fds(s) == 0)
		execve(s->path, s->argv, e->envp);
	ignored = write(2, text, sizeof(text) - 1);
	ignored = write(2, s->path, strlen(s->path));
	ignored = write(2, "\n", 1);
	(void)ignored;
	_exit(EXIT_SPAWN);
}

/* ---- in the parent */

pid_t
spawn(const struct spawn *s)
{
	sigset_t all, before;
	struct child_env env;
	pid_t pid;
	int rc;

	rc = env_build(&env, s);
	if (rc < 0)
		return rc;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child(s, &env);
	if (pid < 0)
		pid = -errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	env_release(&env);
	return pid;
}
