/* daemon.c - start, signals, common operations and end of every daemon. */
#include "lib/daemon.h"

#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "lib/daemon_log.h"
#include "lib/duration.h"
#include "lib/fds.h"
#include "lib/json.h"
#include "lib/notify.h"
#include "lib/sock.h"

enum { SLICE_MAX = 64 * 1024 * 1024, SLICE_ERR_MAX = PATH_MAX + 512, TICK_MS = 1000, ROUTES_MAX = 128, LISTEN_BACKLOG = 4096,
	LISTEN_WAIT_MS = 2000, LISTEN_RETRY_MS = 20, RELOADS_MAX = 16, KEEP_MAX = 256 };

/* What belongs to the running daemon but is no business of its code. */
static struct life {
	struct daemon *d;
	char slice_path[PATH_MAX], run_dir[PATH_MAX];
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t tick, drain, watchdog;
	bool ready_later, ready, stopping;
	int exit_code;
	uint64_t started_ms;
	struct rpc_route routes[ROUTES_MAX];
	bool reload_waits;		/* for daemon_reload_done() */
	struct rpc_token reloads[RELOADS_MAX];
	struct buf reload_texts[RELOADS_MAX];
	size_t nreloads;
} life;

/* ---- the config slice */

static struct json_object *
slice_read(const char *path, char *err, size_t errlen)
{
	struct buf b = BUF_INIT(SLICE_MAX);
	struct json_object *j = NULL;
	bool null = false;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		(void)snprintf(err, errlen, "cannot open %s: %s", path, strerror(errno));
		return NULL;
	}
	for (;;) {
		if (buf_reserve(&b, 16 * KiB) < 0) {
			(void)snprintf(err, errlen, "%s is too large", path);
			goto out;
		}
		n = read(fd, b.data + b.len, b.cap - b.len);
		if (n <= 0)
			break;
		b.len += (size_t)n;
	}
	if (n < 0) {
		(void)snprintf(err, errlen, "cannot read %s: %s", path, strerror(errno));
		goto out;
	}
	j = json_parse((const char *)b.data, b.len, &null, err, errlen);
	if (j != NULL && !json_object_is_type(j, json_type_object)) {
		json_object_put(j);
		j = NULL;
		(void)snprintf(err, errlen, "%s is not a JSON object", path);
	}
out:
	(void)close(fd);
	buf_release(&b);
	return j;
}

static void
apply_log_config(struct json_object *slice)
{
	enum log_level level;

	/* consulctl checked the name; an unknown one from elsewhere means INFO. */
	if (log_level_parse(cfg_str(slice, "log_level", "info"), &level) < 0)
		level = LOG_INFO;
	log_setup(level, cfg_bool(slice, "log_json", false));
}

/* ---- operations that every daemon serves */

void
info_section(struct info_writer *iw, const char *name)
{
	if (iw->sections > 0)
		mp_w_map_patch(&iw->w, iw->section_at, iw->keys);
	iw->sections++;
	iw->keys = 0;
	mp_w_cstr(&iw->w, name);
	iw->section_at = mp_w_map_hold(&iw->w);
}

void
info_add(struct info_writer *iw, const char *key, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mp_w_cstr(&iw->w, key);
	mp_w_cstr(&iw->w, text);
	iw->keys++;
}

static bool
no_request(struct daemon *d, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(4 * KiB);
	struct query_options o;
	int rc = op_request_decode(req->info, req->body, req->len, &o, NULL, &a);

	arena_release(&a);
	if (rc < 0)
		rpc_bad_request(d->rpc, req, err_text(rc));
	return rc == 0;
}

static void
op_info_handler(void *ctx, const struct rpc_request *req)
{
	struct query_meta m = { .index = 1, .known_leader = true };
	struct info_writer iw = { 0 };
	struct daemon *d = ctx;
	struct buf *b;

	if (!no_request(d, req))
		return;
	b = rpc_reply_begin(d->rpc, req->token);
	if (b == NULL)
		return;
	iw.w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &iw.w);
	iw.map_at = mp_w_map_hold(&iw.w);
	info_section(&iw, d->spec->name);
	info_add(&iw, "pid", "%d", (int)getpid());
	info_add(&iw, "version", "%s", PACKAGE_VERSION);
	info_add(&iw, "uptime_ms", "%llu", (unsigned long long)(clock_ms() - life.started_ms));
	info_add(&iw, "connections", "%zu", rpc_server_conns(d->rpc));
	if (d->spec->info != NULL)
		d->spec->info(d, &iw);
	mp_w_map_patch(&iw.w, iw.section_at, iw.keys);
	mp_w_map_patch(&iw.w, iw.map_at, iw.sections);
	rpc_reply_end(d->rpc, req->token, iw.w.err == 0);
}

