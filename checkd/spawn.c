/* spawn.c - starting a program. */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkd/spawn.h"

extern char **environ;

enum { ENV_MORE = 8, ENV_LINE_MAX = SPAWN_TEXT_MAX + 16, PASSWD_MAX = 64 * 1024 };

/* Ours, not the program's: what the supervisor tells its daemons, and where its secrets and its log are. */
static const char *const private_env[] = { "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_USEC=",
	"WATCHDOG_PID=", "CONSULCTL_", "CREDENTIALS_DIRECTORY=", "JOURNAL_STREAM=", "MEMORY_PRESSURE_WATCH=", "MEMORY_PRESSURE_WRITE=",
	"UV_THREADPOOL_SIZE=" };

/* What a user is called, and lives by. */
static const char *const user_env[] = { "HOME=", "USER=", "LOGNAME=", "SHELL=", "MAIL=", "XDG_RUNTIME_DIR=" };

/* The environment of one program: lines of ours, of the caller, and some made here. */
struct made_env {
	char **v;
	size_t n;
	char lines[ENV_MORE][ENV_LINE_MAX];
	size_t nlines;
};

static struct rlimit our_files;

void
spawn_init(void)
{
	struct rlimit all;

	if (our_files.rlim_max != 0 || getrlimit(RLIMIT_NOFILE, &our_files) < 0)
		return;
	all = (struct rlimit){ our_files.rlim_max, our_files.rlim_max };
	(void)setrlimit(RLIMIT_NOFILE, &all);	/* else it stays as it was */
}

int
spawn_user_find(const char *name, struct spawn_user *ret)
{
	struct spawn_user u = { .set = true, .ngroups = SPAWN_GROUPS_MAX };
	struct passwd pw, *found = NULL;
	char *text = malloc(PASSWD_MAX);
	int rc;

	if (text == NULL)
		return -ENOMEM;
	rc = -getpwnam_r(name, &pw, text, PASSWD_MAX, &found);
	if (rc == 0 && found == NULL)
		rc = -ENOENT;
	if (rc == 0 && geteuid() != 0 && geteuid() != pw.pw_uid)
		rc = -EPERM;
	if (rc == 0 && getgrouplist(name, pw.pw_gid, u.groups, &u.ngroups) < 0)
		rc = -ELIMIT;
	if (rc == 0) {
		u.uid = pw.pw_uid;
		u.gid = pw.pw_gid;
		u.set = geteuid() != pw.pw_uid;		/* who we are already need not be become */
		(void)snprintf(u.name, sizeof(u.name), "%s", pw.pw_name);
		(void)snprintf(u.home, sizeof(u.home), "%s", pw.pw_dir);
		(void)snprintf(u.shell, sizeof(u.shell), "%s", pw.pw_shell);
		*ret = u;
	}
	free(text);
	return rc;
}

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

/* ---- the environment */

/* Whether an assignment is of the variable that text, "NAME" or "NAME=value", names. */
static bool
same_variable(const char *assignment, struct str text)
{
	const char *sep = text.len > 0 ? memchr(text.p, '=', text.len) : NULL;
	size_t n = sep != NULL ? (size_t)(sep - text.p) : text.len;

	return strncmp(assignment, text.p, n) == 0 && assignment[n] == '=';
}

