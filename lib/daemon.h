/*
 * daemon.h - the life of a daemon, the same for all five.
 *
 *	NAME -c SLICE [-f] [-t] [-V] [-h]
 *
 * Options, config slice, sockets (from LISTEN_FDS, else bound and stored
 * with the supervisor: FDSTORE), what needs privilege, PR_SET_NO_NEW_PRIVS,
 * READY=1, the loop. SIGTERM and SIGINT stop accepting and drain with a
 * deadline; a second one exits at once. SIGHUP reloads the slice. The
 * runtime directory is the parent of the slice's directory: RUNDIR/config/NAME.json;
 * the daemon's own socket is RUNDIR/NAME.sock.
 *
 * Exit codes: 0 stopped, 78 (EX_CONFIG) refused its config or could not get
 * what it needs (a port, a directory): do not restart before a change; 1 other.
 */
#ifndef LIB_DAEMON_H
#define LIB_DAEMON_H

#include <json-c/json_object.h>

#include "lib/cfg.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/rpc.h"

enum { EXIT_CONFIG = 78, DAEMON_DRAIN_MS = 1500 };

struct daemon;

/* Appends sections of key and text to daemon.info. */
struct info_writer {
	struct mp_w w;
	size_t map_at, section_at;
	uint32_t sections, keys;
};
void info_section(struct info_writer *iw, const char *name);
void info_add(struct info_writer *iw, const char *key, const char *fmt, ...) PRINTF(3, 4);

struct daemon_spec {
	const char *name;		/* "raftd" */
	const char *summary;		/* for -h */
	const struct rpc_route *routes;	/* its operations; daemon.* are added */
	size_t nroutes;
	rpc_cancelled *cancelled;
	rpc_credit *credit;

	/*
	 * Config is in d->config: open what is needed. Negative: cannot start,
	 * and the reason has been logged once, as one sentence.
	 */
	int (*init)(struct daemon *d);
	/* next is the new slice (kept by d on return 0). Add to msg what needs a restart. Negative with the reason in msg: keep the old one. */
	int (*reload)(struct daemon *d, struct json_object *next, struct buf *msg);
	/* The same for a slice in which acl.tokens alone may differ: nothing else begins anew. NULL: reload does. */
	int (*tokens)(struct daemon *d, struct json_object *next, struct buf *msg);
	/* SIGTERM: finish open work, then daemon_stopped(d). NULL: stop at once. */
	void (*drain)(struct daemon *d);
	/* The loop has ended: free everything; close every handle still open (the loop is run until they are closed). */
	void (*fini)(struct daemon *d);
	void (*info)(struct daemon *d, struct info_writer *iw);
	/* An interval of metrics has begun: set gauges. May be NULL. */
	void (*measure)(struct daemon *d);
};

struct daemon {
	const struct daemon_spec *spec;
	struct loop loop;
	struct json_object *config;
	const char *run_dir;
	int run_fd;			/* the runtime directory, for sock.h and rpc_client_new() */
	struct rpc_server *rpc;		/* routes get d as ctx */
	void *ctx;			/* the daemon's own state */
	bool draining;
	bool restarted;			/* our own socket was handed down: we ended before, and whoever supervises us did not */
	bool child;			/* we are what daemon_fork() made: no socket of our own, no supervisor */
};

/* main() of every daemon. */
int daemon_main(int argc, char **argv, const struct daemon_spec *spec);

/* Whether nothing needs to wait any more: end the loop. */
void daemon_stopped(struct daemon *d);

/*
 * A listening (or, for UDP, bound) socket by name: handed down by the
 * supervisor when it has one of this name, else bound to ip:port (or to the
 * path of unix:///path) and stored with the supervisor. A descriptor, or
 * -errno with one sentence logged that names address and reason. An address
 * that is in use is waited for: this may block for two seconds, so it is
 * for init only.
 */
int daemon_listen(struct daemon *d, const char *name, const char *ip, uint16_t port, int type, bool reuseport);

/*
 * Another process of this daemon, without exec. The parent gets its pid, or
 * -errno. The child gets 0: fini has been called for what the parent had,
 * which is untouched by that; of its sockets and files only `keep` are open,
 * and d->run_fd. d has a loop of its own, the config, and d->ctx NULL. It dies with
 * its parent, drains on SIGTERM, and ends by daemon_child_run(). Its loop must
 * be idle of threads. May be called from init, or from a timer's callback.
 */
pid_t daemon_fork(struct daemon *d, const int *keep, size_t n);

/* The child's life, once it has what it needs: its loop, fini, exit. */
void daemon_child_run(struct daemon *d) __attribute__((noreturn));

/* Read the slice again, as on SIGHUP; tokens: only those have changed. What is wrong is logged. */
void daemon_reload(struct daemon *d, bool tokens);

/* From reload or tokens: the answer to who asked for it waits for daemon_reload_done(). */
void daemon_reload_wait(struct daemon *d);
void daemon_reload_done(struct daemon *d);

/* Told to the supervisor: READY=1. daemon_main() does it when init returned, unless d->spec->init called daemon_ready_later(). */
void daemon_ready_later(struct daemon *d);
void daemon_ready(struct daemon *d);

#endif
