/*
 * agent.h - the running `consulctl agent`: what its files share.
 *
 * agent.c starts it, agent_reload.c changes its configuration, agent_ops.c
 * answers on its socket, agent_end.c decides how it ends.
 */
#ifndef CONSULCTL_AGENT_AGENT_H
#define CONSULCTL_AGENT_AGENT_H

#include "consulctl/config/config.h"
#include "consulctl/agent/log_sink.h"
#include "consulctl/agent/run_dir.h"
#include "consulctl/agent/supervise.h"
#include "consulctl/agent/tokens.h"
#include "lib/loop.h"
#include "lib/rpc.h"

/* In the order of start; they are stopped in the reverse one. */
enum agent_daemon { AGENT_RAFTD, AGENT_GOSSIPD, AGENT_CHECKD, AGENT_DNSD, AGENT_HTTPD, AGENT_DAEMONS };
extern const char *const agent_daemon_names[AGENT_DAEMONS];

enum {
	AGENT_WAITERS_MAX = 64,		/* requests for one reload, or for the leave */
	AGENT_RELOAD_MS = 5000,		/* for a daemon to answer */
	AGENT_TOKEN_SETS_MAX = 64,	/* tokens being set */
	AGENT_LEAVE_MS = 15000,
	AGENT_LEAVE_SIZE_MS = 1000,	/* of them for asking who else is there */
	AGENT_LEAVE_SERVERS_MS = 6000,	/* for the Raft configuration */
	AGENT_LEAVE_SPARE_MS = 500,	/* that draining leaves over */
	AGENT_WATCHDOG_USEC = 30000000,	/* unless the service manager asks for another */
};

/* Requests that get one answer. */
struct waiters {
	struct rpc_token v[AGENT_WAITERS_MAX];
	size_t n;
};

struct agent {
	struct loop loop;
	struct config_args *args;
	struct config *config;
	struct agent_tokens tokens;	/* set by the API: part of config, and of the next one */
	struct run_dir run;
	struct log_sink *sink;		/* NULL: daemons write to our standard output themselves */
	char *pid_file;			/* NULL: none */
	char *paths[AGENT_DAEMONS], *slices[AGENT_DAEMONS];
	char *argv[AGENT_DAEMONS][5];
	struct supervisor *sup;
	struct rpc_server *rpc;
	struct rpc_client *clients[AGENT_DAEMONS];
	int err_fd;			/* the standard error we were started with */
	uint64_t started_ms;
	bool loop_open;
	bool up;			/* all daemons have been ready */

	/* agent_reload.c */
	struct reload {
		struct reload_call {
			struct agent *a;
			size_t daemon;
		} calls[AGENT_DAEMONS];
		size_t open;		/* daemons that have not answered */
		bool again;		/* asked for once more in the meantime */
		struct waiters now, next;
		struct buf error;
	} reload;

	struct token_set *token_sets;	/* token_set.c */
	size_t ntoken_sets;

	/* agent_end.c */
	uv_signal_t sigint, sigterm, sighup;
	uv_timer_t leave_timer, drain_timer, stop_timer;
	uv_timer_t watchdog;		/* pings the service manager's, if there is one */
	bool leaving, stopping;
	bool leave_others;		/* there were others when the leave began */
	struct waiters leave_waiters;
	int exit_code;
};

/* Write each daemon's slice of c. Negative with a sentence in err; nothing has changed then. */
int MUST_CHECK agent_write_slices(struct agent *a, const struct config *c, struct buf *err);
/* Level and form of our own lines. */
void agent_setup_log(const struct agent *a);

/* Read the configuration again; token (NULL: a signal) is answered when it is done. */
void agent_reload(struct agent *a, const struct rpc_token *token);

/* Set one of the agent's own tokens (agent.token_set), and have those daemons take it up that use it. */
void agent_set_token(struct agent *a, const struct rpc_request *req);
/* Forget those under way; the daemons' clients have been freed. */
void agent_drop_token_sets(struct agent *a);

/* The supervisor's socket. -errno. */
int MUST_CHECK agent_ops_open(struct agent *a);

/* Signals and the ways to the end. */
int MUST_CHECK agent_end_init(struct agent *a);
/* Leave the cluster, then stop; token (NULL: a signal) is answered in between. */
/* The path of a daemon's program: where told, beside us, or where it was installed. The caller frees; NULL without memory. */
char *agent_find_daemon(const char *name);

void agent_leave(struct agent *a, const struct rpc_token *token);
/* Stop the daemons, then the loop. The first code given stays. */
void agent_stop(struct agent *a, int exit_code);
void agent_end_close(struct agent *a);

/* False when full. */
bool MUST_CHECK waiters_add(struct waiters *w, struct rpc_token t);
/* Answer all with nil, or with an Error 500 of this text. */
void waiters_answer(struct waiters *w, struct rpc_server *s, const char *error);

#endif