static bool
begins_with_one(const char *assignment, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strncmp(assignment, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static bool
is_kept(const char *assignment, const struct spawn *s)
{
	if (begins_with_one(assignment, private_env, ARRAY_LEN(private_env)))
		return false;
	if (s->user != NULL && s->user->set && begins_with_one(assignment, user_env, ARRAY_LEN(user_env)))
		return false;
	for (size_t i = 0; s->env != NULL && i < s->env->n; i++)
		if (same_variable(assignment, s->env->v[i]))
			return false;
	return true;
}

static bool
has_variable(const struct made_env *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (begins_with_one(e->v[i], &name, 1))
			return true;
	return false;
}

/* Add a line of our own making, unless the variable is there. */
static void
add_line(struct made_env *e, const char *name, const char *value)
{
	char *line = e->lines[e->nlines];

	if (e->nlines == ENV_MORE || has_variable(e, name) ||
	    (size_t)snprintf(line, ENV_LINE_MAX, "%s%s", name, value) >= ENV_LINE_MAX)
		return;
	e->nlines++;
	e->v[e->n++] = line;
}

static int
make_env(const struct spawn *s, struct made_env *e)
{
	size_t n = 0, added = s->env != NULL ? s->env->n : 0;
	char *const none[] = { NULL }, *const *ours = environ != NULL ? environ : none;

	*e = (struct made_env){ .v = NULL };
	while (ours[n] != NULL)
		n++;
	e->v = calloc(n + added + ENV_MORE + 2, sizeof(*e->v));
	if (e->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (is_kept(ours[i], s))
			e->v[e->n++] = ours[i];
	for (size_t i = 0; i < added; i++)
		if (memchr(s->env->v[i].p, '=', s->env->v[i].len) != NULL)
			e->v[e->n++] = (char *)(uintptr_t)s->env->v[i].p;
	if (s->mark != NULL)
		e->v[e->n++] = (char *)(uintptr_t)s->mark;
	if (s->user != NULL && s->user->set) {
		add_line(e, "HOME=", s->user->home);
		add_line(e, "USER=", s->user->name);
		add_line(e, "LOGNAME=", s->user->name);
		add_line(e, "SHELL=", s->user->shell);
	}
	add_line(e, "PATH=", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	add_line(e, "HOME=", "/");
	return 0;
}

/* ---- the child */

/* All that it takes, made before there is a child. */
struct child {
	const struct spawn *s;
	char **argv, **env;
	int out, null;
	pid_t parent;
	struct rlimit tasks;	/* rlim_max 0: as they are */
	volatile int err;
};

/*
 * The limit of tasks counts all that the user has, of whatever origin: let it
 * be all that the machine has now and some more. So a program that only forks
 * is stopped there, and does not stop the others, which begin with a higher
 * limit. The kernel does not hold root to it.
 */
static void
limit_tasks(struct rlimit *ret)
{
	char text[128];
	unsigned long now;
	const char *at;
	int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	*ret = (struct rlimit){ 0, 0 };
	if (fd >= 0)
		close(fd);
	if (n <= 0 || getrlimit(RLIMIT_NPROC, ret) < 0)
		return;
	text[n] = '\0';
	at = strchr(text, '/');
	now = at != NULL ? strtoul(at + 1, NULL, 10) : 0;
	if (now == 0)
		*ret = (struct rlimit){ 0, 0 };
	else if (now + SPAWN_TASKS_MORE < ret->rlim_cur)
		ret->rlim_cur = now + SPAWN_TASKS_MORE;
}

/*
 * In the child. By the kernel's own calls: the library's would ask our other
 * threads, whose memory this still is, to change as well.
 */
static int
change_user(const struct spawn_user *u)
{
	if (u == NULL || !u->set)
		return 0;
	if (syscall(SYS_setgroups, (size_t)u->ngroups, u->groups) < 0 || syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0 ||
	    syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
		return -1;
	return 0;
}

static int
set_limits(const struct child *c)
{
	struct rlimit core;

	/* The soft limits alone: a program that means to may have more. */
	if (getrlimit(RLIMIT_CORE, &core) < 0)
		return -1;
	core.rlim_cur = 0;
	if (setrlimit(RLIMIT_CORE, &core) < 0)
		return -1;
	if (our_files.rlim_max != 0 && setrlimit(RLIMIT_NOFILE, &our_files) < 0)
		return -1;
	return c->tasks.rlim_max != 0 ? setrlimit(RLIMIT_NPROC, &c->tasks) : 0;
}

/*
 * In the child, which shares our memory until it has become the program:
 * system calls only, and nothing is changed that we would see, but err.
 */
static void
become(struct child *c)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &dfl, NULL);
	/* The wish to die with us is lost with a change of user: it comes after. */
	if (setsid() < 0 || set_limits(c) < 0 || change_user(c->s->user) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    dup2(c->null, STDIN_FILENO) < 0 || dup2(c->out, STDOUT_FILENO) < 0 || dup2(c->out, STDERR_FILENO) < 0) {
		c->err = errno;
		_exit(127);
	}
	/* We may have died before the child asked to be told. */
	if (getppid() != c->parent)
		_exit(127);
	/* Every descriptor of ours is close-on-exec; this is for what a library may have missed. */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	execvpe(c->argv[0], c->argv, c->env);
	c->err = errno;
	_exit(127);
}

static int
fork_and_exec(struct child *c, pid_t *ret_pid)
{
	sigset_t all, before;
	pid_t pid;
	int rc;

	c->parent = getpid();
	/* No handler of ours may run in the child while it shares our memory. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = vfork();
	if (pid == 0)
		become(c);
	rc = pid < 0 ? -errno : -c->err;
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
spawn_program(const struct spawn *s, pid_t *ret_pid, int *ret_fd)
{
	struct made_env env;
	struct child c = { .s = s, .argv = make_argv(s->args), .out = -1, .null = -1 };
	int fds[2] = { -1, -1 }, rc = make_env(s, &env);

	c.env = env.v;
	if (s->caged)
		limit_tasks(&c.tasks);
	if (rc < 0 || c.argv == NULL)
		rc = -ENOMEM;
	else if (pipe2(fds, O_CLOEXEC) < 0)
		rc = -errno;
	else if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		rc = -errno;
	else if ((c.null = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		rc = -errno;
	else {
		c.out = fds[1];
		rc = fork_and_exec(&c, ret_pid);
	}
	if (c.null >= 0)
		close(c.null);
	if (fds[1] >= 0)
		close(fds[1]);
	if (rc == 0)
		*ret_fd = fds[0];
	else if (fds[0] >= 0)
		close(fds[0]);
	free(c.argv);
	free(env.v);
	return rc;
}