static void
op_metrics_handler(void *ctx, const struct rpc_request *req)
{
	struct query_meta m = { .index = 1, .known_leader = true };
	struct daemon *d = ctx;
	struct buf *b;
	struct mp_w w;

	if (!no_request(d, req))
		return;
	b = rpc_reply_begin(d->rpc, req->token);
	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	metrics_encode(&w);
	rpc_reply_end(d->rpc, req->token, w.err == 0);
}

/* Read the slice again. 0, or negative with the reason in msg. */
static int
reload(struct daemon *d, bool tokens, struct buf *msg)
{
	int (*apply)(struct daemon *, struct json_object *, struct buf *) = tokens && d->spec->tokens != NULL ? d->spec->tokens : d->spec->reload;
	char err[SLICE_ERR_MAX];
	struct json_object *next = slice_read(life.slice_path, err, sizeof(err));
	int rc = 0;

	if (next == NULL) {
		rc = buf_adds(msg, err);
		return rc < 0 ? rc : -EINVAL;
	}
	if (apply != NULL)
		rc = apply(d, next, msg);
	if (rc < 0) {
		json_object_put(next);
		return rc;
	}
	apply_log_config(next);
	json_object_put(d->config);
	d->config = next;
	return 0;
}

static void
op_reload_handler(void *ctx, const struct rpc_request *req)
{
	struct buf msg = BUF_INIT(64 * KiB);
	struct daemon *d = ctx;

	if (!no_request(d, req))
		return;
	if (reload(d, req->info->number == OP_DAEMON_TOKENS, &msg) < 0) {
		rpc_reply_error(d->rpc, req->token, 500, "%s: %s", d->spec->name, buf_cstr(&msg) != NULL ? buf_cstr(&msg) : "out of memory");
	} else if (life.reload_waits && life.nreloads < RELOADS_MAX) {
		life.reloads[life.nreloads] = req->token;
		life.reload_texts[life.nreloads++] = msg;
		return;
	} else {
		rpc_reply_text(d->rpc, req->token, 1, (struct str){ (const char *)msg.data, msg.len });
	}
	buf_release(&msg);
}

void
daemon_reload_wait(struct daemon *d)
{
	(void)d;
	life.reload_waits = true;
}

void
daemon_reload_done(struct daemon *d)
{
	life.reload_waits = false;
	for (size_t i = 0; i < life.nreloads; i++) {
		if (d->rpc != NULL)
			rpc_reply_text(d->rpc, life.reloads[i], 1, (struct str){ (const char *)life.reload_texts[i].data, life.reload_texts[i].len });
		buf_release(&life.reload_texts[i]);
	}
	life.nreloads = 0;
}

static void
log_stream_handler(void *ctx, const struct rpc_request *req)
{
	daemon_log_subscribe(((struct daemon *)ctx)->rpc, req);
}

static void
on_cancelled(void *ctx, struct rpc_token t)
{
	struct daemon *d = ctx;

	if (t.op == OP_DAEMON_LOG)
		daemon_log_cancelled(t);
	else if (d->spec->cancelled != NULL)
		d->spec->cancelled(ctx, t);
}

static void
on_credit(void *ctx, struct rpc_token t, uint32_t credits)
{
	struct daemon *d = ctx;

	if (t.op == OP_DAEMON_LOG)
		daemon_log_credit(t, credits);
	else if (d->spec->credit != NULL)
		d->spec->credit(ctx, t, credits);
}

