/*
 * agent.c - the `agent` command: a node, started and watched.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/agent/agent.h"
#include "consulctl/agent/banner.h"
#include "consulctl/commands.h"
#include "lib/cfg.h"
#include "lib/notify.h"

const char *const agent_daemon_names[AGENT_DAEMONS] = {
	[AGENT_RAFTD] = "raftd", [AGENT_GOSSIPD] = "gossipd", [AGENT_CHECKD] = "checkd",
	[AGENT_DNSD] = "dnsd", [AGENT_HTTPD] = "httpd",
};

/* ---- configuration and directories */

static int
load_config(struct agent *a, struct buf *err)
{
	int rc = config_load(a->args, &a->config, err);

	return rc == 0 ? config_identify(a->config, NULL, err) : rc;
}

static void
unload_config(struct agent *a)
{
	config_free(a->config);
	agent_tokens_release(&a->tokens);
}

static int
load_tokens(struct agent *a, struct buf *err)
{
	(void)err;
	agent_tokens_load(&a->tokens, a->config);
	return agent_tokens_apply(&a->tokens, a->config);
}

static int
open_run_dir(struct agent *a, struct buf *err)
{
	struct json_object *tree = config_tree(a->config);

	if (cfg_bool(tree, "dev_mode", false))
		return run_dir_open_temporary(&a->run, err);
	return run_dir_open(&a->run, cfg_str(tree, "data_dir", ""), err);
}

static void
close_run_dir(struct agent *a)
{
	run_dir_close(&a->run);
}

int
agent_write_slices(struct agent *a, const struct config *c, struct buf *err)
{
	struct json_object *slices[AGENT_DAEMONS] = { NULL };
	struct run_dir_file files[AGENT_DAEMONS];
	char names[AGENT_DAEMONS][64];
	int rc = 0;

	for (size_t i = 0; i < AGENT_DAEMONS && rc == 0; i++) {
		slices[i] = config_slice(c, agent_daemon_names[i], a->run.path);
		snprintf(names[i], sizeof(names[i]), "config/%s.json", agent_daemon_names[i]);
		files[i].name = names[i];
		files[i].text = slices[i] != NULL ? json_object_to_json_string_ext(slices[i], JSON_C_TO_STRING_PLAIN) : NULL;
		if (files[i].text == NULL)
			rc = -ENOMEM;
	}
	if (rc < 0 && buf_adds(err, "out of memory") < 0)
		buf_clear(err);
	if (rc == 0)
		rc = run_dir_write(&a->run, files, AGENT_DAEMONS, err);
	for (size_t i = 0; i < AGENT_DAEMONS; i++)
		json_object_put(slices[i]);
	return rc;
}

static int
write_slices(struct agent *a, struct buf *err)
{
	return agent_write_slices(a, a->config, err);
}

static int
write_pid_file(struct agent *a, struct buf *err)
{
	const char *path = cfg_str(config_tree(a->config), "pid_file", NULL);
	int fd, rc = 0;

	if (path == NULL || path[0] == '\0')
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || dprintf(fd, "%ld", (long)getpid()) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc == 0) {
		a->pid_file = strdup(path);
		return a->pid_file != NULL ? 0 : -ENOMEM;
	}
	if (buf_addf(err, "cannot write the pid file %s: %s", path, err_text(rc)) < 0)
		buf_clear(err);
	return rc;
}

static void
remove_pid_file(struct agent *a)
{
	if (a->pid_file != NULL)
		(void)unlink(a->pid_file);
	free(a->pid_file);
}

/* ---- the log */

void
agent_setup_log(const struct agent *a)
{
	struct json_object *tree = config_tree(a->config);
	enum log_level level = LOG_INFO;

	if (log_level_parse(cfg_str(tree, "log_level", "info"), &level) < 0)
		level = LOG_INFO;	/* never: config_load() has checked it */
	log_setup(level, cfg_bool(tree, "log_json", false));
}

static int
open_sink(struct agent *a, struct buf *err)
{
	struct json_object *tree = config_tree(a->config);
	const char *file = cfg_str(tree, "log_file", "");
	struct log_sink_config c = {
		.file = file[0] != '\0' ? file : NULL,
		.syslog_facility = cfg_bool(tree, "enable_syslog", false) ? cfg_str(tree, "syslog_facility", "LOCAL0") : NULL,
		.rotate_ms = (uint64_t)cfg_ms(tree, "log_rotate_duration", 0),
		.rotate_bytes = (uint64_t)cfg_int(tree, "log_rotate_bytes", 0),
		.max_files = cfg_int(tree, "log_rotate_max_files", 0),
		.out_fd = STDOUT_FILENO,
	};

	return c.file != NULL || c.syslog_facility != NULL ? log_sink_new(&c, &a->sink, err) : 0;
}

