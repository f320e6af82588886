/* spawn.c - starting a program. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkd/spawn.h"

extern char **environ;

/* Ours, not the program's: what the supervisor tells its daemons. */
static const char *const private_env[] = { "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_USEC=",
	"WATCHDOG_PID=", "CONSULCTL_PARENT=" };

static char **
make_argv(const struct strs *args)
{
	char **v = calloc(args->n + 1, sizeof(*v));

	if (v == NULL)
		return NULL;
	/* Strings of a kept definition end with a NUL. */
	for (size_t i = 0; i < args->n; i++)
		v[i] = (char *)(uintptr_t)(args->v[i].p != NULL ? args->v[i].p : "");
	return v;
}

/* Whether an assignment is of the variable that text, "NAME" or "NAME=value", names. */
static bool
same_variable(const char *assignment, struct str text)
{
	const char *sep = text.len > 0 ? memchr(text.p, '=', text.len) : NULL;
	size_t n = sep != NULL ? (size_t)(sep - text.p) : text.len;

	return strncmp(assignment, text.p, n) == 0 && assignment[n] == '=';
}

static bool
is_kept(const char *assignment, const struct strs *change)
{
	for (size_t i = 0; i < ARRAY_LEN(private_env); i++)
		if (strncmp(assignment, private_env[i], strlen(private_env[i])) == 0)
			return false;
	for (size_t i = 0; change != NULL && i < change->n; i++)
		if (same_variable(assignment, change->v[i]))
			return false;
	return true;
}

static char **
make_env(const struct strs *change)
{
	size_t n = 0, k = 0, added = change != NULL ? change->n : 0;
	char **v;

	while (environ[n] != NULL)
		n++;
	v = calloc(n + added + 1, sizeof(*v));
	if (v == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (is_kept(environ[i], change))
			v[k++] = environ[i];
	for (size_t i = 0; i < added; i++)
		if (memchr(change->v[i].p, '=', change->v[i].len) != NULL)
			v[k++] = (char *)(uintptr_t)change->v[i].p;
	return v;
}

/*
 * In the child, which shares our memory until it has become the program:
 * system calls only, and nothing is changed that we would see, but err.
 */
static void
become(char **argv, char **env, int out, int null, pid_t parent, volatile int *err)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &dfl, NULL);
	if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0) {
		*err = errno;
		_exit(127);
	}
	/* We may have died before the child asked to be told. */
	if (getppid() != parent)
		_exit(127);
	/* Every descriptor of ours is close-on-exec; this is for what a library may have missed. */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	execvpe(argv[0], argv, env);
	*err = errno;
	_exit(127);
}

static int
fork_and_exec(char **argv, char **env, int out, int null, pid_t *ret_pid)
{
	volatile int err = 0;
	pid_t parent = getpid(), pid;
	sigset_t all, before;
	int rc;

	/* No handler of ours may run in the child while it shares our memory. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = vfork();
	if (pid == 0)
		become(argv, env, out, null, parent, &err);
	rc = pid < 0 ? -errno : -err;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (rc < 0) {
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
		return rc;
	}
	*ret_pid = pid;
	return 0;
}

int
spawn_group(const struct strs *args, const struct strs *change, pid_t *ret_pid, int *ret_fd)
{
	char **argv = make_argv(args), **env = make_env(change);
	int fds[2] = { -1, -1 }, null = -1, rc = 0;

	if (argv == NULL || env == NULL)
		rc = -ENOMEM;
	else if (pipe2(fds, O_CLOEXEC) < 0)
		rc = -errno;
	else if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		rc = -errno;
	else if ((null = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		rc = -errno;
	else
		rc = fork_and_exec(argv, env, fds[1], null, ret_pid);
	if (null >= 0)
		close(null);
	if (fds[1] >= 0)
		close(fds[1]);
	if (rc == 0)
		*ret_fd = fds[0];
	else if (fds[0] >= 0)
		close(fds[0]);
	free(argv);
	free(env);
	return rc;
}