static int
serve_own_socket(struct daemon *d)
{
	static const struct rpc_route common[] = {
		{ OP_DAEMON_INFO, op_info_handler }, { OP_DAEMON_METRICS, op_metrics_handler },
		{ OP_DAEMON_RELOAD, op_reload_handler }, { OP_DAEMON_TOKENS, op_reload_handler }, { OP_DAEMON_LOG, log_stream_handler },
	};
	struct rpc_server_config c = { .routes = life.routes, .ctx = d, .cancelled = on_cancelled, .credit = on_credit };
	char name[64];
	int fd;

	if (d->spec->nroutes + ARRAY_LEN(common) > ROUTES_MAX)
		log_fatal("agent", "too many routes: daemon=%s", d->spec->name);
	memcpy(life.routes, common, sizeof(common));
	if (d->spec->nroutes > 0)
		memcpy(life.routes + ARRAY_LEN(common), d->spec->routes, d->spec->nroutes * sizeof(life.routes[0]));
	c.nroutes = ARRAY_LEN(common) + d->spec->nroutes;
	(void)snprintf(name, sizeof(name), "%s.sock", d->spec->name);
	fd = notify_take(name);
	d->restarted = fd >= 0;
	if (fd < 0) {
		fd = sock_unix_listen(d->run_fd, name, 0600);
		if (fd < 0) {
			log_err("agent", "cannot listen on %s/%s: %s", d->run_dir, name, err_text(fd));
			return fd;
		}
		(void)notify_store(name, fd);
	}
	d->rpc = rpc_server_new(&d->loop, fd, &c);
	return d->rpc != NULL ? 0 : -ENOMEM;
}

/* ---- listeners */

/* Whoever has the address may be a daemon of an agent that was killed, about to end. */
static int
bind_patiently(const char *name, const union sock_addr *a, int type, bool reuseport)
{
	const struct timespec pause = { .tv_nsec = LISTEN_RETRY_MS * NS_PER_MS };
	const uint64_t until = clock_ms() + LISTEN_WAIT_MS;
	int fd = sock_inet_listen(a, type, LISTEN_BACKLOG, reuseport);

	if (fd == -EADDRINUSE)
		log_info("agent", "waiting for an address that is in use: listener=%s", name);
	while (fd == -EADDRINUSE && clock_ms() < until) {
		(void)nanosleep(&pause, NULL);
		fd = sock_inet_listen(a, type, LISTEN_BACKLOG, reuseport);
	}
	return fd;
}

static int
bind_listener(const char *name, const char *ip, uint16_t port, int type, bool reuseport)
{
	char text[SOCK_ADDR_TEXT_MAX];
	union sock_addr a;
	int fd;

	if (strncmp(ip, "unix://", 7) == 0) {
		fd = sock_unix_listen_path(ip + 7, 0755);
		if (fd < 0)
			log_err("agent", "cannot listen on %s for %s: %s", ip, name, err_text(fd));
		return fd;
	}
	if (sock_addr_parse(ip, port, &a) < 0) {
		log_err("agent", "cannot listen for %s: \"%s\" is not an IP address", name, ip);
		return -EINVAL;
	}
	fd = bind_patiently(name, &a, type, reuseport);
	if (fd < 0) {
		sock_addr_format(&a, text);
		log_err("agent", "cannot listen on %s address %s for %s: %s", type == SOCK_STREAM ? "TCP" : "UDP", text, name,
		    err_text(fd));
	}
	return fd;
}

int
daemon_listen(struct daemon *d, const char *name, const char *ip, uint16_t port, int type, bool reuseport)
{
	int fd = notify_take(name);

	(void)d;
	if (fd >= 0)
		return fd;
	fd = bind_listener(name, ip, port, type, reuseport);
	if (fd >= 0)
		(void)notify_store(name, fd);
	return fd;
}

/* ---- life and death */

void
daemon_ready_later(struct daemon *d)
{
	(void)d;
	life.ready_later = true;
}

void
daemon_ready(struct daemon *d)
{
	if (life.ready)
		return;
	life.ready = true;
	notify_close_rest();
	if (notify_send("READY=1") < 0)
		log_warn("agent", "cannot tell the supervisor that %s is ready", d->spec->name);
}

void
daemon_stopped(struct daemon *d)
{
	uv_stop(&d->loop.uv);
}

static void
on_drain_over(uv_timer_t *t)
{
	log_warn("agent", "stopping with work still open");
	daemon_stopped(((struct life *)t->data)->d);
}

