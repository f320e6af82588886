/*
 * worker.h - the processes of dnsd, one a core.
 *
 * The supervised process opens the sockets, is itself worker 0, and forks the
 * others, which share nothing with it but a channel (orders down, log lines
 * up) and a piece of memory with their numbers. A worker has a loop, views
 * and a connection to raftd of its own. It dies with its parent. One that
 * dies first is forked again, at once or, when it does so over and over,
 * after a growing pause; until it is ready its sockets are read by the parent.
 */
#ifndef DNSD_WORKER_H
#define DNSD_WORKER_H

#include "lib/daemon.h"

enum {
	WORKERS_MAX = 64,
	WORKERS_AUTO_MAX = 16,		/* without a number given, however many processors there are */
	WORKER_PAUSE_MS = 100,		/* before the second of two quick deaths is healed, doubled each time ... */
	WORKER_PAUSE_MAX_MS = 10 * 1000,
	WORKER_CALM_MS = 10 * 1000,	/* ... until one has lived so long */
	WORKER_RELOAD_MS = 1000,	/* how long a reload's answer waits for all */
	WORKER_SILENT_TICKS = 10,	/* seconds without a sign of life: it is killed */
};

/* What a worker says of itself, at the end of each turn. */
struct worker_numbers {
	uint64_t known, unknown, stale, answers, waiting, tcp;
	uint64_t connected;		/* to raftd: 1, else 0 */
	uint64_t beat;			/* counts seconds */
};

struct worker_shared;			/* a worker's memory that its parent sees, too */

/* How many there are to be: `wanted`, else one for each processor that we may use. At least 1. */
unsigned workers_count(unsigned wanted);

/* ---- in the parent */

struct workers;

struct workers_config {
	unsigned n;			/* processes, the parent's own included */
	void *ctx;
	/*
	 * daemon_fork() with channel among what is kept. In the child it does
	 * not return: it ends in daemon_child_run(), with worker_begin() before.
	 */
	pid_t (*spawn)(void *ctx, unsigned w, int channel, struct worker_shared *shared);
	/* Worker w reads its sockets from now on, or does no more. It does not at first. */
	void (*ready)(void *ctx, unsigned w, bool yes);
};

/* Forks the workers 1 to n - 1. NULL without memory. */
struct workers *workers_new(struct daemon *d, const struct workers_config *c);

/* All read the slice again; daemon_reload_wait() until they have. */
void workers_reload(struct workers *ws, bool tokens);

/* They finish what they have and end; nobody is started again. */
void workers_drain(struct workers *ws);

/* Processes that are there besides our own; those that answer. */
unsigned workers_alive(const struct workers *ws);
unsigned workers_ready(const struct workers *ws);

/* Add theirs to *sum; connected: how many are. */
void workers_sum(const struct workers *ws, struct worker_numbers *sum);

/* Takes no notice of them any more: they end with our process. NULL is fine. */
void workers_free(struct workers *ws);

/* ---- in a worker */

struct worker;

/* measure tells the numbers of now (all but beat). NULL without memory; the channel is owned from now on. */
struct worker *worker_begin(struct daemon *d, int channel, struct worker_shared *shared,
    void (*measure)(void *ctx, struct worker_numbers *n), void *ctx);

/* It reads its sockets now. */
void worker_ready(struct worker *w);
void worker_end(struct worker *w);

#endif