/* From here on our own lines go where the daemons' go; what was standard error is kept for the reason of a failed start. */
static int
redirect_log(struct agent *a, struct buf *err)
{
	int to = STDOUT_FILENO;

	(void)err;
	a->err_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (a->sink != NULL)
		to = log_sink_open_own(a->sink);
	if (a->err_fd < 0 || to < 0 || dup2(to, STDERR_FILENO) < 0)
		return -errno;
	if (to != STDOUT_FILENO)
		close(to);
	agent_setup_log(a);
	return 0;
}

static void
restore_log(struct agent *a)
{
	if (a->err_fd >= 0) {
		(void)dup2(a->err_fd, STDERR_FILENO);
		close(a->err_fd);
	}
}

static int
print_banner(struct agent *a, struct buf *err)
{
	const struct config_notice *n;

	(void)err;
	banner_print(stdout, config_tree(a->config));
	for (size_t i = 0; (n = config_notice(a->config, i)) != NULL; i++)
		log_write(n->level, "agent", "%s", n->text);
	return 0;
}

/* ---- the daemons */

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Where told; else in the build tree that we run from; else where they were installed. */
char *
agent_find_daemon(const char *name)
{
	const char *dir = getenv("CONSULCTL_LIBEXECDIR");
	char exe[PATH_MAX], *path;
	ssize_t n;

	if (dir != NULL && dir[0] != '\0')
		return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n > 0) {
		exe[n] = '\0';
		if (asprintf(&path, "%s/%s/%s", dirname(dirname(exe)), name, name) < 0)
			return NULL;
		if (is_program(path))
			return path;
		free(path);
	}
	return asprintf(&path, "%s/%s", LIBEXECDIR, name) < 0 ? NULL : path;
}

static int
find_daemons(struct agent *a, struct buf *err)
{
	for (size_t i = 0; i < AGENT_DAEMONS; i++) {
		const char *name = agent_daemon_names[i];

		a->paths[i] = agent_find_daemon(name);
		if (a->paths[i] == NULL || asprintf(&a->slices[i], "%s/config/%s.json", a->run.path, name) < 0) {
			a->slices[i] = NULL;
			return -ENOMEM;
		}
		if (!is_program(a->paths[i])) {
			if (buf_addf(err, "cannot find the program of %s: %s", name, a->paths[i]) < 0)
				buf_clear(err);
			return -ENOENT;
		}
		memcpy(a->argv[i], (char *[]){ a->paths[i], (char *)(uintptr_t)"-c", a->slices[i], (char *)(uintptr_t)"-f", NULL },
		    sizeof(a->argv[i]));
	}
	return 0;
}

static void
forget_daemons(struct agent *a)
{
	for (size_t i = 0; i < AGENT_DAEMONS; i++) {
		free(a->paths[i]);
		free(a->slices[i]);
	}
}

static void
on_ready(void *arg)
{
	struct agent *a = arg;

	a->up = true;
	log_info("agent", "All daemons are ready: ms=%llu", (unsigned long long)(clock_ms() - a->started_ms));
	if (notify_send("READY=1") < 0)
		log_warn("agent", "Cannot tell the service manager that the agent is ready");
	(void)malloc_trim(0);	/* reading the configuration took memory that is never needed again */
}

/* Whether what is written to two descriptors ends up in one place. */
static bool
same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The daemon has logged its reason: say it on standard error too, when that is somewhere else. */
static void
on_failed(void *arg, const char *name, const char *why)
{
	struct agent *a = arg;

	log_err("agent", "%s: daemon=%s", a->up ? "Cannot go on" : "Cannot start", name);
	if (!same_file(STDOUT_FILENO, a->err_fd))
		dprintf(a->err_fd, "==> %s: %s\n", name, why);
	agent_stop(a, 1);
}

static void
on_stopped(void *arg)
{
	struct agent *a = arg;

	uv_stop(&a->loop.uv);
}

static void
on_own_watchdog(uv_timer_t *t)
{
	(void)t;
	(void)notify_send("WATCHDOG=1");
}

/* ---- the loop and what lives in it */

static int
open_loop(struct agent *a, struct buf *err)
{
	int rc = loop_init(&a->loop);

	(void)err;
	if (rc == 0)
		rc = agent_end_init(a);
	a->loop_open = rc == 0;
	if (rc == 0 && a->sink != NULL)
		rc = log_sink_start(a->sink, &a->loop);
	return rc;
}

/* Everything in the loop is closed by now, but the loop has to let go of it. */
static void
close_loop(struct agent *a)
{
	log_sink_free(a->sink);
	if (!a->loop_open)
		return;
	agent_end_close(a);
	loop_release(&a->loop);
}