static void
on_term(uv_signal_t *h, int signum)
{
	struct daemon *d = ((struct life *)h->data)->d;

	/* Who stops all processes of a unit tells each, and so does our parent. */
	if (life.stopping && d->child)
		return;
	if (life.stopping) {
		log_warn("agent", "second signal, exiting at once: signal=%d", signum);
		_exit(1);
	}
	life.stopping = d->draining = true;
	(void)notify_send("STOPPING=1");
	if (!d->child)
		log_debug("agent", "stopping: daemon=%s signal=%d", d->spec->name, signum);
	if (d->rpc != NULL)
		rpc_server_drain(d->rpc);
	(void)uv_timer_start(&life.drain, on_drain_over, DAEMON_DRAIN_MS, 0);
	if (d->spec->drain != NULL)
		d->spec->drain(d);
	else
		daemon_stopped(d);
}

void
daemon_reload(struct daemon *d, bool tokens)
{
	struct buf msg = BUF_INIT(64 * KiB);

	if (reload(d, tokens, &msg) < 0)
		log_err("agent", "reload refused: daemon=%s error=\"%s\"", d->spec->name, buf_cstr(&msg) != NULL ? buf_cstr(&msg) : "");
	else if (msg.len > 0 && !d->child)
		log_warn("agent", "a restart is needed for: daemon=%s keys=\"%s\"", d->spec->name, buf_cstr(&msg) != NULL ? buf_cstr(&msg) : "");
	buf_release(&msg);
}

static void
on_hup(uv_signal_t *h, int signum)
{
	(void)signum;
	daemon_reload(((struct life *)h->data)->d, false);
}

/* What every daemon has: memory from the allocator, and in RAM, its own and as a part of all daemons together. */
static void
measure_self(struct daemon *d)
{
	char name[METRIC_NAME_MAX];
	struct mallinfo2 m = mallinfo2();
	size_t resident = 0;

	metric_set(metric_get("runtime.alloc_bytes", METRIC_GAUGE), (double)(m.uordblks + m.hblkhd));
	if (uv_resident_set_memory(&resident) < 0)
		return;
	metric_set(metric_get("runtime.sys_bytes", METRIC_GAUGE), (double)resident);
	(void)snprintf(name, sizeof(name), "process.resident_bytes;daemon=%s", d->spec->name);
	metric_set(metric_get(name, METRIC_GAUGE), (double)resident);
}

static void
on_tick(uv_timer_t *t)
{
	struct daemon *d = ((struct life *)t->data)->d;

	if (!metrics_tick(clock_ms()))
		return;
	measure_self(d);
	if (d->spec->measure != NULL)
		d->spec->measure(d);
}

static void
on_watchdog(uv_timer_t *t)
{
	(void)t;
	(void)notify_send("WATCHDOG=1");
}

static void
start_handles(struct daemon *d)
{
	uv_loop_t *uv = &d->loop.uv;
	uv_handle_t *all[] = { (uv_handle_t *)&life.sigterm, (uv_handle_t *)&life.sigint, (uv_handle_t *)&life.sighup,
		(uv_handle_t *)&life.tick, (uv_handle_t *)&life.drain, (uv_handle_t *)&life.watchdog };
	uint64_t dog = notify_watchdog_ms();

	(void)uv_signal_init(uv, &life.sigterm);
	(void)uv_signal_init(uv, &life.sigint);
	(void)uv_signal_init(uv, &life.sighup);
	(void)uv_timer_init(uv, &life.tick);
	(void)uv_timer_init(uv, &life.drain);
	(void)uv_timer_init(uv, &life.watchdog);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		all[i]->data = &life;
	(void)uv_signal_start(&life.sigterm, on_term, SIGTERM);
	(void)uv_signal_start(&life.sigint, on_term, SIGINT);
	(void)uv_signal_start(&life.sighup, on_hup, SIGHUP);
	(void)uv_timer_start(&life.tick, on_tick, TICK_MS, TICK_MS);
	if (dog > 0)
		(void)uv_timer_start(&life.watchdog, on_watchdog, dog, dog);
}

static void
close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		log_fatal("agent", "handle left open at exit: type=%s", uv_handle_type_name(uv_handle_get_type(h)));
}

