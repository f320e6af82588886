/*
 * explain.h - why DNS returns an instance of a service, or does not:
 * dns.explain.
 *
 * raftd is asked twice: for what the asker may see, with his token, and for
 * what DNS may, with its own. Nothing is shown that the asker may not read.
 */
#ifndef DNSD_EXPLAIN_H
#define DNSD_EXPLAIN_H

#include "dnsd/settings.h"
#include "lib/rpc.h"

enum {
	EXPLAIN_MAX = 32,		/* questions that wait for raftd */
	EXPLAIN_MS = 5000,		/* how long one waits */
	EXPLAIN_BODY_MAX = 64 * 1024 * 1024,
	EXPLAIN_ARENA_MAX = 256 * 1024 * 1024,
	EXPLAIN_WHY_MAX = 512,
};

struct explain;

/* settings is read through the pointer each time. NULL without memory. */
struct explain *explain_new(struct loop *l, int run_fd, struct settings *const *settings);
/* What waits is not answered any more; rpc servers drop it by themselves. */
void explain_free(struct explain *e);

/* Serve a request of dns.explain; rpc is who answers. */
void explain_serve(struct explain *e, struct rpc_server *rpc, const struct rpc_request *req);
/* Its asker has gone. */
void explain_cancelled(struct explain *e, struct rpc_token token);

/*
 * Judge one instance, as health.service tells it (one entry, encoded), by the
 * rules that answers are made by. tag may be "". True: DNS returns it, and
 * ret_why says how, if there is something to say. Pure but for memory:
 * -ENOMEM, -EDECODE. Returns 1 when it is returned, 0 when it is not.
 */
int MUST_CHECK explain_judge(const struct settings *s, struct str entry, struct str tag, struct arena *a, char ret_why[EXPLAIN_WHY_MAX]);

/* Whether DNS can say a service's name at all; else ret_why says why not. Pure. */
bool explain_name(const struct settings *s, struct str service, char ret_why[EXPLAIN_WHY_MAX]);

#endif