static int
open_ops(struct agent *a, struct buf *err)
{
	int rc = agent_ops_open(a);

	if (rc < 0 && buf_addf(err, "cannot listen on %s/consulctl.sock: %s", a->run.path, err_text(rc)) < 0)
		buf_clear(err);
	for (size_t i = 0; i < AGENT_DAEMONS && rc == 0; i++) {
		a->clients[i] = rpc_client_new(&a->loop, a->run.fd, agent_daemon_names[i]);
		if (a->clients[i] == NULL)
			rc = -ENOMEM;
	}
	return rc;
}

static void
close_ops(struct agent *a)
{
	for (size_t i = 0; i < AGENT_DAEMONS; i++)
		rpc_client_free(a->clients[i]);
	agent_drop_token_sets(a);
	rpc_server_free(a->rpc);
	(void)unlinkat(a->run.fd, "consulctl.sock", 0);
}

static int
open_supervisor(struct agent *a, struct buf *err)
{
	uint64_t own_ms = notify_watchdog_ms();
	struct supervisor_config c = {
		.loop = &a->loop, .log_fd = a->sink != NULL ? log_sink_fd(a->sink) : STDOUT_FILENO,
		.watchdog_usec = own_ms > 0 ? own_ms * 2000 : AGENT_WATCHDOG_USEC,
		.ready = on_ready, .failed = on_failed, .stopped = on_stopped, .arg = a,
	};
	int rc = supervisor_new(&c, &a->sup);

	(void)err;
	for (size_t i = 0; i < AGENT_DAEMONS && rc == 0; i++)
		rc = supervisor_add(a->sup, agent_daemon_names[i], a->argv[i]);
	if (rc == 0 && own_ms > 0)
		rc = uv_timer_start(&a->watchdog, on_own_watchdog, own_ms, own_ms);
	return rc;
}

static void
close_supervisor(struct agent *a)
{
	supervisor_free(a->sup);
}

/* ---- start and end, in order; each fini copes with an init that failed half-way */

static const struct stage {
	int (*init)(struct agent *a, struct buf *err);
	void (*fini)(struct agent *a);
} stages[] = {
	{ load_config,		unload_config },
	{ open_run_dir,		close_run_dir },
	{ load_tokens,		NULL },
	{ find_daemons,		forget_daemons },
	{ write_slices,		NULL },
	{ write_pid_file,	remove_pid_file },
	{ open_sink,		NULL },
	{ redirect_log,		restore_log },
	{ print_banner,		NULL },
	{ open_loop,		close_loop },
	{ open_ops,		close_ops },
	{ open_supervisor,	close_supervisor },
};

/* A closed standard descriptor would be given to the next socket, and then to a daemon's log. */
static void
fill_standard_fds(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			_exit(1);
}

static int
agent_run(struct agent *a)
{
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	size_t n = 0;
	int rc = 0;

	while (n < ARRAY_LEN(stages) && rc == 0)
		rc = stages[n++].init(a, &err);
	if (rc == 0) {
		supervisor_start(a->sup);
		loop_run(&a->loop);
	}
	while (n > 0)
		if (stages[--n].fini != NULL)
			stages[n].fini(a);
	if (rc < 0)
		fprintf(stderr, "==> %s\n", err.len > 0 && buf_cstr(&err) != NULL ? buf_cstr(&err) : err_text(rc));
	buf_release(&err);
	return rc < 0 ? 1 : a->exit_code;
}

static void
usage(FILE *out)
{
	fputs("Usage: consulctl agent [options]\n\n"
	    "  Starts a node and runs it until it is told to stop.\n\nOptions:\n\n", out);
	config_flags_print(out);
}

int
cmd_agent(int argc, char **argv)
{
	static struct agent a = { .run = RUN_DIR_INIT, .err_fd = -1, .reload.error = BUF_INIT(CONFIG_ERR_MAX) };
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	int rc;

	fill_standard_fds();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);	/* operators send it to Consul for a dump of its metrics */
	(void)mallopt(M_ARENA_MAX, 1);
	a.started_ms = clock_ms();
	rc = config_args_parse(argc, argv, &a.args, &err);
	if (rc < 0)
		fprintf(stderr, "==> %s\n", buf_cstr(&err) != NULL ? buf_cstr(&err) : err_text(rc));
	else if (rc > 0)
		usage(stdout);
	buf_release(&err);
	if (rc != 0)
		return rc < 0 ? 1 : 0;
	rc = agent_run(&a);
	config_args_free(a.args);
	buf_release(&a.reload.error);
	return rc;
}