static void
stop_handles(struct daemon *d)
{
	uv_handle_t *all[] = { (uv_handle_t *)&life.sigterm, (uv_handle_t *)&life.sigint, (uv_handle_t *)&life.sighup,
		(uv_handle_t *)&life.tick, (uv_handle_t *)&life.drain, (uv_handle_t *)&life.watchdog,
		(uv_handle_t *)&d->loop.prepare, (uv_handle_t *)&d->loop.again };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		uv_close(all[i], NULL);
	/* Everything else was closed by fini: a handle that was not would keep the loop running for ever. */
	uv_walk(&d->loop.uv, close_handle, NULL);
	(void)uv_run(&d->loop.uv, UV_RUN_DEFAULT);
	(void)uv_loop_close(&d->loop.uv);
}

/* The end of all that a daemon has but its config and directory. */
static void
let_go(struct daemon *d)
{
	if (d->spec->fini != NULL)
		d->spec->fini(d);	/* clears d->ctx when it frees it; gossipd's has handles that close below */
	if (d->rpc != NULL)
		rpc_server_free(d->rpc);
	d->rpc = NULL;
	daemon_reload_done(d);
	daemon_log_fini();
	stop_handles(d);
}

/* ---- more processes of one daemon */

/*
 * What was the parent's is closed by the code that owns it, as at the end of
 * any daemon; so that nobody out there hears of that its sockets, and the
 * lock, become /dev/null first. The loop's own descriptors libuv makes anew.
 */
static int
become_child(struct daemon *d, pid_t parent, const int *keep, size_t n)
{
	int all[KEEP_MAX], rc;

	if (n >= KEEP_MAX)
		return -ELIMIT;
	if (n > 0)
		memcpy(all, keep, n * sizeof(*keep));
	all[n] = d->run_fd;
	/* It keeps nothing that a kill could spoil. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	if (getppid() != parent)
		return -ESRCH;
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	rc = fds_nullify(all, n + 1);
	if (rc == 0)
		rc = uv_loop_fork(&d->loop.uv);
	if (rc < 0)
		return rc;
	d->child = true;
	let_go(d);
	d->draining = life.stopping = false;
	rc = loop_init(&d->loop);
	if (rc < 0)
		return rc;
	start_handles(d);
	daemon_log_init();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		log_warn("agent", "cannot set no_new_privs: error=\"%s\"", err_text(-errno));
	return 0;
}

pid_t
daemon_fork(struct daemon *d, const int *keep, size_t n)
{
	pid_t parent = getpid(), pid;
	sigset_t all, before;
	int rc;

	/* A signal must not find the child with the parent's handlers. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	rc = pid < 0 ? -errno : 0;
	if (pid == 0) {
		rc = become_child(d, parent, keep, n);
		if (rc < 0) {
			log_err("agent", "a process of %s cannot begin: %s", d->spec->name, err_text(rc));
			_exit(1);
		}
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc < 0 ? rc : pid;
}

void
daemon_child_run(struct daemon *d)
{
	loop_run(&d->loop);
	let_go(d);
	(void)close(d->run_fd);
	json_object_put(d->config);
	exit(life.exit_code);
}

/*
 * Started by `consulctl agent`: end when it ends. The signal reaches us even
 * when the supervisor is killed; it may have died before we asked for it.
 */
static int
tie_to_parent(void)
{
	const char *parent = getenv("CONSULCTL_PARENT");

	if (parent == NULL)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return -errno;
	if (strtol(parent, NULL, 10) != (long)getppid())
		return -ESRCH;
	return 0;
}

static void
usage(const struct daemon_spec *spec, FILE *to)
{
	(void)fprintf(to, "usage: %s -c slice [-f] [-t] [-V] [-h]\n%s\n"
	    "  -c slice  the config slice, RUNDIR/config/%s.json\n"
	    "  -f        stay in the foreground (always so)\n"
	    "  -t        read the slice, say whether it is valid, exit\n"
	    "  -V        print the version\n", spec->name, spec->summary, spec->name);
}

/* -1: go on; else the exit code. */
static int
read_options(int argc, char **argv, const struct daemon_spec *spec, bool *ret_test)
{
	int opt;

	while ((opt = getopt(argc, argv, "c:ftVh")) != -1)
		switch (opt) {
		case 'c':
			if (realpath(optarg, life.slice_path) == NULL) {
				(void)fprintf(stderr, "%s: cannot open %s: %s\n", spec->name, optarg, strerror(errno));
				return EXIT_CONFIG;
			}
			break;
		case 'f':
			break;
		case 't':
			*ret_test = true;
			break;
		case 'V':
			(void)printf("%s %s\n", spec->name, PACKAGE_VERSION);
			return 0;
		case 'h':
			usage(spec, stdout);
			return 0;
		default:
			usage(spec, stderr);
			return 1;
		}
	if (optind != argc || life.slice_path[0] == 0) {
		usage(spec, stderr);
		return 1;
	}
	return -1;
}

/* RUNDIR/config/NAME.json: two levels up. */
static int
open_run_dir(struct daemon *d)
{
	char copy[PATH_MAX];

	memcpy(copy, life.slice_path, sizeof(copy));
	(void)snprintf(life.run_dir, sizeof(life.run_dir), "%s", dirname(dirname(copy)));
	d->run_dir = life.run_dir;
	d->run_fd = sock_dir_open(life.run_dir);
	if (d->run_fd < 0)
		log_err("agent", "cannot open the runtime directory %s: %s", life.run_dir, err_text(d->run_fd));
	return d->run_fd < 0 ? d->run_fd : 0;
}

/*
 * RUNDIR/NAME.lock is held until the very end of the process: there is one
 * NAME in a runtime directory, and a new supervisor sees when the daemons of
 * one that was killed have gone. It holds our pid and that supervisor's.
 */
static int
hold_lock(struct daemon *d)
{
	const char *parent = getenv("CONSULCTL_PARENT");
	char name[64];
	int fd, rc;

	(void)snprintf(name, sizeof(name), "%s.lock", d->spec->name);
	fd = openat(d->run_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		rc = -errno;
		log_err("agent", "%s %s/%s: %s", rc == -EWOULDBLOCK ? "already running, see" : "cannot lock", d->run_dir, name,
		    err_text(rc));
		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d %s\n", (int)getpid(), parent != NULL ? parent : "0") < 0)
		log_warn("agent", "cannot write %s/%s: %s", d->run_dir, name, err_text(-errno));
	return 0;
}

static int
start(struct daemon *d)
{
	int rc = open_run_dir(d);

	if (rc == 0)
		rc = hold_lock(d);
	if (rc == 0)
		rc = loop_init(&d->loop);
	if (rc == 0)
		rc = serve_own_socket(d);
	if (rc < 0)
		return rc;
	start_handles(d);
	daemon_log_init();
	rc = d->spec->init != NULL ? d->spec->init(d) : 0;
	if (rc < 0)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		log_warn("agent", "cannot set no_new_privs: error=\"%s\"", err_text(-errno));
	if (!life.ready_later)
		daemon_ready(d);
	return 0;
}

/* Why we do not start: the supervisor says it where its starter looks. */
static void
tell_refusal(const char *why)
{
	char text[SLICE_ERR_MAX + 16];

	(void)snprintf(text, sizeof(text), "STATUS=%s", why);
	(void)notify_send(text);
}

int
daemon_main(int argc, char **argv, const struct daemon_spec *spec)
{
	static struct daemon d;
	bool test = false;
	char err[SLICE_ERR_MAX];
	int rc = read_options(argc, argv, spec, &test);

	if (rc >= 0)
		return rc;
	/* One thread allocates: one arena, and small blocks go back to the system early. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 256 * KiB);
	(void)signal(SIGPIPE, SIG_IGN);
	if (tie_to_parent() < 0)
		return 1;
	d.spec = spec;
	life.d = &d;
	life.started_ms = clock_ms();
	d.config = slice_read(life.slice_path, err, sizeof(err));
	if (d.config == NULL || test) {
		(void)fprintf(stderr, "%s: %s\n", spec->name, d.config == NULL ? err : "the config slice is valid");
		if (d.config == NULL)
			tell_refusal(err);
		rc = d.config == NULL ? EXIT_CONFIG : 0;
		json_object_put(d.config);
		return rc;
	}
	apply_log_config(d.config);
	if (sodium_init() < 0 || start(&d) < 0) {
		tell_refusal(log_last_error());
		_exit(EXIT_CONFIG);
	}
	loop_run(&d.loop);
	let_go(&d);
	(void)close(d.run_fd);
	json_object_put(d.config);
	return life.exit_code;
}
